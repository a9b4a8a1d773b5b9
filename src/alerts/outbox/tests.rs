//! Targets that take, refuse, hang and come back, without a network.

use std::time::Duration;

use super::*;
use crate::alerts::conditions::{Condition, Labels};
use crate::alerts::ledger::{Alert, Change, Stage};
use crate::clock::Wall;
use crate::config::{AlertName, SecretUrl, Severity, Webhook};

const RESEND: Duration = Duration::from_secs(60);

fn at(seconds: i64) -> Wall {
    Wall::from_millis(seconds * 1_000)
}

fn alert(pool: &str, severity: Severity, fired: i64) -> Alert {
    let condition = Condition {
        name: AlertName::QueueOld,
        labels: Labels::from([("pool".to_owned(), pool.to_owned())]),
        summary: String::new(),
        description: String::new(),
        episode: String::new(),
    };
    Alert { condition, severity, since: at(fired), stage: Stage::Firing { fired: at(fired) } }
}

fn fired(pool: &str, second: i64) -> Change {
    Change::Fired(alert(pool, Severity::Warning, second))
}

fn ended(pool: &str, since: i64, second: i64) -> Change {
    Change::Ended(alert(pool, Severity::Warning, since), at(second))
}

fn hook() -> Webhook {
    Webhook {
        name: "h".into(),
        url: SecretUrl::new("https://hooks.example.org/".into()),
        secret_file: None,
        bearer_file: None,
        ca_file: None,
        min_severity: Severity::Warning,
        firing: true,
        resolved: true,
    }
}

/// Tries the first of those that wait; what was sent, as `event pool`.
fn send(hook: &mut Deliveries, outcome: Outcome, second: i64) -> Option<String> {
    let sent = hook.push(at(second)).into_iter().next()?;
    hook.learn(&[(&sent, outcome)], 0.0, at(second));
    Some(format!("{:?} {}", sent.event, sent.alert.condition.labels["pool"]))
}

#[test]
fn statuses_mean_what_they_say() {
    for (status, outcome) in [
        (200, Outcome::Accepted),
        (204, Outcome::Accepted),
        (302, Outcome::Failed),
        (400, Outcome::Refused),
        (408, Outcome::Failed),
        (410, Outcome::Gone),
        (429, Outcome::Throttled(None)),
        (500, Outcome::Failed),
        (503, Outcome::Throttled(None)),
    ] {
        assert_eq!(Outcome::of_status(status, None), outcome, "{status}");
    }
}

