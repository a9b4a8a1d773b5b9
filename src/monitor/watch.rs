//! What is confirmed over time: the listings of each binding in each zone.
//!
//! One answer is not a listing. A state is confirmed by `confirmations` conclusive answers in a row, `confirm_after`
//! apart; what is inconclusive neither adds to the row nor breaks it. Only rounds in which the zone's own probes were
//! good count, and a round in which a zone newly lists more than `max(3, blast_radius × addresses)` of our addresses
//! counts against the zone instead: that is how lists die. (It is also how a listing of a whole range looks: the note
//! says so and the operator decides.)
//!
//! What a zone confirmed stays when it falls silent, with its age shown, and is dropped after [`STALE_AFTER`]: no list
//! may keep a binding out by being gone. What a zone confirmed is void at once when it turns out to lie.
//!
//! [`Watch::evidence`] tells a binding's confirmed listings over all zones whenever they differ from what reputation
//! last heard (or, after a restart, remembers).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::clock::Wall;
use crate::config;
use crate::message::{BindingName, ZoneName};
use crate::reputation::Evidence;
use crate::reputation::evidence::Listing;

use super::answer::AnswerClass;
use super::identity::names::Checked;
use super::zone::{Probes, ZoneHealth, ZoneState};

/// Age after which a listing that no healthy zone confirms any more is dropped.
pub const STALE_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Newly listed addresses in a round that are always believed.
const BLAST_MIN: usize = 3;

/// Something to log.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// A zone's health changed.
    Zone {
        /// Which.
        zone: ZoneName,
        /// Before.
        from: ZoneHealth,
        /// After.
        to: ZoneHealth,
        /// Why.
        reason: String,
    },
    /// A zone gave a code that the configuration does not know. Noted once per zone and code.
    UnknownCode {
        /// Which.
        zone: ZoneName,
        /// The code.
        code: std::net::Ipv4Addr,
    },
}

#[derive(Clone, Debug, PartialEq)]
enum Known {
    Clean,
    Listed(Listing),
}

impl Known {
    fn is_listed(&self) -> bool {
        matches!(self, Self::Listed(_))
    }
}

#[derive(Clone, Debug)]
struct Pending {
    what: Known,
    count: u32,
    first: Wall,
    last: Wall,
}

/// One binding in one zone.
#[derive(Clone, Debug, Default)]
struct Cell {
    confirmed: Option<Known>,
    pending: Option<Pending>,
    last_conclusive: Option<Wall>,
    /// When the zone last said that it does not list the address.
    last_clean: Option<Wall>,
    /// Of a confirmed listing: when the first answer of its row came, and what `last_clean` was then.
    seen: Option<(Wall, Option<Wall>)>,
    /// From when on a confirmed state ages.
    fresh: Option<Wall>,
}

#[derive(Debug)]
struct Watched {
    name: ZoneName,
    state: ZoneState,
    cells: BTreeMap<BindingName, Cell>,
    strange: Vec<std::net::Ipv4Addr>,
    /// Asked through the servers that all lists share, not through its own.
    shares_resolver: bool,
}

/// All zones × bindings.
#[derive(Debug)]
pub struct Watch {
    rules: config::Monitor,
    zones: Vec<Watched>,
    /// Last told to reputation; a binding is missing until something is known about it.
    told: BTreeMap<BindingName, Vec<Listing>>,
    notes: Vec<Note>,
    /// Why the resolver that lists share is not to be believed.
    distrust: Option<&'static str>,
}

impl Watch {
    /// Nothing known. Zones are numbered as in `rules.zones`.
    pub fn new(rules: &config::Monitor, bindings: &[BindingName], now: Wall) -> Self {
        let cells: BTreeMap<BindingName, Cell> = bindings.iter().map(|b| (b.clone(), Cell::default())).collect();
        let zones = rules
            .zones
            .iter()
            .map(|zone| Watched {
                name: zone.name.clone(),
                state: ZoneState::new(now),
                cells: cells.clone(),
                strange: Vec::new(),
                shares_resolver: zone.servers.is_empty(),
            })
            .collect();
        Self { rules: rules.clone(), zones, told: BTreeMap::new(), notes: Vec::new(), distrust: None }
    }

