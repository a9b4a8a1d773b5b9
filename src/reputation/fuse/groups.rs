//! Names of what is counted, with an end to their number.
//!
//! Tenants choose their sender domains, and strangers choose recipient domains. So both are counted by number, and what no
//! longer fits is counted with its tenant's other mail, with everybody else's, or nowhere in particular: it then explains
//! nothing, but is not lost to the sum.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::clock::Wall;
use crate::message::{DestinationName, Domain, StreamName, TenantName};
use crate::reputation::holds::Mail;
use crate::reputation::moves::group_of;

/// Campaigns of one tenant that are told apart on one binding.
pub(in crate::reputation) const CAMPAIGNS_MAX: u32 = 64;

/// Groups that are told apart on one binding; of them, the last quarter is for whole tenants only.
pub(in crate::reputation) const GROUPS_MAX: usize = 2_000;

/// Places of one subject that are told apart.
pub(in crate::reputation) const PLACES_MAX: usize = 32;

/// Everybody who is told apart from nobody.
pub(in crate::reputation) const REST: u64 = 0;

/// Whose mail: a campaign (tenant, stream and sender domain), or as much of it as is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::reputation) struct Group {
    pub(in crate::reputation) tenant: TenantName,
    /// Kind of mail; `None`: any.
    pub(in crate::reputation) stream: Option<StreamName>,
    /// Domain of the reverse path; `None`: any, or (with a stream) the null reverse path.
    pub(in crate::reputation) domain: Option<Domain>,
}

/// The groups of a binding.
#[derive(Debug, Default)]
pub(in crate::reputation) struct Groups {
    names: HashMap<u64, Group>,
    of_tenant: HashMap<TenantName, u32>,
}

impl Groups {
    /// The number to count this mail under, and its tenant's own where there is none left for the campaign. `group` is
    /// its [`group_of`].
    pub(in crate::reputation) fn number(&mut self, mail: Mail<'_>, group: u64) -> u64 {
        if self.names.contains_key(&group) {
            return group;
        }
        let is_full = self.names.len() >= GROUPS_MAX / 4 * 3
            || self.of_tenant.get(mail.tenant).is_some_and(|&own| own >= CAMPAIGNS_MAX);
        let (stream, sender_domain) = if is_full { (None, None) } else { (mail.stream, mail.sender_domain) };
        self.learn(Mail { stream, sender_domain, ..mail })
    }

    fn learn(&mut self, mail: Mail<'_>) -> u64 {
        let number = group_of(mail);
        if self.names.contains_key(&number) {
            return number;
        }
        if self.names.len() >= GROUPS_MAX {
            return REST;
        }
        let (stream, domain) = (mail.stream.cloned(), mail.sender_domain.cloned());
        *self.of_tenant.entry(mail.tenant.clone()).or_default() += 1;
        self.names.insert(number, Group { tenant: mail.tenant.clone(), stream, domain });
        number
    }

    /// The number of a group that is told in words.
    pub(in crate::reputation) fn number_of(&mut self, group: &Group) -> u64 {
        let (stream, sender_domain) = (group.stream.as_ref(), group.domain.as_ref());
        let to = DestinationName::new("");
        let message = crate::message::MessageId(0);
        self.learn(Mail { tenant: &group.tenant, stream, sender_domain, destination: &to, message })
    }

    pub(in crate::reputation) fn get(&self, number: u64) -> Option<&Group> {
        self.names.get(&number)
    }

    /// Whether a number is one of this tenant's.
    pub(in crate::reputation) fn is_of(&self, number: u64, tenant: &TenantName) -> bool {
        self.get(number).is_some_and(|group| group.tenant == *tenant)
    }

    /// Forgets those that nothing is counted of any more.
    pub(in crate::reputation) fn retain(&mut self, used: &HashSet<u64>) {
        let of_tenant = &mut self.of_tenant;
        self.names.retain(|number, group| {
            let stays = used.contains(number);
            if !stays && let Some(own) = of_tenant.get_mut(&group.tenant) {
                *own = own.saturating_sub(1);
            }
            stays
        });
        self.of_tenant.retain(|_, own| *own > 0);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    #[cfg(test)]
    pub(super) fn knows(&self, group: &Group) -> bool {
        self.names.values().any(|known| known == group)
    }
}

#[derive(Clone, Debug)]
struct Place {
    name: Box<str>,
    number: u32,
    events: u64,
    last: Wall,
}

/// The places of a subject at which mail bounced: destinations of a binding, recipients' domains of a route. Those with
/// most bounces, [`PLACES_MAX`] of them. What was accepted at one before its first bounce is counted nowhere in particular,
/// so a place looks a little worse than it is; it is asked for a clear answer before it is blamed.
#[derive(Clone, Debug, Default)]
pub(in crate::reputation) struct Places {
    known: Vec<Place>,
    last: u32,
}

impl Places {
    /// The number of `name`; 0 where it is not told apart. A bounce gives it one, in place of the one with the fewest
    /// bounces, those first of which nothing was heard for `window`.
    pub(in crate::reputation) fn number(&mut self, name: &str, event: bool, window: Duration, now: Wall) -> u32 {
        if let Some(place) = self.known.iter_mut().find(|place| *place.name == *name) {
            place.events += u64::from(event);
            if event {
                place.last = now;
            }
            return place.number;
        }
        if !event {
            return 0;
        }
        if self.known.len() >= PLACES_MAX {
            let worth = |place: &Place| (now.since(place.last) < window, place.events, place.last);
            let least = self.known.iter().enumerate().min_by_key(|(_, place)| worth(place)).map(|(at, _)| at);
            least.map(|at| self.known.swap_remove(at));
        }
        // Numbers are not used again: what is still counted under the old one is nobody's.
        self.last = self.last.checked_add(1).unwrap_or(1);
        self.known.push(Place { name: name.into(), number: self.last, events: 1, last: now });
        self.last
    }

    /// The number that a name has; 0 for none.
    pub(in crate::reputation) fn known(&self, name: &str) -> u32 {
        self.known.iter().find(|place| *place.name == *name).map_or(0, |place| place.number)
    }

    pub(in crate::reputation) fn name(&self, number: u32) -> Option<&str> {
        self.known.iter().find(|place| place.number == number).map(|place| &*place.name)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}
