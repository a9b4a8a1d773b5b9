//! Single facts about the count; what holds in every order is in `properties`.

use super::super::{Grants, MemoryGrants};
use super::*;
use jiff::civil::{Time, date};

pub(super) const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn at(text: &str) -> Wall {
    Wall::from(text.parse::<jiff::Timestamp>().expect("timestamp"))
}

pub(super) fn berlin() -> Calendar {
    let timezone = jiff::tz::TimeZone::get("Europe/Berlin").expect("zone");
    Calendar::new(&crate::config::Day { timezone, starts: Time::midnight() })
}

pub(super) fn noon() -> Wall {
    at("2026-05-20T10:00:00Z")
}

pub(super) fn owner() -> Owner {
    Owner::Binding("mta1".into())
}

fn opened(limit: u64) -> (Ledger, AccountId) {
    let mut ledger = Ledger::new(berlin(), &[], noon());
    let id = ledger.open(owner(), limit);
    (ledger, id)
}

/// Makes every request durable.
fn grant(ledger: &mut Ledger) {
    for request in ledger.take_requests() {
        ledger.granted(&request);
    }
}

fn reserve(ledger: &mut Ledger, id: AccountId, recipients: u32) -> Option<Reservation> {
    grant(ledger);
    if ledger.room(id, noon()) == Room::Askable {
        ledger.want(id, recipients);
        grant(ledger);
    }
    ledger.reserve(id, recipients)
}

#[test]
fn a_reservation_is_partial_and_the_cap_is_the_end() {
    let (mut ledger, id) = opened(10);
    ledger.want(id, 10);
    let first = reserve(&mut ledger, id, 7).expect("room");
    let second = reserve(&mut ledger, id, 7).expect("room");
    assert_eq!((first.recipients, second.recipients), (7, 3));
    assert_eq!(ledger.room(id, noon()), Room::Exhausted);
    ledger.settle(first, 5);
    assert_eq!(ledger.room(id, noon()), Room::Free(2), "what was not accepted is given back");
    ledger.settle(second, 3);
    assert_eq!((ledger.account(id).used(), ledger.account(id).reserved()), (8, 0));
}

#[test]
fn nothing_is_spent_before_it_is_durable() {
    let (mut ledger, id) = opened(1_000);
    assert_eq!(ledger.room(id, noon()), Room::Askable);
    assert_eq!(ledger.reserve(id, 1), None);
    ledger.want(id, 3);
    let requests = ledger.take_requests();
    assert_eq!(requests.iter().map(|r| (r.key.as_str(), r.granted)).collect::<Vec<_>>(), [("binding/mta1", 16)]);
    assert_eq!(ledger.room(id, noon()), Room::Pending);
    assert_eq!(ledger.reserve(id, 1), None);
    assert!(ledger.take_requests().is_empty(), "handed out once");
    ledger.granted(&requests[0]);
    assert_eq!(ledger.room(id, noon()), Room::Free(16));
}

#[test]
fn the_next_block_is_asked_for_before_the_last_is_gone_and_a_large_request_gets_what_it_needs() {
    let (mut ledger, id) = opened(10_000);
    ledger.want(id, 1);
    grant(&mut ledger);
    let held: Vec<_> = (0..51).map(|_| ledger.reserve(id, 1).expect("room")).collect();
    let requests = ledger.take_requests();
    assert_eq!((requests[0].granted, requests[0].open), (151, 151), "a whole block free again");
    ledger.granted(&requests[0]);
    held.into_iter().for_each(|reservation| ledger.settle(reservation, 1));
    let mut other = opened(10_000);
    other.0.want(other.1, 700);
    assert_eq!(other.0.take_requests()[0].granted, 700);
}

#[test]
fn a_failed_grant_is_asked_for_again_after_a_second() {
    let (mut ledger, id) = opened(100);
    ledger.want(id, 1);
    let request = ledger.take_requests().remove(0);
    ledger.failed(&request, noon());
    assert_eq!(ledger.room(id, noon()), Room::Pending);
    assert_eq!(ledger.room(id, noon().plus(RETRY)), Room::Askable);
    ledger.want(id, 1);
    assert_eq!(ledger.take_requests(), [request]);
}

