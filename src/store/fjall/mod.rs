//! The spool on disk: fjall, a log-structured merge tree with a journal.
//!
//! **Durability.** fjall does not sync by itself. A commit is one engine batch (all of the group or nothing), written to
//! the journal, then one `fdatasync` of it. Only after that `write` returns `Ok`.
//!
//! **After a failure.** fjall refuses all further writes once a write, a sync or one of its background workers failed,
//! and keeps answering reads. What may follow depends on what failed:
//!
//! * *A sync failed.* The kernel may have dropped the pages and call the next sync a success, so nothing written behind
//!   that point can be called durable. The store answers every later commit with the first error until the process is
//!   started again (reads go on), and never retries the sync.
//! * *A write failed*, such as for a full disk, before the sync was asked for. The engine is closed and opened again in
//!   place: the journal is replayed, a torn group at its end is cut off. Whether the failed group is in it after all
//!   (closing may complete what the write began, once there is space) is read from a group number that is part of every
//!   commit; the answer given to the caller is the truth, `Ok` or `Full` with nothing of it visible.
//! * *A worker failed*, such as for a full disk while writing a memtable out. All that was acknowledged is in the
//!   journal. The engine is opened again and the commit retried, once.
//!
//! Reopening costs up to seconds, so it is tried at most once per [`FjallOptions::reopen_pause`]. To keep it rare,
//! commits that take in mail are refused while less than the low-space floor plus all that still has to be written out
//! is free; commits that only remove or update go on, for they are how space comes back.
//!
//! **Space.** Removed records keep their space until compaction reaches them, which in a spool (written once, removed
//! once) it seldom does by itself. When the bodies' files are much larger than the mail that lives and enough was
//! removed to pay for the work, everything is compacted in a thread of its own.

mod engine;
mod journal;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ::fjall::{Error, OwnedWriteBatch, PersistMode};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use self::engine::{Engine, classify, sheltered, wait_until_closed};
use super::layout::{Key, Table, Tables, Write};
use super::space::free_bytes;
use super::{Quarantined, SpoolError};
use crate::clock::{Clock, Mono, SystemClock};

/// Key among the bodies that holds the number of the last group; no message id has that length. It also keeps the
/// bodies' tables from being empty: compaction drops dead blob files only while there is a table to merge.
const GROUP_KEY: &[u8] = b"group";
/// Garbage that is not worth a compaction, in octets.
const TOLERATED_GARBAGE: u64 = 64 * 1024 * 1024;
/// Removals that are not worth a compaction.
const TOLERATED_REMOVALS: u64 = 1000;
/// Free octets below which a failure in the background is put down to a full disk: what all memtables together may ask
/// for when they are written out.
const WRITE_OUT_ROOM: u64 = 64 * 1024 * 1024;

/// Settings of the engine.
#[derive(Clone, Debug)]
pub struct FjallOptions {
    /// Free octets below which commits that take in mail are refused.
    pub low_space_floor: u64,
    /// Octets of journals above which the engine writes idle memtables out to be rid of them; at least 64 MiB. Bounds
    /// what is replayed at start. One more journal of 64 MiB may be open.
    pub journal_bytes: u64,
    /// Octets of the cache of table blocks.
    pub cache_bytes: u64,
    /// Shortest time between two attempts to open the engine again after it failed.
    pub reopen_pause: Duration,
}

impl Default for FjallOptions {
    fn default() -> Self {
        Self {
            low_space_floor: 64 * 1024 * 1024,
            journal_bytes: 192 * 1024 * 1024,
            cache_bytes: 32 * 1024 * 1024,
            reopen_pause: Duration::from_secs(2),
        }
    }
}

/// The spool in fjall. See the module for what it promises.
pub struct FjallSpool {
    shared: Arc<Shared>,
    damage: Vec<Quarantined>,
}

struct Shared {
    path: PathBuf,
    options: FjallOptions,
    /// `None` after a failed attempt to open the engine again.
    engine: RwLock<Option<Engine>>,
    writer: Mutex<Writer>,
    clock: SystemClock,
    garbage: Garbage,
}

