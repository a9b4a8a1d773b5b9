//! One connection: a [`Session`] between a socket and the [`Intake`].
//!
//! Reads, lets the session go as far as it can, sends all its replies in one write, and so on until it says that it is
//! over. Every wait has the idle limit and ends when the server stops.
//!
//! Thousands of clients connect and say nothing for minutes, so a connection that waits for a command holds almost nothing:
//! a buffer of [`SMALL`] octets for the command, none for replies, and a large one only while text or long groups come.

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::RwLock;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Sleep, timeout};

use super::patience::{Limits, Load};
use super::session::{Effect, Session, Terms};
use crate::ingress::{IngressStats, Intake, Transaction};

/// How long a stranger's report may take from `354` to its final dot: longer than the block time-out of RFC 5321 §4.5.3.2.5
/// for any mail of a few blocks, and short enough that nobody keeps others out by sending an octet now and then.
const REPORT_TIME: Duration = Duration::from_secs(10 * 60);
/// Octets asked of the kernel at a time, while much comes.
const READ: usize = 16 * 1024;
/// Octets asked for while only a command may come.
const SMALL: usize = 512;
/// How long, and how much, is read from a client after the last reply, so that closing with unread input does not
/// destroy that reply on its way (RST).
const LINGER: Duration = Duration::from_secs(2);
const LINGER_OCTETS: usize = 1024 * 1024;

/// One connection being served.
pub(super) struct Connection {
    session: Session,
    /// By which new sessions begin.
    terms: Arc<RwLock<Arc<Terms>>>,
    idle: Duration,
    /// The same while places are scarce.
    busy: Duration,
    intake: Arc<dyn Intake>,
    stats: Arc<IngressStats>,
    stopped: watch::Receiver<bool>,
    load: Load,
    input: BytesMut,
    /// Whether the last read filled all that was there.
    flows: bool,
    out: Vec<u8>,
    /// When the report that is being received has taken too long.
    deadline: Option<Pin<Box<Sleep>>>,
}

/// What happened on the socket.
enum Arrived {
    Input,
    Silence,
    TooSlow,
    Stop,
    /// The client is gone, or the connection broke.
    Gone,
}

impl Connection {
    /// A connection whose session has not said anything yet; `terms` are those by which new sessions begin, and this one.
    pub(super) fn new(
        session: Session,
        terms: Arc<RwLock<Arc<Terms>>>,
        intake: Arc<dyn Intake>,
        stats: Arc<IngressStats>,
        stopped: watch::Receiver<bool>,
        load: Load,
    ) -> Self {
        let (idle, busy) = {
            let listener = &terms.read().listener;
            (listener.idle_timeout, listener.busy_idle_timeout)
        };
        Self {
            session,
            terms,
            idle,
            busy,
            intake,
            stats,
            stopped,
            load,
            input: BytesMut::new(),
            flows: false,
            out: Vec::new(),
            deadline: None,
        }
    }

    /// Serves until the session is over. The stream is left to the caller to close.
    pub(super) async fn run(mut self, stream: &mut TcpStream) {
        let ended = self.serve(stream).await;
        self.count_replies();
        if ended == Ended::Dropped {
            // Boxed, as it is large and most connections never come here.
            Box::pin(linger(stream)).await;
        }
        if let Some(refusal) = self.session.last_refusal() {
            tracing::info!(
                client = %self.session.client(),
                helo = self.session.client_name().unwrap_or("-"),
                last_refusal = refusal,
                "smtp session had refusals"
            );
        }
    }

