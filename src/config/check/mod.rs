//! From the file as typed to values that cannot be wrong.
//!
//! One run finds everything: the tree is read key by key (`config::read`), then each section is checked and built, and
//! only at the end does anyone ask whether there were mistakes. A value that was refused once is not refused again for
//! what follows from it: a binding with a bad address still counts as a binding when a pool names it.

mod admin;
mod alerts;
mod binding;
mod feedback;
mod feeds;
mod later;
mod monitor;
mod pool;
mod reputation;
mod routing;
mod sections;
mod tenant;
#[cfg(test)]
mod tests;
mod window;
mod zone;

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::mistake::{Findings, LineTable, Place, join};
pub use super::mistake::{Holds, LaterFile, Mistake, Mistakes, NamedFiles, ZoneKeyFile};
use super::read::{At, Field, List, Map, Named};
use super::tree::{self, Table, Value};
pub use super::tree::{Files, SourceFile};
use super::written::Written;
use super::{Config, Origin, Origins, lists, raw};
use crate::message::Domain;
use later::read_later;
use zone::zone_keys;

/// Octets of a name. Two of them and a word make a key of the store, which has at most 1,024.
const NAME_MAX: usize = 255;

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

impl Loaded {
    /// Other files that it names.
    pub fn named_files(&self) -> NamedFiles {
        NamedFiles {
            rules: self.config.classify.rules.clone(),
            rules_at: self.config.origins.get("classify.rules").cloned(),
            key_file: self.config.feedback.as_ref().map(|feedback| feedback.key_file.clone()),
            state_dir: self.config.server.state_dir.clone(),
            users_file: users_file(self.config.server.users_file.as_ref(), &self.config.origins),
            zone_keys: zone_keys(&self.config.monitor, &self.config.origins),
            read_later: read_later(&self.config.alerts, &self.config.feeds, &self.config.origins),
        }
    }
}

fn users_file(file: Option<&PathBuf>, origins: &Origins) -> Option<(PathBuf, Option<Origin>)> {
    file.map(|file| (file.clone(), origins.get("server.users_file").cloned()))
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

/// The names of one kind of thing that may be referred to.
struct Names<'a> {
    kind: &'static str,
    all: Vec<&'a str>,
    set: HashSet<&'a str>,
}

impl<'a> Names<'a> {
    fn new(kind: &'static str, all: impl Iterator<Item = &'a str>) -> Self {
        let all: Vec<&str> = all.collect();
        Self { kind, set: all.iter().copied().collect(), all }
    }

    fn of<T>(kind: &'static str, map: &'a Field<Map<T>>) -> Self {
        Self::new(kind, map.entries().iter().map(|entry| entry.name.as_str()))
    }

    /// Whether `name` exists; if not, it is reported at `place`.
    fn refer(&self, name: &str, place: &Place, out: &mut Findings) -> bool {
        let known = self.set.contains(name);
        if !known {
            let hint = out.suggest_name(name, &self.all);
            out.mistake(place, format!("no {} {name:?}", self.kind), hint);
        }
        known
    }
}

/// What the checks of the sections share.
struct Context<'a> {
    lines: LineTable<'a>,
    out: Findings,
    bindings: Names<'a>,
    pools: Names<'a>,
    tenants: Names<'a>,
    providers: Names<'a>,
    ladders: Names<'a>,
    regions: Names<'a>,
}

impl<'a> Context<'a> {
    fn new(file: &'a raw::File, lines: LineTable<'a>, out: Findings) -> Self {
        let built_in = super::defaults::LADDERS.iter().map(|(name, _)| *name);
        let bindings = file.binding.entries().iter().filter_map(|entry| entry.value.as_ref());
        let in_use = bindings.filter_map(|binding| binding.region.value().map(String::as_str));
        let own = file.ladder.entries().iter().map(|entry| entry.name.as_str());
        Self {
            lines,
            out,
            bindings: Names::of("binding", &file.binding),
            pools: Names::of("pool", &file.pool),
            tenants: Names::of("tenant", &file.tenant),
            providers: Names::of("provider", &file.provider),
            ladders: Names::new("ladder", built_in.chain(own)),
            regions: Names::new("region", in_use.chain(file.region.entries().iter().map(|entry| entry.name.as_str()))),
        }
    }

    /// Checks everything; `None` where something is missing without which there is no configuration.
    /// A file that is named: as with include, relative to the file in which that is written.
    fn beside(&self, field: &Field<String>) -> Option<PathBuf> {
        field.given().map(|at| self.lines.directory(&at.place).join(&at.value))
    }

    fn config(&mut self, file: &raw::File) -> Option<Config> {
        self.check_presence(file);
        let server = self.server(file);
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
        self.check_budgets(file, bindings.len(), &monitor);
        self.check_witnesses(file, &bindings, &monitor);
        let feeds = self.feeds(file, &reputation);
        let alerts = self.alerts(file);
        let admin = self.admin(file);
        let log = self.log(file);
        let classify = self.classify(file);
        let state_dir = server.as_ref().map(|server| server.state_dir.clone()).unwrap_or_default();
        let feedback = self.feedback(file, &state_dir, &assignment, &tenants);
        self.check_untrusting_listeners(file, feedback.is_some());
        Some(Config {
            server: server?,
            listeners,
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
            log,
            classify,
            feeds,
            alerts,
            feedback,
            origins: Arc::default(),
        })
    }

