//! Reads the recorded reports against their labels, and hostile mails against the clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

const HEADER: &str = "X-Remuda-Id";
const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/reports");

struct Row {
    file: String,
    field: BTreeMap<&'static str, String>,
}

fn rows(directory: &str) -> Vec<Row> {
    let index = std::fs::read_to_string(format!("{directory}/index.tsv")).expect("an index");
    let columns = ["file", "action", "status", "final_recipient", "diagnostic", "kind", "format"];
    let row = |line: &str| {
        let field: BTreeMap<_, _> = columns.into_iter().zip(line.split('\t').map(str::to_owned)).collect();
        Row { file: field["file"].clone(), field }
    };
    index.lines().skip(1).map(row).collect()
}

fn mail_of(directory: &str, file: &str) -> Vec<u8> {
    std::fs::read(format!("{directory}/{file}")).expect("a mail")
}

/// Letters and digits, spaces between, codes of continued lines left out: two spellings of one reply.
fn words(text: &str) -> std::collections::BTreeSet<String> {
    text.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_owned).collect()
}

/// Right and all of each field, by format.
#[derive(Debug, Default)]
struct Score(BTreeMap<String, (usize, usize)>);

impl Score {
    fn add(&mut self, key: String, right: bool) {
        let (good, all) = self.0.entry(key).or_default();
        *good += usize::from(right);
        *all += 1;
    }

    fn share(&self, key: &str) -> f64 {
        let (good, all) = self.0[key];
        good as f64 / all as f64
    }
}

fn score(directory: &str) -> Score {
    let mut score = Score::default();
    for row in rows(directory) {
        let mail = read(&mail_of(directory, &row.file), HEADER);
        score.add("kind".to_owned(), mail.kind.as_str() == row.field["kind"]);
        let wanted = row.field["final_recipient"].to_lowercase();
        let found = mail
            .recipients
            .iter()
            .find(|one| one.final_recipient.as_deref().is_some_and(|a| a.to_lowercase() == wanted));
        if row.field["kind"] != "dsn" {
            continue;
        }
        let none = Reported::default();
        let one = found.unwrap_or(&none);
        let format = &row.field["format"];
        score.add(format!("{format}/recipient"), found.is_some());
        for (name, seen) in [("action", &one.action), ("status", &one.status)] {
            if !row.field[name].is_empty() {
                score.add(format!("{format}/{name}"), seen.as_deref() == Some(row.field[name].as_str()));
            }
        }
        let (wanted, seen) = (words(&row.field["diagnostic"]), words(one.diagnostic.as_deref().unwrap_or_default()));
        if !wanted.is_empty() {
            score.add(format!("{format}/diagnostic"), wanted.intersection(&seen).count() * 5 >= wanted.len() * 4);
        }
    }
    score
}

#[test]
fn recorded_reports_are_read_as_labelled() {
    for directory in [RECORDED.to_owned(), format!("{RECORDED}/composed")] {
        let score = score(&directory);
        assert!(score.share("kind") >= 0.99, "{score:?}");
        for field in ["recipient", "action", "status", "diagnostic"] {
            assert!(score.share(&format!("rfc3464/{field}")) >= 0.99, "{field}: {score:?}");
            assert!(score.share(&format!("text/{field}")) >= 0.94, "{field}: {score:?}");
        }
    }
}

#[test]
fn complaints_name_type_and_recipient_as_labelled() {
    for directory in [RECORDED.to_owned(), format!("{RECORDED}/composed")] {
        for row in rows(&directory).iter().filter(|row| row.field["kind"] == "arf") {
            let mail = read(&mail_of(&directory, &row.file), HEADER);
            let said = format!("Feedback-Type: {}", mail.complaint.expect("a complaint").feedback_type);
            assert_eq!(said, row.field["diagnostic"], "{}", row.file);
            let wanted = &row.field["final_recipient"];
            let named = mail.recipients.iter().any(|one| one.final_recipient.as_ref() == Some(wanted));
            assert!(wanted.is_empty() || named, "{}", row.file);
        }
    }
}

/// A mail of lines.
fn of(lines: &[&str]) -> Mail {
    read(lines.join("\r\n").as_bytes(), HEADER)
}

