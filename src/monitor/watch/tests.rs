//! Stories of listings, by the second.

use std::net::IpAddr;

use super::*;
use crate::monitor::zone::tests::{good, listed, zone};
use crate::reputation::{Evidence, fixtures};

fn names(count: usize) -> Vec<BindingName> {
    (0..count).map(|i| BindingName::new(format!("b{i:02}"))).collect()
}

fn addressed(count: usize) -> Vec<(BindingName, IpAddr)> {
    (0..count).map(|i| (BindingName::new(format!("b{i:02}")), IpAddr::from([192, 0, 2, 3 * i as u8 + 1]))).collect()
}

fn watch(zones: &[&str], bindings: usize) -> Watch {
    let mut rules = fixtures::config(&[], &[]).monitor;
    rules.zones = zones.iter().map(|name| zone(name)).collect();
    Watch::new(&rules, &addressed(bindings), at(0))
}

fn at(second: i64) -> Wall {
    Wall::from_millis(1_800_000_000_000 + second * 1000)
}

/// The first `count` bindings get `answer`, the others are not listed.
fn answers(of: usize, count: usize, answer: &AnswerClass) -> Vec<(BindingName, AnswerClass)> {
    let class = |i| if i < count { answer.clone() } else { AnswerClass::NotListed };
    names(of).into_iter().enumerate().map(|(i, name)| (name, class(i))).collect()
}

/// A round of `zone` (by number).
fn look(watch: &mut Watch, zone: usize, probes: &Probes, answers: &[(BindingName, AnswerClass)], now: Wall) {
    watch.saw(zone, &Seen::round(probes.clone(), answers.to_vec()), now);
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
        (AnswerClass::Good { codes: vec![[127, 0, 0, 9].into()], weight: -1.0 }, 2761, Some(vec![]), 0),
    ];
    for (answer, second, expected, state) in story {
        look(&mut watch, 0, &good(), &answers(1, 1, &answer), at(second));
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
    look(&mut watch, 0, &good(), &answers(1, 0, &listed()), at(0));
    look(&mut watch, 1, &good(), &answers(1, 1, &listed()), at(10));
    watch.evidence(at(10));
    look(&mut watch, 1, &good(), &answers(1, 1, &listed()), at(70));
    assert_eq!(seen(watch.evidence(at(70))), (Some(at(10)), None), "z never said clean");
    look(&mut watch, 0, &good(), &answers(1, 1, &listed()), at(100));
    look(&mut watch, 0, &good(), &answers(1, 1, &listed()), at(160));
    assert_eq!(seen(watch.evidence(at(160))), (Some(at(100)), Some(at(0))));
    for second in [200, 260] {
        look(&mut watch, 0, &good(), &answers(1, 0, &listed()), at(second));
    }
    assert_eq!(seen(watch.evidence(at(260))), (Some(at(10)), None), "what is left");
}

#[test]
fn pending_names_what_to_ask_again() {
    let mut watch = watch(&["y", "z"], 3);
    assert!(watch.pending().is_empty());
    look(&mut watch, 1, &good(), &answers(3, 2, &listed()), at(0));
    assert_eq!(watch.pending(), [(1, names(2).into_iter().map(Subject::Binding).collect())]);
    look(&mut watch, 1, &good(), &answers(2, 2, &listed()), at(60));
    assert!(watch.pending().is_empty());
    assert_eq!(told(watch.evidence(at(60))).len(), 3);
}

#[test]
fn answers_of_a_zone_whose_probes_failed_do_not_count() {
    let mut watch = watch(&["z"], 1);
    let lists_all = Probes::new(Some(listed()), Some(listed()), Some(listed()));
    for second in [0, 60, 120] {
        look(&mut watch, 0, &lists_all, &answers(1, 1, &listed()), at(second));
    }
    assert!(watch.evidence(at(120)).is_empty());
    assert_eq!(watch.snapshot().zones[0].health, "dead");
    let notes = watch.take_notes();
    assert!(matches!(&notes[..], [Note::Zone { to: ZoneHealth::Dead, .. }]), "{notes:?}");
    let hollow = Probes::new(Some(AnswerClass::NotListed), None, Some(AnswerClass::NotListed));
    look(&mut watch, 0, &hollow, &answers(1, 0, &listed()), at(180));
    assert_eq!(states(&watch), [-1], "clean means nothing in a hollow zone");
}