    async fn serve(&mut self, stream: &mut TcpStream) -> Ended {
        let mut effect = self.session.greet(spoke_already(stream), &mut self.out);
        let mut told_to_stop = false;
        loop {
            if let Some(pause) = self.session.pause() {
                let _ = timeout(pause, told(&mut self.stopped)).await;
            }
            if !self.flush(stream).await {
                return Ended::Gone;
            }
            match effect {
                Effect::Quit => return Ended::Quit,
                Effect::Drop => return Ended::Dropped,
                Effect::Deliver(transaction) => {
                    self.deliver(*transaction).await;
                    effect = self.advance();
                    continue;
                }
                Effect::Authenticate(credentials) => {
                    let answer = self.intake.authenticate(*credentials, self.session.client().ip()).await;
                    self.session.authenticated(answer, &mut self.out);
                    effect = self.advance();
                    continue;
                }
                Effect::Read => {}
            }
            effect = match self.wait(stream, told_to_stop).await {
                Arrived::Input => self.advance(),
                Arrived::Silence => {
                    self.session.idle_timeout(&mut self.out);
                    Effect::Drop
                }
                Arrived::TooSlow => {
                    self.session.too_slow(&mut self.out);
                    Effect::Drop
                }
                Arrived::Stop => {
                    told_to_stop = true;
                    self.session.stop(&mut self.out)
                }
                Arrived::Gone => return Ended::Gone,
            };
        }
    }

    fn advance(&mut self) -> Effect {
        let intake = &self.intake;
        self.session.now_by(Arc::clone(&self.terms.read()));
        self.session.advance(&mut self.input, &**intake, &mut self.out)
    }

    async fn deliver(&mut self, transaction: Transaction) {
        let (recipients, octets) = (transaction.recipients.len() as u64, transaction.body.len() as u64);
        let answer = self.intake.accept(transaction).await;
        if answer.is_ok() {
            IngressStats::add(&self.stats.messages, 1);
            IngressStats::add(&self.stats.recipients, recipients);
            IngressStats::add(&self.stats.bytes, octets);
        }
        self.session.answered(answer, &mut self.out);
    }

    async fn wait(&mut self, stream: &mut TcpStream, told_to_stop: bool) -> Arrived {
        self.make_room();
        let spare = self.input.capacity() - self.input.len();
        let calm = self.idle;
        let limits = Limits { calm, busy: if self.session.takes_text() { calm } else { self.busy } };
        if !self.session.takes_room() {
            self.deadline = None;
        } else if self.deadline.is_none() {
            self.deadline = Some(Box::pin(tokio::time::sleep(REPORT_TIME)));
        }
        let deadline = self.deadline.as_mut();
        let over = async {
            match deadline {
                Some(deadline) => deadline.await,
                None => std::future::pending().await,
            }
        };
        let read = self.load.read(stream, &mut self.input, limits);
        tokio::select! {
            biased;
            () = told(&mut self.stopped), if !told_to_stop => Arrived::Stop,
            () = over => Arrived::TooSlow,
            read = read => match read {
                Some(Ok(0) | Err(_)) => Arrived::Gone,
                Some(Ok(octets)) => {
                    self.flows = octets == spare;
                    Arrived::Input
                }
                None => Arrived::Silence,
            },
        }
    }

    /// Has a buffer for what may come next, and no larger one.
    fn make_room(&mut self) {
        let most = if self.session.takes_text() || self.flows { READ } else { SMALL };
        if self.input.is_empty() && self.input.capacity() > most {
            self.input = BytesMut::new();
        }
        if self.input.capacity() - self.input.len() < most / 4 {
            self.input.reserve(most);
        }
    }

    /// Sends what was written; `false` when the client is gone or takes nothing any more.
    async fn flush(&mut self, stream: &mut TcpStream) -> bool {
        if self.out.is_empty() {
            return true;
        }
        let out = std::mem::take(&mut self.out);
        let sent = timeout(self.idle, stream.write_all(&out)).await;
        self.count_replies();
        matches!(sent, Ok(Ok(())))
    }

    fn count_replies(&mut self) {
        for (counter, number) in self.stats.replies.iter().zip(self.session.take_reply_counts()) {
            if number > 0 {
                IngressStats::add(counter, number);
            }
        }
    }
}

/// How a session ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    Quit,
    Dropped,
    Gone,
}

/// Whether input waits although nothing was said yet.
fn spoke_already(stream: &TcpStream) -> bool {
    // tokio learns of readiness only later; the (non-blocking) socket itself knows now.
    let mut octet = [MaybeUninit::uninit()];
    SockRef::from(stream).peek(&mut octet).is_ok_and(|octets| octets > 0)
}

