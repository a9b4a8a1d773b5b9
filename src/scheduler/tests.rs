//! The decision as a whole: what is asked in which order, what a refusal says, what opens the backups.

use std::time::Duration;

use proptest::prelude::*;

use super::testing::{Bench, NOON, TestConfig, rate};
use super::{Experience, Families, Lease, Request, Selection, Settlement, Verdict};
use crate::clock::Wall;
use crate::config::{FailoverReason, Pace, Spread, Warmup, WarmupStart};
use crate::message::DestinationName;
use crate::reputation::{Health, Reason};
use crate::scheduler::verdict::CapOf;

const MIDNIGHT: Wall = Wall::from_millis(NOON - NOON % 86_400_000 + 86_400_000);

fn two() -> TestConfig {
    TestConfig::default().binding("a", |_| {}).binding("b", |_| {})
}

/// `a` active, `b` in reserve.
fn active_and_backup() -> TestConfig {
    two().pool("p", &[&[("a", 1)], &[("b", 1)]], |_| {})
}

fn capped(name: &'static str, cap: u64) -> impl FnOnce(TestConfig) -> TestConfig {
    move |config| config.binding(name, |binding| binding.limits.daily_cap = Some(cap))
}

#[test]
fn shares_are_exact_over_destinations_with_one_message_each() {
    let mut bench = two().binding("c", |_| {}).pool("p", &[&[("a", 1), ("b", 99), ("c", 0)]], |_| {}).start();
    let mut count = [0; 3];
    for n in 0..1_000 {
        let request = bench.request(&format!("site:{n}"));
        let lease = bench.lease(&request);
        count[lease.binding.index()] += 1;
        bench.scheduler.settle(lease, Settlement::Accepted(1), bench.now);
    }
    assert_eq!(count, [10, 990, 0]);
}

#[test]
fn pools_do_not_all_start_with_their_first_binding() {
    let config = two().pool("p", &[&[("a", 1), ("b", 1)]], |_| {}).build();
    let first = |seed| {
        let mut bench = Bench::new(&config, &[]);
        bench.scheduler = super::Scheduler::new(&config, &[], seed, bench.now);
        let request = bench.request("x");
        bench.pick(&request)
    };
    let starts: Vec<_> = (0..32).map(first).collect();
    assert!(starts.contains(&"a".to_owned()) && starts.contains(&"b".to_owned()));
    assert_eq!(first(5), first(5));
}

#[test]
fn the_first_reason_in_the_order_of_checks_is_given() {
    // Each step removes the reason that was shown; the next one must appear.
    let mut bench = TestConfig::default()
        .binding("a", |binding| {
            binding.limits.daily_cap = Some(1);
            binding.limits.max_outbound_connections = Some(1);
            binding.limits.rate_limit = Some(rate(1, 60));
        })
        .pool("p", &[&[("a", 1)]], |_| {})
        .start();
    let mut request = bench.request("x");
    let lease = bench.lease(&request);
    let until = bench.later(600);
    let a = bench.id("a");
    let excluded = [(a, until)];
    request.families = Families { v4: false, v6: true };
    request.excluded = &excluded;
    bench.set_route("a", "x", bench.suspended(60));
    bench.set("a", Health::Suspended { until, reason: Reason::Operator });
    assert_eq!(bench.explain(&request), ["operator_suspended"]);
    bench.set("a", bench.suspended(30));
    assert_eq!(bench.explain(&request), ["suspended"]);
    bench.set("a", Health::Active);
    assert_eq!(bench.explain(&request), ["route_suspended"]);
    bench.set_route("a", "x", Health::Active);
    assert_eq!(bench.explain(&request), ["address_family"]);
    request.families.v4 = true;
    assert_eq!(bench.explain(&request), ["excluded"]);
    request.excluded = &[];
    let now = bench.now;
    assert_eq!(bench.scheduler.explain(&request, now), [(a, Verdict::Cap { of: CapOf::Binding, until: MIDNIGHT })]);
    let mut raised = TestConfig::default()
        .binding("a", |binding| {
            binding.limits.daily_cap = Some(100);
            binding.limits.max_outbound_connections = Some(1);
            binding.limits.rate_limit = Some(rate(1, 60));
        })
        .pool("p", &[&[("a", 1)]], |_| {})
        .build();
    bench.scheduler.reconfigure(&raised, now);
    assert_eq!(bench.explain(&request), ["window_full"]);
    bench.scheduler.settle(lease, Settlement::Accepted(1), now);
    assert_eq!(bench.explain(&request), ["rate_limited"]);
    bench.advance(Duration::from_secs(60));
    bench.scheduler.tick(bench.now);
    assert_eq!(bench.explain(&request), ["eligible"]);
    raised.pools[0].tiers[0][0].weight = 0;
    bench.scheduler.reconfigure(&raised, bench.now);
    assert_eq!(bench.explain(&request), ["drained"]);
}

#[test]
fn explain_and_select_agree_and_explaining_spends_nothing() {
    let mut bench = TestConfig::default()
        .binding("a", |binding| binding.limits.rate_limit = Some(rate(1, 10)))
        .pool("p", &[&[("a", 1)]], |_| {})
        .start();
    let request = bench.request("x");
    (0..50).for_each(|_| assert_eq!(bench.explain(&request), ["eligible"]));
    let _held = bench.lease(&request);
    assert_eq!(bench.explain(&request), ["rate_limited"]);
}

