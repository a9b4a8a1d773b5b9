//! The way out of a binding: from an address of this host, or through a proxy on the host that has the address.
//!
//! Whichever way, a connection leaves from the binding's address or not at all. Here the address is bound before the
//! connection is made (`connect`). Behind a proxy it is the other host's to bind, so the proxy is held to it as far as the
//! protocol lets us: with SOCKS5 the answer names the address the proxy took, and another one than the binding's ends the
//! connection before a word of mail; a PROXY header tells the far HAProxy which source to take, and what it then does is its
//! configuration's. The proxy is always given addresses, never names: what a name means is decided here.
//!
//! A proxy that cannot be reached or does not want us is the binding's trouble as a failed bind is: [`FailureKind::Bind`],
//! which sends mail to another binding and blames no receiver. What a proxy says of the receiver (refused, unreachable) is
//! the receiver's. A proxy that says nothing is told from a silent receiver by when it is silent: to reach it and to be let
//! in takes no longer than [`PROXY_MAX`], and half of the deadline, or it is dead; only once it was asked to connect is the
//! receiver what is waited for.

mod proxy;
mod socks;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::connect;
use super::mx::{Family, Resolver};
use crate::config::{HostPort, SocksLogin, Via};
use crate::outcome::failure::FailureKind;
use crate::outcome::{Failure, Stage};

/// Longest time for reaching a proxy and being let in: it is the operator's own, and most often near.
const PROXY_MAX: Duration = Duration::from_secs(15);

/// A connection to a receiver, and the address it leaves from.
#[derive(Debug)]
pub struct Leg {
    /// To be used as if it led to the receiver itself.
    pub stream: TcpStream,
    /// The address the receiver sees, but for NAT, and the port where that is known.
    pub local: SocketAddr,
}

/// Connects to `peer` so that it sees `source`, within `deadline`: directly, or through `via`, whose name is looked up by
/// `resolver`.
///
/// # Errors
/// See the module.
pub async fn leave(
    via: Option<&Via>,
    source: IpAddr,
    peer: SocketAddr,
    resolver: &Resolver,
    deadline: Duration,
) -> Result<Leg, Failure> {
    let Some(via) = via else {
        let stream = connect::connect(source, peer, deadline).await?;
        // `connect` has read it once already.
        let local = stream.local_addr().unwrap_or_else(|_| SocketAddr::new(source, 0));
        return Ok(Leg { stream, local });
    };
    let through = through(via, source, peer, resolver, deadline);
    match timeout(deadline, through).await {
        Ok(done) => done,
        Err(_) => Err(fail(via, FailureKind::TimedOut, format!("connect to {peer}: no answer in {deadline:?}"))),
    }
}

async fn through(
    via: &Via,
    source: IpAddr,
    peer: SocketAddr,
    resolver: &Resolver,
    deadline: Duration,
) -> Result<Leg, Failure> {
    let limit = (deadline / 2).min(PROXY_MAX);
    let entered = timeout(limit, enter(via, source, peer, resolver, limit)).await;
    // Whatever it is, the binding cannot send because of it.
    let mut stream = entered
        .unwrap_or_else(|_| Err(format!("no answer of the proxy in {limit:?}")))
        .map_err(|detail| fail(via, FailureKind::Bind, detail))?;
    let port = match via {
        Via::Socks5 { .. } => {
            let bound = socks::connect(&mut stream, peer).await.map_err(|(kind, why)| fail(via, kind, why))?;
            if !bound.ip().is_unspecified() && bound.ip() != source {
                let detail = format!("connection would leave from {} instead of {source}", bound.ip());
                return Err(fail(via, FailureKind::Bind, detail));
            }
            bound.port()
        }
        Via::ProxyV2 { .. } => 0,
    };
    Ok(Leg { stream, local: SocketAddr::new(source, port) })
}

/// A connection to the proxy on which the receiver may be asked for; of which HAProxy's header has told already.
async fn enter(
    via: &Via,
    source: IpAddr,
    peer: SocketAddr,
    resolver: &Resolver,
    limit: Duration,
) -> Result<TcpStream, String> {
    let mut stream = reach(via, resolver, limit).await?;
    match via {
        Via::Socks5 { login, .. } => {
            let password = password(login.as_ref()).await?;
            let login = login.as_ref().map(|login| (login.user.as_str(), password.as_str()));
            socks::introduce(&mut stream, login).await?;
        }
        Via::ProxyV2 { .. } => {
            proxy::announce(&mut stream, source, peer).await.map_err(|error| format!("header not taken: {error}"))?;
        }
    }
    Ok(stream)
}

/// A connection to the proxy itself, from the address the configuration names for that, if it names one. Of several
/// addresses none has more than its share of `limit`: a silent one leaves time for the next.
async fn reach(via: &Via, resolver: &Resolver, limit: Duration) -> Result<TcpStream, String> {
    let mut last = String::new();
    let addresses = addresses(via.proxy(), resolver).await?;
    let share = limit / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    for address in addresses {
        let connected = match via.from() {
            Some(from) if from.is_ipv4() == address.is_ipv4() => {
                connect::connect(from, address, share).await.map_err(|failure| failure.detail)
            }
            Some(from) => Err(format!("{address} is not of the family of {from}")),
            None => match timeout(share, from_anywhere(address)).await {
                Ok(connected) => connected.map_err(|error| format!("connect to {address}: {error}")),
                Err(_) => Err(format!("connect to {address}: no answer in {share:?}")),
            },
        };
        match connected {
            Ok(stream) => return Ok(stream),
            Err(detail) => last = detail,
        }
    }
    Err(last)
}

/// From whichever address the system takes: no mail server sees it.
async fn from_anywhere(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn addresses(proxy: &HostPort, resolver: &Resolver) -> Result<Vec<SocketAddr>, String> {
    if let crate::config::Host::Address(ip) = proxy.host {
        return Ok(vec![SocketAddr::new(ip, proxy.port)]);
    }
    let v4 = resolver.addresses(proxy, Family::V4, true).await;
    let v6 = resolver.addresses(proxy, Family::V6, true).await;
    match (v4, v6) {
        (Err(why), Err(_)) => Err(why),
        (v4, v6) => Ok(v4.into_iter().chain(v6).flatten().collect()),
    }
}

/// The password, the first line of its file, read anew each time: it may change while we run.
async fn password(login: Option<&SocksLogin>) -> Result<String, String> {
    let Some(login) = login else { return Ok(String::new()) };
    let path = login.password_file.clone();
    let shown = path.display().to_string();
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
    match read {
        Ok(Ok(text)) => Ok(text.lines().next().unwrap_or_default().to_owned()),
        Ok(Err(error)) => Err(format!("password file {shown}: {error}")),
        Err(_) => Err(format!("password file {shown} could not be read")),
    }
}

fn fail(via: &Via, kind: FailureKind, detail: String) -> Failure {
    Failure { kind, stage: Stage::Connect, detail: format!("via {via}: {detail}") }
}

#[cfg(test)]
mod tests;
