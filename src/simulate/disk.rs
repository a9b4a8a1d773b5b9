//! What survives a crash: entries, grants and facts, and nothing else.
//!
//! Beside each entry stands what only the world knows of it (who sent it, where it goes, who of it is done): the notes of
//! an onlooker, which no crash of the program erases.

use std::collections::{BTreeMap, HashMap};

use smallvec::SmallVec;

use super::internet::SiteId;
use super::scenario::Quality;
use crate::clock::Wall;
use crate::message::{BindingName, Entry, EntryId};
use crate::reputation::Fact;
use crate::scheduler::{GrantFact, GrantRequest};

/// An entry on disk.
#[derive(Debug)]
pub struct Stored {
    /// As the program wrote it.
    pub entry: Entry,
    /// What the onlooker knows.
    pub seen: Seen,
}

/// What the onlooker knows of an entry.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Where it goes.
    pub site: SiteId,
    /// How good it is.
    pub quality: Quality,
    /// Number of its tenant.
    pub tenant: u32,
    /// Number of its pool.
    pub pool: u32,
    /// A report of ours about mail that failed.
    pub is_report: bool,
    /// Number of its first recipient; the others follow.
    pub first: u32,
    /// Recipients whose fate is decided: a bit each.
    pub decided: SmallVec<[u64; 1]>,
    /// When it may be given up, as it was accepted.
    pub expires: Wall,
    /// An attempt is on the wire.
    pub in_flight: bool,
    /// Attempts that reached a receiver or tried to.
    pub attempts: u32,
    /// Bindings it was refused over in a way that blamed their address, since one was last taken; each with the moment.
    pub refused_over: SmallVec<[(u32, Wall); 2]>,
    /// When that was last.
    pub refused_at: Wall,
}

impl Seen {
    /// Of new mail. Pool and lifetime are filled in when it is accepted.
    pub fn new(site: SiteId, quality: Quality, tenant: u32, first: u32) -> Self {
        Self {
            site,
            quality,
            tenant,
            pool: 0,
            is_report: false,
            first,
            decided: SmallVec::new(),
            expires: Wall::default(),
            in_flight: false,
            attempts: 0,
            refused_over: SmallVec::new(),
            refused_at: Wall::default(),
        }
    }

    /// Marks a recipient as done; false when it was done before.
    pub fn decide(&mut self, number: u32) -> bool {
        let position = number.wrapping_sub(self.first);
        let (word, bit) = ((position / 64) as usize, 1u64 << (position % 64));
        if self.decided.len() <= word {
            self.decided.resize(word + 1, 0);
        }
        let was = self.decided[word] & bit != 0;
        self.decided[word] |= bit;
        !was
    }
}

/// What is on disk.
#[derive(Debug, Default)]
pub struct Disk {
    entries: HashMap<EntryId, Stored>,
    grants: BTreeMap<String, GrantFact>,
    facts: BTreeMap<String, Vec<u8>>,
    /// Recipients on disk: of mail, and of our own reports.
    recipients: [u64; 2],
}

impl Disk {
    /// Writes a new entry down.
    pub fn put(&mut self, stored: Stored) {
        self.recipients[usize::from(stored.seen.is_report)] += stored.entry.recipients.len() as u64;
        self.entries.insert(stored.entry.id, stored);
    }

    /// An entry.
    pub fn get_mut(&mut self, id: EntryId) -> Option<&mut Stored> {
        self.entries.get_mut(&id)
    }

    /// An entry to look at.
    pub fn get(&self, id: EntryId) -> Option<&Stored> {
        self.entries.get(&id)
    }

    /// So many recipients of an entry were taken off it.
    pub fn shrunk(&mut self, is_report: bool, recipients: u64) {
        let count = &mut self.recipients[usize::from(is_report)];
        *count = count.saturating_sub(recipients);
    }

    /// Removes an entry.
    pub fn remove(&mut self, id: EntryId) -> Option<Stored> {
        let stored = self.entries.remove(&id)?;
        self.shrunk(stored.seen.is_report, stored.entry.recipients.len() as u64);
        Some(stored)
    }

    /// Recipients that wait: of mail, and of reports.
    pub fn waiting(&self) -> [u64; 2] {
        self.recipients
    }

    /// All entries, in no order.
    pub fn entries(&self) -> impl Iterator<Item = &Stored> {
        self.entries.values()
    }

    /// The ids of all entries in order, as recovery reads them.
    pub fn ids(&self) -> Vec<EntryId> {
        let mut ids: Vec<EntryId> = self.entries.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// A grant is written.
    pub fn grant(&mut self, grant: &GrantRequest) {
        self.grants.insert(grant.fact_key(), grant.clone());
    }

    /// All grants, for a restart.
    pub fn grants(&self) -> Vec<GrantFact> {
        self.grants.values().cloned().collect()
    }

    /// Facts of health are written or forgotten.
    pub fn note(&mut self, facts: Vec<Fact>) {
        for fact in facts {
            match fact {
                Fact::Put(key, value) => drop(self.facts.insert(key, value)),
                Fact::Remove(key) => drop(self.facts.remove(&key)),
            }
        }
    }

    /// All facts, for a restart.
    pub fn facts(&self) -> Vec<(String, Vec<u8>)> {
        self.facts.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

/// A binding's name by its number.
pub(super) fn named(names: &[BindingName], binding: u32) -> &str {
    names.get(binding as usize).map_or("?", BindingName::as_str)
}
