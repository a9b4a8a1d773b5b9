//! A small authoritative name server whose records and moods are set while it runs.
//!
//! It stands in for everything the relay asks: MX, A, AAAA, TXT, PTR, and DNSBLs (RFC 5782). A name it has no record of
//! is NXDOMAIN, one that exists with other types (or only above others) is NODATA; both carry an SOA, as caches expect.
//! Below a suffix a [`Mood`] may rule instead of the records: a blocklist that refuses, lists everything, never answers
//! or fails. UDP and TCP on one port; answers that do not fit a datagram are truncated. TTLs are one second, so that a
//! change shows.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, MX, PTR, SOA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::{JoinHandle, JoinSet};

const TTL: u32 = 1;

/// How names below a suffix are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mood {
    /// From the records.
    Records,
    /// As a healthy DNSBL: listed addresses, and 127.0.0.2 but not 127.0.0.1 (RFC 5782 §5).
    Dnsbl,
    /// Every A question with this address: `127.255.255.254` is a list that refuses us, `127.0.0.2` one that lists the
    /// world.
    Always(Ipv4Addr),
    /// As [`Mood::Dnsbl`], but datagrams are always truncated: only TCP tells.
    Truncated,
    /// As [`Mood::Dnsbl`], but each answer comes through an alias.
    Alias,
    /// As [`Mood::Dnsbl`], but every other question about a listed name is answered as if it were not.
    Flapping,
    /// As [`Mood::Dnsbl`] with a record covering all names below it, as lists of domains have it.
    Wildcard,
    /// No answer at all.
    Silent,
    /// This response code, such as SERVFAIL or REFUSED.
    Code(ResponseCode),
}

impl Mood {
    /// A DNSBL that refuses to answer us.
    pub fn refusing() -> Self {
        Self::Always(Ipv4Addr::new(127, 255, 255, 254))
    }

    /// A DNSBL that lists everything.
    pub fn lists_everything() -> Self {
        Self::Always(Ipv4Addr::new(127, 0, 0, 2))
    }

    /// A DNSBL whose domain expired and now shows advertisements.
    pub fn parked() -> Self {
        Self::Always(Ipv4Addr::new(203, 0, 113, 80))
    }

    /// A DNSBL that was emptied, test entry and all.
    pub fn hollow() -> Self {
        Self::Records
    }

    fn is_dnsbl(&self) -> bool {
        matches!(self, Self::Dnsbl | Self::Truncated | Self::Alias | Self::Flapping | Self::Wildcard)
    }
}

#[derive(Default)]
struct Data {
    records: HashMap<String, Vec<RData>>,
    moods: BTreeMap<String, Mood>,
    asked: BTreeMap<String, u64>,
    /// A questions about names in a flapping list.
    flips: BTreeMap<String, u64>,
    total: u64,
}

/// A running name server. Ends with its handle, or by [`Zone::stop`].
pub struct Zone {
    address: SocketAddr,
    data: Arc<Mutex<Data>>,
    task: JoinHandle<()>,
}

