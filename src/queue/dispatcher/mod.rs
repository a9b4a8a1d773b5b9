//! Carries out the core's actions: the one place where the loop closes.
//!
//! One task asks [`Core::next`] and starts what it says; each attempt runs as a task of its own ([`attempt`]). An attempt's
//! news enters the core twice: its evidence as soon as the replies are known (the next decision must already know), its
//! settlement once the outcome is on disk ([`record`]) — so the connection slot and the cap reservation stay taken until
//! a crash can no longer bring the message back.
//!
//! What must reach the disk in the order of decisions (grants of caps, healths) is handed to the committer under the
//! core's lock and only waited for outside. What comes to nothing for a reason of our own — the disk does not answer, a
//! task goes wrong — gives its lease back and leaves the entry waiting: nothing is dropped, nothing hangs.

pub mod acts;
mod attempt;
mod configure;
mod mark;
mod obstacles;
mod record;
mod telling;
#[cfg(test)]
mod tests;
mod watched;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::Notify;

use self::configure::{Bringing, InForce};
pub use self::configure::{Prepared, WouldStrand, routing};
use self::mark::Marker;
use self::telling::{Telling, Told};
pub use self::watched::{OnBlame, Refusal};
use super::core::explain::{Explanation, Supposed};
use super::core::{Action, Core, Observed};
use super::fresh::Fresh;
use crate::clock::{Clock, Now, Wall};
use crate::config::Config;
use crate::delivery::plan::NoPlan;
use crate::delivery::{Connector, Resolver};
use crate::feedback::token::Directory;
use crate::message::{
    BindingName, Domain, Entry, EntryId, IdSource, MessageId, PoolName, ProviderName, StreamName, TenantName,
};
use crate::outcome::classify::Classifier;
use crate::reputation::facts::Fact;
use crate::reputation::{Evidence, Health, Subject};
use crate::scheduler::cap::GrantRequest;
use crate::scheduler::warmup::StageChange;
use crate::store::committer::{Committer, Pending};
use crate::store::{Batch, Op, Spool, SpoolError};
use crate::telemetry::events::{Events, Kind};
use crate::telemetry::history::History;
use crate::telemetry::metrics::operation::SpoolWork;
use crate::telemetry::{Metrics, health_log, warmup_log};

/// Longest sleep of the loop: a clock that is set forward, or a machine that was suspended, is noticed this soon.
const SLEEP_MAX: Duration = Duration::from_secs(30);
/// Actions started in one go: who wants the core meanwhile waits for no more of them.
const STARTS_MAX: usize = 512;
/// First wait before facts that could not be written are written again; doubles up to a minute.
const FACTS_PAUSE: Duration = Duration::from_secs(1);
const FACTS_PAUSE_MAX: Duration = Duration::from_secs(60);
/// Octets of new mail kept in memory for its first attempt.
const FRESH_OCTETS: usize = 32 << 20;
/// Records set aside that are kept by name; the count goes on.
const QUARANTINED_KEPT: usize = 100;

/// Totals since start that add up at any instant:
/// accepted + recovered + DSNs = delivered + bounced + expired + waiting + stranded + set aside.
#[derive(Debug, Default)]
pub struct Counts {
    /// Messages answered 250.
    pub accepted_messages: AtomicU64,
    /// Recipients of those.
    pub accepted_recipients: AtomicU64,
    /// Recipients found waiting at start.
    pub recovered_recipients: AtomicU64,
    /// Recipients on disk whose pool or tenant is not configured now. They wait for a configuration that names it.
    pub stranded_recipients: AtomicU64,
    /// Recipients whose entry or body turned out unreadable and was set aside.
    pub set_aside_recipients: AtomicU64,
    /// Recipients delivered.
    pub delivered: AtomicU64,
    /// Recipients bounced.
    pub bounced: AtomicU64,
    /// Recipients expired.
    pub expired: AtomicU64,
    /// Deferrals (a recipient may have many).
    pub deferred: AtomicU64,
    /// Reports queued.
    pub dsn: AtomicU64,
    /// Attempts of unknown fate.
    pub duplicates_possible: AtomicU64,
    /// Writes of counts of daily caps that failed.
    pub grant_errors: AtomicU64,
}

