//! Mails kept: what came to an address for reports and was not passed on, for the operator to look at, one file a mail.
//!
//! | ring | below `state_dir` | holds |
//! |---|---|---|
//! | [`Ring::Strangers`] | `unattributed/strangers` | mail without a mark of ours |
//! | [`Ring::Ours`] | `unattributed/ours` | mail with one that was not understood or found no sender, the postmaster's, and mail to a sender that could not be delivered |
//! | [`Ring::Reports`] | `reports` | reports that were understood: complaints, and bounces whose sender is not known |
//!
//! A report that nobody understands is how one learns that a feedback loop has changed its format; thrown away, it is
//! missing just then. A file is complete or not there (written aside, synced, renamed). Each ring has at most the
//! configured number and [`OCTETS_MAX`]; the oldest go first, so that no stranger fills the disk, or pushes out what is
//! worth reading. They are other people's mail: only the user we run as may read them. Files are written off the async
//! threads.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::clock::Wall;
use crate::message::MessageId;

/// Octets of one ring.
pub const OCTETS_MAX: u64 = 256 << 20;

/// What is kept apart from what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ring {
    /// Mail without a mark of ours.
    Strangers,
    /// Mail that concerns us.
    Ours,
    /// Reports that were understood.
    Reports,
}

impl Ring {
    /// Its directory below `state_dir`.
    pub fn directory(self) -> &'static str {
        match self {
            Self::Strangers => "unattributed/strangers",
            Self::Ours => "unattributed/ours",
            Self::Reports => "reports",
        }
    }
}

/// The rings.
#[derive(Debug)]
pub struct Aside {
    state_dir: PathBuf,
    kept: usize,
    octets: u64,
    /// One at a time: two that count the files would both take the oldest away.
    turn: Mutex<()>,
}

impl Aside {
    /// Keeps at most `kept` mails of each ring below `state_dir`; 0 keeps none.
    pub fn new(state_dir: &Path, kept: usize) -> Self {
        Self { state_dir: state_dir.to_owned(), kept, octets: OCTETS_MAX, turn: Mutex::new(()) }
    }

    /// Whether anything is kept at all.
    pub fn keeps(&self) -> bool {
        self.kept > 0
    }

    /// Keeps a mail; `head` are whole lines put in front. Returns when it is on disk, with whether it is: none is where
    /// none are asked for.
    ///
    /// # Errors
    /// Those of the disk; nothing is kept then.
    pub async fn keep(
        self: &Arc<Self>,
        ring: Ring,
        head: String,
        mail: Bytes,
        id: MessageId,
        now: Wall,
    ) -> io::Result<bool> {
        if !self.keeps() {
            return Ok(false);
        }
        let this = Arc::clone(self);
        let written = tokio::task::spawn_blocking(move || this.write(ring, &head, &mail, id, now));
        written.await.unwrap_or_else(|gone| Err(io::Error::other(gone))).map(|()| true)
    }

    fn write(&self, ring: Ring, head: &str, mail: &[u8], id: MessageId, now: Wall) -> io::Result<()> {
        let _turn = self.turn.lock();
        let directory = self.state_dir.join(ring.directory());
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        // One that was there before may be open to others.
        fs::set_permissions(&directory, Permissions::from_mode(0o700))?;
        let name = format!("{}-{id}.eml", now.timestamp().strftime("%Y%m%dT%H%M%SZ"));
        let unfinished = directory.join(format!("{name}.new"));
        let written = write_synced(&unfinished, head, mail)
            .and_then(|()| fs::rename(&unfinished, directory.join(name)))
            .and_then(|()| File::open(&directory)?.sync_all());
        if written.is_err() {
            // Whether it can be removed changes nothing for the mail.
            let _ = fs::remove_file(&unfinished);
        }
        written?;
        if let Err(error) = self.drop_oldest(&directory) {
            tracing::warn!(%error, directory = %directory.display(), "old mails kept aside could not be removed");
        }
        Ok(())
    }

