//! From the file as typed to values that cannot be wrong.
//!
//! One run finds everything: the tree is read key by key (`config::read`), then each section is checked and built, and
//! only at the end does anyone ask whether there were mistakes. A value that was refused once is not refused again for
//! what follows from it: a binding with a bad address still counts as a binding when a pool names it.

mod admin;
mod alerts;
mod binding;
mod context;
mod feedback;
mod feeds;
mod files;
mod injection;
mod later;
mod listener;
mod monitor;
mod pool;
mod reports;
mod reputation;
mod routing;
mod sections;
mod signing;
mod tenant;
#[cfg(test)]
mod tests;
mod via;
mod window;
mod zone;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::context::{Context, missing_list, missing_map};
use super::mistake::{Findings, LineTable, Place, join};
pub use super::mistake::{Holds, LaterFile, Mistake, Mistakes, NamedFiles, ZoneKeyFile};
use super::read::{Field, List};
use super::tree::{self, Table, Value};
pub use super::tree::{Files, SourceFile};
use super::written::Written;
use super::{Config, Origins, lists, raw};

/// A configuration without mistakes, and what else is worth saying about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the program runs on.
    pub config: Config,
    /// What works, but hardly as meant; to be printed with `warning: ` before it.
    pub warnings: Vec<Mistake>,
    /// The files it was read from, the main one first.
    pub files: Vec<PathBuf>,
}

/// Reads `main` and what it includes through `files`, and checks it all.
///
/// # Errors
/// All mistakes there are. Where a file cannot be read or is no TOML, only mistakes of that kind: the rest would be
/// guesses.
pub fn load(main: &Path, files: &mut dyn Files) -> Result<Loaded, Mistakes> {
    let mut out = Findings::default();
    let sources = tree::gather(main, files, &mut out);
    check_gathered(&sources, out)
}

/// Checks files that were already read; the first is the main one, the others are laid over it in order. Their own
/// `include` is not followed.
///
/// # Errors
/// As [`load`].
pub fn check(files: &[SourceFile]) -> Result<Loaded, Mistakes> {
    check_gathered(files, Findings::default())
}

impl Config {
    /// Checks one text as if it were the file `remuda.toml`.
    ///
    /// # Errors
    /// All mistakes there are.
    pub fn from_toml(text: &str) -> Result<Self, Mistakes> {
        check(&[SourceFile { path: "remuda.toml".into(), text: text.to_owned() }]).map(|loaded| loaded.config)
    }
}

fn check_gathered(files: &[SourceFile], mut out: Findings) -> Result<Loaded, Mistakes> {
    let tables: Vec<Table> =
        files.iter().enumerate().map(|(number, file)| tree::parse(number, file, &mut out)).collect();
    // Now half of what was written is missing; complaints about what follows from that would only mislead.
    if !out.is_clean() {
        return Err(refusal(out, files));
    }
    // The shipped lists count as one more file: what is laid under the operator's tables stands somewhere, too.
    let with_shipped: Vec<SourceFile> = files.iter().cloned().chain([lists::source()]).collect();
    let lines = LineTable::new(&with_shipped);
    let mut all = Table::default();
    for mut table in tables {
        // Each file has its own; they were followed before and do not contradict one another.
        let _: Field<List<String>> = super::read::field(&table, &Place::default(), "include", &mut out);
        table.0.retain(|entry| entry.key != "include");
        tree::merge(&mut all, table, &lines, &mut out);
    }
    let mut origins = Origins::default();
    collect_origins("", &all, &lines, files, &mut origins);
    origins.written = Written::of(&all);
    lists::lay_under(&mut all, files.len(), &mut out);
    let file = raw::File::from_tree(all, &mut out);
    let mut context = Context::new(&file, lines, out);
    let config = context.config(&file);
    match config {
        Some(mut config) if context.out.is_clean() => {
            let (_, warnings) = context.out.locate(&with_shipped);
            config.origins = Arc::new(origins);
            Ok(Loaded { config, warnings, files: files.iter().map(|file| file.path.clone()).collect() })
        }
        _ => {
            // Sections that are asked again find the same mistakes again.
            let out = std::mem::take(&mut context.out);
            let named = Box::new(context.named_files(&file, &origins));
            Err(Mistakes { named, ..refusal(out, &with_shipped) })
        }
    }
}

