//! One connection of the receiver: read what has come, answer every whole command of it, write once.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::script::{Act, Moment};
use super::{Shared, SourceCounts, Taken};
use crate::outcome::Stage;

/// What becomes of the connection after a command.
enum Flow {
    Continue,
    Close,
    Hush,
    StartTls,
}

/// In the clear or under TLS.
pub(super) trait Both: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Both for S {}

type Wire = dyn Both;

struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(super) struct Session {
    shared: Arc<Shared>,
    source: IpAddr,
    number: u64,
    ehlo: Arc<str>,
    tls: bool,
    in_transaction: bool,
    reverse_path: Box<str>,
    parameters: Box<str>,
    recipients: Vec<Box<str>>,
    in_data: bool,
    // Where the search for the end of data goes on.
    scanned: usize,
    input: BytesMut,
    output: Vec<u8>,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, source: IpAddr, number: u64) -> Self {
        Self {
            shared,
            source,
            number,
            ehlo: Arc::from(""),
            tls: false,
            in_transaction: false,
            reverse_path: Box::default(),
            parameters: Box::default(),
            recipients: Vec::new(),
            in_data: false,
            scanned: 0,
            input: BytesMut::with_capacity(64 << 10),
            output: Vec::with_capacity(4 << 10),
        }
    }

    pub(super) async fn run(mut self, stream: TcpStream) {
        self.shared.open.fetch_add(1, Ordering::SeqCst);
        let _open = Open(self.shared.clone());
        let mut stream: Box<Wire> = Box::new(stream);
        let mut flow = self.banner(&mut *stream).await;
        loop {
            flow = match flow {
                // A failed read or write is the client's way to leave.
                Flow::Continue => self.converse(&mut *stream).await.unwrap_or(Flow::Close),
                other => other,
            };
            if stream.write_all(&self.output).await.is_err() || stream.flush().await.is_err() {
                return;
            }
            if !matches!(flow, Flow::StartTls) {
                break;
            }
            let Some(config) = self.shared.options.tls.clone() else { return };
            let Ok(under) = TlsAcceptor::from(config).accept(stream).await else { return };
            // What was said before counts no more (RFC 3207 §4.2).
            self.reset();
            self.ehlo = Arc::from("");
            self.tls = true;
            (self.input, self.output, stream) = (BytesMut::new(), Vec::new(), Box::new(under));
            flow = Flow::Continue;
        }
        if matches!(flow, Flow::Hush) {
            let mut void = [0; 4096];
            while matches!(stream.read(&mut void).await, Ok(n) if n > 0) {}
        }
    }

    async fn banner(&mut self, stream: &mut Wire) -> Flow {
        match self.scripted(Stage::Banner, None, stream).await {
            Some(Act::Reply(text)) => {
                let positive = text.starts_with('2');
                self.refuse(&text);
                if positive { Flow::Continue } else { Flow::Close }
            }
            Some(Act::Silence) => Flow::Hush,
            Some(Act::Drop | Act::TakeAndDrop) => Flow::Close,
            _ => {
                self.output.extend_from_slice(&self.shared.greeting);
                Flow::Continue
            }
        }
    }

    async fn converse(&mut self, stream: &mut Wire) -> io::Result<Flow> {
        loop {
            loop {
                let flow = if self.in_data {
                    match self.end_of_data() {
                        Some(end) => self.take(end, stream).await,
                        None => break,
                    }
                } else {
                    match memchr::memchr(b'\n', &self.input) {
                        Some(end) => {
                            let line = self.input.split_to(end + 1).freeze();
                            self.command(&line, stream).await
                        }
                        None => break,
                    }
                };
                if !matches!(flow, Flow::Continue) {
                    return Ok(flow);
                }
            }
            if !self.output.is_empty() {
                stream.write_all(&self.output).await?;
                stream.flush().await?;
                self.output.clear();
            }
            if !self.in_data && self.input.len() > 64 << 10 {
                return Ok(Flow::Close);
            }
            self.input.reserve(32 << 10);
            if stream.read_buf(&mut self.input).await? == 0 {
                return Ok(Flow::Close);
            }
        }
    }

    async fn command(&mut self, line: &[u8], stream: &mut Wire) -> Flow {
        let Some(line) = line.strip_suffix(b"\r\n") else {
            self.say("500 5.5.2 bare line feed");
            return Flow::Continue;
        };
        let Ok(line) = std::str::from_utf8(line) else {
            self.say("500 5.5.2 not text");
            return Flow::Continue;
        };
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let more_waits = !self.input.is_empty();
        // RFC 2920 §3.1: MAIL, RCPT and RSET may be followed at once; everything else ends a group.
        let groups = ["MAIL", "RCPT", "RSET"].iter().any(|g| g.eq_ignore_ascii_case(verb));
        if more_waits && !(self.shared.options.pipelining && groups) {
            self.count(|c| c.out_of_turn += 1);
        }
        if verb.eq_ignore_ascii_case("MAIL") {
            self.mail(rest, stream).await
        } else if verb.eq_ignore_ascii_case("RCPT") {
            self.rcpt(rest, stream).await
        } else if verb.eq_ignore_ascii_case("DATA") {
            self.data(stream).await
        } else if verb.eq_ignore_ascii_case("EHLO") || verb.eq_ignore_ascii_case("HELO") {
            self.hello(verb, rest, stream).await
        } else if verb.eq_ignore_ascii_case("STARTTLS") && self.shared.options.tls.is_some() && !self.tls {
            match self.scripted(Stage::Tls, None, stream).await {
                Some(act) => self.act(act),
                None => {
                    self.say("220 2.0.0 go ahead");
                    Flow::StartTls
                }
            }
        } else if verb.eq_ignore_ascii_case("RSET") {
            self.reset();
            self.say("250 2.0.0 reset");
            Flow::Continue
        } else if verb.eq_ignore_ascii_case("NOOP") {
            self.say("250 2.0.0 ok");
            Flow::Continue
        } else if verb.eq_ignore_ascii_case("QUIT") {
            self.say("221 2.0.0 bye");
            Flow::Close
        } else {
            self.say("502 5.5.1 not known here");
            Flow::Continue
        }
    }

    async fn hello(&mut self, verb: &str, name: &str, stream: &mut Wire) -> Flow {
        self.reset();
        self.ehlo = Arc::from(name.trim());
        if let Some(act) = self.scripted(Stage::Ehlo, None, stream).await {
            return self.act(act);
        }
        if verb.eq_ignore_ascii_case("EHLO") {
            let reply = if self.tls { &self.shared.ehlo_under_tls } else { &self.shared.ehlo_reply };
            self.output.extend_from_slice(reply);
        } else {
            let line = format!("250 {}", self.shared.options.hostname);
            self.say(&line);
        }
        Flow::Continue
    }

    async fn mail(&mut self, rest: &str, stream: &mut Wire) -> Flow {
        let Some((path, parameters)) = path(rest, "FROM:") else {
            self.say("501 5.5.4 MAIL FROM:<path>");
            return Flow::Continue;
        };
        if self.in_transaction {
            self.say("503 5.5.1 MAIL twice");
            return Flow::Continue;
        }
        self.reverse_path = path.into();
        self.parameters = parameters.into();
        if let Some(act) = self.scripted(Stage::Mail, None, stream).await {
            self.reset();
            return self.act(act);
        }
        self.in_transaction = true;
        self.say("250 2.1.0 ok");
        Flow::Continue
    }

    async fn rcpt(&mut self, rest: &str, stream: &mut Wire) -> Flow {
        let Some((path, _)) = path(rest, "TO:") else {
            self.say("501 5.5.4 RCPT TO:<path>");
            return Flow::Continue;
        };
        if !self.in_transaction {
            self.say("503 5.5.1 MAIL first");
            return Flow::Continue;
        }
        let recipient: Box<str> = path.into();
        if let Some(act) = self.scripted(Stage::Rcpt, Some(std::slice::from_ref(&recipient)), stream).await {
            return self.act(act);
        }
        self.recipients.push(recipient);
        self.say("250 2.1.5 ok");
        Flow::Continue
    }

    async fn data(&mut self, stream: &mut Wire) -> Flow {
        if self.recipients.is_empty() {
            self.say("554 5.5.1 no valid recipients");
            return Flow::Continue;
        }
        if let Some(act) = self.scripted(Stage::Data, None, stream).await {
            return self.act(act);
        }
        self.in_data = true;
        self.scanned = 0;
        self.say("354 go ahead");
        Flow::Continue
    }

    /// Length of the message in the read buffer, when all of it is there. Remembers how far it looked.
    fn end_of_data(&mut self) -> Option<usize> {
        if self.input.starts_with(b".\r\n") {
            return Some(0);
        }
        let from = self.scanned.saturating_sub(4).min(self.input.len());
        match memmem::find(&self.input[from..], b"\r\n.\r\n") {
            Some(at) => Some(from + at + 2),
            None => {
                self.scanned = self.input.len();
                None
            }
        }
    }

    async fn take(&mut self, end: usize, stream: &mut Wire) -> Flow {
        let body = self.input.split_to(end).freeze();
        // The line with the dot.
        let _ = self.input.split_to(3);
        self.in_data = false;
        let act = self.scripted(Stage::EndOfData, None, stream).await;
        if self.shared.options.size.is_some_and(|limit| body.len() as u64 > limit) {
            self.reset();
            self.say("552 5.3.4 too big");
            return Flow::Continue;
        }
        let acknowledged = match act {
            None => true,
            Some(Act::TakeAndDrop) => false,
            Some(act) => {
                self.reset();
                return self.act(act);
            }
        };
        self.record(body, acknowledged);
        self.in_transaction = false;
        if !acknowledged {
            return Flow::Close;
        }
        self.say("250 2.0.0 taken");
        Flow::Continue
    }

    fn record(&mut self, body: Bytes, acknowledged: bool) {
        let recipients = std::mem::take(&mut self.recipients);
        self.count(|c| {
            c.messages += 1;
            c.recipients += recipients.len() as u64;
        });
        if self.shared.options.keep_log {
            let taken = Taken {
                source: self.source,
                ehlo: self.ehlo.clone(),
                reverse_path: std::mem::take(&mut self.reverse_path),
                parameters: std::mem::take(&mut self.parameters),
                recipients,
                size: body.len(),
                id: header(&body, self.shared.options.id_header.as_bytes()),
                body: self.shared.options.keep_bodies.then_some(body),
                connection: self.number,
                acknowledged,
                tls: self.tls,
            };
            self.shared.log.lock().push(taken);
        }
        // Last, so that whoever waits for a number of messages finds them in the log.
        self.shared.messages.fetch_add(1, Ordering::SeqCst);
    }

    fn reset(&mut self) {
        self.in_transaction = false;
        self.reverse_path = Box::default();
        self.parameters = Box::default();
        self.recipients.clear();
    }

    /// What the script wants here; `None` is the ordinary course. Waits where it says so, after sending what is due.
    async fn scripted(&mut self, stage: Stage, one: Option<&[Box<str>]>, stream: &mut Wire) -> Option<Act> {
        if !self.shared.scripted.load(Ordering::Relaxed) {
            return None;
        }
        let mut act = self.ask(stage, one)?;
        while let Act::After(wait, then) = act {
            // Earlier answers must not wait with this one. If the client is gone, the next read tells.
            let _ = stream.write_all(&self.output).await;
            self.output.clear();
            tokio::time::sleep(wait).await;
            act = *then;
        }
        (!matches!(act, Act::Accept)).then_some(act)
    }

    fn ask(&self, stage: Stage, one: Option<&[Box<str>]>) -> Option<Act> {
        let moment = Moment {
            stage,
            source: self.source,
            ehlo: &self.ehlo,
            reverse_path: &self.reverse_path,
            recipients: one.unwrap_or(&self.recipients),
        };
        let policy = self.shared.script.read().policy();
        // Asked without the lock: a policy may change the script.
        policy.and_then(|policy| policy(&moment)).or_else(|| self.shared.script.write().decide(&moment))
    }

    fn act(&mut self, act: Act) -> Flow {
        match act {
            Act::Reply(text) => {
                self.refuse(&text);
                if text.starts_with("421") { Flow::Close } else { Flow::Continue }
            }
            Act::Silence => Flow::Hush,
            Act::Drop | Act::TakeAndDrop => Flow::Close,
            // `scripted` has unfolded both.
            Act::Accept | Act::After(..) => Flow::Continue,
        }
    }

    fn refuse(&mut self, text: &str) {
        if !text.starts_with('2') {
            self.count(|c| c.refusals += 1);
        }
        // The code of the first line goes before all, `-` between them and the text wherever a line follows.
        let (code, text) = text.split_at_checked(3).unwrap_or(("451", text));
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let line = line.strip_prefix(code).unwrap_or(line).trim_start_matches([' ', '-']);
            let between = if lines.peek().is_some() { '-' } else { ' ' };
            let line = format!("{code}{between}{line}");
            self.say(&line);
        }
    }

    fn say(&mut self, line: &str) {
        self.output.extend_from_slice(line.as_bytes());
        self.output.extend_from_slice(b"\r\n");
    }

    fn count(&self, change: impl FnOnce(&mut SourceCounts)) {
        change(self.shared.sources.lock().entry(self.source).or_default());
    }
}

/// The path between angle brackets after `keyword`, and what follows it.
fn path<'a>(rest: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let (head, tail) = rest.split_at_checked(keyword.len())?;
    if !head.eq_ignore_ascii_case(keyword) {
        return None;
    }
    tail.trim_start().strip_prefix('<')?.split_once('>').map(|(path, parameters)| (path, parameters.trim()))
}

/// Value of the first header field `name`; looks no further than the header section.
fn header(message: &[u8], name: &[u8]) -> Option<Box<str>> {
    let mut rest = message;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        if line.is_empty() {
            return None;
        }
        if line.len() > name.len() && line[name.len()] == b':' && line[..name.len()].eq_ignore_ascii_case(name) {
            return Some(String::from_utf8_lossy(&line[name.len() + 1..]).trim().into());
        }
        rest = &rest[end + 1..];
    }
    None
}
