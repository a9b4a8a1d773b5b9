//! Caps through the whole scheduler: of tenants towards providers, by the hour, edited at run time, over crashes.

use std::collections::HashMap;
use std::time::Duration;

use jiff::civil::Date;
use proptest::prelude::*;

use super::cap::{GrantFact, Owner};
use super::testing::{Bench, NOON, TestConfig};
use super::verdict::CapOf;
use super::{Lease, Request, Selection, Settlement, Verdict};
use crate::clock::Wall;
use crate::config::{Config, HourShares, Pace, Warmup, WarmupStart};

const MIDNIGHT: Wall = Wall::from_millis(1_779_321_600_000);

/// Caps of everyone there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Caps {
    binding: Option<u64>,
    route: Option<u64>,
    tenant: Option<u64>,
    tenant_route: Option<u64>,
}

impl Caps {
    fn tenant_route(cap: u64) -> Self {
        Self { tenant_route: Some(cap), ..Self::default() }
    }

    fn config(self) -> Config {
        self.config_with(|config| config)
    }

    fn config_with(self, change: impl FnOnce(TestConfig) -> TestConfig) -> Config {
        let config = TestConfig::default()
            .binding("a", |binding| binding.limits.daily_cap = self.binding)
            .provider("gmail", |limits| limits.daily_cap = self.route)
            .provider("yahoo", |_| {})
            .tenant(|tenant| {
                tenant.daily_cap = self.tenant;
                tenant.provider_caps = self.tenant_route.into_iter().map(|cap| ("gmail".into(), cap)).collect();
            });
        change(config).pool("p", &[&[("a", 1)]], |_| {}).build()
    }

    fn bench(self) -> Bench {
        Bench::new(&self.config(), &[])
    }
}

fn many(bench: &mut Bench, destination: &str) -> Request<'static> {
    Request { recipients: 100, ..bench.request(destination) }
}

fn give_back(bench: &mut Bench, leases: Vec<Lease>, settlement: Settlement) {
    leases.into_iter().for_each(|lease| bench.scheduler.settle(lease, settlement, bench.now));
}

fn used(bench: &Bench, key: &str) -> Option<(Option<u64>, u64, u64)> {
    let usage = bench.scheduler.usage(bench.now).into_iter().find(|usage| usage.owner.to_string() == key)?;
    Some((usage.limit, usage.used, usage.reserved))
}

#[test]
fn a_tenants_cap_towards_a_provider_stops_its_mail_there_and_nowhere_else() {
    let mut bench = Caps::tenant_route(5).bench();
    let gmail = many(&mut bench, "gmail");
    let (leases, recipients) = bench.all_leases(&gmail);
    assert_eq!(recipients, 5);
    let capped = Verdict::Cap { of: CapOf::TenantRoute, until: MIDNIGHT };
    match bench.ask(&gmail) {
        Selection::Later { until, tenant, verdicts, .. } => {
            assert_eq!((until, tenant), (MIDNIGHT, Some(capped.clone())));
            assert_eq!(verdicts.into_iter().map(|(_, verdict)| verdict).collect::<Vec<_>>(), [capped]);
        }
        other => panic!("not put off: {other:?}"),
    }
    assert_eq!(bench.explain(&gmail), ["cap"]);
    for elsewhere in ["yahoo", "site:x"] {
        let request = bench.request(elsewhere);
        let lease = bench.lease(&request);
        bench.scheduler.settle(lease, Settlement::Accepted(1), bench.now);
    }
    assert_eq!(used(&bench, "tenant-route/acme/gmail"), Some((Some(5), 0, 5)));
    assert_eq!(used(&bench, "tenant-route/acme/yahoo"), None, "counted, and not shown where there is no cap");
    give_back(&mut bench, leases, Settlement::Accepted(5));
    bench.advance(MIDNIGHT.since(bench.now.wall));
    assert_eq!(bench.all_leases(&gmail).1, 5, "another day");
}

