//! Sockets that are listened at, and the tasks that accept at them.
//!
//! A socket is had in two steps. [`open`] takes the address and lets nobody in, [`Opened::listen`] lets clients in: so it can be
//! asked whether an address could be had, without a client that waits at a socket which is closed again.
//!
//! An address cannot be had while one is listened at that overlaps with it, as `0.0.0.0:25` does with `127.0.0.1:25`, unless
//! both sockets, of one user, say that they share (`SO_REUSEPORT`). Where the old one is ours and is to be left, [`Sharing`]
//! has both say so, for the moment in which the new one comes; at any other time a second program at the same address is
//! the mistake that it was. The system gives a connection to the narrower one.
//!
//! Closing a socket resets whoever waits at it, with the handshake over or not. A socket that is left
//! ([`Taking::leave`]) therefore takes no further handshakes (the first segment of one is dropped by a filter; its client says
//! it again a second later, to whoever listens then), lets those under way come to their end, and closes when nobody waits, or
//! when those who wait cannot be accepted.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
#[cfg(target_os = "linux")]
use socket2::SockFilter;
use socket2::{Domain as Family, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout};

/// Connections the kernel keeps for us until they are accepted.
const BACKLOG: i32 = 1024;
/// Pause after a failed accept (no descriptors left): trying at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long handshakes that are under way at a socket that is left may take: a round trip, with room.
const HANDSHAKES: Duration = Duration::from_millis(500);

/// A connection that was accepted, and who is at its other end.
pub(super) type Came = (TcpStream, SocketAddr);

/// A socket that is listened at, with the port the system chose for 0.
pub(super) type Listened = (SocketAddr, Arc<TcpListener>);

/// Whether two sockets can be listened at side by side only if they share.
pub(super) fn overlaps(one: SocketAddr, other: SocketAddr) -> bool {
    covers(one, other) || covers(other, one)
}

/// Whether what comes to `narrow` comes to `wide` where nobody listens at `narrow`. IPv6 sockets take IPv6 only.
pub(super) fn covers(wide: SocketAddr, narrow: SocketAddr) -> bool {
    let is_kin = wide.port() == narrow.port() && wide.is_ipv4() == narrow.is_ipv4();
    wide == narrow || is_kin && wide.ip().is_unspecified()
}

/// A socket that has its address.
#[derive(Debug)]
pub(super) struct Opened {
    socket: Socket,
    /// With the port the system chose for 0.
    pub(super) address: SocketAddr,
    /// It can stand beside one that [`Sharing`] holds.
    pub(super) shares: bool,
}

/// Takes an address; nobody can connect yet. IPv6 sockets take IPv6 only, so `0.0.0.0:25` and `[::]:25` can stand side by
/// side.
pub(super) fn open(address: SocketAddr, shares: bool) -> io::Result<Opened> {
    let socket = Socket::new(Family::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shares)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    let address = socket.local_addr()?.as_socket().unwrap_or(address);
    Ok(Opened { socket, address, shares })
}

impl Opened {
    /// Lets clients in; they wait until somebody accepts.
    pub(super) fn listen(&self) -> io::Result<()> {
        self.socket.listen(BACKLOG)
    }

    /// For accepting; to be called when it listens, on a tokio runtime.
    pub(super) fn served(self) -> io::Result<Listened> {
        if self.shares {
            // Those that are there may stay side by side; nobody else comes.
            self.socket.set_reuse_port(false)?;
        }
        Ok((self.address, Arc::new(TcpListener::from_std(self.socket.into())?)))
    }
}

/// While it lives, sockets that share can be opened beside these.
pub(super) struct Sharing(Vec<Arc<TcpListener>>);

impl Sharing {
    /// For `address`: those of `loose` that overlap with it.
    pub(super) fn beside(loose: &[Listened], address: SocketAddr) -> io::Result<Self> {
        let beside = loose.iter().filter(|(known, _)| overlaps(*known, address));
        let this = Self(beside.map(|(_, socket)| Arc::clone(socket)).collect());
        this.0.iter().try_for_each(|socket| SockRef::from(&**socket).set_reuse_port(true))?;
        Ok(this)
    }

    /// Whether there is nothing to stand beside.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Drop for Sharing {
    fn drop(&mut self) {
        for socket in &self.0 {
            // Where it stays, a second program of the same user could listen too: no harm to what goes on here.
            let _ = SockRef::from(&**socket).set_reuse_port(false);
        }
    }
}

