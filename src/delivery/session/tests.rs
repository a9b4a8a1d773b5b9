//! Dialogues with hosts of all kinds, played without a socket.

use proptest::prelude::*;

use super::*;
use crate::message::{ForwardPath, Mailbox, TlsWish, Wishes};
use crate::outcome::EnhancedCode;

fn reply(text: &str) -> Reply {
    let (code, text) = text.split_once(' ').unwrap_or((text, ""));
    Reply { code: code.parse().expect("code"), enhanced: None, text: text.to_owned() }
}

fn rcpts(count: usize) -> Vec<ForwardPath> {
    (0..count).map(|at| format!("r{at}@example.org").parse::<Mailbox>().expect("address").into()).collect()
}

const PIPELINING: Capabilities = Capabilities {
    pipelining: true,
    eight_bit_mime: false,
    size: false,
    size_limit: None,
    dsn: false,
    starttls: false,
    require_tls: false,
    chunking: false,
    utf8: false,
    rcpt_max: None,
    mail_max: None,
};

/// Plays `replies` to a transaction. What it sent (the body as `BODY`), by write; the codes that decided; what is
/// left to do.
fn mail(recipients: &[ForwardPath]) -> Mail<'_> {
    Mail {
        reverse_path: None,
        recipients,
        head: b"",
        body: b"x\r\n",
        envelope_id: None,
        eight_bit: false,
        wishes: &Wishes::NONE,
    }
}

fn play(recipients: usize, offers: Capabilities, reset: bool, replies: &[&str]) -> (Vec<String>, String, After) {
    play_mail(mail(&rcpts(recipients)), offers, reset, replies)
}

fn play_mail(mail: Mail<'_>, offers: Capabilities, reset: bool, replies: &[&str]) -> (Vec<String>, String, After) {
    let mut out = Vec::new();
    let (mut transaction, mut step) =
        Transaction::begin(mail, offers, if reset { Before::Reset } else { Before::Nothing }, &mut out);
    let mut sent = Vec::new();
    let mut replies = replies.iter();
    while step != Step::Done {
        if step == Step::SendBody {
            let command = String::from_utf8(std::mem::take(&mut out)).expect("ASCII").replace("\r\n", "|");
            assert_eq!(transaction.sends_chunk(), !command.is_empty());
            sent.push(command + "BODY");
            transaction.body_sent();
        }
        if !out.is_empty() {
            sent.push(String::from_utf8(std::mem::take(&mut out)).expect("ASCII").replace("\r\n", "|"));
        }
        step = match replies.next() {
            Some(text) => transaction.on_reply(reply(text), &mut out),
            None => {
                transaction.fail(FailureKind::Reset, String::new());
                Step::Done
            }
        };
    }
    assert_eq!(replies.next(), None, "reply left over");
    assert!(out.is_empty(), "left unsent: {out:?}");
    let (answers, after) = transaction.finish();
    let codes: Vec<String> = answers
        .iter()
        .map(|answer| match answer {
            Answer::Reply(stage, reply) => format!("{}:{}", stage.as_str(), reply.code),
            Answer::Failure(failure) => format!("{}:{}", failure.stage.as_str(), failure.kind.as_str()),
        })
        .collect();
    (sent, codes.join(" "), after)
}

#[test]
fn pipelining_sends_all_commands_in_one_group() {
    let (sent, codes, after) = play(2, PIPELINING, false, &["250", "250", "250", "354", "250 queued"]);
    let group = "MAIL FROM:<>|RCPT TO:<r0@example.org>|RCPT TO:<r1@example.org>|DATA|";
    assert_eq!(sent, [group, "BODY"]);
    assert_eq!(codes, "end_of_data:250 end_of_data:250");
    assert_eq!(after, After::Clean);
}

#[test]
fn without_pipelining_each_command_waits_for_its_reply() {
    let (sent, codes, after) =
        play(1, Capabilities::default(), true, &["250 reset", "250", "250", "354", "250 queued"]);
    assert_eq!(sent, ["RSET|", "MAIL FROM:<>|", "RCPT TO:<r0@example.org>|", "DATA|", "BODY"]);
    assert_eq!((codes.as_str(), after), ("end_of_data:250", After::Clean));
}

