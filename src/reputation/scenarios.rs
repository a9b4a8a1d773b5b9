//! Whole stories: evidence in, health changes out; and what no evidence may ever break.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

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

fn listing(zone: &str, weight: f64, certain: bool) -> Listing {
    Listing { zone: zone.into(), weight, certain, codes: "127.0.0.2".into() }
}

fn listings(name: &str, listed: Vec<Listing>) -> Evidence {
    Evidence::Listings { binding: name.into(), listed }
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
    r.observe(&blamed("a", "site:x", Action::None), now);
    r.observe(&blamed("a", "site:y", Action::None), now);
    assert_eq!(out_until(&r, &binding("a")), Some((Reason::ManyProviders, now.plus(4 * HOUR))));
}

#[test]
fn back_off_halves_the_route_for_its_span() {
    let (_, mut r) = herd();
    r.observe(&blamed("a", "gmail", Action::BackOff(10 * MINUTE)), START);
    let until = START.plus(10 * MINUTE);
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
    let (_, mut r) = herd();
    for (listed, expected) in table {
        r.observe(&listings("a", listed.clone()), START);
        assert!(expected(r.health(&binding("a"))), "{listed:?}: {:?}", r.health(&binding("a")));
        assert_eq!(r.listings(&"a".into()), listed);
    }
}

#[test]
fn the_guard_throttles_instead_and_suspends_when_a_fellow_comes_back() {
    let (_, mut r) = herd();
    r.observe(&listings("a", vec![listing("z", 4.0, false)]), START);
    assert!(out_until(&r, &binding("a")).is_some());
    r.observe(&listings("b", vec![listing("z", 4.0, false)]), START);
    assert!(matches!(r.health(&binding("b")), Health::Throttled { divisor: 4, reason: Reason::Listed, .. }));
    let notes = r.take_notes();
    assert!(matches!(&notes[..], [Note::Withheld { binding, reason: Reason::Listed, .. }] if binding.as_str() == "b"));
    let changes = r.observe(&listings("a", vec![]), START.plus(HOUR));
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert!(matches!(r.health(&binding("a")), Health::Probation { .. }));
    assert_eq!(out_until(&r, &binding("b")), Some((Reason::Listed, UNTIL_CLEARED)));
}

#[test]
fn certain_evidence_takes_out_even_the_last_binding() {
    let (_, mut r) = herd();
    for name in ["a", "b", "c"] {
        r.observe(&listings(name, vec![listing("sbl", 4.0, true)]), START);
        assert_eq!(out_until(&r, &binding(name)), Some((Reason::Listed, UNTIL_CLEARED)));
    }
    let (_, mut r) = herd();
    for name in ["a", "b", "c"] {
        let detail = "EADDRNOTAVAIL".into();
        r.observe(&Evidence::Unbindable { binding: name.into(), detail }, START);
        assert_eq!(out_until(&r, &binding(name)), Some((Reason::Unbindable, START.plus(MINUTE))));
    }
    r.tick(START.plus(MINUTE));
    r.observe(&attempt("a", "gmail", "t", "x.example", AttemptResult::Accepted), START.plus(MINUTE));
    assert_eq!(*r.health(&binding("a")), Health::Active, "it was bound: no probation");
    assert!(matches!(r.health(&binding("b")), Health::Probation { .. }));
}

#[test]
fn a_broken_ptr_keeps_the_binding_out_until_it_is_confirmed() {
    let (_, mut r) = herd();
    let seen = |confirmed| Evidence::ReverseDns { binding: "a".into(), confirmed, detail: "no PTR".into() };
    assert!(r.observe(&seen(true), START).is_empty());
    r.observe(&seen(false), START);
    assert_eq!(out_until(&r, &binding("a")), Some((Reason::ReverseDns, UNTIL_CLEARED)));
    assert!(r.tick(START.plus(30 * 24 * HOUR)).is_empty());
    r.observe(&seen(true), START.plus(30 * 24 * HOUR));
    assert!(matches!(r.health(&binding("a")), Health::Probation { reason: Reason::ReverseDns, .. }));
}

