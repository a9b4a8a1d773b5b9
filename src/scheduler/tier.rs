//! One tier of a pool: its seats, who of them is in play, and the orders over them.
//!
//! Seats are of *groups*: the same region and the same address family. Whatever has to be known of "those of the region
//! that reach this destination" — how many can be counted on, how much weight is in play — is a sum over a handful of
//! groups, kept up when something changes, so that no pick walks the seats. What a destination takes away from that
//! ([`Tier::count_route`]) is kept the same way, for destinations that take something away.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use rand::Rng;
use smallvec::SmallVec;

use super::cover::Left;
use super::fair::Fair;
use super::order::Order;
use super::pool::Class;
use super::prediction;
use super::state::PairHasher;
use super::views::View;
use super::{BindingId, CoverId, DestinationId, Families, RegionId};
use crate::clock::Mono;
use crate::config::Spread;

/// A binding in a tier.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) binding: BindingId,
    pub(super) weight: u32,
    pub(super) families: Families,
    pub(super) class: Class,
    pub(super) group: u16,
}

/// What is known of a member of a tier before it takes its seat.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newcomer {
    pub(super) binding: BindingId,
    pub(super) weight: u32,
    pub(super) families: Families,
    pub(super) region: Option<RegionId>,
}

/// Weights at a column.
#[derive(Clone, Debug)]
struct Bent {
    /// What each seat keeps of its weight, in thousandths.
    parts: Vec<u16>,
    /// How many times their own weight those that are not bent have had time to get used to, and when that was so.
    settled: f64,
    at: Mono,
}

/// More than there are classes.
const CLASSES: usize = 16;

/// Which seats come into question for a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    pub(super) region: Option<RegionId>,
    pub(super) families: Families,
    /// Where it bars anybody of the pool, else none.
    pub(super) cover: CoverId,
}

/// Seats of the same region and families; only those with a weight are counted.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) region: Option<RegionId>,
    pub(super) families: Families,
    pub(super) seats: usize,
    /// Of them to count on.
    counted: usize,
    /// Weight in play.
    weight: u64,
}

impl Scope {
    /// Every seat.
    pub(super) const ALL: Self = Self { region: None, families: Families { v4: true, v6: true }, cover: CoverId::NONE };

    /// What of it counts in a tier of which its cover leaves these seats (`None`: all).
    pub(super) fn in_tier(self, left: Option<&Left>) -> Self {
        if left.is_some() { self } else { Self { cover: CoverId::NONE, ..self } }
    }

    /// Whether seats of a group come into question, as far as that is a matter of groups.
    pub(super) fn covers(self, region: Option<RegionId>, families: Families) -> bool {
        (self.region.is_none() || self.region == region) && self.families.meet(families)
    }
}

type ByDestination<T> = HashMap<DestinationId, T, BuildHasherDefault<PairHasher>>;

/// One tier. `seats` are in a shuffled order that breaks ties; `as_written` lists them as in the configuration.
#[derive(Clone, Debug)]
pub(super) struct Tier {
    pub(super) seats: Vec<Seat>,
    pub(super) as_written: Vec<u32>,
    pub(super) spread: Spread,
    pub(super) seed: u64,
    pub(super) groups: Vec<Group>,
    /// Seats that are counted on, but not at this destination, by group.
    uncounted: ByDestination<SmallVec<[usize; 2]>>,
    pub(super) main: Order,
    pub(super) views: Vec<View>,
    /// Grows with each use of a view.
    pub(super) uses: u64,
    /// Members that mail to a destination had to pass over.
    pub(super) passed_over: ByDestination<usize>,
    /// Used shares of the day, for headroom.
    pub(super) shares: Vec<u64>,
    /// Bent weights, by column, for reputation; columns where nothing is bent are missing.
    bent: HashMap<u32, Bent>,
    /// Seats with a weight by group and class, for looking at some of each.
    pub(super) by_class: Vec<[Vec<u32>; CLASSES]>,
    /// The place of each in its list there.
    listed: Vec<u32>,
    /// Has seats of different address families.
    pub(super) is_mixed: bool,
    /// For taking turns with other open tiers.
    pub(super) credit: i64,
}

