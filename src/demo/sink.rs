//! A scriptable SMTP receiver that remembers what it got, from which address.
//!
//! One task per connection reads whatever has arrived, answers every complete command of it and writes all answers at
//! once, so that a pipelining client costs one read and one write per message. The body is cut out of the read buffer
//! where the end of data is found; nothing is copied unless bodies are to be kept.
//!
//! Behaviour is a list of [`Rule`]s that can be changed while it runs: at a stage, for a source address and/or a
//! recipient, [`Act`] — refuse with this reply, say nothing, hang up, take the mail and then lose the connection. The
//! first rule that matches wins; what none matches is accepted. It is stricter than it needs to be where that shows a
//! client's mistakes: commands sent before they may be are counted in [`SourceCounts::out_of_turn`].

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use parking_lot::{Mutex, RwLock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::outcome::Stage;

/// What the receiver offers and keeps.
#[derive(Clone, Debug)]
pub struct SinkOptions {
    /// Its name in greeting and EHLO reply.
    pub hostname: String,
    /// Offers PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// Offers 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// Offers SIZE (RFC 1870) with this many octets, and refuses more.
    pub size: Option<u64>,
    /// Header whose value is recorded as the message's id.
    pub id_header: String,
    /// Keeps bodies.
    pub keep_bodies: bool,
    /// Keeps one [`Taken`] per message; without, only the counters move.
    pub keep_log: bool,
}

impl Default for SinkOptions {
    fn default() -> Self {
        Self {
            hostname: "sink.test".into(),
            pipelining: true,
            eight_bit_mime: true,
            size: Some(64 << 20),
            id_header: "X-Test-Id".into(),
            keep_bodies: false,
            keep_log: true,
        }
    }
}

/// One message for which the receiver took responsibility.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Address it came from.
    pub source: IpAddr,
    /// Name given in EHLO or HELO.
    pub ehlo: Arc<str>,
    /// Reverse path without angle brackets; empty is the null reverse path.
    pub reverse_path: Box<str>,
    /// Parameters of MAIL, such as `SIZE=120 BODY=8BITMIME`.
    pub parameters: Box<str>,
    /// Accepted recipients without angle brackets.
    pub recipients: Vec<Box<str>>,
    /// Octets of the message as sent, without the end-of-data line.
    pub size: usize,
    /// Value of the id header.
    pub id: Option<Box<str>>,
    /// Message as sent (still dot-stuffed), where bodies are kept.
    pub body: Option<Bytes>,
    /// Number of the connection, from 0.
    pub connection: u64,
    /// Whether the `250` was sent. False where the script lost the connection after the final dot.
    pub acknowledged: bool,
}

/// What came from one address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceCounts {
    /// Connections accepted.
    pub connections: u64,
    /// Messages taken.
    pub messages: u64,
    /// Recipients of these.
    pub recipients: u64,
    /// Negative replies the script gave.
    pub refusals: u64,
    /// Commands that came before the reply they had to wait for.
    pub out_of_turn: u64,
}

/// What to do at a stage.
#[derive(Clone, Debug)]
pub enum Act {
    /// Go on as if there were no rule; ends the search.
    Accept,
    /// This reply, such as `550 5.1.1 no such user`; lines separated by `\n` are sent as a multi-line reply, each with the code of the first. `421`
    /// closes the connection, as does a negative reply at [`Stage::Banner`].
    Reply(String),
    /// Close without a word.
    Drop,
    /// Never answer again, but keep the connection open.
    Silence,
    /// Take the mail, then close without the `250`. Only at [`Stage::EndOfData`]; elsewhere as [`Act::Drop`].
    TakeAndDrop,
    /// Wait, then that.
    After(Duration, Box<Act>),
}

/// What a rule or a policy is asked about.
#[derive(Debug)]
pub struct Moment<'a> {
    /// Where in the dialogue. [`Stage::Connect`] and [`Stage::Tls`] never occur.
    pub stage: Stage,
    /// Address of the client.
    pub source: IpAddr,
    /// Name of its EHLO; empty before.
    pub ehlo: &'a str,
    /// Reverse path; empty before MAIL and for the null reverse path.
    pub reverse_path: &'a str,
    /// At RCPT the recipient in question, afterwards all that were accepted.
    pub recipients: &'a [Box<str>],
}

