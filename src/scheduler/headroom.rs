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
