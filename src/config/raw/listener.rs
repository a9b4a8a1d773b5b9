//! As typed: `[[listener]]`, `[certificate.NAME]`.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::read::{List, Size, table, words};
use crate::config::{AuthMode, TlsMode};

table!(pub(in crate::config) Listener {
    address: SocketAddr,
    trust: List<IpNet>,
    max_connections: usize,
    max_connections_per_client: usize,
    max_message_bytes: Size,
    max_recipients: usize,
    max_errors: u32,
    idle_timeout: Duration,
    busy_idle_timeout: Duration,
    mails_per_session: u32,
    max_header_bytes: Size,
    submission: bool,
    auth: AuthMode,
    auth_insecure: bool,
    tls: TlsMode,
    certificates: List<String>,
    proxy_protocol: List<IpNet>,
    xclient: List<IpNet>,
});

table!(pub(in crate::config) Certificate { certificate: String, key: String });

words!(TlsMode {
    "off" => TlsMode::Off,
    "starttls" => TlsMode::Starttls,
    "required" => TlsMode::Required,
    "implicit" => TlsMode::Implicit,
});

words!(AuthMode {
    "off" => AuthMode::Off,
    "optional" => AuthMode::Optional,
    "required" => AuthMode::Required,
});
