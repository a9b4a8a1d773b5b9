//! The task that looks, again and again: all bindings and domains in all zones, and reverse DNS.
//!
//! Each zone has its rounds, one at the start, then one every `interval` ± `jitter` (longer where its budget asks for
//! that), on its own time: one that answers slowly delays no other. What a look newly saw is asked again after
//! `confirm_after` until it is confirmed or gone. [`Monitor::check_now`] asks at once about one binding, for when a reply
//! blames its address, in the zones that the reply names or else in all — at most once per `confirm_after` and binding, so
//! that a flood of such replies does not become a flood of questions. Never on scrape: metrics read
//! [`Monitor::snapshot`], which is what the last look left.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::clock::{Clock, Mono, Wall};
use crate::config::{Config, EhloName};
use crate::message::BindingName;
use crate::reputation::Evidence;
use crate::reputation::evidence::Listing;

use super::dns::Asker;
pub use super::dns::SetupError;
use super::dnsbl::{Dnsbl, Question, Shared};
use super::fcrdns;
use super::named::named;
use super::reverse::{ReverseState, Seen as SeenReverse};
use super::subject::{Subject, domains};
use super::tell;
use super::timetable::{Timetable, later};
use super::watch::{AnswersSnapshot, Note, ReverseSnapshot, Seen, Snapshot, Watch};

/// Where evidence goes.
pub type Sink = Arc<dyn Fn(Evidence) + Send + Sync>;

/// Where notes go, besides the log.
pub type NoteSink = Arc<dyn Fn(&Note, Wall) + Send + Sync>;

/// Addresses whose reverse DNS is checked at the same time.
const REVERSE_IN_FLIGHT: usize = 16;

/// Questions to lists in flight, over all of them.
const IN_FLIGHT: usize = 256;

/// Longest sleep of the loop: a clock that was set shows soon.
const NAP_MAX: Duration = Duration::from_secs(60);

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
    /// Whom to ask about at once, and in which zones.
    wanted: BTreeMap<BindingName, BTreeSet<usize>>,
    served: BTreeMap<BindingName, Wall>,
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
    snapshot: Arc<Mutex<Snapshot>>,
    wake: Notify,
}

/// What came of one task.
enum Looked {
    /// A zone, and whether it was a round; nothing where the budget had no room.
    Zone(usize, bool, Option<Seen>),
    Reverse(Vec<(BindingName, SeenReverse)>),
}

impl Monitor {
    /// Sets up a resolver per zone and one for reverse DNS, and reads the keys of keyed zones. Asks nothing yet.
    pub fn new(config: &Config, clock: Arc<dyn Clock>, sink: Sink) -> Result<Self, SetupError> {
        let rules = &config.monitor;
        let servers = if rules.servers.is_empty() { &config.dns.servers } else { &rules.servers };
        let gate = Arc::new(Semaphore::new(IN_FLIGHT));
        let shared =
            Shared { servers, second: &rules.second_servers, timeout: rules.timeout, gate, clock: Arc::clone(&clock) };
        let reverse = match rules.fcrdns {
            true => Some(Arc::new(Asker::new("reverse DNS", servers, rules.timeout)?)),
            false => None,
        };
        let targets = targets(config);
        let addresses: Vec<(BindingName, IpAddr)> = targets.iter().map(|t| (t.binding.clone(), t.address)).collect();
        let mut watch = Watch::new(rules, &addresses, clock.now().wall);
        watch.set_domains(domains(config, []));
        let zones: Result<Vec<_>, _> = rules
            .zones
            .iter()
            .enumerate()
            .map(|(index, zone)| Dnsbl::new(zone, &shared, watch.subjects(index).len()).map(Arc::new))
            .collect();
        let state = State {
            watch,
            reverse: targets.iter().map(|t| (t.binding.clone(), ReverseState::default())).collect(),
            names: BTreeMap::new(),
            wanted: BTreeMap::new(),
            served: BTreeMap::new(),
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
            snapshot: Arc::default(),
            wake: Notify::new(),
        };
        monitor.leave_snapshot(&monitor.state.lock());
        Ok(monitor)
    }

