//! (shell) One feed: what is known of it, and how a fetch is taken in, told and written down.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::answer::{Failure, Outcome};
use super::book::{Book, Dropped, Grade, Turn, newest};
use super::credentials::Credentials;
use super::fetch::{Fetcher, Harvest};
use super::memory::{Memory, Writing, Written};
use super::observation::{Observation, Scope, clip};
use super::whose::Herd;
use super::{Word, kept};
use crate::clock::Wall;
use crate::config;
use crate::message::BindingName;

/// What is known of one feed now.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) book: Book,
    pub(super) memory: Memory,
    /// Outcome and words of the last fetch of this run.
    pub(super) last: Option<(Outcome, String)>,
    pub(super) fetches: BTreeMap<Outcome, u64>,
    pub(super) unknown_fields: u64,
    pub(super) unknown: Vec<String>,
    pub(super) notes: Vec<String>,
    pub(super) dropped: Dropped,
}

pub(super) struct Runner {
    pub(super) feed: Arc<config::Feed>,
    pub(super) credentials: Arc<Credentials>,
    pub(super) fetcher: Result<Fetcher, Failure>,
    pub(super) path: PathBuf,
    /// Shared with those of the same feed before it.
    pub(super) state: Arc<Mutex<State>>,
    /// Of whoever attends to the feed: one at a time, also where its settings change.
    pub(super) seat: Arc<tokio::sync::Mutex<()>>,
}

impl Runner {
    /// Takes in what a fetch brought, and writes it down.
    pub(super) fn settle(
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
    fn learned(&mut self, observations: Vec<Observation>, feed: &config::Feed, herd: &Herd, now: Wall) -> Vec<Word> {
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
pub(super) fn recalled(feed: &config::Feed, path: &Path, now: Wall) -> State {
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
