//! What happened lately, for `remuda events` and `/api/v1/events`: a bounded memory of things an operator asks about.
//!
//! Not the log (which has everything and is somebody else's to keep) and not metrics (which have no words): the last
//! [`KEPT`] events of each kind, newest last, with the words that explain them. A restart forgets them, except the
//! replies that no rule knew ([`Unmatched`]).

use std::collections::VecDeque;

use parking_lot::Mutex;
use serde::Serialize;

use super::unmatched::Unmatched;
use crate::clock::{Wall, rfc3339};

/// Events kept of each kind.
pub const KEPT: usize = 1000;

/// Names no further field of an event may have.
const OWN: [&str; 2] = ["at", "kind"];

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
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
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::Health,
        Self::Note,
        Self::Listing,
        Self::Report,
        Self::Warmup,
        Self::Feed,
        Self::Spf,
        Self::Audit,
        Self::Config,
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

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// When.
    #[serde(with = "rfc3339")]
    pub at: Wall,
    /// What kind.
    pub kind: Kind,
    /// In words, by name: binding, destination, tenant, reason, evidence …
    #[serde(flatten)]
    pub fields: std::collections::BTreeMap<&'static str, String>,
}

/// The last events of each kind.
#[derive(Debug, Default)]
pub struct Events {
    /// Replies that no rule knew: not events one by one, but counted.
    pub unmatched: Unmatched,
    kept: Mutex<[VecDeque<Event>; Kind::ALL.len()]>,
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
        let fields = fields.into_iter().filter(|(name, text)| !text.is_empty() && free(name)).collect();
        let mut kept = self.kept.lock();
        let kept = &mut kept[kind as usize];
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(Event { at, kind, fields });
    }

    /// The last `limit` events of `kind`, or of all kinds, oldest first.
    pub fn last(&self, kind: Option<Kind>, limit: usize) -> Vec<Event> {
        let kept = self.kept.lock();
        let wanted = Kind::ALL.into_iter().filter(|k| kind.is_none_or(|kind| kind == *k));
        let mut all: Vec<Event> = wanted.flat_map(|k| kept[k as usize].iter().cloned()).collect();
        all.sort_by_key(|event| event.at);
        all.split_off(all.len().saturating_sub(limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(events: &[Event]) -> Vec<&str> {
        events.iter().map(|event| event.fields["what"].as_str()).collect()
    }

    #[test]
    fn the_last_of_each_kind_come_in_their_order() {
        let events = Events::default();
        for (kind, at, what) in
            [(Kind::Note, 3, "c"), (Kind::Health, 1, "a"), (Kind::Report, 2, "b"), (Kind::Note, 4, "d")]
        {
            events.note(kind, [("what", what.to_owned()), ("nothing", String::new())], Wall::from_millis(at));
        }
        assert_eq!(words(&events.last(None, 3)), ["b", "c", "d"]);
        assert_eq!(words(&events.last(Some(Kind::Note), 9)), ["c", "d"]);
        assert_eq!(events.last(Some(Kind::Health), 1)[0].fields.len(), 1, "empty fields are left out");
    }

    #[test]
    fn a_flood_of_one_kind_pushes_out_no_other() {
        let events = Events::default();
        events.note(Kind::Health, [("what", "kept".to_owned())], Wall::from_millis(0));
        for n in 0..KEPT as i64 + 5 {
            events.note(Kind::Report, [("what", n.to_string())], Wall::from_millis(n));
        }
        assert_eq!(words(&events.last(Some(Kind::Health), 9)), ["kept"]);
        assert_eq!(words(&events.last(Some(Kind::Report), KEPT + 9))[0], "5");
    }

    #[test]
    #[should_panic(expected = "an event has its own kind")]
    fn no_field_hides_the_events_own() {
        Events::default().note(Kind::Note, [("kind", "dsn".to_owned())], Wall::from_millis(0));
    }

    #[test]
    fn kinds_are_found_by_their_names() {
        assert!(Kind::ALL.into_iter().all(|kind| Kind::of(kind.as_str()) == Some(kind)));
        assert_eq!(
            (Kind::of("unmatched"), Kind::names().as_str()),
            (None, "health, note, listing, report, warmup, feed, spf, audit, config")
        );
    }
}
