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
