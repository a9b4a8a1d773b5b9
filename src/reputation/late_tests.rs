//! Stories of what comes back by mail.

use std::time::Duration;

use super::evidence::AttemptResult;
use super::scenarios::{HOUR, MINUTE, START, attempt, binding, blamed, herd, out_until, refused, route, send};
use super::*;
use crate::clock::Wall;
use crate::outcome::{Action, Cause, Scope};

fn late(to: Option<&str>, domain: &str, at: Wall, result: AttemptResult) -> Evidence {
    Evidence::LateBounce {
        binding: "a".into(),
        destination: to.map(Into::into),
        tenant: "t".into(),
        domain: Some(domain.parse().unwrap()),
        at,
        result,
    }
}

fn unknown_user() -> AttemptResult {
    refused(true, false, Action::None)
}

fn blames() -> AttemptResult {
    // What the rule would do at once in a session is not done hours later.
    refused(false, true, Action::SuspendRoute(4 * HOUR))
}

/// `bounces` late hard bounces of as many minutes of sending from `at` on, each at a domain of its own.
fn come_back(r: &mut Reputation, bounces: u32, to: Option<&str>, at: Wall, now: Wall) {
    for i in 0..bounces {
        r.observe(&late(to, &format!("d{i}.example"), at.plus(MINUTE * i), unknown_user()), now);
    }
}

/// `each` accepted in each of `minutes` minutes from `at` on.
fn send_on(r: &mut Reputation, each: u64, minutes: u32, to: &[&str], at: Wall) {
    (0..minutes).for_each(|i| send(r, each, 0, "t", to, at.plus(MINUTE * i)));
}

fn counts(r: &mut Reputation, now: Wall) -> Vec<(u64, u64)> {
    let steps = tally::Steps::new(&r.rules);
    let watched = r.bindings.get_mut("a").unwrap();
    let route = watched.routes.get_mut("gmail").map(|cell| cell.tally.total(steps, now));
    let own = watched.own.tally.total(steps, now);
    std::iter::once(own).chain(route).map(|count| (count.attempts, count.events)).collect()
}

#[test]
fn late_bounces_trip_the_fuse_like_those_of_the_session() {
    let (_, mut r) = herd();
    send_on(&mut r, 100, 1, &["outlook"], START);
    send_on(&mut r, 10, 30, &["gmail"], START);
    let now = START.plus(40 * MINUTE);
    come_back(&mut r, 20, Some("gmail"), START, now);
    assert_eq!(counts(&mut r, now), [(400, 20), (300, 20)], "events, but no further attempts");
    assert_eq!(*r.health(&route("a", "gmail")), Health::Active);
    come_back(&mut r, 30, Some("gmail"), START, now);
    assert_eq!(out_until(&r, &route("a", "gmail")), Some((Reason::HardBounces, now.plus(HOUR))));
    assert_eq!(*r.health(&binding("a")), Health::Active);
}

#[test]
fn a_minute_of_sending_is_one_event_whatever_the_reports_say_and_old_news_none() {
    let (_, mut r) = herd();
    send(&mut r, 300, 0, "t", &["gmail"], START);
    send(&mut r, 300, 0, "t", &["gmail"], START.plus(5 * MINUTE));
    let now = START.plus(50 * MINUTE);
    for n in 0..100 {
        // The domain is the report's word, and reports can be written by anybody who got the mail.
        let domain = format!("d{n}.example");
        r.observe(&late(Some("gmail"), &domain, START, unknown_user()), now);
        r.observe(&late(Some("gmail"), &domain, START.plus(5 * MINUTE), unknown_user()), now);
    }
    assert_eq!(counts(&mut r, now), [(600, 2), (600, 2)]);
    let later = START.plus(61 * MINUTE);
    come_back(&mut r, 1, Some("gmail"), START, later);
    assert_eq!(counts(&mut r, later), [(300, 1), (300, 1)], "what has left the window");
    come_back(&mut r, 30, Some("gmail"), START.plus(30 * MINUTE), later);
    assert_eq!(counts(&mut r, later), [(300, 1), (300, 1)], "nothing was sent then");
}

#[test]
fn an_attempt_is_found_in_the_minute_in_which_it_ended() {
    let (_, mut r) = herd();
    send(&mut r, 10, 0, "t", &["gmail"], START.plus(MINUTE));
    let begun = START.plus(Duration::from_secs(59));
    come_back(&mut r, 1, Some("gmail"), begun, START.plus(9 * MINUTE));
    assert_eq!(counts(&mut r, START.plus(9 * MINUTE)), [(10, 1), (10, 1)]);
}

