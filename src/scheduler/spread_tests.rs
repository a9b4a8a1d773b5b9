//! Who carries what in pools with regions, bent weights, shut routes and thousands of bindings.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::testing::{Bench, TestConfig};
use super::tier::Scope;
use super::{BindingId, CoverId, Experience, Families, Request, Selection, Settlement, Verdict};
use crate::config::{FailoverReason, Spread};
use crate::message::DestinationName;
use crate::reputation::{Health, Reason};

fn in_region(config: TestConfig, name: &str, region: &str) -> TestConfig {
    config.binding(name, |binding| binding.region = Some(region.into()))
}

/// `e1`, `e2` in "eu", `u1` in "us", `x` nowhere.
fn regional() -> TestConfig {
    let config = in_region(in_region(TestConfig::default(), "e1", "eu"), "e2", "eu");
    in_region(config, "u1", "us").binding("x", |_| {})
}

fn to(bench: &mut Bench, destination: &str, region: &str) -> Request<'static> {
    let region = bench.scheduler.region_id(region);
    Request { region, ..bench.request(destination) }
}

/// Leases `n` times, settles as accepted, and counts by binding.
fn carry(bench: &mut Bench, request: &Request<'_>, n: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..n {
        let lease = bench.lease(request);
        *counts.entry(bench.scheduler.binding_name(lease.binding).to_string()).or_default() += 1;
        bench.scheduler.settle(lease, Settlement::Accepted(1), bench.now);
    }
    counts
}

