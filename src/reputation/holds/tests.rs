//! Stories of holds: whose refusals hold whose mail, and how it comes back.

use std::collections::BTreeMap;
use std::time::Duration;

use super::counted::COUNTED_MAX;
use super::{Freed, HOLDS_MAX, Held, HoldState, Mail, PROBE_PATIENCE};
use crate::clock::Wall;
use crate::message::{Domain, MessageId};
use crate::outcome::{Action, Scope};
use crate::reputation::evidence::AttemptResult;
use crate::reputation::scenarios::{HOUR, MINUTE, START, attempt, herd, refused, restarted, write};
use crate::reputation::{Evidence, Health, Note, Reputation};

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
    let (tenant, stream, destination) = (tenant.into(), "default".into(), to.into());
    let mail = Mail {
        tenant: &tenant,
        stream: Some(&stream),
        sender_domain: sender.as_ref(),
        destination: &destination,
        message: MessageId(0),
    };
    r.holds().held(mail, now).map(|held| held.until)
}

fn begins(r: &mut Reputation, message: u64, sender: Option<&str>, now: Wall) {
    let sender: Option<Domain> = sender.map(|name| name.parse().unwrap());
    let (tenant, stream, destination) = ("t".into(), "default".into(), "gmail".into());
    let mail = Mail {
        tenant: &tenant,
        stream: Some(&stream),
        sender_domain: sender.as_ref(),
        destination: &destination,
        message: MessageId(message),
    };
    r.begins(mail, now);
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
        let (sender, tenant, to) = (sender.parse().unwrap(), "t".into(), "gmail".into());
        let message = MessageId(0);
        let mail = Mail { tenant: &tenant, stream: None, sender_domain: Some(&sender), destination: &to, message };
        r.holds().held(mail, START)
    };
    assert_eq!(whole("bad.example"), Some(Held { until: START.plus(HOUR), whole_tenant: false }));
    assert_eq!(whole("good.example"), None);
}

#[test]
fn what_is_said_of_the_sender_of_a_report_holds_nobody_and_is_noted() {
    let (_, mut r) = herd();
    refuse(&mut r, None, Scope::SenderDomain, 0..30, START);
    assert_eq!((r.holds().all(START).count(), states(&mut r)), (0, vec![]), "our own reports, bounces passed on");
    assert!(matches!(&r.take_notes()[..], [Note::TenantRefused { .. }]));
    refuse(&mut r, None, Scope::Tenant, 0..3, START);
    assert_eq!(r.holds().all(START).count(), 1, "what is said of the tenant is");
    // One that probes shows nothing by it.
    let now = START.plus(HOUR);
    r.tick(now);
    begins(&mut r, 40, None, now);
    refuse(&mut r, None, Scope::SenderDomain, 40..41, now);
    assert!(matches!(&r.take_freed()[..], [Freed::One(_)]));
}

#[test]
fn what_is_accepted_between_refusals_clears_the_count() {
    let (_, mut r) = herd();
    let (own, other) = (Some("s.example"), Some("other.example"));
    // Three in thirty thousand are no reason to stop the rest.
    for n in 0..30 {
        refuse(&mut r, own, Scope::SenderDomain, n..n + 1, START);
        r.observe(&answer("t", own, 100 + n, AttemptResult::Accepted), START);
    }
    assert_eq!(states(&mut r), []);
    refuse(&mut r, own, Scope::SenderDomain, 30..32, START);
    // Other domains' mail says nothing about this one's, other tenants' nothing at all.
    r.observe(&answer("t", other, 200, AttemptResult::Accepted), START);
    r.observe(&answer("u", own, 201, AttemptResult::Accepted), START);
    refuse(&mut r, own, Scope::SenderDomain, 32..33, START);
    assert_eq!(states(&mut r).len(), 1);
    // The whole tenant: any of its mail.
    refuse(&mut r, None, Scope::Tenant, 0..2, START);
    r.observe(&answer("t", other, 202, AttemptResult::Accepted), START);
    refuse(&mut r, None, Scope::Tenant, 2..4, START);
    assert_eq!(states(&mut r), []);
}

#[test]
fn only_the_answer_about_the_probe_ends_it() {
    let (_, mut r) = herd();
    refuse(&mut r, None, Scope::Tenant, 0..3, START);
    let now = START.plus(HOUR);
    r.tick(now);
    begins(&mut r, 7, None, now);
    states(&mut r);
    let later = now.plus(MINUTE);
    // All of these were on the wire when the hold began.
    r.observe(&answer("t", None, 5, AttemptResult::Accepted), later);
    r.observe(&answer("t", None, 5, refused(true, false, Action::None)), later);
    refuse(&mut r, None, Scope::Tenant, 5..6, later);
    assert_eq!((states(&mut r), r.take_freed()), (vec![], vec![]));
    assert_eq!(held(&r, "t", None, "gmail", later), Some(now.plus(PROBE_PATIENCE)));
    refuse(&mut r, None, Scope::Tenant, 7..8, later);
    assert_eq!(states(&mut r), [HoldState::Held { until: later.plus(2 * HOUR) }]);
}

