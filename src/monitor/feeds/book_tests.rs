//! Observations that come, age and go.

use std::time::Duration;

use super::super::page::{Verdict, tell};
use super::super::testing;
use super::*;
use crate::reputation::{Evidence, Subject};

const NOW: Wall = Wall::from_millis(1_795_334_400_000);
const DAY: Duration = Duration::from_secs(86_400);

fn feed() -> Feed {
    testing::feed(
        "kind = \"snds\"\ntoken_file = \"t\"\nclient_id = \"c\"\nprovider = \"microsoft\"\nhalf_life = \"1d\"\nmax_age = \"5d\"\n",
    )
}

fn herd() -> Herd {
    Herd::new(&testing::config(""))
}

fn seen(ip: &str, metric: &str, number: f64, ends: Wall) -> Observation {
    Observation::new(Scope::Address(ip.parse().unwrap()), metric, Value::exact(number), (ends, ends), "", ends)
}

fn back(days: u32) -> Wall {
    Wall::from_millis(NOW.as_millis() - i64::from(days) * 86_400_000)
}

fn route(binding: &str) -> Subject {
    Subject::Route(binding.into(), "microsoft".into())
}

fn judge(book: &Book, now: Wall) -> BTreeMap<Subject, Verdict> {
    let mut verdicts = BTreeMap::new();
    book.page().judge(&feed(), &herd(), &mut verdicts, now);
    verdicts
}

#[test]
fn red_throttles_the_route_from_the_end_of_its_day_until_it_has_aged() {
    let mut book = Book::default();
    let turns = book.take(vec![seen("192.0.2.11", "filter_result", 2.0, back(1))], &feed(), &herd(), NOW).turns;
    assert_eq!((turns.len(), turns[0].to), (1, Grade::Bad));
    let verdicts = judge(&book, NOW);
    assert_eq!(verdicts.keys().collect::<Vec<_>>(), [&route("a")], "and nobody else");
    assert_eq!(verdicts[&route("a")].until, Some(back(1).plus(DAY * 2)), "two half-lives from the end of the period");
    assert_eq!(judge(&book, back(1).plus(DAY * 2)), BTreeMap::new(), "then nothing is known");
    assert_eq!(book.page().grades(&feed(), &herd(), NOW.plus(DAY)).get(&BindingName::new("a")), None);
}

#[test]
fn a_later_good_day_lifts_and_a_late_report_of_an_earlier_day_does_not() {
    let mut book = Book::default();
    let feed = feed();
    book.take(vec![seen("192.0.2.11", "filter_result", 2.0, back(1))], &feed, &herd(), NOW);
    assert!(book.take(vec![seen("192.0.2.11", "filter_result", 0.0, back(2))], &feed, &herd(), NOW).turns.is_empty());
    assert!(judge(&book, NOW)[&route("a")].until.is_some());
    let turns = book.take(vec![seen("192.0.2.11", "filter_result", 0.0, NOW)], &feed, &herd(), NOW).turns;
    assert_eq!((turns[0].from, turns[0].to), (Some(Grade::Bad), Grade::Good));
    assert_eq!(judge(&book, NOW)[&route("a")], Verdict::default());
}

#[test]
fn missing_data_are_neither_good_nor_bad() {
    let (mut book, feed) = (Book::default(), feed());
    assert_eq!(judge(&book, NOW), BTreeMap::new());
    book.take(vec![seen("192.0.2.11", "message_recipients", 9.0, NOW)], &feed, &herd(), NOW);
    assert_eq!(judge(&book, NOW), BTreeMap::new(), "a count says nothing");
    book.take(vec![seen("192.0.2.12", "filter_result", 2.0, back(6))], &feed, &herd(), NOW);
    assert_eq!(book.all().count(), 1, "too old to be taken");
    assert_eq!(book.page().grades(&feed, &herd(), NOW), BTreeMap::new());
}

