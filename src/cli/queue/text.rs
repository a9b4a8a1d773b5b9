//! The queue in words and tables.

use std::time::Duration;

use crate::admin::queue::shown::{ActAnswer, EntryDetails, EntryList, Held, QueueList, ReasonCount};
use crate::cli::columns::Side::{Left, Right};
use crate::cli::columns::{Columns, paragraph};
use crate::clock::Wall;

/// A list.
pub(super) fn list(list: &QueueList, width: Option<usize>) -> String {
    // An id is for copying: like a number it is never shortened.
    let mut table = Columns::new([
        ("id", Right),
        ("age", Right),
        ("tries", Right),
        ("waits for", Left),
        ("next in", Right),
        ("tenant/pool", Left),
        ("to", Left),
    ]);
    for entry in &list.entries {
        let now = entry.arrived.plus(Duration::from_secs(entry.age));
        let next = entry.next_at.map(|at| age(at.since(now).as_secs())).unwrap_or_default();
        let whose = format!("{}/{}", entry.tenant, entry.pool);
        let to = match entry.recipients {
            1 => entry.domain.clone(),
            several => format!("{several}x {}", entry.domain),
        };
        table.row([&entry.id, &age(entry.age), &entry.attempts.to_string(), &entry.reason, &next, &whose, &to]);
        if let Some(held) = &entry.held {
            table.below(&held_words(held));
        }
        if let Some(reply) = &entry.last_reply {
            table.below(reply);
        }
    }
    let mut out = if list.entries.is_empty() { String::new() } else { table.text(width) };
    let shown = list.entries.len();
    let head = match list.total {
        0 => "nothing waits that is meant".to_owned(),
        total if total == shown => format!("{total} entries: {}", reasons(&list.reasons)),
        total => format!("{shown} of {total} entries; all of them: {}", reasons(&list.reasons)),
    };
    if shown > 0 {
        out.push('\n');
    }
    out.push_str(&paragraph(&head, width));
    if let Some(stopped) = &list.stopped {
        out.push_str(&paragraph(stopped, width));
    }
    if let Some(after) = &list.after {
        out.push_str(&paragraph(&format!("more: --after {after}"), width));
    }
    out
}

/// `3 retry, 2 cap`
pub(super) fn reasons(reasons: &[ReasonCount]) -> String {
    reasons.iter().map(|reason| format!("{} {}", reason.count, reason.reason)).collect::<Vec<_>>().join(", ")
}

/// One entry or several, with all that is known.
pub(super) fn details(list: &EntryList, width: Option<usize>) -> String {
    let entries = list.entries.iter().map(|entry| one(entry, width));
    entries.collect::<Vec<_>>().join("\n")
}

fn one(details: &EntryDetails, width: Option<usize>) -> String {
    let entry = &details.entry;
    let mut out = String::new();
    let mut line = |name: &str, text: &str| out.push_str(&paragraph(&format!("{name:<11} {text}"), width));
    line("entry", &format!("{}, message {}", entry.id, entry.message.as_deref().unwrap_or("?")));
    let stream = entry.stream.as_deref().unwrap_or("?");
    line("tenant", &format!("{}, stream {stream}, pool {}", entry.tenant, entry.pool));
    let to = entry.destination.as_deref().map_or_else(String::new, |to| format!(" ({to})"));
    line("to", &format!("{}{to}", entry.domain));
    line("from", &details.sender.as_ref().map_or_else(|| "<>".to_owned(), |sender| format!("<{sender}>")));
    line("arrived", &format!("{}, {} ago, {} octets", moment(entry.arrived), age(entry.age), details.size));
    line("expires", &moment(details.expires));
    let next = entry.next_at.map_or_else(String::new, |at| format!(", until {}", moment(at)));
    line("waits for", &format!("{}{next}", entry.reason));
    if let Some(held) = &entry.held {
        line("held", &held_words(held));
    }
    line("attempts", &format!("{}; its own next try: {}", entry.attempts, moment(details.due)));
    if let Some(sticky) = &details.sticky {
        line("prefers", &format!("{} for {} more tries", sticky.binding, sticky.tries));
    }
    for excluded in &details.excluded {
        line("avoids", &format!("{} until {}", excluded.binding, moment(excluded.until)));
    }
    if !details.blamed.is_empty() {
        line("blamed", &details.blamed.join(", "));
    }
    for tried in &details.tried {
        line("tried over", &format!("{}, first {}", tried.binding, moment(tried.first_at)));
    }
    for recipient in &details.waiting {
        line("recipient", &format!("<{}>", recipient.address));
        if let Some(reply) = &recipient.last_reply {
            let host = recipient.last_host.as_deref().map_or_else(String::new, |host| format!("{host}: "));
            line("", &format!("{host}{reply}"));
        }
    }
    if !details.bindings.is_empty() {
        let mut table = Columns::new([("binding", Left), ("tier", Left), ("verdict", Left), ("why", Left)]);
        for said in &details.bindings {
            let tier = if said.tier == 0 { "active".to_owned() } else { format!("backup {}", said.tier) };
            table.row([&said.binding, &tier, &said.verdict, &said.words]);
        }
        out.push_str(&table.text(width));
    }
    out
}

