//! What others say, how old it is and how long our credentials hold.

use super::Registry;
use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec};

/// See the module.
#[derive(Debug)]
pub struct FeedMetrics {
    /// Whether the last fetch worked; no series before the first of this run.
    pub up: IntGaugeVec,
    /// Age of the end of the newest period reported; where nothing was ever reported, since the feed was set up.
    pub age_seconds: GaugeVec,
    /// When a fetch last worked, Unix time.
    pub last_success: GaugeVec,
    /// When the credentials end, Unix time; no series where that is not known.
    pub credential_expiry: GaugeVec,
    /// Whether the credentials were refused, or a page to log in came.
    pub credentials_refused: IntGaugeVec,
    /// Fetches by outcome.
    pub fetches: IntCounterVec,
    /// Fields of reports that nobody knows.
    pub unknown_fields: IntCounterVec,
    /// Observations for which there was no room.
    pub dropped: IntCounterVec,
    /// Parts (domains, addresses) that the other side refuses to be asked about.
    pub notes: IntGaugeVec,
    /// Bindings that are called bad without being believed, since too many turned bad at once.
    pub held: IntGaugeVec,
    /// Of each binding: 2 bad, 1 warn, 0 good, -1 unknown.
    pub state: IntGaugeVec,
    /// What was said last, of a binding, or of a domain or tenant of ours.
    pub value: GaugeVec,
}

impl FeedMetrics {
    pub(super) fn new(r: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            up: super::gauges(r, "feed_up", "1 where the last fetch of the feed worked.", &["feed"])?,
            age_seconds: super::ratios(
                r,
                "feed_age_seconds",
                "Age of the newest period reported, or of the feed where there is none.",
                &["feed"],
            )?,
            last_success: super::ratios(
                r,
                "feed_last_success_timestamp_seconds",
                "When a fetch of the feed last worked.",
                &["feed"],
            )?,
            credential_expiry: super::ratios(
                r,
                "feed_credential_expiry_timestamp_seconds",
                "When the credentials of the feed end.",
                &["feed"],
            )?,
            credentials_refused: super::gauges(
                r,
                "feed_credentials_refused",
                "1 where the credentials of the feed are not accepted.",
                &["feed"],
            )?,
            fetches: super::counters(r, "feed_fetches_total", "Fetches of the feed.", &["feed", "outcome"])?,
            unknown_fields: super::counters(
                r,
                "feed_unknown_fields_total",
                "Fields in reports of the feed that are not understood.",
                &["feed"],
            )?,
            dropped: super::counters(
                r,
                "feed_dropped_observations_total",
                "Observations of the feed for which there was no room.",
                &["feed", "whose"],
            )?,
            notes: super::gauges(
                r,
                "feed_notes",
                "Domains or addresses that the feed refuses to be asked about.",
                &["feed"],
            )?,
            held: super::gauges(
                r,
                "feed_held_bindings",
                "Bindings called bad without being throttled, since too many turned bad at once.",
                &["feed"],
            )?,
            state: super::gauges(
                r,
                "feed_state",
                "What the feed says of the binding: 2 bad, 1 warn, 0 good, -1 unknown.",
                &["feed", "binding"],
            )?,
            value: super::ratios(
                r,
                "feed_value",
                "Newest value reported, of a binding or of a domain or tenant.",
                &["feed", "metric", "binding", "domain"],
            )?,
        })
    }
}
