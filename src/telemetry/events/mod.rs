//! What happened lately, for `remuda events` and `/api/v1/events`: a bounded memory of things an operator asks about.
//!
//! Not the log (which has everything and is somebody else's to keep) and not metrics (which have no words): the last
//! events of each kind, with the words that explain them. Each has a number, which rises and is never given twice, also
//! not over restarts: whoever follows ([`Events::after`]) asks for what came after the last number seen, and misses
//! nothing unless told so. [`super::journal`] keeps them on disk. A flood of one kind pushes out no other, and none is
//! kept longer than [`KEPT_FOR`].

mod kept;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use utoipa::ToSchema;

use self::kept::Kept;
use super::unmatched::Unmatched;
use crate::clock::{Wall, rfc3339};

/// Events kept of each kind.
pub const KEPT: usize = 10_000;
/// How long they are kept.
pub const KEPT_FOR: Duration = Duration::from_secs(30 * 86_400);
/// Octets of one word at most.
const WORD: usize = 4 * 1024;
/// Those who follow at the same time.
const LISTENERS: usize = 64;

/// Names no further field of an event may have.
const OWN: [&str; 3] = ["seq", "at", "kind"];

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = EventKind)]
pub enum Kind {
    /// A health moved.
    Health,
    /// Something worth knowing that moved no health: a tenant held, a suspension withheld.
    Note,
    /// A list names us or no longer, or is not to be believed.
    Listing,
    /// A mail came to an address for reports.
    Report,
    /// A stage of a warm-up moved.
    Warmup,
    /// A feed began or ceased to answer, or says something new of us.
    Feed,
    /// The SPF records of senders' domains cover our bindings no longer, or again.
    Spf,
    /// Somebody did something: suspended, drained, held, bounced …
    Audit,
    /// The configuration in force changed, or was not let.
    Config,
    /// Somebody signed in, or was not let.
    Access,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::Health,
        Self::Note,
        Self::Listing,
        Self::Report,
        Self::Warmup,
        Self::Feed,
        Self::Spf,
        Self::Audit,
        Self::Config,
        Self::Access,
    ];

    /// Stable text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Note => "note",
            Self::Listing => "listing",
            Self::Report => "report",
            Self::Warmup => "warmup",
            Self::Feed => "feed",
            Self::Spf => "spf",
            Self::Audit => "audit",
            Self::Config => "config",
            Self::Access => "access",
        }
    }

    /// The kind of that name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// All names, for whoever gave a wrong one.
    pub fn names() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }
}

/// Names with words: binding, destination, tenant, reason, evidence …
pub type Fields = BTreeMap<Cow<'static, str>, String>;

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Event {
    /// Its number: rises, and is never given twice.
    pub seq: u64,
    /// When.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub at: Wall,
    /// What kind.
    pub kind: Kind,
    /// In words, by name: binding, destination, tenant, reason, evidence …
    #[serde(flatten)]
    #[schema(value_type = BTreeMap<String, String>)]
    pub fields: Fields,
}

impl Event {
    fn octets(&self) -> usize {
        self.fields.iter().map(|(name, text)| name.len() + text.len()).sum()
    }
}

/// Which events are asked for; what is not said is not asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// One of these kinds.
    pub kinds: Vec<Kind>,
    /// Of this binding.
    pub binding: Option<String>,
    /// Of this tenant.
    pub tenant: Option<String>,
    /// Not before that.
    pub since: Option<Wall>,
}

impl Filter {
    fn wants(&self, kind: Kind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }

    fn takes(&self, event: &Event) -> bool {
        let is = |name: &str, wanted: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| event.fields.get(name).is_some_and(|text| text == wanted))
        };
        is("binding", &self.binding) && is("tenant", &self.tenant) && self.since.is_none_or(|since| event.at >= since)
    }
}

/// What came after a number.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// In the order of their numbers.
    pub events: Vec<Arc<Event>>,
    /// What to ask for next: everything up to this number was looked at.
    pub upto: u64,
    /// Some that came after are no longer kept.
    pub is_lagged: bool,
}

/// A change of what is on disk.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Every number up to this one may be given.
    Reserve(u64),
    /// An event is new.
    Put(Arc<Event>),
    /// It is kept no longer.
    Remove(u64),
}