    /// Takes over what reputation remembers from before the restart: it stands until its zones say otherwise. Listings
    /// of zones that are no longer configured are forgotten.
    pub fn restore(&mut self, binding: &BindingName, listed: &[Listing], now: Wall) {
        self.told.insert(binding.clone(), listed.to_vec());
        for listing in listed {
            let zone = self.zones.iter_mut().find(|z| z.name == listing.zone);
            if let Some(cell) = zone.and_then(|z| z.cells.get_mut(binding)) {
                cell.confirmed = Some(Known::Listed(listing.clone()));
                cell.fresh = Some(now);
            }
        }
    }

    /// The resolver that lists share is proven to lie (`why`), or not any more. While it is, no zone that is asked through
    /// it counts: nothing new is listed there and nothing cleared.
    pub fn distrust(&mut self, why: Option<&'static str>) {
        self.distrust = why;
        if why.is_some() {
            let shared = self.zones.iter_mut().filter(|zone| zone.shares_resolver);
            shared.flat_map(|zone| zone.cells.values_mut()).for_each(|cell| cell.pending = None);
        }
    }

    /// Why the resolver that lists share is not to be believed; `None` while it is.
    pub fn distrusted(&self) -> Option<&'static str> {
        self.distrust
    }

    /// Takes in one zone's round: its probes, then the answers for our addresses (all, or those to be confirmed).
    pub fn round(&mut self, zone: usize, probes: &Probes, answers: &[(BindingName, AnswerClass)], now: Wall) {
        let limit = (self.rules.blast_radius * self.addresses() as f64).max(BLAST_MIN as f64);
        let distrusted = self.distrust.is_some();
        let Some(watched) = self.zones.get_mut(zone) else { return };
        if distrusted && watched.shares_resolver {
            return;
        }
        let from = watched.state.health;
        let counts = watched.state.probed(probes, now);
        if counts && let Some((health, reason)) = watched.unfit(answers, limit) {
            watched.state.fail(health, reason, now);
        }
        let to = watched.state.health;
        if to != from {
            let reason = watched.state.reason.clone();
            self.notes.push(Note::Zone { zone: watched.name.clone(), from, to, reason });
        }
        match to {
            ZoneHealth::Healthy => {
                for (binding, answer) in answers {
                    let Some(cell) = watched.cells.get_mut(binding) else { continue };
                    match answer {
                        AnswerClass::Unknown(code) if !watched.strange.contains(code) => {
                            watched.strange.push(*code);
                            self.notes.push(Note::UnknownCode { zone: watched.name.clone(), code: *code });
                        }
                        _ => {}
                    }
                    if let Some(known) = conclusion(&watched.name, answer) {
                        cell.conclude(known, &self.rules, now);
                    }
                }
            }
            // A liar's earlier words are worth nothing either.
            ZoneHealth::Dead => watched.cells.values_mut().for_each(|cell| *cell = Cell::default()),
            ZoneHealth::Quarantined => watched.cells.values_mut().for_each(|cell| cell.pending = None),
            _ => {}
        }
    }

    fn addresses(&self) -> usize {
        self.zones.first().map_or(0, |zone| zone.cells.len())
    }

    /// What waits for its confirmation: zones with the bindings to ask about.
    pub fn pending(&self) -> Vec<(usize, Vec<BindingName>)> {
        let waiting = |zone: &Watched| -> Vec<BindingName> {
            zone.cells.iter().filter(|(_, cell)| cell.pending.is_some()).map(|(binding, _)| binding.clone()).collect()
        };
        self.zones
            .iter()
            .enumerate()
            .map(|(index, zone)| (index, waiting(zone)))
            .filter(|(_, b)| !b.is_empty())
            .collect()
    }

    /// The listings of each binding whose confirmed set is new.
    pub fn evidence(&mut self, now: Wall) -> Vec<Evidence> {
        // Whoever was told of a listing must hear of its end, also when no zone is left to say so.
        let mut current: BTreeMap<BindingName, Vec<Listing>> =
            self.told.keys().map(|binding| (binding.clone(), Vec::new())).collect();
        for zone in &mut self.zones {
            for (binding, cell) in &mut zone.cells {
                cell.drop_stale(now);
                match &cell.confirmed {
                    Some(Known::Listed(listing)) => {
                        current.entry(binding.clone()).or_default().push(listing.clone());
                    }
                    Some(Known::Clean) => {
                        current.entry(binding.clone()).or_default();
                    }
                    None => {}
                }
            }
        }
        let mut news = Vec::new();
        for (binding, listed) in current {
            if self.told.get(&binding) != Some(&listed) {
                self.told.insert(binding.clone(), listed.clone());
                let seen = self.zones.iter().filter_map(|zone| zone.cells.get(&binding)?.seen);
                let newest = seen.max_by_key(|(first, _)| *first);
                news.push(Evidence::Listings {
                    binding,
                    listed,
                    first_seen: newest.map(|(first, _)| first),
                    last_clean: newest.and_then(|(_, clean)| clean),
                });
            }
        }
        news
    }

    /// What to log, since the last call.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// State for status and metrics.
    pub fn snapshot(&self) -> Snapshot {
        let zones = self.zones.iter().map(|zone| {
            let (health, reason) = match self.distrust.filter(|_| zone.shares_resolver) {
                Some(why) => (ZoneHealth::Resolver, format!("its resolver is not to be believed: {why}")),
                None => (zone.state.health, zone.state.reason.clone()),
            };
            let (zone, since) = (zone.name.clone(), zone.state.since);
            ZoneSnapshot { zone, health: health.as_str(), reason, since }
        });
        let listings = self.zones.iter().flat_map(|zone| {
            zone.cells.iter().map(|(binding, cell)| {
                let (state, weight, codes) = match &cell.confirmed {
                    Some(Known::Listed(listing)) => (1, listing.weight, listing.codes.clone()),
                    Some(Known::Clean) => (0, 0.0, String::new()),
                    None => (-1, 0.0, String::new()),
                };
                ListingSnapshot {
                    binding: binding.clone(),
                    zone: zone.name.clone(),
                    state,
                    weight,
                    codes,
                    pending: cell.pending.is_some(),
                    last_conclusive: cell.last_conclusive,
                }
            })
        });
        Snapshot { zones: zones.collect(), listings: listings.collect(), ..Snapshot::default() }
    }
}

