//! Google Postmaster Tools v2: questions and answers.
//!
//! IP reputation is gone there; what is left of it is the share of mail refused for `low_ip_reputation`, `ip_in_rbls` and
//! `bad_or_missing_ptr_record`, and of mail put off for them (`…_temp_fail`), per domain and day. Days without enough mail are simply not in the answer. Numbers come
//! as a union of types, 64-bit integers as texts.

use jiff::civil::Date;
use serde_json::{Value as Json, json};

use super::observation::{Observation, Scope, Value};
use super::reading::{MOST_ROWS, day_of, json_value};
use super::snds::Report;
use crate::clock::Wall;

/// Days back that are asked about: data come one to two days late.
const DAYS: i64 = 7;
/// The most rows a page has.
const PAGE: u32 = 200;
/// Pages that are followed.
pub const MOST_PAGES: usize = 20;
/// Domains of a list that are taken.
pub const MOST_DOMAINS: usize = 500;

/// Metrics of the compliance status: they are of the moment of the fetch.
pub const STATES: [&str; 1] = ["needs_work"];

/// Shares of mail not taken that are asked about: the metric's name, how it was not taken, and why.
const NOT_TAKEN: [(&str, &str, &str); 6] = [
    ("low_ip_reputation", "reject", "low_ip_reputation"),
    ("ip_in_rbls", "reject", "ip_in_rbls"),
    ("bad_or_missing_ptr_record", "reject", "bad_or_missing_ptr_record"),
    ("low_ip_reputation_temp_fail", "temp_fail", "low_ip_reputation"),
    ("ip_in_rbls_temp_fail", "temp_fail", "ip_in_rbls"),
    ("bad_or_missing_ptr_record_temp_fail", "temp_fail", "bad_or_missing_ptr_record"),
];

/// Path of the question about a domain's figures.
pub fn query_path(domain: &str) -> String {
    format!("/v2/domains/{domain}/domainStats:query")
}

/// Path of a domain's compliance.
pub fn compliance_path(domain: &str) -> String {
    format!("/v2/domains/{domain}/complianceStatus")
}

/// Path of the list of domains.
pub fn list_path(page: Option<&str>) -> String {
    let token = page.map(|token| format!("&pageToken={}", escaped(token))).unwrap_or_default();
    format!("/v2/domains?pageSize={PAGE}{token}")
}

/// Everything but letters, digits, `-`, `.`, `_` and `~` as %XX (RFC 3986 §2.3).
pub fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Body of the question: every metric, day by day.
pub fn query(today: Date, page: Option<&str>) -> Json {
    let metric = |name: &str, standard: &str, filter: String| json!({ "name": name, "baseMetric": { "standardMetric": standard }, "filter": filter });
    let mut metrics = vec![metric("spam_rate", "SPAM_RATE", String::new())];
    metrics.extend(NOT_TAKEN.map(|(name, how, why)| {
        metric(name, "DELIVERY_ERROR_RATE", format!("error_type = \"{how}\" AND error_reason = \"{why}\""))
    }));
    let back = |days: i64| today.checked_sub(jiff::Span::new().days(days)).unwrap_or(today);
    let mut body = json!({
        "metricDefinitions": metrics,
        "timeQuery": { "dateRanges": { "dateRanges": [{ "start": date(back(DAYS)), "end": date(back(1)) }] } },
        "aggregationGranularity": "DAILY",
        "pageSize": PAGE,
    });
    if let Some(token) = page {
        body["pageToken"] = json!(token);
    }
    body
}

fn date(day: Date) -> Json {
    json!({ "year": day.year(), "month": day.month(), "day": day.day() })
}

/// Where the next page is.
pub fn next_page(answer: &Json) -> Option<String> {
    answer["nextPageToken"].as_str().filter(|token| !token.is_empty() && token.len() < 4096).map(str::to_owned)
}