/// "At this stage, for these, do that." Built by [`Rule::at`] and its methods.
#[derive(Clone, Debug)]
pub struct Rule {
    stage: Stage,
    source: Option<IpAddr>,
    local_part: Option<String>,
    domain: Option<String>,
    left: Option<u32>,
    act: Act,
}

impl Rule {
    /// For everybody at `stage`.
    pub fn at(stage: Stage, act: Act) -> Self {
        Self { stage, source: None, local_part: None, domain: None, left: None, act }
    }

    /// A reply at `stage`.
    pub fn reply(stage: Stage, reply: impl Into<String>) -> Self {
        Self::at(stage, Act::Reply(reply.into()))
    }

    /// Only for clients from `source`.
    pub fn from(mut self, source: IpAddr) -> Self {
        self.source = Some(source);
        self
    }

    /// Only for recipients with this local part; from RCPT on.
    pub fn to_local(mut self, local_part: impl Into<String>) -> Self {
        self.local_part = Some(local_part.into());
        self
    }

    /// Only for recipients of this domain; from RCPT on.
    pub fn to_domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Only the next `times` times.
    pub fn times(mut self, times: u32) -> Self {
        self.left = Some(times);
        self
    }

    fn matches(&self, moment: &Moment<'_>) -> bool {
        self.stage == moment.stage
            && self.left != Some(0)
            && self.source.is_none_or(|source| source == moment.source)
            && ((self.local_part.is_none() && self.domain.is_none())
                || moment.recipients.iter().any(|recipient| self.means(recipient)))
    }

    fn means(&self, recipient: &str) -> bool {
        let (local, domain) = recipient.rsplit_once('@').unwrap_or((recipient, ""));
        self.local_part.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(local))
            && self.domain.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(domain))
    }
}

/// Takes a rule away again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleId(u64);

