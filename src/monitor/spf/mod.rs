//! Which bindings the SPF records of the tenants' domains cover (RFC 7208).
//!
//! SPF is evaluated against the connecting address: mail that moves to another binding needs a record that covers that
//! one as well. What counts is the result, not the text of the record, since an include of somebody else's can break it
//! any day. So each sender domain is evaluated for each binding's public address and EHLO name, again and again.
//!
//! [`ask`] makes one evaluation, [`table`] (pure) says which is due and what is proven of it, [`Cover`] is the task that
//! asks: one domain after the other, at most [`IN_FLIGHT`] bindings of it at a time, with a pause of [`PACE`] between two
//! domains, so that mail from ever new domains cannot become a flood of questions. What is proven goes to the scheduler
//! ([`crate::scheduler::cover`]), what people should know to events and log.
//!
//! Domains come from the configuration (`match.sender_domain` and stream rules that name one, `return_path_domain`) and
//! from accepted mail. Mail of a tenant whose return paths are rewritten leaves with that domain, and only it is asked.

pub mod ask;
pub mod outcome;
pub mod table;
#[cfg(test)]
mod table_tests;
pub mod views;

use std::collections::{BTreeMap, HashSet};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use self::ask::Asker;
use self::outcome::{Answer, Outcome};
use self::table::{News, Note, Rules, Table};
use self::views::{RowView, Totals};
pub use super::dns::SetupError;
use crate::clock::Clock;
use crate::config::{Config, DomainPattern, EhloName, SpfPolicy, Tenant};
use crate::message::{BindingName, Domain, PoolName, TenantName};

/// Bindings that are evaluated at the same time.
pub const IN_FLIGHT: usize = 8;

/// Pause between two domains.
pub const PACE: Duration = Duration::from_millis(50);

/// Longest sleep: a clock that is set forward is noticed this soon.
const SLEEP_MAX: Duration = Duration::from_secs(30);

/// What the task has to tell.
#[derive(Clone, Debug)]
pub enum Heard {
    /// For the scheduler.
    News(News),
    /// For people.
    Note(Note),
    /// One evaluation came to this.
    Evaluated(Outcome),
}

/// Where it goes.
pub type Sink = Arc<dyn Fn(Heard) + Send + Sync>;

#[derive(Clone)]
struct Target {
    address: IpAddr,
    /// `None`: it greets with the sender's domain.
    ehlo: Option<String>,
}

/// The table domain × binding, and the task that fills it.
pub struct Cover {
    targets: Vec<Target>,
    /// Tenants whose seen domains are asked about.
    watched: HashSet<TenantName>,
    asker: Option<Arc<Asker>>,
    table: Mutex<Table>,
    random: Mutex<SmallRng>,
    clock: Arc<dyn Clock>,
    sink: Sink,
    wake: Notify,
}

impl Cover {
    /// Sets everything up; asks nothing yet.
    ///
    /// # Errors
    /// No resolver can be set up.
    pub fn new(config: &Config, clock: Arc<dyn Clock>, sink: Sink) -> Result<Self, SetupError> {
        let is_on = |tenant: &&Tenant| tenant.spf_policy(&config.monitor) != SpfPolicy::Off;
        let tenants: Vec<&Tenant> = config.tenants.iter().filter(is_on).collect();
        let targets = config.bindings.iter().map(|binding| Target {
            address: binding.public_address,
            ehlo: match &binding.ehlo_hostname {
                EhloName::Literal(name) => Some(name.to_string()),
                EhloName::Hostname => Some(config.server.hostname.to_string()),
                EhloName::Message => None,
            },
        });
        let rules = Rules {
            interval: config.monitor.spf_interval,
            jitter: config.monitor.jitter,
            confirmations: config.monitor.confirmations,
            confirm_after: config.monitor.confirm_after,
        };
        let bindings = config.bindings.iter().map(|binding| binding.name.clone()).collect();
        let mut table = Table::new(rules, bindings, &pools(config, &tenants));
        let now = clock.now().wall;
        for tenant in &tenants {
            domains(tenant, config).into_iter().for_each(|domain| table.name(&tenant.name, domain, now));
        }
        let sends_as_written = |tenant: &&&Tenant| tenant.sends_as(config).is_none();
        Ok(Self {
            targets: targets.collect(),
            watched: tenants.iter().filter(sends_as_written).map(|tenant| tenant.name.clone()).collect(),
            asker: if tenants.is_empty() { None } else { Some(Arc::new(Asker::new(config)?)) },
            table: Mutex::new(table),
            random: Mutex::new(random()),
            clock,
            sink,
            wake: Notify::new(),
        })
    }

    /// Mail of a tenant came from this domain. Cheap: two look-ups where it is known.
    pub fn seen(&self, tenant: &TenantName, sender_domain: &Domain) {
        // Address literals have no record.
        if !self.watched.contains(tenant) || sender_domain.as_str().starts_with('[') {
            return;
        }
        if self.table.lock().seen(tenant, sender_domain, self.clock.now().wall) {
            self.wake.notify_one();
        }
    }

