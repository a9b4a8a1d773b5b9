//! Whole stories: evidence in, health changes out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::evidence::{AttemptResult, Listing};
use super::fixtures::config;
use super::*;
use crate::clock::Wall;
use crate::config::Config;
use crate::message::MessageId;
use crate::outcome::{Action, Cause, Scope};

pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const START: Wall = Wall::from_millis(1_800_000_000_000);

pub(super) fn binding(name: &str) -> Subject {
    Subject::Binding(name.into())
}

pub(super) fn route(name: &str, to: &str) -> Subject {
    Subject::Route(name.into(), to.into())
}

pub(super) fn attempt(name: &str, to: &str, tenant: &str, domain: &str, result: AttemptResult) -> Evidence {
    Evidence::Attempt {
        binding: name.into(),
        destination: to.into(),
        tenant: tenant.into(),
        domain: domain.parse().unwrap(),
        message: MessageId(0),
        stream: "default".into(),
        sender_domain: None,
        took: None,
        result,
    }
}

pub(super) fn refused(hard: bool, blames: bool, action: Action) -> AttemptResult {
    AttemptResult::Refused {
        cause: if hard { Cause::InvalidRecipient } else { Cause::SpamBlockIp },
        scope: if hard { Scope::Recipient } else { Scope::Binding },
        hard,
        counts_against_ip: blames,
        action,
        rule: Arc::from("test.rule"),
        text: "550 5.7.1 go away".into(),
    }
}

pub(super) fn blamed(name: &str, to: &str, action: Action) -> Evidence {
    attempt(name, to, "t", "x.example", refused(false, true, action))
}

pub(super) fn listing(zone: &str, weight: f64, certain: bool) -> Listing {
    Listing { zone: zone.into(), weight, certain, codes: "127.0.0.2".into() }
}

pub(super) fn listings(name: &str, listed: Vec<Listing>) -> Evidence {
    Evidence::Listings { binding: name.into(), listed, first_seen: None, last_clean: None }
}

/// Three bindings in one pool.
pub(super) fn herd() -> (Config, Reputation) {
    let config = config(&["a", "b", "c"], &[("p", &["a", "b", "c"])]);
    let reputation = Reputation::new(&config, START);
    (config, reputation)
}

pub(super) fn out_until(reputation: &Reputation, subject: &Subject) -> Option<(Reason, Wall)> {
    match reputation.health(subject) {
        Health::Suspended { reason, until } => Some((*reason, *until)),
        _ => None,
    }
}

#[test]
fn three_refusals_in_an_hour_that_blame_the_ip_suspend_the_route_and_nothing_else() {
    let (_, mut r) = herd();
    assert!(r.observe(&blamed("a", "gmail", Action::None), START).is_empty());
    // Another recipient of the same message is not another refusal.
    assert!(r.observe(&blamed("a", "gmail", Action::None), START).is_empty());
    assert!(r.observe(&blamed("a", "gmail", Action::None), START.plus(30 * MINUTE)).is_empty());
    // The first has left the window.
    assert!(r.observe(&blamed("a", "gmail", Action::None), START.plus(61 * MINUTE)).is_empty());
    let now = START.plus(62 * MINUTE);
    let changes = r.observe(&blamed("a", "gmail", Action::None), now);
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].subject, route("a", "gmail"));
    assert_eq!(changes[0].evidence, "test.rule at gmail: 550 5.7.1 go away");
    assert_eq!(out_until(&r, &route("a", "gmail")), Some((Reason::IpBlocked, now.plus(HOUR))));
    assert_eq!(*r.health(&route("a", "outlook")), Health::Active);
    assert_eq!(*r.health(&binding("a")), Health::Active);
}

#[test]
fn a_certain_text_suspends_at_once_for_the_rules_span_or_the_penalty_whichever_is_longer() {
    for (span, expected) in [(15 * MINUTE, HOUR), (4 * HOUR, 4 * HOUR)] {
        let (_, mut r) = herd();
        r.observe(&blamed("a", "gmail", Action::SuspendRoute(span)), START);
        assert_eq!(out_until(&r, &route("a", "gmail")), Some((Reason::IpBlocked, START.plus(expected))));
    }
    let (_, mut r) = herd();
    r.observe(&blamed("a", "gmail", Action::SuspendBinding(2 * HOUR)), START);
    assert_eq!(out_until(&r, &binding("a")), Some((Reason::IpBlocked, START.plus(2 * HOUR))));
}

