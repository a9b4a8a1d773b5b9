//! Which binding, now or when — the heart. Pure.
//!
//! A [`Request`] (pool, destination, tenant, number of recipients) is answered with a [`Selection`]: a [`Lease`] on a
//! binding, or "later" with the moment and the [`Verdict`] of each binding that stands in the way. The lease holds what
//! was reserved — daily caps, a slot of the connection window, a part of a probation's allowance — and is settled
//! exactly once.
//!
//! ```text
//!   Request ──▶ tenant: cap, rate                          once per request
//!               tiers: which are open, for which region    pool, tier
//!               cover: whom the sender's SPF allows        cover
//!               order: who is next                         picks: fair (exact weights) or headroom, whole or in a view
//!                 route: health, family, excluded, cap, window, rate     per candidate
//!               limiters: asked once, last                 rate
//!               ledger: reserve                            cap
//!           ◀── Lease
//! ```
//!
//! What keeps a binding out *everywhere* — operator, health, cap, warm-up, its window, its rate — does not show up above:
//! it is worked out when it changes ([`Scheduler::set_health`], a lease taken or settled, a grant, a timer), and takes
//! the binding out of the order of its tiers until the reason is gone. So a pick does not pay for those that are out: its
//! steps grow with the logarithm of the pool, and in one of ten thousand most of its time is waiting for memory. What keeps
//! routes out at one destination is noted the same way, in an order of its own for mail to there (`views`). [`Scheduler::explain`] walks the same reasons in full
//! and in the order of [`Verdict`]s, and spends nothing.
//!
//! **Memory** (counted by `benches/scheduler.rs`): about 1.0 KB for a binding in a pool, 0.6 KB for a route to a provider
//! with a cap, a limiter and a window, 0.25 KB for a route to another destination while there is something to remember of
//! it, 0.2 KB for what is expected of a route under `spread = "reputation"`, 0.15 KB for a destination, 0.3 KB for a
//! tenant × provider (nothing for a tenant × other destination), and 0.15 KB for a binding in a view.

pub mod binding;
pub mod cap;
#[cfg(test)]
mod cap_tests;
pub mod cover;
#[cfg(test)]
mod cover_tests;
pub mod explain;
mod facts;
pub mod fair;
mod headroom;
mod order;
mod picks;
pub mod pool;
mod pool_use;
pub mod prediction;
pub mod range;
pub mod rate;
#[cfg(test)]
mod rate_tests;
mod refresh;
mod region;
pub mod retry;
pub mod select;
mod shared;
mod shown;
#[cfg(test)]
mod spread_tests;
mod standing;
pub mod state;
mod takeover;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tier;
#[cfg(test)]
mod tiers_tests;
mod tournament;
pub mod verdict;
mod views;
pub mod warmup;
pub mod window;

pub use cap::{GrantFact, GrantRequest};
pub use cover::{CoverId, CoverMove};
pub use pool_use::PoolUse;
pub use prediction::Prediction;
pub use shared::Everywhere;
pub use state::{BindingUse, CapUsage, Scheduler};
pub use verdict::Verdict;
pub use window::RouteWindow;

use std::time::Duration;

use crate::clock::{Mono, Wall};
use crate::config::Family;
use crate::message::BindingName;

macro_rules! indices {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u32);

        impl $name {
            /// As an index into a vector.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    )+};
}

indices! {
    /// Dense number of a binding, in the order of the configuration.
    BindingId,
    /// Dense number of a pool.
    PoolId,
    /// Dense number of a tenant.
    TenantId,
    /// Dense number of a destination, given at its first appearance.
    DestinationId,
    /// Dense number of a region, given at its first appearance.
    RegionId,
}

/// Address families a destination can be reached by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Families {
    /// Has an IPv4 address.
    pub v4: bool,
    /// Has an IPv6 address.
    pub v6: bool,
}

impl Families {
    /// Those that `binding` sends from.
    pub fn of(binding: &crate::config::Binding) -> Self {
        let sources = binding.sources();
        Self { v4: sources.of(Family::V4).is_some(), v6: sources.of(Family::V6).is_some() }
    }

    /// Whether there is one that both have.
    pub fn meet(self, other: Self) -> bool {
        self.v4 && other.v4 || self.v6 && other.v6
    }
}

/// Prefixes of the facts that a restart must hand to a new scheduler, besides grants.
pub const FACT_PREFIXES: [&str; 2] = [warmup::facts::PREFIX, prediction::facts::PREFIX];

/// The question.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Pool of the mail.
    pub pool: PoolId,
    /// Where to.
    pub destination: DestinationId,
    /// Whose.
    pub tenant: TenantId,
    /// Recipients that wait; the lease may be for fewer.
    pub recipients: u32,
    /// What the destination can be reached by.
    pub families: Families,
    /// Prefer this one.
    pub sticky: Option<BindingId>,
    /// Not these, each until a moment: their IP was blamed for this mail.
    pub excluded: &'a [(BindingId, Wall)],
    /// Of a stream whose recipients are the most welcome: may use what an address in warm-up keeps back.
    pub engaged: bool,
    /// Bindings of this region are preferred where one of them is eligible.
    pub region: Option<RegionId>,
    /// Which bindings the SPF record of its sender allows.
    pub cover: CoverId,
}

