//! The task that looks, again and again: all bindings and domains in all zones, and reverse DNS.
//!
//! Each zone has its rounds, one at the start, then one every `interval` ± `jitter` (longer where its budget asks for
//! that), on its own time: one that answers slowly delays no other. What a look newly saw is asked again after
//! `confirm_after` until it is confirmed or gone. [`Monitor::check_now`] asks soon about one binding, for when a reply
//! blames its address, in the zones that the reply names or else in all, and [`Monitor::check_domains`] about the domains
//! behind a message whose refusal names a list of domains; [`urgent`](super::urgent) sees to it that a flood of such
//! replies does not become a flood of questions. Never on scrape: metrics read [`Monitor::snapshot`], which is what the
//! last look left.

mod blame;
mod conclude;
#[cfg(test)]
mod tests;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tracing::debug;

use crate::clock::{Clock, Wall};
use crate::config::{self, Config, EhloName, ZoneKind};
use crate::message::BindingName;
use crate::reputation::Evidence;
use crate::reputation::evidence::Listing;

pub use super::dns::SetupError;
use super::dns::{Asker, Liars};
use super::dnsbl::{Dnsbl, Look, Question, Shared};
use super::fcrdns;
use super::identity::names::{Checked, Observed};
use super::places::IN_FLIGHT;
use super::reverse::ReverseState;
use super::subject::{Subject, domains};
use super::watch::{Note, Snapshot, Watch};
use blame::Inbox;
use work::{Task, Work, pending_reverse};

/// Where evidence goes.
pub type Sink = Arc<dyn Fn(Evidence) + Send + Sync>;

/// Where notes go, besides the log.
pub type NoteSink = Arc<dyn Fn(&Note, Wall) + Send + Sync>;

/// Where news of a binding's names goes: a check whose outcome is new.
pub type NamesSink = Arc<dyn Fn(&BindingName, &Checked) + Send + Sync>;

/// Addresses whose reverse DNS is checked at the same time.
const REVERSE_IN_FLIGHT: usize = 16;

struct Target {
    binding: BindingName,
    address: IpAddr,
    ehlo: Option<String>,
}

struct State {
    watch: Watch,
    reverse: BTreeMap<BindingName, ReverseState>,
    /// PTR names that lead back to the address.
    names: BTreeMap<BindingName, Vec<String>>,
    /// There are other domains to ask about than before.
    has_new_domains: bool,
    /// Zones whose last questions the budget refused.
    starved: BTreeSet<usize>,
    rounds: u64,
    last_round: Option<Wall>,
}

/// Watches the public addresses of all bindings, and their names.
pub struct Monitor {
    config: Config,
    targets: Vec<Target>,
    zones: Vec<Arc<Dnsbl>>,
    reverse: Option<Arc<Asker>>,
    clock: Arc<dyn Clock>,
    sink: Sink,
    notes: Mutex<Option<NoteSink>>,
    state: Mutex<State>,
    /// Held for a moment only, and never while waiting for `state`.
    inbox: Mutex<Inbox>,
    snapshot: Arc<Mutex<Snapshot>>,
    wake: Notify,
    names: OnceLock<NamesSink>,
    liars: Liars,
}

/// What came of one task.
enum Looked {
    /// A zone, and whether it was a round.
    Zone(usize, bool, Look),
    Reverse(Vec<(BindingName, Observed)>),
}

impl Monitor {
    /// Sets up a resolver per zone and one for reverse DNS, and reads the keys of keyed zones. Asks nothing yet.
    pub fn new(config: &Config, clock: Arc<dyn Clock>, sink: Sink) -> Result<Self, SetupError> {
        let rules = &config.monitor;
        let servers = if rules.servers.is_empty() { &config.dns.servers } else { &rules.servers };
        let gate = Arc::new(Semaphore::new(IN_FLIGHT));
        let (second, liars) = (&rules.second_servers, Liars::default());
        let shared =
            Shared { servers, second, timeout: rules.timeout, gate, clock: Arc::clone(&clock), liars: liars.clone() };
        let reverse = match rules.fcrdns {
            true => Some(Arc::new(Asker::new("reverse DNS", servers, rules.timeout, &clock)?.heeding(&liars))),
            false => None,
        };
        let targets = targets(config);
        let addresses: Vec<(BindingName, IpAddr)> = targets.iter().map(|t| (t.binding.clone(), t.address)).collect();
        let mut watch = Watch::new(rules, &addresses, clock.now().wall);
        watch.set_domains(domains(config, []));
        let zones: Result<Vec<_>, SetupError> = rules
            .zones
            .iter()
            .enumerate()
            .map(|(index, zone)| {
                let dnsbl = Dnsbl::new(zone, &shared, all_subjects(rules, &watch, index))?;
                Ok(Arc::new(dnsbl.watched(rules.zones.len(), rules.confirm_after)))
            })
            .collect();
        let state = State {
            watch,
            reverse: targets.iter().map(|t| (t.binding.clone(), ReverseState::default())).collect(),
            names: BTreeMap::new(),
            has_new_domains: false,
            starved: BTreeSet::new(),
            rounds: 0,
            last_round: None,
        };
        let monitor = Self {
            config: config.clone(),
            targets,
            zones: zones?,
            reverse,
            clock,
            sink,
            notes: Mutex::default(),
            state: Mutex::new(state),
            inbox: Mutex::default(),
            snapshot: Arc::default(),
            wake: Notify::new(),
            names: OnceLock::new(),
            liars,
        };
        monitor.leave_snapshot(&monitor.state.lock());
        Ok(monitor)
    }

