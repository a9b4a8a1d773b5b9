//! What came of TLS with receivers that have a policy, counted by day for the reports of RFC 8460.
//!
//! [`book`] counts (pure): by day (UTC, as reports are), domain, policy and kind of failure. Counts are facts
//! (`tlsrpt/DAY/DOMAIN`), written by the minute and kept [`book::KEPT_DAYS`] days. [`report`] makes of them what RFC 8460 §4.4
//! describes. Nothing is sent to anybody by itself.

pub mod book;
pub mod report;

use parking_lot::Mutex;

use self::book::{Book, Counted, Day};
use crate::clock::Wall;
use crate::message::Domain;
use crate::store::Batch;

pub use book::{FACTS, Seen};

/// Counts for reports.
#[derive(Debug, Default)]
pub struct Tlsrpt {
    book: Mutex<Book>,
}

impl Tlsrpt {
    /// Counts one.
    pub fn count(&self, seen: &Seen<'_>, now: Wall) {
        self.book.lock().count(seen, now);
    }

    /// What was counted on a day, by domain.
    pub fn of(&self, day: Day) -> Vec<(Domain, Counted)> {
        self.book.lock().of(day)
    }

    /// Days something was counted on, oldest first.
    pub fn days(&self) -> Vec<Day> {
        self.book.lock().days()
    }

    /// Takes over the facts of an earlier run; what cannot be read, in words.
    pub fn recall(&self, facts: &[(String, Vec<u8>)], now: Wall) -> Vec<String> {
        self.book.lock().recall(facts, now)
    }

    /// Changes that are not on disk yet; they count as written now.
    pub fn changes(&self, now: Wall) -> Batch {
        self.book.lock().changes(now)
    }

    /// They are not: `changes` gives them again.
    pub fn not_written(&self, batch: &Batch) {
        self.book.lock().not_written(batch);
    }
}
