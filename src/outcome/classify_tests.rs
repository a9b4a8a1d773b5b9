//! The shipped rules under test: labelled replies, hostile input, and facts that must hold for every reply.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::outcome::classify_cli::parse_line;

/// Compiling takes half a second without optimisation.
static SHIPPED: LazyLock<Classifier> = LazyLock::new(Classifier::shipped);

fn reply(line: &str) -> Reply {
    parse_line(line.as_bytes()).expect("a reply")
}

fn outcome(classifier: &Classifier, stage: Stage, line: &str) -> Outcome {
    classifier.reply(&reply(line), Context { stage, provider: None, own: &[] })
}

#[test]
fn every_rule_is_the_first_to_match_its_samples() {
    let classifier = &*SHIPPED;
    for rule in classifier.rules() {
        assert!(!rule.samples.is_empty(), "{} has no sample", rule.id);
        assert!(!rule.source.is_empty(), "{} has no source", rule.id);
        let stage = rule.stages.first().copied().unwrap_or(Stage::Rcpt);
        for sample in &rule.samples {
            assert_eq!(&*outcome(classifier, stage, sample).rule, rule.id, "{sample}");
        }
    }
}

const RECORDED: &str = include_str!("../../tests/data/replies/smtp-replies.tsv");
const COMPOSED: &str = include_str!("../../tests/data/replies/composed.tsv");
const VARIATIONS: &str = include_str!("../../tests/data/replies/variations.tsv");

/// The rows of a labelled file: reply, category, scope, counts_against_ip, hard.
fn labelled(file: &str) -> impl Iterator<Item = [&str; 5]> {
    file.lines().skip(1).map(|row| {
        let mut cells = row.split('\t');
        std::array::from_fn(|_| cells.next().expect("five columns"))
    })
}

/// How well the shipped rules meet the labels of `file`: shares of one.
#[derive(Debug)]
struct Marks {
    precision: f64,
    recall: f64,
    category: f64,
    scope: f64,
    hard: f64,
}

fn marks(file: &str) -> Marks {
    let classifier = &*SHIPPED;
    let (mut total, mut category, mut scope, mut hard) = (0, 0, 0, 0);
    let (mut right, mut false_alarm, mut missed) = (0, 0, 0);
    for [line, cause, whose, counts, bad_address] in labelled(file) {
        let seen = outcome(classifier, Stage::Rcpt, line);
        total += 1;
        category += usize::from(seen.cause.map(Cause::as_str) == Some(cause));
        scope += usize::from(seen.scope.label() == whose);
        hard += usize::from(seen.hard == (bad_address == "yes"));
        match (counts == "yes", seen.counts_against_ip) {
            (true, true) => right += 1,
            (false, true) => false_alarm += 1,
            (true, false) => missed += 1,
            (false, false) => {}
        }
        if seen.counts_against_ip {
            assert_eq!((seen.disposition, seen.next_binding), (Disposition::Deferred, NextBinding::Other), "{line}");
        }
    }
    let share = |part: usize, whole: usize| part as f64 / whole as f64;
    Marks {
        precision: share(right, right + false_alarm),
        recall: share(right, right + missed),
        category: share(category, total),
        scope: share(scope, total),
        hard: share(hard, total),
    }
}

/// Bars below what is reached, so that a new rule may cost a row but not a habit.
#[test]
fn labelled_replies_are_judged_as_labelled() {
    for (name, file, rows) in
        [("recorded", RECORDED, 600), ("composed", COMPOSED, 240), ("variations", VARIATIONS, 350)]
    {
        assert!(labelled(file).count() >= rows, "{name}");
        let seen = marks(file);
        assert!(seen.precision >= 0.98 && seen.recall >= 0.95, "{name}: {seen:?}");
        assert!(seen.category >= 0.96 && seen.scope >= 0.96 && seen.hard >= 0.98, "{name}: {seen:?}");
    }
}

