//! What others say of our addresses and domains, over HTTP: observations that age.
//!
//! Mailbox providers and list keepers know things that no reply says: the colour of an address in Outlook, its share of
//! complaints, what Gmail refuses a domain for. Each `[feed.NAME]` is asked every few hours, in a task of its own, never
//! on scrape. What it says becomes an [`observation`]: scope, metric, value or bound, period, and the row as it came.
//!
//! Pure: [`reading`] (numbers, times, tables), one file per shape ([`snds`], [`postmaster`], [`wqs`], [`generic`]),
//! [`answer`] (what an HTTP answer means), [`schedule`] and [`memory`] (when to ask what), [`oauth`] (tokens as texts),
//! [`whose`] (which binding is meant), [`book`] (what is kept and believed) and [`page`] (what follows, for how long).
//! Shell: `client` (one request), `credentials`, `fetch` (which requests), `kept` (files) and this module, which joins
//! them.
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
pub mod schedule;
mod shown;
pub mod snds;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod whose;
pub mod wqs;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::answer::{Failure, Outcome};
use self::book::{Book, Dropped, Grade, Turn, newest};
use self::credentials::Credentials;
use self::fetch::{Fetcher, Harvest};
use self::memory::{Memory, Writing, Written};
use self::observation::{Scope, clip};
use self::page::{Verdict, tell};
use self::shown::Glance;
pub use self::shown::{FeedSnapshot, Seen};
use self::whose::Herd;
use crate::clock::{Clock, Wall};
use crate::config::{self, Config};
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

/// What is known of one feed now.
#[derive(Debug, Default)]
struct State {
    book: Book,
    memory: Memory,
    /// Outcome and words of the last fetch of this run.
    last: Option<(Outcome, String)>,
    fetches: BTreeMap<Outcome, u64>,
    unknown_fields: u64,
    unknown: Vec<String>,
    notes: Vec<String>,
    dropped: Dropped,
}

struct Runner {
    feed: Arc<config::Feed>,
    credentials: Arc<Credentials>,
    fetcher: Result<Fetcher, Failure>,
    path: PathBuf,
    state: Mutex<State>,
}

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

impl Runner {
    /// Takes in what a fetch brought, and writes it down.
    fn settle(
        &self,
        harvest: Harvest,
        refresh: (Option<String>, Option<Wall>),
        herd: &Herd,
        lot: f64,
        now: Wall,
    ) -> Vec<Word> {
        let (feed, outcome) = (&self.feed, harvest.outcome());
        let mut words = Vec::new();
        let mut state = self.state.lock();
        let detail = harvest.failure.as_ref().map_or_else(String::new, |failure| failure.detail.clone());
        words.extend(state.noted(feed, harvest.notes, harvest.failure.is_none()));
        let unknown: Vec<String> =
            harvest.report.unknown.into_iter().filter(|name| !state.unknown.contains(name)).collect();
        state.unknown_fields += unknown.len() as u64;
        if let Some(first) = unknown.first() {
            tracing::warn!(feed = feed.name, fields = unknown.len(), first, "the report has fields that nobody knows");
            words.push(event(feed, "unknown_fields", [("evidence", unknown.join("; "))]));
        }
        let room = 1000usize.saturating_sub(state.unknown.len());
        state.unknown.extend(unknown.into_iter().take(room));
        words.extend(state.learned(harvest.report.observations, feed, herd, now));
        state.memory.got(&harvest.days, now);
        state.memory.spend(harvest.spent, now);
        state.memory.tried(&harvest.tried, &harvest.of, now);
        state.memory.holds_token(refresh.0, refresh.1);
        match &harvest.failure {
            None => state.memory.schedule.succeeded(feed.interval, lot, now),
            Some(failure) => state.memory.schedule.failed(failure, feed.interval, lot, now),
        }
        *state.fetches.entry(outcome).or_default() += 1;
        let is_up = harvest.failure.is_none();
        let was_up = state.last.as_ref().map(|(last, _)| matches!(last, Outcome::Ok | Outcome::NoData));
        if was_up.unwrap_or(true) != is_up {
            let what = if is_up { "feed_up" } else { "feed_down" };
            words.push(event(feed, what, [("reason", outcome.as_str().to_owned()), ("evidence", detail.clone())]));
        }
        match is_up {
            true => tracing::debug!(feed = feed.name, outcome = outcome.as_str(), "feed fetched"),
            false => tracing::warn!(feed = feed.name, outcome = outcome.as_str(), detail, "feed not fetched"),
        }
        state.last = Some((outcome, detail));
        state.book.sweep(feed, now);
        let (memory, page) = (state.memory.clone(), state.book.page());
        drop(state);
        let writing = Writing { memory: &memory, observations: page.all().map(|seen| &**seen).collect() };
        // Numbers are finite and keys are texts: this always serialises.
        let bytes = serde_json::to_vec(&writing).unwrap_or_default();
        if let Err(error) = kept::write(&self.path, &bytes) {
            tracing::error!(feed = feed.name, path = %self.path.display(), %error, "what the feed said is not written down; after a restart it is asked again");
        }
        words
    }
}

