//! `[queue]`, `[delivery]`, `[window]`: how often, how long and over how many connections mail is tried.

use std::path::PathBuf;
use std::time::Duration;

/// `[queue]`: retries and lifetime.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Wait after the first deferral. Default 5 min.
    pub retry_first: Duration,
    /// Each further wait is this many times longer. Default 2.0; at least 1.
    pub retry_factor: f64,
    /// Longest wait. Default 4 h.
    pub retry_max: Duration,
    /// Spread of waits: ± this share. Default 0.1.
    pub retry_jitter: f64,
    /// Time after which mail is given up (RFC 5321 §4.5.4.1: 4–5 days). Default 5 d.
    pub lifetime: Duration,
    /// The same for mail with the null reverse path. Default 1 d.
    pub bounce_lifetime: Duration,
    /// Tries with the same binding after a plain deferral. Default 3.
    pub sticky_tries: u8,
    /// Attempts in flight over all bindings. Default 2000.
    pub max_attempts_in_flight: usize,
}

/// `[delivery]`: how we talk to receivers.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Port of MX hosts. Default 25.
    pub port: u16,
    /// Whether MX records may point to loopback and private addresses. Default false. `destination_route` always may.
    pub allow_private_mx: bool,
    /// MX addresses tried in one attempt. Default 5.
    pub max_addresses: usize,
    /// Connections at the same time per route where nothing more specific is set. Default 20.
    pub max_outbound_connections: u32,
    /// Messages per connection where nothing more specific is set. Default 100.
    pub messages_per_connection: u32,
    /// Recipients per transaction where nothing more specific is set. Default 100.
    pub recipients_per_message: u32,
    /// How long an unused connection is kept. Default 5 s.
    pub keep_idle: Duration,
    /// Oldest age of a connection. Default 5 min.
    pub max_connection_age: Duration,
    /// TLS where nothing more specific is set. Default opportunistic.
    pub tls: TlsPolicy,
    /// Authorities that certificates are held to, in PEM; `None` takes the platform's.
    pub tls_roots: Option<PathBuf>,
    /// Time-outs of RFC 5321 §4.5.3.2.
    pub timeouts: Timeouts,
}

/// How far TLS goes with a destination (`tls` in `[delivery]`, `[provider.NAME]`, `[[destination_route]]`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsPolicy {
    /// Never, whatever the host offers.
    Off,
    /// Where the host offers it, whatever its certificate; in the clear where the handshake fails (RFC 7435). Default.
    #[default]
    Opportunistic,
    /// Always, whatever its certificate.
    Required,
    /// Always, with a certificate of a known authority for the host's name.
    Verified,
}

/// `[delivery.timeouts]`: client time-outs, RFC 5321 §4.5.3.2.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// TCP connect. Default 30 s.
    pub connect: Duration,
    /// Greeting. Default 5 min.
    pub banner: Duration,
    /// EHLO, HELO, RSET. Default 5 min.
    pub command: Duration,
    /// MAIL. Default 5 min.
    pub mail: Duration,
    /// RCPT. Default 5 min.
    pub rcpt: Duration,
    /// DATA, until 354. Default 2 min.
    pub data: Duration,
    /// Each block of the body. Default 3 min.
    pub block: Duration,
    /// Final dot. Default 10 min.
    pub end_of_data: Duration,
    /// QUIT; short, nothing depends on it. Default 5 s.
    pub quit: Duration,
}

/// `[window]`: how many of the connections that `max_outbound_connections` allows a route uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Whether the number follows what the receiver answers; else it is `max_outbound_connections`. Default true.
    pub adaptive: bool,
    /// Connections to a receiver about which nothing is known. Default 5.
    pub start: u32,
    /// Least time between two connections more, after it had to be fewer. Default 5 s.
    pub grow_every: Duration,
    /// Share of deferrals (0 to 1) above which it is to be fewer. Default 0.1.
    pub deferral_ratio: f64,
    /// What a receiver's wish for less begins, where the provider has nothing of its own. Default 1 min, 1 min.
    pub back_off: BackOff,
}

/// What a receiver's wish for less begins: no connection, then one, then one more at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOff {
    /// No connection for so long. Default 1 min.
    pub pause: Duration,
    /// Least time between two connections more, afterwards. Default 1 min.
    pub add_every: Duration,
}
