//! What is remembered of addresses: where TLS failed lately, and who has offered it.
//!
//! A handshake that failed costs a connection; to try it again with each message would cost one each, so after the second
//! failure in a row mail goes there in the clear at once for [`FAILED_FOR`], where it may. One failure says little: a
//! connection may break at any word, and whoever breaks it must not gain an hour in the clear by that. Who has offered STARTTLS and no longer does is worth a
//! word: it is either a change at the host or somebody on the way who takes the offer out. Kept in memory only, and no more
//! than [`KEPT`] of each, an eighth of which goes when it is full: what is forgotten costs one more try.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::SocketAddr;
use std::time::Duration;

use crate::clock::Mono;
use crate::message::Domain;

/// How long mail that may go in the clear does so after handshakes that failed.
pub const FAILED_FOR: Duration = Duration::from_secs(600);
/// How long a failure is remembered: the next one within it is in a row with it.
pub const IN_A_ROW: Duration = Duration::from_secs(3600);
/// How often it is told that a host is given up for want of safety.
pub const TOLD_EVERY: Duration = Duration::from_secs(3600);
/// How long an offer is remembered.
pub const OFFERED_FOR: Duration = Duration::from_secs(7 * 86_400);
/// Addresses kept of each kind.
pub const KEPT: usize = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Memory {
    failed: HashMap<SocketAddr, Mono>,
    shunned: HashMap<SocketAddr, Mono>,
    offered: HashMap<SocketAddr, Mono>,
    told: HashMap<SocketAddr, Mono>,
    excluded: HashMap<Domain, Mono>,
}

impl Memory {
    /// Whether a handshake with `address` failed lately.
    pub fn has_failed(&self, address: SocketAddr, now: Mono) -> bool {
        self.failed.get(&address).is_some_and(|at| now.since(*at) < IN_A_ROW)
    }

    /// Whether that happened so often that TLS is not tried with `address` for now.
    pub fn shuns(&self, address: SocketAddr, now: Mono) -> bool {
        self.shunned.get(&address).is_some_and(|at| now.since(*at) < FAILED_FOR)
    }

    /// A handshake with `address` failed.
    pub fn failed(&mut self, address: SocketAddr, now: Mono) {
        if self.has_failed(address, now) {
            put(&mut self.shunned, address, FAILED_FOR, now);
        }
        put(&mut self.failed, address, IN_A_ROW, now);
    }

    /// One came about.
    pub fn succeeded(&mut self, address: SocketAddr) {
        self.failed.remove(&address);
        self.shunned.remove(&address);
    }

    /// Whether it is worth a word that `address` is given up for want of safety: once in [`TOLD_EVERY`].
    pub fn is_news(&mut self, address: SocketAddr, now: Mono) -> bool {
        is_news(&mut self.told, address, now)
    }

    /// Whether it is worth a word that policies exclude all hosts of `domain`: once in [`TOLD_EVERY`].
    pub fn is_excluded_news(&mut self, domain: &Domain, now: Mono) -> bool {
        is_news(&mut self.excluded, domain.clone(), now)
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

fn is_news<K: Eq + Hash>(told: &mut HashMap<K, Mono>, what: K, now: Mono) -> bool {
    let is_news = told.get(&what).is_none_or(|at| now.since(*at) >= TOLD_EVERY);
    if is_news {
        put(told, what, TOLD_EVERY, now);
    }
    is_news
}

/// Notes `what`; where there are too many, those that no longer count go, and then as many as leave an eighth free,
/// whichever the map yields: to look for the oldest each time would cost each connection a walk through all of them.
fn put<K: Eq + Hash>(kept: &mut HashMap<K, Mono>, what: K, lasts: Duration, now: Mono) {
    if kept.len() >= KEPT && !kept.contains_key(&what) {
        kept.retain(|_, at| now.since(*at) < lasts);
        let mut spared = kept.len().saturating_sub(KEPT - KEPT / 8);
        kept.retain(|_, _| {
            let goes = spared > 0;
            spared -= usize::from(goes);
            !goes
        });
    }
    kept.insert(what, now);
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
    fn two_failed_handshakes_in_a_row_count_for_minutes_or_until_one_succeeds() {
        let mut memory = Memory::default();
        memory.failed(address(25), at(0));
        assert!(memory.has_failed(address(25), at(3599)) && !memory.has_failed(address(26), at(1)));
        assert!(!memory.has_failed(address(25), at(3600)));
        assert!(!memory.shuns(address(25), at(1)), "one connection may break anywhere");
        memory.failed(address(25), at(3600));
        assert!(!memory.shuns(address(25), at(3600)), "not in a row");
        memory.failed(address(25), at(3700));
        assert!(memory.shuns(address(25), at(4299)) && !memory.shuns(address(26), at(4299)));
        assert!(!memory.shuns(address(25), at(4300)));
        memory.failed(address(25), at(4301));
        assert!(memory.shuns(address(25), at(4302)), "it still fails");
        memory.succeeded(address(25));
        assert!(!memory.shuns(address(25), at(4302)) && !memory.has_failed(address(25), at(4302)));
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
        assert_eq!(memory.failed.len(), KEPT - KEPT / 8 + 5, "an eighth goes at once, not one with each connection");
        assert!(memory.failed.contains_key(&address(10_004)));
        for port in 0..u16::try_from(KEPT).expect("fits") + 5 {
            memory.offers(address(port), true, at(u64::from(port) + 7 * 86_400));
        }
        assert!(memory.offered.len() <= KEPT);
    }
}
