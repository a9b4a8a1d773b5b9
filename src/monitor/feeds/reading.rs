//! Numbers, times and tables as reports write them.

use std::net::IpAddr;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde_json::Value as Json;

use super::observation::{Bound, Value};
use crate::clock::Wall;

/// Rows that are read of one document; what lies beyond is not looked at.
pub const MOST_ROWS: usize = 100_000;
/// Cells of a row that are read.
const MOST_CELLS: usize = 100;

/// A row: names and texts of its cells.
pub type Row = Vec<(String, String)>;

/// A number as people write it: `12`, `0.3%`, `< 0.1%`, `&lt;0.1 %`. A percentage becomes a share.
pub fn value(text: &str) -> Option<Value> {
    let text = text.trim();
    let strip = |signs: &[&str]| signs.iter().find_map(|sign| text.strip_prefix(sign));
    let (bound, rest) = if let Some(rest) = strip(&["<=", "<", "&lt;", "≤"]) {
        (Bound::Below, rest)
    } else if let Some(rest) = strip(&[">=", ">", "&gt;", "≥"]) {
        (Bound::Above, rest)
    } else {
        (Bound::Exact, text)
    };
    let rest = rest.trim();
    let (digits, divisor) = rest.strip_suffix('%').map_or((rest, 1.0), |digits| (digits.trim_end(), 100.0));
    // "nan" and "inf" are numbers to the standard library.
    let number = digits.parse::<f64>().ok().filter(|number| number.is_finite())?;
    Some(Value { number: number / divisor, bound })
}

/// A number in JSON: a number, a text (64-bit integers come as texts), true or false.
pub fn json_value(json: &Json) -> Option<Value> {
    match json {
        Json::Number(number) => number.as_f64().filter(|number| number.is_finite()).map(Value::exact),
        Json::String(text) => value(text),
        Json::Bool(yes) => Some(Value::exact(f64::from(u8::from(*yes)))),
        _ => None,
    }
}

/// The period a date or a time names: a day lasts until the next begins, a time is its own end. UTC where the text names
/// no offset.
pub fn period(text: &str) -> Option<(Wall, Wall)> {
    let text = text.trim();
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some((at.into(), at.into()));
    }
    if let Some(day) = date(text) {
        return Some(day_of(day));
    }
    const TIMES: [&str; 7] = [
        "%m/%d/%Y %I:%M %p",
        "%m/%d/%Y %I:%M:%S %p",
        "%m/%d/%Y %H:%M",
        "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%dT%H:%M:%S",
        "%Y-%m-%d %H:%M",
        "%Y-%m-%d %H:%M:%S UTC",
    ];
    if let Some(at) = TIMES.iter().find_map(|form| DateTime::strptime(form, text).ok()) {
        return wall(at).map(|at| (at, at));
    }
    // Seconds since the epoch, or milliseconds where there are too many of them.
    let number = text.parse::<i64>().ok().filter(|n| (100_000_000..100_000_000_000_000).contains(n))?;
    let millis = if number < 100_000_000_000 { number * 1000 } else { number };
    Some((Wall::from_millis(millis), Wall::from_millis(millis)))
}

/// A day, `2026-11-21` or `11/21/2026`.
pub fn date(text: &str) -> Option<Date> {
    ["%Y-%m-%d", "%m/%d/%Y", "%Y%m%d"].iter().find_map(|form| Date::strptime(form, text.trim()).ok())
}

/// The day from its begin to its end, UTC.
pub fn day_of(day: Date) -> (Wall, Wall) {
    let begins = wall(day.at(0, 0, 0, 0)).unwrap_or_default();
    (begins, begins.plus(std::time::Duration::from_secs(86_400)))
}

/// Which UTC day it is.
pub fn day_at(now: Wall) -> Date {
    now.timestamp().to_zoned(TimeZone::UTC).date()
}

fn wall(at: DateTime) -> Option<Wall> {
    at.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp().into())
}

/// An address, IPv6 in brackets or not.
pub fn address(text: &str) -> Option<IpAddr> {
    text.trim().trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// A range: `192.0.2.0/24`, `192.0.2.1-192.0.2.9`, or one address.
pub fn range(text: &str) -> Option<(IpAddr, IpAddr)> {
    let text = text.trim();
    if let Ok(net) = text.parse::<ipnet::IpNet>() {
        return Some((net.network(), net.broadcast()));
    }
    match text.split_once('-') {
        Some((first, last)) => Some((address(first)?, address(last)?)),
        None => address(text).map(|address| (address, address)),
    }
}

/// A field's name without what differs from one writer to the next.
pub fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).take(100).collect()
}

/// The rows of a JSON report: a list of objects, bare or under one of the usual names. `None` where there is no such
/// list: that is never an empty report.
pub fn json_rows(json: &Json) -> Option<Vec<Row>> {
    const WRAPPERS: [&str; 7] = ["value", "items", "data", "results", "records", "rows", "report"];
    let list = match json {
        Json::Array(list) => list,
        Json::Object(object) => {
            let named = object.iter().filter(|(name, _)| WRAPPERS.contains(&plain(name).as_str()));
            named.filter_map(|(_, inner)| inner.as_array()).next()?
        }
        _ => return None,
    };
    list.iter()
        .take(MOST_ROWS)
        .map(|item| item.as_object().map(|object| object.iter().take(MOST_CELLS).map(cell).collect()))
        .collect()
}

