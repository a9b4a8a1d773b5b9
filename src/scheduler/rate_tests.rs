//! Rates at work: binding, route and tenant at once, over reloads and in step with messages.

use std::time::Duration;

use super::testing::{Bench, TestConfig, rate};
use super::{Selection, Settlement, Verdict};
use crate::config::Config;

const MILLI: Duration = Duration::from_millis(1);

/// Binding `a` and tenant `acme` with these rates, and `a` towards gmail.
fn config(binding: Option<(u32, u64)>, route: Option<(u32, u64)>, tenant: Option<(u32, u64)>) -> Config {
    let of = |limit: Option<(u32, u64)>| limit.map(|(count, seconds)| rate(count, seconds));
    TestConfig::default()
        .binding("a", |a| a.limits.rate_limit = of(binding))
        .provider("gmail", |limits| limits.rate_limit = of(route))
        .tenant(|acme| acme.rate_limit = of(tenant))
        .pool("p", &[&[("a", 1)]], |_| {})
        .build()
}

fn bench(config: &Config) -> Bench {
    let mut bench = Bench::new(config, &[]);
    bench.settle_grants();
    bench
}

/// Messages that leave for `destination` in `span`, asked for every millisecond and over at once.
fn sent(bench: &mut Bench, destination: &str, span: Duration) -> u32 {
    let request = bench.request(destination);
    let mut sent = 0;
    for _ in 0..span.as_millis() {
        while let Selection::Assigned(lease) = bench.ask(&request) {
            bench.scheduler.settle(lease, Settlement::Accepted(1), bench.now);
            sent += 1;
        }
        bench.advance(MILLI);
    }
    sent
}

#[test]
fn the_rate_of_the_binding_and_that_of_the_route_both_hold() {
    let mut bench = bench(&config(Some((50, 1)), Some((20, 1)), None));
    let gmail = sent(&mut bench, "gmail", Duration::from_secs(2));
    assert!((40..=42).contains(&gmail), "20 a second to gmail: {gmail}");
    let elsewhere = sent(&mut bench, "site:x", Duration::from_secs(2));
    assert!((100..=105).contains(&elsewhere), "50 a second elsewhere: {elsewhere}");
}

#[test]
fn a_limit_at_two_levels_never_says_exceeded_where_neither_is() {
    // Refusals by the route's limiter must not spend the binding's, nor the other way round.
    let mut bench = bench(&config(Some((10, 1)), Some((10, 1)), Some((10, 1))));
    let sent = sent(&mut bench, "gmail", Duration::from_secs(5));
    assert!((50..=51).contains(&sent), "three limits of 10/s let 10/s through: {sent}");
}

#[test]
fn each_message_on_an_open_connection_is_asked_for_anew() {
    let mut bench = bench(&config(None, Some((10, 1)), None));
    let request = bench.request("gmail");
    // The connection stays open, the window has room, and still the second message waits its tenth of a second.
    let first = bench.lease(&request);
    let (until, verdicts) = bench.refusal(&request);
    assert_eq!(until, bench.now.wall.plus(Duration::from_millis(100)));
    assert_eq!(verdicts, [Verdict::RateLimited { until }]);
    bench.scheduler.settle(first, Settlement::Accepted(1), bench.now);
    assert_eq!(bench.refusal(&request).0, until, "a message that is over gives no second one");
    bench.advance(Duration::from_millis(100));
    let _out = bench.lease(&request);
}

#[test]
fn who_is_ahead_of_a_rate_waits_for_its_next_turn_not_for_a_retry() {
    let mut bench = bench(&config(Some((1, 3_600)), None, None));
    let request = bench.request("site:x");
    let _out = bench.lease(&request);
    bench.advance(Duration::from_secs(1_200));
    let until = bench.later(2_400);
    assert_eq!(bench.refusal(&request), (until, vec![Verdict::RateLimited { until }]));
}

