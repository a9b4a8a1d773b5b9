//! What is known from one feed, and what follows from it.
//!
//! Of each scope and metric the newest observation is kept, by the end of its period: a later good day lifts a bad one,
//! a late report of an earlier day changes nothing. An observation ages from the end of its period, not from when we
//! fetched it; a bad one acts until a quarter of its weight is left ([`Feed::bad_for`]), a good one is good until
//! `max_age`. What is older, or was never said, is unknown: neither good nor bad.
//!
//! A feed alone never suspends. What is bad becomes [`Evidence::Reported`], a throttle with an end: of the binding's route
//! to the feed's provider, or of the binding. What all feeds say of one subject is put together before it is told
//! ([`tell`]), so that good news of one does not undo the bad news of another.

use std::collections::BTreeMap;

use super::observation::{Observation, Scope, Value};
use super::whose::Herd;
use crate::clock::Wall;
use crate::config::{Feed, FeedMetric};
use crate::message::{BindingName, DestinationName};
use crate::reputation::{Evidence, Subject};

/// Observations kept of one feed.
const MOST: usize = 50_000;

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

/// What is known from one feed.
#[derive(Debug, Default)]
pub struct Book {
    kept: BTreeMap<(Scope, String), Observation>,
}

impl Book {
    /// What was known before a restart.
    pub fn restored(observations: Vec<Observation>) -> Self {
        let keyed = observations.into_iter().take(MOST).map(|seen| ((seen.scope.clone(), seen.metric.clone()), seen));
        Self { kept: keyed.collect() }
    }

    /// Everything that is kept.
    pub fn all(&self) -> impl Iterator<Item = &Observation> {
        self.kept.values()
    }

    /// What was last said of a scope.
    pub fn last(&self, scope: &Scope, metric: &str) -> Option<&Observation> {
        self.kept.get(&(scope.clone(), metric.to_owned()))
    }

    /// The end of the newest period.
    pub fn newest(&self) -> Option<Wall> {
        self.all().map(|seen| seen.ends).max()
    }

    /// Takes in a report. Returns what changed its grade: nothing for what is good from the beginning.
    pub fn take(&mut self, observations: Vec<Observation>, feed: &Feed, now: Wall) -> Vec<Turn> {
        let mut turns = Vec::new();
        for seen in observations {
            let Some(rules) = feed.metrics.get(&seen.metric) else { continue };
            if now.since(seen.ends) >= feed.max_age {
                continue;
            }
            let key = (seen.scope.clone(), seen.metric.clone());
            let known = self.kept.get(&key);
            if known.is_some_and(|known| known.ends > seen.ends) || (known.is_none() && self.kept.len() >= MOST) {
                continue;
            }
            let from = known.and_then(|known| Grade::of(rules, known.value));
            if let Some(to) = Grade::of(rules, seen.value).filter(|to| from.unwrap_or(Grade::Good) != *to) {
                turns.push(Turn { observation: seen.clone(), from, to });
            }
            self.kept.insert(key, seen);
        }
        turns
    }

    /// Forgets what is too old. What ends in the future, since a clock was set back, ends now.
    pub fn sweep(&mut self, feed: &Feed, now: Wall) {
        self.kept.values_mut().for_each(|seen| seen.ends = seen.ends.min(now));
        self.kept.retain(|(_, metric), seen| now.since(seen.ends) < feed.max_age && feed.metrics.contains_key(metric));
    }

    /// The grades that still count, with what they are about.
    fn judged<'a>(&'a self, feed: &'a Feed, now: Wall) -> impl Iterator<Item = (&'a Observation, Grade)> {
        self.all().filter_map(move |seen| {
            let grade = Grade::of(feed.metrics.get(&seen.metric)?, seen.value)?;
            let counts_for = if grade == Grade::Good { feed.max_age } else { feed.bad_for() };
            (now.since(seen.ends) < counts_for).then_some((seen, grade))
        })
    }

    /// The worst grade that counts of each binding; a binding of which nothing is known is not in it.
    pub fn grades(&self, feed: &Feed, herd: &Herd, now: Wall) -> BTreeMap<BindingName, Grade> {
        let mut worst = BTreeMap::new();
        for (seen, grade) in self.judged(feed, now) {
            for binding in herd.meant(feed, &seen.scope) {
                let known = worst.entry(binding.clone()).or_insert(grade);
                *known = grade.max(*known);
            }
        }
        worst
    }

    /// Adds what this feed has to say of each subject to `verdicts`.
    pub fn judge(&self, feed: &Feed, herd: &Herd, verdicts: &mut BTreeMap<Subject, Verdict>, now: Wall) {
        for (seen, grade) in self.judged(feed, now) {
            for binding in herd.meant(feed, &seen.scope) {
                let subject = match &feed.provider {
                    Some(provider) => Subject::Route(binding.clone(), DestinationName::new(provider.as_str())),
                    None => Subject::Binding(binding.clone()),
                };
                let verdict = verdicts.entry(subject).or_default();
                if grade != Grade::Bad {
                    continue;
                }
                let until = seen.ends.plus(feed.bad_for());
                verdict.until = verdict.until.max(Some(until));
                let Observation { scope, metric, value, ends, .. } = seen;
                verdict.words.push(format!("{}: {metric} {value} for {scope}, period to {ends}", feed.name));
            }
        }
    }
}

/// What all feeds together say of a subject of which at least one knows something.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Until when something bad counts.
    pub until: Option<Wall>,
    /// What it is.
    pub words: Vec<String>,
}

/// What is to be told now, given what was told before. Of what is no more known nothing is told: what was bad ends by
/// itself.
pub fn tell(told: &mut BTreeMap<Subject, Verdict>, verdicts: BTreeMap<Subject, Verdict>) -> Vec<Evidence> {
    let news = verdicts.iter().filter(|(subject, verdict)| told.get(subject) != Some(verdict));
    let news = news.map(|(subject, verdict)| {
        let (binding, destination) = match subject {
            Subject::Binding(binding) => (binding, None),
            Subject::Route(binding, to) => (binding, Some(to.clone())),
        };
        let detail = match verdict.words.is_empty() {
            true => "nothing bad is reported".to_owned(),
            false => verdict.words.join("; "),
        };
        Evidence::Reported { binding: binding.clone(), destination, until: verdict.until, detail }
    });
    let news = news.collect();
    *told = verdicts;
    news
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
