//! What stands still, and what lets it look again: blocks of parts of lanes, of turns, and the timers of both.

use super::lane::{Lane, Parked, Part};
use super::timers::Timer;
use super::{Block, Due, Index, LaneId, Place};
use crate::clock::Wall;
use crate::scheduler::{BindingId, CoverId, PoolId, TenantId};

impl Index {
    /// Blocks a part of the lane; at `wake` (the block's moment plus jitter) it looks again by itself.
    pub fn block_lane(&mut self, id: LaneId, cover: CoverId, block: Block, wake: Wall) {
        self.park(id, cover, |part| part.block(Parked { block, wake }));
    }

    /// Blocks what of the part is not engaged, whosever it is.
    pub fn block_plain(&mut self, id: LaneId, cover: CoverId, block: Block, wake: Wall) {
        self.park(id, cover, |part| part.reserve(Parked { block, wake }));
    }

    fn park(&mut self, id: LaneId, cover: CoverId, how: impl FnOnce(&mut Part)) {
        let Some(lane) = self.lanes.get_mut(id) else { return };
        let Some(part) = lane.parts.get_mut(cover) else { return };
        how(part);
        let pool = lane.key.pool;
        self.parked.entry(pool).or_default().insert(id);
        self.arm_lane(id);
        self.make_ready(id);
    }

    /// Blocks one tenant's turn in the lane.
    pub fn block_tenant(&mut self, id: LaneId, tenant: TenantId, block: Block, wake: Wall) {
        let Some(turn) = self.lanes.get_mut(id).and_then(|lane| lane.turn(tenant)) else { return };
        turn.blocked = Some(Parked { block, wake });
        if turn.armed.is_none_or(|armed| armed > wake) {
            turn.armed = Some(wake);
            self.arm(wake, Timer::Tenant(id, tenant));
        }
        self.make_ready(id);
    }

    /// Lets all of a lane look again, also what is not engaged.
    pub fn wake_lane(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(id) else { return };
        lane.parts.iter_mut().for_each(Part::free);
        let pool = lane.key.pool;
        self.unpark(pool, id);
        self.make_ready(id);
    }

    /// Lets parts of a lane look again for which `may` holds, given their cover and what blocks them. Those that do so for a
    /// binding stand still as before when one of them finds it in use ([`Index::found_used`]). False where there are none.
    pub fn wake_some(&mut self, id: LaneId, binding: Option<BindingId>, may: impl Fn(CoverId, &Block) -> bool) -> bool {
        let Some(lane) = self.lanes.get_mut(id) else { return false };
        let mut is_woken = false;
        for part in lane.parts.iter_mut() {
            let is_meant = part.all().any(|parked| may(part.cover, &parked.block));
            match (is_meant, part.tries, binding) {
                (false, ..) => {}
                (true, None, Some(_)) => (part.tries, is_woken) = (binding, true),
                // Two bindings may have something for it.
                (true, Some(known), Some(new)) if known != new => part.free(),
                (true, Some(_), Some(_)) => {}
                (true, _, None) => {
                    part.free();
                    is_woken = true;
                }
            }
        }
        let (pool, is_parked) = (lane.key.pool, lane.is_parked());
        if !is_parked {
            self.unpark(pool, id);
        }
        if is_woken {
            self.make_ready(id);
        }
        is_woken
    }

    /// A lane that looks again does so since its turn came in a line for a connection.
    pub fn leaves_line(&mut self, id: LaneId) {
        if let Some(lane) = self.lanes.get_mut(id) {
            lane.has_left_line = true;
        }
    }

    /// Parts of the lane that look for a binding need not where `is_used` holds, given what blocked them: they stand still
    /// as before. Returns whether the lane has left a line in which they are to stand again.
    pub fn found_used(&mut self, id: LaneId, is_used: impl Fn(BindingId, &Block) -> bool) -> bool {
        let Some(lane) = self.lanes.get_mut(id) else { return false };
        let mut is_changed = false;
        for part in lane.parts.iter_mut() {
            let Some(binding) = part.tries else { continue };
            if part.all().any(|parked| is_used(binding, &parked.block)) {
                (part.tries, is_changed) = (None, true);
            }
        }
        if !is_changed {
            return false;
        }
        let (pool, has_left_line) = (lane.key.pool, std::mem::take(&mut lane.has_left_line));
        self.parked.entry(pool).or_default().insert(id);
        self.arm_lane(id);
        has_left_line
    }

