//! Warm-up as the scheduler's callers see it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{StageChange, Why};
use crate::clock::Wall;
use crate::config::{Binding, Config, FailoverReason, Provider, Warmup, WarmupStart};
use crate::reputation::Fact;
use crate::scheduler::testing::{Bench, NOON, TestConfig};
use crate::scheduler::{Experience, Lease, Request, Selection, Settlement, Verdict};
use jiff::civil::date;

const DAY: Duration = Duration::from_secs(86_400);
const MIDNIGHT: Wall = Wall::from_millis(NOON + 41_400_000);
const STARTED: WarmupStart = WarmupStart::Started(date(2026, 5, 20));

fn warmup(stages: &[u64], position: WarmupStart) -> Warmup {
    Warmup { ladder: stages.into(), position }
}

fn warming(stages: &[u64]) -> impl FnOnce(&mut Binding) {
    let warmup = warmup(stages, STARTED);
    |binding| binding.warmup = Some(warmup)
}

fn towards<'a>(provider: &'a str, stages: &'a [u64]) -> impl FnOnce(&mut Binding) + 'a {
    move |binding| drop(binding.provider_warmup.insert(provider.into(), warmup(stages, STARTED)))
}

/// The disk: what is left of a run.
#[derive(Default)]
struct Disk(BTreeMap<String, Vec<u8>>);

impl Disk {
    fn write(&mut self, facts: Vec<Fact>) -> usize {
        let count = facts.len();
        for fact in facts {
            match fact {
                Fact::Put(key, value) => drop(self.0.insert(key, value)),
                Fact::Remove(key) => drop(self.0.remove(&key)),
            }
        }
        count
    }

    /// Another run on what the disk has.
    fn start(&self, config: &Config, now: crate::clock::Now) -> Bench {
        let mut bench = Bench::new(config, &[]);
        bench.now = now;
        let facts = self.0.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        assert!(bench.scheduler.restore_warmups(config, facts, now).is_empty());
        bench
    }
}

fn finish(bench: &mut Bench, lease: Lease, seen: Experience) {
    bench.scheduler.experienced(lease.binding, lease.destination, &seen, bench.now);
    bench.scheduler.settle(lease, Settlement::Accepted(seen.accepted), bench.now);
}

fn accept(bench: &mut Bench, lease: Lease) -> u32 {
    let accepted = lease.recipients;
    finish(bench, lease, Experience { accepted, ..Experience::default() });
    accepted
}

/// Sends until it is refused or `most` are out; how many were accepted, by binding.
fn send(bench: &mut Bench, request: &Request<'_>, most: u32) -> BTreeMap<String, u32> {
    let mut sent: BTreeMap<String, u32> = BTreeMap::new();
    while sent.values().sum::<u32>() < most {
        let Selection::Assigned(lease) = bench.ask(request) else { break };
        let name = bench.scheduler.binding_name(lease.binding).to_string();
        *sent.entry(name).or_default() += accept(bench, lease);
    }
    sent
}

fn whys(changes: &[StageChange]) -> Vec<(&str, Option<&str>, Why, usize)> {
    changes.iter().map(|c| (c.binding.as_str(), c.provider.as_ref().map(|p| p.as_str()), c.why, c.to)).collect()
}

fn limits(bench: &Bench) -> Vec<(String, u64)> {
    let name = |on: super::OnLadder| {
        let towards = on.provider.map(|provider| format!("/{provider}")).unwrap_or_default();
        (format!("{}{towards}", on.binding), on.allowance)
    };
    bench.scheduler.on_ladders().map(name).collect()
}

#[test]
fn ladders_of_binding_and_provider_hold_at_the_same_time() {
    let mut bench = TestConfig::default()
        .provider("gmail", |_| {})
        .provider("other", |_| {})
        .binding("a", |binding| {
            warming(&[5, 10])(binding);
            towards("gmail", &[2, 4])(binding);
        })
        .pool("p", &[&[("a", 1)]], |_| {})
        .start();
    let (gmail, other) = (bench.request("gmail"), bench.request("other"));
    assert_eq!(send(&mut bench, &gmail, 99)["a"], 2);
    assert_eq!(bench.refusal(&gmail), (MIDNIGHT, vec![Verdict::Warmup { until: MIDNIGHT }]));
    assert_eq!(send(&mut bench, &other, 99)["a"], 3, "what is left of the binding's own");
    assert_eq!(bench.explain(&other), ["warmup"]);
    bench.advance(DAY);
    bench.settle_grants();
    let changes = bench.scheduler.take_stage_changes();
    assert_eq!(whys(&changes), [("a", None, Why::Advanced, 1), ("a", Some("gmail"), Why::Advanced, 1)]);
    assert_eq!(
        (changes[0].accepted, changes[0].tried, changes[0].allowance_before, changes[0].allowance),
        (5, 5, Some(5), Some(10))
    );
    assert_eq!(limits(&bench), [("a".to_owned(), 10), ("a/gmail".to_owned(), 4)]);
    assert_eq!(send(&mut bench, &gmail, 99)["a"], 4);
}

