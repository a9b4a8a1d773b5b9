//! Recipient domains: which destination each one's mail goes to, and what waits to learn it.
//!
//! Hosts are asked for when the first entry needs them, once per domain however many wait, and believed for
//! [`PLAN_LIFETIME`]. A lane that stood still for hours does not ask again entry by entry: it goes on with the hosts it
//! knows, and they are looked up anew beside it. Trouble with DNS delays and blames nobody.
//!
//! A relay may write to a million domains once each. One that no entry has any more is forgotten when its hosts are old, or
//! sooner when there are many, and its number goes to another; likewise a destination that no known domain leads to
//! and for which the scheduler remembers nothing. A few of both are looked at in each call.

use std::collections::{HashMap, VecDeque};
use std::ops::{Index, IndexMut};
use std::sync::Arc;
use std::time::Duration;

use super::super::index::{DomainId, LaneKey, Place};
use super::lanes::families;
use super::reconfigure::DOUBTED;
use super::wake::Fifo;
use super::{Action, Core};
use crate::clock::{Now, Wall};
use crate::delivery::plan::{MxPlan, NoPlan, Planned};
use crate::message::{Domain, EntryId};
use crate::scheduler::{DestinationId, RegionId, Scheduler, TenantId};

/// How long hosts of a domain are believed before they are looked up again, and known when nothing waits for them.
const PLAN_LIFETIME: Duration = Duration::from_secs(300);
/// Domains that may be known although nothing waits for them.
pub(super) const IDLE_MAX: usize = 20_000;
/// Domains without mail, and destinations without domains, that are looked at in one call.
const SWEPT: usize = 2;
/// Wait after a temporary DNS failure; doubles up to [`DNS_RETRY_MAX`].
const DNS_RETRY_FIRST: Duration = Duration::from_secs(30);
const DNS_RETRY_MAX: Duration = Duration::from_secs(30 * 60);

#[derive(Debug, Default)]
pub(super) struct DomainState {
    pub(super) plan: Option<(Arc<MxPlan>, DestinationId, Wall)>,
    asking: bool,
    failures: u32,
    waiting: Vec<EntryId>,
    /// Not looked up again before.
    retry_at: Option<Wall>,
    /// The region of the mail of this tenant to it, as long as it leads where it does. One is enough: most domains are written
    /// to by one tenant, and asking again costs a look-up or two.
    region: Option<(TenantId, Option<RegionId>)>,
    /// Entries it has, in flight included.
    entries: u32,
    /// When it may be forgotten if it has none.
    idle_until: Wall,
    /// Stands among the idle ones.
    is_idle: bool,
}

/// Domains by number. A number belongs to a domain as long as it has entries.
#[derive(Debug, Default)]
pub(super) struct Domains {
    known: Vec<(Domain, DomainState)>,
    ids: HashMap<Domain, DomainId>,
    unused: Vec<DomainId>,
    /// Have lost their last entry since the last call.
    emptied: Vec<DomainId>,
    /// Without entries, each once; or they have had others since they came here.
    idle: VecDeque<(Wall, DomainId)>,
    /// How many domains lead to a destination.
    plans: HashMap<DestinationId, u32>,
    /// No domain leads there any more.
    left: Fifo<DestinationId>,
}

impl Index<DomainId> for Domains {
    type Output = (Domain, DomainState);

    fn index(&self, id: DomainId) -> &Self::Output {
        &self.known[id.0 as usize]
    }
}

impl IndexMut<DomainId> for Domains {
    fn index_mut(&mut self, id: DomainId) -> &mut Self::Output {
        &mut self.known[id.0 as usize]
    }
}

impl Domains {
    /// The number of a domain, for one more entry.
    pub(super) fn enter(&mut self, domain: &Domain) -> DomainId {
        let id = match self.ids.get(domain) {
            Some(&id) => id,
            None => {
                let fresh = (domain.clone(), DomainState::default());
                let id = match self.unused.pop() {
                    Some(id) => {
                        self[id] = fresh;
                        id
                    }
                    None => {
                        self.known.push(fresh);
                        DomainId(self.known.len() as u32 - 1)
                    }
                };
                self.ids.insert(domain.clone(), id);
                id
            }
        };
        self[id].1.entries += 1;
        id
    }

