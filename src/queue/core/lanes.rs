//! Lanes meet the scheduler: who goes next, what stands still and why.
//!
//! When the scheduler says "later", the cost of asking again is kept down by blocking as much as the answer covers, and
//! never more, or mail that could go would wait. (What is said of a lane here holds for the part of it that has the head's
//! cover: [`super::super::index`].)
//!
//! | verdict | what it blocks | looks again |
//! |---|---|---|
//! | `tenant_held_by_operator` | the tenant's turn | the operator's release |
//! | `tenant_held` | the tenant's turn; the entry, where only its sender domain is held | end of the hold, or its release |
//! | tenant's `cap` (also towards a provider) | the tenant's turn in the lane | next day, with jitter |
//! | tenant's `rate_limited` | the tenant's turn | at its gate, one lane after the other |
//! | tenant's `grant_pending` | the tenant's turn | the grant |
//! | `slots` (no verdict of a binding: see [`super::slots`]) | the tenant's turn, or the lane of a crowded destination | an attempt that ends |
//! | `excluded` | the entry | end of the exclusion, or soon where another binding is only busy |
//! | `excluded` and `spf_not_covered` | the entry | the same, or when what is known of the SPF record changes |
//! | `address_family` at every binding | the entry: its domain's hosts may change | after `retry_max` |
//! | `reserved` | what of the lane is not engaged, whosever it is | its moment, with jitter |
//! | `window_full` | the lane | a connection that is free |
//! | `grant_pending` | the lane | the grant |
//! | `rate_limited`, `pace` | the lane | at the gate of its pool, one lane after the other |
//! | `suspended`, `route_suspended`, `probation`, `operator_suspended`, `cap`, `warmup`, `back_off` | the lane | the earliest moment of all verdicts, with jitter, or a move of health |
//! | `drained`, `tier_closed`, `other_region`, `spf_not_covered` | nothing by themselves (as a reason the last says that another binding could carry it now) | – |
//!
//! Where several bindings give several verdicts, the narrowest block among them holds (entry, engaged, lane), and the
//! earliest moment. What could go from other bindings, for its address families or its region, is in a lane of its own, and
//! for its sender's SPF in another part of it; a preferred binding never blocks: another one goes. [`super::wake`] has the
//! events.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use smallvec::SmallVec;

use super::super::index::{Block, LaneId, LaneKey, Place, SenderId, Waiting};
use super::reconfigure::DOUBTED;
use super::slots::{self, Crowded};
use super::wake::{Awaited, GateKey};
use super::{Action, Core, Start};
use crate::clock::{Now, Wall};
use crate::delivery::plan::MxPlan;
use crate::message::EntryId;
use crate::scheduler::{
    BindingId, CoverId, DestinationId, Everywhere, Families, PoolId, RegionId, Request, Selection, TenantId, Verdict,
    retry,
};

/// Safety net for lanes that wait for a connection of a route or for a slot, and as much again at random.
const EVENT_WAIT: Duration = Duration::from_secs(30);

/// How long mail that was stopped from moving rests at least and at most where the binding it is kept to carries nothing
/// now. At most: a hold that ends and a binding that goes out are noticed no later.
const KEPT_BACK: Duration = Duration::from_secs(5);
const KEPT_BACK_MAX: Duration = Duration::from_secs(60);

/// The same for those that stand in a line that may be long: for a binding's connection, before a gate.
const LINE_WAIT: Duration = Duration::from_secs(180);

/// How long an entry whose own exclusions leave only busy bindings rests, and as much again at random.
const BUSY_WAIT: Duration = Duration::from_secs(1);

/// How long an entry rests at least that may not go to the bindings it has not met for its sender's SPF, and as much again
/// at random: a safety net, for it is woken when the record has changed.
const COVER_WAIT: Duration = Duration::from_secs(300);

/// From so long a wait on, lanes of one pool that wake by themselves are spread by [`PER_LANE`] each at least, however late
/// they began to wait.
const LONG_WAIT: Duration = Duration::from_secs(10);
const PER_LANE: Duration = Duration::from_millis(1);

/// The head of a lane that was asked about.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) lane: LaneId,
    pub(super) key: LaneKey,
    pub(super) tenant: TenantId,
    pub(super) id: EntryId,
    pub(super) is_engaged: bool,
}

