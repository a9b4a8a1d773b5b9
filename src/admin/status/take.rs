//! Takes a status: copies under the core's lock, for which every decision waits, and puts into words after it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{
    BindingStatus, CapStatus, CountStatus, FeedbackStatus, OrderShown, QueueStatus, RouteStatus, SpoolStatus, Status,
    TenantStatus, WaitingStatus, WarmupStatus, WindowStatus, ZoneStatus,
};
use crate::admin::Sources;
use crate::clock::{Now, Wall};
use crate::config::{Binding, Config};
use crate::message::{BindingName, DestinationName, ZoneName};
use crate::monitor::Snapshot;
use crate::orders::{About, Act, Orders};
use crate::queue::core::Core;
use crate::reputation::complaints::{Cohort, SHARE_DAYS};
use crate::reputation::holds::HoldView;
use crate::reputation::{Health, Reason, Subject};
use crate::scheduler::cap::Owner;
use crate::scheduler::warmup::OnLadder;
use crate::scheduler::{BindingUse, CapUsage, RouteWindow};
use crate::telemetry::{health_log, metrics};

/// What the core says, copied while everybody else waits for it; it is put into words afterwards.
struct Copied {
    usage: Vec<CapUsage>,
    in_use: Vec<BindingUse>,
    ladders: Vec<OnLadder>,
    /// As the bindings of the configuration.
    bindings: Vec<(Health, String)>,
    routes: Vec<RouteCopied>,
    shares: BTreeMap<(BindingName, Option<DestinationName>), Cohort>,
    holds: Vec<HoldView>,
    entries: usize,
    recipients: u64,
    in_flight: usize,
}

struct RouteCopied {
    binding: BindingName,
    destination: DestinationName,
    health: Health,
    evidence: String,
    window: Option<RouteWindow>,
}

impl Copied {
    fn of(core: &Core, config: &Config, now: Now) -> Self {
        let (scheduler, reputation) = (core.scheduler(), core.reputation());
        let binding = |binding: &Arc<Binding>| {
            let subject = Subject::Binding(binding.name.clone());
            (reputation.health(&subject).clone(), reputation.evidence(&subject))
        };
        let (entries, recipients) = core.index().depth();
        Self {
            usage: scheduler.usage(now),
            in_use: scheduler.in_use(now),
            ladders: scheduler.on_ladders().collect(),
            bindings: config.bindings.iter().map(binding).collect(),
            routes: reputation
                .all()
                .filter_map(|(subject, health)| RouteCopied::of(core, subject, health, now))
                .collect(),
            shares: reputation.complaints().shares(SHARE_DAYS, now.wall),
            holds: reputation.holds().all(now.wall).collect(),
            entries,
            recipients,
            in_flight: core.in_flight(),
        }
    }
}

impl RouteCopied {
    /// `None` for one that is active and that nothing is held against.
    fn of(core: &Core, subject: Subject, health: &Health, now: Now) -> Option<Self> {
        let Subject::Route(binding, destination) = &subject else { return None };
        let evidence = core.reputation().evidence(&subject);
        if *health == Health::Active && evidence.is_empty() {
            return None;
        }
        let (binding, destination) = (binding.clone(), destination.clone());
        let window = core.scheduler().route_window(&binding, &destination, now);
        Some(Self { binding, destination, health: health.clone(), evidence, window })
    }
}

impl Status {
    /// Takes a snapshot.
    pub fn of(sources: &Sources) -> Self {
        Self::with_usage(sources).0
    }

    /// Takes a snapshot, and with it all daily caps.
    pub fn with_usage(sources: &Sources) -> (Self, Vec<CapUsage>) {
        let dispatcher = &sources.dispatcher;
        let (config, now) = (dispatcher.config(), dispatcher.now());
        let monitor = sources.monitor.snapshot();
        let waiting = waiting(|from| dispatcher.with_core(|core| Groups::of(core, from)));
        let surplus = dispatcher.entries_beyond_one_per_message();
        let copied = dispatcher.with_core(|core| Copied::of(core, &config, now));
        let status = Self {
            version: env!("CARGO_PKG_VERSION").into(),
            hostname: config.server.hostname.to_string(),
            at: now.wall,
            listeners: sources.listeners.read().iter().map(ToString::to_string).collect(),
            queue: QueueStatus {
                messages: (copied.entries as u64).saturating_sub(surplus),
                entries: copied.entries as u64,
                recipients: copied.recipients,
                in_flight: copied.in_flight as u64,
                waiting,
            },
            counts: counts(dispatcher.counts()),
            tenants: tenants(&config, &copied.usage, &sources.live.orders()),
            zones: zones(&monitor),
            spool: SpoolStatus {
                quarantined: dispatcher.set_aside().last.into(),
                quarantined_count: dispatcher.set_aside().count,
                commits: sources.committer.totals().commits.load(Ordering::Relaxed),
            },
            bindings: bindings(&config, &copied, &sources.live.orders()),
            holds: copied.holds,
        };
        (status, copied.usage)
    }
}

