//! Who may relay, and until when.

use super::*;

/// Knows the user who is named.
struct Knows(&'static str);

impl Admission for Knows {
    fn ready(&self) -> Result<(), Refusal> {
        Ok(())
    }

    fn has_user(&self, user: &str) -> bool {
        user == self.0
    }
}

#[test]
fn strangers_cannot_relay_whatever_they_try() {
    let handed = play(
        NONE,
        "C: EHLO x
         C: MAIL FROM:<a@relay.example.net>
         S: 250-relay.example.net
         S: 250-PIPELINING
         S: 250-SIZE 2000
         S: 250-8BITMIME
         S: 250-SMTPUTF8
         S: 250-CHUNKING
         S: 250-DSN
         S: 250-LIMITS RCPTMAX=2
         S: 250 ENHANCEDSTATUSCODES
         S: 250 2.1.0 sender ok
         C: RCPT TO:<b@example.org>
         S: 550 5.7.1 relaying denied
         C: RCPT TO:<@relay.example.net:b@example.org>
         S: 550 5.7.1 relaying denied
         C: DATA
         S: 554 5.5.1 no valid recipients
         C: RCPT TO:<Postmaster>
         S: 550 5.7.1 relaying denied
         S: 421 4.7.0 too many errors, closing",
    );
    assert!(handed.is_empty());
}

#[test]
fn who_has_lost_the_grounds_to_send_is_told_so_at_the_next_message() {
    let (here, elsewhere, auth) = ("192.0.2.0/24", "10.0.0.0/8", AuthMode::Required);
    let off = AuthMode::Off;
    for (was, is, user, goes_on) in [
        ((here, off), (here, off), None, true),
        ((here, off), (elsewhere, off), None, false),
        ((here, off), (here, auth), None, false),
        ((elsewhere, auth), (elsewhere, auth), Some("ann"), true),
        ((elsewhere, auth), (elsewhere, auth), Some("bob"), false),
        ((elsewhere, auth), (elsewhere, off), Some("ann"), false),
        // A stranger has nothing to lose.
        ((elsewhere, off), (elsewhere, off), None, true),
    ] {
        let mut session = Session::new(terms_with(was.0, was.1), "192.0.2.7:1".parse().expect("valid"));
        if let Some(user) = user {
            session.login.ended(Ok(user.to_owned())).expect("logged in");
        }
        let say = |session: &mut Session, line: &str| {
            let mut out = Vec::new();
            session.advance(&mut BytesMut::from(line), &Knows("ann"), &mut out);
            String::from_utf8(out).expect("ASCII")
        };
        say(&mut session, "EHLO x\r\n");
        let is_under_way = was.1 == off || user == Some("ann");
        if is_under_way {
            assert!(say(&mut session, "MAIL FROM:<a@acme.example>\r\n").starts_with("250 "));
        }
        session.now_by(terms_with(is.0, is.1));
        if is_under_way {
            let reply = say(&mut session, "RCPT TO:<b@there.example>\r\nRSET\r\n");
            assert!(!reply.contains("421"), "what is under way goes on: {reply}");
        }
        let reply = say(&mut session, "MAIL FROM:<a@acme.example>\r\nNOOP\r\n");
        assert_eq!(reply.starts_with("421 4.3.2 "), !goes_on, "{was:?} {is:?} {user:?}: {reply}");
        assert_eq!(reply.lines().count(), if goes_on { 2 } else { 1 }, "{reply}");
    }
}
