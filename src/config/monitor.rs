//! `[monitor]`: which lists are asked how often, and what their answers weigh; the checks of DNS identity.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::message::ZoneName;

/// Weight from which on a list is asked every `interval` and not every `light_interval`.
pub const HEAVY: f64 = 3.0;

/// `[monitor]`
#[derive(Clone, Debug)]
pub struct Monitor {
    /// Time between two rounds over all bindings in a list that can throttle or suspend, and between two looks at
    /// reverse DNS. Default 15 min.
    pub interval: Duration,
    /// The same for lists whose heaviest answer weighs less than [`HEAVY`]. Default 60 min.
    pub light_interval: Duration,
    /// Rounds start this share earlier or later. Default 0.2.
    pub jitter: f64,
    /// Time for one question. Default 5 s.
    pub timeout: Duration,
    /// Conclusive answers, one after the other, that make or clear a listing. Default 2.
    pub confirmations: u32,
    /// Pause between confirming questions. Default 60 s.
    pub confirm_after: Duration,
    /// Summed weight at which a binding is throttled. Default 3.
    pub throttle_weight: f64,
    /// Summed weight at which a binding is suspended. Default 4.
    pub suspend_weight: f64,
    /// Share of own addresses newly listed within a round's time above which the zone is distrusted instead. Default 0.3
    /// (and at least 3 addresses).
    pub blast_radius: f64,
    /// Own addresses that never send mail: a zone that lists one of them lists what it likes. Default none.
    pub sentinels: Vec<IpAddr>,
    /// Reverse DNS checks. Default on.
    pub fcrdns: bool,
    /// What the SPF records of senders mean for the choice of bindings. Default [`SpfPolicy::Require`].
    pub spf: SpfPolicy,
    /// Time between two evaluations of the SPF of a domain, give or take `jitter`. Default 1 h.
    pub spf_interval: Duration,
    /// What an IPv6 address must have before its first use. Default require.
    pub ipv6_names: Ipv6Names,
    /// Time between two checks of the resolvers themselves; `None` leaves them out. Default 1 h.
    pub self_check: Option<Duration>,
    /// Name servers for reverse DNS, SPF and for zones without their own; empty takes `[dns]`'s.
    pub servers: Vec<SocketAddr>,
    /// Other name servers, of which one must agree once before a listing is believed; not for zones with servers of
    /// their own. Empty: nobody else is asked.
    pub second_servers: Vec<SocketAddr>,
    /// `[monitor.zone.NAME]` and what `lists` names.
    pub zones: Vec<Zone>,
}

/// What is done with what SPF records say of our bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpfPolicy {
    /// Mail does not leave from a binding that its sender's SPF record is proven not to cover, as long as a binding of its
    /// pool is covered.
    Require,
    /// Records are evaluated and reported; mail goes from any binding.
    Report,
    /// No record is asked for.
    Off,
}

/// What becomes of an IPv6 address whose reverse DNS is proven broken before it was ever proven good. Large receivers
/// refuse such addresses outright, where they are lenient about IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv6Names {
    /// It is out from the first proof on.
    Require,
    /// As with IPv4: out once it is proven as often as a listing.
    Report,
}

/// `[monitor.zone.NAME]`: one DNSBL (RFC 5782). Its `Debug` masks the DNS name.
#[derive(Clone, PartialEq)]
pub struct Zone {
    /// Name in logs and metrics.
    pub name: ZoneName,
    /// DNS name below which addresses are looked up. May hold a key: never printed. `{key}` stands for what is in
    /// `key_file`.
    pub zone: String,
    /// File that holds the key; set exactly where `zone` says `{key}`.
    pub key_file: Option<PathBuf>,
    /// What is looked up there. Default addresses.
    pub kind: ZoneKind,
    /// Of which families it lists addresses. Default IPv4.
    pub families: Families,
    /// Its own name servers; empty takes `monitor.servers`.
    pub servers: Vec<SocketAddr>,
    /// Weight of a listing without a code of its own. Default 1 (notice).
    pub weight: f64,
    /// Meaning of return codes; the first that matches wins. Empty: 127.0.0.2 – 127.0.0.254 is a listing.
    pub codes: Vec<ZoneCode>,
    /// What must be listed. Default 127.0.0.2, or `test` in a list of domains; `None` where the zone publishes nothing.
    pub positive_probe: Option<Probe>,
    /// What must not be listed. Default 127.0.0.1, or `invalid`; `None` where the zone breaks RFC 5782 §5.
    pub negative_probe: Option<Probe>,
    /// Whether a name that cannot exist must not be listed either; off for lists with wildcards. Default on.
    pub random_probe: bool,
    /// Time between two rounds. Default `monitor.interval` or `light_interval`, by weight.
    pub interval: Duration,
    /// Questions a day that the list's terms allow us; `None`: as many as it takes. Default none, but 100,000 for a shipped
    /// list that is not asked through servers of its own.
    pub queries_per_day: Option<u64>,
    /// Words by which receivers name it in replies, besides its DNS name. Lower case.
    pub aliases: Vec<String>,
    /// Who runs it: of the lists of one operator only the worst word counts. Empty: nobody else's.
    pub operator: String,
    /// Its terms of use, for whoever runs this program.
    pub terms: String,
    /// Where one asks to be taken off, for the operator.
    pub delisting: String,
}

/// What a list is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneKind {
    /// Public addresses of bindings.
    Address,
    /// EHLO names, PTR names, domains of senders.
    Domain,
}

