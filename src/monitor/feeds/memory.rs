//! What a feed remembers over a restart.

use std::collections::BTreeSet;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::observation::Observation;
use super::reading::day_at;
use super::schedule::Schedule;
use crate::clock::Wall;

/// Days back that are asked for as long as they are missing: reports come one to two days late.
const DAYS: i64 = 3;

/// Everything but the observations, which are the book's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// When it was asked and will be.
    pub schedule: Schedule,
    /// Days whose report has come.
    #[serde(default)]
    pub days: BTreeSet<Date>,
    /// Requests that were made on a day.
    #[serde(default)]
    pub spent: Option<(Date, u32)>,
    /// When the refresh token ends, as its issuer said.
    #[serde(default)]
    pub refresh_ends: Option<Wall>,
}

/// The file of a feed.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Written {
    /// What it remembers.
    #[serde(flatten)]
    pub memory: Memory,
    /// What was said.
    pub observations: Vec<Observation>,
}

impl Memory {
    /// Days whose report is missing, the newest first.
    pub fn missing_days(&self, now: Wall) -> Vec<Date> {
        let today = day_at(now);
        let back = (1..=DAYS).filter_map(|days| today.checked_sub(jiff::Span::new().days(days)).ok());
        back.filter(|day| !self.days.contains(day)).collect()
    }

    /// These reports have come.
    pub fn got(&mut self, days: &[Date], now: Wall) {
        self.days.extend(days);
        let today = day_at(now);
        // Also those of a time that has not come, which a wrong clock has left.
        let oldest = today.checked_sub(jiff::Span::new().days(DAYS)).unwrap_or(today);
        self.days.retain(|day| (oldest..=today).contains(day));
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

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Wall = Wall::from_millis(1_795_334_400_000); // 2026-11-22

    #[test]
    fn a_late_day_is_asked_for_until_it_has_come_or_is_too_old() {
        let mut memory = Memory::default();
        let day = |day| jiff::civil::date(2026, 11, day);
        assert_eq!(memory.missing_days(NOW), [day(21), day(20), day(19)]);
        memory.got(&[day(20)], NOW);
        assert_eq!(memory.missing_days(NOW), [day(21), day(19)]);
        let later = NOW.plus(std::time::Duration::from_secs(2 * 86_400));
        assert_eq!(memory.missing_days(later), [day(23), day(22), day(21)]);
        memory.got(&[], later.plus(std::time::Duration::from_secs(86_400)));
        assert!(memory.days.is_empty(), "nothing piles up");
    }

    #[test]
    fn a_budget_is_for_a_day_and_outlives_a_restart() {
        let mut memory = Memory::default();
        memory.spend(7, NOW);
        memory.spend(2, NOW);
        let text = serde_json::to_string(&Written { memory, observations: Vec::new() }).unwrap();
        let memory = serde_json::from_str::<Written>(&text).unwrap().memory;
        assert_eq!(memory.left(10, NOW), 1);
        assert_eq!(memory.left(5, NOW), 0);
        assert_eq!(memory.left(10, NOW.plus(std::time::Duration::from_secs(86_400))), 10);
    }
}
