//! The last hour of each binding, minute by minute: what the console draws. Pure.
//!
//! Prometheus keeps history for those who have one; a person in front of the console wants to see the last hour without.
//! So the outcome of every recipient's attempt is counted in a ring of [`MINUTES`] minutes per binding, in a coarser ring
//! per binding and destination label (a provider's name or `other`, as in metrics), and the last refusal of each is kept
//! in its words. Memory is bounded by the configuration: 0.75 KB a binding, some 0.4 KB a route and its refusal, at most
//! [`ROUTES_MAX`] routes; a route that was silent for an hour is forgotten, a binding (and its last refusal) after a day. A
//! restart forgets all of it.
//!
//! A minute is counted by the wall clock. One that is set back counts into the minute it was in before.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use crate::clock::{Wall, rfc3339};
use crate::message::BindingName;
use crate::outcome::Disposition;

/// Minutes that are remembered of a binding.
pub const MINUTES: usize = 60;
/// Minutes in one step of a route's ring …
const STEP: i64 = 10;
/// … which has so many steps.
const STEPS: usize = 6;
/// Routes remembered at most.
pub const ROUTES_MAX: usize = 16_384;
/// Characters kept of a refusal's text.
const TEXT_MAX: usize = 300;

/// Recipients' attempts by what came of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = HourTally)]
pub struct Tally {
    /// Delivered.
    pub delivered: u32,
    /// Deferred.
    pub deferred: u32,
    /// Bounced.
    pub bounced: u32,
}

impl Tally {
    fn count(&mut self, disposition: Disposition) {
        let counter = match disposition {
            Disposition::Delivered => &mut self.delivered,
            Disposition::Deferred => &mut self.deferred,
            Disposition::Bounced => &mut self.bounced,
            _ => return,
        };
        *counter = counter.saturating_add(1);
    }

    fn plus(self, other: Self) -> Self {
        Self {
            delivered: self.delivered.saturating_add(other.delivered),
            deferred: self.deferred.saturating_add(other.deferred),
            bounced: self.bounced.saturating_add(other.bounced),
        }
    }
}

/// What a receiver said when it did not take a mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = LastRefusal)]
pub struct Refusal {
    /// When.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub at: Wall,
    /// At which destination, by its label.
    #[schema(value_type = String)]
    pub destination: Arc<str>,
    /// The reply, or what failed, in words; cut after 300 characters.
    pub text: String,
    /// Id of the rule that understood it.
    #[schema(value_type = String)]
    pub rule: Arc<str>,
    /// Whose fault it is.
    pub scope: &'static str,
}

/// One recipient's attempt.
#[derive(Clone, Copy, Debug)]
pub struct Attempted<'a> {
    /// Over which binding.
    pub binding: &'a BindingName,
    /// Label of the destination.
    pub destination: &'a str,
    /// What came of it.
    pub disposition: Disposition,
    /// The reply in words.
    pub text: &'a str,
    /// Id of the rule that understood it.
    pub rule: &'a Arc<str>,
    /// Whose fault it is.
    pub scope: &'static str,
}

/// The last hour over one route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct RoutePast {
    /// Label of the destination.
    #[schema(value_type = String)]
    pub destination: Arc<str>,
    /// All of the last hour (fifty to sixty minutes: it is counted in steps of ten).
    pub hour: Tally,
    /// The last refusal.
    pub refusal: Option<Refusal>,
}

/// A ring of steps, of which `head` is the newest.
#[derive(Clone, Debug)]
struct Ring<const N: usize> {
    steps: [Tally; N],
    head: i64,
}

impl<const N: usize> Ring<N> {
    fn new(head: i64) -> Self {
        Self { steps: [Tally::default(); N], head }
    }

    fn place(step: i64) -> usize {
        // The remainder is from 0 to N − 1.
        step.rem_euclid(N as i64) as usize
    }

    fn count(&mut self, disposition: Disposition, step: i64) {
        let passed = step.saturating_sub(self.head).clamp(0, N as i64);
        for passed in 0..passed {
            self.steps[Self::place(step - passed)] = Tally::default();
        }
        self.head = self.head.max(step);
        self.steps[Self::place(self.head)].count(disposition);
    }

    /// Oldest first, the last one being that of `step`.
    fn until(&self, step: i64) -> [Tally; N] {
        let step = step.max(self.head);
        std::array::from_fn(|n| {
            let wanted = step - (N - 1 - n) as i64;
            let known = wanted <= self.head && wanted > self.head.saturating_sub(N as i64);
            if known { self.steps[Self::place(wanted)] } else { Tally::default() }
        })
    }

    fn is_over(&self, step: i64) -> bool {
        self.head <= step.saturating_sub(N as i64)
    }
}

