//! `[binding.NAME]`: one source address, and the limits by which it sends.
//!
//! [`Limits`] is one type for every level that has them (binding, binding towards a provider, pool, provider), so that the
//! levels can be laid over one another.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::{Family, Host, HostPort, Second, Warmup};
use crate::message::{BindingName, Domain, ProviderName};

/// `[binding.NAME]`
#[derive(Clone, Debug)]
pub struct Binding {
    /// Its name: case-sensitive, no spaces or colons.
    pub name: BindingName,
    /// Source address of its connections; the first where there are two ([`Binding::sources`] gives both).
    pub bind_address: IpAddr,
    /// The address the world sees (differs behind NAT); what DNSBL and PTR checks use. Default `bind_address`. The first
    /// where there are two ([`Binding::publics`] gives both).
    pub public_address: IpAddr,
    /// Its addresses of the other family, if it has both.
    pub second: Option<Second>,
    /// By which family it goes first to a host that has both. Default the one that `bind_address` names first.
    pub prefer: Family,
    /// What it says in EHLO. Default `server.hostname`.
    pub ehlo_hostname: EhloName,
    /// Limits of the binding as a whole.
    pub limits: Limits,
    /// Limits towards single providers; these win over the provider's own `binding` table.
    pub provider: BTreeMap<ProviderName, Limits>,
    /// Warm-up, if it is being warmed up.
    pub warmup: Option<Warmup>,
    /// Warm-up towards single providers, beside that of the binding as a whole: both allowances hold.
    pub provider_warmup: BTreeMap<ProviderName, Warmup>,
    /// Taken out by the operator in the file.
    pub suspend_delivery: bool,
    /// Where it is, for preferring bindings near the recipient or the tenant.
    pub region: Option<String>,
    /// The proxy through which it sends, where its address is another host's.
    pub via: Option<Via>,
}

/// A proxy on the host that has a binding's address (`binding.NAME.via`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// SOCKS5 (RFC 1928): it connects from the address that is its own.
    Socks5 {
        /// Where it listens.
        proxy: HostPort,
        /// Address of this host to reach it from; the system's choice where there is none.
        from: Option<IpAddr>,
        /// What it is told who we are.
        login: Option<SocksLogin>,
    },
    /// HAProxy, told by the PROXY protocol's header (version 2) which address to connect from and where to.
    ProxyV2 {
        /// Where it listens.
        proxy: HostPort,
        /// As above.
        from: Option<IpAddr>,
    },
}

impl Via {
    /// Where the proxy listens.
    pub fn proxy(&self) -> &HostPort {
        let (Self::Socks5 { proxy, .. } | Self::ProxyV2 { proxy, .. }) = self;
        proxy
    }

    /// Address of this host to reach it from, where one is named.
    pub fn from(&self) -> Option<IpAddr> {
        let (Self::Socks5 { from, .. } | Self::ProxyV2 { from, .. }) = self;
        *from
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if matches!(self, Self::Socks5 { .. }) { "socks5" } else { "proxy_v2" };
        let HostPort { host, port } = self.proxy();
        match host {
            Host::Name(name) => write!(f, "{kind} {name}:{port}"),
            Host::Address(ip) => write!(f, "{kind} {}", SocketAddr::new(*ip, *port)),
        }
    }
}

/// User name and password at a SOCKS5 proxy (RFC 1929).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocksLogin {
    /// 1 to 255 octets.
    pub user: String,
    /// File whose first line is the password; read at each connection.
    pub password_file: PathBuf,
}

/// The name a binding gives in EHLO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EhloName {
    /// This name.
    Literal(Domain),
    /// `server.hostname`.
    Hostname,
    /// The domain of the reverse path; `server.hostname` for the null reverse path.
    Message,
}

/// Limits; `None` is "no limit here" and leaves the word to the next wider level.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// Accepted recipients per calendar day.
    pub daily_cap: Option<u64>,
    /// Connections at the same time.
    pub max_outbound_connections: Option<u32>,
    /// Messages per short span.
    pub rate_limit: Option<Rate>,
    /// Messages after which a connection is closed.
    pub messages_per_connection: Option<u32>,
    /// Recipients in one transaction.
    pub recipients_per_message: Option<u32>,
}

/// A short rate, `count` per `per`. Text form `20/s`, `600/min`, `1000/h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Messages.
    pub count: NonZeroU32,
    /// Span; at most one hour: a GCRA is no daily cap.
    pub per: Duration,
}
