//! What waits, in order: lanes by (pool, destination), and timers. Pure.
//!
//! A *lane* holds the entries that could leave now from one pool to one destination ([`lane`] orders them: tenants by
//! weighted turns, streams by priority, then age). Hosts of one destination may differ in the address families they have, and
//! its mail in the region whose bindings it prefers; each combination has its own lane. Mail in it may differ in the
//! bindings that its senders' SPF records allow: what they allow alike is a *part* of the lane, and all mail of a part can
//! use the same bindings. A part whose head cannot go (cap, suspension, full window …) is blocked as a whole, with the
//! reason and the moment that `explain` and the queue listing show: a hundred thousand entries behind one suspended route
//! cost one look, not a hundred thousand. Where only mail that is not engaged must wait, that much is blocked; where a
//! tenant must, its turn. Parts share the lane's turns, so that records of many kinds give a tenant no larger share, and
//! its place in every line. What one of them finds in use stops those that wait for the same.
//!
//! Entries that wait for themselves (a retry, an exclusion) lie beside the lanes under a timer ([`timers`]).
//!
//! Nothing here grows with what was: a lane without entries is gone, and its number goes to another lane. Numbers carry a
//! generation, so that a timer or a list that knows the old one finds nothing. Memory per waiting entry, unused room of
//! the tables included, is at most 300 octets (a test adds it up).

mod blocks;
mod counts;
mod lane;
#[cfg(test)]
mod tests;
mod timers;
mod waiting;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use self::counts::{Counts, counted};
use self::lane::{Lane, Part};
use self::timers::{Timer, Timers};
use self::waiting::Table;
pub use self::waiting::{Class, DomainId, FAR, HELD, Place, SenderId, Waiting};
use crate::clock::Wall;
use crate::message::{Entry, EntryId};
use crate::scheduler::{CoverId, DestinationId, Families, PoolId, RegionId, TenantId};

/// Number of a lane that has entries; one that had them is not found by it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId {
    slot: u32,
    generation: u32,
}

#[cfg(test)]
impl LaneId {
    /// Any number.
    pub(crate) fn for_tests(slot: u32) -> Self {
        Self { slot, generation: 0 }
    }
}

/// What the entries of a lane have in common, and those of a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LaneKey {
    /// Their pool.
    pub pool: PoolId,
    /// Where they go.
    pub destination: DestinationId,
    /// By which address families.
    pub families: Families,
    /// Region whose bindings they prefer.
    pub region: Option<RegionId>,
    /// Which bindings the SPF records of their senders allow: tells the part, not the lane.
    pub cover: CoverId,
}

/// What a timer that fired asks the core to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The entry's lifetime is over.
    Expired(EntryId),
    /// The entry may go back into its lane.
    Entry(EntryId),
    /// The sender of the entry is to be told that it is late.
    Late(EntryId),
}

/// Why something is blocked, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// When to look again; `None` waits for an event.
    pub until: Option<Wall>,
    /// A verdict's stable text.
    pub reason: &'static str,
}

/// A lane as the status shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneView {
    /// Its pool.
    pub pool: PoolId,
    /// Its destination.
    pub destination: DestinationId,
    /// Entries in it.
    pub entries: usize,
    /// Why it stands still, if all of it does.
    pub blocked: Option<Block>,
}

/// Lanes by number.
#[derive(Debug, Default)]
struct Lanes {
    slots: Vec<(u32, Option<Lane>)>,
    unused: Vec<u32>,
}

impl Lanes {
    fn get(&self, id: LaneId) -> Option<&Lane> {
        let (generation, lane) = self.slots.get(id.slot as usize)?;
        lane.as_ref().filter(|_| *generation == id.generation)
    }

    fn get_mut(&mut self, id: LaneId) -> Option<&mut Lane> {
        let (generation, lane) = self.slots.get_mut(id.slot as usize)?;
        lane.as_mut().filter(|_| *generation == id.generation)
    }

    fn add(&mut self, lane: Lane) -> LaneId {
        let slot = self.unused.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            self.slots.len() as u32 - 1
        });
        let (generation, place) = &mut self.slots[slot as usize];
        *place = Some(lane);
        LaneId { slot, generation: *generation }
    }

    fn remove(&mut self, id: LaneId) -> Option<Lane> {
        let (generation, place) = self.slots.get_mut(id.slot as usize)?;
        let lane = place.take_if(|_| *generation == id.generation)?;
        *generation = generation.wrapping_add(1);
        self.unused.push(id.slot);
        Some(lane)
    }
}

/// All that waits.
#[derive(Debug, Default)]
pub struct Index {
    entries: Table,
    lanes: Lanes,
    lane_ids: HashMap<LaneKey, LaneId>,
    by_destination: HashMap<DestinationId, Vec<LaneId>>,
    /// Lanes that stand still, or whose mail does that is not engaged.
    parked: BTreeMap<PoolId, BTreeSet<LaneId>>,
    ready: VecDeque<LaneId>,
    timers: Timers,
    /// The latest moment up to which timers have fired.
    fired: Wall,
    counts: Counts,
}

