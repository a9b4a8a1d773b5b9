//! Daily caps: how many recipients may be accepted per calendar day.
//!
//! A token bucket is no daily cap — a GCRA of "1,000 a day" lets 1,999 through in 24 hours — so this is a ledger with
//! days in it. [`calendar`] says which day it is in the operator's time zone, and when its hours begin. [`ledger`] counts
//! per key ([`owner`]: a binding, a route, a tenant, a tenant at a provider): *reserve* before an attempt, then *commit*
//! what was accepted and *release* the rest. [`pace`] holds back what the hour has not earned yet. [`grants`] is the
//! protocol by which allowance is written down before it is spent, so that a crash can only waste some of it, [`account`]
//! the arithmetic of how much, and [`fact`] the one form in which it is written.

pub mod account;
pub mod calendar;
pub mod fact;
pub mod grants;
pub mod ledger;
pub mod owner;
mod pace;

pub use account::Account;
pub use calendar::{Calendar, Day, Hours};
pub use fact::{GrantFact, GrantRequest, Unreadable};
pub use grants::{Grants, MemoryGrants};
pub use ledger::{AccountId, Ledger, Reservation, Room};
pub use owner::Owner;