#[test]
fn every_end_of_a_lease_gives_back_what_was_not_used_of_all_four_caps() {
    let caps = Caps { binding: Some(40), route: Some(40), tenant: Some(40), tenant_route: Some(40) };
    for (settlement, counted) in
        [(Settlement::Unused, 0), (Settlement::Accepted(0), 0), (Settlement::Accepted(3), 3), (Settlement::Unknown, 5)]
    {
        let mut bench = caps.bench();
        let request = Request { recipients: 5, ..bench.request("gmail") };
        let lease = bench.lease(&request);
        for key in ["binding/a", "route/a/gmail", "tenant/acme", "tenant-route/acme/gmail"] {
            assert_eq!(used(&bench, key), Some((Some(40), 0, 5)), "{key}");
        }
        bench.scheduler.settle(lease, settlement, bench.now);
        for key in ["binding/a", "route/a/gmail", "tenant/acme", "tenant-route/acme/gmail"] {
            assert_eq!(used(&bench, key), Some((Some(40), counted, 0)), "{key} after {settlement:?}");
        }
        let rest = many(&mut bench, "gmail");
        assert_eq!(bench.all_leases(&rest).1, 40 - counted as u32);
    }
}

#[test]
fn a_cap_of_tenant_and_provider_that_is_set_at_noon_knows_the_morning_and_keeps_the_count_when_edited() {
    let mut bench = Caps::default().bench();
    let request = many(&mut bench, "gmail");
    for _ in 0..3 {
        let lease = bench.lease(&request);
        bench.scheduler.settle(lease, Settlement::Accepted(100), bench.now);
    }
    for (cap, left) in [(310, 10), (305, 0), (0, 0), (320, 10)] {
        bench.scheduler.reconfigure(&Caps::tenant_route(cap).config(), bench.now);
        bench.settle_grants();
        let (leases, recipients) = bench.all_leases(&request);
        assert_eq!(recipients, left, "{cap}");
        give_back(&mut bench, leases, Settlement::Accepted(100));
    }
    // Removed, some more sent, and set again; the provider itself away in between.
    bench.scheduler.reconfigure(&Caps::default().config(), bench.now);
    let lease = bench.lease(&request);
    bench.scheduler.settle(lease, Settlement::Accepted(100), bench.now);
    let without = TestConfig::default().binding("a", |_| {}).pool("p", &[&[("a", 1)]], |_| {}).build();
    bench.scheduler.reconfigure(&without, bench.now);
    bench.scheduler.reconfigure(&Caps::tenant_route(425).config(), bench.now);
    bench.settle_grants();
    assert_eq!(used(&bench, "tenant-route/acme/gmail"), Some((Some(425), 420, 0)));
    assert_eq!(bench.all_leases(&request).1, 5);
}

#[test]
fn the_stage_of_a_warm_up_moves_the_limit_within_the_day_and_keeps_the_count() {
    let caps = Caps { binding: Some(60), ..Caps::default() };
    let at_stage = |stage| {
        caps.config_with(|config| {
            config.binding("b", |_| {}).binding("a", |binding| {
                let ladder = [10, 30, 100].into();
                binding.limits.daily_cap = Some(60);
                binding.warmup = Some(Warmup { ladder, position: WarmupStart::Stage(stage) });
            })
        })
    };
    let mut bench = Bench::new(&at_stage(0), &[]);
    let request = many(&mut bench, "gmail");
    let mut sent = 0;
    // One stage up, back, far up, and down below what was sent.
    for (stage, total, verdict) in [
        (0, 10, Verdict::Warmup { until: MIDNIGHT }),
        (1, 30, Verdict::Warmup { until: MIDNIGHT }),
        (0, 30, Verdict::Warmup { until: MIDNIGHT }),
        (2, 60, Verdict::Cap { of: CapOf::Binding, until: MIDNIGHT }),
        (1, 60, Verdict::Warmup { until: MIDNIGHT }),
    ] {
        bench.scheduler.reconfigure(&at_stage(stage), bench.now);
        bench.settle_grants();
        let (leases, recipients) = bench.all_leases(&request);
        sent += recipients;
        assert_eq!((sent, bench.refusal(&request).1), (total, vec![verdict]), "stage {stage}");
        give_back(&mut bench, leases, Settlement::Accepted(100));
    }
}

