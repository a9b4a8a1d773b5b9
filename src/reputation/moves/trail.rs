//! Where a group of mail was refused for the address's sake, and who carried it since.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use smallvec::SmallVec;

use super::Refusal;
use crate::clock::Wall;
use crate::message::{BindingName, DestinationName, Domain, StreamName, TenantName};
use crate::outcome::Cause;
use crate::reputation::holds::Mail;

/// Trails of one tenant at the same time. Sender domains and destinations are the tenant's own choice; whoever fills this
/// is judged as a whole.
pub const TRAILS_MAX: usize = 1_000;

/// Bindings that one trail remembers of each kind.
const BINDINGS_MAX: usize = 16;

/// Groups of one tenant after which all of its mail at a destination is judged together.
const GROUPS_MAX: usize = 3;

/// The group of a message by number, for comparing.
pub(in crate::reputation) fn group_of(mail: Mail<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (mail.tenant, mail.stream, mail.sender_domain).hash(&mut hasher);
    hasher.finish()
}

#[derive(Debug)]
struct Refused {
    by: BindingName,
    cause: Cause,
    at: Wall,
    /// Spoke of the network, and a neighbour stands here already: no further place.
    same_range: bool,
}

/// One group's way, or a whole tenant's.
#[derive(Debug, Default)]
pub(super) struct Trail {
    refused: SmallVec<[Refused; 2]>,
    carried: SmallVec<[(BindingName, Wall); 2]>,
    /// Groups that were refused; the tenant's own trail only.
    groups: SmallVec<[u64; GROUPS_MAX]>,
}

impl Trail {
    fn refused(&mut self, refusal: &Refusal<'_>, window: Duration, now: Wall) {
        self.refused.retain(|one| now.since(one.at) < window);
        self.carried.retain(|(_, at)| now.since(*at) < window);
        if self.refused.is_empty() {
            *self = Self::default();
        }
        self.carried.retain(|(binding, _)| binding != refusal.binding);
        let of_cause = |one: &&mut Refused| one.cause == refusal.cause;
        if let Some(known) = self.refused.iter_mut().filter(of_cause).find(|one| one.by == *refusal.binding) {
            known.at = now;
        } else if self.refused.len() < BINDINGS_MAX {
            let is_neighbour = |one: &Refused| one.cause == refusal.cause && refusal.range.contains(&one.by);
            let same_range = self.refused.iter().any(is_neighbour);
            self.refused.push(Refused { by: refusal.binding.clone(), cause: refusal.cause, at: now, same_range });
        }
    }

    fn carried(&mut self, by: &BindingName, now: Wall) {
        if let Some((_, at)) = self.carried.iter_mut().find(|(binding, _)| binding == by) {
            *at = now;
        } else if self.carried.len() < BINDINGS_MAX && !self.refused.iter().any(|one| one.by == *by) {
            self.carried.push((by.clone(), now));
        }
    }

    /// How many places refused it for this cause.
    pub(super) fn places(&self, cause: Cause) -> usize {
        self.refused.iter().filter(|one| one.cause == cause && !one.same_range).count()
    }

    /// How many bindings carried it since and refused nothing.
    pub(super) fn carried_by(&self) -> usize {
        self.carried.len()
    }

    pub(super) fn groups_suffice(&self) -> bool {
        self.groups.len() >= GROUPS_MAX
    }

    /// The bindings it has met, those that carried it first.
    pub(super) fn met(&self) -> Vec<BindingName> {
        let carried = self.carried.iter().map(|(binding, _)| binding);
        let mut met: Vec<BindingName> = Vec::with_capacity(self.carried.len() + self.refused.len());
        for binding in carried.chain(self.refused.iter().map(|one| &one.by)) {
            if !met.contains(binding) {
                met.push(binding.clone());
            }
        }
        met
    }
}

/// Stream, sender domain, destination.
type GroupKey = (Option<StreamName>, Option<Domain>, DestinationName);

#[derive(Debug, Default)]
struct OfTenant {
    groups: HashMap<GroupKey, Trail>,
    whole: HashMap<DestinationName, Trail>,
}

/// All trails.
#[derive(Debug, Default)]
pub(in crate::reputation) struct Moves {
    tenants: HashMap<TenantName, OfTenant>,
}

/// What one refusal was added to.
pub(super) struct Trails<'a> {
    /// `None` where the tenant has too many.
    pub(super) group: Option<&'a Trail>,
    pub(super) tenant: &'a Trail,
}

fn key(mail: Mail<'_>) -> GroupKey {
    (mail.stream.cloned(), mail.sender_domain.cloned(), mail.destination.clone())
}

impl Moves {
    /// Notes a refusal.
    pub(super) fn refused(&mut self, refusal: &Refusal<'_>, window: Duration, now: Wall) -> Trails<'_> {
        let mail = refusal.mail;
        let own = self.tenants.entry(mail.tenant.clone()).or_default();
        let whole = match own.whole.len() {
            // Full of destinations: they share one trail, as far as this tenant goes.
            TRAILS_MAX.. if !own.whole.contains_key(mail.destination) => DestinationName::new(""),
            _ => mail.destination.clone(),
        };
        let whole = own.whole.entry(whole).or_default();
        whole.refused(refusal, window, now);
        let group = group_of(mail);
        if !whole.groups_suffice() && !whole.groups.contains(&group) {
            whole.groups.push(group);
        }
        let key = key(mail);
        let trail = match own.groups.len() {
            TRAILS_MAX.. => own.groups.get_mut(&key),
            _ => Some(own.groups.entry(key).or_default()),
        };
        let group = trail.map(|trail| {
            trail.refused(refusal, window, now);
            &*trail
        });
        Trails { group, tenant: whole }
    }

    /// Mail was accepted. Costs next to nothing while its tenant has no trail.
    pub(in crate::reputation) fn accepted(&mut self, mail: Mail<'_>, by: &BindingName, now: Wall) {
        if self.tenants.is_empty() {
            return;
        }
        let Some(own) = self.tenants.get_mut(mail.tenant) else { return };
        if let Some(whole) = own.whole.get_mut(mail.destination) {
            whole.carried(by, now);
            if let Some(trail) = own.groups.get_mut(&key(mail)) {
                trail.carried(by, now);
            }
        }
    }

    /// It was acted on: counting begins anew. What a group has met stays part of its tenant's trail, or one with another
    /// domain each time would never be judged as a whole.
    pub(super) fn forget(&mut self, mail: Mail<'_>, whole_tenant: bool) {
        if let Some(own) = self.tenants.get_mut(mail.tenant) {
            own.groups.remove(&key(mail));
            if whole_tenant {
                own.whole.remove(mail.destination);
            }
        }
    }

    /// Forgets what no longer counts.
    pub(in crate::reputation) fn sweep(&mut self, window: Duration, now: Wall) {
        let counts = |trail: &Trail| trail.refused.iter().any(|one| now.since(one.at) < window);
        self.tenants.retain(|_, own| {
            own.groups.retain(|_, trail| counts(trail));
            own.whole.retain(|_, trail| counts(trail));
            !own.groups.is_empty() || !own.whole.is_empty()
        });
    }

    /// Trails of a tenant.
    #[cfg(test)]
    pub(super) fn len(&self, tenant: &str) -> usize {
        self.tenants.get(tenant).map_or(0, |own| own.groups.len() + own.whole.len())
    }
}
