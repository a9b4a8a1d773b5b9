//! One opening of the engine: its keyspaces, its settings, and what its errors mean.
//!
//! **Settings.** Bodies of 1 KB and more are kept apart from their keys (fjall's key-value separation): deleting mail
//! then rewrites keys of 8 octets and drops whole blob files instead of copying bodies from level to level, and
//! recovery, which needs only the keys of bodies, reads megabytes instead of gigabytes. Memtables are smaller than
//! fjall's 64 MiB because what lies in them must still fit below the low-space floor when it is written out, and because
//! a journal cannot go before every keyspace with records in it was written out.
//!
//! **Panics.** The engine asserts on damaged files. Opening and reading go through [`sheltered`], so that a damaged file
//! is an error with a name and not the end of the process.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ::fjall::{Database, Error, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, LsmError, PersistMode};

use super::super::SpoolError;
use super::super::layout::Table;
use super::FjallOptions;

/// The engine, open.
pub(super) struct Engine {
    pub(super) db: Database,
    bodies: Keyspace,
    entries: Keyspace,
    facts: Keyspace,
    aged: Keyspace,
    quarantine: Keyspace,
}

const MIB: u64 = 1024 * 1024;
/// Memtables waiting to be written out above which a commit waits. Below fjall's own limit of 4, where it would sleep
/// inside the commit without noticing that the worker it waits for has died.
const MAX_SEALED: usize = 2;
/// The same for tables in level 0; fjall's own limit is 30.
const MAX_LEVEL_0: usize = 24;

impl Engine {
    /// Opens or creates the engine's files in `path`.
    pub(super) fn open(path: &Path, options: &FjallOptions) -> Result<Self, SpoolError> {
        let explained = |error: Error| match error {
            Error::Locked => SpoolError::Locked(format!(
                "the spool in {} is open already; stop the other remuda or choose another server.state_dir",
                path.display()
            )),
            error => match classify("open", &error) {
                SpoolError::Full(why) => SpoolError::Full(why),
                _ => SpoolError::Io(cannot_open(path, &error.to_string())),
            },
        };
        let opened = catch_unwind(AssertUnwindSafe(|| Self::open_all(path, options)));
        match opened {
            Ok(result) => result.map_err(explained),
            Err(panic) => Err(SpoolError::Io(cannot_open(path, &panic_text(&*panic)))),
        }
    }

    fn open_all(path: &Path, options: &FjallOptions) -> ::fjall::Result<Self> {
        let db = Database::builder(path)
            .cache_size(options.cache_bytes)
            .max_journaling_size(options.journal_bytes.max(64 * MIB))
            // One for writing memtables out, one for compaction.
            .worker_threads(2)
            .open()?;
        let plain = |memtable: u64| KeyspaceCreateOptions::default().max_memtable_size(memtable);
        let separated = || {
            plain(32 * MIB)
                .with_kv_separation(Some(KvSeparationOptions::default().file_target_size(32 * MIB).age_cutoff(1.0)))
                .expect_point_read_hits(true)
        };
        Ok(Self {
            bodies: db.keyspace("bodies", separated)?,
            entries: db.keyspace("entries", || plain(16 * MIB))?,
            facts: db.keyspace("facts", || plain(4 * MIB))?,
            aged: db.keyspace("aged", || plain(4 * MIB))?,
            quarantine: db.keyspace("quarantine", || plain(4 * MIB))?,
            db,
        })
    }

    /// The keyspace of a table.
    pub(super) fn keyspace(&self, table: Table) -> &Keyspace {
        match table {
            Table::Bodies => &self.bodies,
            Table::Entries => &self.entries,
            Table::Facts => &self.facts,
            Table::Aged => &self.aged,
            Table::Quarantine => &self.quarantine,
        }
    }

    fn keyspaces(&self) -> [&Keyspace; 5] {
        [&self.bodies, &self.entries, &self.facts, &self.aged, &self.quarantine]
    }

    /// Whether the engine has given up writing (fjall: poisoned), here or in one of its workers.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.db.persist(PersistMode::Buffer), Err(Error::Poisoned))
    }

    /// Waits until the workers have caught up, or one has died.
    pub(super) fn wait_for_workers(&self) {
        let behind = |keyspace: &&Keyspace| {
            keyspace.sealed_memtable_count() >= MAX_SEALED || keyspace.l0_table_count() >= MAX_LEVEL_0
        };
        while self.keyspaces().iter().any(behind) && !self.has_failed() {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    /// Octets of records that so far are only in the journal and will be written once more, as tables.
    pub(super) fn unwritten_bytes(&self) -> u64 {
        self.db.write_buffer_size()
    }

    /// Octets of tables and blobs of bodies.
    pub(super) fn body_bytes(&self) -> u64 {
        self.bodies.disk_space()
    }

    /// Octets on disk, the journal (sparse, at most 64 MiB beyond what is in it) included.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.db.disk_space().unwrap_or(0)
    }

    /// Writes all memtables out, and deletes files that no version of a keyspace refers to any more.
    pub(super) fn write_out(&self) -> Result<(), SpoolError> {
        for keyspace in self.keyspaces() {
            keyspace.rotate_memtable().map_err(|e| classify("write out", &e))?;
        }
        while self.keyspaces().iter().any(|keyspace| keyspace.sealed_memtable_count() > 0) {
            if self.has_failed() {
                return Err(SpoolError::Io("the engine failed while writing out".into()));
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Ok(())
    }

    /// Merges all levels, which drops removed records and the blobs they held.
    ///
    /// Bodies are merged twice: the first time finds out how much of each blob file is garbage, only the second rewrites
    /// and drops files by that.
    pub(super) fn compact(&self) -> Result<(), SpoolError> {
        for keyspace in [&self.entries, &self.bodies, &self.bodies] {
            sheltered("compact", || keyspace.major_compact().map_err(|e| classify("compact", &e)))?;
        }
        Ok(())
    }
}

fn cannot_open(path: &Path, why: &str) -> String {
    format!(
        "the files of the spool in {0} cannot be opened ({why}). Nothing was deleted. Restore {0} from a backup, or move \
         it away to start with an empty queue: mail and counters in it then wait in the moved directory",
        path.display()
    )
}

/// Our error for one of the engine's, told in words that name the operation.
pub(super) fn classify(what: &str, error: &Error) -> SpoolError {
    match error {
        Error::Io(e) | Error::Storage(LsmError::Io(e)) => SpoolError::from_io(what, e),
        other => SpoolError::Io(format!("{what}: {other}")),
    }
}

/// Runs a read of the engine; a panic in it becomes an error.
pub(super) fn sheltered<T>(what: &str, read: impl FnOnce() -> Result<T, SpoolError>) -> Result<T, SpoolError> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|panic| Err(SpoolError::Io(format!("{what}: the engine gave up: {}", panic_text(&*panic)))))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "no reason given".to_owned())
}

/// Waits until no descriptor of this process points into `path`: workers of a closed engine let go of their journal a
/// moment after the engine counts them as gone, and until then could still write into it.
pub(super) fn wait_until_closed(path: &Path) -> io::Result<()> {
    for _ in 0..1000 {
        let open = std::fs::read_dir("/proc/self/fd")?
            .flatten()
            .filter_map(|link| std::fs::read_link(link.path()).ok())
            .any(|target| target.starts_with(path));
        if !open {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, format!("files in {} stay open", path.display())))
}
