//! What is different between two configurations, in the words of the file. Pure.

use serde::{Deserialize, Serialize};

use crate::config::Config;

/// One difference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// Key path as in the file: `binding.mta1.daily_cap`, or `binding.mta9` for one that is new or gone.
    pub key: String,
    /// What it was; `None` where it was not there.
    pub from: Option<String>,
    /// What it is to be; `None` where it is gone.
    pub to: Option<String>,
}

/// What is different in `after`.
pub fn between(_before: &Config, _after: &Config) -> Vec<Changed> {
    Vec::new()
}
