//! Who had sent a message whose return path was rewritten, so that what comes back can be passed on.
//!
//! A bounce to a rewritten return path reaches us instead of the sender, who has a right to it. The original reverse path
//! is not in the mark (it would not fit, and it is nobody's business), so it is written down when recipients of the
//! message are delivered, in the commit that removes them from the queue, and forgotten when reports are no longer
//! accepted.

use serde::{Deserialize, Serialize};

use crate::message::{Mailbox, MessageId, TenantName};

/// The sender of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sender {
    /// The reverse path as the client gave it.
    pub address: Mailbox,
    /// Whose mail it was.
    pub tenant: TenantName,
}

impl Sender {
    /// What the keys of these facts begin with.
    pub const PREFIX: &str = "sender/";

    /// The fact's key. Keys lie in order of the messages' acceptance.
    pub fn key(message: MessageId) -> String {
        format!("{}{message}", Self::PREFIX)
    }

    /// The fact as it was stored; `None` where it cannot be read.
    pub fn read(stored: &[u8]) -> Option<Self> {
        serde_json::from_slice(stored).ok()
    }

    /// The fact's value.
    pub fn to_json(&self) -> Vec<u8> {
        // Two texts always serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_back_and_keys_lie_in_order() {
        let sender = Sender { address: "\"odd one\"@acme.example".parse().expect("valid"), tenant: "acme".into() };
        assert_eq!(Sender::read(&sender.to_json()), Some(sender));
        assert_eq!(Sender::read(b""), None);
        let ids = [1u64, 31, 32, 1 << 20, 1 << 44, u64::MAX];
        assert!(ids.map(|id| Sender::key(MessageId(id))).is_sorted());
    }
}
