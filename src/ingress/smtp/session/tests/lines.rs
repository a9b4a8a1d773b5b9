//! Lines and their ends: input that comes in pieces, out of turn, too long, or as a trick.

use proptest::prelude::*;

use super::*;

#[test]
fn talk_out_of_turn_ends_the_session() {
    play("0.0.0.0/0", "= early\nS: 554 5.5.1 protocol error: you spoke before the greeting");
    let handed = play(
        ALL,
        "C: HELO x
         C: MAIL FROM:<a@example.com>
         C: DATA
         C: MAIL FROM:<evil@example.com>
         S: 250 relay.example.net
         S: 250 2.1.0 sender ok
         S: 554 5.5.1 protocol error: DATA must be the last command of a group
         C: NOOP",
    );
    assert!(handed.is_empty());
}

#[test]
fn talk_behind_ehlo_before_it_was_answered_ends_the_session() {
    for hello in ["EHLO", "ehlo", "HELO"] {
        for behind in ["MAIL FROM:<a@example.com>\r\n", "Q"] {
            let (mut session, mut out) = (session(ALL), Vec::new());
            let mut input = BytesMut::from(&*format!("{hello} x\r\n{behind}"));
            assert!(matches!(session.advance(&mut input, &ROOM, &mut out), Effect::Drop));
            let reply = String::from_utf8_lossy(&out);
            assert_eq!(reply, "554 5.5.1 protocol error: EHLO must be the last command of a group\r\n");
        }
    }
}

#[test]
fn lines_that_do_not_end_in_crlf_are_refused_and_do_not_hang() {
    play(
        ALL,
        "C: NOOP\\n\\c
         S: 500 5.5.2 bare LF: lines must end in CRLF
         C: NO\\rOP
         S: 500 5.5.2 bare CR in a command line
         C: NOOP\\0
         S: 500 5.5.2 NUL in a command line
         C: NOOP
         S: 250 2.0.0 ok",
    );
}

#[test]
fn a_line_too_long_is_swallowed_to_its_end_in_bounded_memory() {
    for piece in [1, 100, 10_000] {
        let mut session = session(ALL);
        let mut out = Vec::new();
        let mut input = BytesMut::new();
        let line = [&vec![b'x'; 6000][..], b"\r\nNOOP\r\n"].concat();
        for part in line.chunks(piece) {
            input.extend_from_slice(part);
            session.advance(&mut input, &ROOM, &mut out);
            assert!(input.len() <= command::MAX_LINE);
        }
        assert_eq!(String::from_utf8_lossy(&out), "500 5.5.2 line too long\r\n250 2.0.0 ok\r\n", "{piece}");
    }
}

#[test]
fn a_line_of_bdat_too_long_ends_the_session_in_however_many_pieces() {
    for piece in [1, 100, 2048, 10_000] {
        let (mut session, mut out, mut input) = (session(ALL), Vec::new(), BytesMut::new());
        let line = [&b"BDAT 5 "[..], &vec![b'x'; 6000], b"\r\nNOOP\r\n"].concat();
        for part in line.chunks(piece) {
            input.extend_from_slice(part);
            session.advance(&mut input, &ROOM, &mut out);
        }
        assert_eq!(String::from_utf8_lossy(&out), "500 5.5.2 line too long\r\n", "{piece}");
    }
}

#[test]
fn what_waits_unread_behind_a_command_came_with_it() {
    for command in ["EHLO x\r\n", "DATA\r\n"] {
        let (mut session, mut out) = (session(ALL), Vec::new());
        for line in ["HELO x\r\n", "MAIL FROM:<a@b.org>\r\n", "RCPT TO:<a@b.org>\r\n"] {
            session.advance(&mut BytesMut::from(line), &ROOM, &mut out);
        }
        out.clear();
        session.more_waits(true);
        assert!(matches!(session.advance(&mut BytesMut::from(command), &ROOM, &mut out), Effect::Drop));
        assert!(out.starts_with(b"554 5.5.1 protocol error"), "{command}");
    }
}