/// Names of the domains in a page of the list.
pub fn domains(answer: &Json) -> Vec<String> {
    let all = answer["domains"].as_array().map(Vec::as_slice).unwrap_or_default();
    let names = all.iter().filter_map(|domain| domain["name"].as_str()?.strip_prefix("domains/"));
    // They become part of a path.
    let fine = names.filter(|name| name.parse::<crate::message::Domain>().is_ok() && !name.contains(['/', '[']));
    fine.map(str::to_ascii_lowercase).take(MOST_DOMAINS).collect()
}

/// Reads a page of figures about `domain`.
///
/// # Errors
/// Where it is no such page. An object without figures is one: there were none.
pub fn figures(answer: &Json, domain: &str, now: Wall) -> Result<Report, String> {
    let object = answer.as_object().ok_or("no JSON object")?;
    let rows = match object.get("domainStats") {
        Some(rows) => rows.as_array().ok_or("domainStats is no list")?.as_slice(),
        None => &[],
    };
    let mut report = Report { rows: rows.len(), ..Report::default() };
    let others = object.keys().filter(|key| !["domainStats", "nextPageToken"].contains(&key.as_str()));
    others.for_each(|key| report.unknown(key));
    for row in rows.iter().take(MOST_ROWS) {
        let metric = row["metric"].as_str().unwrap_or_default();
        if metric != "spam_rate" && !NOT_TAKEN.iter().any(|(name, ..)| *name == metric) {
            report.unknown(&format!("metric {metric}"));
            continue;
        }
        match (union_value(&row["value"]), read_date(&row["date"])) {
            (Some(value), Some(day)) => {
                let scope = Scope::Domain(domain.to_owned());
                report.observations.push(Observation::new(scope, metric, value, day_of(day), &row.to_string(), now));
            }
            _ => report.unknown(&format!("{metric} without value or day")),
        }
    }
    Ok(report)
}

/// The number in a union of types.
fn union_value(value: &Json) -> Option<Value> {
    let object = value.as_object()?;
    ["doubleValue", "floatValue", "intValue", "stringValue"].iter().find_map(|kind| json_value(object.get(*kind)?))
}

fn read_date(json: &Json) -> Option<Date> {
    let number = |key: &str| json[key].as_i64();
    Date::new(
        i16::try_from(number("year")?).ok()?,
        i8::try_from(number("month")?).ok()?,
        i8::try_from(number("day")?).ok()?,
    )
    .ok()
}

