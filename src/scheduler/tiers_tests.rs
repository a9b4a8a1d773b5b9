//! Stories of tiers: what opens the next one, how much it may carry, and how it closes again.

use std::time::Duration;

use super::testing::{Bench, NOON, TestConfig};
use super::{Request, Selection, Settlement};
use crate::clock::Wall;
use crate::config::{Warmup, WarmupStart};
use crate::reputation::Health;

/// How many of `messages` each tier carries, in one go.
fn carry(bench: &mut Bench, request: &Request<'_>, messages: usize) -> Vec<usize> {
    let mut tiers = vec![0; 3];
    for _ in 0..messages {
        if let Selection::Assigned(lease) = bench.ask(request) {
            tiers[lease.tier] += 1;
            bench.scheduler.settle(lease, Settlement::Accepted(1), bench.now);
        }
    }
    tiers
}

/// Two actives of 100 a day each, two backups one after the other.
fn herd(change: impl Fn(&str, &mut crate::config::Binding) + Copy) -> Bench {
    let config = ["a", "b", "c", "d"]
        .iter()
        .fold(TestConfig::default(), |config, name| config.binding(name, |binding| change(name, binding)));
    config.pool("p", &[&[("a", 1), ("b", 1)], &[("c", 1)], &[("d", 1)]], |_| {}).start()
}

fn midnight() -> Wall {
    Wall::from_millis(NOON - NOON % 86_400_000 + 86_400_000)
}

#[test]
fn a_pool_that_loses_its_actives_one_by_one_moves_on_and_comes_back_by_a_trickle() {
    let mut bench = herd(|_, _| {});
    let request = bench.request("x");
    assert_eq!(carry(&mut bench, &request, 100), [100, 0, 0]);
    bench.set("a", bench.suspended(3_600));
    assert_eq!(carry(&mut bench, &request, 100), [100, 0, 0], "the other active carries it");
    bench.set("b", bench.suspended(3_600));
    assert_eq!(carry(&mut bench, &request, 100), [0, 100, 0]);
    bench.set("c", bench.suspended(3_600));
    assert_eq!(carry(&mut bench, &request, 100), [0, 0, 100]);
    // The actives come back: twenty a period, then forty, while the backup behind them stays open. The second backup,
    // which is behind one that is still out, carries the rest.
    for allowance in [20, 40, 80] {
        bench.set("a", bench.probation(allowance, 900));
        let carried = carry(&mut bench, &request, 400);
        assert_eq!((carried[0], carried[1] + carried[2]), (allowance as usize, 400 - allowance as usize));
        bench.advance(Duration::from_secs(900));
    }
    bench.set("c", Health::Active);
    bench.set("a", bench.probation(160, 900));
    let carried = carry(&mut bench, &request, 400);
    assert_eq!((carried[0], carried[2]), (160, 0), "the first backup is enough: {carried:?}");
    bench.set("a", Health::Active);
    assert_eq!(carry(&mut bench, &request, 100), [100, 0, 0], "all of it, when the trickle was clean to the end");
}

#[test]
fn backups_carry_no_more_than_their_own_caps_and_warm_up() {
    let mut bench = herd(|name, binding| match name {
        "c" => binding.limits.daily_cap = Some(30),
        "d" => {
            let position = WarmupStart::Started(jiff::civil::date(2026, 5, 20));
            binding.warmup = Some(Warmup { ladder: [7, 50].into(), position });
        }
        _ => {}
    });
    let request = bench.request("x");
    bench.set("a", bench.suspended(3_600));
    bench.set("b", bench.suspended(3_600));
    assert_eq!(carry(&mut bench, &request, 500), [0, 30, 7]);
    assert_eq!(bench.explain(&request), ["suspended", "suspended", "cap", "warmup"]);
    let (until, _) = bench.refusal(&request);
    assert_eq!(until, bench.later(3_600), "whatever is free first");
}

#[test]
fn with_a_new_day_capped_actives_carry_all_of_it_at_once() {
    let mut bench = herd(|name, binding| binding.limits.daily_cap = (name < "c").then_some(50));
    let request = bench.request("x");
    assert_eq!(carry(&mut bench, &request, 200), [100, 100, 0]);
    bench.advance(midnight().since(bench.now.wall));
    assert_eq!(
        carry(&mut bench, &request, 100),
        [100, 0, 0],
        "their whole cap is free again: nothing to be careful about"
    );
}

