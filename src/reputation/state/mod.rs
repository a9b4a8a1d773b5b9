//! One subject's state: the causes held against it, its way back, and what is remembered of past penalties.
//!
//! The [`Health`] that others see is computed from the causes, never set: so the longest suspension wins, all causes
//! are kept, and each goes when its own time comes. In order of precedence:
//!
//! 1. the operator's suspension,
//! 2. any other suspension (or, where the pool guard holds it back, a strong throttle in its place),
//! 3. probation after a suspension that ended,
//! 4. throttles,
//! 5. active.
//!
//! Transitions take the rules and `now`; nothing here knows other subjects. What must survive a restart is the whole
//! of [`State`], as it serialises.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Wall;
use crate::config;
use crate::message::DestinationName;

use super::evidence::Listing;
use super::health::{Health, Reason, UNTIL_CLEARED};

/// Divisor of a receiver's back-off and of listings that only throttle.
pub(super) const THROTTLE_DIVISOR: u32 = 2;

/// Divisor where the pool guard puts a throttle in the place of a suspension.
pub(super) const GUARD_DIVISOR: u32 = 4;

/// Hard bounces in a period of probation below which their share is not looked at.
const PERIOD_MIN_EVENTS: u32 = 3;

/// First and longest wait before an address that could not be bound is tried again.
const UNBINDABLE_FIRST: Duration = Duration::from_secs(60);
const UNBINDABLE_MAX: Duration = Duration::from_secs(15 * 60);

/// What a cause does to its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Effect {
    /// Out.
    Suspend,
    /// Less.
    Throttle,
}

/// One thing held against a subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Cause {
    pub(super) effect: Effect,
    pub(super) until: Wall,
    /// May take out even a pool's last binding.
    pub(super) certain: bool,
    pub(super) evidence: String,
}

/// The way back after a suspension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Recovery {
    /// What it is recovering from.
    pub(super) reason: Reason,
    pub(super) started: Wall,
    pub(super) allowance: u32,
    /// End of the period.
    pub(super) until: Wall,
    /// Clean periods so far.
    pub(super) clean: u32,
    /// Accepted recipients in this period.
    pub(super) accepted: u32,
    /// Hard bounces in this period.
    pub(super) hard: u32,
    /// Destinations that blamed the IP since recovery began.
    pub(super) blamed_by: Vec<DestinationName>,
    /// … and whether one did in this period.
    pub(super) blamed: bool,
}

/// State of a binding or a route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) causes: BTreeMap<Reason, Cause>,
    pub(super) recovery: Option<Recovery>,
    /// Penalties since the last forgiveness.
    pub(super) strikes: u32,
    /// End of the last suspension, or the last blame after it: from here on it has been clean.
    pub(super) clean_since: Wall,
    /// End of the last suspension that its mail had earned: what was sent before has been paid for.
    #[serde(default)]
    pub(super) back_since: Wall,
    /// Times it could not be bound, one after the other.
    pub(super) unbindable: u32,
    /// Confirmed listings as last told (bindings only).
    pub(super) listed: Vec<Listing>,
    /// The pool guard holds a suspension back.
    pub(super) withheld: bool,
    /// As last shown.
    pub(super) health: Health,
}

impl Default for State {
    fn default() -> Self {
        Self {
            causes: BTreeMap::new(),
            recovery: None,
            strikes: 0,
            clean_since: Wall::from_millis(0),
            back_since: Wall::from_millis(0),
            unbindable: 0,
            listed: Vec::new(),
            withheld: false,
            health: Health::Active,
        }
    }
}

impl State {
    /// Whether anything needs to be remembered.
    pub(super) fn is_blank(&self) -> bool {
        self.causes.is_empty()
            && self.recovery.is_none()
            && self.strikes == 0
            && self.unbindable == 0
            && self.listed.is_empty()
            && self.health == Health::Active
    }