/// A pattern that fits one text only is worth nothing. Providers' markers are documented one by one, the fall-backs
/// stand for codes; what is between has to decide at least two different labelled replies.
///
/// `cargo test every_generic_rule -- --nocapture` prints how many each decides.
#[test]
fn every_generic_rule_decides_several_replies() {
    let classifier = &*SHIPPED;
    let mut decided = std::collections::HashMap::<Arc<str>, std::collections::HashSet<&str>>::new();
    for [line, ..] in [RECORDED, COMPOSED, VARIATIONS].into_iter().flat_map(labelled) {
        decided.entry(outcome(classifier, Stage::Rcpt, line).rule).or_default().insert(line);
    }
    for rule in classifier.rules().filter(|rule| rule.file.ends_with("generic.toml")) {
        let rows = decided.get(rule.id.as_str()).map_or(0, |rows| rows.len());
        println!("{rows:4} {}", rule.id);
        // Held to a stage that the files do not know, or to what a standard says word for word.
        let bound = !rule.stages.is_empty() || rule.source.starts_with("RFC");
        assert!(rows >= 2 || bound, "{} decides {rows} of the labelled replies", rule.id);
        assert!(rule.samples.len() >= 2 || bound, "{} has one sample", rule.id);
    }
}

/// The selection by words may let too much through, never too little.
#[test]
fn no_pattern_that_matches_is_passed_over() {
    let classifier = &*SHIPPED;
    let texts: Vec<_> = labelled(COMPOSED).map(|[line, ..]| reply(line).text).collect();
    let mut tried = vec![std::collections::HashSet::new(); texts.len()];
    for (text, tried) in texts.iter().zip(&mut tried) {
        classifier.needles.first(&normalise(text), |at| {
            tried.insert(at);
            None::<()>
        });
    }
    for (at, rule) in classifier.rules().enumerate() {
        let Some(pattern) = &rule.pattern else { continue };
        for (text, tried) in texts.iter().zip(&tried) {
            assert!(tried.contains(&at) || !pattern.is_match(&normalise(text)), "{} on {text}", rule.id);
        }
    }
}

#[test]
fn what_becomes_of_a_recipient() {
    use Disposition::{Bounced, Deferred, Delivered};
    let classifier = &*SHIPPED;
    for (stage, line, disposition) in [
        (Stage::EndOfData, "250 2.0.0 ok", Delivered),
        (Stage::Rcpt, "550 5.1.1 User unknown", Bounced),
        (Stage::Rcpt, "450 4.1.1 User unknown", Deferred),
        (
            Stage::Rcpt,
            "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
            Deferred,
        ),
        (Stage::EndOfData, "550 5.7.1 our block list (S3150)", Deferred),
        (Stage::Rcpt, "552 5.2.2 Mailbox full", Deferred),
        (Stage::Rcpt, "550 This IP has sent too many messages this hour. IB504", Deferred),
        (Stage::Rcpt, "554 Service currently unavailable", Deferred),
        (Stage::EndOfData, "554 5.7.1 Message rejected as spam", Bounced),
        (Stage::EndOfData, "554 5.3.0 gibberish", Bounced),
        (Stage::Mail, "503 5.5.1 bad sequence of commands", Bounced),
        (Stage::Banner, "554 No SMTP service here", Deferred),
        (Stage::Banner, "550 User unknown", Deferred),
        (Stage::Ehlo, "550 go away", Deferred),
        (Stage::Tls, "554 5.7.3 no", Deferred),
        (Stage::EndOfData, "421 closing", Deferred),
        (Stage::Rcpt, "354 go ahead", Deferred),
    ] {
        assert_eq!(outcome(classifier, stage, line).disposition, disposition, "{stage:?} {line}");
    }
}

#[test]
fn nobody_is_bad_before_mail_from() {
    let classifier = &*SHIPPED;
    for rule in classifier.rules() {
        for sample in rule.samples.iter().filter(|sample| sample.starts_with('5')) {
            for stage in [Stage::Connect, Stage::Banner, Stage::Ehlo, Stage::Tls] {
                let seen = outcome(classifier, stage, sample);
                assert_eq!(seen.disposition, Disposition::Deferred, "{stage:?} {sample}");
                assert!(!seen.hard && !matches!(seen.scope, Scope::Recipient | Scope::Message), "{stage:?} {sample}");
            }
        }
    }
}

