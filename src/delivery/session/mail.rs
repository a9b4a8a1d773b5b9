//! The message of a transaction, and what the host's EHLO reply says about it before it is asked.
//!
//! Refused here is what a host without the extension could only refuse or garble; there is no second way to send it.

use crate::delivery::dot;
use crate::delivery::greeting::Capabilities;
use crate::message::{ForwardPath, Mailbox, TlsWish, Wishes};
use crate::outcome::{EnhancedCode, Reply};

/// The message of a transaction.
#[derive(Clone, Copy, Debug)]
pub struct Mail<'a> {
    /// `None` is the null reverse path.
    pub reverse_path: Option<&'a Mailbox>,
    /// At least one.
    pub recipients: &'a [ForwardPath],
    /// Sent before the body: whole header fields with CRLF line ends, or nothing.
    pub head: &'a [u8],
    /// With CRLF line ends, before dot-stuffing.
    pub body: &'a [u8],
    /// Envelope id for hosts that offer DSN: letters and digits.
    pub envelope_id: Option<&'a str>,
    /// Holds octets above 127.
    pub eight_bit: bool,
    /// What the client asked for with MAIL.
    pub wishes: &'a Wishes,
}

impl Mail<'_> {
    /// Octets as SIZE counts them, head and body.
    pub(super) fn announced_size(&self) -> u64 {
        self.head.len() as u64 + dot::announced_size(self.body)
    }
}

/// The refusal that the host's EHLO reply already holds, if any.
pub(super) fn answered_by_ehlo(mail: &Mail<'_>, offers: Capabilities) -> Option<Reply> {
    if mail.wishes.tls == TlsWish::Required && !offers.require_tls {
        return Some(no_require_tls("the host"));
    }
    let size = mail.announced_size();
    if let Some(limit) = offers.size_limit.filter(|limit| size > limit.get()) {
        let text = format!("message size {size} exceeds the limit of {limit} octets announced by the host");
        return Some(Reply { code: 552, enhanced: Some(EnhancedCode { class: 5, subject: 3, detail: 4 }), text });
    }
    if mail.eight_bit && !offers.eight_bit_mime {
        let text = "message has eight-bit data and the host does not offer 8BITMIME".to_owned();
        return Some(Reply { code: 554, enhanced: Some(EnhancedCode { class: 5, subject: 6, detail: 3 }), text });
    }
    None
}

/// What mail with REQUIRETLS comes to at a host that does not offer it (RFC 8689 §4.2.1, X.7.30).
pub fn no_require_tls(host: &str) -> Reply {
    let text = format!("REQUIRETLS support required: {host} does not offer it");
    Reply { code: 550, enhanced: Some(EnhancedCode { class: 5, subject: 7, detail: 30 }), text }
}

/// What it comes to at a host without TLS (RFC 8689 §4.2.1, RFC 5248 X.7.10).
pub fn encryption_needed(host: &str) -> Reply {
    let text = format!("Encryption needed: {host} offers no STARTTLS and the message has REQUIRETLS");
    Reply { code: 550, enhanced: Some(EnhancedCode { class: 5, subject: 7, detail: 10 }), text }
}
