//! The record of mail that waits: one [`Entry`] per message × pool × recipient domain.
//!
//! An entry is what the queue moves and what the spool keeps beside the body. It holds only recipients that still wait:
//! one that was delivered or bounced is taken off in the same commit that records the fact, so after a crash nobody is
//! served twice for want of memory. The binding that will carry it is not part of it (it is chosen at each attempt);
//! only what earlier attempts taught is: which binding to prefer and which to avoid.

use serde::{Deserialize, Serialize};

use super::address::{Domain, Mailbox};
use super::id::{BindingName, EntryId, MessageId, PoolName, StreamName, TenantName};
use super::wishes::{RecipientWishes, Wishes};
use crate::clock::Wall;

/// One group of recipients of one message, waiting for delivery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Key of this record.
    pub id: EntryId,
    /// Key of the body in the spool; shared by all entries of the message.
    pub message: MessageId,
    /// Whose mail it is.
    pub tenant: TenantName,
    /// Kind of mail.
    pub stream: StreamName,
    /// The pool it may leave from.
    pub pool: PoolName,
    /// The domain all `recipients` share.
    pub domain: Domain,
    /// Reverse path; `None` is the null reverse path `<>` (RFC 5321 §4.5.5).
    pub reverse_path: Option<Mailbox>,
    /// Those who still wait. Never empty.
    pub recipients: Vec<Recipient>,
    /// When the message was accepted.
    pub arrived: Wall,
    /// When it is given up and reported to its sender.
    pub expires: Wall,
    /// Octets of the body as it will be sent, before dot-stuffing.
    pub size: u64,
    /// Whether the body holds octets above 127 (`BODY=8BITMIME`, RFC 6152).
    pub eight_bit: bool,
    /// What the client asked for with MAIL.
    #[serde(default, skip_serializing_if = "Wishes::is_none")]
    pub wishes: Wishes,
    /// What earlier attempts left behind.
    #[serde(default)]
    pub state: EntryState,
}

/// A recipient as RCPT names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardPath {
    /// Who.
    pub address: Mailbox,
    /// What was asked for.
    pub wishes: RecipientWishes,
}

impl From<Mailbox> for ForwardPath {
    fn from(address: Mailbox) -> Self {
        Self { address, wishes: RecipientWishes::default() }
    }
}

/// A recipient that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// Forward path.
    pub address: Mailbox,
    /// What the client asked for with RCPT.
    #[serde(default, skip_serializing_if = "RecipientWishes::is_none")]
    pub wishes: RecipientWishes,
    /// What the last attempt said.
    #[serde(default)]
    pub state: RecipientState,
}

impl Recipient {
    /// As RCPT names it.
    pub fn forward_path(&self) -> ForwardPath {
        ForwardPath { address: self.address.clone(), wishes: self.wishes.clone() }
    }
}

/// What is known of a waiting recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientState {
    /// The last reply (or a description of a failure without one), as it will be shown in a DSN.
    pub last_reply: Option<String>,
    /// The host that gave it.
    pub last_host: Option<String>,
    /// Distinct bindings that were refused for this recipient with the same rule that blames the IP.
    #[serde(default)]
    pub blamed: Vec<BindingName>,
}

/// What earlier attempts left behind for the whole entry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EntryState {
    /// Attempts made: those that reached a receiver or tried to. Our own waiting is none (invariant 5).
    pub attempts: u32,
    /// Not before this moment; zero for "at once".
    pub next_at: Wall,
    /// The binding to prefer (greylisting remembers the client), and for how many more tries.
    pub sticky: Option<(BindingName, u8)>,
    /// Bindings that must not be used, each until a moment: their IP was blamed for this entry.
    pub excluded: Vec<(BindingName, Wall)>,
    /// What the rewritten return paths of earlier attempts were made of, one for each binding, the one used last at the
    /// end. Empty where return paths are not rewritten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub return_paths: Vec<ReturnPath>,
    /// How often its sender was told that it still waits.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub delay_reports: u8,
    /// Kept back by an operator. One whose end has come is none any more: ask [`EntryState::held_at`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Hold>,
}

fn is_zero(count: &u8) -> bool {
    *count == 0
}

impl From<ForwardPath> for Recipient {
    fn from(ForwardPath { address, wishes }: ForwardPath) -> Self {
        Self { address, wishes, state: RecipientState::default() }
    }
}

impl From<Mailbox> for Recipient {
    fn from(address: Mailbox) -> Self {
        ForwardPath::from(address).into()
    }
}

impl EntryState {
    /// By whom and why the entry is kept back at this moment, if it is.
    pub fn held_at(&self, now: Wall) -> Option<&Hold> {
        self.held.as_ref().filter(|hold| hold.until.is_none_or(|until| until > now))
    }
}

/// An operator keeps an entry back: no attempt is made for it. Its lifetime goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Why, in the operator's words.
    pub reason: String,
    /// Who.
    pub actor: String,
    /// Since when.
    pub at: Wall,
    /// When it ends by itself; `None` until it is released.
    pub until: Option<Wall>,
}

impl Hold {
    /// Whether it keeps the entry back for longer than `other`.
    pub fn outlasts(&self, other: &Self) -> bool {
        match (self.until, other.until) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(own), Some(others)) => own > others,
        }
    }
}

/// What the rewritten return path of an entry over one binding is made of, besides what never changes: enough to make
/// the same again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnPath {
    /// Over which binding.
    pub binding: BindingName,
    /// When it was first used.
    pub at: Wall,
    /// Recipients that waited then; 255 also stands for more.
    pub recipients: u8,
}