/// What only the one who writes may touch.
struct Writer {
    /// Number of the last group tried.
    group: u64,
    /// Since when writing is over, and why.
    failed: Option<SpoolError>,
    /// When the engine was last opened again.
    reopened: Option<Mono>,
}

/// Estimates of what is alive among the bodies.
#[derive(Default)]
struct Garbage {
    live: AtomicU64,
    live_octets: AtomicU64,
    removed: AtomicU64,
    compacting: AtomicBool,
}

/// How far a commit came.
enum Failure {
    /// The engine had failed before: nothing of the group was written.
    Before,
    /// A write failed: the group may be torn, whole or absent in the journal.
    Writing(SpoolError),
    /// The sync failed: nothing can be said.
    Syncing(SpoolError),
}

impl FjallSpool {
    /// Opens the spool in the directory `path`, or makes it.
    ///
    /// # Errors
    /// [`SpoolError::Locked`] when it is open already; [`SpoolError::Io`] naming the directory and a remedy when the
    /// engine cannot read its files (which are left as they are).
    pub fn open(path: &Path, options: FjallOptions) -> Result<Self, SpoolError> {
        std::fs::create_dir_all(path)
            .map_err(|e| SpoolError::from_io(&format!("cannot make {}", path.display()), &e))?;
        let path = path.canonicalize().map_err(|e| SpoolError::from_io(&path.display().to_string(), &e))?;
        let before = journal::survey(&path);
        let engine = Engine::open(&path, &options)?;
        let damage = journal::cut_since(&before);
        let group = read_group(&engine)?;
        let shared = Shared {
            path,
            options,
            engine: RwLock::new(Some(engine)),
            writer: Mutex::new(Writer { group, failed: None, reopened: None }),
            clock: SystemClock::default(),
            garbage: Garbage::default(),
        };
        Ok(Self { shared: Arc::new(shared), damage })
    }
}

