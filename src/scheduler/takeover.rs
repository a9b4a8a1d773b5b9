//! Taking over a configuration: names get numbers, limits are worked out, seats are taken.
//!
//! Nothing that was counted is lost: bindings, tenants and routes of the new configuration keep the accounts, windows and
//! health they had, also where their limits have changed.

use smallvec::SmallVec;

use super::binding;
use super::cap::{Calendar, Ledger, Owner};
use super::pool::{Class, Pool};
use super::prediction::FULL;
use super::rate::{Limiter, Told};
use super::standing::Standing;
use super::state::{Binding, RouteTable, Scheduler, Tenant, unpair};
use super::window::Window;
use super::{BindingId, DestinationId, Families, PoolId, TenantId, range};
use crate::clock::Now;
use crate::config::{self, Config, Rate, Spread};
use crate::message::{BindingName, DestinationName};

impl Scheduler {
    /// Takes over another configuration. Numbers of names stay; counts, leases, windows and health go on; only the
    /// orders inside tiers begin anew (which costs nobody more than one message).
    pub fn reconfigure(&mut self, config: &Config, now: Now) {
        self.epoch = self.epoch.wrapping_add(1);
        self.told.tell(now.mono);
        self.window = config.window;
        self.ledger.set_calendar(Calendar::new(&config.server.day), now.wall);
        self.ledger.disown();
        self.take_over_bindings(config);
        self.take_over_ranges();
        self.take_over_tenants(config);
        self.take_over_regions(config);
        self.take_over_table(config);
        self.take_over_warmups(config);
        self.take_over_routes();
        self.take_over_pools(config, now);
        self.take_over_covers();
        self.set_limits_of_day();
        self.ledger.ask_for_first();
        self.refresh_all(now);
        self.refresh_routes(now);
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
                        shut: Vec::new(),
                        seats: SmallVec::new(),
                        range: None,
                        wall_timers: SmallVec::new(),
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

    /// In the order of addresses those of one range stand together.
    fn take_over_ranges(&mut self) {
        self.ranges.clear();
        // One of two families has the range of the address that most of its mail leaves from.
        let address = |binding: &Binding| binding.config.preferred_public().to_canonical();
        let mut ids: Vec<BindingId> = (0..self.bindings.len() as u32).map(BindingId).collect();
        ids.retain(|id| self.bindings[id.index()].exists);
        ids.sort_by_key(|id| address(&self.bindings[id.index()]));
        self.bindings.iter_mut().for_each(|binding| binding.range = None);
        let is_same = |a: &BindingId, b: &BindingId| {
            range::same(address(&self.bindings[a.index()]), address(&self.bindings[b.index()]))
        };
        let ranges: Vec<Vec<BindingId>> =
            ids.chunk_by(is_same).filter(|range| range.len() > 1).map(<[BindingId]>::to_vec).collect();
        for (number, range) in (0..).zip(&ranges) {
            range.iter().for_each(|id| self.bindings[id.index()].range = Some(number));
        }
        self.ranges = ranges;
    }

    fn take_over_tenants(&mut self, config: &Config) {
        // Columns are numbered anew.
        self.tenants.iter_mut().for_each(|tenant| tenant.towards.clear());
        for wanted in &config.tenants {
            let limit = wanted.daily_cap.unwrap_or(Ledger::UNLIMITED);
            let account = self.ledger.open(Owner::Tenant(wanted.name.clone()), limit);
            let id = match self.tenant_ids.get(&wanted.name) {
                Some(&id) => id,
                None => {
                    let id = TenantId(self.tenants.len() as u32);
                    self.tenant_ids.insert(wanted.name.clone(), id);
                    self.tenants.push(Tenant {
                        name: wanted.name.clone(),
                        account,
                        towards: Vec::new(),
                        limiter: None,
                    });
                    id
                }
            };
            let towards = config.providers.iter().map(|provider| {
                // Counted also without a cap: one that is set at noon then knows the morning.
                let limit = wanted.provider_caps.get(&provider.name).copied().unwrap_or(Ledger::UNLIMITED);
                Some(self.ledger.open(Owner::TenantRoute(wanted.name.clone(), provider.name.clone()), limit))
            });
            let towards = std::iter::once(None).chain(towards).collect();
            let tenant = &mut self.tenants[id.index()];
            tenant.towards = towards;
            set_rate(&mut tenant.limiter, wanted.rate_limit, &self.told);
        }
    }

    /// By binding: who is compared with whom by reputation, being of one tier or in a row of tiers that overlap.
    fn circles(&self, config: &Config) -> Vec<Option<u32>> {
        let mut circles: Vec<Option<u32>> = vec![None; self.bindings.len()];
        let mut members: Vec<Vec<usize>> = Vec::new();
        let pools = config.pools.iter().filter(|pool| pool.spread == Spread::Reputation);
        for tier in pools.flat_map(|pool| &pool.tiers) {
            let known = tier.iter().filter_map(|member| Some(self.binding_ids.get(&member.binding)?.index()));
            let mut joined: Vec<usize> = known.collect();
            let mut met: Vec<u32> = joined.iter().filter_map(|&binding| circles[binding]).collect();
            met.sort_unstable();
            met.dedup();
            joined.retain(|&binding| circles[binding].is_none());
            // Into the largest, so that nobody is moved often.
            let into = met.iter().copied().max_by_key(|&circle| members[circle as usize].len());
            let into = into.unwrap_or_else(|| {
                members.push(Vec::new());
                members.len() as u32 - 1
            });
            for circle in met.into_iter().filter(|&circle| circle != into) {
                joined.append(&mut members[circle as usize]);
            }
            joined.iter().for_each(|&binding| circles[binding] = Some(into));
            members[into as usize].append(&mut joined);
        }
        circles
    }

    fn take_over_table(&mut self, config: &Config) {
        let columns = config.providers.len() + 1;
        let none = config::Limits::default();
        let pool_limits = binding::pool_limits(config);
        let mut table = RouteTable { columns, ..RouteTable::default() };
        for (index, provider) in config.providers.iter().enumerate() {
            table.providers.insert(provider.name.clone(), index as u32 + 1);
        }
        for binding in &self.bindings {
            let pool = pool_limits.get(&binding.config.name).unwrap_or(&none);
            let providers = std::iter::once(None).chain(config.providers.iter().map(Some));
            for provider in providers {
                table.limits.push(binding::route(config, &binding.config, pool, provider));
            }
        }
        let before: Vec<Option<u32>> = std::iter::once(Some(0))
            .chain(config.providers.iter().map(|provider| self.table.providers.get(&provider.name).copied()))
            .collect();
        let circles = self.circles(config);
        let is_measured = circles.iter().any(Option::is_some);
        let gone = self.predictions.reshape(config.prediction, circles, if is_measured { &before } else { &[] });
        let providers = std::mem::replace(&mut self.table, table).providers;
        self.remove_predictions(gone, &providers);
        for destination in &mut self.destinations {
            let column = destination.provider_name.as_ref().and_then(|name| self.table.providers.get(name));
            destination.column = column.copied().unwrap_or(0);
        }
        for provider in &config.providers {
            self.destination(&DestinationName::new(provider.name.as_str()), Some(&provider.name));
        }
    }

    /// Limiters and caps of routes must be there before the first pick, and follow changes afterwards. After the ladders:
    /// what a route may carry today depends on them.
    fn take_over_routes(&mut self) {
        let known: Vec<u64> = self.routes.0.keys().copied().collect();
        for (binding, destination) in known.into_iter().map(unpair) {
            self.route_mut(binding, destination);
        }
        let is_provider = |id: &DestinationId| self.destinations[id.index()].column > 0;
        let providers: Vec<_> = (0..self.destinations.len() as u32).map(DestinationId).filter(is_provider).collect();
        for binding in (0..self.bindings.len() as u32).map(BindingId) {
            for &destination in &providers {
                let limits = self.table.limits(binding, self.destinations[destination.index()].column);
                if limits.rate.is_some() || limits.cap.is_some() {
                    self.route_mut(binding, destination);
                }
            }
        }
    }

    fn take_over_pools(&mut self, config: &Config, now: Now) {
        for binding in &mut self.bindings {
            binding.seats.clear();
            binding.shut.clear();
        }
        for pool in &mut self.pools {
            pool.tiers.clear();
        }
        for wanted in &config.pools {
            let (bindings, ids, regions) = (&self.bindings, &self.binding_ids, &self.regions);
            let known = |name: &BindingName| {
                let id = *ids.get(name)?;
                let binding = &bindings[id.index()].config;
                let region = binding.region.as_deref().and_then(|region| regions.known(region));
                Some((id, Families::of(binding), region))
            };
            let pool = Pool::new(wanted, known, &mut self.rng);
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
        self.count_routes_anew();
        self.bend_weights(now);
    }

    /// The seats are new: none of them knows yet at which destinations it is not to be counted on.
    fn count_routes_anew(&mut self) {
        self.routes.0.values_mut().for_each(|route| route.class = Class::Free);
        self.destinations.iter_mut().for_each(|destination| destination.routes_out = 0);
    }

    /// The seats are new, or opinions of an earlier run came back: weights are bent as they were.
    pub(super) fn bend_weights(&mut self, now: Now) {
        for id in (0..self.bindings.len() as u32).map(BindingId) {
            for column in 0..self.table.columns as u32 {
                let kept = self.predictions.kept(id, column);
                if kept == FULL {
                    continue;
                }
                for &(pool, tier, seat) in &self.bindings[id.index()].seats {
                    self.pools[pool.index()].tiers[tier as usize].bend(seat as usize, column, kept, now.mono);
                }
            }
        }
        self.pools.iter_mut().flat_map(|pool| &mut pool.tiers).for_each(|tier| tier.settle(now.mono));
    }

    fn take_over_regions(&mut self, config: &Config) {
        let region = |tenant: &Tenant| {
            let wanted = config.tenants.iter().find(|wanted| wanted.name == tenant.name)?;
            wanted.region.clone()
        };
        self.regions.take_over(config, self.tenants.iter().map(region).collect());
        for region in config.bindings.iter().filter_map(|binding| binding.region.as_deref()) {
            self.regions.id(region);
        }
    }
}

/// Gives a limiter the rate of the configuration, keeping the one that has it already.
pub(super) fn set_rate(limiter: &mut Option<Limiter>, rate: Option<Rate>, told: &Told) {
    match (limiter.as_mut(), rate) {
        (Some(known), Some(rate)) if known.rate() == rate => {}
        (Some(known), Some(rate)) => known.change(rate, 1),
        (None, Some(rate)) => *limiter = Some(Limiter::new(rate, told)),
        (_, None) => *limiter = None,
    }
}