impl Watched {
    /// Whether the answers themselves prove the zone unfit.
    fn unfit(&self, answers: &[(BindingName, AnswerClass)], limit: f64) -> Option<(ZoneHealth, String)> {
        for (_, answer) in answers {
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
        let is_new = |cell: &Cell| {
            !cell.confirmed.as_ref().is_some_and(Known::is_listed)
                && !cell.pending.as_ref().is_some_and(|pending| pending.what.is_listed())
        };
        let newly = answers
            .iter()
            .filter(|(_, answer)| matches!(answer, AnswerClass::Listed { .. }))
            .filter(|(binding, _)| self.cells.get(binding).is_some_and(is_new))
            .count();
        (newly as f64 > limit).then(|| {
            let all = self.cells.len();
            let reason = format!("newly lists {newly} of {all} own addresses at once: range listing or broken list");
            (ZoneHealth::Quarantined, reason)
        })
    }
}

impl Cell {
    fn conclude(&mut self, known: Known, rules: &config::Monitor, now: Wall) {
        self.last_conclusive = Some(now);
        let clean_before = self.last_clean;
        if !known.is_listed() {
            self.last_clean = Some(now);
        }
        let nothing_at_stake = self.confirmed.is_none() && !known.is_listed();
        if self.confirmed.as_ref() == Some(&known) || nothing_at_stake {
            self.confirmed = Some(known);
            self.pending = None;
            self.fresh = Some(now);
            return;
        }
        let (count, first) = match &self.pending {
            Some(pending) if pending.what.is_listed() == known.is_listed() => {
                if now.since(pending.last) < rules.confirm_after {
                    return;
                }
                (pending.count + 1, pending.first)
            }
            _ => (1, now),
        };
        if count >= rules.confirmations.max(1) {
            // Other codes of a listing that stands are the same listing.
            let stands = self.confirmed.as_ref().is_some_and(Known::is_listed);
            self.seen = known.is_listed().then(|| self.seen.filter(|_| stands).unwrap_or((first, clean_before)));
            self.confirmed = Some(known);
            self.pending = None;
            self.fresh = Some(now);
        } else {
            self.pending = Some(Pending { what: known, count, first, last: now });
        }
    }