/// Ends our side and reads the rest of theirs, within bounds.
async fn linger(stream: &mut TcpStream) {
    let rest = async {
        if stream.shutdown().await.is_err() {
            return;
        }
        let mut left = LINGER_OCTETS;
        let mut waste = [0; 4096];
        while let Ok(octets @ 1..) = stream.read(&mut waste).await {
            left = left.saturating_sub(octets);
            if left == 0 {
                return;
            }
        }
    };
    // Too slow or too much: then the reply may be lost, as it would without lingering.
    let _ = timeout(LINGER, rest).await;
}

/// Returns when the server stops; also when it was dropped.
pub(super) async fn told(stopped: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone.
    let _ = stopped.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests {
    use std::mem::size_of_val;

    use super::*;
    use crate::config::Listener;
    use crate::ingress::smtp::seats::Seats;
    use crate::ingress::{Accepting, Admission, Refusal};
    use crate::message::MessageId;

    struct Nobody;

    impl Admission for Nobody {
        fn ready(&self) -> Result<(), Refusal> {
            Ok(())
        }
    }

    impl Intake for Nobody {
        fn accept(&self, _: Transaction) -> Accepting<'_> {
            Box::pin(async { Ok(MessageId(1)) })
        }
    }

    fn connection() -> Connection {
        let trust = vec!["127.0.0.0/8".parse().expect("valid")];
        let listener = Listener { trust, ..Listener::at("127.0.0.1:0".parse().expect("valid")) };
        let (seats, stats) = (Arc::new(Seats::new(&listener)), Arc::<IngressStats>::default());
        let hostname = "relay.example.net".parse().expect("valid");
        let terms = Arc::new(Terms { index: 0, hostname, listener });
        let session = Session::new(Arc::clone(&terms), "127.0.0.1:4000".parse().expect("valid"));
        let intake: Arc<dyn Intake> = Arc::new(Nobody);
        let load = Load::new(&seats, &stats, &intake);
        Connection::new(session, Arc::new(RwLock::new(terms)), intake, stats, watch::channel(false).1, load)
    }

    /// What the client says, in pieces as the buffer has room for them; what the connection holds when it waits again.
    async fn hears(connection: &mut Connection, stream: &mut TcpStream, mut said: &[u8]) -> usize {
        while !said.is_empty() {
            connection.make_room();
            let spare = connection.input.capacity() - connection.input.len();
            let (now, later) = said.split_at(spare.min(said.len()));
            connection.input.extend_from_slice(now);
            connection.flows = now.len() == spare;
            said = later;
            if let Effect::Deliver(transaction) = connection.advance() {
                connection.deliver(*transaction).await;
                connection.advance();
            }
            assert!(connection.flush(stream).await);
        }
        connection.make_room();
        connection.input.capacity() + connection.out.capacity()
    }

    #[tokio::test]
    async fn a_connection_that_waits_for_a_command_holds_little() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("address");
        let (ours, theirs) = tokio::join!(listener.accept(), TcpStream::connect(address));
        let (mut stream, _client) = (ours.expect("accepted").0, theirs.expect("connected"));
        let mut connection = connection();
        connection.session.greet(false, &mut connection.out);
        assert!(connection.flush(&mut stream).await);
        let recipients = "RCPT TO:<someone@example.org>\r\n".repeat(500);
        for said in ["", "EHLO client.example\r\n", "MAIL FROM:<a@example.org>\r\n", &recipients, "NOOP\r\n"] {
            let held = hears(&mut connection, &mut stream, said.as_bytes()).await;
            assert!(held <= SMALL || said.len() > SMALL && held <= 2 * READ, "{held} octets behind {:.20}", said);
        }
        let held = hears(&mut connection, &mut stream, b"DATA\r\n").await;
        assert!((READ / 4..=2 * READ).contains(&held), "{held}");
        let text = format!("{}\r\n.\r\n", "x".repeat(100_000));
        hears(&mut connection, &mut stream, text.as_bytes()).await;
        let held = hears(&mut connection, &mut stream, b"NOOP\r\n").await;
        assert!(held <= SMALL, "{held} octets when the message is gone");
    }

    #[tokio::test]
    async fn the_task_of_a_connection_is_small() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("address");
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let octets = size_of_val(&connection().run(&mut stream));
        assert!(octets <= 3072, "{octets} octets for each connection");
    }
}
