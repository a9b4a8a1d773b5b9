//! Daily caps: how many recipients may be accepted per calendar day.
//!
//! A token bucket is no daily cap — a GCRA of "1,000 a day" lets 1,999 through in 24 hours — so this is a ledger with
//! days in it. [`calendar`] says which day it is in the operator's time zone. [`ledger`] counts per key (a binding, a
//! route, a tenant): *reserve* before an attempt, then *commit* what was accepted and *release* the rest. [`grants`] is
//! the protocol by which allowance is written down before it is spent, so that a crash can only waste some of it.

pub mod calendar;
pub mod grants;
pub mod ledger;

pub use calendar::{Calendar, Day};
pub use grants::{GrantFact, GrantRequest, Grants, MemoryGrants};
pub use ledger::{Account, AccountId, Ledger, Owner, Reservation, Room};