#[test]
fn too_few_actives_open_the_backup_beside_them_until_there_are_enough() {
    let mut bench = ["a", "b", "c"]
        .iter()
        .fold(TestConfig::default(), |config, name| config.binding(name, |_| {}))
        .pool("p", &[&[("a", 1), ("b", 1)], &[("c", 1)]], |pool| pool.min_active = 2)
        .start();
    let request = bench.request("x");
    bench.set("a", bench.suspended(3_600));
    assert_eq!(carry(&mut bench, &request, 100), [50, 50, 0]);
    bench.set("a", bench.probation(10, 900));
    let carried = carry(&mut bench, &request, 100);
    assert!(carried[1] >= 40, "one that is on probation is not counted on: {carried:?}");
    bench.set("a", Health::Active);
    assert_eq!(carry(&mut bench, &request, 100), [100, 0, 0]);
}

#[test]
fn a_message_that_a_backup_greylisted_goes_back_to_it_although_its_tier_has_closed() {
    let mut bench = herd(|_, _| {});
    let mut request = bench.request("x");
    request.sticky = Some(bench.id("c"));
    assert_eq!(bench.explain(&request), ["eligible", "eligible", "eligible", "tier_closed"]);
    assert_eq!(carry(&mut bench, &request, 3), [0, 3, 0]);
    // Not where it may not be used: others, at once.
    bench.set("c", bench.suspended(3_600));
    assert_eq!(carry(&mut bench, &request, 3), [3, 0, 0]);
    bench.set("c", Health::Active);
    request.sticky = None;
    assert_eq!(carry(&mut bench, &request, 3), [3, 0, 0], "other mail does not follow it");
}

#[test]
fn a_preferred_binding_that_is_drained_or_gone_keeps_nothing_waiting() {
    let config = |weight: u32, with_b: bool| {
        let config = TestConfig::default().binding("a", |_| {});
        let config = if with_b { config.binding("b", |_| {}) } else { config };
        let members: &[(&str, u32)] = if with_b { &[("a", 1), ("b", weight)] } else { &[("a", 1)] };
        config.pool("p", &[members], |_| {}).build()
    };
    let mut bench = Bench::new(&config(1, true), &[]);
    let mut request = bench.request("x");
    request.sticky = Some(bench.id("b"));
    assert_eq!(bench.pick(&request), "b");
    for after in [config(0, true), config(1, false)] {
        bench.scheduler.reconfigure(&after, bench.now);
        assert_eq!(bench.pick(&request), "a");
    }
}

#[test]
fn ranges_are_known_by_the_public_address() {
    let addresses =
        [("a", "192.0.2.1"), ("b", "192.0.2.200"), ("c", "198.51.100.1"), ("d", "2001:db8::1"), ("e", "2001:db8::2")];
    let config = |addresses: &[(&str, &str)]| {
        let bindings = addresses.iter().fold(TestConfig::default(), |config, (name, address)| {
            config.binding(name, |binding| binding.public_address = address.parse().expect("an address"))
        });
        bindings.pool("p", &[&[("a", 1), ("b", 0)]], |_| {}).build()
    };
    let mut bench = Bench::new(&config(&addresses), &[]);
    let of = |bench: &Bench, name: &str| {
        let range = bench.scheduler.range_of(bench.id(name)).iter();
        range.map(|id| bench.scheduler.binding_name(*id).to_string()).collect::<Vec<_>>()
    };
    assert_eq!((of(&bench, "a"), of(&bench, "e")), (vec!["a".into(), "b".into()], vec!["d".into(), "e".into()]));
    assert!(of(&bench, "c").is_empty(), "alone");
    let pool = bench.scheduler.pool_id(&"p".into()).expect("pool p");
    assert!(bench.scheduler.is_member(bench.id("a"), pool));
    assert!(!bench.scheduler.is_member(bench.id("b"), pool) && !bench.scheduler.is_member(bench.id("c"), pool));
    bench.scheduler.reconfigure(&config(&addresses[..1]), bench.now);
    assert!(of(&bench, "a").is_empty(), "its neighbour is gone");
}
