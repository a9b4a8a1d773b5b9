//! Tenants by their marks.
//!
//! Each kind of mark has its own table, so that a look-up costs the same with three tenants or three thousand. Where
//! two tenants claim the same mark, the first in the file has it.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::{Config, DomainPattern};
use crate::message::TenantName;
use crate::message::header::Headers;

/// What a token that sends over HTTP is called where the name of a user stands: no user's name has a colon.
pub(super) fn token_user(token: &str) -> String {
    format!("{TOKEN}{token}")
}

const TOKEN: &str = "token:";

/// Whether that is what stands there.
pub(super) fn is_token(user: &str) -> bool {
    user.starts_with(TOKEN)
}

/// Marks → number of the tenant in the configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Tenants {
    names: HashMap<TenantName, usize>,
    default: Option<usize>,
    users: HashMap<String, usize>,
    /// Header name as written → value in lower case → tenant.
    headers: Vec<(String, HashMap<String, usize>)>,
    domains: HashMap<String, usize>,
    /// Domains below this one.
    below: HashMap<String, usize>,
    any_domain: Option<usize>,
    networks: HashMap<IpNet, usize>,
    /// Prefix lengths in `networks`, for IPv4 and IPv6.
    lengths: [BTreeSet<u8>; 2],
}

impl Tenants {
    pub(super) fn new(config: &Config) -> Self {
        let mut tenants = Self::default();
        for (n, tenant) in config.tenants.iter().enumerate() {
            tenants.names.entry(tenant.name.clone()).or_insert(n);
            for user in &tenant.matches.auth_user {
                tenants.users.entry(user.clone()).or_insert(n);
            }
            for (name, value) in &tenant.matches.header {
                tenants.add_header(name, value, n);
            }
            for pattern in &tenant.matches.sender_domain {
                tenants.add_domain(pattern, n);
            }
            for network in &tenant.matches.client {
                tenants.networks.entry(network.trunc()).or_insert(n);
                tenants.lengths[usize::from(network.addr().is_ipv6())].insert(network.prefix_len());
            }
        }
        for token in &config.injection.tokens {
            if let Some(n) = tenants.by_name(token.tenant.as_str()) {
                tenants.users.insert(token_user(&token.name), n);
            }
        }
        tenants.default = config.assignment.default_tenant.as_ref().and_then(|name| tenants.by_name(name.as_str()));
        tenants
    }

    fn add_header(&mut self, name: &str, value: &str, tenant: usize) {
        let known = self.headers.iter().position(|(known, _)| known.eq_ignore_ascii_case(name));
        let at = known.unwrap_or_else(|| {
            self.headers.push((name.to_owned(), HashMap::new()));
            self.headers.len() - 1
        });
        self.headers[at].1.entry(value.trim().to_ascii_lowercase()).or_insert(tenant);
    }

    fn add_domain(&mut self, pattern: &DomainPattern, tenant: usize) {
        match pattern {
            DomainPattern::Exact(domain) => {
                self.domains.entry(domain.as_str().to_owned()).or_insert(tenant);
            }
            DomainPattern::Below(domain) => {
                self.below.entry(domain.as_str().to_owned()).or_insert(tenant);
            }
            DomainPattern::Any => {
                self.any_domain.get_or_insert(tenant);
            }
        }
    }

    pub(super) fn by_name(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    pub(super) fn by_user(&self, user: &str) -> Option<usize> {
        self.users.get(user).copied()
    }

    /// The first mark that some header of the message bears.
    pub(super) fn by_header(&self, headers: Headers<'_>) -> Option<usize> {
        self.headers.iter().find_map(|(name, values)| {
            headers.all(name).find_map(|value| values.get(&value.to_ascii_lowercase()).copied())
        })
    }

    /// The domain itself before a pattern, a longer pattern before a shorter one. `domain` is in lower case.
    pub(super) fn by_sender_domain(&self, domain: &str) -> Option<usize> {
        let parents = domain.match_indices('.').map(|(dot, _)| &domain[dot + 1..]);
        let below = || parents.filter_map(|parent| self.below.get(parent)).next();
        self.domains.get(domain).or_else(below).copied().or(self.any_domain)
    }

    /// The longest prefix the address lies in.
    pub(super) fn by_client(&self, client: IpAddr) -> Option<usize> {
        let client = client.to_canonical();
        self.lengths[usize::from(client.is_ipv6())].iter().rev().find_map(|&length| {
            let network = IpNet::new(client, length).ok()?.trunc();
            self.networks.get(&network).copied()
        })
    }

    pub(super) fn default_tenant(&self) -> Option<usize> {
        self.default
    }
}
