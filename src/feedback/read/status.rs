//! The machine-readable half of a bounce: `message/delivery-status` (RFC 3464), `message/global-delivery-status`
//! (RFC 6533), and the same fields wherever else they stand.
//!
//! One group of fields for the message, one for each recipient, empty lines between. Real ones lack the empty lines or
//! have too many, put the fields in any order, fold them anywhere. So a group ends where it is complete and an empty
//! line comes, or where a field comes that it already has.

use super::Reported;
use super::fields::{Fields, next_line, split_field};
use super::typed::{enhanced, original_recipient, recipient, untyped};

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
    fn fields_amid_prose_are_found() {
        let text = "An error occurred\n\n  Reporting-MTA: dns; m\n\n  Action: failed\n  Final-Recipient: rfc822; a@x\n  Status: 5.1.1\n";
        assert_eq!(inline(text).map(|status| status.recipients.len()), Some(1));
        assert_eq!(inline("Status: fine\nAction: none needed\n"), None);
    }
}
