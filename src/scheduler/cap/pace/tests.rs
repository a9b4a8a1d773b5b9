//! Shares of the day, and the moments that refusals name.

use jiff::civil::Time;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::super::Calendar;
use super::*;

fn at(text: &str) -> Wall {
    Wall::from(text.parse::<jiff::Timestamp>().expect("timestamp"))
}

fn day_of(zone: &str, starts: Time, text: &str) -> (Day, Hours) {
    let timezone = TimeZone::get(zone).expect("zone");
    let calendar = Calendar::new(&crate::config::Day { timezone, starts });
    let day = calendar.day(at(text));
    (day, calendar.hours(&day))
}

fn pace(shares: [u16; 24]) -> Pace {
    Pace::Hours(HourShares::new(shares).expect("not all 0"))
}

/// Nine to five, with a pause at twelve.
fn office() -> Pace {
    let mut shares = [0; 24];
    shares[9..17].fill(10);
    shares[12] = 0;
    pace(shares)
}

#[test]
fn each_hour_gives_its_share_and_what_it_leaves_over_is_there_for_the_next() {
    let (day, hours) = day_of("Europe/Berlin", Time::midnight(), "2026-05-20T10:00:00Z");
    let fit = |time: &str, taken| fit(&office(), 7_000, taken, &day, &hours, at(&format!("2026-05-20T{time}+02:00")));
    let local = |time: &str| at(&format!("2026-05-20T{time}+02:00"));
    assert_eq!(fit("00:00:00", 0), Err(local("09:00:00")), "the night has no share, and no burst");
    assert_eq!(fit("09:00:00", 0), Ok(7), "a thousandth ahead");
    assert_eq!(fit("09:30:00", 0), Ok(507));
    assert_eq!(fit("09:30:00", 507), Err(at("2026-05-20T07:30:03.600Z")));
    assert_eq!(fit("09:59:59", 1_000), Err(local("10:00:00")), "never more than the hour ends with");
    assert_eq!(fit("11:59:59", 400), Ok(2_600), "what was left over");
    assert_eq!(fit("12:30:00", 400), Ok(2_600), "also in an hour that has no share");
    assert_eq!(fit("12:30:00", 3_000), Err(local("13:00:00")));
    assert_eq!(fit("16:59:59", 100), Ok(6_900));
    assert_eq!(fit("23:00:00", 6_999), Ok(1));
    assert_eq!(fit("23:00:00", 7_000), Err(day.end));
}

#[test]
fn nine_oclock_is_nine_oclock_on_the_days_the_clocks_change() {
    for (date, opens) in
        [("2026-03-29", "07:00"), ("2026-10-25", "08:00"), ("2026-10-26", "08:00"), ("2026-03-28", "08:00")]
    {
        let (day, hours) = day_of("Europe/Berlin", Time::midnight(), &format!("{date}T12:00:00Z"));
        let opens = at(&format!("{date}T{opens}:00Z"));
        assert_eq!(fit(&office(), 7_000, 0, &day, &hours, day.start), Err(opens), "{date}");
    }
}

#[test]
fn a_missing_hour_gives_its_share_at_once_and_a_double_one_over_both() {
    let only_two = |date: &'static str| {
        let mut shares = [0; 24];
        shares[2] = 1;
        let (day, hours) = day_of("Europe/Berlin", Time::midnight(), &format!("{date}T12:00:00Z"));
        move |time: &str, taken| fit(&pace(shares), 1_000, taken, &day, &hours, at(&format!("{date}T{time}Z")))
    };
    let spring = only_two("2026-03-29");
    assert_eq!(spring("00:59:59", 0), Err(at("2026-03-29T01:00:00Z")));
    assert_eq!(spring("01:00:00", 0), Ok(1_000), "02:00 to 03:00 does not come");
    let autumn = only_two("2026-10-25");
    assert_eq!(autumn("00:30:00", 0), Ok(251), "02:30 summer time, a quarter of two hours");
    assert_eq!(autumn("01:30:00", 0), Ok(751), "02:30 winter time");
}

#[test]
fn the_first_share_is_of_the_hour_that_begins_with_the_day() {
    let mut shares = [0; 24];
    (shares[0], shares[23]) = (1, 1);
    let (day, hours) = day_of("UTC", jiff::civil::time(7, 30, 0, 0), "2026-05-20T12:00:00Z");
    let fit = |text, taken| fit(&pace(shares), 100, taken, &day, &hours, at(text));
    assert_eq!(fit("2026-05-20T07:30:00Z", 0), Ok(1));
    assert_eq!(fit("2026-05-20T08:30:00Z", 0), Ok(50));
    assert_eq!(fit("2026-05-20T08:30:00Z", 50), Err(at("2026-05-21T06:30:00Z")));
    assert_eq!(fit("2026-05-21T07:29:59Z", 50), Ok(50));
}

