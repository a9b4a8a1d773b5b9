//! Extensions that a client may use with MAIL and RCPT, and limits that it is told.

use super::*;
use crate::message::wishes::{Notify, Return, TlsWish};

/// The last lines of the replies to each of `lines`, said one after the other behind EHLO.
fn replies(session: &mut Session, lines: &[&str]) -> Vec<String> {
    let mut say = |line: &str| {
        let (mut input, mut out) = (BytesMut::from(&*format!("{line}\r\n")), Vec::new());
        let effect = session.advance(&mut input, &ROOM, &mut out);
        if let Effect::Deliver(_) = effect {
            session.answered(Ok(MessageId(7)), &mut out);
        }
        let replies = String::from_utf8(out).expect("ASCII");
        replies.lines().last().unwrap_or_default().to_owned()
    };
    say("EHLO x");
    lines.iter().map(|line| say(line)).collect()
}

/// What is handed over behind these, with this text.
fn transaction(session: &mut Session, lines: &[&str], text: &str) -> Transaction {
    for reply in replies(session, lines) {
        assert!(reply.starts_with("250 "), "{reply}");
    }
    let mut out = Vec::new();
    session.advance(&mut BytesMut::from("DATA\r\n"), &ROOM, &mut out);
    match session.advance(&mut BytesMut::from(&*format!("{text}.\r\n")), &ROOM, &mut out) {
        Effect::Deliver(transaction) => *transaction,
        other => panic!("{other:?}: {}", String::from_utf8_lossy(&out)),
    }
}

#[test]
fn wishes_of_mail_and_rcpt_are_handed_over() {
    let lines = [
        "MAIL FROM:<a@example.com> RET=HDRS ENVID=QQ314159 SMTPUTF8 BODY=8BITMIME SIZE=20",
        "RCPT TO:<grüße@Bücher.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob@example.org",
        "RCPT TO:<b@example.org>",
    ];
    let mail = transaction(&mut session(ALL), &lines, "Subject: x\r\n\r\ny\r\n");
    assert_eq!((mail.wishes.ret, mail.wishes.utf8, mail.wishes.tls), (Some(Return::Headers), true, TlsWish::None));
    assert_eq!(mail.wishes.envelope_id.expect("said").as_str(), "QQ314159");
    let [first, second] = &mail.recipients[..] else { panic!("two") };
    assert_eq!((first.address.as_str(), first.address.domain_str()), ("grüße@Bücher.example", "xn--bcher-kva.example"));
    assert_eq!(first.wishes.notify, Some(Notify { success: true, failure: false, delay: true }));
    assert_eq!(first.wishes.original.as_ref().expect("said").to_string(), "rfc822;Bob@example.org");
    assert!(second.wishes.is_none());
}

#[test]
fn addresses_beyond_ascii_need_smtputf8() {
    for (lines, last) in [
        (&["MAIL FROM:<ü@example.org>"][..], "553 5.6.7 address is not ASCII, which needs SMTPUTF8"),
        (&["MAIL FROM:<a@bücher.example>"], "553 5.6.7 address is not ASCII, which needs SMTPUTF8"),
        (&["MAIL FROM:<ü@bücher.example> SMTPUTF8"], "250 2.1.0 sender ok"),
        (&["MAIL FROM:<>", "RCPT TO:<ü@example.org>"], "553 5.6.7 address is not ASCII, which needs SMTPUTF8"),
        (&["MAIL FROM:<>", "RCPT TO:<a@bücher.example>"], "553 5.6.7 address is not ASCII, which needs SMTPUTF8"),
        (&["MAIL FROM:<> SMTPUTF8", "RCPT TO:<a@bücher.example>"], "250 2.1.5 recipient ok"),
        (&["MAIL FROM:<>", "RCPT TO:<a@xn--bcher-kva.example>"], "250 2.1.5 recipient ok"),
        (&["VRFY ü"], "553 5.6.7 address is not ASCII, which needs SMTPUTF8"),
        (&["VRFY ü SMTPUTF8"], "252 2.5.0 not verified; send mail and see"),
        (&["EXPN ü SMTPUTF8"], "502 5.5.1 EXPN is not implemented"),
        (&["EHLO ü.example"], "501 5.5.4 not a host name or address literal"),
    ] {
        assert_eq!(replies(&mut session(ALL), lines).last().map(String::as_str), Some(last), "{lines:?}");
    }
}

#[test]
fn who_says_helo_has_no_extensions() {
    let refused = "555 5.5.4 parameter not recognised or not offered";
    let lines =
        ["HELO x", "MAIL FROM:<> SMTPUTF8", "MAIL FROM:<> ENVID=x", "MAIL FROM:<>", "RCPT TO:<a@b.org> NOTIFY=NEVER"];
    let got = replies(&mut session(ALL), &lines);
    assert_eq!([&got[1], &got[2], &got[4]], [refused; 3]);
}