    /// Whether mail is kept off it now.
    pub(super) fn is_out(&self) -> bool {
        matches!(self.health, Health::Suspended { .. })
    }

    /// Whether mail sent `at` says nothing new: it went out before a suspension that is in force or has been served.
    pub(super) fn is_settled(&self, at: Wall) -> bool {
        self.is_out() || at < self.back_since
    }

    fn of(&self, effect: Effect) -> impl Iterator<Item = (Reason, &Cause)> {
        self.causes.iter().filter(move |(_, c)| c.effect == effect).map(|(r, c)| (*r, c))
    }

    /// Automation's suspensions.
    fn automatic(&self) -> impl Iterator<Item = (Reason, &Cause)> {
        self.of(Effect::Suspend).filter(|(reason, _)| *reason != Reason::Operator)
    }

    /// Whether a suspension is in force.
    fn blocked(&self) -> bool {
        self.causes.contains_key(&Reason::Operator) || (!self.withheld && self.automatic().next().is_some())
    }

    /// Notes whether the guard holds a suspension back. One that is in force ends an earlier way back (but an address
    /// that cannot be bound says nothing about its reputation: there the way goes on afterwards).
    pub(super) fn settle(&mut self, withheld: bool) {
        self.withheld = withheld;
        if !withheld && self.automatic().any(|(reason, _)| reason != Reason::Unbindable) {
            self.recovery = None;
        }
    }

    /// Whether automation wants it out, and whether it is certain enough to override the pool guard.
    pub(super) fn wants_out(&self) -> Option<bool> {
        self.automatic().map(|(_, cause)| cause.certain).reduce(|a, b| a || b)
    }

    /// Whether this cause suspends it (shown or not).
    pub(super) fn suspended_for(&self, reason: Reason) -> bool {
        self.causes.get(&reason).is_some_and(|c| c.effect == Effect::Suspend)
    }

    /// The health to show.
    pub(super) fn shown(&self) -> Health {
        if let Some(operator) = self.causes.get(&Reason::Operator) {
            return Health::Suspended { until: operator.until, reason: Reason::Operator };
        }
        if let Some((reason, cause)) = self.automatic().max_by_key(|(_, cause)| cause.until) {
            if self.withheld && self.recovery.is_none() {
                return Health::Throttled { divisor: GUARD_DIVISOR, until: cause.until, reason };
            }
            if !self.withheld {
                return Health::Suspended { until: cause.until, reason };
            }
        }
        if let Some(recovery) = &self.recovery {
            let Recovery { allowance, until, reason, .. } = *recovery;
            return Health::Probation { allowance, until, reason };
        }
        match self.of(Effect::Throttle).max_by_key(|(_, cause)| cause.until) {
            Some((reason, cause)) => Health::Throttled { divisor: THROTTLE_DIVISOR, until: cause.until, reason },
            None => Health::Active,
        }
    }

    /// When time alone may change something next.
    pub(super) fn next_moment(&self, rules: &config::Reputation) -> Option<Wall> {
        let ends = self.causes.values().map(|c| c.until).filter(|&until| until != UNTIL_CLEARED);
        let period = self.recovery.as_ref().filter(|_| !self.blocked()).map(|r| r.until);
        let forgiven = (self.strikes > 0 && self.causes.is_empty() && self.recovery.is_none())
            .then(|| self.clean_since.plus(rules.forgive_after));
        ends.chain(period).chain(forgiven).min()
    }

    /// Lets time pass: causes end, periods of probation end, penalties are forgiven.
    pub(super) fn expire(&mut self, rules: &config::Reputation, now: Wall) {
        let over: Vec<Reason> = self.causes.iter().filter(|(_, c)| c.until <= now).map(|(r, _)| *r).collect();
        for reason in over {
            self.lift(reason, rules, now);
        }
        if !self.blocked() {
            self.next_period(rules, now);
        }
        let clean = now.since(self.clean_since) >= rules.forgive_after;
        if self.strikes > 0 && clean && self.causes.is_empty() && self.recovery.is_none() {
            self.strikes = 0;
        }
    }

