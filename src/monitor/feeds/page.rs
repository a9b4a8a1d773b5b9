//! What follows from what one feed has said.
//!
//! A bad observation acts until a quarter of its weight is left ([`Feed::bad_for`]), a good one is good until `max_age`.
//! What is older, or was never said, is unknown: neither good nor bad.
//!
//! A feed alone never suspends. What is bad becomes [`Evidence::Reported`], a throttle with an end: of the binding's route
//! to the feed's provider, or of the binding. What all feeds say of one subject is put together before it is told
//! ([`tell`]), so that good news of one does not undo the bad news of another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::book::Grade;
use super::observation::Observation;
use super::whose::Herd;
use crate::clock::Wall;
use crate::config::Feed;
use crate::message::{BindingName, DestinationName};
use crate::reputation::{Evidence, Subject};

/// A copy of a book that shares the observations: whoever looks at it keeps nobody from writing.
#[derive(Clone, Debug, Default)]
pub struct Page {
    kept: Vec<Arc<Observation>>,
    held: BTreeSet<BindingName>,
}

impl Page {
    /// These observations; the bad ones about `held` act on nobody.
    pub fn new(kept: Vec<Arc<Observation>>, held: BTreeSet<BindingName>) -> Self {
        Self { kept, held }
    }

    /// Everything on it.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Observation>> {
        self.kept.iter()
    }

    /// The grades that still count, with what they are about.
    fn judged<'a>(&'a self, feed: &'a Feed, now: Wall) -> impl Iterator<Item = (&'a Observation, Grade)> {
        self.all().filter_map(move |seen| {
            let grade = Grade::of(feed.metrics.get(&seen.metric)?, seen.value)?;
            let counts_for = if grade == Grade::Good { feed.max_age } else { feed.bad_for() };
            (now.since(seen.ends) < counts_for).then_some((&**seen, grade))
        })
    }

    /// The worst grade that counts of each binding, held or not; a binding of which nothing is known is not in it.
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

    /// Bindings that are bad, held or not.
    pub fn bad(&self, feed: &Feed, herd: &Herd, now: Wall) -> BTreeSet<BindingName> {
        let grades = self.grades(feed, herd, now).into_iter();
        grades.filter(|(_, grade)| *grade == Grade::Bad).map(|(binding, _)| binding).collect()
    }

    /// Bindings that are bad and believed to be.
    pub fn acting(&self, feed: &Feed, herd: &Herd, now: Wall) -> BTreeSet<BindingName> {
        self.bad(feed, herd, now).difference(&self.held).cloned().collect()
    }

    /// Bindings that are bad and not believed to be.
    pub fn held(&self, grades: &BTreeMap<BindingName, Grade>) -> Vec<BindingName> {
        self.held.iter().filter(|binding| grades.get(*binding) == Some(&Grade::Bad)).cloned().collect()
    }

    /// Adds what this feed has to say of each subject to `verdicts`; of whom it is not believed it says nothing.
    pub fn judge(&self, feed: &Feed, herd: &Herd, verdicts: &mut BTreeMap<Subject, Verdict>, now: Wall) {
        for (seen, grade) in self.judged(feed, now) {
            for binding in herd.meant(feed, &seen.scope).into_iter().filter(|name| !self.held.contains(*name)) {
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

/// What is to be taken back when the configuration has changed: what was told, still counts, and nobody says any more. It
/// would end by itself, but who says nothing any more is not to be believed that long. Only `known` bindings are told.
pub fn withdrawn(
    told: &BTreeMap<Subject, Verdict>,
    verdicts: &BTreeMap<Subject, Verdict>,
    known: impl Fn(&BindingName) -> bool,
    now: Wall,
) -> Vec<Evidence> {
    let counts = |verdict: &Verdict| verdict.until.is_some_and(|until| until > now);
    let gone = told.iter().filter(|(subject, verdict)| counts(verdict) && !verdicts.contains_key(*subject));
    let gone = gone.map(|(subject, _)| said_of(subject, None, "no feed reports on it any more".to_owned()));
    gone.filter(|evidence| matches!(evidence, Evidence::Reported { binding, .. } if known(binding))).collect()
}

fn said_of(subject: &Subject, until: Option<Wall>, detail: String) -> Evidence {
    let (binding, destination) = match subject {
        Subject::Binding(binding) => (binding, None),
        Subject::Route(binding, to) => (binding, Some(to.clone())),
    };
    Evidence::Reported { binding: binding.clone(), destination, until, detail }
}

/// What is to be told now, given what was told before. Of what is no more known nothing is told: what was bad ends by
/// itself.
pub fn tell(told: &mut BTreeMap<Subject, Verdict>, verdicts: BTreeMap<Subject, Verdict>) -> Vec<Evidence> {
    let news = verdicts.iter().filter(|(subject, verdict)| told.get(subject) != Some(verdict));
    let news = news.map(|(subject, verdict)| {
        let detail = match verdict.words.is_empty() {
            true => "nothing bad is reported".to_owned(),
            false => verdict.words.join("; "),
        };
        said_of(subject, verdict.until, detail)
    });
    let news = news.collect();
    *told = verdicts;
    news
}
