//! The size under traffic of all kinds, by hand and at random.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::super::Experience;
use super::adaptive::{Adaptive, Bounds, FORGET_AFTER, Pace};
use crate::clock::Mono;

const BOUNDS: Bounds = Bounds { start: 5, ceiling: 20 };
const PACE: Pace = Pace { grow_every: Duration::from_secs(5), deferral_ratio: 0.1 };
const ROUND_TRIP: Duration = Duration::from_millis(200);

fn accepted() -> Experience {
    Experience { accepted: 1, ..Experience::default() }
}

fn deferred() -> Experience {
    Experience { deferred: 1, ..Experience::default() }
}

fn failed() -> Experience {
    Experience { failed: 1, ..Experience::default() }
}

fn blamed() -> Experience {
    Experience { blamed: 1, ..Experience::default() }
}

fn other() -> Experience {
    Experience { other: 1, ..Experience::default() }
}

/// A route with as much mail as its window holds, to a receiver that takes `ROUND_TRIP` for an answer.
struct Road {
    size: Adaptive,
    bounds: Bounds,
    now: Mono,
    /// When those on the wire began.
    wire: VecDeque<Mono>,
}

impl Road {
    fn new(bounds: Bounds) -> Self {
        Self { size: Adaptive::default(), bounds, now: Mono::from_nanos(1), wire: VecDeque::new() }
    }

    fn size(&self) -> u32 {
        self.size.size(self.bounds)
    }

    fn pass(&mut self, span: Duration) {
        self.now = Mono::from_nanos(self.now.as_nanos() + span.as_nanos() as u64);
    }

    /// As many attempts as the window allows begin; a round trip later those are answered.
    fn round(&mut self, answer: impl Fn(u32) -> Experience) {
        while self.wire.len() < self.size() as usize {
            self.wire.push_back(self.now);
        }
        self.pass(ROUND_TRIP);
        let in_use = self.wire.len() as u32;
        for n in 0..in_use {
            self.one(&answer(n), in_use);
        }
    }

    /// The oldest on the wire is answered, and more mail waits to take its place.
    fn one(&mut self, answer: &Experience, in_use: u32) {
        let began = self.wire.pop_front();
        let answer = Experience { began, took: answer.took.or(Some(ROUND_TRIP)), ..*answer };
        self.size.answered(&answer, in_use, self.bounds, PACE, self.now);
    }

    fn rounds(&mut self, count: u32, answer: impl Fn(u32) -> Experience) {
        (0..count).for_each(|_| self.round(&answer));
    }
}

#[test]
fn a_fresh_route_starts_modestly_and_is_at_the_ceiling_within_fifteen_round_trips() {
    let mut road = Road::new(BOUNDS);
    for size in 5..=20 {
        assert_eq!(road.size(), size);
        road.round(|_| accepted());
    }
    assert_eq!((road.size(), road.size.is_neutral(BOUNDS)), (20, false), "worth remembering");
}

#[test]
fn many_parallel_deferrals_of_one_burst_shrink_it_once() {
    for bad in [deferred(), failed(), blamed()] {
        let mut road = Road::new(BOUNDS);
        road.rounds(15, |_| accepted());
        road.round(|_| bad);
        assert_eq!(road.size(), 10, "twenty of {bad:?}");
        road.round(|_| bad);
        assert_eq!(road.size(), 5, "the next burst is another event");
        road.rounds(10, |_| bad);
        assert_eq!(road.size(), 1, "never shut");
    }
}

#[test]
fn a_burst_that_ends_slowly_still_counts_once() {
    let mut road = Road::new(BOUNDS);
    road.rounds(15, |_| accepted());
    road.wire = std::iter::repeat_n(road.now, 20).collect();
    // Time-outs of what was on the wire together, a second apart.
    for _ in 0..20 {
        road.pass(Duration::from_secs(1));
        road.one(&failed(), 20);
    }
    assert_eq!(road.size(), 10);
}

#[test]
fn one_deferral_in_twenty_is_weather_and_two_in_a_row_are_a_sign() {
    let mut road = Road::new(BOUNDS);
    road.rounds(15, |_| accepted());
    road.rounds(100, |n| if n == 7 { deferred() } else { accepted() });
    assert_eq!(road.size(), 20, "five of a hundred");
    road.round(|n| if n < 2 { deferred() } else { accepted() });
    assert_eq!(road.size(), 10);
}

