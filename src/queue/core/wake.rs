//! Who looks again, and when: by event, one after the other, and never all at once.
//!
//! A lane that stands still has a timer of its own, but what it waits for is often shared by thousands: a connection of a
//! binding, a grant, the next token of a rate. If all of them looked when it comes, one would go and the others would
//! have looked for nothing, at each token again. So they stand in line:
//!
//! - For a *connection* where a binding's own are all in use, one lane of each pool of the binding goes on with each that is
//!   freed, and where it cannot use it (its tenant's rate, a cap), the next in line. Where only those of the route are in
//!   use, the lanes to that destination go on.
//! - For a *grant*, the lanes of the pools of its binding, or of its tenant, and no others.
//! - For a *rate* or the *pace* of the day that keeps a binding out wherever the mail goes, and for a tenant's rate, there is
//!   a gate with a line of lanes before it. When it opens, the first in line looks; as long as it finds something, the next
//!   does, and the first that finds nothing closes the gate until the moment its verdict tells.
//! - After a *move of health*, the lanes of the binding's pools or to that destination: the others it does not concern.
//!   They look by and by, [`STAGED_MAX`] in one call.
//!
//! A lane stands in a line once, whichever of its parts (by the SPF records of the senders) wait for it. When its turn comes
//! those parts look that may use the binding, by the turns of their tenants, and the first that finds it in use again lets
//! the others stand still as before.
//!
//! The timers of those in line are a safety net and stand far apart.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::hash::Hash;

use smallvec::SmallVec;

use super::super::index::{Block, LaneId, LaneKey};
use super::{Core, slots};
use crate::clock::{Now, Wall};
use crate::message::BindingName;
use crate::reputation::{HealthChange, Subject};
use crate::scheduler::cap::Owner;
use crate::scheduler::{BindingId, CoverId, DestinationId, PoolId, TenantId};

/// Lanes that one call lets look after a move of health, before any other.
pub(super) const STAGED_MAX: usize = 64;

/// Lanes that may go back into their line for another binding's connection before a free one is offered no further.
const OFFERS_MAX: u32 = 64;

/// Lanes of a line that are passed over for a connection that the SPF records of their senders bar them from.
const BARRED_MAX: usize = 1_000;

/// Room in a line beyond twice the number of lanes there are, before those that are gone are looked for.
const LINE_ROOM: usize = 1024;

/// A line in which everything stands once.
#[derive(Debug)]
pub(super) struct Fifo<T> {
    line: VecDeque<T>,
    present: HashSet<T>,
}

impl<T> Default for Fifo<T> {
    fn default() -> Self {
        Self { line: VecDeque::new(), present: HashSet::new() }
    }
}

impl<T: Copy + Eq + Hash> Fifo<T> {
    pub(super) fn push(&mut self, item: T) {
        if self.present.insert(item) {
            self.line.push_back(item);
        }
    }

    fn push_first(&mut self, item: T) {
        if self.present.insert(item) {
            self.line.push_front(item);
        }
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let item = self.line.pop_front()?;
        self.present.remove(&item);
        Some(item)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.line.len()
    }

    /// Forgets what is gone, where many more stand in line than there are.
    pub(super) fn prune(&mut self, there_are: usize, is_there: impl Fn(T) -> bool) {
        if self.line.len() > 2 * there_are + LINE_ROOM {
            self.line.retain(|item| is_there(*item));
            self.present.retain(|item| is_there(*item));
        }
    }
}

/// An event that lanes wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Awaited {
    /// A free connection of a binding of the pool.
    Connection(PoolId),
    /// A grant for a binding of the pool.
    Grant(PoolId),
    /// A grant for the tenant.
    TenantGrant(TenantId),
}

/// What lets pass one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum GateKey {
    /// Rates and paces of bindings of a pool; the binding tells apart lanes to which other bindings are open.
    Pool(PoolId, BindingId),
    /// A tenant's rate.
    Tenant(TenantId),
}

#[derive(Debug, Default)]
struct Gate {
    opens: Wall,
    line: Fifo<LaneId>,
}

#[derive(Debug)]
struct Freed {
    connections: u32,
    offers: u32,
}

/// Everything that stands in line.
#[derive(Debug, Default)]
pub(super) struct Lines {
    awaited: BTreeMap<Awaited, Fifo<LaneId>>,
    gates: BTreeMap<GateKey, Gate>,
    /// Gates by the moment at which they open.
    opening: BTreeSet<(Wall, GateKey)>,
    /// Passed a gate and has not gone yet.
    passed: Option<LaneId>,
    /// To look by and by.
    staged: Fifo<LaneId>,
    /// Connections of a binding that were freed, and that nobody of the pool's line has taken yet.
    freed: BTreeMap<(PoolId, BindingId), Freed>,
}

