//! Where each key of the configuration was written, so that whoever asks why a limit holds is shown the line; and what
//! was written there.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::written::Written;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file, as the operator named it.
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// File and line of every key that was written, by key path such as `binding.mta1.daily_cap`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origins {
    places: BTreeMap<String, Origin>,
    pub(super) written: Written,
}

impl Origins {
    /// Where `key` was written; `None` where it was not.
    pub fn get(&self, key: &str) -> Option<&Origin> {
        self.places.get(key)
    }

    /// How many keys were written.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether nothing was written, as in a configuration that was not read from files.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// What was written, in the order of the files.
    pub fn written(&self) -> &Written {
        &self.written
    }

    pub(super) fn insert(&mut self, key: String, file: PathBuf, line: usize) {
        self.places.insert(key, Origin { file, line });
    }
}
