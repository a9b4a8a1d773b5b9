//! A small configuration and scenario from every seed: some days of mail, caps, warm-ups, blocks of addresses and ranges,
//! names that go sour, outages, listings, lists that die, bad tenants, kills, days on which the clocks change. All invariants, at every step.
//!
//! `REMUDA_SIM_SEED=n` runs one seed, `REMUDA_SIM_SEEDS=count` so many instead of [`SEEDS`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::civil::{Date, Time, date, time};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use remuda::clock::Wall;
use remuda::config::*;
use remuda::message::{BindingName, ProviderName};
use remuda::outcome::Classifier;
use remuda::simulate::scenario::{
    Death, Event, Happening, Known, ListModel, Outage, Quality, ReceiverModel, Scenario, Traffic,
};
use remuda::simulate::{Report, World};

/// Seeds of a run.
const SEEDS: u64 = 200;
const HOUR: u64 = 3_600;
const PROVIDERS: [&str; 3] = ["gmail", "microsoft", "yahoo"];
const OUTAGES: [Outage; 4] = [Outage::Down, Outage::Silent, Outage::Busy, Outage::UnknownUsers];
const DEATHS: [Death; 5] = [Death::Loud, Death::Parked, Death::Silent, Death::Refusing, Death::Unreachable];

/// Chance, with words for how it is used here.
struct Dice(SmallRng);

impl Dice {
    fn chance(&mut self, share: f64) -> bool {
        self.0.random_bool(share)
    }

    fn number(&mut self, from: u64, to: u64) -> u64 {
        self.0.random_range(from..=to)
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.0.random_range(0..of.len())].clone()
    }

    fn perhaps<T>(&mut self, share: f64, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.chance(share).then(|| make(self))
    }
}

/// A time zone, a start of the day, and a first day near which something may happen to the clocks.
fn calendar(dice: &mut Dice) -> (Day, Date) {
    let (zone, first) = dice.one(&[
        ("UTC", date(2026, 6, 1)),
        ("UTC", date(2026, 12, 31)),
        ("Europe/Berlin", date(2026, 10, 24)),
        ("Europe/Berlin", date(2026, 3, 28)),
        ("America/New_York", date(2026, 10, 31)),
        ("America/New_York", date(2026, 3, 7)),
        ("Australia/Lord_Howe", date(2026, 4, 4)),
        ("Asia/Kolkata", date(2026, 6, 1)),
    ]);
    let starts = dice.one(&[Time::midnight(), Time::midnight(), time(4, 0, 0, 0), time(2, 30, 0, 0)]);
    let timezone = jiff::tz::TimeZone::get(zone).expect("a known time zone");
    (Day { timezone, starts }, first)
}

fn limits(dice: &mut Dice) -> Limits {
    Limits {
        daily_cap: dice.perhaps(0.5, |dice| dice.number(20, 2_000)),
        max_outbound_connections: dice.perhaps(0.4, |dice| dice.number(1, 10) as u32),
        rate_limit: dice.perhaps(0.2, |dice| Rate {
            count: NonZeroU32::new(dice.number(20, 200) as u32).unwrap_or(NonZeroU32::MIN),
            per: Duration::from_secs(60),
        }),
        messages_per_connection: None,
        recipients_per_message: dice.perhaps(0.3, |dice| dice.number(1, 10) as u32),
    }
}

fn binding(n: usize, first: Date, dice: &mut Dice) -> Binding {
    let range = dice.one(&[[192, 0, 2], [198, 51, 100], [203, 0, 113]]);
    let address = IpAddr::from([range[0], range[1], range[2], 10 + n as u8]);
    let ladder: Arc<[u64]> = Arc::from([20, 50, 100, 200, 500, 1_000]);
    let warmup = |dice: &mut Dice| Warmup {
        ladder: ladder.clone(),
        position: match dice.number(0, 2) {
            0 => WarmupStart::Started(first),
            1 => WarmupStart::Stage(dice.number(0, 4) as usize),
            _ => WarmupStart::Started(first.tomorrow().unwrap_or(first)),
        },
    };
    let towards = |dice: &mut Dice| (ProviderName::new(dice.one(&PROVIDERS)), limits(dice));
    Binding {
        limits: limits(dice),
        provider: dice.perhaps(0.3, towards).into_iter().collect(),
        warmup: dice.perhaps(0.25, warmup),
        provider_warmup: dice.perhaps(0.1, |d| (ProviderName::new(d.one(&PROVIDERS)), warmup(d))).into_iter().collect(),
        suspend_delivery: dice.chance(0.03),
        ..Binding::new(format!("m{n}").as_str(), address)
    }
}