#[test]
fn a_daily_cap_ends_at_its_number_and_comes_back_at_midnight() {
    let mut bench = capped("a", 7)(TestConfig::default()).pool("p", &[&[("a", 1)]], |_| {}).start();
    let mut request = bench.request("x");
    request.recipients = 5;
    let (leases, recipients) = bench.all_leases(&request);
    assert_eq!(recipients, 7);
    let of = CapOf::Binding;
    assert_eq!(bench.refusal(&request), (MIDNIGHT, vec![Verdict::Cap { of, until: MIDNIGHT }]));
    leases.into_iter().for_each(|lease| bench.scheduler.settle(lease, Settlement::Accepted(0), bench.now));
    let four = bench.lease(&Request { recipients: 4, ..request });
    assert_eq!(four.recipients, 4, "what was refused is free again");
    let (three, recipients) = bench.all_leases(&request);
    assert_eq!(recipients, 3);
    three.into_iter().for_each(|lease| bench.scheduler.settle(lease, Settlement::Unknown, bench.now));
    bench.advance(MIDNIGHT.since(bench.now.wall));
    assert_eq!(bench.all_leases(&request).1, 3, "four from yesterday are still on the wire");
}

#[test]
fn caps_of_route_and_tenant_hold_at_the_same_time() {
    let mut bench = TestConfig::default()
        .binding("a", |_| {})
        .provider("gmail", |limits| limits.daily_cap = Some(3))
        .tenant(|tenant| tenant.daily_cap = Some(5))
        .pool("p", &[&[("a", 1)]], |_| {})
        .start();
    let mut request = bench.request("gmail");
    request.recipients = 10;
    let (leases, recipients) = bench.all_leases(&request);
    assert_eq!(recipients, 3);
    let cap = |of| (MIDNIGHT, vec![Verdict::Cap { of, until: MIDNIGHT }]);
    assert_eq!(bench.refusal(&request), cap(CapOf::Route));
    let mut elsewhere = bench.request("site:y");
    elsewhere.recipients = 10;
    assert_eq!(bench.all_leases(&elsewhere).1, 2);
    assert_eq!(bench.refusal(&elsewhere), cap(CapOf::Tenant));
    leases.into_iter().for_each(|lease| bench.scheduler.settle(lease, Settlement::Unused, bench.now));
    assert_eq!(bench.all_leases(&elsewhere).1, 3);
    let gmail = bench.scheduler.usage(bench.now).into_iter().find(|usage| usage.owner.to_string() == "route/a/gmail");
    assert_eq!(gmail.map(|usage| (usage.limit, usage.used, usage.reserved)), Some((Some(3), 0, 0)));
}

#[test]
fn a_refusal_names_the_tenant_exactly_where_all_its_mail_waits_for_it() {
    let of_tenant = |selection| match selection {
        Selection::Later { until, tenant, .. } => (until, tenant),
        other => panic!("not put off: {other:?}"),
    };
    let limited = |tenant: fn(&mut crate::config::Tenant), cap: Option<u64>| {
        let config = TestConfig::default().binding("a", |binding| binding.limits.daily_cap = cap);
        let mut bench = config.tenant(tenant).pool("p", &[&[("a", 1)]], |_| {}).start();
        let request = bench.request("x");
        let _held = bench.lease(&request);
        of_tenant(bench.ask(&request))
    };
    let capped = Verdict::Cap { of: CapOf::Tenant, until: MIDNIGHT };
    assert_eq!(limited(|tenant| tenant.daily_cap = Some(1), None), (MIDNIGHT, Some(capped)));
    let until = Wall::from_millis(NOON + 60_000);
    let limit = |tenant: &mut crate::config::Tenant| tenant.rate_limit = Some(rate(1, 60));
    assert_eq!(limited(limit, None), (until, Some(Verdict::RateLimited { until })));
    assert_eq!(limited(limit, Some(1)), (until, Some(Verdict::RateLimited { until })), "whatever bindings say");
    assert_eq!(limited(|_| {}, Some(1)), (MIDNIGHT, None), "the binding's cap is not the tenant's");

    let mut bench = two().tenant(|tenant| tenant.daily_cap = Some(9)).pool("p", &[&[("a", 1)]], |_| {}).start();
    bench.hold_grants = true;
    let request = bench.request("x");
    assert_eq!(of_tenant(bench.ask(&request)), (bench.later(1), Some(Verdict::GrantPending)));
}

#[test]
fn a_tenant_that_must_wait_opens_no_backup() {
    let mut bench = active_and_backup().tenant(|tenant| tenant.daily_cap = Some(1)).start();
    let request = bench.request("x");
    let _held = bench.lease(&request);
    let of = CapOf::Tenant;
    let (until, verdicts) = bench.refusal(&request);
    assert_eq!((until, verdicts), (MIDNIGHT, vec![Verdict::Cap { of, until: MIDNIGHT }, Verdict::TierClosed]));
}

