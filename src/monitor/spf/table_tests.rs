//! The table by itself.

use std::time::Duration;

use super::kept::PREFIX;
use super::outcome::{Answer, Outcome, Reason, State};
use super::seen::{NEW_MAX, SEEN_MAX};
use super::table::*;
use super::tally::Move;
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
    let mut table = unnamed();
    assert!(table.name(&"acme".into(), &domain(), at(0)));
    table
}

fn unnamed() -> Table {
    at_addresses(["192.0.2.1", "192.0.2.2"])
}

fn at_addresses(addresses: [&str; 2]) -> Table {
    let names = [BindingName::new("a"), BindingName::new("b")];
    let pools = [("acme".into(), vec![("p".into(), names.to_vec())])].into();
    let addresses = addresses.map(|address| address.parse::<IpAddr>().unwrap());
    Table::new(RULES, names.into_iter().zip(addresses).collect(), &pools)
}

fn answers(outcomes: [Outcome; 2]) -> Vec<Answer> {
    outcomes.map(|outcome| Answer { outcome, reason: Some(Reason::Soft), said: None, record: None }).to_vec()
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
        let notes = table.take_notes(at(60));
        assert_eq!((notes.len(), notes[0].what, notes[0].bindings.len()), (1, Move::Lost, 1));
        assert_eq!(notes[0].why, format!("{}: the record ends in ~ for the address", against.as_str()));
        say(&mut table, [Pass, Pass], 61);
        assert_eq!(told(&mut table), [("a b".to_owned(), String::new())]);
        assert_eq!(table.take_notes(at(61))[0].what, Move::Back);
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
    assert!(table.take_notes(at(120)).is_empty());
}

#[test]
fn a_pool_without_a_covered_binding_is_noted_once() {
    let mut table = table();
    for second in [0, 60, 120] {
        say(&mut table, [Fail, Fail], second);
    }
    let notes = table.take_notes(at(120));
    let what: Vec<_> = notes.iter().map(|note| (note.what, note.count)).collect();
    assert_eq!(what, [(Move::Lost, 1), (Move::Uncovered, 1)], "{notes:?}");
    assert_eq!(table.views().next().unwrap().uncovered, [("acme".into(), "p".into())]);
}

#[test]
fn a_domain_is_due_at_once_then_by_what_came_of_it() {
    for (outcomes, unit, wait) in
        [([Pass, Pass], 0.0, 2_880), ([Pass, Pass], 1.0, 4_320), ([Pass, TempError], 0.5, 300), ([Pass, Fail], 0.5, 60)]
    {
        let mut table = table();
        assert_eq!(table.take_due(at(0)), Some(domain()));
        assert_eq!((table.take_due(at(0)), table.next_due()), (None, None), "it is being evaluated");
        table.answered(&domain(), &answers(outcomes), unit, at(0));
        assert_eq!(table.next_due(), Some(at(wait)), "{outcomes:?}");
        assert_eq!(table.take_due(at(wait - 1)), None);
    }
}

#[test]
fn a_domain_whose_name_servers_are_dead_is_asked_less_and_less_often() {
    let mut table = table();
    let waits = |table: &mut Table, outcomes| {
        table.answered(&domain(), &answers(outcomes), 0.5, at(0));
        table.next_due().unwrap().since(at(0)).as_secs()
    };
    let dead = [TempError, TempError];
    assert_eq!([(); 5].map(|()| waits(&mut table, dead)), [300, 600, 1_200, 2_400, 3_600]);
    assert_eq!(waits(&mut table, [Pass, Pass]), 3_600);
    assert_eq!(waits(&mut table, dead), 300);
    // Nor does a confirmation that never comes keep it in front.
    let mut table = self::table();
    assert_eq!(waits(&mut table, [Pass, Fail]), 60);
    assert_eq!([waits(&mut table, dead), waits(&mut table, dead)], [300, 600]);
    // The fault is our own, and soon mended.
    let distrusted = vec![Answer::without_record(TempError, Reason::Distrusted); 2];
    let mut table = self::table();
    for _ in 0..3 {
        table.answered(&domain(), &distrusted, 0.5, at(0));
        assert_eq!(table.next_due(), Some(at(300)));
    }
}

#[test]
fn a_proven_domain_without_a_word_is_believed_when_two_answers_say_so() {
    // Covered and barred alike: a resolver that loses TXT records says this of everybody.
    let mut table = table();
    for second in [0, 60] {
        say(&mut table, [Pass, Fail], second);
    }
    say(&mut table, [NoRecord, NoRecord], 3_600);
    assert_eq!(states(&table), ["covered", "not_covered"]);
    assert_eq!(table.next_due(), Some(at(3_660)), "to be confirmed soon");
    say(&mut table, [Pass, Fail], 3_660);
    say(&mut table, [NoRecord, NoRecord], 7_200);
    assert_eq!(states(&table), ["covered", "not_covered"], "not two in a row");
    say(&mut table, [NoRecord, NoRecord], 7_260);
    assert_eq!(states(&table), ["no_statement", "no_statement"]);
}

