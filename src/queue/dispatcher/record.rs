//! What becomes of an entry, on disk: its removal or its new state, the report to the sender, the body's last use.
//!
//! An outcome must reach the disk, or a restart repeats the delivery. So a commit that fails is tried again until it
//! succeeds, and meanwhile no new attempt is started by anybody: a disk that takes no writes must not turn the relay into
//! a machine that sends everything twice. When it goes on failing, the program says so and ends; what is on disk is whole.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::super::state::{self, Decided, Settled};
use super::Dispatcher;
use super::held::Rescue;
use super::reports::NewReport;
use crate::feedback::aside::{Aside, Ring};
use crate::feedback::senders::Sender;
use crate::message::{Entry, EntryId, MessageId};
use crate::outcome::{Disposition, EnhancedCode};
use crate::store::{Batch, Op, SpoolError};
use crate::telemetry::metrics::operation::SpoolWork;

/// First wait between two tries to commit; doubles up to [`COMMIT_PAUSE_MAX`].
const COMMIT_PAUSE: Duration = Duration::from_millis(100);
const COMMIT_PAUSE_MAX: Duration = Duration::from_secs(5);
/// After this long without a successful commit the program gives up.
const COMMIT_PATIENCE: Duration = Duration::from_secs(60);
/// Key of the fact that probes write.
const PROBE: &str = "probe/disk";
/// When to look again at an entry that could not be ended.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

impl Dispatcher {
    /// Puts what became of an entry on disk and returns the report to its sender, if one was written.
    ///
    /// A DSN is new mail and may find no space. Then the recipients it was about go back to waiting: they are tried, and
    /// reported, again later; nobody is dropped without a report. `attempted`: the body, where an attempt has ended just
    /// now.
    pub(super) async fn write_down(
        &self,
        before: &Entry,
        entry: &mut Entry,
        settled: &mut Settled,
        attempted: Option<Bytes>,
    ) -> Option<NewReport> {
        self.keep_undeliverable(before, settled, attempted.as_ref()).await;
        let mut is_ended = true;
        if let Some(report) = self.report_of_end(before, settled, attempted).await {
            let mut batch = self.batch(entry, settled);
            batch.extend(report.ops());
            match self.committer.commit(batch.clone()).await {
                Ok(()) => {
                    self.kept_aside.lock().remove(&before.id);
                    return Some(report);
                }
                Err(error @ SpoolError::Full(_)) if settled.failed().next().is_some() => {
                    tracing::error!(%error, id = %entry.id, "no space for a report; its recipients wait");
                    self.was_not_told(before);
                    is_ended = false;
                    state::take_back_failed(before, entry, settled, &self.config().queue, self.clock.now().wall);
                }
                // Those it was about have their mail, and must not get it again.
                Err(error @ SpoolError::Full(_)) => {
                    tracing::error!(%error, id = %entry.id, "no space for a report of mail passed on; it is left out");
                }
                // It may be on disk all the same: only the same again is right in both cases.
                Err(_) => {
                    self.commit_for_sure(batch).await;
                    self.kept_aside.lock().remove(&before.id);
                    return Some(report);
                }
            }
        }
        self.commit_for_sure(self.batch(entry, settled)).await;
        if is_ended {
            self.kept_aside.lock().remove(&before.id);
        }
        None
    }

