//! Listeners: sockets, limits of connections, coming and going, stopping.
//!
//! One task accepts per listener, one task serves per connection; a session task owns its buffers and talks to the
//! rest only through the [`Intake`]. Listening is two steps: [`bind`] early, so that a mistaken address is known before
//! anything else starts, and [`Bound::start`] when the spool has recovered; clients that connect in between wait in
//! the kernel's backlog.
//!
//! When the configuration changes, listeners are known again by the address that is written (port 0 is the same port 0): those
//! keep their socket, and new sessions have the new terms. One that would be gone is known again, too, where a new address
//! covers its own (`0.0.0.0:25` for `127.0.0.1:25`): it has moved, and its sessions and counts with it. The other way it is
//! gone, and the narrower one is new: its terms may be such (AUTH in clear text, who is trusted) as are meant for nobody who
//! could reach the wider address. Sockets that a new address covers are kept beside its own, so that who comes there waits at
//! no closed door. What is new is bound before anything is touched ([`Server::bind_new`]), and listened at as the last that may
//! fail ([`Server::change`]). What is gone takes those who have come and no others; its sessions go on by the terms they began
//! with, for the grace, and are then ended as when the program stops.
//!
//! Stopping: the sockets close, sessions between messages get `421`, a message on its way may finish within the
//! grace. What is cut off then was never answered, so its client still has it. Nothing is opened after that.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::connection::told;
use super::door::{Door, Phase, Posted};
use super::seats::Seats;
use super::session::Terms;
use super::sockets::{self, Came, Left, Opened, Sharing, Taking};
use crate::config::Listener;
use crate::ingress::tls::Certificates;
use crate::ingress::{IngressStats, Intake};
use crate::message::Domain;

/// Connections that were accepted and are not looked at yet, and sockets at which the next is waited for, each of which has a
/// place for it already: far more than the sockets of one listener. Places take room only when they are used.
const CAME: usize = 4096;

/// Why a listener was not opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The system said no.
    #[error("listener {address}: {source}")]
    Address {
        /// The address of the configuration.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The server was told to stop.
    #[error("listeners stay as they are: the relay is stopping")]
    Stopping,
}

/// Listeners that are open but not served yet.
#[derive(Debug)]
pub struct Bound {
    sockets: Vec<(Opened, Terms)>,
}

/// Opens all listeners. IPv6 sockets take IPv6 only, so `0.0.0.0:25` and `[::]:25` can stand side by side.
pub fn bind(listeners: &[Listener], hostname: &Domain) -> Result<Bound, BindError> {
    let listening = |address| {
        let opened = sockets::open(address, false);
        opened
            .and_then(|opened| opened.listen().map(|()| opened))
            .map_err(|source| BindError::Address { address, source })
    };
    let open =
        |(index, listener): (usize, &Listener)| Ok((listening(listener.address)?, terms(index, listener, hostname)));
    Ok(Bound { sockets: listeners.iter().enumerate().map(open).collect::<Result<_, _>>()? })
}

fn terms(index: usize, listener: &Listener, hostname: &Domain) -> Terms {
    Terms { index, hostname: hostname.clone(), listener: listener.clone() }
}

impl Bound {
    /// The addresses that are listened on, in the order of the configuration, with the ports the system chose for 0.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(|(opened, _)| opened.address).collect()
    }

    /// Starts to serve. Must be called on a tokio runtime.
    pub fn start(self, intake: Arc<dyn Intake>, stats: Arc<IngressStats>) -> io::Result<Server> {
        self.start_with(intake, stats, Certificates::none())
    }

    /// As [`Bound::start`], with these certificates for listeners that have TLS.
    pub fn start_with(
        self,
        intake: Arc<dyn Intake>,
        stats: Arc<IngressStats>,
        certificates: Arc<Certificates>,
    ) -> io::Result<Server> {
        let (stopped, ending) = (watch::Sender::new(false), JoinSet::new());
        let mut served = Served { listeners: Vec::new(), left: Vec::new(), ending, stopped };
        for (opened, terms) in self.sockets {
            let (address, socket) = opened.served()?;
            let mut listening = Listening::new(address, terms, &certificates, &intake, &stats);
            listening.take_at(address, socket);
            served.listeners.push(listening);
        }
        Ok(Server { intake, stats, certificates, served: Mutex::new(served) })
    }
}

/// The running SMTP server. Dropping it cuts all sessions off; [`Server::stop`] is kinder.
pub struct Server {
    intake: Arc<dyn Intake>,
    stats: Arc<IngressStats>,
    certificates: Arc<Certificates>,
    served: Mutex<Served>,
}

struct Served {
    /// In the order of the configuration.
    listeners: Vec<Listening>,
    /// Sockets that are about to close, and some that are closed.
    left: Vec<Left>,
    /// Listeners and sockets that are gone, until their sessions have ended and nobody waits.
    ending: JoinSet<()>,
    /// Nothing is opened any more, and those that are gone have no more time.
    stopped: watch::Sender<bool>,
}

