//! The loop: starts what the core says is due, sleeps until something is, and ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Dispatcher;
use super::held::Rescue;
use super::telling::{fact_op, grant_op};
use crate::clock::Wall;
use crate::delivery::plan::NoPlan;
use crate::message::Domain;
use crate::queue::core::{Action, Core};
use crate::scheduler::cap::GrantRequest;
use crate::store::Batch;
use crate::store::committer::Pending;
use crate::telemetry::metrics::operation::SpoolWork;

/// Longest sleep of the loop: a clock that is set forward, or a machine that was suspended, is noticed this soon.
const SLEEP_MAX: Duration = Duration::from_secs(30);
/// Actions started in one go: who wants the core meanwhile waits for no more of them.
const STARTS_MAX: usize = 512;

impl Dispatcher {
    /// Runs until `stop` turns true, then returns when nothing is on the wire any more.
    pub async fn run(self: Arc<Self>, mut stop: tokio::sync::watch::Receiver<bool>) {
        loop {
            let wakeup = self.start_what_is_due();
            // What was started begins now, also where there is more to start.
            tokio::task::yield_now().await;
            let pause = wakeup.map_or(SLEEP_MAX, |at| at.since(self.clock.now().wall)).min(SLEEP_MAX);
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(pause.max(Duration::from_millis(1))) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        self.halt();
        loop {
            let idle = self.idle.notified();
            if self.with_core(Core::in_flight) == 0 {
                return;
            }
            idle.await;
        }
    }

    /// From now on no attempt is started.
    pub fn halt(&self) {
        self.core.lock().stop();
    }

    /// Writes the exact use of every cap, so that a clean stop gives unspent grants back, and what else is not on disk yet.
    /// Call it after [`Dispatcher::halt`]: what is still on the wire counts as used.
    pub async fn write_final_grants(&self) {
        let pending = {
            let mut core = self.core.lock();
            let mut batch: Batch = core.final_grants(self.clock.now()).iter().map(grant_op).collect();
            batch.extend(core.final_facts(self.clock.now()).iter().map(fact_op));
            self.committer.submit(batch)
        };
        if let Err(error) = pending.await {
            tracing::warn!(%error, "final grants not written; today's unspent grants are lost");
        }
    }

    fn start_what_is_due(self: &Arc<Self>) -> Option<Wall> {
        let (observed, pending) = self.tell(Core::tick);
        self.announce(&observed);
        if pending.is_some() {
            let this = Arc::clone(self);
            tokio::spawn(async move { this.written(pending).await });
        }
        let now = self.clock.now();
        self.heartbeat.store(now.wall.as_millis(), Ordering::Relaxed);
        let mut core = self.core.lock();
        for _ in 0..STARTS_MAX {
            let Some(action) = core.next(now) else {
                // What has no place under a new configuration is stranded by and by.
                self.count_stranded(&core);
                return core.next_wakeup();
            };
            let this = Arc::clone(self);
            match action {
                Action::Attempt(start) => drop(tokio::spawn(this.attempt(start))),
                Action::Resolve(domain) => drop(tokio::spawn(this.resolve(domain))),
                Action::WriteGrants(grants) => {
                    // Handed in here, not in the task: two grants of one cap must not change places.
                    let pending = self.committer.submit(grants.iter().map(grant_op).collect());
                    tokio::spawn(this.write_grants(grants, pending));
                }
                Action::Expire(id) => drop(tokio::spawn(this.give_up(id, None))),
                Action::Refuse { entry, enhanced, text } => {
                    drop(tokio::spawn(this.give_up(entry, Some((enhanced, text)))));
                }
                Action::Act { entry, act } => drop(tokio::spawn(this.follow_up(entry, act))),
            }
        }
        self.count_stranded(&core);
        // There may be more.
        self.wake.notify_one();
        core.next_wakeup()
    }

    async fn resolve(self: Arc<Self>, domain: Domain) {
        let unanswered = Rescue::new(|| {
            let trouble = NoPlan::Temporary { text: "the look-up went wrong".into() };
            self.core.lock().resolved(&domain, Err(trouble), self.clock.now());
            self.wake.notify_one();
        });
        loop {
            let asked_under = self.in_force();
            let planned = self.resolver.plan(&domain).await;
            let mut core = self.core.lock();
            // Under the core's lock: an answer of the old name servers, or by the old routes, must not come after the new ones
            // are in force.
            if !asked_under.routes_as(&self.in_force()) {
                continue;
            }
            core.resolved(&domain, planned, self.clock.now());
            self.count_stranded(&core);
            break;
        }
        unanswered.not_needed();
        self.wake.notify_one();
    }

    async fn write_grants(self: Arc<Self>, grants: Vec<GrantRequest>, pending: Pending) {
        let result = pending.await;
        if let Err(error) = &result {
            tracing::error!(%error, "daily cap grants not written; bindings with caps wait");
            self.counts.grant_errors.fetch_add(1, Ordering::Relaxed);
            self.spool_failed(SpoolWork::Grant, error);
        }
        self.core.lock().grants_written(&grants, result.is_ok(), self.clock.now());
        self.wake.notify_one();
    }

    pub(super) fn finished_one(&self) {
        self.wake.notify_one();
        self.idle.notify_waiters();
    }
}
