//! Hosts that are silent, drip, hang up and talk too much, over pipes and under a paused clock.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;

use super::*;
use crate::message::{ForwardPath, Mailbox, Wishes};

/// Each stage with a time-out of its own, so that a test sees which one was used.
fn timeouts() -> Timeouts {
    let seconds = Duration::from_secs;
    Timeouts {
        connect: seconds(1),
        banner: seconds(2),
        command: seconds(3),
        mail: seconds(4),
        rcpt: seconds(5),
        data: seconds(6),
        block: seconds(7),
        end_of_data: seconds(8),
        quit: seconds(9),
    }
}

fn recipients(count: usize) -> Vec<ForwardPath> {
    (0..count).map(|at| format!("r{at}@example.org").parse::<Mailbox>().expect("address").into()).collect()
}

fn mail<'a>(recipients: &'a [ForwardPath], body: &'a [u8]) -> Mail<'a> {
    Mail { reverse_path: None, recipients, head: b"", body, envelope_id: None, eight_bit: false, wishes: &Wishes::NONE }
}

/// The other side: waits for the octets of each step (all of them, in order), then says its part.
async fn host(mut stream: DuplexStream, steps: Vec<(&'static str, &'static str)>) -> DuplexStream {
    for (expected, say) in steps {
        let mut got = vec![0; expected.len()];
        stream.read_exact(&mut got).await.expect("the client goes on");
        assert_eq!(String::from_utf8_lossy(&got), expected);
        stream.write_all(say.as_bytes()).await.expect("the client listens");
    }
    stream
}

const GREETING: [(&str, &str); 2] = [("", "220 hi\r\n"), ("EHLO me.example\r\n", "250-hi\r\n250 PIPELINING\r\n")];
const GROUP: &str = "MAIL FROM:<>\r\nRCPT TO:<r0@example.org>\r\nDATA\r\n";

/// Greets and sends one message to a host that follows `steps` and then is silent, or hangs up.
async fn send(steps: &[(&'static str, &'static str)], hangs_up: bool) -> (Result<Transacted, Answer>, Duration) {
    let (near, far) = duplex(1024);
    let steps = steps.to_vec();
    let host = tokio::spawn(async move {
        let stream = host(far, steps).await;
        if !hangs_up {
            std::future::pending::<()>().await;
        }
        drop(stream);
    });
    let started = Instant::now();
    let rcpts = recipients(1);
    let mail = mail(&rcpts, b"x\r\n");
    let result = match Connection::greet(near, "me.example", &timeouts()).await {
        Ok(mut connection) => Ok(connection.transact(mail, &timeouts()).await),
        Err((answer, _)) => Err(answer),
    };
    host.abort();
    (result, started.elapsed())
}

