//! What the operator wrote, as values that cannot be wrong.
//!
//! Two kinds of types: `raw` is the file as typed (serde, unknown keys refused), the types here are what it means —
//! units converted, references resolved, defaults filled in. Only `check` makes these from those, and it gathers every
//! mistake with file, line and key path before it gives up. The rest of the program sees only the types here.

mod alerts;
pub mod check;
mod defaults;
mod feeds;
mod lists;
pub mod load;
pub(crate) mod mistake;
mod monitor;
mod origins;
pub mod raw;
pub(crate) mod read;
mod reputation;
pub(crate) mod tree;
pub mod units;
pub mod written;

pub use alerts::{AlertLimits, AlertName, AlertRule, Alertmanager, Alerts, Credentials, SecretUrl, Severity, Webhook};
pub use check::{Holds, LaterFile, Loaded, Mistake, Mistakes, NamedFiles, SourceFile, ZoneKeyFile};
pub use feeds::{Feed, FeedAuth, FeedKind, FeedMetric, FeedRows, FeedScope};
pub(crate) use mistake::suggest;
pub use monitor::{CodeMeaning, Families, HEAVY, Ipv6Names, Monitor, Probe, SpfPolicy, Zone, ZoneCode, ZoneKind};
pub use origins::{Origin, Origins};
pub use reputation::{Automation, Prediction, Reputation};

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::message::{BindingName, Domain, Mailbox, PoolName, ProviderName, StreamName, TenantName};

/// The path of a key, as mistakes and [`Origins`] write it: names are quoted where TOML would ask for it.
pub fn key_path<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    parts.into_iter().fold(String::new(), |path, part| mistake::join(&path, part))
}

/// The whole configuration. Names that refer to something are known to exist.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[[listener]]`, at least one.
    pub listeners: Vec<Listener>,
    /// `[assignment]`
    pub assignment: Assignment,
    /// `[binding.NAME]`, in the order of the file.
    pub bindings: Vec<Arc<Binding>>,
    /// `[pool.NAME]`, in the order of the file.
    pub pools: Vec<Pool>,
    /// `[tenant.NAME]`, in the order of the file.
    pub tenants: Vec<Tenant>,
    /// `[provider.NAME]`, in the order of the file; the first whose patterns cover all MX hosts wins.
    pub providers: Vec<Provider>,
    /// `[region.NAME]`, in the order of the file.
    pub regions: Vec<Region>,
    /// `[[destination_route]]`, in the order of the file; the first that matches wins.
    pub destination_routes: Vec<DestinationRoute>,
    /// `[dns]`
    pub dns: Dns,
    /// `[queue]`
    pub queue: Queue,
    /// `[delivery]`
    pub delivery: Delivery,
    /// `[window]`
    pub window: Window,
    /// `[prediction]`
    pub prediction: Prediction,
    /// `[reputation]`
    pub reputation: Reputation,
    /// `[warmup]`
    pub warmup: WarmupRules,
    /// `[monitor]` with its `[monitor.zone.NAME]`
    pub monitor: Monitor,
    /// `[admin]`
    pub admin: Admin,
    /// `[log]`
    pub log: Log,
    /// `[classify]`
    pub classify: Classify,
    /// `[feed.NAME]`, in the order of the file.
    pub feeds: Vec<Feed>,
    /// `[alerts]`
    pub alerts: Alerts,
    /// `[feedback]`, where bounces and complaints are taken back
    pub feedback: Option<Feedback>,
    /// Where each key was written
    pub origins: Arc<Origins>,
}

/// `[server]`: what holds for the whole program.
#[derive(Clone, Debug)]
pub struct Server {
    /// Our own name: greeting, `Received:` lines, `Reporting-MTA` of DSNs.
    pub hostname: Domain,
    /// Where spool and facts live; locked by the running process.
    pub state_dir: PathBuf,
    /// What "daily" means.
    pub day: Day,
    /// How long a graceful stop waits for attempts on the wire. Default 30 s.
    pub shutdown_grace: Duration,
    /// Free space of `state_dir` in bytes below which new mail gets `452 4.3.1`. Default 64 MiB.
    pub low_space_floor: u64,
    /// Seed of the scheduler's random source; `None` takes one from the system at start.
    pub seed: Option<u64>,
    /// Users that may log in at listeners with `auth`, one `name:argon2id-hash` a line; `None` is nobody.
    pub users_file: Option<PathBuf>,
}

