//! What the scheduler knows, and how it changes: configuration, health, grants, time.
//!
//! Names are numbered once and keep their number for the life of the scheduler, also over [`Scheduler::reconfigure`]:
//! leases that are out stay valid, counts and windows go on. Whatever changes about a binding ends in
//! [`Scheduler::refresh`], the one place that decides whether it is in play.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;
use smallvec::SmallVec;

use super::binding::{self, RouteLimits, WholeLimits};
use super::cap::{AccountId, Calendar, GrantFact, GrantRequest, Ledger, Owner, Room};
use super::concurrency::{self, Window};
use super::fair::Order;
use super::pool::{Class, Pool};
use super::rate::{Limiter, Told};
use super::standing::Standing;
use super::{BindingId, DestinationId, PoolId, TenantId, warmup};
use crate::clock::{Mono, Now, Wall};
use crate::config::{self, Config, Pace, Rate};
use crate::message::{BindingName, DestinationName, PoolName, ProviderName, TenantName};
use crate::reputation::{Health, Subject};

/// Chooses bindings. See the [module](super) for how.
pub struct Scheduler {
    pub(super) rng: StdRng,
    pub(super) told: Told,
    pub(super) bindings: Vec<Binding>,
    binding_ids: HashMap<BindingName, BindingId>,
    pub(super) pools: Vec<Pool>,
    pool_ids: HashMap<PoolName, PoolId>,
    pub(super) tenants: Vec<Tenant>,
    tenant_ids: HashMap<TenantName, TenantId>,
    pub(super) destinations: Vec<Destination>,
    destination_ids: HashMap<DestinationName, DestinationId>,
    unused_destinations: Vec<DestinationId>,
    pub(super) table: RouteTable,
    pub(super) routes: Routes,
    pub(super) ledger: Ledger,
    wall_timers: BinaryHeap<Reverse<(Wall, BindingId)>>,
    mono_timers: BinaryHeap<Reverse<(Mono, BindingId)>>,
    /// Grows with each configuration: places in tiers are valid within one.
    pub(super) epoch: u32,
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
    /// Places in tiers: pool, tier, seat.
    pub(super) seats: SmallVec<[(PoolId, u32, u32); 2]>,
    wall_timer: Option<Wall>,
    mono_timer: Option<Mono>,
}

pub(super) struct Tenant {
    pub(super) name: TenantName,
    pub(super) account: AccountId,
    pub(super) limiter: Option<Limiter>,
}

pub(super) struct Destination {
    pub(super) name: DestinationName,
    provider_name: Option<ProviderName>,
    /// Column in the [`RouteTable`]; 0 is "no provider".
    pub(super) column: u32,
    /// Routes here that are suspended or on probation.
    pub(super) routes_out: u32,
    /// Routes that are remembered.
    routes: u32,
}

/// A binding at a destination, remembered only while there is something to remember.
#[derive(Default)]
pub(super) struct Route {
    pub(super) window: Window,
    pub(super) limiter: Option<Limiter>,
    pub(super) account: Option<AccountId>,
    pub(super) standing: Standing,
}

/// Effective limits per binding × (no provider, each provider).
#[derive(Default)]
pub(super) struct RouteTable {
    columns: usize,
    limits: Vec<RouteLimits>,
    /// Per column: some binding has a cap there.
    is_capped: Vec<bool>,
    providers: HashMap<ProviderName, u32>,
}

impl RouteTable {
    pub(super) fn limits(&self, binding: BindingId, column: u32) -> &RouteLimits {
        &self.limits[binding.index() * self.columns + column as usize]
    }

    pub(super) fn is_capped(&self, column: u32) -> bool {
        self.is_capped[column as usize]
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

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

/// Routes by binding and destination.
#[derive(Default)]
pub(super) struct Routes(HashMap<u64, Route, BuildHasherDefault<PairHasher>>);

fn pair(binding: BindingId, destination: DestinationId) -> u64 {
    u64::from(binding.0) << 32 | u64::from(destination.0)
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
            wall_timers: BinaryHeap::new(),
            mono_timers: BinaryHeap::new(),
            epoch: 0,
            wants: Vec::new(),
        };
        scheduler.reconfigure(config, now);
        scheduler
    }

