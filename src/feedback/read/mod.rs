//! What a mail at a bounce address is and says: octets → [`Mail`]. Never fails, whatever the octets are.
//!
//! Which evidence decides, first to last:
//!
//! | evidence | kind |
//! |---|---|
//! | a part `message/feedback-report`, or one that begins with its fields (RFC 5965) | arf |
//! | a part `message/delivery-status` or `global-delivery-status` with a recipient, whatever is around it; a part of another type that begins with its fields (RFC 3464, RFC 6533) | dsn |
//! | a read receipt (RFC 8098) | not-a-bounce |
//! | the sentence and the returned message of the complaints before RFC 5965 | arf |
//! | an auto-responder's fields or subject, unless a mail system sent it | auto-reply |
//! | status fields amid the text of a mail system | dsn |
//! | a text that says that a delivery failed, from a mail system; or from another machine, if it names the recipient | dsn |
//! | `Auto-Submitted: auto-replied` (RFC 3834) | auto-reply |
//! | nothing of this | not-a-bounce |
//!
//! Machine-readable parts come first because nobody writes them by accident; receipts before auto-replies because they
//! carry the same marks; text before `auto-replied` because Exim and Postfix write that into bounces. What a person
//! answers or forwards ("Re:", a list's mail) is no report even where it quotes one. A returned message is never looked
//! into, except for its header; a mail that a spam filter has wrapped is read instead of its wrapping.
//!
//! MIME, character sets and dates are `mail-parser`'s; the fields of reports and the prose are read here.

mod absence;
mod arf;
mod auto;
mod fields;
mod lists;
mod marks;
mod mime;
mod prose;
mod quoted;
mod status;
mod typed;

use std::net::IpAddr;

use crate::clock::Wall;

use self::fields::Fields;
use self::mime::Opened;

/// A mail as far as it was understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Mail {
    /// What it is.
    pub kind: Kind,
    /// The recipients it reports on; for a complaint those it names.
    pub recipients: Vec<Reported>,
    /// What a complaint says; `None` for other kinds.
    pub complaint: Option<Complaint>,
    /// Texts that have the shape of a mark, and where each was found, most trusted place first; not yet opened.
    pub marks: Vec<(Place, String)>,
}

/// What a mail is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A report on a delivery: RFC 3464 or prose.
    Dsn,
    /// A complaint or another feedback report, RFC 5965.
    Arf,
    /// Sent by a machine in answer to the message (RFC 3834): out of office and the like.
    AutoReply,
    /// Anything else.
    NotABounce,
}

impl Kind {
    /// Stable text: dsn, arf, auto-reply, not-a-bounce.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dsn => "dsn",
            Self::Arf => "arf",
            Self::AutoReply => "auto-reply",
            Self::NotABounce => "not-a-bounce",
        }
    }
}

/// What a report says about one recipient; texts as they stand there, decoded and unfolded, `None` where it is silent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// `Action` (RFC 3464 §2.3.3), in lower case; for prose what it amounts to.
    pub action: Option<String>,
    /// `Status` (RFC 3463).
    pub status: Option<String>,
    /// `Final-Recipient` without its address type.
    pub final_recipient: Option<String>,
    /// `Original-Recipient` without its address type.
    pub original_recipient: Option<String>,
    /// `Remote-MTA` without its type.
    pub remote_mta: Option<String>,
    /// `Reporting-MTA` of the report without its type: who tells.
    pub reporting_mta: Option<String>,
    /// `Diagnostic-Code` without its type; for prose the reply or reason it quotes.
    pub diagnostic: Option<String>,
    /// For prose, the host it names as the one that said the reply, as it stands there (`mx.example.org [192.0.2.1]`);
    /// `remote host` where it only says that another said it. Without it the reporter itself may have refused.
    /// Machine-readable reports have `remote_mta` for this.
    pub said_by: Option<String>,
}

/// What a complaint says besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Complaint {
    /// `Feedback-Type`, in lower case: abuse, fraud, opt-out, not-spam, auth-failure, other …
    pub feedback_type: String,
    /// How many complaints it stands for (`Incidents`, RFC 5965 §3.2); 1 where it does not say.
    pub incidents: u32,
    /// `Source-IP`.
    pub source_ip: Option<IpAddr>,
    /// `Arrival-Date` or `Received-Date`.
    pub arrived: Option<Wall>,
    /// `User-Agent`.
    pub user_agent: Option<String>,
}

/// Where a mark was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// In the envelope recipient of the report: our own return path.
    Recipient,
    /// `Original-Envelope-Id`.
    EnvelopeId,
    /// Our header field in the returned header section.
    Header,
    /// A return path quoted in the report: `Original-Mail-From`, `Return-Path`, `To`.
    ReturnPath,
}

impl Place {
    /// Stable text, as in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recipient => "recipient",
            Self::EnvelopeId => "envelope_id",
            Self::Header => "header",
            Self::ReturnPath => "return_path",
        }
    }
}

/// Texts for people that are read of one mail, in octets.
const PROSE_MAX: usize = 1024 * 1024;
/// Headers of returned messages that are read.
const RETURNED_MAX: usize = 16;
/// How often a wrapping is taken off.
const WRAPPINGS_MAX: usize = 3;

/// Reads a mail. `header` is the name of the field that holds our mark.
pub fn read(mail: &[u8], header: &str) -> Mail {
    read_wrapped(mail, header, WRAPPINGS_MAX)
}