    /// Calls `f` with every note, besides writing it to the log.
    pub fn on_note(&self, f: NoteSink) {
        *self.notes.lock() = Some(f);
    }

    /// Who hears of checks of names whose outcome is new, besides the log. Set it once, before the first round.
    pub fn on_names(&self, sink: NamesSink) {
        // Whoever comes second hears nothing; there is one composition root.
        let _ = self.names.set(sink);
    }

    /// The resolver of [`Config::monitor`] is proven to lie, and why, or not any more. While it is, no zone counts that is
    /// asked through it, nothing is listed or cleared there, and no name is judged.
    pub fn distrust(&self, why: Option<&'static str>) {
        let mut state = self.state.lock();
        state.watch.distrust(why);
        self.leave_snapshot(&state);
    }

    /// Why the resolver of [`Config::monitor`] is not to be believed, where it is not.
    pub fn distrusted(&self) -> Option<&'static str> {
        self.state.lock().watch.distrusted()
    }

    /// These of the servers of [`Config::monitor`] (`servers`, `second_servers`) are proven to lie, and no others. They are
    /// not asked while another can be; where all second ones lie, listings are confirmed as if there were none.
    pub fn disbelieve(&self, liars: BTreeSet<SocketAddr>) {
        let second = &self.config.monitor.second_servers;
        let none_left = !second.is_empty() && second.iter().all(|server| liars.contains(server));
        self.liars.set(liars);
        self.state.lock().watch.without_second(none_left);
    }

    /// Starts from listings that were confirmed before the restart
    /// ([`Reputation::listings`](crate::reputation::Reputation::listings)). Call it for each binding before the first
    /// round; otherwise the first zone that answers clears what another, silent one had found.
    pub fn restore(&self, binding: &BindingName, listed: &[Listing]) {
        let mut state = self.state.lock();
        state.watch.restore(binding, listed, self.clock.now().wall);
        self.leave_snapshot(&state);
    }

    /// What is known now; costs a copy.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.lock().clone()
    }

    /// Looks until `shutdown` is ready. What is in flight then is dropped: it decided nothing yet.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        tokio::select! {
            () = self.look() => {}
            () = shutdown => {}
        }
    }

    async fn look(&self) {
        // Listings that were remembered of zones that are gone end now.
        self.conclude(Vec::new());
        let mut work = Work::new(self);
        let mut running: JoinSet<Looked> = JoinSet::new();
        loop {
            let now = self.clock.now().mono;
            for (row, task) in work.due(self, now) {
                let id = match task {
                    Task::Round(zone, all) => running.spawn(self.look_at(zone, (all, Vec::new()), true)).id(),
                    Task::Urgent(zone, questions) => running.spawn(self.look_at(zone, questions, false)).id(),
                    Task::Reverse(names) => running.spawn(self.look_at_reverse(&names)).id(),
                };
                work.busy.insert(row, id);
            }
            let nap = work.nap(self, self.clock.now().mono);
            tokio::select! {
                () = tokio::time::sleep(nap) => {}
                () = self.wake.notified() => {}
                Some(done) = running.join_next_with_id() => {
                    let id = done.as_ref().map_or_else(tokio::task::JoinError::id, |(id, _)| *id);
                    let now = self.clock.now().mono;
                    let row = work.done(id, now);
                    // A look that failed said nothing.
                    let looked = done.ok().map(|(_, looked)| looked);
                    let look = if let Some(Looked::Zone(.., look)) = &looked { Some(look.without_seen()) } else { None };
                    self.conclude(looked.into_iter().collect());
                    if let Some(row) = row {
                        work.concluded(self, row, look, now);
                    }
                    if std::mem::take(&mut self.state.lock().has_new_domains) {
                        work.resize(self);
                    }
                }
            }
        }
    }

    /// One whole round over all bindings and zones.
    pub async fn round(&self) {
        let zones = (0..self.zones.len()).map(|zone| (zone, self.questions(zone, None))).collect();
        let all = self.targets.iter().map(|t| t.binding.clone()).collect();
        self.all_at_once(zones, all, true).await;
        debug!(bindings = self.targets.len(), zones = self.zones.len(), "monitor round done");
    }

    /// Asks again about what waits for its confirmation.
    pub async fn confirm(&self) {
        let (zones, reverse) = {
            let state = self.state.lock();
            (state.watch.pending(), pending_reverse(&state))
        };
        let zones = zones.into_iter().map(|(zone, subjects)| (zone, self.questions(zone, Some(&subjects)))).collect();
        self.all_at_once(zones, reverse, false).await;
    }

    async fn all_at_once(&self, zones: Vec<(usize, Vec<Question>)>, reverse: Vec<BindingName>, whole: bool) {
        let mut running = JoinSet::new();
        for (zone, questions) in zones {
            running.spawn(self.look_at(zone, (questions, Vec::new()), whole));
        }
        running.spawn(self.look_at_reverse(&reverse));
        let mut done = Vec::new();
        while let Some(looked) = running.join_next().await {
            done.extend(looked.ok());
        }
        // In the order of the configuration, so that log and evidence do not depend on who answered first.
        done.sort_by_key(|looked| if let Looked::Zone(zone, ..) = looked { *zone } else { usize::MAX });
        self.conclude(done);
    }

    /// What to ask a zone: about these, or about everybody.
    fn questions(&self, zone: usize, only: Option<&[Subject]>) -> Vec<Question> {
        let mut state = self.state.lock();
        self.hear_named(&mut state);
        let all = only.map_or_else(|| state.watch.subjects(zone), <[Subject]>::to_vec);
        let of = |subject: Subject| {
            let (is_new, wants_text) = state.watch.would_be_new(zone, &subject);
            let address = match &subject {
                Subject::Binding(name) => {
                    Some(self.targets.iter().find(|t| t.binding == *name)?.address.to_canonical())
                }
                Subject::Domain(_) => None,
            };
            Some(Question { subject, address, is_new, wants_text })
        };
        all.into_iter().filter_map(of).collect()
    }

    /// How many a round of the zone asks about.
    fn subjects_of_a_round(&self, zone: usize) -> usize {
        all_subjects(&self.config.monitor, &self.state.lock().watch, zone)
    }

    /// The time between two rounds of the zone.
    fn round_every(&self, zone: usize) -> Duration {
        let rules = &self.config.monitor;
        let subjects = self.subjects_of_a_round(zone);
        rules.zones.get(zone).map_or(rules.interval, |zone| zone.round_every(subjects))
    }

    fn look_at(
        &self,
        zone: usize,
        questions: (Vec<Question>, Vec<Question>),
        whole: bool,
    ) -> impl Future<Output = Looked> + Send + 'static {
        let asked = self.zones.get(zone).map(Arc::clone);
        let sentinels = match asked.as_ref().map(|zone| zone.kind()) {
            Some(ZoneKind::Address) => self.config.monitor.sentinels.clone(),
            _ => Vec::new(),
        };
        async move {
            let Some(asked) = asked else { return Looked::Zone(zone, whole, Look::default()) };
            Looked::Zone(zone, whole, asked.look_for(questions, &sentinels, &random_label(), whole).await)
        }
    }

    fn look_at_reverse(&self, names: &[BindingName]) -> impl Future<Output = Looked> + Send + 'static {
        let targets = self.targets.iter().filter(|target| names.contains(&target.binding));
        let targets: Vec<(BindingName, IpAddr, Option<String>)> =
            targets.map(|t| (t.binding.clone(), t.address, t.ehlo.clone())).collect();
        let asker = self.reverse.as_ref().map(Arc::clone);
        async move {
            let mut seen = Vec::new();
            let Some(asker) = asker else { return Looked::Reverse(seen) };
            for chunk in targets.chunks(REVERSE_IN_FLIGHT) {
                let mut checks = JoinSet::new();
                for (binding, address, ehlo) in chunk.iter().cloned() {
                    let asker = Arc::clone(&asker);
                    checks.spawn(async move { (binding, fcrdns::check(&asker, address, ehlo.as_deref()).await) });
                }
                while let Some(check) = checks.join_next().await {
                    seen.extend(check.ok());
                }
            }
            Looked::Reverse(seen)
        }
    }
}

