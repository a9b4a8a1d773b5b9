//! What the evidence means for a binding: evidence → health.
//!
//! [`Evidence`] is what was seen (an attempt's outcome, a confirmed listing, a broken PTR, an operator's word);
//! [`Health`] is what is concluded from it, per binding and per route (binding × destination). Pure: `now` comes in,
//! [`HealthChange`]s go out.

pub mod evidence;
pub mod health;
pub mod policy;
pub mod tally;

pub use evidence::Evidence;
pub use health::{Health, HealthChange, Reason, Subject};
pub use policy::Reputation;