#[test]
fn a_providers_ladder_holds_for_bindings_in_warm_up_only() {
    let mut config = TestConfig::default()
        .binding("new", |binding| binding.warmup = Some(warmup(&[50, 100, 200], WarmupStart::Stage(2))))
        .binding("warm", |_| {})
        .binding("own", |binding| {
            warming(&[50])(binding);
            towards("gmail", &[7])(binding);
        })
        .pool("p", &[&[("new", 1), ("warm", 1), ("own", 1)]], |_| {})
        .build();
    config.providers.push(Provider { warmup: Some([3, 6, 12, 24].into()), ..Provider::new("gmail", Vec::new()) });
    let bench = Bench::new(&config, &[]);
    let expected = [("new", 200), ("new/gmail", 12), ("own", 50), ("own/gmail", 7)].map(|(n, a)| (n.to_owned(), a));
    assert_eq!(limits(&bench), expected, "from the binding's own position");
}

#[test]
fn a_providers_ladder_lets_nothing_through_that_its_cap_would_not() {
    let mut bench = TestConfig::default()
        .provider("gmail", |limits| limits.daily_cap = Some(3))
        .binding("a", towards("gmail", &[2, 4]))
        .pool("p", &[&[("a", 1)]], |_| {})
        .start();
    let gmail = bench.request("gmail");
    assert_eq!(send(&mut bench, &gmail, 99)["a"], 2);
    bench.advance(DAY);
    assert_eq!(send(&mut bench, &gmail, 99)["a"], 3, "the smaller of cap and stage");
    assert_eq!(bench.explain(&gmail), ["cap"]);
    assert_eq!(whys(&bench.scheduler.take_stage_changes()), [("a", Some("gmail"), Why::Finished, 1)]);
}

#[test]
fn overflow_goes_to_warmed_members_and_to_backups_only_where_they_may_open() {
    for (at_provider, opens) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut config = TestConfig::default().provider("gmail", |_| {});
        config = match at_provider {
            false => config.binding("cold", warming(&[2])),
            true => config.binding("cold", towards("gmail", &[2])),
        };
        let mut bench = config
            .binding("backup", |_| {})
            .pool("p", &[&[("cold", 1)], &[("backup", 1)]], |pool| {
                if opens {
                    pool.failover_on.push(FailoverReason::Warmup);
                }
            })
            .start();
        let gmail = bench.request("gmail");
        assert_eq!(send(&mut bench, &gmail, 2)["cold"], 2);
        if opens {
            assert_eq!(bench.pick(&gmail), "backup", "at provider: {at_provider}");
        } else {
            assert_eq!(bench.explain(&gmail), ["warmup", "tier_closed"], "at provider: {at_provider}");
        }
    }
    let mut bench = TestConfig::default()
        .binding("cold", warming(&[2]))
        .binding("warm", |_| {})
        .pool("p", &[&[("cold", 1), ("warm", 1)]], |_| {})
        .start();
    let request = bench.request("x");
    let sent = send(&mut bench, &request, 100);
    assert_eq!((sent["cold"], sent["warm"]), (2, 98));
}

/// A pool with a cold binding, into which `acme` sends engaged mail or not.
fn engaged(has_engaged: bool) -> TestConfig {
    TestConfig::default()
        .binding("cold", warming(&[100, 200, 400]))
        .tenant(|tenant| {
            tenant.pools.insert("default".into(), "p".into());
            tenant.pools.insert("receipts".into(), "p".into());
            if has_engaged {
                tenant.engaged.insert("receipts".into());
            }
        })
        .pool("p", &[&[("cold", 1)]], |_| {})
}

