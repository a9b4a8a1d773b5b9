//! What feeds report: it throttles, with an end, and never suspends.

use std::collections::BTreeMap;
use std::time::Duration;

use super::scenarios::{MINUTE, START, binding, herd, listing, listings, restarted_at, route, write};
use super::*;
use crate::clock::Wall;

const DAY: Duration = Duration::from_secs(86_400);

fn said(to: Option<&str>, until: Option<Wall>) -> Evidence {
    Evidence::Reported { binding: "a".into(), destination: to.map(Into::into), until, detail: "snds: red".into() }
}

fn throttled(r: &Reputation, subject: &Subject) -> Option<Wall> {
    match r.health(subject) {
        Health::Throttled { divisor: 2, until, reason: Reason::Reported } => Some(*until),
        Health::Active => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_report_throttles_one_route_until_it_has_aged() {
    let (_, mut r) = herd();
    let at = route("a", "outlook");
    let changes = r.observe(&said(Some("outlook"), Some(START.plus(DAY))), START);
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(changes[0].evidence, "snds: red");
    assert_eq!(throttled(&r, &at), Some(START.plus(DAY)));
    assert_eq!((r.health(&binding("a")), r.health(&route("a", "gmail"))), (&Health::Active, &Health::Active));
    assert_eq!(r.observe(&said(Some("outlook"), Some(START.plus(DAY))), START.plus(MINUTE)), [], "told again");
    r.tick(START.plus(DAY));
    assert_eq!(throttled(&r, &at), None);
}

#[test]
fn a_good_report_lifts_it_after_the_dwell_time_and_a_shorter_word_is_believed() {
    let (config, mut r) = herd();
    let at = binding("a");
    r.observe(&said(None, Some(START.plus(DAY * 3))), START);
    r.observe(&said(None, Some(START.plus(DAY))), START.plus(MINUTE));
    assert_eq!(throttled(&r, &at), Some(START.plus(DAY)));
    let later = START.plus(config.reputation.dwell + MINUTE * 2);
    r.observe(&said(None, None), later);
    assert_eq!(throttled(&r, &at), None);
    assert_eq!(r.observe(&said(None, None), later), []);
    assert_eq!(r.observe(&said(None, Some(later)), later), [], "what is over says nothing");
}

#[test]
fn it_outlives_a_restart_and_gives_way_to_what_is_worse() {
    let (config, mut r) = herd();
    let mut disk = BTreeMap::new();
    r.observe(&said(None, Some(START.plus(DAY))), START);
    write(&mut r, &mut disk);
    let mut r = restarted_at(&config, &disk, START.plus(MINUTE));
    assert_eq!(throttled(&r, &binding("a")), Some(START.plus(DAY)));
    r.observe(&listings("a", vec![listing("z", 9.0, true)]), START.plus(MINUTE));
    assert!(matches!(r.health(&binding("a")), Health::Suspended { reason: Reason::Listed, .. }));
}