#[test]
fn without_a_destination_only_the_binding_is_judged() {
    let (_, mut r) = herd();
    send_on(&mut r, 6, 40, &["gmail", "outlook", "yahoo"], START);
    come_back(&mut r, 40, None, START, START.plus(41 * MINUTE));
    assert_eq!(out_until(&r, &binding("a")).map(|(reason, _)| reason), Some(Reason::HardBounces));
    assert_eq!(*r.health(&route("a", "gmail")), Health::Active);
}

/// A blame for mail of the `minute`-th minute, told by mail by whoever has its mark.
fn by_mail(to: &str, minute: u32, domain: &str) -> Evidence {
    late(Some(to), domain, START.plus(MINUTE * minute), blames())
}

#[test]
fn blame_by_mail_alone_takes_nothing_out_however_much_of_it_comes() {
    let (_, mut r) = herd();
    let now = START.plus(50 * MINUTE);
    for to in ["gmail", "outlook", "yahoo"] {
        send(&mut r, 2000, 0, "t", &[to], START);
        for minute in 0..50 {
            for n in 0..5 {
                assert!(r.observe(&by_mail(to, minute, &format!("d{n}.example")), now).is_empty());
            }
        }
    }
    assert!(r.all().all(|(_, health)| *health == Health::Active));
    let remembered: usize = r.bindings["a"].routes.values().map(|cell| cell.blames.len()).sum();
    assert!(remembered <= 9, "{remembered}");
}

#[test]
fn blame_by_mail_adds_to_that_of_the_session_by_the_time_of_sending() {
    // (late before the session's, session, late after it) → out
    let table: [(&[u32], u32, &[u32], bool); 6] = [
        (&[0, 10], 1, &[], true),
        (&[], 1, &[0, 10], true),
        (&[0, 0], 1, &[0, 0], false), // one message, whatever its reports say
        (&[0], 2, &[], true),
        (&[], 2, &[], false),
        (&[0, 10, 20], 0, &[30, 40], false),
    ];
    for (before, session, after, out) in table {
        let (_, mut r) = herd();
        send(&mut r, 100, 0, "t", &["gmail"], START);
        let now = START.plus(50 * MINUTE);
        let reports = |r: &mut Reputation, minutes: &[u32]| {
            for (n, &minute) in minutes.iter().enumerate() {
                r.observe(&by_mail("gmail", minute, &format!("d{n}.example")), now);
            }
        };
        reports(&mut r, before);
        for n in 0..session {
            let domain = format!("s{n}.example");
            r.observe(&attempt("a", "gmail", "t", &domain, refused(false, true, Action::None)), now);
        }
        reports(&mut r, after);
        let expected = out.then(|| (Reason::IpBlocked, now.plus(HOUR)));
        assert_eq!(out_until(&r, &route("a", "gmail")), expected, "{before:?} {session} {after:?}");
    }
}

#[test]
fn the_session_blame_that_mail_adds_to_is_one_of_this_route_and_of_the_last_hour() {
    let (_, mut r) = herd();
    send(&mut r, 100, 0, "t", &["gmail", "outlook"], START);
    r.observe(&blamed("a", "outlook", Action::None), START);
    r.observe(&blamed("a", "gmail", Action::None), START);
    let later = START.plus(61 * MINUTE);
    for minute in [40, 50, 60] {
        r.observe(&by_mail("gmail", minute, "x.example"), later);
    }
    assert!(r.all().all(|(_, health)| *health == Health::Active));
}

#[test]
fn a_route_that_mail_helped_out_moves_no_binding() {
    let (_, mut r) = herd();
    let now = START.plus(30 * MINUTE);
    send(&mut r, 100, 0, "t", &["gmail", "outlook", "yahoo"], START);
    r.observe(&blamed("a", "gmail", Action::SuspendRoute(HOUR)), now);
    r.observe(&blamed("a", "outlook", Action::SuspendRoute(HOUR)), now);
    r.observe(&blamed("a", "yahoo", Action::None), now);
    r.observe(&by_mail("yahoo", 0, "x.example"), now);
    r.observe(&by_mail("yahoo", 9, "x.example"), now);
    assert!(out_until(&r, &route("a", "yahoo")).is_some());
    assert_eq!(*r.health(&binding("a")), Health::Active);
}