    /// Calls `f` with every note, besides writing it to the log.
    pub fn on_note(&self, f: NoteSink) {
        *self.notes.lock() = Some(f);
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

    /// A receiver's `reply` blames the address of `binding`: asks the zones that it names, or all if it names none, soon
    /// and outside the rounds. Where it names just one zone, that counts as an answer of the zone's.
    pub fn check_now(&self, binding: &BindingName, reply: &str) {
        let rules = &self.config.monitor;
        let now = self.clock.now().wall;
        if self.targets.iter().all(|t| t.binding != *binding) {
            return;
        }
        let said = named(reply, &rules.zones);
        let mut state = self.state.lock();
        if let Some(zone) = said.exactly {
            state.watch.named(zone, binding, now);
        }
        if state.served.get(binding).is_some_and(|&at| now.since(at) < rules.confirm_after) {
            return;
        }
        state.served.insert(binding.clone(), now);
        let zones = if said.meant.is_empty() { (0..self.zones.len()).collect() } else { said.meant };
        state.wanted.entry(binding.clone()).or_default().extend(zones);
        self.wake.notify_one();
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
                    Task::Zone(zone, questions, whole) => running.spawn(self.look_at(zone, questions, whole)).id(),
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
                    work.done(id, self.clock.now().mono);
                    // A look that failed said nothing.
                    self.conclude(done.ok().map(|(_, looked)| looked).into_iter().collect());
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
            running.spawn(self.look_at(zone, questions, whole));
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
        let state = self.state.lock();
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

    fn look_at(
        &self,
        zone: usize,
        questions: Vec<Question>,
        whole: bool,
    ) -> impl Future<Output = Looked> + Send + 'static {
        let asked = self.zones.get(zone).map(Arc::clone);
        let sentinels = match asked.as_ref().map(|zone| zone.kind()) {
            Some(crate::config::ZoneKind::Address) => self.config.monitor.sentinels.clone(),
            _ => Vec::new(),
        };
        async move {
            let Some(asked) = asked else { return Looked::Zone(zone, whole, None) };
            Looked::Zone(zone, whole, asked.look(questions, &sentinels, &random_label(), whole).await)
        }
    }

    fn look_at_reverse(&self, names: &[BindingName]) -> impl Future<Output = Looked> + Send + 'static {
        let targets = self.targets.iter().filter(|target| names.contains(&target.binding));
        let targets: Vec<(BindingName, IpAddr)> = targets.map(|t| (t.binding.clone(), t.address)).collect();
        let asker = self.reverse.as_ref().map(Arc::clone);
        async move {
            let mut seen = Vec::new();
            let Some(asker) = asker else { return Looked::Reverse(seen) };
            for chunk in targets.chunks(REVERSE_IN_FLIGHT) {
                let mut checks = JoinSet::new();
                for (binding, address) in chunk.iter().cloned() {
                    let asker = Arc::clone(&asker);
                    checks.spawn(async move { (binding, fcrdns::check(&asker, address).await) });
                }
                while let Some(check) = checks.join_next().await {
                    seen.extend(check.ok());
                }
            }
            Looked::Reverse(seen)
        }
    }

    fn conclude(&self, done: Vec<Looked>) {
        let now = self.clock.now().wall;
        let (news, notes) = {
            let mut state = self.state.lock();
            let mut news = Vec::new();
            for looked in done {
                match looked {
                    Looked::Zone(zone, whole, Some(seen)) => {
                        state.watch.saw(zone, &seen, now);
                        state.starved.remove(&zone);
                        state.count_round(whole, now);
                    }
                    Looked::Zone(zone, _, None) => {
                        let asked_for_nothing = state.watch.subjects(zone).is_empty();
                        if !asked_for_nothing && state.starved.insert(zone) {
                            state.watch.out_of_budget(zone);
                        }
                    }
                    Looked::Reverse(seen) => {
                        state.count_round(!seen.is_empty(), now);
                        news.extend(self.conclude_reverse(&mut state, seen, now));
                    }
                }
            }
            news.extend(state.watch.evidence(now));
            self.leave_snapshot(&state);
            (news, state.watch.take_notes())
        };
        // Outside the lock: the sinks may ask for a snapshot.
        let hearing = self.notes.lock().clone();
        for note in &notes {
            tell::log(note);
            if let Some(hearing) = &hearing {
                hearing(note, now);
            }
        }
        news.into_iter().for_each(|evidence| (self.sink)(evidence));
    }

