//! Rows from made-up runs; what the baselines do is seen in `tests/simulation/compare.rs`.

use super::table::{Sense, Unit};
use super::*;

fn run(policy: Policy, seed: u64, change: impl Fn(&mut Measures)) -> Run {
    let mut measures = Measures { delivered_24h: Some(0.9), ..Measures::default() };
    change(&mut measures);
    Run { policy, seed, measures, violations: 0 }
}

fn rows(runs: &[Run]) -> Vec<Row> {
    MEASURES.iter().filter_map(|measure| Row::of(measure, runs)).collect()
}

fn row<'a>(rows: &'a [Row], key: &str) -> &'a Row {
    rows.iter().find(|row| row.key == key).unwrap_or_else(|| panic!("no row {key}"))
}

#[test]
fn rows_have_medians_ranges_and_the_ratio_to_the_better_baseline() {
    let runs = (0..21u64).flat_map(|n| {
        [(Policy::Remuda, 10), (Policy::FixedFuse, 40), (Policy::Nothing, 80)]
            .map(|(policy, base)| run(policy, n, |m| m.ip_refusals = base + n))
    });
    let rows = rows(&runs.collect::<Vec<_>>());
    let blamed = row(&rows, "ip_refusals");
    let of = |policy| blamed.policies[&policy];
    assert_eq!(of(Policy::Remuda), Spread { middle: Some(20.0), low: Some(11.0), high: Some(29.0) });
    assert_eq!((blamed.better, blamed.baseline()), (Policy::FixedFuse, Some(50.0)));
    assert_eq!((blamed.ratio, blamed.difference), (Some(0.4), Some(-30.0)));
    assert_eq!((blamed.unit, blamed.sense), (Unit::Count, Sense::Less));
}

#[test]
fn what_happens_in_some_runs_only_is_averaged() {
    let runs: Vec<Run> = (0..100u64)
        .flat_map(|n| Policy::ALL.map(|policy| run(policy, n, |m| m.false_bindings = 2 * u64::from(n == 7))))
        .collect();
    let rows = rows(&runs);
    assert_eq!(row(&rows, "false_runs").middle(Policy::Remuda), Some(0.01));
    assert_eq!(row(&rows, "false_bindings").middle(Policy::Remuda), Some(0.02));
}

#[test]
fn what_never_comes_to_pass_is_worse_than_any_number_and_what_does_not_apply_has_no_row() {
    let runs: Vec<Run> = (0..5u64)
        .flat_map(|n| {
            Policy::ALL.map(|policy| {
                run(policy, n, |m| {
                    m.has_guilty = true;
                    m.detect_seconds = match policy {
                        Policy::Remuda => Some(60.0),
                        Policy::FixedFuse => (n < 3).then_some(600.0),
                        Policy::Nothing => (n < 2).then_some(6.0),
                    };
                })
            })
        })
        .collect();
    let rows = rows(&runs);
    let found = row(&rows, "detect_seconds");
    assert_eq!(found.policies[&Policy::FixedFuse], Spread { middle: Some(600.0), low: Some(600.0), high: None });
    assert_eq!(found.middle(Policy::Nothing), None, "in three of five never");
    assert_eq!((found.better, found.ratio), (Policy::FixedFuse, Some(0.1)));
    assert!(rows.iter().all(|row| row.key != "recover_seconds" && row.key != "delivered_24h_innocent"));
}

#[test]
fn more_is_better_for_what_is_delivered() {
    let runs = [(Policy::Remuda, 0.99), (Policy::FixedFuse, 0.5), (Policy::Nothing, 0.9)]
        .map(|(policy, share)| run(policy, 1, |m| m.delivered_24h = Some(share)));
    let rows = rows(&runs);
    let delivered = row(&rows, "delivered_24h");
    assert_eq!(delivered.better, Policy::Nothing);
    assert!(delivered.difference.is_some_and(|gain| (gain - 0.09).abs() < 1e-9));
}
