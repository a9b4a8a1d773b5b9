//! Mail of strangers for addresses at which we are the receiver, and the room that it shares.

use super::*;
use crate::ingress::{Room, Share};

/// Takes reports, and its postmaster's mail from strangers, while there is room.
struct Small(Arc<Room>);

impl Admission for Small {
    fn ready(&self) -> Result<(), Refusal> {
        Ok(())
    }

    fn addressee(&self, to: &Mailbox) -> Result<Addressee, Refusal> {
        ROOM.addressee(to)
    }

    fn addressee_of_stranger(&self, to: &Mailbox) -> Result<Addressee, Refusal> {
        let is_ours = to.as_str() == "postmaster@relay.example.net";
        Ok(if is_ours { Addressee::Reports { max_bytes: 100 } } else { Addressee::Elsewhere })
    }

    fn room(&self) -> Option<Arc<Room>> {
        Some(Arc::clone(&self.0))
    }
}

/// What a session says to all of `input` at once, and what it hands over.
fn said(session: &mut Session, admission: &Small, input: &str) -> (String, Option<Transaction>) {
    let (mut input, mut out) = (BytesMut::from(input), Vec::new());
    if input.starts_with(b"EHLO x\r\n") {
        let mut hello = input.split_to(8);
        session.advance(&mut hello, admission, &mut out);
    }
    let taken = match session.advance(&mut input, admission, &mut out) {
        Effect::Deliver(transaction) => Some(*transaction),
        _ => None,
    };
    (String::from_utf8(out).expect("ASCII"), taken)
}

#[test]
fn the_postmaster_needs_no_domain_and_is_read_here_only_for_strangers() {
    let admission = Small(Arc::new(Room::new(1 << 20)));
    for (trust, is_report) in [("10.0.0.0/8", true), ("192.0.2.0/24", false)] {
        let mut session = session(trust);
        said(&mut session, &admission, "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<Postmaster>\r\nDATA\r\n");
        let (_, taken) = said(&mut session, &admission, "Subject: help\r\n.\r\n");
        let taken = taken.expect("a transaction");
        assert_eq!(taken.recipients[0].address.as_str(), "postmaster@relay.example.net");
        assert_eq!(taken.report, is_report, "{trust}");
    }
}

#[test]
fn strangers_share_the_room_and_trusted_clients_need_none() {
    // A quarter is what one client may hold.
    let room = Arc::new(Room::new(320));
    let admission = Small(Arc::clone(&room));
    let envelope = "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<fbl@report.example>\r\nDATA\r\n";
    let (mut one, mut two, mut three) = (session("10.0.0.0/8"), session("10.0.0.0/8"), session("192.0.2.0/24"));
    for session in [&mut one, &mut two, &mut three] {
        assert!(said(session, &admission, envelope).0.ends_with("354 end data with <CRLF>.<CRLF>\r\n"));
    }
    said(&mut one, &admission, &format!("{}\r\n", "x".repeat(60)));
    assert!(one.is_timed() && !three.is_timed());
    let (reply, taken) = said(&mut two, &admission, &format!("{}\r\n.\r\n", "x".repeat(60)));
    assert!(reply.starts_with("452 4.3.1 ") && taken.is_none(), "{reply}");
    assert!(said(&mut three, &admission, &format!("{}\r\n.\r\n", "x".repeat(60))).1.is_some());
    assert!(said(&mut one, &admission, ".\r\n").1.is_some());
    // Held until it is answered, then given back.
    let mut others: Vec<Share> = (1..=4).map(|last| Share::new(&room, [198, 51, 100, last].into())).collect();
    assert_eq!(others.iter_mut().filter_map(|share| share.resize(80).then_some(())).count(), 3);
    assert!(!one.is_timed(), "its end has come");
    one.answered(Ok(MessageId(1)), &mut Vec::new());
    assert!(others[3].resize(80));
    let (reply, _) = said(&mut two, &admission, "MAIL FROM:<>\r\nRCPT TO:<fbl@report.example>\r\n");
    assert!(reply.ends_with("452 4.3.1 insufficient storage, try again later\r\n"), "{reply}");
}

#[test]
fn reports_are_taken_from_strangers_and_relaying_is_not() {
    let handed = play(
        NONE,
        "C: HELO mx.receiver.example
         C: MAIL FROM:<>
         C: RCPT TO:<a@elsewhere.example>
         C: RCPT TO:<Postmaster>
         C: RCPT TO:<nobody@report.example>
         C: RCPT TO:<any@REPORT.example>
         C: DATA
         S: 250 relay.example.net
         S: 250 2.1.0 sender ok
         S: 550 5.7.1 relaying denied
         S: 550 5.7.1 relaying denied
         S: 550 5.1.1 no such address
         S: 250 2.1.5 recipient ok
         S: 354 end data with <CRLF>.<CRLF>
         C: Subject: x
         C: .
         S: 250 2.6.0 0000000000007 accepted",
    );
    let [transaction] = &handed[..] else { panic!("one message") };
    assert!(transaction.report && !transaction.trusted);
    assert_eq!(transaction.recipients.iter().map(|to| to.address.as_str()).collect::<Vec<_>>(), ["any@report.example"]);
}

#[test]
fn a_report_goes_alone_in_its_transaction() {
    let begin = "C: HELO x\nC: MAIL FROM:<>\nS: 250 relay.example.net\nS: 250 2.1.0 sender ok\n";
    let refused = "S: 452 4.5.3 reports go alone, send it in another transaction\n";
    for (trust, first, second, answer) in [
        (ALL, "any@report.example", "a@elsewhere.example", refused),
        (ALL, "any@report.example", "other@report.example", refused),
        (ALL, "a@elsewhere.example", "any@report.example", refused),
        // Whoever may not relay is told that, and nothing of another transaction.
        (NONE, "any@report.example", "a@elsewhere.example", "S: 550 5.7.1 relaying denied\n"),
    ] {
        let script = format!("{begin}C: RCPT TO:<{first}>\nC: RCPT TO:<{second}>\nS: 250 2.1.5 recipient ok\n{answer}");
        let go = "C: DATA\nC: .\nS: 354 end data with <CRLF>.<CRLF>\nS: 250 2.6.0 0000000000007 accepted\n";
        // Text in one piece with DATA would be refused.
        let go = go.replace("C: .\nS: 354 end data with <CRLF>.<CRLF>\n", "S: 354 end data with <CRLF>.<CRLF>\nC: .\n");
        let handed = play(trust, &format!("{script}{go}"));
        assert_eq!(handed[0].recipients.len(), 1);
        assert_eq!(handed[0].report, first.ends_with("report.example"), "{first}");
    }
}

#[test]
fn a_report_above_its_own_limit_is_refused_as_soon_as_it_is_known() {
    let long = "x".repeat(99);
    play(
        NONE,
        &format!(
            "C: HELO x
             C: MAIL FROM:<> SIZE=101
             C: RCPT TO:<any@report.example>
             C: RSET
             C: MAIL FROM:<> SIZE=100
             C: RCPT TO:<any@report.example>
             C: DATA
             S: 250 relay.example.net
             S: 250 2.1.0 sender ok
             S: 552 5.3.4 report is larger than the limit of 100 octets
             S: 250 2.0.0 ok
             S: 250 2.1.0 sender ok
             S: 250 2.1.5 recipient ok
             S: 354 end data with <CRLF>.<CRLF>
             C: {long}
             C: .
             S: 552 5.3.4 message is larger than the limit"
        ),
    );
}