impl ZoneKind {
    /// Stable text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Domain => "domain",
        }
    }
}

/// Families of addresses that a list knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Families {
    /// IPv4.
    pub ipv4: bool,
    /// IPv6.
    pub ipv6: bool,
}

impl Families {
    /// Whether it has anything to say of such an address.
    pub fn hold(self, address: IpAddr) -> bool {
        if address.is_ipv4() { self.ipv4 } else { self.ipv6 }
    }
}

/// By what a list is tested (RFC 5782 §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// An address, looked up in reverse.
    Address(IpAddr),
    /// A name, looked up as it is.
    Name(String),
}

impl From<IpAddr> for Probe {
    fn from(address: IpAddr) -> Self {
        Self::Address(address)
    }
}

impl From<[u8; 4]> for Probe {
    fn from(octets: [u8; 4]) -> Self {
        Self::Address(octets.into())
    }
}

/// The share of `queries_per_day` that rounds may use; the rest is for confirmations and immediate looks.
const ROUNDS_SHARE: f64 = 0.8;

impl Zone {
    /// A list of IPv4 addresses of weight 1 with the usual probes, asked every 15 minutes.
    pub fn new(name: impl Into<ZoneName>, zone: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            zone: zone.into(),
            key_file: None,
            kind: ZoneKind::Address,
            families: Families { ipv4: true, ipv6: false },
            servers: Vec::new(),
            weight: super::defaults::ZONE_WEIGHT,
            codes: Vec::new(),
            positive_probe: Some(super::defaults::POSITIVE_PROBE.into()),
            negative_probe: Some(super::defaults::NEGATIVE_PROBE.into()),
            random_probe: true,
            interval: Monitor::default().interval,
            queries_per_day: None,
            aliases: Vec::new(),
            operator: String::new(),
            terms: String::new(),
            delisting: String::new(),
        }
    }

    /// The weight of the worst it can say.
    pub fn heaviest(&self) -> f64 {
        let listed = self.codes.iter().filter_map(|code| match code.meaning {
            CodeMeaning::Listed { weight, .. } => Some(weight),
            CodeMeaning::Refused | CodeMeaning::Good { .. } => None,
        });
        if self.codes.is_empty() { self.weight } else { listed.fold(0.0, f64::max) }
    }

    /// Questions of a round about `subjects`: those of its probes included.
    pub fn questions(&self, subjects: usize) -> u64 {
        let v4 = u64::from(self.positive_probe.is_some()) + u64::from(self.negative_probe.is_some());
        let probes = if self.kind == ZoneKind::Address && self.families.ipv6 { 2 * v4 } else { v4 };
        probes + u64::from(self.random_probe) + u64::try_from(subjects).unwrap_or(u64::MAX / 4)
    }

    /// The time between two rounds about `subjects`: `interval`, or longer where the questions of a day would be more
    /// than the terms allow.
    pub fn round_every(&self, subjects: usize) -> Duration {
        let Some(per_day) = self.queries_per_day else { return self.interval };
        let rounds = per_day.max(1) as f64 * ROUNDS_SHARE / self.questions(subjects) as f64;
        let least = Duration::try_from_secs_f64(86_400.0 / rounds.max(1e-6)).unwrap_or(Duration::MAX);
        self.interval.max(least)
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zone")
            .field("name", &self.name)
            .field("zone", &format_args!("(masked)"))
            .field("key_file", &self.key_file)
            .field("kind", &self.kind)
            .field("families", &self.families)
            .field("servers", &self.servers)
            .field("weight", &self.weight)
            .field("codes", &self.codes)
            .field("positive_probe", &self.positive_probe)
            .field("negative_probe", &self.negative_probe)
            .field("random_probe", &self.random_probe)
            .field("interval", &self.interval)
            .field("queries_per_day", &self.queries_per_day)
            .field("aliases", &self.aliases)
            .field("operator", &self.operator)
            .finish_non_exhaustive()
    }
}

/// Meaning of some return codes of a zone.
#[derive(Clone, Debug, PartialEq)]
pub struct ZoneCode {
    /// Inclusive ranges of the four octets.
    pub octets: [(u8, u8); 4],
    /// Bits of the last octet, of which one must be set, for lists that answer in bit masks.
    pub mask: Option<u8>,
    /// What such an answer means.
    pub meaning: CodeMeaning,
}

/// What a return code means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CodeMeaning {
    /// A listing of this weight.
    Listed {
        /// 0 ignore · 1 notice · 2 warn · 3 throttle · 4 suspend; negative for whitelists.
        weight: f64,
        /// The evidence is certain (SBL, XBL): may take out even a pool's last binding.
        certain: bool,
    },
    /// The list refuses to answer us; says nothing about the address.
    Refused,
    /// Good words (whitelist).
    Good {
        /// 0 or less: what they take off the weight of listings elsewhere. Never off one that is certain.
        weight: f64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_as_far_apart_as_the_terms_ask() {
        // (addresses, questions a day, seconds between rounds)
        for (addresses, per_day, seconds) in
            [(50, None, 900), (50, Some(100_000), 900), (1000, Some(100_000), 1083), (1000, Some(10_000), 10832)]
        {
            let zone = Zone { queries_per_day: per_day, ..Zone::new("z", "z.example") };
            assert_eq!(zone.round_every(addresses).as_secs(), seconds, "{addresses} {per_day:?}");
        }
    }
}