#[test]
fn warm_up_says_so_and_gives_way_to_the_cap() {
    let warming = |cap: Option<u64>| {
        let ladder = [2, 50].into();
        let position = WarmupStart::Started(jiff::civil::date(2026, 5, 20));
        TestConfig::default()
            .binding("a", |binding| {
                binding.limits.daily_cap = cap;
                binding.warmup = Some(Warmup { ladder, position });
            })
            .pool("p", &[&[("a", 1)]], |_| {})
            .start()
    };
    for (cap, first_day, verdict) in [
        (None, 2, Verdict::Warmup { until: MIDNIGHT }),
        (Some(1), 1, Verdict::Cap { of: CapOf::Binding, until: MIDNIGHT }),
    ] {
        let mut bench = warming(cap);
        let mut request = bench.request("x");
        request.recipients = 100;
        let (leases, recipients) = bench.all_leases(&request);
        assert_eq!(recipients, first_day);
        assert_eq!(bench.refusal(&request).1, [verdict]);
        for lease in leases {
            let seen = Experience { accepted: lease.recipients, ..Experience::default() };
            bench.scheduler.experienced(lease.binding, lease.destination, &seen, bench.now);
            bench.scheduler.settle(lease, Settlement::Accepted(2), bench.now);
        }
        bench.advance(Duration::from_secs(86_400));
        assert_eq!(bench.all_leases(&request).1, if cap.is_some() { 1 } else { 50 });
    }
}

#[test]
fn even_pace_holds_back_what_the_day_has_not_earned_yet() {
    let mut bench = capped("a", 24)(TestConfig::default()).pool("p", &[&[("a", 1)]], |p| p.pace = Pace::Even).start();
    let mut request = bench.request("x");
    request.recipients = 100;
    assert_eq!(bench.all_leases(&request).1, 13, "half past twelve: twelve and one ahead");
    let next = Wall::from_millis(NOON + 1_800_000);
    assert_eq!(bench.refusal(&request), (next, vec![Verdict::Pace { until: next }]));
    bench.advance(Duration::from_secs(1_800));
    assert_eq!(bench.all_leases(&request).1, 1);
}

#[test]
fn nothing_is_sent_on_a_grant_that_is_not_on_disk() {
    let mut bench = capped("a", 1_000)(TestConfig::default()).pool("p", &[&[("a", 1)]], |_| {}).start();
    bench.hold_grants = true;
    let request = bench.request("x");
    assert_eq!(bench.refusal(&request), (bench.later(1), vec![Verdict::GrantPending]));
    let asked = bench.scheduler.take_grant_requests();
    assert_eq!(asked[0].granted, 16);
    assert_eq!(bench.refusal(&request).1, [Verdict::GrantPending]);
    assert!(bench.scheduler.take_grant_requests().is_empty());
    bench.scheduler.grant_failed(&asked[0], bench.now);
    assert_eq!(bench.refusal(&request).1, [Verdict::GrantPending]);
    assert!(bench.scheduler.take_grant_requests().is_empty(), "not at once after a failure");
    bench.advance(Duration::from_secs(1));
    assert_eq!(bench.refusal(&request).1, [Verdict::GrantPending]);
    assert_eq!(bench.scheduler.take_grant_requests(), asked);
    bench.scheduler.grant_durable(&asked[0], bench.now);
    let _held = bench.lease(&request);
}

/// Fifty bindings with a cap of 1,000 each, and one without.
fn many() -> TestConfig {
    let names: Vec<String> = (0..50).map(|n| format!("m{n}")).collect();
    let config = names.iter().fold(TestConfig::default().binding("free", |_| {}), |config, name| {
        config.binding(name, |binding| binding.limits.daily_cap = Some(1_000))
    });
    let members: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 1)).chain([("free", 1)]).collect();
    config.pool("p", &[&members], |_| {})
}

#[test]
fn the_first_grants_of_a_day_are_asked_for_at_once_and_only_where_there_is_a_cap() {
    let mut bench = many().start();
    let first = bench.scheduler.take_grant_requests();
    assert_eq!(first.len(), 50);
    assert!(first.iter().all(|grant| grant.granted == 16 && grant.key != "binding/free"));
    let request = bench.request("x");
    bench.hold_grants = true;
    assert_eq!(bench.pick(&request), "free", "what needs no grant waits for none");
    assert!(bench.scheduler.take_grant_requests().is_empty(), "each is asked for once");
    bench.advance(MIDNIGHT.since(bench.now.wall));
    bench.scheduler.tick(bench.now);
    assert_eq!(bench.scheduler.take_grant_requests().len(), 50);
}

#[test]
fn a_cap_set_by_another_configuration_asks_for_its_first_grant_at_once() {
    let pool = |config: TestConfig| config.pool("p", &[&[("a", 1)]], |_| {}).build();
    let mut bench = Bench::new(&pool(TestConfig::default().binding("a", |_| {})), &[]);
    let request = bench.request("x");
    for _ in 0..30 {
        let lease = bench.lease(&request);
        bench.scheduler.settle(lease, Settlement::Accepted(1), bench.now);
    }
    bench.scheduler.reconfigure(&pool(capped("a", 20)(TestConfig::default())), bench.now);
    let asked = bench.scheduler.take_grant_requests();
    assert_eq!(asked.iter().map(|grant| grant.granted).collect::<Vec<_>>(), [30], "what was sent before is written");
}

