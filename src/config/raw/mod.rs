//! The file as typed: every section and every key there is, and what kind of value each takes.
//!
//! This is the only list of keys. What it reads is still a wish: units are converted, but references may lead nowhere
//! and combinations may make no sense; [`super::check`] turns it into values that cannot be wrong.

mod forms;

pub(crate) use forms::Date;
pub(super) use forms::{Host, Octets, TargetUrl, TimeOfDay, TokenHash, ZoneDomain};

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use super::mistake::{Findings, Place, join, suggest};
use super::read::{
    Field, List, Map, NameServer, OrOff, Readable, Size, as_table, as_text, field, quoted, refuse_unknown, table, words,
};
use super::tree::{Node, Table, Value};
use super::{
    Anonymous, AuthMode, Automation, DomainPattern, FailoverReason, FeedKind, Ipv6Names, LogFormat, Pace, Probe, Rate,
    Role, Severity, SpfPolicy, Spread, UnknownPolicy, ZoneKind,
};
use crate::message::{Domain, Mailbox};

table!(File {
    #[allow(dead_code, reason = "known here, but followed and taken out before the files are laid over one another")]
    include: List<String>,
    server: Server,
    listener: List<Listener>,
    assignment: Assignment,
    binding: Map<Binding>,
    pool: Map<Pool>,
    tenant: Map<Tenant>,
    provider: Map<Provider>,
    region: Map<Region>,
    ladder: Map<Ladder>,
    destination_route: List<DestinationRoute>,
    dns: Dns,
    queue: Queue,
    delivery: Delivery,
    window: Window,
    prediction: Prediction,
    reputation: Reputation,
    warmup: WarmupRules,
    monitor: Monitor,
    feed: Map<Feed>,
    alerts: Alerts,
    admin: Admin,
    log: Log,
    classify: Classify,
    feedback: Feedback,
});

impl File {
    /// Reads the tables of all files laid over one another.
    pub(super) fn from_tree(table: Table, out: &mut Findings) -> Self {
        let node = Node { file: 0, offset: 0, value: Value::Table(table) };
        Self::read(&node, &Place::default(), out).unwrap_or_default()
    }
}

/// The path of every key that may be written, in the order of declaration. `NAME` stands for a name of the operator's
/// choice, `[]` for an item of a list, as in `binding.NAME.provider.NAME.daily_cap` or `listener[].address`.
pub fn known_keys() -> Vec<String> {
    let mut keys = Vec::new();
    File::keys("", &mut keys);
    keys
}

table!(Server {
    hostname: Domain,
    state_dir: String,
    day: Day,
    shutdown_grace: Duration,
    low_space_floor: Size,
    seed: u64,
    users_file: String,
});

table!(Day { timezone: String, starts: TimeOfDay });

table!(Listener {
    address: SocketAddr,
    trust: List<IpNet>,
    max_connections: usize,
    max_connections_per_client: usize,
    max_message_bytes: Size,
    max_recipients: usize,
    max_errors: u32,
    idle_timeout: Duration,
    auth: AuthMode,
});

words!(AuthMode {
    "off" => AuthMode::Off,
    "optional" => AuthMode::Optional,
    "required" => AuthMode::Required,
});

table!(Assignment { tenant_header: String, stream_header: String, default_tenant: String, unknown: UnknownPolicy });

words!(UnknownPolicy { "refuse" => UnknownPolicy::Refuse, "defer" => UnknownPolicy::Defer });

table!(Limits {
    daily_cap: u64,
    max_outbound_connections: u32,
    rate_limit: Rate,
    messages_per_connection: u32,
    recipients_per_message: u32,
});

table!(Binding {
    bind_address: IpAddr,
    public_address: IpAddr,
    ehlo_hostname: String,
    suspend_delivery: bool,
    region: String,
    warmup: Warmup,
    provider: Map<Towards>,
} flatten limits: Limits);

table!(Towards { warmup: Warmup } flatten limits: Limits);

table!(Warmup { ladder: String, started: Date, stage: usize, age: Duration });

table!(WarmupRules {
    advance_used: f64,
    advance_delivered: f64,
    step_back_blamed: f64,
    cool_after: Duration,
    growth_beyond: f64,
});

table!(Ladder { stages: List<u64>, });

table!(Pool {
    active: List<Member>,
    backup: List<List<Member>>,
    spread: Spread,
    pace: Pace,
    min_active: usize,
    failover_on: List<FailoverReason>,
    binding: Limits,
});

words!(Spread {
    "weighted" => Spread::Weighted,
    "headroom" => Spread::Headroom,
    "reputation" => Spread::Reputation,
});

words!(FailoverReason {
    "suspended" => FailoverReason::Suspended,
    "capped" => FailoverReason::Capped,
    "warmup" => FailoverReason::Warmup,
    "rate_limited" => FailoverReason::RateLimited,
    "window_full" => FailoverReason::WindowFull,
});