fn counts<const N: usize>(counts: [(&str, usize); N]) -> BTreeMap<String, usize> {
    counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

#[test]
fn mail_of_a_region_is_carried_there_by_weight_and_the_rest_makes_up_for_it() {
    let mut bench = regional().pool("p", &[&[("e1", 1), ("e2", 3), ("u1", 2), ("x", 2)]], |_| {}).start();
    let (eu, free) = (to(&mut bench, "site:1", "eu"), bench.request("site:2"));
    assert_eq!(carry(&mut bench, &eu, 400), counts([("e1", 100), ("e2", 300)]));
    let mut all = BTreeMap::new();
    for _ in 0..1_000 {
        for request in [&eu, &free] {
            let one = carry(&mut bench, request, 1);
            one.into_iter().for_each(|(name, count)| *all.entry(name).or_insert(0) += count);
        }
    }
    let within = |name: &str, share: usize| assert!(all[name].abs_diff(share) <= 3, "{all:?}");
    within("e1", 250);
    within("e2", 750);
    within("u1", 500);
    within("x", 500);
    let nowhere = to(&mut bench, "site:3", "jp");
    assert_eq!(carry(&mut bench, &nowhere, 800).len(), 4, "a region without bindings is none");
}

#[test]
fn what_is_busy_in_the_region_is_waited_for_and_what_is_out_is_not() {
    let start = |change: fn(&mut crate::config::Pool)| {
        let config = TestConfig::default()
            .binding("e", |binding| {
                binding.region = Some("eu".into());
                binding.limits.max_outbound_connections = Some(1);
            })
            .binding("u", |binding| binding.region = Some("us".into()));
        config.pool("p", &[&[("e", 1), ("u", 1)]], change).start()
    };
    let mut bench = start(|_| {});
    let eu = to(&mut bench, "site:1", "eu");
    let held = bench.lease(&eu);
    assert_eq!(bench.refusal(&eu).1, [Verdict::WindowFull, Verdict::OtherRegion]);
    assert_eq!(bench.explain(&eu), ["window_full", "other_region"]);
    bench.set("e", bench.suspended(600));
    assert_eq!(bench.pick(&eu), "u");
    bench.set("e", Health::Active);
    bench.set_route("e", "site:1", bench.suspended(600));
    assert_eq!(bench.pick(&eu), "u", "out at this destination");
    let other = to(&mut bench, "site:2", "eu");
    assert_eq!(bench.refusal(&other).1, [Verdict::WindowFull, Verdict::OtherRegion]);
    bench.scheduler.settle(held, Settlement::Accepted(1), bench.now);
    assert_eq!(bench.pick(&other), "e");

    let mut bench = start(|pool| pool.failover_on = vec![FailoverReason::WindowFull]);
    let eu = to(&mut bench, "site:1", "eu");
    let picks: Vec<String> = (0..2).map(|_| bench.pick(&eu)).collect();
    assert_eq!(picks, ["e", "u"], "as with backups, by failover_on");
}

#[test]
fn tiers_come_before_regions_and_regions_are_looked_for_in_all_open_tiers() {
    let mut bench =
        regional().pool("p", &[&[("u1", 1), ("x", 1)], &[("e1", 1)], &[("e2", 1)]], |pool| pool.min_active = 2).start();
    let eu = to(&mut bench, "site:1", "eu");
    assert_eq!(carry(&mut bench, &eu, 4), counts([("u1", 2), ("x", 2)]));
    bench.set("x", bench.suspended(600));
    assert_eq!(carry(&mut bench, &eu, 4), counts([("e1", 4)]), "the backup that is open for want of actives");
    let free = bench.request("site:2");
    assert_eq!(carry(&mut bench, &free, 20).len(), 2, "others share");
}

#[test]
fn a_preferred_binding_wins_over_the_region() {
    let mut bench = regional().pool("p", &[&[("e1", 1), ("u1", 1)]], |_| {}).start();
    let mut eu = to(&mut bench, "site:1", "eu");
    eu.sticky = Some(bench.id("u1"));
    assert_eq!(bench.pick(&eu), "u1");
}

#[test]
fn a_region_is_worked_out_from_domain_provider_and_tenant() {
    let mut config = regional()
        .provider("gmail", |_| {})
        .tenant(|tenant| tenant.region = Some("us".into()))
        .pool("p", &[&[("e1", 1), ("u1", 1)]], |_| {})
        .build();
    config.regions.push(crate::config::Region {
        name: "eu".into(),
        recipient_domain: vec![crate::config::DomainPattern::Below("de".parse().expect("domain"))],
    });
    let mut bench = Bench::new(&config, &[]);
    let request = bench.request("gmail");
    let of = |bench: &Bench, domain: &str| {
        bench.scheduler.region_of(request.tenant, request.destination, &domain.parse().expect("domain"))
    };
    assert_eq!(of(&bench, "firma.de"), bench.scheduler.region_id("eu"));
    assert_eq!(of(&bench, "gmail.com"), bench.scheduler.region_id("us"));
    config.providers[0].region = Some("eu".into());
    bench.scheduler.reconfigure(&config, bench.now);
    assert_eq!(of(&bench, "gmail.com"), bench.scheduler.region_id("eu"));
    assert_eq!(bench.scheduler.region_id("moon"), None);
}

fn deferred(bench: &mut Bench, binding: &str, destination: &str, accepted: u32, deferred: u32) {
    let (id, destination) = (bench.id(binding), bench.destination(destination));
    let seen = Experience { accepted, deferred, ..Experience::default() };
    bench.scheduler.experienced(id, destination, &seen, bench.now);
}

#[test]
fn reputation_bends_the_shares_where_it_was_earned_and_nowhere_else() {
    let config = ["a", "b", "c"].iter().fold(TestConfig::default(), |config, name| config.binding(name, |_| {}));
    let pool = |config: TestConfig| {
        config.provider("gmail", |_| {}).provider("yahoo", |_| {}).pool(
            "p",
            &[&[("a", 1), ("b", 1), ("c", 2)]],
            |pool| {
                pool.spread = Spread::Reputation;
            },
        )
    };
    let mut bench = pool(config).start();
    let [gmail, yahoo, other] = ["gmail", "yahoo", "site:1"].map(|name| bench.request(name));
    let even = counts([("a", 100), ("b", 100), ("c", 200)]);
    assert_eq!(carry(&mut bench, &gmail, 400), even, "before anything is known");
    for _ in 0..60 {
        deferred(&mut bench, "a", "gmail", 1, 9);
        deferred(&mut bench, "b", "gmail", 10, 0);
        deferred(&mut bench, "c", "gmail", 10, 0);
        bench.advance(Duration::from_secs(60));
    }
    let a = bench.id("a");
    assert_eq!(bench.scheduler.bent_to(a, gmail.destination), 5.0);
    // 1 of 1 + 20 + 40.
    assert_eq!(carry(&mut bench, &gmail, 6_100), counts([("a", 100), ("b", 2_000), ("c", 4_000)]));
    assert_eq!(carry(&mut bench, &yahoo, 400), even);
    assert_eq!(carry(&mut bench, &other, 400), even);
    let mut mixed = BTreeMap::new();
    for _ in 0..610 {
        for _ in 0..9 {
            carry(&mut bench, &gmail, 1);
        }
        let one = carry(&mut bench, &other, 1);
        one.into_iter().for_each(|(name, count)| *mixed.entry(name).or_insert(0usize) += count);
    }
    assert!(mixed["a"].abs_diff(152) <= 2, "what is carried at one provider is not set off elsewhere: {mixed:?}");
}

#[test]
fn bent_weights_stay_over_another_configuration() {
    let config = |weight: u32| {
        let config = TestConfig::default().binding("a", |_| {}).binding("b", |_| {}).provider("gmail", |_| {});
        config.pool("p", &[&[("a", weight), ("b", weight)]], |pool| pool.spread = Spread::Reputation).build()
    };
    let mut bench = Bench::new(&config(1), &[]);
    // With two, the other one is given the time to grow into it.
    for _ in 0..300 {
        for place in ["gmail", "site:1"] {
            deferred(&mut bench, "a", place, 0, 10);
            deferred(&mut bench, "b", place, 10, 0);
        }
        bench.advance(Duration::from_secs(60));
    }
    bench.scheduler.reconfigure(&config(2), bench.now);
    for place in ["gmail", "site:1"] {
        let request = bench.request(place);
        assert_eq!(carry(&mut bench, &request, 210), counts([("a", 10), ("b", 200)]), "{place}");
    }
}

fn herd(n: usize) -> Vec<String> {
    (0..n).map(|n| format!("m{n}")).collect()
}

fn pool_of(names: &[String], change: impl Fn(usize, &mut crate::config::Binding)) -> TestConfig {
    let config = TestConfig::default();
    let config = names.iter().enumerate().fold(config, |config, (n, name)| config.binding(name, |b| change(n, b)));
    let members: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    config.pool("p", &[&members], |_| {})
}

#[test]
fn ten_thousand_destinations_with_one_message_each_are_spread_exactly() {
    let config = TestConfig::default().binding("a", |_| {}).binding("b", |_| {}).binding("c", |_| {});
    let mut bench = config.pool("p", &[&[("a", 1), ("b", 2), ("c", 7)]], |_| {}).start();
    let mut all = BTreeMap::new();
    for n in 0..10_000 {
        let request = bench.request(&format!("site:{n}"));
        let one = carry(&mut bench, &request, 1);
        one.into_iter().for_each(|(name, count)| *all.entry(name).or_insert(0usize) += count);
        assert!(bench.scheduler.forget_destination(request.destination));
    }
    assert_eq!(all, counts([("a", 1_000), ("b", 2_000), ("c", 7_000)]));
}

#[test]
fn where_half_of_a_large_pool_is_shut_the_other_half_shares_exactly_and_those_that_return_do_not_burst() {
    let names = herd(200);
    let mut bench = pool_of(&names, |_, _| {}).start();
    let request = bench.request("site:1");
    for name in names.iter().step_by(2) {
        bench.set_route(name, "site:1", bench.suspended(3_600));
    }
    carry(&mut bench, &request, 1_000);
    let shared = carry(&mut bench, &request, 1_000);
    assert_eq!(shared.len(), 100);
    assert!(shared.values().all(|count| (9..=11).contains(count)), "{shared:?}");
    for name in names.iter().step_by(2) {
        bench.set_route(name, "site:1", Health::Active);
    }
    let after = carry(&mut bench, &request, 2_000);
    assert_eq!(after.len(), 200);
    assert!(after.values().all(|count| (8..=12).contains(count)), "{after:?}");
}

#[test]
fn a_freed_slot_at_a_destination_is_used_at_once_in_a_large_pool() {
    let names = herd(150);
    let members: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let config = names.iter().fold(TestConfig::default(), |config, name| config.binding(name, |_| {}));
    let config = config.provider("gmail", |limits| limits.max_outbound_connections = Some(1));
    let mut bench = config.pool("p", &[&members], |_| {}).start();
    let request = bench.request("gmail");
    let mut held: Vec<_> = (0..150).map(|_| bench.lease(&request)).collect();
    for _ in 0..300 {
        assert!(matches!(bench.ask(&request), Selection::Later { .. }));
        let freed = held.swap_remove(held.len() / 2);
        let who = freed.binding;
        bench.scheduler.settle(freed, Settlement::Accepted(1), bench.now);
        let next = bench.lease(&request);
        assert_eq!(next.binding, who);
        held.push(next);
    }
}

#[test]
fn a_route_that_is_ahead_of_its_rate_comes_back_by_itself_in_a_large_pool() {
    let names = herd(100);
    let members: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let config = names.iter().fold(TestConfig::default(), |config, name| config.binding(name, |_| {}));
    let config = config.provider("gmail", |limits| limits.rate_limit = Some(super::testing::rate(1, 10)));
    let mut bench = config.pool("p", &[&members], |_| {}).start();
    let request = bench.request("gmail");
    for round in 0..5 {
        let carried = carry(&mut bench, &request, 100);
        assert_eq!(carried.len(), 100, "round {round}");
        assert!(matches!(bench.ask(&request), Selection::Later { until, .. } if until == bench.later(10)));
        bench.advance(Duration::from_secs(10));
    }
}

#[test]
fn a_refusal_by_a_large_pool_lists_some_of_each_kind_and_explain_lists_all() {
    let names = herd(1_000);
    let mut bench = pool_of(&names, |n, binding| {
        binding.limits.max_outbound_connections = (n % 4 == 1).then_some(0);
        binding.limits.rate_limit = (n % 4 == 2).then(|| super::testing::rate(1, 3_600));
    })
    .start();
    for name in names.iter().step_by(4) {
        bench.set(name, bench.suspended(600));
    }
    for name in names.iter().skip(3).step_by(4) {
        bench.set_route(name, "site:1", bench.suspended(1_200));
    }
    let request = bench.request("site:1");
    assert_eq!(carry(&mut bench, &request, 250).len(), 250, "those with a rate, once each");
    let Selection::Later { until, verdicts, .. } = bench.ask(&request) else { panic!("not put off") };
    assert!(verdicts.len() <= 200, "{}", verdicts.len());
    for kind in ["suspended", "window_full", "rate_limited", "route_suspended"] {
        assert!(verdicts.iter().filter(|(_, verdict)| verdict.as_str() == kind).count() >= 10, "{kind}");
    }
    assert_eq!(until, bench.later(1), "a window may be free any moment");
    assert_eq!(bench.explain(&request).len(), 1_000);

    let names = herd(300);
    let mut bench = pool_of(&names, |_, _| {}).start();
    let mut request = bench.request("site:1");
    request.families = Families { v4: false, v6: true };
    assert!(matches!(bench.ask(&request), Selection::Exhausted { .. }));
}

#[test]
fn a_destination_that_is_forgotten_leaves_no_bars_to_the_next_one_with_its_number() {
    let names = herd(80);
    let mut bench = pool_of(&names, |_, _| {}).start();
    let request = bench.request("site:1");
    for name in &names {
        bench.set_route(name, "site:1", bench.suspended(3_600));
    }
    (0..5).for_each(|_| assert!(matches!(bench.ask(&request), Selection::Later { .. })));
    for name in &names {
        bench.set_route(name, "site:1", Health::Active);
    }
    assert!(bench.scheduler.forget_destination(request.destination));
    let next = bench.scheduler.destination(&DestinationName::new("site:2"), None);
    assert_eq!(next, request.destination);
    assert_eq!(carry(&mut bench, &request, 80).len(), 80);
}

#[test]
fn a_mixed_pool_shares_exactly_among_those_that_reach_the_destination() {
    let names = herd(120);
    let mut bench = pool_of(&names, |n, binding| {
        if n % 3 > 0 {
            binding.bind_address = std::net::Ipv6Addr::LOCALHOST.into();
        }
    })
    .start();
    let mut request = bench.request("site:1");
    request.families = Families { v4: true, v6: false };
    assert!(carry(&mut bench, &request, 400).values().all(|&count| count == 10));
    request.families = Families { v4: true, v6: true };
    let all = carry(&mut bench, &request, 1_200);
    let of_v4: usize = names.iter().step_by(3).map(|name| all[name]).sum();
    assert!((340..=400).contains(&of_v4), "at most one message each is set off: {of_v4}");
}

#[test]
fn headroom_measures_bindings_without_a_cap_by_the_largest_of_the_pool() {
    let config = TestConfig::default()
        .binding("small", |binding| binding.limits.daily_cap = Some(1_000))
        .binding("large", |binding| binding.limits.daily_cap = Some(4_000))
        .binding("free", |_| {});
    let headroom = |pool: &mut crate::config::Pool| pool.spread = Spread::Headroom;
    let mut bench = config.pool("p", &[&[("small", 1), ("large", 1), ("free", 1)]], headroom).start();
    let request = bench.request("site:1");
    let day = carry(&mut bench, &request, 900);
    for (name, share) in [("small", 100), ("large", 400), ("free", 400)] {
        assert!(day[name].abs_diff(share) <= 5, "{day:?}");
    }
    bench.advance(Duration::from_secs(86_400));
    let next: Vec<usize> =
        (0..9).map(|_| carry(&mut bench, &request, 10).values().copied().max().unwrap_or(0)).collect();
    assert!(next.iter().all(|&most| most <= 6), "a new day is no herd: {next:?}");
    bench.set("large", bench.suspended(600));
    carry(&mut bench, &request, 400);
    bench.set("large", Health::Active);
    let back = carry(&mut bench, &request, 90);
    assert!((35..=75).contains(&back["large"]), "twice its pace, not all of it: {back:?}");
}

#[test]
fn the_way_back_from_the_backup_is_the_probations_trickle_however_often_it_turns() {
    let config = TestConfig::default().binding("a", |_| {}).binding("b", |_| {}).binding("c", |_| {});
    let mut bench = config.pool("p", &[&[("a", 1), ("b", 1)], &[("c", 2)]], |_| {}).start();
    let request = bench.request("site:1");
    for _ in 0..20 {
        bench.set("a", bench.suspended(600));
        bench.set("b", bench.suspended(600));
        assert_eq!(carry(&mut bench, &request, 10), counts([("c", 10)]));
        bench.set("a", bench.probation(3, 600));
        let first = carry(&mut bench, &request, 4);
        assert!(first["c"] >= 2, "no burst of what it missed: {first:?}");
        let rest = carry(&mut bench, &request, 16);
        let trickle = first.get("a").unwrap_or(&0) + rest.get("a").unwrap_or(&0);
        assert_eq!(trickle, 3, "the backup carries the rest");
        bench.set("a", Health::Active);
        assert_eq!(carry(&mut bench, &request, 10), counts([("a", 10)]), "closed again");
        bench.set("b", Health::Active);
        let both = carry(&mut bench, &request, 10);
        assert!(both["a"].abs_diff(both["b"]) <= 2, "{both:?}");
    }
}

#[derive(Clone, Debug)]
enum Event {
    Ask { place: usize, region: usize, sticky: Option<usize>, exclude: Vec<usize> },
    Settle(usize),
    Binding(usize, u8),
    Route(usize, usize, u8),
    Pass(u64),
    Reload(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let who = 0usize..6;
    prop_oneof![
        10 => (0usize..3, 0usize..3, prop::option::of(who.clone()), prop::collection::vec(who.clone(), 0..3))
            .prop_map(|(place, region, sticky, exclude)| Event::Ask { place, region, sticky, exclude }),
        6 => (0usize..9).prop_map(Event::Settle),
        2 => (who.clone(), 0u8..4).prop_map(|(who, what)| Event::Binding(who, what)),
        4 => (who, 0usize..3, 0u8..4).prop_map(|(who, place, what)| Event::Route(who, place, what)),
        2 => prop_oneof![0u64..3_000, 0u64..90_000_000].prop_map(Event::Pass),
        1 => (0usize..3).prop_map(Event::Reload),
    ]
}

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn config(which: usize) -> crate::config::Config {
    let config = NAMES.iter().enumerate().fold(TestConfig::default(), |config, (n, name)| {
        config.binding(name, |binding| {
            binding.region = ["eu", "us"].get(n % 3).map(|&region| region.to_owned());
            binding.limits.daily_cap = (n % 2 == 0).then_some(30);
            binding.limits.max_outbound_connections = Some(3);
            if n == 5 {
                binding.bind_address = std::net::Ipv6Addr::LOCALHOST.into();
            }
        })
    });
    let config = config.provider("gmail", |limits| {
        limits.daily_cap = Some(9);
        limits.max_outbound_connections = Some(2);
    });
    let tiers: &[&[(&str, u32)]] = &[&[("a", 3), ("b", 1), ("f", 1)], &[("c", 1), ("d", 0)], &[("e", 2)]];
    config
        .pool("p", tiers, |pool| {
            pool.spread = [Spread::Weighted, Spread::Reputation, Spread::Headroom][which];
            pool.min_active = 1 + which;
            if which > 0 {
                let busy = [FailoverReason::WindowFull, FailoverReason::Suspended];
                pool.failover_on = busy[..which].to_vec();
            }
        })
        .build()
}

/// How many seats can be counted on, by walking them all.
fn walked(bench: &Bench, tier: usize, scope: Scope, request: &Request<'_>) -> usize {
    let facts = bench.scheduler.facts();
    let pool = &bench.scheduler.pools[request.pool.index()];
    let is_excluded =
        |id: BindingId| request.excluded.iter().any(|&(other, until)| other == id && bench.now.wall < until);
    let counts = pool.tiers[tier].seats.iter().filter(|seat| {
        seat.weight > 0
            && pool.tiers[tier].covers(scope, seat)
            && pool.counts_on(seat.class)
            && pool.counts_on(facts.route_class(seat.binding, request.destination, bench.now))
            && (!is_excluded(seat.binding) || pool.counts_on(super::pool::Class::Suspended))
    });
    counts.count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    /// What is kept up as things change is what a walk over all bindings would find; whoever is picked may be; and nobody
    /// who may be picked is overlooked for good.
    #[test]
    fn counts_kept_and_counts_walked_agree(events in prop::collection::vec(event(), 1..200), first in 0usize..3) {
        let places = ["gmail", "site:1", "site:2"];
        let mut bench = Bench::new(&config(first), &[]);
        let mut held = Vec::new();
        for event in events {
            match event {
                Event::Ask { place, region, sticky, exclude } => {
                    let until = bench.later(60);
                    let excluded: Vec<_> = exclude.iter().map(|&who| (bench.id(NAMES[who]), until)).collect();
                    let region = bench.scheduler.region_id(["eu", "us", "none"][region]);
                    let sticky = sticky.map(|who| bench.id(NAMES[who]));
                    let families = Families { v4: true, v6: place != 2 };
                    let request = Request { region, sticky, excluded: &excluded, families, ..bench.request(places[place]) };
                    for tier in 0..3 {
                        for region in [None, region] {
                            let scope = Scope { region, families, cover: CoverId::NONE };
                            let pool = &bench.scheduler.pools[request.pool.index()];
                            let kept = bench.scheduler.facts().counted(pool, tier, scope, &request, 9, bench.now);
                            prop_assert_eq!(kept, walked(&bench, tier, scope, &request), "tier {} {:?}", tier, scope);
                        }
                    }
                    let explained = bench.scheduler.explain(&request, bench.now);
                    let is_eligible = |id: BindingId| explained.iter().any(|(other, v)| *other == id && *v == Verdict::Eligible);
                    match bench.scheduler.select(&request, bench.now) {
                        Selection::Assigned(lease) => {
                            let by_preference = sticky == Some(lease.binding);
                            prop_assert!(is_eligible(lease.binding) || by_preference, "{:?}: {:?}", lease, explained);
                            held.push(lease);
                        }
                        Selection::Later { verdicts, .. } => {
                            let waits = |id: BindingId| verdicts.contains(&(id, Verdict::GrantPending));
                            let overlooked = explained.iter().find(|(id, v)| *v == Verdict::Eligible && !waits(*id));
                            prop_assert!(overlooked.is_none(), "{:?}", overlooked);
                            for (id, verdict) in &explained {
                                if *verdict == Verdict::Eligible {
                                    let name = bench.scheduler.binding_name(*id).clone();
                                    prop_assert!(name.as_str() != "b" || place == 0, "b has no cap: nothing to wait for");
                                }
                            }
                        }
                        Selection::Exhausted { .. } => {}
                    }
                    for grant in bench.scheduler.take_grant_requests() {
                        bench.scheduler.grant_durable(&grant, bench.now);
                    }
                }
                Event::Settle(which) if !held.is_empty() => {
                    let lease = held.swap_remove(which % held.len());
                    let how = if which % 3 == 0 { Settlement::Unused } else { Settlement::Accepted(1) };
                    bench.scheduler.settle(lease, how, bench.now);
                }
                Event::Settle(_) => {}
                Event::Binding(who, what) => {
                    let health = health(&bench, what);
                    bench.set(NAMES[who], health);
                }
                Event::Route(who, place, what) => {
                    let health = health(&bench, what);
                    bench.set_route(NAMES[who], places[place], health);
                }
                Event::Pass(millis) => {
                    bench.advance(Duration::from_millis(millis));
                    bench.settle_grants();
                }
                Event::Reload(which) => bench.scheduler.reconfigure(&config(which), bench.now),
            }
        }
    }
}

fn health(bench: &Bench, what: u8) -> Health {
    match what {
        0 => Health::Active,
        1 => bench.suspended(100),
        2 => bench.probation(2, 100),
        _ => Health::Throttled { divisor: 2, until: bench.later(5), reason: Reason::Listed },
    }
}

#[test]
fn a_pick_in_a_large_tier_asks_few_of_those_that_wait_for_a_grant() {
    use super::picks::Judgement;
    for (members, most) in [(20, 20), (2_000, 64)] {
        let names: Vec<String> = (0..members).map(|n| format!("b{n}")).collect();
        let config = names.iter().fold(TestConfig::default(), |config, name| config.binding(name, |_| {}));
        let seats: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 1)).collect();
        let mut bench = config.pool("p", &[&seats], |_| {}).start();
        let request = bench.request("x");
        let tier = &mut bench.scheduler.pools[request.pool.index()].tiers[0];
        let key = tier.key(Scope { families: request.families, ..Scope::ALL }, 0);
        let mut asked = 0;
        let picked = tier.pick(key, None, request.destination, bench.now.mono, |_| {
            asked += 1;
            Judgement::Wants
        });
        assert_eq!((picked, asked), (None, most));
    }
}
