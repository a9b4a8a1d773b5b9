//! What the scheduler knows, and how it changes: configuration, health, grants, time.
//!
//! Names are numbered once and keep their number for the life of the scheduler, also over [`Scheduler::reconfigure`]:
//! leases that are out stay valid, counts and windows go on. Whatever changes about a binding ends in
//! [`Scheduler::refresh`], the one place that decides whether it is in play.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;
use smallvec::SmallVec;

use super::binding::{RouteLimits, WholeLimits};
use super::cap::{AccountId, Calendar, GrantFact, GrantRequest, Ledger, Owner};
use super::cover::Covers;
use super::pool::{Class, Pool};
use super::prediction::Predictions;
use super::rate::{Limiter, Told};
use super::region::Regions;
use super::standing::Standing;
use super::warmup::Warmups;
use super::window::{self, Sizing, Window};
use super::{BindingId, DestinationId, PoolId, TenantId};
use crate::clock::{Mono, Now, Wall};
use crate::config::{self, Config};
use crate::message::{BindingName, DestinationName, PoolName, ProviderName, TenantName};
use crate::reputation::{Health, Subject};

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

/// A binding and everything about it that changes.
pub(super) struct Binding {
    pub(super) config: Arc<config::Binding>,
    /// In the present configuration.
    pub(super) exists: bool,
    pub(super) limits: WholeLimits,
    pub(super) window: Window,
    pub(super) limiter: Option<Limiter>,
    pub(super) account: AccountId,
    /// The day's limit comes from the warm-up, not from the cap.
    pub(super) is_warming: bool,
    pub(super) standing: Standing,
    /// Destinations where it is not to be counted on, and why.
    pub(super) shut: Vec<(DestinationId, Class)>,
    /// Places in tiers: pool, tier, seat.
    pub(super) seats: SmallVec<[(PoolId, u32, u32); 2]>,
    /// Which of the ranges, where others share it.
    pub(super) range: Option<u32>,
    /// Moments at which it is looked at again, each once and earlier than the one before.
    pub(super) wall_timers: SmallVec<[Wall; 2]>,
    pub(super) mono_timer: Option<Mono>,
}

impl Binding {
    /// Whether automation alone may keep it from mail: it is configured, and neither taken out by the operator nor without
    /// its address.
    pub(super) fn is_there(&self) -> bool {
        self.exists && !self.config.suspend_delivery && !self.standing.is_taken_out()
    }
}

pub(super) struct Tenant {
    pub(super) name: TenantName,
    pub(super) account: AccountId,
    /// By column of the [`RouteTable`], where it has a cap towards that provider or had one.
    pub(super) towards: Vec<Option<AccountId>>,
    pub(super) limiter: Option<Limiter>,
}

impl Tenant {
    /// Its cap towards the provider of a column.
    pub(super) fn towards(&self, column: u32) -> Option<AccountId> {
        self.towards.get(column as usize).copied().flatten()
    }
}

pub(super) struct Destination {
    pub(super) name: DestinationName,
    pub(super) provider_name: Option<ProviderName>,
    /// Column in the [`RouteTable`]; 0 is "no provider".
    pub(super) column: u32,
    /// Routes here that are not to be counted on.
    pub(super) routes_out: u32,
    /// Routes that are remembered.
    pub(super) routes: u32,
}

/// A binding at a destination, remembered only while there is something to remember.
#[derive(Default)]
pub(super) struct Route {
    pub(super) window: Window,
    pub(super) sizing: Sizing,
    pub(super) limiter: Option<Limiter>,
    pub(super) account: Option<AccountId>,
    pub(super) standing: Standing,
    /// Why it is not to be counted on; kept by [`Scheduler::refresh_route`].
    pub(super) class: Class,
}

/// Effective limits per binding × (no provider, each provider).
#[derive(Default)]
pub(super) struct RouteTable {
    pub(super) columns: usize,
    pub(super) limits: Vec<RouteLimits>,
    pub(super) providers: HashMap<ProviderName, u32>,
}

impl RouteTable {
    pub(super) fn limits(&self, binding: BindingId, column: u32) -> &RouteLimits {
        &self.limits[binding.index() * self.columns + column as usize]
    }
}

/// Keys are pairs of our own dense numbers: one multiplication spreads them, and nobody outside can choose them.
#[derive(Default)]
pub(super) struct PairHasher(u64);

impl Hasher for PairHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

/// Routes by binding and destination.
#[derive(Default)]
pub(super) struct Routes(pub(super) HashMap<u64, Route, BuildHasherDefault<PairHasher>>);

pub(super) fn pair(binding: BindingId, destination: DestinationId) -> u64 {
    u64::from(binding.0) << 32 | u64::from(destination.0)
}

pub(super) fn unpair(key: u64) -> (BindingId, DestinationId) {
    (BindingId((key >> 32) as u32), DestinationId(key as u32))
}

