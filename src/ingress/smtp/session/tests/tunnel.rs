//! STARTTLS inside the dialogue, and clients that others name.

use super::*;
use crate::config::TlsMode;

fn terms_of(tls: TlsMode, auth: AuthMode, xclient: &str) -> Arc<Terms> {
    let mut terms = (*terms_with(NONE, auth)).clone();
    terms.listener.tls = tls;
    terms.listener.auth_insecure = false;
    terms.listener.xclient = vec![xclient.parse().expect("valid")];
    Arc::new(terms)
}

fn client() -> SocketAddr {
    "192.0.2.7:4000".parse().expect("valid")
}

fn with_tls(mode: TlsMode, auth: AuthMode) -> Session {
    Session::new(terms_of(mode, auth, "127.0.0.2/32"), client())
}

const FIRST: &str = "= tls
    C: EHLO x
    S: 250-relay.example.net
    S: 250-PIPELINING
    S: 250-SIZE 2000
    S: 250-8BITMIME
    S: 250-SMTPUTF8
    S: 250-CHUNKING
    S: 250-DSN
    S: 250-LIMITS RCPTMAX=2
    S: 250-ENHANCEDSTATUSCODES
    S: 250 STARTTLS
    ";

#[test]
fn tls_begins_the_dialogue_anew_and_lets_users_in() {
    let handed = play_with(
        with_tls(TlsMode::Required, AuthMode::Required),
        &format!(
            "{FIRST}
             C: MAIL FROM:<a@example.com>
             C: AUTH PLAIN AHRpbQB4
             S: 530 5.7.0 must issue a STARTTLS command first
             S: 538 5.7.11 encryption required for authentication
             C: STARTTLS
             S: 220 2.0.0 ready to start TLS
             C: MAIL FROM:<a@example.com>
             S: 503 5.5.1 EHLO or HELO first
             C: EHLO y
             S: 250-relay.example.net
             S: 250-PIPELINING
             S: 250-SIZE 2000
             S: 250-8BITMIME
             S: 250-SMTPUTF8
             S: 250-CHUNKING
             S: 250-DSN
             S: 250-LIMITS RCPTMAX=2
             S: 250-REQUIRETLS
             S: 250-ENHANCEDSTATUSCODES
             S: 250 AUTH PLAIN LOGIN
             C: AUTH PLAIN AHRpbQB4
             C: MAIL FROM:<a@example.com>
             C: RCPT TO:<b@example.org>
             C: DATA
             S: 235 2.7.0 authenticated
             S: 250 2.1.0 sender ok
             S: 250 2.1.5 recipient ok
             S: 354 end data with <CRLF>.<CRLF>
             C: .
             S: 250 2.6.0 0000000000007 accepted"
        ),
    );
    let [transaction] = &handed[..] else { panic!("one message") };
    assert_eq!(transaction.tls.as_deref(), Some("TLSv1.3 with cipher TLS_AES_256_GCM_SHA384"));
    assert_eq!((transaction.helo.as_str(), transaction.protocol()), ("y", "ESMTPSA"));
}

#[test]
fn what_stands_behind_starttls_is_never_run() {
    for behind in ["EHLO evil", "MAIL FROM:<evil@example.com>", "\\c", "N\\c"] {
        play_with(
            with_tls(TlsMode::Starttls, AuthMode::Off),
            &format!(
                "{FIRST}
                 C: STARTTLS
                 C: {behind}
                 S: {}",
                if behind == "\\c" {
                    "220 2.0.0 ready to start TLS"
                } else {
                    "554 5.5.1 protocol error: STARTTLS must be the last command of a group"
                }
            ),
        );
    }
}

#[test]
fn starttls_out_of_place_is_refused() {
    play_with(
        with_tls(TlsMode::Starttls, AuthMode::Off),
        &format!(
            "C: EHLO x
             S: 250-relay.example.net
             S: 250-PIPELINING
             S: 250-SIZE 2000
             S: 250-8BITMIME
             S: 250-SMTPUTF8
             S: 250-CHUNKING
             S: 250-DSN
             S: 250-LIMITS RCPTMAX=2
             S: 250 ENHANCEDSTATUSCODES
             C: STARTTLS
             S: 454 4.7.0 TLS is not available now, try again later
             {FIRST}
             C: STARTTLS now
             S: 501 5.5.4 no argument allowed
             C: MAIL FROM:<a@example.com>
             S: 250 2.1.0 sender ok
             C: STARTTLS
             S: 503 5.5.1 not inside a transaction
             C: HELO x
             S: 250 relay.example.net
             C: STARTTLS
             S: 503 5.5.1 EHLO first"
        ),
    );
    play_with(
        with_tls(TlsMode::Starttls, AuthMode::Off),
        &format!(
            "{FIRST}
             C: STARTTLS
             S: 220 2.0.0 ready to start TLS
             C: EHLO x
             S: 250-relay.example.net
             S: 250-PIPELINING
             S: 250-SIZE 2000
             S: 250-8BITMIME
             S: 250-SMTPUTF8
             S: 250-CHUNKING
             S: 250-DSN
             S: 250-LIMITS RCPTMAX=2
             S: 250-REQUIRETLS
             S: 250 ENHANCEDSTATUSCODES
             C: STARTTLS
             S: 503 5.5.1 this is TLS already"
        ),
    );
    play_with(
        with_tls(TlsMode::Off, AuthMode::Off),
        "= tls
         C: STARTTLS
         S: 502 5.5.1 STARTTLS is not offered here",
    );
}

