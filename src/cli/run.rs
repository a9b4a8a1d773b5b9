//! `remuda run`: the relay until SIGTERM or SIGINT. SIGHUP reads the configuration anew.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::{LogFormatArg, check, fail, supervisor, terminal};
use crate::app::Relay;
use crate::config::{Config, LogFormat};
use crate::live::{Changed, Live, Refused};

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
    let signals = (|| {
        let [terminate, interrupt, hangup] = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
        std::io::Result::Ok((signal(terminate)?, signal(interrupt)?, signal(hangup)?))
    })();
    let (mut terminate, mut interrupt, mut hangup) = match signals {
        Ok(signals) => signals,
        Err(error) => return fail(error),
    };
    let mut relay = match Relay::start_from(config, Some(path)).await {
        Ok(relay) => relay,
        Err(error) => return fail(error),
    };
    supervisor::ready(&taking_mail(&relay, "started"));
    tokio::spawn(supervisor::watchdog(Arc::clone(&relay.sources().dispatcher)));
    let live = relay.sources().live.clone();
    // Beside the signals: while a disk is slow to take a change, whoever stops the relay must not wait.
    let mut reloading: Option<Reloading> = None;
    let failure = loop {
        let is_reloading = reloading.is_some();
        tokio::select! {
            _ = terminate.recv() => break None,
            _ = interrupt.recv() => break None,
            // One at a time; a signal that comes meanwhile is heard when this one is done.
            _ = hangup.recv(), if !is_reloading => {
                supervisor::reloading();
                let live = live.clone();
                reloading = Some(Box::pin(async move { reload(&live).await }));
            }
            outcome = poll(&mut reloading) => {
                reloading = None;
                // Ready again, whatever came of it: mail is taken all the time.
                supervisor::ready(&taking_mail(&relay, &outcome));
            }
            why = relay.failed() => break Some(why),
        }
    };
    supervisor::stopping();
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

/// A reload under way; it gives what is told of it.
type Reloading = Pin<Box<dyn Future<Output = String> + Send>>;

/// Goes on with a reload, if there is one.
async fn poll(reloading: &mut Option<Reloading>) -> String {
    match reloading {
        Some(reloading) => reloading.await,
        None => std::future::pending().await,
    }
}

fn taking_mail(relay: &Relay, outcome: &str) -> String {
    let listeners = relay.sources().listeners.read();
    let listeners: Vec<String> = listeners.iter().map(ToString::to_string).collect();
    format!("{outcome}; taking mail at {}", listeners.join(", "))
}

/// Reads the file and brings it into force; what came of it is logged, and told in a few words.
async fn reload(live: &Live) -> String {
    match live.reload(false).await {
        Ok(outcome) => {
            for Changed { key, from, to } in &outcome.changes {
                let [from, to] = [from, to].map(|value| terminal::visible(value.as_deref().unwrap_or("-")));
                tracing::info!(key = terminal::visible(key), from, to, "configuration changed");
            }
            for warning in &outcome.warnings {
                tracing::warn!(warning = terminal::visible(warning), "configuration");
            }
            let changes = outcome.changes.len();
            tracing::info!(changes, "configuration reloaded");
            format!("configuration reloaded, {changes} changes")
        }
        Err(refused) => {
            let mistakes = match &refused {
                Refused::File(mistakes) => mistakes.join("\n"),
                other => other.to_string(),
            };
            for mistake in mistakes.lines() {
                tracing::error!(mistake = terminal::visible(mistake), "configuration not reloaded");
            }
            let first = mistakes.lines().next().unwrap_or_default();
            format!("reload refused, the configuration in force stays: {}", terminal::visible(first))
        }
    }
}