/// The last events of each kind.
#[derive(Debug, Default)]
pub struct Events {
    /// Replies that no rule knew: not events one by one, but counted.
    pub unmatched: Unmatched,
    kept: Mutex<Kept>,
    news: watch::Sender<u64>,
    listeners: Arc<AtomicUsize>,
    /// Held while something is written, so that whoever waits for an event on disk does not overtake it.
    pub(super) writing: tokio::sync::Mutex<()>,
}

/// A place among those who follow; dropping it gives it back.
#[derive(Debug)]
pub struct Listening(Arc<AtomicUsize>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// `text`, cut where it is too long.
fn cut(mut text: String) -> String {
    if text.len() > WORD {
        let end = (0..=WORD).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

impl Events {
    /// Notes an event. Empty fields are left out, and so are those called as the event's own [`OWN`]: in its JSON they
    /// would stand twice, and no reader takes that.
    pub fn note(&self, kind: Kind, fields: impl IntoIterator<Item = (&'static str, String)>, at: Wall) {
        let free = |name: &str| {
            let free = !OWN.contains(&name);
            debug_assert!(free, "an event has its own {name}");
            free
        };
        let fields = fields.into_iter().filter(|(name, text)| !text.is_empty() && free(name));
        let fields = fields.map(|(name, text)| (Cow::Borrowed(name), cut(text))).collect();
        let mut kept = self.kept.lock();
        let Some(seq) = kept.number() else { return };
        kept.push(Arc::new(Event { seq, at, kind, fields }), at);
        drop(kept);
        self.news.send_replace(seq);
    }

    /// The last `limit` events of `kind`, or of all kinds, oldest first.
    pub fn last(&self, kind: Option<Kind>, limit: usize) -> Vec<Event> {
        let filter = Filter { kinds: kind.into_iter().collect(), ..Filter::default() };
        self.newest(&filter, limit).iter().map(|event| Event::clone(event)).collect()
    }

    /// The last `limit` events that `filter` takes, oldest first.
    pub fn newest(&self, filter: &Filter, limit: usize) -> Vec<Arc<Event>> {
        let kept = self.kept.lock();
        let rings = Kind::ALL.into_iter().filter(|kind| filter.wants(*kind)).map(|kind| &kept.rings[kind as usize]);
        let newest = rings.flat_map(|ring| ring.events.iter().rev().filter(|event| filter.takes(event)).take(limit));
        let mut found: Vec<Arc<Event>> = newest.cloned().collect();
        drop(kept);
        found.sort_unstable_by_key(|event| event.seq);
        found.split_off(found.len().saturating_sub(limit))
    }

    /// The first `limit` events after number `after` that `filter` takes.
    pub fn after(&self, after: u64, filter: &Filter, limit: usize) -> Batch {
        let kept = self.kept.lock();
        let rings = || Kind::ALL.into_iter().filter(|k| filter.wants(*k)).map(|kind| &kept.rings[kind as usize]);
        let is_lagged = rings().any(|ring| ring.gone > after);
        let next = rings().flat_map(|ring| ring.from(after).filter(|event| filter.takes(event)).take(limit));
        let mut events: Vec<Arc<Event>> = next.cloned().collect();
        events.sort_unstable_by_key(|event| event.seq);
        events.truncate(limit);
        let upto = match events.last() {
            Some(event) if events.len() == limit => event.seq,
            _ => kept.last.max(after),
        };
        Batch { events, upto, is_lagged }
    }

    /// The last number given, and every later one as it is.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// The last number given.
    pub fn last_number(&self) -> u64 {
        self.kept.lock().last
    }

    /// Events that found no place on disk since the start.
    pub fn lost(&self) -> u64 {
        self.kept.lock().lost
    }

    /// A place among those who follow; nothing where all are taken.
    pub fn listen(&self) -> Option<Listening> {
        let more = |taken| (taken < LISTENERS).then_some(taken + 1);
        let taken = self.listeners.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok().then(|| Listening(Arc::clone(&self.listeners)))
    }

    /// Takes up what an earlier run left: its events in the order of their numbers, and the last number it may have
    /// given. What was noted before that gets later numbers. From here on every change is for the disk.
    pub fn restore(&self, events: Vec<Event>, given: u64, now: Wall) {
        let mut kept = self.kept.lock();
        kept.restore(events, given, now);
        let last = kept.last;
        drop(kept);
        self.news.send_replace(last);
    }

    /// Lets go of what is too old.
    pub fn forget_old(&self, now: Wall) {
        self.kept.lock().trim(now);
    }

    /// What the disk does not know yet, oldest first, at most so many; see [`Events::not_written`].
    pub(super) fn take_unwritten(&self, most: usize) -> Vec<Change> {
        self.kept.lock().take_unwritten(most)
    }

    /// These are on disk.
    pub(super) fn written(&self, changes: &[Change]) {
        self.kept.lock().written(changes);
    }

    /// These are not: they are for the next time.
    pub(super) fn not_written(&self, changes: Vec<Change>) {
        self.kept.lock().not_written(changes);
    }
}

#[cfg(test)]
mod tests {
    use super::kept::{RESERVED, WAITING};
    use super::*;

    fn words(events: &[Event]) -> Vec<&str> {
        events.iter().map(|event| event.fields["what"].as_str()).collect()
    }

    fn at(millis: i64) -> Wall {
        Wall::from_millis(millis)
    }

    #[test]
    fn the_last_of_each_kind_come_in_their_order() {
        let events = Events::default();
        for (kind, when, what) in
            [(Kind::Health, 1, "a"), (Kind::Report, 2, "b"), (Kind::Note, 3, "c"), (Kind::Note, 4, "d")]
        {
            events.note(kind, [("what", what.to_owned()), ("nothing", String::new())], at(when));
        }
        assert_eq!(words(&events.last(None, 3)), ["b", "c", "d"]);
        assert_eq!(words(&events.last(Some(Kind::Note), 9)), ["c", "d"]);
        assert_eq!(events.last(Some(Kind::Health), 1)[0].fields.len(), 1, "empty fields are left out");
    }

    #[test]
    fn a_flood_of_one_kind_pushes_out_no_other() {
        let events = Events::default();
        events.note(Kind::Health, [("what", "kept".to_owned())], at(0));
        for n in 0..KEPT as i64 + 5 {
            events.note(Kind::Report, [("what", n.to_string())], at(n));
        }
        assert_eq!(words(&events.last(Some(Kind::Health), 9)), ["kept"]);
        assert_eq!(words(&events.last(Some(Kind::Report), KEPT + 9))[0], "5");
    }

    #[test]
    fn words_are_bounded_and_nothing_is_kept_for_ever() {
        let events = Events::default();
        for _ in 0..2_000 {
            events.note(Kind::Note, [("what", "ä".repeat(100_000))], at(0));
        }
        let kept = events.last(None, KEPT);
        assert!(kept.len() < 1_100 && kept[0].fields["what"].len() <= WORD + 3, "{}", kept.len());
        events.note(Kind::Health, [("what", "old".to_owned())], at(0));
        events.forget_old(at(0).plus(KEPT_FOR + Duration::from_millis(1)));
        assert_eq!(events.last(None, 9), []);
    }

    #[test]
    fn who_follows_by_number_misses_nothing_unless_told() {
        let events = Events::default();
        let all = Filter::default();
        for n in 0..10 {
            events.note(Kind::ALL[n % 2], [("what", n.to_string()), ("binding", format!("m{}", n % 3))], at(n as i64));
        }
        let numbers = |batch: &Batch| batch.events.iter().map(|event| event.seq).collect::<Vec<_>>();
        let first = events.after(0, &all, 4);
        assert_eq!((numbers(&first), first.upto, first.is_lagged), (vec![1, 2, 3, 4], 4, false));
        assert_eq!(numbers(&events.after(first.upto, &all, 99)), [5, 6, 7, 8, 9, 10]);
        let one = Filter { binding: Some("m1".into()), kinds: vec![Kind::Health], ..Filter::default() };
        let batch = events.after(0, &one, 99);
        assert_eq!((numbers(&batch), batch.upto), (vec![5], 10), "what the filter leaves out is not looked at again");
        let late = Filter { since: Some(at(8)), ..Filter::default() };
        assert_eq!(events.newest(&late, 99).len(), 2);
        for n in 0..KEPT as i64 {
            events.note(Kind::Health, [("what", "more".to_owned())], at(n));
        }
        assert!(events.after(4, &all, 1).is_lagged);
        assert!(!events.after(9, &all, 1).is_lagged, "what it has seen may go");
        let notes = Filter { kinds: vec![Kind::Note], ..Filter::default() };
        assert!(!events.after(0, &notes, 1).is_lagged, "what it does not ask for may go");
    }

    #[test]
    fn numbers_go_on_where_an_earlier_run_may_have_been() {
        let events = Events::default();
        events.note(Kind::Note, [("what", "early".to_owned())], at(5));
        let old = |seq, what: &str| Event {
            seq,
            at: at(1),
            kind: Kind::Audit,
            fields: [("what".into(), what.to_owned())].into_iter().collect(),
        };
        events.restore(vec![old(7, "a"), old(9, "b")], 1_000, at(10));
        events.note(Kind::Note, [("what", "late".to_owned())], at(11));
        let all = events.last(None, 9);
        assert_eq!(words(&all), ["a", "b", "early", "late"]);
        assert_eq!(all.iter().map(|event| event.seq).collect::<Vec<_>>(), [7, 9, 1_001, 1_002]);
        let changes = events.take_unwritten(99);
        assert!(matches!(changes[..], [Change::Reserve(101_000), Change::Put(_), Change::Put(_)]), "{changes:?}");
        events.not_written(changes.clone());
        assert_eq!(events.take_unwritten(99), changes, "they wait for the next time");
    }

    #[test]
    fn no_number_is_given_that_is_not_written_down_as_given() {
        let events = Events::default();
        events.restore(Vec::new(), 0, at(0));
        for n in 0..RESERVED + 10 {
            events.note(Kind::Note, [("what", n.to_string())], at(0));
        }
        assert_eq!(events.last_number(), RESERVED);
        assert!(events.lost() > 10, "{}", events.lost());
        let changes = events.take_unwritten(usize::MAX);
        assert_eq!(changes[0], Change::Reserve(2 * RESERVED));
        events.written(&changes);
        events.note(Kind::Note, [("what", "again".to_owned())], at(0));
        assert_eq!(events.last_number(), RESERVED + 1);
    }

    #[test]
    fn what_waits_for_a_disk_that_takes_nothing_is_bounded() {
        let events = Events::default();
        events.restore(Vec::new(), 0, at(0));
        for n in 0..RESERVED {
            events.note(Kind::ALL[(n % 7) as usize], [("what", n.to_string())], at(0));
        }
        events.forget_old(at(0).plus(KEPT_FOR + Duration::from_millis(1)));
        let changes = events.take_unwritten(usize::MAX);
        assert!(changes.len() <= WAITING + 1, "{}", changes.len());
        events.note(Kind::Note, [("what", "late".to_owned())], at(0));
        events.not_written(changes);
        let changes = events.take_unwritten(usize::MAX);
        assert!(changes.len() <= WAITING + 1 && matches!(changes[0], Change::Reserve(_)), "{}", changes.len());
    }

    #[test]
    fn the_places_of_those_who_follow_are_bounded_and_given_back() {
        let events = Events::default();
        let mut places: Vec<Listening> = (0..LISTENERS).map(|_| events.listen().expect("a place")).collect();
        assert!(events.listen().is_none());
        places.pop();
        assert!(events.listen().is_some());
    }

    #[test]
    #[should_panic(expected = "an event has its own kind")]
    fn no_field_hides_the_events_own() {
        Events::default().note(Kind::Note, [("kind", "dsn".to_owned())], at(0));
    }

    #[test]
    fn kinds_are_found_by_their_names() {
        assert!(Kind::ALL.into_iter().all(|kind| Kind::of(kind.as_str()) == Some(kind)));
        assert_eq!(
            (Kind::of("unmatched"), Kind::names().as_str()),
            (None, "health, note, listing, report, warmup, feed, spf, audit, config, access")
        );
    }
}
