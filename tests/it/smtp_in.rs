//! What the real program says to clients that use extensions, break rules, or are too many.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::support::{PATIENCE, Relay, Settings, keeping_sink, sink, wait_for_messages, wait_until};

/// A client that sends octets as they are.
struct Raw(BufReader<TcpStream>);

impl Raw {
    /// Connected; whatever the greeting says is the first reply.
    async fn connect(address: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).await.unwrap()))
    }

    /// Greeted, and answered to EHLO.
    async fn ready(address: SocketAddr) -> Self {
        let mut raw = Self::connect(address).await;
        assert!(raw.reply().await.starts_with("220 "));
        assert!(raw.says(b"EHLO client.test\r\n").await.starts_with("250 "));
        raw
    }

    async fn send(&mut self, octets: &[u8]) {
        self.0.get_mut().write_all(octets).await.unwrap();
    }

    async fn says(&mut self, octets: &[u8]) -> String {
        self.send(octets).await;
        self.reply().await
    }

    /// The last line of the next reply; empty at the end of the connection.
    async fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            let read = timeout(PATIENCE, self.0.read_line(&mut line)).await.expect("in time");
            if read.is_err() || line.as_bytes().get(3) != Some(&b'-') {
                return line.trim_end().to_owned();
            }
        }
    }

    async fn replies(&mut self, starts: &[&str]) {
        for start in starts {
            let reply = self.reply().await;
            assert!(reply.starts_with(start), "{reply} instead of {start}");
        }
    }
}

fn plain(sink: SocketAddr) -> Settings {
    Settings::new().binding("a", 11, "").pool("active = [\"a\"]").to(sink)
}

const ENVELOPE: &str = "MAIL FROM:<s@example.test>\r\nRCPT TO:<u@example.test>\r\n";

/// Octets that some program or other has taken for the end of a message.
const FALSE_ENDS: &[&[u8]] = &[
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r.\n",
    b"\n.\r",
    b"\r\n.\rX",
    b"\r\n.\r\r\n",
    b"\r\r\n.\r\r\n",
    b"\n\r.\r\n",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\0\r\n.\0\n",
];

#[tokio::test]
async fn no_false_end_of_a_message_lets_a_second_one_in() {
    let sink = sink().await;
    let relay = Relay::start(&plain(sink.addr())).await;
    let smuggled = "MAIL FROM:<evil@example.test>\r\nRCPT TO:<victim@example.test>\r\nDATA\r\nSubject: evil\r\n\r\nx";
    for end in FALSE_ENDS {
        let text = [b"Subject: x\r\n\r\nbody", *end, smuggled.as_bytes()].concat();
        let shown = end.escape_ascii();
        // By DATA: all of it is one message, and that is refused.
        let mut client = Raw::ready(relay.smtp()).await;
        client.send(format!("{ENVELOPE}DATA\r\n").as_bytes()).await;
        client.replies(&["250 2.1.0", "250 2.1.5", "354 "]).await;
        client.send(&text).await;
        let reply = client.says(b"\r\n.\r\nNOOP\r\n").await;
        assert!(reply.starts_with("550 5.6.0 "), "DATA {shown}: {reply}");
        client.replies(&["250 2.0.0"]).await;
        // In one chunk, and split inside the false end.
        let at = 18 + end.len() / 2;
        for cuts in [&[text.len()][..], &[at, text.len() - at]] {
            let mut client = Raw::ready(relay.smtp()).await;
            let (mut group, mut rest) = (ENVELOPE.as_bytes().to_vec(), &text[..]);
            for (n, cut) in cuts.iter().enumerate() {
                let last = if n + 1 == cuts.len() { " LAST" } else { "" };
                group.extend_from_slice(format!("BDAT {cut}{last}\r\n").as_bytes());
                let (chunk, later) = rest.split_at(*cut);
                group.extend_from_slice(chunk);
                rest = later;
            }
            group.extend_from_slice(b"NOOP\r\n");
            client.send(&group).await;
            client.replies(&["250 2.1.0", "250 2.1.5"]).await;
            let replies = cuts.len();
            for n in 1..=replies {
                let reply = client.reply().await;
                let is_right = reply.starts_with("550 5.6.0 ") || n < replies && reply.starts_with("250 2.0.0 ");
                assert!(is_right, "BDAT {n} of {replies} {shown}: {reply}");
            }
            client.replies(&["250 2.0.0 ok"]).await;
        }
    }
    let mut client = Raw::ready(relay.smtp()).await;
    client.send(format!("{ENVELOPE}BDAT 3 LAST\r\nok\n").as_bytes()).await;
    client.replies(&["250 2.1.0", "250 2.1.5", "550 5.6.0"]).await;
    client.send(format!("{ENVELOPE}BDAT 4 LAST\r\nok\r\n").as_bytes()).await;
    client.replies(&["250 2.1.0", "250 2.1.5", "250 2.6.0"]).await;
    wait_for_messages(&sink, 1).await;
    relay.wait_until_empty().await;
    assert_eq!(sink.messages(), 1, "the one that is right");
}