#[test]
fn hard_is_only_what_bounces_and_blame_is_only_the_bindings() {
    let classifier = &*SHIPPED;
    for rule in classifier.rules() {
        for sample in &rule.samples {
            let seen = outcome(classifier, Stage::Rcpt, sample);
            assert!(!seen.hard || seen.disposition == Disposition::Bounced, "{sample}");
            assert!(!seen.counts_against_ip || matches!(seen.scope, Scope::Binding | Scope::Range), "{sample}");
        }
    }
}

#[test]
fn failures_never_bounce_and_only_a_failed_bind_is_the_bindings() {
    let classifier = &*SHIPPED;
    for kind in FailureKind::ALL {
        let seen = classifier.failure(&Failure { kind, stage: Stage::EndOfData, detail: String::new() });
        assert_eq!(seen.disposition, Disposition::Deferred);
        assert_eq!(&*seen.rule, format!("failure.{}", kind.as_str()));
        assert!(!seen.counts_against_ip);
        assert_eq!(seen.scope == Scope::Binding, kind == FailureKind::Bind);
        assert_eq!(seen.next_binding == NextBinding::Other, kind == FailureKind::Bind);
    }
}

#[test]
fn a_refusal_of_another_hop_is_not_held_against_us() {
    let classifier = &*SHIPPED;
    for (line, counts) in [
        (
            "550 5.1.0 Remote host said: 554 5.7.1 Service unavailable; client host [203.0.113.9] blocked using zen.spamhaus.org",
            false,
        ),
        (
            "550 5.7.1 <@>: undeliverable address: host mx.test[192.0.2.7] said: 554 5.7.1 [203.0.113.9] is listed at spamcop",
            false,
        ),
        ("554 5.4.6 Remote Server returned '550 5.7.1 Your IP 203.0.113.9 is blacklisted'", false),
        ("421 4.7.0 upstream relay replied: 421 4.7.0 [TSS04] Messages from 203.0.113.9 temporarily deferred", false),
        // Both were refused: the quotation does not save us.
        (
            "550 5.7.1 Your IP [192.0.2.1] is blocked here; the next hop said: 550 5.7.1 blocked using zen.spamhaus.org",
            true,
        ),
        ("554 5.7.1 Service unavailable; client host [192.0.2.1] blocked using zen.spamhaus.org", true),
        ("554 554 5.7.1 client host [192.0.2.1] blocked using zen.spamhaus.org", true),
    ] {
        let seen = outcome(classifier, Stage::Rcpt, line);
        assert_eq!(seen.counts_against_ip, counts, "{line}");
        if !counts {
            assert_eq!((seen.scope, seen.action), (Scope::Destination, Action::None), "{line}");
            assert_ne!(seen.next_binding, NextBinding::Other, "{line}");
        }
    }
    let full = outcome(classifier, Stage::Rcpt, "554 5.4.0 remote host said: 552-5.2.2 The mailbox is over quota");
    assert_eq!((full.cause, full.scope), (Some(Cause::MailboxFull), Scope::Recipient), "whoever says so");
}

/// Every shipped sample, put into a forwarder's mouth, loses its blame and nothing else changes sides.
#[test]
fn no_shipped_rule_blames_us_for_what_another_hop_was_told() {
    for rule in SHIPPED.rules() {
        for sample in &rule.samples {
            let quoted = format!("550 5.1.0 delivery to the next server failed, remote host said: {sample}");
            let seen = outcome(&SHIPPED, Stage::Rcpt, &quoted);
            assert!(
                !seen.counts_against_ip && !matches!(seen.scope, Scope::Binding | Scope::Range),
                "{quoted}: {seen:?}"
            );
        }
    }
}

