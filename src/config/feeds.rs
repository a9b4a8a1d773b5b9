//! `[feed.NAME]`: what others say of our addresses and domains, fetched over HTTP.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::clock::Wall;
use crate::message::{BindingName, Domain, ProviderName};

/// `[feed.NAME]`. Its `Debug` shows no query of an address: there may be a key in it.
#[derive(Clone, PartialEq)]
pub struct Feed {
    /// Name in logs and metrics.
    pub name: String,
    /// Who is asked, and how the answer is read.
    pub kind: FeedKind,
    /// Where it is fetched; below it lie the paths of the kind. Without a slash at its end.
    pub url: String,
    /// Time between two fetches. Default 6 h.
    pub interval: Duration,
    /// Time for one request with its answer. Default 30 s.
    pub timeout: Duration,
    /// Longest body that is read, in octets. Default 16 MiB.
    pub max_bytes: u64,
    /// Time from the end of its period after which an observation weighs half. Default 2 d.
    pub half_life: Duration,
    /// Age from which on an observation says nothing. Default 7 d.
    pub max_age: Duration,
    /// The receiver whose routes are throttled; `None`: the binding everywhere. SNDS and Postmaster Tools have one.
    pub provider: Option<ProviderName>,
    /// Share of the bindings it covers above which, turned bad by one fetch, they are not believed to be. Default 0.3.
    pub blast_radius: f64,
    /// Which of our addresses the account covers; empty: all.
    pub networks: Vec<IpNet>,
    /// Domains that are asked about (Postmaster Tools); empty: those the account lists.
    pub domains: Vec<Domain>,
    /// Domains whose mail only these bindings carry: what is said of the domain is said of them.
    pub carried_by: BTreeMap<Domain, Vec<BindingName>>,
    /// Lists that are asked (WQS). Default `zen`.
    pub lists: Vec<String>,
    /// Requests per UTC day (WQS). Default 1,000.
    pub daily_budget: u32,
    /// How we are known there.
    pub auth: FeedAuth,
    /// When the access ends, as the operator knows it.
    pub credential_expires: Option<Wall>,
    /// How a JSON or CSV document is read; `None` for the other kinds.
    pub rows: Option<FeedRows>,
    /// What is kept, by name, and what is good.
    pub metrics: BTreeMap<String, FeedMetric>,
}

impl Feed {
    /// Age at which a bad observation throttles no more: when a quarter of its weight is left, at the latest at `max_age`.
    pub fn bad_for(&self) -> Duration {
        self.half_life.saturating_mul(2).min(self.max_age)
    }

    /// What an observation of this age weighs, from 1 down to 0.
    pub fn influence(&self, age: Duration) -> f64 {
        if age >= self.max_age {
            return 0.0;
        }
        0.5f64.powf(age.as_secs_f64() / self.half_life.as_secs_f64().max(f64::MIN_POSITIVE))
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.split(['?', '#']).next().unwrap_or_default();
        f.debug_struct("Feed")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("url", &url)
            .field("interval", &self.interval)
            .field("timeout", &self.timeout)
            .field("max_bytes", &self.max_bytes)
            .field("half_life", &self.half_life)
            .field("max_age", &self.max_age)
            .field("provider", &self.provider)
            .field("blast_radius", &self.blast_radius)
            .field("networks", &self.networks)
            .field("domains", &self.domains)
            .field("carried_by", &self.carried_by)
            .field("lists", &self.lists)
            .field("daily_budget", &self.daily_budget)
            .field("credential_expires", &self.credential_expires)
            .field("rows", &self.rows)
            .field("metrics", &self.metrics)
            .finish_non_exhaustive()
    }
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedKind {
    /// Microsoft SNDS over its REST interface of 2026.
    Snds,
    /// Microsoft SNDS as CSV behind a secret link.
    SndsCsv,
    /// Google Postmaster Tools v2.
    Postmaster,
    /// Spamhaus Web Query Service.
    Wqs,
    /// Any JSON document.
    Json,
    /// Any CSV document.
    Csv,
}

impl FeedKind {
    /// Stable text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Snds => "snds",
            Self::SndsCsv => "snds_csv",
            Self::Postmaster => "postmaster",
            Self::Wqs => "wqs",
            Self::Json => "json",
            Self::Csv => "csv",
        }
    }
}

/// How we are known to whoever is asked. Secrets are in files, never here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeedAuth {
    /// File with a key: the key of an SNDS link, of WQS, or the value of `header`.
    pub secret_file: Option<PathBuf>,
    /// Name of the header that carries the secret of a JSON or CSV feed. Default `Authorization`.
    pub header: String,
    /// File with the first refresh token (SNDS); those that follow are kept in the state directory.
    pub token_file: Option<PathBuf>,
    /// File that Google gave: a service account's key, or an authorised user's (Postmaster Tools).
    pub credentials_file: Option<PathBuf>,
    /// OAuth client (SNDS).
    pub client_id: String,
    /// OAuth scope. Default: what the kind needs.
    pub oauth_scope: String,
    /// Where tokens are got; for Postmaster Tools the credentials say so unless this does.
    pub token_url: Option<String>,
    /// Plain HTTP is allowed beyond loopback.
    pub allow_plain: bool,
}

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedScope {
    /// An address.
    Address,
    /// A range: `192.0.2.0/24` or `192.0.2.1-192.0.2.9`.
    Range,
    /// A domain.
    Domain,
    /// A tenant of ours.
    Tenant,
    /// A binding of ours.
    Binding,
}

/// How the rows of a JSON or CSV document are read: JSON pointers (RFC 6901), or names of columns.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedRows {
    /// Pointer to the array (JSON); empty is the whole document.
    pub rows: String,
    /// What a row is about.
    pub scope: FeedScope,
    /// Where that stands.
    pub scope_at: String,
    /// Where the name of the metric stands, if there is a row for each; else every row has all metrics.
    pub metric_name: Option<String>,
    /// Where the time of the observation stands; without it, the time of the fetch.
    pub time: Option<String>,
}

/// `[feed.NAME.metric.NAME]`: what is good.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeedMetric {
    /// Where its value stands (JSON, CSV).
    pub value: Option<String>,
    /// Above this it is told.
    pub warn_above: Option<f64>,
    /// Below this it is told.
    pub warn_below: Option<f64>,
    /// Above this it throttles.
    pub throttle_above: Option<f64>,
    /// Below this it throttles.
    pub throttle_below: Option<f64>,
}

impl FeedMetric {
    /// Told above the first, throttled above the second.
    pub(super) fn above(warn: Option<f64>, throttle: Option<f64>) -> Self {
        Self { warn_above: warn, throttle_above: throttle, ..Self::default() }
    }
}
