//! The days of sending of one binding × destination: what was said, all of it, to be shown and noted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ledger::Ledger;
use super::{KEPT_DAYS, SHARE_DAYS, day};
use crate::clock::Wall;

/// Complaints below which no share is worth a note.
const NOTED_MIN: u64 = 3;

/// Shares above which one is, in complaints per hundred thousand: 0.1 % (mailbox providers ask senders to stay below)
/// and 0.3 % (where they start to refuse).
const NOTED_ABOVE: [u64; 2] = [100, 300];

/// Recipients of one day, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cohort {
    /// Accepted.
    pub accepted: u64,
    /// Complaints about those.
    pub complaints: u64,
    /// Bounces that came back by mail for those.
    pub late_bounces: u64,
}

impl Cohort {
    fn add(&mut self, other: Self) {
        self.accepted = self.accepted.saturating_add(other.accepted);
        self.complaints = self.complaints.saturating_add(other.complaints);
        self.late_bounces = self.late_bounces.saturating_add(other.late_bounces);
    }

    /// How many of the limits of [`NOTED_ABOVE`] the share exceeds.
    fn level(self) -> usize {
        if self.complaints < NOTED_MIN {
            return 0;
        }
        let exceeds =
            |limit: u64| u128::from(self.complaints) * 100_000 > u128::from(limit) * u128::from(self.accepted);
        NOTED_ABOVE.into_iter().filter(|&limit| exceeds(limit)).count()
    }
}

/// The days of a cell, and what the operator was told of it.
#[derive(Debug, Default)]
pub(super) struct Cell {
    /// Day number since 1970-01-01 (UTC) → cohort; at most [`KEPT_DAYS`].
    pub(super) days: BTreeMap<i64, Cohort>,
    /// What is to be judged; stays empty where the destination is no provider, for nothing is judged there.
    pub(super) ledger: Ledger,
    /// Day and level of the last note.
    noted: (i64, usize),
    /// Since it was written.
    pub(super) changed: bool,
}

impl Cell {
    pub(super) fn book(&mut self, day: i64, one: Cohort, today: i64) {
        self.days.entry(day).or_default().add(one);
        self.trim(today);
    }

    /// Keeps the days nearest to today: one that a wrong clock made goes before the true ones.
    fn trim(&mut self, today: i64) {
        while self.days.len() > KEPT_DAYS {
            let ends = [self.days.first_key_value(), self.days.last_key_value()].into_iter().flatten();
            let Some(furthest) = ends.map(|(day, _)| *day).max_by_key(|day| day.abs_diff(today)) else { return };
            self.days.remove(&furthest);
        }
    }

    /// Sum of the last `days` days, today included.
    pub(super) fn over(&self, days: u32, now: Wall) -> Cohort {
        let mut sum = Cohort::default();
        let last = day(now);
        let first = last - i64::from(days.max(1)) + 1;
        self.days.range(first..=last).for_each(|(_, cohort)| sum.add(*cohort));
        sum
    }

    /// The share of the last [`SHARE_DAYS`], where it has just passed a limit that the operator was not told of today.
    pub(super) fn worth_a_note(&mut self, now: Wall) -> Option<Cohort> {
        let share = self.over(SHARE_DAYS, now);
        let (level, today) = (share.level(), day(now));
        if self.noted.0 != today {
            self.noted = (today, 0);
        }
        let is_news = level > self.noted.1;
        self.noted.1 = self.noted.1.max(level);
        is_news.then_some(share)
    }
}