/// Is told of each message that is taken in: its tenant and the domain of its sender.
pub type OnSender = Arc<dyn Fn(&TenantName, &Domain) + Send + Sync>;

/// Records set aside: how many, and the last of them in words.
#[derive(Clone, Debug, Default)]
pub struct SetAside {
    /// All of them.
    pub count: u64,
    /// The last hundred.
    pub last: VecDeque<String>,
}

/// The shell around [`Core`].
pub struct Dispatcher {
    core: Mutex<Core>,
    /// The configuration and what was made of it; replaced as a whole.
    in_force: RwLock<Arc<InForce>>,
    clock: Arc<dyn Clock>,
    spool: Arc<dyn Spool>,
    committer: Committer,
    connector: Arc<dyn Connector>,
    resolver: Arc<Resolver>,
    metrics: Arc<Metrics>,
    ids: Mutex<IdSource>,
    /// Entries left of messages that have more than one; their body goes with the last.
    shared_bodies: Mutex<HashMap<MessageId, u32>>,
    fresh: Fresh,
    random: Mutex<SmallRng>,
    /// Facts on their way to the disk.
    telling: Mutex<Telling>,
    wake: Notify,
    idle: Notify,
    /// Why the program cannot go on, once it cannot.
    fatal: tokio::sync::watch::Sender<Option<String>>,
    /// A probe of the disk is under way.
    probing: AtomicBool,
    /// Wall time of the loop's last turn, in milliseconds.
    heartbeat: AtomicI64,
    counts: Counts,
    set_aside: Mutex<SetAside>,
    on_blame: Mutex<Option<OnBlame>>,
    on_sender: Mutex<Option<OnSender>>,
    events: Events,
    /// Stranded mail is being read, so that it can be queued again.
    bringing_back: Mutex<Bringing>,
    /// The last hour.
    history: Mutex<History>,
}

/// What a dispatcher is made of.
pub struct Parts {
    /// The pure machine.
    pub core: Core,
    /// The configuration.
    pub config: Arc<Config>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Durable state, for reading.
    pub spool: Arc<dyn Spool>,
    /// Durable state, for writing.
    pub committer: Committer,
    /// Makes attempts.
    pub connector: Arc<dyn Connector>,
    /// Finds hosts.
    pub resolver: Arc<Resolver>,
    /// Reads replies.
    pub classifier: Arc<Classifier>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Keys and names for the marks on outgoing mail; only used where the configuration has `[feedback]`.
    pub directory: Option<Arc<Directory>>,
    /// Seed of the jitter.
    pub seed: u64,
}

/// A message that might come, for [`Dispatcher::suppose`].
#[derive(Clone, Debug)]
pub struct Supposing {
    /// Whose.
    pub tenant: TenantName,
    /// From which pool.
    pub pool: PoolName,
    /// Of which stream.
    pub stream: StreamName,
    /// Whether that is one with engaged recipients.
    pub engaged: bool,
    /// Domain of its sender, where holds are to be asked as well.
    pub sender_domain: Option<Domain>,
    /// The recipients' domain.
    pub domain: Domain,
    /// How many.
    pub recipients: u32,
}

