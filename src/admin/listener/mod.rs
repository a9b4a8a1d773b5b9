//! Where connections come in, plain or by TLS, and how many and how long.
//!
//! [`axum`] takes connections that are ready: this accepts them, has the TLS handshake done in a task of its own with a
//! deadline ([`HANDSHAKE`]), counts them, in all and by client, and puts deadlines on them ([`watched`]).

pub mod tls;
mod watched;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;

use watched::Watched;

use crate::ingress::tls::wire::Wire;

/// Connections at a time.
const MOST: usize = 256;
/// Of those, from elsewhere than this machine: whoever fills them does not keep its operator out.
const FAR: usize = 224;
/// From one client: an address, of IPv6 a /64, which is what one host has.
const PER_CLIENT: usize = 128;
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// From the first octet of a request to the first of its answer.
const REQUEST: Duration = Duration::from_secs(60);
/// After a connection could not be accepted (no file descriptor left, say).
const PAUSE: Duration = Duration::from_millis(200);

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Their address.
    pub address: SocketAddr,
    /// The address of ours that they came to.
    pub local: SocketAddr,
    /// Whether it is TLS.
    pub is_tls: bool,
}

impl Connected<IncomingStream<'_, Door>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.io().peer
    }
}

/// How many connections there may be, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// At a time.
    pub most: usize,
    /// Of those, from elsewhere than this machine.
    pub far: usize,
    /// From one client: an address, of IPv6 a /64.
    pub per_client: usize,
    /// From the first octet of a request to the first of its answer.
    pub request: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { most: MOST, far: FAR, per_client: PER_CLIENT, request: REQUEST }
    }
}

/// Connections that are open.
#[derive(Default)]
struct Open {
    by_client: HashMap<IpAddr, usize>,
    /// Those from elsewhere than this machine.
    far: usize,
}

type Counts = Arc<Mutex<Open>>;

/// Who is one client.
fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        other => other,
    }
}

/// A place among the connections of a client; dropping it gives it back.
struct Place {
    counts: Counts,
    client: IpAddr,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Place {
    fn take(counts: &Counts, address: IpAddr, permit: Option<OwnedSemaphorePermit>, limits: Limits) -> Option<Self> {
        let client = client_of(address);
        let is_far = !client.is_loopback();
        let mut open = counts.lock();
        let count = open.by_client.get(&client).copied().unwrap_or_default();
        if count >= limits.per_client || is_far && open.far >= limits.far {
            return None;
        }
        open.by_client.insert(client, count + 1);
        open.far += usize::from(is_far);
        drop(open);
        Some(Self { counts: Arc::clone(counts), client, _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.counts.lock();
        open.far = open.far.saturating_sub(usize::from(!self.client.is_loopback()));
        if let Some(count) = open.by_client.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                open.by_client.remove(&self.client);
            }
        }
    }
}

/// One connection, ready for requests.
pub struct Connection {
    wire: Watched<Wire>,
    peer: Peer,
    _place: Place,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(context)
    }
}

/// What [`axum`] takes connections from.
pub struct Door {
    ready: mpsc::Receiver<Connection>,
    local: SocketAddr,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Door {
    /// Begins to accept, by TLS where an acceptor is given.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn open(listener: TcpListener, tls: Option<TlsAcceptor>) -> io::Result<Self> {
        Self::open_with(listener, tls, Limits::default())
    }

    /// As [`Door::open`], with limits of its own.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn open_with(listener: TcpListener, tls: Option<TlsAcceptor>, limits: Limits) -> io::Result<Self> {
        let local = listener.local_addr()?;
        let (sender, ready) = mpsc::channel(limits.most.min(MOST));
        let accepting = tokio::spawn(accept(listener, tls, sender, limits));
        Ok(Self { ready, local, accepting })
    }
}

impl Listener for Door {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        match self.ready.recv().await {
            Some(connection) => {
                let address = connection.peer.address;
                (connection, address)
            }
            // The task is gone, as at the end of the program: nobody comes any more.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, ready: mpsc::Sender<Connection>, limits: Limits) {
    let places = Arc::new(Semaphore::new(limits.most.min(Semaphore::MAX_PERMITS)));
    let counts = Counts::default();
    loop {
        // Who comes when all places are taken waits in the backlog.
        let Ok(permit) = Arc::clone(&places).acquire_owned().await else { return };
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a connection to the HTTP side could not be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Some(place) = Place::take(&counts, address.ip(), Some(permit), limits) else { continue };
        let Ok(local) = stream.local_addr() else { continue };
        // Small answers go out at once; where that cannot be set they go out later.
        let _ = stream.set_nodelay(true);
        let peer = Peer { address, local, is_tls: tls.is_some() };
        let (tls, ready) = (tls.clone(), ready.clone());
        tokio::spawn(async move {
            let wire = match tls {
                None => Wire::Plain(stream),
                Some(tls) => match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                    Ok(Ok(stream)) => Wire::Tls(Box::new(stream)),
                    Ok(Err(error)) => return tracing::debug!(client = %address, %error, "no TLS with a client"),
                    Err(_) => return tracing::debug!(client = %address, "no TLS with a client in time"),
                },
            };
            // An error means that nobody serves any more.
            drop(ready.send(Connection { wire: Watched::new(wire, limits.request), peer, _place: place }).await);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_so_many_places_and_this_machine_some_of_its_own() {
        let counts = Counts::default();
        let take =
            |address: String| Place::take(&counts, address.parse().expect("an address"), None, Limits::default());
        let one: Vec<Place> = (0..200).filter_map(|n| take(format!("2001:db8::{n:x}"))).collect();
        assert_eq!(one.len(), PER_CLIENT, "a /64 is one host");
        let more: Vec<Place> = (0..200).filter_map(|n| take(format!("192.0.2.{n}"))).collect();
        assert_eq!(one.len() + more.len(), FAR);
        let near: Vec<Place> = (0..40).filter_map(|n| take(format!("127.0.0.{n}"))).collect();
        assert_eq!(near.len(), 40, "the operator gets in");
        drop((one, more, near));
        assert!(counts.lock().by_client.is_empty() && counts.lock().far == 0);
    }
}