impl Core {
    /// Asks the scheduler for the head of a lane. Blocks what its answer covers.
    pub(super) fn try_lane(&mut self, lane: LaneId, now: Now) -> Option<Start> {
        let (key, tenant, id) = self.index.head(lane)?;
        let destination = key.destination;
        if self.strand_if_gone(id) {
            self.index.again(lane);
            return None;
        }
        let waiting = self.index.get(id)?;
        let cover = self.cover_of(tenant, waiting.sender);
        if waiting.expires <= now.wall {
            // Its timer is due as well, behind thousands of others.
            self.index.hold(id);
            self.index.again(lane);
            self.actions.push_back(Action::Expire(id));
            return None;
        }
        let domain = waiting.domain;
        let plan = match &self.domains[domain].1.plan {
            Some((plan, known, until))
                if *known == destination
                    && families(plan) == key.families
                    && cover == key.cover
                    && *until != DOUBTED =>
            {
                Arc::clone(plan)
            }
            // Its hosts are elsewhere by now, or other bindings may carry it: limits and health of this lane are those of
            // others.
            _ => {
                self.index.take_head(lane, tenant, id, Place::Resolving, 0);
                self.index.again(lane);
                self.route(id, domain, now);
                return None;
            }
        };
        if self.is_held_by_operator(tenant) {
            self.keep_tenant(lane, tenant, now);
            return None;
        }
        if let Err(crowded) = self.slots.admit(tenant, destination) {
            self.wait_for_less(lane, cover, tenant, crowded, now);
            return None;
        }
        let head = Head { lane, key, tenant, id, is_engaged: waiting.class.is_engaged() };
        let (sender, message) = (waiting.sender, waiting.message);
        if let Some(held) = self.held(waiting, destination, now) {
            self.hold_back(lane, (tenant, sender, destination), id, held, now);
            return None;
        }
        let next_probe = self.next_probe(waiting, destination);
        if let Some(next) = next_probe
            && let Some((until, why)) = self.aside.rests((tenant, sender, destination), next, now.wall)
        {
            // One of its group has asked already.
            let until = self.jittered(until, now);
            self.set_aside(head, until, why);
            return None;
        }
        let kept_back = next_probe.map(|next| (next, self.all_but(next, waiting, now.wall.plus(KEPT_BACK_MAX))));
        let mut request = request(waiting, destination, &plan, key.region, cover);
        if let Some((_, kept_back)) = &kept_back {
            request.excluded = kept_back;
        }
        let request_pool = request.pool;
        let selection = self.scheduler.select(&request, now);
        self.ask_for_grants();
        self.asked.count(request_pool, said(&selection));
        match selection {
            Selection::Assigned(lease) => {
                self.index.take_head(lane, tenant, id, Place::InFlight, lease.recipients);
                self.index.again(lane);
                self.index.uses(lane, cover, lease.binding);
                self.lines.goes(lane);
                self.lines.uses(self.scheduler.pools_of(lease.binding), lease.binding);
                self.slots.take(tenant, destination);
                self.probes((tenant, sender, destination), message, now);
                let binding = Arc::clone(self.scheduler.binding(lease.binding));
                self.refresh_plan(domain, now);
                let messages_per_connection = self.scheduler.messages_per_connection(lease.binding, destination);
                return Some(Start { entry: id, lease, binding, plan, messages_per_connection });
            }
            Selection::Later { until, tenant: None, verdicts, only_spf } => match kept_back {
                Some((next, _)) => self.keep_back(head, (tenant, sender, destination), next, &verdicts, now),
                None => self.block(head, until, &verdicts, reason_or_spf(&verdicts, only_spf), now),
            },
            Selection::Later { until, tenant: Some(verdict), .. } => self.block_tenant(head, until, &verdict, now),
            Selection::Exhausted { verdicts } => {
                // A matter of this domain's hosts; others in the lane may be reachable.
                self.set_aside(head, now.wall.plus(self.queue.retry_max), reason(&verdicts));
            }
        }
        None
    }

    /// Sets a probe aside until the binding it is kept to may carry it, and with it those of its group that come after it.
    /// The lane goes on: the others in it may use other bindings.
    fn keep_back(
        &mut self,
        head: Head,
        group: (TenantId, SenderId, DestinationId),
        next: BindingId,
        verdicts: &[(BindingId, Verdict)],
        now: Now,
    ) {
        let own = verdicts.iter().find(|(id, _)| *id == next).map(|(_, verdict)| verdict);
        let until = own.and_then(Verdict::until).unwrap_or(now.wall);
        let until = until.max(now.wall.plus(KEPT_BACK)).min(now.wall.plus(KEPT_BACK_MAX));
        let why = own.map_or_else(|| reason(verdicts), Verdict::as_str);
        // What is a matter of this message says nothing of the others.
        let of_message = |verdict: &Verdict| {
            matches!(
                verdict,
                Verdict::Excluded { .. }
                    | Verdict::AddressFamily
                    | Verdict::Reserved { .. }
                    | Verdict::OtherRegion
                    | Verdict::SpfNotCovered
            )
        };
        if !own.is_some_and(of_message) {
            self.aside.rest(group, (until, why, next), now.wall);
        }
        let until = self.jittered(until, now);
        self.set_aside(head, until, why);
    }

