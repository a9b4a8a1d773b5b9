//! One waiting entry: the part that stays in memory, and the table of all of them.
//!
//! A million wait on a normal day, so an entry is numbers: names are given numbers elsewhere, the body and the recipients
//! stay on disk. The table keeps entries in blocks beside a map from id to place. It therefore never copies them all to
//! grow, and it can be walked a slice at a time, so that a status of a million entries does not hold up a decision.

use std::collections::HashMap;

use super::LaneId;
use crate::clock::Wall;
use crate::message::{EntryId, MessageId};
use crate::scheduler::{BindingId, CoverId, PoolId, TenantId};

/// Entries in one block of the table.
const BLOCK: usize = 4096;

/// Dense number of a recipient domain that waiting mail has; it is given to another one when none has it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainId(pub u32);

/// Dense number of a sender domain that waiting mail has; it is given to another one when none has it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SenderId(pub u32);

impl SenderId {
    /// No domain at all.
    pub const NULL: Self = Self(u32::MAX);
}

/// What an entry's stream means to the queue: its priority within its tenant, and whether its recipients are engaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Class(u8);

impl Class {
    /// Of a stream with this priority (`[tenant.X] priority`, 0 to 9) that is in `engaged` or not.
    pub const fn new(priority: u8, is_engaged: bool) -> Self {
        let priority = if priority > u8::MAX >> 1 { u8::MAX >> 1 } else { priority };
        Self(priority << 1 | is_engaged as u8)
    }

    /// Higher goes first within a tenant.
    pub fn priority(self) -> u8 {
        self.0 >> 1
    }

    /// May use what an address in warm-up keeps back for the most welcome mail.
    pub fn is_engaged(self) -> bool {
        self.0 & 1 == 1
    }
}

/// Where an entry is at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Its domain's hosts are being looked up.
    Resolving,
    /// In a lane, in the part of its cover.
    Lane(LaneId, CoverId),
    /// Beside the lanes until a moment, for this reason.
    Delayed {
        /// When it goes back into its lane.
        until: Wall,
        /// Stable text: `retry`, `dns`, or a verdict's.
        reason: &'static str,
    },
    /// An attempt is being made.
    InFlight,
}

/// The part of an entry that stays in memory while it waits.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Its message.
    pub message: MessageId,
    /// Its pool.
    pub pool: PoolId,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its recipients' domain.
    pub domain: DomainId,
    /// The domain of its reverse path; [`SenderId::NULL`] for the null reverse path.
    pub sender: SenderId,
    /// What its stream means to the queue.
    pub class: Class,
    /// How many recipients wait.
    pub recipients: u32,
    /// Attempts made.
    pub attempts: u32,
    /// When it was accepted.
    pub arrived: Wall,
    /// When it is given up.
    pub expires: Wall,
    /// Binding to prefer.
    pub sticky: Option<BindingId>,
    /// Bindings to avoid; rarely any.
    pub excluded: Option<Box<[(BindingId, Wall)]>>,
    /// Where it is.
    pub place: Place,
}

/// The moment that never comes.
pub const FAR: Wall = Wall::from_millis(i64::MAX);

/// The reason of what an operator keeps back.
pub const HELD: &str = "held";

/// Entries by id.
#[derive(Debug, Default)]
pub(super) struct Table {
    places: HashMap<EntryId, u32>,
    blocks: Vec<Vec<(EntryId, Waiting)>>,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    fn at(&self, place: usize) -> Option<&(EntryId, Waiting)> {
        self.blocks.get(place / BLOCK)?.get(place % BLOCK)
    }

    pub(super) fn get(&self, id: EntryId) -> Option<&Waiting> {
        let place = *self.places.get(&id)?;
        self.at(place as usize).map(|(_, waiting)| waiting)
    }

    pub(super) fn get_mut(&mut self, id: EntryId) -> Option<&mut Waiting> {
        let place = *self.places.get(&id)? as usize;
        self.blocks.get_mut(place / BLOCK)?.get_mut(place % BLOCK).map(|(_, waiting)| waiting)
    }

    /// Takes an entry in; what it replaces comes back.
    pub(super) fn insert(&mut self, id: EntryId, waiting: Waiting) -> Option<Waiting> {
        if let Some(known) = self.get_mut(id) {
            return Some(std::mem::replace(known, waiting));
        }
        self.places.insert(id, self.places.len() as u32);
        match self.blocks.last_mut() {
            Some(last) if last.len() < BLOCK => last.push((id, waiting)),
            _ => {
                // The first one grows with what it holds: most queues are short.
                let room = if self.blocks.is_empty() { 0 } else { BLOCK };
                self.blocks.push(Vec::with_capacity(room));
                self.blocks.last_mut()?.push((id, waiting));
            }
        }
        None
    }

    /// Takes an entry out; the last one moves into its place.
    pub(super) fn remove(&mut self, id: EntryId) -> Option<Waiting> {
        let place = self.places.remove(&id)? as usize;
        let last = self.blocks.last_mut()?;
        let (moved, waiting) = last.pop()?;
        if last.is_empty() {
            self.blocks.pop();
        }
        if moved == id {
            return Some(waiting);
        }
        self.places.insert(moved, place as u32);
        let hole = self.blocks.get_mut(place / BLOCK)?.get_mut(place % BLOCK)?;
        Some(std::mem::replace(hole, (moved, waiting)).1)
    }

    /// Up to `count` entries from place `from` on, in no order.
    pub(super) fn slice(&self, from: usize, count: usize) -> impl Iterator<Item = (EntryId, &Waiting)> {
        let end = from.saturating_add(count).min(self.len());
        (from..end).filter_map(|place| self.at(place)).map(|(id, waiting)| (*id, waiting))
    }

    /// Up to `count` entries before place `before`, in no order, and the place of the first of them. A walk from the end to
    /// the beginning misses none that is there all the time: one that changes its place goes to the front, where the walk
    /// has still to come. It may then be met again.
    pub(super) fn slice_before(
        &self,
        before: usize,
        count: usize,
    ) -> (usize, impl Iterator<Item = (EntryId, &Waiting)>) {
        let before = before.min(self.len());
        let from = before.saturating_sub(count);
        (from, self.slice(from, before - from))
    }

    /// Octets that the table has taken, unused room included.
    #[cfg(test)]
    pub(super) fn octets(&self) -> usize {
        // A hash map spends one octet more for each of its buckets, which are a power of two at most 7/8 full.
        let buckets = (self.places.capacity() * 8 / 7).next_power_of_two();
        let blocks: usize = self.blocks.iter().map(Vec::capacity).sum();
        buckets * (size_of::<(EntryId, u32)>() + 1) + blocks * size_of::<(EntryId, Waiting)>()
    }
}
