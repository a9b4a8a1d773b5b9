//! Deferrals and latency of a route that leave what is usual there.
//!
//! Before a receiver refuses an address it often defers more of its mail, or answers slower. Both are watched on every route
//! that has enough mail ([`chart`]): the share of deferrals that are the route's (its pace, its load, or nobody's in
//! particular; not greylisting, a full mailbox, the content) among what was deferred or accepted, and the logarithm of how
//! long an accepted attempt took. An attempt counts once, however many recipients it had.
//!
//! A receiver that is in trouble, or that we ask too much of, defers and slows down for all. So a route that has drifted is
//! compared with the other bindings at the same destination: those that were answered [`SAMPLE`](chart::SAMPLE) times since
//! it was above half of the limit are witnesses. Where most of them are not above half of theirs, it is this binding, and
//! its route is throttled for `dwell`, and again for as long as it lasts. Where they are, or where there is no
//! witness, nothing happens here: the adaptive [window](crate::scheduler::window) answers to what every single reply says.
//! Drift never suspends.
//!
//! Limits: a route is watched that has [`SAMPLE`](chart::SAMPLE) answers within `window`, and speaks after
//! [`LEARNT`](chart::LEARNT) samples, 200 answers. Memory: some 350 octets a route, [`ROUTES_MAX`] routes; those not
//! yet learnt are forgotten when nothing was heard for `window`, the others after four times `drift_half_life`. Nothing is written
//! down: after a restart the usual is learnt anew.

mod chart;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use self::chart::{Chart, Gathered, SAMPLE, Sample};
use super::attempts::Attempt;
use super::evidence::AttemptResult;
use super::health::{HealthChange, Reason};
use super::policy::Reputation;
use super::state::{Cause, Effect};
use crate::clock::Wall;
use crate::config;
use crate::message::{BindingName, DestinationName};
use crate::outcome::{Cause as WentWrong, Scope};

/// Routes that are watched.
pub(super) const ROUTES_MAX: usize = 65_536;

/// Share of deferrals whose binomial spread is the least that is reckoned with: a quiet route does not alarm on one.
const SHARE_FLOOR: f64 = 0.05;

/// Least rise of the share that counts.
const SHARE_LEAST: f64 = 0.05;

/// Least standard deviation of the logarithm's mean over a sample.
const LATENCY_FLOOR: f64 = 0.1;

/// Least rise of the logarithm: half as long again.
const LATENCY_LEAST: f64 = 0.405;

/// What is watched of one route.
#[derive(Debug, Default)]
struct Watch {
    deferrals: Chart,
    latency: Chart,
    answers: Gathered,
    times: Gathered,
    /// The last attempt, by when it ended and how long it took, and whether an acceptance and a deferral of it were counted.
    attempt: (Wall, Option<Duration>),
    counted: [bool; 2],
}

impl Watch {
    /// Counts an answer. True where a sample was completed.
    fn add(&mut self, deferred: bool, took: Option<Duration>, rules: &config::Reputation, now: Wall) -> bool {
        if self.attempt != (now, took) {
            (self.attempt, self.counted) = ((now, took), [false; 2]);
        }
        if std::mem::replace(&mut self.counted[usize::from(deferred)], true) {
            return false;
        }
        let mut completed = false;
        if let Some((mean, begun)) = self.answers.add(f64::from(u8::from(deferred)), rules.window, now) {
            let usual = self.deferrals.figures().0.clamp(SHARE_FLOOR, 1.0 - SHARE_FLOOR);
            let floor = (usual * (1.0 - usual) / f64::from(SAMPLE)).sqrt();
            self.deferrals.add(Sample { mean, floor, least: SHARE_LEAST, begun }, rules, now);
            completed = true;
        }
        if let Some(took) = took.filter(|_| !deferred) {
            let value = took.as_secs_f64().max(0.001).ln();
            if let Some((mean, begun)) = self.times.add(value, rules.window, now) {
                let sample = Sample { mean, floor: LATENCY_FLOOR, least: LATENCY_LEAST, begun };
                self.latency.add(sample, rules, now);
                completed = true;
            }
        }
        completed
    }

    fn chart(&self, reason: Reason) -> &Chart {
        if reason == Reason::Deferrals { &self.deferrals } else { &self.latency }
    }

    fn is_idle(&self, rules: &config::Reputation, now: Wall) -> bool {
        let learnt = self.deferrals.is_learnt() || self.latency.is_learnt();
        let patience = if learnt { rules.drift_half_life.saturating_mul(4) } else { rules.window };
        now.since(self.attempt.0) > patience
    }
}

/// All routes, by destination: those that are compared lie together.
#[derive(Debug, Default)]
pub(super) struct Drifts {
    watched: HashMap<DestinationName, HashMap<BindingName, Watch>>,
    count: usize,
}