fn nth(n: usize) -> Domain {
    format!("d{n}.example").parse().unwrap()
}

/// Takes in as many domains as a tenant has room for, and bars b for the second.
fn full(table: &mut Table, seen: &mut Seen, tenant: &TenantName) {
    for n in 0..SEEN_MAX {
        assert!(table.admit(seen, tenant, &nth(n), |_| true, at(0)), "{n}");
    }
    for second in [0, 60] {
        table.answered(&nth(1), &answers([Pass, Fail]), 0.5, at(second));
    }
    assert_eq!(told(table).last(), Some(&("a".to_owned(), "b".to_owned())));
}

#[test]
fn a_tenant_with_ever_new_domains_lifts_no_bar_and_asks_no_more_than_others() {
    let (mut table, mut seen, tenant) = (unnamed(), Seen::default(), TenantName::new("acme"));
    full(&mut table, &mut seen, &tenant);
    for n in SEEN_MAX..2 * SEEN_MAX {
        assert!(!table.admit(&mut seen, &tenant, &nth(n), |_| false, at(120)), "all were seen within the interval");
    }
    assert_eq!((table.len(), told(&mut table)), (SEEN_MAX, vec![]));
    let notes = table.take_notes(at(120));
    assert!(notes.iter().any(|note| note.what == Move::PassedOver && note.count == 1), "told once: {notes:?}");
    assert_eq!(seen.note(&tenant, &nth(5_000), at(130)), Noted::PassedOver, "not even looked at");
    assert_eq!(seen.note(&tenant, &nth(3), at(130)), Noted::Known);
}

#[test]
fn what_was_not_seen_for_long_makes_way_unless_it_bars_somebody_and_has_mail() {
    let (mut table, mut seen, tenant) = (unnamed(), Seen::default(), TenantName::new("acme"));
    full(&mut table, &mut seen, &tenant);
    // Only these two were not seen lately.
    (2..SEEN_MAX).for_each(|n| assert_eq!(seen.note(&tenant, &nth(n), at(3_600)), Noted::Known));
    assert!(table.admit(&mut seen, &tenant, &nth(5_000), |_| true, at(3_600)));
    assert!(table.one(&nth(0)).is_none() && table.one(&nth(1)).is_some());
    assert!(!table.admit(&mut seen, &tenant, &nth(5_001), |domain| *domain == nth(1), at(3_600)), "it has mail");
    assert_eq!(told(&mut table), vec![]);
    assert!(table.admit(&mut seen, &tenant, &nth(5_001), |_| false, at(3_600)));
    assert_eq!(told(&mut table), [(String::new(), String::new())], "what is forgotten bars nobody");
    assert_eq!((table.len(), seen.count(&tenant)), (SEEN_MAX, SEEN_MAX));
}

#[test]
fn there_is_an_end_to_what_strangers_names_may_cost() {
    let (mut table, mut seen) = (table(), Seen::default());
    let mut taken = 0;
    for t in 0..=DOMAINS_MAX / SEEN_MAX {
        let tenant = TenantName::new(format!("t{t}"));
        for n in 0..SEEN_MAX {
            let domain = format!("d{n}.t{t}.example").parse().unwrap();
            taken += usize::from(table.admit(&mut seen, &tenant, &domain, |_| false, at(0)));
        }
    }
    assert_eq!((table.len(), taken), (DOMAINS_MAX, DOMAINS_MAX - 1));
    assert!(!table.name(&"acme".into(), &nth(0), at(0)), "nor those of the configuration");
    let (tenant, mut seen) = (TenantName::new("acme"), Seen::default());
    let noted: Vec<Noted> = (0..=NEW_MAX).map(|n| seen.note(&tenant, &nth(n), at(0))).collect();
    assert_eq!((noted[NEW_MAX - 1], noted[NEW_MAX]), (Noted::New, Noted::PassedOver));
}

#[test]
fn what_may_be_proven_comes_first_then_whose_mail_waits() {
    let (mut table, mut seen) = (table(), Seen::default());
    let acme = TenantName::new("acme");
    for n in [7, 8] {
        table.name(&acme, &nth(n), at(0));
    }
    table.hurry(&nth(8));
    table.admit(&mut seen, &acme, &nth(9), |_| true, at(1));
    say(&mut table, [Pass, Fail], 0);
    let order: Vec<Domain> = std::iter::from_fn(|| table.take_due(at(60))).collect();
    assert_eq!(order, [domain(), nth(8), nth(9), nth(7)]);
}