#[test]
fn the_ends_of_numbers_and_of_time_do_no_harm() {
    let full = pace([u16::MAX; 24]);
    for text in ["-009999-01-03T00:00:00Z", "2026-05-20T12:00:00Z", "9999-12-29T00:00:00Z"] {
        let (day, hours) = day_of("UTC", Time::midnight(), text);
        for wall in [Wall::from_millis(i64::MIN), day.start, at(text), day.end, Wall::from_millis(i64::MAX)] {
            for limit in [0, 1, 2, 23, u64::MAX - 1] {
                for taken in [0, limit / 2, limit.saturating_sub(1), limit, u64::MAX] {
                    for pace in [full, office(), Pace::Even, Pace::None] {
                        let fits = fit(&pace, limit, taken, &day, &hours, wall);
                        let left = limit.saturating_sub(taken);
                        assert!(pace == Pace::None || fits.is_err() || fits.is_ok_and(|n| (1..=left).contains(&n)));
                    }
                }
            }
        }
    }
}

fn any_pace() -> impl Strategy<Value = Pace> {
    let some = prop::collection::vec(prop_oneof![2 => Just(0u16), 3 => 0u16..20, 1 => any::<u16>()], 24);
    let hours =
        some.prop_filter_map("all 0", |shares| HourShares::new(<[u16; 24]>::try_from(shares).ok()?).map(Pace::Hours));
    prop_oneof![1 => Just(Pace::Even), 4 => hours]
}

/// A zone, a start of the day and a moment: ordinary days and those on which clocks change.
fn any_day() -> impl Strategy<Value = (Day, Hours)> {
    let places = vec![
        ("UTC", "2026-05-20T12:00:00Z"),
        ("Europe/Berlin", "2026-03-29T12:00:00Z"),
        ("Europe/Berlin", "2026-10-25T12:00:00Z"),
        ("Australia/Lord_Howe", "2026-04-05T00:00:00Z"),
        ("Australia/Lord_Howe", "2026-10-04T00:00:00Z"),
        ("Antarctica/Troll", "2026-03-29T12:00:00Z"),
        ("Antarctica/Troll", "2026-10-25T12:00:00Z"),
        ("Asia/Beirut", "2024-03-31T12:00:00Z"),
        ("America/Havana", "2024-11-03T12:00:00Z"),
        ("America/St_Johns", "2008-11-02T12:00:00Z"),
        ("Pacific/Apia", "2011-12-30T05:00:00Z"),
        ("America/Juneau", "1867-10-18T12:00:00Z"),
    ];
    (prop::sample::select(places), 0i8..24, prop::sample::select(vec![0i8, 15, 30, 59]))
        .prop_map(|((zone, moment), hour, minute)| day_of(zone, jiff::civil::time(hour, minute, 0, 0), moment))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_moment_given_is_the_first_at_which_one_fits(
        pace in any_pace(),
        (day, hours) in any_day(),
        limit in prop_oneof![3 => 1u64..50, 3 => 1u64..100_000, 1 => 1u64..u64::MAX],
        (part, spent) in (0u64..1_000, 0u64..=1_000),
    ) {
        let length = day.end.since(day.start).as_millis() as u64;
        let wall = day.start.plus(Duration::from_millis(length * part / 1_000));
        let taken = (u128::from(limit - 1) * u128::from(spent) / 1_000) as u64;
        let ask = |wall| fit(&pace, limit, taken, &day, &hours, wall);
        let before = |wall: Wall| Wall::from_millis(wall.as_millis() - 1);
        match ask(wall) {
            Ok(n) => prop_assert!(n >= 1 && n <= limit - taken),
            Err(until) => {
                prop_assert!(wall < until && until <= day.end);
                prop_assert!(ask(until).is_ok(), "not at {until}");
                prop_assert_eq!(ask(before(until)), Err(until), "already a millisecond before");
            }
        }
        prop_assert_eq!(ask(day.end), Ok(limit - taken), "all of it by the end");
    }

    #[test]
    fn spending_what_fits_ends_at_the_limit_and_never_above_the_hours(
        pace in any_pace(),
        (day, hours) in any_day(),
        limit in 1u64..60,
    ) {
        let (mut wall, mut taken, mut rounds) = (day.start, 0, 0);
        while taken < limit {
            match fit(&pace, limit, taken, &day, &hours, wall) {
                Ok(_) => taken += 1,
                Err(until) => {
                    prop_assert!(until > wall && until <= day.end);
                    wall = until;
                }
            }
            if let (Pace::Hours(shares), Some(hour)) = (pace, hours.at(wall)) {
                let most = u64::from(shares.before(hour + 1)) * limit / u64::from(shares.total());
                prop_assert!(taken <= most, "{taken} of {most} in hour {hour}");
            }
            rounds += 1;
            prop_assert!(rounds <= 2 * limit + 24);
        }
    }
}
