//! Windows at work in the scheduler: sizes, recipes, ranges, what is remembered and what is forgotten.

use std::time::Duration;

use super::super::testing::{Bench, NOON, TestConfig, rate};
use super::super::{DestinationId, Experience, Lease, Request, Settlement, Verdict};
use crate::clock::{Mono, Now, Wall};
use crate::config::{BackOff, FailoverReason};
use crate::message::{BindingName, DestinationName};
use crate::reputation::{Health, Reason, Subject};

const MINUTE: Duration = Duration::from_secs(60);
const GMAIL: BackOff = BackOff::GMAIL;

fn accepted() -> Experience {
    Experience { accepted: 1, ..Experience::default() }
}

fn failed() -> Experience {
    Experience { failed: 1, ..Experience::default() }
}

/// 421 4.7.28.
fn slower() -> Experience {
    Experience { blamed: 1, slow_down: Some(30 * MINUTE), ..Experience::default() }
}

/// Binding `a` at 192.0.2.1, `b` in its range and `far` in another, all active; gmail with its recipe.
fn config() -> TestConfig {
    let at = |text: &str| text.parse().expect("an address");
    let mut config = TestConfig::default().window(|window| window.adaptive = true);
    for (name, address) in [("a", "192.0.2.1"), ("b", "192.0.2.9"), ("far", "198.51.100.1")] {
        config =
            config.binding(name, |binding| (binding.bind_address, binding.public_address) = (at(address), at(address)));
    }
    config.provider("gmail", |_| {}).back_off("gmail", GMAIL).pool("p", &[&[("a", 1)]], |_| {})
}

/// What is known of the window of a route.
fn window(bench: &Bench, binding: &str, to: &str) -> super::RouteWindow {
    let known = bench.scheduler.route_window(&binding.into(), &DestinationName::new(to), bench.now);
    known.expect("known names")
}

/// The attempt is answered, now.
fn answer(bench: &mut Bench, lease: Lease, seen: Experience) {
    let seen = Experience { began: Some(lease.began()), ..seen };
    bench.scheduler.experienced(lease.binding, lease.destination, &seen, bench.now);
    let settlement = Settlement::Accepted(seen.accepted);
    bench.scheduler.settle(lease, settlement, bench.now);
}

/// All connections that are allowed at once, answered a second later.
fn round(bench: &mut Bench, request: &Request<'_>, seen: Experience) -> usize {
    let (leases, _) = bench.all_leases(request);
    let count = leases.len();
    bench.advance(Duration::from_secs(1));
    leases.into_iter().for_each(|lease| answer(bench, lease, seen));
    count
}