impl Index {
    /// Takes in an entry; it is nowhere yet (place Resolving) and expires by timer.
    pub fn insert(&mut self, entry: &Entry, waiting: Waiting) {
        let expires = waiting.expires;
        self.hold(entry.id);
        self.counts.enter(counted(&waiting));
        if let Some(old) = self.entries.insert(entry.id, waiting) {
            self.counts.leave(counted(&old));
        }
        self.arm(expires, Timer::Expiry(entry.id));
    }

    /// The latest moment up to which timers have fired; later than the clock says where that was set back.
    pub fn fired_until(&self) -> Wall {
        self.fired
    }

    /// Sets the timer for the end of an entry's lifetime again, after it was moved.
    pub fn watch_expiry(&mut self, id: EntryId) {
        if let Some(expires) = self.entries.get(id).map(|w| w.expires) {
            self.arm(expires, Timer::Expiry(id));
        }
    }

    /// Sets a timer for telling the sender that the entry is late. Only what somebody is to be told of has one.
    pub fn watch_delay(&mut self, id: EntryId, at: Wall) {
        self.arm(at, Timer::Late(id));
    }

    /// Forgets an entry, wherever it is.
    pub fn remove(&mut self, id: EntryId) -> Option<Waiting> {
        self.hold(id);
        let waiting = self.entries.remove(id)?;
        self.counts.leave(counted(&waiting));
        Some(waiting)
    }

    /// Marks an entry as being worked on, wherever it was.
    pub fn hold(&mut self, id: EntryId) {
        let Some(waiting) = self.entries.get_mut(id) else { return };
        if let Place::Lane(lane, cover) = std::mem::replace(&mut waiting.place, Place::InFlight) {
            // Its id stays in the turn and is passed over when it comes to the front: searching for it would make the
            // expiry of a long lane quadratic.
            if let Some(this) = self.lanes.get_mut(lane) {
                this.leave(cover);
            }
            self.drop_if_empty(lane);
        }
    }

    /// The record of an entry.
    pub fn get(&self, id: EntryId) -> Option<&Waiting> {
        self.entries.get(id)
    }

    /// Replaces what an attempt has changed.
    pub fn update(&mut self, id: EntryId, change: impl FnOnce(&mut Waiting)) {
        if let Some(waiting) = self.entries.get_mut(id) {
            let before = counted(waiting);
            change(waiting);
            let after = counted(waiting);
            if before != after {
                self.counts.leave(before);
                self.counts.enter(after);
            }
        }
    }

    /// Entries and recipients that wait or are in flight.
    pub fn depth(&self) -> (usize, u64) {
        (self.entries.len(), self.counts.recipients())
    }

    /// Entries and recipients of each pool and tenant that has any, in no order.
    pub fn by_owner(&self) -> impl Iterator<Item = ((PoolId, TenantId), (u64, u64))> {
        self.counts.by_owner()
    }