impl Drifts {
    fn watch(&mut self, binding: &BindingName, to: &DestinationName) -> Option<&mut Watch> {
        let is_full = self.count >= ROUTES_MAX;
        let there = match self.watched.entry(to.clone()) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(_) if is_full => return None,
            Entry::Vacant(place) => place.insert(HashMap::new()),
        };
        match there.entry(binding.clone()) {
            Entry::Occupied(watch) => Some(watch.into_mut()),
            Entry::Vacant(_) if is_full => None,
            Entry::Vacant(place) => {
                self.count += 1;
                Some(place.insert(Watch::default()))
            }
        }
    }

    /// Witnesses of the time since `since` among the other bindings there: all, and those that have risen as well.
    fn witnesses(&self, binding: &BindingName, to: &DestinationName, reason: Reason, since: Wall) -> (usize, usize) {
        let others = self.watched.get(to).into_iter().flatten().filter(|(other, _)| *other != binding);
        let heard = others.filter_map(|(_, watch)| watch.chart(reason).has_risen(since));
        heard.fold((0, 0), |(all, risen), has_risen| (all + 1, risen + usize::from(has_risen)))
    }

    /// Forgets routes of which nothing was heard for long.
    pub(super) fn sweep(&mut self, rules: &config::Reputation, now: Wall) {
        self.watched.retain(|_, there| {
            there.retain(|_, watch| !watch.is_idle(rules, now));
            !there.is_empty()
        });
        self.count = self.watched.values().map(HashMap::len).sum();
    }
}

/// Whether an answer is a deferral of the route; `None` where it says nothing about deferrals.
fn is_deferral(result: &AttemptResult) -> Option<bool> {
    let AttemptResult::Refused { cause, scope, hard, text, .. } = result else { return Some(false) };
    let of_the_route = matches!(cause, WentWrong::RateLimited | WentWrong::TransientOther)
        && matches!(scope, Scope::Binding | Scope::Range | Scope::Destination | Scope::Unknown);
    // 421 closes the connection, as a receiver may at any time (RFC 5321 §3.8); unless it says that we are too fast.
    let is_closing = *cause == WentWrong::TransientOther && text.starts_with("421");
    (of_the_route && !hard && !is_closing).then_some(true)
}

impl Reputation {
    /// Counts the answer of one recipient; `took` is that of the whole attempt.
    pub(super) fn drift(
        &mut self,
        attempt: Attempt<'_>,
        result: &AttemptResult,
        took: Option<Duration>,
        now: Wall,
        out: &mut Vec<HealthChange>,
    ) {
        let Some(deferred) = is_deferral(result) else { return };
        let Some(watch) = self.drifts.watch(attempt.binding, attempt.destination) else { return };
        if !watch.add(deferred, took, &self.rules, now) {
            return;
        }
        for reason in [Reason::Deferrals, Reason::Latency] {
            self.judge_drift(attempt, reason, now, out);
        }
    }

    fn judge_drift(&mut self, attempt: Attempt<'_>, reason: Reason, now: Wall, out: &mut Vec<HealthChange>) {
        let (binding, to) = (attempt.binding, attempt.destination);
        let Some(chart) = self.drifts.watched.get(to).and_then(|there| there.get(binding)).map(|w| w.chart(reason))
        else {
            return;
        };
        // The other figure's sample says nothing new of this one.
        let Some(since) = chart.drifted().filter(|_| chart.last() == Some(now)) else { return };
        let (witnesses, risen) = self.drifts.witnesses(binding, to, reason, since);
        if risen * 2 >= witnesses {
            return;
        }
        let span = self.rules.dwell.max(Duration::from_secs(60));
        let route = self.bindings.get(binding).and_then(|watched| watched.routes.get(to));
        let held = route.and_then(|cell| cell.state.causes.get(&reason));
        if held.is_some_and(|held| held.until > now.plus(span / 2)) {
            // Told: each sample would move its end and show a change.
            return;
        }
        let (usual, lately) = chart.figures();
        let figures = match reason {
            Reason::Deferrals => format!("{:.0} % deferred, usually {:.0} %", lately * 100.0, usual * 100.0),
            _ => format!("{:.2} s an attempt, usually {:.2} s", lately.exp(), usual.exp()),
        };
        let evidence = format!("{figures}; {} of {witnesses} other bindings are as usual", witnesses - risen);
        let until = now.plus(span);
        self.change(&attempt.of_route(), &evidence, out, |state, _| {
            let cause = Cause { effect: Effect::Throttle, until, certain: false, evidence: evidence.clone() };
            state.hold(reason, cause, now);
        });
    }
}