fn refusal(out: Findings, files: &[SourceFile]) -> Mistakes {
    let (mistakes, warnings) = out.locate(files);
    Mistakes { mistakes, warnings, named: Box::default() }
}

fn collect_origins(path: &str, table: &Table, lines: &LineTable<'_>, files: &[SourceFile], origins: &mut Origins) {
    for entry in &table.0 {
        let path = join(path, &entry.key);
        match &entry.node.value {
            Value::Table(table) => collect_origins(&path, table, lines, files, origins),
            _ => {
                let (line, _) = lines.position(entry.file, entry.offset);
                let file = files.get(entry.file).map(|file| file.path.clone()).unwrap_or_default();
                origins.insert(path, file, line);
            }
        }
    }
}

impl Context<'_> {
    /// Checks everything; `None` where something is missing without which there is no configuration.
    fn config(&mut self, file: &raw::File) -> Option<Config> {
        self.check_presence(file);
        let server = self.server(file);
        let certificates = self.certificates(file);
        let listeners = self.listeners(file);
        let assignment = self.assignment(file);
        let ladders = self.ladders(file);
        let bindings = self.bindings(file, &ladders);
        let pools = self.pools(file);
        let tenants = self.tenants(file);
        self.check_trusted_headers(file, &listeners);
        let providers = self.providers(file, &ladders);
        let regions = self.regions(file);
        let delivery = self.delivery(file);
        let window = self.window(file);
        let destination_routes = self.destination_routes(file, delivery.port);
        let dns = self.dns(file);
        let queue = self.queue(file);
        let prediction = self.prediction(file);
        let reputation = self.reputation(file);
        let warmup = self.warmup_rules(file);
        let monitor = self.monitor(file);
        self.check_public_addresses(file, &bindings, &monitor);
        self.check_budgets(file, &bindings, &monitor);
        self.check_witnesses(file, &bindings, &monitor);
        let feeds = self.feeds(file, &reputation);
        let alerts = self.alerts(file);
        let admin = self.admin(file);
        let injection = self.injection(file);
        let dkim = self.dkim_keys(file, &queue);
        let log = self.log(file);
        let classify = self.classify(file);
        let state_dir = server.as_ref().map(|server| server.state_dir.clone()).unwrap_or_default();
        let feedback = self.feedback(file, &state_dir, &assignment, &tenants);
        self.check_untrusting_listeners(file, feedback.is_some());
        let reports = self.reports(file);
        Some(Config {
            server: server?,
            listeners,
            certificates,
            assignment,
            bindings,
            pools,
            tenants,
            providers,
            regions,
            destination_routes,
            dns,
            queue,
            delivery,
            window,
            prediction,
            reputation,
            warmup,
            monitor,
            admin,
            injection,
            dkim,
            log,
            classify,
            feeds,
            alerts,
            feedback,
            reports,
            origins: Arc::default(),
        })
    }

    /// A relay needs one of each of these.
    fn check_presence(&mut self, file: &raw::File) {
        let missing = [
            ("listener", missing_list(&file.listener), "add [[listener]] with address = \"127.0.0.1:2525\""),
            ("binding", missing_map(&file.binding), "add [binding.NAME] with bind_address = \"192.0.2.1\""),
            ("pool", missing_map(&file.pool), "add [pool.NAME] with active = [\"BINDING\"]"),
            ("tenant", missing_map(&file.tenant), "add [tenant.NAME] with pools = { default = \"POOL\" }"),
        ];
        for (key, is_missing, hint) in missing {
            if is_missing {
                self.out.mistake(&Place::default().key(key), format!("no {key} is configured"), hint);
            }
        }
    }
}
