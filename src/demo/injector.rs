//! A client that sends many messages fast and knows afterwards what became of each.
//!
//! Every session takes the next number, sends its message and waits for the answer; where PIPELINING is offered the
//! next envelope travels with the end of the message before it (RFC 2920 §3.1 allows that), which makes one round trip
//! per message. A message is *accepted* only when its own `250` was read. When the relay dies, a session ends with what
//! it has: the message on the wire is *unknown* — the relay may or may not have it — and the rest *unsent*. That is
//! what a test of "nothing answered `250` is lost" needs to know.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::clock::{Clock, SystemClock};

type Text = Arc<dyn Fn(u64) -> String + Send + Sync>;
type Texts = Arc<dyn Fn(u64) -> Vec<String> + Send + Sync>;

/// What to send; [`Load::run`] sends it.
#[derive(Clone)]
pub struct Load {
    to: SocketAddr,
    from: Option<IpAddr>,
    sessions: usize,
    messages: u64,
    first: u64,
    size: usize,
    ehlo: String,
    id_header: String,
    reverse_path: Text,
    recipients: Texts,
    headers: Option<Text>,
    patience: Duration,
    accepted: Arc<AtomicU64>,
}

/// What became of a load. Every number is in exactly one of the four lists.
#[derive(Clone, Debug, Default)]
pub struct Injected {
    /// Answered `250` after the final dot.
    pub accepted: Vec<u64>,
    /// Refused, with the reply that decided.
    pub refused: Vec<(u64, String)>,
    /// Sent, wholly or in part, without an answer.
    pub unknown: Vec<u64>,
    /// Never sent.
    pub unsent: Vec<u64>,
    /// From the first octet of a message's envelope or body to its `250`, per accepted message.
    pub latencies: Vec<Duration>,
    /// From the start to the end of the last session.
    pub elapsed: Duration,
    /// Why sessions ended early.
    pub errors: Vec<String>,
}

impl Injected {
    /// Accepted messages per second.
    pub fn rate(&self) -> f64 {
        self.accepted.len() as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// The latency that `share` (0–1) of the accepted messages did not exceed; zero without any.
    pub fn latency(&self, share: f64) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let at = (share.clamp(0.0, 1.0) * sorted.len().saturating_sub(1) as f64).round() as usize;
        sorted.get(at).copied().unwrap_or_default()
    }

    fn join(&mut self, other: Injected) {
        self.accepted.extend(other.accepted);
        self.refused.extend(other.refused);
        self.unknown.extend(other.unknown);
        self.unsent.extend(other.unsent);
        self.latencies.extend(other.latencies);
        self.errors.extend(other.errors);
    }
}

impl Load {
    /// `messages` messages with the numbers 0, 1, … to `to`: ten sessions, 2 KiB each, from `sender@example.test` to
    /// `userN@sink.test`.
    pub fn new(to: SocketAddr, messages: u64) -> Self {
        Self {
            to,
            from: None,
            sessions: 10,
            messages,
            first: 0,
            size: 2048,
            ehlo: "injector.test".into(),
            id_header: "X-Test-Id".into(),
            reverse_path: Arc::new(|_| "sender@example.test".into()),
            recipients: Arc::new(|n| vec![format!("user{n}@sink.test")]),
            headers: None,
            patience: Duration::from_secs(60),
            accepted: Arc::default(),
        }
    }

    /// Sessions at the same time; at least one.
    pub fn sessions(mut self, sessions: usize) -> Self {
        self.sessions = sessions.max(1);
        self
    }

    /// Number of the first message.
    pub fn first(mut self, first: u64) -> Self {
        self.first = first;
        self
    }

    /// Octets of one message (one less where the last line would have one), at least as many as its header takes.
    pub fn size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// Address to connect from.
    pub fn from(mut self, source: IpAddr) -> Self {
        self.from = Some(source);
        self
    }

    /// Reverse path by number, without angle brackets.
    pub fn reverse_path(mut self, path: impl Fn(u64) -> String + Send + Sync + 'static) -> Self {
        self.reverse_path = Arc::new(path);
        self
    }

