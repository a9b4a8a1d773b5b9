//! One tier of a pool: its seats, who of them is in play, and the orders over them.
//!
//! Seats are of *groups*: the same region and the same address family. Whatever has to be known of "those of the region
//! that reach this destination" — how many can be counted on, how much weight is in play — is a sum over a handful of
//! groups, kept up when something changes, so that no pick walks the seats. What a destination takes away from that
//! ([`Tier::count_route`]) is kept the same way, for destinations that take something away.
//!
//! Picks are made in the main order or in a view ([`super::views`]). A pick made in a view is charged to the order it is a
//! part of as well, so that mail that is free to go anywhere evens out what mail that is not has taken, by at most one
//! message per binding.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use rand::Rng;
use smallvec::SmallVec;

use super::fair::{ALL_AT_ONCE, Fair};
use super::headroom::Headroom;
use super::order::{Answer, Order};
use super::pool::Class;
use super::state::PairHasher;
use super::success;
use super::views::{Bars, Key, View};
use super::{BindingId, DestinationId, Families, RegionId};
use crate::clock::Mono;
use crate::config::Spread;

/// Refused by their routes in one pick, in a tier above [`ALL_AT_ONCE`]: then the destination gets its own view at once.
const WALK_MAX: u32 = 64;

/// Views of destinations: so many times the seats of the tier, and some.
const PLACES_MAX: usize = 16;

/// A binding in a tier.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) binding: BindingId,
    pub(super) weight: u32,
    pub(super) is_v6: bool,
    pub(super) class: Class,
    pub(super) group: u16,
}

/// What is known of a member of a tier before it takes its seat.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newcomer {
    pub(super) binding: BindingId,
    pub(super) weight: u32,
    pub(super) is_v6: bool,
    pub(super) region: Option<RegionId>,
}

/// More than there are classes.
const CLASSES: usize = 16;

/// Which seats come into question for a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    pub(super) region: Option<RegionId>,
    pub(super) families: Families,
}

/// Seats of the same region and family; only those with a weight are counted.
#[derive(Clone, Debug)]
struct Group {
    region: Option<RegionId>,
    is_v6: bool,
    seats: usize,
    /// Of them to count on.
    counted: usize,
    /// Weight in play.
    weight: u64,
    /// Seats by class, for looking at some of each.
    by_class: [Vec<u32>; CLASSES],
}

impl Scope {
    fn covers(self, region: Option<RegionId>, is_v6: bool) -> bool {
        (self.region.is_none() || self.region == region) && if is_v6 { self.families.v6 } else { self.families.v4 }
    }
}

/// What a candidate says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Yes,
    /// Not this request.
    No,
    /// Nothing to this destination: until a moment, or until an event.
    Shut(Option<Mono>),
}

type ByDestination<T> = HashMap<DestinationId, T, BuildHasherDefault<PairHasher>>;

