//! Keeps on disk, by the minute, what a restart should not forget although it can be found out anew: the replies that no
//! rule knew ([`crate::telemetry::unmatched`]), receivers' policies and what came of TLS with them
//! ([`crate::delivery::policy`], [`crate::telemetry::tlsrpt`]), and which bindings the senders' SPF records are proven to cover
//! ([`crate::monitor::spf::kept`]). A crash loses the last minute of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::{Clock, Wall};
use crate::delivery::Policies;
use crate::delivery::policy::holder;
use crate::message::{Domain, TenantName};
use crate::monitor::spf::{Cover, Prepared, kept};
use crate::queue::dispatcher::Dispatcher;
use crate::store::committer::Committer;
use crate::telemetry::{tlsrpt, unmatched};

/// Between two writes.
const PAUSE: Duration = Duration::from_secs(60);
/// Entries looked at while the core is kept.
const SLICE: usize = 4_096;

/// Reads what the last run wrote. What cannot be read is left out with a warning; mail is not held up for it.
pub(super) fn recall(dispatcher: &Dispatcher) {
    let facts = dispatcher.spool().facts(unmatched::FACTS).unwrap_or_else(|error| {
        tracing::warn!(%error, "replies that no rule knew cannot be read; their count starts anew");
        Vec::new()
    });
    let kept = dispatcher.config().classify.unmatched_kept;
    for problem in dispatcher.events().unmatched.restore(kept, facts) {
        tracing::warn!(problem = problem.as_str(), "a reply that no rule knew cannot be read; its count starts anew");
    }
}

/// Writes changes until `stopped` turns true. The last are written by [`write`] at the end of the program.
pub(super) async fn keep(dispatcher: Arc<Dispatcher>, committer: Committer, mut stopped: watch::Receiver<bool>) {
    // An error of the channel means that its sender is gone, which is a stop as well.
    while tokio::time::timeout(PAUSE, stopped.wait_for(|stop| *stop)).await.is_err() {
        write(&dispatcher, &committer).await;
    }
}

/// Writes what has changed.
pub(super) async fn write(dispatcher: &Dispatcher, committer: &Committer) {
    let unmatched = &dispatcher.events().unmatched;
    let changes = unmatched.changes();
    if changes.is_empty() {
        return;
    }
    if let Err(error) = committer.commit(changes.clone()).await {
        unmatched.not_written(&changes);
        tracing::warn!(%error, "replies that no rule knew not written; tried again in a minute");
    }
}

/// Reads what the last run had proven, and which domains have mail that waits. What cannot be read is found out anew.
pub(super) fn recall_cover(cover: &Cover, dispatcher: &Dispatcher) {
    let facts = dispatcher.spool().facts(kept::PREFIX).unwrap_or_else(|error| {
        tracing::warn!(%error, "what was proven of senders' SPF records cannot be read; they are asked anew");
        Vec::new()
    });
    cover.restore(&facts, &waiting(dispatcher));
}

/// Puts a changed configuration in force for what is proven; mail that waits hurries what is not known yet.
/// Most changes have nothing to do with it, and then nobody is asked for what waits.
pub(super) fn recall_waiting(cover: &Cover, dispatcher: &Dispatcher, prepared: Prepared) {
    if cover.is_as(&prepared) {
        return;
    }
    cover.reconfigure(prepared, &waiting(dispatcher));
}

/// Sender domains of what waits, each with its tenant. The core is let go on between two slices.
fn waiting(dispatcher: &Dispatcher) -> BTreeSet<(TenantName, Domain)> {
    let (mut domains, mut before) = (BTreeSet::new(), usize::MAX);
    while before > 0 {
        before = dispatcher.with_core(|core| core.sender_domains(before, SLICE, &mut domains));
    }
    domains
}

/// Writes what is newly proven until `stopped` turns true, as [`keep`] does.
pub(super) async fn keep_cover(cover: Arc<Cover>, committer: Committer, mut stopped: watch::Receiver<bool>) {
    while tokio::time::timeout(PAUSE, stopped.wait_for(|stop| *stop)).await.is_err() {
        write_cover(&cover, &committer).await;
    }
}

/// Writes what is newly proven.
pub(super) async fn write_cover(cover: &Cover, committer: &Committer) {
    loop {
        let changes = cover.changes();
        if changes.is_empty() {
            return;
        }
        if let Err(error) = committer.commit(changes.clone()).await {
            cover.not_written(&changes);
            tracing::warn!(%error, "what is proven of senders' SPF records not written; tried again in a minute");
            return;
        }
    }
}

/// Reads the policies that the last run had fetched, and what it had counted for receivers' reports. What cannot be read is
/// fetched or counted anew.
pub(super) fn recall_policies(policies: &Policies, dispatcher: &Dispatcher) {
    let facts = |prefix| {
        dispatcher.spool().facts(prefix).unwrap_or_else(|error| {
            tracing::warn!(%error, prefix, "what is known of receivers' TLS cannot be read; it begins anew");
            Vec::new()
        })
    };
    let mut wrong = policies.recall(&facts(holder::FACTS));
    wrong.extend(policies.reports().recall(&facts(tlsrpt::FACTS), dispatcher.now().wall));
    for problem in wrong {
        tracing::warn!(problem = problem.as_str(), "what is known of a receiver's TLS cannot be read; it begins anew");
    }
}

/// Writes what is new of both until `stopped` turns true, as [`keep`] does.
pub(super) async fn keep_policies(
    policies: Arc<Policies>,
    clock: Arc<dyn Clock>,
    committer: Committer,
    mut stopped: watch::Receiver<bool>,
) {
    while tokio::time::timeout(PAUSE, stopped.wait_for(|stop| *stop)).await.is_err() {
        write_policies(&policies, &committer, clock.now().wall).await;
    }
}

/// Writes what is new of both.
pub(super) async fn write_policies(policies: &Policies, committer: &Committer, now: Wall) {
    let (known, counted) = (policies.changes(), policies.reports().changes(now));
    let batch: Vec<_> = known.iter().chain(&counted).cloned().collect();
    if batch.is_empty() {
        return;
    }
    if let Err(error) = committer.commit(batch).await {
        policies.not_written(&known);
        policies.reports().not_written(&counted);
        tracing::warn!(%error, "what is known of receivers' TLS not written; tried again in a minute");
    }
}