impl Drop for Zone {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Zone {
    /// Listens on `address`, UDP and TCP (port 0 lets the system choose). Needs a tokio runtime.
    pub async fn start(address: SocketAddr) -> io::Result<Self> {
        let (udp, tcp) = bind_both(address).await?;
        let address = udp.local_addr()?;
        let data = Arc::new(Mutex::new(Data::default()));
        let task = tokio::spawn(serve(udp, tcp, data.clone()));
        Ok(Self { address, data, task })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Adds an address record, A or AAAA.
    pub fn a(&self, name: &str, address: IpAddr) {
        let data = match address {
            IpAddr::V4(v4) => RData::A(A(v4)),
            IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
        };
        self.add(name, data);
    }

    /// Adds an MX record; the host `.` with preference 0 is the null MX (RFC 7505).
    pub fn mx(&self, name: &str, preference: u16, host: &str) -> Result<(), BadName> {
        let exchange = dns_name(host)?;
        self.add(name, RData::MX(MX::new(preference, exchange)));
        Ok(())
    }

    /// Adds a TXT record; a long text goes in several strings (RFC 1035 §3.3.14), which readers put together.
    pub fn txt(&self, name: &str, text: &str) {
        let characters: Vec<char> = text.chars().collect();
        // Four octets a character at most, and a string has 255.
        let strings = characters.chunks(60).map(|part| part.iter().collect()).collect();
        self.add(name, RData::TXT(TXT::new(if text.is_empty() { vec![String::new()] } else { strings })));
    }

    /// Adds a PTR record for `address`.
    pub fn ptr(&self, address: IpAddr, host: &str) -> Result<(), BadName> {
        let target = dns_name(host)?;
        let suffix = if address.is_ipv4() { "in-addr.arpa" } else { "ip6.arpa" };
        self.add(&reversed(address, suffix), RData::PTR(PTR(target)));
        Ok(())
    }

    /// Forgets every record of `name`.
    pub fn remove(&self, name: &str) {
        self.data.lock().records.remove(&key(name));
    }

    /// Lists `address` in the DNSBL `zone` with `code`, besides what it already answers; makes `zone` a
    /// [`Mood::Dnsbl`] if it has no mood yet.
    pub fn listed(&self, zone: &str, address: IpAddr, code: Ipv4Addr) {
        self.data.lock().moods.entry(key(zone)).or_insert(Mood::Dnsbl);
        self.add(&reversed(address, zone), RData::A(A(code)));
    }

    /// Takes `address` off the DNSBL `zone`.
    pub fn delisted(&self, zone: &str, address: IpAddr) {
        self.remove(&reversed(address, zone));
    }

    /// Lists `domain` in the list of domains `zone`, besides what it already answers; makes `zone` a [`Mood::Dnsbl`] if it
    /// has no mood yet.
    pub fn listed_domain(&self, zone: &str, domain: &str, code: Ipv4Addr) {
        self.data.lock().moods.entry(key(zone)).or_insert(Mood::Dnsbl);
        self.add(&format!("{domain}.{zone}"), RData::A(A(code)));
    }

    /// Sets how names at and below `suffix` are answered; `.` is everything. The longest suffix rules.
    pub fn mood(&self, suffix: &str, mood: Mood) {
        self.data.lock().moods.insert(key(suffix), mood);
    }

    /// Questions so far.
    pub fn queries(&self) -> u64 {
        self.data.lock().total
    }

    /// Questions for names at or below `suffix` so far.
    pub fn queries_below(&self, suffix: &str) -> u64 {
        let suffix = key(suffix);
        self.data.lock().asked.iter().filter(|(name, _)| below(name, &suffix)).map(|(_, n)| n).sum()
    }

    /// Closes its sockets and waits until they are closed.
    pub async fn stop(mut self) {
        self.task.abort();
        // The error is the cancellation just asked for.
        let _ = (&mut self.task).await;
    }

    fn add(&self, name: &str, record: RData) {
        let mut data = self.data.lock();
        let records = data.records.entry(key(name)).or_default();
        if !records.contains(&record) {
            records.push(record);
        }
    }
}

/// A text that is no DNS name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no DNS name")]
pub struct BadName(String);

fn dns_name(text: &str) -> Result<Name, BadName> {
    let mut name = Name::from_ascii(text).map_err(|_| BadName(text.to_owned()))?;
    name.set_fqdn(true);
    Ok(name)
}

/// Names are compared in lower case and without the final dot; the root is the empty text.
fn key(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn below(name: &str, suffix: &str) -> bool {
    suffix.is_empty() || name == suffix || name.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.'))
}

/// The name under which `address` is looked up below `suffix` (RFC 1035 §3.5, RFC 3596 §2.5, RFC 5782 §2).
pub fn reversed(address: IpAddr, suffix: &str) -> String {
    let mut name = String::new();
    // Writing to a String cannot fail.
    match address {
        IpAddr::V4(v4) => {
            for octet in v4.octets().iter().rev() {
                let _ = write!(name, "{octet}.");
            }
        }
        IpAddr::V6(v6) => {
            for octet in v6.octets().iter().rev() {
                let _ = write!(name, "{:x}.{:x}.", octet & 15, octet >> 4);
            }
        }
    }
    name.push_str(suffix);
    name
}

async fn bind_both(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = 0;
    loop {
        let udp = UdpSocket::bind(address).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            // The port chosen for UDP may be taken for TCP: choose again.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && address.port() == 0 && tries < 20 => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

async fn serve(udp: UdpSocket, tcp: TcpListener, data: Arc<Mutex<Data>>) {
    let mut buffer = vec![0; 4096];
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            got = udp.recv_from(&mut buffer) => {
                // An ICMP error of an earlier answer; nothing to do about it.
                let Ok((length, peer)) = got else { continue };
                if let Some(reply) = answer(&buffer[..length], &data, true) {
                    let _ = udp.send_to(&reply, peer).await;
                }
            }
            got = tcp.accept() => {
                let Ok((stream, _)) = got else { continue };
                let data = data.clone();
                streams.spawn(async move { let _ = converse(stream, data).await; });
            }
            Some(_) = streams.join_next() => {}
        }
    }
}

async fn converse(mut stream: TcpStream, data: Arc<Mutex<Data>>) -> io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut question = vec![0; usize::from(length)];
        stream.read_exact(&mut question).await?;
        if let Some(reply) = answer(&question, &data, false) {
            let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
            stream.write_u16(length).await?;
            stream.write_all(&reply).await?;
        }
    }
}

/// The bytes to send back; `None` is silence.
fn answer(question: &[u8], data: &Mutex<Data>, datagram: bool) -> Option<Vec<u8>> {
    let request = Message::from_vec(question).ok()?;
    let query = request.queries.first()?;
    if request.metadata.message_type != MessageType::Query {
        return None;
    }
    let mut reply = Message::response(request.metadata.id, OpCode::Query);
    reply.metadata.recursion_desired = request.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.authoritative = true;
    reply.add_query(query.clone());

    let name = key(&query.name().to_ascii());
    let (found, truncated) = {
        let mut data = data.lock();
        (data.look_up(&name, query.query_type()), data.mood_of(&name) == Some(&Mood::Truncated))
    };
    match found {
        Found::Alias(records) => {
            let alias = Name::from_ascii("alias.test.").ok()?;
            reply.add_answer(Record::from_rdata(query.name().clone(), TTL, RData::CNAME(CNAME(alias.clone()))));
            reply.add_answers(records.into_iter().map(|r| Record::from_rdata(alias.clone(), TTL, r)));
        }
        Found::Silence => return None,
        Found::Code(code) => reply.metadata.response_code = code,
        Found::Records(records) if !records.is_empty() => {
            reply.add_answers(records.into_iter().map(|r| Record::from_rdata(query.name().clone(), TTL, r)));
        }
        Found::Records(_) => add_soa(&mut reply, query.name()),
        Found::NoName => {
            reply.metadata.response_code = ResponseCode::NXDomain;
            add_soa(&mut reply, query.name());
        }
    }
    let bytes = reply.to_vec().ok()?;
    if datagram && (truncated || bytes.len() > usize::from(request.max_payload())) {
        reply.truncate().to_vec().ok()
    } else {
        Some(bytes)
    }
}

fn add_soa(reply: &mut Message, name: &Name) {
    let apex = name.trim_to(2);
    let soa = SOA::new(apex.clone(), apex.clone(), 1, 60, 60, 60, TTL);
    reply.add_authority(Record::from_rdata(apex, TTL, RData::SOA(soa)));
}

enum Found {
    Silence,
    Code(ResponseCode),
    Records(Vec<RData>),
    /// Through a CNAME.
    Alias(Vec<RData>),
    NoName,
}

impl Data {
    fn look_up(&mut self, name: &str, wanted: RecordType) -> Found {
        self.total += 1;
        *self.asked.entry(name.to_owned()).or_insert(0) += 1;
        let is_away = wanted == RecordType::A && self.mood_of(name) == Some(&Mood::Flapping) && {
            let times = self.flips.entry(name.to_owned()).or_insert(0);
            *times += 1;
            times.is_multiple_of(2)
        };
        match self.ruling(name) {
            Some((_, Mood::Silent)) => Found::Silence,
            Some((_, Mood::Code(code))) => Found::Code(*code),
            Some((suffix, Mood::Always(code))) if name != suffix => match wanted {
                RecordType::A => Found::Records(vec![RData::A(A(*code))]),
                _ => Found::Records(Vec::new()),
            },
            Some((suffix, mood)) if mood.is_dnsbl() && is_test_point(name, suffix) => match wanted {
                RecordType::A => Found::Records(vec![RData::A(A(Ipv4Addr::new(127, 0, 0, 2)))]),
                RecordType::TXT => Found::Records(vec![RData::TXT(TXT::new(vec!["test point".to_owned()]))]),
                _ => Found::Records(Vec::new()),
            },
            Some((_, Mood::Alias)) => match self.recorded(name, wanted) {
                Found::Records(records) if !records.is_empty() => Found::Alias(records),
                found => found,
            },
            Some((_, Mood::Flapping)) if is_away => Found::NoName,
            Some((suffix, Mood::Wildcard)) => {
                let mut above = name;
                while !self.records.contains_key(above) {
                    match above.split_once('.') {
                        Some((_, rest)) if below(rest, suffix) && rest != suffix => above = rest,
                        _ => return self.recorded(name, wanted),
                    }
                }
                self.recorded(above, wanted)
            }
            _ => self.recorded(name, wanted),
        }
    }

