//! One connection: a [`Session`] between a socket and the [`Intake`].
//!
//! Reads, lets the session go as far as it can, sends all its replies in one write, and so on until it says that it is
//! over. Every wait has the idle limit and ends when the server stops.

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

use super::session::{Effect, Session, Terms};
use crate::ingress::{IngressStats, Intake, Transaction};

/// How long a stranger's report may take from `354` to its final dot: longer than the block time-out of RFC 5321 §4.5.3.2.5
/// for any mail of a few blocks, and short enough that nobody keeps others out by sending an octet now and then.
const REPORT_TIME: Duration = Duration::from_secs(10 * 60);
/// Octets asked of the kernel at a time.
const READ: usize = 16 * 1024;
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
    intake: Arc<dyn Intake>,
    stats: Arc<IngressStats>,
    stopped: watch::Receiver<bool>,
    input: BytesMut,
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
    ) -> Self {
        let idle = terms.read().listener.idle_timeout;
        Self { session, terms, idle, intake, stats, stopped, input: BytesMut::new(), out: Vec::new(), deadline: None }
    }

    /// Serves until the session is over. The stream is left to the caller to close.
    pub(super) async fn run(mut self, stream: &mut TcpStream) {
        let ended = self.serve(stream).await;
        self.count_replies();
        if ended == Ended::Dropped {
            linger(stream).await;
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
        if self.input.capacity() - self.input.len() < READ / 4 {
            self.input.reserve(READ);
        }
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
        let read = timeout(self.idle, stream.read_buf(&mut self.input));
        tokio::select! {
            biased;
            () = told(&mut self.stopped), if !told_to_stop => Arrived::Stop,
            () = over => Arrived::TooSlow,
            read = read => match read {
                Ok(Ok(0) | Err(_)) => Arrived::Gone,
                Ok(Ok(_)) => Arrived::Input,
                Err(_) => Arrived::Silence,
            },
        }
    }

    /// Sends what was written; `false` when the client is gone or takes nothing any more.
    async fn flush(&mut self, stream: &mut TcpStream) -> bool {
        if self.out.is_empty() {
            return true;
        }
        let sent = timeout(self.idle, stream.write_all(&self.out)).await;
        self.out.clear();
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