#[derive(Debug)]
struct Track {
    minutes: Ring<MINUTES>,
    routes: HashMap<Arc<str>, Route>,
    refusal: Option<Refusal>,
}

#[derive(Debug)]
struct Route {
    steps: Ring<STEPS>,
    refusal: Option<Refusal>,
}

/// The last hour.
#[derive(Debug, Default)]
pub struct History {
    all: Option<Ring<MINUTES>>,
    bindings: HashMap<BindingName, Track>,
    routes: usize,
    swept: i64,
}

fn minute(now: Wall) -> i64 {
    now.as_millis().div_euclid(60_000)
}

impl History {
    /// Counts one recipient's attempt.
    pub fn note(&mut self, of: &Attempted<'_>, now: Wall) {
        let minute = minute(now);
        self.sweep(minute);
        self.all.get_or_insert_with(|| Ring::new(minute)).count(of.disposition, minute);
        if !self.bindings.contains_key(of.binding) {
            let track = Track { minutes: Ring::new(minute), routes: HashMap::new(), refusal: None };
            self.bindings.insert(of.binding.clone(), track);
        }
        let Some(track) = self.bindings.get_mut(of.binding) else { return };
        track.minutes.count(of.disposition, minute);
        let refused = matches!(of.disposition, Disposition::Deferred | Disposition::Bounced);
        let refusal = refused.then(|| Refusal {
            at: now,
            destination: of.destination.into(),
            text: of.text.chars().take(TEXT_MAX).collect(),
            rule: Arc::clone(of.rule),
            scope: of.scope,
        });
        if !track.routes.contains_key(of.destination) && self.routes < ROUTES_MAX {
            let route = Route { steps: Ring::new(minute.div_euclid(STEP)), refusal: None };
            track.routes.insert(of.destination.into(), route);
            self.routes += 1;
        }
        if let Some(route) = track.routes.get_mut(of.destination) {
            route.steps.count(of.disposition, minute.div_euclid(STEP));
            route.refusal = refusal.clone().or(route.refusal.take());
        }
        track.refusal = refusal.or(track.refusal.take());
    }

    /// Forgets routes that were silent for an hour, and bindings that were for a day; looks once a step.
    fn sweep(&mut self, minute: i64) {
        let step = minute.div_euclid(STEP);
        if step == self.swept {
            return;
        }
        self.swept = step;
        self.bindings.retain(|_, track| {
            track.routes.retain(|_, route| !route.steps.is_over(step));
            minute.saturating_sub(track.minutes.head) < 24 * 60
        });
        self.routes = self.bindings.values().map(|track| track.routes.len()).sum();
    }

    /// The last hour of all bindings together, oldest minute first; the last one is under way.
    pub fn all(&self, now: Wall) -> [Tally; MINUTES] {
        self.all.as_ref().map_or([Tally::default(); MINUTES], |ring| ring.until(minute(now)))
    }

    /// The last hour of a binding, oldest minute first; the last one is under way. `None` where nothing is known of it.
    pub fn minutes(&self, binding: &BindingName, now: Wall) -> Option<[Tally; MINUTES]> {
        Some(self.bindings.get(binding)?.minutes.until(minute(now)))
    }

    /// The last refusal of a binding.
    pub fn refusal(&self, binding: &BindingName) -> Option<&Refusal> {
        self.bindings.get(binding)?.refusal.as_ref()
    }

    /// The last hour of a binding, summed up.
    pub fn hour(&self, binding: &BindingName, now: Wall) -> Tally {
        self.minutes(binding, now).into_iter().flatten().fold(Tally::default(), Tally::plus)
    }

