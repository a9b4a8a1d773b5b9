//! Another configuration for the loop and what hangs on it.
//!
//! Two steps: [`Dispatcher::prepare`] does what can fail (rule files and key files are read anew, the way to the name servers
//! is made) and touches nothing; [`Dispatcher::reconfigure`] cannot fail. What is replaced is replaced as a whole and under
//! the core's lock, so that nobody decides by one configuration and acts by another. Attempts on the wire end as they began.
//!
//! Stranded mail that the new configuration has a place for is read and queued by a task beside it, in small steps.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::core::{self, Core, WantedBack};
use super::Dispatcher;
use super::mark::Marker;
use crate::config::{Binding, Config};
use crate::delivery::ourselves::Ourselves;
use crate::delivery::{Routing, Servers};
use crate::feedback::keys;
use crate::feedback::token::Directory;
use crate::message::{BindingName, Entry, EntryId, PoolName, TenantName};
use crate::outcome::classify::Classifier;
use crate::outcome::dsn::Texts;
use crate::store::SpoolError;
use crate::telemetry::metrics::operation::SpoolWork;

/// Stranded entries read in one step, and the pause before the next try where the spool does not answer.
const BROUGHT_BACK: usize = 256;
const SPOOL_PAUSE: Duration = Duration::from_secs(5);

/// The configuration and what was made of it.
pub(super) struct InForce {
    pub(super) config: Arc<Config>,
    pub(super) classifier: Arc<Classifier>,
    pub(super) marker: Option<Marker>,
    /// What reports to senders say.
    pub(super) texts: Arc<Texts>,
    /// Tenants whose return paths are rewritten.
    pub(super) rewritten: HashSet<TenantName>,
    bindings: HashMap<BindingName, Arc<Binding>>,
    /// Changes when mail may go elsewhere.
    routing: u64,
}

impl InForce {
    pub(super) fn new(
        config: Arc<Config>,
        classifier: Arc<Classifier>,
        marker: Option<Marker>,
        texts: Arc<Texts>,
    ) -> Self {
        let rewritten = config.tenants.iter().filter(|tenant| tenant.return_path_domain.is_some());
        Self {
            rewritten: rewritten.map(|tenant| tenant.name.clone()).collect(),
            bindings: config.bindings.iter().map(|binding| (binding.name.clone(), Arc::clone(binding))).collect(),
            config,
            classifier,
            marker,
            texts,
            routing: 0,
        }
    }

    /// A binding as it is configured now.
    pub(super) fn binding(&self, name: &BindingName) -> Option<Arc<Binding>> {
        self.bindings.get(name).cloned()
    }

    /// Whether mail goes the same ways under both.
    pub(super) fn routes_as(&self, other: &Self) -> bool {
        self.routing == other.routing
    }
}

/// The task that reads stranded mail.
#[derive(Debug, Default)]
pub(super) struct Bringing {
    is_running: bool,
    /// There is something to look at that it has not seen yet.
    is_wanted: bool,
}

/// What a configuration needs that may not be had.
pub struct Prepared {
    config: Arc<Config>,
    classifier: Arc<Classifier>,
    marker: Option<Marker>,
    texts: Arc<Texts>,
    /// Where other name servers are to be asked.
    servers: Option<Servers>,
}

/// What a change would do to what waits, by pool and tenant: entries and recipients.
pub type WouldStrand = std::collections::BTreeMap<(PoolName, TenantName), (u64, u64)>;

impl Dispatcher {
    /// Whether a configuration could be taken over, as far as the files it names are concerned, which are read. Changes
    /// nothing, not even a key file that is to be made.
    ///
    /// # Errors
    /// In words, all of them.
    pub fn check(&self, config: &Config) -> Result<(), String> {
        let mut wrong = Vec::new();
        if let Err(errors) = Classifier::load(&config.classify.rules) {
            wrong.extend(errors.iter().map(ToString::to_string));
        }
        if let Some(feedback) = &config.feedback
            && let Err(error) = keys::check(&feedback.key_file, &config.server.state_dir)
        {
            wrong.push(error.to_string());
        }
        if let Err(error) = self.other_servers(config) {
            wrong.push(error);
        }
        wrong.extend(Texts::load(config.reports.template.as_deref()).err());
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }

