//! Any JSON or CSV document, read as the configuration says.

use serde_json::Value as Json;

use super::observation::{Observation, Scope, Value, clip_name};
use super::reading::{self, MOST_ROWS, csv_records, json_value};
use super::snds::Report;
use crate::clock::Wall;
use crate::config::{Feed, FeedRows, FeedScope};

/// Reads a JSON document.
///
/// # Errors
/// Where it is none, or has no rows where they should be; in words.
pub fn json(text: &[u8], feed: &Feed, how: &FeedRows, now: Wall) -> Result<Report, String> {
    let json: Json = serde_json::from_slice(text).map_err(|error| format!("no JSON: line {}", error.line()))?;
    let rows = json.pointer(&how.rows).and_then(Json::as_array);
    let rows = rows.ok_or_else(|| format!("no list at {:?}", how.rows))?;
    let mut report = Report { rows: rows.len(), ..Report::default() };
    for row in rows.iter().take(MOST_ROWS) {
        let text = |at: &str| match row.pointer(at)? {
            Json::String(text) => Some(text.clone()),
            Json::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let value = |at: &str| match row.pointer(at) {
            None | Some(Json::Null) => Seen::Missing,
            Some(json) => json_value(json).map_or(Seen::Odd, Seen::Value),
        };
        read(feed, how, &text, &value, &row.to_string(), now, &mut report);
    }
    judged(report)
}

/// Reads a CSV document; its first record names the columns.
///
/// # Errors
/// Where it is none, or lacks a column that is asked for; in words.
pub fn csv(text: &[u8], feed: &Feed, how: &FeedRows, now: Wall) -> Result<Report, String> {
    let mut records = csv_records(&String::from_utf8_lossy(text))?.into_iter();
    let header = records.next().ok_or("an empty document")?;
    let column = |name: &str| header.iter().position(|column| column.eq_ignore_ascii_case(name));
    let values = feed.metrics.values().filter_map(|metric| metric.value.as_ref());
    let wanted = [Some(&how.scope_at), how.metric_name.as_ref(), how.time.as_ref()].into_iter().flatten().chain(values);
    if let Some(missing) = wanted.into_iter().find(|name| column(name).is_none()) {
        return Err(format!("no column {missing:?}"));
    }
    let mut report = Report::default();
    for record in records {
        report.rows += 1;
        let text = |name: &str| column(name).and_then(|at| record.get(at)).cloned();
        let value = |name: &str| match text(name).filter(|text| !text.is_empty()) {
            None => Seen::Missing,
            Some(text) => reading::value(&text).map_or(Seen::Odd, Seen::Value),
        };
        read(feed, how, &text, &value, &record.join(","), now, &mut report);
    }
    judged(report)
}

/// What stands where a value should.
enum Seen {
    Missing,
    Odd,
    Value(Value),
}

/// Rows of which not one could be read are no empty report: its shape has changed.
fn judged(report: Report) -> Result<Report, String> {
    match report.rows > 0 && report.observations.is_empty() && !report.unknown.is_empty() {
        true => Err(format!("no row can be read: {}", report.unknown.join("; "))),
        false => Ok(report),
    }
}

fn read(
    feed: &Feed,
    how: &FeedRows,
    text: &dyn Fn(&str) -> Option<String>,
    value: &dyn Fn(&str) -> Seen,
    raw: &str,
    now: Wall,
    report: &mut Report,
) {
    let Some(scope) = text(&how.scope_at).and_then(|text| scope(how.scope, &text)) else {
        report.unknown(&format!("a row without {}", how.scope_at));
        return;
    };
    let period = match &how.time {
        None => Some((now, now)),
        Some(at) => text(at).and_then(|text| reading::period(&text)),
    };
    let Some(period) = period else {
        report.unknown("a row without a time");
        return;
    };
    let name = how.metric_name.as_ref().map(|at| text(at).unwrap_or_default());
    for (metric, rules) in &feed.metrics {
        if name.as_ref().is_some_and(|name| name != metric) {
            continue;
        }
        match rules.value.as_ref().map_or(Seen::Missing, |at| value(at)) {
            Seen::Value(value) => {
                report.observations.push(Observation::new(scope.clone(), metric, value, period, raw, now));
            }
            Seen::Odd => report.unknown(&format!("{metric} that is no number")),
            Seen::Missing => {}
        }
    }
}

fn scope(kind: FeedScope, text: &str) -> Option<Scope> {
    let name = clip_name(text);
    if name.is_empty() {
        return None;
    }
    match kind {
        FeedScope::Address => reading::address(text).map(Scope::Address),
        FeedScope::Range => reading::range(text).and_then(|(first, last)| Scope::range(first, last)),
        FeedScope::Domain => Some(Scope::Domain(name.trim_end_matches('.').to_lowercase())),
        FeedScope::Tenant => Some(Scope::Tenant(name)),
        FeedScope::Binding => Some(Scope::Binding(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    const NOW: Wall = Wall::from_millis(1_795_334_400_000);

    fn feed(more: &str) -> Feed {
        testing::feed(&format!("url = \"http://127.0.0.1:1/x\"\n{more}"))
    }

    #[test]
    fn rows_are_found_where_the_configuration_says() {
        let feed = feed(
            "kind = \"json\"\nrows = \"/data/items\"\nscope = { address = \"/ip\" }\ntime = \"/seen\"\n[feed.f.metric.score]\nvalue = \"/of/score\"\nthrottle_below = 50\n[feed.f.metric.hits]\nvalue = \"/hits\"\n",
        );
        let text = br#"{"data":{"items":[
            {"ip":"192.0.2.11","seen":"2026-11-21","of":{"score":"12"},"hits":9007199254740993},
            {"ip":"2001:db8::1","seen":1795000000,"of":{"score":null}},
            {"ip":"nobody","seen":"2026-11-21","of":{"score":1}},
            {"ip":"192.0.2.12","of":{"score":1}},
            {"ip":"192.0.2.13","seen":"2026-11-21","of":{"score":"bad"}}]}}"#;
        let report = json(text, &feed, feed.rows.as_ref().unwrap(), NOW).unwrap();
        let seen: Vec<_> =
            report.observations.iter().map(|o| (o.scope.to_string(), o.metric.as_str(), o.value.number)).collect();
        let ip = "192.0.2.11".to_owned();
        assert_eq!(seen, [(ip.clone(), "hits", 9_007_199_254_740_992.0), (ip, "score", 12.0)]);
        assert_eq!(report.unknown.len(), 3, "{:?}", report.unknown);
    }

    #[test]
    fn one_row_per_metric_is_read_by_its_name() {
        let feed = feed(
            "kind = \"csv\"\nscope = { range = \"net\" }\nmetric_name = \"what\"\n[feed.f.metric.spam]\nvalue = \"share\"\n",
        );
        let text = b"net,what,share,comment\n192.0.2.0/28,spam,< 2%,\"a, b\"\n192.0.2.0/28,ham,98%,\n";
        let report = csv(text, &feed, feed.rows.as_ref().unwrap(), NOW).unwrap();
        assert_eq!(report.observations.len(), 1);
        assert_eq!(report.observations[0].value.to_string(), "< 0.02");
        assert_eq!(report.observations[0].scope.to_string(), "192.0.2.0-192.0.2.15");
    }

    #[test]
    fn a_document_of_another_shape_is_an_error() {
        let feed = feed("kind = \"json\"\nscope = { binding = \"/b\" }\n[feed.f.metric.m]\nvalue = \"/v\"\n");
        let how = feed.rows.as_ref().unwrap();
        for odd in ["", "{", "{}", "3", r#"[{"x":1}]"#, r#"[{"b":"a","v":[]}]"#] {
            assert!(json(odd.as_bytes(), &feed, how, NOW).is_err(), "{odd:?}");
        }
        assert_eq!(json(b"[]", &feed, how, NOW), Ok(Report::default()), "an empty list is no data");
        assert!(csv(b"a,b\n1,2\n", &feed, how, NOW).unwrap_err().contains("no column"));
        assert!(csv(b"", &feed, how, NOW).is_err());
    }
}
