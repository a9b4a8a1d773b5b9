//! BDAT: a message in chunks.

use proptest::prelude::*;

use super::*;
use crate::ingress::{Room, Share};

/// A session that has said MAIL and RCPT.
fn begun(trust: &str) -> Session {
    let (mut session, mut out) = (session(trust), Vec::new());
    for line in ["EHLO x\r\n", "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\n"] {
        session.advance(&mut BytesMut::from(line), &ROOM, &mut out);
    }
    assert!(String::from_utf8(out).expect("ASCII").ends_with("250 2.1.5 recipient ok\r\n"));
    session
}

/// Codes of the replies to `input`, and what was handed over.
fn said(session: &mut Session, admission: &dyn Admission, input: &[u8]) -> (Vec<String>, Vec<Transaction>) {
    let (mut input, mut out, mut handed) = (BytesMut::from(input), Vec::new(), Vec::new());
    while let Effect::Deliver(transaction) = session.advance(&mut input, admission, &mut out) {
        handed.push(*transaction);
        session.answered(Ok(MessageId(7)), &mut out);
    }
    let replies = String::from_utf8(out).expect("ASCII");
    (replies.lines().map(|line| line[..line.len().min(9)].trim_end().to_owned()).collect(), handed)
}

#[test]
fn chunks_become_one_message_and_are_answered_one_by_one() {
    let handed = play(
        ALL,
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
         C: MAIL FROM:<a@example.com>
         C: RCPT TO:<b@example.org>
         C: BDAT 14
         C: Subject: x\\r\\n
         C: BDAT 3
         C: .
         C: BDAT 0
         C: BDAT 4 LAST
         C: ..
         C: NOOP
         S: 250 2.1.0 sender ok
         S: 250 2.1.5 recipient ok
         S: 250 2.0.0 14 octets received
         S: 250 2.0.0 17 octets received
         S: 250 2.0.0 17 octets received
         S: 250 2.6.0 0000000000007 accepted
         S: 250 2.0.0 ok",
    );
    assert_eq!(&handed[0].body[..], b"Subject: x\r\n\r\n.\r\n..\r\n");
}

#[test]
fn replies_stay_in_order_whatever_a_chunk_is_worth() {
    for (input, replies, bodies) in [
        (&b"BDAT 0 LAST\r\n"[..], &["250 2.6.0"][..], &[&b""[..]][..]),
        (b"BDAT 3 LAST\r\nabcNOOP\r\n", &["250 2.6.0", "250 2.0.0"], &[b"abc\r\n"]),
        // A dot is text, and so is what looks like the end of DATA.
        (b"BDAT 7 LAST\r\na\r\n.\r\nNOOP\r\n", &["250 2.6.0", "500 5.5.2"], &[b"a\r\n.\r\nN\r\n"]),
        (b"BDAT 6 LAST\r\na\r\n.\r\nNOOP\r\n", &["250 2.6.0", "250 2.0.0"], &[b"a\r\n.\r\n"]),
        // Commands inside a chunk are text, also of one that is refused.
        (b"BDAT 2000\r\nx", &[], &[]),
        // Nobody waits for more than any message may have.
        (b"BDAT 2001\r\nNOOP\r\n", &["552 5.3.4"], &[]),
        (b"RSET\r\nBDAT 18446744073709551615\r\nNOOP\r\n", &["250 2.0.0", "552 5.3.4"], &[]),
        (b"RSET\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", &["250 2.0.0", "503 5.5.1", "250 2.0.0"], &[]),
        (b"BDAT 3\r\na\n.BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", &["550 5.6.0", "550 5.6.0", "250 2.0.0"], &[]),
        (b"BDAT 3\r\na\rbBDAT 1\r\nxBDAT 0 LAST\r\n", &["550 5.6.0", "550 5.6.0", "550 5.6.0"], &[]),
        (b"BDAT 2\r\na\rBDAT 0 LAST\r\n", &["250 2.0.0", "550 5.6.0"], &[]),
        (b"BDAT 2\r\na\rBDAT 1 LAST\r\n\n", &["250 2.0.0", "250 2.6.0"], &[b"a\r\n"]),
        (b"BDAT 2 LAST\r\na\0", &["550 5.6.0"], &[]),
        // Something else begins behind a refused chunk.
        (b"BDAT 1\r\n\0MAIL FROM:<>\r\n", &["550 5.6.0", "250 2.1.0"], &[]),
        (b"BDAT 1\r\n\0RCPT TO:<a@b.org>\r\n", &["550 5.6.0", "503 5.5.1"], &[]),
        // BDAT and DATA do not mix, nor MAIL, RCPT and AUTH with a message that has begun.
        (b"BDAT 1\r\nxRCPT TO:<a@b.org>\r\n", &["250 2.0.0", "503 5.5.1"], &[]),
        (b"BDAT 1\r\nxMAIL FROM:<>\r\n", &["250 2.0.0", "503 5.5.1"], &[]),
        (b"BDAT 1\r\nxDATA\r\n", &["250 2.0.0", "503 5.5.1"], &[]),
        (b"BDAT 1\r\nxAUTH PLAIN\r\n", &["250 2.0.0", "503 5.5.1"], &[]),
        (b"BDAT 1\r\nxRSET\r\nBDAT 0 LAST\r\n", &["250 2.0.0", "250 2.0.0", "503 5.5.1"], &[]),
        // What cannot be read ends the session, with all that follows it.
        (b"BDAT\r\nNOOP\r\n", &["501 5.5.4"], &[]),
        (b"bdat 5 SOON\r\nNOOP\r\n", &["501 5.5.4"], &[]),
        (b"BDAT 5\nNOOP\r\n", &["500 5.5.2"], &[]),
        (b"BDAT 5\r LAST\r\nNOOP\r\n", &["500 5.5.2"], &[]),
        (b"BDATA 5\r\nNOOP\r\n", &["500 5.5.2"], &[]),
    ] {
        let (answers, handed) = said(&mut begun(ALL), &ROOM, input);
        let got: Vec<&[u8]> = handed.iter().map(|mail| &mail.body[..]).collect();
        assert_eq!(
            (answers, &got[..]),
            (replies.iter().map(ToString::to_string).collect(), bodies),
            "{}",
            input.escape_ascii()
        );
    }
}