impl Shared {
    fn engine(&self) -> Result<RwLockReadGuard<'_, Option<Engine>>, SpoolError> {
        let guard = self.engine.read();
        if guard.is_some() {
            return Ok(guard);
        }
        drop(guard);
        let mut writer = self.writer.lock();
        // Another reader may have been first.
        if self.engine.read().is_none() {
            self.reopen(&mut writer)?;
        }
        Ok(self.engine.read())
    }

    fn with_engine<T>(&self, what: &str, f: impl FnOnce(&Engine) -> Result<T, SpoolError>) -> Result<T, SpoolError> {
        match self.engine()?.as_ref() {
            Some(engine) => sheltered(what, || f(engine)),
            None => Err(SpoolError::Io(format!("{what}: the engine is closed after a failure"))),
        }
    }

    /// Closes a failed engine and opens it again.
    fn reopen(&self, writer: &mut Writer) -> Result<(), SpoolError> {
        if let Some(error) = &writer.failed {
            return Err(error.clone());
        }
        let now = self.clock.now().mono;
        if writer.reopened.is_some_and(|at| now.since(at) < self.options.reopen_pause) {
            return Err(self.why_failed());
        }
        writer.reopened = Some(now);
        let mut slot = self.engine.write();
        sheltered("close the failed engine", || {
            drop(slot.take());
            Ok(())
        })?;
        wait_until_closed(&self.path).map_err(|e| SpoolError::from_io("close the failed engine", &e))?;
        let engine = Engine::open(&self.path, &self.options)?;
        tracing::warn!(path = %self.path.display(), "the spool's engine had failed and was opened again");
        *slot = Some(engine);
        Ok(())
    }

    /// Why the engine failed in the background: it does not say, so the disk is asked.
    fn why_failed(&self) -> SpoolError {
        if self.is_short(self.options.low_space_floor.max(WRITE_OUT_ROOM)) {
            SpoolError::Full(format!("the spool's engine stopped writing; {} has no space", self.path.display()))
        } else {
            SpoolError::Io("the spool's engine stopped writing after a failure in the background".into())
        }
    }

    fn is_short(&self, needed: u64) -> bool {
        // A file system that cannot say how much is free is left to speak for itself when written to.
        free_bytes(&self.path).is_ok_and(|free| free < needed)
    }

    fn refuse_when_low(&self, writes: &[Write]) -> Result<(), SpoolError> {
        let group: usize = writes.iter().map(|w| w.value.as_ref().map_or(0, Vec::len)).sum();
        let unwritten = self.with_engine("measure", |engine| Ok(engine.unwritten_bytes()))?;
        // The group goes to the journal now and to a table later.
        let needed = self.options.low_space_floor.saturating_add(unwritten).saturating_add(2 * group as u64);
        if self.is_short(needed) {
            return Err(SpoolError::Full(format!("less than {needed} octets are free in {}", self.path.display())));
        }
        Ok(())
    }

    fn write(&self, writes: &[Write]) -> Result<(), SpoolError> {
        let mut writer = self.writer.lock();
        if let Some(error) = &writer.failed {
            return Err(error.clone());
        }
        for attempt in 0.. {
            match self.try_write(&mut writer, writes) {
                Ok(()) => break,
                Err(Failure::Before) if attempt == 0 => self.reopen(&mut writer)?,
                Err(Failure::Before) => return Err(self.why_failed()),
                Err(Failure::Writing(error)) => return self.settle(&mut writer, error),
                Err(Failure::Syncing(error)) => {
                    tracing::error!(%error, "a sync failed: nothing more is accepted until remuda is started again");
                    writer.failed = Some(error.clone());
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn try_write(&self, writer: &mut Writer, writes: &[Write]) -> Result<(), Failure> {
        // Not `self.engine()`: the writer's lock is held.
        let guard = self.engine.read();
        let Some(engine) = guard.as_ref() else { return Err(Failure::Before) };
        engine.wait_for_workers();
        writer.group += 1;
        let mut batch =
            OwnedWriteBatch::with_capacity(engine.db.clone(), writes.len() + 1).durability(Some(PersistMode::Buffer));
        for write in writes {
            let keyspace = engine.keyspace(write.table);
            match &write.value {
                Some(value) => batch.insert(keyspace, &write.key[..], &value[..]),
                None => batch.remove(keyspace, &write.key[..]),
            }
        }
        batch.insert(engine.keyspace(Table::Bodies), GROUP_KEY, &writer.group.to_be_bytes()[..]);
        let committed = sheltered("write to the journal", || Ok(batch.commit())).map_err(Failure::Writing)?;
        committed.map_err(|e| match e {
            Error::Poisoned => Failure::Before,
            e => Failure::Writing(classify("write to the journal", &e)),
        })?;
        engine.db.persist(PersistMode::SyncData).map_err(|e| match e {
            // A worker died between our write and our sync. For want of space that is harmless; a failed sync of its
            // own is not, and it does not say which.
            Error::Poisoned => match self.why_failed() {
                full @ SpoolError::Full(_) => Failure::Writing(full),
                other => Failure::Syncing(other),
            },
            e => Failure::Syncing(SpoolError::Io(format!("sync of the journal failed: {e}"))),
        })
    }

    /// Opens the engine again after a failed write and tells whether the group is in it.
    fn settle(&self, writer: &mut Writer, error: SpoolError) -> Result<(), SpoolError> {
        let group = writer.group;
        // Here the pause must not apply: the caller is owed the truth.
        writer.reopened = None;
        if let Err(reopening) = self.reopen(writer) {
            tracing::error!(%error, %reopening, "the spool's engine failed and cannot be opened again yet");
            // Whether the group is on disk is not known, so this is not `Full`, which promises that it is not.
            return Err(SpoolError::Io(format!("{error}; the engine cannot be opened again yet: {reopening}")));
        }
        match self.engine.read().as_ref().map(read_group) {
            Some(Ok(found)) if found == group => Ok(()),
            _ => Err(error),
        }
    }

    fn count(&self, writes: &[Write]) {
        let garbage = &self.garbage;
        for write in writes.iter().filter(|write| write.table == Table::Bodies) {
            match &write.value {
                Some(value) => {
                    garbage.live.fetch_add(1, Ordering::Relaxed);
                    garbage.live_octets.fetch_add(value.len() as u64, Ordering::Relaxed);
                }
                None => {
                    let live = garbage.live.load(Ordering::Relaxed);
                    let octets = garbage.live_octets.load(Ordering::Relaxed);
                    garbage.live.store(live.saturating_sub(1), Ordering::Relaxed);
                    // The size of what goes is not known here; the mean is close enough for a decision about effort.
                    let mean = octets.checked_div(live).unwrap_or(0);
                    garbage.live_octets.store(octets.saturating_sub(mean), Ordering::Relaxed);
                    garbage.removed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Whether compaction gives back more than it costs: it rewrites at most what lives, so as much must have gone.
    fn is_worth_compacting(&self) -> bool {
        let garbage = &self.garbage;
        let live = garbage.live.load(Ordering::Relaxed);
        if garbage.removed.load(Ordering::Relaxed) < TOLERATED_REMOVALS.max(live / 2) {
            return false;
        }
        let octets = garbage.live_octets.load(Ordering::Relaxed);
        let tolerated = octets.saturating_add(octets / 2).saturating_add(TOLERATED_GARBAGE);
        self.engine.try_read().and_then(|guard| guard.as_ref().map(Engine::body_bytes)).is_some_and(|b| b > tolerated)
    }

    fn compact(&self) -> Result<(), SpoolError> {
        self.garbage.removed.store(0, Ordering::Relaxed);
        self.pass_watermark()?;
        self.with_engine("compact", |engine| engine.write_out().and_then(|()| engine.compact()))?;
        // The files that compaction replaced are deleted when memtables are next written out.
        self.pass_watermark()?;
        self.with_engine("compact", Engine::write_out)
    }

    /// Commits nothing, twice. The engine keeps what a reader of the last two groups might look at, so without further
    /// commits the last removals, and files replaced since, would stay for ever.
    fn pass_watermark(&self) -> Result<(), SpoolError> {
        self.write(&[])?;
        self.write(&[])
    }
}

impl FjallSpool {
    fn compact_in_background(&self) {
        let shared = &self.shared;
        if !shared.is_worth_compacting() || shared.garbage.compacting.swap(true, Ordering::AcqRel) {
            return;
        }
        let worker = Arc::clone(shared);
        let spawned = std::thread::Builder::new().name("remuda-compact".into()).spawn(move || {
            if let Err(error) = worker.compact() {
                tracing::warn!(%error, "compaction of the spool failed; it will be tried again");
            }
            worker.garbage.compacting.store(false, Ordering::Release);
        });
        if spawned.is_err() {
            shared.garbage.compacting.store(false, Ordering::Release);
        }
    }
}

impl Tables for FjallSpool {
    fn write(&self, writes: &[Write], adds_mail: bool) -> Result<(), SpoolError> {
        if adds_mail {
            self.shared.refuse_when_low(writes)?;
        }
        self.shared.write(writes)?;
        self.shared.count(writes);
        self.compact_in_background();
        Ok(())
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, SpoolError> {
        self.shared.with_engine("read", |engine| {
            let found = engine.keyspace(table).get(key).map_err(|e| classify("read", &e))?;
            Ok(found.map(Bytes::from_owner))
        })
    }

    fn scan(&self, table: Table, prefix: &[u8], visit: &mut dyn FnMut(&[u8], Bytes)) -> Result<(), SpoolError> {
        self.shared.with_engine("scan", |engine| {
            for record in engine.keyspace(table).prefix(prefix) {
                let (key, value) = record.into_inner().map_err(|e| classify("scan", &e))?;
                if table != Table::Bodies || *key != *GROUP_KEY {
                    visit(&key, Bytes::from_owner(value));
                }
            }
            Ok(())
        })
    }

    fn scan_first(
        &self,
        table: Table,
        prefix: &[u8],
        after: &[u8],
        limit: usize,
        visit: &mut dyn FnMut(&[u8], Bytes),
    ) -> Result<(), SpoolError> {
        self.shared.with_engine("scan", |engine| {
            let mut left = limit;
            // One record may be `after` itself, so the limit is counted here.
            for record in engine.keyspace(table).range(prefix.max(after)..) {
                let (key, value) = record.into_inner().map_err(|e| classify("scan", &e))?;
                if left == 0 || !key.starts_with(prefix) {
                    break;
                }
                if *key > *after {
                    left -= 1;
                    visit(&key, Bytes::from_owner(value));
                }
            }
            Ok(())
        })
    }

    fn keys(&self, table: Table, visit: &mut dyn FnMut(&[u8])) -> Result<(), SpoolError> {
        self.shared.with_engine("list", |engine| {
            for record in engine.keyspace(table).iter() {
                let key = record.key().map_err(|e| classify("list", &e))?;
                if table != Table::Bodies || *key != *GROUP_KEY {
                    visit(&key);
                }
            }
            Ok(())
        })
    }

    fn last_key(&self, table: Table, prefix: &[u8]) -> Result<Option<Key>, SpoolError> {
        self.shared.with_engine("list", |engine| {
            for record in engine.keyspace(table).prefix(prefix).rev() {
                let key = record.key().map_err(|e| classify("list", &e))?;
                if table != Table::Bodies || *key != *GROUP_KEY {
                    return Ok(Some(Key::from_slice(&key)));
                }
            }
            Ok(None)
        })
    }

    fn found_at_open(&self) -> Vec<Quarantined> {
        self.damage.clone()
    }

    fn live_bodies(&self, count: u64, octets: u64) {
        self.shared.garbage.live.store(count, Ordering::Relaxed);
        self.shared.garbage.live_octets.store(octets, Ordering::Relaxed);
        // What lies on disk beyond that was removed before the start.
        self.shared.garbage.removed.store(count.max(TOLERATED_REMOVALS), Ordering::Relaxed);
    }

    fn octets_on_disk(&self) -> u64 {
        self.shared.engine.read().as_ref().map_or(0, Engine::disk_bytes)
    }

    fn compact(&self) -> Result<(), SpoolError> {
        self.shared.compact()
    }
}

fn read_group(engine: &Engine) -> Result<u64, SpoolError> {
    let found = engine.keyspace(Table::Bodies).get(GROUP_KEY).map_err(|e| classify("read the last group", &e))?;
    Ok(found.and_then(|octets| octets[..].try_into().ok()).map_or(0, u64::from_be_bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::super::Spool;
    use super::super::contract::{self, Subject, body, gone, message};
    use super::*;
    use crate::message::MessageId;

    struct OnDisk(tempfile::TempDir);

    impl Subject for OnDisk {
        type Spool = FjallSpool;
        fn open(&self) -> Result<Arc<FjallSpool>, SpoolError> {
            FjallSpool::open(self.0.path(), FjallOptions::default()).map(Arc::new)
        }
    }

    fn on_disk() -> OnDisk {
        OnDisk(tempfile::tempdir().expect("directory"))
    }

    #[test]
    fn keeps_the_contract() {
        contract::run(on_disk);
    }

    #[test]
    fn opening_twice_is_refused() {
        let subject = on_disk();
        let _first = subject.open().expect("opens");
        let second = subject.open().map(drop).expect_err("held");
        assert!(matches!(&second, SpoolError::Locked(why) if why.contains("server.state_dir")), "{second}");
    }

    #[test]
    fn below_the_floor_only_mail_is_refused() {
        let home = tempfile::tempdir().expect("directory");
        let spool = FjallSpool::open(home.path(), FjallOptions::default()).expect("opens");
        spool.commit(&[message(1, 3000)]).expect("commits");
        drop(spool);
        let options = FjallOptions { low_space_floor: u64::MAX / 2, ..FjallOptions::default() };
        let spool = FjallSpool::open(home.path(), options).expect("opens");
        assert!(matches!(spool.commit(&[message(2, 3000)]), Err(SpoolError::Full(_))));
        assert_eq!(spool.body(MessageId(2)), Ok(None));
        assert_eq!(spool.body(MessageId(1)), Ok(Some(body(1, 3000))));
        spool.commit(&[gone(1)]).expect("removals go on");
        assert_eq!(spool.body(MessageId(1)), Ok(None));
    }

    #[test]
    fn an_engine_that_failed_is_opened_again_by_the_next_commit_or_read() {
        let home = tempfile::tempdir().expect("directory");
        let spool = FjallSpool::open(home.path(), FjallOptions::default()).expect("opens");
        spool.commit(&[message(1, 3000)]).expect("commits");
        // What a reopening that did not succeed leaves behind.
        *spool.shared.engine.write() = None;
        assert_eq!(spool.body(MessageId(1)), Ok(Some(body(1, 3000))));
        *spool.shared.engine.write() = None;
        spool.shared.writer.lock().reopened = None;
        spool.commit(&[message(2, 3000)]).expect("commits");
        assert_eq!(spool.body(MessageId(2)), Ok(Some(body(2, 3000))));
        // Not at once again.
        *spool.shared.engine.write() = None;
        assert!(spool.commit(&[message(3, 3000)]).is_err());
        spool.shared.writer.lock().reopened = None;
        spool.commit(&[message(3, 3000)]).expect("commits");
    }

    #[test]
    fn a_group_that_a_failed_write_left_whole_is_told_as_done_and_one_it_did_not_as_failed() {
        let home = tempfile::tempdir().expect("directory");
        let spool = FjallSpool::open(home.path(), FjallOptions::default()).expect("opens");
        spool.commit(&[message(1, 3000)]).expect("commits");
        let mut writer = spool.shared.writer.lock();
        let full = || SpoolError::Full("injected".into());
        assert_eq!(spool.shared.settle(&mut writer, full()), Ok(()));
        writer.group += 1;
        assert_eq!(spool.shared.settle(&mut writer, full()), Err(full()));
    }

    #[test]
    fn after_a_failed_sync_nothing_is_accepted_but_reads_go_on() {
        let home = tempfile::tempdir().expect("directory");
        let spool = FjallSpool::open(home.path(), FjallOptions::default()).expect("opens");
        spool.commit(&[message(1, 3000)]).expect("commits");
        let failed = SpoolError::Io("sync of the journal failed".into());
        spool.shared.writer.lock().failed = Some(failed.clone());
        assert_eq!(spool.commit(&[gone(1)]), Err(failed));
        assert_eq!(spool.body(MessageId(1)), Ok(Some(body(1, 3000))));
    }

    #[test]
    fn files_that_are_no_spool_are_an_error_that_names_them_and_stay() {
        let home = tempfile::tempdir().expect("directory");
        drop(FjallSpool::open(home.path(), FjallOptions::default()).expect("opens"));
        for file in ["version", "keyspaces/0/current"] {
            let path = home.path().join(file);
            let whole = std::fs::read(&path).expect("readable");
            std::fs::write(&path, b"rubbish, rubbish").expect("written");
            let error = FjallSpool::open(home.path(), FjallOptions::default()).map(drop).expect_err(file).to_string();
            assert!(error.contains(&home.path().display().to_string()) && error.contains("backup"), "{error}");
            assert_eq!(std::fs::read(&path).expect("still there"), b"rubbish, rubbish");
            std::fs::write(&path, whole).expect("written");
        }
        FjallSpool::open(home.path(), FjallOptions::default()).expect("opens again");
    }

    /// What the files in a directory take on the disk, journals left out.
    fn octets_in(path: &Path) -> u64 {
        let files = std::fs::read_dir(path).expect("listed").flatten();
        files
            .map(|file| match file.metadata() {
                Ok(data) if data.is_dir() => octets_in(&file.path()),
                Ok(_) if file.path().extension().is_some_and(|e| e == "jnl") => 0,
                Ok(data) => data.blocks() * 512,
                Err(_) => 0,
            })
            .sum()
    }

    #[test]
    fn space_comes_back_after_everything_was_removed() {
        let home = tempfile::tempdir().expect("directory");
        let spool = FjallSpool::open(home.path(), FjallOptions::default()).expect("opens");
        for round in 0..20 {
            let ids = round * 100..(round + 1) * 100;
            spool.commit(&ids.map(|id| message(id + 1, 20_000)).collect::<Vec<_>>()).expect("commits");
        }
        spool.reclaim().expect("writes out");
        let before = octets_in(home.path());
        assert!(before > 2000 * 20_000, "{before}");
        spool.commit(&(1..=2000).map(gone).collect::<Vec<_>>()).expect("commits");
        spool.reclaim().expect("reclaims");
        let after = octets_in(home.path());
        assert!(after < before / 100, "{before} before, {after} after");
    }
}
