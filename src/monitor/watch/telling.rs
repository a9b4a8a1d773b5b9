//! What is told of all that: evidence for reputation, a snapshot for those who look.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::clock::Wall;
use crate::config::{self, ZoneKind};
use crate::message::BindingName;
use crate::monitor::subject::{Domains, Subject, Users};
use crate::monitor::zone::ZoneHealth;
use crate::reputation::Evidence;
use crate::reputation::evidence::Listing;

use super::cell::{Cell, Known};
use super::weight::{Held, SeenOn, counted};
use super::{
    DomainSnapshot, ListingSnapshot, Note, ProbeSnapshot, STALE_AFTER, Snapshot, Watch, Watched, ZoneSnapshot, own,
};

/// Bindings named in a text; there may be hundreds with one EHLO name.
const NAMED_MAX: usize = 5;

/// Between the codes of a listing and the address that it is of.
const OF_ADDRESS: &str = " for ";

/// The note of a listing that was just confirmed.
pub(super) fn listed(
    zone: &config::Zone,
    subject: &Subject,
    cell: &Cell,
    (addresses, domains): (&BTreeMap<Subject, IpAddr>, &Domains),
) -> Option<Note> {
    let Some(Known::Listed(listing)) = &cell.confirmed else { return None };
    let users = if let Subject::Domain(domain) = subject { domains.get(domain) } else { None };
    Some(Note::Listed {
        zone: zone.name.clone(),
        subject: subject.clone(),
        address: addresses.get(subject).copied(),
        codes: listing.codes.clone(),
        weight: listing.weight,
        certain: listing.certain,
        text: cell.text.clone().unwrap_or_default(),
        first_seen: cell.seen.map(|(first, _)| first),
        delisting: zone.delisting.clone(),
        used_by: users.map(used_by).unwrap_or_default(),
        tenants: users.map(|users| users.tenants.clone()).unwrap_or_default(),
    })
}

fn used_by(users: &Users) -> String {
    let named: Vec<&str> = users.bindings.iter().take(NAMED_MAX).map(BindingName::as_str).collect();
    let more = users.bindings.len().saturating_sub(NAMED_MAX);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", named.join(", "))
}

/// A listing of a domain, as it is held against a binding.
fn of_domain(listing: &Listing, domain: &str, users: &Users) -> Listing {
    let codes = format!("{} for {domain}, EHLO or PTR name of {}", listing.codes, used_by(users));
    Listing { codes, ..listing.clone() }
}

/// A listing of one address of a binding that has two, as it is held against the binding: it says of which.
fn of_address(listing: &Listing, address: IpAddr) -> Listing {
    Listing { codes: with_address(&listing.codes, address), ..listing.clone() }
}

fn with_address(codes: &str, address: IpAddr) -> String {
    format!("{codes}{OF_ADDRESS}{address}")
}

/// What [`of_address`] made, taken apart again; no address where it is of a binding that has only one.
pub(super) fn about(listing: &Listing) -> (Listing, Option<IpAddr>) {
    let parts = listing.codes.rsplit_once(OF_ADDRESS);
    match parts.and_then(|(codes, address)| Some((codes, address.parse().ok()?))) {
        Some((codes, address)) => (Listing { codes: codes.to_owned(), ..listing.clone() }, Some(address)),
        None => (listing.clone(), None),
    }
}

