//! TLS on the way to receivers, and what they demand of it.

use prometheus::{IntCounterVec, IntGaugeVec};

use super::{Registry, opts, register};
use crate::delivery::TlsReport;
use crate::delivery::tls::demand::TlsResult;

/// Results that are no failure.
const DONE: [&str; 4] = ["none", "encrypted", "verified", "dane"];

/// See the module.
#[derive(Debug)]
pub struct DeliveryMetrics {
    /// New connections to receivers, by what came of TLS: `none` (not tried), `encrypted`, `verified`, `dane`, or a result of
    /// RFC 8460.
    pub tls: IntCounterVec,
    /// Policies of receivers that are known, by kind and what they ask for.
    pub policies: IntGaugeVec,
}

impl DeliveryMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        let help = "Attempts that made a connection to a receiver, by what came of TLS there.";
        let tls = register(r, IntCounterVec::new(opts("delivery_tls_total", help), &["result"])?)?;
        DONE.iter().for_each(|result| drop(tls.with_label_values(&[result])));
        drop(tls.with_label_values(&[TlsResult::StarttlsNotSupported.as_str()]));
        let help = "Receivers' TLS policies known now: sts by domain and mode, tlsa by host and what it has to show.";
        let policies = super::gauges(r, "delivery_policies", help, &["kind", "mode"])?;
        Ok(Self { tls, policies })
    }

    /// Counts what an attempt tells.
    pub fn count(&self, report: &TlsReport) {
        self.tls.with_label_values(&[report.outcome.as_str()]).inc();
    }
}
