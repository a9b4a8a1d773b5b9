//! The replies in their orders: which is counted with which, and which goes when another comes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{Hash, Hasher};

use siphasher::sip::SipHasher13;

use super::{FACTS, UnmatchedReply};
use crate::store::{Batch, Op};

/// A provider, or a site's domain, holds at most one part in so many.
const SHARE: usize = 4;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    provider: String,
    code: u16,
    enhanced: Option<String>,
    template: String,
}

impl Key {
    fn of(reply: &UnmatchedReply) -> Self {
        Self {
            provider: reply.provider.clone(),
            code: reply.code,
            enhanced: reply.enhanced.clone(),
            template: reply.template.clone(),
        }
    }

    fn fact(&self) -> String {
        let mut hasher = SipHasher13::new();
        self.hash(&mut hasher);
        format!("{FACTS}{:016x}", hasher.finish())
    }
}

#[derive(Debug)]
pub(super) struct Slot {
    reply: UnmatchedReply,
    /// Place in the order of last sight.
    tick: u64,
    fact: String,
    /// Whether the fact has ever been written.
    on_disk: bool,
}

#[derive(Debug)]
pub(super) struct Log {
    pub(super) kept: usize,
    pub(super) slots: HashMap<Key, Slot>,
    /// By last sight, the oldest first.
    pub(super) order: BTreeMap<u64, Key>,
    /// The same for each provider or domain of sites.
    pub(super) owners: HashMap<String, BTreeSet<u64>>,
    tick: u64,
    pub(super) changed: HashSet<Key>,
    pub(super) gone: HashSet<String>,
}

impl Log {
    pub(super) fn new(kept: usize) -> Self {
        Self {
            kept,
            slots: HashMap::new(),
            order: BTreeMap::new(),
            owners: HashMap::new(),
            tick: 0,
            changed: HashSet::new(),
            gone: HashSet::new(),
        }
    }

    /// What an earlier run wrote, and in words which facts cannot be read; those are removed with the next changes.
    pub(super) fn read(kept: usize, facts: Vec<(String, Vec<u8>)>) -> (Self, Vec<String>) {
        let (mut log, mut problems) = (Self::new(kept), Vec::new());
        let mut read: Vec<(String, UnmatchedReply)> = Vec::new();
        for (name, value) in facts {
            match serde_json::from_slice(&value) {
                Ok(reply) => read.push((name, reply)),
                Err(error) => {
                    problems.push(format!("{name}: {error}"));
                    log.gone.insert(name);
                }
            }
        }
        read.sort_by_key(|(_, reply)| reply.last_seen);
        for (name, reply) in read {
            log.see(reply, Some(name));
        }
        (log, problems)
    }

    /// The `limit` most frequent, and how many there are in all.
    pub(super) fn most(&self, limit: usize) -> (Vec<UnmatchedReply>, usize) {
        let mut all: Vec<&Slot> = self.slots.values().collect();
        all.sort_by_key(|slot| std::cmp::Reverse((slot.reply.count, slot.tick)));
        (all.iter().take(limit).map(|slot| slot.reply.clone()).collect(), all.len())
    }

    /// What has changed since the last call.
    pub(super) fn changes(&mut self) -> Batch {
        let (gone, changed) = (std::mem::take(&mut self.gone), std::mem::take(&mut self.changed));
        let mut batch: Batch = gone.into_iter().map(Op::RemoveFact).collect();
        for key in &changed {
            if let Some(slot) = self.slots.get_mut(key) {
                slot.on_disk = true;
                // Texts and numbers always serialise. Behind the removals: one that went and came again stays.
                batch.push(Op::PutFact(slot.fact.clone(), serde_json::to_vec(&slot.reply).unwrap_or_default()));
            }
        }
        batch
    }

    /// Takes changes back that did not get to the disk.
    pub(super) fn not_written(&mut self, changes: &Batch) {
        let facts: HashMap<String, Key> =
            self.slots.iter().map(|(key, slot)| (slot.fact.clone(), key.clone())).collect();
        for op in changes {
            match op {
                Op::PutFact(fact, _) => self.changed.extend(facts.get(fact).cloned()),
                Op::RemoveFact(fact) if !facts.contains_key(fact) => drop(self.gone.insert(fact.clone())),
                _ => {}
            }
        }
    }

    /// Counts a reply, as a new one or again, and lets go what is one too many for it.
    ///
    /// `fact`: the name under which it is on disk as it is.
    pub(super) fn see(&mut self, reply: UnmatchedReply, fact: Option<String>) {
        let key = Key::of(&reply);
        let on_disk = fact.is_some();
        let slot = match self.take(&key) {
            Some(known) => {
                self.gone.extend(fact.filter(|fact| *fact != known.fact));
                Slot { reply: known.reply.seen_again(reply), ..known }
            }
            None => Slot { reply, tick: 0, fact: fact.unwrap_or_else(|| key.fact()), on_disk },
        };
        if !on_disk {
            self.changed.insert(key.clone());
        }
        self.place(key, slot);
        if let Some(key) = self.one_too_many()
            && let Some(slot) = self.take(&key)
            && slot.on_disk
        {
            self.gone.insert(slot.fact);
        }
    }

    /// Puts a reply last in all orders.
    fn place(&mut self, key: Key, slot: Slot) {
        self.tick += 1;
        self.order.insert(self.tick, key.clone());
        self.owners.entry(owner(&slot.reply.destination).to_owned()).or_default().insert(self.tick);
        self.slots.insert(key, Slot { tick: self.tick, ..slot });
    }

    /// What has to go after the last one came: of its owner's if that has more than its share, else of all.
    fn one_too_many(&self) -> Option<Key> {
        let last = self.slots.get(self.order.get(&self.tick)?)?;
        let own = self.owners.get(owner(&last.reply.destination))?;
        let oldest = if own.len() > (self.kept / SHARE).max(1) {
            own.first()
        } else {
            self.order.keys().next().filter(|_| self.slots.len() > self.kept)
        };
        self.order.get(oldest?).cloned()
    }

    /// Takes a reply out of all orders.
    fn take(&mut self, key: &Key) -> Option<Slot> {
        let slot = self.slots.remove(key)?;
        self.order.remove(&slot.tick);
        self.changed.remove(key);
        let owner = owner(&slot.reply.destination);
        if let Some(own) = self.owners.get_mut(owner) {
            own.remove(&slot.tick);
            if own.is_empty() {
                self.owners.remove(owner);
            }
        }
        Some(slot)
    }
}

/// Whose share a destination's replies are counted in: the provider, or the domain its hosts lie in. Where that cannot
/// be told (hosts of several domains, bare addresses) the site itself.
pub(super) fn owner(destination: &str) -> &str {
    let Some(site) = destination.strip_prefix("site:") else { return destination };
    let mut dots = site.rmatch_indices('.').map(|(at, _)| at);
    let (Some(top), second) = (dots.next(), dots.next()) else { return destination };
    let is_label = |label: &str| label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !is_label(&site[top + 1..]) || !site[top + 1..].starts_with(|c: char| c.is_ascii_alphabetic()) {
        return destination;
    }
    // `co.uk`, `com.br`: a third label tells whose it is.
    let short = second.is_some_and(|second| site.len() - top == 3 && top - second <= 4);
    let start = if short { dots.next() } else { second };
    let domain = start.map_or(site, |at| &site[at + 1..]);
    if domain.split('.').all(is_label) { domain } else { destination }
}
