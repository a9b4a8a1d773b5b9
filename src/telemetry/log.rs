//! Log lines: `key=value` text or one JSON object a line, on standard error, through `tracing`.

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Sets the process's log up. Says in words why a filter is wrong; a second call has no effect.
pub fn init(log: &Log) -> Result<(), String> {
    let filter = EnvFilter::try_new(&log.filter).map_err(|e| format!("log.filter {:?}: {e}", log.filter))?;
    // hickory logs the names it asks for, and the name of a keyed DNSBL zone is a secret.
    let filter = ["hickory_resolver=off", "hickory_net=off", "hickory_proto=off"]
        .iter()
        .filter_map(|directive| directive.parse().ok())
        .fold(filter, EnvFilter::add_directive);
    // The storage engine speaks of its files at level info; that is noise unless asked for.
    let quiet = if log.filter.contains("fjall") { [].as_slice() } else { ["fjall=warn", "lsm_tree=warn"].as_slice() };
    let filter = quiet.iter().filter_map(|d| d.parse().ok()).fold(filter, EnvFilter::add_directive);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let done = match log.format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
        LogFormat::Text => builder.with_ansi(false).try_init(),
    };
    // Only a second initialisation fails; the first one's settings stay.
    drop(done);
    Ok(())
}
