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
//! down (`RelayDown`) and pushes that fail (`AlertPushFailing`) must be told by somebody else. `ConfigReloadFailed` can be
//! configured but never fires yet: this version reads its configuration only at the start.

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

use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;

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
    rules: config::Alerts,
    origin: Origin,
    book: Mutex<Book>,
    random: Mutex<SmallRng>,
    /// Counts looks, so that the tasks of targets see that there may be something to tell.
    looks: watch::Sender<u64>,
}

impl Alerts {
    /// Sets everything up; asks nothing yet.
    pub fn new(config: &Config, clock: Arc<dyn Clock>) -> Self {
        let rules = config.alerts.clone();
        let source = config.admin.address.filter(|address| address.port() != 0);
        Self {
            origin: Origin {
                hostname: config.server.hostname.to_string(),
                runbook: rules.runbook.clone(),
                source: source.map(|address| format!("http://{address}/api/v1/alerts")),
            },
            book: Mutex::new(Book::new(&rules, clock.now().wall)),
            random: Mutex::new(SmallRng::from_os_rng()),
            looks: watch::channel(0).0,
            clock,
            rules,
        }
    }

    /// What holds now, and who was told.
    pub fn snapshot(&self) -> Snapshot {
        self.book.lock().snapshot(&self.origin, self.clock.now().wall)
    }

    /// The same as numbers, for metrics.
    pub fn tally(&self) -> Tally {
        self.book.lock().tally(self.clock.now().wall)
    }

    /// Works until `stopped` turns true.
    pub async fn run(self: Arc<Self>, sources: Sources, mut stopped: watch::Receiver<bool>) {
        self.restore(&sources);
        let targets = Target::all(&self.rules);
        let every = if targets.is_empty() { self.rules.every * SELDOM } else { self.rules.every };
        for (number, target) in targets.into_iter().map(Arc::new).enumerate() {
            let (alerts, sources, stopped) = (Arc::clone(&self), sources.clone(), stopped.clone());
            tokio::spawn(async move { alerts.tell(number, &target, &sources, stopped).await });
        }
        loop {
            self.look(&sources).await;
            // An error of the channel means that its sender is gone, which is a stop as well.
            if tokio::time::timeout(every, stopped.wait_for(|stop| *stop)).await.is_ok() {
                // Whom it was told since the last look.
                return self.write(&sources).await;
            }
        }
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
            let nap = tokio::time::sleep(wait.unwrap_or(self.rules.every));
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
        let (outcome, error) = target.push(&job, &self.origin, &self.rules, self.clock.now().wall).await;
        Done { job, outcome, error }
    }
}
