//! Timers: expiry of entries, end of delays, end of blocks.
//!
//! A heap of moments. Timers are never taken back: one that fires for something that has moved on is ignored, and they are
//! swept when they outnumber what they are for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::LaneId;
use crate::clock::Wall;
use crate::message::EntryId;
use crate::scheduler::TenantId;

/// One timer. The order of variants is the order of firing at the same moment: what is over is never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Expiry(EntryId),
    Entry(EntryId),
    Lane(LaneId),
    Tenant(LaneId, TenantId),
    Late(EntryId),
}

/// All of them, soonest first.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Wall, Timer)>>,
    /// How many were meant when they were swept last.
    meant: usize,
}

impl Timers {
    pub(super) fn push(&mut self, at: Wall, timer: Timer) {
        if self.heap.len() == self.heap.capacity() {
            // By quarters and not by doubling: there is one for each of a million entries.
            self.heap.reserve_exact(self.heap.len() / 4 + 64);
        }
        self.heap.push(Reverse((at, timer)));
    }

    pub(super) fn next(&self) -> Option<Wall> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// The next one that is due.
    pub(super) fn pop(&mut self, now: Wall) -> Option<(Wall, Timer)> {
        let due = self.next().is_some_and(|at| at <= now);
        due.then(|| self.heap.pop()).flatten().map(|Reverse(timer)| timer)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether there may be more that mean nothing than that mean something.
    pub(super) fn want_sweeping(&self) -> bool {
        self.heap.len() > 2 * self.meant + 1024
    }

    /// Forgets those that mean nothing. Where more than `most` are left, some of them are there twice: what comes back again
    /// and again sets the same ones each time.
    pub(super) fn retain(&mut self, most: usize, is_meant: impl Fn(Wall, Timer) -> bool) {
        self.heap.retain(|Reverse((at, timer))| is_meant(*at, *timer));
        if self.heap.len() > most {
            let mut all = std::mem::take(&mut self.heap).into_vec();
            all.sort_unstable();
            all.dedup();
            self.heap = BinaryHeap::from(all);
        }
        self.meant = self.heap.len();
        self.heap.shrink_to(2 * self.meant + 1024);
    }

    /// Octets taken, unused room included.
    #[cfg(test)]
    pub(super) fn octets(&self) -> usize {
        self.heap.capacity() * size_of::<(Wall, Timer)>()
    }
}