    fn drop_stale(&mut self, now: Wall) {
        let stale = self.fresh.max(self.last_conclusive).is_some_and(|at| now.since(at) >= STALE_AFTER);
        if stale {
            (self.confirmed, self.pending, self.seen) = (None, None, None);
        }
    }
}

fn conclusion(zone: &ZoneName, answer: &AnswerClass) -> Option<Known> {
    match answer {
        AnswerClass::Listed { codes, weight, certain } => {
            let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
            let (zone, codes) = (zone.clone(), codes.join(" "));
            Some(Known::Listed(Listing { zone, weight: *weight, certain: *certain, codes }))
        }
        AnswerClass::NotListed | AnswerClass::Good => Some(Known::Clean),
        _ => None,
    }
}

/// What the monitor knows, for status and metrics.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Snapshot {
    /// Health of each zone.
    pub zones: Vec<ZoneSnapshot>,
    /// Each zone × binding.
    pub listings: Vec<ListingSnapshot>,
    /// Reverse DNS of each binding; empty where the checks are off.
    pub reverse: Vec<ReverseSnapshot>,
    /// Whole rounds since the start.
    pub rounds: u64,
    /// End of the last round.
    pub last_round: Option<Wall>,
}

/// A zone's health.
#[derive(Clone, Debug, Serialize)]
pub struct ZoneSnapshot {
    /// Which.
    pub zone: ZoneName,
    /// Stable text of [`ZoneHealth`].
    pub health: &'static str,
    /// Why; empty while healthy.
    pub reason: String,
    /// Since when.
    pub since: Wall,
}

/// A binding's state in a zone.
#[derive(Clone, Debug, Serialize)]
pub struct ListingSnapshot {
    /// Which binding.
    pub binding: BindingName,
    /// Which zone.
    pub zone: ZoneName,
    /// 1 listed, 0 not listed, −1 unknown.
    pub state: i8,
    /// Weight of the listing; 0 where there is none.
    pub weight: f64,
    /// Return codes of the listing.
    pub codes: String,
    /// A change waits for its confirmation.
    pub pending: bool,
    /// When the zone last gave a conclusive answer about it; `None`: never since the start.
    pub last_conclusive: Option<Wall>,
}

/// A binding's reverse DNS.
#[derive(Clone, Debug, Serialize)]
pub struct ReverseSnapshot {
    /// Which binding.
    pub binding: BindingName,
    /// Proven state; `None` while nothing is proven.
    pub confirmed: Option<bool>,
    /// Whether the EHLO name is a confirmed PTR name, where that can be said.
    pub ehlo_agrees: Option<bool>,
    /// What was seen last.
    pub detail: String,
    /// When it was last seen for certain.
    pub last_conclusive: Option<Wall>,
    /// Each check of the names of the binding.
    pub checks: Vec<Checked>,
}

#[cfg(test)]
mod tests {
    use super::super::zone::tests::{good, listed, zone};
    use super::*;
    use crate::reputation::fixtures;

    fn names(count: usize) -> Vec<BindingName> {
        (0..count).map(|i| BindingName::new(format!("b{i}"))).collect()
    }

    fn watch(zones: &[&str], bindings: usize) -> Watch {
        let mut rules = fixtures::config(&[], &[]).monitor;
        rules.zones = zones.iter().map(|name| zone(name)).collect();
        Watch::new(&rules, &names(bindings), at(0))
    }