#[test]
fn nobody_is_passed_over_for_want_of_a_first_grant_after_start_and_after_midnight() {
    let mut bench = many().start();
    bench.hold_grants = true;
    for _ in 0..3 {
        assert_eq!(bench.settle_grants(), 50);
        let request = bench.request("x");
        assert!(bench.explain(&request).iter().all(|verdict| *verdict == "eligible"));
        let mut picked: Vec<String> = (0..51).map(|_| bench.pick(&request)).collect();
        picked.sort();
        picked.dedup();
        assert_eq!(picked.len(), 51, "each carries one of the first fifty-one");
        bench.advance(Duration::from_secs(86_400));
    }
}

/// How far from its share a binding of three equal ones gets, in messages, while all three have something left of `cap`;
/// grants are durable only after every third selection. And what they carry together.
fn drift_with_slow_grants(cap: u64) -> (f64, u64) {
    let names = ["a", "b", "c"];
    let config = names.iter().fold(TestConfig::default(), |config, name| capped(name, cap)(config));
    let mut bench = config.pool("p", &[&[("a", 1), ("b", 1), ("c", 1)]], |_| {}).start();
    bench.hold_grants = true;
    bench.settle_grants();
    let (mut counts, mut worst) = ([0u64; 3], 0f64);
    let request = bench.request("x");
    for n in 1..=6 * cap + 30 {
        if let Selection::Assigned(lease) = bench.ask(&request) {
            counts[lease.binding.index()] += 1;
            bench.scheduler.settle(lease, Settlement::Accepted(1), bench.now);
        }
        if counts.iter().all(|&count| count < cap) {
            let fair = counts.iter().sum::<u64>() as f64 / 3.0;
            worst = counts.iter().fold(worst, |worst, &count| worst.max((count as f64 - fair).abs()));
        }
        if n % 3 == 0 {
            bench.settle_grants();
        }
    }
    (worst, counts.iter().sum())
}

#[test]
fn shares_stay_exact_to_one_message_with_small_caps_and_slow_grants() {
    for cap in [100, 40, 17, 10] {
        let (worst, carried) = drift_with_slow_grants(cap);
        assert!(worst <= 1.0, "cap {cap}: {worst}");
        assert_eq!(carried, 3 * cap, "all of it is spent, and no more");
    }
}

#[test]
fn caps_of_a_few_messages_are_spent_in_full_but_wait_for_the_disk_at_each() {
    for cap in 1..10 {
        let (worst, carried) = drift_with_slow_grants(cap);
        assert!(worst <= 2.0, "cap {cap}: {worst}");
        assert_eq!(carried, 3 * cap);
    }
}

#[test]
fn mail_to_destinations_in_turn_is_shared_at_each_of_them() {
    for names in [&["a", "b"][..], &["a", "b", "c"]] {
        let config = names.iter().fold(TestConfig::default(), |config, name| config.binding(name, |_| {}));
        let members: Vec<(&str, u32)> = names.iter().map(|name| (*name, 1)).collect();
        let mut bench = config.pool("p", &[&members], |_| {}).start();
        let places: Vec<_> = (0..names.len()).map(|n| bench.request(&format!("site:{n}"))).collect();
        let mut counts = vec![vec![0usize; names.len()]; names.len()];
        for n in 0..2_000 {
            let lease = bench.lease(&places[n % names.len()]);
            counts[n % names.len()][lease.binding.index()] += 1;
            bench.scheduler.settle(lease, Settlement::Accepted(1), bench.now);
        }
        for at_one in counts {
            let all: usize = at_one.iter().sum();
            let fair = all / names.len();
            for count in at_one {
                assert!(count.abs_diff(fair) * 10 <= all, "{count} of {all} among {}", names.len());
            }
        }
    }
}

#[test]
fn after_a_crash_the_count_goes_on_from_the_grants() {
    let config = capped("a", 10)(TestConfig::default()).pool("p", &[&[("a", 1)]], |_| {}).build();
    let mut bench = Bench::new(&config, &[]);
    let mut disk = Vec::new();
    let mut sent = 0;
    for round in 0..60 {
        let request = bench.request("x");
        if let Selection::Assigned(lease) = bench.scheduler.select(&request, bench.now) {
            sent += 1;
            bench.scheduler.settle(lease, Settlement::Accepted(1), bench.now);
        }
        for grant in bench.scheduler.take_grant_requests() {
            disk = vec![grant.clone()];
            bench.scheduler.grant_durable(&grant, bench.now);
        }
        if round % 7 == 6 {
            bench = Bench::new(&config, &disk);
        }
    }
    assert!((6..=10).contains(&sent), "{sent}");
}

