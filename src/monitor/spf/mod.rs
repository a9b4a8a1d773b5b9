//! Which bindings the SPF records of the tenants' domains cover (RFC 7208).
//!
//! SPF is evaluated against the connecting address: mail that moves to another binding needs a record that covers that
//! one as well. A binding of two families is covered where both of its addresses are, for its mail may leave from either.
//! What counts is the result, not the text of the record, since an include of somebody else's can break it
//! any day. So each sender domain is evaluated for each binding's public address and EHLO name, again and again.
//!
//! [`ask`] makes one evaluation; [`table`] (pure) holds what is proven, of the domains that [`seen`] lets in, and
//! [`agenda`] says whose turn it is, [`follow`] what becomes of it all
//! under another configuration; [`Cover`] is the task that asks ([`work`]). What is proven goes to the scheduler
//! ([`crate::scheduler::cover`]) and to disk ([`kept`]), what people should know to events and log ([`tally`]).
//!
//! Domains come from the configuration (`match.sender_domain` and stream rules that name one, `return_path_domain`) and
//! from accepted mail. Mail of a tenant whose return paths are rewritten leaves with that domain, and only it is asked.

pub mod agenda;
pub mod ask;
mod cell;
pub mod follow;
#[cfg(test)]
mod follow_tests;
pub mod kept;
pub mod outcome;
mod row;
pub mod seen;
pub mod table;
#[cfg(test)]
mod table_tests;
pub mod tally;
pub mod views;
pub mod work;
#[cfg(test)]
mod work_tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::Notify;

use self::ask::Asker;
use self::follow::Roster;
use self::outcome::Outcome;
use self::seen::{Noted, Seen};
use self::table::{News, Rules, Table};
use self::tally::Note;
use self::views::{RowView, Totals};
pub use super::dns::SetupError;
use super::dns::servers_of;
use crate::clock::Clock;
use crate::config::{Addresses, Config, DomainPattern, EhloName, SpfPolicy, Tenant};
use crate::message::{BindingName, Domain, PoolName, TenantName};
use crate::store::{Batch, Op};

/// Facts written at once.
const WRITTEN_MAX: usize = 1_000;

/// What the task has to tell.
#[derive(Clone, Debug)]
pub enum Heard {
    /// For the scheduler.
    News(News),
    /// For people.
    Note(Note),
    /// One evaluation came to this.
    Evaluated(Outcome),
    /// A message of this tenant came from a domain that is not evaluated, for want of room.
    PassedOver(TenantName),
}

/// What the task needs of the rest of the program.
#[derive(Clone)]
pub struct Around {
    /// Where news goes.
    pub sink: Arc<dyn Fn(Heard) + Send + Sync>,
    /// Whether mail from a domain waits.
    pub waits: Arc<dyn Fn(&Domain) -> bool + Send + Sync>,
    /// Whether our name servers are to be believed.
    pub is_believed: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Whether they were tested since the configuration named others; until then nothing is asked.
    pub is_tested: Arc<dyn Fn() -> bool + Send + Sync>,
}

#[derive(Clone, PartialEq)]
struct Target {
    addresses: Addresses,
    /// `None`: it greets with the sender's domain.
    ehlo: Option<String>,
}

/// The table domain × binding, and the task that fills it.
pub struct Cover {
    /// Changed with `table` locked.
    current: RwLock<Arc<Setup>>,
    /// Locked before `seen` where both are.
    table: Mutex<Table>,
    /// Every accepted message looks here, and at nothing that is held for long.
    seen: Mutex<Seen>,
    random: Mutex<SmallRng>,
    clock: Arc<dyn Clock>,
    around: Around,
    wake: Notify,
    /// Held by whoever waits for a turn.
    next: tokio::sync::Mutex<()>,
}

/// What a configuration makes of it.
struct Setup {
    /// In the order of the table.
    targets: Vec<Target>,
    /// Tenants whose seen domains are asked about.
    watched: HashSet<TenantName>,
    /// One for each domain that is evaluated at a time; none where nothing is asked.
    askers: Vec<Arc<Asker>>,
    /// Whom these ask, and how long.
    servers: (Vec<SocketAddr>, Duration),
    /// What it is made of besides.
    roster: Roster,
}

/// A configuration that can be put in force.
pub struct Prepared(Setup);

