//! The status as data: what `/api/v1/status` answers and `remuda status` prints.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::Sources;
use crate::clock::{Wall, rfc3339};
use crate::message::EntryId;
use crate::reputation::complaints::SHARE_DAYS;
use crate::reputation::holds::HoldView;
use crate::reputation::{Health, Subject};
use crate::scheduler::cap::Owner;
use crate::scheduler::{CapUsage, RouteWindow, Scheduler};
use crate::telemetry::{health_log, metrics};

/// Everything at one moment.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// Of the program.
    pub version: String,
    /// `server.hostname`.
    pub hostname: String,
    /// When this was taken.
    #[serde(with = "rfc3339")]
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
#[derive(Debug, Serialize, Deserialize)]
pub struct BindingStatus {
    /// Its name.
    pub name: String,
    /// Its source address.
    pub bind_address: String,
    /// active, throttled, suspended, probation.
    pub health: String,
    /// Why not active.
    pub reason: Option<String>,
    /// Until when.
    #[serde(with = "rfc3339::option")]
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
}

/// One ladder that holds a binding, or its route to a provider, back today.
#[derive(Debug, Serialize, Deserialize)]
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
#[derive(Debug, Serialize, Deserialize)]
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
#[derive(Debug, Serialize, Deserialize)]
pub struct RouteStatus {
    /// Where to.
    pub destination: String,
    /// active, throttled, suspended, probation.
    pub health: String,
    /// Why.
    pub reason: Option<String>,
    /// Until when.
    #[serde(with = "rfc3339::option")]
    pub until: Option<Wall>,
    /// What speaks for it, in words.
    pub evidence: Option<String>,
    /// How many connections it has, and may have.
    #[serde(default)]
    pub window: Option<WindowStatus>,
}

/// The connection window of a route.
#[derive(Debug, Serialize, Deserialize)]
pub struct WindowStatus {
    /// Attempts on the wire.
    pub in_use: u32,
    /// Most at the same time now.
    pub limit: u32,
    /// `max_outbound_connections`.
    pub ceiling: u32,
    /// The receiver asked for less: no connection before that.
    #[serde(with = "rfc3339::option")]
    pub paused_until: Option<Wall>,
}

/// One daily cap.
#[derive(Debug, Serialize, Deserialize)]
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
    pub resets_at: Wall,
}

/// One tenant.
#[derive(Debug, Serialize, Deserialize)]
pub struct TenantStatus {
    /// Its name.
    pub name: String,
    /// Its cap, if it has one.
    pub cap: Option<CapStatus>,
}

/// What waits.
#[derive(Debug, Serialize, Deserialize)]
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
#[derive(Debug, Serialize, Deserialize)]
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
    pub oldest: Wall,
    /// Arrival of the oldest of those that were never tried.
    #[serde(default, with = "rfc3339::option")]
    pub oldest_untried: Option<Wall>,
    /// When the first may move by itself.
    #[serde(with = "rfc3339::option")]
    pub next_at: Option<Wall>,
    /// Most attempts any of them has had.
    pub attempts: u32,
}

/// Totals since start.
#[derive(Debug, Serialize, Deserialize)]
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
#[derive(Debug, Serialize, Deserialize)]
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
#[derive(Debug, Serialize, Deserialize)]
pub struct SpoolStatus {
    /// The last hundred records set aside.
    pub quarantined: Vec<String>,
    /// How many there are in all.
    pub quarantined_count: u64,
    /// Group commits since start.
    pub commits: u64,
}

impl Status {
    /// Takes a snapshot.
    pub fn of(sources: &Sources) -> Self {
        let dispatcher = &sources.dispatcher;
        let config = dispatcher.config();
        let monitor = sources.monitor.snapshot();
        let waiting = waiting(|from| dispatcher.with_core(|core| Groups::of(core, from)));
        let surplus = dispatcher.entries_beyond_one_per_message();
        dispatcher.with_core(|core| {
            let usage = core.scheduler().usage(dispatcher.now());
            // By owner: there may be thousands of each, and every decision waits meanwhile.
            let usage: HashMap<&Owner, &CapUsage> = usage.iter().map(|u| (&u.owner, u)).collect();
            let in_use = in_use(core.scheduler(), dispatcher.now());
            let mut warmups = warmups(core.scheduler());
            let mut routes = routes(core.reputation(), core.scheduler(), dispatcher.now());
            let mut feedback = feedback(core.reputation(), dispatcher.now().wall);
            let bindings = config.bindings.iter().map(|binding| {
                let subject = Subject::Binding(binding.name.clone());
                let (health, reason, until) = words(core.reputation().health(&subject));
                BindingStatus {
                    name: binding.name.to_string(),
                    bind_address: binding.bind_address.to_string(),
                    health,
                    reason,
                    until,
                    evidence: some(core.reputation().evidence(&subject)),
                    in_use: in_use.get(binding.name.as_str()).copied().unwrap_or_default(),
                    cap: cap(&usage, &Owner::Binding(binding.name.clone())),
                    warmup: warmups.remove(binding.name.as_str()).unwrap_or_default(),
                    routes: routes.remove(binding.name.as_str()).unwrap_or_default(),
                    feedback: feedback.remove(binding.name.as_str()).unwrap_or_default(),
                }
            });
            let tenants = config.tenants.iter().map(|tenant| TenantStatus {
                name: tenant.name.to_string(),
                cap: cap(&usage, &Owner::Tenant(tenant.name.clone())),
            });
            Self {
                version: env!("CARGO_PKG_VERSION").into(),
                hostname: config.server.hostname.to_string(),
                at: dispatcher.now().wall,
                listeners: sources.listeners.iter().map(ToString::to_string).collect(),
                bindings: bindings.collect(),
                queue: queue(core, waiting, surplus),
                counts: counts(dispatcher.counts()),
                tenants: tenants.collect(),
                holds: core.reputation().holds().all(dispatcher.now().wall).collect(),
                zones: monitor
                    .zones
                    .iter()
                    .map(|zone| ZoneStatus {
                        name: zone.zone.to_string(),
                        health: zone.health.to_owned(),
                        reason: some(zone.reason.clone()),
                        listed: listed(&monitor, &zone.zone),
                    })
                    .collect(),
                spool: SpoolStatus {
                    quarantined: dispatcher.set_aside().last.into(),
                    quarantined_count: dispatcher.set_aside().count,
                    commits: sources.committer.totals().commits.load(Ordering::Relaxed),
                },
            }
        })
    }
}