#[test]
fn a_new_day_starts_at_zero_and_keeps_leases_of_the_night_in_both() {
    let (mut ledger, id) = opened(10);
    let over_midnight = reserve(&mut ledger, id, 4).expect("room");
    let midnight = at("2026-05-20T22:00:00Z");
    assert_eq!(ledger.day().end, midnight);
    assert!(!ledger.roll(Wall::from_millis(midnight.as_millis() - 1)));
    assert!(ledger.roll(midnight));
    assert_eq!(ledger.day().date, date(2026, 5, 21));
    let rest = reserve(&mut ledger, id, 10).expect("room");
    assert_eq!(rest.recipients, 6, "four may still be accepted today");
    ledger.settle(over_midnight, 1);
    assert_eq!((ledger.account(id).used(), ledger.room(id, midnight)), (1, Room::Free(3)));
    ledger.settle(rest, 6);
    assert_eq!((ledger.account(id).used(), ledger.account(id).reserved()), (7, 0));
}

#[test]
fn a_grant_of_yesterday_that_arrives_today_gives_nothing() {
    let (mut ledger, id) = opened(10);
    ledger.want(id, 10);
    let late = ledger.take_requests().remove(0);
    ledger.roll(noon().plus(24 * HOUR));
    assert_eq!(ledger.granted(&late), None);
    assert_eq!(ledger.room(id, noon()), Room::Askable);
}

#[test]
fn a_clock_set_back_never_gives_allowance_twice() {
    let (mut ledger, id) = opened(10);
    ledger.roll(noon().plus(24 * HOUR));
    let all = reserve(&mut ledger, id, 10).expect("room");
    ledger.settle(all, 10);
    for back in [noon(), noon().plus(24 * HOUR)] {
        assert!(!ledger.roll(back));
        assert_eq!(ledger.room(id, back), Room::Exhausted);
    }
    // Restarted while the clock is back.
    let facts = [GrantFact::new("binding/mta1", date(2026, 5, 21), 10)];
    let mut again = Ledger::new(berlin(), &facts, noon());
    let id = again.open(owner(), 10);
    assert_eq!((again.day().date, again.room(id, noon())), (date(2026, 5, 21), Room::Exhausted));
}

#[test]
fn a_clock_that_leaps_away_while_it_is_back_returns_to_the_later_day() {
    let (mut ledger, id) = opened(10);
    ledger.roll(noon().plus(24 * HOUR));
    let all = reserve(&mut ledger, id, 10).expect("room");
    ledger.settle(all, 10);
    assert!(!ledger.roll(noon()), "a day back");
    ledger.roll(at("1971-05-20T12:00:00Z"));
    for now in [noon(), noon().plus(24 * HOUR)] {
        ledger.roll(now);
        assert_eq!((ledger.day().date, ledger.room(id, now)), (date(2026, 5, 21), Room::Exhausted));
    }
}

#[test]
fn a_day_recorded_by_a_clock_that_was_years_ahead_counts_today_and_then_no_more() {
    let facts = [GrantFact::new("binding/mta1", date(2037, 1, 1), 10)];
    let mut ledger = Ledger::new(berlin(), &facts, noon());
    let id = ledger.open(owner(), 10);
    assert_eq!((ledger.day().date, ledger.room(id, noon())), (date(2026, 5, 20), Room::Exhausted));
    assert!(ledger.roll(noon().plus(24 * HOUR)));
    assert_eq!(ledger.room(id, noon()), Room::Askable);
    // The same without a restart.
    assert!(ledger.roll(at("2037-01-01T12:00:00Z")));
    let all = reserve(&mut ledger, id, 10).expect("room");
    ledger.settle(all, 10);
    assert!(ledger.roll(noon().plus(24 * HOUR)));
    assert_eq!(ledger.room(id, noon()), Room::Exhausted);
    assert!(ledger.roll(noon().plus(48 * HOUR)));
    assert_eq!(ledger.room(id, noon()), Room::Free(10));
}

