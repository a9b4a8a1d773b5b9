//! Bindings, tenants and policies that change under what is proven.

use std::time::Duration;

use super::outcome::{Answer, Outcome, Reason, State};
use super::table::{News, Rules, Table};
use super::*;
use crate::clock::Wall;

use Outcome::{Fail, Pass};

fn at(seconds: i64) -> Wall {
    Wall::from_millis(1_800_000_000_000 + seconds * 1_000)
}

fn domain(name: &str) -> Domain {
    name.parse().unwrap()
}

/// These bindings, all in pool `p` of tenant acme, who sends from acme.example.
fn roster(bindings: &[(&str, u8)]) -> Roster {
    let names: Vec<BindingName> = bindings.iter().map(|(name, _)| BindingName::new(*name)).collect();
    Roster {
        rules: Rules {
            interval: Duration::from_secs(3_600),
            jitter: 0.2,
            confirmations: 2,
            confirm_after: Duration::from_secs(60),
        },
        bindings: bindings
            .iter()
            .map(|(name, last)| (BindingName::new(*name), IpAddr::from([192, 0, 2, *last]).into()))
            .collect(),
        pools: [("acme".into(), vec![("p".into(), names)])].into(),
        named: vec![("acme".into(), domain("acme.example"))],
        watched: [TenantName::new("acme")].into(),
    }
}

struct Bench {
    table: Table,
    seen: Seen,
}

impl Bench {
    /// `a` at .1 is covered, `b` at .2 barred.
    fn new() -> Self {
        let roster = roster(&[("a", 1), ("b", 2)]);
        let table = Table::new(roster.rules, roster.bindings.clone(), &roster.pools);
        let mut bench = Self { table, seen: Seen::default() };
        bench.table.follow(&roster, &mut bench.seen, false, at(0));
        bench.prove("acme.example", &[Pass, Fail]);
        assert_eq!(bench.told(), ["acme.example +a", "acme.example +a -b"]);
        bench
    }

    fn prove(&mut self, name: &str, outcomes: &[Outcome]) {
        let answers: Vec<Answer> = outcomes
            .iter()
            .map(|outcome| Answer { outcome: *outcome, reason: Some(Reason::Soft), said: None, record: None })
            .collect();
        for second in [0, 60] {
            while self.table.take_due(at(second)).is_some_and(|due| due != domain(name)) {}
            self.table.answered(&domain(name), &answers, 0.5, at(second));
        }
    }

    fn follow(&mut self, roster: &Roster, asks_anew: bool) -> Vec<String> {
        assert_eq!(self.table.follow(roster, &mut self.seen, asks_anew, at(100)), 0);
        self.told()
    }

    fn told(&mut self) -> Vec<String> {
        let text = |news: News| {
            let names = |sign: &str, all: &[BindingName]| all.iter().map(|n| format!(" {sign}{n}")).collect::<String>();
            format!("{}{}{}", news.domain, names("+", &news.allowed), names("-", &news.barred))
        };
        self.table.take_news().into_iter().map(text).collect()
    }

    fn states(&self, name: &str) -> Vec<State> {
        self.table.one(&domain(name)).map(|row| row.bindings.iter().map(|c| c.state).collect()).unwrap_or_default()
    }
}

#[test]
fn what_is_proven_goes_with_the_address() {
    use State::{Covered, NotCovered, Unknown};
    type Row<'a> = (&'a [(&'a str, u8)], &'a [State], &'a [&'a str], bool);
    // (bindings, what is known of them, what is told, whether it is asked again)
    let table: &[Row<'_>] = &[
        (&[("a", 1), ("b", 2)], &[Covered, NotCovered], &["acme.example +a -b"], false),
        (&[("b", 2), ("a", 1)], &[NotCovered, Covered], &["acme.example +a -b"], false),
        (&[("a", 1), ("c", 2)], &[Covered, NotCovered], &["acme.example +a -c"], false),
        (&[("a", 1), ("b", 2), ("c", 2)], &[Covered, NotCovered, NotCovered], &["acme.example +a -b -c"], false),
        (&[("a", 1), ("b", 3)], &[Covered, Unknown], &["acme.example +a"], true),
        (&[("b", 1), ("a", 2)], &[Covered, NotCovered], &["acme.example +b -a"], false),
        (&[("c", 3)], &[Unknown], &["acme.example"], true),
        (&[], &[], &["acme.example"], false),
    ];
    for (bindings, states, told, is_due) in table {
        let mut bench = Bench::new();
        let heard = bench.follow(&roster(bindings), false);
        assert_eq!(bench.states("acme.example"), *states, "{bindings:?}");
        assert_eq!(heard.last().map(String::as_str), told.last().copied(), "{bindings:?}: {heard:?}");
        assert_eq!(bench.table.take_due(at(100)).is_some(), *is_due, "{bindings:?}");
        bench.table.totals(at(100));
    }
    let mut bench = Bench::new();
    bench.follow(&roster(&[("a", 1), ("b", 2)]), true);
    assert_eq!(bench.states("acme.example"), [Covered, NotCovered], "other servers may say otherwise, in time");
    assert!(bench.table.take_due(at(100)).is_some());
}

#[test]
fn domains_follow_their_tenants_and_policies() {
    let mut bench = Bench::new();
    let own = domain("acme.example");
    // Off: nobody is barred, and what was written of it goes.
    bench.table.changes(10);
    let off =
        Roster { pools: BTreeMap::new(), named: Vec::new(), watched: BTreeSet::new(), ..roster(&[("a", 1), ("b", 2)]) };
    assert_eq!(bench.follow(&off, false), ["acme.example"]);
    assert!(bench.table.is_empty() && bench.table.next_due().is_none());
    assert_eq!(bench.table.changes(10), [("spf/acme.example".to_owned(), None)]);
    // On again: known of nobody until it is proven.
    assert_eq!(bench.follow(&roster(&[("a", 1), ("b", 2)]), false), Vec::<String>::new());
    assert_eq!((bench.states("acme.example"), bench.table.take_due(at(100))), (vec![State::Unknown; 2], Some(own)));
}

#[test]
fn a_domain_that_is_named_no_more_bars_on_while_its_mail_may_come() {
    let mut bench = Bench::new();
    let unnamed = Roster { named: Vec::new(), ..roster(&[("a", 1), ("b", 2)]) };
    bench.follow(&unnamed, false);
    assert_eq!(bench.states("acme.example"), [State::Covered, State::NotCovered]);
    assert_eq!(bench.seen.note(&"acme".into(), &domain("acme.example"), at(101)), Noted::Known);
    // And is forgotten with its tenant.
    let gone = Roster { watched: BTreeSet::new(), ..unnamed };
    bench.follow(&gone, false);
    assert!(bench.table.is_empty());
    assert_eq!(bench.seen.count(&"acme".into()), 0);
}

#[test]
fn an_evaluation_by_other_bindings_is_made_again() {
    let mut bench = Bench::new();
    let due = bench.table.next_due().unwrap();
    let own = bench.table.take_due(due).unwrap();
    bench.follow(&roster(&[("c", 3), ("a", 1)]), false);
    assert_eq!(bench.table.take_due(due), None, "it is being evaluated still");
    bench.table.put_back(&own, at(100));
    assert_eq!(bench.table.take_due(due.plus(Duration::from_secs(1))), Some(own));
    assert_eq!(bench.states("acme.example"), [State::Unknown, State::Covered]);
}
