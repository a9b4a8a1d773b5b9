//! HTTP: what there is to see, what an operator may do, the console.
//!
//! Each module names its own routes and documents them where they are written ([`utoipa`]); put together they are the
//! router and the OpenAPI document. Reading takes snapshots of the dispatcher's core. An act goes through the same doors
//! as everything else (the dispatcher, [`crate::live`]), asks for a role ([`auth`]) and leaves an event ([`audit`]).
//! What a request says is read by [`extract`], what goes wrong is a [`problem`], and [`headers`] goes round all of it.

#![allow(unused_qualifications, reason = "what utoipa makes of params(…) names them whole")]

pub mod alerts;
pub mod api;
pub mod audit;
pub mod auth;
pub mod bindings;
mod console;
pub mod explain;
mod extract;
pub mod feeds;
mod giving;
mod headers;
pub mod listener;
mod monitor;
mod openapi;
pub mod orders;
pub mod pools;
pub mod problem;
pub mod queue;
mod reload;
pub mod scrape;
mod session;
pub mod spf;
pub mod status;
mod stream;
pub mod tenants;
pub mod tls;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Extension};
use axum::{Router, middleware};
use tokio::sync::watch;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use self::auth::Auth;
use self::auth::local::LocalToken;
use self::listener::{Door, Peer};
use self::openapi::Served;

use crate::alerts::Alerts;
use crate::delivery::Policies;
use crate::ingress::IngressStats;
use crate::live::Live;
use crate::monitor::Monitor;
use crate::monitor::feeds::Feeds;
use crate::monitor::identity::Identity;
use crate::monitor::spf::Cover;
use crate::queue::dispatcher::Dispatcher;
use crate::store::committer::Committer;

/// What the handlers read from.
#[derive(Clone)]
pub struct Sources {
    /// The configuration in force and the operator's orders.
    pub live: Live,
    /// Who may ask.
    pub auth: Arc<Auth>,
    /// Queue, caps, health, counts.
    pub dispatcher: Arc<Dispatcher>,
    /// SMTP sessions.
    pub ingress: Arc<IngressStats>,
    /// DNSBL and reverse DNS.
    pub monitor: Arc<Monitor>,
    /// Resolver and names.
    pub identity: Arc<Identity>,
    /// SPF of the tenants' domains.
    pub cover: Arc<Cover>,
    /// What others say.
    pub feeds: Arc<Feeds>,
    /// What receivers demand of TLS, and what came of it.
    pub policies: Arc<Policies>,
    /// Pushed alerts.
    pub alerts: Arc<Alerts>,
    /// Group commits.
    pub committer: Committer,
    /// Addresses of the listeners, as they are now.
    pub listeners: Arc<parking_lot::RwLock<Vec<SocketAddr>>>,
}

/// Octets of a body at most.
const BODY_MAX: usize = 1024 * 1024;

/// Turns true when the relay stops: what answers without end ends then.
#[derive(Clone)]
struct Stopping(watch::Receiver<bool>);

/// The routes that are documented, and their document.
fn documented() -> OpenApiRouter<Sources> {
    let acts = [bindings::routes(), pools::routes(), tenants::routes(), orders::routes(), queue::routes()];
    let others = [reload::routes(), stream::routes(), session::routes(), console::routes(), openapi::routes()];
    let views = [
        api::routes(),
        explain::routes(),
        monitor::routes(),
        spf::routes(),
        feeds::routes(),
        alerts::routes(),
        tls::routes(),
    ];
    acts.into_iter().chain(others).chain(views).fold(OpenApiRouter::default(), OpenApiRouter::merge)
}

/// The document of the interface, as it is served.
pub fn document() -> OpenApi {
    openapi::finished(documented().into_openapi())
}

/// The routes.
pub fn router(sources: Sources) -> Router {
    let (documented, described) = documented().split_for_parts();
    let described = Served(Arc::new(openapi::finished(described)));
    documented
        .layer(Extension(described))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn(audit::noticing))
        .layer(middleware::from_fn_with_state(sources.clone(), headers::guard))
        .with_state(sources)
}

/// The HTTP side, ready to serve.
pub struct Opened {
    door: Door,
    sources: Sources,
    /// Removed when nobody is served any more.
    _token: Option<LocalToken>,
}

/// Takes up the certificate, where there is one, and writes the token of this run; see [`auth::local`].
///
/// # Errors
/// In words.
pub fn open(listener: tokio::net::TcpListener, sources: Sources) -> Result<Opened, String> {
    let config = sources.dispatcher.config();
    let dispatcher = Arc::clone(&sources.dispatcher);
    let current = move || dispatcher.config().admin.tls.clone();
    let tls = config.admin.tls.as_ref().map(|tls| listener::tls::acceptor(tls, current)).transpose();
    let door = Door::open(listener, tls.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
    let state_dir = &config.server.state_dir;
    let token = sources.auth.open_locally(state_dir).map_err(|error| {
        let path = state_dir.join(auth::local::FILE);
        tracing::error!(path = %path.display(), %error, "no token for the command line: it needs one of admin.token");
    });
    Ok(Opened { door, sources, _token: token.ok() })
}

impl Opened {
    /// Serves until `stop` turns true.
    ///
    /// # Errors
    /// What the system says.
    pub async fn serve(self, mut stop: watch::Receiver<bool>) -> std::io::Result<()> {
        let routes = router(self.sources).layer(Extension(Stopping(stop.clone())));
        axum::serve(self.door, routes.into_make_service_with_connect_info::<Peer>())
            .with_graceful_shutdown(async move {
                // An error means that the sender is gone, which is a stop as well.
                drop(stop.wait_for(|stop| *stop).await);
            })
            .await
    }
}
