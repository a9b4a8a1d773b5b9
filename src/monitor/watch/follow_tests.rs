//! Lists and bindings that come, go and change while listings stand.

use std::net::{IpAddr, Ipv4Addr};

use super::tests::{addressed, answers, at, look, states, told};
use super::*;
use crate::config::{CodeMeaning, ZoneCode};
use crate::monitor::zone::tests::{good, listed, zone};
use crate::reputation::{Evidence, fixtures};

/// Lists `y` and `z`, three bindings, of which `z` has listed the first; told.
fn listing() -> (config::Monitor, Watch) {
    let mut rules = fixtures::config(&[], &[]).monitor;
    rules.zones = ["y", "z"].map(zone).into();
    let mut watch = Watch::new(&rules, &addressed(3), at(0));
    for (number, count) in [(0, 0), (1, 1)] {
        for second in [0, 60] {
            look(&mut watch, number, &good(), &answers(3, count, &listed()), at(second));
        }
    }
    assert_eq!(states(&watch), [0, 0, 0, 1, 0, 0]);
    assert_eq!(told(watch.evidence(at(60)))[0], ("b00".to_owned(), vec!["z".to_owned()]));
    watch.take_notes();
    (rules, watch)
}

fn of(watch: &Watch, binding: &str) -> Vec<(String, i8)> {
    let listings = watch.snapshot().listings.into_iter().filter(|l| l.binding.as_str() == binding);
    listings.map(|l| (l.zone.to_string(), l.state)).collect()
}

#[test]
fn what_is_known_stays_with_its_list_and_address_whatever_else_changes() {
    let (mut rules, mut watch) = listing();
    // Listed as well, but only once as yet.
    look(&mut watch, 1, &good(), &answers(3, 2, &listed()), at(120));
    let before = watch.snapshot();
    rules.zones.reverse();
    rules.zones.insert(1, zone("new"));
    let mut bindings = addressed(4);
    bindings.remove(2);
    watch.follow(&rules, &bindings, |name| name.as_str() != "new", at(130));
    let after = watch.snapshot();
    let health: Vec<_> = after.zones.iter().map(|zone| (zone.zone.as_str(), zone.health)).collect();
    assert_eq!(health, [("z", "healthy"), ("new", "probing"), ("y", "healthy")]);
    let z = |snapshot: &Snapshot, binding: &str| {
        let same = snapshot.listings.iter().find(|l| (l.zone.as_str(), l.binding.as_str()) == ("z", binding));
        same.map(|l| (l.state, l.pending, l.first_seen, l.confirmed_at, l.last_clean))
    };
    for binding in ["b00", "b01"] {
        assert_eq!(z(&after, binding), z(&before, binding), "{binding}");
    }
    assert_eq!((z(&after, "b02"), z(&after, "b03").map(|seen| seen.0)), (None, Some(-1)));
    assert!(watch.evidence(at(130)).is_empty(), "nothing is news");
    // The second answer confirms what the first began before the change.
    look(&mut watch, 0, &good(), &answers(2, 2, &listed()), at(190));
    assert_eq!(told(watch.evidence(at(190)))[0], ("b01".to_owned(), vec!["z".to_owned()]));
}

#[test]
fn a_list_that_is_gone_says_nothing_any_more() {
    let (mut rules, mut watch) = listing();
    rules.zones.pop();
    watch.follow(&rules, &addressed(3), |_| true, at(61));
    assert_eq!(told(watch.evidence(at(61))), [("b00".to_owned(), vec![])]);
    rules.zones.push(zone("z"));
    watch.follow(&rules, &addressed(3), |name| name.as_str() == "y", at(62));
    assert_eq!(of(&watch, "b00"), [("y".to_owned(), 0), ("z".to_owned(), -1)], "nor when it is back");
    assert!(watch.evidence(at(62)).is_empty());
}

#[test]
fn another_address_inherits_nothing_and_a_binding_that_is_gone_is_not_cleared() {
    let (rules, mut watch) = listing();
    let mut bindings = addressed(3);
    bindings[0].1 = IpAddr::from([192, 0, 2, 200]);
    watch.follow(&rules, &bindings, |_| true, at(61));
    assert_eq!(of(&watch, "b00"), [("y".to_owned(), -1), ("z".to_owned(), -1)]);
    assert_eq!(told(watch.evidence(at(61))), [("b00".to_owned(), vec![])]);

    let (rules, mut watch) = listing();
    let remembered = watch.told[&BindingName::new("b00")].clone();
    watch.follow(&rules, &addressed(3)[1..], |_| true, at(61));
    assert!(watch.evidence(at(61)).is_empty(), "what reputation remembers of it is for the day it comes back");
    watch.follow(&rules, &addressed(3), |_| true, at(70));
    assert_eq!(of(&watch, "b00")[1].1, -1);
    watch.restore(&"b00".into(), &remembered, at(70));
    assert_eq!(of(&watch, "b00")[1].1, 1);
    assert!(watch.evidence(at(70)).is_empty(), "as it was told");
    // Back with another address.
    watch.follow(&rules, &addressed(3)[1..], |_| true, at(80));
    watch.follow(&rules, &bindings, |_| true, at(90));
    watch.disown(&"b00".into(), &remembered);
    assert_eq!(told(watch.evidence(at(90))), [("b00".to_owned(), vec![])]);
}