#[test]
fn backups_open_for_suspension_and_caps_but_not_for_what_is_merely_busy() {
    let busy = |change: fn(&mut crate::config::Binding)| {
        let config = TestConfig::default().binding("a", change).binding("b", |_| {});
        let mut bench = config.pool("p", &[&[("a", 1)], &[("b", 1)]], |_| {}).start();
        let request = bench.request("x");
        let held = bench.lease(&request);
        let verdicts = bench.explain(&request);
        let backup = matches!(bench.ask(&request), Selection::Assigned(lease) if lease.tier == 1);
        drop(held);
        (verdicts, backup)
    };
    assert_eq!(busy(|a| a.limits.daily_cap = Some(1)), (vec!["cap", "eligible"], true));
    assert_eq!(busy(|a| a.limits.max_outbound_connections = Some(1)), (vec!["window_full", "tier_closed"], false));
    assert_eq!(busy(|a| a.limits.rate_limit = Some(rate(1, 60))), (vec!["rate_limited", "tier_closed"], false));

    let mut bench = active_and_backup().start();
    let request = bench.request("x");
    for (health, expected) in [
        (bench.suspended(60), "b"),
        (Health::Active, "a"),
        (Health::Suspended { until: bench.later(60), reason: Reason::Operator }, "b"),
        (Health::Throttled { divisor: 4, until: bench.later(60), reason: Reason::Listed }, "a"),
    ] {
        bench.set("a", health);
        assert_eq!(bench.pick(&request), expected);
    }
}

#[test]
fn failover_can_be_asked_for_when_busy() {
    let config = TestConfig::default()
        .binding("a", |binding| binding.limits.max_outbound_connections = Some(1))
        .binding("b", |_| {})
        .pool("p", &[&[("a", 1)], &[("b", 1)]], |pool| pool.failover_on = vec![FailoverReason::WindowFull]);
    let mut bench = config.start();
    let request = bench.request("x");
    let picks: Vec<String> = (0..3).map(|_| bench.pick(&request)).collect();
    assert_eq!(picks, ["a", "b", "b"]);
    bench.set("a", bench.suspended(60));
    assert_eq!(bench.explain(&request), ["suspended", "tier_closed"], "suspension is not in the list");
}

#[test]
fn a_route_suspended_at_one_destination_opens_the_backup_only_there() {
    let mut bench = active_and_backup().start();
    bench.set_route("a", "gmail", bench.suspended(3_600));
    let (gmail, other) = (bench.request("gmail"), bench.request("other"));
    assert_eq!((bench.pick(&gmail), bench.pick(&other)), ("b".into(), "a".into()));
    assert_eq!(bench.explain(&gmail), ["route_suspended", "eligible"]);
    assert_eq!(bench.explain(&other), ["eligible", "tier_closed"]);
    bench.set_route("a", "gmail", Health::Active);
    assert_eq!(bench.pick(&gmail), "a");
}

#[test]
fn an_exclusion_and_a_missing_family_open_the_backup_for_that_message() {
    let mut bench =
        TestConfig::default().v6("a").binding("b", |_| {}).pool("p", &[&[("a", 1)], &[("b", 1)]], |_| {}).start();
    let mut request = bench.request("x");
    request.families = Families { v4: true, v6: false };
    assert_eq!(bench.pick(&request), "b");
    request.families = Families { v4: true, v6: true };
    assert_eq!(bench.pick(&request), "a");
    let excluded = [(bench.id("a"), bench.later(60))];
    request.excluded = &excluded;
    assert_eq!(bench.pick(&request), "b");
    bench.advance(Duration::from_secs(60));
    assert_eq!(bench.pick(&request), "a", "an exclusion ends");
}

#[test]
fn a_binding_of_two_families_reaches_what_either_reaches() {
    let two = |binding: &mut crate::config::Binding| {
        let address = std::net::Ipv6Addr::LOCALHOST.into();
        binding.second = Some(crate::config::Second { bind_address: address, public_address: address });
    };
    let config = TestConfig::default().binding("four", |_| {}).binding("two", two).v6("six");
    let mut bench = config.pool("p", &[&[("four", 1), ("two", 1), ("six", 1)]], |_| {}).start();
    let mut request = bench.request("x");
    let mut picked = |v4, v6| {
        request.families = Families { v4, v6 };
        let mut names: Vec<String> = (0..12).map(|_| bench.pick(&request)).collect();
        names.sort();
        names.dedup();
        names.join(" ")
    };
    assert_eq!(picked(false, true), "six two");
    assert_eq!(picked(true, false), "four two");
    assert_eq!(picked(true, true), "four six two");
}

#[test]
fn what_no_binding_can_ever_reach_is_exhausted() {
    let mut bench = active_and_backup().start();
    let mut request = bench.request("x");
    request.families = Families { v4: false, v6: true };
    let Selection::Exhausted { verdicts } = bench.ask(&request) else { panic!("not exhausted") };
    assert!(verdicts.iter().all(|(_, verdict)| *verdict == Verdict::AddressFamily));
}

#[test]
fn min_active_opens_the_next_tier_and_both_share() {
    let config = two().binding("c", |_| {}).pool("p", &[&[("a", 1), ("b", 1)], &[("c", 1)]], |p| p.min_active = 2);
    let mut bench = config.start();
    let request = bench.request("x");
    let count = |bench: &mut Bench| {
        let mut count = [0; 3];
        for _ in 0..60 {
            let lease = bench.lease(&request);
            count[lease.binding.index()] += 1;
            bench.scheduler.settle(lease, Settlement::Accepted(1), bench.now);
        }
        count
    };
    assert_eq!(count(&mut bench), [30, 30, 0]);
    bench.set("a", bench.suspended(60));
    assert_eq!(count(&mut bench), [0, 30, 30]);
    bench.set("a", Health::Active);
    assert_eq!(count(&mut bench), [30, 30, 0]);
}

