//! What the evidence means for a binding: evidence → health.
//!
//! [`Evidence`] is what was seen (an attempt's outcome, a confirmed listing, a broken PTR, an operator's word);
//! [`Health`] is what is concluded from it, per binding and per route (binding × destination). Pure: `now` comes in,
//! [`HealthChange`]s go out.
//!
//! Beside it stand two accounts that move no health: [`holds`], mail of a tenant that a receiver refuses for the tenant's
//! own sake, and [`complaints`], what people thought of the mail of each day.
//!
//! [`moves`] tells, before it is counted, whether a refusal that blames an address is the address's or the mail's that moves
//! from one to the next.
//!
//! [`tally`] counts (`lists` per tenant over all bindings), `fuse` judges the counts, `state` is the machine of one subject, `guard` keeps automation from
//! emptying a pool, `showing` turns states into what others see, [`facts`] is what is written down (`kept`: by whom, and
//! for how long), and [`policy`] joins them: which evidence moves which subject
//! (`attempts` for the answers of attempts, `late` for what comes back by mail, `told` for the monitor's and the operator's
//! word). [`notes`] is what only people can use.

mod attempts;
mod cells;
mod complained;
#[cfg(test)]
mod complained_tests;
pub mod complaints;
mod drift;
pub mod evidence;
pub mod facts;
#[cfg(test)]
pub(crate) mod fixtures;
mod fuse;
mod guard;
pub mod health;
pub mod holds;
mod kept;
#[cfg(test)]
mod kept_tests;
mod late;
#[cfg(test)]
mod late_tests;
mod lists;
#[cfg(test)]
mod lists_tests;
#[cfg(test)]
mod machine_tests;
pub mod moves;
pub mod notes;
pub mod policy;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod reported_tests;
#[cfg(test)]
mod scenarios;
mod showing;
pub mod signals;
mod state;
pub mod tally;
mod told;

pub use evidence::Evidence;
pub use facts::{BadFact, Fact};
pub use health::{Health, HealthChange, Reason, Subject, UNTIL_CLEARED};
pub use holds::{HoldChange, HoldState};
pub use moves::{Refusal, Whose};
pub use notes::Note;
pub use policy::Reputation;
pub use signals::Signal;
