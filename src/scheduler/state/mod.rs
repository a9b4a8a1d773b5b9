//! What the scheduler knows, and how it changes: configuration, health, grants, time.
//!
//! Names are numbered once and keep their number for the life of the scheduler, also over [`Scheduler::reconfigure`]:
//! leases that are out stay valid, counts and windows go on. Whatever changes about a binding ends in
//! [`Scheduler::refresh`], the one place that decides whether it is in play.

mod grants;
mod health;
mod names;
mod routes;
mod things;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::cap::{AccountId, Calendar, GrantFact, Ledger};
use super::cover::Covers;
use super::pool::Pool;
use super::prediction::Predictions;
use super::rate::Told;
use super::region::Regions;
use super::warmup::Warmups;
use super::window;
use super::{BindingId, DestinationId, PoolId, TenantId};
use crate::clock::{Mono, Now, Wall};
use crate::config::{self, Config};
use crate::message::{BindingName, DestinationName, PoolName, TenantName};

pub use self::grants::CapUsage;
pub(super) use self::routes::{PairHasher, Route, RouteTable, Routes, pair, unpair};
pub(super) use self::things::{Binding, Destination, Tenant};

/// Chooses bindings. See the [module](super) for how.
pub struct Scheduler {
    pub(super) rng: StdRng,
    pub(super) told: Told,
    pub(super) bindings: Vec<Binding>,
    pub(super) binding_ids: HashMap<BindingName, BindingId>,
    pub(super) pools: Vec<Pool>,
    pub(super) pool_ids: HashMap<PoolName, PoolId>,
    pub(super) tenants: Vec<Tenant>,
    pub(super) tenant_ids: HashMap<TenantName, TenantId>,
    pub(super) destinations: Vec<Destination>,
    destination_ids: HashMap<DestinationName, DestinationId>,
    unused_destinations: Vec<DestinationId>,
    pub(super) table: RouteTable,
    pub(super) routes: Routes,
    pub(super) ledger: Ledger,
    pub(super) warmups: Warmups,
    pub(super) wall_timers: BinaryHeap<Reverse<(Wall, BindingId)>>,
    pub(super) mono_timers: BinaryHeap<Reverse<(Mono, BindingId)>>,
    /// Bindings by the range of their public address, where there is more than one; each binding names its own.
    pub(super) ranges: Vec<Vec<BindingId>>,
    /// Grows with each configuration: places in tiers are valid within one.
    pub(super) epoch: u32,
    /// How windows move.
    pub(super) window: config::Window,
    /// Routes that only their window keeps in memory, by the time to look at them again.
    pub(super) fading: VecDeque<(Mono, BindingId, DestinationId)>,
    pub(super) regions: Regions,
    pub(super) covers: Covers,
    /// Empty where no pool asks for it.
    pub(super) predictions: Predictions,
    /// Keys that were met in need of a grant during one selection.
    pub(super) wants: Vec<AccountId>,
}

/// How much of a binding's connection window is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingUse {
    /// Which.
    pub binding: BindingName,
    /// Attempts under way.
    pub in_use: u32,
    /// Most at the same time, throttling included; `None` without a limit.
    pub limit: Option<u32>,
}

impl Scheduler {
    /// A scheduler for `config` that knows what was granted before. The same seed and the same calls give the same
    /// decisions.
    pub fn new(config: &Config, grants: &[GrantFact], seed: u64, now: Now) -> Self {
        let mut scheduler = Self {
            rng: StdRng::seed_from_u64(seed),
            told: Told::default(),
            bindings: Vec::new(),
            binding_ids: HashMap::new(),
            pools: Vec::new(),
            pool_ids: HashMap::new(),
            tenants: Vec::new(),
            tenant_ids: HashMap::new(),
            destinations: Vec::new(),
            destination_ids: HashMap::new(),
            unused_destinations: Vec::new(),
            table: RouteTable::default(),
            routes: Routes::default(),
            ledger: Ledger::new(Calendar::new(&config.server.day), grants, now.wall),
            warmups: Warmups::default(),
            wall_timers: BinaryHeap::new(),
            mono_timers: BinaryHeap::new(),
            ranges: Vec::new(),
            epoch: 0,
            window: config.window,
            fading: VecDeque::new(),
            regions: Regions::default(),
            covers: Covers::default(),
            predictions: Predictions::default(),
            wants: Vec::new(),
        };
        scheduler.reconfigure(config, now);
        scheduler
    }

