//! Reports as their readers find them.

use mail_parser::{MessageParser, MimeHeaders};
use proptest::prelude::*;

use super::*;

const ARRIVED: Wall = Wall::from_millis(1_795_000_000_000);
const NOW: Wall = Wall::from_millis(1_795_432_000_000);

fn mailbox(text: &str) -> Mailbox {
    text.parse().expect("valid")
}

/// What a test may change of a report.
fn input<'a>(to: &'a Mailbox, original: &'a [u8], recipients: &'a [Reported<'a>]) -> ReportInput<'a> {
    ReportInput {
        hostname: "relay.example.net",
        id: "0dq3k7z9x2m1a",
        to,
        is_double_bounce: false,
        original,
        extent: Extent::Headers,
        envelope_id: None,
        recipients,
        arrived: ARRIVED,
        until: NOW,
        now: NOW,
    }
}

fn written(input: &ReportInput<'_>) -> String {
    String::from_utf8(report(input, &Texts::default()).body.to_vec()).expect("UTF-8")
}

fn of(original: &[u8], recipients: &[Reported<'_>]) -> String {
    written(&input(&mailbox("sender@acme.example"), original, recipients))
}

fn refused<'a>(address: &'a Mailbox, reply: &'a str) -> Reported<'a> {
    Reported {
        address,
        original: None,
        action: Action::Failed,
        expired: false,
        reply: Some(reply),
        host: Some("mx.b.example"),
        last_attempt: Some(NOW),
        returned: None,
    }
}

#[test]
fn a_report_has_three_parts_with_the_fields_of_rfc_3464() {
    let (a, b) = (mailbox("a@b.example"), mailbox("c@d.example"));
    let expired = Reported {
        address: &b,
        original: None,
        action: Action::Failed,
        expired: true,
        reply: None,
        host: None,
        last_attempt: None,
        returned: None,
    };
    let raw = of(
        b"Subject: hello\r\nFrom: x@acme.example\r\n\r\nsecret body\r\n",
        &[refused(&a, "550 5.1.1 no such user"), expired],
    );
    let mail = MessageParser::default().parse(raw.as_bytes()).expect("a message");
    let kind = mail.content_type().expect("has one");
    assert_eq!((kind.ctype(), kind.subtype()), ("multipart", Some("report")));
    assert_eq!(kind.attribute("report-type"), Some("delivery-status"));
    assert_eq!(mail.header_raw("Auto-Submitted").map(str::trim), Some("auto-replied"));
    assert_eq!(mail.from().and_then(|f| f.first()?.address()), Some("MAILER-DAEMON@relay.example.net"));
    assert_eq!(mail.to().and_then(|f| f.first()?.address()), Some("sender@acme.example"));
    assert_eq!(mail.date().expect("has one").to_timestamp() * 1000, NOW.as_millis());
    assert_eq!(mail.parts.len(), 4);
    let part = |at: usize| String::from_utf8_lossy(mail.parts[at].contents()).into_owned();
    assert!(part(1).contains("<a@b.example>") && part(1).contains("550 5.1.1 no such user"), "{}", part(1));
    assert_eq!(
        part(2).trim_end(),
        "Reporting-MTA: dns; relay.example.net\r\nArrival-Date: Wed, 18 Nov 2026 11:06:40 +0000\r\n\r\n\
         Final-Recipient: rfc822; a@b.example\r\nAction: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.b.example\r\n\
         Diagnostic-Code: smtp; 550 5.1.1 no such user\r\nLast-Attempt-Date: Mon, 23 Nov 2026 11:06:40 +0000\r\n\r\n\
         Final-Recipient: rfc822; c@d.example\r\nAction: failed\r\nStatus: 4.4.7"
    );
    assert!(part(3).starts_with("Subject: hello\r\nFrom: x@acme.example"));
    assert!(!raw.contains("secret"));
}

#[test]
fn status_follows_from_the_reply() {
    let address = mailbox("a@b.example");
    for (reply, expired, status) in [
        (Some("550 5.7.515 no"), false, "5.7.515"),
        (Some("550 no"), false, "5.0.0"),
        (Some("550"), false, "5.0.0"),
        (Some("451 4.2.2 full"), true, "4.2.2"),
        (Some("451 no"), true, "4.4.7"),
        (Some("550 2.0.0 odd"), false, "5.0.0"),
        (Some("timed_out at connect: 192.0.2.1"), true, "4.4.7"),
        (Some("tls at tls: mx.example.org offers no STARTTLS"), true, "5.7.5"),
        (None, true, "4.4.7"),
        (None, false, "5.0.0"),
    ] {
        let failed = Reported {
            address: &address,
            original: None,
            action: Action::Failed,
            expired,
            reply,
            host: None,
            last_attempt: None,
            returned: None,
        };
        assert_eq!(programs::status(&failed), status, "{reply:?}");
    }
}

#[test]
fn what_the_operator_ended_says_so_and_blames_no_address() {
    let address = mailbox("a@b.example");
    let failed =
        Reported { returned: Some("customer asked\r\nBcc: x@example.org"), ..refused(&address, "450 4.7.1 try later") };
    let raw = of(b"Subject: x\r\n\r\n", &[failed]);
    assert!(raw.contains("Status: 5.7.0\r\n"), "{raw}");
    assert!(raw.contains("Diagnostic-Code: x-remuda; ended by the operator: customer asked Bcc:"), "{raw}");
    let plain = raw.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(plain.contains("The operator of this relay has ended its delivery: customer asked"), "{raw}");
    assert!(plain.contains("had given this answer before: 450 4.7.1 try later"), "{raw}");
    assert!(!plain.contains("refused it for good") && raw.lines().all(|line| !line.starts_with("Bcc")), "{raw}");
}

#[test]
fn hostile_replies_inject_nothing() {
    let address = mailbox("a@b.example");
    let reply = "550 no\r\nBcc: victim@example.org\r\n\r\n--=_report_0dq3k7z9x2m1a_0--\r\n\u{0}\u{1b}[2J \u{fc}ber";
    let failed = Reported { host: Some("mx\r\nX-Evil: yes"), ..refused(&address, reply) };
    let raw = of(b"Subject: x\r\nX: --=_report_0dq3k7z9x2m1a_0\r\n\r\n", &[failed]);
    let mail = MessageParser::default().parse(raw.as_bytes()).expect("a message");
    assert_eq!(mail.parts.len(), 4);
    assert!(raw.lines().all(|line| !line.starts_with("Bcc") && !line.starts_with("X-Evil")), "{raw}");
    assert!(raw.contains("550 no Bcc: victim@example.org"));
    assert!(raw.contains("Remote-MTA: dns; mxX-Evil:yes"));
}

proptest! {
    #[test]
    fn a_report_is_always_seven_bit_short_lines_and_four_parts(
        reply in ".{0,400}|[a-z]{0,3000}",
        host in ".{0,40}",
        original in proptest::collection::vec(any::<u8>(), 0..3000),
    ) {
        let address = mailbox("a@b.example");
        let failed = Reported { host: Some(&host), ..refused(&address, &reply) };
        let raw = of(&original, &[failed]);
        for line in raw.split_inclusive("\r\n") {
            let line = line.strip_suffix("\r\n").expect("every line ends with CRLF");
            prop_assert!(line.len() <= 998);
            prop_assert!(line.bytes().all(|b| matches!(b, b'\t' | 32..=126)));
        }
        let mail = MessageParser::default().parse(raw.as_bytes()).expect("a message");
        prop_assert_eq!(mail.parts.len(), 4);
    }
}

#[test]
fn what_the_sender_gave_comes_back_to_it() {
    let a = mailbox("a@b.example");
    let original = OriginalRecipient { kind: "rfc822".into(), address: "list+2Ba@b.example".parse().expect("xtext") };
    let envelope: Xtext = "QQ+20314159".parse().expect("xtext");
    let failed = [Reported { original: Some(&original), ..refused(&a, "550 5.1.1 no such user") }];
    let to = mailbox("sender@acme.example");
    let raw = written(&ReportInput { envelope_id: Some(&envelope), ..input(&to, b"Subject: x\r\n\r\n", &failed) });
    for field in [
        "\r\nOriginal-Envelope-Id: QQ 314159\r\nReporting-MTA: dns;",
        "\r\n\r\nOriginal-Recipient: rfc822; list+a@b.example\r\nFinal-Recipient: rfc822; a@b.example\r\n",
    ] {
        assert!(raw.contains(field), "{raw}");
    }
}

#[test]
fn each_kind_says_what_became_of_the_mail() {
    let (a, b, c) = (mailbox("a@b.example"), mailbox("c@d.example"), mailbox("e@f.example"));
    let late = Reported { action: Action::Delayed, ..refused(&a, "451 4.7.1 later") };
    let untried = Reported { reply: None, host: None, ..Reported { action: Action::Delayed, ..refused(&b, "") } };
    let raw = of(b"Subject: x\r\n\r\n", &[late, untried]);
    let plain = raw.split_whitespace().collect::<Vec<_>>().join(" ");
    for said in [
        "Subject: Your message is delayed",
        "has not been delivered yet to: <a@b.example> The host mx.b.example gave this answer last: 451 4.7.1 later",
        "<c@d.example> There was no chance to try it yet.",
        "it will be tried until Mon, 23 Nov 2026 11:06:40 +0000.",
        "Action: delayed Status: 4.7.1",
        "Action: delayed Status: 4.0.0",
        "Will-Retry-Until: Mon, 23 Nov 2026 11:06:40 +0000",
    ] {
        assert!(plain.contains(said), "{said}\n{raw}");
    }
    // A refusal that is not final has no final status.
    assert_eq!(programs::status(&Reported { action: Action::Delayed, ..refused(&a, "550 5.7.1 your IP") }), "4.0.0");
    let passed = Reported { action: Action::Relayed, ..refused(&c, "250 2.1.5 taken") };
    let raw = of(b"Subject: x\r\n\r\n", &[passed, refused(&a, "550 no")]);
    let plain = raw.split_whitespace().collect::<Vec<_>>().join(" ");
    for said in [
        "Subject: Your message could not be delivered",
        "<e@f.example> The host mx.b.example took it: 250 2.1.5 taken",
        "Action: relayed Status: 2.1.5",
        "Action: failed Status: 5.0.0",
    ] {
        assert!(plain.contains(said), "{said}\n{raw}");
    }
    let raw = of(b"", &[passed]);
    assert!(raw.contains("Subject: Your message was passed on\r\n") && !raw.contains("Will-Retry"), "{raw}");
    let pm = mailbox("pm@relay.example.net");
    let failed = [refused(&a, "550 no")];
    let raw = written(&ReportInput { is_double_bounce: true, ..input(&pm, b"", &failed) });
    assert!(raw.contains("Subject: A bounce could not be delivered\r\n") && raw.contains("A message without a sender"));
}

#[test]
fn a_whole_message_comes_back_as_it_was() {
    let a = mailbox("a@b.example");
    let to = mailbox("sender@acme.example");
    let failed = [refused(&a, "550 no")];
    let whole = |original: &[u8]| {
        report(&ReportInput { extent: Extent::Full, ..input(&to, original, &failed) }, &Texts::default())
    };
    for (original, kind, eight_bit) in [
        (&b"Subject: x\r\n\r\nbody\r\n"[..], "message/rfc822", false),
        (b"Subject: x\r\n\r\nb\xf6dy\r\n", "message/rfc822", true),
        ("Subject: gr\u{fc}\u{df}e\r\n\r\nb\u{f6}dy\r\n".as_bytes(), "message/global", false),
    ] {
        let report = whole(original);
        assert_eq!((report.eight_bit, report.utf8), (eight_bit, false));
        let mail = MessageParser::default().parse(&report.body).expect("a message");
        let part = mail.parts.last().expect("the third");
        let found = part.content_type().map(|kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("")));
        assert_eq!(found.as_deref(), Some(kind));
        if kind == "message/rfc822" {
            assert!(memchr::memmem::find(&report.body, original).is_some(), "octet by octet");
        }
        let said = String::from_utf8_lossy(&report.body).contains("Content-Transfer-Encoding: 8bit\r\n");
        assert_eq!(said, eight_bit);
        assert!(String::from_utf8_lossy(&report.body).contains("Your message follows."));
    }
}

#[test]
fn texts_of_several_languages_stand_one_after_the_other() {
    let shipped = include_str!("../../../config/reports.toml");
    let second = shipped[shipped.find("[[language]]").expect("one")..]
        .replace("name = \"en\"", "name = \"de\"")
        .replace("This is the mail relay at {hostname}.", "Hier ist der Postdienst {hostname} für Sie.")
        .replace("{who} refused it for good:", "{who} hat sie endgültig abgelehnt:");
    let texts = Texts::parse(&format!("{}{second}", shipped.replace("Mail Delivery System", "Poststelle Köln")))
        .expect("good texts");
    let a = mailbox("a@b.example");
    let to = mailbox("sender@acme.example");
    let failed = [refused(&a, "550 no")];
    let report = report(&input(&to, b"Subject: x\r\n\r\n", &failed), &texts);
    assert!(report.body.is_ascii() && !report.eight_bit);
    let mail = MessageParser::default().parse(&report.body).expect("a message");
    assert_eq!(mail.from().and_then(|from| from.first()?.name()), Some("Poststelle Köln"));
    let people = String::from_utf8_lossy(mail.parts[1].contents()).into_owned();
    let english = people.find("This is the mail relay at relay.example.net.").expect("English");
    let german = people.find("Hier ist der Postdienst relay.example.net für Sie.").expect("German");
    assert!(english < german && people.contains("The host mx.b.example hat sie endgültig abgelehnt:"), "{people}");
}

#[test]
fn where_nothing_is_returned_there_is_no_third_part_and_no_word_of_it() {
    let a = mailbox("a@b.example");
    let to = mailbox("sender@acme.example");
    let failed = [refused(&a, "550 no")];
    let raw = written(&ReportInput { extent: Extent::Nothing, ..input(&to, b"Subject: secret\r\n\r\nx\r\n", &failed) });
    let mail = MessageParser::default().parse(raw.as_bytes()).expect("a message");
    assert_eq!(mail.parts.len(), 3, "itself, for people, for programs: {raw}");
    assert!(!raw.contains("secret") && !raw.contains("of your message follow"), "{raw}");
    assert!(raw.contains("Status: 5.0.0\r\n") && raw.contains("No further attempt will be made."), "{raw}");
}

#[test]
fn a_part_for_programs_beyond_ascii_has_the_type_that_may_be_encoded() {
    let (a, beyond) = (mailbox("a@b.example"), Mailbox::international("gr\u{fc}n@b.example").expect("valid"));
    let original =
        |kind: &str| OriginalRecipient { kind: kind.into(), address: Xtext::of("gr\u{fc}n@b.example").expect("xtext") };
    for (address, kind, is_global, said) in [
        (&a, "rfc822", false, "Original-Recipient: rfc822; gr?n@b.example\r\n"),
        (&a, "utf-8", true, "Original-Recipient: utf-8; gr=C3=BCn@b.example\r\n"),
        (&beyond, "rfc822", true, "Original-Recipient: rfc822; gr?n@b.example\r\n"),
    ] {
        let original = original(kind);
        let raw = of(b"", &[Reported { original: Some(&original), ..refused(address, "550 no") }]);
        assert_eq!(raw.contains("Content-Type: message/global-delivery-status\r\n"), is_global, "{raw}");
        assert_eq!(raw.contains("Content-Type: message/delivery-status\r\n\r\nReporting-MTA:"), !is_global, "{raw}");
        assert!(raw.contains(said), "{raw}");
    }
}
