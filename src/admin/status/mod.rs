//! The status as data: what `/api/v1/status` answers and `remuda status` prints.

mod take;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use super::orders::OrderShown;
use crate::clock::{Wall, rfc3339};
use crate::reputation::holds::HoldView;

pub(in crate::admin) use take::SLICE;

/// Everything at one moment.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Of the program.
    pub version: String,
    /// `server.hostname`.
    pub hostname: String,
    /// When this was taken.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub at: Wall,
    /// Addresses of the SMTP listeners.
    pub listeners: Vec<String>,
    /// In the order of the configuration.
    pub bindings: Vec<BindingStatus>,
    /// What waits.
    pub queue: QueueStatus,
    /// Totals since start.
    pub counts: CountStatus,
    /// Tenant caps.
    pub tenants: Vec<TenantStatus>,
    /// Mail that is held because a receiver refuses its tenant or sender domain.
    #[serde(default)]
    pub holds: Vec<HoldView>,
    /// DNSBL zones.
    pub zones: Vec<ZoneStatus>,
    /// Durable state.
    pub spool: SpoolStatus,
}

/// One binding.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BindingStatus {
    /// Its name.
    pub name: String,
    /// Its source address; the first where it has two.
    pub bind_address: String,
    /// Its source address of the other family, where it has both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_bind_address: Option<String>,
    /// active, throttled, suspended, probation.
    pub health: String,
    /// Why not active.
    pub reason: Option<String>,
    /// Until when.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Wall>,
    /// What speaks for it, in words.
    pub evidence: Option<String>,
    /// Attempts on the wire.
    pub in_use: u64,
    /// Daily cap, if it has one.
    pub cap: Option<CapStatus>,
    /// Ladders that hold it back today.
    #[serde(default)]
    pub warmup: Vec<WarmupStatus>,
    /// Destinations where it is not active.
    pub routes: Vec<RouteStatus>,
    /// What came back by mail, by destination.
    #[serde(default)]
    pub feedback: Vec<FeedbackStatus>,
    /// What the operator has it do beside its health: `suspended`, `draining`, `removing`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// The operator's orders about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<OrderShown>,
}

/// One ladder that holds a binding, or its route to a provider, back today.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct WarmupStatus {
    /// A provider's name; `None` for the binding as a whole.
    pub provider: Option<String>,
    /// Stage, from 0 as in the configuration.
    pub stage: u64,
    /// Stages there are below the daily cap.
    pub stages: u64,
    /// Recipients that may be accepted today.
    pub allowance: u64,
    /// Accepted today, as far as the ladder knows: after a crash it may have forgotten some minutes.
    pub accepted: u64,
}

/// What came back by mail for what a binding delivered in the last seven days (UTC days of sending, today included).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct FeedbackStatus {
    /// A provider's name, or `other` for everybody else.
    pub destination: String,
    /// Recipients accepted.
    pub accepted: u64,
    /// Complaints about those.
    pub complaints: u64,
    /// Bounces by mail for those.
    pub late_bounces: u64,
}

/// One route that is not active, or that automation would take out if it were let.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RouteStatus {
    /// Where to.
    pub destination: String,
    /// active, throttled, suspended, probation.
    pub health: String,
    /// Why.
    pub reason: Option<String>,
    /// Until when.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Wall>,
    /// What speaks for it, in words.
    pub evidence: Option<String>,
    /// How many connections it has, and may have.
    #[serde(default)]
    pub window: Option<WindowStatus>,
}

/// The connection window of a route.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct WindowStatus {
    /// Attempts on the wire.
    pub in_use: u32,
    /// Most at the same time now.
    pub limit: u32,
    /// `max_outbound_connections`.
    pub ceiling: u32,
    /// The receiver asked for less: no connection before that.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub paused_until: Option<Wall>,
}

/// One daily cap.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CapStatus {
    /// Recipients a day.
    pub limit: u64,
    /// Accepted today.
    pub used: u64,
    /// Held by attempts on the wire.
    pub reserved: u64,
    /// Written ahead to disk.
    pub granted: u64,
    /// Start of the next day.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub resets_at: Wall,
}

/// One tenant.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TenantStatus {
    /// Its name.
    pub name: String,
    /// Its cap, if it has one.
    pub cap: Option<CapStatus>,
    /// The operator lets its mail wait.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// The operator's orders about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<OrderShown>,
}

/// What waits.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct QueueStatus {
    /// Messages.
    pub messages: u64,
    /// Entries (message × pool × recipient domain).
    pub entries: u64,
    /// Recipients.
    pub recipients: u64,
    /// Attempts on the wire.
    pub in_flight: u64,
    /// Grouped by pool, destination and reason.
    pub waiting: Vec<WaitingStatus>,
}

/// Entries that wait for the same reason.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct WaitingStatus {
    /// Their pool.
    pub pool: String,
    /// Their destination; the recipient domain while it is unknown.
    pub destination: String,
    /// A verdict's text, `retry`, `dns`, `slots`, `resolving`, `in_flight` or `ready`.
    pub reason: String,
    /// Entries.
    pub count: u64,
    /// Recipients.
    pub recipients: u64,
    /// Arrival of the oldest.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub oldest: Wall,
    /// Arrival of the oldest of those that were never tried.
    #[serde(default, with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub oldest_untried: Option<Wall>,
    /// When the first may move by itself.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Wall>,
    /// Most attempts any of them has had.
    pub attempts: u32,
}

/// Totals since start.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CountStatus {
    /// Messages answered 250.
    pub accepted_messages: u64,
    /// Recipients of those.
    pub accepted_recipients: u64,
    /// Recipients found waiting at start.
    pub recovered_recipients: u64,
    /// Recipients on disk whose pool or tenant is no longer configured.
    pub stranded_recipients: u64,
    /// Recipients whose entry or body turned out unreadable while running.
    pub set_aside_recipients: u64,
    /// Recipients delivered (DSNs of ours included).
    pub delivered: u64,
    /// Recipients bounced.
    pub bounced: u64,
    /// Recipients expired.
    pub expired: u64,
    /// Deferrals.
    pub deferred: u64,
    /// Reports queued to senders.
    pub dsn: u64,
    /// Attempts of unknown fate.
    pub duplicates_possible: u64,
}

/// One DNSBL zone.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ZoneStatus {
    /// Its configured name.
    pub name: String,
    /// probing, healthy, blocked, dead, hollow, unreachable.
    pub health: String,
    /// Why it is not healthy.
    pub reason: Option<String>,
    /// Bindings it lists.
    pub listed: Vec<String>,
}

/// Durable state.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SpoolStatus {
    /// The last hundred records set aside.
    pub quarantined: Vec<String>,
    /// How many there are in all.
    pub quarantined_count: u64,
    /// Group commits since start.
    pub commits: u64,
}
