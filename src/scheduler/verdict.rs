//! Why a binding may or may not be used at this moment, and until when.
//!
//! One enum serves the log, the metric label, `explain`, the API and the tests. Its text is stable. The variants stand in
//! the order of the checks: first whether the message may go at all ([`Verdict::TenantHeld`], which the queue asks before
//! it asks the scheduler), then the binding's standing, the message's fit, caps, window, rate. `explain` gives the first
//! that stands in the way.

use serde::Serialize;

use crate::clock::Wall;
use crate::reputation::Reason;

/// The answer for one binding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// May be used.
    Eligible,
    /// The tenant's mail, or its sender domain's, is held at this destination: the receiver refuses it for the sender's
    /// own sake, whichever binding carries it.
    TenantHeld {
        /// End of the hold (or of the probe under way).
        until: Wall,
    },
    /// The operator lets the tenant's mail wait, wherever it goes.
    TenantHeldByOperator,
    /// Weight 0: drained.
    Drained,
    /// Its tier is not open: an earlier one has eligible bindings.
    TierClosed,
    /// Of another region than the mail, for which bindings of its own can be counted on.
    OtherRegion,
    /// Taken out by the operator.
    OperatorSuspended {
        /// End, where it has one.
        until: Option<Wall>,
    },
    /// Suspended everywhere.
    Suspended {
        /// Why.
        reason: Reason,
        /// End.
        until: Wall,
    },
    /// Suspended at this destination.
    RouteSuspended {
        /// Why.
        reason: Reason,
        /// End.
        until: Wall,
    },
    /// The trickle of this period of probation is used up.
    Probation {
        /// Next period.
        until: Wall,
    },
    /// Its IP was blamed for this message.
    Excluded {
        /// End.
        until: Wall,
    },
    /// The destination has no address of its family.
    AddressFamily,
    /// The SPF record of the sender's domain does not allow its address, and allows another of the pool (RFC 7208).
    SpfNotCovered,
    /// Daily cap used up.
    Cap {
        /// Whose cap.
        of: CapOf,
        /// Start of the next day.
        until: Wall,
    },
    /// The day's cap is ahead of its pace.
    Pace {
        /// When the next recipient fits.
        until: Wall,
    },
    /// Today's stage of the warm-up is used up.
    Warmup {
        /// Start of the next day.
        until: Wall,
    },
    /// What is left of today's stage of the warm-up is kept for engaged recipients.
    Reserved {
        /// When some of it may be free for others.
        until: Wall,
    },
    /// A block of cap is being written to disk; a matter of milliseconds.
    GrantPending,
    /// The receiver asked for less: no connection to it for a while.
    BackOff {
        /// When one is tried.
        until: Wall,
    },
    /// All its connections (to this destination, or at all) are in use.
    WindowFull,
    /// Ahead of its rate.
    RateLimited {
        /// When the limiter lets the next one pass.
        until: Wall,
    },
}

/// Whose daily cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CapOf {
    /// The binding's.
    Binding,
    /// The binding's towards this provider.
    Route,
    /// The tenant's.
    Tenant,
    /// The tenant's towards this provider.
    TenantRoute,
}

impl Verdict {
    /// Stable text, as in logs, metric labels and the queue's reason of waiting.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Eligible => "eligible",
            Self::TenantHeld { .. } => "tenant_held",
            Self::TenantHeldByOperator => "tenant_held_by_operator",
            Self::Drained => "drained",
            Self::TierClosed => "tier_closed",
            Self::OtherRegion => "other_region",
            Self::OperatorSuspended { .. } => "operator_suspended",
            Self::Suspended { .. } => "suspended",
            Self::RouteSuspended { .. } => "route_suspended",
            Self::Probation { .. } => "probation",
            Self::Excluded { .. } => "excluded",
            Self::AddressFamily => "address_family",
            Self::SpfNotCovered => "spf_not_covered",
            Self::Cap { .. } => "cap",
            Self::Pace { .. } => "pace",
            Self::Warmup { .. } => "warmup",
            Self::Reserved { .. } => "reserved",
            Self::GrantPending => "grant_pending",
            Self::WindowFull => "window_full",
            Self::BackOff { .. } => "back_off",
            Self::RateLimited { .. } => "rate_limited",
        }
    }

    /// The same in a sentence, for people.
    pub fn words(&self) -> String {
        let of = |of: &CapOf| match of {
            CapOf::Binding => "of the binding",
            CapOf::Route => "of the binding towards this provider",
            CapOf::Tenant => "of the tenant",
            CapOf::TenantRoute => "of the tenant towards this provider",
        };
        match self {
            Self::Eligible => "may carry it now".into(),
            Self::TenantHeld { .. } => "the receiver refuses the sender: held, whichever binding would carry it".into(),
            Self::TenantHeldByOperator => "the operator holds the tenant's mail: it waits until released".into(),
            Self::Drained => "draining: weight 0 in this pool".into(),
            Self::TierClosed => "in reserve: an earlier tier has bindings to count on".into(),
            Self::OtherRegion => "of another region: bindings of the mail's own can be counted on".into(),
            Self::OperatorSuspended { .. } => "taken out by the operator".into(),
            Self::Suspended { reason, .. } => format!("suspended everywhere: {}", reason.as_str()),
            Self::RouteSuspended { reason, .. } => format!("suspended at this destination: {}", reason.as_str()),
            Self::Probation { .. } => "on probation; the trickle of this period is used up".into(),
            Self::Excluded { .. } => "its address was blamed for this very message".into(),
            Self::AddressFamily => "the destination has no address of its family".into(),
            Self::SpfNotCovered => "the SPF record of the sender's domain does not allow its address".into(),
            Self::Cap { of: whose, .. } => format!("daily cap {} used up", of(whose)),
            Self::Pace { .. } => "the day's cap is ahead of its pace".into(),
            Self::Warmup { .. } => "today's allowance of the warm-up is used up".into(),
            Self::Reserved { .. } => "what is left of today's warm-up is kept for engaged recipients".into(),
            Self::GrantPending => "a block of its cap is being written to disk".into(),
            Self::WindowFull => "all its connections are in use".into(),
            Self::BackOff { .. } => "the receiver asked for less: no connection for a while".into(),
            Self::RateLimited { .. } => "ahead of its rate".into(),
        }
    }

    /// When it may change by itself; `None` where an event must come first (a slot freed, an operator's act).
    pub fn until(&self) -> Option<Wall> {
        match *self {
            Self::OperatorSuspended { until } => until,
            Self::TenantHeld { until }
            | Self::Suspended { until, .. }
            | Self::RouteSuspended { until, .. }
            | Self::Probation { until }
            | Self::Excluded { until }
            | Self::Cap { until, .. }
            | Self::Pace { until }
            | Self::Warmup { until }
            | Self::Reserved { until }
            | Self::BackOff { until }
            | Self::RateLimited { until } => Some(until),
            Self::Eligible
            | Self::TenantHeldByOperator
            | Self::Drained
            | Self::TierClosed
            | Self::OtherRegion
            | Self::AddressFamily
            | Self::SpfNotCovered
            | Self::GrantPending
            | Self::WindowFull => None,
        }
    }
}
