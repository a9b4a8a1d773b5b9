//! (shell) Fills a [`View`] from status, monitor and counters.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use prometheus::core::Collector;

use super::view::{
    BindingView, CapView, ComplaintView, Counted, DomainsView, FeedView, HoldView, ListingView, OutView, PoolView,
    ReverseView, Tried, View, WaitingView, WarmupView, ZoneView,
};
use crate::admin::Sources;
use crate::admin::status::{BindingStatus, Status};
use crate::config::{Config, Member};
use crate::monitor::Snapshot;
use crate::monitor::feeds::FeedSnapshot;
use crate::outcome::{Cause, Disposition};
use crate::scheduler::cap::Owner;
use crate::store::space;
use crate::telemetry::metrics::OTHER;

/// Health and reason that speak of the operator's own act.
const SUSPENDED: &str = "suspended";
const OPERATOR: &str = "operator";

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

/// The relay now, and what it counted since the start.
pub(super) fn view(sources: &Sources) -> (View, Counted) {
    let status = Status::of(sources);
    let monitor = sources.monitor.snapshot();
    let config = sources.dispatcher.config();
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
    let caps = caps(sources);
    let view = View {
        bindings: status.bindings.iter().map(|binding| self::binding(binding, config)).collect(),
        pools: pools(&status, &caps, config),
        listings: listings.collect(),
        domains: domains(&monitor),
        zones: zones.collect(),
        reverse: reverse.collect(),
        caps,
        warmups: warmups(&status),
        complaints: complaints(&status),
        waiting: waiting(&status),
        holds: holds(&status, config),
        feeds: feeds(sources),
        set_aside: status.spool.quarantined_count,
        free_space: space::free_bytes(&config.server.state_dir).ok(),
        ..View::default()
    };
    (view, totals(sources))
}

fn binding(binding: &BindingStatus, config: &Config) -> BindingView {
    let own = OutView {
        destination: String::new(),
        suspended: binding.health == SUSPENDED,
        wanted: is_out_by_choice(config, &binding.name) || binding.reason.as_deref() == Some(OPERATOR),
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

fn is_out_by_choice(config: &Config, name: &str) -> bool {
    config.bindings.iter().any(|binding| binding.name.as_str() == name && binding.suspend_delivery)
}

fn pools(status: &Status, caps: &[CapView], config: &Config) -> Vec<PoolView> {
    let is_full = |name: &str| caps.iter().any(|cap| cap.of == "binding" && cap.name == name && cap.used >= cap.limit);
    let is_usable = |name: &str| {
        let known = status.bindings.iter().find(|binding| binding.name == name);
        known.is_some_and(|binding| binding.health != SUSPENDED) && !is_out_by_choice(config, name) && !is_full(name)
    };
    let usable: BTreeMap<&str, bool> =
        config.bindings.iter().map(|binding| (binding.name.as_str(), is_usable(binding.name.as_str()))).collect();
    let count = |tiers: &[Vec<Member>]| {
        let members = tiers.iter().flatten().filter(|member| member.weight > 0);
        members.filter(|member| usable.get(member.binding.as_str()).copied().unwrap_or_default()).count()
    };
    let pools = config.pools.iter().map(|pool| PoolView {
        name: pool.name.to_string(),
        active: count(pool.tiers.get(..1).unwrap_or_default()),
        min_active: pool.min_active,
        backup: count(pool.tiers.get(1..).unwrap_or_default()),
    });
    pools.collect()
}

fn caps(sources: &Sources) -> Vec<CapView> {
    let usage = sources.dispatcher.with_core(|core| core.scheduler().usage(sources.dispatcher.now()));
    let caps = usage.into_iter().filter_map(|usage| {
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
fn feeds(sources: &Sources) -> Vec<FeedView> {
    let (config, now) = (sources.dispatcher.config(), sources.dispatcher.now().wall);
    let max_age = |name: &str| config.feeds.iter().find(|feed| feed.name == name).map(|feed| feed.max_age);
    let view = |feed: FeedSnapshot| FeedView {
        age: feed.newest.and_then(|newest| Some((now.since(newest), max_age(&feed.feed)?))),
        expires: feed.credential_expires,
        name: feed.feed,
    };
    sources.feeds.snapshot().into_iter().map(view).collect()
}

fn totals(sources: &Sources) -> Counted {
    let metrics = sources.dispatcher.metrics();
    let counts = sources.dispatcher.counts();
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
        grant_errors: counts.grant_errors.load(Ordering::Relaxed),
        delivered: counts.delivered.load(Ordering::Relaxed),
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
