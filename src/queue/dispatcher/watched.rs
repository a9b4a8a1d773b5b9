//! What the monitor hears from the dispatcher and tells it beside evidence: sender domains, their SPF, how fast mail stopped.

use super::{Dispatcher, OnSender};
use crate::message::Entry;
use crate::monitor::spf::Heard;
use crate::queue::core::reaction::Reaction;
use crate::telemetry::events::Kind;
use crate::telemetry::metrics::reaction::{FIRST_ANSWER, LAST_CLEAN};
use crate::telemetry::spf_log;

impl Dispatcher {
    /// Calls `f` with tenant and sender domain of each message that is taken in, but for the null reverse path.
    pub fn on_sender(&self, f: OnSender) {
        *self.on_sender.lock() = Some(f);
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
