//! What greylisting remembers: when an address first tried a recipient.
//!
//! A table of fixed size with one place per hash: a newcomer takes the place of an older pair, which is then new again
//! should it come back. So memory is bounded whatever is sent, and a look-up is one access.

use std::net::IpAddr;
use std::time::Duration;

use super::mixed;
use crate::clock::Wall;

/// Places; at 16 octets each 1 MiB.
const PLACES: usize = 1 << 16;

#[derive(Debug)]
pub(super) struct Grey {
    share: f64,
    wait: Duration,
    places: Vec<(u64, Wall)>,
}

impl Grey {
    pub(super) fn new((share, wait): (f64, Duration)) -> Self {
        Self { share, wait, places: vec![(0, Wall::default()); PLACES] }
    }

    /// Whether the pair has to come back later. Only a share of all pairs is ever asked to, always the same ones.
    pub(super) fn defers(&mut self, address: IpAddr, recipient: u64, now: Wall) -> bool {
        let address = match address {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            // Both halves: hosts of one network must not share a place.
            IpAddr::V6(address) => (address.to_bits() >> 64) as u64 ^ mixed(address.to_bits() as u64),
        };
        if super::chance(recipient, 3) >= self.share {
            return false;
        }
        // 0 marks a free place.
        let key = mixed(recipient ^ mixed(address)) | 1;
        let place = &mut self.places[(key >> 48) as usize % PLACES];
        if place.0 != key {
            *place = (key, now);
            return true;
        }
        now.since(place.1) < self.wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Wall {
        Wall::from_millis(1_750_000_000_000).plus(Duration::from_secs(seconds))
    }

    #[test]
    fn a_pair_passes_once_it_comes_back_after_the_wait() {
        let mut grey = Grey::new((1.0, Duration::from_secs(300)));
        let [one, other] = [IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2])];
        for (address, second, deferred) in [
            (one, 0, true),
            (one, 299, true),
            (other, 299, true),
            (one, 300, false),
            (one, 301, false),
            (other, 400, true),
        ] {
            assert_eq!(grey.defers(address, 7, at(second)), deferred, "{address} at {second}");
        }
        assert!(grey.defers(one, 8, at(500)), "another recipient");
    }

    #[test]
    fn only_the_share_is_greylisted() {
        let mut grey = Grey::new((0.25, Duration::from_secs(300)));
        let address = IpAddr::from([192, 0, 2, 1]);
        let deferred = (0..10_000).filter(|recipient| grey.defers(address, *recipient, at(0))).count();
        assert!((2_300..2_700).contains(&deferred), "{deferred}");
    }
}
