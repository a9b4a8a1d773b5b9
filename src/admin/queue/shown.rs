//! The queue as data: what the API answers and `remuda queue` prints.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::Sources;
use crate::admin::explain::ExplainedBinding;
use crate::clock::{Now, Wall, rfc3339};
use crate::message::{Entry, EntryId, Hold};
use crate::queue::core::select::{Found, STRANDED};

/// What waits.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct QueueList {
    /// Oldest first.
    pub entries: Vec<QueuedEntry>,
    /// How many match in all, whatever `limit` and `after` show of them.
    pub total: usize,
    /// Why they wait, the most frequent first.
    pub reasons: Vec<ReasonCount>,
    /// Where there are more: ask again with this.
    pub after: Option<String>,
    /// Why not all were looked at, where that is so; `total` is then of those that were.
    pub stopped: Option<String>,
}

/// How many wait for the same reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReasonCount {
    /// As in the listing.
    pub reason: String,
    /// Entries.
    pub count: u64,
}

/// By reason, the most frequent first.
pub(super) fn reasons(all: &[Found]) -> Vec<ReasonCount> {
    let mut counts = std::collections::BTreeMap::<&str, u64>::new();
    for found in all {
        *counts.entry(found.reason).or_default() += 1;
    }
    let mut counts: Vec<_> =
        counts.into_iter().map(|(reason, count)| ReasonCount { reason: reason.to_owned(), count }).collect();
    counts.sort_by_key(|reason| std::cmp::Reverse(reason.count));
    counts
}

/// One entry: the recipients of a message that share pool and domain.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct QueuedEntry {
    /// Its id.
    pub id: String,
    /// Its pool.
    pub pool: String,
    /// Its tenant.
    pub tenant: String,
    /// Its recipients' domain.
    pub domain: String,
    /// The destination, once known.
    pub destination: Option<String>,
    /// Recipients that wait.
    pub recipients: u32,
    /// Attempts made.
    pub attempts: u32,
    /// When it was accepted.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub arrived: Wall,
    /// Seconds since then.
    pub age: u64,
    /// Why it does not move: a verdict's text, `retry`, `dns`, `slots` (its tenant or destination holds its share of the
    /// attempts under way), `resolving`, `in_flight`, `held` (by an operator), `stranded` (its pool or tenant is not
    /// configured) or `ready`.
    pub reason: String,
    /// When it may move by itself.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Wall>,
    /// Message it belongs to.
    pub message: Option<String>,
    /// Its stream.
    pub stream: Option<String>,
    /// What the last attempt said.
    pub last_reply: Option<String>,
    /// Who keeps it back, and why.
    #[serde(default)]
    pub held: Option<Held>,
}

/// An operator keeps an entry back.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Held {
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// Since when.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub at: Wall,
    /// When it goes on by itself; `null` until it is released.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Wall>,
}

impl From<&Hold> for Held {
    fn from(hold: &Hold) -> Self {
        Self { actor: hold.actor.clone(), reason: hold.reason.clone(), at: hold.at, until: hold.until }
    }
}

impl QueuedEntry {
    /// Looks the entry up in memory and on disk. Blocks.
    pub(super) fn of(sources: &Sources, id: EntryId, now: Wall) -> Option<Self> {
        let stored = sources.dispatcher.spool().entry(id).ok().flatten();
        Self::with(sources, id, stored.as_ref(), now)
    }

    fn with(sources: &Sources, id: EntryId, stored: Option<&Entry>, now: Wall) -> Option<Self> {
        let age = |arrived: Wall| now.since(arrived).as_secs();
        let message = stored.map(|entry| entry.message.to_string());
        let stream = stored.map(|entry| entry.stream.to_string());
        let last_reply = stored.and_then(|entry| entry.recipients.iter().find_map(|r| r.state.last_reply.clone()));
        let held = stored.and_then(|entry| entry.state.held_at(now)).map(Held::from);
        let (view, is_stranded) = sources.dispatcher.with_core(|core| (core.view(id), core.has_entry(id)));
        if let Some(view) = view {
            return Some(Self {
                id: view.id,
                pool: view.pool,
                tenant: view.tenant,
                domain: view.domain,
                destination: view.destination,
                recipients: view.recipients,
                attempts: view.attempts,
                arrived: view.arrived,
                age: age(view.arrived),
                reason: view.reason.to_owned(),
                next_at: view.next_at,
                message,
                stream,
                last_reply,
                held,
            });
        }
        let entry = stored.filter(|_| is_stranded)?;
        Some(Self {
            id: id.to_string(),
            pool: entry.pool.to_string(),
            tenant: entry.tenant.to_string(),
            domain: entry.domain.to_string(),
            destination: None,
            recipients: entry.recipients.len() as u32,
            attempts: entry.state.attempts,
            arrived: entry.arrived,
            age: age(entry.arrived),
            reason: STRANDED.to_owned(),
            next_at: None,
            message,
            stream,
            last_reply,
            held,
        })
    }
}

/// Answer of `GET /api/v1/queue/ID`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EntryList {
    /// One, or all entries of a message.
    pub entries: Vec<EntryDetails>,
}