impl Tier {
    /// A tier of these members, each with its place in the configuration. Nobody is in play yet: all begin as
    /// [`Class::Suspended`], and `counts_suspended` says whether that is counted on.
    pub(super) fn new(
        members: Vec<(usize, Newcomer)>,
        counts_suspended: bool,
        spread: Spread,
        rng: &mut impl Rng,
    ) -> Self {
        let mut as_written = vec![0; members.len()];
        let (mut groups, mut seats) = (Vec::<Group>::new(), Vec::with_capacity(members.len()));
        let mut listed = Vec::with_capacity(members.len());
        let mut by_class: Vec<[Vec<u32>; CLASSES]> = Vec::new();
        for (place, (written, member)) in members.into_iter().enumerate() {
            as_written[written] = place as u32;
            let Newcomer { binding, weight, families, region } = member;
            let known = groups.iter().position(|group| (group.region, group.families) == (region, families));
            let group = known.unwrap_or_else(|| {
                groups.push(Group { region, families, seats: 0, counted: 0, weight: 0 });
                by_class.push(std::array::from_fn(|_| Vec::new()));
                groups.len() - 1
            });
            let list = &mut by_class[group][Class::Suspended as usize];
            listed.push(list.len() as u32);
            if weight > 0 {
                list.push(place as u32);
                groups[group].seats += 1;
                groups[group].counted += usize::from(counts_suspended);
            }
            seats.push(Seat { binding, weight, families, class: Class::Suspended, group: group as u16 });
        }
        let mut counted = groups.iter().filter(|group| group.seats > 0).map(|group| group.families);
        let first = counted.next();
        let is_mixed = counted.any(|families| Some(families) != first);
        let shares = if spread == Spread::Headroom { vec![0; seats.len()] } else { Vec::new() };
        let mut tier = Self {
            seats,
            as_written,
            spread,
            seed: rng.next_u64(),
            groups,
            uncounted: HashMap::default(),
            main: Order::Fair(Fair::new([], 0)),
            views: Vec::new(),
            uses: 0,
            passed_over: HashMap::default(),
            shares,
            bent: HashMap::new(),
            by_class,
            listed,
            is_mixed,
            credit: 0,
        };
        tier.main = tier.order_of(None, 0, tier.seed);
        tier
    }

    pub(super) fn weight(&self, seat: usize, column: u32) -> u32 {
        let weight = self.seats[seat].weight;
        match self.spread {
            Spread::Reputation => {
                weight * u32::from(self.bent.get(&column).map_or(prediction::FULL, |bent| bent.parts[seat]))
            }
            Spread::Weighted | Spread::Headroom => weight,
        }
    }

    pub(super) fn covered(&self, scope: Scope) -> impl Iterator<Item = (usize, &Group)> {
        self.groups.iter().enumerate().filter(move |(_, group)| scope.covers(group.region, group.families))
    }

    /// Whether a seat comes into question.
    pub(super) fn covers(&self, scope: Scope, seat: &Seat) -> bool {
        let group = &self.groups[usize::from(seat.group)];
        scope.covers(group.region, group.families)
    }

    /// Seats with a weight.
    pub(super) fn seats_in(&self, scope: Scope) -> usize {
        self.covered(scope).map(|(_, group)| group.seats).sum()
    }

    /// Seats to count on, as far as bindings as a whole are concerned.
    pub(super) fn counted(&self, scope: Scope) -> usize {
        self.covered(scope).map(|(_, group)| group.counted).sum()
    }

    /// How many of them are not to be counted on at a destination.
    pub(super) fn uncounted(&self, scope: Scope, at: DestinationId) -> usize {
        let Some(uncounted) = self.uncounted.get(&at) else { return 0 };
        self.covered(scope).map(|(group, _)| uncounted.get(group).copied().unwrap_or(0)).sum()
    }

    /// Weight in play.
    pub(super) fn weight_in_play(&self, scope: Scope) -> u64 {
        self.covered(scope).map(|(_, group)| group.weight).sum()
    }

    /// A seat that is counted on is so no longer at `at`, or is so again.
    pub(super) fn count_route(&mut self, seat: usize, at: DestinationId, is_out: bool) {
        let group = usize::from(self.seats[seat].group);
        let uncounted = self.uncounted.entry(at).or_default();
        uncounted.resize(self.groups.len().max(uncounted.len()), 0);
        let count = &mut uncounted[group];
        *count = if is_out { *count + 1 } else { count.saturating_sub(1) };
        if uncounted.iter().all(|&count| count == 0) {
            self.uncounted.remove(&at);
        }
    }

    /// Moves a seat with a weight to another class; `counted` is what that changes in the number of seats to count on.
    pub(super) fn set_class(&mut self, seat: usize, class: Class, counted: isize) {
        let place = &mut self.seats[seat];
        let old = std::mem::replace(&mut place.class, class);
        let weight = u64::from(place.weight);
        if weight == 0 || old == class {
            return;
        }
        let group = &mut self.groups[usize::from(place.group)];
        group.counted = group.counted.saturating_add_signed(counted);
        let lists = &mut self.by_class[usize::from(self.seats[seat].group)];
        let at = self.listed[seat] as usize;
        lists[old as usize].swap_remove(at);
        if let Some(&moved) = lists[old as usize].get(at) {
            self.listed[moved as usize] = at as u32;
        }
        self.listed[seat] = lists[class as usize].len() as u32;
        lists[class as usize].push(seat as u32);
        if old.is_in_play() == class.is_in_play() {
            return;
        }
        group.weight = if class.is_in_play() { group.weight + weight } else { group.weight - weight };
        let share = self.shares.get(seat).copied().unwrap_or(0);
        self.main.set_present(seat, class.is_in_play(), share);
        if class.is_in_play() {
            for view in &mut self.views {
                if let Some(local) = view.local(seat)
                    && !view.is_barred(local)
                {
                    view.order.set_present(local, true, share);
                }
            }
        }
    }

