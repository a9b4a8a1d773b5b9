//! (pure) What the conditions are judged by: the relay at one moment, and what it counted lately.
//!
//! Small on purpose, and of plain values: the shell fills it from status, monitor and metrics, tests write it down.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Wall;

/// Over how long "within the last minutes" is.
pub const LATELY: Duration = Duration::from_secs(300);

/// The relay at one moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// All bindings.
    pub bindings: Vec<BindingView>,
    /// All pools.
    pub pools: Vec<PoolView>,
    /// Each binding in each list.
    pub listings: Vec<ListingView>,
    /// Each list of domains.
    pub domains: Vec<DomainsView>,
    /// Each list.
    pub zones: Vec<ZoneView>,
    /// Reverse DNS of each binding.
    pub reverse: Vec<ReverseView>,
    /// Checks of the name servers; `None` before they were tested.
    pub resolvers: Option<Vec<ResolverView>>,
    /// SPF of the tenants' domains, for every pool of each tenant.
    pub spf: Vec<SpfView>,
    /// Daily caps.
    pub caps: Vec<CapView>,
    /// Ladders of warm-ups.
    pub warmups: Vec<WarmupView>,
    /// Complaints of the last seven days.
    pub complaints: Vec<ComplaintView>,
    /// What waits.
    pub waiting: Vec<WaitingView>,
    /// Mail held because of its tenant.
    pub holds: Vec<HoldView>,
    /// Feeds.
    pub feeds: Vec<FeedView>,
    /// Records of the spool that were set aside, ever.
    pub set_aside: u64,
    /// Free octets where the spool lies; `None` where the system does not say.
    pub free_space: Option<u64>,
    /// When mail was last delivered, by an earlier run if need be; where none ever was, the first start.
    pub last_delivery: Wall,
    /// Why the last reload of the configuration was refused; `None` where it was not.
    pub reload_failed: Option<String>,
    /// Conditions that found no room among the alerts at the last look.
    pub left_out: u64,
    /// Since the start.
    pub running: Duration,
    /// Counted within the window of the ratios.
    pub window: Counted,
    /// Counted within [`LATELY`].
    pub lately: Counted,
    /// How far back `lately` reaches: less than that soon after a start.
    pub lately_span: Duration,
    /// How far back `window` reaches: less than the window soon after a start.
    pub window_span: Duration,
}

/// A binding, and where it is out.
#[derive(Clone, Debug, Default)]
pub struct BindingView {
    /// Its name.
    pub name: String,
    /// Its state everywhere.
    pub own: OutView,
    /// Destinations where it is not active.
    pub routes: Vec<OutView>,
}

/// A state of health.
#[derive(Clone, Debug, Default)]
pub struct OutView {
    /// Where; empty for everywhere.
    pub destination: String,
    /// Neither mail nor a trickle leaves.
    pub suspended: bool,
    /// Taken out by the operator in the configuration: nothing to tell anybody about.
    pub wanted: bool,
    /// Why.
    pub reason: String,
    /// Until when, where that is known.
    pub until: Option<Wall>,
    /// What speaks for it, in words that others may have chosen.
    pub evidence: String,
}

/// A pool.
#[derive(Clone, Debug, Default)]
pub struct PoolView {
    /// Its name.
    pub name: String,
    /// Active bindings that may carry mail somewhere.
    pub active: usize,
    /// Below how many the backups open.
    pub min_active: usize,
    /// Backup bindings that may carry mail somewhere.
    pub backup: usize,
}

/// A binding in a list.
#[derive(Clone, Debug, Default)]
pub struct ListingView {
    /// Which binding.
    pub binding: String,
    /// Which list.
    pub zone: String,
    /// `None` while nothing is known.
    pub listed: Option<bool>,
    /// What the listing weighs.
    pub weight: f64,
    /// Its return codes.
    pub codes: String,
}

/// The domains that bindings go by, in a list.
#[derive(Clone, Debug, Default)]
pub struct DomainsView {
    /// Which list.
    pub zone: String,
    /// Of some of them nothing is known.
    pub has_unknown: bool,
    /// Those on the list: domain, bindings that use it, weight.
    pub listed: Vec<(String, Vec<String>, f64)>,
}

/// A list.
#[derive(Clone, Debug, Default)]
pub struct ZoneView {
    /// Its configured name.
    pub name: String,
    /// Stable text of its health.
    pub health: String,
    /// Why it is not healthy.
    pub reason: String,
}

/// Reverse DNS of a binding.
#[derive(Clone, Debug, Default)]
pub struct ReverseView {
    /// Which binding.
    pub binding: String,
    /// `None` while nothing is proven.
    pub confirmed: Option<bool>,
    /// What was seen.
    pub detail: String,
}

/// A check of name servers.
#[derive(Clone, Debug, Default)]
pub struct ResolverView {
    /// What they are asked for: `monitor`, `delivery`, `zone:NAME`.
    pub purpose: String,
    /// Stable text of the check.
    pub check: String,
    /// `None` while nothing is proven.
    pub good: Option<bool>,
    /// What was seen.
    pub detail: String,
}

