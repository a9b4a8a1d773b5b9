//! What the scheduler answered, counted by pool and verdict.
//!
//! One answer, one count: `eligible` for a lease, else the reason that the mail then waits for. The difference between
//! the two over time shows what a pool runs into: its caps, its windows, its health.

use std::collections::HashMap;

use crate::scheduler::PoolId;

/// Totals since start.
#[derive(Clone, Debug, Default)]
pub struct Asked(HashMap<(PoolId, &'static str), u64>);

impl Asked {
    /// Counts one answer.
    pub(super) fn count(&mut self, pool: PoolId, verdict: &'static str) {
        *self.0.entry((pool, verdict)).or_default() += 1;
    }

    /// All of them, in no order.
    pub fn all(&self) -> impl Iterator<Item = (PoolId, &'static str, u64)> {
        self.0.iter().map(|(&(pool, verdict), &count)| (pool, verdict, count))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::tests::{Rig, binding};

    #[test]
    fn leases_and_refusals_are_counted_by_what_was_said() {
        let mut rig = Rig::new(&binding(1, "daily_cap = 2"));
        for _ in 0..3 {
            let entry = rig.entry("acme", "main", "one.example");
            rig.take_in(entry);
        }
        let mut started = Vec::new();
        while let Some(start) = rig.attempt() {
            started.push(start);
        }
        let asked: BTreeMap<_, _> = rig.core.asked().all().map(|(_, verdict, count)| (verdict, count)).collect();
        assert_eq!((started.len(), asked.get("eligible")), (2, Some(&2)));
        assert!(asked.get("cap").is_some_and(|&count| count >= 1), "{asked:?}");
        assert!(asked.keys().all(|verdict| ["eligible", "cap", "grant_pending"].contains(verdict)), "{asked:?}");
    }
}