    /// One entry less.
    pub(super) fn leave(&mut self, id: DomainId) {
        let state = &mut self[id].1;
        state.entries = state.entries.saturating_sub(1);
        if state.entries == 0 {
            self.emptied.push(id);
        }
    }

    /// Notes where a domain leads by now.
    fn set_plan(&mut self, id: DomainId, plan: Option<(Arc<MxPlan>, DestinationId, Wall)>) {
        let new = plan.as_ref().map(|(_, destination, _)| *destination);
        let old = std::mem::replace(&mut self[id].1.plan, plan).map(|(_, destination, _)| destination);
        if new == old {
            return;
        }
        self[id].1.region = None;
        if let Some(new) = new {
            *self.plans.entry(new).or_default() += 1;
        }
        if let Some(old) = old
            && let Some(plans) = self.plans.get_mut(&old)
        {
            *plans -= 1;
            if *plans == 0 {
                self.plans.remove(&old);
                self.left.push(old);
            }
        }
    }

    /// The region of a tenant's mail to a domain.
    pub(super) fn region(
        &mut self,
        id: DomainId,
        tenant: TenantId,
        destination: DestinationId,
        scheduler: &Scheduler,
    ) -> Option<RegionId> {
        let (name, state) = &mut self[id];
        match state.region {
            Some((known, region)) if known == tenant => region,
            _ => {
                let region = scheduler.region_of(tenant, destination, name);
                state.region = Some((tenant, region));
                region
            }
        }
    }

    /// Mail may go elsewhere than before: no hosts that are known are believed any more, not even until they are asked about.
    pub(super) fn doubt_plans(&mut self) {
        self.known.iter_mut().filter_map(|(_, state)| state.plan.as_mut()).for_each(|plan| plan.2 = DOUBTED);
    }

    /// Regions are others now.
    pub(super) fn forget_regions(&mut self) {
        self.known.iter_mut().for_each(|(_, state)| state.region = None);
    }

    /// Forgets some domains without entries whose time has come.
    fn forget_idle(&mut self, now: Wall) {
        for id in std::mem::take(&mut self.emptied) {
            let state = &mut self.known[id.0 as usize].1;
            state.idle_until = now.plus(PLAN_LIFETIME);
            if !std::mem::replace(&mut state.is_idle, true) {
                self.idle.push_back((state.idle_until, id));
            }
        }
        for _ in 0..SWEPT {
            let Some(&(until, id)) = self.idle.front() else { return };
            if until > now && self.idle.len() <= IDLE_MAX {
                return;
            }
            self.idle.pop_front();
            let state = &mut self.known[id.0 as usize].1;
            if state.entries > 0 {
                state.is_idle = false;
            } else if state.idle_until > until {
                self.idle.push_back((state.idle_until, id));
            } else {
                self.forget(id);
            }
        }
    }

    /// Where DNS did not answer a moment ago, it is asked again all the same.
    pub(super) fn ask_anew(&mut self, id: DomainId) {
        self[id].1.retry_at = None;
    }

    fn forget(&mut self, id: DomainId) {
        self.set_plan(id, None);
        let (name, state) = &mut self.known[id.0 as usize];
        *state = DomainState::default();
        self.ids.remove(name);
        self.unused.push(id);
    }

    /// Domains with a number, and numbers there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> (usize, usize) {
        (self.ids.len(), self.known.len())
    }
}

impl Core {
    /// Forgets some domains and destinations that nothing needs any more.
    pub(super) fn forget_some(&mut self, now: Now) {
        self.domains.forget_idle(now.wall);
        for _ in 0..SWEPT.min(self.domains.left.len()) {
            let Some(destination) = self.domains.left.pop() else { return };
            if self.domains.plans.contains_key(&destination) {
                continue;
            }
            // While a lane or a lease is left over, or something is remembered of a route, it is asked about again.
            if !self.index.lanes_to(destination).is_empty() || !self.scheduler.forget_destination(destination) {
                self.domains.left.push(destination);
            }
        }
    }

