//! How causes come: penalties that grow, what lasts until it is cleared, the operator's word.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Reason, Shield, State, UNTIL_CLEARED};
use crate::clock::Wall;
use crate::config::{self, Automation};

/// First and longest wait before an address that could not be bound is tried again.
const UNBINDABLE_FIRST: Duration = Duration::from_secs(60);
const UNBINDABLE_MAX: Duration = Duration::from_secs(15 * 60);

/// Shortest span of anything: what is over as it begins would be due at once, and again.
const LEAST: Duration = Duration::from_secs(1);

/// What a cause does to its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::reputation) enum Effect {
    /// Out.
    Suspend,
    /// Less.
    Throttle,
}

/// One thing told against a subject.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::reputation) struct Cause {
    pub(in crate::reputation) effect: Effect,
    pub(in crate::reputation) until: Wall,
    /// May take out even a pool's last binding.
    pub(in crate::reputation) certain: bool,
    pub(in crate::reputation) evidence: String,
}

/// One thing held against a subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::reputation) struct Held {
    pub(in crate::reputation) effect: Effect,
    /// Its own end; it may be in force for longer (see [`super::dwell`]).
    pub(in crate::reputation) until: Wall,
    pub(in crate::reputation) certain: bool,
    pub(in crate::reputation) evidence: String,
    /// Since when it has been told without a gap.
    #[serde(default)]
    pub(in crate::reputation) since: Wall,
}

impl Cause {
    fn held(self, since: Wall, now: Wall) -> Held {
        let Self { effect, until, certain, evidence } = self;
        Held { effect, until: until.max(now.plus(LEAST)), certain, evidence, since }
    }
}

impl State {
    /// Suspends for the next penalty, at least for `least`. Answers of attempts that were on the wire when the
    /// suspension began are no repetition: they lengthen it where they ask for clearly more, and that is all. Returns
    /// whether this is a new suspension. One that does not act (see [`State::acts`]) is no penalty: the next one is not
    /// longer for it.
    pub(in crate::reputation) fn penalise(
        &mut self,
        reason: Reason,
        least: Duration,
        evidence: &str,
        rules: &config::Reputation,
        now: Wall,
    ) -> bool {
        let cause = |span| Cause {
            effect: Effect::Suspend,
            until: now.plus(span),
            certain: false,
            evidence: evidence.to_owned(),
        };
        if self.automatic().next().is_some() {
            if !least.is_zero() {
                self.hold(reason, cause(least), now);
            }
            return false;
        }
        let span = least.max(self.next_penalty(rules, now));
        if rules.automation == Automation::Watch || self.is_sheltered() {
            self.clean_since = self.clean_since.max(now);
        } else {
            self.strikes = self.strikes.saturating_add(1);
            self.clean_since = now.plus(span);
        }
        self.hold(reason, cause(span), now);
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
    pub(in crate::reputation) fn hold(&mut self, reason: Reason, cause: Cause, now: Wall) {
        let (effect, span) = (cause.effect, cause.until.since(now));
        match self.causes.get_mut(&reason) {
            Some(held) if held.effect == effect => {
                if cause.until != UNTIL_CLEARED && cause.until < held.until.plus(span / 10) {
                    return;
                }
                let since = if held.until <= now { now } else { held.since };
                *held = cause.held(since, now);
            }
            Some(held) if held.effect == Effect::Suspend => return,
            _ => {
                self.causes.insert(reason, cause.held(now, now));
            }
        }
        // It is back. A suspension that has turned into a throttle goes on being gone.
        self.gone
            .retain(|other, gone| *other != reason || (gone.effect, effect) == (Effect::Suspend, Effect::Throttle));
    }

    /// The address could not be bound: out for a minute, then two, four, … at most fifteen.
    pub(in crate::reputation) fn unbindable(&mut self, evidence: String, now: Wall) {
        if self.causes.contains_key(&Reason::Unbindable) {
            return;
        }
        let wait = UNBINDABLE_FIRST.saturating_mul(2u32.saturating_pow(self.unbindable)).min(UNBINDABLE_MAX);
        self.unbindable = self.unbindable.saturating_add(1);
        let cause = Cause { effect: Effect::Suspend, until: now.plus(wait), certain: true, evidence };
        self.hold(Reason::Unbindable, cause, now);
    }

    /// The address was bound: nothing was wrong with its name, so no probation for that.
    pub(in crate::reputation) fn bindable(&mut self) {
        self.unbindable = 0;
        self.causes.remove(&Reason::Unbindable);
        self.recovery.take_if(|way| way.reason == Reason::Unbindable);
    }

    /// The operator takes it out, until `until`. His latest word counts, also where it is for shorter; it ends a shield.
    pub(in crate::reputation) fn suspend_by_operator(&mut self, until: Wall, evidence: String, now: Wall) {
        let cause = Cause { effect: Effect::Suspend, until, certain: true, evidence };
        self.causes.insert(Reason::Operator, cause.held(now, now));
        self.shield = None;
    }

    /// The operator brings it back: nothing is held against it any more, and nothing new suspends it for `span`. Penalties
    /// are remembered.
    pub(in crate::reputation) fn resume(&mut self, span: Option<Duration>, now: Wall) {
        if self.is_out() {
            self.back_since = now;
        }
        // What is not over until it is cleared is told only when it changes: it is kept for when the shield ends.
        self.causes.retain(|reason, held| span.is_some() && *reason != Reason::Operator && held.until == UNTIL_CLEARED);
        self.gone.clear();
        self.recovery = None;
        self.unbindable = 0;
        self.withheld = false;
        self.in_force = false;
        self.clean_since = self.clean_since.min(now);
        self.shield = span.map(|span| Shield { since: now, until: now.plus(span.max(LEAST)) });
    }
}
