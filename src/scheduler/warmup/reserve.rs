//! What an address in warm-up keeps back for engaged mail.
//!
//! Its allowance is small and is best spent on recipients who are glad of the mail. So at each moment as much of it is
//! kept as engaged mail is expected to take until the end of the day; the rest is for everybody. What is kept melts with
//! the hours and is nothing at the day's end: all of the allowance is used either way.
//!
//! The expectation is learned per binding: recipients of engaged mail accepted in each of 24 parts of a day, averaged over
//! sending days, later ones counting more, and a quarter more to be sure. Where no engaged mail has come for days nothing
//! is kept. A day whose allowance went to engaged mail alone says only that there was more: it counts twice. Before
//! anything is known a fifth of the allowance is kept.

use serde::{Deserialize, Serialize};

use crate::clock::Wall;
use crate::scheduler::cap::Day;

/// Parts of a day. On a day of 23 or 25 hours each is a little shorter or longer than an hour.
const PARTS: usize = 24;

/// Share of the allowance kept at the start of a day about which nothing is known.
const UNKNOWN: f64 = 0.2;

/// By how much more is kept than is expected.
const MARGIN: f64 = 1.25;

/// Least weight of the latest day in the average.
const LATEST: f64 = 0.3;

/// Expected below this is nothing.
const NOTHING: f64 = 0.5;

/// What is known of a binding's engaged mail.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reserve {
    /// Sending days it was learned from.
    days: u32,
    /// Recipients expected in each part of the day.
    expected: [f32; PARTS],
    /// Recipients accepted so far today.
    today: [u32; PARTS],
}

impl Reserve {
    /// Whether nothing is known and nothing was counted.
    pub fn is_blank(&self) -> bool {
        self.days == 0 && self.today == [0; PARTS]
    }

    /// Counts recipients of engaged mail that were accepted.
    pub fn took(&mut self, accepted: u32, day: &Day, wall: Wall) {
        let part = (PARTS as f64 * passed(day, wall)) as usize;
        let part = &mut self.today[part.min(PARTS - 1)];
        *part = part.saturating_add(accepted);
    }

    /// Ends a day on which `accepted` of `allowance` recipients were accepted in all.
    pub fn end_day(&mut self, accepted: u64, allowance: u64) {
        let today = std::mem::take(&mut self.today);
        if accepted == 0 {
            return;
        }
        let engaged: u64 = today.iter().map(|&part| u64::from(part)).sum();
        let is_cut_off = engaged as f64 >= 0.9 * allowance as f64;
        let weight = (1.0 / (f64::from(self.days) + 1.0)).max(LATEST);
        for (expected, seen) in self.expected.iter_mut().zip(today) {
            let seen = f64::from(seen) * if is_cut_off { 2.0 } else { 1.0 };
            *expected = (f64::from(*expected) * (1.0 - weight) + seen * weight) as f32;
        }
        self.days = self.days.saturating_add(1);
    }

    /// Recipients of today's `allowance` that are kept back at `wall`. Falls with time.
    pub fn kept(&self, allowance: u64, day: &Day, wall: Wall) -> u64 {
        self.kept_at(allowance, passed(day, wall))
    }

    fn kept_at(&self, allowance: u64, passed: f64) -> u64 {
        let kept = if self.days == 0 {
            UNKNOWN * allowance as f64 * (1.0 - passed)
        } else {
            let place = PARTS as f64 * passed;
            let still = |part: usize| (part as f64 + 1.0 - place).clamp(0.0, 1.0);
            let all: f64 = (0..PARTS).map(|part| f64::from(self.expected[part]) * still(part)).sum();
            if all < NOTHING { 0.0 } else { MARGIN * all }
        };
        (kept.ceil() as u64).min(allowance)
    }

