//! One subject's state: the causes held against it, its way back, and what is remembered of past penalties.
//!
//! The [`Health`] that others see is computed from the causes, never set: so the longest suspension wins, all causes
//! are kept, and each goes when its own time comes. In order of precedence:
//!
//! 1. the operator's suspension,
//! 2. an address that cannot be bound, and automation's suspensions,
//! 3. probation after a suspension that ended,
//! 4. a strong throttle, where the pool guard holds a suspension back,
//! 5. throttles,
//! 6. active.
//!
//! Every cause is kept; whether it acts is decided in one place ([`State::acts`]), how long it is in force in one other
//! ([`dwell`]). [`cause`] is how causes come and go, [`recovery`] the way back.
//!
//! Transitions take the rules and `now`; nothing here knows other subjects. What must survive a restart is the whole
//! of [`State`], as it serialises.

mod cause;
mod dwell;
#[cfg(test)]
mod properties;
mod recovery;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(super) use self::cause::{Cause, Effect, Held};
pub(super) use self::dwell::is_ahead;
pub(super) use self::recovery::Recovery;
use super::evidence::Listing;
use super::health::{Health, Reason, UNTIL_CLEARED};
use crate::clock::Wall;
use crate::config::{self, Automation};

/// Divisor of a receiver's back-off and of listings that only throttle.
pub(super) const THROTTLE_DIVISOR: u32 = 2;

/// Divisor where the pool guard puts a throttle in the place of a suspension.
pub(super) const GUARD_DIVISOR: u32 = 4;

const NEVER: Wall = Wall::from_millis(0);

/// A span in which automation does not suspend, by the operator's word.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Shield {
    since: Wall,
    until: Wall,
}

/// State of a binding or a route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) causes: BTreeMap<Reason, Held>,
    /// Causes that are gone, and stay in force until the dwell time is over.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    gone: BTreeMap<Reason, Held>,
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
    /// The pool guard holds automation's suspension back.
    pub(super) withheld: bool,
    /// Automation's suspension is in force.
    #[serde(default)]
    in_force: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shield: Option<Shield>,
    /// The shield of the whole binding, over this route.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) sheltered: bool,
    /// As last shown.
    pub(super) health: Health,
    /// Since when health is of this kind. Zero where it is active and has been for the dwell time.
    #[serde(default)]
    since: Wall,
}

impl Default for State {
    fn default() -> Self {
        Self {
            causes: BTreeMap::new(),
            gone: BTreeMap::new(),
            recovery: None,
            strikes: 0,
            clean_since: NEVER,
            back_since: NEVER,
            unbindable: 0,
            listed: Vec::new(),
            withheld: false,
            in_force: false,
            shield: None,
            sheltered: false,
            health: Health::Active,
            since: NEVER,
        }
    }
}

/// What automation does not judge: it is in force by itself, at once, and gone at once.
fn is_given(reason: Reason) -> bool {
    matches!(reason, Reason::Operator | Reason::Unbindable)
}

impl State {
    /// Whether anything needs to be remembered.
    pub(super) fn is_blank(&self) -> bool {
        self.causes.is_empty()
            && self.gone.is_empty()
            && self.recovery.is_none()
            && self.strikes == 0
            && self.unbindable == 0
            && self.listed.is_empty()
            && self.shield.is_none()
            && self.health == Health::Active
            && self.since == NEVER
    }

    /// Whether mail is kept off it now.
    pub(super) fn is_out(&self) -> bool {
        matches!(self.health, Health::Suspended { .. })
    }

    /// Whether it is on its way back.
    pub(super) fn is_on_probation(&self) -> bool {
        matches!(self.health, Health::Probation { .. })
    }

    /// Whether mail sent `at` says nothing new: it went out before a suspension that is in force or has been served.
    pub(super) fn is_settled(&self, at: Wall) -> bool {
        self.is_out() || at < self.back_since
    }

