//! Values that only a scenario knows: moments counted from its start, spans of days, weekdays, hours of the day.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Known, ReceiverModel, Voice};
use crate::config::mistake::{Findings, Place, suggest};
use crate::config::read::{Field, Map, Readable, as_text, quoted, words};
use crate::config::tree::{Node, Value};
use crate::config::units::parse_duration;
use crate::message::BindingName;

const DAY: u64 = 86_400;

/// `"3d 10:00"`, `"10:00"` or a duration such as `"3d10h"`, from the start of the scenario.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(pub(super) Duration);

impl Readable for Moment {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = as_text(node, place, "a moment such as \"3d 10:00\"", out)?;
        let moment = read_moment(text);
        if moment.is_none() {
            let hint = "write the day from 0 and the time, such as \"3d 10:00\", or a duration such as \"3d10h\"";
            out.mistake(place, format!("{text:?} is no moment"), hint);
        }
        moment.map(Self)
    }
}

fn read_moment(text: &str) -> Option<Duration> {
    let text = text.trim();
    let Some((before, minutes)) = text.rsplit_once(':') else { return parse_duration(text).ok() };
    let (day, hours) = before.rsplit_once(char::is_whitespace).unwrap_or(("0d", before));
    let day = parse_duration(day).ok().filter(|day| day.as_secs().is_multiple_of(DAY) && day.subsec_nanos() == 0)?;
    let part = |text: &str, below: u64| {
        let plain = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u64>().ok().filter(|number| plain && *number < below)
    };
    let time = part(hours, 24)? * 3600 + part(minutes, 60)? * 60;
    day.checked_add(Duration::from_secs(time))
}

/// `"3-9"`, `"3-"` or `"3"`: days of the scenario, counted from 0, the last one included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Days {
    pub(super) first: u32,
    /// `None` for all that follow.
    pub(super) last: Option<u32>,
}

impl Readable for Days {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        const HINT: &str = "write days from 0, such as \"3-9\", \"3-\" or \"3\"";
        let text = match &node.value {
            Value::Integer(Some(day)) => day.to_string(),
            _ => as_text(node, place, "days such as \"3-9\"", out)?.to_owned(),
        };
        let days = read_days(&text);
        if days.is_none() {
            out.mistake(place, format!("{text:?} are no days"), HINT);
        }
        days
    }
}

fn read_days(text: &str) -> Option<Days> {
    let (first, last) = match text.split_once('-') {
        None => (text, Some(text)),
        Some((first, "")) => (first, None),
        Some((first, last)) => (first, Some(last)),
    };
    let first = first.trim().parse().ok()?;
    let last = last.map(|last| last.trim().parse::<u32>().ok().filter(|last| *last >= first));
    match last {
        Some(None) => None,
        last => Some(Days { first, last: last.flatten() }),
    }
}

/// Day of the week, 0 Monday.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weekday(pub(super) u8);

words!(Weekday {
    "mon" => Self(0),
    "tue" => Self(1),
    "wed" => Self(2),
    "thu" => Self(3),
    "fri" => Self(4),
    "sat" => Self(5),
    "sun" => Self(6),
});

/// Share of each hour; they add up to 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hours(pub(super) [f64; 24]);

impl Hours {
    /// As much in each.
    pub(super) const EVEN: Self = Self([1.0 / 24.0; 24]);
    /// When people work, with a little before and after.
    const OFFICE: [f64; 24] = [
        0.5, 0.5, 0.5, 0.5, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 9.0, 7.0, 8.0, 9.0, 9.0, 8.0, 6.0, 3.0, 2.0, 1.5, 1.0,
        0.5, 0.5,
    ];
    /// A campaign: all in three hours of the morning.
    const BURST: [f64; 24] = {
        let mut shares = [0.0; 24];
        (shares[9], shares[10], shares[11]) = (5.0, 3.0, 2.0);
        shares
    };

    fn of(shares: [f64; 24]) -> Option<Self> {
        let sum: f64 = shares.iter().sum();
        let good = shares.iter().all(|share| (0.0..=1e9).contains(share)) && sum > 0.0;
        good.then(|| Self(shares.map(|share| share / sum)))
    }
}

