//! Bounces written for people only.
//!
//! No list of known texts: there are more mail servers than anybody has seen, and their texts are translated and edited.
//! What bounces have in common is their build. Somebody says that a delivery failed or waits (`words`); a recipient
//! stands on a line of its own, behind a label, or in that sentence (`find`); a reply or a reason follows it or is
//! announced by a label (`reply`, `reason`), and perhaps who said it (`speaker`); then comes the message, which is cut off first (`text`), because what our own
//! message says must not be taken for the report.

mod address;
mod find;
mod reason;
mod reply;
mod speaker;
mod text;
mod words;

use self::reason::{Reason, Reasons};
use super::Reported;
use super::fields::Fields;
use super::typed::enhanced;

/// What a text says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Prose {
    /// Whether it says that a delivery failed, waits or succeeded.
    pub failure: bool,
    /// Whether the subject does.
    pub subject: bool,
    /// Whether it names a recipient itself.
    pub named: bool,
    /// What it says about the recipients.
    pub recipients: Vec<Reported>,
}

/// Whether a text (lower case) says that a delivery failed.
pub(super) fn is_failure(text: &str) -> bool {
    words::is_failure(text)
}

/// Reads the texts of a mail. `outer` is its header, `returned` those of the messages it returns.
pub(super) fn read(texts: &[String], outer: &Fields, returned: &[Fields]) -> Prose {
    let mut lines: Vec<&str> = Vec::new();
    for text in texts {
        lines.extend(text::own_lines(text));
        lines.push("");
    }
    let subject = outer.decoded("subject").unwrap_or_default().to_lowercase();
    // One phrase may be broken over two lines.
    let body = lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").to_lowercase();
    let (known, own) = (listed(outer, "x-failed-recipients"), own_addresses(outer));
    let mentions = find::mentions(&lines, &known, &own);
    let mut prose = Prose {
        failure: words::is_failure(&body) || !known.is_empty(),
        subject: words::is_failure(&subject),
        named: !mentions.is_empty(),
        recipients: Vec::new(),
    };
    let action = action(&subject, &body);
    let reasons = Reasons::new(&lines, &mentions, &known);
    for mention in mentions {
        let reason = reasons.of(&mention);
        add(&mut prose.recipients, reported(mention.address, mention.alias, reason, action));
    }
    let unnamed: Vec<String> = match (&prose.recipients[..], known) {
        ([], known) if known.is_empty() => only_recipient(returned),
        (_, known) => known,
    };
    for address in unnamed {
        let seen = prose.recipients.iter().any(|one| same(one.final_recipient.as_deref(), &address));
        if !seen {
            // What a text says that names nobody, it says of all.
            let block = if prose.named { Vec::new() } else { below_announcement(&lines) };
            let about = find::Mention { address: address.clone(), alias: None, block, shared: true };
            let reason = reasons.of(&about);
            add(&mut prose.recipients, reported(address, None, reason, action));
        }
    }
    prose
}

fn reported(address: String, alias: Option<String>, reason: Option<Reason>, action: &str) -> Reported {
    let (diagnostic, said_by) = reason.map_or((None, None), |reason| (Some(reason.text), reason.said_by));
    Reported {
        action: Some(action.to_owned()),
        status: diagnostic.as_deref().and_then(enhanced).filter(|code| !code.starts_with('2')).map(str::to_owned),
        final_recipient: Some(address),
        original_recipient: alias,
        diagnostic,
        said_by,
        ..Reported::default()
    }
}

/// Takes in a recipient; one that is there already keeps the better diagnostic.
fn add(recipients: &mut Vec<Reported>, new: Reported) {
    let has_code =
        |one: &Reported| one.diagnostic.as_deref().is_some_and(|text| super::quoted::code_of(text).is_some());
    let address = new.final_recipient.clone().unwrap_or_default();
    match recipients.iter_mut().find(|one| same(one.final_recipient.as_deref(), &address)) {
        Some(old) if has_code(&new) && !has_code(old) => *old = new,
        Some(old) if old.diagnostic.is_none() => *old = new,
        Some(_) => {}
        None => recipients.push(new),
    }
}