impl Lines {
    /// The lane waits for a gate that stays closed until `opens`. Who passed it and found it closed again is the first.
    pub(super) fn close(&mut self, key: GateKey, opens: Wall, lane: LaneId) {
        let gate = self.gates.entry(key).or_default();
        if gate.opens != opens || gate.line.is_empty() {
            self.opening.remove(&(gate.opens, key));
            self.opening.insert((opens, key));
            gate.opens = opens;
        }
        if self.passed.take_if(|passed| *passed == lane).is_some() {
            gate.line.push_first(lane);
        } else {
            gate.line.push(lane);
        }
    }

    /// The first in line before a gate that is open. Gates without a line are gone.
    fn pass(&mut self, now: Wall) -> Option<(GateKey, LaneId)> {
        while let Some(&(opens, key)) = self.opening.first().filter(|(opens, _)| *opens <= now) {
            if let Some(lane) = self.gates.get_mut(&key).and_then(|gate| gate.line.pop()) {
                return Some((key, lane));
            }
            self.opening.remove(&(opens, key));
            self.gates.remove(&key);
        }
        None
    }

    /// The lane goes: if it had passed a gate it is one like the others again.
    pub(super) fn goes(&mut self, lane: LaneId) {
        self.passed.take_if(|passed| *passed == lane);
    }

    /// An attempt over this binding takes one of its connections.
    pub(super) fn uses(&mut self, pools: impl IntoIterator<Item = PoolId>, binding: BindingId) {
        if self.freed.is_empty() {
            return;
        }
        for pool in pools {
            let Some(freed) = self.freed.get_mut(&(pool, binding)) else { continue };
            freed.connections -= 1;
            if freed.connections == 0 {
                self.freed.remove(&(pool, binding));
            }
        }
    }

    /// A lane of the pool found all connections of these bindings in use.
    pub(super) fn found_full(&mut self, pool: PoolId, full: &[BindingId]) {
        if self.freed.is_empty() {
            return;
        }
        self.freed.retain(|(of, binding), freed| {
            if *of == pool && full.contains(binding) {
                return false;
            }
            freed.offers -= u32::from(*of == pool);
            freed.offers > 0
        });
    }

    /// When the next gate opens.
    pub(super) fn next_wakeup(&self) -> Option<Wall> {
        self.opening.first().map(|(opens, _)| *opens)
    }

    /// Places in all lines.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let awaited: usize = self.awaited.values().map(Fifo::len).sum();
        awaited + self.gates.values().map(|gate| gate.line.len()).sum::<usize>() + self.staged.len()
    }
}

/// Ends with something that happens.
fn is_event(block: &Block) -> bool {
    block.until.is_none()
}

impl Core {
    /// The lane waits for an event.
    pub(super) fn wait_for(&mut self, event: Awaited, lane: LaneId) {
        let line = self.lines.awaited.entry(event).or_default();
        line.push(lane);
        line.prune(self.index.lanes_len(), |lane| self.index.has_lane(lane));
    }

    /// The lane stands before a gate until `opens`, and those behind it.
    pub(super) fn wait_at(&mut self, gate: GateKey, opens: Wall, lane: LaneId) {
        self.lines.close(gate, opens, lane);
        if let Some(gate) = self.lines.gates.get_mut(&gate) {
            gate.line.prune(self.index.lanes_len(), |lane| self.index.has_lane(lane));
        }
    }

    /// At the start of a call: some of those whose moment has come are let go on.
    pub(super) fn release_some(&mut self, now: Now) {
        for _ in 0..STAGED_MAX {
            let Some(lane) = self.lines.staged.pop() else { break };
            if self.index.is_parked(lane) {
                self.index.wake_lane(lane);
            }
        }
        self.release_one(now);
    }

    /// Lets one lane look that waits for what may have come. False when there is none.
    pub(super) fn release_one(&mut self, now: Now) -> bool {
        while let Some((key, lane)) = self.lines.pass(now.wall) {
            match key {
                GateKey::Pool(_, binding) if self.wake_usable(lane, binding, |_| true) => self.index.put_first(lane),
                GateKey::Tenant(tenant) if self.index.is_tenant_blocked(lane, tenant) => {
                    self.index.wake_tenant(lane, tenant);
                }
                _ => continue,
            }
            self.lines.passed = Some(lane);
            return true;
        }
        while let Some(lane) = self.lines.staged.pop() {
            if self.index.is_parked(lane) {
                self.index.wake_lane(lane);
                return true;
            }
        }
        false
    }

    /// An attempt has ended. Lanes to the same destination may go on, one of those that wait for a connection of the binding,
    /// and one that waits for an attempt less under way.
    pub(super) fn wake_for_slot(&mut self, binding: BindingId, destination: DestinationId) {
        for n in 0..self.index.lanes_to(destination).len() {
            let lane = self.index.lanes_to(destination)[n];
            self.wake_usable(lane, binding, is_event);
        }
        let pools: SmallVec<[PoolId; 4]> = self.scheduler.pools_of(binding).into_iter().collect();
        for pool in pools {
            if self.wake_in_line(pool, binding) {
                let freed = self.lines.freed.entry((pool, binding));
                let freed = freed.or_insert(Freed { connections: 0, offers: OFFERS_MAX });
                freed.connections += 1;
            }
        }
        self.wake_tenant_for_slot();
        self.wake_lane_for_slot();
    }