#[test]
fn after_a_crash_everything_granted_counts_and_after_a_clean_stop_only_what_was_used() {
    let (mut ledger, id) = opened(1_000);
    let some = reserve(&mut ledger, id, 3).expect("room");
    ledger.settle(some, 3);
    let fact = |granted| GrantFact::new("binding/mta1", date(2026, 5, 20), granted);
    for (facts, used) in [(vec![fact(10)], 10), (ledger.exact(), 3)] {
        let mut again = Ledger::new(berlin(), &facts, noon());
        let id = again.open(owner(), 1_000);
        assert_eq!(again.account(id).used(), used);
    }
}

#[test]
fn what_fills_the_new_day_from_midnight_on_is_known_after_a_restart() {
    let midnight = at("2026-05-20T22:00:00Z");
    for is_clean in [true, false] {
        let (mut ledger, id) = opened(10);
        ledger.want(id, 10);
        let all = reserve(&mut ledger, id, 10).expect("room");
        ledger.roll(midnight);
        ledger.ask_for_first();
        let written = ledger.take_requests();
        assert_eq!(written[0].granted, 10, "nothing is free, and yet it has to be written");
        ledger.granted(&written[0]);
        ledger.settle(all, 10);
        let facts = if is_clean { ledger.exact() } else { written };
        let mut again = Ledger::new(berlin(), &facts, midnight);
        let id = again.open(owner(), 10);
        assert_eq!(again.room(id, midnight), Room::Exhausted, "clean: {is_clean}");
    }
}

#[test]
fn what_was_sent_before_there_was_a_cap_is_written_with_it() {
    let (mut ledger, id) = opened(Ledger::UNLIMITED);
    let many = ledger.reserve(id, 600).expect("no cap");
    ledger.settle(many, 600);
    ledger.ask_for_first();
    assert!(ledger.take_requests().is_empty(), "no cap, no grants");
    ledger.set_limit(id, 500);
    ledger.ask_for_first();
    let facts = ledger.take_requests();
    let mut again = Ledger::new(berlin(), &facts, noon());
    let id = again.open(owner(), 500);
    assert_eq!((again.account(id).used(), again.room(id, noon())), (600, Room::Exhausted));
}

#[test]
fn a_changed_cap_keeps_the_count_also_where_there_was_none() {
    let (mut ledger, id) = opened(Ledger::UNLIMITED);
    let many = ledger.reserve(id, 600).expect("no cap");
    ledger.settle(many, 600);
    assert!(ledger.take_requests().is_empty(), "no cap, no grants");
    ledger.set_limit(id, 1_000);
    ledger.want(id, 1_000);
    assert_eq!(reserve(&mut ledger, id, 1_000).expect("room").recipients, 400);
    let (mut ledger, id) = opened(100);
    let some = reserve(&mut ledger, id, 60).expect("room");
    ledger.settle(some, 60);
    ledger.set_limit(id, 50);
    assert_eq!(ledger.room(id, noon()), Room::Exhausted);
    ledger.set_limit(id, 70);
    let rest: u32 = std::iter::from_fn(|| reserve(&mut ledger, id, 99)).map(|reservation| reservation.recipients).sum();
    assert_eq!(rest, 10);
}

#[test]
fn a_key_met_empty_asks_for_larger_blocks_up_to_a_twentieth() {
    let (mut ledger, id) = opened(10_000);
    let mut sizes = Vec::new();
    for _ in 0..6 {
        let before = ledger.account(id).granted();
        if ledger.room(id, noon()) == Room::Askable {
            ledger.want(id, 1);
        }
        grant(&mut ledger);
        sizes.push(ledger.account(id).granted() - before);
        while let Room::Free(free) = ledger.room(id, noon()) {
            let _ = ledger.reserve(id, free as u32);
            ledger.take_requests();
            ledger.accounts[0].pending = None;
        }
    }
    assert_eq!(sizes, [100, 200, 400, 500, 500, 500]);
}