    /// A mail with the null reverse path that fails is reported to nobody: a bounce that was passed on to its sender, say.
    /// Where reports are taken it is kept for the operator, before its removal is on disk (a crash between the two keeps
    /// it twice). Where the disk has no space for that, the same comes again; it is kept once.
    pub(super) async fn keep_undeliverable(&self, entry: &Entry, settled: &Settled, body: Option<&Bytes>) {
        let config = self.config();
        let Some(feedback) = config.feedback.as_ref().filter(|feedback| feedback.unattributed_kept > 0) else {
            return;
        };
        let mut failed = settled.failed().peekable();
        if entry.reverse_path.is_some() || failed.peek().is_none() || !self.kept_aside.lock().insert(entry.id) {
            return;
        }
        let aside = Arc::new(Aside::new(&config.server.state_dir, feedback.unattributed_kept));
        let mut head = String::from("Return-Path: <>\r\nX-Remuda-Verdict: undeliverable\r\n");
        for decided in failed {
            // One line each: what a receiver said stands in a header now.
            let reply = decided.text.as_deref().unwrap_or_default().replace(|c: char| c.is_control(), " ");
            head.push_str(&format!("X-Remuda-Undeliverable: <{}> {reply}\r\n", decided.address.as_str()));
        }
        let id = entry.message;
        let (_turn, body) = match body {
            Some(body) => (None, Ok(body.clone())),
            None => (self.originals.turn().await, self.body_of(id).await.map(Option::unwrap_or_default)),
        };
        let kept = match body {
            Ok(body) => {
                let kept = aside.keep(Ring::Ours, head, body, id, self.clock.now().wall).await;
                kept.map_err(|error| error.to_string())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            self.kept_aside.lock().remove(&entry.id);
            tracing::error!(%error, id = %entry.id, "mail that could not be delivered not kept aside; it is lost");
        }
    }

    /// Counts a write that failed, and has the disk probed.
    pub(super) fn spool_failed(self: &Arc<Self>, work: SpoolWork, error: &SpoolError) {
        self.metrics.operation.spool_error(work);
        self.probe_disk(error);
    }

    /// After a commit that failed although nobody will repeat it: finds out whether the disk takes writes at all, pausing
    /// attempts and in the end stopping the program as for an outcome.
    pub(super) fn probe_disk(self: &Arc<Self>, error: &SpoolError) {
        if matches!(error, SpoolError::Full(_)) || self.probing.swap(true, Ordering::Relaxed) {
            return;
        }
        let this = Arc::clone(self);
        tokio::spawn(async move {
            this.commit_for_sure(vec![Op::PutFact(PROBE.into(), b"{}".to_vec())]).await;
            this.probing.store(false, Ordering::Relaxed);
        });
    }

    /// Commits, again and again until it is done.
    pub(super) async fn commit_for_sure(&self, batch: Batch) {
        let Err(error) = self.committer.commit(batch.clone()).await else { return };
        self.metrics.operation.spool_error(SpoolWork::Outcome);
        tracing::error!(%error, "outcome not written to disk; no attempt is started until it is");
        self.core.lock().pause();
        let resume = Rescue::new(|| {
            self.core.lock().resume();
            self.wake.notify_one();
        });
        let began = self.clock.now().mono;
        let mut pause = COMMIT_PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(COMMIT_PAUSE_MAX);
            match self.committer.commit(batch.clone()).await {
                Ok(()) => break,
                Err(error) if self.clock.now().mono.since(began) > COMMIT_PATIENCE => {
                    let why = format!("the spool has taken no writes for {COMMIT_PATIENCE:?}: {error}");
                    self.fatal.send_replace(Some(why));
                }
                Err(_) => {}
            }
        }
        tracing::warn!("outcome written to disk after all; attempts go on");
        drop(resume);
    }

    /// The entry as it is now, or its removal; and who sent it, where bounces of what was delivered come back to us.
    pub(super) fn batch(&self, entry: &Entry, settled: &Settled) -> Batch {
        let mut batch: Batch = self.sender(entry, settled).into_iter().collect();
        if settled.waits {
            batch.push(Op::PutEntry(Box::new(entry.clone())));
            return batch;
        }
        batch.push(Op::RemoveEntry(entry.id));
        if self.body_goes_along(entry.message) {
            batch.push(Op::RemoveBody(entry.message));
        }
        batch
    }