    fn drop_oldest(&self, directory: &Path) -> io::Result<()> {
        let mut files = Vec::new();
        for file in fs::read_dir(directory)? {
            let file = file?;
            if Path::new(&file.file_name()).extension().is_some_and(|end| end == "eml") {
                // One that is gone already takes no room.
                files.push((file.file_name(), file.metadata().map_or(0, |about| about.len())));
            }
        }
        // Names begin with the time.
        files.sort_unstable();
        let mut octets: u64 = files.iter().map(|(_, octets)| octets).sum();
        let mut left = files.len();
        for (name, size) in files {
            if left <= self.kept && octets <= self.octets {
                break;
            }
            match fs::remove_file(directory.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            left -= 1;
            octets -= size;
        }
        Ok(())
    }
}

fn write_synced(path: &Path, head: &str, mail: &[u8]) -> io::Result<()> {
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(head.as_bytes())?;
    file.write_all(mail)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Wall = Wall::from_millis(1_795_000_000_000);

    async fn keep(aside: &Arc<Aside>, ring: Ring, n: u64, mail: &str) -> io::Result<bool> {
        let at = NOW.plus(Duration::from_secs(n));
        aside.keep(ring, "Return-Path: <>\r\n".into(), Bytes::from(mail.to_owned()), MessageId(n), at).await
    }

    fn files(home: &Path, ring: Ring) -> Vec<PathBuf> {
        let files = fs::read_dir(home.join(ring.directory())).expect("there");
        let mut files: Vec<_> = files.map(|file| file.expect("readable").path()).collect();
        files.sort();
        files
    }

    #[tokio::test]
    async fn the_newest_of_each_ring_are_kept_whole_and_for_us_alone() {
        let home = tempfile::tempdir().expect("directory");
        let aside = Arc::new(Aside::new(home.path(), 2));
        for n in 1..=4 {
            assert!(keep(&aside, Ring::Strangers, n, &format!("Subject: {n}\r\n\r\n")).await.expect("kept"));
        }
        for ring in [Ring::Ours, Ring::Reports] {
            assert!(keep(&aside, ring, 0, "Subject: 0\r\n\r\n").await.expect("kept"));
            assert_eq!(files(home.path(), ring).len(), 1);
        }
        let files = files(home.path(), Ring::Strangers);
        let texts: Vec<String> = files.iter().map(|file| fs::read_to_string(file).expect("text")).collect();
        let text = |n: u64| format!("Return-Path: <>\r\nSubject: {n}\r\n\r\n");
        assert_eq!(texts, [text(3), text(4)]);
        assert!(files[0].ends_with("20261118T110643Z-0000000000003.eml"), "{files:?}");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&files[0]), 0o600);
        for directory in ["unattributed", "unattributed/strangers", "unattributed/ours", "reports"] {
            assert_eq!(mode(&home.path().join(directory)), 0o700, "{directory}");
        }
    }

    #[tokio::test]
    async fn octets_are_bounded_besides_the_number() {
        let home = tempfile::tempdir().expect("directory");
        let aside = Arc::new(Aside { octets: 1000, ..Aside::new(home.path(), 50) });
        for n in 1..=20 {
            keep(&aside, Ring::Ours, n, &"x".repeat(183)).await.expect("kept");
        }
        let left = files(home.path(), Ring::Ours);
        assert_eq!(left.len(), 5);
        assert!(left[4].ends_with("20261118T110700Z-000000000000m.eml"), "{left:?}");
    }

    #[tokio::test]
    async fn a_disk_that_takes_nothing_is_an_error_and_none_is_asked_for_none() {
        let home = tempfile::tempdir().expect("directory");
        fs::write(home.path().join("unattributed"), b"a file where the directory should be").expect("written");
        let kept = async |kept| keep(&Arc::new(Aside::new(home.path(), kept)), Ring::Ours, 1, "").await;
        assert!(kept(5).await.is_err());
        assert!(matches!(kept(0).await, Ok(false)));
    }
}