#[test]
fn probation_is_a_trickle_beside_the_open_backup() {
    let mut bench = active_and_backup().start();
    let mut request = bench.request("x");
    request.recipients = 3;
    bench.set("a", bench.probation(7, 900));
    let mut leased = [0, 0];
    for _ in 0..20 {
        let lease = bench.lease(&request);
        leased[lease.binding.index()] += lease.recipients;
        bench.scheduler.settle(lease, Settlement::Accepted(0), bench.now);
    }
    assert_eq!(leased[0], 7, "refused recipients count as well");
    assert_eq!(leased[1], 17 * 3);
    assert_eq!(bench.explain(&request), ["probation", "eligible"]);
    bench.set("a", bench.probation(14, 1_800));
    let first = bench.lease(&request);
    bench.scheduler.settle(first, Settlement::Unused, bench.now);
    let mut allowed = 0;
    for _ in 0..40 {
        let lease = bench.lease(&request);
        allowed += if lease.binding.index() == 0 { lease.recipients } else { 0 };
        bench.scheduler.settle(lease, Settlement::Unknown, bench.now);
    }
    assert_eq!(allowed, 14, "unused ones do not count");
}

#[test]
fn probation_of_a_route_is_counted_for_the_route() {
    let mut bench = TestConfig::default().binding("a", |_| {}).pool("p", &[&[("a", 1)]], |_| {}).start();
    let mut request = bench.request("gmail");
    request.recipients = 10;
    bench.set_route("a", "gmail", bench.probation(4, 900));
    assert_eq!(bench.lease(&request).recipients, 4);
    let until = bench.later(900);
    assert_eq!(bench.refusal(&request), (until, vec![Verdict::Probation { until }]));
    let mut other = bench.request("other");
    other.recipients = 10;
    assert_eq!(bench.lease(&other).recipients, 10);
}

#[test]
fn a_suspension_holds_until_it_is_lifted_and_is_not_asked_about_in_a_circle() {
    let mut bench = TestConfig::default().binding("a", |_| {}).pool("p", &[&[("a", 1)]], |_| {}).start();
    let request = bench.request("x");
    bench.set("a", bench.suspended(60));
    assert_eq!(bench.refusal(&request).0, bench.later(60));
    bench.advance(Duration::from_secs(100));
    assert_eq!(bench.refusal(&request).0, bench.later(1));
    let until = Wall::from_millis(i64::MAX);
    bench.set("a", Health::Suspended { until, reason: Reason::Unbindable });
    assert_eq!(bench.refusal(&request).0, bench.later(300));
}

#[test]
fn suspend_delivery_in_the_file_is_the_operators_word() {
    let mut bench = TestConfig::default()
        .binding("a", |binding| binding.suspend_delivery = true)
        .pool("p", &[&[("a", 1)]], |_| {})
        .start();
    let request = bench.request("x");
    bench.set("a", Health::Active);
    assert_eq!(bench.refusal(&request).1, [Verdict::OperatorSuspended { until: None }]);
}

#[test]
fn a_window_counts_leases_in_total_and_per_route() {
    let mut bench = TestConfig::default()
        .binding("a", |binding| binding.limits.max_outbound_connections = Some(3))
        .provider("gmail", |limits| limits.max_outbound_connections = Some(2))
        .pool("p", &[&[("a", 1)]], |_| {})
        .start();
    let (gmail, other) = (bench.request("gmail"), bench.request("other"));
    let held: Vec<Lease> = (0..2).map(|_| bench.lease(&gmail)).collect();
    assert_eq!(bench.refusal(&gmail), (bench.later(1), vec![Verdict::WindowFull]));
    let third = bench.lease(&other);
    assert_eq!(bench.explain(&other), ["window_full"]);
    assert_eq!(bench.scheduler.in_use(bench.now)[0].in_use, 3);
    held.into_iter().chain([third]).for_each(|lease| bench.scheduler.settle(lease, Settlement::Accepted(1), bench.now));
    assert_eq!((bench.explain(&other), bench.scheduler.in_use(bench.now)[0].in_use), (vec!["eligible"], 0));
}

#[test]
fn throttling_divides_windows_and_rates_and_ends_by_itself() {
    let mut bench = TestConfig::default()
        .binding("a", |binding| {
            binding.limits.max_outbound_connections = Some(4);
            binding.limits.rate_limit = Some(rate(1, 1));
        })
        .pool("p", &[&[("a", 1)]], |_| {})
        .start();
    let request = bench.request("x");
    bench.set("a", Health::Throttled { divisor: 4, until: bench.later(60), reason: Reason::Listed });
    let lease = bench.lease(&request);
    assert_eq!(bench.explain(&request), ["window_full"]);
    bench.scheduler.settle(lease, Settlement::Accepted(1), bench.now);
    let until = bench.later(4);
    assert_eq!(bench.refusal(&request), (until, vec![Verdict::RateLimited { until }]));
    bench.advance(Duration::from_secs(60));
    let _first = bench.lease(&request);
    bench.advance(Duration::from_secs(1));
    let _second = bench.lease(&request);
}