#[test]
fn even_pace_follows_the_part_of_the_day_that_has_passed() {
    let (mut ledger, id) = opened(2_400);
    // 12:00 of a day of 24 hours: half of it, and a burst of 2.
    assert_eq!(ledger.paced(id, Pace::Even, noon()), Ok(1_202));
    ledger.want(id, 2_400);
    grant(&mut ledger);
    let taken = ledger.reserve(id, 1_202).expect("room");
    ledger.settle(taken, 1_202);
    let next = ledger.paced(id, Pace::Even, noon()).expect_err("ahead");
    assert_eq!(next, noon().plus(HOUR / 100));
    assert_eq!(ledger.paced(id, Pace::Even, next), Ok(1));
    assert_eq!(ledger.paced(id, Pace::Even, ledger.day().end), Ok(1_198));
    let (ledger, id) = opened(Ledger::UNLIMITED);
    assert_eq!(ledger.paced(id, Pace::Even, noon()), Ok(u64::MAX));
}

#[test]
fn two_nodes_on_one_store_never_exceed_the_cap_together() {
    let mut store = MemoryGrants::default();
    let mut nodes = [opened(100), opened(100)];
    let mut accepted = 0;
    for round in 0..400usize {
        let (ledger, id) = &mut nodes[round % 3 % 2];
        if ledger.room(*id, noon()) == Room::Askable {
            ledger.want(*id, 3);
        }
        for request in ledger.take_requests() {
            let given = store.raise(["a", "b"][round % 3 % 2], 100, &request);
            ledger.granted(&given.unwrap_or_else(|never| match never {}));
        }
        if let Some(reservation) = ledger.reserve(*id, 3) {
            accepted += reservation.recipients;
            ledger.settle(reservation, 3);
        }
    }
    assert_eq!(accepted, 100);
    assert!(nodes.iter().all(|(ledger, id)| ledger.room(*id, noon()) == Room::Exhausted));
}

#[test]
fn what_was_on_the_wire_at_midnight_is_known_though_nothing_of_the_new_day_was_written() {
    let midnight = at("2026-05-20T22:00:00Z");
    let (mut ledger, id) = opened(100);
    ledger.want(id, 1);
    let written = ledger.take_requests();
    ledger.granted(&written[0]);
    let carried = ledger.reserve(id, 10).expect("room");
    ledger.roll(midnight);
    assert_eq!(ledger.room(id, midnight), Room::Free(6), "a day begins with what yesterday's fact covers");
    ledger.settle(carried, 10);
    // A crash now, with the fact of yesterday as all there is.
    let mut again = Ledger::new(berlin(), &written, midnight);
    let id = again.open(owner(), 100);
    assert_eq!(again.account(id).used(), 16);
    again.ask_for_first();
    let request = again.take_requests().remove(0);
    assert_eq!((request.day, request.granted, request.open), (date(2026, 5, 21), 32, 16));
}

#[test]
fn what_was_on_the_wire_of_a_crash_counts_tomorrow_only_shortly_before_midnight() {
    let fact = GrantFact { open: 6, ..GrantFact::new("binding/mta1", date(2026, 5, 20), 20) };
    let midnight = at("2026-05-20T22:00:00Z");
    for (restart, tomorrow) in [("2026-05-20T20:59:59Z", 0), ("2026-05-20T21:00:00Z", 6), ("2026-05-20T21:59:59Z", 6)] {
        let mut ledger = Ledger::new(berlin(), std::slice::from_ref(&fact), at(restart));
        let id = ledger.open(owner(), 100);
        assert_eq!(ledger.account(id).used(), 20);
        ledger.roll(midnight);
        assert_eq!(ledger.account(id).used(), tomorrow, "{restart}");
    }
}

