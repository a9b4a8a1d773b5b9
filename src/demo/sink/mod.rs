//! A scriptable SMTP receiver that remembers what it got, from which address.
//!
//! One task per connection reads whatever has arrived, answers every complete command of it and writes all answers at
//! once, so that a pipelining client costs one read and one write per message. The body is cut out of the read buffer
//! where the end of data is found; nothing is copied unless bodies are to be kept.
//!
//! [`script`] says what to do, `session` is the dialogue. Behaviour is a list of [`Rule`]s that can be changed while it
//! runs: at a stage, for a source address and/or a recipient, [`Act`] — refuse with this reply, say nothing, hang up,
//! take the mail and then lose the connection. The first rule that matches wins; what none matches is accepted. It is
//! stricter than it needs to be where that shows a client's mistakes: commands sent before they may be are counted in
//! [`SourceCounts::out_of_turn`].

pub mod script;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use script::Script;
pub use script::{Act, Moment, Rule, RuleId};
use session::Session;

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
    /// Offers DSN (RFC 3461). Its parameters are recorded, as all are, and change nothing.
    pub dsn: bool,
    /// Offers STARTTLS (RFC 3207) with this certificate.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Offers REQUIRETLS (RFC 8689) under TLS.
    pub require_tls: bool,
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
            dsn: false,
            tls: None,
            require_tls: false,
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
    /// Whether it came under TLS.
    pub tls: bool,
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

struct Shared {
    options: SinkOptions,
    greeting: Vec<u8>,
    ehlo_reply: Vec<u8>,
    ehlo_under_tls: Vec<u8>,
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
            ehlo_reply: ehlo_reply(&options, false),
            ehlo_under_tls: ehlo_reply(&options, true),
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
        self.change(|script| script.add(rule))
    }

    /// Takes a rule away; does nothing when it is already gone.
    pub fn remove(&self, id: RuleId) {
        self.change(|script| script.remove(id));
    }

    /// Takes all rules and the policy away.
    pub fn clear(&self) {
        self.change(|script| script.clear());
    }

    /// A policy that is asked before the rules, for behaviour no rule can express.
    pub fn policy(&self, policy: impl Fn(&Moment<'_>) -> Option<Act> + Send + Sync + 'static) {
        self.change(|script| script.set_policy(Arc::new(policy)));
    }

    /// Answers every recipient of `source` with `reply`.
    pub fn block(&self, source: IpAddr, reply: impl Into<String>) -> RuleId {
        self.add(Rule::reply(Stage::Rcpt, reply).from(source))
    }

    /// Takes away every rule for `source`.
    pub fn unblock(&self, source: IpAddr) {
        self.change(|script| script.remove_source(source));
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

    /// Everything taken since the last call (or [`Sink::forget`]); the log is empty afterwards, the counters stay.
    pub fn take_log(&self) -> Vec<Taken> {
        std::mem::take(&mut *self.shared.log.lock())
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
        self.shared.scripted.store(!script.is_empty(), Ordering::SeqCst);
        result
    }
}

fn ehlo_reply(options: &SinkOptions, under_tls: bool) -> Vec<u8> {
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
    if options.dsn {
        lines.push("DSN".into());
    }
    if options.tls.is_some() && !under_tls {
        lines.push("STARTTLS".into());
    }
    if options.require_tls && under_tls {
        lines.push("REQUIRETLS".into());
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

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
