//! From DNS answers to a plan: pinned routes, null MX, implicit MX, loops, providers, which addresses are allowed. Pure.
//!
//! `mx` asks the questions; what the answers mean is decided here. Domains are tried in this order: `[[destination_route]]`
//! in the order of the file, address literals (RFC 5321 §4.1.3), MX records, and where there is none the domain itself
//! (§5.1). A host that is us ([`Ourselves`]), and all hosts that are not better than us, are left out: mail sent there would
//! come back.

use std::net::IpAddr;
use std::sync::Arc;

use rand::Rng;
use rand::seq::SliceRandom;

use super::ourselves::Ourselves;
use super::site;
use crate::config::{Delivery, DestinationRoute, DomainPattern, Host, HostPort, Provider};
use crate::message::{DestinationName, Domain, ProviderName};
use crate::outcome::EnhancedCode;

/// Where mail of a recipient domain goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MxPlan {
    /// Limit key: the provider's name, or `site:` and the folded host names.
    pub destination: DestinationName,
    /// The provider, where one matches.
    pub provider: Option<ProviderName>,
    /// Hosts in groups of equal preference, best first; within a group shuffled at each attempt.
    pub hosts: Vec<Vec<HostPort>>,
    /// The plan was pinned by `[[destination_route]]`: private addresses are allowed.
    pub pinned: bool,
}

impl MxPlan {
    /// Address families of the plan as `(IPv4, IPv6)`; `None` where a host is a name and they are not known yet.
    pub fn families(&self) -> Option<(bool, bool)> {
        if self.hosts.is_empty() {
            return None;
        }
        let mut found = (false, false);
        for host in self.hosts.iter().flatten() {
            match host.host {
                Host::Address(IpAddr::V4(_)) => found.0 = true,
                Host::Address(IpAddr::V6(_)) => found.1 = true,
                Host::Name(_) => return None,
            }
        }
        Some(found)
    }

    /// A plan with no host at all, for simulations that model receivers instead of reaching them.
    pub fn pinned_to(destination: DestinationName) -> Self {
        Self { destination, provider: None, hosts: Vec::new(), pinned: true }
    }
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPlan {
    /// The domain says it takes no mail (RFC 7505), or does not exist: bounce. Text and enhanced code for the DSN.
    Permanent {
        /// Such as `5.1.10`.
        enhanced: EnhancedCode,
        /// In words.
        text: String,
    },
    /// Time-out, SERVFAIL: ask again later, blame nobody.
    Temporary {
        /// In words.
        text: String,
    },
}

/// A plan or the reason why there is none.
pub type Planned = Result<Arc<MxPlan>, NoPlan>;

/// Most hosts of a plan. The rest of a longer MX set still counts for the destination's name.
pub const MAX_HOSTS: usize = 32;

/// One MX record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MxRecord {
    /// Lower is better.
    pub preference: u16,
    /// The host in lower case without trailing dot; empty for the root (null MX).
    pub exchange: String,
}

/// What DNS said to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// Records.
    Some(T),
    /// The name exists, but not with this type.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// No conclusive answer: time-out, SERVFAIL, REFUSED.
    Failed(String),
}

/// The part of the configuration that plans are made from.
#[derive(Clone, Debug)]
pub struct Routing {
    ourselves: Ourselves,
    port: u16,
    allow_private: bool,
    providers: Vec<Provider>,
    routes: Vec<(DomainPattern, Arc<MxPlan>)>,
}

impl Routing {
    /// `hostname` is our own name, for finding loops; more of it by [`Routing::being`].
    pub fn new(hostname: &Domain, delivery: &Delivery, providers: Vec<Provider>, routes: &[DestinationRoute]) -> Self {
        let mut this = Self {
            ourselves: Ourselves::named(hostname),
            port: delivery.port,
            allow_private: delivery.allow_private_mx,
            providers,
            routes: Vec::new(),
        };
        this.routes = routes.iter().map(|route| (route.domain.clone(), Arc::new(this.pin(route)))).collect();
        this
    }

    /// With all by which we know ourselves, not the name alone.
    #[must_use]
    pub fn being(self, ourselves: Ourselves) -> Self {
        Self { ourselves, ..self }
    }

    /// Who we are.
    pub fn ourselves(&self) -> &Ourselves {
        &self.ourselves
    }

    /// The plan of the first `[[destination_route]]` that matches.
    pub fn pinned(&self, domain: &Domain) -> Option<Arc<MxPlan>> {
        self.routes.iter().find(|(pattern, _)| pattern.matches(domain.as_str())).map(|(_, plan)| plan.clone())
    }