/// One tier. `seats` are in a shuffled order that breaks ties; `as_written` lists them as in the configuration.
#[derive(Clone, Debug)]
pub(super) struct Tier {
    pub(super) seats: Vec<Seat>,
    pub(super) as_written: Vec<u32>,
    spread: Spread,
    seed: u64,
    groups: Vec<Group>,
    /// Seats that are counted on, but not at this destination, by group.
    uncounted: ByDestination<SmallVec<[usize; 2]>>,
    main: Order,
    views: Vec<View>,
    uses: u64,
    /// Members that mail to a destination had to pass over.
    passed_over: ByDestination<usize>,
    /// Used shares of the day, for headroom.
    shares: Vec<u64>,
    /// Bent weights in twentieths, by column and seat, for reputation; columns nobody has asked for are missing.
    bent: HashMap<u32, Vec<u8>>,
    /// Place within its class list.
    listed: Vec<u32>,
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
        for (place, (written, member)) in members.into_iter().enumerate() {
            as_written[written] = place as u32;
            let Newcomer { binding, weight, is_v6, region } = member;
            let known = groups.iter().position(|group| (group.region, group.is_v6) == (region, is_v6));
            let group = known.unwrap_or_else(|| {
                let by_class = std::array::from_fn(|_| Vec::new());
                groups.push(Group { region, is_v6, seats: 0, counted: 0, weight: 0, by_class });
                groups.len() - 1
            });
            let list = &mut groups[group].by_class[Class::Suspended as usize];
            listed.push(list.len() as u32);
            if weight > 0 {
                list.push(place as u32);
                groups[group].seats += 1;
                groups[group].counted += usize::from(counts_suspended);
            }
            seats.push(Seat { binding, weight, is_v6, class: Class::Suspended, group: group as u16 });
        }
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
            listed,
            credit: 0,
        };
        tier.main = tier.order_of(None, 0, tier.seed);
        tier
    }

    /// An order over these seats (`None`: all) with the weights of a column.
    fn order_of(&self, members: Option<&[u32]>, column: u32, seed: u64) -> Order {
        let weight = |seat: usize| self.weight(seat, column);
        let weights: Vec<u32> = match members {
            None => (0..self.seats.len()).map(weight).collect(),
            Some(members) => members.iter().map(|&seat| weight(seat as usize)).collect(),
        };
        match self.spread {
            Spread::Headroom => Order::Headroom(Headroom::new(weights, seed)),
            Spread::Weighted | Spread::Reputation => Order::Fair(Fair::new(weights, seed)),
        }
    }

    fn weight(&self, seat: usize, column: u32) -> u32 {
        let weight = self.seats[seat].weight;
        match self.spread {
            Spread::Reputation => weight * u32::from(self.bent.get(&column).map_or(success::FULL, |bent| bent[seat])),
            Spread::Weighted | Spread::Headroom => weight,
        }
    }

    fn covered(&self, scope: Scope) -> impl Iterator<Item = (usize, &Group)> {
        self.groups.iter().enumerate().filter(move |(_, group)| scope.covers(group.region, group.is_v6))
    }

    /// Whether a seat comes into question.
    pub(super) fn covers(&self, scope: Scope, seat: &Seat) -> bool {
        let group = &self.groups[usize::from(seat.group)];
        scope.covers(group.region, group.is_v6)
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
        let at = self.listed[seat] as usize;
        group.by_class[old as usize].swap_remove(at);
        if let Some(&moved) = group.by_class[old as usize].get(at) {
            self.listed[moved as usize] = at as u32;
        }
        let list = &mut group.by_class[class as usize];
        self.listed[seat] = list.len() as u32;
        list.push(seat as u32);
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

    /// Bends the weight of a seat at a column to so many twentieths.
    pub(super) fn bend(&mut self, seat: usize, column: u32, twentieths: u8) {
        if self.spread != Spread::Reputation {
            return;
        }
        let seats = self.seats.len();
        self.bent.entry(column).or_insert_with(|| vec![success::FULL; seats])[seat] = twentieths;
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

    /// The view for a scope: the main order's key where all of the tier comes into question.
    pub(super) fn key(&self, scope: Scope, column: u32) -> Key {
        let has = |is_v6| self.groups.iter().any(|group| group.is_v6 == is_v6 && group.seats > 0);
        let any = Families { v4: true, v6: true };
        let column = if self.spread == Spread::Reputation { column } else { 0 };
        let is_mixed = self.groups.len() > 1 && has(false) && has(true);
        Key { families: if is_mixed { scope.families } else { any }, region: scope.region, column, place: None }
    }

    /// Picks, charges and returns the next seat that `judge` says yes to, for mail to `at`.
    pub(super) fn pick(
        &mut self,
        key: Key,
        at: DestinationId,
        now: Mono,
        mut judge: impl FnMut(&Seat) -> Judgement,
    ) -> Option<usize> {
        let placed = Key { place: Some(at), ..key };
        if let Some(view) = self.find(placed) {
            return self.pick_in(Some(view), u32::MAX, now, &mut judge).0;
        }
        let view = self.find_or_make(key, now);
        let limit = if self.seats.len() > ALL_AT_ONCE { WALK_MAX } else { u32::MAX };
        let (picked, refused) = self.pick_in(view, limit, now, &mut judge);
        if refused == 0 {
            return picked;
        }
        let passed_over = self.passed_over.entry(at).or_default();
        *passed_over += refused as usize;
        if refused < limit && *passed_over < 2 * self.seats.len() + WALK_MAX as usize {
            return picked;
        }
        self.passed_over.remove(&at);
        let view = self.make(placed, now);
        if picked.is_some() { picked } else { self.pick_in(Some(view), u32::MAX, now, &mut judge).0 }
    }

    /// Picks in a view or in the main order. Also returns how many were refused by their routes and not barred; at `limit`
    /// of them nobody is picked.
    fn pick_in(
        &mut self,
        view: Option<usize>,
        limit: u32,
        now: Mono,
        judge: &mut impl FnMut(&Seat) -> Judgement,
    ) -> (Option<usize>, u32) {
        let Self { seats, shares, main, views, .. } = self;
        let mut refused = 0;
        let mut pass = || {
            refused += 1;
            if refused >= limit { Answer::Stop } else { Answer::Skip }
        };
        let share = |seat: usize| shares.get(seat).copied().unwrap_or(0);
        let Some(view) = view else {
            let picked = main.pick(share, |seat| match judge(&seats[seat]) {
                Judgement::Yes => Answer::Take,
                Judgement::No => Answer::Skip,
                Judgement::Shut(_) => pass(),
            });
            return (picked, refused);
        };
        self.uses += 1;
        let View { key, members, order, bars, used } = &mut views[view];
        *used = self.uses;
        let seat_of = |local: usize| members.as_ref().map_or(local, |members| members[local] as usize);
        while let Some(local) = bars.as_mut().and_then(|bars| bars.next_over(now)) {
            let seat = seat_of(local);
            if seats[seat].class.is_in_play() {
                order.set_present(local, true, share(seat));
            }
        }
        let picked = order.pick(
            |local| share(seat_of(local)),
            |local| {
                let seat = &seats[seat_of(local)];
                if !seat.class.is_in_play() {
                    return Answer::Leave;
                }
                match (judge(seat), bars.as_mut()) {
                    (Judgement::Yes, _) => Answer::Take,
                    (Judgement::No, _) => Answer::Skip,
                    (Judgement::Shut(_), None) => pass(),
                    (Judgement::Shut(until), Some(bars)) => {
                        bars.bar(local, until, now);
                        Answer::Leave
                    }
                }
            },
        );
        let picked = picked.map(seat_of);
        let (key, is_useless) = (*key, bars.as_ref().is_some_and(|bars| bars.is_useless(now)));
        if let Some(seat) = picked
            && key != Key::all(key.column)
        {
            self.in_whole(key.column, seat, Order::charge);
        }
        if is_useless {
            self.views.swap_remove(view);
        }
        (picked, refused)
    }

    /// Charges a pick that was not made by turn.
    pub(super) fn charge(&mut self, key: Key, at: DestinationId, seat: usize) {
        self.in_part(key, at, seat, Order::charge);
        self.in_whole(key.column, seat, Order::charge);
    }

    /// Takes a pick back.
    pub(super) fn refund(&mut self, key: Key, at: DestinationId, seat: usize) {
        self.in_part(key, at, seat, Order::refund);
        self.in_whole(key.column, seat, Order::refund);
    }

    /// In the order that picks for `key` are made in, where it is not the whole one.
    fn in_part(&mut self, key: Key, at: DestinationId, seat: usize, act: impl Fn(&mut Order, usize)) {
        let placed = self.find(Key { place: Some(at), ..key });
        let found = placed.or_else(|| if key == Key::all(key.column) { None } else { self.find(key) });
        if let Some(view) = found
            && let Some(local) = self.views[view].local(seat)
        {
            act(&mut self.views[view].order, local);
        }
    }

    /// In the order of everybody with the weights of a column.
    fn in_whole(&mut self, column: u32, seat: usize, act: impl Fn(&mut Order, usize)) {
        if column == 0 {
            act(&mut self.main, seat);
        } else if let Some(view) = self.find(Key::all(column)) {
            act(&mut self.views[view].order, seat);
        }
    }

    fn find(&self, key: Key) -> Option<usize> {
        self.views.iter().position(|view| view.key == key)
    }

    /// `None` for the main order.
    fn find_or_make(&mut self, key: Key, now: Mono) -> Option<usize> {
        if key == Key::all(0) {
            return None;
        }
        Some(match self.find(key) {
            Some(view) => view,
            None => self.make(key, now),
        })
    }

    fn make(&mut self, key: Key, now: Mono) -> usize {
        let scope = Scope { region: key.region, families: key.families };
        let is_all = self.groups.iter().all(|group| scope.covers(group.region, group.is_v6));
        let seats = 0..self.seats.len();
        let members: Option<Vec<u32>> = (!is_all)
            .then(|| seats.filter(|&seat| self.covers(scope, &self.seats[seat])).map(|seat| seat as u32).collect());
        let count = members.as_ref().map_or(self.seats.len(), Vec::len);
        if key.place.is_some() {
            self.make_way(count);
        }
        self.uses += 1;
        let mut order = self.order_of(members.as_deref(), key.column, self.seed.wrapping_add(self.uses));
        for local in 0..count {
            let seat = members.as_ref().map_or(local, |members| members[local] as usize);
            if self.seats[seat].class.is_in_play() {
                order.set_present(local, true, self.shares.get(seat).copied().unwrap_or(0));
            }
        }
        let bars = key.place.map(|_| Bars::new(count, now));
        self.views.push(View { key, members, order, bars, used: self.uses });
        self.views.len() - 1
    }

    /// Gives up views of destinations until there is room for one of `count` members.
    fn make_way(&mut self, count: usize) {
        let size = |view: &View| view.members.as_ref().map_or(self.seats.len(), Vec::len);
        let of_places = self.views.iter().filter(|view| view.key.place.is_some());
        let mut taken: usize = of_places.map(size).sum::<usize>() + count;
        let most = PLACES_MAX * (self.seats.len() + 64);
        while taken > most {
            let places = self.views.iter().enumerate().filter(|(_, view)| view.key.place.is_some());
            let Some((oldest, _)) = places.min_by_key(|(_, view)| view.used) else { return };
            let gone = self.views.swap_remove(oldest);
            taken -= gone.members.as_ref().map_or(self.seats.len(), Vec::len);
        }
    }

    /// Something about a route may have changed: whoever is barred for it is asked again.
    pub(super) fn unbar(&mut self, seat: usize, at: DestinationId) {
        let (is_in_play, share) = (self.is_in_play(seat), self.shares.get(seat).copied().unwrap_or(0));
        for view in self.views.iter_mut().filter(|view| view.key.place == Some(at)) {
            if let Some(local) = view.local(seat)
                && view.unbar(local)
                && is_in_play
            {
                view.order.set_present(local, true, share);
            }
        }
    }

    /// Forgets what is known of a destination: its number may be given to another.
    pub(super) fn forget(&mut self, at: DestinationId) {
        self.views.retain(|view| view.key.place != Some(at));
        self.passed_over.remove(&at);
        self.uncounted.remove(&at);
    }

    /// Some of the seats that come into question, of every class some: up to about `most`, those that may be free first
    /// among them.
    pub(super) fn some(&self, scope: Scope, at: DestinationId, most: usize) -> Vec<u32> {
        let lists: SmallVec<[&Vec<u32>; 16]> =
            self.covered(scope).flat_map(|(_, group)| &group.by_class).filter(|list| !list.is_empty()).collect();
        let each = (most / (lists.len() + 1)).max(1);
        let mut some: Vec<u32> = lists.iter().flat_map(|list| list.iter().take(each).copied()).collect();
        for view in self.views.iter().filter(|view| view.key.place == Some(at)) {
            let barred = view.bars.iter().flat_map(Bars::some).take(each);
            let seats = barred.map(|local| view.members.as_ref().map_or(local as u32, |members| members[local]));
            some.extend(seats.filter(|&seat| self.covers(scope, &self.seats[seat as usize])));
        }
        some.sort_unstable();
        some.dedup();
        some
    }
}