    /// The mood that rules a name, with its suffix.
    fn ruling(&self, name: &str) -> Option<(&String, &Mood)> {
        self.moods.iter().filter(|(suffix, _)| below(name, suffix)).max_by_key(|(suffix, _)| suffix.len())
    }

    fn mood_of(&self, name: &str) -> Option<&Mood> {
        self.ruling(name).map(|(_, mood)| mood)
    }

    fn recorded(&self, name: &str, wanted: RecordType) -> Found {
        if let Some(records) = self.records.get(name) {
            return Found::Records(records.iter().filter(|r| r.record_type() == wanted).cloned().collect());
        }
        // RFC 8020: a name above an existing one exists.
        let exists = self.records.keys().any(|known| below(known, name)) || self.moods.contains_key(name);
        if exists { Found::Records(Vec::new()) } else { Found::NoName }
    }
}

/// RFC 5782 §5: 127.0.0.2, and for IPv6 ::FFFF:7F00:2, must be listed; TEST in a list of domains.
fn is_test_point(name: &str, suffix: &str) -> bool {
    let v4 = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    let v6 = IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0x7f00, 2));
    let domain = name.strip_suffix(suffix).is_some_and(|rest| rest == "test.");
    domain || name == reversed(v4, suffix) || name == reversed(v6, suffix)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
    use hickory_resolver::net::runtime::TokioRuntimeProvider;
    use hickory_resolver::proto::op::Query;
    use hickory_resolver::{Resolver, TokioResolver};

    use super::*;

    async fn zone() -> Zone {
        Zone::start("127.0.0.1:0".parse().unwrap()).await.unwrap()
    }

    /// Asks once over UDP: response code, answers as text, and whether an SOA came along.
    async fn ask(zone: &Zone, name: &str, kind: RecordType) -> (ResponseCode, Vec<String>, bool) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut question = Message::query();
        question.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        socket.send_to(&question.to_vec().unwrap(), zone.addr()).await.unwrap();
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).await.unwrap();
        let reply = Message::from_vec(&buffer[..length]).unwrap();
        assert_eq!(reply.metadata.id, question.metadata.id);
        let mut answers: Vec<_> = reply.answers.iter().map(|r| r.data.to_string()).collect();
        answers.sort();
        let soa = reply.authorities.iter().any(|r| r.record_type() == RecordType::SOA);
        (reply.metadata.response_code, answers, soa)
    }

    const OK: ResponseCode = ResponseCode::NoError;
    const NX: ResponseCode = ResponseCode::NXDomain;

    #[tokio::test]
    async fn absent_names_and_absent_types_differ() {
        let zone = zone().await;
        zone.a("mx1.Example.test", "192.0.2.1".parse().unwrap());
        zone.a("mx1.example.test", "2001:db8::1".parse().unwrap());
        zone.mx("example.test", 10, "mx1.example.test").unwrap();
        zone.txt("txt.example.test", "v=spf1 -all");
        zone.ptr("192.0.2.1".parse().unwrap(), "mx1.example.test").unwrap();
        for (name, kind, expect) in [
            ("MX1.example.test.", RecordType::A, (OK, vec!["192.0.2.1"], false)),
            ("mx1.example.test.", RecordType::AAAA, (OK, vec!["2001:db8::1"], false)),
            ("mx1.example.test.", RecordType::MX, (OK, vec![], true)),
            ("example.test.", RecordType::MX, (OK, vec!["10 mx1.example.test."], false)),
            ("test.", RecordType::A, (OK, vec![], true)),
            ("mx2.example.test.", RecordType::A, (NX, vec![], true)),
            ("1.2.0.192.in-addr.arpa.", RecordType::PTR, (OK, vec!["mx1.example.test."], false)),
        ] {
            let expect = (expect.0, expect.1.iter().map(|s| (*s).to_string()).collect::<Vec<_>>(), expect.2);
            assert_eq!(ask(&zone, name, kind).await, expect, "{name} {kind}");
        }
        zone.remove("mx1.example.test");
        assert_eq!(ask(&zone, "mx1.example.test.", RecordType::A).await.0, NX);
        assert_eq!(zone.queries(), 8);
        assert_eq!(zone.queries_below("example.test"), 6);
    }

    #[tokio::test]
    async fn a_healthy_blocklist_has_its_test_points_and_what_it_was_told() {
        let zone = zone().await;
        zone.mood("bl.test", Mood::Dnsbl);
        let address = "192.0.2.11".parse().unwrap();
        zone.listed("bl.test", address, Ipv4Addr::new(127, 0, 0, 3));
        let listed = |codes: &[&str]| (OK, codes.iter().map(|s| (*s).to_string()).collect::<Vec<_>>(), false);
        assert_eq!(ask(&zone, "2.0.0.127.bl.test.", RecordType::A).await, listed(&["127.0.0.2"]));
        assert_eq!(ask(&zone, "1.0.0.127.bl.test.", RecordType::A).await, (NX, vec![], true));
        assert_eq!(ask(&zone, "11.2.0.192.bl.test.", RecordType::A).await, listed(&["127.0.0.3"]));
        assert_eq!(ask(&zone, "12.2.0.192.bl.test.", RecordType::A).await.0, NX);
        zone.delisted("bl.test", address);
        assert_eq!(ask(&zone, "11.2.0.192.bl.test.", RecordType::A).await.0, NX);
        let v6 = "2001:db8::11".parse().unwrap();
        zone.listed("bl.test", v6, Ipv4Addr::new(127, 0, 0, 4));
        assert_eq!(ask(&zone, &reversed(v6, "bl.test."), RecordType::A).await, listed(&["127.0.0.4"]));
    }

    #[tokio::test]
    async fn moods_rule_below_their_suffix_only() {
        let zone = zone().await;
        zone.mood("refuses.test", Mood::refusing());
        zone.mood("all.test", Mood::lists_everything());
        zone.mood("broken.test", Mood::Code(ResponseCode::ServFail));
        zone.mood("silent.test", Mood::Silent);
        zone.a("fine.test", "192.0.2.9".parse().unwrap());
        assert_eq!(ask(&zone, "1.0.0.127.refuses.test.", RecordType::A).await.1, ["127.255.255.254"]);
        assert_eq!(ask(&zone, "1.0.0.127.all.test.", RecordType::A).await.1, ["127.0.0.2"]);
        assert_eq!(ask(&zone, "x.broken.test.", RecordType::A).await.0, ResponseCode::ServFail);
        assert_eq!(ask(&zone, "fine.test.", RecordType::A).await.1, ["192.0.2.9"]);
        let silent = ask(&zone, "x.silent.test.", RecordType::A);
        assert!(tokio::time::timeout(Duration::from_millis(30), silent).await.is_err());
        assert_eq!(zone.queries_below("silent.test"), 1);
    }

    #[tokio::test]
    async fn a_resolver_gets_more_than_a_datagram_holds_over_tcp() {
        let zone = zone().await;
        for n in 0..200 {
            zone.txt("big.test", &format!("{n:->60}"));
        }
        let mut udp = ConnectionConfig::udp();
        udp.port = zone.addr().port();
        let mut tcp = ConnectionConfig::tcp();
        tcp.port = zone.addr().port();
        let server = NameServerConfig::new(zone.addr().ip(), true, vec![udp, tcp]);
        let config = ResolverConfig::from_parts(None, vec![], vec![server]);
        let resolver: TokioResolver =
            Resolver::builder_with_config(config, TokioRuntimeProvider::default()).build().unwrap();
        assert_eq!(resolver.txt_lookup("big.test.").await.unwrap().answers().len(), 200);
    }
}
