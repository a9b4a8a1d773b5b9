//! Stories of complaints: whose fault they are, what they move, and what they do not.

use std::collections::BTreeMap;
use std::time::Duration;

use super::evidence::AttemptResult;
use super::scenarios::{HOUR, MINUTE, START, attempt, binding, herd, out_until, restarted_at, route};
use super::*;
use crate::clock::Wall;

const DAY: Duration = Duration::from_secs(86_400);

/// `count` accepted recipients, spread over the hour from `at` on.
fn send(r: &mut Reputation, from: &str, to: &str, tenant: &str, count: u32, at: Wall) {
    for n in 0..count {
        let now = at.plus(HOUR * n / count.max(1));
        r.observe(&attempt(from, to, tenant, "x.example", AttemptResult::Accepted), now);
    }
}

/// `count` complaints, each about another minute of the hour from `at` on; what they change.
fn complain(
    r: &mut Reputation,
    from: &str,
    to: &str,
    tenant: &str,
    count: u32,
    at: Wall,
    now: Wall,
) -> Vec<HealthChange> {
    let about = |n: u32| Evidence::Complaint {
        binding: from.into(),
        destination: Some(to.into()),
        tenant: tenant.into(),
        at: at.plus(MINUTE * (n % 60)),
        incidents: 1,
    };
    (0..count).flat_map(|n| r.observe(&about(n), now)).collect()
}

/// Ten tenants with a thousand recipients each at gmail, over `a`.
fn ten_tenants() -> (crate::config::Config, Reputation) {
    let (config, mut r) = herd();
    (0..10).for_each(|n| send(&mut r, "a", "gmail", &format!("t{n}"), 1_000, START));
    (config, r)
}

/// `count` complaints about the ten tenants' mail, evenly.
fn all_complain(r: &mut Reputation, count: u32, now: Wall) -> Vec<HealthChange> {
    let one = |n: u32| (format!("t{}", n % 10), START.plus(MINUTE * (n / 10 % 60)));
    (0..count).map(one).flat_map(|(tenant, at)| complain(r, "a", "gmail", &tenant, 1, at, now)).collect()
}

fn held(r: &Reputation, tenant: &str, now: Wall) -> Vec<(String, Duration)> {
    let own = r.holds().all(now).filter(|hold| hold.key.tenant.as_str() == tenant);
    own.map(|hold| (hold.key.destination.to_string(), hold.until.since(now))).collect()
}

#[test]
fn a_route_that_is_complained_about_whoever_sends_is_throttled_and_then_suspended() {
    let (_, mut r) = ten_tenants();
    let now = START.plus(DAY);
    assert!(all_complain(&mut r, 20, now).is_empty());
    let changes = all_complain(&mut r, 1, now);
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].evidence, "21 complaints about 10000 recipients accepted in the last 7 days");
    let until = now.plus(DAY);
    let reason = Reason::Complaints;
    assert!(matches!(changes[0].to, Health::Throttled { reason: r, until: u, .. } if (r, u) == (reason, until)));
    assert!(all_complain(&mut r, 29, now).is_empty());
    all_complain(&mut r, 1, now);
    assert_eq!(out_until(&r, &route("a", "gmail")), Some((Reason::Complaints, now.plus(HOUR))));
    assert_eq!(*r.health(&binding("a")), Health::Active);
    assert_eq!(r.holds().all(now).count(), 0);
}

#[test]
fn later_waves_about_the_same_mail_neither_prolong_nor_repeat_what_it_was_suspended_for() {
    let (_, mut r) = ten_tenants();
    let now = START.plus(DAY);
    all_complain(&mut r, 51, now);
    let mut suspensions = 0;
    for hour in 0..48 {
        let now = now.plus(HOUR * hour);
        let mut changes = r.tick(now);
        changes.extend(all_complain(&mut r, 30, now));
        suspensions += changes.iter().filter(|change| matches!(change.to, Health::Suspended { .. })).count();
        send(&mut r, "a", "gmail", "t1", 100, now);
    }
    assert_eq!(suspensions, 0);
    assert_eq!(*r.health(&route("a", "gmail")), Health::Active);
    // What it sends afterwards counts again, and the penalty has grown.
    let at = now.plus(HOUR * 49);
    (0..10).for_each(|n| send(&mut r, "a", "gmail", &format!("t{n}"), 1_000, at));
    let now = at.plus(HOUR * 2);
    for n in 0..100 {
        complain(&mut r, "a", "gmail", &format!("t{}", n % 10), 1, at.plus(MINUTE * (n / 10)), now);
    }
    assert_eq!(out_until(&r, &route("a", "gmail")), Some((Reason::Complaints, now.plus(HOUR * 2))));
}

