//! Which bindings may carry mail of a sender domain, by the domain's SPF record.
//!
//! SPF looks at the connecting address (RFC 7208 §2.2): mail that moves to a binding its sender's record does not cover is
//! refused there, or counts against the sender. So each sender domain has a *cover*: the bindings that its record is
//! proven to allow, and those that it is proven not to allow (barred). Bindings of which nothing is proven are neither.
//!
//! The bars hold in a pool that has a binding the domain allows, in any tier, that could reach the destination at all. Where
//! it has none they would only stop the mail, which then goes as if there were no record. A binding that is drained, taken
//! out by the operator or without its address is none: nobody knows when somebody brings it back ([`CoverMove`] tells).
//! Where there is one and it is suspended, full or has used up its day, the mail waits for it as it would for a cap: a wait
//! costs time, a refusal for SPF costs the mail and the sender's name. It waits no longer than its lifetime, like all mail.
//!
//! Domains with the same cover share a number: a request carries four octets, and a candidate is judged by one bit. The
//! queue keeps mail of different numbers apart. For each tier that a cover bars somebody of, the seats it leaves are noted,
//! a bit each. They are what is counted to find the open tiers, no further than to the number that is asked for, and what
//! mail with the cover picks in is a view of them ([`super::views`]): who is barred is neither met nor counted. A pool
//! whose counted seats are nearly all out is walked further, a bit and a class for each seat that the cover leaves.

use std::collections::HashMap;

use super::pool::Pool;
use super::tier::Tier;
use super::{BindingId, Families, PoolId, Scheduler};
use crate::message::{BindingName, Domain};

/// Number of a cover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CoverId(u32);

impl CoverId {
    /// Every binding may carry the mail: no record, nothing known, or the null reverse path.
    pub const NONE: Self = Self(0);
}

#[cfg(test)]
impl CoverId {
    /// Any number.
    pub(crate) const fn for_tests(number: u32) -> Self {
        Self(number)
    }
}

/// A set of bindings or seats, a bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Bits(Box<[u64]>);

impl Bits {
    fn of(places: &[usize]) -> Self {
        let words = places.iter().map(|place| place / 64 + 1).max().unwrap_or(0);
        let mut bits = vec![0; words];
        places.iter().for_each(|place| bits[place / 64] |= 1 << (place % 64));
        Self(bits.into())
    }

    fn has(&self, id: BindingId) -> bool {
        self.bit(id.index())
    }

    fn bit(&self, place: usize) -> bool {
        self.0.get(place / 64).is_some_and(|word| word >> (place % 64) & 1 == 1)
    }
}

/// Seats of a tier that a cover leaves, by place.
#[derive(Clone, Debug)]
pub(super) struct Left(Bits);

impl Left {
    /// Whether the seat is among them.
    pub(super) fn has(&self, seat: usize) -> bool {
        self.0.bit(seat)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.0.iter().all(|word| *word == 0)
    }

    /// All of them, climbing.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        let bits = |word: u64| {
            std::iter::successors((word > 0).then_some(word), |rest| {
                let rest = rest & (rest - 1);
                (rest > 0).then_some(rest)
            })
        };
        let words = self.0.0.iter().enumerate();
        words.flat_map(move |(at, word)| bits(*word).map(move |rest| at * 64 + rest.trailing_zeros() as usize))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Shape {
    allowed: Bits,
    barred: Bits,
}

#[derive(Debug)]
struct Set {
    shape: Shape,
    /// Domains that have it.
    domains: u32,
    pools: Vec<InPool>,
}

/// What a cover means in a pool.
#[derive(Debug)]
struct InPool {
    /// The address families in which a binding is allowed that is there.
    allowed: Families,
    /// By tier the seats that are not barred; `None` where that is all of them.
    left: Vec<Option<Left>>,
}

/// A binding was taken out or came back, and with it the bars of covers that allow no other of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoverMove {
    /// Which binding.
    pub binding: BindingId,
    /// Where.
    pub pool: PoolId,
    /// Whether they hold again; else mail goes as if there were no record.
    pub holds: bool,
    /// Of these covers.
    pub covers: Vec<CoverId>,
    /// Sender domains that have one of them.
    pub domains: u32,
}

/// All covers.
#[derive(Debug, Default)]
pub(super) struct Covers {
    of: HashMap<Domain, CoverId>,
    ids: HashMap<Shape, CoverId>,
    /// The first has number 1.
    sets: Vec<Option<Set>>,
    unused: Vec<CoverId>,
    moves: Vec<CoverMove>,
}

impl Covers {
    fn set(&self, id: CoverId) -> Option<&Set> {
        self.sets.get((id.0 as usize).checked_sub(1)?)?.as_ref()
    }

    /// Whether a cover bars anybody of a pool from mail to a destination of these families.
    pub(super) fn holds(&self, id: CoverId, pool: PoolId, families: Families) -> bool {
        let pool = self.set(id).and_then(|set| set.pools.get(pool.index()));
        pool.is_some_and(|InPool { allowed, .. }| allowed.v4 && families.v4 || allowed.v6 && families.v6)
    }

    /// The cover, where it bars anybody of the pool from mail to a destination of these families.
    pub(super) fn in_pool(&self, id: CoverId, pool: PoolId, families: Families) -> CoverId {
        if self.holds(id, pool, families) { id } else { CoverId::NONE }
    }

    /// The seats of a tier that a cover which holds in the pool leaves; `None` where that is all of them.
    pub(super) fn left(&self, id: CoverId, pool: PoolId, tier: usize) -> Option<&Left> {
        self.set(id)?.pools.get(pool.index())?.left.get(tier)?.as_ref()
    }

    /// Whether it bars this one, where it holds.
    pub(super) fn bars(&self, id: CoverId, binding: BindingId) -> bool {
        self.set(id).is_some_and(|set| set.shape.barred.has(binding))
    }

