//! As typed: `[alerts]` with its rules and receivers.

use std::time::Duration;

use super::TargetUrl;
use crate::config::Severity;
use crate::config::read::{List, Map, OrOff, Size, table, words};

table!(pub(in crate::config) Alerts {
    every: Duration,
    clear_after: Duration,
    resend: Duration,
    repeat: OrOff<Duration>,
    timeout: Duration,
    runbook: String,
    window: Duration,
    min_recipients: u64,
    cap_used: f64,
    hard_bounce_ratio: f64,
    complaint_ratio: f64,
    deferral_ratio: f64,
    unmatched_ratio: f64,
    listing_weight: f64,
    queue_age: Duration,
    no_deliveries: Duration,
    spool_space: Size,
    credential_life: Duration,
    rule: Map<AlertRule>,
    alertmanager: Map<Alertmanager>,
    webhook: Map<Webhook>,
});

table!(pub(in crate::config) AlertRule { hold as "for": Duration, severity: Severity, enabled: bool });

words!(Severity {
    "critical" => Severity::Critical,
    "warning" => Severity::Warning,
    "info" => Severity::Info,
});

table!(pub(in crate::config) Alertmanager {
    url: TargetUrl,
    user: String,
    password_file: String,
    bearer_file: String,
    ca_file: String,
    allow_plain: bool,
});

table!(pub(in crate::config) Webhook {
    url: TargetUrl,
    secret_file: String,
    bearer_file: String,
    ca_file: String,
    min_severity: Severity,
    events: List<AlertEvent>,
    allow_plain: bool,
});

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum AlertEvent {
    Firing,
    Resolved,
}

words!(AlertEvent { "firing" => AlertEvent::Firing, "resolved" => AlertEvent::Resolved });
