//! What is remembered of addresses: where TLS failed lately, and who has offered it.
//!
//! A handshake that failed costs a connection; to try it again with each message would cost one each, so for
//! [`FAILED_FOR`] mail goes there in the clear at once, where it may. Who has offered STARTTLS and no longer does is worth a
//! word: it is either a change at the host or somebody on the way who takes the offer out. Kept in memory only, and no more
//! than [`KEPT`] of each: what is forgotten costs one more try.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::clock::Mono;

/// How long mail that may go in the clear does so after a failed handshake.
pub const FAILED_FOR: Duration = Duration::from_secs(3600);
/// How long an offer is remembered.
pub const OFFERED_FOR: Duration = Duration::from_secs(7 * 86_400);
/// Addresses kept of each kind.
pub const KEPT: usize = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Memory {
    failed: HashMap<SocketAddr, Mono>,
    offered: HashMap<SocketAddr, Mono>,
    told: HashMap<SocketAddr, Mono>,
}

impl Memory {
    /// Whether a handshake with `address` failed lately.
    pub fn has_failed(&self, address: SocketAddr, now: Mono) -> bool {
        self.failed.get(&address).is_some_and(|at| now.since(*at) < FAILED_FOR)
    }

    /// A handshake with `address` failed.
    pub fn failed(&mut self, address: SocketAddr, now: Mono) {
        put(&mut self.failed, address, FAILED_FOR, now);
    }

    /// One came about.
    pub fn succeeded(&mut self, address: SocketAddr) {
        self.failed.remove(&address);
    }

    /// Whether it is worth a word that `address` is given up for want of safety: once in [`FAILED_FOR`].
    pub fn is_news(&mut self, address: SocketAddr, now: Mono) -> bool {
        let is_news = self.told.get(&address).is_none_or(|at| now.since(*at) >= FAILED_FOR);
        if is_news {
            put(&mut self.told, address, FAILED_FOR, now);
        }
        is_news
    }

    /// Whether STARTTLS is offered at `address`. True where it had been and is not any more: told once.
    pub fn offers(&mut self, address: SocketAddr, is_offered: bool, now: Mono) -> bool {
        if is_offered {
            put(&mut self.offered, address, OFFERED_FOR, now);
            return false;
        }
        self.offered.remove(&address).is_some_and(|at| now.since(at) < OFFERED_FOR)
    }
}

/// Notes `address`; where there are too many, those that no longer count go, else the oldest.
fn put(kept: &mut HashMap<SocketAddr, Mono>, address: SocketAddr, lasts: Duration, now: Mono) {
    if kept.len() >= KEPT && !kept.contains_key(&address) {
        kept.retain(|_, at| now.since(*at) < lasts);
        if kept.len() >= KEPT
            && let Some(oldest) = kept.iter().min_by_key(|(_, at)| **at).map(|(address, _)| *address)
        {
            kept.remove(&oldest);
        }
    }
    kept.insert(address, now);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::from_nanos(seconds * 1_000_000_000)
    }

    fn address(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    #[test]
    fn a_failed_handshake_counts_for_an_hour_or_until_one_succeeds() {
        let mut memory = Memory::default();
        memory.failed(address(25), at(0));
        assert!(memory.has_failed(address(25), at(3599)) && !memory.has_failed(address(26), at(1)));
        assert!(!memory.has_failed(address(25), at(3600)));
        memory.succeeded(address(25));
        assert!(!memory.has_failed(address(25), at(1)));
    }

    #[test]
    fn an_offer_that_is_gone_is_told_once() {
        let mut memory = Memory::default();
        assert!(!memory.offers(address(25), false, at(0)));
        assert!(!memory.offers(address(25), true, at(1)));
        assert!(memory.offers(address(25), false, at(2)));
        assert!(!memory.offers(address(25), false, at(3)));
        memory.offers(address(25), true, at(4));
        assert!(!memory.offers(address(25), false, at(4 + 7 * 86_400)), "too long ago");
    }

    #[test]
    fn a_host_that_is_given_up_is_told_once_an_hour() {
        let mut memory = Memory::default();
        let told: Vec<bool> = [0, 1, 3599, 3600, 3601].map(|seconds| memory.is_news(address(25), at(seconds))).into();
        assert_eq!(told, [true, false, false, true, false]);
    }

    #[test]
    fn it_never_grows_beyond_its_bound() {
        let mut memory = Memory::default();
        for port in 0..u16::try_from(KEPT).expect("fits") + 5 {
            memory.failed(address(port), Mono::from_nanos(port.into()));
        }
        assert_eq!(memory.failed.len(), KEPT);
        assert!(!memory.failed.contains_key(&address(0)) && memory.failed.contains_key(&address(10_004)));
    }
}
