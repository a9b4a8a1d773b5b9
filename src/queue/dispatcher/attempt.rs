//! One attempt: read entry and body · deliver · judge the answers · evidence · write down · settle.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use rand::Rng;

use super::super::core::Start;
use super::super::state::{Answered, Settled};
use super::Dispatcher;
use super::held::Held;
use super::mark::Marked;
use crate::clock::Now;
use crate::config::{Binding, Config, EhloName, Family};
use crate::delivery::{Answer, MxPlan, Order, Report};
use crate::message::{Entry, EntryId, Recipient};
use crate::outcome::classify::Context;
use crate::outcome::{Cause, Disposition};
use crate::scheduler::Settlement;
use crate::store::SpoolError;
use crate::telemetry::events::Kind;
use crate::telemetry::metrics::operation::SpoolWork;
use crate::telemetry::{attempt_log, history, metrics, tls_log, unmatched};

/// When to look again at an entry the spool would not hand out.
const SPOOL_PAUSE: Duration = Duration::from_secs(5);

/// Where an attempt goes and from where.
pub(super) struct Way {
    pub(super) binding: Arc<Binding>,
    plan: Arc<MxPlan>,
    ehlo: String,
    tier: usize,
}

/// Why an entry cannot be tried.
enum Unreadable {
    /// It is corrupt, or its body is.
    Broken(String),
    /// The spool does not answer at this moment.
    Later(SpoolError),
}

impl From<SpoolError> for Unreadable {
    fn from(error: SpoolError) -> Self {
        match error {
            SpoolError::Corrupt { .. } => Self::Broken(error.to_string()),
            other => Self::Later(other),
        }
    }
}

impl Dispatcher {
    /// One attempt, from reading the entry to settling the lease.
    pub(super) async fn attempt(self: Arc<Self>, start: Start) {
        let Start { entry: id, lease, binding, plan, messages_per_connection } = start;
        let recipients = lease.recipients as usize;
        let tier = lease.tier;
        let mut held = Held { dispatcher: &self, entry: id, lease: Some(lease) };
        let (mut entry, body) = match self.load(id) {
            Ok(loaded) => loaded,
            Err(Unreadable::Broken(problem)) => return self.abandon(held, &problem),
            Err(Unreadable::Later(error)) => {
                tracing::error!(%error, %id, "spool not readable; the entry waits");
                self.metrics.operation.spool_error(SpoolWork::Read);
                return held.give_back(Settlement::Unused, SPOOL_PAUSE);
            }
        };
        // The lease is of the configuration that was in force when it was given; what connects now is as it says now.
        let in_force = self.in_force();
        let Some(binding) = in_force.binding(&binding.name) else {
            return held.give_back(Settlement::Unused, Duration::ZERO);
        };
        let way = Way { ehlo: ehlo(&in_force.config, &binding, &entry), binding, plan, tier };
        // Noted in the entry, and so on disk with whatever the attempt makes of it.
        let marked = self.mark(&way, &mut entry, recipients);
        let order = Order {
            message: entry.message,
            binding: Arc::clone(&way.binding),
            ehlo: way.ehlo.clone(),
            plan: Arc::clone(&way.plan),
            provider: way.plan.provider.clone(),
            reverse_path: marked.reverse_path,
            recipients: entry.recipients.iter().take(recipients).map(Recipient::forward_path).collect(),
            head: marked.head,
            envelope_id: marked.envelope_id,
            body: body.clone(),
            eight_bit: entry.eight_bit,
            wishes: entry.wishes.clone(),
            messages_per_connection,
            resign: self.resigns(&entry.tenant).filter(|_| entry.eight_bit),
        };
        let report = self.connector.attempt(order).await;
        self.conclude(held, &way, entry, body, &report).await;
    }

    fn mark(&self, way: &Way, entry: &mut Entry, recipients: usize) -> Marked {
        let in_force = self.in_force();
        let Some(marker) = &in_force.marker else { return Marked::plain(entry) };
        marker.mark(entry, recipients, &way.binding.name, &way.plan.destination, self.clock.now().wall)
    }

