//! Gauges of pushed alerts.

use crate::admin::Sources;
use crate::config::{AlertName, Severity};
use crate::telemetry::Metrics;

pub(super) fn fill(metrics: &Metrics, sources: &Sources) {
    let seen = sources.alerts.tally();
    let rules = &sources.dispatcher.config().alerts;
    let metrics = &metrics.alerting;
    let signed = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    metrics.left_out.set(signed(seen.left_out));
    // Every name has its series, so that a rule on them is not blind until the first alert.
    for name in AlertName::ALL {
        for severity in Severity::ALL {
            let firing = seen.firing.get(&(*name, severity)).copied().unwrap_or_default();
            if firing > 0 || rules.rule(*name).severity == severity {
                metrics.firing.with_label_values(&[name.as_str(), severity.as_str()]).set(signed(firing));
            }
        }
    }
    for target in &seen.targets {
        let labels = [target.name.as_str()];
        metrics.push_age_seconds.with_label_values(&labels).set(target.age_seconds as f64);
        metrics.waiting.with_label_values(&labels).set(signed(target.waiting));
    }
}
