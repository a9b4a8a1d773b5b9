//! The results of SPF (RFC 7208 §2.6) and what they mean here. Pure.

use serde::{Deserialize, Serialize};

/// What is known of a binding and a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The record allows it.
    Covered,
    /// There is no record, or it says nothing about it.
    NoStatement,
    /// The record does not allow it, or cannot be interpreted.
    NotCovered,
    /// Nothing is proven (yet, or any more).
    Unknown,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Covered, Self::NoStatement, Self::NotCovered, Self::Unknown];

    /// Stable text, as in metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Covered => "covered",
            Self::NoStatement => "no_statement",
            Self::NotCovered => "not_covered",
            Self::Unknown => "unknown",
        }
    }
}

/// What SPF says (RFC 7208 §2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The address may send for the domain (§2.6.3).
    Pass,
    /// It may not (§2.6.4).
    Fail,
    /// It probably may not (§2.6.5).
    SoftFail,
    /// The domain says nothing about it (§2.6.2).
    Neutral,
    /// The domain has no record (§2.6.1).
    None,
    /// DNS did not answer in full: nothing is known (§2.6.6).
    TempError,
    /// The record cannot be interpreted (§2.6.7): to many receivers as bad as a fail.
    PermError,
}

impl Outcome {
    /// What it means for mail from that binding; `None` where nothing is known.
    pub fn state(self) -> Option<State> {
        match self {
            Self::Pass => Some(State::Covered),
            Self::Neutral | Self::None => Some(State::NoStatement),
            // Receivers count a soft fail against mail, and many a broken record as well.
            Self::Fail | Self::SoftFail | Self::PermError => Some(State::NotCovered),
            Self::TempError => None,
        }
    }

    /// As in `Received-SPF` (§9.1).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::Neutral => "neutral",
            Self::None => "none",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// The answer of one evaluation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// What SPF says.
    pub outcome: Outcome,
    /// Why, in words, where it can be told. A stranger's text in it has no control characters and is cut short.
    pub reason: Option<String>,
    /// The domain's record, cut short and without control characters.
    pub record: Option<String>,
}

impl Answer {
    /// An answer about a domain whose record is not known.
    pub(super) fn without_record(outcome: Outcome, reason: impl Into<String>) -> Self {
        Self { outcome, reason: Some(reason.into()), record: None }
    }
}
