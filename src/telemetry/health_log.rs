//! One line, one count and one event per move of health or of a hold: every automatic act has its evidence, reason and end
//! on record.

use super::Metrics;
use crate::clock::Wall;
use crate::message::{Domain, StreamName};
use crate::reputation::{Health, HealthChange, HoldChange, HoldState, Note, Subject};

/// Writes the line.
pub fn write(change: &HealthChange) {
    let (binding, destination) = names(&change.subject);
    let (reason, until) = details(&change.to);
    tracing::warn!(
        target: "health",
        binding = %binding,
        destination = %destination,
        from = %change.from.as_str(),
        to = %change.to.as_str(),
        reason = %reason,
        until = in_words(until).as_str(),
        evidence = change.evidence.as_str(),
    );
}

/// Counts it.
pub fn count(metrics: &Metrics, change: &HealthChange) {
    let level = match change.subject {
        Subject::Binding(_) => "binding",
        Subject::Route(..) => "route",
    };
    let (reason, _) = details(&change.to);
    let labels = [change.subject.binding().as_str(), level, change.to.as_str(), reason];
    metrics.health_changes.with_label_values(&labels).inc();
}

/// The same as an event.
pub fn fields(change: &HealthChange) -> Vec<(&'static str, String)> {
    let (binding, destination) = names(&change.subject);
    let (reason, until) = details(&change.to);
    vec![
        ("binding", binding.to_owned()),
        ("destination", destination.to_owned()),
        ("from", change.from.as_str().to_owned()),
        ("to", change.to.as_str().to_owned()),
        ("reason", reason.to_owned()),
        ("until", in_words(until)),
        ("evidence", change.evidence.clone()),
    ]
}

/// Writes the line of a hold.
pub fn write_hold(change: &HoldChange) {
    tracing::warn!(
        target: "hold",
        tenant = %change.key.tenant,
        sender_domain = change.key.sender_domain.as_ref().map_or("*", Domain::as_str),
        stream = change.key.stream.as_ref().map_or("*", StreamName::as_str),
        destination = %change.key.destination,
        to = change.to.as_str(),
        until = in_words(held_until(change)).as_str(),
        evidence = change.evidence.as_str(),
    );
}

/// Counts a hold.
pub fn count_hold(metrics: &Metrics, change: &HoldChange) {
    metrics.hold_changes.with_label_values(&[change.key.tenant.as_str(), change.to.as_str()]).inc();
}

/// A hold as an event.
pub fn hold_fields(change: &HoldChange) -> Vec<(&'static str, String)> {
    vec![
        ("what", "tenant_hold".to_owned()),
        ("tenant", change.key.tenant.to_string()),
        ("sender_domain", change.key.sender_domain.as_ref().map_or_else(String::new, ToString::to_string)),
        ("stream", change.key.stream.as_ref().map_or_else(String::new, ToString::to_string)),
        ("destination", change.key.destination.to_string()),
        ("to", change.to.as_str().to_owned()),
        ("until", in_words(held_until(change))),
        ("evidence", change.evidence.clone()),
    ]
}

fn held_until(change: &HoldChange) -> Option<Wall> {
    match change.to {
        HoldState::Held { until } => Some(until),
        HoldState::Probing | HoldState::Released => None,
    }
}

fn in_words(until: Option<Wall>) -> String {
    until.map(|until| until.to_string()).unwrap_or_default()
}

/// Writes the line of a note.
pub fn write_note(note: &Note) {
    let fields = note.fields();
    let get = |name| fields.iter().find(|(key, _)| *key == name).map_or("", |(_, text)| text.as_str());
    tracing::warn!(
        target: "health",
        note = note.as_str(),
        pool = get("pool"),
        binding = get("binding"),
        destination = get("destination"),
        tenant = get("tenant"),
        reason = get("reason"),
        evidence = get("evidence"),
    );
}

/// Reason and end of a health; empty and `None` for active. An end in the far future (until the cause is gone) is `None`.
pub fn details(health: &Health) -> (&'static str, Option<Wall>) {
    match health {
        Health::Active => ("", None),
        Health::Throttled { until, reason, .. }
        | Health::Suspended { until, reason }
        | Health::Probation { until, reason, .. } => {
            (reason.as_str(), (until.as_millis() != i64::MAX).then_some(*until))
        }
    }
}

fn names(subject: &Subject) -> (&str, &str) {
    match subject {
        Subject::Binding(binding) => (binding.as_str(), "*"),
        Subject::Route(binding, destination) => (binding.as_str(), destination.as_str()),
    }
}
