//! The operator's acts on mail that waits, carried out: claim · read · apply · one commit · tell the core.
//!
//! [`core::acts`](crate::queue::core::acts) says what is done and why nothing is lost; here it is done for many entries, a
//! batch after the other, so that neither the core nor the disk is kept from anybody for long. Records are read and reports
//! written away from the threads that move mail. An act that has begun ends, also when nobody waits for its answer any
//! more.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::core::Core;
use super::super::core::acts::{Act, Became, Claim, apply};
use super::super::state::Settled;
use super::Dispatcher;
use super::reports::NewReport;
use crate::message::{Entry, EntryId, PoolName};
use crate::store::{Batch, Op, SpoolError};
use crate::telemetry::metrics::operation::SpoolWork;

/// Entries in one commit.
const BATCH: usize = 256;
/// The same where each may bring a report with it.
const BATCH_OF_REPORTS: usize = 64;
/// When to look again at an entry that could not be read.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// What came of an act on one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Came {
    /// It is done.
    Done,
    /// It was so before: not held, held for longer, or in that pool.
    Unchanged,
    /// An attempt is under way; it is done when that has ended and somebody still waits.
    OnTheWire,
    /// Not tried, for it is held.
    Held,
    /// Not done: an attempt is under way, and something else was promised for when it has ended.
    Another,
    /// Not tried, for its pool or tenant is not configured; or not ended, for its tenant is not, and no report could leave.
    Stranded,
    /// There is no such entry any more.
    Gone,
    /// Its record cannot be read.
    Unread,
}

impl Came {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Done,
        Self::Unchanged,
        Self::OnTheWire,
        Self::Held,
        Self::Another,
        Self::Stranded,
        Self::Gone,
        Self::Unread,
    ];

    /// Stable text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unchanged => "unchanged",
            Self::OnTheWire => "on_the_wire",
            Self::Held => "held",
            Self::Another => "another",
            Self::Stranded => "stranded",
            Self::Gone => "gone",
            Self::Unread => "unread",
        }
    }
}

/// Why an act stopped before its last entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It had the time it was given; it can go on behind the last entry.
    Patience,
    /// In words. Entries behind the last one are as they were.
    Trouble(String),
}

/// What came of an act.
#[derive(Clone, Debug, Default)]
pub struct Acted {
    /// By entry, in the order in which they were given.
    pub came: Vec<(EntryId, Came)>,
    /// Why it stopped early, if it did.
    pub stopped: Option<Stopped>,
    /// Of a retry: what keeps those it was done to from leaving now, with how many; the most frequent first.
    pub obstacles: Vec<(&'static str, u64)>,
}

/// What was read of claimed entries, and what is to be written.
#[derive(Default)]
struct Prepared {
    batch: Batch,
    /// As they were.
    before: Vec<Entry>,
    /// As they are to be.
    waits: Vec<Entry>,
    /// As they were, what becomes of them, and the report about it.
    ended: Vec<(Entry, Settled, Option<NewReport>)>,
    /// About what waits on.
    reports: Vec<NewReport>,
    /// Nothing to be done.
    unchanged: Vec<Entry>,
    gone: Vec<EntryId>,
    broken: Vec<(EntryId, String)>,
    unread: Vec<EntryId>,
}

/// Entries that are claimed. What is left of them when it is dropped — a task went wrong — waits again.
pub(super) struct Claims<'a> {
    pub(super) dispatcher: &'a Arc<Dispatcher>,
    pub(super) ids: Vec<EntryId>,
}

impl Drop for Claims<'_> {
    fn drop(&mut self) {
        if self.ids.is_empty() {
            return;
        }
        let until = self.dispatcher.clock.now().wall.plus(LOOK_AGAIN);
        let mut core = self.dispatcher.core.lock();
        self.ids.iter().for_each(|id| core.unclaim_unread(*id, until));
        let is_any_stranded = self.ids.iter().any(|id| core.is_stranded(*id));
        self.dispatcher.count_stranded(&core);
        drop(core);
        self.dispatcher.wake.notify_one();
        // Its pool may have come back meanwhile. At the end of the program nobody brings anything back.
        if is_any_stranded && tokio::runtime::Handle::try_current().is_ok() {
            self.dispatcher.bring_back();
        }
    }
}

impl Dispatcher {
    /// [`Act::Move`] to a pool that is configured.
    ///
    /// # Errors
    /// In words, when it is not.
    pub fn move_to(&self, pool: &str) -> Result<Act, String> {
        let config = self.config();
        let found = config.pools.iter().find(|known| known.name.as_str() == pool);
        let found = found.ok_or_else(|| format!("no pool {pool:?} is configured"))?;
        let members = found.tiers.iter().flatten().map(|member| member.binding.clone()).collect();
        Ok(Act::Move { to: PoolName::new(pool), members })
    }

