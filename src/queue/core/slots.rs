//! Who may use the attempts that can be under way at the same time.
//!
//! There are `max_attempts_in_flight` of them over all tenants and destinations, and an attempt at a host that does not
//! answer holds one for half a minute. Up to [`CROWDED`] of them whoever comes takes one. From there on a tenant may
//! hold no more than its weighted share among those that hold or want one, so that one tenant's slow destinations do not
//! stop the others; while some tenant has nothing under way, a share is kept for it as well, and it finds room at once.
//! Likewise a destination may then hold no more than its equal share among those that mail is being sent to.
//!
//! What is above its share waits: the tenant's turn in the lane, or the lane. Each attempt that ends lets one go on, of
//! the waiting tenant that holds the least for its weight. A tenant that is the only one configured, and a destination
//! that is the only one mail is sent to, may use all.

use std::collections::{BTreeMap, HashMap};

use super::super::index::LaneId;
use super::wake::Fifo;
use crate::scheduler::{DestinationId, TenantId};

/// Share of all attempts (numerator, denominator) that is given to whoever comes first.
const CROWDED: (usize, usize) = (3, 4);

/// What stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crowded {
    /// The tenant holds its share.
    Tenant,
    /// The destination does.
    Destination,
}

/// The reason in the queue listing.
pub(super) const REASON: &str = "slots";

#[derive(Debug)]
struct Share {
    weight: u32,
    in_flight: usize,
}

#[derive(Debug)]
pub(super) struct Slots {
    max: usize,
    in_flight: usize,
    tenants: Vec<Share>,
    /// How many of them are configured.
    configured: usize,
    /// Tenants that hold or want a slot, and the sum of their weights.
    active: (usize, u64),
    destinations: HashMap<DestinationId, usize>,
    waiting: BTreeMap<TenantId, Fifo<LaneId>>,
    lanes: Fifo<LaneId>,
}

impl Slots {
    pub(super) fn new(max: usize, weights: impl Iterator<Item = u32>) -> Self {
        let tenants: Vec<_> = weights.map(|weight| Share { weight: weight.max(1), in_flight: 0 }).collect();
        Self {
            max,
            in_flight: 0,
            configured: tenants.len(),
            tenants,
            active: (0, 0),
            destinations: HashMap::new(),
            waiting: BTreeMap::new(),
            lanes: Fifo::default(),
        }
    }

    /// Takes over another configuration: weights by number of the tenant, `None` for those that are gone. Attempts under
    /// way keep their slots, also where there are more of them than there may be now.
    pub(super) fn reconfigure(&mut self, max: usize, weights: &[Option<u32>]) {
        self.max = max;
        self.configured = weights.iter().flatten().count();
        self.tenants.resize_with(self.tenants.len().max(weights.len()), || Share { weight: 1, in_flight: 0 });
        for (share, weight) in self.tenants.iter_mut().zip(weights) {
            share.weight = weight.unwrap_or(share.weight).max(1);
        }
        let ids = (0..self.tenants.len() as u32).map(TenantId).filter(|&id| self.is_active(id));
        let active: Vec<u64> = ids.map(|id| u64::from(self.tenants[id.index()].weight)).collect();
        self.active = (active.len(), active.iter().sum());
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn is_full(&self) -> bool {
        self.in_flight >= self.max
    }

    fn is_crowded(&self) -> bool {
        CROWDED.1 * self.in_flight >= CROWDED.0 * self.max
    }

    fn is_active(&self, tenant: TenantId) -> bool {
        self.tenants.get(tenant.index()).is_some_and(|share| share.in_flight > 0) || self.waiting.contains_key(&tenant)
    }

    /// Whether one more attempt may begin.
    pub(super) fn admit(&self, tenant: TenantId, destination: DestinationId) -> Result<(), Crowded> {
        if !self.is_crowded() {
            return Ok(());
        }
        if !self.has_share(tenant) {
            return Err(Crowded::Tenant);
        }
        let here = self.destinations.get(&destination).copied().unwrap_or(0);
        let destinations = self.destinations.len() + usize::from(here == 0);
        if here * destinations >= self.max { Err(Crowded::Destination) } else { Ok(()) }
    }

    fn has_share(&self, tenant: TenantId) -> bool {
        let Some(share) = self.tenants.get(tenant.index()) else { return true };
        let (mut tenants, mut weights) = self.active;
        if !self.is_active(tenant) {
            (tenants, weights) = (tenants + 1, weights + u64::from(share.weight));
        }
        if tenants < self.configured {
            weights += 1; // Room for one that has nothing under way.
        }
        !self.is_crowded() || (share.in_flight as u64) * weights < u64::from(share.weight) * self.max as u64
    }

    /// An attempt begins.
    pub(super) fn take(&mut self, tenant: TenantId, destination: DestinationId) {
        self.in_flight += 1;
        *self.destinations.entry(destination).or_default() += 1;
        self.change(tenant, |slots| {
            if let Some(share) = slots.tenants.get_mut(tenant.index()) {
                share.in_flight += 1;
            }
        });
    }

    /// An attempt has ended.
    pub(super) fn give(&mut self, tenant: TenantId, destination: DestinationId) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(here) = self.destinations.get_mut(&destination) {
            *here -= 1;
            if *here == 0 {
                self.destinations.remove(&destination);
            }
        }
        self.change(tenant, |slots| {
            if let Some(share) = slots.tenants.get_mut(tenant.index()) {
                share.in_flight = share.in_flight.saturating_sub(1);
            }
        });
    }

