//! What people should know, put together. Pure.
//!
//! A restart or a new binding can move the cover of ten thousand domains within minutes. A line for each would bury
//! everything else, so that what happens in one go is told in one: how many, and the first few by name. `/api/v1/spf` has
//! them all.

use std::collections::BTreeSet;

use crate::message::{BindingName, Domain, PoolName, TenantName};

/// Domains that are told by name.
pub const NAMED_MAX: usize = 5;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Bindings are proven not to be covered (any more).
    Lost,
    /// Bindings that were proven not to be covered are not barred any more.
    Back,
    /// No binding of a tenant's pool is covered, and some are proven not to be: mail goes uncovered.
    Uncovered,
    /// There is no room for more domains of a tenant: they are not evaluated.
    PassedOver,
}

/// Something for people: what happened to how many domains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What.
    pub what: Move,
    /// How many.
    pub count: usize,
    /// The first of them.
    pub domains: Vec<Domain>,
    /// Whose mail it is.
    pub tenants: BTreeSet<TenantName>,
    /// Which pools, where mail goes uncovered.
    pub pools: BTreeSet<PoolName>,
    /// Which bindings.
    pub bindings: BTreeSet<BindingName>,
    /// Why, in words, of the first.
    pub why: String,
}

/// What has been put together so far.
#[derive(Debug, Default)]
pub struct Tally {
    /// With the domain that was added last.
    notes: Vec<(Note, Option<Domain>)>,
}

impl Tally {
    /// It happened to one more domain; what to change of the note is up to `add`.
    pub fn add(&mut self, what: Move, domain: &Domain, add: impl FnOnce(&mut Note)) {
        let place = match self.notes.iter().position(|(note, _)| note.what == what) {
            Some(place) => place,
            None => {
                self.notes.push((Note::new(what), None));
                self.notes.len() - 1
            }
        };
        let (note, last) = &mut self.notes[place];
        // One domain may concern several pools.
        if last.as_ref() != Some(domain) {
            *last = Some(domain.clone());
            note.count += 1;
            if note.domains.len() < NAMED_MAX {
                note.domains.push(domain.clone());
            }
        }
        add(note);
    }

    /// Everything, at most one of each [`Move`].
    pub fn take(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes).into_iter().map(|(note, _)| note).collect()
    }
}

impl Note {
    fn new(what: Move) -> Self {
        Self {
            what,
            count: 0,
            domains: Vec::new(),
            tenants: BTreeSet::new(),
            pools: BTreeSet::new(),
            bindings: BTreeSet::new(),
            why: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_domains_are_one_note() {
        let mut tally = Tally::default();
        for n in 0..10_000 {
            let domain = format!("d{n}.example").parse().unwrap();
            for pool in ["p", "q"] {
                tally.add(Move::Uncovered, &domain, |note| note.pools.extend([pool.into()]));
            }
        }
        let notes = tally.take();
        assert_eq!((notes.len(), notes[0].count, notes[0].domains.len()), (1, 10_000, NAMED_MAX));
        assert_eq!(notes[0].pools.len(), 2);
        assert!(tally.take().is_empty());
    }
}