/// Lets clients in at all of `new`, of which some stand beside those of `loose`. Those that take from nobody come first: where
/// they fail, nobody has come to the others. An error says which.
pub(super) fn listen(new: Vec<Opened>, loose: &[Listened]) -> Result<Vec<Listened>, (SocketAddr, io::Error)> {
    let bad = |address| move |error| (address, error);
    for shares in [false, true] {
        for opened in new.iter().filter(|opened| opened.shares == shares) {
            let _sharing = Sharing::beside(loose, opened.address).map_err(bad(opened.address))?;
            opened.listen().map_err(bad(opened.address))?;
        }
    }
    let served = |opened: Opened| {
        let address = opened.address;
        opened.served().map_err(bad(address))
    };
    new.into_iter().map(served).collect()
}

/// A socket at which a task accepts. Dropping it ends the task, and loses nobody who was accepted.
#[derive(Debug)]
pub(super) struct Taking {
    pub(super) address: SocketAddr,
    pub(super) socket: Arc<TcpListener>,
    is_left: watch::Sender<bool>,
    /// Whether another accepts there: then who did before refuses no more handshakes.
    is_back: Arc<Mutex<bool>>,
    acceptor: AbortHandle,
    task: JoinSet<()>,
}

/// A [`Taking`] that is being left, as long as it is there.
#[derive(Debug)]
pub(super) struct Left {
    address: SocketAddr,
    socket: Weak<TcpListener>,
    is_back: Arc<Mutex<bool>>,
    acceptor: AbortHandle,
}

impl Taking {
    /// Accepts for `to`.
    pub(super) fn start(address: SocketAddr, socket: Arc<TcpListener>, to: mpsc::Sender<Came>) -> Self {
        let (is_left, left) = watch::channel(false);
        let mut task = JoinSet::new();
        let is_back = Arc::<Mutex<bool>>::default();
        let acceptor = task.spawn(take((address, Arc::clone(&socket)), to, left, Arc::clone(&is_back)));
        Self { address, socket, is_left, is_back, acceptor, task }
    }

    /// Accepts for somebody else from now on.
    pub(super) fn give(self, to: mpsc::Sender<Came>) -> Self {
        Self::start(self.address, Arc::clone(&self.socket), to)
    }

    /// What [`Taking::leave`] will leave, for whoever wants the address back before it is over.
    pub(super) fn left(&self) -> Left {
        let (socket, is_back) = (Arc::downgrade(&self.socket), Arc::clone(&self.is_back));
        Left { address: self.address, socket, is_back, acceptor: self.acceptor.clone() }
    }

    /// Takes those who have come, and closes.
    pub(super) async fn leave(mut self) {
        self.is_left.send_replace(true);
        self.ended().await;
    }

    /// Waits for the end of the task, which is that of who accepts for, too.
    pub(super) async fn ended(&mut self) {
        while self.task.join_next().await.is_some() {}
    }
}

impl Left {
    /// Its address and its socket, where it is still there.
    pub(super) fn there(&self) -> Option<Listened> {
        Some((self.address, self.socket.upgrade()?))
    }

    /// Takes it back: handshakes begin again, and who left it does not accept there any more.
    pub(super) fn back(self) -> Option<Listened> {
        let (address, socket) = self.there()?;
        self.acceptor.abort();
        *self.is_back.lock() = true;
        take_handshakes(&socket);
        Some((address, socket))
    }
}

async fn take(
    (address, socket): Listened,
    to: mpsc::Sender<Came>,
    mut is_left: watch::Receiver<bool>,
    is_back: Arc<Mutex<bool>>,
) {
    let mut closes = None;
    loop {
        // Asked before each accept: one that fails at once, for want of descriptors, is always the first that is ready.
        if closes.is_none() && *is_left.borrow() {
            let is_back = is_back.lock();
            if *is_back {
                return;
            }
            if let Err(error) = refuse_handshakes(&socket) {
                tracing::debug!(%error, listener = %address, "handshakes go on until the socket is closed");
            }
            drop(is_back);
            closes = Some(Instant::now() + HANDSHAKES);
        }
        // Before anybody is accepted: whoever is has a place, and is lost at no moment at which this may end.
        let Ok(place) = to.reserve().await else { return };
        let closed = async {
            match closes {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            accepted = socket.accept() => match accepted {
                Ok(came) => place.send(came),
                // One who waited has gone, and says nothing about the next.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) if closes.is_some_and(|at| at <= Instant::now()) => return,
                Err(error) => {
                    tracing::warn!(%error, listener = %address, "cannot accept connections");
                    drop(place);
                    let _ = timeout(ACCEPT_PAUSE, to.closed()).await;
                }
            },
            () = to.closed() => return,
            () = closed => return,
            // The next turn of the loop sees to it.
            () = left(&mut is_left), if closes.is_none() => {}
        }
    }
}

/// From now on no connection begins at this socket; those whose handshake has begun come to their end.
#[cfg(target_os = "linux")]
fn refuse_handshakes(socket: &TcpListener) -> io::Result<()> {
    // Drops the segments of TCP that have SYN (0x02) among their flags (octet 13), and lets all others pass.
    SockRef::from(socket).attach_filter(&[
        SockFilter::new(0x30, 0, 0, 13),       // load octet
        SockFilter::new(0x45, 0, 1, 0x02),     // any of these bits? else over the next
        SockFilter::new(0x06, 0, 0, 0),        // drop
        SockFilter::new(0x06, 0, 0, u32::MAX), // pass
    ])
}

#[cfg(not(target_os = "linux"))]
fn refuse_handshakes(_socket: &TcpListener) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(target_os = "linux")]
fn take_handshakes(socket: &TcpListener) {
    // There is no filter where none could be set.
    let _ = SockRef::from(socket).detach_filter();
}

