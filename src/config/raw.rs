//! The file as typed: every section and every key there is, and what kind of value each takes.
//!
//! This is the only list of keys. What it reads is still a wish: units are converted, but references may lead nowhere
//! and combinations may make no sense; [`super::check`] turns it into values that cannot be wrong.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use super::mistake::{Findings, Place, join, suggest};
use super::read::{
    Field, List, Map, NameServer, OrOff, Readable, Size, as_table, as_text, field, quoted, refuse_unknown, table, words,
};
use super::tree::{Node, Table, Value};
use super::{DomainPattern, FailoverReason, LogFormat, Pace, Rate, Spread, UnknownPolicy};
use crate::message::{Domain, Mailbox};

table!(File {
    #[allow(dead_code, reason = "known here, but followed and taken out before the files are laid over one another")]
    include: List<String>,
    server: Server,
    listener: List<Listener>,
    assignment: Assignment,
    binding: Map<Binding>,
    pool: Map<Pool>,
    tenant: Map<Tenant>,
    provider: Map<Provider>,
    ladder: Map<Ladder>,
    destination_route: List<DestinationRoute>,
    dns: Dns,
    queue: Queue,
    delivery: Delivery,
    reputation: Reputation,
    monitor: Monitor,
    admin: Admin,
    log: Log,
    classify: Classify,
});

impl File {
    /// Reads the tables of all files laid over one another.
    pub(super) fn from_tree(table: Table, out: &mut Findings) -> Self {
        let node = Node { file: 0, offset: 0, value: Value::Table(table) };
        Self::read(&node, &Place::default(), out).unwrap_or_default()
    }
}

/// The path of every key that may be written, in the order of declaration. `NAME` stands for a name of the operator's
/// choice, `[]` for an item of a list, as in `binding.NAME.provider.NAME.daily_cap` or `listener[].address`.
pub fn known_keys() -> Vec<String> {
    let mut keys = Vec::new();
    File::keys("", &mut keys);
    keys
}

table!(Server {
    hostname: Domain,
    state_dir: String,
    day: Day,
    shutdown_grace: Duration,
    low_space_floor: Size,
    seed: u64,
});

table!(Day { timezone: String, starts: TimeOfDay });

/// Local time at which a day starts, as `"07:30"` or as TOML's own `07:30:00`.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeOfDay(pub(super) jiff::civil::Time);

impl Readable for TimeOfDay {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = match &node.value {
            Value::Text(text) => text.clone(),
            Value::Datetime(time) if time.date.is_none() && time.offset.is_none() => time.to_string(),
            other => {
                out.mistake(place, format!("expected a time of day, found {}", other.kind()), "write \"00:00\"");
                return None;
            }
        };
        let read = ["%H:%M", "%H:%M:%S"].iter().find_map(|form| jiff::civil::Time::strptime(form, &text).ok());
        if read.is_none() {
            out.mistake(place, format!("{text:?} is no time of day"), "write hours and minutes, such as \"00:00\"");
        }
        read.map(Self)
    }
}

table!(Listener {
    address: SocketAddr,
    trust: List<IpNet>,
    max_connections: usize,
    max_connections_per_client: usize,
    max_message_bytes: Size,
    max_recipients: usize,
    max_errors: u32,
    idle_timeout: Duration,
});

table!(Assignment { tenant_header: String, stream_header: String, default_tenant: String, unknown: UnknownPolicy });

words!(UnknownPolicy { "refuse" => UnknownPolicy::Refuse, "defer" => UnknownPolicy::Defer });

table!(Limits {
    daily_cap: u64,
    max_outbound_connections: u32,
    rate_limit: Rate,
    messages_per_connection: u32,
    recipients_per_message: u32,
});

table!(Binding {
    bind_address: IpAddr,
    public_address: IpAddr,
    ehlo_hostname: String,
    suspend_delivery: bool,
    region: String,
    warmup: Warmup,
    provider: Map<Limits>,
} flatten limits: Limits);

