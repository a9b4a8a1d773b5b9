//! The addresses of a binding: one, or one of each family.
//!
//! Mail has two ways to a host with addresses of both families, and a binding that has both can take either. A source
//! address serves only hosts of its own family, so two are never alternatives for one connection: which one it leaves from
//! follows from the host's address, and the system never chooses.

use std::fmt;
use std::net::IpAddr;

use super::Binding;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4, A records.
    V4,
    /// IPv6, AAAA records.
    V6,
}

impl Family {
    /// The family of `ip`.
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }

    /// As in labels and files: `ipv4`, `ipv6`.
    pub fn label(self) -> &'static str {
        match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }

    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// One address, or one of each family, in the order of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Addresses {
    first: IpAddr,
    second: Option<IpAddr>,
}

impl Addresses {
    /// `first`, and `second` if it is of the other family: of one of the same there is no use.
    pub fn new(first: IpAddr, second: Option<IpAddr>) -> Self {
        Self { first, second: second.filter(|second| Family::of(*second) != Family::of(first)) }
    }

    /// The one that is written first.
    pub fn first(self) -> IpAddr {
        self.first
    }

    /// The one of the other family, where there are two.
    pub fn second(self) -> Option<IpAddr> {
        self.second
    }

    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = IpAddr> + Clone {
        std::iter::once(self.first).chain(self.second)
    }

    /// The one of this family.
    pub fn of(self, family: Family) -> Option<IpAddr> {
        self.iter().find(|address| Family::of(*address) == family)
    }

    /// Whether `address` is one of them, in whichever dress.
    pub fn contains(self, address: IpAddr) -> bool {
        self.iter().any(|own| own.to_canonical() == address.to_canonical())
    }

    /// The same without IPv4 addresses in IPv6 dress.
    pub fn to_canonical(self) -> Self {
        Self { first: self.first.to_canonical(), second: self.second.map(|second| second.to_canonical()) }
    }
}

impl From<IpAddr> for Addresses {
    fn from(address: IpAddr) -> Self {
        Self::new(address, None)
    }
}

impl fmt::Display for Addresses {
    /// `192.0.2.1`, `192.0.2.1 and 2001:db8::1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.second {
            None => write!(f, "{}", self.first),
            Some(second) => write!(f, "{} and {second}", self.first),
        }
    }
}

/// What a binding of two families has in the family that is not that of `bind_address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Second {
    /// Source address of its connections to hosts of that family.
    pub bind_address: IpAddr,
    /// The address the world sees of it. Default `bind_address`.
    pub public_address: IpAddr,
}

impl Binding {
    /// Its source addresses.
    pub fn sources(&self) -> Addresses {
        Addresses::new(self.bind_address, self.second.map(|second| second.bind_address))
    }

    /// The addresses that the world sees of it: what lists, names and SPF are asked about.
    pub fn publics(&self) -> Addresses {
        Addresses::new(self.public_address, self.second.map(|second| second.public_address))
    }

    /// All addresses that anybody may call its own, inside and outside.
    pub fn own_addresses(&self) -> Vec<IpAddr> {
        self.publics().iter().chain(self.sources().iter()).collect()
    }

    /// The address that the world sees where it has the choice of families.
    pub fn preferred_public(&self) -> IpAddr {
        self.publics().of(self.prefer).unwrap_or(self.public_address)
    }

    /// The binding once for each address, as those see it that look at one address only.
    pub fn apart(&self) -> Vec<Self> {
        let second = self.second.map(|second| Self {
            bind_address: second.bind_address,
            public_address: second.public_address,
            second: None,
            prefer: Family::of(second.bind_address),
            ..self.clone()
        });
        let first = Self { second: None, prefer: Family::of(self.bind_address), ..self.clone() };
        std::iter::once(first).chain(second).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("address")
    }

    #[test]
    fn one_address_of_each_family_and_no_more() {
        let (four, six) = (ip("192.0.2.1"), ip("2001:db8::1"));
        // (first, second, of IPv4, of IPv6, shown)
        for (first, second, v4, v6, shown) in [
            (four, None, Some(four), None, "192.0.2.1"),
            (six, None, None, Some(six), "2001:db8::1"),
            (four, Some(six), Some(four), Some(six), "192.0.2.1 and 2001:db8::1"),
            (six, Some(four), Some(four), Some(six), "2001:db8::1 and 192.0.2.1"),
            (four, Some(ip("192.0.2.2")), Some(four), None, "192.0.2.1"),
        ] {
            let all = Addresses::new(first, second);
            assert_eq!((all.of(Family::V4), all.of(Family::V6), all.to_string().as_str()), (v4, v6, shown));
            assert_eq!(all.iter().count(), usize::from(v4.is_some()) + usize::from(v6.is_some()));
            assert!(all.contains(first) && !all.contains(ip("192.0.2.99")));
        }
        assert!(Addresses::from(four).contains(ip("::ffff:192.0.2.1")));
    }

    #[test]
    fn apart_each_has_its_own_public_address() {
        let mut binding = Binding::new("b", ip("10.0.0.1"));
        binding.public_address = ip("192.0.2.1");
        assert_eq!(binding.apart().len(), 1);
        binding.second = Some(Second { bind_address: ip("fd00::1"), public_address: ip("2001:db8::1") });
        let seen: Vec<_> = binding.apart().iter().map(|of| (of.bind_address, of.public_address, of.second)).collect();
        assert_eq!(
            seen,
            [(ip("10.0.0.1"), ip("192.0.2.1"), None), (ip("fd00::1"), ip("2001:db8::1"), None)],
            "{seen:?}"
        );
        assert_eq!(binding.preferred_public(), ip("192.0.2.1"));
        binding.prefer = Family::V6;
        assert_eq!(binding.preferred_public(), ip("2001:db8::1"));
        assert_eq!(binding.own_addresses().len(), 4);
    }
}
