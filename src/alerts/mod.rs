//! Tells people that something is wrong, without a Prometheus in between: Alertmanager and webhooks.
//!
//! ```text
//!   status, monitor, counters ──gather──▶ View ──conditions──▶ what holds now
//!                                                                  │ ledger: for how long, since when
//!                       Alertmanagers ◀── states ──┐               ▼
//!                            webhooks ◀── changes ─┴── outbox ◀── alerts that begin and end ──▶ facts
//! ```
//!
//! Everything but the two ends is pure and joined in [`book`]: [`view`] is what is judged, [`conditions`] what holds in
//! it, [`ledger`] what begins and ends, [`outbox`] what is still to be told and when, [`payload`] the bodies, [`kept`] what
//! survives a restart. The shell looks every `alerts.every` (where nobody is to be told, a quarter as often), and one task
//! per target pushes; a target that hangs delays no other, and none of them delays mail.
//!
//! The names are those of the rules for Prometheus, so an operator may be told by either, or by both. Only a relay that is
//! down (`RelayDown`) and pushes that fail (`AlertPushFailing`) must be told by somebody else.
//!
//! A changed configuration ([`Alerts::reconfigure`]) begins nothing anew: what fires goes on, and so does what is to be told
//! to a target that stays.

pub mod book;
pub mod conditions;
mod gather;
pub mod kept;
pub mod ledger;
pub mod outbox;
pub mod payload;
mod push;
pub mod shown;
pub mod trend;
pub mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use self::book::{Book, Done, Fact, Job};
use self::outbox::Outcome;
use self::payload::Origin;
use self::push::Target;
use self::shown::{Snapshot, Tally};
use crate::admin::Sources;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::store::{Batch, Op};

/// Where nobody is to be told, conditions are looked at for metrics and `remuda alerts` alone: this many times as seldom.
const SELDOM: u32 = 4;

/// Conditions that hold, and whom they were told.
pub struct Alerts {
    clock: Arc<dyn Clock>,
    /// Changed with `book` locked.
    current: RwLock<Arc<Setup>>,
    book: Mutex<Book>,
    random: Mutex<SmallRng>,
    /// Counts looks, so that the tasks of targets see that there may be something to tell.
    looks: watch::Sender<u64>,
    /// Counts changes of `current`.
    changed: watch::Sender<u64>,
}

/// What a configuration says of alerts.
struct Setup {
    rules: config::Alerts,
    origin: Origin,
}

impl Setup {
    fn new(config: &Config) -> Self {
        let rules = config.alerts.clone();
        let source = config.admin.address.filter(|address| address.port() != 0);
        let origin = Origin {
            hostname: config.server.hostname.to_string(),
            runbook: rules.runbook.clone(),
            source: source.map(|address| format!("http://{address}/api/v1/alerts")),
        };
        Self { rules, origin }
    }
}

/// The tasks of targets, by their number.
type Tasks = BTreeMap<usize, (Arc<Target>, JoinHandle<()>)>;

impl Alerts {
    /// Sets everything up; asks nothing yet.
    pub fn new(config: &Config, clock: Arc<dyn Clock>) -> Self {
        let setup = Setup::new(config);
        Self {
            book: Mutex::new(Book::new(&setup.rules, clock.now().wall)),
            current: RwLock::new(Arc::new(setup)),
            random: Mutex::new(SmallRng::from_os_rng()),
            looks: watch::channel(0).0,
            changed: watch::channel(0).0,
            clock,
        }
    }

    fn setup(&self) -> Arc<Setup> {
        Arc::clone(&self.current.read())
    }

    /// Takes over a changed configuration, and looks at once.
    pub fn reconfigure(&self, config: &Config) {
        let setup = Setup::new(config);
        {
            let mut book = self.book.lock();
            book.follow(&setup.rules);
            *self.current.write() = Arc::new(setup);
        }
        self.changed.send_modify(|changes| *changes += 1);
    }

    /// What holds now, and who was told.
    pub fn snapshot(&self) -> Snapshot {
        self.book.lock().snapshot(&self.setup().origin, self.clock.now().wall)
    }

    /// The same as numbers, for metrics.
    pub fn tally(&self) -> Tally {
        self.book.lock().tally(self.clock.now().wall)
    }

    /// Works until `stopped` turns true.
    pub async fn run(self: Arc<Self>, sources: Sources, mut stopped: watch::Receiver<bool>) {
        self.restore(&sources);
        let (mut tasks, mut changed) = (Tasks::new(), self.changed.subscribe());
        loop {
            let every = self.staff(&mut tasks, &sources, &stopped).await;
            self.look(&sources).await;
            let is_stopped = tokio::select! {
                () = tokio::time::sleep(every) => false,
                // The sender lives as long as `self`.
                _ = changed.changed() => false,
                // An error of the channel means that its sender is gone, which is a stop as well.
                _ = stopped.wait_for(|stop| *stop) => true,
            };
            if is_stopped {
                // Whom it was told since the last look.
                return self.write(&sources).await;
            }
        }
    }

