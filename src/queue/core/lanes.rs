//! Lanes meet the scheduler: who goes next, what stands still and why, who is woken.
//!
//! When the scheduler says "later", the cost of asking again is kept down by blocking as much as the answer covers: the
//! whole lane where a binding stands in the way, one tenant's turn where the tenant's cap or rate does, the single entry
//! where its own exclusions do. A lane that waits for a free connection is woken by a freed one, one lane per slot, in
//! the order in which they began to wait.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;

use super::super::index::{Block, LaneId, Place, Waiting};
use super::{Core, Start};
use crate::clock::{Now, Wall};
use crate::delivery::plan::MxPlan;
use crate::message::EntryId;
use crate::scheduler::{BindingId, DestinationId, Families, Request, Selection, TenantId, Verdict, retry};

/// Safety net for lanes that wait for an event.
const EVENT_WAIT_MAX: Duration = Duration::from_secs(5);

/// Lanes that wait for a free connection of a binding, in the order in which they began to.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    fifo: VecDeque<LaneId>,
    present: HashSet<LaneId>,
}

impl Waiters {
    pub(super) fn push(&mut self, lane: LaneId) {
        if self.present.insert(lane) {
            self.fifo.push_back(lane);
        }
    }
}

impl Core {
    /// Asks the scheduler for the head of a lane. Blocks what its answer covers.
    pub(super) fn try_lane(&mut self, lane: LaneId, now: Now) -> Option<Start> {
        let (_, destination, tenant, id) = self.index.head(lane)?;
        let waiting = self.index.get(id)?;
        let domain = waiting.domain;
        let plan = match &self.domains[domain.0 as usize].1.plan {
            Some((plan, known, _)) if *known == destination => Arc::clone(plan),
            // Its hosts are elsewhere by now: limits and health of this lane are those of others.
            _ => {
                self.index.take_head(lane, tenant, Place::Resolving);
                self.index.again(lane);
                self.route(id, domain, now);
                return None;
            }
        };
        if let Some(held) = self.held(waiting, destination, now) {
            let sender = waiting.sender;
            self.hold_back(lane, (tenant, sender, destination), id, held, now);
            return None;
        }
        let (sender, message) = (waiting.sender, waiting.message);
        let kept_back = self.kept_back_from(waiting, destination, now.wall.plus(EVENT_WAIT_MAX));
        let mut request = request(waiting, destination, &plan);
        if let Some(kept_back) = &kept_back {
            request.excluded = kept_back;
        }
        let selection = self.scheduler.select(&request, now);
        self.ask_for_grants();
        match selection {
            Selection::Assigned(lease) => {
                self.index.take_head(lane, tenant, Place::InFlight);
                self.index.again(lane);
                self.in_flight += 1;
                self.probes((tenant, sender, destination), message, now);
                let binding = Arc::clone(self.scheduler.binding(lease.binding));
                self.refresh_plan(domain, now);
                let messages_per_connection = self.scheduler.messages_per_connection(lease.binding, destination);
                Some(Start { entry: id, lease, binding, plan, messages_per_connection })
            }
            Selection::Later { until, tenant: None, verdicts } if kept_back.is_some() => {
                // A matter of this message, whatever its bindings wait for.
                self.index.take_head(lane, tenant, Place::Resolving);
                let until = self.jittered(until, now);
                self.index.delay(id, until, reason(&verdicts));
                self.index.again(lane);
                None
            }
            Selection::Later { until, tenant: None, verdicts } => {
                self.block(lane, tenant, id, until, &verdicts, now);
                None
            }
            Selection::Later { until, tenant: Some(verdict), .. } => {
                let pending = matches!(verdict, Verdict::GrantPending);
                let block = Block { until: (!pending).then_some(until), reason: verdict.as_str() };
                let wake = if pending { until } else { self.jittered(until, now) };
                self.index.block_tenant(lane, tenant, block, Some(wake));
                if pending {
                    self.grant_waiters.push((lane, Some(tenant)));
                }
                None
            }
            Selection::Exhausted { verdicts } => {
                // A matter of this domain's hosts; others in the lane may be reachable.
                let until = now.wall.plus(self.queue.retry_max);
                self.index.take_head(lane, tenant, Place::Resolving);
                self.index.delay(id, until, reason(&verdicts));
                self.index.again(lane);
                None
            }
        }
    }