/// S3140 is neither S31401 nor S3140x: where a marker decides, the same with one more digit or letter must not.
#[test]
fn markers_decide_by_their_full_number() {
    let (mut checked, mut wrong) = (0, Vec::new());
    for rule in SHIPPED.rules() {
        let Some(pattern) = rule.pattern.as_ref() else { continue };
        for sample in &rule.samples {
            let text = String::from_utf8_lossy(&normalise(&reply(sample).text)).into_owned();
            for marker in markers(&text) {
                let without = format!("{}{}", &text[..marker.start], &text[marker.end..]);
                if pattern.is_match(text.as_bytes()) && !pattern.is_match(without.as_bytes()) {
                    checked += 1;
                    for more in ["7", "q"] {
                        let longer = format!("{}{more}{}", &text[..marker.end], &text[marker.end..]);
                        if pattern.is_match(longer.as_bytes()) {
                            wrong.push(format!("{}: {:?} matches also {longer:?}", rule.id, pattern.as_str()));
                        }
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} patterns:\n{}", wrong.len(), wrong.join("\n"));
    assert!(checked > 40, "{checked} markers");
}

/// Words of capitals that a digit, a hyphen, a colon or a `#` ties to something: `S3140`, `AUP#CXBL`, `HL:IPB`.
fn markers(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'#' | b'_' | b':' | b'-');
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let end = (at..bytes.len()).find(|&i| !part(&bytes[i])).unwrap_or(bytes.len());
        let word = text[at..end].trim_end_matches([':', '-', '#', '_']);
        let ties = word.bytes().any(|b| !b.is_ascii_alphabetic());
        let shouts = word.bytes().filter(u8::is_ascii_uppercase).count() >= 1
            && word.bytes().rev().take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit()).count() >= 2;
        if ties && shouts && word.len() <= 16 && !word.starts_with("IPv") && !word.starts_with("Message") {
            found.push(at..at + word.len());
        }
        at = end.max(at + 1);
        while at < bytes.len() && !text.is_char_boundary(at) {
            at += 1;
        }
    }
    found
}

// Replies quote the client in many ways beside a reason that is none of its fault; `{}` stands for the reason.
const REASONS: [&str; 32] = [
    "550 5.1.1 <u@example.com> User unknown",
    "550 5.1.1 The email account that you tried to reach does not exist.",
    "550 No such user here",
    "550 5.1.1 Mailbox does not exist",
    "554 5.1.1 Recipient address rejected: user not found",
    "550 5.2.1 mailbox disabled",
    "550 5.1.1 invalid recipient",
    "550 5.1.10 RecipientNotFound",
    "552 5.2.2 mailbox full",
    "550 5.2.1 The account has been suspended",
    "550 5.1.1 Benutzer unbekannt",
    "550 5.1.1 Utilisateur inconnu",
    "550 5.1.1 El usuario no existe",
    "550 5.1.1 Пользователь не найден",
    "550 5.1.1 收件人不存在",
    "554 5.7.1 Message rejected as spam",
    "550 5.7.1 Virus found",
    "552 5.7.0 Attachment type not allowed",
    "550 5.7.1 Message contains prohibited content",
    "552 5.3.4 Message size exceeds fixed limit",
    "554 5.6.0 Message headers are malformed",
    "550 5.7.26 DMARC check failed",
    "550 5.7.23 SPF check failed",
    "550 5.1.8 Sender domain does not exist",
    "550 5.7.1 Relaying denied",
    "550 5.7.1 Anhang nicht erlaubt",
    "421 4.7.0 Too many connections",
    "421 4.3.2 Service not available",
    "451 4.3.0 Temporary local problem",
    "451 4.7.1 Greylisted, try again later",
    "452 4.3.1 Insufficient system storage",
    "530 5.7.0 Must issue a STARTTLS command first",
];

const BESIDE: [&str; 21] = [
    "{} (client [203.0.113.77])",
    "{} [203.0.113.77]",
    "{}; connection from mta.example.org [203.0.113.77]",
    "{} - your IP 203.0.113.77",
    "{} Client host: 203.0.113.77",
    "{}, IP: 203.0.113.77",
    "{} see https://postmaster.example.com/?ip=203.0.113.77",
    "{} Visit https://support.proofpoint.com/ for help",
    "{} See https://www.barracudanetworks.com/help",
    "{} (host mx1.example.com)",
    "{} Message from 203.0.113.77 refused",
    "{}. Closing connection with 203.0.113.77",
    "{} Session id S3120 SC-001",
    "{}; contact postmaster of your server",
    "{} [a1b2c3 S3140]",
    "{} IP=203.0.113.77",
    "{} from [203.0.113.77]",
    "{} Connection denied",
    "{} (in reply to RCPT TO command)",
    "{} from=<a@example.org> to=<u@example.com> proto=ESMTP helo=<mta.example.org>",
    "{} Access denied for your host.",
];

const BLAMES: [&str; 20] = [
    "554 5.7.1 Service unavailable; Client host [203.0.113.77] blocked using zen.spamhaus.org",
    "550 5.7.1 Your IP 203.0.113.77 is on our block list",
    "554 5.7.1 Your mail server has been blacklisted",
    "550 5.7.606 Access denied, banned sending IP [203.0.113.77]",
    "421 4.7.0 [TSS04] Messages from 203.0.113.77 temporarily deferred due to unexpected volume or user complaints - 4.16.55.1",
    "550 5.7.1 Unfortunately, messages from [203.0.113.77] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3150)",
    "554 Your access to this mail system has been rejected due to the sending MTA's poor reputation",
    "550 5.7.1 Rejected: 203.0.113.77 listed at bl.spamcop.net",
    "554 5.7.1 <mta.example.org[203.0.113.77]>: Client host rejected: Access denied",
    "450 4.7.1 Client host rejected: cannot find your reverse hostname, [203.0.113.77]",
    "550 5.7.25 The IP address sending this message does not have a PTR record setup",
    "421 4.7.28 Our system has detected an unusual rate of unsolicited mail originating from your IP address",
    "550 5.7.1 Mail from dynamic IP 203.0.113.77 not accepted",
    "550 5.7.1 203.0.113.77 is blacklisted",
    "554 5.7.1 Connection from 203.0.113.77 rejected: poor reputation of your IP",
    "550 Your host 203.0.113.77 has been blocked because you sent spam",
    "554 5.7.1 203.0.113.77 blocked as a source of spam",
    "554 ERROR: Mail refused - 203.0.113.77. AUP#In-1220",
    "504 5.5.2 <mta>: Helo command rejected: need fully-qualified hostname",
    "554 5.7.1 IP=203.0.113.77 - None/bad reputation. Ask your postmaster for help",
];

const HARMLESS: [&str; 13] = [
    "{} (in reply to RCPT TO command)",
    "{}; from=<a@example.org> to=<u@example.com> proto=ESMTP helo=<mta.example.org>",
    "{}. See https://postmaster.example.com/errors/blocked?ip=203.0.113.77",
    "{}. If you believe this is an error contact postmaster@example.com",
    "{}. Please contact the recipient by other means.",
    "{} (host mx1.example.com)",
    "{}; session id 4f8a.1",
    "{}. For help visit https://www.example.com/help/user-unknown",
    "{} Closing connection.",
    "{}; please ask your mail administrator",
    "{}. Contact your ISP",
    "{} [mx12.example.net]",
    "{} - please try again later",
];

#[test]
fn a_reason_beside_our_address_is_not_our_blame() {
    let all = REASONS.iter().flat_map(|reason| BESIDE.iter().map(move |beside| beside.replace("{}", reason)));
    let (lines, wrong): (Vec<_>, Vec<_>) =
        all.map(|line| (outcome(&SHIPPED, Stage::Rcpt, &line), line)).map(|(seen, line)| (line, seen)).unzip();
    let blamed: Vec<_> = lines.iter().zip(&wrong).filter(|(_, seen)| seen.counts_against_ip).collect();
    assert!(blamed.len() * 100 < lines.len(), "{} of {}: {blamed:#?}", blamed.len(), lines.len());
}

#[test]
fn blame_is_heard_whatever_stands_beside_it() {
    let all: Vec<String> =
        BLAMES.iter().flat_map(|blame| HARMLESS.iter().map(move |beside| beside.replace("{}", blame))).collect();
    let missed: Vec<_> = all.iter().filter(|line| !outcome(&SHIPPED, Stage::Rcpt, line).counts_against_ip).collect();
    assert!(missed.len() * 20 <= all.len(), "{} of {}: {missed:#?}", missed.len(), all.len());
}

/// The blame of another address is another's, where we know our own.
#[test]
fn a_refusal_that_names_another_address_is_set_aside() {
    let own = ["198.51.100.7".parse().expect("address")];
    for (line, counts) in [
        ("554 5.7.1 Client host [198.51.100.7] blocked using zen.spamhaus.org", true),
        ("554 5.7.1 Client host [203.0.113.9] blocked using zen.spamhaus.org", false),
        ("554 5.7.1 Your IP is blacklisted", true),
        (
            "550 5.7.1 Unfortunately, messages from [198.51.100.9] weren't sent. Please contact your Internet service \
             provider since part of their network is on our block list (S3150).",
            true,
        ),
    ] {
        let seen = SHIPPED.reply(&reply(line), Context { stage: Stage::Rcpt, provider: None, own: &own });
        assert_eq!(seen.counts_against_ip, counts, "{line}");
        if !counts {
            assert_eq!((seen.scope, seen.action), (Scope::Destination, Action::None), "{line}");
            assert_eq!(seen.disposition, Disposition::Deferred, "a wrong guess costs a try, not the mail");
        }
    }
    // Nobody stands between us and a banner.
    let line = "554 5.7.1 Client host [203.0.113.9] blocked using zen.spamhaus.org";
    let seen = SHIPPED.reply(&reply(line), Context { stage: Stage::Banner, provider: None, own: &own });
    assert!(seen.counts_against_ip);
}

/// One reply that names no list suspends no route.
#[test]
fn only_a_named_list_suspends_a_route_at_once() {
    for rule in SHIPPED.rules().filter(|rule| rule.file.ends_with("generic.toml")) {
        let at_once = matches!(rule.action, Action::SuspendRoute(_));
        assert!(!at_once || ["blocklist.certain", "domain.helo_listed"].contains(&&*rule.id), "{}", rule.id);
    }
}

#[test]
fn enhanced_codes_in_brackets_count_when_none_leads() {
    let classifier = &*SHIPPED;
    assert_eq!(&*outcome(classifier, Stage::Rcpt, "550 nixda (#5.1.1)").rule, "fallback.enhanced.recipient");
    assert_eq!(&*outcome(classifier, Stage::Rcpt, "550 nixda (#5.1.1").rule, "fallback.code.permanent");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn any_reply_gets_an_outcome(code in 200u16..600, text in ".{0,200}", at in 0usize..8) {
        let stage = [Stage::Connect, Stage::Banner, Stage::Ehlo, Stage::Tls, Stage::Mail, Stage::Rcpt, Stage::Data,
            Stage::EndOfData][at];
        let reply = Reply { code, enhanced: None, text };
        let seen = SHIPPED.reply(&reply, Context { stage, provider: None, own: &[] });
        prop_assert_eq!(seen.disposition == Disposition::Delivered, code < 300);
        prop_assert_eq!(seen.cause.is_none(), code < 300);
        prop_assert!(code >= 500 || seen.disposition != Disposition::Bounced);
        prop_assert!(!seen.counts_against_ip || seen.disposition == Disposition::Deferred);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever octets a server sends, up to the most that is kept.
    #[test]
    fn any_octets_are_judged_and_what_blames_nobody_never_counts(
        class in prop::sample::select(vec![4u16, 5]),
        piece in prop::collection::vec(any::<u8>(), 0..64),
        words in prop::collection::vec(prop::sample::select(HOSTILE.to_vec()), 0..40),
        times in 1usize..64,
    ) {
        let mut text = String::from_utf8_lossy(&piece).repeat(times) + &words.concat();
        while text.len() > Reply::TEXT_MAX {
            text.pop();
        }
        let reply = Reply { code: class * 100 + 50, enhanced: None, text };
        let context = Context { stage: Stage::Rcpt, provider: None, own: &[] };
        let seen = SHIPPED.reply(&reply, context);
        if seen.cause == Some(Cause::Unknown) || seen.scope == Scope::Unknown {
            prop_assert!(!seen.counts_against_ip, "{:?}", seen);
        }
        prop_assert!(seen.action == Action::None || seen.scope != Scope::Unknown);
        prop_assert!(SHIPPED.explain(&reply, context).to_string().len() < 64 * 1024);
    }
}

/// Pieces of what rules look for.
const HOSTILE: [&str; 14] = [
    "too many ",
    "blocked ",
    "said: 550 5",
    "@",
    "(#5.1.1)",
    "  ",
    "[192.0.2.1",
    "your ip ",
    "a@b ",
    "listed ",
    "\u{0}",
    "user ",
    "try again in 300 ",
    "sender ",
];