#[test]
fn good_news_of_one_metric_do_not_undo_bad_news_of_another() {
    let (mut book, feed) = (Book::default(), feed());
    book.take(
        vec![seen("192.0.2.11", "trap_hits", 1.0, back(1)), seen("192.0.2.11", "filter_result", 0.0, NOW)],
        &feed,
        &herd(),
        NOW,
    );
    assert!(judge(&book, NOW)[&route("a")].words[0].contains("trap_hits 1"));
    assert_eq!(book.page().grades(&feed, &herd(), NOW)[&BindingName::new("a")], Grade::Bad);
}

#[test]
fn only_news_are_told() {
    let (mut book, mut told) = (Book::default(), BTreeMap::new());
    book.take(vec![seen("192.0.2.11", "blocked", 0.0, NOW)], &feed(), &herd(), NOW);
    let first = tell(&mut told, judge(&book, NOW));
    assert!(matches!(&first[..], [Evidence::Reported { until: None, .. }]), "lifts what an earlier run was told");
    assert_eq!(tell(&mut told, judge(&book, NOW)), []);
    book.take(vec![seen("192.0.2.11", "blocked", 1.0, NOW)], &feed(), &herd(), NOW);
    assert!(matches!(&tell(&mut told, judge(&book, NOW))[..], [Evidence::Reported { until: Some(_), .. }]));
    assert_eq!(tell(&mut told, judge(&book, NOW.plus(DAY * 3))), [], "what has aged ends by itself");
}

#[test]
fn a_clock_that_was_set_back_leaves_nothing_that_never_ages() {
    let (mut book, feed) = (Book::default(), feed());
    book.take(vec![seen("192.0.2.11", "blocked", 1.0, NOW.plus(DAY * 900))], &feed, &herd(), NOW);
    book.sweep(&feed, NOW);
    book.sweep(&feed, NOW.plus(DAY * 5));
    assert_eq!(book.all().count(), 0);
}

#[test]
fn influence_halves_and_ends() {
    let feed = feed();
    let after = |days: u32| feed.influence(DAY * days);
    assert_eq!([after(0), after(1), after(2), after(5), after(50)], [1.0, 0.5, 0.25, 0.0, 0.0]);
}

#[test]
fn a_domain_is_its_tenants_unless_only_certain_bindings_carry_it() {
    let lines = "kind = \"postmaster\"\ncredentials_file = \"c\"\nprovider = \"microsoft\"\ncarried_by = { \"news.example\" = [\"b\"] }\n";
    let (feed, herd) = (testing::feed(lines), herd());
    let of = |domain: &str| {
        let scope = Scope::Domain(domain.to_owned());
        let value = Value::exact(0.5);
        Observation::new(scope, "low_ip_reputation", value, (NOW, NOW), "", NOW)
    };
    let mut book = Book::default();
    let turns = book.take(vec![of("news.example"), of("t.example")], &feed, &herd, NOW).turns;
    assert_eq!(turns.len(), 2, "both are told");
    let mut verdicts = BTreeMap::new();
    book.page().judge(&feed, &herd, &mut verdicts, NOW);
    assert_eq!(verdicts.into_keys().collect::<Vec<_>>(), [route("b")]);
    assert_eq!(herd.known_name(&Scope::Domain("t.example".into())), Some("t.example"));
    assert_eq!(herd.known_name(&Scope::Domain("other.example".into())), None);
}

/// Twenty bindings, 192.0.2.101 to .120, besides the two.
fn fleet() -> Herd {
    let binding =
        |n: u32| format!("[binding.m{n}]\nbind_address = \"127.0.0.{n}\"\npublic_address = \"192.0.2.{n}\"\n");
    Herd::new(&testing::config(&(101..121).map(binding).collect::<String>()))
}

fn blocked(which: std::ops::Range<u32>, yes: f64) -> Vec<Observation> {
    which.map(|n| seen(&format!("192.0.2.{n}"), "blocked", yes, NOW)).collect()
}

