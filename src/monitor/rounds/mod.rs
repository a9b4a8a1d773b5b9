//! The task that looks, again and again: all bindings and domains in all zones, and reverse DNS.
//!
//! Each zone has its rounds, one at the start, then one every `interval` ± `jitter` (longer where its budget asks for
//! that), on its own time: one that answers slowly delays no other. What a look newly saw is asked again after
//! `confirm_after` until it is confirmed or gone. [`Monitor::check_now`] asks soon about one binding, for when a reply
//! blames its address, in the zones that the reply names or else in all, and [`Monitor::check_domains`] about the domains
//! behind a message whose refusal names a list of domains; [`urgent`](super::urgent) sees to it that a flood of such
//! replies does not become a flood of questions. Never on scrape: metrics read [`Monitor::snapshot`], which is what the
//! last look left. The configuration may change meanwhile: `follow`.

mod blame;
mod conclude;
mod follow;
#[cfg(test)]
mod follow_tests;
mod setup;
#[cfg(test)]
mod tests;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tracing::debug;

use crate::clock::{Clock, Wall};
use crate::config::{Addresses, Config, ZoneKind};
use crate::message::{BindingName, ZoneName};
use crate::reputation::Evidence;
use crate::reputation::evidence::Listing;

use super::dns::Liars;
pub use super::dns::SetupError;
use super::dnsbl::{Look, Question};
use super::fcrdns;
use super::identity::names::{Checked, Observed};
use super::places::IN_FLIGHT;
use super::reverse::ReverseState;
use super::subject::{Subject, domains};
use super::watch::{Note, Snapshot, Watch};
use blame::Inbox;
pub use follow::Prepared;
use setup::{Common, Setup};
use work::{Task, Work, pending_reverse};

/// Where evidence goes.
pub type Sink = Arc<dyn Fn(Evidence) + Send + Sync>;

/// Where notes go, besides the log.
pub type NoteSink = Arc<dyn Fn(&Note, Wall) + Send + Sync>;

/// Where news of a binding's names goes: a check whose outcome is new.
pub type NamesSink = Arc<dyn Fn(&BindingName, &Checked) + Send + Sync>;

/// Addresses whose reverse DNS is checked at the same time.
const REVERSE_IN_FLIGHT: usize = 16;

struct State {
    watch: Watch,
    reverse: BTreeMap<BindingName, ReverseState>,
    /// PTR names that lead back to the address.
    names: BTreeMap<BindingName, Vec<String>>,
    /// There are other domains to ask about than before.
    has_new_domains: bool,
    /// Zones whose last questions the budget refused.
    starved: BTreeSet<ZoneName>,
    /// Nothing is asked, for the name servers are others than those that were tested.
    waits_for_test: bool,
    /// Addresses of bindings that were watched before.
    past: BTreeMap<BindingName, Addresses>,
    rounds: u64,
    last_round: Option<Wall>,
}

/// Watches the public addresses of all bindings, and their names.
pub struct Monitor {
    common: Common,
    /// Changed with `work` and `state` locked, in that order.
    current: RwLock<Arc<Setup>>,
    sink: Sink,
    notes: Mutex<Option<NoteSink>>,
    /// Of the loop, while there is one; it holds it for each of its steps.
    work: Mutex<Option<Work>>,
    state: Mutex<State>,
    /// Held for a moment only, and never while waiting for `state`.
    inbox: Mutex<Inbox>,
    snapshot: Arc<Mutex<Snapshot>>,
    wake: Notify,
    names: OnceLock<NamesSink>,
}

/// What came of one task, and by which setup it had asked.
struct Looked {
    setup: Arc<Setup>,
    what: What,
}

enum What {
    /// A zone, and whether it was a round.
    Zone(usize, bool, Look),
    /// Of each address of these bindings.
    Reverse(Vec<(BindingName, Vec<(IpAddr, Observed)>)>),
}

