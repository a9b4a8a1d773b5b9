//! Asks DNS for the hosts of a recipient domain and their addresses.
//!
//! What the answers mean is decided in `plan` (pure). Here are the questions: fully qualified names only, at most
//! `dns.max_in_flight` at a time (hickory drops answers beyond a few hundred), a breaker in front for dead name servers,
//! and a cache of finished plans, so that all mail to a domain shares one `Arc`. Equal questions in flight are joined by
//! hickory. Plans live as long as their records, but 1 min – 1 h; what is temporary is never cached.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::{ResolverBuilder, TokioResolver};
use parking_lot::{Mutex, RwLock};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::Semaphore;

use super::breaker::Breaker;
use super::happy;
use super::plan::{self, Found, MxRecord, NoPlan, Planned, Routing};
use crate::clock::{Clock, Mono, SystemClock};
pub use crate::config::Family;
use crate::config::{Binding, Dns, Host, HostPort};
use crate::message::Domain;

/// Retries of one question after the first try (hickory's meaning of attempts).
const RETRIES: usize = 1;
/// Plans kept.
const CACHE_MAX: usize = 20_000;
const TTL_MIN: Duration = Duration::from_secs(60);
const TTL_MAX: Duration = Duration::from_secs(3600);

fn record_type(family: Family) -> RecordType {
    match family {
        Family::V4 => RecordType::A,
        Family::V6 => RecordType::AAAA,
    }
}

/// The resolver could not be set up: the system's configuration is unusable.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the DNS resolver: {0}")]
pub struct ResolverError(String);

impl ResolverError {
    /// `why` in words.
    pub(crate) fn new(why: String) -> Self {
        Self(why)
    }
}

/// The way to the name servers of a configuration.
pub struct Servers {
    dns: TokioResolver,
    in_flight: Semaphore,
    breaker: Mutex<Breaker>,
}

impl Servers {
    /// Those of `dns.servers`, or the system's where none are given. Nothing is asked yet.
    ///
    /// # Errors
    /// The system's configuration is unusable.
    pub fn new(dns: &Dns) -> Result<Self, ResolverError> {
        Ok(Self {
            dns: build(dns).map_err(|error| ResolverError(error.to_string()))?,
            in_flight: Semaphore::new(dns.max_in_flight.clamp(1, Semaphore::MAX_PERMITS)),
            breaker: Mutex::default(),
        })
    }
}

/// Finds plans and addresses.
pub struct Resolver {
    servers: RwLock<Arc<Servers>>,
    clock: SystemClock,
    routing: RwLock<Arc<Routing>>,
    plans: Mutex<HashMap<Domain, Cached>>,
}

struct Cached {
    planned: Planned,
    made: Mono,
    ttl: Duration,
}

impl Cached {
    fn holds(&self, now: Mono) -> bool {
        now.since(self.made) < self.ttl
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("cached", &self.plans.lock().len()).finish_non_exhaustive()
    }
}

impl Resolver {
    /// A resolver that asks `dns.servers`, or the system's name servers where none are given. Needs a tokio runtime
    /// only when asked.
    pub fn new(dns: &Dns, routing: Routing) -> Result<Self, ResolverError> {
        Ok(Self {
            servers: RwLock::new(Arc::new(Servers::new(dns)?)),
            clock: SystemClock::default(),
            routing: RwLock::new(Arc::new(routing)),
            plans: Mutex::default(),
        })
    }

    /// Asks others from now on; what is on the way is answered by those it was asked of. Call [`Resolver::reroute`] as well:
    /// what the old ones said is not what the new ones would say.
    pub fn ask_others(&self, servers: Servers) {
        *self.servers.write() = Arc::new(servers);
    }

    /// Takes over new providers and routes; cached plans are forgotten.
    pub fn reroute(&self, routing: Routing) {
        *self.routing.write() = Arc::new(routing);
        self.plans.lock().clear();
    }

    /// Where mail for `domain` goes.
    pub async fn plan(&self, domain: &Domain) -> Planned {
        let routing = self.routing.read().clone();
        if let Some(pinned) = routing.pinned(domain) {
            return Ok(pinned);
        }
        if let Some(literal) = routing.literal(domain) {
            return literal;
        }
        if let Some(planned) = self.cached(domain) {
            return planned;
        }
        let (planned, ttl) = self.ask(&routing, domain).await;
        // A plan of a routing that was replaced meanwhile must not outlive it.
        if Arc::ptr_eq(&routing, &self.routing.read()) {
            self.remember(domain, &planned, ttl);
        }
        planned
    }