    fn at(second: i64) -> Wall {
        Wall::from_millis(1_800_000_000_000 + second * 1000)
    }

    /// The first `count` bindings get `answer`, the others are not listed.
    fn answers(of: usize, count: usize, answer: &AnswerClass) -> Vec<(BindingName, AnswerClass)> {
        let class = |i| if i < count { answer.clone() } else { AnswerClass::NotListed };
        names(of).into_iter().enumerate().map(|(i, name)| (name, class(i))).collect()
    }

    fn told(evidence: Vec<Evidence>) -> Vec<(String, Vec<String>)> {
        let text = |e: Evidence| match e {
            Evidence::Listings { binding, listed, .. } => {
                (binding.to_string(), listed.iter().map(|l| l.zone.to_string()).collect())
            }
            other => panic!("{other:?}"),
        };
        evidence.into_iter().map(text).collect()
    }

    fn states(watch: &Watch) -> Vec<i8> {
        watch.snapshot().listings.iter().map(|l| l.state).collect()
    }

    #[test]
    fn a_listing_and_its_end_are_confirmed_in_time() {
        let mut watch = watch(&["z"], 1);
        assert_eq!(states(&watch), [-1]);
        let silent = AnswerClass::NoAnswer("timeout");
        // (answer, at second, evidence, state afterwards)
        let story = [
            (AnswerClass::NotListed, 0, Some(vec![]), 0),
            (listed(), 900, None, 0),
            (listed(), 930, None, 0), // too soon
            (silent.clone(), 960, None, 0),
            (listed(), 961, Some(vec!["z".to_owned()]), 1),
            (AnswerClass::NotListed, 1800, None, 1),
            (listed(), 1860, None, 1), // the row is broken
            (AnswerClass::NotListed, 2700, None, 1),
            (silent, 2760, None, 1),
            (AnswerClass::Good, 2761, Some(vec![]), 0),
        ];
        for (answer, second, expected, state) in story {
            watch.round(0, &good(), &answers(1, 1, &answer), at(second));
            let news = told(watch.evidence(at(second)));
            assert_eq!(news.into_iter().next().map(|(_, zones)| zones), expected, "{answer:?} at {second}");
            assert_eq!(states(&watch), [state], "{answer:?} at {second}");
        }
    }

    #[test]
    fn evidence_says_when_the_newest_listing_was_first_seen_and_when_its_zone_last_said_clean() {
        let mut watch = watch(&["y", "z"], 1);
        let seen = |evidence: Vec<Evidence>| match evidence.as_slice() {
            [Evidence::Listings { first_seen, last_clean, .. }] => (*first_seen, *last_clean),
            other => panic!("{other:?}"),
        };
        watch.round(0, &good(), &answers(1, 0, &listed()), at(0));
        watch.round(1, &good(), &answers(1, 1, &listed()), at(10));
        watch.evidence(at(10));
        watch.round(1, &good(), &answers(1, 1, &listed()), at(70));
        assert_eq!(seen(watch.evidence(at(70))), (Some(at(10)), None), "z never said clean");
        watch.round(0, &good(), &answers(1, 1, &listed()), at(100));
        watch.round(0, &good(), &answers(1, 1, &listed()), at(160));
        assert_eq!(seen(watch.evidence(at(160))), (Some(at(100)), Some(at(0))));
        for second in [200, 260] {
            watch.round(0, &good(), &answers(1, 0, &listed()), at(second));
        }
        assert_eq!(seen(watch.evidence(at(260))), (Some(at(10)), None), "what is left");
    }

    #[test]
    fn pending_names_what_to_ask_again() {
        let mut watch = watch(&["y", "z"], 3);
        assert!(watch.pending().is_empty());
        watch.round(1, &good(), &answers(3, 2, &listed()), at(0));
        assert_eq!(watch.pending(), [(1, names(2))]);
        watch.round(1, &good(), &answers(2, 2, &listed()), at(60));
        assert!(watch.pending().is_empty());
        assert_eq!(told(watch.evidence(at(60))).len(), 3);
    }

