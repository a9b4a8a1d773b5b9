//! How long causes are in force: dwell times, and what time alone does.
//!
//! **The rule.** What automation has brought about lasts: a cause is in force until its own end or, where that is later,
//! until the dwell time has passed since it was told, and since health became what it is. That holds where the cause is
//! gone (a listing that was cleared), where its span was shorter (a throttle of five seconds) and where it was told while
//! the guard held it back. A cause that comes and goes begins its dwell time anew each time it comes, so what flaps keeps
//! its subject where it is. Probation lasts as long at least. What is worse is shown at once, always.
//!
//! Two things dwell nowhere, since nobody has judged them: the operator's word, and an address that cannot be bound.
//!
//! **Active** has a dwell time as well, against the weakest of causes only: for that long after it became active, nothing
//! is throttled for what statistics say ([`Reason::is_inferred`]). What somebody asks for, or suspends for, is.
//!
//! **Clocks.** A clock that was set back leaves behind what begins in the future. That begins now instead, with the span
//! it had ([`State::set_back`]). One that is set forward lets time pass: who was told a wrong time by his own machine cannot
//! be told from who slept.

use std::time::Duration;

use super::recovery::period_began;
use super::{Effect, Held, NEVER, Reason, Shield, State, UNTIL_CLEARED, is_given};
use crate::clock::Wall;
use crate::config;

/// What may lie ahead without the clock having been set back: clocks are corrected by seconds all the time.
const AHEAD: Duration = Duration::from_secs(60);

/// Whether `at` lies so far ahead of `now` that the clock must have been set back.
pub(in crate::reputation) fn is_ahead(at: Wall, now: Wall) -> bool {
    at > now.plus(AHEAD)
}

impl State {
    /// Until when a cause is in force, unless it is told anew.
    pub(super) fn end(&self, reason: Reason, held: &Held, rules: &config::Reputation) -> Wall {
        if is_given(reason) { held.until } else { held.until.max(self.dwells_until(held, rules)) }
    }

    pub(super) fn dwells_until(&self, held: &Held, rules: &config::Reputation) -> Wall {
        held.since.max(self.since).plus(rules.dwell)
    }

    /// When time alone may change something next; later than now once what is due has been served and shown.
    pub(in crate::reputation) fn next_moment(&self, rules: &config::Reputation) -> Option<Wall> {
        let ends = self.causes.iter().map(|(reason, held)| self.end(*reason, held, rules));
        let gone = self.gone.values().map(|held| self.dwells_until(held, rules));
        let shield = self.shield.map(|shield| shield.until);
        let fresh = self.is_fresh().then(|| self.since.plus(rules.dwell));
        let period = self.recovery.as_ref().filter(|_| self.is_on_probation()).map(|way| way.until);
        let forgiven = (self.strikes > 0 && self.is_clean()).then(|| self.clean_since.plus(rules.forgive_after));
        let all = ends.chain(gone).chain(shield).chain(fresh).chain(period).chain(forgiven);
        all.filter(|&at| at != UNTIL_CLEARED).min()
    }

    pub(super) fn is_clean(&self) -> bool {
        self.causes.is_empty() && self.gone.is_empty() && self.recovery.is_none()
    }

    /// Lets time pass: causes end, periods of probation end, shields end. Show it afterwards: penalties are forgiven there.
    pub(in crate::reputation) fn expire(&mut self, rules: &config::Reputation, now: Wall) {
        let over = self.causes.iter().filter(|(reason, held)| self.end(**reason, held, rules) <= now);
        for reason in over.map(|(reason, _)| *reason).collect::<Vec<_>>() {
            if let Some(held) = self.causes.remove(&reason) {
                self.leave(reason, held.effect, rules, now);
            }
        }
        let over = self.gone.iter().filter(|(_, held)| self.dwells_until(held, rules) <= now);
        for reason in over.map(|(reason, _)| *reason).collect::<Vec<_>>() {
            if let Some(held) = self.gone.remove(&reason) {
                self.leave(reason, held.effect, rules, now);
            }
        }
        if self.is_on_probation() {
            self.next_period(rules, now);
        }
        self.shield.take_if(|shield| shield.until <= now);
        if self.is_fresh() && self.since.plus(rules.dwell) <= now {
            self.since = NEVER;
        }
    }

