//! Microsoft SNDS: the reports of what consumer Outlook thinks of addresses.
//!
//! Three shapes of the same two reports: JSON (not documented, so it is read by field names with aliases), CSV with a
//! header, and the old CSV without one. The data report has a row per address and day with traffic enough to judge; no row
//! means no data. The status report has a row per address or range in an abnormal state, so there an empty list is the
//! good case, and says so of all our addresses the account covers. A body without anything in it is no such list.
//!
//! A field that nobody knows is counted: the report has changed, and something may be lost. So is a share of complaints
//! without a percent sign: whether it is one is a guess of a factor of hundred.

use std::net::IpAddr;

use super::observation::{Observation, Scope, Value};
use super::reading::{self, Row, address, csv_records, line_of, plain, value};
use crate::clock::Wall;

/// What a report said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// What was read.
    pub observations: Vec<Observation>,
    /// Names of fields, or contents of known ones, that nobody knows; each once.
    pub unknown: Vec<String>,
    /// How many rows there were.
    pub rows: usize,
}

impl Report {
    /// Notes a field once, and only so many.
    pub fn unknown(&mut self, what: &str) {
        let what = super::observation::clip_name(what);
        if self.unknown.len() < 100 && !self.unknown.contains(&what) {
            self.unknown.push(what);
        }
    }

    /// Takes in another one.
    pub fn add(&mut self, other: Self) {
        self.observations.extend(other.observations);
        other.unknown.iter().for_each(|what| self.unknown(what));
        self.rows += other.rows;
    }
}