#[test]
fn engaged_mail_finds_what_was_kept_for_it() {
    let mut bench = engaged(true).start();
    let plain = bench.request("x");
    let glad = Request { engaged: true, ..plain };
    // Half past twelve: 11.5 of 24 hours of a fifth of the day are still kept.
    assert_eq!(send(&mut bench, &plain, 999)["cold"], 90);
    let (until, verdicts) = bench.refusal(&plain);
    assert_eq!(verdicts, [Verdict::Reserved { until }]);
    assert!(until > bench.now.wall && until < MIDNIGHT, "{until}");
    assert_eq!(send(&mut bench, &glad, 4)["cold"], 4);
    let (until, _) = bench.refusal(&plain);
    bench.advance(until.since(bench.now.wall));
    assert_eq!(send(&mut bench, &plain, 999)["cold"], 1, "one is free at the moment given");
    bench.advance(MIDNIGHT.since(bench.now.wall) - Duration::from_millis(1));
    assert_eq!(send(&mut bench, &plain, 999)["cold"], 4, "all but the last minute's");
    assert_eq!(send(&mut bench, &glad, 999)["cold"], 1);
    assert_eq!(bench.explain(&glad), ["warmup"]);
}

#[test]
fn a_request_of_many_leaves_what_is_kept() {
    let mut bench = engaged(true).start();
    let plain = Request { recipients: 100, ..bench.request("x") };
    let (_leases, recipients) = bench.all_leases(&plain);
    assert_eq!(recipients, 90);
}

#[test]
fn a_pool_without_engaged_streams_keeps_nothing() {
    let mut bench = engaged(false).start();
    let plain = bench.request("x");
    assert_eq!(send(&mut bench, &plain, 999)["cold"], 100);
}

#[test]
fn where_no_engaged_mail_comes_nothing_is_kept_on_the_next_day() {
    let mut bench = engaged(true).start();
    let plain = bench.request("x");
    let kept = send(&mut bench, &plain, 999)["cold"];
    bench.advance(DAY);
    assert_eq!((kept, send(&mut bench, &plain, 999)["cold"]), (90, 200));
}

#[test]
fn blame_is_on_disk_at_once_and_acceptances_after_a_while() {
    let mut bench = TestConfig::default().binding("a", warming(&[1_000])).pool("p", &[&[("a", 1)]], |_| {}).start();
    let mut disk = Disk::default();
    let request = bench.request("x");
    let lease = bench.lease(&request);
    accept(&mut bench, lease);
    assert_eq!(disk.write(bench.scheduler.take_warmup_facts()), 0);
    let lease = bench.lease(&request);
    finish(&mut bench, lease, Experience { blamed: 1, ..Experience::default() });
    assert_eq!(disk.write(bench.scheduler.take_warmup_facts()), 1);
    let lease = bench.lease(&request);
    accept(&mut bench, lease);
    bench.advance(Duration::from_secs(299));
    bench.settle_grants();
    assert_eq!(disk.write(bench.scheduler.take_warmup_facts()), 0);
    bench.advance(Duration::from_secs(1));
    bench.settle_grants();
    assert_eq!(disk.write(bench.scheduler.take_warmup_facts()), 1);
    let written = send(&mut bench, &request, 200)["a"] / 64;
    assert_eq!(disk.write(bench.scheduler.take_warmup_facts()) as u32, written, "each sixty-four");
    assert_eq!(disk.write(bench.scheduler.final_warmup_facts()), 1);
    assert_eq!(disk.write(bench.scheduler.final_warmup_facts()), 0);
    let record = super::facts::read("k", &disk.0["warmup/a"]).expect("a fact");
    assert_eq!((record.progress.tally.accepted, record.progress.tally.blamed), (202, 1), "exactly");
}