    /// The destinations of a binding's routes, also of one that is configured no more.
    pub fn destinations_of(&self, binding: &BindingName) -> Vec<DestinationName> {
        let Some(&id) = self.binding_ids.get(binding) else { return Vec::new() };
        let routes = self.routes.0.keys().map(|key| unpair(*key)).filter(|(of, _)| *of == id);
        routes.map(|(_, to)| self.destinations[to.index()].name.clone()).collect()
    }

    /// The tier of a pool in which a binding stands; 0 is active.
    pub fn tier_of(&self, pool: PoolId, binding: BindingId) -> Option<usize> {
        let seats = &self.bindings[binding.index()].seats;
        seats.iter().find(|(known, ..)| *known == pool).map(|(_, tier, _)| *tier as usize)
    }

    /// Recipients that may still be accepted today through a binding at a destination, attempts on the wire counted as
    /// accepted: what is left of its caps and allowances. `None` without any.
    pub fn left_today(&self, binding: BindingId, destination: DestinationId) -> Option<u64> {
        let of_route = self.routes.get(binding, destination).and_then(|route| route.account);
        let accounts = [Some(self.bindings[binding.index()].account), of_route];
        let left = accounts.into_iter().flatten().filter_map(|account| {
            let account = self.ledger.account(account);
            let taken = account.used() + account.reserved();
            (account.limit() != Ledger::UNLIMITED).then(|| account.limit().saturating_sub(taken))
        });
        left.min()
    }

    /// Bindings whose public addresses lie in the same /24 or /64 ([`range::same`](super::range::same)), this one among them;
    /// none where it shares it with nobody.
    pub fn range_of(&self, id: BindingId) -> &[BindingId] {
        self.bindings[id.index()].range.map_or(&[], |range| &self.ranges[range as usize])
    }

    /// Bindings of a pool that take mail, whatever their tier.
    pub fn members(&self, pool: PoolId) -> impl Iterator<Item = BindingId> {
        let seats = self.pools[pool.index()].tiers.iter().flat_map(|tier| &tier.seats);
        seats.filter(|seat| seat.weight > 0).map(|seat| seat.binding)
    }

    /// Whether a binding takes mail of a pool: it has a seat there, and neither drain nor `suspend_delivery` is asked for.
    pub fn is_member(&self, id: BindingId, pool: PoolId) -> bool {
        let binding = &self.bindings[id.index()];
        let has_weight = |&(of, tier, seat): &(PoolId, u32, u32)| {
            of == pool && self.pools[pool.index()].tiers[tier as usize].seats[seat as usize].weight > 0
        };
        binding.exists && !binding.config.suspend_delivery && binding.seats.iter().any(has_weight)
    }

    /// Messages after which a connection of this route is closed.
    pub fn messages_per_connection(&self, binding: BindingId, destination: DestinationId) -> u32 {
        self.table.limits(binding, self.destinations[destination.index()].column).messages_per_connection
    }

    /// Attempts that a binding has on the wire.
    pub fn attempts_of(&self, binding: BindingId) -> u32 {
        self.bindings[binding.index()].window.in_use()
    }

    /// The connection window of every binding of the configuration.
    pub fn in_use(&self, now: Now) -> Vec<BindingUse> {
        let in_use = |binding: &Binding| BindingUse {
            binding: binding.config.name.clone(),
            in_use: binding.window.in_use(),
            limit: binding.limits.window.map(|n| window::effective(n, binding.standing.divisor(now.wall))),
        };
        self.bindings.iter().filter(|binding| binding.exists).map(in_use).collect()
    }
}
