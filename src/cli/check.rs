//! `remuda check`: every mistake of a configuration and of its rule files at once.

use std::path::Path;
use std::process::ExitCode;

use crate::config::{Config, Loaded};
use crate::outcome::classify::Classifier;

pub(super) fn main(path: &Path) -> ExitCode {
    let Some((loaded, classifier)) = load(path) else { return ExitCode::FAILURE };
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    let config = loaded.config;
    let providers: Vec<&str> = config.providers.iter().map(|provider| provider.name.as_str()).collect();
    for warning in classifier.rules_of_unknown_providers(&providers) {
        eprintln!("warning: {warning}");
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

/// Reads the configuration and the rule files it names. Prints everything that is wrong with either, one a line.
pub(super) fn load(path: &Path) -> Option<(Loaded, Classifier)> {
    let loaded = Config::load(path);
    let rules = match &loaded {
        Ok(loaded) => &loaded.config.classify.rules,
        Err(mistakes) => &mistakes.rules,
    };
    let classifier = Classifier::load(rules);
    if let Err(mistakes) = &loaded {
        eprintln!("{mistakes}");
    }
    if let Err(errors) = &classifier {
        for error in errors {
            eprintln!("{error}");
        }
    }
    Some((loaded.ok()?, classifier.ok()?))
}
