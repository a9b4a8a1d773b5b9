//! A tournament over keys: change any key in O(log n), see the smallest in O(1).
//!
//! A heap does not forget a member cheaply; here every member has its leaf, and a change replays the matches above it, as
//! far up as the winner changes. Each match keeps the winning key beside the winner, so that a replay reads two neighbours
//! per round and not two keys from anywhere: with ten thousand members that is what it costs.

/// The key of a member that does not take part.
pub(super) const ABSENT: u128 = u128::MAX;

/// The matches. Number 1 is the final; those before number `i` are `2i` and `2i + 1`, and the members stand at the end. Of
/// equal keys the one to the left wins.
#[derive(Clone, Debug)]
pub(super) struct Tournament {
    keys: Vec<u128>,
    winners: Vec<u32>,
}

impl Tournament {
    pub(super) fn new(n: usize) -> Self {
        let leaves = n.next_power_of_two().max(1);
        let mut winners = vec![0; 2 * leaves];
        for node in (1..2 * leaves).rev() {
            winners[node] = if node >= leaves { (node - leaves) as u32 } else { winners[2 * node] };
        }
        Self { keys: vec![ABSENT; 2 * leaves], winners }
    }

    pub(super) fn min(&self) -> Option<usize> {
        (self.keys[1] != ABSENT).then_some(self.winners[1] as usize)
    }

    pub(super) fn key(&self, index: usize) -> u128 {
        self.keys[self.keys.len() / 2 + index]
    }

    pub(super) fn set(&mut self, index: usize, key: u128) {
        let mut node = self.keys.len() / 2 + index;
        if self.keys[node] == key {
            return;
        }
        self.keys[node] = key;
        while node > 1 {
            node /= 2;
            let winner = 2 * node + usize::from(self.keys[2 * node + 1] < self.keys[2 * node]);
            let (key, who) = (self.keys[winner], self.winners[winner]);
            if self.keys[node] == key && self.winners[node] == who {
                return;
            }
            (self.keys[node], self.winners[node]) = (key, who);
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
            n in 1usize..40,
            changes in prop::collection::vec((0usize..40, prop::option::of(0u128..20)), 1..200),
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