table!(Warmup { ladder: String, started: Date, stage: usize });

/// A day, as TOML's own `2026-11-01` or in quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Date(pub(super) jiff::civil::Date);

impl Readable for Date {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = match &node.value {
            Value::Text(text) => text.clone(),
            Value::Datetime(date) if date.time.is_none() && date.offset.is_none() => date.to_string(),
            other => {
                out.mistake(place, format!("expected a day, found {}", other.kind()), "write it as 2026-11-01");
                return None;
            }
        };
        let day = jiff::civil::Date::strptime("%Y-%m-%d", &text).ok();
        if day.is_none() {
            out.mistake(place, format!("{text:?} is no day"), "write it as 2026-11-01");
        }
        day.map(Self)
    }
}

table!(Ladder { stages: List<u64>, });

table!(Pool {
    active: List<Member>,
    backup: List<List<Member>>,
    spread: Spread,
    pace: Pace,
    min_active: usize,
    failover_on: List<FailoverReason>,
    binding: Limits,
});

words!(Spread {
    "weighted" => Spread::Weighted,
    "headroom" => Spread::Headroom,
    "reputation" => Spread::Reputation,
});

words!(Pace { "none" => Pace::None, "even" => Pace::Even });

words!(FailoverReason {
    "suspended" => FailoverReason::Suspended,
    "capped" => FailoverReason::Capped,
    "rate_limited" => FailoverReason::RateLimited,
    "window_full" => FailoverReason::WindowFull,
});

table!(MemberTable { binding: String, weight: u32, pool: String });

/// A member of a tier: `"mta1"`, `{ binding = "mta1", weight = 2 }` or `{ pool = "reserve" }`.
#[derive(Clone, Debug)]
pub(super) enum Member {
    Binding { name: String, name_place: Place, weight: Field<u32> },
    Pool { name: String, name_place: Place },
}

impl Readable for Member {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        match &node.value {
            Value::Text(name) => {
                Some(Self::Binding { name: name.clone(), name_place: place.clone(), weight: Field::Missing })
            }
            Value::Table(_) => {
                let member = MemberTable::read(node, place, out)?;
                match (&member.binding, &member.pool) {
                    (Field::Given(name), Field::Missing) => Some(Self::Binding {
                        name: name.value.clone(),
                        name_place: name.place.clone(),
                        weight: member.weight,
                    }),
                    (Field::Missing, Field::Given(name)) => {
                        if let Field::Given(weight) = &member.weight {
                            out.mistake(&weight.place, "a pool in a tier has no weight", "its members keep their own");
                        }
                        Some(Self::Pool { name: name.value.clone(), name_place: name.place.clone() })
                    }
                    (Field::Bad, _) | (_, Field::Bad) => None,
                    _ => {
                        out.mistake(place, "needs either binding or pool", "write { binding = \"NAME\", weight = 2 }");
                        None
                    }
                }
            }
            other => {
                let hint = "write \"NAME\" or { binding = \"NAME\", weight = 2 }";
                out.mistake(place, format!("expected the name of a binding, found {}", other.kind()), hint);
                None
            }
        }
    }

    fn keys(path: &str, keys: &mut Vec<String>) {
        keys.push(path.to_owned());
        MemberTable::keys(path, keys);
    }
}

table!(Tenant {
    matches as "match": TenantMatch,
    pools: Map<String>,
    split: Map<Map<f64>>,
    streams: List<StreamRule>,
    daily_cap: u64,
    rate_limit: Rate,
    weight: u32,
});

table!(TenantMatch {
    auth_user: List<String>,
    sender_domain: List<DomainPattern>,
    client: List<IpNet>,
    header: Map<String>,
});

table!(StreamRule { stream: String, sender: Mailbox, sender_domain: DomainPattern, header: Map<String>, });

table!(Provider { mx: List<DomainPattern>, binding: Limits, });

table!(DestinationRoute { domain: DomainPattern, hosts: List<Host>, provider: String, });

