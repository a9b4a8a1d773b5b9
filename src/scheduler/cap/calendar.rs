//! Which day a moment belongs to.
//!
//! A day starts at a local time of a time zone and ends where the next one starts, so it has 23 or 25 hours when the
//! clocks change. Everything is decided by comparing instants, never local times: on the night a local hour comes twice,
//! "02:10 is before 02:30" says nothing about which came first. A start that falls into a gap is the moment the gap ends
//! shifted as jiff's `compatible` does; in a fold the first of the two counts.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

use crate::clock::Wall;
use crate::config;

/// One calendar day as the operator means it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    /// The local date on which it starts.
    pub date: Date,
    /// Its first moment.
    pub start: Wall,
    /// The first moment of the next day.
    pub end: Wall,
}

impl Day {
    /// Whether `wall` lies in it.
    pub fn contains(&self, wall: Wall) -> bool {
        self.start <= wall && wall < self.end
    }
}

/// Time zone and start of the day.
#[derive(Clone, Debug)]
pub struct Calendar {
    zone: TimeZone,
    starts: Time,
}

impl Calendar {
    /// The calendar that `[server] day` describes.
    pub fn new(day: &config::Day) -> Self {
        Self { zone: day.timezone.clone(), starts: day.starts }
    }

    /// The day `wall` belongs to. Costs a look-up in the time zone's table: keep the answer while it
    /// [contains](Day::contains) the moment.
    pub fn day(&self, wall: Wall) -> Day {
        let mut date = wall.timestamp().to_zoned(self.zone.clone()).date();
        if wall < self.start(date) {
            date = date.yesterday().unwrap_or(date);
        } else if let Ok(next) = date.tomorrow()
            && self.start(next) <= wall
        {
            date = next;
        }
        self.on(date)
    }

    /// The day that starts on `date`.
    pub fn on(&self, date: Date) -> Day {
        let end = date.tomorrow().map_or(Wall::from_millis(i64::MAX), |next| self.start(next));
        Day { date, start: self.start(date), end }
    }

    fn start(&self, date: Date) -> Wall {
        let local = date.to_datetime(self.starts);
        match self.zone.to_ambiguous_timestamp(local).compatible() {
            Ok(timestamp) => Wall::from(timestamp),
            // Only at the two ends of jiff's calendar, thousands of years away.
            Err(_) => Wall::from_millis(if date.year() < 0 { i64::MIN } else { i64::MAX }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::{date, time};
    use proptest::prelude::*;

    fn calendar(zone: &str, starts: Time) -> Calendar {
        Calendar { zone: TimeZone::get(zone).expect("known zone"), starts }
    }

    fn at(text: &str) -> Wall {
        Wall::from(text.parse::<jiff::Timestamp>().expect("timestamp"))
    }

    fn hours(day: Day) -> u64 {
        day.end.since(day.start).as_secs() / 3600
    }

    #[test]
    fn days_follow_local_midnight_and_the_change_of_clocks() {
        let berlin = calendar("Europe/Berlin", Time::midnight());
        for (moment, expected, length) in [
            ("2026-01-15T22:59:59.999Z", date(2026, 1, 15), 24),
            ("2026-01-15T23:00:00Z", date(2026, 1, 16), 24),
            ("2026-03-29T00:59:59Z", date(2026, 3, 29), 23),
            ("2026-03-29T21:59:59Z", date(2026, 3, 29), 23),
            ("2026-03-29T22:00:00Z", date(2026, 3, 30), 24),
            ("2026-10-25T22:59:59Z", date(2026, 10, 25), 25),
            ("2026-10-25T23:00:00Z", date(2026, 10, 26), 24),
        ] {
            let day = berlin.day(at(moment));
            assert_eq!((day.date, hours(day)), (expected, length), "{moment}");
        }
    }

    #[test]
    fn a_start_in_the_hour_that_comes_twice_or_never_starts_the_day_once() {
        let berlin = calendar("Europe/Berlin", time(2, 30, 0, 0));
        // 25 October 2026: 02:30 comes at 00:30Z and at 01:30Z. 02:10 for the second time is after the start.
        assert_eq!(berlin.day(at("2026-10-25T00:29:59Z")).date, date(2026, 10, 24));
        assert_eq!(berlin.day(at("2026-10-25T00:30:00Z")).date, date(2026, 10, 25));
        assert_eq!(berlin.day(at("2026-10-25T01:10:00Z")).date, date(2026, 10, 25));
        // 29 March 2026: there is no 02:30; the day starts at 03:30 summer time.
        assert_eq!(berlin.day(at("2026-03-29T01:29:59Z")).date, date(2026, 3, 28));
        assert_eq!(berlin.day(at("2026-03-29T01:30:00Z")).date, date(2026, 3, 29));
    }

    #[test]
    fn a_zone_that_skips_midnight_or_a_whole_date_still_has_days_without_holes() {
        // Beirut goes forward at midnight; Samoa had no 30 December 2011.
        let beirut = calendar("Asia/Beirut", Time::midnight());
        let day = beirut.day(at("2024-03-30T22:00:00Z"));
        assert_eq!((day.date, hours(day)), (date(2024, 3, 31), 23));
        let apia = calendar("Pacific/Apia", Time::midnight());
        let before = apia.day(at("2011-12-30T09:59:59Z"));
        let after = apia.day(before.end);
        assert_eq!(before.date, date(2011, 12, 29));
        assert!(after.contains(before.end) && after.date > before.date);
    }

    proptest! {
        #[test]
        fn every_moment_lies_in_its_day(
            millis in -2_000_000_000_000i64..4_000_000_000_000,
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"]),
            hour in 0i8..24, minute in 0i8..60,
        ) {
            let calendar = calendar(zone, time(hour, minute, 0, 0));
            let wall = Wall::from_millis(millis);
            let day = calendar.day(wall);
            prop_assert!(day.contains(wall), "{wall} {day:?}");
            prop_assert!(calendar.day(day.end).start == day.end);
        }
    }
}