    fn block(
        &mut self,
        lane: LaneId,
        tenant: TenantId,
        id: EntryId,
        until: Wall,
        verdicts: &[(BindingId, Verdict)],
        now: Now,
    ) {
        let reason = reason(verdicts);
        let has = |kind: fn(&Verdict) -> bool| verdicts.iter().any(|(_, v)| kind(v));
        let by_event = has(|v| matches!(v, Verdict::WindowFull | Verdict::GrantPending));
        let own = self.index.get(id).is_some_and(|w| w.excluded.is_some());
        if own && !by_event {
            self.index.take_head(lane, tenant, Place::Resolving);
            let until = self.jittered(until, now);
            self.index.delay(id, until, reason);
            self.index.again(lane);
            return;
        }
        let wake = if by_event { until.min(now.wall.plus(EVENT_WAIT_MAX)) } else { self.jittered(until, now) };
        let block = Block { until: (!by_event).then_some(until), reason };
        self.index.block_lane(lane, block, Some(wake));
        for (binding, _) in verdicts.iter().filter(|(_, verdict)| *verdict == Verdict::WindowFull) {
            self.window_waiters.entry(*binding).or_default().push(lane);
        }
        if has(|v| matches!(v, Verdict::GrantPending)) {
            self.grant_waiters.push((lane, None));
        }
    }

    /// A little later than `until`, so that the end of a suspension or a new day does not release a wave.
    pub(super) fn jittered(&mut self, until: Wall, now: Now) -> Wall {
        retry::spread(until, self.random.random(), now.wall)
    }

    /// A slot of `binding` is free: lanes to the same destination may go on, and one of those that wait for the binding.
    pub(super) fn wake_for_slot(&mut self, binding: BindingId, destination: DestinationId) {
        for n in 0..self.index.lanes_to(destination).len() {
            let lane = self.index.lanes_to(destination)[n];
            if self.index.waits_for_event(lane) {
                self.index.wake_lane(lane);
            }
        }
        let Some(waiters) = self.window_waiters.get_mut(&binding) else { return };
        while let Some(lane) = waiters.fifo.pop_front() {
            waiters.present.remove(&lane);
            if self.index.is_blocked(lane) {
                self.index.wake_lane(lane);
                return;
            }
        }
    }
}

pub(super) fn request<'a>(waiting: &'a Waiting, destination: DestinationId, plan: &MxPlan) -> Request<'a> {
    Request {
        pool: waiting.pool,
        destination,
        tenant: waiting.tenant,
        recipients: waiting.recipients,
        families: plan.families().map_or(Families { v4: true, v6: true }, |(v4, v6)| Families { v4, v6 }),
        sticky: waiting.sticky,
        excluded: waiting.excluded.as_deref().unwrap_or_default(),
        engaged: false,
        region: None,
    }
}

/// The verdict that decides over the waiting: that of the binding which is free first, caps before suspensions.
fn reason(verdicts: &[(BindingId, Verdict)]) -> &'static str {
    let far = Wall::from_millis(i64::MAX);
    verdicts
        .iter()
        .filter(|(_, v)| !matches!(v, Verdict::Drained | Verdict::TierClosed))
        .min_by_key(|(_, v)| match v {
            Verdict::GrantPending => Wall::from_millis(i64::MIN),
            Verdict::WindowFull => Wall::from_millis(i64::MIN + 1),
            other => other.until().unwrap_or(far),
        })
        .map_or("no_binding", |(_, v)| v.as_str())
}
