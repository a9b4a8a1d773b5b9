//! The decision.
//!
//! [`Scheduler::select`] takes the short way: tenant, open tiers, whose turn, reasons of this request. Only when it finds
//! nobody does it walk every binding for its [`Verdict`], in the order of checks that `explain` shows as well:
//!
//! drained · operator · health · route health · address family · excluded · SPF cover · caps of binding, route, tenant (and warm-up,
//! pace) · windows of binding, route · rates of binding, route, tenant.
//!
//! Nothing is spent before everything has been looked at: limiters have an honest look ([`super::rate`]), the ledger and
//! the windows belong to this thread. So a refusal wastes nothing, and a lease that was handed out was paid for once.

use std::time::Duration;

use super::cap::{AccountId, Ledger, Reservation, Room};
use super::cover::Left;
use super::facts::{Admission, Facts, Listed};
use super::picks::Judgement;
use super::state::Scheduler;
use super::tier::Scope;
use super::views::Key;
use super::{BindingId, Lease, PoolId, Request, Selection, Settlement, Verdict, held};
use crate::clock::{Now, Wall};

/// Keys for which one selection may ask for a first grant: others can be asked by the next one, and a pool of a thousand
/// does not write a thousand grants for one message.
const WANTS_MAX: usize = 4;

/// Largest tier whose bindings a refusal lists in full; of a larger one it lists some of each kind. A lane that is refused
/// needs to know when to ask again and what for, and ten thousand verdicts would cost it a millisecond to find out.
const LISTED_MAX: usize = 128;

/// Picks that one selection may make in vain. Each takes out of play what it found shut, so the next selection goes on from
/// there.
const VAIN_MAX: usize = 8;

/// When to look again although only an event can change something (a slot freed, a grant written).
const SAFETY: Duration = Duration::from_secs(1);

/// The same where only an operator can.
const SAFETY_LONG: Duration = Duration::from_secs(300);

