//! What becomes of all that is known when the configuration changes.
//!
//! What is known of an address in a list stays as long as both stay: confirmed listings, what waits for its confirmation, the
//! list's health. Another public address begins anew, and a list that is gone says nothing any more, so that
//! [`Watch::evidence`] tells the end of what it had said. Where a list is asked elsewhere or tested by something else, its
//! health begins anew, as after a restart, and so does what was not confirmed; what was, stands until it says otherwise.
//! Other weights and meanings of codes hold at once: the codes of each listing are known.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::clock::Wall;
use crate::config::{self, ZoneKind};
use crate::message::{BindingName, ZoneName};
use crate::monitor::subject::{self, Subject};
use crate::monitor::zone::ZoneState;
use crate::reputation::evidence::Listing;

use super::cell::Known;
use super::own::own;
use super::{Watch, Watched};

impl Watch {
    /// The rules and bindings are these from now on; `has_source` says of which lists the same is asked of the same servers
    /// as before. Call [`Watch::set_domains`] afterwards.
    pub fn follow(
        &mut self,
        rules: &config::Monitor,
        bindings: &[(BindingName, IpAddr)],
        has_source: impl Fn(&ZoneName) -> bool,
        now: Wall,
    ) {
        let before = std::mem::replace(&mut self.addresses, subject::addresses(bindings));
        // What was the second address of a binding may be its first now.
        let known_as = |(subject, address): (&Subject, &IpAddr)| {
            let mut old = own(&before, subject.binding()?);
            let old = old.find(|(_, old)| old.to_canonical() == address.to_canonical())?;
            Some((old.0.clone(), subject.clone()))
        };
        let stays: BTreeMap<Subject, Subject> = self.addresses.iter().filter_map(known_as).collect();
        let mut known: BTreeMap<ZoneName, Watched> =
            std::mem::take(&mut self.zones).into_iter().map(|zone| (zone.name.clone(), zone)).collect();
        let zones = rules.zones.iter().map(|zone| {
            let old = known.remove(&zone.name).filter(|old| old.rules.kind == zone.kind);
            let mut watched = old.unwrap_or_else(|| Watched::new(zone, now));
            watched.follow(zone, &stays, has_source(&zone.name), now);
            watched.ask_about(&self.addresses);
            watched
        });
        self.zones = zones.collect();
        self.rules = rules.clone();
        // Of whoever is gone reputation remembers what it was told, for the day it comes back.
        self.told.retain(|binding, _| own(&self.addresses, binding).next().is_some());
        let same: BTreeSet<&Subject> = stays.values().collect();
        let has_all = |binding: &BindingName| {
            let mut now = own(&self.addresses, binding).peekable();
            now.peek().is_some() && now.all(|(subject, _)| same.contains(subject))
        };
        self.reversed.retain(has_all);
    }

    /// Reputation remembers this of a binding that has another address now: it is to hear that it holds no more.
    pub fn disown(&mut self, binding: &BindingName, listed: &[Listing]) {
        self.told.insert(binding.clone(), listed.to_vec());
    }

    /// Whether the list is asked about this subject.
    pub fn is_asked(&self, zone: usize, subject: &Subject) -> bool {
        self.zones.get(zone).is_some_and(|zone| zone.cells.contains_key(subject))
    }
}

impl Watched {
    /// A list of which nothing is known, and that is asked about nobody.
    pub(super) fn new(zone: &config::Zone, now: Wall) -> Self {
        Self {
            name: zone.name.clone(),
            rules: zone.clone(),
            state: ZoneState::new(now),
            cells: BTreeMap::new(),
            kept: BTreeMap::new(),
            strange: Vec::new(),
            networks: String::new(),
            probes: Vec::new(),
            second_silent: 0,
            second_mute: false,
        }
    }

    /// It is asked about those of `addresses` that it knows.
    pub(super) fn ask_about(&mut self, addresses: &BTreeMap<Subject, IpAddr>) {
        if self.rules.kind != ZoneKind::Address {
            return;
        }
        let families = self.rules.families;
        let asked = addresses.iter().filter(|(_, address)| families.hold(address.to_canonical()));
        let asked: BTreeSet<Subject> = asked.map(|(subject, _)| subject.clone()).collect();
        self.cells.retain(|subject, _| asked.contains(subject));
        for subject in asked {
            self.cells.entry(subject).or_default();
        }
    }

    /// `stays`: as what each address that stays was known before, and is from now on.
    fn follow(&mut self, zone: &config::Zone, stays: &BTreeMap<Subject, Subject>, has_source: bool, now: Wall) {
        let reads_otherwise = (self.rules.weight, &self.rules.codes) != (zone.weight, &zone.codes);
        self.rules = zone.clone();
        self.kept.retain(|binding, _| own(stays, binding).next().is_some());
        let cells = std::mem::take(&mut self.cells).into_iter().filter_map(|(subject, cell)| match subject {
            Subject::Binding(_) | Subject::Second(..) => Some((stays.get(&subject)?.clone(), cell)),
            Subject::Domain(_) => Some((subject, cell)),
        });
        self.cells = cells.collect();
        if !has_source {
            self.state = ZoneState::new(now);
            self.probes.clear();
            self.networks.clear();
            self.cells.values_mut().for_each(|cell| cell.pending = None);
        }
        if reads_otherwise {
            self.strange.clear();
            self.cells.values_mut().for_each(|cell| cell.reread(zone));
            self.kept.retain(|_, (listing, _)| match Known::remembered(listing).reread(zone) {
                Some(Known::Listed(new) | Known::Good(new)) => {
                    *listing = new;
                    true
                }
                _ => false,
            });
        }
    }
}
