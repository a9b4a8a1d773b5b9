//! How many bindings of a pool may carry mail, why the others may not, and whether a backup is open: the pool as people
//! watch it.
//!
//! Only what concerns a binding everywhere counts here. What is merely busy — its connections, its rate, its pace, a
//! grant that is being written — may carry the next mail, so it is eligible; and what a single receiver refuses shows up
//! with the routes.

use std::collections::BTreeMap;

use super::pool::{Class, Pool};
use super::state::Scheduler;
use super::tier::{Scope, Seat};
use super::{Families, Verdict};
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
    /// Every pool, in the order of the configuration. Walks all seats: for a scrape, not for a decision. As fresh as the
    /// last [`tick`](Scheduler::tick).
    pub fn pool_uses(&self) -> Vec<PoolUse> {
        self.pools.iter().map(|pool| self.pool_use(pool)).collect()
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
        let all = Scope { region: None, families: Families { v4: true, v6: true } };
        let on_backup = pool.open_tiers(|tier| pool.tiers[tier].counted(all)) > 1;
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
