//! `remuda events`: what happened lately on a running relay, and the replies that no rule knew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;

use super::terminal::{columns, visible, visible_json, wrapped};
use super::{fail, rule_stub};
use crate::admin::api::UnmatchedList;
use crate::clock::{Wall, rfc3339};
use crate::outcome::Cause;
use crate::telemetry::events::Kind;
use crate::telemetry::unmatched::UnmatchedReply;

/// The kind that is kept apart from events.
const UNMATCHED: &str = "unmatched";
/// What comes first of an event's words, where it has them; the rest follows by name.
const FIRST: [&str; 6] = ["binding", "destination", "tenant", "from", "to", "reason"];

/// What to print.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Table,
    Json,
    /// Replies as rules.
    Stubs,
}

impl Form {
    pub(super) fn of(json: bool) -> Self {
        if json { Self::Json } else { Self::Table }
    }
}

/// One event, as `GET /api/v1/events` gives it.
#[derive(Debug, Deserialize)]
struct Event {
    #[serde(with = "rfc3339")]
    at: Wall,
    kind: String,
    #[serde(flatten)]
    fields: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct EventList {
    events: Vec<Event>,
}

pub(super) fn main(admin: &str, kind: Option<&str>, limit: usize, form: Form) -> ExitCode {
    let path = match kind {
        Some(UNMATCHED) => UNMATCHED.to_owned(),
        None if form == Form::Stubs => UNMATCHED.to_owned(),
        Some(kind) if form == Form::Stubs => {
            return wrong(format_args!("--rule-stub is for --kind {UNMATCHED}, not {kind:?}"));
        }
        None => "events".to_owned(),
        Some(kind) if Kind::of(kind).is_some() => format!("events?kind={kind}"),
        Some(kind) => return wrong(format_args!("no kind {kind:?}: {}, {UNMATCHED}", Kind::names())),
    };
    let sign = if path.contains('?') { '&' } else { '?' };
    let text = match ask(admin, &format!("{path}{sign}limit={limit}")) {
        Ok(text) => text,
        Err(failed) => return failed,
    };
    let shown = match form {
        Form::Json => Ok(visible_json(&text) + "\n"),
        Form::Stubs => serde_json::from_str(&text).map(|list: UnmatchedList| rule_stub::file(&list.replies)),
        Form::Table if path == UNMATCHED => serde_json::from_str(&text).map(|list| replies(&list, columns())),
        Form::Table => serde_json::from_str(&text).map(|list| events(&list, columns())),
    };
    match shown {
        Ok(shown) => print(&shown),
        Err(error) => fail(format_args!("{admin} answered something else than events: {error}")),
    }
}

/// Wrong usage.
fn wrong(message: impl std::fmt::Display) -> ExitCode {
    fail(message);
    ExitCode::from(2)
}

/// Whoever reads it may have seen enough (`| head`).
fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => fail(error),
        _ => ExitCode::SUCCESS,
    }
}

/// The answer to `GET /api/v1/…`, or the exit code after the reason was printed.
fn ask(admin: &str, path: &str) -> Result<String, ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fail)?;
    let answer = runtime.block_on(async {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).no_proxy().build()?;
        let answer = client.get(format!("http://{admin}/api/v1/{path}")).send().await?;
        Ok::<_, reqwest::Error>((answer.status(), answer.text().await?))
    });
    match answer {
        Err(error) => {
            Err(fail(format_args!("no answer from {admin}: {error}; is the relay running, is --admin right?")))
        }
        Ok((status, text)) if status.is_success() => Ok(text),
        Ok((status, text)) => Err(fail(format_args!("{admin} answered {status}: {}", visible(text.trim())))),
    }
}

/// To the second, UTC.
fn time(at: Wall) -> String {
    at.timestamp().strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Appends a row whose last cell is wrapped below itself.
fn row(out: &mut String, head: &str, words: &str, width: Option<usize>) {
    let indent = head.chars().count();
    // However narrow: something of the words has to be seen.
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(indent).max(20));
    for (number, line) in wrapped(words, room).into_iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = if number == 0 { writeln!(out, "{head}{line}") } else { writeln!(out, "{:indent$}{line}", "") };
    }
}

