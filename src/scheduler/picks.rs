//! Picking in a tier: in which order, and whom a pick is charged to.
//!
//! Picks are made in the main order or in a view ([`super::views`]). A pick made in a view is charged to the order it is a
//! part of as well, so that mail that is free to go anywhere evens out what mail that is not has taken, by at most one
//! message per binding. Under reputation each provider has a whole of its own: what a binding carries where it does well
//! must not cost it the trickle that measures it where it does badly.

use super::cover::Left;
use super::fair::{ALL_AT_ONCE, Fair};
use super::headroom::Headroom;
use super::order::{Answer, Order};
use super::tier::{Scope, Seat, Tier};
use super::views::{Bars, Key, View};
use super::{DestinationId, Families};
use crate::clock::Mono;
use crate::config::Spread;

/// Refused by their routes in one pick, in a tier above [`ALL_AT_ONCE`]: then the destination gets its own view at once. As
/// many that wait to be granted something end the pick: some of them are asked for, which takes them out of the way.
const WALK_MAX: u32 = 64;

/// Members of all views of destinations and covers: so many times the seats of the tier, and some.
const PLACES_MAX: usize = 16;

/// How many of these views there are at most: each is told of those that come back into play.
const PASSING_MAX: usize = 256;

/// What a candidate says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Yes,
    /// Not this request.
    No,
    /// Not before something has been granted.
    Wants,
    /// Nothing to this destination: until a moment, or until an event.
    Shut(Option<Mono>),
}

impl Tier {
    /// An order over these seats (`None`: all) with the weights of a column.
    pub(super) fn order_of(&self, members: Option<&[u32]>, column: u32, seed: u64) -> Order {
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

    /// The view for a scope: the main order's key where all of the tier comes into question.
    pub(super) fn key(&self, scope: Scope, column: u32) -> Key {
        let any = Families { v4: true, v6: true };
        let column = if self.spread == Spread::Reputation { column } else { 0 };
        let families = if self.is_mixed { scope.families } else { any };
        Key { families, region: scope.region, cover: scope.cover, column, place: None }
    }

    /// Picks, charges and returns the next seat that `judge` says yes to, for mail to `at`. `left` are the seats that the
    /// cover of the key leaves.
    pub(super) fn pick(
        &mut self,
        key: Key,
        left: Option<&Left>,
        at: DestinationId,
        now: Mono,
        mut judge: impl FnMut(&Seat) -> Judgement,
    ) -> Option<usize> {
        let placed = Key { place: Some(at), ..key };
        if let Some(view) = self.find(placed) {
            return self.pick_in(Some(view), u32::MAX, now, &mut judge).0;
        }
        let view = self.find_or_make(key, left, now);
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
        let view = self.make(placed, left, now);
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
        let (mut refused, mut wanting) = (0, 0);
        let mut pass = || {
            refused += 1;
            if refused >= limit { Answer::Stop } else { Answer::Skip }
        };
        let is_large = seats.len() > ALL_AT_ONCE;
        let mut wants = || {
            wanting += 1;
            if is_large && wanting >= WALK_MAX { Answer::Stop } else { Answer::Skip }
        };
        let share = |seat: usize| shares.get(seat).copied().unwrap_or(0);
        let Some(view) = view else {
            let picked = main.pick(share, |seat| match judge(&seats[seat]) {
                Judgement::Yes => Answer::Take,
                Judgement::No => Answer::Skip,
                Judgement::Wants => wants(),
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
                    (Judgement::Wants, _) => wants(),
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
    fn find_or_make(&mut self, key: Key, left: Option<&Left>, now: Mono) -> Option<usize> {
        if key == Key::all(0) {
            return None;
        }
        Some(match self.find(key) {
            Some(view) => view,
            None => self.make(key, left, now),
        })
    }

    fn make(&mut self, key: Key, left: Option<&Left>, now: Mono) -> usize {
        let scope = Scope { region: key.region, families: key.families, cover: key.cover };
        let in_scope = |seat: &usize| self.covers(scope, &self.seats[*seat]);
        let is_all = self.groups.iter().all(|group| scope.covers(group.region, group.families));
        let members: Option<Vec<u32>> = match left {
            Some(left) => Some(left.iter().filter(in_scope).map(|seat| seat as u32).collect()),
            None if is_all => None,
            None => Some((0..self.seats.len()).filter(in_scope).map(|seat| seat as u32).collect()),
        };
        let count = members.as_ref().map_or(self.seats.len(), Vec::len);
        if key.is_passing() {
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

    /// Gives up views of destinations and covers until there is room for one of `count` members.
    fn make_way(&mut self, count: usize) {
        let size = |view: &View| view.members.as_ref().map_or(self.seats.len(), Vec::len);
        let passing = self.views.iter().filter(|view| view.key.is_passing());
        let (mut views, mut taken) = passing.fold((1, count), |(views, taken), view| (views + 1, taken + size(view)));
        let most = PLACES_MAX * (self.seats.len() + 64);
        while taken > most || views > PASSING_MAX {
            let passing = self.views.iter().enumerate().filter(|(_, view)| view.key.is_passing());
            let Some((oldest, _)) = passing.min_by_key(|(_, view)| view.used) else { return };
            let gone = self.views.swap_remove(oldest);
            taken -= gone.members.as_ref().map_or(self.seats.len(), Vec::len);
            views -= 1;
        }
    }

    /// Something about a route may have changed: whoever is barred for it is asked again.
    pub(super) fn unbar(&mut self, seat: usize, at: DestinationId) {
        if self.views.is_empty() {
            return;
        }
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
}
