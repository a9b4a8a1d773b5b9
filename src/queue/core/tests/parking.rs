//! What stands still, for how long, and who looks when it ends.

use super::super::lanes::{self, Head};
use super::*;
use crate::reputation::Reason;
use crate::scheduler::verdict::CapOf;
use crate::scheduler::{BindingId, TenantId};

const SECOND: Duration = Duration::from_secs(1);

/// Both tenants with lines of their own, one pool `main` of `m1`, and what `rest` says.
pub(super) fn rig(acme: &str, bolt: &str, rest: &str) -> Rig {
    let own_weight = if bolt.contains("weight") { "" } else { "weight = 3\n" };
    let text = TENANTS
        .replace("weight = 3\n", own_weight)
        .replace("{ default = \"main\" }", "{ default = \"main\", first = \"main\", last = \"main\" }")
        .replace("[tenant.acme]\n", &format!("[tenant.acme]\n{acme}\n"))
        .replace("[tenant.bolt]\n", &format!("[tenant.bolt]\n{bolt}\n"));
    let pool = if rest.contains("[pool.main]") { "" } else { POOL };
    let mut rig = Rig::new(&binding(1, ""));
    let config = Config::from_toml(&(text + rest + pool)).expect("the configuration is good");
    rig.core = Core::new(&config, &[], &[], 7, rig.now).0;
    rig
}

impl Rig {
    /// One entry for each of so many domains of its own, that outlives every test.
    fn scatter(&mut self, tenant: &str, pool: &str, domains: usize) -> Vec<EntryId> {
        let first = self.entries.len();
        let mut ids = Vec::new();
        for n in first..first + domains {
            let mut entry = self.entry(tenant, pool, &format!("d{n}.example"));
            entry.expires = self.now.wall.plus(10_000 * 60 * MINUTE);
            ids.push(self.take_in(entry));
        }
        ids
    }

    /// Goes on by wake-ups alone for `span`. What is attempted is accepted, or stays on the wire. Returns what was attempted.
    pub(super) fn run(&mut self, span: Duration, answers: bool) -> Vec<EntryId> {
        let end = self.now.wall.plus(span);
        let mut attempted = Vec::new();
        for wakes in 0.. {
            assert!(wakes < 100_000, "spins");
            while let Some(start) = self.attempt() {
                attempted.push(start.entry);
                if answers {
                    self.deliver(start);
                }
            }
            let Some(at) = self.core.next_wakeup().filter(|at| *at <= end) else { break };
            assert!(at > self.now.wall || self.core.has_more, "at once, and nothing came of it");
            self.pass(at.since(self.now.wall));
        }
        self.pass(end.since(self.now.wall));
        attempted
    }

    fn observe(&mut self, evidence: Evidence) {
        self.core.observe(&evidence, self.now);
    }

    fn suspend(&mut self, name: &str, span: Option<Duration>) {
        self.observe(Evidence::OperatorSuspend {
            binding: name.into(),
            destination: None,
            reason: "test".into(),
            span,
        });
    }

    fn resume(&mut self, name: &str) {
        self.observe(Evidence::OperatorResume { binding: name.into(), destination: None, span: None });
    }
}

