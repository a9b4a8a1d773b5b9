//! What is told of all that speaks for or against a binding, and with which weight.
//!
//! Reputation adds up what it is told, so what must not be added up is taken off here:
//!
//! - Each party that runs lists weighs once, by the worst that it says of the address, and once by what it says of the
//!   domains: two lists made of the same reports are one witness.
//! - Lists that are only worth a notice never add up to more than a throttle, however many there are.
//! - A listed domain is the fault of the domain. Whoever goes by it would be refused from any other address as well, so
//!   that taking out addresses would stop the mail and mend nothing: domains never suspend, nor tip the scale for what
//!   does. (The note of the listing names the domain and the bindings.)
//! - Good words take off what light listings weigh, never anything of a listing that would throttle alone.
//!
//! What weighs nothing because of that is told all the same: it is evidence.

use crate::clock::Wall;
use crate::config::{self, ZoneKind};
use crate::reputation::evidence::Listing;

/// Up to this a listing is a notice.
const NOTICE: f64 = 1.0;

/// When a listing was first seen, and when its zone had last said that it was clean.
pub(super) type SeenOn = (Wall, Option<Wall>);

/// What one zone holds against a binding, or says in its favour.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// With the weight that the zone gives it.
    pub(super) listing: Listing,
    /// Who runs the list.
    pub(super) operator: String,
    pub(super) kind: ZoneKind,
    pub(super) seen: Option<SeenOn>,
}

impl Held {
    fn is_bad(&self) -> bool {
        self.listing.weight >= 0.0
    }

    /// Whether it speaks for its operator before `other`, of the same one.
    fn outweighs(&self, other: &Self) -> bool {
        match (self.is_bad(), other.is_bad()) {
            (true, true) => (self.listing.certain, self.listing.weight) > (other.listing.certain, other.listing.weight),
            (false, false) => self.listing.weight < other.listing.weight,
            (bad, _) => bad,
        }
    }
}

/// What is told of `held`: nothing where nothing is held against the binding; good words only beside what they excuse.
pub(super) fn counted(held: &[Held], rules: &config::Monitor) -> Vec<Listing> {
    if !held.iter().any(Held::is_bad) {
        return Vec::new();
    }
    let mut weights: Vec<f64> =
        held.iter().enumerate().map(|(at, one)| if speaks(at, held) { one.listing.weight } else { 0.0 }).collect();
    let bad = |kind: ZoneKind| held.iter().enumerate().filter(move |(_, one)| one.is_bad() && one.kind == kind);
    let mut room = rules.throttle_weight;
    for (at, _) in bad(ZoneKind::Address).filter(|(_, one)| one.listing.weight <= NOTICE) {
        weights[at] = taken(weights[at], &mut room);
    }
    let of_addresses: f64 = bad(ZoneKind::Address).map(|(at, _)| weights[at]).sum();
    let mut room = (short_of_suspension(rules) - of_addresses).max(0.0);
    for (at, _) in bad(ZoneKind::Domain) {
        weights[at] = taken(weights[at], &mut room);
    }
    let is_certain = bad(ZoneKind::Address).any(|(_, one)| one.listing.certain);
    let light = bad(ZoneKind::Address).filter(|(_, one)| one.listing.weight < rules.throttle_weight);
    let mut room = if is_certain { 0.0 } else { light.map(|(at, _)| weights[at]).sum() };
    for (at, _) in held.iter().enumerate().filter(|(_, one)| !one.is_bad()) {
        weights[at] = -taken(-weights[at], &mut room);
    }
    let told = held.iter().zip(weights).filter(|(one, weight)| one.is_bad() || *weight < 0.0);
    let listing = |(one, weight): (&Held, f64)| Listing {
        weight,
        // What is certain of a domain is not certain of the address.
        certain: one.listing.certain && one.kind == ZoneKind::Address,
        ..one.listing.clone()
    };
    told.map(listing).collect()
}

/// As much of `weight` as there is room for.
fn taken(weight: f64, room: &mut f64) -> f64 {
    let taken = weight.min(*room);
    *room -= taken;
    taken
}

