//! `remuda run`: the relay until SIGTERM or SIGINT.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use super::{LogFormatArg, check, fail};
use crate::app::Relay;
use crate::config::{Config, LogFormat};

pub(super) fn main(path: &Path, log_format: Option<LogFormatArg>) -> ExitCode {
    // Rules and keys are read again when the relay starts: here they are only held to the same words as `remuda check`.
    let Some(check::Checked { loaded, later, .. }) = check::load(path) else { return ExitCode::FAILURE };
    let mut config = loaded.config;
    if let Some(format) = log_format {
        config.log.format = match format {
            LogFormatArg::Text => LogFormat::Text,
            LogFormatArg::Json => LogFormat::Json,
        };
    }
    if let Err(problem) = crate::telemetry::log::init(&config.log) {
        return fail(problem);
    }
    for warning in &loaded.warnings {
        tracing::warn!(%warning, "configuration");
    }
    // Nobody is told or asked with these until they are mended: no reason to leave mail lying.
    for problem in later.bad {
        tracing::warn!(problem, "configuration");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(error),
    };
    runtime.block_on(relay(config, path.to_owned()))
}

async fn relay(config: Config, path: PathBuf) -> ExitCode {
    // Before anything is accepted: a signal that comes early must stop gracefully too.
    let (mut terminate, mut interrupt) = match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
        (Err(error), _) | (_, Err(error)) => return fail(error),
    };
    let mut relay = match Relay::start_from(config, Some(path)).await {
        Ok(relay) => relay,
        Err(error) => return fail(error),
    };
    let failure = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        why = relay.failed() => Some(why),
    };
    if let Some(why) = &failure {
        tracing::error!(why = why.as_str(), "cannot go on; a restart continues from what is on disk");
    }
    tokio::select! {
        () = relay.stop() => {}
        // Whoever asks twice does not want to wait for the grace.
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    failure.map_or(ExitCode::SUCCESS, fail)
}
