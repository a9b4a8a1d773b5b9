//! Which pool a recipient goes to where a stream is split over several.
//!
//! A share of recipients — not of messages — moves to the other pool: the same address always goes the same way, so
//! a receiver sees a steady sender and a migration can be followed address by address. The address is hashed to a
//! point between 0 and 1; each pool owns a stretch of the line as long as its share, and the stream's own pool owns
//! the rest. Raising a share lengthens a stretch, so nobody who was moved falls back.
//!
//! The hash has fixed keys: its result must be the same after a restart, on another machine, and in years to come.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::message::{Mailbox, PoolName, StreamName};

/// Keys of the hash. Changing them reshuffles every split in progress.
const KEYS: (u64, u64) = (0x7265_6d75_6461_2d73, 0x706c_6974_2d6b_6579);

/// The pools of one stream.
#[derive(Clone, Debug)]
pub(super) struct Split {
    stream: StreamName,
    /// Pool of those beyond all stretches.
    rest: PoolName,
    /// Ends of the stretches, rising, each with its pool.
    stretches: Vec<(f64, PoolName)>,
}

impl Split {
    pub(super) fn new(stream: &StreamName, rest: &PoolName, shares: &[(PoolName, f64)]) -> Self {
        let mut end = 0.0;
        let stretches = shares
            .iter()
            .map(|(pool, share)| {
                end += share;
                (end, pool.clone())
            })
            .collect();
        Self { stream: stream.clone(), rest: rest.clone(), stretches }
    }

    /// The pool this recipient is served from.
    pub(super) fn pool_of(&self, recipient: &Mailbox) -> &PoolName {
        if self.stretches.is_empty() {
            return &self.rest;
        }
        let point = self.point(recipient);
        self.stretches.iter().find(|(end, _)| point < *end).map_or(&self.rest, |(_, pool)| pool)
    }

    /// Between 0 (included) and 1 (excluded), the same for an address in any case.
    fn point(&self, recipient: &Mailbox) -> f64 {
        let mut hasher = SipHasher13::new_with_keys(KEYS.0, KEYS.1);
        hasher.write(self.stream.as_str().as_bytes());
        // Neither side can hold a NUL, so no two pairs hash alike by running together.
        hasher.write(&[0]);
        hasher.write(recipient.as_str().to_ascii_lowercase().as_bytes());
        // 53 bits: all that an f64 holds exactly.
        (hasher.finish() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESSES: usize = 100_000;

    fn address(n: usize) -> Mailbox {
        format!("user{n}@d{}.example", n % 977).parse().expect("valid")
    }

    fn split(shares: &[(&str, f64)]) -> Split {
        let shares: Vec<_> = shares.iter().map(|(pool, share)| (PoolName::from(*pool), *share)).collect();
        Split::new(&"marketing".into(), &"old".into(), &shares)
    }

    fn pools(split: &Split) -> Vec<&str> {
        (0..ADDRESSES).map(|n| split.pool_of(&address(n)).as_str()).collect()
    }

    #[test]
    fn shares_are_met_within_one_percent() {
        let split = split(&[("new", 0.3), ("other", 0.05)]);
        let pools = pools(&split);
        for (pool, share) in [("new", 0.3), ("other", 0.05), ("old", 0.65)] {
            let got = pools.iter().filter(|&&p| p == pool).count() as f64 / ADDRESSES as f64;
            assert!((got - share).abs() < 0.01, "{pool}: {got} instead of {share}");
        }
    }

    #[test]
    fn raising_a_share_only_moves_more_recipients_to_the_new_pool() {
        let splits = [0.0, 0.1, 0.3, 0.9, 1.0].map(|share| split(&[("new", share)]));
        let steps = splits.each_ref().map(pools);
        assert!(steps[0].iter().all(|&pool| pool == "old"));
        assert!(steps[4].iter().all(|&pool| pool == "new"));
        for pair in steps.windows(2) {
            assert!(pair[0].iter().zip(&pair[1]).all(|(before, after)| before == after || *after == "new"));
        }
    }

    #[test]
    fn with_several_pools_nobody_who_was_moved_falls_back() {
        let (before, after) = (split(&[("a", 0.1), ("b", 0.2)]), split(&[("a", 0.3), ("b", 0.2)]));
        let (before, after) = (pools(&before), pools(&after));
        assert!(before.iter().zip(&after).all(|(before, after)| *before == "old" || *after != "old"));
    }

    #[test]
    fn an_address_goes_the_same_way_in_any_case_and_for_ever() {
        let split = split(&[("new", 0.5)]);
        let upper: Mailbox = "USER1@D1.EXAMPLE".parse().expect("valid");
        assert_eq!(split.point(&upper), split.point(&address(1)));
        // Fixed for good: a change here reshuffles migrations in progress.
        let points: Vec<String> = (0..3).map(|n| format!("{:.6}", split.point(&address(n)))).collect();
        assert_eq!(points, ["0.213267", "0.084837", "0.873292"]);
    }
}
