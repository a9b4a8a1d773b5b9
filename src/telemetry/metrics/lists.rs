//! Lists that are asked: their health, what they say of our addresses and domains, what the questions cost.

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec};

use super::{Registry, counters, gauges, ratios};

/// See the module.
#[derive(Debug)]
pub struct ListMetrics {
    /// Answers, by zone and what they said.
    pub queries: IntCounterVec,
    /// Whether a probe was answered as it should be in the last look: 1 yes, 0 no; no series without an answer.
    pub probe_ok: IntGaugeVec,
    /// Questions left of what a zone's terms allow a day; no series without a limit.
    pub budget_left: IntGaugeVec,
    /// Questions not put because nothing was left.
    pub budget_denied: IntCounterVec,
    /// New or ending listings of which the second resolver said nothing.
    pub second_silent: IntCounterVec,
    /// Domains of a binding or tenant that a zone lists.
    pub domain_listed: IntGaugeVec,
    /// What the heaviest of them weighs; no series where none is listed.
    pub domain_weight: GaugeVec,
    /// What the listing of a binding weighs; no series without one.
    pub listing_weight: GaugeVec,
    /// When the zone's health last changed.
    pub zone_since: GaugeVec,
    /// When the listing of a binding was first seen; no series without one.
    pub listed_since: GaugeVec,
}

impl ListMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            queries: counters(
                r,
                "dnsbl_queries_total",
                "Questions to lists, by what the answer said.",
                &["zone", "outcome"],
            )?,
            probe_ok: gauges(
                r,
                "dnsbl_probe_ok",
                "1 where the probe was answered as it should be.",
                &["zone", "probe"],
            )?,
            budget_left: gauges(
                r,
                "dnsbl_budget_left",
                "Questions left now of what the terms of the list allow a day.",
                &["zone"],
            )?,
            budget_denied: counters(
                r,
                "dnsbl_budget_denied_total",
                "Questions not put because the day's budget was used up.",
                &["zone"],
            )?,
            second_silent: counters(
                r,
                "dnsbl_second_silent_total",
                "Answers that the second resolver was to confirm and said nothing of.",
                &["zone"],
            )?,
            domain_listed: gauges(
                r,
                "dnsbl_domain_listed",
                "Domains of a binding (EHLO, PTR) or of a tenant (sender) that the list names.",
                &["zone", "of", "name"],
            )?,
            domain_weight: ratios(
                r,
                "dnsbl_domain_listing_weight",
                "Weight of the heaviest listing of a domain of the binding or tenant.",
                &["zone", "of", "name"],
            )?,
            listing_weight: ratios(
                r,
                "dnsbl_listing_weight",
                "Weight of the listing of the binding.",
                &["binding", "zone"],
            )?,
            zone_since: ratios(
                r,
                "dnsbl_zone_since_timestamp_seconds",
                "When the health of the list last changed.",
                &["zone"],
            )?,
            listed_since: ratios(
                r,
                "dnsbl_listed_since_timestamp_seconds",
                "When the listing of the binding was first seen.",
                &["binding", "zone"],
            )?,
        })
    }
}