#[test]
fn where_a_message_is_refused_and_accepted_the_acceptance_wins_in_either_order() {
    let sure = || AttemptResult::Accepted;
    let no = || hold(Scope::Tenant, HOUR);
    let grey = || refused(false, false, Action::None);
    for answers in [[sure(), no()], [no(), sure()], [grey(), sure()], [sure(), grey()]] {
        let (_, mut r) = herd();
        refuse(&mut r, None, Scope::Tenant, 0..3, START);
        let now = START.plus(HOUR);
        r.tick(now);
        begins(&mut r, 7, None, now);
        answers.iter().for_each(|given| drop(r.observe(&answer("t", None, 7, given.clone()), now)));
        assert_eq!(held(&r, "t", None, "gmail", now), None, "{answers:?}");
        assert_eq!(r.holds().all(now).count(), 0, "{answers:?}");
        // Nor does it count for the next hold, whose span is that of a second one.
        refuse(&mut r, None, Scope::Tenant, 20..22, now);
        assert_eq!(r.holds().all(now).count(), 0, "{answers:?}");
        refuse(&mut r, None, Scope::Tenant, 22..23, now);
        assert_eq!(held(&r, "t", None, "gmail", now), Some(now.plus(2 * HOUR)), "{answers:?}");
    }
    // [greylisted, refused] is a refusal.
    let (_, mut r) = herd();
    refuse(&mut r, None, Scope::Tenant, 0..3, START);
    r.tick(START.plus(HOUR));
    begins(&mut r, 7, None, START.plus(HOUR));
    for given in [grey(), no()] {
        r.observe(&answer("t", None, 7, given), START.plus(HOUR));
    }
    assert_eq!(held(&r, "t", None, "gmail", START.plus(HOUR)), Some(START.plus(3 * HOUR)));
}

#[test]
fn a_probe_refused_for_its_domain_makes_way_for_the_tenants_next() {
    let (_, mut r) = herd();
    refuse(&mut r, None, Scope::Tenant, 0..3, START);
    let now = START.plus(HOUR);
    r.tick(now);
    begins(&mut r, 7, Some("d.example"), now);
    refuse(&mut r, Some("d.example"), Scope::SenderDomain, 7..8, now);
    assert!(matches!(&r.take_freed()[..], [Freed::One(key)] if key.sender_domain.is_none()));
    assert_eq!(held(&r, "t", None, "gmail", now), None);
}

#[test]
fn refused_again_soon_after_an_accepted_probe_is_held_for_twice_as_long() {
    let (_, mut r) = herd();
    refuse(&mut r, None, Scope::Tenant, 0..3, START);
    let mut now = START;
    for hours in [1, 2, 4, 8] {
        assert_eq!(held(&r, "t", None, "gmail", now), Some(now.plus(HOUR * hours)));
        now = now.plus(HOUR * hours);
        r.tick(now);
        begins(&mut r, 9, None, now);
        r.observe(&answer("t", None, 9, AttemptResult::Accepted), now);
        // Some of what was let go is accepted, too.
        now = now.plus(50 * MINUTE);
        r.observe(&answer("t", None, 10, AttemptResult::Accepted), now);
        refuse(&mut r, None, Scope::Tenant, 11..14, now);
    }
    now = now.plus(16 * HOUR);
    r.tick(now);
    begins(&mut r, 9, None, now);
    r.observe(&answer("t", None, 9, AttemptResult::Accepted), now);
    now = now.plus(HOUR);
    refuse(&mut r, None, Scope::Tenant, 11..14, now);
    assert_eq!(held(&r, "t", None, "gmail", now), Some(now.plus(HOUR)), "a clean window lies between");
}

#[test]
fn a_tenant_that_fills_its_places_costs_the_others_none_and_itself_the_oldest() {
    let (_, mut r) = herd();
    refuse(&mut r, Some("first.example"), Scope::SenderDomain, 0..2, START);
    let flood = |r: &mut Reputation, tenant: &str, now| {
        for n in 0..COUNTED_MAX as u64 {
            let domain = format!("d{n}.example");
            r.observe(&answer(tenant, Some(&domain), n, hold(Scope::SenderDomain, HOUR)), now);
        }
    };
    flood(&mut r, "evil", START);
    flood(&mut r, "evil2", START);
    refuse(&mut r, Some("first.example"), Scope::SenderDomain, 2..3, START);
    assert_eq!(states(&mut r).len(), 1, "t is held all the same");

    let now = START.plus(MINUTE);
    refuse(&mut r, Some("oldest.example"), Scope::SenderDomain, 0..2, START);
    flood(&mut r, "t", now);
    refuse(&mut r, Some("oldest.example"), Scope::SenderDomain, 2..4, now);
    assert_eq!(states(&mut r), [], "forgotten");
    refuse(&mut r, Some("d999.example"), Scope::SenderDomain, 5000..5002, now);
    assert_eq!(states(&mut r).len(), 1, "the newest are not");
    assert!(r.holds.counted.len("t") <= COUNTED_MAX);
}