    /// A part of the lane goes over this binding: if it was to look for another, it does so no more.
    pub fn uses(&mut self, id: LaneId, cover: CoverId, binding: BindingId) {
        if let Some(part) = self.lanes.get_mut(id).and_then(|lane| lane.parts.get_mut(cover))
            && part.tries.is_some_and(|tried| tried != binding)
        {
            part.free();
        }
    }

    /// Makes a lane that has just been let go on the next of the round.
    pub fn put_first(&mut self, id: LaneId) {
        if self.ready.back() == Some(&id) && self.ready.len() > 1 {
            self.ready.pop_back();
            self.ready.push_front(id);
        }
    }

    /// Lets a tenant's blocked turn look again.
    pub fn wake_tenant(&mut self, id: LaneId, tenant: TenantId) {
        if let Some(turn) = self.lanes.get_mut(id).and_then(|lane| lane.turn(tenant)) {
            turn.blocked = None;
            self.make_ready(id);
        }
    }

    /// Lanes of a pool of which something stands still.
    pub fn parked(&self, pool: PoolId) -> impl Iterator<Item = LaneId> {
        self.parked.get(&pool).into_iter().flatten().copied()
    }

    /// Lanes of all pools of which something stands still.
    pub fn all_parked(&self) -> impl Iterator<Item = LaneId> {
        self.parked.values().flatten().copied()
    }

    /// Lets every tenant's blocked turn look again.
    pub fn wake_turns(&mut self) {
        let blocked = |lane: &Lane| lane.turns.iter().any(|turn| turn.blocked.is_some());
        let lanes: Vec<LaneId> =
            self.lane_ids.values().copied().filter(|id| self.lanes.get(*id).is_some_and(blocked)).collect();
        for id in lanes {
            if let Some(lane) = self.lanes.get_mut(id) {
                lane.turns.iter_mut().for_each(|turn| turn.blocked = None);
            }
            self.make_ready(id);
        }
    }

    /// Forgets what has left its place in a lane: those that are about to come back must not stand there twice.
    pub fn forget_moved(&mut self) {
        let Self { lanes, lane_ids, entries, .. } = self;
        for &id in lane_ids.values() {
            let Some(lane) = lanes.get_mut(id) else { continue };
            lane.tidy(|entry, cover| entries.get(entry).is_some_and(|w| w.place == Place::Lane(id, cover)));
        }
    }

    /// How many they are.
    pub fn parked_len(&self, pool: PoolId) -> usize {
        self.parked.get(&pool).map_or(0, std::collections::BTreeSet::len)
    }

    /// Whether something of the lane stands still.
    pub fn is_parked(&self, id: LaneId) -> bool {
        self.lanes.get(id).is_some_and(Lane::is_parked)
    }

    /// Whether some of it stands still until something happens (a connection is free, a grant is on disk).
    pub fn waits_for_event(&self, id: LaneId) -> bool {
        let Some(lane) = self.lanes.get(id) else { return false };
        lane.parts.iter().flat_map(Part::parked).any(|parked| parked.block.until.is_none())
    }

    /// Whether a tenant's turn in the lane stands still.
    pub fn is_tenant_blocked(&self, id: LaneId, tenant: TenantId) -> bool {
        let turns = self.lanes.get(id).map_or(&[][..], |lane| &lane.turns);
        turns.iter().any(|turn| turn.tenant == tenant && turn.blocked.is_some())
    }

    /// Whether there is such a lane.
    pub fn has_lane(&self, id: LaneId) -> bool {
        self.lanes.get(id).is_some()
    }

    pub(super) fn unpark(&mut self, pool: PoolId, id: LaneId) {
        if let Some(parked) = self.parked.get_mut(&pool) {
            parked.remove(&id);
            if parked.is_empty() {
                self.parked.remove(&pool);
            }
        }
    }

