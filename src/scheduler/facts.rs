//! Judging a candidate: whether a binding may carry this request, and in full why not.
//!
//! [`Facts::admits`] is the short way, asked of whoever is next in line; [`Facts::verdict`] is the long one, in the order of
//! checks, for refusals and `explain`.

use super::binding::RouteLimits;
use super::cap::{AccountId, Ledger, Room};
use super::pool::{Class, Pool, Seat, Tier};
use super::refresh::on_wall;
use super::state::{Binding, Destination, Route, RouteTable, Routes, Tenant};
use super::verdict::CapOf;
use super::warmup::Warmups;
use super::{BindingId, Request, TenantId, Verdict};
use crate::clock::{Now, Wall};
use crate::config::Pace;

/// Everything a candidate is judged by.
pub(super) struct Facts<'a> {
    pub(super) bindings: &'a [Binding],
    pub(super) tenants: &'a [Tenant],
    pub(super) destinations: &'a [Destination],
    pub(super) table: &'a RouteTable,
    pub(super) routes: &'a Routes,
    pub(super) ledger: &'a Ledger,
    pub(super) warmups: &'a Warmups,
}

/// Whether a candidate may carry this request, apart from what keeps it out everywhere.
pub(super) enum Admission {
    Yes,
    No,
    /// Not before this key has been granted something.
    Wants(AccountId),
}

