//! The message of a transaction, and what the host's EHLO reply says about it before it is asked.
//!
//! Refused here is what a host without the extension could only refuse or garble; there is no second way to send it.

use crate::delivery::dot;
use crate::delivery::greeting::Capabilities;
use crate::message::header::Headers;
use crate::message::wishes::Return;
use crate::message::xtext::Xtext;
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

    /// The message as it is sent in a chunk: what [`Mail::announced_size`] counts.
    pub fn octets(&self) -> [&[u8]; 3] {
        let missing = dot::announced_size(self.body) - self.body.len() as u64;
        [self.head, self.body, if missing > 0 { b"\r\n" } else { b"" }]
    }

    /// RET: as the client asked, but no whole message comes back of one with REQUIRETLS (RFC 8689 §5); with an envelope id of
    /// our own no more than the header is of use.
    pub(super) fn ret(&self) -> Option<Return> {
        let is_kept_close = self.wishes.tls == TlsWish::Required;
        let asked = self.wishes.ret.map(|ret| if is_kept_close { Return::Headers } else { ret });
        asked.or_else(|| self.own_envid().map(|_| Return::Headers))
    }

    /// ENVID: the client's, else ours.
    pub(super) fn envid(&self) -> Option<&str> {
        self.wishes.envelope_id.as_ref().map(Xtext::as_str).or_else(|| self.own_envid())
    }

    fn own_envid(&self) -> Option<&str> {
        self.envelope_id.filter(|id| self.wishes.envelope_id.is_none() && is_plain(id))
    }

    /// Whether there is anything to be said in terms of DSN.
    pub(super) fn says_dsn(&self) -> bool {
        let is_any_wish = |path: &ForwardPath| !path.wishes.is_none();
        self.ret().is_some() || self.envid().is_some() || self.recipients.iter().any(is_any_wish)
    }

    /// Whether the mail goes to no host without SMTPUTF8 as it is: the client said so, and envelope or header hold it.
    pub(super) fn needs_utf8(&self) -> bool {
        let is_ascii = |mailbox: &Mailbox| mailbox.as_str().is_ascii();
        let has_plain_envelope =
            self.reverse_path.is_none_or(is_ascii) && self.recipients.iter().all(|path| is_ascii(&path.address));
        self.wishes.utf8 && !(has_plain_envelope && self.has_plain_header())
    }

    /// Whether the header of the message is ASCII.
    pub(super) fn has_plain_header(&self) -> bool {
        self.body[..Headers::of(self.body).size()].is_ascii()
    }
}

/// Whether a text is its own xtext (RFC 3461 §4): our own envelope ids are letters and digits.
fn is_plain(envelope_id: &str) -> bool {
    (1..=100).contains(&envelope_id.len()) && envelope_id.bytes().all(|byte| byte.is_ascii_alphanumeric())
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
