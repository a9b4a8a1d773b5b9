//! Stories of holds: whose refusals hold whose mail, and how it comes back.

use std::collections::BTreeMap;
use std::time::Duration;

use super::counted::COUNTED_MAX;
use super::{Freed, Held, HoldState, Mail, PROBE_PATIENCE};
use crate::reputation::evidence::AttemptResult;
use crate::reputation::scenarios::{HOUR, MINUTE, START, attempt, herd, refused, restarted, write};
use crate::reputation::{Evidence, Health, Reputation};
use crate::clock::Wall;
use crate::message::{Domain, MessageId};
use crate::outcome::{Action, Scope};

const DAY: Duration = Duration::from_secs(86_400);

/// An answer about message `number` of tenant `tenant` from `sender` at gmail.
fn answer(tenant: &str, sender: Option<&str>, number: u64, given: AttemptResult) -> Evidence {
    let mut seen = attempt("a", "gmail", tenant, "x.example", given);
    if let Evidence::Attempt { message, sender_domain, .. } = &mut seen {
        *message = MessageId(number);
        *sender_domain = sender.map(|name| name.parse().unwrap());
    }
    seen
}

fn hold(blames: Scope, span: Duration) -> AttemptResult {
    let mut given = refused(false, false, Action::HoldTenant(span));
    if let AttemptResult::Refused { scope, .. } = &mut given {
        *scope = blames;
    }
    given
}

fn refuse(r: &mut Reputation, sender: Option<&str>, blames: Scope, numbers: std::ops::Range<u64>, now: Wall) {
    numbers.for_each(|n| drop(r.observe(&answer("t", sender, n, hold(blames, HOUR)), now)));
}

fn held(r: &Reputation, tenant: &str, sender: Option<&str>, to: &str, now: Wall) -> Option<Wall> {
    let sender: Option<Domain> = sender.map(|name| name.parse().unwrap());
    r.holds().held(&tenant.into(), sender.as_ref(), &to.into(), now).map(|held| held.until)
}

fn states(r: &mut Reputation) -> Vec<HoldState> {
    r.take_hold_changes().into_iter().map(|change| change.to).collect()
}

#[test]
fn three_messages_hold_the_tenant_there_and_nobody_else() {
    let (_, mut r) = herd();
    refuse(&mut r, Some("s.example"), Scope::Tenant, 1..3, START);
    // Another recipient of a message, or its next try, is no further message.
    refuse(&mut r, Some("s.example"), Scope::Tenant, 1..3, START.plus(MINUTE));
    assert_eq!(held(&r, "t", None, "gmail", START), None);
    let now = START.plus(2 * MINUTE);
    refuse(&mut r, Some("s.example"), Scope::Tenant, 3..4, now);
    let until = now.plus(HOUR);
    assert_eq!(states(&mut r), [HoldState::Held { until }]);
    assert_eq!(held(&r, "t", None, "gmail", now), Some(until));
    assert_eq!(held(&r, "t", Some("other.example"), "gmail", now), Some(until), "the whole tenant");
    assert_eq!(held(&r, "t", None, "outlook", now), None);
    assert_eq!(held(&r, "u", None, "gmail", now), None);
    assert!(r.all().all(|(_, health)| *health == Health::Active), "no binding pays for it");
    // What was on the wire when it began changes nothing.
    refuse(&mut r, None, Scope::Tenant, 4..20, now);
    r.observe(&answer("t", None, 21, AttemptResult::Accepted), now);
    assert_eq!(held(&r, "t", None, "gmail", now), Some(until));
    assert_eq!(states(&mut r), []);
}

#[test]
fn refusals_further_apart_than_the_window_hold_nothing() {
    let (_, mut r) = herd();
    for n in 0..20 {
        refuse(&mut r, None, Scope::Tenant, n..n + 1, START.plus(31 * MINUTE * n as u32));
    }
    assert_eq!(states(&mut r), []);
}

#[test]
fn a_refused_sender_domain_holds_that_domain_only_and_none_means_the_tenant() {
    let (_, mut r) = herd();
    refuse(&mut r, Some("bad.example"), Scope::SenderDomain, 0..2, START);
    refuse(&mut r, Some("bad2.example"), Scope::SenderDomain, 2..4, START);
    assert_eq!(states(&mut r), [], "each domain is counted for itself");
    refuse(&mut r, Some("bad.example"), Scope::SenderDomain, 4..5, START);
    let whole = |sender: &str| {
        let sender = sender.parse().unwrap();
        r.holds().held(&"t".into(), Some(&sender), &"gmail".into(), START)
    };
    assert_eq!(whole("bad.example"), Some(Held { until: START.plus(HOUR), whole_tenant: false }));
    assert_eq!(whole("good.example"), None);
    refuse(&mut r, None, Scope::SenderDomain, 5..8, START);
    assert_eq!(held(&r, "t", Some("good.example"), "gmail", START), Some(START.plus(HOUR)));
}