#[test]
fn a_limiter_is_honest_about_its_time_and_a_refusal_wastes_nothing() {
    let mut bench = TestConfig::default()
        .binding("a", |binding| binding.limits.rate_limit = Some(rate(10, 1)))
        .provider("gmail", |limits| limits.rate_limit = Some(rate(1, 1)))
        .pool("p", &[&[("a", 1)]], |_| {})
        .start();
    let (gmail, other) = (bench.request("gmail"), bench.request("other"));
    let mut sent = [0, 0];
    let end = bench.later(10);
    while bench.now.wall < end {
        // Many refusals at the slow route must not cost the binding its rate elsewhere.
        for (which, request) in [gmail, other].iter().enumerate() {
            if let Selection::Assigned(lease) = bench.ask(request) {
                sent[which] += 1;
                bench.scheduler.settle(lease, Settlement::Accepted(1), bench.now);
            }
        }
        bench.advance(Duration::from_millis(10));
    }
    assert_eq!(sent, [10, 90]);
    let _held = bench.lease(&other);
    let (until, verdicts) = bench.refusal(&other);
    assert_eq!(verdicts, [Verdict::RateLimited { until }]);
    bench.advance(until.since(bench.now.wall));
    let _held = bench.lease(&other);
}

#[test]
fn the_preferred_binding_is_taken_while_it_may_be() {
    let mut bench = two().pool("p", &[&[("a", 1), ("b", 9)]], |_| {}).start();
    let mut request = bench.request("x");
    request.sticky = Some(bench.id("a"));
    (0..5).for_each(|_| assert_eq!(bench.pick(&request), "a"));
    bench.set("a", bench.suspended(60));
    assert_eq!(bench.pick(&request), "b");
    bench.set("a", Health::Active);
    request.sticky = None;
    let after: Vec<String> = (0..9).map(|_| bench.pick(&request)).collect();
    assert!(after.iter().all(|name| name == "b"), "what it carried by preference is paid for: {after:?}");
}

#[test]
fn headroom_fills_bindings_to_the_same_share_of_their_caps() {
    let config = capped("b", 100)(capped("a", 1_000)(TestConfig::default()));
    let mut bench = config.pool("p", &[&[("a", 1), ("b", 1)]], |pool| pool.spread = Spread::Headroom).start();
    let request = bench.request("x");
    let mut count = [0; 2];
    for _ in 0..550 {
        let lease = bench.lease(&request);
        count[lease.binding.index()] += 1;
        bench.scheduler.settle(lease, Settlement::Accepted(1), bench.now);
    }
    assert!(count[0] >= 490 && count[1] >= 45, "{count:?}");
}

#[test]
fn another_configuration_keeps_counts_leases_and_health() {
    let before = capped("a", 10)(TestConfig::default()).pool("p", &[&[("a", 1)]], |_| {}).build();
    let after = capped("a", 12)(TestConfig::default().binding("z", |_| {}))
        .pool("q", &[&[("z", 1)]], |_| {})
        .pool("p", &[&[("a", 1)]], |_| {})
        .build();
    let mut bench = Bench::new(&before, &[]);
    let mut request = bench.request("x");
    request.recipients = 8;
    let lease = bench.lease(&request);
    bench.set("a", bench.suspended(60));
    bench.scheduler.reconfigure(&after, bench.now);
    assert_eq!(bench.explain(&request), ["suspended"]);
    bench.set("a", Health::Active);
    bench.scheduler.settle(lease, Settlement::Unused, bench.now);
    assert_eq!(bench.scheduler.in_use(bench.now).iter().map(|u| u.in_use).collect::<Vec<_>>(), [0, 0]);
    request.recipients = 99;
    let rest: u32 = (0..2).map(|_| bench.lease(&request).recipients).sum();
    assert_eq!(rest, 12);
    bench.scheduler.reconfigure(&before, bench.now);
    assert_eq!(bench.explain(&request), ["cap"]);
    assert_eq!(bench.scheduler.binding_id(&"z".into()), None);
}

#[test]
fn destinations_are_forgotten_when_nothing_is_known_of_them() {
    let mut bench =
        TestConfig::default().binding("a", |_| {}).provider("gmail", |_| {}).pool("p", &[&[("a", 1)]], |_| {}).start();
    let request = bench.request("site:x");
    let lease = bench.lease(&request);
    assert!(!bench.scheduler.forget_destination(request.destination), "in use");
    bench.scheduler.settle(lease, Settlement::Accepted(1), bench.now);
    assert!(bench.scheduler.forget_destination(request.destination));
    assert!(!bench.scheduler.forget_destination(request.destination), "only once");
    let gmail = bench.destination("gmail");
    assert!(!bench.scheduler.forget_destination(gmail));
    let name = DestinationName::new("site:y");
    assert_eq!(bench.scheduler.destination(&name, None), request.destination, "its number is used again");
    assert_eq!(bench.scheduler.destination_name(request.destination), &name);
}