#[test]
fn more_than_a_share_that_turns_bad_at_once_is_held_and_what_was_bad_before_stays() {
    let herd = fleet();
    // (bad before, bad now, how many of them are believed), of 22 with a share of 0.3: 6.6
    for (before, now, believed) in [
        (0..0, 101..107, 6),
        (0..0, 101..108, 0),
        (101..104, 101..110, 9),
        (101..104, 101..111, 3),
        (101..103, 103..121, 0),
    ] {
        let mut book = Book::default();
        book.take(blocked(before.clone(), 1.0), &feed(), &herd, NOW);
        let good = before.clone().filter(|n| !now.contains(n)).flat_map(|n| blocked(n..n + 1, 0.0));
        book.take(blocked(now.clone(), 1.0).into_iter().chain(good).collect(), &feed(), &herd, NOW);
        let acting = book.page().acting(&feed(), &herd, NOW);
        assert_eq!(acting.len(), believed, "{before:?} {now:?}");
        assert_eq!(book.page().bad(&feed(), &herd, NOW).len() - acting.len(), book.held().len());
        let again = Book::restored(book.all().map(|seen| Observation::clone(seen)).collect(), book.held().clone());
        assert_eq!(again.page().acting(&feed(), &herd, NOW), acting, "also after a restart");
    }
    let mut small = Book::default();
    small.take(
        vec![seen("192.0.2.11", "blocked", 1.0, NOW), seen("192.0.2.12", "blocked", 1.0, NOW)],
        &feed(),
        &self::herd(),
        NOW,
    );
    assert_eq!(small.held().len(), 0, "two of two may well be bad");
}

#[test]
fn what_is_held_is_told_of_nobody_and_ends_when_fewer_are_bad() {
    let (herd, mut book) = (fleet(), Book::default());
    let subjects = |book: &Book| {
        let mut verdicts = BTreeMap::new();
        book.page().judge(&feed(), &herd, &mut verdicts, NOW);
        verdicts.into_values().filter(|verdict| verdict.until.is_some()).count()
    };
    book.take(blocked(101..121, 1.0), &feed(), &herd, NOW);
    assert_eq!((subjects(&book), book.held().len()), (0, 20));
    book.take(blocked(101..121, 1.0), &feed(), &herd, NOW);
    assert_eq!((subjects(&book), book.held().len()), (0, 20), "the same again proves nothing");
    book.take(blocked(104..121, 0.0), &feed(), &herd, NOW);
    assert_eq!((subjects(&book), book.held().len()), (3, 0));
}

#[test]
fn strangers_crowd_out_strangers_only() {
    let mut book = Book::default();
    let strangers = |n: u32| (0..n).map(|n| seen(&format!("10.0.{}.{}", n >> 8, n & 255), "blocked", 1.0, NOW));
    let taken = book.take(strangers(3000).collect(), &feed(), &herd(), NOW);
    assert_eq!(taken.dropped, Dropped { ours: 0, others: 1000 });
    let ours = seen("192.0.2.11", "blocked", 1.0, NOW);
    let taken = book.take(strangers(2001).chain([ours]).collect(), &feed(), &herd(), NOW);
    assert_eq!(taken.dropped, Dropped { ours: 0, others: 1 }, "those that are there are kept up to date");
    assert_eq!(book.all().count(), 2001);
    assert!(judge(&book, NOW)[&route("a")].until.is_some());
}

#[test]
fn states_of_the_moment_prove_no_report() {
    let day = |metric: &str| seen("192.0.2.11", metric, 0.0, back(1));
    let now = |metric: &str| seen("192.0.2.11", metric, 0.0, NOW);
    for (kind, seen, expected) in [
        (FeedKind::Snds, vec![day("filter_result"), now("blocked"), now("abnormal")], Some(back(1))),
        (FeedKind::SndsCsv, vec![now("blocked")], None),
        (FeedKind::Postmaster, vec![now("needs_work")], None),
        (FeedKind::Postmaster, vec![now("needs_work"), day("spam_rate")], Some(back(1))),
        (FeedKind::Json, vec![now("blocked")], Some(NOW)),
    ] {
        assert_eq!(newest(&seen, kind), expected, "{kind:?}");
    }
}