    /// The tenant's turn in this lane waits for a slot.
    pub(super) fn wait(&mut self, tenant: TenantId, lane: LaneId) {
        self.change(tenant, |slots| slots.waiting.entry(tenant).or_default().push(lane));
    }

    /// This lane waits for its destination to hold less.
    pub(super) fn wait_all(&mut self, lane: LaneId) {
        self.lanes.push(lane);
    }

    /// Who may go on now that an attempt has ended: of the waiting tenants that are below their share, one of that which
    /// holds the least for its weight.
    pub(super) fn next_waiting(&mut self) -> Option<(TenantId, LaneId)> {
        let held = |tenant: TenantId| {
            let share = self.tenants.get(tenant.index());
            share.map_or((0, 1), |share| (share.in_flight as u64, u64::from(share.weight)))
        };
        let waiting = self.waiting.keys().copied().filter(|&tenant| self.has_share(tenant));
        let tenant = waiting.min_by(|&a, &b| {
            let ((a, of_a), (b, of_b)) = (held(a), held(b));
            (a * of_b).cmp(&(b * of_a))
        })?;
        let mut lane = None;
        self.change(tenant, |slots| {
            let Some(lanes) = slots.waiting.get_mut(&tenant) else { return };
            lane = lanes.pop();
            if lanes.is_empty() {
                slots.waiting.remove(&tenant);
            }
        });
        lane.map(|lane| (tenant, lane))
    }

    /// A lane that may go on since it is not crowded any more.
    pub(super) fn next_lane(&mut self) -> Option<LaneId> {
        if self.is_crowded() { None } else { self.lanes.pop() }
    }

    /// Forgets lanes that are gone, where many wait.
    pub(super) fn prune(&mut self, lanes: usize, is_there: impl Fn(LaneId) -> bool) {
        self.lanes.prune(lanes, &is_there);
        for waiting in self.waiting.values_mut() {
            waiting.prune(lanes, &is_there);
        }
    }

