//! HTTP: `/metrics`, `/healthz`, `/api/v1/status`, `/api/v1/queue`, `/api/v1/explain`, `/api/v1/limits`,
//! `/api/v1/events`, `/api/v1/unmatched`, `/api/v1/spf`, `/api/v1/feeds`, `/api/v1/alerts`.
//!
//! Loopback only until there is authentication (the configuration refuses anything else). Reads snapshots of the
//! dispatcher's core; never acts.

pub mod alerts;
pub mod api;
pub mod explain;
pub mod feeds;
mod monitor;
pub mod scrape;
pub mod spf;
pub mod status;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use crate::alerts::Alerts;
use crate::ingress::IngressStats;
use crate::monitor::Monitor;
use crate::monitor::feeds::Feeds;
use crate::monitor::identity::Identity;
use crate::monitor::spf::Cover;
use crate::queue::dispatcher::Dispatcher;
use crate::store::committer::Committer;

/// What the handlers read from.
#[derive(Clone)]
pub struct Sources {
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

/// The routes.
pub fn router(sources: Sources) -> Router {
    Router::new()
        .route("/healthz", get(api::health))
        .route("/metrics", get(scrape::metrics))
        .route("/api/v1/status", get(api::status))
        .route("/api/v1/queue", get(api::queue))
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
