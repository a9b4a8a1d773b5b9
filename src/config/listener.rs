//! `[[listener]]`: one SMTP socket, who may use it, over what and how much; `[certificate.NAME]`: what it shows.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

/// `[[listener]]`: one SMTP socket.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Address and port; port 0 lets the system choose (the log and `/api/v1/status` say which).
    pub address: SocketAddr,
    /// Clients that may relay without AUTH. Empty: nobody.
    pub trust: Vec<IpNet>,
    /// Sessions at the same time. Default 1000.
    pub max_connections: usize,
    /// Sessions at the same time from one address. Default 100.
    pub max_connections_per_client: usize,
    /// Octets of one message (`SIZE`, RFC 1870). Default 50 MiB.
    pub max_message_bytes: u64,
    /// Recipients of one transaction (RFC 5321 §4.5.3.1.8: at least 100). Default 1000.
    pub max_recipients: usize,
    /// Refused commands after which the session is closed. Default 20.
    pub max_errors: u32,
    /// Silence after which the session is closed (RFC 5321 §4.5.3.2.7: at least 5 min). Default 5 min.
    pub idle_timeout: Duration,
    /// The same while three quarters of the sessions that may be are there. Default 10 s.
    pub busy_idle_timeout: Duration,
    /// Transactions of one session (`MAILMAX`, RFC 9422); `None`, written 0, is any number. Default any.
    pub mails_per_session: Option<u32>,
    /// Octets of the header of one message. Default 256 KiB.
    pub max_header_bytes: u64,
    /// Whether mail begins here: missing `Date:` and `Message-ID:` fields are added (RFC 6409 §8). Default no.
    pub submission: bool,
    /// Whether users may or must log in (RFC 4954). Default off.
    pub auth: AuthMode,
    /// Whether passwords may come in clear text, from this machine only. Default false.
    pub auth_insecure: bool,
    /// TLS with clients. Default off.
    pub tls: TlsMode,
    /// Names of `[certificate.NAME]`; the first is shown where the client names no host or an unknown one (SNI).
    pub certificates: Vec<String>,
    /// Balancers that say before everything else who the client is (PROXY protocol, version 1 or 2). Default none.
    pub proxy_protocol: Vec<IpNet>,
    /// Mail servers that may say who the client is (XCLIENT, XFORWARD). Default none.
    pub xclient: Vec<IpNet>,
}

/// TLS of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// None.
    Off,
    /// STARTTLS is offered (RFC 3207).
    Starttls,
    /// Offered, and no mail without (`530 5.7.0`).
    Required,
    /// From the first octet (RFC 8314).
    Implicit,
}

/// `[certificate.NAME]`: a chain and its key, both in PEM; read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its name in the configuration.
    pub name: String,
    /// The chain, the host's own certificate first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Whether clients of a listener log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// AUTH is not offered.
    Off,
    /// Clients of `trust` may relay without; others must log in.
    Optional,
    /// No mail from anybody who has not logged in (`530 5.7.0`).
    Required,
}