impl BindingStatus {
    /// All bindings, without looking at the queue.
    pub fn all(sources: &Sources) -> Vec<Self> {
        let (config, now) = (sources.dispatcher.config(), sources.dispatcher.now());
        let copied = sources.dispatcher.with_core(|core| Copied::of(core, &config, now));
        bindings(&config, &copied, &sources.live.orders())
    }
}

impl TenantStatus {
    /// All tenants, without looking at the queue, and the holds of receivers' making.
    pub fn all(sources: &Sources) -> (Vec<Self>, Vec<HoldView>) {
        let (config, now) = (sources.dispatcher.config(), sources.dispatcher.now());
        let copied = sources.dispatcher.with_core(|core| Copied::of(core, &config, now));
        (tenants(&config, &copied.usage, &sources.live.orders()), copied.holds)
    }
}

/// What the operator has a binding do beside its health.
fn operator(health: &Health, name: &BindingName, orders: &Orders) -> Option<&'static str> {
    match orders.about(About::Use(name)).map(|order| &order.act) {
        Some(Act::Remove { .. }) => Some("removing"),
        Some(_) => Some("draining"),
        None => {
            let is_suspended = matches!(health, Health::Suspended { reason: Reason::Operator, .. });
            is_suspended.then_some("suspended")
        }
    }
}

/// By owner: there may be thousands of each.
fn by_owner(usage: &[CapUsage]) -> HashMap<&Owner, &CapUsage> {
    usage.iter().map(|usage| (&usage.owner, usage)).collect()
}

fn tenants(config: &Config, usage: &[CapUsage], orders: &Orders) -> Vec<TenantStatus> {
    let usage = by_owner(usage);
    let tenants = config.tenants.iter().map(|tenant| TenantStatus {
        name: tenant.name.to_string(),
        cap: cap(&usage, &Owner::Tenant(tenant.name.clone())),
        held: tenant.hold,
        orders: orders.of_tenant(&tenant.name).map(OrderShown::from).collect(),
    });
    tenants.collect()
}

fn bindings(config: &Config, copied: &Copied, orders: &Orders) -> Vec<BindingStatus> {
    let usage = by_owner(&copied.usage);
    let in_use: HashMap<&BindingName, u64> =
        copied.in_use.iter().map(|used| (&used.binding, u64::from(used.in_use))).collect();
    let mut warmups = warmups(&copied.ladders);
    let mut routes = routes(&copied.routes);
    let mut feedback = feedback(&copied.shares);
    let bindings = config.bindings.iter().zip(&copied.bindings).map(|(binding, (health, evidence))| {
        let operator = operator(health, &binding.name, orders);
        let (health, reason, until) = words(health);
        BindingStatus {
            operator: operator.map(str::to_owned),
            orders: orders.of_binding(&binding.name).map(OrderShown::from).collect(),
            name: binding.name.to_string(),
            bind_address: binding.bind_address.to_string(),
            second_bind_address: binding.sources().second().map(|second| second.to_string()),
            health,
            reason,
            until,
            evidence: some(evidence.clone()),
            in_use: in_use.get(&binding.name).copied().unwrap_or_default(),
            cap: cap(&usage, &Owner::Binding(binding.name.clone())),
            warmup: warmups.remove(&binding.name).unwrap_or_default(),
            routes: routes.remove(&binding.name).unwrap_or_default(),
            feedback: feedback.remove(&binding.name).unwrap_or_default(),
        }
    });
    bindings.collect()
}

fn words(health: &Health) -> (String, Option<String>, Option<Wall>) {
    let (reason, until) = health_log::details(health);
    (health.as_str().to_owned(), (!reason.is_empty()).then(|| reason.to_owned()), until)
}

