//! What the defaults of `complaint_*` mean in messages: independent complaints at a true share, judged at each of them.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::super::fixtures::rules;
use super::ledger::Counted;
use super::posterior::exceeds;

/// Messages until `limit` counts as exceeded; `None` where it does not among so many.
fn until(rate: f64, limit: f64, messages: u64, seed: u64) -> Option<u64> {
    let rules = rules();
    let mut random = SmallRng::seed_from_u64(seed);
    let mut counted = Counted::default();
    loop {
        // From one complaint to the next: a geometric number of messages.
        let gap = (1.0 - random.random::<f64>()).ln() / (1.0 - rate).ln();
        counted.accepted += gap as u64 + 1;
        counted.complaints += 1;
        if counted.accepted > messages {
            return None;
        }
        if exceeds(counted, limit, &rules) {
            return Some(counted.accepted);
        }
    }
}

fn alarms(rate: f64, limit: f64) -> usize {
    (0..1_000).filter(|&seed| until(rate, limit, 100_000, seed).is_some()).count()
}

fn median(rate: f64, limit: f64) -> u64 {
    let mut all: Vec<u64> = (0..401).map(|seed| until(rate, limit, 1_000_000, seed).unwrap_or(u64::MAX)).collect();
    all.sort_unstable();
    all[200]
}

#[test]
fn routes_that_are_well_are_hardly_ever_throttled_and_never_suspended() {
    let rules = rules();
    let (throttle, suspend) = (rules.complaint_throttle, rules.complaint_suspend);
    // true share, limit, runs of 1,000 over 100,000 messages at most
    let table = [(0.0005, throttle, 0), (0.0008, throttle, 5), (0.001, suspend, 0), (0.0015, suspend, 0)];
    for (rate, limit, most) in table {
        let got = alarms(rate, limit);
        assert!(got <= most, "{rate} against {limit}: {got} of 1,000");
    }
}

#[test]
fn routes_that_are_not_are_found_after_so_many_messages() {
    let rules = rules();
    let (throttle, suspend) = (rules.complaint_throttle, rules.complaint_suspend);
    // true share, limit, messages at most (median of 401 runs)
    let table = [
        (0.002, throttle, 10_000),
        (0.003, throttle, 4_500),
        (0.01, throttle, 800),
        (0.005, suspend, 10_500),
        (0.01, suspend, 2_300),
        (0.02, suspend, 900),
    ];
    for (rate, limit, most) in table {
        let median = median(rate, limit);
        assert!(median <= most, "{rate} against {limit}: {median}");
    }
}