#[test]
fn the_tenant_that_explains_the_complaints_is_held_and_the_address_left_alone() {
    let (_, mut r) = ten_tenants();
    let now = START.plus(DAY);
    for other in ["t1", "t2", "t3"] {
        assert!(complain(&mut r, "a", "gmail", other, 1, START, now).is_empty());
    }
    assert!(complain(&mut r, "a", "gmail", "t0", 40, START, now).is_empty());
    assert_eq!(*r.health(&route("a", "gmail")), Health::Active);
    assert_eq!(held(&r, "t0", now), [("gmail".to_owned(), HOUR)]);
    assert_eq!(r.holds().all(now).count(), 1);
    let notes = r.take_notes();
    let blamed: Vec<_> = notes.iter().filter(|note| matches!(note, Note::TenantBlamed { .. })).collect();
    let [Note::TenantBlamed { subject, tenant, evidence }] = blamed[..] else { panic!("{blamed:?}") };
    assert_eq!((subject, tenant.as_str()), (&route("a", "gmail"), "t0"));
    assert_eq!(evidence, "t0: 17 complaints about 1000 accepted recipients; all others: 3 about 9000");
    // What it had sent before is answered for; what it sends afterwards is not, and is held for twice as long.
    let at = now.plus(HOUR * 3);
    assert!(complain(&mut r, "a", "gmail", "t0", 60, START, at).is_empty());
    r.tick(at);
    assert!(held(&r, "t0", at).iter().all(|(_, left)| left.is_zero()));
    send(&mut r, "a", "gmail", "t0", 1_000, at);
    let now = at.plus(HOUR * 20);
    complain(&mut r, "a", "gmail", "t0", 16, at, now);
    assert_eq!(held(&r, "t0", now), []);
    complain(&mut r, "a", "gmail", "t0", 1, at.plus(20 * MINUTE), now);
    assert_eq!(held(&r, "t0", now), [("gmail".to_owned(), HOUR * 2)]);
    assert_eq!(*r.health(&route("a", "gmail")), Health::Active);
}

#[test]
fn complaints_about_one_tenant_add_up_over_all_bindings_of_a_provider() {
    let (_, mut r) = herd();
    for from in ["a", "b", "c"] {
        send(&mut r, from, "gmail", "good", 8_000, START);
        send(&mut r, from, "gmail", "bad", 400, START);
        send(&mut r, from, "outlook", "bad", 400, START);
    }
    let now = START.plus(DAY);
    for (from, count) in [("a", 6), ("b", 6), ("c", 8)] {
        assert!(complain(&mut r, from, "gmail", "bad", count, START, now).is_empty());
    }
    assert_eq!(held(&r, "bad", now), [("gmail".to_owned(), HOUR)]);
    assert_eq!(r.holds().all(now).count(), 1);
}

#[test]
fn a_tenant_alone_on_its_addresses_cannot_be_told_from_them() {
    let (_, mut r) = herd();
    send(&mut r, "a", "gmail", "only", 10_000, START);
    let now = START.plus(DAY);
    complain(&mut r, "a", "gmail", "only", 50, START, now);
    assert!(matches!(r.health(&route("a", "gmail")), Health::Throttled { reason: Reason::Complaints, .. }));
    complain(&mut r, "a", "gmail", "only", 10, START, now);
    assert!(out_until(&r, &route("a", "gmail")).is_some());
    assert_eq!(r.holds().all(now).count(), 0);
}

