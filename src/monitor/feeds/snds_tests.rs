//! The shapes in which SNDS reports have been seen.

use super::*;
use crate::monitor::feeds::observation::Bound;

const NOW: Wall = Wall::from_millis(1_795_334_400_000); // 2026-11-22 08:00 UTC

fn read(text: &str) -> Report {
    data(&rows(text, false).unwrap(), None, NOW)
}

fn of<'a>(report: &'a Report, metric: &str) -> &'a Observation {
    report.observations.iter().find(|o| o.metric == metric).unwrap_or_else(|| panic!("no {metric} in {report:#?}"))
}

fn ours() -> Vec<IpAddr> {
    ["192.0.2.11", "192.0.2.12"].map(|ip| ip.parse().unwrap()).to_vec()
}

#[test]
fn the_old_csv_without_a_header_is_read_by_its_columns() {
    let text = "192.0.2.11,11/20/2026 12:00 AM,11/21/2026 12:00 AM,1500,1400,1450,RED,< 0.1%,11/20/2026 3:00 AM,11/20/2026 4:00 AM,2,mta1.example.net,a@example.net,\"odd, quoted\"\n";
    let report = read(text);
    assert_eq!((report.rows, report.unknown.len()), (1, 0), "{report:#?}");
    assert_eq!(of(&report, "filter_result").value, Value::exact(2.0));
    assert_eq!(of(&report, "complaint_ratio").value, Value { number: 0.001, bound: Bound::Below });
    assert_eq!(of(&report, "trap_hits").value, Value::exact(2.0));
    assert_eq!(of(&report, "trap_hits").ends.to_string(), "2026-11-21T00:00:00.000Z");
    assert!(of(&report, "trap_hits").raw.contains("odd, quoted"));
}

#[test]
fn a_csv_with_a_header_is_read_by_its_names() {
    let text = "Ip Address,Activity period,RCPT commands,DATA commands,Message recipients,Filter result,Complaint rate,Trap message period,Trap hits,JMR P1 Sender,Comments\n\
        192.0.2.11,11/20/2026 12:00 AM - 11/20/2026 11:59 PM,1500,1400,1450,YELLOW,0.4%,,0,,\n";
    let report = read(text);
    assert_eq!(report.unknown, Vec::<String>::new());
    assert_eq!(of(&report, "filter_result").value, Value::exact(1.0));
    assert_eq!(of(&report, "complaint_ratio").value, Value::exact(0.004));
    assert_eq!(of(&report, "data_commands").ends.to_string(), "2026-11-20T23:59:00.000Z");
}

#[test]
fn json_is_read_bare_or_wrapped_and_by_aliases() {
    let object = r#"{"ipAddress":"192.0.2.11","activityStart":"2026-11-20T00:00:00Z","activityEnd":"2026-11-21T00:00:00Z","dataCommands":"1400","filterResult":"GREEN","complaintRate":"< 0.1%","trapHits":0}"#;
    for text in [format!("[{object}]"), format!("{{\"value\":[{object}]}}"), format!("{{\"Results\":[{object}]}}")] {
        let report = read(&text);
        assert_eq!(of(&report, "filter_result").value, Value::exact(0.0), "{text}");
        assert_eq!(of(&report, "data_commands").value, Value::exact(1400.0));
        assert_eq!(report.unknown, Vec::<String>::new());
    }
}

#[test]
fn what_is_new_or_odd_in_a_row_is_counted_once_and_the_rest_is_read() {
    let text = r#"[{"ip":"192.0.2.11","filterResult":"PURPLE","trapHits":3,"newScore":7,"complaintRate":0.4},
        {"ip":"192.0.2.12","newScore":8,"filterResult":"red"},{"filterResult":"RED"}]"#;
    let report = read(text);
    assert_eq!(report.unknown.len(), 4, "{:?}", report.unknown);
    assert_eq!(of(&report, "trap_hits").value, Value::exact(3.0));
    assert!(!report.observations.iter().any(|o| o.metric == "complaint_ratio"), "0.4 of what?");
    assert_eq!(report.observations.iter().filter(|o| o.metric == "filter_result").count(), 1);
}

#[test]
fn without_a_period_the_day_asked_for_counts_or_yesterday() {
    let row = rows(r#"[{"ip":"192.0.2.11","filterResult":"RED"}]"#, false).unwrap();
    let late = data(&row, Some(jiff::civil::date(2026, 11, 20)), NOW);
    assert_eq!(of(&late, "filter_result").ends.to_string(), "2026-11-21T00:00:00.000Z");
    assert_eq!(of(&data(&row, None, NOW), "filter_result").ends.to_string(), "2026-11-22T00:00:00.000Z");
}

#[test]
fn an_empty_status_list_is_good_news_for_every_address() {
    for text in ["[]", "{\"value\":[]}", "First IP,Last IP,Blocked,Details\n"] {
        let report = status(&rows(text, true).unwrap(), &ours(), NOW).unwrap();
        assert_eq!(report.observations.len(), 4, "{text:?}");
        assert!(report.observations.iter().all(|o| o.value == Value::exact(0.0)));
    }
}

#[test]
fn a_blocked_range_is_said_of_our_addresses_in_it() {
    let json = r#"[{"beginningIpAddress":"192.0.2.8","endingIpAddress":"192.0.2.11","blocked":true,"reason":"bot"}]"#;
    let old = "192.0.2.8,192.0.2.11,Yes,Blocked due to user complaints\n";
    for text in [json, old] {
        let report = status(&rows(text, true).unwrap(), &ours(), NOW).unwrap();
        let blocked: Vec<_> =
            report.observations.iter().filter(|o| o.metric == "blocked").map(|o| o.value.number).collect();
        assert_eq!(blocked, [1.0, 0.0], "{text}");
    }
    let junked = "192.0.2.12,192.0.2.12,No,Junked\n";
    let report = status(&rows(junked, true).unwrap(), &ours(), NOW).unwrap();
    let bad: Vec<_> = report.observations.iter().filter(|o| o.value.number > 0.0).map(|o| o.metric.as_str()).collect();
    assert_eq!(bad, ["abnormal"]);
}

#[test]
fn a_status_report_that_cannot_be_read_is_no_empty_one() {
    assert!(rows("{\"message\":\"no\"}", true).is_err());
    assert!(rows("An error has occurred", true).is_err());
    assert!(rows("[{\"a\"", true).is_err());
    assert!(rows(" \r\n", true).is_err(), "nothing at all is not an empty list");
    assert!(rows("", false).unwrap().is_empty(), "of a data report it is: no data");
    let strange = rows(r#"[{"network":"192.0.2.0/24","blocked":true}]"#, true).unwrap();
    assert!(status(&strange, &ours(), NOW).is_err());
}

#[test]
fn only_the_details_say_blocked_where_the_field_says_nothing() {
    let blocked = |rest: &str| {
        let text = format!(r#"[{{"beginningIpAddress":"192.0.2.11","endingIpAddress":"192.0.2.11",{rest}}}]"#);
        let report = status(&rows(&text, true).unwrap(), &ours(), NOW).unwrap();
        report.observations.iter().any(|o| o.metric == "blocked" && o.value.number > 0.0)
    };
    assert!(!blocked(r#""blocked":null,"reason":"junked""#), "the name of a field is no verdict");
    assert!(!blocked(r#""reason":"Not blocked, junked""#));
    assert!(!blocked(r#""reason":"unblocked""#));
    assert!(blocked(r#""blocked":null,"reason":"Blocked due to complaints""#));
    assert!(!blocked(r#""blocked":false,"reason":"was blocked""#), "the field counts for more than the words");
}
