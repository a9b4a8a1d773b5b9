//! Which region mail belongs to: the recipient's by its domain, else the provider's, else the tenant's.
//!
//! Of several patterns the most specific wins: the name itself, then the longest `*.suffix`, then `*`; among equals the
//! first in the file. A look costs one probe per label of the domain; whoever asks often remembers the answer.

use std::collections::HashMap;

use super::RegionId;
use crate::config::{Config, DomainPattern};
use crate::message::{Domain, ProviderName};

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
