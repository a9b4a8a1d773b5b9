//! As typed: `[injection]` with its tokens.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::TokenHash;
use super::admin::AdminTls;
use crate::config::Rate;
use crate::config::read::{List, Map, OrOff, Size, table};

table!(pub(in crate::config) Injection {
    address: OrOff<SocketAddr>,
    tls: AdminTls,
    max_connections: usize,
    max_connections_per_client: usize,
    max_message_bytes: Size,
    max_recipients: usize,
    max_bytes_in_flight: Size,
    keep_keys: Duration,
    token: Map<InjectionToken>,
});

table!(pub(in crate::config) InjectionToken {
    tenant: String,
    hash: TokenHash,
    networks: List<IpNet>,
    rate_limit: Rate,
});
