//! What is confirmed over time: the listings of each binding, and of each domain, in each zone.
//!
//! One answer is not a listing. A state is confirmed by `confirmations` conclusive answers in a row, `confirm_after`
//! apart; what is inconclusive neither adds to the row nor breaks it. A reply of a receiver that names just this list
//! counts as one of them, never as all; a second resolver, where there is one, must agree once. Only looks in which the
//! zone's own probes were good count, and a zone that newly lists more than `max(3, blast_radius × addresses)` of our
//! addresses within the time of a round, or a sentinel, is distrusted instead ([`blast`] has the exception: networks).
//!
//! What a zone confirmed stays when it falls silent, with its age shown, and is dropped after [`STALE_AFTER`]: no list
//! may keep a binding out by being gone. What a zone confirmed is void at once when it turns out to lie.
//!
//! [`Watch::evidence`] tells a binding's confirmed listings over all zones whenever they differ from what reputation
//! last heard (or, after a restart, remembers). Each zone weighs once, by the worst it says of the binding's address or of
//! the domains it goes by; [`weight`] says what of that adds up.

mod blast;
mod cell;
#[cfg(test)]
mod doubt_tests;
#[cfg(test)]
mod family_tests;
mod follow;
#[cfg(test)]
mod follow_tests;
mod note;
mod own;
mod snapshot;
mod telling;
#[cfg(test)]
mod tests;
mod weight;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::clock::Wall;
use crate::config::{self, ZoneKind};
use crate::message::{BindingName, ZoneName};
use crate::reputation::evidence::Listing;

use super::answer::AnswerClass;
use super::subject::{self, Domains, Subject, Users, bounded};
use super::zone::{Probes, ZoneHealth, ZoneState, judge};
use blast::Blast;
use cell::{Cell, Change, Known, Look};
pub use note::Note;
use own::{own, own_mut};
pub use snapshot::{
    AnswersSnapshot, DomainSnapshot, ListingSnapshot, ProbeSnapshot, ReverseSnapshot, Snapshot, ZoneSnapshot,
};

/// Age after which a listing that no healthy zone confirms any more is dropped.
pub const STALE_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Unknown codes remembered per zone, so that each is noted once.
const STRANGE_MAX: usize = 64;

/// What one look at a zone brought.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Answers to the probes.
    pub probes: Probes,
    /// About our addresses or domains: all, or those that were to be asked.
    pub answers: Vec<(Subject, AnswerClass)>,
    /// What the second resolver said of new listings.
    pub seconds: Vec<(Subject, AnswerClass)>,
    /// About addresses that must not be listed.
    pub sentinels: Vec<(IpAddr, AnswerClass)>,
    /// What the zone says of the reason of listings; safe to show.
    pub texts: Vec<(Subject, String)>,
    /// It was a round, not a look at somebody in between.
    pub whole: bool,
}

impl Seen {
    /// A round over addresses of bindings.
    pub fn round(probes: Probes, answers: impl IntoIterator<Item = (BindingName, AnswerClass)>) -> Self {
        let answers = answers.into_iter().map(|(binding, answer)| (Subject::Binding(binding), answer)).collect();
        Self { probes, answers, seconds: Vec::new(), sentinels: Vec::new(), texts: Vec::new(), whole: true }
    }
}

#[derive(Debug)]
struct Watched {
    name: ZoneName,
    rules: config::Zone,
    state: ZoneState,
    cells: BTreeMap<Subject, Cell>,
    /// Remembered from before a restart; of which domain is not known, so it stands until all of the binding's are.
    kept: BTreeMap<BindingName, (Listing, Wall)>,
    strange: Vec<Ipv4Addr>,
    /// Networks that were noted as newly listed.
    networks: String,
    probes: Vec<(&'static str, bool)>,
    /// Answers that the second resolver had nothing to say of, since the start.
    second_silent: u64,
    /// It had nothing to say in the last look at which it was asked.
    second_mute: bool,
}

/// All zones × bindings and domains.
#[derive(Debug)]
pub struct Watch {
    rules: config::Monitor,
    zones: Vec<Watched>,
    addresses: BTreeMap<Subject, IpAddr>,
    domains: Domains,
    /// The domains that each binding goes by: `domains`, the other way round.
    domains_of: BTreeMap<BindingName, Vec<String>>,
    /// Last told to reputation; a binding is missing until something is known about it.
    told: BTreeMap<BindingName, Vec<Listing>>,
    notes: Vec<Note>,
    /// Bindings whose reverse DNS was seen for certain: all of their domains are known.
    reversed: BTreeSet<BindingName>,
    /// Domains that there is no room for.
    left_out: usize,
    /// Why the resolver that lists share is not to be believed.
    distrust: Option<&'static str>,
    /// The second resolver does not count.
    no_second: bool,
}

impl Watch {
    /// Nothing known. Zones are numbered as in `rules.zones`. A binding of two families is named twice, once with each
    /// address.
    pub fn new(rules: &config::Monitor, bindings: &[(BindingName, IpAddr)], now: Wall) -> Self {
        let addresses = subject::addresses(bindings);
        let watched = |zone: &config::Zone| {
            let mut watched = Watched::new(zone, now);
            watched.ask_about(&addresses);
            watched
        };
        Self {
            rules: rules.clone(),
            zones: rules.zones.iter().map(watched).collect(),
            addresses,
            domains: Domains::new(),
            domains_of: BTreeMap::new(),
            told: BTreeMap::new(),
            notes: Vec::new(),
            reversed: BTreeSet::new(),
            left_out: 0,
            distrust: None,
            no_second: false,
        }
    }

