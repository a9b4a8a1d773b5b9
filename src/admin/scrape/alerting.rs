//! Gauges of pushed alerts.

use crate::admin::Sources;
use crate::config::{AlertName, Severity};
use crate::telemetry::Metrics;

pub(super) fn fill(metrics: &Metrics, sources: &Sources) {
    let seen = sources.alerts.snapshot();
    let rules = &sources.dispatcher.config().alerts;
    let metrics = &metrics.alerting;
    // Every name has its series, so that a rule on them is not blind until the first alert.
    for name in AlertName::ALL {
        for severity in Severity::ALL {
            let firing = seen.alerts.iter().filter(|alert| {
                alert.fired_at.is_some() && alert.name == name.as_str() && alert.severity == severity.as_str()
            });
            let firing = firing.count();
            if firing > 0 || rules.rule(*name).severity == severity {
                let labels = [name.as_str(), severity.as_str()];
                metrics.firing.with_label_values(&labels).set(i64::try_from(firing).unwrap_or(i64::MAX));
            }
        }
    }
    for target in &seen.targets {
        let labels = [target.name.as_str()];
        metrics.push_age_seconds.with_label_values(&labels).set(target.age_seconds as f64);
        metrics.waiting.with_label_values(&labels).set(i64::try_from(target.waiting).unwrap_or(i64::MAX));
    }
}
