//! From a view to what every target is told, and over restarts.

use super::*;
use crate::alerts::view::{BindingView, OutView, PoolView, WaitingView};
use crate::config::{AlertName, Alertmanager, Credentials, SecretUrl, Severity, Webhook};

fn at(seconds: i64) -> Wall {
    Wall::from_millis(1_800_000_000_000 + seconds * 1_000)
}

fn rules() -> Rules {
    let url = || SecretUrl::new("http://127.0.0.1:9093".into());
    Rules {
        alertmanagers: vec![Alertmanager {
            name: "am".into(),
            url: url(),
            credentials: Credentials::None,
            ca_file: None,
        }],
        webhooks: vec![Webhook {
            name: "hook".into(),
            url: url(),
            secret_file: None,
            bearer_file: None,
            ca_file: None,
            min_severity: Severity::Info,
            firing: true,
            resolved: true,
        }],
        ..Rules::default()
    }
}

fn view(suspended: bool) -> View {
    let own = OutView { suspended, reason: "listed".into(), ..OutView::default() };
    View {
        bindings: vec![BindingView { name: "a".into(), own, routes: Vec::new() }],
        free_space: Some(u64::MAX),
        ..View::default()
    }
}

/// Pushes everything that waits; what was told, as `target firing/ended` or `target Event`.
fn push(book: &mut Book, outcome: Outcome, second: i64) -> Vec<String> {
    let mut told = Vec::new();
    for number in 0..2 {
        while book.wait(number, at(second)) == Some(Duration::ZERO) {
            let jobs = book.jobs(number, at(second));
            if jobs.is_empty() {
                break;
            }
            told.extend(jobs.iter().map(|job| match job {
                Job::States(push) => format!("am {}/{}", push.firing.len(), push.ended.len()),
                Job::Delivery(sent) => format!("hook {:?}", sent.event),
            }));
            let done: Vec<Done> = jobs.into_iter().map(|job| Done { job, outcome, error: None }).collect();
            book.learn(number, &done, 0.0, at(second));
        }
    }
    told
}

fn disk(book: &mut Book, disk: &mut BTreeMap<String, Vec<u8>>) -> usize {
    let facts = book.facts();
    for fact in &facts {
        match fact {
            Fact::Put(key, value) => drop(disk.insert(key.clone(), value.clone())),
            Fact::Remove(key) => drop(disk.remove(key)),
        }
    }
    facts.len()
}

#[test]
fn a_suspension_and_its_end_reach_everybody_once() {
    let mut book = Book::new(&rules(), at(0));
    book.look(view(true), &Counted::default(), at(0));
    assert_eq!(push(&mut book, Outcome::Accepted, 0), ["am 1/0", "hook Firing"]);
    book.look(view(true), &Counted::default(), at(15));
    assert_eq!(push(&mut book, Outcome::Accepted, 15), Vec::<String>::new());
    let shown = book.snapshot(&Origin::default(), at(15));
    assert_eq!(
        (shown.alerts[0].state.as_str(), &shown.alerts[0].told[..]),
        ("firing", &["am".into(), "hook".into()][..])
    );
    assert_eq!(push(&mut book, Outcome::Accepted, 60), ["am 1/0"], "again before it forgets");
    book.look(view(false), &Counted::default(), at(75));
    assert_eq!(push(&mut book, Outcome::Accepted, 75), Vec::<String>::new(), "it may come back");
    book.look(view(false), &Counted::default(), at(135));
    assert_eq!(push(&mut book, Outcome::Accepted, 135), ["am 0/1", "hook Resolved"]);
}

