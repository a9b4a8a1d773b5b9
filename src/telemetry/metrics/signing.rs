//! Signatures on outgoing mail.

use super::Registry;
use prometheus::{Histogram, HistogramOpts, IntCounterVec};

/// Bounds of the time that signing takes: from one Ed25519 signature of a small message to several RSA ones of a large one.
const SECONDS: [f64; 11] = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0];

/// See the module.
#[derive(Debug)]
pub struct SigningMetrics {
    /// Signatures, by key and result: signed, failed.
    pub signatures: IntCounterVec,
    /// What all signatures of one message take, without the wait for a free core.
    pub seconds: Histogram,
}

impl SigningMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        let help = "DKIM signatures asked for, by key and result (signed, failed).";
        let seconds =
            HistogramOpts::from(super::opts("dkim_sign_seconds", "Time to make all signatures of a message."));
        Ok(Self {
            signatures: super::counters(r, "dkim_signatures_total", help, &["key", "result"])?,
            seconds: super::register(r, Histogram::with_opts(seconds.buckets(SECONDS.to_vec()))?)?,
        })
    }
}
