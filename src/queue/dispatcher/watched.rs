//! What the monitor hears from the dispatcher and tells it beside evidence: sender domains, their SPF, how fast mail stopped.

use std::sync::Arc;

use super::super::state::Answered;
use super::attempt::Way;
use super::{Dispatcher, OnSender, Resigns};
use crate::delivery::convert::Resign;
use crate::delivery::{Answer, Report};
use crate::message::{BindingName, Entry, TenantName};
use crate::monitor::spf::Heard;
use crate::outcome::Disposition;
use crate::queue::core::reaction::Reaction;
use crate::telemetry::events::Kind;
use crate::telemetry::metrics::reaction::{FIRST_ANSWER, LAST_CLEAN};
use crate::telemetry::spf_log;

/// A reply that refuses mail, now or for good.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    /// Through which the mail went.
    pub binding: &'a BindingName,
    /// The domain of its sender; none of reports.
    pub sender: Option<&'a str>,
    /// What the receiver said.
    pub reply: &'a str,
    /// It blames the address of the binding.
    pub counts_against_ip: bool,
}

/// Is told of refusals: of an attempt, the first that blames the address, else the first.
pub type OnBlame = Arc<dyn Fn(Refusal<'_>) + Send + Sync>;

impl Dispatcher {
    /// Calls `f` with refusals, so that the monitor can look at once into those that blame an address or name a list.
    pub fn on_blame(&self, f: OnBlame) {
        *self.on_blame.lock() = Some(f);
    }

    /// Tells of what refuses mail in an attempt.
    pub(super) fn tell_refusal(&self, way: &Way, entry: &Entry, report: &Report, answers: &[Answered]) {
        // What we say of connections that failed is no receiver's word.
        let is_reply = |a: &&Answered| matches!(report.answers.get(a.recipient), Some(Answer::Reply(..)));
        let refuses = |a: &&Answered| matches!(a.outcome.disposition, Disposition::Bounced | Disposition::Deferred);
        let blaming = answers.iter().find(|a| a.outcome.counts_against_ip);
        let Some(told) = blaming.or_else(|| answers.iter().filter(refuses).find(is_reply)) else { return };
        // Not called under its lock: what it does is not ours to know.
        let Some(on_blame) = self.on_blame.lock().clone() else { return };
        let sender = entry.reverse_path.as_ref().map(|path| path.domain());
        on_blame(Refusal {
            binding: &way.binding.name,
            sender: sender.as_ref().map(|domain| domain.as_str()),
            reply: &told.text,
            counts_against_ip: told.outcome.counts_against_ip,
        });
    }

    /// Calls `f` with tenant and sender domain of each message that is taken in, but for the null reverse path.
    pub fn on_sender(&self, f: OnSender) {
        *self.on_sender.lock() = Some(f);
    }

    /// Asks `f` who signs a message again that has to be changed on the way.
    pub fn on_change(&self, f: Resigns) {
        *self.resigns.lock() = Some(f);
    }

    pub(super) fn resigns(&self, tenant: &TenantName) -> Option<Arc<dyn Resign>> {
        let resigns = self.resigns.lock().clone();
        resigns.and_then(|resigns| resigns(tenant))
    }

    pub(super) fn tell_of_sender(&self, entries: &[Entry]) {
        // All entries of a message have its sender.
        let Some((entry, path)) = entries.first().and_then(|entry| Some((entry, entry.reverse_path.as_ref()?))) else {
            return;
        };
        let on_sender = self.on_sender.lock().clone();
        if let Some(on_sender) = on_sender {
            on_sender(&entry.tenant, &path.domain());
        }
    }

    /// What was found out about the SPF of a sender domain.
    pub fn heard_of_spf(&self, heard: Heard) {
        match heard {
            Heard::News(news) => {
                self.core.lock().covered(&news.domain, &news.allowed, &news.barred);
                self.wake.notify_one();
            }
            Heard::Note(note) => {
                spf_log::write(&note);
                self.events.note(Kind::Spf, spf_log::fields(&note), self.clock.now().wall);
            }
            Heard::PassedOver(tenant) => {
                self.metrics.spf.passed_over.with_label_values(&[tenant.as_str()]).inc();
            }
            Heard::Evaluated(outcome) => self.metrics.spf.evaluations.with_label_values(&[outcome.as_str()]).inc(),
        }
    }

    /// Counts how long listed bindings went on carrying mail.
    pub(super) fn note_reactions(&self, done: &[Reaction]) {
        for reaction in done {
            let histogram = &self.metrics.reaction.listing_reaction;
            let first = reaction.from_first_answer.as_secs_f64();
            histogram.with_label_values(&[FIRST_ANSWER]).observe(first);
            let clean = reaction.from_last_clean.map(|clean| clean.as_secs_f64());
            clean.into_iter().for_each(|clean| histogram.with_label_values(&[LAST_CLEAN]).observe(clean));
            tracing::info!(binding = %reaction.binding, first_answer_s = first, last_clean_s = clean,
                "a listed binding has carried its last message");
        }
    }
}