    fn load(&self, id: EntryId) -> Result<(Entry, Bytes), Unreadable> {
        if let Some(fresh) = self.fresh.take(id) {
            return Ok(fresh);
        }
        let entry = self.spool.entry(id)?.ok_or_else(|| Unreadable::Broken(format!("entry {id} is gone")))?;
        let body = self.spool.body(entry.message)?;
        let body = body.ok_or_else(|| Unreadable::Broken(format!("body {} of entry {id} is gone", entry.message)))?;
        Ok((entry, body))
    }

    /// An entry that cannot be read: set aside and reported, never tried again in this run.
    fn abandon(&self, mut held: Held<'_>, problem: &str) {
        if let Err(error) = self.spool.set_aside(held.entry, problem) {
            tracing::error!(%error, id = %held.entry, "could not set the entry aside; it waits");
            return held.give_back(Settlement::Unused, SPOOL_PAUSE);
        }
        self.note_set_aside(problem.to_owned());
        if let Some(lease) = held.lease.take() {
            let mut core = self.core.lock();
            self.forget_set_aside(&mut core, held.entry);
            core.settled(held.entry, lease, Settlement::Unused, None, self.clock.now());
        }
        self.finished_one();
    }

    async fn conclude(self: &Arc<Self>, mut held: Held<'_>, way: &Way, mut entry: Entry, body: Bytes, report: &Report) {
        let before = entry.clone();
        let answers = self.judge(way, report);
        let Some(lease) = &held.lease else { return };
        let took = report.local.map(|_| report.latency);
        let random = self.random.lock().random::<f64>();
        let mut settled = Settled::default();
        let (observed, facts) = self.tell(|core, now| {
            let (observed, became) = core.concluded(lease, &mut entry, &answers, took, random, now);
            settled = became;
            observed
        });
        self.wake.notify_one();
        self.announce(&observed);

        let now = self.clock.now();
        settled.dsn_passed = report.dsn_passed;
        let told = self.write_down(&before, &mut entry, &mut settled, Some(body)).await;
        self.written(facts).await;
        self.log(way, &before, &entry, report, &answers, &settled);
        self.count(way, &before, report, &answers);
        if let Some(lease) = held.lease.take() {
            let rest = settled.waits.then_some(&entry);
            let mut core = self.core.lock();
            self.count_decided(&before, &settled, now);
            core.settled(entry.id, lease, settlement(&answers, report), rest, self.clock.now());
            self.count_stranded(&core);
            let reactions = core.take_reactions();
            drop(core);
            self.note_reactions(&reactions);
        }
        self.wake.notify_one();
        self.note_double_bounce(&before, &settled, told.is_some());
        self.take_in_report(told);
        if !settled.waits {
            self.release_body(entry.message).await;
        }
        self.finished_one();
    }

    fn judge(&self, way: &Way, report: &Report) -> Vec<Answered> {
        let provider = way.plan.provider.as_ref();
        let classifier = self.classifier();
        let own = way.binding.own_addresses();
        let judged = report.answers.iter().enumerate().map(|(recipient, answer)| {
            let (outcome, text) = match answer {
                Answer::Reply(stage, reply) => {
                    (classifier.reply(reply, Context { stage: *stage, provider, own: &own }), reply.to_string())
                }
                Answer::Failure(failure) => (classifier.failure(failure), failure.to_string()),
            };
            Answered { recipient, outcome, text, host: report.host.clone() }
        });
        judged.collect()
    }

    fn log(&self, way: &Way, before: &Entry, after: &Entry, report: &Report, answers: &[Answered], settled: &Settled) {
        if !attempt_log::is_on() {
            return;
        }
        for answer in answers {
            let Some(recipient) = before.recipients.get(answer.recipient) else { continue };
            let deferred = answer.outcome.disposition == Disposition::Deferred && settled.waits;
            attempt_log::write(&attempt_log::Line {
                entry: before,
                recipient: &recipient.address,
                binding: &way.binding,
                ehlo: &way.ehlo,
                destination: way.plan.destination.as_str(),
                report,
                attempt: after.state.attempts.max(before.state.attempts),
                outcome: &answer.outcome,
                text: &answer.text,
                next: deferred.then_some(after.state.next_at),
            });
        }
    }