fn read_wrapped(mail: &[u8], header: &str, wrappings: usize) -> Mail {
    let opened = mime::open(mail);
    if let Some(inner) = opened.parts.iter().find(|part| part.media.wrapped && part.is_returned())
        && wrappings > 0
    {
        return read_wrapped(&inner.octets(), header, wrappings - 1);
    }
    let seen = Seen::of(&opened);
    let (kind, recipients, complaint) = judge(&opened, &seen);
    let reports =
        seen.feedback.iter().map(|(_, fields)| fields).chain(seen.status.iter().map(|status| &status.message));
    let prose = seen.texts.join("\n");
    let sources =
        marks::Sources { outer: &opened.fields, reports: reports.collect(), returned: &seen.returned, prose: &prose };
    Mail { kind, recipients, complaint, marks: marks::find(&sources, header) }
}

/// The parts of a mail by what they are good for.
struct Seen {
    feedback: Option<(arf::Read, Fields)>,
    status: Option<status::Status>,
    receipt: bool,
    texts: Vec<String>,
    returned: Vec<Fields>,
}

impl Seen {
    fn of(opened: &Opened<'_>) -> Self {
        let receipt = opened.media.report.as_deref() == Some("disposition-notification");
        let mut seen = Self { feedback: None, status: None, receipt, texts: Vec::new(), returned: Vec::new() };
        let mut prose = 0;
        for part in &opened.parts {
            let kind = part.media.kind.as_str();
            if kind.ends_with("disposition-notification") {
                seen.receipt = true;
            } else if part.is_returned() {
                if seen.returned.len() < RETURNED_MAX {
                    seen.returned.push(Fields::section(&part.octets()).0);
                }
            } else if !seen.take_report(part) && part.is_prose() && prose < PROSE_MAX {
                let text = part.text();
                prose += text.len();
                // HTML beside a plain text says the same once more.
                if kind != "text/html" || seen.texts.is_empty() {
                    seen.texts.push(text);
                }
            }
        }
        seen
    }

    /// Takes a machine-readable part: one that says so, or one that looks like it.
    fn take_report(&mut self, part: &mime::Part<'_>) -> bool {
        let kind = part.media.kind.as_str();
        let octets = part.octets();
        let named = (kind.ends_with("delivery-status"), kind.ends_with("feedback-report"));
        let first = octets.trim_ascii_start();
        if self.feedback.is_none() && (named.1 || arf::opens_like_one(first)) {
            self.feedback = arf::parse(&octets);
            return self.feedback.is_some();
        }
        if !named.0 && !status::opens_like_one(first) {
            return false;
        }
        let read = status::parse(&octets);
        let found = read.recipients.iter().any(|one| named.0 || one.final_recipient.is_some() && one.action.is_some());
        if found && self.status.is_none() {
            self.status = Some(read);
        }
        found
    }
}

type Judged = (Kind, Vec<Reported>, Option<Complaint>);

/// The order of evidence, as the module's table has it.
fn judge(opened: &Opened<'_>, seen: &Seen) -> Judged {
    if let Some(((complaint, recipients), _)) = &seen.feedback {
        let recipients =
            if recipients.is_empty() { whom_the_message_names(&seen.returned) } else { recipients.clone() };
        return (Kind::Arf, recipients, Some(complaint.clone()));
    }
    if let Some(status) = &seen.status {
        return (Kind::Dsn, completed(status.recipients.clone(), &opened.fields), None);
    }
    if seen.receipt {
        return (Kind::NotABounce, Vec::new(), None);
    }
    let subject = opened.fields.decoded("subject").unwrap_or_default();
    let text = seen.texts.first().map_or("", String::as_str);
    if !seen.returned.is_empty()
        && let Some(complaint) = arf::of_prose(&subject, text)
    {
        return (Kind::Arf, whom_the_message_names(&seen.returned), Some(complaint));
    }
    let sender = auto::sender(&opened.fields);
    if sender.absent && !sender.system {
        return (Kind::AutoReply, Vec::new(), None);
    }
    let by_person = !sender.system && (sender.answer || sender.bulk);
    if !by_person && let Some(recipients) = in_text(opened, seen, sender) {
        return (Kind::Dsn, recipients, None);
    }
    let kind = if sender.absent || sender.auto_replied { Kind::AutoReply } else { Kind::NotABounce };
    (kind, Vec::new(), None)
}

/// What the text reports, if it is a report.
fn in_text(opened: &Opened<'_>, seen: &Seen, sender: auto::Sender) -> Option<Vec<Reported>> {
    let prose = prose::read(&seen.texts, &opened.fields, &seen.returned);
    let machine = sender.system || sender.machine || prose.subject;
    if machine && let Some(status) = seen.texts.iter().find_map(|text| status::inline(text)) {
        return Some(completed(status.recipients, &opened.fields));
    }
    let said = prose.failure || (sender.system && prose.subject);
    let believed = if sender.system {
        !prose.recipients.is_empty() || sender.machine || prose.subject
    } else {
        machine && prose.named
    };
    (said && believed).then_some(prose.recipients)
}

/// Recipients that the report leaves out, from the header of the report.
fn completed(mut recipients: Vec<Reported>, outer: &Fields) -> Vec<Reported> {
    let known = outer.get("x-failed-recipients").map(|text| text.trim_matches(['<', '>', ' ']));
    if let ([one], Some(known)) = (&mut recipients[..], known)
        && one.final_recipient.is_none()
        && !known.contains(',')
    {
        one.final_recipient = Some(known.to_owned());
    }
    recipients
}

/// For complaints that name nobody: the field Microsoft's loop had.
fn whom_the_message_names(returned: &[Fields]) -> Vec<Reported> {
    arf::named(returned.iter().flat_map(|fields| fields.all("x-hmxmroriginalrecipient")))
}

#[cfg(test)]
mod tests;
