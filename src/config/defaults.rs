//! What holds where the file says nothing. The one place for it; the documentation of the types quotes these figures.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{
    Admin, Anonymous, Assignment, AuthMode, Automation, BackOff, Binding, Classify, Config, Convert, Day, Delivery,
    Dns, DomainPattern, DoubleBounce, EhloName, FailoverReason, Family, FeedKind, FeedMetric, Injection, Ipv6Names,
    Limits, Listener, Log, LogFormat, Member, Monitor, Pace, Pool, Prediction, Provider, Queue, Reports, Reputation,
    SenderCheck, Server, SpfPolicy, Spread, Tenant, TenantMatch, Timeouts, TlsMode, UnknownPolicy, WarmupRules, Window,
};
use crate::message::{BindingName, Domain, PoolName, ProviderName, TenantName};

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn minutes(count: u64) -> Duration {
    seconds(count * 60)
}

const fn hours(count: u64) -> Duration {
    minutes(count * 60)
}

const fn days(count: u64) -> Duration {
    hours(count * 24)
}

/// `server.shutdown_grace`
pub(super) const SHUTDOWN_GRACE: Duration = seconds(30);
/// `server.low_space_floor`
pub(super) const LOW_SPACE_FLOOR: u64 = 64 << 20;
/// `server.max_sessions`
pub(super) const MAX_SESSIONS: usize = 10_000;
/// `server.memory`
pub(super) const MEMORY: u64 = 512 << 20;
/// `listener.max_message_bytes`
pub(super) const MAX_MESSAGE_BYTES: u64 = 50 << 20;
/// `pool.NAME.min_active`
pub(super) const MIN_ACTIVE: usize = 1;
/// `pool.NAME.failover_on`
pub(super) const FAILOVER_ON: [FailoverReason; 2] = [FailoverReason::Suspended, FailoverReason::Capped];
/// `tenant.NAME.weight`, and a member's in its tier.
pub(super) const WEIGHT: u32 = 1;
/// `feedback.header`
pub(super) const FEEDBACK_HEADER: &str = "X-Remuda-Id";
/// `feedback.key_file`, in `server.state_dir`
pub(super) const FEEDBACK_KEYS: &str = "feedback.keys";
/// `feedback.accept_for`
pub(super) const FEEDBACK_ACCEPT_FOR: Duration = days(30);
/// `feedback.max_report_bytes`
pub(super) const FEEDBACK_REPORT_BYTES: u64 = 10 << 20;
/// `feedback.unattributed_kept`
pub(super) const FEEDBACK_UNATTRIBUTED_KEPT: usize = 1000;
/// `monitor.zone.NAME.queries_per_day` of a shipped list whose terms name no number: what most others allow.
pub(super) const UNWRITTEN_LIMIT: u64 = 100_000;
/// `monitor.zone.NAME.weight`
pub(super) const ZONE_WEIGHT: f64 = 1.0;
/// `monitor.zone.NAME.positive_probe` (RFC 5782 §5)
pub(super) const POSITIVE_PROBE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// `monitor.zone.NAME.negative_probe` (RFC 5782 §5)
pub(super) const NEGATIVE_PROBE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// `feed.NAME.interval`
pub(super) const FEED_INTERVAL: Duration = hours(6);
/// `feed.NAME.timeout`
pub(super) const FEED_TIMEOUT: Duration = seconds(30);
/// `feed.NAME.max_bytes`
pub(super) const FEED_BYTES: u64 = 16 << 20;
/// `feed.NAME.half_life`: reports come one to two days late.
pub(super) const FEED_HALF_LIFE: Duration = days(2);
/// `feed.NAME.max_age`
pub(super) const FEED_MAX_AGE: Duration = days(7);
/// `feed.NAME.blast_radius`
pub(super) const FEED_BLAST_RADIUS: f64 = 0.3;
/// `feed.NAME.lists`
pub(super) const FEED_LIST: &str = "zen";
/// `feed.NAME.daily_budget`
pub(super) const FEED_BUDGET: u32 = 1000;
/// `feed.NAME.auth_header`
pub(super) const FEED_HEADER: &str = "Authorization";
/// `feed.NAME.url` of kind `snds`
pub(super) const SNDS_URL: &str = "https://substrate.office.com/ip-domain-management-snds";
/// `feed.NAME.token_url` of kind `snds`
pub(super) const SNDS_TOKEN_URL: &str = "https://login.microsoftonline.com/consumers/oauth2/v2.0/token";
/// `feed.NAME.url` of kind `postmaster`
pub(super) const POSTMASTER_URL: &str = "https://gmailpostmastertools.googleapis.com";
/// `feed.NAME.oauth_scope` of kind `postmaster`
pub(super) const POSTMASTER_SCOPE: &str =
    "https://www.googleapis.com/auth/postmaster.traffic.readonly https://www.googleapis.com/auth/postmaster.domain";