impl Dispatcher {
    /// Puts the parts together; nothing runs until [`Dispatcher::run`].
    pub fn new(parts: Parts) -> Arc<Self> {
        let heartbeat = AtomicI64::new(parts.clock.now().wall.as_millis());
        let marker = parts.directory.and_then(|directory| Marker::new(directory, &parts.config));
        let in_force = InForce::new(parts.config, parts.classifier, marker);
        Arc::new(Self {
            in_force: RwLock::new(Arc::new(in_force)),
            core: Mutex::new(parts.core),
            clock: parts.clock,
            spool: parts.spool,
            committer: parts.committer,
            connector: parts.connector,
            resolver: parts.resolver,
            metrics: parts.metrics,
            ids: Mutex::default(),
            shared_bodies: Mutex::default(),
            fresh: Fresh::new(FRESH_OCTETS),
            random: Mutex::new(SmallRng::seed_from_u64(parts.seed)),
            telling: Mutex::default(),
            wake: Notify::new(),
            idle: Notify::new(),
            fatal: tokio::sync::watch::Sender::new(None),
            probing: AtomicBool::new(false),
            heartbeat,
            counts: Counts::default(),
            set_aside: Mutex::default(),
            on_blame: Mutex::default(),
            on_sender: Mutex::default(),
            events: Events::default(),
            bringing_back: Mutex::default(),
            history: Mutex::default(),
        })
    }

    /// Looks into the core. Keep it short: every decision waits meanwhile.
    pub fn with_core<R>(&self, f: impl FnOnce(&Core) -> R) -> R {
        f(&self.core.lock())
    }

    /// What would be said of a message that might come; see [`Core::suppose`]. Looks up where its recipients' domain leads.
    ///
    /// # Errors
    /// In words: the domain takes no mail, or cannot be looked up; no such tenant or pool.
    pub async fn suppose(&self, of: Supposing) -> Result<Explanation, String> {
        let plan = self.resolver.plan(&of.domain).await.map_err(|why| match why {
            NoPlan::Permanent { enhanced, text } => format!("{} takes no mail: {enhanced} {text}", of.domain),
            NoPlan::Temporary { text } => format!("{} cannot be looked up now: {text}", of.domain),
        })?;
        let supposed = Supposed {
            tenant: &of.tenant,
            pool: &of.pool,
            stream: &of.stream,
            engaged: of.engaged,
            sender_domain: of.sender_domain.as_ref(),
            domain: &of.domain,
            plan: &plan,
            recipients: of.recipients,
        };
        let explained = self.core.lock().suppose(&supposed, self.clock.now());
        explained.ok_or_else(|| format!("no pool {} or no tenant {} is configured", of.pool, of.tenant))
    }

    /// Totals since start.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The present instant of the clock everything here runs by.
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// The metrics everything here counts in.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What reads the marks of reports; `None` where nothing is marked.
    pub fn directory(&self) -> Option<Arc<Directory>> {
        self.in_force().marker.as_ref().map(|marker| Arc::clone(marker.directory()))
    }

    /// What happened lately.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Reads the last hour.
    pub fn with_history<R>(&self, f: impl FnOnce(&History) -> R) -> R {
        f(&self.history.lock())
    }

    /// What reads replies.
    pub fn classifier(&self) -> Arc<Classifier> {
        Arc::clone(&self.in_force().classifier)
    }