#[tokio::test]
async fn talk_before_its_turn_ends_the_session() {
    let sink = sink().await;
    let relay = Relay::start(&plain(sink.addr())).await;
    let mut client = Raw::connect(relay.smtp()).await;
    client.replies(&["220 "]).await;
    client.send(b"EHLO client.test\r\nMAIL FROM:<s@example.test>\r\n").await;
    client.replies(&["554 5.5.1", ""]).await;
    let mut client = Raw::ready(relay.smtp()).await;
    client.send(format!("{ENVELOPE}DATA\r\nSubject: x\r\n\r\n.\r\n").as_bytes()).await;
    client.replies(&["250", "250", "554 5.5.1", ""]).await;
    let mut client = Raw::ready(relay.smtp()).await;
    client.send(format!("{ENVELOPE}BDAT x\r\nQUIT\r\n").as_bytes()).await;
    client.replies(&["250", "250", "501 5.5.4", ""]).await;
    // Behind the last chunk the next transaction may begin at once.
    let mut client = Raw::ready(relay.smtp()).await;
    let group = format!("{ENVELOPE}BDAT 2 LAST\r\n\r\n{ENVELOPE}BDAT 2 LAST\r\n\r\nQUIT\r\n");
    client.send(group.as_bytes()).await;
    client.replies(&["250", "250", "250 2.6.0", "250", "250", "250 2.6.0", "221", ""]).await;
    wait_for_messages(&sink, 2).await;
    assert_eq!(sink.messages(), 2);
}

#[tokio::test]
async fn a_message_in_chunks_arrives_octet_by_octet() {
    let sink = keeping_sink().await;
    let relay = Relay::start(&plain(sink.addr())).await;
    let mut body = b"Subject: x\r\n\r\n.\r\n..two\r\n".to_vec();
    for line in 0..4000_u32 {
        body.extend_from_slice(format!("{line} {}\r\n", "\u{fc}".repeat((line % 70) as usize)).as_bytes());
    }
    body.extend_from_slice(b"no end");
    let mut client = Raw::ready(relay.smtp()).await;
    client.send(ENVELOPE.as_bytes()).await;
    client.replies(&["250", "250"]).await;
    for chunk in body.chunks(9973) {
        client.send(format!("BDAT {}\r\n", chunk.len()).as_bytes()).await;
        client.send(chunk).await;
        client.replies(&["250 2.0.0"]).await;
    }
    assert!(client.says(b"BDAT 0 LAST\r\n").await.starts_with("250 2.6.0 "));
    wait_for_messages(&sink, 1).await;
    let log = sink.log();
    let got = log[0].body.as_ref().unwrap();
    // As it is on the wire: with stuffed dots, and its last line ended.
    let lines = body.split(|octet| *octet == b'\n').map(|line| {
        let dot: &[u8] = if line.starts_with(b".") { b"." } else { b"" };
        [dot, line].concat()
    });
    let stuffed = [lines.collect::<Vec<_>>().join(&b'\n'), b"\r\n".to_vec()].concat();
    assert!(got.ends_with(&stuffed), "{} octets of {}", got.len(), stuffed.len());
    assert!(got.starts_with(b"Received: "));
}

#[tokio::test]
async fn what_a_client_may_ask_for_is_offered_and_read() {
    let sink = sink().await;
    let relay = Relay::start(&plain(sink.addr())).await;
    let mut client = Raw::ready(relay.smtp()).await;
    for (line, reply) in [
        ("MAIL FROM:<s@bücher.test>", "553 5.6.7 "),
        ("MAIL FROM:<s@bücher.test> SMTPUTF8 RET=HDRS ENVID=QQ+20314159", "250 2.1.0 "),
        ("RCPT TO:<grüße@bücher.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;bob@example.test", "250 2.1.5 "),
        ("RCPT TO:<b@example.test> NOTIFY=NEVER,DELAY", "501 5.5.4 NOTIFY is NEVER, or "),
        ("RCPT TO:<b@example.test> ORCPT=x ORCPT=x", "501 5.5.4 ORCPT= needs "),
        ("RCPT TO:<b@example.test> NOTIFY=NEVER NOTIFY=NEVER", "501 5.5.4 NOTIFY is given twice"),
        ("RSET", "250 "),
        ("MAIL FROM:<s@example.test> REQUIRETLS", "530 5.7.10 "),
        ("MAIL FROM:<s@example.test> BODY=BINARYMIME", "501 5.5.4 "),
        ("MAIL FROM:<s@example.test> SIZE=52428801", "552 5.3.4 "),
        ("MAIL FROM:<s@example.test> AUTH=<>", "555 5.5.4 "),
        ("VRFY s SMTPUTF8", "252 2.5.0 "),
    ] {
        let said = client.says(format!("{line}\r\n").as_bytes()).await;
        assert!(said.starts_with(reply), "{line}: {said}");
    }
}

