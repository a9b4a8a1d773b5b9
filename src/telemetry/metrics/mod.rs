//! Every metric name, once.
//!
//! Prefix `remuda_`, base units, `_total` for counters. Labels are bounded by configuration: binding, pool, tenant, zone
//! and *destination* — a provider's name, or `other` for all receivers that belong to none; never recipients or ids.
//! Metrics of one subject have a file of their own below this one.
//! Counters are counted where things happen; gauges are filled in from a snapshot when somebody scrapes.

pub mod admin;
pub mod alerting;
pub mod delivery;
pub mod feeds;
pub mod identity;
pub mod injection;
pub mod lists;
pub mod operation;
pub mod reaction;
mod registry;
pub mod signing;
pub mod spf;
pub mod tls_in;

pub use registry::{Family, Registry};

use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    TextEncoder,
};

/// The label of receivers that belong to no configured provider.
pub const OTHER: &str = "other";

/// Bounds of durations: from a local hand-over to the lifetime of a message.
const SECONDS: [f64; 18] = [
    0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0,
    86_400.0, 432_000.0,
];

/// All metrics and the registry they are in.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Messages answered 250, by tenant.
    pub accepted_messages: IntCounterVec,
    /// Recipients of messages answered 250, by tenant.
    pub accepted_recipients: IntCounterVec,
    /// Mail refused at SMTP time for want of a tenant, stream or pool, or of disk space.
    pub refused_messages: IntCounterVec,
    /// Logins of clients (AUTH), by how they ended ([`crate::ingress::users::Verdict`]).
    pub logins: IntCounterVec,
    /// Recipients per attempt outcome, by binding, destination, disposition and cause.
    pub attempts: IntCounterVec,
    /// Attempts for which there was a connection, by binding and address family (`ipv4`, `ipv6`).
    pub attempts_by_family: IntCounterVec,
    /// Recipients whose fate is decided, by tenant and disposition.
    pub dispositions: IntCounterVec,
    /// Duration of an attempt.
    pub attempt_seconds: Histogram,
    /// From 250 to the receiver's acceptance.
    pub queue_seconds: Histogram,
    /// Moves of health, by binding, level (binding, route), new state and reason.
    pub health_changes: IntCounterVec,
    /// Stage of each ladder that holds a binding (destination `*`) or a route back, from 0 as in the configuration.
    pub warmup_stage: IntGaugeVec,
    /// Recipients that its stage allows today.
    pub warmup_allowance: IntGaugeVec,
    /// The chance that the next recipient is accepted, by binding and provider, where a pool follows reputation.
    pub predicted_chance: GaugeVec,
    /// The part of its weight that a binding keeps at a provider, 0 to 1, there.
    pub weight_kept: GaugeVec,
    /// Days that moved a stage or held it, by binding and reason.
    pub warmup_changes: IntCounterVec,
    /// Holds of mail, by tenant and destination; probed ones included.
    pub tenant_holds: IntGaugeVec,
    /// Moves of holds, by tenant and new state (held, probing, released).
    pub hold_changes: IntCounterVec,
    /// Complaints about mail sent in the last seven days, by binding and destination.
    pub complaints_window: IntGaugeVec,
    /// Recipients accepted in the last seven days: what the complaints are set against.
    pub complaint_base_window: IntGaugeVec,
    /// Bounces that came back by mail for those.
    pub late_bounces_window: IntGaugeVec,
    /// Attempts that left from a backup tier, by pool.
    pub failovers: IntCounterVec,
    /// Replies that no rule matched, by class (4, 5) and provider.
    pub unmatched_replies: IntCounterVec,
    /// Attempts whose fate is unknown: the connection was lost after the final dot.
    pub duplicates_possible: IntCounter,
    /// Reports sent to senders.
    pub dsns: IntCounter,
    /// Recipients reported on, by what became of them.
    pub reported_recipients: IntCounterVec,
    /// Mails without a sender that failed, by what became of the news.
    pub double_bounces: IntCounterVec,
    /// Mails that came to an address for reports, by kind and verdict.
    pub reports: IntCounterVec,
    /// Recipients whose bounce came back by mail, by binding that had delivered, destination and cause.
    pub late_bounces: IntCounterVec,
    /// Complaints, by binding that had delivered, destination and tenant.
    pub complaints: IntCounterVec,
    /// SMTP sessions open.
    pub ingress_sessions: IntGauge,
    /// SMTP sessions since start.
    pub ingress_sessions_total: IntCounter,
    /// Connections refused by a limit.
    pub ingress_refused_total: IntCounter,
    /// TLS with clients, and balancers in front.
    pub tls_in: tls_in::TlsInMetrics,
    /// Entries waiting or in flight.
    pub queue_entries: IntGauge,
    /// Recipients waiting or in flight.
    pub queue_recipients: IntGauge,
    /// Recipients on disk whose pool or tenant is no longer configured.
    pub queue_stranded: IntGauge,
    /// Entries that wait, by pool and reason.
    pub queue_waiting: IntGaugeVec,
    /// Age of the oldest entry.
    pub queue_oldest_seconds: Gauge,
    /// Attempts on the wire, by binding.
    pub binding_in_use: IntGaugeVec,
    /// Connections a binding may use at a provider now, by binding and destination; 0 during a pause.
    pub window_limit: IntGaugeVec,
    /// 1 for the present state of a binding, 0 for the others.
    pub binding_health: IntGaugeVec,
    /// Routes that are not active, by binding and state.
    pub routes_not_active: IntGaugeVec,
    /// Daily cap, by cap.
    pub cap_limit: IntGaugeVec,
    /// Accepted recipients of this day, by cap.
    pub cap_used: IntGaugeVec,
    /// Recipients granted (written ahead) for this day, by cap.
    pub cap_granted: IntGaugeVec,
    /// DNSBL state: 1 listed, 0 not listed, −1 unknown.
    pub dnsbl_listed: IntGaugeVec,
    /// 1 for the present state of a zone, 0 for the others.
    pub dnsbl_zone_health: IntGaugeVec,
    /// Age of the last conclusive answer.
    pub dnsbl_answer_age_seconds: GaugeVec,
    /// Reverse DNS: 1 confirmed, 0 broken, −1 unknown.
    pub fcrdns_confirmed: IntGaugeVec,
    /// Lists that are asked: their health, what they say of our addresses and domains, what the questions cost.
    pub lists: lists::ListMetrics,
    /// DNS identity: the resolver itself, reverse DNS, EHLO names, SPF cover.
    pub identity: identity::IdentityMetrics,
    /// What SPF says of our bindings.
    pub spf: spf::SpfMetrics,
    /// How fast mail stops once a binding is listed.
    pub reaction: reaction::ReactionMetrics,
    /// Connections to receivers.
    pub delivery: delivery::DeliveryMetrics,
    /// What others say, how old it is and how long our credentials hold.
    pub feeds: feeds::FeedMetrics,
    /// The HTTP side itself.
    pub admin: admin::AdminMetrics,
    /// Mail over HTTP.
    pub injection: injection::InjectionMetrics,
    /// Signatures.
    pub signing: signing::SigningMetrics,
    /// Alerts that the program pushes by itself.
    pub alerting: alerting::AlertMetrics,
    /// Whether the relay itself is well: configuration, disk, pools, wait reasons.
    pub operation: operation::OperationMetrics,
    /// Spool records set aside since start.
    pub spool_quarantined: IntGauge,
    /// Commits to disk (one sync each).
    pub spool_commits: IntGauge,
}

