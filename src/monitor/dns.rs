//! Questions to name servers: the one place of the monitor that knows hickory.
//!
//! Each [`Asker`] has resolvers of its own, with nothing cached (a change must be seen in the round it happens), one
//! server asked at a time (two at once would double what a list is asked), one repetition within the time for a
//! question, and a bounded number in flight: name servers and socket buffers drop what comes in floods, and a dropped
//! question costs the whole time-out. Several servers are asked in the order in which they are configured, the next when one
//! is silent or fails; it is then asked first, until a minute later one question tries the first again. Each is a resolver
//! of its own, because hickory's pool counts NXDOMAIN, the commonest answer of a list, against a server, and gives no second
//! server its time once the first has used it up. A server that is proven to lie ([`Liars`]) is not asked while there is
//! another.
//!
//! Errors are mapped by hand. hickory reports NXDOMAIN and NODATA as errors beside SERVFAIL and time-outs; taking
//! "error" for "clean" or for "listed" are both classic mistakes. No error text leaves here: it may hold the name that
//! was asked, and that name may hold a key.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::{Resolver, TokioResolver, system_conf};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Semaphore;

use super::answer::DnsOutcome;
use super::reverse::Found;
use crate::clock::{Clock, Mono};
use crate::delivery::mx::built;

/// Servers asked about one name.
const SERVERS_MAX: usize = 3;

/// Questions in flight per resolver.
const IN_FLIGHT: usize = 64;

/// Time after which a server that was passed over is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// The resolver could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up a resolver for {what}: {why}")]
pub struct SetupError {
    /// For which zone or purpose.
    pub(super) what: String,
    /// Why.
    pub(super) why: String,
}

/// Servers that are proven to lie, as all who ask them know.
#[derive(Clone, Debug, Default)]
pub(super) struct Liars(Arc<RwLock<BTreeSet<SocketAddr>>>);

impl Liars {
    /// These, and no others.
    pub(super) fn set(&self, servers: BTreeSet<SocketAddr>) {
        *self.0.write() = servers;
    }

    fn has(&self, server: SocketAddr) -> bool {
        self.0.read().contains(&server)
    }
}

/// A resolver for one purpose.
pub(super) struct Asker {
    /// One per server; at least one.
    resolvers: Vec<(SocketAddr, TokioResolver)>,
    turn: Mutex<Turn>,
    liars: Liars,
    clock: Arc<dyn Clock>,
    patience: Duration,
    gate: Semaphore,
}

/// Which server is asked first.
struct Turn {
    first: usize,
    /// Since when; where that is not the first of the configuration, also when a question last began with that.
    since: Mono,
}

enum Failure {
    NxDomain,
    NoData,
    ServFail,
    Refused,
    Timeout,
    Other(&'static str),
}

impl Asker {
    /// Asks `servers`, or the system's where there are none. `timeout` is for a question with its repetition.
    pub(super) fn new(
        what: &str,
        servers: &[SocketAddr],
        timeout: Duration,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        let failed = |why: String| SetupError { what: what.to_owned(), why };
        let servers = servers_of(servers).map_err(failed)?;
        let options = options(timeout, servers.len());
        let resolver = |server: SocketAddr| {
            let config = ResolverConfig::from_name_servers(vec![name_server(server)]);
            let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
            *builder.options_mut() = options.clone();
            built(builder).map(|resolver| (server, resolver)).map_err(|e| failed(e.to_string()))
        };
        let resolvers = servers.into_iter().map(resolver).collect::<Result<_, _>>()?;
        Ok(Self {
            resolvers,
            turn: Mutex::new(Turn { first: 0, since: clock.now().mono }),
            liars: Liars::default(),
            clock: Arc::clone(clock),
            // The resolvers keep their own time; this is for the day they do not.
            patience: timeout + Duration::from_secs(2),
            gate: Semaphore::new(IN_FLIGHT),
        })
    }