#[test]
fn a_restart_tells_nothing_twice_and_ends_what_is_over() {
    let (mut book, mut facts) = (Book::new(&rules(), at(0)), BTreeMap::new());
    book.look(view(true), &Counted::default(), at(0));
    push(&mut book, Outcome::Accepted, 0);
    assert_eq!(disk(&mut book, &mut facts), 2, "the alert, and since when nothing was delivered");
    book.look(view(true), &Counted::default(), at(15));
    assert_eq!(disk(&mut book, &mut facts), 0, "nothing has changed");

    let mut book = Book::new(&rules(), at(100));
    assert!(book.restore(facts.clone().into_iter().collect()).is_empty());
    book.look(view(true), &Counted::default(), at(100));
    assert_eq!(push(&mut book, Outcome::Accepted, 100), ["am 1/0"], "the same alert to the Alertmanager only");
    assert_eq!(disk(&mut book, &mut facts), 0);

    let mut book = Book::new(&rules(), at(200));
    book.restore(facts.clone().into_iter().collect());
    book.look(view(false), &Counted::default(), at(200));
    book.look(view(false), &Counted::default(), at(260));
    // It could not be told before the next restart.
    assert_eq!(push(&mut book, Outcome::Failed, 260), ["am 0/1", "hook Resolved"]);
    disk(&mut book, &mut facts);
    let mut book = Book::new(&rules(), at(300));
    book.restore(facts.clone().into_iter().collect());
    book.look(view(false), &Counted::default(), at(300));
    assert_eq!(push(&mut book, Outcome::Accepted, 300), ["hook Resolved"], "the Alertmanager's ends by itself");
    disk(&mut book, &mut facts);
    assert!(facts.keys().eq([kept::LAST_DELIVERY]), "nothing else is left behind: {facts:?}");
}

#[test]
fn a_beginning_that_was_not_taken_before_a_restart_is_told_after_it() {
    let (mut book, mut facts) = (Book::new(&rules(), at(0)), BTreeMap::new());
    book.look(view(true), &Counted::default(), at(0));
    push(&mut book, Outcome::Failed, 0);
    disk(&mut book, &mut facts);
    let mut book = Book::new(&rules(), at(50));
    book.restore(facts.into_iter().collect());
    book.look(view(true), &Counted::default(), at(50));
    assert_eq!(push(&mut book, Outcome::Accepted, 50), ["am 1/0", "hook Firing"]);
}

#[test]
fn what_cannot_be_read_or_written_does_no_harm() {
    let mut book = Book::new(&rules(), at(0));
    let bad = [("alert/x", &b"{"[..]), ("alert/y", b""), (kept::LAST_DELIVERY, b"soon")];
    let bad = bad.map(|(key, value)| (key.to_owned(), value.to_vec())).to_vec();
    assert_eq!(book.restore(bad), ["alert/x", "alert/y", kept::LAST_DELIVERY]);
    let facts = book.facts();
    let delivery = Fact::Put(kept::LAST_DELIVERY.into(), kept::last_delivery(at(0)));
    assert_eq!(facts, [Fact::Remove("alert/x".into()), Fact::Remove("alert/y".into()), delivery]);
    book.not_written(&facts);
    assert_eq!(book.facts(), facts, "they come again");
    assert_eq!(book.facts(), []);
    book.look(view(true), &Counted::default(), at(0));
    let facts = book.facts();
    assert_eq!(facts.len(), 1);
    book.not_written(&facts);
    assert_eq!(book.facts(), facts, "and so does what was to be put");
}

#[test]
fn deliveries_are_written_down_now_and_then_and_silence_is_measured_from_them() {
    let (mut book, mut facts) = (Book::new(&rules(), at(0)), BTreeMap::new());
    let mut written = 0;
    for second in (0..3_600).step_by(15) {
        book.look(view(false), &Counted { delivered: 1 + second as u64, ..Counted::default() }, at(second));
        written += disk(&mut book, &mut facts);
    }
    assert!((12..=13).contains(&written), "every five minutes: {written}");
    let mut book = Book::new(&rules(), at(5_000));
    book.restore(facts.into_iter().collect());
    let last = book.trend.last_delivery();
    assert!(last > at(3_200) && last < at(3_600), "{last}");
}

#[test]
fn alerts_that_found_no_room_are_an_alert_of_their_own() {
    let mut book = Book::new(&rules(), at(0));
    let many = || {
        let binding = |n| BindingView { name: format!("b{n}"), ..view(true).bindings.remove(0) };
        View { bindings: (0..3_000).map(binding).collect(), ..view(true) }
    };
    for second in (0..=330).step_by(15) {
        book.look(many(), &Counted::default(), at(second));
    }
    assert!(fires(&book, "AlertsLeftOut", 330));
    let tally = book.tally(at(330));
    assert_eq!(tally.left_out, 1_500);
    assert_eq!(tally.firing[&(AlertName::BindingSuspended, Severity::Warning)], 1_500);
}

