//! Size and back-off of one route together, and how the scheduler keeps them.

use std::time::Duration;

use super::super::binding::RouteLimits;
use super::super::refresh::on_wall;
use super::super::state::{Route, Scheduler, pair};
use super::super::{BindingId, DestinationId, Experience};
use super::adaptive::{Bounds, FORGET_AFTER, Pace, began};
use super::{Adaptive, BackOff, effective};
use crate::clock::{Mono, Now, Wall};
use crate::config;
use crate::message::{BindingName, DestinationName};
use crate::reputation::{Health, Reason};

/// What a route has learnt about its window.
#[derive(Debug, Default)]
pub(in crate::scheduler) struct Sizing {
    size: Adaptive,
    /// Rare, hence not in line.
    back_off: Option<Box<BackOff>>,
    /// In line to be forgotten.
    is_fading: bool,
}

/// The window of one route, for status and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteWindow {
    /// Attempts under way.
    pub in_use: u32,
    /// Most at the same time now.
    pub limit: u32,
    /// `max_outbound_connections`.
    pub ceiling: u32,
    /// A receiver's wish for less is being followed.
    pub is_backing_off: bool,
    /// No connection before that.
    pub paused_until: Option<Wall>,
}

impl Sizing {
    /// Connections allowed, pauses aside.
    fn limit(&self, limits: &RouteLimits) -> u32 {
        let is_plain = !limits.is_adaptive && self.back_off.is_none();
        if is_plain { limits.window } else { self.size.size(bounds(limits)) }
    }

    fn paused_until(&self, now: Mono) -> Option<Mono> {
        self.back_off.as_ref()?.paused_until(now)
    }

    /// Whether a new route would be treated the same, or nothing of this one holds any more.
    fn is_forgettable(&self, limits: &RouteLimits, now: Mono) -> bool {
        let is_plain = !limits.is_adaptive || self.size.is_neutral(bounds(limits));
        (is_plain && self.back_off.is_none()) || self.is_stale(now)
    }

    fn is_stale(&self, now: Mono) -> bool {
        self.paused_until(now).is_none() && self.size.is_stale(now)
    }

    /// The receiver asked for less, at `now`, in answer to an attempt of `began`.
    fn asked(&mut self, recipe: config::BackOff, stop: Duration, began: Mono, now: Mono) {
        let back_off = match &mut self.back_off {
            Some(known) => {
                let until = known.until();
                if !known.asked_again(stop, began, now) && known.until() == until {
                    return;
                }
                known
            }
            none => none.insert(Box::new(BackOff::new(recipe, stop, now))),
        };
        self.size.restart(back_off.until(), now);
    }

    fn answered(&mut self, seen: &Experience, in_use: u32, limits: &RouteLimits, window: &config::Window, now: Mono) {
        if self.back_off.is_some() && self.is_stale(now) {
            self.back_off = None;
        }
        if !window.adaptive && self.back_off.is_none() {
            self.size = Adaptive::default();
            return;
        }
        let grow_every = self.back_off.as_ref().map_or(window.grow_every, |back_off| back_off.add_every());
        let pace = Pace { grow_every, deferral_ratio: window.deferral_ratio as f32 };
        self.size.answered(seen, in_use, bounds(limits), pace, now);
        if !self.size.is_careful() {
            self.back_off = None;
        }
    }
}

fn bounds(limits: &RouteLimits) -> Bounds {
    Bounds { start: limits.start, ceiling: limits.window }
}

impl Route {
    /// Connections allowed now, pauses aside. A throttle for the receiver's wish divides rates only: the back-off sizes
    /// the window.
    pub(in crate::scheduler) fn window_limit(&self, limits: &RouteLimits, now: Now) -> u32 {
        let divisor = match self.standing.health() {
            Health::Throttled { reason: Reason::RateLimited, .. } => 1,
            _ => self.standing.divisor(now.wall),
        };
        effective(self.sizing.limit(limits), divisor)
    }

    /// Whether one more connection may be used.
    pub(in crate::scheduler) fn has_room(&self, limits: &RouteLimits, now: Now) -> bool {
        self.window.in_use() < self.window_limit(limits, now) && self.sizing.paused_until(now.mono).is_none()
    }

    /// The same by the monotonic clock.
    pub(in crate::scheduler) fn sizing_pause(&self, now: Now) -> Option<Mono> {
        self.sizing.paused_until(now.mono)
    }

