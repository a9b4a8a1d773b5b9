//! Stories: who is blamed, who is held, and what never trips.

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::groups::{CAMPAIGNS_MAX, GROUPS_MAX, PLACES_MAX};
use crate::clock::Wall;
use crate::config::Config;
use crate::outcome::Action;
use crate::reputation::evidence::AttemptResult;
use crate::reputation::scenarios::{
    HOUR, MINUTE, START, attempt, binding, herd, out_until, refused, restarted, route, write,
};
use crate::reputation::tally::Steps;
use crate::reputation::*;

fn bounced() -> AttemptResult {
    refused(true, false, Action::None)
}

/// One message of `campaign`, as `tenant/stream@domain`.
fn seen(by: &str, to: &str, campaign: &str, domain: &str, bounces: bool) -> Evidence {
    let result = if bounces { bounced() } else { AttemptResult::Accepted };
    let (tenant, rest) = campaign.split_once('/').unwrap_or((campaign, "default@s.example"));
    let mut seen = attempt(by, to, tenant, domain, result);
    if let (Evidence::Attempt { stream, sender_domain, .. }, Some((kind, from))) = (&mut seen, rest.split_once('@')) {
        *stream = kind.into();
        *sender_domain = Some(from.parse().unwrap());
    }
    seen
}

