//! The smallest used share of today's allowance first.
//!
//! Members are kept in a [`Tournament`] by their used share, then by the round they were last picked in, then by lot: of
//! members with the same share each is picked once per round, in an order that does not repeat, since a fixed one would
//! fall into step with mail that comes in a fixed order.
//!
//! **Shares grow with each pick**, in every tier and view the member is in. So a share is not told but asked, of whoever is
//! first in line: if it has grown since, the member is put where it belongs and the next one is looked at. Only a share
//! that *fell* (a new day, a raised cap, mail given back) must be told.
//!
//! **Coming back.** Whoever was out for hours has the smallest share by far, and would get all mail until it has caught up:
//! a binding just back from a suspension is the last that should. It begins at the share of whoever is first, and of what
//! it carries from then on only half counts until its true share is reached: it catches up at twice the pace of the others.

use super::order::Answer;
use super::tournament::{ABSENT, Tournament};

/// Members by used share. See the [module](self).
#[derive(Clone, Debug)]
pub struct Headroom {
    seed: u64,
    line: Tournament,
    members: Vec<Member>,
    round: u32,
    aside: Vec<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Member {
    takes_part: bool,
    present: bool,
    /// As last seen.
    share: u64,
    /// How much its place in the line is behind its share.
    handicap: u64,
    round: u32,
}

const LOT_BITS: u32 = 32;

impl Headroom {
    /// Members with these weights, of which only 0 (never) matters to the order. `seed` decides ties.
    pub fn new(weights: impl IntoIterator<Item = u32>, seed: u64) -> Self {
        let members: Vec<Member> =
            weights.into_iter().map(|weight| Member { takes_part: weight > 0, ..Member::default() }).collect();
        Self { seed, line: Tournament::new(members.len()), members, round: 0, aside: Vec::new() }
    }

    /// Lets a member with this share take part, or takes it out.
    pub fn set_present(&mut self, index: usize, present: bool, share: u64) {
        let first = self.line.min().map_or(0, |first| self.members[first].place());
        let member = &mut self.members[index];
        if member.present == present || !member.takes_part {
            return;
        }
        member.present = present;
        if present {
            member.share = share;
            member.handicap = first.saturating_sub(share);
        }
        self.put(index);
    }

    /// The share of a member fell: it counts in full from now on.
    pub fn fell(&mut self, index: usize, share: u64) {
        let member = &mut self.members[index];
        (member.share, member.handicap) = (share, 0);
        self.put(index);
    }

    /// Charges a pick that was not made by turn.
    pub fn charge(&mut self, index: usize) {
        let member = &mut self.members[index];
        self.round = self.round.max(member.round.saturating_add(1));
        member.round = self.round;
        self.put(index);
    }

    /// Picks the next member that `ask` would take; `share` gives the present one of a member.
    pub fn pick(&mut self, share: impl Fn(usize) -> u64, mut ask: impl FnMut(usize) -> Answer) -> Option<usize> {
        let picked = loop {
            let Some(index) = self.line.min() else { break None };
            if self.grew(index, share(index)) {
                continue;
            }
            match ask(index) {
                Answer::Take => break Some(index),
                Answer::Stop => break None,
                Answer::Leave => {
                    self.members[index].present = false;
                    self.put(index);
                }
                Answer::Skip => {
                    self.line.clear(index);
                    self.aside.push(index as u32);
                }
            }
        };
        if let Some(index) = picked {
            self.charge(index);
        }
        while let Some(index) = self.aside.pop() {
            self.put(index as usize);
        }
        picked
    }

    /// Puts a member whose share has grown where it belongs.
    fn grew(&mut self, index: usize, share: u64) -> bool {
        let member = &mut self.members[index];
        if member.share >= share {
            return false;
        }
        member.handicap = member.handicap.saturating_sub((share - member.share).div_ceil(2));
        member.share = share;
        self.put(index);
        true
    }

    fn put(&mut self, index: usize) {
        let member = self.members[index];
        let key = u128::from(member.place()) << 64 | u128::from(member.round) << LOT_BITS | self.lot(index);
        self.line.set(index, if member.present { key } else { ABSENT });
    }