    /// Addresses of `host` in `family`, without those that strangers' DNS must not lead to (see
    /// [`plan::is_public`]) unless `allow_private`. An error says why there are none.
    pub async fn addresses(
        &self,
        host: &HostPort,
        family: Family,
        allow_private: bool,
    ) -> Result<Vec<SocketAddr>, String> {
        let found = match &host.host {
            Host::Address(ip) if Family::of(*ip) == family => vec![*ip],
            Host::Address(ip) => return Err(format!("{ip} is not of the binding's address family")),
            Host::Name(name) => match self.ips(name, family).await {
                (Found::Some(ips), _) => ips,
                (Found::NoData, _) => return Err(format!("{name} has no {} record", record_type(family))),
                (Found::NxDomain, _) => return Err(format!("host {name} does not exist")),
                (Found::Failed(why), _) => return Err(format!("address look-up of {name} failed: {why}")),
            },
        };
        let mut allowed: Vec<_> = found.iter().filter(|&&ip| allow_private || plan::is_public(ip)).collect();
        allowed.dedup();
        if allowed.is_empty() {
            let host = plan::host_text(&host.host);
            return Err(format!("{host} has only addresses of private networks or of this host"));
        }
        Ok(allowed.into_iter().map(|&ip| SocketAddr::new(ip, host.port)).collect())
    }

    /// The first of these addresses that is our own: mail sent there would come back.
    pub fn own_of(&self, addresses: &[SocketAddr]) -> Option<SocketAddr> {
        let routing = self.routing.read();
        addresses.iter().find(|address| routing.ourselves().is_at(**address)).copied()
    }

    /// TXT records of `name`, the strings of each joined; what is not UTF-8 in them is replaced.
    pub async fn txt(&self, name: &Domain) -> Found<Vec<String>> {
        let read = |record: &Record| match &record.data {
            RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
            _ => None,
        };
        self.records(name, RecordType::TXT, read).await.0
    }

    /// Addresses of `host` that can be reached from `binding`, in the order in which they are tried ([`happy`]); else as
    /// [`Resolver::addresses`]. Where the binding has both families both are asked for at once, and one of which nothing
    /// can be found out is no reason not to use the other.
    pub async fn reached_from(
        &self,
        binding: &Binding,
        host: &HostPort,
        allow_private: bool,
    ) -> Result<Vec<SocketAddr>, String> {
        let (sources, first) = (binding.sources(), binding.prefer);
        if let Some(only) = [first, first.other()].into_iter().find(|family| sources.of(family.other()).is_none()) {
            return self.addresses(host, only, allow_private).await;
        }
        let of = |family| self.addresses(host, family, allow_private);
        match tokio::join!(of(first), of(first.other())) {
            (Ok(preferred), Ok(other)) => Ok(happy::in_turns(&preferred, &other)),
            (Ok(only), Err(_)) | (Err(_), Ok(only)) => Ok(only),
            (Err(why), Err(also)) if why == also => Err(why),
            // An address in place of a name is of one family, and of that there is more to say.
            (Err(why), Err(also)) => match &host.host {
                Host::Address(ip) if Family::of(*ip) == first => Err(why),
                Host::Address(_) => Err(also),
                Host::Name(_) => Err(format!("{why}; {also}")),
            },
        }
    }

    async fn ask(&self, routing: &Routing, domain: &Domain) -> (Planned, Duration) {
        let (found, ttl) = self.records(domain, RecordType::MX, mx_record).await;
        match found {
            Found::Some(records) => (routing.from_mx(domain, records), ttl),
            Found::NxDomain => (Err(plan::no_such_domain(domain)), ttl),
            Found::Failed(why) => (Err(plan::temporary(domain, &why)), ttl),
            Found::NoData => {
                let ((v4, ttl4), (v6, ttl6)) = tokio::join!(self.ips(domain, Family::V4), self.ips(domain, Family::V6));
                (routing.implicit(domain, &v4, &v6), ttl.min(ttl4).min(ttl6))
            }
        }
    }

    async fn ips(&self, name: &Domain, family: Family) -> (Found<Vec<IpAddr>>, Duration) {
        self.records(name, record_type(family), |record| match record.data {
            RData::A(ip) => Some(IpAddr::V4(ip.0)),
            RData::AAAA(ip) => Some(IpAddr::V6(ip.0)),
            _ => None,
        })
        .await
    }

