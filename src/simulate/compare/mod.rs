//! Is it worth it? The same worlds under Remuda and under two baselines, over many seeds.
//!
//! A [`Policy`] decides in each run; everything else (mail, receivers, happenings, the seed) is the same. The figures are
//! [`Measures`], taken against what only the scenario knows (`[truth]`).
//!
//! | policy | what decides about bindings |
//! |---|---|
//! | Remuda | the configuration as it is |
//! | fixed fuse | plain weighted round robin; a binding with more than 5 refusals (5xx) among its last 100 answered recipients is out for an hour ([`fuse`]) |
//! | no automation | plain weighted round robin |
//!
//! ## Why the baselines are fair
//!
//! They are stronger than the real ones, never weaker. Under both, queue, retries, sticky tries, the tenants' fair shares,
//! caps, paces, rates, warm-up ladders, backup tiers, windows that follow the receiver (`[window]`) and the back-off after
//! its wish for less are the program's own, and as configured: those are limits and manners, not reputation. They also
//! profit from the classifier: a 5xx that blames the address does not bounce the mail (as it would in most relays) but
//! defers it and sends it on over another binding, twice at most, and a ladder does not climb on a day of blame. What is
//! taken from them is what concludes and acts: suspensions, throttles, probation and holds (`[reputation] automation =
//! "watch"`), those that a rule asks for among them ([`Policy::heeds`]), the judgement whether mail or address is at fault,
//! and prediction (`spread = "weighted"`).
//!
//! The fuse counts replies that begin with 5 and nothing else. With deferrals in the count it is the weaker baseline: one
//! recipient in five of a company's server is greylisted at the first try, so that it blows on every address on a quiet
//! day. It takes out the whole binding, as simple automation does, and as many as trip it: no last one is spared.
//!
//! ## How it runs
//!
//! [`jobs`] lists the runs, [`Job::run`] does one (they share nothing, so threads are the caller's affair), and
//! [`Comparison::of`] makes the table of them. The result depends on scenario, configuration and seeds alone.

pub mod fuse;
mod policy;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::Serialize;

pub use self::policy::Policy;
pub use self::table::{Figure, MEASURES, Measure, Row, Sense, Spread, Unit};
use super::report::Measures;
use super::{Scenario, World};
use crate::config::Config;
use crate::outcome::Classifier;

/// What is the same in all runs.
#[derive(Clone)]
pub struct Setting {
    /// Fits the scenario ([`Scenario::check_against`]).
    pub config: Config,
    /// Its seed is the first.
    pub scenario: Scenario,
    /// Reads the replies.
    pub classifier: Arc<Classifier>,
}

/// One run to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Who decides.
    pub policy: Policy,
    /// Where the numbers come from.
    pub seed: u64,
}

/// One run that was made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// Who decided.
    pub policy: Policy,
    /// Where the numbers came from.
    pub seed: u64,
    /// What it came to.
    pub measures: Measures,
    /// Things that must never happen.
    pub violations: u64,
}

/// Every policy with `seeds` seeds from the scenario's on.
pub fn jobs(setting: &Setting, seeds: u32) -> Vec<Job> {
    let first = setting.scenario.seed;
    let with = |seed: u64| Policy::ALL.map(|policy| Job { policy, seed });
    (0..u64::from(seeds)).flat_map(|n| with(first.wrapping_add(n))).collect()
}

impl Job {
    /// Makes the run.
    pub fn run(self, setting: &Setting) -> Run {
        let Self { policy, seed } = self;
        let scenario = Scenario { seed, ..setting.scenario.clone() };
        let report = World::under(policy, setting.config.clone(), scenario, Arc::clone(&setting.classifier)).run();
        Run { policy, seed, measures: report.measures, violations: report.violation_count }
    }
}

/// What came of all runs.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The scenario's title.
    pub title: String,
    /// The first seed.
    pub first_seed: u64,
    /// How many seeds each policy had.
    pub seeds: u64,
    /// A row a measure that applies.
    pub rows: Vec<Row>,
    /// Every run.
    pub runs: Vec<Run>,
}

impl Comparison {
    /// The table of the runs of [`jobs`], in that order.
    pub fn of(setting: &Setting, runs: Vec<Run>) -> Self {
        let seeds = runs.iter().filter(|run| run.policy == Policy::Remuda).count() as u64;
        Self {
            title: setting.scenario.title.clone(),
            first_seed: setting.scenario.seed,
            seeds,
            rows: MEASURES.iter().filter_map(|measure| Row::of(measure, &runs)).collect(),
            runs,
        }
    }

    /// A row by its key.
    pub fn row(&self, key: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.key == key)
    }

    /// Things that must never happen, under Remuda.
    pub fn violations(&self) -> u64 {
        self.runs.iter().filter(|run| run.policy == Policy::Remuda).map(|run| run.violations).sum()
    }
}