    /// Takes over another configuration. Numbers of names stay; counts, leases, windows and health go on; only the
    /// orders inside tiers begin anew (which costs nobody more than one message).
    pub fn reconfigure(&mut self, config: &Config, now: Now) {
        self.epoch = self.epoch.wrapping_add(1);
        self.told.tell(now.mono);
        self.ledger.set_calendar(Calendar::new(&config.server.day), now.wall);
        self.take_over_bindings(config);
        self.take_over_tenants(config);
        self.take_over_routes(config);
        self.take_over_pools(config);
        self.set_limits_of_day();
        self.ledger.ask_for_first();
        self.refresh_all(now);
    }

    fn take_over_bindings(&mut self, config: &Config) {
        for binding in &mut self.bindings {
            binding.exists = false;
        }
        let pool_limits = binding::pool_limits(config);
        let none = config::Limits::default();
        for wanted in &config.bindings {
            let limits = binding::whole(wanted, pool_limits.get(&wanted.name).unwrap_or(&none));
            // Of the ledger: unlimited until `set_limits_of_day`.
            let account = self.ledger.open(Owner::Binding(wanted.name.clone()), Ledger::UNLIMITED);
            let id = match self.binding_ids.get(&wanted.name) {
                Some(&id) => id,
                None => {
                    let id = BindingId(self.bindings.len() as u32);
                    self.binding_ids.insert(wanted.name.clone(), id);
                    self.bindings.push(Binding {
                        config: wanted.clone(),
                        exists: true,
                        limits,
                        window: Window::default(),
                        limiter: None,
                        account,
                        is_warming: false,
                        standing: Standing::default(),
                        seats: SmallVec::new(),
                        wall_timer: None,
                        mono_timer: None,
                    });
                    id
                }
            };
            let binding = &mut self.bindings[id.index()];
            (binding.config, binding.exists, binding.limits) = (wanted.clone(), true, limits);
            set_rate(&mut binding.limiter, limits.rate, &self.told);
        }
    }

    fn take_over_tenants(&mut self, config: &Config) {
        for wanted in &config.tenants {
            let limit = wanted.daily_cap.unwrap_or(Ledger::UNLIMITED);
            let account = self.ledger.open(Owner::Tenant(wanted.name.clone()), limit);
            let id = match self.tenant_ids.get(&wanted.name) {
                Some(&id) => id,
                None => {
                    let id = TenantId(self.tenants.len() as u32);
                    self.tenant_ids.insert(wanted.name.clone(), id);
                    self.tenants.push(Tenant { name: wanted.name.clone(), account, limiter: None });
                    id
                }
            };
            set_rate(&mut self.tenants[id.index()].limiter, wanted.rate_limit, &self.told);
        }
    }

    fn take_over_routes(&mut self, config: &Config) {
        let columns = config.providers.len() + 1;
        let none = config::Limits::default();
        let pool_limits = binding::pool_limits(config);
        let mut table = RouteTable { columns, is_capped: vec![false; columns], ..RouteTable::default() };
        for (index, provider) in config.providers.iter().enumerate() {
            table.providers.insert(provider.name.clone(), index as u32 + 1);
        }
        for binding in &self.bindings {
            let pool = pool_limits.get(&binding.config.name).unwrap_or(&none);
            let providers = std::iter::once(None).chain(config.providers.iter().map(Some));
            for (column, provider) in providers.enumerate() {
                let limits = binding::route(config, &binding.config, pool, provider);
                table.is_capped[column] |= limits.cap.is_some();
                table.limits.push(limits);
            }
        }
        self.table = table;
        for destination in &mut self.destinations {
            let column = destination.provider_name.as_ref().and_then(|name| self.table.providers.get(name));
            destination.column = column.copied().unwrap_or(0);
        }
        for provider in &config.providers {
            self.destination(&DestinationName::new(provider.name.as_str()), Some(&provider.name));
        }
        // Limiters and caps of routes must be there before the first pick, and follow changes afterwards.
        for binding in (0..self.bindings.len() as u32).map(BindingId) {
            for destination in (0..self.destinations.len() as u32).map(DestinationId) {
                let column = self.destinations[destination.index()].column;
                let limits = self.table.limits(binding, column);
                if limits.rate.is_some() || limits.cap.is_some() || self.routes.get(binding, destination).is_some() {
                    self.route_mut(binding, destination);
                }
            }
        }
    }

