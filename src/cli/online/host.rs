//! What only this host can know: whether an address can be bound, whether the kernel has a route from it, whether port 25
//! is open from there.
//!
//! The route is asked of the kernel by connecting a UDP socket, which sends nothing. Connections to port 25 are made only
//! to a host that the operator names: to read a greeting and say QUIT.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::config::Binding;
use crate::delivery::connect::connect;
use crate::monitor::identity::look::Look;
use crate::monitor::reverse::Found;

use super::super::columns::clipped;
use super::report::{BindingReport, Finding, State};
use super::{TOO_LATE, gather};

/// Where a route must lead: addresses for documentation (RFC 5737, RFC 3849), which are as far away as any other and
/// nobody's. Nothing is sent there.
const FAR_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const FAR_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

/// Bytes of a greeting that are read.
const GREETING_MAX: usize = 4096;
/// Characters of it that are shown.
const SHOWN: usize = 200;
/// Time for the answer to QUIT, which nobody needs.
const GOODBYE: Duration = Duration::from_secs(2);

/// `HOST[:PORT]` of `--to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    host: String,
    port: u16,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || "write a host such as mx.example.org, mx.example.org:2525, 192.0.2.1:25 or [2001:db8::1]:25".to_owned();
        if let Ok(at) = text.parse::<SocketAddr>() {
            return Ok(Self { host: at.ip().to_string(), port: at.port() });
        }
        if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Ok(Self { host: address.to_string(), port: 25 });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
            None => (text, 25),
        };
        let name: crate::message::Domain = host.parse().map_err(|_| wrong())?;
        if port == 0 || name.as_str().starts_with('[') {
            return Err(wrong());
        }
        Ok(Self { host: name.as_str().to_owned(), port })
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Checks all bindings, those of one port at the same time.
pub(super) async fn look(
    look: &Arc<Look>,
    bindings: &[Arc<Binding>],
    reports: &mut [BindingReport],
    (to, wait): (Option<&Target>, Duration),
    limit: Pin<&mut Sleep>,
) {
    let mut connections = Vec::new();
    let peers = Peers::of(look, bindings, to).await;
    for (at, (binding, report)) in bindings.iter().zip(reports.iter_mut()).enumerate() {
        let source = binding.bind_address;
        if let Some(via) = &binding.via {
            // Nothing of this host's: the proxy binds it, and has the route.
            report.findings.push(Finding::good("bind", format!("{source} is another host's, reached by {via}")));
            continue;
        }
        report.findings.push(bindable(source));
        let peer = to.and_then(|to| Some((to, peers.towards(source)?)));
        if !report.is_bindable() {
            report.findings.push(Finding::new("route", State::Unknown, "the address cannot be bound"));
            if let Some((to, _)) = peer {
                report
                    .findings
                    .push(Finding::new("port", State::Unknown, "the address cannot be bound").about(to.to_string()));
            }
            continue;
        }
        match peer {
            None => report.findings.push(route_outside(source)),
            Some((to, Ok(peer))) => {
                report.findings.push(route(source, peer.ip()));
                connections.push((at, source, peer, to.to_string()));
            }
            Some((to, Err(why))) => {
                report.findings.push(route_outside(source));
                report.findings.push(Finding::new("port", State::Unknown, why).about(to.to_string()));
            }
        }
    }
    let tries = connections.iter().map(|(_, source, peer, _)| port(*source, *peer, wait)).collect();
    let found = gather(tries, limit).await;
    for ((at, _, _, about), found) in connections.into_iter().zip(found) {
        let finding = found.unwrap_or_else(|| Finding::new("port", State::Unknown, TOO_LATE));
        if let Some(report) = reports.get_mut(at) {
            report.findings.push(finding.about(about));
        }
    }
}

/// Where `--to` is for each family; `None` where it is nowhere.
#[derive(Debug)]
struct Peers {
    v4: Option<Result<SocketAddr, String>>,
    v6: Option<Result<SocketAddr, String>>,
}

impl Peers {
    async fn of(look: &Look, bindings: &[Arc<Binding>], to: Option<&Target>) -> Self {
        let has = |v4: bool| bindings.iter().any(|binding| binding.bind_address.is_ipv4() == v4);
        let Some(to) = to else { return Self { v4: None, v6: None } };
        let v4 = if has(true) { peer(look, to, FAR_V4).await } else { None };
        let v6 = if has(false) { peer(look, to, FAR_V6).await } else { None };
        // A host without IPv6 is no shortcoming of an IPv6 binding; one that no binding can try is to be told.
        if v4.is_none() && v6.is_none() {
            let none = || Some(Err(format!("{} has no address that a binding could connect to", to.host)));
            return Self { v4: none(), v6: none() };
        }
        Self { v4, v6 }
    }

