//! Mail on disk that cannot wait in the queue, since its pool or tenant is not configured.
//!
//! It is known by little: enough to list it, and to find it for the operator's acts. Moving it to a pool that is configured
//! is its rescue, and so is a configuration that names its pool again. Until then nothing is tried for it, and its
//! lifetime does not end it: a slip of the pen in the file bounces nobody's mail.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;

use crate::clock::Wall;
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
    total: u64,
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
    pub(super) fn add(&mut self, entry: &Entry) {
        let stranded = Stranded {
            message: entry.message,
            tenant: entry.tenant.clone(),
            pool: entry.pool.clone(),
            domain: entry.domain.clone(),
            arrived: entry.arrived,
            recipients: entry.recipients.len() as u32,
        };
        self.put(entry.id, stranded);
    }

    pub(super) fn put(&mut self, id: EntryId, mut stranded: Stranded) {
        self.remove(id);
        stranded.tenant = shared(&mut self.tenants, &stranded.tenant);
        stranded.pool = shared(&mut self.pools, &stranded.pool);
        self.total += u64::from(stranded.recipients);
        self.entries.insert(id, stranded);
    }

    pub(super) fn remove(&mut self, id: EntryId) -> Option<Stranded> {
        let gone = self.entries.remove(&id)?;
        self.total -= u64::from(gone.recipients);
        if self.entries.is_empty() {
            *self = Self::default();
        }
        Some(gone)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, id: EntryId) -> Option<&Stranded> {
        self.entries.get(&id)
    }

    /// Up to `count` of them behind `after`, oldest first.
    pub(super) fn slice(&self, after: Option<EntryId>, count: usize) -> impl Iterator<Item = (EntryId, &Stranded)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries.range((from, Bound::Unbounded)).take(count).map(|(id, stranded)| (*id, stranded))
    }

    pub(super) fn recipients(&self) -> u64 {
        self.total
    }
}
