//! `remuda classify --mail FILE`: what a bounce or complaint says.
//!
//! For whoever wonders what the program makes of a mail that came back: one JSON object with the kind, what is said
//! about each recipient, the complaint, and what the rules conclude from the reply that is quoted (`outcome`).

use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::fail;
use super::terminal::visible_json;
use crate::feedback::read::{Complaint, Mail, Reported, read};
use crate::outcome::{Cause, Classifier, Context};

/// The field our marks travel in, where no configuration says otherwise.
const HEADER: &str = "X-Remuda-Id";

/// `context` is where the quoted replies came from and in which stage; a report does not say either.
pub(super) fn main(file: &Path, classifier: &Classifier, context: Context<'_>) -> ExitCode {
    let octets = if file == Path::new("-") {
        let mut octets = Vec::new();
        io::stdin().lock().read_to_end(&mut octets).map(|_| octets)
    } else {
        std::fs::read(file)
    };
    let octets = match octets {
        Ok(octets) => octets,
        Err(error) => return fail(format_args!("cannot read {}: {error}", file.display())),
    };
    let object = object(&read(&octets, HEADER), classifier, context).to_string();
    match writeln!(io::stdout().lock(), "{}", visible_json(&object)) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output may have seen enough (`| head`).
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(error),
    }
}

fn object(mail: &Mail, classifier: &Classifier, context: Context<'_>) -> Value {
    let recipients: Vec<Value> = mail.recipients.iter().map(|one| recipient(one, classifier, context)).collect();
    let mut object = json!({ "kind": mail.kind.as_str(), "recipients": recipients });
    if let Some(complaint) = &mail.complaint {
        object["complaint"] = self::complaint(complaint);
    }
    if !mail.marks.is_empty() {
        let mark = |(place, text): &(_, String)| json!({ "place": crate::feedback::read::Place::as_str(*place), "mark": text });
        object["marks"] = mail.marks.iter().map(mark).collect();
    }
    object
}

fn recipient(one: &Reported, classifier: &Classifier, context: Context<'_>) -> Value {
    let mut object = json!({
        "action": one.action, "status": one.status, "final_recipient": one.final_recipient, "diagnostic": one.diagnostic,
    });
    if one.original_recipient.is_some() {
        object["original_recipient"] = json!(one.original_recipient);
    }
    if one.remote_mta.is_some() {
        object["remote_mta"] = json!(one.remote_mta);
    }
    if let Some(reply) = one.reply() {
        let outcome = classifier.reply(&reply, context);
        object["outcome"] = json!({
            "category": outcome.cause.map(Cause::as_str),
            "scope": outcome.scope.label(),
            "counts_against_ip": outcome.counts_against_ip,
            "hard": outcome.hard,
            "rule": &*outcome.rule,
        });
    }
    object
}

fn complaint(complaint: &Complaint) -> Value {
    json!({
        "feedback_type": complaint.feedback_type,
        "incidents": complaint.incidents,
        "source_ip": complaint.source_ip,
        "arrived": complaint.arrived.map(|at| at.to_string()),
        "user_agent": complaint.user_agent,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Stage;

    fn of(mail: &str) -> Value {
        object(
            &read(mail.as_bytes(), HEADER),
            &Classifier::shipped(),
            Context { stage: Stage::Rcpt, provider: None, own: &[] },
        )
    }

    #[test]
    fn a_bounce_says_what_the_rules_make_of_it() {
        let seen =
            of("From: MAILER-DAEMON@x\nSubject: failure notice\n\n<a@y>:\nRemote host said: 550 5.1.1 User unknown\n");
        assert_eq!(seen["kind"], "dsn");
        let one = &seen["recipients"][0];
        assert_eq!(
            (&one["action"], &one["status"], &one["final_recipient"]),
            (&json!("failed"), &json!("5.1.1"), &json!("a@y"))
        );
        assert_eq!(one["outcome"]["category"], "invalid_recipient");
        assert_eq!(one["outcome"]["counts_against_ip"], false);
    }

    #[test]
    fn what_is_silent_is_null_and_without_outcome() {
        let seen = of("Content-Type: message/delivery-status\n\nFinal-Recipient: rfc822; a@y\nAction: delivered\n");
        assert_eq!(seen["recipients"][0]["status"], Value::Null);
        assert_eq!(seen["recipients"][0].get("outcome"), None);
        assert_eq!(seen.get("complaint"), None);
    }

    #[test]
    fn a_complaint_is_shown() {
        let seen =
            of("Content-Type: message/feedback-report\n\nFeedback-Type: abuse\nIncidents: 3\nSource-IP: 192.0.2.1\n");
        assert_eq!((&seen["kind"], &seen["complaint"]["incidents"]), (&json!("arf"), &json!(3)));
        assert_eq!(seen["complaint"]["source_ip"], "192.0.2.1");
    }
}
