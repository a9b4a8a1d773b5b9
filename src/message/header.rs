//! The header section of a message, read in place.
//!
//! A relay looks at few fields and must not disturb the rest: signatures cover the octets as they are. So nothing is
//! parsed into a model. [`Headers`] walks the section, [`rewrite`] copies a message once, with a trace line in front
//! and some fields left out, and every other octet stays as it was.
//!
//! The section ends at the first empty line (RFC 5322 §2.1), or with the message where there is none. Lines that are
//! no field (no colon, a space in the name, a stray `From `) are stepped over, not taken as the end: otherwise one bad
//! line would hide the `Received:` lines below it from loop detection and a control header from removal.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;

use bytes::{BufMut, Bytes, BytesMut};

use super::address::{Domain, Mailbox};
use super::id::MessageId;
use crate::clock::Wall;

/// The header section of a message.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    section: &'a [u8],
}

/// One field with all its continuation lines, or a line that is no field.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    start: usize,
    raw: &'a [u8],
    colon: Option<usize>,
}

/// The fields of a section from top to bottom.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
    start: usize,
}

impl<'a> Headers<'a> {
    /// The header section of `message` (header, empty line, body).
    pub fn of(message: &'a [u8]) -> Self {
        Self { section: &message[..section_end(message)] }
    }

    /// Octets of the section, the empty line not included.
    pub fn size(self) -> usize {
        self.section.len()
    }

    /// All fields, from top to bottom.
    pub fn fields(self) -> Fields<'a> {
        Fields { rest: self.section, start: 0 }
    }

    /// Values of all fields of this name (any case), unfolded and trimmed, from top to bottom.
    pub fn all(self, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
        self.fields().filter(move |field| field.is(name)).map(|field| field.value())
    }

    /// Value of the first field of this name (any case), unfolded and trimmed.
    pub fn first(self, name: &str) -> Option<Cow<'a, str>> {
        self.all(name).next()
    }

    /// How many fields have this name (any case).
    pub fn count(self, name: &str) -> usize {
        self.fields().filter(|field| field.is(name)).count()
    }
}

/// Length of the header section: up to the empty line, its last CRLF included.
fn section_end(message: &[u8]) -> usize {
    if message.starts_with(b"\r\n") {
        return 0;
    }
    memchr::memmem::find(message, b"\r\n\r\n").map_or(message.len(), |at| at + 2)
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let mut end = line_end(self.rest, 0);
        while matches!(self.rest.get(end), Some(b' ' | b'\t')) {
            end = line_end(self.rest, end);
        }
        let (raw, rest) = self.rest.split_at(end);
        let field = Field { start: self.start, raw, colon: colon_of(raw) };
        self.rest = rest;
        self.start += end;
        Some(field)
    }
}

/// Where the line that starts at `from` ends, its LF included.
fn line_end(text: &[u8], from: usize) -> usize {
    memchr::memchr(b'\n', &text[from..]).map_or(text.len(), |at| from + at + 1)
}

/// Where the colon after the field's name is; `None` where the line is no field.
fn colon_of(raw: &[u8]) -> Option<usize> {
    let colon = memchr::memchr(b':', raw)?;
    let name = field_name(&raw[..colon]);
    (!name.is_empty() && name.iter().all(|byte| matches!(byte, 33..=126))).then_some(colon)
}

/// Takes off white space before the colon, but no line end: a name stands on one line.
fn field_name(before_colon: &[u8]) -> &[u8] {
    let end = before_colon.iter().rposition(|byte| !matches!(byte, b' ' | b'\t')).map_or(0, |last| last + 1);
    &before_colon[..end]
}

impl<'a> Field<'a> {
    /// The name as written; empty where the line is no field. White space before the colon (RFC 5322 §4.5) is not
    /// part of it.
    pub fn name(&self) -> &'a [u8] {
        self.colon.map_or(&[], |colon| field_name(&self.raw[..colon]))
    }

    /// All its octets, continuation lines and last line end included.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Whether the name is `name`, in any case.
    pub fn is(&self, name: &str) -> bool {
        self.name().eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value, unfolded (RFC 5322 §2.2.3) and trimmed; octets that are no UTF-8 are replaced.
    pub fn value(&self) -> Cow<'a, str> {
        let value = self.raw[self.colon.map_or(0, |colon| colon + 1)..].trim_ascii();
        if memchr::memchr2(b'\r', b'\n', value).is_none() {
            return String::from_utf8_lossy(value);
        }
        let unfolded: Vec<u8> = value.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
        Cow::Owned(String::from_utf8_lossy(&unfolded).into_owned())
    }

    /// Its octets in the message, continuation lines and last line end included.
    pub(crate) fn range(&self) -> std::ops::Range<usize> {
        self.start..self.start + self.raw.len()
    }
}

