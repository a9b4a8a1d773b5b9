//! What is concluded: the health of a binding or a route, and its changes.

use serde::{Deserialize, Serialize};

use crate::clock::Wall;
use crate::message::{BindingName, DestinationName};

/// The `until` of what ends by evidence or by the operator's word, not by time.
pub const UNTIL_CLEARED: Wall = Wall::from_millis(i64::MAX);

/// What a health belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Subject {
    /// The binding everywhere.
    Binding(BindingName),
    /// The binding at one destination.
    Route(BindingName, DestinationName),
}

impl Subject {
    /// The binding in question.
    pub fn binding(&self) -> &BindingName {
        match self {
            Self::Binding(binding) | Self::Route(binding, _) => binding,
        }
    }
}

/// How well a binding or route is. Used by the scheduler as it stands; only reputation moves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Health {
    /// Nothing against it.
    Active,
    /// Use less: concurrency and rates are divided by `divisor` until `until`.
    Throttled {
        /// ≥ 2.
        divisor: u32,
        /// When it ends by itself. [`UNTIL_CLEARED`]: when the cause is gone.
        until: Wall,
        /// Why.
        reason: Reason,
    },
    /// Not used at all.
    Suspended {
        /// When probation begins. [`UNTIL_CLEARED`]: when the cause is gone.
        until: Wall,
        /// Why.
        reason: Reason,
    },
    /// A trickle: at most `allowance` recipients until `until`, when the next period begins.
    Probation {
        /// Recipients allowed in this period.
        allowance: u32,
        /// End of this period.
        until: Wall,
        /// What it is recovering from.
        reason: Reason,
    },
}

impl Health {
    /// Stable text: active, throttled, suspended, probation.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Throttled { .. } => "throttled",
            Self::Suspended { .. } => "suspended",
            Self::Probation { .. } => "probation",
        }
    }
}

/// Why health left Active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Too many hard bounces.
    HardBounces,
    /// Too many complaints.
    Complaints,
    /// More deferrals than are usual there.
    Deferrals,
    /// Answers that come later than is usual there.
    Latency,
    /// Replies that blame the IP.
    IpBlocked,
    /// The receiver refuses the binding's set-up: its PTR, its EHLO name.
    Misconfigured,
    /// Suspended at several providers at once.
    ManyProviders,
    /// The receiver asked for less (a rule's back-off).
    RateLimited,
    /// Confirmed DNSBL listing.
    Listed,
    /// PTR or forward confirmation proven broken.
    ReverseDns,
    /// What a feed reports.
    Reported,
    /// Source address not on this host.
    Unbindable,
    /// The operator's word.
    Operator,
}

impl Reason {
    /// Whether statistics say so, and nobody in as many words: it may be the mail's fault after all.
    pub fn is_inferred(self) -> bool {
        matches!(self, Self::HardBounces | Self::Complaints | Self::Deferrals | Self::Latency)
    }

    /// Stable text, as in logs, metrics and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HardBounces => "hard_bounces",
            Self::Complaints => "complaints",
            Self::Deferrals => "deferrals",
            Self::Latency => "latency",
            Self::IpBlocked => "ip_blocked",
            Self::Misconfigured => "misconfigured",
            Self::ManyProviders => "many_providers",
            Self::RateLimited => "rate_limited",
            Self::Listed => "listed",
            Self::ReverseDns => "reverse_dns",
            Self::Reported => "reported",
            Self::Unbindable => "unbindable",
            Self::Operator => "operator",
        }
    }
}

/// A move of health, to be told to the scheduler, written down, logged and counted.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthChange {
    /// Whose.
    pub subject: Subject,
    /// Before.
    pub from: Health,
    /// After.
    pub to: Health,
    /// The evidence in words: rule and reply, zones, counts.
    pub evidence: String,
}