/// Which calendar the daily caps follow.
#[derive(Clone, Debug)]
pub struct Day {
    /// Time zone (IANA). Default UTC.
    pub timezone: jiff::tz::TimeZone,
    /// Local time at which a day starts. Default 00:00.
    pub starts: jiff::civil::Time,
}

/// `[[listener]]`: one SMTP socket.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Address and port; port 0 lets the system choose (the log and `/api/v1/status` say which).
    pub address: SocketAddr,
    /// Clients that may relay without AUTH. Empty: nobody.
    pub trust: Vec<IpNet>,
    /// Sessions at the same time. Default 1000.
    pub max_connections: usize,
    /// Sessions at the same time from one address. Default 100.
    pub max_connections_per_client: usize,
    /// Octets of one message (`SIZE`, RFC 1870). Default 50 MiB.
    pub max_message_bytes: u64,
    /// Recipients of one transaction (RFC 5321 §4.5.3.1.8: at least 100). Default 1000.
    pub max_recipients: usize,
    /// Refused commands after which the session is closed. Default 20.
    pub max_errors: u32,
    /// Silence after which the session is closed (RFC 5321 §4.5.3.2.7: at least 5 min). Default 5 min.
    pub idle_timeout: Duration,
    /// Whether users may or must log in (RFC 4954). Default off.
    pub auth: AuthMode,
}

/// Whether clients of a listener log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// AUTH is not offered.
    Off,
    /// Clients of `trust` may relay without; others must log in.
    Optional,
    /// No mail from anybody who has not logged in (`530 5.7.0`).
    Required,
}

/// `[assignment]`: how mail finds its tenant and stream.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// Header by which trusted clients name the tenant; removed before the mail goes on. Default `X-Remuda-Tenant`.
    pub tenant_header: String,
    /// Header by which clients name the stream; removed as well. Default `X-Remuda-Stream`.
    pub stream_header: String,
    /// Tenant of mail that matches none; `None` refuses it.
    pub default_tenant: Option<TenantName>,
    /// Reply to mail of an unknown tenant or stream. Default refuse.
    pub unknown: UnknownPolicy,
}

/// What to answer where no tenant, stream or pool is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownPolicy {
    /// `550 5.7.1`
    Refuse,
    /// `451 4.7.1`
    Defer,
}

/// `[binding.NAME]`
#[derive(Clone, Debug)]
pub struct Binding {
    /// Its name: case-sensitive, no spaces or colons.
    pub name: BindingName,
    /// Source address of its connections.
    pub bind_address: IpAddr,
    /// The address the world sees (differs behind NAT); what DNSBL and PTR checks use. Default `bind_address`.
    pub public_address: IpAddr,
    /// What it says in EHLO. Default `server.hostname`.
    pub ehlo_hostname: EhloName,
    /// Limits of the binding as a whole.
    pub limits: Limits,
    /// Limits towards single providers; these win over the provider's own `binding` table.
    pub provider: BTreeMap<ProviderName, Limits>,
    /// Warm-up, if it is being warmed up.
    pub warmup: Option<Warmup>,
    /// Warm-up towards single providers, beside that of the binding as a whole: both allowances hold.
    pub provider_warmup: BTreeMap<ProviderName, Warmup>,
    /// Taken out by the operator in the file.
    pub suspend_delivery: bool,
    /// Where it is, for preferring bindings near the recipient or the tenant.
    pub region: Option<String>,
}

/// The name a binding gives in EHLO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EhloName {
    /// This name.
    Literal(Domain),
    /// `server.hostname`.
    Hostname,
    /// The domain of the reverse path; `server.hostname` for the null reverse path.
    Message,
}

/// Limits; `None` is "no limit here" and leaves the word to the next wider level.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// Accepted recipients per calendar day.
    pub daily_cap: Option<u64>,
    /// Connections at the same time.
    pub max_outbound_connections: Option<u32>,
    /// Messages per short span.
    pub rate_limit: Option<Rate>,
    /// Messages after which a connection is closed.
    pub messages_per_connection: Option<u32>,
    /// Recipients in one transaction.
    pub recipients_per_message: Option<u32>,
}

