//! Mail on disk that cannot wait in the queue, since its pool or tenant is not configured (any more).
//!
//! It is never sent from "some" IP and is known by little: enough to list it, and to find it for the operator's acts. Moving
//! it to a pool that is configured is its rescue, and so is a configuration that names its pool and tenant again:
//! [`Core::wanted_back`] then tells which are to be read, and [`Core::enqueue`] takes them in as if they had just come. Until
//! then nothing is tried for it, and its lifetime does not end it: a slip of the pen in the file bounces nobody's mail.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;

use super::Core;
use crate::clock::{Now, Wall};
use crate::config::Config;
use crate::message::{Domain, Entry, EntryId, MessageId, PoolName, TenantName};

/// One entry.
#[derive(Clone, Debug)]
pub struct Stranded {
    /// Its message.
    pub message: MessageId,
    /// Whose.
    pub tenant: TenantName,
    /// The pool it was to leave from.
    pub pool: PoolName,
    /// The recipients' domain.
    pub domain: Domain,
    /// When it was accepted.
    pub arrived: Wall,
    /// Recipients that wait.
    pub recipients: u32,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Strand {
    entries: BTreeMap<EntryId, Stranded>,
    groups: HashMap<(PoolName, TenantName), BTreeSet<EntryId>>,
    recipients: u64,
    /// So that the names of a hundred thousand entries are stored once.
    tenants: HashSet<TenantName>,
    pools: HashSet<PoolName>,
}

fn shared<T: Clone + Eq + std::hash::Hash>(names: &mut HashSet<T>, name: &T) -> T {
    if let Some(known) = names.get(name) {
        return known.clone();
    }
    names.insert(name.clone());
    name.clone()
}

impl Strand {
    fn add(&mut self, id: EntryId, mut stranded: Stranded) {
        self.remove(id);
        stranded.tenant = shared(&mut self.tenants, &stranded.tenant);
        stranded.pool = shared(&mut self.pools, &stranded.pool);
        self.recipients += u64::from(stranded.recipients);
        self.groups.entry((stranded.pool.clone(), stranded.tenant.clone())).or_default().insert(id);
        self.entries.insert(id, stranded);
    }

    pub(super) fn remove(&mut self, id: EntryId) -> Option<Stranded> {
        let gone = self.entries.remove(&id)?;
        self.recipients -= u64::from(gone.recipients);
        let group = (gone.pool.clone(), gone.tenant.clone());
        if let Some(entries) = self.groups.get_mut(&group) {
            entries.remove(&id);
            if entries.is_empty() {
                self.groups.remove(&group);
            }
        }
        if self.entries.is_empty() {
            *self = Self::default();
        }
        Some(gone)
    }

    pub(super) fn get(&self, id: EntryId) -> Option<&Stranded> {
        self.entries.get(&id)
    }

    /// Up to `count` of them behind `after`, oldest first.
    pub(super) fn slice(&self, after: Option<EntryId>, count: usize) -> impl Iterator<Item = (EntryId, &Stranded)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries.range((from, Bound::Unbounded)).take(count).map(|(id, stranded)| (*id, stranded))
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
    /// Recipients of mail that waits for a configuration which names its pool and tenant.
    pub fn stranded_recipients(&self) -> u64 {
        self.stranded.recipients
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
        for ((pool, tenant), entries) in &self.stranded.groups {
            if self.is_in_force(pool, tenant) {
                // What an operator is doing something to comes back by itself when that is done.
                ids.extend(entries.iter().filter(|id| !self.is_claimed(**id)).take(limit));
            }
        }
        ids.sort_unstable();
        ids.truncate(limit);
        ids
    }

    /// A stranded entry is not there any more. How many recipients it had, if it was known.
    pub fn forget_stranded(&mut self, id: EntryId) -> Option<u32> {
        self.stranded.remove(id).map(|gone| gone.recipients)
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
        let stranded = Stranded {
            message: entry.message,
            tenant: entry.tenant.clone(),
            pool: entry.pool.clone(),
            domain: entry.domain.clone(),
            arrived: entry.arrived,
            recipients: entry.recipients.len() as u32,
        };
        self.stranded.add(entry.id, stranded);
        self.follows(entry.id);
    }

    /// An entry is about to wait again that was being worked on: whether its pool or tenant is gone meanwhile. It is
    /// stranded then.
    pub(super) fn strand_if_gone(&mut self, id: EntryId) -> bool {
        let Some(waiting) = self.index.get(id) else { return false };
        let (pool, tenant) = (waiting.pool, waiting.tenant);
        if self.in_force.has_pool(pool.index()) && self.in_force.has_tenant(tenant.index()) {
            return false;
        }
        let stranded = Stranded {
            message: waiting.message,
            tenant: self.scheduler.tenant_name(tenant).clone(),
            pool: self.scheduler.pool_name(pool).clone(),
            domain: self.domains[waiting.domain].0.clone(),
            arrived: waiting.arrived,
            recipients: waiting.recipients,
        };
        self.drop_entry(id);
        self.stranded.add(id, stranded);
        self.follows(id);
        true
    }

    /// As [`Core::enqueue`] for one of [`Core::wanted_back`]; false where it is not stranded any more.
    pub fn bring_back(&mut self, entry: &Entry, now: Now) -> bool {
        let may_come = self.stranded.get(entry.id).is_some() && !self.is_claimed(entry.id);
        may_come && self.enqueue(entry, now)
    }

    pub(super) fn no_longer_stranded(&mut self, id: EntryId) {
        self.stranded.remove(id);
    }
}