    /// The configuration in force. Take it once for what belongs together: it may be another one at the next call.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.in_force.read().config)
    }

    fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.read())
    }

    /// Durable state, for reading.
    pub fn spool(&self) -> &dyn Spool {
        &*self.spool
    }

    /// Lets the loop go round once, whether anything is due or not.
    pub fn nudge(&self) {
        self.wake.notify_one();
    }

    /// When the loop last went round.
    pub fn heartbeat(&self) -> Wall {
        Wall::from_millis(self.heartbeat.load(Ordering::Relaxed))
    }

    /// Waits until the program cannot go on, and says why: the spool takes no writes any more. What is on disk is whole;
    /// a restart goes on from there.
    pub async fn failed(&self) -> String {
        let mut fatal = self.fatal.subscribe();
        match fatal.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            // The sender lives in `self`.
            Err(_) => std::future::pending().await,
        }
    }

    /// Records set aside, those of earlier runs included.
    pub fn set_aside(&self) -> SetAside {
        self.set_aside.lock().clone()
    }

    /// Notes a record set aside.
    pub fn note_set_aside(&self, what: String) {
        tracing::error!(record = what.as_str(), "spool record set aside; the rest goes on");
        let mut all = self.set_aside.lock();
        all.count += 1;
        if all.last.len() == QUARANTINED_KEPT {
            all.last.pop_front();
        }
        all.last.push_back(what);
    }

    /// A fresh id.
    pub fn next_id(&self) -> u64 {
        self.ids.lock().next(self.clock.now().wall)
    }

    /// Makes a message durable, then takes its entries in. Returns once it is on disk.
    pub async fn accept(self: &Arc<Self>, id: MessageId, body: Bytes, entries: Vec<Entry>) -> Result<(), SpoolError> {
        self.accept_with(id, body, entries, Batch::new()).await
    }

    /// As [`Dispatcher::accept`], with `facts` that go to disk with the message or not at all.
    pub async fn accept_with(
        self: &Arc<Self>,
        id: MessageId,
        body: Bytes,
        entries: Vec<Entry>,
        facts: Batch,
    ) -> Result<(), SpoolError> {
        let mut batch: Batch = Vec::with_capacity(entries.len() + 1 + facts.len());
        batch.extend(facts);
        batch.push(Op::PutBody(id, body.clone()));
        batch.extend(entries.iter().map(|entry| Op::PutEntry(Box::new(entry.clone()))));
        let failed = |error: &SpoolError| self.spool_failed(SpoolWork::Mail, error);
        self.committer.commit(batch).await.inspect_err(failed)?;
        if entries.len() > 1 {
            self.shared_bodies.lock().insert(id, entries.len() as u32);
        }
        let recipients: u64 = entries.iter().map(|e| e.recipients.len() as u64).sum();
        if let Some(entry) = entries.first() {
            self.metrics.accepted_messages.with_label_values(&[entry.tenant.as_str()]).inc();
            self.metrics.accepted_recipients.with_label_values(&[entry.tenant.as_str()]).inc_by(recipients);
        }
        self.take_in(entries, Some(body), |counts| {
            counts.accepted_messages.fetch_add(1, Ordering::Relaxed);
            counts.accepted_recipients.fetch_add(recipients, Ordering::Relaxed);
        });
        Ok(())
    }

    /// Puts facts on disk. Returns once they are.
    pub async fn note(self: &Arc<Self>, facts: Batch) -> Result<(), SpoolError> {
        self.committer.commit(facts).await.inspect_err(|error| self.spool_failed(SpoolWork::Fact, error))
    }

    /// Takes in one entry that recovery found. [`Dispatcher::recovery_done`] follows the last.
    pub fn recover(&self, entry: Entry) {
        *self.shared_bodies.lock().entry(entry.message).or_default() += 1;
        let recipients = entry.recipients.len() as u64;
        self.take_in(vec![entry], None, |counts| {
            counts.recovered_recipients.fetch_add(recipients, Ordering::Relaxed);
        });
    }

    /// Ends recovery: `last_id` is the largest id on disk, `set_aside` what earlier runs had set aside.
    pub fn recovery_done(&self, last_id: u64, set_aside: Vec<String>) {
        self.shared_bodies.lock().retain(|_, entries| *entries > 1);
        *self.ids.lock() = IdSource::after(last_id);
        let mut known = self.set_aside.lock();
        known.count = set_aside.len() as u64;
        known.last = set_aside.into_iter().rev().take(QUARANTINED_KEPT).rev().collect();
    }

    /// How many more entries than messages there are.
    pub fn entries_beyond_one_per_message(&self) -> u64 {
        self.shared_bodies.lock().values().map(|left| u64::from(left.saturating_sub(1))).sum()
    }

    /// Takes in entries that are on disk already; where their body is given, it is kept at hand with them. `count` runs
    /// under the core's lock, like every count of recipients, so that a snapshot adds up at any instant.
    fn take_in(&self, entries: Vec<Entry>, body: Option<Bytes>, count: impl FnOnce(&Counts)) {
        let now = self.clock.now();
        self.tell_of_sender(&entries);
        let mut core = self.core.lock();
        count(&self.counts);
        for entry in entries {
            if !core.enqueue(&entry, now) {
                tracing::error!(id = %entry.id, pool = %entry.pool, tenant = %entry.tenant,
                    "entry kept on disk but not queued: its pool or tenant is no longer configured; configure it and reload");
            } else if let Some(body) = &body {
                // Under the core's lock: no attempt can have begun.
                self.fresh.put(entry, body.clone());
            }
        }
        self.count_stranded(&core);
        drop(core);
        self.wake.notify_one();
    }

    /// News from the monitor or the operator.
    pub async fn observe(self: &Arc<Self>, evidence: Evidence) {
        let (observed, pending) = self.tell(|core, now| core.observe(&evidence, now));
        self.announce(&observed);
        self.written(pending).await;
        self.wake.notify_one();
    }

    /// Puts a warm-up on a stage by the operator's word. It is on disk when this returns, or will be by and by.
    ///
    /// # Errors
    /// See [`Core::set_stage`].
    pub async fn set_stage(
        self: &Arc<Self>,
        binding: &BindingName,
        provider: Option<&ProviderName>,
        stage: usize,
    ) -> Result<StageChange, String> {
        let mut set = Err(String::new());
        let (observed, pending) = self.tell(|core, now| {
            let (result, observed) = core.set_stage(binding, provider, stage, now);
            set = result;
            observed
        });
        self.announce(&observed);
        self.written(pending).await;
        self.wake.notify_one();
        set
    }

    /// Attempts of a binding on the wire, and its open connections, idle ones included.
    pub fn on_the_wire(&self, binding: &BindingName) -> (u32, usize) {
        let attempts = self.with_core(|core| {
            let scheduler = core.scheduler();
            scheduler.binding_id(binding).map_or(0, |id| scheduler.attempts_of(id))
        });
        (attempts, self.connector.open(binding))
    }

    /// Closes the idle connections of a binding that takes no more mail.
    pub fn retire(&self, binding: &BindingName) {
        self.connector.retire(binding);
    }

    /// Runs until `stop` turns true, then returns when nothing is on the wire any more.
    pub async fn run(self: Arc<Self>, mut stop: tokio::sync::watch::Receiver<bool>) {
        loop {
            let wakeup = self.start_what_is_due();
            // What was started begins now, also where there is more to start.
            tokio::task::yield_now().await;
            let pause = wakeup.map_or(SLEEP_MAX, |at| at.since(self.clock.now().wall)).min(SLEEP_MAX);
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(pause.max(Duration::from_millis(1))) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        self.halt();
        loop {
            let idle = self.idle.notified();
            if self.with_core(Core::in_flight) == 0 {
                return;
            }
            idle.await;
        }
    }

    /// From now on no attempt is started.
    pub fn halt(&self) {
        self.core.lock().stop();
    }

    /// Writes the exact use of every cap, so that a clean stop gives unspent grants back, and what else is not on disk yet.
    /// Call it after [`Dispatcher::halt`]: what is still on the wire counts as used.
    pub async fn write_final_grants(&self) {
        let pending = {
            let mut core = self.core.lock();
            let mut batch: Batch = core.final_grants(self.clock.now()).iter().map(grant_op).collect();
            batch.extend(core.final_facts(self.clock.now()).iter().map(fact_op));
            self.committer.submit(batch)
        };
        if let Err(error) = pending.await {
            tracing::warn!(%error, "final grants not written; today's unspent grants are lost");
        }
    }

    /// Changes the core and hands what a restart must know to the committer, before anybody else can change it again:
    /// the disk sees decisions in their order.
    fn tell(&self, change: impl FnOnce(&mut Core, Now) -> Observed) -> (Observed, Option<Told>) {
        let mut core = self.core.lock();
        let observed = change(&mut core, self.clock.now());
        if observed.facts.is_empty() {
            return (observed, None);
        }
        let number = self.telling.lock().tell(&observed.facts);
        let facts = observed.facts.clone();
        let pending = self.committer.submit(facts.iter().map(fact_op).collect());
        (observed, Some(Told { number, facts, pending }))
    }

    /// Waits for facts to be on disk. Where they could not be written, a task writes them again and again.
    async fn written(self: &Arc<Self>, told: Option<Told>) {
        let Some(told) = told else { return };
        // In a task of its own: whoever waits may be gone before it is known whether they are there.
        let this = Arc::clone(self);
        drop(tokio::spawn(async move { this.told(told).await }).await);
    }

    async fn told(self: &Arc<Self>, Told { number, facts, pending }: Told) {
        let Err(error) = pending.await else { return self.telling.lock().done(number, &facts) };
        tracing::error!(%error, "health, hold or warm-up not written to disk; it is tried again");
        self.spool_failed(SpoolWork::Fact, &error);
        tokio::spawn(Arc::clone(self).write_again(number, facts));
    }

    async fn write_again(self: Arc<Self>, number: u64, mut facts: Vec<Fact>) {
        let mut pause = FACTS_PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(FACTS_PAUSE_MAX);
            let pending = {
                // Under the core's lock, as in `tell`: what was told since must not be undone.
                let _core = self.core.lock();
                self.telling.lock().keep_latest(number, &mut facts);
                if facts.is_empty() {
                    return;
                }
                self.committer.submit(facts.iter().map(fact_op).collect())
            };
            match pending.await {
                Ok(()) => {
                    tracing::warn!("health, hold or warm-up written to disk after all");
                    return self.telling.lock().done(number, &facts);
                }
                Err(error) => self.spool_failed(SpoolWork::Fact, &error),
            }
        }
    }

    fn start_what_is_due(self: &Arc<Self>) -> Option<Wall> {
        let (observed, pending) = self.tell(Core::tick);
        self.announce(&observed);
        if pending.is_some() {
            let this = Arc::clone(self);
            tokio::spawn(async move { this.written(pending).await });
        }
        let now = self.clock.now();
        self.heartbeat.store(now.wall.as_millis(), Ordering::Relaxed);
        let mut core = self.core.lock();
        for _ in 0..STARTS_MAX {
            let Some(action) = core.next(now) else {
                // What has no place under a new configuration is stranded by and by.
                self.count_stranded(&core);
                return core.next_wakeup();
            };
            let this = Arc::clone(self);
            match action {
                Action::Attempt(start) => drop(tokio::spawn(this.attempt(start))),
                Action::Resolve(domain) => drop(tokio::spawn(this.resolve(domain))),
                Action::WriteGrants(grants) => {
                    // Handed in here, not in the task: two grants of one cap must not change places.
                    let pending = self.committer.submit(grants.iter().map(grant_op).collect());
                    tokio::spawn(this.write_grants(grants, pending));
                }
                Action::Expire(id) => drop(tokio::spawn(this.give_up(id, None))),
                Action::Refuse { entry, enhanced, text } => {
                    drop(tokio::spawn(this.give_up(entry, Some((enhanced, text)))));
                }
                Action::Act { entry, act } => drop(tokio::spawn(this.follow_up(entry, act))),
            }
        }
        // There may be more.
        self.wake.notify_one();
        core.next_wakeup()
    }

    async fn resolve(self: Arc<Self>, domain: Domain) {
        let unanswered = Rescue::new(|| {
            let trouble = NoPlan::Temporary { text: "the look-up went wrong".into() };
            self.core.lock().resolved(&domain, Err(trouble), self.clock.now());
            self.wake.notify_one();
        });
        loop {
            let asked_under = self.in_force();
            let planned = self.resolver.plan(&domain).await;
            let mut core = self.core.lock();
            // Under the core's lock: an answer of the old name servers, or by the old routes, must not come after the new ones
            // are in force.
            if !asked_under.routes_as(&self.in_force()) {
                continue;
            }
            core.resolved(&domain, planned, self.clock.now());
            break;
        }
        unanswered.not_needed();
        self.wake.notify_one();
    }

    async fn write_grants(self: Arc<Self>, grants: Vec<GrantRequest>, pending: Pending) {
        let result = pending.await;
        if let Err(error) = &result {
            tracing::error!(%error, "daily cap grants not written; bindings with caps wait");
            self.counts.grant_errors.fetch_add(1, Ordering::Relaxed);
            self.spool_failed(SpoolWork::Grant, error);
        }
        self.core.lock().grants_written(&grants, result.is_ok(), self.clock.now());
        self.wake.notify_one();
    }

    /// Forgets an entry that was set aside and counts its recipients, in one step.
    fn forget_set_aside(&self, core: &mut Core, id: EntryId) {
        let recipients = core.index().get(id).map_or(0, |waiting| u64::from(waiting.recipients));
        self.counts.set_aside_recipients.fetch_add(recipients, Ordering::Relaxed);
        core.forget(id);
    }

    fn finished_one(&self) {
        self.wake.notify_one();
        self.idle.notify_waiters();
    }

    /// Logs and counts changes of health, of holds and of warm-ups, and notes them as events; connections of a binding that is out are
    /// closed.
    fn announce(&self, observed: &Observed) {
        let now = self.clock.now().wall;
        for change in &observed.changes {
            health_log::write(change);
            health_log::count(&self.metrics, change);
            self.events.note(Kind::Health, health_log::fields(change), now);
            if let (Subject::Binding(binding), Health::Suspended { .. }) = (&change.subject, &change.to) {
                self.connector.retire(binding);
            }
        }
        for change in &observed.holds {
            health_log::write_hold(change);
            health_log::count_hold(&self.metrics, change);
            self.events.note(Kind::Note, health_log::hold_fields(change), now);
        }
        for change in &observed.stages {
            warmup_log::write(change);
            warmup_log::count(&self.metrics, change);
            self.events.note(Kind::Warmup, warmup_log::fields(change), now);
        }
        self.note_reactions(&observed.reactions);
        for note in &observed.notes {
            health_log::write_note(note);
            self.events.note(Kind::Note, note.fields(), now);
        }
    }
}