/// `feed.NAME.url` of kind `wqs`
pub(super) const WQS_URL: &str = "https://apibl.spamhaus.net/lookup/v1";

/// Metrics that the kinds with a shape of their own have, and what of them is bad. Verdicts of SNDS are 0 green,
/// 1 yellow, 2 red; states of its addresses and listings are 1 or 0; the rest are shares and counts.
pub(super) fn feed_metrics(kind: FeedKind, reputation: &Reputation) -> Vec<(String, FeedMetric)> {
    let metric = |name: &str, warn, throttle| (name.to_owned(), FeedMetric::above(warn, throttle));
    let snds = || {
        vec![
            metric("filter_result", Some(0.0), Some(1.0)),
            metric("complaint_ratio", None, Some(reputation.complaint_throttle)),
            metric("trap_hits", None, Some(0.0)),
            metric("blocked", None, Some(0.0)),
            metric("abnormal", Some(0.0), None),
            metric("rcpt_commands", None, None),
            metric("data_commands", None, None),
            metric("message_recipients", None, None),
        ]
    };
    match kind {
        FeedKind::Snds | FeedKind::SndsCsv => snds(),
        FeedKind::Wqs => vec![metric("listed", None, Some(0.0))],
        FeedKind::Postmaster => vec![
            metric("spam_rate", Some(reputation.complaint_throttle), None),
            metric("low_ip_reputation", Some(0.0), Some(0.01)),
            metric("ip_in_rbls", Some(0.0), Some(0.01)),
            metric("bad_or_missing_ptr_record", Some(0.0), None),
            // What is put off may still be taken: it takes more of it.
            metric("low_ip_reputation_temp_fail", Some(0.01), Some(0.1)),
            metric("ip_in_rbls_temp_fail", Some(0.01), Some(0.1)),
            metric("bad_or_missing_ptr_record_temp_fail", Some(0.01), None),
            metric("needs_work", Some(0.0), None),
        ],
        FeedKind::Json | FeedKind::Csv => Vec::new(),
    }
}

/// `monitor.zone.NAME.positive_probe` of a list of domains (RFC 5782 §5)
pub(super) const POSITIVE_NAME: &str = "test";
/// `monitor.zone.NAME.negative_probe` of a list of domains (RFC 5782 §5)
pub(super) const NEGATIVE_NAME: &str = "invalid";
/// `dkim.NAME.headers`: what RFC 6376 §5.4.1 advises, and what RFC 8058 §4 asks for.
pub(super) const DKIM_HEADERS: [&str; 19] = [
    "From",
    "Reply-To",
    "Subject",
    "Date",
    "To",
    "Cc",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "List-Id",
    "List-Help",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Subscribe",
    "List-Post",
    "List-Owner",
];
/// `binding.NAME.warmup.ladder`
pub(super) const LADDER: &str = "standard";

/// Ladders that are there without being written: accepted recipients per day, stage by stage.
pub(super) const LADDERS: [(&str, &[u64]); 3] = [
    // The pace large senders publish: about double a day at first, then half as much again.
    (
        "standard",
        &[
            200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 40_000, 50_000, 75_000, 100_000, 150_000, 200_000, 250_000,
            325_000, 400_000, 500_000, 600_000, 750_000, 1_000_000, 1_250_000, 1_750_000, 2_000_000, 3_000_000,
            4_250_000, 5_000_000, 6_000_000, 7_500_000, 10_000_000,
        ],
    ),
    // For a new domain on a new address: from 50, about × 1.4 a day.
    (
        "cautious",
        &[
            50, 70, 100, 140, 200, 275, 385, 540, 750, 1_050, 1_500, 2_100, 2_900, 4_100, 5_700, 8_000, 11_000, 15_500,
            22_000, 30_500, 43_000, 60_000, 84_000, 118_000, 165_000, 230_000, 325_000, 455_000, 640_000, 900_000,
            1_250_000,
        ],
    ),
    // For a domain with a good name that moves to another address.
    (
        "fast",
        &[
            1_000, 5_000, 10_000, 20_000, 40_000, 70_000, 100_000, 150_000, 250_000, 400_000, 600_000, 1_000_000,
            2_000_000, 5_000_000, 10_000_000,
        ],
    ),
];