    /// Mail sent before says nothing new ([`is_settled`](Self::is_settled)); `None` while all mail does not.
    pub(super) fn settled_until(&self) -> Option<Wall> {
        (!self.is_out()).then_some(self.back_since)
    }

    /// Whether the operator keeps automation from suspending it, here or on the whole binding.
    pub(super) fn is_sheltered(&self) -> bool {
        self.shield.is_some() || self.sheltered
    }

    /// Whether it has a shield of its own.
    pub(super) fn is_shielded(&self) -> bool {
        self.shield.is_some()
    }

    /// Whether it has been active for less than the dwell time.
    fn is_fresh(&self) -> bool {
        self.health == Health::Active && self.since != NEVER
    }

    fn all(&self) -> impl Iterator<Item = (Reason, &Held)> {
        self.causes.iter().chain(&self.gone).map(|(reason, held)| (*reason, held))
    }

    /// Automation's suspensions, whether they act or not.
    fn automatic(&self) -> impl Iterator<Item = (Reason, &Held)> {
        self.all().filter(|(reason, held)| held.effect == Effect::Suspend && *reason != Reason::Operator)
    }

    /// Whether a cause of this kind acts, or is only kept and shown.
    ///
    /// - The operator's word and an address that cannot be bound always do.
    /// - Where automation only watches, nothing else does.
    /// - Under a shield no suspension does; what asks for less still gets it.
    /// - Statistics alone do not throttle what has just become active: that would swing.
    fn acts(&self, reason: Reason, effect: Effect, rules: &config::Reputation) -> bool {
        if is_given(reason) {
            return true;
        }
        rules.automation == Automation::Act
            && match effect {
                Effect::Suspend => !self.is_sheltered(),
                Effect::Throttle => !(reason.is_inferred() && self.is_fresh()),
            }
    }

    /// What automation has judged and acts, with the end to show. What lasted until it was cleared and is gone shows none
    /// still: the rest of its dwell time is no news, and a cause that comes and goes would make news each time.
    fn judged(&self, effect: Effect, rules: &config::Reputation) -> impl Iterator<Item = (Reason, Wall)> {
        let ends = self.causes.iter().map(|(reason, held)| (*reason, held, self.end(*reason, held, rules)));
        let gone = self.gone.iter().map(|(reason, held)| {
            let until = if held.until == UNTIL_CLEARED { UNTIL_CLEARED } else { self.dwells_until(held, rules) };
            (*reason, held, until)
        });
        ends.chain(gone)
            .filter(move |(reason, held, _)| {
                held.effect == effect && !is_given(*reason) && self.acts(*reason, effect, rules)
            })
            .map(|(reason, _, end)| (reason, end))
    }

    /// Whether it is kept out. Probation waits for the end of it.
    fn blocked(&self, rules: &config::Reputation) -> bool {
        self.causes.keys().any(|reason| is_given(*reason))
            || (!self.withheld && self.judged(Effect::Suspend, rules).next().is_some())
    }

    /// Whether automation wants it out, and whether it is certain.
    pub(super) fn wants_out(&self) -> Option<bool> {
        self.automatic().map(|(_, held)| held.certain).reduce(|a, b| a || b)
    }

    /// Whether this cause suspends it (shown or not).
    pub(super) fn suspended_for(&self, reason: Reason) -> bool {
        self.automatic().any(|(other, _)| other == reason)
    }

    /// What the pool guard must be asked about: a suspension that would begin, for reasons none of which `passes`.
    pub(super) fn asks_the_guard(
        &self,
        before: &State,
        rules: &config::Reputation,
        passes: impl Fn(Reason, &Held) -> bool,
    ) -> Option<Reason> {
        let longest = self.judged(Effect::Suspend, rules).max_by_key(|(_, until)| *until);
        let certain = self.automatic().any(|(reason, held)| !is_given(reason) && passes(reason, held));
        longest.map(|(reason, _)| reason).filter(|_| !certain && !before.in_force)
    }

