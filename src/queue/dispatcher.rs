//! Carries out the core's actions: the one place where the loop closes.
//!
//! One task asks [`Core::next`] and starts what it says; each attempt runs as a task of its own. An attempt's news enters
//! the core twice: its evidence as soon as the replies are known (the next decision must already know), its settlement
//! once the outcome is on disk (so the connection slot and the cap reservation stay taken until a crash can no longer
//! bring the message back). The order of one attempt is: read entry and body · deliver · evidence · commit · settle.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Notify;

use super::core::{Action, Core, Observed, Start};
use super::fresh::Fresh;
use super::state::{self, Answered, Decided, Settled};
use crate::clock::{Clock, Now};
use crate::config::{Config, EhloName};
use crate::delivery::{Answer, Connector, Order, Report, Resolver};
use crate::message::{Entry, EntryId, EntryState, IdSource, MessageId, Recipient};
use crate::outcome::classify::{Classifier, Context};
use crate::outcome::failure::FailureKind;
use crate::outcome::{Cause, Disposition, EnhancedCode, Outcome, Stage, dsn};
use crate::reputation::Evidence;
use crate::reputation::evidence::AttemptResult;
use crate::reputation::facts::Fact;
use crate::scheduler::Settlement;
use crate::scheduler::cap::GrantRequest;
use crate::store::committer::Committer;
use crate::store::{Batch, Op, Spool, SpoolError};
use crate::telemetry::{Metrics, attempt_log};

/// How much of a message a DSN quotes: its header, at most this.
const DSN_QUOTE_MAX: usize = 16 * 1024;
/// Octets of new mail kept in memory for its first attempt.
const FRESH_OCTETS: usize = 32 << 20;

/// Totals since start that add up: accepted = delivered + bounced + expired + waiting.
#[derive(Debug, Default)]
pub struct Counts {
    /// Messages answered 250.
    pub accepted_messages: AtomicU64,
    /// Recipients of those.
    pub accepted_recipients: AtomicU64,
    /// Recipients found waiting at start.
    pub recovered_recipients: AtomicU64,
    /// Recipients delivered.
    pub delivered: AtomicU64,
    /// Recipients bounced.
    pub bounced: AtomicU64,
    /// Recipients expired.
    pub expired: AtomicU64,
    /// Deferrals (a recipient may have many).
    pub deferred: AtomicU64,
    /// Reports queued.
    pub dsn: AtomicU64,
    /// Attempts of unknown fate.
    pub duplicates_possible: AtomicU64,
}

/// The shell around [`Core`].
pub struct Dispatcher {
    core: Mutex<Core>,
    config: Arc<Config>,
    clock: Arc<dyn Clock>,
    spool: Arc<dyn Spool>,
    committer: Committer,
    connector: Arc<dyn Connector>,
    resolver: Arc<Resolver>,
    classifier: Arc<Classifier>,
    metrics: Arc<Metrics>,
    ids: Mutex<IdSource>,
    /// Entries left of messages that have more than one; their body goes with the last.
    shared_bodies: Mutex<HashMap<MessageId, u32>>,
    fresh: Fresh,
    random: Mutex<SmallRng>,
    wake: Notify,
    idle: Notify,
    counts: Counts,
    quarantined: Mutex<Vec<String>>,
    on_blame: Mutex<Option<Arc<dyn Fn(&crate::message::BindingName) + Send + Sync>>>,
}

/// What a dispatcher is made of.
pub struct Parts {
    /// The pure machine, already filled from recovery.
    pub core: Core,
    /// The configuration.
    pub config: Arc<Config>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Durable state, for reading.
    pub spool: Arc<dyn Spool>,
    /// Durable state, for writing.
    pub committer: Committer,
    /// Makes attempts.
    pub connector: Arc<dyn Connector>,
    /// Finds hosts.
    pub resolver: Arc<Resolver>,
    /// Reads replies.
    pub classifier: Arc<Classifier>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Ids greater than any on disk.
    pub ids: IdSource,
    /// Seed of the jitter.
    pub seed: u64,
}

