//! What health means for selection.
//!
//! Health is concluded elsewhere and used here as it stands: a suspension holds until reputation says otherwise, also
//! past its `until` (nobody slips out because a message was late). Two things happen here: a throttle ends by itself at
//! its `until`, and the allowance of a period of probation is counted, in recipients leased.

use crate::clock::Wall;
use crate::reputation::{Health, Reason};

use super::Verdict;

/// Health of a binding or a route, with what this period of probation has used.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    health: Health,
    used: u32,
    /// Number of the period, so that a pick given back late does not raise the allowance of the next one.
    period: u32,
}

impl Default for Standing {
    fn default() -> Self {
        Self { health: Health::Active, used: 0, period: 0 }
    }
}

impl Standing {
    /// Takes over what was concluded. The same probation told twice does not begin anew.
    pub(super) fn set(&mut self, health: &Health) {
        if self.health != *health {
            self.health = health.clone();
            self.used = 0;
            self.period = self.period.wrapping_add(1);
        }
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    pub(super) fn is_active(&self) -> bool {
        self.health == Health::Active
    }

    /// Suspended or on probation: not to be counted on.
    pub(super) fn is_out(&self) -> bool {
        matches!(self.health, Health::Suspended { .. } | Health::Probation { .. })
    }

    /// By how much windows and rates are divided at `wall`.
    pub(super) fn divisor(&self, wall: Wall) -> u32 {
        match self.health {
            Health::Throttled { divisor, until, .. } if wall < until => divisor.max(1),
            _ => 1,
        }
    }

    /// When the throttle ends by itself.
    pub(super) fn throttled_until(&self) -> Option<Wall> {
        match self.health {
            Health::Throttled { until, .. } => Some(until),
            _ => None,
        }
    }

    /// Somebody has to bring it back: the operator took it out, or the host has lost its address.
    pub(super) fn is_taken_out(&self) -> bool {
        matches!(self.health, Health::Suspended { reason: Reason::Operator | Reason::Unbindable, .. })
    }

    /// Recipients that may still be leased.
    pub(super) fn room(&self) -> u32 {
        match self.health {
            Health::Suspended { .. } => 0,
            Health::Probation { allowance, .. } => allowance.saturating_sub(self.used),
            Health::Active | Health::Throttled { .. } => u32::MAX,
        }
    }

    /// Counts `recipients` as leased. Returns the period they belong to, for [`Standing::give_back`].
    pub(super) fn lease(&mut self, recipients: u32) -> u32 {
        if matches!(self.health, Health::Probation { .. }) {
            self.used = self.used.saturating_add(recipients);
        }
        self.period
    }

    /// Takes back what was leased in `period` and not used.
    pub(super) fn give_back(&mut self, recipients: u32, period: u32) {
        if period == self.period {
            self.used = self.used.saturating_sub(recipients);
        }
    }

    /// Why it may not be used, as the verdict for a binding.
    pub(super) fn verdict_for_binding(&self) -> Option<Verdict> {
        match self.health {
            Health::Suspended { until, reason: Reason::Operator } => {
                let forever = until == Wall::from_millis(i64::MAX);
                Some(Verdict::OperatorSuspended { until: (!forever).then_some(until) })
            }
            Health::Suspended { until, reason } => Some(Verdict::Suspended { reason, until }),
            _ => self.used_up(),
        }
    }

    /// Why it may not be used, as the verdict for a route.
    pub(super) fn verdict_for_route(&self) -> Option<Verdict> {
        match self.health {
            Health::Suspended { reason: Reason::Operator, .. } => self.verdict_for_binding(),
            Health::Suspended { until, reason } => Some(Verdict::RouteSuspended { reason, until }),
            _ => self.used_up(),
        }
    }

    fn used_up(&self) -> Option<Verdict> {
        match self.health {
            Health::Probation { until, .. } if self.room() == 0 => Some(Verdict::Probation { until }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probation(until: i64) -> Health {
        Health::Probation { allowance: 20, until: Wall::from_millis(until), reason: Reason::IpBlocked }
    }

    #[test]
    fn probation_counts_recipients_per_period_and_takes_unused_ones_back() {
        let mut standing = Standing::default();
        standing.set(&probation(100));
        let period = standing.lease(15);
        assert_eq!(standing.room(), 5);
        standing.set(&probation(100));
        assert_eq!(standing.room(), 5, "the same period told twice");
        standing.lease(5);
        assert_eq!(standing.verdict_for_route(), Some(Verdict::Probation { until: Wall::from_millis(100) }));
        standing.give_back(5, period);
        assert_eq!(standing.room(), 5);
        standing.set(&probation(200));
        standing.give_back(15, period);
        assert_eq!(standing.room(), 20, "what comes back late does not raise the next period");
    }

    #[test]
    fn a_throttle_ends_by_itself_and_a_suspension_does_not() {
        let mut standing = Standing::default();
        let until = Wall::from_millis(100);
        standing.set(&Health::Throttled { divisor: 4, until, reason: Reason::Listed });
        assert_eq!((standing.divisor(Wall::from_millis(99)), standing.divisor(until)), (4, 1));
        standing.set(&Health::Suspended { until, reason: Reason::Listed });
        assert_eq!((standing.room(), standing.is_out()), (0, true));
        assert_eq!(standing.verdict_for_binding(), Some(Verdict::Suspended { reason: Reason::Listed, until }));
    }

    #[test]
    fn the_operators_suspension_has_its_own_verdict() {
        let mut standing = Standing::default();
        for (millis, until) in [(i64::MAX, None), (5, Some(Wall::from_millis(5)))] {
            standing.set(&Health::Suspended { until: Wall::from_millis(millis), reason: Reason::Operator });
            assert_eq!(standing.verdict_for_binding(), Some(Verdict::OperatorSuspended { until }));
            assert_eq!(standing.verdict_for_route(), Some(Verdict::OperatorSuspended { until }));
        }
    }
}
