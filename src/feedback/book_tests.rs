//! Reports in, bookings out.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::super::read::Complaint;
use super::super::token::tests::fixtures::{attempted, directory, keys};
use super::super::token::{Directory, Gone};
use super::super::told::{MORE_BOUNCES, Told};
use super::super::whose::find;
use super::*;
use crate::message::{DestinationName, MessageId};
use crate::outcome::Scope;

const DAY: Duration = Duration::from_secs(86_400);

/// Compiled once: that takes longer than all the tests.
static CLASSIFIER: LazyLock<Classifier> = LazyLock::new(Classifier::shipped);

fn ours() -> Directory {
    directory(keys(7))
}

fn failed(recipient: &str, diagnostic: &str) -> Reported {
    Reported {
        action: Some("failed".into()),
        status: Some("5.0.0".into()),
        final_recipient: (!recipient.is_empty()).then(|| recipient.to_owned()),
        diagnostic: (!diagnostic.is_empty()).then(|| diagnostic.to_owned()),
        ..Reported::default()
    }
}

fn dsn(recipients: Vec<Reported>) -> Mail {
    Mail { kind: Kind::Dsn, recipients, complaint: None, marks: Vec::new() }
}

fn arf(feedback_type: &str, incidents: u32) -> Mail {
    let complaint = Complaint { feedback_type: feedback_type.into(), incidents, ..Complaint::default() };
    Mail { kind: Kind::Arf, recipients: Vec::new(), complaint: Some(complaint), marks: Vec::new() }
}

/// A desk that remembers what it was told.
struct Rig {
    told: Told,
    addresses: Vec<IpAddr>,
    sender: Option<TenantName>,
    now: Wall,
}

impl Rig {
    fn new() -> Self {
        let now = attempted().at.plus(DAY);
        Self { told: Told::default(), addresses: Vec::new(), sender: None, now }
    }

    /// Books a mail with this mark, in its envelope (`b`) or in its header.
    fn books(&mut self, mail: Mail, mark: &str, in_envelope: bool) -> Booking {
        let mut mail = mail;
        if !in_envelope {
            mail.marks.insert(0, (Place::Header, mark.to_owned()));
        }
        let directory = ours();
        let whose = Whose::of(find(in_envelope.then_some(mark), &mail, &directory), &directory, |_, _| None);
        let question = Question {
            mail: &mail,
            whose: &whose,
            told: self.told.clone(),
            addresses: &self.addresses,
            sender: self.sender.as_ref(),
            accept_for: 30 * DAY,
        };
        let booking = book(question, &CLASSIFIER, self.now);
        if let Some(told) = &booking.told {
            self.told = told.clone();
        }
        booking
    }

    /// The same for a mail with the mark of [`attempted`].
    fn takes(&mut self, mail: Mail) -> Booking {
        self.books(mail, &keys(7).seal(&attempted()), true)
    }
}

fn verdicts<const N: usize>(bookings: [Booking; N]) -> [(Verdict, Then); N] {
    bookings.map(|booking| (booking.verdict, booking.then))
}

fn refusals(booking: &Booking) -> Vec<(Cause, Scope, bool, bool)> {
    let one = |evidence: &Evidence| match evidence {
        Evidence::LateBounce {
            result: AttemptResult::Refused { cause, scope, hard, counts_against_ip, action, .. },
            ..
        } => {
            assert_eq!(*action, Action::None);
            (*cause, *scope, *hard, *counts_against_ip)
        }
        other => panic!("{other:?}"),
    };
    booking.evidence.iter().map(one).collect()
}

#[test]
fn a_late_bounce_is_evidence_about_the_attempt_of_its_mark() {
    let mut rig = Rig::new();
    let booking = rig.takes(dsn(vec![failed("bob@gmail.example", "550 5.1.1 no such user here")]));
    assert_eq!((booking.verdict, booking.then), (Verdict::Booked, Then::PassOn));
    let [Evidence::LateBounce { binding, destination, tenant, domain, at, result }] = &booking.evidence[..] else {
        panic!("{booking:?}")
    };
    assert_eq!((binding.as_str(), tenant.as_str(), *at), ("mta1", "acme", attempted().at));
    assert_eq!(destination.as_ref().map(DestinationName::as_str), Some("gmail"));
    assert_eq!(domain.as_ref().map(ToString::to_string).as_deref(), Some("gmail.example"));
    assert!(matches!(result, AttemptResult::Refused { text, .. } if text == "550 5.1.1 no such user here"));
    assert_eq!(refusals(&booking), [(Cause::InvalidRecipient, Scope::Recipient, true, false)]);
}

