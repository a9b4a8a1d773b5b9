//! Where warm-up meets the rest of the scheduler: configuration, days, evidence, health, status.

use std::collections::HashSet;

use super::facts::{self, PREFIX};
use super::stage::Blame;
use super::{OnLadder, StageChange, Wanted};
use crate::clock::Now;
use crate::config::{self, Config, Warmup};
use crate::message::{BindingName, PoolName, ProviderName};
use crate::reputation::{BadFact, Fact, Health, Reason, Subject};
use crate::scheduler::cap::Ledger;
use crate::scheduler::state::Scheduler;
use crate::scheduler::{BindingId, DestinationId, Experience};

impl Scheduler {
    /// Takes back what earlier runs wrote under [`facts::PREFIX`]. To be called before anything is selected; returns what
    /// could not be read, of which the ladders begin as if they were new. Other facts are left alone.
    pub fn restore_warmups<'a>(
        &mut self,
        config: &Config,
        facts: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        now: Now,
    ) -> Vec<BadFact> {
        self.tick(now);
        // What this configuration began by itself is no news if a fact knows better.
        self.warmups = super::Warmups::default();
        let mut bad = Vec::new();
        for (key, bytes) in facts.into_iter().filter(|(key, _)| key.starts_with(PREFIX)) {
            match facts::read(key, bytes) {
                Ok(record) => {
                    let name = (record.binding.clone(), record.provider.clone());
                    self.warmups.known.insert(name, record);
                }
                Err(error) => bad.push(error),
            }
        }
        self.take_over_warmups(config);
        self.set_limits_of_day();
        self.ledger.ask_for_first();
        self.refresh_all(now);
        self.refresh_routes(now);
        bad
    }

    /// Takes over the ladders of a configuration. After bindings and routes: it asks for their caps.
    pub(in crate::scheduler) fn take_over_warmups(&mut self, config: &Config) {
        self.warmups.start_day(self.ledger.day());
        self.warmups.put_away(&config.warmup);
        let engaged = fed_by_engaged(config);
        for wanted in &config.bindings {
            let Some(&id) = self.binding_ids.get(&wanted.name) else { continue };
            if let Some(warmup) = &wanted.warmup {
                let (cap, keeps) = (self.bindings[id.index()].limits.cap, engaged.contains(&wanted.name));
                self.warmups.take_up(id, &wanted.name, None, &Wanted { warmup, cap, keeps });
            }
            for (column, provider) in (1u32..).zip(&config.providers) {
                let Some(warmup) = towards(wanted, provider) else { continue };
                let cap = self.table.limits(id, column).cap;
                let want = Wanted { warmup: &warmup, cap, keeps: false };
                self.warmups.take_up(id, &wanted.name, Some((&provider.name, column)), &want);
            }
        }
    }

    /// Sets the limits for the present day, of bindings and of routes that have a ladder: the smaller of cap and stage.
    pub(in crate::scheduler) fn set_limits_of_day(&mut self) {
        self.warmups.start_day(self.ledger.day());
        for (index, binding) in self.bindings.iter_mut().enumerate() {
            let allowance = self.warmups.allowance(BindingId(index as u32), 0);
            let cap = binding.limits.cap.unwrap_or(Ledger::UNLIMITED);
            binding.is_warming = allowance.is_some_and(|allowance| allowance < cap);
            self.ledger.set_limit(binding.account, allowance.unwrap_or(Ledger::UNLIMITED).min(cap));
        }
        for (id, destination) in self.routes_on_ladders() {
            self.route_mut(id, destination);
        }
    }

    fn routes_on_ladders(&self) -> Vec<(BindingId, DestinationId)> {
        let mut all = Vec::new();
        for (index, climber) in self.warmups.climbers.iter().enumerate() {
            let climbs = climber.iter().flat_map(|climber| &climber.climbs);
            for provider in climbs.filter_map(|climb| climb.provider.as_ref()) {
                let destination = self.destination_id(&provider.as_str().into());
                all.extend(destination.map(|destination| (BindingId(index as u32), destination)));
            }
        }
        all
    }

    /// The day's limit of a route: the smaller of `cap` and its ladder's stage.
    pub(in crate::scheduler) fn route_limit(&self, binding: BindingId, column: u32, cap: Option<u64>) -> u64 {
        let allowance = if column > 0 { self.warmups.allowance(binding, column) } else { None };
        allowance.into_iter().chain(cap).min().unwrap_or(Ledger::UNLIMITED)
    }

    /// What an attempt taught about how much the address may send.
    pub(in crate::scheduler) fn warm_up(&mut self, id: BindingId, to: DestinationId, seen: &Experience, now: Now) {
        let column = self.destinations[to.index()].column;
        self.warmups.learn(id, column, seen, now.wall);
    }

    /// What a health says about it. `is_new`: a suspension begins, as far as the scheduler knows; the ladder that it is
    /// about knows better, also over a restart.
    pub(in crate::scheduler) fn warm_up_health(
        &mut self,
        id: BindingId,
        subject: &Subject,
        health: &Health,
        is_new: bool,
    ) {
        let blame = match health {
            Health::Suspended { reason, .. } => Some(blame(*reason)),
            _ => None,
        };
        let column = match subject {
            Subject::Binding(_) => 0,
            Subject::Route(_, destination) => {
                // Other sites are too small to stop a warm-up; what they blame is counted like any answer.
                let provider = ProviderName::new(destination.as_str());
                let Some(&column) = self.table.providers.get(&provider) else { return };
                column
            }
        };
        let warmups = &mut self.warmups;
        let Some(Some(climber)) = warmups.climbers.get_mut(id.index()) else { return };
        let own = climber.climbs.iter().position(|climb| climb.column == column);
        let told = own.map(|at| climber.climbs[at].progress.suspended(blame));
        let bars = blame == Some(Blame::Address) && told.unwrap_or(is_new);
        for at in 0..climber.climbs.len() {
            let climb = &mut climber.climbs[at];
            let is_news = if own == Some(at) {
                told == Some(true)
            } else {
                let concerns = column == 0 || climb.column == 0;
                bars && concerns && climb.progress.bar()
            };
            if is_news {
                super::write(climber, at, false, &mut warmups.facts);
            }
        }
    }

    /// Puts a warm-up on a stage (from 0, as in the configuration; at most the last there is below the daily cap) by the
    /// operator's word: that of the binding as a whole, or the one towards a provider.
    ///
    /// # Errors
    /// In words: no such binding or provider, or no warm-up there.
    pub fn set_stage(
        &mut self,
        binding: &BindingName,
        provider: Option<&ProviderName>,
        stage: usize,
        now: Now,
    ) -> Result<StageChange, String> {
        let id = self.binding_id(binding).ok_or_else(|| format!("no binding {binding} is configured"))?;
        let column = match provider {
            None => 0,
            Some(name) => {
                let known = self.table.providers.get(name).copied();
                known.ok_or_else(|| format!("no provider {name} is configured"))?
            }
        };
        let whose = provider.map_or_else(String::new, |name| format!(" towards {name}"));
        let change = self.warmups.set_stage(id, column, stage).ok_or_else(|| {
            format!("{binding} has no warm-up{whose}, or a daily cap below its first stage: there is no stage to set")
        })?;
        self.set_limits_of_day();
        self.ledger.ask_for_first();
        self.refresh_all(now);
        self.refresh_routes(now);
        Ok(change)
    }

    /// Moves of stages since the last call.
    pub fn take_stage_changes(&mut self) -> Vec<StageChange> {
        std::mem::take(&mut self.warmups.changes)
    }

    /// What of the ladders must be on disk, since the last call.
    pub fn take_warmup_facts(&mut self) -> Vec<Fact> {
        std::mem::take(&mut self.warmups.facts)
    }

    /// [`take_warmup_facts`](Self::take_warmup_facts) for a clean stop: with what would be written later, exactly.
    pub fn final_warmup_facts(&mut self) -> Vec<Fact> {
        self.warmups.write_all(true);
        self.take_warmup_facts()
    }

    /// Every ladder that holds a binding or a route back today, in the order of bindings.
    pub fn on_ladders(&self) -> impl Iterator<Item = OnLadder> {
        self.warmups.on_ladders()
    }
}

