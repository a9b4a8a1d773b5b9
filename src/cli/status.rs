//! `remuda status`: the state of a running relay as a table.

use std::process::ExitCode;
use std::time::Duration;

use super::fail;
use crate::admin::status::Status;
use crate::clock::Wall;

pub(super) fn main(admin: &str, json: bool) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(error),
    };
    match runtime.block_on(fetch(admin)) {
        Err(error) => fail(format_args!("no answer from {admin}: {error}; is the relay running, is --admin right?")),
        Ok(text) if json => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Ok(text) => match serde_json::from_str(&text) {
            Ok(status) => {
                print!("{}", table(&status));
                ExitCode::SUCCESS
            }
            Err(error) => fail(format_args!("{admin} answered something else than a status: {error}")),
        },
    }
}

async fn fetch(admin: &str) -> Result<String, reqwest::Error> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).no_proxy().build()?;
    client.get(format!("http://{admin}/api/v1/status")).send().await?.error_for_status()?.text().await
}

/// The status in words.
fn table(status: &Status) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    let until = |until: Option<Wall>| until.map(|u| format!(" until {u}")).unwrap_or_default();
    let c = &status.counts;
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{} remuda {}", status.hostname, status.version);
    let _ = writeln!(
        out,
        "recipients: accepted {} recovered {} delivered {} bounced {} expired {} waiting {} (in flight {})",
        c.accepted_recipients,
        c.recovered_recipients,
        c.delivered,
        c.bounced,
        c.expired,
        status.queue.recipients,
        status.queue.in_flight,
    );
    let _ =
        writeln!(out, "\n{:<16} {:<16} {:<11} {:>6} {:>15}  reason", "binding", "address", "health", "in use", "cap");
    for b in &status.bindings {
        let cap = b.cap.as_ref().map_or_else(|| "-".to_owned(), |cap| format!("{}/{}", cap.used, cap.limit));
        let why = b.reason.as_deref().unwrap_or("");
        let _ = writeln!(
            out,
            "{:<16} {:<16} {:<11} {:>6} {:>15}  {why}{}",
            b.name,
            b.bind_address,
            b.health,
            b.in_use,
            cap,
            until(b.until)
        );
        for r in &b.routes {
            let why = r.reason.as_deref().unwrap_or("");
            let _ = writeln!(out, "  at {:<28} {:<11} {why}{}", r.destination, r.health, until(r.until));
        }
    }
    if !status.queue.waiting.is_empty() {
        let _ = writeln!(out, "\n{:<16} {:<28} {:<16} {:>8}  next", "pool", "destination", "reason", "entries");
    }
    for w in &status.queue.waiting {
        let next = w.next_at.map(|n| n.to_string()).unwrap_or_default();
        let _ = writeln!(out, "{:<16} {:<28} {:<16} {:>8}  {next}", w.pool, w.destination, w.reason, w.count);
    }
    if !status.holds.is_empty() {
        let _ = writeln!(
            out,
            "\n{:<16} {:<24} {:<28} {:<8} evidence",
            "held tenant", "sender domain", "destination", "state"
        );
    }
    for h in &status.holds {
        let domain = h.key.sender_domain.as_ref().map_or("*", |domain| domain.as_str());
        let end = (h.state == "held").then_some(h.until);
        let _ = writeln!(
            out,
            "{:<16} {:<24} {:<28} {:<8}{} {}",
            h.key.tenant,
            domain,
            h.key.destination,
            h.state,
            until(end),
            h.evidence
        );
    }
    let feedback = || status.bindings.iter().flat_map(|b| b.feedback.iter().map(move |f| (b, f)));
    if feedback().any(|(_, f)| f.complaints + f.late_bounces > 0) {
        let _ = writeln!(
            out,
            "\n{:<16} {:<28} {:>10} {:>12} {:>12}  last 7 days",
            "binding", "destination", "accepted", "complaints", "late bounces"
        );
    }
    for (b, f) in feedback().filter(|(_, f)| f.complaints + f.late_bounces > 0) {
        let _ = writeln!(
            out,
            "{:<16} {:<28} {:>10} {:>12} {:>12}",
            b.name, f.destination, f.accepted, f.complaints, f.late_bounces
        );
    }
    for z in &status.zones {
        let _ = writeln!(out, "\nzone {:<16} {:<11} lists: {}", z.name, z.health, z.listed.join(", "));
    }
    for q in &status.spool.quarantined {
        let _ = writeln!(out, "\nset aside: {q}");
    }
    out
}
