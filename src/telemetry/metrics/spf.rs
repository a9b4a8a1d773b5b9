//! What the SPF records of senders' domains say of our bindings.
//!
//! Domains are the tenants' choice and without bound, so they are counted; `/api/v1/spf` names them.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec};

use super::{Registry, counters, gauge, gauges};

/// See the module.
#[derive(Debug)]
pub struct SpfMetrics {
    /// Sender domains, by tenant, binding of one of its pools and state (covered, no_statement, not_covered, unknown).
    pub domains: IntGaugeVec,
    /// Sender domains of which no binding of the pool is covered although some are proven not to be: by tenant and pool.
    pub uncovered_domains: IntGaugeVec,
    /// Evaluations, by result (RFC 7208 §2.6).
    pub evaluations: IntCounterVec,
    /// Sender domains that are due and were not evaluated yet.
    pub overdue_domains: IntGauge,
    /// Messages from sender domains that are not evaluated, since there are more of them than are kept: by tenant.
    pub passed_over: IntCounterVec,
}

impl SpfMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            domains: gauges(
                r,
                "spf_domains",
                "Sender domains, by what their SPF records say of the binding.",
                &["tenant", "binding", "state"],
            )?,
            uncovered_domains: gauges(
                r,
                "spf_uncovered_domains",
                "Sender domains whose SPF records cover no binding of the pool and bar some.",
                &["tenant", "pool"],
            )?,
            evaluations: counters(r, "spf_evaluations_total", "Evaluations of SPF, by result.", &["result"])?,
            overdue_domains: gauge(r, "spf_overdue_domains", "Sender domains whose evaluation is due.")?,
            passed_over: counters(
                r,
                "spf_passed_over_total",
                "Messages from sender domains that are not evaluated for want of room.",
                &["tenant"],
            )?,
        })
    }
}
