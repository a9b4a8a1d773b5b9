//! Whether it is worth it: the shipped scenarios with a `[truth]`, small, under this program and under the baselines.
//!
//! What is asked here is coarse, and over few seeds, so that it holds in worlds this small; `remuda simulate --compare`
//! measures in full. A demand that nobody can fail says nothing: each that a test names first is also put to one of the
//! baselines, which must fail it. Those it names as said besides (that as much is delivered, say) may be kept by both
//! baselines in worlds this small; there they only keep this program from paying for the first with something else.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use remuda::config::Config;
use remuda::outcome::Classifier;
use remuda::simulate::Scenario;
use remuda::simulate::compare::{Comparison, Policy, Row, Run, Setting, jobs};

/// Seeds of each policy.
const SEEDS: u32 = 2;

/// Share of the mail that counts as nothing where shares delivered are compared.
const TOLERANCE: f64 = 0.002;

/// A shipped scenario with one in `part` of its mail, to receivers that are used to as much less and on
/// ladders that are as much lower, on these of its days.
fn small(name: &str, part: u64, days: Range<u32>) -> Setting {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/scenarios");
    let path = directory.join(format!("{name}.toml"));
    let text = std::fs::read_to_string(&path).expect("a shipped scenario");
    let mut scenario = Scenario::read(&path, &text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let config = directory.join(scenario.config.clone().expect("it names its configuration"));
    let mut config = Config::load(&config).unwrap_or_else(|mistakes| panic!("{mistakes}")).config;
    scenario.check_against(&config).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    // One day more, within which all may be delivered.
    scenario.days = days.end + 1;
    for traffic in &mut scenario.traffic {
        traffic.per_day /= part;
        traffic.days = days.clone();
    }
    for warmup in config.bindings.iter_mut().filter_map(|binding| Arc::make_mut(binding).warmup.as_mut()) {
        warmup.ladder = warmup.ladder.iter().map(|stage| stage / part).collect();
    }
    for model in scenario.receivers.values_mut() {
        let known = &mut model.knows;
        known.warm.iter_mut().chain(known.bindings.values_mut()).for_each(|volume| *volume /= part);
        model.first_day /= part;
    }
    Setting { config, scenario, classifier: Arc::new(Classifier::shipped()) }
}

/// Over all cores.
fn compared(setting: &Setting) -> Comparison {
    let all = jobs(setting, SEEDS);
    let (next, made) = (AtomicUsize::new(0), Mutex::new(vec![None; all.len()]));
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((at, job)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, all.get(at)?)))
                {
                    let run = job.run(setting);
                    made.lock().expect("nobody panics with it")[at] = Some(run);
                }
            });
        }
    });
    let made = made.into_inner().expect("nobody panics with it");
    Comparison::of(setting, made.into_iter().collect::<Option<Vec<Run>>>().expect("all were made"))
}

/// A demand: what is wrong with a policy's figures, if anything.
type Demand = fn(&Comparison, Policy) -> Option<String>;

/// This program keeps every demand, and the baseline fails each of the first `demands`.
fn holds(comparison: &Comparison, demands: &[Demand], besides: &[Demand], failed_by: Policy) {
    let all = demands.iter().chain(besides);
    let wrong: Vec<String> = all.filter_map(|demand| demand(comparison, Policy::Remuda)).collect();
    assert_eq!(wrong, [""; 0], "{}: {}", comparison.title, shown(comparison));
    let failed = demands.iter().filter(|demand| demand(comparison, failed_by).is_some()).count();
    assert_eq!(failed, demands.len(), "{}: {failed_by:?} keeps one: {}", comparison.title, shown(comparison));
    assert_eq!(comparison.violations(), 0);
}

fn shown(comparison: &Comparison) -> String {
    let row = |row: &Row| format!("{}: {:?}", row.key, Policy::ALL.map(|policy| row.middle(policy)));
    comparison.rows.iter().map(row).collect::<Vec<_>>().join("\n")
}