    /// Does something that may make a tenant active or idle.
    fn change(&mut self, tenant: TenantId, what: impl FnOnce(&mut Self)) {
        let before = self.is_active(tenant);
        what(self);
        let weight = self.tenants.get(tenant.index()).map_or(0, |share| u64::from(share.weight));
        match (before, self.is_active(tenant)) {
            (false, true) => self.active = (self.active.0 + 1, self.active.1 + weight),
            (true, false) => self.active = (self.active.0.saturating_sub(1), self.active.1.saturating_sub(weight)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HERE: DestinationId = DestinationId(0);

    fn slots(max: usize, weights: &[u32]) -> Slots {
        Slots::new(max, weights.iter().copied())
    }

    /// Takes what the tenant is given, each attempt to another destination.
    fn fill(slots: &mut Slots, tenant: u32, first: u32) -> u32 {
        let mut taken = 0;
        while !slots.is_full() && slots.admit(TenantId(tenant), DestinationId(first + taken)).is_ok() {
            slots.take(TenantId(tenant), DestinationId(first + taken));
            taken += 1;
        }
        taken
    }

    #[test]
    fn a_tenant_that_is_alone_may_use_all_and_otherwise_leaves_room_for_a_newcomer() {
        assert_eq!(fill(&mut slots(100, &[1]), 0, 0), 100);
        let mut two = slots(100, &[1, 1]);
        assert_eq!(fill(&mut two, 0, 0), 75);
        assert_eq!(fill(&mut two, 1, 1_000), 25, "at once");
    }

    #[test]
    fn a_destination_that_does_not_answer_does_not_take_what_others_want() {
        let mut slots = slots(100, &[1]);
        slots.take(TenantId(0), DestinationId(1));
        while slots.admit(TenantId(0), HERE).is_ok() {
            slots.take(TenantId(0), HERE);
        }
        assert_eq!(slots.in_flight(), 75);
        assert_eq!(slots.admit(TenantId(0), HERE), Err(Crowded::Destination));
        assert_eq!(fill(&mut slots, 0, 2), 25);
    }

    #[test]
    fn the_waiting_tenant_that_holds_least_for_its_weight_goes_on() {
        let lane = LaneId::for_tests;
        let mut slots = slots(8, &[1, 3]);
        for n in 0..4 {
            slots.take(TenantId(0), DestinationId(n));
            slots.take(TenantId(1), DestinationId(n));
        }
        slots.wait(TenantId(0), lane(0));
        slots.wait(TenantId(1), lane(1));
        slots.give(TenantId(0), HERE);
        assert_eq!(slots.next_waiting(), Some((TenantId(1), lane(1))));
        assert_eq!(slots.next_waiting(), None, "the other still holds more than a quarter");
    }

    proptest! {
        /// Whatever begins and ends: counts are right, nobody below its share is refused, and who is above it takes none of
        /// the last quarter.
        #[test]
        fn shares_hold_whatever_begins_and_ends(
            weights in prop::collection::vec(1u32..5, 1..5),
            max in 4usize..40,
            steps in prop::collection::vec((0u32..5, 0u32..6, any::<bool>()), 1..300),
        ) {
            let mut slots = slots(max, &weights);
            let mut out: Vec<(TenantId, DestinationId)> = Vec::new();
            for (tenant, destination, begins) in steps {
                let (tenant, destination) = (TenantId(tenant % weights.len() as u32), DestinationId(destination));
                if begins && !slots.is_full() {
                    let of = |t: TenantId| out.iter().filter(|(whose, _)| *whose == t).count() as u64;
                    let active = |t: &TenantId| of(*t) > 0 || *t == tenant;
                    let all: Vec<_> = (0..weights.len() as u32).map(TenantId).collect();
                    let sum: u64 = all.iter().filter(|t| active(t)).map(|t| u64::from(weights[t.index()])).sum();
                    let sum = sum + u64::from(!all.iter().all(active));
                    let is_below = of(tenant) * sum < u64::from(weights[tenant.index()]) * max as u64;
                    let is_crowded = 4 * out.len() >= 3 * max;
                    let answer = slots.admit(tenant, destination);
                    prop_assert_eq!(answer == Err(Crowded::Tenant), is_crowded && !is_below);
                    if answer.is_ok() {
                        slots.take(tenant, destination);
                        out.push((tenant, destination));
                    }
                } else if let Some(at) = out.iter().position(|(whose, _)| *whose == tenant) {
                    let (tenant, destination) = out.swap_remove(at);
                    slots.give(tenant, destination);
                }
                prop_assert_eq!(slots.in_flight(), out.len());
            }
            for (tenant, destination) in out {
                slots.give(tenant, destination);
            }
            prop_assert_eq!((slots.active, slots.destinations.len()), ((0, 0), 0));
        }
    }
}
