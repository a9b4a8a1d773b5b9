//! What is shown of a feed: for `/api/v1/feeds` and the metrics. Nothing secret is in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Outcome;
use super::book::{Dropped, Grade};
use super::memory::Memory;
use super::observation::Observation;
use super::page::Page;
use super::runner::State;
use super::whose::Herd;
use crate::clock::{Wall, rfc3339};
use crate::config::Feed;
use crate::message::BindingName;

/// Observations of strangers that are shown of a feed; of ours all are.
const OTHERS_SHOWN: usize = 200;

/// One observation, and what it comes to.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = FeedSeen)]
pub struct Seen {
    /// As it was said.
    #[serde(flatten)]
    #[schema(value_type = Observation)]
    pub observation: Arc<Observation>,
    /// Bindings that are meant.
    pub bindings: Vec<BindingName>,
    /// The domain or tenant, where the configuration knows it.
    pub name: Option<String>,
    /// good, warn, bad; none where no rule judges it.
    pub grade: Option<&'static str>,
    /// What it weighs now, from 1 down to 0.
    pub influence: f64,
}

/// One feed.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
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
    #[schema(value_type = Option<String>, format = DateTime)]
    pub credential_expires: Option<Wall>,
    /// Last fetch.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_try: Option<Wall>,
    /// Last fetch that worked.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_success: Option<Wall>,
    /// When it is asked next.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub next: Wall,
    /// End of the newest period.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub newest: Option<Wall>,
    /// Since when there is no newer report: the end of the newest period, or when the feed was first asked.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub silent_since: Wall,
    /// Bindings that it calls bad without being believed, since too many turned bad at once.
    pub held: Vec<BindingName>,
    /// What is wrong with a part of it.
    pub notes: Vec<String>,
    /// Observations for which there was no room, counted in this run.
    pub dropped: Dropped,
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

/// A copy of what a feed knows, which takes no time: whoever formats it keeps the feed from nothing.
#[derive(Debug)]
pub(super) struct Glance {
    page: Page,
    memory: Memory,
    last: Option<(Outcome, String)>,
    fetches: BTreeMap<Outcome, u64>,
    unknown_fields: u64,
    unknown: Vec<String>,
    notes: Vec<String>,
    dropped: Dropped,
}

impl Glance {
    pub(super) fn at(state: &State) -> Self {
        // Nobody reads those here.
        let memory = Memory { tried: BTreeMap::new(), ..state.memory.clone() };
        Self {
            page: state.book.page(),
            memory,
            last: state.last.clone(),
            fetches: state.fetches.clone(),
            unknown_fields: state.unknown_fields,
            unknown: state.unknown.clone(),
            notes: state.notes.clone(),
            dropped: state.dropped,
        }
    }
}

impl FeedSnapshot {
    pub(super) fn of(feed: &Feed, glance: Glance, herd: &Herd, is_whole: bool, now: Wall) -> Self {
        let grades = glance.page.grades(feed, herd, now);
        let number = |grade: Option<&Grade>| match grade {
            None => -1,
            Some(Grade::Good) => 0,
            Some(Grade::Warn) => 1,
            Some(Grade::Bad) => 2,
        };
        let Glance { page, memory, last, .. } = glance;
        let outcome = last.as_ref().map(|(outcome, _)| *outcome);
        Self {
            feed: feed.name.clone(),
            kind: feed.kind.as_str(),
            up: outcome.map(|outcome| matches!(outcome, Outcome::Ok | Outcome::NoData)),
            outcome: outcome.map(Outcome::as_str),
            detail: last.map(|(_, detail)| detail).unwrap_or_default(),
            credentials_refused: outcome.is_some_and(Outcome::is_about_credentials),
            credential_expires: feed.credential_expires.into_iter().chain(memory.refresh_ends).min(),
            last_try: memory.schedule.last_try,
            last_success: memory.schedule.last_success,
            next: memory.schedule.next,
            newest: memory.newest,
            silent_since: memory.silent_since(now),
            held: page.held(&grades),
            notes: glance.notes,
            dropped: glance.dropped,
            fetches: glance.fetches.iter().map(|(outcome, count)| (outcome.as_str(), *count)).collect(),
            unknown_fields: glance.unknown_fields,
            unknown: glance.unknown,
            states: herd.bindings().map(|binding| (binding.to_string(), number(grades.get(binding)))).collect(),
            observations: if is_whole { observations(feed, &page, herd, now) } else { Vec::new() },
        }
    }
}

/// Those about our bindings, then those about our domains and tenants, then some of the others.
fn observations(feed: &Feed, page: &Page, herd: &Herd, now: Wall) -> Vec<Seen> {
    let (mut bindings, mut names, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for seen in page.all() {
        let (meant, name) = (herd.meant(feed, &seen.scope), herd.known_name(&seen.scope));
        let rank = match (meant.is_empty(), name) {
            (false, _) => &mut bindings,
            (true, Some(_)) => &mut names,
            (true, None) if others.len() >= OTHERS_SHOWN => continue,
            (true, None) => &mut others,
        };
        let grade = feed.metrics.get(&seen.metric).and_then(|rules| Grade::of(rules, seen.value));
        rank.push(Seen {
            bindings: meant.into_iter().cloned().collect(),
            name: name.map(str::to_owned),
            grade: grade.map(Grade::as_str),
            influence: feed.influence(now.since(seen.ends)),
            observation: Arc::clone(seen),
        });
    }
    bindings.into_iter().chain(names).chain(others).collect()
}