fn cell((name, json): (&String, &Json)) -> (String, String) {
    let text = match json {
        Json::String(text) => text.clone(),
        Json::Null => String::new(),
        other => other.to_string(),
    };
    (name.clone(), text)
}

/// The records of a CSV document. Rows may be of different lengths.
///
/// # Errors
/// Where it is no CSV, in words without its content.
pub fn csv_records(text: &str) -> Result<Vec<Vec<String>>, String> {
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut all = Vec::new();
    for record in reader.records().take(MOST_ROWS) {
        let record = record.map_err(|error| match error.position() {
            Some(at) => format!("line {} is no CSV", at.line()),
            None => "no CSV".to_owned(),
        })?;
        all.push(record.iter().take(MOST_CELLS).map(|cell| cell.trim().to_owned()).collect());
    }
    all.retain(|record: &Vec<String>| record.iter().any(|cell| !cell.is_empty()));
    Ok(all)
}

/// A row in one line, for people.
pub fn line_of(row: &Row) -> String {
    let cells: Vec<String> = row.iter().map(|(name, text)| format!("{name}={text}")).collect();
    cells.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        let read = |text: &str| value(text).map(|v| (v.number, v.bound));
        for (text, expected) in [
            ("12", Some((12.0, Bound::Exact))),
            ("< 0.1%", Some((0.001, Bound::Below))),
            ("<0.1 %", Some((0.001, Bound::Below))),
            ("&lt; 0.1%", Some((0.001, Bound::Below))),
            ("> 90%", Some((0.9, Bound::Above))),
            (" 0.3% ", Some((0.003, Bound::Exact))),
            ("-1", Some((-1.0, Bound::Exact))),
            ("", None),
            ("%", None),
            ("nan", None),
            ("inf%", None),
            ("1e999", None),
            ("GREEN", None),
        ] {
            assert_eq!(read(text), expected, "{text:?}");
        }
        assert_eq!(json_value(&serde_json::json!("9007199254740993")).map(|v| v.number), Some(9_007_199_254_740_992.0));
        assert_eq!(json_value(&serde_json::json!([1])), None);
    }

    #[test]
    fn times_are_read_in_the_forms_reports_have() {
        let read = |text: &str| period(text).map(|(a, b)| (a.to_string(), b.to_string()));
        let at = |text: &str| Some((text.to_owned(), text.to_owned()));
        assert_eq!(read("11/9/2026 1:05 PM"), at("2026-11-09T13:05:00.000Z"));
        assert_eq!(read("1/2/2026 12:00 AM"), at("2026-01-02T00:00:00.000Z"));
        assert_eq!(read("2026-11-09T13:05:00+01:00"), at("2026-11-09T12:05:00.000Z"));
        assert_eq!(read("2026-11-09 13:05:00"), at("2026-11-09T13:05:00.000Z"));
        assert_eq!(read("1795334400"), at("2026-11-22T08:00:00.000Z"));
        assert_eq!(read("1795334400000"), at("2026-11-22T08:00:00.000Z"));
        let day = Some(("2026-11-21T00:00:00.000Z".to_owned(), "2026-11-22T00:00:00.000Z".to_owned()));
        assert_eq!(read("2026-11-21"), day);
        assert_eq!(read("11/21/2026"), day);
        for odd in ["", "13/45/2026", "yesterday", "99999999999999999999", "7"] {
            assert_eq!(read(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn a_document_without_a_list_is_no_empty_report() {
        let rows = |text: &str| json_rows(&serde_json::from_str(text).unwrap()).map(|rows| rows.len());
        assert_eq!(rows("[]"), Some(0));
        assert_eq!(rows(r#"{"value": [{"a": 1}]}"#), Some(1));
        assert_eq!(rows(r#"{"Items": []}"#), Some(0));
        for odd in [r#"{"error": "no"}"#, r#"{"value": 3}"#, "3", "[1]", "null"] {
            assert_eq!(rows(odd), None, "{odd}");
        }
    }

    #[test]
    fn quotes_and_short_rows_are_csv() {
        let read = csv_records("\u{feff}a,\"b, \"\"c\"\"\",d\n\ne\n").unwrap();
        assert_eq!(read, [vec!["a", "b, \"c\"", "d"], vec!["e"]]);
    }

    #[test]
    fn ranges_are_networks_pairs_or_one() {
        let read = |text: &str| range(text).map(|(a, b)| format!("{a} {b}"));
        assert_eq!(read("192.0.2.0/30").as_deref(), Some("192.0.2.0 192.0.2.3"));
        assert_eq!(read("192.0.2.1 - 192.0.2.9").as_deref(), Some("192.0.2.1 192.0.2.9"));
        assert_eq!(read("2001:db8::1").as_deref(), Some("2001:db8::1 2001:db8::1"));
        assert_eq!(read("x-y"), None);
    }
}
