//! What every implementation of [`Grants`] must do, as one suite.
//!
//! A subject knows how to open its grants again and again; "again" is a restart, with whatever a crash leaves behind.

use std::collections::HashMap;
use std::fmt::Debug;

use jiff::civil::{Date, date};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{GrantFact, GrantRequest, Grants};

/// Something that can be opened as an authority, and again after what was returned is dropped.
pub(crate) trait Subject {
    type Grants: Grants<Error: Debug>;
    fn open(&self) -> Self::Grants;
}

fn day(day: i8) -> Date {
    date(2026, 5, day)
}

fn ask(key: &str, day: Date, granted: u64) -> GrantRequest {
    GrantRequest::new(key, day, granted)
}

fn with_open(open: u64, request: GrantRequest) -> GrantRequest {
    GrantRequest { open, ..request }
}

/// Raises in an authority that is opened for it, so that nothing can be kept in memory only.
fn raise(subject: &impl Subject, holder: &str, limit: u64, request: GrantRequest) -> u64 {
    let given = subject.open().raise(holder, limit, &request).expect("raise");
    assert_eq!((&given.key, given.day), (&request.key, request.day));
    given.granted
}

fn held(subject: &impl Subject, holder: &str) -> Vec<(String, Date, u64, u64)> {
    let holdings = subject.open().holdings(holder).expect("holdings");
    holdings.into_iter().map(|fact| (fact.key, fact.day, fact.granted, fact.open)).collect()
}

fn holders_together_stay_within_the_limit(subject: &impl Subject) {
    let x = |granted| ask("binding/x", day(1), granted);
    assert_eq!(raise(subject, "a", 100, x(40)), 40);
    assert_eq!(raise(subject, "a", 100, x(40)), 40, "asking twice gives nothing twice");
    assert_eq!(raise(subject, "a", 100, x(10)), 40, "a total never shrinks");
    assert_eq!(raise(subject, "b", 100, x(90)), 60, "all holders together stay within the limit");
    assert_eq!(raise(subject, "a", 100, x(50)), 40, "nothing is left");
    assert_eq!(raise(subject, "a", 30, x(50)), 40, "a lower limit takes nothing back");
    assert_eq!(raise(subject, "a", 120, x(500)), 60, "a higher limit gives the difference");
    assert_eq!(raise(subject, "c", 100, x(500)), 0);
    assert_eq!(raise(subject, "a", 100, ask("binding/y", day(1), 7)), 7, "keys do not mix");
    assert_eq!(raise(subject, "a", 100, ask("binding/x/y", day(1), 8)), 8, "nor do those that begin alike");
    assert_eq!(raise(subject, "a", 100, ask("binding/x", day(2), 5)), 5, "a new day starts at zero");
    let expected = [("binding/x", day(2), 5, 0), ("binding/x/y", day(1), 8, 0), ("binding/y", day(1), 7, 0)];
    assert_eq!(held(subject, "a"), expected.map(|(key, day, granted, open)| (key.to_owned(), day, granted, open)));
    assert_eq!(held(subject, "b"), [("binding/x".to_owned(), day(1), 60, 0)]);
    assert_eq!(held(subject, "nobody"), []);
}

fn names_of_holders_are_any_text(subject: &impl Subject) {
    for holder in ["a", "a/b", "a b", "b", "mx1.example.net:25", "ä"] {
        assert_eq!(raise(subject, holder, 60, ask("route/a/b:c", day(1), 10)), 10, "{holder}");
        assert_eq!(held(subject, holder), [("route/a/b:c".to_owned(), day(1), 10, 0)], "{holder}");
    }
    assert_eq!(raise(subject, "late", 60, ask("route/a/b:c", day(1), 10)), 0);
}

fn days_of_holders_need_not_be_the_same(subject: &impl Subject) {
    let x = |day, granted| ask("tenant/x", day, granted);
    assert_eq!(raise(subject, "a", 100, x(day(1), 70)), 70);
    assert_eq!(raise(subject, "a", 100, x(day(2), 80)), 80);
    assert_eq!(raise(subject, "b", 100, x(day(1), 90)), 30, "a has left the day, and had its part of it");
    assert_eq!(raise(subject, "b", 100, x(day(2), 90)), 20);
    assert_eq!(raise(subject, "a", 100, x(day(1), 99)), 70, "a day that was left gives nothing more");
    assert_eq!(raise(subject, "a", 100, x(day(2), 99)), 80);
    for n in 3..8 {
        assert_eq!(raise(subject, "a", 100, x(day(n), 10)), 10);
    }
    assert!(raise(subject, "b", 100, x(day(3), 99)) <= 90);
}