/// One listener that is served.
struct Listening {
    /// With the port the system chose for 0.
    address: SocketAddr,
    /// That address, and what it covers and was listened at before.
    takings: Vec<Taking>,
    came: mpsc::Sender<Came>,
    posted: Arc<RwLock<Posted>>,
    seats: Arc<Seats>,
    phase: watch::Sender<Phase>,
    door: JoinSet<()>,
}

impl Listening {
    /// One that takes nothing yet.
    fn new(
        address: SocketAddr,
        terms: Terms,
        certificates: &Arc<Certificates>,
        intake: &Arc<dyn Intake>,
        stats: &Arc<IngressStats>,
    ) -> Self {
        let seats = Arc::new(Seats::new(&terms.listener));
        let posted = Arc::new(RwLock::new(Posted::of(terms, certificates)));
        let (phase, moved) = watch::channel(Phase::Open);
        let (came, coming) = mpsc::channel(CAME);
        let door = Door::new(&posted, &seats, intake, stats, moved);
        let mut task = JoinSet::new();
        task.spawn(door.accept(coming));
        Self { address, takings: Vec::new(), came, posted, seats, phase, door: task }
    }

    /// As it is written.
    fn wanted(&self) -> SocketAddr {
        self.posted.read().terms.listener.address
    }

    fn take_at(&mut self, address: SocketAddr, socket: Arc<TcpListener>) {
        self.takings.push(Taking::start(address, socket, self.came.clone()));
    }

    /// Waits for the end of its sessions.
    async fn ended(&mut self) {
        while self.door.join_next().await.is_some() {}
    }

    /// New sessions, and those that are there, have these terms.
    fn follow(&mut self, terms: Terms, certificates: &Arc<Certificates>) {
        self.seats.resize(&terms.listener);
        *self.posted.write() = Posted::of(terms, certificates);
    }
}

/// Where each listener of a configuration comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whence {
    /// The one that is served with this number.
    Kept(usize),
    /// That one, which listened at an address that this one covers.
    Moved(usize),
    /// None of them.
    New,
}

impl Served {
    fn may_open(&self) -> Result<(), BindError> {
        if *self.stopped.borrow() { Err(BindError::Stopping) } else { Ok(()) }
    }

    fn whence(&self, listeners: &[Listener]) -> Vec<Whence> {
        let mut free: Vec<Option<&Listening>> = self.listeners.iter().map(Some).collect();
        let mut find = |is: &dyn Fn(&Listening) -> bool| {
            let at = free.iter().position(|listening| listening.is_some_and(is))?;
            free[at] = None;
            Some(at)
        };
        let kept =
            |listener: &Listener| find(&|known| known.wanted() == listener.address).map_or(Whence::New, Whence::Kept);
        let mut all: Vec<Whence> = listeners.iter().map(kept).collect();
        for (from, listener) in all.iter_mut().zip(listeners) {
            // Those who came to a wider address came by other terms, and stay with them.
            let is_covered = |known: &Listening| sockets::covers(listener.address, known.address);
            if *from == Whence::New
                && let Some(at) = find(&is_covered)
            {
                *from = Whence::Moved(at);
            }
        }
        all
    }

    /// Sockets that nobody wants as they are: an address that overlaps with theirs can be had.
    fn loose(&self, from: &[Whence]) -> Vec<sockets::Listened> {
        let of_gone = self.listeners.iter().enumerate().filter(|(at, _)| !from.contains(&Whence::Kept(*at)));
        let of_gone = of_gone.flat_map(|(_, gone)| gone.takings.iter().map(|t| (t.address, Arc::clone(&t.socket))));
        of_gone.chain(self.left.iter().filter_map(Left::there)).collect()
    }
}

/// Sockets of listeners that are new in a configuration.
#[derive(Debug)]
pub struct NewListeners {
    opened: Vec<Opened>,
    /// Sockets that are there and to be served again: they do not close in between.
    _had: Vec<Arc<TcpListener>>,
}

impl Server {
    /// The certificates that listeners show.
    pub fn certificates(&self) -> &Arc<Certificates> {
        &self.certificates
    }

