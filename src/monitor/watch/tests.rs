//! Stories of listings, by the second.

use std::net::IpAddr;

use super::*;
use crate::monitor::zone::tests::{good, listed, zone};
use crate::reputation::{Evidence, fixtures};

fn names(count: usize) -> Vec<BindingName> {
    (0..count).map(|i| BindingName::new(format!("b{i:02}"))).collect()
}

pub(super) fn addressed(count: usize) -> Vec<(BindingName, IpAddr)> {
    (0..count).map(|i| (BindingName::new(format!("b{i:02}")), IpAddr::from([192, 0, 2, 3 * i as u8 + 1]))).collect()
}

pub(super) fn watch(zones: &[&str], bindings: usize) -> Watch {
    let mut rules = fixtures::config(&[], &[]).monitor;
    rules.zones = zones.iter().map(|name| zone(name)).collect();
    Watch::new(&rules, &addressed(bindings), at(0))
}

pub(super) fn at(second: i64) -> Wall {
    Wall::from_millis(1_800_000_000_000 + second * 1000)
}

/// The first `count` bindings get `answer`, the others are not listed.
pub(super) fn answers(of: usize, count: usize, answer: &AnswerClass) -> Vec<(BindingName, AnswerClass)> {
    let class = |i| if i < count { answer.clone() } else { AnswerClass::NotListed };
    names(of).into_iter().enumerate().map(|(i, name)| (name, class(i))).collect()
}

/// A round of `zone` (by number).
pub(super) fn look(watch: &mut Watch, zone: usize, probes: &Probes, answers: &[(BindingName, AnswerClass)], now: Wall) {
    watch.saw(zone, &Seen::round(probes.clone(), answers.to_vec()), now);
}

pub(super) fn told(evidence: Vec<Evidence>) -> Vec<(String, Vec<String>)> {
    let text = |e: Evidence| match e {
        Evidence::Listings { binding, listed, .. } => {
            (binding.to_string(), listed.iter().map(|l| l.zone.to_string()).collect())
        }
        other => panic!("{other:?}"),
    };
    evidence.into_iter().map(text).collect()
}

