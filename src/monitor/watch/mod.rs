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
//! the domains it goes by. Good words of other lists take off weight, but alone they are not told, and beside a listing
//! that is certain they do not count.

mod blast;
mod cell;
mod note;
mod snapshot;
mod telling;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::clock::Wall;
use crate::config::{self, ZoneKind};
use crate::message::{BindingName, ZoneName};
use crate::reputation::evidence::Listing;

use super::answer::AnswerClass;
use super::subject::{Domains, Subject};
use super::zone::{Probes, ZoneHealth, ZoneState, judge};
use blast::{Blast, Standing};
use cell::{Cell, Change, Known, Look};
pub use note::Note;
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
}

/// All zones × bindings and domains.
#[derive(Debug)]
pub struct Watch {
    rules: config::Monitor,
    zones: Vec<Watched>,
    addresses: BTreeMap<BindingName, IpAddr>,
    domains: Domains,
    /// Last told to reputation; a binding is missing until something is known about it.
    told: BTreeMap<BindingName, Vec<Listing>>,
    notes: Vec<Note>,
    /// Why the resolver that lists share is not to be believed.
    distrust: Option<&'static str>,
    /// The second resolver does not count.
    no_second: bool,
}

impl Watch {
    /// Nothing known. Zones are numbered as in `rules.zones`.
    pub fn new(rules: &config::Monitor, bindings: &[(BindingName, IpAddr)], now: Wall) -> Self {
        let cells = |zone: &config::Zone| -> BTreeMap<Subject, Cell> {
            let asked = bindings
                .iter()
                .filter(|(_, address)| zone.kind == ZoneKind::Address && zone.families.hold(address.to_canonical()));
            asked.map(|(binding, _)| (Subject::Binding(binding.clone()), Cell::default())).collect()
        };
        let watched = |zone: &config::Zone| Watched {
            name: zone.name.clone(),
            rules: zone.clone(),
            state: ZoneState::new(now),
            cells: cells(zone),
            kept: BTreeMap::new(),
            strange: Vec::new(),
            networks: String::new(),
            probes: Vec::new(),
        };
        Self {
            rules: rules.clone(),
            zones: rules.zones.iter().map(watched).collect(),
            addresses: bindings.iter().cloned().collect(),
            domains: Domains::new(),
            told: BTreeMap::new(),
            notes: Vec::new(),
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
            } else if let Some(cell) = zone.cells.get_mut(&Subject::Binding(binding.clone())) {
                *cell = Cell::remembered(listing, now);
            }
        }
    }

    /// Sets the domains to ask about. What is known of those that stay, stays.
    pub fn set_domains(&mut self, domains: Domains) {
        for zone in self.zones.iter_mut().filter(|zone| zone.rules.kind == ZoneKind::Domain) {
            zone.cells.retain(|subject, _| matches!(subject, Subject::Domain(domain) if domains.contains_key(domain)));
            for domain in domains.keys() {
                zone.cells.entry(Subject::Domain(domain.clone())).or_default();
            }
        }
        self.domains = domains;
    }

    /// The domains that are asked about.
    pub fn domains(&self) -> &Domains {
        &self.domains
    }

    /// A receiver's reply about the binding named just this zone.
    pub fn named(&mut self, zone: usize, binding: &BindingName, now: Wall) {
        let cell = self.zones.get_mut(zone).and_then(|z| z.cells.get_mut(&Subject::Binding(binding.clone())));
        if let Some(cell) = cell {
            cell.named = Some(now);
        }
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
            ZoneHealth::Quarantined if from != to => watched.doubt(&self.rules, now),
            _ => {}
        }
    }

    /// What waits for its confirmation: zones with the subjects to ask about.
    pub fn pending(&self) -> Vec<(usize, Vec<Subject>)> {
        let waiting = |zone: &Watched| -> Vec<Subject> {
            let cells = zone.cells.iter().filter(|(_, cell)| cell.wants_confirmation());
            cells.map(|(subject, _)| subject.clone()).collect()
        };
        let zones = self.zones.iter().enumerate().map(|(index, zone)| (index, waiting(zone)));
        zones.filter(|(_, subjects)| !subjects.is_empty()).collect()
    }

    /// Everything the zone is asked about.
    pub fn subjects(&self, zone: usize) -> Vec<Subject> {
        self.zones.get(zone).map(|zone| zone.cells.keys().cloned().collect()).unwrap_or_default()
    }

    /// Whether a listing of the subject would be new: then a second resolver is asked, and what the list says of it.
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

    fn cycle(&self, rules: &config::Monitor) -> Duration {
        self.rules.round_every(self.cells.len()).mul_f64(1.0 + rules.jitter.clamp(0.0, 1.0))
    }

    fn blast(
        &self,
        seen: &Seen,
        addresses: &BTreeMap<BindingName, IpAddr>,
        rules: &config::Monitor,
        now: Wall,
    ) -> Blast {
        let cycle = self.cycle(rules);
        let listed_now: BTreeMap<&Subject, bool> = seen
            .answers
            .iter()
            .map(|(subject, answer)| (subject, matches!(answer, AnswerClass::Listed { .. })))
            .collect();
        let standing = |subject: &Subject, cell: &Cell| {
            let lately = |at: Option<Wall>| at.is_some_and(|at| now.since(at) <= cycle);
            match listed_now.get(subject) {
                Some(true) if !cell.is_listed() => Standing::New,
                _ if lately(cell.on_list_since()) => Standing::New,
                Some(false) => Standing::Clean,
                None if lately(cell.last_clean) && !cell.is_listed() => Standing::Clean,
                _ => Standing::Other,
            }
        };
        let standings: Vec<(Option<IpAddr>, Standing)> = self
            .cells
            .iter()
            .map(|(subject, cell)| {
                let address = match subject {
                    Subject::Binding(binding) => addresses.get(binding).copied(),
                    Subject::Domain(_) => None,
                };
                (address, standing(subject, cell))
            })
            .collect();
        let clean_sentinels = seen.sentinels.iter().filter(|(_, answer)| *answer == AnswerClass::NotListed).count();
        blast::judge(&standings, clean_sentinels, rules.blast_radius)
    }

    fn note_networks(&mut self, blast: &Blast, notes: &mut Vec<Note>) {
        let networks = if let Blast::Networks(networks) = blast { networks.as_str() } else { "" };
        if self.networks != networks {
            self.networks = networks.to_owned();
            if !networks.is_empty() {
                notes.push(Note::Networks { zone: self.name.clone(), networks: networks.to_owned() });
            }
        }
    }

    /// It is distrusted: what it said within the same cycle goes, what it had said before stands.
    fn doubt(&mut self, rules: &config::Monitor, now: Wall) {
        let cycle = self.cycle(rules);
        for cell in self.cells.values_mut() {
            if cell.seen.is_some_and(|(first, _)| now.since(first) <= cycle) {
                cell.forget();
            }
            cell.pending = None;
        }
    }

    fn conclude(
        &mut self,
        seen: &Seen,
        look: Look,
        rules: &config::Monitor,
        whose: (&BTreeMap<BindingName, IpAddr>, &Domains),
        notes: &mut Vec<Note>,
        now: Wall,
    ) {
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
            let look = Look { second: look.second.map(|_| said), ..look };
            if known.is_listed() && look.second == Some(Some(false)) && !cell.disputed {
                cell.disputed = true;
                notes.push(Note::Disputed { zone: self.name.clone(), subject: subject.clone() });
            }
            match cell.conclude(known, look, rules, now) {
                Some(Change::Listed) => notes.extend(telling::listed(&self.rules, subject, cell, whose)),
                Some(Change::Cleared(since)) => {
                    notes.push(Note::Cleared { zone: self.name.clone(), subject: subject.clone(), since });
                }
                None => {}
            }
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
