//! `remuda check --online` and `remuda doctor`: what the world sees of each binding, asked from this host now.
//!
//! The configuration is read, no daemon is needed and none is asked. [`host`] tries what only this host can know (bind,
//! route, port 25), [`names`], [`lists`] and [`domains`] ask name servers, [`records`] reads what stands in DNS, [`report`]
//! is what came of it and the shape of `--json`, [`table`] how it is shown. One look confirms nothing over time: a listing
//! seen here is marked unconfirmed, and a question without an answer is unknown, never a fault. Questions are put side by
//! side and the whole has a limit; what was not found out by then is unknown as well.

mod domains;
mod host;
mod lists;
mod names;
mod records;
mod report;
mod table;

use std::io::IsTerminal as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Sleep;

use crate::clock::SystemClock;
use crate::config::{Binding, Config, EhloName, suggest};
use crate::message::Domain;
use crate::monitor::identity::look::Look;

use super::{check, terminal};
use host::Target;
use report::{BindingReport, Report};

/// Exit code where nothing is wrong for certain, but something is not as it should be or could not be found out.
const ONLY_WARNINGS: u8 = 3;
/// Exit code where nothing could be looked at: wrong usage, as clap's, or a configuration that cannot be used.
const NOT_LOOKED: u8 = 2;

/// Questions put at the same time.
const AT_ONCE: usize = 16;
/// What is said of what the limit left out.
const TOO_LATE: &str = "not found out within the time for everything (--limit)";

/// What to look at.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Options {
    /// Only these bindings, separated by commas.
    #[arg(long, value_name = "BINDING,…", value_delimiter = ',')]
    only: Vec<String>,
    /// Connect from each binding to this host's port 25 (or another), read its greeting and leave. Without it no
    /// connection is made. Bindings of a family in which the host has no address are left out.
    #[arg(long, value_name = "HOST[:PORT]")]
    to: Option<Target>,
    /// Seconds for a connection and its greeting.
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=300))]
    wait: u64,
    /// Seconds for everything; what is not found out by then is unknown.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=3600))]
    limit: u64,
    /// A sender's domain to look at besides those of the configuration: of tenants that are recognised otherwise, or of
    /// anybody. May be given several times.
    #[arg(long, value_name = "DOMAIN")]
    domain: Vec<Domain>,
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
        let lists = self.only.is_empty() && self.domain.is_empty() && self.dkim_selector.is_empty();
        !lists || self.to.is_some() || self.json
    }
}

pub(super) fn main(path: &Path, options: &Options) -> ExitCode {
    let Some(checked) = check::load(path) else { return ExitCode::from(NOT_LOOKED) };
    for warning in &checked.loaded.warnings {
        eprintln!("warning: {warning}");
    }
    let config = checked.loaded.config;
    let bindings = match chosen(&config, &options.only) {
        Ok(bindings) => bindings,
        Err(message) => {
            return not_looked(message);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return not_looked(error),
    };
    let report = match runtime.block_on(look(&config, &bindings, options)) {
        Ok(report) => report,
        Err(message) => return not_looked(message),
    };
    if options.json {
        match serde_json::to_string_pretty(&report) {
            Ok(json) => println!("{}", terminal::visible_json(&json)),
            Err(error) => return not_looked(error),
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

fn not_looked(why: impl std::fmt::Display) -> ExitCode {
    eprintln!("remuda: {why}");
    ExitCode::from(NOT_LOOKED)
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
    // One of two families is looked at as two, for what is found is found of an address.
    let bindings: Vec<Arc<Binding>> = bindings.iter().flat_map(|binding| binding.apart()).map(Arc::new).collect();
    let bindings = bindings.as_slice();
    let look = Arc::new(Look::new(config, Arc::new(SystemClock::default())).map_err(|error| error.to_string())?);
    let progress = |what: &str| {
        if std::io::stderr().is_terminal() {
            eprintln!("looking at {what} …");
        }
    };
    let mut limit = pin!(tokio::time::sleep(Duration::from_secs(options.limit)));
    progress("the name servers");
    let resolvers = look.resolvers().await;
    let mut reports: Vec<BindingReport> = bindings.iter().map(|binding| blank(config, binding)).collect();
    progress(&format!("this host and {} bindings", bindings.len()));
    let wait = Duration::from_secs(options.wait);
    host::look(&look, bindings, &mut reports, (options.to.as_ref(), wait), limit.as_mut()).await;
    let names = names::look(&look, bindings, &mut reports, limit.as_mut()).await;
    progress("the domains of the tenants");
    let wanted = (options.domain.as_slice(), options.dkim_selector.as_slice());
    let (mut domains, tenants) = domains::look(&look, config, bindings, &mut reports, wanted, limit.as_mut()).await;
    progress(&format!("{} lists", look.lists().count()));
    let found = (reports.as_mut_slice(), &mut domains);
    let zones = lists::look(&look, config, (bindings, &names), &options.domain, found, limit).await;
    Ok(Report::new(resolvers, zones, reports, (domains, tenants)))
}

/// Does all tasks, a few at the same time, until the limit; in their order, `None` for those that were not done by then.
async fn gather<T: Send + 'static>(
    tasks: Vec<impl Future<Output = T> + Send + 'static>,
    mut limit: Pin<&mut Sleep>,
) -> Vec<Option<T>> {
    let mut results: Vec<Option<T>> = tasks.iter().map(|_| None).collect();
    let mut waiting = tasks.into_iter().enumerate();
    let mut running = JoinSet::new();
    while !limit.is_elapsed() {
        while running.len() < AT_ONCE
            && let Some((at, task)) = waiting.next()
        {
            running.spawn(async move { (at, task.await) });
        }
        tokio::select! {
            biased;
            done = running.join_next() => match done {
                None => break,
                Some(Ok((at, result))) => {
                    if let Some(place) = results.get_mut(at) {
                        *place = Some(result);
                    }
                }
                // A task that failed found nothing out.
                Some(Err(_)) => {}
            },
            () = limit.as_mut() => {}
        }
    }
    results
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