    fn conclude_reverse(&self, state: &mut State, seen: Vec<(BindingName, SeenReverse)>, now: Wall) -> Vec<Evidence> {
        let rules = &self.config.monitor;
        let mut news = Vec::new();
        let mut has_new_names = false;
        for (binding, seen) in seen {
            if let SeenReverse::Confirmed(names) = &seen {
                has_new_names |= state.names.get(&binding) != Some(names);
                state.names.insert(binding.clone(), names.clone());
            }
            let ehlo = self.targets.iter().find(|t| t.binding == binding).and_then(|t| t.ehlo.as_deref());
            let reverse = state.reverse.entry(binding.clone()).or_default();
            let agreed = reverse.ehlo_agrees;
            let proven = reverse.seen(&seen, ehlo, rules.confirmations, rules.confirm_after, now);
            if reverse.ehlo_agrees == Some(false) && agreed != Some(false) {
                warn!(%binding, ehlo, detail = %reverse.detail, "EHLO name is not the PTR name");
            }
            if let Some(confirmed) = proven {
                news.push(Evidence::ReverseDns { binding, confirmed, detail: reverse.detail.clone() });
            }
        }
        if has_new_names {
            let names = state.names.iter().map(|(binding, names)| (binding, names.as_slice()));
            let domains = domains(&self.config, names);
            state.watch.set_domains(domains);
        }
        news.sort_by(|a, b| match (a, b) {
            (Evidence::ReverseDns { binding: a, .. }, Evidence::ReverseDns { binding: b, .. }) => a.cmp(b),
            _ => std::cmp::Ordering::Equal,
        });
        news
    }

    fn leave_snapshot(&self, state: &State) {
        let reverse = state.reverse.iter().filter(|_| self.config.monitor.fcrdns);
        let reverse = reverse.map(|(binding, reverse)| ReverseSnapshot {
            binding: binding.clone(),
            confirmed: reverse.confirmed,
            ehlo_agrees: reverse.ehlo_agrees,
            detail: reverse.detail.clone(),
            last_conclusive: reverse.last_conclusive,
        });
        let mut snapshot = Snapshot {
            reverse: reverse.collect(),
            rounds: state.rounds,
            last_round: state.last_round,
            ..state.watch.snapshot()
        };
        for (shown, zone) in snapshot.zones.iter_mut().zip(&self.zones) {
            (shown.budget_left, shown.budget_denied) = zone.budget();
            let answers = zone.answers().into_iter().map(|(outcome, count)| AnswersSnapshot { outcome, count });
            shown.answers = answers.collect();
        }
        *self.snapshot.lock() = snapshot;
    }
}