#[cfg(not(target_os = "linux"))]
fn take_handshakes(_socket: &TcpListener) {}

/// Waits until the socket is left; forever where it never will be.
async fn left(is_left: &mut watch::Receiver<bool>) {
    if is_left.wait_for(|is_left| *is_left).await.is_err() {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_the_addresses_of_its_family_and_port() {
        let table = [
            ("0.0.0.0:25", "127.0.0.1:25", true, true),
            ("127.0.0.1:25", "0.0.0.0:25", false, true),
            ("127.0.0.1:25", "127.0.0.1:25", true, true),
            ("0.0.0.0:25", "127.0.0.1:26", false, false),
            ("127.0.0.1:25", "127.0.0.2:25", false, false),
            ("[::]:25", "[::1]:25", true, true),
            ("[::]:25", "127.0.0.1:25", false, false),
            ("0.0.0.0:25", "[::1]:25", false, false),
        ];
        for (one, other, is_covered, is_overlap) in table {
            let (one, other) = (one.parse().expect("valid"), other.parse().expect("valid"));
            assert_eq!((covers(one, other), overlaps(one, other)), (is_covered, is_overlap), "{one} {other}");
        }
    }

    #[tokio::test]
    async fn who_waits_at_a_socket_that_is_left_is_taken_and_nobody_after() {
        let opened = open("127.0.0.1:0".parse().expect("valid"), false).expect("bound");
        opened.listen().expect("listening");
        let (address, socket) = opened.served().expect("served");
        // Handshakes are over before anybody accepts.
        let waiting: Vec<_> = (0..20).map(|_| std::net::TcpStream::connect(address).expect("in the backlog")).collect();
        let (to, mut came) = mpsc::channel(1);
        let taking = Taking::start(address, socket, to);
        let left = taking.left();
        let leaving = tokio::spawn(taking.leave());
        for _ in &waiting {
            assert!(came.recv().await.is_some());
        }
        assert!(came.recv().await.is_none(), "nobody is reset, nobody comes after");
        leaving.await.expect("left");
        assert!(left.there().is_none());
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn a_socket_that_is_left_closes_though_nobody_can_be_accepted() {
        let opened = open("127.0.0.1:0".parse().expect("valid"), false).expect("bound");
        opened.listen().expect("listening");
        let (address, socket) = opened.served().expect("served");
        // Now each accept fails at once, as it does where no descriptors are left.
        SockRef::from(&*socket).shutdown(std::net::Shutdown::Both).expect("shut down");
        let failed = timeout(Duration::from_secs(10), socket.accept()).await.expect("at once");
        assert!(failed.is_err());
        let (to, _came) = mpsc::channel(1);
        let taking = Taking::start(address, socket, to);
        tokio::task::yield_now().await;
        let left = taking.left();
        timeout(Duration::from_secs(10), taking.leave()).await.expect("closed");
        assert!(left.there().is_none());
    }

    #[tokio::test]
    async fn a_socket_that_is_being_left_can_be_had_back() {
        let opened = open("127.0.0.1:0".parse().expect("valid"), false).expect("bound");
        opened.listen().expect("listening");
        let (address, socket) = opened.served().expect("served");
        let (to, _old) = mpsc::channel(1);
        let taking = Taking::start(address, socket, to);
        let left = taking.left();
        let leaving = tokio::spawn(taking.leave());
        tokio::task::yield_now().await;
        let (address, socket) = left.back().expect("still there");
        leaving.await.expect("left");
        let (to, mut came) = mpsc::channel(1);
        let _taking = Taking::start(address, socket, to);
        let _client = TcpStream::connect(address).await.expect("connected");
        assert!(came.recv().await.is_some());
    }
}