/// One entry with all that is known of it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EntryDetails {
    /// As in the listing.
    #[serde(flatten)]
    pub entry: QueuedEntry,
    /// Reverse path; `null` is the null reverse path, of a report.
    pub sender: Option<String>,
    /// Those who still wait.
    pub waiting: Vec<WaitingRecipient>,
    /// When it is given up and reported to its sender, held or not.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub expires: Wall,
    /// Octets of the message.
    pub size: u64,
    /// Whether it needs `8BITMIME`.
    pub eight_bit: bool,
    /// Its own next try, if nothing else keeps it back; in the past for one that is due.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub due: Wall,
    /// The binding it prefers, and for how many more tries.
    pub sticky: Option<Sticky>,
    /// Bindings it avoids, since they were blamed for it.
    pub excluded: Vec<Excluded>,
    /// Bindings whose address was blamed for one of its recipients.
    pub blamed: Vec<String>,
    /// Bindings over which it was tried, the last one at the end, as far as that is remembered: where return paths are
    /// rewritten.
    pub tried: Vec<Tried>,
    /// What each binding of its pool would say, tier by tier; empty while its destination is unknown.
    pub bindings: Vec<ExplainedBinding>,
}

/// A recipient that waits.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct WaitingRecipient {
    /// Forward path.
    pub address: String,
    /// What the last attempt said.
    pub last_reply: Option<String>,
    /// The host that said it.
    pub last_host: Option<String>,
    /// Bindings whose address was blamed for it.
    pub blamed: Vec<String>,
}

/// A binding that is preferred.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Sticky {
    /// Which.
    pub binding: String,
    /// For so many tries.
    pub tries: u8,
}

/// A binding that is avoided.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Excluded {
    /// Which.
    pub binding: String,
    /// Until when.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub until: Wall,
}

/// A binding over which the entry was tried.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Tried {
    /// Which.
    pub binding: String,
    /// When it was for the first time.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub first_at: Wall,
}

impl EntryDetails {
    /// Looks the entry up in memory and on disk. Blocks.
    pub(super) fn of(sources: &Sources, id: EntryId, now: Now) -> Option<Self> {
        let stored = sources.dispatcher.spool().entry(id).ok().flatten()?;
        let entry = QueuedEntry::with(sources, id, Some(&stored), now.wall)?;
        let explained = sources.dispatcher.with_core(|core| core.explanation(id, now));
        let bindings = explained.iter().flat_map(|explained| {
            explained.bindings.iter().map(|said| ExplainedBinding::of(said, explained.provider.as_ref(), None))
        });
        let bindings = bindings.collect();
        let names = |names: &[crate::message::BindingName]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut blamed: Vec<String> = stored.recipients.iter().flat_map(|r| names(&r.state.blamed)).collect();
        blamed.sort_unstable();
        blamed.dedup();
        let excluded = stored.state.excluded.iter().filter(|(_, until)| *until > now.wall);
        Some(Self {
            entry,
            sender: stored.reverse_path.as_ref().map(ToString::to_string),
            waiting: stored
                .recipients
                .iter()
                .map(|recipient| WaitingRecipient {
                    address: recipient.address.to_string(),
                    last_reply: recipient.state.last_reply.clone(),
                    last_host: recipient.state.last_host.clone(),
                    blamed: names(&recipient.state.blamed),
                })
                .collect(),
            expires: stored.expires,
            size: stored.size,
            eight_bit: stored.eight_bit,
            due: stored.state.next_at.max(stored.arrived),
            sticky: stored.state.sticky.map(|(binding, tries)| Sticky { binding: binding.to_string(), tries }),
            excluded: excluded
                .map(|(binding, until)| Excluded { binding: binding.to_string(), until: *until })
                .collect(),
            blamed,
            tried: stored
                .state
                .return_paths
                .iter()
                .map(|path| Tried { binding: path.binding.to_string(), first_at: path.at })
                .collect(),
            bindings,
        })
    }
}

/// What came of an act.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ActAnswer {
    /// `retry`, `hold`, `release`, `bounce`, `move`.
    pub act: String,
    /// Entries that were meant.
    pub matched: u64,
    /// Nothing was done: it was only asked how many are meant.
    pub dry_run: bool,
    /// Entries it was done to.
    pub done: u64,
    /// Entries that were so before: not held, held for at least as long, or in that pool.
    pub unchanged: u64,
    /// Entries with an attempt under way; it is done to them when that ends, if anybody still waits then.
    pub on_the_wire: u64,
    /// Entries that are held, and were therefore not retried.
    pub held: u64,
    /// Entries with an attempt under way for which another act was promised before; this one is not done to them.
    #[serde(default)]
    pub another: u64,
    /// Entries whose pool or tenant is not configured, and that were therefore not retried, or not bounced with a report.
    pub stranded: u64,
    /// Entries that were delivered or ended meanwhile.
    pub gone: u64,
    /// Entries whose record cannot be read.
    pub unread: u64,
    /// Ids that were given and that nothing in the queue has.
    pub unknown: Vec<String>,
    /// What keeps them from leaving: before the act where it is only asked, after it for a retry.
    pub reasons: Vec<ReasonCount>,
    /// The first hundred.
    pub entries: Vec<ActEntry>,
    /// It goes on behind this one: ask the same again with it.
    pub after: Option<String>,
    /// Of a question: the last entry that was counted. An act with this `until` is done to nothing that came later.
    #[serde(default)]
    pub until: Option<String>,
    /// Why not all entries were reached, where that is so.
    pub stopped: Option<String>,
}

/// What came of an act on one entry.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ActEntry {
    /// Which.
    pub id: String,
    /// `done`, `unchanged`, `on_the_wire`, `held`, `another`, `stranded`, `gone`, `unread`; `matched` where it is only asked.
    pub came: String,
}