    /// The addresses that are listened on, in the order of the configuration, with the ports the system chose for 0.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.served.lock().listeners.iter().map(|listening| listening.address).collect()
    }

    /// Opens what `listeners` has beyond what is served, for [`Server::change`]. Nobody can connect yet. Dropping it closes
    /// them again.
    ///
    /// # Errors
    /// One of them cannot be listened at, or the server was told to stop; then none is.
    pub fn bind_new(&self, listeners: &[Listener]) -> Result<NewListeners, BindError> {
        for (at, Listener { address, .. }) in listeners.iter().enumerate().filter(|(_, l)| l.address.port() > 0) {
            // They would share while the change is made, and could not be had at the next start.
            if listeners[..at].iter().any(|other| sockets::overlaps(other.address, *address)) {
                return Err(BindError::Address { address: *address, source: io::ErrorKind::AddrInUse.into() });
            }
        }
        let served = self.served.lock();
        served.may_open()?;
        let from = served.whence(listeners);
        let loose = served.loose(&from);
        let (mut opened, mut had) = (Vec::new(), Vec::new());
        for (from, Listener { address, .. }) in from.iter().zip(listeners) {
            if matches!(from, Whence::Kept(_)) {
                continue;
            }
            if let Some((_, socket)) = loose.iter().find(|(known, _)| known == address) {
                had.push(Arc::clone(socket));
                continue;
            }
            let open = || {
                let sharing = Sharing::beside(&loose, *address)?;
                sockets::open(*address, !sharing.is_empty())
            };
            opened.push(open().map_err(|source| BindError::Address { address: *address, source })?);
        }
        Ok(NewListeners { opened, _had: had })
    }

    /// Serves `listeners`, of which `new` are not served yet, and no others. Sessions of those that are gone have `grace` to
    /// end by themselves, and once more as long when they were told to.
    ///
    /// # Errors
    /// A new socket cannot be listened at, or the server was told to stop; nothing has changed then.
    pub fn change(
        &self,
        new: NewListeners,
        listeners: &[Listener],
        hostname: &Domain,
        grace: Duration,
    ) -> Result<(), BindError> {
        let mut served = self.served.lock();
        served.may_open()?;
        let from = served.whence(listeners);
        let NewListeners { opened, _had } = new;
        let new = sockets::listen(opened, &served.loose(&from));
        let mut new = new.map_err(|(address, source)| BindError::Address { address, source })?;
        let mut before: Vec<Option<Listening>> = served.listeners.drain(..).map(Some).collect();
        // What they take at and nobody has yet.
        let mut loose: Vec<Vec<Taking>> = before.iter_mut().map(|_| Vec::new()).collect();
        for (at, gone) in before.iter_mut().enumerate().filter(|(at, _)| !from.contains(&Whence::Kept(*at))) {
            loose[at] = gone.as_mut().map(|gone| std::mem::take(&mut gone.takings)).unwrap_or_default();
        }
        let mut left = std::mem::take(&mut served.left);
        for (index, (from, listener)) in from.into_iter().zip(listeners).enumerate() {
            let terms = terms(index, listener, hostname);
            let at = match from {
                Whence::Kept(at) | Whence::Moved(at) => Some(at),
                Whence::New => None,
            };
            let listening = match at.and_then(|at| before[at].take()) {
                Some(mut known) => {
                    known.follow(terms, &self.certificates);
                    known
                }
                None => Listening::new(listener.address, terms, &self.certificates, &self.intake, &self.stats),
            };
            served.listeners.push(match from {
                Whence::Kept(_) => listening,
                Whence::Moved(_) | Whence::New => settle(listening, listener.address, &mut loose, &mut left, &mut new),
            });
        }
        for (gone, takings) in before.into_iter().zip(loose) {
            served.left.extend(takings.iter().map(Taking::left));
            // One that has moved covers all that it had: nothing of it is left.
            if let Some(gone) = gone {
                let stopped = served.stopped.subscribe();
                served.ending.spawn(end(gone, takings, grace, stopped));
            }
        }
        served.left.extend(left.into_iter().filter(|left| left.there().is_some()));
        // Those that have ended meanwhile.
        while served.ending.try_join_next().is_some() {}
        Ok(())
    }

    /// Stops: returns when all sessions have ended, at the latest after `grace`. Whether none had to be cut off. From then on
    /// nothing is opened.
    pub async fn stop(&self, grace: Duration) -> bool {
        let (mut listeners, mut ending) = {
            let mut served = self.served.lock();
            served.stopped.send_replace(true);
            (std::mem::take(&mut served.listeners), std::mem::take(&mut served.ending))
        };
        for listening in &listeners {
            listening.phase.send_replace(Phase::Stopping);
        }
        let all = async {
            // First, and dropped: as long as a socket is there, the kernel lets clients in, to wait for nobody.
            for listening in &mut listeners {
                for mut taking in listening.takings.drain(..) {
                    taking.ended().await;
                }
            }
            for listening in &mut listeners {
                listening.ended().await;
            }
            while ending.join_next().await.is_some() {}
        };
        timeout(grace, all).await.is_ok()
    }
}