    /// Files that are named in a configuration with mistakes.
    fn named_files(&mut self, file: &raw::File, origins: &Origins) -> NamedFiles {
        let state_dir = self.server(file).map(|server| server.state_dir);
        let (assignment, tenants) = (self.assignment(file), self.tenants(file));
        let feedback = self.feedback(file, state_dir.as_deref().unwrap_or(Path::new("")), &assignment, &tenants);
        let reputation = self.reputation(file);
        let (alerts, feeds) = (self.alerts(file), self.feeds(file, &reputation));
        // Beside a state_dir that is not known lies no key file.
        let known = |path: &PathBuf| state_dir.is_some() || !path.as_os_str().eq(super::defaults::FEEDBACK_KEYS);
        NamedFiles {
            rules: self.classify(file).rules,
            rules_at: origins.get("classify.rules").cloned(),
            key_file: feedback.map(|feedback| feedback.key_file).filter(known),
            state_dir: state_dir.unwrap_or_default(),
            users_file: users_file(self.beside(&section(&file.server).users_file).as_ref(), origins),
            zone_keys: zone_keys(&self.monitor(file), origins),
            read_later: read_later(&alerts, &feeds, origins),
        }
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

    /// Names of things: not empty, not too long, no spaces, colons or control characters (a colon separates the parts of
    /// keys in the store, a space those of a log line).
    fn check_name(&mut self, name: &str, place: &Place) {
        if name.is_empty() {
            self.out.mistake(place, "a name must not be empty", "");
        } else if let Some(wrong) = name.chars().find(|c| c.is_whitespace() || c.is_control() || *c == ':') {
            self.out.mistake(place, format!("a name must not contain {wrong:?}"), "write it with - or _ instead");
        } else if name.len() > NAME_MAX {
            self.out.mistake(place, format!("a name has at most {NAME_MAX} octets"), "write a shorter one");
        }
    }

    /// The entries of a map whose values could be read, their names checked.
    fn named<'f, T>(&mut self, map: &'f Field<Map<T>>) -> Vec<(&'f Named<T>, &'f T)> {
        for entry in map.entries() {
            self.check_name(&entry.name, &entry.place);
        }
        map.entries().iter().filter_map(|entry| entry.value.as_ref().map(|value| (entry, value))).collect()
    }

    /// Refuses 0 where at least one is needed.
    fn at_least_one<T: Copy + PartialEq + From<u8>>(&mut self, field: &Field<T>) {
        self.not_zero(field, "must be at least 1", "");
    }

    fn not_zero<T: Copy + PartialEq + From<u8>>(&mut self, field: &Field<T>, what: &str, hint: &str) {
        if let Some(at) = field.given().filter(|at| at.value == T::from(0)) {
            self.out.mistake(&at.place, what, hint);
        }
    }

    /// Refuses a duration of nothing.
    fn not_instant(&mut self, field: &Field<Duration>) {
        if let Some(at) = field.given().filter(|at| at.value.is_zero()) {
            self.out.mistake(&at.place, "must be longer than 0", "");
        }
    }

    /// Refuses what lies outside `low..=high`.
    fn within(&mut self, field: &Field<f64>, low: f64, high: f64) {
        if let Some(at) = field.given().filter(|at| !(low..=high).contains(&at.value)) {
            self.out.mistake(&at.place, format!("{} is out of range", at.value), format!("from {low} to {high}"));
        }
    }

    /// Refuses `small` above `large`, at whichever of the two was written.
    fn not_above<T: PartialOrd>(
        &mut self,
        (small, small_place): (T, Option<&Place>),
        (large, large_place): (T, Option<&Place>),
        what: &str,
    ) {
        if let (true, Some(place)) = (small > large, large_place.or(small_place)) {
            self.out.mistake(place, what, "");
        }
    }
}

fn missing_list<T>(field: &Field<List<T>>) -> bool {
    field.is_missing() || field.value().is_some_and(List::is_written_empty)
}

fn missing_map<T>(field: &Field<Map<T>>) -> bool {
    field.is_missing() || field.value().is_some_and(|map| map.0.is_empty())
}

fn place_of<T>(field: &Field<T>) -> Option<&Place> {
    field.given().map(|at| &at.place)
}

/// The table, or an empty one where the file has none.
fn section<T: Default + Clone>(field: &Field<T>) -> T {
    field.value().cloned().unwrap_or_default()
}

/// A name a host can have in public: letters, digits and hyphens only (RFC 5321 §4.1.2), and no bare address.
fn host_name(text: &At<String>, out: &mut Findings) -> Option<Domain> {
    if let Ok(address) = text.value.parse::<IpAddr>() {
        let tag = if address.is_ipv6() { "IPv6:" } else { "" };
        out.mistake(
            &text.place,
            format!("{:?} is an address, not a name", text.value),
            format!("write a host name, or \"[{tag}{address}]\" for the bare address"),
        );
        return None;
    }
    let name = text.value.parse::<Domain>().ok().filter(|name| {
        let last = name.as_str().rsplit('.').next().unwrap_or("");
        name.as_str().starts_with('[') || (!name.as_str().contains('_') && !last.bytes().all(|b| b.is_ascii_digit()))
    });
    if name.is_none() {
        let hint = "write a full host name such as \"mta1.example.net\"";
        out.mistake(&text.place, format!("{:?} is no host name", text.value), hint);
    }
    name
}

/// Whether `text` can be the name of a header field (RFC 5322 §2.2).
fn is_header_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| (33..=126).contains(&b) && b != b':')
}
