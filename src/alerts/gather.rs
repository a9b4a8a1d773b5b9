//! (shell) Fills a [`View`] from status, monitor and counters.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::Ordering;

use prometheus::core::Collector;

use super::view::{
    BindingView, CapView, ComplaintView, Counted, DomainsView, FeedView, HoldView, ListingView, OutView, PoolView,
    ResolverView, ReverseView, SpfView, Tried, View, WaitingView, WarmupView, ZoneView,
};
use crate::admin::Sources;
use crate::admin::status::{BindingStatus, Status};
use crate::clock::Wall;
use crate::config::{Config, Member};
use crate::message::TenantName;
use crate::monitor::feeds::FeedSnapshot;
use crate::monitor::identity::names::Grade;
use crate::monitor::identity::selfcheck::MONITOR;
use crate::monitor::spf::outcome::State;
use crate::monitor::spf::views::Totals;
use crate::monitor::{Snapshot, identity};
use crate::outcome::{Cause, Disposition};
use crate::scheduler::CapUsage;
use crate::scheduler::cap::Owner;
use crate::store::space;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::OTHER;

/// Health and reason that speak of the operator's own act.
const SUSPENDED: &str = "suspended";
const OPERATOR: &str = "operator";

/// Words are in the log and among the events: a file's mistakes may be many.
const RELOAD_FAILED: &str = "The log says what is wrong with it, and so do the events of kind config; \
    remuda check reads the file without touching anything.";

/// Domains of bindings, by list; those of tenants alone are the tenants' affair.
fn domains(monitor: &Snapshot) -> Vec<DomainsView> {
    let mut lists: BTreeMap<&str, DomainsView> = BTreeMap::new();
    for domain in monitor.domains.iter().filter(|domain| !domain.bindings.is_empty()) {
        let zone = domain.zone.as_str();
        let view = lists.entry(zone).or_insert_with(|| DomainsView { zone: zone.to_owned(), ..DomainsView::default() });
        view.has_unknown |= domain.state < 0;
        if domain.state == 1 {
            let bindings = domain.bindings.iter().map(ToString::to_string).collect();
            view.listed.push((domain.domain.clone(), bindings, domain.weight));
        }
    }
    lists.into_values().collect()
}

/// What the parts of the program say at one moment.
struct Seen {
    status: Status,
    usage: Vec<CapUsage>,
    monitor: Snapshot,
    identity: identity::Snapshot,
    spf: Totals,
    feeds: Vec<FeedSnapshot>,
    free_space: Option<u64>,
}

/// The relay now, and what it counted since the start.
pub(super) fn view(sources: &Sources) -> (View, Counted) {
    let dispatcher = &sources.dispatcher;
    let (status, usage) = Status::with_usage(sources);
    let seen = Seen {
        status,
        usage,
        monitor: sources.monitor.snapshot(),
        identity: sources.identity.snapshot(),
        spf: sources.cover.totals(),
        feeds: sources.feeds.states(),
        free_space: space::free_bytes(&dispatcher.config().server.state_dir).ok(),
    };
    let counts = dispatcher.counts();
    let counted = Counted {
        grant_errors: counts.grant_errors.load(Ordering::Relaxed),
        delivered: counts.delivered.load(Ordering::Relaxed),
        ..counted(dispatcher.metrics())
    };
    let is_refused = dispatcher.metrics().operation.reload_success.get() == 0;
    let view = View {
        reload_failed: is_refused.then(|| RELOAD_FAILED.to_owned()),
        ..seen.view(&dispatcher.config(), dispatcher.now().wall)
    };
    (view, counted)
}

impl Seen {
    fn view(&self, config: &Config, now: Wall) -> View {
        let Self { status, monitor, .. } = self;
        let listings = monitor.listings.iter().map(|listing| ListingView {
            binding: listing.binding.to_string(),
            zone: listing.zone.to_string(),
            listed: (listing.state >= 0).then_some(listing.state == 1),
            weight: listing.weight,
            codes: listing.codes.clone(),
        });
        let zones = monitor.zones.iter().map(|zone| ZoneView {
            name: zone.zone.to_string(),
            health: zone.health.to_owned(),
            reason: zone.reason.clone(),
        });
        let reverse = monitor.reverse.iter().map(|reverse| ReverseView {
            binding: reverse.binding.to_string(),
            confirmed: reverse.confirmed,
            detail: reverse.detail.clone(),
        });
        let by_choice: HashSet<&str> =
            config.bindings.iter().filter(|binding| binding.suspend_delivery).map(|b| b.name.as_str()).collect();
        let caps = caps(&self.usage);
        View {
            bindings: status.bindings.iter().map(|binding| self::binding(binding, &by_choice)).collect(),
            pools: pools(status, &caps, &by_choice, config),
            listings: listings.collect(),
            domains: domains(monitor),
            zones: zones.collect(),
            reverse: reverse.collect(),
            resolvers: resolvers(&self.identity, config),
            spf: spf(&self.spf),
            caps,
            warmups: warmups(status),
            complaints: complaints(status),
            waiting: waiting(status),
            holds: holds(status, config),
            feeds: self.feeds.iter().map(|seen| feed(seen, config, now)).collect(),
            set_aside: status.spool.quarantined_count,
            free_space: self.free_space,
            ..View::default()
        }
    }
}

