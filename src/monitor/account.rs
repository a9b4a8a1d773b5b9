//! (shell) What a list was asked so far: its budget, its answers, and where the next round begins where one is too large.
//!
//! Apart from [`Dnsbl`](super::dnsbl), since it outlives it: where the configuration asks a list in another way, there is
//! another `Dnsbl` with the same account. The day's questions are not there a second time for that, no counter begins anew,
//! and a look that is still under way pays from the same purse.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::budget::{Budget, Granted, Purpose, Wanted};
use super::watch::Seen;
use crate::clock::Mono;

/// The account of one list.
#[derive(Debug)]
pub(super) struct Account {
    budget: Mutex<Budget>,
    cursor: AtomicUsize,
    answers: Mutex<BTreeMap<&'static str, u64>>,
}

impl Account {
    /// Nothing asked yet.
    pub(super) fn new(budget: Budget) -> Self {
        Self { budget: Mutex::new(budget), cursor: AtomicUsize::new(0), answers: Mutex::default() }
    }

    /// Questions left of the day's, and those that were not put.
    pub(super) fn left(&self, now: Mono) -> (Option<u64>, u64) {
        let budget = self.budget.lock();
        (budget.left(now), budget.denied())
    }

    /// The terms and the size of a round are these now ([`Budget::follow`]).
    pub(super) fn follow(&self, per_day: Option<u64>, round: u64, now: Mono) {
        self.budget.lock().follow(per_day, round, now);
    }

    /// See [`Budget::grant`].
    pub(super) fn grant(&self, wanted: Wanted, now: Mono) -> Granted {
        self.budget.lock().grant(wanted, now)
    }

    /// Whether there is room for one more question about what was seen; it is then taken.
    pub(super) fn may_ask(&self, now: Mono) -> bool {
        self.budget.lock().take(1, Purpose::Confirmation, now) == 1
    }

    /// Where a round over `all` begins that asks only `room` of them; the next goes on behind those.
    pub(super) fn begin(&self, room: usize, all: usize) -> usize {
        let from = self.cursor.load(Ordering::Relaxed) % all.max(1);
        self.cursor.store(from.wrapping_add(room), Ordering::Relaxed);
        from
    }

    /// Counts what a look brought; `is_fresh`: but for probes and sentinels, which were counted when they were asked.
    pub(super) fn count(&self, seen: &Seen, is_fresh: bool) {
        let probes = [&seen.probes.positive, &seen.probes.negative, &seen.probes.random];
        let probes = probes.into_iter().filter_map(Option::as_ref);
        let probes = probes.chain(seen.probes.ipv6.iter().flat_map(|(positive, negative)| [positive, negative]));
        let guards = seen.sentinels.iter().map(|(_, answer)| answer);
        let ours = seen.answers.iter().chain(&seen.seconds).map(|(_, answer)| answer);
        let mut answers = self.answers.lock();
        for answer in probes.chain(guards).filter(|_| !is_fresh).chain(ours) {
            *answers.entry(answer.as_str()).or_insert(0) += 1;
        }
    }

    /// Answers since the start, by what they said.
    pub(super) fn answers(&self) -> Vec<(&'static str, u64)> {
        self.answers.lock().iter().map(|(outcome, count)| (*outcome, *count)).collect()
    }
}