    fn towards(&self, source: IpAddr) -> Option<Result<SocketAddr, String>> {
        if source.is_ipv4() { self.v4.clone() } else { self.v6.clone() }
    }
}

/// Where `to` is for a connection from an address of the family of `like`; `None` where it has none of these.
async fn peer(look: &Look, to: &Target, like: IpAddr) -> Option<Result<SocketAddr, String>> {
    if let Ok(address) = to.host.parse::<IpAddr>() {
        return (address.is_ipv4() == like.is_ipv4()).then(|| Ok(SocketAddr::new(address, to.port)));
    }
    match look.addresses(&to.host, like).await {
        Found::Records(all) => all.first().map(|address| Ok(SocketAddr::new(*address, to.port))),
        Found::Absent => None,
        Found::Failed(why) => Some(Err(format!("address of {}: {why}", to.host))),
    }
}

/// Whether there is a way out, where no host is named. Some networks have no way to addresses for documentation on purpose:
/// that there is none to these is no proof that there is none to others.
fn route_outside(source: IpAddr) -> Finding {
    let found = route(source, if source.is_ipv4() { FAR_V4 } else { FAR_V6 });
    match found.state {
        State::Fault => Finding {
            state: State::Warning,
            detail: format!("{}; perhaps only to this address, which stands for all others", found.detail),
            remedy: found.remedy.map(|remedy| format!("name a real host with --to to be sure; {remedy}")),
            ..found
        },
        _ => found,
    }
}

fn bindable(source: IpAddr) -> Finding {
    let bind = || -> io::Result<()> {
        let socket = Socket::new(if source.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 }, Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(source, 0).into())
    };
    match bind() {
        Ok(()) => Finding::good("bind", format!("{source} can be bound")),
        Err(error) => Finding::new("bind", State::Fault, format!("bind {source}: {error}")).remedy(
            "add the address to an interface of this host (ip address add …), or correct bind_address; behind NAT, \
             bind_address is the inner address and public_address the outer one",
        ),
    }
}

fn route(source: IpAddr, far: IpAddr) -> Finding {
    if source.is_loopback() && !far.is_loopback() {
        return Finding::new("route", State::Warning, format!("{source} reaches nothing but this host"))
            .remedy("bind an address of a network interface");
    }
    let connect = || -> io::Result<IpAddr> {
        let socket = std::net::UdpSocket::bind(SocketAddr::new(source, 0))?;
        // Port 9 (discard); a connected UDP socket sends nothing by itself.
        socket.connect(SocketAddr::new(far, 9))?;
        Ok(socket.local_addr()?.ip())
    };
    match connect() {
        Ok(local) if local == source => Finding::good("route", format!("there is a route towards {far}")),
        Ok(local) => Finding::new("route", State::Fault, format!("towards {far} the kernel would use {local}"))
            .remedy("see ip rule and ip route get … from …"),
        Err(error) => Finding::new("route", State::Fault, format!("no route towards {far}: {error}"))
            .remedy(format!("see ip route get {far} from {source}; the network of the address needs a default route")),
    }
}

async fn port(source: IpAddr, peer: SocketAddr, wait: Duration) -> Finding {
    let stream = match connect(source, peer, wait).await {
        Ok(stream) => stream,
        Err(failure) => {
            return Finding::new("port", State::Fault, failure.detail).remedy(
                "many providers close outgoing port 25 until they are asked; see also the firewall of this host and \
                 whether the host you named takes mail",
            );
        }
    };
    match tokio::time::timeout(wait, greeting(stream)).await {
        Err(_) => Finding::new("port", State::Fault, format!("connected, but no greeting within {} s", wait.as_secs()))
            .remedy("something between may take connections and not pass them on; try another host"),
        Ok(Err(error)) => Finding::new("port", State::Fault, format!("connected, but no greeting: {error}"))
            .remedy("the receiver or something between closes connections from this address; try another host"),
        Ok(Ok(line)) => greeted(&line),
    }
}

/// Judges the last line of a greeting (RFC 5321 §4.2).
fn greeted(line: &str) -> Finding {
    let shown = clipped(&super::super::terminal::visible(line), SHOWN);
    match line.as_bytes() {
        [b'2', b'2', b'0', b' ' | b'-', ..] | [b'2', b'2', b'0'] => Finding::good("port", shown),
        [b'4' | b'5', b'0'..=b'9', b'0'..=b'9', ..] => {
            Finding::new("port", State::Fault, format!("refused with {shown}"))
                .remedy("the receiver does not take mail from this address: what it says, and lists, tell why")
        }
        _ => Finding::new("port", State::Fault, format!("no SMTP: {shown}"))
            .remedy("something between takes the connection (a proxy, a portal), or this is no mail server"),
    }
}

