//! Days in, stages out.

use super::ladder::Ladder;
use super::stage::{Blame, Move, Progress, Tally, Why};
use crate::config::{WarmupRules, WarmupStart};
use crate::scheduler::Experience;
use crate::scheduler::warmup::facts::{Record, ahead, read};
use jiff::ToSpan;
use jiff::civil::{Date, date};
use proptest::prelude::*;

const FIRST: Date = date(2026, 3, 2);
const NEW: WarmupStart = WarmupStart::Started(FIRST);

fn ladder() -> Ladder {
    Ladder::new(&[100, 200, 400, 800], 2.0)
}

fn rules() -> WarmupRules {
    WarmupRules::default()
}

fn day(number: i64) -> Date {
    FIRST.checked_add(number.days()).expect("a date")
}

/// One ladder through its days.
struct Life {
    progress: Progress,
    ladder: Ladder,
    cap: Option<u64>,
    today: i64,
}

impl Life {
    fn begin(origin: WarmupStart) -> Self {
        Self { progress: Progress::begin(origin, &ladder(), FIRST), ladder: ladder(), cap: None, today: 0 }
    }

    fn see(&mut self, accepted: u32, blamed: u32, deferred: u32) {
        self.progress.learn(&Experience { accepted, blamed, deferred, ..Experience::default() });
    }

    /// Ends the day.
    fn night(&mut self) -> Vec<Move> {
        self.today += 1;
        self.progress.turn(day(self.today), &self.ladder, self.cap, &rules())
    }

    fn after(&mut self, accepted: u32, blamed: u32, deferred: u32) -> Vec<(Why, usize)> {
        self.see(accepted, blamed, deferred);
        self.night().into_iter().map(|moved| (moved.why, moved.to)).collect()
    }

    fn limit(&self) -> Option<u64> {
        self.progress.limit(&self.ladder, self.cap, day(self.today))
    }

    fn restart(&mut self, exactly: bool) {
        let mut progress = self.progress.clone();
        if !exactly {
            progress.tally = ahead(progress.tally);
        }
        let record = Record { binding: "a".into(), provider: None, progress, engaged: None };
        self.progress = read("k", &record.bytes()).expect("a fact").progress;
        self.progress.adopt(&self.ladder);
    }
}

#[test]
fn a_day_moves_the_stage_by_what_receivers_answered() {
    use Why::{Advanced, Held, SteppedBack};
    // At stage 1, which allows 200: accepted, blamed, deferred; then what became of it.
    for (accepted, blamed, deferred, expected) in [
        (200, 0, 0, Some((Advanced, 2))),
        (150, 0, 0, Some((Advanced, 2))),
        (149, 0, 0, Some((Held, 1))),
        (1, 0, 0, Some((Held, 1))),
        (0, 0, 0, None),
        (180, 0, 20, Some((Advanced, 2))),
        (180, 0, 21, Some((Held, 1))),
        (195, 5, 0, Some((Advanced, 2))),
        (150, 16, 1, Some((Held, 1))),
        (180, 20, 1, Some((SteppedBack, 0))),
        (150, 40, 0, Some((SteppedBack, 0))),
        (0, 2, 0, Some((Held, 1))),
        (0, 3, 0, Some((SteppedBack, 0))),
        (20, 3, 0, Some((Held, 1))),
        (0, 0, 50, Some((Held, 1))),
    ] {
        let mut life = Life::begin(WarmupStart::Stage(1));
        let moved = life.after(accepted, blamed, deferred);
        assert_eq!(moved, expected.into_iter().collect::<Vec<_>>(), "{accepted} {blamed} {deferred}");
        assert_eq!(life.progress.tally, Tally::default(), "the next day begins at nothing");
    }
}

#[test]
fn bounces_greylisting_and_silence_say_nothing_of_the_pace() {
    let mut life = Life::begin(WarmupStart::Stage(1));
    life.progress.learn(&Experience { other: 500, failed: 500, ..Experience::default() });
    assert_eq!(life.after(0, 0, 0), [], "it counts as a day without mail");
    life.progress.learn(&Experience { other: 500, failed: 500, ..Experience::default() });
    assert_eq!(life.after(160, 0, 0), [(Why::Advanced, 2)]);
}

