//! As typed: `[queue]`, `[delivery]`, `[window]`.

use std::time::Duration;

use crate::config::read::{List, table, words};
use crate::config::{Convert, TlsPolicy};

words!(Convert { "never" => Convert::Never, "unsigned" => Convert::Unsigned, "always" => Convert::Always });

table!(pub(in crate::config) Queue {
    retry_first: Duration,
    retry_factor: f64,
    retry_max: Duration,
    retry_jitter: f64,
    lifetime: Duration,
    bounce_lifetime: Duration,
    sticky_tries: u8,
    max_attempts_in_flight: usize,
    delay_warning: List<Duration>,
});

table!(pub(in crate::config) Delivery {
    port: u16,
    allow_private_mx: bool,
    max_addresses: usize,
    max_outbound_connections: u32,
    messages_per_connection: u32,
    recipients_per_message: u32,
    chunking: bool,
    convert: Convert,
    keep_idle: Duration,
    max_connection_age: Duration,
    tls: TlsPolicy,
    tls_roots: String,
    mta_sts: bool,
    mta_sts_port: u16,
    dane: bool,
    timeouts: Timeouts,
});

table!(pub(in crate::config) Timeouts {
    connect: Duration,
    banner: Duration,
    command: Duration,
    mail: Duration,
    rcpt: Duration,
    data: Duration,
    block: Duration,
    end_of_data: Duration,
    quit: Duration,
});

table!(pub(in crate::config) Window { adaptive: bool, start: u32, grow_every: Duration, deferral_ratio: f64, back_off: BackOff });

table!(pub(in crate::config) BackOff { pause: Duration, add_every: Duration });

words!(TlsPolicy {
    "off" => TlsPolicy::Off,
    "opportunistic" => TlsPolicy::Opportunistic,
    "required" => TlsPolicy::Required,
    "verified" => TlsPolicy::Verified,
});
