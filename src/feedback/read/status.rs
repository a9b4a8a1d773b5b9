//! The machine-readable half of a bounce: `message/delivery-status` (RFC 3464), `message/global-delivery-status`
//! (RFC 6533), and the same fields wherever else they stand.
//!
//! One group of fields for the message, one for each recipient, empty lines between. Real ones lack the empty lines or
//! have too many, put the fields in any order, fold them anywhere. So a group ends where it is complete and an empty
//! line comes, or where a field comes that it already has.

use super::Reported;
use super::fields::{Fields, next_line, split_field};

/// Recipients of one report that are read.
pub(super) const RECIPIENTS_MAX: usize = 1000;

/// What begins or follows only in a status part.
const TELLING: &[&str] = &["final-recipient", "original-recipient", "action", "status", "diagnostic-code"];
/// What a status part may begin with.
const OPENING: &[&str] = &[
    "reporting-mta",
    "received-from-mta",
    "dsn-gateway",
    "original-envelope-id",
    "arrival-date",
    "x-postfix-queue-id",
    "x-sendgrid-queueid",
    "final-recipient",
    "original-recipient",
    "action",
];

/// A report's machine-readable half.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Status {
    /// The fields on the message.
    pub message: Fields,
    /// One for each recipient.
    pub recipients: Vec<Reported>,
}

/// Reads the fields of a part that is said to hold them. No recipient where it holds none.
pub(super) fn parse(octets: &[u8]) -> Status {
    let (mut status, mut group, mut line) = (Status::default(), Fields::default(), octets);
    let mut known: &[&str] = &[];
    while let Some((text, rest)) = next_line(line) {
        line = rest;
        if status.recipients.len() >= RECIPIENTS_MAX {
            break;
        }
        if text.trim_ascii().is_empty() {
            if is_complete(&group) {
                flush(&mut group, &mut status);
            }
            continue;
        }
        let repeated = split_field(text)
            .filter(|_| !text.starts_with(b" "))
            .is_some_and(|(name, _)| TELLING.contains(&name.as_str()) && group.get(&name).is_some());
        if repeated {
            flush(&mut group, &mut status);
        }
        group.push_line(text);
        known = TELLING;
    }
    if !known.is_empty() {
        flush(&mut group, &mut status);
    }
    status
}

/// Reads the fields where they stand amid other text, as some servers write them for people; `None` where they do not.
pub(super) fn inline(text: &str) -> Option<Status> {
    let starts = |line: &str| {
        let name = line.split_once(':').map(|(name, _)| name.trim().to_ascii_lowercase());
        name.is_some_and(|name| OPENING.contains(&name.as_str()))
    };
    let mut lines = text.lines().skip_while(|line| !starts(line)).peekable();
    let indent = lines.peek().map(|line| line.len() - line.trim_start().len())?;
    let block: Vec<&str> = lines
        .map(|line| match line.split_at_checked(indent) {
            Some((margin, rest)) if margin.trim().is_empty() => rest,
            _ => line,
        })
        .collect();
    let mut status = parse(block.join("\n").as_bytes());
    status.recipients.retain(|one| one.final_recipient.is_some() && (one.action.is_some() || one.status.is_some()));
    (!status.recipients.is_empty()).then_some(status)
}

/// Whether a part of another type begins with the fields of a status part.
pub(super) fn opens_like_one(octets: &[u8]) -> bool {
    let mut rest = octets;
    while let Some((line, after)) = next_line(rest) {
        if !line.trim_ascii().is_empty() {
            return split_field(line).is_some_and(|(name, _)| OPENING.contains(&name.as_str()));
        }
        rest = after;
    }
    false
}

fn is_complete(group: &Fields) -> bool {
    let recipient = group.get("final-recipient").or(group.get("original-recipient")).is_some();
    // The group of the message is complete when a recipient's has not begun.
    let begun = TELLING.iter().any(|name| group.get(name).is_some());
    if begun { recipient && (group.get("action").is_some() || group.get("status").is_some()) } else { true }
}

fn flush(group: &mut Fields, status: &mut Status) {
    let group = std::mem::take(group);
    if TELLING.iter().any(|name| group.get(name).is_some()) {
        status.recipients.push(reported(&group));
    }
    // Fields of the message also stand in a recipient's group where the empty line is missing.
    if status.recipients.len() <= 1 {
        status.message.0.extend(group.0);
    }
}

