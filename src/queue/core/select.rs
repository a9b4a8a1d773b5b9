//! Which entries an operator means: a filter whose conditions must all hold, asked of the queue slice by slice.
//!
//! A queue of a million is never looked through in one go, since every decision waits meanwhile. The walk goes from the
//! end of the table to its beginning ([`Index::slice_before`](super::super::index::Index::slice_before)), so that mail
//! that comes and goes between two slices hides nothing; what is met twice is sorted out by its id.

use std::collections::HashSet;

use super::Core;
use super::stranded::Stranded;
use crate::clock::Wall;
use crate::config::DomainPattern;
use crate::message::{DestinationName, EntryId, MessageId, PoolName, TenantName};
use crate::queue::index::Waiting;
use crate::scheduler::{DestinationId, PoolId, TenantId};

/// The reason that is shown for stranded mail.
pub const STRANDED: &str = "stranded";

/// What is asked for; what is `None` does not matter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Ids of entries or of their messages; the two never share one.
    pub ids: Option<HashSet<u64>>,
    /// Whose.
    pub tenant: Option<TenantName>,
    /// From which pool.
    pub pool: Option<PoolName>,
    /// Where to: a provider, or a site by its name.
    pub destination: Option<DestinationName>,
    /// The recipients' domain.
    pub domain: Option<DomainPattern>,
    /// Accepted at this moment or before.
    pub arrived_by: Option<Wall>,
    /// Why it waits, as the listing shows it.
    pub reason: Option<String>,
}

/// An entry that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub id: EntryId,
    /// Why it waits.
    pub reason: &'static str,
}

/// The names of a filter by the numbers that the queue knows them by.
struct Numbers {
    tenant: Option<TenantId>,
    pool: Option<PoolId>,
    destination: Option<DestinationId>,
}

impl Filter {
    fn has_id(&self, id: EntryId, message: u64) -> bool {
        self.ids.as_ref().is_none_or(|ids| ids.contains(&id.0) || ids.contains(&message))
    }

    fn has_reason(&self, reason: &str) -> bool {
        self.reason.as_ref().is_none_or(|wanted| wanted == reason)
    }

    /// `None` where a name is not known, so that nothing in the queue has it.
    fn numbers(&self, core: &Core) -> Option<Numbers> {
        let scheduler = &core.scheduler;
        Some(Numbers {
            tenant: self.tenant.as_ref().map(|name| scheduler.tenant_id(name).ok_or(())).transpose().ok()?,
            pool: self.pool.as_ref().map(|name| scheduler.pool_id(name).ok_or(())).transpose().ok()?,
            destination: self
                .destination
                .as_ref()
                .map(|name| scheduler.destination_id(name).ok_or(()))
                .transpose()
                .ok()?,
        })
    }

    fn means(&self, core: &Core, numbers: &Numbers, id: EntryId, waiting: &Waiting) -> Option<Found> {
        let is_it = self.has_id(id, waiting.message.0)
            && numbers.tenant.is_none_or(|tenant| tenant == waiting.tenant)
            && numbers.pool.is_none_or(|pool| pool == waiting.pool)
            && numbers.destination.is_none_or(|to| core.where_to(waiting) == Ok(to))
            && self.arrived_by.is_none_or(|by| waiting.arrived <= by)
            && self.domain.as_ref().is_none_or(|domain| domain.matches(core.domains[waiting.domain].0.as_str()));
        let (reason, _) = is_it.then(|| core.index.why(waiting)).filter(|(reason, _)| self.has_reason(reason))?;
        Some(Found { id, reason })
    }

    fn means_stranded(&self, id: EntryId, stranded: &Stranded) -> bool {
        self.has_id(id, stranded.message.0)
            && self.tenant.as_ref().is_none_or(|tenant| *tenant == stranded.tenant)
            && self.pool.as_ref().is_none_or(|pool| *pool == stranded.pool)
            // Where it would go depends on limits that are not asked while it cannot.
            && self.destination.is_none()
            && self.arrived_by.is_none_or(|by| stranded.arrived <= by)
            && self.domain.as_ref().is_none_or(|domain| domain.matches(stranded.domain.as_str()))
            && self.has_reason(STRANDED)
    }
}

impl Core {
    /// Looks at up to `count` entries before the `before`-th and adds those that are meant. Returns where the walk goes on;
    /// 0 at its end. Begin with [`usize::MAX`].
    pub fn select(&self, filter: &Filter, before: usize, count: usize, found: &mut Vec<Found>) -> usize {
        let Some(numbers) = filter.numbers(self) else { return 0 };
        let (from, slice) = self.index.slice_before(before, count);
        found.extend(slice.filter_map(|(id, waiting)| filter.means(self, &numbers, id, waiting)));
        from
    }

    /// The same for stranded mail behind `after`; `None` at the end of it.
    pub fn select_stranded(
        &self,
        filter: &Filter,
        after: Option<EntryId>,
        count: usize,
        found: &mut Vec<Found>,
    ) -> Option<EntryId> {
        let mut last = None;
        for (id, stranded) in self.stranded.slice(after, count) {
            last = Some(id);
            if filter.means_stranded(id, stranded) {
                found.push(Found { id, reason: STRANDED });
            }
        }
        last
    }

    /// The entry of this id, if it is meant.
    pub fn select_one(&self, filter: &Filter, id: EntryId) -> Option<Found> {
        if let Some(stranded) = self.stranded.get(id) {
            return filter.means_stranded(id, stranded).then_some(Found { id, reason: STRANDED });
        }
        filter.means(self, &filter.numbers(self)?, id, self.index.get(id)?)
    }

    /// The message of an entry that waits, is on the wire or stranded.
    pub fn message_of(&self, id: EntryId) -> Option<MessageId> {
        let stranded = || self.stranded.get(id).map(|stranded| stranded.message);
        self.index.get(id).map(|waiting| waiting.message).or_else(stranded)
    }

    /// Whether there is an entry of this id, waiting, on the wire or stranded.
    pub fn has_entry(&self, id: EntryId) -> bool {
        self.index.get(id).is_some() || self.stranded.get(id).is_some()
    }
}