impl Metrics {
    /// All metrics at zero, in a registry of their own.
    pub fn new() -> Result<Self, prometheus::Error> {
        let r = Registry::default();
        let metrics = Self {
            accepted_messages: counters(&r, "messages_accepted_total", "Messages answered 250.", &["tenant"])?,
            accepted_recipients: counters(
                &r,
                "recipients_accepted_total",
                "Recipients of accepted messages.",
                &["tenant"],
            )?,
            refused_messages: counters(
                &r,
                "messages_refused_total",
                "Messages refused at the end of data.",
                &["reason"],
            )?,
            logins: counters(&r, "ingress_logins_total", "Logins of clients (AUTH), by how they ended.", &["result"])?,
            attempts: counters(
                &r,
                "attempts_total",
                "Recipients tried, by outcome of the attempt.",
                &["binding", "destination", "disposition", "cause"],
            )?,
            attempts_by_family: counters(
                &r,
                "attempts_by_family_total",
                "Attempts for which there was a connection, by the address family of the address that it left from.",
                &["binding", "family"],
            )?,
            dispositions: counters(
                &r,
                "dispositions_total",
                "Recipients whose fate is decided.",
                &["tenant", "disposition"],
            )?,
            attempt_seconds: histogram(&r, "attempt_duration_seconds", "Duration of a delivery attempt.")?,
            queue_seconds: histogram(&r, "delivery_delay_seconds", "From acceptance to delivery.")?,
            health_changes: counters(
                &r,
                "health_changes_total",
                "Moves of health of bindings and routes.",
                &["binding", "level", "state", "reason"],
            )?,
            warmup_stage: gauges(
                &r,
                "warmup_stage",
                "Stage of the warm-up, from 0; no series when warm.",
                &["binding", "destination"],
            )?,
            warmup_allowance: gauges(
                &r,
                "warmup_allowance",
                "Recipients that the stage of the warm-up allows today.",
                &["binding", "destination"],
            )?,
            warmup_changes: counters(
                &r,
                "warmup_changes_total",
                "Moves of the stage of a warm-up, and days that began to hold it.",
                &["binding", "why"],
            )?,
            tenant_holds: gauges(&r, "tenant_holds", "Holds of mail at a destination.", &["tenant", "destination"])?,
            hold_changes: counters(&r, "tenant_hold_changes_total", "Moves of holds.", &["tenant", "state"])?,
            complaints_window: gauges(
                &r,
                "complaints_window",
                "Complaints about mail of the last seven days.",
                &["binding", "destination"],
            )?,
            complaint_base_window: gauges(
                &r,
                "complaint_base_window",
                "Recipients accepted in the last seven days.",
                &["binding", "destination"],
            )?,
            late_bounces_window: gauges(
                &r,
                "late_bounces_window",
                "Bounces by mail for recipients accepted in the last seven days.",
                &["binding", "destination"],
            )?,
            failovers: counters(&r, "failover_attempts_total", "Attempts that left from a backup tier.", &["pool"])?,
            unmatched_replies: counters(
                &r,
                "unmatched_replies_total",
                "Negative replies that blame nobody or that only their codes decided.",
                &["class", "provider"],
            )?,
            duplicates_possible: counter(
                &r,
                "duplicates_possible_total",
                "Attempts that ended after the final dot without a reply.",
            )?,
            dsns: counter(&r, "dsns_total", "Reports of mail that failed, waits or was passed on, queued to senders.")?,
            reported_recipients: counters(
                &r,
                "reported_recipients_total",
                "Recipients that senders were told of, by what became of them.",
                &["action"],
            )?,
            double_bounces: counters(
                &r,
                "double_bounces_total",
                "Mails without a sender that could not be delivered, by whether the postmaster was told.",
                &["fate"],
            )?,
            reports: counters(&r, "reports_total", "Mails to addresses for reports.", &["kind", "verdict"])?,
            late_bounces: counters(
                &r,
                "late_bounces_total",
                "Recipients whose bounce came back by mail.",
                &["binding", "destination", "cause"],
            )?,
            complaints: counters(
                &r,
                "complaints_total",
                "Complaints about delivered mail.",
                &["binding", "destination", "tenant"],
            )?,
            tls_in: tls_in::TlsInMetrics::new(&r)?,
            ingress_sessions: gauge(&r, "ingress_sessions", "SMTP sessions open.")?,
            ingress_sessions_total: counter(&r, "ingress_sessions_total", "SMTP sessions since start.")?,
            ingress_refused_total: counter(&r, "ingress_refused_connections_total", "Connections refused by a limit.")?,
            queue_entries: gauge(&r, "queue_entries", "Entries waiting or in flight.")?,
            queue_recipients: gauge(&r, "queue_recipients", "Recipients waiting or in flight.")?,
            queue_stranded: gauge(
                &r,
                "queue_stranded_recipients",
                "Recipients whose pool or tenant is not configured.",
            )?,
            queue_waiting: gauges(&r, "queue_waiting_entries", "Entries that wait, by reason.", &["pool", "reason"])?,
            queue_oldest_seconds: register(&r, Gauge::new("remuda_queue_oldest_seconds", "Age of the oldest entry.")?)?,
            binding_in_use: gauges(&r, "binding_connections", "Attempts on the wire.", &["binding"])?,
            window_limit: gauges(
                &r,
                "window_limit",
                "Connections a binding may use at a provider now; 0 while the receiver wants none.",
                &["binding", "destination"],
            )?,
            binding_health: gauges(
                &r,
                "binding_health",
                "1 for the present state of the binding.",
                &["binding", "state"],
            )?,
            routes_not_active: gauges(
                &r,
                "binding_routes_not_active",
                "Routes that are not active.",
                &["binding", "state"],
            )?,
            cap_limit: gauges(&r, "daily_cap_limit", "Daily cap in recipients.", &["of", "name", "provider"])?,
            cap_used: gauges(&r, "daily_cap_used", "Accepted recipients of this day.", &["of", "name", "provider"])?,
            cap_granted: gauges(
                &r,
                "daily_cap_granted",
                "Recipients granted for this day.",
                &["of", "name", "provider"],
            )?,
            dnsbl_listed: gauges(&r, "dnsbl_listed", "1 listed, 0 not listed, -1 unknown.", &["binding", "zone"])?,
            dnsbl_zone_health: gauges(
                &r,
                "dnsbl_zone_health",
                "1 for the present state of the zone.",
                &["zone", "state"],
            )?,
            dnsbl_answer_age_seconds: register(
                &r,
                GaugeVec::new(
                    Opts::new("remuda_dnsbl_answer_age_seconds", "Age of the last conclusive answer."),
                    &["binding", "zone"],
                )?,
            )?,
            fcrdns_confirmed: gauges(&r, "fcrdns_confirmed", "1 confirmed, 0 broken, -1 unknown.", &["binding"])?,
            predicted_chance: ratios(
                &r,
                "predicted_chance",
                "Chance that the next recipient is accepted, where the pool follows reputation.",
                &["binding", "destination"],
            )?,
            weight_kept: ratios(
                &r,
                "weight_kept",
                "Part of its weight that the binding keeps at the provider, where the pool follows reputation.",
                &["binding", "destination"],
            )?,
            lists: lists::ListMetrics::new(&r)?,
            identity: identity::IdentityMetrics::new(&r)?,
            spf: spf::SpfMetrics::new(&r)?,
            reaction: reaction::ReactionMetrics::new(&r)?,
            delivery: delivery::DeliveryMetrics::new(&r)?,
            feeds: feeds::FeedMetrics::new(&r)?,
            admin: admin::AdminMetrics::new(&r)?,
            injection: injection::InjectionMetrics::new(&r)?,
            signing: signing::SigningMetrics::new(&r)?,
            alerting: alerting::AlertMetrics::new(&r)?,
            operation: operation::OperationMetrics::new(&r)?,
            spool_quarantined: gauge(&r, "spool_quarantined_records", "Spool records set aside.")?,
            spool_commits: gauge(&r, "spool_commits", "Group commits since start.")?,
            registry: r,
        };
        let info = gauges(&metrics.registry, "build_info", "Version of the program.", &["version"])?;
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(metrics)
    }

