//! Gauges of the relay itself: pools, wait reasons, the matrix of routes, disk, process.

use prometheus::IntGauge;

use super::catch_up;
use crate::admin::Sources;
use crate::admin::status::{BindingStatus, Status};
use crate::config::Provider;
use crate::store::space;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::OTHER;
use crate::telemetry::process::Usage;

/// Most pairs of binding and provider for which the matrix is written in full. With more, only what is not active is.
const MATRIX_MAX: usize = 20_000;

pub(super) fn fill(metrics: &Metrics, sources: &Sources, status: &Status) {
    pools(metrics, sources);
    untried(metrics, status);
    health(metrics, sources, status);
    disk(metrics, sources);
    process(metrics);
}

fn pools(metrics: &Metrics, sources: &Sources) {
    let operation = &metrics.operation;
    operation.pool_out.reset();
    // A pool that is gone leaves no series.
    [&operation.pool_bindings, &operation.pool_eligible, &operation.pool_on_backup]
        .into_iter()
        .for_each(|gauge| gauge.reset());
    let (uses, asked) = sources.dispatcher.with_core(|core| {
        let named = |(pool, verdict, count)| (core.scheduler().pool_name(pool).clone(), verdict, count);
        (core.scheduler().pool_uses(), core.asked().all().map(named).collect::<Vec<_>>())
    });
    for pool in uses {
        let name = pool.pool.as_str();
        operation.pool_bindings.with_label_values(&[name]).set(whole(pool.bindings as u64));
        operation.pool_eligible.with_label_values(&[name]).set(whole(pool.eligible as u64));
        operation.pool_on_backup.with_label_values(&[name]).set(i64::from(pool.on_backup));
        for (verdict, count) in pool.out {
            operation.pool_out.with_label_values(&[name, verdict]).set(whole(count as u64));
        }
    }
    for (pool, verdict, total) in asked {
        catch_up(&operation.verdicts.with_label_values(&[pool.as_str(), verdict]), total);
    }
}

/// Reset first: what was tried leaves no series.
fn untried(metrics: &Metrics, status: &Status) {
    let gauge = &metrics.operation.untried_oldest;
    gauge.reset();
    for waiting in &status.queue.waiting {
        let Some(since) = waiting.oldest_untried else { continue };
        let place = gauge.with_label_values(&[waiting.pool.as_str(), waiting.reason.as_str()]);
        place.set(place.get().max(whole(status.at.since(since).as_secs())));
    }
}

fn health(metrics: &Metrics, sources: &Sources, status: &Status) {
    let providers = &sources.dispatcher.config().providers;
    let (matrix, not_active) = (&metrics.operation.route_health, &metrics.operation.not_active);
    matrix.reset();
    not_active.reset();
    let is_whole = status.bindings.len().saturating_mul(providers.len()) <= MATRIX_MAX;
    for binding in &status.bindings {
        let name = binding.name.as_str();
        if binding.health != "active" {
            let reason = binding.reason.as_deref().unwrap_or("");
            not_active.with_label_values(&[name, "*", &binding.health, reason]).set(1);
        }
        for route in binding.routes.iter().filter(|route| route.health != "active") {
            let to = if provider(providers, &route.destination) { route.destination.as_str() } else { OTHER };
            let reason = route.reason.as_deref().unwrap_or("");
            not_active.with_label_values(&[name, to, &route.health, reason]).inc();
        }
        for provider in providers {
            let worst = towards(binding, provider.name.as_str());
            if is_whole || worst > 0 {
                matrix.with_label_values(&[name, provider.name.as_str()]).set(worst);
            }
        }
    }
}

fn provider(providers: &[Provider], destination: &str) -> bool {
    providers.iter().any(|provider| provider.name.as_str() == destination)
}

/// The worse of the binding's health and that of its route to a provider, as a number.
fn towards(binding: &BindingStatus, provider: &str) -> i64 {
    let routes = binding.routes.iter().filter(|route| route.destination == provider);
    let healths = routes.map(|route| route.health.as_str()).chain([binding.health.as_str()]);
    healths.map(severity).max().unwrap_or(0)
}

fn severity(health: &str) -> i64 {
    match health {
        "throttled" => 1,
        "probation" => 2,
        "suspended" => 3,
        _ => 0,
    }
}

/// What cannot be seen keeps its last value; the spool itself says so loudly enough.
fn disk(metrics: &Metrics, sources: &Sources) {
    let server = &sources.dispatcher.config().server;
    metrics.operation.spool_floor.set(whole(server.low_space_floor));
    if let Ok(space) = space::of(&server.state_dir) {
        metrics.operation.spool_free.set(whole(space.free));
        metrics.operation.spool_size.set(whole(space.size));
    }
}

fn process(metrics: &Metrics) {
    let (usage, operation) = (Usage::now(), &metrics.operation);
    let set = |gauge: &IntGauge, value: Option<u64>| {
        if let Some(value) = value {
            gauge.set(whole(value));
        }
    };
    set(&operation.resident_memory, usage.resident_bytes);
    set(&operation.open_fds, usage.open_fds);
    set(&operation.max_fds, usage.max_fds);
    let more = usage.cpu_seconds.unwrap_or(0.0) - operation.cpu_seconds.get();
    if more > 0.0 {
        operation.cpu_seconds.inc_by(more);
    }
}

fn whole(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::status::RouteStatus;

    fn route(destination: &str, health: &str) -> RouteStatus {
        RouteStatus {
            destination: destination.into(),
            health: health.into(),
            reason: None,
            until: None,
            evidence: None,
            window: None,
        }
    }

    #[test]
    fn a_place_in_the_matrix_shows_the_worse_of_binding_and_route() {
        let binding = |health: &str, routes| BindingStatus {
            name: "a".into(),
            bind_address: "192.0.2.1".into(),
            second_bind_address: None,
            health: health.into(),
            reason: None,
            until: None,
            evidence: None,
            in_use: 0,
            cap: None,
            warmup: Vec::new(),
            routes,
            feedback: Vec::new(),
            operator: None,
            orders: Vec::new(),
        };
        let routes =
            || vec![route("one", "suspended"), route("two", "throttled"), route("a-site.example", "suspended")];
        let table =
            [("active", [3, 1, 0]), ("throttled", [3, 1, 1]), ("probation", [3, 2, 2]), ("suspended", [3, 3, 3])];
        for (health, expected) in table {
            let binding = binding(health, routes());
            assert_eq!(["one", "two", "three"].map(|provider| towards(&binding, provider)), expected, "{health}");
        }
    }
}
