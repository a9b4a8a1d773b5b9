//! Report to the sender (RFC 3464) that a message could not be delivered.
//!
//! Written by hand and not by a mail library: the report has to be made of given values alone (a library brings its own
//! clock, host name and random boundary), its second part must never be encoded, and everything a receiver said is
//! hostile text. The whole report is 7-bit ASCII in short lines, so it passes any relay: what is not printable ASCII
//! becomes `?`, in replies as in the headers that are sent back.
//!
//! The caller sends it with the null reverse path (RFC 3464 §2) and never makes one for a message that had it.

use std::fmt::Write as _;

use bytes::Bytes;

use super::reply::EnhancedCode;
use crate::clock::Wall;
use crate::message::Mailbox;

/// Octets of original headers sent back at most.
const HEADERS_MAX: usize = 65_536;
/// Octets of a reply quoted at most.
const REPLY_MAX: usize = 1000;
/// Column at which lines are folded where they have a space.
const FOLD_AT: usize = 76;
/// Octets of a line without a space, before it is broken anyway; RFC 5322 §2.1.1 allows 998.
const WORD_MAX: usize = 900;

/// What a report is made of.
#[derive(Clone, Copy, Debug)]
pub struct ReportInput<'a> {
    /// Name of this relay: `Reporting-MTA`, and the domain of `From` and `Message-ID`.
    pub hostname: &'a str,
    /// Left side of the report's own `Message-ID`: unique here, letters and digits.
    pub id: &'a str,
    /// The sender of the message: its reverse path.
    pub to: &'a Mailbox,
    /// The original message, or the beginning of it: only its headers are used.
    pub original: &'a [u8],
    /// Those it did not reach. At least one.
    pub recipients: &'a [FailedRecipient<'a>],
    /// When the message was accepted.
    pub arrived: Wall,
    /// The moment of the report.
    pub now: Wall,
}

/// One recipient that was given up.
#[derive(Clone, Copy, Debug)]
pub struct FailedRecipient<'a> {
    /// Forward path.
    pub address: &'a Mailbox,
    /// Its time ran out; otherwise it was refused.
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

/// Status of what the operator ended: security or policy, undefined (RFC 3463 §3.8, X.7.0). On purpose none that blames
/// the address (X.1.x) or says nothing at all (X.0.0), for which lists strike their subscribers off.
const RETURNED: &str = "5.7.0";

impl FailedRecipient<'_> {
    /// Status (RFC 3464 §2.3.4): the enhanced code of the reply, or what follows from its code, or from the time run out.
    fn status(&self) -> String {
        if self.returned.is_some() {
            return RETURNED.to_owned();
        }
        let reply = self.reply.unwrap_or_default();
        let (class, rest) = match (is_smtp(reply), reply.as_bytes()) {
            (true, bytes) => (bytes[0], bytes.get(4..).unwrap_or_default()),
            (false, _) => (0, &[][..]),
        };
        match EnhancedCode::lead(rest) {
            Some((code, _)) if code.class != 2 => code.to_string(),
            _ if class == b'5' => "5.0.0".to_owned(),
            // The time ran out, but this is why (RFC 3463 §3.8, X.7.5: cryptographic failure).
            _ if self.expired && reply.starts_with("tls at ") => "5.7.5".to_owned(),
            _ if class == b'4' && !self.expired => "4.0.0".to_owned(),
            _ if self.expired => "4.4.7".to_owned(),
            _ => "5.0.0".to_owned(),
        }
    }
}

/// Whether `text` begins with a code of refusal, as a reply does and the description of a failure does not.
fn is_smtp(text: &str) -> bool {
    let bytes = text.as_bytes();
    matches!(bytes.first(), Some(b'4' | b'5'))
        && bytes.iter().take(3).filter(|b| b.is_ascii_digit()).count() == 3
        && matches!(bytes.get(3), None | Some(b' '))
}

/// Writes the report: a complete message with CRLF line ends.
pub fn failure_report(input: &ReportInput<'_>) -> Bytes {
    let headers = original_headers(input.original);
    let boundary = boundary(input.id, &headers);
    let hostname = word(input.hostname);
    let mut out = String::with_capacity(2048 + headers.len());
    field(&mut out, "Date", &date(input.now));
    field(&mut out, "From", &format!("Mail Delivery System <MAILER-DAEMON@{hostname}>"));
    field(&mut out, "To", &format!("<{}>", input.to));
    field(&mut out, "Subject", "Your message could not be delivered");
    field(&mut out, "Message-ID", &format!("<{}.dsn@{hostname}>", word(input.id)));
    field(&mut out, "Auto-Submitted", "auto-replied");
    field(&mut out, "MIME-Version", "1.0");
    let content = format!("multipart/report; report-type=delivery-status; boundary=\"{boundary}\"");
    field(&mut out, "Content-Type", &content);
    out.push_str("\r\n");
    part(&mut out, &boundary, "text/plain; charset=us-ascii", &for_people(input, &hostname));
    part(&mut out, &boundary, "message/delivery-status", &for_programs(input, &hostname));
    part(&mut out, &boundary, "text/rfc822-headers", &headers);
    let _ = write!(out, "--{boundary}--\r\n");
    Bytes::from(out)
}

