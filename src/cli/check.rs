//! `remuda check`: every mistake of a configuration, its rule files and its key files at once.

use std::path::Path;
use std::process::ExitCode;

use super::later::Found;
use crate::config::{Config, Loaded, NamedFiles};
use crate::feedback::keys;
use crate::ingress::users::list::List;
use crate::ingress::{tls, users};
use crate::monitor::keys as zone_keys;
use crate::outcome::classify::Classifier;
use crate::outcome::dsn::Texts;
use crate::outcome::rules::RuleError;
use crate::signing::Keys;

/// A configuration without mistakes, and what was found in the files it names.
pub(super) struct Checked {
    pub(super) loaded: Loaded,
    classifier: Classifier,
    /// What is odd about the key file.
    key_file: Option<String>,
    /// What is odd about the users.
    users: Option<String>,
    /// What is odd about key files of lists.
    zone_keys: Vec<String>,
    /// What is wrong with certificates of listeners: a relay starts without them, and says so.
    certificates: Vec<String>,
    /// What is wrong with files that are read later.
    pub(super) later: Found,
}

pub(super) fn main(path: &Path) -> ExitCode {
    let Some(checked) = load(path) else { return ExitCode::FAILURE };
    let Checked { loaded, classifier, key_file, users, zone_keys, certificates, later } = checked;
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    let loose = tls::loose(&loaded.config.certificates);
    for odd in key_file.into_iter().chain(users).chain(zone_keys).chain(later.odd).chain(loose) {
        eprintln!("warning: {odd}");
    }
    let config = loaded.config;
    let providers: Vec<&str> = config.providers.iter().map(|provider| provider.name.as_str()).collect();
    for warning in classifier.rules_of_unknown_providers(&providers) {
        eprintln!("warning: {warning}");
    }
    for warning in classifier.warnings() {
        eprintln!("warning: {warning}");
    }
    for bad in later.bad.iter().chain(&certificates) {
        eprintln!("{bad}");
    }
    if !later.bad.is_empty() || !certificates.is_empty() {
        return ExitCode::FAILURE;
    }
    println!(
        "{}: good: {} listeners, {} bindings, {} pools, {} tenants, {} providers, {} DNSBL zones, {} rules ({} your own)",
        path.display(),
        config.listeners.len(),
        config.bindings.len(),
        config.pools.len(),
        config.tenants.len(),
        config.providers.len(),
        config.monitor.zones.len(),
        classifier.rules().count(),
        classifier.rules().filter(|rule| rule.own).count(),
    );
    ExitCode::SUCCESS
}

/// Reads the configuration and the files it names. Prints everything that is wrong with any of them, one a line, in the
/// same words for `check` and `run`.
pub(super) fn load(path: &Path) -> Option<Checked> {
    let loaded = Config::load(path);
    let named = match &loaded {
        Ok(loaded) => &loaded.named_files(),
        Err(mistakes) => &*mistakes.named,
    };
    if let Err(mistakes) = &loaded {
        eprintln!("{mistakes}");
    }
    let classifier = Classifier::load(&named.rules);
    if let Err(errors) = &classifier {
        for error in errors {
            eprintln!("{}{error}", named_at(named, error));
        }
    }
    let key_file = named.key_file.as_deref().map_or(Ok(None), |keys| keys::check(keys, &named.state_dir));
    if let Err(error) = &key_file {
        eprintln!("{error}");
    }
    let users = named.users_file.as_ref().map_or(Ok(None), |(file, at)| {
        let at = at.as_ref().map(|at| format!("{at}: ")).unwrap_or_default();
        let read = users::read(Some(file)).inspect_err(|error| eprintln!("{at}{error}"))?;
        let odd = loaded.as_ref().ok().and_then(|loaded| of_no_tenant(read.list(), &loaded.config));
        Ok::<_, users::Error>(odd.map(|odd| format!("{at}{odd}")))
    });
    let certificates = tls::read(&named.certificates).into_iter().filter_map(|(_, _, read)| read.err());
    let certificates: Vec<String> = certificates.map(|error| error.to_string()).collect();
    let texts = loaded.as_ref().map_or(Ok(()), |loaded| {
        let at = loaded.config.origins.get("reports.template").map(|at| format!("{at}: reports.template: "));
        let read = Texts::load(loaded.config.reports.template.as_deref()).map(drop);
        read.inspect_err(|error| eprintln!("{}{error}", at.unwrap_or_default()))
    });
    let (zone_keys, later) = (zone_keys(named), Found::of(&named.read_later));
    if loaded.is_err() {
        // Where it does not come to more, this as well.
        later.bad.iter().for_each(|bad| eprintln!("{bad}"));
    }
    let signing = loaded
        .as_ref()
        .map_or(Ok(()), |loaded| Keys::load(&loaded.config).map(drop).inspect_err(|error| eprintln!("{error}")));
    let users = users.ok()?;
    signing.ok()?;
    texts.ok()?;
    Some(Checked {
        loaded: loaded.ok()?,
        classifier: classifier.ok()?,
        key_file: key_file.ok()?,
        users,
        zone_keys: zone_keys?,
        certificates,
        later,
    })
}

/// Users who can log in and send nothing, unless their address is trusted.
fn of_no_tenant(users: &List, config: &Config) -> Option<String> {
    let is_known =
        |user: &str| config.tenants.iter().any(|tenant| tenant.matches.auth_user.iter().any(|it| it == user));
    let mut stray = users.names().filter(|user| config.assignment.default_tenant.is_none() && !is_known(user));
    let first = stray.next()?;
    let more = match stray.count() {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    Some(format!(
        "server.users_file: user {first:?}{more} is no tenant's: mail is refused after the login, unless the client is in \
         trust; write match = {{ auth_user = [{first:?}] }} under a [tenant.NAME]"
    ))
}

/// What is odd about key files of lists; nothing where one cannot be used, which was printed then.
fn zone_keys(named: &NamedFiles) -> Option<Vec<String>> {
    let (mut odd, mut all_good) = (Vec::new(), true);
    for key in &named.zone_keys {
        match zone_keys::check(key) {
            Ok(found) => odd.extend(found),
            Err(error) => {
                let at = key.at.as_ref().map(|at| format!("{at}: ")).unwrap_or_default();
                eprintln!("{at}{error}");
                all_good = false;
            }
        }
    }
    all_good.then_some(odd)
}

/// `remuda.toml:12: classify.rules: ` before the complaint that one of the named files cannot be read.
fn named_at(named: &NamedFiles, error: &RuleError) -> String {
    match &named.rules_at {
        Some(at) if error.at.is_none() && named.rules.iter().any(|rules| *rules == *error.file) => {
            format!("{at}: classify.rules: ")
        }
        _ => String::new(),
    }
}