#[test]
fn waits_double_up_to_a_bound_and_a_success_forgets_them() {
    let mut patience = Patience::default();
    let mut waits = Vec::new();
    for _ in 0..12 {
        patience.learn(Outcome::Failed, 0.0, at(0));
        waits.push(patience.wait(at(0)).as_secs());
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    patience.learn(Outcome::Accepted, 0.0, at(0));
    assert_eq!((patience.wait(at(0)), patience.failures()), (Duration::ZERO, 0));
}

#[test]
fn a_target_that_asks_for_time_gets_it_within_reason() {
    for (asked, waited) in [(Some(20), 20), (Some(10_000_000), 3_600), (None, 1)] {
        let mut patience = Patience::default();
        patience.learn(Outcome::Throttled(asked.map(Duration::from_secs)), 0.0, at(0));
        assert_eq!(patience.wait(at(0)).as_secs(), waited, "{asked:?}");
    }
}

#[test]
fn a_clock_that_is_set_back_makes_nobody_wait_for_days() {
    let mut patience = Patience::default();
    patience.learn(Outcome::Failed, 0.0, at(10_000_000));
    assert!(patience.wait(at(0)) <= Duration::from_secs(3_600));
}

#[test]
fn an_alertmanager_is_told_at_once_and_again_before_it_forgets() {
    let mut states = States::default();
    assert_eq!(states.wait(false, RESEND, at(0)), None, "nothing to tell");
    states.note(&[fired("p", 0)]);
    assert_eq!(states.wait(true, RESEND, at(0)), Some(Duration::ZERO));
    let fires = alert("p", Severity::Warning, 0);
    let push = states.push([&fires], at(0));
    states.learn(&[(&push, Outcome::Accepted)], RESEND, 0.0, at(1));
    assert_eq!(states.wait(true, RESEND, at(1)), Some(RESEND));
    assert_eq!(states.wait(true, RESEND, at(61)), Some(Duration::ZERO));
}

#[test]
fn an_end_is_told_until_it_was_taken_three_times() {
    let mut states = States::default();
    states.note(&[ended("p", 0, 100)]);
    let mut times = 0;
    for second in [100, 102, 160, 220, 280] {
        if states.wait(false, RESEND, at(second)) != Some(Duration::ZERO) {
            continue;
        }
        let push = states.push([], at(second));
        assert_eq!(push.ended.len(), 1);
        times += 1;
        let outcome = if second == 100 { Outcome::Failed } else { Outcome::Accepted };
        states.learn(&[(&push, outcome)], Duration::from_secs(50), 0.0, at(second));
    }
    assert_eq!((times, states.waiting()), (4, 0), "one failed, three were taken");
}

#[test]
fn what_begins_again_is_not_told_as_ended() {
    let mut states = States::default();
    states.note(&[ended("p", 0, 100)]);
    states.note(&[fired("p", 110)]);
    let fires = alert("p", Severity::Warning, 110);
    let push = states.push([&fires], at(110));
    assert_eq!((push.firing.len(), push.ended.len()), (1, 0));
}

#[test]
fn what_changes_during_a_push_is_told_right_after_it() {
    let mut states = States::default();
    states.note(&[fired("p", 0)]);
    let fires = alert("p", Severity::Warning, 0);
    let push = states.push([&fires], at(0));
    states.note(&[fired("q", 1)]);
    states.learn(&[(&push, Outcome::Accepted)], RESEND, 0.0, at(2));
    assert_eq!(states.wait(true, RESEND, at(2)), Some(Duration::ZERO));
}

#[test]
fn a_webhook_is_told_each_change_once_and_in_order() {
    let mut hook_box = Deliveries::new("h");
    hook_box.note(&[fired("p", 0), fired("q", 1)], &hook());
    assert_eq!(send(&mut hook_box, Outcome::Accepted, 1).as_deref(), Some("Firing p"));
    assert_eq!(send(&mut hook_box, Outcome::Accepted, 1).as_deref(), Some("Firing q"));
    assert_eq!(send(&mut hook_box, Outcome::Accepted, 1), None);
    hook_box.note(&[ended("p", 0, 90)], &hook());
    assert_eq!(send(&mut hook_box, Outcome::Accepted, 90).as_deref(), Some("Resolved p"));
    assert_eq!(send(&mut hook_box, Outcome::Accepted, 90), None);
}

#[test]
fn tries_of_one_delivery_have_one_id_and_no_other_has_it() {
    let mut hook_box = Deliveries::new("h");
    let one = |hook_box: &mut Deliveries, outcome, second| {
        let sent = hook_box.push(at(second)).remove(0);
        hook_box.learn(&[(&sent, outcome)], 0.0, at(second));
        sent.id
    };
    hook_box.note(&[fired("p", 0)], &hook());
    let first = one(&mut hook_box, Outcome::Failed, 0);
    assert_eq!(first, one(&mut hook_box, Outcome::Accepted, 5));
    hook_box.note(&[ended("p", 0, 50)], &hook());
    let end = one(&mut hook_box, Outcome::Accepted, 50);
    hook_box.note(&[fired("p", 99)], &hook());
    let again = one(&mut hook_box, Outcome::Accepted, 99);
    let mut other = Deliveries::new("other");
    other.note(&[fired("p", 0)], &hook());
    let elsewhere = one(&mut other, Outcome::Accepted, 0);
    let ids = std::collections::BTreeSet::from([first, end, again, elsewhere]);
    assert_eq!(ids.len(), 4, "{ids:?}");
}

#[test]
fn several_go_out_at_once_the_worst_first_and_one_alone_while_the_target_fails() {
    let mut hook_box = Deliveries::new("h");
    let mild: Vec<Change> = (0..20).map(|n| fired(&format!("p{n}"), 0)).collect();
    hook_box.note(&mild, &hook());
    hook_box.note(&[Change::Fired(alert("worst", Severity::Critical, 0))], &hook());
    let sent = hook_box.push(at(0));
    assert_eq!((sent.len(), sent[0].alert.severity), (8, Severity::Critical));
    // One of them is throttled: that is one failure, and the rest was taken.
    let outcomes = sent.iter().enumerate().map(|(n, sent)| match n {
        3 => (sent, Outcome::Throttled(Some(Duration::from_secs(7)))),
        _ => (sent, Outcome::Accepted),
    });
    hook_box.learn(&outcomes.collect::<Vec<_>>(), 0.0, at(0));
    assert_eq!((hook_box.waiting(), hook_box.patience.failures()), (14, 1));
    assert_eq!(hook_box.wait(at(0)), Some(Duration::from_secs(7)));
    let next = hook_box.push(at(7));
    assert_eq!(next.len(), 1);
    assert_ne!(next[0].id, sent[3].id, "that one comes after those that were never tried");
}

#[test]
fn nothing_stale_is_sent() {
    // Never tried: neither beginning nor end.
    let mut hook_box = Deliveries::new("h");
    hook_box.note(&[fired("p", 0), ended("p", 0, 60)], &hook());
    assert_eq!(send(&mut hook_box, Outcome::Accepted, 60), None);
    // Tried, fate unknown: the end, and not the beginning any more.
    hook_box.note(&[fired("p", 100)], &hook());
    send(&mut hook_box, Outcome::Failed, 100);
    hook_box.note(&[ended("p", 100, 160)], &hook());
    assert_eq!(send(&mut hook_box, Outcome::Failed, 160).as_deref(), Some("Resolved p"));
    // Back again before the end got through: only that; and gone for good: only that.
    hook_box.note(&[fired("p", 170), ended("p", 170, 230)], &hook());
    assert_eq!(send(&mut hook_box, Outcome::Accepted, 230).as_deref(), Some("Resolved p"));
    assert_eq!(send(&mut hook_box, Outcome::Accepted, 230), None);
}

#[test]
fn a_delivery_that_is_refused_is_not_repeated_and_one_that_fails_holds_up_no_other() {
    let mut hook_box = Deliveries::new("h");
    hook_box.note(&[fired("p", 0), fired("q", 0)], &hook());
    assert_eq!(send(&mut hook_box, Outcome::Failed, 0).as_deref(), Some("Firing p"));
    assert_eq!(hook_box.wait(at(0)), Some(Duration::from_secs(1)));
    assert_eq!(send(&mut hook_box, Outcome::Refused, 1).as_deref(), Some("Firing q"));
    assert_eq!(send(&mut hook_box, Outcome::Accepted, 2).as_deref(), Some("Firing p"));
    assert_eq!((send(&mut hook_box, Outcome::Accepted, 3), hook_box.lost()), (None, 1));
}

#[test]
fn what_still_fires_is_told_however_long_the_target_was_away() {
    let mut hook_box = Deliveries::new("h");
    hook_box.note(&[fired("p", 0)], &hook());
    for day in 0..5 {
        assert_eq!(send(&mut hook_box, Outcome::Failed, day * 86_400).as_deref(), Some("Firing p"), "day {day}");
    }
    assert_eq!(send(&mut hook_box, Outcome::Accepted, 500_000).as_deref(), Some("Firing p"));
    // The same over a restart: it began days ago and nobody was told.
    let mut hook_box = Deliveries::new("h");
    hook_box.restore(&alert("p", Severity::Warning, 0), None, &hook());
    assert_eq!(send(&mut hook_box, Outcome::Accepted, 500_000).as_deref(), Some("Firing p"));
    assert_eq!(hook_box.lost(), 0);
}

#[test]
fn an_end_that_nobody_took_for_a_day_is_given_up() {
    let mut hook_box = Deliveries::new("h");
    hook_box.note(&[fired("p", 0)], &hook());
    send(&mut hook_box, Outcome::Accepted, 0);
    hook_box.note(&[ended("p", 0, 60)], &hook());
    assert!(send(&mut hook_box, Outcome::Failed, 86_460).is_some());
    assert_eq!(send(&mut hook_box, Outcome::Accepted, 86_461), None);
    assert_eq!(hook_box.lost(), 1);
}

#[test]
fn what_fires_and_was_never_told_is_told() {
    // Milder than what the webhook wanted to hear before a restart.
    let mut hook_box = Deliveries::new("h");
    let fires = alert("p", Severity::Warning, 0);
    hook_box.remind([&fires], None, &hook(), at(500));
    assert_eq!(send(&mut hook_box, Outcome::Accepted, 500).as_deref(), Some("Firing p"));
    hook_box.remind([&fires], None, &hook(), at(515));
    assert_eq!(send(&mut hook_box, Outcome::Accepted, 515), None);
}

#[test]
fn what_was_told_tomorrow_by_a_clock_since_set_back_is_told_again_in_time() {
    let day = Duration::from_secs(86_400);
    let mut hook_box = Deliveries::new("h");
    hook_box.note(&[fired("p", 0)], &hook());
    send(&mut hook_box, Outcome::Accepted, 10_000_000);
    let fires = alert("p", Severity::Warning, 0);
    hook_box.remind([&fires], Some(day), &hook(), at(0));
    hook_box.remind([&fires], Some(day), &hook(), at(86_400));
    assert_eq!(send(&mut hook_box, Outcome::Accepted, 86_400).as_deref(), Some("Reminder p"));
}

#[test]
fn a_target_that_is_gone_hears_nothing_more() {
    let mut hook_box = Deliveries::new("h");
    hook_box.note(&[fired("p", 0), fired("q", 0)], &hook());
    send(&mut hook_box, Outcome::Gone, 0);
    hook_box.note(&[fired("r", 1)], &hook());
    assert_eq!((hook_box.wait(at(9)), hook_box.is_gone(), hook_box.lost()), (None, true, 2));
}

#[test]
fn mild_alerts_and_unwanted_events_are_not_told() {
    let mut hook_box = Deliveries::new("h");
    hook_box.note(&[Change::Fired(alert("p", Severity::Info, 0))], &hook());
    assert_eq!(hook_box.waiting(), 0);
    let only_ends = Webhook { firing: false, ..hook() };
    hook_box.note(&[fired("p", 0)], &only_ends);
    assert_eq!(hook_box.waiting(), 0);
    hook_box.note(&[ended("p", 0, 60)], &only_ends);
    assert_eq!(send(&mut hook_box, Outcome::Accepted, 60).as_deref(), Some("Resolved p"));
    let only_beginnings = Webhook { resolved: false, ..hook() };
    hook_box.note(&[fired("p", 100)], &only_beginnings);
    assert_eq!(send(&mut hook_box, Outcome::Accepted, 100).as_deref(), Some("Firing p"));
    hook_box.note(&[ended("p", 100, 160)], &only_beginnings);
    assert_eq!(hook_box.waiting(), 0);
}

#[test]
fn what_still_fires_is_told_again_after_a_day_and_not_before() {
    let day = Duration::from_secs(86_400);
    let mut hook_box = Deliveries::new("h");
    hook_box.note(&[fired("p", 0)], &hook());
    send(&mut hook_box, Outcome::Accepted, 10);
    let fires = alert("p", Severity::Warning, 0);
    hook_box.remind([&fires], Some(day), &hook(), at(86_409));
    assert_eq!(hook_box.waiting(), 0);
    hook_box.remind([&fires], None, &hook(), at(200_000));
    assert_eq!(hook_box.waiting(), 0, "never, where repeat = false");
    for _ in 0..3 {
        hook_box.remind([&fires], Some(day), &hook(), at(86_410));
    }
    assert_eq!(send(&mut hook_box, Outcome::Accepted, 86_410).as_deref(), Some("Reminder p"));
    hook_box.remind([&fires], Some(day), &hook(), at(86_425));
    assert_eq!(hook_box.waiting(), 0);
}

#[test]
fn a_storm_against_a_dead_target_is_bounded_and_told_when_it_is_back() {
    let mut hook_box = Deliveries::new("h");
    let all: Vec<Alert> = (0..5_000).map(|n| alert(&format!("p{n}"), Severity::Warning, 0)).collect();
    for fires in &all {
        hook_box.note(&[Change::Fired(fires.clone())], &hook());
    }
    assert_eq!(hook_box.waiting(), 2_000);
    let mut told = std::collections::BTreeSet::new();
    for second in [1, 16, 31] {
        told.extend(std::iter::from_fn(|| send(&mut hook_box, Outcome::Accepted, second)));
        hook_box.remind(&all, None, &hook(), at(second));
    }
    assert_eq!(told.len(), 5_000);
}

#[test]
fn an_alertmanager_that_fails_is_tried_again_soon_and_never_later_than_it_forgets() {
    let mut states = States::default();
    states.note(&[fired("p", 0)]);
    let fires = alert("p", Severity::Warning, 0);
    let mut waits = Vec::new();
    for _ in 0..9 {
        let push = states.push([&fires], at(0));
        states.learn(&[(&push, Outcome::Failed)], RESEND, 0.0, at(0));
        waits.extend(states.wait(true, RESEND, at(0)).map(|wait| wait.as_secs()));
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    let push = states.push([&fires], at(0));
    states.learn(&[(&push, Outcome::Throttled(Some(Duration::from_secs(3_600))))], RESEND, 0.0, at(0));
    assert_eq!(states.wait(true, RESEND, at(0)), Some(RESEND));
}
