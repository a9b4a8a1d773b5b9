//! A tournament over keys: change any key in O(log n), see the smallest in O(1).
//!
//! A heap does not forget a member cheaply; here every member has its place, and a change replays the matches above it, as
//! far up as the winner changes. Four play each match, and their keys are neighbours in one line of the processor's cache,
//! since with ten thousand members waiting for memory is what a replay costs.

/// The key of a member that does not take part.
pub(super) const ABSENT: u128 = u128::MAX;

/// Place of the winner of all.
const FINAL: usize = 3;

/// Those who meet in the match whose winner takes place `i` stand at `4(i − 2)` and the three after it; the members stand
/// at the end. Of equal keys the first wins.
#[derive(Clone, Debug)]
pub(super) struct Tournament {
    keys: Vec<u128>,
    winners: Vec<u32>,
    /// Place of member 0.
    first: usize,
}

impl Tournament {
    pub(super) fn new(n: usize) -> Self {
        let (mut first, mut places) = (FINAL, 1);
        while places < n {
            (first, places) = (4 * (first - 2), 4 * places);
        }
        let winners = (0..first + places).map(|place| place.saturating_sub(first) as u32).collect();
        Self { keys: vec![ABSENT; first + places], winners, first }
    }

    pub(super) fn min(&self) -> Option<usize> {
        (self.keys[FINAL] != ABSENT).then_some(self.winners[FINAL] as usize)
    }

    pub(super) fn key(&self, index: usize) -> u128 {
        self.keys[self.first + index]
    }

    pub(super) fn set(&mut self, index: usize, key: u128) {
        let mut place = self.first + index;
        if self.keys[place] == key {
            return;
        }
        self.keys[place] = key;
        while place > FINAL {
            let one = place & !3;
            let better = |a: usize, b: usize| if self.keys[b] < self.keys[a] { b } else { a };
            let winner = better(better(one, one + 1), better(one + 2, one + 3));
            let (key, who) = (self.keys[winner], self.winners[winner]);
            place = place / 4 + 2;
            if self.keys[place] == key && self.winners[place] == who {
                return;
            }
            (self.keys[place], self.winners[place]) = (key, who);
        }
    }

    pub(super) fn clear(&mut self, index: usize) {
        self.set(index, ABSENT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_smallest_key_wins_and_of_equal_ones_the_first(
            n in 1usize..80,
            changes in prop::collection::vec((0usize..80, prop::option::of(0u128..20)), 1..200),
        ) {
            let mut tournament = Tournament::new(n);
            let mut keys = vec![ABSENT; n];
            prop_assert_eq!(tournament.min(), None);
            for (index, key) in changes {
                keys[index % n] = key.unwrap_or(ABSENT);
                tournament.set(index % n, keys[index % n]);
                let least = (0..n).filter(|&index| keys[index] != ABSENT).min_by_key(|&index| keys[index]);
                prop_assert_eq!(tournament.min(), least);
                prop_assert_eq!(tournament.key(index % n), keys[index % n]);
            }
        }
    }
}