    /// Whether a seat is in play.
    pub(super) fn is_in_play(&self, seat: usize) -> bool {
        self.seats[seat].weight > 0 && self.seats[seat].class.is_in_play()
    }

    /// Tells the used share of a member's allowance, as a fraction of 2⁶⁴.
    pub(super) fn set_share(&mut self, seat: usize, share: u64) {
        let Some(known) = self.shares.get_mut(seat) else { return };
        let fell = share < *known;
        *known = share;
        if !fell {
            return;
        }
        self.main.share_fell(seat, share);
        for view in &mut self.views {
            if let Some(local) = view.local(seat) {
                view.order.share_fell(local, share);
            }
        }
    }

    /// Bends the weight of a seat at a column to so many thousandths.
    pub(super) fn bend(&mut self, seat: usize, column: u32, kept: u16, now: Mono) {
        if self.spread != Spread::Reputation {
            return;
        }
        let seats = self.seats.len();
        let fresh = || Bent { parts: vec![prediction::FULL; seats], settled: 1.0, at: now };
        self.bent.entry(column).or_insert_with(fresh).parts[seat] = kept;
        let weight = self.weight(seat, column);
        if column == 0 {
            self.main.set_weight(seat, weight);
        }
        for view in self.views.iter_mut().filter(|view| view.key.column == column) {
            if let Some(local) = view.local(seat) {
                view.order.set_weight(local, weight);
            }
        }
    }

    /// Weights in play of all seats at a column that carry more than a trickle there: whole, and what is left of them,
    /// without `seat`'s, in thousandths.
    fn bent_weights(&self, column: u32, seat: usize, is_shut: impl Fn(BindingId) -> bool) -> (f64, f64) {
        let parts = self.bent.get(&column).map(|bent| &bent.parts);
        let (mut whole, mut left) = (0, 0);
        let carries = |seat: &Seat| seat.class == Class::Free && !is_shut(seat.binding);
        for (at, seat_there) in self.seats.iter().enumerate().filter(|(_, seat)| carries(seat)) {
            let weight = u64::from(seat_there.weight);
            whole += weight;
            if at != seat {
                left += weight * u64::from(parts.map_or(prediction::FULL, |parts| parts[at]));
            }
        }
        (whole as f64, left as f64)
    }

    /// What a seat has to keep of its weight at a column so that the others do not grow too fast by what is bent away, and
    /// below what they are already given too much, in thousandths. `is_shut` tells who carries nothing there. Walks the
    /// seats: for the few moments at which a weight may move.
    pub(super) fn must_keep(
        &mut self,
        seat: usize,
        column: u32,
        is_shut: impl Fn(BindingId) -> bool,
        now: Mono,
    ) -> (u16, u16) {
        let (place, full) = (&self.seats[seat], f64::from(prediction::FULL));
        let carries = place.weight > 0 && place.class == Class::Free && !is_shut(place.binding);
        if self.spread != Spread::Reputation || !carries {
            return (0, 0);
        }
        let own = f64::from(place.weight);
        let (whole, left) = self.bent_weights(column, seat, is_shut);
        let settled = self.bent.get_mut(&column).map_or(1.0, |bent| {
            let hours = now.since(bent.at).as_secs_f64() / 3600.0;
            let lift = whole * full / (left + own * f64::from(bent.parts[seat]));
            let reach = prediction::GROWTH.powf(hours);
            (bent.settled, bent.at) = (lift.clamp(bent.settled / reach, bent.settled * reach), now);
            bent.settled
        });
        let keep = |lift: f64| ((whole * full / lift - left) / own).ceil().clamp(0.0, full) as u16;
        let allowed = (settled * prediction::GROWTH).min(prediction::LIFT_MAX);
        // A little further than weights are ever bent, or rounding would move them to and fro.
        (keep(allowed), keep(prediction::LIFT_MAX * 1.1))
    }

    /// What is bent is what the others are used to: weights are taken over as they were.
    pub(super) fn settle(&mut self, now: Mono) {
        let columns: Vec<u32> = self.bent.keys().copied().collect();
        for column in columns {
            let whole: f64 = self.seats.iter().map(|seat| f64::from(seat.weight)).sum();
            let Some(bent) = self.bent.get_mut(&column) else { continue };
            let parts = self.seats.iter().zip(&bent.parts);
            let left: f64 = parts.map(|(seat, part)| f64::from(seat.weight) * f64::from(*part)).sum();
            let lift = whole * f64::from(prediction::FULL) / left.max(1.0);
            (bent.settled, bent.at) = (lift.clamp(1.0, prediction::LIFT_MAX), now);
        }
    }

    /// Forgets what is known of a destination: its number may be given to another.
    pub(super) fn forget(&mut self, at: DestinationId) {
        self.views.retain(|view| view.key.place != Some(at));
        self.passed_over.remove(&at);
        self.uncounted.remove(&at);
    }

    /// Forgets a cover: its number may be given to another.
    pub(super) fn forget_cover(&mut self, cover: CoverId) {
        self.views.retain(|view| view.key.cover != cover);
    }
}
