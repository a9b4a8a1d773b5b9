//! `[reputation]` and `[prediction]`.

use super::Context;
use super::context::{place_of, section};
use crate::config::mistake::Place;
use crate::config::{Prediction, Reputation, raw};

/// Least share that logarithms can be taken of.
const LEAST_SHARE: f64 = 1e-6;

impl Context<'_> {
    pub(super) fn reputation(&mut self, file: &raw::File) -> Reputation {
        let raw = section(&file.reputation);
        let default = Reputation::default();
        for field in [
            &raw.window,
            &raw.ip_block_window,
            &raw.hold_window,
            &raw.group_hold,
            &raw.suspend_first,
            &raw.suspend_max,
            &raw.forgive_after,
            &raw.probation_period,
            &raw.drift_half_life,
        ] {
            self.not_instant(field);
        }
        for field in
            [&raw.ip_block_count, &raw.hold_count, &raw.probation_start, &raw.probation_periods, &raw.complaint_days]
        {
            self.at_least_one(field);
        }
        self.at_least_one(&raw.providers_for_binding);
        self.within(&raw.hard_bounce_ratio, 0.0, 1.0);
        self.within(&raw.pool_guard, 0.0, 1.0);
        for share in [&raw.normal_bounce_ratio, &raw.bad_bounce_ratio, &raw.complaint_prior] {
            self.within(share, LEAST_SHARE, 1.0 - LEAST_SHARE);
        }
        for limit in [&raw.complaint_throttle, &raw.complaint_suspend] {
            self.within(limit, LEAST_SHARE, 1.0);
        }
        for certainty in [&raw.fuse_certainty, &raw.complaint_certainty] {
            self.within(certainty, 0.5, 0.999_999);
        }
        self.within(&raw.fuse_height, 1.0, 1_000.0);
        self.within(&raw.complaint_prior_weight, 1.0, 1e9);
        self.within(&raw.drift_limit, 1.0, 1_000.0);
        let suspend_first = raw.suspend_first.or(default.suspend_first);
        let suspend_max = raw.suspend_max.or(default.suspend_max);
        self.not_above(
            (suspend_first, place_of(&raw.suspend_first)),
            (suspend_max, place_of(&raw.suspend_max)),
            "suspend_first is longer than suspend_max",
        );
        let (normal, bad) = (
            raw.normal_bounce_ratio.or(default.normal_bounce_ratio),
            raw.bad_bounce_ratio.or(default.bad_bounce_ratio),
        );
        self.below(
            (normal, place_of(&raw.normal_bounce_ratio)),
            (bad, place_of(&raw.bad_bounce_ratio)),
            "normal_bounce_ratio is not below bad_bounce_ratio",
        );
        let (throttle, suspend) = (
            raw.complaint_throttle.or(default.complaint_throttle),
            raw.complaint_suspend.or(default.complaint_suspend),
        );
        self.not_above(
            (throttle, place_of(&raw.complaint_throttle)),
            (suspend, place_of(&raw.complaint_suspend)),
            "complaint_throttle is above complaint_suspend",
        );
        Reputation {
            automation: raw.automation.or(default.automation),
            window: raw.window.or(default.window),
            min_attempts: raw.min_attempts.or(default.min_attempts),
            min_events: raw.min_events.or(default.min_events),
            hard_bounce_ratio: raw.hard_bounce_ratio.or(default.hard_bounce_ratio),
            normal_bounce_ratio: normal,
            bad_bounce_ratio: bad,
            fuse_height: raw.fuse_height.or(default.fuse_height),
            fuse_certainty: raw.fuse_certainty.or(default.fuse_certainty),
            complaint_prior: raw.complaint_prior.or(default.complaint_prior),
            complaint_prior_weight: raw.complaint_prior_weight.or(default.complaint_prior_weight),
            complaint_throttle: throttle,
            complaint_suspend: suspend,
            complaint_certainty: raw.complaint_certainty.or(default.complaint_certainty),
            complaint_days: raw.complaint_days.or(default.complaint_days),
            drift_half_life: raw.drift_half_life.or(default.drift_half_life),
            drift_limit: raw.drift_limit.or(default.drift_limit),
            dwell: raw.dwell.or(default.dwell),
            ip_block_count: raw.ip_block_count.or(default.ip_block_count),
            ip_block_window: raw.ip_block_window.or(default.ip_block_window),
            hold_count: raw.hold_count.or(default.hold_count),
            hold_window: raw.hold_window.or(default.hold_window),
            group_hold: raw.group_hold.or(default.group_hold),
            providers_for_binding: raw.providers_for_binding.or(default.providers_for_binding),
            suspend_first,
            suspend_max,
            forgive_after: raw.forgive_after.or(default.forgive_after),
            probation_start: raw.probation_start.or(default.probation_start),
            probation_period: raw.probation_period.or(default.probation_period),
            probation_periods: raw.probation_periods.or(default.probation_periods),
            pool_guard: raw.pool_guard.or(default.pool_guard),
        }
    }

    pub(super) fn prediction(&mut self, file: &raw::File) -> Prediction {
        let raw = section(&file.prediction);
        let default = Prediction::default();
        self.not_instant(&raw.half_life);
        self.not_instant(&raw.redraw);
        self.at_least_one(&raw.horizon);
        self.within(&raw.least, 0.001, 1.0);
        Prediction {
            half_life: raw.half_life.or(default.half_life),
            horizon: raw.horizon.or(default.horizon),
            redraw: raw.redraw.or(default.redraw),
            least: raw.least.or(default.least),
        }
    }

    /// Refuses `small` that is not below `large`, at whichever of the two was written.
    fn below(&mut self, small: (f64, Option<&Place>), large: (f64, Option<&Place>), what: &str) {
        let wrong = if small.0 == large.0 { (f64::INFINITY, small.1) } else { small };
        self.not_above(wrong, large, what);
    }
}