/// What is held: tenant, stream, domain.
fn held(r: &Reputation, now: Wall) -> Vec<String> {
    let name = |view: holds::HoldView| {
        let (stream, domain) = (view.key.stream.map(|s| s.to_string()), view.key.sender_domain.map(|d| d.to_string()));
        [Some(view.key.tenant.to_string()), stream, domain].into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    r.holds().all(now).map(name).collect()
}

/// Mail over `a` to gmail in turn, each campaign with the share of its mail that bounces (one of so many; 0: none).
fn in_turn(r: &mut Reputation, rounds: u64, campaigns: &[(&str, u64)]) -> Wall {
    let mut now = START;
    for n in 0..rounds {
        now = START.plus(2 * n as u32 * std::time::Duration::from_secs(1));
        for (which, (campaign, one_of)) in campaigns.iter().enumerate() {
            let bounces = *one_of > 0 && (n + which as u64).is_multiple_of(*one_of);
            let domain = format!("d{n}.{which}.example");
            r.observe(&seen("a", "gmail", campaign, &domain, bounces), now);
        }
    }
    now
}

fn is_well(r: &Reputation) -> bool {
    r.all().all(|(_, health)| *health == Health::Active)
}

#[test]
fn as_little_is_held_as_explains_it() {
    type Case<'a> = (&'a [(&'a str, u64)], &'a [&'a str]);
    let table: [Case; 6] = [
        (&[("acme/news@a.example", 3), ("acme/bills@a.example", 0), ("x", 60), ("y", 70)], &["acme news a.example"]),
        (
            &[
                ("acme/news@a.example", 4),
                ("acme/bills@a.example", 3),
                ("acme/bills@b.example", 0),
                ("x", 60),
                ("y", 70),
            ],
            &["acme a.example"],
        ),
        (&[("acme/news@a.example", 3), ("acme/bills@b.example", 4), ("x", 60), ("y", 70)], &["acme"]),
        (&[("acme", 3), ("x", 60), ("y", 70)], &["acme"]),
        (&[("acme", 3), ("bolt", 4), ("x", 60), ("y", 0), ("z", 0)], &["acme", "bolt"]),
        (&[("x", 60), ("y", 50), ("z", 70)], &[]),
    ];
    for (campaigns, expected) in table {
        let (_, mut r) = herd();
        let now = in_turn(&mut r, 120, campaigns);
        assert_eq!(held(&r, now), expected, "{campaigns:?}");
        assert!(is_well(&r), "{campaigns:?}");
        let notes = r.take_notes();
        let mut blamed: Vec<String> = notes
            .iter()
            .filter_map(
                |note| if let Note::TenantBlamed { tenant, .. } = note { Some(tenant.to_string()) } else { None },
            )
            .collect();
        blamed.sort();
        blamed.dedup();
        assert_eq!(blamed, expected.iter().map(|who| who.split(' ').next().unwrap()).collect::<Vec<_>>());
    }
}

#[test]
fn the_numbers_are_told() {
    let (_, mut r) = herd();
    in_turn(&mut r, 120, &[("acme/news@a.example", 3), ("acme/bills@a.example", 0), ("x", 0), ("y", 0)]);
    let notes = r.take_notes();
    let Some(Note::TenantBlamed { evidence, .. }) = notes.first() else { panic!("{notes:?}") };
    let (own, rest) = evidence.split_once("; all others: ").expect("both");
    assert!(own.starts_with("acme/news@a.example: ") && own.contains(" of "), "{evidence}");
    assert!(rest.starts_with("0 of "), "{evidence}");
}

#[test]
fn when_all_of_them_bounce_it_is_the_address() {
    let (_, mut r) = herd();
    let now = in_turn(&mut r, 120, &[("x", 8), ("y", 7), ("z", 9)]);
    assert_eq!(out_until(&r, &route("a", "gmail")).map(|(reason, _)| reason), Some(Reason::HardBounces));
    assert_eq!(held(&r, now), [""; 0]);
    assert_eq!(*r.health(&binding("a")), Health::Active, "the route's counts are not the binding's");
}

#[test]
fn a_list_that_is_a_small_part_of_every_addresss_mail_is_held_as_well() {
    let (_, mut r) = herd();
    let mut now = START;
    for n in 0..150u64 {
        now = START.plus(n as u32 * 5 * std::time::Duration::from_secs(1));
        for by in ["a", "b", "c"] {
            // 19 tenants that are well, and one of whose mail half bounces.
            for which in 0..19 {
                let domain = format!("d{n}.{which}.example");
                r.observe(&seen(by, "gmail", &format!("t{which}"), &domain, (11 * n + 13 * which) % 70 == 0), now);
            }
            r.observe(&seen(by, "gmail", "rotten", &format!("r{n}.example"), n % 2 == 0), now);
        }
    }
    assert_eq!(held(&r, now), ["rotten"]);
    assert!(is_well(&r));
    let notes = r.take_notes();
    assert!(matches!(&notes[..], [Note::TenantBlamed { tenant, .. }] if tenant.as_str() == "rotten"), "{notes:?}");
}

#[test]
fn a_tenant_is_not_blamed_for_an_address_that_is_bad_or_a_destination_that_refuses_all() {
    // Bounces of a hundred over a, b and c.
    for shares in [[20, 0, 0], [20, 20, 1], [20, 20, 20]] {
        let (_, mut r) = herd();
        for n in 0..300u64 {
            let now = START.plus(n as u32 * 2 * std::time::Duration::from_secs(1));
            for (by, share) in ["a", "b", "c"].into_iter().zip(shares) {
                for (which, tenant) in ["t", "u", "v", "w"].into_iter().enumerate() {
                    let bounces = (37 * n + 23 * which as u64) % 100 < share;
                    r.observe(&seen(by, "gmail", tenant, &format!("d{n}.{which}.example"), bounces), now);
                }
            }
        }
        assert_eq!(held(&r, START), [""; 0], "{shares:?}");
    }
}

#[test]
fn a_dead_recipient_domain_is_noted_once_an_hour_and_stops_nobody() {
    let (_, mut r) = herd();
    for n in 0..110 {
        let now = START.plus(n * 30 * std::time::Duration::from_secs(1));
        for tenant in ["t", "u"] {
            r.observe(&seen("a", "gmail", tenant, "dead.example", true), now);
            for k in 0..3 {
                r.observe(&seen("a", "gmail", tenant, &format!("d{k}.example"), false), now);
            }
        }
    }
    assert!(is_well(&r));
    assert_eq!(held(&r, START), [""; 0]);
    let notes = r.take_notes();
    assert!(
        matches!(&notes[..], [Note::RecipientDomainBlamed { domain, .. }] if domain == "dead.example"),
        "{notes:?}"
    );
}

/// `rounds` of three tenants' mail over each binding to gmail; of each binding's, one of so many bounces.
fn everywhere(r: &mut Reputation, rounds: u64, bindings: &[(&str, u64)]) {
    for n in 0..rounds {
        let now = START.plus(n as u32 * 3 * std::time::Duration::from_secs(1));
        for (by, one_of) in bindings {
            for (which, tenant) in ["t", "u", "v"].into_iter().enumerate() {
                let bounces = *one_of > 0 && (3 * n + which as u64).is_multiple_of(*one_of);
                r.observe(&seen(by, "gmail", tenant, &format!("d{n}.{which}.example"), bounces), now);
            }
        }
    }
}

#[test]
fn a_destination_that_refuses_all_bindings_alike_suspends_none() {
    let (_, mut r) = herd();
    everywhere(&mut r, 300, &[("a", 5), ("b", 5), ("c", 5)]);
    assert!(is_well(&r), "{:?}", r.all().collect::<Vec<_>>());
    assert_eq!(held(&r, START), [""; 0]);
    let notes = r.take_notes();
    assert!(
        matches!(&notes[..], [Note::DestinationBlamed { destination, .. }] if destination.as_str() == "gmail"),
        "{notes:?}"
    );
}

#[test]
fn mail_to_a_receiver_that_knows_none_of_its_users_any_more_waits() {
    let (_, mut r) = herd();
    everywhere(&mut r, 300, &[("a", 100), ("b", 100), ("c", 100)]);
    let down = START.plus(std::time::Duration::from_secs(900));
    for n in 0..40u64 {
        let now = down.plus(n as u32 * std::time::Duration::from_secs(3));
        for by in ["a", "b", "c"] {
            for tenant in ["t", "u", "v"] {
                r.observe(&seen(by, "gmail", tenant, &format!("x{n}{by}{tenant}.example"), true), now);
            }
        }
    }
    assert!(is_well(&r), "{:?}", r.all().collect::<Vec<_>>());
    let now = down.plus(std::time::Duration::from_secs(120));
    assert_eq!(held(&r, now).len(), 3, "{:?}", held(&r, now));
    let notes = r.take_notes();
    assert!(notes.iter().any(|note| matches!(note, Note::DestinationBlamed { .. })), "{notes:?}");
    assert!(!notes.iter().any(|note| matches!(note, Note::TenantBlamed { .. })), "{notes:?}");
}

#[test]
fn one_binding_over_the_limit_never_suspends_the_others() {
    for others in [0, 50] {
        let (_, mut r) = herd();
        everywhere(&mut r, 300, &[("a", 8), ("b", others), ("c", others)]);
        assert!(out_until(&r, &route("a", "gmail")).is_some());
        let out: Vec<_> = r.all().filter(|(_, health)| matches!(health, Health::Suspended { .. })).collect();
        assert_eq!(out.len(), 1, "{out:?}");
        assert_eq!(held(&r, START), [""; 0]);
    }
}

#[test]
fn what_says_nothing_about_the_recipient_is_neither_bounce_nor_attempt() {
    let (_, mut r) = herd();
    for n in 0..2_000 {
        let domain = format!("d{n}.example");
        // A time-out or a deferral, without blame: nothing is known of the recipient.
        r.observe(&attempt("a", "gmail", "t", &domain, refused(false, false, Action::None)), START);
    }
    assert!(is_well(&r));
    let steps = Steps::new(&r.rules);
    assert_eq!(r.bindings.get_mut("a").unwrap().own.tally.total(steps, START), tally::Count::default());
    // Nor do they thin out what bounces: 20 of 100 are 20 of 100 also among a thousand time-outs.
    for n in 0..100 {
        r.observe(&seen("a", "gmail", "t", &format!("d{n}.example"), n % 5 == 0), START);
    }
    assert!(out_until(&r, &route("a", "gmail")).is_some());
}

#[test]
fn a_few_bounces_never_trip_whatever_their_share() {
    let (_, mut r) = herd();
    for n in 0..49 {
        r.observe(&seen("a", "gmail", "t", &format!("d{n}.example"), true), START);
        assert!(is_well(&r), "{} of {}", n + 1, n + 1);
    }
    r.observe(&seen("a", "gmail", "t", "last.example", true), START);
    assert!(out_until(&r, &route("a", "gmail")).is_some(), "min_attempts");
}

#[test]
fn complaints_and_bounces_never_mix() {
    let (_, mut r) = herd();
    for n in 0..200 {
        r.observe(&seen("a", "gmail", "t", &format!("d{n}.example"), n % 50 == 0), START);
    }
    let steps = Steps::new(&r.rules);
    let sum = |r: &mut Reputation| r.bindings.get_mut("a").unwrap().own.tally.sum(steps, START);
    let before = sum(&mut r);
    for _ in 0..50 {
        r.observe(
            &Evidence::Complaint {
                binding: "a".into(),
                destination: Some("gmail".into()),
                tenant: "t".into(),
                at: START,
                incidents: 9,
            },
            START,
        );
    }
    assert_eq!(sum(&mut r), before);
    assert!(r.all().all(|(_, health)| !matches!(health, Health::Suspended { reason: Reason::HardBounces, .. })));
}

#[test]
fn names_that_others_choose_take_no_more_than_their_places() {
    let (_, mut r) = herd();
    for n in 0..20_000u32 {
        let tenant = if n % 2 == 0 { "t".to_owned() } else { format!("t{}", n / 2) };
        let campaign = format!("{tenant}/s@d{n}.example");
        r.observe(&seen("a", "gmail", &campaign, &format!("r{n}.example"), n % 100 == 0), START);
    }
    let watched = &r.bindings["a"];
    assert!(watched.groups.len() <= GROUPS_MAX, "{}", watched.groups.len());
    let of_t = (0..20_000u32).filter(|n| {
        let group = super::Group {
            tenant: "t".into(),
            stream: Some("s".into()),
            domain: Some(format!("d{n}.example").parse().unwrap()),
        };
        watched.groups.knows(&group)
    });
    assert!(of_t.count() <= CAMPAIGNS_MAX as usize);
    assert!(watched.routes["gmail"].places.len() <= PLACES_MAX);
    let steps = Steps::new(&r.rules);
    let total = r.bindings.get_mut("a").unwrap().own.tally.total(steps, START);
    assert_eq!(total.attempts, 20_000, "all of it is counted");
    r.tick(START.plus(3 * HOUR));
    assert_eq!(r.bindings["a"].groups.len(), 0, "and forgotten with its window");
}

#[test]
fn runs_at_one_domain_are_one_event_so_that_two_per_cent_in_runs_of_ten_trip_nothing() {
    for seed in 0..15 {
        let (_, mut r) = herd();
        let mut rng = SmallRng::seed_from_u64(seed);
        let (mut left, mut domain) = (0, String::new());
        for n in 0..10_000u32 {
            if left == 0 && rng.random_bool(0.002) {
                (left, domain) = (10, format!("d{n}.example"));
            }
            let bounces = left > 0;
            left -= u32::from(bounces);
            let to = if bounces { domain.clone() } else { format!("ok{}.example", n % 500) };
            r.observe(&seen("a", "gmail", "t", &to, bounces), START.plus(n * std::time::Duration::from_millis(3_600)));
        }
        assert!(is_well(&r) && held(&r, START).is_empty(), "seed {seed}");
    }
}

fn sum(r: &mut Reputation, now: Wall) -> f64 {
    let steps = Steps::new(&r.rules);
    r.bindings.get_mut("a").unwrap().routes.get_mut("gmail").map_or(0.0, |cell| cell.tally.sum(steps, now))
}

/// 40 messages, of which ten bounce: not enough for the fuse.
fn some(r: &mut Reputation, now: Wall) {
    for n in 0..40 {
        r.observe(&seen("a", "gmail", "acme/news@a.example", &format!("d{n}.example"), n % 4 == 0), now);
    }
}

#[test]
fn an_excursion_outlives_a_restart_and_is_forgotten_when_it_has_ended() {
    let (whole, mut r) = herd();
    some(&mut r, START);
    let before = sum(&mut r, START);
    assert!(before > 10.0);
    let mut disk = BTreeMap::new();
    write(&mut r, &mut disk);
    assert!(disk.keys().all(|key| !key.starts_with(facts::FUSE_PREFIX)), "not at each bounce");
    let keep = |disk: &mut BTreeMap<String, Vec<u8>>, r: &mut Reputation| {
        for fact in r.final_facts() {
            match fact {
                Fact::Put(key, json) => disk.insert(key, json),
                Fact::Remove(key) => disk.remove(&key),
            };
        }
    };
    keep(&mut disk, &mut r);
    assert!(disk.contains_key("fuse/a gmail") && disk.contains_key("fuse/a *"), "{:?}", disk.keys());
    assert!(disk["fuse/a gmail"].len() < 400);

    let (soon, later) = (START.plus(10 * MINUTE), START.plus(12 * MINUTE));
    let mut again = restarted(&whole, &disk);
    again.tick(soon);
    assert_eq!(sum(&mut again, soon), before);
    some(&mut again, soon);
    assert_eq!(out_until(&again, &route("a", "gmail")).map(|(reason, _)| reason), Some(Reason::HardBounces));
    again.tick(later);
    write(&mut again, &mut disk);
    assert!(!disk.contains_key("fuse/a gmail"), "judged");

    disk.clear();
    keep(&mut disk, &mut r);
    let mut well = restarted(&whole, &disk);
    well.tick(soon);
    for n in 0..400 {
        well.observe(&seen("a", "gmail", "u", &format!("d{n}.example"), false), soon);
    }
    well.tick(later);
    write(&mut well, &mut disk);
    assert!(disk.keys().all(|key| !key.starts_with(facts::FUSE_PREFIX)), "{:?}", disk.keys());

    keep(&mut disk, &mut r);
    let without: Config = fixtures::config(&["b"], &[]);
    let mut other = restarted(&without, &disk);
    write(&mut other, &mut disk);
    assert!(disk.keys().all(|key| !key.starts_with(facts::FUSE_PREFIX)), "a removed binding's is harmless");
    assert!(other.restore("fuse/a gmail", b"{").is_err());
}

#[test]
fn what_a_file_says_is_believed_only_as_far_as_it_can_be() {
    let (whole, _) = herd();
    let written = |attempts: u64, events: u64, begun: i64| {
        let subject = serde_json::to_value(route("a", "gmail")).unwrap();
        let begun = serde_json::to_value(Wall::from_millis(begun)).unwrap();
        let counts = serde_json::json!([{"tenant": "t", "attempts": attempts, "events": events}]);
        serde_json::json!({"subject": subject, "begun": begun, "counts": counts}).to_string()
    };
    for (attempts, events, begun) in [
        (u64::MAX, u64::MAX, START.as_millis()),
        (0, u64::MAX, START.as_millis()),
        (100, 50, i64::MAX),
        (100, 50, i64::MIN),
    ] {
        let mut r = Reputation::new(&whole, START);
        r.restore("fuse/a gmail", written(attempts, events, begun).as_bytes()).unwrap();
        some(&mut r, START);
        r.tick(START.plus(30 * HOUR));
        drop(r.final_facts());
    }
}

/// An hour of mail to gmail: bindings and tenants with their shares of bounces, tenants with mail per second and binding.
fn an_hour(seed: u64, bindings: &[(&str, f64)], tenants: &[(&str, f64, f64)]) -> (Reputation, Wall) {
    let (_, mut r) = herd();
    let mut random = SmallRng::seed_from_u64(seed);
    let mut now = START;
    for second in 0..3_600 {
        now = START.plus(std::time::Duration::from_secs(second));
        for (by, bad) in bindings {
            for (tenant, volume, rate) in tenants {
                if random.random_bool(*volume) {
                    let bounces = random.random_bool(bad.max(*rate));
                    r.observe(&seen(by, "gmail", tenant, &format!("d{second}.{by}{tenant}.example"), bounces), now);
                }
            }
        }
    }
    (r, now)
}

#[test]
fn two_rotten_lists_of_three_are_no_destination_that_refuses_everybody() {
    for seed in 0..4 {
        let tenants = [("r1", 0.1, 0.4), ("r2", 0.1, 0.4), ("good", 0.5, 0.005)];
        let (r, now) = an_hour(seed, &[("a", 0.0), ("b", 0.0), ("c", 0.0)], &tenants);
        assert_eq!(held(&r, now), ["r1", "r2"]);
        assert!(is_well(&r));
    }
}

#[test]
fn two_bad_addresses_of_three_are_no_destination_that_refuses_everybody() {
    for seed in 0..4 {
        let tenants = [("t", 0.2, 0.01), ("u", 0.2, 0.01), ("v", 0.2, 0.01), ("w", 0.2, 0.01)];
        let (r, now) = an_hour(seed, &[("a", 0.2), ("b", 0.2), ("c", 0.0)], &tenants);
        assert_eq!(held(&r, now), [""; 0]);
        let out = r.all().filter(|(_, health)| matches!(health, Health::Suspended { .. })).count();
        let throttled = r.all().filter(|(_, health)| matches!(health, Health::Throttled { .. })).count();
        assert_eq!((out, throttled), (1, 1), "one is out, and the pool cannot spare the other as well");
    }
}

#[test]
fn one_rotten_list_takes_no_small_tenant_with_it() {
    for seed in 0..20 {
        let tenants = [("rot", 0.4, 0.6), ("u", 0.03, 0.02), ("v", 0.03, 0.02)];
        let (r, now) = an_hour(seed, &[("a", 0.0), ("b", 0.0), ("c", 0.0)], &tenants);
        assert_eq!(held(&r, now), ["rot"], "seed {seed}");
    }
}
