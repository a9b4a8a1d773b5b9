//! Stories of what may be held against a binding and what may not: shared domains, good words, silent witnesses.

use std::net::IpAddr;

use super::tests::{addressed, answers, at, look, states, told, watch};
use super::*;
use crate::monitor::subject::Users;
use crate::monitor::zone::tests::{good, listed, zone};
use crate::reputation::{Evidence, fixtures};

fn users(bindings: &[&str], tenants: &[&str]) -> Users {
    Users {
        bindings: bindings.iter().map(|b| (*b).into()).collect(),
        tenants: tenants.iter().map(|t| (*t).into()).collect(),
    }
}

fn listing(weight: f64) -> AnswerClass {
    AnswerClass::Listed { codes: vec![[127, 0, 0, 2].into()], weight, certain: false }
}

fn praise(weight: f64) -> AnswerClass {
    AnswerClass::Good { codes: vec![[127, 0, 0, 18].into()], weight }
}

/// The summed weight told of each binding.
fn sums(evidence: &[Evidence]) -> Vec<f64> {
    let sum = |e: &Evidence| match e {
        Evidence::Listings { listed, .. } => listed.iter().map(|l| l.weight).sum(),
        other => panic!("{other:?}"),
    };
    evidence.iter().map(sum).collect()
}

#[test]
fn a_listed_ehlo_domain_of_the_whole_fleet_suspends_none_of_it() {
    let mut rules = fixtures::config(&[], &[]).monitor;
    let domains = |name| config::Zone { kind: ZoneKind::Domain, ..zone(name) };
    rules.zones = vec![domains("dbl"), domains("surbl"), zone("light")];
    let mut watch = Watch::new(&rules, &addressed(3), at(0));
    watch.set_domains([("mta.example.net".to_owned(), users(&["b00", "b01", "b02"], &[]))].into());
    let all = vec![(Subject::Domain("mta.example.net".into()), listing(3.0))];
    for second in [0, 60] {
        for zone in [0, 1] {
            watch.saw(zone, &Seen { answers: all.clone(), ..Seen::round(good(), []) }, at(second));
        }
        look(&mut watch, 2, &good(), &answers(3, 1, &listing(1.0)), at(second));
    }
    let news = watch.evidence(at(60));
    assert_eq!(sums(&news), [3.0; 3], "throttled, and no further by a notice of one of the addresses");
    let Evidence::Listings { listed, .. } = &news[1] else { panic!("{news:?}") };
    assert_eq!(listed.len(), 2, "both are told");
}

#[test]
fn a_good_word_hides_no_listing_that_would_throttle_alone_and_needs_its_answers() {
    // listings, good words, sum after one answer of the good list, sum after two
    let table: &[(&[f64], f64, f64, f64)] =
        &[(&[3.5], -1.0, 3.5, 3.5), (&[2.0], -1.0, 2.0, 1.0), (&[1.0], -2.0, 1.0, 0.0), (&[3.5, 1.0], -2.0, 4.5, 3.5)];
    for (weights, word, once, twice) in table {
        let mut watch = watch(&["good", "x", "y"], 1);
        for second in [0, 60] {
            for (index, weight) in weights.iter().enumerate() {
                look(&mut watch, index + 1, &good(), &answers(1, 1, &listing(*weight)), at(second));
            }
        }
        let sum = |watch: &mut Watch, second| sums(&watch.evidence(at(second))).first().copied();
        let before = sum(&mut watch, 60);
        look(&mut watch, 0, &good(), &answers(1, 1, &praise(*word)), at(100));
        assert_eq!(sum(&mut watch, 100).or(before), Some(*once), "{weights:?} {word}: one answer");
        look(&mut watch, 0, &good(), &answers(1, 1, &praise(*word)), at(160));
        assert_eq!(sum(&mut watch, 160).or(before), Some(*twice), "{weights:?} {word}: two answers");
        look(&mut watch, 0, &good(), &answers(1, 0, &praise(*word)), at(200));
        assert_eq!(sum(&mut watch, 200), None, "nor does one answer take it away");
    }
}

#[test]
fn many_notices_are_no_suspension() {
    let names = ["a", "b", "c", "d", "e"];
    let mut watch = watch(&names, 1);
    for second in [0, 60] {
        (0..names.len()).for_each(|zone| look(&mut watch, zone, &good(), &answers(1, 1, &listing(1.0)), at(second)));
    }
    assert_eq!(sums(&watch.evidence(at(60))), [3.0]);
}

/// One binding, one zone, a second resolver.
fn with_second() -> (Watch, Subject) {
    let mut rules = fixtures::config(&[], &[]).monitor;
    rules.zones = vec![zone("z")];
    rules.second_servers = vec!["127.0.0.1:53".parse().unwrap()];
    (Watch::new(&rules, &addressed(1), at(0)), Subject::Binding("b00".into()))
}