fn binding(binding: &BindingStatus, by_choice: &HashSet<&str>) -> BindingView {
    let own = OutView {
        destination: String::new(),
        suspended: binding.health == SUSPENDED,
        wanted: by_choice.contains(binding.name.as_str()) || binding.reason.as_deref() == Some(OPERATOR),
        reason: binding.reason.clone().unwrap_or_default(),
        until: binding.until,
        evidence: binding.evidence.clone().unwrap_or_default(),
    };
    let routes = binding.routes.iter().map(|route| OutView {
        destination: route.destination.clone(),
        suspended: route.health == SUSPENDED,
        wanted: route.reason.as_deref() == Some(OPERATOR),
        reason: route.reason.clone().unwrap_or_default(),
        until: route.until,
        evidence: route.evidence.clone().unwrap_or_default(),
    });
    BindingView { name: binding.name.clone(), own, routes: routes.collect() }
}

fn pools(status: &Status, caps: &[CapView], by_choice: &HashSet<&str>, config: &Config) -> Vec<PoolView> {
    let full = caps.iter().filter(|cap| cap.of == "binding" && cap.used >= cap.limit);
    let full: HashSet<&str> = full.map(|cap| cap.name.as_str()).collect();
    let usable = status.bindings.iter().filter(|binding| binding.health != SUSPENDED).map(|b| b.name.as_str());
    let usable: HashSet<&str> = usable.filter(|name| !by_choice.contains(name) && !full.contains(name)).collect();
    let count = |tiers: &[Vec<Member>]| {
        let members = tiers.iter().flatten().filter(|member| member.weight > 0);
        members.filter(|member| usable.contains(member.binding.as_str())).count()
    };
    let pools = config.pools.iter().map(|pool| PoolView {
        name: pool.name.to_string(),
        active: count(pool.tiers.get(..1).unwrap_or_default()),
        min_active: pool.min_active,
        backup: count(pool.tiers.get(1..).unwrap_or_default()),
    });
    pools.collect()
}

fn caps(usage: &[CapUsage]) -> Vec<CapView> {
    let caps = usage.iter().filter_map(|usage| {
        let (of, name, provider) = match &usage.owner {
            Owner::Binding(binding) => ("binding", binding.to_string(), String::new()),
            Owner::Route(binding, provider) => ("route", binding.to_string(), provider.to_string()),
            Owner::Tenant(tenant) => ("tenant", tenant.to_string(), String::new()),
            Owner::TenantRoute(tenant, provider) => ("tenant_route", tenant.to_string(), provider.to_string()),
        };
        Some(CapView { of, name, provider, limit: usage.limit?, used: usage.used, resets_at: usage.resets_at })
    });
    caps.collect()
}

/// `None` before they were tested; where they are not to be tested, nothing is known and nothing to be waited for.
fn resolvers(seen: &identity::Snapshot, config: &Config) -> Option<Vec<ResolverView>> {
    if seen.at.is_none() && config.monitor.self_check.is_some() {
        return None;
    }
    let checks = seen.resolvers.iter().flat_map(|report| report.checks.iter().map(move |checked| (report, checked)));
    // Only what takes belief away from lists: the rest is for the metrics and their rule ResolverPoor.
    let checks = checks.filter(|(report, checked)| report.purpose == MONITOR && checked.check.is_lie());
    let views = checks.map(|(report, checked)| ResolverView {
        purpose: report.purpose.clone(),
        check: checked.check.as_str().to_owned(),
        good: match checked.grade {
            Grade::Good => Some(true),
            Grade::Bad => Some(false),
            Grade::Unknown => None,
        },
        detail: format!("{}. {}", checked.detail, checked.check.remedy()),
    });
    Some(views.collect())
}

