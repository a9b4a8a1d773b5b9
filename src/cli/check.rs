//! `remuda check`: every mistake of a configuration at once.

use std::path::Path;
use std::process::ExitCode;

use crate::config::Config;

pub(super) fn main(path: &Path) -> ExitCode {
    match Config::load(path) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                eprintln!("warning: {warning}");
            }
            let config = loaded.config;
            println!(
                "{}: good: {} listeners, {} bindings, {} pools, {} tenants, {} providers, {} DNSBL zones",
                path.display(),
                config.listeners.len(),
                config.bindings.len(),
                config.pools.len(),
                config.tenants.len(),
                config.providers.len(),
                config.monitor.zones.len(),
            );
            ExitCode::SUCCESS
        }
        Err(mistakes) => {
            eprintln!("{mistakes}");
            ExitCode::FAILURE
        }
    }
}
