//! Mail that comes in: new and made durable, or found by recovery; and records that had to be set aside.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::{Counts, Dispatcher};
use crate::message::{Entry, EntryId, IdSource, MessageId};
use crate::queue::core::Core;
use crate::store::{Batch, Op, SpoolError};
use crate::telemetry::metrics::operation::SpoolWork;

/// Records set aside that are kept by name; the count goes on.
const QUARANTINED_KEPT: usize = 100;

/// Records set aside: how many, and the last of them in words.
#[derive(Clone, Debug, Default)]
pub struct SetAside {
    /// All of them.
    pub count: u64,
    /// The last hundred.
    pub last: VecDeque<String>,
}

impl Dispatcher {
    /// Makes a message durable, then takes its entries in. Returns once it is on disk.
    pub async fn accept(self: &Arc<Self>, id: MessageId, body: Bytes, entries: Vec<Entry>) -> Result<(), SpoolError> {
        self.accept_with(id, body, entries, Batch::new()).await
    }

    /// As [`Dispatcher::accept`], with `facts` that go to disk with the message or not at all.
    pub async fn accept_with(
        self: &Arc<Self>,
        id: MessageId,
        body: Bytes,
        entries: Vec<Entry>,
        facts: Batch,
    ) -> Result<(), SpoolError> {
        let mut batch: Batch = Vec::with_capacity(entries.len() + 1 + facts.len());
        batch.extend(facts);
        batch.push(Op::PutBody(id, body.clone()));
        batch.extend(entries.iter().map(|entry| Op::PutEntry(Box::new(entry.clone()))));
        let failed = |error: &SpoolError| self.spool_failed(SpoolWork::Mail, error);
        self.committer.commit(batch).await.inspect_err(failed)?;
        if entries.len() > 1 {
            self.shared_bodies.lock().insert(id, entries.len() as u32);
        }
        let recipients: u64 = entries.iter().map(|e| e.recipients.len() as u64).sum();
        if let Some(entry) = entries.first() {
            self.metrics.accepted_messages.with_label_values(&[entry.tenant.as_str()]).inc();
            self.metrics.accepted_recipients.with_label_values(&[entry.tenant.as_str()]).inc_by(recipients);
        }
        self.take_in(entries, Some(body), |counts| {
            counts.accepted_messages.fetch_add(1, Ordering::Relaxed);
            counts.accepted_recipients.fetch_add(recipients, Ordering::Relaxed);
        });
        Ok(())
    }

    /// Puts facts on disk. Returns once they are.
    pub async fn note(self: &Arc<Self>, facts: Batch) -> Result<(), SpoolError> {
        self.committer.commit(facts).await.inspect_err(|error| self.spool_failed(SpoolWork::Fact, error))
    }

    /// Takes in one entry that recovery found. [`Dispatcher::recovery_done`] follows the last.
    pub fn recover(&self, entry: Entry) {
        *self.shared_bodies.lock().entry(entry.message).or_default() += 1;
        let recipients = entry.recipients.len() as u64;
        self.take_in(vec![entry], None, |counts| {
            counts.recovered_recipients.fetch_add(recipients, Ordering::Relaxed);
        });
    }

    /// Ends recovery: `last_id` is the largest id on disk, `set_aside` what earlier runs had set aside.
    pub fn recovery_done(&self, last_id: u64, set_aside: Vec<String>) {
        self.shared_bodies.lock().retain(|_, entries| *entries > 1);
        *self.ids.lock() = IdSource::after(last_id);
        let mut known = self.set_aside.lock();
        known.count = set_aside.len() as u64;
        known.last = set_aside.into_iter().rev().take(QUARANTINED_KEPT).rev().collect();
    }

    /// How many more entries than messages there are.
    pub fn entries_beyond_one_per_message(&self) -> u64 {
        self.shared_bodies.lock().values().map(|left| u64::from(left.saturating_sub(1))).sum()
    }

    /// Takes in entries that are on disk already; where their body is given, it is kept at hand with them. `count` runs
    /// under the core's lock, like every count of recipients, so that a snapshot adds up at any instant.
    pub(super) fn take_in(&self, entries: Vec<Entry>, body: Option<Bytes>, count: impl FnOnce(&Counts)) {
        let now = self.clock.now();
        self.tell_of_sender(&entries);
        let mut core = self.core.lock();
        count(&self.counts);
        for entry in entries {
            if !core.enqueue(&entry, now) {
                tracing::error!(id = %entry.id, pool = %entry.pool, tenant = %entry.tenant,
                    "entry kept on disk but not queued: its pool or tenant is no longer configured; configure it and reload");
            } else if let Some(body) = &body {
                // Under the core's lock: no attempt can have begun.
                self.fresh.put(entry, body.clone());
            }
        }
        self.count_stranded(&core);
        drop(core);
        self.wake.notify_one();
    }

    /// A fresh id.
    pub fn next_id(&self) -> u64 {
        self.ids.lock().next(self.clock.now().wall)
    }

    /// Records set aside, those of earlier runs included.
    pub fn set_aside(&self) -> SetAside {
        self.set_aside.lock().clone()
    }

    /// Notes a record set aside.
    pub fn note_set_aside(&self, what: String) {
        tracing::error!(record = what.as_str(), "spool record set aside; the rest goes on");
        let mut all = self.set_aside.lock();
        all.count += 1;
        if all.last.len() == QUARANTINED_KEPT {
            all.last.pop_front();
        }
        all.last.push_back(what);
    }

    /// Forgets an entry that was set aside and counts its recipients, in one step.
    pub(super) fn forget_set_aside(&self, core: &mut Core, id: EntryId) {
        let recipients = core.index().get(id).map_or(0, |waiting| u64::from(waiting.recipients));
        self.counts.set_aside_recipients.fetch_add(recipients, Ordering::Relaxed);
        core.forget(id);
    }
}