type Policy = Arc<dyn Fn(&Moment<'_>) -> Option<Act> + Send + Sync>;

#[derive(Default)]
struct Script {
    next: u64,
    rules: Vec<(RuleId, Rule)>,
    policy: Option<Policy>,
}

struct Shared {
    options: SinkOptions,
    greeting: Vec<u8>,
    ehlo_reply: Vec<u8>,
    // Spares the lock of the script on the fast path.
    scripted: AtomicBool,
    script: RwLock<Script>,
    log: Mutex<Vec<Taken>>,
    sources: Mutex<BTreeMap<IpAddr, SourceCounts>>,
    connections: AtomicU64,
    open: AtomicU64,
    messages: AtomicU64,
}

/// A running receiver. Ends with its last handle, or by [`Sink::stop`].
pub struct Sink {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sink {
    /// Listens on `address` (port 0 lets the system choose) with [`SinkOptions::default`]. Needs a tokio runtime.
    pub async fn start(address: SocketAddr) -> io::Result<Self> {
        Self::start_with(address, SinkOptions::default()).await
    }

    /// The same with `options`.
    pub async fn start_with(address: SocketAddr, options: SinkOptions) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            greeting: format!("220 {} ESMTP\r\n", options.hostname).into_bytes(),
            ehlo_reply: ehlo_reply(&options),
            options,
            scripted: AtomicBool::new(false),
            script: RwLock::default(),
            log: Mutex::default(),
            sources: Mutex::default(),
            connections: AtomicU64::new(0),
            open: AtomicU64::new(0),
            messages: AtomicU64::new(0),
        });
        let task = tokio::spawn(accept(listener, shared.clone()));
        Ok(Self { address, shared, task })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Adds a rule behind the others.
    pub fn add(&self, rule: Rule) -> RuleId {
        self.change(|script| {
            script.next += 1;
            let id = RuleId(script.next);
            script.rules.push((id, rule));
            id
        })
    }

    /// Takes a rule away; does nothing when it is already gone.
    pub fn remove(&self, id: RuleId) {
        self.change(|script| script.rules.retain(|(known, _)| *known != id));
    }

    /// Takes all rules and the policy away.
    pub fn clear(&self) {
        self.change(|script| {
            script.rules.clear();
            script.policy = None;
        });
    }

    /// A policy that is asked before the rules, for behaviour no rule can express.
    pub fn policy(&self, policy: impl Fn(&Moment<'_>) -> Option<Act> + Send + Sync + 'static) {
        self.change(|script| script.policy = Some(Arc::new(policy)));
    }

    /// Answers every recipient of `source` with `reply`.
    pub fn block(&self, source: IpAddr, reply: impl Into<String>) -> RuleId {
        self.add(Rule::reply(Stage::Rcpt, reply).from(source))
    }

    /// Takes away every rule for `source`.
    pub fn unblock(&self, source: IpAddr) {
        self.change(|script| script.rules.retain(|(_, rule)| rule.source != Some(source)));
    }

    /// Answers recipients with this local part with `550 5.1.1`.
    pub fn unknown_user(&self, local_part: &str) -> RuleId {
        self.add(
            Rule::reply(Stage::Rcpt, format!("550 5.1.1 <{local_part}>: Recipient address rejected: User unknown"))
                .to_local(local_part),
        )
    }

    /// Everything taken so far, in the order of its end.
    pub fn log(&self) -> Vec<Taken> {
        self.shared.log.lock().clone()
    }

    /// Forgets the log and the counters.
    pub fn forget(&self) {
        self.shared.log.lock().clear();
        self.shared.sources.lock().clear();
        self.shared.messages.store(0, Ordering::SeqCst);
    }

    /// Counters per client address.
    pub fn by_source(&self) -> BTreeMap<IpAddr, SourceCounts> {
        self.shared.sources.lock().clone()
    }

    /// Counters of one client address; zero for one that never came.
    pub fn source(&self, source: IpAddr) -> SourceCounts {
        self.shared.sources.lock().get(&source).copied().unwrap_or_default()
    }

    /// How often each id was taken. Messages without an id are left out.
    pub fn ids(&self) -> BTreeMap<String, u64> {
        let mut ids = BTreeMap::new();
        for taken in self.shared.log.lock().iter() {
            if let Some(id) = &taken.id {
                *ids.entry(id.to_string()).or_insert(0) += 1;
            }
        }
        ids
    }

    /// Client addresses that sent mail.
    pub fn senders(&self) -> BTreeSet<IpAddr> {
        self.shared.sources.lock().iter().filter(|(_, c)| c.messages > 0).map(|(ip, _)| *ip).collect()
    }

    /// Messages taken.
    pub fn messages(&self) -> u64 {
        self.shared.messages.load(Ordering::SeqCst)
    }

    /// Connections accepted.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Connections open now.
    pub fn open_connections(&self) -> u64 {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Closes the listening socket and every connection, and waits until they are closed.
    pub async fn stop(mut self) {
        self.task.abort();
        // The error is the cancellation just asked for.
        let _ = (&mut self.task).await;
    }

    fn change<T>(&self, act: impl FnOnce(&mut Script) -> T) -> T {
        let mut script = self.shared.script.write();
        let result = act(&mut script);
        self.shared.scripted.store(!script.rules.is_empty() || script.policy.is_some(), Ordering::SeqCst);
        result
    }
}

fn ehlo_reply(options: &SinkOptions) -> Vec<u8> {
    let mut lines = vec![options.hostname.clone()];
    if options.pipelining {
        lines.push("PIPELINING".into());
    }
    if options.eight_bit_mime {
        lines.push("8BITMIME".into());
    }
    if let Some(size) = options.size {
        lines.push(format!("SIZE {size}"));
    }
    lines.push("ENHANCEDSTATUSCODES".into());
    let mut reply = Vec::new();
    let last = lines.len() - 1;
    for (number, line) in lines.iter().enumerate() {
        let between = if number == last { ' ' } else { '-' };
        reply.extend_from_slice(format!("250{between}{line}\r\n").as_bytes());
    }
    reply
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Owning the sessions here means that aborting this task closes them all.
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let number = shared.connections.fetch_add(1, Ordering::SeqCst);
                    shared.sources.lock().entry(peer.ip()).or_default().connections += 1;
                    // Fails only on a socket that is already gone; the session will see that.
                    let _ = stream.set_nodelay(true);
                    sessions.spawn(Session::new(shared.clone(), peer.ip(), number).run(stream));
                }
                // Out of descriptors: wait for a session to end instead of spinning.
                Err(_) => { tokio::time::sleep(Duration::from_millis(10)).await; }
            },
            Some(_) = sessions.join_next() => {}
        }
    }
}