#[test]
fn each_recipient_gets_the_answer_that_decided_over_it() {
    let plain = Capabilities::default();
    for (offers, reset, replies, codes, after) in [
        // Pipelined.
        (PIPELINING, false, &["250", "550", "250", "354", "250"][..], "rcpt:550 end_of_data:250", After::Clean),
        (PIPELINING, true, &["250", "250", "550", "250", "354", "451"], "rcpt:550 end_of_data:451", After::Reset),
        (PIPELINING, false, &["250", "250", "250", "451"], "data:451 data:451", After::Reset),
        (PIPELINING, false, &["250", "550", "450", "503"], "rcpt:550 rcpt:450", After::Reset),
        (PIPELINING, false, &["250", "550", "450", "354", "554"], "rcpt:550 rcpt:450", After::Reset),
        (PIPELINING, false, &["250", "550", "450", "354", "250"], "rcpt:550 rcpt:450", After::Reset),
        (PIPELINING, false, &["550", "503", "503", "503"], "mail:550 mail:550", After::Clean),
        // A host that goes on although it refused MAIL has delivered nothing.
        (PIPELINING, false, &["550", "250", "250", "354", "250"], "mail:550 mail:550", After::Clean),
        (PIPELINING, false, &["421"], "mail:421 mail:421", After::Close),
        (PIPELINING, false, &["250", "550", "421"], "rcpt:550 rcpt:421", After::Close),
        (PIPELINING, false, &["250", "250", "250", "421"], "data:421 data:421", After::Close),
        (PIPELINING, false, &["250", "250", "250", "354", "421"], "end_of_data:421 end_of_data:421", After::Close),
        (PIPELINING, false, &["250", "550", "450", "354", "421"], "rcpt:550 rcpt:450", After::Close),
        (PIPELINING, false, &["250", "550", "250", "354"], "rcpt:550 end_of_data:reset", After::Close),
        (PIPELINING, false, &["250", "550"], "rcpt:550 rcpt:reset", After::Close),
        (PIPELINING, false, &["250", "354"], "rcpt:protocol rcpt:protocol", After::Close),
        (PIPELINING, false, &["250", "250", "250", "250"], "data:protocol data:protocol", After::Close),
        (PIPELINING, true, &["500"], "mail:protocol mail:protocol", After::Close),
        // Step by step.
        (plain, false, &["550"], "mail:550 mail:550", After::Clean),
        (plain, false, &["250", "550", "450"], "rcpt:550 rcpt:450", After::Reset),
        (plain, false, &["250", "550", "250", "354", "250"], "rcpt:550 end_of_data:250", After::Clean),
        (plain, false, &["250", "250", "250", "554"], "data:554 data:554", After::Reset),
        (plain, false, &[], "mail:reset mail:reset", After::Close),
    ] {
        let (_, decided, left) = play(2, offers, reset, replies);
        assert_eq!((decided.as_str(), left), (codes, after), "{replies:?}");
    }
}

const WITH_DSN: &str = "MAIL FROM:<> RET=HDRS ENVID=mark01|";

#[test]
fn the_envelope_id_goes_to_hosts_that_offer_dsn_and_to_no_others() {
    let rcpts = rcpts(1);
    let sent = |envelope_id, dsn| {
        let mut out = Vec::new();
        let offers = Capabilities { dsn, ..Capabilities::default() };
        Transaction::begin(Mail { envelope_id, ..mail(&rcpts) }, offers, Before::Nothing, &mut out);
        String::from_utf8(out).expect("ASCII").replace("\r\n", "|")
    };
    assert_eq!(sent(Some("mark01"), true), WITH_DSN);
    let long = "k".repeat(101);
    for (envelope_id, dsn) in [
        (Some("mark01"), false),
        (None, true),
        (Some(""), true),
        (Some("a+b"), true),
        (Some("a b"), true),
        (Some(long.as_str()), true),
    ] {
        assert_eq!(sent(envelope_id, dsn), "MAIL FROM:<>|", "{envelope_id:?} {dsn}");
    }
}