#[derive(Clone, Debug)]
enum Event {
    Ask { destination: usize, recipients: u32, sticky: Option<usize> },
    Settle(usize, Settlement),
    Health(usize, Option<usize>, u8),
    Pass(u64),
    Reload(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let settlement = prop_oneof![
        4 => (0u32..6).prop_map(Settlement::Accepted),
        1 => Just(Settlement::Unused),
        1 => Just(Settlement::Unknown),
    ];
    prop_oneof![
        10 => (0usize..3, 1u32..6, prop::option::of(0usize..4))
            .prop_map(|(destination, recipients, sticky)| Event::Ask { destination, recipients, sticky }),
        8 => (0usize..9, settlement).prop_map(|(which, how)| Event::Settle(which, how)),
        2 => (0usize..4, prop::option::of(0usize..3), 0u8..4).prop_map(|(who, at, what)| Event::Health(who, at, what)),
        2 => prop_oneof![0u64..2_000, 0u64..20_000_000].prop_map(Event::Pass),
        1 => (5u64..40).prop_map(Event::Reload),
    ]
}

fn busy_config(cap: u64) -> crate::config::Config {
    let names = ["a", "b", "c", "d"];
    names
        .iter()
        .fold(TestConfig::default(), |config, name| {
            config.binding(name, |binding| {
                binding.limits.daily_cap = (*name != "c").then_some(cap);
                binding.limits.max_outbound_connections = Some(3);
                binding.limits.rate_limit = Some(rate(50, 1));
            })
        })
        .provider("gmail", |limits| {
            limits.daily_cap = Some(cap / 2);
            limits.rate_limit = Some(rate(20, 1));
        })
        .pool("p", &[&[("a", 3), ("b", 1)], &[("c", 1), ("d", 2)]], |_| {})
        .build()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Whatever happens: caps hold per day, the suspended get nothing, refusals name a reason for everybody and a moment
    /// in the future, and in the end nothing is held.
    #[test]
    fn invariants_hold_under_any_order_of_events(events in prop::collection::vec(event(), 1..250)) {
        let names = ["a", "b", "c", "d"];
        let places = ["gmail", "site:1", "site:2"];
        let mut bench = Bench::new(&busy_config(20), &[]);
        let mut highest = [20; 4];
        let mut held: Vec<Lease> = Vec::new();
        let mut accepted = [0u64; 4];
        let mut day = bench.scheduler.ledger.day().date;
        let mut cap = 20;
        for event in events {
            match event {
                Event::Ask { destination, recipients, sticky } => {
                    let mut request = bench.request(places[destination]);
                    request.recipients = recipients;
                    request.sticky = sticky.map(|who| bench.id(names[who]));
                    match bench.ask(&request) {
                        Selection::Assigned(lease) => {
                            prop_assert!((1..=recipients).contains(&lease.recipients));
                            let name = names[lease.binding.index()];
                            let whole = crate::reputation::Subject::Binding(name.into());
                            let route = crate::reputation::Subject::Route(name.into(), places[destination].into());
                            for subject in [whole, route] {
                                let health = bench.scheduler.health(&subject);
                                prop_assert!(!matches!(health, Some(Health::Suspended { .. })), "{subject:?}");
                            }
                            held.push(lease);
                        }
                        Selection::Later { until, verdicts, .. } => {
                            prop_assert!(until > bench.now.wall);
                            prop_assert_eq!(verdicts.len(), 4);
                            prop_assert!(verdicts.iter().all(|(_, v)| *v != Verdict::Eligible), "{verdicts:?}");
                        }
                        Selection::Exhausted { .. } => prop_assert!(false, "all families are there"),
                    }
                }
                Event::Settle(which, how) if !held.is_empty() => {
                    let lease = held.swap_remove(which % held.len());
                    let (who, most) = (lease.binding.index(), lease.recipients);
                    bench.scheduler.settle(lease, how, bench.now);
                    accepted[who] += u64::from(match how {
                        Settlement::Accepted(n) => n.min(most),
                        Settlement::Unused => 0,
                        Settlement::Unknown => most,
                    });
                    prop_assert!(who == 2 || accepted[who] <= highest[who], "{accepted:?} of {highest:?}");
                }
                Event::Settle(..) => {}
                Event::Health(who, at, what) => {
                    let health = match what {
                        0 => Health::Active,
                        1 => bench.suspended(100),
                        2 => bench.probation(4, 100),
                        _ => Health::Throttled { divisor: 2, until: bench.later(5), reason: Reason::Listed },
                    };
                    match at {
                        None => bench.set(names[who], health),
                        Some(at) => bench.set_route(names[who], places[at], health),
                    }
                }
                Event::Pass(millis) => {
                    bench.advance(Duration::from_millis(millis));
                    bench.scheduler.tick(bench.now);
                    let today = bench.scheduler.ledger.day().date;
                    if today != day {
                        (day, accepted, highest) = (today, [0; 4], [cap; 4]);
                        // What is on the wire at midnight cannot be called back when the cap was lowered meanwhile.
                        for (who, highest) in highest.iter_mut().enumerate() {
                            let of = |lease: &&Lease| lease.binding.index() == who;
                            let carried = held.iter().filter(of).map(|lease| u64::from(lease.recipients)).sum();
                            *highest = (*highest).max(carried);
                        }
                    }
                }
                Event::Reload(to) => {
                    cap = to;
                    highest = highest.map(|highest| highest.max(cap));
                    bench.scheduler.reconfigure(&busy_config(cap), bench.now);
                }
            }
        }
        for lease in held {
            bench.scheduler.settle(lease, Settlement::Unused, bench.now);
        }
        prop_assert!(bench.scheduler.in_use(bench.now).iter().all(|binding| binding.in_use == 0));
        prop_assert!(bench.scheduler.usage(bench.now).iter().all(|usage| usage.reserved == 0));
    }
}