impl Setup {
    fn new(config: &Config, before: Option<&Self>) -> Result<Self, SetupError> {
        let roster = Roster::of(config);
        let targets = config.bindings.iter().map(|binding| Target {
            addresses: binding.publics(),
            ehlo: match &binding.ehlo_hostname {
                EhloName::Literal(name) => Some(name.to_string()),
                EhloName::Hostname => Some(config.server.hostname.to_string()),
                EhloName::Message => None,
            },
        });
        let monitor = &config.monitor;
        let named = if monitor.servers.is_empty() { &config.dns.servers } else { &monitor.servers };
        let is_off = config.tenants.iter().all(|tenant| tenant.spf_policy(monitor) == SpfPolicy::Off);
        let count = if is_off { 0 } else { work::DOMAINS_AT_ONCE };
        let failed = |why: String| SetupError { what: "SPF".to_owned(), why };
        // Where nobody is asked it does not matter that nobody can be.
        let servers = if is_off { Vec::new() } else { servers_of(named).map_err(failed)? };
        let servers = (servers, monitor.timeout);
        let same = before.filter(|before| before.servers == servers && before.askers.len() == count);
        let askers = match same {
            Some(before) => before.askers.clone(),
            None => (0..count).map(|_| Asker::new(config).map(Arc::new)).collect::<Result<_, _>>()?,
        };
        let watched = roster.watched.iter().cloned().collect();
        Ok(Self { targets: targets.collect(), watched, askers, servers, roster })
    }

    /// Whether it is the same: what is under way is not lost then.
    fn is_as(&self, other: &Self) -> bool {
        self.targets == other.targets
            && self.roster == other.roster
            && self.servers == other.servers
            && self.askers.len() == other.askers.len()
    }

    /// Whether what is found out by this one may be something else than what `before` found out.
    fn asks_otherwise(&self, before: &Self) -> bool {
        let greets = |setup: &Self| -> BTreeSet<(IpAddr, Option<String>)> {
            let of = |target: &Target| {
                let ehlo = target.ehlo.clone();
                target.addresses.iter().map(move |address| (address, ehlo.clone())).collect::<Vec<_>>()
            };
            setup.targets.iter().flat_map(of).collect()
        };
        self.servers.0 != before.servers.0 || !greets(self).is_subset(&greets(before))
    }
}

impl Roster {
    fn of(config: &Config) -> Self {
        let is_on = |tenant: &&Tenant| tenant.spf_policy(&config.monitor) != SpfPolicy::Off;
        let tenants: Vec<&Tenant> = config.tenants.iter().filter(is_on).collect();
        let named = tenants.iter().flat_map(|t| domains(t, config).into_iter().map(|d| (t.name.clone(), d.clone())));
        let sends_as_written = |tenant: &&&Tenant| tenant.sends_as(config).is_none();
        Self {
            rules: Rules {
                interval: config.monitor.spf_interval,
                jitter: config.monitor.jitter,
                confirmations: config.monitor.confirmations,
                confirm_after: config.monitor.confirm_after,
            },
            bindings: config.bindings.iter().map(|b| (b.name.clone(), b.publics())).collect(),
            pools: pools(config, &tenants),
            named: named.collect(),
            watched: tenants.iter().filter(sends_as_written).map(|tenant| tenant.name.clone()).collect(),
        }
    }
}

impl Cover {
    /// Sets everything up; asks nothing yet.
    ///
    /// # Errors
    /// No resolver can be set up.
    pub fn new(config: &Config, clock: Arc<dyn Clock>, around: Around) -> Result<Self, SetupError> {
        let setup = Setup::new(config, None)?;
        let roster = &setup.roster;
        let (mut table, mut seen) = (Table::new(roster.rules, roster.bindings.clone(), &roster.pools), Seen::default());
        let left_out = table.follow(roster, &mut seen, false, clock.now().wall);
        warn_of_left_out(left_out);
        Ok(Self {
            current: RwLock::new(Arc::new(setup)),
            table: Mutex::new(table),
            seen: Mutex::new(seen),
            random: Mutex::new(random()),
            clock,
            around,
            wake: Notify::new(),
            next: tokio::sync::Mutex::default(),
        })
    }

    fn setup(&self) -> Arc<Setup> {
        Arc::clone(&self.current.read())
    }

    /// Sets up what `config` asks for, without a change to what is in force. Asks nothing.
    ///
    /// # Errors
    /// No resolver can be set up.
    pub fn prepare(&self, config: &Config) -> Result<Prepared, SetupError> {
        Setup::new(config, Some(&self.setup())).map(Prepared)
    }