const NAMING: &str = "C: EHLO filter
    S: 250-relay.example.net
    S: 250-PIPELINING
    S: 250-SIZE 2000
    S: 250-8BITMIME
    S: 250-SMTPUTF8
    S: 250-CHUNKING
    S: 250-DSN
    S: 250-LIMITS RCPTMAX=2
    S: 250-ENHANCEDSTATUSCODES
    S: 250-XCLIENT NAME ADDR PORT PROTO HELO DESTADDR DESTPORT
    S: 250 XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE
    ";

#[test]
fn a_named_client_counts_as_one_that_came_itself() {
    let session = || Session::new(terms_of(TlsMode::Off, AuthMode::Off, "192.0.2.7/32"), client());
    let handed = play_with(
        session(),
        &format!(
            "{NAMING}
             C: MAIL FROM:<a@example.com>
             C: RCPT TO:<b@example.org>
             C: XCLIENT ADDR=10.1.1.1
             S: 250 2.1.0 sender ok
             S: 550 5.7.1 relaying denied
             S: 503 5.5.1 not inside a transaction
             C: RSET
             C: XCLIENT NAME=app.example ADDR=10.1.1.1 PORT=99 HELO=app PROTO=SMTP
             S: 250 2.0.0 ok
             S: 220 relay.example.net ESMTP Remuda
             C: MAIL FROM:<a@example.com>
             C: RCPT TO:<b@example.org>
             C: DATA
             S: 250 2.1.0 sender ok
             S: 250 2.1.5 recipient ok
             S: 354 end data with <CRLF>.<CRLF>
             C: .
             S: 250 2.6.0 0000000000007 accepted
             C: XCLIENT ADDR=[UNAVAILABLE]
             S: 220 relay.example.net ESMTP Remuda
             C: HELO x
             C: MAIL FROM:<a@example.com>
             C: RCPT TO:<b@example.org>
             S: 250 relay.example.net
             S: 250 2.1.0 sender ok
             S: 550 5.7.1 relaying denied"
        ),
    );
    let [transaction] = &handed[..] else { panic!("one message") };
    assert_eq!((transaction.client.to_string().as_str(), transaction.trusted), ("10.1.1.1:99", true));
    assert_eq!((transaction.helo.as_str(), transaction.protocol()), ("app", "SMTP"));
    // The play has no place for a client with that port.
    play_with(
        session(),
        &format!("{NAMING}\nC: XCLIENT ADDR=10.1.1.1 PORT=421\nS: 421 4.7.0 too many connections, try again later"),
    );
    play_with(
        session(),
        &format!("{NAMING}\nC: XCLIENT LOGIN=tim\nS: 501 5.5.4 bad LOGIN attribute: nobody logs in here"),
    );
}

#[test]
fn nobody_else_names_clients_and_what_is_forwarded_is_for_the_log() {
    let mut session = Session::new(terms_of(TlsMode::Off, AuthMode::Off, "192.0.2.7/32"), client());
    let mut out = Vec::new();
    for line in ["EHLO x\r\n", "XFORWARD ADDR=10.1.1.1 HELO=app IDENT=4bc\r\n"] {
        session.advance(&mut BytesMut::from(line), &ROOM, &mut out);
    }
    assert!(String::from_utf8_lossy(&out).ends_with("250 2.0.0 ok\r\n"));
    assert_eq!((session.forwarded(), session.client()), (Some("10.1.1.1 app 4bc"), client()));
    assert!(!session.may_relay(), "it is still who it is");
    session.advance(&mut BytesMut::from("RSET\r\n"), &ROOM, &mut Vec::new());
    assert_eq!(session.forwarded(), None, "it was of that mail only");
    play(
        ALL,
        "C: XCLIENT ADDR=10.1.1.1
         S: 550 5.7.1 you may not say who the client is
         C: XFORWARD ADDR=10.1.1.1
         S: 550 5.7.1 you may not say who the client is
         C: PROXY TCP4 10.1.1.1 192.0.2.1 1 25
         S: 554 5.7.1 the PROXY protocol is not taken from you, closing",
    );
    let (mut session, mut out) = (session_of_nobody(), Vec::new());
    let header =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\x01\x01\x01\xc0\0\x02\x01\0\x01\0\x19MAIL FROM:<a@b.example>\r\n";
    let effect = session.advance(&mut BytesMut::from(&header[..]), &ROOM, &mut out);
    assert!(matches!(effect, Effect::Drop), "{effect:?}");
    assert!(String::from_utf8_lossy(&out).starts_with("554 5.7.1 "));
}

