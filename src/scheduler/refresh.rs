//! What time and settled leases change: who is in play, and which routes are remembered.
//!
//! [`Scheduler::refresh`] is the one place that decides whether a binding is in play in its tiers.

use std::cmp::Reverse;

use super::cap::{Ledger, Owner, Room};
use super::pool::Class;
use super::rate::Limiter;
use super::state::{Binding, Route, Scheduler, pair, unpair};
use super::takeover::set_rate;
use super::{BindingId, DestinationId, Experience};
use crate::clock::{Mono, Now, Wall};
use crate::config::Spread;

impl Scheduler {
    /// The next moment at which something changes by itself: a binding comes back, or a day starts.
    pub fn next_wakeup(&self, now: Now) -> Option<Wall> {
        let wall = self.wall_timers.peek().map(|Reverse((at, _))| *at);
        let mono = self.mono_timers.peek().map(|Reverse((at, _))| on_wall(*at, now));
        [wall, mono, Some(self.ledger.day().end)].into_iter().flatten().min()
    }

    /// Moves on to `now`: starts a new day, brings bindings back whose time has come. Every selection does this first;
    /// call it before [`explain`](Self::explain) and [`usage`](Self::usage) where nothing was selected for a while.
    pub fn tick(&mut self, now: Now) {
        self.told.tell(now.mono);
        self.forget_faded(now.mono);
        if self.ledger.roll(now.wall) {
            self.set_limits_of_day();
            self.ledger.ask_for_first();
            self.refresh_all(now);
            self.refresh_routes(now);
        }
        self.warmups.write_what_is_old(now.wall);
        while let Some(&Reverse((at, id))) = self.wall_timers.peek()
            && at <= now.wall
        {
            self.wall_timers.pop();
            self.bindings[id.index()].wall_timers.pop();
            self.refresh(id, now);
        }
        while let Some(&Reverse((at, id))) = self.mono_timers.peek()
            && at <= now.mono
        {
            self.mono_timers.pop();
            if self.bindings[id.index()].mono_timer == Some(at) {
                self.bindings[id.index()].mono_timer = None;
                self.refresh(id, now);
            }
        }
    }

    pub(super) fn refresh_all(&mut self, now: Now) {
        self.measure_pools();
        for id in (0..self.bindings.len() as u32).map(BindingId) {
            self.refresh(id, now);
        }
    }

    /// Works out anew for every route that is remembered whether it is to be counted on.
    pub(super) fn refresh_routes(&mut self, now: Now) {
        let known: Vec<u64> = self.routes.0.keys().copied().collect();
        for key in known {
            let (binding, destination) = unpair(key);
            self.refresh_route(binding, destination, now);
        }
    }

    /// Works out anew whether a route is to be counted on, and lets it be asked again where it was found shut. Comes after
    /// whatever may change that: its health, its cap, a grant, a slot that was freed.
    pub(super) fn refresh_route(&mut self, id: BindingId, destination: DestinationId, now: Now) {
        self.count_route(id, destination, now);
        for &(pool, tier, seat) in &self.bindings[id.index()].seats {
            self.pools[pool.index()].tiers[tier as usize].unbar(seat as usize, destination);
        }
    }

    /// The first half of [`Scheduler::refresh_route`], for what can only shut a route.
    pub(super) fn count_route(&mut self, id: BindingId, destination: DestinationId, now: Now) {
        let Some(route) = self.routes.get(id, destination) else { return };
        if route.class == Class::Free && route.account.is_none() && route.standing.is_active() {
            return;
        }
        let class = self.facts().route_class(id, destination, now);
        if class == route.class {
            return;
        }
        let Some(route) = self.routes.get_mut(id, destination) else { return };
        let old = std::mem::replace(&mut route.class, class);
        let (was_out, is_out) = (old != Class::Free, class != Class::Free);
        let out = &mut self.destinations[destination.index()].routes_out;
        *out = out.saturating_add_signed(i32::from(is_out) - i32::from(was_out));
        let Binding { shut, seats, .. } = &mut self.bindings[id.index()];
        shut.retain(|&(at, _)| at != destination);
        if is_out {
            shut.push((destination, class));
        }
        for &(pool, tier, seat) in seats.iter() {
            self.pools[pool.index()].set_route_class(tier as usize, seat as usize, destination, old, class);
        }
    }

    /// Works out anew whether a binding is in play in each of its tiers, and when that may change by itself.
    pub(super) fn refresh(&mut self, id: BindingId, now: Now) {
        let binding = &mut self.bindings[id.index()];
        let divisor = binding.standing.divisor(now.wall);
        if let (Some(limiter), Some(rate)) = (&mut binding.limiter, binding.limits.rate) {
            limiter.change(rate, divisor);
        }
        let (class, mut back) = binding.class(&self.ledger, divisor, now);
        let mut open_at = None;
        if class == Class::Rate {
            open_at = binding.limiter.as_ref().map(Limiter::ready);
        }
        if divisor > 1 {
            back = earliest(back, binding.standing.throttled_until());
        }
        let account = binding.account;
        for &(pool, tier, seat) in &binding.seats {
            let pool = &mut self.pools[pool.index()];
            let mut class_here = class;
            if class.is_in_play()
                && let Err(until) = self.ledger.paced(account, pool.pace, now.wall)
            {
                (class_here, back) = (Class::Pace, earliest(back, Some(until)));
            }
            let (tier, seat) = (tier as usize, seat as usize);
            pool.set_class(tier, seat, class_here, &binding.shut);
            if pool.spread == Spread::Headroom {
                pool.tiers[tier].set_share(seat, self.ledger.account(account).share_of(pool.yardstick));
            }
        }
        if let Some(at) = back
            && at > now.wall
            && at != Wall::from_millis(i64::MAX)
            && binding.wall_timers.last().is_none_or(|&known| at < known)
        {
            binding.wall_timers.push(at);
            self.wall_timers.push(Reverse((at, id)));
        }
        if let Some(at) = open_at
            && binding.mono_timer.is_none_or(|known| at < known)
        {
            binding.mono_timer = Some(at);
            self.mono_timers.push(Reverse((at, id)));
        }
    }