#[test]
fn what_was_sent_before_a_suspension_neither_prolongs_it_nor_spoils_the_way_back() {
    let (_, mut r) = herd();
    send(&mut r, 300, 0, "t", &["gmail"], START);
    r.observe(&blamed("a", "gmail", Action::SuspendRoute(15 * MINUTE)), START);
    let end = START.plus(HOUR);
    let quiet = |r: &mut Reputation, now| {
        for _ in 0..5 {
            assert!(r.observe(&late(Some("gmail"), "x.example", START, blames()), now).is_empty());
            assert!(r.observe(&late(Some("gmail"), "y.example", START, unknown_user()), now).is_empty());
        }
    };
    quiet(&mut r, START.plus(30 * MINUTE));
    assert_eq!(out_until(&r, &route("a", "gmail")), Some((Reason::IpBlocked, end)));
    r.tick(end);
    let state = r.bindings["a"].routes["gmail"].state.clone();
    quiet(&mut r, end);
    assert_eq!(r.bindings["a"].routes["gmail"].state, state, "on probation");
    // Nor does blame by mail for what was sent on probation: whoever got one message could keep the route out for good.
    r.observe(&attempt("a", "gmail", "t", "x.example", AttemptResult::Accepted), end);
    let state = r.bindings["a"].routes["gmail"].state.clone();
    r.observe(&late(Some("gmail"), "x.example", end, blames()), end.plus(MINUTE));
    assert_eq!(r.bindings["a"].routes["gmail"].state, state);
}

#[test]
fn a_refused_set_up_is_told_once_takes_the_route_out_and_at_three_providers_the_binding() {
    let (_, mut r) = herd();
    let fix = |to| attempt("a", to, "t", "x.example", refused(false, false, Action::FixBinding(4 * HOUR)));
    r.observe(&fix("gmail"), START);
    assert_eq!(out_until(&r, &route("a", "gmail")), Some((Reason::Misconfigured, START.plus(4 * HOUR))));
    r.observe(&fix("outlook"), START);
    assert_eq!(*r.health(&binding("a")), Health::Active);
    let notes = r.take_notes();
    assert!(
        matches!(&notes[..], [Note::Misconfigured { evidence, .. }] if evidence == "test.rule at gmail: 550 5.7.1 go away"),
        "{notes:?}"
    );
    r.observe(&blamed("a", "yahoo", Action::SuspendRoute(HOUR)), START);
    assert_eq!(out_until(&r, &binding("a")).map(|(reason, _)| reason), Some(Reason::ManyProviders));
}

#[test]
fn an_ehlo_name_that_the_message_chose_is_noted_and_moves_nothing() {
    let (_, mut r) = herd();
    let mut answer = refused(false, false, Action::None);
    if let AttemptResult::Refused { cause, scope, .. } = &mut answer {
        (*cause, *scope) = (Cause::ProtocolOrConfig, Scope::SenderDomain);
    }
    for name in ["a", "b", "c"] {
        for to in ["gmail", "outlook", "yahoo"] {
            assert!(r.observe(&attempt(name, to, "t", "x.example", answer.clone()), START).is_empty());
        }
    }
    let notes = r.take_notes();
    assert_eq!(notes.len(), 9, "once a route");
    assert!(notes.iter().all(|note| matches!(note, Note::TenantRefused { .. })));
    assert_eq!(r.holds().all(START).count(), 0);
}

#[test]
fn a_share_of_complaints_is_noted_once_a_day_for_each_limit() {
    let (_, mut r) = herd();
    send(&mut r, 1500, 0, "t", &["gmail"], START);
    send(&mut r, 1500, 0, "t", &["site:x"], START);
    let day = Duration::from_secs(86_400);
    let complain = |to: &str, incidents| Evidence::Complaint {
        binding: "a".into(),
        destination: Some(to.into()),
        tenant: "t".into(),
        at: START,
        incidents,
    };
    // (days later, where, complaints, noted)
    let table = [
        (0, "gmail", 2, false), // 0.13 %, but two are chance
        (0, "gmail", 1, true),
        (0, "gmail", 1, false),
        (0, "site:x", 3, true),
        (1, "gmail", 1, true), // 0.33 %
        (1, "gmail", 1, false),
        (2, "gmail", 1, true),  // the next day
        (8, "gmail", 9, false), // about mail that is no longer in the share
    ];
    for (step, (days, to, incidents, noted)) in table.into_iter().enumerate() {
        let now = START.plus(day * days);
        assert!(r.observe(&complain(to, incidents), now).is_empty(), "moves no health");
        let notes = r.take_notes();
        assert_eq!(matches!(&notes[..], [Note::Complaints { .. }]), noted, "step {step}: {notes:?}");
    }
    let gone =
        Evidence::Complaint { binding: "gone".into(), destination: None, tenant: "t".into(), at: START, incidents: 9 };
    r.observe(&gone, START);
    assert!(r.complaints().shares(31, START).keys().all(|(name, _)| name.as_str() == "a"));
}
