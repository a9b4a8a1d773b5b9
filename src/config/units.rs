//! Quantities as an operator writes them: `15m`, `50MiB`, `20/s`.
//!
//! Every unit is written out and nothing is guessed: a bare number is no duration, and a rate never spans more than an
//! hour, because a limiter that counts a day lets nearly twice the cap through in 24 hours. Errors say what to write
//! instead, in words fit to stand behind a line number.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use super::Rate;

/// The longest duration that makes sense in a configuration; keeps sums of durations far from overflow.
const LONGEST: Duration = Duration::from_secs(3650 * 86_400);

/// Why a text is no quantity: what is wrong and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {hint}")]
pub struct BadQuantity {
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub hint: String,
}

fn bad(what: String, hint: &str) -> BadQuantity {
    BadQuantity { what, hint: hint.to_owned() }
}

/// Splits `90s` into its digits and what follows them.
fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().position(|b| !b.is_ascii_digit() && b != b'_').unwrap_or(text.len()))
}

fn whole_number(digits: &str) -> Option<u64> {
    digits.replace('_', "").parse().ok()
}

/// Reads `500ms`, `90s`, `15m`, `4h`, `5d`, `1w`, or several of them as in `1h30m`. At most ten years.
///
/// # Errors
/// Says what is wrong when the unit is missing or unknown, or the number is no whole number or too large.
pub fn parse_duration(text: &str) -> Result<Duration, BadQuantity> {
    const HINT: &str = "write a whole number and a unit (ms, s, m, h, d, w), such as \"15m\"";
    let wrong = || bad(format!("{text:?} is no duration"), HINT);
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let (digits, tail) = split_number(rest);
        let tail = tail.trim_start();
        let end = tail.bytes().position(|b| !b.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(end);
        let count = whole_number(digits).ok_or_else(wrong)?;
        let millis: u64 = match unit {
            "ms" => 1,
            "s" | "sec" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            "" => return Err(bad(format!("{text:?} lacks a unit"), HINT)),
            _ => return Err(wrong()),
        };
        let part = count.checked_mul(millis).map(Duration::from_millis);
        total = part
            .and_then(|part| total.checked_add(part))
            .filter(|sum| *sum <= LONGEST)
            .ok_or_else(|| bad(format!("{text:?} is too long"), "at most ten years (\"3650d\")"))?;
        rest = next.trim_start();
    }
    Ok(total)
}

/// A duration as the configuration would write it: the largest unit that leaves no remainder.
pub fn show_duration(span: Duration) -> String {
    let millis = span.as_millis();
    for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if millis >= length && millis.is_multiple_of(length) {
            return format!("{}{unit}", millis / length);
        }
    }
    format!("{millis}ms")
}

/// Reads a size in octets: `512`, `64KiB`, `50MiB`, `2GiB`, `1TiB`, or with decimal units `kB`, `MB`, `GB`, `TB`.
///
/// # Errors
/// Says what is wrong when the unit is unknown, or the number is no whole number or too large.
pub fn parse_size(text: &str) -> Result<u64, BadQuantity> {
    const HINT: &str = "write a whole number and a unit (KiB, MiB, GiB), such as \"50MiB\"";
    let wrong = || bad(format!("{text:?} is no size"), HINT);
    let (digits, unit) = split_number(text.trim());
    let factor: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(wrong()),
    };
    whole_number(digits)
        .ok_or_else(wrong)?
        .checked_mul(factor)
        .ok_or_else(|| bad(format!("{text:?} is too large"), "at most 16 EiB"))
}

impl FromStr for Rate {
    type Err = BadQuantity;

    /// `20/s`, `600/min`, `1000/h`, or with a span of its own `30/10s`.
    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        const HINT: &str = "write messages per span, such as \"20/s\", \"600/min\" or \"1000/h\"";
        let wrong = || bad(format!("{text:?} is no rate"), HINT);
        let (count, per) = text.split_once('/').ok_or_else(wrong)?;
        let per = match per.trim() {
            "s" | "sec" | "second" => Duration::from_secs(1),
            "m" | "min" | "minute" => Duration::from_secs(60),
            "h" | "hour" => Duration::from_secs(3600),
            "d" | "day" => Duration::from_secs(86_400),
            other => parse_duration(other).map_err(|_| wrong())?,
        };
        let count = whole_number(count.trim()).ok_or_else(wrong)?;
        if per > Duration::from_secs(3600) {
            return Err(bad(
                format!("rate {text:?} spans more than an hour"),
                "a limiter is no calendar: write daily_cap for a limit per day",
            ));
        }
        if per.is_zero() {
            return Err(wrong());
        }
        if count == 0 {
            return Err(bad(
                format!("rate {text:?} lets nothing through"),
                "leave the key out for no limit; to stop a binding write suspend_delivery = true",
            ));
        }
        let count = u32::try_from(count).ok().and_then(NonZeroU32::new);
        Ok(Self { count: count.ok_or_else(|| bad(format!("rate {text:?} is too large"), HINT))?, per })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.per.as_millis() {
            1_000 => write!(f, "{}/s", self.count),
            60_000 => write!(f, "{}/min", self.count),
            3_600_000 => write!(f, "{}/h", self.count),
            _ => write!(f, "{}/{}", self.count, show_duration(self.per)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_read_as_written() {
        for (text, millis) in [
            ("500ms", 500),
            ("90s", 90_000),
            ("15m", 900_000),
            ("15 min", 900_000),
            ("4h", 14_400_000),
            ("1h30m", 5_400_000),
            ("5d", 432_000_000),
            ("1w", 604_800_000),
            ("0s", 0),
            ("1_000s", 1_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "m", "1.5h", "-5m", "5 x", "5M", "_s", "99999999999999999999s", "3651d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_read_as_written() {
        for (text, octets) in [("512", 512), ("64KiB", 65_536), ("50 MiB", 52_428_800), ("1GB", 1_000_000_000)] {
            assert_eq!(parse_size(text), Ok(octets), "{text}");
        }
        for text in ["", "MiB", "5 foo", "-1", "1.5GiB", "99999999TiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_read_as_written_and_print_back() {
        for (text, count, seconds) in
            [("20/s", 20, 1), ("600/min", 600, 60), ("1000/h", 1000, 3600), ("30/10s", 30, 10)]
        {
            let rate: Rate = text.parse().expect(text);
            assert_eq!((rate.count.get(), rate.per), (count, Duration::from_secs(seconds)), "{text}");
            assert_eq!(rate.to_string(), text);
        }
    }

    #[test]
    fn a_rate_per_day_points_to_daily_cap() {
        for text in ["1000/d", "1000/day", "1000/24h", "1000/61m"] {
            let error = text.parse::<Rate>().expect_err(text);
            assert!(error.hint.contains("daily_cap"), "{text}: {error}");
        }
        for text in ["0/s", "20", "/s", "x/s", "20/", "20/0s", "5000000000/s", "-1/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn durations_print_and_read_back(millis in 0u64..315_360_000_000) {
            let span = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&show_duration(span)), Ok(span));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,20}|[0-9_]{0,22}[a-zA-Z/ ]{0,5}[0-9a-z]{0,6}") {
            let _ = parse_duration(&text);
            let _ = parse_size(&text);
            let _ = text.parse::<Rate>();
        }
    }
}
