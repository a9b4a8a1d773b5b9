//! `[provider.NAME]`, `[region.NAME]`, `[[destination_route]]`, `[dns]`: where mail for a domain goes, and under which name
//! it is counted.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::{BackOff, Limits, TlsPolicy};
use crate::message::{Domain, ProviderName};

/// A pattern over domain or host names, lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DomainPattern {
    /// This name.
    Exact(Domain),
    /// Any name below this one (`*.example.com`), not the name itself.
    Below(Domain),
    /// `*`
    Any,
}

impl DomainPattern {
    /// Whether `name` (lower case) is meant.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(domain) => domain.as_str() == name,
            Self::Below(domain) => {
                name.strip_suffix(domain.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            Self::Any => true,
        }
    }
}

/// `[provider.NAME]`: a group of receivers that count as one destination.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its name; also the destination's.
    pub name: ProviderName,
    /// Every MX host of a domain must match one of these.
    pub mx: Vec<DomainPattern>,
    /// Limits of each binding towards this provider.
    pub binding_limits: Limits,
    /// Ladder of its own for bindings in warm-up, unless they have one towards it.
    pub warmup: Option<Arc<[u64]>>,
    /// Region whose bindings are preferred.
    pub region: Option<String>,
    /// What a wish for less of this receiver begins; `[window] back_off` where there is none.
    pub back_off: Option<BackOff>,
    /// TLS towards it; `[delivery] tls` where there is none.
    pub tls: Option<TlsPolicy>,
}

/// `[region.NAME]`: recipients for whom bindings of the region are preferred. Wins over the provider's and the tenant's.
#[derive(Clone, Debug)]
pub struct Region {
    /// Its name, as bindings, providers and tenants use it.
    pub name: String,
    /// Recipient domains that belong to it.
    pub recipient_domain: Vec<DomainPattern>,
}

/// `[[destination_route]]`: pins recipient domains to hosts instead of asking for MX records.
#[derive(Clone, Debug)]
pub struct DestinationRoute {
    /// Which recipient domains.
    pub domain: DomainPattern,
    /// Where to, tried in order.
    pub hosts: Vec<HostPort>,
    /// Destination name to count under; `None` derives it from the hosts as with MX.
    pub provider: Option<ProviderName>,
    /// TLS towards these hosts; the provider's, else `[delivery] tls`, where there is none.
    pub tls: Option<TlsPolicy>,
}

/// A host and its SMTP port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Name or address.
    pub host: Host,
    /// TCP port; `delivery.port` where the file names none.
    pub port: u16,
}

/// A host by name or address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// To be looked up (A, AAAA).
    Name(Domain),
    /// As it is.
    Address(IpAddr),
}

/// `[dns]`: how recipient domains are looked up.
#[derive(Clone, Debug)]
pub struct Dns {
    /// Name servers; empty takes the system's.
    pub servers: Vec<SocketAddr>,
    /// Time for one question to one server. Default 3 s.
    pub timeout: Duration,
    /// Questions in flight. Default 200.
    pub max_in_flight: usize,
}