/// What is on disk after all changes were written.
fn written(table: &mut Table) -> Vec<(String, Vec<u8>)> {
    table.changes(99).into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

#[test]
fn a_bar_holds_from_the_first_moment_after_a_restart() {
    let (mut table, mut seen, acme) = (unnamed(), Seen::default(), TenantName::new("acme"));
    table.admit(&mut seen, &acme, &domain(), |_| true, at(0));
    table.admit(&mut seen, &acme, &nth(0), |_| true, at(0));
    for second in [0, 60] {
        say(&mut table, [Pass, Fail], second);
        table.answered(&nth(0), &answers([Pass, Pass]), 0.5, at(second));
    }
    let facts = written(&mut table);
    assert_eq!(facts.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["spf/acme.example"], "what bars nobody");

    let mut again = unnamed();
    again.restore(&facts, &mut Seen::default(), |_| true, at(600));
    assert_eq!((told(&mut again), states(&again)), (vec![("a".into(), "b".into())], vec!["covered", "not_covered"]));
    assert!(again.take_notes(at(600)).is_empty(), "it is no news");
    assert!(again.changes(99).is_empty());
    assert_eq!(again.take_due(at(600)), Some(domain()), "and is asked anew");
    // One conclusive answer is enough to go on, and too old a word is none.
    say(&mut again, [Pass, Pass], 600);
    assert_eq!(again.changes(99), [("spf/acme.example".to_owned(), None)], "removed from disk");
    let mut late = unnamed();
    late.restore(&facts, &mut Seen::default(), |_| true, at(60 + 24 * 3_600));
    assert_eq!((late.len(), told(&mut late)), (0, vec![]));
    assert_eq!(late.changes(99), [("spf/acme.example".to_owned(), None)]);
}

#[test]
fn what_was_proven_of_another_address_or_tenant_proves_nothing() {
    let mut table = table();
    for second in [0, 60] {
        say(&mut table, [Pass, Fail], second);
    }
    let facts = written(&mut table);
    let mut moved = at_addresses(["192.0.2.1", "192.0.2.99"]);
    moved.name(&"acme".into(), &domain(), at(100));
    moved.restore(&facts, &mut Seen::default(), |_| true, at(100));
    assert_eq!(states(&moved), ["covered", "unknown"]);
    let mut gone = unnamed();
    gone.restore(&facts, &mut Seen::default(), |_| false, at(100));
    assert!(gone.is_empty());
    let junk = vec![(format!("{PREFIX}x.example"), b"{".to_vec()), (PREFIX.to_owned(), vec![])];
    gone.restore(&junk, &mut Seen::default(), |_| true, at(100));
    assert!(gone.is_empty() && gone.changes(99).len() == 3, "and all that is removed");
}

#[test]
fn what_did_not_get_to_the_disk_is_written_again_and_old_facts_are_renewed() {
    let mut table = table();
    for second in [0, 60] {
        say(&mut table, [Pass, Fail], second);
    }
    let changes = table.changes(99);
    table.not_written(changes.iter().map(|(key, _)| key.clone()));
    assert_eq!(table.changes(99), changes);
    say(&mut table, [Pass, Fail], 3_600);
    assert!(table.changes(99).is_empty(), "the same");
    say(&mut table, [Pass, Fail], 7 * 3_600);
    assert_eq!(table.changes(99).len(), 1);
}

#[test]
fn the_sums_count_every_domain_of_a_tenant_once_for_each_binding_of_its_pools() {
    let mut table = table();
    for second in [0, 60] {
        say(&mut table, [Pass, Fail], second);
    }
    table.admit(&mut Seen::default(), &"acme".into(), &"new.example".parse().unwrap(), |_| true, at(70));
    let totals = table.totals(at(70));
    assert_eq!(totals.overdue, 1);
    let some = |binding: &str, state: State| {
        let found = totals.domains.iter().find(|(_, name, known, _)| name.as_str() == binding && *known == state);
        found.unwrap().3
    };
    assert_eq!(totals.domains.len(), 2 * State::ALL.len());
    assert_eq!((some("a", State::Covered), some("a", State::Unknown), some("a", State::NotCovered)), (1, 1, 0));
    assert_eq!((some("b", State::Covered), some("b", State::Unknown), some("b", State::NotCovered)), (0, 1, 1));
    assert_eq!(totals.uncovered, [("acme".into(), "p".into(), 0)]);
    let (rows, total, is_more) = table.page(None, None, 1);
    assert_eq!((rows.len(), total, is_more, rows[0].domain.as_str()), (1, 2, true, "acme.example"));
    let (rows, total, is_more) = table.page(Some("acme"), Some(&domain()), 1);
    assert_eq!((rows.len(), total, is_more, rows[0].domain.as_str()), (1, 2, false, "new.example"));
    assert_eq!(table.page(Some("other"), None, 1), (vec![], 0, false));
}