    /// The hosts of `domain`, or why there are none.
    pub fn resolved(&mut self, domain: &Domain, planned: Planned, now: Now) {
        let Some(&id) = self.domains.ids.get(domain) else { return };
        match planned {
            Ok(plan) => {
                let destination = self.scheduler.destination(&plan.destination, plan.provider.as_ref());
                self.domains.set_plan(id, Some((plan, destination, now.wall.plus(PLAN_LIFETIME))));
                for entry in self.domains[id].1.answered() {
                    if self.index.get(entry).is_some_and(|w| w.place == Place::Resolving) {
                        self.route(entry, id, now);
                    }
                }
            }
            Err(NoPlan::Permanent { enhanced, text }) => {
                self.domains.set_plan(id, None);
                for entry in self.domains[id].1.answered() {
                    let waits = self.index.get(entry).is_some_and(|w| w.place == Place::Resolving);
                    // What has no place any more is not ended.
                    if !waits || self.strand_if_gone(entry) {
                        continue;
                    }
                    self.index.hold(entry);
                    self.actions.push_back(Action::Refuse { entry, enhanced, text: text.clone() });
                }
            }
            Err(NoPlan::Temporary { .. }) => {
                let state = &mut self.domains[id].1;
                state.asking = false;
                let first = DNS_RETRY_FIRST.min(self.queue.retry_first.max(Duration::from_secs(1)));
                let wait = first.saturating_mul(1 << state.failures.min(16)).min(DNS_RETRY_MAX);
                state.failures = state.failures.saturating_add(1);
                let until = now.wall.plus(wait);
                state.retry_at = Some(until);
                for entry in std::mem::take(&mut state.waiting) {
                    if self.index.get(entry).is_some_and(|w| w.place == Place::Resolving) {
                        self.index.delay(entry, until, "dns");
                    }
                }
            }
        }
    }

    /// Looks hosts up again that were believed long enough, while mail goes on to them.
    pub(super) fn refresh_plan(&mut self, domain: DomainId, now: Now) {
        let (name, state) = &mut self.domains[domain];
        let is_old = state.plan.as_ref().is_some_and(|(.., until)| *until <= now.wall);
        if is_old && !state.asking && state.retry_at.is_none_or(|at| at <= now.wall) {
            state.asking = true;
            self.actions.push_back(Action::Resolve(name.clone()));
        }
    }

    /// Puts an entry into the lane of its destination, or asks where that is.
    pub(super) fn route(&mut self, id: EntryId, domain: DomainId, now: Now) {
        // Here every way into a lane passes.
        if let Some((until, reason)) = self.acts.detained(id, now.wall) {
            return self.index.delay(id, until, reason);
        }
        let Some(waiting) = self.index.get(id) else { return };
        let (pool, tenant, sender) = (waiting.pool, waiting.tenant, waiting.sender);
        let (name, state) = &mut self.domains[domain];
        match &state.plan {
            Some((plan, destination, until)) if *until > now.wall => {
                let (destination, families) = (*destination, families(plan));
                let region = self.domains.region(domain, tenant, destination, &self.scheduler);
                let cover = self.cover_of(tenant, sender);
                let weight = self.tenants.get(tenant.index()).map_or(1, |tenant| tenant.weight);
                self.index.enter_lane(id, LaneKey { pool, destination, families, region, cover }, weight);
            }
            // DNS did not answer a moment ago: this one waits with the others instead of asking again.
            _ if !state.asking && state.retry_at.is_some_and(|at| at > now.wall) => {
                if let Some(until) = state.retry_at {
                    self.index.delay(id, until, "dns");
                }
            }
            _ => {
                state.waiting.push(id);
                if !std::mem::replace(&mut state.asking, true) {
                    self.actions.push_back(Action::Resolve(name.clone()));
                }
                self.index.update(id, |w| w.place = Place::Resolving);
            }
        }
    }
}

impl DomainState {
    /// The question has an answer: who waited for it.
    fn answered(&mut self) -> Vec<EntryId> {
        (self.asking, self.failures, self.retry_at) = (false, 0, None);
        std::mem::take(&mut self.waiting)
    }
}
