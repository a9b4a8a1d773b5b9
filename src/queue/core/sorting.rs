//! After a change of pools or tenants: what waits is looked at a slice at a time, so that nobody waits long for the core.
//!
//! Two walks. The first goes over all that waits: what has no place any more is stranded, and what waits beside the lanes for
//! something the change may have moved is noted. The second lets those look again, the oldest first. Each call does a part
//! of it ([`SLICE`]), the first of them as the configuration comes into force; [`Core::next`] goes on where it has nothing else
//! to say, and asks to be called again until all is done. Nothing leaves meanwhile that may not: an entry without a place is stranded, too, when its turn
//! or its end comes ([`Core::strand_if_gone`]).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::super::index::Place;
use super::Core;
use super::reconfigure::is_to_look;
use crate::clock::Now;
use crate::message::EntryId;

/// Entries that are looked at in one call, and as many that look again.
const SLICE: usize = 2048;

/// How far it has come.
#[derive(Debug, Default)]
pub(super) struct Sorting {
    /// Entries before this place in the index are still to be looked at.
    before: usize,
    /// Those that look again, the oldest first.
    again: BinaryHeap<Reverse<EntryId>>,
}

impl Sorting {
    /// There is more to do.
    pub(super) fn is_under_way(&self) -> bool {
        self.before > 0 || !self.again.is_empty()
    }
}

impl Core {
    /// Begins to look at all that waits; where that was being done, at all of it once more.
    pub(super) fn begin_sorting(&mut self, now: Now) {
        // Whoever was to look again is met once more.
        self.sorting.again.clear();
        self.sorting.before = self.index.depth().0;
        self.sort_some(now);
    }

    /// Does the next part.
    pub(super) fn sort_some(&mut self, now: Now) {
        if self.sorting.before > 0 {
            self.look_at_some();
        }
        if self.sorting.before > 0 {
            return;
        }
        for _ in 0..SLICE {
            let Some(Reverse(id)) = self.sorting.again.pop() else { return };
            // Much may have become of it meanwhile.
            let waits = self.index.get(id).filter(|waiting| is_to_look(waiting, false)).map(|waiting| waiting.domain);
            if let Some(domain) = waits {
                self.route(id, domain, now);
            }
        }
    }

    fn look_at_some(&mut self) {
        let (before, some) = self.index.slice_before(self.sorting.before, SLICE);
        let mut gone = Vec::new();
        for (id, waiting) in some.filter(|(_, waiting)| waiting.place != Place::InFlight) {
            if !self.in_force.has(waiting.pool, waiting.tenant) {
                gone.push(id);
            } else if is_to_look(waiting, false) {
                self.sorting.again.push(Reverse(id));
            }
        }
        self.sorting.before = before;
        for id in gone {
            self.strand_if_gone(id);
        }
    }
}