    /// Lets the parts of the lane look again that may use the binding, and for whose block `waits` holds.
    fn wake_usable(&mut self, lane: LaneId, binding: BindingId, waits: impl Fn(&Block) -> bool) -> bool {
        let Some(LaneKey { pool, families, .. }) = self.index.key(lane) else { return false };
        let scheduler = &self.scheduler;
        let may_use = |cover| !scheduler.is_barred(cover, pool, families, binding);
        self.index.wake_some(lane, Some(binding), |cover, block| waits(block) && may_use(cover))
    }

    /// Lets the first in the pool's line for a connection look that may use this binding.
    fn wake_in_line(&mut self, pool: PoolId, binding: BindingId) -> bool {
        let Some(mut line) = self.lines.awaited.remove(&Awaited::Connection(pool)) else { return false };
        let (mut is_woken, mut barred) = (false, 0);
        while !is_woken && barred < line.len().min(BARRED_MAX) {
            let Some(lane) = line.pop() else { break };
            is_woken = self.wake_usable(lane, binding, is_event);
            if is_woken {
                self.index.leaves_line(lane);
            }
            if self.index.waits_for_event(lane) {
                // What waits in it may not use this one.
                line.push(lane);
                barred += 1;
            }
        }
        if !line.is_empty() {
            self.lines.awaited.insert(Awaited::Connection(pool), line);
        }
        is_woken
    }

    /// Nobody else has anything to send: what the last one woken could not use is offered to the next in line, a connection
    /// or an attempt less under way. False when there is nothing to offer or nobody in line.
    pub(super) fn offer_on(&mut self) -> bool {
        while let Some((&(pool, binding), _)) = self.lines.freed.first_key_value() {
            if self.wake_in_line(pool, binding) {
                return true;
            }
            self.lines.freed.remove(&(pool, binding));
        }
        // Who waits is above its share, or was when it came.
        self.wake_tenant_for_slot() || self.wake_lane_for_slot()
    }

    fn wake_tenant_for_slot(&mut self) -> bool {
        while let Some((tenant, lane)) = self.slots.next_waiting() {
            if self.index.is_tenant_blocked(lane, tenant) {
                self.index.wake_tenant(lane, tenant);
                return true;
            }
        }
        false
    }

    fn wake_lane_for_slot(&mut self) -> bool {
        while let Some(lane) = self.slots.next_lane() {
            if self.index.wake_some(lane, None, |_, block| block.reason == slots::REASON) {
                return true;
            }
        }
        false
    }

    /// A grant for this owner is on disk, or could not be written: those that waited for it look again.
    pub(super) fn wake_for_grant(&mut self, owner: &Owner) {
        match owner {
            Owner::Binding(name) | Owner::Route(name, _) => {
                let Some(binding) = self.scheduler.binding_id(name) else { return };
                for pool in self.scheduler.pools_of(binding) {
                    if let Some(mut line) = self.lines.awaited.remove(&Awaited::Grant(pool)) {
                        while let Some(lane) = line.pop() {
                            self.lines.staged.push(lane);
                        }
                    }
                }
            }
            Owner::Tenant(name) | Owner::TenantRoute(name, _) => {
                let Some(tenant) = self.scheduler.tenant_id(name) else { return };
                let Some(mut line) = self.lines.awaited.remove(&Awaited::TenantGrant(tenant)) else { return };
                while let Some(lane) = line.pop() {
                    self.index.wake_tenant(lane, tenant);
                }
            }
        }
    }

    /// The mail of a domain with this cover has another now: its lanes look again.
    pub(super) fn wake_cover(&mut self, cover: CoverId) {
        self.index.lanes_of_cover(cover).for_each(|lane| self.lines.staged.push(lane));
    }

    /// The lane looks again by and by.
    pub(super) fn stage(&mut self, lane: LaneId) {
        self.lines.staged.push(lane);
    }

    /// What a binding may carry has changed: all that stands still in its pools looks again.
    pub(super) fn wake_pools_of(&mut self, binding: &BindingName) {
        let Some(id) = self.scheduler.binding_id(binding) else { return };
        for pool in self.scheduler.pools_of(id) {
            self.index.parked(pool).for_each(|lane| self.lines.staged.push(lane));
        }
    }

    /// Health has moved: those that stand still and are concerned look again.
    pub(super) fn wake_concerned(&mut self, changes: &[HealthChange]) {
        let mut pools = BTreeSet::new();
        for change in changes {
            match &change.subject {
                Subject::Binding(name) => {
                    pools
                        .extend(self.scheduler.binding_id(name).into_iter().flat_map(|id| self.scheduler.pools_of(id)));
                }
                Subject::Route(_, destination) => {
                    let Some(destination) = self.scheduler.destination_id(destination) else { continue };
                    self.index.lanes_to(destination).iter().for_each(|lane| self.lines.staged.push(*lane));
                }
            }
        }
        for pool in pools {
            self.index.parked(pool).for_each(|lane| self.lines.staged.push(lane));
        }
    }
}
