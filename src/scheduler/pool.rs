//! Tiers: who shares, who waits in reserve.
//!
//! Tier 0 is active, the others are backups in order. The next tier opens for a request when the tiers before it have
//! fewer than `min_active` bindings to count on. A binding is counted on unless it is out for a reason of `failover_on`
//! (by default suspended or capped), cannot reach the destination's address family, or is on probation: what is merely
//! busy — rate, window, pace, a grant being written, a receiver's wish for less ([`super::window`]) — is waited for, since
//! mail that spills at each full window would run through the backups all day. A binding on probation carries its trickle while the tier behind it stays open, so the
//! way back is gradual. Where several tiers are open they share by the weights of those in play.
//!
//! What keeps a binding from being used *everywhere* is worked out when it changes, not at each pick: the binding leaves
//! the order of its tiers and comes back when the reason is gone ([`Class`]). Only reasons of the single request are left
//! to the moment of the pick.

use rand::Rng;
use rand::seq::SliceRandom;

use super::fair::{Fair, Headroom, Order};
use super::{BindingId, Families};
use crate::config::{FailoverReason, Pace, Pool as PoolConfig, Spread};
use crate::message::PoolName;

/// Why a binding is out of the order of a tier, in kinds of consequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Free,
    /// Free for a trickle.
    Probation,
    Suspended,
    Capped,
    /// Its allowance of the warm-up is used up.
    Warmup,
    Pace,
    Grant,
    Window,
    Rate,
}

impl Class {
    /// Whether it takes part in the order.
    pub(super) fn is_in_play(self) -> bool {
        matches!(self, Self::Free | Self::Probation)
    }
}

/// A binding in a tier.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) binding: BindingId,
    pub(super) weight: u32,
    pub(super) is_v6: bool,
    pub(super) class: Class,
}

/// One tier. `seats` are in a shuffled order that breaks ties; `as_written` lists them as in the configuration.
#[derive(Clone, Debug)]
pub(super) struct Tier {
    pub(super) seats: Vec<Seat>,
    pub(super) as_written: Vec<u32>,
    pub(super) order: Order,
    /// Seats to count on, by address family (v4, v6).
    dependable: [usize; 2],
    /// For taking turns with other open tiers.
    credit: i64,
}

/// A pool as the scheduler uses it.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub(super) name: PoolName,
    pub(super) tiers: Vec<Tier>,
    pub(super) pace: Pace,
    pub(super) min_active: usize,
    failover: Failover,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failover {
    suspended: bool,
    capped: bool,
    warmup: bool,
    rate_limited: bool,
    window_full: bool,
}

impl Pool {
    /// The pool that `config` describes; nobody is in play yet. `seat` gives number and family of a binding.
    pub(super) fn new(
        config: &PoolConfig,
        seat: impl Fn(&crate::message::BindingName) -> Option<(BindingId, bool)>,
        rng: &mut impl Rng,
    ) -> Self {
        let on = |reason| config.failover_on.contains(&reason);
        let failover = Failover {
            suspended: on(FailoverReason::Suspended),
            capped: on(FailoverReason::Capped),
            warmup: on(FailoverReason::Warmup),
            rate_limited: on(FailoverReason::RateLimited),
            window_full: on(FailoverReason::WindowFull),
        };
        let tier = |members: &Vec<crate::config::Member>| {
            let mut seats: Vec<(usize, Seat)> = members
                .iter()
                .filter_map(|member| {
                    let (binding, is_v6) = seat(&member.binding)?;
                    Some(Seat { binding, weight: member.weight, is_v6, class: Class::Suspended })
                })
                .enumerate()
                .collect();
            seats.shuffle(rng);
            let mut as_written = vec![0; seats.len()];
            for (place, (written, _)) in seats.iter().enumerate() {
                as_written[*written] = place as u32;
            }
            let seats: Vec<Seat> = seats.into_iter().map(|(_, seat)| seat).collect();
            let weights = seats.iter().map(|seat| seat.weight);
            let order = match config.spread {
                // Until the chance of delivery is measured, reputation bends no weight: a factor per binding belongs here.
                Spread::Weighted | Spread::Reputation => Order::Fair(Fair::new(weights, rng.next_u64())),
                Spread::Headroom => Order::Headroom(Headroom::new(weights)),
            };
            Tier { seats, as_written, order, dependable: [0; 2], credit: 0 }
        };
        Self {
            name: config.name.clone(),
            tiers: config.tiers.iter().map(tier).collect(),
            pace: config.pace,
            min_active: config.min_active,
            failover,
        }
    }

    /// Whether a binding that is out for `class` is still counted on.
    pub(super) fn counts_on(&self, class: Class) -> bool {
        match class {
            Class::Free | Class::Pace | Class::Grant => true,
            Class::Suspended | Class::Probation => !self.failover.suspended,
            Class::Capped => !self.failover.capped,
            Class::Warmup => !self.failover.warmup,
            Class::Window => !self.failover.window_full,
            Class::Rate => !self.failover.rate_limited,
        }
    }

    /// Moves a seat to another class.
    pub(super) fn set_class(&mut self, tier: usize, seat: usize, class: Class) {
        let old = self.tiers[tier].seats[seat].class;
        if old == class {
            return;
        }
        let change = i32::from(self.counts_on(class)) - i32::from(self.counts_on(old));
        let tier = &mut self.tiers[tier];
        let place = &mut tier.seats[seat];
        place.class = class;
        if place.weight > 0 {
            let count = &mut tier.dependable[usize::from(place.is_v6)];
            *count = count.saturating_add_signed(change as isize);
        }
        tier.order.set_present(seat, class.is_in_play());
    }

    /// How many tiers are open, given how many seats of a tier can be counted on (`count(tier, enough)` may stop at
    /// `enough`).
    pub(super) fn open_tiers(&self, mut count: impl FnMut(&Tier, usize) -> usize) -> usize {
        let mut found = 0;
        for (index, tier) in self.tiers.iter().enumerate() {
            found += count(tier, self.min_active - found);
            if found >= self.min_active {
                return index + 1;
            }
        }
        self.tiers.len()
    }

    /// The open tier whose turn it is: by the weights of those in play.
    pub(super) fn turn(&self, open: usize) -> usize {
        let best = |best: usize, tier: usize| {
            if self.next_credit(tier) > self.next_credit(best) { tier } else { best }
        };
        (1..open).fold(0, best)
    }

    fn next_credit(&self, tier: usize) -> i64 {
        let weight = self.tiers[tier].order.weight();
        if weight == 0 { i64::MIN } else { self.tiers[tier].credit + weight as i64 }
    }

    /// Charges `tier` with a pick, where several are open.
    pub(super) fn charge_turn(&mut self, tier: usize, open: usize) {
        if open < 2 {
            return;
        }
        let total: u64 = self.tiers[..open].iter().map(|tier| tier.order.weight()).sum();
        let total = total as i64;
        for (index, other) in self.tiers[..open].iter_mut().enumerate() {
            let gained = other.credit + other.order.weight() as i64;
            // Kept near zero: what was out for long neither catches up nor owes.
            other.credit = (if index == tier { gained - total } else { gained }).clamp(-total, total);
        }
    }
}

impl Tier {
    /// Seats to count on for a destination of these families, as far as bindings as a whole are concerned.
    pub(super) fn dependable(&self, families: Families) -> usize {
        let [v4, v6] = self.dependable;
        (if families.v4 { v4 } else { 0 }) + (if families.v6 { v6 } else { 0 })
    }
}
