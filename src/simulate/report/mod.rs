//! What came of it, day by day: what the table and the JSON of `remuda simulate` are made of.
//!
//! The [`Recorder`] counts by numbers while the world runs; at each day's end it writes a [`Day`] with names. The names of
//! fields are stable: scripts read them.

pub mod measures;
mod recorder;
pub mod waits;

use std::collections::BTreeMap;

use serde::Serialize;

pub use self::measures::{Measures, Meter};
pub use self::recorder::{Recorder, Told};
use super::invariants::{Fates, Violation};
use crate::clock::Wall;

/// Recipients delivered by (binding × receiver) or the like.
type Counts = BTreeMap<String, u64>;

/// Everything.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The scenario's title.
    pub title: String,
    /// The seed that gives the same again.
    pub seed: u64,
    /// One by one.
    pub days: Vec<Day>,
    /// Times that bindings and routes were out.
    pub suspensions: Vec<Suspension>,
    /// Times that tenants' mail was held.
    pub holds: Vec<Hold>,
    /// How well it went, measured against the scenario's `[truth]`.
    pub measures: Measures,
    /// Recipients of mail, all days.
    pub mail: Fates,
    /// Recipients of our own reports about mail that failed.
    pub reports: Fates,
    /// Recipients that may have been served twice, because the program was killed between a receiver's answer and its
    /// own note of it.
    pub duplicates_possible: u64,
    /// What must not have happened; empty where all is well. At most a hundred are told.
    pub violations: Vec<Violation>,
    /// All of them.
    pub violation_count: u64,
}

/// One calendar day of the configuration.
#[derive(Clone, Debug, Serialize)]
pub struct Day {
    /// Its date.
    pub date: jiff::civil::Date,
    /// Recipients taken in.
    pub accepted: u64,
    /// Recipients delivered.
    pub delivered: u64,
    /// Refused for good.
    pub bounced: u64,
    /// Given up.
    pub expired: u64,
    /// Recipients told to come back later; each time counts.
    pub deferred: u64,
    /// Recipients that got no answer; each time counts.
    pub unanswered: u64,
    /// Recipients delivered by a backup tier.
    pub failed_over: u64,
    /// Recipients waiting at the day's end.
    pub waiting: u64,
    /// How long the oldest of them has waited, in seconds.
    pub oldest_seconds: u64,
    /// Bindings and routes that were out at some moment of the day.
    pub suspended: u64,
    /// By name.
    pub bindings: BTreeMap<String, BindingDay>,
    /// By name of the receiver.
    pub providers: BTreeMap<String, ProviderDay>,
    /// By name.
    pub tenants: BTreeMap<String, TenantDay>,
    /// By name.
    pub pools: BTreeMap<String, PoolDay>,
}

/// A binding's day.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BindingDay {
    /// Recipients delivered.
    pub delivered: u64,
    /// What it was allowed: the smaller of its cap and the allowance of its warm-up; absent where neither is.
    pub limit: Option<u64>,
    /// Stage of its warm-up, the first is 0; absent where it is in none.
    pub warmup_stage: Option<usize>,
    /// At the day's end: active, throttled, suspended, probation.
    pub health: &'static str,
    /// Recipients delivered by receiver.
    pub providers: Counts,
}

/// A receiver's day.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ProviderDay {
    /// Recipients delivered.
    pub delivered: u64,
    /// Refused for good.
    pub bounced: u64,
    /// Told to come back later.
    pub deferred: u64,
}

/// A tenant's day.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TenantDay {
    /// Recipients taken in.
    pub accepted: u64,
    /// Recipients delivered.
    pub delivered: u64,
    /// Refused for good.
    pub bounced: u64,
    /// Waiting at the day's end.
    pub waiting: u64,
    /// Half of what was delivered had waited no longer than this many seconds.
    pub wait_median_seconds: f64,
    /// 99 % of it no longer than this.
    pub wait_p99_seconds: f64,
}

/// A pool's day.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PoolDay {
    /// Recipients delivered.
    pub delivered: u64,
    /// By backup tiers.
    pub failed_over: u64,
    /// Waiting at the day's end.
    pub waiting: u64,
}

/// A time out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Suspension {
    /// Which binding.
    pub binding: String,
    /// At this destination only.
    pub destination: Option<String>,
    /// Why: stable text.
    pub reason: &'static str,
    /// When it began.
    #[serde(with = "crate::clock::rfc3339")]
    pub from: Wall,
    /// When it ended (probation began); absent while it lasts.
    #[serde(with = "crate::clock::rfc3339::option")]
    pub to: Option<Wall>,
    /// The evidence in words.
    pub evidence: String,
}

/// A time during which mail of a tenant was held at a destination.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hold {
    /// Whose.
    pub tenant: String,
    /// Only mail from this domain.
    pub sender_domain: Option<String>,
    /// Only mail of this stream from that domain.
    pub stream: Option<String>,
    /// Where.
    pub destination: String,
    /// When it began.
    #[serde(with = "crate::clock::rfc3339")]
    pub from: Wall,
    /// When it ended (a probe was accepted, or nothing more was heard); absent while it lasts.
    #[serde(with = "crate::clock::rfc3339::option")]
    pub to: Option<Wall>,
    /// Times it was begun anew by a probe that was refused, the first included.
    pub times: u32,
    /// The evidence in words, as it began.
    pub evidence: String,
}
