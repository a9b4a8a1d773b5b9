//! The results of SPF (RFC 7208 §2.6) and what they mean here. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::Family;

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
    /// As [`Reason::NotAllowed`], of this one of two addresses.
    NotAllowedIn(Family),
    /// As [`Reason::Soft`], of this one of two addresses.
    SoftIn(Family),
    /// As [`Reason::Silent`], of this one of two addresses.
    SilentIn(Family),
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
            Self::NotAllowedIn(family) => return write!(f, "the record does not allow the {} address", family.name()),
            Self::SoftIn(family) => return write!(f, "the record ends in ~ for the {} address", family.name()),
            Self::SilentIn(family) => return write!(f, "the record says nothing about the {} address", family.name()),
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

/// What the record says of a binding by what it says of its two addresses: the worse of both. What is proven bad of one is
/// bad, whatever the other one is; what is not known of one is not known.
pub fn worst(first: (Family, Answer), second: (Family, Answer)) -> (Family, Answer) {
    let severity = |answer: &Answer| match answer.outcome.state() {
        Some(State::Covered) => 0,
        Some(State::NoStatement) => 1,
        None | Some(State::Unknown) => 2,
        Some(State::NotCovered) => 3,
    };
    let (of_first, of_second) = (severity(&first.1), severity(&second.1));
    if of_first == of_second {
        return first;
    }
    let (family, worse) = if of_first > of_second { first } else { second };
    let reason = worse.reason.map(|reason| match reason {
        Reason::NotAllowed => Reason::NotAllowedIn(family),
        Reason::Soft => Reason::SoftIn(family),
        Reason::Silent => Reason::SilentIn(family),
        other => other,
    });
    (family, Answer { reason, ..worse })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_addresses_the_worse_one_counts_and_is_named() {
        use Outcome::{Fail, Neutral, Pass, SoftFail, TempError};
        let answer = |outcome: Outcome| {
            let reason = match outcome {
                Pass => None,
                Fail => Some(Reason::NotAllowed),
                SoftFail => Some(Reason::Soft),
                Neutral => Some(Reason::Silent),
                _ => Some(Reason::Unanswered),
            };
            Answer { outcome, reason, said: None, record: None }
        };
        for (v4, v6, outcome, words) in [
            (Pass, Pass, Pass, ""),
            (Pass, Fail, Fail, "the record does not allow the IPv6 address"),
            (SoftFail, Pass, SoftFail, "the record ends in ~ for the IPv4 address"),
            (Pass, Neutral, Neutral, "the record says nothing about the IPv6 address"),
            (Pass, TempError, TempError, "name servers do not answer"),
            (TempError, Fail, Fail, "the record does not allow the IPv6 address"),
            (Neutral, TempError, TempError, "name servers do not answer"),
            (Fail, Fail, Fail, "the record does not allow the address"),
        ] {
            let (_, worst) = worst((Family::V4, answer(v4)), (Family::V6, answer(v6)));
            assert_eq!(
                (worst.outcome, worst.words().unwrap_or_default()),
                (outcome, words.to_owned()),
                "{v4:?} {v6:?}"
            );
        }
    }
}
