//! Mail keeps to the bindings that its sender's SPF record allows, and is never stopped where it allows none.

use super::testing::*;
use super::{Families, Request, Scheduler, Selection, Settlement, Verdict};
use crate::clock::Wall;
use crate::message::BindingName;
use crate::reputation::{Health, Reason};

fn cover(scheduler: &mut Scheduler, allowed: &[&str], barred: &[&str]) -> super::CoverId {
    let names = |all: &[&str]| all.iter().map(|name| BindingName::new(*name)).collect::<Vec<_>>();
    scheduler.set_cover(&"acme.example".parse().unwrap(), &names(allowed), &names(barred)).1
}

/// Actives a and b, backup c, all v4; d is v6 where `v6`.
fn bench() -> Bench {
    let config = TestConfig::default().binding("a", |_| {}).binding("b", |_| {}).binding("c", |_| {}).v6("d");
    config.pool("p", &[&[("a", 1), ("b", 1)], &[("c", 1), ("d", 0)]], |_| {}).start()
}

fn picks(bench: &mut Bench, request: &Request<'_>, count: usize) -> Vec<String> {
    let mut picked: Vec<String> = (0..count).map(|_| bench.pick(request)).collect();
    picked.sort();
    picked.dedup();
    picked
}

#[test]
fn mail_keeps_to_those_that_are_not_barred_and_other_mail_does_not() {
    // Allowed, barred: who carries it.
    for (allowed, barred, expected) in [
        (&["a"][..], &["b", "c"][..], &["a"][..]),
        (&["a"], &["b"], &["a"]),
        (&["a", "b"], &["c"], &["a", "b"]),
        // Nothing is known of c: it is neither allowed nor barred, and stays what it is, a backup.
        (&["b"], &["a"], &["b"]),
        // Only the backup is allowed: it carries the mail although the actives are well.
        (&["c"], &["a", "b"], &["c"]),
        // Nobody is allowed, or nobody who could carry it: as if there were no record.
        (&[], &["a", "b", "c"], &["a", "b"]),
        (&["d"], &["a", "b", "c"], &["a", "b"]),
        (&["elsewhere"], &["a", "b", "c"], &["a", "b"]),
        (&["a", "b", "c"], &[], &["a", "b"]),
    ] {
        let mut bench = bench();
        let free = bench.request("x");
        assert_eq!(picks(&mut bench, &free, 8), ["a", "b"], "mail without a cover");
        let cover = cover(&mut bench.scheduler, allowed, barred);
        let request = Request { cover, ..free };
        assert_eq!(picks(&mut bench, &request, 8), expected, "{allowed:?} {barred:?}");
    }
}

#[test]
fn fail_over_never_goes_to_a_barred_binding_and_the_mail_waits_for_the_one_that_is_allowed() {
    let mut bench = bench();
    let cover = cover(&mut bench.scheduler, &["a"], &["b", "c"]);
    let request = Request { cover, ..bench.request("x") };
    let suspended = bench.suspended(600);
    bench.set("a", suspended);
    let (until, verdicts) = bench.refusal(&request);
    assert_eq!(until, bench.later(600), "when the suspension ends");
    assert_eq!(verdicts.iter().filter(|v| **v == Verdict::SpfNotCovered).count(), 2, "{verdicts:?}");
    assert_eq!(bench.explain(&request)[..3], ["suspended", "spf_not_covered", "spf_not_covered"]);
    let free = bench.request("x");
    assert_eq!(bench.pick(&free), "b", "others go on");
}

#[test]
fn a_backup_opens_for_the_mail_alone_that_no_active_may_carry() {
    let mut bench = bench();
    let cover = cover(&mut bench.scheduler, &["a", "c"], &["b"]);
    let request = Request { cover, ..bench.request("x") };
    assert_eq!(picks(&mut bench, &request, 4), ["a"]);
    let suspended = bench.suspended(600);
    bench.set("a", suspended);
    assert_eq!(picks(&mut bench, &request, 4), ["c"], "b is well, but not for this mail");
    let free = bench.request("x");
    assert_eq!(picks(&mut bench, &free, 4), ["b"]);
    // What the request excludes and what SPF bars is subtracted once.
    let excluded = [(bench.id("b"), Wall::from_millis(i64::MAX))];
    let both = Request { excluded: &excluded, ..request };
    assert_eq!(picks(&mut bench, &both, 4), ["c"]);
}

