//! AUTH inside the dialogue.

use super::*;

const EHLO: &str = "C: EHLO x
     S: 250-relay.example.net
     S: 250-PIPELINING
     S: 250-SIZE 2000
     S: 250-8BITMIME
     S: 250-SMTPUTF8
     S: 250-CHUNKING
     S: 250-DSN
     S: 250-LIMITS RCPTMAX=2
     S: 250-ENHANCEDSTATUSCODES
     S: 250 AUTH PLAIN LOGIN
     ";

#[test]
fn a_user_logs_in_and_may_relay() {
    for login in [
        "C: AUTH PLAIN AHRpbQB4\nS: 235 2.7.0 authenticated\n",
        "C: auth plain\nS: 334 \nC: AHRpbQB4\nS: 235 2.7.0 authenticated\n",
        "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: dGlt\nS: 334 UGFzc3dvcmQ6\nC: eA==\nS: 235 2.7.0 authenticated\n",
        "C: AUTH LOGIN dGlt\nS: 334 UGFzc3dvcmQ6\nC: eA==\nS: 235 2.7.0 authenticated\n",
        "C: AUTH LOGIN\nC: dGlt\nC: eA==\nS: 334 VXNlcm5hbWU6\nS: 334 UGFzc3dvcmQ6\nS: 235 2.7.0 authenticated\n",
    ] {
        for mode in [AuthMode::Optional, AuthMode::Required] {
            let rest = "C: AUTH PLAIN AHRpbQB4
                 C: MAIL FROM:<a@example.com> AUTH=<>
                 C: RCPT TO:<b@example.org>
                 C: DATA
                 S: 503 5.5.1 already authenticated
                 S: 250 2.1.0 sender ok
                 S: 250 2.1.5 recipient ok
                 S: 354 end data with <CRLF>.<CRLF>
                 C: .
                 S: 250 2.6.0 0000000000007 accepted";
            let handed = play_auth(mode, &format!("{EHLO}\n{login}{rest}"));
            let [transaction] = &handed[..] else { panic!("one message") };
            assert_eq!((transaction.auth_user.as_deref(), transaction.trusted), (Some("tim"), false));
        }
    }
}

#[test]
fn without_a_login_there_is_no_mail_where_it_is_required_and_no_relaying_where_it_is_not() {
    let mail = "C: MAIL FROM:<a@example.com>\nC: RCPT TO:<b@example.org>\n";
    let script = "S: 530 5.7.0 authentication required\nS: 503 5.5.1 MAIL first\n";
    play_auth(AuthMode::Required, &format!("{EHLO}\n{mail}{script}"));
    let script = "S: 250 2.1.0 sender ok\nS: 550 5.7.1 relaying denied without authentication\n";
    play_auth(AuthMode::Optional, &format!("{EHLO}\n{mail}{script}"));
}

#[test]
fn auth_out_of_place_is_refused() {
    play_auth(
        AuthMode::Optional,
        &format!(
            "C: AUTH PLAIN AHRpbQB4
             C: HELO x
             C: AUTH PLAIN AHRpbQB4
             S: 503 5.5.1 EHLO first
             S: 250 relay.example.net
             S: 503 5.5.1 EHLO first
             {EHLO}
             C: MAIL FROM:<a@example.com>
             C: AUTH PLAIN AHRpbQB4
             S: 250 2.1.0 sender ok
             S: 503 5.5.1 not inside a transaction
             C: RSET
             C: AUTH CRAM-MD5
             S: 250 2.0.0 ok
             S: 504 5.5.4 mechanism not offered: use PLAIN or LOGIN
             S: 421 4.7.0 too many errors, closing"
        ),
    );
    play(
        ALL,
        "C: HELO x
         C: MAIL FROM:<a@example.com> AUTH=<>
         S: 250 relay.example.net
         S: 555 5.5.4 parameter not recognised or not offered
         C: EHLO x
         C: AUTH PLAIN AHRpbQB4
         S: 250-relay.example.net
         S: 250-PIPELINING
         S: 250-SIZE 2000
         S: 250-8BITMIME
         S: 250-SMTPUTF8
         S: 250-CHUNKING
         S: 250-DSN
         S: 250-LIMITS RCPTMAX=2
         S: 250 ENHANCEDSTATUSCODES
         S: 502 5.5.1 AUTH is not offered here",
    );
}

#[test]
fn an_exchange_ends_by_a_star_by_rubbish_and_by_a_line_too_long() {
    let long = "x".repeat(3000);
    play_auth(
        AuthMode::Optional,
        &format!(
            "{EHLO}
             C: AUTH PLAIN
             C: *
             S: 334 \nS: 501 5.7.0 authentication cancelled
             C: AUTH LOGIN
             C: {long}
             S: 334 VXNlcm5hbWU6
             S: 500 5.5.6 authentication exchange line is too long
             C: AUTH LOGIN
             C: NOOP
             S: 334 VXNlcm5hbWU6
             S: 334 UGFzc3dvcmQ6
             C: %%
             S: 501 5.5.2 not base64 (RFC 4648, padded)
             C: NOOP
             S: 250 2.0.0 ok"
        ),
    );
}

#[test]
fn three_failed_logins_end_the_session() {
    play_auth(
        AuthMode::Optional,
        &format!(
            "{EHLO}
             C: AUTH PLAIN AHRpbQB5
             S: 535 5.7.8 wrong
             C: AUTH PLAIN AGJlbgB4
             S: 454 4.7.0 try again later
             C: AUTH PLAIN AHRpbQB5
             C: NOOP
             S: 535 5.7.8 wrong
             S: 421 4.7.0 too many failed logins, closing"
        ),
    );
}

#[test]
fn credentials_are_not_shown_and_a_stop_waits_for_their_check() {
    let mut session = Session::new(terms_with(NONE, AuthMode::Required), "127.0.0.1:1".parse().expect("valid"));
    let (mut input, mut out) = (BytesMut::from("EHLO x\r\n"), Vec::new());
    session.advance(&mut input, &ROOM, &mut out);
    input.extend_from_slice(b"AUTH PLAIN AHRpbQB4\r\n");
    let Effect::Authenticate(credentials) = session.advance(&mut input, &ROOM, &mut out) else { panic!("asked") };
    assert_eq!((&*credentials.user, input.len()), ("tim", 0));
    assert_eq!(format!("{credentials:?}"), "Credentials");
    assert!(!format!("{session:?}").contains("AHRpbQB4"));
    assert!(matches!(session.stop(&mut out), Effect::Read));
    out.clear();
    session.authenticated(Ok("tim".into()), &mut out);
    assert_eq!(String::from_utf8_lossy(&out), "235 2.7.0 authenticated\r\n421 4.3.2 service stopping, closing\r\n");
}
