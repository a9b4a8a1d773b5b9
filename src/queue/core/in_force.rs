//! Which pools and tenants are configured now, and what becomes of mail whose pool or tenant comes or goes.
//!
//! Numbers of names stay over changes, so a number alone does not say that mail may leave. What has no place any more is
//! [stranded](super::stranded); when a later configuration names its pool and tenant again, [`Core::wanted_back`] tells which
//! are to be read, and [`Core::bring_back`] takes them in as if they had just come.

use std::collections::BTreeMap;

use super::Core;
use super::stranded::Stranded;
use crate::clock::Now;
use crate::config::Config;
use crate::message::{Entry, EntryId, PoolName, TenantName};
use crate::scheduler::{PoolId, Scheduler, TenantId};

/// Stranded entries that are looked at in one call.
const LOOKED_AT: usize = 4096;

/// What of pools and tenants that have a number is configured now.
#[derive(Debug, Default)]
pub(super) struct InForce {
    pools: Vec<bool>,
    tenants: Vec<bool>,
}

impl InForce {
    /// Numbers must have been given.
    pub(super) fn of(config: &Config, scheduler: &Scheduler) -> Self {
        let mark = |marks: &mut Vec<bool>, index: usize| {
            marks.resize(marks.len().max(index + 1), false);
            marks[index] = true;
        };
        let mut this = Self::default();
        let pools = config.pools.iter().filter_map(|pool| scheduler.pool_id(&pool.name));
        pools.for_each(|id| mark(&mut this.pools, id.index()));
        let tenants = config.tenants.iter().filter_map(|tenant| scheduler.tenant_id(&tenant.name));
        tenants.for_each(|id| mark(&mut this.tenants, id.index()));
        this
    }

    /// Whether nothing of the other is missing here.
    pub(super) fn has_all_of(&self, other: &Self) -> bool {
        let has_all = |own: &[bool], others: &[bool]| {
            let mut others = others.iter().enumerate().filter(|(_, is)| **is);
            others.all(|(index, _)| own.get(index).copied().unwrap_or(false))
        };
        has_all(&self.pools, &other.pools) && has_all(&self.tenants, &other.tenants)
    }

    fn has_tenant(&self, tenant: TenantId) -> bool {
        self.tenants.get(tenant.index()).copied().unwrap_or(false)
    }

    /// Whether both are.
    pub(super) fn has(&self, pool: PoolId, tenant: TenantId) -> bool {
        let is = |marks: &[bool], index: usize| marks.get(index).copied().unwrap_or(false);
        is(&self.pools, pool.index()) && is(&self.tenants, tenant.index())
    }
}

/// Some stranded entries that may be queued again.
#[derive(Debug, PartialEq, Eq)]
pub struct WantedBack {
    /// They, oldest first; maybe none of those looked at.
    pub ids: Vec<EntryId>,
    /// The last that was looked at: go on behind it.
    pub last: EntryId,
}

impl Core {
    /// Whether mail of this pool and tenant may be queued.
    pub(super) fn is_in_force(&self, pool: &PoolName, tenant: &TenantName) -> bool {
        let ids = self.scheduler.pool_id(pool).zip(self.scheduler.tenant_id(tenant));
        ids.is_some_and(|(pool, tenant)| self.in_force.has(pool, tenant))
    }

    /// Whether a tenant is configured.
    pub(super) fn is_tenant_in_force(&self, tenant: &TenantName) -> bool {
        self.scheduler.tenant_id(tenant).is_some_and(|tenant| self.in_force.has_tenant(tenant))
    }

    /// Notes an entry whose pool or tenant is not there.
    pub(super) fn strand(&mut self, entry: &Entry) {
        self.drop_entry(entry.id);
        self.stranded.add(entry);
        self.follows(entry.id);
    }

    /// Entries that are stranded, and their recipients.
    pub fn stranded_len(&self) -> (usize, u64) {
        (self.stranded.len(), self.stranded.recipients())
    }

    /// Whether an entry is stranded.
    pub fn is_stranded(&self, id: EntryId) -> bool {
        self.stranded.get(id).is_some()
    }

    /// Looks at some of the stranded entries behind `after` for those whose pool and tenant are there. Each is to be read and
    /// given to [`Core::bring_back`], or to [`Core::forget_stranded`] where it is not there. `None` at the end.
    pub fn wanted_back(&self, after: Option<EntryId>) -> Option<WantedBack> {
        let mut looked_at = self.stranded.slice(after, LOOKED_AT).peekable();
        looked_at.peek()?;
        let (mut ids, mut last) = (Vec::new(), EntryId(0));
        for (id, stranded) in looked_at {
            last = id;
            // What an operator is doing something to comes back by itself when that is done.
            if self.is_in_force(&stranded.pool, &stranded.tenant) && !self.is_claimed(id) {
                ids.push(id);
            }
        }
        Some(WantedBack { ids, last })
    }

    /// As [`Core::enqueue`] for one of [`Core::wanted_back`]; false where it is not stranded any more, or again.
    pub fn bring_back(&mut self, entry: &Entry, now: Now) -> bool {
        self.is_stranded(entry.id) && !self.is_claimed(entry.id) && self.enqueue(entry, now)
    }

    /// A stranded entry is not there any more. How many recipients it had, if it was known.
    pub fn forget_stranded(&mut self, id: EntryId) -> Option<u32> {
        self.stranded.remove(id).map(|stranded| stranded.recipients)
    }

    /// What of the mail that waits would have no place under `config`: entries and recipients by pool and tenant. They are
    /// counted as they come and go: nothing is walked.
    pub fn would_strand(&self, config: &Config) -> BTreeMap<(PoolName, TenantName), (u64, u64)> {
        let after = InForce::of(config, &self.scheduler);
        if after.has_all_of(&self.in_force) {
            return BTreeMap::new();
        }
        let gone = self.index.by_owner().filter(|((pool, tenant), _)| !after.has(*pool, *tenant));
        let name = |((pool, tenant), count)| {
            let names = (self.scheduler.pool_name(pool).clone(), self.scheduler.tenant_name(tenant).clone());
            (names, count)
        };
        gone.map(name).collect()
    }

    /// An entry waits, or is about to wait again, and its pool or tenant may be gone meanwhile: then it is stranded.
    pub(super) fn strand_if_gone(&mut self, id: EntryId) -> bool {
        let Some(waiting) = self.index.get(id) else { return false };
        if self.in_force.has(waiting.pool, waiting.tenant) {
            return false;
        }
        let stranded = Stranded {
            message: waiting.message,
            tenant: self.scheduler.tenant_name(waiting.tenant).clone(),
            pool: self.scheduler.pool_name(waiting.pool).clone(),
            domain: self.domains[waiting.domain].0.clone(),
            arrived: waiting.arrived,
            recipients: waiting.recipients,
        };
        self.drop_entry(id);
        self.stranded.put(id, stranded);
        self.follows(id);
        true
    }
}
