//! What a list is asked about: the address of a binding, or a domain, and who stands behind that domain.
//!
//! A domain is asked as it is written and with each name above it that may be a registered domain: lists differ in
//! whether a listed domain covers the names below it (RFC 5782 §3 has no convention), and a receiver looks up either.
//! Evidence about an EHLO or PTR name falls on every binding that uses it; a domain of a tenant is the tenant's affair.
//! The names above a PTR name are asked only where they are ours by our own word, as an EHLO name or a sender's domain, or
//! stand above one: `192-0-2-1.clients.example.com` is a name that a hoster gave.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use crate::config::{Addresses, Config, DomainPattern, EhloName};
use crate::message::{BindingName, TenantName};

/// Names looked up for one host name: itself and those above it.
pub(super) const LEVELS_MAX: usize = 3;

/// Domains asked about in all ([`bounded`]). A list's budget is not a tenant's to spend.
pub const DOMAINS_MAX: usize = 2_000;

/// What a list is asked about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The public address of a binding; the first where it has two.
    Binding(BindingName),
    /// The public address of a binding in its other family. It is named, so that what is known of it is of this very one.
    Second(BindingName, IpAddr),
    /// A domain, in lower case and without a final dot.
    Domain(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Binding(binding) | Self::Second(binding, _) => f.pad(binding.as_str()),
            Self::Domain(domain) => f.pad(domain),
        }
    }
}

impl Subject {
    /// The binding whose address it is.
    pub fn binding(&self) -> Option<&BindingName> {
        match self {
            Self::Binding(binding) | Self::Second(binding, _) => Some(binding),
            Self::Domain(_) => None,
        }
    }
}

/// The subjects that these addresses of bindings are: the first that is named with a binding is its first.
pub fn addresses(named: &[(BindingName, IpAddr)]) -> BTreeMap<Subject, IpAddr> {
    let mut all = BTreeMap::new();
    for (binding, address) in named {
        let first = Subject::Binding(binding.clone());
        let subject = if all.contains_key(&first) { Subject::Second(binding.clone(), *address) } else { first };
        all.insert(subject, *address);
    }
    all
}

/// The subjects that the addresses of one binding are.
pub fn of_binding(binding: &BindingName, publics: Addresses) -> impl Iterator<Item = (Subject, IpAddr)> {
    let first = (Subject::Binding(binding.clone()), publics.first());
    let second = publics.second().map(|second| (Subject::Second(binding.clone(), second), second));
    std::iter::once(first).chain(second)
}

/// Who uses a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    /// Bindings that say it in EHLO or have it as PTR name, sorted.
    pub bindings: Vec<BindingName>,
    /// Tenants that send from it, sorted.
    pub tenants: Vec<TenantName>,
}

/// All domains to ask about, with those who use them.
pub type Domains = BTreeMap<String, Users>;

/// The domains of a configuration: EHLO names, domains of senders and return paths; and `reverse`, the PTR names that
/// were confirmed for each binding.
pub fn domains<'a>(config: &Config, reverse: impl IntoIterator<Item = (&'a BindingName, &'a [String])>) -> Domains {
    let mut all = Domains::new();
    for binding in &config.bindings {
        let name = match &binding.ehlo_hostname {
            EhloName::Literal(name) => name.as_str(),
            EhloName::Hostname => config.server.hostname.as_str(),
            // It is one of the tenants' domains.
            EhloName::Message => continue,
        };
        used_by_binding(&mut all, levels(name), &binding.name);
    }
    for tenant in &config.tenants {
        let senders = tenant.matches.sender_domain.iter().filter_map(|pattern| match pattern {
            DomainPattern::Exact(domain) | DomainPattern::Below(domain) => Some(domain),
            DomainPattern::Any => None,
        });
        for domain in senders.chain(&tenant.return_path_domain) {
            for name in levels(domain.as_str()) {
                let tenants = &mut all.entry(name).or_default().tenants;
                if let Err(at) = tenants.binary_search(&tenant.name) {
                    tenants.insert(at, tenant.name.clone());
                }
            }
        }
    }
    // What stands above a PTR name is most often the hoster's, whose other customers are none of our business.
    let ours: BTreeSet<String> = all.keys().cloned().collect();
    for (binding, names) in reverse {
        for name in names {
            let own = levels(name).into_iter().enumerate().filter(|(level, name)| *level == 0 || ours.contains(name));
            used_by_binding(&mut all, own.map(|(_, name)| name), binding);
        }
    }
    all
}

/// At most [`DOMAINS_MAX`] of `all`, and how many were left out: first of those that no binding uses, and of these the
/// ones farthest below a registered domain, of which lists have least to say.
pub fn bounded(mut all: Domains) -> (Domains, usize) {
    let left_out = all.len().saturating_sub(DOMAINS_MAX);
    if left_out == 0 {
        return (all, 0);
    }
    let depth = |name: &str| name.bytes().filter(|b| *b == b'.').count();
    let mut order: Vec<(bool, usize, String)> =
        all.iter().map(|(name, users)| (users.bindings.is_empty(), depth(name), name.clone())).collect();
    order.sort_unstable();
    for (.., name) in order.drain(DOMAINS_MAX..) {
        all.remove(&name);
    }
    (all, left_out)
}

