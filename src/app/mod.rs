//! The composition root: configuration → parts joined together → run → drain on a signal.
//!
//! The only place that sees everything. Start-up order matters: the state directory is locked first, facts and spool are
//! recovered before the first listener opens, and the addresses in use are published (log, `ports.json` in the state
//! directory, `/api/v1/status`) only when mail can be taken. Stopping goes the other way round: no new mail, no new
//! attempts, those on the wire may finish within `server.shutdown_grace`, then the exact use of every cap is written.

mod injected;
pub mod intake;
mod ports;
mod remember;
mod turn;
mod watching;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;
use rand::{RngCore, SeedableRng};
use tokio::sync::watch;

use crate::admin::auth::Auth;
use crate::admin::{self, Sources};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::delivery::tls::policy::Demands;
use crate::delivery::{DirectConnector, Policies, Resolver};
use crate::feedback::token::Directory;
use crate::feedback::{desk, keys};
use crate::ingress::smtp::server::{self, Server};
use crate::ingress::tls::{self, Certificates};
use crate::ingress::users::Users;
use crate::ingress::{IngressStats, Intake};
use crate::live::task;
use crate::orders;
use crate::outcome::classify::Classifier;
use crate::outcome::dsn::Texts;
use crate::queue::core::Core;
use crate::queue::dispatcher::{self, Dispatcher, Parts};
use crate::reputation;
use crate::scheduler::{self, cap::GrantFact};
use crate::signing::{Keys, Signing};
use crate::store::committer::{CommitThread, Committer};
use crate::store::fjall::{FjallOptions, FjallSpool};
use crate::store::lock::StateLock;
use crate::store::{Batch, Op, Spool, SpoolError};
use crate::telemetry::tlsrpt::Tlsrpt;
use crate::telemetry::{Metrics, journal};
use injected::Injection;
use intake::Reception;
use ports::Ports;

/// Why the program could not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// State directory or spool.
    #[error("server.state_dir {dir}: {source}")]
    State {
        /// Which directory.
        dir: String,
        /// What is wrong.
        source: SpoolError,
    },
    /// A listener's or the admin address.
    #[error("cannot listen on {address}: {source}; is another program using it?")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What is wrong.
        source: std::io::Error,
    },
    /// Rule files.
    #[error("{0}")]
    Rules(String),
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}

/// A running relay.
pub struct Relay {
    listeners: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
    sources: Sources,
    stop: watch::Sender<bool>,
    reception: Arc<Reception>,
    server: Arc<Server>,
    injection: Injection,
    dispatch: tokio::task::JoinHandle<()>,
    commit_thread: CommitThread,
    _lock: StateLock,
}

