//! One connection: a [`Session`] between a socket and the [`Intake`].
//!
//! First what comes before the dialogue (`before`). Then it reads, lets the session go as far as it can, sends all its
//! replies in one write, and so on until it says that it is over. Every wait has the idle limit and ends when the server
//! stops.
//!
//! Thousands of clients connect and say nothing for minutes, so a connection that waits for a command holds almost nothing:
//! a buffer of [`SMALL`] octets for the command, none for replies, and a large one only while text or long groups come.

mod before;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::RwLock;
use rand::TryRngCore;
use rand::rngs::OsRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Sleep, timeout};

use self::before::spoke_already;
use super::door::Posted;
use super::patience::{Limits, Load};
use super::seats::{Seat, Seats};
use super::session::{Effect, Session, Terms, client_key};
use crate::ingress::tls::wire::Wire;
use crate::ingress::{Caller, IngressStats, Intake, Refusal, Transaction};

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

/// A place at a listener, and where to get another one when the client turns out to be somebody else.
pub(super) struct Place {
    pub(super) seat: Option<Seat>,
    pub(super) seats: Arc<Seats>,
}

impl Place {
    /// Gives the place back and takes one for this client.
    fn change(&mut self, client: SocketAddr) -> bool {
        self.seat = None;
        self.seat = Seats::take(&self.seats, client_key(client));
        self.seat.is_some()
    }
}

