//! The scenarios of `config/scenarios`: each shows what its file says it does.
//!
//! They run shortened here, since this build is not optimised: fewer days, and messages of more recipients. `remuda
//! simulate` runs them in full.

use std::collections::BTreeSet;
use std::path::Path;

use remuda::config::Config;
use remuda::simulate::report::Day;
use remuda::simulate::{Report, Scenario, World};

/// A shipped scenario with the configuration it names, changed by `shorten`.
fn run(name: &str, shorten: impl FnOnce(&mut Scenario)) -> Report {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/scenarios");
    let path = directory.join(format!("{name}.toml"));
    let text = std::fs::read_to_string(&path).expect("a shipped scenario");
    let mut scenario = Scenario::read(&path, &text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let config = directory.join(scenario.config.clone().expect("it names its configuration"));
    let config = Config::load(&config).unwrap_or_else(|mistakes| panic!("{mistakes}")).config;
    scenario.check_against(&config).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    shorten(&mut scenario);
    let report = World::new(config, scenario).run();
    assert!(report.violations.is_empty(), "{name}: {:#?}", report.violations);
    report
}

/// So many days, of which only the first `busy` have traffic, in messages of `each` recipients.
fn shorter(scenario: &mut Scenario, days: u32, busy: u32, each: u32) {
    scenario.days = days;
    for traffic in &mut scenario.traffic {
        traffic.days.end = traffic.days.end.min(busy);
        traffic.recipients_per_message = each;
    }
}

fn sum(report: &Report, of: impl Fn(&Day) -> u64) -> u64 {
    report.days.iter().map(of).sum()
}

fn carried(day: &Day, binding: &str) -> u64 {
    day.bindings.get(binding).map_or(0, |binding| binding.delivered)
}

#[test]
fn half_a_million_a_day_leaves_over_32_addresses_and_each_carries_its_share() {
    let report = run("fleet", |scenario| shorter(scenario, 2, 1, 5));
    let mail = report.mail;
    assert!((499_000..=501_000).contains(&mail.accepted), "{mail:?}");
    assert_eq!(mail.delivered + mail.bounced, mail.accepted, "nothing is lost and nothing waits");
    let day = &report.days[0];
    assert!(day.delivered * 100 > day.accepted * 98, "{} of {} on the day itself", day.delivered, day.accepted);
    let shares: Vec<u64> = day.bindings.values().map(|binding| binding.delivered).collect();
    let mean = shares.iter().sum::<u64>() as f64 / shares.len() as f64;
    assert_eq!(shares.len(), 32);
    assert!(shares.iter().all(|share| *share <= 16_000), "{shares:?}");
    assert!(
        shares.iter().all(|share| (*share as f64 - mean).abs() <= mean / 100.0),
        "within 1 % of {mean}: {shares:?}"
    );
}

#[test]
fn new_addresses_climb_their_ladder_while_warm_ones_take_the_rest() {
    let report = run("warmup", |scenario| {
        shorter(scenario, 8, 7, 5);
        scenario.traffic.iter_mut().for_each(|traffic| traffic.per_day /= 2);
    });
    let mail = report.mail;
    assert_eq!(mail.delivered + mail.bounced, mail.accepted, "no mail is lost");
    let days = &report.days[..7];
    for day in days {
        for (name, binding) in day.bindings.iter().filter(|(name, _)| name.starts_with("new")) {
            let limit = binding.limit.unwrap_or(u64::MAX);
            assert!(binding.delivered <= limit, "{name} on {}: {} of {limit}", day.date, binding.delivered);
        }
        assert!(day.delivered * 20 > day.accepted * 19, "{}: {} of {}", day.date, day.delivered, day.accepted);
    }
    let (first, last) = (carried(&days[0], "new01"), carried(&days[6], "new01"));
    assert!((1..=200).contains(&first) && last >= 2 * first, "new01 went from {first} to {last}");
    assert!(carried(&days[0], "old01") > 10 * first, "the warm ones take the rest");
}

#[test]
fn backups_take_over_what_the_actives_cannot_carry_and_give_it_back() {
    let report = run("failover", |scenario| shorter(scenario, 12, 11, 5));
    let mail = report.mail;
    assert_eq!(mail.expired, 0);
    assert_eq!(mail.delivered + mail.bounced, mail.accepted, "nothing is lost");
    assert!(sum(&report, |day| day.bounced) * 50 < mail.accepted, "no block bounces mail");
    let over: Vec<u64> = report.days.iter().map(|day| day.failed_over).collect();
    assert_eq!(over[0], 0, "not before the first block: {over:?}");
    let worst = over[3..6].iter().max().copied().unwrap_or_default();
    assert!(worst > 1_000, "the backups take over: {over:?}");
    assert!(over[10] * 10 <= worst, "and give it back: {over:?}");
    let share = |day: &Day| carried(day, "mta01") as f64 / day.delivered as f64;
    assert!((share(&report.days[10]) - share(&report.days[0])).abs() < 0.08, "mta01 has its share again");
}

#[test]
fn three_tenths_of_a_tenants_recipients_belong_to_the_new_pool() {
    let report = run("migration", |scenario| shorter(scenario, 3, 2, 20));
    let pool = |name: &str| sum(&report, |day| day.pools[name].delivered);
    let share = pool("new") as f64 / (pool("new") + pool("old")) as f64;
    assert!((share - 0.3).abs() <= 0.01, "{share}");
    let mail = report.mail;
    assert_eq!(mail.delivered + mail.bounced, mail.accepted, "no mail is lost");
}

#[test]
fn a_small_tenant_does_not_wait_behind_one_that_sends_a_hundred_times_as_much() {
    let report = run("unequal", |scenario| shorter(scenario, 2, 2, 20));
    for day in &report.days {
        let (dwarf, giant) = (&day.tenants["dwarf"], &day.tenants["giant"]);
        assert!(dwarf.wait_median_seconds < 60.0, "{}: half of it waits {} s", day.date, dwarf.wait_median_seconds);
        assert!(giant.delivered > 50 * dwarf.delivered, "{}", day.date);
        assert!(giant.waiting > 50_000, "the giant waits for itself");
        assert!(
            dwarf.waiting * 100 <= dwarf.accepted * 2,
            "{}: {} of {} wait",
            day.date,
            dwarf.waiting,
            dwarf.accepted
        );
    }
}

/// Who was taken out: binding, destination (none where it was out everywhere), reason; each once.
fn out(report: &Report) -> BTreeSet<(&str, Option<&str>, &str)> {
    let all = report.suspensions.iter();
    all.map(|out| (out.binding.as_str(), out.destination.as_deref(), out.reason)).collect()
}

/// Busy for all but the last day, with one in `part` of the mail, in messages of ten recipients.
fn coarser(scenario: &mut Scenario, part: u64) {
    let days = scenario.days;
    shorter(scenario, days, days - 1, 10);
    scenario.traffic.iter_mut().for_each(|traffic| traffic.per_day /= part);
}

#[test]
fn of_32_addresses_only_the_one_that_turns_bad_is_taken_out() {
    let report = run("bad-address", |scenario| coarser(scenario, 8));
    let out = out(&report);
    assert!(!out.is_empty() && out.iter().all(|(binding, ..)| *binding == "mta07"), "{out:?}");
    let mail = report.mail;
    assert_eq!(mail.delivered + mail.bounced, mail.accepted, "nothing waits for it");
}

#[test]
fn a_tenants_rotten_list_takes_no_address_out_and_delays_nobody_else() {
    let report = run("rotten-list", |scenario| shorter(scenario, 4, 4, 10));
    assert_eq!(out(&report), BTreeSet::new());
    for (day, (name, tenant)) in report.days.iter().flat_map(|day| day.tenants.iter().map(move |t| (day.date, t))) {
        let others_wait = name != "rotten" && tenant.waiting * 50 > tenant.accepted;
        assert!(!others_wait, "{name} on {day}: {} of {}", tenant.waiting, tenant.accepted);
    }
}

#[test]
fn new_addresses_that_were_pushed_too_fast_are_given_less_and_none_of_the_warm_is_touched() {
    let report = run("warming", |scenario| coarser(scenario, 1));
    let out = out(&report);
    assert!(out.iter().all(|(binding, ..)| binding.starts_with("new")), "{out:?}");
    let last = &report.days[report.days.len() - 2];
    assert!((1..=4).all(|n| carried(last, &format!("new{n:02}")) > 1_000), "and none is burnt: {:?}", last.bindings);
}

#[test]
fn nobody_is_taken_out_because_a_provider_is_gone() {
    let report = run("outage", |scenario| coarser(scenario, 2));
    assert_eq!(out(&report), BTreeSet::new());
    let mail = report.mail;
    assert_eq!(mail.delivered + mail.bounced, mail.accepted, "all of it leaves once they are back");
}

#[test]
fn a_list_that_lists_the_world_takes_nobody_out() {
    let report = run("loud-list", |scenario| coarser(scenario, 4));
    assert_eq!(out(&report), BTreeSet::new());
}

#[test]
fn a_blocked_range_is_left_at_once_where_it_is_blocked_and_nowhere_else() {
    let report = run("range-block", |scenario| coarser(scenario, 2));
    let out = out(&report);
    let actives = out.iter().filter(|(binding, ..)| binding.starts_with("mta")).count();
    assert_eq!(actives, 8, "{out:?}");
    assert!(out.iter().all(|(_, destination, _)| *destination == Some("microsoft")), "{out:?}");
    let day = &report.days[1];
    assert!(day.providers["microsoft"].deferred < 1_000, "{:?}", day.providers);
    let mail = report.mail;
    assert_eq!((mail.delivered + mail.bounced, mail.expired), (mail.accepted, 0));
    assert!(mail.bounced * 50 < mail.accepted, "no block bounces mail: {mail:?}");
}

#[test]
fn an_address_that_declines_at_gmail_is_taken_out_there_and_nowhere_else() {
    let report = run("decline", |scenario| coarser(scenario, 2));
    let out = out(&report);
    assert!(
        out.iter().all(|(binding, destination, _)| (*binding, *destination) == ("mta03", Some("gmail"))),
        "{out:?}"
    );
    let refused: u64 = report.days[2..6].iter().map(|day| day.providers["gmail"].deferred).sum();
    assert!(refused < 4_000, "of four days: {refused}");
}