#[test]
fn each_verdict_blocks_what_it_covers_and_no_more() {
    let until = START.plus(60 * MINUTE);
    let reason = Reason::IpBlocked;
    let lane = [false, false, false, false];
    // What still goes: the head itself, the next of the same tenant, its engaged mail, that of another tenant.
    for (verdict, of_tenant, goes) in [
        (Verdict::OperatorSuspended { until: None }, false, lane),
        (Verdict::Suspended { reason, until }, false, lane),
        (Verdict::RouteSuspended { reason, until }, false, lane),
        (Verdict::Probation { until }, false, lane),
        (Verdict::Cap { of: CapOf::Binding, until }, false, lane),
        (Verdict::Cap { of: CapOf::Route, until }, false, lane),
        (Verdict::Pace { until }, false, lane),
        (Verdict::Warmup { until }, false, lane),
        (Verdict::GrantPending, false, lane),
        (Verdict::WindowFull, false, lane),
        (Verdict::BackOff { until }, false, lane),
        (Verdict::RateLimited { until }, false, lane),
        (Verdict::Reserved { until }, false, [false, false, true, false]),
        (Verdict::Excluded { until }, false, [false, true, true, true]),
        (Verdict::Cap { of: CapOf::Tenant, until }, true, [false, false, false, true]),
        (Verdict::Cap { of: CapOf::TenantRoute, until }, true, [false, false, false, true]),
        (Verdict::RateLimited { until }, true, [false, false, false, true]),
        (Verdict::GrantPending, true, [false, false, false, true]),
    ] {
        let mut rig = rig("engaged = [\"first\"]", "", &binding(1, ""));
        rig.core.pause();
        let mut engaged = rig.entry("acme", "main", "alpha.example");
        let ids = [rig.send("acme", "alpha.example"), rig.send("acme", "alpha.example")];
        (engaged.stream, engaged.id) = ("first".into(), EntryId(100));
        let engaged = rig.take_in(engaged);
        assert!(rig.attempt().is_none());
        let lane = rig.core.index.next_ready().expect("one lane");
        let (key, tenant, id) = rig.core.index.head(lane).expect("its head");
        assert_eq!((tenant, id), (TenantId(0), ids[0]));
        let ids = [ids[0], ids[1], engaged, rig.send("bolt", "alpha.example")];
        let head = Head { lane, key, tenant, id, is_engaged: false };
        if of_tenant {
            rig.core.block_tenant(head, until, &verdict, rig.now);
        } else {
            // A second binding that gives no moment of its own changes nothing.
            let verdicts = [(BindingId(0), verdict.clone()), (BindingId(0), Verdict::TierClosed)];
            rig.core.block(head, until, &verdicts, lanes::reason(&verdicts), rig.now);
        }
        assert_eq!(ids.map(|id| rig.reason(id) == "ready"), goes, "{verdict:?} of the tenant: {of_tenant}");
        assert_eq!(rig.reason(ids[0]), verdict.as_str());
        rig.core.resume();
        let mut started = rig.started();
        started.sort();
        let mut expected: Vec<_> = ids.into_iter().zip(goes).filter(|(_, goes)| *goes).map(|(id, _)| id).collect();
        expected.sort();
        assert_eq!(started, expected, "{verdict:?} of the tenant: {of_tenant}");
        // Whatever it was, and although no event comes: nothing is forgotten.
        let left = rig.run(2 * 60 * MINUTE, true).len() + rig.asked.len();
        assert_eq!(left, 4 - started.len(), "{verdict:?} of the tenant: {of_tenant}");
    }
}

#[test]
fn an_entry_that_may_not_use_a_free_binding_does_not_hold_up_those_that_may() {
    let pool = "[pool.main]\nactive = [\"m1\", \"m2\"]\n";
    let mut rig = Rig::new(&(binding(1, "") + &binding(2, "max_outbound_connections = 1") + pool));
    // m2's only connection is in use.
    let mut entry = rig.entry("acme", "main", "beta.example");
    entry.state.excluded = vec![("m1".into(), rig.now.wall.plus(60 * MINUTE))].into_iter().collect();
    rig.take_in(entry);
    let flying = rig.attempt().expect("m2 is free");
    let mut entry = rig.entry("acme", "main", "alpha.example");
    entry.state.excluded = vec![("m1".into(), rig.now.wall.plus(60 * MINUTE))].into_iter().collect();
    let barred = rig.take_in(entry);
    let free: Vec<_> = (0..5).map(|_| rig.send("acme", "alpha.example")).collect();
    assert_eq!(rig.started(), free);
    rig.deliver(flying);
    assert_eq!(rig.run(5 * SECOND, true), [barred], "soon");
}

#[test]
fn a_move_of_health_wakes_the_lanes_it_concerns_and_no_others() {
    let other = "[pool.other]\nactive = [\"m2\"]\n";
    let mut rig = Rig::new(&(binding(1, "") + &binding(2, "") + POOL + other));
    rig.suspend("m1", None);
    rig.suspend("m2", None);
    let (main, others) = (rig.scatter("acme", "main", 200), rig.scatter("acme", "other", 200));
    assert!(rig.attempt().is_none());
    let looks = rig.core.looks;
    assert!(rig.attempt().is_none());
    assert_eq!(rig.core.looks, looks, "they stand still");
    rig.resume("m1");
    let mut started = rig.started();
    started.sort();
    assert_eq!(started, main);
    assert_eq!(rig.core.looks - looks, 200, "the others were not looked at");
    assert_eq!(rig.reason(others[0]), "operator_suspended");
    let looks = rig.core.looks;
    let refused = |n| refused("bolt", None, n);
    rig.core.reported(&[refused(1), refused(2)], rig.now);
    assert!(rig.attempt().is_none());
    assert_eq!(rig.core.looks, looks);
    rig.resume("m2");
    assert_eq!(rig.attempts().len(), 200);
}

