//! Nothing accepted is ever lost: what waits, what is due, and the loop that moves it.
//!
//! [`core`] (pure) joins scheduler, reputation and [`index`] into one machine: told what happened, it says what to do
//! next. [`state`] (pure) is the life of one entry: what an attempt's answers make of it; [`blame`] (pure) what they say about the
//! binding. [`dispatcher`] (shell) carries
//! out the core's actions — it is the one place where the data flow of the program closes into a loop. [`fresh`] keeps
//! new mail at hand for it.

pub mod blame;
pub mod core;
pub mod dispatcher;
pub mod fresh;
pub mod index;
pub mod state;