    /// The plan of an address literal; `None` where `domain` is a name.
    pub fn literal(&self, domain: &Domain) -> Option<Planned> {
        let inner = domain.as_str().strip_prefix('[')?.strip_suffix(']')?;
        let Ok(ip) = inner.strip_prefix("IPv6:").unwrap_or(inner).parse::<IpAddr>() else {
            return Some(Err(permanent((5, 1, 2), format!("{domain} is no valid address literal"))));
        };
        if !self.allow_private && !is_public(ip) {
            return Some(Err(permanent((5, 1, 2), format!("{domain} is not a public address"))));
        }
        let host = HostPort { host: Host::Address(ip), port: self.port };
        Some(Ok(self.plan(&[ip.to_string()], vec![vec![host]])))
    }

    /// The plan of a domain with MX records (at least one).
    pub fn from_mx(&self, domain: &Domain, mut records: Vec<MxRecord>) -> Planned {
        if let [only] = records.as_slice()
            && only.exchange.is_empty()
        {
            return Err(permanent((5, 1, 10), format!("{domain} does not accept mail (null MX)")));
        }
        records.retain(|record| record.exchange.parse::<Domain>().is_ok());
        if records.is_empty() {
            return Err(permanent((5, 4, 4), format!("no MX record of {domain} names a valid host")));
        }
        let all: Vec<&str> = records.iter().map(|record| record.exchange.as_str()).collect();
        let (destination, provider) = self.destination(&all);
        let is_ours =
            |record: &&MxRecord| record.exchange.parse().is_ok_and(|host: Domain| self.ourselves.is_name(&host));
        if let Some(ours) = records.iter().filter(is_ours).min_by_key(|record| record.preference).cloned() {
            records.retain(|record| record.preference < ours.preference);
            if records.is_empty() {
                return Err(permanent((5, 4, 6), format!("mail for {domain} loops back to {}", ours.exchange)));
            }
        }
        records.sort_by(|a, b| (a.preference, &a.exchange).cmp(&(b.preference, &b.exchange)));
        records.dedup_by(|later, first| later.exchange == first.exchange);
        records.truncate(MAX_HOSTS);
        let hosts = records
            .chunk_by(|a, b| a.preference == b.preference)
            .map(|group| group.iter().filter_map(|record| self.named(&record.exchange)).collect())
            .collect();
        Ok(Arc::new(MxPlan { destination, provider, hosts, pinned: false }))
    }

    /// The plan of a domain without MX records, after asking for its addresses (RFC 5321 §5.1).
    pub fn implicit<T>(&self, domain: &Domain, v4: &Found<T>, v6: &Found<T>) -> Planned {
        match (v4, v6) {
            (Found::Some(_), _) | (_, Found::Some(_)) if self.ourselves.is_name(domain) => {
                Err(permanent((5, 4, 6), format!("mail for {domain} loops back to us: it has no MX record")))
            }
            (Found::Some(_), _) | (_, Found::Some(_)) => {
                let hosts = self.named(domain.as_str()).map(|host| vec![vec![host]]);
                Ok(self.plan(&[domain.as_str()], hosts.unwrap_or_default()))
            }
            (Found::Failed(why), _) | (_, Found::Failed(why)) => {
                Err(NoPlan::Temporary { text: format!("address look-up of {domain} failed: {why}") })
            }
            _ => Err(permanent((5, 1, 2), format!("{domain} has neither MX nor address records"))),
        }
    }

    /// The destination's name and provider: the first provider that has all hosts, else the folded set.
    fn destination<S: AsRef<str>>(&self, hosts: &[S]) -> (DestinationName, Option<ProviderName>) {
        let covers = |provider: &&Provider| {
            !hosts.is_empty()
                && hosts.iter().all(|host| provider.mx.iter().any(|pattern| pattern.matches(host.as_ref())))
        };
        match self.providers.iter().find(covers) {
            Some(provider) => (DestinationName::new(provider.name.as_str()), Some(provider.name.clone())),
            None => (DestinationName::new(format!("site:{}", site::fold(hosts))), None),
        }
    }

    fn plan<S: AsRef<str>>(&self, names: &[S], hosts: Vec<Vec<HostPort>>) -> Arc<MxPlan> {
        let (destination, provider) = self.destination(names);
        Arc::new(MxPlan { destination, provider, hosts, pinned: false })
    }