#[test]
fn a_host_that_chokes_on_its_own_dsn_gets_the_mail_without() {
    let rcpts = rcpts(2);
    let mail = Mail { envelope_id: Some("mark01"), ..mail(&rcpts) };
    let (piped, plain) =
        (Capabilities { dsn: true, ..PIPELINING }, Capabilities { dsn: true, ..Capabilities::default() });
    let rest = "RCPT TO:<r0@example.org>|RCPT TO:<r1@example.org>|DATA|";
    let groups = [format!("{WITH_DSN}{rest}"), format!("RSET|MAIL FROM:<>|{rest}"), "BODY".to_owned()];
    for replies in [
        &["501 what", "503", "503", "503", "250 reset", "250", "550", "250", "354", "250 queued"][..],
        &["555", "250", "550", "554", "250 reset", "250", "550", "250", "354", "250 queued"],
    ] {
        let (sent, codes, after) = play_mail(mail, piped, false, replies);
        assert_eq!(sent, groups);
        assert_eq!((codes.as_str(), after), ("rcpt:550 end_of_data:250", After::Clean), "{replies:?}");
    }
    // It waits for a message nobody may send: the lone dot comes before the second try.
    let replies = ["504", "250", "250", "354", "554 nothing", "250 reset", "250", "250", "250", "354", "250 queued"];
    let (sent, codes, _) = play_mail(mail, piped, false, &replies);
    assert_eq!(sent, [groups[0].as_str(), ".|", &groups[1], "BODY"]);
    assert_eq!(codes, "end_of_data:250 end_of_data:250");
    let replies = ["500", "250 reset", "250", "250", "250", "354", "250 queued"];
    let (sent, codes, _) = play_mail(mail, plain, false, &replies);
    assert_eq!(sent[..3], [WITH_DSN, "RSET|", "MAIL FROM:<>|"]);
    assert_eq!(codes, "end_of_data:250 end_of_data:250");
}

#[test]
fn what_the_host_says_without_dsn_counts_and_is_asked_for_once() {
    let rcpts = rcpts(1);
    let mail = Mail { envelope_id: Some("mark01"), ..mail(&rcpts) };
    let offers = Capabilities { dsn: true, ..Capabilities::default() };
    for (replies, expected, left) in [
        (&["501 bad address", "250 reset", "501 bad address"][..], "mail:501", After::Clean),
        (&["501", "250 reset", "250", "550"], "rcpt:550", After::Reset),
        (&["501", "421"], "mail:421", After::Close),
        (&["501"], "mail:reset", After::Close),
        (&["501", "500 no RSET here"], "mail:protocol", After::Close),
        // Refusals that speak of something else.
        (&["550"], "mail:550", After::Clean),
        (&["451"], "mail:451", After::Clean),
        (&["503"], "mail:503", After::Clean),
    ] {
        let (_, codes, after) = play_mail(mail, offers, false, replies);
        assert_eq!((codes.as_str(), after), (expected, left), "{replies:?}");
    }
    let enhanced = EnhancedCode { class: 5, subject: 5, detail: 4 };
    let unsupported = Reply { enhanced: Some(enhanced), ..reply("550 Unsupported option") };
    let mut out = Vec::new();
    let (mut transaction, _) = Transaction::begin(mail, offers, Before::Nothing, &mut out);
    out.clear();
    assert_eq!((transaction.on_reply(unsupported, &mut out), out.as_slice()), (Step::More, &b"RSET\r\n"[..]));
    transaction.on_reply(reply("250"), &mut out);
    assert!(!transaction.dsn_failed());
    transaction.on_reply(reply("250"), &mut out);
    assert!(transaction.dsn_failed());
}

#[test]
fn many_recipients_go_out_in_groups() {
    let mut replies = vec!["250"; 1 + 250];
    replies.extend(["354", "250"]);
    let (sent, codes, _) = play(250, PIPELINING, false, &replies);
    let commands: Vec<usize> = sent.iter().map(|write| write.matches('|').count()).collect();
    assert_eq!(commands, [1 + 100, 100, 50 + 1, 0]);
    assert_eq!(codes.matches("end_of_data:250").count(), 250);
    // MAIL refused: the rest of the recipients is not sent any more.
    let mut replies = vec!["550"];
    replies.extend(["503"; 100]);
    let (sent, _, after) = play(250, PIPELINING, false, &replies);
    assert_eq!((sent.len(), after), (1, After::Clean));
}

