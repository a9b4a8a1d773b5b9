//! Which day a moment belongs to.
//!
//! A day starts at a local time of a time zone and ends where the next one starts, so it has 23 or 25 hours when the
//! clocks change. Everything is decided by comparing instants, never local times: on the night a local hour comes twice,
//! "02:10 is before 02:30" says nothing about which came first. A start that falls into a gap is the moment the gap ends
//! shifted as jiff's `compatible` does; in a fold the first of the two counts.

use jiff::ToSpan;
use jiff::civil::{Date, DateTime, Time};
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
        // Usually none or one step. More where a zone skipped a date (whose day is then empty) or lived one twice.
        while wall < self.start(date)
            && let Ok(before) = date.yesterday()
        {
            date = before;
        }
        while let Ok(next) = date.tomorrow()
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

    /// When each of its 24 hours begins on the clock; see [`Hours`].
    pub fn hours(&self, day: &Day) -> Hours {
        let mut begins = [day.end; 25];
        begins[0] = day.start;
        let first = day.date.to_datetime(self.starts);
        // From the last to the first: what falls into a gap begins with the first hour behind it.
        for hour in (1..24).rev() {
            let local = first.saturating_add((hour as i64).hours());
            begins[hour] = self.instant(local).clamp(day.start, begins[hour + 1]);
        }
        Hours(begins)
    }

    fn start(&self, date: Date) -> Wall {
        self.instant(date.to_datetime(self.starts))
    }

    fn instant(&self, local: DateTime) -> Wall {
        match self.zone.to_ambiguous_timestamp(local).compatible() {
            Ok(timestamp) => Wall::from(timestamp),
            // Only at the two ends of jiff's calendar, thousands of years away.
            Err(_) => Wall::from_millis(if local.year() < 0 { i64::MIN } else { i64::MAX }),
        }
    }
}

/// The 24 hours of a day as the clock shows them, from the one it starts with: the first moment of each, and the end. One
/// that is skipped when the clocks go forward is empty, one that comes twice is two hours long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours([Wall; 25]);

impl Hours {
    /// The hour `wall` lies in, 0 to 23: the first before the day, `None` after it.
    pub fn at(&self, wall: Wall) -> Option<usize> {
        let begun = self.0.partition_point(|&begin| begin <= wall);
        (begun <= 24).then(|| begun.saturating_sub(1))
    }

    /// First moment of an hour and of what follows it.
    pub fn of(&self, hour: usize) -> (Wall, Wall) {
        (self.0[hour], self.0[hour + 1])
    }
}

#[cfg(test)]
mod tests;