    /// Acts on these entries, each once. Stops between two batches when `patience` is over. Goes on when the caller does
    /// not wait any more.
    pub async fn act(self: &Arc<Self>, ids: Vec<EntryId>, act: Act, patience: Duration) -> Acted {
        let this = Arc::clone(self);
        let acting = tokio::spawn(async move {
            let act = Arc::new(act);
            let mut acted = this.act_on(&ids, &act, patience).await;
            if *act == Act::Retry {
                this.look_for_obstacles(&mut acted).await;
            }
            acted
        });
        acting.await.unwrap_or_else(|error| Acted {
            came: Vec::new(),
            stopped: Some(Stopped::Trouble(format!("the act went wrong: {error}"))),
            obstacles: Vec::new(),
        })
    }

    async fn act_on(self: &Arc<Self>, ids: &[EntryId], act: &Arc<Act>, patience: Duration) -> Acted {
        let began = self.clock.now().mono;
        let mut acted = Acted::default();
        let size = if matches!(**act, Act::Bounce { .. }) { BATCH_OF_REPORTS } else { BATCH };
        for ids in ids.chunks(size) {
            if self.clock.now().mono.since(began) > patience && !acted.came.is_empty() {
                acted.stopped = Some(Stopped::Patience);
                return acted;
            }
            match self.act_on_batch(ids, act).await {
                Ok(came) => acted.came.extend(came),
                Err(trouble) => {
                    acted.stopped = Some(Stopped::Trouble(trouble));
                    return acted;
                }
            }
            tokio::task::yield_now().await;
        }
        acted
    }

    async fn act_on_batch(self: &Arc<Self>, ids: &[EntryId], act: &Arc<Act>) -> Result<Vec<(EntryId, Came)>, String> {
        let mut claims = Claims { dispatcher: self, ids: Vec::new() };
        let mut came = Vec::with_capacity(ids.len());
        {
            let mut core = self.core.lock();
            let now = self.clock.now();
            for id in ids {
                match core.claim(*id, act, now) {
                    Claim::Claimed => claims.ids.push(*id),
                    other => came.push((*id, said(other))),
                }
            }
        }
        self.wake.notify_one();
        let done = self.act_on_claimed(claims, act).await?;
        let done: HashMap<EntryId, Came> = done.into_iter().chain(came).collect();
        Ok(ids.iter().filter_map(|id| Some((*id, *done.get(id)?))).collect())
    }

    /// An attempt is over, or another act, and this one was to follow it.
    pub(super) async fn follow_up(self: Arc<Self>, id: EntryId, act: Arc<Act>) {
        let claims = Claims { dispatcher: &self, ids: vec![id] };
        match self.act_on_claimed(claims, &act).await {
            Ok(_) if matches!(*act, Act::Warn(_)) => tracing::debug!(%id, "its sender is told that it is late"),
            Ok(came) => {
                let came = came.first().map_or("", |(_, came)| came.as_str());
                tracing::info!(%id, came, "an operator's act follows the attempt it waited for");
            }
            Err(error) => tracing::error!(%id, error, "what was to follow an attempt could not be done"),
        }
    }

    async fn act_on_claimed(
        self: &Arc<Self>,
        mut claims: Claims<'_>,
        act: &Arc<Act>,
    ) -> Result<Vec<(EntryId, Came)>, String> {
        if claims.ids.is_empty() {
            return Ok(Vec::new());
        }
        let (this, ids, with) = (Arc::clone(self), claims.ids.clone(), Arc::clone(act));
        // With a turn: many that come due at once must not read as many bodies for their reports.
        let turn = self.originals.turn().await;
        let prepared = tokio::task::spawn_blocking(move || this.read_for(&ids, &with)).await;
        drop(turn);
        let prepared = prepared.map_err(|error| format!("the act went wrong: {error}"))?;
        for (before, settled, _) in &prepared.ended {
            self.keep_undeliverable(before, settled, None).await;
        }
        if !prepared.batch.is_empty() {
            match self.committer.commit(prepared.batch.clone()).await {
                Ok(()) => {}
                Err(error @ SpoolError::Full(_)) => {
                    self.metrics.operation.spool_error(SpoolWork::Outcome);
                    let made = prepared.ended.iter().filter(|(_, _, report)| report.is_some());
                    made.for_each(|(before, ..)| self.was_not_told(before));
                    self.let_go(&mut claims, &prepared);
                    return Err(format!("nothing more was done, for it cannot be written down: {error}"));
                }
                // It may be on disk all the same: only the same again is right in both cases.
                Err(_) => self.commit_for_sure(prepared.batch.clone()).await,
            }
        }
        Ok(self.tell_of_acts(&mut claims, prepared).await)
    }