fn seen(subject: &Subject, answer: &AnswerClass, second: Option<AnswerClass>) -> Seen {
    Seen {
        seconds: second.map(|answer| (subject.clone(), answer)).into_iter().collect(),
        ..Seen::round(good(), answers(1, 1, answer))
    }
}

#[test]
fn a_silent_second_resolver_stops_no_listing_for_good_and_is_noted_once() {
    let (mut watch, b) = with_second();
    let silent = || Some(AnswerClass::NoAnswer("timeout"));
    for (round, second) in [silent(), None, silent()].into_iter().enumerate() {
        watch.saw(0, &seen(&b, &listed(), second), at(60 * round as i64));
        assert_eq!(states(&watch), [-1], "{round}");
        assert_eq!(watch.pending().len(), 1, "{round}: asked again soon");
    }
    watch.saw(0, &seen(&b, &listed(), silent()), at(180));
    assert_eq!(states(&watch), [1], "twice the confirmations without it");
    let notes = watch.take_notes();
    let silences = notes.iter().filter(|n| n.what() == "second_silent").count();
    assert_eq!(silences, 1, "{notes:?}");
}

#[test]
fn the_second_resolver_is_asked_for_the_end_of_a_listing_too() {
    let (mut watch, b) = with_second();
    for second in [0, 60] {
        watch.saw(0, &seen(&b, &listed(), Some(listed())), at(second));
    }
    assert_eq!(states(&watch), [1]);
    for second in [120, 180, 240] {
        watch.saw(0, &seen(&b, &AnswerClass::NotListed, Some(listed())), at(second));
        assert_eq!(states(&watch), [1], "{second}");
    }
    watch.saw(0, &seen(&b, &AnswerClass::NotListed, Some(AnswerClass::NotListed)), at(300));
    assert_eq!(states(&watch), [0]);
}

#[test]
fn an_answer_that_comes_a_moment_early_counts() {
    let mut watch = watch(&["z"], 1);
    look(&mut watch, 0, &good(), &answers(1, 1, &listed()), at(0));
    look(&mut watch, 0, &good(), &answers(1, 1, &listed()), Wall::from_millis(at(60).as_millis() - 300));
    assert_eq!(states(&watch), [1]);
}

#[test]
fn replies_that_name_the_list_stand_in_for_clean_witnesses() {
    let herd: Vec<(BindingName, IpAddr)> =
        (0..8u8).map(|n| (BindingName::new(format!("b{n:02}")), IpAddr::from([192, 0, 2, 16 + n]))).collect();
    let mut rules = fixtures::config(&[], &[]).monitor;
    rules.zones = vec![zone("z")];
    let mut watch = Watch::new(&rules, &herd, at(0));
    let round = |watch: &mut Watch, second| {
        look(watch, 0, &good(), &answers(8, 8, &listed()), at(second));
        watch.snapshot().zones[0].health
    };
    assert_eq!((round(&mut watch, 0), round(&mut watch, 60)), ("quarantined", "quarantined"));
    watch.named(0, &"b03".into(), at(100));
    for second in [120, 180, 240, 300, 360] {
        round(&mut watch, second);
    }
    assert_eq!(watch.snapshot().zones[0].health, "healthy");
    let out = told(watch.evidence(at(360))).iter().filter(|(_, zones)| !zones.is_empty()).count();
    assert_eq!(out, 8);
}

#[test]
fn bindings_behind_one_address_are_one_address() {
    let herd: Vec<(BindingName, IpAddr)> =
        (0..4).map(|n| (BindingName::new(format!("b{n:02}")), IpAddr::from([192, 0, 2, 1]))).collect();
    let mut rules = fixtures::config(&[], &[]).monitor;
    rules.zones = vec![zone("z")];
    let mut watch = Watch::new(&rules, &herd, at(0));
    for second in [0, 60] {
        look(&mut watch, 0, &good(), &answers(4, 4, &listed()), at(second));
    }
    assert_eq!(states(&watch), [1; 4]);
}

#[test]
fn a_listing_from_before_the_doubt_stands_as_long_as_the_list_says_so() {
    let mut watch = watch(&["z"], 10);
    for second in [0, 60] {
        look(&mut watch, 0, &good(), &answers(10, 1, &listed()), at(second));
    }
    for hour in 3..40 {
        look(&mut watch, 0, &good(), &answers(10, 10, &listed()), at(3600 * hour));
        watch.evidence(at(3600 * hour));
    }
    assert_eq!(watch.snapshot().zones[0].health, "quarantined");
    assert_eq!(states(&watch)[..2], [1, -1]);
}
