//! Failures without a reply: refused, timed out, reset, not bindable.

use std::fmt;

use super::Stage;

/// An attempt that ended without a reply to judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What happened.
    pub kind: FailureKind,
    /// Where in the dialogue.
    pub stage: Stage,
    /// Details for the log and the DSN: errno text, host.
    pub detail: String,
}

/// What happened instead of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The binding's source address could not be bound: that binding's fault, never a reason to use another address.
    Bind,
    /// The TCP connection was refused.
    Refused,
    /// Network or host unreachable.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// The connection broke.
    Reset,
    /// The connection is not as safe as somebody demands: no TLS, or a certificate that does not do.
    Tls,
    /// The peer does not speak SMTP (unparsable or impossible reply).
    Protocol,
    /// No host of the destination could be looked up or has an address of the binding's family.
    NoAddress,
    /// We stopped it ourselves (shutdown, spool trouble).
    Aborted,
}

impl FailureKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Bind,
        Self::Refused,
        Self::Unreachable,
        Self::TimedOut,
        Self::Reset,
        Self::Tls,
        Self::Protocol,
        Self::NoAddress,
        Self::Aborted,
    ];

    /// Stable text, as in rule ids (`failure.timed_out`).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Reset => "reset",
            Self::Tls => "tls",
            Self::Protocol => "protocol",
            Self::NoAddress => "no_address",
            Self::Aborted => "aborted",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.kind.as_str(), self.stage.as_str(), self.detail)
    }
}
