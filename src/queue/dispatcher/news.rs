//! News from the monitor or the operator, and what is logged, counted and noted of every change that comes of news.

use std::sync::Arc;

use super::Dispatcher;
use crate::message::{BindingName, ProviderName};
use crate::queue::core::Observed;
use crate::reputation::{Evidence, Health, Subject};
use crate::scheduler::warmup::StageChange;
use crate::telemetry::events::Kind;
use crate::telemetry::{health_log, warmup_log};

impl Dispatcher {
    /// News from the monitor or the operator.
    pub async fn observe(self: &Arc<Self>, evidence: Evidence) {
        let (observed, pending) = self.tell(|core, now| core.observe(&evidence, now));
        self.announce(&observed);
        self.written(pending).await;
        self.wake.notify_one();
    }

    /// Puts a warm-up on a stage by the operator's word. It is on disk when this returns, or will be by and by.
    ///
    /// # Errors
    /// See [`Core::set_stage`].
    pub async fn set_stage(
        self: &Arc<Self>,
        binding: &BindingName,
        provider: Option<&ProviderName>,
        stage: usize,
    ) -> Result<StageChange, String> {
        let mut set = Err(String::new());
        let (observed, pending) = self.tell(|core, now| {
            let (result, observed) = core.set_stage(binding, provider, stage, now);
            set = result;
            observed
        });
        self.announce(&observed);
        self.written(pending).await;
        self.wake.notify_one();
        set
    }

    /// Logs and counts changes of health, of holds and of warm-ups, and notes them as events; connections of a binding
    /// that is out are closed.
    pub(super) fn announce(&self, observed: &Observed) {
        let now = self.clock.now().wall;
        for change in &observed.changes {
            health_log::write(change);
            health_log::count(&self.metrics, change);
            self.events.note(Kind::Health, health_log::fields(change), now);
            if let (Subject::Binding(binding), Health::Suspended { .. }) = (&change.subject, &change.to) {
                self.connector.retire(binding);
            }
        }
        for change in &observed.holds {
            health_log::write_hold(change);
            health_log::count_hold(&self.metrics, change);
            self.events.note(Kind::Note, health_log::hold_fields(change), now);
        }
        for change in &observed.stages {
            warmup_log::write(change);
            warmup_log::count(&self.metrics, change);
            self.events.note(Kind::Warmup, warmup_log::fields(change), now);
        }
        self.note_reactions(&observed.reactions);
        for note in &observed.notes {
            health_log::write_note(note);
            self.events.note(Kind::Note, note.fields(), now);
        }
    }

    /// Attempts of a binding on the wire, and its open connections, idle ones included.
    pub fn on_the_wire(&self, binding: &BindingName) -> (u32, usize) {
        let attempts = self.with_core(|core| {
            let scheduler = core.scheduler();
            scheduler.binding_id(binding).map_or(0, |id| scheduler.attempts_of(id))
        });
        (attempts, self.connector.open(binding))
    }

    /// Closes the idle connections of a binding that takes no more mail.
    pub fn retire(&self, binding: &BindingName) {
        self.connector.retire(binding);
    }
}