#[test]
fn a_message_above_the_limit_is_refused_at_the_chunk_that_is_and_costs_one_error() {
    let mut session = begun(ALL);
    let many = [&b"BDAT 1500\r\n"[..], &[b'x'; 1500], b"BDAT 501\r\n", &[b'x'; 501]].concat();
    assert_eq!(said(&mut session, &ROOM, &many).0, ["250 2.0.0", "552 5.3.4"]);
    // More of them than `max_errors`.
    let rest = b"BDAT 1\r\nx".repeat(10);
    assert_eq!(said(&mut session, &ROOM, &rest).0, ["552 5.3.4"; 10]);
    assert_eq!(said(&mut session, &ROOM, b"BDAT 0 LAST\r\nBDAT 0\r\n").0, ["552 5.3.4", "503 5.5.1"]);
    let whole = [&b"BDAT 2000 LAST\r\n"[..], &[b'x'; 1998], b"\r\n"].concat();
    assert_eq!(said(&mut begun(ALL), &ROOM, &whole).0, ["250 2.6.0"]);
}

#[test]
fn nothing_of_a_refused_chunk_is_kept() {
    let mut session = begun(ALL);
    said(&mut session, &ROOM, b"RSET\r\nBDAT 2000\r\n");
    let (mut input, mut out) = (BytesMut::new(), Vec::new());
    for _ in 0..10 {
        input.extend_from_slice(&[b'x'; 199]);
        assert!(matches!(session.advance(&mut input, &ROOM, &mut out), Effect::Read));
        assert!(input.is_empty() && out.is_empty());
    }
}

#[test]
fn without_a_recipient_a_chunk_is_thrown_away() {
    let mut session = session(NONE);
    said(&mut session, &ROOM, b"EHLO x\r\n");
    let input = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n";
    assert_eq!(said(&mut session, &ROOM, input).0, ["250 2.1.0", "550 5.7.1", "554 5.5.1", "250 2.0.0"]);
}

#[test]
fn a_stop_waits_for_the_end_of_a_chunk_and_of_a_message() {
    for (before, after, replies) in [
        ("BDAT 5\r\nab", "cdeNOOP\r\n", &["250 2.0.0", "421 4.3.2"][..]),
        ("BDAT 5 LAST\r\nab", "cdeNOOP\r\n", &["250 2.6.0", "421 4.3.2"]),
        ("BDAT 5 LAST\r\na\nb", "cdNOOP\r\n", &["550 5.6.0", "421 4.3.2"]),
    ] {
        let mut session = begun(ALL);
        said(&mut session, &ROOM, before.as_bytes());
        assert!(matches!(session.stop(&mut Vec::new()), Effect::Read));
        assert_eq!(said(&mut session, &ROOM, after.as_bytes()).0, replies, "{before:?}");
    }
    let mut session = begun(ALL);
    said(&mut session, &ROOM, b"BDAT 1\r\nx");
    assert!(matches!(session.stop(&mut Vec::new()), Effect::Drop), "between chunks it ends at once");
}

