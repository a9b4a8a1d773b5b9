//! Mail comes in over HTTP: `POST /api/v1/messages`, at an address of its own (`[injection]`).
//!
//! Whoever brings a token ([`gate`]) sends as the tenant it is for. What they send is a whole message or a description of
//! one in JSON ([`compose`], pure), with an envelope ([`envelope`], pure). It goes the way of mail that came by SMTP, through
//! the same [`Intake`], with the same limits and refusals; `202` is what `250` is there: the mail is on disk. With an
//! `Idempotency-Key` a request may be sent again whatever happened to its answer ([`repeat`]): what was answered is stored
//! with the mail, in one commit.
//!
//! Nothing else is served here, and this is served nowhere else: who may send need not reach what operators see.

mod answer;
mod body;
pub mod compose;
pub mod envelope;
mod gate;
mod messages;
mod openapi;
mod pace;
mod problem;
mod repeat;
mod room;
mod text;
pub mod wrong;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use parking_lot::RwLock;
use tokio::net::TcpListener;
use tokio::sync::watch;
use utoipa::openapi::OpenApi;

pub use self::gate::TOKEN;
pub use self::repeat::{Held, KEPT, written_at};

use self::body::Form;
use self::gate::Gate;
use self::repeat::UnderWay;
use self::room::Room;
use super::{Accepting, IngressStats, Intake, Refusal, Transaction};
use crate::admin::listener::{self, Door, Limits, Peer};
use crate::clock::Clock;
use crate::config::{AdminTls, Config};
use crate::message::{Domain, MessageId, TenantName};
use crate::store::Batch;
use crate::telemetry::Metrics;

/// From the first octet of a request to the first of its answer: a large message over a thin line.
const REQUEST: Duration = Duration::from_secs(300);

/// Octets of a header where there is no listener whose limit could hold here: the default of those.
const MAX_HEADER: u64 = 256 << 10;

/// What is to be stored together with a message, which has its id by then.
pub type Note = Box<dyn FnOnce(MessageId) -> Batch + Send>;

/// A stored answer being looked for.
pub type Remembering<'a> = Pin<Box<dyn Future<Output = Result<Option<Vec<u8>>, Refusal>> + Send + 'a>>;

/// An [`Intake`] that stores more than the mail.
pub trait Injecting: Intake {
    /// As [`Intake::accept`]; what `note` makes is on disk with the mail or not at all. Mail of another tenant than `owner`,
    /// where one is said, is put off: the configuration changed meanwhile.
    fn accept_noting(&self, transaction: Transaction, owner: Option<TenantName>, note: Note) -> Accepting<'_>;

    /// The fact of this key.
    fn remembered(&self, key: String) -> Remembering<'_>;
}

/// Limits and names of the configuration in force.
#[derive(Clone, Debug)]
struct Rules {
    max_message_bytes: u64,
    max_header_bytes: u64,
    max_recipients: usize,
    keep_keys: Duration,
    /// Our own, for `Message-ID:`.
    hostname: Domain,
    stream_header: String,
    /// Names that no field of a message made here may have, see [`compose`].
    control_headers: Vec<String>,
}

impl Rules {
    fn of(config: &Config) -> Self {
        // As much as any listener takes.
        let headers = config.listeners.iter().map(|listener| listener.max_header_bytes);
        Self {
            max_message_bytes: config.injection.max_message_bytes,
            max_header_bytes: headers.max().unwrap_or(MAX_HEADER),
            hostname: config.server.hostname.clone(),
            max_recipients: config.injection.max_recipients,
            keep_keys: config.injection.keep_keys,
            stream_header: config.assignment.stream_header.clone(),
            control_headers: vec![config.assignment.tenant_header.clone(), config.assignment.stream_header.clone()],
        }
    }
}