    /// When fewer than `left` recipients are kept, so that one of those is free for others; the end of the day at the
    /// latest.
    pub fn free_at(&self, allowance: u64, left: u64, day: &Day) -> Wall {
        let length = day.end.since(day.start).as_millis() as u64;
        let at = |millis: u64| day.start.plus(std::time::Duration::from_millis(millis));
        let is_free = |millis: u64| self.kept(allowance, day, at(millis)) < left;
        // What is kept only falls: the first moment at which it is little enough is found by halving.
        let (mut low, mut high) = (0, length);
        while low < high {
            let middle = low + (high - low) / 2;
            if is_free(middle) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        at(high)
    }
}

/// Share of the day that has passed.
fn passed(day: &Day, wall: Wall) -> f64 {
    let length = day.end.since(day.start).as_millis().max(1);
    wall.since(day.start).as_millis().min(length) as f64 / length as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;
    use proptest::prelude::*;
    use std::time::Duration;

    const HOUR: u64 = 3_600_000;

    fn day_of(hours: u64) -> Day {
        let start = Wall::from_millis(1_779_235_200_000);
        Day { date: date(2026, 5, 20), start, end: start.plus(Duration::from_millis(hours * HOUR)) }
    }

    fn at(day: &Day, hour: u64) -> Wall {
        day.start.plus(Duration::from_millis(hour * HOUR))
    }

    /// A day on which engaged mail took so much in single hours.
    fn lived(reserve: &mut Reserve, day: &Day, engaged: &[(u64, u32)], accepted: u64, allowance: u64) {
        for &(hour, recipients) in engaged {
            reserve.took(recipients, day, at(day, hour));
        }
        reserve.end_day(accepted, allowance);
    }

    #[test]
    fn what_is_kept_melts_and_nothing_is_kept_at_the_end() {
        let day = day_of(24);
        let unknown = Reserve::default();
        let kept: Vec<u64> = [0, 6, 12, 18, 24].map(|hour| unknown.kept(1_000, &day, at(&day, hour))).into();
        assert_eq!(kept, [200, 150, 100, 50, 0], "a fifth while nothing is known");
    }

    #[test]
    fn as_much_is_kept_as_is_still_to_come_today() {
        let day = day_of(24);
        let mut reserve = Reserve::default();
        lived(&mut reserve, &day, &[(9, 40), (15, 40)], 500, 500);
        let kept: Vec<u64> = [0, 9, 10, 15, 16].map(|hour| reserve.kept(1_000, &day, at(&day, hour))).into();
        assert_eq!(kept, [100, 100, 50, 50, 0], "80 and a quarter more; then the afternoon's; then none");
        assert_eq!(reserve.kept(30, &day, day.start), 30, "never more than there is");
    }

    #[test]
    fn nothing_is_kept_for_mail_that_does_not_come() {
        let day = day_of(24);
        let mut reserve = Reserve::default();
        lived(&mut reserve, &day, &[], 500, 500);
        assert_eq!(reserve.kept(1_000, &day, day.start), 0);
        lived(&mut reserve, &day, &[(9, 40)], 0, 500);
        assert_eq!(reserve.kept(1_000, &day, day.start), 0, "a day on which nothing was accepted teaches nothing");
    }

    #[test]
    fn engaged_mail_that_took_all_would_have_taken_more() {
        let day = day_of(24);
        let mut reserve = Reserve::default();
        lived(&mut reserve, &day, &[(9, 480)], 500, 500);
        assert_eq!(reserve.kept(5_000, &day, day.start), 1_200);
    }

    #[test]
    fn later_days_count_more_and_a_long_day_has_all_its_parts() {
        let (day, long) = (day_of(24), day_of(25));
        let mut reserve = Reserve::default();
        (0..10).for_each(|_| lived(&mut reserve, &day, &[(23, 100)], 500, 500));
        (0..10).for_each(|_| lived(&mut reserve, &long, &[(24, 20)], 500, 500));
        let kept = reserve.kept(1_000, &long, at(&long, 23));
        assert!((25..30).contains(&kept), "{kept}");
        assert_eq!(reserve.kept(1_000, &long, long.end), 0);
    }

    #[test]
    fn it_comes_back_from_disk_as_it_was() {
        let day = day_of(24);
        let mut reserve = Reserve::default();
        lived(&mut reserve, &day, &[(9, 37), (15, 3)], 500, 500);
        reserve.took(5, &day, at(&day, 3));
        let text = serde_json::to_vec(&reserve).expect("json");
        assert_eq!(serde_json::from_slice::<Reserve>(&text).expect("reserve"), reserve);
    }

    proptest! {
        #[test]
        fn the_moment_given_is_the_first_at_which_others_may_go(
            engaged in prop::collection::vec((0u64..24, 0u32..300), 0..10),
            known: bool, allowance in 1u64..2_000, left in 1u64..2_000, hours in 23u64..26,
        ) {
            let day = day_of(hours);
            let left = left.min(allowance);
            let mut reserve = Reserve::default();
            if known {
                lived(&mut reserve, &day, &engaged, 500, 100_000);
            }
            let free = reserve.free_at(allowance, left, &day);
            prop_assert!(free >= day.start && free <= day.end);
            prop_assert!(reserve.kept(allowance, &day, free) < left);
            if free > day.start {
                let before = Wall::from_millis(free.as_millis() - 1);
                prop_assert!(reserve.kept(allowance, &day, before) >= left, "not a moment too late");
            }
            for hour in 1..=hours {
                let (earlier, later) = (at(&day, hour - 1), at(&day, hour));
                prop_assert!(reserve.kept(allowance, &day, later) <= reserve.kept(allowance, &day, earlier));
            }
        }
    }
}
