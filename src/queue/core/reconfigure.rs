//! Another configuration while mail waits and attempts are on the wire.
//!
//! Numbers of names stay, so nothing that waits, flies or is counted has to be found anew. What the old configuration had a
//! part in is looked at again, by and by where that is much:
//!
//! - Mail of pools and tenants that are gone is [stranded](super::stranded), by and by ([`sorting`](super::sorting)).
//! - Where mail goes ([`is_routed_otherwise`]): the hosts that are known are believed no more. Each domain is asked about when
//!   the turn of its mail comes, and the mail finds its new lane.
//! - Regions and classes of streams: mail that is in a lane goes through the door again, in the order of its arrival. This
//!   is the one walk that is not made in slices: lanes in which some mail stands by the old order and some by the new would
//!   have none.
//! - Whatever stands still looks again: the cap, the pool or the rule that it waits for may be another.
//!
//! Attempts on the wire end as they would; what is left of their mail then follows the new configuration.

use std::collections::{BTreeSet, HashSet};

use super::super::index::{Place, Waiting};
use super::in_force::InForce;
use super::sorting::Sorting;
use super::tenants::TenantPlan;
use super::{Core, Observed};
use crate::clock::{Now, Wall};
use crate::config::Config;
use crate::delivery::ourselves::Ourselves;
use crate::message::{BindingName, EntryId, TenantName};
use crate::reputation::Subject;
use crate::scheduler::TenantId;

/// Reasons of delays that no configuration is the cause of; the last is the operator's.
const OWN_DELAYS: [&str; 4] = ["retry", "dns", "local", "held"];

impl Core {
    /// Takes over `config`; `before` is the one that was in force. Counts, leases, windows, healths and what waits go on.
    pub fn reconfigure(&mut self, before: &Config, config: &Config, now: Now) -> Observed {
        self.queue = config.queue.clone();
        self.reputation.reconfigure(config);
        self.scheduler.reconfigure(config, now);
        for signal in self.reputation.signals(now.wall) {
            self.scheduler.signalled(&signal, now);
        }
        let waiting: HashSet<TenantId> = self.index.by_owner().map(|((_, tenant), _)| tenant).collect();
        let mut reclassed = self.take_over_tenants(config);
        // A tenant that is new has none.
        reclassed.retain(|tenant| waiting.contains(tenant));
        let in_force = InForce::of(config, &self.scheduler);
        let is_gone = !in_force.has_all_of(&self.in_force);
        self.in_force = in_force;
        // What is remembered of bindings that come back is told by this tick; what ended while they were away is not.
        let changes = self.reputation.tick(now.wall);
        self.recall_healths(before, config, now);
        if is_routed_otherwise(before, config) {
            self.domains.doubt_plans();
        }
        if regions(before, |_| true) != regions(config, |_| true) {
            self.domains.forget_regions();
        }
        let has_mail = |tenant: &TenantName| self.scheduler.tenant_id(tenant).is_some_and(|id| waiting.contains(&id));
        let is_regions = regions(before, has_mail) != regions(config, has_mail);
        // Walks over all that waits, which an order for a cap, say, has no need of.
        if is_regions || !reclassed.is_empty() {
            self.sort_anew(&reclassed, is_regions, now);
        } else if is_gone || members(before) != members(config) {
            self.begin_sorting(now);
        }
        self.index.wake_turns();
        self.stage_all();
        self.ask_for_grants();
        self.apply_health(changes, now)
    }

    /// Plans and slots of tenants by their numbers; gives those whose streams mean something else now.
    fn take_over_tenants(&mut self, config: &Config) -> HashSet<TenantId> {
        let mut other = HashSet::new();
        let mut weights = vec![None; self.tenants.len()];
        for tenant in &config.tenants {
            // Just given by the scheduler.
            let Some(id) = self.scheduler.tenant_id(&tenant.name) else { continue };
            let plan = TenantPlan::of(tenant, config);
            if id.index() >= self.tenants.len() {
                self.tenants.resize_with(id.index() + 1, TenantPlan::default);
                weights.resize(id.index() + 1, None);
            }
            if !self.tenants[id.index()].has_same_classes(&plan) {
                other.insert(id);
            }
            weights[id.index()] = Some(plan.weight);
            self.tenants[id.index()] = plan;
        }
        self.slots.reconfigure(config.queue.max_attempts_in_flight, &weights);
        other
    }

    /// The scheduler may remember an old health of a binding that was away.
    fn recall_healths(&mut self, before: &Config, config: &Config, now: Now) {
        let had: HashSet<&BindingName> = before.bindings.iter().map(|binding| &binding.name).collect();
        for binding in config.bindings.iter().filter(|binding| !had.contains(&binding.name)) {
            let routes = self.scheduler.destinations_of(&binding.name).into_iter();
            let routes = routes.map(|to| Subject::Route(binding.name.clone(), to));
            for subject in std::iter::once(Subject::Binding(binding.name.clone())).chain(routes) {
                let health = self.reputation.health(&subject).clone();
                self.scheduler.restore_health(&subject, &health, now);
            }
        }
    }