/// What the handlers work with; one for all requests.
pub struct Counter {
    intake: Arc<dyn Injecting>,
    stats: Arc<IngressStats>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    gate: Gate,
    rules: RwLock<Arc<Rules>>,
    under_way: UnderWay,
    /// Octets that requests may hold.
    room: Arc<Room>,
    tls: RwLock<Option<AdminTls>>,
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counter").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl Counter {
    /// Hands mail to `intake`, as the configuration says.
    pub fn new(
        config: &Config,
        intake: Arc<dyn Injecting>,
        stats: Arc<IngressStats>,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (octets, largest) = bounds(config);
        Self {
            intake,
            stats,
            metrics,
            clock,
            gate: Gate::new(config),
            rules: RwLock::new(Arc::new(Rules::of(config))),
            under_way: UnderWay::default(),
            room: Arc::new(Room::new(octets, largest)),
            tls: RwLock::new(config.injection.tls.clone()),
        }
    }

    /// Tokens and limits as another configuration has them, and the certificate's files. Requests being worked on go on as
    /// they began.
    pub fn reconfigure(&self, config: &Config) {
        self.gate.reconfigure(config);
        let (octets, largest) = bounds(config);
        self.room.change(octets, largest);
        *self.rules.write() = Arc::new(Rules::of(config));
        self.tls.write().clone_from(&config.injection.tls);
    }

    /// Keeps requests with the key of this fact (see [`KEPT`]) off while somebody looks at it; `None` where one is being
    /// worked on.
    pub fn hold(&self, fact: &str) -> Option<Held> {
        self.under_way.hold(fact)
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read())
    }

    fn count(&self, result: &str) {
        self.metrics.injection.requests.with_label_values(&[result]).inc();
    }
}

/// Octets that requests may hold, and of the largest body there may be.
fn bounds(config: &Config) -> (u64, u64) {
    (config.injection.max_bytes_in_flight, Form::Described.most(config.injection.max_message_bytes))
}

/// The document of this interface, as it is served.
pub fn document() -> OpenApi {
    openapi::document()
}

/// A door that is open, and nobody is served yet.
pub struct Opened {
    door: Door,
    counter: Arc<Counter>,
}

/// Takes up the certificate, where there is one, and begins to accept connections.
///
/// # Errors
/// In words.
pub fn open(listener: TcpListener, config: &Config, counter: Arc<Counter>) -> Result<Opened, String> {
    let watched = Arc::clone(&counter);
    let current = move || watched.tls.read().clone();
    let tls = config.injection.tls.as_ref().map(|tls| listener::tls::acceptor(tls, current)).transpose();
    let limits = Limits {
        most: config.injection.max_connections,
        far: config.injection.max_connections,
        per_client: config.injection.max_connections_per_client,
        request: REQUEST,
    };
    let door = Door::open_with(listener, tls.map_err(|error| bad_certificate(&error))?, limits);
    Ok(Opened { door: door.map_err(|error| error.to_string())?, counter })
}

/// The certificate's files, read as a start would.
///
/// # Errors
/// In words.
pub fn check_certificate(tls: &AdminTls) -> Result<(), String> {
    listener::tls::load(tls).map(drop).map_err(|error| bad_certificate(&error))
}

/// The same words as of the operator's side, by the key that is meant here.
fn bad_certificate(error: &listener::tls::BadCertificate) -> String {
    error.to_string().replacen("admin.tls", "injection.tls", 1)
}

/// The routes.
fn router(counter: Arc<Counter>) -> Router {
    let (routes, _) = openapi::routes().split_for_parts();
    // Each form has its own limit, which is known once the configuration is asked.
    routes.layer(DefaultBodyLimit::disable()).fallback(problem::nothing_here).with_state(counter)
}

impl Opened {
    /// Serves until `stop` turns true and what was begun is answered.
    ///
    /// # Errors
    /// What the system says.
    pub async fn serve(self, mut stop: watch::Receiver<bool>) -> io::Result<()> {
        axum::serve(self.door, router(self.counter).into_make_service_with_connect_info::<Peer>())
            .with_graceful_shutdown(async move {
                // An error means that the sender is gone, which is a stop as well.
                drop(stop.wait_for(|stop| *stop).await);
            })
            .await
    }
}