    /// End of the pause that the receiver asked for.
    pub(in crate::scheduler) fn paused_until(&self, now: Now) -> Option<Wall> {
        self.sizing.paused_until(now.mono).map(|until| on_wall(until, now))
    }

    /// Whether there is nothing of its window to remember.
    pub(in crate::scheduler) fn has_plain_window(&self, limits: &RouteLimits, now: Mono) -> bool {
        self.window.in_use() == 0 && self.sizing.is_forgettable(limits, now)
    }
}

impl Scheduler {
    /// Moves the window of a route by what an attempt was answered.
    pub(in crate::scheduler) fn learn_window(
        &mut self,
        binding: BindingId,
        destination: DestinationId,
        seen: &Experience,
        now: Now,
    ) {
        if seen.slow_down.is_some() {
            let stop = seen.stop.unwrap_or_default();
            self.back_off(binding, destination, stop, began(seen, now.mono), now);
            if seen.whole_range {
                let others: Vec<_> = self.range_of(binding).iter().copied().filter(|&id| id != binding).collect();
                for other in others {
                    self.back_off(other, destination, stop, now.mono, now);
                }
            }
            return;
        }
        let limits = *self.table.limits(binding, self.destinations[destination.index()].column);
        if let Some(route) = self.routes.get_mut(binding, destination) {
            route.sizing.answered(seen, route.window.in_use(), &limits, &self.window, now.mono);
        }
    }

    fn back_off(&mut self, binding: BindingId, destination: DestinationId, stop: Duration, began: Mono, now: Now) {
        let recipe = self.table.limits(binding, self.destinations[destination.index()].column).back_off;
        self.route_mut(binding, destination).sizing.asked(recipe, stop, began, now.mono);
        self.prune(binding, destination);
    }

    /// Takes up a back-off of which only the health of the route is known, after a restart. While running the answers tell
    /// of it themselves, and of wishes that are none about the route they tell nothing.
    pub(in crate::scheduler) fn recall_back_off(&mut self, binding: BindingId, destination: DestinationId, now: Now) {
        let recipe = self.table.limits(binding, self.destinations[destination.index()].column).back_off;
        let Some(route) = self.routes.get_mut(binding, destination) else { return };
        let Health::Throttled { reason: Reason::RateLimited, until, .. } = *route.standing.health() else { return };
        let rest = until.since(now.wall);
        if route.sizing.back_off.is_none() && !rest.is_zero() {
            let back_off = BackOff::resumed(recipe, rest, now.mono);
            route.sizing.size.restart(back_off.until(), now.mono);
            route.sizing.back_off = Some(Box::new(back_off));
        }
    }

    /// Sees to it that a route which only its window keeps in memory is looked at again when that is forgotten.
    pub(in crate::scheduler) fn fade(&mut self, binding: BindingId, destination: DestinationId, now: Mono) {
        if let Some(route) = self.routes.get_mut(binding, destination)
            && !std::mem::replace(&mut route.sizing.is_fading, true)
        {
            let at = Mono::from_nanos(now.as_nanos().saturating_add(FORGET_AFTER.as_nanos() as u64));
            self.fading.push_back((at, binding, destination));
        }
    }

    /// Forgets the routes whose time has come.
    pub(in crate::scheduler) fn forget_faded(&mut self, now: Mono) {
        while let Some(&(at, binding, destination)) = self.fading.front()
            && at <= now
        {
            self.fading.pop_front();
            if let Some(route) = self.routes.0.get_mut(&pair(binding, destination)) {
                route.sizing.is_fading = false;
                self.prune(binding, destination);
            }
        }
    }

    /// The window of a route; `None` where a name is not known.
    pub fn route_window(&self, binding: &BindingName, destination: &DestinationName, now: Now) -> Option<RouteWindow> {
        let (binding, destination) = (self.binding_id(binding)?, self.destination_id(destination)?);
        let limits = self.table.limits(binding, self.destinations[destination.index()].column);
        let route = self.routes.get(binding, destination);
        Some(RouteWindow {
            in_use: route.map_or(0, |route| route.window.in_use()),
            limit: route.map_or(limits.start, |route| route.window_limit(limits, now)),
            ceiling: limits.window,
            is_backing_off: route.is_some_and(|route| route.sizing.back_off.is_some()),
            paused_until: route.and_then(|route| route.paused_until(now)),
        })
    }
}