#[test]
fn the_operators_word_comes_first_and_what_lies_below_comes_back_after_it() {
    let (_, mut r) = herd();
    let suspend =
        |span| Evidence::OperatorSuspend { binding: "a".into(), destination: None, reason: "move".into(), span };
    r.observe(&listings("a", vec![listing("sbl", 4.0, true)]), START);
    r.observe(&suspend(Some(HOUR)), START);
    assert_eq!(out_until(&r, &binding("a")), Some((Reason::Operator, START.plus(HOUR))));
    r.tick(START.plus(HOUR));
    assert_eq!(out_until(&r, &binding("a")), Some((Reason::Listed, UNTIL_CLEARED)));
    r.observe(&blamed("a", "gmail", Action::SuspendRoute(HOUR)), START.plus(HOUR));
    r.observe(&Evidence::OperatorResume { binding: "a".into(), destination: None, span: None }, START.plus(HOUR));
    assert_eq!(*r.health(&binding("a")), Health::Active);
    assert_eq!(*r.health(&route("a", "gmail")), Health::Active);

    r.observe(&suspend(None), START.plus(HOUR));
    assert_eq!(out_until(&r, &binding("a")), Some((Reason::Operator, UNTIL_CLEARED)));
    r.observe(&suspend(Some(MINUTE)), START.plus(HOUR));
    assert_eq!(out_until(&r, &binding("a")), Some((Reason::Operator, START.plus(HOUR).plus(MINUTE))));
    r.tick(START.plus(2 * HOUR));
    assert_eq!(*r.health(&binding("a")), Health::Active, "no probation after the operator's own pause");
}

#[test]
fn facts_follow_every_change_and_a_restart_continues_the_suspension() {
    let (whole, mut r) = herd();
    let mut disk = BTreeMap::new();
    r.observe(&blamed("a", "gmail", Action::SuspendRoute(HOUR)), START);
    r.observe(&listings("b", vec![listing("sbl", 4.0, true)]), START);
    write(&mut r, &mut disk);
    let keys: Vec<&str> = disk.keys().map(String::as_str).collect();
    assert_eq!(keys, ["health/binding/b", "health/route/a/gmail"]);

    let smaller = config(&["a"], &[("p", &["a"])]);
    let mut other = restarted(&smaller, &disk);
    assert_eq!(*other.health(&binding("b")), Health::Active, "facts of removed bindings are ignored");
    assert_eq!(other.all().count(), 2);
    assert!(other.restore("health/binding/a", b"{").is_err());

    let mut r = restarted(&whole, &disk);
    assert_eq!(out_until(&r, &route("a", "gmail")), Some((Reason::IpBlocked, START.plus(HOUR))));
    assert_eq!(out_until(&r, &binding("b")), Some((Reason::Listed, UNTIL_CLEARED)));
    assert_eq!(r.listings(&"b".into()), [listing("sbl", 4.0, true)]);
    r.tick(START.plus(HOUR));
    r.observe(&blamed("a", "gmail", Action::None), START.plus(HOUR));
    assert_eq!(out_until(&r, &route("a", "gmail")), Some((Reason::IpBlocked, START.plus(3 * HOUR))), "strikes too");

    r.observe(&Evidence::OperatorResume { binding: "a".into(), destination: None, span: None }, START.plus(HOUR));
    r.tick(START.plus(HOUR + 7 * 24 * HOUR));
    write(&mut r, &mut disk);
    assert!(!disk.contains_key("health/route/a/gmail"), "forgiven and forgotten");
}

