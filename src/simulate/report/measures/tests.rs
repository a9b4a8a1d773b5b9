//! Each measure, told by hand what happened.

use std::sync::Arc;

use super::*;
use crate::config::{Binding, Tenant};
use crate::outcome::{Action, Cause, NextBinding, Outcome};
use crate::reputation::UNTIL_CLEARED;
use crate::reputation::holds::HoldKey;
use crate::simulate::internet::SiteId;
use crate::simulate::scenario::Quality;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const GMAIL: u16 = 0;
const YAHOO: u16 = 1;
/// Tenants: the innocent, and the one that the truth may name.
const GOOD: u32 = 0;
const BAD: u32 = 1;

fn start() -> Wall {
    Wall::from_millis(1_750_000_000_000)
}

fn at(hours: u32) -> Wall {
    start().plus(HOUR * hours)
}

/// Four bindings m0 … m3, ten days.
fn meter(truth: Truth) -> Meter {
    let mut config = Config::bare("relay.example.net".parse().expect("a domain"));
    let binding = |n: u8| Arc::new(Binding::new(format!("m{n}").as_str(), [192, 0, 2, n].into()));
    config.bindings = (0..4).map(binding).collect();
    config.tenants = ["good", "bad"].map(Tenant::new).to_vec();
    let mut meter = Meter::new(&config, Some(&truth), start(), at(240));
    meter.groups(&["gmail", "yahoo", "senders"].map(str::to_owned));
    meter
}

/// m1 is bad at gmail from hour 10 to hour 20.
fn local() -> Truth {
    Truth {
        bindings: vec!["m1".into()],
        receivers: vec!["gmail".into()],
        from: HOUR * 10,
        until: Some(HOUR * 20),
        ..Truth::default()
    }
}

/// The tenant is, in the same hours.
fn rotten() -> Truth {
    Truth { tenants: vec!["bad".into()], from: HOUR * 10, until: Some(HOUR * 20), ..Truth::default() }
}

fn seen(tenant: u32) -> Seen {
    Seen::new(SiteId(0), Quality::GOOD, tenant, 0)
}

fn outcome(disposition: Disposition, scope: Scope, blames: bool) -> Outcome {
    Outcome {
        disposition,
        cause: (disposition != Disposition::Delivered).then_some(Cause::Unknown),
        scope,
        counts_against_ip: blames,
        certain: false,
        hard: false,
        next_binding: NextBinding::Any,
        retry_after: None,
        action: Action::None,
        rule: "test".into(),
    }
}

fn delivered() -> Outcome {
    outcome(Disposition::Delivered, Scope::Unknown, false)
}

/// An answer over a binding at a group, to mail that waited.
fn answer(
    meter: &mut Meter,
    tenant: u32,
    (binding, group): (u32, u16),
    outcome: &Outcome,
    waited: Duration,
    now: Wall,
) {
    let text = if outcome.disposition == Disposition::Delivered { "250 ok" } else { "550 no" };
    meter.answered(&seen(tenant), Told { binding, group, outcome, tier: 0, waited, text }, true, now);
}

/// `each` recipients a minute over each binding that `carries` says, at gmail, with looks in between.
fn minutes(meter: &mut Meter, from: Wall, count: u32, carries: impl Fn(u32) -> u32) {
    for minute in 0..count {
        let now = from.plus(MINUTE * minute);
        if meter.is_due(now) {
            meter.look(|_| false, now);
        }
        for binding in 0..4 {
            (0..carries(binding)).for_each(|_| answer(meter, GOOD, (binding, GMAIL), &delivered(), MINUTE, now));
        }
    }
}

/// Where no mail waits.
fn told(meter: &Meter) -> Measures {
    meter.measures(std::iter::empty())
}

fn held(tenant: &str, stream: Option<&str>, to: HoldState) -> HoldChange {
    let key = HoldKey {
        tenant: tenant.into(),
        sender_domain: None,
        stream: stream.map(Into::into),
        destination: "gmail".into(),
    };
    HoldChange { key, to, evidence: "too many dead addresses".to_owned() }
}

fn suspended(subject: Subject, reason: Reason, evidence: &str) -> HealthChange {
    let to = Health::Suspended { until: UNTIL_CLEARED, reason };
    HealthChange { subject, from: Health::Active, to, evidence: evidence.to_owned() }
}

