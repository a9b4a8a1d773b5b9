//! Gauges of DNS identity: the resolvers, the names of bindings.

use super::gone::forget;
use crate::admin::Sources;
use crate::monitor::identity::names::{Grade, NameCheck};
use crate::telemetry::Metrics;

pub(super) fn fill(metrics: &Metrics, sources: &Sources) {
    resolvers(metrics, sources);
    names(metrics, sources);
}

fn resolvers(metrics: &Metrics, sources: &Sources) {
    let snapshot = sources.identity.snapshot();
    let metrics = &metrics.identity;
    metrics.resolver_answer_seconds.reset();
    forget(&metrics.resolver_ok, |labels| {
        let purpose = labels.get("purpose").copied().unwrap_or_default();
        snapshot.resolvers.iter().any(|report| report.purpose == purpose)
    });
    for report in &snapshot.resolvers {
        let purpose = report.purpose.as_str();
        for checked in &report.checks {
            metrics.resolver_ok.with_label_values(&[purpose, checked.check.as_str()]).set(checked.grade.value());
        }
        if let Some(seconds) = report.slowest_seconds {
            metrics.resolver_answer_seconds.with_label_values(&[purpose]).set(seconds);
        }
    }
    if let Some(at) = snapshot.at {
        metrics.resolver_check_age_seconds.set(sources.dispatcher.now().wall.since(at).as_secs_f64());
    }
}

/// A check that was not yet made is unknown: a series from the start on, so that an alert can rely on it.
fn names(metrics: &Metrics, sources: &Sources) {
    for reverse in &sources.monitor.snapshot().reverse {
        for check in NameCheck::ALL {
            let known = reverse.checks.iter().find(|checked| checked.check == check);
            let value = known.map_or(Grade::Unknown, |checked| checked.grade).value();
            metrics.identity.name_check.with_label_values(&[reverse.binding.as_str(), check.as_str()]).set(value);
        }
    }
}