/// One connection being served.
pub(super) struct Connection {
    session: Session,
    /// By which new sessions begin.
    posted: Arc<RwLock<Posted>>,
    place: Place,
    /// Who is connected.
    peer: SocketAddr,
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
    /// A connection of `peer` of which nothing was read yet; `posted` has the terms by which new sessions begin, and this one.
    pub(super) fn new(
        terms: Arc<Terms>,
        peer: SocketAddr,
        place: Place,
        posted: Arc<RwLock<Posted>>,
        intake: Arc<dyn Intake>,
        stats: Arc<IngressStats>,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        let (idle, busy) = (terms.listener.idle_timeout, terms.listener.busy_idle_timeout);
        let session = Session::new(terms, peer);
        let load = Load::new(&place.seats, &stats, &intake);
        Self {
            session,
            posted,
            place,
            peer,
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

    /// Serves until the session is over. The stream is left to the caller to close, after the place was given back.
    pub(super) async fn run(mut self, stream: TcpStream) -> (Wire, Place) {
        let mut wire = Wire::Plain(stream);
        let ended = match self.begin(&mut wire).await {
            Some(effect) => self.serve(&mut wire, effect).await,
            None => Ended::Gone,
        };
        self.count_replies();
        match (ended, &wire) {
            // Boxed, as it is large and most connections never come here.
            (Ended::Dropped, _) => Box::pin(linger(&mut wire)).await,
            // The end of TLS is said, so that it cannot be taken for one that somebody else has made.
            (Ended::Quit, Wire::Tls(_)) => drop(timeout(LINGER, wire.shutdown()).await),
            _ => {}
        }
        if let Some(refusal) = self.session.last_refusal() {
            tracing::info!(
                client = %self.session.client(),
                helo = self.session.client_name().unwrap_or("-"),
                forwarded = self.session.forwarded().unwrap_or("-"),
                last_refusal = refusal,
                "smtp session had refusals"
            );
        }
        (wire, self.place)
    }

    async fn serve(&mut self, wire: &mut Wire, greeted: Effect) -> Ended {
        let mut effect = greeted;
        let mut told_to_stop = false;
        loop {
            if let Some(pause) = self.session.pause() {
                let _ = timeout(pause, told(&mut self.stopped)).await;
            }
            if !self.flush(wire).await {
                return Ended::Gone;
            }
            match effect {
                Effect::Quit => return Ended::Quit,
                Effect::Drop => return Ended::Dropped,
                Effect::StartTls => {
                    if !self.handshake(wire).await {
                        return Ended::Gone;
                    }
                    effect = self.advance();
                    continue;
                }
                Effect::Deliver(_) | Effect::Authenticate(_) | Effect::Fetch(_) | Effect::Reseat => {
                    self.act(effect).await;
                    effect = self.advance();
                    continue;
                }
                Effect::Read => {}
            }
            effect = match self.wait(wire, told_to_stop).await {
                Arrived::Input => {
                    // Only a read that filled the buffer leaves something.
                    let more = self.flows && spoke_already(wire);
                    self.session.more_waits(more);
                    self.advance()
                }
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

    /// Does what the session cannot do itself, and tells it how that ended.
    async fn act(&mut self, effect: Effect) {
        let client = self.session.client();
        let caller = Caller { ip: client.ip(), trusted: self.session.is_trusted() };
        match effect {
            Effect::Deliver(transaction) => self.deliver(*transaction).await,
            Effect::Authenticate(credentials) => {
                let answer = self.intake.authenticate(*credentials, caller).await;
                self.session.authenticated(answer, &mut self.out);
            }
            Effect::Fetch(first) => {
                let kept = self.intake.verifier(&first.user, caller).await;
                let mut nonce = [0; 18];
                // Without random numbers nobody logs in.
                let kept = match OsRng.try_fill_bytes(&mut nonce) {
                    Ok(()) => kept,
                    Err(_) => Err(Refusal::new(454, 7, 0, "temporary authentication failure")),
                };
                self.session.fetched(*first, kept, &nonce, &mut self.out);
            }
            Effect::Reseat => {
                let is_seated = self.place.change(client);
                if !is_seated {
                    IngressStats::add(&self.stats.refused_connections, 1);
                }
                tracing::debug!(%client, by = %self.peer, is_seated, "the client is another (XCLIENT)");
                self.session.reseated(is_seated, &mut self.out);
            }
            Effect::Read | Effect::StartTls | Effect::Quit | Effect::Drop => {}
        }
    }

    fn advance(&mut self) -> Effect {
        let intake = &self.intake;
        let posted = self.posted.read();
        self.session.now_by(Arc::clone(&posted.terms));
        self.session.tls_is_ready(posted.is_ready());
        drop(posted);
        self.session.advance(&mut self.input, &**intake, &mut self.out)
    }

    async fn deliver(&mut self, transaction: Transaction) {
        let (recipients, octets) = (transaction.recipients.len() as u64, transaction.body.len() as u64);
        let answer = self.intake.accept(transaction).await;
        if let Ok(id) = &answer {
            if let Some(forwarded) = self.session.forwarded() {
                tracing::info!(%id, client = %self.session.client(), forwarded, "accepted mail came from elsewhere (XFORWARD)");
            }
            IngressStats::add(&self.stats.messages, 1);
            IngressStats::add(&self.stats.recipients, recipients);
            IngressStats::add(&self.stats.bytes, octets);
        }
        self.session.answered(answer, &mut self.out);
    }

    async fn wait(&mut self, stream: &mut Wire, told_to_stop: bool) -> Arrived {
        self.make_room();
        let spare = self.input.capacity() - self.input.len();
        let calm = self.idle;
        let limits = Limits { calm, busy: if self.session.takes_message() { calm } else { self.busy } };
        if !self.session.is_timed() {
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
    async fn flush(&mut self, stream: &mut Wire) -> bool {
        if self.out.is_empty() {
            return true;
        }
        let out = std::mem::take(&mut self.out);
        let send = async {
            stream.write_all(&out).await?;
            // Of TLS something may be left.
            stream.flush().await
        };
        let sent = timeout(self.idle, send).await;
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

/// Ends our side and reads the rest of theirs, within bounds.
async fn linger(stream: &mut Wire) {
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
        let peer = "127.0.0.1:4000".parse().expect("valid");
        let intake: Arc<dyn Intake> = Arc::new(Nobody);
        let place = Place { seat: None, seats };
        let posted = Arc::new(RwLock::new(Posted { terms: Arc::clone(&terms), tls: None }));
        Connection::new(terms, peer, place, posted, intake, stats, watch::channel(false).1)
    }

    /// What the client says, in pieces as the buffer has room for them; what the connection holds when it waits again.
    async fn hears(connection: &mut Connection, stream: &mut Wire, mut said: &[u8]) -> usize {
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
        let (mut stream, _client) = (Wire::Plain(ours.expect("accepted").0), theirs.expect("connected"));
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
        let stream = TcpStream::connect(address).await.expect("connected");
        let octets = size_of_val(&connection().run(stream));
        assert!(octets <= 3072, "{octets} octets for each connection");
    }
}