impl Relay {
    /// Starts everything. Returns when mail can be taken.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_from(config, None).await
    }

    /// As [`Relay::start`]; `path` is the file that was read, and is read again on a reload.
    pub async fn start_from(config: Config, path: Option<PathBuf>) -> Result<Self, StartError> {
        let config = Arc::new(config);
        let state = |source| StartError::State { dir: config.server.state_dir.display().to_string(), source };
        let other = |error: &dyn std::fmt::Display| StartError::Other(error.to_string());
        let lock = StateLock::acquire(&config.server.state_dir).map_err(state)?;
        // Ports are taken before recovery, so that a wrong address is known at once; clients wait in the backlog.
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let users = Users::open(config.server.users_file.as_deref(), Arc::clone(&clock)).map_err(|e| other(&e))?;
        let users = Arc::new(users);
        let bound = server::bind(&config.listeners, &config.server.hostname).map_err(|e| other(&e))?;
        let injecting = Injection::bind(&config).await?;
        let options = FjallOptions { low_space_floor: config.server.low_space_floor, ..FjallOptions::default() };
        let spool = FjallSpool::open(&config.server.state_dir.join("spool"), options).map_err(state)?;
        let spool: Arc<dyn Spool> = Arc::new(spool);
        let (committer, commit_thread) = Committer::start(Arc::clone(&spool), |_| {}).map_err(|e| other(&e))?;
        let outside = Outside::new(&config, &clock)?;
        let policies = Arc::clone(&outside.policies);
        let facts = spool.facts(orders::PREFIX).map_err(state)?;
        let recalled = task::recall(&facts, &config, clock.now().wall);
        let (file, config) = (Arc::clone(&config), Arc::new(recalled.config));
        let dispatcher = recover(&config, &clock, spool, committer.clone(), outside).map_err(state)?;
        recalled.unreadable.into_iter().for_each(|what| dispatcher.note_set_aside(what));
        remember::recall(&dispatcher);
        remember::recall_policies(&policies, &dispatcher);
        journal::recall(&dispatcher, &committer).await;
        dispatcher.metrics().operation.started(clock.now().wall);
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(remember::keep(Arc::clone(&dispatcher), committer.clone(), stopped.clone()));
        tokio::spawn(remember::keep_policies(
            Arc::clone(&policies),
            Arc::clone(&clock),
            committer.clone(),
            stopped.clone(),
        ));
        tokio::spawn(Arc::clone(&policies).tend(stopped.clone()));
        tokio::spawn(journal::keep(Arc::clone(&dispatcher), committer.clone(), stopped.clone()));
        let watching = watching::start(&config, &clock, &dispatcher, &stopped)?;
        let named = Arc::clone(&config);
        let keys = tokio::task::spawn_blocking(move || Keys::load(&named)).await.map_err(|e| other(&e))?;
        let signing = Arc::new(Signing::new(keys.map_err(StartError::Other)?, Arc::clone(&clock)));
        let hands = Arc::clone(&signing);
        // Before the first attempt: mail that waited over a restart is signed by us as well.
        dispatcher.on_change(Arc::new(move |tenant| Some(hands.anew(tenant))));
        let dispatch = tokio::spawn(Arc::clone(&dispatcher).run(stopped.clone()));
        let reception = Arc::new(Reception::new(Arc::clone(&dispatcher), users, signing));
        let tended = Arc::clone(&reception);
        tokio::spawn(desk::tend(move || tended.desk(), stopped.clone()));
        let ingress = Arc::<IngressStats>::default();
        let certificates = open_certificates(&file, &ingress, &clock);
        let auth = Arc::new(Auth::new(&config));
        let server_addresses = bound.addresses();
        let server = bound.start_with(Arc::clone(&reception) as Arc<dyn Intake>, Arc::clone(&ingress), certificates);
        let server = server.map_err(|e| other(&e))?;
        let injection = Injection::start(&config, injecting, &reception, &ingress, &dispatcher, stopped.clone())?;
        let (server, listeners) = (Arc::new(server), server_addresses);
        let addresses = Arc::new(RwLock::new(listeners.clone()));
        let watching::Watching { monitor, identity, cover, feeds, alerts, .. } = watching.clone();
        tokio::spawn(remember::keep_cover(Arc::clone(&cover), committer.clone(), stopped.clone()));
        let ports = Arc::new(Ports::new(&config.server.state_dir));
        let live = task::start(
            task::Parts {
                path,
                file,
                in_force: Arc::clone(&config),
                orders: recalled.orders,
                on_disk: recalled.on_disk,
                ended: recalled.ended,
                clock: Arc::clone(&clock),
                committer: committer.clone(),
                apply: Box::new(turn::Turn {
                    dispatcher: Arc::clone(&dispatcher),
                    reception: Arc::clone(&reception),
                    server: Arc::clone(&server),
                    watching,
                    auth: Arc::clone(&auth),
                    policies: Arc::clone(&policies),
                    addresses: Arc::clone(&addresses),
                    ports: Arc::clone(&ports),
                    counter: Arc::clone(&injection.counter),
                }),
                around: Arc::clone(&dispatcher) as Arc<dyn task::Around>,
            },
            stopped.clone(),
        );
        let sources = Sources {
            live,
            auth,
            dispatcher,
            ingress,
            monitor,
            identity,
            cover,
            feeds,
            alerts,
            policies,
            committer,
            listeners: addresses,
        };
        watching::start_alerts(&sources, stopped.clone());
        let admin = start_admin(&config, &sources, stopped).await?;
        for address in &listeners {
            tracing::info!(%address, "taking mail");
        }
        if let Some(address) = admin {
            tracing::info!(%address, "status and metrics over HTTP");
        }
        let certificate = config.admin.tls.as_ref().map(|tls| tls.certificate.as_path());
        ports.injection(injection.address);
        ports.publish(&listeners, Some(admin), certificate).map_err(StartError::Other)?;
        Ok(Self { listeners, admin, sources, stop, reception, server, injection, dispatch, commit_thread, _lock: lock })
    }

    /// Addresses of the SMTP listeners at the start, in the order of the configuration.
    pub fn listeners(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// Address of the HTTP side, if it is on.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Address where mail comes in over HTTP, if it does.
    pub fn injection(&self) -> Option<SocketAddr> {
        self.injection.address
    }

    /// What the HTTP side reads from.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Waits until the relay cannot go on by itself, and says why. Stop it then: what is on disk is whole.
    pub async fn failed(&mut self) -> String {
        tokio::select! {
            why = self.sources.dispatcher.failed() => why,
            ended = &mut self.dispatch => match ended {
                Ok(()) => "the dispatcher ended".into(),
                Err(error) => format!("the dispatcher went wrong: {error}"),
            },
        }
    }

    /// Graceful stop: finishes what is on the wire within the grace, loses nothing.
    pub async fn stop(mut self) {
        tracing::info!("stopping: no new mail, waiting for attempts on the wire");
        self.reception.stop();
        self.sources.dispatcher.halt();
        self.stop.send_replace(true);
        let grace = self.sources.dispatcher.config().server.shutdown_grace;
        let (sessions, requests, attempts) = tokio::join!(
            self.server.stop(grace),
            self.injection.ended(grace),
            tokio::time::timeout(grace, drained(self.dispatch))
        );
        if !requests {
            tracing::warn!(
                "grace is over; requests to send mail were cut, what was not answered 202 may be sent again"
            );
        }
        if !sessions {
            tracing::warn!("grace is over; SMTP sessions were cut, what was not answered 250 stays with the client");
        }
        if attempts.is_err() {
            let left = self.sources.dispatcher.with_core(Core::in_flight);
            tracing::warn!(left, "grace is over; attempts on the wire are cut, their mail stays in the queue");
        }
        self.sources.dispatcher.write_final_grants().await;
        remember::write(&self.sources.dispatcher, &self.sources.committer).await;
        remember::write_cover(&self.sources.cover, &self.sources.committer).await;
        let now = self.sources.dispatcher.now().wall;
        remember::write_policies(&self.sources.policies, &self.sources.committer, now).await;
        if let Err(error) = journal::write(self.sources.dispatcher.events(), &self.sources.committer).await {
            tracing::warn!(%error, "the last events are not written down");
        }
        self.commit_thread.close();
        tracing::info!("stopped");
    }
}