    /// The longest of automation's suspensions that are judged and do not act: the reason and its end.
    pub(super) fn spared(&self, rules: &config::Reputation) -> Option<(Reason, Wall)> {
        let spared = self.automatic().filter(|(reason, held)| !self.acts(*reason, held.effect, rules));
        spared.map(|(reason, held)| (reason, self.end(reason, held, rules))).max_by_key(|(_, until)| *until)
    }

    /// Brings health in line with the causes; `withheld`: the guard holds a suspension back. A suspension that is in force
    /// ends an earlier way back (but an address that cannot be bound says nothing about its reputation: there the way goes
    /// on afterwards).
    pub(super) fn show(&mut self, withheld: bool, rules: &config::Reputation, now: Wall) {
        self.withheld = withheld;
        self.in_force = !withheld && self.judged(Effect::Suspend, rules).next().is_some();
        if self.in_force {
            self.recovery = None;
        }
        let to = self.shown(rules);
        let turns = to.as_str() != self.health.as_str();
        self.health = to;
        if turns {
            self.since = now;
            if self.is_on_probation() {
                self.start_recovery(rules, now);
            }
            self.health = self.shown(rules);
            if self.is_fresh() && self.since.plus(rules.dwell) <= now {
                self.since = NEVER;
            }
        }
        if self.strikes > 0 && self.is_clean() && now.since(self.clean_since) >= rules.forgive_after {
            self.strikes = 0;
        }
        if self.is_blank() {
            // As it would be after a restart, since nothing of it is on disk.
            *self = Self { sheltered: self.sheltered, ..Self::default() };
        }
    }

    /// The health to show.
    pub(super) fn shown(&self, rules: &config::Reputation) -> Health {
        if let Some(operator) = self.causes.get(&Reason::Operator) {
            return Health::Suspended { until: operator.until, reason: Reason::Operator };
        }
        let judged = self.judged(Effect::Suspend, rules).max_by_key(|(_, until)| *until);
        let unbindable = self.causes.get(&Reason::Unbindable).map(|held| (Reason::Unbindable, held.until));
        let out = judged.filter(|_| !self.withheld).into_iter().chain(unbindable).max_by_key(|(_, until)| *until);
        if let Some((reason, until)) = out {
            return Health::Suspended { until, reason };
        }
        let acts = |way: &&Recovery| is_given(way.reason) || rules.automation == Automation::Act;
        if let Some(&Recovery { allowance, until, reason, .. }) = self.recovery.as_ref().filter(acts) {
            return Health::Probation { allowance, until, reason };
        }
        if let Some((reason, until)) = judged {
            return Health::Throttled { divisor: GUARD_DIVISOR, until, reason };
        }
        match self.judged(Effect::Throttle, rules).max_by_key(|(_, until)| *until) {
            Some((reason, until)) => Health::Throttled { divisor: THROTTLE_DIVISOR, until, reason },
            None => Health::Active,
        }
    }

    /// What is held against it, in words; what does not act, and what is gone, is told as such.
    pub(super) fn evidence(&self, rules: &config::Reputation) -> String {
        let held = self.causes.iter().map(|(reason, held)| {
            if self.acts(*reason, held.effect, rules) {
                return held.evidence.clone();
            }
            let verb = if held.effect == Effect::Suspend { "suspended" } else { "throttled" };
            let until = match self.end(*reason, held, rules) {
                UNTIL_CLEARED => "until that is gone".to_owned(),
                until => format!("until {until}"),
            };
            format!("would be {verb} {until} for {}: {}", reason.as_str(), held.evidence)
        });
        let gone = self.gone.values().map(|held| {
            format!("{} (gone, and stays in force until {})", held.evidence, self.dwells_until(held, rules))
        });
        held.chain(gone).collect::<Vec<_>>().join("; ")
    }
}
