//! `GET /api/v1/alerts`

use axum::Json;
use axum::extract::State;

use super::Sources;
use crate::alerts::shown::Snapshot;

/// What is wrong now, since when, and who was told.
pub async fn alerts(State(sources): State<Sources>) -> Json<Snapshot> {
    Json(sources.alerts.snapshot())
}