    /// Fires the next timer that is due. Timers for what has moved on fire into nothing.
    pub fn next_due(&mut self, now: Wall) -> Option<Due> {
        self.fired = self.fired.max(now);
        while let Some((at, timer)) = self.timers.pop(now) {
            match timer {
                Timer::Expiry(id) => {
                    let waiting = self.entries.get(id);
                    if waiting.is_some_and(|w| w.place != Place::InFlight && w.expires <= now) {
                        return Some(Due::Expired(id));
                    }
                }
                Timer::Entry(id) => match self.entries.get(id).map(|w| (w.place, w.expires)) {
                    Some((Place::Delayed { until, .. }, _)) if until <= now => return Some(Due::Entry(id)),
                    // Its end came first when the timer was set, and has been moved since.
                    Some((Place::Delayed { until, .. }, expires)) if expires > now && at < until => {
                        self.arm(until.min(expires), Timer::Entry(id));
                    }
                    _ => {}
                },
                Timer::Late(id) => {
                    if self.entries.get(id).is_some_and(|w| w.place != Place::InFlight) {
                        return Some(Due::Late(id));
                    }
                }
                Timer::Lane(lane) => self.lane_timer(lane, at, now),
                Timer::Tenant(lane, tenant) => self.tenant_timer(lane, tenant, at, now),
            }
        }
        None
    }

    fn lane_timer(&mut self, id: LaneId, at: Wall, now: Wall) {
        let Some(lane) = self.lanes.get_mut(id).filter(|lane| lane.armed == Some(at)) else { return };
        lane.armed = None;
        lane.parts.iter_mut().for_each(|part| part.end(now));
        let (pool, is_parked) = (lane.key.pool, lane.is_parked());
        if !is_parked {
            self.unpark(pool, id);
        }
        self.arm_lane(id);
        self.make_ready(id);
    }

    fn tenant_timer(&mut self, id: LaneId, tenant: TenantId, at: Wall, now: Wall) {
        let Some(turn) = self.lanes.get_mut(id).and_then(|lane| lane.turn(tenant)) else { return };
        if turn.armed != Some(at) {
            return;
        }
        turn.armed = None;
        match turn.blocked {
            Some(Parked { wake, .. }) if wake > now => {
                turn.armed = Some(wake);
                self.arm(wake, Timer::Tenant(id, tenant));
            }
            Some(_) => self.wake_tenant(id, tenant),
            None => {}
        }
    }

    fn arm_lane(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(id) else { return };
        let wake = lane.parts.iter().flat_map(Part::parked).map(|parked| parked.wake).min();
        if let Some(wake) = wake.filter(|wake| lane.armed.is_none_or(|armed| armed > *wake)) {
            lane.armed = Some(wake);
            self.arm(wake, Timer::Lane(id));
        }
    }

    /// When the next timer fires.
    pub fn next_wakeup(&self) -> Option<Wall> {
        self.timers.next()
    }

    /// Sets a timer. Timers of what has moved on are swept when they may outnumber the others: mail lives for days, and
    /// most of it is delivered in its first second.
    pub(super) fn arm(&mut self, at: Wall, timer: Timer) {
        self.timers.push(at, timer);
        if self.timers.want_sweeping() {
            let Self { timers, entries, lanes, .. } = self;
            // Each entry has its end and perhaps a delay; lanes are fewer than entries.
            let most = 2 * entries.len() + 1024;
            timers.retain(most, |at, timer| match timer {
                Timer::Expiry(id) => entries.get(id).is_some_and(|w| w.expires == at),
                Timer::Entry(id) => entries
                    .get(id)
                    .is_some_and(|w| matches!(w.place, Place::Delayed { until, .. } if until.min(w.expires) == at)),
                Timer::Late(id) => entries.get(id).is_some_and(|w| w.expires > at),
                Timer::Lane(id) => lanes.get(id).is_some_and(|lane| lane.armed == Some(at)),
                Timer::Tenant(id, tenant) => lanes
                    .get(id)
                    .is_some_and(|lane| lane.turns.iter().any(|turn| turn.tenant == tenant && turn.armed == Some(at))),
            });
        }
    }
}