table!(MemberTable { binding: String, weight: u32, pool: String });

/// A member of a tier: `"mta1"`, `{ binding = "mta1", weight = 2 }` or `{ pool = "reserve" }`.
#[derive(Clone, Debug)]
pub(super) enum Member {
    Binding { name: String, name_place: Place, weight: Field<u32> },
    Pool { name: String, name_place: Place },
}

impl Readable for Member {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        match &node.value {
            Value::Text(name) => {
                Some(Self::Binding { name: name.clone(), name_place: place.clone(), weight: Field::Missing })
            }
            Value::Table(_) => {
                let member = MemberTable::read(node, place, out)?;
                match (&member.binding, &member.pool) {
                    (Field::Given(name), Field::Missing) => Some(Self::Binding {
                        name: name.value.clone(),
                        name_place: name.place.clone(),
                        weight: member.weight,
                    }),
                    (Field::Missing, Field::Given(name)) => {
                        if let Field::Given(weight) = &member.weight {
                            out.mistake(&weight.place, "a pool in a tier has no weight", "its members keep their own");
                        }
                        Some(Self::Pool { name: name.value.clone(), name_place: name.place.clone() })
                    }
                    (Field::Bad, _) | (_, Field::Bad) => None,
                    _ => {
                        out.mistake(place, "needs either binding or pool", "write { binding = \"NAME\", weight = 2 }");
                        None
                    }
                }
            }
            other => {
                let hint = "write \"NAME\" or { binding = \"NAME\", weight = 2 }";
                out.mistake(place, format!("expected the name of a binding, found {}", other.kind()), hint);
                None
            }
        }
    }

    fn keys(path: &str, keys: &mut Vec<String>) {
        keys.push(path.to_owned());
        MemberTable::keys(path, keys);
    }
}

table!(Tenant {
    matches as "match": TenantMatch,
    pools: Map<String>,
    split: Map<Map<f64>>,
    streams: List<StreamRule>,
    daily_cap: u64,
    rate_limit: Rate,
    weight: u32,
    provider: Map<TenantTowards>,
    priority: Map<u8>,
    engaged: List<String>,
    region: String,
    return_path_domain: Domain,
    spf: SpfPolicy,
    hold: bool,
});

table!(TenantTowards { daily_cap: u64 });

table!(TenantMatch {
    auth_user: List<String>,
    sender_domain: List<DomainPattern>,
    client: List<IpNet>,
    header: Map<String>,
});

table!(StreamRule { stream: String, sender: Mailbox, sender_domain: DomainPattern, header: Map<String>, });

table!(Provider { mx: List<DomainPattern>, binding: Limits, warmup: String, region: String, back_off: BackOff });

table!(Region { recipient_domain: List<DomainPattern>, });

table!(DestinationRoute { domain: DomainPattern, hosts: List<Host>, provider: String, });

table!(Dns { servers: List<NameServer>, timeout: Duration, max_in_flight: usize, });

table!(Queue {
    retry_first: Duration,
    retry_factor: f64,
    retry_max: Duration,
    retry_jitter: f64,
    lifetime: Duration,
    bounce_lifetime: Duration,
    sticky_tries: u8,
    max_attempts_in_flight: usize,
});

table!(Delivery {
    port: u16,
    allow_private_mx: bool,
    max_addresses: usize,
    max_outbound_connections: u32,
    messages_per_connection: u32,
    recipients_per_message: u32,
    keep_idle: Duration,
    max_connection_age: Duration,
    timeouts: Timeouts,
});

table!(Timeouts {
    connect: Duration,
    banner: Duration,
    command: Duration,
    mail: Duration,
    rcpt: Duration,
    data: Duration,
    block: Duration,
    end_of_data: Duration,
    quit: Duration,
});

table!(Window { adaptive: bool, start: u32, grow_every: Duration, deferral_ratio: f64, back_off: BackOff });

table!(BackOff { pause: Duration, add_every: Duration });

words!(Automation { "act" => Automation::Act, "watch" => Automation::Watch });

table!(Prediction { half_life: Duration, horizon: u32, redraw: Duration, least: f64 });

table!(Reputation {
    automation: Automation,
    window: Duration,
    min_attempts: u64,
    min_events: u64,
    hard_bounce_ratio: f64,
    normal_bounce_ratio: f64,
    bad_bounce_ratio: f64,
    fuse_height: f64,
    fuse_certainty: f64,
    complaint_prior: f64,
    complaint_prior_weight: f64,
    complaint_throttle: f64,
    complaint_suspend: f64,
    complaint_certainty: f64,
    complaint_days: u32,
    drift_half_life: Duration,
    drift_limit: f64,
    ip_block_count: u32,
    ip_block_window: Duration,
    hold_count: u32,
    hold_window: Duration,
    group_hold: Duration,
    providers_for_binding: usize,
    dwell: Duration,
    suspend_first: Duration,
    suspend_max: Duration,
    forgive_after: Duration,
    probation_start: u32,
    probation_period: Duration,
    probation_periods: u32,
    pool_guard: f64,
});