#[test]
fn suspended_mail_is_not_looked_at_before_its_time_and_then_leaves_as_windows_allow() {
    let mut rig = Rig::new(&binding(1, "max_outbound_connections = 50"));
    rig.suspend("m1", Some(60 * MINUTE));
    let ids = rig.scatter("acme", "main", 3_000);
    assert!(rig.attempt().is_none());
    let looks = rig.core.looks;
    assert!(rig.run(60 * MINUTE - SECOND, true).is_empty());
    assert_eq!(rig.core.looks, looks);
    let mut flying = Vec::new();
    for _ in 0..59 {
        rig.pass(SECOND);
        flying.extend(rig.attempts());
    }
    assert_eq!(flying.len(), 50, "no more than there are connections");
    let all = rig.core.looks - looks;
    assert!(all <= ids.len() + 100, "one look each, and few more: {all}");
    // From now on as they are answered, one for one.
    let looks = rig.core.looks;
    for _ in 0..1_000 {
        let start = flying.remove(0);
        rig.deliver(start);
        flying.extend(rig.attempts());
        assert_eq!(flying.len(), 50);
    }
    let all = rig.core.looks - looks;
    assert!(all <= 2_100, "{all} looks for 1,000 messages");
}

#[test]
fn thousands_of_lanes_behind_one_rate_cost_a_look_or_two_for_each_token() {
    for tenant_has_it in [false, true] {
        let rate = "rate_limit = \"10/s\"";
        let mut rig = match tenant_has_it {
            true => rig(rate, "", &binding(1, "")),
            false => rig("", "", &binding(1, rate)),
        };
        let ids = rig.scatter("acme", "main", 2_000);
        let first = rig.attempts().len();
        assert!((1..=10).contains(&first));
        let looks = rig.core.looks;
        let went = rig.run(50 * SECOND, false);
        assert!(went.len().abs_diff(500) <= 2, "all that the rate allows: {}", went.len());
        let all = rig.core.looks - looks;
        assert!(all <= 3 * went.len(), "{all} looks for {} messages", went.len());
        // In the order in which they began to wait.
        assert_eq!(went, ids[first..first + went.len()]);
    }
}

#[test]
fn a_gate_gives_the_whole_rate_to_few_lanes_as_well_and_is_gone_when_nobody_waits() {
    let mut rig = rig("", "", &binding(1, "rate_limit = \"10/s\"\nmax_outbound_connections = 100"));
    for _ in 0..400 {
        rig.send("acme", "alpha.example");
    }
    rig.scatter("bolt", "main", 3);
    let went = rig.run(39 * SECOND, true).len();
    assert!((388..=401).contains(&went), "{went}");
    rig.run(10 * SECOND, true);
    assert_eq!((rig.core.index().depth().0, rig.core.lines.len()), (0, 0));
    assert!(rig.core.lines.next_wakeup().is_none_or(|at| at <= rig.now.wall), "no moment is left over");
}

#[test]
fn the_pace_of_the_day_is_waited_for_in_line() {
    let pool = "[pool.main]\nactive = [\"m1\"]\npace = \"even\"\n";
    let mut rig = rig("", "", &(binding(1, "daily_cap = 86400") + pool));
    // 12:30: what the morning left is there to be had.
    let ids = rig.scatter("acme", "main", 60_000);
    let first = rig.run(Duration::ZERO, true).len();
    assert!((44_000..46_500).contains(&first), "{first}");
    let looks = rig.core.looks;
    let went = rig.run(100 * SECOND, true);
    assert!((95..=105).contains(&went.len()), "one a second: {}", went.len());
    let all = rig.core.looks - looks;
    assert!(all <= 3 * went.len(), "{all} looks");
    assert_eq!(went, ids[first..first + went.len()]);
}

#[test]
fn a_rate_towards_one_provider_does_not_keep_a_binding_s_gate_closed_for_the_others() {
    let slow = "[provider.slow]\nmx = [\"slow.example\"]\nbinding = { rate_limit = \"1/h\" }\n";
    let mut rig = rig("", "", &(binding(1, "rate_limit = \"10/s\"") + slow));
    let mut plan = MxPlan::pinned_to(DestinationName::new("slow"));
    plan.provider = Some("slow".into());
    rig.dns = false;
    for _ in 0..3 {
        rig.send("bolt", "slow.example");
    }
    assert!(rig.attempt().is_none());
    rig.core.resolved(&"slow.example".parse().expect("a domain"), Ok(Arc::new(plan)), rig.now);
    rig.dns = true;
    rig.scatter("acme", "main", 300);
    let went = rig.run(10 * SECOND, true).len();
    assert!((100..=112).contains(&went), "{went}");
}