#[test]
fn the_rate_of_a_binding_is_its_own_and_holds_nobody_else() {
    let config = TestConfig::default()
        .binding("a", |a| a.limits.rate_limit = Some(rate(1, 3_600)))
        .binding("b", |_| {})
        .pool("p", &[&[("a", 1), ("b", 1)]], |_| {});
    let mut bench = config.start();
    let request = bench.request("site:x");
    let picks: Vec<String> = (0..10).map(|_| bench.pick(&request)).collect();
    assert_eq!(picks.iter().filter(|name| *name == "a").count(), 1, "{picks:?}");
}

#[test]
fn a_rate_of_a_pool_is_each_members_own_and_the_strictest_of_two_pools_holds_exactly() {
    let config = TestConfig::default()
        .binding("a", |_| {})
        .binding("b", |_| {})
        .pool("p", &[&[("a", 1), ("b", 1)]], |pool| pool.binding_limits.rate_limit = Some(rate(20, 1)))
        .pool("q", &[&[("b", 1)]], |pool| pool.binding_limits.rate_limit = Some(rate(10, 1)))
        .build();
    let mut bench = bench(&config);
    let sent = sent(&mut bench, "site:x", Duration::from_secs(3));
    assert!((90..=93).contains(&sent), "20/s of a and 10/s of b: {sent}");
}

#[test]
fn a_tenants_rate_stops_its_own_turn_and_says_so_whatever_bindings_say() {
    let mut config = config(None, None, Some((1, 60)));
    config.tenants.push(crate::config::Tenant::new("globex"));
    let mut bench = bench(&config);
    let acme = bench.request("site:x");
    let _out = bench.lease(&acme);
    let until = bench.later(60);
    match bench.ask(&acme) {
        Selection::Later { until: at, tenant, .. } => {
            assert_eq!((at, tenant), (until, Some(Verdict::RateLimited { until })));
        }
        other => panic!("{other:?}"),
    }
    let mut globex = acme;
    globex.tenant = bench.scheduler.tenant_id(&"globex".into()).expect("known");
    (0..5).for_each(|_| drop(bench.lease(&globex)));
}

#[test]
fn a_reload_with_the_same_rates_changes_nothing_and_one_with_others_gives_no_burst() {
    let slow = config(Some((600, 60)), Some((600, 60)), Some((600, 60)));
    let mut bench = bench(&slow);
    let request = bench.request("gmail");
    let _out = bench.lease(&request);
    bench.advance(Duration::from_millis(60));
    let until = bench.now.wall.plus(Duration::from_millis(40));
    for _ in 0..3 {
        bench.scheduler.reconfigure(&slow, bench.now);
        assert_eq!(bench.refusal(&request).0, until, "40 ms are left, however often it is read");
    }
    let fast = config(Some((100, 1)), Some((100, 1)), Some((100, 1)));
    bench.scheduler.reconfigure(&fast, bench.now);
    assert_eq!(bench.refusal(&request).0, bench.now.wall.plus(Duration::from_millis(4)), "40 of 100 ms are 4 of 10");
    let sent = sent(&mut bench, "gmail", Duration::from_secs(1));
    assert!((99..=100).contains(&sent), "{sent}");
}

#[test]
fn a_rate_that_is_taken_away_and_given_back_holds_again() {
    let (limited, free) = (config(Some((10, 1)), None, None), config(None, None, None));
    let mut bench = bench(&limited);
    assert!(sent(&mut bench, "site:x", Duration::from_secs(1)) <= 11);
    bench.scheduler.reconfigure(&free, bench.now);
    let request = bench.request("site:x");
    assert_eq!(bench.all_leases(&request).1, 20, "as many as the window holds");
    let mut bench = self::bench(&free);
    bench.scheduler.reconfigure(&limited, bench.now);
    let sent = sent(&mut bench, "site:x", Duration::from_secs(2));
    assert!((20..=21).contains(&sent), "{sent}");
}