/// What a round of the zone asks about, sentinels included.
fn all_subjects(rules: &config::Monitor, watch: &Watch, zone: usize) -> usize {
    let guards = match rules.zones.get(zone).map(|zone| zone.kind) {
        Some(ZoneKind::Address) => rules.sentinels.len(),
        _ => 0,
    };
    watch.subjects(zone).len() + guards
}

fn targets(config: &Config) -> Vec<Target> {
    let target = |binding: &Arc<config::Binding>| Target {
        binding: binding.name.clone(),
        address: binding.public_address,
        ehlo: match &binding.ehlo_hostname {
            EhloName::Literal(name) => Some(name.as_str().to_owned()),
            EhloName::Hostname => Some(config.server.hostname.as_str().to_owned()),
            EhloName::Message => None,
        },
    };
    config.bindings.iter().map(target).collect()
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // By hand: the derived form would print the zones' DNS names.
        f.debug_struct("Monitor").field("zones", &self.zones.len()).field("bindings", &self.targets.len()).finish()
    }
}

/// A random source seeded by the system, through the keys that the standard library takes for its hash maps.
fn random() -> SmallRng {
    SmallRng::seed_from_u64(std::collections::hash_map::RandomState::new().hash_one(0u8))
}

/// A label that no list can hold.
pub(super) fn random_label() -> String {
    format!("remuda-{:016x}", random().random::<u64>())
}