    /// One question. The answer's records as `read` takes them, and how long the answer holds.
    async fn records<T>(
        &self,
        domain: &Domain,
        kind: RecordType,
        read: impl Fn(&Record) -> Option<T>,
    ) -> (Found<Vec<T>>, Duration) {
        // With its last dot, so that no search list comes into play.
        let Ok(name) = Name::from_ascii(format!("{domain}.")) else {
            return (Found::Failed("not a DNS name".to_owned()), Duration::ZERO);
        };
        let servers = Arc::clone(&self.servers.read());
        let Ok(_permit) = servers.in_flight.acquire().await else {
            return (Found::Failed("resolver closed".to_owned()), Duration::ZERO);
        };
        if !servers.breaker.lock().allows(self.now()) {
            return (Found::Failed("name servers do not answer".to_owned()), Duration::ZERO);
        }
        let answer = servers.dns.lookup(name, kind).await;
        if matches!(answer, Err(NetError::Timeout | NetError::NoConnections | NetError::Io(_))) {
            servers.breaker.lock().timed_out(self.now());
        } else {
            servers.breaker.lock().answered();
        }
        match answer {
            Ok(lookup) => {
                let ttl = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or(0);
                let records: Vec<T> = lookup.answers().iter().filter_map(read).collect();
                let found = if records.is_empty() { Found::NoData } else { Found::Some(records) };
                (found, Duration::from_secs(ttl.into()))
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
                let found = if none.response_code == hickory_resolver::proto::op::ResponseCode::NXDomain {
                    Found::NxDomain
                } else {
                    Found::NoData
                };
                (found, Duration::from_secs(none.negative_ttl.unwrap_or(0).into()))
            }
            Err(error) => (Found::Failed(error.to_string()), Duration::ZERO),
        }
    }

    fn now(&self) -> Mono {
        self.clock.now().mono
    }

    fn cached(&self, domain: &Domain) -> Option<Planned> {
        let now = self.now();
        let plans = self.plans.lock();
        plans.get(domain).filter(|cached| cached.holds(now)).map(|cached| cached.planned.clone())
    }

    fn remember(&self, domain: &Domain, planned: &Planned, ttl: Duration) {
        if matches!(planned, Err(NoPlan::Temporary { .. })) {
            return;
        }
        let now = self.now();
        let mut plans = self.plans.lock();
        if plans.len() >= CACHE_MAX {
            plans.retain(|_, cached| cached.holds(now));
            // Still full: an eighth goes, whichever the map yields; asking again is cheap.
            let mut spared = plans.len().saturating_sub(CACHE_MAX - CACHE_MAX / 8);
            plans.retain(|_, _| {
                let goes = spared > 0;
                spared -= usize::from(goes);
                !goes
            });
        }
        let ttl = ttl.clamp(TTL_MIN, TTL_MAX);
        plans.insert(domain.clone(), Cached { planned: planned.clone(), made: now, ttl });
    }
}

fn build(dns: &Dns) -> Result<TokioResolver, NetError> {
    built(builder(dns)?)
}

/// A resolver that asks the name servers of `dns`, not built yet.
///
/// # Errors
/// The system's configuration is unusable.
pub(crate) fn builder(dns: &Dns) -> Result<ResolverBuilder<TokioRuntimeProvider>, NetError> {
    let mut builder = if dns.servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let servers = dns.servers.iter().map(name_server).collect();
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    options.timeout = dns.timeout;
    options.attempts = RETRIES;
    // Counts only for TCP; the semaphore is the limit.
    options.max_active_requests = dns.max_in_flight.max(32);
    Ok(builder)
}

/// What `builder` describes. Name servers are asked in the clear, so nobody is believed: by its own default the resolver
/// would load the system's authorities, and be none on a system where no `ca-certificates` are installed.
///
/// # Errors
/// What the resolver says, or TLS that cannot be set up at all.
pub(crate) fn built(builder: ResolverBuilder<TokioRuntimeProvider>) -> Result<TokioResolver, NetError> {
    let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let tls = tls.with_safe_default_protocol_versions()?.with_root_certificates(RootCertStore::empty());
    builder.with_tls_config(tls.with_no_client_auth()).build()
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.to_vec())
}

