//! DNS identity: the resolvers themselves, names of bindings.

use prometheus::{Gauge, GaugeVec, IntGaugeVec};

use super::{Registry, gauges, opts, ratios, register};

/// See the module.
#[derive(Debug)]
pub struct IdentityMetrics {
    /// Checks of resolvers: 1 good, 0 bad, −1 unknown, by purpose (`monitor`, `delivery`, `zone:NAME`) and check.
    pub resolver_ok: IntGaugeVec,
    /// How long the slowest answer took when the resolver was last tested; no series where nothing was answered.
    pub resolver_answer_seconds: GaugeVec,
    /// Age of that test.
    pub resolver_check_age_seconds: Gauge,
    /// Checks of the names of bindings: 1 good, 0 bad, −1 unknown.
    pub name_check: IntGaugeVec,
}

impl IdentityMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        let labels = ["purpose", "check"];
        Ok(Self {
            resolver_ok: gauges(r, "resolver_ok", "Checks of resolvers: 1 good, 0 bad, -1 unknown.", &labels)?,
            resolver_answer_seconds: ratios(
                r,
                "resolver_answer_seconds",
                "Slowest answer when the resolver was last tested.",
                &["purpose"],
            )?,
            resolver_check_age_seconds: register(
                r,
                Gauge::with_opts(opts("resolver_check_age_seconds", "Time since the resolvers were last tested."))?,
            )?,
            name_check: gauges(
                r,
                "name_check",
                "Checks of the names of bindings: 1 good, 0 bad, -1 unknown.",
                &["binding", "check"],
            )?,
        })
    }
}