/// The earliest moment at which one of these may change by itself.
fn earliest(verdicts: &[Listed], tenant: Option<&Verdict>, now: Now) -> Wall {
    let is_event = |verdict: &Verdict| matches!(verdict, Verdict::GrantPending | Verdict::WindowFull);
    let never = Wall::from_millis(i64::MAX);
    let open = || verdicts.iter().filter(|listed| listed.may_go).map(|listed| &listed.verdict);
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

/// A picked place.
struct Choice {
    scope: Scope,
    tier: usize,
    seat: usize,
}

impl Scheduler {
    pub(super) fn facts(&self) -> Facts<'_> {
        Facts {
            bindings: &self.bindings,
            tenants: &self.tenants,
            destinations: &self.destinations,
            table: &self.table,
            routes: &self.routes,
            ledger: &self.ledger,
            warmups: &self.warmups,
            covers: &self.covers,
        }
    }

    /// Answers a request: a lease, or when to ask again and why. A refusal spends nothing.
    pub fn select(&mut self, request: &Request<'_>, now: Now) -> Selection {
        self.tick(now);
        if self.tenant_must_wait(request, now) {
            return self.refuse(request, now);
        }
        for _ in 0..VAIN_MAX {
            let Some(choice) = self.choose(request, now) else { break };
            if let Some(lease) = self.lease(request, choice, now) {
                return Selection::Assigned(lease);
            }
        }
        self.refuse(request, now)
    }

    /// Whose turn it is, charged to it.
    fn choose(&mut self, request: &Request<'_>, now: Now) -> Option<Choice> {
        let (open, scope) = self.facts().open_tiers(&self.pools[request.pool.index()], request, now);
        let column = self.destinations[request.destination.index()].column;
        if let Some((tier, seat)) = self.sticky(request, now) {
            let key = self.key(request.pool, tier, scope, column);
            self.pools[request.pool.index()].tiers[tier].charge(key, request.destination, seat);
            return Some(Choice { scope, tier, seat });
        }
        let turn = if open > 1 { self.pools[request.pool.index()].turn(open, scope) } else { 0 };
        let others = (0..open).filter(|&tier| tier != turn);
        for tier in std::iter::once(turn).filter(|_| open > 0).chain(others) {
            if let Some(seat) = self.pick(request, scope, tier, now) {
                self.ask_for_wanted(request, now);
                self.pools[request.pool.index()].charge_turn(tier, open, scope);
                return Some(Choice { scope, tier, seat });
            }
        }
        self.ask_for_wanted(request, now);
        None
    }

    /// The view of a tier that this scope sees.
    fn key(&self, pool: PoolId, tier: usize, scope: Scope, column: u32) -> Key {
        let left = self.covers.left(scope.cover, pool, tier);
        self.pools[pool.index()].tiers[tier].key(scope.in_tier(left), column)
    }

    fn tenant_must_wait(&mut self, request: &Request<'_>, now: Now) -> bool {
        let tenant = &self.tenants[request.tenant.index()];
        if tenant.limiter.as_ref().is_some_and(|limiter| !limiter.is_open(now.mono)) {
            return true;
        }
        let towards = tenant.towards(self.destinations[request.destination.index()].column);
        for account in [Some(tenant.account), towards].into_iter().flatten() {
            match self.ledger.room(account, now.wall) {
                Room::Free(_) => {}
                Room::Askable => {
                    self.ledger.want(account, request.recipients);
                    return true;
                }
                Room::Pending | Room::Exhausted => return true,
            }
        }
        false
    }

    /// The preferred binding's place, where it may carry this; also in a tier that has closed again meanwhile: what
    /// greylisted the backup's address knows that address, and another would be greylisted anew. It is one message with a
    /// try or two to go, into the backup's own caps.
    fn sticky(&mut self, request: &Request<'_>, now: Now) -> Option<(usize, usize)> {
        let preferred = self.bindings.get(request.sticky?.index())?;
        let (_, tier, seat) = preferred.seats.iter().find(|(pool, ..)| *pool == request.pool)?;
        let (tier, seat) = (*tier as usize, *seat as usize);
        let pool = &self.pools[request.pool.index()];
        if !pool.tiers[tier].is_in_play(seat) {
            return None;
        }
        match self.facts().admits(&pool.tiers[tier].seats[seat], pool.pace, request, now) {
            Admission::Yes => Some((tier, seat)),
            Admission::No | Admission::Shut(_) => None,
            Admission::Wants(account) => {
                self.wants.push(account);
                None
            }
        }
    }

    fn pick(&mut self, request: &Request<'_>, scope: Scope, tier: usize, now: Now) -> Option<usize> {
        let Self { pools, bindings, tenants, destinations, table, routes, ledger, warmups, covers, wants, .. } = self;
        let pool = &mut pools[request.pool.index()];
        let left = covers.left(scope.cover, request.pool, tier);
        let (pace, tier) = (pool.pace, &mut pool.tiers[tier]);
        if tier.weight_in_play(scope) == 0 || left.is_some_and(Left::is_empty) {
            return None;
        }
        let key = tier.key(scope.in_tier(left), destinations[request.destination.index()].column);
        let facts = Facts { bindings, tenants, destinations, table, routes, ledger, warmups, covers };
        tier.pick(key, left, request.destination, now.mono, |seat| match facts.admits(seat, pace, request, now) {
            Admission::Yes => Judgement::Yes,
            Admission::No => Judgement::No,
            Admission::Shut(until) => Judgement::Shut(until),
            Admission::Wants(account) => {
                if wants.len() < WANTS_MAX {
                    wants.push(account);
                }
                Judgement::Wants
            }
        })
    }

    fn ask_for_wanted(&mut self, request: &Request<'_>, now: Now) {
        while let Some(account) = self.wants.pop() {
            self.ledger.want(account, request.recipients);
            self.refresh_owner(account, now);
        }
    }

    /// Spends what the picked binding has: rates, window, caps, probation. `None` where it has nothing after all: then it
    /// is out of play.
    fn lease(&mut self, request: &Request<'_>, choice: Choice, now: Now) -> Option<Lease> {
        let Choice { scope, tier, seat } = choice;
        let pool = &self.pools[request.pool.index()];
        let key = self.key(request.pool, tier, scope, self.destinations[request.destination.index()].column);
        let (id, pace) = (pool.tiers[tier].seats[seat].binding, pool.pace);
        let recipients_per_message = self.facts().limits(id, request).recipients_per_message;
        let wanted = request.recipients.clamp(1, recipients_per_message);

        if self.routes.get(id, request.destination).is_none() {
            self.route_mut(id, request.destination);
        }
        let route = self.routes.get_mut(id, request.destination)?; // There: it has just been made.
        if let Some(limiter) = &mut route.limiter {
            // A throttle that has ended by itself.
            limiter.change(limiter.rate(), route.standing.divisor(now.wall));
        }
        let of_route = (route.account, route.standing.room());
        let tenant = &mut self.tenants[request.tenant.index()];
        let binding = &mut self.bindings[id.index()];
        let towards = tenant.towards(self.destinations[request.destination.index()].column);
        let accounts = [Some(binding.account), of_route.0, Some(tenant.account), towards];

        let mut recipients = wanted.min(binding.standing.room()).min(of_route.1);
        if binding.is_warming
            && !request.engaged
            && let Some(spare) = self.warmups.for_others(id, self.ledger.account(binding.account), now.wall)
        {
            recipients = recipients.min(clamp(spare));
        }
        for (index, account) in accounts.into_iter().enumerate() {
            let Some(account) = account else { continue };
            let free = free(&self.ledger, account, now);
            self.ledger.foresee(account, wanted);
            recipients = recipients.min(free);
            if index < 2 {
                recipients = recipients.min(clamp(self.ledger.paced(account, pace, now.wall).unwrap_or(0)));
            }
        }
        let route_limiter = self.routes.get_mut(id, request.destination).and_then(|route| route.limiter.as_mut());
        let mut limiters = [route_limiter, binding.limiter.as_mut(), tenant.limiter.as_mut()];
        let is_open = recipients > 0
            && limiters.iter().flatten().all(|limiter| limiter.is_open(now.mono))
            && limiters.iter_mut().flatten().all(|limiter| limiter.take());
        if !is_open {
            // Who is in play was worked out earlier, and a clock that was set back may have closed what was open then.
            self.pools[request.pool.index()].tiers[tier].refund(key, request.destination, seat);
            self.refresh_route(id, request.destination, now);
            self.prune(id, request.destination);
            self.refresh(id, now);
            return None;
        }

        let [of_binding, of_route, of_tenant, tenant_route] =
            accounts.map(|account| self.ledger.reserve(account?, recipients));
        let binding_period = binding.standing.lease(recipients);
        binding.window.take();
        let mut route_period = 0;
        if let Some(route) = self.routes.get_mut(id, request.destination) {
            route.window.take();
            route_period = route.standing.lease(recipients);
            if route.account.is_some_and(|account| self.ledger.room(account, now.wall) == Room::Exhausted) {
                self.count_route(id, request.destination, now);
            }
        }
        self.refresh(id, now);
        Some(Lease {
            binding: id,
            destination: request.destination,
            pool: request.pool,
            tier,
            tenant: request.tenant,
            recipients,
            held: held::Held {
                seat: seat as u32,
                key,
                epoch: self.epoch,
                binding: of_binding,
                route: of_route,
                tenant: of_tenant,
                tenant_route,
                began: now.mono,
                binding_period,
                route_period,
                engaged: request.engaged,
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
        let reservations: [Option<Reservation>; 4] = [held.binding, held.route, held.tenant, held.tenant_route];
        for reservation in reservations.into_iter().flatten() {
            self.ledger.settle(reservation, accepted);
        }
        if held.engaged {
            self.warmups.took_engaged(id, accepted, now.wall);
        }
        let is_unused = settlement == Settlement::Unused;
        let binding = &mut self.bindings[id.index()];
        binding.window.give();
        if is_unused {
            binding.standing.give_back(lease.recipients, held.binding_period);
            if held.epoch == self.epoch {
                let tier = &mut self.pools[lease.pool.index()].tiers[lease.tier];
                tier.refund(held.key, destination, held.seat as usize);
            }
        }
        if let Some(route) = self.routes.get_mut(id, destination) {
            route.window.give();
            if is_unused {
                route.standing.give_back(lease.recipients, held.route_period);
            }
        }
        self.refresh_route(id, destination, now);
        self.prune(id, destination);
        self.refresh(id, now);
    }

    fn refuse(&self, request: &Request<'_>, now: Now) -> Selection {
        let facts = self.facts();
        let pool = &self.pools[request.pool.index()];
        let mut listed = facts.verdicts(pool, request, LISTED_MAX, now);
        for listed in listed.iter_mut().filter(|listed| listed.verdict == Verdict::Eligible) {
            // What is eligible and was not taken has nothing granted yet: it was asked for, or will be by the next one.
            listed.verdict = Verdict::GrantPending;
        }
        let tenant = facts.tenant_cap_verdict(request, now).or_else(|| facts.tenant_rate_verdict(request.tenant, now));
        let until = earliest(&listed, tenant.as_ref(), now);
        let only_spf = listed.iter().any(|listed| listed.only_spf);
        let verdicts: Vec<_> = listed.into_iter().map(|listed| (listed.binding, listed.verdict)).collect();
        if facts.is_hopeless(pool, request) {
            Selection::Exhausted { verdicts }
        } else {
            Selection::Later { until, tenant, verdicts, only_spf }
        }
    }

    /// What a selection would say of each binding of the pool, in the order of the configuration. Spends nothing. Call
    /// [`tick`](Self::tick) first where nothing was selected for a while.
    pub fn explain(&self, request: &Request<'_>, now: Now) -> Vec<(BindingId, Verdict)> {
        let listed = self.facts().verdicts(&self.pools[request.pool.index()], request, usize::MAX, now);
        listed.into_iter().map(|listed| (listed.binding, listed.verdict)).collect()
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
