//! What a feed remembers over a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::observation::Observation;
use super::reading::{day_at, day_of};
use super::schedule::Schedule;
use crate::clock::Wall;
use crate::message::BindingName;

/// Days back that are asked for as long as they are missing: reports come one to two days late. One that is older is
/// asked for once.
const LATE: i64 = 3;
/// Days back that are asked for at all.
const MOST_DAYS: i64 = 31;

/// Everything but the observations, which are the book's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// When it was asked and will be.
    pub schedule: Schedule,
    /// Days whose report has come, or comes no more.
    #[serde(default)]
    pub days: BTreeSet<Date>,
    /// Requests that were made on a day.
    #[serde(default)]
    pub spent: Option<(Date, u32)>,
    /// When the refresh token ends, as its issuer said.
    #[serde(default)]
    pub refresh_ends: Option<Wall>,
    /// Which of the operator's secrets that token descends from.
    #[serde(default)]
    pub refresh_seed: Option<String>,
    /// End of the newest period that was ever reported; it outlives the observation.
    #[serde(default)]
    pub newest: Option<Wall>,
    /// When the feed was set up.
    #[serde(default)]
    pub begun: Option<Wall>,
    /// When addresses (WQS) or domains (Postmaster Tools) were last asked about, whatever came of it.
    #[serde(default)]
    pub tried: BTreeMap<String, Wall>,
    /// Bindings whose bad news are held.
    #[serde(default)]
    pub held: BTreeSet<BindingName>,
}

/// The file of a feed, as it is read.
#[derive(Debug, Default, Deserialize)]
pub struct Written {
    /// What it remembers.
    #[serde(flatten)]
    pub memory: Memory,
    /// What was said.
    pub observations: Vec<Observation>,
}

/// The file of a feed, as it is written.
#[derive(Debug, Serialize)]
pub struct Writing<'a> {
    /// What it remembers.
    #[serde(flatten)]
    pub memory: &'a Memory,
    /// What was said.
    pub observations: Vec<&'a Observation>,
}

impl Memory {
    /// As far as a clock that was set back has not overtaken it.
    #[must_use]
    pub fn recalled(mut self, now: Wall) -> Self {
        self.begun = Some(self.begun.unwrap_or(now).min(now));
        self.newest = self.newest.map(|at| at.min(now));
        self
    }

    /// Since when there is no newer report.
    pub fn silent_since(&self, now: Wall) -> Wall {
        self.newest.or(self.begun).unwrap_or(now).min(now)
    }

    /// Days whose report is missing and would still count, the newest first.
    pub fn missing_days(&self, max_age: Duration, now: Wall) -> Vec<Date> {
        let back = (1..=MOST_DAYS).map_while(|days| days_before(now, days));
        let counts = back.take_while(|day| now.since(day_of(*day).1) < max_age);
        counts.filter(|day| !self.days.contains(day)).collect()
    }

    /// Whether the report of this day, if it is not there now, comes no more.
    pub fn is_past_hope(day: Date, now: Wall) -> bool {
        days_before(now, LATE).is_some_and(|late| day < late)
    }

    /// These reports have come, or come no more.
    pub fn got(&mut self, days: &[Date], now: Wall) {
        self.days.extend(days);
        let today = day_at(now);
        // Also those of a time that has not come, which a wrong clock has left.
        let oldest = days_before(now, MOST_DAYS).unwrap_or(today);
        self.days.retain(|day| (oldest..=today).contains(day));
    }

    /// These were asked about, of all that are to be. Whoever was asked about longest ago is next.
    pub fn tried(&mut self, these: &[String], of: &BTreeSet<String>, now: Wall) {
        self.tried.extend(these.iter().map(|name| (name.clone(), now)));
        self.tried.retain(|name, at| {
            // Or a clock that was set back would keep it from its turn.
            *at = (*at).min(now);
            of.contains(name)
        });
    }

    /// The refresh token in use descends from `seed`, and ends at `ends` if its issuer said so.
    pub fn holds_token(&mut self, seed: Option<String>, ends: Option<Wall>) {
        if seed.is_some() && seed != self.refresh_seed {
            (self.refresh_seed, self.refresh_ends) = (seed, None);
        }
        self.refresh_ends = ends.or(self.refresh_ends);
    }

    /// Requests that may still be made today.
    pub fn left(&self, budget: u32, now: Wall) -> u32 {
        let spent = self.spent.filter(|(day, _)| *day == day_at(now)).map_or(0, |(_, spent)| spent);
        budget.saturating_sub(spent)
    }

    /// So many were made.
    pub fn spend(&mut self, requests: u32, now: Wall) {
        let today = day_at(now);
        let spent = self.spent.filter(|(day, _)| *day == today).map_or(0, |(_, spent)| spent);
        self.spent = Some((today, spent.saturating_add(requests)));
    }
}

fn days_before(now: Wall, days: i64) -> Option<Date> {
    day_at(now).checked_sub(jiff::Span::new().days(days)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Wall = Wall::from_millis(1_795_334_400_000); // 2026-11-22
    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_late_day_is_asked_for_until_it_has_come_or_is_too_old() {
        let mut memory = Memory::default();
        let day = |day| jiff::civil::date(2026, 11, day);
        let missing = |memory: &Memory, now| memory.missing_days(DAY * 4, now);
        assert_eq!(missing(&memory, NOW), [day(21), day(20), day(19), day(18)], "18 ended 3 days and 8 hours ago");
        memory.got(&[day(20)], NOW);
        assert_eq!(missing(&memory, NOW), [day(21), day(19), day(18)]);
        let past_hope = [18, 19, 21].map(|n| Memory::is_past_hope(day(n), NOW));
        assert_eq!(past_hope, [true, false, false]);
        assert_eq!(missing(&memory, NOW.plus(DAY * 2)), [day(23), day(22), day(21)]);
        memory.got(&[], NOW.plus(DAY * 40));
        assert!(memory.days.is_empty(), "nothing piles up");
        assert_eq!(memory.missing_days(Duration::MAX, NOW).len(), 31, "nobody asks for years");
    }

    #[test]
    fn whoever_is_no_more_to_be_asked_about_is_forgotten() {
        let mut memory = Memory::default();
        let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        memory.tried(&["a".to_owned(), "b".to_owned()], &of(&["a", "b"]), NOW.plus(DAY));
        memory.tried(&[], &of(&["a", "c"]), NOW);
        assert_eq!(memory.tried, BTreeMap::from([("a".to_owned(), NOW)]), "and nothing is of tomorrow");
    }

    #[test]
    fn silence_is_counted_from_the_newest_report_or_the_beginning() {
        let memory = Memory::default().recalled(NOW);
        assert_eq!(memory.silent_since(NOW.plus(DAY * 9)), NOW);
        let memory = Memory { newest: Some(NOW.plus(DAY)), ..memory };
        assert_eq!(memory.silent_since(NOW.plus(DAY * 9)), NOW.plus(DAY));
        assert_eq!(memory.recalled(NOW).newest, Some(NOW), "no report is of the future");
    }

    #[test]
    fn a_budget_is_for_a_day_and_outlives_a_restart() {
        let mut memory = Memory::default();
        memory.spend(7, NOW);
        memory.spend(2, NOW);
        let text = serde_json::to_string(&Writing { memory: &memory, observations: Vec::new() }).unwrap();
        let memory = serde_json::from_str::<Written>(&text).unwrap().memory;
        assert_eq!(memory.left(10, NOW), 1);
        assert_eq!(memory.left(5, NOW), 0);
        assert_eq!(memory.left(10, NOW.plus(DAY)), 10);
    }
}