fn spf(totals: &Totals) -> Vec<SpfView> {
    let mut unknown: HashMap<&TenantName, u64> = HashMap::new();
    for (tenant, _, _, count) in totals.domains.iter().filter(|(_, _, state, _)| *state == State::Unknown) {
        *unknown.entry(tenant).or_default() += count;
    }
    let views = totals.uncovered.iter().map(|(tenant, pool, count)| SpfView {
        tenant: tenant.to_string(),
        pool: pool.to_string(),
        uncovered: *count,
        has_unknown: unknown.get(tenant).is_some_and(|count| *count > 0),
    });
    views.collect()
}

fn warmups(status: &Status) -> Vec<WarmupView> {
    let ladders = status.bindings.iter().flat_map(|b| b.warmup.iter().map(move |ladder| (b, ladder)));
    let views = ladders.map(|(binding, ladder)| WarmupView {
        binding: binding.name.clone(),
        destination: ladder.provider.clone().unwrap_or_else(|| "*".to_owned()),
        stage: ladder.stage,
        stages: ladder.stages,
    });
    views.collect()
}

fn complaints(status: &Status) -> Vec<ComplaintView> {
    let lines = status.bindings.iter().flat_map(|b| b.feedback.iter().map(move |line| (b, line)));
    let views = lines.map(|(binding, line)| ComplaintView {
        binding: binding.name.clone(),
        destination: line.destination.clone(),
        accepted: line.accepted,
        complaints: line.complaints,
    });
    views.collect()
}

fn waiting(status: &Status) -> Vec<WaitingView> {
    let views = status.queue.waiting.iter().map(|waiting| WaitingView {
        pool: waiting.pool.clone(),
        reason: waiting.reason.clone(),
        count: waiting.count,
        oldest: waiting.oldest,
    });
    views.collect()
}

fn holds(status: &Status, config: &Config) -> Vec<HoldView> {
    let views = status.holds.iter().map(|hold| {
        let to = hold.key.destination.as_str();
        let is_provider = config.providers.iter().any(|provider| provider.name.as_str() == to);
        HoldView {
            tenant: hold.key.tenant.to_string(),
            destination: if is_provider { to.to_owned() } else { OTHER.to_owned() },
            evidence: hold.evidence.clone(),
        }
    });
    views.collect()
}

/// A feed is stale by the age from which on it has no more to say.
fn feed(seen: &FeedSnapshot, config: &Config, now: Wall) -> FeedView {
    let max_age = config.feeds.iter().find(|feed| feed.name == seen.feed).map(|feed| feed.max_age);
    FeedView {
        name: seen.feed.clone(),
        up: seen.up,
        is_refused: seen.credentials_refused,
        detail: seen.detail.clone(),
        last_success: seen.last_success,
        // Where nothing was ever reported, from when the feed was set up.
        age: Some(now.since(seen.newest.unwrap_or(seen.silent_since))),
        max_age: max_age.unwrap_or_default(),
        expires: seen.credential_expires,
    }
}

/// What metrics count; the rest is left at 0.
fn counted(metrics: &Metrics) -> Counted {
    let mut attempts: BTreeMap<(String, String), Tried> = BTreeMap::new();
    let hard = [Cause::InvalidRecipient, Cause::InactiveMailbox].map(Cause::as_str);
    each(&metrics.attempts, |labels, count| {
        let get = |name| labels.get(name).copied().unwrap_or_default();
        let is = |disposition: Disposition| get("disposition") == disposition.as_str();
        let part = |holds: bool| if holds { count } else { 0 };
        let tried = Tried {
            all: count,
            deferred: part(is(Disposition::Deferred)),
            bounced: part(is(Disposition::Bounced)),
            hard: part(is(Disposition::Bounced) && hard.contains(&get("cause"))),
        };
        let sum = attempts.entry((get("binding").to_owned(), get("destination").to_owned())).or_default();
        *sum = sum.plus(tried);
    });
    let by = |counter: &prometheus::IntCounterVec, label: &str| {
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        each(counter, |labels, count| {
            *sums.entry(labels.get(label).copied().unwrap_or_default().to_owned()).or_default() += count;
        });
        sums
    };
    Counted {
        attempts,
        unmatched: by(&metrics.unmatched_replies, "provider"),
        failovers: by(&metrics.failovers, "pool"),
        ..Counted::default()
    }
}

/// Every series of a counter: its labels and its count.
fn each(counter: &prometheus::IntCounterVec, mut visit: impl FnMut(&BTreeMap<&str, &str>, u64)) {
    for family in counter.collect() {
        for series in family.get_metric() {
            let labels = series.get_label().iter().map(|label| (label.name(), label.value())).collect();
            visit(&labels, series.get_counter().get_value() as u64);
        }
    }
}

#[cfg(test)]
#[path = "gather_tests.rs"]
mod tests;
