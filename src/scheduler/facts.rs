//! Judging a candidate: whether a binding may carry this request, and in full why not.
//!
//! [`Facts::admits`] is the short way, asked of whoever is next in line; [`Facts::verdict`] is the long one, in the order of
//! checks, for refusals and `explain`.

use super::binding::RouteLimits;
use super::cap::{AccountId, Ledger, Room};
use super::cover::Covers;
use super::pool::{Class, Pool};
use super::refresh::on_wall;
use super::state::{Binding, Destination, Route, RouteTable, Routes, Tenant};
use super::tier::{Scope, Seat, Tier};
use super::verdict::CapOf;
use super::warmup::Warmups;
use super::{BindingId, CoverId, DestinationId, Request, TenantId, Verdict};
use crate::clock::{Mono, Now, Wall};
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
    pub(super) covers: &'a Covers,
}

/// Whether a candidate may carry this request, apart from what keeps it out everywhere.
pub(super) enum Admission {
    Yes,
    /// Not this request; another one to the same destination perhaps.
    No,
    /// No mail to this destination: until a moment, or until something happens there.
    Shut(Option<Mono>),
    /// Not before this key has been granted something.
    Wants(AccountId),
}

/// A binding with its verdict.
pub(super) struct Listed {
    pub(super) binding: BindingId,
    pub(super) verdict: Verdict,
    /// It may become free for this request.
    pub(super) may_go: bool,
    /// It is free now, and nothing but the sender's SPF record keeps it from this request.
    pub(super) only_spf: bool,
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
        if self.is_barred(seat, request) {
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
            let is_open = self.limits(seat.binding, request).window > 0;
            return if is_open { Admission::Yes } else { Admission::Shut(None) };
        };
        if route.standing.room() == 0 {
            return Admission::Shut(None);
        }
        if !route.has_room(self.limits(seat.binding, request), now) {
            return Admission::Shut(route.sizing_pause(now));
        }
        if let Some(limiter) = route.limiter.as_ref().filter(|limiter| !limiter.is_open(now.mono)) {
            return Admission::Shut(Some(limiter.ready()));
        }
        match route.account.map(|account| (account, self.ledger.room(account, now.wall))) {
            None => Admission::Yes,
            Some((account, Room::Askable)) => Admission::Wants(account),
            // Another pool may keep another pace, and what is shut is noted per tier: so the moment holds.
            Some((account, Room::Free(_))) => match self.ledger.paced(account, pace, now.wall) {
                Ok(_) => Admission::Yes,
                Err(until) => Admission::Shut(Some(on_mono(until, now))),
            },
            Some((_, Room::Pending)) => Admission::Shut(None),
            Some((_, Room::Exhausted)) => Admission::Shut(Some(on_mono(self.ledger.day().end, now))),
        }
    }

    /// Whether the sender's SPF record allows another binding of the pool and not this one.
    fn is_barred(&self, seat: &Seat, request: &Request<'_>) -> bool {
        self.covers.bars(request.cover, seat.binding)
            && self.covers.holds(request.cover, request.pool, request.families)
    }

    /// Whether a seat can be counted on for this request.
    fn counts(&self, pool: &Pool, tier: &Tier, place: usize, scope: Scope, request: &Request<'_>, now: Now) -> bool {
        let seat = &tier.seats[place];
        let asks_route = self.destinations[request.destination.index()].routes_out > 0;
        let route = || self.route(seat.binding, request).map_or(Class::Free, |route| route.class);
        seat.weight > 0
            && pool.counts_on(seat.class)
            && tier.covers(scope, seat)
            && (!asks_route || pool.counts_on(route()))
            && (pool.counts_on(Class::Suspended) || excluded(seat.binding, request, now.wall).is_none())
    }

    /// How many seats of a tier can be counted on for this request; more than `most` need not be told apart. Kept up as
    /// things change: nothing is walked but what the request itself excludes, and for mail with a cover what that leaves of
    /// the tier, as far as is needed.
    pub(super) fn counted(
        &self,
        pool: &Pool,
        tier: usize,
        scope: Scope,
        request: &Request<'_>,
        most: usize,
        now: Now,
    ) -> usize {
        let seats = &pool.tiers[tier];
        let mut counted = seats.counted(scope);
        if counted > 0 && self.destinations[request.destination.index()].routes_out > 0 {
            counted -= seats.uncounted(scope, request.destination).min(counted);
        }
        if counted > 0
            && let Some(left) = self.covers.left(scope.cover, request.pool, tier)
        {
            return left.iter().filter(|&seat| self.counts(pool, seats, seat, scope, request, now)).take(most).count();
        }
        if counted == 0 || request.excluded.is_empty() || pool.counts_on(Class::Suspended) {
            return counted;
        }
        let is_counted = |binding: BindingId| {
            let known = self
                .bindings
                .get(binding.index())?
                .seats
                .iter()
                .find(|&&(p, t, _)| (p, t as usize) == (request.pool, tier))?;
            let seat = &seats.seats[known.2 as usize];
            let route = self.route(binding, request).map_or(Class::Free, |route| route.class);
            Some(seat.weight > 0 && seats.covers(scope, seat) && pool.counts_on(seat.class) && pool.counts_on(route))
        };
        let is_first = |nth: usize, binding| {
            !request.excluded[..nth].iter().any(|&(other, until)| other == binding && now.wall < until)
        };
        let lost = request.excluded.iter().enumerate().filter(|&(nth, &(binding, until))| {
            now.wall < until && is_first(nth, binding) && is_counted(binding) == Some(true)
        });
        counted - lost.count().min(counted)
    }

    /// Why a route is not to be counted on; [`Class::Free`] where it is. Whatever changes the answer calls
    /// [`Scheduler::refresh_route`](super::Scheduler::refresh_route).
    pub(super) fn route_class(&self, binding: BindingId, destination: DestinationId, now: Now) -> Class {
        let Some(route) = self.routes.get(binding, destination) else { return Class::Free };
        if route.standing.is_out() {
            return Class::Suspended;
        }
        match route.account.map(|account| self.ledger.room(account, now.wall)) {
            Some(Room::Exhausted) if self.is_route_warming(binding, destination) => Class::Warmup,
            Some(Room::Exhausted) => Class::Capped,
            _ => Class::Free,
        }
    }

    /// How many tiers are open for this request, and which of their seats come into question.
    pub(super) fn open_tiers(&self, pool: &Pool, request: &Request<'_>, now: Now) -> (usize, Scope) {
        let cover = self.covers.in_pool(request.cover, request.pool, request.families);
        let anywhere = Scope { region: None, families: request.families, cover };
        let count = |tier, scope, most| self.counted(pool, tier, scope, request, most, now);
        let open = pool.open_tiers(|tier, most| count(tier, anywhere, most));
        let Some(region) = request.region else { return (open, anywhere) };
        let there = Scope { region: Some(region), ..anywhere };
        let is_served = (0..open).any(|tier| count(tier, there, 1) > 0);
        (open, if is_served { there } else { anywhere })
    }

    /// The full answer for a seat of an open tier.
    fn verdict(&self, seat: &Seat, pace: Pace, request: &Request<'_>, now: Now) -> Verdict {
        self.standing_verdict(seat, request, now)
            .or_else(|| self.is_barred(seat, request).then_some(Verdict::SpfNotCovered))
            .unwrap_or_else(|| self.spending_verdict(seat, pace, request, now))
    }

    /// The same of a seat that may be used as such.
    fn spending_verdict(&self, seat: &Seat, pace: Pace, request: &Request<'_>, now: Now) -> Verdict {
        self.cap_verdict(seat, pace, request, now)
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
                    if of == CapOf::Route && self.is_route_warming(seat.binding, request.destination) =>
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

    fn is_route_warming(&self, binding: BindingId, destination: DestinationId) -> bool {
        self.warmups.allowance(binding, self.destinations[destination.index()].column).is_some()
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

    /// The seats of the pool, in the order of the configuration, with their verdicts: all of them, or in a tier of more than
    /// `most` some of each kind.
    pub(super) fn verdicts(&self, pool: &Pool, request: &Request<'_>, most: usize, now: Now) -> Vec<Listed> {
        let (open, scope) = self.open_tiers(pool, request, now);
        let anywhere = Scope { region: None, ..scope };
        let listed = pool.tiers.iter().map(|tier| tier.seats.len().min(most));
        let mut verdicts = Vec::with_capacity(listed.sum());
        for (index, tier) in pool.tiers.iter().enumerate() {
            let mut list = |place: u32| {
                let seat = &tier.seats[place as usize];
                // A preferred binding counts also where its tier is closed.
                let is_wanted = request.sticky == Some(seat.binding);
                let is_open = is_wanted || index < open && (tier.covers(scope, seat) || !tier.covers(anywhere, seat));
                let verdict = match is_wanted || index < open {
                    true if is_open => self.verdict(seat, pool.pace, request, now),
                    true => Verdict::OtherRegion,
                    false => Verdict::TierClosed,
                };
                let is_free = || self.spending_verdict(seat, pool.pace, request, now) == Verdict::Eligible;
                verdicts.push(Listed {
                    binding: seat.binding,
                    may_go: is_open && !(scope.cover != CoverId::NONE && self.covers.bars(scope.cover, seat.binding)),
                    only_spf: verdict == Verdict::SpfNotCovered && is_free(),
                    verdict,
                });
            };
            if tier.seats.len() <= most {
                tier.as_written.iter().copied().for_each(&mut list);
            } else if index < open {
                tier.some(scope, self.covers.left(scope.cover, request.pool, index), request.destination, most)
                    .into_iter()
                    .for_each(&mut list);
            } else {
                tier.as_written.iter().copied().take(most).for_each(&mut list);
            }
        }
        verdicts
    }

    /// Whether no binding of the pool can ever carry this.
    pub(super) fn is_hopeless(&self, pool: &Pool, request: &Request<'_>) -> bool {
        let all = Scope::ALL;
        let reached = Scope { families: request.families, ..all };
        let seats = |scope| pool.tiers.iter().map(|tier| tier.seats_in(scope)).sum::<usize>();
        seats(reached) == 0 && seats(all) > 0
    }
}

fn reaches(seat: &Seat, request: &Request<'_>) -> bool {
    seat.families.meet(request.families)
}

fn excluded(binding: BindingId, request: &Request<'_>, wall: Wall) -> Option<Wall> {
    request.excluded.iter().find(|(id, until)| *id == binding && wall < *until).map(|&(_, until)| until)
}

/// A moment of the wall clock as one of the monotonic clock.
fn on_mono(at: Wall, now: Now) -> Mono {
    let span = u64::try_from(at.since(now.wall).as_nanos()).unwrap_or(u64::MAX);
    Mono::from_nanos(now.mono.as_nanos().saturating_add(span))
}