    #[test]
    fn answers_of_a_zone_whose_probes_failed_do_not_count() {
        let mut watch = watch(&["z"], 1);
        let lists_all = Probes { positive: Some(listed()), negative: Some(listed()), random: listed() };
        for second in [0, 60, 120] {
            watch.round(0, &lists_all, &answers(1, 1, &listed()), at(second));
        }
        assert!(watch.evidence(at(120)).is_empty());
        assert_eq!(watch.snapshot().zones[0].health, "dead");
        let notes = watch.take_notes();
        assert!(matches!(&notes[..], [Note::Zone { to: ZoneHealth::Dead, .. }]), "{notes:?}");
        let hollow = Probes { positive: Some(AnswerClass::NotListed), negative: None, random: AnswerClass::NotListed };
        watch.round(0, &hollow, &answers(1, 0, &listed()), at(180));
        assert_eq!(states(&watch), [-1], "clean means nothing in a hollow zone");
    }

    #[test]
    fn a_zone_that_turns_out_to_lie_takes_its_listings_back_and_a_silent_one_does_not() {
        let dead = Probes { positive: Some(listed()), negative: Some(listed()), random: AnswerClass::NotListed };
        let silent = AnswerClass::NoAnswer("timeout");
        let away = Probes { positive: Some(silent.clone()), negative: Some(silent.clone()), random: silent };
        for (probes, expected) in [(dead, Some(vec![])), (away, None)] {
            let mut watch = watch(&["z"], 1);
            watch.round(0, &good(), &answers(1, 1, &listed()), at(0));
            watch.round(0, &good(), &answers(1, 1, &listed()), at(60));
            assert_eq!(told(watch.evidence(at(60))), [("b0".to_owned(), vec!["z".to_owned()])]);
            watch.round(0, &probes, &[], at(120));
            assert_eq!(told(watch.evidence(at(120))).pop().map(|(_, zones)| zones), expected);
        }
    }

    #[test]
    fn a_silent_zones_listing_ends_after_a_day() {
        let mut watch = watch(&["z"], 1);
        watch.round(0, &good(), &answers(1, 1, &listed()), at(0));
        watch.round(0, &good(), &answers(1, 1, &listed()), at(60));
        watch.evidence(at(60));
        assert!(watch.evidence(at(60 + 86_399)).is_empty());
        assert_eq!(told(watch.evidence(at(60 + 86_400))), [("b0".to_owned(), vec![])]);
        assert_eq!(states(&watch), [-1]);
    }

    #[test]
    fn nothing_is_listed_or_cleared_through_a_resolver_that_lies() {
        let mut rules = fixtures::config(&[], &[]).monitor;
        rules.zones = vec![zone("shared"), zone("own")];
        rules.zones[1].servers = vec!["192.0.2.53:53".parse().unwrap()];
        let mut watch = Watch::new(&rules, &names(2), at(0));
        for second in [0, 60] {
            watch.round(0, &good(), &answers(2, 1, &listed()), at(second));
        }
        assert_eq!(told(watch.evidence(at(60))).len(), 2);
        watch.round(0, &good(), &answers(2, 2, &listed()), at(120));
        watch.distrust(Some("nxdomain"));
        assert!(watch.pending().is_empty(), "nor is anything left half confirmed");
        for second in [180, 240, 300] {
            let liar = Probes { positive: Some(listed()), negative: Some(listed()), random: listed() };
            watch.round(0, &liar, &answers(2, 0, &listed()), at(second));
            watch.round(1, &good(), &answers(2, 2, &listed()), at(second));
        }
        let heard = told(watch.evidence(at(300)));
        let both = vec![
            ("b0".to_owned(), vec!["shared".to_owned(), "own".to_owned()]),
            ("b1".to_owned(), vec!["own".to_owned()]),
        ];
        assert_eq!(heard, both, "a list with servers of its own goes on");
        let health = |watch: &Watch| watch.snapshot().zones.iter().map(|z| z.health).collect::<Vec<_>>();
        assert_eq!(health(&watch), ["resolver", "healthy"]);
        watch.distrust(None);
        for second in [360, 420] {
            watch.round(0, &good(), &answers(2, 0, &listed()), at(second));
        }
        assert_eq!(health(&watch), ["healthy", "healthy"]);
        assert_eq!(told(watch.evidence(at(420)))[0], ("b0".to_owned(), vec!["own".to_owned()]));
    }