impl State {
    /// Takes in what was said. Returns what is news to people.
    fn learned(
        &mut self,
        observations: Vec<observation::Observation>,
        feed: &config::Feed,
        herd: &Herd,
        now: Wall,
    ) -> Vec<Word> {
        self.memory.newest = self.memory.newest.max(newest(&observations, feed.kind));
        let before = self.book.held().clone();
        let taken = self.book.take(observations, feed, herd, now);
        let mut words: Vec<Word> = taken.turns.iter().filter_map(|turn| told(feed, herd, turn)).collect();
        if taken.dropped != Dropped::default() {
            let Dropped { ours, others } = taken.dropped;
            self.dropped = Dropped { ours: self.dropped.ours + ours, others: self.dropped.others + others };
            tracing::warn!(
                feed = feed.name,
                ours,
                others,
                "the feed says more than is kept; strangers are dropped first"
            );
        }
        self.memory.held = self.book.held().clone();
        words.extend(held(feed, &before, &self.memory.held));
        words
    }

    /// Takes in what is wrong with a part; told is what was not there before.
    fn noted(&mut self, feed: &config::Feed, notes: Vec<String>, is_whole: bool) -> Option<Word> {
        let new: Vec<String> = notes.iter().filter(|note| !self.notes.contains(note)).cloned().collect();
        match is_whole {
            true => self.notes = notes,
            // Of the rest nothing was heard.
            false => self.notes.extend(new.iter().take(1000usize.saturating_sub(self.notes.len())).cloned()),
        }
        let first = new.first()?;
        tracing::warn!(feed = feed.name, notes = new.len(), first, "a part of the feed cannot be had");
        Some(event(feed, "note", [("evidence", clip(&new.join("; ")))]))
    }
}

/// News of bad news that are not believed.
fn held(feed: &config::Feed, before: &BTreeSet<BindingName>, now: &BTreeSet<BindingName>) -> Option<Word> {
    if before.is_empty() == now.is_empty() {
        return None;
    }
    let (what, whom) = if now.is_empty() { ("released", before) } else { ("held", now) };
    let names: Vec<&str> = whom.iter().map(BindingName::as_str).collect();
    let evidence = match now.is_empty() {
        true => "no more bindings than blast_radius allows turned bad".to_owned(),
        false => format!("{} bindings turned bad at once: nobody is throttled for it until there are fewer", now.len()),
    };
    match now.is_empty() {
        true => tracing::info!(feed = feed.name, "the feed is believed again"),
        false => tracing::warn!(feed = feed.name, bindings = now.len(), "the feed calls too many bad at once: held"),
    }
    Some(event(feed, what, [("binding", clip(&names.join(", "))), ("evidence", evidence)]))
}

/// What an earlier run has kept. What cannot be read is asked again.
fn recalled(feed: &config::Feed, path: &std::path::Path, now: Wall) -> State {
    let kept = match kept::state(path) {
        Ok(kept) => {
            kept.map(|bytes| serde_json::from_slice::<Written>(&bytes).map_err(|error| error.to_string())).transpose()
        }
        Err(error) => Err(error.to_string()),
    };
    let written = kept.unwrap_or_else(|error| {
        tracing::warn!(feed = feed.name, path = %path.display(), error, "what the feed said before is not readable");
        None
    });
    let Written { memory, observations } = written.unwrap_or_default();
    let mut book = Book::restored(observations, memory.held.clone());
    book.sweep(feed, now);
    State { book, memory: memory.recalled(now), ..State::default() }
}

fn event<const N: usize>(feed: &config::Feed, what: &str, more: [(&'static str, String); N]) -> Word {
    let own = [("feed", feed.name.clone()), ("what", what.to_owned())];
    Word::Event(own.into_iter().chain(more).collect())
}

/// News of something of ours; what strangers have is nobody's business here.
fn told(feed: &config::Feed, herd: &Herd, turn: &Turn) -> Option<Word> {
    let Turn { observation: seen, from, to } = turn;
    let bindings: Vec<String> = herd.meant(feed, &seen.scope).iter().map(ToString::to_string).collect();
    let name = herd.known_name(&seen.scope);
    if bindings.is_empty() && name.is_none() {
        return None;
    }
    let (domain, tenant) = match &seen.scope {
        Scope::Tenant(_) => ("", name.unwrap_or_default()),
        _ => (name.unwrap_or_default(), ""),
    };
    tracing::info!(feed = feed.name, metric = seen.metric, scope = %seen.scope, value = %seen.value, grade = to.as_str(), "a feed says");
    let fields = [
        ("binding", bindings.join(", ")),
        ("destination", feed.provider.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("domain", domain.to_owned()),
        ("tenant", tenant.to_owned()),
        ("metric", seen.metric.clone()),
        ("value", seen.value.to_string()),
        ("from", from.map_or("unknown", Grade::as_str).to_owned()),
        ("to", to.as_str().to_owned()),
        ("period_end", seen.ends.to_string()),
        ("evidence", seen.raw.clone()),
    ];
    Some(event(feed, "reported", fields))
}

impl std::fmt::Debug for Feeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feeds").field("feeds", &self.runners.len()).finish_non_exhaustive()
    }
}
