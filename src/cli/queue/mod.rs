//! `remuda queue`: what waits, and what is done about it.
//!
//! An act on more than one entry is counted first and asked about; a script says `--yes`. Where the relay stops early (it
//! acts for some seconds at a time), it is asked to go on until all is done.

mod act;
mod text;

use std::process::ExitCode;

use clap::Subcommand;

use super::remote::Remote;
use super::terminal::{columns, visible, visible_json};
use crate::admin::problem::Problem;
use crate::admin::queue::find::FilterText;
use crate::admin::queue::shown::{EntryList, QueueList};

/// Options.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// What waits, oldest first, and why.
    List {
        #[command(flatten)]
        which: Which,
        /// At most so many.
        #[arg(long, value_name = "COUNT", default_value_t = 50)]
        limit: usize,
        /// Only what came after this entry: where a list before it ended.
        #[arg(long, value_name = "ID")]
        after: Option<String>,
    },
    /// All that is known of an entry, or of all entries of a message.
    Show {
        /// Entry or message.
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Try now, also what waits for its own next try. Caps, rates, suspensions and holds stay what they are.
    Retry {
        #[command(flatten)]
        how: How,
    },
    /// Keep back until it is released. Lifetime goes on: what expires meanwhile is reported to its sender.
    Hold {
        #[command(flatten)]
        how: How,
        /// For so long, such as 2h; without it until released.
        #[arg(long = "for", value_name = "SPAN")]
        span: Option<String>,
    },
    /// Let what was held go on.
    Release {
        #[command(flatten)]
        how: How,
    },
    /// End now; the sender gets a report that names the reason.
    Bounce {
        #[command(flatten)]
        how: How,
        /// Tell the sender nothing.
        #[arg(long)]
        silent: bool,
    },
    /// Let it leave from another pool, at once. Also for mail whose pool is gone.
    Move {
        #[command(flatten)]
        how: How,
        /// The pool.
        #[arg(long, value_name = "POOL")]
        to: String,
    },
}

/// Which entries. All conditions must hold.
#[derive(Clone, Debug, Default, clap::Args)]
struct Which {
    /// Entries or messages.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Whose.
    #[arg(long)]
    tenant: Option<String>,
    /// From which pool.
    #[arg(long)]
    pool: Option<String>,
    /// Where to: a provider, or a site as the list shows it.
    #[arg(long)]
    destination: Option<String>,
    /// The recipients' domain: a name, or all below one (*.example.org).
    #[arg(long)]
    domain: Option<String>,
    /// In the queue for at least so long, such as 90m or 2d.
    #[arg(long, value_name = "SPAN")]
    older_than: Option<String>,
    /// Waits for this reason, as the list shows it: retry, dns, cap, held, stranded …
    #[arg(long, value_name = "REASON")]
    reason_is: Option<String>,
    /// Was answered something with this in it, in any case of letters.
    #[arg(long, value_name = "TEXT")]
    reply: Option<String>,
}

impl Which {
    fn filter(&self) -> FilterText {
        FilterText {
            tenant: self.tenant.clone(),
            pool: self.pool.clone(),
            destination: self.destination.clone(),
            domain: self.domain.clone(),
            older_than: self.older_than.clone(),
            reason: self.reason_is.clone(),
            reply: self.reply.clone(),
        }
    }
}

/// What all acts have in common.
#[derive(Clone, Debug, Default, clap::Args)]
struct How {
    #[command(flatten)]
    which: Which,
    /// Everything that waits; needed where nothing else says which.
    #[arg(long)]
    all: bool,
    /// Why, for those who come after; with a bounce it is told to the sender. Hold, bounce and move need one.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Only say what it would be done to.
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn main(args: &Args) -> ExitCode {
    let remote = &args.remote;
    match args.verb.as_ref().unwrap_or(&Verb::List { which: Which::default(), limit: 50, after: None }) {
        Verb::List { which, limit, after } => list(remote, which, *limit, after.as_deref()),
        Verb::Show { id } => show(remote, id),
        Verb::Retry { how } => act::main(remote, "retry", how, |_| {}),
        Verb::Hold { how, span } => act::main(remote, "hold", how, |request| request.span.clone_from(span)),
        Verb::Release { how } => act::main(remote, "release", how, |_| {}),
        Verb::Bounce { how, silent } => act::main(remote, "bounce", how, |request| request.silent = *silent),
        Verb::Move { how, to } => act::main(remote, "move", how, |request| request.to = Some(to.clone())),
    }
}

fn list(remote: &Remote, which: &Which, limit: usize, after: Option<&str>) -> ExitCode {
    let Which { ids, tenant, pool, destination, domain, older_than, reason_is, reply } = which;
    let ids = (!ids.is_empty()).then(|| ids.join(","));
    let all = [
        ("id", &ids),
        ("tenant", tenant),
        ("pool", pool),
        ("destination", destination),
        ("domain", domain),
        ("older_than", older_than),
        ("reason", reason_is),
        ("reply", reply),
    ];
    let mut query: Vec<(&str, String)> =
        all.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))).collect();
    query.push(("limit", limit.to_string()));
    query.extend(after.map(|after| ("after", after.to_owned())));
    answered::<QueueList>(remote, remote.get("/api/v1/queue", &query), text::list)
}

fn show(remote: &Remote, id: &str) -> ExitCode {
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return failed(&format!("{id:?} is no id of an entry or message; `remuda queue list` and the log name them"));
    }
    answered::<EntryList>(remote, remote.get(&format!("/api/v1/queue/{id}"), &[]), text::details)
}

fn answered<T: serde::de::DeserializeOwned>(
    remote: &Remote,
    answer: Result<String, String>,
    text: impl Fn(&T, Option<usize>) -> String,
) -> ExitCode {
    match answer {
        Err(error) => failed(&error),
        Ok(answer) if remote.json => {
            println!("{}", visible_json(&answer));
            ExitCode::SUCCESS
        }
        Ok(answer) => match serde_json::from_str(&answer) {
            Ok(read) => {
                print!("{}", text(&read, columns()));
                ExitCode::SUCCESS
            }
            Err(error) => failed(&format!("{} answered something else than a queue: {error}", remote.admin)),
        },
    }
}

/// Says what went wrong: a problem by its words, anything else as it is.
fn failed(error: &str) -> ExitCode {
    let problem = serde_json::from_str::<Problem>(error).ok();
    super::fail(problem.map_or_else(|| error.to_owned(), |problem| visible(&problem.detail)))
}