fn grant_op(grant: &GrantRequest) -> Op {
    Op::PutFact(grant.fact_key(), grant.to_json())
}

fn fact_op(fact: &Fact) -> Op {
    match fact {
        Fact::Put(key, value) => Op::PutFact(key.clone(), value.clone()),
        Fact::Remove(key) => Op::RemoveFact(key.clone()),
    }
}

/// Does something unless told that it is not needed: for a task that is cut or panics half-way.
struct Rescue<F: FnMut()> {
    act: F,
    needed: bool,
}

impl<F: FnMut()> Rescue<F> {
    fn new(act: F) -> Self {
        Self { act, needed: true }
    }

    fn not_needed(mut self) {
        self.needed = false;
    }
}

impl<F: FnMut()> Drop for Rescue<F> {
    fn drop(&mut self) {
        if self.needed {
            (self.act)();
        }
    }
}

/// The lease of an attempt on the wire. Dropped unsettled — the task was cut or went wrong — it goes back as one of
/// unknown fate, and the entry waits.
struct Held<'a> {
    dispatcher: &'a Dispatcher,
    entry: EntryId,
    lease: Option<crate::scheduler::Lease>,
}

impl Held<'_> {
    /// Gives the lease back after `span`, the entry unchanged.
    fn give_back(&mut self, settlement: crate::scheduler::Settlement, span: Duration) {
        let Some(lease) = self.lease.take() else { return };
        let now = self.dispatcher.clock.now();
        let mut core = self.dispatcher.core.lock();
        core.give_back(self.entry, lease, settlement, now.wall.plus(span), now);
        self.dispatcher.count_stranded(&core);
        drop(core);
        self.dispatcher.finished_one();
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if self.lease.is_some() {
            tracing::warn!(id = %self.entry, "attempt cut short; its mail stays in the queue");
            self.give_back(crate::scheduler::Settlement::Unknown, self.dispatcher.config().queue.retry_first);
        }
    }
}