fn pools(bindings: &[Arc<Binding>], dice: &mut Dice) -> Vec<Pool> {
    let count = dice.number(1, 3).min(bindings.len() as u64);
    let pool = |n: u64, dice: &mut Dice| {
        let mut members: Vec<Member> =
            bindings.iter().map(|b| Member { binding: b.name.clone(), weight: dice.number(1, 4) as u32 }).collect();
        members.shuffle(&mut dice.0);
        members.truncate(dice.number(1, bindings.len() as u64) as usize);
        let active = dice.number(1, members.len() as u64) as usize;
        let backup = members.split_off(active);
        let mut tiers = vec![members];
        tiers.extend((!backup.is_empty()).then_some(backup));
        let mut failover_on = vec![FailoverReason::Suspended];
        failover_on.extend(dice.perhaps(0.7, |_| FailoverReason::Capped));
        failover_on.extend(dice.perhaps(0.3, |_| FailoverReason::Warmup));
        Pool {
            spread: dice.one(&[Spread::Weighted, Spread::Headroom, Spread::Reputation]),
            pace: dice.one(&[Pace::None, Pace::None, Pace::Even]),
            min_active: dice.number(1, 2) as usize,
            failover_on,
            binding_limits: dice.perhaps(0.2, limits).unwrap_or_default(),
            ..Pool::new(format!("p{n}").as_str(), tiers)
        }
    };
    (0..count).map(|n| pool(n, dice)).collect()
}

fn tenant(n: u64, pools: &[Pool], dice: &mut Dice) -> Tenant {
    let own = dice.one(pools).name;
    let split = dice.perhaps(0.2, |dice| ("default".into(), vec![(dice.one(pools).name, 0.3)]));
    Tenant {
        pools: [("default".into(), own)].into(),
        split: split.into_iter().filter(|_| pools.len() > 1).collect(),
        daily_cap: dice.perhaps(0.2, |dice| dice.number(50, 2_000)),
        provider_caps: dice
            .perhaps(0.15, |dice| (ProviderName::new(dice.one(&PROVIDERS)), dice.number(20, 500)))
            .into_iter()
            .collect(),
        rate_limit: dice.perhaps(0.15, |dice| Rate {
            count: NonZeroU32::new(dice.number(10, 200) as u32).unwrap_or(NonZeroU32::MIN),
            per: Duration::from_secs(60),
        }),
        weight: dice.number(1, 4) as u32,
        ..Tenant::new(format!("t{n}").as_str())
    }
}

fn zone(dice: &mut Dice) -> Zone {
    let code = |weight, certain| ZoneCode {
        octets: [(127, 127), (0, 0), (0, 0), (2, 254)],
        mask: None,
        meaning: CodeMeaning::Listed { weight, certain },
    };
    Zone {
        codes: vec![dice.one(&[code(2.0, false), code(3.0, false), code(4.0, false), code(4.0, true)])],
        ..Zone::new("list", "list.example")
    }
}

fn config(dice: &mut Dice) -> (Config, Date) {
    let mut config = Config::bare("relay.example.net".parse().expect("a domain"));
    let (day, first) = calendar(dice);
    config.server.day = day;
    let count = dice.number(2, 8) as usize;
    config.bindings = (0..count).map(|n| Arc::new(binding(n, first, dice))).collect();
    config.pools = pools(&config.bindings, dice);
    config.tenants = (0..dice.number(1, 5)).map(|n| tenant(n, &config.pools, dice)).collect();
    config.providers = PROVIDERS.iter().map(|name| Provider::new(*name, Vec::new())).collect();
    if dice.chance(0.3) {
        config.providers[0].binding_limits = limits(dice);
    }
    config.queue.lifetime = Duration::from_secs(dice.number(12, 60) * HOUR);
    config.queue.max_attempts_in_flight = dice.one(&[2_000, 2_000, 3]);
    config.reputation.suspend_max = Duration::from_secs(dice.one(&[24, 4]) * HOUR);
    config.reputation.pool_guard = dice.one(&[0.5, 1.0, 0.3]);
    config.monitor.zones = dice.perhaps(0.5, zone).into_iter().collect();
    (config, first)
}

fn quality(dice: &mut Dice) -> Quality {
    dice.one(&[Quality::GOOD, Quality::GOOD, Quality::AVERAGE, Quality::BAD])
}