#[test]
fn a_zone_that_turns_out_to_lie_takes_its_listings_back_and_a_silent_one_does_not() {
    let dead = Probes::new(Some(listed()), Some(listed()), Some(AnswerClass::NotListed));
    let silent = AnswerClass::NoAnswer("timeout");
    let away = Probes::new(Some(silent.clone()), Some(silent.clone()), Some(silent));
    for (probes, expected) in [(dead, Some(vec![])), (away, None)] {
        let mut watch = watch(&["z"], 1);
        look(&mut watch, 0, &good(), &answers(1, 1, &listed()), at(0));
        look(&mut watch, 0, &good(), &answers(1, 1, &listed()), at(60));
        assert_eq!(told(watch.evidence(at(60))), [("b00".to_owned(), vec!["z".to_owned()])]);
        look(&mut watch, 0, &probes, &[], at(120));
        assert_eq!(told(watch.evidence(at(120))).pop().map(|(_, zones)| zones), expected);
    }
}

#[test]
fn a_silent_zones_listing_ends_after_a_day() {
    let mut watch = watch(&["z"], 1);
    look(&mut watch, 0, &good(), &answers(1, 1, &listed()), at(0));
    look(&mut watch, 0, &good(), &answers(1, 1, &listed()), at(60));
    watch.evidence(at(60));
    assert!(watch.evidence(at(60 + 86_399)).is_empty());
    assert_eq!(told(watch.evidence(at(60 + 86_400))), [("b00".to_owned(), vec![])]);
    assert_eq!(states(&watch), [-1]);
}

#[test]
fn too_many_new_listings_at_once_quarantine_the_zone() {
    // addresses, newly listed → believed
    for (of, count, believed) in [(4, 3, true), (4, 4, false), (3, 3, true), (20, 6, true), (20, 7, false)] {
        let mut watch = watch(&["z"], of);
        for second in [0, 60, 120, 180] {
            look(&mut watch, 0, &good(), &answers(of, count, &listed()), at(second));
        }
        let with_listing = told(watch.evidence(at(180))).iter().filter(|(_, zones)| !zones.is_empty()).count();
        assert_eq!(with_listing, if believed { count } else { 0 }, "{count} of {of}");
    }
}

#[test]
fn one_after_the_other_is_no_blast() {
    let mut watch = watch(&["z"], 10);
    for count in 1..=10 {
        look(&mut watch, 0, &good(), &answers(10, count, &listed()), at(900 * count as i64));
        look(&mut watch, 0, &good(), &answers(10, count, &listed()), at(900 * count as i64 + 60));
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
        look(&mut watch, 0, &good(), &answers(2, 1, &answer), at(0));
        assert_eq!(watch.snapshot().zones[0].health, health);
        assert_eq!(states(&watch), [-1, -1]);
    }
}

#[test]
fn a_restored_listing_stands_until_its_own_zone_clears_it() {
    let mut watch = watch(&["y", "z"], 1);
    let listing = Listing { zone: "z".into(), weight: 3.0, certain: false, codes: "127.0.0.2".into() };
    let gone = Listing { zone: "gone".into(), ..listing.clone() };
    watch.restore(&"b00".into(), &[listing, gone], at(0));
    assert_eq!(told(watch.evidence(at(0))), [("b00".to_owned(), vec!["z".to_owned()])], "gone is gone");
    look(&mut watch, 0, &good(), &answers(1, 0, &listed()), at(1));
    assert!(watch.evidence(at(1)).is_empty());
    look(&mut watch, 1, &good(), &answers(1, 0, &listed()), at(2));
    assert!(watch.evidence(at(2)).is_empty());
    look(&mut watch, 1, &good(), &answers(1, 0, &listed()), at(62));
    assert_eq!(told(watch.evidence(at(62))), [("b00".to_owned(), vec![])]);
}

#[test]
fn a_restored_listing_ends_when_no_zone_is_left() {
    let mut watch = watch(&[], 1);
    let listing = Listing { zone: "z".into(), weight: 3.0, certain: false, codes: "127.0.0.2".into() };
    watch.restore(&"b00".into(), &[listing], at(0));
    assert_eq!(told(watch.evidence(at(0))), [("b00".to_owned(), vec![])]);
}

#[test]
fn an_unknown_code_is_noted_once_and_says_nothing() {
    let mut watch = watch(&["z"], 2);
    let strange = AnswerClass::Unknown([127, 0, 0, 1].into());
    look(&mut watch, 0, &good(), &answers(2, 2, &strange), at(0));
    look(&mut watch, 0, &good(), &answers(2, 2, &strange), at(60));
    let codes = watch.take_notes().into_iter().filter(|n| matches!(n, Note::UnknownCode { .. })).count();
    assert_eq!((codes, states(&watch)), (1, vec![-1, -1]));
}