fn part(out: &mut String, boundary: &str, kind: &str, body: &str) {
    let _ = write!(out, "--{boundary}\r\nContent-Type: {kind}\r\n\r\n{body}\r\n");
}

fn for_people(input: &ReportInput<'_>, hostname: &str) -> String {
    let mut out = format!("This is the mail relay at {hostname}.\r\n\r\n");
    let arrived = date(input.arrived);
    fold(&mut out, "", &format!("Your message, accepted {arrived}, could not be delivered to:"));
    for failed in input.recipients {
        let _ = write!(out, "\r\n<{}>\r\n", failed.address);
        let host = failed.host.map(word).filter(|host| !host.is_empty());
        let who = host.map_or_else(|| "The last attempt".to_owned(), |host| format!("The host {host}"));
        if let Some(why) = failed.returned {
            fold(&mut out, "    ", &format!("The operator of this relay has ended its delivery: {}", text(why)));
            if let Some(reply) = failed.reply {
                fold(&mut out, "    ", &format!("{who} had given this answer before:"));
                fold(&mut out, "        ", &text(reply));
            }
            continue;
        }
        let story = match (failed.reply, failed.expired) {
            (Some(_), false) => format!("{who} refused it for good:"),
            (Some(_), true) => format!("It was tried until {}, in vain. {who} gave this answer last:", date(input.now)),
            (None, true) => format!("It waited until {} without a chance to be tried.", date(input.now)),
            (None, false) => "It was returned by the operator of this relay.".to_owned(),
        };
        fold(&mut out, "    ", &story);
        if let Some(reply) = failed.reply {
            fold(&mut out, "        ", &text(reply));
        }
    }
    out.push_str("\r\nNo further attempt will be made. The headers of your message follow.\r\n");
    out
}

fn for_programs(input: &ReportInput<'_>, hostname: &str) -> String {
    let mut out = String::new();
    field(&mut out, "Reporting-MTA", &format!("dns; {hostname}"));
    field(&mut out, "Arrival-Date", &date(input.arrived));
    for failed in input.recipients {
        out.push_str("\r\n");
        field(&mut out, "Final-Recipient", &format!("rfc822; {}", failed.address));
        field(&mut out, "Action", "failed");
        field(&mut out, "Status", &failed.status());
        if let Some(host) = failed.host.map(word).filter(|host| !host.is_empty()) {
            field(&mut out, "Remote-MTA", &format!("dns; {host}"));
        }
        if let Some(why) = failed.returned {
            let why = format!("x-remuda; ended by the operator: {}", text(why));
            field(&mut out, "Diagnostic-Code", &why);
        } else if let Some(reply) = failed.reply {
            let kind = if is_smtp(reply) { "smtp" } else { "x-remuda" };
            field(&mut out, "Diagnostic-Code", &format!("{kind}; {}", text(reply)));
        }
        if let Some(at) = failed.last_attempt {
            field(&mut out, "Last-Attempt-Date", &date(at));
        }
    }
    out
}

/// RFC 5322 §3.3, in UTC.
fn date(at: Wall) -> String {
    at.timestamp().strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// One line of printable ASCII without runs of spaces, at most [`REPLY_MAX`] octets.
fn text(hostile: &str) -> String {
    let mut out = String::new();
    for word in hostile.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.extend(word.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }));
    }
    // All ASCII by now, so any place is a boundary.
    out.truncate(REPLY_MAX);
    out
}

/// A host name or id: whatever else stands in it is left out.
fn word(hostile: &str) -> String {
    hostile.chars().filter(|&c| c.is_ascii_alphanumeric() || ".-_:[]".contains(c)).take(255).collect()
}

fn field(out: &mut String, name: &str, value: &str) {
    let start = out.len();
    let _ = write!(out, "{name}:");
    let mut column = out.len() - start;
    for word in value.split(' ').filter(|word| !word.is_empty()) {
        if column + 1 + word.len() > FOLD_AT && column > name.len() + 1 {
            out.push_str("\r\n");
            column = 0;
        }
        out.push(' ');
        column = put(out, word, column + 1, "\r\n ");
    }
    out.push_str("\r\n");
}