    /// Takes a cause away. It stays in force for the rest of its dwell time.
    pub(in crate::reputation) fn lift(&mut self, reason: Reason, rules: &config::Reputation, now: Wall) {
        let Some(held) = self.causes.remove(&reason) else { return };
        let effect = held.effect;
        let is_covered = effect == Effect::Throttle && self.gone.contains_key(&reason);
        let dwells = !is_given(reason) && self.acts(reason, effect, rules) && self.dwells_until(&held, rules) > now;
        if dwells && !is_covered {
            self.gone.insert(reason, held);
        } else {
            self.leave(reason, effect, rules, now);
        }
    }

    /// A cause that was removed is in force no more. After the last of automation's suspensions comes probation.
    fn leave(&mut self, reason: Reason, effect: Effect, rules: &config::Reputation, now: Wall) {
        if effect == Effect::Throttle {
            return;
        }
        let kept_it_out = is_given(reason) || (self.in_force && self.acts(reason, effect, rules));
        let more = self.judged(Effect::Suspend, rules).next().is_some();
        self.withheld &= more;
        self.in_force &= more;
        if self.automatic().next().is_none() {
            self.clean_since = self.clean_since.min(now);
        }
        if !kept_it_out {
            return;
        }
        let earned = !is_given(reason);
        if earned {
            self.back_since = now;
        }
        // One that ends while the address cannot be bound, or the operator keeps it, has its probation afterwards.
        let begins = if earned { !more } else { reason == Reason::Unbindable && !self.blocked(rules) };
        if begins && self.recovery.is_none() {
            self.begin_recovery(reason, rules, now);
        }
    }

    /// The last moment of which it bears a trace: no clock that it has seen showed less.
    pub(in crate::reputation) fn newest(&self, rules: &config::Reputation) -> Wall {
        let causes = self.causes.values().chain(self.gone.values());
        let told = causes.clone().map(|held| held.since);
        let way = self.recovery.iter().flat_map(|way| [way.started, period_began(way, rules)]);
        // What is clean only later than any cause ends was so by another clock.
        let earned = self.causes.iter().chain(&self.gone).filter(|(reason, _)| is_earned(**reason));
        let latest_end = earned.filter_map(|(_, held)| finite_end(held)).max().unwrap_or(NEVER);
        let clean = Some(self.clean_since).filter(|&clean| clean > latest_end);
        let shield = self.shield.map(|shield| shield.since);
        let all = told.chain(way).chain(clean).chain(shield);
        all.chain([self.since, self.back_since]).max().unwrap_or(NEVER)
    }

    /// The clock was set back: what begins in the future begins now.
    pub(in crate::reputation) fn set_back(&mut self, rules: &config::Reputation, now: Wall) {
        if !is_ahead(self.newest(rules), now) {
            return;
        }
        let mut latest_end = now;
        for (reason, held) in self.causes.iter_mut().chain(&mut self.gone) {
            if is_ahead(held.since, now) {
                held.until = moved(held.until, held.since, now);
                held.since = now;
            }
            let end = finite_end(held).filter(|_| is_earned(*reason));
            latest_end = end.map_or(latest_end, |end| latest_end.max(end));
        }
        if let Some(Shield { since, until }) = self.shield.as_mut().filter(|shield| is_ahead(shield.since, now)) {
            *until = moved(*until, *since, now);
            *since = now;
        }
        self.set_back_recovery(rules, now);
        if is_ahead(self.since, now) {
            self.since = now;
        }
        if is_ahead(self.back_since, now) {
            self.back_since = now;
        }
        self.clean_since = self.clean_since.min(latest_end);
    }
}

/// Whether being clean may begin with the end of it. The operator's word has nothing to do with that, and what feeds report
/// ends by their calendar and not after a span of ours.
fn is_earned(reason: Reason) -> bool {
    !matches!(reason, Reason::Operator | Reason::Reported)
}

fn finite_end(held: &Held) -> Option<Wall> {
    Some(held.until).filter(|&until| until != UNTIL_CLEARED)
}

fn moved(until: Wall, since: Wall, now: Wall) -> Wall {
    if until == UNTIL_CLEARED { until } else { now.plus(until.since(since)) }
}