#[test]
fn a_hundred_answers_on_the_wire_are_one_suspension_and_one_change() {
    let (_, mut r) = herd();
    let changes: usize = (0..100)
        .map(|i| {
            let now = START.plus(Duration::from_millis(i));
            r.observe(&blamed("a", "gmail", Action::SuspendRoute(HOUR)), now).len()
        })
        .sum();
    assert_eq!(changes, 1);
    let now = START.plus(HOUR);
    assert!(r.tick(now).iter().any(|c| matches!(c.to, Health::Probation { allowance: 20, .. })));
    r.observe(&blamed("a", "gmail", Action::None), now);
    assert_eq!(out_until(&r, &route("a", "gmail")), Some((Reason::IpBlocked, now.plus(2 * HOUR))), "second strike");
}

#[test]
fn receivers_that_are_no_configured_provider_never_take_a_binding_out_together() {
    let (_, mut r) = herd();
    for to in ["site:mx.one.example", "site:mx.two.example", "site:mx.three.example", "site:mx.four.example"] {
        r.observe(&blamed("a", to, Action::SuspendRoute(HOUR)), START);
    }
    assert_eq!(*r.health(&binding("a")), Health::Active);
}

#[test]
fn three_destinations_take_the_binding_out_and_probation_brings_it_back() {
    let (_, mut r) = herd();
    for to in ["gmail", "outlook"] {
        r.observe(&blamed("a", to, Action::SuspendRoute(HOUR)), START);
        assert_eq!(*r.health(&binding("a")), Health::Active);
    }
    r.observe(&blamed("a", "yahoo", Action::SuspendRoute(HOUR)), START);
    assert_eq!(out_until(&r, &binding("a")), Some((Reason::ManyProviders, START.plus(HOUR))));
    assert!(r.evidence(&binding("a")).starts_with("suspended at gmail, outlook, yahoo"));

    let mut now = START.plus(HOUR);
    assert_eq!(r.next_wakeup(), Some(now));
    r.tick(now);
    // One receiver's grudge on probation stays its own; a second one is the binding's.
    r.observe(&blamed("a", "site:x", Action::None), now);
    assert!(matches!(r.health(&binding("a")), Health::Probation { allowance: 20, .. }));
    for _ in 0..5 {
        r.observe(&attempt("a", "site:y", "t", "y.example", AttemptResult::Accepted), now);
        now = now.plus(15 * MINUTE);
        r.tick(now);
    }
    assert_eq!(*r.health(&binding("a")), Health::Active, "one spoilt period and four clean ones");

    for to in ["gmail", "outlook", "yahoo"] {
        now = now.plus(3 * HOUR);
        r.tick(now);
        r.observe(&blamed("a", to, Action::SuspendRoute(24 * HOUR)), now);
    }
    assert_eq!(out_until(&r, &binding("a")), Some((Reason::ManyProviders, now.plus(2 * HOUR))));
    now = now.plus(2 * HOUR);
    r.tick(now);
    for to in ["site:x", "site:y", "gmail"] {
        r.observe(&blamed("a", to, Action::None), now);
        assert!(matches!(r.health(&binding("a")), Health::Probation { .. }), "only a provider's word weighs");
    }
    r.observe(&blamed("a", "outlook", Action::None), now);
    assert_eq!(out_until(&r, &binding("a")), Some((Reason::ManyProviders, now.plus(4 * HOUR))));
}

#[test]
fn back_off_halves_the_route_for_its_span() {
    let (_, mut r) = herd();
    r.observe(&blamed("a", "gmail", Action::BackOff(20 * MINUTE)), START);
    let until = START.plus(20 * MINUTE);
    let expected = Health::Throttled { divisor: 2, until, reason: Reason::RateLimited };
    assert_eq!(*r.health(&route("a", "gmail")), expected);
    assert_eq!(r.next_wakeup(), Some(until));
    assert_eq!(r.tick(until).len(), 1);
    assert_eq!(*r.health(&route("a", "gmail")), Health::Active);
}