impl Config {
    /// A relay of this name with everything at its default, and nothing to send with yet.
    pub fn bare(hostname: Domain) -> Self {
        Self {
            server: Server {
                hostname,
                state_dir: PathBuf::new(),
                day: Day::default(),
                shutdown_grace: SHUTDOWN_GRACE,
                low_space_floor: LOW_SPACE_FLOOR,
                max_sessions: MAX_SESSIONS,
                memory: MEMORY,
                seed: None,
                users_file: None,
            },
            listeners: Vec::new(),
            certificates: Vec::new(),
            assignment: Assignment::default(),
            bindings: Vec::new(),
            pools: Vec::new(),
            tenants: Vec::new(),
            providers: Vec::new(),
            regions: Vec::new(),
            destination_routes: Vec::new(),
            dns: Dns::default(),
            queue: Queue::default(),
            delivery: Delivery::default(),
            window: Window::default(),
            prediction: Prediction::default(),
            reputation: Reputation::default(),
            warmup: WarmupRules::default(),
            monitor: Monitor::default(),
            feeds: Vec::new(),
            alerts: super::Alerts::default(),
            admin: Admin::default(),
            injection: Injection::default(),
            dkim: Vec::new(),
            log: Log::default(),
            classify: Classify::default(),
            feedback: None,
            reports: Reports::default(),
            origins: Arc::default(),
        }
    }
}

impl Binding {
    /// A binding without limits.
    pub fn new(name: impl Into<BindingName>, address: IpAddr) -> Self {
        Self {
            name: name.into(),
            bind_address: address,
            public_address: address,
            second: None,
            prefer: Family::of(address),
            ehlo_hostname: EhloName::Hostname,
            limits: Limits::default(),
            provider: BTreeMap::new(),
            warmup: None,
            provider_warmup: BTreeMap::new(),
            suspend_delivery: false,
            region: None,
            via: None,
        }
    }
}

impl Pool {
    /// A pool of these tiers.
    pub fn new(name: impl Into<PoolName>, tiers: Vec<Vec<Member>>) -> Self {
        Self {
            name: name.into(),
            tiers,
            spread: Spread::Weighted,
            pace: Pace::None,
            min_active: MIN_ACTIVE,
            failover_on: FAILOVER_ON.to_vec(),
            binding_limits: Limits::default(),
        }
    }
}

impl Tenant {
    /// `tenant.NAME.priority` of a stream that is not named.
    pub const PRIORITY: u8 = 5;

    /// A tenant that nothing is known by, without pools and limits.
    pub fn new(name: impl Into<TenantName>) -> Self {
        Self {
            name: name.into(),
            matches: TenantMatch::default(),
            pools: BTreeMap::new(),
            split: BTreeMap::new(),
            streams: Vec::new(),
            daily_cap: None,
            provider_caps: BTreeMap::new(),
            rate_limit: None,
            weight: WEIGHT,
            priority: BTreeMap::new(),
            engaged: BTreeSet::new(),
            region: None,
            return_path_domain: None,
            dkim: Vec::new(),
            spf: None,
            hold: false,
            senders: Vec::new(),
            sender_check: SenderCheck::Envelope,
        }
    }
}

impl Provider {
    /// A provider known by these MX patterns, without limits.
    pub fn new(name: impl Into<ProviderName>, mx: Vec<DomainPattern>) -> Self {
        Self {
            name: name.into(),
            mx,
            binding_limits: Limits::default(),
            warmup: None,
            region: None,
            back_off: None,
            tls: None,
        }
    }
}

impl Default for Day {
    fn default() -> Self {
        Self { timezone: jiff::tz::TimeZone::UTC, starts: jiff::civil::Time::midnight() }
    }
}

impl Listener {
    /// A listener with everything else left to its default; nobody is trusted.
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address,
            trust: Vec::new(),
            max_connections: 1000,
            max_connections_per_client: 100,
            max_message_bytes: MAX_MESSAGE_BYTES,
            max_recipients: 1000,
            max_errors: 20,
            idle_timeout: minutes(5),
            busy_idle_timeout: seconds(10),
            mails_per_session: None,
            max_header_bytes: 256 << 10,
            submission: false,
            auth: AuthMode::Off,
            auth_insecure: false,
            tls: TlsMode::Off,
            certificates: Vec::new(),
            proxy_protocol: Vec::new(),
            xclient: Vec::new(),
        }
    }
}

impl Default for Assignment {
    fn default() -> Self {
        Self {
            tenant_header: "X-Remuda-Tenant".to_owned(),
            stream_header: "X-Remuda-Stream".to_owned(),
            default_tenant: None,
            unknown: UnknownPolicy::Refuse,
        }
    }
}

impl Default for Dns {
    fn default() -> Self {
        Self { servers: Vec::new(), timeout: seconds(3), max_in_flight: 200, trust_anchor: None }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            retry_first: minutes(5),
            retry_factor: 2.0,
            retry_max: hours(4),
            retry_jitter: 0.1,
            lifetime: days(5),
            bounce_lifetime: days(1),
            sticky_tries: 3,
            max_attempts_in_flight: 2000,
            delay_warning: Vec::new(),
        }
    }
}

