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

use std::collections::HashMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// What is, or shall be, granted of one key on one day. Value of the fact `grant/<key>`, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantFact {
    /// `binding/mta1`, `route/mta1/gmail` or `tenant/acme`.
    pub key: String,
    /// The calendar day it is for.
    pub day: Date,
    /// Total of the day in accepted recipients, everything granted before included.
    pub granted: u64,
}

/// A fact that has to be written before its allowance may be spent. The same shape as the fact itself.
pub type GrantRequest = GrantFact;

impl GrantFact {
    /// Key of the durable fact.
    pub fn fact_key(&self) -> String {
        format!("grant/{}", self.key)
    }
}

/// The authority over daily caps.
pub trait Grants {
    /// Why a grant could not be made durable.
    type Error;

    /// Raises what `holder` holds of the request's key and day to `request.granted`, or to as much of it as leaves all
    /// holders together within `limit`. Returns the holder's total, which is durable on return. Never lowers a total, so
    /// asking twice is harmless.
    fn raise(&mut self, holder: &str, limit: u64, request: &GrantRequest) -> Result<u64, Self::Error>;

    /// Everything `holder` holds, for recovery.
    fn holdings(&self, holder: &str) -> Vec<GrantFact>;
}

/// Grants in memory: for tests, for the simulation, and as the reference of the contract.
#[derive(Clone, Debug, Default)]
pub struct MemoryGrants {
    totals: HashMap<(String, Date), HashMap<String, u64>>,
}

impl Grants for MemoryGrants {
    type Error = std::convert::Infallible;

    fn raise(&mut self, holder: &str, limit: u64, request: &GrantRequest) -> Result<u64, Self::Error> {
        let holders = self.totals.entry((request.key.clone(), request.day)).or_default();
        let others: u64 = holders.iter().filter(|(name, _)| *name != holder).map(|(_, total)| total).sum();
        let held = holders.entry(holder.to_owned()).or_default();
        *held = (*held).max(request.granted.min(limit.saturating_sub(others)));
        Ok(*held)
    }

    fn holdings(&self, holder: &str) -> Vec<GrantFact> {
        let mut latest: HashMap<&str, GrantFact> = HashMap::new();
        for ((key, day), holders) in &self.totals {
            let Some(&granted) = holders.get(holder) else { continue };
            let fact = GrantFact { key: key.clone(), day: *day, granted };
            match latest.get(key.as_str()) {
                Some(known) if known.day >= *day => {}
                _ => {
                    latest.insert(key, fact);
                }
            }
        }
        let mut facts: Vec<GrantFact> = latest.into_values().collect();
        facts.sort_by(|a, b| a.key.cmp(&b.key));
        facts
    }
}

/// What any implementation of [`Grants`] must do, given an empty one.
#[cfg(test)]
pub(crate) fn contract<G: Grants>(mut grants: G)
where
    G::Error: std::fmt::Debug,
{
    use jiff::civil::date;
    let ask = |key: &str, day: i8, granted: u64| GrantRequest { key: key.into(), day: date(2026, 5, day), granted };
    let mut raise =
        |holder: &str, limit: u64, request: GrantRequest| grants.raise(holder, limit, &request).expect("raise");

    assert_eq!(raise("a", 100, ask("binding/x", 1, 40)), 40);
    assert_eq!(raise("a", 100, ask("binding/x", 1, 40)), 40, "asking twice gives nothing twice");
    assert_eq!(raise("a", 100, ask("binding/x", 1, 10)), 40, "a total never shrinks");
    assert_eq!(raise("b", 100, ask("binding/x", 1, 90)), 60, "all holders together stay within the limit");
    assert_eq!(raise("a", 100, ask("binding/x", 1, 50)), 40, "nothing is left");
    assert_eq!(raise("a", 30, ask("binding/x", 1, 50)), 40, "a lower limit takes nothing back");
    assert_eq!(raise("a", 120, ask("binding/x", 1, 500)), 60, "a higher limit gives the difference");
    assert_eq!(raise("a", 100, ask("binding/y", 1, 7)), 7, "keys do not mix");
    assert_eq!(raise("a", 100, ask("binding/x", 2, 5)), 5, "a new day starts at zero");
    assert_eq!(grants.holdings("a"), [ask("binding/x", 2, 5), ask("binding/y", 1, 7)], "the latest day of each key");
    assert_eq!(grants.holdings("b"), [ask("binding/x", 1, 60)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_keeps_the_contract() {
        contract(MemoryGrants::default());
    }

    #[test]
    fn facts_are_json_with_a_plain_date() {
        let fact = GrantFact { key: "route/mta1/gmail".into(), day: jiff::civil::date(2026, 11, 1), granted: 160 };
        let text = serde_json::to_string(&fact).expect("json");
        assert_eq!(text, r#"{"key":"route/mta1/gmail","day":"2026-11-01","granted":160}"#);
        assert_eq!(serde_json::from_str::<GrantFact>(&text).expect("fact"), fact);
        assert_eq!(fact.fact_key(), "grant/route/mta1/gmail");
    }
}
