//! What is shown of a feed: for `/api/v1/feeds` and the metrics. Nothing secret is in it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::State;
use super::answer::Outcome;
use super::book::Grade;
use super::observation::Observation;
use super::whose::Herd;
use crate::clock::{Wall, rfc3339};
use crate::config::Feed;

/// Observations that are shown of a feed; about ours first.
const MOST_SHOWN: usize = 2000;

/// One observation, and what it comes to.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    /// As it was said.
    #[serde(flatten)]
    pub observation: Observation,
    /// Bindings that are meant.
    pub bindings: Vec<String>,
    /// The domain or tenant, where the configuration knows it.
    pub name: Option<String>,
    /// good, warn, bad; none where no rule judges it.
    pub grade: Option<&'static str>,
    /// What it weighs now, from 1 down to 0.
    pub influence: f64,
}

/// One feed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FeedSnapshot {
    /// Its name.
    pub feed: String,
    /// Who is asked.
    pub kind: &'static str,
    /// Whether the last fetch worked; `None` before the first of this run.
    pub up: Option<bool>,
    /// How the last fetch of this run ended.
    pub outcome: Option<&'static str>,
    /// Why it failed, in words.
    pub detail: String,
    /// Whether somebody must look after the credentials.
    pub credentials_refused: bool,
    /// When the credentials end, as far as that is known.
    #[serde(with = "rfc3339::option")]
    pub credential_expires: Option<Wall>,
    /// Last fetch.
    #[serde(with = "rfc3339::option")]
    pub last_try: Option<Wall>,
    /// Last fetch that worked.
    #[serde(with = "rfc3339::option")]
    pub last_success: Option<Wall>,
    /// When it is asked next.
    #[serde(with = "rfc3339")]
    pub next: Wall,
    /// End of the newest period.
    #[serde(with = "rfc3339::option")]
    pub newest: Option<Wall>,
    /// Fetches of this run by outcome.
    pub fetches: BTreeMap<&'static str, u64>,
    /// Fields that nobody knows, counted in this run.
    pub unknown_fields: u64,
    /// Their names.
    pub unknown: Vec<String>,
    /// Of each binding: 2 bad, 1 warn, 0 good, −1 unknown.
    pub states: BTreeMap<String, i8>,
    /// What is known.
    pub observations: Vec<Seen>,
}

impl FeedSnapshot {
    pub(super) fn of(feed: &Feed, state: &State, herd: &Herd, now: Wall) -> Self {
        let grades = state.book.grades(feed, herd, now);
        let number = |grade: Option<&Grade>| match grade {
            None => -1,
            Some(Grade::Good) => 0,
            Some(Grade::Warn) => 1,
            Some(Grade::Bad) => 2,
        };
        let mut observations: Vec<Seen> = state.book.all().map(|seen| shown(feed, herd, seen, now)).collect();
        observations.sort_by_key(|seen| (seen.bindings.is_empty(), seen.name.is_none()));
        observations.truncate(MOST_SHOWN);
        let schedule = &state.memory.schedule;
        let outcome = state.last.as_ref().map(|(outcome, _)| *outcome);
        Self {
            feed: feed.name.clone(),
            kind: feed.kind.as_str(),
            up: outcome.map(|outcome| matches!(outcome, Outcome::Ok | Outcome::NoData)),
            outcome: outcome.map(Outcome::as_str),
            detail: state.last.as_ref().map(|(_, detail)| detail.clone()).unwrap_or_default(),
            credentials_refused: outcome.is_some_and(Outcome::is_about_credentials),
            credential_expires: feed.credential_expires.into_iter().chain(state.memory.refresh_ends).min(),
            last_try: schedule.last_try,
            last_success: schedule.last_success,
            next: schedule.next,
            newest: state.book.newest(),
            fetches: state.fetches.iter().map(|(outcome, count)| (outcome.as_str(), *count)).collect(),
            unknown_fields: state.unknown_fields,
            unknown: state.unknown.clone(),
            states: herd.bindings().map(|binding| (binding.to_string(), number(grades.get(binding)))).collect(),
            observations,
        }
    }
}

fn shown(feed: &Feed, herd: &Herd, seen: &Observation, now: Wall) -> Seen {
    let grade = feed.metrics.get(&seen.metric).and_then(|rules| Grade::of(rules, seen.value));
    Seen {
        bindings: herd.meant(feed, &seen.scope).iter().map(ToString::to_string).collect(),
        name: herd.known_name(&seen.scope).map(str::to_owned),
        grade: grade.map(Grade::as_str),
        influence: feed.influence(now.since(seen.ends)),
        observation: seen.clone(),
    }
}