#[test]
fn after_a_hold_one_message_probes_and_its_refusal_holds_twice_as_long_at_most_a_day() {
    let (_, mut r) = herd();
    refuse(&mut r, None, Scope::Tenant, 0..3, START);
    let mut now = START;
    for (number, hours) in (10..).zip([1, 2, 4, 8, 16, 24, 24]) {
        let until = now.plus(HOUR * hours);
        assert_eq!(states(&mut r), [HoldState::Held { until }]);
        assert_eq!(r.next_wakeup(), Some(until));
        now = until;
        r.tick(now);
        assert_eq!(states(&mut r), [HoldState::Probing]);
        assert_eq!(held(&r, "t", None, "gmail", now), None, "one may go");
        r.begins(&"t".into(), None, &"gmail".into(), now);
        assert_eq!(held(&r, "t", None, "gmail", now), Some(now.plus(PROBE_PATIENCE)), "and one only");
        now = now.plus(MINUTE);
        r.observe(&answer("t", None, number, hold(Scope::Tenant, HOUR)), now);
    }
}

#[test]
fn an_accepted_probe_ends_the_hold_and_the_penalty() {
    let (_, mut r) = herd();
    refuse(&mut r, None, Scope::Tenant, 0..3, START);
    let now = START.plus(HOUR);
    r.tick(now);
    r.begins(&"t".into(), None, &"gmail".into(), now);
    states(&mut r);
    r.observe(&answer("t", None, 9, refused(true, false, Action::None)), now);
    assert!(matches!(&r.take_freed()[..], [Freed::One(_)]), "an unknown user shows nothing: the next may probe");
    assert_eq!(held(&r, "t", None, "gmail", now), None);
    r.begins(&"t".into(), None, &"gmail".into(), now);
    r.observe(&answer("u", None, 9, AttemptResult::Accepted), now);
    assert_eq!(states(&mut r), [], "somebody else's mail shows nothing either");
    r.observe(&answer("t", None, 10, AttemptResult::Accepted), now);
    assert_eq!(states(&mut r), [HoldState::Released]);
    assert!(matches!(&r.take_freed()[..], [Freed::All(_)]));
    refuse(&mut r, None, Scope::Tenant, 20..22, now);
    assert_eq!(states(&mut r), [], "three again");
    refuse(&mut r, None, Scope::Tenant, 22..23, now);
    assert_eq!(states(&mut r), [HoldState::Held { until: now.plus(HOUR) }], "and the first span");
}

#[test]
fn a_lost_probe_does_not_hold_for_ever_and_silence_is_forgiven() {
    let (_, mut r) = herd();
    refuse(&mut r, None, Scope::Tenant, 0..3, START);
    let end = START.plus(HOUR);
    r.tick(end);
    r.begins(&"t".into(), None, &"gmail".into(), end);
    assert_eq!(held(&r, "t", None, "gmail", end.plus(PROBE_PATIENCE)), None);
    r.tick(end.plus(HOUR));
    assert_eq!(states(&mut r).last(), Some(&HoldState::Released));
    assert_eq!((r.holds().all(end).count(), r.next_wakeup()), (0, None));
}

#[test]
fn the_operator_releases_here_or_everywhere() {
    let (_, mut r) = herd();
    let release = |to: Option<&str>| Evidence::OperatorRelease { tenant: "t".into(), destination: to.map(Into::into) };
    refuse(&mut r, None, Scope::Tenant, 0..3, START);
    refuse(&mut r, Some("bad.example"), Scope::SenderDomain, 3..6, START);
    r.observe(&release(Some("outlook")), START);
    assert_eq!(r.holds().all(START).count(), 2);
    r.observe(&release(None), START);
    assert_eq!(held(&r, "t", Some("bad.example"), "gmail", START), None);
    assert_eq!(r.take_freed().len(), 2);
    refuse(&mut r, None, Scope::Tenant, 6..8, START);
    r.observe(&release(Some("gmail")), START);
    refuse(&mut r, None, Scope::Tenant, 8..10, START);
    assert_eq!(r.holds().all(START).count(), 0, "what was counted is forgotten too");
}

#[test]
fn a_hold_survives_a_restart_and_one_that_ended_meanwhile_is_probed() {
    let (config, mut r) = herd();
    let mut disk = BTreeMap::new();
    refuse(&mut r, Some("bad.example"), Scope::SenderDomain, 0..3, START);
    write(&mut r, &mut disk);
    assert_eq!(disk.keys().collect::<Vec<_>>(), ["hold/t gmail bad.example"]);

    let mut r = restarted(&config, &disk);
    assert_eq!(held(&r, "t", Some("bad.example"), "gmail", START), Some(START.plus(HOUR)));
    let now = START.plus(HOUR + MINUTE);
    r.tick(now);
    assert_eq!(states(&mut r), [HoldState::Probing]);
    refuse(&mut r, Some("bad.example"), Scope::SenderDomain, 7..8, now);
    assert_eq!(states(&mut r), [HoldState::Held { until: now.plus(2 * HOUR) }], "the penalty is remembered");

    let mut r = restarted(&config, &disk);
    r.tick(START.plus(DAY));
    assert_eq!(held(&r, "t", Some("bad.example"), "gmail", START.plus(DAY)), None);
    write(&mut r, &mut disk);
    assert!(disk.is_empty(), "{disk:?}");
    assert!(r.restore("hold/x", b"{}").is_err());
}
