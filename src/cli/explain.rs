//! `remuda explain`: why a message goes or waits, what would become of one that might come, and which line set a limit.
//!
//! Asked of a running relay, the answers are those of its HTTP side; limits can be asked of a configuration file as well.

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use serde::de::DeserializeOwned;

use super::columns::{Columns, Side, paragraph};
use super::fail;
use super::remote::Remote;
use super::terminal::{columns, visible_json};
use crate::admin::explain::{ExplainedEntry, Explanations, LimitList, is_eligible};
use crate::clock::Wall;
use crate::config::Config;
use crate::message::{BindingName, ProviderName};
use crate::scheduler::explain::{EffectiveLimit, limits_of_binding};
use Side::{Left, Right};

/// What is to be explained.
#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// A message that might come: what each binding would say now.
    Select {
        /// Whose.
        #[arg(long, value_name = "TENANT")]
        tenant: String,
        /// Of which stream.
        #[arg(long, value_name = "STREAM", default_value = "default")]
        stream: String,
        /// From this pool instead of the stream's.
        #[arg(long, value_name = "POOL")]
        pool: Option<String>,
        /// Recipient domain, or an address in it.
        #[arg(long, value_name = "DOMAIN")]
        to: String,
        /// Sender domain, or an address in it: whether its mail is held is asked as well.
        #[arg(long, value_name = "DOMAIN")]
        from: Option<String>,
        /// How many recipients.
        #[arg(long, default_value_t = 1)]
        recipients: u32,
    },
    /// The limits of a binding, at a provider where one is named, each with the line that set it.
    Limits {
        /// Binding.
        binding: String,
        /// Provider.
        provider: Option<String>,
        /// Ask this configuration file instead of a running relay.
        #[arg(short, long, value_name = "FILE")]
        config: Option<std::path::PathBuf>,
    },
}

/// Options.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub(super) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Entry or message, as the log, the queue and the 250 name it.
    #[arg(value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    remote: Remote,
    /// Show the effective limits too, each with the line of the configuration that set it.
    #[arg(long, global = true)]
    limits: bool,
}

/// How to show it.
#[derive(Clone, Copy)]
struct Form {
    json: bool,
    limits: bool,
}

/// What is asked, and of whom.
struct Ask<'a> {
    remote: &'a Remote,
    path: String,
    query: Vec<(&'static str, String)>,
}

impl<'a> Ask<'a> {
    fn new(remote: &'a Remote, path: &str) -> Self {
        Self { remote, path: path.to_owned(), query: Vec::new() }
    }

    fn with(mut self, key: &'static str, value: Option<&str>) -> Self {
        self.query.extend(value.map(|value| (key, value.to_owned())));
        self
    }
}

pub(super) fn main(args: Args) -> ExitCode {
    let Args { what, id, remote, limits } = args;
    let form = Form { json: remote.json, limits };
    match (what, id) {
        (Some(what), _) => explain(&remote, what, form),
        (None, Some(id)) => entry(&remote, &id, form),
        (None, None) => fail("say what to explain: an id, select or limits"),
    }
}

fn entry(remote: &Remote, id: &str, form: Form) -> ExitCode {
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return fail(format_args!("{id:?} is no id of an entry or message; `remuda status` and the log name them"));
    }
    let ask = Ask::new(remote, &format!("/api/v1/explain/{id}"));
    show(ask.with("limits", form.limits.then_some("true")), form, |all: &Explanations, width| {
        explained(all, form, width)
    })
}

fn explain(remote: &Remote, what: What, form: Form) -> ExitCode {
    match what {
        What::Select { tenant, stream, pool, to, from, recipients } => {
            let ask = Ask::new(remote, "/api/v1/explain")
                .with("tenant", Some(&tenant))
                .with("stream", Some(&stream))
                .with("pool", pool.as_deref())
                .with("to", Some(&to))
                .with("from", from.as_deref())
                .with("recipients", Some(&recipients.to_string()))
                .with("limits", form.limits.then_some("true"));
            show(ask, form, |all: &Explanations, width| explained(all, form, width))
        }
        What::Limits { binding, provider, config: Some(file) } => {
            from_file(&file, &binding, provider.as_deref(), form.json)
        }
        What::Limits { binding, provider, config: None } => {
            let ask = Ask::new(remote, "/api/v1/limits");
            let ask = ask.with("binding", Some(&binding)).with("provider", provider.as_deref());
            show(ask, form, |list: &LimitList, width| table_of(&list.limits).text(width))
        }
    }
}