#[test]
fn a_fact_of_an_earlier_version_says_nothing_of_the_next_day() {
    let fact = GrantFact::read("binding/mta1", br#"{"key":"binding/mta1","day":"2026-05-19","granted":90}"#);
    let mut ledger = Ledger::new(berlin(), &[fact.expect("fact")], noon());
    let id = ledger.open(owner(), 100);
    assert_eq!((ledger.account(id).used(), ledger.room(id, noon())), (0, Room::Askable));
}

#[test]
fn a_crash_wastes_at_most_a_block_today_and_a_clean_stop_nothing() {
    for (limit, block) in [(1, 1), (9, 1), (10, 2), (50, 10), (79, 15), (80, 16), (100, 16), (1_000, 16), (16_000, 160)]
    {
        for sent in 0..limit.min(400) {
            let (mut ledger, id) = opened(limit);
            let mut disk = Vec::new();
            ledger.ask_for_first();
            for _ in 0..sent {
                for request in ledger.take_requests() {
                    ledger.granted(&request);
                    disk = vec![request];
                }
                let one = ledger.reserve(id, 1).expect("room");
                ledger.settle(one, 1);
            }
            let after = |facts: &[GrantFact]| {
                let mut again = Ledger::new(berlin(), facts, noon());
                let id = again.open(owner(), limit);
                again.account(id).used() - sent
            };
            assert!(sent == 0 || after(&disk) <= block, "{} of {limit} after {sent}", after(&disk));
            assert_eq!(after(&ledger.exact()), 0);
        }
    }
}

#[test]
fn a_clock_far_wrong_at_start_and_then_right_gives_no_allowance_twice() {
    let facts = [GrantFact::new("binding/mta1", date(2026, 5, 20), 90)];
    for wrong in ["1970-01-01T00:10:00Z", "2037-01-01T12:00:00Z"] {
        for is_restarted in [false, true] {
            let mut ledger = Ledger::new(berlin(), &facts, at(wrong));
            let mut id = ledger.open(owner(), 100);
            let some = reserve(&mut ledger, id, 5).expect("room");
            ledger.settle(some, 5);
            if is_restarted {
                ledger = Ledger::new(berlin(), &ledger.exact(), noon());
                id = ledger.open(owner(), 100);
            } else {
                assert!(ledger.roll(noon()));
                assert_eq!(ledger.reserve(id, 1), None, "nothing before it is written");
            }
            assert_eq!((ledger.day().date, ledger.account(id).used()), (date(2026, 5, 20), 95), "{wrong}");
            assert_eq!(reserve(&mut ledger, id, 100).map(|rest| rest.recipients), Some(5));
        }
    }
}

#[test]
fn a_count_under_a_key_with_two_readings_is_taken_over_by_both_once() {
    let facts = [GrantFact::new("route/a/b/c", date(2026, 5, 20), 90)];
    let (plain, slashed) = (Owner::Route("a".into(), "b/c".into()), Owner::Route("a/b".into(), "c".into()));
    let mut ledger = Ledger::new(berlin(), &facts, noon());
    let ids = [ledger.open(plain.clone(), 100), ledger.open(slashed.clone(), 100)];
    assert_eq!(ids.map(|id| ledger.account(id).used()), [90, 90]);
    ledger.ask_for_first();
    let some = reserve(&mut ledger, ids[0], 5).expect("room");
    ledger.settle(some, 5);
    let mut again = Ledger::new(berlin(), &ledger.exact(), noon());
    assert_eq!([plain, slashed].map(|owner| again.open(owner, 100)).map(|id| again.account(id).used()), [95, 90]);
}

#[test]
fn numbers_that_nobody_counted_do_no_harm() {
    let facts = [
        GrantFact { open: u64::MAX, ..GrantFact::new("binding/mta1", date(2026, 5, 20), u64::MAX) },
        GrantFact { others: vec![(date(2026, 5, 20), u64::MAX)], ..GrantFact::new("tenant/x", date(2037, 1, 1), 5) },
        GrantFact { open: u64::MAX, ..GrantFact::new("tenant/y", date(2026, 5, 19), 5) },
    ];
    let mut ledger = Ledger::new(berlin(), &facts, at("2026-05-20T21:30:00Z"));
    let ids = [owner(), Owner::Tenant("x".into()), Owner::Tenant("y".into())].map(|owner| ledger.open(owner, 100));
    for wall in ["2026-05-20T21:30:00Z", "2026-05-20T22:00:00Z", "2026-05-22T22:00:00Z", "2037-01-01T00:00:00Z"].map(at)
    {
        ledger.roll(wall);
        ledger.ask_for_first();
        grant(&mut ledger);
        for id in ids {
            if let Some(some) = ledger.reserve(id, 3) {
                ledger.settle(some, 2);
            }
            assert!(ledger.account(id).share_of(Ledger::UNLIMITED) > 0);
        }
        assert_eq!(ledger.exact().len(), 3);
    }
}

#[test]
fn a_repeated_or_smeared_second_opens_no_day_twice() {
    let utc = Calendar::new(&crate::config::Day { timezone: jiff::tz::TimeZone::UTC, starts: Time::midnight() });
    let mut ledger = Ledger::new(utc, &[], at("2016-12-31T23:59:58Z"));
    let id = ledger.open(owner(), 10);
    // jiff reads the leap second itself as the one before.
    assert_eq!(at("2016-12-31T23:59:60Z"), at("2016-12-31T23:59:59Z"));
    let mut rolls = Vec::new();
    for text in ["23:59:59Z", "23:59:60Z", "23:59:59.999Z"].map(|time| format!("2016-12-31T{time}")) {
        rolls.push(ledger.roll(at(&text)));
    }
    rolls.push(ledger.roll(at("2017-01-01T00:00:00Z")));
    let all = reserve(&mut ledger, id, 10).expect("room");
    ledger.settle(all, 10);
    // A clock that repeats the second after it has shown midnight.
    for text in ["2016-12-31T23:59:59.500Z", "2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z", "2017-01-01T00:00:01Z"] {
        rolls.push(ledger.roll(at(text)));
        assert_eq!((ledger.day().date, ledger.room(id, at(text))), (date(2017, 1, 1), Room::Exhausted));
    }
    assert_eq!(rolls, [false, false, false, true, false, false, false, false]);
}

#[test]
fn another_time_zone_keeps_the_count_and_the_later_date() {
    let zone = |name: &str| {
        let timezone = jiff::tz::TimeZone::get(name).expect("zone");
        Calendar::new(&crate::config::Day { timezone, starts: Time::midnight() })
    };
    let (mut ledger, id) = opened(10);
    let all = reserve(&mut ledger, id, 10).expect("room");
    ledger.settle(all, 10);
    // Still the 20th everywhere west; already the 21st on Kiritimati, and the 20th again nowhere.
    ledger.set_calendar(zone("America/Los_Angeles"), noon());
    assert_eq!((ledger.day().date, ledger.room(id, noon())), (date(2026, 5, 20), Room::Exhausted));
    ledger.set_calendar(zone("Pacific/Kiritimati"), noon());
    assert_eq!(ledger.day().date, date(2026, 5, 21));
    let all = reserve(&mut ledger, id, 10).expect("room");
    ledger.settle(all, 10);
    ledger.set_calendar(berlin(), noon());
    assert_eq!((ledger.day().date, ledger.room(id, noon())), (date(2026, 5, 21), Room::Exhausted));
}

#[test]
fn an_unreadable_count_is_used_up_today_and_not_tomorrow() {
    let unreadable = GrantFact::read("binding/mta1", b"").expect_err("unreadable").fact;
    let mut ledger = Ledger::new(berlin(), &[unreadable], noon());
    let id = ledger.open(owner(), 10);
    assert_eq!(ledger.room(id, noon()), Room::Exhausted);
    ledger.ask_for_first();
    let request = ledger.take_requests().remove(0);
    assert!(request.others.is_empty() && request.day == date(2026, 5, 20));
    assert_eq!(ledger.exact()[0].day, date(2026, 5, 20));
    ledger.roll(noon().plus(24 * HOUR));
    assert_eq!(ledger.room(id, noon().plus(24 * HOUR)), Room::Askable);
}

#[test]
fn what_is_given_back_under_a_new_name_of_the_day_waits_for_the_disk_too() {
    let (mut ledger, id) = opened(10);
    let some = reserve(&mut ledger, id, 8).expect("room");
    assert!(ledger.roll(at("1970-01-01T12:00:00Z")));
    ledger.settle(some, 0);
    assert_eq!(ledger.room(id, noon()), Room::Askable);
    assert!(reserve(&mut ledger, id, 8).is_some());
}
