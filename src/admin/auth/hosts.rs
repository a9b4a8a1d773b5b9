//! By which names this interface may be called. Pure.
//!
//! A page of a stranger can have its own name lead to 127.0.0.1 and then ask us as if we were its server (DNS rebinding);
//! what it cannot do is to send another `Host` than that name. So only our own are answered: loopback, the address that
//! was connected to, `server.hostname`, `admin.hosts`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::config::Config;

/// Names and addresses without ports, in lower case.
#[derive(Debug)]
pub(super) struct Hosts {
    names: BTreeSet<String>,
    addresses: BTreeSet<IpAddr>,
}

impl Hosts {
    pub(super) fn of(config: &Config) -> Self {
        let own = std::iter::once(config.server.hostname.as_str().to_owned());
        let mut hosts = Self { names: BTreeSet::new(), addresses: BTreeSet::new() };
        hosts.addresses.extend(config.admin.address.map(|address| address.ip()));
        for host in own.chain(config.admin.hosts.iter().cloned()) {
            match host.parse::<IpAddr>() {
                Ok(address) => drop(hosts.addresses.insert(address)),
                Err(_) => drop(hosts.names.insert(host.trim_end_matches('.').to_ascii_lowercase())),
            }
        }
        hosts
    }

    /// Whether a request for `named` (with or without port) is for us; `connected` is the address it came to.
    pub(super) fn has(&self, named: &str, connected: Option<IpAddr>) -> bool {
        let Some(host) = without_port(named) else { return false };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            let address = address.to_canonical();
            return address.is_loopback()
                || connected.is_some_and(|connected| connected.to_canonical() == address)
                || self.addresses.contains(&address);
        }
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        // RFC 6761 §6.3: names below localhost are loopback too.
        name == "localhost" || name.ends_with(".localhost") || self.names.contains(&name)
    }
}

/// `host:port` without the port; `None` where it is neither.
fn without_port(named: &str) -> Option<&str> {
    let (host, port) = match named.rfind(':') {
        // A colon within brackets belongs to the address.
        Some(at) if !named.ends_with(']') => (&named[..at], &named[at + 1..]),
        _ => (named, ""),
    };
    (!host.is_empty() && port.bytes().all(|octet| octet.is_ascii_digit())).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_and_addresses_are_ours() {
        let hosts = Hosts {
            names: ["relay.example.net".to_owned(), "status.example.org".to_owned()].into(),
            addresses: ["192.0.2.7".parse().expect("an address")].into(),
        };
        let connected = Some("192.0.2.8".parse().expect("an address"));
        for (named, is_ours) in [
            ("127.0.0.1:8025", true),
            ("127.3.2.1", true),
            ("[::1]:8025", true),
            ("[::1]", true),
            ("localhost", true),
            ("console.localhost:8025", true),
            ("Relay.Example.NET.:443", true),
            ("status.example.org", true),
            ("192.0.2.7:1", true),
            ("192.0.2.8", true),
            ("192.0.2.9", false),
            ("evil.example.com", false),
            ("127.0.0.1.evil.example.com", false),
            ("relay.example.net.evil.example.com", false),
            ("localhost.evil.example.com", false),
            ("relay.example.net:80@evil.example.com", false),
            ("", false),
            (":80", false),
        ] {
            assert_eq!(hosts.has(named, connected), is_ours, "{named}");
        }
    }
}