fn same(seen: Option<&str>, address: &str) -> bool {
    seen.is_some_and(|seen| seen.eq_ignore_ascii_case(address))
}

/// The lines below the one that announces the failed recipients, for a text that does not name them.
fn below_announcement<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let announces = |line: &&str| line.trim_end().ends_with([':', '：']);
    lines.iter().position(announces).map_or(Vec::new(), |at| lines[at + 1..].to_vec())
}

fn action(subject: &str, body: &str) -> &'static str {
    if words::is_delay(body) || (words::is_delay(subject) && words::is_delay(&format!("{subject} {body}"))) {
        "delayed"
    } else if words::is_success(body) {
        "delivered"
    } else {
        "failed"
    }
}

fn listed(fields: &Fields, name: &str) -> Vec<String> {
    let values = fields.all(name).flat_map(|value| value.split([',', ' ', '\t']));
    let sound = values.map(|value| value.trim_matches(['<', '>', ';', '"'])).filter(|value| value.contains('@'));
    sound.take(100).map(str::to_owned).collect()
}

fn own_addresses(outer: &Fields) -> Vec<String> {
    let names = ["to", "from", "delivered-to", "envelope-to", "x-original-to", "return-path", "reply-to"];
    let found = names.iter().flat_map(|name| outer.all(name)).flat_map(address::all);
    found.take(100).map(|found| found.text.to_owned()).collect()
}