fn targets(config: &Config) -> Vec<Target> {
    let target = |binding: &Arc<crate::config::Binding>| Target {
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

fn pending_reverse(state: &State) -> Vec<BindingName> {
    state.reverse.iter().filter(|(_, r)| r.is_pending()).map(|(name, _)| name.clone()).collect()
}

impl State {
    fn count_round(&mut self, whole: bool, now: Wall) {
        if whole {
            self.rounds += 1;
            self.last_round = Some(now);
        }
    }
}

/// What is to be done by the loop.
enum Task {
    Zone(usize, Vec<Question>, bool),
    Reverse(Vec<BindingName>),
}

/// What is due and what is under way; one row per zone, and one for reverse DNS.
struct Work {
    table: Timetable,
    random: SmallRng,
    /// Rounds that are due.
    rounds: BTreeSet<usize>,
    busy: BTreeMap<usize, tokio::task::Id>,
    looked: Vec<Mono>,
    confirm_after: Duration,
}

impl Work {
    fn new(monitor: &Monitor) -> Self {
        let (rules, now) = (&monitor.config.monitor, monitor.clock.now().mono);
        let subjects = |zone| monitor.state.lock().watch.subjects(zone).len() + rules.sentinels.len();
        let zones = rules.zones.iter().enumerate().map(|(index, zone)| zone.round_every(subjects(index)));
        let every: Vec<Duration> = zones.chain([rules.interval]).collect();
        Self {
            looked: vec![now; every.len()],
            table: Timetable::new(every, rules.jitter, now),
            random: random(),
            rounds: BTreeSet::new(),
            busy: BTreeMap::new(),
            confirm_after: rules.confirm_after,
        }
    }

    /// Whom to ask now, by row. A row that is under way waits until it is done.
    fn due(&mut self, monitor: &Monitor, now: Mono) -> Vec<(usize, Task)> {
        self.rounds.extend(self.table.take_due(&mut self.random, now));
        let reverse = monitor.zones.len();
        let mut tasks = Vec::new();
        for row in (0..=reverse).filter(|row| !self.busy.contains_key(row)) {
            let is_round = self.rounds.remove(&row);
            let task = if row == reverse {
                let names = match is_round {
                    true => monitor.targets.iter().map(|t| t.binding.clone()).collect(),
                    false if self.may_confirm(row, now) => pending_reverse(&monitor.state.lock()),
                    false => Vec::new(),
                };
                let asks = monitor.reverse.is_some() && !names.is_empty();
                asks.then_some(Task::Reverse(names))
            } else if is_round {
                // The round asks about everybody.
                monitor.state.lock().wanted.values_mut().for_each(|zones| zones.retain(|zone| *zone != row));
                Some(Task::Zone(row, monitor.questions(row, None), true))
            } else {
                let subjects = self.urgent(monitor, row, now);
                let questions = monitor.questions(row, Some(&subjects));
                (!questions.is_empty()).then_some(Task::Zone(row, questions, false))
            };
            tasks.extend(task.map(|task| (row, task)));
        }
        tasks
    }

    /// Whom a zone is asked about outside its rounds.
    fn urgent(&self, monitor: &Monitor, zone: usize, now: Mono) -> Vec<Subject> {
        let mut state = monitor.state.lock();
        let mut subjects = BTreeSet::new();
        for (binding, zones) in &mut state.wanted {
            if zones.remove(&zone) {
                subjects.insert(Subject::Binding(binding.clone()));
            }
        }
        state.wanted.retain(|_, zones| !zones.is_empty());
        // Of whom the zone is not asked, it is not asked now.
        let known = state.watch.subjects(zone);
        subjects.retain(|subject| known.contains(subject));
        if self.may_confirm(zone, now) {
            subjects.extend(state.watch.pending().into_iter().filter(|(of, _)| *of == zone).flat_map(|(_, all)| all));
        }
        subjects.into_iter().collect()
    }

    fn may_confirm(&self, row: usize, now: Mono) -> bool {
        self.looked.get(row).is_some_and(|&at| now >= later(at, self.confirm_after))
    }

    fn done(&mut self, id: tokio::task::Id, now: Mono) {
        let rows: Vec<usize> = self.busy.extract_if(.., |_, of| *of == id).map(|(row, _)| row).collect();
        for row in rows {
            if let Some(at) = self.looked.get_mut(row) {
                *at = now;
            }
        }
    }

    /// How long until something is due.
    fn nap(&self, monitor: &Monitor, now: Mono) -> Duration {
        let state = monitor.state.lock();
        let mut waiting: Vec<usize> = state.watch.pending().into_iter().map(|(zone, _)| zone).collect();
        if state.reverse.values().any(ReverseState::is_pending) {
            waiting.push(monitor.zones.len());
        }
        let idle = waiting.into_iter().filter(|row| !self.busy.contains_key(row));
        let confirmations = idle.filter_map(|row| self.looked.get(row).map(|&at| later(at, self.confirm_after)));
        let next = confirmations.chain(self.table.next()).min();
        let nap = next.map_or(NAP_MAX, |next| next.since(now)).min(NAP_MAX);
        // At least a moment passes, whatever the configuration says.
        nap.max(Duration::from_millis(1))
    }
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
fn random_label() -> String {
    format!("remuda-{:016x}", random().random::<u64>())
}

#[cfg(test)]
#[path = "rounds_tests.rs"]
mod tests;