fn route(binding: &str, destination: &str) -> Subject {
    Subject::Route(binding.into(), destination.into())
}

#[test]
fn what_was_taken_in_counts_where_its_day_lies_within_the_scenario() {
    let mut meter = meter(rotten());
    meter.accepted(&seen(GOOD), 3, at(0));
    meter.accepted(&seen(BAD), 5, at(0));
    meter.accepted(&seen(GOOD), 100, at(217));
    meter.accepted(&Seen { is_report: true, ..seen(GOOD) }, 100, at(0));
    assert_eq!(told(&meter).delivered_24h, Some(0.0));
    answer(&mut meter, GOOD, (0, GMAIL), &delivered(), HOUR * 24, at(24));
    answer(&mut meter, GOOD, (0, GMAIL), &delivered(), HOUR * 25, at(25));
    answer(&mut meter, GOOD, (0, GMAIL), &delivered(), HOUR, at(218));
    answer(&mut meter, BAD, (0, GMAIL), &delivered(), HOUR, at(1));
    let measures = told(&meter);
    assert_eq!(measures.delivered_24h, Some(2.0 / 8.0));
    assert_eq!(measures.delivered_24h_innocent, Some(1.0 / 3.0));
    let refuse = |scope| outcome(Disposition::Bounced, scope, false);
    answer(&mut meter, GOOD, (0, GMAIL), &refuse(Scope::Recipient), HOUR, at(1));
    assert_eq!(told(&meter).delivered_24h_innocent, Some(1.0 / 2.0), "there is nobody of that name");
    answer(&mut meter, GOOD, (0, GMAIL), &refuse(Scope::SenderDomain), HOUR, at(1));
    assert_eq!(told(&meter).delivered_24h_innocent, Some(1.0 / 2.0), "a better sender would have delivered it");
}

#[test]
fn refusals_for_the_ip_count_as_they_were_read() {
    let mut meter = meter(local());
    let blamed = outcome(Disposition::Deferred, Scope::Binding, true);
    for (binding, group) in [(1, GMAIL), (1, YAHOO), (0, GMAIL)] {
        answer(&mut meter, GOOD, (binding, group), &blamed, HOUR, at(15));
    }
    answer(&mut meter, GOOD, (1, GMAIL), &outcome(Disposition::Deferred, Scope::Recipient, false), HOUR, at(15));
    let measures = told(&meter);
    assert_eq!([measures.ip_refusals, measures.ip_refusals_permanent, measures.ip_refusals_innocent], [3, 3, 2]);
}

#[test]
fn a_suspension_is_false_where_the_truth_does_not_say_so() {
    let blocked = Reason::IpBlocked;
    let binding = |name: &str| Subject::Binding(name.into());
    let fuse = format!("{} blew", fuse::WHY);
    // (whose, where, when, why, its words, [bindings, routes] that are false)
    let table = [
        (route("m1", "gmail"), Some(GMAIL), 15, blocked, "x", [0, 0]),
        (route("m1", "gmail"), Some(GMAIL), 44, blocked, "x", [0, 0]),
        (route("m1", "gmail"), Some(GMAIL), 45, blocked, "x", [0, 1]),
        (route("m1", "gmail"), Some(GMAIL), 9, blocked, "x", [0, 1]),
        (route("m1", "yahoo"), Some(YAHOO), 15, blocked, "x", [0, 1]),
        (route("m2", "gmail"), Some(GMAIL), 15, blocked, "x", [0, 1]),
        (binding("m1"), None, 15, Reason::HardBounces, "x", [0, 0]),
        (binding("m2"), None, 15, Reason::HardBounces, "x", [1, 0]),
        (binding("m2"), None, 15, Reason::Operator, "x", [0, 0]),
        (binding("m2"), None, 15, Reason::Operator, &fuse, [1, 0]),
        (binding("m2"), None, 15, Reason::Unbindable, "x", [0, 0]),
        (binding("gone"), None, 15, blocked, "x", [0, 0]),
    ];
    for (subject, group, hour, reason, evidence, wanted) in table {
        let mut meter = meter(local());
        let change = suspended(subject, reason, evidence);
        (0..3).for_each(|_| meter.changed(&change, group, false, at(hour)));
        let measures = told(&meter);
        assert_eq!([measures.false_bindings, measures.false_routes], wanted, "{change:?} in hour {hour}");
        assert_eq!(measures.false_routes_unprovoked, wanted[1]);
    }
    let mut meter = meter(local());
    // Its receiver has not forgotten yet.
    meter.changed(&suspended(route("m1", "gmail"), blocked, "x"), Some(GMAIL), true, at(90));
    meter.changed(&suspended(route("m2", "gmail"), blocked, "x"), Some(GMAIL), true, at(15));
    meter.changed(&suspended(binding("m1"), blocked, "x"), None, true, at(15));
    let measures = told(&meter);
    assert_eq!([measures.false_routes, measures.false_routes_unprovoked, measures.too_wide], [1, 0, 1]);
}