impl Routes {
    pub(super) fn get(&self, binding: BindingId, destination: DestinationId) -> Option<&Route> {
        self.0.get(&pair(binding, destination))
    }

    pub(super) fn get_mut(&mut self, binding: BindingId, destination: DestinationId) -> Option<&mut Route> {
        self.0.get_mut(&pair(binding, destination))
    }
}

/// One key of the ledger, for metrics and status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapUsage {
    /// Whose cap.
    pub owner: Owner,
    /// Recipients that may be accepted today; `None` without a cap (warm-up included).
    pub limit: Option<u64>,
    /// Accepted today.
    pub used: u64,
    /// Held by attempts under way.
    pub reserved: u64,
    /// Durably granted for today.
    pub granted: u64,
    /// Start of the next day.
    pub resets_at: Wall,
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

    /// The number of a binding of the configuration.
    pub fn binding_id(&self, name: &BindingName) -> Option<BindingId> {
        self.binding_ids.get(name).copied().filter(|id| self.bindings[id.index()].exists)
    }

    /// The name of a binding.
    pub fn binding_name(&self, id: BindingId) -> &BindingName {
        &self.bindings[id.index()].config.name
    }

    /// The destinations of a binding's routes, also of one that is configured no more.
    pub fn destinations_of(&self, binding: &BindingName) -> Vec<DestinationName> {
        let Some(&id) = self.binding_ids.get(binding) else { return Vec::new() };
        let routes = self.routes.0.keys().map(|key| unpair(*key)).filter(|(of, _)| *of == id);
        routes.map(|(_, to)| self.destinations[to.index()].name.clone()).collect()
    }

    /// The configuration of a binding: the latest that had it.
    pub fn binding(&self, id: BindingId) -> &Arc<config::Binding> {
        &self.bindings[id.index()].config
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

    /// The number of a pool.
    pub fn pool_id(&self, name: &PoolName) -> Option<PoolId> {
        self.pool_ids.get(name).copied()
    }

    /// The name of a pool.
    pub fn pool_name(&self, id: PoolId) -> &PoolName {
        &self.pools[id.index()].name
    }

    /// The number of a tenant.
    pub fn tenant_id(&self, name: &TenantName) -> Option<TenantId> {
        self.tenant_ids.get(name).copied()
    }

    /// The name of a tenant.
    pub fn tenant_name(&self, id: TenantId) -> &TenantName {
        &self.tenants[id.index()].name
    }

    /// The number of a destination, given at its first appearance. `provider` is the provider it is, if it is one.
    pub fn destination(&mut self, name: &DestinationName, provider: Option<&ProviderName>) -> DestinationId {
        let column = provider.and_then(|provider| self.table.providers.get(provider)).copied().unwrap_or(0);
        if let Some(&id) = self.destination_ids.get(name) {
            let known = &mut self.destinations[id.index()];
            if provider.is_some() && known.provider_name.as_ref() != provider {
                // It was a site, and now a provider of that name is configured.
                (known.provider_name, known.column) = (provider.cloned(), column);
            }
            return id;
        }
        let fresh =
            Destination { name: name.clone(), provider_name: provider.cloned(), column, routes_out: 0, routes: 0 };
        let id = match self.unused_destinations.pop() {
            Some(id) => {
                self.destinations[id.index()] = fresh;
                id
            }
            None => {
                self.destinations.push(fresh);
                DestinationId(self.destinations.len() as u32 - 1)
            }
        };
        self.destination_ids.insert(name.clone(), id);
        id
    }

    /// The name of a destination.
    pub fn destination_name(&self, id: DestinationId) -> &DestinationName {
        &self.destinations[id.index()].name
    }

    /// The number of a destination that has one.
    pub fn destination_id(&self, name: &DestinationName) -> Option<DestinationId> {
        self.destination_ids.get(name).copied()
    }

    /// Forgets a destination for which no mail waits, so that numbers and memory do not grow with every domain ever
    /// written to. Returns false, and keeps it, while there is a lease, a health or a limit for it. Its number may be
    /// given to another destination afterwards.
    pub fn forget_destination(&mut self, id: DestinationId) -> bool {
        let destination = &self.destinations[id.index()];
        let is_known = self.destination_ids.get(&destination.name) == Some(&id);
        if destination.routes > 0 || destination.column > 0 || !is_known {
            return false;
        }
        self.destination_ids.remove(&destination.name);
        self.pools.iter_mut().flat_map(|pool| &mut pool.tiers).for_each(|tier| tier.forget(id));
        self.unused_destinations.push(id);
        true
    }

    /// Messages after which a connection of this route is closed.
    pub fn messages_per_connection(&self, binding: BindingId, destination: DestinationId) -> u32 {
        self.table.limits(binding, self.destinations[destination.index()].column).messages_per_connection
    }

    /// Takes over a health that was concluded. Unknown names are ignored; `now` should be the moment of the conclusion.
    pub fn set_health(&mut self, subject: &Subject, health: &Health, now: Now) {
        let is_out = |health: &Health| matches!(health, Health::Suspended { .. });
        let is_new = !self.health(subject).is_some_and(is_out);
        self.take_over_health(subject, health, is_new, now);
    }

    /// Takes over a health that an earlier run concluded: what was learned from it then is not learned again, and a pause
    /// that a receiver asked for is taken up. After [`restore_warmups`](Self::restore_warmups).
    pub fn restore_health(&mut self, subject: &Subject, health: &Health, now: Now) {
        self.take_over_health(subject, health, false, now);
        let Subject::Route(binding, destination) = subject else { return };
        if let (Some(&id), Some(&to)) = (self.binding_ids.get(binding), self.destination_ids.get(destination)) {
            self.recall_back_off(id, to, now);
        }
    }

    fn take_over_health(&mut self, subject: &Subject, health: &Health, is_new: bool, now: Now) {
        self.tick(now);
        let Some(&id) = self.binding_ids.get(subject.binding()) else { return };
        self.warm_up_health(id, subject, health, is_new);
        match subject {
            Subject::Binding(_) => {
                let binding = &mut self.bindings[id.index()];
                let was_there = binding.is_there();
                binding.standing.set(health);
                if binding.is_there() != was_there {
                    self.recount_covers(id);
                }
                self.refresh(id, now);
            }
            Subject::Route(_, destination) => {
                let provider = ProviderName::new(destination.as_str());
                let is_provider = self.table.providers.contains_key(&provider);
                let destination = self.destination(destination, is_provider.then_some(&provider));
                let route = self.route_mut(id, destination);
                route.standing.set(health);
                let divisor = route.standing.divisor(now.wall);
                if let Some(limiter) = &mut route.limiter {
                    limiter.change(limiter.rate(), divisor);
                }
                self.refresh_route(id, destination, now);
                self.prune(id, destination);
            }
        }
    }

    /// The health that selection goes by, for status and tests.
    pub fn health(&self, subject: &Subject) -> Option<&Health> {
        let id = *self.binding_ids.get(subject.binding())?;
        match subject {
            Subject::Binding(_) => Some(self.bindings[id.index()].standing.health()),
            Subject::Route(_, destination) => {
                let destination = *self.destination_ids.get(destination)?;
                Some(self.routes.get(id, destination)?.standing.health())
            }
        }
    }

    /// Grants that must be on disk before they are spent; each is handed out once. Answer with
    /// [`grant_durable`](Self::grant_durable) or [`grant_failed`](Self::grant_failed). Look after every `select` and
    /// `settle`.
    pub fn take_grant_requests(&mut self) -> Vec<GrantRequest> {
        self.ledger.take_requests()
    }

    /// A grant is on disk. A shared store that had less passes the request with what it gave. Returns whose it was, where
    /// it was waited for.
    pub fn grant_durable(&mut self, grant: &GrantRequest, now: Now) -> Option<Owner> {
        let account = self.ledger.granted(grant)?;
        self.refresh_owner(account, now);
        self.ledger.account(account).owner().cloned()
    }

    /// A grant could not be written. It is asked for again, a second later, by the first selection that needs it. Returns
    /// whose it was, where it was waited for.
    pub fn grant_failed(&mut self, request: &GrantRequest, now: Now) -> Option<Owner> {
        let account = self.ledger.failed(request, now.wall)?;
        self.refresh_owner(account, now);
        self.ledger.account(account).owner().cloned()
    }

    pub(super) fn refresh_owner(&mut self, account: AccountId, now: Now) {
        match self.ledger.account(account).owner() {
            Some(Owner::Binding(name)) => {
                if let Some(&id) = self.binding_ids.get(name) {
                    self.refresh(id, now);
                }
            }
            Some(Owner::Route(name, provider)) => {
                let destination = self.destination_ids.get(&DestinationName::new(provider.as_str()));
                if let (Some(&id), Some(&destination)) = (self.binding_ids.get(name), destination) {
                    self.refresh_route(id, destination, now);
                }
            }
            _ => {}
        }
    }

    /// Grants reduced to what is used and held. Written as the last act of a clean stop they give unspent allowance
    /// back; nothing may be selected afterwards.
    pub fn final_grants(&self) -> Vec<GrantRequest> {
        self.ledger.exact()
    }

    /// The count of every key: bindings, tenants, routes that were used towards a provider, and tenants' caps towards one.
    pub fn usage(&self, _now: Now) -> Vec<CapUsage> {
        let resets_at = self.ledger.day().end;
        let usage = |account: &super::cap::Account| {
            let is_capped = account.limit() != Ledger::UNLIMITED;
            if !is_capped && matches!(account.owner()?, Owner::TenantRoute(..)) {
                return None;
            }
            Some(CapUsage {
                owner: account.owner()?.clone(),
                limit: is_capped.then_some(account.limit()),
                used: account.used(),
                reserved: account.reserved(),
                granted: account.granted(),
                resets_at,
            })
        };
        self.ledger.accounts().filter_map(usage).collect()
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