#[test]
fn commands_that_lead_to_no_message_come_to_an_end() {
    let mut session = session(ALL);
    let mut say = |line: &str| {
        let (mut out, mut input) = (Vec::new(), BytesMut::from(line));
        if let Effect::Deliver(_) = session.advance(&mut input, &ROOM, &mut out) {
            session.answered(Ok(MessageId(1)), &mut out);
        }
        String::from_utf8(out).expect("ASCII")
    };
    assert!(say("EHLO x\r\n").starts_with("250-"));
    for _ in 0..99 {
        assert!(say("RSET\r\n").starts_with("250 "));
    }
    say("MAIL FROM:<a@b.org>\r\nRCPT TO:<a@b.org>\r\nDATA\r\n");
    assert!(say(".\r\n").starts_with("250 2.6.0"));
    for _ in 0..50 {
        assert_eq!(say("NOOP\r\nVRFY a\r\n").lines().count(), 2, "an accepted message begins the count anew");
    }
    assert_eq!(say("NOOP\r\nNOOP\r\n"), "421 4.7.0 too many commands and no message, closing\r\n");
}

#[test]
fn smuggled_messages_are_refused_as_part_of_the_first() {
    let script = "C: HELO x
         S: 250 relay.example.net
         C: MAIL FROM:<a@example.com>
         C: RCPT TO:<b@example.org>
         C: DATA
         S: 250 2.1.0 sender ok
         S: 250 2.1.5 recipient ok
         S: 354 end data with <CRLF>.<CRLF>
         C: Subject: x
         C: body@\\c
         C: MAIL FROM:<admin@example.com>
         C: RCPT TO:<victim@example.org>
         C: DATA
         C: evil
         C: .
         S: 550 5.6.0 bare @@ in the message: lines must end in CRLF (RFC 5321 2.3.8)
         C: NOOP
         S: 250 2.0.0 ok";
    for (sequence, name) in
        [("\\n.\\n", "LF"), ("\\n.\\r\\n", "LF"), ("\\r.\\r", "CR"), ("\\r\\n.\\r\\r\\n", "CR"), ("\\r\\n.\\n", "LF")]
    {
        let script = script.replace("@@", name).replace("body@", &format!("body{sequence}"));
        assert!(play(ALL, &script).is_empty(), "{sequence}");
    }
}

#[test]
fn replies_stay_one_line_whatever_a_refusal_says() {
    let mut session = session(ALL);
    let mut out = Vec::new();
    session.answered(Err(Refusal::new(550, 7, 1, "a\r\n250 ok\0é")), &mut out);
    assert_eq!(String::from_utf8_lossy(&out), "550 5.7.1 a??250 ok??\r\n");
    assert_eq!(session.take_reply_counts(), [0, 0, 0, 1]);
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("BDAT 5\r\nab\r\nc".to_owned()),
        Just("BDAT 3 LAST\r\nde\n".to_owned()),
        Just("BDAT x\r\n".to_owned()),
        Just("MAIL FROM:<a@b.org>\r\n".to_owned()),
        Just("RCPT TO:<a@b.org>\r\n".to_owned()),
        Just("RSET\r\n".to_owned()),
        Just("NOOP\n".to_owned()),
        Just("bad\rline\r\n".to_owned()),
        (2040usize..2060).prop_map(|n| format!("{}\r\n", "y".repeat(n))),
    ]
}

proptest! {
    #[test]
    fn replies_do_not_depend_on_the_pieces(lines in proptest::collection::vec(line(), 0..8), piece in 1usize..3000) {
        let text = lines.concat();
        let run = |piece: usize| {
            let (mut session, mut out, mut input) = (session(ALL), Vec::new(), BytesMut::from("EHLO x\r\n"));
            session.advance(&mut input, &ROOM, &mut out);
            for part in text.as_bytes().chunks(piece) {
                input.extend_from_slice(part);
                while let Effect::Deliver(_) = session.advance(&mut input, &ROOM, &mut out) {
                    session.answered(Ok(MessageId(1)), &mut out);
                }
            }
            out
        };
        prop_assert_eq!(run(piece), run(usize::MAX));
    }

    #[test]
    fn any_octets_are_survived(
        parts in proptest::collection::vec(
            prop_oneof![
                line().prop_map(String::into_bytes),
                Just(b"DATA\r\n".to_vec()),
                Just(b"\r\n.\r\n".to_vec()),
                proptest::collection::vec(any::<u8>(), 0..20),
            ],
            0..20,
        ),
        trusted in any::<bool>(),
    ) {
        let (mut session, mut out, mut input) = (session(if trusted { ALL } else { NONE }), Vec::new(), BytesMut::new());
        for part in parts {
            input.extend_from_slice(&part);
            while let Effect::Deliver(transaction) = session.advance(&mut input, &ROOM, &mut out) {
                prop_assert!(trusted && !transaction.recipients.is_empty());
                session.answered(Ok(MessageId(1)), &mut out);
            }
        }
        prop_assert!(out.is_empty() || out.ends_with(b"\r\n"));
    }
}
