//! The command line: verbs, their options, their exit codes.
//!
//! `0` done · `1` the thing asked for did not hold (bad configuration, demo that does not add up) · `2` wrong usage; of
//! `check --online` also: nothing could be looked at · `3` of `check --online`: nothing is wrong for certain, but something is
//! not as it should be.

mod acts;
mod alerts;
mod binding;
mod check;
mod classify;
mod classify_mail;
mod columns;
mod demo;
mod dkim;
mod events;
mod explain;
mod generate;
mod later;
mod online;
mod orders;
mod policy;
mod pool;
mod queue;
mod reload;
mod remote;
mod rule_stub;
mod run;
mod simulate;
mod status;
mod supervisor;
mod tenant;
mod terminal;
mod token;
mod user;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use remote::Remote;

/// Outbound SMTP relay with a reputation-aware IP pool scheduler.
#[derive(Debug, Parser)]
#[command(name = "remuda", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the relay.
    Run {
        /// Configuration file.
        #[arg(short, long, value_name = "FILE", default_value = "/etc/remuda/remuda.toml")]
        config: PathBuf,
        /// Form of log lines; overrides `log.format`.
        #[arg(long, value_enum)]
        log_format: Option<LogFormatArg>,
    },
    /// Check a configuration file: all mistakes at once, with line and remedy. Exit code 1 if there is one (2 with --online).
    ///
    /// With --online also what the world sees of it, asked from this host now: a table with a line per binding (can it be
    /// bound, is there a route, PTR and its way back, EHLO name, SPF of the tenants' domains, listings), DMARC and DKIM of
    /// the domains, health of the lists and of the name servers, and a remedy for each fault. Needs no running relay and
    /// sends no mail. Exit code 0 where all is well, 1 where there is a fault, 3 where there are only warnings or questions
    /// that nobody answered, 2 where it could not look: wrong usage, a configuration with mistakes.
    Check {
        /// Configuration file.
        #[arg(short, long, value_name = "FILE", default_value = "/etc/remuda/remuda.toml")]
        config: PathBuf,
        /// Ask the world as well; the options below belong to this.
        #[arg(long)]
        online: bool,
        #[command(flatten)]
        options: online::Options,
    },
    /// The same as check --online.
    Doctor(online::Doctor),
    /// Show on loopback what the relay does: thousands of messages, a block, a listing, a fail-over. Needs no privileges.
    ///
    /// With --stay a whole world goes on until Ctrl-C, to try every verb in where it hurts nobody; remuda demo do makes things
    /// happen in it.
    Demo(demo::Args),
    /// Read SMTP replies on standard input, one a line; print what each means, one JSON object a line.
    ///
    /// The objects name the scope in the coarser words of labelled replies: recipient, content (message), sender
    /// (sender_domain, tenant, us), source_ip (binding, range), remote (destination), unknown. Rules, --explain and --table
    /// use the words in brackets.
    Classify {
        /// Read raw replies (CR LF written as \r\n) and print how they are parsed instead.
        #[arg(long)]
        raw: bool,
        /// Files with rules that are tried before the shipped ones.
        #[arg(long, value_name = "FILE")]
        rules: Vec<PathBuf>,
        /// Say in words which rule decided and why, what it matched, and which rules would have come next.
        #[arg(long, conflicts_with_all = ["raw", "mail"])]
        explain: bool,
        /// Print what Remuda understands as Markdown instead: causes, scopes, actions, rules.
        #[arg(long, conflicts_with_all = ["raw", "mail", "explain"])]
        table: bool,
        /// Provider the replies came from, such as gmail (rules can be bound to one).
        #[arg(long, value_name = "NAME")]
        provider: Option<String>,
        /// Where in the dialogue they came: connect, banner, ehlo, tls, mail, rcpt, data, end_of_data.
        #[arg(long, value_name = "STAGE", default_value = "rcpt")]
        stage: String,
        /// Read this mail instead (a bounce, a complaint …) and print what it is and says as one JSON object.
        #[arg(long, value_name = "FILE", conflicts_with = "raw")]
        mail: Option<PathBuf>,
    },
    /// Show what happened lately, or as it happens: moves of health, acts, reports that came in, replies that blame nobody
    /// or that no rule knew.
    Events(events::Args),
    /// Why a message goes or waits: each binding of its pool with its verdict and until when.
    Explain(explain::Args),
    /// Run a configuration against modelled receivers and show day by day what would happen. Needs no privileges, touches
    /// no network. Exit code 1 if anything happened that must never happen.
    ///
    /// A scenario says who sends what, how receivers judge, and what happens when; see config/scenarios. With --compare it
    /// is run again and again, under this program, under a fixed fuse and under no automation at all, and what came of it
    /// is set side by side.
    Simulate {
        /// Scenario file; with --compare any number of them.
        #[arg(required = true, value_name = "SCENARIO")]
        scenarios: Vec<PathBuf>,
        /// Compare with simpler policies in the same world, over many seeds.
        #[arg(long, conflicts_with = "by")]
        compare: bool,
        /// With --compare: so many seeds, from the scenario's (or --seed) on.
        #[arg(long, value_name = "COUNT", default_value_t = 30, requires = "compare",
              value_parser = clap::value_parser!(u32).range(1..=10_000))]
        seeds: u32,
        /// Configuration file; overrides the scenario's own.
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Other numbers than the scenario's: the same seed gives the same run.
        #[arg(long)]
        seed: Option<u64>,
        /// So many days instead of the scenario's.
        #[arg(long)]
        days: Option<u32>,
        /// Also show every day by these.
        #[arg(long, value_enum, value_name = "WHAT")]
        by: Option<simulate::By>,
        /// Print everything as one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// What is wrong on a running relay now, since when, and who was told.
    Alerts(Remote),
    /// What waits: list it, look at one entry, and act: retry, hold, release, bounce, move.
    Queue(queue::Args),
    /// Bindings: list, show, suspend, resume, drain, remove, set-cap, set-stage.
    Binding(binding::Args),
    /// Pools: list, show, move-tier.
    Pool(pool::Args),
    /// What a receiver demands of TLS: its MTA-STS policy, the TLSA records of its hosts, and what follows for each.
    Policy(policy::PolicyArgs),
    /// What came of TLS with receivers that have a policy, by day; with --json the reports of RFC 8460, one a line.
    Tlsrpt(policy::ReportArgs),
    /// Tenants: list, show, hold, release, assign.
    Tenant(tenant::Args),
    /// What was ordered while it runs and is still in force; cancel takes one back.
    Orders(orders::Args),
    /// Read the configuration file anew and bring it into force, all of it or nothing.
    Reload(reload::Args),
    /// Make a token for the HTTP side, or with --role send for sending mail over HTTP.
    Token(token::Args),
    /// Users that may log in at a listener with auth: hash makes the line of one.
    User(user::Args),
    /// Keys that sign mail: keygen makes one and prints its DNS record, record prints that of one that is there.
    Dkim(dkim::Args),
    /// Print completions for a shell.
    Completions(generate::Completions),
    /// Write the manual pages.
    Man(generate::Man),
    /// Ask a running relay how it is.
    Status(Remote),
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LogFormatArg {
    Text,
    Json,
}