    /// The same, which does not ask those of `liars` while there are others.
    pub(super) fn heeding(self, liars: &Liars) -> Self {
        Self { liars: liars.clone(), ..self }
    }

    /// Whom it asks, in order.
    pub(super) fn servers(&self) -> impl Iterator<Item = SocketAddr> {
        self.resolvers.iter().map(|(server, _)| *server)
    }

    /// Whether nobody is left to be believed.
    pub(super) fn is_all_lies(&self) -> bool {
        self.resolvers.iter().all(|(server, _)| self.liars.has(*server))
    }

    /// A records of `name`, which must be fully qualified.
    pub(super) async fn a(&self, name: &str) -> DnsOutcome {
        let records = self.ask(name, RecordType::A).await;
        match records {
            Ok(records) => DnsOutcome::Addresses(
                records.iter().filter_map(|data| if let RData::A(a) = data { Some(a.0) } else { None }).collect(),
            ),
            Err(Failure::NxDomain) => DnsOutcome::NxDomain,
            Err(Failure::NoData) => DnsOutcome::NoData,
            Err(Failure::ServFail) => DnsOutcome::ServFail,
            Err(Failure::Refused) => DnsOutcome::Refused,
            Err(Failure::Timeout) => DnsOutcome::Timeout,
            Err(Failure::Other(why)) => DnsOutcome::Other(why),
        }
    }

    /// TXT records of `name`, which must be fully qualified; none where there are none or nobody answers.
    pub(super) async fn txt(&self, name: &str) -> Vec<String> {
        let records = self.ask(name, RecordType::TXT).await.unwrap_or_default();
        let text = |data: &RData| match data {
            RData::TXT(txt) => Some(txt.txt_data.iter().map(|part| String::from_utf8_lossy(part)).collect::<String>()),
            _ => None,
        };
        records.iter().filter_map(text).collect()
    }

    /// PTR names of `address`, without the trailing dot.
    pub(super) async fn ptr(&self, address: IpAddr) -> Found<String> {
        let arpa = if address.is_ipv4() { "in-addr.arpa" } else { "ip6.arpa" };
        let name = super::answer::query_name(address, arpa);
        found(self.ask(&name, RecordType::PTR).await, |data| match data {
            RData::PTR(ptr) => Some(ptr.0.to_ascii().trim_end_matches('.').to_lowercase()),
            _ => None,
        })
    }

    /// Addresses of `name` of the family of `like`.
    pub(super) async fn addresses(&self, name: &str, like: IpAddr) -> Found<IpAddr> {
        let kind = if like.is_ipv4() { RecordType::A } else { RecordType::AAAA };
        let name = format!("{}.", name.trim_end_matches('.'));
        found(self.ask(&name, kind).await, |data| match data {
            RData::A(a) => Some(IpAddr::V4(a.0)),
            RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
            _ => None,
        })
    }

