//! Deferrals and latency of a route that leave what is usual there.

use std::time::Duration;

use super::attempts::Attempt;
use super::evidence::AttemptResult;
use super::health::HealthChange;
use super::policy::Reputation;
use crate::clock::Wall;

impl Reputation {
    /// Counts the answer of one recipient; `took` is that of the whole attempt.
    pub(super) fn drift(
        &mut self,
        _attempt: Attempt<'_>,
        _result: &AttemptResult,
        _took: Option<Duration>,
        _now: Wall,
        _out: &mut Vec<HealthChange>,
    ) {
    }
}