table!(Monitor {
    #[allow(dead_code, reason = "known here, but the shipped lists are laid under the tables before those are read")]
    lists: List<String>,
    interval: Duration,
    light_interval: Duration,
    jitter: f64,
    timeout: Duration,
    confirmations: u32,
    confirm_after: Duration,
    throttle_weight: f64,
    suspend_weight: f64,
    blast_radius: f64,
    sentinels: List<IpAddr>,
    fcrdns: bool,
    spf: SpfPolicy,
    spf_interval: Duration,
    ipv6_names: Ipv6Names,
    self_check: OrOff<Duration>,
    servers: List<NameServer>,
    second_servers: List<NameServer>,
    zone: Map<Zone>,
});

words!(SpfPolicy { "require" => SpfPolicy::Require, "report" => SpfPolicy::Report, "off" => SpfPolicy::Off });
words!(Ipv6Names { "require" => Ipv6Names::Require, "report" => Ipv6Names::Report });

table!(Zone {
    zone: ZoneDomain,
    key_file: String,
    kind: ZoneKind,
    families: List<Family>,
    servers: List<NameServer>,
    weight: f64,
    codes: List<ZoneCode>,
    positive_probe: OrOff<Probe>,
    negative_probe: OrOff<Probe>,
    random_probe: bool,
    interval: Duration,
    queries_per_day: u64,
    aliases: List<String>,
    terms: String,
    operator: String,
    delisting: String,
});

words!(ZoneKind { "address" => ZoneKind::Address, "domain" => ZoneKind::Domain });

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Ipv4,
    Ipv6,
}

words!(Family { "ipv4" => Family::Ipv4, "ipv6" => Family::Ipv6 });

table!(ZoneCode { octets: Octets, mask: u8, meaning: Meaning, weight: f64, certain: bool });

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Listed,
    Refused,
    Good,
}

words!(Meaning { "listed" => Meaning::Listed, "refused" => Meaning::Refused, "good" => Meaning::Good });

table!(Feed {
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

table!(FeedScope { address: String, range: String, domain: String, tenant: String, binding: String });

table!(FeedMetric { value: String, warn_above: f64, warn_below: f64, throttle_above: f64, throttle_below: f64 });

table!(Alerts {
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

table!(AlertRule { hold as "for": Duration, severity: Severity, enabled: bool });

words!(Severity {
    "critical" => Severity::Critical,
    "warning" => Severity::Warning,
    "info" => Severity::Info,
});

table!(Alertmanager {
    url: TargetUrl,
    user: String,
    password_file: String,
    bearer_file: String,
    ca_file: String,
    allow_plain: bool,
});

table!(Webhook {
    url: TargetUrl,
    secret_file: String,
    bearer_file: String,
    ca_file: String,
    min_severity: Severity,
    events: List<AlertEvent>,
    allow_plain: bool,
});

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AlertEvent {
    Firing,
    Resolved,
}

words!(AlertEvent { "firing" => AlertEvent::Firing, "resolved" => AlertEvent::Resolved });

table!(Admin {
    address: OrOff<SocketAddr>,
    anonymous: Anonymous,
    hosts: List<String>,
    tls: AdminTls,
    token: Map<AdminToken>,
});

table!(AdminTls { certificate: String, key: String });

table!(AdminToken { hash: TokenHash, role: Role });

words!(Anonymous { "read" => Anonymous::Read, "none" => Anonymous::None });

words!(Role { "read" => Role::Read, "operate" => Role::Operate, "admin" => Role::Admin });

table!(Log { format: LogFormat, filter: String });

words!(LogFormat { "text" => LogFormat::Text, "json" => LogFormat::Json });

table!(Classify { rules: List<String>, unmatched_kept: usize });

table!(Feedback {
    addresses: List<Mailbox>,
    header: String,
    key_file: String,
    accept_for: Duration,
    max_report_bytes: Size,
    unattributed_kept: usize,
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_listed_with_their_paths() {
        let keys = known_keys();
        for key in [
            "include",
            "listener[].address",
            "listener[].trust",
            "binding.NAME.daily_cap",
            "binding.NAME.provider.NAME.daily_cap",
            "pool.NAME.active",
            "pool.NAME.active[].weight",
            "pool.NAME.backup",
            "pool.NAME.backup[][].pool",
            "tenant.NAME.match.header.NAME",
            "tenant.NAME.split.NAME.NAME",
            "tenant.NAME.streams[].header.NAME",
            "monitor.zone.NAME.codes[].octets",
            "delivery.timeouts.end_of_data",
        ] {
            assert!(keys.iter().any(|known| known == key), "{key} in {keys:#?}");
        }
        let unique: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(unique.len(), keys.len(), "no key twice");
    }
}
