//! From DNS answers to a plan: pinned routes, null MX, implicit MX, loops, providers, which addresses are allowed. Pure.
//!
//! `mx` asks the questions; what the answers mean is decided here. Domains are tried in this order: `[[destination_route]]`
//! in the order of the file, address literals (RFC 5321 §4.1.3), MX records, and where there is none the domain itself
//! (§5.1). A host that is us, and all hosts that are not better than us, are left out: mail sent there would come back.

use std::net::IpAddr;
use std::sync::Arc;

use rand::Rng;
use rand::seq::SliceRandom;

use super::mx::{MxPlan, NoPlan, Planned};
use super::site;
use crate::config::{Delivery, DestinationRoute, DomainPattern, Host, HostPort, Provider};
use crate::message::{DestinationName, Domain, ProviderName};
use crate::outcome::EnhancedCode;

/// Most hosts of a plan. The rest of a longer MX set still counts for the destination's name.
pub const MAX_HOSTS: usize = 32;

/// One MX record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MxRecord {
    /// Lower is better.
    pub preference: u16,
    /// The host in lower case without trailing dot; empty for the root (null MX).
    pub exchange: String,
}

/// What DNS said to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// Records.
    Some(T),
    /// The name exists, but not with this type.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// No conclusive answer: time-out, SERVFAIL, REFUSED.
    Failed(String),
}

/// The part of the configuration that plans are made from.
#[derive(Clone, Debug)]
pub struct Routing {
    hostname: Domain,
    port: u16,
    allow_private: bool,
    providers: Vec<Provider>,
    routes: Vec<(DomainPattern, Arc<MxPlan>)>,
}

impl Routing {
    /// `hostname` is our own name, for finding loops.
    pub fn new(hostname: &Domain, delivery: &Delivery, providers: Vec<Provider>, routes: &[DestinationRoute]) -> Self {
        let mut this = Self {
            hostname: hostname.clone(),
            port: delivery.port,
            allow_private: delivery.allow_private_mx,
            providers,
            routes: Vec::new(),
        };
        this.routes = routes.iter().map(|route| (route.domain.clone(), Arc::new(this.pin(route)))).collect();
        this
    }

    /// The plan of the first `[[destination_route]]` that matches.
    pub fn pinned(&self, domain: &Domain) -> Option<Arc<MxPlan>> {
        self.routes.iter().find(|(pattern, _)| pattern.matches(domain.as_str())).map(|(_, plan)| plan.clone())
    }

    /// The plan of an address literal; `None` where `domain` is a name.
    pub fn literal(&self, domain: &Domain) -> Option<Planned> {
        let inner = domain.as_str().strip_prefix('[')?.strip_suffix(']')?;
        let Ok(ip) = inner.strip_prefix("IPv6:").unwrap_or(inner).parse::<IpAddr>() else {
            return Some(Err(permanent((5, 1, 2), format!("{domain} is no valid address literal"))));
        };
        if !self.allow_private && !is_public(ip) {
            return Some(Err(permanent((5, 1, 2), format!("{domain} is not a public address"))));
        }
        let host = HostPort { host: Host::Address(ip), port: self.port };
        Some(Ok(self.plan(&[ip.to_string()], vec![vec![host]])))
    }

    /// The plan of a domain with MX records (at least one).
    pub fn from_mx(&self, domain: &Domain, mut records: Vec<MxRecord>) -> Planned {
        if let [only] = records.as_slice()
            && only.exchange.is_empty()
        {
            return Err(permanent((5, 1, 10), format!("{domain} does not accept mail (null MX)")));
        }
        records.retain(|record| record.exchange.parse::<Domain>().is_ok());
        if records.is_empty() {
            return Err(permanent((5, 4, 4), format!("no MX record of {domain} names a valid host")));
        }
        let all: Vec<&str> = records.iter().map(|record| record.exchange.as_str()).collect();
        let (destination, provider) = self.destination(&all);
        let ours = records.iter().filter(|record| record.exchange == self.hostname.as_str());
        if let Some(ours) = ours.map(|record| record.preference).min() {
            records.retain(|record| record.preference < ours);
        }
        if records.is_empty() {
            return Err(permanent((5, 4, 6), format!("mail for {domain} loops back to {}", self.hostname)));
        }
        records.sort_by(|a, b| (a.preference, &a.exchange).cmp(&(b.preference, &b.exchange)));
        records.dedup_by(|later, first| later.exchange == first.exchange);
        records.truncate(MAX_HOSTS);
        let hosts = records
            .chunk_by(|a, b| a.preference == b.preference)
            .map(|group| group.iter().filter_map(|record| self.named(&record.exchange)).collect())
            .collect();
        Ok(Arc::new(MxPlan { destination, provider, hosts, pinned: false }))
    }

