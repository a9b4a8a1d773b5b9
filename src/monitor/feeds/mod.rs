//! What others say of our addresses and domains, over HTTP: observations that age.
//!
//! Mailbox providers and list keepers know things that no reply says: the colour of an address in Outlook, its share of
//! complaints, what Gmail refuses a domain for. Each `[feed.NAME]` is asked every few hours, in a task of its own, never
//! on scrape. What it says becomes an [`observation`]: scope, metric, value or bound, period, and the row as it came.
//!
//! Pure: [`reading`] (numbers, times, tables), one file per shape ([`snds`], [`postmaster`], [`wqs`], [`generic`]),
//! [`answer`] (what an HTTP answer means), [`schedule`] and [`memory`] (when to ask what), [`oauth`] (tokens as texts),
//! [`whose`] (which binding is meant), [`book`] (what is kept and believed) and [`page`] (what follows, for how long).
//! Shell: `client` (one request), `credentials`, `fetch` (which requests), `kept` (files), `runner` (one feed), `setup` (what a
//! configuration makes of them) and this module, which joins them.
//!
//! Three things that go wrong elsewhere. No data is neither good nor bad: the state is unknown, and the age of the newest
//! period is a metric. Reports are days old when they come, so a feed only throttles, never suspends, and only while what
//! it said is fresh, and not where one report calls a share of the fleet bad at once. And credentials end quietly, so
//! their end is a metric too, and a page to log in is no report.

pub mod answer;
pub mod book;
mod client;
mod credentials;
mod fetch;
pub mod generic;
mod kept;
pub mod memory;
pub mod oauth;
pub mod observation;
pub mod page;
pub mod postmaster;
pub mod reading;
mod runner;
pub mod schedule;
mod setup;
mod shown;
pub mod snds;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod whose;
pub mod wqs;

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::answer::{Failure, Outcome};
use self::fetch::Harvest;
use self::page::{Verdict, tell, withdrawn};
use self::runner::Runner;
pub use self::setup::Prepared;
use self::setup::Setup;
use self::shown::Glance;
pub use self::shown::{FeedSnapshot, Seen};
use crate::clock::Clock;
use crate::config::Config;
use crate::message::BindingName;
use crate::reputation::{Evidence, Subject};

/// The longest sleep: what was decided against a clock is looked at again.
const NAP: Duration = Duration::from_secs(60);

