//! What the task of the configuration tells of, and whom it asks.

use super::{Change, Refused, Task};
use crate::clock::Wall;
use crate::message::BindingName;
use crate::orders::Ended;
use crate::queue::dispatcher::Dispatcher;
use crate::telemetry::events::Kind;

/// Events of one change, besides its summary.
const TOLD_MAX: usize = 20;

/// What the task tells of, and asks, beside what it applies.
pub trait Around: Send + Sync + 'static {
    /// Something happened to the configuration in force.
    fn event(&self, fields: Vec<(&'static str, String)>, at: Wall);
    /// A reload of the file succeeded, or was refused.
    fn reloaded(&self, succeeded: bool, at: Wall);
    /// Whether nothing of a binding that takes no more mail is on the wire, no attempt and no connection. Closes those
    /// that idle.
    fn is_off_the_wire(&self, binding: &BindingName) -> bool;
}

impl Around for Dispatcher {
    fn event(&self, fields: Vec<(&'static str, String)>, at: Wall) {
        self.events().note(Kind::Config, fields, at);
    }

    fn reloaded(&self, succeeded: bool, at: Wall) {
        let operation = &self.metrics().operation;
        operation.reload_success.set(i64::from(succeeded));
        if succeeded {
            operation.reload_timestamp.set(at.as_millis() as f64 / 1_000.0);
        }
    }

    fn is_off_the_wire(&self, binding: &BindingName) -> bool {
        let (attempts, open) = self.on_the_wire(binding);
        if attempts == 0 && open > 0 {
            self.retire(binding);
        }
        (attempts, open) == (0, 0)
    }
}

impl Task {
    pub(super) fn tell_applied(&self, by: &str, change: &Change) {
        let now = self.now();
        for changed in change.changes.iter().take(TOLD_MAX) {
            let side = |side: &Option<String>| side.clone().unwrap_or_default();
            let fields = vec![
                ("what", "changed".to_owned()),
                ("key", changed.key.clone()),
                ("from", side(&changed.from)),
                ("to", side(&changed.to)),
            ];
            self.parts.around.event(fields, now);
        }
        let count = change.changes.len();
        tracing::info!(by, changes = count, "another configuration is in force");
        let summary = vec![("what", "applied".to_owned()), ("by", by.to_owned()), ("changes", count.to_string())];
        self.parts.around.event(summary, now);
    }

    pub(super) fn tell_refused(&self, by: &str, refused: &Refused) {
        let mistakes = match refused {
            Refused::File(mistakes) => mistakes.clone(),
            other => vec![other.to_string()],
        };
        tracing::error!(
            by,
            mistakes = mistakes.len(),
            first = mistakes.first().map_or("", String::as_str),
            "the configuration in force stays"
        );
        for mistake in mistakes.iter().take(TOLD_MAX) {
            let fields = vec![("what", "mistake".to_owned()), ("by", by.to_owned()), ("mistake", mistake.clone())];
            self.parts.around.event(fields, self.now());
        }
        let count = mistakes.len().to_string();
        let fields = vec![("what", "refused".to_owned()), ("by", by.to_owned()), ("mistakes", count)];
        self.parts.around.event(fields, self.now());
    }

    pub(super) fn tell_ended(&self, ended: &[Ended]) {
        for one in ended {
            let Ended { order, why } = one;
            tracing::info!(order = order.id.0, act = %order.act, why, "an order has ended");
            let name = |name: Option<&str>| name.unwrap_or_default().to_owned();
            let fields = vec![
                ("what", "order_ended".to_owned()),
                ("order", order.id.0.to_string()),
                ("act", order.act.to_string()),
                ("binding", name(order.act.binding().map(BindingName::as_str))),
                ("tenant", name(order.act.tenant().map(|tenant| tenant.as_str()))),
                ("actor", order.actor.clone()),
                ("reason", order.reason.clone()),
                ("why", why.clone()),
            ];
            self.parts.around.event(fields, self.now());
        }
    }
}