#[test]
fn line_ends_make_no_difference() {
    for row in rows(RECORDED) {
        let mail = mail_of(RECORDED, &row.file);
        let text: Vec<u8> = mail.iter().copied().filter(|byte| *byte != b'\r').collect();
        let crlf: Vec<u8> = text.iter().flat_map(|b| if *b == b'\n' { vec![b'\r', b'\n'] } else { vec![*b] }).collect();
        assert_eq!(read(&text, HEADER), read(&crlf, HEADER), "{}", row.file);
    }
}

#[test]
fn what_people_and_lists_write_about_bounces_is_none() {
    let bounce = "<a@x>:\r\n550 5.1.1 User unknown\r\nYour message could not be delivered.";
    for header in [
        "From: Ann <ann@x>\r\nSubject: Re: Undelivered Mail Returned to Sender",
        "From: Ann <ann@x>\r\nSubject: Fwd: failure notice",
        "From: Ann <ann@x>\r\nSubject: a question",
        "From: news@x\r\nReturn-Path: <>\r\nList-Id: <l.x>\r\nSubject: Mail delivery failed? Seven reasons",
    ] {
        assert_eq!(of(&[header, "", bounce]).kind, Kind::NotABounce, "{header}");
    }
    let quoted = ["From: Ann <ann@x>", "Subject: Undelivered Mail", "", "> <a@x>:", "> 550 5.1.1 User unknown"];
    assert_eq!(of(&quoted).kind, Kind::NotABounce);
}

#[test]
fn a_report_inside_the_returned_message_is_not_the_outer_one() {
    let inner = "Content-Type: multipart/report; boundary=i\r\n\r\n--i\r\nContent-Type: message/delivery-status\r\n\r\nFinal-Recipient: rfc822; inner@x\r\nAction: failed\r\n--i--";
    let outer = |status: &str| {
        format!(
            "From: MAILER-DAEMON@x\r\nContent-Type: multipart/report; boundary=o\r\n\r\n--o\r\n{status}\r\n--o\r\nContent-Type: message/rfc822\r\n\r\n{inner}\r\n--o--"
        )
    };
    let status = "Content-Type: message/delivery-status\r\n\r\nFinal-Recipient: rfc822; outer@x\r\nAction: failed";
    let names = |mail: Mail| mail.recipients.into_iter().filter_map(|one| one.final_recipient).collect::<Vec<_>>();
    assert_eq!(names(of(&[&outer(status)])), ["outer@x"]);
    assert_eq!(names(of(&[&outer("\r\nYour message to <prose@x> could not be delivered.")])), ["prose@x"]);
}

#[test]
fn marks_come_from_the_report_and_from_what_it_returns() {
    let mark = |letter: char| letter.to_string().repeat(58);
    let mail = format!(
        "To: <b-{}@x>\nFrom: MAILER-DAEMON@y\nContent-Type: multipart/report; boundary=o\n\n--o\n\nsorry\n--o\nContent-Type: message/delivery-status\n\nOriginal-Envelope-Id: {}\n\nFinal-Recipient: rfc822; a@y\nAction: failed\n--o\nContent-Type: text/rfc822-headers\nContent-Transfer-Encoding: base64\n\n{}\n--o--\n",
        mark('c'),
        mark('a'),
        "WC1SRU1VREEtSUQ6DQogYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYg0KDQo=",
    );
    let found = read(mail.as_bytes(), "x-remuda-id").marks;
    assert_eq!(found[0], (Place::EnvelopeId, mark('a')));
    assert_eq!(found[1], (Place::Header, mark('b')));
    assert_eq!(found[2], (Place::ReturnPath, mark('c')));
}

#[test]
fn replies_are_rebuilt_from_what_reports_quote() {
    let of = |diagnostic: &str, status: &str| {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let one = Reported { diagnostic: text(diagnostic), status: text(status), ..Reported::default() };
        one.reply().map(|reply| reply.to_string())
    };
    for (diagnostic, status, reply) in [
        ("550 5.1.1 no such user", "5.1.1", "550 5.1.1 no such user"),
        ("550-5.7.26 one 550-5.7.26 two 550 5.7.26 three", "5.7.26", "550 5.7.26 one two three"),
        ("550 550 5.1.1 User unknown", "", "550 5.1.1 User unknown"),
        ("552 over quota", "5.0.0", "552 5.0.0 over quota"),
        ("5.1.0 - Unknown address error 550-'5.2.2 <a@x> full'", "", "550 5.2.2 <a@x> full'"),
        ("Host not found", "5.4.4", "550 5.4.4 Host not found"),
        ("Connection timed out", "4.4.1", "450 4.4.1 Connection timed out"),
    ] {
        assert_eq!(of(diagnostic, status).as_deref(), Some(reply), "{diagnostic}");
    }
    assert_eq!(of("Connection timed out", ""), None);
    assert_eq!(of("", "2.0.0"), None);
}

