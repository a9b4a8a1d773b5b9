//! What comes before the dialogue: the header of a balancer (PROXY protocol), then the handshake of implicit TLS; and the
//! handshake of STARTTLS, which is the same.
//!
//! All of it has a deadline, ends when the server stops, and holds the seat that was taken when the connection came. Once a
//! balancer has said who its client is, the seat is that client's. Where it has not (`UNKNOWN`, `LOCAL`), the client is
//! nobody known, and the balancer's own address makes it neither trusted nor private.

use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::{Connection, told};
use crate::config::TlsMode;
use crate::ingress::IngressStats;
use crate::ingress::proxy::{self, Read};
use crate::ingress::smtp::session::{Effect, Session, TOO_MANY_CONNECTIONS};
use crate::ingress::tls::wire::Wire;
use crate::ingress::tls::{self, HANDSHAKE};

/// How long the header of a balancer may take; it sends it before anything else.
const PROXY_TIME: Duration = Duration::from_secs(10);

impl Connection {
    /// What comes before the greeting: a balancer's header, a handshake. `None` where it comes to no session.
    pub(super) async fn begin(&mut self, wire: &mut Wire) -> Option<Effect> {
        let terms = Arc::clone(&self.posted.read().terms);
        let peer = self.peer.ip().to_canonical();
        if terms.listener.proxy_protocol.iter().any(|network| network.contains(&peer)) {
            let named = self.client_of_proxy(wire).await?;
            self.session = Session::proxied(Arc::clone(&terms), named, self.peer);
            let client = self.session.client();
            if !self.place.change(self.session.client()) {
                IngressStats::add(&self.stats.refused_connections, 1);
                tracing::info!(%client, proxy = %self.peer, "connection refused: too many");
                if terms.listener.tls != TlsMode::Implicit {
                    self.out.extend_from_slice(TOO_MANY_CONNECTIONS);
                    self.flush(wire).await;
                }
                return None;
            }
        }
        if terms.listener.tls == TlsMode::Implicit && !self.handshake(wire).await {
            return None;
        }
        Some(self.session.greet(spoke_already(wire), &mut self.out))
    }

    /// Reads the header of a balancer: who its client is, `None` inside where it does not say.
    async fn client_of_proxy(&mut self, wire: &mut Wire) -> Option<Option<SocketAddr>> {
        let mut header = Vec::new();
        let read = async {
            loop {
                match proxy::read(&header) {
                    Read::Header(client) => return Ok(client),
                    Read::Bad(what) => return Err(what),
                    Read::More(octets) => {
                        let at = header.len();
                        header.resize(at + octets, 0);
                        // No more than that: what follows belongs to somebody else.
                        match wire.read(&mut header[at..]).await {
                            Ok(0) | Err(_) => return Err("the connection ended"),
                            Ok(read) => header.truncate(at + read),
                        }
                    }
                }
            }
        };
        let why = tokio::select! {
            biased;
            () = told(&mut self.stopped) => return None,
            read = timeout(PROXY_TIME.min(self.idle), read) => match read {
                Ok(Ok(client)) => return Some(client),
                Ok(Err(why)) => why,
                Err(_) => "it did not come in time",
            },
        };
        IngressStats::add(&self.stats.refused_proxies, 1);
        tracing::warn!(proxy = %self.peer, why, "connection refused: no header of the PROXY protocol");
        None
    }

    /// Shakes hands; `false` where that fails, and nothing of the connection is left.
    pub(super) async fn handshake(&mut self, wire: &mut Wire) -> bool {
        let (client, acceptor) = (self.session.client(), self.posted.read().tls.clone());
        let (Wire::Plain(stream), Some(acceptor)) = (wire.take(), acceptor) else { return false };
        let shaken = tokio::select! {
            biased;
            () = told(&mut self.stopped) => return false,
            // On the heap, and only as long as it lasts.
            shaken = Box::pin(acceptor.accept(stream, HANDSHAKE.min(self.idle))) => shaken,
        };
        match shaken {
            Ok((stream, facts)) => {
                tracing::debug!(%client, tls = facts.words(), "TLS");
                *wire = Wire::Tls(stream);
                self.session.encrypted(&facts);
                true
            }
            Err(error) => {
                tracing::info!(%client, %error, "no TLS with a client");
                false
            }
        }
    }
}

/// Whether input waits that was not read yet.
pub(super) fn spoke_already(wire: &mut Wire) -> bool {
    match wire {
        Wire::Plain(stream) => {
            // tokio learns of readiness only later; the (non-blocking) socket itself knows now.
            let mut octet = [MaybeUninit::uninit()];
            SockRef::from(&*stream).peek(&mut octet).is_ok_and(|octets| octets > 0)
        }
        Wire::Tls(stream) => tls::spoke_already(stream),
        Wire::Gone => false,
    }
}