/// A host and its port, where one is given.
#[derive(Clone, Debug)]
pub(super) struct Host {
    pub(super) host: super::Host,
    pub(super) port: Option<u16>,
}

impl Readable for Host {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = as_text(node, place, "a host such as \"mx.example.net:25\"", out)?;
        let host = read_host(text);
        if host.is_none() {
            let hint = "write \"mx.example.net\", \"mx.example.net:2525\", \"192.0.2.1:25\" or \"[2001:db8::1]:25\"";
            out.mistake(place, format!("{text:?} is no host"), hint);
        }
        host
    }
}

fn read_host(text: &str) -> Option<Host> {
    if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse() {
        return Some(Host { host: super::Host::Address(address), port: None });
    }
    let address = text.parse::<SocketAddr>().ok().map(|at| (super::Host::Address(at.ip()), Some(at.port())));
    let (host, port) = match address {
        Some(found) => found,
        None => {
            let (name, port) = match text.split_once(':') {
                Some((name, port)) => (name, Some(port.parse().ok()?)),
                None => (text, None),
            };
            // All digits in the last label is an address gone wrong, such as 192.0.2.300.
            let last = name.trim_end_matches('.').rsplit('.').next()?;
            if name.starts_with('[') || last.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            (super::Host::Name(name.parse().ok()?), port)
        }
    };
    if port == Some(0) { None } else { Some(Host { host, port }) }
}

table!(Dns { servers: List<NameServer>, timeout: Duration, max_in_flight: usize, });

table!(Queue {
    retry_first: Duration,
    retry_factor: f64,
    retry_max: Duration,
    retry_jitter: f64,
    lifetime: Duration,
    bounce_lifetime: Duration,
    sticky_tries: u8,
    max_attempts_in_flight: usize,
});

table!(Delivery {
    port: u16,
    allow_private_mx: bool,
    max_addresses: usize,
    max_outbound_connections: u32,
    messages_per_connection: u32,
    recipients_per_message: u32,
    keep_idle: Duration,
    max_connection_age: Duration,
    timeouts: Timeouts,
});

table!(Timeouts {
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

table!(Reputation {
    window: Duration,
    min_attempts: u64,
    min_events: u64,
    hard_bounce_ratio: f64,
    ip_block_count: u32,
    ip_block_window: Duration,
    providers_for_binding: usize,
    suspend_first: Duration,
    suspend_max: Duration,
    forgive_after: Duration,
    probation_start: u32,
    probation_period: Duration,
    probation_periods: u32,
    pool_guard: f64,
});

table!(Monitor {
    interval: Duration,
    jitter: f64,
    timeout: Duration,
    confirmations: u32,
    confirm_after: Duration,
    throttle_weight: f64,
    suspend_weight: f64,
    blast_radius: f64,
    fcrdns: bool,
    servers: List<NameServer>,
    zone: Map<Zone>,
});

table!(Zone {
    zone: ZoneDomain,
    servers: List<NameServer>,
    weight: f64,
    codes: List<ZoneCode>,
    positive_probe: OrOff<IpAddr>,
    negative_probe: OrOff<IpAddr>,
});

/// The DNS name of a zone. No message repeats it: it may hold a key.
#[derive(Clone)]
pub(super) struct ZoneDomain(pub(super) String);

impl std::fmt::Debug for ZoneDomain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(masked)")
    }
}

impl Readable for ZoneDomain {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = as_text(node, place, "the DNS name of a list", out)?;
        let domain = text.parse::<Domain>().ok().filter(|domain| !domain.as_str().starts_with('['));
        if domain.is_none() {
            out.mistake(place, "not a DNS name", "write the name below which addresses are looked up");
        }
        domain.map(|domain| Self(domain.as_str().to_owned()))
    }
}

table!(ZoneCode { octets: Octets, mask: u8, meaning: Meaning, weight: f64, certain: bool });

