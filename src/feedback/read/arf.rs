//! Complaints: `message/feedback-report` (RFC 5965), redacted ones (RFC 6590), and the forms before it.
//!
//! Names of fields in any case, unknown types and fields tolerated, nothing required. Before the format settled
//! providers wrote a sentence and attached the message; the sentence names the address that sent it.

use std::net::IpAddr;

use super::fields::Fields;
use super::status::RECIPIENTS_MAX;
use super::typed::recipient;
use super::{Complaint, Reported};
use crate::clock::Wall;

/// A complaint and whom it names.
pub(super) type Read = (Complaint, Vec<Reported>);

/// Reads a part that is said to be a report, or looks like one; the fields also tell where marks are.
pub(super) fn parse(octets: &[u8]) -> Option<(Read, Fields)> {
    let mut fields = Fields::default();
    let mut rest = octets;
    // Empty lines before and between are stepped over.
    while let Some((line, after)) = super::fields::next_line(rest) {
        fields.push_line(line);
        rest = after;
    }
    let kind = fields.get("feedback-type").or(fields.get("abuse-type"))?;
    let complaint = Complaint {
        feedback_type: kind.split([' ', ';', '(']).next().unwrap_or_default().to_ascii_lowercase(),
        incidents: fields.get("incidents").and_then(|text| text.parse().ok()).filter(|n| *n > 0).unwrap_or(1),
        source_ip: fields.get("source-ip").and_then(address),
        arrived: fields.get("arrival-date").or(fields.get("received-date")).and_then(moment),
        user_agent: fields.get("user-agent").map(str::to_owned),
    };
    let recipients = named(fields.all("original-rcpt-to").chain(fields.all("removal-recipient")));
    Some(((complaint, recipients), fields))
}

/// Whether a part of another type begins with the fields of a report.
pub(super) fn opens_like_one(octets: &[u8]) -> bool {
    let start = octets[..octets.len().min(1024)].to_ascii_lowercase();
    let named = ["feedback-type:", "user-agent:", "version:", "abuse-type:"]
        .iter()
        .any(|name| start.starts_with(name.as_bytes()));
    named && memchr::memmem::find(&start, b"feedback-type:").is_some()
}

/// A complaint without a report part: `subject` and `text` say what it is; a returned message must be there.
pub(super) fn of_prose(subject: &str, text: &str) -> Option<Complaint> {
    let (subject, start) = (subject.to_ascii_lowercase(), text.get(..2000).unwrap_or(text).to_ascii_lowercase());
    let said = start.contains("abuse report for an email message") || start.contains("this is an email abuse report");
    let about = ["complaint about message from ", "email feedback report for ip "];
    let headed = about.iter().find_map(|begin| subject.strip_prefix(begin));
    if !said && headed.is_none() {
        return None;
    }
    let from_text = start.split_once("received from ip").map(|(_, rest)| rest.trim_start_matches(" address"));
    let first_word = |text: &str| text.split_whitespace().next().and_then(address);
    Some(Complaint {
        feedback_type: "abuse".to_owned(),
        incidents: 1,
        source_ip: headed.and_then(first_word).or_else(|| from_text.and_then(first_word)),
        ..Complaint::default()
    })
}

/// The addresses, each once. Redaction (RFC 6590 §3) may leave a token before the domain, which stays; a word in place of
/// the whole address names nobody.
pub(super) fn named<'a>(values: impl Iterator<Item = &'a str>) -> Vec<Reported> {
    let mut found: Vec<Reported> = Vec::new();
    for address in values.map(recipient).filter(|address| address.contains('@')) {
        let seen = found.iter().any(|one| one.final_recipient.as_deref() == Some(address.as_str()));
        if !seen && found.len() < RECIPIENTS_MAX {
            found.push(Reported { final_recipient: Some(address), ..Reported::default() });
        }
    }
    found
}

fn address(text: &str) -> Option<IpAddr> {
    let text = text.split([' ', '(']).next()?.trim_matches(['[', ']', ',', '.', '<', '>']);
    text.get(..5).filter(|tag| tag.eq_ignore_ascii_case("ipv6:")).map_or(text, |_| &text[5..]).parse().ok()
}

fn moment(text: &str) -> Option<Wall> {
    let date = mail_parser::DateTime::parse_rfc822(text).filter(mail_parser::DateTime::is_valid)?;
    Some(Wall::from_millis(date.to_timestamp().checked_mul(1000)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_in_any_case_and_garbage_for_numbers() {
        let text = b"\r\nfeedback-TYPE: Abuse\r\nIncidents: many\r\nSOURCE-ip: [IPv6:2001:db8::1]\r\nReceived-Date: Thu, 30 Dec 2010 09:23:16 -0500 (EST)\r\nOriginal-Rcpt-To: rfc822;<a@x>\r\nRemoval-Recipient: a@x\r\nOriginal-Rcpt-To: redacted@\r\nOriginal-Rcpt-To: <redacted>\r\nOriginal-Rcpt-To: [undisclosed]\r\nX-New: y\r\n";
        let ((complaint, recipients), _) = parse(text).expect("a report");
        assert_eq!(complaint.feedback_type, "abuse");
        assert_eq!(complaint.incidents, 1);
        assert_eq!(complaint.source_ip, "2001:db8::1".parse().ok());
        assert_eq!(complaint.arrived.map(|at| at.to_string()).as_deref(), Some("2010-12-30T14:23:16.000Z"));
        let names: Vec<_> = recipients.iter().filter_map(|one| one.final_recipient.as_deref()).collect();
        assert_eq!(names, ["a@x", "redacted@"]);
    }

    #[test]
    fn incidents_are_taken_as_they_stand() {
        for (text, count) in [("5", 5), ("0", 1), ("-3", 1), ("4000000000", 4_000_000_000), ("99999999999", 1)] {
            let report = format!("Feedback-Type: abuse\nIncidents: {text}\n");
            assert_eq!(parse(report.as_bytes()).expect("a report").0.0.incidents, count, "{text}");
        }
        assert!(parse(b"Version: 1\nUser-Agent: x\n").is_none());
    }

    #[test]
    fn a_sentence_and_the_address_are_enough() {
        let complaint = of_prose("Complaint about message from 192.0.2.7", "").expect("a complaint");
        assert_eq!(complaint.source_ip, "192.0.2.7".parse().ok());
        let text = "This is an email abuse report for an email message received from IP address 192.0.2.8 on Thu";
        assert_eq!(of_prose("x", text).and_then(|complaint| complaint.source_ip), "192.0.2.8".parse().ok());
        assert_eq!(of_prose("Re: complaint about message from 192.0.2.7", "hello"), None);
    }
}