/// The recipient of the returned message, where it has one only.
fn only_recipient(returned: &[Fields]) -> Vec<String> {
    for name in ["x-actual-recipient", "x-envelope-to", "x-rcpt-to", "envelope-to", "to"] {
        let found: Vec<_> =
            returned.iter().flat_map(|fields| fields.all(name)).flat_map(address::all).take(2).collect();
        if let [one] = &found[..] {
            return vec![one.text.to_owned()];
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Action, status, address, diagnostic of each recipient.
    fn of(text: &str) -> Vec<[String; 4]> {
        let prose = read(&[text.to_owned()], &Fields::default(), &[]);
        assert!(prose.failure, "{text}");
        let or = |value: Option<String>| value.unwrap_or_default();
        prose
            .recipients
            .into_iter()
            .map(|r| [or(r.action), or(r.status), or(r.final_recipient), or(r.diagnostic)])
            .collect()
    }

    #[test]
    fn bounces_of_many_builds_are_read() {
        for (text, expected) in [
            (
                "was undeliverable to the following:\n\ta@x (user not found)\n\nPossibly truncated original message follows:\n",
                ["failed", "", "a@x", "user not found"],
            ),
            (
                "Your message\n\n  Subject: Hello\n\nwas not delivered to:\n\n  a@x\n\nbecause:\n\n  not listed in Directory\n",
                ["failed", "", "a@x", "not listed in Directory"],
            ),
            (
                "Some could not be reached:\n\n\tRecipient: [SMTP:a@x]\n\tReason: Server Returned: 550 5.1.1 No such mailbox\n",
                ["failed", "5.1.1", "a@x", "550 5.1.1 No such mailbox"],
            ),
            (
                "以下の宛先に配信できませんでした。\n\n宛先：a@x\n理由：容量\n\nサーバからの応答：\n552 5.2.2 Mailbox full\n",
                ["failed", "5.2.2", "a@x", "552 5.2.2 Mailbox full"],
            ),
            (
                "Delivery to the following recipient has been delayed:\n\n  a@x\n\nMessage will be retried\n\nTechnical details of temporary failure:\nno connection\n",
                ["delayed", "", "a@x", "no connection"],
            ),
            (
                "Failed to deliver to '<a@x>'\nSMTP module reports:\n host x says:\n 550 5.1.1 User unknown\n",
                ["failed", "5.1.1", "a@x", "550 5.1.1 User unknown"],
            ),
            (
                "cannot be delivered:\n\n<a@x>:\n    mx.x [192.0.2.1]:\n>>> RCPT TO:<a@x>\n<<< 550 5.1.1 no such user\n\n-----\n",
                ["failed", "5.1.1", "a@x", "550 5.1.1 no such user"],
            ),
            (
                "This Message was undeliverable due to the following reason:\n\nover quota\n\n<a@x>\n\nPlease reply to Postmaster@x\n",
                ["failed", "", "a@x", "over quota"],
            ),
            (
                "Su mensaje no se pudo entregar a:\n\n  a@x\n    Motivo: 550 5.1.1 desconocido\n",
                ["failed", "5.1.1", "a@x", "550 5.1.1 desconocido"],
            ),
            ("Your message has been successfully delivered to:\n\n  a@x\n", ["delivered", "", "a@x", ""]),
        ] {
            assert_eq!(of(text), [expected.map(str::to_owned)], "{text}");
        }
    }

    #[test]
    fn a_paragraph_belongs_to_the_address_above_it() {
        let text = "I wasn't able to deliver\n\n<a@x>:\nno mailbox. (#5.1.1)\n\n<b@x>:\nlookup failed. (#4.4.3)\n";
        let expected =
            [["failed", "5.1.1", "a@x", "no mailbox. (#5.1.1)"], ["failed", "4.4.3", "b@x", "lookup failed. (#4.4.3)"]];
        assert_eq!(of(text), expected.map(|row| row.map(str::to_owned)));
    }

    #[test]
    fn a_list_of_addresses_shares_the_reason_below() {
        let text = "could not be delivered to:\n\na@x\nb@x\n\nReason: 550 5.7.1 no\n";
        let expected = ["a@x", "b@x"].map(|address| ["failed", "5.7.1", address, "550 5.7.1 no"].map(str::to_owned));
        assert_eq!(of(text), expected);
    }

    #[test]
    fn the_address_the_message_was_sent_to_is_told_from_where_it_was_led() {
        let of = |text: &str| {
            let one = read(&[text.to_owned()], &Fields::default(), &[]).recipients.remove(0);
            (one.final_recipient.unwrap_or_default(), one.original_recipient)
        };
        let expanded = "had permanent fatal errors\n<list@y>\n    (expanded from: <a@x>)\n\n554 5.4.6 hops\n";
        assert_eq!(of(expanded), ("a@x".to_owned(), None));
        let generated = "The following address(es) failed:\n\n  b@y\n    (generated from a@x)\n    550 no\n";
        assert_eq!(of(generated), ("b@y".to_owned(), Some("a@x".to_owned())));
    }

    /// Status, address, diagnostic and speaker of each recipient.
    fn several(header: &str, text: &str) -> Vec<[String; 4]> {
        let prose = read(&[text.to_owned()], &Fields::section(header.as_bytes()).0, &[]);
        let or = |value: Option<String>| value.unwrap_or_default();
        let row = |r: Reported| [or(r.status), or(r.final_recipient), or(r.diagnostic), or(r.said_by)];
        prose.recipients.into_iter().map(row).collect()
    }

    #[test]
    fn nobody_is_given_what_another_recipient_was_told() {
        let failed = "X-Failed-Recipients: a@x.y, b@x.y\n";
        for (header, text, expected) in [
            // Postfix
            (
                "",
                "could not\nbe delivered\n\n<a@x.y>: host mx.example[192.0.2.1] said: 550 5.1.1 unknown (in\n    reply to RCPT TO command)\n\n<b@x.y>: mail for x.y loops back to myself\n\n<c@x.y>: Name service error for\n    name=x.y type=A: Host not found\n",
                &[
                    ["5.1.1", "a@x.y", "550 5.1.1 unknown", "mx.example [192.0.2.1]"],
                    ["", "b@x.y", "mail for x.y loops back to myself", ""],
                    ["", "c@x.y", "Name service error for name=x.y type=A: Host not found", ""],
                ][..],
            ),
            // Exim, whose header leaves one out
            (
                failed,
                "The following address(es) failed:\n\n  a@x.y\n    host mx.example [192.0.2.1]\n    SMTP error from remote mail server after RCPT TO:<a@x.y>:\n    550 5.7.1 Your IP is blacklisted\n  b@x.y\n    Unrouteable address\n  c@x.y\n    retry timeout exceeded\n",
                &[
                    ["5.7.1", "a@x.y", "550 5.7.1 Your IP is blacklisted", "mx.example [192.0.2.1]"],
                    ["", "b@x.y", "Unrouteable address", ""],
                    ["", "c@x.y", "retry timeout exceeded", ""],
                ],
            ),
            // netqmail
            (
                "",
                "I wasn't able to deliver\n\n<a@x.y>:\nSorry, I couldn't find any host named x.y. (#5.1.2)\n\n<b@x.y>:\n192.0.2.7 does not like recipient.\nRemote host said: 554 5.7.1 blocked\nGiving up on 192.0.2.7.\n",
                &[
                    ["5.1.2", "a@x.y", "Sorry, I couldn't find any host named x.y. (#5.1.2)", ""],
                    ["5.7.1", "b@x.y", "554 5.7.1 blocked", "192.0.2.7"],
                ],
            ),
            // Sendmail: the transcript below the last is not all about that one
            (
                "",
                "had permanent fatal errors -----\n<a@x.y>\n    (reason: 550 5.1.1 <a@x.y>... unknown)\n<b@x.y>\n    (reason: hop count)\n\n   ----- Transcript of session follows -----\n... while talking to mx.example.:\n>>> RCPT To:<a@x.y>\n<<< 550 5.1.1 unknown\n550 5.7.1 nobody in particular\n",
                &[["5.1.1", "a@x.y", "550 5.1.1 <a@x.y>... unknown", "mx.example"], ["", "b@x.y", "hop count", ""]],
            ),
            // A list, and a transcript with a reply to each
            (
                "",
                "had permanent fatal errors -----\n<a@x.y>\n<b@x.y>\n\n   ----- Transcript of session follows -----\n... while talking to mx.example.:\n>>> RCPT To:<a@x.y>\n<<< 550 5.1.1 unknown\n>>> RCPT To:<b@x.y>\n<<< 552 5.2.2 full\n",
                &[
                    ["5.1.1", "a@x.y", "550 5.1.1 unknown", "mx.example"],
                    ["5.2.2", "b@x.y", "552 5.2.2 full", "mx.example"],
                ],
            ),
            // Two replies that cannot be told apart
            (
                "",
                "could not be delivered:\n\na@x.y\nb@x.y\n\n550 5.1.1 unknown\n\n554 5.7.1 blocked\n",
                &[["", "a@x.y", "", ""], ["", "b@x.y", "", ""]],
            ),
            // A summary before the details
            (
                "",
                "could not be delivered:\n\na@x.y\nb@x.y\n\n<a@x.y>:\n550 5.1.1 unknown\n\n<b@x.y>:\nhop count\n",
                &[["5.1.1", "a@x.y", "550 5.1.1 unknown", ""], ["", "b@x.y", "hop count", ""]],
            ),
            // The header knows of one more than the text
            (
                failed,
                "The following address failed:\n\n  a@x.y\n    550 5.1.1 unknown\n",
                &[["5.1.1", "a@x.y", "550 5.1.1 unknown", ""], ["", "b@x.y", "", ""]],
            ),
        ] {
            let expected: Vec<_> = expected.iter().map(|row| row.map(str::to_owned)).collect();
            assert_eq!(several(header, text), expected, "{text}");
        }
    }
}