/// Lines of text, each beginning with `indent`.
fn fold(out: &mut String, indent: &str, value: &str) {
    out.push_str(indent);
    let mut column = indent.len();
    let mut begun = false;
    let glue = format!("\r\n{indent}");
    for word in value.split(' ').filter(|word| !word.is_empty()) {
        if begun && column + 1 + word.len() > FOLD_AT {
            out.push_str(&glue);
            column = indent.len();
        } else if begun {
            out.push(' ');
            column += 1;
        }
        begun = true;
        column = put(out, word, column, &glue);
    }
    out.push_str("\r\n");
}

/// Writes an ASCII word, broken by `glue` where it would make the line too long; gives the column behind it.
fn put(out: &mut String, word: &str, mut column: usize, glue: &str) -> usize {
    for byte in word.bytes() {
        if column >= WORD_MAX {
            out.push_str(glue);
            column = glue.len() - 2;
        }
        out.push(char::from(byte));
        column += 1;
    }
    column
}

/// The headers of `message`, made harmless: CRLF line ends, printable ASCII and tabs, no line too long.
fn original_headers(message: &[u8]) -> String {
    let mut out = String::new();
    for line in message.split(|&b| b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || out.len() + line.len() > HEADERS_MAX {
            break;
        }
        let mut column = 0;
        for &byte in line {
            if column >= WORD_MAX {
                out.push_str("\r\n ");
                column = 1;
            }
            out.push(if matches!(byte, b'\t' | 32..=126) { char::from(byte) } else { '?' });
            column += 1;
        }
        out.push_str("\r\n");
    }
    out
}

/// A boundary that stands nowhere in the only part whose text is not ours from beginning to end. The other parts have
/// no line that begins with a hyphen.
fn boundary(id: &str, headers: &str) -> String {
    let base: String = word(id).chars().filter(char::is_ascii_alphanumeric).take(40).collect();
    (0u32..)
        .map(|round| format!("=_report_{base}_{round}"))
        .find(|boundary| !headers.contains(boundary.as_str()))
        .unwrap_or(base)
}

#[cfg(test)]
mod tests {
    use mail_parser::{MessageParser, MimeHeaders};
    use proptest::prelude::*;

    use super::*;

    const ARRIVED: Wall = Wall::from_millis(1_795_000_000_000);
    const NOW: Wall = Wall::from_millis(1_795_432_000_000);

    fn mailbox(text: &str) -> Mailbox {
        text.parse().expect("valid")
    }