/// A short rate, `count` per `per`. Text form `20/s`, `600/min`, `1000/h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Messages.
    pub count: NonZeroU32,
    /// Span; at most one hour: a GCRA is no daily cap.
    pub per: Duration,
}

/// `warmup = { ladder = …, started = … | stage = … | age = … }`
#[derive(Clone, Debug, PartialEq)]
pub struct Warmup {
    /// Accepted recipients per day, stage by stage.
    pub ladder: Arc<[u64]>,
    /// Where on the ladder it stands.
    pub position: WarmupStart,
}

/// `[warmup]`: when a ladder's stage moves, whatever the ladder.
#[derive(Clone, Debug, PartialEq)]
pub struct WarmupRules {
    /// Share of a stage's allowance that must have been accepted in a day for the next stage. Default 0.75.
    pub advance_used: f64,
    /// Share that must have been accepted of what was accepted, deferred by the receiver or refused for our address's
    /// sake. Default 0.9.
    pub advance_delivered: f64,
    /// Share of answers that blame our address above which the stage falls. Default 0.05.
    pub step_back_blamed: f64,
    /// Days (24 h each) without enough mail after which the stage falls, week by week. Default 30 d.
    pub cool_after: Duration,
    /// Factor by which the allowance goes on growing above the last stage of a ladder. Default 1.5.
    pub growth_beyond: f64,
}

/// Where on its ladder a binding starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarmupStart {
    /// Stage 0, not before this day.
    Started(jiff::civil::Date),
    /// This stage (0-based); for an address warmed elsewhere.
    Stage(usize),
    /// The stage that an address used daily for so many days would have reached; for one warmed elsewhere.
    Age(u32),
}

/// `[pool.NAME]`: tiers of bindings. Tier 0 is `active`; the others are `backup`, in order.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its name.
    pub name: PoolName,
    /// Never empty; no binding twice in one pool. `{ pool = "…" }` in a backup tier is already unfolded.
    pub tiers: Vec<Vec<Member>>,
    /// How volume is spread inside a tier. Default weighted.
    pub spread: Spread,
    /// How a daily cap is spread over the day. Default none.
    pub pace: Pace,
    /// Eligible bindings below which the next tier opens as well. Default 1.
    pub min_active: usize,
    /// Reasons for which the next tier opens. Default suspended, capped.
    pub failover_on: Vec<FailoverReason>,
    /// Limits of each member while it carries this pool's mail; binding limits win.
    pub binding_limits: Limits,
}

/// A binding in a tier.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Which one.
    pub binding: BindingName,
    /// Its share relative to the others of the tier; 0 gets nothing (drained). At most 65 535.
    pub weight: u32,
}

/// How volume is spread over the bindings of a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Exactly by weight.
    Weighted,
    /// The smallest used share of today's allowance first.
    Headroom,
    /// By weight bent by the measured chance of delivery.
    Reputation,
}

/// How a daily cap is spread over the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As fast as rates allow.
    None,
    /// In proportion to the part of the day that has passed.
    Even,
    /// By hour of the day, local time: shares of the cap.
    Hours(HourShares),
}

/// Shares of a day's cap by hour, from the hour in which the day starts; they need not add up to anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourShares {
    /// Sum of the shares before each hour, and before the end.
    before: [u32; 25],
}

impl HourShares {
    /// These shares; `None` where all are 0.
    pub fn new(shares: [u16; 24]) -> Option<Self> {
        let mut before = [0; 25];
        for (hour, share) in shares.into_iter().enumerate() {
            before[hour + 1] = before[hour] + u32::from(share);
        }
        (before[24] > 0).then_some(Self { before })
    }

    /// The share of an hour, 0 to 23.
    pub fn of(&self, hour: usize) -> u32 {
        self.before[hour + 1] - self.before[hour]
    }

    /// What the hours before this one (0 to 24) have together.
    pub fn before(&self, hour: usize) -> u32 {
        self.before[hour]
    }

    /// What all hours have together; never 0.
    pub fn total(&self) -> u32 {
        self.before[24]
    }
}