#[test]
fn a_wish_about_one_sender_recipient_or_message_slows_nobody_else() {
    use crate::outcome::Scope::{Binding, Destination, Message, Range, Recipient, SenderDomain, Tenant, Unknown};
    for of in [Binding, Range, Destination, Unknown, Tenant, SenderDomain, Recipient, Message] {
        let (_, mut r) = herd();
        let mut wish = refused(false, false, Action::BackOff(10 * MINUTE));
        let AttemptResult::Refused { scope, .. } = &mut wish else { panic!() };
        *scope = of;
        r.observe(&attempt("a", "gmail", "t", "x.example", wish), START);
        let is_throttled = *r.health(&route("a", "gmail")) != Health::Active;
        assert_eq!(is_throttled, matches!(of, Binding | Range | Destination | Unknown), "{of:?}");
    }
}

#[test]
fn a_netblock_that_is_named_is_throttled_with_all_its_bindings_at_that_receiver() {
    let mut config = config(&["a", "b", "far"], &[]);
    for (n, address) in ["192.0.2.1", "192.0.2.200", "198.51.100.1"].into_iter().enumerate() {
        Arc::make_mut(&mut config.bindings[n]).public_address = address.parse().expect("an address");
    }
    let mut r = Reputation::new(&config, START);
    assert_eq!(r.observe(&blamed("a", "gmail", Action::BackOff(30 * MINUTE)), START).len(), 1);
    let range = Evidence::Range {
        bindings: vec!["b".into()],
        destination: "gmail".into(),
        tenant: "acme".into(),
        domain: "example.org".parse().expect("a domain"),
        action: Action::BackOff(30 * MINUTE),
        text: "your netblock".into(),
    };
    assert_eq!(r.observe(&range, START).len(), 1);
    let expected = Health::Throttled { divisor: 2, until: START.plus(30 * MINUTE), reason: Reason::RateLimited };
    for (name, to, health) in [
        ("a", "gmail", &expected),
        ("b", "gmail", &expected),
        ("far", "gmail", &Health::Active),
        ("b", "outlook", &Health::Active),
    ] {
        assert_eq!(r.health(&route(name, to)), health, "{name} {to}");
    }
    assert_eq!(r.take_facts().len(), 2, "and a restart knows");
}

#[test]
fn a_burst_of_wishes_for_less_is_one_refusal_and_three_pauses_that_fail_are_three() {
    let (_, mut r) = herd();
    let wish = |n: u64| {
        let mut wish = blamed("a", "gmail", Action::BackOff(30 * MINUTE));
        let Evidence::Attempt { domain, .. } = &mut wish else { panic!() };
        *domain = format!("d{n}.example").parse().expect("a domain");
        wish
    };
    for n in 0..50 {
        r.observe(&wish(n), START.plus(Duration::from_millis(n)));
    }
    assert!(matches!(r.health(&route("a", "gmail")), Health::Throttled { .. }), "the recipe's turn");
    r.observe(&wish(50), START.plus(10 * MINUTE));
    assert!(matches!(r.health(&route("a", "gmail")), Health::Throttled { .. }));
    r.observe(&wish(51), START.plus(20 * MINUTE));
    assert_eq!(out_until(&r, &route("a", "gmail")).map(|(reason, _)| reason), Some(Reason::IpBlocked));
}

#[test]
fn one_burst_is_one_change() {
    let (_, mut r) = herd();
    let mut changes = Vec::new();
    for n in 0..300 {
        let now = START.plus(Duration::from_millis(n));
        let to = ["gmail", "outlook", "yahoo"][n as usize % 3];
        changes.extend(r.observe(&blamed("a", to, Action::SuspendRoute(HOUR)), now));
        changes.extend(r.observe(&listings("b", vec![listing("sbl", 4.0, true)]), now));
        changes.extend(r.observe(&blamed("c", "gmail", Action::BackOff(HOUR)), now));
    }
    assert_eq!(changes.len(), 3 + 1 + 1 + 1, "three routes, the binding that they make, b, and c at gmail");
}

/// Sends `n` messages of `tenant`, `bad` of a hundred to unknown users, over routes `to`.
pub(super) fn send(r: &mut Reputation, n: u64, bad: u64, tenant: &str, to: &[&str], now: Wall) {
    for i in 0..n {
        let result = if i % 100 < bad { refused(true, false, Action::None) } else { AttemptResult::Accepted };
        let to = to[i as usize % to.len()];
        r.observe(&attempt("a", to, tenant, &format!("d{i}.example"), result), now);
    }
}