fn used_by_binding(all: &mut Domains, names: impl IntoIterator<Item = String>, binding: &BindingName) {
    for name in names {
        let bindings = &mut all.entry(name).or_default().bindings;
        if let Err(at) = bindings.binary_search(binding) {
            bindings.insert(at, binding.clone());
        }
    }
}

/// The names to look up for `name`: itself and what stands above it, down to two labels; none for an address literal.
fn levels(name: &str) -> Vec<String> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    if name.starts_with('[') || name.parse::<IpAddr>().is_ok() {
        return Vec::new();
    }
    let labels: Vec<&str> = name.split('.').collect();
    let above = (0..labels.len().saturating_sub(1)).map(|from| labels[from..].join("."));
    above.take(LEVELS_MAX).enumerate().filter(|(level, name)| *level == 0 || !is_suffix(name)).map(|(_, n)| n).collect()
}

/// Second levels under which countries register domains. Not complete: a question too many is better than a domain that is
/// never asked about, so what is a domain of its own somewhere (`web`, `info`, `me`) is not here.
const SECOND_LEVELS: [&str; 26] = [
    "ac", "asn", "co", "com", "edu", "gob", "gouv", "gov", "govt", "gv", "go", "id", "ltd", "mil", "ne", "net", "nhs",
    "nic", "nom", "or", "org", "plc", "police", "res", "sch", "sld",
];

/// `co.uk`, `com.au`: nobody's domain. (A list would not say anything of them; the question is saved.)
fn is_suffix(name: &str) -> bool {
    let labels: Vec<&str> = name.split('.').collect();
    matches!(labels[..], [second, top] if top.len() == 2 && SECOND_LEVELS.contains(&second))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reputation::fixtures;

    #[test]
    fn a_host_name_is_asked_with_the_names_above_it() {
        let table: &[(&str, &[&str])] = &[
            ("MTA1.example.net.", &["mta1.example.net", "example.net"]),
            ("example.net", &["example.net"]),
            ("mta1.eu.example.co.uk", &["mta1.eu.example.co.uk", "eu.example.co.uk", "example.co.uk"]),
            ("mta1.example.co.uk", &["mta1.example.co.uk", "example.co.uk"]),
            ("mx.gmx.de", &["mx.gmx.de", "gmx.de"]),
            ("mail.sap.de", &["mail.sap.de", "sap.de"]),
            ("mail.example.or.at", &["mail.example.or.at", "example.or.at"]),
            ("localhost", &[]),
            ("[192.0.2.1]", &[]),
            ("192.0.2.1", &[]),
            ("", &[]),
        ];
        for (name, expected) in table {
            assert_eq!(levels(name), *expected, "{name}");
        }
    }

    #[test]
    fn domains_know_who_uses_them() {
        let mut config = fixtures::config(&["a", "b"], &[("p", &["a", "b"])]);
        let tenant = crate::config::Tenant {
            matches: crate::config::TenantMatch {
                sender_domain: vec![
                    DomainPattern::Exact("acme.example".parse().unwrap()),
                    DomainPattern::Below("shop.example".parse().unwrap()),
                    DomainPattern::Any,
                ],
                ..crate::config::TenantMatch::default()
            },
            return_path_domain: Some("bounces.acme.example".parse().unwrap()),
            ..crate::config::Tenant::new("acme")
        };
        config.tenants = vec![tenant];
        let (a, ptr) = (BindingName::new("a"), ["ptr.example.org".to_owned()]);
        let all = domains(&config, [(&a, &ptr[..])]);
        let shown: Vec<String> = all
            .iter()
            .map(|(domain, users)| format!("{domain} {} {}", users.bindings.len(), users.tenants.len()))
            .collect();
        let hostname = config.server.hostname.as_str();
        assert!(shown.contains(&format!("{hostname} 2 0")), "{shown:?}");
        for expected in ["acme.example 0 1", "bounces.acme.example 0 1", "shop.example 0 1", "ptr.example.org 1 0"] {
            assert!(shown.iter().any(|shown| shown == expected), "{expected} in {shown:?}");
        }
        assert!(!all.contains_key("example.org"), "what stands above a PTR name is the hoster's");
        let ptr = ["mx.acme.example".to_owned()];
        let all = domains(&config, [(&a, &ptr[..])]);
        assert_eq!(all["acme.example"].bindings, [a], "unless it is ours");
    }

    #[test]
    fn of_too_many_domains_those_of_tenants_are_left_out_first() {
        let used = |by: &str| Users { bindings: vec![by.into()], tenants: Vec::new() };
        let mut all: Domains = (0..DOMAINS_MAX).map(|n| (format!("d{n:05}.example"), Users::default())).collect();
        assert_eq!(bounded(all.clone()).1, 0);
        all.insert("zz.mta.example.net".to_owned(), used("b"));
        all.insert("a.b.example".to_owned(), Users::default());
        let (kept, left_out) = bounded(all);
        assert_eq!((kept.len(), left_out), (DOMAINS_MAX, 2));
        assert!(kept.contains_key("zz.mta.example.net"), "a binding's own, wherever in the alphabet");
        assert!(!kept.contains_key("a.b.example") && !kept.contains_key("d01999.example"));
    }
}
