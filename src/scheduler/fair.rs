//! Who is next: exact weighted shares in constant memory and O(log n).
//!
//! Earliest eligible virtual deadline first (Stoica, Abdel-Wahab 1995) for requests of one message. Each member has a
//! *start*, the virtual time at which its next message is due to begin, and a *deadline* one step (1 ÷ weight) later.
//! Virtual time moves on by 1 ÷ (weight of all present) with each pick. Of the members whose start has come, the one
//! with the earliest deadline is picked. A member's *lag* — what it should have had less what it had, in messages — is
//! weight × (virtual time − start) and stays strictly between −1 and +1. Smooth weighted round robin has no such bound
//! (it drifts off by several messages with many members), and random choice drifts with √N.
//!
//! **Coming and going.** A member that cannot be used leaves and takes its lag with it (at most one message either way);
//! virtual time is moved so that the lags of those present add up to zero again. Back again, it neither catches up in a
//! burst nor waits for others to catch up. A member that only *this* request cannot use (suspended at that destination)
//! is treated the same way for the length of one pick: the message is shared, by weight, among those that could carry it.
//! Who could not is found out in full when the first in line cannot, in tiers of up to [`ALL_AT_ONCE`]; in larger ones only
//! as far as the line has to be walked, which keeps the pick cheap and makes shares under such constraints approximate.
//! A message that only the first in line could carry counts as shared; so what a member carried alone is set off
//! against its share, by less than one message at a time.
//!
//! **Ties.** Equal deadlines are decided by lot. A fixed order would fall into step with mail that comes in a fixed order:
//! of two bindings one would carry all that goes to the first of two destinations, the other the rest. The lot belongs to
//! the message of the member, not to the look: a pick that is given back and made again falls on the same member.
//!
//! **Numbers.** Virtual time is a 128-bit integer with 80 bits of fraction. Steps of members round down and those of
//! virtual time up, so that somebody is always eligible; the error after 10¹² picks is below 10⁻⁶ messages.
//!
//! [`Headroom`] is the other order: the smallest used share of the day first, turn by turn where it is equal.

/// 1 in virtual time.
const ONE: u128 = 1 << 80;
/// Far enough from zero that virtual time can be moved back, far enough from the end that it never gets there.
const EPOCH: u128 = 1 << 120;
const ABSENT: u128 = u128::MAX;

/// Largest tier in which one refusal makes all members be looked at.
const ALL_AT_ONCE: usize = 64;

/// A tournament over `n` keys: change any key in O(log n), see the smallest in O(1).
#[derive(Clone, Debug)]
struct MinTree {
    keys: Vec<u128>,
    /// `winners[1]` is the index of the smallest key; the children of node `i` are `2i` and `2i + 1`.
    winners: Vec<u32>,
}

impl MinTree {
    fn new(n: usize) -> Self {
        let leaves = n.next_power_of_two().max(1);
        let mut winners = vec![0; 2 * leaves];
        for node in (1..2 * leaves).rev() {
            winners[node] = if node >= leaves { (node - leaves) as u32 } else { winners[2 * node] };
        }
        Self { keys: vec![ABSENT; leaves], winners }
    }

    fn min(&self) -> Option<usize> {
        let winner = self.winners[1] as usize;
        (self.keys[winner] != ABSENT).then_some(winner)
    }

    fn key(&self, index: usize) -> u128 {
        self.keys[index]
    }