impl Facts<'_> {
    pub(super) fn limits(&self, binding: BindingId, request: &Request<'_>) -> &RouteLimits {
        self.table.limits(binding, self.destinations[request.destination.index()].column)
    }

    pub(super) fn route(&self, binding: BindingId, request: &Request<'_>) -> Option<&Route> {
        self.routes.get(binding, request.destination)
    }

    pub(super) fn admits(&self, seat: &Seat, pace: Pace, request: &Request<'_>, now: Now) -> Admission {
        if !reaches(seat, request) || excluded(seat.binding, request, now.wall).is_some() {
            return Admission::No;
        }
        let binding = &self.bindings[seat.binding.index()];
        let account = binding.account;
        if self.ledger.room(account, now.wall) == Room::Askable {
            return Admission::Wants(account);
        }
        if binding.is_warming && !request.engaged && self.for_others(seat.binding, now) == Some(0) {
            return Admission::No;
        }
        let Some(route) = self.route(seat.binding, request) else {
            return if self.limits(seat.binding, request).window > 0 { Admission::Yes } else { Admission::No };
        };
        if route.standing.room() == 0 || !route.has_room(self.limits(seat.binding, request), now) {
            return Admission::No;
        }
        if route.limiter.as_ref().is_some_and(|limiter| !limiter.is_open(now.mono)) {
            return Admission::No;
        }
        match route.account.map(|account| (account, self.ledger.room(account, now.wall))) {
            None => Admission::Yes,
            Some((account, Room::Askable)) => Admission::Wants(account),
            Some((account, Room::Free(_))) if self.ledger.paced(account, pace, now.wall).is_ok() => Admission::Yes,
            Some(_) => Admission::No,
        }
    }

    /// How many seats of a tier can be counted on for this request; may stop at `enough`.
    fn dependable(&self, pool: &Pool, tier: &Tier, request: &Request<'_>, enough: usize, now: Now) -> usize {
        let at_most = tier.dependable(request.families);
        let destination = &self.destinations[request.destination.index()];
        let is_plain =
            destination.routes_out == 0 && request.excluded.is_empty() && !self.table.is_capped(destination.column);
        if at_most == 0 || is_plain {
            return at_most;
        }
        let counts = |seat: &&Seat| {
            seat.weight > 0
                && pool.counts_on(seat.class)
                && reaches(seat, request)
                && pool.counts_on(self.route_class(seat.binding, request, now))
        };
        tier.seats.iter().filter(counts).take(enough).count()
    }

    fn route_class(&self, binding: BindingId, request: &Request<'_>, now: Now) -> Class {
        if excluded(binding, request, now.wall).is_some() {
            return Class::Suspended;
        }
        let Some(route) = self.route(binding, request) else { return Class::Free };
        if route.standing.is_out() {
            return Class::Suspended;
        }
        match route.account.map(|account| self.ledger.room(account, now.wall)) {
            Some(Room::Exhausted) if self.is_route_warming(binding, request) => Class::Warmup,
            Some(Room::Exhausted) => Class::Capped,
            _ => Class::Free,
        }
    }

    pub(super) fn open_tiers(&self, pool: &Pool, request: &Request<'_>, now: Now) -> usize {
        pool.open_tiers(|tier, enough| self.dependable(pool, tier, request, enough, now))
    }

    /// The full answer for a seat of an open tier.
    fn verdict(&self, seat: &Seat, pace: Pace, request: &Request<'_>, now: Now) -> Verdict {
        self.standing_verdict(seat, request, now)
            .or_else(|| self.cap_verdict(seat, pace, request, now))
            .or_else(|| self.reserved_verdict(seat, request, now))
            .or_else(|| self.tenant_cap_verdict(request, now))
            .or_else(|| self.window_verdict(seat, request, now))
            .or_else(|| self.rate_verdict(seat, request, now))
            .or_else(|| self.tenant_rate_verdict(request.tenant, now))
            .unwrap_or(Verdict::Eligible)
    }

    fn standing_verdict(&self, seat: &Seat, request: &Request<'_>, now: Now) -> Option<Verdict> {
        let binding = &self.bindings[seat.binding.index()];
        if seat.weight == 0 {
            return Some(Verdict::Drained);
        }
        if !binding.exists || binding.config.suspend_delivery {
            return Some(Verdict::OperatorSuspended { until: None });
        }
        binding
            .standing
            .verdict_for_binding()
            .or_else(|| self.route(seat.binding, request)?.standing.verdict_for_route())
            .or_else(|| (!reaches(seat, request)).then_some(Verdict::AddressFamily))
            .or_else(|| excluded(seat.binding, request, now.wall).map(|until| Verdict::Excluded { until }))
    }

    fn cap_verdict(&self, seat: &Seat, pace: Pace, request: &Request<'_>, now: Now) -> Option<Verdict> {
        let binding = &self.bindings[seat.binding.index()];
        let route = self.route(seat.binding, request).and_then(|route| route.account);
        for (account, of) in [(Some(binding.account), CapOf::Binding), (route, CapOf::Route)] {
            let Some(account) = account else { continue };
            match self.room_verdict(account, of, now) {
                Some(Verdict::Cap { until, .. }) if of == CapOf::Binding && binding.is_warming => {
                    return Some(Verdict::Warmup { until });
                }
                Some(Verdict::Cap { until, .. })
                    if of == CapOf::Route && self.is_route_warming(seat.binding, request) =>
                {
                    return Some(Verdict::Warmup { until });
                }
                Some(verdict) => return Some(verdict),
                None => {}
            }
            if let Err(until) = self.ledger.paced(account, pace, now.wall) {
                return Some(Verdict::Pace { until });
            }
        }
        None
    }

    fn is_route_warming(&self, binding: BindingId, request: &Request<'_>) -> bool {
        self.warmups.allowance(binding, self.destinations[request.destination.index()].column).is_some()
    }

    /// Recipients of today's allowance of a binding in warm-up that are not kept for engaged mail; `None` where nothing
    /// is kept at all.
    pub(super) fn for_others(&self, binding: BindingId, now: Now) -> Option<u64> {
        self.warmups.for_others(binding, self.ledger.account(self.bindings[binding.index()].account), now.wall)
    }

    fn reserved_verdict(&self, seat: &Seat, request: &Request<'_>, now: Now) -> Option<Verdict> {
        let binding = &self.bindings[seat.binding.index()];
        if !binding.is_warming || request.engaged || self.for_others(seat.binding, now) != Some(0) {
            return None;
        }
        let until = self.warmups.for_others_at(seat.binding, self.ledger.account(binding.account))?;
        Some(Verdict::Reserved { until })
    }

    fn room_verdict(&self, account: AccountId, of: CapOf, now: Now) -> Option<Verdict> {
        match self.ledger.room(account, now.wall) {
            Room::Free(_) | Room::Askable => None,
            Room::Pending => Some(Verdict::GrantPending),
            Room::Exhausted => Some(Verdict::Cap { of, until: self.ledger.day().end }),
        }
    }

    fn window_verdict(&self, seat: &Seat, request: &Request<'_>, now: Now) -> Option<Verdict> {
        let binding = &self.bindings[seat.binding.index()];
        let route = self.route(seat.binding, request);
        if let Some(until) = route.and_then(|route| route.paused_until(now)) {
            return Some(Verdict::BackOff { until });
        }
        let limits = self.limits(seat.binding, request);
        let is_open = binding.window.has_room(binding.limits.window, binding.standing.divisor(now.wall))
            && route.map_or(limits.window > 0, |route| route.has_room(limits, now));
        (!is_open).then_some(Verdict::WindowFull)
    }

    fn rate_verdict(&self, seat: &Seat, request: &Request<'_>, now: Now) -> Option<Verdict> {
        let of_binding = self.bindings[seat.binding.index()].limiter.as_ref();
        let of_route = self.route(seat.binding, request).and_then(|route| route.limiter.as_ref());
        let ready = [of_binding, of_route].into_iter().flatten().map(|limiter| limiter.ready()).max()?;
        (ready > now.mono).then(|| Verdict::RateLimited { until: on_wall(ready, now) })
    }

    pub(super) fn tenant_cap_verdict(&self, request: &Request<'_>, now: Now) -> Option<Verdict> {
        let tenant = &self.tenants[request.tenant.index()];
        let towards = tenant.towards(self.destinations[request.destination.index()].column);
        self.room_verdict(tenant.account, CapOf::Tenant, now)
            .or_else(|| self.room_verdict(towards?, CapOf::TenantRoute, now))
    }

    pub(super) fn tenant_rate_verdict(&self, tenant: TenantId, now: Now) -> Option<Verdict> {
        let ready = self.tenants[tenant.index()].limiter.as_ref()?.ready();
        (ready > now.mono).then(|| Verdict::RateLimited { until: on_wall(ready, now) })
    }

    /// Every seat of the pool, in the order of the configuration, with its verdict and whether its tier is open.
    pub(super) fn verdicts(&self, pool: &Pool, request: &Request<'_>, now: Now) -> Vec<(bool, BindingId, Verdict)> {
        let open = self.open_tiers(pool, request, now);
        let mut verdicts = Vec::with_capacity(pool.tiers.iter().map(|tier| tier.seats.len()).sum());
        for (index, tier) in pool.tiers.iter().enumerate() {
            for &place in &tier.as_written {
                let seat = &tier.seats[place as usize];
                let is_open = index < open || request.sticky == Some(seat.binding);
                let verdict = if is_open { self.verdict(seat, pool.pace, request, now) } else { Verdict::TierClosed };
                verdicts.push((is_open, seat.binding, verdict));
            }
        }
        verdicts
    }
}

fn reaches(seat: &Seat, request: &Request<'_>) -> bool {
    if seat.is_v6 { request.families.v6 } else { request.families.v4 }
}

fn excluded(binding: BindingId, request: &Request<'_>, wall: Wall) -> Option<Wall> {
    request.excluded.iter().find(|(id, until)| *id == binding && wall < *until).map(|&(_, until)| until)
}
