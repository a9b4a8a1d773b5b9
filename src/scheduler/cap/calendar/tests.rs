//! Days, their edges and their hours, in ordinary zones and in odd ones.

use super::*;
use jiff::civil::{date, time};
use proptest::prelude::*;

fn calendar(zone: &str, starts: Time) -> Calendar {
    Calendar { zone: TimeZone::get(zone).expect("known zone"), starts }
}

fn at(text: &str) -> Wall {
    Wall::from(text.parse::<jiff::Timestamp>().expect("timestamp"))
}

fn hours(day: Day) -> u64 {
    day.end.since(day.start).as_secs() / 3600
}

#[test]
fn days_follow_local_midnight_and_the_change_of_clocks() {
    let berlin = calendar("Europe/Berlin", Time::midnight());
    for (moment, expected, length) in [
        ("2026-01-15T22:59:59.999Z", date(2026, 1, 15), 24),
        ("2026-01-15T23:00:00Z", date(2026, 1, 16), 24),
        ("2026-03-29T00:59:59Z", date(2026, 3, 29), 23),
        ("2026-03-29T21:59:59Z", date(2026, 3, 29), 23),
        ("2026-03-29T22:00:00Z", date(2026, 3, 30), 24),
        ("2026-10-25T22:59:59Z", date(2026, 10, 25), 25),
        ("2026-10-25T23:00:00Z", date(2026, 10, 26), 24),
    ] {
        let day = berlin.day(at(moment));
        assert_eq!((day.date, hours(day)), (expected, length), "{moment}");
    }
}

#[test]
fn a_start_in_the_hour_that_comes_twice_or_never_starts_the_day_once() {
    let berlin = calendar("Europe/Berlin", time(2, 30, 0, 0));
    // 25 October 2026: 02:30 comes at 00:30Z and at 01:30Z. 02:10 for the second time is after the start.
    assert_eq!(berlin.day(at("2026-10-25T00:29:59Z")).date, date(2026, 10, 24));
    assert_eq!(berlin.day(at("2026-10-25T00:30:00Z")).date, date(2026, 10, 25));
    assert_eq!(berlin.day(at("2026-10-25T01:10:00Z")).date, date(2026, 10, 25));
    // 29 March 2026: there is no 02:30; the day starts at 03:30 summer time.
    assert_eq!(berlin.day(at("2026-03-29T01:29:59Z")).date, date(2026, 3, 28));
    assert_eq!(berlin.day(at("2026-03-29T01:30:00Z")).date, date(2026, 3, 29));
}

#[test]
fn a_zone_that_skips_midnight_or_a_whole_date_still_has_days_without_holes() {
    // Beirut goes forward at midnight; Samoa had no 30 December 2011.
    let beirut = calendar("Asia/Beirut", Time::midnight());
    let day = beirut.day(at("2024-03-30T22:00:00Z"));
    assert_eq!((day.date, hours(day)), (date(2024, 3, 31), 23));
    let apia = calendar("Pacific/Apia", Time::midnight());
    let before = apia.day(at("2011-12-30T09:59:59Z"));
    let after = apia.day(before.end);
    assert_eq!(before.date, date(2011, 12, 29));
    assert!(after.contains(before.end) && after.date > before.date);
}

proptest! {
    #[test]
    fn every_moment_lies_in_its_day(
        millis in -2_000_000_000_000i64..4_000_000_000_000,
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"]),
        hour in 0i8..24, minute in 0i8..60,
    ) {
        let calendar = calendar(zone, time(hour, minute, 0, 0));
        let wall = Wall::from_millis(millis);
        let day = calendar.day(wall);
        prop_assert!(day.contains(wall), "{wall} {day:?}");
        prop_assert!(calendar.day(day.end).start == day.end);
    }
}

/// The zones of the database that is in use, and starts of the day in hours that are skipped or come twice.
fn all_zones() -> Vec<String> {
    let names: Vec<String> = jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect();
    assert!(names.len() > 300, "{}", names.len());
    names
}

/// Days follow each other without hole or overlap around `wall`, each with its hours in order.
fn check_around(calendar: &Calendar, wall: Wall) -> Result<(), String> {
    let mut day = calendar.day(wall);
    if !day.contains(wall) {
        return Err(format!("{wall} is not in {day:?}"));
    }
    for _ in 0..3 {
        let next = calendar.day(day.end);
        if next.start != day.end || next.date <= day.date {
            return Err(format!("{next:?} after {day:?}"));
        }
        let last = Wall::from_millis(day.end.as_millis() - 1);
        if calendar.day(day.start) != day || calendar.day(last) != day {
            return Err(format!("{day:?} has other days in it"));
        }
        let hours = calendar.hours(&day);
        let edges: Vec<_> = (0..24).map(|hour| hours.of(hour)).collect();
        let is_whole = edges[0].0 == day.start && edges[23].1 == day.end;
        if !is_whole || edges.iter().any(|(begin, end)| begin > end) || edges.windows(2).any(|w| w[0].1 != w[1].0) {
            return Err(format!("hours of {day:?}: {hours:?}"));
        }
        if hours.at(day.start).is_none() || hours.at(day.end).is_some() || hours.at(last).is_none() {
            return Err(format!("moments of {day:?} in {hours:?}"));
        }
        day = next;
    }
    Ok(())
}

