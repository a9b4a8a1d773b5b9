//! What the fuse does, measured: seeded runs over one route at 1,000 messages an hour.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::clock::Wall;
use crate::reputation::fixtures;
use crate::reputation::tally::Tally;

/// What happened first.
#[derive(Debug, PartialEq)]
enum First {
    Out(u64),
    Held(Vec<String>, u64),
    Nothing,
}

/// Answers of one route, drawn one by one: the tenant and whether it bounced.
type Source<'a> = dyn FnMut(&mut SmallRng) -> (usize, bool) + 'a;

fn run(tenants: usize, messages: u64, seed: u64, source: &mut Source<'_>) -> First {
    let (rules, mut groups) = (fixtures::rules(), Groups::default());
    let (steps, mut tally) = (Steps::new(&rules), Tally::new(rules.window));
    let numbers: Vec<u64> = (0..tenants)
        .map(|n| groups.number_of(&Group { tenant: format!("t{n}").as_str().into(), stream: None, domain: None }))
        .collect();
    let mut rng = SmallRng::seed_from_u64(seed);
    for sent in 1..=messages {
        let now = Wall::from_millis(1_800_000_000_000).plus(Duration::from_millis(sent * 3_600));
        let (tenant, event) = source(&mut rng);
        tally.add(Key { group: numbers[tenant], place: 0 }, event, steps, now);
        if !event {
            continue;
        }
        let Some(case) = Case::alarm(&mut tally, &rules, now) else { continue };
        match case.culprits(&groups, &rules) {
            Blamed::Mail(mail) => {
                return First::Held(mail.iter().map(|culprit| culprit.group.tenant.to_string()).collect(), sent);
            }
            Blamed::Later => {}
            Blamed::Address => return First::Out(sent),
        }
    }
    First::Nothing
}

/// Every tenant bounces at `rate`.
fn even(tenants: usize, rate: f64, messages: u64, seed: u64) -> First {
    run(tenants, messages, seed, &mut |rng| (rng.random_range(0..tenants), rng.random_bool(rate)))
}

/// Runs that were not left alone, in percent.
fn alarms(runs: u64, one: impl Fn(u64) -> First) -> f64 {
    (0..runs).filter(|&seed| one(seed) != First::Nothing).count() as f64 * 100.0 / runs as f64
}

/// The median of the messages after which the address is out, and the share of runs in percent in which it was not the
/// address that was blamed first.
fn found(tenants: usize, rate: f64, runs: u64) -> (u64, f64) {
    let mut sent = Vec::new();
    let mut others = 0;
    for seed in 0..runs {
        match even(tenants, rate, 20_000, 10_000 + seed) {
            First::Out(at) => sent.push(at),
            First::Held(..) => others += 1,
            First::Nothing => sent.push(u64::MAX),
        }
    }
    sent.sort_unstable();
    (sent.get(sent.len() / 2).copied().unwrap_or(u64::MAX), f64::from(others) * 100.0 / runs as f64)
}

#[test]
#[ignore]
fn table() {
    for tenants in [1, 2, 3, 5, 10] {
        println!("{tenants}: 2 % {} 3 % {}", alarms(300, |s| even(tenants, 0.02, 10_000, s)), alarms(100, |s| even(tenants, 0.03, 10_000, s)));
        for rate in [0.06, 0.08, 0.10, 0.20, 0.5, 1.0] {
            println!("   {rate}: {:?}", found(tenants, rate, 300));
        }
        println!("   runs: {}", alarms(200, |s| in_runs(tenants, 10_000, s)));
        for (share, rate) in [(0.1, 0.3), (0.25, 0.2), (0.5, 0.2), (0.25, 0.5), (0.8,0.2)] {
            if tenants == 1 { continue }
            let mut c = [0; 4];
            let mut when = vec![];
            for seed in 0..200 {
                match one_bad(tenants, share, rate, seed) {
                    First::Out(_) => c[0] += 1,
                    First::Held(who, at) if who == ["t0"] => { c[1] += 1; when.push(at) },
                    First::Held(..) => c[2] += 1,
                    First::Nothing => c[3] += 1,
                }
            }
            when.sort();
            println!("   list {share} {rate}: out/held/wrong/none {c:?} {:?}", when.get(when.len()/2));
        }
    }
}

/// The first tenant has `share` of the mail and bounces at `rate`, the others at 2 %.
fn one_bad(tenants: usize, share: f64, rate: f64, seed: u64) -> First {
    run(tenants, 5_000, 20_000 + seed, &mut |rng| {
        let bad = rng.random_bool(share);
        let tenant = if bad { 0 } else { rng.random_range(1..tenants) };
        (tenant, rng.random_bool(if bad { rate } else { 0.02 }))
    })
}

/// 2 % on average, in runs of ten that go to as many domains.
fn in_runs(tenants: usize, messages: u64, seed: u64) -> First {
    let mut left = (0, 0);
    run(tenants, messages, seed, &mut move |rng| {
        if left.1 == 0 && rng.random_bool(0.002 / 0.98) {
            left = (rng.random_range(0..tenants), 10);
        }
        if left.1 > 0 {
            left.1 -= 1;
            return (left.0, true);
        }
        (rng.random_range(0..tenants), false)
    })
}