    /// Attempts under way are many, and the tenant or the destination holds its share of them.
    fn wait_for_less(&mut self, lane: LaneId, cover: CoverId, tenant: TenantId, crowded: Crowded, now: Now) {
        let block = Block { until: None, reason: slots::REASON };
        let wake = self.later(EVENT_WAIT, now);
        match crowded {
            Crowded::Tenant => {
                self.index.block_tenant(lane, tenant, block, wake);
                self.slots.wait(tenant, lane);
            }
            Crowded::Destination => {
                self.index.block_lane(lane, cover, block, wake);
                self.slots.wait_all(lane);
            }
        }
        self.slots.prune(self.index.lanes_len(), |lane| self.index.has_lane(lane));
    }

    pub(super) fn block_tenant(&mut self, head: Head, until: Wall, verdict: &Verdict, now: Now) {
        let Head { lane, tenant, .. } = head;
        let is_pending = matches!(verdict, Verdict::GrantPending);
        let block = Block { until: (!is_pending).then_some(until), reason: verdict.as_str() };
        match verdict {
            Verdict::GrantPending => {
                self.index.block_tenant(lane, tenant, block, until);
                self.wait_for(Awaited::TenantGrant(tenant), lane);
            }
            Verdict::RateLimited { .. } => {
                let wake = self.later(until.since(now.wall) + LINE_WAIT, now);
                self.index.block_tenant(lane, tenant, block, wake);
                self.wait_at(GateKey::Tenant(tenant), until, lane);
            }
            _ => {
                let wake = self.jittered(until, now);
                self.index.block_tenant(lane, tenant, block, wake);
            }
        }
    }

    pub(super) fn block(
        &mut self,
        head: Head,
        until: Wall,
        verdicts: &[(BindingId, Verdict)],
        why: &'static str,
        now: Now,
    ) {
        let has = |kind: fn(&Verdict) -> bool| verdicts.iter().any(|(_, v)| kind(v));
        let for_grant = has(|v| matches!(v, Verdict::GrantPending));
        let by_event = for_grant || has(|v| matches!(v, Verdict::WindowFull));
        if has(|v| matches!(v, Verdict::Excluded { .. })) {
            // Others behind it may use what it may not.
            let wake = if by_event { self.later(BUSY_WAIT, now) } else { self.jittered(until, now) };
            if has(|v| matches!(v, Verdict::SpfNotCovered)) {
                let wake = wake.min(self.later(COVER_WAIT, now));
                self.keep_for_cover(head.key.cover, head.id);
                return self.set_aside(head, wake, Verdict::SpfNotCovered.as_str());
            }
            return self.set_aside(head, wake, reason(verdicts));
        }
        let Head { lane, key: LaneKey { pool, cover, .. }, .. } = head;
        let here = |id: BindingId| self.scheduler.out_everywhere(pool, id, now);
        // Only where nothing narrower keeps the binding out for longer: the others in line have nothing to do with that.
        let slowed = |(id, v): &&(BindingId, Verdict)| match (v, here(*id)) {
            (Verdict::RateLimited { until } | Verdict::Pace { until }, Some(Everywhere::Slowed(opens))) => {
                *until <= opens
            }
            _ => false,
        };
        let is_full = |(id, v): &(BindingId, Verdict)| *v == Verdict::WindowFull && here(*id) == Some(Everywhere::Full);
        let full: SmallVec<[BindingId; 8]> = verdicts.iter().filter(|said| is_full(said)).map(|(id, _)| *id).collect();
        let for_connection = !full.is_empty();
        // The first to open: before another's the lane would wait for what it does not need.
        let gate = verdicts.iter().filter(slowed).min_by_key(|(id, v)| (v.until(), *id)).map(|(id, _)| *id);
        let opens = verdicts.iter().filter(slowed).filter_map(|(_, v)| v.until()).min();
        let others = verdicts.iter().filter(|said| !slowed(said)).filter_map(|(_, v)| v.until());
        let others = others.filter(|until| *until > now.wall).min();

        let mut wake = others.map(|until| self.parked_until(until, pool, now));
        let mut not_after = |at: Wall| wake = Some(wake.map_or(at, |wake| wake.min(at)));
        if let Some(opens) = opens {
            not_after(self.later(opens.since(now.wall) + LINE_WAIT, now));
        }
        if by_event {
            let wait = if for_connection { LINE_WAIT } else { EVENT_WAIT };
            not_after(if for_grant { until } else { self.later(wait, now) });
        }
        let wake = wake.unwrap_or_else(|| self.parked_until(until, pool, now));

        // What is found in use stops those that wait for the same: a connection, or the binding's gate.
        let has_left_line = self.index.found_used(lane, |id, block| match block.until {
            None => verdicts.contains(&(id, Verdict::WindowFull)),
            Some(_) => gate == Some(id),
        });
        let block = Block { until: (!by_event).then_some(until), reason: why };
        if !head.is_engaged && has(|v| matches!(v, Verdict::Reserved { .. })) {
            self.index.block_plain(lane, cover, block, wake);
        } else {
            self.index.block_lane(lane, cover, block, wake);
        }
        if for_connection || has_left_line {
            self.lines.found_full(pool, &full);
            self.wait_for(Awaited::Connection(pool), lane);
        }
        if for_grant {
            self.wait_for(Awaited::Grant(pool), lane);
        }
        if let (Some(binding), Some(opens)) = (gate, opens) {
            self.wait_at(GateKey::Pool(pool, binding), opens.max(now.wall.plus(Duration::from_millis(1))), lane);
        }
    }