#[test]
fn a_restart_goes_on_where_it_was_and_an_edited_position_begins_anew() {
    let config = |position| {
        TestConfig::default()
            .binding("a/b", |binding| binding.warmup = Some(warmup(&[10, 20, 40, 80], position)))
            .binding("a", |binding| {
                let warmup = warmup(&[10, 20, 40, 80], position);
                binding.provider_warmup.insert("b".into(), warmup);
            })
            .provider("b", |_| {})
            .pool("p", &[&[("a", 1), ("a/b", 1)]], |_| {})
            .build()
    };
    let imported = config(WarmupStart::Stage(1));
    let mut bench = Bench::new(&imported, &[]);
    assert_eq!(
        whys(&bench.scheduler.take_stage_changes()),
        [("a/b", None, Why::Imported, 1), ("a", Some("b"), Why::Imported, 1)]
    );
    let mut disk = Disk::default();
    let request = bench.request("b");
    send(&mut bench, &request, 999);
    disk.write(bench.scheduler.final_warmup_facts());
    disk.0.insert("warmup/gone".into(), disk.0["warmup/a%2Fb"].clone());
    let mut tomorrow = bench.now;
    tomorrow.wall = tomorrow.wall.plus(DAY);

    let mut next = disk.start(&imported, tomorrow);
    let both = |whole, route| [("a/b".to_owned(), whole), ("a/b".to_owned(), route)];
    let mut found = limits(&next);
    found.sort();
    assert_eq!(found, both(40, 40), "each climbed by its own mail, and neither took the other's name");
    assert_eq!(next.scheduler.take_stage_changes().len(), 2);

    let mut edited = disk.start(&config(WarmupStart::Stage(0)), tomorrow);
    assert_eq!(limits(&edited).iter().map(|(_, allowance)| *allowance).collect::<Vec<_>>(), [10, 10]);
    assert!(edited.scheduler.take_stage_changes().iter().all(|c| (c.why, c.from, c.to) == (Why::Imported, 1, 0)));
}

#[test]
fn what_is_warm_stays_warm_after_a_restart() {
    let config = TestConfig::default()
        .binding("a", |binding| {
            warming(&[10])(binding);
            binding.limits.daily_cap = Some(12);
        })
        .pool("p", &[&[("a", 1)]], |_| {})
        .build();
    let mut bench = Bench::new(&config, &[]);
    let mut disk = Disk::default();
    let request = bench.request("x");
    assert_eq!(send(&mut bench, &request, 999)["a"], 10);
    bench.advance(DAY);
    bench.settle_grants();
    assert_eq!(whys(&bench.scheduler.take_stage_changes()), [("a", None, Why::Finished, 1)]);
    disk.write(bench.scheduler.take_warmup_facts());
    let mut next = disk.start(&config, bench.now);
    let request = next.request("x");
    assert_eq!(limits(&next), []);
    assert_eq!(send(&mut next, &request, 999)["a"], 12);
    assert!(next.scheduler.take_stage_changes().is_empty(), "no news");
}

#[test]
fn an_unreadable_fact_is_reported_and_its_ladder_is_cold() {
    let config = TestConfig::default().binding("a", warming(&[10])).pool("p", &[&[("a", 1)]], |_| {}).build();
    let mut bench = Bench::new(&config, &[]);
    let facts = [("warmup/a", &b"{\"half"[..]), ("health/a", &b"not mine"[..])];
    let bad = bench.scheduler.restore_warmups(&config, facts, bench.now);
    assert_eq!(bad.iter().map(|bad| bad.key.as_str()).collect::<Vec<_>>(), ["warmup/a"]);
    assert_eq!(limits(&bench), [("a".to_owned(), 10)]);
}

#[test]
fn a_suspension_costs_the_ladder_it_concerns_a_stage() {
    let config = || {
        TestConfig::default()
            .provider("gmail", |_| {})
            .provider("yahoo", |_| {})
            .binding("a", |binding| {
                binding.warmup = Some(warmup(&[10, 20, 40], WarmupStart::Stage(1)));
                binding.provider_warmup.insert("gmail".into(), warmup(&[10, 20], WarmupStart::Stage(1)));
            })
            .pool("p", &[&[("a", 1)]], |_| {})
    };
    let night = |bench: &mut Bench| {
        bench.scheduler.take_stage_changes();
        bench.advance(DAY);
        bench.settle_grants();
        bench.scheduler.take_stage_changes()
    };
    let mut bench = config().start();
    let request = bench.request("gmail");
    send(&mut bench, &request, 999);
    let suspended = bench.suspended(3_600);
    bench.set_route("a", "gmail", suspended);
    assert_eq!(whys(&night(&mut bench)), [("a", None, Why::Held, 1), ("a", Some("gmail"), Why::SteppedBack, 0)]);

    let mut bench = config().start();
    let request = bench.request("yahoo");
    send(&mut bench, &request, 999);
    let suspended = bench.suspended(3_600);
    bench.set_route("a", "site:small", suspended);
    assert_eq!(whys(&night(&mut bench)), [("a", None, Why::Advanced, 2)], "a small site stops nobody");

    let mut bench = config().start();
    let suspended = bench.suspended(3_600);
    bench.set("a", suspended);
    assert_eq!(whys(&night(&mut bench)), [("a", None, Why::SteppedBack, 0)]);
}