#[test]
fn a_guilty_binding_is_found_by_its_suspension_and_by_its_volume_going_away() {
    let mut meter = meter(local());
    minutes(&mut meter, start(), 600, |_| 3);
    minutes(&mut meter, at(10), 60, |binding| if binding == 1 { 1 } else { 3 });
    assert_eq!(told(&meter).detect_seconds, None, "a third of its volume is left");
    minutes(&mut meter, at(11), 60, |binding| if binding == 1 { 0 } else { 4 });
    let measures = told(&meter);
    let found = measures.detect_seconds.expect("its volume is gone");
    assert!((3_600.0 + 900.0..3_600.0 + 1_800.0).contains(&found), "{found}");
    assert_eq!((measures.detected, measures.detect_recipients), (Some(1.0), Some(60.0)));

    let mut meter = self::meter(local());
    meter.changed(&suspended(route("m1", "yahoo"), Reason::IpBlocked, "x"), Some(YAHOO), true, at(11));
    assert_eq!(told(&meter).detect_seconds, None, "not there");
    meter.changed(&suspended(route("m1", "gmail"), Reason::IpBlocked, "x"), Some(GMAIL), true, at(12));
    assert_eq!(told(&meter).detect_seconds, Some(7_200.0));
}

#[test]
fn volume_that_stops_at_a_cap_is_no_finding() {
    let mut meter = meter(local());
    minutes(&mut meter, start(), 600, |_| 3);
    for minute in 0..60 {
        let now = at(10).plus(MINUTE * minute);
        meter.look(|binding| binding == 1, now);
        for binding in [0, 2, 3] {
            (0..4).for_each(|_| answer(&mut meter, GOOD, (binding, GMAIL), &delivered(), MINUTE, now));
        }
    }
    assert_eq!(told(&meter).detect_seconds, None);
}

#[test]
fn a_binding_is_back_with_half_of_its_fair_share() {
    let mut meter = meter(local());
    minutes(&mut meter, start(), 600, |_| 4);
    minutes(&mut meter, at(10), 600, |binding| if binding == 1 { 0 } else { 4 });
    minutes(&mut meter, at(20), 120, |binding| if binding == 1 { 1 } else { 4 });
    let measures = told(&meter);
    assert_eq!((measures.has_end, measures.recover_seconds), (true, None), "a quarter");
    minutes(&mut meter, at(22), 120, |binding| if binding == 1 { 3 } else { 4 });
    let back = told(&meter).recover_seconds.expect("three quarters");
    assert!((7_200.0..7_200.0 + 3_600.0).contains(&back), "{back}");
}

#[test]
fn a_guilty_tenant_is_found_by_its_hold_and_back_when_its_mail_flows() {
    let mut meter = meter(rotten());
    let held = held("bad", None, HoldState::Held { until: at(12) });
    meter.held(&held, GOOD as usize, at(11));
    meter.held(&held, BAD as usize, at(9));
    (0..7).for_each(|_| answer(&mut meter, BAD, (0, GMAIL), &delivered(), MINUTE, at(10)));
    assert_eq!(told(&meter).detected, Some(0.0));
    meter.held(&held, BAD as usize, at(11));
    answer(&mut meter, BAD, (0, GMAIL), &delivered(), MINUTE, at(11));
    let measures = told(&meter);
    assert_eq!((measures.detect_seconds, measures.detect_recipients), (Some(3_600.0), Some(7.0)));
    for minute in 0..240 {
        let now = at(20).plus(MINUTE * minute);
        meter.look(|_| false, now);
        meter.accepted(&seen(BAD), 1, now);
        if minute >= 120 {
            answer(&mut meter, BAD, (0, GMAIL), &delivered(), MINUTE, now);
        }
    }
    let back = told(&meter).recover_seconds.expect("it flows");
    assert!((7_200.0 + 1_500.0..7_200.0 + 2_400.0).contains(&back), "half of an hour's mail: {back}");
}

