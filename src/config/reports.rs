//! `[reports]`: what senders are told of mail that was not delivered, late, or passed on.

use std::path::PathBuf;

use crate::message::Mailbox;

/// `[reports]`
#[derive(Clone, Debug)]
pub struct Reports {
    /// File with the texts for people; `None` is the English text.
    pub template: Option<PathBuf>,
    /// What becomes of a bounce that cannot be delivered. Default drop.
    pub double_bounce: DoubleBounce,
    /// Octets of a message that is returned whole, where its sender asked for that; of a larger one the header is
    /// returned. Default 50 KiB.
    pub max_returned_bytes: u64,
}

/// `[reports] double_bounce`: mail with the null reverse path that fails; nobody is told of it by mail (RFC 5321 §4.5.5),
/// but its operator may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DoubleBounce {
    /// Counted and noted, and that is all.
    Drop,
    /// Reported to this address, `postmaster`.
    Postmaster(Mailbox),
}