/// A copy of `message` with `prepend` (whole lines) in front and without the fields named in `remove` (any case, all
/// occurrences, continuation lines included). Allocates once; everything else stays octet by octet.
pub fn rewrite(message: &[u8], prepend: &[u8], remove: &[String]) -> Bytes {
    let mut copy = BytesMut::with_capacity(prepend.len() + message.len());
    copy.put_slice(prepend);
    let mut kept_from = 0;
    for field in Headers::of(message).fields() {
        if remove.iter().any(|name| field.is(name)) {
            let range = field.range();
            copy.put_slice(&message[kept_from..range.start]);
            kept_from = range.end;
        }
    }
    copy.put_slice(&message[kept_from..]);
    copy.freeze()
}

/// What a `Received:` line of ours says (RFC 5321 §4.4).
#[derive(Clone, Copy, Debug)]
pub struct Trace<'a> {
    /// The name the client gave in EHLO or HELO.
    pub helo: &'a str,
    /// The client's address.
    pub client: IpAddr,
    /// The TLS session it came by, in words; `None` in the clear.
    pub tls: Option<&'a str>,
    /// Our own name.
    pub by: &'a Domain,
    /// `ESMTP`, `SMTP` and their forms with letters for AUTH and TLS (RFC 3848, RFC 6531 §4.3).
    pub protocol: &'a str,
    /// Id of the message.
    pub id: MessageId,
    /// The recipient, where there is only one: several must not learn of each other (RFC 5321 §7.2).
    pub recipient: Option<&'a Mailbox>,
    /// When the message was accepted.
    pub at: Wall,
}

impl Trace<'_> {
    /// The line, folded, with its CRLF.
    pub fn to_line(&self) -> String {
        let mut line = String::with_capacity(256);
        let tag = if self.client.is_ipv6() { "IPv6:" } else { "" };
        // Writing to a String cannot fail.
        let _ = write!(line, "Received: from {} ([{tag}{}])", self.helo, self.client);
        if let Some(tls) = self.tls {
            let _ = write!(line, "\r\n\t(using {tls})");
        }
        let _ = write!(line, "\r\n\tby {} with {} id {}", self.by, self.protocol, self.id);
        // RFC 6531 §4.3 lets it stand there; but then the mail needs SMTPUTF8 on all its way, even where it could do without.
        if let Some(recipient) = self.recipient.filter(|recipient| recipient.is_ascii()) {
            let _ = write!(line, "\r\n\tfor <{recipient}>");
        }
        let _ = write!(line, "; {}\r\n", date(self.at));
        line
    }
}

