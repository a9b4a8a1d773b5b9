//! `GET /api/v1/monitor`: what the lists say, whether they are believed, and what the questions cost.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Sources;
use super::auth::Reader;
use crate::clock::{Wall, rfc3339};
use crate::monitor::Snapshot;

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Sources> {
    OpenApiRouter::new().routes(routes!(monitor))
}

/// Answer of `GET /api/v1/monitor`.
#[derive(Debug, Serialize, ToSchema)]
pub struct MonitorReport {
    /// When it was asked for; the rest is what the last look left.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub at: Wall,
    /// Zones by their configured names (never by their DNS names: those may hold a key), listings, domains, reverse DNS.
    #[serde(flatten)]
    pub seen: Snapshot,
}

/// What the lists say, whether they are believed, and what the questions cost.
#[utoipa::path(get, path = "/api/v1/monitor", tag = "monitor", responses((status = 200, body = MonitorReport)))]
async fn monitor(_: Reader, State(sources): State<Sources>) -> Json<MonitorReport> {
    Json(MonitorReport { at: sources.dispatcher.now().wall, seen: sources.monitor.snapshot() })
}