    /// The routes of a binding that carried anything in the last hour, in no order.
    pub fn routes(&self, binding: &BindingName, now: Wall) -> Vec<RoutePast> {
        let step = minute(now).div_euclid(STEP);
        let routes = self.bindings.get(binding).into_iter().flat_map(|track| &track.routes);
        let past = routes.filter(|(_, route)| !route.steps.is_over(step)).map(|(destination, route)| RoutePast {
            destination: Arc::clone(destination),
            hour: route.steps.until(step).into_iter().fold(Tally::default(), Tally::plus),
            refusal: route.refusal.clone(),
        });
        past.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    fn at(minute: i64) -> Wall {
        Wall::from_millis(minute * MINUTE + 7)
    }

    fn note(history: &mut History, binding: &str, destination: &str, disposition: Disposition, minute: i64) {
        let (binding, rule) = (BindingName::new(binding), Arc::from("rule.x"));
        let text = "550 5.7.1 no";
        let of = Attempted { binding: &binding, destination, disposition, text, rule: &rule, scope: "binding" };
        history.note(&of, at(minute));
    }

    fn delivered(minutes: [Tally; MINUTES]) -> Vec<(usize, u32)> {
        let with = |(n, tally): (usize, Tally)| (tally.delivered > 0).then_some((n, tally.delivered));
        minutes.into_iter().enumerate().filter_map(with).collect()
    }

    #[test]
    fn minutes_move_to_the_left_and_out() {
        let mut history = History::default();
        for minute in [100, 100, 101, 130] {
            note(&mut history, "a", "x", Disposition::Delivered, minute);
        }
        let a = BindingName::new("a");
        for (now, expected) in [
            (130, vec![(29, 2), (30, 1), (59, 1)]),
            (159, vec![(0, 2), (1, 1), (30, 1)]),
            (160, vec![(0, 1), (29, 1)]),
            (189, vec![(0, 1)]),
            (190, vec![]),
            (100_000, vec![]),
        ] {
            assert_eq!(delivered(history.minutes(&a, at(now)).unwrap()), expected, "{now}");
            assert_eq!(delivered(history.all(at(now))), expected, "{now}");
        }
    }

    #[test]
    fn a_ring_that_goes_round_holds_nothing_of_its_last_round() {
        let mut history = History::default();
        note(&mut history, "a", "x", Disposition::Delivered, 5);
        note(&mut history, "a", "x", Disposition::Delivered, 5 + 3 * MINUTES as i64);
        let minutes = history.minutes(&BindingName::new("a"), at(5 + 3 * MINUTES as i64)).unwrap();
        assert_eq!(delivered(minutes), [(59, 1)]);
    }

    #[test]
    fn a_clock_set_back_counts_into_the_last_minute() {
        let mut history = History::default();
        for minute in [100, 40, -7] {
            note(&mut history, "a", "x", Disposition::Deferred, minute);
        }
        let minutes = history.minutes(&BindingName::new("a"), at(40)).unwrap();
        assert_eq!(minutes[59], Tally { deferred: 3, ..Tally::default() });
    }

    #[test]
    fn each_kind_is_counted_by_binding_and_by_route() {
        let mut history = History::default();
        let kinds = [Disposition::Delivered, Disposition::Deferred, Disposition::Bounced, Disposition::Expired];
        for (n, destination) in [(0, "x"), (1, "x"), (1, "y"), (2, "y"), (3, "y")] {
            note(&mut history, "a", destination, kinds[n], 70);
        }
        note(&mut history, "b", "x", Disposition::Delivered, 70);
        let a = BindingName::new("a");
        assert_eq!(history.hour(&a, at(71)), Tally { delivered: 1, deferred: 2, bounced: 1 });
        let mut routes = history.routes(&a, at(71));
        routes.sort_by(|one, other| one.destination.cmp(&other.destination));
        let hours: Vec<_> = routes.iter().map(|route| (&*route.destination, route.hour)).collect();
        let (x, y) = (Tally { delivered: 1, deferred: 1, bounced: 0 }, Tally { delivered: 0, deferred: 1, bounced: 1 });
        assert_eq!(hours, [("x", x), ("y", y)]);
        assert_eq!(history.all(at(70))[59], Tally { delivered: 2, deferred: 2, bounced: 1 });
    }

    #[test]
    fn the_last_refusal_stays_when_mail_goes_again_and_is_cut() {
        let mut history = History::default();
        let (a, rule) = (BindingName::new("a"), Arc::from("rule.x"));
        let text = "é".repeat(1_000);
        let mut of = Attempted {
            binding: &a,
            destination: "x",
            disposition: Disposition::Bounced,
            text: &text,
            rule: &rule,
            scope: "binding",
        };
        history.note(&of, at(1));
        of.disposition = Disposition::Delivered;
        history.note(&of, at(2));
        let refusal = history.refusal(&a).unwrap();
        assert_eq!((refusal.at, refusal.text.chars().count()), (at(1), TEXT_MAX));
        assert_eq!(history.routes(&a, at(2))[0].refusal.as_ref(), Some(refusal));
    }

    #[test]
    fn what_is_silent_is_forgotten_and_there_is_an_end_to_routes() {
        let mut history = History::default();
        for n in 0..ROUTES_MAX + 5 {
            note(&mut history, "a", &n.to_string(), Disposition::Delivered, 10);
        }
        let a = BindingName::new("a");
        assert_eq!(history.routes(&a, at(10)).len(), ROUTES_MAX);
        note(&mut history, "b", "x", Disposition::Delivered, 80);
        assert_eq!((history.routes, history.bindings.len()), (1, 2), "the routes of a are gone, a is not yet");
        note(&mut history, "b", "x", Disposition::Delivered, 10 + 24 * 60);
        assert_eq!(history.minutes(&a, at(10 + 24 * 60)), None);
    }
}
