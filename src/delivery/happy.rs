//! In which order a binding of two families tries the addresses of a host, and when it waits for one no longer. Pure.
//!
//! Where both sides have both families the binding's preferred one comes first, then they take turns (RFC 8305 §4), so that
//! a family that is broken somewhere on the way costs one address and not all of [`max_addresses`]. An address that neither
//! answers nor refuses keeps the other family waiting for no longer than [`HEAD_START`] (§5: a broken family drops packets
//! in silence, and the time-out of a connection is a hundred times as long). Two addresses of one family are never tried at
//! the same time, for there one waits behind the same fault, so there are at most two sockets under way; and only the one
//! that connects first is ever read from: a host sees no second session.
//!
//! [`max_addresses`]: crate::config::Delivery::max_addresses

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::Family;

/// How long an address is waited for alone (RFC 8305 §5 recommends 250 ms).
pub const HEAD_START: Duration = Duration::from_millis(250);

/// The addresses of a host in the order in which they are tried: the families take turns.
pub fn in_turns(preferred: &[SocketAddr], other: &[SocketAddr]) -> Vec<SocketAddr> {
    let longest = preferred.len().max(other.len());
    (0..longest).flat_map(|at| [preferred.get(at), other.get(at)]).flatten().copied().collect()
}

/// Which of those that `wait` (in order) may be tried beside those that are `under_way`: the first where nothing is, else
/// the first of the other family. `None` where there is nothing to be tried yet.
pub fn next(wait: &[SocketAddr], under_way: &[SocketAddr]) -> Option<usize> {
    let is_free = |address: &SocketAddr| under_way.iter().all(|of| Family::of(of.ip()) != Family::of(address.ip()));
    wait.iter().position(is_free)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(names: &str) -> Vec<SocketAddr> {
        let address = |name: &str| {
            let (family, last) = name.split_at(1);
            let text = if family == "4" { format!("192.0.2.{last}:25") } else { format!("[2001:db8::{last}]:25") };
            text.parse().expect("address")
        };
        names.split_whitespace().map(address).collect()
    }

    #[test]
    fn families_take_turns_and_the_preferred_one_begins() {
        for (preferred, other, order) in [
            ("", "", ""),
            ("41 42", "", "41 42"),
            ("", "61 62", "61 62"),
            ("41 42 43", "61", "41 61 42 43"),
            ("61", "41 42 43", "61 41 42 43"),
            ("61 62", "41 42", "61 41 62 42"),
        ] {
            assert_eq!(in_turns(&all(preferred), &all(other)), all(order), "{preferred} / {other}");
        }
    }

    #[test]
    fn one_of_each_family_is_under_way_at_most() {
        for (wait, under_way, expected) in [
            ("41 61", "", Some(0)),
            ("61 42", "41", Some(0)),
            ("42 43", "41", None),
            ("42 61 43", "41", Some(1)),
            ("42 62", "41 61", None),
            ("", "41", None),
            ("", "", None),
        ] {
            assert_eq!(next(&all(wait), &all(under_way)), expected, "{wait} beside {under_way}");
        }
    }
}