/// What becomes of the connection after a command.
enum Flow {
    Continue,
    Close,
    Hush,
}

struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Session {
    shared: Arc<Shared>,
    source: IpAddr,
    number: u64,
    ehlo: Arc<str>,
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
    fn new(shared: Arc<Shared>, source: IpAddr, number: u64) -> Self {
        Self {
            shared,
            source,
            number,
            ehlo: Arc::from(""),
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

    async fn run(mut self, mut stream: TcpStream) {
        self.shared.open.fetch_add(1, Ordering::SeqCst);
        let _open = Open(self.shared.clone());
        let flow = self.banner(&mut stream).await;
        let flow = match flow {
            // A failed read or write is the client's way to leave.
            Flow::Continue => self.converse(&mut stream).await.unwrap_or(Flow::Close),
            other => other,
        };
        if stream.write_all(&self.output).await.is_err() {
            return;
        }
        if matches!(flow, Flow::Hush) {
            let mut void = [0; 4096];
            while matches!(stream.read(&mut void).await, Ok(n) if n > 0) {}
        }
    }

    async fn banner(&mut self, stream: &mut TcpStream) -> Flow {
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

    async fn converse(&mut self, stream: &mut TcpStream) -> io::Result<Flow> {
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

    async fn command(&mut self, line: &[u8], stream: &mut TcpStream) -> Flow {
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

    async fn hello(&mut self, verb: &str, name: &str, stream: &mut TcpStream) -> Flow {
        self.reset();
        self.ehlo = Arc::from(name.trim());
        if let Some(act) = self.scripted(Stage::Ehlo, None, stream).await {
            return self.act(act);
        }
        if verb.eq_ignore_ascii_case("EHLO") {
            self.output.extend_from_slice(&self.shared.ehlo_reply);
        } else {
            let line = format!("250 {}", self.shared.options.hostname);
            self.say(&line);
        }
        Flow::Continue
    }

    async fn mail(&mut self, rest: &str, stream: &mut TcpStream) -> Flow {
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

    async fn rcpt(&mut self, rest: &str, stream: &mut TcpStream) -> Flow {
        let Some((path, _)) = path(rest, "TO:") else {
            self.say("501 5.5.4 RCPT TO:<path>");
            return Flow::Continue;
        };
        if !self.in_transaction {
            self.say("503 5.5.1 MAIL first");
            return Flow::Continue;
        }
        let recipient: Box<str> = path.into();
        if let Some(act) = self.scripted(Stage::Rcpt, Some(&recipient), stream).await {
            return self.act(act);
        }
        self.recipients.push(recipient);
        self.say("250 2.1.5 ok");
        Flow::Continue
    }

    async fn data(&mut self, stream: &mut TcpStream) -> Flow {
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

    async fn take(&mut self, end: usize, stream: &mut TcpStream) -> Flow {
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
    async fn scripted(&mut self, stage: Stage, one: Option<&Box<str>>, stream: &mut TcpStream) -> Option<Act> {
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

    fn ask(&self, stage: Stage, one: Option<&Box<str>>) -> Option<Act> {
        let moment = Moment {
            stage,
            source: self.source,
            ehlo: &self.ehlo,
            reverse_path: &self.reverse_path,
            recipients: one.map_or(self.recipients.as_slice(), std::slice::from_ref),
        };
        let mut script = self.shared.script.write();
        if let Some(policy) = script.policy.clone() {
            // A policy may change the script.
            drop(script);
            if let Some(act) = policy(&moment) {
                return Some(act);
            }
            script = self.shared.script.write();
        }
        let (_, rule) = script.rules.iter_mut().find(|(_, rule)| rule.matches(&moment))?;
        if let Some(left) = &mut rule.left {
            *left -= 1;
        }
        Some(rule.act.clone())
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

#[cfg(test)]
mod tests {
    use super::*;

    async fn dialogue(sink: &Sink, script: &[(&str, &str)]) {
        let stream = TcpStream::connect(sink.addr()).await.unwrap();
        let mut stream = tokio::io::BufReader::new(stream);
        for (say, expect) in script {
            stream.get_mut().write_all(say.as_bytes()).await.unwrap();
            let mut got = vec![0; expect.len()];
            stream.read_exact(&mut got).await.unwrap();
            assert_eq!(String::from_utf8_lossy(&got), *expect, "after {say:?}");
        }
    }

    async fn closed(sink: &Sink, say: &str, expect: &str) {
        let mut stream = TcpStream::connect(sink.addr()).await.unwrap();
        stream.write_all(say.as_bytes()).await.unwrap();
        let mut got = String::new();
        stream.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, expect);
    }

    fn quiet() -> SinkOptions {
        SinkOptions { pipelining: false, eight_bit_mime: false, size: None, ..SinkOptions::default() }
    }

    async fn sink() -> Sink {
        Sink::start_with("127.0.0.1:0".parse().unwrap(), quiet()).await.unwrap()
    }

    const GREETING: &str = "220 sink.test ESMTP\r\n";
    const HELLO: &str = "250-sink.test\r\n250 ENHANCEDSTATUSCODES\r\n";
    const ENVELOPE: &str = "MAIL FROM:<a@x.test> BODY=8BITMIME\r\nRCPT TO:<b@y.test>\r\nDATA\r\n";
    const ENVELOPE_OK: &str = "250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go ahead\r\n";

    #[tokio::test]
    async fn records_envelope_source_size_and_id() {
        let sink = Sink::start_with("127.0.0.1:0".parse().unwrap(), SinkOptions { keep_bodies: true, ..quiet() })
            .await
            .unwrap();
        let message = "Subject: x\r\nx-test-id:  42 \r\n\r\n..dot\r\n";
        dialogue(
            &sink,
            &[
                ("", GREETING),
                ("EHLO me.test\r\n", HELLO),
                (ENVELOPE, ENVELOPE_OK),
                (&format!("{message}.\r\n"), "250 2.0.0 taken\r\n"),
                ("QUIT\r\n", "221 2.0.0 bye\r\n"),
            ],
        )
        .await;
        let log = sink.log();
        assert_eq!(log.len(), 1);
        let taken = &log[0];
        assert_eq!(taken.source, "127.0.0.1".parse::<IpAddr>().unwrap());
        assert_eq!((&*taken.ehlo, &*taken.reverse_path, &*taken.parameters), ("me.test", "a@x.test", "BODY=8BITMIME"));
        assert_eq!(taken.recipients, ["b@y.test".into()]);
        assert_eq!((taken.size, taken.id.as_deref()), (message.len(), Some("42")));
        assert_eq!(taken.body.as_deref(), Some(message.as_bytes()));
        let counts = sink.source(taken.source);
        assert_eq!((counts.connections, counts.messages, counts.recipients), (1, 1, 1));
        assert_eq!(counts.out_of_turn, 2, "the group was sent although PIPELINING was not offered");
    }

    #[tokio::test]
    async fn end_of_data_is_found_across_reads_and_only_as_crlf_dot_crlf() {
        let sink = sink().await;
        dialogue(
            &sink,
            &[
                ("", GREETING),
                ("HELO me\r\n", "250 sink.test\r\n"),
                (ENVELOPE, ENVELOPE_OK),
                ("a\n.\nb\r\n.\r", ""),
                ("x\n.\r\n\r\n", ""),
                (".", ""),
                ("\r\n", "250 2.0.0 taken\r\n"),
                // An empty message: the dot stands at the very beginning.
                (ENVELOPE, ENVELOPE_OK),
                (".\r\nNOOP\r\n", "250 2.0.0 taken\r\n250 2.0.0 ok\r\n"),
            ],
        )
        .await;
        assert_eq!(sink.log().iter().map(|t| t.size).collect::<Vec<_>>(), [16, 0]);
    }

    #[tokio::test]
    async fn rules_refuse_by_stage_source_and_recipient_as_often_as_told() {
        let sink = sink().await;
        let here: IpAddr = "127.0.0.1".parse().unwrap();
        sink.block("127.0.0.9".parse().unwrap(), "550 5.7.1 not you");
        sink.unknown_user("nobody");
        sink.add(Rule::reply(Stage::Rcpt, "450 4.2.0 first line\nlast line").to_domain("Slow.Test").times(1));
        dialogue(
            &sink,
            &[
                ("", GREETING),
                ("EHLO me\r\n", HELLO),
                ("MAIL FROM:<>\r\n", "250 2.1.0 ok\r\n"),
                ("RCPT TO:<nobody@y.test>\r\n", "550 5.1.1 <nobody>: Recipient address rejected: User unknown\r\n"),
                ("DATA\r\n", "554 5.5.1 no valid recipients\r\n"),
                ("RCPT TO:<a@slow.test>\r\n", "450-4.2.0 first line\r\n450 last line\r\n"),
                ("RCPT TO:<a@slow.test>\r\n", "250 2.1.5 ok\r\n"),
            ],
        )
        .await;
        assert_eq!(sink.source(here).refusals, 2);
        sink.block(here, "550 5.7.1 nor you");
        sink.clear();
        let blocked = sink.add(Rule::reply(Stage::Mail, "421 4.7.0 go").from(here));
        closed(&sink, "MAIL FROM:<>\r\nNOOP\r\n", "220 sink.test ESMTP\r\n421 4.7.0 go\r\n").await;
        sink.remove(blocked);
        dialogue(&sink, &[("", GREETING), ("MAIL FROM:<>\r\n", "250 2.1.0 ok\r\n")]).await;
    }

    #[tokio::test]
    async fn a_negative_banner_ends_the_connection() {
        let sink = sink().await;
        sink.add(Rule::reply(Stage::Banner, "554 5.7.1 no"));
        closed(&sink, "", "554 5.7.1 no\r\n").await;
        sink.clear();
        sink.add(Rule::at(Stage::Banner, Act::Drop));
        closed(&sink, "", "").await;
    }

    #[tokio::test]
    async fn mail_can_be_taken_and_the_connection_lost() {
        let sink = sink().await;
        sink.add(Rule::at(Stage::EndOfData, Act::TakeAndDrop).times(1));
        let mail = format!("{ENVELOPE}X-Test-Id: 7\r\n\r\n.\r\n");
        closed(&sink, &mail, &format!("{GREETING}{ENVELOPE_OK}")).await;
        let log = sink.log();
        assert_eq!((log[0].id.as_deref(), log[0].acknowledged), (Some("7"), false));
    }

    #[tokio::test]
    async fn silence_keeps_the_connection_and_a_delay_only_delays() {
        let sink = sink().await;
        sink.add(Rule::at(Stage::Ehlo, Act::Silence).times(1));
        let mut hushed = TcpStream::connect(sink.addr()).await.unwrap();
        hushed.write_all(b"EHLO me\r\nNOOP\r\n").await.unwrap();
        let mut got = [0; 21];
        hushed.read_exact(&mut got).await.unwrap();

        sink.add(Rule::at(Stage::Ehlo, Act::After(Duration::from_millis(5), Box::new(Act::Accept))));
        dialogue(&sink, &[("", GREETING), ("EHLO me\r\n", HELLO)]).await;
        // The other one still has no answer and no end.
        assert!(matches!(hushed.try_read(&mut got), Err(e) if e.kind() == io::ErrorKind::WouldBlock));
        sink.stop().await;
        assert_eq!(hushed.read(&mut got).await.unwrap_or(0), 0);
    }

    #[tokio::test]
    async fn a_policy_sees_the_moment() {
        let sink = sink().await;
        sink.policy(|m| {
            (m.stage == Stage::Rcpt && m.reverse_path == "a@x.test" && &*m.recipients[0] == "c@y.test")
                .then(|| Act::Reply("452 4.5.3 enough".into()))
        });
        dialogue(
            &sink,
            &[
                ("", GREETING),
                ("MAIL FROM:<a@x.test>\r\n", "250 2.1.0 ok\r\n"),
                ("RCPT TO:<b@y.test>\r\n", "250 2.1.5 ok\r\n"),
                ("RCPT TO:<c@y.test>\r\n", "452 4.5.3 enough\r\n"),
            ],
        )
        .await;
    }
}