impl super::Warmups {
    /// Puts a ladder on a stage by the operator's word; `None` where there is none, or its daily cap leaves none to stand
    /// on.
    fn set_stage(&mut self, binding: BindingId, column: u32, stage: usize) -> Option<StageChange> {
        let day = self.day?;
        let climber = self.climbers.get_mut(binding.index())?.as_mut()?;
        let at = climber.climbs.iter().position(|climb| climb.column == column)?;
        let climb = &mut climber.climbs[at];
        if climb.ladder.end(climb.cap) == 0 {
            return None;
        }
        let moved = climb.progress.set(stage, &climb.ladder, climb.cap, day.date);
        let change = super::told(climber, at, &moved, day);
        super::write(climber, at, false, &mut self.facts);
        self.changes.push(change.clone());
        Some(change)
    }
}

/// The warm-up of a binding towards a provider: its own, or where it is in warm-up as a whole, the provider's ladder from
/// the binding's position.
fn towards(binding: &config::Binding, provider: &config::Provider) -> Option<Warmup> {
    let own = binding.provider_warmup.get(&provider.name).cloned();
    own.or_else(|| {
        let ladder = provider.warmup.clone()?;
        Some(Warmup { ladder, position: binding.warmup.as_ref()?.position })
    })
}

/// Bindings in pools that a tenant's engaged stream goes to.
fn fed_by_engaged(config: &Config) -> HashSet<BindingName> {
    let mut pools: HashSet<&PoolName> = HashSet::new();
    for tenant in &config.tenants {
        for stream in &tenant.engaged {
            pools.extend(tenant.pools.get(stream));
            pools.extend(tenant.split.get(stream).into_iter().flatten().map(|(pool, _)| pool));
        }
    }
    let fed = config.pools.iter().filter(|pool| pools.contains(&pool.name));
    fed.flat_map(|pool| pool.tiers.iter().flatten().map(|member| member.binding.clone())).collect()
}

fn blame(reason: Reason) -> Blame {
    match reason {
        Reason::IpBlocked | Reason::ManyProviders | Reason::Listed => Blame::Address,
        Reason::HardBounces | Reason::Complaints | Reason::Deferrals | Reason::Latency | Reason::RateLimited => {
            Blame::Unclear
        }
        Reason::Misconfigured | Reason::ReverseDns | Reason::Reported | Reason::Unbindable | Reason::Operator => {
            Blame::Nobody
        }
    }
}