#[test]
fn pace_by_hours_holds_back_what_the_hour_has_not_earned_yet() {
    let mut shares = [0; 24];
    (shares[9], shares[12], shares[14]) = (1, 2, 1);
    let pace = Pace::Hours(HourShares::new(shares).expect("not all 0"));
    let mut bench = TestConfig::default()
        .binding("a", |binding| binding.limits.daily_cap = Some(40))
        .pool("p", &[&[("a", 1)]], |pool| pool.pace = pace)
        .start();
    let request = many(&mut bench, "x");
    let mut sent = Vec::new();
    // From half past twelve to midnight, at the moments that refusals name.
    for _ in 0..40 {
        let (leases, recipients) = bench.all_leases(&request);
        sent.push(((bench.now.wall.as_millis() - NOON) / 60_000, recipients));
        give_back(&mut bench, leases, Settlement::Accepted(100));
        let (until, verdicts) = bench.refusal(&request);
        if until == MIDNIGHT {
            assert_eq!(verdicts, [Verdict::Cap { of: CapOf::Binding, until }]);
            break;
        }
        assert_eq!(verdicts, [Verdict::Pace { until }]);
        bench.advance(until.since(bench.now.wall));
    }
    assert_eq!(sent[0], (0, 21), "nine to ten, half of twelve to one, and one ahead");
    assert_eq!(sent[1..10].iter().map(|(minute, _)| *minute).collect::<Vec<_>>(), [3, 6, 9, 12, 15, 18, 21, 24, 27]);
    assert_eq!(sent[10], (90, 1), "two o'clock");
    assert_eq!(sent.iter().map(|(_, n)| n).sum::<u32>(), 40);
    assert!(sent.iter().all(|(minute, _)| *minute <= 150));
}

#[test]
fn a_leap_second_at_midnight_opens_the_day_once() {
    let mut bench = Caps { binding: Some(10), ..Caps::default() }.bench();
    let request = many(&mut bench, "gmail");
    assert_eq!(bench.all_leases(&request).1, 10);
    bench.advance(MIDNIGHT.since(bench.now.wall));
    bench.settle_grants();
    assert_eq!(bench.all_leases(&request).1, 0, "all of it is on the wire over midnight");
    // The clock repeats the last second.
    bench.now.wall = Wall::from_millis(MIDNIGHT.as_millis() - 1);
    assert!(matches!(bench.ask(&request), Selection::Later { .. }));
    bench.advance(Duration::from_millis(1));
    assert!(matches!(bench.ask(&request), Selection::Later { .. }));
}

#[derive(Clone, Debug)]
enum Step {
    Send { to_gmail: bool, recipients: u32 },
    Settle(usize, u8),
    Write,
    Edit(Caps),
    Crash,
    CleanStop,
    Pass(u64),
    SetBack(u64),
}