/// What a feed has to say.
#[derive(Clone, Debug, PartialEq)]
pub enum Word {
    /// To reputation.
    Evidence(Evidence),
    /// To people: an event, by name.
    Event(Vec<(&'static str, String)>),
}

/// Where it goes.
pub type Sink = Arc<dyn Fn(Word) + Send + Sync>;

/// All feeds.
pub struct Feeds {
    current: RwLock<Arc<Setup>>,
    clock: Arc<dyn Clock>,
    sink: Sink,
    /// What reputation was told of each subject. `current` is changed with this locked.
    told: Mutex<BTreeMap<Subject, Verdict>>,
    /// Counts changes of `current`.
    changed: watch::Sender<u64>,
}

impl Feeds {
    /// Sets everything up and reads what an earlier run has kept; asks nothing yet.
    pub fn new(config: &Config, clock: Arc<dyn Clock>, sink: Sink) -> Self {
        let Prepared { setup, .. } = Prepared::new(config, &clock, None);
        Self {
            current: RwLock::new(Arc::new(setup)),
            clock,
            sink,
            told: Mutex::default(),
            changed: watch::channel(0).0,
        }
    }

    fn setup(&self) -> Arc<Setup> {
        Arc::clone(&self.current.read())
    }

    /// Sets up what `config` asks for, without a change to what is in force. Asks nothing.
    pub fn prepare(&self, config: &Config) -> Prepared {
        Prepared::new(config, &self.clock, Some(&self.setup()))
    }

    /// Puts it in force: feeds that are the same go on as if nothing had happened; what feeds have said that are gone is taken
    /// back.
    pub fn reconfigure(&self, prepared: Prepared) {
        let Prepared { setup, due, .. } = prepared;
        let now = self.clock.now().wall;
        for (runner, is_asked_anew) in due {
            let mut state = runner.state.lock();
            let next = if is_asked_anew { now } else { now.plus(runner.feed.interval) };
            let schedule = &mut state.memory.schedule;
            schedule.next = schedule.next.min(next);
        }
        let mut told = self.told.lock();
        *self.current.write() = Arc::new(setup);
        self.conclude_with(&mut told, true);
        drop(told);
        self.changed.send_modify(|changes| *changes += 1);
    }

    /// Works until `stopped` turns true. What is on the wire then is dropped; a token that is being exchanged is not.
    pub async fn run(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        self.conclude();
        let (mut tasks, mut changed) = (JoinSet::new(), self.changed.subscribe());
        let mut attended: Vec<Arc<Runner>> = Vec::new();
        loop {
            let setup = self.setup();
            attended.retain(|runner| setup.has(runner));
            for runner in &setup.runners {
                if !attended.iter().any(|known| Arc::ptr_eq(known, runner)) {
                    let (me, runner) = (Arc::clone(&self), Arc::clone(runner));
                    attended.push(Arc::clone(&runner));
                    tasks.spawn(async move { me.attend(&runner).await });
                }
            }
            tokio::select! {
                // The sender lives as long as `self`.
                _ = changed.changed() => {}
                // Of one that is gone.
                Some(_) = tasks.join_next() => {}
                // An error means that the sender is gone, which is a stop as well.
                _ = stopped.wait_for(|stop| *stop) => break,
            }
        }
        tasks.shutdown().await;
    }

    /// Until the feed is gone, or another than it was.
    async fn attend(&self, runner: &Arc<Runner>) {
        let mut changed = self.changed.subscribe();
        let _seat = runner.seat.lock().await;
        while self.setup().has(runner) {
            let now = self.clock.now().wall;
            let schedule = runner.state.lock().memory.schedule.clone();
            if schedule.is_due(runner.feed.interval, now) {
                self.turn(runner).await;
            } else {
                self.conclude();
                let nap = schedule.next.since(now).clamp(Duration::from_millis(1), NAP);
                // The sender lives as long as `self`.
                drop(tokio::time::timeout(nap, changed.changed()).await);
            }
        }
    }

    /// Asks every feed that is due, one after the other, and concludes.
    pub async fn round(&self) {
        for runner in &self.setup().runners {
            let is_due = runner.state.lock().memory.schedule.is_due(runner.feed.interval, self.clock.now().wall);
            if is_due {
                self.turn(runner).await;
            }
        }
        self.conclude();
    }

    async fn turn(&self, runner: &Arc<Runner>) {
        let began = self.clock.now().wall;
        let harvest = match &runner.fetcher {
            Err(failure) => Harvest { failure: Some(failure.clone()), ..Harvest::default() },
            Ok(fetcher) => {
                let memory = runner.state.lock().memory.clone();
                tokio::select! {
                    harvest = fetcher.fetch(&memory, began) => harvest,
                    // What it brings home would be read by rules that are gone.
                    () = self.gone(runner) => return,
                }
            }
        };
        let refresh = runner.credentials.refresh().await;
        let lot = SmallRng::seed_from_u64(std::collections::hash_map::RandomState::new().hash_one(0u8))
            .random_range(-1.0..=1.0);
        let (own, herd, now) = (Arc::clone(runner), Arc::clone(&self.setup().herd), self.clock.now().wall);
        // It counts, writes and syncs.
        let settled = tokio::task::spawn_blocking(move || own.settle(harvest, refresh, &herd, lot, now)).await;
        let words = settled.unwrap_or_else(|_| {
            let failure = Failure::new(Outcome::Unreadable, "what was fetched could not be taken in");
            runner.state.lock().memory.schedule.failed(&failure, runner.feed.interval, lot, now);
            Vec::new()
        });
        words.into_iter().for_each(|word| (self.sink)(word));
        self.conclude();
    }

    /// Waits until the runner is in force no more.
    async fn gone(&self, runner: &Arc<Runner>) {
        let mut changed = self.changed.subscribe();
        while self.setup().has(runner) {
            // The sender lives as long as `self`.
            drop(changed.changed().await);
        }
    }

    /// Tells reputation what is new, all feeds taken together.
    fn conclude(&self) {
        // Held all the way: whoever concludes at the same time must not tell what is older.
        self.conclude_with(&mut self.told.lock(), false);
    }

    fn conclude_with(&self, told: &mut BTreeMap<Subject, Verdict>, has_changed: bool) {
        let (setup, now) = (self.setup(), self.clock.now().wall);
        let mut verdicts = BTreeMap::new();
        for runner in &setup.runners {
            let page = {
                let mut state = runner.state.lock();
                state.book.sweep(&runner.feed, now);
                state.book.page()
            };
            page.judge(&runner.feed, &setup.herd, &mut verdicts, now);
        }
        let is_known = |binding: &BindingName| setup.herd.bindings().any(|known| known == binding);
        let taken_back = if has_changed { withdrawn(told, &verdicts, is_known, now) } else { Vec::new() };
        let news = taken_back.into_iter().chain(tell(told, verdicts));
        news.for_each(|evidence| (self.sink)(Word::Evidence(evidence)));
    }

    /// What is known now, feed by feed in the order of the configuration.
    pub fn snapshot(&self) -> Vec<FeedSnapshot> {
        self.snapshots(true)
    }

    /// As [`Self::snapshot`], without the single observations.
    pub fn states(&self) -> Vec<FeedSnapshot> {
        self.snapshots(false)
    }

    fn snapshots(&self, is_whole: bool) -> Vec<FeedSnapshot> {
        let (setup, now) = (self.setup(), self.clock.now().wall);
        let of = |runner: &Arc<Runner>| {
            let glance = Glance::at(&runner.state.lock());
            FeedSnapshot::of(&runner.feed, glance, &setup.herd, is_whole, now)
        };
        setup.runners.iter().map(of).collect()
    }
}

impl std::fmt::Debug for Feeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feeds").field("feeds", &self.setup().runners.len()).finish_non_exhaustive()
    }
}