/// The greeting's last line; says QUIT.
async fn greeting(mut stream: TcpStream) -> io::Result<String> {
    let mut got = Vec::new();
    loop {
        let mut buffer = [0; 512];
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed"));
        }
        got.extend_from_slice(&buffer[..count]);
        if let Some(line) = last_line(&got) {
            // Nobody minds what becomes of it.
            let bye = async {
                stream.write_all(b"QUIT\r\n").await?;
                stream.read(&mut buffer).await
            };
            drop(tokio::time::timeout(GOODBYE, bye).await);
            return Ok(line);
        }
        if got.len() >= GREETING_MAX {
            return Ok(String::from_utf8_lossy(&got).into_owned());
        }
    }
}

/// The last line of a reply once it is there: the first that is not a code followed by `-`.
fn last_line(got: &[u8]) -> Option<String> {
    let whole = got.split_inclusive(|b| *b == b'\n').filter(|line| line.ends_with(b"\n"));
    let goes_on = |line: &[u8]| line.get(3) == Some(&b'-') && line[..3].iter().all(u8::is_ascii_digit);
    let mut ends = whole.filter(|line| !goes_on(line));
    ends.next().map(|line| String::from_utf8_lossy(line).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_with_and_without_port() {
        for (text, shown) in [
            ("mx.example.org", Some("mx.example.org:25")),
            ("mx.example.org:2525", Some("mx.example.org:2525")),
            ("192.0.2.1", Some("192.0.2.1:25")),
            ("192.0.2.1:26", Some("192.0.2.1:26")),
            ("2001:db8::1", Some("[2001:db8::1]:25")),
            ("[2001:db8::1]", Some("[2001:db8::1]:25")),
            ("[2001:db8::1]:26", Some("[2001:db8::1]:26")),
            ("", None),
            (":25", None),
            ("mx.example.org:", None),
            ("mx.example.org:0", None),
            ("mx.example.org:70000", None),
            ("mx example.org", None),
        ] {
            assert_eq!(text.parse::<Target>().ok().map(|t| t.to_string()).as_deref(), shown, "{text}");
        }
    }

    #[test]
    fn a_greeting_ends_with_its_last_line() {
        for (got, line) in [
            ("220 mx ESMTP\r\n", Some("220 mx ESMTP")),
            ("220-mx\r\n220 ready\r\n", Some("220 ready")),
            ("220-mx\r\n", None),
            ("220 mx", None),
            ("HTTP/1.1 400\r\n", Some("HTTP/1.1 400")),
            ("SSH-2.0-x\r\n", Some("SSH-2.0-x")),
            ("\r\n", Some("")),
            ("", None),
        ] {
            assert_eq!(last_line(got.as_bytes()).as_deref(), line, "{got:?}");
        }
    }

    #[test]
    fn only_220_is_a_welcome_and_nothing_of_it_moves_the_cursor() {
        for (line, state) in [
            ("220 mx", State::Good),
            ("220", State::Good),
            ("554 5.7.1 no", State::Fault),
            ("421 later", State::Fault),
            ("SSH-2.0", State::Fault),
            ("", State::Fault),
        ] {
            assert_eq!(greeted(line).state, state, "{line}");
        }
        assert!(!greeted("554 \u{1b}[2J").detail.contains('\u{1b}'));
    }

    #[test]
    fn what_is_not_on_this_host_cannot_be_bound() {
        assert_eq!(bindable([127, 0, 0, 1].into()).state, State::Good);
        let finding = bindable([192, 0, 2, 1].into());
        assert_eq!(finding.state, State::Fault, "{finding:?}");
        assert!(finding.remedy.is_some());
    }

    #[test]
    fn no_way_to_an_address_for_documentation_is_no_proof() {
        // Nothing on this host is bound to it: the kernel refuses, as it does where there is no route.
        let nowhere = IpAddr::from([192, 0, 2, 77]);
        assert_eq!(route(nowhere, FAR_V4).state, State::Fault);
        let found = route_outside(nowhere);
        assert_eq!(found.state, State::Warning, "{found:?}");
        assert!(found.remedy.is_some_and(|remedy| remedy.contains("--to")));
    }

    #[test]
    fn loopback_leads_to_loopback_only() {
        let here = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(route(here, here).state, State::Good);
        assert_eq!(route(here, FAR_V4).state, State::Warning);
    }
}