fn show<T: DeserializeOwned>(ask: Ask<'_>, form: Form, text: impl Fn(&T, Option<usize>) -> String) -> ExitCode {
    match ask.remote.get(&ask.path, &ask.query) {
        Err(error) => fail(error),
        Ok(answer) if form.json => {
            println!("{}", visible_json(&answer));
            ExitCode::SUCCESS
        }
        Ok(answer) => match serde_json::from_str(&answer) {
            Ok(read) => {
                print!("{}", text(&read, columns()));
                ExitCode::SUCCESS
            }
            Err(error) => fail(format_args!("the relay answered something else than an explanation: {error}")),
        },
    }
}

fn from_file(file: &Path, binding: &str, provider: Option<&str>, json: bool) -> ExitCode {
    let config = match Config::load(file) {
        Ok(loaded) => loaded.config,
        Err(mistakes) => {
            eprintln!("{mistakes}");
            return ExitCode::FAILURE;
        }
    };
    match limits_of_binding(&config, &BindingName::new(binding), provider.map(ProviderName::new).as_ref()) {
        Err(unknown) => fail(unknown),
        Ok(limits) if json => match serde_json::to_string(&LimitList { limits }) {
            Ok(text) => {
                println!("{}", visible_json(&text));
                ExitCode::SUCCESS
            }
            Err(error) => fail(error),
        },
        Ok(limits) => {
            print!("{}", table_of(&limits).text(columns()));
            ExitCode::SUCCESS
        }
    }
}

fn explained(all: &Explanations, form: Form, width: Option<usize>) -> String {
    let mut out = String::new();
    for entry in &all.entries {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&paragraph(&head(entry), width));
        out.push_str(&verdicts(entry).text(width));
        out.push_str(&expected(entry, width));
        if form.limits {
            out.push_str(&limits(entry, width));
        }
    }
    out
}

/// Whose mail where, and what becomes of it, in a sentence.
fn head(entry: &ExplainedEntry) -> String {
    let ExplainedEntry { tenant, pool, domain, recipients, attempts, .. } = entry;
    let id = entry.id.as_deref().map_or("a message that might come".to_owned(), |id| format!("entry {id}"));
    let to = entry.destination.as_ref().map_or_else(|| domain.clone(), |place| format!("{domain} ({place})"));
    let mut text = format!("{id}: tenant {tenant}, pool {pool}, to {to}, {recipients} recipients, {attempts} attempts");
    match (entry.waits_for.as_deref(), entry.waits_until) {
        (Some("ready"), _) => text.push_str("; about to leave"),
        (Some("in_flight"), _) => text.push_str("; an attempt is under way"),
        (Some(why), Some(until)) => text.push_str(&format!("; waits: {why}, until {}", time(until))),
        (Some(why), None) => text.push_str(&format!("; waits: {why}")),
        (None, _) if is_eligible(entry) => text.push_str("; would leave at once"),
        (None, _) => text.push_str("; would wait"),
    }
    if let Some(learned) = entry.learned_messages_per_connection {
        text.push_str(&format!("; the destination ends connections after {learned} messages"));
    }
    text
}

fn verdicts(entry: &ExplainedEntry) -> Columns {
    let head =
        [("binding", Left), ("tier", Left), ("verdict", Left), ("until", Left), ("left today", Right), ("why", Left)];
    let mut table = Columns::new(head);
    for said in &entry.bindings {
        let tier = if said.tier == 0 { "active".to_owned() } else { format!("backup {}", said.tier) };
        let until = said.until.map(time).unwrap_or_default();
        let left = said.left_today.map_or_else(|| "-".to_owned(), |left| left.to_string());
        table.row([&said.binding, &tier, &said.verdict, &until, &left, &said.words]);
    }
    table
}

/// What is expected of bindings that are given less for it; of the others nothing needs saying.
fn expected(entry: &ExplainedEntry, width: Option<usize>) -> String {
    let mut out = String::new();
    for said in &entry.bindings {
        if let Some(expected) = said.predicted.as_ref().filter(|expected| expected.weight_percent < 100.0) {
            out.push_str(&paragraph(&format!("{}: {}", said.binding, expected.words), width));
        }
    }
    out
}

fn limits(entry: &ExplainedEntry, width: Option<usize>) -> String {
    let mut out = format!("\ntenant {}\n{}", entry.tenant, table_of(&entry.limits).text(width));
    for said in &entry.bindings {
        out.push_str(&format!("\nbinding {}\n{}", said.binding, table_of(&said.limits).text(width)));
    }
    out
}

fn table_of(limits: &[EffectiveLimit]) -> Columns {
    let mut table = Columns::new([("limit", Left), ("value", Left), ("set by", Left), ("at", Left)]);
    for limit in limits {
        let key = limit.key.as_deref().unwrap_or("default");
        table.row([&limit.name, &limit.value, key, limit.at.as_deref().unwrap_or("")]);
    }
    table
}

/// To the second: nobody reads more.
fn time(at: Wall) -> String {
    jiff::Timestamp::from_second(at.as_millis().div_euclid(1000)).map_or_else(|_| at.to_string(), |at| at.to_string())
}