fn receivers(config: &Config, dice: &mut Dice) -> BTreeMap<String, ReceiverModel> {
    let model = |name: &str, dice: &mut Dice| {
        let preset = if name == "other" { dice.one(&["plain", "lenient"]) } else { name };
        let mut model = ReceiverModel::preset(preset).expect("a preset");
        model.knows = Known { warm: dice.perhaps(0.7, |dice| dice.number(50, 5_000)), bindings: BTreeMap::new() };
        model.noise = dice.one(&[0.0, 0.002, 0.05]);
        model.asks = config.monitor.zones.iter().filter(|_| dice.chance(0.5)).map(|zone| zone.name.clone()).collect();
        (name.to_owned(), model)
    };
    PROVIDERS.iter().chain(&["other"]).map(|name| model(name, dice)).collect()
}

fn traffic(tenant: &Tenant, days: u32, dice: &mut Dice) -> Traffic {
    let mut shares: Vec<f64> = (0..4).map(|_| dice.number(0, 10) as f64).collect();
    shares[0] += 1.0;
    let all: f64 = shares.iter().sum();
    let to = PROVIDERS.iter().chain(&["other"]).zip(shares).map(|(name, share)| ((*name).to_owned(), share / all));
    Traffic {
        tenant: tenant.name.clone(),
        stream: "default".into(),
        per_day: dice.number(100, 1_000),
        days: 0..days,
        rest_days: dice.perhaps(0.2, |dice| dice.number(0, 6) as u8).into_iter().collect(),
        hours: std::array::from_fn(|hour| if (8..20).contains(&hour) { 3.0 } else { dice.one(&[0.0, 1.0]) }),
        recipients_per_message: dice.one(&[1, 1, 3, 20]),
        to: to.collect(),
        quality: quality(dice),
    }
}

fn event(config: &Config, days: u32, dice: &mut Dice) -> Event {
    let receiver = ProviderName::new(dice.one(&["gmail", "microsoft", "yahoo", "other"]));
    let mut bindings: Vec<BindingName> = config.bindings.iter().map(|b| b.name.clone()).collect();
    bindings.shuffle(&mut dice.0);
    bindings.truncate(dice.number(1, bindings.len() as u64) as usize);
    let tenant = dice.one(&config.tenants).name;
    let binding = bindings[0].clone();
    let what = match dice.number(0, 12) {
        0 | 1 => Happening::Block { receiver, bindings },
        2 => Happening::Outage { receiver, how: dice.one(&OUTAGES) },
        3 => Happening::Listing { zone: "list".into(), bindings },
        4 => Happening::Suspend { binding },
        5 => Happening::Quality { tenant, quality: quality(dice) },
        6 => Happening::Volume { tenant, factor: dice.one(&[0.0, 5.0]) },
        7 => Happening::Range { receiver, bindings },
        8 => {
            let receivers = dice.perhaps(0.5, |_| receiver).into_iter().collect();
            Happening::Sour { binding, receivers, reputation: dice.one(&[0.0, 0.1, 0.3, 0.45]) }
        }
        9 => Happening::Decline { binding, receiver, per_day: dice.one(&[0.25, 1.0, 6.0]) },
        10 => Happening::Dies { zone: "list".into(), how: dice.one(&DEATHS), receivers_believe: dice.chance(0.2) },
        _ => Happening::Crash,
    };
    let at = dice.number(0, u64::from(days) * 24 * 3_600_000);
    let lasts = dice.perhaps(0.8, |dice| Duration::from_secs(dice.number(HOUR / 4, 30 * HOUR)));
    Event { at: Duration::from_millis(at), lasts, what }
}

/// The configuration and the scenario of a seed.
fn described(seed: u64) -> (Config, Scenario) {
    let mut dice = Dice(SmallRng::seed_from_u64(seed));
    let (config, start) = config(&mut dice);
    let days = dice.number(2, 3) as u32;
    let receivers = receivers(&config, &mut dice);
    let traffic = config.tenants.iter().map(|tenant| traffic(tenant, days, &mut dice)).collect();
    let lists = config.monitor.zones.iter().map(|zone| {
        let model = ListModel {
            trap_hits: 3,
            delay: Duration::from_secs(HOUR),
            delist_after: Duration::from_secs(12 * HOUR),
            code: [127, 0, 0, 2].into(),
        };
        (zone.name.clone(), model)
    });
    let scenario = Scenario {
        title: format!("seed {seed}"),
        config: None,
        start,
        // Two days without new mail, so that what waits may go.
        days: days + 2,
        seed,
        traffic,
        receivers,
        lists: lists.collect(),
        events: (0..dice.number(0, 6)).map(|_| event(&config, days, &mut dice)).collect(),
        truth: None,
        shift: Duration::ZERO,
        written: Default::default(),
    };
    (config, scenario)
}

