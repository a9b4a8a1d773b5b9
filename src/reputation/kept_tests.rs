//! What of the healths is on disk: restarts, bindings that go and come back, and what a stranger may have left there.

use std::collections::BTreeMap;
use std::time::Duration;

use super::fixtures::config;
use super::scenarios::{
    HOUR, START, binding, blamed, herd, listing, listings, out_until, restarted, restarted_at, route, write,
};
use super::*;
use crate::outcome::Action;

const DAY: Duration = Duration::from_secs(86_400);

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

#[test]
fn a_binding_that_is_gone_is_forgotten_on_disk_and_one_that_comes_back_goes_on() {
    let (whole, mut r) = herd();
    let rest = config(&["b", "c"], &[("p", &["b", "c"])]);
    let mut disk = BTreeMap::new();
    r.observe(&blamed("a", "gmail", Action::SuspendRoute(4 * HOUR)), START);
    r.observe(&listings("a", vec![listing("sbl", 4.0, true)]), START);
    write(&mut r, &mut disk);
    assert_eq!(disk.len(), 2);

    // Within the run …
    r.reconfigure(&rest);
    write(&mut r, &mut disk);
    assert_eq!((disk.len(), r.all().count()), (2, 2));
    r.reconfigure(&whole);
    let back = r.tick(START.plus(HOUR));
    assert_eq!(back.len(), 2, "and everybody is told: {back:?}");
    assert!(out_until(&r, &binding("a")).is_some() && out_until(&r, &route("a", "gmail")).is_some());

    // … and over restarts, without counting the days anew at each.
    for day in 0..8u32 {
        let now = START.plus(day * DAY);
        let mut r = restarted_at(&rest, &disk, now);
        write(&mut r, &mut disk);
        if day == 3 {
            let mut r = restarted_at(&whole, &disk, now);
            assert_eq!(r.tick(now).len(), 2, "the listing, and the route's way back");
            assert!(out_until(&r, &binding("a")).is_some());
        }
        r.tick(now);
        r.tick(now.plus(2 * HOUR));
        write(&mut r, &mut disk);
        assert_eq!(disk.is_empty(), day == 7, "{day}: {:?}", disk.keys());
    }
}

#[test]
fn nothing_of_what_a_stranger_left_on_disk_does_harm() {
    let (_, mut r) = herd();
    for text in ["", "{}", "null", r#"{"subject":{"Binding":"gone"},"state":null}"#] {
        assert!(r.restore("health/binding/gone", text.as_bytes()).is_err(), "{text}");
    }
    // A fact of before dwell times, of a route that nobody has heard of, long over.
    let old = r#"{"subject":{"Route":["a","site:old"]},"state":{"causes":{"ip_blocked":{"effect":"suspend","until":5,
        "certain":false,"evidence":"x"}},"recovery":null,"strikes":4000000000,"clean_since":5,"unbindable":4000000000,
        "listed":[],"withheld":false,"health":{"Suspended":{"until":5,"reason":"ip_blocked"}}}}"#;
    r.restore("health/route/a/site:old", old.as_bytes()).unwrap();
    r.tick(START);
    assert!(!matches!(r.health(&route("a", "site:old")), Health::Suspended { .. }));
    r.observe(&blamed("a", "site:old", Action::SuspendRoute(HOUR)), START);
    assert_eq!(
        out_until(&r, &route("a", "site:old")),
        Some((Reason::IpBlocked, START.plus(HOUR))),
        "forgiven long ago"
    );
}