impl Dispatcher {
    /// Puts the parts together; nothing runs until [`Dispatcher::run`].
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            core: Mutex::new(parts.core),
            config: parts.config,
            clock: parts.clock,
            spool: parts.spool,
            committer: parts.committer,
            connector: parts.connector,
            resolver: parts.resolver,
            classifier: parts.classifier,
            metrics: parts.metrics,
            ids: Mutex::new(parts.ids),
            shared_bodies: Mutex::default(),
            fresh: Fresh::new(FRESH_OCTETS),
            random: Mutex::new(SmallRng::seed_from_u64(parts.seed)),
            wake: Notify::new(),
            idle: Notify::new(),
            counts: Counts::default(),
            quarantined: Mutex::default(),
            on_blame: Mutex::default(),
        })
    }

    /// Calls `f` with the binding whenever a reply blames its IP, so that the monitor can look at once.
    pub fn on_blame(&self, f: Arc<dyn Fn(&crate::message::BindingName) + Send + Sync>) {
        *self.on_blame.lock() = Some(f);
    }

    /// Looks into the core. Keep it short: every decision waits meanwhile.
    pub fn with_core<R>(&self, f: impl FnOnce(&Core) -> R) -> R {
        f(&self.core.lock())
    }

    /// Totals since start.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The present instant of the clock everything here runs by.
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// The metrics everything here counts in.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Durable state, for reading.
    pub fn spool(&self) -> &dyn Spool {
        &*self.spool
    }

    /// Records set aside since start.
    pub fn quarantined(&self) -> Vec<String> {
        self.quarantined.lock().clone()
    }

    /// Notes a record set aside.
    pub fn note_quarantined(&self, what: String) {
        tracing::error!(record = %what, "spool record set aside; the rest goes on");
        self.quarantined.lock().push(what);
    }

    /// A fresh id.
    pub fn next_id(&self) -> u64 {
        self.ids.lock().next(self.clock.now().wall)
    }

    /// Makes a message durable, then takes its entries in. Returns once it is on disk.
    pub async fn accept(&self, id: MessageId, body: Bytes, entries: Vec<Entry>) -> Result<(), SpoolError> {
        let mut batch: Batch = Vec::with_capacity(entries.len() + 1);
        batch.push(Op::PutBody(id, body.clone()));
        batch.extend(entries.iter().map(|entry| Op::PutEntry(Box::new(entry.clone()))));
        self.committer.commit(batch).await?;
        self.share_body(id, entries.len() as u32);
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

    /// Notes that `entries` entries (more) need the body of `id`.
    pub fn share_body(&self, id: MessageId, entries: u32) {
        if entries > 1 {
            *self.shared_bodies.lock().entry(id).or_default() += entries;
        }
    }

    /// How many more entries than messages there are.
    pub fn entries_beyond_one_per_message(&self) -> u64 {
        self.shared_bodies.lock().values().map(|left| u64::from(left.saturating_sub(1))).sum()
    }

    /// Whether the body of `id` goes with the entry that is being removed. For a body that is shared the answer is no:
    /// [`Dispatcher::release_body`] removes it once the last entry's removal is on disk.
    fn body_goes_along(&self, id: MessageId) -> bool {
        !self.shared_bodies.lock().contains_key(&id)
    }

    async fn release_body(&self, id: MessageId) {
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
        if last {
            if let Err(error) = self.committer.commit(vec![Op::RemoveBody(id)]).await {
                tracing::warn!(%error, message = %id, "body not removed; recovery will");
            }
        }
    }

    /// Takes in entries that are on disk already; where their body is given, it is kept at hand with them. `count` runs
    /// under the core's lock, like every count of recipients, so that a snapshot adds up at any instant.
    fn take_in(&self, entries: Vec<Entry>, body: Option<Bytes>, count: impl FnOnce(&Counts)) {
        let now = self.clock.now();
        let mut core = self.core.lock();
        count(&self.counts);
        for entry in entries {
            if !core.enqueue(&entry, now) {
                tracing::error!(id = %entry.id, pool = %entry.pool, tenant = %entry.tenant,
                    "entry kept on disk but not queued: its pool or tenant is no longer configured");
            } else if let Some(body) = &body {
                // Under the core's lock: no attempt can have begun.
                self.fresh.put(entry, body.clone());
            }
        }
        drop(core);
        self.wake.notify_one();
    }

    /// Takes in what recovery found.
    pub fn recovered(&self, entries: Vec<Entry>) {
        let mut per_message: HashMap<MessageId, u32> = HashMap::new();
        for entry in &entries {
            *per_message.entry(entry.message).or_default() += 1;
        }
        let recipients: u64 = entries.iter().map(|entry| entry.recipients.len() as u64).sum();
        for (message, count) in per_message {
            self.share_body(message, count);
        }
        self.take_in(entries, None, |counts| {
            counts.recovered_recipients.fetch_add(recipients, Ordering::Relaxed);
        });
    }

    /// News from the monitor or the operator.
    pub async fn observe(&self, evidence: Evidence) {
        let observed = self.core.lock().observe(&evidence, self.clock.now());
        self.publish(observed).await;
        self.wake.notify_one();
    }

    /// Runs until [`Dispatcher::stop`], then returns when nothing is on the wire any more.
    pub async fn run(self: Arc<Self>, stop: tokio::sync::watch::Receiver<bool>) {
        let mut stop = stop;
        loop {
            let (wakeup, observed) = self.start_what_is_due();
            if !observed.is_empty() {
                self.publish(observed).await;
            }
            let pause = wakeup.map_or(Duration::from_secs(60), |at| at.since(self.clock.now().wall));
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(pause.max(Duration::from_millis(1))) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        self.core.lock().stop();
        loop {
            let idle = self.idle.notified();
            if self.with_core(Core::in_flight) == 0 {
                return;
            }
            idle.await;
        }
    }

    /// Writes the exact use of every cap, so that a clean stop gives unspent grants back.
    pub async fn write_final_grants(&self) {
        let grants = self.with_core(|core| core.scheduler().final_grants());
        let batch: Batch = grants.iter().map(grant_op).collect();
        if let Err(error) = self.committer.commit(batch).await {
            tracing::warn!(%error, "final grants not written; today's unspent grants are lost");
        }
    }

    fn start_what_is_due(self: &Arc<Self>) -> (Option<crate::clock::Wall>, Observed) {
        let now = self.clock.now();
        let mut core = self.core.lock();
        let observed = core.tick(now);
        while let Some(action) = core.next(now) {
            let this = Arc::clone(self);
            match action {
                Action::Attempt(start) => drop(tokio::spawn(this.attempt(start))),
                Action::Resolve(domain) => drop(tokio::spawn(async move {
                    let planned = this.resolver.plan(&domain).await;
                    this.core.lock().resolved(&domain, planned, this.clock.now());
                    this.wake.notify_one();
                })),
                Action::WriteGrants(grants) => drop(tokio::spawn(this.write_grants(grants))),
                Action::Expire(id) => drop(tokio::spawn(async move { this.give_up(id, None).await })),
                Action::Refuse { entry, enhanced, text } => {
                    drop(tokio::spawn(async move { this.give_up(entry, Some((enhanced, text))).await }));
                }
            }
        }
        (core.next_wakeup(), observed)
    }

    async fn write_grants(self: Arc<Self>, grants: Vec<GrantRequest>) {
        let result = self.committer.commit(grants.iter().map(grant_op).collect()).await;
        if let Err(error) = &result {
            tracing::error!(%error, "daily cap grants not written; bindings with caps wait");
        }
        self.core.lock().grants_written(&grants, result.is_ok(), self.clock.now());
        self.wake.notify_one();
    }

    /// One attempt, from reading the entry to settling the lease.
    async fn attempt(self: Arc<Self>, start: Start) {
        let (entry, body) = match self.load(start.entry) {
            Ok(loaded) => loaded,
            Err(problem) => return self.abandon(start, problem),
        };
        let order = self.order(&start, &entry, body);
        let ehlo = order.ehlo.clone();
        let report = self.connector.attempt(order).await;
        self.conclude(start, entry, &ehlo, &report).await;
    }

    fn load(&self, id: EntryId) -> Result<(Entry, Bytes), String> {
        if let Some(fresh) = self.fresh.take(id) {
            return Ok(fresh);
        }
        let entry = self.spool.entry(id).map_err(|e| e.to_string())?.ok_or_else(|| format!("entry {id} is gone"))?;
        let body = self.spool.body(entry.message).map_err(|e| e.to_string())?;
        let body = body.ok_or_else(|| format!("body {} of entry {id} is gone", entry.message))?;
        Ok((entry, body))
    }

    /// An entry that cannot be read: set aside and reported, never tried again in this run.
    fn abandon(&self, start: Start, problem: String) {
        if let Err(error) = self.spool.set_aside(start.entry, &problem) {
            tracing::error!(%error, id = %start.entry, "could not set the entry aside");
        }
        self.note_quarantined(problem);
        self.core.lock().settled(start.entry, start.lease, Settlement::Unused, None, self.clock.now());
        self.finished_one();
    }

    fn order(&self, start: &Start, entry: &Entry, body: Bytes) -> Order {
        let hostname = || self.config.server.hostname.to_string();
        let ehlo = match &start.binding.ehlo_hostname {
            EhloName::Literal(name) => name.to_string(),
            EhloName::Hostname => hostname(),
            EhloName::Message => entry.reverse_path.as_ref().map_or_else(hostname, |from| from.domain().to_string()),
        };
        Order {
            message: entry.message,
            binding: Arc::clone(&start.binding),
            ehlo,
            plan: Arc::clone(&start.plan),
            provider: start.plan.provider.clone(),
            reverse_path: entry.reverse_path.clone(),
            recipients: entry
                .recipients
                .iter()
                .take(start.lease.recipients as usize)
                .map(|r| r.address.clone())
                .collect(),
            body,
            eight_bit: entry.eight_bit,
            messages_per_connection: start.messages_per_connection,
        }
    }

    async fn conclude(&self, start: Start, mut entry: Entry, ehlo: &str, report: &Report) {
        let before = entry.clone();
        let answers = self.judge(&start, report);
        let evidence = evidence(&start, &before, &answers, report);
        let now = self.clock.now();
        let observed = self.core.lock().reported(&evidence, now);
        self.wake.notify_one();

        let random = self.random.lock().random::<f64>();
        let mut settled =
            state::settle(&mut entry, &answers, &start.binding.name, &self.config.queue, random, now.wall);
        self.announce(&observed);
        let facts: Vec<Op> = observed.facts.iter().map(fact_op).collect();
        let dsn = self.write_down(&before, &mut entry, &mut settled, facts).await;
        self.log(&start, &before, &entry, ehlo, report, &answers, &settled);
        self.count(&start, &before, report, &answers);
        let settlement = settlement(&answers, report);
        let rest = settled.waits.then_some(&entry);
        {
            let mut core = self.core.lock();
            self.count_decided(&before, &settled, now);
            core.settled(entry.id, start.lease, settlement, rest, self.clock.now());
        }
        self.take_in_dsn(dsn);
        if !settled.waits {
            self.release_body(entry.message).await;
        }
        self.finished_one();
    }

    /// Puts what became of an entry on disk and returns the entry of the DSN, if one was written.
    ///
    /// A DSN is new mail and may find no space. Then the recipients it was about go back to waiting: they are tried, and
    /// reported, again later; nobody is dropped without a report.
    async fn write_down(
        &self,
        before: &Entry,
        entry: &mut Entry,
        settled: &mut Settled,
        facts: Vec<Op>,
    ) -> Option<Entry> {
        let (dsn, entry_of_dsn) = self.dsn(before, settled);
        let mut batch = self.batch(entry, settled);
        batch.extend(facts.iter().cloned());
        batch.extend(dsn);
        let mut result = self.committer.commit(batch).await;
        let full = matches!(result, Err(SpoolError::Full(_)));
        let mut written = entry_of_dsn.filter(|_| result.is_ok());
        if full && settled.failed().next().is_some() {
            state::take_back_failed(before, entry, settled, &self.config.queue, self.clock.now().wall);
            let mut batch = self.batch(entry, settled);
            batch.extend(facts);
            result = self.committer.commit(batch).await;
            written = None;
        }
        if let Err(error) = result {
            // What is delivered is delivered: in memory it is done. After a restart the record on disk, which could not
            // be updated, may send it once more.
            tracing::error!(%error, id = %entry.id, "outcome not written to disk; a restart may repeat this delivery");
        }
        written
    }

    fn judge(&self, start: &Start, report: &Report) -> Vec<Answered> {
        let provider = start.plan.provider.as_ref();
        let judged = report.answers.iter().enumerate().map(|(recipient, answer)| {
            let (outcome, text) = match answer {
                Answer::Reply(stage, reply) => {
                    (self.classifier.reply(reply, Context { stage: *stage, provider }), reply.to_string())
                }
                Answer::Failure(failure) => (self.classifier.failure(failure), failure.to_string()),
            };
            Answered { recipient, outcome, text, host: report.host.clone() }
        });
        judged.collect()
    }

    /// The entry as it is now, or its removal.
    fn batch(&self, entry: &Entry, settled: &Settled) -> Batch {
        if settled.waits {
            return vec![Op::PutEntry(Box::new(entry.clone()))];
        }
        let mut batch = vec![Op::RemoveEntry(entry.id)];
        if self.body_goes_along(entry.message) {
            batch.push(Op::RemoveBody(entry.message));
        }
        batch
    }

    /// The report to the sender, as a body and an entry of its own. None for mail with the null reverse path
    /// (RFC 5321 §4.5.5): a bounce is never bounced.
    fn dsn(&self, entry: &Entry, settled: &Settled) -> (Batch, Option<Entry>) {
        let failed: Vec<&Decided> = settled.failed().collect();
        let Some(sender) = entry.reverse_path.clone().filter(|_| !failed.is_empty()) else {
            return (Batch::new(), None);
        };
        let now = self.clock.now().wall;
        let original = self.spool.body(entry.message).ok().flatten().unwrap_or_default();
        let original = original.slice(..original.len().min(DSN_QUOTE_MAX));
        let message = MessageId(self.next_id());
        let recipients: Vec<_> = failed
            .iter()
            .map(|d| dsn::FailedRecipient {
                address: &d.address,
                expired: d.disposition == Disposition::Expired,
                reply: d.text.as_deref(),
                host: d.host.as_deref(),
                last_attempt: (entry.state.attempts > 0 || d.disposition == Disposition::Bounced).then_some(now),
            })
            .collect();
        let body = dsn::failure_report(&dsn::ReportInput {
            hostname: self.config.server.hostname.as_str(),
            id: &message.to_string(),
            to: &sender,
            original: &original,
            recipients: &recipients,
            arrived: entry.arrived,
            now,
        });
        let entry = Entry {
            id: EntryId(self.next_id()),
            message,
            tenant: entry.tenant.clone(),
            stream: entry.stream.clone(),
            pool: entry.pool.clone(),
            domain: sender.domain(),
            reverse_path: None,
            recipients: vec![Recipient { address: sender, state: Default::default() }],
            arrived: now,
            expires: now.plus(self.config.queue.bounce_lifetime),
            size: body.len() as u64,
            eight_bit: false,
            state: EntryState::default(),
        };
        (vec![Op::PutBody(message, body), Op::PutEntry(Box::new(entry.clone()))], Some(entry))
    }

    /// Ends an entry without an attempt: its lifetime is over, or its domain takes no mail.
    async fn give_up(&self, id: EntryId, refusal: Option<(EnhancedCode, String)>) {
        // From here on it changes.
        drop(self.fresh.take(id));
        let mut entry = match self.spool.entry(id) {
            Ok(Some(entry)) => entry,
            Ok(None) => return self.core.lock().forget(id),
            Err(error) => {
                self.note_quarantined(error.to_string());
                return self.core.lock().forget(id);
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
        let mut settled = Settled { decided, waits: false };
        let dsn = self.write_down(&before, &mut entry, &mut settled, Vec::new()).await;
        if settled.waits {
            // No space for the report: everything stays as it is and is looked at again later.
            self.core.lock().postpone(&entry, self.clock.now());
            return self.wake.notify_one();
        }
        for d in &settled.decided {
            tracing::info!(target: "attempt", id = %id, to = %format_args!("<{}>", d.address), tenant = %before.tenant,
                pool = %before.pool, binding = "", attempt = before.state.attempts,
                disposition = %d.disposition.as_str(), reply = %d.text.as_deref().unwrap_or(""));
        }
        {
            let mut core = self.core.lock();
            self.count_decided(&before, &settled, self.clock.now());
            core.forget(id);
        }
        self.take_in_dsn(dsn);
        self.release_body(before.message).await;
        self.wake.notify_one();
    }

    fn take_in_dsn(&self, dsn: Option<Entry>) {
        if let Some(entry) = dsn {
            self.metrics.dsns.inc();
            self.take_in(vec![entry], None, |counts| {
                counts.dsn.fetch_add(1, Ordering::Relaxed);
            });
        }
    }

    fn finished_one(&self) {
        self.wake.notify_one();
        self.idle.notify_waiters();
    }

    /// Logs and counts changes of health, and writes them down.
    async fn publish(&self, observed: Observed) {
        self.announce(&observed);
        let batch: Batch = observed.facts.iter().map(fact_op).collect();
        if batch.is_empty() {
            return;
        }
        if let Err(error) = self.committer.commit(batch).await {
            tracing::error!(%error, "health not written to disk; a restart forgets this change");
        }
    }

    fn announce(&self, observed: &Observed) {
        for change in &observed.changes {
            crate::telemetry::health_log::write(change);
            crate::telemetry::health_log::count(&self.metrics, change);
        }
        for note in &observed.notes {
            tracing::warn!(target: "health", ?note);
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn log(
        &self,
        start: &Start,
        before: &Entry,
        after: &Entry,
        ehlo: &str,
        report: &Report,
        answers: &[Answered],
        settled: &Settled,
    ) {
        if !attempt_log::is_on() {
            return;
        }
        for answer in answers {
            let Some(recipient) = before.recipients.get(answer.recipient) else { continue };
            let deferred = answer.outcome.disposition == Disposition::Deferred && settled.waits;
            attempt_log::write(&attempt_log::Line {
                entry: before,
                recipient: &recipient.address,
                binding: &start.binding,
                ehlo,
                destination: start.plan.destination.as_str(),
                report,
                attempt: after.state.attempts.max(before.state.attempts),
                outcome: &answer.outcome,
                text: &answer.text,
                next: deferred.then_some(after.state.next_at),
            });
        }
    }

    fn count(&self, start: &Start, before: &Entry, report: &Report, answers: &[Answered]) {
        let destination = start.plan.provider.as_ref().map_or(crate::telemetry::metrics::OTHER, |p| p.as_str());
        for answer in answers {
            let cause = answer.outcome.cause.map_or("none", Cause::as_str);
            let labels = [start.binding.name.as_str(), destination, answer.outcome.disposition.as_str(), cause];
            self.metrics.attempts.with_label_values(&labels).inc();
            if answer.outcome.disposition == Disposition::Deferred {
                self.counts.deferred.fetch_add(1, Ordering::Relaxed);
            }
            if answer.outcome.rule.starts_with("fallback.") {
                let class = answer.text.get(..1).unwrap_or("");
                self.metrics.unmatched_replies.with_label_values(&[class]).inc();
            }
        }
        if unknown_fate(report) {
            self.counts.duplicates_possible.fetch_add(1, Ordering::Relaxed);
            self.metrics.duplicates_possible.inc();
        }
        if start.lease.tier > 0 {
            self.metrics.failovers.with_label_values(&[before.pool.as_str()]).inc();
        }
        self.metrics.attempt_seconds.observe(report.latency.as_secs_f64());
        if let Some(on_blame) = self.on_blame.lock().clone() {
            if answers.iter().any(|a| a.outcome.counts_against_ip) {
                on_blame(&start.binding.name);
            }
        }
    }

    fn count_decided(&self, entry: &Entry, settled: &Settled, now: Now) {
        for decided in &settled.decided {
            let counter = match decided.disposition {
                Disposition::Delivered => &self.counts.delivered,
                Disposition::Expired => &self.counts.expired,
                _ => &self.counts.bounced,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            let labels = [entry.tenant.as_str(), decided.disposition.as_str()];
            self.metrics.dispositions.with_label_values(&labels).inc();
            if decided.disposition == Disposition::Delivered {
                self.metrics.queue_seconds.observe(now.wall.since(entry.arrived).as_secs_f64());
            }
        }
    }
}

fn grant_op(grant: &GrantRequest) -> Op {
    // Text, a date and a number always serialise.
    Op::PutFact(grant.fact_key(), serde_json::to_vec(grant).unwrap_or_default())
}

fn fact_op(fact: &Fact) -> Op {
    match fact {
        Fact::Put(key, value) => Op::PutFact(key.clone(), value.clone()),
        Fact::Remove(key) => Op::RemoveFact(key.clone()),
    }
}

fn unknown_fate(report: &Report) -> bool {
    report.answers.iter().any(|answer| {
        matches!(answer, Answer::Failure(f) if f.stage == Stage::EndOfData
            && matches!(f.kind, FailureKind::Reset | FailureKind::TimedOut | FailureKind::Protocol))
    })
}

/// What the attempt spent of the caps.
fn settlement(answers: &[Answered], report: &Report) -> Settlement {
    if unknown_fate(report) {
        return Settlement::Unknown;
    }
    let accepted = answers.iter().filter(|a| a.outcome.disposition == Disposition::Delivered).count();
    if accepted == 0 && report.remote.is_none() {
        return Settlement::Unused;
    }
    Settlement::Accepted(accepted as u32)
}

fn evidence(start: &Start, entry: &Entry, answers: &[Answered], report: &Report) -> Vec<Evidence> {
    let binding = start.binding.name.clone();
    let bind_failure = report.answers.iter().find_map(|answer| match answer {
        Answer::Failure(f) if f.kind == FailureKind::Bind => Some(f.detail.clone()),
        _ => None,
    });
    if let Some(detail) = bind_failure {
        return vec![Evidence::Unbindable { binding, detail }];
    }
    let seen = answers.iter().map(|answer| {
        let outcome = if state::may_blame(entry, answer.recipient, &binding) {
            answer.outcome.clone()
        } else {
            state::without_blame(answer.outcome.clone())
        };
        Evidence::Attempt {
            binding: binding.clone(),
            destination: start.plan.destination.clone(),
            tenant: entry.tenant.clone(),
            domain: entry.domain.clone(),
            result: attempt_result(outcome, &answer.text),
        }
    });
    seen.collect()
}

fn attempt_result(outcome: Outcome, text: &str) -> AttemptResult {
    match outcome.cause {
        Some(cause) if outcome.disposition != Disposition::Delivered => AttemptResult::Refused {
            cause,
            scope: outcome.scope,
            hard: outcome.hard,
            counts_against_ip: outcome.counts_against_ip,
            action: outcome.action,
            rule: outcome.rule,
            text: text.to_owned(),
        },
        _ => AttemptResult::Accepted,
    }
}