    /// Whether that is in force already: then there is nothing to put in force.
    pub fn is_as(&self, prepared: &Prepared) -> bool {
        self.current.read().is_as(&prepared.0)
    }

    /// Puts it in force, and tells all that is proven anew; nothing where it is in force already. `waiting` are the domains with mail that waits.
    pub fn reconfigure(&self, prepared: Prepared, waiting: &BTreeSet<(TenantName, Domain)>) {
        let setup = Arc::new(prepared.0);
        let now = self.clock.now().wall;
        let left_out = {
            let (mut table, mut seen) = (self.table.lock(), self.seen.lock());
            let mut current = self.current.write();
            if setup.is_as(&current) {
                return;
            }
            let asks_anew = setup.asks_otherwise(&current);
            *current = Arc::clone(&setup);
            table.follow(&setup.roster, &mut seen, asks_anew, now)
        };
        warn_of_left_out(left_out);
        self.restore(&[], waiting);
        self.wake.notify_one();
    }

    /// Takes over what an earlier run wrote, and which domains have mail that waits. Facts are for the start, before mail
    /// leaves: they are believed before anything that is known.
    pub fn restore(&self, facts: &[(String, Vec<u8>)], waiting: &BTreeSet<(TenantName, Domain)>) {
        let (now, setup) = (self.clock.now().wall, self.setup());
        let watched = |tenant: &TenantName| setup.watched.contains(tenant);
        let news = {
            let (mut table, mut seen) = (self.table.lock(), self.seen.lock());
            table.restore(facts, &mut seen, watched, now);
            let others: BTreeSet<_> = waiting.iter().map(|(tenant, _)| tenant).filter(|t| !watched(t)).collect();
            others.into_iter().for_each(|tenant| table.hurry_named(tenant));
            for (tenant, domain) in waiting.iter().filter(|(tenant, domain)| watched(tenant) && is_name(domain)) {
                if seen.note(tenant, domain, now) == Noted::New {
                    seen.take_new();
                    table.admit(&mut seen, tenant, domain, |_| true, now);
                } else {
                    table.hurry(domain);
                }
            }
            table.take_news()
        };
        news.into_iter().for_each(|news| (self.around.sink)(Heard::News(news)));
    }

    /// Mail of a tenant came from this domain. Cheap: two look-ups where it is known.
    pub fn seen(&self, tenant: &TenantName, sender_domain: &Domain) {
        if !self.current.read().watched.contains(tenant) || !is_name(sender_domain) {
            return;
        }
        let noted = self.seen.lock().note(tenant, sender_domain, self.clock.now().wall);
        match noted {
            Noted::Known => {}
            Noted::New => self.wake.notify_one(),
            Noted::PassedOver => (self.around.sink)(Heard::PassedOver(tenant.clone())),
        }
    }

    /// What is known of a domain.
    pub fn view(&self, domain: &Domain) -> Option<RowView> {
        self.table.lock().one(domain)
    }

    /// A page of what is known ([`Table::page`]).
    pub fn page(&self, tenant: Option<&str>, after: Option<&Domain>, limit: usize) -> (Vec<RowView>, usize, bool) {
        self.table.lock().page(tenant, after, limit)
    }

    /// Sums for metrics.
    pub fn totals(&self) -> Totals {
        self.table.lock().totals(self.clock.now().wall)
    }

    /// What is to be written to disk since the last call, a bounded part of it.
    pub fn changes(&self) -> Batch {
        let changes = self.table.lock().changes(WRITTEN_MAX);
        let op = |(key, value)| match value {
            Some(value) => Op::PutFact(key, value),
            None => Op::RemoveFact(key),
        };
        changes.into_iter().map(op).collect()
    }

    /// Takes changes back that did not get to the disk.
    pub fn not_written(&self, batch: &Batch) {
        let key = |op: &Op| match op {
            Op::PutFact(key, _) | Op::RemoveFact(key) => Some(key.clone()),
            _ => None,
        };
        self.table.lock().not_written(batch.iter().filter_map(key));
    }
}

fn warn_of_left_out(left_out: usize) {
    if left_out > 0 {
        tracing::warn!(left_out, kept = table::DOMAINS_MAX, "sender domains are too many: SPF of some is not asked");
    }
}

/// Address literals have no record.
fn is_name(domain: &Domain) -> bool {
    !domain.as_str().starts_with('[')
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