/// SPF of a tenant's domains in a pool.
#[derive(Clone, Debug, Default)]
pub struct SpfView {
    /// Whose.
    pub tenant: String,
    /// Where their mail leaves.
    pub pool: String,
    /// Domains of which no binding of the pool is covered.
    pub uncovered: u64,
    /// Of some domain of the tenant nothing is known yet.
    pub has_unknown: bool,
}

/// A daily cap.
#[derive(Clone, Debug, Default)]
pub struct CapView {
    /// binding, route, tenant, tenant_route.
    pub of: &'static str,
    /// Name of the binding or tenant.
    pub name: String,
    /// The provider it holds towards, if it is not the whole.
    pub provider: String,
    /// Recipients a day.
    pub limit: u64,
    /// Used of it.
    pub used: u64,
    /// Start of the next day.
    pub resets_at: Wall,
}

/// A ladder.
#[derive(Clone, Debug, Default)]
pub struct WarmupView {
    /// Which binding.
    pub binding: String,
    /// Towards whom; `*` for the binding as a whole.
    pub destination: String,
    /// Stage, from 0.
    pub stage: u64,
    /// Stages below the daily cap.
    pub stages: u64,
}

/// Complaints about a binding's mail.
#[derive(Clone, Debug, Default)]
pub struct ComplaintView {
    /// Which binding.
    pub binding: String,
    /// A provider, or `other`.
    pub destination: String,
    /// Recipients accepted.
    pub accepted: u64,
    /// Complaints about those.
    pub complaints: u64,
}

/// Mail that waits for the same reason.
#[derive(Clone, Debug, Default)]
pub struct WaitingView {
    /// Its pool.
    pub pool: String,
    /// Stable text of the reason.
    pub reason: String,
    /// Entries.
    pub count: u64,
    /// Arrival of the oldest.
    pub oldest: Wall,
}

/// Mail of a tenant that is held at a destination.
#[derive(Clone, Debug, Default)]
pub struct HoldView {
    /// Whose.
    pub tenant: String,
    /// A provider, or `other`.
    pub destination: String,
    /// What speaks for it.
    pub evidence: String,
}

/// A feed.
#[derive(Clone, Debug, Default)]
pub struct FeedView {
    /// Its configured name.
    pub name: String,
    /// Whether the last fetch worked; `None` before the first.
    pub up: Option<bool>,
    /// Our credentials are not accepted.
    pub is_refused: bool,
    /// Why the last fetch failed.
    pub detail: String,
    /// When one last worked.
    pub last_success: Option<Wall>,
    /// Age of the newest observation; `None` where there was none yet.
    pub age: Option<Duration>,
    /// Age from which on an observation says nothing.
    pub max_age: Duration,
    /// When its credentials end, where that is known.
    pub expires: Option<Wall>,
}

/// Sums over a span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Recipients tried, by binding and destination (a provider, or `other`).
    pub attempts: BTreeMap<(String, String), Tried>,
    /// Refusals that no rule understood, by destination.
    pub unmatched: BTreeMap<String, u64>,
    /// Attempts that left from a backup tier, by pool.
    pub failovers: BTreeMap<String, u64>,
    /// Writes of counts of caps that failed.
    pub grant_errors: u64,
    /// Recipients delivered.
    pub delivered: u64,
}

/// Recipients tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// All of them.
    pub all: u64,
    /// Put off.
    pub deferred: u64,
    /// Refused for good.
    pub bounced: u64,
    /// Refused because the address does not exist or takes no mail.
    pub hard: u64,
}

impl Tried {
    /// Adds up.
    pub fn plus(self, other: Self) -> Self {
        Self {
            all: self.all + other.all,
            deferred: self.deferred + other.deferred,
            bounced: self.bounced + other.bounced,
            hard: self.hard + other.hard,
        }
    }

    fn since(self, earlier: Self) -> Self {
        Self {
            all: self.all.saturating_sub(earlier.all),
            deferred: self.deferred.saturating_sub(earlier.deferred),
            bounced: self.bounced.saturating_sub(earlier.bounced),
            hard: self.hard.saturating_sub(earlier.hard),
        }
    }
}

impl Counted {
    /// What came to these totals since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        let by_name = |now: &BTreeMap<String, u64>, then: &BTreeMap<String, u64>| {
            let grown = now
                .iter()
                .map(|(name, count)| (name.clone(), count.saturating_sub(then.get(name).copied().unwrap_or_default())));
            grown.filter(|(_, count)| *count > 0).collect()
        };
        let attempts = self
            .attempts
            .iter()
            .map(|(key, tried)| (key.clone(), tried.since(earlier.attempts.get(key).copied().unwrap_or_default())));
        Self {
            attempts: attempts.filter(|(_, tried)| tried.all > 0).collect(),
            unmatched: by_name(&self.unmatched, &earlier.unmatched),
            failovers: by_name(&self.failovers, &earlier.failovers),
            grant_errors: self.grant_errors.saturating_sub(earlier.grant_errors),
            delivered: self.delivered.saturating_sub(earlier.delivered),
        }
    }
}