    fn count(&self, way: &Way, before: &Entry, report: &Report, answers: &[Answered]) {
        let destination = way.plan.provider.as_ref().map_or(metrics::OTHER, |p| p.as_str());
        for answer in answers {
            let cause = answer.outcome.cause.map_or("none", Cause::as_str);
            let labels = [way.binding.name.as_str(), destination, answer.outcome.disposition.as_str(), cause];
            self.metrics.attempts.with_label_values(&labels).inc();
            if answer.outcome.disposition == Disposition::Deferred {
                self.counts.deferred.fetch_add(1, Ordering::Relaxed);
            }
            if answer.outcome.is_unmatched() {
                let class = answer.text.get(..1).unwrap_or("");
                self.metrics.unmatched_replies.with_label_values(&[class, destination]).inc();
            }
        }
        if let Some(local) = report.local {
            let labels = [way.binding.name.as_str(), Family::of(local.ip()).label()];
            self.metrics.attempts_by_family.with_label_values(&labels).inc();
        }
        self.remember(way, destination, answers);
        let attempted = unmatched::Attempted {
            entry: before,
            binding: &way.binding.name,
            ehlo: &way.ehlo,
            provider: destination,
            destination: way.plan.destination.as_str(),
            report,
            answers,
        };
        self.events.unmatched.note(&attempted, self.clock.now().wall);
        if report.is_fate_unknown() {
            self.counts.duplicates_possible.fetch_add(1, Ordering::Relaxed);
            self.metrics.duplicates_possible.inc();
        }
        if way.tier > 0 {
            self.metrics.failovers.with_label_values(&[before.pool.as_str()]).inc();
        }
        self.count_tls(way, report);
        self.metrics.attempt_seconds.observe(report.latency.as_secs_f64());
        self.tell_refusal(way, before, report, answers);
    }

    /// TLS of a connection that was made for this attempt; one used again was counted when it was made.
    fn count_tls(&self, way: &Way, report: &Report) {
        if report.reused || report.local.is_none() {
            return;
        }
        self.metrics.delivery.count(&report.tls);
        for news in tls_log::news(report, way.binding.name.as_str(), way.plan.destination.as_str()) {
            tls_log::write(&news);
            self.events.note(Kind::Note, news, self.clock.now().wall);
        }
    }

    /// For the last hour as the console shows it.
    fn remember(&self, way: &Way, destination: &str, answers: &[Answered]) {
        let (now, mut history) = (self.clock.now().wall, self.history.lock());
        for answer in answers {
            let attempted = history::Attempted {
                binding: &way.binding.name,
                destination,
                disposition: answer.outcome.disposition,
                text: &answer.text,
                rule: &answer.outcome.rule,
                scope: answer.outcome.scope.as_str(),
            };
            history.note(&attempted, now);
        }
    }

    /// Counts recipients whose fate is decided. Called under the core's lock, with the move it counts.
    pub(super) fn count_decided(&self, entry: &Entry, settled: &Settled, now: Now) {
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

fn ehlo(config: &Config, binding: &Binding, entry: &Entry) -> String {
    let hostname = || config.server.hostname.to_string();
    match &binding.ehlo_hostname {
        EhloName::Literal(name) => name.to_string(),
        EhloName::Hostname => hostname(),
        EhloName::Message => entry.reverse_path.as_ref().map_or_else(hostname, |from| from.domain().to_string()),
    }
}

/// What the attempt spent of the caps.
fn settlement(answers: &[Answered], report: &Report) -> Settlement {
    if report.is_fate_unknown() {
        return Settlement::Unknown;
    }
    let accepted = answers.iter().filter(|a| a.outcome.disposition == Disposition::Delivered).count();
    if accepted == 0 && report.local.is_none() {
        // No connection was made.
        return Settlement::Unused;
    }
    Settlement::Accepted(accepted as u32)
}