/// A date as RFC 5322 §3.3 writes it, in UTC. Years outside 0–9999, which that form cannot write, become 1970.
pub fn date(at: Wall) -> String {
    let write = |timestamp: jiff::Timestamp| {
        let utc = timestamp.to_zoned(jiff::tz::TimeZone::UTC);
        jiff::fmt::rfc2822::DateTimePrinter::new().zoned_to_string(&utc)
    };
    write(at.timestamp()).or_else(|_| write(jiff::Timestamp::UNIX_EPOCH)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MESSAGE: &[u8] = b"Received: a\r\n\tby b\r\nSubject: one\r\n two\r\nX-Remuda-Tenant : acme\r\n folded\r\n\
                             RECEIVED:c\r\nx-remuda-tenant: other\r\nTo: x@y\r\n\r\nSubject: body\r\n";

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn fields_are_found_in_any_case_and_unfolded() {
        let headers = Headers::of(MESSAGE);
        assert_eq!(headers.first("subject").as_deref(), Some("one two"));
        assert_eq!(headers.all("X-Remuda-Tenant").collect::<Vec<_>>(), ["acme folded", "other"]);
        assert_eq!(headers.count("received"), 2);
        assert_eq!(headers.first("Cc"), None);
        assert_eq!(headers.size(), MESSAGE.len() - b"\r\nSubject: body\r\n".len());
    }

    #[test]
    fn control_headers_go_with_their_continuation_lines_and_nothing_else_changes() {
        let rewritten = rewrite(MESSAGE, b"Received: new\r\n", &names(&["X-REMUDA-Tenant"]));
        let expected = "Received: new\r\nReceived: a\r\n\tby b\r\nSubject: one\r\n two\r\nRECEIVED:c\r\nTo: x@y\r\n\r\n\
                        Subject: body\r\n";
        assert_eq!(String::from_utf8_lossy(&rewritten), expected);
    }

    #[test]
    fn a_field_in_the_body_is_no_field() {
        let message = b"A: 1\r\n\r\nX: 2\r\n";
        assert_eq!(Headers::of(message).first("X"), None);
        assert_eq!(&rewrite(message, b"", &names(&["x"]))[..], message);
    }

    #[test]
    fn malformed_sections_survive() {
        for (message, found) in [
            ("", None),
            ("\r\n", None),
            ("\r\nX: 1\r\n", None),
            ("no colon here\r\nX: 1\r\n\r\nbody\r\n", Some("1")),
            ("From me Mon Jan 1\r\nX: 1\r\n\r\n", Some("1")),
            (" continued from nothing\r\nX: 1\r\n\r\n", Some("1")),
            (": empty name\r\nX: 1\r\n", Some("1")),
            ("X:\r\n", Some("")),
            ("X: 1", Some("1")),
            ("X: 1\nY: 2\n", Some("1")),
            ("X\r\n : 1\r\n", None),
            ("X: \r\n\t\r\n 1\r\n\r\n", Some("1")),
        ] {
            assert_eq!(Headers::of(message.as_bytes()).first("x").as_deref(), found, "{message:?}");
            assert_eq!(&rewrite(message.as_bytes(), b"", &[])[..], message.as_bytes());
        }
    }

    #[test]
    fn trace_line_names_the_client_and_a_single_recipient() {
        let by: Domain = "relay.example.net".parse().expect("valid");
        let to: Mailbox = "a@example.org".parse().expect("valid");
        let mut trace = Trace {
            helo: "app.example.com",
            client: "192.0.2.7".parse().expect("valid"),
            tls: None,
            by: &by,
            protocol: "ESMTP",
            id: MessageId(0),
            recipient: Some(&to),
            at: Wall::from_millis(1_795_000_000_000),
        };
        assert_eq!(
            trace.to_line(),
            "Received: from app.example.com ([192.0.2.7])\r\n\tby relay.example.net with ESMTP id 0000000000000\r\n\
             \tfor <a@example.org>; Wed, 18 Nov 2026 11:06:40 +0000\r\n"
        );
        trace.recipient = None;
        trace.client = "2001:db8::7".parse().expect("valid");
        assert!(trace.to_line().contains("([IPv6:2001:db8::7])"));
        assert!(!trace.to_line().contains("for <"));
        trace.tls = Some("TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 key-exchange X25519MLKEM768");
        let (tls, with_tls) = (trace.tls.unwrap_or_default(), trace.to_line());
        assert!(with_tls.contains(&format!("2001:db8::7])\r\n\t(using {tls})\r\n\tby relay")), "{with_tls}");
        assert!(date(Wall::from_millis(i64::MIN)).contains("1970"));
    }

    proptest! {
        #[test]
        fn fields_cover_the_section_without_gaps(message in "[aX: \t\r\n]{0,60}") {
            let headers = Headers::of(message.as_bytes());
            let mut at = 0;
            for field in headers.fields() {
                prop_assert_eq!(field.range().start, at);
                at = field.range().end;
            }
            prop_assert_eq!(at, headers.size());
        }

        #[test]
        fn removed_fields_are_gone(message in "(X: 1|Y: 2| c|z|\r\n|\r\n){0,20}") {
            let rewritten = rewrite(message.as_bytes(), b"", &["X".to_owned()]);
            prop_assert_eq!(Headers::of(&rewritten).count("X"), 0);
        }
    }
}
