//! Tiers: who shares, who waits in reserve.
//!
//! Tier 0 is active, the others are backups in order. The next tier opens for a request when the tiers before it have
//! fewer than `min_active` bindings to count on. A binding is counted on unless it is out for a reason of `failover_on`
//! (by default suspended or capped), cannot reach the destination's address family, or is on probation: what is merely
//! busy — rate, window, pace, a grant being written, a receiver's wish for less ([`super::window`]) — is waited for, since
//! mail that spills at each full window would run through the backups all day. A binding on probation carries its trickle while the tier behind it stays open, so the
//! way back is gradual. Where several tiers are open they share by the weights of those in play.
//!
//! **Regions.** Where the mail has a region and a binding of that region can be counted on in an open tier, only bindings
//! of the region carry it: by the same rule as between tiers, what is merely busy is waited for, and only what is out for a
//! reason of `failover_on` sends the mail across the sea. Tiers come first: a backup of the region does not open while the
//! actives of another can be counted on. Where no tier that is open has such a binding, any may carry it. Within the
//! region shares follow the weights; mail without a region makes up for the difference, so that overall shares follow them
//! too as far as there is enough of it.
//!
//! What keeps a binding from being used *everywhere* is worked out when it changes, not at each pick: the binding leaves
//! the order of its tiers and comes back when the reason is gone ([`Class`]). Only reasons of the single request are left
//! to the moment of the pick.

use rand::Rng;
use rand::seq::SliceRandom;

use super::tier::{Newcomer, Scope, Tier};
use super::{BindingId, DestinationId, Families, RegionId};
use crate::config::{FailoverReason, Pace, Pool as PoolConfig, Spread};
use crate::message::{BindingName, PoolName};

/// Why a binding is out of the order of a tier, in kinds of consequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Class {
    #[default]
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
    /// Whether it carries its share, now or after a moment: a trickle is none, and neither is what is over for the day.
    pub(super) fn carries(self) -> bool {
        !matches!(self, Self::Probation | Self::Suspended | Self::Capped | Self::Warmup)
    }

    /// Whether it takes part in the order.
    pub(super) fn is_in_play(self) -> bool {
        matches!(self, Self::Free | Self::Probation)
    }
}

/// A pool as the scheduler uses it.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub(super) name: PoolName,
    pub(super) tiers: Vec<Tier>,
    pub(super) pace: Pace,
    pub(super) min_active: usize,
    pub(super) spread: Spread,
    /// Under headroom: the allowance by which those without one are measured.
    pub(super) yardstick: u64,
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
    /// The pool that `config` describes; nobody is in play yet. `known` gives number, family and region of a binding.
    pub(super) fn new(
        config: &PoolConfig,
        known: impl Fn(&BindingName) -> Option<(BindingId, Families, Option<RegionId>)>,
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
            let newcomer = |member: &crate::config::Member| {
                let (binding, families, region) = known(&member.binding)?;
                Some(Newcomer { binding, weight: member.weight, families, region })
            };
            let mut members: Vec<_> = members.iter().filter_map(newcomer).enumerate().collect();
            members.shuffle(rng);
            Tier::new(members, !failover.suspended, config.spread, rng)
        };
        Self {
            name: config.name.clone(),
            tiers: config.tiers.iter().map(tier).collect(),
            pace: config.pace,
            min_active: config.min_active,
            spread: config.spread,
            yardstick: u64::MAX,
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

    /// Moves a seat to another class. `shut` are the destinations at which the binding is not to be counted on, and why.
    pub(super) fn set_class(&mut self, tier: usize, seat: usize, class: Class, shut: &[(DestinationId, Class)]) {
        let place = &self.tiers[tier].seats[seat];
        let old = place.class;
        if old == class {
            return;
        }
        let has_weight = place.weight > 0;
        let (was_counted, is_counted) = (self.counts_on(old), self.counts_on(class));
        self.tiers[tier].set_class(seat, class, isize::from(is_counted) - isize::from(was_counted));
        if has_weight && was_counted != is_counted {
            for &(at, reason) in shut {
                if !self.counts_on(reason) {
                    self.tiers[tier].count_route(seat, at, is_counted);
                }
            }
        }
    }

    /// A binding's route to `at` is out for another reason than before ([`Class::Free`]: not at all).
    pub(super) fn set_route_class(&mut self, tier: usize, seat: usize, at: DestinationId, from: Class, to: Class) {
        let place = &self.tiers[tier].seats[seat];
        let (was_counted, is_counted) = (self.counts_on(from), self.counts_on(to));
        if place.weight > 0 && was_counted != is_counted && self.counts_on(place.class) {
            self.tiers[tier].count_route(seat, at, !is_counted);
        }
    }

    /// How many tiers are open, given how many seats of a tier can be counted on; more than its second argument need not be
    /// told apart.
    pub(super) fn open_tiers(&self, mut count: impl FnMut(usize, usize) -> usize) -> usize {
        let mut found = 0;
        for index in 0..self.tiers.len() {
            found += count(index, self.min_active.saturating_sub(found));
            if found >= self.min_active {
                return index + 1;
            }
        }
        self.tiers.len()
    }

    /// The open tier whose turn it is: by the weights in play.
    pub(super) fn turn(&self, open: usize, scope: Scope) -> usize {
        let next = |tier: usize| {
            let weight = self.tiers[tier].weight_in_play(scope);
            if weight == 0 { i64::MIN } else { self.tiers[tier].credit + weight as i64 }
        };
        (1..open).fold(0, |best, tier| if next(tier) > next(best) { tier } else { best })
    }

    /// Charges `tier` with a pick, where several are open.
    pub(super) fn charge_turn(&mut self, tier: usize, open: usize, scope: Scope) {
        if open < 2 {
            return;
        }
        let total = self.tiers[..open].iter().map(|tier| tier.weight_in_play(scope)).sum::<u64>() as i64;
        for (index, other) in self.tiers[..open].iter_mut().enumerate() {
            let gained = other.credit + other.weight_in_play(scope) as i64;
            // Kept near zero: what was out for long neither catches up nor owes.
            other.credit = (if index == tier { gained - total } else { gained }).clamp(-total, total);
        }
    }
}