    /// Reads claimed entries and writes what becomes of them. Blocks.
    fn read_for(&self, ids: &[EntryId], act: &Act) -> Prepared {
        let mut prepared = Prepared::default();
        let is_reported = !matches!(act, Act::Bounce { is_reported: false, .. });
        let now = self.clock.now().wall;
        for &id in ids {
            // From here on it changes.
            let fresh = self.fresh.take(id).map(|(entry, _)| entry);
            let before = match fresh.map_or_else(|| self.spool.entry(id), |entry| Ok(Some(entry))) {
                Ok(Some(entry)) => entry,
                Ok(None) => {
                    prepared.gone.push(id);
                    continue;
                }
                Err(error @ SpoolError::Corrupt { .. }) => {
                    match self.spool.set_aside(id, &error.to_string()) {
                        Ok(_) => prepared.broken.push((id, error.to_string())),
                        Err(_) => prepared.unread.push(id),
                    }
                    continue;
                }
                Err(error) => {
                    tracing::error!(%error, %id, "spool not readable; the entry waits");
                    self.metrics.operation.spool_error(SpoolWork::Read);
                    prepared.unread.push(id);
                    continue;
                }
            };
            let mut entry = before.clone();
            match apply(act, &mut entry, now) {
                Became::Unchanged => prepared.unchanged.push(before),
                Became::Waits => {
                    prepared.batch.push(Op::PutEntry(Box::new(entry.clone())));
                    if let Act::Warn(_) = act
                        && let Some(report) = self.report_of_delay(&entry)
                    {
                        prepared.batch.extend(report.ops());
                        prepared.reports.push(report);
                    }
                    prepared.before.push(before);
                    prepared.waits.push(entry);
                }
                Became::Ended(settled) => {
                    prepared.batch.extend(self.batch(&entry, &settled));
                    let report = is_reported.then(|| self.report_of_end_now(&before, &settled)).flatten();
                    prepared.batch.extend(report.iter().flat_map(NewReport::ops));
                    prepared.before.push(before.clone());
                    prepared.ended.push((before, settled, report));
                }
            }
        }
        prepared
    }

    /// Nothing was written: all that was read is as it was.
    fn let_go(&self, claims: &mut Claims<'_>, prepared: &Prepared) {
        let now = self.clock.now();
        let mut core = self.core.lock();
        for entry in prepared.before.iter().chain(&prepared.unchanged) {
            core.unclaim(entry, now);
            claims.ids.retain(|id| *id != entry.id);
        }
        self.count_stranded(&core);
        drop(core);
        self.wake.notify_one();
    }

    /// All is on disk: the core is told, recipients are counted, reports go into the queue, bodies nobody needs go.
    async fn tell_of_acts(self: &Arc<Self>, claims: &mut Claims<'_>, prepared: Prepared) -> Vec<(EntryId, Came)> {
        let now = self.clock.now();
        let mut came = Vec::with_capacity(claims.ids.len());
        {
            let mut core = self.core.lock();
            for entry in &prepared.waits {
                core.acted(entry, now);
                came.push((entry.id, Came::Done));
            }
            for (before, settled, _) in &prepared.ended {
                self.count_decided(before, settled, now);
                core.ended(before.id);
                came.push((before.id, Came::Done));
            }
            for entry in &prepared.unchanged {
                core.unclaim(entry, now);
                came.push((entry.id, Came::Unchanged));
            }
            for (id, _) in &prepared.broken {
                self.forget_broken(&mut core, *id);
                came.push((*id, Came::Unread));
            }
            for id in &prepared.gone {
                core.ended(*id);
                came.push((*id, Came::Gone));
            }
            self.count_stranded(&core);
        }
        came.extend(prepared.unread.iter().map(|id| (*id, Came::Unread)));
        // Those that could not be read are let go by what is left of the claims.
        claims.ids = prepared.unread;
        for (_, problem) in prepared.broken {
            self.note_set_aside(problem);
        }
        for (before, settled, report) in prepared.ended {
            log(&before, &settled);
            self.kept_aside.lock().remove(&before.id);
            self.note_double_bounce(&before, &settled, report.is_some());
            self.take_in_report(report);
            self.release_body(before.message).await;
        }
        prepared.reports.into_iter().for_each(|report| self.take_in_report(Some(report)));
        self.wake.notify_one();
        came
    }

    fn forget_broken(&self, core: &mut Core, id: EntryId) {
        self.forget_set_aside(core, id);
        let was_stranded = core.ended(id);
        self.counts.set_aside_recipients.fetch_add(u64::from(was_stranded), Ordering::Relaxed);
        self.count_stranded(core);
    }
}

fn said(claim: Claim) -> Came {
    match claim {
        Claim::Claimed | Claim::Done => Came::Done,
        Claim::Unchanged => Came::Unchanged,
        Claim::OnTheWire => Came::OnTheWire,
        Claim::Held => Came::Held,
        Claim::Another => Came::Another,
        Claim::Stranded => Came::Stranded,
        Claim::Unknown => Came::Gone,
    }
}

fn log(before: &Entry, settled: &Settled) {
    for decided in &settled.decided {
        tracing::info!(target: "attempt", id = %before.id, message = %before.message,
            to = decided.address.as_str(), tenant = %before.tenant, pool = %before.pool,
            attempt = before.state.attempts, disposition = %decided.disposition.as_str(),
            operator = decided.returned.as_deref().unwrap_or(""), reply = decided.text.as_deref().unwrap_or(""));
    }
}