/// Reads a domain's compliance: how many of the requirements are not met, by name.
///
/// # Errors
/// Where it is no such answer.
pub fn compliance(answer: &Json, domain: &str, now: Wall) -> Result<Report, String> {
    // Beside the registered domain's there may be the subdomain's own.
    let data = answer.get("subdomainComplianceData").filter(|data| data["rowData"].is_array());
    let data = data.or_else(|| answer.get("complianceData")).ok_or("no complianceData")?;
    let rows = data["rowData"].as_array().ok_or("no rowData")?;
    let mut report = Report { rows: rows.len(), ..Report::default() };
    let mut wanting = Vec::new();
    for row in rows.iter().take(MOST_ROWS) {
        let state = row["status"]["status"].as_str().or_else(|| row["status"].as_str()).unwrap_or_default();
        match (row["requirement"].as_str(), state) {
            (Some(name), "NEEDS_WORK") => wanting.push(name),
            (Some(_), "COMPLIANT" | "STATE_UNSPECIFIED") => {}
            (name, state) => report.unknown(&format!("{} {state}", name.unwrap_or("requirement"))),
        }
    }
    for (name, key) in
        [("ONE_CLICK_UNSUBSCRIBE", "oneClickUnsubscribeVerdict"), ("HONOR_UNSUBSCRIBE", "honorUnsubscribeVerdict")]
    {
        if data[key]["status"]["status"].as_str() == Some("NEEDS_WORK") && !wanting.contains(&name) {
            wanting.push(name);
        }
    }
    let value = Value::exact(wanting.len() as f64);
    let scope = Scope::Domain(domain.to_owned());
    report.observations.push(Observation::new(scope, STATES[0], value, (now, now), &wanting.join(", "), now));
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Wall = Wall::from_millis(1_795_334_400_000);

    #[test]
    fn values_of_every_type_are_read_and_days_kept() {
        let day = json!({ "year": 2026, "month": 11, "day": 20 });
        let row = |metric: &str, value: Json| json!({ "name": "x", "metric": metric, "date": day, "value": value });
        let page = json!({ "domainStats": [
            row("spam_rate", json!({ "doubleValue": 0.002 })),
            row("ip_in_rbls", json!({ "intValue": "1" })),
            row("low_ip_reputation", json!({ "floatValue": 0.25 })),
            row("ip_in_rbls_temp_fail", json!({ "doubleValue": 0.5 })),
            row("bad_or_missing_ptr_record", json!({ "stringList": { "values": ["x"] } })),
            row("surprise", json!({ "doubleValue": 1 })),
        ], "nextPageToken": "p2" });
        let report = figures(&page, "news.example.com", NOW).unwrap();
        let read: Vec<_> = report.observations.iter().map(|o| (o.metric.as_str(), o.value.number)).collect();
        assert_eq!(
            read,
            [("spam_rate", 0.002), ("ip_in_rbls", 1.0), ("low_ip_reputation", 0.25), ("ip_in_rbls_temp_fail", 0.5)]
        );
        assert_eq!(report.observations[0].ends.to_string(), "2026-11-21T00:00:00.000Z");
        assert_eq!(report.unknown.len(), 2, "{:?}", report.unknown);
        assert_eq!(next_page(&page).as_deref(), Some("p2"));
    }

    #[test]
    fn a_domain_without_data_is_an_empty_object_and_nothing_else_is() {
        assert_eq!(figures(&json!({}), "a.example", NOW), Ok(Report::default()));
        assert!(figures(&json!([]), "a.example", NOW).is_err());
        assert!(figures(&json!({ "domainStats": 3 }), "a.example", NOW).is_err());
    }

    #[test]
    fn requirements_that_are_not_met_are_counted_by_name() {
        let row = |name: &str, state: &str| json!({ "requirement": name, "status": { "status": state } });
        let data = json!({ "rowData": [row("SPF", "COMPLIANT"), row("DMARC_POLICY", "NEEDS_WORK"), row("X", "MAYBE")],
            "oneClickUnsubscribeVerdict": { "status": { "status": "NEEDS_WORK" } } });
        let report = compliance(&json!({ "name": "x", "complianceData": data }), "a.example", NOW).unwrap();
        assert_eq!(report.observations[0].value, Value::exact(2.0));
        assert_eq!(report.observations[0].raw, "DMARC_POLICY, ONE_CLICK_UNSUBSCRIBE");
        assert_eq!(report.unknown, ["X MAYBE"]);
        assert!(compliance(&json!({ "error": {} }), "a.example", NOW).is_err());
    }

    #[test]
    fn the_question_names_a_week_that_ends_yesterday() {
        let body = query(jiff::civil::date(2026, 11, 22), Some("t"));
        assert_eq!(
            body["timeQuery"]["dateRanges"]["dateRanges"][0]["end"],
            json!({ "year": 2026, "month": 11, "day": 21 })
        );
        let asked: Vec<_> =
            body["metricDefinitions"].as_array().unwrap().iter().map(|m| m["filter"].as_str().unwrap()).collect();
        assert_eq!(asked.len(), 7);
        assert!(asked.contains(&"error_type = \"temp_fail\" AND error_reason = \"low_ip_reputation\""), "{asked:?}");
        assert_eq!((&body["pageSize"], &body["pageToken"]), (&json!(200), &json!("t")));
    }

    #[test]
    fn a_list_gives_only_what_can_stand_in_a_path() {
        let list = json!({ "domains": [{ "name": "domains/A.example" }, { "name": "domains/../x" }, { "name": "b.example" }, {}] });
        assert_eq!(domains(&list), ["a.example"]);
        assert_eq!(list_path(Some("a/b=")), "/v2/domains?pageSize=200&pageToken=a%2Fb%3D");
    }
}