fn caps() -> impl Strategy<Value = Caps> {
    let cap = || prop_oneof![1 => Just(None), 3 => (0u64..80).prop_map(Some), 1 => Just(Some(2_000))];
    (cap(), cap(), cap(), cap()).prop_map(|(binding, route, tenant, tenant_route)| Caps {
        binding,
        route,
        tenant,
        tenant_route,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (any::<bool>(), 1u32..40).prop_map(|(to_gmail, recipients)| Step::Send { to_gmail, recipients }),
        6 => (0usize..8, 0u8..5).prop_map(|(which, how)| Step::Settle(which, how)),
        8 => Just(Step::Write),
        2 => caps().prop_map(Step::Edit),
        1 => Just(Step::Crash),
        1 => Just(Step::CleanStop),
        2 => (1u64..20).prop_map(Step::Pass),
        1 => (1u64..20).prop_map(Step::SetBack),
    ]
}

/// Counts what receivers accept, per cap and day, and the highest limit in force. Leases taken while there was no cap are
/// outside of what can be promised.
#[derive(Default)]
struct Books {
    accepted: HashMap<(Owner, Date), u64>,
    highest: HashMap<(Owner, Date), u64>,
}

impl Books {
    fn owners(caps: Caps, to_gmail: bool) -> Vec<(Owner, Option<u64>)> {
        let mut owners = vec![(Owner::Binding("a".into()), caps.binding), (Owner::Tenant("acme".into()), caps.tenant)];
        if to_gmail {
            owners.push((Owner::Route("a".into(), "gmail".into()), caps.route));
            owners.push((Owner::TenantRoute("acme".into(), "gmail".into()), caps.tenant_route));
        }
        owners
    }

    fn accept(&mut self, day: Date, taken_under: &[Owner], recipients: u32) {
        for owner in taken_under {
            *self.accepted.entry((owner.clone(), day)).or_default() += u64::from(recipients);
        }
    }

    fn in_force(&mut self, day: Date, caps: Caps) {
        for (owner, cap) in Self::owners(caps, true) {
            let highest = self.highest.entry((owner, day)).or_default();
            *highest = cap.unwrap_or(u64::MAX).max(*highest);
        }
    }

    /// What is on the wire at the start of a day cannot be called back when its limit is lower.
    fn on_the_wire(&mut self, day: Date, held: &[(Lease, Vec<Owner>)]) {
        for (owner, _) in Self::owners(Caps::default(), true) {
            let reserved = held.iter().filter(|(_, owners)| owners.contains(&owner));
            let reserved: u64 = reserved.map(|(lease, _)| u64::from(lease.recipients)).sum();
            let highest = self.highest.entry((owner, day)).or_default();
            *highest = reserved.max(*highest);
        }
    }
}

fn write(bench: &mut Bench, disk: &mut HashMap<String, GrantFact>) {
    for request in bench.scheduler.take_grant_requests() {
        disk.insert(request.key.clone(), request.clone());
        bench.scheduler.grant_durable(&request, bench.now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn no_cap_of_the_four_is_exceeded_on_any_day_whatever_is_edited(
        first in caps(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut caps = first;
        let mut bench = Bench::new(&caps.config(), &[]);
        bench.hold_grants = true;
        let mut disk: HashMap<String, GrantFact> = HashMap::new();
        let mut books = Books::default();
        let mut held: Vec<(Lease, Vec<Owner>)> = Vec::new();
        let mut latest = bench.now.wall;
        let mut today = bench.scheduler.ledger.day().date;
        // Nothing was written since the day began, and something of it is on the wire or accepted.
        let (mut is_unwritten, mut is_begun_unwritten) = (true, false);
        for step in steps {
            match step {
                Step::Send { to_gmail, recipients } => {
                    let destination = if to_gmail { "gmail" } else { "site:x" };
                    let request = Request { recipients, ..bench.request(destination) };
                    if let Selection::Assigned(lease) = bench.scheduler.select(&request, bench.now) {
                        let capped = Books::owners(caps, to_gmail).into_iter().filter(|(_, cap)| cap.is_some());
                        held.push((lease, capped.map(|(owner, _)| owner).collect()));
                        is_begun_unwritten |= is_unwritten;
                    }
                }
                Step::Settle(which, how) if !held.is_empty() => {
                    let (lease, owners) = held.swap_remove(which % held.len());
                    let (settlement, accepted) = match how {
                        0 => (Settlement::Unused, 0),
                        1 => (Settlement::Unknown, lease.recipients),
                        n => (Settlement::Accepted(lease.recipients / u32::from(n)), lease.recipients / u32::from(n)),
                    };
                    books.accept(today, &owners, accepted);
                    bench.scheduler.settle(lease, settlement, bench.now);
                }
                Step::Settle(..) => {}
                Step::Write => {
                    write(&mut bench, &mut disk);
                    (is_unwritten, is_begun_unwritten) = (false, false);
                }
                Step::Edit(to) => {
                    caps = to;
                    bench.scheduler.reconfigure(&caps.config(), bench.now);
                }
                Step::Crash | Step::CleanStop => {
                    for (lease, owners) in std::mem::take(&mut held) {
                        books.accept(today, &owners, lease.recipients);
                        if matches!(step, Step::CleanStop) {
                            bench.scheduler.settle(lease, Settlement::Unknown, bench.now);
                        }
                    }
                    if matches!(step, Step::CleanStop) {
                        disk.extend(bench.scheduler.final_grants().into_iter().map(|fact| (fact.key.clone(), fact)));
                    }
                    let facts: Vec<_> = disk.values().cloned().collect();
                    let now = bench.now;
                    bench.scheduler = super::Scheduler::new(&caps.config(), &facts, 7, now);
                }
                Step::Pass(hours) => bench.advance(Duration::from_secs(hours * 3_600)),
                Step::SetBack(hours) => {
                    let back = bench.now.wall.as_millis() - hours as i64 * 3_600_000;
                    let back = Wall::from_millis(back.max(latest.as_millis() - 40 * 3_600_000));
                    // "What remains" of the ledger: what began on a day is on disk before the clock goes behind that day.
                    if is_begun_unwritten && back < bench.scheduler.ledger.day().start {
                        write(&mut bench, &mut disk);
                        is_begun_unwritten = false;
                    }
                    bench.now.wall = back;
                }
            }
            bench.scheduler.tick(bench.now);
            latest = latest.max(bench.now.wall);
            if today != bench.scheduler.ledger.day().date {
                today = bench.scheduler.ledger.day().date;
                books.on_the_wire(today, &held);
                (is_unwritten, is_begun_unwritten) = (true, !held.is_empty());
            }
            books.in_force(today, caps);
            for (place, accepted) in &books.accepted {
                prop_assert!(*accepted <= books.highest[place], "{place:?}: {accepted} of {}", books.highest[place]);
            }
        }
    }
}

/// Leases and settles one recipient at a time; how many went out of `most`, by binding.
fn sent(bench: &mut Bench, request: &Request<'_>, most: u32) -> HashMap<String, u32> {
    let mut sent: HashMap<String, u32> = HashMap::new();
    for _ in 0..most {
        let Selection::Assigned(lease) = bench.ask(request) else { break };
        *sent.entry(bench.scheduler.binding_name(lease.binding).to_string()).or_default() += 1;
        bench.scheduler.settle(lease, Settlement::Accepted(1), bench.now);
    }
    sent
}

#[test]
fn a_wall_clock_set_back_behind_a_pace_stops_nobody_else() {
    let mut bench = TestConfig::default()
        .binding("a", |binding| binding.limits.daily_cap = Some(16_000))
        .binding("b", |_| {})
        .pool("p", &[&[("a", 1), ("b", 1)]], |pool| pool.pace = Pace::Even)
        .start();
    let request = bench.request("x");
    while sent(&mut bench, &request, 100).contains_key("a") {}
    bench.advance(Duration::from_secs(30));
    bench.scheduler.tick(bench.now);
    bench.now.wall = Wall::from_millis(bench.now.wall.as_millis() - 60_000);
    let mut on_a = Vec::new();
    for second in 0..70 {
        let sent = sent(&mut bench, &request, 20);
        assert_eq!(sent.values().sum::<u32>(), 20, "second {second}");
        on_a.extend(sent.get("a").map(|_| second));
        bench.advance(Duration::from_secs(1));
    }
    assert!(on_a.first().is_some_and(|&second| second > 30), "when its time has come again: {on_a:?}");
}

#[test]
fn a_paced_and_throttled_binding_waits_for_each_moment_once() {
    use crate::reputation::{Health, Reason, UNTIL_CLEARED};
    for until in [UNTIL_CLEARED, MIDNIGHT] {
        let mut bench = TestConfig::default()
            .binding("a", |binding| binding.limits.daily_cap = Some(16_000))
            .pool("p", &[&[("a", 1)]], |pool| pool.pace = Pace::Even)
            .start();
        bench.set("a", Health::Throttled { divisor: 2, until, reason: Reason::Listed });
        let request = bench.request("x");
        sent(&mut bench, &request, 20_000);
        for _ in 0..200 {
            bench.advance(Duration::from_secs(6));
            assert!(sent(&mut bench, &request, 100).contains_key("a"));
        }
        assert!(bench.scheduler.wall_timers.len() <= 2, "{:?}", bench.scheduler.wall_timers);
    }
}

#[test]
fn a_provider_added_under_the_name_of_a_known_destination_holds_there() {
    let config = || TestConfig::default().binding("a", |_| {}).pool("p", &[&[("a", 1)]], |_| {});
    let mut bench = config().start();
    let _ = bench.scheduler.destination(&"gmx.net".into(), None);
    let request = bench.request("gmx.net");
    let early = bench.lease(&request);
    let capped = config().provider("gmx.net", |limits| limits.daily_cap = Some(5)).build();
    bench.scheduler.reconfigure(&capped, bench.now);
    assert_eq!(sent(&mut bench, &request, 100)["a"], 5);
    bench.scheduler.settle(early, Settlement::Accepted(1), bench.now);
}

#[test]
fn what_the_configuration_no_longer_names_is_neither_capped_nor_asked_for() {
    let config = |with: &[&str]| {
        let mut config = TestConfig::default().binding("a", |_| {}).pool("p", &[&[("a", 1)]], |_| {});
        for &provider in with {
            config = config.provider(provider, |limits| limits.daily_cap = Some(50));
        }
        config.tenant(|tenant| {
            tenant.daily_cap = Some(1_000);
            tenant.provider_caps = with.iter().map(|&provider| (provider.into(), 7)).collect();
        })
    };
    let mut bench = config(&["gmail", "yahoo"]).binding("old", |binding| binding.limits.daily_cap = Some(9)).start();
    let gmail = bench.request("gmail");
    assert_eq!(sent(&mut bench, &gmail, 3)["a"], 3);
    let mut nobody = config(&["yahoo"]).build();
    let acme = nobody.tenants.pop();
    bench.scheduler.reconfigure(&nobody, bench.now);
    assert!(bench.scheduler.tenants.iter().all(|tenant| tenant.towards.is_empty()));
    bench.advance(Duration::from_secs(86_400));
    bench.scheduler.tick(bench.now);
    let mut asked: Vec<String> = bench.scheduler.take_grant_requests().into_iter().map(|grant| grant.key).collect();
    asked.sort();
    assert_eq!(asked, ["route/a/yahoo"]);
    // Who comes back the same day finds what was counted.
    let mut bench = config(&["gmail", "yahoo"]).start();
    let gmail = bench.request("gmail");
    assert_eq!(sent(&mut bench, &gmail, 3)["a"], 3);
    bench.scheduler.reconfigure(&nobody, bench.now);
    nobody.tenants.extend(acme);
    bench.scheduler.reconfigure(&config(&["gmail", "yahoo"]).build(), bench.now);
    assert_eq!(sent(&mut bench, &gmail, 100)["a"], 4);
}

#[test]
fn a_day_that_nothing_was_written_of_is_not_spent_while_the_clock_stands_before_it() {
    let config = Caps { tenant: Some(1), ..Caps::default() }.config();
    let mut bench = Bench::new(&config, &[]);
    bench.hold_grants = true;
    let mut disk = HashMap::new();
    write(&mut bench, &mut disk);
    bench.advance(Duration::from_secs(12 * 3_600));
    bench.scheduler.tick(bench.now);
    bench.now.wall = Wall::from_millis(bench.now.wall.as_millis() - 2 * 3_600_000);
    bench.scheduler.tick(bench.now);
    let request = bench.request("site:x");
    assert!(!matches!(bench.scheduler.select(&request, bench.now), Selection::Assigned(_)), "of a day nobody knows");
    write(&mut bench, &mut disk);
    assert!(matches!(bench.scheduler.select(&request, bench.now), Selection::Assigned(_)), "once it is on disk");
    // A crash: the start finds the later day, and its allowance spent.
    let facts: Vec<_> = disk.values().cloned().collect();
    bench.scheduler = super::Scheduler::new(&config, &facts, 7, bench.now);
    bench.advance(Duration::from_secs(2 * 3_600));
    bench.scheduler.tick(bench.now);
    let request = bench.request("site:x");
    assert!(!matches!(bench.scheduler.select(&request, bench.now), Selection::Assigned(_)), "spent");
}
