//! Which addresses a receiver counts as one range.
//!
//! Receivers that blame a network rather than one address ("your netblock", "AS listed") mostly mean the /24 of an IPv4
//! address and the /64 of an IPv6 address: the smallest pieces that are routed and assigned to one holder.

use std::net::{IpAddr, Ipv6Addr};

/// Whether `a` and `b` lie in the same /24 (IPv4) or /64 (IPv6). An IPv4 address written as IPv6 (`::ffff:192.0.2.1`) is
/// the IPv4 address.
pub fn same(a: IpAddr, b: IpAddr) -> bool {
    match (a.to_canonical(), b.to_canonical()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => a.octets()[..3] == b.octets()[..3],
        (IpAddr::V6(a), IpAddr::V6(b)) => network(a) == network(b),
        _ => false,
    }
}

fn network(address: Ipv6Addr) -> u128 {
    address.to_bits() >> 64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_a_24_in_v4_and_a_64_in_v6() {
        let table = [
            ("192.0.2.1", "192.0.2.254", true),
            ("192.0.2.1", "192.0.3.1", false),
            ("2001:db8::1", "2001:db8:0:0:ffff::1", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
            ("192.0.2.1", "2001:db8::1", false),
            ("::ffff:192.0.2.1", "192.0.2.9", true),
        ];
        for (a, b, expected) in table {
            let (left, right) = (a.parse().expect("address"), b.parse().expect("address"));
            assert_eq!((same(left, right), same(right, left)), (expected, expected), "{a} {b}");
        }
    }
}
