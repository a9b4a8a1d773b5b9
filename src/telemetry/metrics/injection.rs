//! Mail over HTTP.

use super::Registry;
use prometheus::IntCounterVec;

/// How a request for `POST /api/v1/messages` may end.
pub const RESULTS: [&str; 10] =
    ["accepted", "replayed", "in_flight", "other_body", "token", "network", "rate", "invalid", "refused", "busy"];

/// See the module.
#[derive(Debug)]
pub struct InjectionMetrics {
    /// Requests, by [`RESULTS`].
    pub requests: IntCounterVec,
}

impl InjectionMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        let help = "Requests to send mail over HTTP, by how they ended.";
        let requests = super::counters(r, "injection_requests_total", help, &["result"])?;
        // A first failure is then a rise that a rule can see.
        for result in RESULTS {
            requests.with_label_values(&[result]);
        }
        Ok(Self { requests })
    }
}
