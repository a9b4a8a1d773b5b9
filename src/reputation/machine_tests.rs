//! The machine as a whole: the guard, the operator, watching only, what takes a binding out everywhere.

use std::collections::BTreeMap;
use std::time::Duration;

use super::evidence::AttemptResult;
use super::fixtures::config;
use super::scenarios::{
    HOUR, MINUTE, START, attempt, binding, blamed, herd, listing, listings, out_until, refused, restarted,
    restarted_at, route, send, write,
};
use super::state::{Cause, Effect};
use super::*;
use crate::clock::Wall;
use crate::config::Automation;
use crate::message::TenantName;
use crate::outcome::Action;

fn suspend(name: &str, to: Option<&str>, span: Option<Duration>) -> Evidence {
    Evidence::OperatorSuspend { binding: name.into(), destination: to.map(Into::into), reason: "move".into(), span }
}

fn resume(name: &str, to: Option<&str>, span: Option<Duration>) -> Evidence {
    Evidence::OperatorResume { binding: name.into(), destination: to.map(Into::into), span }
}

fn ptr(name: &str, confirmed: bool) -> Evidence {
    Evidence::ReverseDns { binding: name.into(), confirmed, detail: "no PTR".into() }
}

fn unbindable(name: &str) -> Evidence {
    Evidence::Unbindable { binding: name.into(), detail: "EADDRNOTAVAIL".into() }
}

/// What a detector says of a subject that it has judged.
fn judge(r: &mut Reputation, subject: &Subject, reason: Reason, now: Wall) {
    let mut out = r.tick(now);
    r.change(subject, "judged", &mut out, |state, rules| {
        state.penalise(reason, Duration::ZERO, "judged", rules, now);
    });
}