#[test]
fn what_the_host_offers_goes_into_mail() {
    let offers = Capabilities::from_lines(["mx.example.org at your service", "size 1000", "8BITMIME", "X-What EVER"]);
    assert!(offers.size && offers.eight_bit_mime && !offers.pipelining);
    let rcpts = rcpts(1);
    let from: Mailbox = "a@example.net".parse().expect("address");
    let mut mail = Mail { reverse_path: Some(&from), body: b"\xe4", eight_bit: true, ..mail(&rcpts) };
    let mut out = Vec::new();
    Transaction::begin(mail, offers, Before::Nothing, &mut out);
    assert_eq!(out, b"MAIL FROM:<a@example.net> SIZE=3 BODY=8BITMIME\r\n");

    let mut refused = |mail, offers| {
        out.clear();
        let (transaction, step) = Transaction::begin(mail, offers, Before::Reset, &mut out);
        assert!(step == Step::Done && out.is_empty(), "nothing is sent");
        let (answers, after) = transaction.finish();
        (answers[0].clone(), after)
    };
    match refused(mail, Capabilities { eight_bit_mime: false, ..offers }) {
        (Answer::Reply(Stage::Mail, reply), After::Reset) => assert!(reply.to_string().starts_with("554 5.6.3 ")),
        other => panic!("{other:?}"),
    }
    let body = vec![b'x'; 999];
    mail.body = &body;
    match refused(mail, offers) {
        (Answer::Reply(Stage::Mail, reply), _) => assert!(reply.to_string().starts_with("552 5.3.4 ")),
        other => panic!("{other:?}"),
    }
    mail.body = &body[..998];
    assert_eq!(Transaction::begin(mail, offers, Before::Nothing, &mut Vec::new()).1, Step::More);
    mail.head = b"X: y\r\n";
    match refused(mail, offers) {
        (Answer::Reply(_, reply), _) => assert!(reply.text.contains("message size 1006 "), "{reply}"),
        other => panic!("{other:?}"),
    }
    mail.body = &body[..992];
    out.clear();
    Transaction::begin(mail, offers, Before::Nothing, &mut out);
    assert_eq!(out, b"MAIL FROM:<a@example.net> SIZE=1000 BODY=8BITMIME\r\n", "the head counts");
    for unlimited in ["SIZE", "SIZE 0", "SIZE lots"] {
        assert_eq!(Capabilities::from_lines(["x", unlimited]).size_limit, None, "{unlimited}");
    }
}

const CHUNKS: Capabilities = Capabilities { chunking: true, ..PIPELINING };

/// As [`play`], over a connection that carried a message before; tells whether it was lost over something.
fn chunked(before: Before, size: usize, replies: &[&str]) -> (Vec<String>, String, After, Option<Lost>) {
    let (rcpts, body) = (rcpts(2), [b"x".repeat(size), b"\r\n".to_vec()].concat());
    let mail = Mail { body: &body, ..mail(&rcpts) };
    let mut out = Vec::new();
    let (mut transaction, mut step) = Transaction::begin(mail, CHUNKS, before, &mut out);
    let (mut sent, mut replies) = (Vec::new(), replies.iter());
    while step != Step::Done {
        let mut write = String::from_utf8(std::mem::take(&mut out)).expect("ASCII").replace("\r\n", "|");
        if step == Step::SendBody {
            write += "BODY";
            transaction.body_sent();
        }
        sent.extend(Some(write.replace(&"x".repeat(size), "x")).filter(|write| !write.is_empty()));
        step = match replies.next() {
            Some(text) => transaction.on_reply(reply(text), &mut out),
            None => {
                transaction.fail(FailureKind::Reset, String::new());
                Step::Done
            }
        };
    }
    assert_eq!(replies.next(), None, "reply left over");
    let lost = transaction.lost();
    let (answers, after) = transaction.finish();
    let code = |answer: Answer| match answer {
        Answer::Reply(stage, reply) => format!("{}:{}", stage.as_str(), reply.code),
        Answer::Failure(failure) => format!("{}:{}", failure.stage.as_str(), failure.kind.as_str()),
    };
    (sent, answers.into_iter().map(code).collect::<Vec<_>>().join(" "), after, lost)
}