#[test]
fn a_new_day_does_not_make_thousands_of_lanes_look_in_the_same_instant() {
    let mut rig = rig("", "", &binding(1, "daily_cap = 100"));
    // 12:30 to a second before midnight.
    rig.pass(11 * 60 * MINUTE + 30 * MINUTE - 20 * SECOND);
    rig.scatter("acme", "main", 100);
    assert_eq!(rig.run(SECOND, true).len(), 100, "the day's cap");
    rig.scatter("acme", "main", 4_000);
    assert!(rig.run(18 * SECOND, true).is_empty());
    let looks = rig.core.looks;
    rig.pass(SECOND);
    let mut most = 0;
    let mut last = looks;
    for _ in 0..60 {
        assert!(rig.attempts().len() <= 100);
        most = most.max(rig.core.looks - last);
        last = rig.core.looks;
        rig.pass(Duration::from_millis(100));
    }
    assert!(most <= 1_000, "{most} lanes looked within a tenth of a second");
    assert!(rig.core.looks - looks >= 3_000, "yet they did look");
}

#[test]
fn what_is_over_is_not_sent_although_thousands_of_timers_are_due_before_its_own() {
    let mut rig = Rig::new(&binding(1, ""));
    rig.core.pause();
    let over = rig.send("acme", "alpha.example");
    for _ in 0..DUE_MAX + 500 {
        let mut entry = rig.entry("acme", "main", "beta.example");
        (entry.state.next_at, entry.expires) = (START.plus(MINUTE), START.plus(10_000 * MINUTE));
        rig.take_in(entry);
    }
    assert!(rig.attempt().is_none());
    rig.pass(100 * MINUTE);
    rig.core.resume();
    loop {
        match rig.core.next(rig.now) {
            Some(Action::Expire(id)) if id == over => break,
            Some(Action::Resolve(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn lifetimes_end_whatever_the_mail_waits_for() {
    let rated = binding(1, "rate_limit = \"1/h\"");
    type Prepare = fn(&mut Rig);
    let cases: [(&str, Rig, Prepare); 5] = [
        ("operator_suspended", Rig::new(&binding(1, "")), |rig| rig.suspend("m1", Some(1_000 * MINUTE))),
        ("tenant_held", Rig::new(&binding(1, "")), |rig| rig.hold("acme", None)),
        ("tenant_held", Rig::new(&binding(1, "")), |rig| rig.hold("acme", Some("bad.example"))),
        ("rate_limited", Rig::new(&rated), |rig| {
            rig.send("bolt", "alpha.example");
            rig.attempts().into_iter().for_each(|start| rig.deliver(start));
        }),
        ("slots", rig("", "", &(binding(1, "") + "[queue]\nmax_attempts_in_flight = 4\n")), |rig| {
            rig.scatter("acme", "main", 4);
            rig.attempts().into_iter().for_each(drop);
        }),
    ];
    for (reason, mut rig, prepare) in cases {
        prepare(&mut rig);
        let entry = from(&rig, "acme", "bad.example", "alpha.example");
        let id = rig.take_in(entry);
        assert!(rig.attempt().is_none(), "{reason}");
        assert_eq!(rig.reason(id), reason);
        rig.asked.clear();
        assert!(rig.run(60 * MINUTE - SECOND, true).is_empty() && rig.asked.is_empty(), "{reason}");
        assert!(rig.run(2 * SECOND, true).is_empty(), "{reason}");
        assert!(rig.asked.iter().any(|action| matches!(action, Action::Expire(over) if *over == id)), "{reason}");
    }
}

#[test]
fn domains_that_are_written_to_once_leave_nothing_behind() {
    let mut rig = Rig::new(&binding(1, ""));
    let mut highest = 0;
    let (rounds, each) = (30u64, 1_000);
    for round in 0..rounds {
        for n in 0..each {
            let mut entry = rig.entry("acme", "main", &format!("d{round}x{n}.example"));
            entry.id = EntryId(round * each + n + 1);
            assert!(rig.core.enqueue(&entry, rig.now));
            let start = rig.attempt().expect("free");
            highest = highest.max(start.lease.destination.0);
            rig.deliver(start);
        }
        rig.pass(MINUTE);
    }
    // Known for five minutes, and forgotten a few in each call.
    let (known, numbers) = rig.core.domains.len();
    assert!(known <= 7_000 && numbers <= 7_000, "{known} domains, {numbers} numbers");
    assert!(highest <= 7_000, "{highest} destinations");
    assert_eq!((rig.core.index.lanes_len(), rig.core.lines.len()), (0, 0));
    for _ in 0..4_000 {
        rig.pass(SECOND);
        assert!(rig.attempt().is_none());
    }
    assert_eq!(rig.core.domains.len().0, 0);
    let next = rig.core.scheduler.destination(&DestinationName::new("site:new"), None);
    assert!(next.0 <= highest, "its number was another's");
    // And all is as it was for one that comes again.
    let id = rig.scatter("acme", "main", 1);
    assert_eq!(rig.started(), id);
}

#[test]
fn a_domain_is_known_while_anything_of_it_is_under_way() {
    let mut rig = Rig::new(&binding(1, ""));
    rig.send("acme", "alpha.example");
    let start = rig.attempt().expect("free");
    let destination = start.lease.destination;
    for n in 0..100 {
        rig.pass(MINUTE);
        let other = rig.scatter("acme", "main", 1);
        let another = rig.attempt().expect("free");
        assert_eq!(another.entry, other[0]);
        assert_ne!(another.lease.destination, destination, "{n}");
        rig.deliver(another);
    }
    let later = rig.now.wall.plus(MINUTE);
    rig.put_back(start, |entry| {
        entry.state.next_at = later;
        entry.expires = later.plus(60 * MINUTE);
    });
    rig.pass(MINUTE);
    let again = rig.attempt().expect("again");
    assert_eq!(again.plan.destination.as_str(), "site:alpha.example");
}

#[test]
fn a_slow_binding_elsewhere_does_not_hold_up_a_fast_one() {
    let pool = "[pool.main]\nactive = [\"m1\", \"m2\"]\n";
    let mut rig = Rig::new(&(binding(1, "rate_limit = \"60/h\"") + &binding(2, "rate_limit = \"10/s\"") + pool));
    // At x.example m2's route is out.
    rig.resolve("x.example", Ok("site:x.example"));
    rig.observe(Evidence::Attempt {
        binding: "m2".into(),
        destination: "site:x.example".into(),
        tenant: "bolt".into(),
        domain: "x.example".parse().expect("a domain"),
        message: MessageId(9999),
        stream: "default".into(),
        sender_domain: None,
        took: None,
        result: AttemptResult::Refused {
            cause: crate::outcome::Cause::SpamBlockIp,
            scope: Scope::Binding,
            hard: false,
            counts_against_ip: true,
            action: crate::outcome::Action::SuspendRoute(60 * MINUTE),
            rule: "t".into(),
            text: "550".into(),
        },
    });
    (0..50).for_each(|_| _ = rig.send("bolt", "x.example"));
    let to_y: Vec<_> = (0..3000).map(|_| rig.send("acme", "y.example")).collect();
    let went = rig.run(5 * MINUTE, true);
    let to_y = went.iter().filter(|id| to_y.contains(id)).count();
    assert!(to_y > 2900, "{to_y} of 3000 in five minutes");
}

#[test]
fn a_freed_connection_goes_to_the_next_in_line_where_the_first_cannot_use_it() {
    let pool = "[pool.main]\nactive = [\"m1\"]\n[pool.other]\nactive = [\"m2\"]\n";
    let bindings = binding(1, "max_outbound_connections = 1") + &binding(2, "");
    let mut rig = rig("rate_limit = \"1/h\"", "", &(bindings + pool));
    rig.send("bolt", "alpha.example");
    let flying = rig.attempt().expect("flies");
    rig.send("acme", "beta.example");
    assert!(rig.attempt().is_none());
    let gamma = rig.send("bolt", "gamma.example");
    assert!(rig.attempt().is_none());
    // The first in line has used up its tenant's rate elsewhere by now.
    let other = rig.entry("acme", "other", "delta.example");
    rig.take_in(other);
    let elsewhere = rig.attempt().expect("over m2");
    rig.deliver(elsewhere);
    rig.deliver(flying);
    assert_eq!(rig.attempt().map(|start| start.entry), Some(gamma), "at once");
}

#[test]
fn lanes_that_are_to_look_again_stand_in_line_once_however_often_health_moves() {
    let mut rig = rig("", "", &binding(1, ""));
    rig.suspend("m1", None);
    rig.scatter("acme", "main", 100);
    rig.run(MINUTE, true);
    for _ in 0..20 {
        rig.resume("m1");
        rig.suspend("m1", None);
    }
    assert_eq!(rig.core.lines.len(), 100);
}
