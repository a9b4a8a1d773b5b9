//! TLS with clients that bring mail: what was agreed on, what failed, until when certificates hold.

use super::Registry;
use prometheus::{IntCounter, IntCounterVec, IntGaugeVec};

use crate::ingress::tls::FAILURES;
use crate::ingress::tls::facts::{GROUPS, VERSIONS};

/// See the module.
#[derive(Debug)]
pub struct TlsInMetrics {
    /// TLS sessions, by version and group of the key exchange.
    pub sessions: IntCounterVec,
    /// Handshakes that failed, by reason.
    pub failures: IntCounterVec,
    /// When each certificate in force ends, in seconds since 1970.
    pub certificate_ends: IntGaugeVec,
    /// Connections of balancers without a header of the PROXY protocol.
    pub refused_proxies: IntCounter,
}

impl TlsInMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        let help = "TLS sessions of clients, by version and group of the key exchange.";
        let sessions = super::counters(r, "ingress_tls_sessions_total", help, &["version", "group"])?;
        let help = "TLS handshakes of clients that failed, by reason.";
        let failures = super::counters(r, "ingress_tls_failures_total", help, &["reason"])?;
        for version in VERSIONS {
            for group in GROUPS {
                sessions.with_label_values(&[version, group]);
            }
        }
        for reason in FAILURES {
            failures.with_label_values(&[reason]);
        }
        let help = "When the certificate in force ends, in seconds since 1970.";
        let certificate_ends =
            super::gauges(r, "ingress_tls_certificate_expiry_timestamp_seconds", help, &["certificate"])?;
        let help = "Connections of balancers that did not begin with a header of the PROXY protocol.";
        let refused_proxies = super::counter(r, "ingress_proxy_refused_total", help)?;
        Ok(Self { sessions, failures, certificate_ends, refused_proxies })
    }
}