/// A reason that may open the next tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailoverReason {
    /// Binding or route suspended (by operator, rule or unusable address), or excluded for this message.
    Suspended,
    /// Daily cap used up.
    Capped,
    /// Today's allowance of the warm-up used up.
    Warmup,
    /// Waiting for the rate limiter.
    RateLimited,
    /// Connection window full.
    WindowFull,
}

/// `[tenant.NAME]`
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Its name.
    pub name: TenantName,
    /// How its mail is recognised.
    pub matches: TenantMatch,
    /// Pool per stream; always has `default`.
    pub pools: BTreeMap<StreamName, PoolName>,
    /// Per stream: share (0–1) of recipients that goes to another pool instead. Shares of a stream add up to ≤ 1.
    pub split: BTreeMap<StreamName, Vec<(PoolName, f64)>>,
    /// Rules that choose the stream when no header does; the first that matches wins, else `default`.
    pub streams: Vec<StreamRule>,
    /// Accepted recipients per day over all its bindings.
    pub daily_cap: Option<u64>,
    /// Accepted recipients per day towards single providers, over all its bindings.
    pub provider_caps: BTreeMap<ProviderName, u64>,
    /// Messages per short span over all its bindings.
    pub rate_limit: Option<Rate>,
    /// Share against other tenants in the same queue. Default 1; at least 1.
    pub weight: u32,
    /// Order of its streams in the queue: higher first. Default [`Tenant::PRIORITY`] for streams not named.
    pub priority: BTreeMap<StreamName, u8>,
    /// Streams whose recipients are the most welcome: addresses in warm-up keep their allowance for them.
    pub engaged: BTreeSet<StreamName>,
    /// Region whose bindings are preferred where the recipient has none.
    pub region: Option<String>,
    /// Domain under which its return paths are rewritten, so that bounces come back to us; `None` leaves them alone.
    pub return_path_domain: Option<Domain>,
    /// Its own `monitor.spf`, where it has one.
    pub spf: Option<SpfPolicy>,
    /// Its mail is taken in and waits, for as long as its lifetime lasts. Default false.
    pub hold: bool,
}

impl Tenant {
    /// What SPF means for its mail.
    pub fn spf_policy(&self, monitor: &Monitor) -> SpfPolicy {
        match monitor.spf {
            // Without evaluations there is nothing to keep to.
            SpfPolicy::Off => SpfPolicy::Off,
            policy => self.spf.unwrap_or(policy),
        }
    }

    /// The sender domain that its mail leaves with, where its return paths are rewritten.
    pub fn sends_as<'a>(&'a self, config: &Config) -> Option<&'a Domain> {
        self.return_path_domain.as_ref().filter(|_| config.feedback.is_some())
    }
}

/// Marks by which a tenant's mail is known; tried in the order user, header, sender domain, client.
#[derive(Clone, Debug, Default)]
pub struct TenantMatch {
    /// Names of users that logged in.
    pub auth_user: Vec<String>,
    /// Domains of the reverse path, sub-domains not included unless written `*.example.com`.
    pub sender_domain: Vec<DomainPattern>,
    /// Client networks; the longest prefix over all tenants wins.
    pub client: Vec<IpNet>,
    /// Header name → value, believed only from trusted clients.
    pub header: BTreeMap<String, String>,
}

/// One rule that chooses a stream: all given conditions must hold.
#[derive(Clone, Debug)]
pub struct StreamRule {
    /// The stream it chooses; has a pool.
    pub stream: StreamName,
    /// Reverse path equals.
    pub sender: Option<Mailbox>,
    /// Domain of the reverse path matches.
    pub sender_domain: Option<DomainPattern>,
    /// Header `name` has this value (compared without case, trimmed).
    pub header: Option<(String, String)>,
}

/// A pattern over domain or host names, lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DomainPattern {
    /// This name.
    Exact(Domain),
    /// Any name below this one (`*.example.com`), not the name itself.
    Below(Domain),
    /// `*`
    Any,
}

impl DomainPattern {
    /// Whether `name` (lower case) is meant.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(domain) => domain.as_str() == name,
            Self::Below(domain) => {
                name.strip_suffix(domain.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            Self::Any => true,
        }
    }
}

