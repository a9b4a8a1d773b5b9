//! `GET /api/v1/alerts`

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Sources;
use super::auth::Reader;
use crate::alerts::shown::Snapshot;

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Sources> {
    OpenApiRouter::new().routes(routes!(alerts))
}

/// What is wrong now, since when, and who was told.
#[utoipa::path(get, path = "/api/v1/alerts", tag = "monitor", responses((status = 200, body = Snapshot)))]
async fn alerts(_: Reader, State(sources): State<Sources>) -> Json<Snapshot> {
    Json(sources.alerts.snapshot())
}
