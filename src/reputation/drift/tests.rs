use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::super::Reputation;
use super::super::evidence::Evidence;
use super::super::fixtures::{config, rules};
use super::super::health::{Health, Subject};
use super::*;
use crate::message::MessageId;
use crate::outcome::Action;

const START: Wall = Wall::from_millis(1_800_000_000_000);
const SECOND: Duration = Duration::from_secs(1);

/// A route whose answers are deferred with a chance and take so long, give or take what latency does: its logarithm is
/// normal, with a standard deviation of 0.6.
struct Stream {
    watch: Watch,
    random: SmallRng,
    now: Wall,
    every: Duration,
}

impl Stream {
    fn new(seed: u64, every: Duration) -> Self {
        Self { watch: Watch::default(), random: SmallRng::seed_from_u64(seed), now: START, every }
    }

    /// One attempt; true while either chart has drifted.
    fn attempt(&mut self, deferred: f64, millis: f64) -> bool {
        self.now = self.now.plus(self.every);
        let normal = (0..12).map(|_| self.random.random::<f64>()).sum::<f64>() - 6.0;
        let took = Duration::from_secs_f64(millis / 1000.0 * (0.6 * normal).exp());
        let deferred = self.random.random_bool(deferred);
        self.watch.add(deferred, Some(took), &rules(), self.now)
            && [Reason::Deferrals, Reason::Latency].iter().any(|&reason| self.watch.chart(reason).drifted().is_some())
    }
}

/// Episodes of drift in a month of 4,000 messages a day without any.
fn false_alarms(deferred: f64, seed: u64) -> usize {
    let mut stream = Stream::new(seed, Duration::from_millis(21_600));
    let (mut episodes, mut last) = (0, false);
    for _ in 0..120_000 {
        let completed = stream.watch.answers;
        let _ = completed;
        stream.attempt(deferred, 400.0);
        let drifted = [Reason::Deferrals, Reason::Latency].iter().any(|&r| stream.watch.chart(r).drifted().is_some());
        episodes += usize::from(drifted && !last);
        last = drifted;
    }
    episodes
}

/// Messages until found, after 2,000 usual ones.
fn found_after(deferred: f64, slower: f64, seed: u64) -> Option<usize> {
    let mut stream = Stream::new(seed, Duration::from_millis(21_600));
    (0..2_000).for_each(|_| _ = stream.attempt(0.02, 400.0));
    (1..5_000).find(|_| stream.attempt(deferred, 400.0 * slower))
}

#[test]
fn simulate() {
    for p in [0.005, 0.02, 0.1, 0.3] {
        let got: Vec<usize> = (0..20).map(|seed| false_alarms(p, seed)).collect();
        println!("{p}: {} in 20 route months {got:?}", got.iter().sum::<usize>());
    }
    for (p, slower) in [(0.1, 1.0), (0.2, 1.0), (0.4, 1.0), (0.02, 1.6), (0.02, 2.0), (0.02, 3.0)] {
        let mut got: Vec<usize> = (0..101).map(|seed| found_after(p, slower, seed).unwrap_or(usize::MAX)).collect();
        got.sort_unstable();
        println!("{p} x{slower}: median {} 90 % {} worst {}", got[50], got[90], got[100]);
    }
}
