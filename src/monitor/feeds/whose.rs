//! Which of our bindings an observation is about.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::observation::Scope;
use crate::config::{Addresses, Config, DomainPattern, Feed};
use crate::message::BindingName;

/// What of ours others may speak of.
#[derive(Clone, Debug, Default)]
pub struct Herd {
    bindings: Vec<(BindingName, Addresses)>,
    by_name: BTreeSet<BindingName>,
    by_address: BTreeMap<IpAddr, Vec<BindingName>>,
    tenants: BTreeSet<String>,
    domains: BTreeSet<String>,
}

impl Herd {
    /// As configured.
    pub fn new(config: &Config) -> Self {
        let patterns = config.tenants.iter().flat_map(|tenant| &tenant.matches.sender_domain);
        let exact = patterns.filter_map(|pattern| match pattern {
            DomainPattern::Exact(domain) | DomainPattern::Below(domain) => Some(domain.as_str().to_owned()),
            DomainPattern::Any => None,
        });
        let of_feeds = config.feeds.iter().flat_map(|feed| feed.domains.iter().chain(feed.carried_by.keys()));
        let mut by_address = BTreeMap::<IpAddr, Vec<BindingName>>::new();
        for binding in &config.bindings {
            for public in binding.publics().iter() {
                by_address.entry(public).or_default().push(binding.name.clone());
            }
        }
        Self {
            by_name: config.bindings.iter().map(|binding| binding.name.clone()).collect(),
            by_address,
            bindings: config.bindings.iter().map(|binding| (binding.name.clone(), binding.publics())).collect(),
            tenants: config.tenants.iter().map(|tenant| tenant.name.as_str().to_owned()).collect(),
            domains: exact.chain(of_feeds.map(|domain| domain.as_str().to_owned())).collect(),
        }
    }

    /// All bindings, in the order of the configuration.
    pub fn bindings(&self) -> impl Iterator<Item = &BindingName> {
        self.bindings.iter().map(|(name, _)| name)
    }

    /// Bindings that are meant. What is said of a domain is its tenant's, unless only certain bindings carry its mail.
    pub fn meant<'a>(&'a self, feed: &'a Feed, scope: &Scope) -> Vec<&'a BindingName> {
        match scope {
            Scope::Address(address) => self.by_address.get(address).into_iter().flatten().collect(),
            // Those read from a file may be of two families, or out of order.
            Scope::Range(first, last) if first > last || first.is_ipv4() != last.is_ipv4() => Vec::new(),
            Scope::Range(first, last) => self.by_address.range(first..=last).flat_map(|(_, names)| names).collect(),
            Scope::Binding(name) => self.by_name.get(name.as_str()).into_iter().collect(),
            Scope::Domain(domain) => {
                let carried = feed.carried_by.iter().find(|(own, _)| own.as_str() == domain);
                carried.map(|(_, names)| names.iter().collect()).unwrap_or_default()
            }
            Scope::Tenant(_) => Vec::new(),
        }
    }

    /// Whether it is about a binding, domain or tenant of ours.
    pub fn is_ours(&self, feed: &Feed, scope: &Scope) -> bool {
        self.known_name(scope).is_some() || !self.meant(feed, scope).is_empty()
    }

    /// How many bindings the feed's account covers.
    pub fn covered(&self, feed: &Feed) -> usize {
        self.bindings.iter().filter(|(_, publics)| publics.iter().any(|address| covers(feed, address))).count()
    }

    /// Public addresses that the feed's account covers, each once.
    pub fn addresses(&self, feed: &Feed) -> Vec<IpAddr> {
        self.by_address.keys().copied().filter(|address| covers(feed, *address)).collect()
    }

    /// The domain or tenant as a label, where the configuration knows it: others would be without bound.
    pub fn known_name<'a>(&self, scope: &'a Scope) -> Option<&'a str> {
        match scope {
            Scope::Domain(name) if self.domains.contains(name) => Some(name),
            Scope::Tenant(name) if self.tenants.contains(name) => Some(name),
            _ => None,
        }
    }
}

fn covers(feed: &Feed, address: IpAddr) -> bool {
    feed.networks.is_empty() || feed.networks.iter().any(|net| net.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn a_scope_means_the_bindings_in_it_and_nobody_else() {
        let herd =
            Herd::new(&testing::config("[binding.six]\nbind_address = \"::1\"\npublic_address = \"2001:db8::6\"\n"));
        let feed = testing::feed("kind = \"wqs\"\nsecret_file = \"k\"\nnetworks = [\"192.0.2.0/28\"]\n");
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let meant = |scope: Scope| {
            let names: Vec<_> = herd.meant(&feed, &scope).into_iter().map(|name| name.as_str().to_owned()).collect();
            names.join(" ")
        };
        for (scope, expected) in [
            (Scope::Address(ip("192.0.2.12")), "b"),
            (Scope::Address(ip("192.0.2.13")), ""),
            (Scope::Range(ip("192.0.2.0"), ip("192.0.2.255")), "a b"),
            (Scope::Range(ip("192.0.2.12"), ip("192.0.2.12")), "b"),
            (Scope::Range(ip("::"), ip("2001:db8::ffff")), "six"),
            (Scope::Range(ip("192.0.2.255"), ip("192.0.2.0")), ""),
            (Scope::Range(ip("192.0.2.0"), ip("ffff::")), ""),
            (Scope::Binding("a".into()), "a"),
            (Scope::Tenant("t".into()), ""),
        ] {
            assert_eq!(meant(scope.clone()), expected, "{scope}");
        }
        assert!(herd.is_ours(&feed, &Scope::Tenant("t".into())) && !herd.is_ours(&feed, &Scope::Tenant("u".into())));
        assert_eq!((herd.covered(&feed), herd.addresses(&feed)), (2, vec![ip("192.0.2.11"), ip("192.0.2.12")]));
    }
}