fn zones(monitor: &Snapshot) -> Vec<ZoneStatus> {
    let mut listed: HashMap<&ZoneName, Vec<String>> = HashMap::new();
    for listing in monitor.listings.iter().filter(|listing| listing.state == 1) {
        listed.entry(&listing.zone).or_default().push(listing.binding.to_string());
    }
    let zones = monitor.zones.iter().map(|zone| ZoneStatus {
        name: zone.zone.to_string(),
        health: zone.health.to_owned(),
        reason: some(zone.reason.clone()),
        listed: listed.remove(&zone.zone).unwrap_or_default(),
    });
    zones.collect()
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn warmups(ladders: &[OnLadder]) -> HashMap<&BindingName, Vec<WarmupStatus>> {
    let mut all: HashMap<&BindingName, Vec<WarmupStatus>> = HashMap::new();
    for ladder in ladders {
        all.entry(&ladder.binding).or_default().push(WarmupStatus {
            provider: ladder.provider.as_ref().map(ToString::to_string),
            stage: ladder.stage as u64,
            stages: ladder.stages as u64,
            allowance: ladder.allowance,
            accepted: ladder.accepted,
        });
    }
    all
}

fn window(known: RouteWindow) -> WindowStatus {
    let RouteWindow { in_use, limit, ceiling, paused_until, .. } = known;
    WindowStatus { in_use, limit, ceiling, paused_until }
}

fn routes(routes: &[RouteCopied]) -> HashMap<&BindingName, Vec<RouteStatus>> {
    let mut all: HashMap<&BindingName, Vec<RouteStatus>> = HashMap::new();
    for route in routes {
        let (health, reason, until) = words(&route.health);
        all.entry(&route.binding).or_default().push(RouteStatus {
            destination: route.destination.to_string(),
            health,
            reason,
            until,
            evidence: some(route.evidence.clone()),
            window: route.window.map(window),
        });
    }
    all
}

fn feedback(
    shares: &BTreeMap<(BindingName, Option<DestinationName>), Cohort>,
) -> HashMap<&BindingName, Vec<FeedbackStatus>> {
    let mut all: HashMap<&BindingName, Vec<FeedbackStatus>> = HashMap::new();
    for ((binding, destination), sum) in shares {
        all.entry(binding).or_default().push(FeedbackStatus {
            destination: destination.as_ref().map_or_else(|| metrics::OTHER.to_owned(), ToString::to_string),
            accepted: sum.accepted,
            complaints: sum.complaints,
            late_bounces: sum.late_bounces,
        });
    }
    all
}

fn cap(usage: &HashMap<&Owner, &CapUsage>, owner: &Owner) -> Option<CapStatus> {
    let usage = usage.get(owner)?;
    Some(CapStatus {
        limit: usage.limit?,
        used: usage.used,
        reserved: usage.reserved,
        granted: usage.granted,
        resets_at: usage.resets_at,
    })
}

/// Entries looked at before the core is let go on: there may be a million, and every decision waits meanwhile.
pub(in crate::admin) const SLICE: usize = 4_096;

#[derive(Default)]
struct Group {
    count: u64,
    recipients: u64,
    oldest: Option<Wall>,
    oldest_untried: Option<Wall>,
    next_at: Option<Wall>,
    attempts: u32,
}

impl Group {
    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.recipients += other.recipients;
        self.attempts = self.attempts.max(other.attempts);
        self.oldest = self.oldest.into_iter().chain(other.oldest).min();
        self.oldest_untried = self.oldest_untried.into_iter().chain(other.oldest_untried).min();
        self.next_at = self.next_at.into_iter().chain(other.next_at).min();
    }
}

/// What waits, by pool, destination and reason.
#[derive(Default)]
struct Groups(BTreeMap<(String, String, &'static str), Group>);

impl Groups {
    /// Of one slice of the queue, from its `from`-th entry on; `None` when there are none.
    fn of(core: &Core, from: usize) -> Option<Self> {
        // By numbers first, which are good until the core goes on: names are looked up once for each group.
        let mut groups: HashMap<_, Group> = HashMap::new();
        for (_, waiting) in core.index().slice(from, SLICE) {
            let (reason, next_at) = core.index().why(waiting);
            groups.entry((waiting.pool, core.where_to(waiting), reason)).or_default().add(&Group {
                count: 1,
                recipients: u64::from(waiting.recipients),
                oldest: Some(waiting.arrived),
                oldest_untried: (waiting.attempts == 0).then_some(waiting.arrived),
                next_at,
                attempts: waiting.attempts,
            });
        }
        let named = |((pool, place, reason), group)| {
            let pool = core.scheduler().pool_name(pool).to_string();
            ((pool, core.name_of(place), reason), group)
        };
        (!groups.is_empty()).then(|| Self(groups.into_iter().map(named).collect()))
    }

    fn add(&mut self, other: Self) {
        for (key, group) in other.0 {
            self.0.entry(key).or_default().add(&group);
        }
    }
}

/// What waits, put together from slices: each is of its own moment, so that in a queue of many thousands the sum may differ
/// a little from the depth.
fn waiting(slice: impl Fn(usize) -> Option<Groups>) -> Vec<WaitingStatus> {
    let mut all = Groups::default();
    (0..).step_by(SLICE).map_while(slice).for_each(|groups| all.add(groups));
    let status = |((pool, destination, reason), group): ((String, String, &str), Group)| WaitingStatus {
        pool,
        destination,
        reason: reason.to_owned(),
        count: group.count,
        recipients: group.recipients,
        oldest: group.oldest.unwrap_or_default(),
        oldest_untried: group.oldest_untried,
        next_at: group.next_at,
        attempts: group.attempts,
    };
    all.0.into_iter().map(status).collect()
}

fn counts(counts: &crate::queue::dispatcher::Counts) -> CountStatus {
    let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
    CountStatus {
        accepted_messages: read(&counts.accepted_messages),
        accepted_recipients: read(&counts.accepted_recipients),
        recovered_recipients: read(&counts.recovered_recipients),
        stranded_recipients: read(&counts.stranded_recipients),
        set_aside_recipients: read(&counts.set_aside_recipients),
        delivered: read(&counts.delivered),
        bounced: read(&counts.bounced),
        expired: read(&counts.expired),
        deferred: read(&counts.deferred),
        dsn: read(&counts.dsn),
        duplicates_possible: read(&counts.duplicates_possible),
    }
}