    /// Removes a cause. After the last of automation's suspensions comes probation.
    pub(super) fn lift(&mut self, reason: Reason, rules: &config::Reputation, now: Wall) {
        let Some(cause) = self.causes.remove(&reason) else { return };
        let served = cause.effect == Effect::Suspend && reason != Reason::Operator && !self.withheld;
        if self.wants_out().is_none() {
            self.withheld = false;
        }
        if served && reason != Reason::Unbindable {
            self.back_since = now;
        }
        if served && self.wants_out().is_none() && self.recovery.is_none() {
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
    }

    /// The end of a period: a clean one doubles the allowance, enough of them end probation. A period in which nothing
    /// was accepted proves nothing and is repeated, but not for ever: after `forgive_after` without blame it is over.
    fn next_period(&mut self, rules: &config::Reputation, now: Wall) {
        let Some(recovery) = &mut self.recovery else { return };
        if recovery.until > now {
            return;
        }
        let decided = f64::from(recovery.accepted.saturating_add(recovery.hard));
        let bad_list =
            recovery.hard >= PERIOD_MIN_EVENTS && f64::from(recovery.hard) > rules.hard_bounce_ratio * decided;
        if recovery.accepted > 0 && !recovery.blamed && !bad_list {
            recovery.clean += 1;
            recovery.allowance = recovery.allowance.saturating_mul(2);
        }
        let served = recovery.clean >= rules.probation_periods.max(1);
        let forgotten = now.since(recovery.started) >= rules.forgive_after && recovery.blamed_by.is_empty();
        if served || forgotten {
            self.recovery = None;
            return;
        }
        (recovery.accepted, recovery.hard, recovery.blamed) = (0, 0, false);
        recovery.until = now.plus(period(rules));
    }

    /// Suspends for the next penalty, at least for `least`. Answers of attempts that were on the wire when the
    /// suspension began are no repetition: they lengthen it where they ask for clearly more, and that is all. Returns
    /// whether this is a new suspension.
    pub(super) fn penalise(
        &mut self,
        reason: Reason,
        least: Duration,
        evidence: &str,
        rules: &config::Reputation,
        now: Wall,
    ) -> bool {
        if self.automatic().next().is_some() {
            if least.is_zero() {
                return false;
            }
            let effect = Effect::Suspend;
            self.hold(
                reason,
                Cause { effect, until: now.plus(least), certain: false, evidence: evidence.to_owned() },
                now,
            );
            return false;
        }
        let until = now.plus(least.max(self.next_penalty(rules, now)));
        self.strikes = self.strikes.saturating_add(1);
        self.clean_since = until;
        self.hold(reason, Cause { effect: Effect::Suspend, until, certain: false, evidence: evidence.to_owned() }, now);
        true
    }

    /// Length of the next suspension: `suspend_first`, doubled for each one not yet forgiven.
    fn next_penalty(&mut self, rules: &config::Reputation, now: Wall) -> Duration {
        if now.since(self.clean_since) >= rules.forgive_after {
            self.strikes = 0;
        }
        let factor = 2u32.saturating_pow(self.strikes);
        rules.suspend_first.saturating_mul(factor).min(rules.suspend_max.max(rules.suspend_first))
    }

    /// Adds a cause. One that is there already is replaced only by a stronger one, or where the end moves by at least a
    /// tenth of what is asked: a hundred equal replies are not a hundred changes.
    pub(super) fn hold(&mut self, reason: Reason, cause: Cause, now: Wall) {
        let span = cause.until.since(now);
        match self.causes.get_mut(&reason) {
            Some(held) if held.effect == cause.effect => {
                if cause.until != UNTIL_CLEARED && cause.until < held.until.plus(span / 10) {
                    return;
                }
                *held = cause;
            }
            Some(held) if held.effect == Effect::Suspend => {}
            _ => {
                self.causes.insert(reason, cause);
            }
        }
    }

    /// The address could not be bound: out for a minute, then two, four, … at most fifteen.
    pub(super) fn unbindable(&mut self, evidence: String, now: Wall) {
        if self.suspended_for(Reason::Unbindable) {
            return;
        }
        let wait = UNBINDABLE_FIRST.saturating_mul(2u32.saturating_pow(self.unbindable)).min(UNBINDABLE_MAX);
        self.unbindable = self.unbindable.saturating_add(1);
        let cause = Cause { effect: Effect::Suspend, until: now.plus(wait), certain: true, evidence };
        self.hold(Reason::Unbindable, cause, now);
    }

    /// The address was bound: nothing was wrong with its name, so no probation.
    pub(super) fn bindable(&mut self) {
        self.unbindable = 0;
        self.causes.remove(&Reason::Unbindable);
        self.recovery.take_if(|r| r.reason == Reason::Unbindable);
        if self.wants_out().is_none() {
            self.withheld = false;
        }
    }

    /// The operator's resume: nothing is held against it any more. Penalties are remembered.
    pub(super) fn resume(&mut self, now: Wall) {
        if self.is_out() {
            self.back_since = now;
        }
        self.causes.clear();
        self.recovery = None;
        self.unbindable = 0;
        self.withheld = false;
        self.clean_since = self.clean_since.min(now);
    }

    /// What is held against it, in words.
    pub(super) fn evidence(&self) -> String {
        self.causes.values().map(|c| c.evidence.as_str()).collect::<Vec<_>>().join("; ")
    }
}

/// Length of a period of probation; never so short that its end is due at once.
fn period(rules: &config::Reputation) -> Duration {
    rules.probation_period.max(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::rules;
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const START: Wall = Wall::from_millis(1_800_000_000_000);

    fn suspended(until: Wall, certain: bool) -> Cause {
        Cause { effect: Effect::Suspend, until, certain, evidence: "test".into() }
    }

    #[test]
    fn penalties_double_up_to_the_longest_and_are_forgiven() {
        let (rules, mut state, mut now) = (rules(), State::default(), START);
        for hours in [1, 2, 4, 8, 16, 24, 24] {
            assert!(state.penalise(Reason::IpBlocked, Duration::ZERO, "x", &rules, now));
            state.settle(false);
            let until = now.plus(MINUTE * 60 * hours);
            assert_eq!(state.shown(), Health::Suspended { until, reason: Reason::IpBlocked });
            now = until;
            state.expire(&rules, now);
        }
        now = now.plus(rules.forgive_after);
        assert!(state.penalise(Reason::IpBlocked, Duration::ZERO, "x", &rules, now));
        assert_eq!(state.shown(), Health::Suspended { until: now.plus(MINUTE * 60), reason: Reason::IpBlocked });
    }

    #[test]
    fn answers_still_on_the_wire_are_no_repetition_but_may_lengthen() {
        let (rules, mut state) = (rules(), State::default());
        assert!(state.penalise(Reason::IpBlocked, Duration::ZERO, "x", &rules, START));
        assert!(!state.penalise(Reason::IpBlocked, Duration::ZERO, "x", &rules, START.plus(MINUTE)));
        assert_eq!(state.strikes, 1);
        let later = START.plus(MINUTE);
        assert!(!state.penalise(Reason::IpBlocked, MINUTE * 240, "worse", &rules, later));
        assert_eq!(state.shown(), Health::Suspended { until: later.plus(MINUTE * 240), reason: Reason::IpBlocked });
        let before = state.clone();
        state.penalise(Reason::IpBlocked, MINUTE * 240, "worse", &rules, later.plus(MINUTE));
        assert_eq!(state, before, "a minute more is no news");
    }

    #[test]
    fn the_longest_suspension_is_shown_and_the_others_are_kept() {
        let (rules, mut state) = (rules(), State::default());
        state.hold(Reason::HardBounces, suspended(START.plus(MINUTE), false), START);
        state.hold(Reason::Listed, suspended(UNTIL_CLEARED, true), START);
        assert_eq!(state.shown(), Health::Suspended { until: UNTIL_CLEARED, reason: Reason::Listed });
        state.lift(Reason::Listed, &rules, START);
        assert_eq!(state.shown(), Health::Suspended { until: START.plus(MINUTE), reason: Reason::HardBounces });
        state.expire(&rules, START.plus(MINUTE));
        assert!(matches!(state.shown(), Health::Probation { allowance: 20, reason: Reason::HardBounces, .. }));
    }

    #[test]
    fn probation_doubles_with_clean_periods_only_and_ends() {
        let (rules, mut now) = (rules(), START);
        let mut state = State::default();
        state.hold(Reason::IpBlocked, suspended(now, false), now);
        state.expire(&rules, now);
        // (accepted, hard, blamed) in a period → allowance of the next
        let periods = [
            (0, 0, false, Some(20)),
            (5, 0, false, Some(40)),
            (5, 0, true, Some(40)),
            (5, 3, false, Some(40)),
            (80, 2, false, Some(80)),
            (1, 0, false, Some(160)),
            (1, 0, false, None),
        ];
        for (accepted, hard, blamed, next) in periods {
            let recovery = state.recovery.as_mut().unwrap();
            (recovery.accepted, recovery.hard, recovery.blamed) = (accepted, hard, blamed);
            now = now.plus(rules.probation_period);
            assert_eq!(state.next_moment(&rules), Some(now));
            state.expire(&rules, now);
            let allowance = match state.shown() {
                Health::Probation { allowance, .. } => Some(allowance),
                Health::Active => None,
                other => panic!("{other:?}"),
            };
            assert_eq!(allowance, next);
        }
    }

    #[test]
    fn probation_without_mail_is_over_after_the_time_of_forgiveness() {
        let (rules, mut state) = (rules(), State::default());
        state.hold(Reason::IpBlocked, suspended(START, false), START);
        state.expire(&rules, START);
        let mut now = START;
        while now.since(START) < rules.forgive_after {
            assert!(matches!(state.shown(), Health::Probation { allowance: 20, .. }));
            now = now.plus(rules.probation_period);
            state.expire(&rules, now);
        }
        assert_eq!(state.shown(), Health::Active);
    }

    #[test]
    fn an_unbindable_address_is_tried_again_ever_more_rarely() {
        let (rules, mut state, mut now) = (rules(), State::default(), START);
        for minutes in [1, 2, 4, 8, 15, 15] {
            state.unbindable("no such address".into(), now);
            state.unbindable("answers of other attempts on the wire".into(), now);
            now = now.plus(MINUTE * minutes);
            assert_eq!(state.shown(), Health::Suspended { until: now, reason: Reason::Unbindable });
            state.expire(&rules, now);
            assert!(matches!(state.shown(), Health::Probation { .. }));
        }
        state.bindable();
        assert_eq!(state, State { clean_since: state.clean_since, ..State::default() });
    }

    #[test]
    fn a_throttle_ends_in_active_and_a_withheld_suspension_too() {
        let (rules, mut state) = (rules(), State::default());
        let end = START.plus(MINUTE);
        let throttle = Cause { effect: Effect::Throttle, until: end, certain: false, evidence: String::new() };
        state.hold(Reason::RateLimited, throttle, START);
        assert_eq!(state.shown(), Health::Throttled { divisor: 2, until: end, reason: Reason::RateLimited });
        state.expire(&rules, end);
        assert_eq!(state.shown(), Health::Active);

        state.withheld = true;
        state.hold(Reason::HardBounces, suspended(end, false), START);
        assert_eq!(state.shown(), Health::Throttled { divisor: 4, until: end, reason: Reason::HardBounces });
        state.expire(&rules, end);
        assert_eq!(state.shown(), Health::Active);
        assert!(!state.withheld);
    }
}
