//! From a view to what every target is told, and over restarts.

use super::*;
use crate::alerts::view::{BindingView, OutView};
use crate::config::{Alertmanager, Credentials, SecretUrl, Severity, Webhook};

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
            let Some(job) = book.job(number, at(second)) else { break };
            told.push(match &job {
                Job::States(push) => format!("am {}/{}", push.firing.len(), push.ended.len()),
                Job::Delivery(sent) => format!("hook {:?}", sent.event),
            });
            book.learn(number, &job, outcome, None, 0.0, at(second));
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
    assert_eq!(disk(&mut book, &mut facts), 1);
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
    assert!(facts.is_empty(), "nothing is left behind: {facts:?}");
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
    let bad = vec![("alert/x".to_owned(), b"{".to_vec()), ("alert/y".to_owned(), Vec::new())];
    assert_eq!(book.restore(bad), ["alert/x", "alert/y"]);
    let facts = book.facts();
    assert_eq!(facts, [Fact::Remove("alert/x".into()), Fact::Remove("alert/y".into())]);
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
fn what_a_target_says_is_shown() {
    let mut book = Book::new(&rules(), at(0));
    book.look(view(true), &Counted::default(), at(0));
    let job = book.job(1, at(0)).expect("a delivery");
    book.learn(1, &job, Outcome::Gone, Some("HTTP status 410".into()), 0.0, at(0));
    let shown = book.snapshot(&Origin::default(), at(90));
    let hook = &shown.targets[1];
    assert_eq!((hook.is_gone, hook.lost, hook.age_seconds), (true, 1, 90));
    assert_eq!(hook.last_error.as_deref(), Some("HTTP status 410"));
    assert!(shown.alerts[0].told.is_empty());
}