    /// One walk over everything that waits, which ends any that was being made in slices: what has no place any more is stranded, what is elsewhere now goes there.
    fn sort_anew(&mut self, reclassed: &HashSet<TenantId>, is_regions: bool, now: Now) {
        self.sorting = Sorting::default();
        let (mut gone, mut again) = (Vec::new(), Vec::new());
        for (id, waiting) in self.index.iter() {
            if waiting.place == Place::InFlight {
                continue;
            }
            if !self.in_force.has(waiting.pool, waiting.tenant) {
                gone.push(id);
            } else if reclassed.contains(&waiting.tenant) || is_to_look(waiting, is_regions) {
                again.push(id);
            }
        }
        for id in gone {
            self.strand_if_gone(id);
        }
        // The oldest first, as they came.
        again.sort_unstable();
        let again: Vec<EntryId> = again.into_iter().filter(|id| self.leaves_its_place(*id)).collect();
        self.index.forget_moved();
        for id in again {
            if let Some(domain) = self.index.get(id).map(|waiting| waiting.domain) {
                self.route(id, domain, now);
            }
        }
    }

    /// Gives an entry the class that its stream means now. True where it left its place and must find another; who waits
    /// for DNS, or for a moment of its own, waits on.
    fn leaves_its_place(&mut self, id: EntryId) -> bool {
        let Some(waiting) = self.index.get(id) else { return false };
        let is_own = match waiting.place {
            Place::Resolving => true,
            Place::Delayed { reason, .. } => OWN_DELAYS.contains(&reason),
            Place::Lane(..) | Place::InFlight => false,
        };
        // Mail with the null reverse path keeps what it had: its stream is not remembered.
        let stream = self.senders.stream(waiting.sender);
        let plan = self.tenants.get(waiting.tenant.index());
        let class = stream.zip(plan).map_or(waiting.class, |(stream, plan)| plan.class(stream));
        if !is_own {
            self.index.hold(id);
        }
        self.index.update(id, |waiting| waiting.class = class);
        !is_own
    }

    /// Everything that stands still looks again, by and by.
    fn stage_all(&mut self) {
        let lanes: Vec<_> = self.index.all_parked().collect();
        lanes.into_iter().for_each(|lane| self.stage(lane));
    }
}

/// Whether what this entry waits for may have changed, as far as its lane does not know.
pub(super) fn is_to_look(waiting: &Waiting, is_regions: bool) -> bool {
    match waiting.place {
        Place::Delayed { reason, .. } => !OWN_DELAYS.contains(&reason),
        Place::Lane(..) => is_regions,
        Place::Resolving | Place::InFlight => false,
    }
}

/// Whether mail may go elsewhere than before, or count elsewhere.
pub fn is_routed_otherwise(before: &Config, config: &Config) -> bool {
    let routing = |config: &Config| {
        let Config { providers, destination_routes, delivery, dns, .. } = config;
        format!("{providers:?} {destination_routes:?} {delivery:?} {dns:?} {:?}", Ourselves::of(config))
    };
    routing(before) != routing(config)
}

/// Which bindings stand in which pools, and what tells them apart for a single message.
fn members(config: &Config) -> String {
    let bindings = config.bindings.iter().map(|binding| (&binding.name, binding.sources(), &binding.region));
    let bindings: Vec<_> = bindings.collect();
    let pools: Vec<_> = config.pools.iter().map(|pool| (&pool.name, &pool.tiers)).collect();
    format!("{bindings:?} {pools:?}")
}

/// What says which region mail of these tenants prefers. Who has none says nothing: such a binding or tenant may come and go.
fn regions(config: &Config, is_theirs: impl Fn(&TenantName) -> bool) -> String {
    let of_tenants = config.tenants.iter().filter(|tenant| is_theirs(&tenant.name));
    let of_tenants = of_tenants.filter_map(|tenant| Some((&tenant.name, tenant.region.as_ref()?)));
    let of_providers = config.providers.iter().filter_map(|provider| Some((&provider.name, provider.region.as_ref()?)));
    let of_bindings = config.bindings.iter().filter_map(|binding| binding.region.as_ref());
    let (of_tenants, of_providers) = (of_tenants.collect::<Vec<_>>(), of_providers.collect::<Vec<_>>());
    let of_bindings: BTreeSet<_> = of_bindings.collect();
    format!("{:?} {of_tenants:?} {of_providers:?} {of_bindings:?}", config.regions)
}

/// Until when a plan is believed that is not believed any more.
pub(super) const DOUBTED: Wall = Wall::from_millis(0);
