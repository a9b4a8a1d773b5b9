//! Reports to the sender (RFC 3464): mail that could not be delivered, is late, or was passed on to where nobody reports.
//!
//! Written by hand and not by a mail library: the report has to be made of given values alone (a library brings its own
//! clock, host name and random boundary), its second part must never be encoded in a way its type forbids, and everything a
//! receiver said is hostile text. A report is 7-bit ASCII in short lines, so it passes any relay: what is not printable
//! ASCII becomes `?`, in replies as in the headers that are sent back. Two exceptions, both asked for by the sender: a whole
//! message that is returned stays as it was, and an address beyond ASCII makes the types those of RFC 6533, whose UTF-8 is
//! encoded; only where the sender itself has such an address must the report's own header hold it.
//!
//! The caller sends it with the null reverse path (RFC 3464 §2) and never makes one for a message that had it, but for the
//! postmaster (`is_double_bounce`). [`texts`] holds the words for people, [`people`] and [`programs`] write the first two
//! parts, [`original`] is the third where there is one, [`told`] says who is to be told of what.

mod original;
mod people;
mod programs;
#[cfg(test)]
mod tests;
mod text;
mod texts;
mod told;

use bytes::Bytes;

use self::original::original;
use self::people::{for_people, general};
use self::programs::for_programs;
use self::text::{date, field, word};
pub use self::texts::Texts;
use self::texts::fill;
pub use self::told::{due_delay_reports, is_told, next_delay_report, relays_to_tell};
use crate::clock::Wall;
use crate::message::Mailbox;
use crate::message::encoding::{encoded_words, quoted_printable};
use crate::message::wishes::OriginalRecipient;
use crate::message::xtext::Xtext;

/// What a report is made of.
#[derive(Clone, Copy, Debug)]
pub struct ReportInput<'a> {
    /// Name of this relay: `Reporting-MTA`, and the domain of `From` and `Message-ID`.
    pub hostname: &'a str,
    /// Left side of the report's own `Message-ID`: unique here, letters and digits.
    pub id: &'a str,
    /// The sender of the message: its reverse path. Or the postmaster.
    pub to: &'a Mailbox,
    /// The report is about a message with the null reverse path.
    pub is_double_bounce: bool,
    /// The original message, or the beginning of it where only its headers are returned.
    pub original: &'a [u8],
    /// How much of it is returned.
    pub extent: Extent,
    /// ENVID of the message, as its sender gave it.
    pub envelope_id: Option<&'a Xtext>,
    /// Those it is about. At least one.
    pub recipients: &'a [Reported<'a>],
    /// When the message was accepted.
    pub arrived: Wall,
    /// Until when it is tried.
    pub until: Wall,
    /// The moment of the report.
    pub now: Wall,
}

/// How much of the message is returned (RET, RFC 3461 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Its header.
    Headers,
    /// All of it.
    Full,
    /// Not even its header.
    Nothing,
}

/// What became of a recipient (RFC 3464 §2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Given up, or refused.
    Failed,
    /// It waits on.
    Delayed,
    /// Taken by a host that does not report.
    Relayed,
}

impl Action {
    /// As the field has it; also the label of metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Relayed => "relayed",
        }
    }
}

/// One recipient that is reported on.
#[derive(Clone, Copy, Debug)]
pub struct Reported<'a> {
    /// Forward path.
    pub address: &'a Mailbox,
    /// ORCPT.
    pub original: Option<&'a OriginalRecipient>,
    /// What became of it.
    pub action: Action,
    /// Its time ran out; otherwise, where it failed, it was refused.
    pub expired: bool,
    /// The last reply, code first, or the description of a failure without one.
    pub reply: Option<&'a str>,
    /// The host that gave it.
    pub host: Option<&'a str>,
    /// When the last attempt was made, if any was.
    pub last_attempt: Option<Wall>,
    /// The operator ended it, for this reason: it was neither refused nor given up.
    pub returned: Option<&'a str>,
}

/// A report, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// A complete message with CRLF line ends.
    pub body: Bytes,
    /// It holds octets above 127.
    pub eight_bit: bool,
    /// Its header does, so it needs SMTPUTF8.
    pub utf8: bool,
}