#[test]
fn greylisting_unknown_users_and_refused_content_move_nothing() {
    let mut road = Road::new(BOUNDS);
    road.rounds(50, |_| other());
    assert_eq!(road.size(), 5, "no step down, and no proof for a step up");
    road.rounds(15, |_| accepted());
    road.rounds(50, |_| other());
    assert_eq!(road.size(), 20);
    let mixed = Experience { accepted: 3, other: 2, ..Experience::default() };
    let mut road = Road::new(BOUNDS);
    road.rounds(15, |_| mixed);
    assert_eq!(road.size(), 20, "mail that was accepted in part was accepted");
}

#[test]
fn after_a_step_down_steps_up_keep_their_distance() {
    let mut road = Road::new(BOUNDS);
    road.rounds(15, |_| accepted());
    road.round(|_| failed());
    let mut last = (road.now, road.size());
    while road.size() < 20 {
        road.round(|_| accepted());
        if road.size() != last.1 {
            assert_eq!(road.size(), last.1 + 1, "one at a time");
            let since = road.now.since(last.0);
            assert!(since >= PACE.grow_every && since < PACE.grow_every + 2 * ROUND_TRIP, "{since:?}");
            last = (road.now, road.size());
        }
    }
    let took = road.now.since(Mono::from_nanos(1 + 16 * ROUND_TRIP.as_nanos() as u64));
    assert!((50..=53).contains(&took.as_secs()), "half of twenty is back in ten steps: {took:?}");
    assert!(!road.size.is_careful(), "and all is forgiven");
}

#[test]
fn what_is_not_used_is_not_proven() {
    let mut road = Road::new(BOUNDS);
    for _ in 0..500 {
        road.wire = [road.now].into();
        road.pass(ROUND_TRIP);
        road.one(&accepted(), 1);
    }
    assert_eq!(road.size(), 5, "five hundred one after the other say nothing about six at once");
    road.rounds(3, |_| failed());
    assert_eq!(road.size(), 1);
    for _ in 0..500 {
        road.wire = [road.now].into();
        road.pass(ROUND_TRIP);
        road.one(&accepted(), 1);
    }
    assert_eq!(road.size(), 5, "but a trickle suffices to be as good as new");
}

#[test]
fn answers_that_take_clearly_longer_than_usual_shrink_it_gently_and_not_below_the_start() {
    let slow = |millis| Experience { took: Some(Duration::from_millis(millis)), ..accepted() };
    let mut road = Road::new(BOUNDS);
    road.rounds(20, |_| slow(300));
    assert_eq!(road.size(), 20);
    road.rounds(20, |n| slow(200 + u64::from(n % 4) * 100));
    assert_eq!(road.size(), 20, "some longer, some shorter");
    road.round(|_| slow(4_000));
    assert_eq!(road.size(), 18, "once a round trip, by an eighth");
    road.rounds(4, |_| slow(4_000));
    assert!((5..=14).contains(&road.size()), "{}", road.size());
    road.rounds(60, |_| slow(4_000));
    assert!(road.size() >= 5, "{}", road.size());
    for _ in 0..400 {
        road.pass(Duration::from_secs(5));
        road.round(|_| slow(4_000));
    }
    assert_eq!(road.size(), 20, "what lasts becomes usual");
}

#[test]
fn a_fast_receiver_that_stutters_is_left_alone() {
    let millis = |millis| Experience { took: Some(Duration::from_millis(millis)), ..accepted() };
    let mut road = Road::new(BOUNDS);
    road.rounds(20, |_| millis(1));
    road.rounds(20, |_| millis(60));
    assert_eq!(road.size(), 20, "sixty times as long, and still nothing to speak of");
}

#[test]
fn an_idle_route_is_as_new_after_an_hour() {
    for (answer, size) in [(accepted as fn() -> Experience, 20), (failed, 1)] {
        let mut road = Road::new(BOUNDS);
        road.rounds(16, |_| answer());
        assert_eq!(road.size(), size);
        road.pass(FORGET_AFTER - ROUND_TRIP * 2);
        road.wire = [road.now].into();
        road.one(&other(), 1);
        assert_eq!(road.size(), size, "not a moment earlier");
        road.pass(FORGET_AFTER);
        assert!(road.size.is_stale(road.now));
        road.wire = [road.now].into();
        road.one(&other(), 1);
        assert_eq!(road.size(), 5);
    }
}