fn events(list: &EventList, width: Option<usize>) -> String {
    if list.events.is_empty() {
        return "nothing happened since the start\n".to_owned();
    }
    let mut out = format!("{:<19}  {:<7} what\n", "time (UTC)", "kind");
    for event in &list.events {
        let place = |name: &str| FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len());
        let mut fields: Vec<(&String, &String)> = event.fields.iter().collect();
        fields.sort_by_key(|(name, _)| place(name));
        let words: Vec<String> =
            fields.iter().map(|(name, text)| format!("{}={}", visible(name), value(text))).collect();
        row(&mut out, &format!("{}  {:<7} ", time(event.at), visible(&event.kind)), &words.join(" "), width);
    }
    out
}

/// Quoted where it would not be one word.
fn value(text: &str) -> String {
    let shown = visible(text);
    if shown.is_empty() || shown.contains([' ', '"', '=']) {
        format!("\"{}\"", shown.replace('"', "\\\""))
    } else {
        shown
    }
}

fn replies(list: &UnmatchedList, width: Option<usize>) -> String {
    if list.replies.is_empty() {
        return "every negative reply was understood\n".to_owned();
    }
    let provider = list.replies.iter().map(|r| r.provider.chars().count()).max().unwrap_or_default().clamp(8, 20);
    let mut out =
        format!("{:>7}  {:<13} {:<provider$} {:<19}  reply\n", "count", "code", "provider", "last seen (UTC)");
    for reply in &list.replies {
        let code = format!("{} {}", reply.code, reply.enhanced.as_deref().unwrap_or(""));
        let head = format!(
            "{:>7}  {:<13} {:<provider$} {}  ",
            reply.count,
            visible(&code),
            visible(&reply.provider),
            time(reply.last_seen)
        );
        row(&mut out, &head, &visible(&reply.template), width);
        row(&mut out, &" ".repeat(head.chars().count()), &visible(&guess(reply)), width);
    }
    let rest = list.total.saturating_sub(list.replies.len());
    if rest > 0 {
        let _ = writeln!(out, "{rest} more: --limit {}", list.total);
    }
    out.push_str("As rules to begin with: remuda events --rule-stub\n");
    out
}

fn guess(reply: &UnmatchedReply) -> String {
    let cause = reply.cause.map_or("nothing", Cause::as_str);
    let (rule, scope) = (&reply.rule, reply.scope.as_str());
    format!("└ taken for {cause} (scope {scope}) by {rule}; at {}, last for {}", reply.stage.as_str(), reply.binding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::template::is_invisible;
    use crate::outcome::{Scope, Stage};

    fn one(template: &str) -> UnmatchedReply {
        UnmatchedReply {
            class: 5,
            code: 550,
            enhanced: Some("5.7.1".into()),
            stage: Stage::Rcpt,
            provider: "other".into(),
            destination: "site:example.org".into(),
            template: template.into(),
            sample: format!("550 5.7.1 {template}"),
            count: 12,
            first_seen: Wall::from_millis(0),
            last_seen: Wall::from_millis(1_795_334_400_000),
            binding: "mta1".into(),
            cause: Some(Cause::Unknown),
            scope: Scope::Unknown,
            counts_against_ip: false,
            rule: "fallback.code.permanent".into(),
        }
    }

    #[test]
    fn a_table_of_replies_fits_the_terminal_and_shows_no_escape_sequence() {
        let hostile = "no \u{1b}[2J\u{202e}\n    999  forged line ".repeat(8);
        let list = UnmatchedList { replies: vec![one(&hostile), one("Frobnicated <address>")], total: 3 };
        let shown = replies(&list, Some(80));
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        assert!(!shown.chars().any(|c| is_invisible(c) && c != '\n'), "{shown:?}");
        assert!(
            shown.contains("     12  550 5.7.1     other    2026-11-22 08:00:00  Frobnicated <address>\n"),
            "{shown}"
        );
        assert!(shown.contains("1 more: --limit 3\n"), "{shown}");
        assert_eq!(replies(&list, None).lines().count(), 7, "not wrapped where nothing has to fit");
    }

    #[test]
    fn a_table_of_events_shows_each_on_a_line_with_the_subject_first() {
        let json = r#"{"events":[{"at":"2026-11-22T08:00:00Z","kind":"health","evidence":"550 \u001b[2J \"no\"\nx","to":"suspended",
            "binding":"mta1","destination":"gmail"}]}"#;
        let list: EventList = serde_json::from_str(json).expect("as the API writes it");
        let shown = events(&list, None);
        assert_eq!(
            shown.lines().nth(1),
            Some(
                "2026-11-22 08:00:00  health  binding=mta1 destination=gmail to=suspended evidence=\"550 \\u{1b}[2J \\\"no\\\"\\u{a}x\""
            )
        );
        assert_eq!(shown.lines().count(), 2);
    }
}
