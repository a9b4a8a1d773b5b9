//! Starts what looks from outside, and leads what it sees to the dispatcher.

use std::sync::Arc;

use tokio::sync::watch;

use super::StartError;
use crate::alerts::Alerts;
use crate::clock::Clock;
use crate::config::Config;
use crate::monitor::Monitor;
use crate::monitor::feeds::Feeds;
use crate::monitor::identity::Identity;
use crate::monitor::spf::Cover;
use crate::queue::dispatcher::Dispatcher;
use crate::reputation::Evidence;
use crate::telemetry::events::Kind;

/// What was started.
pub(super) struct Watching {
    pub(super) monitor: Arc<Monitor>,
    pub(super) identity: Arc<Identity>,
    pub(super) cover: Arc<Cover>,
    pub(super) feeds: Arc<Feeds>,
    pub(super) alerts: Arc<Alerts>,
}

/// Starts everything; it ends when `stopped` turns true.
pub(super) fn start(
    config: &Arc<Config>,
    clock: &Arc<dyn Clock>,
    dispatcher: &Arc<Dispatcher>,
    stopped: &watch::Receiver<bool>,
) -> Result<Watching, StartError> {
    let monitor = start_monitor(config, clock, dispatcher, stopped.clone())?;
    let identity = start_identity(config, clock, stopped.clone());
    let cover = start_cover(config, clock, stopped.clone());
    let feeds = start_feeds(config, clock, stopped.clone());
    let alerts = start_alerts(config, clock, stopped.clone());
    Ok(Watching { monitor, identity, cover, feeds, alerts })
}

fn start_monitor(
    config: &Arc<Config>,
    clock: &Arc<dyn Clock>,
    dispatcher: &Arc<Dispatcher>,
    mut stopped: watch::Receiver<bool>,
) -> Result<Arc<Monitor>, StartError> {
    let (news, mut evidence) = tokio::sync::mpsc::unbounded_channel::<Evidence>();
    // The receiver lives as long as the program; on the way down news may go nowhere.
    let sink = Arc::new(move |evidence| drop(news.send(evidence)));
    let monitor =
        Arc::new(Monitor::new(config, Arc::clone(clock), sink).map_err(|e| StartError::Other(e.to_string()))?);
    dispatcher.with_core(|core| {
        for binding in &config.bindings {
            monitor.restore(&binding.name, core.reputation().listings(&binding.name));
        }
    });
    let looker = Arc::clone(&monitor);
    dispatcher.on_blame(Arc::new(move |binding, reply| looker.check_now(binding, reply)));
    let teller = Arc::clone(dispatcher);
    monitor.on_note(Arc::new(move |note, at| teller.events().note(Kind::Listing, note.fields(), at)));
    let hearing = Arc::clone(dispatcher);
    tokio::spawn(async move {
        while let Some(item) = evidence.recv().await {
            hearing.observe(item).await;
        }
    });
    let rounds = Arc::clone(&monitor);
    tokio::spawn(async move { rounds.run(async move { drop(stopped.wait_for(|stop| *stop).await) }).await });
    Ok(monitor)
}

fn start_identity(config: &Config, clock: &Arc<dyn Clock>, stopped: watch::Receiver<bool>) -> Arc<Identity> {
    let identity = Arc::new(Identity::new(config, Arc::clone(clock)));
    let running = Arc::clone(&identity);
    tokio::spawn(async move { running.run(stopped).await });
    identity
}

fn start_cover(config: &Config, clock: &Arc<dyn Clock>, stopped: watch::Receiver<bool>) -> Arc<Cover> {
    let cover = Arc::new(Cover::new(config, Arc::clone(clock)));
    let running = Arc::clone(&cover);
    tokio::spawn(async move { running.run(stopped).await });
    cover
}

fn start_feeds(config: &Config, clock: &Arc<dyn Clock>, stopped: watch::Receiver<bool>) -> Arc<Feeds> {
    let feeds = Arc::new(Feeds::new(config, Arc::clone(clock)));
    let running = Arc::clone(&feeds);
    tokio::spawn(async move { running.run(stopped).await });
    feeds
}

fn start_alerts(config: &Config, clock: &Arc<dyn Clock>, stopped: watch::Receiver<bool>) -> Arc<Alerts> {
    let alerts = Arc::new(Alerts::new(config, Arc::clone(clock)));
    let running = Arc::clone(&alerts);
    tokio::spawn(async move { running.run(stopped).await });
    alerts
}