#[test]
fn only_a_reply_with_a_code_about_our_own_address_counts_against_the_ip() {
    const BLOCKED: &str = "Service unavailable; client host blocked using zen.spamhaus.org";
    for (diagnostic, counts) in [
        (format!("550 5.7.1 {BLOCKED}"), true),
        (format!("550 5.7.1 {BLOCKED}; 192.0.2.11"), true),
        (format!("550 5.7.1 {BLOCKED}; 203.0.113.9"), false),
        (BLOCKED.to_owned(), false),
        (format!("host mx.inner.example said: 550 5.7.1 {BLOCKED}"), false),
    ] {
        let mut rig = Rig::new();
        rig.addresses = vec!["192.0.2.11".parse().expect("valid")];
        let booking = rig.takes(dsn(vec![failed("bob@gmail.example", &diagnostic)]));
        let [(_, _, _, counted)] = refusals(&booking)[..] else { panic!("{booking:?}") };
        assert_eq!(counted, counts, "{diagnostic}");
    }
}

#[test]
fn what_a_forwarders_next_host_refused_blames_nobody_but_the_recipient() {
    for (diagnostic, seen) in [
        (
            "550 5.7.1 Service unavailable; client host blocked using zen.spamhaus.org",
            (Cause::Unknown, Scope::Unknown, false, false),
        ),
        (
            "550 5.7.25 The IP address sending this message does not have a PTR record setup",
            (Cause::Unknown, Scope::Unknown, false, false),
        ),
        (
            "550 5.7.26 This mail is unauthenticated, which poses a security risk: SPF did not pass",
            (Cause::Unknown, Scope::Unknown, false, false),
        ),
        ("550 5.1.1 no such user", (Cause::InvalidRecipient, Scope::Recipient, true, false)),
        ("552 5.2.2 mailbox full", (Cause::MailboxFull, Scope::Recipient, false, false)),
        (
            "550 5.7.1 Service unavailable; client [192.0.2.11] blocked using zen.spamhaus.org",
            (Cause::SpamBlockIp, Scope::Binding, false, true),
        ),
    ] {
        let mut rig = Rig::new();
        rig.addresses = vec!["192.0.2.11".parse().expect("valid")];
        let remote_mta = Some("mx.one.example".to_owned());
        let booking = rig.takes(dsn(vec![Reported { remote_mta, ..failed("bob@one.example", diagnostic) }]));
        assert_eq!(refusals(&booking), [seen], "{diagnostic}");
    }
}

#[test]
fn only_failures_are_bounces() {
    let with = |action: Option<&str>, status: Option<&str>| Reported {
        action: action.map(str::to_owned),
        status: status.map(str::to_owned),
        ..failed("bob@gmail.example", "")
    };
    for (action, status, verdict) in [
        (Some("failed"), Some("5.1.1"), Verdict::Booked),
        (Some("Failed "), Some("4.4.7"), Verdict::Booked),
        (Some("failure"), Some("5.1.1"), Verdict::Booked),
        (None, Some("5.1.1"), Verdict::Booked),
        (Some("expired"), Some("4.4.7"), Verdict::NoEvidence),
        (Some("delayed"), Some("5.1.1"), Verdict::NoEvidence),
        (Some("delayed"), Some("4.4.1"), Verdict::NoEvidence),
        (Some("delivered"), Some("2.0.0"), Verdict::NoEvidence),
        (Some("relayed"), Some("2.0.0"), Verdict::NoEvidence),
        (Some("expanded"), Some("2.0.0"), Verdict::NoEvidence),
        (Some("failed"), None, Verdict::NoEvidence),
        (None, None, Verdict::NoEvidence),
    ] {
        let booking = Rig::new().takes(dsn(vec![with(action, status)]));
        assert_eq!((booking.verdict, booking.then), (verdict, Then::PassOn), "{action:?} {status:?}");
    }
    assert_eq!(Rig::new().takes(dsn(Vec::new())).verdict, Verdict::NoEvidence);
}

