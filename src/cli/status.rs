//! `remuda status`: the state of a running relay as tables.
//!
//! What stands in them was partly chosen by others (replies quoted as evidence, names of sites, sender domains): nothing
//! is printed raw, and nothing is wider than the terminal.

use std::process::ExitCode;

use super::binding::addresses;
use super::columns::{Columns, Side, paragraph};
use super::fail;
use super::remote::Remote;
use super::terminal::{columns, visible_json};
use crate::admin::status::{BindingStatus, Status};
use crate::clock::Wall;
use Side::{Left, Right};

pub(super) fn main(remote: &Remote) -> ExitCode {
    let text = match remote.get("/api/v1/status", &[]) {
        Ok(text) => text,
        Err(error) => return fail(error),
    };
    if remote.json {
        println!("{}", visible_json(&text));
        return ExitCode::SUCCESS;
    }
    match serde_json::from_str(&text) {
        Ok(status) => {
            print!("{}", table(&status, columns()));
            ExitCode::SUCCESS
        }
        Err(error) => fail(format_args!("{} answered something else than a status: {error}", remote.admin)),
    }
}

/// The status in words, for a terminal of `width` columns.
fn table(status: &Status, width: Option<usize>) -> String {
    let mut out = head(status, width);
    let tables = [("", bindings(status)), ("", waiting(status)), (HELD, holds(status)), (CAME_BACK, came_back(status))];
    for (title, table) in tables.into_iter().chain([("", zones(status))]) {
        if !table.is_empty() {
            out.push('\n');
            out.push_str(title);
            out.push_str(&table.text(width));
        }
    }
    let spool = &status.spool;
    if spool.quarantined_count > 0 {
        out.push_str(&format!("\nrecords set aside because they could not be read: {}\n", spool.quarantined_count));
    }
    for what in &spool.quarantined {
        out.push_str(&paragraph(what, width));
    }
    out
}

const HELD: &str = "mail held because a receiver refuses its sender\n";
const CAME_BACK: &str = "came back by mail, last 7 days\n";

fn head(status: &Status, width: Option<usize>) -> String {
    let counts = &status.counts;
    let mut out = paragraph(&format!("{} remuda {}", status.hostname, status.version), width);
    let recipients = format!(
        "recipients: accepted {} recovered {} delivered {} bounced {} expired {} waiting {} (in flight {})",
        counts.accepted_recipients,
        counts.recovered_recipients,
        counts.delivered,
        counts.bounced,
        counts.expired,
        status.queue.recipients,
        status.queue.in_flight,
    );
    out.push_str(&paragraph(&recipients, width));
    if counts.stranded_recipients > 0 {
        let stranded = counts.stranded_recipients;
        let text = format!("stranded {stranded}: on disk, but their pool or tenant is no longer configured");
        out.push_str(&paragraph(&text, width));
    }
    out
}

fn bindings(status: &Status) -> Columns {
    let mut table = Columns::new([
        ("binding", Left),
        ("address", Left),
        ("health", Left),
        ("in use", Right),
        ("cap", Right),
        ("reason", Left),
    ]);
    for b in &status.bindings {
        let cap = b.cap.as_ref().map_or_else(|| "-".to_owned(), |cap| format!("{}/{}", cap.used, cap.limit));
        let reason = why(b.reason.as_deref());
        let bound = addresses(&b.bind_address, b.second_bind_address.as_deref());
        table.row([&b.name, &bound, &b.health, &b.in_use.to_string(), &cap, reason]);
        evidence(&mut table, b.until, b.evidence.as_deref());
        if let Some(operator) = b.operator.as_deref().filter(|operator| *operator != "suspended") {
            table.below(&format!("operator: {operator}"));
        }
        for order in &b.orders {
            table.below(&super::acts::order_line(order));
        }
        warmups(&mut table, b);
        routes(&mut table, b);
    }
    table
}

fn warmups(table: &mut Columns, binding: &BindingStatus) {
    for w in &binding.warmup {
        let to = w.provider.as_deref().map(|provider| format!(" at {provider}")).unwrap_or_default();
        let used = format!("{}/{} today", w.accepted, w.allowance);
        table.below(&format!("warm-up stage {} (0 to {}): {used}{to}", w.stage, w.stages.saturating_sub(1)));
    }
}

fn routes(table: &mut Columns, binding: &BindingStatus) {
    for r in &binding.routes {
        // The name of a site may be long, and comes last so that only it is cut.
        let reason = r.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        table.below(&format!("{}{reason}{} at {}", r.health, until(r.until), r.destination));
        if let Some(evidence) = &r.evidence {
            table.below(&format!("  why: {evidence}"));
        }
        if let Some(window) = r.window.as_ref().filter(|window| window.limit < window.ceiling) {
            let paused = window.paused_until.map(|_| format!("; none{}", until(window.paused_until)));
            let paused = paused.unwrap_or_default();
            table.below(&format!(
                "  connections: {} of {} (at most {}){paused}",
                window.in_use, window.limit, window.ceiling
            ));
        }
    }
}

fn waiting(status: &Status) -> Columns {
    let mut table =
        Columns::new([("pool", Left), ("destination", Left), ("reason", Left), ("entries", Right), ("next", Left)]);
    for w in &status.queue.waiting {
        let next = w.next_at.map(time).unwrap_or_default();
        table.row([&w.pool, &w.destination, &w.reason, &w.count.to_string(), &next]);
    }
    table
}

