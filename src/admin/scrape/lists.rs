//! Gauges of lists: health of zones, listings, age of answers, budgets; and of reverse DNS.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::catch_up;
use super::gone::forget;
use crate::admin::Sources;
use crate::clock::Wall;
use crate::monitor::Snapshot;
use crate::monitor::zone::ZoneHealth;
use crate::telemetry::Metrics;

pub(super) fn fill(metrics: &Metrics, sources: &Sources) {
    let snapshot = sources.monitor.snapshot();
    zones(metrics, &snapshot);
    listings(metrics, &snapshot, sources.dispatcher.now().wall);
    domains(metrics, &snapshot);
    forget_gone(metrics, &snapshot);
    for reverse in &snapshot.reverse {
        let value = reverse.confirmed.map_or(-1, i64::from);
        metrics.fcrdns_confirmed.with_label_values(&[reverse.binding.as_str()]).set(value);
    }
}

/// Lists and bindings that are gone leave no series.
fn forget_gone(metrics: &Metrics, snapshot: &Snapshot) {
    let zones: HashSet<&str> = snapshot.zones.iter().map(|zone| zone.zone.as_str()).collect();
    let has_zone = |labels: &HashMap<&str, &str>| labels.get("zone").is_some_and(|zone| zones.contains(zone));
    let lists = &metrics.lists;
    forget(&metrics.dnsbl_zone_health, has_zone);
    forget(&lists.queries, has_zone);
    forget(&lists.second_silent, has_zone);
    forget(&lists.budget_left, has_zone);
    forget(&lists.budget_denied, has_zone);
    forget(&lists.zone_since, has_zone);
    let pairs: HashSet<_> = snapshot.listings.iter().map(|l| (l.binding.as_str(), l.zone.as_str())).collect();
    let has_pair = |labels: &HashMap<&str, &str>| {
        labels.get("binding").zip(labels.get("zone")).is_some_and(|(binding, zone)| pairs.contains(&(*binding, *zone)))
    };
    forget(&metrics.dnsbl_listed, has_pair);
    forget(&metrics.dnsbl_answer_age_seconds, has_pair);
    let bindings: HashSet<&str> = snapshot.reverse.iter().map(|reverse| reverse.binding.as_str()).collect();
    let has_binding = |labels: &HashMap<&str, &str>| labels.get("binding").is_some_and(|name| bindings.contains(name));
    forget(&metrics.fcrdns_confirmed, has_binding);
    forget(&metrics.identity.name_check, has_binding);
}

fn seconds(at: Wall) -> f64 {
    at.as_millis() as f64 / 1000.0
}

fn zones(metrics: &Metrics, snapshot: &Snapshot) {
    let lists = &metrics.lists;
    lists.probe_ok.reset();
    for zone in &snapshot.zones {
        let name = zone.zone.as_str();
        for state in ZoneHealth::ALL {
            let labels = [name, state.as_str()];
            metrics.dnsbl_zone_health.with_label_values(&labels).set(i64::from(zone.health == state.as_str()));
        }
        for probe in &zone.probes {
            lists.probe_ok.with_label_values(&[name, probe.probe]).set(i64::from(probe.ok));
        }
        for answers in &zone.answers {
            catch_up(&lists.queries.with_label_values(&[name, answers.outcome]), answers.count);
        }
        catch_up(&lists.second_silent.with_label_values(&[name]), zone.second_silent);
        if let Some(left) = zone.budget_left {
            lists.budget_left.with_label_values(&[name]).set(i64::try_from(left).unwrap_or(i64::MAX));
            catch_up(&lists.budget_denied.with_label_values(&[name]), zone.budget_denied);
        }
        lists.zone_since.with_label_values(&[name]).set(seconds(zone.since));
    }
}

/// Of listings that ended no series is left.
fn listings(metrics: &Metrics, snapshot: &Snapshot, now: Wall) {
    metrics.lists.listed_since.reset();
    metrics.lists.listing_weight.reset();
    for listing in &snapshot.listings {
        let labels = [listing.binding.as_str(), listing.zone.as_str()];
        metrics.dnsbl_listed.with_label_values(&labels).set(i64::from(listing.state));
        if let Some(at) = listing.last_conclusive {
            metrics.dnsbl_answer_age_seconds.with_label_values(&labels).set(now.since(at).as_secs_f64());
        }
        if listing.state == 1 {
            metrics.lists.listing_weight.with_label_values(&labels).set(listing.weight);
        }
        if let Some(first) = listing.first_seen.filter(|_| listing.state == 1) {
            metrics.lists.listed_since.with_label_values(&labels).set(seconds(first));
        }
    }
}

/// Labels are bindings and tenants, not domains: of those there may be thousands.
fn domains(metrics: &Metrics, snapshot: &Snapshot) {
    let mut listed: BTreeMap<(&str, &str, &str), (i64, f64)> = BTreeMap::new();
    for domain in &snapshot.domains {
        let (count, weight) = if domain.state == 1 { (1, domain.weight) } else { (0, f64::NEG_INFINITY) };
        let bindings = domain.bindings.iter().map(|binding| ("binding", binding.as_str()));
        for (of, name) in bindings.chain(domain.tenants.iter().map(|tenant| ("tenant", tenant.as_str()))) {
            let (sum, worst) = listed.entry((domain.zone.as_str(), of, name)).or_insert((0, f64::NEG_INFINITY));
            (*sum, *worst) = (*sum + count, worst.max(weight));
        }
    }
    let (counts, weights) = (&metrics.lists.domain_listed, &metrics.lists.domain_weight);
    counts.reset();
    weights.reset();
    for ((zone, of, name), (count, weight)) in listed {
        counts.with_label_values(&[zone, of, name]).set(count);
        if count > 0 {
            weights.with_label_values(&[zone, of, name]).set(weight);
        }
    }
}
