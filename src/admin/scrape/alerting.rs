//! Gauges of pushed alerts.

use std::collections::HashMap;

use super::gone::forget;
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
    let has_target = |labels: &HashMap<&str, &str>| {
        let name = labels.get("target").copied().unwrap_or_default();
        seen.targets.iter().any(|target| target.name == name)
    };
    forget(&metrics.push_age_seconds, has_target);
    forget(&metrics.waiting, has_target);
    forget(&metrics.pushes, has_target);
    forget(&metrics.firing, |labels| {
        let of = |label| labels.get(label).copied().unwrap_or_default();
        let named = AlertName::ALL.iter().find(|name| name.as_str() == of("alertname"));
        let is_severity = |name: &AlertName| rules.rule(*name).severity.as_str() == of("severity");
        let fires =
            seen.firing.keys().any(|(name, s)| (name.as_str(), s.as_str()) == (of("alertname"), of("severity")));
        fires || named.is_some_and(is_severity)
    });
    for target in &seen.targets {
        let labels = [target.name.as_str()];
        metrics.push_age_seconds.with_label_values(&labels).set(target.age_seconds as f64);
        metrics.waiting.with_label_values(&labels).set(signed(target.waiting));
    }
}