#[tokio::test]
async fn connections_above_the_bound_of_all_listeners_are_put_off() {
    let sink = sink().await;
    let settings = plain(sink.addr()).set("server", "max_sessions", "3").block(
        "[[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\nmax_connections_per_client = 1\n".into(),
    );
    let relay = Relay::start(&settings).await;
    let second = relay.listener(1);
    let from = async |last: u8| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
        let mut raw = Raw(BufReader::new(socket.connect(second).await.unwrap()));
        (raw.reply().await, raw)
    };
    let (greeting, one) = from(21).await;
    assert!(greeting.starts_with("220 "), "{greeting}");
    let (refused, _) = from(21).await;
    assert!(refused.starts_with("421 4.7.0 "), "one client has one place here: {refused}");
    let two = Raw::ready(relay.smtp()).await;
    let three = Raw::ready(relay.smtp()).await;
    let (refused, _) = from(22).await;
    assert!(refused.starts_with("421 4.7.0 "), "both listeners together have three: {refused}");
    assert!(Raw::connect(relay.smtp()).await.reply().await.starts_with("421 4.7.0 "));
    drop((one, two, three));
    wait_until("a place is free", async || from(22).await.0.starts_with("220 ").then_some(())).await;
}

#[tokio::test]
async fn mail_is_put_off_before_the_memory_for_it_is_exceeded() {
    let sink = sink().await;
    let relay = Relay::start(&plain(sink.addr()).set("server", "memory", "\"50MiB\"")).await;
    let mut large = Raw::ready(relay.smtp()).await;
    large.send(b"MAIL FROM:<s@example.test> SIZE=40000000\r\nRCPT TO:<u@example.test>\r\nDATA\r\n").await;
    large.replies(&["250", "250", "354"]).await;
    let mut other = Raw::ready(relay.smtp()).await;
    let refused = other.says(b"MAIL FROM:<s@example.test> SIZE=20000000\r\n").await;
    assert!(refused.starts_with("452 4.3.1 "), "{refused}");
    other.send(b"MAIL FROM:<s@example.test> SIZE=2000\r\nRCPT TO:<u@example.test>\r\nBDAT 2 LAST\r\n\r\n").await;
    other.replies(&["250", "250", "250 2.6.0"]).await;
    large.send(b"Subject: x\r\n\r\ny\r\n.\r\n").await;
    large.replies(&["250 2.6.0"]).await;
    assert!(other.says(b"MAIL FROM:<s@example.test> SIZE=20000000\r\n").await.starts_with("250 "));
    // Whoever goes away in the middle gives back what was kept for them.
    large.send(b"MAIL FROM:<s@example.test> SIZE=40000000\r\nRCPT TO:<u@example.test>\r\nDATA\r\nSubj").await;
    drop(large);
    wait_until("memory is free again", async || {
        other.says(b"RSET\r\n").await;
        let reply = other.says(b"MAIL FROM:<s@example.test> SIZE=50000000\r\n").await;
        reply.starts_with("250 ").then_some(())
    })
    .await;
    wait_for_messages(&sink, 2).await;
}

#[tokio::test]
async fn only_a_listener_for_submission_adds_what_is_missing() {
    let sink = keeping_sink().await;
    let listener = "[[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\nsubmission = true\n";
    let relay = Relay::start(&plain(sink.addr()).block(listener.into())).await;
    for (n, (address, is_added)) in [(relay.smtp(), false), (relay.listener(1), true)].into_iter().enumerate() {
        let mut client = Raw::ready(address).await;
        client.send(format!("{ENVELOPE}BDAT 17 LAST\r\nSubject: x\r\n\r\ny\r\n").as_bytes()).await;
        client.replies(&["250", "250", "250 2.6.0"]).await;
        wait_for_messages(&sink, n as u64 + 1).await;
        let log = sink.log();
        let body = String::from_utf8_lossy(log[n].body.as_ref().unwrap()).into_owned();
        assert_eq!(body.contains("\r\nDate: "), is_added, "{body}");
        assert_eq!(body.contains("\r\nMessage-ID: <") && body.contains("@relay.test>\r\n"), is_added, "{body}");
        assert!(body.ends_with("Subject: x\r\n\r\ny\r\n"), "{body}");
    }
}

#[tokio::test]
async fn a_session_has_no_more_transactions_than_it_was_told() {
    let sink = sink().await;
    let listener = "[[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\nmails_per_session = 2\n";
    let relay = Relay::start(&plain(sink.addr()).block(listener.into())).await;
    let mut client = Raw::ready(relay.listener(1)).await;
    let group = format!("{ENVELOPE}BDAT 2 LAST\r\n\r\n").repeat(3);
    client.send(group.as_bytes()).await;
    client.replies(&["250", "250", "250 2.6.0", "250", "250", "250 2.6.0", "421 4.7.0", ""]).await;
    wait_for_messages(&sink, 2).await;
}
