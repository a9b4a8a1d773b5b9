//! What others say of our addresses and domains, over HTTP: observations that age.
//!
//! Mailbox providers and list keepers know things that no reply says: the colour of an address in Outlook, its share of
//! complaints, what Gmail refuses a domain for. Each `[feed.NAME]` is asked every few hours, in a task of its own, never
//! on scrape. What it says becomes an [`observation`]: scope, metric, value or bound, period, and the row as it came.
//!
//! Pure: [`reading`] (numbers, times, tables), one file per shape ([`snds`], [`postmaster`], [`wqs`], [`generic`]),
//! [`answer`] (what an HTTP answer means), [`schedule`] and [`memory`] (when to ask what), [`oauth`] (tokens as texts),
//! [`whose`] (which binding is meant), [`book`] (what is kept and believed) and [`page`] (what follows, for how long).
//! Shell: `client` (one request), `credentials`, `fetch` (which requests), `kept` (files), `runner` (one feed) and this
//! module, which joins them.
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

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::answer::{Failure, Outcome};
use self::credentials::Credentials;
use self::fetch::{Fetcher, Harvest};
use self::page::{Verdict, tell};
use self::runner::{Runner, recalled};
use self::shown::Glance;
pub use self::shown::{FeedSnapshot, Seen};
use self::whose::Herd;
use crate::clock::Clock;
use crate::config::Config;
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
    runners: Vec<Arc<Runner>>,
    herd: Arc<Herd>,
    clock: Arc<dyn Clock>,
    sink: Sink,
    /// What reputation was told of each subject.
    told: Mutex<BTreeMap<Subject, Verdict>>,
}

impl Feeds {
    /// Sets everything up and reads what an earlier run has kept; asks nothing yet.
    pub fn new(config: &Config, clock: Arc<dyn Clock>, sink: Sink) -> Self {
        let herd = Arc::new(Herd::new(config));
        let directory = config.server.state_dir.join("feeds");
        let runners = config.feeds.iter().map(|feed| {
            let feed = Arc::new(feed.clone());
            let credentials = Arc::new(Credentials::new(Arc::clone(&feed), &directory, Arc::clone(&clock)));
            for path in credentials.exposed() {
                tracing::warn!(feed = feed.name, path = %path.display(), "a secret that others than its owner can read; chmod 600 it");
            }
            let fetcher = Fetcher::new(Arc::clone(&feed), Arc::clone(&credentials), herd.addresses(&feed));
            let path = directory.join(kept::file_name(&feed.name, "json"));
            let state = Mutex::new(recalled(&feed, &path, clock.now().wall));
            Arc::new(Runner { feed, credentials, fetcher, path, state })
        });
        Self { runners: runners.collect(), herd: Arc::clone(&herd), clock, sink, told: Mutex::default() }
    }

    /// Works until `stopped` turns true. What is on the wire then is dropped; a token that is being exchanged is not.
    pub async fn run(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        self.conclude();
        let mut tasks = JoinSet::new();
        for number in 0..self.runners.len() {
            let me = Arc::clone(&self);
            tasks.spawn(async move { me.attend(number).await });
        }
        // An error means that the sender is gone, which is a stop as well.
        drop(stopped.wait_for(|stop| *stop).await);
        tasks.shutdown().await;
    }

    async fn attend(&self, number: usize) {
        let Some(runner) = self.runners.get(number) else { return };
        loop {
            let now = self.clock.now().wall;
            let schedule = runner.state.lock().memory.schedule.clone();
            if schedule.is_due(runner.feed.interval, now) {
                self.turn(runner).await;
            } else {
                self.conclude();
                let nap = schedule.next.since(now).clamp(Duration::from_millis(1), NAP);
                tokio::time::sleep(nap).await;
            }
        }
    }

    /// Asks every feed that is due, one after the other, and concludes.
    pub async fn round(&self) {
        for runner in &self.runners {
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
                fetcher.fetch(&memory, began).await
            }
        };
        let refresh = runner.credentials.refresh().await;
        let lot = SmallRng::seed_from_u64(std::collections::hash_map::RandomState::new().hash_one(0u8))
            .random_range(-1.0..=1.0);
        let (own, herd, now) = (Arc::clone(runner), Arc::clone(&self.herd), self.clock.now().wall);
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

    /// Tells reputation what is new, all feeds taken together.
    fn conclude(&self) {
        // Held all the way: whoever concludes at the same time must not tell what is older.
        let mut told = self.told.lock();
        let now = self.clock.now().wall;
        let mut verdicts = BTreeMap::new();
        for runner in &self.runners {
            let page = {
                let mut state = runner.state.lock();
                state.book.sweep(&runner.feed, now);
                state.book.page()
            };
            page.judge(&runner.feed, &self.herd, &mut verdicts, now);
        }
        tell(&mut told, verdicts).into_iter().for_each(|evidence| (self.sink)(Word::Evidence(evidence)));
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
        let now = self.clock.now().wall;
        let of = |runner: &Arc<Runner>| {
            let glance = Glance::at(&runner.state.lock());
            FeedSnapshot::of(&runner.feed, glance, &self.herd, is_whole, now)
        };
        self.runners.iter().map(of).collect()
    }
}

impl std::fmt::Debug for Feeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feeds").field("feeds", &self.runners.len()).finish_non_exhaustive()
    }
}