    /// Recipients by number, without angle brackets; at least one.
    pub fn recipients(mut self, recipients: impl Fn(u64) -> Vec<String> + Send + Sync + 'static) -> Self {
        self.recipients = Arc::new(recipients);
        self
    }

    /// Further header lines by number, each with its CRLF.
    pub fn headers(mut self, headers: impl Fn(u64) -> String + Send + Sync + 'static) -> Self {
        self.headers = Some(Arc::new(headers));
        self
    }

    /// Longest wait for one answer. Default 60 s.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Counts accepted messages while it runs.
    pub fn progress(&self) -> Arc<AtomicU64> {
        self.accepted.clone()
    }

    /// Sends everything; never fails as a whole.
    pub async fn run(self) -> Injected {
        let clock = Arc::new(SystemClock::default());
        let started = clock.now().mono;
        let end = self.first + self.messages;
        let next = Arc::new(AtomicU64::new(self.first));
        let sessions = self.sessions.min(usize::try_from(self.messages.max(1)).unwrap_or(usize::MAX));
        let load = Arc::new(self);
        let mut tasks = JoinSet::new();
        for _ in 0..sessions {
            let (load, next, clock) = (load.clone(), next.clone(), clock.clone());
            tasks.spawn(async move { load.session(&next, end, &clock).await });
        }
        let mut all = Injected::default();
        while let Some(done) = tasks.join_next().await {
            match done {
                Ok(part) => all.join(part),
                Err(error) => all.errors.push(error.to_string()),
            }
        }
        all.unsent.extend(next.load(Ordering::SeqCst).min(end)..end);
        all.elapsed = clock.now().mono.since(started);
        all
    }

    async fn session(&self, next: &AtomicU64, end: u64, clock: &SystemClock) -> Injected {
        let mut done = Injected::default();
        let mut current = None;
        if let Err(error) = self.converse(next, end, clock, &mut done, &mut current).await {
            done.errors.push(error.to_string());
            match current {
                Some(Flight { number, in_body: true, .. }) => done.unknown.push(number),
                Some(Flight { number, in_body: false, .. }) => done.unsent.push(number),
                None => {}
            }
        }
        done
    }

    async fn converse(
        &self,
        next: &AtomicU64,
        end: u64,
        clock: &SystemClock,
        done: &mut Injected,
        current: &mut Option<Flight>,
    ) -> io::Result<()> {
        let mut line = self.connect().await?;
        let take = |clock: &SystemClock| {
            let number = next.fetch_add(1, Ordering::SeqCst);
            (number < end).then(|| Flight { number, in_body: false, started: clock.now().mono })
        };
        *current = take(clock);
        let mut announced = false;
        while let Some(flight) = current {
            let number = flight.number;
            let recipients = (self.recipients)(number);
            if !announced {
                self.announce(&mut line, number, &recipients);
            }
            let refusal = line.envelope(recipients.len()).await?;
            if let Some(refusal) = refusal {
                done.refused.push((number, refusal));
                line.send("RSET\r\n");
                line.reply().await?;
                announced = false;
                *current = take(clock);
                continue;
            }
            flight.in_body = true;
            self.body(&mut line.output, number);
            let following = take(clock);
            announced = line.pipelining && following.is_some();
            if let Some(following) = following.as_ref().filter(|_| announced) {
                self.announce(&mut line, following.number, &(self.recipients)(following.number));
            }
            let answered = line.reply().await;
            let reply = match answered {
                Ok(reply) => reply,
                Err(error) => {
                    // Its envelope may be out, its body is not.
                    done.unsent.extend(following.map(|f| f.number));
                    return Err(error);
                }
            };
            if reply.starts_with('2') {
                done.latencies.push(clock.now().mono.since(flight.started));
                done.accepted.push(number);
                self.accepted.fetch_add(1, Ordering::SeqCst);
            } else {
                done.refused.push((number, reply));
            }
            *current = following;
        }
        line.send("QUIT\r\n");
        // Everything is answered; how the receiver says goodbye does not matter.
        let _ = line.reply().await;
        Ok(())
    }

