//! Recipient domains: which destination each one's mail goes to, and what waits to learn it.
//!
//! Hosts are asked for when the first entry needs them, once per domain however many wait, and believed for
//! [`PLAN_LIFETIME`]. A lane that stood still for hours does not ask again entry by entry: it goes on with the hosts it
//! knows, and they are looked up anew beside it. Trouble with DNS delays and blames nobody.

use std::sync::Arc;
use std::time::Duration;

use super::super::index::{DomainId, Place};
use super::{Action, Core};
use crate::clock::{Now, Wall};
use crate::delivery::plan::{MxPlan, NoPlan, Planned};
use crate::message::{Domain, EntryId};
use crate::scheduler::DestinationId;

/// How long hosts of a domain are believed before they are looked up again.
const PLAN_LIFETIME: Duration = Duration::from_secs(300);
/// Wait after a temporary DNS failure; doubles up to [`DNS_RETRY_MAX`].
const DNS_RETRY_FIRST: Duration = Duration::from_secs(30);
const DNS_RETRY_MAX: Duration = Duration::from_secs(30 * 60);

#[derive(Debug, Default)]
pub(super) struct DomainState {
    pub(super) plan: Option<(Arc<MxPlan>, DestinationId, Wall)>,
    asking: bool,
    failures: u32,
    waiting: Vec<EntryId>,
    /// Not looked up again before, beside a lane that goes on.
    retry_at: Option<Wall>,
}

impl Core {
    /// The hosts of `domain`, or why there are none.
    pub fn resolved(&mut self, domain: &Domain, planned: Planned, now: Now) {
        let Some(&id) = self.domain_ids.get(domain) else { return };
        match planned {
            Ok(plan) => {
                let destination = self.scheduler.destination(&plan.destination, plan.provider.as_ref());
                let state = &mut self.domains[id.0 as usize].1;
                *state = DomainState {
                    plan: Some((plan, destination, now.wall.plus(PLAN_LIFETIME))),
                    waiting: std::mem::take(&mut state.waiting),
                    ..DomainState::default()
                };
                for entry in std::mem::take(&mut state.waiting) {
                    if self.index.get(entry).is_some_and(|w| w.place == Place::Resolving) {
                        self.route(entry, id, now);
                    }
                }
            }
            Err(NoPlan::Permanent { enhanced, text }) => {
                let state = &mut self.domains[id.0 as usize].1;
                let waiting = std::mem::take(&mut state.waiting);
                *state = DomainState::default();
                for entry in waiting {
                    if self.index.get(entry).is_none_or(|w| w.place != Place::Resolving) {
                        continue;
                    }
                    self.index.hold(entry);
                    self.actions.push_back(Action::Refuse { entry, enhanced, text: text.clone() });
                }
            }
            Err(NoPlan::Temporary { .. }) => {
                let state = &mut self.domains[id.0 as usize].1;
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
        let (name, state) = &mut self.domains[domain.0 as usize];
        let is_old = state.plan.as_ref().is_some_and(|(.., until)| *until <= now.wall);
        if is_old && !state.asking && state.retry_at.is_none_or(|at| at <= now.wall) {
            state.asking = true;
            self.actions.push_back(Action::Resolve(name.clone()));
        }
    }

    pub(super) fn domain_id(&mut self, domain: &Domain) -> DomainId {
        if let Some(&id) = self.domain_ids.get(domain) {
            return id;
        }
        let id = DomainId(self.domains.len() as u32);
        self.domains.push((domain.clone(), DomainState::default()));
        self.domain_ids.insert(domain.clone(), id);
        id
    }

    /// Puts an entry into the lane of its destination, or asks where that is.
    pub(super) fn route(&mut self, id: EntryId, domain: DomainId, now: Now) {
        let (name, state) = &mut self.domains[domain.0 as usize];
        match &state.plan {
            Some((_, destination, until)) if *until > now.wall => {
                let destination = *destination;
                let Some(waiting) = self.index.get(id) else { return };
                let weight = self.tenant_weights.get(waiting.tenant.index()).copied().unwrap_or(1);
                self.index.enter_lane(id, destination, weight);
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
