//! The memory behind [`super::Events`]: a ring of each kind, the numbers, and what the disk does not know yet.
//!
//! It writes nothing itself: what is on disk by now, and what could not be written, is told to it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Change, Event, KEPT, KEPT_FOR, Kind};
use crate::clock::Wall;

/// Octets of words kept of each kind.
const KEPT_OCTETS: usize = 4 * 1024 * 1024;
/// Numbers that are written down as given before they are.
pub(super) const RESERVED: u64 = 100_000;
/// Changes that wait for the disk at most.
pub(super) const WAITING: usize = 50_000;

/// The events of one kind.
#[derive(Debug, Default)]
pub(super) struct Ring {
    pub(super) events: VecDeque<Arc<Event>>,
    octets: usize,
    /// The last number that went.
    pub(super) gone: u64,
}

impl Ring {
    fn push(&mut self, event: Arc<Event>) {
        self.octets += event.octets();
        self.events.push_back(event);
    }

    fn is_over(&self, now: Wall) -> bool {
        let is_old = |event: &Arc<Event>| now.since(event.at) > KEPT_FOR;
        self.events.len() > KEPT || self.octets > KEPT_OCTETS || self.events.front().is_some_and(is_old)
    }

    /// Lets go of the oldest as long as there are too many, and tells their numbers.
    fn trim(&mut self, now: Wall) -> Vec<u64> {
        let mut gone = Vec::new();
        while self.is_over(now) {
            let Some(event) = self.events.pop_front() else { break };
            self.octets -= event.octets();
            self.gone = event.seq;
            gone.push(event.seq);
        }
        gone
    }

    /// Those after a number.
    pub(super) fn from(&self, after: u64) -> impl Iterator<Item = &Arc<Event>> {
        let start = self.events.partition_point(|event| event.seq <= after);
        self.events.range(start..)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) rings: [Ring; Kind::ALL.len()],
    /// The last number given.
    pub(super) last: u64,
    /// Numbers up to this one are written down as given.
    reserved: u64,
    /// What the disk does not know yet; nothing where nobody keeps a journal.
    unwritten: Option<VecDeque<Change>>,
    /// Events that have no place on disk or no number.
    pub(super) lost: u64,
}

impl Default for Kept {
    fn default() -> Self {
        Self { rings: Default::default(), last: 0, reserved: u64::MAX, unwritten: None, lost: 0 }
    }
}

impl Kept {
    fn changed(&mut self, change: Change) {
        let Some(unwritten) = &mut self.unwritten else { return };
        unwritten.push_back(change);
        self.make_room();
    }

    /// As long as too much waits for the disk: the oldest event goes, where there is none the oldest that is to be removed
    /// there (the next start lets go of it).
    fn make_room(&mut self) {
        let Some(unwritten) = &mut self.unwritten else { return };
        if unwritten.len() <= WAITING {
            return;
        }
        // Some more than needed, so that not every event that comes looks through all of them.
        let (mut over, lost) = (unwritten.len() - WAITING + WAITING / 50, &mut self.lost);
        let kinds: [fn(&Change) -> bool; 2] =
            [|change| matches!(change, Change::Put(_)), |change| matches!(change, Change::Remove(_))];
        for is_one in kinds {
            unwritten.retain(|change| {
                let goes = over > 0 && is_one(change);
                over -= usize::from(goes);
                *lost += u64::from(goes && matches!(change, Change::Put(_)));
                !goes
            });
        }
    }

    /// The next number; nothing, and an event lost, where it is not written down as given.
    pub(super) fn number(&mut self) -> Option<u64> {
        if self.last >= self.reserved {
            // Only where the disk took nothing for very long: no event is better than a number given twice.
            self.lost += 1;
            return None;
        }
        self.last += 1;
        Some(self.last)
    }

    pub(super) fn push(&mut self, event: Arc<Event>, now: Wall) {
        let kind = event.kind as usize;
        self.changed(Change::Put(Arc::clone(&event)));
        self.rings[kind].push(event);
        for gone in self.rings[kind].trim(now) {
            self.changed(Change::Remove(gone));
        }
    }

    /// See [`super::Events::restore`].
    pub(super) fn restore(&mut self, events: Vec<Event>, given: u64, now: Wall) {
        let mut early: Vec<Arc<Event>> = self.rings.iter_mut().flat_map(|ring| ring.events.drain(..)).collect();
        early.sort_unstable_by_key(|event| event.seq);
        let last = events.iter().map(|event| event.seq).max().unwrap_or(0).max(given);
        let reserved = last.saturating_add(RESERVED);
        *self = Self { last, reserved, unwritten: Some(VecDeque::new()), lost: self.lost, ..Self::default() };
        self.changed(Change::Reserve(reserved));
        for event in events {
            self.rings[event.kind as usize].push(Arc::new(event));
        }
        self.trim(now);
        for event in early {
            self.last += 1;
            let seq = self.last;
            self.push(Arc::new(Event { seq, ..Event::clone(&event) }), now);
        }
    }

    /// Lets go of what is too much or too old.
    pub(super) fn trim(&mut self, now: Wall) {
        for kind in Kind::ALL {
            for gone in self.rings[kind as usize].trim(now) {
                self.changed(Change::Remove(gone));
            }
        }
    }

    /// See [`super::Events::take_unwritten`].
    pub(super) fn take_unwritten(&mut self, most: usize) -> Vec<Change> {
        let Some(unwritten) = &mut self.unwritten else { return Vec::new() };
        if self.reserved.saturating_sub(self.last) < RESERVED / 2 {
            let more = self.reserved.saturating_add(RESERVED);
            // Before everything else, so that a half of what is reserved is always left for what comes meanwhile.
            if !unwritten.contains(&Change::Reserve(more)) {
                unwritten.push_front(Change::Reserve(more));
            }
        }
        let most = most.min(unwritten.len());
        unwritten.drain(..most).collect()
    }

    /// These are on disk.
    pub(super) fn written(&mut self, changes: &[Change]) {
        let reserved = changes.iter().filter_map(|change| match change {
            Change::Reserve(upto) => Some(*upto),
            _ => None,
        });
        self.reserved = reserved.fold(self.reserved, u64::max);
    }

    /// These are not.
    pub(super) fn not_written(&mut self, changes: Vec<Change>) {
        if let Some(unwritten) = &mut self.unwritten {
            for change in changes.into_iter().rev() {
                unwritten.push_front(change);
            }
        }
        self.make_room();
    }
}
