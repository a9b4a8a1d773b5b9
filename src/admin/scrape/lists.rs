//! Gauges of lists: health of zones, listings, age of answers; and of reverse DNS.

use crate::admin::Sources;
use crate::monitor::zone::ZoneHealth;
use crate::telemetry::Metrics;

pub(super) fn fill(metrics: &Metrics, sources: &Sources) {
    let snapshot = sources.monitor.snapshot();
    let now = sources.dispatcher.now().wall;
    for zone in &snapshot.zones {
        for state in ZoneHealth::ALL {
            let labels = [zone.zone.as_str(), state.as_str()];
            metrics.dnsbl_zone_health.with_label_values(&labels).set(i64::from(zone.health == state.as_str()));
        }
    }
    for listing in &snapshot.listings {
        let labels = [listing.binding.as_str(), listing.zone.as_str()];
        metrics.dnsbl_listed.with_label_values(&labels).set(i64::from(listing.state));
        if let Some(at) = listing.last_conclusive {
            metrics.dnsbl_answer_age_seconds.with_label_values(&labels).set(now.since(at).as_secs_f64());
        }
    }
    for reverse in &snapshot.reverse {
        let value = reverse.confirmed.map_or(-1, i64::from);
        metrics.fcrdns_confirmed.with_label_values(&[reverse.binding.as_str()]).set(value);
    }
}