/// How long reading takes; only to tell bounded from unbounded, on whatever machine.
fn took(mail: &[u8]) -> Duration {
    let start = Instant::now();
    let _ = read(mail, HEADER);
    start.elapsed()
}

#[test]
fn hostile_mails_cost_bounded_time() {
    const MIB: usize = 1024 * 1024;
    let parts = "--b\n\nx\n".repeat(100_000);
    let nested: String = "Content-Type: message/rfc822\n\n".repeat(300_000);
    let deep: String =
        (0..50_000).map(|at| format!("Content-Type: multipart/mixed; boundary=b{at}\n\n--b{at}\n")).collect();
    let groups = "Final-Recipient: rfc822; a@x\nAction: failed\n\n".repeat(100_000);
    let body =
        |unit: &str| format!("From: MAILER-DAEMON@x\nSubject: undelivered\n\n{}", unit.repeat(10 * MIB / unit.len()));
    for (name, mail) in [
        ("garbage", (0..10 * MIB).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect::<Vec<u8>>()),
        ("one line", body("a@").into_bytes()),
        ("addresses", body("<a@x>: could not be delivered 550 a\n").into_bytes()),
        ("replies", body("550 5.1.1 x 550 \n").into_bytes()),
        ("commands", body("RCPT TO:<a@x>\n").into_bytes()),
        ("colons", body(":::::::").into_bytes()),
        ("fields", "a: b\n".repeat(2 * MIB).into_bytes()),
        ("folded", format!("a: {}", "b\n ".repeat(3 * MIB)).into_bytes()),
        ("parts", format!("Content-Type: multipart/mixed; boundary=b\n\n{parts}").into_bytes()),
        ("nested messages", nested.into_bytes()),
        ("nested multiparts", deep.into_bytes()),
        (
            "almost delimiters",
            format!("Content-Type: multipart/mixed; boundary=b\n\n{}", "--b".repeat(3 * MIB)).into_bytes(),
        ),
        ("groups", format!("Content-Type: message/delivery-status\n\n{groups}").into_bytes()),
        ("html", format!("From: MAILER-DAEMON@x\nContent-Type: text/html\n\n{}", "<a<".repeat(3 * MIB)).into_bytes()),
        ("words", format!("Subject: {}\n\n", "=?utf-8?q?a".repeat(MIB)).into_bytes()),
    ] {
        let time = took(&mail);
        println!("{name}: {time:?}");
        // Ten times what the slowest takes without optimisation.
        assert!(time < Duration::from_secs(20), "{name}: {time:?}");
    }
    let mail = format!(
        "Content-Type: message/delivery-status\n\n{}",
        "Final-Recipient: rfc822; a@x\nAction: failed\n\n".repeat(5000)
    );
    assert_eq!(read(mail.as_bytes(), HEADER).recipients.len(), 1000);
}

#[test]
fn every_prefix_of_a_report_can_be_read() {
    for file in [
        "dsn-flanker-no-mx.eml",
        "arf-sisimai-arf-12.eml",
        "dsn-sisimai-lhost-gmail-04.eml",
        "dsn-sisimai-lhost-kddi-01.eml",
    ] {
        let mail = mail_of(RECORDED, file);
        for end in 0..mail.len() {
            let _ = read(&mail[..end], HEADER);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn random_octets_are_read(octets in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let mail = read(&octets, HEADER);
        prop_assert!(mail.marks.len() <= 16);
    }

    #[test]
    fn changed_reports_are_read(which in any::<prop::sample::Index>(), changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..30)) {
        let rows = rows(RECORDED);
        let mut mail = mail_of(RECORDED, &which.get(&rows).file);
        for (at, byte) in changes {
            *at.get_mut(&mut mail) = byte;
        }
        let read = read(&mail, HEADER);
        prop_assert!(read.recipients.len() <= 1000);
        for one in &read.recipients {
            let _ = one.reply();
        }
    }

    #[test]
    fn prose_of_any_letters_is_read(text in "[a-z0-9@<>:.'\"()\\[\\] \n#é宛-]{0,400}") {
        let mail = format!("From: MAILER-DAEMON@x\nSubject: undelivered\n\n{text}");
        let _ = read(mail.as_bytes(), HEADER);
    }
}
