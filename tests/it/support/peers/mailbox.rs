//! A Maildir, each of whose messages is read once: some are large, and tests look often.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Mutex;

use super::Taken;

/// The messages in the `new` of a Maildir. A file is whole when it appears there, and stays as it is.
pub(super) struct Mailbox {
    path: PathBuf,
    read: Mutex<BTreeMap<OsString, Taken>>,
}

impl Mailbox {
    /// The Maildir may be made later.
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path, read: Mutex::default() }
    }

    /// What is in it.
    pub(super) fn taken(&self) -> Vec<Taken> {
        let mut read = self.read.lock().unwrap();
        if let Ok(files) = std::fs::read_dir(self.path.join("new")) {
            for file in files.map(Result::unwrap) {
                read.entry(file.file_name()).or_insert_with(|| Taken::stored(std::fs::read(file.path()).unwrap()));
            }
        }
        read.values().cloned().collect()
    }
}