    /// Text exposition format 0.0.4.
    pub fn encode(&self) -> Result<String, prometheus::Error> {
        let mut out = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut out)?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    /// Names of all metrics that have at least one series.
    pub fn names(&self) -> Vec<String> {
        self.registry.gather().iter().map(|family| family.name().to_owned()).collect()
    }

    /// All metrics there are, with their labels, also those without a series yet.
    pub fn families(&self) -> Vec<Family> {
        self.registry.families()
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> Result<C, prometheus::Error> {
    registry.register(metric.clone())?;
    Ok(metric)
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("remuda_{name}"), help)
}

fn counters(r: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    register(r, IntCounterVec::new(opts(name, help), labels)?)
}

fn counter(r: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    register(r, IntCounter::with_opts(opts(name, help))?)
}

fn gauges(r: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
    register(r, IntGaugeVec::new(opts(name, help), labels)?)
}

fn ratios(r: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, prometheus::Error> {
    register(r, GaugeVec::new(opts(name, help), labels)?)
}

fn gauge(r: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    register(r, IntGauge::with_opts(opts(name, help))?)
}

fn histogram(r: &Registry, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
    register(r, Histogram::with_opts(HistogramOpts::from(opts(name, help)).buckets(SECONDS.to_vec()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exposition_names_only_remuda_metrics() {
        let metrics = Metrics::new().expect("registers");
        metrics.accepted_messages.with_label_values(&["acme"]).inc();
        let text = metrics.encode().expect("encodes");
        assert!(text.contains("remuda_messages_accepted_total{tenant=\"acme\"} 1"));
        assert!(metrics.names().iter().all(|name| name.starts_with("remuda_")));
    }

    #[test]
    fn what_has_no_series_yet_is_known_with_its_labels() {
        let metrics = Metrics::new().expect("registers");
        let families = metrics.families();
        let of = |name: &str| families.iter().find(|family| family.name == name).expect("declared");
        assert_eq!(of("remuda_attempts_total").labels, ["binding", "destination", "disposition", "cause"]);
        assert!(of("remuda_attempts_total").is_counter && of("remuda_delivery_delay_seconds").is_histogram);
        assert!(!metrics.names().contains(&"remuda_attempts_total".to_owned()), "it has no series yet");
        assert!(families.windows(2).all(|pair| pair[0].name < pair[1].name), "each once");
    }
}
