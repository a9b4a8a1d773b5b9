//! What must happen when a task ends half-way: a lease goes back, a question gets an answer.

use std::time::Duration;

use super::Dispatcher;
use crate::message::EntryId;
use crate::scheduler::{Lease, Settlement};

/// Does something unless told that it is not needed: for a task that is cut or panics half-way.
pub(super) struct Rescue<F: FnMut()> {
    act: F,
    needed: bool,
}

impl<F: FnMut()> Rescue<F> {
    pub(super) fn new(act: F) -> Self {
        Self { act, needed: true }
    }

    pub(super) fn not_needed(mut self) {
        self.needed = false;
    }
}

impl<F: FnMut()> Drop for Rescue<F> {
    fn drop(&mut self) {
        if self.needed {
            (self.act)();
        }
    }
}

/// The lease of an attempt on the wire. Dropped unsettled — the task was cut or went wrong — it goes back as one of
/// unknown fate, and the entry waits.
pub(super) struct Held<'a> {
    pub(super) dispatcher: &'a Dispatcher,
    pub(super) entry: EntryId,
    pub(super) lease: Option<Lease>,
}

impl Held<'_> {
    /// Gives the lease back after `span`, the entry unchanged.
    pub(super) fn give_back(&mut self, settlement: Settlement, span: Duration) {
        let Some(lease) = self.lease.take() else { return };
        let now = self.dispatcher.clock.now();
        let mut core = self.dispatcher.core.lock();
        core.give_back(self.entry, lease, settlement, now.wall.plus(span), now);
        self.dispatcher.count_stranded(&core);
        drop(core);
        self.dispatcher.finished_one();
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if self.lease.is_some() {
            tracing::warn!(id = %self.entry, "attempt cut short; its mail stays in the queue");
            self.give_back(Settlement::Unknown, self.dispatcher.config().queue.retry_first);
        }
    }
}
