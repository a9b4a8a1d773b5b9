//! The part of a report that programs read (RFC 3464 §2, RFC 6533 §3).

use super::text::{date, decoded, field, text, word};
use super::{Action, ReportInput, Reported};
use crate::outcome::EnhancedCode;

/// Status of what the operator ended: security or policy, undefined (RFC 3463 §3.8, X.7.0). On purpose none that blames
/// the address (X.1.x) or says nothing at all (X.0.0), for which lists strike their subscribers off.
const RETURNED: &str = "5.7.0";

pub(super) fn for_programs(input: &ReportInput<'_>) -> String {
    let mut out = String::new();
    if let Some(id) = input.envelope_id {
        field(&mut out, "Original-Envelope-Id", &text(&String::from_utf8_lossy(&id.decoded())));
    }
    field(&mut out, "Reporting-MTA", &format!("dns; {}", word(input.hostname)));
    field(&mut out, "Arrival-Date", &date(input.arrived));
    for one in input.recipients {
        out.push_str("\r\n");
        if let Some(original) = one.original {
            let mut address = decoded(&original.address.decoded());
            // Only this type of address goes beyond ASCII (RFC 6533 §3).
            if !original.kind.eq_ignore_ascii_case("utf-8") {
                address = text(&address);
            }
            field(&mut out, "Original-Recipient", &format!("{}; {address}", word(&original.kind)));
        }
        let kind = if one.address.as_str().is_ascii() { "rfc822" } else { "utf-8" };
        field(&mut out, "Final-Recipient", &format!("{kind}; {}", one.address));
        field(&mut out, "Action", one.action.as_str());
        field(&mut out, "Status", &status(one));
        if let Some(host) = one.host.map(word).filter(|host| !host.is_empty()) {
            field(&mut out, "Remote-MTA", &format!("dns; {host}"));
        }
        if let Some(why) = one.returned {
            let why = format!("x-remuda; ended by the operator: {}", text(why));
            field(&mut out, "Diagnostic-Code", &why);
        } else if let Some(reply) = one.reply {
            let kind = if code_of(reply).is_some() { "smtp" } else { "x-remuda" };
            field(&mut out, "Diagnostic-Code", &format!("{kind}; {}", text(reply)));
        }
        if let Some(at) = one.last_attempt {
            field(&mut out, "Last-Attempt-Date", &date(at));
        }
        if one.action == Action::Delayed {
            field(&mut out, "Will-Retry-Until", &date(input.until));
        }
    }
    out
}

/// Status (RFC 3464 §2.3.4): the enhanced code of the reply, or what follows from its code, or from the time run out.
pub(super) fn status(one: &Reported<'_>) -> String {
    if one.returned.is_some() {
        return RETURNED.to_owned();
    }
    let reply = one.reply.unwrap_or_default();
    let class = code_of(reply);
    let enhanced = class.and_then(|_| EnhancedCode::lead(reply.as_bytes().get(4..)?)).map(|(code, _)| code);
    let said = |class: u8| enhanced.filter(|code| code.class == class).map(|code| code.to_string());
    match one.action {
        Action::Relayed => said(2).unwrap_or_else(|| "2.0.0".to_owned()),
        // What will be tried again is not refused for good, whatever was answered.
        Action::Delayed => said(4).unwrap_or_else(|| "4.0.0".to_owned()),
        Action::Failed => match (enhanced, class) {
            (Some(code), _) if code.class != 2 => code.to_string(),
            (_, Some(b'5')) => "5.0.0".to_owned(),
            (_, Some(b'4')) if !one.expired => "4.0.0".to_owned(),
            // The time ran out, but this is why (RFC 3463 §3.8, X.7.5: cryptographic failure).
            _ if one.expired && reply.starts_with("tls at ") => "5.7.5".to_owned(),
            _ if one.expired => "4.4.7".to_owned(),
            _ => "5.0.0".to_owned(),
        },
    }
}

/// The first digit of the code `text` begins with, as a reply does and the description of a failure does not.
fn code_of(text: &str) -> Option<u8> {
    let bytes = text.as_bytes();
    let class = bytes.first().copied().filter(|class| matches!(class, b'2' | b'4' | b'5'))?;
    let is_code = bytes.iter().take(3).filter(|b| b.is_ascii_digit()).count() == 3;
    (is_code && matches!(bytes.get(3), None | Some(b' '))).then_some(class)
}
