//! Carries out the core's actions: the one place where the loop closes.
//!
//! One task asks [`Core::next`] and starts what it says ([`turns`]); each attempt runs as a task of its own ([`attempt`]). An
//! attempt's news enters the core twice: its evidence as soon as the replies are known (the next decision must already
//! know), its settlement once the outcome is on disk ([`record`]) — so the connection slot and the cap reservation stay
//! taken until a crash can no longer bring the message back.
//!
//! What must reach the disk in the order of decisions (grants of caps, healths) is handed to the committer under the
//! core's lock and only waited for outside. What comes to nothing for a reason of our own — the disk does not answer, a
//! task goes wrong — gives its lease back and leaves the entry waiting: nothing is dropped, nothing hangs.

pub mod acts;
mod attempt;
mod configure;
mod counts;
mod held;
mod intake;
mod mark;
mod news;
mod obstacles;
mod originals;
mod postmaster;
mod record;
mod reports;
mod supposing;
mod telling;
#[cfg(test)]
mod tests;
mod turns;
mod watched;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use parking_lot::{Mutex, RwLock};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::Notify;

use self::configure::{Bringing, InForce};
pub use self::configure::{Prepared, WouldStrand, routing};
pub use self::counts::Counts;
pub use self::intake::SetAside;
use self::mark::Marker;
use self::originals::Originals;
use self::postmaster::Postmaster;
pub use self::supposing::Supposing;
use self::telling::Telling;
pub use self::watched::{OnBlame, Refusal};
use super::core::Core;
use super::fresh::Fresh;
use crate::clock::{Clock, Now, Wall};
use crate::config::Config;
use crate::delivery::convert::Resign;
use crate::delivery::{Connector, Resolver};
use crate::feedback::token::Directory;
use crate::message::{DestinationName, Domain, EntryId, IdSource, MessageId, TenantName};
use crate::outcome::classify::Classifier;
use crate::outcome::dsn::Texts;
use crate::store::Spool;
use crate::store::committer::Committer;
use crate::telemetry::Metrics;
use crate::telemetry::events::Events;
use crate::telemetry::history::History;

/// Octets of new mail kept in memory for its first attempt.
const FRESH_OCTETS: usize = 32 << 20;

/// Is told of each message that is taken in: its tenant and the domain of its sender.
pub type OnSender = Arc<dyn Fn(&TenantName, &Domain) + Send + Sync>;

/// Who makes the signatures of a tenant's mail again, where it has to be changed on the way; `None` where nobody signs.
pub type Resigns = Arc<dyn Fn(&TenantName) -> Option<Arc<dyn Resign>> + Send + Sync>;

/// The shell around [`Core`].
pub struct Dispatcher {
    core: Mutex<Core>,
    /// The configuration and what was made of it; replaced as a whole.
    in_force: RwLock<Arc<InForce>>,
    clock: Arc<dyn Clock>,
    spool: Arc<dyn Spool>,
    committer: Committer,
    connector: Arc<dyn Connector>,
    resolver: Arc<Resolver>,
    metrics: Arc<Metrics>,
    ids: Mutex<IdSource>,
    /// Entries left of messages that have more than one; their body goes with the last.
    shared_bodies: Mutex<HashMap<MessageId, u32>>,
    fresh: Fresh,
    random: Mutex<SmallRng>,
    /// Facts on their way to the disk.
    telling: Mutex<Telling>,
    wake: Notify,
    idle: Notify,
    /// Why the program cannot go on, once it cannot.
    fatal: tokio::sync::watch::Sender<Option<String>>,
    /// A probe of the disk is under way.
    probing: AtomicBool,
    /// Wall time of the loop's last turn, in milliseconds.
    heartbeat: AtomicI64,
    counts: Counts,
    set_aside: Mutex<SetAside>,
    on_blame: Mutex<Option<OnBlame>>,
    on_sender: Mutex<Option<OnSender>>,
    resigns: Mutex<Option<Resigns>>,
    events: Events,
    /// Stranded mail is being read, so that it can be queued again.
    bringing_back: Mutex<Bringing>,
    /// The last hour.
    history: Mutex<History>,
    /// What reports are made of.
    originals: Originals,
    /// How much postmasters were told.
    postmaster: Mutex<Postmaster>,
    /// Mail kept aside as undeliverable whose end is not on disk yet.
    kept_aside: Mutex<HashSet<EntryId>>,
}

