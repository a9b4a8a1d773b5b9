//! Mails kept aside: what came to an address for reports and could not be attributed or understood, for the operator to
//! look at, in `state_dir/unattributed`, one file a mail.
//!
//! A report that nobody understands is how one learns that a feedback loop has changed its format; thrown away, it is
//! missing just then. A file is complete or not there (written aside, synced, renamed), and there are never more than
//! the configured number: the oldest go first. Files are written off the async threads.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::clock::Wall;
use crate::message::MessageId;

/// The directory.
#[derive(Debug)]
pub struct Aside {
    directory: PathBuf,
    kept: usize,
    /// One at a time: two that count the files would both take the oldest away.
    turn: Mutex<()>,
}

impl Aside {
    /// Keeps at most `kept` mails below `state_dir`; 0 keeps none.
    pub fn new(state_dir: &Path, kept: usize) -> Self {
        Self { directory: state_dir.join("unattributed"), kept, turn: Mutex::new(()) }
    }

    /// Keeps a mail; `head` are whole lines put in front. Returns when it is on disk.
    ///
    /// # Errors
    /// Those of the disk; nothing is kept then.
    pub async fn keep(self: &Arc<Self>, head: String, mail: Bytes, id: MessageId, now: Wall) -> io::Result<()> {
        if self.kept == 0 {
            return Ok(());
        }
        let this = Arc::clone(self);
        let written = tokio::task::spawn_blocking(move || this.write(&head, &mail, id, now));
        written.await.unwrap_or_else(|gone| Err(io::Error::other(gone)))
    }

    fn write(&self, head: &str, mail: &[u8], id: MessageId, now: Wall) -> io::Result<()> {
        let _turn = self.turn.lock();
        fs::create_dir_all(&self.directory)?;
        let name = format!("{}-{id}.eml", now.timestamp().strftime("%Y%m%dT%H%M%SZ"));
        let unfinished = self.directory.join(format!("{name}.new"));
        let written = write_synced(&unfinished, head, mail)
            .and_then(|()| fs::rename(&unfinished, self.directory.join(name)))
            .and_then(|()| File::open(&self.directory)?.sync_all());
        if written.is_err() {
            // Whether it can be removed changes nothing for the mail.
            let _ = fs::remove_file(&unfinished);
        }
        written?;
        if let Err(error) = self.drop_oldest() {
            tracing::warn!(%error, directory = %self.directory.display(), "old mails kept aside could not be removed");
        }
        Ok(())
    }

    fn drop_oldest(&self) -> io::Result<()> {
        let mut names = Vec::new();
        for file in fs::read_dir(&self.directory)? {
            let name = file?.file_name();
            if Path::new(&name).extension().is_some_and(|end| end == "eml") {
                names.push(name);
            }
        }
        // Names begin with the time.
        names.sort_unstable();
        let surplus = names.len().saturating_sub(self.kept);
        names[..surplus].iter().try_for_each(|name| fs::remove_file(self.directory.join(name)))
    }
}

fn write_synced(path: &Path, head: &str, mail: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(head.as_bytes())?;
    file.write_all(mail)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Wall = Wall::from_millis(1_795_000_000_000);

    #[tokio::test]
    async fn the_newest_are_kept_whole() {
        let home = tempfile::tempdir().expect("directory");
        let aside = Arc::new(Aside::new(home.path(), 2));
        for n in 1..=4 {
            let mail = Bytes::from(format!("Subject: {n}\r\n\r\n"));
            let at = NOW.plus(Duration::from_secs(n));
            aside.keep("Return-Path: <>\r\n".into(), mail, MessageId(n), at).await.expect("kept");
        }
        let mut files: Vec<_> = fs::read_dir(home.path().join("unattributed"))
            .expect("there")
            .map(|file| file.expect("readable").path())
            .collect();
        files.sort();
        let texts: Vec<String> = files.iter().map(|file| fs::read_to_string(file).expect("text")).collect();
        let text = |n: u64| format!("Return-Path: <>\r\nSubject: {n}\r\n\r\n");
        assert_eq!(texts, [text(3), text(4)]);
        assert!(files[0].ends_with("20261118T110643Z-0000000000003.eml"), "{files:?}");
    }

    #[tokio::test]
    async fn a_disk_that_takes_nothing_is_an_error_and_none_is_asked_for_none() {
        let home = tempfile::tempdir().expect("directory");
        fs::write(home.path().join("unattributed"), b"a file where the directory should be").expect("written");
        let keep = async |kept| {
            Arc::new(Aside::new(home.path(), kept)).keep(String::new(), Bytes::new(), MessageId(1), NOW).await
        };
        assert!(keep(5).await.is_err());
        assert!(keep(0).await.is_ok());
    }
}