/// Metrics of the status report: they are of the moment of the fetch.
pub const STATES: [&str; 2] = ["blocked", "abnormal"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Address,
    Day,
    Begins,
    Ends,
    Period,
    Filter,
    Complaints,
    Count(&'static str),
    First,
    Last,
    Blocked,
    Told,
    Detail,
}

fn data_field(name: &str) -> Option<Field> {
    Some(match plain(name).as_str() {
        "ipaddress" | "ip" | "ipv4" | "ipv4address" | "address" => Field::Address,
        "date" | "day" | "reportdate" | "activitydate" => Field::Day,
        "activitystart"
        | "activitystartdate"
        | "activitystarttime"
        | "activityperiodstart"
        | "periodstart"
        | "starttime"
        | "startdate"
        | "start" => Field::Begins,
        "activityend" | "activityenddate" | "activityendtime" | "activityperiodend" | "periodend" | "endtime"
        | "enddate" | "end" => Field::Ends,
        "activityperiod" | "period" => Field::Period,
        "rcptcommands" | "rcptcommandcount" | "rcpts" => Field::Count("rcpt_commands"),
        "datacommands" | "datacommandcount" => Field::Count("data_commands"),
        "messagerecipients" | "messagerecipientcount" | "recipients" => Field::Count("message_recipients"),
        "filterresult" | "filterresults" | "filter" => Field::Filter,
        "complaintrate" | "complaintratio" | "complaints" => Field::Complaints,
        "traphits" | "trapmessages" | "trapcount" => Field::Count("trap_hits"),
        "trapmessageperiod"
        | "trapperiod"
        | "trapperiodstart"
        | "trapperiodend"
        | "trapmessageperiodstart"
        | "trapmessageperiodend"
        | "samplehelo"
        | "helo"
        | "samplemailfrom"
        | "mailfrom"
        | "jmrp1sender"
        | "jmrpp1sender"
        | "jmrpsender"
        | "comments"
        | "comment" => Field::Told,
        _ => return None,
    })
}

fn status_field(name: &str) -> Option<Field> {
    Some(match plain(name).as_str() {
        "beginningipaddress" | "beginipaddress" | "firstip" | "firstipaddress" | "startip" | "startipaddress"
        | "beginip" | "ipaddress" | "ip" => Field::First,
        "endingipaddress" | "endipaddress" | "lastip" | "lastipaddress" | "endip" => Field::Last,
        "blocked" | "isblocked" => Field::Blocked,
        "reason" | "reasons" | "detail" | "details" | "status" | "state" | "comments" => Field::Detail,
        _ => return None,
    })
}

const DATA_COLUMNS: [&str; 14] = [
    "ip",
    "activity start",
    "activity end",
    "rcpt commands",
    "data commands",
    "message recipients",
    "filter result",
    "complaint rate",
    "trap period start",
    "trap period end",
    "trap hits",
    "sample helo",
    "sample mail from",
    "comments",
];
const STATUS_COLUMNS: [&str; 4] = ["first ip", "last ip", "blocked", "details"];

/// The rows of a report in any of its shapes.
///
/// # Errors
/// Where it is neither, in words.
pub fn rows(text: &str, is_status: bool) -> Result<Vec<Row>, String> {
    if text.trim_start().starts_with(['[', '{']) {
        let json = serde_json::from_str(text).map_err(|error| format!("no JSON: line {}", error.line()))?;
        return reading::json_rows(&json).ok_or_else(|| "JSON without a list of rows".to_owned());
    }
    let records = csv_records(text)?;
    let Some(first) = records.first() else {
        // Of a data report it means no data; a status report would acquit everybody.
        return if is_status { Err("an empty body is no status report".to_owned()) } else { Ok(Vec::new()) };
    };
    let is_data = first.first().is_some_and(|cell| address(cell).is_some());
    let columns: &[&str] = if is_status { &STATUS_COLUMNS } else { &DATA_COLUMNS };
    let header: Vec<String> = match is_data {
        true => (0..first.len().max(columns.len()))
            .map(|n| columns.get(n).map_or_else(|| format!("column {}", n + 1), |c| (*c).to_owned()))
            .collect(),
        false => first.clone(),
    };
    let known = if is_status { status_field } else { data_field };
    // A header has names in it; one sentence ("an error occurred") has none that we know.
    if !header.iter().any(|name| known(name).is_some()) {
        return Err("neither rows nor a header that is known".to_owned());
    }
    let rows = records.into_iter().skip(usize::from(!is_data));
    Ok(rows.map(|record| header.iter().cloned().zip(record).collect()).collect())
}

/// Reads a data report about `day` (where the rows do not say).
pub fn data(rows: &[Row], day: Option<jiff::civil::Date>, now: Wall) -> Report {
    let mut report = Report { rows: rows.len(), ..Report::default() };
    for row in rows {
        read_data(row, day, now, &mut report);
    }
    report
}

fn read_data(row: &Row, day: Option<jiff::civil::Date>, now: Wall, report: &mut Report) {
    let (mut ip, mut begins, mut ends, mut seen) = (None, None, None, Vec::new());
    for (name, text) in row {
        let Some(field) = data_field(name) else {
            if !text.is_empty() {
                report.unknown(name);
            }
            continue;
        };
        if text.is_empty() {
            continue;
        }
        let known = match field {
            Field::Address => {
                ip = address(text);
                ip.is_some()
            }
            Field::Day => reading::period(text)
                .map(|day| (begins, ends) = (begins.or(Some(day.0)), ends.or(Some(day.1))))
                .is_some(),
            Field::Begins => reading::period(text).map(|at| begins = Some(at.0)).is_some(),
            Field::Ends => reading::period(text).map(|at| ends = Some(at.1)).is_some(),
            Field::Period => {
                let (from, to) = text.split_once(" - ").or_else(|| text.split_once(" to ")).unwrap_or((text, text));
                let both = reading::period(from).zip(reading::period(to));
                both.map(|(from, to)| (begins, ends) = (Some(from.0), Some(to.1))).is_some()
            }
            Field::Filter => {
                let verdict = ["GREEN", "YELLOW", "RED"].iter().position(|word| word.eq_ignore_ascii_case(text));
                verdict.map(|n| seen.push(("filter_result", Value::exact(n as f64)))).is_some()
            }
            Field::Complaints => {
                let share = value(text).filter(|share| text.contains('%') || share.number == 0.0);
                share.map(|share| seen.push(("complaint_ratio", share))).is_some()
            }
            Field::Count(metric) => value(text).map(|count| seen.push((metric, count))).is_some(),
            _ => true,
        };
        if !known {
            report.unknown(&format!("{name}={text}"));
        }
    }
    let Some(ip) = ip else {
        report.unknown("a row without an address");
        return;
    };
    // Nothing of the row says when: then the day that was asked for; else it ended with the day before the fetch.
    let whole = day.or_else(|| reading::day_at(now).yesterday().ok()).map(reading::day_of);
    let period = (begins.or(whole.map(|day| day.0)).unwrap_or(now), ends.or(whole.map(|day| day.1)).unwrap_or(now));
    let raw = line_of(row);
    report.observations.extend(
        seen.into_iter().map(|(metric, value)| Observation::new(Scope::Address(ip), metric, value, period, &raw, now)),
    );
}

/// Reads a status report: what is said of each of `ours`, also where the answer is that nothing is wrong with it.
///
/// # Errors
/// Where there are rows of which none can be read: then nothing is known of anybody.
pub fn status(rows: &[Row], ours: &[IpAddr], now: Wall) -> Result<Report, String> {
    let mut report = Report { rows: rows.len(), ..Report::default() };
    let mut told = Vec::new();
    for row in rows {
        let (mut first, mut last, mut blocked, mut words) = (None, None, None, false);
        for (name, text) in row {
            match status_field(name) {
                Some(Field::First) => first = address(text),
                Some(Field::Last) => last = address(text),
                Some(Field::Blocked) => blocked = is_yes(text),
                Some(Field::Detail) => words |= says_blocked(text),
                Some(_) => {}
                None if text.is_empty() => {}
                None => report.unknown(name),
            }
        }
        let range = first.and_then(|first| Scope::range(first, last.unwrap_or(first)));
        match range {
            Some(range) => {
                // Where no field says so, the words may.
                told.push((range, blocked.unwrap_or(words), line_of(row)));
            }
            None => report.unknown("a row without a range"),
        }
    }
    if told.is_empty() && !rows.is_empty() {
        return Err("no row of the status report can be read".to_owned());
    }
    for ip in ours {
        let rows: Vec<_> = told.iter().filter(|(range, ..)| range.holds(*ip)).collect();
        let is_blocked = rows.iter().any(|(_, blocked, _)| *blocked);
        let raw: Vec<&str> = rows.iter().map(|(.., text)| text.as_str()).collect();
        for (metric, yes) in STATES.into_iter().zip([is_blocked, !rows.is_empty() && !is_blocked]) {
            let value = Value::exact(f64::from(u8::from(yes)));
            report.observations.push(Observation::new(
                Scope::Address(*ip),
                metric,
                value,
                (now, now),
                &raw.join("; "),
                now,
            ));
        }
    }
    Ok(report)
}

/// Whether words say that something is blocked ("not blocked" and "unblocked" do not).
fn says_blocked(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let words: Vec<&str> = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let is_denied = |at: usize| at.checked_sub(1).and_then(|before| words.get(before)).is_some_and(|w| *w == "not");
    words.iter().enumerate().any(|(at, word)| *word == "blocked" && !is_denied(at))
}

fn is_yes(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "1" | "blocked" => Some(true),
        "no" | "false" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
#[path = "snds_tests.rs"]
mod tests;
