//! Alerts that the program pushes by itself.

use prometheus::{GaugeVec, IntCounterVec, IntGauge, IntGaugeVec};

use super::{Registry, counters, gauges, opts, ratios, register};

/// See the module.
#[derive(Debug)]
pub struct AlertMetrics {
    /// Alerts that fire, by name and severity.
    pub firing: IntGaugeVec,
    /// Pushes, by target and how they ended (accepted, throttled, gone, refused, failed, unready).
    pub pushes: IntCounterVec,
    /// Seconds since a target last took something, or since the start.
    pub push_age_seconds: GaugeVec,
    /// Deliveries or ended alerts that a target has not taken yet.
    pub waiting: IntGaugeVec,
    /// Conditions that found no room among the alerts.
    pub left_out: IntGauge,
}

impl AlertMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            firing: gauges(r, "alerts_firing", "Alerts that fire.", &["alertname", "severity"])?,
            pushes: counters(r, "alert_pushes_total", "Pushes of alerts, by how they ended.", &["target", "outcome"])?,
            push_age_seconds: ratios(
                r,
                "alert_push_age_seconds",
                "Time since the target last took something, or since the start.",
                &["target"],
            )?,
            waiting: gauges(r, "alert_pushes_waiting", "What the target has not taken yet.", &["target"])?,
            left_out: register(
                r,
                IntGauge::with_opts(opts("alerts_left_out", "Conditions that found no room among the alerts."))?,
            )?,
        })
    }
}
