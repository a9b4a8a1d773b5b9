//! Toy worlds: a handful of bindings at one provider, a chance for each, and a rule that shares the mail out. Seeded.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::former::{FULL as FORMER_FULL, Success};
use super::{FULL, Prediction};
use crate::clock::{Mono, Now};
use crate::config::{Config, Spread};
use crate::reputation::Signal;
use crate::scheduler::testing::{Bench, TestConfig};
use crate::scheduler::{BindingId, Experience};

/// What a receiver does with a recipient.
#[derive(Clone, Copy, Debug)]
pub(super) struct Odds {
    pub(super) deferred: f64,
    pub(super) blamed: f64,
}

pub(super) const WELL: Odds = Odds { deferred: 0.02, blamed: 0.0 };

pub(super) fn deferring(deferred: f64) -> Odds {
    Odds { deferred, blamed: 0.0 }
}

/// Who shares out.
pub(super) trait Rule {
    /// The part of its weight a binding keeps (0 to 1).
    fn part(&self, binding: usize) -> f64;
    fn learn(&mut self, binding: usize, seen: &Experience, now: Now);
}

/// The rule of this module, in a scheduler.
pub(super) struct Present {
    pub(super) bench: Bench,
    pub(super) config: Config,
    seed: u64,
}

impl Present {
    pub(super) fn new(bindings: usize, seed: u64) -> Self {
        Self::with(bindings, seed, |_| {})
    }

    pub(super) fn with(bindings: usize, seed: u64, change: impl FnOnce(&mut Config)) -> Self {
        let names: Vec<String> = (0..bindings).map(|n| format!("m{n}")).collect();
        let config = names.iter().fold(TestConfig::default(), |config, name| config.binding(name, |_| {}));
        let members: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 1)).collect();
        let config = config.provider("gmail", |_| {}).pool("p", &[&members], |pool| pool.spread = Spread::Reputation);
        let mut config = config.build();
        change(&mut config);
        let mut present = Self { bench: Bench::new(&config, &[]), config, seed };
        present.start(&[]);
        present
    }

    /// Begins anew with what was written.
    pub(super) fn start(&mut self, facts: &[(String, Vec<u8>)]) {
        let now = self.bench.now;
        let scheduler = crate::scheduler::Scheduler::new(&self.config, &[], self.seed, now);
        self.bench = Bench { scheduler, now, hold_grants: false };
        self.bench.request("gmail");
        let facts = facts.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        let bad = self.bench.scheduler.restore_predictions(facts, now);
        assert!(bad.is_empty(), "{bad:?}");
    }

    pub(super) fn predicted(&mut self, binding: usize) -> Prediction {
        let to = self.bench.destination("gmail");
        let now = self.bench.now;
        self.bench.scheduler.predicted(BindingId(binding as u32), to, now).expect("asked for")
    }

    pub(super) fn told(&mut self, binding: usize, complaints: f64, listed: f64) {
        let subject = crate::reputation::Subject::Binding(format!("m{binding}").as_str().into());
        let now = self.bench.now;
        self.bench.scheduler.signalled(&Signal { subject, complaints, listed }, now);
    }
}

impl Rule for Present {
    fn part(&self, binding: usize) -> f64 {
        f64::from(self.bench.scheduler.predictions.kept(BindingId(binding as u32), 1)) / f64::from(FULL)
    }

    fn learn(&mut self, binding: usize, seen: &Experience, now: Now) {
        self.bench.now = now;
        let to = self.bench.destination("gmail");
        self.bench.scheduler.experienced(BindingId(binding as u32), to, seen, now);
    }
}

impl Rule for Success {
    fn part(&self, binding: usize) -> f64 {
        f64::from(self.twentieths(BindingId(binding as u32), 0)) / f64::from(FORMER_FULL)
    }

    fn learn(&mut self, binding: usize, seen: &Experience, now: Now) {
        Success::learn(self, BindingId(binding as u32), 0, seen, now.mono);
    }
}

pub(super) fn former(bindings: usize) -> Success {
    let mut success = Success::default();
    success.reshape(bindings, &[Some(0)]);
    success
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub(super) sent: u64,
    pub(super) accepted: u64,
    pub(super) blamed: u64,
    /// By hour and binding.
    pub(super) hours: Vec<Vec<u64>>,
    /// Parts at the end of each hour.
    pub(super) parts: Vec<Vec<f64>>,
    /// How often a part changed, by binding.
    pub(super) moves: Vec<u32>,
}

/// `mail` single messages a minute from `from` to `to` minutes after the start; `odds(binding, minute, its share)`.
pub(super) fn run(
    rule: &mut impl Rule,
    bindings: usize,
    mail: f64,
    (from, to): (u64, u64),
    seed: u64,
    odds: impl Fn(usize, u64, f64) -> Odds,
) -> Outcome {
    let mut rng = SmallRng::seed_from_u64(seed);
    let (mut due, mut out) = (vec![0f64; bindings], Outcome { moves: vec![0; bindings], ..Outcome::default() });
    for minute in from..to {
        let before: Vec<f64> = (0..bindings).map(|b| rule.part(b)).collect();
        let all: f64 = before.iter().sum();
        if (minute - from) % 60 == 0 {
            out.hours.push(vec![0; bindings]);
        }
        let mut mails = Vec::new();
        for binding in 0..bindings {
            due[binding] += mail * before[binding] / all;
            let carried = due[binding] as u64;
            due[binding] -= carried as f64;
            mails.extend((0..carried).map(|n| (n * 60_000 / carried, binding)));
            *out.hours.last_mut().and_then(|hour| hour.get_mut(binding)).expect("an hour") += carried;
        }
        mails.sort_unstable();
        for (millis, binding) in mails {
            let odds = odds(binding, minute, before[binding] / all);
            let (mut seen, luck) = (Experience::default(), rng.random::<f64>());
            if luck < odds.blamed {
                seen.blamed = 1;
            } else if luck < odds.blamed + odds.deferred {
                seen.deferred = 1;
            } else {
                seen.accepted = 1;
            }
            out.sent += 1;
            out.accepted += u64::from(seen.accepted);
            out.blamed += u64::from(seen.blamed);
            rule.learn(binding, &seen, at(minute, millis));
        }
        for (binding, before) in before.iter().enumerate() {
            out.moves[binding] += u32::from(rule.part(binding) != *before);
        }
        if (minute + 1 - from) % 60 == 0 {
            out.parts.push((0..bindings).map(|b| rule.part(b)).collect());
        }
    }
    out
}

/// So many minutes and milliseconds after the start.
pub(super) fn at(minute: u64, millis: u64) -> Now {
    let span = Duration::from_millis(minute * 60_000 + millis);
    let wall = crate::clock::Wall::from_millis(crate::scheduler::testing::NOON).plus(span);
    Now { mono: Mono::from_nanos(1_000_000_000 + span.as_nanos() as u64), wall }
}
