//! What the monitor knows, for status, metrics and the API.

use serde::Serialize;
use utoipa::ToSchema;

use crate::clock::{Wall, rfc3339};
use crate::message::{BindingName, TenantName, ZoneName};
use crate::monitor::identity::names::Checked;

/// What the monitor knows.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[schema(as = MonitorSnapshot)]
pub struct Snapshot {
    /// Health of each zone.
    pub zones: Vec<ZoneSnapshot>,
    /// Each zone of addresses × binding that it is asked about.
    pub listings: Vec<ListingSnapshot>,
    /// Each zone of domains × domain.
    pub domains: Vec<DomainSnapshot>,
    /// Reverse DNS of each binding; empty where the checks are off.
    pub reverse: Vec<ReverseSnapshot>,
    /// Rounds since the start, of whatever was due.
    pub rounds: u64,
    /// End of the last round.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_round: Option<Wall>,
}

/// A zone's health.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ZoneSnapshot {
    /// Which.
    pub zone: ZoneName,
    /// probing, healthy, blocked, dead, hollow, unreachable, quarantined, resolver.
    pub health: &'static str,
    /// Why; empty while healthy.
    pub reason: String,
    /// Since when.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub since: Wall,
    /// What is looked up there: address, domain.
    pub kind: &'static str,
    /// The probes that got an answer in the last look, and whether it was right.
    pub probes: Vec<ProbeSnapshot>,
    /// Bindings whose family the list does not know.
    pub not_asked: Vec<BindingName>,
    /// Networks that it lists newly, as it seems; empty where single addresses are.
    pub networks: String,
    /// Seconds between two rounds, without jitter.
    pub interval_seconds: f64,
    /// Questions a day that its terms allow.
    pub queries_per_day: Option<u64>,
    /// Questions left of them now.
    pub budget_left: Option<u64>,
    /// Questions that were not put for want of them, since the start.
    pub budget_denied: u64,
    /// New or ending listings of which the second resolver said nothing, since the start.
    pub second_silent: u64,
    /// Answers since the start, by what they said.
    pub answers: Vec<AnswersSnapshot>,
    /// Where one asks to be taken off.
    pub delisting: String,
    /// Its terms of use.
    pub terms: String,
}

/// Whether a probe was answered as it should be.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProbeSnapshot {
    /// positive, negative, random.
    pub probe: &'static str,
    /// It was.
    pub ok: bool,
}

/// How often a zone said what.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AnswersSnapshot {
    /// listed, good, not_listed, refused, unknown, bogus, servfail, timeout …
    pub outcome: &'static str,
    /// Answers.
    pub count: u64,
}

/// A binding's state in a zone; of one with two addresses that of the one that is worse off.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ListingSnapshot {
    /// Which binding.
    pub binding: BindingName,
    /// Its public address that this is about.
    pub address: String,
    /// Which zone.
    pub zone: ZoneName,
    /// 1 listed, 0 not listed, −1 unknown.
    pub state: i8,
    /// Weight of the listing; 0 where there is none, below 0 for a good word.
    pub weight: f64,
    /// The listing is certain.
    pub certain: bool,
    /// Return codes of the listing or good word; with the address that they are for where the binding has two.
    pub codes: String,
    /// What the list says of the reason.
    pub text: String,
    /// A change waits for its confirmation.
    pub pending: bool,
    /// First answer of the row that confirmed the listing (or that waits to).
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub first_seen: Option<Wall>,
    /// When the listing was confirmed; `None` also for one remembered from before a restart.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub confirmed_at: Option<Wall>,
    /// When the zone last said that it is not listed.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_clean: Option<Wall>,
    /// When the zone last gave a conclusive answer about it; `None`: never since the start.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_conclusive: Option<Wall>,
}

/// A domain's state in a zone.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DomainSnapshot {
    /// Which domain.
    pub domain: String,
    /// Bindings that say it in EHLO or have it as PTR name.
    pub bindings: Vec<BindingName>,
    /// Tenants that send from it.
    pub tenants: Vec<TenantName>,
    /// Which zone.
    pub zone: ZoneName,
    /// 1 listed, 0 not listed, −1 unknown.
    pub state: i8,
    /// Weight of the listing; 0 where there is none.
    pub weight: f64,
    /// Return codes of the listing.
    pub codes: String,
    /// What the list says of the reason.
    pub text: String,
    /// A change waits for its confirmation.
    pub pending: bool,
    /// First answer of the row that confirmed the listing (or that waits to).
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub first_seen: Option<Wall>,
    /// When the zone last gave a conclusive answer about it; `None`: never since the start.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_conclusive: Option<Wall>,
}

/// A binding's reverse DNS.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReverseSnapshot {
    /// Which binding.
    pub binding: BindingName,
    /// Proven state; `None` while nothing is proven.
    pub confirmed: Option<bool>,
    /// Whether the EHLO name is a confirmed PTR name, where that can be said.
    pub ehlo_agrees: Option<bool>,
    /// What was seen last.
    pub detail: String,
    /// When it was last seen for certain.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_conclusive: Option<Wall>,
    /// Each check of the names of the binding.
    pub checks: Vec<Checked>,
}