    fn pin(&self, route: &DestinationRoute) -> MxPlan {
        let names: Vec<String> = route.hosts.iter().map(|host| host_text(&host.host)).collect();
        let (by_hosts, provider) = match &route.provider {
            Some(name) => (DestinationName::new(name.as_str()), Some(name.clone())),
            None => self.destination(&names),
        };
        let destination = if provider.is_some() {
            by_hosts
        } else {
            // Several services may share one address and differ by port only.
            let with_ports: Vec<String> = route.hosts.iter().map(host_port_text).collect();
            DestinationName::new(format!("site:{}", site::fold(&with_ports)))
        };
        let hosts = route.hosts.iter().map(|host| vec![host.clone()]).collect();
        MxPlan { destination, provider, hosts, pinned: true }
    }

    fn named(&self, host: &str) -> Option<HostPort> {
        Some(HostPort { host: Host::Name(host.parse().ok()?), port: self.port })
    }
}

/// A host as text, without port.
pub fn host_text(host: &Host) -> String {
    match host {
        Host::Name(name) => name.to_string(),
        Host::Address(ip) => ip.to_string(),
    }
}

fn host_port_text(host: &HostPort) -> String {
    match host.host {
        Host::Address(IpAddr::V6(ip)) => format!("[{ip}]:{}", host.port),
        _ => format!("{}:{}", host_text(&host.host), host.port),
    }
}

/// The hosts in the order of one attempt: groups in order, each shuffled (RFC 5321 §5.1).
pub fn shuffled<'a>(groups: &'a [Vec<HostPort>], rng: &mut impl Rng) -> Vec<&'a HostPort> {
    let mut hosts: Vec<&HostPort> = Vec::with_capacity(groups.iter().map(Vec::len).sum());
    for group in groups {
        let start = hosts.len();
        hosts.extend(group);
        hosts[start..].shuffle(rng);
    }
    hosts
}

/// "Ask again later", after a look-up of MX records failed.
pub fn temporary(domain: &Domain, why: &str) -> NoPlan {
    NoPlan::Temporary { text: format!("MX look-up of {domain} failed: {why}") }
}

/// "The domain does not exist."
pub fn no_such_domain(domain: &Domain) -> NoPlan {
    permanent((5, 1, 2), format!("domain {domain} does not exist"))
}

fn permanent((class, subject, detail): (u8, u16, u16), text: String) -> NoPlan {
    NoPlan::Permanent { enhanced: EnhancedCode { class, subject, detail }, text }
}

/// Whether mail may be sent to `ip` on the word of a stranger's DNS: neither this host nor a private network, and a
/// single host at all.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let shared = a == 100 && (64..128).contains(&b); // RFC 6598
            !(a == 0 || a >= 240 || shared)
                && !(ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_multicast())
        }
        IpAddr::V6(ip) => {
            let first = ip.segments()[0];
            let local = first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80 || first & 0xffc0 == 0xfec0;
            // The compatible, mapped and translated forms lead to the IPv4 address they hold.
            let inner = ip.to_ipv4().or_else(|| embedded_v4(ip));
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || local)
                && inner.is_none_or(|inner| is_public(IpAddr::V4(inner)))
        }
    }
}

