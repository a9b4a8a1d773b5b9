//! A TCP connection from one source address, or none.
//!
//! The source address is bound before the connection is made, the port is left to the kernel until then
//! (`IP_BIND_ADDRESS_NO_PORT`: otherwise a busy host runs out of ports, since a port chosen at bind time must be free
//! towards all peers). There is no second way: where the address cannot be bound, or the connection turns out to leave
//! from another, it fails with [`FailureKind::Bind`] and nothing is sent. Running out of ports or descriptors is our own
//! trouble and blames no address.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use crate::outcome::failure::FailureKind;
use crate::outcome::{Failure, Stage};

/// Connects from `source` to `peer` within `deadline`.
pub async fn connect(source: IpAddr, peer: SocketAddr, deadline: Duration) -> Result<TcpStream, Failure> {
    let socket = bound(source)?;
    let connecting = TcpSocket::from_std_stream(std::net::TcpStream::from(socket)).connect(peer);
    let stream = match tokio::time::timeout(deadline, connecting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(fail(connect_kind(&error), format!("connect to {peer}: {error}"))),
        Err(_) => return Err(fail(FailureKind::TimedOut, format!("connect to {peer}: no answer in {deadline:?}"))),
    };
    match stream.local_addr() {
        Ok(local) if local.ip() == source => {}
        Ok(local) => {
            return Err(fail(
                FailureKind::Bind,
                format!("connection would leave from {} instead of {source}", local.ip()),
            ));
        }
        Err(error) => return Err(fail(connect_kind(&error), format!("connect to {peer}: {error}"))),
    }
    // Only a matter of latency; a peer that is gone already shows at the first read.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// A socket bound to `source`, port not chosen yet.
fn bound(source: IpAddr) -> Result<Socket, Failure> {
    let refused = |error: io::Error| fail(bind_kind(&error), format!("bind {source}: {error}"));
    let domain = if source.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(domain, kind, Some(Protocol::TCP)).map_err(refused)?;
    if source.is_ipv6() {
        socket.set_only_v6(true).map_err(refused)?;
    }
    leave_port_open(&socket);
    socket.bind(&SocketAddr::new(source, 0).into()).map_err(refused)?;
    Ok(socket)
}

/// Asks the kernel to choose the port at connect. Where it cannot, it chooses at bind: fewer connections fit, no more.
#[cfg(target_os = "linux")]
fn leave_port_open(socket: &Socket) {
    use std::os::fd::AsRawFd;
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open for the duration of the call and the option value is a c_int of the given size.
    // IPPROTO_IP is right for IPv6 sockets too: the kernel passes it to the same handler.
    let _ = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
}

#[cfg(not(target_os = "linux"))]
fn leave_port_open(_socket: &Socket) {}

fn fail(kind: FailureKind, detail: String) -> Failure {
    Failure { kind, stage: Stage::Connect, detail }
}

/// Whose fault a failed bind is: the address's, unless the machine ran out of something.
fn bind_kind(error: &io::Error) -> FailureKind {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EADDRINUSE) => FailureKind::Aborted,
        _ => FailureKind::Bind,
    }
}

fn connect_kind(error: &io::Error) -> FailureKind {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => FailureKind::Refused,
        Some(libc::ETIMEDOUT) => FailureKind::TimedOut,
        Some(libc::ECONNRESET | libc::ECONNABORTED | libc::EPIPE | libc::ENOTCONN) => FailureKind::Reset,
        // The address is bound already, so this is about the port: none is free towards this peer.
        Some(libc::EADDRNOTAVAIL | libc::EADDRINUSE | libc::ENOBUFS | libc::ENOMEM | libc::EMFILE) => {
            FailureKind::Aborted
        }
        _ => FailureKind::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    async fn listener(address: &str) -> Option<(TcpListener, SocketAddr)> {
        let listener = TcpListener::bind(address).await.ok()?;
        let address = listener.local_addr().ok()?;
        Some((listener, address))
    }

    #[tokio::test]
    async fn the_connection_leaves_from_the_bound_address() {
        let (listener, peer) = listener("127.0.0.1:0").await.expect("listen");
        for source in ["127.0.0.11", "127.0.0.12", "127.1.2.3"] {
            let source: IpAddr = source.parse().expect("address");
            let stream = connect(source, peer, SOON).await.expect("connected");
            let (_, seen) = listener.accept().await.expect("accepted");
            assert_eq!(seen.ip(), source);
            assert_eq!(stream.local_addr().expect("address"), seen);
        }
    }

    #[tokio::test]
    async fn an_address_that_is_not_ours_is_never_replaced() {
        let (listener, peer) = listener("127.0.0.1:0").await.expect("listen");
        for source in ["192.0.2.1", "2001:db8::1"] {
            let failure = connect(source.parse().expect("address"), peer, SOON).await.expect_err("not bindable");
            assert_eq!((failure.kind, failure.stage), (FailureKind::Bind, Stage::Connect), "{failure}");
        }
        // What was connected would be waiting in the backlog by now: loopback connects at once.
        let probe = connect("127.0.0.9".parse().expect("address"), peer, SOON).await.expect("connected");
        let (_, first) = listener.accept().await.expect("accepted");
        assert_eq!(first, probe.local_addr().expect("address"));
    }

    #[tokio::test]
    async fn a_closed_port_is_refused() {
        let (listener, peer) = listener("127.0.0.1:0").await.expect("listen");
        drop(listener);
        let failure = connect("127.0.0.11".parse().expect("address"), peer, SOON).await.expect_err("closed");
        assert_eq!(failure.kind, FailureKind::Refused, "{failure}");
    }

    #[test]
    fn the_port_is_left_to_connect() {
        for source in ["127.0.0.11", "::1"] {
            let source: IpAddr = source.parse().expect("address");
            match bound(source) {
                Ok(socket) => {
                    let local = socket.local_addr().expect("bound").as_socket().expect("an IP address");
                    assert_eq!(local, SocketAddr::new(source, 0));
                }
                Err(failure) => assert!(source.is_ipv6(), "{failure}"), // a machine without IPv6
            }
        }
    }

    #[tokio::test]
    async fn ipv6_is_bound_the_same_way() {
        let Some((listener, peer)) = listener("[::1]:0").await else { return }; // a machine without IPv6
        connect("::1".parse().expect("address"), peer, SOON).await.expect("connected");
        assert!(listener.accept().await.expect("accepted").1.is_ipv6());
    }

    #[test]
    fn running_out_of_something_blames_no_address() {
        let kind =
            |code| (bind_kind(&io::Error::from_raw_os_error(code)), connect_kind(&io::Error::from_raw_os_error(code)));
        assert_eq!(kind(libc::EMFILE), (FailureKind::Aborted, FailureKind::Aborted));
        assert_eq!(kind(libc::EADDRNOTAVAIL), (FailureKind::Bind, FailureKind::Aborted));
        assert_eq!(kind(libc::EACCES), (FailureKind::Bind, FailureKind::Unreachable));
        assert_eq!(kind(libc::ETIMEDOUT).1, FailureKind::TimedOut);
        assert_eq!(kind(libc::EHOSTUNREACH).1, FailureKind::Unreachable);
    }
}