    fn set(&mut self, index: usize, key: u128) {
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

    fn clear(&mut self, index: usize) {
        self.set(index, ABSENT);
    }
}

#[derive(Clone, Debug)]
struct Entrant {
    weight: u32,
    /// 1 ÷ weight.
    step: u128,
    start: u128,
    /// While absent: the lag it left with, in messages × [`ONE`].
    lag: i128,
    present: bool,
}

/// Bits of a deadline that are drawn by lot: far more than the error of virtual time, far fewer than two deadlines differ
/// by that differ at all (weights are below 2¹⁶).
const LOT_BITS: u32 = 40;

/// The lot of the message that begins at `start`: the output step of SplitMix64 over all that names it.
fn lot(seed: u64, index: usize, start: u128) -> u128 {
    let place = (index as u64).wrapping_mul(0xd605_1ecb_7f3c_4ad5);
    let mut mixed = seed;
    for part in [place, (start >> 64) as u64, start as u64] {
        mixed = mixed.wrapping_add(part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
    }
    u128::from(mixed >> (64 - LOT_BITS))
}

/// Weighted fair order over the members `0..n`; all are absent at first.
#[derive(Clone, Debug)]
pub struct Fair {
    seed: u64,
    entrants: Vec<Entrant>,
    /// Sum of the weights present.
    weight: u64,
    /// 1 ÷ that, rounded up.
    step: u128,
    time: u128,
    /// Starts of those whose start has not come.
    waiting: MinTree,
    /// Deadlines of those whose start has come.
    ready: MinTree,
    aside: Vec<u32>,
}

impl Fair {
    /// Members with these weights. Those with weight 0 never take part. `seed` decides ties.
    pub fn new(weights: impl IntoIterator<Item = u32>, seed: u64) -> Self {
        let entrant = |weight: u32| Entrant {
            weight,
            step: ONE / u128::from(weight.max(1)),
            start: EPOCH,
            lag: 0,
            present: false,
        };
        let entrants: Vec<Entrant> = weights.into_iter().map(entrant).collect();
        let trees = MinTree::new(entrants.len());
        Self {
            seed,
            entrants,
            weight: 0,
            step: 0,
            time: EPOCH,
            waiting: trees.clone(),
            ready: trees,
            aside: Vec::new(),
        }
    }

    /// Sum of the weights of those present.
    pub fn weight(&self) -> u64 {
        self.weight
    }

    /// Whether `index` takes part.
    pub fn is_present(&self, index: usize) -> bool {
        self.entrants[index].present
    }

    /// Lets `index` take part, with the lag it left with.
    pub fn join(&mut self, index: usize) {
        let entrant = &self.entrants[index];
        if entrant.present || entrant.weight == 0 {
            return;
        }
        let lag = entrant.lag;
        if self.weight > 0 {
            self.time = self.time.wrapping_add_signed(-(lag / i128::from(self.weight)));
        }
        let entrant = &mut self.entrants[index];
        entrant.present = true;
        entrant.start = self.time.wrapping_add_signed(-(lag / i128::from(entrant.weight)));
        self.reweigh(self.weight + u64::from(self.entrants[index].weight));
        self.enqueue(index);
    }

    /// Takes `index` out.
    pub fn leave(&mut self, index: usize) {
        if !self.entrants[index].present {
            return;
        }
        let lag = self.lag(index);
        self.entrants[index].present = false;
        self.entrants[index].lag = lag.clamp(-(ONE as i128), ONE as i128);
        self.waiting.clear(index);
        self.ready.clear(index);
        self.reweigh(self.weight - u64::from(self.entrants[index].weight));
        if self.weight > 0 {
            self.time = self.time.wrapping_add_signed(lag / i128::from(self.weight));
        }
    }

    /// Picks, charges and returns the next member that `admits` lets through.
    pub fn pick(&mut self, mut admits: impl FnMut(usize) -> bool) -> Option<usize> {
        debug_assert!(self.aside.is_empty());
        let picked = loop {
            let Some(index) = self.front() else { break None };
            if admits(index) {
                break Some(index);
            }
            self.set_aside(index);
            if self.aside.len() == 1 && self.entrants.len() <= ALL_AT_ONCE {
                for other in 0..self.entrants.len() {
                    if self.entrants[other].present && !admits(other) {
                        self.set_aside(other);
                    }
                }
            }
        };
        if let Some(index) = picked {
            self.advance(index);
        }
        while let Some(index) = self.aside.pop() {
            self.join(index as usize);
        }
        picked
    }

    /// Charges a pick to `index` that was not made by its turn (stickiness). What it is ahead by then is at most one
    /// message; beyond that the pick does not count in the shares.
    pub fn charge(&mut self, index: usize) {
        if !self.entrants[index].present {
            self.entrants[index].lag = (self.entrants[index].lag - ONE as i128).max(-(ONE as i128));
            return;
        }
        self.advance(index);
        self.limit_lag(index);
    }

    /// Takes a pick of `index` back.
    pub fn refund(&mut self, index: usize) {
        if !self.entrants[index].present {
            self.entrants[index].lag = (self.entrants[index].lag + ONE as i128).min(ONE as i128);
            return;
        }
        self.time -= self.step;
        self.entrants[index].start -= self.entrants[index].step;
        self.enqueue(index);
        self.limit_lag(index);
    }

    fn set_aside(&mut self, index: usize) {
        self.leave(index);
        self.aside.push(index as u32);
    }

    /// The eligible member with the earliest deadline; where rounding leaves none eligible, the one that is next to be.
    fn front(&mut self) -> Option<usize> {
        while let Some(index) = self.waiting.min()
            && self.waiting.key(index) <= self.time
        {
            self.enqueue(index);
        }
        while let Some(index) = self.ready.min() {
            if self.entrants[index].start <= self.time {
                return Some(index);
            }
            // Virtual time was moved back since it became ready.
            self.enqueue(index);
        }
        let index = self.waiting.min()?;
        self.time = self.time.max(self.entrants[index].start);
        Some(index)
    }

    fn advance(&mut self, index: usize) {
        self.time += self.step;
        self.entrants[index].start += self.entrants[index].step;
        self.enqueue(index);
    }

    fn enqueue(&mut self, index: usize) {
        let Entrant { start, step, .. } = self.entrants[index];
        if start <= self.time {
            self.waiting.clear(index);
            self.ready.set(index, start + step + lot(self.seed, index, start));
        } else {
            self.ready.clear(index);
            self.waiting.set(index, start);
        }
    }

    /// In messages × [`ONE`].
    fn lag(&self, index: usize) -> i128 {
        let entrant = &self.entrants[index];
        // Both are near EPOCH, far below 2¹²⁷; the difference is a few steps.
        (self.time as i128 - entrant.start as i128).saturating_mul(i128::from(entrant.weight))
    }

    fn limit_lag(&mut self, index: usize) {
        if self.lag(index).unsigned_abs() > ONE {
            self.leave(index);
            self.join(index);
        }
    }

    fn reweigh(&mut self, weight: u64) {
        self.weight = weight;
        self.step = ONE.div_ceil(u128::from(weight.max(1)));
    }
}

/// The smallest share of today's allowance first; members with the same share take turns.
#[derive(Clone, Debug)]
pub struct Headroom {
    tree: MinTree,
    present: Vec<bool>,
    shares: Vec<u64>,
    turns: Vec<u64>,
    turn: u64,
    weights: Vec<u32>,
    weight: u64,
    aside: Vec<u32>,
}

impl Headroom {
    /// Members with these weights, of which only 0 (never) matters to the order.
    pub fn new(weights: impl IntoIterator<Item = u32>) -> Self {
        let weights: Vec<u32> = weights.into_iter().collect();
        let n = weights.len();
        Self {
            tree: MinTree::new(n),
            present: vec![false; n],
            shares: vec![0; n],
            turns: vec![0; n],
            turn: 0,
            weights,
            weight: 0,
            aside: Vec::new(),
        }
    }

    fn set(&mut self, index: usize, present: bool) {
        if self.present[index] == present || self.weights[index] == 0 {
            return;
        }
        self.present[index] = present;
        let weight = u64::from(self.weights[index]);
        self.weight = if present { self.weight + weight } else { self.weight - weight };
        self.place(index);
    }

    fn place(&mut self, index: usize) {
        let key = u128::from(self.shares[index]) << 64 | u128::from(self.turns[index]);
        self.tree.set(index, if self.present[index] { key } else { ABSENT });
    }

    fn share(&mut self, index: usize, share: u64) {
        if self.shares[index] != share {
            self.shares[index] = share;
            self.place(index);
        }
    }

    fn charge(&mut self, index: usize) {
        self.turn += 1;
        self.turns[index] = self.turn;
        self.place(index);
    }

    fn pick(&mut self, mut admits: impl FnMut(usize) -> bool) -> Option<usize> {
        let picked = loop {
            let Some(index) = self.tree.min() else { break None };
            if admits(index) {
                break Some(index);
            }
            self.tree.clear(index);
            self.aside.push(index as u32);
        };
        if let Some(index) = picked {
            self.charge(index);
        }
        while let Some(index) = self.aside.pop() {
            self.place(index as usize);
        }
        picked
    }
}

/// The order inside a tier.
#[derive(Clone, Debug)]
pub enum Order {
    /// Exact shares by weight.
    Fair(Fair),
    /// Smallest used share of the day first.
    Headroom(Headroom),
}

impl Order {
    /// Lets a member take part, or takes it out.
    pub fn set_present(&mut self, index: usize, present: bool) {
        match self {
            Self::Fair(fair) if present => fair.join(index),
            Self::Fair(fair) => fair.leave(index),
            Self::Headroom(headroom) => headroom.set(index, present),
        }
    }

    /// Whether a member takes part.
    pub fn is_present(&self, index: usize) -> bool {
        match self {
            Self::Fair(fair) => fair.is_present(index),
            Self::Headroom(headroom) => headroom.present[index],
        }
    }

    /// Sum of the weights of those that take part.
    pub fn weight(&self) -> u64 {
        match self {
            Self::Fair(fair) => fair.weight(),
            Self::Headroom(headroom) => headroom.weight,
        }
    }

    /// Picks and charges the next member that `admits` lets through.
    pub fn pick(&mut self, admits: impl FnMut(usize) -> bool) -> Option<usize> {
        match self {
            Self::Fair(fair) => fair.pick(admits),
            Self::Headroom(headroom) => headroom.pick(admits),
        }
    }

    /// Charges a pick that was not made by turn.
    pub fn charge(&mut self, index: usize) {
        match self {
            Self::Fair(fair) => fair.charge(index),
            Self::Headroom(headroom) => headroom.charge(index),
        }
    }

    /// Takes a pick back. (By headroom there is nothing to take back: the share follows the ledger.)
    pub fn refund(&mut self, index: usize) {
        if let Self::Fair(fair) = self {
            fair.refund(index);
        }
    }

    /// Tells the used share of a member's allowance, as a fraction of 2⁶⁴.
    pub fn set_share(&mut self, index: usize, share: u64) {
        if let Self::Headroom(headroom) = self {
            headroom.share(index, share);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(weights: &[u32]) -> Fair {
        let mut fair = Fair::new(weights.iter().copied(), 7);
        (0..weights.len()).for_each(|index| fair.join(index));
        fair
    }

    /// Largest |count × W − N × weight| ÷ W is at most one message exactly when the numerator is at most W.
    fn worst(counts: &[u64], weights: &[u32], picks: u64) -> Option<(usize, u64)> {
        let total: u64 = weights.iter().map(|&w| u64::from(w)).sum();
        (0..weights.len())
            .map(|i| (i, (counts[i] * total).abs_diff(picks * u64::from(weights[i]))))
            .find(|&(_, off)| off > total)
    }

    #[test]
    fn a_small_pool_follows_the_known_order_up_to_ties() {
        let mut ends = std::collections::BTreeSet::new();
        for seed in 0..64 {
            let mut fair = Fair::new([3, 2, 1], seed);
            (0..3).for_each(|index| fair.join(index));
            let order: Vec<_> = (0..12).map(|_| fair.pick(|_| true).expect("somebody")).collect();
            for round in order.chunks(6) {
                // Deadlines ⅓, ½, ⅔, and then three of 1, of which the heaviest's is not yet eligible at first.
                assert_eq!(round[..3], [0, 1, 0], "{order:?}");
                ends.insert(round[3..].to_vec());
            }
        }
        assert_eq!(Vec::from_iter(ends), [[1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]);
    }

    /// Shares of each destination's mail when destinations come in turn.
    fn in_turn(fair: &mut Fair, members: usize, destinations: usize, picks: usize) -> Vec<Vec<usize>> {
        let mut counts = vec![vec![0; members]; destinations];
        for n in 0..picks {
            counts[n % destinations][fair.pick(|_| true).expect("somebody")] += 1;
        }
        counts
    }

    #[test]
    fn mail_that_comes_in_a_fixed_order_is_not_divided_by_destination() {
        for seed in 0..20 {
            for n in [2, 3, 5] {
                let mut fair = Fair::new(vec![1; n], seed);
                (0..n).for_each(|index| fair.join(index));
                let picks = 1_000 * n;
                for counts in in_turn(&mut fair, n, n, picks) {
                    for count in counts {
                        let (least, most) = (picks / n / n * 8 / 10, picks / n / n * 12 / 10);
                        assert!((least..=most).contains(&count), "seed {seed}, {n} members: {count}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_first_pick_of_ninety_nine_to_one_is_the_heavy_one() {
        let mut fair = all(&[1, 99]);
        let light = (0..50).filter(|_| fair.pick(|_| true) == Some(0)).count();
        assert!(light <= 1);
        assert_eq!(all(&[1, 99]).pick(|_| true), Some(1));
    }

    #[test]
    fn a_member_that_was_out_does_not_catch_up() {
        let mut fair = all(&[1, 1, 1]);
        (0..7).for_each(|_| assert!(fair.pick(|_| true).is_some()));
        fair.leave(0);
        (0..10_000).for_each(|_| assert_ne!(fair.pick(|_| true), Some(0)));
        fair.join(0);
        let picks: Vec<_> = (0..30).map(|_| fair.pick(|_| true).expect("somebody")).collect();
        for run in 1..=picks.len() {
            let count = picks[..run].iter().filter(|&&i| i == 0).count();
            assert!(count <= run / 3 + 2, "{picks:?}");
        }
        assert!((9..=11).contains(&picks.iter().filter(|&&i| i == 0).count()), "{picks:?}");
    }

    #[test]
    fn a_member_that_carried_alone_does_not_starve_afterwards() {
        let mut fair = all(&[1, 1, 1]);
        fair.leave(0);
        fair.leave(2);
        (0..10_000).for_each(|_| assert_eq!(fair.pick(|_| true), Some(1)));
        fair.join(0);
        fair.join(2);
        let first = (0..6).position(|_| fair.pick(|_| true) == Some(1));
        assert!(first.is_some_and(|at| at <= 4), "{first:?}");
    }

    #[test]
    fn where_one_carries_more_than_its_share_alone_the_others_share_the_rest_by_weight() {
        // Nine of ten messages fit only member 1; the tenth fits all.
        let mut fair = all(&[1, 1, 3]);
        let mut shared = [0u64; 3];
        for n in 0..50_000 {
            if n % 10 == 0 {
                shared[fair.pick(|_| true).expect("somebody")] += 1;
            } else {
                assert_eq!(fair.pick(|index| index == 1), Some(1));
            }
        }
        assert_eq!(shared, [1_250, 0, 3_750]);
    }

    #[test]
    fn a_pick_that_was_not_used_is_as_if_it_had_not_been() {
        let weights = [5, 3, 3, 1];
        let (mut plain, mut refunding) = (all(&weights), all(&weights));
        for _ in 0..500 {
            let taken = refunding.pick(|_| true).expect("somebody");
            refunding.refund(taken);
            assert_eq!(plain.pick(|_| true), refunding.pick(|_| true));
        }
    }

    #[test]
    fn sticky_picks_are_paid_for_by_at_most_one_message() {
        let mut fair = all(&[1, 1]);
        (0..100).for_each(|_| fair.charge(0));
        let next: Vec<_> = (0..6).map(|_| fair.pick(|_| true).expect("somebody")).collect();
        assert_eq!(next[0], 1);
        assert!(next.iter().filter(|&&i| i == 0).count() >= 2, "{next:?}");
    }

    #[test]
    fn nobody_is_picked_where_nobody_may() {
        let mut fair = all(&[1, 2]);
        assert_eq!(fair.pick(|_| false), None);
        assert_eq!((fair.weight(), fair.pick(|_| true)), (3, Some(1)));
        let mut drained = all(&[0, 0]);
        assert_eq!(drained.pick(|_| true), None);
    }

    #[test]
    fn headroom_takes_the_least_used_and_turns_among_equals() {
        let mut order = Headroom::new([1, 1, 0, 1]);
        (0..4).for_each(|index| order.set(index, true));
        order.share(0, 500);
        let picks: Vec<_> = (0..4).map(|_| order.pick(|_| true)).collect();
        assert_eq!(picks, [Some(1), Some(3), Some(1), Some(3)]);
        order.share(1, 900);
        order.share(3, 800);
        assert_eq!(order.pick(|_| true), Some(0));
        assert_eq!(order.pick(|index| index != 0), Some(3));
        assert_eq!(order.pick(|_| true), Some(0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn nobody_is_ever_more_than_one_message_off_its_share(
            weights in prop::collection::vec(prop_oneof![1u32..=20, 1u32..=65_535], 1..=50),
            picks in 1u64..=20_000,
        ) {
            let mut fair = all(&weights);
            let mut counts = vec![0u64; weights.len()];
            for n in 1..=picks {
                counts[fair.pick(|_| true).expect("somebody")] += 1;
                if n < 200 || n % 37 == 0 || n == picks {
                    prop_assert_eq!(worst(&counts, &weights, n), None, "after {} picks", n);
                }
            }
        }

        #[test]
        fn coming_and_going_neither_bursts_nor_starves(
            weights in prop::collection::vec(1u32..=100, 2..=12),
            steps in prop::collection::vec((0usize..12, 0u8..4), 1..400),
        ) {
            let mut fair = all(&weights);
            let n = weights.len();
            for (who, what) in steps {
                match what {
                    0 => fair.leave(who % n),
                    1 => fair.join(who % n),
                    2 => assert_ne!(fair.pick(|index| index != who % n), Some(who % n)),
                    _ => assert_eq!(fair.pick(|_| true).is_some(), fair.weight() > 0),
                }
                prop_assert!(fair.aside.is_empty());
            }
            (0..n).for_each(|index| fair.join(index));
            // From any past on: nobody gets more than three messages beyond, or less than three below its share.
            let total: u64 = weights.iter().map(|&w| u64::from(w)).sum();
            let mut counts = vec![0u64; n];
            for picks in 1..=3 * total {
                counts[fair.pick(|_| true).expect("somebody")] += 1;
                for (count, &weight) in counts.iter().zip(&weights) {
                    let off = (count * total).abs_diff(picks * u64::from(weight));
                    prop_assert!(off <= 3 * total, "{} after {} picks", off as f64 / total as f64, picks);
                }
            }
        }
    }
}