    /// Takes over what reputation remembers from before the restart: it stands until its zones say otherwise. Listings
    /// of zones that are no longer configured are forgotten.
    pub fn restore(&mut self, binding: &BindingName, listed: &[Listing], now: Wall) {
        self.told.insert(binding.clone(), listed.to_vec());
        for listing in listed {
            let Some(zone) = self.zones.iter_mut().find(|z| z.name == listing.zone) else { continue };
            if zone.rules.kind == ZoneKind::Domain {
                zone.kept.insert(binding.clone(), (listing.clone(), now));
                continue;
            }
            // Where it is not said of which address it is, it was of the only one, which may be either by now.
            let (listing, about) = telling::about(listing);
            for (subject, cell) in own_mut(&mut zone.cells, binding) {
                let is_meant = about.is_none() || self.addresses.get(subject).copied() == about;
                if is_meant {
                    *cell = Cell::remembered(&listing, now);
                }
            }
        }
    }

    /// Sets the domains to ask about, as many as there is room for. What is known of those that stay, stays.
    pub fn set_domains(&mut self, domains: Domains) {
        let (domains, left_out) = bounded(domains);
        let matters = self.zones.iter().any(|zone| zone.rules.kind == ZoneKind::Domain);
        if std::mem::replace(&mut self.left_out, left_out) != left_out && left_out > 0 && matters {
            self.notes.push(Note::Domains { asked: domains.len(), left_out });
        }
        for zone in self.zones.iter_mut().filter(|zone| zone.rules.kind == ZoneKind::Domain) {
            zone.cells.retain(|subject, _| matches!(subject, Subject::Domain(domain) if domains.contains_key(domain)));
            for domain in domains.keys() {
                zone.cells.entry(Subject::Domain(domain.clone())).or_default();
            }
        }
        self.domains_of.clear();
        for (domain, users) in &domains {
            for binding in &users.bindings {
                self.domains_of.entry(binding.clone()).or_default().push(domain.clone());
            }
        }
        self.domains = domains;
    }

    /// The reverse DNS of the binding was seen for certain, so that its PTR names are among the domains if it has some.
    /// Until then a remembered listing of one of its domains stands, for the listed one may be the one not known yet.
    pub fn reverse_seen(&mut self, binding: &BindingName) {
        if !self.reversed.contains(binding) {
            self.reversed.insert(binding.clone());
        }
    }

    /// The domains that a binding goes by, in order.
    pub fn domains_of(&self, binding: &BindingName) -> &[String] {
        self.domains_of.get(binding).map_or(&[], Vec::as_slice)
    }

    /// The domains that are asked about.
    pub fn domains(&self) -> &Domains {
        &self.domains
    }

    /// A receiver's reply about the binding named just this zone.
    pub fn named(&mut self, zone: usize, binding: &BindingName, now: Wall) {
        let Some(watched) = self.zones.get_mut(zone) else { return };
        own_mut(&mut watched.cells, binding).for_each(|(_, cell)| cell.named = Some(now));
    }

    /// Those of the binding's addresses that the zone is asked about.
    pub fn asked_of(&self, zone: usize, binding: &BindingName) -> impl Iterator<Item = &Subject> {
        self.zones.get(zone).into_iter().flat_map(move |zone| own(&zone.cells, binding).map(|(subject, _)| subject))
    }