/// `[provider.NAME]`: a group of receivers that count as one destination.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its name; also the destination's.
    pub name: ProviderName,
    /// Every MX host of a domain must match one of these.
    pub mx: Vec<DomainPattern>,
    /// Limits of each binding towards this provider.
    pub binding_limits: Limits,
    /// Ladder of its own for bindings in warm-up, unless they have one towards it.
    pub warmup: Option<Arc<[u64]>>,
    /// Region whose bindings are preferred.
    pub region: Option<String>,
    /// What a wish for less of this receiver begins; `[window] back_off` where there is none.
    pub back_off: Option<BackOff>,
}

/// `[region.NAME]`: recipients for whom bindings of the region are preferred. Wins over the provider's and the tenant's.
#[derive(Clone, Debug)]
pub struct Region {
    /// Its name, as bindings, providers and tenants use it.
    pub name: String,
    /// Recipient domains that belong to it.
    pub recipient_domain: Vec<DomainPattern>,
}

/// `[[destination_route]]`: pins recipient domains to hosts instead of asking for MX records.
#[derive(Clone, Debug)]
pub struct DestinationRoute {
    /// Which recipient domains.
    pub domain: DomainPattern,
    /// Where to, tried in order.
    pub hosts: Vec<HostPort>,
    /// Destination name to count under; `None` derives it from the hosts as with MX.
    pub provider: Option<ProviderName>,
}

/// A host and its SMTP port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Name or address.
    pub host: Host,
    /// TCP port; `delivery.port` where the file names none.
    pub port: u16,
}

/// A host by name or address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// To be looked up (A, AAAA).
    Name(Domain),
    /// As it is.
    Address(IpAddr),
}

/// `[dns]`: how recipient domains are looked up.
#[derive(Clone, Debug)]
pub struct Dns {
    /// Name servers; empty takes the system's.
    pub servers: Vec<SocketAddr>,
    /// Time for one question to one server. Default 3 s.
    pub timeout: Duration,
    /// Questions in flight. Default 200.
    pub max_in_flight: usize,
}

/// `[queue]`: retries and lifetime.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Wait after the first deferral. Default 5 min.
    pub retry_first: Duration,
    /// Each further wait is this many times longer. Default 2.0; at least 1.
    pub retry_factor: f64,
    /// Longest wait. Default 4 h.
    pub retry_max: Duration,
    /// Spread of waits: ± this share. Default 0.1.
    pub retry_jitter: f64,
    /// Time after which mail is given up (RFC 5321 §4.5.4.1: 4–5 days). Default 5 d.
    pub lifetime: Duration,
    /// The same for mail with the null reverse path. Default 1 d.
    pub bounce_lifetime: Duration,
    /// Tries with the same binding after a plain deferral. Default 3.
    pub sticky_tries: u8,
    /// Attempts in flight over all bindings. Default 2000.
    pub max_attempts_in_flight: usize,
}

/// `[delivery]`: how we talk to receivers.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Port of MX hosts. Default 25.
    pub port: u16,
    /// Whether MX records may point to loopback and private addresses. Default false. `destination_route` always may.
    pub allow_private_mx: bool,
    /// MX addresses tried in one attempt. Default 5.
    pub max_addresses: usize,
    /// Connections at the same time per route where nothing more specific is set. Default 20.
    pub max_outbound_connections: u32,
    /// Messages per connection where nothing more specific is set. Default 100.
    pub messages_per_connection: u32,
    /// Recipients per transaction where nothing more specific is set. Default 100.
    pub recipients_per_message: u32,
    /// How long an unused connection is kept. Default 5 s.
    pub keep_idle: Duration,
    /// Oldest age of a connection. Default 5 min.
    pub max_connection_age: Duration,
    /// Time-outs of RFC 5321 §4.5.3.2.
    pub timeouts: Timeouts,
}

/// `[delivery.timeouts]`: client time-outs, RFC 5321 §4.5.3.2.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// TCP connect. Default 30 s.
    pub connect: Duration,
    /// Greeting. Default 5 min.
    pub banner: Duration,
    /// EHLO, HELO, RSET. Default 5 min.
    pub command: Duration,
    /// MAIL. Default 5 min.
    pub mail: Duration,
    /// RCPT. Default 5 min.
    pub rcpt: Duration,
    /// DATA, until 354. Default 2 min.
    pub data: Duration,
    /// Each block of the body. Default 3 min.
    pub block: Duration,
    /// Final dot. Default 10 min.
    pub end_of_data: Duration,
    /// QUIT; short, nothing depends on it. Default 5 s.
    pub quit: Duration,
}

