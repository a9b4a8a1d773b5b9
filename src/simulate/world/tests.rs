//! The onlooker sees what he is there for: each invariant is broken behind the core's back, and he says so.

use std::sync::Arc;

use super::super::internet::{accepted, said};
use super::super::invariants::Invariants;
use super::*;
use crate::config::{Binding, Member, Pool, Provider, Tenant};
use crate::reputation::evidence::Evidence;
use crate::reputation::{Health, HealthChange, Reason, Subject};
use crate::simulate::scenario::ReceiverModel;

fn config(bindings: usize) -> Config {
    let mut config = Config::bare("relay.example.net".parse().expect("a domain"));
    let name = |n: usize| format!("m{n}");
    let binding = |n: usize| Arc::new(Binding::new(name(n).as_str(), [192, 0, 2, n as u8].into()));
    config.bindings = (1..=bindings).map(binding).collect();
    let member = |n: usize| Member { binding: name(n).as_str().into(), weight: 1 };
    config.pools = vec![Pool::new("main", vec![(1..=bindings).map(member).collect()])];
    let pools = [("default".into(), "main".into())];
    config.tenants = ["acme", "bolt"].map(|name| Tenant { pools: pools.clone().into(), ..Tenant::new(name) }).to_vec();
    config.providers = vec![Provider::new("gmail", Vec::new())];
    config
}

fn scenario() -> Scenario {
    Scenario {
        title: String::new(),
        config: None,
        start: jiff::civil::date(2026, 6, 1),
        days: 3,
        seed: 1,
        traffic: Vec::new(),
        receivers: [("gmail".to_owned(), ReceiverModel::lenient())].into(),
        lists: Default::default(),
        events: Vec::new(),
        truth: None,
        shift: Duration::ZERO,
        written: Default::default(),
    }
}

/// A world in which everything is taken, seen by an onlooker who believes in `seen_as`.
fn watched(config: Config, seen_as: &Config) -> World {
    let mut world = World::new(config, scenario());
    world.script("gmail", Box::new(|_, _, _| accepted()));
    world.invariants = Invariants::new(seen_as, world.internet.sites(), world.now().wall);
    world
}

fn send(world: &mut World, count: u64) {
    (0..count).for_each(|n| world.send(Duration::from_secs(n), "acme", "gmail"));
}

fn rules(world: &World) -> Vec<&'static str> {
    let mut rules: Vec<_> = world.invariants.violations().0.iter().map(|violation| violation.rule).collect();
    rules.dedup();
    rules
}

fn capped(change: impl Fn(&mut Config)) -> Config {
    let mut config = config(2);
    change(&mut config);
    config
}

#[test]
fn a_world_without_trouble_has_no_violations() {
    let mut world = watched(config(2), &config(2));
    send(&mut world, 100);
    let report = world.run();
    assert_eq!((report.violations, report.mail.delivered), (Vec::new(), 100));
}

#[test]
fn caps_are_the_onlookers_own() {
    let limits = || crate::config::Limits { daily_cap: Some(9), ..Default::default() };
    let of_binding = capped(|config| Arc::make_mut(&mut config.bindings[0]).limits = limits());
    let of_route = capped(|config| config.providers[0].binding_limits = limits());
    let of_tenant = capped(|config| config.tenants[0].daily_cap = Some(9));
    let towards = capped(|config| config.tenants[0].provider_caps = [("gmail".into(), 9)].into());
    for seen_as in [of_binding, of_route, of_tenant, towards] {
        let mut world = watched(config(2), &seen_as);
        send(&mut world, 40);
        world.run();
        assert_eq!(rules(&world), ["cap"]);
        let mut world = watched(seen_as.clone(), &seen_as);
        send(&mut world, 40);
        world.run();
        assert_eq!(rules(&world), [""; 0], "and kept where the core knows of them");
    }
}

#[test]
fn a_binding_of_another_pool_is_seen() {
    let mut seen_as = config(2);
    seen_as.pools[0].tiers[0].pop();
    let mut world = watched(config(2), &seen_as);
    send(&mut world, 4);
    world.run();
    assert_eq!(rules(&world), ["pool"]);
}