fn mx_record(record: &Record) -> Option<MxRecord> {
    let RData::MX(mx) = &record.data else { return None };
    let exchange = mx.exchange.to_ascii().trim_end_matches('.').to_ascii_lowercase();
    Some(MxRecord { preference: mx.preference, exchange })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Zone, a, delivery, mx, name_server};
    use super::*;
    use crate::config::Delivery;

    fn domain(text: &str) -> Domain {
        text.parse().expect("domain")
    }

    fn resolver(server: SocketAddr, delivery: &Delivery) -> Resolver {
        let timeout = Duration::from_millis(100);
        let dns = Dns { servers: vec![server], timeout, max_in_flight: 200, trust_anchor: None };
        let routing = Routing::new(&domain("relay.example.net"), delivery, Vec::new(), &[]);
        Resolver::new(&dns, routing).expect("resolver")
    }

    async fn zones() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
        name_server(vec![
            ("two.test", Zone::Has(vec![mx(20, "MX2.two.test."), mx(10, "mx1.two.test.")])),
            ("mx1.two.test", Zone::Has(vec![a("192.0.2.1"), a("127.0.0.1"), a("2001:db8::1")])),
            ("mx2.two.test", Zone::Has(vec![a("10.0.0.1")])),
            ("null.test", Zone::Has(vec![mx(0, ".")])),
            ("implicit.test", Zone::Has(vec![a("2001:db8::2")])),
            ("empty.test", Zone::Has(vec![])),
            ("broken.test", Zone::Broken),
            ("silent.test", Zone::Silent),
            ("loop.test", Zone::Has(vec![mx(10, "relay.example.net.")])),
        ])
        .await
    }

    #[tokio::test]
    async fn dns_answers_become_plans() {
        let (server, _) = zones().await;
        let resolver = resolver(server, &delivery());
        for (name, outcome) in [
            ("two.test", "site:mx[1,2].two.test"),
            ("null.test", "5.1.10"),
            ("implicit.test", "site:implicit.test"),
            ("empty.test", "5.1.2"),
            ("missing.test", "5.1.2"),
            ("loop.test", "5.4.6"),
            ("broken.test", "temporary"),
            ("silent.test", "temporary"),
        ] {
            let said = match resolver.plan(&domain(name)).await {
                Ok(plan) => plan.destination.to_string(),
                Err(NoPlan::Permanent { enhanced, .. }) => enhanced.to_string(),
                Err(NoPlan::Temporary { .. }) => "temporary".to_owned(),
            };
            assert_eq!(said, outcome, "{name}");
        }
        let plan = resolver.plan(&domain("two.test")).await.expect("plan");
        assert_eq!(plan.hosts[0][0].host, Host::Name(domain("mx1.two.test")));
        assert_eq!(plan.hosts[1][0], HostPort { host: Host::Name(domain("mx2.two.test")), port: 25 });
    }

    #[tokio::test]
    async fn plans_are_shared_and_temporary_answers_are_not_kept() {
        let (server, asked) = zones().await;
        let resolver = resolver(server, &delivery());
        let two = domain("two.test");
        let (first, second) = tokio::join!(resolver.plan(&two), resolver.plan(&two));
        assert_eq!(first, second);
        let third = resolver.plan(&domain("two.test")).await.expect("plan");
        assert!(Arc::ptr_eq(&third, &resolver.plan(&domain("two.test")).await.expect("plan")));
        assert_eq!(asked.lock().iter().filter(|question| *question == "two.test. MX").count(), 1);
        let questions = || asked.lock().iter().filter(|question| *question == "broken.test. MX").count();
        assert!(resolver.plan(&domain("broken.test")).await.is_err());
        let before = questions();
        assert!(resolver.plan(&domain("broken.test")).await.is_err());
        assert!(questions() > before);
    }

    #[tokio::test]
    async fn addresses_are_of_the_family_and_public() {
        let (server, _) = zones().await;
        let resolver = resolver(server, &delivery());
        let host = |name: &str| HostPort { host: Host::Name(domain(name)), port: 2525 };
        let found = resolver.addresses(&host("mx1.two.test"), Family::V4, false).await;
        assert_eq!(found, Ok(vec!["192.0.2.1:2525".parse().expect("address")]));
        let found = resolver.addresses(&host("mx1.two.test"), Family::V6, false).await;
        assert_eq!(found, Ok(vec!["[2001:db8::1]:2525".parse().expect("address")]));
        assert_eq!(resolver.addresses(&host("mx1.two.test"), Family::V4, true).await.expect("both").len(), 2);
        for (name, family, why) in [
            ("mx2.two.test", Family::V4, "private"),
            ("mx2.two.test", Family::V6, "no AAAA record"),
            ("mx9.two.test", Family::V4, "does not exist"),
            ("broken.test", Family::V4, "failed"),
        ] {
            let error = resolver.addresses(&host(name), family, false).await.expect_err(name);
            assert!(error.contains(why), "{error}");
        }
    }

    #[tokio::test]
    async fn a_binding_of_two_families_finds_what_either_finds() {
        use crate::config::Second;
        let (server, _) = name_server(vec![
            ("both.test", Zone::Has(vec![a("192.0.2.1"), a("192.0.2.2"), a("2001:db8::1")])),
            ("four.test", Zone::Has(vec![a("192.0.2.1")])),
            ("six.test", Zone::Has(vec![a("2001:db8::1"), a("::1")])),
            ("inside.test", Zone::Has(vec![a("10.0.0.1"), a("::1")])),
        ])
        .await;
        let resolver = resolver(server, &delivery());
        let (four, six): (IpAddr, IpAddr) = ("192.0.2.9".parse().expect("v4"), "2001:db8::9".parse().expect("v6"));
        let second = Some(Second { bind_address: six, public_address: six });
        let two = |prefer| Binding { second, prefer, ..Binding::new("two", four) };
        let (v4, v6) = (two(Family::V4), two(Family::V6));
        let (only4, only6) = (Binding::new("four", four), Binding::new("six", six));
        for (host, binding, expected) in [
            ("both.test", &v4, "192.0.2.1 2001:db8::1 192.0.2.2"),
            ("both.test", &v6, "2001:db8::1 192.0.2.1 192.0.2.2"),
            ("both.test", &only4, "192.0.2.1 192.0.2.2"),
            ("both.test", &only6, "2001:db8::1"),
            ("four.test", &v6, "192.0.2.1"),
            ("six.test", &v4, "2001:db8::1"),
            ("four.test", &only6, "four.test has no AAAA record"),
            ("inside.test", &v4, "inside.test has only addresses of private networks or of this host"),
            ("missing.test", &v6, "host missing.test does not exist"),
            ("[2001:db8::7]", &v4, "2001:db8::7"),
            ("[2001:db8::7]", &only4, "2001:db8::7 is not of the binding's address family"),
            ("[10.0.0.7]", &v6, "10.0.0.7 has only addresses of private networks or of this host"),
        ] {
            let name = match host.trim_matches(['[', ']']).parse() {
                Ok(address) => Host::Address(address),
                Err(_) => Host::Name(domain(host)),
            };
            let found = resolver.reached_from(binding, &HostPort { host: name, port: 25 }, false).await;
            let said = match found {
                Ok(all) => all.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(" "),
                Err(why) => why,
            };
            assert_eq!(said, expected, "{host} from {}", binding.sources());
        }
    }

    #[tokio::test]
    async fn dead_name_servers_are_not_waited_for_again_and_again() {
        let (server, asked) = name_server((0..12).map(|_| ("silent.test", Zone::Silent)).collect()).await;
        let timeout = Duration::from_millis(20);
        let dns = Dns { servers: vec![server], timeout, max_in_flight: 1, trust_anchor: None };
        let routing = Routing::new(&domain("relay.example.net"), &delivery(), Vec::new(), &[]);
        let resolver = Resolver::new(&dns, routing).expect("resolver");
        for _ in 0..super::super::breaker::TRIPS_AT {
            assert!(matches!(resolver.plan(&domain("silent.test")).await, Err(NoPlan::Temporary { .. })));
        }
        let before = asked.lock().len();
        match resolver.plan(&domain("silent.test")).await {
            Err(NoPlan::Temporary { text }) => assert!(text.contains("do not answer"), "{text}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(asked.lock().len(), before, "nothing was asked");
    }

    #[tokio::test]
    async fn new_routes_count_at_once() {
        let (server, _) = zones().await;
        let resolver = resolver(server, &delivery());
        assert!(resolver.plan(&domain("null.test")).await.is_err());
        let route = crate::config::DestinationRoute {
            domain: crate::config::DomainPattern::Any,
            hosts: vec![HostPort { host: Host::Address(IpAddr::from([127, 0, 0, 1])), port: 2525 }],
            provider: None,
            tls: None,
        };
        resolver.reroute(Routing::new(&domain("relay.example.net"), &delivery(), Vec::new(), &[route]));
        assert!(resolver.plan(&domain("null.test")).await.expect("pinned").pinned);
    }
}