#[test]
fn a_small_first_message_goes_in_one_group_and_later_ones_wait_for_the_recipients() {
    const RCPTS: &str = "RCPT TO:<r0@example.org>|RCPT TO:<r1@example.org>|";
    let ok = ["250", "550", "250", "250 queued"];
    let (sent, codes, after, _) = chunked(Before::Nothing, 1, &ok);
    assert_eq!(sent, [format!("MAIL FROM:<>|{RCPTS}BDAT 3 LAST|x|")]);
    assert_eq!((codes.as_str(), after), ("rcpt:550 end_of_data:250", After::Clean));
    for (before, size) in [(Before::Clean, 1), (Before::Nothing, 64 * 1024)] {
        let (sent, codes, after, _) = chunked(before, size, &ok);
        let announced = size + 2;
        assert_eq!(sent, [format!("MAIL FROM:<>|{RCPTS}"), format!("BDAT {announced} LAST|BODY")]);
        assert_eq!((codes.as_str(), after), ("rcpt:550 end_of_data:250", After::Clean));
        // Nobody wants it: it stays here.
        let (sent, codes, after, _) = chunked(before, size, &["250", "550", "450"]);
        assert_eq!((sent.len(), codes.as_str(), after), (1, "rcpt:550 rcpt:450", After::Reset));
    }
}

#[test]
fn a_chunk_that_went_along_is_judged_with_the_rest() {
    for (replies, codes, left) in [
        (&["250", "550", "450", "503"][..], "rcpt:550 rcpt:450", After::Reset),
        (&["250", "550", "450", "250 took it"], "rcpt:550 rcpt:450", After::Reset),
        (&["451", "503", "503", "503"], "mail:451 mail:451", After::Reset),
        (&["250", "250", "250", "554 spam"], "end_of_data:554 end_of_data:554", After::Reset),
        (&["250", "250", "421"], "rcpt:421 rcpt:421", After::Close),
        (&["250", "550", "250", "421"], "rcpt:550 end_of_data:421", After::Close),
        // The host may have it all.
        (&[], "end_of_data:reset end_of_data:reset", After::Close),
        (&["250", "550"], "rcpt:550 end_of_data:reset", After::Close),
    ] {
        let (_, found, after, lost) = chunked(Before::Nothing, 1, replies);
        assert_eq!((found.as_str(), after, lost), (codes, left, None), "{replies:?}");
    }
}

#[test]
fn a_host_that_does_not_know_its_own_chunks_is_left_at_once() {
    for (before, replies) in [
        (Before::Nothing, &["250", "250", "250", "500 what"][..]),
        (Before::Clean, &["250", "550", "250", "502 5.5.1 unknown"]),
    ] {
        let (_, _, after, lost) = chunked(before, 1, replies);
        assert_eq!((after, lost), (After::Close, Some(Lost::Chunking)), "{replies:?}");
    }
    // All have their answers: nothing is to be sent again.
    let (_, codes, after, lost) = chunked(Before::Nothing, 1, &["250", "550", "550", "500 what"]);
    assert_eq!((codes.as_str(), after, lost), ("rcpt:550 rcpt:550", After::Close, None));
}

#[test]
fn what_the_client_asked_for_is_passed_on_and_our_mark_only_where_it_named_no_envelope() {
    use crate::message::wishes::{OriginalRecipient, Return};

    let original = OriginalRecipient { kind: "rfc822".into(), address: "a+2Bb@example.net".parse().expect("xtext") };
    let mut rcpts = rcpts(2);
    rcpts[0].wishes.notify = Some("SUCCESS,DELAY".parse().expect("NOTIFY"));
    rcpts[1].wishes.original = Some(original);
    let sent = |wishes: &Wishes, mark: Option<&str>, dsn: bool| {
        let mut out = Vec::new();
        let mail = Mail { envelope_id: mark, wishes, ..mail(&rcpts) };
        Transaction::begin(mail, Capabilities { dsn, ..PIPELINING }, Before::Nothing, &mut out);
        String::from_utf8(out).expect("ASCII").replace("\r\n", "|")
    };
    let asked =
        "RCPT TO:<r0@example.org> NOTIFY=SUCCESS,DELAY|RCPT TO:<r1@example.org> ORCPT=rfc822;a+2Bb@example.net|DATA|";
    let full = Wishes { ret: Some(Return::Full), envelope_id: "QQ+20314".parse().ok(), ..Wishes::NONE };
    assert_eq!(sent(&full, Some("mark01"), true), format!("MAIL FROM:<> RET=FULL ENVID=QQ+20314|{asked}"));
    let only_full = Wishes { envelope_id: None, ..full.clone() };
    assert_eq!(sent(&only_full, Some("mark01"), true), format!("MAIL FROM:<> RET=FULL ENVID=mark01|{asked}"));
    assert_eq!(sent(&Wishes::NONE, Some("mark01"), true), format!("MAIL FROM:<> RET=HDRS ENVID=mark01|{asked}"));
    let close = Wishes { tls: TlsWish::Required, ..full.clone() };
    let mut out = Vec::new();
    let offers = Capabilities { dsn: true, require_tls: true, ..Capabilities::default() };
    Transaction::begin(Mail { wishes: &close, ..mail(&rcpts) }, offers, Before::Nothing, &mut out);
    let only_header = "MAIL FROM:<> REQUIRETLS RET=HDRS ENVID=QQ+20314\r\n";
    assert_eq!(String::from_utf8_lossy(&out), only_header, "no whole message comes back");
    assert_eq!(sent(&Wishes::NONE, None, true), format!("MAIL FROM:<>|{asked}"));
    let bare = "RCPT TO:<r0@example.org>|RCPT TO:<r1@example.org>|DATA|";
    assert_eq!(sent(&full, Some("mark01"), false), format!("MAIL FROM:<>|{bare}"), "not offered");
}