impl Watch {
    /// The listings of each binding whose confirmed set is new.
    pub fn evidence(&mut self, now: Wall) -> Vec<Evidence> {
        let reversed = self.rules.fcrdns.then_some(&self.reversed);
        let confirmations = self.rules.confirmations.max(1);
        self.zones.iter_mut().for_each(|zone| zone.drop_stale(&self.domains_of, reversed, confirmations, now));
        // Whoever was told of a listing must hear of its end, also when no zone is left to say so.
        let mut known: BTreeSet<BindingName> = self.told.keys().cloned().collect();
        known.extend(self.zones.iter().flat_map(|zone| zone.spoke_of(&self.domains)));
        let mut news = Vec::new();
        for binding in known {
            let held: Vec<Held> = self
                .zones
                .iter()
                .filter_map(|zone| zone.holds(&binding, &self.addresses, self.names(&binding)))
                .collect();
            let listed = counted(&held, &self.rules);
            if self.told.get(&binding) != Some(&listed) {
                let against = held.iter().filter(|held| held.listing.weight >= 0.0);
                let newest = against.filter_map(|held| held.seen).max_by_key(|seen| seen.0);
                self.told.insert(binding.clone(), listed.clone());
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

    fn names(&self, binding: &BindingName) -> impl Iterator<Item = (&String, &Users)> {
        self.domains_of(binding).iter().filter_map(|domain| self.domains.get_key_value(domain))
    }

    /// State for status and metrics. What only the shell knows (budgets, counts) is left empty.
    pub fn snapshot(&self) -> Snapshot {
        let zones = self.zones.iter().map(|zone| self.zone_snapshot(zone)).collect();
        let mut snapshot = Snapshot { zones, ..Snapshot::default() };
        for zone in &self.zones {
            let mut listings = BTreeMap::new();
            for (subject, cell) in &zone.cells {
                match subject {
                    Subject::Binding(binding) | Subject::Second(binding, _) => {
                        let Some(address) = self.addresses.get(subject) else { continue };
                        let mut shown = of_binding(zone, binding, *address, cell);
                        if !shown.codes.is_empty() && own(&self.addresses, binding).nth(1).is_some() {
                            shown.codes = with_address(&shown.codes, *address);
                        }
                        match listings.get_mut(binding) {
                            Some(first) if severity(first) >= severity(&shown) => {}
                            _ => drop(listings.insert(binding, shown)),
                        }
                    }
                    Subject::Domain(domain) => {
                        let users = self.domains.get(domain).cloned().unwrap_or_default();
                        snapshot.domains.push(of_a_domain(zone, domain, users, cell));
                    }
                }
            }
            snapshot.listings.extend(listings.into_values());
        }
        snapshot
    }

    fn zone_snapshot(&self, zone: &Watched) -> ZoneSnapshot {
        let is_address = zone.rules.kind == ZoneKind::Address;
        let named = self.addresses.keys().filter_map(|subject| match subject {
            Subject::Binding(binding) => Some(binding),
            _ => None,
        });
        let not_asked = named.filter(|binding| own(&zone.cells, binding).next().is_none());
        let (health, reason) = match self.distrusted().filter(|_| zone.shares_resolver()) {
            Some(why) => (ZoneHealth::Resolver, format!("its resolver is not to be believed: {why}")),
            None => (zone.state.health, zone.state.reason.clone()),
        };
        ZoneSnapshot {
            zone: zone.name.clone(),
            health: health.as_str(),
            reason,
            since: zone.state.since,
            kind: zone.rules.kind.as_str(),
            probes: zone.probes.iter().map(|&(probe, ok)| ProbeSnapshot { probe, ok }).collect(),
            not_asked: if is_address { not_asked.cloned().collect() } else { Vec::new() },
            networks: zone.networks.clone(),
            interval_seconds: zone.rules.round_every(zone.cells.len()).as_secs_f64(),
            queries_per_day: zone.rules.queries_per_day,
            budget_left: None,
            budget_denied: 0,
            second_silent: zone.second_silent,
            answers: Vec::new(),
            delisting: zone.rules.delisting.clone(),
            terms: zone.rules.terms.clone(),
        }
    }
}

impl Watched {
    /// A remembered listing stands until each of the binding's domains, once they are all known, is listed or was clean
    /// as often as the end of a listing asks for. `reversed`: whose PTR names are known, where they are looked for.
    fn drop_stale(
        &mut self,
        domains_of: &BTreeMap<BindingName, Vec<String>>,
        reversed: Option<&BTreeSet<BindingName>>,
        confirmations: u32,
        now: Wall,
    ) {
        self.cells.values_mut().for_each(|cell| cell.drop_stale(now));
        let cells = &self.cells;
        let is_open = |domain: &String| {
            let cell = cells.get(&Subject::Domain(domain.clone()));
            cell.is_none_or(|cell| !cell.is_listed() && cell.cleans < confirmations)
        };
        self.kept.retain(|binding, (_, at)| {
            let mut own = domains_of.get(binding).into_iter().flatten();
            let all_known = !domains_of.is_empty() && reversed.is_none_or(|seen| seen.contains(binding));
            now.since(*at) < STALE_AFTER && (!all_known || own.any(is_open))
        });
    }

    /// Bindings of whose addresses something is known, and those that answer for a domain on the list.
    fn spoke_of(&self, domains: &Domains) -> Vec<BindingName> {
        let known = self.cells.iter().filter(|(_, cell)| cell.confirmed.is_some());
        let of = |(subject, cell): (&Subject, &Cell)| match subject {
            Subject::Binding(binding) | Subject::Second(binding, _) => vec![binding.clone()],
            Subject::Domain(domain) if cell.is_listed() => {
                domains.get(domain).map(|users| users.bindings.clone()).unwrap_or_default()
            }
            // That a domain is clean says nothing of an address.
            Subject::Domain(_) => Vec::new(),
        };
        known.flat_map(of).collect()
    }

    fn holds<'d>(
        &self,
        binding: &BindingName,
        addresses: &BTreeMap<Subject, IpAddr>,
        names: impl Iterator<Item = (&'d String, &'d Users)>,
    ) -> Option<Held> {
        let (listing, seen) = match self.rules.kind {
            ZoneKind::Address => self.said_of_addresses(binding, addresses)?,
            ZoneKind::Domain => self.said_of(binding, names)?,
        };
        Some(Held { listing, operator: self.rules.operator.clone(), kind: self.rules.kind, seen })
    }

    /// Mail may leave from any address of a binding, so the worst that is said of one counts; good words only where there
    /// is one for each.
    fn said_of_addresses(
        &self,
        binding: &BindingName,
        addresses: &BTreeMap<Subject, IpAddr>,
    ) -> Option<(Listing, Option<SeenOn>)> {
        let is_one_of_two = own(addresses, binding).nth(1).is_some();
        let told = |subject: &Subject, listing: &Listing| match addresses.get(subject) {
            Some(address) if is_one_of_two => of_address(listing, *address),
            _ => listing.clone(),
        };
        let listed = own(&self.cells, binding).filter_map(|(subject, cell)| match &cell.confirmed {
            Some(Known::Listed(listing)) => Some((subject, listing, cell)),
            _ => None,
        });
        let worst = listed.max_by(|(_, a, _), (_, b, _)| a.certain.cmp(&b.certain).then(a.weight.total_cmp(&b.weight)));
        if let Some((subject, listing, cell)) = worst {
            return Some((told(subject, listing), cell.seen));
        }
        let mut least: Option<(&Subject, &Listing, &Cell)> = None;
        for (subject, cell) in own(&self.cells, binding) {
            let Some(Known::Good(listing)) = &cell.confirmed else { return None };
            if least.is_none_or(|(_, least, _)| listing.weight > least.weight) {
                least = Some((subject, listing, cell));
            }
        }
        least.map(|(subject, listing, cell)| (told(subject, listing), cell.seen))
    }

    fn said_of<'d>(
        &self,
        binding: &BindingName,
        mut names: impl Iterator<Item = (&'d String, &'d Users)>,
    ) -> Option<(Listing, Option<SeenOn>)> {
        let of = |(domain, users): (&String, &Users)| {
            let cell = self.cells.get(&Subject::Domain(domain.clone()))?;
            let Some(Known::Listed(listing)) = &cell.confirmed else { return None };
            Some((of_domain(listing, domain, users), cell.seen))
        };
        let worst = names.by_ref().filter_map(of).max_by(|(a, _), (b, _)| a.weight.total_cmp(&b.weight));
        worst.or_else(|| self.kept.get(binding).map(|(listing, _)| (listing.clone(), None)))
    }
}

/// State, listing or good word, as snapshots have them.
fn state_of(cell: &Cell) -> (i8, f64, bool, String) {
    match &cell.confirmed {
        Some(Known::Listed(listing)) => (1, listing.weight, listing.certain, listing.codes.clone()),
        Some(Known::Good(listing)) => (0, listing.weight, false, listing.codes.clone()),
        Some(Known::Clean) => (0, 0.0, false, String::new()),
        None => (-1, 0.0, false, String::new()),
    }
}

/// A binding has one state in a zone, that of the address that is worse off: listed is worse than unknown, and that worse
/// than not listed.
fn severity(of: &ListingSnapshot) -> (bool, bool, bool, u64) {
    (of.state == 1, of.state == -1, of.certain, of.weight.max(0.0).to_bits())
}

fn of_binding(zone: &Watched, binding: &BindingName, address: IpAddr, cell: &Cell) -> ListingSnapshot {
    let (state, weight, certain, codes) = state_of(cell);
    ListingSnapshot {
        binding: binding.clone(),
        address: address.to_string(),
        zone: zone.name.clone(),
        state,
        weight,
        certain,
        codes,
        text: cell.text.clone().unwrap_or_default(),
        pending: cell.pending.is_some(),
        first_seen: cell.on_list_since(),
        confirmed_at: cell.confirmed_at,
        last_clean: cell.last_clean,
        last_conclusive: cell.last_conclusive,
    }
}

fn of_a_domain(zone: &Watched, domain: &str, users: Users, cell: &Cell) -> DomainSnapshot {
    let (state, weight, _, codes) = state_of(cell);
    DomainSnapshot {
        domain: domain.to_owned(),
        bindings: users.bindings,
        tenants: users.tenants,
        zone: zone.name.clone(),
        state,
        weight,
        codes,
        text: cell.text.clone().unwrap_or_default(),
        pending: cell.pending.is_some(),
        first_seen: cell.on_list_since(),
        last_conclusive: cell.last_conclusive,
    }
}