fn failure(result: Result<Transacted, Answer>) -> (FailureKind, Stage, bool) {
    let (answer, stale) = match result {
        Ok(mut transacted) => (transacted.answers.remove(0), transacted.stale),
        Err(answer) => (answer, false),
    };
    match answer {
        Answer::Failure(failure) => (failure.kind, failure.stage, stale),
        Answer::Reply(..) => panic!("{answer:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_host_is_given_the_time_of_its_stage() {
    let plain = "250 hi\r\n";
    let ehlo = [GREETING[0], ("EHLO me.example\r\n", plain)];
    let mail = ("MAIL FROM:<>\r\n", "250\r\n");
    let rcpt = ("RCPT TO:<r0@example.org>\r\n", "250\r\n");
    for (steps, stage, seconds) in [
        (vec![], Stage::Banner, 2),
        (vec![GREETING[0]], Stage::Ehlo, 3),
        (ehlo.to_vec(), Stage::Mail, 4),
        ([&ehlo[..], &[mail]].concat(), Stage::Rcpt, 5),
        ([&ehlo[..], &[mail, rcpt]].concat(), Stage::Data, 6),
        ([&ehlo[..], &[mail, rcpt, ("DATA\r\n", "354\r\n")]].concat(), Stage::EndOfData, 8),
        // Half a reply is none.
        (vec![("", "220-hi\r\n220-there\r\n220")], Stage::Banner, 2),
    ] {
        let (result, took) = send(&steps, false).await;
        assert_eq!(failure(result), (FailureKind::TimedOut, stage, false));
        assert_eq!(took.as_secs(), seconds, "{stage:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_drips_gains_no_time() {
    let (near, mut far) = duplex(64);
    tokio::spawn(async move {
        while far.write_all(b"220-x\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(900)).await;
        }
    });
    let started = Instant::now();
    let (answer, _) = Connection::greet(near, "me.example", &timeouts()).await.expect_err("never ends");
    assert!(matches!(answer, Answer::Failure(Failure { kind: FailureKind::TimedOut, .. })), "{answer:?}");
    assert_eq!(started.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_tells_where_it_was_lost() {
    let whole = [GREETING[0], GREETING[1], (GROUP, "250\r\n250\r\n354\r\n"), ("x\r\n.\r\n", "")];
    for (steps, stage, stale) in [
        (&whole[..0], Stage::Banner, false),
        (&whole[..1], Stage::Ehlo, false),
        (&whole[..2], Stage::Mail, true),
        (&whole[..4], Stage::EndOfData, false),
    ] {
        let (result, _) = send(steps, true).await;
        assert_eq!(failure(result), (FailureKind::Reset, stage, stale));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_smtp_ends_the_attempt() {
    for garbage in ["HTTP/1.1 400 Bad Request\r\n", "\0\u{1}\u{2}\n", "220-a\r\nb\r\n", "999 x\r\n"] {
        let (result, _) = send(&[("", garbage)], false).await;
        assert_eq!(failure(result), (FailureKind::Protocol, Stage::Banner, false), "{garbage:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_endless_reply_is_cut_off_and_a_long_one_is_read() {
    for (first, lines, protocol) in [("220-", 100_000, true), ("220", 100_000, true), ("220-", 200, false)] {
        let (near, mut far) = duplex(4096);
        tokio::spawn(async move {
            for _ in 0..lines {
                let line = format!("{first}{}{}", "x".repeat(60), if first == "220-" { "\r\n" } else { "" });
                if far.write_all(line.as_bytes()).await.is_err() {
                    return;
                }
            }
            let _ = far.write_all(b"220 end\r\n").await;
            std::future::pending::<()>().await;
        });
        let (answer, _) = Connection::greet(near, "me.example", &timeouts()).await.expect_err("no EHLO reply");
        match answer {
            Answer::Failure(failure) if protocol => assert_eq!(failure.kind, FailureKind::Protocol),
            Answer::Failure(failure) => assert_eq!(failure.stage, Stage::Ehlo, "the banner was taken"),
            Answer::Reply(..) => panic!("{answer:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn multi_line_banners_are_read_and_the_message_arrives() {
    let steps = [
        ("", "220-hi\r\n220-there\r\n220 now\r\n"),
        GREETING[1],
        (GROUP, "250\r\n250\r\n354\r\n"),
        ("x\r\n.\r\n", "250-2.0.0 Ok:\r\n250 2.0.0 queued as 1\r\n"),
    ];
    let (result, _) = send(&steps, false).await;
    match &result.expect("greeted").answers[0] {
        Answer::Reply(Stage::EndOfData, reply) => assert!(reply.is_positive() && reply.text.contains("queued")),
        other => panic!("{other:?}"),
    }
}

/// A host that takes nothing more of the body.
async fn stuck_in_body(says: &'static str) -> Transacted {
    let (near, far) = duplex(256);
    tokio::spawn(async move {
        let mut stream = host(far, GREETING.to_vec()).await;
        stream = host(stream, vec![(GROUP, "250\r\n250\r\n354\r\n")]).await;
        let mut some = [0; 500];
        stream.read_exact(&mut some).await.expect("body");
        stream.write_all(says.as_bytes()).await.expect("written");
        if says.is_empty() {
            std::future::pending::<()>().await;
        }
    });
    let mut connection = Connection::greet(near, "me.example", &timeouts()).await.expect("greeted");
    let rcpts = recipients(1);
    let body = "line\r\n.dot\r\n".repeat(1000);
    let mail = mail(&rcpts, body.as_bytes());
    let transacted = connection.transact(mail, &timeouts()).await;
    assert!(!connection.is_usable());
    transacted
}

#[tokio::test(start_paused = true)]
async fn a_body_that_gets_stuck_was_not_delivered() {
    let started = Instant::now();
    let transacted = stuck_in_body("").await;
    assert_eq!(failure(Ok(transacted)), (FailureKind::TimedOut, Stage::Data, false));
    assert_eq!(started.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_hangs_up_in_the_body_is_heard() {
    let transacted = stuck_in_body("552 5.3.4 too big\r\n").await;
    assert!(matches!(&transacted.answers[0], Answer::Reply(Stage::EndOfData, reply) if reply.code == 552));
    let transacted = stuck_in_body("250 fine\r\n").await;
    assert_eq!(failure(Ok(transacted)), (FailureKind::Protocol, Stage::Data, false), "success before the dot");
}

#[tokio::test(start_paused = true)]
async fn a_large_body_with_dots_arrives_stuffed() {
    let body = "line\r\n.dot\r\n..two\r\n".repeat(500);
    let wire = format!("{}.\r\n", "line\r\n..dot\r\n...two\r\n".repeat(500));
    let (near, far) = duplex(700);
    let task = tokio::spawn(async move {
        let mut stream = host(far, GREETING.to_vec()).await;
        stream = host(stream, vec![(GROUP, "250\r\n250\r\n354\r\n")]).await;
        let mut got = vec![0; wire.len()];
        stream.read_exact(&mut got).await.expect("body");
        assert!(got == wire.as_bytes());
        stream.write_all(b"250 ok\r\n").await.expect("written");
        stream
    });
    let mut connection = Connection::greet(near, "me.example", &timeouts()).await.expect("greeted");
    let rcpts = recipients(1);
    let mail = mail(&rcpts, body.as_bytes());
    let transacted = connection.transact(mail, &timeouts()).await;
    assert!(matches!(&transacted.answers[0], Answer::Reply(_, reply) if reply.is_positive()));
    assert!(connection.is_usable());
    task.await.expect("host");
}

#[tokio::test(start_paused = true)]
async fn the_head_goes_first_and_a_dot_behind_it_is_stuffed() {
    for (head, body, wire) in [
        ("X-Id: a\r\n", ".dot\r\n", "X-Id: a\r\n..dot\r\n.\r\n"),
        (".X: a\r\n", "x", "..X: a\r\nx\r\n.\r\n"),
        ("X-Id: a\r\n", "", "X-Id: a\r\n.\r\n"),
    ] {
        let (near, far) = duplex(1024);
        let task = tokio::spawn(async move {
            let stream = host(far, GREETING.to_vec()).await;
            host(stream, vec![(GROUP, "250\r\n250\r\n354\r\n"), (wire, "250 ok\r\n")]).await
        });
        let mut connection = Connection::greet(near, "me.example", &timeouts()).await.expect("greeted");
        let rcpts = recipients(1);
        let mail = Mail { head: head.as_bytes(), ..mail(&rcpts, body.as_bytes()) };
        let transacted = connection.transact(mail, &timeouts()).await;
        assert!(matches!(&transacted.answers[0], Answer::Reply(_, reply) if reply.is_positive()), "{wire:?}");
        task.await.expect("host");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_remembers_that_its_host_only_pretends_to_know_dsn() {
    const DSN: &str = "MAIL FROM:<> RET=HDRS ENVID=mark\r\nRCPT TO:<r0@example.org>\r\nDATA\r\n";
    const REFUSED: &str = "501 5.5.4 ENVID?\r\n503\r\n503\r\n";
    let ehlo = ("EHLO me.example\r\n", "250-hi\r\n250-DSN\r\n250 PIPELINING\r\n");
    let (near, far) = duplex(1024);
    let task = tokio::spawn(async move {
        let steps = [
            GREETING[0],
            ehlo,
            // Refused either way: no proof.
            (DSN, REFUSED),
            ("RSET\r\n", "250\r\n"),
            (GROUP, "501 5.1.7 bad address\r\n503\r\n503\r\n"),
            (DSN, REFUSED),
            ("RSET\r\n", "250\r\n"),
            (GROUP, "250\r\n250\r\n354\r\n"),
            ("x\r\n.\r\n", "250 ok\r\n"),
            (GROUP, "250\r\n250\r\n354\r\n"),
            ("x\r\n.\r\n", "250 ok\r\n"),
        ];
        host(far, steps.to_vec()).await
    });
    let mut connection = Connection::greet(near, "me.example", &timeouts()).await.expect("greeted");
    let rcpts = recipients(1);
    for code in [501, 250, 250] {
        let mail = Mail { envelope_id: Some("mark"), ..mail(&rcpts, b"x\r\n") };
        let transacted = connection.transact(mail, &timeouts()).await;
        assert!(matches!(&transacted.answers[0], Answer::Reply(_, reply) if reply.code == code), "{transacted:?}");
    }
    task.await.expect("host");
}

#[tokio::test(start_paused = true)]
async fn a_reply_too_many_spoils_the_connection() {
    let (near, far) = duplex(1024);
    tokio::spawn(async move {
        let stream = host(far, GREETING.to_vec()).await;
        let _open =
            host(stream, vec![(GROUP, "250\r\n250\r\n354\r\n"), ("x\r\n.\r\n", "250 ok\r\n250 what?\r\n")]).await;
        std::future::pending::<()>().await;
    });
    let mut connection = Connection::greet(near, "me.example", &timeouts()).await.expect("greeted");
    let rcpts = recipients(1);
    let mail = mail(&rcpts, b"x\r\n");
    let transacted = connection.transact(mail, &timeouts()).await;
    assert!(matches!(&transacted.answers[0], Answer::Reply(_, reply) if reply.is_positive()));
    assert!(!connection.is_usable());
}