    fn take_over_pools(&mut self, config: &Config) {
        for binding in &mut self.bindings {
            binding.seats.clear();
        }
        for pool in &mut self.pools {
            pool.tiers.clear();
        }
        for wanted in &config.pools {
            let (bindings, ids) = (&self.bindings, &self.binding_ids);
            let seat = |name: &BindingName| {
                let id = *ids.get(name)?;
                Some((id, bindings[id.index()].config.bind_address.is_ipv6()))
            };
            let pool = Pool::new(wanted, seat, &mut self.rng);
            let id = match self.pool_ids.get(&wanted.name) {
                Some(&id) => {
                    self.pools[id.index()] = pool;
                    id
                }
                None => {
                    let id = PoolId(self.pools.len() as u32);
                    self.pool_ids.insert(wanted.name.clone(), id);
                    self.pools.push(pool);
                    id
                }
            };
            for (tier, seats) in self.pools[id.index()].tiers.iter().enumerate() {
                for (place, seat) in seats.seats.iter().enumerate() {
                    self.bindings[seat.binding.index()].seats.push((id, tier as u32, place as u32));
                }
            }
        }
    }

    /// Sets the limits of bindings for the present day: the smaller of cap and stage of the warm-up.
    fn set_limits_of_day(&mut self) {
        let today = self.ledger.day().date;
        for binding in &mut self.bindings {
            let cap = binding.limits.cap.unwrap_or(Ledger::UNLIMITED);
            let stage = binding.config.warmup.as_ref().and_then(|warmup| warmup::allowance(warmup, today));
            let allowance = stage.unwrap_or(Ledger::UNLIMITED);
            binding.is_warming = allowance < cap;
            self.ledger.set_limit(binding.account, cap.min(allowance));
        }
    }

    /// The number of a binding of the configuration.
    pub fn binding_id(&self, name: &BindingName) -> Option<BindingId> {
        self.binding_ids.get(name).copied().filter(|id| self.bindings[id.index()].exists)
    }

    /// The name of a binding.
    pub fn binding_name(&self, id: BindingId) -> &BindingName {
        &self.bindings[id.index()].config.name
    }

    /// The configuration of a binding: the latest that had it.
    pub fn binding(&self, id: BindingId) -> &Arc<config::Binding> {
        &self.bindings[id.index()].config
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
        if let Some(&id) = self.destination_ids.get(name) {
            return id;
        }
        let column = provider.and_then(|provider| self.table.providers.get(provider)).copied().unwrap_or(0);
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
        self.unused_destinations.push(id);
        true
    }

    /// Messages after which a connection of this route is closed.
    pub fn messages_per_connection(&self, binding: BindingId, destination: DestinationId) -> u32 {
        self.table.limits(binding, self.destinations[destination.index()].column).messages_per_connection
    }