    /// The plan of a domain without MX records, after asking for its addresses (RFC 5321 §5.1).
    pub fn implicit<T>(&self, domain: &Domain, v4: &Found<T>, v6: &Found<T>) -> Planned {
        match (v4, v6) {
            (Found::Some(_), _) | (_, Found::Some(_)) if domain == &self.hostname => {
                Err(permanent((5, 4, 6), format!("mail for {domain} loops back to {}", self.hostname)))
            }
            (Found::Some(_), _) | (_, Found::Some(_)) => {
                let hosts = self.named(domain.as_str()).map(|host| vec![vec![host]]);
                Ok(self.plan(&[domain.as_str()], hosts.unwrap_or_default()))
            }
            (Found::Failed(why), _) | (_, Found::Failed(why)) => {
                Err(NoPlan::Temporary { text: format!("address look-up of {domain} failed: {why}") })
            }
            _ => Err(permanent((5, 1, 2), format!("{domain} has neither MX nor address records"))),
        }
    }

    /// The destination's name and provider: the first provider that has all hosts, else the folded set.
    fn destination<S: AsRef<str>>(&self, hosts: &[S]) -> (DestinationName, Option<ProviderName>) {
        let covers = |provider: &&Provider| {
            !hosts.is_empty()
                && hosts.iter().all(|host| provider.mx.iter().any(|pattern| pattern.matches(host.as_ref())))
        };
        match self.providers.iter().find(covers) {
            Some(provider) => (DestinationName::new(provider.name.as_str()), Some(provider.name.clone())),
            None => (DestinationName::new(format!("site:{}", site::fold(hosts))), None),
        }
    }

    fn plan<S: AsRef<str>>(&self, names: &[S], hosts: Vec<Vec<HostPort>>) -> Arc<MxPlan> {
        let (destination, provider) = self.destination(names);
        Arc::new(MxPlan { destination, provider, hosts, pinned: false })
    }

    fn pin(&self, route: &DestinationRoute) -> MxPlan {
        let names: Vec<String> = route.hosts.iter().map(|host| host_text(&host.host)).collect();
        let (by_hosts, provider) = match &route.provider {
            Some(name) => (DestinationName::new(name.as_str()), Some(name.clone())),
            None => self.destination(&names),
        };
        let destination = if provider.is_some() {
            by_hosts
        } else {
            // Several services may share one address and differ by port only.
            let with_ports: Vec<String> = route.hosts.iter().map(host_port_text).collect();
            DestinationName::new(format!("site:{}", site::fold(&with_ports)))
        };
        let hosts = route.hosts.iter().map(|host| vec![host.clone()]).collect();
        MxPlan { destination, provider, hosts, pinned: true }
    }

    fn named(&self, host: &str) -> Option<HostPort> {
        Some(HostPort { host: Host::Name(host.parse().ok()?), port: self.port })
    }
}

/// A host as text, without port.
pub fn host_text(host: &Host) -> String {
    match host {
        Host::Name(name) => name.to_string(),
        Host::Address(ip) => ip.to_string(),
    }
}

fn host_port_text(host: &HostPort) -> String {
    match host.host {
        Host::Address(IpAddr::V6(ip)) => format!("[{ip}]:{}", host.port),
        _ => format!("{}:{}", host_text(&host.host), host.port),
    }
}

/// The hosts in the order of one attempt: groups in order, each shuffled (RFC 5321 §5.1).
pub fn shuffled<'a>(groups: &'a [Vec<HostPort>], rng: &mut impl Rng) -> Vec<&'a HostPort> {
    let mut hosts: Vec<&HostPort> = Vec::with_capacity(groups.iter().map(Vec::len).sum());
    for group in groups {
        let start = hosts.len();
        hosts.extend(group);
        hosts[start..].shuffle(rng);
    }
    hosts
}

/// "Ask again later", after a look-up of MX records failed.
pub fn temporary(domain: &Domain, why: &str) -> NoPlan {
    NoPlan::Temporary { text: format!("MX look-up of {domain} failed: {why}") }
}

/// "The domain does not exist."
pub fn no_such_domain(domain: &Domain) -> NoPlan {
    permanent((5, 1, 2), format!("domain {domain} does not exist"))
}

fn permanent((class, subject, detail): (u8, u16, u16), text: String) -> NoPlan {
    NoPlan::Permanent { enhanced: EnhancedCode { class, subject, detail }, text }
}

/// Whether mail may be sent to `ip` on the word of a stranger's DNS: neither this host nor a private network, and a
/// single host at all.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let shared = a == 100 && (64..128).contains(&b); // RFC 6598
            !(a == 0 || a >= 240 || shared)
                && !(ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_multicast())
        }
        IpAddr::V6(ip) => {
            let first = ip.segments()[0];
            let local = first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80 || first & 0xffc0 == 0xfec0;
            // The compatible, mapped and translated forms lead to the IPv4 address they hold.
            let inner = ip.to_ipv4().or_else(|| embedded_v4(ip));
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || local)
                && inner.is_none_or(|inner| is_public(IpAddr::V4(inner)))
        }
    }
}

/// The IPv4 address in a NAT64 (RFC 6052) or 6to4 (RFC 3056) address.
fn embedded_v4(ip: std::net::Ipv6Addr) -> Option<std::net::Ipv4Addr> {
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            Some((u32::from(high) << 16 | u32::from(low)).into())
        }
        _ => None,
    }
}
