//! What is written down of a health, so that a restart continues it.
//!
//! Keys are `health/binding/NAME` and `health/route/NAME/DESTINATION`, `hold/TENANT DESTINATION DOMAIN` and
//! `complaints/BINDING PROVIDER`; values are JSON of the subject and its whole state. The subject is repeated in
//! the value because names may hold slashes: keys are for finding, not for parsing.

use serde::{Deserialize, Serialize};

use super::health::Subject;
use super::state::State;
use crate::clock::Wall;

/// Prefix of the keys of healths.
pub const PREFIX: &str = "health/";

/// Prefix of the keys of holds.
pub const HOLD_PREFIX: &str = "hold/";

/// Prefix of the keys of complaints' cohorts.
pub const COMPLAINTS_PREFIX: &str = "complaints/";

/// All prefixes: what a restart must hand to [`super::Reputation::restore`].
pub const PREFIXES: [&str; 3] = [PREFIX, HOLD_PREFIX, COMPLAINTS_PREFIX];

/// A durable change to hand to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Store this JSON under this key.
    Put(String, Vec<u8>),
    /// Forget this key.
    Remove(String),
}

/// A fact that cannot be read back.
#[derive(Debug, thiserror::Error)]
#[error("fact {key} is not readable: {source}")]
pub struct BadFact {
    /// Its key.
    pub key: String,
    /// What the JSON reader says.
    pub source: serde_json::Error,
}

#[derive(Serialize)]
struct Written<'a> {
    subject: &'a Subject,
    state: &'a State,
    /// Since when its binding is not configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    orphaned: Option<Wall>,
}

#[derive(Deserialize)]
struct Read {
    subject: Subject,
    state: State,
    #[serde(default)]
    orphaned: Option<Wall>,
}

/// Key of a subject's fact.
pub fn key(subject: &Subject) -> String {
    match subject {
        Subject::Binding(binding) => format!("{PREFIX}binding/{binding}"),
        Subject::Route(binding, destination) => format!("{PREFIX}route/{binding}/{destination}"),
    }
}

pub(super) fn write(subject: &Subject, state: &State, orphaned: Option<Wall>) -> Option<Vec<u8>> {
    if state.is_blank() {
        return None;
    }
    // Names, numbers and texts always serialise; were it ever otherwise, losing one fact is better than stopping.
    serde_json::to_vec(&Written { subject, state, orphaned }).ok()
}

pub(super) fn read(key: &str, bytes: &[u8]) -> Result<(Subject, State, Option<Wall>), BadFact> {
    serde_json::from_slice::<Read>(bytes)
        .map(|read| (read.subject, read.state, read.orphaned))
        .map_err(|source| BadFact { key: key.to_owned(), source })
}