#[test]
fn one_bounce_for_each_recipient_and_no_more_than_there_were() {
    let mut rig = Rig::new();
    let to = |name: &str| failed(name, "550 5.1.1 no such user");
    let first = rig.takes(dsn(vec![to("a@x.example"), to("b@x.example"), to("A@X.example")]));
    assert_eq!(first.evidence.len(), 2);
    let copy = rig.takes(dsn(vec![to("b@x.example")]));
    assert_eq!((copy.verdict, copy.then, copy.told), (Verdict::Duplicate, Then::Nothing, None));
    // Three recipients, as the mark says, and one of them is left.
    let more = rig.takes(dsn((0..50).map(|n| to(&format!("user{n}@x.example"))).collect()));
    assert_eq!((more.verdict, more.then, more.evidence.len()), (Verdict::Booked, Then::PassOn, 1));
    let flood = rig.takes(dsn(vec![to("one-more@x.example")]));
    assert_eq!((flood.verdict, flood.then), (Verdict::TooMany, Then::KeepAside));
    // A bounce without a reason is told, too: its copy is not passed on again.
    let mut rig = Rig::new();
    let silent = || dsn(vec![Reported { status: None, ..failed("", "") }]);
    let told = verdicts([rig.takes(silent()), rig.takes(silent())]);
    assert_eq!(told, [(Verdict::NoEvidence, Then::PassOn), (Verdict::Duplicate, Then::Nothing)]);
}

#[test]
fn what_is_beyond_belief_is_passed_on_all_the_same() {
    // An alias that stands for many, and a forger that was first.
    let one = keys(7).seal(&Attempted { recipients: 1, ..attempted() });
    let mut rig = Rig::new();
    let to = |n: u32| failed(&format!("user{n}@x.example"), "550 5.1.1 no such user");
    let all: Vec<_> = (0..8).map(|n| rig.books(dsn(vec![to(n)]), &one, true)).collect();
    let seen: Vec<_> = all.iter().map(|booking| (booking.verdict, booking.then)).collect();
    let mut expected = vec![(Verdict::Booked, Then::PassOn)];
    expected.extend((0..MORE_BOUNCES).map(|_| (Verdict::NoEvidence, Then::PassOn)));
    expected.extend([(Verdict::TooMany, Then::KeepAside); 2]);
    assert_eq!(seen, expected);
    // Bounces without a name are told apart by what they say.
    let mut rig = Rig::new();
    let words = ["mailbox full", "mailbox full", "no such user", "disabled"];
    let all = words.map(|words| rig.books(dsn(vec![failed("", words)]), &one, true).then);
    assert_eq!(all, [Then::PassOn, Then::Nothing, Then::PassOn, Then::PassOn]);
}

#[test]
fn one_message_is_believed_for_its_recipients_whatever_number_of_marks_it_has() {
    let mut rig = Rig::new();
    let (mut bounces, mut complaints) = (0, 0);
    for n in 0..40 {
        let at = attempted().at.plus(Duration::from_secs(60 * n));
        let mark = keys(7).seal(&Attempted { at, recipients: 1, ..attempted() });
        let bounce = failed(&format!("u{n}@d{n}.example"), "550 5.7.1 blocked using zen.spamhaus.org");
        bounces += rig.books(dsn(vec![bounce]), &mark, true).evidence.len();
        complaints += rig.books(arf("abuse", 9), &mark, false).evidence.len();
    }
    assert_eq!((bounces, complaints), (1, 1));
}

#[test]
fn nobody_is_reached_through_us_more_often_than_the_message_had_readers() {
    let delayed = || Reported { action: Some("delayed".into()), ..failed("bob@x.example", "451 later") };
    let mut rig = Rig::new();
    let answers: Vec<_> = (0..9).map(|_| rig.takes(Mail { kind: Kind::NotABounce, ..dsn(Vec::new()) })).collect();
    let passed = |bookings: &[Booking]| bookings.iter().filter(|booking| booking.then == Then::PassOn).count();
    assert_eq!(passed(&answers), 3 + 2);
    assert_eq!(verdicts([answers[8].clone()]), [(Verdict::TooMany, Then::KeepAside)]);
    let delays: Vec<_> = (0..20).map(|_| rig.takes(dsn(vec![delayed()]))).collect();
    assert_eq!(passed(&delays), 3 + 5);
    assert_eq!(verdicts([delays[19].clone()]), [(Verdict::TooMany, Then::KeepAside)]);
    // What is believed is believed nevertheless.
    let bounce = rig.takes(dsn(vec![failed("bob@x.example", "550 5.1.1 no such user")]));
    assert_eq!((bounce.verdict, bounce.then), (Verdict::Booked, Then::KeepAside));
}