#[test]
fn smtputf8_is_said_where_the_mail_needs_it() {
    let rcpts = rcpts(1);
    let utf8 = Wishes { utf8: true, ..Wishes::NONE };
    for (wishes, body, said) in [
        (&utf8, "Subject: gr\u{fc}\u{df}e\r\n\r\n", true),
        (&utf8, "Subject: x\r\n\r\n\u{fc}\r\n", false),
        (&Wishes::NONE, "Subject: gr\u{fc}\u{df}e\r\n\r\n", false),
    ] {
        let mut out = Vec::new();
        let offers = Capabilities { utf8: true, eight_bit_mime: true, ..Capabilities::default() };
        let mail = Mail { wishes, body: body.as_bytes(), eight_bit: true, ..mail(&rcpts) };
        Transaction::begin(mail, offers, Before::Nothing, &mut out);
        let expected = if said { " SMTPUTF8" } else { "" };
        assert_eq!(String::from_utf8_lossy(&out), format!("MAIL FROM:<> BODY=8BITMIME{expected}\r\n"), "{body}");
    }
}

proptest! {
    #[test]
    fn whatever_is_replied_every_recipient_is_answered_and_no_success_is_invented(
        recipients in 1_usize..4,
        pipelining: bool,
        reset: bool,
        dsn: bool,
        chunking: bool,
        codes in proptest::collection::vec(proptest::sample::select(vec![220_u16, 250, 354, 421, 450, 501, 550]), 0..12),
    ) {
        let rcpts = rcpts(recipients);
        let mail = Mail { envelope_id: dsn.then_some("id"), ..mail(&rcpts) };
        let offers = Capabilities { pipelining, dsn, chunking, ..Capabilities::default() };
        let mut out = Vec::new();
        let (mut transaction, mut step) = Transaction::begin(mail, offers, if reset { Before::Reset } else { Before::Nothing }, &mut out);
        let mut body_sent = false;
        let mut taken = 0;
        while step != Step::Done {
            if step == Step::SendBody {
                body_sent = true;
                transaction.body_sent();
            }
            step = match codes.get(taken) {
                Some(&code) => transaction.on_reply(Reply { code, enhanced: None, text: String::new() }, &mut out),
                None => { transaction.fail(FailureKind::Reset, String::new()); Step::Done }
            };
            taken += 1;
        }
        // A chunk has one reply, of its command or of its octets.
        let lines = String::from_utf8_lossy(&out).into_owned();
        let went_along = lines.matches("x\r\n").count();
        let own_command = usize::from(body_sent && chunking && lines.contains("BDAT"));
        let commands = lines.matches("\r\n").count() - went_along + usize::from(body_sent) - own_command;
        let body_sent = body_sent || went_along > 0;
        prop_assert!(taken <= commands, "no reply is read that nothing asked for");
        let (answers, after) = transaction.finish();
        prop_assert_eq!(answers.len(), recipients);
        let last = taken.checked_sub(1).and_then(|at| codes.get(at));
        for answer in &answers {
            if let Answer::Reply(stage, reply) = answer && reply.is_positive() {
                prop_assert_eq!(*stage, Stage::EndOfData);
                prop_assert!(body_sent && last == Some(&reply.code));
            }
        }
        if taken < commands {
            prop_assert_eq!(after, After::Close, "replies are outstanding");
        }
    }
}