#[test]
fn a_push_to_an_alertmanager_goes_in_parts_and_is_good_when_all_of_them_are() {
    let mut book = Book::new(&rules(), at(0));
    let binding = |n| BindingView { name: format!("b{n}"), ..view(true).bindings.remove(0) };
    book.look(View { bindings: (0..300).map(binding).collect(), ..view(true) }, &Counted::default(), at(0));
    let jobs = book.jobs(0, at(0));
    let sizes: Vec<usize> = jobs
        .iter()
        .map(|job| match job {
            Job::States(push) => push.firing.len(),
            Job::Delivery(_) => 0,
        })
        .collect();
    assert_eq!(sizes, [128, 128, 44]);
    let done = |last: Outcome| {
        let outcomes = [Outcome::Accepted, Outcome::Accepted, last];
        let pairs = jobs.iter().cloned().zip(outcomes);
        pairs.map(|(job, outcome)| Done { job, outcome, error: None }).collect::<Vec<_>>()
    };
    book.learn(0, &done(Outcome::Failed), 0.0, at(0));
    assert_eq!(book.wait(0, at(0)), Some(Duration::from_secs(1)));
    assert_eq!(book.tally(at(5)).targets[0].last_success, None);
    book.learn(0, &done(Outcome::Accepted), 0.0, at(1));
    assert_eq!(book.tally(at(5)).targets[0].last_success, Some(at(1)));
}

/// Mail that has waited for two hours, and for nothing of ours.
fn stuck(second: i64) -> View {
    let oldest = at(second - 7_200);
    let waiting = WaitingView { pool: "main".into(), reason: "retry".into(), count: 1, oldest };
    View { waiting: vec![waiting], ..view(false) }
}

fn fires(book: &Book, name: &str, second: i64) -> bool {
    book.snapshot(&Origin::default(), at(second)).alerts.iter().any(|a| a.name == name && a.fired_at.is_some())
}

#[test]
fn a_relay_that_delivers_nothing_says_so_however_often_it_starts_again() {
    let mut facts = BTreeMap::new();
    let mut fired = Vec::new();
    // It comes up every twenty minutes, looks for five and dies.
    for start in (0..4 * 3_600).step_by(1_200) {
        let mut book = Book::new(&rules(), at(start));
        book.restore(facts.clone().into_iter().collect());
        for second in (start..start + 400).step_by(15) {
            book.look(stuck(second), &Counted::default(), at(second));
            disk(&mut book, &mut facts);
        }
        fired.push(fires(&book, "NoDeliveries", start + 400));
    }
    assert_eq!(fired.iter().position(|fires| *fires), Some(3), "{fired:?}");
    assert!(fired[3..].iter().all(|fires| *fires), "and it does not end with the next start: {fired:?}");
}

#[test]
fn a_restart_does_not_end_what_is_counted() {
    let mut facts = BTreeMap::new();
    let counted =
        Counted { grant_errors: 1, failovers: BTreeMap::from([("main".to_owned(), 1)]), ..Counted::default() };
    let view =
        || View { pools: vec![PoolView { name: "main".into(), active: 1, min_active: 1, backup: 1 }], ..view(false) };
    let mut book = Book::new(&rules(), at(0));
    for second in (0..=300).step_by(15) {
        let counted = Counted {
            grant_errors: counted.grant_errors + second as u64,
            failovers: BTreeMap::from([("main".to_owned(), 1 + second as u64)]),
            ..Counted::default()
        };
        book.look(view(), &counted, at(second));
        disk(&mut book, &mut facts);
    }
    assert!(fires(&book, "GrantErrors", 300) && fires(&book, "PoolOnBackup", 300));
    let mut book = Book::new(&rules(), at(310));
    book.restore(facts.into_iter().collect());
    for second in (310..600).step_by(15) {
        book.look(view(), &Counted::default(), at(second));
    }
    assert!(fires(&book, "GrantErrors", 600) && fires(&book, "PoolOnBackup", 600), "too little was counted to tell");
    for second in (600..720).step_by(15) {
        book.look(view(), &Counted::default(), at(second));
    }
    assert!(!fires(&book, "GrantErrors", 720) && !fires(&book, "PoolOnBackup", 720));
}