#[test]
fn weekends_and_holidays_move_nothing() {
    let mut life = Life::begin(NEW);
    let mut path = Vec::new();
    for number in 0..14 {
        let is_weekend = number % 7 >= 5;
        path.push(life.limit().unwrap_or_default());
        let all = life.limit().unwrap_or_default() as u32;
        life.after(if is_weekend { 0 } else { all }, 0, 0);
    }
    assert_eq!(path, [100, 200, 400, 800, 1_600, 3_200, 3_200, 3_200, 6_400, 0, 0, 0, 0, 0]);
    assert_eq!(life.limit(), None, "warm after seven sending days, the tail of the ladder included");
}

#[test]
fn an_address_is_cold_by_default() {
    let mut life = Life::begin(WarmupStart::Started(day(5)));
    assert_eq!(life.limit(), Some(0), "before its first day it sends nothing");
    life.see(50, 0, 0);
    (0..5).for_each(|_| assert_eq!(life.night(), [], "nor does it learn"));
    assert_eq!(life.limit(), Some(100));
    let mut late = Life::begin(WarmupStart::Started(day(-300)));
    assert_eq!(late.limit(), Some(100), "the calendar alone warms nobody");
    assert_eq!(late.night(), []);
}

#[test]
fn ramp_arithmetic_never_goes_the_wrong_way() {
    for days in 0..12 {
        let life = |days| Life::begin(WarmupStart::Age(days)).limit().unwrap_or(u64::MAX);
        assert!(life(days + 1) >= life(days), "an older address may send no less");
    }
    let mut good = Life::begin(NEW);
    let mut bad = Life::begin(WarmupStart::Stage(3));
    for _ in 0..10 {
        let (up, down) = (good.limit().unwrap_or(u64::MAX), bad.limit().unwrap_or(u64::MAX));
        good.after(up.min(10_000) as u32, 0, 0);
        bad.after(10, 90, 0);
        assert!(good.limit().unwrap_or(u64::MAX) >= up, "good days never take anything away");
        assert!(bad.limit().unwrap_or(u64::MAX) <= down, "bad days never give anything");
    }
    assert_eq!((good.limit(), bad.limit()), (None, Some(100)));
}

#[test]
fn a_held_day_is_told_once() {
    let mut life = Life::begin(NEW);
    assert_eq!(life.after(10, 0, 0), [(Why::Held, 0)]);
    assert_eq!(life.after(10, 0, 0), []);
    assert_eq!(life.after(0, 0, 0), []);
    assert_eq!(life.after(100, 0, 0), [(Why::Advanced, 1)]);
    assert_eq!(life.after(10, 0, 0), [(Why::Held, 1)], "and again after a move");
}

#[test]
fn a_suspension_costs_a_stage_once() {
    let mut life = Life::begin(WarmupStart::Stage(3));
    assert!(life.progress.suspended(Some(Blame::Address)));
    assert!(!life.progress.suspended(Some(Blame::Address)), "extended, or told again");
    assert_eq!(life.after(800, 0, 0), [(Why::SteppedBack, 2)], "however good the rest of the day");
    life.restart(false);
    life.progress.suspended(Some(Blame::Address));
    assert_eq!(life.after(400, 0, 0), [(Why::Advanced, 3)], "the same one on the next day");
    assert!(life.progress.suspended(None));
    life.progress.suspended(Some(Blame::Address));
    assert_eq!(life.night().first().map(|moved| moved.to), Some(2), "another one, also without mail");
}

#[test]
fn a_suspension_for_other_reasons_costs_the_day_at_most() {
    for (blame, expected) in [(Blame::Unclear, (Why::Held, 1)), (Blame::Nobody, (Why::Advanced, 2))] {
        let mut life = Life::begin(WarmupStart::Stage(1));
        life.progress.suspended(Some(blame));
        assert_eq!(life.after(200, 0, 0), [expected], "{blame:?}");
    }
    let mut life = Life::begin(WarmupStart::Stage(1));
    assert!(life.progress.bar() && !life.progress.bar());
    assert_eq!(life.after(200, 0, 0), [(Why::Held, 1)]);
    assert_eq!(life.after(200, 0, 0), [(Why::Advanced, 2)], "the next day is another");
}

#[test]
fn an_idle_address_cools_week_by_week() {
    let mut life = Life::begin(WarmupStart::Stage(3));
    let mut falls = Vec::new();
    for number in 1..70 {
        falls.extend(life.after(0, 0, 0).into_iter().map(|(why, to)| (number, why, to)));
    }
    let cooled = |number, to| (number, Why::Cooled, to);
    assert_eq!(falls, [cooled(32, 2), cooled(39, 1), cooled(46, 0)], "after thirty days without mail");
}