#[test]
fn a_binding_of_a_family_that_cannot_reach_the_destination_keeps_nothing_waiting() {
    let config = TestConfig::default().binding("a", |_| {}).v6("six");
    let mut bench = config.pool("p", &[&[("a", 1), ("six", 1)]], |_| {}).start();
    let cover = cover(&mut bench.scheduler, &["six"], &["a"]);
    let both = Request { cover, ..bench.request("x") };
    assert_eq!(picks(&mut bench, &both, 4), ["six"]);
    let v4 = Request { families: Families { v4: true, v6: false }, ..both };
    assert_eq!(picks(&mut bench, &v4, 4), ["a"]);
}

#[test]
fn a_preferred_binding_that_is_barred_is_not_used_and_stays_in_play_for_others() {
    let mut bench = bench();
    let cover = cover(&mut bench.scheduler, &["a"], &["b", "c"]);
    let sticky = Some(bench.id("b"));
    let request = Request { cover, sticky, ..bench.request("x") };
    assert_eq!(bench.pick(&request), "a");
    let free = Request { sticky, ..bench.request("x") };
    assert_eq!(bench.pick(&free), "b");
}

#[test]
fn covers_that_are_alike_share_a_number_that_is_given_on_when_nobody_has_it() {
    let mut bench = bench();
    let mut set = |domain: &str, allowed: &[&str], barred: &[&str]| {
        let names = |all: &[&str]| all.iter().map(|name| BindingName::new(*name)).collect::<Vec<_>>();
        bench.scheduler.set_cover(&domain.parse().unwrap(), &names(allowed), &names(barred))
    };
    let (_, first) = set("one.example", &["a"], &["b"]);
    let (_, second) = set("two.example", &["a"], &["b"]);
    let (_, third) = set("three.example", &["b"], &["a"]);
    assert_eq!((first == second, first == third), (true, false));
    assert_eq!(set("one.example", &[], &[]), (first, super::CoverId::NONE));
    assert_eq!(set("two.example", &["a"], &["b"]), (second, second), "told twice is told once");
    assert_eq!(set("two.example", &["b"], &["a"]), (second, third));
    let (_, fourth) = set("four.example", &["c"], &["a"]);
    assert_eq!(fourth, first, "the number was free");
}

#[test]
fn a_pool_that_loses_its_allowed_binding_is_free_again() {
    let mut bench = bench();
    let cover = cover(&mut bench.scheduler, &["a"], &["b", "c"]);
    let config = TestConfig::default().binding("a", |_| {}).binding("b", |_| {}).binding("c", |_| {});
    let config = config.pool("p", &[&[("b", 1)], &[("c", 1)]], |_| {}).build();
    bench.scheduler.reconfigure(&config, bench.now);
    let request = Request { cover, ..bench.request("x") };
    assert_eq!(bench.pick(&request), "b");
    assert!(matches!(bench.ask(&request), Selection::Assigned(_)));
}

#[test]
fn a_binding_that_somebody_took_out_keeps_nothing_waiting_and_one_that_automation_did_does() {
    let mut bench = bench();
    let cover = cover(&mut bench.scheduler, &["a"], &["b", "c"]);
    let request = Request { cover, ..bench.request("x") };
    for (reason, is_gone) in [(Reason::Operator, true), (Reason::Unbindable, true), (Reason::Listed, false)] {
        bench.set("a", Health::Suspended { until: bench.later(600), reason });
        let moves = bench.scheduler.take_cover_moves();
        assert_eq!(
            moves.iter().map(|moved| (moved.holds, moved.domains)).collect::<Vec<_>>(),
            match is_gone {
                true => vec![(false, 1)],
                false => vec![],
            }
        );
        match is_gone {
            true => assert_eq!(picks(&mut bench, &request, 4), ["b"], "{reason:?}"),
            false => assert_eq!(bench.refusal(&request).0, bench.later(600), "{reason:?}"),
        }
        bench.set("a", Health::Active);
        let moves = bench.scheduler.take_cover_moves();
        assert_eq!(moves.iter().filter(|moved| moved.holds).count(), usize::from(is_gone));
        assert_eq!(picks(&mut bench, &request, 4), ["a"]);
    }
    // Another that is allowed is enough.
    let both = super::cover_tests::cover(&mut bench.scheduler, &["a", "c"], &["b"]);
    bench.set("a", Health::Suspended { until: bench.later(600), reason: Reason::Operator });
    assert_eq!(bench.scheduler.take_cover_moves(), []);
    assert_eq!(picks(&mut bench, &Request { cover: both, ..request }, 4), ["c"]);
}

