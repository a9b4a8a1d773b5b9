//! The HTTP side itself: who is not let, and what is told to those who follow.

use super::Registry;
use prometheus::{IntCounterVec, IntGauge};

/// See the module.
#[derive(Debug)]
pub struct AdminMetrics {
    /// Requests that were refused, by reason: token, rate, role, origin, host.
    pub refused: IntCounterVec,
    /// Events for which there was no place on disk since the start.
    pub events_lost: IntGauge,
}

impl AdminMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        let refused =
            super::counters(r, "admin_refused_total", "Requests to the HTTP side that were refused.", &["reason"])?;
        for reason in ["token", "rate", "role", "origin", "host"] {
            refused.with_label_values(&[reason]);
        }
        let lost = "Events since the start that could not be written down.";
        Ok(Self { refused, events_lost: super::gauge(r, "events_lost", lost)? })
    }
}
