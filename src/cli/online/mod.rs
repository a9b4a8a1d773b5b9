//! `remuda check --online` and `remuda doctor`: what the world sees of each binding, asked from this host now.
//!
//! The configuration is read, no daemon is needed and none is asked. [`host`] tries what only this host can know (bind,
//! route, port 25), [`names`], [`lists`] and [`domains`] ask name servers, [`records`] reads what stands in DNS, [`report`]
//! is what came of it and the shape of `--json`, [`table`] how it is shown. One look confirms nothing over time: a listing
//! seen here is marked unconfirmed, and a question without an answer is unknown, never a fault.

mod domains;
mod host;
mod lists;
mod names;
mod records;
mod report;
mod table;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::SystemClock;
use crate::config::{Binding, Config, EhloName, suggest};
use crate::monitor::identity::look::Look;

use super::{check, fail, terminal};
use host::Target;
use report::{BindingReport, Report};

/// Exit code where nothing is wrong for certain, but something is not as it should be or could not be found out.
const ONLY_WARNINGS: u8 = 3;
/// Exit code of wrong usage, as clap's.
const WRONG_USAGE: u8 = 2;

/// What to look at.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Options {
    /// Only these bindings, separated by commas.
    #[arg(long, value_name = "BINDING,…", value_delimiter = ',')]
    only: Vec<String>,
    /// Connect from each binding to this host's port 25 (or another), read its greeting and leave. Without it no
    /// connection is made.
    #[arg(long, value_name = "HOST[:PORT]")]
    to: Option<Target>,
    /// Seconds for a connection and its greeting.
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=300))]
    wait: u64,
    /// Look for a DKIM key under this selector in every tenant's domains. May be given several times.
    #[arg(long, value_name = "SELECTOR")]
    dkim_selector: Vec<String>,
    /// Print everything as one JSON document.
    #[arg(long)]
    json: bool,
}

impl Options {
    /// Whether any of them was given.
    pub(super) fn given(&self) -> bool {
        !self.only.is_empty() || self.to.is_some() || !self.dkim_selector.is_empty() || self.json
    }
}

pub(super) fn main(path: &Path, options: &Options) -> ExitCode {
    let Some(checked) = check::load(path) else { return ExitCode::FAILURE };
    for warning in &checked.loaded.warnings {
        eprintln!("warning: {warning}");
    }
    let config = checked.loaded.config;
    let bindings = match chosen(&config, &options.only) {
        Ok(bindings) => bindings,
        Err(message) => {
            eprintln!("remuda: {message}");
            return ExitCode::from(WRONG_USAGE);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(error),
    };
    let report = match runtime.block_on(look(&config, &bindings, options)) {
        Ok(report) => report,
        Err(message) => return fail(message),
    };
    if options.json {
        match serde_json::to_string_pretty(&report) {
            Ok(json) => println!("{}", terminal::visible_json(&json)),
            Err(error) => return fail(error),
        }
    } else {
        print!("{}", table::text(&report, terminal::columns()));
    }
    let counts = &report.counts;
    match (counts.fault, counts.warning + counts.unknown) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(ONLY_WARNINGS),
        _ => ExitCode::FAILURE,
    }
}

/// The bindings of `only`, or all.
fn chosen(config: &Config, only: &[String]) -> Result<Vec<Arc<Binding>>, String> {
    for name in only {
        if !config.bindings.iter().any(|binding| binding.name.as_str() == name) {
            let known = config.bindings.iter().map(|binding| binding.name.as_str());
            let hint = suggest(name, known);
            return Err(format!("there is no binding {}; {hint}", terminal::visible(name)));
        }
    }
    let wanted = |binding: &&Arc<Binding>| only.is_empty() || only.iter().any(|name| *name == *binding.name.as_str());
    Ok(config.bindings.iter().filter(wanted).cloned().collect())
}

async fn look(config: &Config, bindings: &[Arc<Binding>], options: &Options) -> Result<Report, String> {
    let look = Arc::new(Look::new(config, Arc::new(SystemClock::default())).map_err(|error| error.to_string())?);
    let resolvers = look.resolvers().await;
    let mut reports: Vec<BindingReport> = bindings.iter().map(|binding| blank(config, binding)).collect();
    host::look(&look, bindings, &mut reports, options.to.as_ref(), Duration::from_secs(options.wait)).await;
    names::look(&look, bindings, &mut reports).await;
    let zones = lists::look(&look, config, bindings, &mut reports).await;
    let domains = domains::look(&look, config, bindings, &mut reports, &options.dkim_selector).await;
    Ok(Report::new(resolvers, zones, reports, domains))
}

fn blank(config: &Config, binding: &Binding) -> BindingReport {
    BindingReport {
        binding: binding.name.to_string(),
        bind_address: binding.bind_address,
        public_address: binding.public_address,
        ehlo: match &binding.ehlo_hostname {
            EhloName::Literal(name) => Some(name.as_str().to_owned()),
            EhloName::Hostname => Some(config.server.hostname.as_str().to_owned()),
            EhloName::Message => None,
        },
        findings: Vec::new(),
    }
}

/// The option's arguments, for `remuda doctor`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Doctor {
    /// Configuration file.
    #[arg(short, long, value_name = "FILE", default_value = "/etc/remuda/remuda.toml")]
    pub(super) config: PathBuf,
    #[command(flatten)]
    pub(super) options: Options,
}

/// `4` or `6`, as in the names of record types and SPF mechanisms.
fn family(address: IpAddr) -> u8 {
    if address.to_canonical().is_ipv4() { 4 } else { 6 }
}