#[test]
fn mail_that_vanishes_is_missed_and_mail_that_stands_still_is_seen() {
    let mut world = watched(config(1), &config(1));
    world.send(Duration::from_secs(1), "acme", "gmail");
    world.run_for(Duration::from_millis(1_001));
    let id = world.disk.ids()[0];
    world.disk.remove(id);
    world.run_for(Duration::from_secs(3_600));
    assert_eq!(rules(&world), ["once"]);

    let mut world = watched(config(1), &config(1));
    world.core.pause();
    send(&mut world, 1);
    world.run_for(2 * HOUR);
    assert_eq!(rules(&world), ["stuck"]);
}

fn change(binding: &str, to: Health, evidence: &str) -> HealthChange {
    HealthChange { subject: Subject::Binding(binding.into()), from: Health::Active, to, evidence: evidence.to_owned() }
}

#[test]
fn a_suspension_needs_evidence_an_end_and_somebody_left() {
    let now = Wall::from(jiff::Timestamp::UNIX_EPOCH).plus(240 * HOUR);
    let out = |reason, until| Health::Suspended { until, reason };
    let soon = now.plus(HOUR);
    let never = crate::reputation::UNTIL_CLEARED;
    let table = [
        (change("m1", out(Reason::IpBlocked, soon), "550"), vec!["evidence"], "nobody refused it"),
        (change("m1", out(Reason::Operator, never), ""), vec!["evidence"], "not a word"),
        (change("m1", out(Reason::Operator, never), "x"), vec![], "the operator may"),
        (change("m1", out(Reason::Listed, never), "x"), vec![], "until it is delisted"),
        (change("m1", out(Reason::HardBounces, never), "x"), vec!["evidence", "evidence"], "for good"),
    ];
    for (change, wanted, why) in table {
        let mut invariants = Invariants::new(&config(2), &[], now);
        invariants.changed(&change, now);
        let rules: Vec<_> = invariants.violations().0.iter().map(|violation| violation.rule).collect();
        assert_eq!(rules, wanted, "{why}");
    }
    let mut invariants = Invariants::new(&config(2), &[], now);
    for binding in ["m1", "m2"] {
        invariants.changed(&change(binding, out(Reason::Listed, never), "x"), now);
    }
    assert_eq!(invariants.violations().0[0].rule, "last");
}

#[test]
fn an_attempt_over_who_is_out_is_seen() {
    let mut world = watched(config(1), &config(1));
    world.send(Duration::ZERO, "acme", "gmail");
    let now = world.now();
    while let Some(event) = world.agenda.due(now.wall) {
        world.happen(event, now);
    }
    let domain = world.internet.sites()[0].domain.clone();
    while world.core.next(now).is_some() {}
    world.resolved(&domain, now);
    let start = match world.core.next(now) {
        Some(Action::Attempt(start)) => start,
        other => panic!("an attempt is due, not {other:?}"),
    };
    let evidence =
        Evidence::OperatorSuspend { binding: "m1".into(), destination: None, reason: "x".into(), span: None };
    world.core.observe(&evidence, now);
    world.attempt(start, now);
    assert_eq!(rules(&world), ["suspended"]);
}

#[test]
fn a_refusal_that_blames_the_address_and_moves_on_and_on_is_seen() {
    let mut world = watched(config(3), &config(3));
    world.script(
        "gmail",
        Box::new(|attempted, _, _| said(format!("550 5.7.1 client host [{}] blocked using a list", attempted.address))),
    );
    send(&mut world, 1);
    world.run_for(Duration::from_secs(60));
    assert_eq!(rules(&world), [""; 0], "it moves once");
    let id = world.disk.ids()[0];
    let stored = world.disk.get_mut(id).expect("it waits");
    assert_eq!(stored.seen.refused_over.len(), 2, "and has met two");
    // As if it had been refused a moment ago, however late it is tried again.
    let later = world.clock.now().wall.plus(HOUR * 24);
    stored.seen.refused_over = [(7, later), (8, later)].into_iter().collect();
    stored.seen.refused_at = later;
    world.run_for(12 * HOUR);
    assert_eq!(rules(&world), ["snowshoe"]);
}