#[test]
fn a_mark_whose_message_another_tenant_sent_holds_nobody_to_account() {
    let bounce = || dsn(vec![failed("bob@gmail.example", "550 5.1.1 no such user")]);
    let mut rig = Rig::new();
    rig.sender = Some("bolt".into());
    let both = [rig.takes(bounce()), rig.takes(arf("abuse", 1))];
    assert!(both.iter().all(|booking| booking.evidence.is_empty()));
    assert_eq!(verdicts(both), [(Verdict::Unresolvable, Then::PassOn), (Verdict::Unresolvable, Then::KeepAside)]);
    rig = Rig::new();
    rig.sender = Some("acme".into());
    assert_eq!(rig.takes(bounce()).verdict, Verdict::Booked);
}

#[test]
fn complaints_are_those_that_accuse_and_never_more_than_recipients() {
    for (kind, verdict) in [
        ("abuse", Verdict::Booked),
        ("Fraud", Verdict::Booked),
        ("virus", Verdict::Booked),
        ("not-spam", Verdict::NoEvidence),
        ("opt-out", Verdict::NoEvidence),
        ("auth-failure", Verdict::NoEvidence),
        ("other", Verdict::NoEvidence),
        ("", Verdict::NoEvidence),
    ] {
        let booking = Rig::new().books(arf(kind, 1), &keys(7).seal(&attempted()), false);
        assert_eq!((booking.verdict, booking.then, booking.detail.as_str()), (verdict, Then::KeepReport, kind));
    }
    let incidents =
        |rig: &mut Rig, count: u32, mark: &str| match &rig.books(arf("abuse", count), mark, false).evidence[..] {
            [Evidence::Complaint { incidents, binding, at, .. }] => {
                assert_eq!((binding.as_str(), *at), ("mta1", attempted().at));
                *incidents
            }
            [] => 0,
            other => panic!("{other:?}"),
        };
    let sealed = |recipients| keys(7).seal(&Attempted { recipients, ..attempted() });
    let mut rig = Rig::new();
    let (one, three, many) = (sealed(1), sealed(3), sealed(255));
    assert_eq!([1, 4_000_000_000].map(|count| incidents(&mut rig, count, &one)), [1, 0]);
    rig = Rig::new();
    assert_eq!([2, 4_000_000_000, 1].map(|count| incidents(&mut rig, count, &three)), [2, 1, 0]);
    rig = Rig::new();
    assert_eq!([0, 4_000_000_000].map(|count| incidents(&mut rig, count, &many)), [1, 254]);
}

#[test]
fn what_is_late_forged_or_of_an_unknown_way_moves_nothing() {
    let bounce = || dsn(vec![failed("bob@gmail.example", "550 5.1.1 no such user")]);
    let mark = keys(7).seal(&attempted());
    let gone = keys(7).seal(&Attempted { binding: "sold".into(), ..attempted() });
    let mut rig = Rig::new();
    let all = [
        rig.books(bounce(), &keys(8).seal(&attempted()), false),
        rig.books(bounce(), "rubbish", false),
        rig.books(bounce(), &gone, false),
        rig.books(dsn(vec![failed("eve@gmail.example", "550 5.1.1 no such user")]), &gone, true),
        rig.books(arf("abuse", 1), &gone, true),
    ];
    assert!(all.iter().all(|booking| booking.evidence.is_empty()));
    assert_eq!(all[2].detail, Gone("binding").to_string());
    assert_eq!(
        verdicts(all),
        [
            (Verdict::Forged, Then::KeepAside),
            (Verdict::Unresolvable, Then::KeepAside),
            (Verdict::Unresolvable, Then::KeepAside),
            // Its sender may be known all the same.
            (Verdict::Unresolvable, Then::PassOn),
            (Verdict::Unresolvable, Then::KeepAside),
        ]
    );
    rig.now = attempted().at.plus(30 * DAY);
    assert_eq!(rig.books(arf("abuse", 1), &mark, true).verdict, Verdict::Booked);
    rig.now = attempted().at.plus(30 * DAY + Duration::from_secs(1));
    rig.told = Told::default();
    let answer = Mail { kind: Kind::NotABounce, ..dsn(Vec::new()) };
    let late = [rig.takes(bounce()), rig.takes(bounce()), rig.takes(arf("abuse", 1)), rig.takes(answer)];
    assert!(late.iter().all(|booking| booking.evidence.is_empty()));
    assert_eq!(
        verdicts(late),
        [
            (Verdict::Late, Then::PassOn),
            (Verdict::Duplicate, Then::Nothing),
            (Verdict::Late, Then::KeepReport),
            (Verdict::NotABounce, Then::KeepAside),
        ]
    );
}