#[test]
fn the_guard_throttles_instead_and_suspends_when_a_fellow_comes_back() {
    let (_, mut r) = herd();
    r.observe(&listings("a", vec![listing("z", 4.0, false)]), START);
    assert!(out_until(&r, &binding("a")).is_some());
    r.observe(&listings("b", vec![listing("z", 4.0, false)]), START);
    assert!(matches!(r.health(&binding("b")), Health::Throttled { divisor: 4, reason: Reason::Listed, .. }));
    let notes = r.take_notes();
    assert!(matches!(&notes[..], [Note::Withheld { subject, reason: Reason::Listed, .. }] if *subject == binding("b")));
    r.observe(&listings("a", vec![]), START.plus(HOUR));
    assert!(matches!(r.health(&binding("a")), Health::Probation { .. }));
    assert!(matches!(r.health(&binding("b")), Health::Throttled { .. }), "a trickle is no fellow yet");
    r.tick(START.plus(10 * 24 * HOUR));
    assert!(matches!(r.health(&binding("a")), Health::Active));
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

/// One binding has this done to it, by mail to many receivers or a word of somebody.
type Story = fn(&mut Reputation);

#[test]
fn only_these_take_a_binding_out_everywhere() {
    let out: [(&str, Story, Reason); 8] = [
        ("listed by weight", |r| see(r, listings("a", vec![listing("sbl", 4.0, true)])), Reason::Listed),
        ("reverse DNS proven broken", |r| see(r, ptr("a", false)), Reason::ReverseDns),
        ("an address that cannot be bound", |r| see(r, unbindable("a")), Reason::Unbindable),
        ("the operator", |r| see(r, suspend("a", None, None)), Reason::Operator),
        ("a rule", |r| see(r, blamed("a", "site:x", Action::SuspendBinding(HOUR))), Reason::IpBlocked),
        ("three providers", |r| blame_at(r, &["gmail", "outlook", "yahoo"]), Reason::ManyProviders),
        (
            "set-up refused by three providers",
            |r| misconfigured_at(r, &["gmail", "outlook", "yahoo"]),
            Reason::ManyProviders,
        ),
        (
            "hard bounces that neither a route nor a tenant explains",
            |r| {
                let sites = (0..50).map(|n| format!("site:{n}")).collect::<Vec<_>>();
                let sites: Vec<&str> = sites.iter().map(String::as_str).collect();
                for tenant in ["t", "u"] {
                    send(r, 500, 15, tenant, &sites, START);
                }
            },
            Reason::HardBounces,
        ),
    ];
    for (name, story, reason) in out {
        let (_, mut r) = herd();
        story(&mut r);
        assert_eq!(out_until(&r, &binding("a")).map(|(reason, _)| reason), Some(reason), "{name}");
    }
    let not: [(&str, Story); 9] = [
        ("a listing of little weight", |r| see(r, listings("a", vec![listing("z", 3.5, true)]))),
        ("two providers", |r| blame_at(r, &["gmail", "outlook"])),
        ("set-up refused by two providers", |r| misconfigured_at(r, &["gmail", "outlook"])),
        ("any number of sites", |r| {
            let sites = (0..50).map(|n| format!("site:{n}")).collect::<Vec<_>>();
            blame_at(r, &sites.iter().map(String::as_str).collect::<Vec<_>>());
        }),
        ("hard bounces at one destination", |r| send(r, 500, 30, "t", &["gmail"], START)),
        ("hard bounces of one tenant", |r| {
            send(r, 500, 0, "good", &["gmail", "outlook", "yahoo"], START);
            send(r, 500, 30, "bad", &["gmail", "outlook", "yahoo"], START);
        }),
        ("routes out for statistics at every provider", |r| {
            for to in ["gmail", "outlook", "yahoo"] {
                for reason in [Reason::Complaints, Reason::Deferrals, Reason::Latency, Reason::HardBounces] {
                    judge(r, &route("a", to), reason, START);
                }
            }
        }),
        ("the operator, at every provider", |r| {
            ["gmail", "outlook", "yahoo"].iter().for_each(|to| see(r, suspend("a", Some(to), None)));
        }),
        ("every receiver asking for less", |r| {
            ["gmail", "outlook", "yahoo"].iter().for_each(|to| see(r, blamed("a", to, Action::BackOff(HOUR))));
        }),
    ];
    for (name, story) in not {
        let (_, mut r) = herd();
        story(&mut r);
        assert!(!matches!(r.health(&binding("a")), Health::Suspended { .. }), "{name}");
    }
}

fn see(r: &mut Reputation, evidence: Evidence) {
    r.observe(&evidence, START);
}

fn blame_at(r: &mut Reputation, places: &[&str]) {
    places.iter().for_each(|to| see(r, blamed("a", to, Action::SuspendRoute(HOUR))));
}

fn misconfigured_at(r: &mut Reputation, places: &[&str]) {
    let word = |to| attempt("a", to, "t", "x.example", refused(false, false, Action::FixBinding(HOUR)));
    places.iter().for_each(|to| see(r, word(to)));
}

#[test]
fn the_guard_keeps_routes_of_a_pool_at_one_destination_from_statistics() {
    for reason in [Reason::HardBounces, Reason::Complaints, Reason::Deferrals, Reason::Latency] {
        let names = ["a", "b", "c", "d"];
        let mut r = Reputation::new(&config(&names, &[("p", &names)]), START);
        names.iter().for_each(|name| judge(&mut r, &route(name, "gmail"), reason, START));
        let shown: Vec<&str> = names.iter().map(|name| r.health(&route(name, "gmail")).as_str()).collect();
        assert_eq!(shown, ["suspended", "suspended", "throttled", "throttled"], "half of the pool, {reason:?}");
        assert!(matches!(r.health(&route("c", "gmail")), Health::Throttled { divisor: 4, .. }));
        judge(&mut r, &route("c", "outlook"), reason, START);
        assert!(out_until(&r, &route("c", "outlook")).is_some(), "another destination is another matter");
        let notes = r.take_notes();
        let of_c =
            notes.iter().find(|note| matches!(note, Note::Withheld { subject, .. } if *subject == route("c", "gmail")));
        let fields = of_c.map(Note::fields).unwrap_or_default();
        assert!(fields.contains(&("destination", "gmail".into())), "{notes:?}");
        assert_eq!(notes.len(), 2, "{notes:?}");

        // One comes back, and of those that are held back the first takes its place.
        r.observe(&resume("a", Some("gmail"), None), START.plus(MINUTE));
        let shown: Vec<&str> = names.iter().map(|name| r.health(&route(name, "gmail")).as_str()).collect();
        assert_eq!(shown, ["active", "suspended", "suspended", "throttled"], "{reason:?}");
    }
}

#[test]
fn a_fellow_that_is_out_everywhere_counts_at_every_destination() {
    let (_, mut r) = herd();
    r.observe(&listings("a", vec![listing("sbl", 4.0, true)]), START);
    judge(&mut r, &route("b", "gmail"), Reason::HardBounces, START);
    assert_eq!(r.health(&route("b", "gmail")).as_str(), "throttled", "two of three would be out there");
}

#[test]
fn what_a_receiver_says_in_as_many_words_takes_out_even_the_last_route() {
    for action in [Action::SuspendRoute(HOUR), Action::FixBinding(HOUR)] {
        let (_, mut r) = herd();
        for name in ["a", "b", "c"] {
            let word = attempt(name, "gmail", "t", "x.example", refused(false, true, action));
            r.observe(&word, START);
            assert!(out_until(&r, &route(name, "gmail")).is_some(), "{name} {action:?}");
        }
    }
}

#[test]
fn the_operator_takes_out_one_route_and_brings_it_back() {
    let (config, mut r) = herd();
    let mut disk = BTreeMap::new();
    r.observe(&suspend("a", Some("gmail"), Some(HOUR)), START);
    let expected = Some((Reason::Operator, START.plus(HOUR)));
    assert_eq!(out_until(&r, &route("a", "gmail")), expected);
    assert_eq!(*r.health(&binding("a")), Health::Active);
    write(&mut r, &mut disk);
    let mut r = restarted(&config, &disk);
    assert_eq!(out_until(&r, &route("a", "gmail")), expected);
    r.observe(&suspend("a", Some("outlook"), None), START);
    r.observe(&resume("a", Some("gmail"), None), START.plus(MINUTE));
    assert_eq!(*r.health(&route("a", "gmail")), Health::Active);
    assert!(out_until(&r, &route("a", "outlook")).is_some(), "the other one stays");
    r.observe(&resume("a", None, None), START.plus(MINUTE));
    assert_eq!(*r.health(&route("a", "outlook")), Health::Active);
}

#[test]
fn the_operator_keeps_a_binding_in_use_and_automation_says_what_it_would_have_done() {
    let (config, mut r) = herd();
    let mut disk = BTreeMap::new();
    blame_at(&mut r, &["gmail", "outlook", "yahoo"]);
    r.observe(&resume("a", None, Some(2 * HOUR)), START.plus(MINUTE));
    r.take_notes();
    for (minutes, evidence) in [
        (2, blamed("a", "gmail", Action::SuspendRoute(4 * HOUR))),
        (3, blamed("a", "gmail", Action::SuspendRoute(4 * HOUR))),
        (4, blamed("a", "site:new", Action::SuspendRoute(HOUR))),
        (5, listings("a", vec![listing("sbl", 4.0, true)])),
        (6, ptr("a", false)),
    ] {
        assert_eq!(r.observe(&evidence, START.plus(minutes * MINUTE)), [], "{evidence:?}");
    }
    let notes = r.take_notes();
    let told: Vec<_> = notes.iter().filter(|note| note.as_str() == "would_suspend").collect();
    assert_eq!(told.len(), 3, "once for each of two routes and the binding: {notes:?}");
    assert!(r.evidence(&binding("a")).contains("would be suspended until that is gone for listed"));
    write(&mut r, &mut disk);
    let mut r = restarted(&config, &disk);
    assert!(r.tick(START.plus(2 * HOUR)).is_empty(), "a restart does not end it");
    assert_eq!(r.observe(&unbindable("a"), START.plus(2 * HOUR)).len(), 1, "but an address must be there");
    r.observe(&Evidence::Bindable { binding: "a".into() }, START.plus(2 * HOUR));
    r.observe(&ptr("a", true), START.plus(2 * HOUR));
    r.tick(START.plus(2 * HOUR).plus(MINUTE));
    assert_eq!(out_until(&r, &binding("a")), Some((Reason::Listed, UNTIL_CLEARED)));
    assert!(out_until(&r, &route("a", "gmail")).is_some(), "four hours have not passed");
    assert_eq!(*r.health(&route("a", "site:new")), Health::Active, "one has");
}

#[test]
fn automation_and_the_operator_see_each_other() {
    let (_, mut r) = herd();
    // The guard counts whom the operator took out as nobody to rely on …
    ["b", "c"].iter().for_each(|name| see(&mut r, suspend(name, None, None)));
    r.observe(&listings("a", vec![listing("z", 4.0, false)]), START);
    assert_eq!(r.health(&binding("a")).as_str(), "throttled");
    // … the operator's word ends what automation did, and what automation found meanwhile comes after his.
    r.observe(&resume("a", None, None), START);
    assert_eq!(*r.health(&binding("a")), Health::Active);
    r.observe(&suspend("a", None, Some(HOUR)), START);
    r.observe(&listings("a", vec![listing("sbl", 4.0, true)]), START);
    assert_eq!(out_until(&r, &binding("a")), Some((Reason::Operator, START.plus(HOUR))));
    r.tick(START.plus(HOUR));
    assert_eq!(out_until(&r, &binding("a")), Some((Reason::Listed, UNTIL_CLEARED)));
}

#[test]
fn a_watching_automation_tells_once_what_it_would_do_and_acts_when_it_is_let() {
    let (mut config, _) = herd();
    config.reputation.automation = Automation::Watch;
    let mut r = Reputation::new(&config, START);
    let mut disk = BTreeMap::new();
    let hold = attempt("c", "gmail", "t", "x.example", refused(false, false, Action::HoldTenant(HOUR)));
    let story = [
        blamed("a", "gmail", Action::SuspendRoute(2 * HOUR)),
        blamed("a", "gmail", Action::SuspendRoute(2 * HOUR)),
        blamed("b", "gmail", Action::BackOff(HOUR)),
        listings("b", vec![listing("sbl", 4.0, true)]),
        hold.clone(),
        hold.clone(),
        hold.clone(),
        hold,
    ];
    for evidence in &story {
        assert_eq!(r.observe(evidence, START), []);
    }
    let mail = holds::Mail {
        tenant: &TenantName::new("t"),
        stream: None,
        sender_domain: None,
        destination: &"gmail".into(),
        message: crate::message::MessageId(1),
    };
    assert!(r.holds().held(mail, START).is_none() && r.take_hold_changes().is_empty());
    let would = r.take_notes().into_iter().filter(|note| note.as_str() == "would_suspend").count();
    assert_eq!(would, 2, "the route, and the binding that is listed");
    let seen: Vec<String> = r.all().map(|(subject, _)| r.evidence(&subject)).filter(|text| !text.is_empty()).collect();
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert!(seen.iter().all(|text| text.starts_with("would be ")), "{seen:?}");
    write(&mut r, &mut disk);

    config.reputation.automation = Automation::Act;
    let mut r = restarted_at(&config, &disk, START.plus(90 * MINUTE));
    assert!(r.next_wakeup().is_some_and(|at| at <= START.plus(90 * MINUTE)), "at once");
    assert_eq!(r.tick(START.plus(90 * MINUTE)).len(), 2);
    assert_eq!(out_until(&r, &route("a", "gmail")), Some((Reason::IpBlocked, START.plus(2 * HOUR))));
    assert_eq!(out_until(&r, &binding("b")), Some((Reason::Listed, UNTIL_CLEARED)));
    assert_eq!(*r.health(&route("b", "gmail")), Health::Active, "that hour is over");
    write(&mut r, &mut disk);

    config.reputation.automation = Automation::Watch;
    r.reconfigure(&config);
    assert_eq!(r.tick(START.plus(91 * MINUTE)).len(), 2, "and lets go when it is told to watch");
    assert!(r.all().all(|(_, health)| *health == Health::Active));
}

#[test]
fn what_a_watching_automation_found_asks_the_guard_before_it_acts() {
    let (mut config, _) = herd();
    config.reputation.automation = Automation::Watch;
    let mut r = Reputation::new(&config, START);
    for name in ["a", "b", "c"] {
        r.observe(&listings(name, vec![listing("z", 4.0, false)]), START);
    }
    config.reputation.automation = Automation::Act;
    r.reconfigure(&config);
    r.tick(START);
    let shown: Vec<&str> = ["a", "b", "c"].iter().map(|name| r.health(&binding(name)).as_str()).collect();
    assert_eq!(shown, ["suspended", "throttled", "throttled"]);
}

#[test]
fn a_throttle_has_a_base_and_a_span_of_nothing_lasts_a_while() {
    let (_, mut r) = herd();
    r.observe(&blamed("a", "gmail", Action::BackOff(Duration::ZERO)), START);
    r.observe(&blamed("b", "gmail", Action::SuspendRoute(Duration::ZERO)), START);
    r.observe(&suspend("c", None, Some(Duration::ZERO)), START);
    assert!(matches!(r.health(&route("a", "gmail")), Health::Throttled { divisor: 2.., until, .. } if *until > START));
    assert_eq!(out_until(&r, &route("b", "gmail")), Some((Reason::IpBlocked, START.plus(HOUR))));
    assert!(r.next_wakeup().is_some_and(|at| at > START));
    r.tick(START.plus(MINUTE));
    assert_eq!(*r.health(&binding("c")), Health::Active);
}

#[test]
fn a_detectors_throttle_is_weighed_like_any_cause() {
    let (_, mut r) = herd();
    let mut out = Vec::new();
    let until = START.plus(HOUR);
    r.change(&route("a", "gmail"), "slow", &mut out, |state, _| {
        let cause = Cause { effect: Effect::Throttle, until, certain: false, evidence: "slow".into() };
        state.hold(Reason::Latency, cause, START);
    });
    assert_eq!(out.len(), 1);
    assert_eq!(*r.health(&route("a", "gmail")), Health::Throttled { divisor: 2, until, reason: Reason::Latency });
}

#[test]
fn the_first_one_on_its_way_back_does_not_send_out_the_one_that_carries_the_mail() {
    let config = config(&["a", "b"], &[("p", &["a", "b"])]);
    let mut r = Reputation::new(&config, START);
    let ptr = |n: &str, confirmed| Evidence::ReverseDns { binding: n.into(), confirmed, detail: "ptr".into() };
    r.observe(&ptr("a", false), START);
    r.observe(&ptr("b", false), START);
    assert_eq!((r.health(&binding("a")).as_str(), r.health(&binding("b")).as_str()), ("suspended", "throttled"));
    let mended = START.plus(HOUR);
    r.observe(&ptr("a", true), mended);
    assert_eq!((r.health(&binding("a")).as_str(), r.health(&binding("b")).as_str()), ("probation", "throttled"));
    r.observe(&ptr("b", true), mended.plus(MINUTE));
    r.tick(mended.plus(HOUR));
    assert_eq!(r.health(&binding("b")).as_str(), "active", "it never went");
}

#[test]
fn what_is_told_only_when_it_changes_acts_again_when_the_shield_ends() {
    let (_, mut r) = herd();
    r.observe(&listings("a", vec![listing("z", 10.0, true)]), START);
    assert_eq!(r.health(&binding("a")).as_str(), "suspended");
    let resume = Evidence::OperatorResume { binding: "a".into(), destination: None, span: Some(HOUR) };
    r.observe(&resume, START.plus(MINUTE));
    assert_eq!(r.health(&binding("a")).as_str(), "active");
    r.tick(START.plus(2 * HOUR));
    assert_eq!(r.health(&binding("a")).as_str(), "suspended", "the listing still stands");
}

#[test]
fn reverse_dns_that_is_asked_for_no_more_keeps_nobody_out() {
    let (mut config, mut r) = herd();
    r.observe(&Evidence::ReverseDns { binding: "a".into(), confirmed: false, detail: "ptr".into() }, START);
    assert_eq!(r.health(&binding("a")).as_str(), "suspended");
    let disk: Vec<_> = r.take_facts();
    config.monitor.fcrdns = false;
    let mut again = Reputation::new(&config, START.plus(MINUTE));
    for fact in disk {
        if let Fact::Put(key, json) = fact {
            again.restore(&key, &json).unwrap();
        }
    }
    again.tick(START.plus(HOUR));
    assert_ne!(again.health(&binding("a")).as_str(), "suspended");
    r.reconfigure(&config);
    r.tick(START.plus(MINUTE));
    r.tick(START.plus(HOUR));
    assert_ne!(r.health(&binding("a")).as_str(), "suspended");
}
