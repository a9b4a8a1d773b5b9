//! `remuda alerts`: what is wrong now, since when, and who was told.

use std::process::ExitCode;

use super::columns::{Columns, Side::Left, Side::Right};
use super::fail;
use super::remote::Remote;
use super::terminal::{columns, visible, visible_json};
use crate::alerts::shown::{AlertShown, Snapshot, TargetShown};
use crate::clock::Wall;

pub(super) fn main(remote: &Remote) -> ExitCode {
    let text = match remote.get("/api/v1/alerts", &[]) {
        Ok(text) => text,
        Err(error) => return fail(error),
    };
    if remote.json {
        println!("{}", visible_json(&text));
        return ExitCode::SUCCESS;
    }
    match serde_json::from_str(&text) {
        Ok(seen) => {
            print!("{}", tables(&seen, columns()));
            ExitCode::SUCCESS
        }
        Err(error) => fail(format_args!("{} answered something else than alerts: {error}", remote.admin)),
    }
}

fn tables(seen: &Snapshot, width: Option<usize>) -> String {
    let mut out = match (seen.looked_at, seen.alerts.is_empty()) {
        (None, _) => "nothing was looked at yet\n".to_owned(),
        (Some(_), true) => "nothing is wrong\n".to_owned(),
        (Some(_), false) => alerts(&seen.alerts).text(width),
    };
    if seen.left_out > 0 {
        out.push_str(&format!("and {} more than are kept\n", seen.left_out));
    }
    if !seen.targets.is_empty() {
        out.push('\n');
        out.push_str(&targets(&seen.targets).text(width));
    }
    out
}

fn alerts(alerts: &[AlertShown]) -> Columns {
    let mut table =
        Columns::new([("alert", Left), ("severity", Left), ("state", Left), ("since", Left), ("told", Left)]);
    // What fires first, the worst of it at the top.
    let rank = |alert: &&AlertShown| {
        let severity = ["critical", "warning", "info"].iter().position(|s| *s == alert.severity);
        (alert.fired_at.is_none(), severity, alert.name.clone())
    };
    let mut sorted: Vec<&AlertShown> = alerts.iter().collect();
    sorted.sort_by_key(rank);
    for alert in sorted {
        let told = if alert.told.is_empty() { "-".to_owned() } else { alert.told.join(", ") };
        let since = moment(alert.fired_at.unwrap_or(alert.since));
        table.row([&alert.name, &alert.severity, &alert.state, &since, &told]);
        table.below(&alert.summary);
        table.below(&alert.description);
    }
    table
}

fn targets(targets: &[TargetShown]) -> Columns {
    let mut table = Columns::new([
        ("target", Left),
        ("kind", Left),
        ("last took", Left),
        ("waiting", Right),
        ("failures", Right),
        ("lost", Right),
    ]);
    for target in targets {
        let last = target.last_success.map_or_else(|| "never".to_owned(), moment);
        let counts = [target.waiting as u64, u64::from(target.failures), target.lost].map(|n| n.to_string());
        table.row([&target.name, &target.kind, &last, &counts[0], &counts[1], &counts[2]]);
        if target.is_gone {
            table.below("answered 410: left alone until a restart");
        }
        if let Some(error) = &target.last_error {
            table.below(&visible(error));
        }
    }
    table
}

fn moment(at: Wall) -> String {
    at.timestamp().strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fires_stands_above_what_may_and_whom_it_was_told_beside_it() {
        let alert = |name: &str, severity: &str, fired_at| AlertShown {
            name: name.into(),
            severity: severity.into(),
            state: if fired_at { "firing" } else { "pending" }.into(),
            since: Wall::from_millis(0),
            fired_at: fired_at.then_some(Wall::from_millis(60_000)),
            labels: std::iter::once(("binding".to_owned(), "a".to_owned())).collect(),
            summary: format!("{name} of a"),
            description: "evil \u{1b}[31m".into(),
            runbook_url: None,
            told: if fired_at { vec!["near".into()] } else { Vec::new() },
        };
        let seen = Snapshot {
            at: Wall::from_millis(0),
            looked_at: Some(Wall::from_millis(0)),
            alerts: vec![
                alert("QueueOld", "critical", false),
                alert("CapNearlyUsed", "info", true),
                alert("NoDeliveries", "critical", true),
            ],
            left_out: 0,
            targets: Vec::new(),
        };
        let text = tables(&seen, None);
        let order: Vec<usize> = ["NoDeliveries ", "CapNearlyUsed ", "QueueOld "]
            .iter()
            .map(|name| text.find(name).expect("shown"))
            .collect();
        assert!(order.is_sorted(), "{text}");
        assert!(text.contains("1970-01-01 00:01:00Z  near"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn quiet_is_said_as_such() {
        let seen = |looked_at| Snapshot {
            at: Wall::from_millis(0),
            looked_at,
            alerts: Vec::new(),
            left_out: 0,
            targets: Vec::new(),
        };
        assert_eq!(tables(&seen(None), None), "nothing was looked at yet\n");
        assert_eq!(tables(&seen(Some(Wall::from_millis(0))), None), "nothing is wrong\n");
    }
}