fn what_is_open_at_midnight_counts_on_the_next_day(subject: &impl Subject) {
    let x = |day, granted| ask("tenant/x", day, granted);
    assert_eq!(raise(subject, "a", 100, with_open(25, x(day(1), 60))), 60);
    assert_eq!(raise(subject, "b", 100, x(day(2), 90)), 75, "a may yet come with 25");
    assert_eq!(raise(subject, "a", 100, x(day(2), 30)), 25);
    // What was asked for and not given is not open either.
    assert_eq!(raise(subject, "c", 10, with_open(8, ask("tenant/y", day(1), 20))), 10);
    assert_eq!(held(subject, "c"), [("tenant/y".to_owned(), day(1), 10, 0)]);
}

fn a_clock_that_was_far_ahead_does_no_lasting_harm(subject: &impl Subject) {
    let far = date(2037, 1, 1);
    assert_eq!(raise(subject, "a", 100, ask("tenant/x", day(1), 40)), 40);
    assert_eq!(raise(subject, "a", 100, ask("tenant/x", far, 30)), 30);
    assert!(raise(subject, "b", 100, ask("tenant/x", day(1), 100)) <= 60);
    // The holder counts what it had then as today's, and says so.
    assert_eq!(raise(subject, "a", 100, ask("tenant/x", day(1), 70)), 70);
    assert_eq!(held(subject, "a"), [("tenant/x".to_owned(), day(1), 70, 0)]);
    assert_eq!(raise(subject, "b", 100, ask("tenant/x", day(2), 100)), 100);
}

fn totals_of_other_days_are_kept(subject: &impl Subject) {
    let request = GrantRequest { others: vec![(date(1970, 1, 1), 12)], ..ask("tenant/x", day(1), 40) };
    assert_eq!(raise(subject, "a", 100, request.clone()), 40);
    assert_eq!(subject.open().holdings("a").expect("holdings"), [request]);
}

/// Holders ask at random, over days that they enter at different moments.
fn no_order_of_requests_gives_more_than_the_limit(subject: &impl Subject) {
    let mut random = SmallRng::seed_from_u64(5);
    let (names, keys) = (["a", "b", "c"], ["tenant/x", "tenant/x/y"]);
    let mut today = [1i8; 3];
    let mut totals: HashMap<(&str, i8), HashMap<&str, u64>> = HashMap::new();
    for _ in 0..10 {
        let mut grants = subject.open();
        for _ in 0..30 {
            let who = random.random_range(0..names.len());
            let (holder, key) = (names[who], keys[random.random_range(0..keys.len())]);
            if random.random_range(0..40) == 0 {
                today[who] = (today[who] + 1).min(today.iter().min().map_or(1, |day| day + 1));
            }
            let mine = totals.entry((key, today[who])).or_default().entry(holder).or_default();
            let asked = *mine + random.random_range(1..30);
            let given = grants.raise(holder, 200, &ask(key, day(today[who]), asked)).expect("raise").granted;
            assert!((*mine..=asked).contains(&given), "{given} after {mine}, asked for {asked}");
            *mine = given;
        }
    }
    assert!(totals.len() > 2, "{totals:?}");
    for (place, holders) in totals {
        assert!(holders.values().sum::<u64>() <= 200, "{place:?}: {holders:?}");
    }
}

/// Runs the suite, each part with a subject of its own.
pub(crate) fn run<S: Subject>(fresh: impl Fn() -> S) {
    holders_together_stay_within_the_limit(&fresh());
    names_of_holders_are_any_text(&fresh());
    days_of_holders_need_not_be_the_same(&fresh());
    what_is_open_at_midnight_counts_on_the_next_day(&fresh());
    a_clock_that_was_far_ahead_does_no_lasting_harm(&fresh());
    totals_of_other_days_are_kept(&fresh());
    no_order_of_requests_gives_more_than_the_limit(&fresh());
}

/// The reference, shared by all who open it.
#[derive(Clone, Default)]
pub(crate) struct InMemory(std::rc::Rc<std::cell::RefCell<super::MemoryGrants>>);

impl Grants for InMemory {
    type Error = std::convert::Infallible;

    fn raise(&mut self, holder: &str, limit: u64, request: &GrantRequest) -> Result<GrantFact, Self::Error> {
        self.0.borrow_mut().raise(holder, limit, request)
    }

    fn holdings(&self, holder: &str) -> Result<Vec<GrantFact>, Self::Error> {
        self.0.borrow().holdings(holder)
    }
}

impl Subject for InMemory {
    type Grants = Self;
    fn open(&self) -> Self {
        self.clone()
    }
}