    /// The resolver that lists share is proven to lie (`why`), or not any more. While it is, no zone that is asked through
    /// it counts: nothing new is listed there and nothing cleared.
    pub fn distrust(&mut self, why: Option<&'static str>) {
        self.distrust = why;
        if why.is_some() {
            let shared = self.zones.iter_mut().filter(|zone| zone.shares_resolver());
            shared.flat_map(|zone| zone.cells.values_mut()).for_each(|cell| cell.pending = None);
        }
    }

    /// The second resolver is proven to lie, or not any more. While it is, listings are confirmed as if there were none: one
    /// that sees no list would contradict every listing for ever.
    pub fn without_second(&mut self, lies: bool) {
        self.no_second = lies;
    }

    /// Why the resolver that lists share is not to be believed; `None` while it is.
    pub fn distrusted(&self) -> Option<&'static str> {
        self.distrust
    }

    /// Takes in one look at a zone.
    pub fn saw(&mut self, zone: usize, seen: &Seen, now: Wall) {
        let distrusted = self.distrust.is_some();
        let Some(watched) = self.zones.get_mut(zone) else { return };
        if distrusted && watched.shares_resolver() {
            return;
        }
        watched.probes = seen.probes.seen();
        let mut blast = Blast::Few;
        let mut trouble = judge(&seen.probes).err().map(|(health, why)| (health, watched.hinted(health, why)));
        if trouble.is_none() {
            trouble = unfit(seen);
        }
        if trouble.is_none() {
            blast = watched.blast(seen, &self.addresses, &self.rules, now);
            trouble = match &blast {
                Blast::TooMany { new, all } => Some((
                    ZoneHealth::Quarantined,
                    format!("newly lists {new} of {all} within a round's time: a broken list, or all of a range"),
                )),
                Blast::Few | Blast::Networks(_) => None,
            };
        }
        let from = watched.state.health;
        watched.state.saw(trouble, seen.whole, now);
        let to = watched.state.health;
        if to != from {
            let reason = watched.state.reason.clone();
            self.notes.push(Note::Zone { zone: watched.name.clone(), from, to, reason });
        }
        match to {
            ZoneHealth::Healthy => {
                watched.note_networks(&blast, &mut self.notes);
                let asks_second = !self.no_second && !self.rules.second_servers.is_empty() && watched.shares_resolver();
                let look = Look { second: asks_second.then_some(None), doubled: blast != Blast::Few };
                watched.conclude(seen, look, &self.rules, (&self.addresses, &self.domains), &mut self.notes, now);
            }
            // A liar's earlier words are worth nothing either.
            ZoneHealth::Dead => {
                watched.cells.values_mut().for_each(Cell::forget);
                watched.kept.clear();
            }
            ZoneHealth::Quarantined => {
                if from != to {
                    watched.doubt(&self.rules, now);
                }
                watched.still_says(seen, now);
            }
            _ => {}
        }
    }

    /// What waits for its confirmation: zones with the subjects to ask about.
    pub fn pending(&self) -> Vec<(usize, Vec<Subject>)> {
        let waiting = |zone: &Watched| -> Vec<Subject> {
            let cells = zone.cells.iter().filter(|(_, cell)| cell.wants_confirmation());
            let mut waiting: BTreeSet<Subject> = cells.map(|(subject, _)| subject.clone()).collect();
            waiting.extend(zone.unproven(&self.domains, self.rules.confirmations));
            waiting.into_iter().collect()
        };
        let zones = self.zones.iter().enumerate().map(|(index, zone)| (index, waiting(zone)));
        zones.filter(|(_, subjects)| !subjects.is_empty()).collect()
    }

    /// Everything the zone is asked about.
    pub fn subjects(&self, zone: usize) -> Vec<Subject> {
        self.zones.get(zone).map(|zone| zone.cells.keys().cloned().collect()).unwrap_or_default()
    }

    /// Whether a listing of the subject would be new (then a second resolver is asked about it, and else about its end), and
    /// whether it is to be asked what the list says of it.
    pub fn would_be_new(&self, zone: usize, subject: &Subject) -> (bool, bool) {
        let cell = self.zones.get(zone).and_then(|zone| zone.cells.get(subject));
        cell.map_or((true, true), |cell| (!cell.is_listed(), cell.text.is_none()))
    }

    /// What to tell, since the last call.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// Notes that questions to a zone were not put.
    pub fn out_of_budget(&mut self, zone: usize) {
        if let Some(watched) = self.zones.get(zone) {
            let per_day = watched.rules.queries_per_day.unwrap_or(0);
            self.notes.push(Note::Budget { zone: watched.name.clone(), per_day });
        }
    }
}