fn session_of_nobody() -> Session {
    session(NONE)
}

#[test]
fn a_client_is_private_by_where_it_is_and_not_by_who_names_it() {
    let mut terms = (*terms_of(TlsMode::Off, AuthMode::Optional, "127.0.0.1/32")).clone();
    terms.listener.auth_insecure = true;
    let here = "127.0.0.1:1".parse().expect("valid");
    let mut session = Session::new(Arc::new(terms), here);
    let mut say = |line: &str| {
        let mut out = Vec::new();
        let effect = session.advance(&mut BytesMut::from(line), &ROOM, &mut out);
        if matches!(effect, Effect::Reseat) {
            session.reseated(true, &mut out);
        }
        String::from_utf8(out).expect("ASCII")
    };
    assert!(say("EHLO x\r\n").contains("250-AUTH PLAIN LOGIN\r\n"));
    assert!(say("XCLIENT ADDR=192.0.2.9\r\n").starts_with("220 "));
    assert!(!say("EHLO x\r\n").contains("AUTH "), "the wire to that client is another");
    assert!(say("XCLIENT LOGIN=ann\r\n").starts_with("220 "), "who is in front has seen the login");
    say("EHLO x\r\n");
    assert!(say("MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n").ends_with("250 2.1.5 recipient ok\r\n"));
}

/// Desk of users who all have SCRAM.
struct Scram;

impl Admission for Scram {
    fn ready(&self) -> Result<(), Refusal> {
        Ok(())
    }

    fn scram(&self) -> bool {
        true
    }

    fn sender(&self, user: &str, reverse_path: Option<&Mailbox>) -> Result<(), Refusal> {
        let is_own = reverse_path.is_none_or(|path| path.local_part() == user);
        if is_own { Ok(()) } else { Err(Refusal::new(550, 7, 1, "not you")) }
    }
}

#[test]
fn a_login_by_scram_hears_our_proof_before_it_counts() {
    use base64ct::{Base64, Encoding};
    let coded = |text: &str| Base64::encode_string(text.as_bytes());
    let passes = std::num::NonZeroU32::new(4096).expect("not 0");
    let kept = crate::ingress::Verifier::of(b"x", &[7; 16], passes).expect("ASCII");
    let here = "127.0.0.1:1".parse().expect("valid");
    for right in [true, false] {
        let mut session = Session::new(terms_with(NONE, AuthMode::Required), here);
        let mut say = |line: &str| {
            let mut out = Vec::new();
            match session.advance(&mut BytesMut::from(format!("{line}\r\n").as_str()), &Scram, &mut out) {
                Effect::Fetch(first) => session.fetched(*first, Ok(kept.clone()), b"123456", &mut out),
                Effect::Authenticate(credentials) => {
                    assert_eq!((&*credentials.user, credentials.proof == Proof::Checked(false)), ("tim", true));
                    let answer = if right { Ok("tim".to_owned()) } else { Err(Refusal::new(535, 7, 8, "wrong")) };
                    session.authenticated(answer, &mut out);
                }
                _ => {}
            }
            String::from_utf8(out).expect("ASCII")
        };
        assert!(say("EHLO x").ends_with("250 AUTH PLAIN LOGIN SCRAM-SHA-256\r\n"));
        let asked = say(&format!("AUTH SCRAM-SHA-256 {}", coded("n,,n=tim,r=abcdefgh")));
        let asked = Base64::decode_vec(asked.trim_end().strip_prefix("334 ").expect("asked")).expect("base64");
        let asked = String::from_utf8(asked).expect("text");
        assert!(asked.starts_with("r=abcdefghMTIzNDU2,s=BwcHBwcHBwcHBwcHBwcHBw==,i=4096"), "{asked}");
        let last = format!("c=biws,r=abcdefghMTIzNDU2,p={}", coded(&"y".repeat(32)));
        let reply = say(&coded(&last));
        if right {
            assert!(reply.starts_with("334 dj1"), "v=: {reply}");
            assert!(say("").starts_with("235 2.7.0 "));
            assert!(say("MAIL FROM:<tim@b.example>").starts_with("250 "));
            say("RSET");
            assert!(say("MAIL FROM:<tom@b.example>").starts_with("550 5.7.1 not you"));
            assert!(say("MAIL FROM:<>").starts_with("250 "));
        } else {
            assert!(reply.starts_with("535 "));
            assert!(say("MAIL FROM:<tim@b.example>").starts_with("530 "));
        }
    }
}