fn holds(status: &Status) -> Columns {
    let mut table = Columns::new([
        ("tenant", Left),
        ("sender domain", Left),
        ("destination", Left),
        ("state", Left),
        ("until", Left),
    ]);
    for h in &status.holds {
        let mut domain = h.key.sender_domain.as_ref().map_or("*", |domain| domain.as_str()).to_owned();
        if let Some(stream) = &h.key.stream {
            domain.push_str(&format!(" ({stream})"));
        }
        let end = if h.state == "held" { time(h.until) } else { String::new() };
        table.row([h.key.tenant.as_str(), &domain, h.key.destination.as_str(), &h.state, &end]);
        table.below(&format!("why: {}", h.evidence));
    }
    table
}

fn came_back(status: &Status) -> Columns {
    let mut table = Columns::new([
        ("binding", Left),
        ("destination", Left),
        ("accepted", Right),
        ("complaints", Right),
        ("late bounces", Right),
    ]);
    for b in &status.bindings {
        for f in b.feedback.iter().filter(|f| f.complaints + f.late_bounces > 0) {
            let [accepted, complaints, late] = [f.accepted, f.complaints, f.late_bounces].map(|n| n.to_string());
            table.row([&b.name, &f.destination, &accepted, &complaints, &late]);
        }
    }
    table
}

fn zones(status: &Status) -> Columns {
    let mut table = Columns::new([("zone", Left), ("health", Left), ("lists", Left)]);
    for z in &status.zones {
        table.row([&z.name, &z.health, &z.listed.join(", ")]);
        if let Some(reason) = &z.reason {
            table.below(&format!("why: {reason}"));
        }
    }
    table
}

fn why(reason: Option<&str>) -> &str {
    reason.unwrap_or("")
}

/// What speaks for a health that is not active, and its end.
fn evidence(table: &mut Columns, end: Option<Wall>, evidence: Option<&str>) {
    match (end, evidence) {
        (None, None) => {}
        (Some(end), None) => table.below(&format!("until {}", time(end))),
        (end, Some(evidence)) => table.below(&format!("why{}: {evidence}", until(end))),
    }
}

fn until(end: Option<Wall>) -> String {
    end.map(|end| format!(" until {}", time(end))).unwrap_or_default()
}

/// To the second, UTC.
fn time(at: Wall) -> String {
    at.timestamp().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::template::is_invisible;

    /// As the interface answers, with a hostile receiver.
    fn status() -> Status {
        let evidence = "550 5.7.1 \u{1b}[2J\u{202e}blocked\nforged ".repeat(9);
        let site = format!("site:{{{}}}", "mx.example.net,".repeat(9));
        let end = "2026-11-22T08:00:00Z";
        let value = serde_json::json!({
            "version": "0.1.0", "hostname": "relay.example.net", "at": end, "listeners": [],
            "bindings": [{
                "name": "mta1", "bind_address": "2001:db8:113:2222:3333:4444:5555:6666", "health": "suspended",
                "reason": "listed", "until": end, "evidence": evidence, "in_use": 3,
                "cap": { "limit": 1_000_000, "used": 123_456, "reserved": 0, "granted": 0, "resets_at": end },
                "warmup": [{ "provider": "gmail", "stage": 3, "stages": 9, "allowance": 2000, "accepted": 17 }],
                "routes": [{ "destination": site, "health": "suspended", "reason": "ip_blocked", "until": end,
                    "evidence": evidence }],
                "feedback": [{ "destination": "gmail", "accepted": 1000, "complaints": 7, "late_bounces": 2 }],
            }],
            "queue": { "messages": 1, "entries": 1, "recipients": 1, "in_flight": 0, "waiting": [{
                "pool": "transactional", "destination": site, "reason": "tenant_held", "count": 12, "recipients": 12,
                "oldest": end, "next_at": end, "attempts": 1 }] },
            "counts": { "accepted_messages": 1_000_000, "accepted_recipients": 1_000_000, "recovered_recipients": 1_000,
                "stranded_recipients": 5, "set_aside_recipients": 0, "delivered": 1_000_000, "bounced": 10_000,
                "expired": 1_000, "deferred": 0, "dsn": 0, "duplicates_possible": 0 },
            "tenants": [],
            "holds": [{ "tenant": "acme", "sender_domain": "news.acme.example", "destination": site, "until": end,
                "state": "held", "times": 2, "evidence": evidence }],
            "zones": [{ "name": "spamhaus", "health": "dead", "reason": evidence, "listed": ["mta1"] }],
            "spool": { "quarantined": ["entry 7: broken"], "quarantined_count": 1, "commits": 1 },
        });
        serde_json::from_value(value).expect("a status")
    }

    #[test]
    fn everything_fits_the_terminal_and_nothing_is_raw() {
        let shown = table(&status(), Some(80));
        for line in shown.lines() {
            assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
        }
        assert!(!shown.chars().any(|c| is_invisible(c) && c != '\n'), "{shown:?}");
        assert!(!shown.lines().any(|line| line.starts_with("forged")), "{shown}");
    }

    #[test]
    fn it_says_why_what_is_stranded_and_what_is_held() {
        let shown = table(&status(), Some(80));
        for part in [
            "stranded 5: on disk",
            "123456/1000000",
            "why until 2026-11-22T08:00:00Z: 550 5.7.1 \\u{1b}[2J\\u{202e}blocked",
            "suspended (ip_blocked) until 2026-11-22T08:00:00Z at site:{mx.",
            "    why: 550 5.7.1",
            "mail held because a receiver refuses its sender\ntenant",
            "warm-up stage 3 (0 to 8): 17/2000 today at gmail",
            "tenant_held",
            "came back by mail, last 7 days\nbinding",
            "spamhaus  dead",
            "entry 7: broken",
        ] {
            assert!(shown.contains(part), "no {part:?} in\n{shown}");
        }
        assert!(
            table(&status(), None).contains(&"mx.example.net,".repeat(9)),
            "nothing is cut where nothing has to fit"
        );
    }
}