#[test]
fn other_weights_hold_at_once() {
    let code = |last: u8, meaning| ZoneCode { octets: [(127, 127), (0, 0), (0, 0), (last, last)], mask: None, meaning };
    let certain = CodeMeaning::Listed { weight: 9.0, certain: true };
    let good_word = CodeMeaning::Good { weight: -1.0 };
    // (codes of the list, its weight, what is then told of the listing by 127.0.0.2)
    type Row = (Vec<ZoneCode>, f64, Option<(f64, bool)>);
    let table: [Row; 5] = [
        (vec![], 3.0, None),
        (vec![], 1.0, Some((1.0, false))),
        (vec![code(2, certain)], 1.0, Some((9.0, true))),
        (vec![code(2, good_word)], 1.0, Some((0.0, false))),
        (vec![code(3, certain)], 1.0, Some((0.0, false))),
    ];
    for (codes, weight, expected) in table {
        let (mut rules, mut watch) = listing();
        rules.zones[1] = config::Zone { codes: codes.clone(), weight, ..zone("z") };
        watch.follow(&rules, &addressed(3), |_| true, at(61));
        let weights: Vec<(f64, bool)> = watch
            .evidence(at(61))
            .iter()
            .map(|evidence| match evidence {
                Evidence::Listings { listed, .. } => {
                    listed.first().map_or((0.0, false), |listing| (listing.weight, listing.certain))
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(weights, expected.into_iter().collect::<Vec<_>>(), "{codes:?} {weight}");
    }
}

#[test]
fn a_list_that_is_asked_elsewhere_proves_itself_anew_while_its_listings_stand() {
    let (rules, mut watch) = listing();
    look(&mut watch, 1, &good(), &answers(3, 2, &listed()), at(120));
    let refused =
        Seen::round(good(), [(BindingName::new("b00"), AnswerClass::Refused(Ipv4Addr::new(127, 255, 255, 254)))]);
    watch.saw(1, &refused, at(130));
    assert_eq!(watch.snapshot().zones[1].health, "blocked");
    watch.follow(&rules, &addressed(3), |name| name.as_str() == "y", at(140));
    assert_eq!((watch.snapshot().zones[1].health, of(&watch, "b00")[1].1), ("probing", 1));
    assert!(watch.pending().is_empty(), "what was not confirmed begins anew");
    // As at the start one good look is enough.
    look(&mut watch, 1, &good(), &answers(3, 1, &listed()), at(150));
    assert_eq!(watch.snapshot().zones[1].health, "healthy");
    assert!(watch.evidence(at(150)).is_empty());
}

#[test]
fn a_list_of_domains_keeps_what_it_said_of_those_that_stay() {
    let mut rules = fixtures::config(&[], &[]).monitor;
    rules.zones = vec![config::Zone { kind: ZoneKind::Domain, ..zone("dbl") }];
    rules.fcrdns = false;
    let mut watch = Watch::new(&rules, &addressed(2), at(0));
    let used = |by: &str| Users { bindings: vec![by.into()], tenants: Vec::new() };
    let domains: Domains = [("one.example".to_owned(), used("b00")), ("two.example".to_owned(), used("b01"))].into();
    watch.set_domains(domains.clone());
    for second in [0, 60] {
        let answers = ["one.example", "two.example"].map(|name| (Subject::Domain(name.to_owned()), listed()));
        let seen = Seen { answers: answers.into(), ..Seen::round(good(), []) };
        watch.saw(0, &seen, at(second));
    }
    assert_eq!(watch.evidence(at(60)).len(), 2);
    rules.zones[0].weight = 1.0;
    rules.zones.insert(0, zone("z"));
    watch.follow(&rules, &addressed(2), |_| true, at(61));
    watch.set_domains([("one.example".to_owned(), used("b00"))].into());
    let domains: Vec<_> = watch.snapshot().domains.into_iter().map(|d| (d.domain, d.state, d.weight)).collect();
    assert_eq!(domains, [("one.example".to_owned(), 1, 1.0)]);
    assert_eq!(told(watch.evidence(at(61))), [("b00".into(), vec!["dbl".into()]), ("b01".into(), vec![])]);
}