fn held_words(held: &Held) -> String {
    let until = held.until.map_or_else(|| "until released".to_owned(), |until| format!("until {}", moment(until)));
    format!("held by {} since {}, {until}: {}", held.actor, moment(held.at), held.reason)
}

/// What came of an act, in words.
pub(super) fn acted(answer: &ActAnswer, width: Option<usize>) -> String {
    let mut said = Vec::new();
    if answer.dry_run {
        said.push(format!("{} of {} entries; nothing was done", answer.act, answer.matched));
    } else {
        let stranded = "not tried: their pool or tenant is not configured; move them";
        let no_report = "not ended: their tenant is not configured, and no report could leave; say --silent";
        let waits = "on the wire: done when their attempt ends, if anybody still waits then";
        for (count, words) in [
            (answer.unchanged, "were so before"),
            (answer.on_the_wire, if answer.act == "retry" { "on the wire already" } else { waits }),
            (answer.held, "held, and not tried: release them first"),
            (answer.another, "not done: another act was promised for the end of their attempt"),
            (answer.stranded, if answer.act == "bounce" { no_report } else { stranded }),
            (answer.gone, "gone meanwhile: delivered or ended"),
            (answer.unread, "could not be read; the log says why"),
        ] {
            if count > 0 {
                said.push(format!("{count} {words}"));
            }
        }
        said.insert(0, format!("{}: {} of {} entries done", answer.act, answer.done, answer.matched));
    }
    if !answer.reasons.is_empty() {
        let when = if answer.act == "retry" && !answer.dry_run { "now" } else { "they wait for" };
        said.push(format!("{when}: {}", reasons(&answer.reasons)));
    }
    if !answer.unknown.is_empty() {
        said.push(format!("nothing in the queue has {}", answer.unknown.join(", ")));
    }
    said.extend(answer.stopped.clone());
    said.iter().map(|text| paragraph(text, width)).collect()
}

/// The two largest units.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

fn moment(at: Wall) -> String {
    at.timestamp().strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> QueueList {
        serde_json::from_value(serde_json::json!({
            "entries": [{
                "id": "0dq3k7z9x2m1a", "pool": "transactional", "tenant": "acme", "domain": "mail.customer.example.org",
                "destination": "gmail", "recipients": 2, "attempts": 3, "arrived": "2026-11-22T10:00:00.000Z", "age": 5_400,
                "reason": "route_suspended", "next_at": "2026-11-22T12:00:00.000Z", "message": "0dq3k7z9x2m19",
                "stream": "default", "last_reply": "450 4.2.0 evil \u{1b}[2J and long, so that it does not fit on one line",
                "held": { "actor": "ann", "reason": "wait", "at": "2026-11-22T10:00:00.000Z", "until": null }
            }],
            "total": 12, "reasons": [{ "reason": "route_suspended", "count": 11 }, { "reason": "cap", "count": 1 }],
            "after": "0dq3k7z9x2m1a", "stopped": null
        }))
        .expect("a list")
    }

    #[test]
    fn a_list_fits_a_terminal_and_forges_nothing() {
        let shown = list(&queue(), Some(80));
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        assert!(!shown.contains('\u{1b}') && shown.contains("0dq3k7z9x2m1a"), "{shown}");
        for words in [
            "1h30m",
            "30m00s",
            "route_sus",
            "2x mail",
            "held by ann since 2026-11-22 10:00:00Z, until released: wait",
            "1 of 12 entries",
        ] {
            assert!(shown.contains(words), "no {words:?} in\n{shown}");
        }
        assert!(shown.contains("11 route_suspended, 1 cap") && shown.contains("--after 0dq3k7z9x2m1a"), "{shown}");
    }

    #[test]
    fn what_came_of_an_act_is_said_to_the_last_entry() {
        let answer = ActAnswer {
            act: "hold".into(),
            matched: 9,
            done: 5,
            unchanged: 1,
            on_the_wire: 2,
            gone: 1,
            unknown: vec!["0000000000001".into()],
            ..ActAnswer::default()
        };
        let said = acted(&answer, None);
        for words in ["hold: 5 of 9", "1 were so before", "2 on the wire", "1 gone", "has 0000000000001"] {
            assert!(said.contains(words), "no {words:?} in\n{said}");
        }
        let retried = acted(&ActAnswer { act: "retry".into(), held: 3, ..ActAnswer::default() }, None);
        assert!(retried.contains("release them first"), "{retried}");
    }
}