#[test]
fn a_clock_that_was_a_year_ahead_holds_no_longer_than_the_span() {
    let (config, mut r) = herd();
    let ahead = START.plus(365 * DAY);
    refuse(&mut r, None, Scope::Tenant, 0..3, ahead);
    refuse(&mut r, Some("s.example"), Scope::SenderDomain, 3..5, ahead);
    let mut disk = BTreeMap::new();
    write(&mut r, &mut disk);
    let mut restored = restarted(&config, &disk);
    for r in [&mut r, &mut restored] {
        r.tick(START);
        assert_eq!(held(r, "t", None, "gmail", START), Some(START.plus(HOUR)));
        assert_eq!(r.next_wakeup(), Some(START.plus(HOUR)));
        assert_eq!(r.take_facts().len(), 1, "also on disk");
        r.tick(START.plus(HOUR));
        assert_eq!(held(r, "t", None, "gmail", START.plus(HOUR)), None);
    }
    let now = START.plus(HOUR);
    refuse(&mut r, Some("s.example"), Scope::SenderDomain, 5..6, now);
    assert_eq!(held(&r, "t", Some("s.example"), "gmail", now), None, "what was counted has left the window, too");
    // A probe let go by the wrong clock is no longer awaited than any other.
    r.tick(ahead);
    begins(&mut r, 7, None, ahead);
    r.tick(now);
    assert!(held(&r, "t", None, "gmail", now.plus(PROBE_PATIENCE)).is_none());
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
        begins(&mut r, number, None, now);
        assert_eq!(held(&r, "t", None, "gmail", now), Some(now.plus(PROBE_PATIENCE)), "and one only");
        now = now.plus(MINUTE);
        r.observe(&answer("t", None, number, hold(Scope::Tenant, HOUR)), now);
    }
}

#[test]
fn an_accepted_probe_ends_the_hold() {
    let (_, mut r) = herd();
    refuse(&mut r, None, Scope::Tenant, 0..3, START);
    let now = START.plus(HOUR);
    r.tick(now);
    begins(&mut r, 9, None, now);
    states(&mut r);
    r.observe(&answer("t", None, 9, refused(true, false, Action::None)), now);
    assert!(matches!(&r.take_freed()[..], [Freed::One(_)]), "an unknown user shows nothing: the next may probe");
    assert_eq!(held(&r, "t", None, "gmail", now), None);
    begins(&mut r, 10, None, now);
    r.observe(&answer("u", None, 10, AttemptResult::Accepted), now);
    assert_eq!(states(&mut r), [], "somebody else's mail shows nothing either");
    r.observe(&answer("t", None, 10, AttemptResult::Accepted), now);
    assert_eq!(states(&mut r), [HoldState::Released]);
    assert!(matches!(&r.take_freed()[..], [Freed::All(_)]));
    refuse(&mut r, None, Scope::Tenant, 20..22, now);
    assert_eq!(states(&mut r), [], "three again");
}

#[test]
fn a_lost_probe_does_not_hold_for_ever_and_silence_is_forgiven() {
    let (_, mut r) = herd();
    refuse(&mut r, None, Scope::Tenant, 0..3, START);
    let end = START.plus(HOUR);
    r.tick(end);
    begins(&mut r, 9, None, end);
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
    begins(&mut r, 7, Some("bad.example"), now);
    refuse(&mut r, Some("bad.example"), Scope::SenderDomain, 7..8, now);
    assert_eq!(states(&mut r), [HoldState::Held { until: now.plus(2 * HOUR) }], "the penalty is remembered");

    let mut r = restarted(&config, &disk);
    r.tick(START.plus(DAY));
    assert_eq!(held(&r, "t", Some("bad.example"), "gmail", START.plus(DAY)), None);
    write(&mut r, &mut disk);
    assert!(disk.is_empty(), "{disk:?}");
    assert!(r.restore("hold/x", b"{}").is_err());
}

#[test]
fn a_tenant_with_too_many_holds_is_held_as_a_whole() {
    let (_, mut r) = herd();
    let domain = |n: usize| format!("d{n}.example");
    for n in 0..HOLDS_MAX + 5 {
        assert_eq!(held(&r, "t", Some("fresh.example"), "gmail", START).is_some(), n > HOLDS_MAX, "{n}");
        refuse(&mut r, Some(&domain(n)), Scope::SenderDomain, 0..3, START);
    }
    assert_eq!(r.holds().all(START).count(), HOLDS_MAX);
    assert!((0..HOLDS_MAX + 5).all(|n| held(&r, "t", Some(&domain(n)), "gmail", START).is_some()));
    assert_eq!(held(&r, "u", Some("fresh.example"), "gmail", START), None);
}