impl Monitor {
    /// Sets up a resolver per zone and one for reverse DNS, and reads the keys of keyed zones. Asks nothing yet.
    ///
    /// # Errors
    /// The key of a list cannot be read, or a resolver not be set up.
    pub fn new(config: &Config, clock: Arc<dyn Clock>, sink: Sink) -> Result<Self, SetupError> {
        let common = Common { clock, gate: Arc::new(Semaphore::new(IN_FLIGHT)), liars: Liars::default() };
        let setup = Setup::new(config, &common, None)?;
        let mut watch = Watch::new(&config.monitor, &setup.addresses(), common.clock.now().wall);
        watch.set_domains(domains(config, []));
        let state = State {
            watch,
            reverse: setup.targets.iter().map(|t| (t.binding.clone(), ReverseState::default())).collect(),
            names: BTreeMap::new(),
            has_new_domains: false,
            starved: BTreeSet::new(),
            waits_for_test: false,
            past: BTreeMap::new(),
            rounds: 0,
            last_round: None,
        };
        let monitor = Self {
            common,
            current: RwLock::new(Arc::new(setup)),
            sink,
            notes: Mutex::default(),
            work: Mutex::default(),
            state: Mutex::new(state),
            inbox: Mutex::default(),
            snapshot: Arc::default(),
            wake: Notify::new(),
            names: OnceLock::new(),
        };
        monitor.leave_snapshot(&monitor.state.lock());
        Ok(monitor)
    }

    /// What is in force.
    fn setup(&self) -> Arc<Setup> {
        Arc::clone(&self.current.read())
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
        let setup = self.setup();
        let second = &setup.config.monitor.second_servers;
        let none_left = !second.is_empty() && second.iter().all(|server| liars.contains(server));
        self.common.liars.set(liars);
        self.state.lock().watch.without_second(none_left);
    }

    /// Starts from listings that were confirmed before the restart, or before the binding went and came back
    /// ([`Reputation::listings`](crate::reputation::Reputation::listings)). Call it for each binding before the first
    /// round; otherwise the first zone that answers clears what another, silent one had found.
    pub fn restore(&self, binding: &BindingName, listed: &[Listing]) {
        let mut state = self.state.lock();
        state.restore(&self.setup(), binding, listed, self.common.clock.now());
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
        *self.work.lock() = Some(Work::new(self));
        let mut running: JoinSet<Looked> = JoinSet::new();
        loop {
            let nap = self.begin_what_is_due(&mut running);
            tokio::select! {
                () = tokio::time::sleep(nap) => {}
                () = self.wake.notified() => {}
                Some(done) = running.join_next_with_id() => self.take_in(done),
            }
        }
    }

    /// Returns how long nothing is due.
    fn begin_what_is_due(&self, running: &mut JoinSet<Looked>) -> Duration {
        let mut work = self.work.lock();
        let Some(work) = work.as_mut() else { return Duration::ZERO };
        let setup = self.setup();
        for (row, task) in work.due(self, self.common.clock.now().mono) {
            let id = match task {
                Task::Round(zone, all) => running.spawn(self.look_at(&setup, zone, (all, Vec::new()), true)).id(),
                Task::Urgent(zone, questions) => running.spawn(self.look_at(&setup, zone, questions, false)).id(),
                Task::Reverse(names) => running.spawn(self.look_at_reverse(&setup, &names)).id(),
            };
            work.busy.insert(row, id);
        }
        work.nap(self, self.common.clock.now().mono)
    }

    fn take_in(&self, done: Result<(tokio::task::Id, Looked), tokio::task::JoinError>) {
        let mut work = self.work.lock();
        let Some(work) = work.as_mut() else { return };
        let id = done.as_ref().map_or_else(tokio::task::JoinError::id, |(id, _)| *id);
        let now = self.common.clock.now().mono;
        let row = work.done(id, now);
        // A look that failed said nothing.
        let looked = done.ok().map(|(_, looked)| looked);
        let look = match &looked {
            Some(Looked { what: What::Zone(.., look), .. }) => Some(look.without_seen()),
            _ => None,
        };
        self.conclude(looked.into_iter().collect());
        if let Some(row) = row {
            work.concluded(self, row, look, now);
        }
        if std::mem::take(&mut self.state.lock().has_new_domains) {
            work.resize(self);
        }
    }