/// The IPv4 address in a NAT64 (RFC 6052) or 6to4 (RFC 3056) address.
fn embedded_v4(ip: std::net::Ipv6Addr) -> Option<std::net::Ipv4Addr> {
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            Some((u32::from(high) << 16 | u32::from(low)).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn domain(text: &str) -> Domain {
        text.parse().expect("domain")
    }

    fn routing() -> Routing {
        let gmail = Provider {
            name: "gmail".into(),
            mx: vec![DomainPattern::Below(domain("google.com")), DomainPattern::Exact(domain("mx.smtp.goog"))],
            ..Provider::new("gmail", Vec::new())
        };
        let wide = Provider::new("wide", vec![DomainPattern::Below(domain("com"))]);
        let route = |pattern, hosts: &[(&str, u16)], provider: Option<&str>| DestinationRoute {
            domain: pattern,
            hosts: hosts
                .iter()
                .map(|&(host, port)| HostPort {
                    host: host.parse().map_or_else(|_| Host::Name(domain(host)), Host::Address),
                    port,
                })
                .collect(),
            provider: provider.map(ProviderName::new),
            tls: None,
        };
        let routes = [
            route(DomainPattern::Exact(domain("sink.test")), &[("127.0.0.1", 2525)], None),
            route(DomainPattern::Below(domain("sink.test")), &[("smart.google.com", 25), ("::1", 26)], None),
            route(DomainPattern::Exact(domain("g.test")), &[("a.google.com", 25)], None),
            route(DomainPattern::Exact(domain("p.test")), &[("127.0.0.1", 25)], Some("special")),
        ];
        Routing::new(&domain("relay.example.net"), &super::super::testing::delivery(), vec![gmail, wide], &routes)
    }

    fn mx(records: &[(u16, &str)]) -> Vec<MxRecord> {
        records.iter().map(|&(preference, host)| MxRecord { preference, exchange: host.to_owned() }).collect()
    }

    fn groups(plan: &MxPlan) -> Vec<Vec<String>> {
        plan.hosts.iter().map(|group| group.iter().map(|host| host_text(&host.host)).collect()).collect()
    }

    fn code(planned: Planned) -> String {
        match planned {
            Err(NoPlan::Permanent { enhanced, .. }) => enhanced.to_string(),
            Err(NoPlan::Temporary { .. }) => "temporary".to_owned(),
            Ok(plan) => plan.destination.to_string(),
        }
    }

    #[test]
    fn pinned_routes_come_first_and_keep_their_order() {
        let routing = routing();
        let pinned = |name: &str| routing.pinned(&domain(name)).expect("pinned");
        let sink = pinned("sink.test");
        assert!(sink.pinned && sink.provider.is_none());
        assert_eq!(sink.destination.as_str(), "site:127.0.0.1:2525");
        assert_eq!(sink.families(), Some((true, false)));
        let below = pinned("a.b.sink.test");
        assert_eq!(groups(&below), [["smart.google.com"], ["::1"]]);
        assert_eq!(below.families(), None);
        assert_eq!(pinned("g.test").provider, Some("gmail".into()));
        assert_eq!(pinned("p.test").destination.as_str(), "special");
        assert_eq!(routing.pinned(&domain("notsink.test")), None);
    }

    #[test]
    fn mx_records_become_groups_best_first() {
        let records = mx(&[(20, "c.example.org"), (10, "b.example.org"), (10, "a.example.org"), (30, "a.example.org")]);
        let plan = routing().from_mx(&domain("example.org"), records).expect("plan");
        assert_eq!(groups(&plan)[0], ["a.example.org", "b.example.org"]);
        assert_eq!(groups(&plan)[1], ["c.example.org"]);
        assert_eq!(plan.destination.as_str(), "site:{a,b,c}.example.org");
        assert!(!plan.pinned);
    }

    #[test]
    fn a_provider_must_have_every_host_and_the_first_wins() {
        for (hosts, name) in [
            (&["a.google.com", "b.l.google.com"][..], "gmail"),
            (&["mx.smtp.goog", "b.l.google.com"], "gmail"),
            (&["a.google.com", "b.example.com"], "wide"),
            (&["a.google.com", "b.example.org"], "site:{a.google.com,b.example.org}"),
            (&["google.com"], "wide"),
        ] {
            let records: Vec<_> = hosts.iter().map(|&host| (10, host)).collect();
            assert_eq!(code(routing().from_mx(&domain("x.org"), mx(&records))), name, "{hosts:?}");
        }
    }

    #[test]
    fn what_cannot_be_delivered_says_why() {
        let own = "relay.example.net";
        for (records, outcome) in [
            (&[(0, "")][..], "5.1.10"),
            (&[(0, ""), (10, "mx.x.org")], "site:mx.x.org"),
            (&[(0, "not a host!")], "5.4.4"),
            (&[(10, own)], "5.4.6"),
            (&[(10, own), (10, "peer.x.org"), (20, "backup.x.org")], "5.4.6"),
            (&[(5, "better.x.org"), (10, own)], "site:{better.x.org,relay.example.net}"),
        ] {
            assert_eq!(code(routing().from_mx(&domain("x.org"), mx(records))), outcome, "{records:?}");
        }
        let kept = routing().from_mx(&domain("x.org"), mx(&[(5, "better.x.org"), (10, own), (20, "worse.x.org")]));
        assert_eq!(groups(&kept.expect("plan")), [["better.x.org"]]);
        let failed = || Found::Failed("SERVFAIL".to_owned());
        for (v4, v6, outcome) in [
            (Found::Some(()), Found::NoData, "site:x.org"),
            (failed(), Found::Some(()), "site:x.org"),
            (Found::NoData, Found::NoData, "5.1.2"),
            (Found::NxDomain, Found::NxDomain, "5.1.2"),
            (Found::NoData, failed(), "temporary"),
        ] {
            assert_eq!(code(routing().implicit(&domain("x.org"), &v4, &v6)), outcome);
        }
        assert_eq!(code(routing().implicit(&domain(own), &Found::Some(()), &Found::NoData)), "5.4.6");
    }

    #[test]
    fn by_none_of_our_names_are_we_or_worse_hosts_sent_anything() {
        let config = crate::config::Config::from_toml(
            "[server]\nhostname = \"relay.example.net\"\nstate_dir = \"/var/lib/remuda\"\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n\
             [binding.a]\nbind_address = \"192.0.2.1\"\nehlo_hostname = \"out7.example.net\"\n\
             [pool.p]\nactive = [\"a\"]\n[tenant.t]\npools = { default = \"p\" }\n\
             [[destination_route]]\ndomain = \"ours.test\"\nhosts = [\"out7.example.net\"]\n",
        )
        .unwrap_or_else(|error| panic!("{error}"));
        let routing = Routing::new(&config.server.hostname, &config.delivery, Vec::new(), &config.destination_routes);
        let routing = routing.being(Ourselves::of(&config));
        let planned = |records: &[(u16, &str)]| routing.from_mx(&domain("x.org"), mx(records));
        let (own, best, peer) = ((10, "out7.example.net"), (5, "best.x.org"), (10, "peer.x.org"));
        let kept = planned(&[(20, "relay.example.net"), own, peer, best, (15, "between.x.org")]).expect("a better one");
        assert_eq!(groups(&kept), [["best.x.org"]]);
        assert_eq!(code(planned(&[own, peer, (20, "worse.x.org")])), "5.4.6");
        assert_eq!(code(routing.implicit(&domain(own.1), &Found::Some(()), &Found::NoData)), "5.4.6");
        let pinned = routing.pinned(&domain("ours.test")).expect("pinned");
        assert_eq!(groups(&pinned), [["out7.example.net"]], "the operator's word goes before");
    }

    #[test]
    fn address_literals_are_hosts_when_they_are_public() {
        let routing = routing();
        assert_eq!(routing.literal(&domain("x.org")), None);
        let plan = |text: &str| routing.literal(&domain(text)).expect("literal");
        assert_eq!(plan("[203.0.113.5]").expect("plan").families(), Some((true, false)));
        assert_eq!(plan("[IPv6:2001:db8::1]").expect("plan").families(), Some((false, true)));
        assert_eq!(code(plan("[127.0.0.1]")), "5.1.2");
    }

    #[test]
    fn a_hostile_mx_set_is_cut_to_size() {
        let records = (0..500).map(|at| MxRecord { preference: at, exchange: format!("h{at}.x{at}.org") }).collect();
        let plan = routing().from_mx(&domain("x.org"), records).expect("plan");
        assert_eq!(plan.hosts.len(), MAX_HOSTS);
        assert!(plan.destination.as_str().len() <= 200);
    }

    #[test]
    fn mail_does_not_follow_strangers_into_private_networks() {
        for (ip, public) in [
            ("8.8.8.8", true),
            ("100.63.0.1", true),
            ("172.32.0.1", true),
            ("2001:db8::1", true),
            ("::ffff:8.8.8.8", true),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("10.1.2.3", false),
            ("100.64.0.1", false),
            ("127.0.0.53", false),
            ("169.254.169.254", false),
            ("172.16.0.1", false),
            ("192.168.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("fe80::1", false),
            ("fd00::1", false),
            ("ff02::1", false),
            ("::ffff:127.0.0.1", false),
            ("64:ff9b::10.0.0.1", false),
            ("2002:7f00:1::", false),
        ] {
            assert_eq!(is_public(ip.parse().expect("address")), public, "{ip}");
        }
    }

    #[test]
    fn equals_are_shuffled_and_groups_stay_in_order() {
        use rand::SeedableRng;
        let host = |name: &str| HostPort { host: Host::Name(domain(name)), port: 25 };
        let hosts = [vec![host("a"), host("b"), host("c")], vec![host("d")]];
        let mut firsts = std::collections::HashSet::new();
        let mut rng = rand::rngs::SmallRng::seed_from_u64(7);
        for _ in 0..50 {
            let order: Vec<String> = shuffled(&hosts, &mut rng).iter().map(|host| host_text(&host.host)).collect();
            assert_eq!(order.len(), 4);
            assert_eq!(order[3], "d");
            firsts.insert(order[0].clone());
        }
        assert_eq!(firsts.len(), 3);
    }
}