    /// Sees to it that every target has its task, and none that is gone. Returns the time between two looks.
    async fn staff(
        self: &Arc<Self>,
        tasks: &mut Tasks,
        sources: &Sources,
        stopped: &watch::Receiver<bool>,
    ) -> Duration {
        let (setup, numbers) = {
            let book = self.book.lock();
            (self.setup(), book.numbers())
        };
        let wanted: Vec<(usize, Target)> = numbers.into_iter().zip(Target::all(&setup.rules)).collect();
        let is_wanted = |number: &usize, old: &Target| wanted.iter().any(|(n, new)| n == number && old.is_as(new));
        for (_, (_, task)) in tasks.extract_if(.., |number, (target, _)| !is_wanted(number, target)) {
            // What it had on the wire is told again by the one that follows.
            task.abort();
            drop(task.await);
        }
        let every = if wanted.is_empty() { setup.rules.every * SELDOM } else { setup.rules.every };
        for (number, target) in wanted {
            tasks.entry(number).or_insert_with(|| {
                let (target, alerts) = (Arc::new(target), Arc::clone(self));
                let (own, sources, stopped) = (Arc::clone(&target), sources.clone(), stopped.clone());
                (target, tokio::spawn(async move { alerts.tell(number, &own, &sources, stopped).await }))
            });
        }
        every
    }

    fn restore(&self, sources: &Sources) {
        let facts = sources.dispatcher.spool().facts(kept::PREFIX).unwrap_or_else(|error| {
            tracing::warn!(%error, "alerts of the last run cannot be read; what still holds is told anew");
            Vec::new()
        });
        for key in self.book.lock().restore(facts) {
            tracing::warn!(key = key.as_str(), "an alert of the last run cannot be read; it is forgotten");
        }
    }

    async fn look(&self, sources: &Sources) {
        // Of a queue of a million entries the look takes long enough to be in the way of others on this thread.
        let from = sources.clone();
        let seen = tokio::task::spawn_blocking(move || gather::view(&from)).await;
        let Ok((view, totals)) = seen.inspect_err(|error| tracing::error!(%error, "conditions not looked at")) else {
            return;
        };
        self.book.lock().look(view, &totals, self.clock.now().wall);
        self.write(sources).await;
        self.looks.send_modify(|looks| *looks += 1);
    }

    async fn write(&self, sources: &Sources) {
        let facts = self.book.lock().facts();
        if facts.is_empty() {
            return;
        }
        let op = |fact: &Fact| match fact {
            Fact::Put(key, value) => Op::PutFact(key.clone(), value.clone()),
            Fact::Remove(key) => Op::RemoveFact(key.clone()),
        };
        let batch: Batch = facts.iter().map(op).collect();
        if let Err(error) = sources.committer.commit(batch).await {
            self.book.lock().not_written(&facts);
            tracing::warn!(%error, "alerts not written to disk; tried again at the next look");
        }
    }

    /// The task of one target.
    async fn tell(
        self: &Arc<Self>,
        number: usize,
        target: &Arc<Target>,
        sources: &Sources,
        mut stopped: watch::Receiver<bool>,
    ) {
        let mut looks = self.looks.subscribe();
        loop {
            let wait = self.book.lock().wait(number, self.clock.now().wall);
            if wait.is_some_and(|wait| wait.is_zero()) {
                tokio::select! {
                    () = self.push(number, target, sources) => {}
                    _ = stopped.wait_for(|stop| *stop) => return,
                }
                continue;
            }
            let nap = tokio::time::sleep(wait.unwrap_or(self.setup().rules.every));
            tokio::select! {
                () = nap => {}
                seen = looks.changed() => if seen.is_err() { return },
                _ = stopped.wait_for(|stop| *stop) => return,
            }
        }
    }

    async fn push(self: &Arc<Self>, number: usize, target: &Arc<Target>, sources: &Sources) {
        let mut sending = JoinSet::new();
        let mut done: Vec<Done> = Vec::new();
        let jobs = self.book.lock().jobs(number, self.clock.now().wall);
        for job in jobs {
            match job {
                // In order, and no further where it fails: the rest is made anew.
                Job::States(_) => {
                    let next = self.send(target, job).await;
                    let goes_on = matches!(next.outcome, Outcome::Accepted | Outcome::Refused);
                    done.push(next);
                    if !goes_on {
                        break;
                    }
                }
                Job::Delivery(_) => {
                    let (alerts, target) = (Arc::clone(self), Arc::clone(target));
                    sending.spawn(async move { alerts.send(&target, job).await });
                }
            }
        }
        while let Some(joined) = sending.join_next().await {
            done.extend(joined.inspect_err(|error| tracing::error!(%error, "a push did not end")).ok());
        }
        let pushes = &sources.dispatcher.metrics().alerting.pushes;
        for Done { outcome, error, .. } in &done {
            pushes.with_label_values(&[target.name(), outcome.as_str()]).inc();
            if let Some(error) = error {
                tracing::warn!(target: "alerts", to = target.name(), outcome = outcome.as_str(), error = error.as_str());
            }
        }
        let unit = self.random.lock().random();
        self.book.lock().learn(number, &done, unit, self.clock.now().wall);
    }

    async fn send(&self, target: &Target, job: Job) -> Done {
        let setup = self.setup();
        let (outcome, error) = target.push(&job, &setup.origin, &setup.rules, self.clock.now().wall).await;
        Done { job, outcome, error }
    }
}
