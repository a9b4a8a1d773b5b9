//! The questions about one binding's names: PTR of the public address, then the addresses of those names and of the EHLO
//! name.

use std::net::IpAddr;

use super::dns::Asker;
use super::identity::names::Observed;
use super::reverse::{Found, MAX_NAMES};

/// Asks about one address and the EHLO name that goes with it, if it is always the same.
pub(super) async fn check(asker: &Asker, address: IpAddr, ehlo: Option<&str>) -> Observed {
    let ptr = asker.ptr(address).await;
    let mut forward = Vec::new();
    if let Found::Records(names) = &ptr {
        for name in names.iter().take(MAX_NAMES) {
            forward.push((name.clone(), asker.addresses(name, address).await));
        }
    }
    let ehlo = match ehlo {
        // Asked already where it is a PTR name.
        Some(ehlo) => match forward.iter().find(|(name, _)| name.eq_ignore_ascii_case(ehlo)) {
            Some((_, found)) => Some(found.clone()),
            // An address literal is no name.
            None if ehlo.starts_with('[') => Some(Found::Absent),
            None => Some(asker.addresses(ehlo, address).await),
        },
        None => None,
    };
    Observed { ptr, forward, ehlo }
}