#[test]
fn a_reload_keeps_the_stage_and_an_edited_allowance_counts_from_now() {
    let config = |stages: &[u64], cap: Option<u64>| {
        TestConfig::default()
            .binding("a", |binding| {
                warming(stages)(binding);
                binding.limits.daily_cap = cap;
            })
            .pool("p", &[&[("a", 1)]], |_| {})
            .build()
    };
    let mut bench = Bench::new(&config(&[10, 20, 40], None), &[]);
    let request = bench.request("x");
    send(&mut bench, &request, 999);
    bench.advance(DAY);
    send(&mut bench, &request, 15);
    assert_eq!(bench.scheduler.take_stage_changes().len(), 1);
    for (stages, cap, expected) in [
        (&[10u64, 20, 40][..], None, vec![("a".to_owned(), 20)]),
        (&[10, 18, 40], None, vec![("a".to_owned(), 18)]),
        (&[10, 18, 40], Some(17), vec![]),
        (&[10, 20, 40], Some(1_000), vec![("a".to_owned(), 10)]),
    ] {
        bench.scheduler.reconfigure(&config(stages, cap), bench.now);
        assert_eq!(limits(&bench), expected, "{stages:?} {cap:?}");
        assert!(bench.scheduler.take_stage_changes().is_empty());
    }
    assert_eq!(bench.explain(&request), ["warmup"], "fifteen are out, and ten may be");
}

/// A month on which the program is stopped and started: a cold binding beside a warm one, demand of 2,000 a day,
/// weekends off, one blocked day.
#[test]
fn a_month_of_warming_up_beside_a_warm_address() {
    let stages = [50, 100, 200, 400, 800];
    let config = TestConfig::default()
        .binding("cold", warming(&stages))
        .binding("warm", |_| {})
        .pool("p", &[&[("cold", 1), ("warm", 1)]], |_| {})
        .build();
    let mut bench = Bench::new(&config, &[]);
    let mut disk = Disk::default();
    let mut path = Vec::new();
    for number in 0..30u32 {
        bench.settle_grants();
        let allowance = limits(&bench).first().map(|(_, allowance)| *allowance);
        let request = Request { recipients: 50, ..bench.request("x") };
        // The twentieth of May 2026 is a Wednesday.
        if !matches!((number + 2) % 7, 5 | 6) {
            let mut sent: BTreeMap<String, u64> = BTreeMap::new();
            while sent.values().sum::<u64>() < 2_000 {
                let lease = bench.lease(&request);
                let name = bench.scheduler.binding_name(lease.binding).to_string();
                let recipients = lease.recipients;
                let is_blocked = number == 6 && name == "cold";
                let blamed = if is_blocked { recipients.div_ceil(4) } else { 0 };
                *sent.entry(name).or_default() += u64::from(recipients - blamed);
                finish(
                    &mut bench,
                    lease,
                    Experience { accepted: recipients - blamed, blamed, ..Experience::default() },
                );
                if is_blocked && blamed > 0 && sent["cold"] >= allowance.unwrap_or(0) / 2 {
                    break;
                }
            }
            let cold = sent.get("cold").copied().unwrap_or_default();
            assert!(allowance.is_none_or(|allowance| cold <= allowance), "day {number}: {cold}");
            path.push((number, allowance.unwrap_or(0), cold));
        }
        disk.write(bench.scheduler.final_warmup_facts());
        bench.advance(DAY);
        if number % 5 == 3 {
            bench = disk.start(&config, bench.now);
        }
    }
    let climbed: Vec<u64> = path.iter().map(|(_, allowance, _)| *allowance).collect();
    assert_eq!(
        climbed[..6],
        [50, 100, 200, 400, 800, 400],
        "up each sending day, down after the blocked one: {path:?}"
    );
    assert!(climbed[6..].windows(2).all(|pair| pair[1] >= pair[0] || pair[1] == 0), "{path:?}");
    let (_, allowance, cold) = path[path.len() - 1];
    assert!(allowance >= 1_200, "half of the demand fits: {path:?}");
    // Less than half: what waits for a grant loses its turn.
    assert!((780..=1_025).contains(&cold), "its share: {path:?}");
}