/// One entry of the queue listing, with what only the disk knows.
#[derive(Debug, Serialize)]
pub struct QueueEntry {
    /// From memory.
    #[serde(flatten)]
    pub view: crate::queue::core::QueueView,
    /// Message it belongs to.
    pub message: Option<String>,
    /// Its stream.
    pub stream: Option<String>,
    /// What the last attempt said.
    pub last_reply: Option<String>,
}

impl QueueEntry {
    /// Looks the entry up in memory and on disk.
    pub fn of(sources: &Sources, id: EntryId) -> Option<Self> {
        let view = sources.dispatcher.with_core(|core| core.view(id))?;
        let entry = sources.dispatcher.spool().entry(id).ok().flatten();
        Some(Self {
            view,
            message: entry.as_ref().map(|e| e.message.to_string()),
            stream: entry.as_ref().map(|e| e.stream.to_string()),
            last_reply: entry.and_then(|e| e.recipients.into_iter().find_map(|r| r.state.last_reply)),
        })
    }
}

fn words(health: &Health) -> (String, Option<String>, Option<Wall>) {
    let (reason, until) = health_log::details(health);
    (health.as_str().to_owned(), (!reason.is_empty()).then(|| reason.to_owned()), until)
}

fn in_use(scheduler: &Scheduler, now: crate::clock::Now) -> BTreeMap<String, u64> {
    scheduler.in_use(now).into_iter().map(|b| (b.binding.to_string(), u64::from(b.in_use))).collect()
}

fn listed(monitor: &crate::monitor::Snapshot, zone: &crate::message::ZoneName) -> Vec<String> {
    let hits = monitor.listings.iter().filter(|l| l.zone == *zone && l.state == 1);
    hits.map(|l| l.binding.to_string()).collect()
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn warmups(scheduler: &Scheduler) -> BTreeMap<String, Vec<WarmupStatus>> {
    let mut all: BTreeMap<String, Vec<WarmupStatus>> = BTreeMap::new();
    for ladder in scheduler.on_ladders() {
        all.entry(ladder.binding.to_string()).or_default().push(WarmupStatus {
            provider: ladder.provider.map(|provider| provider.to_string()),
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

fn routes(
    reputation: &crate::reputation::Reputation,
    scheduler: &Scheduler,
    now: crate::clock::Now,
) -> BTreeMap<String, Vec<RouteStatus>> {
    let mut all: BTreeMap<String, Vec<RouteStatus>> = BTreeMap::new();
    for (subject, health) in reputation.all() {
        let Subject::Route(binding, destination) = &subject else { continue };
        let evidence = reputation.evidence(&subject);
        if *health == Health::Active && evidence.is_empty() {
            continue;
        }
        let (health, reason, until) = words(health);
        all.entry(binding.to_string()).or_default().push(RouteStatus {
            destination: destination.to_string(),
            health,
            reason,
            until,
            evidence: some(evidence),
            window: scheduler.route_window(binding, destination, now).map(window),
        });
    }
    all
}

fn feedback(reputation: &crate::reputation::Reputation, now: Wall) -> BTreeMap<String, Vec<FeedbackStatus>> {
    let mut all: BTreeMap<String, Vec<FeedbackStatus>> = BTreeMap::new();
    for ((binding, destination), sum) in reputation.complaints().shares(SHARE_DAYS, now) {
        all.entry(binding.to_string()).or_default().push(FeedbackStatus {
            destination: destination.map_or_else(|| metrics::OTHER.to_owned(), |to| to.to_string()),
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
pub(super) const SLICE: usize = 4_096;

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
    fn of(core: &crate::queue::core::Core, from: usize) -> Option<Self> {
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

fn queue(core: &crate::queue::core::Core, waiting: Vec<WaitingStatus>, surplus: u64) -> QueueStatus {
    let (entries, recipients) = core.index().depth();
    QueueStatus {
        messages: (entries as u64).saturating_sub(surplus),
        entries: entries as u64,
        recipients,
        in_flight: core.in_flight() as u64,
        waiting,
    }
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