#[test]
fn one_good_mailing_a_month_keeps_an_address_warm_and_a_trickle_does_not() {
    let mut monthly = Life::begin(WarmupStart::Age(99));
    let mut trickle = Life::begin(WarmupStart::Age(99));
    (trickle.cap, monthly.cap) = (Some(50_000), Some(50_000));
    for number in 0..200 {
        assert_eq!(monthly.after(if number % 31 == 0 { 5_000 } else { 0 }, 0, 0), [], "day {number}");
        trickle.after(80, 0, 0);
    }
    assert_eq!((monthly.limit(), trickle.limit()), (None, Some(800)), "where a hundred a day is mail to speak of");
}

#[test]
fn what_cooled_climbs_again() {
    let mut life = Life::begin(WarmupStart::Stage(3));
    (0..40).for_each(|_| drop(life.night()));
    assert_eq!(life.limit(), Some(200));
    assert_eq!(life.after(200, 0, 0), [(Why::Advanced, 2)]);
    (0..30).for_each(|_| assert_eq!(life.night(), [], "rest is counted anew"));
    assert_eq!(life.night().len(), 1);
}

#[test]
fn a_long_stop_of_the_program_counts_like_idle_days() {
    let (mut running, mut stopped) = (Life::begin(WarmupStart::Stage(3)), Life::begin(WarmupStart::Stage(3)));
    running.see(800, 0, 0);
    stopped.see(800, 0, 0);
    (0..50).for_each(|_| drop(running.night()));
    stopped.restart(true);
    stopped.today = 49;
    let moves = stopped.night();
    assert_eq!(moves.iter().map(|moved| moved.why).collect::<Vec<_>>(), [Why::Advanced, Why::Cooled]);
    assert_eq!(stopped.progress, running.progress);
}

#[test]
fn days_are_days_also_when_the_clocks_change() {
    // Europe's days of 23 and 25 hours; a day is a date here, whatever its length.
    for first in [date(2026, 3, 28), date(2026, 10, 24)] {
        let mut progress = Progress::begin(WarmupStart::Started(first), &ladder(), first);
        for (number, expected) in [(1, 1), (2, 2), (3, 3)] {
            progress.learn(&Experience { accepted: 800, ..Experience::default() });
            let today = first.checked_add(i64::from(number).days()).expect("a date");
            assert_eq!(progress.turn(today, &ladder(), None, &rules())[0].to, expected);
        }
    }
}

#[test]
fn a_clock_that_goes_back_changes_nothing_and_one_that_was_far_ahead_is_forgotten() {
    let mut life = Life::begin(NEW);
    life.see(100, 0, 0);
    let before = life.progress.clone();
    assert_eq!(life.progress.turn(day(-1), &ladder(), None, &rules()), []);
    assert_eq!(life.progress, before, "yesterday again");
    life.progress.day = day(400);
    life.progress.last_mail = day(400);
    assert_eq!(life.progress.turn(day(0), &ladder(), None, &rules()), []);
    assert_eq!((life.progress.day, life.progress.last_mail, life.progress.tally.accepted), (day(0), day(0), 0));
}

#[test]
fn a_cap_below_the_stage_ends_the_ladder_and_a_raised_one_continues_it() {
    let mut life = Life::begin(WarmupStart::Stage(1));
    life.cap = Some(300);
    assert_eq!(life.limit(), Some(200));
    assert_eq!(life.after(200, 0, 0), [(Why::Finished, 2)]);
    assert_eq!(life.limit(), None, "400 are above the cap");
    assert_eq!(life.after(300, 0, 0), [], "there is nothing to climb to");
    life.cap = Some(100_000);
    assert_eq!(life.limit(), Some(400), "no jump to the new cap");
    assert_eq!(life.after(400, 0, 0), [(Why::Advanced, 3)]);
    life.cap = Some(100);
    assert_eq!(life.limit(), None);
}

#[test]
fn a_ladder_changed_in_the_file_keeps_the_volume_that_was_reached() {
    let mut life = Life::begin(WarmupStart::Age(5));
    assert_eq!(life.limit(), Some(3_200));
    for (stages, expected) in [
        (&[100u64, 200][..], Some(1_600)),
        (&[50, 1_500, 1_700], Some(1_500)),
        (&[100, 200, 400, 800], Some(800)),
        (&[5_000, 9_000], Some(5_000)),
    ] {
        life.ladder = Ladder::new(stages, 2.0);
        life.restart(true);
        assert_eq!(life.limit(), expected, "{stages:?}");
    }
}

