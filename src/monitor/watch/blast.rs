//! The blast radius: how many of our addresses a list may newly name before it is the list that is doubted.
//!
//! A list that dies loudly names everybody; so does one that lists a whole network of ours, and rightly. The two are told
//! apart by what is *not* listed: the probes and the sentinels are clean (that is checked before), the listed addresses
//! are all of ours in one or two networks, and what lies outside was seen clean in the same time. Such a listing is
//! believed, after twice the confirmations. Everything else above the limit counts against the list.

use std::net::IpAddr;

use ipnet::IpNet;

/// Newly listed subjects that are always believed.
const ALWAYS: usize = 3;

/// Networks that may be listed at the same time and still be a listing of networks.
const NETWORKS_MAX: usize = 2;

/// Who is listed and who is not, of all subjects of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// On the list, newly.
    New,
    /// Seen clean lately.
    Clean,
    /// Listed for long, or not known.
    Other,
}

/// What the number of new listings means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Blast {
    /// Few: single addresses.
    Few,
    /// These networks, as it seems.
    Networks(String),
    /// More than is believable.
    TooMany { new: usize, all: usize },
}

/// Judges how many are new. `address` is `None` for what is no address; `sentinels` of our own were seen clean.
pub(super) fn judge(standings: &[(Option<IpAddr>, Standing)], sentinels: usize, share: f64) -> Blast {
    let (all, new) = (standings.len(), standings.iter().filter(|(_, standing)| *standing == Standing::New).count());
    if new as f64 <= (share * all as f64).max(ALWAYS as f64) {
        return Blast::Few;
    }
    match networks(standings, sentinels) {
        Some(networks) => Blast::Networks(networks),
        None => Blast::TooMany { new, all },
    }
}

/// The networks that are listed, if it is networks that are.
fn networks(standings: &[(Option<IpAddr>, Standing)], sentinels: usize) -> Option<String> {
    let of = |wanted: Standing| {
        let found = standings.iter().filter(move |(_, standing)| *standing == wanted);
        found.filter_map(|(address, _)| *address)
    };
    let clean = of(Standing::Clean).count();
    // Somebody must be there to tell a listing of networks from one of everybody.
    if sentinels == 0 && clean * 2 < standings.len() {
        return None;
    }
    let mut found: Vec<IpNet> = Vec::new();
    for address in of(Standing::New) {
        let wide = IpNet::new(address, if address.is_ipv4() { 24 } else { 48 }).ok()?.trunc();
        if !found.contains(&wide) {
            found.push(wide);
        }
    }
    if found.is_empty() || found.len() > NETWORKS_MAX {
        return None;
    }
    let tight: Option<Vec<IpNet>> = found.iter().map(|wide| tightest(*wide, of(Standing::New))).collect();
    let tight = tight?;
    let outside = |address: IpAddr| tight.iter().all(|network| !network.contains(&address));
    if !of(Standing::Clean).all(outside) {
        return None;
    }
    Some(tight.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

/// The smallest network within `wide` that holds all of `addresses` that lie in it.
fn tightest(wide: IpNet, addresses: impl Iterator<Item = IpAddr>) -> Option<IpNet> {
    let inside: Vec<IpAddr> = addresses.filter(|address| wide.contains(address)).collect();
    let longest = wide.max_prefix_len();
    (wide.prefix_len()..=longest).rev().find_map(|length| {
        let network = IpNet::new(*inside.first()?, length).ok()?.trunc();
        inside.iter().all(|address| network.contains(address)).then_some(network)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 192.0.2.1 to .50, of which those from `from` to `to` are newly listed.
    fn herd(from: u8, to: u8) -> Vec<(Option<IpAddr>, Standing)> {
        let standing = |n: u8| if (from..=to).contains(&n) { Standing::New } else { Standing::Clean };
        (1..=50).map(|n| (Some(IpAddr::from([192, 0, 2, n])), standing(n))).collect()
    }

    #[test]
    fn a_network_is_believed_where_somebody_outside_is_clean() {
        let networks = |text: &str| Blast::Networks(text.to_owned());
        let many = |new| Blast::TooMany { new, all: 50 };
        // (herd, sentinels seen clean, what it is)
        let with_hole = || {
            let mut herd = herd(16, 31);
            herd[19].1 = Standing::Clean;
            herd
        };
        let spread = || {
            let far = |n: u8| (Some(IpAddr::from([10, n, 0, 1])), Standing::New);
            let clean = |n: u8| (Some(IpAddr::from([192, 0, 2, n])), Standing::Clean);
            (0..20).map(far).chain((0..30).map(clean)).collect::<Vec<_>>()
        };
        let unknown = || {
            let mut herd = herd(16, 31);
            herd.iter_mut().filter(|(_, s)| *s == Standing::Clean).for_each(|(_, s)| *s = Standing::Other);
            herd
        };
        let table = [
            (herd(1, 3), 0, Blast::Few),
            (herd(1, 15), 0, Blast::Few),
            (herd(16, 31), 0, networks("192.0.2.16/28")),
            (herd(17, 32), 0, many(16)),
            (with_hole(), 2, Blast::Few),
            (herd(1, 50), 0, many(50)),
            (herd(1, 50), 2, networks("192.0.2.0/26")),
            (unknown(), 0, many(16)),
            (unknown(), 1, networks("192.0.2.16/28")),
            (spread(), 2, many(20)),
        ];
        for (herd, sentinels, expected) in table {
            assert_eq!(judge(&herd, sentinels, 0.3), expected, "{sentinels} {herd:?}");
        }
    }

    #[test]
    fn domains_are_no_networks() {
        let all = vec![(None, Standing::New); 5];
        assert_eq!(judge(&all, 3, 0.3), Blast::TooMany { new: 5, all: 5 });
        assert_eq!(judge(&all[..3], 0, 0.3), Blast::Few);
    }
}
