//! The table by itself.

use super::outcome::{Answer, Outcome};
use super::table::*;
use super::*;
use crate::clock::Wall;

const RULES: Rules = Rules {
    interval: Duration::from_secs(3_600),
    jitter: 0.2,
    confirmations: 2,
    confirm_after: Duration::from_secs(60),
};

fn at(seconds: i64) -> Wall {
    Wall::from_millis(1_800_000_000_000 + seconds * 1_000)
}

fn domain() -> Domain {
    "acme.example".parse().unwrap()
}

/// Bindings a and b, in pool `p` of acme.
fn table() -> Table {
    let names = || vec![BindingName::new("a"), BindingName::new("b")];
    let pools = [("acme".into(), vec![("p".into(), names())])].into();
    let mut table = Table::new(RULES, names(), &pools);
    table.name(&"acme".into(), &domain(), at(0));
    table
}

fn answers(outcomes: [Outcome; 2]) -> Vec<Answer> {
    outcomes.map(|outcome| Answer { outcome, reason: Some("why".into()), record: None }).to_vec()
}

fn say(table: &mut Table, outcomes: [Outcome; 2], seconds: i64) {
    table.answered(&domain(), &answers(outcomes), 0.5, at(seconds));
}

fn states(table: &Table) -> Vec<&'static str> {
    let row = table.views().find(|row| row.domain == domain()).unwrap();
    row.bindings.iter().map(|cell| cell.state.as_str()).collect()
}

/// Domain, allowed and barred.
fn told(table: &mut Table) -> Vec<(String, String)> {
    let join = |names: &[BindingName]| names.iter().map(|n| n.as_str().to_owned()).collect::<Vec<_>>().join(" ");
    table.take_news().iter().map(|news| (join(&news.allowed), join(&news.barred))).collect()
}

use Outcome::{Fail, Neutral, None as NoRecord, Pass, PermError, SoftFail, TempError};

#[test]
fn a_binding_is_barred_when_two_answers_say_so_and_free_when_one_does_not() {
    for against in [Fail, SoftFail, PermError] {
        let mut table = table();
        say(&mut table, [Pass, against], 0);
        assert_eq!(states(&table), ["covered", "unknown"], "{against:?}");
        assert_eq!(told(&mut table), [("a".to_owned(), String::new())]);
        say(&mut table, [Pass, against], 30);
        assert_eq!(states(&table), ["covered", "unknown"], "too soon to confirm");
        say(&mut table, [Pass, against], 60);
        assert_eq!(told(&mut table), [("a".to_owned(), "b".to_owned())]);
        assert!(matches!(table.take_notes().as_slice(), [Note::Lost { bindings, .. }] if bindings.len() == 1));
        say(&mut table, [Pass, Pass], 61);
        assert_eq!(told(&mut table), [("a b".to_owned(), String::new())]);
        assert!(matches!(table.take_notes().as_slice(), [Note::Back { .. }]));
    }
}

#[test]
fn what_dns_cannot_answer_neither_bars_nor_frees_until_it_is_a_day_old() {
    let mut table = table();
    for second in [0, 60] {
        say(&mut table, [Pass, Fail], second);
    }
    told(&mut table);
    let day = 24 * 3_600;
    say(&mut table, [TempError, TempError], 59 + day);
    assert_eq!((states(&table), told(&mut table)), (vec!["covered", "not_covered"], vec![]));
    say(&mut table, [TempError, TempError], 60 + day);
    assert_eq!((states(&table), told(&mut table).len()), (vec!["unknown", "unknown"], 1));
}

#[test]
fn a_temporary_error_between_does_not_break_the_row() {
    let mut table = table();
    for (second, outcome) in [(0, Fail), (60, TempError), (120, Fail)] {
        say(&mut table, [Pass, outcome], second);
    }
    assert_eq!(states(&table), ["covered", "not_covered"]);
}

#[test]
fn no_record_and_a_neutral_one_bar_nobody() {
    let mut table = table();
    for second in [0, 60, 120] {
        say(&mut table, [NoRecord, Neutral], second);
    }
    assert_eq!((states(&table), told(&mut table)), (vec!["no_statement"; 2], vec![]));
    assert!(table.take_notes().is_empty());
}

#[test]
fn a_pool_without_a_covered_binding_is_noted_once() {
    let mut table = table();
    for second in [0, 60, 120] {
        say(&mut table, [Fail, Fail], second);
    }
    let notes = table.take_notes();
    let uncovered = notes.iter().filter(|note| matches!(note, Note::Uncovered { .. })).count();
    assert_eq!((uncovered, notes.len()), (1, 2), "{notes:?}");
    assert_eq!(table.views().next().unwrap().uncovered, [("acme".into(), "p".into())]);
}

#[test]
fn a_domain_is_due_at_once_then_by_what_came_of_it() {
    let mut table = table();
    assert_eq!(table.due(at(0)), Some(domain()));
    for (outcomes, unit, wait) in
        [([Pass, Pass], 0.0, 2_880), ([Pass, Pass], 1.0, 4_320), ([Pass, TempError], 0.5, 300), ([Pass, Fail], 0.5, 60)]
    {
        table.answered(&domain(), &answers(outcomes), unit, at(0));
        assert_eq!(table.next_due(), Some(at(wait)), "{outcomes:?}");
        assert_eq!(table.due(at(wait - 1)), None);
    }
}

#[test]
fn of_each_tenant_the_domains_seen_last_are_kept_and_those_named_always() {
    let mut table = table();
    let tenant = TenantName::new("acme");
    let nth = |n: usize| -> Domain { format!("d{n}.example").parse().unwrap() };
    for n in 0..SEEN_MAX {
        assert!(table.seen(&tenant, &nth(n), at(n as i64)));
    }
    assert!(!table.seen(&tenant, &domain(), at(100)), "named already");
    assert!(!table.seen(&tenant, &nth(0), at(100)), "known already");
    table.answered(&nth(1), &answers([Pass, Pass]), 0.5, at(100));
    told(&mut table);
    assert!(table.seen(&tenant, &nth(99), at(101)));
    assert_eq!(table.len(), SEEN_MAX + 1);
    let kept: Vec<Domain> = table.views().map(|row| row.domain).collect();
    assert!(kept.contains(&nth(0)) && kept.contains(&domain()) && !kept.contains(&nth(1)));
    assert_eq!(told(&mut table), [(String::new(), String::new())], "what is forgotten bars nobody");
    let other = TenantName::new("bolt");
    assert!(!table.seen(&other, &nth(0), at(102)), "another tenant's as well");
    assert_eq!(table.views().find(|row| row.domain == nth(0)).unwrap().tenants.len(), 2);
}

#[test]
fn there_is_an_end_to_what_strangers_names_may_cost() {
    let mut table = table();
    for tenant in 0..=DOMAINS_MAX / SEEN_MAX {
        for n in 0..SEEN_MAX {
            let domain: Domain = format!("d{n}.t{tenant}.example").parse().unwrap();
            table.seen(&TenantName::new(format!("t{tenant}")), &domain, at(0));
        }
    }
    assert_eq!(table.len(), DOMAINS_MAX);
}
