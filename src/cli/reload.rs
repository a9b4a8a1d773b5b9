//! `remuda reload`: the configuration file into force.

use std::process::ExitCode;

use serde::Deserialize;

use super::columns::{Columns, Side, paragraph};
use super::remote::Remote;
use super::terminal;

/// Options.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    remote: Remote,
    /// Only show what would change, and what that would do to mail that waits.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Deserialize)]
struct Change {
    key: String,
    from: Option<String>,
    to: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    changes: Vec<Change>,
    warnings: Vec<String>,
}

pub(super) fn main(args: &Args) -> ExitCode {
    let body = serde_json::json!({ "dry_run": args.dry_run });
    let text = match args.remote.post("/api/v1/reload", &body) {
        Ok(text) => text,
        // What a mistake says it says for itself, each on its line.
        Err(refusal) => return super::fail(refusal),
    };
    if args.remote.json {
        println!("{}", terminal::visible_json(&text));
        return ExitCode::SUCCESS;
    }
    match serde_json::from_str::<Answer>(&text) {
        Ok(answer) => {
            print!("{}", shown(&answer, args.dry_run, terminal::columns()));
            ExitCode::SUCCESS
        }
        Err(error) => super::fail(format_args!("{} answered something else: {error}", args.remote.admin)),
    }
}

/// `+` what is new, `−` what is gone, `~` what is another now.
fn shown(answer: &Answer, is_dry: bool, width: Option<usize>) -> String {
    let mut out = String::new();
    if !answer.changes.is_empty() {
        let mut table = Columns::new([("", Side::Left), ("key", Side::Left), ("value", Side::Left)]);
        for Change { key, from, to } in &answer.changes {
            match (from, to) {
                (None, to) => table.row(["+", key, to.as_deref().unwrap_or_default()]),
                (Some(from), None) => table.row(["−", key, from]),
                (Some(from), Some(to)) => table.row(["~", key, &format!("{from} → {to}")]),
            }
        }
        out.push_str(&table.text(width));
    }
    for warning in &answer.warnings {
        out.push_str(&paragraph(&format!("warning: {warning}"), width));
    }
    let last = match (answer.changes.len(), is_dry) {
        (0, _) => "nothing changes".to_owned(),
        (1, true) => "1 change would come into force".to_owned(),
        (count, true) => format!("{count} changes would come into force"),
        (1, false) => "1 change is in force".to_owned(),
        (count, false) => format!("{count} changes are in force"),
    };
    out + &last + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Answer {
        let text = r#"{"changes": [
            {"key": "binding.mta1.daily_cap", "from": "1000", "to": "2000"},
            {"key": "binding.mta9", "from": null, "to": "{ bind_address = \"192.0.2.9\" }"},
            {"key": "pool.old", "from": "{ active = [\"mta1\"] }", "to": null}],
            "warnings": ["log needs a restart"], "is_dry": true, "orders": []}"#;
        serde_json::from_str(text).expect("an answer")
    }

    #[test]
    fn the_difference_is_a_table() {
        assert_eq!(
            shown(&answer(), true, None),
            "   key                     value\n\
             ~  binding.mta1.daily_cap  1000 → 2000\n\
             +  binding.mta9            { bind_address = \"192.0.2.9\" }\n\
             −  pool.old                { active = [\"mta1\"] }\n\
             warning: log needs a restart\n\
             3 changes would come into force\n"
        );
        let nothing = Answer { changes: Vec::new(), warnings: Vec::new() };
        assert_eq!(shown(&nothing, false, Some(80)), "nothing changes\n");
        assert!(shown(&answer(), true, Some(40)).lines().take(4).all(|line| line.chars().count() <= 40));
    }
}
