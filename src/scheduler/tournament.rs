//! A tournament over keys: change any key in O(log n), see the smallest in O(1).
//!
//! A heap does not forget a member cheaply; here every member has its leaf, and a change replays the matches above it, as
//! far up as the winner changes.

/// The key of a member that does not take part.
pub(super) const ABSENT: u128 = u128::MAX;

/// The keys and who wins between them; of equal keys the member with the lower number wins.
#[derive(Clone, Debug)]
pub(super) struct Tournament {
    keys: Vec<u128>,
    /// `winners[1]` is the index of the smallest key; the children of node `i` are `2i` and `2i + 1`.
    winners: Vec<u32>,
}

impl Tournament {
    pub(super) fn new(n: usize) -> Self {
        let leaves = n.next_power_of_two().max(1);
        let mut winners = vec![0; 2 * leaves];
        for node in (1..2 * leaves).rev() {
            winners[node] = if node >= leaves { (node - leaves) as u32 } else { winners[2 * node] };
        }
        Self { keys: vec![ABSENT; leaves], winners }
    }

    pub(super) fn min(&self) -> Option<usize> {
        let winner = self.winners[1] as usize;
        (self.keys[winner] != ABSENT).then_some(winner)
    }

    pub(super) fn key(&self, index: usize) -> u128 {
        self.keys[index]
    }

    pub(super) fn set(&mut self, index: usize, key: u128) {
        if self.keys[index] == key {
            return;
        }
        self.keys[index] = key;
        let mut node = (self.keys.len() + index) / 2;
        while node > 0 {
            let (left, right) = (self.winners[2 * node], self.winners[2 * node + 1]);
            let winner = if self.keys[right as usize] < self.keys[left as usize] { right } else { left };
            if winner == self.winners[node] && winner as usize != index {
                return;
            }
            self.winners[node] = winner;
            node /= 2;
        }
    }

    pub(super) fn clear(&mut self, index: usize) {
        self.set(index, ABSENT);
    }
}