impl Default for Reports {
    fn default() -> Self {
        Self { template: None, double_bounce: DoubleBounce::Drop, max_returned_bytes: 50 << 10 }
    }
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            port: 25,
            allow_private_mx: false,
            max_addresses: 5,
            max_outbound_connections: 20,
            messages_per_connection: 100,
            recipients_per_message: 100,
            chunking: true,
            convert: Convert::Unsigned,
            keep_idle: seconds(5),
            max_connection_age: minutes(5),
            tls: super::TlsPolicy::Opportunistic,
            tls_roots: None,
            mta_sts: true,
            mta_sts_port: 443,
            dane: false,
            timeouts: Timeouts::default(),
        }
    }
}

impl Default for Window {
    fn default() -> Self {
        Self {
            adaptive: true,
            start: 5,
            grow_every: seconds(5),
            deferral_ratio: 0.1,
            back_off: BackOff { pause: minutes(1), add_every: minutes(1) },
        }
    }
}

impl BackOff {
    /// What Google publishes for its `421 4.7.28`: stop for ten minutes, then one connection, then one more at a time. It
    /// names no interval for those; that of its pause is on the safe side.
    pub const GMAIL: Self = Self { pause: minutes(10), add_every: minutes(10) };
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: seconds(30),
            banner: minutes(5),
            command: minutes(5),
            mail: minutes(5),
            rcpt: minutes(5),
            data: minutes(2),
            block: minutes(3),
            end_of_data: minutes(10),
            quit: seconds(5),
        }
    }
}

impl Default for Prediction {
    fn default() -> Self {
        Self { half_life: hours(4), horizon: 100, redraw: minutes(5), least: 0.05 }
    }
}

impl Default for Reputation {
    fn default() -> Self {
        Self {
            automation: Automation::Act,
            window: hours(1),
            min_attempts: 50,
            min_events: 5,
            hard_bounce_ratio: 0.05,
            normal_bounce_ratio: 0.02,
            bad_bounce_ratio: 0.1,
            fuse_height: 12.0,
            fuse_certainty: 0.99,
            complaint_prior: 0.000_5,
            complaint_prior_weight: 2_000.0,
            complaint_throttle: 0.001,
            complaint_suspend: 0.003,
            complaint_certainty: 0.99,
            complaint_days: 7,
            drift_half_life: hours(6),
            drift_limit: 5.0,
            ip_block_count: 3,
            ip_block_window: hours(1),
            hold_count: 3,
            hold_window: hours(1),
            group_hold: hours(1),
            providers_for_binding: 3,
            dwell: minutes(15),
            suspend_first: hours(1),
            suspend_max: hours(24),
            forgive_after: days(7),
            probation_start: 20,
            probation_period: minutes(15),
            probation_periods: 4,
            pool_guard: 0.5,
        }
    }
}

impl Default for WarmupRules {
    fn default() -> Self {
        Self {
            // Published steps grow by at most 2.5; from three quarters of a stage that is at most 3.3 times what was
            // really carried. A day that used less has shown too little.
            advance_used: 0.75,
            advance_delivered: 0.9,
            step_back_blamed: 0.05,
            // What receivers remember; one mailing a month still counts as use.
            cool_after: days(30),
            growth_beyond: 1.5,
        }
    }
}

impl Default for Monitor {
    fn default() -> Self {
        Self {
            interval: minutes(15),
            light_interval: minutes(60),
            jitter: 0.2,
            timeout: seconds(5),
            confirmations: 2,
            confirm_after: seconds(60),
            throttle_weight: 3.0,
            suspend_weight: 4.0,
            blast_radius: 0.3,
            sentinels: Vec::new(),
            fcrdns: true,
            spf: SpfPolicy::Require,
            spf_interval: hours(1),
            ipv6_names: Ipv6Names::Require,
            self_check: Some(hours(1)),
            servers: Vec::new(),
            second_servers: Vec::new(),
            zones: Vec::new(),
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            address: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 8025))),
            anonymous: Anonymous::Read,
            hosts: Vec::new(),
            tls: None,
            tokens: Vec::new(),
        }
    }
}

impl Default for Injection {
    fn default() -> Self {
        Self {
            address: None,
            tls: None,
            max_connections: 256,
            max_connections_per_client: 128,
            max_message_bytes: 50 << 20,
            max_recipients: 1000,
            max_bytes_in_flight: 512 << 20,
            keep_keys: days(1),
            tokens: Vec::new(),
        }
    }
}

impl Default for Classify {
    fn default() -> Self {
        Self { rules: Vec::new(), unmatched_kept: 200 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_ladders_only_climb() {
        for (name, stages) in LADDERS {
            assert!(stages.windows(2).all(|pair| pair[0] < pair[1]), "{name}");
            assert!(stages[0] > 0, "{name}");
        }
        assert!(LADDERS.iter().any(|(name, _)| *name == LADDER));
    }
}
