//! Questions to name servers: the one place of the monitor that knows hickory.
//!
//! Each [`Asker`] has resolvers of its own, with nothing cached (a change must be seen in the round it happens), one
//! server asked at a time (two at once would double what a list is asked), one repetition within the time for a
//! question, and a bounded number in flight: name servers and socket buffers drop what comes in floods, and a dropped
//! question costs the whole time-out. Of several servers the one that answered last is asked first, and the next when it is
//! silent or fails: each is a resolver of its own, because hickory's pool counts NXDOMAIN, the commonest answer of a list,
//! against a server, and gives no second server its time once the first has used it up.
//!
//! Errors are mapped by hand. hickory reports NXDOMAIN and NODATA as errors beside SERVFAIL and time-outs; taking
//! "error" for "clean" or for "listed" are both classic mistakes. No error text leaves here: it may hold the name that
//! was asked, and that name may hold a key.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::{Resolver, TokioResolver, system_conf};
use tokio::sync::Semaphore;

use super::answer::DnsOutcome;
use super::reverse::Found;

/// Servers asked about one name.
const SERVERS_MAX: usize = 3;

/// Questions in flight per resolver.
const IN_FLIGHT: usize = 64;

/// The resolver could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up a resolver for {what}: {why}")]
pub struct SetupError {
    /// For which zone or purpose.
    pub(super) what: String,
    /// Why.
    pub(super) why: String,
}

/// A resolver for one purpose.
pub(super) struct Asker {
    /// One per server; at least one.
    resolvers: Vec<TokioResolver>,
    /// The one that answered last.
    first: AtomicUsize,
    patience: Duration,
    gate: Semaphore,
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
    pub(super) fn new(what: &str, servers: &[SocketAddr], timeout: Duration) -> Result<Self, SetupError> {
        let failed = |why: String| SetupError { what: what.to_owned(), why };
        let mut servers: Vec<NameServerConfig> = if servers.is_empty() {
            let (system, _) = system_conf::read_system_conf()
                .map_err(|e| failed(format!("no servers are configured and the system's cannot be read: {e}")))?;
            system.name_servers().to_vec()
        } else {
            servers.iter().map(|server| name_server(*server)).collect()
        };
        servers.truncate(SERVERS_MAX);
        if servers.is_empty() {
            return Err(failed("no servers are configured and the system knows none".to_owned()));
        }
        let options = options(timeout, servers.len());
        let resolver = |server: NameServerConfig| {
            let config = ResolverConfig::from_name_servers(vec![server]);
            let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
            *builder.options_mut() = options.clone();
            builder.build().map_err(|e| failed(e.to_string()))
        };
        let resolvers = servers.into_iter().map(resolver).collect::<Result<_, _>>()?;
        let gate = Semaphore::new(IN_FLIGHT);
        // The resolvers keep their own time; this is for the day they do not.
        Ok(Self { resolvers, first: AtomicUsize::new(0), patience: timeout + Duration::from_secs(2), gate })
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
        let count = self.resolvers.len();
        let from = self.first.load(Ordering::Relaxed);
        let mut last = Failure::Other("no_connections");
        for turn in 0..count {
            let at = (from + turn) % count;
            let Some(resolver) = self.resolvers.get(at) else { continue };
            let said = match resolver.lookup(name, kind).await {
                Ok(lookup) => Ok(lookup.answers().iter().map(|record| record.data.clone()).collect()),
                Err(error) => Err(failure(&error)),
            };
            match said {
                Err(Failure::NxDomain | Failure::NoData) | Ok(_) => {
                    self.first.store(at, Ordering::Relaxed);
                    return said;
                }
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }
}

/// Addresses of the name servers that the system uses; none where they cannot be read.
pub(super) fn system_servers() -> Vec<IpAddr> {
    let read = system_conf::read_system_conf();
    read.map(|(config, _)| config.name_servers().iter().map(|server| server.ip).collect()).unwrap_or_default()
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