impl Readable for Hours {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        const HINT: &str = "write \"even\", \"office\", \"burst\", or 24 numbers: the share of each hour of the day";
        match &node.value {
            Value::Text(word) => {
                let hours = match word.as_str() {
                    "even" => Some(Self::EVEN),
                    "office" => Self::of(Self::OFFICE),
                    "burst" => Self::of(Self::BURST),
                    _ => None,
                };
                if hours.is_none() {
                    out.mistake(place, format!("{word:?} are no hours"), HINT);
                }
                hours
            }
            Value::List(items) => {
                let number = |item: &Node| match item.value {
                    Value::Integer(Some(number)) => Some(number as f64),
                    Value::Float(number) => Some(number),
                    _ => None,
                };
                let shares: Option<Vec<f64>> = items.iter().map(number).collect();
                let hours = shares.and_then(|shares| <[f64; 24]>::try_from(shares).ok()).and_then(Self::of);
                if hours.is_none() {
                    out.mistake(place, format!("expected 24 shares, not all 0; found {} items", items.len()), HINT);
                }
                hours
            }
            other => {
                out.mistake(place, format!("expected a word or a list, found {}", other.kind()), HINT);
                None
            }
        }
    }
}

words!(Voice {
    "gmail" => Self::Gmail,
    "microsoft" => Self::Microsoft,
    "yahoo" => Self::Yahoo,
    "plain" => Self::Plain,
});

/// The name of a preset of receivers.
#[derive(Clone, Debug)]
pub(super) struct Preset(pub(super) ReceiverModel);

impl Readable for Preset {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = as_text(node, place, &format!("one of {}", quoted(&ReceiverModel::PRESETS)), out)?;
        let preset = ReceiverModel::preset(text);
        if preset.is_none() {
            out.mistake(place, format!("no preset {text:?}"), suggest(text, ReceiverModel::PRESETS));
        }
        preset.map(Self)
    }
}

/// `15_000` for every warm binding, or `{ mta1 = 15_000, "*" = 3_000 }`.
#[derive(Clone, Debug, Default)]
pub(super) struct Knows(pub(super) Known);

impl Readable for Knows {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        if let Value::Integer(_) = node.value {
            return u64::read(node, place, out).map(|volume| Self(Known { warm: Some(volume), ..Known::default() }));
        }
        if !matches!(node.value, Value::Table(_)) {
            let hint = "write recipients a day, or { BINDING = 15_000, \"*\" = 3_000 }";
            out.mistake(place, format!("expected a number or a table, found {}", node.value.kind()), hint);
            return None;
        }
        let map = Map::<u64>::read(node, place, out)?;
        let volumes = map.0.iter().filter_map(|entry| Some((entry.name.as_str(), entry.value?)));
        let (all, named): (Vec<_>, Vec<_>) = volumes.partition(|(name, _)| *name == "*");
        let bindings: BTreeMap<BindingName, u64> = named.into_iter().map(|(name, v)| (name.into(), v)).collect();
        Some(Self(Known { warm: all.first().map(|(_, volume)| *volume), bindings }))
    }
}

/// Refuses what lies outside `low..=high`.
pub(super) fn within(field: &Field<f64>, low: f64, high: f64, out: &mut Findings) {
    if let Some(at) = field.given().filter(|at| !(low..=high).contains(&at.value)) {
        out.mistake(&at.place, format!("{} is out of range", at.value), format!("from {low} to {high}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_days_and_times_or_durations() {
        let hours = |count: u64| Some(Duration::from_secs(count * 3600));
        for (text, moment) in [
            ("3d 10:00", hours(82)),
            ("3d10h", hours(82)),
            ("10:00", hours(10)),
            ("0d 0:00", hours(0)),
            ("2d", hours(48)),
            ("1w 01:00", hours(169)),
            ("3d 24:00", None),
            ("3d 10:60", None),
            ("3h 10:00", None),
            ("3d10:00", None),
            ("+1:00", None),
            ("1:+1", None),
            (":", None),
            ("tomorrow", None),
            ("", None),
            ("99999999999999999999d 1:00", None),
        ] {
            assert_eq!(read_moment(text), moment, "{text:?}");
        }
    }

    #[test]
    fn days_are_spans_from_zero() {
        let shown = |text| read_days(text).map(|days| (days.first, days.last));
        for (text, days) in [
            ("3-9", Some((3, Some(9)))),
            ("3-", Some((3, None))),
            ("3", Some((3, Some(3)))),
            ("0 - 1", Some((0, Some(1)))),
            ("9-3", None),
            ("-3", None),
            ("", None),
            ("-", None),
            ("3-x", None),
            ("99999999999", None),
        ] {
            assert_eq!(shown(text), days, "{text:?}");
        }
    }

    #[test]
    fn hours_add_up_to_one() {
        for shares in [Hours::OFFICE, Hours::BURST, Hours::EVEN.0] {
            let Hours(shares) = Hours::of(shares).expect("good shares");
            assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        }
        assert!(
            Hours::of([0.0; 24]).is_none() && Hours::of([f64::NAN; 24]).is_none() && Hours::of([-1.0; 24]).is_none()
        );
    }
}
