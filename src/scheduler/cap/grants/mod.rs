//! Allowance is written down before it is spent.
//!
//! Whoever spends a daily cap (a [`Ledger`](super::Ledger)) holds a *grant*: a total, per key and day, that is already
//! durable. It asks for a higher total in blocks ahead of need ([`GrantRequest`]), and spends the new part only when
//! told that it is on disk. After a crash the whole grant counts as used: nothing is ever sent twice from the same
//! allowance, at the price of at most the unspent rest of a block.
//!
//! [`Grants`] is the other side of that protocol, the authority that hands grants out. On one host it is the spool: the
//! fact `grant/<key>` is overwritten and synced. For several hosts it is a shared store, where each host is a *holder*
//! and the totals of all holders together stay within the limit; the answer may then be less than what was asked for.
//!
//! What there is to decide is decided here, in [`allot`] and [`record`], for every implementation: a store only has to
//! keep one [`GrantFact`] per key and holder, and to let nobody else in between reading them and writing one.
//!
//! A holder's day never goes back, and days of different holders need not be the same (their clocks differ by a second, or
//! their time zones by hours): so the record of a holder remembers its last few days, and a holder that has not come to a
//! day yet counts there with what it had open, for that may be carried over midnight.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::fact::are_far;
use super::{GrantFact, GrantRequest};

#[cfg(test)]
mod contract;

#[cfg(test)]
pub(crate) use contract::{Subject, run as contract};

/// Days of a holder that others may still be on.
const REMEMBERED: usize = 4;

/// The authority over daily caps.
pub trait Grants {
    /// Why a grant could not be made durable.
    type Error;

    /// Raises what `holder` holds of the request's key and day to `request.granted`, or to as much of it as leaves all
    /// holders together within `limit`. Returns what it holds now, which is durable on return. Never lowers a total, so
    /// asking twice is harmless. A request for a day that the holder has left gives nothing new.
    fn raise(&mut self, holder: &str, limit: u64, request: &GrantRequest) -> Result<GrantFact, Self::Error>;

    /// Everything `holder` holds, for recovery, in order of the keys. What cannot be read is there as used up.
    fn holdings(&self, holder: &str) -> Result<Vec<GrantFact>, Self::Error>;
}

/// What `holder` may have of `request`, given everyone's last record of that key: the total, never less than it has.
pub fn allot(holder: &str, limit: u64, request: &GrantRequest, records: &BTreeMap<String, GrantFact>) -> u64 {
    let on_day = |fact: &GrantFact| fact.counts_on(request.day);
    let others = records.iter().filter(|(name, _)| *name != holder).map(|(_, fact)| on_day(fact));
    let left = others.fold(limit, u64::saturating_sub);
    let own = records.get(holder).filter(|fact| fact.day == request.day).map_or(0, |fact| fact.granted);
    own.max(request.granted.min(left))
}

/// The record of a holder after it was given `granted`. `None` where the request is for a day that it has left.
pub fn record(before: Option<&GrantFact>, request: &GrantRequest, granted: u64) -> Option<GrantFact> {
    let accepted = request.granted.saturating_sub(request.open);
    let mut after = GrantFact { granted, open: granted.saturating_sub(accepted), ..request.clone() };
    let Some(before) = before else { return Some(after) };
    if before.day > request.day && !are_far(before.day, request.day) {
        return None;
    }
    let past = before.others.iter().copied().chain([(before.day, before.granted)]);
    for (day, total) in past.filter(|(day, _)| *day != request.day) {
        // A holder that comes back from a day far ahead knows that its clock was wrong, and has counted that day.
        let is_mistake = day > request.day && are_far(day, request.day);
        if !is_mistake && !after.others.iter().any(|(known, _)| *known == day) {
            after.others.push((day, total));
        }
    }
    after.others.sort_by_key(|(day, _)| *day);
    after.others.drain(..after.others.len().saturating_sub(REMEMBERED));
    Some(after)
}

/// Grants in memory: for tests, for the simulation, and as the reference of the contract.
#[derive(Clone, Debug, Default)]
pub struct MemoryGrants {
    records: BTreeMap<String, BTreeMap<String, GrantFact>>,
}

impl Grants for MemoryGrants {
    type Error = std::convert::Infallible;

    fn raise(&mut self, holder: &str, limit: u64, request: &GrantRequest) -> Result<GrantFact, Self::Error> {
        let records = self.records.entry(request.key.clone()).or_default();
        let granted = allot(holder, limit, request, records);
        let Some(after) = record(records.get(holder), request, granted) else {
            return Ok(GrantFact::new(&*request.key, request.day, total_on(records.get(holder), request.day)));
        };
        records.insert(holder.to_owned(), after.clone());
        Ok(after)
    }

    fn holdings(&self, holder: &str) -> Result<Vec<GrantFact>, Self::Error> {
        Ok(self.records.values().filter_map(|records| records.get(holder)).cloned().collect())
    }
}

/// What a holder has of a day that it has left.
pub fn total_on(record: Option<&GrantFact>, day: Date) -> u64 {
    let others = record.map_or(&[][..], |record| &record.others);
    others.iter().find(|(known, _)| *known == day).map_or(0, |(_, total)| *total)
}

#[cfg(test)]
mod tests {
    use super::contract::{InMemory, run};

    #[test]
    fn memory_keeps_the_contract() {
        run(InMemory::default);
    }
}