#[test]
fn a_changed_ceiling_holds_at_once_and_a_raised_one_is_climbed_to() {
    let mut road = Road::new(BOUNDS);
    road.rounds(15, |_| accepted());
    road.bounds.ceiling = 8;
    assert_eq!(road.size(), 8);
    road.round(|_| accepted());
    road.bounds.ceiling = 30;
    road.rounds(40, |_| accepted());
    assert_eq!(road.size(), 30);
    road.bounds = Bounds { start: 5, ceiling: 2 };
    assert_eq!((road.size(), road.size.is_neutral(road.bounds)), (2, true));
    road.bounds.ceiling = 0;
    assert_eq!(road.size(), 0, "closed by the configuration");
}

#[test]
fn a_window_of_one_recovers_from_its_step_down() {
    let mut road = Road::new(Bounds { start: 1, ceiling: 1 });
    road.round(|_| failed());
    assert!(road.size.is_careful());
    road.pass(PACE.grow_every);
    road.round(|_| accepted());
    assert!(!road.size.is_careful());
}

#[test]
fn a_window_is_small_in_memory() {
    assert!(size_of::<Adaptive>() <= 72, "{} octets", size_of::<Adaptive>());
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Answer { kind: u8, millis: u64 },
    Pass(u64),
    Ceiling(u32),
    Restart(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        20 => (0u8..6, 0u64..5_000).prop_map(|(kind, millis)| Event::Answer { kind, millis }),
        4 => (0u64..20_000).prop_map(Event::Pass),
        1 => Just(Event::Pass(4_000_000)),
        1 => (0u32..50).prop_map(Event::Ceiling),
        1 => (0u64..900_000).prop_map(Event::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_size_stays_between_one_and_the_ceiling_and_moves_in_steps(
        start in 1u32..30, events in prop::collection::vec(event(), 1..400),
    ) {
        let mut bounds = Bounds { start: start.min(20), ceiling: 20 };
        let mut size = Adaptive::default();
        let mut now = Mono::from_nanos(1);
        let mut last_up = None;
        for event in events {
            let before = size.size(bounds);
            let was_careful = size.is_careful();
            let was_stale = size.is_stale(now);
            match event {
                Event::Answer { kind, millis } => {
                    let seen = [accepted(), deferred(), failed(), blamed(), other(), Experience::default()];
                    let took = Some(Duration::from_millis(millis));
                    size.answered(&Experience { took, ..seen[usize::from(kind)] }, before.max(1), bounds, PACE, now);
                }
                Event::Pass(millis) => now = Mono::from_nanos(now.as_nanos() + millis * 1_000_000),
                Event::Ceiling(ceiling) => bounds = Bounds { start: start.min(ceiling), ceiling },
                Event::Restart(millis) => size.restart(Mono::from_nanos(now.as_nanos() + millis * 1_000_000), now),
            }
            let after = size.size(bounds);
            prop_assert!(after <= bounds.ceiling && after >= bounds.ceiling.min(1), "{after} of {bounds:?}");
            if let Event::Answer { .. } = event && !was_stale {
                prop_assert!(after <= before + 1, "one at a time: {before} to {after}");
                prop_assert!(after >= before / 2, "at most half: {before} to {after}");
                if after > before {
                    if was_careful && let Some(last) = last_up {
                        prop_assert!(now.since(last) >= PACE.grow_every, "the interval between steps up is kept");
                    }
                    last_up = was_careful.then_some(now);
                }
            } else {
                last_up = None;
            }
        }
    }

    /// However it fared, enough accepted mail brings the ceiling back.
    #[test]
    fn nobody_is_kept_small_for_ever(events in prop::collection::vec(event(), 0..100)) {
        let mut road = Road::new(BOUNDS);
        for event in events {
            if let Event::Answer { kind, .. } = event {
                road.round(|_| [accepted(), deferred(), failed(), blamed(), other(), accepted()][usize::from(kind)]);
            }
        }
        let rounds = 20 * (PACE.grow_every.as_nanos() / ROUND_TRIP.as_nanos()) as u32 + 40;
        road.rounds(rounds, |_| accepted());
        prop_assert_eq!(road.size(), 20);
    }
}
