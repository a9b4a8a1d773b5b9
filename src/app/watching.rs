//! Starts what looks from outside, and leads what it sees to the dispatcher.

use std::sync::Arc;

use tokio::sync::watch;

use super::{StartError, remember};
use crate::admin::Sources;
use crate::alerts::Alerts;
use crate::clock::Clock;
use crate::config::Config;
use crate::live::Change;
use crate::monitor::Monitor;
use crate::monitor::feeds::{Feeds, Word};
use crate::monitor::identity::Identity;
use crate::monitor::identity::resolver::Checked;
use crate::monitor::spf::{Around, Cover};
use crate::queue::dispatcher::Dispatcher;
use crate::reputation::Evidence;
use crate::telemetry::events::Kind;

/// What was started.
#[derive(Clone)]
pub(super) struct Watching {
    pub(super) monitor: Arc<Monitor>,
    pub(super) identity: Arc<Identity>,
    pub(super) cover: Arc<Cover>,
    pub(super) feeds: Arc<Feeds>,
    pub(super) alerts: Arc<Alerts>,
}

/// Starts everything but alerts, which look at the rest ([`start_alerts`]); it ends when `stopped` turns true.
pub(super) fn start(
    config: &Arc<Config>,
    clock: &Arc<dyn Clock>,
    dispatcher: &Arc<Dispatcher>,
    stopped: &watch::Receiver<bool>,
) -> Result<Watching, StartError> {
    let monitor = set_up_monitor(config, clock, dispatcher)?;
    let identity = start_identity(config, clock, dispatcher, &monitor, stopped.clone());
    start_rounds(&monitor, &identity, stopped.clone());
    let cover = start_cover(config, clock, dispatcher, (&monitor, &identity), stopped.clone())?;
    let feeds = start_feeds(config, clock, dispatcher, stopped.clone());
    let alerts = Arc::new(Alerts::new(config, Arc::clone(clock)));
    Ok(Watching { monitor, identity, cover, feeds, alerts })
}

fn set_up_monitor(
    config: &Arc<Config>,
    clock: &Arc<dyn Clock>,
    dispatcher: &Arc<Dispatcher>,
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
    dispatcher.on_blame(Arc::new(move |refusal| {
        if refusal.counts_against_ip {
            looker.check_now(refusal.binding, refusal.reply);
        }
        looker.check_domains(refusal.binding, refusal.sender, refusal.reply);
    }));
    let teller = Arc::clone(dispatcher);
    monitor.on_note(Arc::new(move |note, at| teller.events().note(Kind::Listing, note.fields(), at)));
    let hearing = Arc::clone(dispatcher);
    tokio::spawn(async move {
        while let Some(item) = evidence.recv().await {
            hearing.observe(item).await;
        }
    });
    let names = Arc::clone(dispatcher);
    monitor.on_names(Arc::new(move |binding, checked| {
        let (check, state) = (checked.check.as_str(), checked.grade.as_str());
        note(&names, [("binding", binding.as_str()), ("check", check), ("state", state), ("detail", &checked.detail)]);
    }));
    Ok(monitor)
}

/// The rounds begin when the resolvers were tested: through a liar the first would list or clear.
fn start_rounds(monitor: &Arc<Monitor>, identity: &Arc<Identity>, mut stopped: watch::Receiver<bool>) {
    let (rounds, tested) = (Arc::clone(monitor), Arc::clone(identity));
    tokio::spawn(async move {
        let stop = async move { drop(stopped.wait_for(|stop| *stop).await) };
        tokio::pin!(stop);
        tokio::select! {
            () = tested.ready() => rounds.run(stop).await,
            () = &mut stop => {}
        }
    });
}

