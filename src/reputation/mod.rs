//! What the evidence means for a binding: evidence → health.
//!
//! [`Evidence`] is what was seen (an attempt's outcome, a confirmed listing, a broken PTR, an operator's word);
//! [`Health`] is what is concluded from it, per binding and per route (binding × destination). Pure: `now` comes in,
//! [`HealthChange`]s go out.
//!
//! [`tally`] counts, `fuse` judges the counts, `state` is the machine of one subject, `guard` keeps automation from
//! emptying a pool, [`facts`] is what is written down, and [`policy`] joins them: which evidence moves which subject.

pub mod evidence;
pub mod facts;
#[cfg(test)]
pub(crate) mod fixtures;
mod fuse;
mod guard;
pub mod health;
pub mod policy;
#[cfg(test)]
mod scenarios;
mod state;
pub mod tally;

pub use evidence::Evidence;
pub use facts::{BadFact, Fact};
pub use health::{Health, HealthChange, Reason, Subject, UNTIL_CLEARED};
pub use policy::{Note, Reputation};