/// Gives a listener its sockets at `address`: one that is new, or was left there, and all that it covers.
fn settle(
    mut listening: Listening,
    address: SocketAddr,
    loose: &mut [Vec<Taking>],
    left: &mut Vec<Left>,
    new: &mut Vec<sockets::Listened>,
) -> Listening {
    let is_its =
        |(known, _): &sockets::Listened| *known == address || address.port() == 0 && known.ip() == address.ip();
    listening.address = address;
    if let Some(at) = new.iter().position(is_its) {
        let (address, socket) = new.remove(at);
        listening.address = address;
        listening.take_at(address, socket);
    } else if let Some(at) = left.iter().position(|left| left.there().is_some_and(|it| is_its(&it)))
        && let Some((address, socket)) = left.remove(at).back()
    {
        listening.take_at(address, socket);
    }
    let wide = listening.address;
    let is_covered = move |taking: &mut Taking| sockets::covers(wide, taking.address);
    for taking in loose.iter_mut().flat_map(|of_one| of_one.extract_if(.., is_covered)) {
        listening.takings.push(taking.give(listening.came.clone()));
    }
    tracing::info!(address = %listening.address, "taking mail");
    listening
}

/// Leaves the sockets of a listener that is gone, and ends it: at once where the server stops.
async fn end(mut gone: Listening, takings: Vec<Taking>, grace: Duration, mut stopped: watch::Receiver<bool>) {
    let mut leaving: JoinSet<()> = takings.into_iter().map(Taking::leave).collect();
    let in_time = async {
        while leaving.join_next().await.is_some() {}
        tracing::info!(address = %gone.address, "no longer taking mail here; sessions may end");
        gone.phase.send_replace(Phase::Closed);
        let _ = timeout(grace, gone.ended()).await;
    };
    tokio::select! {
        () = in_time => {}
        () = told(&mut stopped) => {}
    }
    gone.phase.send_replace(Phase::Stopping);
    while leaving.join_next().await.is_some() {}
    // What is left then is cut.
    let _ = timeout(grace, gone.ended()).await;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use parking_lot::Mutex;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpStream;
    use tokio::sync::Notify;

    use super::*;
    use crate::config::AuthMode;
    use crate::ingress::{Accepting, Admission, Refusal, Transaction};
    use crate::message::MessageId;

    /// Keeps what it is given; waits for `gate` before it answers where there is one.
    #[derive(Default)]
    struct Basket {
        got: Mutex<Vec<Transaction>>,
        gate: Option<Notify>,
        reached: Notify,
    }

    impl Admission for Basket {
        fn ready(&self) -> Result<(), Refusal> {
            Ok(())
        }
    }

    impl Intake for Basket {
        fn accept(&self, transaction: Transaction) -> Accepting<'_> {
            Box::pin(async move {
                self.reached.notify_one();
                if let Some(gate) = &self.gate {
                    gate.notified().await;
                }
                let mut got = self.got.lock();
                got.push(transaction);
                Ok(MessageId(got.len() as u64))
            })
        }
    }

    fn listener() -> Listener {
        Listener {
            trust: vec!["127.0.0.0/8".parse().expect("valid")],
            max_connections: 10,
            max_connections_per_client: 10,
            max_message_bytes: 100_000,
            max_recipients: 10,
            max_errors: 5,
            ..Listener::at("127.0.0.1:0".parse().expect("valid"))
        }
    }

    fn at(ip: &str, port: u16) -> Listener {
        Listener { address: SocketAddr::new(ip.parse().expect("valid"), port), ..listener() }
    }

    /// Longer than any test.
    const GRACE: Duration = Duration::from_secs(60);
    /// Longer than what happens at once takes.
    const SOON: Duration = Duration::from_secs(10);

    fn change(world: &World, to: &[Listener], grace: Duration) {
        let hostname = "relay.example.net".parse().expect("valid");
        let new = world.server.bind_new(to).expect("bound");
        world.server.change(new, to, &hostname, grace).expect("changed");
    }

    /// Until nobody listens there.
    async fn closed(address: SocketAddr) {
        let closed = async {
            while TcpStream::connect(address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, closed).await.expect("closed");
    }

    fn bound(listener: Listener) -> Bound {
        bind(&[listener], &"relay.example.net".parse().expect("valid")).expect("bound")
    }

    struct World {
        server: Server,
        basket: Arc<Basket>,
        stats: Arc<IngressStats>,
    }

    fn serve(listener: Listener, basket: Basket) -> World {
        let (basket, stats) = (Arc::new(basket), Arc::<IngressStats>::default());
        let intake: Arc<dyn Intake> = basket.clone();
        let server = bound(listener).start(intake, Arc::clone(&stats)).expect("started");
        World { server, basket, stats }
    }

    struct Client(BufReader<TcpStream>);

    impl Client {
        async fn connect(address: SocketAddr) -> Self {
            Self(BufReader::new(TcpStream::connect(address).await.expect("connected")))
        }

        /// One whom nobody accepts before the test waits for something.
        fn waiting(address: SocketAddr) -> Self {
            let stream = std::net::TcpStream::connect(address).expect("in the backlog");
            stream.set_nonblocking(true).expect("set");
            Self(BufReader::new(TcpStream::from_std(stream).expect("registered")))
        }

        async fn greeted(world: &World) -> Self {
            let mut client = Self::connect(world.server.addresses()[0]).await;
            assert_eq!(client.code().await, 220);
            client
        }

        async fn send(&mut self, text: &str) {
            self.0.get_mut().write_all(text.as_bytes()).await.expect("sent");
        }

        /// The next reply's last line; empty at the end of the connection.
        async fn reply(&mut self) -> String {
            loop {
                let mut line = String::new();
                self.0.read_line(&mut line).await.expect("read");
                if line.as_bytes().get(3) != Some(&b'-') {
                    return line.trim_end().to_owned();
                }
            }
        }

        async fn code(&mut self) -> u16 {
            self.reply().await.get(..3).and_then(|code| code.parse().ok()).unwrap_or(0)
        }

        async fn says(&mut self, text: &str, codes: &[u16]) {
            // Behind EHLO it waits, as a client must.
            let hello = text.find("\r\n").filter(|_| text.starts_with("EHLO")).map_or(0, |at| at + 2);
            if hello > 0 {
                self.send(&text[..hello]).await;
                self.0.fill_buf().await.expect("answered");
            }
            self.send(&text[hello..]).await;
            for &code in codes {
                let reply = self.reply().await;
                assert!(reply.starts_with(&code.to_string()), "{text:?}: {reply} instead of {code}");
            }
        }
    }

    const ENVELOPE: &str = "EHLO x\r\nMAIL FROM:<a@x.org>\r\nRCPT TO:<b@y.org>\r\nDATA\r\n";
    const TEXT: &str = "Subject: x\r\n\r\nbody\r\n.\r\n";

    #[tokio::test]
    async fn pipelined_messages_arrive_and_are_counted() {
        let world = serve(listener(), Basket::default());
        let mut client = Client::greeted(&world).await;
        client.says(ENVELOPE, &[250, 250, 250, 354]).await;
        let next = "MAIL FROM:<>\r\nRCPT TO:<c@y.org>\r\nRCPT TO:<d@y.org>\r\nDATA\r\n";
        client.says(&format!("{TEXT}{next}"), &[250, 250, 250, 250, 354]).await;
        client.says(&format!("{TEXT}QUIT\r\n"), &[250, 221]).await;
        assert_eq!(client.reply().await, "");
        let got = world.basket.got.lock();
        assert_eq!(got.iter().map(|mail| mail.recipients.len()).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(&got[0].body[..], b"Subject: x\r\n\r\nbody\r\n");
        assert!(got[0].trusted && got[0].client.ip().is_loopback());
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let stats = &world.stats;
        let counts = [&stats.messages, &stats.recipients, &stats.bytes, &stats.sessions, &stats.sessions_open];
        assert_eq!(counts.map(read), [2, 3, 40, 1, 0]);
        assert_eq!(stats.replies.each_ref().map(read), [10, 2, 0, 0]);
    }

    #[tokio::test]
    async fn a_client_that_sends_octet_by_octet_is_served_the_same() {
        let world = serve(listener(), Basket::default());
        let mut client = Client::greeted(&world).await;
        client.0.get_ref().set_nodelay(true).expect("set");
        for (part, replies) in [(ENVELOPE, 4), (TEXT, 1), ("QUIT\r\n", 1)] {
            for octet in part.split_inclusive(|_| true) {
                client.send(octet).await;
                tokio::task::yield_now().await;
            }
            for _ in 0..replies {
                assert!(matches!(client.code().await, 221 | 250 | 354));
            }
        }
        assert_eq!(&world.basket.got.lock()[0].body[..], b"Subject: x\r\n\r\nbody\r\n");
    }

    #[tokio::test]
    async fn smuggling_bare_lf_size_and_long_lines_are_refused_on_the_wire() {
        let world = serve(Listener { max_errors: 50, ..listener() }, Basket::default());
        let mut client = Client::greeted(&world).await;
        client.says("NOOP\n", &[500]).await;
        client.says(&format!("NOOP {}\r\nNOOP\r\n", "x".repeat(300_000)), &[500, 250]).await;
        for end in ["\n.\n", "\n.\r\n", "\r.\r", "\r\n.\r\r\n", "\r\n.\n"] {
            client.says(ENVELOPE, &[250, 250, 250, 354]).await;
            let hidden = "MAIL FROM:<evil@x.org>\r\nRCPT TO:<victim@y.org>\r\nDATA\r\nevil\r\n.\r\nNOOP\r\n";
            client.says(&format!("Subject: x\r\n\r\nbody{end}{hidden}"), &[550, 250]).await;
        }
        client.says(ENVELOPE, &[250, 250, 250, 354]).await;
        client.says(&format!("{}.\r\n", "0123456789\r\n".repeat(10_000)), &[552]).await;
        client.says("MAIL FROM:<a@x.org> SIZE=100001\r\nQUIT\r\n", &[552, 221]).await;
        assert!(world.basket.got.lock().is_empty());
    }

    #[tokio::test]
    async fn strangers_cannot_relay_and_errors_end_the_session() {
        let world =
            serve(Listener { trust: vec!["10.0.0.0/8".parse().expect("valid")], ..listener() }, Basket::default());
        let mut client = Client::greeted(&world).await;
        client.says("EHLO x\r\nMAIL FROM:<a@relay.example.net>\r\n", &[250, 250]).await;
        let tries = ["<b@y.org>", "<@relay.example.net:b@y.org>", "<Postmaster>", "<b@[127.0.0.1]>", "<b@y.org>"];
        client.says(&tries.map(|to| format!("RCPT TO:{to}\r\n")).concat(), &[550; 5]).await;
        assert_eq!(client.reply().await, "421 4.7.0 too many errors, closing");
        assert_eq!(client.reply().await, "");
    }

    #[tokio::test]
    async fn talk_before_the_greeting_is_refused() {
        let bound = bound(listener());
        let mut client = Client::connect(bound.addresses()[0]).await;
        client.send("EHLO x\r\nMAIL FROM:<a@x.org>\r\n").await;
        let server = bound.start(Arc::new(Basket::default()), Arc::default()).expect("started");
        assert!(client.reply().await.starts_with("554 5.5.1 "));
        assert_eq!(client.reply().await, "");
        drop(server);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_the_session() {
        let world = serve(listener(), Basket::default());
        let mut client = Client::greeted(&world).await;
        assert_eq!(client.reply().await, "421 4.4.2 idle for too long, closing");
        assert_eq!(client.reply().await, "");
    }

    #[tokio::test]
    async fn a_client_that_vanishes_inside_its_message_leaves_nothing() {
        let world = serve(listener(), Basket::default());
        let mut client = Client::greeted(&world).await;
        client.says(ENVELOPE, &[250, 250, 250, 354]).await;
        client.send("Subject: x\r\n\r\nbody\r\n.\r").await;
        client.0.get_mut().shutdown().await.expect("half closed");
        assert_eq!(client.reply().await, "");
        assert!(world.basket.got.lock().is_empty());
        assert_eq!(world.stats.sessions_open.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn connections_over_the_limit_are_turned_away_until_one_ends() {
        for limits in [(1, 10), (10, 1)] {
            let listener = Listener { max_connections: limits.0, max_connections_per_client: limits.1, ..listener() };
            let world = serve(listener, Basket::default());
            let mut first = Client::greeted(&world).await;
            let mut second = Client::connect(world.server.addresses()[0]).await;
            assert_eq!(second.reply().await, "421 4.7.0 too many connections, try again later");
            assert_eq!(second.reply().await, "");
            first.says("QUIT\r\n", &[221]).await;
            assert_eq!(first.reply().await, "");
            Client::greeted(&world).await;
            assert_eq!(world.stats.refused_connections.load(Ordering::Relaxed), 1);
        }
    }

    #[tokio::test]
    async fn stopping_lets_a_message_finish_and_ends_the_others() {
        let world = serve(listener(), Basket { gate: Some(Notify::new()), ..Basket::default() });
        let address = world.server.addresses()[0];
        let (mut busy, mut idle) = (Client::greeted(&world).await, Client::greeted(&world).await);
        busy.says(ENVELOPE, &[250, 250, 250, 354]).await;
        busy.send(TEXT).await;
        world.basket.reached.notified().await;
        let server = world.server;
        let stop = tokio::spawn(async move { server.stop(Duration::from_secs(60)).await });
        assert_eq!(idle.reply().await, "421 4.3.2 service stopping, closing");
        drop(idle);
        if let Some(gate) = &world.basket.gate {
            gate.notify_one();
        }
        assert_eq!(busy.reply().await, "250 2.6.0 0000000000001 accepted");
        assert_eq!(busy.reply().await, "421 4.3.2 service stopping, closing");
        drop(busy);
        assert!(stop.await.expect("stopped"));
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn stopping_closes_the_sockets_while_a_message_finishes() {
        let world = serve(listener(), Basket { gate: Some(Notify::new()), ..Basket::default() });
        let address = world.server.addresses()[0];
        let mut busy = Client::greeted(&world).await;
        busy.says(ENVELOPE, &[250, 250, 250, 354]).await;
        busy.send(TEXT).await;
        world.basket.reached.notified().await;
        let server = world.server;
        let stop = tokio::spawn(async move { server.stop(GRACE).await });
        closed(address).await;
        assert!(!stop.is_finished());
        if let Some(gate) = &world.basket.gate {
            gate.notify_one();
        }
        assert_eq!(busy.reply().await, "250 2.6.0 0000000000001 accepted");
        drop(busy);
        assert!(stop.await.expect("stopped"));
    }

    #[tokio::test]
    async fn a_listener_that_is_gone_does_not_keep_a_stop_waiting() {
        // Its socket is being left, or is closed.
        for is_closed in [false, true] {
            let world = serve(listener(), Basket::default());
            let address = world.server.addresses()[0];
            let mut idle = Client::greeted(&world).await;
            change(&world, &[at("127.0.0.2", 0)], GRACE);
            if is_closed {
                closed(address).await;
            }
            let server = world.server;
            let stop = tokio::spawn(async move { server.stop(GRACE).await });
            let reply = timeout(SOON, idle.reply()).await.expect("told at once");
            assert_eq!(reply, "421 4.3.2 service stopping, closing");
            drop(idle);
            assert!(timeout(SOON, stop).await.expect("not the whole grace").expect("stopped"));
            closed(address).await;
        }
    }

    #[tokio::test]
    async fn a_server_that_was_stopped_opens_nothing_again() {
        let world = serve(listener(), Basket::default());
        let other = [at("127.0.0.2", 0)];
        let new = world.server.bind_new(&other).expect("bound");
        assert!(world.server.stop(GRACE).await);
        let hostname = "relay.example.net".parse().expect("valid");
        let error = world.server.change(new, &other, &hostname, GRACE).expect_err("too late");
        assert!(matches!(error, BindError::Stopping) && error.to_string().contains("the relay is stopping"), "{error}");
        assert!(matches!(world.server.bind_new(&other), Err(BindError::Stopping)));
        assert!(world.server.addresses().is_empty());
    }

    #[tokio::test]
    async fn the_grace_ends_and_what_was_not_answered_is_cut_off() {
        let world = serve(listener(), Basket { gate: Some(Notify::new()), ..Basket::default() });
        let mut client = Client::greeted(&world).await;
        client.says(ENVELOPE, &[250, 250, 250, 354]).await;
        client.send(TEXT).await;
        world.basket.reached.notified().await;
        assert!(!world.server.stop(Duration::ZERO).await);
        assert_eq!(client.reply().await, "");
        assert!(world.basket.got.lock().is_empty());
    }

    #[tokio::test]
    async fn listeners_come_and_go_and_sessions_stay() {
        let world = serve(listener(), Basket::default());
        let hostname = "relay.example.net".parse().expect("valid");
        let old = world.server.addresses()[0];
        let mut on_old = Client::greeted(&world).await;
        let grace = Duration::from_secs(60);

        // The same one with other terms keeps its socket; a second one is new.
        let mut strict = listener();
        strict.max_connections = 1;
        let second = Listener { address: "127.0.0.2:0".parse().expect("valid"), ..listener() };
        let both = [strict.clone(), second.clone()];
        let new = world.server.bind_new(&both).expect("bound");
        world.server.change(new, &both, &hostname, grace).expect("changed");
        let addresses = world.server.addresses();
        assert_eq!((addresses.len(), addresses[0], addresses[1].ip()), (2, old, second.address.ip()));
        let mut turned_away = Client::connect(old).await;
        assert!(turned_away.reply().await.starts_with("421 "), "the new limit counts those who are there");
        on_old.says(ENVELOPE, &[250, 250, 250, 354]).await;

        // The first is gone: nobody comes in there, who is there goes on.
        let new = world.server.bind_new(std::slice::from_ref(&second)).expect("bound");
        world.server.change(new, &[second], &hostname, grace).expect("changed");
        assert_eq!(world.server.addresses(), [addresses[1]]);
        while TcpStream::connect(old).await.is_ok() {
            tokio::task::yield_now().await;
        }
        on_old.says(TEXT, &[250]).await;
        on_old.says(ENVELOPE, &[250, 250, 250, 354]).await;
        on_old.says(&format!("{TEXT}QUIT\r\n"), &[250, 221]).await;
        let mut on_new = Client::connect(addresses[1]).await;
        assert_eq!(on_new.code().await, 220);
        assert_eq!(world.basket.got.lock().len(), 2);
    }

    #[tokio::test]
    async fn sessions_of_a_listener_that_is_gone_end_with_the_grace() {
        let world = serve(listener(), Basket::default());
        let mut client = Client::greeted(&world).await;
        let hostname = "relay.example.net".parse().expect("valid");
        let other = [Listener { address: "127.0.0.2:0".parse().expect("valid"), ..listener() }];
        let new = world.server.bind_new(&other).expect("bound");
        world.server.change(new, &other, &hostname, Duration::from_millis(1)).expect("changed");
        assert_eq!(client.reply().await, "421 4.3.2 service stopping, closing");
    }

    #[tokio::test]
    async fn a_listener_that_moves_to_a_wider_address_stays_itself() {
        let world = serve(listener(), Basket::default());
        let port = world.server.addresses()[0].port();
        let mut client = Client::greeted(&world).await;
        change(&world, &[at("0.0.0.0", port)], Duration::ZERO);
        assert!(world.server.served.lock().ending.is_empty(), "nobody is told to go");
        client.says(ENVELOPE, &[250, 250, 250, 354]).await;
        client.says(&format!("{TEXT}QUIT\r\n"), &[250, 221]).await;
    }

    #[tokio::test]
    async fn a_listener_can_turn_back_at_once() {
        let world = serve(listener(), Basket::default());
        let port = world.server.addresses()[0].port();
        let mut client = Client::greeted(&world).await;
        for to in ["0.0.0.0", "127.0.0.2", "0.0.0.0", "127.0.0.1", "127.0.0.1", "0.0.0.0", "127.0.0.3"] {
            let moved = [Listener { max_recipients: 7, ..at(to, port) }];
            let address = moved[0].address;
            drop(world.server.bind_new(&moved).expect("could be had"));
            change(&world, &moved, GRACE);
            assert_eq!(world.server.addresses(), [address]);
            let at = if address.ip().is_unspecified() { format!("127.0.0.9:{port}") } else { address.to_string() };
            let mut new = Client::connect(at.parse().expect("valid")).await;
            assert_eq!(new.code().await, 220, "{to}");
            new.says("QUIT\r\n", &[221]).await;
            client.says(ENVELOPE, &[250, 250, 250, 354]).await;
            client.says(TEXT, &[250]).await;
        }
        let open = || world.stats.sessions_open.load(Ordering::Relaxed);
        while open() > 1 {
            tokio::task::yield_now().await;
        }
        client.says("QUIT\r\n", &[221]).await;
    }

    #[tokio::test]
    async fn who_came_to_a_wide_address_has_its_terms_when_narrower_ones_follow() {
        let world = serve(at("0.0.0.0", 0), Basket::default());
        let port = world.server.addresses()[0].port();
        let there = SocketAddr::from(([127, 0, 0, 1], port));
        let mut known = Client::connect(there).await;
        known.says("", &[220]).await;
        let mut waited = Client::waiting(there);
        // AUTH in clear text is meant for those who come to this address, and they are not trusted.
        let trust = vec!["10.0.0.0/8".parse().expect("valid")];
        let narrow = Listener { auth: AuthMode::Optional, auth_insecure: true, trust, ..at("127.0.0.1", port) };
        change(&world, &[narrow, at("127.0.0.2", port)], GRACE);
        let mut new = Client::connect(there).await;
        new.says("", &[220]).await;
        new.says("EHLO x\r\nAUTH PLAIN\r\n", &[250, 334]).await;
        waited.says("", &[220]).await;
        for client in [&mut known, &mut waited] {
            client.says("EHLO x\r\nAUTH PLAIN\r\n", &[250, 502]).await;
            client.says(ENVELOPE, &[250, 250, 250, 354]).await;
            client.says(TEXT, &[250]).await;
        }
    }

    #[tokio::test]
    async fn more_addresses_than_a_few_become_one_and_are_all_served() {
        let world = serve(listener(), Basket::default());
        let port = world.server.addresses()[0].port();
        let all: Vec<Listener> = (1..=20).map(|last| at(&format!("127.0.0.{last}"), port)).collect();
        change(&world, &all, GRACE);
        change(&world, &[at("0.0.0.0", port)], GRACE);
        // Those that came last first: each that is served makes room for one that waits.
        for last in (1..=21).rev() {
            let mut client = Client::connect(SocketAddr::from(([127, 0, 0, last], port))).await;
            let greeting = timeout(SOON, client.code()).await;
            assert_eq!(greeting, Ok(220), "127.0.0.{last}");
            client.says("QUIT\r\n", &[221]).await;
            assert_eq!(client.reply().await, "");
        }
    }

    #[tokio::test]
    async fn two_of_one_file_that_overlap_are_refused() {
        let world = serve(listener(), Basket::default());
        let address = world.server.addresses()[0];
        let wide = SocketAddr::from(([0, 0, 0, 0], address.port()));
        let both = [Listener { address, ..listener() }, Listener { address: wide, ..listener() }];
        let error = world.server.bind_new(&both).expect_err("not at the next start either");
        assert!(error.to_string().starts_with(&format!("listener {wide}: ")), "{error}");
        Client::greeted(&world).await;
    }

    #[tokio::test]
    async fn a_port_that_is_taken_changes_nothing() {
        let world = serve(listener(), Basket::default());
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = taken.local_addr().expect("bound");
        let error = world.server.bind_new(&[Listener { address, ..listener() }]).expect_err("taken");
        assert!(error.to_string().starts_with(&format!("listener {address}: ")), "{error}");
        Client::greeted(&world).await;
    }

    #[test]
    fn an_address_that_is_not_ours_is_reported_with_its_name() {
        let foreign = Listener { address: "192.0.2.1:2525".parse().expect("valid"), ..listener() };
        let error = bind(&[foreign], &"relay.example.net".parse().expect("valid")).expect_err("not ours");
        assert!(error.to_string().starts_with("listener 192.0.2.1:2525: "), "{error}");
    }
}