/// Bounds the memory of all messages.
struct Bounded(Arc<Room>);

impl Admission for Bounded {
    fn ready(&self) -> Result<(), Refusal> {
        Ok(())
    }

    fn memory(&self) -> Option<Arc<Room>> {
        Some(Arc::clone(&self.0))
    }
}

#[test]
fn mail_is_put_off_before_memory_is_exceeded() {
    let room = Arc::new(Room::undivided(1500));
    let bounded = Bounded(Arc::clone(&room));
    let mut session = session(ALL);
    let mut says = |input: &[u8]| said(&mut session, &bounded, input).0;
    says(b"EHLO x\r\n");
    let envelope = "MAIL FROM:<> SIZE=1000\r\nRCPT TO:<b@example.org>\r\n";
    assert_eq!(says(envelope.as_bytes()), ["250 2.1.0", "250 2.1.5"]);
    let mut other = Share::new(&room, [192, 0, 2, 1].into());
    assert!(other.resize(1000));
    // At DATA, at BDAT, at MAIL.
    assert_eq!(says(b"DATA\r\n"), ["452 4.3.1"]);
    let chunk = [&b"BDAT 501 LAST\r\n"[..], &[b'x'; 501]].concat();
    assert_eq!(says(&chunk), ["452 4.3.1"]);
    assert_eq!(says(b"MAIL FROM:<> SIZE=501\r\n"), ["452 4.3.1"]);
    assert_eq!(
        says(b"MAIL FROM:<> SIZE=500\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"),
        ["250 2.1.0", "250 2.1.5", "354 end d"]
    );
    assert_eq!(room.held(), 1500, "what is announced is kept free");
    assert_eq!(says(b".\r\n"), ["250 2.6.0"]);
    assert_eq!(room.held(), 1000, "and given back");
    // One that says nothing grows until there is no more.
    let grows = [&b"MAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"[..]].concat();
    assert_eq!(says(&grows), ["250 2.1.0", "250 2.1.5", "354 end d"]);
    assert!(says(&[b'x'; 400]).is_empty() && (1400..=1500).contains(&room.held()), "{}", room.held());
    assert!(says(&[b'x'; 400]).is_empty() && room.held() == 1000, "{}", room.held());
    assert_eq!(says(b"\r\n.\r\n"), ["452 4.3.1"]);
    // Between chunks it is held, and given back by RSET.
    drop(other);
    let chunk = [envelope.as_bytes(), b"BDAT 5\r\nabcde"].concat();
    assert_eq!(says(&chunk), ["250 2.1.0", "250 2.1.5", "250 2.0.0"]);
    assert_eq!(room.held(), 1000);
    assert_eq!(says(b"RSET\r\n"), ["250 2.0.0"]);
    assert_eq!(room.held(), 0);
}

#[test]
fn a_stranger_has_to_come_to_an_end_with_chunks_too() {
    let mut session = session(NONE);
    said(&mut session, &Strangers, b"EHLO x\r\n");
    let begin = b"MAIL FROM:<>\r\nRCPT TO:<any@report.example>\r\nBDAT 3\r\nab";
    said(&mut session, &Strangers, begin);
    assert!(session.is_timed() && session.takes_message());
    said(&mut session, &Strangers, b"c");
    assert!(session.is_timed());
    assert_eq!(said(&mut session, &Strangers, b"BDAT 98\r\n").0, [] as [&str; 0], "above what a report may be");
    assert!(session.is_timed() && !session.takes_message(), "also of what is thrown away");
    said(&mut session, &Strangers, &[b'x'; 98]);
    assert!(session.is_timed() && !session.takes_text(), "and between such chunks");
    said(&mut session, &Strangers, b"RSET\r\n");
    assert!(!session.is_timed());
    said(&mut session, &Strangers, b"MAIL FROM:<>\r\nRCPT TO:<any@report.example>\r\n");
    said(&mut session, &Strangers, b"DATA\r\n");
    said(&mut session, &Strangers, &[b'x'; 200]);
    assert!(session.is_timed() && session.takes_text() && !session.takes_message(), "above the limit by DATA");
}

