//! Configurations for the tests of this module and of its users' tests.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::config::{Binding, Config, Member, Pool, Reputation};

/// The documented defaults of `[reputation]`.
pub(crate) fn rules() -> Reputation {
    Reputation::default()
}

/// Bindings at 192.0.2.1 and following, pools of one tier each, defaults elsewhere.
pub(crate) fn config(bindings: &[&str], pools: &[(&str, &[&str])]) -> Config {
    Config {
        bindings: bindings.iter().zip(1..).map(|(name, last)| Arc::new(binding(name, last))).collect(),
        pools: pools.iter().map(|(name, members)| pool(name, members)).collect(),
        providers: ["gmail", "outlook", "yahoo"].map(provider).into(),
        reputation: rules(),
        ..Config::bare("relay.example.net".parse().unwrap())
    }
}

fn binding(name: &str, last: u8) -> Binding {
    let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    Binding { public_address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)), ..Binding::new(name, address) }
}

fn pool(name: &str, members: &[&str]) -> Pool {
    Pool::new(name, vec![members.iter().map(|m| Member { binding: (*m).into(), weight: 1 }).collect()])
}

fn provider(name: &str) -> crate::config::Provider {
    let mx = format!("mx.{name}.example").parse().unwrap();
    crate::config::Provider::new(name, vec![crate::config::DomainPattern::Exact(mx)])
}