    async fn connect(&self) -> io::Result<Line> {
        let socket = if self.to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(source) = self.from {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        let stream = socket.connect(self.to).await?;
        stream.set_nodelay(true)?;
        let mut line = Line {
            stream,
            input: BytesMut::with_capacity(4096),
            output: Vec::with_capacity(self.size + 1024),
            pipelining: false,
            patience: self.patience,
        };
        positive(line.reply().await?)?;
        line.send(&format!("EHLO {}\r\n", self.ehlo));
        let offers = positive(line.reply().await?)?;
        line.pipelining =
            offers.lines().any(|offer| offer.get(4..).is_some_and(|o| o.eq_ignore_ascii_case("PIPELINING")));
        Ok(line)
    }

    fn announce(&self, line: &mut Line, number: u64, recipients: &[String]) {
        line.send(&format!("MAIL FROM:<{}>\r\n", (self.reverse_path)(number)));
        for recipient in recipients {
            line.send(&format!("RCPT TO:<{recipient}>\r\n"));
        }
        line.send("DATA\r\n");
    }

    fn body(&self, output: &mut Vec<u8>, number: u64) {
        let start = output.len();
        let extra = self.headers.as_ref().map(|headers| headers(number)).unwrap_or_default();
        output.extend_from_slice(
            format!(
                "{}: {number}\r\n{extra}From: <{}>\r\nSubject: message {number}\r\nMessage-ID: <{number}@injector.test>\r\n\r\n",
                self.id_header,
                (self.reverse_path)(number)
            )
            .as_bytes(),
        );
        const FILL: &[u8] = b"The quick brown fox jumps over the lazy dog, and does so again and once more.\r\n";
        let mut left = self.size.saturating_sub(output.len() - start);
        while left >= FILL.len() {
            output.extend_from_slice(FILL);
            left -= FILL.len();
        }
        if left >= 2 {
            output.extend_from_slice(&FILL[..left - 2]);
            output.extend_from_slice(b"\r\n");
        }
        output.extend_from_slice(b".\r\n");
    }
}

/// The message a session is busy with.
#[derive(Debug)]
struct Flight {
    number: u64,
    in_body: bool,
    started: crate::clock::Mono,
}

/// One connection.
struct Line {
    stream: TcpStream,
    input: BytesMut,
    output: Vec<u8>,
    pipelining: bool,
    patience: Duration,
}

impl Line {
    fn send(&mut self, text: &str) {
        self.output.extend_from_slice(text.as_bytes());
    }

    /// Reads the replies to MAIL, RCPT … and DATA, which wait in `output` or are already sent. `Some` is the refusal
    /// that keeps the body from being sent.
    async fn envelope(&mut self, recipients: usize) -> io::Result<Option<String>> {
        if !self.pipelining {
            return self.envelope_in_steps().await;
        }
        let mut refusal = None;
        for _ in 0..=recipients {
            let reply = self.reply().await?;
            if !reply.starts_with('2') {
                refusal.get_or_insert(reply);
            }
        }
        let data = self.reply().await?;
        if !data.starts_with('3') {
            return Ok(Some(refusal.unwrap_or(data)));
        }
        if refusal.is_some() {
            // Some recipients were taken: an empty message would reach them. Better to hang up than to send it.
            return Err(io::Error::other(format!("some recipients refused: {}", refusal.unwrap_or_default())));
        }
        Ok(None)
    }