pub(super) fn states(watch: &Watch) -> Vec<i8> {
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
    // addresses, newly listed → believed; seven side by side are a network, and there are clean ones beside it
    for (of, count, believed) in
        [(4, 3, true), (4, 4, false), (3, 3, true), (20, 6, true), (20, 7, true), (20, 20, false)]
    {
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

/// Fifty bindings at 192.0.2.1 to .50 and a zone `z` of weight 4.
fn fleet() -> (Watch, Vec<BindingName>) {
    let mut rules = fixtures::config(&[], &[]).monitor;
    rules.zones = vec![config::Zone { weight: 4.0, ..zone("z") }];
    let herd: Vec<(BindingName, IpAddr)> =
        (1..=50u8).map(|n| (BindingName::new(format!("b{n:02}")), IpAddr::from([192, 0, 2, n]))).collect();
    (Watch::new(&rules, &herd, at(0)), herd.into_iter().map(|(name, _)| name).collect())
}

fn of_fleet(names: &[BindingName], is_listed: impl Fn(usize) -> bool) -> Vec<(BindingName, AnswerClass)> {
    let answer = |n: usize| if is_listed(n) { listed() } else { AnswerClass::NotListed };
    names.iter().enumerate().map(|(at, name)| (name.clone(), answer(at + 1))).collect()
}

fn listed_ones(evidence: Vec<Evidence>) -> usize {
    told(evidence).iter().filter(|(_, zones)| !zones.is_empty()).count()
}

#[test]
fn a_list_that_lists_the_whole_fleet_takes_out_nobody_and_is_noted_once() {
    let dead = Probes::new(Some(listed()), Some(listed()), Some(listed()));
    for (probes, health) in [(good(), ZoneHealth::Quarantined), (dead, ZoneHealth::Dead)] {
        let (mut watch, names) = fleet();
        look(&mut watch, 0, &good(), &of_fleet(&names, |_| false), at(0));
        watch.take_notes();
        for round in 1..20 {
            look(&mut watch, 0, &probes, &of_fleet(&names, |_| true), at(900 * round));
            assert!(watch.pending().is_empty(), "nobody waits to be confirmed");
            assert_eq!(listed_ones(watch.evidence(at(900 * round))), 0);
        }
        let notes = watch.take_notes();
        assert!(matches!(&notes[..], [Note::Zone { to, .. }] if *to == health), "{notes:?}");
        // It is well again, and later lists a network of ours for good: just those, after four answers.
        for round in 20..22 {
            look(&mut watch, 0, &good(), &of_fleet(&names, |_| false), at(900 * round));
        }
        assert_eq!(watch.snapshot().zones[0].health, "healthy");
        watch.take_notes();
        let begin = 900 * 22;
        look(&mut watch, 0, &good(), &of_fleet(&names, |n| (16..32).contains(&n)), at(begin));
        for confirmation in 1..=3 {
            assert_eq!(listed_ones(watch.evidence(at(begin + 60 * confirmation - 1))), 0, "{confirmation}");
            let (_, waiting) = watch.pending().pop().expect("they wait");
            assert_eq!(waiting.len(), 16);
            let answers = waiting.into_iter().map(|subject| (subject, listed())).collect();
            let seen = Seen { answers, whole: false, ..Seen::round(good(), []) };
            watch.saw(0, &seen, at(begin + 60 * confirmation));
        }
        assert_eq!(listed_ones(watch.evidence(at(begin + 180))), 16);
        let notes = watch.take_notes();
        let networks =
            notes.iter().filter(|n| matches!(n, Note::Networks { networks, .. } if networks == "192.0.2.16/28"));
        let listings = notes.iter().filter(|n| matches!(n, Note::Listed { .. })).count();
        assert_eq!((networks.count(), listings, notes.len()), (1, 16, 17), "{notes:?}");
    }
}

#[test]
fn a_list_that_names_a_sentinel_is_distrusted() {
    let mut watch = watch(&["z"], 4);
    let sentinel = IpAddr::from([192, 0, 2, 250]);
    let with = |answer: AnswerClass| Seen {
        sentinels: vec![(sentinel, answer)],
        ..Seen::round(good(), answers(4, 1, &listed()))
    };
    for second in [0, 60, 120] {
        watch.saw(0, &with(listed()), at(second));
    }
    let zone = &watch.snapshot().zones[0];
    assert_eq!((zone.health, zone.reason.contains("192.0.2.250")), ("quarantined", true), "{}", zone.reason);
    assert_eq!(listed_ones(watch.evidence(at(120))), 0);
    for second in [180, 240, 300, 360] {
        watch.saw(0, &with(AnswerClass::NotListed), at(second));
    }
    assert_eq!(listed_ones(watch.evidence(at(360))), 1, "two good rounds, then two answers");
}

#[test]
fn looks_in_between_count_together_and_do_not_end_a_quarantine() {
    let mut watch = watch(&["z"], 10);
    look(&mut watch, 0, &good(), &answers(10, 0, &listed()), at(0));
    let one =
        |n: usize| Seen { whole: false, ..Seen::round(good(), answers(10, 10, &listed()).into_iter().skip(n).take(1)) };
    for n in [0, 3, 6, 9] {
        watch.saw(0, &one(n), at(10 + n as i64));
    }
    assert_eq!(watch.snapshot().zones[0].health, "quarantined", "the fourth within a round's time");
    for n in [0, 3, 6, 9] {
        watch.saw(0, &one(n), at(100 + n as i64));
    }
    assert_eq!(watch.snapshot().zones[0].health, "quarantined");
}

#[test]
fn a_second_resolver_must_agree_once_and_its_silence_is_no_agreement() {
    let mut rules = fixtures::config(&[], &[]).monitor;
    rules.zones = vec![zone("z")];
    rules.second_servers = vec!["127.0.0.1:53".parse().unwrap()];
    let mut watch = Watch::new(&rules, &addressed(1), at(0));
    let b = Subject::Binding("b00".into());
    let seen = |second: Option<AnswerClass>| Seen {
        seconds: second.map(|answer| (b.clone(), answer)).into_iter().collect(),
        ..Seen::round(good(), answers(1, 1, &listed()))
    };
    let silent = AnswerClass::NoAnswer("timeout");
    for (second, said) in
        [(0, None), (60, Some(silent)), (120, Some(AnswerClass::NotListed)), (180, Some(AnswerClass::NotListed))]
    {
        watch.saw(0, &seen(said), at(second));
        assert_eq!(states(&watch), [-1], "{second}");
    }
    let disputes = watch.take_notes().into_iter().filter(|n| matches!(n, Note::Disputed { .. })).count();
    assert_eq!(disputes, 1);
    assert!(watch.pending().is_empty(), "rounds are enough to wait for the second");
    watch.saw(0, &seen(Some(listed())), at(240));
    assert_eq!(states(&watch), [1]);
}

#[test]
fn a_second_resolver_that_lies_is_as_none() {
    let mut rules = fixtures::config(&[], &[]).monitor;
    rules.zones = vec![zone("z")];
    rules.second_servers = vec!["127.0.0.1:53".parse().unwrap()];
    let mut watch = Watch::new(&rules, &addressed(1), at(0));
    let contradicted = Seen {
        seconds: vec![(Subject::Binding("b00".into()), AnswerClass::NotListed)],
        ..Seen::round(good(), answers(1, 1, &listed()))
    };
    for second in [0, 60] {
        watch.saw(0, &contradicted, at(second));
    }
    assert_eq!(states(&watch), [-1]);
    watch.without_second(true);
    watch.saw(0, &contradicted, at(120));
    assert_eq!(states(&watch), [1], "it contradicts nothing any more");
}

#[test]
fn a_reply_that_names_the_list_counts_once_and_never_alone() {
    let mut watch = watch(&["z"], 1);
    watch.named(0, &"b00".into(), at(0));
    assert_eq!(states(&watch), [-1]);
    look(&mut watch, 0, &good(), &answers(1, 1, &listed()), at(1));
    assert_eq!(states(&watch), [1], "one answer and one reply");
    for second in [10, 70] {
        look(&mut watch, 0, &good(), &answers(1, 0, &listed()), at(second));
    }
    assert_eq!(states(&watch), [0], "clearing takes its answers");
    look(&mut watch, 0, &good(), &answers(1, 1, &listed()), at(130));
    assert_eq!(states(&watch), [0], "what was said before the end is used up");
}

#[test]
fn good_words_take_off_weight_but_excuse_nothing_certain_and_are_not_told_alone() {
    let mut watch = watch(&["bad", "good"], 1);
    let praise = AnswerClass::Good { codes: vec![[127, 0, 0, 18].into()], weight: -1.0 };
    let sums = |watch: &mut Watch, second| -> Vec<Vec<f64>> {
        let weights = |e| match e {
            Evidence::Listings { listed, .. } => listed.iter().map(|l: &Listing| l.weight).collect(),
            other => panic!("{other:?}"),
        };
        watch.evidence(at(second)).into_iter().map(weights).collect()
    };
    let light = AnswerClass::Listed { codes: vec![[127, 0, 0, 2].into()], weight: 2.0, certain: false };
    for second in [-60, 0] {
        look(&mut watch, 1, &good(), &answers(1, 1, &praise), at(second));
    }
    assert_eq!(sums(&mut watch, 0), [Vec::<f64>::new()], "praise alone is no news");
    for second in [0, 60] {
        look(&mut watch, 0, &good(), &answers(1, 1, &light), at(second));
    }
    assert_eq!(sums(&mut watch, 60), [vec![2.0, -1.0]]);
    let certain = AnswerClass::Listed { codes: vec![[127, 0, 0, 4].into()], weight: 4.0, certain: true };
    for second in [120, 180] {
        look(&mut watch, 0, &good(), &answers(1, 1, &certain), at(second));
    }
    assert_eq!(sums(&mut watch, 180), [vec![4.0]]);
    assert_eq!(states(&watch), [1, 0]);
}

#[test]
fn a_listed_domain_falls_on_every_binding_that_goes_by_it_and_on_no_tenants_binding() {
    use crate::monitor::subject::Users;
    let mut rules = fixtures::config(&[], &[]).monitor;
    rules.zones = vec![config::Zone { kind: ZoneKind::Domain, ..zone("dbl") }];
    let mut watch = Watch::new(&rules, &addressed(3), at(0));
    let users = |bindings: &[&str], tenants: &[&str]| Users {
        bindings: bindings.iter().map(|b| (*b).into()).collect(),
        tenants: tenants.iter().map(|t| (*t).into()).collect(),
    };
    let domains: Domains = [
        ("mta.example.net".to_owned(), users(&["b00", "b01"], &[])),
        ("example.net".to_owned(), users(&["b00", "b01"], &[])),
        ("acme.example".to_owned(), users(&[], &["acme"])),
    ]
    .into();
    watch.set_domains(domains.clone());
    assert_eq!(watch.subjects(0).len(), 3);
    let all = watch.subjects(0).into_iter().map(|subject| (subject, listed())).collect::<Vec<_>>();
    for second in [0, 60] {
        watch.saw(0, &Seen { answers: all.clone(), ..Seen::round(good(), []) }, at(second));
    }
    let listings = |e: &Evidence| match e {
        Evidence::Listings { binding, listed, .. } => (binding.to_string(), listed.clone()),
        other => panic!("{other:?}"),
    };
    let news: Vec<(String, Vec<Listing>)> = watch.evidence(at(60)).iter().map(listings).collect();
    let shown: Vec<(&str, usize)> = news.iter().map(|(binding, listed)| (binding.as_str(), listed.len())).collect();
    assert_eq!(shown, [("b00", 1), ("b01", 1)], "a zone weighs once, and b02 has nothing to do with it");
    let codes = &news[0].1[0].codes;
    assert!(codes.contains("example.net") && codes.ends_with("b00, b01"), "{codes}");
    let tenants: Vec<Note> =
        watch.take_notes().into_iter().filter(|n| n.fields().contains(&("tenant", "acme".into()))).collect();
    assert_eq!(tenants.len(), 1);

    // After a restart it stands until the domains are known again.
    let mut again = Watch::new(&rules, &addressed(3), at(100));
    again.restore(&"b00".into(), &news[0].1, at(100));
    again.set_domains(domains);
    assert!(again.evidence(at(101)).is_empty());
    let none: Vec<_> = all.into_iter().map(|(subject, _)| (subject, AnswerClass::NotListed)).collect();
    let clean = |watch: &mut Watch, second| {
        watch.saw(0, &Seen { answers: none.clone(), ..Seen::round(good(), []) }, at(second));
        told(watch.evidence(at(second)))
    };
    assert!(clean(&mut again, 110).is_empty(), "one clean answer is not the end");
    let waiting = again.pending().pop().map(|(_, waiting)| waiting.len());
    assert_eq!(waiting, Some(2), "those of the binding are asked again soon");
    assert!(clean(&mut again, 170).is_empty(), "the listed one may be a PTR name not seen yet");
    again.reverse_seen(&"b00".into());
    assert_eq!(told(again.evidence(at(171))), [("b00".to_owned(), vec![])]);
}

#[test]
fn of_a_family_that_the_list_does_not_know_nothing_is_asked() {
    let mut rules = fixtures::config(&[], &[]).monitor;
    let both = config::Families { ipv4: true, ipv6: true };
    rules.zones = vec![zone("four"), config::Zone { families: both, ..zone("both") }];
    let herd: Vec<(BindingName, IpAddr)> =
        [("a", "192.0.2.1"), ("b", "2001:db8::1")].map(|(n, a)| (n.into(), a.parse().unwrap())).into();
    let watch = Watch::new(&rules, &herd, at(0));
    assert_eq!((watch.subjects(0).len(), watch.subjects(1).len()), (1, 2));
    assert_eq!(watch.snapshot().zones[0].not_asked, [BindingName::new("b")]);
}

#[test]
fn a_keyed_list_that_fails_asks_whether_its_key_is_active() {
    let mut rules = fixtures::config(&[], &[]).monitor;
    rules.zones = vec![config::Zone { key_file: Some("k".into()), ..zone("z") }];
    let mut watch = Watch::new(&rules, &addressed(1), at(0));
    let failed = AnswerClass::NoAnswer("servfail");
    look(&mut watch, 0, &Probes::new(Some(failed), None, None), &[], at(0));
    assert_eq!(watch.snapshot().zones[0].reason, "positive probe: servfail; is the key active?");
}

#[test]
fn nothing_is_listed_or_cleared_through_a_resolver_that_lies() {
    let mut rules = fixtures::config(&[], &[]).monitor;
    rules.zones = vec![zone("shared"), zone("own")];
    rules.zones[1].servers = vec!["192.0.2.53:53".parse().unwrap()];
    let mut watch = Watch::new(&rules, &addressed(2), at(0));
    for second in [0, 60] {
        look(&mut watch, 0, &good(), &answers(2, 1, &listed()), at(second));
    }
    assert_eq!(told(watch.evidence(at(60))).len(), 2);
    look(&mut watch, 0, &good(), &answers(2, 2, &listed()), at(120));
    watch.distrust(Some("nxdomain"));
    assert!(watch.pending().is_empty(), "nor is anything left half confirmed");
    for second in [180, 240, 300] {
        let liar = Probes { positive: Some(listed()), negative: Some(listed()), random: Some(listed()), ipv6: None };
        look(&mut watch, 0, &liar, &answers(2, 0, &listed()), at(second));
        look(&mut watch, 1, &good(), &answers(2, 2, &listed()), at(second));
    }
    let heard = told(watch.evidence(at(300)));
    let both = vec![
        ("b00".to_owned(), vec!["shared".to_owned(), "own".to_owned()]),
        ("b01".to_owned(), vec!["own".to_owned()]),
    ];
    assert_eq!(heard, both, "a list with servers of its own goes on");
    let health = |watch: &Watch| watch.snapshot().zones.iter().map(|z| z.health).collect::<Vec<_>>();
    assert_eq!(health(&watch), ["resolver", "healthy"]);
    watch.distrust(None);
    for second in [360, 420] {
        look(&mut watch, 0, &good(), &answers(2, 0, &listed()), at(second));
    }
    assert_eq!(health(&watch), ["healthy", "healthy"]);
    assert_eq!(told(watch.evidence(at(420)))[0], ("b00".to_owned(), vec!["own".to_owned()]));
}