    /// TXT records of `name`, the strings of each joined (RFC 7208 §3.3), and what is not UTF-8 in them replaced.
    pub(super) async fn texts(&self, name: &str) -> Found<String> {
        let name = format!("{}.", name.trim_end_matches('.'));
        found(self.ask(&name, RecordType::TXT).await, |data| match data {
            RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
            _ => None,
        })
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, Failure> {
        // The semaphore is never closed; were it, an unlimited question is still a question.
        let _slot = self.gate.acquire().await.ok();
        tokio::time::timeout(self.patience, self.ask_servers(name, kind)).await.unwrap_or(Err(Failure::Timeout))
    }

    async fn ask_servers(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, Failure> {
        let from = self.begins();
        let (before, after) = self.resolvers.split_at(from.min(self.resolvers.len()));
        let count = before.len();
        let in_turn = after.iter().enumerate().map(|(at, one)| (count + at, one)).chain(before.iter().enumerate());
        // Where all lie, what they say is not believed elsewhere, and asking shows when that ends.
        let all_lie = self.is_all_lies();
        let mut last = Failure::Other("no_connections");
        for (at, (_, resolver)) in in_turn.filter(|(_, (server, _))| all_lie || !self.liars.has(*server)) {
            let said = match resolver.lookup(name, kind).await {
                Ok(lookup) => Ok(lookup.answers().iter().map(|record| record.data.clone()).collect()),
                Err(error) => Err(failure(&error)),
            };
            match said {
                Err(Failure::NxDomain | Failure::NoData) | Ok(_) => {
                    self.answered(from, at);
                    return said;
                }
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    /// Where a question begins. After [`AGAIN`] one begins with the first of the configuration; the others go on as before
    /// until that has answered, so that a dead one costs one question its time and not all.
    fn begins(&self) -> usize {
        let mut turn = self.turn.lock();
        let now = self.clock.now().mono;
        if turn.first > 0 && now.since(turn.since) >= AGAIN {
            turn.since = now;
            return 0;
        }
        turn.first
    }

    /// The question that began with `from` was answered by `at`.
    fn answered(&self, from: usize, at: usize) {
        let mut turn = self.turn.lock();
        // One that began before another found the first again must not take that back.
        let failed_over = from == turn.first && at != from;
        if at < turn.first || failed_over {
            *turn = Turn { first: at, since: self.clock.now().mono };
        }
    }
}

/// `configured`, or those of the system where none are; at least one, at most so many as are asked about one name.
pub(super) fn servers_of(configured: &[SocketAddr]) -> Result<Vec<SocketAddr>, String> {
    let mut servers = configured.to_vec();
    if servers.is_empty() {
        let (system, _) = system_conf::read_system_conf()
            .map_err(|e| format!("no servers are configured and the system's cannot be read: {e}"))?;
        let port = |server: &NameServerConfig| server.connections.first().map_or(53, |connection| connection.port);
        servers = system.name_servers().iter().map(|server| SocketAddr::new(server.ip, port(server))).collect();
    }
    let mut seen = BTreeSet::new();
    servers.retain(|server| seen.insert(*server));
    servers.truncate(SERVERS_MAX);
    if servers.is_empty() { Err("no servers are configured and the system knows none".to_owned()) } else { Ok(servers) }
}

fn found<T>(records: Result<Vec<RData>, Failure>, read: impl Fn(&RData) -> Option<T>) -> Found<T> {
    match records.map(|all| all.iter().filter_map(read).collect::<Vec<T>>()) {
        Ok(all) if !all.is_empty() => Found::Records(all),
        Ok(_) | Err(Failure::NxDomain | Failure::NoData) => Found::Absent,
        Err(Failure::ServFail) => Found::Failed("servfail"),
        Err(Failure::Refused) => Found::Failed("refused"),
        Err(Failure::Timeout) => Found::Failed("timeout"),
        Err(Failure::Other(why)) => Found::Failed(why),
    }
}

pub(super) fn name_server(server: SocketAddr) -> NameServerConfig {
    let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
    (udp.port, tcp.port) = (server.port(), server.port());
    // NXDOMAIN is the commonest answer of a DNSBL and not to be asked again elsewhere.
    NameServerConfig::new(server.ip(), true, vec![udp, tcp])
}

/// Options of one of `servers` resolvers: all their tries together take `timeout`.
pub(super) fn options(timeout: Duration, servers: usize) -> ResolverOpts {
    let mut options = ResolverOpts::default();
    // What hickory calls attempts are repetitions, each with the full time. The next server is repetition enough.
    options.attempts = usize::from(servers == 1);
    let tries = u32::try_from(servers.max(2)).unwrap_or(2);
    options.timeout = (timeout / tries).max(Duration::from_millis(1));
    options.num_concurrent_reqs = 1;
    options.cache_size = 0;
    // A cache without room still holds the newest answers for a moment; without time to live it does not.
    options.positive_max_ttl = Some(Duration::ZERO);
    options.negative_max_ttl = Some(Duration::ZERO);
    options.use_hosts_file = ResolveHosts::Never;
    options
}

fn failure(error: &NetError) -> Failure {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => Failure::NxDomain,
            ResponseCode::NoError => Failure::NoData,
            code => response_code(code),
        },
        NetError::Dns(DnsError::ResponseCode(code)) => response_code(*code),
        NetError::Timeout => Failure::Timeout,
        other => Failure::Other(other.as_metrics_label()),
    }
}

fn response_code(code: ResponseCode) -> Failure {
    match code {
        ResponseCode::ServFail => Failure::ServFail,
        ResponseCode::Refused => Failure::Refused,
        _ => Failure::Other("dns_response_code"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, Wall};
    use crate::monitor::responder::{Reply, Responder};

    struct Bench {
        first: Responder,
        second: Responder,
        clock: ManualClock,
        asker: Asker,
        liars: Liars,
    }

    /// Two servers that give different answers, so that it shows who was asked.
    async fn bench() -> Bench {
        let (first, second) = (
            Responder::start(Reply::A(vec![[127, 0, 0, 1]])).await,
            Responder::start(Reply::A(vec![[127, 0, 0, 2]])).await,
        );
        let clock = ManualClock::at(Wall::from_millis(1_800_000_000_000));
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let servers = [first.address, second.address];
        let liars = Liars::default();
        let asker = Asker::new("test", &servers, Duration::from_millis(400), &shared).unwrap().heeding(&liars);
        Bench { first, second, clock, asker, liars }
    }

    impl Bench {
        /// Who answers: the number of the server, 0 for nobody.
        async fn who(&self) -> u8 {
            match self.asker.a("x.example.org.").await {
                DnsOutcome::Addresses(all) => all[0].octets()[3],
                _ => 0,
            }
        }
    }

    #[tokio::test]
    async fn after_a_hiccup_the_first_server_is_the_first_again() {
        let bench = bench().await;
        assert_eq!(bench.who().await, 1);
        bench.first.set_default(Reply::ServFail);
        assert_eq!(bench.who().await, 2);
        bench.first.set_default(Reply::A(vec![[127, 0, 0, 1]]));
        assert_eq!(bench.who().await, 2, "not tried again at once");
        bench.clock.advance(AGAIN);
        assert_eq!(bench.who().await, 1);
        assert_eq!(bench.who().await, 1, "and it stays");
        bench.second.set_default(Reply::ServFail);
        assert_eq!(bench.who().await, 1);
    }

    #[tokio::test]
    async fn one_question_a_minute_tries_a_server_that_is_still_away() {
        let bench = bench().await;
        bench.first.set_default(Reply::Refused);
        assert_eq!(bench.who().await, 2);
        bench.clock.advance(AGAIN);
        assert_eq!(bench.asker.begins(), 0, "one tries");
        assert_eq!(bench.asker.begins(), 1, "the others do not wait for it");
        bench.asker.answered(0, 1);
        assert_eq!(bench.asker.begins(), 1);
        bench.asker.answered(0, 0);
        bench.asker.answered(1, 1);
        assert_eq!(bench.asker.begins(), 0, "an answer to an older question takes nothing back");
    }

    #[tokio::test]
    async fn a_server_that_lies_is_not_asked_while_there_is_another() {
        let bench = bench().await;
        bench.liars.set([bench.first.address].into());
        assert_eq!(bench.who().await, 2);
        bench.second.set_default(Reply::ServFail);
        assert_eq!(bench.who().await, 0, "no answer is better than a lie");
        bench.liars.set([bench.first.address, bench.second.address].into());
        assert!(bench.asker.is_all_lies());
        assert_eq!(bench.who().await, 1, "where all lie they are asked all the same: nobody believes it");
        bench.liars.set(BTreeSet::new());
        assert_eq!(bench.who().await, 1);
    }
}