/// The most that may be told where it must not suspend: what throttles, or half of the way where that suspends already.
fn short_of_suspension(rules: &config::Monitor) -> f64 {
    if rules.throttle_weight < rules.suspend_weight { rules.throttle_weight } else { rules.suspend_weight / 2.0 }
}

/// Whether this one speaks for its operator: no other of the operator's says worse, nor the same before it.
fn speaks(at: usize, held: &[Held]) -> bool {
    let one = &held[at];
    let is_same = |of: &Held| (&of.operator, of.kind) == (&one.operator, one.kind);
    let others = held.iter().enumerate().filter(|(other, of)| *other != at && is_same(of));
    let mut worse = others.filter(|(other, of)| of.outweighs(one) || (*other < at && !one.outweighs(of)));
    one.operator.is_empty() || worse.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reputation::fixtures;

    fn held(of: &str, operator: &str, weight: f64) -> Held {
        let (kind, certain) = match of {
            "domain" => (ZoneKind::Domain, false),
            "certain domain" => (ZoneKind::Domain, true),
            "certain" => (ZoneKind::Address, true),
            _ => (ZoneKind::Address, false),
        };
        let listing = Listing { zone: "z".into(), weight, certain, codes: String::new() };
        Held { listing, operator: operator.to_owned(), kind, seen: None }
    }

    #[test]
    fn what_must_not_add_up_does_not() {
        let rules = fixtures::config(&[], &[]).monitor;
        type Row<'a> = (&'a [(&'a str, &'a str, f64)], &'a [f64]);
        // (what, operator, weight) …, weights told
        let table: &[Row<'_>] = &[
            (&[("address", "", 2.0), ("address", "", 2.0)], &[2.0, 2.0]),
            (&[("address", "spike", 2.0), ("address", "spike", 2.5)], &[0.0, 2.5]),
            (&[("certain", "s", 4.0), ("certain", "s", 4.0)], &[4.0, 0.0]),
            (&[("address", "s", 5.0), ("certain", "s", 4.0)], &[0.0, 4.0]),
            (&[("address", "s", 1.0), ("address", "s", -0.5)], &[1.0]),
            (&[("address", "", 2.0), ("address", "s", -0.5), ("address", "s", -1.0)], &[2.0, -1.0]),
            (&[("address", "", 1.0); 5], &[1.0, 1.0, 1.0, 0.0, 0.0]),
            (&[("address", "", 3.0), ("address", "", 1.0)], &[3.0, 1.0]),
            (&[("domain", "", 3.0), ("domain", "", 3.0)], &[3.0, 0.0]),
            (&[("certain domain", "", 9.0)], &[3.0]),
            (&[("domain", "", 3.0), ("address", "", 2.0)], &[1.0, 2.0]),
            (&[("domain", "", 3.0), ("certain", "", 4.0)], &[0.0, 4.0]),
            (&[("domain", "s", 9.0), ("address", "s", 3.5)], &[0.0, 3.5]),
            (&[("address", "", 3.5), ("address", "", -1.0)], &[3.5]),
            (&[("address", "", 2.0), ("address", "", -3.0)], &[2.0, -2.0]),
            (&[("certain", "", 2.0), ("address", "", 2.0), ("address", "", -1.0)], &[2.0, 2.0]),
            (&[("address", "", -1.0)], &[]),
            (&[("address", "", 0.0)], &[0.0]),
        ];
        for (all, expected) in table {
            let all: Vec<Held> = all.iter().map(|(of, operator, weight)| held(of, operator, *weight)).collect();
            let told = counted(&all, &rules);
            let weights: Vec<f64> = told.iter().map(|l| l.weight).collect();
            assert_eq!(weights, *expected, "{all:?}");
        }
        assert!(!counted(&[held("certain domain", "", 9.0)], &rules)[0].certain);
    }

    #[test]
    fn a_domain_suspends_nobody_where_a_throttle_is_a_suspension() {
        let mut rules = fixtures::config(&[], &[]).monitor;
        rules.throttle_weight = rules.suspend_weight;
        assert!(counted(&[held("domain", "", 9.0)], &rules)[0].weight < rules.suspend_weight);
    }
}