/// Reads the certificates of listeners, and keeps looking at their files.
fn open_certificates(config: &Config, ingress: &Arc<IngressStats>, clock: &Arc<dyn Clock>) -> Arc<Certificates> {
    for odd in tls::loose(&config.certificates) {
        tracing::warn!("{odd}");
    }
    let certificates = Certificates::new(tls::read(&config.certificates), Arc::clone(&ingress.tls), Arc::clone(clock));
    certificates.watch();
    certificates
}

/// Waits for the dispatcher, also when it has ended before.
async fn drained(dispatch: tokio::task::JoinHandle<()>) {
    if !dispatch.is_finished() {
        // How it ended is known to `failed`.
        drop(dispatch.await);
    }
}

/// The parts of a dispatcher that recovery does not touch.
struct Outside {
    connector: Arc<DirectConnector>,
    resolver: Arc<Resolver>,
    policies: Arc<Policies>,
    classifier: Arc<Classifier>,
    texts: Texts,
    metrics: Arc<Metrics>,
    directory: Option<Arc<Directory>>,
}

impl Outside {
    fn new(config: &Config, clock: &Arc<dyn Clock>) -> Result<Self, StartError> {
        let other = |error: &dyn std::fmt::Display| StartError::Other(error.to_string());
        let resolver = Resolver::new(&config.dns, dispatcher::routing(config)).map_err(|e| other(&e))?;
        let resolver = Arc::new(resolver);
        let policies = Policies::new(config, Arc::clone(&resolver), Arc::clone(clock), Arc::<Tlsrpt>::default());
        let policies = Arc::new(policies.map_err(|e| other(&e))?);
        Ok(Self {
            connector: Arc::new(DirectConnector::of(
                config,
                Arc::clone(&resolver),
                Arc::clone(&policies) as Arc<dyn Demands>,
            )),
            policies,
            resolver,
            classifier: Arc::new(classifier(config)?),
            texts: Texts::load(config.reports.template.as_deref()).map_err(StartError::Other)?,
            metrics: Arc::new(Metrics::new().map_err(|e| other(&e))?),
            directory: directory(config)?,
        })
    }
}