    /// The original sender, once per message, see [`crate::feedback::senders`].
    fn sender(&self, entry: &Entry, settled: &Settled) -> Option<Op> {
        let delivered = |decided: &Decided| decided.disposition == Disposition::Delivered;
        let in_force = self.in_force();
        if in_force.marker.is_none()
            || !in_force.rewritten.contains(&entry.tenant)
            || !settled.decided.iter().any(delivered)
        {
            return None;
        }
        let address = entry.reverse_path.clone()?;
        let key = Sender::key(entry.message);
        // Only a message of several entries can have been noted before; a look that fails costs one write more.
        let shared = self.shared_bodies.lock().contains_key(&entry.message);
        if shared && matches!(self.spool.fact(&key), Ok(Some(_))) {
            return None;
        }
        Some(Op::PutFact(key, Sender { address, tenant: entry.tenant.clone() }.to_json()))
    }

    /// Whether the body of `id` goes with the entry that is being removed. For a body that is shared the answer is no:
    /// [`Dispatcher::release_body`] removes it once the last entry's removal is on disk.
    fn body_goes_along(&self, id: MessageId) -> bool {
        !self.shared_bodies.lock().contains_key(&id)
    }

    /// One entry less needs the body of `id`; the last takes it along.
    pub(super) async fn release_body(&self, id: MessageId) {
        let last = {
            let mut shared = self.shared_bodies.lock();
            let Some(left) = shared.get_mut(&id) else { return };
            *left = left.saturating_sub(1);
            let last = *left == 0;
            if last {
                shared.remove(&id);
            }
            last
        };
        if last && let Err(error) = self.committer.commit(vec![Op::RemoveBody(id)]).await {
            tracing::warn!(%error, body = %id, "body not removed; recovery will");
        }
    }

    /// Ends an entry without an attempt: its lifetime is over, or its domain takes no mail.
    pub(super) async fn give_up(self: Arc<Self>, id: EntryId, refusal: Option<(EnhancedCode, String)>) {
        let later = Rescue::new(|| {
            let mut core = self.core.lock();
            core.look_again(id, self.clock.now().wall.plus(LOOK_AGAIN));
            self.count_stranded(&core);
            drop(core);
            self.wake.notify_one();
        });
        // From here on it changes.
        drop(self.fresh.take(id));
        let mut entry = match self.spool.entry(id) {
            Ok(Some(entry)) => entry,
            Ok(None) => {
                later.not_needed();
                return self.core.lock().forget(id);
            }
            Err(error @ SpoolError::Corrupt { .. }) => {
                let problem = error.to_string();
                if let Err(error) = self.spool.set_aside(id, &problem) {
                    return tracing::error!(%error, %id, "could not set the entry aside; it waits");
                }
                later.not_needed();
                self.note_set_aside(problem);
                return self.forget_set_aside(&mut self.core.lock(), id);
            }
            // The rescue brings it back.
            Err(error) => {
                self.metrics.operation.spool_error(SpoolWork::Read);
                return tracing::error!(%error, %id, "spool not readable; the entry waits");
            }
        };
        let before = entry.clone();
        let mut decided = state::expire(&mut entry);
        if let Some((enhanced, text)) = &refusal {
            for d in &mut decided {
                d.disposition = Disposition::Bounced;
                d.text = Some(format!("550 {enhanced} {text}"));
            }
        }
        let mut settled = Settled { decided, ..Settled::default() };
        let report = self.write_down(&before, &mut entry, &mut settled, None).await;
        later.not_needed();
        if settled.waits {
            // No space for the report: everything stays as it is and is looked at again later.
            let mut core = self.core.lock();
            core.postpone(&entry, self.clock.now());
            self.count_stranded(&core);
            drop(core);
            return self.wake.notify_one();
        }
        for d in &settled.decided {
            tracing::info!(target: "attempt", id = %id, message = %before.message,
                to = d.address.as_str(), tenant = %before.tenant,
                pool = %before.pool, attempt = before.state.attempts, disposition = %d.disposition.as_str(),
                reply = d.text.as_deref().unwrap_or(""));
        }
        {
            let mut core = self.core.lock();
            self.count_decided(&before, &settled, self.clock.now());
            core.forget(id);
        }
        self.note_double_bounce(&before, &settled, report.is_some());
        self.take_in_report(report);
        self.release_body(before.message).await;
        self.wake.notify_one();
    }
}
