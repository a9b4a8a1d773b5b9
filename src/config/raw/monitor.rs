//! As typed: `[monitor]` with its `[monitor.zone.NAME]`.

use std::net::IpAddr;
use std::time::Duration;

use super::{Octets, ZoneDomain};
use crate::config::read::{List, Map, NameServer, OrOff, table, words};
use crate::config::{Ipv6Names, Probe, SpfPolicy, ZoneKind};

table!(pub(in crate::config) Monitor {
    #[allow(dead_code, reason = "known here, but the shipped lists are laid under the tables before those are read")]
    lists: List<String>,
    interval: Duration,
    light_interval: Duration,
    jitter: f64,
    timeout: Duration,
    confirmations: u32,
    confirm_after: Duration,
    throttle_weight: f64,
    suspend_weight: f64,
    blast_radius: f64,
    sentinels: List<IpAddr>,
    fcrdns: bool,
    spf: SpfPolicy,
    spf_interval: Duration,
    ipv6_names: Ipv6Names,
    self_check: OrOff<Duration>,
    servers: List<NameServer>,
    second_servers: List<NameServer>,
    zone: Map<Zone>,
});

words!(SpfPolicy { "require" => SpfPolicy::Require, "report" => SpfPolicy::Report, "off" => SpfPolicy::Off });

words!(Ipv6Names { "require" => Ipv6Names::Require, "report" => Ipv6Names::Report });

table!(pub(in crate::config) Zone {
    zone: ZoneDomain,
    key_file: String,
    kind: ZoneKind,
    families: List<Family>,
    servers: List<NameServer>,
    weight: f64,
    codes: List<ZoneCode>,
    positive_probe: OrOff<Probe>,
    negative_probe: OrOff<Probe>,
    random_probe: bool,
    interval: Duration,
    queries_per_day: u64,
    aliases: List<String>,
    terms: String,
    operator: String,
    delisting: String,
});

words!(ZoneKind { "address" => ZoneKind::Address, "domain" => ZoneKind::Domain });

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Family {
    Ipv4,
    Ipv6,
}

words!(Family { "ipv4" => Family::Ipv4, "ipv6" => Family::Ipv6 });

table!(pub(in crate::config) ZoneCode { octets: Octets, mask: u8, meaning: Meaning, weight: f64, certain: bool });

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Meaning {
    Listed,
    Refused,
    Good,
}

words!(Meaning { "listed" => Meaning::Listed, "refused" => Meaning::Refused, "good" => Meaning::Good });
