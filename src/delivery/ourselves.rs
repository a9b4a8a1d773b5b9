//! Who we are, among the hosts that strangers' DNS leads to. Pure.
//!
//! Mail that a relay sends to itself comes back, until its trace fields are too many. RFC 5321 §5.1 has a relay that finds
//! itself among the hosts of a domain leave out itself and all that are not preferred to it: by name before anything is
//! asked (`plan`), by address once the addresses of a host are known (`direct`). `[[destination_route]]` is the operator's
//! word and goes before all of this.
//!
//! Names are `server.hostname` and what bindings say in EHLO. An address alone is not us: beside us, behind the same
//! address, there may well be another mail server that takes the mail of the house. We are where a listener of ours is,
//! address and port; a listener at all addresses is at those of all bindings; and where it is at a binding's address inside,
//! it is taken to be at the one outside as well. What sends through a proxy has its address on another host, which is not us.
//! A listener whose port the system chooses is not known here.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use crate::config::{Binding, Config, EhloName, Family, Listener};
use crate::message::Domain;

/// Names and sockets that lead back to this relay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ourselves {
    names: BTreeSet<Domain>,
    sockets: BTreeSet<SocketAddr>,
    /// Ports of listeners at all addresses of a family: these have the loopback addresses, too.
    everywhere: BTreeSet<(bool, u16)>,
}

impl Ourselves {
    /// Known by one name only.
    pub fn named(hostname: &Domain) -> Self {
        Self { names: BTreeSet::from([hostname.clone()]), ..Self::default() }
    }

    /// What a configuration says of us.
    pub fn of(config: &Config) -> Self {
        let mut this = Self::named(&config.server.hostname);
        let here = || config.bindings.iter().filter(|binding| binding.via.is_none());
        for binding in here() {
            if let EhloName::Literal(name) = &binding.ehlo_hostname {
                this.names.insert(name.clone());
            }
        }
        for listener in config.listeners.iter().filter(|listener| listener.address.port() != 0) {
            this.add(listener, here().map(|binding| &**binding));
        }
        this
    }

    fn add<'a>(&mut self, listener: &Listener, bindings: impl Iterator<Item = &'a Binding>) {
        let (at, port) = (listener.address.ip(), listener.address.port());
        if at.is_unspecified() {
            self.everywhere.insert((at.is_ipv4(), port));
        } else {
            self.sockets.insert(SocketAddr::new(at, port));
        }
        for binding in bindings {
            for family in [Family::V4, Family::V6] {
                let Some(source) = binding.sources().of(family) else { continue };
                if source == at || at.is_unspecified() && source.is_ipv4() == at.is_ipv4() {
                    let both = [Some(source), binding.publics().of(family)];
                    self.sockets.extend(both.into_iter().flatten().map(|ip| SocketAddr::new(ip, port)));
                }
            }
        }
    }

    /// Whether a host of this name is us.
    pub fn is_name(&self, host: &Domain) -> bool {
        self.names.contains(host)
    }

    /// Whether who connects there gets us.
    pub fn is_at(&self, socket: SocketAddr) -> bool {
        let ip = match socket.ip() {
            // Mapped addresses lead to the IPv4 address they hold.
            IpAddr::V6(ip) => ip.to_canonical(),
            v4 => v4,
        };
        let is_nowhere_else = ip.is_loopback() || ip.is_unspecified();
        self.sockets.contains(&SocketAddr::new(ip, socket.port()))
            || is_nowhere_else && self.everywhere.contains(&(ip.is_ipv4(), socket.port()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(listener: &str) -> Config {
        Config::from_toml(&format!(
            "[server]\nhostname = \"relay.example.net\"\nstate_dir = \"/var/lib/remuda\"\n\
             [[listener]]\naddress = \"{listener}\"\ntrust = [\"127.0.0.0/8\"]\n\
             [binding.nat]\nbind_address = \"10.0.0.1\"\npublic_address = \"203.0.113.1\"\nehlo_hostname = \"a.example.net\"\n\
             [binding.two]\nbind_address = [\"192.0.2.1\", \"2001:db8::1\"]\n\
             [binding.far]\nbind_address = \"192.0.2.7\"\nehlo_hostname = \"far.example.net\"\nvia = {{ socks5 = \"192.0.2.9:1080\" }}\n\
             [pool.main]\nactive = [\"nat\", \"two\", \"far\"]\n\
             [tenant.acme]\npools = {{ default = \"main\" }}\n",
        ))
        .unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn we_are_where_a_listener_of_ours_is_and_nowhere_else() {
        const ALL: [&str; 8] = [
            "10.0.0.1:25",
            "203.0.113.1:25",
            "192.0.2.1:25",
            "192.0.2.1:26",
            "[2001:db8::1]:25",
            "192.0.2.7:25",
            "127.0.0.9:25",
            "[::ffff:192.0.2.1]:25",
        ];
        for (listener, ours) in [
            (
                "0.0.0.0:25",
                &["10.0.0.1:25", "203.0.113.1:25", "192.0.2.1:25", "127.0.0.9:25", "[::ffff:192.0.2.1]:25"][..],
            ),
            ("[::]:25", &["[2001:db8::1]:25"]),
            ("10.0.0.1:25", &["10.0.0.1:25", "203.0.113.1:25"]),
            ("192.0.2.1:26", &["192.0.2.1:26"]),
            // Another mail server may have port 25 of the same host.
            ("0.0.0.0:2525", &[]),
            ("127.0.0.1:25", &[]),
            ("127.0.0.9:25", &["127.0.0.9:25"]),
            ("0.0.0.0:0", &[]),
        ] {
            let we = Ourselves::of(&config(listener));
            let found: Vec<&str> =
                ALL.into_iter().filter(|socket| we.is_at(socket.parse().expect("a socket"))).collect();
            assert_eq!(found, ours, "{listener}");
        }
    }

    #[test]
    fn our_names_are_the_hosts_and_those_of_bindings_that_send_from_here() {
        let we = Ourselves::of(&config("127.0.0.1:0"));
        for (name, ours) in [
            ("relay.example.net", true),
            ("RELAY.example.net", true),
            ("a.example.net", true),
            ("far.example.net", false),
            ("example.net", false),
        ] {
            assert_eq!(we.is_name(&name.parse().expect("a domain")), ours, "{name}");
        }
    }
}
