//! As typed: `[feed.NAME]`.

use std::time::Duration;

use ipnet::IpNet;

use super::Date;
use crate::config::FeedKind;
use crate::config::read::{List, Map, Size, table, words};
use crate::message::Domain;

table!(pub(in crate::config) Feed {
    kind: FeedKind,
    url: String,
    allow_plain: bool,
    interval: Duration,
    timeout: Duration,
    max_bytes: Size,
    half_life: Duration,
    max_age: Duration,
    provider: String,
    blast_radius: f64,
    networks: List<IpNet>,
    domains: List<Domain>,
    carried_by: Map<List<String>>,
    lists: List<String>,
    daily_budget: u32,
    secret_file: String,
    auth_header: String,
    token_file: String,
    credentials_file: String,
    client_id: String,
    oauth_scope: String,
    token_url: String,
    credential_expires: Date,
    rows: String,
    scope: FeedScope,
    metric_name: String,
    time: String,
    metric: Map<FeedMetric>,
});

words!(FeedKind {
    "snds" => FeedKind::Snds,
    "snds_csv" => FeedKind::SndsCsv,
    "postmaster" => FeedKind::Postmaster,
    "wqs" => FeedKind::Wqs,
    "json" => FeedKind::Json,
    "csv" => FeedKind::Csv,
});

table!(pub(in crate::config) FeedScope { address: String, range: String, domain: String, tenant: String, binding: String });

table!(pub(in crate::config) FeedMetric { value: String, warn_above: f64, warn_below: f64, throttle_above: f64, throttle_below: f64 });