    fn lot(&self, index: usize) -> u128 {
        let mut mixed = self.seed ^ (index as u64) << 32 ^ u64::from(self.members[index].round);
        for factor in [0xbf58_476d_1ce4_e5b9_u64, 0x94d0_49bb_1331_11eb] {
            mixed = (mixed ^ (mixed >> 31)).wrapping_mul(factor);
        }
        u128::from(mixed >> (64 - LOT_BITS))
    }
}

impl Member {
    fn place(self) -> u64 {
        self.share.saturating_add(self.handicap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Members with these caps of their own, all present, of whom `used` is spent.
    struct Caps {
        order: Headroom,
        caps: Vec<u64>,
        used: Vec<u64>,
    }

    impl Caps {
        fn new(caps: &[u64]) -> Self {
            let order = Headroom::new(caps.iter().map(|_| 1), 7);
            let mut new = Self { order, caps: caps.into(), used: vec![0; caps.len()] };
            (0..caps.len()).for_each(|index| new.set(index, true));
            new
        }

        fn share(&self, index: usize) -> u64 {
            ((u128::from(self.used[index]) << 64) / u128::from(self.caps[index])).min(u128::from(u64::MAX)) as u64
        }

        fn set(&mut self, index: usize, present: bool) {
            self.order.set_present(index, present, self.share(index));
        }

        fn pick(&mut self, admits: impl Fn(usize) -> bool) -> usize {
            let shares: Vec<u64> = (0..self.caps.len()).map(|index| self.share(index)).collect();
            let picked = self.order.pick(|index| shares[index], |index| admits(index).into()).expect("somebody");
            self.used[picked] += 1;
            picked
        }
    }

    #[test]
    fn unequal_caps_fill_to_the_same_share() {
        let mut caps = Caps::new(&[100, 1_000, 5_000]);
        for n in 1..=6_000u64 {
            caps.pick(|_| true);
            for index in 0..3 {
                let fair = n as f64 / 6_100.0;
                let off = caps.used[index] as f64 - fair * caps.caps[index] as f64;
                assert!(off.abs() <= 3.0, "{index} after {n}: {off}");
            }
        }
    }

    #[test]
    fn members_with_the_same_share_are_picked_once_a_round_in_no_fixed_order() {
        let mut order = Headroom::new([1, 1, 0, 1], 7);
        (0..4).for_each(|index| order.set_present(index, true, 0));
        let mut rounds = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let round: Vec<usize> = (0..3).map(|_| order.pick(|_| 0, |_| Answer::Take).expect("somebody")).collect();
            let mut sorted = round.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 3]);
            rounds.insert(round);
        }
        assert_eq!(rounds.len(), 6, "all orders occur");
    }

    #[test]
    fn a_member_that_was_out_catches_up_at_twice_the_pace_and_not_in_a_burst() {
        let mut caps = Caps::new(&[1_000; 5]);
        caps.set(4, false);
        (0..2_000).for_each(|_| assert_ne!(caps.pick(|_| true), 4));
        caps.set(4, true);
        for _ in 0..20 {
            let of_fifty = (0..50).filter(|_| caps.pick(|_| true) == 4).count();
            assert!((14..=19).contains(&of_fifty), "a third of the mail, not all of it: {of_fifty}");
        }
        while caps.share(4) < caps.share(0) {
            caps.pick(|_| true);
        }
        let after = (0..500).filter(|_| caps.pick(|_| true) == 4).count();
        assert!((98..=102).contains(&after), "{after}");
    }

    #[test]
    fn a_share_that_fell_counts_at_once_and_a_new_day_is_no_herd() {
        let mut caps = Caps::new(&[100, 100, 200]);
        for _ in 0..100 {
            caps.pick(|_| true);
        }
        caps.used = vec![0; 3];
        (0..3).for_each(|index| caps.order.fell(index, 0));
        let first: Vec<usize> = (0..8).map(|_| caps.pick(|_| true)).collect();
        let count = |who| first.iter().filter(|&&picked| picked == who).count();
        assert_eq!((count(0), count(1), count(2)), (2, 2, 4), "{first:?}");
    }

    #[test]
    fn who_may_not_is_passed_over_and_keeps_its_place() {
        let mut caps = Caps::new(&[10, 1_000]);
        (0..500).for_each(|_| assert_eq!(caps.pick(|index| index != 0), 1));
        assert_eq!(caps.pick(|_| true), 0);
        let nobody = caps.order.pick(|_| 0, |_| Answer::Skip);
        assert_eq!(nobody, None);
        assert_eq!(caps.order.pick(|_| 0, |_| Answer::Stop), None);
        while caps.order.pick(|_| 0, |_| Answer::Leave).is_some() {}
        assert_eq!(caps.order.pick(|_| 0, |_| Answer::Take), None);
    }
}
