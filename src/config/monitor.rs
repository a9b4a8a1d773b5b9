//! `[monitor]`: which lists are asked how often, and what their answers weigh; the checks of DNS identity.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::message::ZoneName;

/// `[monitor]`
#[derive(Clone, Debug)]
pub struct Monitor {
    /// Time between two rounds over all bindings × zones. Default 15 min.
    pub interval: Duration,
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
    /// Share of own addresses newly listed in one round above which the zone is distrusted instead. Default 0.3
    /// (and at least 3 addresses).
    pub blast_radius: f64,
    /// Reverse DNS checks. Default on.
    pub fcrdns: bool,
    /// What an IPv6 address must have before its first use. Default require.
    pub ipv6_names: Ipv6Names,
    /// Time between two checks of the resolvers themselves; `None` leaves them out. Default 1 h.
    pub self_check: Option<Duration>,
    /// What the SPF records of senders mean for the choice of bindings. Default [`SpfPolicy::Require`].
    pub spf: SpfPolicy,
    /// Time between two evaluations of the SPF of a domain, give or take `jitter`. Default 1 h.
    pub spf_interval: Duration,
    /// Name servers for reverse DNS, SPF and for zones without their own; empty takes `[dns]`'s.
    pub servers: Vec<SocketAddr>,
    /// `[monitor.zone.NAME]`
    pub zones: Vec<Zone>,
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

/// `[monitor.zone.NAME]`: one DNSBL (RFC 5782). Its `Debug` masks the DNS name.
#[derive(Clone)]
pub struct Zone {
    /// Name in logs and metrics.
    pub name: ZoneName,
    /// DNS name below which addresses are looked up. May hold a key: never printed.
    pub zone: String,
    /// Its own name servers; empty takes `monitor.servers`.
    pub servers: Vec<SocketAddr>,
    /// Weight of a listing without a code of its own. Default 1 (notice).
    pub weight: f64,
    /// Meaning of return codes; the first that matches wins. Empty: 127.0.0.2 – 127.0.0.254 is a listing.
    pub codes: Vec<ZoneCode>,
    /// Address that must be listed. Default 127.0.0.2; `None` where the zone publishes none.
    pub positive_probe: Option<IpAddr>,
    /// Address that must not be listed. Default 127.0.0.1; `None` where the zone breaks RFC 5782 §5.
    pub negative_probe: Option<IpAddr>,
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, zone: _, servers, weight, codes, positive_probe, negative_probe } = self;
        f.debug_struct("Zone")
            .field("name", name)
            .field("zone", &format_args!("(masked)"))
            .field("servers", servers)
            .field("weight", weight)
            .field("codes", codes)
            .field("positive_probe", positive_probe)
            .field("negative_probe", negative_probe)
            .finish()
    }
}

/// Meaning of some return codes of a zone.
#[derive(Clone, Debug)]
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
    Good,
}