    /// Reads and makes what `config` needs (files: it takes as long as the disk does), for [`Dispatcher::reconfigure`].
    ///
    /// # Errors
    /// In words; nothing has changed then.
    pub fn prepare(&self, config: &Arc<Config>) -> Result<Prepared, String> {
        let classifier = Classifier::load(&config.classify.rules).map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            lines.join("\n")
        })?;
        let marker = match &config.feedback {
            None => None,
            Some(feedback) => {
                let keys = keys::load(&feedback.key_file).map_err(|error| error.to_string())?;
                Marker::new(Arc::new(Directory::new(keys, config)), config)
            }
        };
        let classifier = Arc::new(classifier);
        let texts = Arc::new(Texts::load(config.reports.template.as_deref())?);
        Ok(Prepared { servers: self.other_servers(config)?, config: Arc::clone(config), classifier, marker, texts })
    }

    /// As [`Dispatcher::prepare`], for a configuration of the same file: rules and keys are those in force, and no file is
    /// read. So what stands in a file that is being edited neither stands in the way nor comes into force.
    pub fn prepare_of_same_file(&self, config: &Arc<Config>) -> Prepared {
        let in_force = self.in_force();
        let marker = in_force.marker.as_ref().and_then(|marker| {
            let keys = marker.directory().keys().clone();
            Marker::new(Arc::new(Directory::new(keys, config)), config)
        });
        let classifier = Arc::clone(&in_force.classifier);
        let texts = Arc::clone(&in_force.texts);
        Prepared { servers: None, config: Arc::clone(config), classifier, marker, texts }
    }

    fn other_servers(&self, config: &Config) -> Result<Option<Servers>, String> {
        if format!("{:?}", self.config().dns) == format!("{:?}", config.dns) {
            return Ok(None);
        }
        Servers::new(&config.dns).map(Some).map_err(|error| error.to_string())
    }

    /// What of the mail that waits would have no place under `config`.
    pub fn would_strand(&self, config: &Config) -> WouldStrand {
        self.with_core(|core| core.would_strand(config))
    }

    /// Brings a configuration into force. What follows from it for healths is written down by a task beside it: the rest
    /// of the program must not wait for the disk between two configurations.
    pub fn reconfigure(self: &Arc<Self>, prepared: Prepared) {
        let Prepared { config, classifier, marker, texts, servers } = prepared;
        let before = self.in_force();
        let is_elsewhere = core::is_routed_otherwise(&before.config, &config);
        let mut in_force = InForce::new(Arc::clone(&config), classifier, marker, texts);
        in_force.routing = before.routing + u64::from(is_elsewhere);
        let (observed, told) = self.tell(|core, now| {
            // Before the core, which may ask at once.
            if let Some(servers) = servers {
                self.resolver.ask_others(servers);
            }
            if is_elsewhere {
                self.resolver.reroute(routing(&config));
            }
            self.connector.reconfigure(&config);
            let observed = core.reconfigure(&before.config, &config, now);
            *self.in_force.write() = Arc::new(in_force);
            self.count_stranded(core);
            observed
        });
        self.announce(&observed);
        if told.is_some() {
            let this = Arc::clone(self);
            tokio::spawn(async move { this.written(told).await });
        }
        self.wake.notify_one();
        self.bring_back();
    }

    /// The count of what is stranded is that of the core, which strands and takes back in many places.
    pub(super) fn count_stranded(&self, core: &Core) {
        self.counts.stranded_recipients.store(core.stranded_len().1, Ordering::Relaxed);
    }

    /// Queues stranded mail again that has a place now.
    pub(super) fn bring_back(self: &Arc<Self>) {
        if self.with_core(Core::stranded_len).0 == 0 {
            return;
        }
        {
            let mut bringing = self.bringing_back.lock();
            bringing.is_wanted = true;
            if std::mem::replace(&mut bringing.is_running, true) {
                // It looks at all of them once more.
                return;
            }
        }
        let this = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                {
                    let mut bringing = this.bringing_back.lock();
                    if !std::mem::replace(&mut bringing.is_wanted, false) {
                        bringing.is_running = false;
                        return;
                    }
                }
                if !this.bring_all_back().await {
                    tokio::time::sleep(SPOOL_PAUSE).await;
                    this.bringing_back.lock().is_wanted = true;
                }
            }
        });
    }

    /// False where the spool does not answer for some.
    async fn bring_all_back(self: &Arc<Self>) -> bool {
        let (mut after, mut is_answered) = (None, true);
        while let Some(WantedBack { ids, last }) = self.with_core(|core| core.wanted_back(after)) {
            after = Some(last);
            for ids in ids.chunks(BROUGHT_BACK) {
                is_answered &= self.bring_back_some(ids.to_vec()).await;
            }
        }
        is_answered
    }

    /// False where the spool does not answer.
    async fn bring_back_some(self: &Arc<Self>, ids: Vec<EntryId>) -> bool {
        let this = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || {
            ids.into_iter().map(|id| (id, this.spool.entry(id))).collect::<Vec<_>>()
        });
        let Ok(read) = reading.await else { return false };
        let mut is_answered = true;
        let mut broken = Vec::new();
        {
            let mut core = self.core.lock();
            let now = self.clock.now();
            for (id, entry) in read {
                match entry {
                    Ok(Some(entry)) => drop(self.take_back(&mut core, &entry, now)),
                    Ok(None) => drop(core.forget_stranded(id)),
                    Err(error @ SpoolError::Corrupt { .. }) => broken.push((id, error.to_string())),
                    Err(error) => {
                        tracing::error!(%error, %id, "spool not readable; stranded mail waits");
                        self.metrics.operation.spool_error(SpoolWork::Read);
                        is_answered = false;
                    }
                }
            }
            self.count_stranded(&core);
        }
        for (id, problem) in broken {
            is_answered &= self.set_stranded_aside(id, problem);
        }
        self.wake.notify_one();
        is_answered
    }

    fn take_back(&self, core: &mut Core, entry: &Entry, now: crate::clock::Now) -> bool {
        let is_back = core.bring_back(entry, now);
        if is_back {
            tracing::info!(id = %entry.id, pool = %entry.pool, tenant = %entry.tenant, "stranded mail is queued again");
        }
        is_back
    }

    fn set_stranded_aside(&self, id: EntryId, problem: String) -> bool {
        if let Err(error) = self.spool.set_aside(id, &problem) {
            tracing::error!(%error, %id, "could not set the entry aside; it waits");
            return false;
        }
        self.note_set_aside(problem);
        let mut core = self.core.lock();
        let recipients = core.forget_stranded(id).unwrap_or_default();
        self.counts.set_aside_recipients.fetch_add(u64::from(recipients), Ordering::Relaxed);
        self.count_stranded(&core);
        true
    }
}

/// Where mail goes under a configuration.
pub fn routing(config: &Config) -> Routing {
    let providers = config.providers.clone();
    let routing = Routing::new(&config.server.hostname, &config.delivery, providers, &config.destination_routes);
    routing.being(Ourselves::of(config))
}
