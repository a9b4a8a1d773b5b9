//! The way back after a suspension: a trickle that doubles with each clean period.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::dwell::is_ahead;
use super::{Reason, State};
use crate::clock::Wall;
use crate::config;
use crate::message::DestinationName;

/// Hard bounces in a period of probation below which their share is not looked at.
const PERIOD_MIN_EVENTS: u32 = 3;

/// The way back after a suspension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::reputation) struct Recovery {
    /// What it is recovering from.
    pub(in crate::reputation) reason: Reason,
    pub(in crate::reputation) started: Wall,
    pub(in crate::reputation) allowance: u32,
    /// End of the period.
    pub(in crate::reputation) until: Wall,
    /// Clean periods so far.
    pub(in crate::reputation) clean: u32,
    /// Accepted recipients in this period.
    pub(in crate::reputation) accepted: u32,
    /// Hard bounces in this period.
    pub(in crate::reputation) hard: u32,
    /// Destinations that blamed the IP since recovery began.
    pub(in crate::reputation) blamed_by: Vec<DestinationName>,
    /// … and whether one did in this period.
    pub(in crate::reputation) blamed: bool,
}

/// Length of a period of probation; never so short that its end is due at once.
fn period(rules: &config::Reputation) -> Duration {
    rules.probation_period.max(Duration::from_secs(1))
}

/// When the present period began.
pub(super) fn period_began(way: &Recovery, rules: &config::Reputation) -> Wall {
    let millis = i64::try_from(period(rules).as_millis()).unwrap_or(i64::MAX);
    Wall::from_millis(way.until.as_millis().saturating_sub(millis))
}

impl State {
    pub(super) fn begin_recovery(&mut self, reason: Reason, rules: &config::Reputation, now: Wall) {
        self.recovery = Some(Recovery {
            reason,
            started: now,
            allowance: rules.probation_start.max(1),
            until: now.plus(period(rules)),
            clean: 0,
            accepted: 0,
            hard: 0,
            blamed_by: Vec::new(),
            blamed: false,
        });
    }

    /// It is shown: its time begins to count.
    pub(super) fn start_recovery(&mut self, rules: &config::Reputation, now: Wall) {
        if let Some(way) = &mut self.recovery {
            way.started = now;
            way.until = now.plus(period(rules));
        }
    }

    /// The end of a period: a clean one doubles the allowance, enough of them end probation. A period in which nothing
    /// was accepted proves nothing and is repeated, but not for ever: after `forgive_after` without blame it is over.
    pub(super) fn next_period(&mut self, rules: &config::Reputation, now: Wall) {
        let clean_since = self.clean_since;
        let Some(way) = &mut self.recovery else { return };
        if way.until > now {
            return;
        }
        let decided = f64::from(way.accepted.saturating_add(way.hard));
        let bad_list = way.hard >= PERIOD_MIN_EVENTS && f64::from(way.hard) > rules.hard_bounce_ratio * decided;
        if way.accepted > 0 && !way.blamed && !bad_list {
            way.clean = way.clean.saturating_add(1);
            way.allowance = way.allowance.saturating_mul(2);
        }
        let dwelt = now >= way.started.plus(rules.dwell);
        let served = way.clean >= rules.probation_periods.max(1);
        let forgotten = now.since(way.started.max(clean_since)) >= rules.forgive_after;
        if dwelt && (served || forgotten) {
            self.recovery = None;
            return;
        }
        (way.accepted, way.hard, way.blamed) = (0, 0, false);
        way.until = now.plus(period(rules));
    }

    pub(super) fn set_back_recovery(&mut self, rules: &config::Reputation, now: Wall) {
        let Some(way) = &mut self.recovery else { return };
        if is_ahead(way.started, now) {
            way.started = now;
        }
        if is_ahead(period_began(way, rules), now) {
            way.until = now.plus(period(rules));
        }
    }
}