/// What a dispatcher is made of.
pub struct Parts {
    /// The pure machine.
    pub core: Core,
    /// The configuration.
    pub config: Arc<Config>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Durable state, for reading.
    pub spool: Arc<dyn Spool>,
    /// Durable state, for writing.
    pub committer: Committer,
    /// Makes attempts.
    pub connector: Arc<dyn Connector>,
    /// Finds hosts.
    pub resolver: Arc<Resolver>,
    /// Reads replies.
    pub classifier: Arc<Classifier>,
    /// What reports to senders say.
    pub texts: Texts,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Keys and names for the marks on outgoing mail; only used where the configuration has `[feedback]`.
    pub directory: Option<Arc<Directory>>,
    /// Seed of the jitter.
    pub seed: u64,
}

impl Dispatcher {
    /// Puts the parts together; nothing runs until [`Dispatcher::run`].
    pub fn new(parts: Parts) -> Arc<Self> {
        let heartbeat = AtomicI64::new(parts.clock.now().wall.as_millis());
        let marker = parts.directory.and_then(|directory| Marker::new(directory, &parts.config));
        let in_force = InForce::new(parts.config, parts.classifier, marker, Arc::new(parts.texts));
        Arc::new(Self {
            in_force: RwLock::new(Arc::new(in_force)),
            core: Mutex::new(parts.core),
            clock: parts.clock,
            spool: parts.spool,
            committer: parts.committer,
            connector: parts.connector,
            resolver: parts.resolver,
            metrics: parts.metrics,
            ids: Mutex::default(),
            shared_bodies: Mutex::default(),
            fresh: Fresh::new(FRESH_OCTETS),
            random: Mutex::new(SmallRng::seed_from_u64(parts.seed)),
            telling: Mutex::default(),
            wake: Notify::new(),
            idle: Notify::new(),
            fatal: tokio::sync::watch::Sender::new(None),
            probing: AtomicBool::new(false),
            heartbeat,
            counts: Counts::default(),
            set_aside: Mutex::default(),
            on_blame: Mutex::default(),
            on_sender: Mutex::default(),
            resigns: Mutex::default(),
            events: Events::default(),
            bringing_back: Mutex::default(),
            history: Mutex::default(),
            originals: Originals::default(),
            postmaster: Mutex::default(),
            kept_aside: Mutex::default(),
        })
    }

    /// Looks into the core. Keep it short: every decision waits meanwhile.
    pub fn with_core<R>(&self, f: impl FnOnce(&Core) -> R) -> R {
        f(&self.core.lock())
    }

    /// Totals since start.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The present instant of the clock everything here runs by.
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// The metrics everything here counts in.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Counters and gauges, for those who outlive a borrow.
    pub fn metrics_shared(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// What reads the marks of reports; `None` where nothing is marked.
    pub fn directory(&self) -> Option<Arc<Directory>> {
        self.in_force().marker.as_ref().map(|marker| Arc::clone(marker.directory()))
    }

    /// Messages after which a destination was found to end a connection.
    pub fn learned_messages(&self, destination: &DestinationName) -> Option<u32> {
        self.connector.learned_messages(destination)
    }

    /// What happened lately.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Reads the last hour.
    pub fn with_history<R>(&self, f: impl FnOnce(&History) -> R) -> R {
        f(&self.history.lock())
    }

    /// What reads replies.
    pub fn classifier(&self) -> Arc<Classifier> {
        Arc::clone(&self.in_force().classifier)
    }

    /// The configuration in force. Take it once for what belongs together: it may be another one at the next call.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.in_force.read().config)
    }

    fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.read())
    }

    /// Durable state, for reading.
    pub fn spool(&self) -> &dyn Spool {
        &*self.spool
    }

    /// Lets the loop go round once, whether anything is due or not.
    pub fn nudge(&self) {
        self.wake.notify_one();
    }

    /// When the loop last went round.
    pub fn heartbeat(&self) -> Wall {
        Wall::from_millis(self.heartbeat.load(Ordering::Relaxed))
    }

    /// Waits until the program cannot go on, and says why: the spool takes no writes any more. What is on disk is whole;
    /// a restart goes on from there.
    pub async fn failed(&self) -> String {
        let mut fatal = self.fatal.subscribe();
        match fatal.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            // The sender lives in `self`.
            Err(_) => std::future::pending().await,
        }
    }
}
