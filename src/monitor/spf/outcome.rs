//! The results of SPF (RFC 7208 §2.6) and what they mean here. Pure.

use std::fmt;

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

/// Why an evaluation came to its result. A few octets, since the table has one for each domain and binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The record cannot be read (§4.6).
    Syntax,
    /// So many records where one is allowed (§4.5).
    Several(u16),
    /// The record does not allow the address.
    NotAllowed,
    /// It ends in `~`.
    Soft,
    /// It says nothing about the address.
    Silent,
    /// An include or redirect leads nowhere, or there are too many look-ups (§4.6.4).
    Include,
    /// There is no such domain.
    NoDomain,
    /// The domain has no record.
    NoRecord,
    /// The record went while it was read.
    Changed,
    /// Name servers that the record leads to do not answer.
    Elsewhere,
    /// The domain's name servers do not answer.
    Unanswered,
    /// It took too long in all.
    Slow,
    /// Name servers answer with this code.
    Code(&'static str),
    /// The question could not be put.
    Failed(&'static str),
    /// The evaluation itself went wrong.
    WentWrong,
    /// Not asked: enough other bindings had no answer.
    GaveUp,
    /// Our own name servers are proven to lie.
    Distrusted,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Several(count) => {
                return write!(f, "the domain has {count} SPF records; one is allowed (RFC 7208 section 4.5)");
            }
            Self::Code(code) => return write!(f, "name servers answer {code}"),
            Self::Failed(why) => return write!(f, "the question failed: {why}"),
            Self::Syntax => "the record has a mistake in its syntax",
            Self::NotAllowed => "the record does not allow the address",
            Self::Soft => "the record ends in ~ for the address",
            Self::Silent => "the record says nothing about the address",
            Self::Include => "an include or redirect leads to no valid record, or more than ten look-ups are needed",
            Self::NoDomain => "the domain does not exist",
            Self::NoRecord => "the domain has no SPF record",
            Self::Changed => "the record changed while it was read",
            Self::Elsewhere => "a name server that the record leads to did not answer",
            Self::Unanswered => "name servers do not answer",
            Self::Slow => "name servers took too long",
            Self::WentWrong => "the evaluation went wrong",
            Self::GaveUp => "not asked: other bindings had no answer",
            Self::Distrusted => "not asked: our own name servers are not to be believed",
        })
    }
}

/// The answer of one evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What SPF says.
    pub outcome: Outcome,
    /// Why, unless it passed.
    pub reason: Option<Reason>,
    /// What the domain says to those it does not allow (`exp=`, §6.2), cut short and without control characters.
    pub said: Option<String>,
    /// The domain's record, cut short and without control characters.
    pub record: Option<String>,
}

impl Answer {
    /// An answer about a domain whose record is not known.
    pub(super) fn without_record(outcome: Outcome, reason: Reason) -> Self {
        Self { outcome, reason: Some(reason), said: None, record: None }
    }

    /// Why, in words, unless it passed.
    pub fn words(&self) -> Option<String> {
        let reason = self.reason?.to_string();
        Some(self.said.as_ref().map_or(reason, |said| format!("the domain says: {said}")))
    }
}
