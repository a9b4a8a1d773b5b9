//! Who speaks: a mail system, an absent person's machine, a list, or a human being. Told from the header alone.

use super::absence;
use super::fields::Fields;
use super::lists::each;
use super::prose;

/// What the header says about the sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sender {
    /// It calls itself a mail system (`MAILER-DAEMON`, postmaster, "Mail Delivery System").
    pub system: bool,
    /// Something else says that no person wrote this: null return path, Auto-Submitted, noreply.
    pub machine: bool,
    /// It was sent to many: List-Id, List-Unsubscribe.
    pub bulk: bool,
    /// The subject answers or forwards: "Re:", "Fwd:".
    pub answer: bool,
    /// Fields that only auto-responders set, or the subject of one.
    pub absent: bool,
    /// Auto-Submitted: auto-replied (RFC 3834 §5), which bounces of Exim and Postfix also carry.
    pub auto_replied: bool,
}

/// Local parts mail systems write from.
const SYSTEMS: &str = "
    mailer-daemon, mailerdaemon, mail-daemon, maildaemon, mdaemon, postmaster, mailer_daemon";
/// Names mail systems give themselves.
const SYSTEM_NAMES: &str = "
    mail delivery, maildelivery, mailer-daemon, mailer daemon, delivery subsystem, delivery system,
    delivery status, mail system, mailsystem, mail server, mailserver, mail administrator,
    system administrator, systemadministrator, mail router, internet mail, postmaster, zustellsystem";
/// Words that answers and forwards begin with.
const ANSWERS: &str = "
    re:, re :, fwd:, fw:, aw:, wg:, sv:, vs:, antw:, tr:, rv:, res:, enc:, odp:, r:, i:, 回复:, 转发:, ha:, re[,
    答复:";

/// Reads the header.
pub(super) fn sender(fields: &Fields) -> Sender {
    let lower = |name: &str| fields.decoded(name).unwrap_or_default().to_lowercase();
    let (subject, from, auto) = (lower("subject"), lower("from"), lower("auto-submitted"));
    let precedence: Vec<String> =
        fields.all("precedence").chain(fields.all("x-precedence")).map(str::to_lowercase).collect();
    let address = address_of(&from);
    let local = address.split('@').next().unwrap_or_default();
    let name = from.replace(address, " ");
    let null_path = fields.all("return-path").chain(fields.all("x-return-path")).any(|path| path.trim() == "<>");
    let bulk = fields.get("list-id").is_some() || fields.get("list-unsubscribe").is_some();
    let auto_replied = auto.starts_with("auto-replied");
    let machine = null_path
        || from.trim() == "<>"
        || (!auto.is_empty() && auto != "no")
        || ["noreply", "no-reply", "donotreply", "do-not-reply", "mailgw", "mtaadmin"]
            .iter()
            .any(|word| local.starts_with(word));
    let answered = fields.get("in-reply-to").is_some() || fields.get("references").is_some();
    let answer = each(ANSWERS).any(|begin| subject.starts_with(begin));
    // Who answers a bounce with such words in the subject writes about it.
    let writes_about_a_bounce = answer && prose::is_failure(&subject);
    let speaks_for_itself = !bulk && !writes_about_a_bounce;
    Sender {
        system: each(SYSTEMS).any(|system| local.starts_with(system))
            || each(SYSTEM_NAMES).any(|system| name.contains(system))
            || fields.get("x-failed-recipients").is_some(),
        machine,
        bulk,
        answer,
        absent: absence::by_fields(fields, &precedence)
            || (speaks_for_itself
                && absence::by_subject(
                    after_answers(&subject),
                    machine || answered || answer || !precedence.is_empty(),
                )),
        auto_replied,
    }
}

/// The address in a From field, or the field as it is.
fn address_of(from: &str) -> &str {
    match (from.rfind('<'), from.rfind('>')) {
        (Some(open), Some(close)) if open < close => &from[open + 1..close],
        _ => from.split_whitespace().find(|word| word.contains('@')).unwrap_or(from).trim(),
    }
}

/// A subject (lower case) without the words that answers begin with.
fn after_answers(subject: &str) -> &str {
    let mut rest = subject.trim();
    while let Some(after) = each(ANSWERS).find_map(|begin| rest.strip_prefix(begin)) {
        rest = after.trim_start();
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &str) -> Sender {
        sender(&Fields::section(header.as_bytes()).0)
    }

    #[test]
    fn mail_systems_are_known_by_address_or_name() {
        for from in [
            "MAILER-DAEMON@x (Mail Delivery System)",
            "Mail Delivery Subsystem <bounce-nobody@x>",
            "<postmaster@x>",
            "MDaemon at x <MDaemon@x>",
            "mailer-daemon",
            "=?UTF-8?Q?Mail_Delivery_System?= <m@x>",
        ] {
            assert!(of(&format!("From: {from}\n")).system, "{from}");
        }
        for from in ["Ann <ann@postmaster.example>", "ann@x", "\"Postal Daily\" <news@x>", ""] {
            assert!(!of(&format!("From: {from}\n")).system, "{from}");
        }
    }

    #[test]
    fn auto_replies_are_known_by_field_or_subject() {
        for header in [
            "X-Autoreply: yes\n",
            "Precedence: auto_reply\n",
            "Subject: Automatic reply: x\nAuto-Submitted: auto-generated\n",
            "Subject: Re: Out of Office: x\n",
            "Subject: =?UTF-8?Q?R=C3=A9ponse_automatique_:_x?=\nIn-Reply-To: <a@b>\n",
            "Subject: Abwesenheitsnotiz: x\n",
            "Subject: 自動返信: x\nReturn-Path: <>\n",
            "Subject: Jestem na urlopie Re: Oferta\n",
            "Subject: Poza biurem: x\n",
            "Subject: Mimo kancelář\n",
            "Subject: Afwezig: x\n",
            "Subject: Fuori ufficio: x\n",
            "Subject: Re: Fora do escritório\n",
            "Subject: Fuera de la oficina: x\n",
            "Subject: Frånvarande: x\n",
            "Subject: Fraværende\n",
            "Subject: Házon kívül: x\n",
            "Subject: Ofis dışında: x\n",
            "Subject: Автоответ: x\n",
            "Subject: 自动回复: x\n",
            "Subject: 自動応答: x\n",
            "Subject: 不在：x\n",
            "Subject: 자동 응답: x\n",
        ] {
            assert!(of(header).absent, "{header}");
        }
        for header in [
            "Subject: Vacation offers\nList-Unsubscribe: <x>\n",
            "Subject: Vacation offers\n",
            "Subject: Away from home\n",
            "X-Autoreply: no\n",
            "Subject: Re: Automatic reply: your mail was undeliverable\n",
            "Subject: 自动回复: x\nList-Id: <l.x>\n",
            "Subject: Rabat, gdy jestem na urlopie\n",
            "Subject: 不在者投票\n",
            "Subject: hello\nAuto-Submitted: auto-replied\n",
        ] {
            assert!(!of(header).absent, "{header}");
        }
        assert!(of("Auto-Submitted: auto-replied (x)\n").auto_replied);
    }
}
