//! What stands behind the sockets of one listener: a seat and a session for each who comes, until it ends.
//!
//! A seat is taken before anything is waited for: a balancer's header, a handshake, a command.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::RwLock;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::connection::{Connection, Place};
use super::seats::Seats;
use super::session::{TOO_MANY_CONNECTIONS, Terms, client_key};
use super::sockets::Came;
use crate::config::TlsMode;
use crate::ingress::tls::{Acceptor, Certificates};
use crate::ingress::{IngressStats, Intake};

/// By what new sessions begin: the terms, and what they shake hands with.
#[derive(Clone)]
pub(super) struct Posted {
    pub(super) terms: Arc<Terms>,
    pub(super) tls: Option<Acceptor>,
}

impl Posted {
    pub(super) fn of(terms: Terms, certificates: &Arc<Certificates>) -> Self {
        let has_tls = terms.listener.tls != TlsMode::Off;
        let tls = has_tls.then(|| certificates.acceptor(&terms.listener.certificates)).flatten();
        Self { terms: Arc::new(terms), tls }
    }

    /// Whether there is a certificate to show now.
    pub(super) fn is_ready(&self) -> bool {
        self.tls.as_ref().is_some_and(Acceptor::is_ready)
    }
}

/// How far a listener has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Takes connections.
    Open,
    /// Takes none; its sessions go on.
    Closed,
    /// Its sessions are to end.
    Stopping,
}

/// One listener being served.
pub(super) struct Door {
    /// For new sessions.
    posted: Arc<RwLock<Posted>>,
    seats: Arc<Seats>,
    intake: Arc<dyn Intake>,
    stats: Arc<IngressStats>,
    moved: watch::Receiver<Phase>,
    /// Tells the sessions.
    stop: watch::Sender<bool>,
    stopped: watch::Receiver<bool>,
}

impl Door {
    pub(super) fn new(
        posted: &Arc<RwLock<Posted>>,
        seats: &Arc<Seats>,
        intake: &Arc<dyn Intake>,
        stats: &Arc<IngressStats>,
        moved: watch::Receiver<Phase>,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        Self {
            posted: Arc::clone(posted),
            seats: Arc::clone(seats),
            intake: Arc::clone(intake),
            stats: Arc::clone(stats),
            moved,
            stop,
            stopped,
        }
    }

    /// Takes who comes until told not to, then waits for the sessions. Dropping the future ends them.
    pub(super) async fn accept(self, mut coming: mpsc::Receiver<Came>) {
        let mut sessions = JoinSet::new();
        let mut moved = self.moved.clone();
        loop {
            tokio::select! {
                biased;
                () = reached(&mut moved, Phase::Closed) => break,
                Some(_) = sessions.join_next() => {}
                Some((stream, client)) = coming.recv() => self.admit(stream, client, &mut sessions),
            }
        }
        // Those who accept for it end; whom they have accepted is served.
        coming.close();
        while let Some((stream, client)) = coming.recv().await {
            self.admit(stream, client, &mut sessions);
        }
        let stop = self.stop;
        tokio::select! {
            () = async { while sessions.join_next().await.is_some() {} } => return,
            () = reached(&mut moved, Phase::Stopping) => {}
        }
        stop.send_replace(true);
        while sessions.join_next().await.is_some() {}
    }

    fn admit(&self, stream: TcpStream, client: SocketAddr, sessions: &mut JoinSet<()>) {
        let terms = Arc::clone(&self.posted.read().terms);
        let seat = Seats::take(&self.seats, client_key(client));
        let most = self.intake.max_sessions();
        let Some((seat, open)) = seat.and_then(|seat| Some((seat, OpenSession::take(&self.stats, most)?))) else {
            IngressStats::add(&self.stats.refused_connections, 1);
            IngressStats::add(&self.stats.replies[2], 1);
            tracing::info!(%client, listener = terms.index, "connection refused: too many");
            if terms.listener.tls != TlsMode::Implicit {
                // A new socket has room for one line; whether it arrives is the client's luck.
                let _ = SockRef::from(&stream).send(TOO_MANY_CONNECTIONS);
            }
            return;
        };
        // Without it replies may wait for the client's ACK; a socket that refuses the option still works.
        let _ = stream.set_nodelay(true);
        let connection = Connection::new(
            terms,
            client,
            Place { seat: Some(seat), seats: Arc::clone(&self.seats) },
            Arc::clone(&self.posted),
            Arc::clone(&self.intake),
            Arc::clone(&self.stats),
            self.stopped.clone(),
        );
        sessions.spawn(async move {
            let (stream, place) = connection.run(stream).await;
            // Given back before the socket closes: a client that saw the end may come again at once.
            drop((place, open));
            drop(stream);
        });
    }
}

/// Waits until a listener has come so far; one whose server is gone has.
async fn reached(moved: &mut watch::Receiver<Phase>, phase: Phase) {
    let _ = moved.wait_for(|now| *now >= phase).await;
}

/// Counts a session while it lives.
struct OpenSession(Arc<IngressStats>);

impl OpenSession {
    /// One more, unless there are `most` already.
    fn take(stats: &Arc<IngressStats>, most: u64) -> Option<Self> {
        let one_more = |open: u64| (open < most).then(|| open + 1);
        stats.sessions_open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        IngressStats::add(&stats.sessions, 1);
        Some(Self(Arc::clone(stats)))
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.0.sessions_open.fetch_sub(1, Ordering::Relaxed);
    }
}