/// The answer.
#[derive(Debug)]
pub enum Selection {
    /// Go, with this.
    Assigned(Lease),
    /// Not now. No attempt is counted.
    Later {
        /// Earliest moment at which a verdict may change by itself.
        until: Wall,
        /// The tenant's own cap (or a grant for it that is being written) or rate, where that stands in the way: then all
        /// mail of the tenant waits for it, whatever the bindings say, and `until` is when that may change. `None` where
        /// only bindings are in the way.
        tenant: Option<Verdict>,
        /// Why each binding is out, in the order of tiers.
        verdicts: Vec<(BindingId, Verdict)>,
        /// Another binding of an open tier could carry it at this moment, were it not for the SPF record of its sender.
        only_spf: bool,
    },
    /// No binding of the pool can ever carry this (wrong address family everywhere).
    Exhausted {
        /// Why each binding is out.
        verdicts: Vec<(BindingId, Verdict)>,
    },
}

/// Permission to use a binding for one attempt. Give it back to [`Scheduler::settle`], whatever happened.
#[derive(Debug)]
#[must_use = "a lease holds reservations until it is settled"]
pub struct Lease {
    /// The binding.
    pub binding: BindingId,
    /// Where to.
    pub destination: DestinationId,
    /// Pool it was chosen from.
    pub pool: PoolId,
    /// Tier it was chosen from; 0 is active.
    pub tier: usize,
    /// Whose mail.
    pub tenant: TenantId,
    /// How many recipients it is for; at least 1.
    pub recipients: u32,
    /// What it holds in the ledger and elsewhere.
    pub(crate) held: held::Held,
}

impl Lease {
    /// When it was given out.
    pub fn began(&self) -> Mono {
        self.held.began
    }
}

/// What a lease holds.
pub(crate) mod held {
    use super::cap::Reservation;
    use super::views::Key;
    use crate::clock::Mono;

    /// Reservations; private to the scheduler.
    #[derive(Debug)]
    pub(crate) struct Held {
        /// Place in the tier, for giving the pick back.
        pub(in crate::scheduler) seat: u32,
        /// The view of the tier it was picked in.
        pub(in crate::scheduler) key: Key,
        /// Configuration under which that place is valid.
        pub(in crate::scheduler) epoch: u32,
        pub(in crate::scheduler) binding: Option<Reservation>,
        pub(in crate::scheduler) route: Option<Reservation>,
        pub(in crate::scheduler) tenant: Option<Reservation>,
        /// The tenant's towards the provider.
        pub(in crate::scheduler) tenant_route: Option<Reservation>,
        /// When it was given out.
        pub(in crate::scheduler) began: Mono,
        /// Periods of probation the recipients were counted in.
        pub(in crate::scheduler) binding_period: u32,
        pub(in crate::scheduler) route_period: u32,
        /// Of the mail that addresses in warm-up keep their allowance for.
        pub(in crate::scheduler) engaged: bool,
    }
}

/// What an attempt taught about its route, in recipients: for warm-up, for the size of the window, for `spread =
/// "reputation"`. Told with [`Scheduler::experienced`] as soon as the replies are known, before the lease is settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Experience {
    /// Accepted.
    pub accepted: u32,
    /// Refused or deferred in a way that blames the binding's IP.
    pub blamed: u32,
    /// Deferred by the receiver for its own reasons or for our pace (not: greylisting, full mailboxes, unknown users).
    pub deferred: u32,
    /// Everything else that was answered: bounces, greylisting, content.
    pub other: u32,
    /// No answer: connection refused, reset or timed out.
    pub failed: u32,
    /// From the first command to the last reply; `None` where no connection was made.
    pub took: Option<Duration>,
    /// When the attempt began: when its lease was given out. `None` where only `took` tells.
    pub began: Option<Mono>,
    /// The receiver asked to go slower, for so long ([`crate::outcome::Action::BackOff`]).
    pub slow_down: Option<Duration>,
    /// … and to stop altogether for so long before, where the rule knows (`retry_after`).
    pub stop: Option<Duration>,
    /// … and meant the network of the binding's IP ([`range`]).
    pub whole_range: bool,
}

/// How an attempt ended, as far as caps care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// This many recipients were accepted; the rest of the reservation is given back.
    Accepted(u32),
    /// Nothing was sent (no connection was made): everything is given back, the pick as well.
    Unused,
    /// Unknown fate (connection lost after the final dot): everything counts.
    Unknown,
}

/// A name with its verdict, for `explain`, the API and tests.
pub type Explained = (BindingName, Verdict);