    /// Takes over a health that was concluded. Unknown names are ignored; `now` should be the moment of the conclusion.
    pub fn set_health(&mut self, subject: &Subject, health: &Health, now: Now) {
        self.tick(now);
        let Some(&id) = self.binding_ids.get(subject.binding()) else { return };
        match subject {
            Subject::Binding(_) => {
                self.bindings[id.index()].standing.set(health);
                self.refresh(id, now);
            }
            Subject::Route(_, destination) => {
                let provider = ProviderName::new(destination.as_str());
                let is_provider = self.table.providers.contains_key(&provider);
                let destination = self.destination(destination, is_provider.then_some(&provider));
                let route = self.route_mut(id, destination);
                let was_out = route.standing.is_out();
                route.standing.set(health);
                let is_out = route.standing.is_out();
                let divisor = route.standing.divisor(now.wall);
                if let Some(limiter) = &mut route.limiter {
                    limiter.change(limiter.rate(), divisor);
                }
                let out = &mut self.destinations[destination.index()].routes_out;
                *out = out.saturating_add_signed(i32::from(is_out) - i32::from(was_out));
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

    /// A grant is on disk. A shared store that had less passes the request with what it gave.
    pub fn grant_durable(&mut self, grant: &GrantRequest, now: Now) {
        if let Some(account) = self.ledger.granted(grant) {
            self.refresh_owner(account, now);
        }
    }

    /// A grant could not be written. It is asked for again, a second later, by the first selection that needs it.
    pub fn grant_failed(&mut self, request: &GrantRequest, now: Now) {
        if let Some(account) = self.ledger.failed(request, now.wall) {
            self.refresh_owner(account, now);
        }
    }

    pub(super) fn refresh_owner(&mut self, account: AccountId, now: Now) {
        if let Some(Owner::Binding(name)) = self.ledger.account(account).owner()
            && let Some(&id) = self.binding_ids.get(name)
        {
            self.refresh(id, now);
        }
    }

    /// Grants reduced to what is used and held. Written as the last act of a clean stop they give unspent allowance
    /// back; nothing may be selected afterwards.
    pub fn final_grants(&self) -> Vec<GrantRequest> {
        self.ledger.exact()
    }

    /// The count of every key: bindings, tenants, and routes that were used towards a provider.
    pub fn usage(&self, _now: Now) -> Vec<CapUsage> {
        let resets_at = self.ledger.day().end;
        let usage = |account: &super::cap::Account| {
            Some(CapUsage {
                owner: account.owner()?.clone(),
                limit: (account.limit() != Ledger::UNLIMITED).then_some(account.limit()),
                used: account.used(),
                reserved: account.reserved(),
                granted: account.granted(),
                resets_at,
            })
        };
        self.ledger.accounts().filter_map(usage).collect()
    }

    /// The connection window of every binding of the configuration.
    pub fn in_use(&self, now: Now) -> Vec<BindingUse> {
        let in_use = |binding: &Binding| BindingUse {
            binding: binding.config.name.clone(),
            in_use: binding.window.in_use(),
            limit: binding.limits.window.map(|n| concurrency::effective(n, binding.standing.divisor(now.wall))),
        };
        self.bindings.iter().filter(|binding| binding.exists).map(in_use).collect()
    }

    /// The next moment at which something changes by itself: a binding comes back, or a day starts.
    pub fn next_wakeup(&self, now: Now) -> Option<Wall> {
        let wall = self.wall_timers.peek().map(|Reverse((at, _))| *at);
        let mono = self.mono_timers.peek().map(|Reverse((at, _))| on_wall(*at, now));
        [wall, mono, Some(self.ledger.day().end)].into_iter().flatten().min()
    }

    /// Moves on to `now`: starts a new day, brings bindings back whose time has come. Every selection does this first;
    /// call it before [`explain`](Self::explain) and [`usage`](Self::usage) where nothing was selected for a while.
    pub fn tick(&mut self, now: Now) {
        self.told.tell(now.mono);
        if self.ledger.roll(now.wall) {
            self.set_limits_of_day();
            self.ledger.ask_for_first();
            self.refresh_all(now);
        }
        while let Some(&Reverse((at, id))) = self.wall_timers.peek()
            && at <= now.wall
        {
            self.wall_timers.pop();
            if self.bindings[id.index()].wall_timer == Some(at) {
                self.bindings[id.index()].wall_timer = None;
                self.refresh(id, now);
            }
        }
        while let Some(&Reverse((at, id))) = self.mono_timers.peek()
            && at <= now.mono
        {
            self.mono_timers.pop();
            if self.bindings[id.index()].mono_timer == Some(at) {
                self.bindings[id.index()].mono_timer = None;
                self.refresh(id, now);
            }
        }
    }

    fn refresh_all(&mut self, now: Now) {
        for id in (0..self.bindings.len() as u32).map(BindingId) {
            self.refresh(id, now);
        }
    }

    /// Works out anew whether a binding is in play in each of its tiers, and when that may change by itself.
    pub(super) fn refresh(&mut self, id: BindingId, now: Now) {
        let binding = &mut self.bindings[id.index()];
        let divisor = binding.standing.divisor(now.wall);
        if let (Some(limiter), Some(rate)) = (&mut binding.limiter, binding.limits.rate) {
            limiter.change(rate, divisor);
        }
        let (class, mut back) = binding.class(&self.ledger, divisor, now);
        let mut open_at = None;
        if class == Class::Rate {
            open_at = binding.limiter.as_ref().map(Limiter::ready);
        }
        if divisor > 1 {
            back = earliest(back, binding.standing.throttled_until());
        }
        let account = binding.account;
        for &(pool, tier, seat) in &binding.seats {
            let pool = &mut self.pools[pool.index()];
            let mut class_here = class;
            if class.is_in_play()
                && pool.pace == Pace::Even
                && let Err(until) = self.ledger.paced(account, now.wall)
            {
                (class_here, back) = (Class::Pace, earliest(back, Some(until)));
            }
            let (tier, seat) = (tier as usize, seat as usize);
            pool.set_class(tier, seat, class_here);
            if let Order::Headroom(_) = pool.tiers[tier].order {
                pool.tiers[tier].order.set_share(seat, self.ledger.account(account).share());
            }
        }
        if let Some(at) = back
            && at > now.wall
            && binding.wall_timer.is_none_or(|known| at < known)
        {
            binding.wall_timer = Some(at);
            self.wall_timers.push(Reverse((at, id)));
        }
        if let Some(at) = open_at
            && binding.mono_timer.is_none_or(|known| at < known)
        {
            binding.mono_timer = Some(at);
            self.mono_timers.push(Reverse((at, id)));
        }
    }

    /// The route's memory, made where there was none. Provider routes are counted in the ledger also without a cap, so
    /// that a cap set during the day knows of the hours before.
    pub(super) fn route_mut(&mut self, binding: BindingId, destination: DestinationId) -> &mut Route {
        let place = &mut self.destinations[destination.index()];
        let limits = *self.table.limits(binding, place.column);
        let owner = || {
            let provider = place.provider_name.clone().filter(|_| place.column > 0)?;
            Some(Owner::Route(self.bindings[binding.index()].config.name.clone(), provider))
        };
        let route = match self.routes.0.entry(pair(binding, destination)) {
            std::collections::hash_map::Entry::Occupied(known) => {
                let route = known.into_mut();
                if route.account.is_some() || place.column == 0 {
                    if let Some(account) = route.account {
                        self.ledger.set_limit(account, limits.cap.unwrap_or(Ledger::UNLIMITED));
                    }
                } else {
                    route.account =
                        owner().map(|owner| self.ledger.open(owner, limits.cap.unwrap_or(Ledger::UNLIMITED)));
                }
                route
            }
            std::collections::hash_map::Entry::Vacant(free) => {
                let account = owner().map(|owner| self.ledger.open(owner, limits.cap.unwrap_or(Ledger::UNLIMITED)));
                place.routes += 1;
                free.insert(Route { account, ..Route::default() })
            }
        };
        set_rate(&mut route.limiter, limits.rate, &self.told);
        route
    }

    /// Forgets a route about which there is nothing to remember.
    pub(super) fn prune(&mut self, binding: BindingId, destination: DestinationId) {
        let key = pair(binding, destination);
        let is_idle = |route: &Route| {
            route.window.in_use() == 0
                && route.account.is_none()
                && route.limiter.is_none()
                && route.standing.is_active()
        };
        if self.routes.0.get(&key).is_some_and(is_idle) {
            self.routes.0.remove(&key);
            self.destinations[destination.index()].routes -= 1;
        }
    }
}

impl Binding {
    /// What keeps it out everywhere, in the order of checks, and the moment at which to look again where there is one.
    fn class(&self, ledger: &Ledger, divisor: u32, now: Now) -> (Class, Option<Wall>) {
        if !self.exists || self.config.suspend_delivery || self.standing.room() == 0 {
            return (Class::Suspended, None);
        }
        match ledger.room(self.account, now.wall) {
            Room::Exhausted => return (Class::Capped, None),
            Room::Pending => return (Class::Grant, ledger.retry_at(self.account)),
            // To be asked for by the first request that meets it: what nobody needs is not taken from the day.
            Room::Askable | Room::Free(_) => {}
        }
        if !self.window.has_room(self.limits.window, divisor) {
            return (Class::Window, None);
        }
        if self.limiter.as_ref().is_some_and(|limiter| !limiter.is_open(now.mono)) {
            return (Class::Rate, None);
        }
        (if self.standing.is_out() { Class::Probation } else { Class::Free }, None)
    }
}

/// Gives a limiter the rate of the configuration, keeping the one that has it already.
fn set_rate(limiter: &mut Option<Limiter>, rate: Option<Rate>, told: &Told) {
    match (limiter.as_mut(), rate) {
        (Some(known), Some(rate)) if known.rate() == rate => {}
        (Some(known), Some(rate)) => known.change(rate, 1),
        (None, Some(rate)) => *limiter = Some(Limiter::new(rate, told)),
        (_, None) => *limiter = None,
    }
}

fn earliest(a: Option<Wall>, b: Option<Wall>) -> Option<Wall> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// A moment of the monotonic clock as wall time, rounded up to the next millisecond.
pub(super) fn on_wall(at: Mono, now: Now) -> Wall {
    let span = at.since(now.mono).as_nanos().div_ceil(1_000_000);
    now.wall.plus(std::time::Duration::from_millis(u64::try_from(span).unwrap_or(u64::MAX)))
}
