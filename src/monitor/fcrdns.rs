//! The questions of one reverse-DNS check: PTR of the public address, then the addresses of its names.

use std::net::IpAddr;

use super::dns::Asker;
use super::reverse::{Found, MAX_NAMES, Seen, judge};

/// Checks one address.
pub(super) async fn check(asker: &Asker, address: IpAddr) -> Seen {
    let ptr = asker.ptr(address).await;
    let mut forward = Vec::new();
    if let Found::Records(names) = &ptr {
        for name in names.iter().take(MAX_NAMES) {
            forward.push((name.clone(), asker.addresses(name, address).await));
        }
    }
    judge(address, &ptr, &forward)
}