    /// A domain less has it. Returns whether it was the last.
    fn release(&mut self, id: CoverId) -> bool {
        let place = (id.0 as usize).checked_sub(1).and_then(|place| self.sets.get_mut(place));
        let Some(place) = place else { return false };
        let Some(set) = place else { return false };
        set.domains -= 1;
        if set.domains > 0 {
            return false;
        }
        self.ids.remove(&set.shape);
        *place = None;
        self.unused.push(id);
        true
    }
}

impl Scheduler {
    /// The number of a sender domain's cover.
    pub fn cover_of(&self, sender_domain: &Domain) -> CoverId {
        self.covers.of.get(sender_domain).copied().unwrap_or_default()
    }

    /// Takes over what is proven of a sender domain: which bindings its record allows and which not. Names that are not
    /// known are passed over. Returns the numbers it had and has.
    pub fn set_cover(
        &mut self,
        sender_domain: &Domain,
        allowed: &[BindingName],
        barred: &[BindingName],
    ) -> (CoverId, CoverId) {
        let before = self.cover_of(sender_domain);
        let ids = |names: &[BindingName]| -> Vec<usize> {
            names.iter().filter_map(|name| Some(self.binding_id(name)?.index())).collect()
        };
        let shape = Shape { allowed: Bits::of(&ids(allowed)), barred: Bits::of(&ids(barred)) };
        let is_open = shape.allowed.0.is_empty() || shape.barred.0.is_empty();
        let id = if is_open { CoverId::NONE } else { self.number(shape) };
        if id == CoverId::NONE {
            self.covers.of.remove(sender_domain);
        } else {
            self.covers.of.insert(sender_domain.clone(), id);
        }
        if self.covers.release(before) {
            // Its number may be given to another.
            self.pools.iter_mut().flat_map(|pool| &mut pool.tiers).for_each(|tier| tier.forget_cover(before));
        }
        (before, id)
    }

    /// One more domain has this cover.
    fn number(&mut self, shape: Shape) -> CoverId {
        if let Some(&id) = self.covers.ids.get(&shape) {
            if let Some(set) = &mut self.covers.sets[id.0 as usize - 1] {
                set.domains += 1;
            }
            return id;
        }
        let pools = self.in_pools(&shape);
        let set = Some(Set { shape: shape.clone(), domains: 1, pools });
        let id = match self.covers.unused.pop() {
            Some(id) => {
                self.covers.sets[id.0 as usize - 1] = set;
                id
            }
            None => {
                self.covers.sets.push(set);
                CoverId(self.covers.sets.len() as u32)
            }
        };
        self.covers.ids.insert(shape, id);
        id
    }

    fn in_pools(&self, shape: &Shape) -> Vec<InPool> {
        let left = |tier: &Tier| {
            let places: Vec<usize> =
                (0..tier.seats.len()).filter(|&place| !shape.barred.has(tier.seats[place].binding)).collect();
            (places.len() < tier.seats.len()).then(|| Left(Bits::of(&places)))
        };
        let pool =
            |pool: &Pool| InPool { allowed: self.allowed_in(pool, shape), left: pool.tiers.iter().map(left).collect() };
        self.pools.iter().map(pool).collect()
    }

    fn allowed_in(&self, pool: &Pool, shape: &Shape) -> Families {
        let mut found = Families { v4: false, v6: false };
        for seat in pool.tiers.iter().flat_map(|tier| &tier.seats) {
            let is_there = seat.weight > 0 && self.bindings[seat.binding.index()].is_there();
            if is_there && shape.allowed.has(seat.binding) {
                (found.v4, found.v6) = (found.v4 || seat.families.v4, found.v6 || seat.families.v6);
            }
        }
        found
    }

    /// A binding was taken out or is back.
    pub(super) fn recount_covers(&mut self, id: BindingId) {
        let mut sets = std::mem::take(&mut self.covers.sets);
        let mut seen = None;
        for &(pool, ..) in &self.bindings[id.index()].seats {
            if seen.replace(pool) == Some(pool) {
                continue;
            }
            let mut moves =
                [false, true].map(|holds| CoverMove { binding: id, pool, holds, covers: Vec::new(), domains: 0 });
            for (number, set) in (1..).zip(&mut sets) {
                let Some(set) = set.as_mut().filter(|set| set.shape.allowed.has(id)) else { continue };
                let allowed = self.allowed_in(&self.pools[pool.index()], &set.shape);
                let before = std::mem::replace(&mut set.pools[pool.index()].allowed, allowed);
                if before != allowed {
                    let to = &mut moves[usize::from(allowed.v4 && !before.v4 || allowed.v6 && !before.v6)];
                    to.covers.push(CoverId(number));
                    to.domains += set.domains;
                }
            }
            self.covers.moves.extend(moves.into_iter().filter(|moved| !moved.covers.is_empty()));
        }
        self.covers.sets = sets;
    }

    /// Covers that hold no more or hold again since the last call.
    pub fn take_cover_moves(&mut self) -> Vec<CoverMove> {
        std::mem::take(&mut self.covers.moves)
    }

    /// Pools and bindings are others.
    pub(super) fn take_over_covers(&mut self) {
        let mut sets = std::mem::take(&mut self.covers.sets);
        for set in sets.iter_mut().flatten() {
            set.pools = self.in_pools(&set.shape);
        }
        self.covers.sets = sets;
    }

    /// Whether a cover bars a binding of the pool from mail to a destination of these families.
    pub fn is_barred(&self, cover: CoverId, pool: PoolId, families: Families, binding: BindingId) -> bool {
        self.covers.bars(cover, binding) && self.covers.holds(cover, pool, families)
    }
}
