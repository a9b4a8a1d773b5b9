//! The decision.
//!
//! [`Scheduler::select`] takes the short way: tenant, open tiers, whose turn, reasons of this request. Only when it finds
//! nobody does it walk every binding for its [`Verdict`], in the order of checks that `explain` shows as well:
//!
//! drained · operator · health · route health · address family · excluded · caps of binding, route, tenant (and warm-up,
//! pace) · windows of binding, route · rates of binding, route, tenant.
//!
//! Nothing is spent before everything has been looked at: limiters have an honest look ([`super::rate`]), the ledger and
//! the windows belong to this thread. So a refusal wastes nothing, and a lease that was handed out was paid for once.

use std::time::Duration;

use super::binding::RouteLimits;
use super::cap::{AccountId, Ledger, Reservation, Room};
use super::pool::{Class, Pool, Seat, Tier};
use super::state::{Binding, Destination, Route, RouteTable, Routes, Scheduler, Tenant, on_wall};
use super::{BindingId, Lease, Request, Selection, Settlement, TenantId, Verdict, held};
use crate::clock::{Now, Wall};
use crate::config::Pace;
use crate::scheduler::verdict::CapOf;

/// Keys for which one selection may ask for a first grant: others can be asked by the next one, and a pool of a thousand
/// does not write a thousand grants for one message.
const WANTS_MAX: usize = 4;

/// When to look again although only an event can change something (a slot freed, a grant written).
const SAFETY: Duration = Duration::from_secs(1);

/// The same where only an operator can.
const SAFETY_LONG: Duration = Duration::from_secs(300);

/// Everything a candidate is judged by.
struct Facts<'a> {
    bindings: &'a [Binding],
    tenants: &'a [Tenant],
    destinations: &'a [Destination],
    table: &'a RouteTable,
    routes: &'a Routes,
    ledger: &'a Ledger,
}

/// Whether a candidate may carry this request, apart from what keeps it out everywhere.
enum Admission {
    Yes,
    No,
    /// Not before this key has been granted something.
    Wants(AccountId),
}