/// One binding with or without a ladder towards gmail, and providers in this order.
fn two_providers(order: [&'static str; 2], ladder: bool) -> Config {
    let providers = order.into_iter().fold(TestConfig::default(), |config, name| config.provider(name, |_| {}));
    let ladder = |binding: &mut Binding| {
        if ladder {
            towards("gmail", &[10, 20, 40])(binding);
        }
    };
    providers.binding("a", ladder).pool("p", &[&[("a", 1)]], |_| {}).build()
}

fn sent_of(bench: &mut Bench, request: &Request<'_>, most: u32) -> u32 {
    send(bench, request, most).values().sum()
}

#[test]
fn a_ladder_that_is_taken_away_lets_go_at_once() {
    let mut bench = Bench::new(&two_providers(["gmail", "yahoo"], true), &[]);
    let request = bench.request("gmail");
    assert_eq!(sent_of(&mut bench, &request, 100), 10);
    bench.scheduler.reconfigure(&two_providers(["gmail", "yahoo"], false), bench.now);
    assert_eq!(sent_of(&mut bench, &request, 100), 100);
    bench.advance(DAY);
    assert_eq!(sent_of(&mut bench, &request, 100), 100);
}

#[test]
fn a_ladder_stays_with_its_provider_when_providers_are_reordered() {
    let mut bench = Bench::new(&two_providers(["gmail", "yahoo"], true), &[]);
    let (gmail, yahoo) = (bench.request("gmail"), bench.request("yahoo"));
    assert_eq!(sent_of(&mut bench, &yahoo, 1), 1);
    bench.scheduler.reconfigure(&two_providers(["yahoo", "gmail"], true), bench.now);
    assert_eq!((sent_of(&mut bench, &yahoo, 100), sent_of(&mut bench, &gmail, 100)), (100, 10));
    bench.advance(DAY);
    assert_eq!((sent_of(&mut bench, &yahoo, 100), sent_of(&mut bench, &gmail, 100)), (100, 20));
}

#[test]
fn backups_open_for_a_used_up_ladder_after_a_restart_too() {
    let config = TestConfig::default()
        .provider("gmail", |_| {})
        .binding("a", |binding| {
            let second = warmup(&[10, 20, 40], WarmupStart::Stage(1));
            binding.provider_warmup.insert("gmail".into(), second);
        })
        .binding("b", |_| {})
        .pool("p", &[&[("a", 1)], &[("b", 1)]], |pool| pool.failover_on = vec![FailoverReason::Warmup])
        .build();
    let (mut bench, mut disk) = (Bench::new(&config, &[]), Disk::default());
    let request = bench.request("gmail");
    for _ in 0..10 {
        let lease = bench.lease(&request);
        finish(&mut bench, lease, Experience { blamed: 1, ..Experience::default() });
    }
    bench.advance(DAY);
    bench.settle_grants();
    assert_eq!(send(&mut bench, &request, 25), BTreeMap::from([("a".to_owned(), 10), ("b".to_owned(), 15)]));
    disk.write(bench.scheduler.final_warmup_facts());
    // It begins with the 20 of the configuration, of which 10 are used; the fact knows that it fell.
    let (grants, now) = (bench.scheduler.final_grants(), bench.now);
    let mut again = Bench { now, ..Bench::new(&config, &[]) };
    again.scheduler = crate::scheduler::Scheduler::new(&config, &grants, 7, now);
    let facts = disk.0.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
    assert!(again.scheduler.restore_warmups(&config, facts, now).is_empty());
    let request = again.request("gmail");
    assert_eq!(send(&mut again, &request, 5), BTreeMap::from([("b".to_owned(), 5)]));
}

#[test]
fn engaged_mail_of_a_day_that_ended_while_stopped_is_not_todays() {
    let mut config = TestConfig::default()
        .binding("a", warming(&[100, 200, 400]))
        .pool("p", &[&[("a", 1)]], |_| {})
        .tenant(|tenant| drop(tenant.pools.insert("tx".into(), "p".into())))
        .build();
    config.tenants[0].engaged.insert("tx".into());
    let mut seen = Vec::new();
    for stopped in [false, true] {
        let (mut bench, mut disk) = (Bench::new(&config, &[]), Disk::default());
        let request = Request { engaged: true, ..bench.request("x") };
        assert_eq!(sent_of(&mut bench, &request, 40), 40);
        disk.write(bench.scheduler.final_warmup_facts());
        bench.advance(DAY);
        if stopped {
            bench = disk.start(&config, bench.now);
        }
        bench.settle_grants();
        disk.write(bench.scheduler.final_warmup_facts());
        seen.push(String::from_utf8(disk.0["warmup/a"].clone()).expect("json"));
    }
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn a_suspension_that_goes_on_over_a_restart_bars_the_other_ladders_no_second_time() {
    use crate::reputation::Subject;
    // With a ladder of its own towards gmail, and without.
    for own in [true, false] {
        let config = TestConfig::default()
            .provider("gmail", |_| {})
            .provider("yahoo", |_| {})
            .binding("a", |binding| {
                warming(&[10, 20, 40])(binding);
                if own {
                    towards("gmail", &[5, 10])(binding);
                }
            })
            .pool("p", &[&[("a", 1)]], |_| {})
            .build();
        let (mut bench, mut disk) = (Bench::new(&config, &[]), Disk::default());
        let long = bench.suspended(10 * 86_400);
        bench.set_route("a", "gmail", long.clone());
        let request = bench.request("yahoo");
        assert_eq!(sent_of(&mut bench, &request, 99), 10);
        bench.advance(DAY);
        bench.settle_grants();
        let on_whole = |bench: &mut Bench| {
            let changes = bench.scheduler.take_stage_changes();
            changes.into_iter().filter(|change| change.provider.is_none()).map(|change| change.why).collect::<Vec<_>>()
        };
        assert_eq!(on_whole(&mut bench), [Why::Held], "barred on the day it began");
        disk.write(bench.scheduler.final_warmup_facts());
        let mut bench = disk.start(&config, bench.now);
        let subject = Subject::Route("a".into(), "gmail".into());
        bench.scheduler.restore_health(&subject, &long, bench.now);
        assert_eq!(sent_of(&mut bench, &request, 99), 10);
        // Told again with a later end.
        let longer = bench.suspended(20 * 86_400);
        bench.set_route("a", "gmail", longer);
        bench.advance(DAY);
        bench.settle_grants();
        assert_eq!(on_whole(&mut bench), [Why::Advanced], "own ladder: {own}");
    }
}

#[test]
fn the_operators_stage_is_told_kept_and_goes_on_from_there() {
    let config =
        TestConfig::default().binding("a", warming(&[10, 20, 40, 80])).pool("p", &[&[("a", 1)]], |_| {}).build();
    let mut bench = Bench::new(&config, &[]);
    let mut disk = Disk::default();
    disk.write(bench.scheduler.take_warmup_facts());
    let change = bench.scheduler.set_stage(&"a".into(), None, 2, bench.now).expect("there is a warm-up");
    assert_eq!(whys(std::slice::from_ref(&change)), [("a", None, Why::Set, 2)]);
    assert_eq!((change.from, change.allowance_before, change.allowance), (0, Some(10), Some(40)));
    assert_eq!(bench.scheduler.take_stage_changes(), [change]);
    assert_eq!(disk.write(bench.scheduler.take_warmup_facts()), 1);
    let request = bench.request("gmail");
    assert_eq!(send(&mut bench, &request, 1_000)["a"], 40);

    let mut again = disk.start(&config, bench.now);
    drop(again.scheduler.take_warmup_facts());
    assert_eq!(again.scheduler.on_ladders().map(|on| on.stage).collect::<Vec<_>>(), [2]);
    let back = again.scheduler.set_stage(&"a".into(), None, 0, again.now).expect("there is a warm-up");
    assert_eq!((back.from, back.to, back.allowance), (2, 0, Some(10)));
    let top = again.scheduler.set_stage(&"a".into(), None, 99, again.now).expect("there is a warm-up");
    assert_eq!(Some(top.to + 1), again.scheduler.on_ladders().map(|on| on.stages).next(), "the last there is");

    let towards = again.scheduler.set_stage(&"a".into(), Some(&"big".into()), 1, again.now);
    assert!(towards.is_err_and(|why| why.contains("no provider big")));
    assert!(again.scheduler.take_warmup_facts().len() == 2, "a refusal writes nothing");
}