/// Writes a report in these words.
pub fn report(input: &ReportInput<'_>, texts: &Texts) -> Report {
    let original = original(input);
    let boundary = boundary(input.id, original.as_ref().map_or(&[], |original| &original.octets));
    let is_eight_bit = original.as_ref().is_some_and(|original| original.encoding == Some("8bit"));
    let mut out = header(input, texts, &boundary, is_eight_bit);
    let people = for_people(input, texts, original.as_ref().map(|original| original.is_whole));
    part(&mut out, &boundary, "text/plain", &people, true);
    let programs = for_programs(input);
    // The other type is ASCII, and must not be encoded (RFC 3464 §2, RFC 6533 §3).
    let kind = if programs.is_ascii() { "message/delivery-status" } else { "message/global-delivery-status" };
    part(&mut out, &boundary, kind, &programs, false);
    if let Some(original) = original {
        original.put(&mut out, &boundary);
    }
    out.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    Report { eight_bit: !out.is_ascii(), utf8: !input.to.as_str().is_ascii(), body: Bytes::from(out) }
}

fn header(input: &ReportInput<'_>, texts: &Texts, boundary: &str, is_eight_bit: bool) -> Vec<u8> {
    let hostname = word(input.hostname);
    let mut out = String::with_capacity(2048);
    let worded = |text: &str| if text.is_ascii() { text.to_owned() } else { encoded_words(text.as_bytes()) };
    field(&mut out, "Date", &date(input.now));
    let from = worded(&texts.from).replace("\r\n", "");
    field(&mut out, "From", &format!("{from} <MAILER-DAEMON@{hostname}>"));
    field(&mut out, "To", &format!("<{}>", input.to));
    let subject = fill(subject(input, texts), &|name| general(input, name));
    field(&mut out, "Subject", &worded(&subject).replace("\r\n", ""));
    field(&mut out, "Message-ID", &format!("<{}.dsn@{hostname}>", word(input.id)));
    field(&mut out, "Auto-Submitted", "auto-replied");
    field(&mut out, "MIME-Version", "1.0");
    if is_eight_bit {
        field(&mut out, "Content-Transfer-Encoding", "8bit");
    }
    let content = format!("multipart/report; report-type=delivery-status; boundary=\"{boundary}\"");
    field(&mut out, "Content-Type", &content);
    out.push_str("\r\n");
    out.into_bytes()
}

/// That of the worst that is reported.
fn subject<'t>(input: &ReportInput<'_>, texts: &'t Texts) -> &'t str {
    let is_any = |action| input.recipients.iter().any(|one| one.action == action);
    if input.is_double_bounce {
        &texts.subject.double_bounce
    } else if is_any(Action::Failed) {
        &texts.subject.failed
    } else if is_any(Action::Delayed) {
        &texts.subject.delayed
    } else {
        &texts.subject.relayed
    }
}

/// A part that is ASCII, or UTF-8 in quoted-printable.
fn part(out: &mut Vec<u8>, boundary: &str, kind: &str, body: &str, has_charset: bool) {
    let is_ascii = body.is_ascii();
    let charset = match (has_charset, is_ascii) {
        (false, _) => "",
        (true, true) => "; charset=us-ascii",
        (true, false) => "; charset=utf-8",
    };
    out.extend_from_slice(format!("--{boundary}\r\nContent-Type: {kind}{charset}\r\n").as_bytes());
    if is_ascii {
        out.extend_from_slice(format!("\r\n{body}\r\n").as_bytes());
        return;
    }
    out.extend_from_slice(b"Content-Transfer-Encoding: quoted-printable\r\n\r\n");
    quoted_printable(body.as_bytes(), out);
    out.extend_from_slice(b"\r\n");
}

/// A boundary that stands nowhere in the only part whose text is not ours from beginning to end. The other parts have
/// no line that begins with a hyphen.
fn boundary(id: &str, original: &[u8]) -> String {
    let base: String = word(id).chars().filter(char::is_ascii_alphanumeric).take(40).collect();
    (0u32..)
        .map(|round| format!("=_report_{base}_{round}"))
        .find(|boundary| memchr::memmem::find(original, boundary.as_bytes()).is_none())
        .unwrap_or(base)
}
