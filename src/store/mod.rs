//! Durable state: the spool (bodies and entries) and small facts, in one engine.
//!
//! The [`Spool`] contract is narrow on purpose, so that the engine can be replaced: a batch is applied whole or not at
//! all, and once `commit` has returned it survives kill -9 and power loss. One suite (`contract`) holds for every
//! implementation. [`committer`] gathers the batches of all sessions that wait into one commit with one sync.
//!
//! ```text
//!   sessions, queue ──▶ committer ──▶ Spool ◀── layout (records, recovery, quarantine)
//!                       group commit              │ over Tables: four ordered maps
//!                                         fjall ◀─┴─▶ memory
//! ```
//!
//! What a record looks like, what recovery does and what is set aside is decided once, in [`layout`]; an engine only
//! has to offer [`layout::Tables`].

pub mod committer;
#[cfg(test)]
pub(crate) mod contract;
#[cfg(test)]
mod crash;
pub mod fjall;
pub mod grants;
pub mod layout;
pub mod lock;
pub mod memory;
mod record;
pub mod space;

use std::fmt;
use std::io;

use bytes::Bytes;

use crate::message::{Entry, EntryId, MessageId};

/// One durable change.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Stores a body.
    PutBody(MessageId, Bytes),
    /// Forgets a body.
    RemoveBody(MessageId),
    /// Stores or replaces an entry.
    PutEntry(Box<Entry>),
    /// Forgets an entry.
    RemoveEntry(EntryId),
    /// Stores or replaces a fact. Keys are `kind/name…`, such as `health/…` or `grant/…`; values are JSON.
    PutFact(String, Vec<u8>),
    /// Forgets a fact.
    RemoveFact(String),
}

/// Changes that are applied together or not at all.
pub type Batch = Vec<Op>;

/// What went wrong with durable state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    /// No space left (also: less than the floor). Nothing of the batch was applied.
    #[error("disk full: {0}")]
    Full(String),
    /// The record fails its checksum or cannot be read.
    #[error("corrupt record {key}: {detail}")]
    Corrupt {
        /// Which.
        key: String,
        /// How.
        detail: String,
    },
    /// Another process holds the state directory.
    #[error("{0}")]
    Locked(String),
    /// Anything else of the engine or the disk.
    #[error("spool: {0}")]
    Io(String),
}

impl SpoolError {
    /// The error of an operation described by `what`: [`SpoolError::Full`] for no space, quota or file size reached.
    pub fn from_io(what: &str, error: &io::Error) -> Self {
        let text = format!("{what}: {error}");
        let full = [libc::ENOSPC, libc::EDQUOT, libc::EFBIG];
        if error.raw_os_error().is_some_and(|code| full.contains(&code))
            || matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
            )
        {
            Self::Full(text)
        } else {
            Self::Io(text)
        }
    }
}

/// Whether a batch takes in new mail. Such a batch is refused below the low-space floor; others go on, for they are how
/// space comes back.
pub fn adds_mail(batch: &[Op]) -> bool {
    batch.iter().any(|op| matches!(op, Op::PutBody(..)))
}

/// What recovery found.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Entries handed to the visitor.
    pub entries: u64,
    /// Bodies without entries, removed (a crash between two commits cannot make one; a bug can).
    pub orphans: u64,
    /// Records set aside under `quarantine`, with what was wrong.
    pub quarantined: Vec<Quarantined>,
    /// Largest id seen in any record or name of one, for [`crate::message::IdSource::after`].
    pub last_id: u64,
}

/// A record that could not be used; kept aside for the operator.
#[derive(Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Its key.
    pub key: String,
    /// What was wrong.
    pub detail: String,
}

impl fmt::Debug for Quarantined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.detail)
    }
}

/// Durable storage of mail and facts. Calls block: async callers go through [`committer`] or `spawn_blocking`.
pub trait Spool: Send + Sync + 'static {
    /// Applies `batches` in order, each atomically, and returns when all are on disk (synced).
    ///
    /// # Errors
    /// Nothing of any of the batches is visible after [`SpoolError::Full`]. After [`SpoolError::Io`] that is not known
    /// until the next start, as after a crash.
    fn commit(&self, batches: &[Batch]) -> Result<(), SpoolError>;
    /// A body; `None` when there is none.
    fn body(&self, id: MessageId) -> Result<Option<Bytes>, SpoolError>;
    /// An entry; `None` when there is none.
    fn entry(&self, id: EntryId) -> Result<Option<Entry>, SpoolError>;
    /// A fact; `None` when there is none.
    fn fact(&self, key: &str) -> Result<Option<Vec<u8>>, SpoolError>;
    /// All facts whose key starts with `prefix`, in order of their keys; those of single messages (`told/…`, `sender/…`)
    /// only when `prefix` says so, for they lie apart. One whose record is corrupt has an empty value:
    /// that there was something is worth knowing (a daily cap must not start again because its count is unreadable).
    fn facts(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, SpoolError>;
    /// The first `limit` facts at most whose key starts with `prefix` and is greater than `after` (empty: from the first),
    /// in order of their keys, without looking at the rest: for kinds of facts that there may be millions of. A corrupt
    /// one is as in [`Spool::facts`].
    fn facts_first(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<(String, Vec<u8>)>, SpoolError>;
    /// Hands every entry to `visit`, sets corrupt records and entries without a body aside, removes orphaned bodies.
    ///
    /// For the start, before anything else writes. `visit` must not call the spool.
    fn recover(&self, visit: &mut dyn FnMut(Entry)) -> Result<Recovery, SpoolError>;
    /// Takes an entry out of the queue's reach at run time, with the raw bytes of its body as far as they can be read,
    /// and keeps both under `quarantine`: for an entry whose body turned out corrupt. `false` when there is no such
    /// entry. The body itself stays until it is removed or found orphaned, since other entries may share it.
    fn set_aside(&self, id: EntryId, detail: &str) -> Result<bool, SpoolError>;
    /// What was set aside and why, in order of the keys (`entry/…`, `body/…`, `fact/…`).
    fn quarantine(&self) -> Result<Vec<Quarantined>, SpoolError>;
    /// Octets on disk, or an estimate of them in memory.
    fn disk_bytes(&self) -> u64;
    /// Gives space of removed records back, as far as the engine can; may take seconds. Implementations also do it by
    /// themselves now and then.
    fn reclaim(&self) -> Result<(), SpoolError>;
}