    /// Sets the head of a lane aside for itself.
    fn set_aside(&mut self, head: Head, until: Wall, reason: &'static str) {
        self.index.take_head(head.lane, head.tenant, head.id, Place::Resolving, 0);
        self.index.delay(head.id, until, reason);
        self.index.again(head.lane);
    }

    /// A little later than `until`, so that the end of a suspension or a new day does not release a wave.
    pub(super) fn jittered(&mut self, until: Wall, now: Now) -> Wall {
        retry::spread(until, self.random.random(), now.wall)
    }

    /// [`Core::jittered`] for a lane: many of one pool are spread further, also where they began to wait just before.
    fn parked_until(&mut self, until: Wall, pool: PoolId, now: Now) -> Wall {
        let wake = self.jittered(until, now);
        if until.since(now.wall) < LONG_WAIT {
            return wake;
        }
        let lanes = u32::try_from(self.index.parked_len(pool)).unwrap_or(u32::MAX);
        wake.max(until.plus((PER_LANE * lanes).mul_f64(self.random.random())))
    }

    /// After `span` and up to twice as long.
    fn later(&mut self, span: Duration, now: Now) -> Wall {
        now.wall.plus(span.mul_f64(1.0 + self.random.random::<f64>()))
    }
}

/// By which address families the hosts of a plan can be reached; names are looked up later and may have both.
pub(super) fn families(plan: &MxPlan) -> Families {
    plan.families().map_or(Families { v4: true, v6: true }, |(v4, v6)| Families { v4, v6 })
}

pub(super) fn request<'a>(
    waiting: &'a Waiting,
    destination: DestinationId,
    plan: &MxPlan,
    region: Option<RegionId>,
    cover: CoverId,
) -> Request<'a> {
    Request {
        pool: waiting.pool,
        destination,
        tenant: waiting.tenant,
        recipients: waiting.recipients,
        families: families(plan),
        sticky: waiting.sticky,
        excluded: waiting.excluded.as_deref().unwrap_or_default(),
        engaged: waiting.class.is_engaged(),
        region,
        cover,
    }
}

/// The answer in a word.
fn said(selection: &Selection) -> &'static str {
    match selection {
        Selection::Assigned(_) => "eligible",
        Selection::Later { tenant: Some(verdict), .. } => verdict.as_str(),
        Selection::Later { tenant: None, verdicts, only_spf, .. } => reason_or_spf(verdicts, *only_spf),
        Selection::Exhausted { verdicts } => reason(verdicts),
    }
}

/// What the mail waits for where another binding could carry it but for its sender's SPF record: for that, unless it is a
/// matter of milliseconds.
fn reason_or_spf(verdicts: &[(BindingId, Verdict)], only_spf: bool) -> &'static str {
    let reason = reason(verdicts);
    let is_soon = reason == Verdict::GrantPending.as_str();
    if only_spf && !is_soon { Verdict::SpfNotCovered.as_str() } else { reason }
}

/// The verdict that decides over the waiting: that of the binding which is free first, caps before suspensions.
pub(super) fn reason(verdicts: &[(BindingId, Verdict)]) -> &'static str {
    let far = Wall::from_millis(i64::MAX);
    verdicts
        .iter()
        .filter(|(_, v)| !matches!(v, Verdict::Drained | Verdict::TierClosed | Verdict::SpfNotCovered))
        .min_by_key(|(_, v)| match v {
            Verdict::GrantPending => Wall::from_millis(i64::MIN),
            Verdict::WindowFull => Wall::from_millis(i64::MIN + 1),
            other => other.until().unwrap_or(far),
        })
        .map_or("no_binding", |(_, v)| v.as_str())
}