fn paused(bench: &mut Bench, request: &Request<'_>) -> Wall {
    match &bench.refusal(request) {
        (until, verdicts) if verdicts == &[Verdict::BackOff { until: *until }] => *until,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_fresh_route_takes_five_connections_and_twenty_after_fifteen_round_trips() {
    let mut bench = config().start();
    let request = bench.request("site:x");
    for expected in 5..=20 {
        assert_eq!(round(&mut bench, &request, accepted()), expected);
    }
    let (leases, _) = bench.all_leases(&request);
    assert_eq!((leases.len(), bench.explain(&request)), (20, vec!["window_full"]));
}

#[test]
fn without_adaptive_the_window_is_as_wide_as_configured_whatever_is_answered() {
    let mut bench = config().window(|window| window.adaptive = false).start();
    let request = bench.request("site:x");
    for _ in 0..3 {
        assert_eq!(round(&mut bench, &request, failed()), 20);
    }
}

#[test]
fn refused_connections_shrink_the_window_of_that_route_alone() {
    let mut bench = config().start();
    let [one, other] = ["site:one", "site:other"].map(|to| bench.request(to));
    assert_eq!(round(&mut bench, &one, failed()), 5);
    assert_eq!((window(&bench, "a", "site:one").limit, window(&bench, "a", "site:other").limit), (2, 5));
    assert_eq!(bench.all_leases(&other).0.len(), 5, "one receiver's trouble is no other's");
}

#[test]
fn google_s_recipe_after_4_7_28_ten_minutes_then_one_connection_then_one_more_at_a_time() {
    let mut bench = config().start();
    let request = bench.request("gmail");
    let (leases, _) = bench.all_leases(&request);
    assert_eq!(leases.len(), 5);
    bench.advance(Duration::from_secs(1));
    let until = bench.now.wall.plus(10 * MINUTE);
    for lease in leases {
        answer(&mut bench, lease, slower());
        // The burst is one event: its last answer does not prolong the pause.
        assert_eq!(paused(&mut bench, &request), until);
        bench.advance(Duration::from_secs(1));
    }
    assert_eq!(window(&bench, "a", "gmail").paused_until, Some(until));

    // One connection; it fails; another ten minutes.
    bench.advance(10 * MINUTE - Duration::from_secs(6));
    assert_eq!(paused(&mut bench, &request), until);
    bench.advance(Duration::from_secs(1));
    let (mut probe, _) = bench.all_leases(&request);
    assert_eq!((probe.len(), bench.explain(&request)), (1, vec!["window_full"]));
    bench.advance(Duration::from_secs(1));
    answer(&mut bench, probe.remove(0), slower());
    assert_eq!(paused(&mut bench, &request), bench.now.wall.plus(10 * MINUTE));

    // One connection; it holds; one more every ten minutes.
    bench.advance(10 * MINUTE);
    for expected in 1..=4 {
        for _ in 0..10 {
            assert_eq!(round(&mut bench, &request, accepted()), expected);
            bench.advance(MINUTE - Duration::from_secs(1));
        }
        assert_eq!(round(&mut bench, &request, accepted()), expected, "ten minutes are up with this answer");
    }
    assert!(window(&bench, "a", "gmail").is_backing_off);
}

#[test]
fn a_back_off_is_over_at_the_ceiling_and_leaves_nothing_behind() {
    for adaptive in [true, false] {
        let mut bench = config().window(|window| window.adaptive = adaptive).start();
        let request = bench.request("site:x");
        let lease = bench.lease(&request);
        answer(&mut bench, lease, slower());
        assert_eq!(paused(&mut bench, &request), bench.later(60), "a minute, where nobody says otherwise");
        bench.advance(MINUTE);
        for expected in 1..20 {
            assert_eq!(round(&mut bench, &request, accepted()), expected, "adaptive {adaptive}");
            bench.advance(MINUTE);
            round(&mut bench, &request, accepted());
        }
        let window = window(&bench, "a", "site:x");
        assert_eq!((window.limit, window.is_backing_off), (20, false));
        bench.advance(60 * MINUTE);
        bench.scheduler.tick(bench.now);
        assert!(bench.scheduler.forget_destination(request.destination));
    }
}

#[test]
fn a_wish_for_less_has_effect_where_no_limit_is_configured() {
    let mut bench = TestConfig::default().binding("a", |_| {}).pool("p", &[&[("a", 1)]], |_| {}).start();
    let request = bench.request("site:x");
    let lease = bench.lease(&request);
    answer(&mut bench, lease, slower());
    paused(&mut bench, &request);
}

#[test]
fn of_two_wishes_the_longer_holds_and_neither_shortens_the_other() {
    let longer = Experience { stop: Some(20 * MINUTE), ..slower() };
    for order in [[slower(), longer], [longer, slower()]] {
        let mut bench = config().start();
        let request = bench.request("gmail");
        let leases = [bench.lease(&request), bench.lease(&request)];
        let until = bench.later(1_200);
        leases.into_iter().zip(order).for_each(|(lease, seen)| answer(&mut bench, lease, seen));
        assert_eq!(paused(&mut bench, &request), until);
    }
}

#[test]
fn a_rule_that_knows_a_longer_pause_needs_no_configured_provider() {
    let mut bench = config().start();
    let request = bench.request("site:mx.google.example");
    let lease = bench.lease(&request);
    answer(&mut bench, lease, Experience { stop: Some(10 * MINUTE), ..slower() });
    assert_eq!(paused(&mut bench, &request), bench.later(600));
}

#[test]
fn a_netblock_that_is_named_pauses_all_its_bindings_and_no_other() {
    let mut bench = config().start();
    let request = bench.request("gmail");
    let lease = bench.lease(&request);
    answer(&mut bench, lease, Experience { whole_range: true, ..slower() });
    for (binding, to, is_paused) in
        [("a", "gmail", true), ("b", "gmail", true), ("far", "gmail", false), ("b", "site:x", false)]
    {
        bench.destination(to);
        assert_eq!(window(&bench, binding, to).paused_until.is_some(), is_paused, "{binding} {to}");
    }
}

#[test]
fn a_receiver_that_asks_for_less_gets_none_of_it_from_the_backups() {
    let failover = vec![FailoverReason::Suspended, FailoverReason::Capped];
    let mut bench = config().pool("q", &[&[("a", 1)], &[("far", 1)]], |pool| pool.failover_on = failover).start();
    let mut request = bench.request("gmail");
    request.pool = bench.scheduler.pool_id(&"q".into()).expect("known");
    let lease = bench.lease(&request);
    answer(&mut bench, lease, slower());
    let throttled = Health::Throttled { divisor: 2, until: bench.later(1_800), reason: Reason::RateLimited };
    bench.set_route("a", "gmail", throttled);
    assert_eq!(bench.explain(&request), ["back_off", "tier_closed"]);
}

#[test]
fn a_throttle_for_the_same_wish_divides_rates_and_not_the_window_again() {
    let mut bench = config().provider("other", |limits| limits.rate_limit = Some(rate(10, 1))).start();
    let request = bench.request("other");
    let lease = bench.lease(&request);
    answer(&mut bench, lease, slower());
    let until = bench.later(1_800);
    bench.set_route("a", "other", Health::Throttled { divisor: 2, until, reason: Reason::RateLimited });
    assert_eq!(paused(&mut bench, &request), bench.later(60), "not from anew");
    bench.advance(2 * MINUTE);
    for expected in 1..4 {
        assert_eq!(window(&bench, "a", "other").limit, expected, "not half of it");
        for _ in 0..expected {
            let lease = bench.lease(&request);
            let (until, verdicts) = bench.refusal(&request);
            if verdicts != [Verdict::WindowFull] {
                assert_eq!(until, bench.now.wall.plus(Duration::from_millis(200)), "half of 10/s");
            }
            bench.advance(Duration::from_millis(200));
            answer(&mut bench, lease, accepted());
        }
        bench.advance(MINUTE);
        let lease = bench.lease(&request);
        answer(&mut bench, lease, accepted());
        bench.advance(Duration::from_secs(1));
    }
    let listed = Health::Throttled { divisor: 2, until, reason: Reason::Listed };
    bench.set_route("a", "other", listed);
    assert_eq!(window(&bench, "a", "other").limit, 2, "a throttle for another reason does");
}

#[test]
fn a_restart_in_the_middle_of_a_pause_resumes_it_and_goes_on_with_one_connection() {
    let subject = Subject::Route(BindingName::new("a"), DestinationName::new("gmail"));
    // (rest of the throttle, pause)
    for (rest, pause) in [(25 * MINUTE, 10 * MINUTE), (3 * MINUTE, 3 * MINUTE)] {
        for to in ["gmail", "site:x"] {
            let mut bench = config().start();
            let until = bench.now.wall.plus(rest);
            let throttled = Health::Throttled { divisor: 2, until, reason: Reason::RateLimited };
            let subject = Subject::Route(BindingName::new("a"), DestinationName::new(to));
            bench.scheduler.restore_health(&subject, &throttled, bench.now);
            let request = bench.request(to);
            assert_eq!(paused(&mut bench, &request), bench.now.wall.plus(pause), "{to}");
            bench.advance(pause);
            assert_eq!(bench.all_leases(&request).0.len(), 1, "{to}");
        }
    }
    let mut bench = config().start();
    let over = Health::Throttled { divisor: 2, until: bench.now.wall, reason: Reason::RateLimited };
    bench.scheduler.restore_health(&subject, &over, bench.now);
    assert_eq!(window(&bench, "a", "gmail").limit, 5, "what is over is over");
}

#[test]
fn a_throttle_without_a_wish_about_the_route_pauses_nothing() {
    let mut bench = config().start();
    let request = bench.request("other");
    let lease = bench.lease(&request);
    answer(&mut bench, lease, Experience { other: 1, ..Experience::default() });
    let until = bench.later(1_800);
    bench.set_route("a", "other", Health::Throttled { divisor: 2, until, reason: Reason::RateLimited });
    assert_eq!(bench.explain(&request)[0], "eligible");
}

#[test]
fn clocks_that_jump_neither_end_a_pause_nor_prolong_it() {
    for wall in [NOON - 86_400_000, NOON + 86_400_000] {
        let mut bench = config().start();
        let request = bench.request("gmail");
        let lease = bench.lease(&request);
        answer(&mut bench, lease, slower());
        bench.now.wall = Wall::from_millis(wall);
        bench.advance(9 * MINUTE);
        assert_eq!(paused(&mut bench, &request), bench.later(60));
        bench.advance(MINUTE);
        let _probe = bench.lease(&request);
    }
}

#[test]
fn two_domains_behind_the_same_hosts_share_one_window() {
    // Both lead to the same destination; its number is all that the scheduler sees.
    let mut bench = config().start();
    let [one, other] = [bench.request("site:mx.shared.example"), bench.request("site:mx.shared.example")];
    let (leases, _) = bench.all_leases(&one);
    assert_eq!((leases.len(), bench.explain(&other)), (5, vec!["window_full"]));
}

#[test]
fn answers_for_a_route_that_is_not_known_any_more_are_harmless() {
    let mut bench = config().start();
    let id = bench.id("a");
    let nowhere = bench.destination("site:gone");
    for seen in [accepted(), failed()] {
        bench.scheduler.experienced(id, nowhere, &seen, bench.now);
    }
    assert!(bench.scheduler.forget_destination(nowhere), "nothing was made of them");
}

/// Routes in memory.
fn routes(bench: &Bench) -> usize {
    bench.scheduler.routes.0.len()
}

#[test]
fn a_route_about_which_there_is_nothing_to_say_is_forgotten_at_once_and_any_other_after_an_hour() {
    let mut bench = config().start();
    let plain = routes(&bench);
    let known: Vec<DestinationId> = (0..200)
        .map(|n| {
            let request = bench.request(&format!("site:{n}"));
            let seen = [accepted(), failed(), slower()][n % 3];
            let lease = bench.lease(&request);
            answer(&mut bench, lease, seen);
            request.destination
        })
        .collect();
    assert_eq!(routes(&bench) - plain, 133, "those that failed and those that were asked for less");
    assert_eq!(known.iter().filter(|id| bench.scheduler.forget_destination(**id)).count(), 67);
    bench.advance(59 * MINUTE);
    let request = bench.request("site:1");
    let lease = bench.lease(&request);
    answer(&mut bench, lease, failed());
    bench.advance(2 * MINUTE);
    bench.scheduler.tick(bench.now);
    assert_eq!(routes(&bench) - plain, 1, "in trouble again");
    bench.advance(60 * MINUTE);
    bench.scheduler.tick(bench.now);
    assert_eq!((routes(&bench) - plain, bench.scheduler.fading.len()), (0, 0));
}

#[test]
fn a_reload_keeps_what_was_learnt_and_takes_over_ceiling_start_and_recipe() {
    let mut bench = config().start();
    let request = bench.request("gmail");
    round(&mut bench, &request, failed());
    assert_eq!(window(&bench, "a", "gmail").limit, 2);
    let other = config().window(|window| window.start = 3).build();
    bench.scheduler.reconfigure(&other, bench.now);
    assert_eq!(window(&bench, "a", "gmail").limit, 2);
    bench.destination("site:x");
    assert_eq!(window(&bench, "a", "site:x").limit, 3);
    let plain = config().window(|window| window.adaptive = false).build();
    bench.scheduler.reconfigure(&plain, bench.now);
    assert_eq!(window(&bench, "a", "gmail").limit, 20, "switched off is off");
}

#[test]
fn the_memory_of_a_route_is_stated_truly() {
    use super::super::state::Route;
    assert!(size_of::<super::Sizing>() <= 88, "{}", size_of::<super::Sizing>());
    assert!(size_of::<Route>() <= 336, "{}", size_of::<Route>());
}

#[test]
fn a_clock_that_begins_at_nothing_is_no_matter() {
    let mut bench = config().start();
    bench.now = Now { mono: Mono::from_nanos(0), wall: Wall::from_millis(0) };
    let request = bench.request("site:x");
    assert_eq!(round(&mut bench, &request, failed()), 5);
    assert_eq!(window(&bench, "a", "site:x").limit, 2);
}