#[test]
fn hard_bounces_at_one_destination_suspend_the_route_only() {
    let (_, mut r) = herd();
    send(&mut r, 100, 0, "t", &["outlook"], START);
    send(&mut r, 300, 20, "t", &["gmail"], START);
    assert_eq!(out_until(&r, &route("a", "gmail")).map(|(reason, _)| reason), Some(Reason::HardBounces));
    assert_eq!(*r.health(&binding("a")), Health::Active);
}

#[test]
fn hard_bounces_spread_thin_suspend_the_binding() {
    let (_, mut r) = herd();
    let sites: Vec<String> = (0..50).map(|i| format!("site:{i}")).collect();
    let sites: Vec<&str> = sites.iter().map(String::as_str).collect();
    send(&mut r, 1000, 2, "t", &sites, START);
    assert_eq!(*r.health(&binding("a")), Health::Active);
    send(&mut r, 1000, 15, "t", &sites, START.plus(2 * HOUR));
    assert_eq!(out_until(&r, &binding("a")).map(|(reason, _)| reason), Some(Reason::HardBounces));
}

#[test]
fn a_bad_list_of_one_tenant_is_noted_once_an_hour_and_spares_the_address() {
    let (_, mut r) = herd();
    send(&mut r, 500, 1, "good", &["gmail"], START);
    send(&mut r, 300, 30, "bad", &["gmail"], START);
    assert_eq!(*r.health(&route("a", "gmail")), Health::Active);
    assert_eq!(*r.health(&binding("a")), Health::Active);
    let notes = r.take_notes();
    assert_eq!(notes.len(), 1, "what was the tenant's does not reach the binding's count: {notes:?}");
    assert!(matches!(&notes[0], Note::TenantBlamed { tenant, .. } if tenant.as_str() == "bad"));
    assert!(r.take_notes().is_empty());
}

#[test]
fn a_dead_recipient_domain_is_one_event_a_minute() {
    let (_, mut r) = herd();
    send(&mut r, 300, 0, "t", &["gmail"], START);
    for _ in 0..500 {
        let dead = attempt("a", "gmail", "t", "dead.example", refused(true, false, Action::None));
        r.observe(&dead, START);
    }
    assert_eq!(*r.health(&route("a", "gmail")), Health::Active);
}

#[test]
fn listings_are_weighed_and_end_in_probation() {
    // listed → health
    type Case = (Vec<Listing>, fn(&Health) -> bool);
    let table: [Case; 5] = [
        (vec![listing("one", 2.0, false)], |h| *h == Health::Active),
        (vec![listing("one", 2.0, false), listing("two", 1.0, false)], |h| {
            matches!(h, Health::Throttled { divisor: 2, until: UNTIL_CLEARED, reason: Reason::Listed })
        }),
        (vec![listing("sbl", 4.0, true)], |h| {
            matches!(h, Health::Suspended { until: UNTIL_CLEARED, reason: Reason::Listed })
        }),
        (vec![listing("sbl", 4.0, true), listing("white", -2.0, false)], |h| matches!(h, Health::Probation { .. })),
        (vec![], |h| matches!(h, Health::Probation { .. })),
    ];
    let ((_, mut r), mut now) = (herd(), START);
    for (listed, expected) in table {
        r.observe(&listings("a", listed.clone()), now);
        assert!(expected(r.health(&binding("a"))), "{listed:?}: {:?}", r.health(&binding("a")));
        assert_eq!(r.listings(&"a".into()), listed);
        now = now.plus(20 * MINUTE);
    }
}

pub(super) fn write(r: &mut Reputation, disk: &mut BTreeMap<String, Vec<u8>>) {
    for fact in r.take_facts() {
        match fact {
            Fact::Put(key, json) => disk.insert(key, json),
            Fact::Remove(key) => disk.remove(&key),
        };
    }
}

pub(super) fn restarted(config: &Config, disk: &BTreeMap<String, Vec<u8>>) -> Reputation {
    restarted_at(config, disk, START)
}

pub(super) fn restarted_at(config: &Config, disk: &BTreeMap<String, Vec<u8>>, now: Wall) -> Reputation {
    let mut r = Reputation::new(config, now);
    disk.iter().for_each(|(key, json)| r.restore(key, json).unwrap());
    r
}