/// Times in which the list lied and the monitor had seen it: nobody may be taken out for a listing in these. One round
/// may pass until then, in which a listing from before still counts.
fn lies(config: &Config, scenario: &Scenario, start: Wall) -> Vec<(Wall, Wall)> {
    let dies = |event: &Event| matches!(event.what, Happening::Dies { .. });
    // Of two deaths at once, the end of one ends the other.
    let [death] = scenario.events.iter().filter(|event| dies(event)).collect::<Vec<_>>()[..] else { return Vec::new() };
    let Happening::Dies { how: Death::Loud | Death::Parked, .. } = death.what else { return Vec::new() };
    let from = start.plus(death.at);
    let to = from.plus(death.lasts.unwrap_or(Duration::from_secs(365 * 24 * HOUR)));
    vec![(from.plus(config.monitor.interval).plus(Duration::from_secs(60)), to)]
}

/// Runs a world. Every second one is killed now and then while mail is on the wire: kills at moments of the scenario's own
/// seldom find any there.
fn play(seed: u64, rules: &Arc<Classifier>) -> Report {
    let (config, scenario) = described(seed);
    let mut world = World::with_rules(config.clone(), scenario.clone(), Arc::clone(rules));
    let lies = lies(&config, &scenario, world.now().wall);
    let mut dice = Dice(SmallRng::seed_from_u64(!seed));
    let mut kills = if seed.is_multiple_of(2) { dice.number(0, 5) } else { 0 };
    while kills > 0 && world.now().wall < world.end() {
        world.run_for(Duration::from_millis(dice.number(1, 600_000)));
        if world.core().in_flight() > 0 && dice.chance(0.5) {
            world.crash(world.now());
            kills -= 1;
        }
    }
    let report = world.run();
    let wrong = report.suspensions.iter().find(|suspension| {
        let lied = lies.iter().any(|(from, to)| (*from..*to).contains(&suspension.from));
        suspension.reason == "listed" && lied
    });
    assert_eq!(wrong, None, "taken out on the word of a dead list");
    report
}

fn run(seed: u64, rules: &Arc<Classifier>) -> Result<Report, String> {
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(seed, rules)));
    let report = result.map_err(|_| format!("REMUDA_SIM_SEED={seed}: panicked"))?;
    if report.violation_count == 0 {
        return Ok(report);
    }
    let first: Vec<String> = report.violations.iter().take(5).map(ToString::to_string).collect();
    Err(format!("REMUDA_SIM_SEED={seed}: {} violations, the first:\n  {}", report.violation_count, first.join("\n  ")))
}

#[test]
fn nothing_that_must_never_happen_happens_whatever_the_seed() {
    let number = |name| std::env::var(name).ok().map(|text: String| text.parse::<u64>().expect("a number"));
    let seeds = match number("REMUDA_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..number("REMUDA_SIM_SEEDS").unwrap_or(SEEDS) + 1,
    };
    let (next, count) = (AtomicU64::new(seeds.start), seeds.end - seeds.start);
    let (failed, sums) = (Mutex::new(Vec::new()), Mutex::new([0u64; 5]));
    let rules = Arc::new(Classifier::shipped());
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get()).min(8);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < seeds.end) {
                    match run(seed, &rules) {
                        Ok(report) => {
                            let over: u64 = report.days.iter().map(|day| day.failed_over).sum();
                            let counts = [
                                report.mail.accepted,
                                report.mail.delivered,
                                report.suspensions.len() as u64,
                                over,
                                report.duplicates_possible,
                            ];
                            let mut sums = sums.lock().expect("nobody panics with it");
                            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
                        }
                        Err(wrong) => failed.lock().expect("nobody panics with it").push((seed, wrong)),
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().expect("nobody panics with it");
    failed.sort();
    let words: Vec<&str> = failed.iter().map(|(_, wrong)| wrong.as_str()).collect();
    assert!(failed.is_empty(), "{} of {count} seeds:\n{}", failed.len(), words.join("\n"));
    let [accepted, delivered, suspended, over, twice] = sums.into_inner().expect("nobody panics with it");
    println!("{accepted} accepted, {delivered} delivered, {suspended} suspensions, {over} failed over, {twice} twice");
    if count >= SEEDS {
        // A world in which nothing happens proves nothing.
        assert!(delivered > accepted / 2 && suspended > count && over > 10 * count && twice > 0);
    }
}
