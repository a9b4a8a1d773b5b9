//! Bindings with two addresses: a listing of either is the binding's.

use std::net::IpAddr;

use super::tests::at;
use super::*;
use crate::config::Families;
use crate::monitor::zone::tests::{good, listed, zone};
use crate::reputation::{Evidence, fixtures};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("address")
}

fn four() -> (BindingName, IpAddr) {
    ("b".into(), ip("192.0.2.1"))
}

fn six() -> (BindingName, IpAddr) {
    ("b".into(), ip("2001:db8::1"))
}

fn rules() -> config::Monitor {
    let mut rules = fixtures::config(&[], &[]).monitor;
    rules.zones = vec![zone("z"), zone("four")];
    rules.zones[0].families = Families { ipv4: true, ipv6: true };
    rules
}

fn watch(bindings: &[(BindingName, IpAddr)]) -> Watch {
    Watch::new(&rules(), bindings, at(0))
}

/// A round of `z`, in which these addresses are listed.
fn look(watch: &mut Watch, on: &[&str], second: i64) {
    let subjects = watch.subjects(0);
    let answer = |subject: Subject| {
        let is_on = on.iter().any(|address| watch.addresses.get(&subject) == Some(&ip(address)));
        (subject, if is_on { listed() } else { AnswerClass::NotListed })
    };
    let answers = subjects.into_iter().map(answer).collect();
    watch.saw(0, &Seen { answers, ..Seen::round(good(), []) }, at(second));
}

/// Codes of what is told.
fn told(watch: &mut Watch, second: i64) -> Option<Vec<String>> {
    let mut news = watch.evidence(at(second));
    assert!(news.len() <= 1, "{news:?}");
    news.pop().map(|news| match news {
        Evidence::Listings { listed, .. } => listed.into_iter().map(|listing| listing.codes).collect(),
        other => panic!("{other:?}"),
    })
}

#[test]
fn each_address_is_asked_about_where_the_list_knows_its_family() {
    let watch = watch(&[four(), six()]);
    let first = Subject::Binding("b".into());
    assert_eq!(watch.subjects(0), [first.clone(), Subject::Second("b".into(), ip("2001:db8::1"))]);
    assert_eq!(watch.subjects(1), [first]);
    assert_eq!(watch.asked_of(0, &"b".into()).count(), 2);
    assert_eq!(watch.asked_of(0, &"c".into()).count(), 0);
    assert!(watch.snapshot().zones.iter().all(|zone| zone.not_asked.is_empty()));
}

#[test]
fn a_listing_of_either_address_is_the_bindings_and_says_of_which() {
    for (address, codes) in [("192.0.2.1", "127.0.0.2 for 192.0.2.1"), ("2001:db8::1", "127.0.0.2 for 2001:db8::1")] {
        let mut watch = watch(&[four(), six()]);
        look(&mut watch, &[address], 0);
        assert_eq!(told(&mut watch, 0).unwrap_or_default(), [""; 0], "{address}: one answer is no listing");
        look(&mut watch, &[address], 60);
        assert_eq!(told(&mut watch, 60).as_deref(), Some(&[codes.to_owned()][..]));
        let shown = watch.snapshot().listings;
        let shown: Vec<_> = shown.iter().map(|l| (l.zone.as_str(), l.state, l.codes.as_str(), &*l.address)).collect();
        assert_eq!(shown, [("z", 1, codes, address), ("four", -1, "", "192.0.2.1")]);
        let note = watch.take_notes().into_iter().find(|note| matches!(note, Note::Listed { .. })).expect("told");
        let fields = note.fields();
        assert!(fields.contains(&("binding", "b".to_owned())) && fields.contains(&("address", address.to_owned())));
        look(&mut watch, &[], 120);
        look(&mut watch, &[], 180);
        assert_eq!(told(&mut watch, 180), Some(Vec::new()), "{address}: it ends");
    }
}

#[test]
fn both_addresses_on_one_list_weigh_once() {
    let mut watch = watch(&[four(), six()]);
    for second in [0, 60] {
        look(&mut watch, &["192.0.2.1", "2001:db8::1"], second);
    }
    assert_eq!(told(&mut watch, 60).map(|codes| codes.len()), Some(1));
}

#[test]
fn what_is_remembered_of_one_address_is_not_cleared_by_the_other() {
    let remembered =
        Listing { zone: "z".into(), weight: 3.0, certain: false, codes: "127.0.0.2 for 2001:db8::1".into() };
    let mut watch = watch(&[four(), six()]);
    watch.restore(&"b".into(), std::slice::from_ref(&remembered), at(0));
    assert_eq!(told(&mut watch, 0), None, "nothing is news");
    assert_eq!(watch.snapshot().listings[0].codes, remembered.codes);
    for second in [0, 60] {
        look(&mut watch, &["2001:db8::1"], second);
        assert_eq!(watch.snapshot().listings[0].state, 1);
    }
    // Of one that had only one address it is not said which it was: it stands until all of them are clean.
    let unsaid = Listing { codes: "127.0.0.2".into(), ..remembered };
    let mut watch = self::watch(&[four(), six()]);
    watch.restore(&"b".into(), &[unsaid], at(0));
    for second in [0, 60] {
        look(&mut watch, &["2001:db8::1"], second);
    }
    assert_eq!(told(&mut watch, 60).as_deref(), Some(&["127.0.0.2 for 2001:db8::1".to_owned()][..]));
}

#[test]
fn an_address_keeps_what_is_known_of_it_wherever_it_stands_in_the_file() {
    for (before, after) in [
        (vec![six()], vec![four(), six()]),
        (vec![six(), four()], vec![four(), six()]),
        (vec![four(), six()], vec![six()]),
    ] {
        let mut watch = watch(&before);
        for second in [0, 60] {
            look(&mut watch, &["2001:db8::1"], second);
        }
        told(&mut watch, 60);
        watch.follow(&rules(), &after, |_| true, at(70));
        let listing = &watch.snapshot().listings[0];
        assert_eq!((listing.state, &*listing.address), (1, "2001:db8::1"), "{before:?} {after:?}");
    }
    let mut watch = watch(&[four(), six()]);
    for second in [0, 60] {
        look(&mut watch, &["2001:db8::1"], second);
    }
    told(&mut watch, 60);
    watch.follow(&rules(), &[four()], |_| true, at(70));
    assert_eq!(told(&mut watch, 70), Some(Vec::new()), "what is gone speaks no more");
}