impl Facts<'_> {
    fn limits(&self, binding: BindingId, request: &Request<'_>) -> &RouteLimits {
        self.table.limits(binding, self.destinations[request.destination.index()].column)
    }

    fn route(&self, binding: BindingId, request: &Request<'_>) -> Option<&Route> {
        self.routes.get(binding, request.destination)
    }

    fn admits(&self, seat: &Seat, pace: Pace, request: &Request<'_>, now: Now) -> Admission {
        if !reaches(seat, request) || excluded(seat.binding, request, now.wall).is_some() {
            return Admission::No;
        }
        let account = self.bindings[seat.binding.index()].account;
        if self.ledger.room(account, now.wall) == Room::Askable {
            return Admission::Wants(account);
        }
        let Some(route) = self.route(seat.binding, request) else {
            return if self.limits(seat.binding, request).window > 0 { Admission::Yes } else { Admission::No };
        };
        let divisor = route.standing.divisor(now.wall);
        if route.standing.room() == 0
            || !route.window.has_room(Some(self.limits(seat.binding, request).window), divisor)
        {
            return Admission::No;
        }
        if route.limiter.as_ref().is_some_and(|limiter| !limiter.is_open(now.mono)) {
            return Admission::No;
        }
        match route.account.map(|account| (account, self.ledger.room(account, now.wall))) {
            None => Admission::Yes,
            Some((account, Room::Askable)) => Admission::Wants(account),
            Some((account, Room::Free(_))) if pace == Pace::None || self.ledger.paced(account, now.wall).is_ok() => {
                Admission::Yes
            }
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
            Some(Room::Exhausted) => Class::Capped,
            _ => Class::Free,
        }
    }

    fn open_tiers(&self, pool: &Pool, request: &Request<'_>, now: Now) -> usize {
        pool.open_tiers(|tier, enough| self.dependable(pool, tier, request, enough, now))
    }

    /// The full answer for a seat of an open tier.
    fn verdict(&self, seat: &Seat, pace: Pace, request: &Request<'_>, now: Now) -> Verdict {
        self.standing_verdict(seat, request, now)
            .or_else(|| self.cap_verdict(seat, pace, request, now))
            .or_else(|| self.tenant_cap_verdict(request.tenant, now))
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
                Some(verdict) => return Some(verdict),
                None => {}
            }
            if pace == Pace::Even
                && let Err(until) = self.ledger.paced(account, now.wall)
            {
                return Some(Verdict::Pace { until });
            }
        }
        None
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
        let is_open = binding.window.has_room(binding.limits.window, binding.standing.divisor(now.wall))
            && match self.route(seat.binding, request) {
                Some(route) => {
                    let limit = self.limits(seat.binding, request).window;
                    route.window.has_room(Some(limit), route.standing.divisor(now.wall))
                }
                None => self.limits(seat.binding, request).window > 0,
            };
        (!is_open).then_some(Verdict::WindowFull)
    }

    fn rate_verdict(&self, seat: &Seat, request: &Request<'_>, now: Now) -> Option<Verdict> {
        let of_binding = self.bindings[seat.binding.index()].limiter.as_ref();
        let of_route = self.route(seat.binding, request).and_then(|route| route.limiter.as_ref());
        let ready = [of_binding, of_route].into_iter().flatten().map(|limiter| limiter.ready()).max()?;
        (ready > now.mono).then(|| Verdict::RateLimited { until: on_wall(ready, now) })
    }

    fn tenant_cap_verdict(&self, tenant: TenantId, now: Now) -> Option<Verdict> {
        self.room_verdict(self.tenants[tenant.index()].account, CapOf::Tenant, now)
    }

    fn tenant_rate_verdict(&self, tenant: TenantId, now: Now) -> Option<Verdict> {
        let ready = self.tenants[tenant.index()].limiter.as_ref()?.ready();
        (ready > now.mono).then(|| Verdict::RateLimited { until: on_wall(ready, now) })
    }

    /// Every seat of the pool, in the order of the configuration, with its verdict and whether its tier is open.
    fn verdicts(&self, pool: &Pool, request: &Request<'_>, now: Now) -> Vec<(bool, BindingId, Verdict)> {
        let open = self.open_tiers(pool, request, now);
        let mut verdicts = Vec::with_capacity(pool.tiers.iter().map(|tier| tier.seats.len()).sum());
        for (index, tier) in pool.tiers.iter().enumerate() {
            for &place in &tier.as_written {
                let seat = &tier.seats[place as usize];
                let verdict =
                    if index < open { self.verdict(seat, pool.pace, request, now) } else { Verdict::TierClosed };
                verdicts.push((index < open, seat.binding, verdict));
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

/// The earliest moment at which one of these may change by itself.
fn earliest(verdicts: &[(bool, BindingId, Verdict)], tenant: Option<&Verdict>, now: Now) -> Wall {
    let is_event = |verdict: &Verdict| matches!(verdict, Verdict::GrantPending | Verdict::WindowFull);
    let never = Wall::from_millis(i64::MAX);
    let open = || verdicts.iter().filter(|(is_open, ..)| *is_open).map(|(.., verdict)| verdict);
    let mut until = match tenant {
        // As long as the tenant must wait, it does not help that a binding comes back.
        Some(verdict) => verdict.until(),
        None => open().filter_map(Verdict::until).filter(|&until| until != never).min(),
    };
    if tenant.map_or_else(|| open().any(is_event), is_event) {
        let soon = now.wall.plus(SAFETY);
        until = Some(until.map_or(soon, |until| until.min(soon)));
    }
    let until = until.unwrap_or(now.wall.plus(SAFETY_LONG));
    // A suspension that is over but not yet lifted must not be asked about in a circle.
    if until <= now.wall { now.wall.plus(SAFETY) } else { until }
}

impl Scheduler {
    fn facts(&self) -> Facts<'_> {
        Facts {
            bindings: &self.bindings,
            tenants: &self.tenants,
            destinations: &self.destinations,
            table: &self.table,
            routes: &self.routes,
            ledger: &self.ledger,
        }
    }

    /// Answers a request: a lease, or when to ask again and why. A refusal spends nothing.
    pub fn select(&mut self, request: &Request<'_>, now: Now) -> Selection {
        self.tick(now);
        if self.tenant_must_wait(request, now) {
            return self.refuse(request, now);
        }
        let open = self.facts().open_tiers(&self.pools[request.pool.index()], request, now);
        if let Some((tier, seat)) = self.sticky(request, open, now) {
            self.pools[request.pool.index()].tiers[tier].order.charge(seat);
            return self.lease(request, tier, seat, now);
        }
        let turn = if open > 1 { self.pools[request.pool.index()].turn(open) } else { 0 };
        let others = (0..open).filter(|&tier| tier != turn);
        for tier in std::iter::once(turn).filter(|_| open > 0).chain(others) {
            if let Some(seat) = self.pick(request, tier, now) {
                self.ask_for_wanted(request, now);
                self.pools[request.pool.index()].charge_turn(tier, open);
                return self.lease(request, tier, seat, now);
            }
        }
        self.ask_for_wanted(request, now);
        self.refuse(request, now)
    }

    fn tenant_must_wait(&mut self, request: &Request<'_>, now: Now) -> bool {
        let tenant = &self.tenants[request.tenant.index()];
        if tenant.limiter.as_ref().is_some_and(|limiter| !limiter.is_open(now.mono)) {
            return true;
        }
        match self.ledger.room(tenant.account, now.wall) {
            Room::Free(_) => false,
            Room::Askable => {
                self.ledger.want(tenant.account, request.recipients);
                true
            }
            Room::Pending | Room::Exhausted => true,
        }
    }

    /// The preferred binding's place, where it may carry this.
    fn sticky(&mut self, request: &Request<'_>, open: usize, now: Now) -> Option<(usize, usize)> {
        let preferred = self.bindings.get(request.sticky?.index())?;
        let (_, tier, seat) = preferred.seats.iter().find(|(pool, ..)| *pool == request.pool)?;
        let (tier, seat) = (*tier as usize, *seat as usize);
        let pool = &self.pools[request.pool.index()];
        if tier >= open || !pool.tiers[tier].order.is_present(seat) {
            return None;
        }
        match self.facts().admits(&pool.tiers[tier].seats[seat], pool.pace, request, now) {
            Admission::Yes => Some((tier, seat)),
            Admission::No => None,
            Admission::Wants(account) => {
                self.wants.push(account);
                None
            }
        }
    }

    fn pick(&mut self, request: &Request<'_>, tier: usize, now: Now) -> Option<usize> {
        let Self { pools, bindings, tenants, destinations, table, routes, ledger, wants, .. } = self;
        let pool = &mut pools[request.pool.index()];
        let Tier { seats, order, .. } = &mut pool.tiers[tier];
        let facts = Facts { bindings, tenants, destinations, table, routes, ledger };
        order.pick(|seat| match facts.admits(&seats[seat], pool.pace, request, now) {
            Admission::Yes => true,
            Admission::No => false,
            Admission::Wants(account) => {
                if wants.len() < WANTS_MAX {
                    wants.push(account);
                }
                false
            }
        })
    }

    fn ask_for_wanted(&mut self, request: &Request<'_>, now: Now) {
        while let Some(account) = self.wants.pop() {
            self.ledger.want(account, request.recipients);
            self.refresh_owner(account, now);
        }
    }

    /// Spends what the picked binding has: rates, window, caps, probation.
    fn lease(&mut self, request: &Request<'_>, tier: usize, seat: usize, now: Now) -> Selection {
        let pool = &self.pools[request.pool.index()];
        let (id, pace) = (pool.tiers[tier].seats[seat].binding, pool.pace);
        let recipients_per_message = self.facts().limits(id, request).recipients_per_message;
        let wanted = request.recipients.clamp(1, recipients_per_message);

        if self.routes.get(id, request.destination).is_none() {
            self.route_mut(id, request.destination);
        }
        let Some(route) = self.routes.get_mut(id, request.destination) else {
            return self.refuse(request, now); // Cannot be: it has just been made.
        };
        if let Some(limiter) = &mut route.limiter {
            // A throttle that has ended by itself.
            limiter.change(limiter.rate(), route.standing.divisor(now.wall));
        }
        let of_route = (route.account, route.standing.room());
        let tenant = &mut self.tenants[request.tenant.index()];
        let binding = &mut self.bindings[id.index()];
        let accounts = [Some(binding.account), of_route.0, Some(tenant.account)];

        let mut recipients = wanted.min(binding.standing.room()).min(of_route.1);
        for (index, account) in accounts.into_iter().enumerate() {
            let Some(account) = account else { continue };
            let free = free(&self.ledger, account, now);
            if free < wanted {
                self.ledger.foresee(account, wanted);
            }
            recipients = recipients.min(free);
            if pace == Pace::Even && index < 2 {
                recipients = recipients.min(clamp(self.ledger.paced(account, now.wall).unwrap_or(0)));
            }
        }
        let route_limiter = self.routes.get_mut(id, request.destination).and_then(|route| route.limiter.as_mut());
        let mut limiters = [route_limiter, binding.limiter.as_mut(), tenant.limiter.as_mut()];
        let is_open = recipients > 0
            && limiters.iter().flatten().all(|limiter| limiter.is_open(now.mono))
            && limiters.iter_mut().flatten().all(|limiter| limiter.take());
        if !is_open {
            // All of it has been looked at before the pick; this is the belt to those braces.
            self.pools[request.pool.index()].tiers[tier].order.refund(seat);
            return self.refuse(request, now);
        }

        let [of_binding, of_route, of_tenant] = accounts.map(|account| self.ledger.reserve(account?, recipients));
        let binding_period = binding.standing.lease(recipients);
        binding.window.take();
        let mut route_period = 0;
        if let Some(route) = self.routes.get_mut(id, request.destination) {
            route.window.take();
            route_period = route.standing.lease(recipients);
        }
        self.refresh(id, now);
        Selection::Assigned(Lease {
            binding: id,
            destination: request.destination,
            pool: request.pool,
            tier,
            tenant: request.tenant,
            recipients,
            held: held::Held {
                seat: seat as u32,
                epoch: self.epoch,
                binding: of_binding,
                route: of_route,
                tenant: of_tenant,
                binding_period,
                route_period,
            },
        })
    }

    /// Ends a lease: counts what was accepted, gives the rest back, frees the slots.
    pub fn settle(&mut self, lease: Lease, settlement: Settlement, now: Now) {
        self.tick(now);
        let accepted = match settlement {
            Settlement::Accepted(recipients) => recipients,
            Settlement::Unused => 0,
            Settlement::Unknown => lease.recipients,
        };
        let Lease { binding: id, destination, held, .. } = lease;
        let reservations: [Option<Reservation>; 3] = [held.binding, held.route, held.tenant];
        for reservation in reservations.into_iter().flatten() {
            self.ledger.settle(reservation, accepted);
        }
        let is_unused = settlement == Settlement::Unused;
        let binding = &mut self.bindings[id.index()];
        binding.window.give();
        if is_unused {
            binding.standing.give_back(lease.recipients, held.binding_period);
            if held.epoch == self.epoch {
                self.pools[lease.pool.index()].tiers[lease.tier].order.refund(held.seat as usize);
            }
        }
        if let Some(route) = self.routes.get_mut(id, destination) {
            route.window.give();
            if is_unused {
                route.standing.give_back(lease.recipients, held.route_period);
            }
        }
        self.prune(id, destination);
        self.refresh(id, now);
    }

    fn refuse(&self, request: &Request<'_>, now: Now) -> Selection {
        let facts = self.facts();
        let mut listed = facts.verdicts(&self.pools[request.pool.index()], request, now);
        for (.., verdict) in listed.iter_mut().filter(|(.., verdict)| *verdict == Verdict::Eligible) {
            // What is eligible and was not taken has nothing granted yet: it was asked for, or will be by the next one.
            *verdict = Verdict::GrantPending;
        }
        let tenant =
            facts.tenant_cap_verdict(request.tenant, now).or_else(|| facts.tenant_rate_verdict(request.tenant, now));
        let until = earliest(&listed, tenant.as_ref(), now);
        let verdicts: Vec<_> = listed.into_iter().map(|(_, id, verdict)| (id, verdict)).collect();
        let is_family = |verdict: &Verdict| *verdict == Verdict::AddressFamily;
        let is_hopeless = verdicts.iter().any(|(_, verdict)| is_family(verdict))
            && verdicts.iter().all(|(_, verdict)| is_family(verdict) || *verdict == Verdict::Drained);
        if is_hopeless { Selection::Exhausted { verdicts } } else { Selection::Later { until, tenant, verdicts } }
    }

    /// What a selection would say of each binding of the pool, in the order of the configuration. Spends nothing. Call
    /// [`tick`](Self::tick) first where nothing was selected for a while.
    pub fn explain(&self, request: &Request<'_>, now: Now) -> Vec<(BindingId, Verdict)> {
        let listed = self.facts().verdicts(&self.pools[request.pool.index()], request, now);
        listed.into_iter().map(|(_, id, verdict)| (id, verdict)).collect()
    }
}

fn clamp(recipients: u64) -> u32 {
    u32::try_from(recipients).unwrap_or(u32::MAX)
}

fn free(ledger: &Ledger, account: AccountId, now: Now) -> u32 {
    match ledger.room(account, now.wall) {
        Room::Free(free) => clamp(free),
        Room::Askable | Room::Pending | Room::Exhausted => 0,
    }
}
