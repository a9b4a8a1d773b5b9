//! Mail whose pool or tenant is configured no more.
//!
//! It stays on disk, is never sent from "some" IP, and is known here by its id: sixteen octets for each, less than it took
//! while it waited. When a later configuration names its pool and tenant again, [`Core::wanted_back`] tells which are to be
//! read, and [`Core::enqueue`] takes them in as if they had just come.

use std::collections::{BTreeMap, HashMap};

use super::Core;
use crate::clock::Now;
use crate::config::Config;
use crate::message::{Entry, EntryId, PoolName, TenantName};

/// All of it.
#[derive(Debug, Default)]
pub struct Stranded {
    groups: HashMap<(PoolName, TenantName), BTreeMap<EntryId, u32>>,
    places: HashMap<EntryId, (PoolName, TenantName)>,
    recipients: u64,
}

impl Stranded {
    /// Recipients of all of it.
    pub fn recipients(&self) -> u64 {
        self.recipients
    }

    /// Entries of all of it.
    pub fn len(&self) -> usize {
        self.groups.values().map(BTreeMap::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// By pool and tenant, in no order, the entries with the number of their recipients, oldest first.
    pub fn groups(&self) -> impl Iterator<Item = (&PoolName, &TenantName, &BTreeMap<EntryId, u32>)> {
        self.groups.iter().map(|((pool, tenant), entries)| (pool, tenant, entries))
    }

    fn add(&mut self, id: EntryId, pool: &PoolName, tenant: &TenantName, recipients: u32) {
        self.remove(id);
        self.recipients += u64::from(recipients);
        let group = (pool.clone(), tenant.clone());
        self.groups.entry(group.clone()).or_default().insert(id, recipients);
        self.places.insert(id, group);
    }

    fn remove(&mut self, id: EntryId) -> Option<u32> {
        let group = self.places.remove(&id)?;
        let entries = self.groups.get_mut(&group)?;
        let recipients = entries.remove(&id)?;
        if entries.is_empty() {
            self.groups.remove(&group);
        }
        self.recipients -= u64::from(recipients);
        Some(recipients)
    }
}

/// What of pools and tenants that have a number is configured now.
#[derive(Debug, Default)]
pub(super) struct InForce {
    pools: Vec<bool>,
    tenants: Vec<bool>,
}

impl InForce {
    pub(super) fn has_pool(&self, pool: usize) -> bool {
        self.pools.get(pool).copied().unwrap_or(false)
    }

    pub(super) fn has_tenant(&self, tenant: usize) -> bool {
        self.tenants.get(tenant).copied().unwrap_or(false)
    }

    /// Numbers must have been given.
    pub(super) fn of(config: &Config, scheduler: &crate::scheduler::Scheduler) -> Self {
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
}

impl Core {
    /// Mail that waits for a configuration which names its pool and tenant.
    pub fn stranded(&self) -> &Stranded {
        &self.stranded
    }

    /// Whether mail of this pool and tenant may be queued.
    pub(super) fn is_in_force(&self, pool: &PoolName, tenant: &TenantName) -> bool {
        let pool = self.scheduler.pool_id(pool).is_some_and(|id| self.in_force.has_pool(id.index()));
        pool && self.scheduler.tenant_id(tenant).is_some_and(|id| self.in_force.has_tenant(id.index()))
    }

    /// Up to `limit` stranded entries that may be queued again, oldest first; each is to be read and given to
    /// [`Core::enqueue`], or to [`Core::forget_stranded`] where it is not there.
    pub fn wanted_back(&self, limit: usize) -> Vec<EntryId> {
        let mut ids: Vec<EntryId> = Vec::new();
        for (pool, tenant, entries) in self.stranded.groups() {
            if self.is_in_force(pool, tenant) {
                ids.extend(entries.keys().take(limit));
            }
        }
        ids.sort_unstable();
        ids.truncate(limit);
        ids
    }

    /// A stranded entry is not there any more. How many recipients it had, if it was known.
    pub fn forget_stranded(&mut self, id: EntryId) -> Option<u32> {
        self.stranded.remove(id)
    }

    /// What would strand under `config`: entries and recipients by pool and tenant, those that are stranded already left
    /// out.
    pub fn would_strand(&self, config: &Config) -> BTreeMap<(PoolName, TenantName), (u64, u64)> {
        let mut counts: HashMap<(u32, u32), (u64, u64)> = HashMap::new();
        let is_kept = |known: &InForce, pool: usize, tenant: usize| known.has_pool(pool) && known.has_tenant(tenant);
        let after = InForce::of(config, &self.scheduler);
        for (_, waiting) in self.index.iter() {
            if !is_kept(&after, waiting.pool.index(), waiting.tenant.index()) {
                let count = counts.entry((waiting.pool.0, waiting.tenant.0)).or_default();
                *count = (count.0 + 1, count.1 + u64::from(waiting.recipients));
            }
        }
        let name = |((pool, tenant), count)| {
            let pool = self.scheduler.pool_name(crate::scheduler::PoolId(pool)).clone();
            let tenant = self.scheduler.tenant_name(crate::scheduler::TenantId(tenant)).clone();
            ((pool, tenant), count)
        };
        counts.into_iter().map(name).collect()
    }

    /// Notes an entry whose pool or tenant is not there.
    pub(super) fn strand(&mut self, entry: &Entry) {
        self.drop_entry(entry.id);
        self.stranded.add(entry.id, &entry.pool, &entry.tenant, entry.recipients.len() as u32);
    }

    /// An entry is about to wait again that was being worked on: whether its pool or tenant is gone meanwhile. It is
    /// stranded then.
    pub(super) fn strand_if_gone(&mut self, id: EntryId) -> bool {
        let Some(waiting) = self.index.get(id) else { return false };
        let (pool, tenant, recipients) = (waiting.pool, waiting.tenant, waiting.recipients);
        if self.in_force.has_pool(pool.index()) && self.in_force.has_tenant(tenant.index()) {
            return false;
        }
        let (pool, tenant) = (self.scheduler.pool_name(pool).clone(), self.scheduler.tenant_name(tenant).clone());
        self.drop_entry(id);
        self.stranded.add(id, &pool, &tenant, recipients);
        true
    }

    /// As [`Core::enqueue`] for one of [`Core::wanted_back`]; false where it is not stranded any more.
    pub fn bring_back(&mut self, entry: &Entry, now: Now) -> bool {
        self.stranded.places.contains_key(&entry.id) && self.enqueue(entry, now)
    }

    pub(super) fn no_longer_stranded(&mut self, id: EntryId) {
        self.stranded.remove(id);
    }
}
