//! `GET /metrics`: fills the gauges from a snapshot, then writes everything out. Never asks the network.

mod alerting;
mod feeds;
mod gone;
mod identity;
mod lists;
mod operation;
mod spf;

use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Sources;
use super::auth::Reader;
use super::status::Status;
use crate::ingress::tls::FAILURES;
use crate::ingress::tls::facts::{GROUPS, VERSIONS};
use crate::message::DestinationName;
use crate::scheduler::CapUsage;
use crate::scheduler::cap::Owner;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::OTHER;

const STATES: [&str; 4] = ["active", "throttled", "suspended", "probation"];

/// Everything that is counted, in Prometheus' text exposition format.
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, body = String, content_type = "text/plain; version=0.0.4")))]
pub(super) async fn metrics(_: Reader, State(sources): State<Sources>) -> Response {
    let metrics = sources.dispatcher.metrics();
    fill(metrics, &sources);
    match metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn fill(metrics: &Metrics, sources: &Sources) {
    let (status, usage) = Status::with_usage(sources);
    metrics.admin.events_lost.set(i64::try_from(sources.dispatcher.events().lost()).unwrap_or(i64::MAX));
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    metrics.queue_entries.set(signed(status.queue.entries));
    metrics.queue_recipients.set(signed(status.queue.recipients));
    metrics.spool_quarantined.set(signed(status.spool.quarantined_count));
    metrics.queue_stranded.set(signed(status.counts.stranded_recipients));
    metrics.spool_commits.set(signed(status.spool.commits));
    let oldest = status.queue.waiting.iter().map(|w| w.oldest).min();
    metrics.queue_oldest_seconds.set(oldest.map_or(0.0, |oldest| status.at.since(oldest).as_secs_f64()));

    let policies = sources.policies.counts();
    metrics.delivery.policies.reset();
    for mode in ["enforce", "testing", "none", "unfetched"] {
        metrics.delivery.policies.with_label_values(&["sts", mode]);
    }
    for ((kind, mode), count) in policies {
        metrics.delivery.policies.with_label_values(&[kind, mode]).set(signed(count));
    }

    metrics.queue_waiting.reset();
    for waiting in &status.queue.waiting {
        let labels = [waiting.pool.as_str(), waiting.reason.as_str()];
        metrics.queue_waiting.with_label_values(&labels).add(signed(waiting.count));
    }
    metrics.routes_not_active.reset();
    // A binding that is gone leaves no series.
    [&metrics.binding_in_use, &metrics.binding_health].into_iter().for_each(|gauge| gauge.reset());
    for binding in &status.bindings {
        metrics.binding_in_use.with_label_values(&[binding.name.as_str()]).set(signed(binding.in_use));
        for state in STATES {
            let labels = [binding.name.as_str(), state];
            metrics.binding_health.with_label_values(&labels).set(i64::from(binding.health == state));
            let routes = binding.routes.iter().filter(|route| route.health == state).count();
            if state != "active" {
                metrics.routes_not_active.with_label_values(&labels).set(routes as i64);
            }
        }
    }
    warmups(metrics, &status);
    feedback(metrics, &status, sources);
    caps(metrics, &usage);
    windows(metrics, sources);
    ingress(metrics, sources);
    lists::fill(metrics, sources);
    identity::fill(metrics, sources);
    spf::fill(metrics, sources);
    feeds::fill(metrics, sources);
    alerting::fill(metrics, sources);
    operation::fill(metrics, sources, &status);
}

/// Ladders. Reset first: what is warm leaves no series.
fn warmups(metrics: &Metrics, status: &Status) {
    metrics.warmup_stage.reset();
    metrics.warmup_allowance.reset();
    for (binding, ladder) in status.bindings.iter().flat_map(|b| b.warmup.iter().map(move |ladder| (b, ladder))) {
        let labels = [binding.name.as_str(), ladder.provider.as_deref().unwrap_or("*")];
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        metrics.warmup_stage.with_label_values(&labels).set(signed(ladder.stage));
        metrics.warmup_allowance.with_label_values(&labels).set(signed(ladder.allowance));
    }
}

/// Holds, and what came back by mail. Both are reset first: a hold that is over, a week without mail leave no series.
fn feedback(metrics: &Metrics, status: &Status, sources: &Sources) {
    let providers = &sources.dispatcher.config().providers;
    metrics.tenant_holds.reset();
    for hold in &status.holds {
        let destination = hold.key.destination.as_str();
        let is_provider = providers.iter().any(|provider| provider.name.as_str() == destination);
        let labels = [hold.key.tenant.as_str(), if is_provider { destination } else { OTHER }];
        metrics.tenant_holds.with_label_values(&labels).inc();
    }
    let gauges = [&metrics.complaints_window, &metrics.complaint_base_window, &metrics.late_bounces_window];
    gauges.iter().for_each(|gauge| gauge.reset());
    for (binding, line) in status.bindings.iter().flat_map(|b| b.feedback.iter().map(move |line| (b, line))) {
        let labels = [binding.name.as_str(), line.destination.as_str()];
        for (gauge, value) in gauges.iter().zip([line.complaints, line.accepted, line.late_bounces]) {
            gauge.with_label_values(&labels).set(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }
}

fn caps(metrics: &Metrics, usage: &[CapUsage]) {
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    // So does a cap that is lifted.
    [&metrics.cap_limit, &metrics.cap_used, &metrics.cap_granted].into_iter().for_each(|gauge| gauge.reset());
    for cap in usage {
        let Some(limit) = cap.limit else { continue };
        let labels = match &cap.owner {
            Owner::Binding(binding) => ["binding", binding.as_str(), ""],
            Owner::Route(binding, provider) => ["route", binding.as_str(), provider.as_str()],
            Owner::Tenant(tenant) => ["tenant", tenant.as_str(), ""],
            Owner::TenantRoute(tenant, provider) => ["tenant_route", tenant.as_str(), provider.as_str()],
        };
        metrics.cap_limit.with_label_values(&labels).set(signed(limit));
        metrics.cap_used.with_label_values(&labels).set(signed(cap.used));
        metrics.cap_granted.with_label_values(&labels).set(signed(cap.granted));
    }
}

/// Windows and expectations towards providers: of sites there are too many.
fn windows(metrics: &Metrics, sources: &Sources) {
    let (config, now) = (sources.dispatcher.config(), sources.dispatcher.now());
    metrics.window_limit.reset();
    metrics.predicted_chance.reset();
    metrics.weight_kept.reset();
    sources.dispatcher.with_core(|core| {
        for binding in &config.bindings {
            for provider in &config.providers {
                let destination = DestinationName::new(provider.name.as_str());
                let labels = [binding.name.as_str(), provider.name.as_str()];
                let scheduler = core.scheduler();
                let id = scheduler.binding_id(&binding.name).zip(scheduler.destination_id(&destination));
                let predicted = id.and_then(|(binding, to)| scheduler.predicted(binding, to, now));
                // Of a route that was never used everybody expects what the others get.
                if let Some(predicted) = predicted.filter(|predicted| predicted.evidence > 0.0) {
                    metrics.predicted_chance.with_label_values(&labels).set(predicted.chance);
                    metrics.weight_kept.with_label_values(&labels).set(predicted.weight_percent / 100.0);
                }
                let Some(window) = scheduler.route_window(&binding.name, &destination, now) else { continue };
                let limit = if window.paused_until.is_some() { 0 } else { window.limit };
                metrics.window_limit.with_label_values(&labels).set(i64::from(limit));
            }
        }
    });
}

fn ingress(metrics: &Metrics, sources: &Sources) {
    let stats = &sources.ingress;
    let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
    metrics.ingress_sessions.set(i64::try_from(read(&stats.sessions_open)).unwrap_or(i64::MAX));
    catch_up(&metrics.ingress_sessions_total, read(&stats.sessions));
    catch_up(&metrics.ingress_refused_total, read(&stats.refused_connections));
    catch_up(&metrics.tls_in.refused_proxies, read(&stats.refused_proxies));
    for (version, by_group) in VERSIONS.iter().zip(&stats.tls.sessions) {
        for (group, sessions) in GROUPS.iter().zip(by_group) {
            catch_up(&metrics.tls_in.sessions.with_label_values(&[version, group]), read(sessions));
        }
    }
    for (reason, failures) in FAILURES.iter().zip(&stats.tls.failures) {
        catch_up(&metrics.tls_in.failures.with_label_values(&[reason]), read(failures));
    }
    metrics.tls_in.certificate_ends.reset();
    for (name, ends) in stats.tls.ends.read().iter() {
        metrics.tls_in.certificate_ends.with_label_values(&[name]).set(*ends);
    }
}

/// Brings a counter to the total that somebody else has counted. It never goes back.
fn catch_up(counter: &prometheus::IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}