/// `[window]`: how many of the connections that `max_outbound_connections` allows a route uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Whether the number follows what the receiver answers; else it is `max_outbound_connections`. Default true.
    pub adaptive: bool,
    /// Connections to a receiver about which nothing is known. Default 5.
    pub start: u32,
    /// Least time between two connections more, after it had to be fewer. Default 5 s.
    pub grow_every: Duration,
    /// Share of deferrals (0 to 1) above which it is to be fewer. Default 0.1.
    pub deferral_ratio: f64,
    /// What a receiver's wish for less begins, where the provider has nothing of its own. Default 1 min, 1 min.
    pub back_off: BackOff,
}

/// What a receiver's wish for less begins: no connection, then one, then one more at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOff {
    /// No connection for so long. Default 1 min.
    pub pause: Duration,
    /// Least time between two connections more, afterwards. Default 1 min.
    pub add_every: Duration,
}

/// `[admin]`: HTTP for metrics, API and console.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Address and port; `None` is off. Default 127.0.0.1:8025. Elsewhere than on loopback it needs TLS and a token.
    pub address: Option<SocketAddr>,
    /// What those may who bring no token. Default: look, on loopback; nothing elsewhere.
    pub anonymous: Anonymous,
    /// Names and addresses, without ports, by which it may be called besides its own; in lower case.
    pub hosts: Vec<String>,
    /// TLS; `None` is plain HTTP.
    pub tls: Option<AdminTls>,
    /// Who may do what, by name.
    pub tokens: Vec<AdminToken>,
}

/// What those may who bring no token. Acts always need one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anonymous {
    /// Look: status, metrics, queue, events.
    Read,
    /// Nothing.
    None,
}

/// `admin.tls`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminTls {
    /// Certificate and those above it, PEM. Read again when it changes.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// `[admin.token.NAME]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminToken {
    /// Name; stands in the event of each act.
    pub name: String,
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// What its bearer may.
    pub role: Role,
}

/// What somebody may do over HTTP; each includes the ones before it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    Read,
    /// Act on mail, bindings, pools and tenants.
    Operate,
    /// Reload, and whatever there is.
    Admin,
}

impl Role {
    /// Stable text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

/// `[log]`
#[derive(Clone, Debug)]
pub struct Log {
    /// Form of a line. Default text.
    pub format: LogFormat,
    /// `tracing` filter, such as `info` or `remuda=debug`. Default `info`.
    pub filter: String,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `key=value`
    Text,
    /// One JSON object a line.
    Json,
}

/// `[classify]`: rules that read replies.
#[derive(Clone, Debug)]
pub struct Classify {
    /// Files with rules that are tried before the shipped ones, in order.
    pub rules: Vec<PathBuf>,
    /// Replies no rule matched that are kept, normalised and counted; the longest unseen goes first. Default 200.
    pub unmatched_kept: usize,
}

/// `[feedback]`: bounces (RFC 3464) and complaints (RFC 5965) that come back by mail. Without it nothing is marked and
/// nothing taken back.
#[derive(Clone, Debug)]
pub struct Feedback {
    /// Addresses whose mail is read as reports, whoever sends it; besides them every rewritten return path.
    pub addresses: Vec<Mailbox>,
    /// Name of the header field put on every message, by which reports about it are attributed. Default `X-Remuda-Id`.
    pub header: String,
    /// File with the keys that sign those marks. Default `feedback.keys` in `server.state_dir`, made at the first start.
    pub key_file: PathBuf,
    /// Reports about attempts longer ago are counted, but no evidence. Default 30 d.
    pub accept_for: Duration,
    /// Octets of one report. Default 10 MiB.
    pub max_report_bytes: u64,
    /// Mails kept of each ring ([`crate::feedback::aside`]) below `state_dir`, besides a bound of 256 MiB: mail without a
    /// mark of ours, mail with one that could not be passed on, reports that were understood. The oldest go first; 0
    /// keeps none, and takes no mail for postmasters. Default 1000.
    pub unattributed_kept: usize,
}