#[test]
fn marks_of_different_messages_hold_nobody_to_account() {
    let other = keys(7).seal(&Attempted { message: MessageId(attempted().message.0 + 1), ..attempted() });
    let one = keys(7).seal(&attempted());
    let mut mail = dsn(vec![failed("bob@gmail.example", "550 5.1.1 no such user")]);
    mail.marks.push((Place::Header, other));
    let booking = Rig::new().books(mail.clone(), &one, false);
    assert_eq!((booking.verdict, booking.then, booking.evidence.len()), (Verdict::NoEvidence, Then::KeepAside, 0));
    assert!(booking.detail.contains("different messages"));
    // The address it was sent to is a better witness than what the report quotes.
    assert_eq!(Rig::new().books(mail, &one, true).verdict, Verdict::Booked);
}

#[test]
fn what_is_no_report_goes_to_the_sender_where_there_is_one() {
    for (kind, verdict) in [(Kind::AutoReply, Verdict::AutoReply), (Kind::NotABounce, Verdict::NotABounce)] {
        let mail = || Mail { kind, ..dsn(Vec::new()) };
        let mark = keys(7).seal(&attempted());
        let mut rig = Rig::new();
        let both = [rig.books(mail(), &mark, true), rig.books(mail(), &mark, false)];
        assert_eq!(verdicts(both), [(verdict, Then::PassOn), (verdict, Then::KeepAside)]);
    }
    // A bounce that is understood is kept for those who look for bounces.
    let bounce = dsn(vec![failed("bob@gmail.example", "550 5.1.1 no such user")]);
    let booking = Rig::new().books(bounce, &keys(7).seal(&attempted()), false);
    assert_eq!((booking.verdict, booking.then), (Verdict::Booked, Then::KeepReport));
}

fn any_mail() -> impl Strategy<Value = Mail> {
    let text = proptest::option::of(".{0,40}|failed|5\\.7\\.1|550 5\\.7\\.1 blocked using zen|a@x\\.example");
    let reported = (text.clone(), text.clone(), text.clone(), text).prop_map(|(action, status, to, diagnostic)| {
        Reported { action, status, final_recipient: to, diagnostic, ..Reported::default() }
    });
    let kind = prop_oneof![Just(Kind::Dsn), Just(Kind::Arf), Just(Kind::AutoReply), Just(Kind::NotABounce)];
    let complaint =
        proptest::option::of(("abuse|opt-out|.{0,9}", any::<u32>()).prop_map(|(feedback_type, incidents)| Complaint {
            feedback_type,
            incidents,
            ..Complaint::default()
        }));
    (kind, proptest::collection::vec(reported, 0..8), complaint).prop_map(|(kind, recipients, complaint)| Mail {
        kind,
        recipients,
        complaint,
        marks: Vec::new(),
    })
}

proptest! {
    #[test]
    fn whatever_comes_is_bounded_and_a_copy_is_never_news(mails in proptest::collection::vec(any_mail(), 0..12)) {
        let mut rig = Rig::new();
        let (mut bounces, mut complaints) = (0, 0);
        for mail in mails {
            let first = rig.takes(mail.clone());
            for evidence in &first.evidence {
                match evidence {
                    Evidence::LateBounce { .. } => bounces += 1,
                    Evidence::Complaint { incidents, .. } => complaints += *incidents,
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            prop_assert_eq!(first.evidence.is_empty(), first.verdict != Verdict::Booked);
            if mail.kind == Kind::Dsn {
                prop_assert!(rig.takes(mail).evidence.is_empty(), "the copy of a bounce");
            }
        }
        prop_assert!(bounces <= 3 && complaints <= 3, "{bounces} {complaints}");
    }
}