/// Ranges of the four octets of a return code: `127.0.0.2-11`, `127.0.*.1`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Octets(pub(super) [(u8, u8); 4]);

impl Readable for Octets {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = as_text(node, place, "return codes such as \"127.0.0.2-11\"", out)?;
        let octets = read_octets(text);
        if octets.is_none() {
            let hint = "write four octets from 127, each a number, a range or *, such as \"127.0.0.2-11\"";
            out.mistake(place, format!("{text:?} are no return codes"), hint);
        }
        octets.map(Self)
    }
}

fn read_octets(text: &str) -> Option<[(u8, u8); 4]> {
    let mut ranges = [(0, 0); 4];
    let mut parts = text.split('.');
    for range in &mut ranges {
        let part = parts.next()?;
        let (low, high) = if part == "*" { ("0", "255") } else { part.split_once('-').unwrap_or((part, part)) };
        *range = (low.trim().parse().ok()?, high.trim().parse().ok()?);
        if range.0 > range.1 {
            return None;
        }
    }
    // What a list answers outside 127/8 is no return code but somebody's web server (RFC 5782 §2.3).
    (parts.next().is_none() && ranges[0] == (127, 127)).then_some(ranges)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Listed,
    Refused,
    Good,
}

words!(Meaning { "listed" => Meaning::Listed, "refused" => Meaning::Refused, "good" => Meaning::Good });

table!(Admin { address: OrOff<SocketAddr>, });

table!(Log { format: LogFormat, filter: String });

words!(LogFormat { "text" => LogFormat::Text, "json" => LogFormat::Json });

table!(Classify { rules: List<String>, });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_listed_with_their_paths() {
        let keys = known_keys();
        for key in [
            "include",
            "listener[].address",
            "listener[].trust",
            "binding.NAME.daily_cap",
            "binding.NAME.provider.NAME.daily_cap",
            "pool.NAME.active",
            "pool.NAME.active[].weight",
            "pool.NAME.backup",
            "pool.NAME.backup[][].pool",
            "tenant.NAME.match.header.NAME",
            "tenant.NAME.split.NAME.NAME",
            "tenant.NAME.streams[].header.NAME",
            "monitor.zone.NAME.codes[].octets",
            "delivery.timeouts.end_of_data",
        ] {
            assert!(keys.iter().any(|known| known == key), "{key} in {keys:#?}");
        }
        let unique: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(unique.len(), keys.len(), "no key twice");
    }

    #[test]
    fn octets_read_ranges() {
        assert_eq!(read_octets("127.0.0.2-11"), Some([(127, 127), (0, 0), (0, 0), (2, 11)]));
        assert_eq!(read_octets("127.*.1.4"), Some([(127, 127), (0, 255), (1, 1), (4, 4)]));
        for text in ["", "127.0.0", "127.0.0.2.3", "10.0.0.2", "127.0.0.11-2", "127.0.0.256", "127.0.0.-", "*.0.0.2"] {
            assert_eq!(read_octets(text), None, "{text}");
        }
    }

    #[test]
    fn hosts_read_names_and_addresses() {
        let shown = |text: &str| read_host(text).map(|host| format!("{:?} {:?}", host.host, host.port));
        for (text, host) in [
            ("mx.example.net", Some("Name(\"mx.example.net\") None")),
            ("MX.example.net:2525", Some("Name(\"mx.example.net\") Some(2525)")),
            ("192.0.2.1", Some("Address(192.0.2.1) None")),
            ("192.0.2.1:25", Some("Address(192.0.2.1) Some(25)")),
            ("::1", Some("Address(::1) None")),
            ("[::1]", Some("Address(::1) None")),
            ("[::1]:25", Some("Address(::1) Some(25)")),
            ("192.0.2.300", None),
            ("mx.example.net:0", None),
            ("mx.example.net:99999", None),
            ("", None),
            (":25", None),
            ("a b", None),
        ] {
            assert_eq!(shown(text).as_deref(), host, "{text}");
        }
    }
}
