//! What the task of the configuration tells of, and whom it asks.

use super::{Change, Refused, Task};
use crate::clock::Wall;
use crate::message::BindingName;
use crate::orders::{Ended, Order, Orders, PutOff};
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
        for Ended { order, why } in ended {
            tracing::info!(order = order.id.0, act = %order.act, why, "an order has ended");
            self.tell_of("order_ended", order, why.clone());
        }
    }

    /// Once for each time that an end is put off.
    pub(super) fn tell_put_off(&self, put_off: &[PutOff]) {
        for PutOff { order, why } in put_off {
            let until = order.until.map(|until| until.to_string()).unwrap_or_default();
            let why = format!("its time is over, and it stays in force until {until}: without it {why}");
            tracing::warn!(order = order.id.0, act = %order.act, why, "the end of an order is put off");
            self.tell_of("order_put_off", order, why);
        }
    }

    /// Those that have come to leave a pool without a binding since `before`.
    pub(super) fn tell_insisted(&self, before: &Orders) {
        let knew = |order: &&Order| before.insisted().all(|known| known.id != order.id);
        for order in self.parts.orders.insisted().filter(knew) {
            let why =
                "a pool has no other binding now; it stays out all the same, and the pool's mail waits".to_owned();
            tracing::warn!(order = order.id.0, act = %order.act, why, "an order leaves a pool without a binding");
            self.tell_of("order_insisted", order, why);
        }
    }

    fn tell_of(&self, what: &str, order: &Order, why: String) {
        let name = |name: Option<&str>| name.unwrap_or_default().to_owned();
        let fields = vec![
            ("what", what.to_owned()),
            ("order", order.id.0.to_string()),
            ("act", order.act.to_string()),
            ("binding", name(order.act.binding().map(BindingName::as_str))),
            ("tenant", name(order.act.tenant().map(|tenant| tenant.as_str()))),
            ("actor", order.actor.clone()),
            ("reason", order.reason.clone()),
            ("why", why),
        ];
        self.parts.around.event(fields, self.now());
    }
}