    /// What is known of each domain, at most `limit` of those that `wanted` asks for, and how many there are of them.
    pub fn views(&self, wanted: impl Fn(&RowView) -> bool, limit: usize) -> (Vec<RowView>, usize) {
        let table = self.table.lock();
        let mut views: Vec<RowView> = table.views().filter(wanted).collect();
        let total = views.len();
        views.truncate(limit);
        (views, total)
    }

    /// Sums for metrics.
    pub fn totals(&self) -> Totals {
        self.table.lock().totals()
    }

    /// Works until `stopped` turns true. What is in flight then is dropped: it decided nothing yet.
    pub async fn run(&self, mut stopped: watch::Receiver<bool>) {
        tokio::select! {
            () = self.work() => {}
            // An error means that the sender is gone, which is a stop as well.
            _ = stopped.wait_for(|stop| *stop) => {}
        }
    }

    async fn work(&self) {
        let Some(asker) = &self.asker else { return std::future::pending().await };
        loop {
            let now = self.clock.now().wall;
            let (due, next) = {
                let table = self.table.lock();
                (table.due(now), table.next_due())
            };
            match due {
                Some(domain) => {
                    self.evaluate(asker, &domain).await;
                    tokio::time::sleep(PACE).await;
                }
                None => {
                    let pause = next.map_or(SLEEP_MAX, |next| next.since(now)).min(SLEEP_MAX);
                    tokio::select! {
                        () = tokio::time::sleep(pause.max(PACE)) => {}
                        () = self.wake.notified() => {}
                    }
                }
            }
        }
    }

    /// Evaluates one domain for every binding.
    async fn evaluate(&self, asker: &Arc<Asker>, domain: &Domain) {
        asker.forget();
        let mut answers = Vec::with_capacity(self.targets.len());
        for targets in self.targets.chunks(IN_FLIGHT) {
            answers.extend(ask_all(asker, domain, targets).await);
        }
        answers.iter().for_each(|answer| (self.sink)(Heard::Evaluated(answer.outcome)));
        let unit = self.random.lock().random::<f64>();
        let (news, notes) = {
            let mut table = self.table.lock();
            table.answered(domain, &answers, unit, self.clock.now().wall);
            (table.take_news(), table.take_notes())
        };
        news.into_iter().for_each(|news| (self.sink)(Heard::News(news)));
        notes.into_iter().for_each(|note| (self.sink)(Heard::Note(note)));
    }
}

async fn ask_all(asker: &Arc<Asker>, domain: &Domain, targets: &[Target]) -> Vec<Answer> {
    let mut asked = JoinSet::new();
    for (place, target) in targets.iter().cloned().enumerate() {
        let (asker, domain) = (Arc::clone(asker), domain.clone());
        asked.spawn(async move {
            let ehlo = target.ehlo.as_deref().unwrap_or(domain.as_str());
            (place, asker.verify(domain.as_str(), target.address, ehlo).await)
        });
    }
    // One whose task went wrong says nothing.
    let unknown = Answer::without_record(Outcome::TempError, "the evaluation went wrong");
    let mut answers = vec![unknown; targets.len()];
    while let Some(joined) = asked.join_next().await {
        if let Ok((place, answer)) = joined {
            answers[place] = answer;
        }
    }
    answers
}

/// The domains that the configuration names as a tenant's senders.
fn domains<'a>(tenant: &'a Tenant, config: &'a Config) -> Vec<&'a Domain> {
    if let Some(domain) = tenant.sends_as(config) {
        return vec![domain];
    }
    let rules = tenant.streams.iter().filter_map(|rule| rule.sender_domain.as_ref());
    let patterns = tenant.matches.sender_domain.iter().chain(rules);
    patterns
        .filter_map(|pattern| if let DomainPattern::Exact(domain) = pattern { Some(domain) } else { None })
        .collect()
}

/// The pools that a tenant's mail may leave from, with those of their bindings that have a weight.
fn pools(config: &Config, tenants: &[&Tenant]) -> BTreeMap<TenantName, Vec<(PoolName, Vec<BindingName>)>> {
    let members = |name: &PoolName| {
        let pool = config.pools.iter().find(|pool| pool.name == *name)?;
        let members = pool.tiers.iter().flatten().filter(|member| member.weight > 0);
        Some((name.clone(), members.map(|member| member.binding.clone()).collect()))
    };
    let of_tenant = |tenant: &&Tenant| {
        let mut names: Vec<&PoolName> = tenant.pools.values().collect();
        names.extend(tenant.split.values().flatten().map(|(pool, _)| pool));
        names.sort();
        names.dedup();
        (tenant.name.clone(), names.into_iter().filter_map(members).collect())
    };
    tenants.iter().map(of_tenant).collect()
}

/// A random source seeded by the system, through the keys that the standard library takes for its hash maps.
fn random() -> SmallRng {
    SmallRng::seed_from_u64(std::collections::hash_map::RandomState::new().hash_one(0u8))
}