    /// One whole round over all bindings and zones.
    pub async fn round(&self) {
        let setup = self.setup();
        let zones = (0..setup.zones.len()).map(|zone| (zone, self.questions(zone, None))).collect();
        let all = setup.targets.iter().map(|t| t.binding.clone()).collect();
        self.all_at_once(zones, all, true).await;
        debug!(bindings = setup.targets.len(), zones = setup.zones.len(), "monitor round done");
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
        let (setup, mut running) = (self.setup(), JoinSet::new());
        for (zone, questions) in zones {
            running.spawn(self.look_at(&setup, zone, (questions, Vec::new()), whole));
        }
        running.spawn(self.look_at_reverse(&setup, &reverse));
        let mut done = Vec::new();
        while let Some(looked) = running.join_next().await {
            done.extend(looked.ok());
        }
        // In the order of the configuration, so that log and evidence do not depend on who answered first.
        done.sort_by_key(|looked: &Looked| if let What::Zone(zone, ..) = looked.what { zone } else { usize::MAX });
        self.conclude(done);
    }

    /// What to ask a zone: about these, or about everybody.
    fn questions(&self, zone: usize, only: Option<&[Subject]>) -> Vec<Question> {
        let (mut state, setup) = (self.state.lock(), self.setup());
        self.hear_named(&mut state);
        let all = only.map_or_else(|| state.watch.subjects(zone), <[Subject]>::to_vec);
        let of = |subject: Subject| {
            let (is_new, wants_text) = state.watch.would_be_new(zone, &subject);
            let address = match &subject {
                Subject::Binding(_) | Subject::Second(..) => Some(setup.address(&subject)?),
                Subject::Domain(_) => None,
            };
            Some(Question { subject, address, is_new, wants_text })
        };
        // Who is gone may still be wanted.
        all.into_iter().filter(|subject| state.watch.is_asked(zone, subject)).filter_map(of).collect()
    }

    /// The time between two rounds of the zone.
    fn round_every(&self, zone: usize) -> Duration {
        self.setup().round_every(&self.state.lock().watch, zone)
    }

    fn look_at(
        &self,
        setup: &Arc<Setup>,
        zone: usize,
        questions: (Vec<Question>, Vec<Question>),
        whole: bool,
    ) -> impl Future<Output = Looked> + Send + 'static {
        let setup = Arc::clone(setup);
        async move {
            let look = match setup.zones.get(zone) {
                Some(asked) => {
                    let sentinels: &[IpAddr] = match asked.kind() {
                        ZoneKind::Address => &setup.config.monitor.sentinels,
                        ZoneKind::Domain => &[],
                    };
                    asked.look_for(questions, sentinels, &random_label(), whole).await
                }
                None => Look::default(),
            };
            Looked { what: What::Zone(zone, whole, look), setup }
        }
    }

    fn look_at_reverse(
        &self,
        setup: &Arc<Setup>,
        names: &[BindingName],
    ) -> impl Future<Output = Looked> + Send + 'static {
        let targets = setup.targets.iter().filter(|target| names.contains(&target.binding));
        let targets: Vec<(BindingName, Addresses, Option<String>)> =
            targets.map(|t| (t.binding.clone(), t.publics, t.ehlo.clone())).collect();
        let setup = Arc::clone(setup);
        async move {
            let mut seen = Vec::new();
            for chunk in targets.chunks(REVERSE_IN_FLIGHT) {
                let Some(asker) = &setup.reverse else { break };
                let mut checks = JoinSet::new();
                for (binding, publics, ehlo) in chunk.iter().cloned() {
                    let asker = Arc::clone(asker);
                    checks.spawn(async move {
                        let mut seen = Vec::new();
                        for address in publics.iter() {
                            seen.push((address, fcrdns::check(&asker, address, ehlo.as_deref()).await));
                        }
                        (binding, seen)
                    });
                }
                while let Some(check) = checks.join_next().await {
                    seen.extend(check.ok());
                }
            }
            Looked { what: What::Reverse(seen), setup }
        }
    }
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // By hand: the derived form would print the zones' DNS names.
        let setup = self.setup();
        f.debug_struct("Monitor").field("zones", &setup.zones.len()).field("bindings", &setup.targets.len()).finish()
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