#[test]
fn a_binding_that_stays_keeps_its_health_when_the_configuration_changes() {
    let (_, mut r) = herd();
    r.observe(&blamed("a", "gmail", Action::SuspendRoute(HOUR)), START);
    r.observe(&blamed("b", "gmail", Action::SuspendRoute(HOUR)), START);
    r.reconfigure(&config(&["a", "d"], &[("p", &["a", "d"])]));
    assert!(out_until(&r, &route("a", "gmail")).is_some());
    assert_eq!(*r.health(&route("b", "gmail")), Health::Active);
    assert!(r.observe(&blamed("b", "gmail", Action::SuspendRoute(HOUR)), START).is_empty());
    assert_eq!(r.tick(START.plus(HOUR)).len(), 1);
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
    let mut r = Reputation::new(config, START);
    disk.iter().for_each(|(key, json)| r.restore(key, json).unwrap());
    r
}

fn any_evidence() -> impl Strategy<Value = Evidence> {
    let name = prop::sample::select(vec!["a", "b", "c", "gone"]);
    let to = prop::sample::select(vec!["gmail", "outlook", "yahoo", "site:x"]);
    let span = (1u64..300).prop_map(|m| MINUTE * m as u32);
    let action = prop_oneof![
        3 => Just(Action::None),
        1 => span.clone().prop_map(Action::BackOff),
        1 => span.clone().prop_map(Action::SuspendRoute),
        1 => span.clone().prop_map(Action::SuspendBinding),
        2 => span.clone().prop_map(Action::HoldTenant),
        1 => span.clone().prop_map(Action::FixBinding),
    ];
    let result = prop_oneof![
        2 => Just(AttemptResult::Accepted),
        3 => (any::<bool>(), any::<bool>(), action).prop_map(|(hard, blames, action)| refused(hard, blames, action)),
    ];
    let late = (name.clone(), prop::option::of(to.clone()), 0u64..9000, result.clone());
    let complaint = (name.clone(), prop::option::of(to.clone()), 0i64..40, any::<u32>());
    let listed = prop::collection::vec((0.0..5.0f64, any::<bool>()), 0..3);
    prop_oneof![
        8 => (name.clone(), to.clone(), result, 0u64..4, any::<bool>()).prop_map(|(n, to, result, number, null)| {
            let mut seen = attempt(n, to, "t", "x.example", result);
            if let Evidence::Attempt { message, sender_domain, .. } = &mut seen {
                *message = MessageId(number);
                *sender_domain = (!null).then(|| "s.example".parse().unwrap());
            }
            seen
        }),
        4 => late.prop_map(|(n, to, ago, result)| Evidence::LateBounce {
            binding: n.into(),
            destination: to.map(Into::into),
            tenant: "t".into(),
            domain: (ago % 3 > 0).then(|| "x.example".parse().unwrap()),
            at: Wall::from_millis(START.as_millis() - 1000 * ago as i64),
            result,
        }),
        2 => complaint.prop_map(|(n, to, days, incidents)| Evidence::Complaint {
            binding: n.into(),
            destination: to.map(Into::into),
            tenant: "t".into(),
            at: Wall::from_millis(START.as_millis() - 86_400_000 * days),
            incidents,
        }),
        1 => prop::option::of(to).prop_map(|to| {
            Evidence::OperatorRelease { tenant: "t".into(), destination: to.map(Into::into) }
        }),
        2 => (name.clone(), listed).prop_map(|(n, l)| {
            listings(n, l.into_iter().map(|(weight, certain)| listing("z", weight, certain)).collect())
        }),
        1 => (name.clone(), any::<bool>()).prop_map(|(n, confirmed)| {
            Evidence::ReverseDns { binding: n.into(), confirmed, detail: "ptr".into() }
        }),
        1 => name.clone().prop_map(|n| Evidence::Unbindable { binding: n.into(), detail: "no".into() }),
        1 => name.clone().prop_map(|n| Evidence::Bindable { binding: n.into() }),
        1 => (name.clone(), prop::option::of(span)).prop_map(|(n, span)| {
            Evidence::OperatorSuspend { binding: n.into(), destination: None, reason: "word".into(), span }
        }),
        1 => name.prop_map(|n| Evidence::OperatorResume { binding: n.into(), destination: None, span: None }),
    ]
}

