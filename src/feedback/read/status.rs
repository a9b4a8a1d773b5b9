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
    let (mut groups, mut group, mut line) = (Groups::default(), Fields::default(), octets);
    while let Some((text, rest)) = next_line(line) {
        line = rest;
        if groups.recipients.len() >= RECIPIENTS_MAX {
            break;
        }
        if text.trim_ascii().is_empty() {
            if is_complete(&group) {
                groups.take(&mut group);
            } else {
                groups.give_back(&mut group);
            }
            continue;
        }
        let name = split_field(text).filter(|_| !text.starts_with(b" ")).map(|(name, _)| name);
        if name.is_some_and(|name| TELLING.contains(&name.as_str()) && begins_another(&name, &group, rest)) {
            groups.take(&mut group);
        }
        group.push_line(text);
    }
    if groups.recipients.len() < RECIPIENTS_MAX {
        groups.give_back(&mut group);
        groups.take(&mut group);
    }
    groups.read()
}

/// Whether a telling field begins the next recipient's group, though no empty line says so: this one has it already,
/// or it is the first of the two names of the next.
fn begins_another(name: &str, group: &Fields, mut rest: &[u8]) -> bool {
    if group.get(name).is_some() {
        return true;
    }
    if name != "original-recipient" || group.get("final-recipient").is_none() || !is_complete(group) {
        return false;
    }
    while let Some((line, after)) = next_line(rest) {
        rest = after;
        let folded = line.starts_with(b" ") || line.starts_with(b"\t");
        match split_field(line).filter(|_| !folded) {
            Some((name, _)) if TELLING.contains(&name.as_str()) => return name == "final-recipient",
            None if line.trim_ascii().is_empty() => return false,
            _ => {}
        }
    }
    false
}

/// The groups of a status part.
#[derive(Default)]
struct Groups {
    message: Fields,
    recipients: Vec<Fields>,
    /// The groups of recipients begin with the recipient.
    recipient_leads: bool,
}

impl Groups {
    fn take(&mut self, group: &mut Fields) {
        let group = std::mem::take(group);
        let first = group.0.iter().map(|(name, _)| name.as_str()).find(|name| TELLING.contains(name));
        if let Some(first) = first {
            if self.recipients.is_empty() {
                self.recipient_leads = first.ends_with("-recipient");
            }
            self.recipients.push(group.clone());
        }
        // Fields of the message also stand in a recipient's group where the empty line is missing.
        if self.recipients.len() <= 1 {
            self.message.0.extend(group.0);
        }
    }

    /// Fields behind an empty line too many go to the recipient before it, where groups begin with the recipient.
    fn give_back(&mut self, group: &mut Fields) {
        let Some(last) = self.recipients.last_mut().filter(|_| self.recipient_leads) else { return };
        let nameless = group.get("final-recipient").or(group.get("original-recipient")).is_none();
        let lacking = group.0.iter().all(|(name, _)| !TELLING.contains(&name.as_str()) || last.get(name).is_none());
        if nameless && lacking {
            last.0.append(&mut group.0);
        }
    }

    fn read(self) -> Status {
        let reporter = untyped_name(self.message.get("reporting-mta"));
        let read = |group: &Fields| Reported { reporting_mta: reporter.clone(), ..reported(group) };
        Status { recipients: self.recipients.iter().map(read).collect(), message: self.message }
    }
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

fn reported(group: &Fields) -> Reported {
    let value = |name: &str| group.get(name).filter(|value| !value.is_empty());
    let final_recipient = value("final-recipient").map(recipient).filter(|address| !address.is_empty());
    let original = value("original-recipient").map(original_recipient).filter(|address| !address.is_empty());
    Reported {
        action: value("action").and_then(action),
        status: value("status").and_then(|text| enhanced(text).map(str::to_owned)),
        final_recipient: final_recipient.or_else(|| original.clone()),
        original_recipient: original,
        remote_mta: untyped_name(value("remote-mta")),
        diagnostic: value("diagnostic-code").map(|text| untyped(text).1.to_owned()).filter(|text| !text.is_empty()),
        ..Reported::default()
    }
}

/// The name of a host without its type.
fn untyped_name(text: Option<&str>) -> Option<String> {
    text.map(|text| untyped(text).1.to_owned()).filter(|name| !name.is_empty())
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
    fn each_recipient_has_its_own_status_where_no_empty_line_parts_them() {
        let two = [row("a@x", "failed", "5.1.1"), row("b@x", "delayed", "4.2.2")];
        for text in [
            "Final-Recipient: rfc822;a@x\nAction: failed\nStatus: 5.1.1\nOriginal-Recipient: rfc822;b@x\nX-A: b\nFinal-Recipient: rfc822;b@x\nAction: delayed\nStatus: 4.2.2\n",
            "Final-Recipient: rfc822;a@x\nOriginal-Recipient: rfc822;a@x\nAction: failed\nStatus: 5.1.1\nFinal-Recipient: rfc822;b@x\nOriginal-Recipient: rfc822;b@x\nAction: delayed\nStatus: 4.2.2\n",
            "Final-Recipient: rfc822;a@x\nAction: failed\n\nStatus: 5.1.1\n\nFinal-Recipient: rfc822;b@x\nAction: delayed\n\nStatus: 4.2.2\n",
        ] {
            assert_eq!(brief(text), two, "{text}");
        }
        let originals = |text: &str| -> Vec<_> {
            parse(text.as_bytes()).recipients.into_iter().map(|one| one.original_recipient).collect()
        };
        let text = "Final-Recipient: rfc822;a@x\nAction: failed\nOriginal-Recipient: rfc822;o@x\nFinal-Recipient: rfc822;b@x\nAction: failed\n";
        assert_eq!(originals(text), [None, Some("o@x".to_owned())]);
        let silent = "Final-Recipient: rfc822;a@x\nAction: failed\nFinal-Recipient: rfc822;b@x\nAction: delayed\nStatus: 4.2.2\n";
        assert_eq!(brief(silent), [row("a@x", "failed", "-"), row("b@x", "delayed", "4.2.2")]);
    }

    #[test]
    fn who_reports_stands_with_each_recipient() {
        let text = "Reporting-MTA: dns; mx.y\n\nFinal-Recipient: rfc822;a@x\nAction: failed\n\nFinal-Recipient: rfc822;b@x\nRemote-MTA: dns; mx.x\nAction: failed\n";
        let read = parse(text.as_bytes()).recipients;
        assert!(read.iter().all(|one| one.reporting_mta.as_deref() == Some("mx.y")));
        assert_eq!(read[1].remote_mta.as_deref(), Some("mx.x"));
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