    /// Finds the largest allowance in each pool that goes by headroom: those without one are measured by it.
    fn measure_pools(&mut self) {
        for pool in self.pools.iter_mut().filter(|pool| pool.spread == Spread::Headroom) {
            let seats = pool.tiers.iter().flat_map(|tier| &tier.seats);
            let limits = seats.map(|seat| self.ledger.account(self.bindings[seat.binding.index()].account).limit());
            pool.yardstick = limits.filter(|&limit| limit != Ledger::UNLIMITED).max().unwrap_or(Ledger::UNLIMITED);
        }
    }

    /// Learns from what an attempt was answered.
    pub fn experienced(&mut self, binding: BindingId, destination: DestinationId, seen: &Experience, now: Now) {
        self.tick(now);
        self.warm_up(binding, destination, seen, now);
        self.learn_window(binding, destination, seen, now);
        self.learn_prediction(binding, destination, seen, now);
    }

    /// The route's memory, made where there was none. Provider routes are counted in the ledger also without a cap, so
    /// that a cap set during the day knows of the hours before.
    pub(super) fn route_mut(&mut self, binding: BindingId, destination: DestinationId) -> &mut Route {
        let column = self.destinations[destination.index()].column;
        let limits = *self.table.limits(binding, column);
        let cap = self.route_limit(binding, column, limits.cap);
        let place = &mut self.destinations[destination.index()];
        let owner = || {
            let binding = Some(&self.bindings[binding.index()]).filter(|binding| binding.exists)?;
            let provider = place.provider_name.clone().filter(|_| place.column > 0)?;
            Some(Owner::Route(binding.config.name.clone(), provider))
        };
        let route = match self.routes.0.entry(pair(binding, destination)) {
            std::collections::hash_map::Entry::Occupied(known) => {
                let route = known.into_mut();
                let ledger = &mut self.ledger;
                match route.account.filter(|&known| ledger.account(known).owner().is_some()) {
                    Some(account) => ledger.set_limit(account, cap),
                    // New, or another configuration has to say whose it is.
                    None => route.account = owner().map(|owner| ledger.open(owner, cap)),
                }
                route
            }
            std::collections::hash_map::Entry::Vacant(free) => {
                let account = owner().map(|owner| self.ledger.open(owner, cap));
                place.routes += 1;
                free.insert(Route { account, ..Route::default() })
            }
        };
        set_rate(&mut route.limiter, limits.rate, &self.told);
        route
    }

    /// Forgets a route about which there is nothing to remember.
    pub(super) fn prune(&mut self, binding: BindingId, destination: DestinationId) {
        let key = pair(binding, destination);
        let Some(route) = self.routes.0.get(&key) else { return };
        let is_idle = route.window.in_use() == 0
            && route.account.is_none()
            && route.limiter.is_none()
            && route.standing.is_active()
            && route.class == Class::Free;
        if !is_idle {
            return;
        }
        let (limits, now) =
            (self.table.limits(binding, self.destinations[destination.index()].column), self.told.now());
        if !route.has_plain_window(limits, now) {
            return self.fade(binding, destination, now);
        }
        self.routes.0.remove(&key);
        self.destinations[destination.index()].routes -= 1;
    }
}

impl Binding {
    /// What keeps it out everywhere, in the order of checks, and the moment at which to look again where there is one.
    fn class(&self, ledger: &Ledger, divisor: u32, now: Now) -> (Class, Option<Wall>) {
        if !self.exists || self.config.suspend_delivery || self.standing.room() == 0 {
            return (Class::Suspended, None);
        }
        match ledger.room(self.account, now.wall) {
            Room::Exhausted if self.is_warming => return (Class::Warmup, None),
            Room::Exhausted => return (Class::Capped, None),
            Room::Pending => return (Class::Grant, ledger.retry_at(self.account)),
            // To be asked for by the first request that meets it: what nobody needs is not taken from the day.
            Room::Askable | Room::Free(_) => {}
        }
        if !self.window.has_room(self.limits.window, divisor) {
            return (Class::Window, None);
        }
        if self.limiter.as_ref().is_some_and(|limiter| !limiter.is_open(now.mono)) {
            return (Class::Rate, None);
        }
        (if self.standing.is_out() { Class::Probation } else { Class::Free }, None)
    }
}

fn earliest(a: Option<Wall>, b: Option<Wall>) -> Option<Wall> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// A moment of the monotonic clock as wall time, rounded up to the next millisecond.
pub(super) fn on_wall(at: Mono, now: Now) -> Wall {
    let span = at.since(now.mono).as_nanos().div_ceil(1_000_000);
    now.wall.plus(std::time::Duration::from_millis(u64::try_from(span).unwrap_or(u64::MAX)))
}
