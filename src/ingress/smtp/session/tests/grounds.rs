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
fn a_client_whom_the_balancer_does_not_name_has_nothing_of_the_balancer() {
    let here: SocketAddr = "127.0.0.1:4000".parse().expect("valid");
    let listener = |auth| Listener {
        xclient: vec!["127.0.0.1".parse::<IpAddr>().expect("valid").into()],
        ..(*terms_with("127.0.0.0/8", auth)).clone().listener
    };
    for (client, is_theirs) in [(Some(here), true), (None, false)] {
        let mut session = Session::proxied(terms_of(listener(AuthMode::Optional)), client, here);
        let mut out = Vec::new();
        session.advance(&mut BytesMut::from("EHLO x\r\n"), &ROOM, &mut out);
        let offers = String::from_utf8(out).expect("ASCII");
        assert_eq!((session.client(), session.is_trusted(), session.may_relay()), (here, is_theirs, is_theirs));
        assert_eq!((offers.contains("AUTH PLAIN"), offers.contains("XCLIENT")), (is_theirs, is_theirs), "{offers}");
        let mut out = Vec::new();
        session.advance(&mut BytesMut::from("XCLIENT ADDR=127.0.0.1\r\n"), &ROOM, &mut out);
        assert_eq!(out.starts_with(b"550 5.7.1 "), !is_theirs);
    }
}

#[test]
fn a_reload_that_forbids_the_clear_or_a_balancer_reaches_open_sessions() {
    let here: SocketAddr = "127.0.0.1:4000".parse().expect("valid");
    let net = |text: &str| vec![text.parse().expect("valid")];
    let was = Listener {
        proxy_protocol: net("127.0.0.1/32"),
        xclient: net("192.0.2.0/24"),
        ..(*terms_with("192.0.2.0/24", AuthMode::Optional)).clone().listener
    };
    let by = |change: &dyn Fn(&mut Listener)| {
        let mut listener = was.clone();
        change(&mut listener);
        terms_of(listener)
    };
    let user = |mut session: Session| {
        session.login.ended(Ok("ann".to_owned())).expect("logged in");
        session
    };
    let new = || Session::new(terms_of(was.clone()), here);
    let proxied = || Session::proxied(terms_of(was.clone()), Some("192.0.2.7:1".parse().expect("valid")), here);
    let named = || {
        let mut session = proxied();
        let said =
            crate::ingress::smtp::xclient::Said { address: Some(Some([192, 0, 2, 9].into())), ..Default::default() };
        session.xclient(said, &Knows("ann")).expect("it may");
        session.phase = Phase::Idle;
        session
    };
    let nothing = |_: &mut Listener| {};
    let required = |listener: &mut Listener| listener.tls = crate::config::TlsMode::Required;
    let implicit = |listener: &mut Listener| listener.tls = crate::config::TlsMode::Implicit;
    let secure = |listener: &mut Listener| listener.auth_insecure = false;
    let unproxied = |listener: &mut Listener| listener.proxy_protocol.clear();
    let unnamed = |listener: &mut Listener| listener.xclient.clear();
    type Case<'a> = (&'a dyn Fn() -> Session, &'a dyn Fn(&mut Listener), bool);
    let table: [Case<'_>; 14] = [
        (&|| user(new()), &nothing, false),
        (&|| user(new()), &required, true),
        (&|| user(new()), &implicit, true),
        (&|| user(new()), &secure, true),
        (&new, &required, true),
        (&new, &secure, false),
        (&proxied, &nothing, false),
        (&proxied, &required, true),
        (&proxied, &unproxied, true),
        (&proxied, &unnamed, false),
        (&|| user(new()), &unproxied, false),
        (&named, &nothing, false),
        (&named, &unnamed, true),
        (&named, &unproxied, true),
    ];
    for (n, (session, change, lost)) in table.into_iter().enumerate() {
        let mut session = session();
        session.now_by(by(change));
        assert_eq!(session.has_lost_its_grounds(&Knows("ann")), lost, "{n}");
    }
    let (mut session, mut out) = (new(), Vec::new());
    session.now_by(by(&secure));
    session.advance(&mut BytesMut::from("EHLO x\r\n"), &ROOM, &mut out);
    assert!(!String::from_utf8_lossy(&out).contains("AUTH"), "no password comes in the clear any more");
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