#[test]
fn two_bad_tenants_are_held_together_where_neither_alone_explains_it() {
    let (_, mut r) = ten_tenants();
    let now = START.plus(DAY);
    for n in 0..20 {
        for bad in ["t0", "t1"] {
            assert!(complain(&mut r, "a", "gmail", bad, 1, START.plus(MINUTE * n), now).is_empty());
        }
    }
    assert_eq!([held(&r, "t0", now).len(), held(&r, "t1", now).len(), r.holds().all(now).count()], [1, 1, 2]);
    assert_eq!(*r.health(&route("a", "gmail")), Health::Active);
}

#[test]
fn one_recipient_with_a_thousand_reports_of_one_message_moves_nothing() {
    let (_, mut r) = herd();
    for to in ["gmail", "outlook"] {
        let now = START.plus(HOUR);
        for _ in 0..255 {
            r.observe(&attempt("a", to, "t", "x.example", AttemptResult::Accepted), START);
        }
        for n in 0..1_000 {
            let report = Evidence::Complaint {
                binding: "a".into(),
                destination: Some(to.into()),
                tenant: "t".into(),
                at: START,
                incidents: n * 1_000_000,
            };
            assert!(r.observe(&report, now).is_empty());
        }
        assert_eq!(*r.health(&route("a", to)), Health::Active);
        assert_eq!(r.holds().all(now).count(), 0);
    }
}

#[test]
fn nothing_is_concluded_without_a_provider_without_complaints_or_about_days_that_are_forgotten() {
    let (_, mut r) = ten_tenants();
    send(&mut r, "a", "site:x", "t", 1_000, START);
    let now = START.plus(DAY);
    assert!(complain(&mut r, "a", "site:x", "t", 60, START, now).is_empty());
    assert_eq!(*r.health(&route("a", "site:x")), Health::Active);
    assert!(r.take_notes().iter().any(|note| matches!(note, Note::Complaints { destination: None, .. })), "noted");
    assert!(all_complain(&mut r, 400, START.plus(8 * DAY)).is_empty());
    let signal = |r: &mut Reputation, now| {
        r.take_signals(now).into_iter().find(|signal| signal.subject == route("a", "gmail")).map(|s| s.complaints)
    };
    assert_eq!(signal(&mut r, START.plus(8 * DAY)), Some(0.0));
    // In between it grows from nothing to what suspends.
    let (_, mut r) = ten_tenants();
    all_complain(&mut r, 20, now);
    let some = signal(&mut r, now).unwrap();
    all_complain(&mut r, 30, now);
    let more = signal(&mut r, now).unwrap();
    assert!(some > 0.3 && some < more && more > 1.0, "{some} {more}");
}

#[test]
fn a_restart_between_two_complaints_forgets_neither_the_first_nor_what_was_settled() {
    let stop = |r: &mut Reputation, disk: &mut BTreeMap<String, Vec<u8>>| {
        for fact in r.final_facts() {
            match fact {
                Fact::Put(key, json) => _ = disk.insert(key, json),
                Fact::Remove(key) => _ = disk.remove(&key),
            }
        }
    };
    let (config, mut r) = ten_tenants();
    let (mut disk, now) = (BTreeMap::new(), START.plus(DAY));
    all_complain(&mut r, 30, now);
    complain(&mut r, "a", "gmail", "t0", 14, START.plus(30 * MINUTE), now);
    assert_eq!(held(&r, "t0", now), [("gmail".to_owned(), HOUR)], "it has more than the others");
    stop(&mut r, &mut disk);
    let mut r = restarted_at(&config, &disk, now);
    assert_eq!(complain(&mut r, "a", "gmail", "t0", 60, START, now.plus(2 * HOUR)), []);
    for n in 1..10 {
        complain(&mut r, "a", "gmail", &format!("t{n}"), 3, START.plus(40 * MINUTE), now.plus(2 * HOUR));
    }
    assert_eq!(out_until(&r, &route("a", "gmail")).map(|(reason, _)| reason), Some(Reason::Complaints));
}