#[test]
fn a_clock_that_is_set_back_does_not_keep_silence_from_being_seen() {
    let mut book = Book::new(&rules(), at(0));
    book.look(view(false), &Counted { delivered: 1, ..Counted::default() }, at(1_000_000));
    for second in (0..7_200).step_by(60) {
        book.look(stuck(second), &Counted { delivered: 1, ..Counted::default() }, at(second));
    }
    assert!(fires(&book, "NoDeliveries", 7_200));
}

#[test]
fn what_a_target_says_is_shown() {
    let mut book = Book::new(&rules(), at(0));
    book.look(view(true), &Counted::default(), at(0));
    let job = book.jobs(1, at(0)).remove(0);
    let done = Done { job, outcome: Outcome::Gone, error: Some("HTTP status 410".into()) };
    book.learn(1, &[done], 0.0, at(0));
    let shown = book.snapshot(&Origin::default(), at(90));
    let hook = &shown.targets[1];
    assert_eq!((hook.is_gone, hook.lost, hook.age_seconds), (true, 1, 90));
    assert_eq!(hook.last_error.as_deref(), Some("HTTP status 410"));
    assert!(shown.alerts[0].told.is_empty());
}

#[test]
fn what_fires_goes_on_when_the_configuration_changes() {
    let mut book = Book::new(&rules(), at(0));
    book.look(view(true), &Counted::default(), at(0));
    assert_eq!(push(&mut book, Outcome::Accepted, 0), ["am 1/0", "hook Firing"]);
    let mut disk_before = BTreeMap::new();
    disk(&mut book, &mut disk_before);
    let mut other = rules();
    other.limits.window = Duration::from_secs(60);
    other.limits.queue_age = Duration::from_secs(7);
    other.webhooks[0].bearer_file = Some("/etc/remuda/bearer".into());
    let mut second = other.webhooks[0].clone();
    second.name = "second".into();
    other.webhooks.insert(0, second);
    book.follow(&other);
    assert_eq!(book.numbers(), [0, 2, 1], "those that stay keep their numbers");
    book.look(view(true), &Counted::default(), at(15));
    assert_eq!(push(&mut book, Outcome::Accepted, 15), Vec::<String>::new(), "nobody is told again");
    let hears = |book: &mut Book, number| book.jobs(number, at(15)).len();
    assert_eq!(hears(&mut book, 2), 1, "but who is new is");
    assert_eq!(disk(&mut book, &mut disk_before), 0, "and nothing is written for it");

    // Elsewhere is somebody else, who knows nothing.
    let mut moved = other.clone();
    moved.alertmanagers[0].url = SecretUrl::new("http://127.0.0.2:9093".into());
    moved.webhooks.remove(1);
    book.follow(&moved);
    assert_eq!(book.numbers(), [3, 2]);
    assert_eq!(book.wait(3, at(20)), Some(Duration::ZERO));
    assert_eq!((book.wait(0, at(20)), book.jobs(0, at(20)).len(), book.jobs(1, at(20)).len()), (None, 0, 0));
    book.learn(0, &[], 0.0, at(20));
}

#[test]
fn what_is_gone_from_the_view_ends_and_a_target_that_was_given_up_is_tried_again() {
    let mut book = Book::new(&rules(), at(0));
    book.look(view(true), &Counted::default(), at(0));
    assert_eq!(push(&mut book, Outcome::Gone, 0).len(), 2);
    let gone = |book: &Book| book.snapshot(&Origin::default(), at(1)).targets[1].is_gone;
    assert!(gone(&book));
    book.follow(&rules());
    assert!(gone(&book), "nothing about it has changed");
    let mut other = rules();
    other.webhooks[0].secret_file = Some("/etc/remuda/secret".into());
    book.follow(&other);
    assert!(!gone(&book));
    // The binding is not configured any more.
    let nobody = || View { bindings: Vec::new(), ..view(false) };
    for second in [15, 75] {
        book.look(nobody(), &Counted::default(), at(second));
    }
    assert_eq!(book.tally(at(75)).firing.len(), 0);
}
