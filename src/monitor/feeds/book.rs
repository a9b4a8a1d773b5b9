//! What is known from one feed.
//!
//! Of each scope and metric the newest observation is kept, by the end of its period: a later good day lifts a bad one,
//! a late report of an earlier day changes nothing. An observation ages from the end of its period, not from when we
//! fetched it. What is said of ours has room of its own: however much is said of strangers, they only crowd out each
//! other, and what found no room is counted.
//!
//! A reporter errs as well. Where one fetch turns more of our bindings bad than its blast radius (a share of those it
//! can see, at least [`ALWAYS`]), the news are kept and shown, but held: they act on nobody until a later fetch leaves
//! few enough of them. Bindings that were bad before stay so. Real trouble of that size shows in the replies at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::observation::{Observation, Scope, Value};
use super::page::Page;
use super::whose::Herd;
use super::{postmaster, snds};
use crate::clock::Wall;
use crate::config::{Feed, FeedKind, FeedMetric};
use crate::message::BindingName;

/// Observations of ours that are kept of one feed.
const MOST_OURS: usize = 50_000;
/// Observations of strangers that are kept of one feed: enough to see what it says at all.
const MOST_OTHERS: usize = 2_000;
/// Bindings that turn bad in one fetch and are always believed.
const ALWAYS: usize = 3;

/// How good it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Nothing is wrong.
    Good,
    /// Somebody should know.
    Warn,
    /// Bad enough to send less.
    Bad,
}

impl Grade {
    /// Stable text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }

    /// What a value comes to; `None` where no rule judges it.
    pub fn of(rules: &FeedMetric, value: Value) -> Option<Self> {
        let out = |above: Option<f64>, below: Option<f64>| {
            above.is_some_and(|limit| value.is_above(limit)) || below.is_some_and(|limit| value.is_below(limit))
        };
        if out(rules.throttle_above, rules.throttle_below) {
            return Some(Self::Bad);
        }
        if out(rules.warn_above, rules.warn_below) {
            return Some(Self::Warn);
        }
        let judged = rules.warn_above.or(rules.warn_below).or(rules.throttle_above).or(rules.throttle_below);
        judged.map(|_| Self::Good)
    }
}

/// A grade that changed: news for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// What was said.
    pub observation: Observation,
    /// Before; `None` where nothing was known.
    pub from: Option<Grade>,
    /// Now.
    pub to: Grade,
}

/// Observations for which there was no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = FeedDropped)]
pub struct Dropped {
    /// About a binding, domain or tenant of ours.
    pub ours: u64,
    /// About anybody else.
    pub others: u64,
}

/// What came of a report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Taken {
    /// What changed its grade: nothing for what is good from the beginning.
    pub turns: Vec<Turn>,
    /// What found no room.
    pub dropped: Dropped,
}

/// What is known from one feed.
#[derive(Debug, Default)]
pub struct Book {
    kept: BTreeMap<(Scope, String), Arc<Observation>>,
    held: BTreeSet<BindingName>,
}

impl Book {
    /// What was known before a restart, and whose bad news were held.
    pub fn restored(observations: Vec<Observation>, held: BTreeSet<BindingName>) -> Self {
        let keyed = observations.into_iter().take(MOST_OURS + MOST_OTHERS);
        let keyed = keyed.map(|seen| ((seen.scope.clone(), seen.metric.clone()), Arc::new(seen)));
        Self { kept: keyed.collect(), held }
    }

    /// Everything that is kept.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Observation>> {
        self.kept.values()
    }

    /// Bindings whose bad news were held at the last report.
    pub fn held(&self) -> &BTreeSet<BindingName> {
        &self.held
    }

    /// As it is now, to be looked at without it.
    pub fn page(&self) -> Page {
        Page::new(self.all().cloned().collect(), self.held.clone())
    }

    /// Takes in a report.
    pub fn take(&mut self, observations: Vec<Observation>, feed: &Feed, herd: &Herd, now: Wall) -> Taken {
        let believed = self.page().acting(feed, herd, now);
        let ours = self.all().filter(|seen| herd.is_ours(feed, &seen.scope)).count();
        let others = self.kept.len() - ours;
        let mut room = (MOST_OURS.saturating_sub(ours), MOST_OTHERS.saturating_sub(others));
        let mut taken = Taken::default();
        for seen in observations {
            let Some(rules) = feed.metrics.get(&seen.metric) else { continue };
            if now.since(seen.ends) >= feed.max_age {
                continue;
            }
            let key = (seen.scope.clone(), seen.metric.clone());
            let known = self.kept.get(&key);
            if known.is_some_and(|known| known.ends > seen.ends) {
                continue;
            }
            if known.is_none() {
                let (room, dropped) = match herd.is_ours(feed, &seen.scope) {
                    true => (&mut room.0, &mut taken.dropped.ours),
                    false => (&mut room.1, &mut taken.dropped.others),
                };
                if *room == 0 {
                    *dropped += 1;
                    continue;
                }
                *room -= 1;
            }
            let from = known.and_then(|known| Grade::of(rules, known.value));
            if let Some(to) = Grade::of(rules, seen.value).filter(|to| from.unwrap_or(Grade::Good) != *to) {
                taken.turns.push(Turn { observation: seen.clone(), from, to });
            }
            self.kept.insert(key, Arc::new(seen));
        }
        self.weigh(&believed, feed, herd, now);
        taken
    }

    /// Holds what turned bad, if it is more than is believable.
    fn weigh(&mut self, believed: &BTreeSet<BindingName>, feed: &Feed, herd: &Herd, now: Wall) {
        let bad = self.page().bad(feed, herd, now);
        let new: BTreeSet<BindingName> = bad.difference(believed).cloned().collect();
        let most = (feed.blast_radius * herd.covered(feed) as f64).max(ALWAYS as f64);
        self.held = if new.len() as f64 > most { new } else { BTreeSet::new() };
    }

    /// Forgets what is too old. What ends in the future, since a clock was set back, ends now.
    pub fn sweep(&mut self, feed: &Feed, now: Wall) {
        for seen in self.kept.values_mut().filter(|seen| seen.ends > now) {
            Arc::make_mut(seen).ends = now;
        }
        self.kept.retain(|(_, metric), seen| now.since(seen.ends) < feed.max_age && feed.metrics.contains_key(metric));
    }
}

/// The end of the newest period that a report was about. States of the moment are there at every fetch, also where the
/// reports have long ceased: they prove nothing.
pub fn newest(observations: &[Observation], kind: FeedKind) -> Option<Wall> {
    let states: &[&str] = match kind {
        FeedKind::Snds | FeedKind::SndsCsv => &snds::STATES,
        FeedKind::Postmaster => &postmaster::STATES,
        FeedKind::Wqs | FeedKind::Json | FeedKind::Csv => &[],
    };
    observations.iter().filter(|seen| !states.contains(&seen.metric.as_str())).map(|seen| seen.ends).max()
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