#[test]
fn hostile_facts_do_no_harm() {
    let mut life = Life::begin(NEW);
    for (stage, allowance) in [(usize::MAX, Some(0)), (usize::MAX, Some(u64::MAX)), (0, None)] {
        (life.progress.stage, life.progress.allowance) = (stage, allowance);
        life.progress.adopt(&life.ladder);
        life.progress.tally = Tally { accepted: 1 << 60, blamed: 1 << 60, deferred: 1 << 60, ..Tally::default() };
        life.progress.cooled = u32::MAX;
        life.progress.last_mail = date(-9999, 1, 1);
        life.night();
        assert!(life.progress.stage <= life.ladder.end(None));
    }
}

/// One day: accepted as a share of the allowance in per cent, blamed, deferred, suspended.
type Weather = (u32, u32, u32, bool);

fn weather() -> impl Strategy<Value = Weather> {
    (0u32..=100, prop_oneof![3 => Just(0u32), 1 => 0u32..30], 0u32..60, prop::bool::weighted(0.05))
}

fn live(life: &mut Life, (percent, blamed, deferred, suspended): Weather, pieces: u32) {
    let all = life.limit().unwrap_or(5_000) as u32;
    let accepted = all * percent / 100;
    for piece in 0..pieces {
        let part = |count: u32| count * (piece + 1) / pieces - count * piece / pieces;
        life.see(part(accepted), part(blamed), part(deferred));
    }
    life.progress.suspended(suspended.then_some(Blame::Address));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_stage_rises_by_one_a_day_at_most_and_only_when_used(
        days in prop::collection::vec(weather(), 1..60), cap in prop::option::of(1u64..10_000),
    ) {
        let mut life = Life::begin(NEW);
        life.cap = cap;
        for weather in days {
            let (stage, limit) = (life.progress.stage, life.limit());
            live(&mut life, weather, 3);
            prop_assert_eq!(life.limit(), limit, "the day's allowance stands");
            let tally = life.progress.tally;
            life.night();
            prop_assert!(life.progress.stage <= stage + 1);
            if life.progress.stage > stage {
                let limit = limit.expect("only what is held by a stage can rise");
                prop_assert!(tally.accepted as f64 >= 0.75 * limit as f64);
                prop_assert!(tally.accepted as f64 >= 0.9 * tally.tried() as f64);
                prop_assert!(!tally.is_struck);
            }
        }
    }

    /// A crash forgets what was accepted since the last write; what speaks against the address is on disk.
    #[test]
    fn a_crash_never_makes_the_ramp_faster(
        days in prop::collection::vec((weather(), 0u64..500), 1..40), crash in any::<prop::sample::Index>(),
    ) {
        let (mut whole, mut cut) = (Life::begin(NEW), Life::begin(NEW));
        let crash = crash.index(days.len());
        for (at, (weather, forgotten)) in days.into_iter().enumerate() {
            // The same mail on both, as far as it fits.
            let limit = whole.limit().unwrap_or(5_000).min(cut.limit().unwrap_or(5_000)) as u32;
            let (percent, blamed, deferred, suspended) = weather;
            for life in [&mut whole, &mut cut] {
                life.see(limit * percent / 100, blamed, deferred);
                life.progress.suspended(suspended.then_some(Blame::Address));
            }
            if at == crash {
                cut.progress.tally.accepted = cut.progress.tally.accepted.saturating_sub(forgotten);
                cut.restart(false);
            }
            whole.night();
            cut.night();
            if at == crash {
                prop_assert!(cut.progress.stage <= whole.progress.stage, "{:?} {:?}", cut.progress, whole.progress);
            }
        }
    }

    #[test]
    fn a_clean_restart_changes_nothing(days in prop::collection::vec((weather(), any::<bool>()), 1..40)) {
        let (mut whole, mut cut) = (Life::begin(NEW), Life::begin(NEW));
        for (weather, restarts) in days {
            live(&mut whole, weather, 2);
            live(&mut cut, weather, 2);
            if restarts {
                cut.restart(true);
            }
            prop_assert_eq!(whole.night(), cut.night());
        }
        prop_assert_eq!(whole.progress, cut.progress);
    }
}