    #[test]
    fn too_many_new_listings_at_once_quarantine_the_zone() {
        // addresses, newly listed → believed
        for (of, count, believed) in [(4, 3, true), (4, 4, false), (3, 3, true), (20, 6, true), (20, 7, false)] {
            let mut watch = watch(&["z"], of);
            for second in [0, 60, 120, 180] {
                watch.round(0, &good(), &answers(of, count, &listed()), at(second));
            }
            let with_listing = told(watch.evidence(at(180))).iter().filter(|(_, zones)| !zones.is_empty()).count();
            assert_eq!(with_listing, if believed { count } else { 0 }, "{count} of {of}");
        }
    }

    #[test]
    fn one_after_the_other_is_no_blast() {
        let mut watch = watch(&["z"], 10);
        for count in 1..=10 {
            watch.round(0, &good(), &answers(10, count, &listed()), at(900 * count as i64));
            watch.round(0, &good(), &answers(10, count, &listed()), at(900 * count as i64 + 60));
        }
        assert_eq!(states(&watch), [1; 10]);
    }

    #[test]
    fn a_refusal_or_a_public_address_among_the_answers_blames_the_zone() {
        for (answer, health) in [
            (AnswerClass::Refused([127, 255, 255, 255].into()), "blocked"),
            (AnswerClass::Bogus([91, 195, 240, 117].into()), "dead"),
        ] {
            let mut watch = watch(&["z"], 2);
            watch.round(0, &good(), &answers(2, 1, &answer), at(0));
            assert_eq!(watch.snapshot().zones[0].health, health);
            assert_eq!(states(&watch), [-1, -1]);
        }
    }

    #[test]
    fn a_restored_listing_stands_until_its_own_zone_clears_it() {
        let mut watch = watch(&["y", "z"], 1);
        let listing = Listing { zone: "z".into(), weight: 3.0, certain: false, codes: "127.0.0.2".into() };
        let gone = Listing { zone: "gone".into(), ..listing.clone() };
        watch.restore(&"b0".into(), &[listing, gone], at(0));
        assert_eq!(told(watch.evidence(at(0))), [("b0".to_owned(), vec!["z".to_owned()])], "gone is gone");
        watch.round(0, &good(), &answers(1, 0, &listed()), at(1));
        assert!(watch.evidence(at(1)).is_empty());
        watch.round(1, &good(), &answers(1, 0, &listed()), at(2));
        assert!(watch.evidence(at(2)).is_empty());
        watch.round(1, &good(), &answers(1, 0, &listed()), at(62));
        assert_eq!(told(watch.evidence(at(62))), [("b0".to_owned(), vec![])]);
    }

    #[test]
    fn a_restored_listing_ends_when_no_zone_is_left() {
        let mut watch = watch(&[], 1);
        let listing = Listing { zone: "z".into(), weight: 3.0, certain: false, codes: "127.0.0.2".into() };
        watch.restore(&"b0".into(), &[listing], at(0));
        assert_eq!(told(watch.evidence(at(0))), [("b0".to_owned(), vec![])]);
    }

    #[test]
    fn an_unknown_code_is_noted_once_and_says_nothing() {
        let mut watch = watch(&["z"], 2);
        let strange = AnswerClass::Unknown([127, 0, 0, 1].into());
        watch.round(0, &good(), &answers(2, 2, &strange), at(0));
        watch.round(0, &good(), &answers(2, 2, &strange), at(60));
        let codes = watch.take_notes().into_iter().filter(|n| matches!(n, Note::UnknownCode { .. })).count();
        assert_eq!((codes, states(&watch)), (1, vec![-1, -1]));
    }
}