fn reported(group: &Fields) -> Reported {
    let value = |name: &str| group.get(name).filter(|value| !value.is_empty());
    let final_recipient = value("final-recipient").map(recipient).filter(|address| !address.is_empty());
    let original = value("original-recipient").map(original_recipient).filter(|address| !address.is_empty());
    Reported {
        action: value("action").and_then(action),
        status: value("status").and_then(|text| enhanced(text).map(str::to_owned)),
        final_recipient: final_recipient.or_else(|| original.clone()),
        original_recipient: original,
        remote_mta: value("remote-mta").map(|text| untyped(text).1.to_owned()).filter(|name| !name.is_empty()),
        diagnostic: value("diagnostic-code").map(|text| untyped(text).1.to_owned()).filter(|text| !text.is_empty()),
    }
}

/// The first word, without a comment.
fn action(text: &str) -> Option<String> {
    let word = text.split(|c: char| c.is_whitespace() || matches!(c, '(' | ';' | ',')).find(|word| !word.is_empty());
    word.map(str::to_ascii_lowercase)
}

/// The first `class.subject.detail` in a text, none that is part of a longer number.
pub(super) fn enhanced(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let end = at + bytes[at..].iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
        let token = text[at..end].trim_end_matches('.');
        let mut numbers = token.split('.');
        let class = numbers.next().is_some_and(|class| matches!(class, "2" | "4" | "5"));
        let sound = class && token.split('.').count() == 3 && numbers.all(|n| (1..=3).contains(&n.len()));
        let glued = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || matches!(bytes[at - 1], b'-' | b'_' | b'='));
        let glued_after = bytes.get(end).is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'_'));
        if sound && !glued && !glued_after {
            return Some(token);
        }
        at = end;
    }
    None
}

/// Splits `type; value` (RFC 3464 §2.1.2); the type in lower case, empty where there is none.
fn untyped(text: &str) -> (String, &str) {
    match text.split_once(';') {
        Some((kind, rest))
            if kind.trim().len() <= 40
                && !kind.trim().is_empty()
                && kind.trim().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') =>
        {
            (kind.trim().to_ascii_lowercase(), rest.trim())
        }
        _ => (String::new(), text.trim()),
    }
}

/// An address as it stands in a typed field, type, brackets and comment taken off.
pub(super) fn recipient(text: &str) -> String {
    let (kind, mut address) = untyped(text);
    if kind != "x400" {
        if let Some((before, _)) = address.split_once(" (") {
            address = before.trim();
        }
        if let (Some(open), Some(close)) = (address.rfind('<'), address.rfind('>'))
            && open < close
        {
            address = &address[open + 1..close];
        }
    }
    let address = address.trim().trim_matches(['<', '>']).trim();
    if kind == "utf-8" { from_utf8_xtext(address) } else { address.to_owned() }
}

fn original_recipient(text: &str) -> String {
    from_xtext(&recipient(text))
}

/// xtext (RFC 3461 §4) decoded. Many senders write the address plainly, `+` included: then it stays as it is.
pub(super) fn from_xtext(text: &str) -> String {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'+' {
            octets.push(byte);
            continue;
        }
        let digits = rest.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        let upper = digits.filter(|pair| pair.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b)));
        match upper.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            // Only what may not stand there by itself is encoded.
            Some(octet @ (b'+' | b'=' | 128..)) => octets.push(octet),
            Some(b' ') if text.contains('"') => octets.push(b' '),
            _ => return text.to_owned(),
        }
        rest = &rest[2..];
    }
    String::from_utf8(octets).unwrap_or_else(|_| text.to_owned())
}