/// Whether the answers themselves prove the zone unfit.
fn unfit(seen: &Seen) -> Option<(ZoneHealth, String)> {
    let answers = seen.answers.iter().map(|(_, answer)| answer).chain(seen.sentinels.iter().map(|(_, a)| a));
    for answer in answers {
        match answer {
            AnswerClass::Bogus(address) => {
                return Some((ZoneHealth::Dead, format!("answered {address}, which is no return code")));
            }
            AnswerClass::Refused(code) => {
                return Some((ZoneHealth::Blocked, format!("answered {code}: the list refuses us")));
            }
            _ => {}
        }
    }
    let listed = seen.sentinels.iter().find(|(_, answer)| matches!(answer, AnswerClass::Listed { .. }));
    listed.map(|(sentinel, _)| {
        (ZoneHealth::Quarantined, format!("lists the sentinel {sentinel}, which never sends mail"))
    })
}

impl Watched {
    /// Asked through the servers that all lists share, not through its own.
    fn shares_resolver(&self) -> bool {
        self.rules.servers.is_empty()
    }

    /// A keyed list that fails may have been told to: it does so where the key is not active (any more).
    fn hinted(&self, health: ZoneHealth, why: String) -> String {
        let is_servfail = health == ZoneHealth::Unreachable && why.ends_with("servfail");
        if is_servfail && self.rules.key_file.is_some() { format!("{why}; is the key active?") } else { why }
    }

    /// Domains of bindings with a remembered listing that are clean so far, but not often enough yet.
    fn unproven(&self, domains: &Domains, confirmations: u32) -> Vec<Subject> {
        if self.kept.is_empty() {
            return Vec::new();
        }
        let has_kept = |users: &Users| users.bindings.iter().any(|binding| self.kept.contains_key(binding));
        let own =
            domains.iter().filter(|(_, users)| has_kept(users)).map(|(domain, _)| Subject::Domain(domain.clone()));
        own.filter(|subject| self.cells.get(subject).is_some_and(|cell| (1..confirmations).contains(&cell.cleans)))
            .collect()
    }

    fn conclude(
        &mut self,
        seen: &Seen,
        look: Look,
        rules: &config::Monitor,
        whose: (&BTreeMap<Subject, IpAddr>, &Domains),
        notes: &mut Vec<Note>,
        now: Wall,
    ) {
        let asks_second = look.second.is_some();
        let (mut heard, mut unheard) = (0u64, 0u64);
        for (subject, answer) in &seen.answers {
            self.strange(answer, notes);
            let Some(cell) = self.cells.get_mut(subject) else { continue };
            let Some(known) = Known::of(&self.name, answer) else { continue };
            if let Some((_, text)) = seen.texts.iter().find(|(of, _)| of == subject) {
                cell.text = Some(text.clone());
            }
            let said = seen.seconds.iter().find(|(of, _)| of == subject).and_then(|(_, answer)| match answer {
                AnswerClass::Listed { .. } => Some(true),
                AnswerClass::NotListed | AnswerClass::Good { .. } => Some(false),
                _ => None,
            });
            let look = Look { second: asks_second.then_some(said), ..look };
            if asks_second && cell.is_at_stake(&known) {
                *(if said.is_some() { &mut heard } else { &mut unheard }) += 1;
                if said == Some(!known.is_listed()) && !cell.disputed {
                    cell.disputed = true;
                    let (zone, subject) = (self.name.clone(), subject.clone());
                    notes.push(Note::Disputed { zone, subject, ends: !known.is_listed() });
                }
            }
            match cell.conclude(known, look, rules, now) {
                Some(Change::Listed) => notes.extend(telling::listed(&self.rules, subject, cell, whose)),
                Some(Change::Cleared(since)) => {
                    notes.push(Note::Cleared { zone: self.name.clone(), subject: subject.clone(), since });
                }
                None => {}
            }
        }
        self.second_silent += unheard;
        if heard > 0 {
            self.second_mute = false;
        } else if unheard > 0 && !std::mem::replace(&mut self.second_mute, true) {
            notes.push(Note::SecondSilent { zone: self.name.clone() });
        }
    }

    fn strange(&mut self, answer: &AnswerClass, notes: &mut Vec<Note>) {
        let AnswerClass::Unknown(code) = answer else { return };
        if !self.strange.contains(code) && self.strange.len() < STRANGE_MAX {
            self.strange.push(*code);
            notes.push(Note::UnknownCode { zone: self.name.clone(), code: *code });
        }
    }
}
