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
//! burst nor waits for others to catch up. What all that return bring along moves virtual time back by at most one message
//! of the heaviest member; what goes beyond is forgiven, or a crowd that returns at once would keep the heavy ones waiting
//! for a message each. So after any coming and going of members one by one shares are kept to three messages (without any:
//! to one), and a return costs nobody more. A member that only *this* request cannot use (suspended at that destination)
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
//! The other order, by [`super::headroom`], is not a fair one.

use super::order::Answer;
use super::tournament::Tournament;

/// 1 in virtual time.
const ONE: u128 = 1 << 80;
/// Far enough from zero that virtual time can be moved back, far enough from the end that it never gets there.
const EPOCH: u128 = 1 << 120;

/// Largest tier in which one refusal makes all members be looked at.
pub(super) const ALL_AT_ONCE: usize = 64;

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
/// by that differ at all (weights are below 2²¹, bent ones included: 1 ÷ weight² of [`ONE`] is above 2³⁸).
const LOT_BITS: u32 = 36;

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
    /// How far time was moved back by those who came with something owed to them, less what has passed since.
    moved_back: i128,
    /// 1 ÷ the largest weight there may be.
    least_step: u128,
    /// Starts of those whose start has not come.
    waiting: Tournament,
    /// Deadlines of those whose start has come.
    ready: Tournament,
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
        let trees = Tournament::new(entrants.len());
        let least_step = entrants.iter().map(|entrant| entrant.step).min().unwrap_or(ONE);
        Self {
            seed,
            entrants,
            weight: 0,
            step: 0,
            time: EPOCH,
            moved_back: 0,
            least_step,
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
        let free = (self.least_step as i128 - self.moved_back).max(0);
        self.join_at_most(index, free.saturating_mul(i128::from(self.weight)));
    }

    fn join_at_most(&mut self, index: usize, owed: i128) {
        let entrant = &self.entrants[index];
        if entrant.present || entrant.weight == 0 {
            return;
        }
        let lag = if self.weight > 0 { entrant.lag.min(owed) } else { entrant.lag };
        if self.weight > 0 {
            self.shift(-(lag / i128::from(self.weight)));
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
            self.shift(lag / i128::from(self.weight));
        }
    }

    /// Moves virtual time without a pick.
    fn shift(&mut self, by: i128) {
        self.time = self.time.wrapping_add_signed(by);
        self.moved_back = (self.moved_back - by).max(-(self.least_step as i128));
    }

    /// Gives `index` another weight. Its lag stays, counted in messages: nobody gains or loses one by it.
    pub fn set_weight(&mut self, index: usize, weight: u32) {
        if self.entrants[index].weight == weight {
            return;
        }
        let was_present = self.entrants[index].present;
        self.leave(index);
        let entrant = &mut self.entrants[index];
        (entrant.weight, entrant.step) = (weight, ONE / u128::from(weight.max(1)));
        self.least_step = self.least_step.min(entrant.step);
        if was_present {
            self.join(index);
        }
    }

    /// Picks, charges and returns the next member that `ask` would take.
    pub fn pick<A: Into<Answer>>(&mut self, mut ask: impl FnMut(usize) -> A) -> Option<usize> {
        debug_assert!(self.aside.is_empty());
        let picked = loop {
            let Some(index) = self.front() else { break None };
            match ask(index).into() {
                Answer::Take => break Some(index),
                Answer::Leave => self.leave(index),
                Answer::Stop => break None,
                Answer::Skip => {
                    self.set_aside(index);
                    if self.aside.len() == 1 && self.entrants.len() <= ALL_AT_ONCE {
                        self.ask_all(&mut ask);
                    }
                }
            }
        };
        if let Some(index) = picked {
            self.advance(index);
        }
        while let Some(index) = self.aside.pop() {
            self.join_at_most(index as usize, i128::MAX);
        }
        picked
    }

    fn ask_all<A: Into<Answer>>(&mut self, mut ask: impl FnMut(usize) -> A) {
        for index in 0..self.entrants.len() {
            if !self.entrants[index].present {
                continue;
            }
            match ask(index).into() {
                Answer::Take => {}
                Answer::Leave => self.leave(index),
                Answer::Skip | Answer::Stop => self.set_aside(index),
            }
        }
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
        let passed = self.step as i128;
        self.moved_back -= self.moved_back.clamp(-passed, passed);
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

#[cfg(test)]
#[path = "fair_tests.rs"]
mod tests;
