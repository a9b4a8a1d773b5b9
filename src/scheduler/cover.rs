//! Which bindings may carry mail of a sender domain, by the domain's SPF record.
//!
//! SPF looks at the connecting address (RFC 7208 §2.2): mail that moves to a binding its sender's record does not cover is
//! refused there, or counts against the sender. So each sender domain has a *cover*: the bindings that its record is
//! proven to allow, and those that it is proven not to allow (barred). Bindings of which nothing is proven are neither.
//!
//! The bars hold in a pool that has a binding the domain allows, in any tier, that could reach the destination at all. Where
//! it has none they would only stop the mail, which then goes as if there were no record. Where there is one and it is
//! suspended, full or has used up its day, the mail waits for it as it would for a cap: a wait costs time, a refusal for
//! SPF costs the mail and the sender's name. It waits no longer than its lifetime, like all mail.
//!
//! Domains with the same cover share a number: a request carries four octets, and a candidate is judged by one bit. The
//! queue keeps mail of different numbers in different lanes. Mail with a cover pays more where pools are large: the tiers
//! that are open are counted by walking the seats, about a nanosecond each, and a pick steps over those that are barred.

use std::collections::HashMap;

use super::{BindingId, Families, PoolId, Scheduler};
use crate::message::{BindingName, Domain};

/// Number of a cover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CoverId(u32);

impl CoverId {
    /// Every binding may carry the mail: no record, nothing known, or the null reverse path.
    pub const NONE: Self = Self(0);
}

/// A set of bindings, a bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Bits(Box<[u64]>);

impl Bits {
    fn of(ids: &[BindingId]) -> Self {
        let words = ids.iter().map(|id| id.index() / 64 + 1).max().unwrap_or(0);
        let mut bits = vec![0; words];
        ids.iter().for_each(|id| bits[id.index() / 64] |= 1 << (id.index() % 64));
        Self(bits.into())
    }

    fn has(&self, id: BindingId) -> bool {
        self.0.get(id.index() / 64).is_some_and(|word| word >> (id.index() % 64) & 1 == 1)
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
    /// By pool: the address families in which a binding is allowed.
    pools: Vec<Families>,
}

/// All covers.
#[derive(Debug, Default)]
pub(super) struct Covers {
    of: HashMap<Domain, CoverId>,
    ids: HashMap<Shape, CoverId>,
    /// The first has number 1.
    sets: Vec<Option<Set>>,
    unused: Vec<CoverId>,
}

impl Covers {
    fn set(&self, id: CoverId) -> Option<&Set> {
        self.sets.get((id.0 as usize).checked_sub(1)?)?.as_ref()
    }

    /// Whether a cover bars anybody of a pool from mail to a destination of these families.
    pub(super) fn holds(&self, id: CoverId, pool: PoolId, families: Families) -> bool {
        let allowed = self.set(id).and_then(|set| set.pools.get(pool.index()));
        allowed.is_some_and(|allowed| allowed.v4 && families.v4 || allowed.v6 && families.v6)
    }

    /// Whether it bars this one, where it holds.
    pub(super) fn bars(&self, id: CoverId, binding: BindingId) -> bool {
        self.set(id).is_some_and(|set| set.shape.barred.has(binding))
    }

    fn release(&mut self, id: CoverId) {
        let Some(place) = (id.0 as usize).checked_sub(1).and_then(|place| self.sets.get_mut(place)) else { return };
        let Some(set) = place else { return };
        set.domains -= 1;
        if set.domains == 0 {
            self.ids.remove(&set.shape);
            *place = None;
            self.unused.push(id);
        }
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
        let ids = |names: &[BindingName]| -> Vec<BindingId> {
            names.iter().filter_map(|name| self.binding_id(name)).collect()
        };
        let shape = Shape { allowed: Bits::of(&ids(allowed)), barred: Bits::of(&ids(barred)) };
        let is_open = shape.allowed.0.is_empty() || shape.barred.0.is_empty();
        let id = if is_open { CoverId::NONE } else { self.number(shape) };
        if id == CoverId::NONE {
            self.covers.of.remove(sender_domain);
        } else {
            self.covers.of.insert(sender_domain.clone(), id);
        }
        self.covers.release(before);
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
        let pools = self.allowed_in_pools(&shape);
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

    fn allowed_in_pools(&self, shape: &Shape) -> Vec<Families> {
        let mut pools = vec![Families { v4: false, v6: false }; self.pools.len()];
        for (found, pool) in pools.iter_mut().zip(&self.pools) {
            for seat in pool.tiers.iter().flat_map(|tier| &tier.seats) {
                let binding = &self.bindings[seat.binding.index()];
                let is_there = seat.weight > 0 && binding.exists && !binding.config.suspend_delivery;
                if is_there && shape.allowed.has(seat.binding) {
                    (found.v4, found.v6) = (found.v4 || !seat.is_v6, found.v6 || seat.is_v6);
                }
            }
        }
        pools
    }

    /// Pools and bindings are others.
    pub(super) fn take_over_covers(&mut self) {
        let mut sets = std::mem::take(&mut self.covers.sets);
        for set in sets.iter_mut().flatten() {
            set.pools = self.allowed_in_pools(&set.shape);
        }
        self.covers.sets = sets;
    }

    /// Whether a cover bars a binding of the pool from mail to a destination of these families.
    pub fn is_barred(&self, cover: CoverId, pool: PoolId, families: Families, binding: BindingId) -> bool {
        self.covers.bars(cover, binding) && self.covers.holds(cover, pool, families)
    }
}