/// Reasons for which a change of `a`, `b` or `c` may come without asking the guard.
fn certain(evidence: Option<&Evidence>) -> bool {
    match evidence {
        Some(Evidence::Listings { listed, .. }) => listed.iter().any(|l| l.certain),
        Some(Evidence::Unbindable { .. } | Evidence::OperatorSuspend { .. }) => true,
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_evidence_breaks_what_must_hold(
        story in prop::collection::vec((any_evidence(), 0u64..7200), 1..60)
    ) {
        let (config, mut r) = herd();
        let mut disk = BTreeMap::new();
        let mut shown: BTreeMap<Subject, Health> = BTreeMap::new();
        let mut now = START;
        for (mut evidence, seconds) in story {
            now = now.plus(Duration::from_secs(seconds));
            if let Evidence::LateBounce { at, .. } | Evidence::Complaint { at, .. } = &mut evidence {
                // Drawn as if it were START.
                *at = at.plus(now.since(START));
            }
            for cause in [None, Some(&evidence)] {
                let changes = match cause {
                    None => r.tick(now),
                    Some(evidence) => r.observe(evidence, now),
                };
                for change in changes {
                    // Changes chain: what one ends with the next begins with.
                    let last = shown.insert(change.subject.clone(), change.to.clone());
                    prop_assert_eq!(last.unwrap_or(Health::Active), change.from.clone());
                    prop_assert_ne!(&change.from, &change.to);
                    prop_assert!(!change.evidence.is_empty());
                    match change.to {
                        Health::Suspended { until, reason } => {
                            prop_assert!(until > now);
                            // The guard: automation leaves the pool a usable binding.
                            if matches!(change.subject, Subject::Binding(_))
                                && reason != Reason::Operator
                                && !matches!(change.from, Health::Suspended { .. })
                                && !certain(cause)
                            {
                                let usable = ["a", "b", "c"].iter().filter(|n| {
                                    !matches!(r.health(&binding(n)), Health::Suspended { .. })
                                });
                                prop_assert!(usable.count() >= 1);
                            }
                        }
                        Health::Throttled { divisor, until, .. } => prop_assert!(until > now && divisor >= 2),
                        Health::Probation { allowance, until, .. } => prop_assert!(until > now && allowance >= 1),
                        Health::Active => {}
                    }
                }
            }
            for (subject, health) in r.all() {
                prop_assert_eq!(shown.get(&subject).unwrap_or(&Health::Active), health);
            }
            prop_assert!(r.next_wakeup().is_none_or(|at| at > now), "time is served");
            for watched in r.bindings.values_mut() {
                for cell in std::iter::once(&mut watched.own).chain(watched.routes.values_mut()) {
                    let total = cell.tally.total(tally::Steps::new(&config.reputation), now);
                    prop_assert!(total.events <= total.attempts);
                    let mut counts = cell.tally.since(i64::MIN);
                    prop_assert!(counts.all(|(_, own)| own.events <= own.attempts && own.attempts <= total.attempts));
                }
            }
            for change in r.take_hold_changes() {
                if let HoldState::Held { until } = change.to {
                    prop_assert!(until > now);
                }
            }
            let (held, _) = (r.holds().all(now).collect::<Vec<_>>(), r.take_freed());
            // What is on disk is what is in memory.
            write(&mut r, &mut disk);
            let copy = restarted(&config, &disk);
            prop_assert_eq!(copy.holds().all(now).collect::<Vec<_>>(), held);
            let complaints = |r: &Reputation| -> u64 {
                r.complaints().shares(40, now).values().map(|sum| sum.complaints).sum()
            };
            prop_assert_eq!(complaints(&copy), complaints(&r));
            for (subject, health) in r.all() {
                prop_assert_eq!(copy.health(&subject), health);
                prop_assert_eq!(copy.evidence(&subject), r.evidence(&subject));
            }
            prop_assert_eq!(copy.all().filter(|(_, h)| **h != Health::Active).count(),
                r.all().filter(|(_, h)| **h != Health::Active).count());
        }
    }
}