#[test]
fn requiretls_needs_tls_and_goes_before_the_header() {
    let offers = |session: &mut Session| {
        let mut out = Vec::new();
        session.advance(&mut BytesMut::from("EHLO x\r\n"), &ROOM, &mut out);
        String::from_utf8(out).expect("ASCII").contains("250-REQUIRETLS\r\n")
    };
    let mut clear = session(ALL);
    assert!(!offers(&mut clear));
    let got = replies(&mut clear, &["MAIL FROM:<> REQUIRETLS"]);
    assert_eq!(got, ["530 5.7.10 REQUIRETLS needs a session with TLS"]);
    for (parameter, header, tls) in [
        (" REQUIRETLS", "TLS-Required: No\r\n", TlsWish::Required),
        ("", "tls-required:\r\n no\r\n", TlsWish::Dispensable),
        ("", "TLS-Required: Yes\r\n", TlsWish::None),
        ("", "", TlsWish::None),
    ] {
        let mut session = session(ALL);
        session.encrypted(&TlsFacts {
            version: "TLSv1.3",
            cipher: "TLS_AES_256_GCM_SHA384".into(),
            group: None,
            binding: None,
        });
        assert!(offers(&mut session));
        let lines = [&*format!("MAIL FROM:<>{parameter}"), "RCPT TO:<a@b.org>"];
        let mail = transaction(&mut session, &lines, &format!("{header}\r\nTLS-Required: No\r\n"));
        assert_eq!((mail.wishes.tls, mail.tls.is_some()), (tls, true), "{parameter} {header:?}");
    }
}

#[test]
fn a_session_has_so_many_transactions_and_says_so() {
    let trust = vec![ALL.parse().expect("valid")];
    let at = Listener::at("127.0.0.1:0".parse().expect("valid"));
    let listener = Listener { trust, mails_per_session: Some(2), ..at };
    let mut session = Session::new(terms_of(listener), "192.0.2.7:1".parse().expect("valid"));
    let mut out = Vec::new();
    session.advance(&mut BytesMut::from("EHLO x\r\n"), &ROOM, &mut out);
    assert!(String::from_utf8_lossy(&out).contains("250-LIMITS RCPTMAX=1000 MAILMAX=2\r\n"));
    out.clear();
    let input = "MAIL FROM:<bad>\r\nMAIL FROM:<>\r\nRSET\r\nMAIL FROM:<>\r\nRSET\r\nMAIL FROM:<>\r\nNOOP\r\n";
    assert!(matches!(session.advance(&mut BytesMut::from(input), &ROOM, &mut out), Effect::Drop));
    let codes: Vec<_> = String::from_utf8_lossy(&out).lines().map(|line| line[..9].to_owned()).collect();
    assert_eq!(codes, ["501 5.1.7", "250 2.1.0", "250 2.0.0", "250 2.1.0", "250 2.0.0", "421 4.7.0"]);
}

#[test]
fn a_header_above_its_limit_is_refused_and_a_body_is_not() {
    let trust = vec![ALL.parse().expect("valid")];
    let at = Listener::at("127.0.0.1:0".parse().expect("valid"));
    let terms = terms_of(Listener { trust, max_header_bytes: 20_000, ..at });
    let field = format!("X: {}\r\n", "x".repeat(95));
    for (header, is_taken) in [(200, true), (201, false)] {
        let mut session = Session::new(Arc::clone(&terms), "192.0.2.7:1".parse().expect("valid"));
        replies(&mut session, &["MAIL FROM:<>", "RCPT TO:<a@b.org>", "DATA"]);
        let text = format!("{}\r\n{}.\r\n", field.repeat(header), field.repeat(1000));
        let mut out = Vec::new();
        let effect = session.advance(&mut BytesMut::from(&*text), &ROOM, &mut out);
        assert_eq!(matches!(effect, Effect::Deliver(_)), is_taken);
        let refused = "552 5.3.4 header is larger than the limit of 20000 octets\r\n";
        assert_eq!(String::from_utf8_lossy(&out), if is_taken { "" } else { refused });
    }
}

#[test]
fn refusals_are_kept_back_from_who_gets_many_of_them() {
    let trust = vec![ALL.parse().expect("valid")];
    let at = Listener::at("127.0.0.1:0".parse().expect("valid"));
    let listener = Listener { trust, max_errors: 14, ..at };
    let mut session = Session::new(terms_of(listener), "192.0.2.7:1".parse().expect("valid"));
    for n in 1..14 {
        replies(&mut session, &["FOO"]);
        assert_eq!(session.pause().is_some(), n >= 7, "{n} errors");
    }
    replies(&mut session, &["NOOP"]);
    assert_eq!(session.pause(), None, "what is right is answered at once");
    replies(&mut session, &["FOO"]);
    assert_eq!(session.pause(), None, "and the last word, too");
}