    /// Every entry, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (EntryId, &Waiting)> {
        self.slice(0, usize::MAX)
    }

    /// Up to `count` entries from the `from`-th on, in no order: a long walk in short steps. Between two steps entries may
    /// come, go and change places; one that is there all the time can then be missed, none is given twice.
    pub fn slice(&self, from: usize, count: usize) -> impl Iterator<Item = (EntryId, &Waiting)> {
        self.entries.slice(from, count)
    }

    /// Up to `count` entries before the `before`-th, in no order, and the place before which the walk goes on, 0 at its end.
    /// Between two steps entries may come, go and change places; one that is there all the time is never missed, and may be
    /// given twice.
    pub fn slice_before(&self, before: usize, count: usize) -> (usize, impl Iterator<Item = (EntryId, &Waiting)>) {
        self.entries.slice_before(before, count)
    }

    /// How many lanes there are.
    pub fn lanes_len(&self) -> usize {
        self.lane_ids.len()
    }

    /// Every lane.
    pub fn lanes(&self) -> impl Iterator<Item = LaneView> {
        self.lanes.slots.iter().filter_map(|(_, lane)| lane.as_ref()).map(|lane| LaneView {
            pool: lane.key.pool,
            destination: lane.key.destination,
            entries: lane.len,
            blocked: lane
                .parts
                .iter()
                .next()
                .filter(|_| lane.is_blocked())
                .and_then(Part::blocked)
                .map(|parked| parked.block),
        })
    }

    /// Why an entry does not move and when it may, in words for the queue listing.
    pub fn why(&self, waiting: &Waiting) -> (&'static str, Option<Wall>) {
        match waiting.place {
            Place::Resolving => ("resolving", None),
            Place::InFlight => ("in_flight", None),
            Place::Delayed { until, reason } => (reason, (until != FAR).then_some(until)),
            Place::Lane(id, cover) => {
                let lane = self.lanes.get(id);
                let part = lane.and_then(|lane| lane.parts.get(cover));
                let turn = || lane?.turns.iter().find(|turn| turn.tenant == waiting.tenant)?.blocked;
                let reserved = || part?.reserved().filter(|_| !waiting.class.is_engaged());
                let parked = part.and_then(Part::blocked).or_else(turn).or_else(reserved);
                parked.map_or(("ready", None), |parked| (parked.block.reason, parked.block.until))
            }
        }
    }

    /// Puts an entry at the end of its queue in this lane.
    pub fn enter_lane(&mut self, id: EntryId, key: LaneKey, tenant_weight: u32) {
        let Some(waiting) = self.entries.get_mut(id) else { return };
        let LaneKey { cover, .. } = key;
        let key = LaneKey { cover: CoverId::NONE, ..key };
        let lane = match self.lane_ids.get(&key) {
            Some(&lane) => lane,
            None => {
                let lane = self.lanes.add(Lane::new(key));
                self.lane_ids.insert(key, lane);
                self.by_destination.entry(key.destination).or_default().push(lane);
                lane
            }
        };
        waiting.place = Place::Lane(lane, cover);
        if let Some(this) = self.lanes.get_mut(lane) {
            this.push(waiting.tenant, tenant_weight, waiting.class, cover, id);
            if this.wants_tidying() {
                let entries = &self.entries;
                this.tidy(|id, cover| entries.get(id).is_some_and(|w| w.place == Place::Lane(lane, cover)));
            }
        }
        self.make_ready(lane);
    }

    /// Sets an entry that is in no lane aside until `until`.
    pub fn delay(&mut self, id: EntryId, until: Wall, reason: &'static str) {
        if let Some(waiting) = self.entries.get_mut(id) {
            waiting.place = Place::Delayed { until, reason };
            let at = until.min(waiting.expires);
            self.arm(at, Timer::Entry(id));
        }
    }

    /// The next lane that may have something to send. It leaves the round: call [`Index::again`] to put it back.
    pub fn next_ready(&mut self) -> Option<LaneId> {
        while let Some(id) = self.ready.pop_front() {
            if let Some(lane) = self.lanes.get_mut(id) {
                lane.queued = false;
                return Some(id);
            }
        }
        None
    }

    /// What the part of the lane is, and whose turn it is with which entry.
    pub fn head(&mut self, id: LaneId) -> Option<(LaneKey, TenantId, EntryId)> {
        let lane = self.lanes.get_mut(id).filter(|lane| !lane.is_blocked())?;
        let entries = &self.entries;
        let is_here = |waiting: &&Waiting, cover| waiting.place == Place::Lane(id, cover);
        let arrived = |entry, cover| entries.get(entry).filter(|w| is_here(w, cover)).map(|w| w.arrived);
        lane.head(arrived).map(|(tenant, cover, entry)| (LaneKey { cover, ..lane.key }, tenant, entry))
    }

    /// What the entries of a lane have in common; of its parts it tells nothing.
    pub fn key(&self, id: LaneId) -> Option<LaneKey> {
        self.lanes.get(id).map(|lane| lane.key)
    }

    /// Puts a lane at the end of the round, if it has anything.
    pub fn again(&mut self, lane: LaneId) {
        self.make_ready(lane);
    }

    /// Takes an entry that [`Index::head`] gave out of the lane; its place becomes `place`. `cost` recipients count against
    /// the tenant's share: those it sends now, none where the entry may not go at all now.
    pub fn take_head(&mut self, lane: LaneId, tenant: TenantId, id: EntryId, place: Place, cost: u32) {
        let Some(Place::Lane(_, cover)) = self.entries.get(id).map(|waiting| waiting.place) else { return };
        if !self.lanes.get_mut(lane).is_some_and(|this| this.take(tenant, cover, id, cost)) {
            return;
        }
        if let Some(waiting) = self.entries.get_mut(id) {
            waiting.place = place;
        }
        self.drop_if_empty(lane);
    }

    /// The lanes that have mail with this cover.
    pub fn lanes_of_cover(&self, cover: CoverId) -> impl Iterator<Item = LaneId> {
        let has = move |id: &LaneId| self.lanes.get(*id).is_some_and(|lane| lane.parts.get(cover).is_some());
        self.lane_ids.values().copied().filter(has)
    }

    /// The lanes to a destination: one per pool that has mail for it, set of address families and region.
    pub fn lanes_to(&self, destination: DestinationId) -> &[LaneId] {
        self.by_destination.get(&destination).map_or(&[], Vec::as_slice)
    }

    fn drop_if_empty(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get(id) else { return };
        if lane.len > 0 {
            // What stood still may have been a part that is gone.
            if self.parked.get(&lane.key.pool).is_some_and(|parked| parked.contains(&id)) && !lane.is_parked() {
                self.unpark(lane.key.pool, id);
            }
            return;
        }
        let Some(Lane { key, .. }) = self.lanes.remove(id) else { return };
        self.lane_ids.remove(&key);
        if let Some(lanes) = self.by_destination.get_mut(&key.destination) {
            lanes.retain(|lane| *lane != id);
            if lanes.is_empty() {
                self.by_destination.remove(&key.destination);
            }
        }
        self.unpark(key.pool, id);
    }

    fn make_ready(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(id) else { return };
        if !lane.queued && !lane.is_blocked() {
            lane.queued = true;
            self.ready.push_back(id);
        }
    }
}
