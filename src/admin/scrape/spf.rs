//! Gauges of SPF cover. Reset first: a tenant that is gone leaves no series.

use crate::admin::Sources;
use crate::telemetry::Metrics;

pub(super) fn fill(metrics: &Metrics, sources: &Sources) {
    let totals = sources.cover.totals();
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    metrics.spf.overdue_domains.set(signed(totals.overdue));
    metrics.spf.domains.reset();
    metrics.spf.uncovered_domains.reset();
    for (tenant, binding, state, count) in &totals.domains {
        let labels = [tenant.as_str(), binding.as_str(), state.as_str()];
        metrics.spf.domains.with_label_values(&labels).set(signed(*count));
    }
    for (tenant, pool, count) in &totals.uncovered {
        metrics.spf.uncovered_domains.with_label_values(&[tenant.as_str(), pool.as_str()]).set(signed(*count));
    }
}