#[test]
fn what_a_barred_binding_waits_for_wakes_nobody() {
    let mut bench = bench();
    let cover = cover(&mut bench.scheduler, &["a"], &["b", "c"]);
    let request = Request { cover, ..bench.request("x") };
    for (name, seconds) in [("a", 600), ("b", 20), ("c", 30)] {
        let suspended = bench.suspended(seconds);
        bench.set(name, suspended);
    }
    assert_eq!(bench.refusal(&request).0, bench.later(600));
}

/// A pool of so many in one tier, of whom `allowed` are covered and the others barred.
fn crowd(members: usize, allowed: &[usize], change: impl Fn(&mut crate::config::Binding)) -> (Bench, super::CoverId) {
    let names: Vec<String> = (0..members).map(|n| format!("b{n}")).collect();
    let config = names.iter().fold(TestConfig::default(), |config, name| config.binding(name, &change));
    let seats: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let mut bench = config.pool("p", &[&seats], |_| {}).start();
    let (of, not): (Vec<usize>, Vec<usize>) = (0..members).partition(|n| allowed.contains(n));
    let named = |which: Vec<usize>| which.into_iter().map(|n| names[n].as_str()).collect::<Vec<_>>();
    let cover = cover(&mut bench.scheduler, &named(of), &named(not));
    (bench, cover)
}

#[test]
fn a_refusal_of_a_large_tier_says_when_the_one_that_is_allowed_may_carry_it() {
    for only in [0, 137, 299] {
        let (mut bench, cover) = crowd(300, &[only], |binding| binding.limits.max_outbound_connections = Some(1));
        let request = Request { cover, ..bench.request("x") };
        let lease = bench.lease(&request);
        assert_eq!(lease.binding, bench.id(&format!("b{only}")));
        let (until, verdicts) = bench.refusal(&request);
        assert!(verdicts.contains(&Verdict::WindowFull) && verdicts.contains(&Verdict::SpfNotCovered), "{verdicts:?}");
        assert!(verdicts.len() < 10, "{}", verdicts.len());
        assert_eq!(until, bench.later(1), "a connection may be free at any moment");
        let suspended = bench.suspended(40);
        bench.set(&format!("b{only}"), suspended);
        assert_eq!(bench.refusal(&request).0, bench.later(40));
    }
}

#[test]
fn mail_with_a_cover_is_shared_exactly_and_asks_nobody_who_is_barred() {
    let allowed: Vec<usize> = (0..300).step_by(3).collect();
    let (mut bench, cover) = crowd(300, &allowed, |_| {});
    let request = Request { cover, ..bench.request("x") };
    let mut carried = vec![0; 300];
    for _ in 0..500 {
        let lease = bench.lease(&request);
        carried[lease.binding.index()] += 1;
    }
    assert!(allowed.iter().all(|&n| carried[n] == 5), "{carried:?}");
    // Others make up for it, by a message per binding.
    let free = bench.request("x");
    let after: Vec<String> = (0..100).map(|_| bench.pick(&free)).collect();
    assert!(after.iter().all(|name| !allowed.iter().any(|n| *name == format!("b{n}"))), "{after:?}");
    let tier = &bench.scheduler.pools[request.pool.index()].tiers[0];
    assert_eq!(tier.views.iter().map(|view| view.members.as_ref().map(Vec::len)).collect::<Vec<_>>(), [Some(100)]);
    // What the number meant goes with it.
    bench.scheduler.set_cover(&"acme.example".parse().unwrap(), &[], &[]);
    assert!(bench.scheduler.pools[request.pool.index()].tiers[0].views.is_empty());
}

#[test]
fn many_covers_take_no_more_than_their_room() {
    let (mut bench, _) = crowd(12, &[0], |_| {});
    for n in 1_u32..1_500 {
        let (of, not): (Vec<u32>, Vec<u32>) = (0..12).partition(|bit| n >> bit & 1 == 1);
        let names = |which: Vec<u32>| which.iter().map(|n| BindingName::new(format!("b{n}"))).collect::<Vec<_>>();
        let domain = format!("d{n}.example").parse().unwrap();
        let (_, cover) = bench.scheduler.set_cover(&domain, &names(of), &names(not));
        let request = Request { cover, ..bench.request("x") };
        let lease = bench.lease(&request);
        let picked = lease.binding.0;
        bench.scheduler.settle(lease, Settlement::Accepted(1), bench.now);
        assert!(n >> picked & 1 == 1, "{n:b} {picked}");
    }
    let views = &bench.scheduler.pools[0].tiers[0].views;
    assert!(
        views.len() <= 256
            && views.iter().map(|view| view.members.as_ref().map_or(12, Vec::len)).sum::<usize>() <= 1_216
    );
}
