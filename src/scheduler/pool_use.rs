//! How many bindings of a pool may carry mail, why the others may not, and whether a backup is open: the pool as people
//! watch it.
//!
//! Only what concerns a binding everywhere counts here. What is merely busy — its connections, its rate, its pace, a
//! grant that is being written — may carry the next mail, so it is eligible; and what a single receiver refuses shows up
//! with the routes.

use std::collections::BTreeMap;

use super::Verdict;
use super::pool::{Class, Pool};
use super::state::Scheduler;
use super::tier::{Scope, Seat};
use crate::message::PoolName;

/// One pool at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolUse {
    /// Which.
    pub pool: PoolName,
    /// Bindings with a weight.
    pub bindings: usize,
    /// Of them, those that may carry mail, a trickle included.
    pub eligible: usize,
    /// The others by the text of the [`Verdict`] that keeps them out; those without a weight as `drained`.
    pub out: BTreeMap<&'static str, usize>,
    /// A backup tier is open for all destinations: there are too few bindings to count on before it.
    pub on_backup: bool,
}

impl Scheduler {
    /// Every pool that is configured, in the order of their first appearance. Walks all seats: for a scrape, not for a decision. As fresh as the
    /// last [`tick`](Scheduler::tick).
    pub fn pool_uses(&self) -> Vec<PoolUse> {
        self.pools.iter().filter(|pool| !pool.tiers.is_empty()).map(|pool| self.pool_use(pool)).collect()
    }

    fn pool_use(&self, pool: &Pool) -> PoolUse {
        let mut out = BTreeMap::new();
        let (mut bindings, mut eligible) = (0, 0);
        for seat in pool.tiers.iter().flat_map(|tier| &tier.seats) {
            bindings += usize::from(seat.weight > 0);
            match self.out_for(seat) {
                None => eligible += 1,
                Some(verdict) => *out.entry(verdict).or_default() += 1,
            }
        }
        let on_backup = pool.open_tiers(|tier, _| pool.tiers[tier].counted(Scope::ALL)) > 1;
        PoolUse { pool: pool.name.clone(), bindings, eligible, out, on_backup }
    }

    fn out_for(&self, seat: &Seat) -> Option<&'static str> {
        if seat.weight == 0 {
            return Some("drained");
        }
        match seat.class {
            Class::Free | Class::Probation | Class::Pace | Class::Grant | Class::Window | Class::Rate => None,
            Class::Capped => Some("cap"),
            Class::Warmup => Some("warmup"),
            Class::Suspended => {
                let binding = &self.bindings[seat.binding.index()];
                // What is not configured any more or taken out by the configuration has no verdict of health.
                let verdict = binding.standing.verdict_for_binding();
                Some(verdict.as_ref().map_or("operator_suspended", Verdict::as_str))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, TestConfig};
    use super::*;
    use crate::reputation::Health;

    fn of(bench: &Bench) -> PoolUse {
        bench.scheduler.pool_uses().remove(0)
    }

    #[test]
    fn who_is_out_is_counted_by_what_keeps_it_out() {
        let mut bench = TestConfig::default()
            .binding("a", |_| {})
            .binding("b", |binding| binding.limits.daily_cap = Some(1))
            .binding("c", |_| {})
            .binding("gone", |binding| binding.suspend_delivery = true)
            .binding("spare", |_| {})
            .pool("p", &[&[("a", 1), ("b", 1), ("c", 0), ("gone", 1)], &[("spare", 1)]], |_| {})
            .start();
        let at_first = of(&bench);
        assert_eq!((at_first.bindings, at_first.eligible, at_first.on_backup), (4, 3, false));
        assert_eq!(at_first.out, BTreeMap::from([("drained", 1), ("operator_suspended", 1)]));

        bench.set("a", bench.suspended(3_600));
        let request = bench.request("x");
        let lease = bench.lease(&request);
        assert_eq!(bench.scheduler.binding_name(lease.binding).as_str(), "b");
        let later = of(&bench);
        assert_eq!((later.eligible, later.on_backup), (1, true), "only the spare is left");
        let expected = [("cap", 1), ("drained", 1), ("operator_suspended", 1), ("suspended", 1)];
        assert_eq!(later.out, BTreeMap::from(expected));

        bench.set("a", Health::Active);
        assert!(!of(&bench).on_backup, "and it closes again");
    }

    #[test]
    fn a_trickle_is_eligible_until_it_is_used_up_and_busy_is_not_out() {
        let mut bench = TestConfig::default()
            .binding("a", |_| {})
            .binding("b", |binding| binding.limits.max_outbound_connections = Some(1))
            .pool("p", &[&[("a", 1)], &[("b", 1)]], |_| {})
            .start();
        bench.set("a", bench.probation(1, 900));
        assert_eq!((of(&bench).eligible, of(&bench).on_backup), (2, true));
        let request = bench.request("x");
        let (leases, _) = bench.all_leases(&request);
        assert_eq!(leases.len(), 2, "the trickle, and the one connection of the backup");
        let busy = of(&bench);
        assert_eq!((busy.eligible, busy.out), (1, BTreeMap::from([("probation", 1)])), "a connection will be free");
    }
}