/// Does what the command line says and returns the exit code.
pub fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Run { config, log_format } => run::main(&config, log_format),
        Verb::Check { config, online: true, options } => online::main(&config, &options),
        Verb::Check { options, .. } if options.given() => {
            Cli::command().error(ErrorKind::MissingRequiredArgument, "these options belong to --online").exit()
        }
        Verb::Check { config, .. } => check::main(&config),
        Verb::Doctor(doctor) => online::main(&doctor.config, &doctor.options),
        Verb::Demo(args) => demo::main(&args),
        Verb::Classify { raw, rules, explain, table, provider, stage, mail } => {
            classify::main(&classify::Options { raw, explain, table, provider, stage, mail }, &rules)
        }
        Verb::Events(args) => events::main(&args),
        Verb::Simulate { scenarios, compare, seeds, config, seed, days, by, json } => {
            let seeds = compare.then_some(seeds);
            simulate::main(&simulate::Options { scenarios, seeds, config, seed, days, by, json })
        }
        Verb::Explain(args) => explain::main(args),
        Verb::Alerts(remote) => alerts::main(&remote),
        Verb::Queue(args) => queue::main(&args),
        Verb::Binding(args) => binding::main(&args),
        Verb::Pool(args) => pool::main(&args),
        Verb::Policy(args) => policy::policy(&args),
        Verb::Tlsrpt(args) => policy::tlsrpt(&args),
        Verb::Tenant(args) => tenant::main(&args),
        Verb::Orders(args) => orders::main(&args),
        Verb::Reload(args) => reload::main(&args),
        Verb::Token(args) => token::main(&args),
        Verb::User(args) => user::main(&args),
        Verb::Dkim(args) => dkim::main(&args),
        Verb::Completions(args) => generate::completions(&args),
        Verb::Man(args) => generate::man(&args),
        Verb::Status(remote) => status::main(&remote),
    }
}

/// One line on standard error, exit code 1.
fn fail(message: impl std::fmt::Display) -> ExitCode {
    eprintln!("remuda: {message}");
    ExitCode::FAILURE
}
