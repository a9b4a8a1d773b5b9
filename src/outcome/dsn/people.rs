//! The part of a report that people read.

use super::text::{date, fold, text, word};
use super::texts::{Language, Texts, fill};
use super::{Action, ReportInput, Reported};

/// Between two languages.
const RULE: &str = "\r\n========\r\n\r\n";

/// All languages, one after the other. `is_whole`: the message is returned, not only its header; `None` where neither is.
pub(super) fn for_people(input: &ReportInput<'_>, texts: &Texts, is_whole: Option<bool>) -> String {
    let said: Vec<String> = texts.languages.iter().map(|language| in_language(input, language, is_whole)).collect();
    said.join(RULE)
}

fn in_language(input: &ReportInput<'_>, language: &Language, is_whole: Option<bool>) -> String {
    let mut out = String::new();
    let general = |name: &str| general(input, name);
    let line = |out: &mut String, line: &str| fold(out, "", &fill(line, &general));
    line(&mut out, &language.greeting);
    for action in [Action::Failed, Action::Delayed, Action::Relayed] {
        let mut these = input.recipients.iter().filter(|one| one.action == action).peekable();
        if these.peek().is_none() {
            continue;
        }
        out.push_str("\r\n");
        line(
            &mut out,
            match action {
                Action::Failed if input.is_double_bounce => &language.double_bounce,
                Action::Failed => &language.failed,
                Action::Delayed => &language.delayed,
                Action::Relayed => &language.relayed,
            },
        );
        these.for_each(|one| about(&mut out, input, one, language));
        out.push_str("\r\n");
        line(
            &mut out,
            match action {
                Action::Failed => &language.end_failed,
                Action::Delayed => &language.end_delayed,
                Action::Relayed => &language.end_relayed,
            },
        );
    }
    if let Some(is_whole) = is_whole {
        line(&mut out, if is_whole { &language.message_follows } else { &language.header_follows });
    }
    out
}

fn about(out: &mut String, input: &ReportInput<'_>, one: &Reported<'_>, language: &Language) {
    out.push_str(&format!("\r\n<{}>\r\n", one.address));
    let reply = one.reply.map(text).unwrap_or_default();
    let host = one.host.map(word).unwrap_or_default();
    let plain = |name: &str| match name {
        "recipient" => one.address.to_string(),
        "host" => host.clone(),
        "reply" => reply.clone(),
        "reason" => one.returned.map(text).unwrap_or_default(),
        other => general(input, other),
    };
    let who = fill(if host.is_empty() { &language.who_unknown } else { &language.who_host }, &plain);
    let value = |name: &str| if name == "who" { who.clone() } else { plain(name) };
    let mut say = |line: &str| fold(out, "    ", &fill(line, &value));
    let has_reply = one.reply.is_some();
    match (one.action, one.returned, has_reply) {
        (Action::Failed, Some(_), true) => {
            say(&language.returned);
            say(&language.answered_before);
        }
        (Action::Failed, Some(_), false) => say(&language.returned),
        (Action::Failed, None, true) if one.expired => say(&language.expired),
        (Action::Failed, None, true) => say(&language.refused),
        (Action::Failed, None, false) => say(&language.untried),
        (Action::Delayed, _, true) => say(&language.waits),
        (Action::Delayed, _, false) => say(&language.waits_untried),
        (Action::Relayed, ..) => say(&language.passed_on),
    }
    if has_reply {
        fold(out, "        ", &reply);
    }
}

/// What a field stands for that is the same for all recipients.
pub(super) fn general(input: &ReportInput<'_>, name: &str) -> String {
    match name {
        "hostname" => word(input.hostname),
        "sender" => input.to.to_string(),
        "arrived" => date(input.arrived),
        "now" => date(input.now),
        "until" => date(input.until),
        "envelope_id" => input.envelope_id.map(|id| text(&String::from_utf8_lossy(&id.decoded()))).unwrap_or_default(),
        _ => String::new(),
    }
}
