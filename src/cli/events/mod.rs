//! `remuda events`: what happened on a running relay, lately or as it happens, and the replies that no rule knew.

mod follow;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use serde::Deserialize;

use super::remote::Remote;
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
const FIRST: [&str; 8] = ["actor", "act", "binding", "destination", "tenant", "from", "to", "reason"];

/// Options.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    remote: Remote,
    /// Only this kind; for several give it more than once, or commas between them: health, note, listing, report, warmup,
    /// feed, spf, audit, config, access; or unmatched.
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    kind: Vec<String>,
    /// Only of this binding.
    #[arg(long, value_name = "NAME")]
    binding: Option<String>,
    /// Only of this tenant.
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Not before that moment (2026-11-01T12:00:00Z), or so long ago at most (90m, 2h).
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Go on with what happens, until interrupted; with --json a line for each event.
    #[arg(short, long)]
    follow: bool,
    /// Print the replies of kind unmatched as rules to paste into a file of `classify.rules`.
    #[arg(long, conflicts_with_all = ["json", "follow"])]
    rule_stub: bool,
}

/// One event, as `GET /api/v1/events` gives it.
#[derive(Debug, Deserialize)]
struct Event {
    seq: u64,
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

impl Args {
    /// What is asked for besides how many.
    fn filter(&self) -> Vec<(&'static str, String)> {
        let kinds = (!self.kind.is_empty()).then(|| self.kind.join(","));
        let all = [
            ("kind", kinds),
            ("binding", self.binding.clone()),
            ("tenant", self.tenant.clone()),
            ("since", self.since.clone()),
        ];
        all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

pub(super) fn main(args: &Args) -> ExitCode {
    let is_unmatched = args.kind.iter().any(|kind| kind == UNMATCHED);
    if let Some(kind) = args.kind.iter().find(|kind| Kind::of(kind).is_none() && *kind != UNMATCHED) {
        return wrong(format_args!("no kind {kind:?}: {}, {UNMATCHED}", Kind::names()));
    }
    if is_unmatched && (args.kind.len() > 1 || args.follow) {
        return wrong(format_args!("{UNMATCHED} are counts, not events: they stand alone and are not followed"));
    }
    if args.rule_stub && !is_unmatched && !args.kind.is_empty() {
        return wrong(format_args!("--rule-stub is for --kind {UNMATCHED}, not {:?}", args.kind.join(",")));
    }
    let limit = ("limit", args.limit.to_string());
    if is_unmatched || args.rule_stub {
        return match args.remote.get("/api/v1/unmatched", &[limit]) {
            Ok(text) => show_unmatched(args, &text),
            Err(error) => fail(error),
        };
    }
    let query: Vec<(&str, String)> = args.filter().into_iter().chain([limit]).collect();
    let text = match args.remote.get("/api/v1/events", &query) {
        Ok(text) => text,
        Err(error) => return fail(error),
    };
    if args.follow {
        return follow::main(args, &text);
    }
    if args.remote.json {
        return print(&(visible_json(&text) + "\n"));
    }
    match serde_json::from_str(&text) {
        Ok(list) => print(&events(&list, columns())),
        Err(error) => fail(format_args!("{} answered something else than events: {error}", args.remote.admin)),
    }
}

fn show_unmatched(args: &Args, text: &str) -> ExitCode {
    if args.remote.json {
        return print(&(visible_json(text) + "\n"));
    }
    match serde_json::from_str::<UnmatchedList>(text) {
        Ok(list) if args.rule_stub => print(&rule_stub::file(&list.replies)),
        Ok(list) => print(&replies(&list, columns())),
        Err(error) => fail(format_args!("{} answered something else than replies: {error}", args.remote.admin)),
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

const HEAD: &str = "time (UTC)           kind    what\n";

fn events(list: &EventList, width: Option<usize>) -> String {
    if list.events.is_empty() {
        return "nothing happened\n".to_owned();
    }
    let mut out = HEAD.to_owned();
    for event in &list.events {
        line(&mut out, event, width);
    }
    out
}

/// One event, in as many lines as it takes.
fn line(out: &mut String, event: &Event, width: Option<usize>) {
    let place = |name: &str| FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len());
    let mut fields: Vec<(&String, &String)> = event.fields.iter().collect();
    fields.sort_by_key(|(name, _)| place(name));
    let words: Vec<String> = fields.iter().map(|(name, text)| format!("{}={}", visible(name), value(text))).collect();
    row(out, &format!("{}  {:<7} ", time(event.at), visible(&event.kind)), &words.join(" "), width);
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

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn several_kinds_are_asked_for_by_commas_or_one_after_the_other() {
        for words in [&["--kind", "audit,config"][..], &["--kind", "audit", "--kind", "config"]] {
            let line: Line = clap::Parser::try_parse_from(["events"].iter().chain(words)).expect("understood");
            assert_eq!(line.args.filter(), [("kind", "audit,config".to_owned())]);
        }
    }

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
        let json = r#"{"events":[{"seq":7,"at":"2026-11-22T08:00:00Z","kind":"health","evidence":"550 \u001b[2J \"no\"\nx","to":"suspended",
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