    fn report(original: &[u8], recipients: &[FailedRecipient<'_>]) -> String {
        let to = mailbox("sender@acme.example");
        let input = ReportInput {
            hostname: "relay.example.net",
            id: "0dq3k7z9x2m1a",
            to: &to,
            original,
            recipients,
            arrived: ARRIVED,
            now: NOW,
        };
        String::from_utf8(failure_report(&input).to_vec()).expect("ASCII")
    }

    fn refused<'a>(address: &'a Mailbox, reply: &'a str) -> FailedRecipient<'a> {
        FailedRecipient {
            address,
            expired: false,
            reply: Some(reply),
            host: Some("mx.b.example"),
            last_attempt: Some(NOW),
            returned: None,
        }
    }

    #[test]
    fn a_report_has_three_parts_with_the_fields_of_rfc_3464() {
        let (a, b) = (mailbox("a@b.example"), mailbox("c@d.example"));
        let expired =
            FailedRecipient { address: &b, expired: true, reply: None, host: None, last_attempt: None, returned: None };
        let raw = report(
            b"Subject: hello\r\nFrom: x@acme.example\r\n\r\nsecret body\r\n",
            &[refused(&a, "550 5.1.1 no such user"), expired],
        );
        let mail = MessageParser::default().parse(raw.as_bytes()).expect("a message");
        let kind = mail.content_type().expect("has one");
        assert_eq!((kind.ctype(), kind.subtype()), ("multipart", Some("report")));
        assert_eq!(kind.attribute("report-type"), Some("delivery-status"));
        assert_eq!(mail.header_raw("Auto-Submitted").map(str::trim), Some("auto-replied"));
        assert_eq!(mail.from().and_then(|f| f.first()?.address()), Some("MAILER-DAEMON@relay.example.net"));
        assert_eq!(mail.to().and_then(|f| f.first()?.address()), Some("sender@acme.example"));
        assert_eq!(mail.date().expect("has one").to_timestamp() * 1000, NOW.as_millis());
        assert_eq!(mail.parts.len(), 4);
        let part = |at: usize| String::from_utf8_lossy(mail.parts[at].contents()).into_owned();
        assert!(part(1).contains("<a@b.example>") && part(1).contains("550 5.1.1 no such user"), "{}", part(1));
        assert_eq!(
            part(2).trim_end(),
            "Reporting-MTA: dns; relay.example.net\r\nArrival-Date: Wed, 18 Nov 2026 11:06:40 +0000\r\n\r\n\
             Final-Recipient: rfc822; a@b.example\r\nAction: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.b.example\r\n\
             Diagnostic-Code: smtp; 550 5.1.1 no such user\r\nLast-Attempt-Date: Mon, 23 Nov 2026 11:06:40 +0000\r\n\r\n\
             Final-Recipient: rfc822; c@d.example\r\nAction: failed\r\nStatus: 4.4.7"
        );
        assert!(part(3).starts_with("Subject: hello\r\nFrom: x@acme.example"));
        assert!(!raw.contains("secret"));
    }

    #[test]
    fn status_follows_from_the_reply() {
        let address = mailbox("a@b.example");
        for (reply, expired, status) in [
            (Some("550 5.7.515 no"), false, "5.7.515"),
            (Some("550 no"), false, "5.0.0"),
            (Some("550"), false, "5.0.0"),
            (Some("451 4.2.2 full"), true, "4.2.2"),
            (Some("451 no"), true, "4.4.7"),
            (Some("550 2.0.0 odd"), false, "5.0.0"),
            (Some("timed_out at connect: 192.0.2.1"), true, "4.4.7"),
            (Some("tls at tls: mx.example.org offers no STARTTLS"), true, "5.7.5"),
            (None, true, "4.4.7"),
            (None, false, "5.0.0"),
        ] {
            let failed =
                FailedRecipient { address: &address, expired, reply, host: None, last_attempt: None, returned: None };
            assert_eq!(failed.status(), status, "{reply:?}");
        }
    }

    #[test]
    fn what_the_operator_ended_says_so_and_blames_no_address() {
        let address = mailbox("a@b.example");
        let failed = FailedRecipient {
            returned: Some("customer asked\r\nBcc: x@example.org"),
            ..refused(&address, "450 4.7.1 try later")
        };
        let raw = report(b"Subject: x\r\n\r\n", &[failed]);
        assert!(raw.contains("Status: 5.7.0\r\n"), "{raw}");
        assert!(raw.contains("Diagnostic-Code: x-remuda; ended by the operator: customer asked Bcc:"), "{raw}");
        let plain = raw.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(plain.contains("The operator of this relay has ended its delivery: customer asked"), "{raw}");
        assert!(plain.contains("had given this answer before: 450 4.7.1 try later"), "{raw}");
        assert!(!plain.contains("refused it for good") && raw.lines().all(|line| !line.starts_with("Bcc")), "{raw}");
    }

    #[test]
    fn hostile_replies_inject_nothing() {
        let address = mailbox("a@b.example");
        let reply = "550 no\r\nBcc: victim@example.org\r\n\r\n--=_report_0dq3k7z9x2m1a_0--\r\n\u{0}\u{1b}[2J \u{fc}ber";
        let failed = FailedRecipient { host: Some("mx\r\nX-Evil: yes"), ..refused(&address, reply) };
        let raw = report(b"Subject: x\r\nX: --=_report_0dq3k7z9x2m1a_0\r\n\r\n", &[failed]);
        let mail = MessageParser::default().parse(raw.as_bytes()).expect("a message");
        assert_eq!(mail.parts.len(), 4);
        assert!(raw.lines().all(|line| !line.starts_with("Bcc") && !line.starts_with("X-Evil")), "{raw}");
        assert!(raw.contains("550 no Bcc: victim@example.org"));
        assert!(raw.contains("Remote-MTA: dns; mxX-Evil:yes"));
    }

    proptest! {
        #[test]
        fn a_report_is_always_seven_bit_short_lines_and_four_parts(
            reply in ".{0,400}|[a-z]{0,3000}",
            host in ".{0,40}",
            original in proptest::collection::vec(any::<u8>(), 0..3000),
        ) {
            let address = mailbox("a@b.example");
            let failed = FailedRecipient { host: Some(&host), ..refused(&address, &reply) };
            let raw = report(&original, &[failed]);
            for line in raw.split_inclusive("\r\n") {
                let line = line.strip_suffix("\r\n").expect("every line ends with CRLF");
                prop_assert!(line.len() <= 998);
                prop_assert!(line.bytes().all(|b| matches!(b, b'\t' | 32..=126)));
            }
            let mail = MessageParser::default().parse(raw.as_bytes()).expect("a message");
            prop_assert_eq!(mail.parts.len(), 4);
        }
    }
}