fn note<const N: usize>(dispatcher: &Dispatcher, fields: [(&'static str, &str); N]) {
    let fields = fields.map(|(name, text)| (name, text.to_owned()));
    dispatcher.events().note(Kind::Note, fields, dispatcher.now().wall);
}

fn start_identity(
    config: &Config,
    clock: &Arc<dyn Clock>,
    dispatcher: &Arc<Dispatcher>,
    monitor: &Arc<Monitor>,
    stopped: watch::Receiver<bool>,
) -> Arc<Identity> {
    let hearing = Arc::clone(dispatcher);
    let sink = Arc::new(move |purpose: &str, checked: &Checked| {
        let (check, state) = (checked.check.as_str(), checked.grade.as_str());
        note(&hearing, [("resolver", purpose), ("check", check), ("state", state), ("detail", &checked.detail)]);
    });
    let identity = Arc::new(Identity::new(config, Arc::clone(clock), Arc::clone(monitor), sink));
    let running = Arc::clone(&identity);
    tokio::spawn(async move { running.run(stopped).await });
    identity
}

fn start_cover(
    config: &Arc<Config>,
    clock: &Arc<dyn Clock>,
    dispatcher: &Arc<Dispatcher>,
    (monitor, identity): (&Arc<Monitor>, &Arc<Identity>),
    mut stopped: watch::Receiver<bool>,
) -> Result<Arc<Cover>, StartError> {
    let (hearing, knowing, looking) = (Arc::clone(dispatcher), Arc::clone(dispatcher), Arc::clone(monitor));
    let around = Around {
        sink: Arc::new(move |heard| hearing.heard_of_spf(heard)),
        waits: Arc::new(move |domain| knowing.with_core(|core| core.waits_from(domain))),
        is_believed: Arc::new(move || looking.distrusted().is_none()),
    };
    let cover = Cover::new(config, Arc::clone(clock), around).map_err(|e| StartError::Other(e.to_string()))?;
    let cover = Arc::new(cover);
    // Before the first attempt: waiting mail keeps to what was proven in the last run.
    remember::recall_cover(&cover, dispatcher);
    let seeing = Arc::clone(&cover);
    dispatcher.on_sender(Arc::new(move |tenant, domain| seeing.seen(tenant, domain)));
    let (running, tested) = (Arc::clone(&cover), Arc::clone(identity));
    tokio::spawn(async move {
        // Through a resolver that lies the first evaluations would say that nobody has a record.
        let is_ready = tokio::select! {
            () = tested.ready() => true,
            _ = stopped.wait_for(|stop| *stop) => false,
        };
        if is_ready {
            running.run(stopped).await;
        }
    });
    Ok(cover)
}

fn start_feeds(
    config: &Config,
    clock: &Arc<dyn Clock>,
    dispatcher: &Arc<Dispatcher>,
    stopped: watch::Receiver<bool>,
) -> Arc<Feeds> {
    let (news, mut words) = tokio::sync::mpsc::unbounded_channel::<Word>();
    // The receiver lives as long as the program; on the way down news may go nowhere.
    let sink = Arc::new(move |word| drop(news.send(word)));
    let feeds = Arc::new(Feeds::new(config, Arc::clone(clock), sink));
    let hearing = Arc::clone(dispatcher);
    tokio::spawn(async move {
        while let Some(word) = words.recv().await {
            match word {
                Word::Evidence(evidence) => hearing.observe(evidence).await,
                Word::Event(fields) => hearing.events().note(Kind::Feed, fields, hearing.now().wall),
            }
        }
    });
    tokio::spawn(Arc::clone(&feeds).run(stopped));
    feeds
}

/// Starts to tell people: last, since it looks at everything else.
pub(super) fn start_alerts(sources: &Sources, stopped: watch::Receiver<bool>) {
    tokio::spawn(Arc::clone(&sources.alerts).run(sources.clone(), stopped));
}

impl Watching {
    /// Follows another configuration, after the core has it.
    ///
    /// # Errors
    /// In words.
    #[allow(clippy::unused_self, reason = "filled in by what looks from outside")]
    pub(super) fn reconfigure(&self, change: &Change) -> Result<(), String> {
        let _ = change;
        Ok(())
    }

    /// Whether it could be followed, and what is to be said of that.
    ///
    /// # Errors
    /// In words.
    #[allow(clippy::unused_self, reason = "filled in by what looks from outside")]
    pub(super) fn check(&self, change: &Change) -> Result<Vec<String>, String> {
        let _ = change;
        Ok(Vec::new())
    }
}