    async fn envelope_in_steps(&mut self) -> io::Result<Option<String>> {
        let commands = std::mem::take(&mut self.output);
        for command in commands.split_inclusive(|b| *b == b'\n') {
            self.output.extend_from_slice(command);
            let reply = self.reply().await?;
            if !reply.starts_with(['2', '3']) {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    /// Sends what waits, then reads one reply: its lines joined by `\n`.
    async fn reply(&mut self) -> io::Result<String> {
        if !self.output.is_empty() {
            self.stream.write_all(&self.output).await?;
            self.output.clear();
        }
        let mut lines = String::new();
        loop {
            let Some(end) = memchr::memchr(b'\n', &self.input) else {
                let read = tokio::time::timeout(self.patience, self.stream.read_buf(&mut self.input));
                match read.await {
                    Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(read) => read?,
                    Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "no reply")),
                };
                continue;
            };
            let line = String::from_utf8_lossy(&self.input[..end]).trim_end().to_owned();
            self.input.advance(end + 1);
            let more = line.as_bytes().get(3) == Some(&b'-');
            if !lines.is_empty() {
                lines.push('\n');
            }
            lines.push_str(&line);
            if !more {
                return Ok(lines);
            }
        }
    }
}

fn positive(reply: String) -> io::Result<String> {
    if reply.starts_with('2') { Ok(reply) } else { Err(io::Error::other(reply)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::sink::{Act, Rule, Sink, SinkOptions};
    use crate::outcome::Stage;

    async fn sink(pipelining: bool) -> Sink {
        let options = SinkOptions { pipelining, ..SinkOptions::default() };
        Sink::start_with("127.0.0.1:0".parse().unwrap(), options).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn ten_thousand_messages_arrive_once_each() {
        let sink = sink(true).await;
        let done = Load::new(sink.addr(), 10_000).size(500).from("127.0.0.7".parse().unwrap()).run().await;
        assert_eq!(done.accepted.len(), 10_000, "{:?}", done.errors);
        assert_eq!(done.latencies.len(), 10_000);
        let ids = sink.ids();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.values().all(|&times| times == 1));
        let counts = sink.source("127.0.0.7".parse().unwrap());
        assert_eq!((counts.messages, counts.connections, counts.out_of_turn), (10_000, 10, 0));
        assert!(sink.log().iter().all(|taken| taken.size == 500));
    }

    #[tokio::test]
    async fn without_pipelining_every_command_waits_for_its_reply() {
        let sink = sink(false).await;
        let done = Load::new(sink.addr(), 50).sessions(3).first(1000).run().await;
        assert_eq!(done.accepted.len(), 50, "{:?}", done.errors);
        assert_eq!(sink.by_source().values().map(|c| c.out_of_turn).sum::<u64>(), 0);
        assert!(sink.ids().contains_key("1049"));
    }

    #[tokio::test]
    async fn refusals_at_any_stage_are_told_apart_from_acceptance() {
        for pipelining in [true, false] {
            let sink = sink(pipelining).await;
            sink.add(Rule::reply(Stage::Rcpt, "550 5.1.1 no").to_local("user3"));
            sink.add(Rule::reply(Stage::Data, "451 4.3.0 later").to_local("user5"));
            sink.add(Rule::reply(Stage::EndOfData, "554 5.6.0 spam").to_local("user7"));
            let done = Load::new(sink.addr(), 10).sessions(1).run().await;
            assert_eq!(done.accepted, [0, 1, 2, 4, 6, 8, 9], "{:?}", done.errors);
            let refused: Vec<_> = done.refused.iter().map(|(n, r)| (*n, r.as_str())).collect();
            assert_eq!(refused, [(3, "550 5.1.1 no"), (5, "451 4.3.0 later"), (7, "554 5.6.0 spam")]);
        }
    }

    #[tokio::test]
    async fn a_lost_connection_leaves_one_unknown_and_the_rest_unsent() {
        let sink = sink(true).await;
        sink.add(Rule::at(Stage::EndOfData, Act::TakeAndDrop).to_local("user4"));
        let done = Load::new(sink.addr(), 10).sessions(1).run().await;
        assert_eq!(done.accepted, [0, 1, 2, 3]);
        assert_eq!(done.unknown, [4]);
        assert_eq!(done.unsent, [5, 6, 7, 8, 9]);
        assert_eq!(sink.messages(), 5);
    }

    #[tokio::test]
    async fn a_receiver_that_is_not_there_takes_nothing() {
        let sink = sink(true).await;
        let address = sink.addr();
        sink.stop().await;
        let done = Load::new(address, 4).run().await;
        assert_eq!((done.accepted.len(), done.unknown.len(), done.unsent), (0, 0, vec![0, 1, 2, 3]));
        assert!(!done.errors.is_empty());
    }
}