#[test]
fn days_have_neither_holes_nor_overlaps_where_any_zone_changed_its_clocks() {
    let starts = [Time::midnight(), time(0, 30, 0, 0), time(2, 30, 0, 0), time(12, 0, 0, 0), time(23, 59, 0, 0)];
    for (n, name) in all_zones().into_iter().enumerate() {
        let zone = TimeZone::get(&name).expect("listed");
        let from = at("1840-01-01T00:00:00Z").timestamp();
        let changes: Vec<_> = zone.following(from).take(400).map(|change| Wall::from(change.timestamp())).collect();
        // Zones share rules, so over all of them each change meets each start of the day.
        for (i, change) in changes.into_iter().enumerate().filter(|(i, _)| (i + n) % 23 == 0) {
            let calendar = Calendar { zone: zone.clone(), starts: starts[(i + 3 * n) % starts.len()] };
            let before = Wall::from_millis(change.as_millis() - 30 * 3_600_000);
            for wall in [before, Wall::from_millis(change.as_millis() - 1), change] {
                if let Err(what) = check_around(&calendar, wall) {
                    panic!("{name} {}: {what}", calendar.starts);
                }
            }
        }
    }
}

#[test]
fn days_of_odd_changes_have_their_real_length() {
    for (zone, starts, moment, expected, minutes) in [
        ("Australia/Lord_Howe", time(0, 0, 0, 0), "2026-04-04T14:00:00Z", date(2026, 4, 5), 24 * 60 + 30),
        ("Australia/Lord_Howe", time(2, 15, 0, 0), "2026-10-03T16:00:00Z", date(2026, 10, 4), 24 * 60 - 30),
        // Forward at midnight: the day begins at one.
        ("Asia/Beirut", time(0, 0, 0, 0), "2026-03-28T22:00:00Z", date(2026, 3, 29), 23 * 60),
        ("Africa/Cairo", time(0, 0, 0, 0), "2026-04-24T12:00:00Z", date(2026, 4, 24), 23 * 60),
        ("America/Santiago", time(0, 0, 0, 0), "2026-09-06T12:00:00Z", date(2026, 9, 6), 23 * 60),
        // Back at midnight: the last hour comes twice.
        ("America/Santiago", time(0, 0, 0, 0), "2026-04-05T03:30:00Z", date(2026, 4, 4), 25 * 60),
        ("Africa/Cairo", time(0, 0, 0, 0), "2026-10-29T21:30:00Z", date(2026, 10, 29), 25 * 60),
        // Back from one minute past midnight to the day before, which had ended.
        ("America/St_Johns", time(0, 0, 0, 0), "2008-11-02T02:45:00Z", date(2008, 11, 2), 25 * 60),
        // A date that was skipped, with the day starting at noon; one that was lived twice.
        ("Pacific/Apia", time(12, 0, 0, 0), "2011-12-30T15:00:00Z", date(2011, 12, 29), 24 * 60),
        ("Pacific/Kwajalein", time(0, 0, 0, 0), "1993-08-21T11:00:00Z", date(1993, 8, 20), 24 * 60),
        ("America/Juneau", time(0, 0, 0, 0), "1867-10-18T20:00:00Z", date(1867, 10, 19), 48 * 60),
    ] {
        let calendar = calendar(zone, starts);
        let day = calendar.day(at(moment));
        let length = (day.end.since(day.start).as_secs() + 30) / 60;
        assert_eq!((day.date, length), (expected, minutes), "{zone} {moment}: {day:?}");
        check_around(&calendar, at(moment)).expect(zone);
    }
}

#[test]
fn leap_seconds_neighbours_lie_on_their_own_sides_of_midnight() {
    let utc = calendar("UTC", Time::midnight());
    for (moment, expected) in [
        ("2016-12-31T23:59:59Z", date(2016, 12, 31)),
        ("2016-12-31T23:59:60Z", date(2016, 12, 31)),
        ("2016-12-31T23:59:59.999Z", date(2016, 12, 31)),
        ("2017-01-01T00:00:00Z", date(2017, 1, 1)),
    ] {
        assert_eq!((utc.day(at(moment)).date, hours(utc.day(at(moment)))), (expected, 24), "{moment}");
    }
}

#[test]
fn the_ends_of_the_calendar_have_days_too() {
    for zone in ["UTC", "Pacific/Kiritimati", "America/Los_Angeles"] {
        for millis in [i64::MIN, i64::MAX, i64::MIN / 2, jiff::Timestamp::MIN.as_millisecond()] {
            let calendar = calendar(zone, time(23, 30, 0, 0));
            let day = calendar.day(Wall::from_millis(millis));
            assert!(day.start <= day.end, "{day:?}");
            let hours = calendar.hours(&day);
            assert!(hours.of(0).0 <= hours.of(23).1);
        }
    }
}
