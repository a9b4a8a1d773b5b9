//! What the verbs that act have in common: options, and saying what came of it.

use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Map, Value};

use super::columns::paragraph;
use super::fail;
use super::remote::Remote;
use super::terminal::{columns, visible_json};
use crate::admin::orders::{Done, OrderShown};
use crate::clock::Wall;

/// Why: of an act that is done once and for all, and has no other options.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Reason {
    /// Why; it stands in the log of acts.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Why, and whether it is only asked.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Once {
    #[command(flatten)]
    reason: Reason,
    /// Only say what would be.
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// Why, whether it is only asked, and for how long.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Why {
    #[command(flatten)]
    pub(super) once: Once,
    /// For so long, such as 90m or 2d; without it until it is taken back.
    #[arg(long = "for", value_name = "SPAN")]
    span: Option<String>,
}

/// A further field of an act's body; one without a value is left out.
pub(super) type Field<'a> = (&'a str, Option<Value>);

impl Reason {
    /// The body of an act with this and further fields.
    pub(super) fn body<'a>(&self, more: impl IntoIterator<Item = Field<'a>>) -> Value {
        let own = ("reason", Some(Value::from(self.reason.clone())));
        let fields = std::iter::once(own).chain(more);
        let fields = fields.filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Value::Object(fields.collect::<Map<String, Value>>())
    }
}

impl Once {
    /// The body of an act with these and further fields.
    pub(super) fn body<'a>(&self, more: impl IntoIterator<Item = Field<'a>>) -> Value {
        let dry = ("dry_run", self.dry_run.then_some(Value::Bool(true)));
        self.reason.body(std::iter::once(dry).chain(more))
    }
}

impl Why {
    /// The body of an act with these and further fields.
    pub(super) fn body<'a>(&self, more: impl IntoIterator<Item = Field<'a>>) -> Value {
        let span = ("for", self.span.clone().map(Value::from));
        self.once.body(std::iter::once(span).chain(more))
    }
}

/// A path below `/api/v1` with a name in it, which may hold anything.
pub(super) fn path(kind: &str, name: &str, act: &str) -> String {
    let mut path = format!("/api/v1/{kind}/");
    for octet in name.bytes() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => path.push(char::from(octet)),
            other => path.push_str(&format!("%{other:02X}")),
        }
    }
    if !act.is_empty() {
        path.push('/');
        path.push_str(act);
    }
    path
}

/// Acts and says what came of it.
pub(super) fn act(remote: &Remote, path: &str, body: &impl Serialize) -> ExitCode {
    finish(remote, remote.post(path, body))
}

/// Says what came of an act.
pub(super) fn finish(remote: &Remote, answer: Result<String, String>) -> ExitCode {
    match answer {
        Err(error) => fail(error),
        Ok(text) if remote.json => {
            println!("{}", visible_json(&text));
            ExitCode::SUCCESS
        }
        Ok(text) => match serde_json::from_str::<Done>(&text) {
            Ok(done) => {
                print!("{}", said(&done, columns()));
                ExitCode::SUCCESS
            }
            Err(error) => fail(format_args!("{} answered something else: {error}", remote.admin)),
        },
    }
}

/// An act in words.
pub(super) fn said(done: &Done, width: Option<usize>) -> String {
    let mut out = paragraph(&done.message, width);
    for change in &done.changes {
        let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "-".to_owned());
        out.push_str(&paragraph(&format!("  {}: {} → {}", change.key, side(&change.from), side(&change.to)), width));
    }
    for order in &done.orders {
        out.push_str(&paragraph(
            &format!("order {}: remuda orders cancel {} takes it back", order.id, order.id),
            width,
        ));
    }
    for warning in &done.warnings {
        out.push_str(&paragraph(&format!("note: {warning}"), width));
    }
    out
}

/// Reads an answer and shows it, or prints its JSON.
pub(super) fn show<T: serde::de::DeserializeOwned>(
    remote: &Remote,
    path: &str,
    table: impl Fn(&T, Option<usize>) -> String,
) -> ExitCode {
    match remote.get(path, &[]) {
        Err(error) => fail(error),
        Ok(text) if remote.json => {
            println!("{}", visible_json(&text));
            ExitCode::SUCCESS
        }
        Ok(text) => match serde_json::from_str(&text) {
            Ok(answer) => {
                print!("{}", table(&answer, columns()));
                ExitCode::SUCCESS
            }
            Err(error) => fail(format_args!("{} answered something else: {error}", remote.admin)),
        },
    }
}

/// A moment without fractions of a second.
pub(super) fn moment(at: Wall) -> String {
    format!("{:.0}", at.timestamp())
}

/// A health with what the operator has the binding do beside it.
pub(super) fn standing(health: &str, operator: Option<&str>) -> String {
    match operator {
        // That is its health.
        None | Some("suspended") => health.to_owned(),
        Some(operator) => format!("{health}, {operator}"),
    }
}

/// An order on a line.
pub(super) fn order_line(order: &OrderShown) -> String {
    let end = order.until.map_or_else(String::new, |at| format!(" until {}", moment(at)));
    format!("order {}: {}{end}, by {}: {}", order.id, order.words, order.actor, order.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_a_path_is_one_part_of_it_whatever_it_holds() {
        assert_eq!(path("bindings", "mta1", "suspend"), "/api/v1/bindings/mta1/suspend");
        assert_eq!(path("pools", "a/b?c#ü", ""), "/api/v1/pools/a%2Fb%3Fc%23%C3%BC");
    }

    #[test]
    fn a_body_holds_what_was_given() {
        let once = Once { reason: Reason { reason: "moved".into() }, dry_run: false };
        let why = Why { once, span: Some("2h".into()) };
        let body = why.body([("cap", Some(Value::from(7))), ("provider", None)]);
        assert_eq!(body, serde_json::json!({"reason": "moved", "for": "2h", "cap": 7}));
    }

    #[test]
    fn what_an_act_came_to_is_said_with_all_that_follows() {
        let order = OrderShown { id: 3, ..OrderShown::default() };
        let change = crate::admin::orders::ChangeShown {
            key: "binding.m1.daily_cap".into(),
            from: None,
            to: Some("500".into()),
        };
        let done = Done {
            changed: true,
            message: "daily cap of m1: 500".into(),
            warnings: vec!["beware\u{1b}[2J".into()],
            changes: vec![change],
            orders: vec![order],
            dry_run: false,
        };
        assert_eq!(
            said(&done, None),
            "daily cap of m1: 500\n  binding.m1.daily_cap: - → 500\norder 3: remuda orders cancel 3 takes it back\n\
             note: beware\\u{1b}[2J\n"
        );
    }
}