/// Keys and names of the marks on outgoing mail, where reports are taken back.
fn directory(config: &Config) -> Result<Option<Arc<Directory>>, StartError> {
    let Some(feedback) = &config.feedback else { return Ok(None) };
    let keys = keys::load(&feedback.key_file).map_err(|e| StartError::Other(e.to_string()))?;
    Ok(Some(Arc::new(Directory::new(keys, config))))
}

fn classifier(config: &Config) -> Result<Classifier, StartError> {
    Classifier::load(&config.classify.rules).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        StartError::Rules(lines.join("\n"))
    })
}

/// Rebuilds memory from disk: facts first, then every entry.
fn recover(
    config: &Arc<Config>,
    clock: &Arc<dyn Clock>,
    spool: Arc<dyn Spool>,
    committer: Committer,
    outside: Outside,
) -> Result<Arc<Dispatcher>, SpoolError> {
    let mut broken = Vec::new();
    let grants: Vec<GrantFact> =
        spool.facts(GrantFact::PREFIX)?.iter().map(|(key, value)| grant(key, value, &mut broken)).collect();
    let mut facts = Vec::new();
    for prefix in reputation::facts::PREFIXES.into_iter().chain(scheduler::FACT_PREFIXES) {
        facts.extend(spool.facts(prefix)?);
    }
    let seed = config.server.seed.unwrap_or_else(|| rand::rngs::SmallRng::from_os_rng().next_u64());
    let (core, unreadable) = Core::new(config, &grants, &facts, seed, clock.now());

    // Written anew with today's date: tomorrow they are counts of yesterday.
    let mended: Vec<_> = core.scheduler().final_grants();
    let mended = mended.iter().filter(|grant| broken.contains(&grant.fact_key()));
    let mended: Batch = mended.map(|g| Op::PutFact(g.fact_key(), g.to_json())).collect();
    if !mended.is_empty() {
        // Before recovery removes the bad record: at no instant is there none.
        spool.commit(&[mended])?;
    }
    let dispatcher = Dispatcher::new(Parts {
        core,
        config: Arc::clone(config),
        clock: Arc::clone(clock),
        spool: Arc::clone(&spool),
        committer,
        connector: outside.connector,
        resolver: outside.resolver,
        classifier: outside.classifier,
        texts: outside.texts,
        metrics: outside.metrics,
        directory: outside.directory,
        seed: seed.wrapping_add(1),
    });
    let recovery = spool.recover(&mut |entry| dispatcher.recover(entry))?;
    let set_aside: Vec<String> = spool.quarantine()?.iter().map(|record| format!("{record:?}")).collect();
    for problem in &set_aside {
        tracing::error!(record = problem.as_str(), "spool record set aside");
    }
    dispatcher.recovery_done(recovery.last_id, set_aside);
    for problem in unreadable {
        dispatcher.note_set_aside(problem);
    }
    tracing::info!(
        entries = recovery.entries,
        orphans = recovery.orphans,
        set_aside = recovery.quarantined.len(),
        "spool recovered"
    );
    Ok(dispatcher)
}

/// A grant of an earlier run. Of one that cannot be read only the key is known, which is noted in `broken`: its cap then
/// counts as used up today, since spending it twice must not happen.
fn grant(key: &str, value: &[u8], broken: &mut Vec<String>) -> GrantFact {
    GrantFact::read(key.strip_prefix(GrantFact::PREFIX).unwrap_or(key), value).unwrap_or_else(|unreadable| {
        tracing::error!(
            key,
            error = unreadable.detail,
            "count of a daily cap not readable; it counts as used up for today"
        );
        broken.push(key.to_owned());
        unreadable.fact
    })
}

async fn start_admin(
    config: &Config,
    sources: &Sources,
    stopped: watch::Receiver<bool>,
) -> Result<Option<SocketAddr>, StartError> {
    let Some(address) = config.admin.address else { return Ok(None) };
    let listen = |source| StartError::Listen { address, source };
    let listener = tokio::net::TcpListener::bind(address).await.map_err(listen)?;
    let bound = listener.local_addr().map_err(listen)?;
    let opened = admin::open(listener, sources.clone()).map_err(StartError::Other)?;
    tokio::spawn(async move {
        if let Err(error) = opened.serve(stopped).await {
            tracing::error!(%error, "HTTP side ended");
        }
    });
    Ok(Some(bound))
}
