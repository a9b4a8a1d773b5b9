//! Stories of bad lists: the tenant is stopped, and the addresses carry on for the others.

use std::collections::BTreeMap;
use std::time::Duration;

use super::evidence::AttemptResult;
use super::fixtures::config;
use super::scenarios::{HOUR, START, attempt, binding, blamed, herd, out_until, refused, restarted, route, write};
use super::*;
use crate::clock::Wall;
use crate::message::MessageId;
use crate::outcome::Action;

/// Eight bindings, six receivers, a bad tenant with 20 % hard bounces among three good ones with 1 %, for half a day.
/// Returns (suspended routes, suspended bindings, good tenants' messages that met something suspended, per mille of the
/// bad tenant's that waited).
fn a_bad_list_among_good_ones(share: f64) -> (usize, usize, u64, u64) {
    use rand::{Rng, SeedableRng};
    let names = ["b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7"];
    let places = ["gmail", "outlook", "yahoo", "site:a", "site:b", "site:c"];
    let mut r = Reputation::new(&config(&names, &[("p", &names)]), START);
    let mut rng = rand::rngs::SmallRng::seed_from_u64(5);
    let (mut routes, mut bindings, mut lost, mut waited, mut bads) = (0, 0, 0, 0, 0);
    let per_hour = 8 * 650;
    for i in 0..per_hour * 12 {
        let now = START.plus(Duration::from_millis(i * 3_600_000 / per_hour));
        let (by, to) = (names[rng.random_range(0..8)], places[rng.random_range(0..6)]);
        let bad = rng.random_bool(share);
        let tenant = if bad { "bad".to_owned() } else { format!("good{}", rng.random_range(0..3)) };
        bads += u64::from(bad);
        let (name, stream, destination) = (tenant.as_str().into(), "default".into(), to.into());
        let (stream, message) = (Some(&stream), MessageId(i));
        let mail = holds::Mail { tenant: &name, stream, sender_domain: None, destination: &destination, message };
        r.tick(now);
        if r.holds().held(mail, now).is_some() {
            assert!(bad, "nobody else waits");
            waited += 1;
            continue;
        }
        if r.is_out(&by.into(), mail) {
            lost += u64::from(!bad);
            continue;
        }
        r.begins(mail, now);
        let hard = rng.random_bool(if bad { 0.20 } else { 0.01 });
        let result = if hard { refused(true, false, Action::None) } else { AttemptResult::Accepted };
        let mut seen = attempt(by, to, &tenant, &format!("d{}.example", rng.random_range(0..1000)), result);
        if let Evidence::Attempt { message, .. } = &mut seen {
            *message = MessageId(i);
        }
        for change in r.observe(&seen, now).iter().filter(|change| matches!(change.to, Health::Suspended { .. })) {
            match change.subject {
                Subject::Binding(_) => bindings += 1,
                Subject::Route(..) => routes += 1,
            }
        }
    }
    (routes, bindings, lost, waited * 1000 / bads)
}

#[test]
fn a_bad_list_costs_its_tenant_and_hardly_anybody_else() {
    for share in [0.25, 0.5] {
        let (routes, bindings, lost, waited) = a_bad_list_among_good_ones(share);
        let seen = format!("{share}: {routes} routes, {bindings} bindings, {lost} lost, {waited} of 1000 waited");
        assert!(routes + bindings <= 1 && lost <= 100 && waited > 0, "{seen}");
    }
}

/// 200 messages of a tenant over `by` to `to`, 20 % of them hard bounces.
fn bad_list(r: &mut Reputation, by: &str, to: &str, now: Wall) {
    for i in 0..200 {
        let result = if i % 5 == 0 { refused(true, false, Action::None) } else { AttemptResult::Accepted };
        r.observe(&attempt(by, to, "t", &format!("d{i}.example"), result), now);
    }
}

#[test]
fn a_list_that_took_one_address_out_is_held_at_the_next_and_for_longer_each_time() {
    let (whole, mut r) = herd();
    bad_list(&mut r, "a", "gmail", START);
    assert!(out_until(&r, &route("a", "gmail")).is_some(), "alone on one address nobody can tell");
    assert_eq!(r.holds().all(START).count(), 0);
    bad_list(&mut r, "b", "gmail", START);
    let held = |r: &Reputation, now| -> Vec<(String, Wall)> {
        r.holds().all(now).map(|view| (view.key.destination.to_string(), view.until)).collect()
    };
    assert_eq!(held(&r, START), [("gmail".to_owned(), START.plus(HOUR))]);
    for by in ["b", "c"] {
        bad_list(&mut r, by, "gmail", START);
        assert_eq!(*r.health(&route(by, "gmail")), Health::Active, "what is on the wire counts no more");
        assert_eq!(*r.health(&binding(by)), Health::Active);
    }
    assert_eq!(held(&r, START).len(), 1);
    let mut disk = BTreeMap::new();
    write(&mut r, &mut disk);
    assert_eq!(held(&restarted(&whole, &disk), START), held(&r, START), "also after a restart");
    // Again, while it probes: for twice as long.
    let now = START.plus(HOUR);
    r.tick(now);
    bad_list(&mut r, "b", "outlook", now);
    bad_list(&mut r, "c", "gmail", now);
    assert!(held(&r, now).contains(&("gmail".to_owned(), now.plus(2 * HOUR))), "{:?}", held(&r, now));
}

#[test]
fn a_list_known_to_be_bad_spoils_no_probation() {
    let (_, mut r) = herd();
    r.observe(&blamed("b", "gmail", Action::SuspendRoute(HOUR)), START);
    let now = START.plus(HOUR);
    bad_list(&mut r, "a", "outlook", now);
    for (tenant, expected) in [("t", 0), ("u", 3)] {
        for n in 0..3 {
            let result = refused(true, false, Action::None);
            r.observe(&attempt("b", "gmail", tenant, &format!("e{n}.example"), result), now);
        }
        let recovery = r.bindings["b"].routes["gmail"].state.recovery.as_ref().expect("on probation");
        assert_eq!(recovery.hard, expected, "{tenant}");
    }
}

#[test]
fn lists_are_forgotten_with_their_window_and_counted_anew_with_another() {
    let (_, mut r) = herd();
    bad_list(&mut r, "a", "gmail", START);
    assert_eq!(r.lists.len(), 1);
    let steps = tally::Steps::new(&r.rules);
    assert_eq!(r.lists.total(&"t".into(), steps, START).attempts, 51, "until the address was out");
    assert_eq!(r.lists.total(&"t".into(), steps, START.plus(3 * HOUR)).attempts, 0);
    // Its own excursion may go on for longer.
    let now = START.plus(25 * HOUR);
    r.tick(now);
    assert_eq!(r.lists.len(), 0);
    bad_list(&mut r, "b", "gmail", now);
    let mut other = config(&["a", "b", "c"], &[("p", &["a", "b", "c"])]);
    other.reputation.window = 2 * HOUR;
    r.reconfigure(&other);
    assert_eq!(r.lists.len(), 0);
}