#[test]
fn what_strangers_announce_is_not_kept_free_for_them() {
    let (all, theirs) = (Arc::new(Room::undivided(1800)), Arc::new(Room::new(1200)));
    let both = Both { all: Arc::clone(&all), theirs: Arc::clone(&theirs) };
    for begin in ["DATA\r\n", "BDAT 100\r\nx"] {
        let mut strangers: Vec<Session> = (0..40).map(|_| session(NONE)).collect();
        for stranger in &mut strangers {
            said(stranger, &both, b"EHLO x\r\n");
            said(stranger, &both, b"MAIL FROM:<> SIZE=100\r\nRCPT TO:<any@report.example>\r\n");
            said(stranger, &both, begin.as_bytes());
            assert!(stranger.is_timed(), "{begin:?}");
        }
        // 40 announced 100 octets each: more than twice what there is for all. The smallest buffer has eight.
        assert!(all.held() <= 40 * 8 && theirs.held() <= 40 * 8, "{begin:?}: {} {}", all.held(), theirs.held());
        let mut client = session(ALL);
        said(&mut client, &both, b"EHLO x\r\n");
        let mail = b"MAIL FROM:<> SIZE=1400\r\nRCPT TO:<b@example.org>\r\nDATA\r\n";
        assert_eq!(said(&mut client, &both, mail).0, ["250 2.1.0", "250 2.1.5", "354 end d"], "{begin:?}");
    }
    assert_eq!((all.held(), theirs.held()), (0, 0));
}

#[test]
fn one_client_keeps_no_more_than_its_part_free_by_announcing() {
    let room = Arc::new(Room::undivided(4000));
    let bounded = Bounded(Arc::clone(&room));
    let mail = b"EHLO x\r\nMAIL FROM:<> SIZE=500\r\nRCPT TO:<b@example.org>\r\nDATA\r\n";
    let mut sessions: Vec<Session> = (0..7).map(|_| session(ALL)).collect();
    for session in &mut sessions {
        said(session, &bounded, &mail[..8]);
        assert_eq!(said(session, &bounded, &mail[8..]).0.last().map(String::as_str), Some("354 end d"));
    }
    assert_eq!(room.held(), 1000, "a quarter");
    // All of them may still send what they have, one after the other.
    for session in &mut sessions {
        let text = [&[b'x'; 498][..], b"\r\n.\r\n"].concat();
        assert_eq!(said(session, &bounded, &text).0, ["250 2.6.0"]);
    }
    assert_eq!(room.held(), 0);
}

/// Both rooms that there are.
struct Both {
    all: Arc<Room>,
    theirs: Arc<Room>,
}

impl Admission for Both {
    fn ready(&self) -> Result<(), Refusal> {
        Ok(())
    }

    fn addressee(&self, to: &Mailbox) -> Result<Addressee, Refusal> {
        ROOM.addressee(to)
    }

    fn memory(&self) -> Option<Arc<Room>> {
        Some(Arc::clone(&self.all))
    }

    fn room(&self) -> Option<Arc<Room>> {
        Some(Arc::clone(&self.theirs))
    }
}

struct Strangers;

impl Admission for Strangers {
    fn ready(&self) -> Result<(), Refusal> {
        Ok(())
    }

    fn addressee(&self, to: &Mailbox) -> Result<Addressee, Refusal> {
        ROOM.addressee(to)
    }

    fn room(&self) -> Option<Arc<Room>> {
        Some(Arc::new(Room::new(1 << 20)))
    }
}

proptest! {
    #[test]
    fn a_message_is_the_same_by_data_and_in_any_chunks(
        lines in proptest::collection::vec("[.a-z]{0,9}", 0..20),
        sizes in proptest::collection::vec(0usize..30, 1..10),
        piece in 1usize..40,
    ) {
        let body: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let mut input = Vec::new();
        let mut rest = body.as_bytes();
        for size in sizes {
            let (chunk, later) = rest.split_at(size.min(rest.len()));
            input.extend_from_slice(format!("BDAT {}\r\n", chunk.len()).as_bytes());
            input.extend_from_slice(chunk);
            rest = later;
        }
        input.extend_from_slice(format!("BDAT {} LAST\r\n", rest.len()).as_bytes());
        input.extend_from_slice(rest);
        let mut session = begun(ALL);
        let (mut unread, mut out, mut handed) = (BytesMut::new(), Vec::new(), Vec::new());
        for part in input.chunks(piece) {
            unread.extend_from_slice(part);
            while let Effect::Deliver(transaction) = session.advance(&mut unread, &ROOM, &mut out) {
                handed.push(*transaction);
                session.answered(Ok(MessageId(7)), &mut out);
            }
        }
        prop_assert_eq!(handed.len(), 1);
        prop_assert_eq!(&handed[0].body[..], body.as_bytes());
    }
}
