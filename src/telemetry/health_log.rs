//! One line and one count per move of health: every automatic act has its evidence, reason and end on record.

use super::Metrics;
use crate::clock::Wall;
use crate::reputation::{Health, HealthChange, Subject};

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
        until = %until.map(|until| until.to_string()).unwrap_or_default(),
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
