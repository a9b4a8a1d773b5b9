//! `[injection]`: mail over HTTP, at an address of its own, and who may send by it.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::{AdminTls, Rate};
use crate::message::TenantName;

/// `[injection]`: `POST /api/v1/messages`, apart from the operator's HTTP side.
#[derive(Clone, Debug)]
pub struct Injection {
    /// Address and port; `None`, the default, is off. Elsewhere than on loopback it needs TLS.
    pub address: Option<SocketAddr>,
    /// TLS; `None` is plain HTTP.
    pub tls: Option<AdminTls>,
    /// Connections at the same time. Default 256.
    pub max_connections: usize,
    /// Connections at the same time from one client. Default 128.
    pub max_connections_per_client: usize,
    /// Octets of one message, as a listener's. Default 50 MiB.
    pub max_message_bytes: u64,
    /// Recipients of one message, as a listener's. Default 1000.
    pub max_recipients: usize,
    /// Octets that requests being worked on may hold together, one token's a quarter of them while they come in. Default
    /// 512 MiB.
    pub max_bytes_in_flight: u64,
    /// How long an `Idempotency-Key` is remembered. Default 24 h.
    pub keep_keys: Duration,
    /// Who may send.
    pub tokens: Vec<InjectionToken>,
}

/// `[injection.token.NAME]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InjectionToken {
    /// Its name; stands in the log for whoever sent.
    pub name: String,
    /// Whose mail it sends.
    pub tenant: TenantName,
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// From where it is good. Empty: from everywhere.
    pub networks: Vec<IpNet>,
    /// Requests per short span. Default: none of its own.
    pub rate_limit: Option<Rate>,
}
