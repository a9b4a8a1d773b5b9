//! Which of our bindings an observation is about.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::observation::Scope;
use crate::config::{Config, DomainPattern, Feed};
use crate::message::BindingName;

/// What of ours others may speak of.
#[derive(Clone, Debug, Default)]
pub struct Herd {
    bindings: Vec<(BindingName, IpAddr)>,
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
        Self {
            bindings: config.bindings.iter().map(|binding| (binding.name.clone(), binding.public_address)).collect(),
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
        let named = |wanted: &str| self.bindings().filter(|name| name.as_str() == wanted).collect();
        match scope {
            Scope::Address(_) | Scope::Range(..) => {
                self.bindings.iter().filter(|(_, address)| scope.holds(*address)).map(|(name, _)| name).collect()
            }
            Scope::Binding(name) => named(name),
            Scope::Domain(domain) => {
                let carried = feed.carried_by.iter().find(|(own, _)| own.as_str() == domain);
                carried.map(|(_, names)| names.iter().collect()).unwrap_or_default()
            }
            Scope::Tenant(_) => Vec::new(),
        }
    }

    /// Public addresses that the feed's account covers, each once.
    pub fn addresses(&self, feed: &Feed) -> Vec<IpAddr> {
        let covered =
            |address: &IpAddr| feed.networks.is_empty() || feed.networks.iter().any(|net| net.contains(address));
        let all: BTreeSet<IpAddr> = self.bindings.iter().map(|(_, address)| *address).filter(covered).collect();
        all.into_iter().collect()
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
