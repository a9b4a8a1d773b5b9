//! Which region mail belongs to: the recipient's by its domain, else the provider's, else the tenant's.
//!
//! Of several patterns the most specific wins: the name itself, then the longest `*.suffix`, then `*`; among equals the
//! first in the file. A look costs one probe per label of the domain; whoever asks often remembers the answer.

use std::collections::HashMap;

use super::{DestinationId, RegionId, Scheduler, TenantId};
use crate::config::{Config, DomainPattern};
use crate::message::{Domain, ProviderName};

impl Scheduler {
    /// The number of a region, where something of the configuration is in it.
    pub fn region_id(&self, name: &str) -> Option<RegionId> {
        self.regions.known(name)
    }

    /// The region of mail: the recipient's by its domain (lower case), else the provider's, else the tenant's. Depends on
    /// the configuration alone: ask once per domain, and again after [`reconfigure`](Self::reconfigure).
    pub fn region_of(
        &self,
        tenant: TenantId,
        destination: DestinationId,
        recipient_domain: &Domain,
    ) -> Option<RegionId> {
        let provider = self.destinations[destination.index()].provider_name.as_ref();
        self.regions.of(tenant.index(), provider, recipient_domain)
    }
}

/// Names and patterns of regions. Numbers stay over changes of the configuration.
#[derive(Debug, Default)]
pub(super) struct Regions {
    ids: HashMap<String, RegionId>,
    exact: HashMap<Box<str>, RegionId>,
    below: HashMap<Box<str>, RegionId>,
    any: Option<RegionId>,
    of_provider: HashMap<ProviderName, RegionId>,
    /// By number of the tenant; those that came later are missing.
    of_tenant: Vec<Option<RegionId>>,
}

impl Regions {
    /// The number of a region, given at its first appearance.
    pub(super) fn id(&mut self, name: &str) -> RegionId {
        match self.ids.get(name) {
            Some(&id) => id,
            None => {
                let id = RegionId(self.ids.len() as u32);
                self.ids.insert(name.to_owned(), id);
                id
            }
        }
    }

    /// The number of a region that has one.
    pub(super) fn known(&self, name: &str) -> Option<RegionId> {
        self.ids.get(name).copied()
    }

    /// Takes over another configuration. `tenants` are the regions of tenants by their number.
    pub(super) fn take_over(&mut self, config: &Config, tenants: Vec<Option<String>>) {
        self.exact.clear();
        self.below.clear();
        self.any = None;
        for region in &config.regions {
            let id = self.id(&region.name);
            for pattern in &region.recipient_domain {
                match pattern {
                    DomainPattern::Exact(domain) => *self.exact.entry(domain.as_str().into()).or_insert(id),
                    DomainPattern::Below(domain) => *self.below.entry(domain.as_str().into()).or_insert(id),
                    DomainPattern::Any => *self.any.get_or_insert(id),
                };
            }
        }
        let of_provider = config.providers.iter().filter_map(|provider| {
            let id = self.id(provider.region.as_deref()?);
            Some((provider.name.clone(), id))
        });
        self.of_provider = of_provider.collect();
        self.of_tenant = tenants.into_iter().map(|region| region.map(|region| self.id(&region))).collect();
    }

    /// The region of mail for `recipient_domain` (lower case).
    pub(super) fn of(
        &self,
        tenant: usize,
        provider: Option<&ProviderName>,
        recipient_domain: &Domain,
    ) -> Option<RegionId> {
        self.of_domain(recipient_domain)
            .or_else(|| self.of_provider.get(provider?).copied())
            .or_else(|| self.of_tenant.get(tenant).copied().flatten())
    }

    fn of_domain(&self, domain: &Domain) -> Option<RegionId> {
        if let Some(&id) = self.exact.get(domain.as_str()) {
            return Some(id);
        }
        if self.below.is_empty() {
            return self.any;
        }
        let mut rest = domain.as_str();
        while let Some((_, above)) = rest.split_once('.') {
            if let Some(&id) = self.below.get(above) {
                return Some(id);
            }
            rest = above;
        }
        self.any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Provider, Region};

    #[test]
    fn the_recipients_region_wins_over_the_providers_and_that_over_the_tenants() {
        let mut config = Config::bare("relay.example.net".parse().expect("domain"));
        let below = |name: &str| DomainPattern::Below(name.parse().expect("domain"));
        let exact = |name: &str| DomainPattern::Exact(name.parse().expect("domain"));
        let region = |name: &str, recipient_domain| Region { name: name.into(), recipient_domain };
        config.regions = vec![
            region("eu", vec![below("de"), exact("shop.example")]),
            region("us", vec![below("us.de"), below("example")]),
        ];
        config.providers = vec![
            Provider { region: Some("jp".into()), ..Provider::new("ezweb", Vec::new()) },
            Provider::new("gmail", Vec::new()),
        ];
        let mut regions = Regions::default();
        regions.take_over(&config, vec![Some("br".into()), None]);
        let [ezweb, gmail] = ["ezweb", "gmail"].map(ProviderName::new);
        let of = |tenant, provider: Option<&ProviderName>, domain: &str| {
            let id = regions.of(tenant, provider, &domain.parse().expect("domain"));
            ["eu", "us", "jp", "br"].into_iter().find(|name| id.is_some() && regions.known(name) == id)
        };
        for (tenant, provider, domain, expected) in [
            (0, Some(&ezweb), "mail.firma.de", Some("eu")),
            (0, Some(&ezweb), "a.us.de", Some("us")),
            (0, Some(&ezweb), "us.de", Some("eu")),
            (0, None, "shop.example", Some("eu")),
            (0, None, "other.example", Some("us")),
            (0, Some(&ezweb), "de", Some("jp")),
            (1, Some(&ezweb), "ezweb.jp", Some("jp")),
            (0, Some(&gmail), "gmail.com", Some("br")),
            (1, Some(&gmail), "gmail.com", None),
            (7, None, "[192.0.2.1]", None),
        ] {
            assert_eq!(of(tenant, provider, domain), expected, "{tenant} {provider:?} {domain}");
        }
        config.regions[0].recipient_domain.push(DomainPattern::Any);
        let eu = regions.known("eu");
        regions.take_over(&config, Vec::new());
        assert_eq!((regions.of(9, None, &"x.org".parse().expect("domain")), regions.known("eu")), (eu, eu));
    }
}