fn of(comparison: &Comparison, key: &str, policy: Policy) -> f64 {
    let row = comparison.row(key).unwrap_or_else(|| panic!("no row {key}"));
    row.middle(policy).unwrap_or(f64::INFINITY)
}

/// The better of the two baselines.
fn baseline(comparison: &Comparison, key: &str) -> f64 {
    comparison.row(key).and_then(|row| row.baseline()).unwrap_or(f64::INFINITY)
}

fn takes_out_nobody_innocent(comparison: &Comparison, policy: Policy) -> Option<String> {
    let out = of(comparison, "false_bindings", policy) + of(comparison, "false_routes", policy);
    (out > 0.0).then(|| format!("{out} bindings and routes were out for nothing"))
}

fn takes_out_no_innocent_binding(comparison: &Comparison, policy: Policy) -> Option<String> {
    let out = of(comparison, "false_bindings", policy);
    (out > 0.0).then(|| format!("{out} bindings were out for nothing"))
}

fn is_refused_half_as_much(comparison: &Comparison, policy: Policy) -> Option<String> {
    let (ours, theirs) = (of(comparison, "ip_refusals", policy), baseline(comparison, "ip_refusals"));
    (ours > theirs / 2.0).then(|| format!("{ours} refusals for the IP, {theirs} under the better baseline"))
}

fn finds_the_guilty(comparison: &Comparison, policy: Policy) -> Option<String> {
    let found = of(comparison, "detect_seconds", policy);
    (found.is_infinite()).then(|| "the guilty was not found".to_owned())
}

fn delivers_as_much(comparison: &Comparison, policy: Policy) -> Option<String> {
    let (ours, theirs) =
        (of(comparison, "delivered_24h_innocent", policy), baseline(comparison, "delivered_24h_innocent"));
    (ours < theirs - TOLERANCE)
        .then(|| format!("{ours} of the innocents' mail in a day, {theirs} under the better baseline"))
}

#[test]
fn an_address_that_turns_bad_is_left_before_most_of_its_refusals() {
    let comparison = compared(&small("bad-address", 80, 0..3));
    holds(&comparison, &[is_refused_half_as_much, finds_the_guilty], &[delivers_as_much], Policy::Nothing);
}

#[test]
fn providers_that_are_gone_cost_nobody_an_address() {
    let comparison = compared(&small("outage", 8, 2..3));
    // What a directory that is down bounces is lost, and a fuse that takes out everybody happens to save some of it.
    holds(&comparison, &[takes_out_nobody_innocent], &[], Policy::FixedFuse);
}

#[test]
fn a_rotten_list_costs_its_tenant_and_no_address() {
    let comparison = compared(&small("rotten-list", 4, 1..2));
    // Who takes out nothing takes out no innocent.
    holds(&comparison, &[finds_the_guilty], &[takes_out_no_innocent_binding, delivers_as_much], Policy::Nothing);
}

#[test]
fn an_address_that_declines_is_left_before_most_of_its_refusals() {
    let comparison = compared(&small("decline", 35, 0..6));
    holds(&comparison, &[is_refused_half_as_much, finds_the_guilty], &[delivers_as_much], Policy::Nothing);
}

#[test]
fn new_addresses_are_pushed_half_as_much() {
    let comparison = compared(&small("warming", 25, 0..4));
    holds(&comparison, &[is_refused_half_as_much], &[delivers_as_much], Policy::Nothing);
}

#[test]
fn the_same_seeds_give_the_same_table() {
    let mut setting = small("loud-list", 400, 0..2);
    let [first, second] = [(); 2].map(|()| compared(&setting));
    assert_eq!(first.runs, second.runs);
    setting.scenario.seed += 1;
    let next = compared(&setting);
    assert_eq!(first.runs[3..], next.runs[..3], "and the next seed's are the same wherever it stands");
}
