//! HTTP: what there is to see, what an operator may do, the console.
//!
//! Each module names its own routes and documents them where they are written ([`utoipa`]); put together they are the
//! router and the OpenAPI document. Reading takes snapshots of the dispatcher's core. An act goes through the same doors
//! as everything else (the dispatcher, [`crate::live`]), asks for a role ([`auth`]) and leaves an event ([`audit`]).

pub mod alerts;
pub mod api;
mod audit;
pub mod auth;
mod bindings;
mod console;
pub mod explain;
pub mod feeds;
mod monitor;
mod orders;
mod pools;
pub mod problem;
pub mod queue;
mod reload;
pub mod scrape;
mod session;
pub mod spf;
pub mod status;
mod stream;
mod tenants;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;

use self::auth::Auth;

use crate::alerts::Alerts;
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
    /// Pushed alerts.
    pub alerts: Arc<Alerts>,
    /// Group commits.
    pub committer: Committer,
    /// Addresses of the listeners.
    pub listeners: Vec<SocketAddr>,
}

/// The routes that are documented, and their document.
fn documented() -> OpenApiRouter<Sources> {
    let acts = [bindings::routes(), pools::routes(), tenants::routes(), orders::routes(), queue::routes()];
    let others = [reload::routes(), stream::routes(), session::routes(), console::routes()];
    acts.into_iter().chain(others).fold(OpenApiRouter::new(), OpenApiRouter::merge)
}

/// The routes.
pub fn router(sources: Sources) -> Router {
    let (documented, _document) = documented().split_for_parts();
    documented
        .route("/healthz", get(api::health))
        .route("/metrics", get(scrape::metrics))
        .route("/api/v1/status", get(api::status))
        .route("/api/v1/explain", get(explain::select))
        .route("/api/v1/explain/{id}", get(explain::entry))
        .route("/api/v1/limits", get(explain::limits))
        .route("/api/v1/monitor", get(monitor::monitor))
        .route("/api/v1/events", get(api::events))
        .route("/api/v1/unmatched", get(api::unmatched))
        .route("/api/v1/spf", get(spf::list))
        .route("/api/v1/feeds", get(feeds::feeds))
        .route("/api/v1/alerts", get(alerts::alerts))
        .with_state(sources)
}

/// Serves until `stop` turns true.
pub async fn serve(
    listener: tokio::net::TcpListener,
    sources: Sources,
    mut stop: tokio::sync::watch::Receiver<bool>,
) -> std::io::Result<()> {
    axum::serve(listener, router(sources))
        .with_graceful_shutdown(async move {
            // An error means that the sender is gone, which is a stop as well.
            drop(stop.wait_for(|stop| *stop).await);
        })
        .await
}