#[test]
fn a_truth_from_the_beginning_finds_nobody() {
    let mut meter = meter(Truth { bindings: vec!["m1".into()], ..Truth::default() });
    meter.changed(&suspended(route("m1", "gmail"), Reason::IpBlocked, "x"), Some(GMAIL), true, at(1));
    meter.burnt(1, Some(GMAIL), at(1));
    meter.burnt(2, None, at(1));
    let measures = told(&meter);
    assert!(!measures.has_guilty && measures.detect_seconds.is_none() && !measures.has_end);
    assert_eq!([measures.false_routes, measures.burnt, measures.burnt_guilty], [0, 1, 1]);
}

#[test]
fn only_the_mail_of_innocent_tenants_is_said_to_wait() {
    let mut meter = meter(rotten());
    for _ in 0..100 {
        answer(&mut meter, GOOD, (0, GMAIL), &delivered(), Duration::from_secs(10), at(1));
        answer(&mut meter, BAD, (0, GMAIL), &delivered(), HOUR, at(1));
    }
    let measures = told(&meter);
    assert!((10.0..10.6).contains(&measures.wait_median_seconds), "{measures:?}");
    assert!((10.0..10.6).contains(&measures.wait_p99_seconds), "{measures:?}");
}

#[test]
fn who_is_only_at_risk_is_excused_of_nothing_and_told_besides_where_burnt() {
    let mut meter = meter(Truth { at_risk: vec!["m1".into()], ..Truth::default() });
    meter.changed(&suspended(route("m1", "gmail"), Reason::IpBlocked, "x"), Some(GMAIL), true, at(1));
    meter.changed(&suspended(Subject::Binding("m1".into()), Reason::HardBounces, "x"), None, true, at(1));
    meter.burnt(1, Some(GMAIL), at(1));
    let blamed = outcome(Disposition::Deferred, Scope::Binding, true);
    answer(&mut meter, GOOD, (1, GMAIL), &blamed, HOUR, at(1));
    let measures = told(&meter);
    assert!(!measures.has_guilty);
    assert_eq!([measures.false_routes, measures.false_bindings, measures.ip_refusals_innocent], [1, 1, 1]);
    assert_eq!([measures.burnt, measures.burnt_guilty], [1, 1]);
}

#[test]
fn innocents_that_are_held_count_once_and_their_holds_one_by_one() {
    let mut meter = meter(rotten());
    let holds = HoldState::Held { until: at(12) };
    let counts = |meter: &Meter| [told(meter).held_innocent, told(meter).holds_innocent];
    meter.held(&held("bad", None, holds), BAD as usize, at(11));
    assert_eq!(counts(&meter), [0, 0]);
    for to in [holds, HoldState::Probing, holds] {
        meter.held(&held("good", None, to), GOOD as usize, at(11));
    }
    assert_eq!(counts(&meter), [1, 1], "a probe prolongs it");
    meter.held(&held("good", Some("bulk"), holds), GOOD as usize, at(11));
    meter.held(&held("good", None, HoldState::Released), GOOD as usize, at(12));
    meter.held(&held("good", None, holds), GOOD as usize, at(13));
    assert_eq!(counts(&meter), [1, 3]);
}

#[test]
fn what_the_innocent_have_waiting_is_counted_without_reports() {
    let meter = meter(rotten());
    let report = Seen { is_report: true, ..seen(GOOD) };
    let measures = meter.measures([(&seen(GOOD), 3), (&seen(GOOD), 4), (&seen(BAD), 50), (&report, 1)].into_iter());
    assert_eq!(measures.waiting_innocent, 7);
}