/// utf-8-addr-xtext and utf-8-addr-unitext (RFC 6533 §3) decoded: `\x{EB}`.
fn from_utf8_xtext(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("\\x{") {
        let digits = rest[at + 3..].split_once('}');
        let letter = digits.filter(|(hex, _)| hex.len() <= 6).and_then(|(hex, _)| u32::from_str_radix(hex, 16).ok());
        let (Some((_, after)), Some(letter)) = (digits, letter.and_then(char::from_u32)) else { break };
        out.push_str(&rest[..at]);
        out.push(letter);
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brief(text: &str) -> Vec<(String, String, String)> {
        let or = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        let of = |one: &Reported| (or(&one.final_recipient), or(&one.action), or(&one.status));
        parse(text.as_bytes()).recipients.iter().map(of).collect()
    }

    fn row(address: &str, action: &str, status: &str) -> (String, String, String) {
        (address.to_owned(), action.to_owned(), status.to_owned())
    }

    #[test]
    fn groups_part_at_empty_lines_or_at_a_field_they_have() {
        let two = [row("a@x", "failed", "5.1.1"), row("b@x", "delayed", "4.0.0")];
        for text in [
            "Reporting-MTA: dns; m\n\nFinal-Recipient: rfc822; a@x\nAction: failed\nStatus: 5.1.1\n\nFinal-Recipient: rfc822;b@x\nAction: Delayed\nStatus: 4.0.0 (later)\n",
            "Reporting-MTA: dns; m\nFinal-Recipient: rfc822; a@x\nAction: failed\nStatus: 5.1.1\nFinal-Recipient: rfc822;b@x\nAction: delayed\nStatus: 4.0.0",
            "\n\nAction: failed\n\nFinal-Recipient: rfc822;\n <a@x>\nStatus: 5.1.1\n\n\nAction: delayed (x)\nStatus: 4.0.0\nFinal-Recipient: b@x\n",
            "Original-Recipient: rfc822;a@x\r\nAction: failed\r\nStatus: 5.1.1\r\nOriginal-Recipient: rfc822;b@x\r\nAction: delayed\r\nStatus: 4.0.0\r\n",
        ] {
            assert_eq!(brief(text), two, "{text}");
        }
        assert_eq!(brief("Reporting-MTA: dns; m\nArrival-Date: now\n"), []);
    }

    #[test]
    fn values_are_freed_of_type_brackets_and_comment() {
        let text = "Original-Recipient: rfc822;bob+2Bshop+3Dx@y\nFinal-Recipient: RFC822; <bob@y> (Bob)\nAction: FAILED\nStatus: 5.7.509 (no)\nRemote-MTA: dns; mx.y [192.0.2.1]\nDiagnostic-Code: smtp;\n 550 5.7.509 a; b\n\tc";
        let one = parse(text.as_bytes()).recipients.remove(0);
        assert_eq!(one.original_recipient.as_deref(), Some("bob+shop=x@y"));
        assert_eq!(one.final_recipient.as_deref(), Some("bob@y"));
        assert_eq!(one.action.as_deref(), Some("failed"));
        assert_eq!(one.status.as_deref(), Some("5.7.509"));
        assert_eq!(one.remote_mta.as_deref(), Some("mx.y [192.0.2.1]"));
        assert_eq!(one.diagnostic.as_deref(), Some("550 5.7.509 a; b c"));
    }

    #[test]
    fn plain_addresses_are_no_xtext() {
        for plain in ["news+2024@x", "a+b@x", "a+@x", "bounces+88@x", "+"] {
            assert_eq!(from_xtext(plain), plain);
        }
        assert_eq!(recipient("utf-8; zo\\x{EB}@x"), "zoë@x");
        assert_eq!(recipient("utf-8; \\x{110000}@x"), "\\x{110000}@x");
    }

    #[test]
    fn enhanced_codes_are_whole_numbers() {
        for (text, found) in [
            ("(#5.1.1)", Some("5.1.1")),
            ("550 5.7.509 x", Some("5.7.509")),
            ("5.1.2600.1", None),
            ("v5.1.1", None),
            ("192.0.2.4 5.2.2.", Some("5.2.2")),
            ("3.1.1", None),
            ("5.1", None),
        ] {
            assert_eq!(enhanced(text), found, "{text}");
        }
    }

    #[test]
    fn fields_amid_prose_are_found() {
        let text = "An error occurred\n\n  Reporting-MTA: dns; m\n\n  Action: failed\n  Final-Recipient: rfc822; a@x\n  Status: 5.1.1\n";
        assert_eq!(inline(text).map(|status| status.recipients.len()), Some(1));
        assert_eq!(inline("Status: fine\nAction: none needed\n"), None);
    }
}
