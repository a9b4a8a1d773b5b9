//! `GET /api/v1/monitor`: what the lists say, whether they are believed, and what the questions cost.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::Sources;
use crate::clock::{Wall, rfc3339};
use crate::monitor::Snapshot;

/// Answer of `GET /api/v1/monitor`.
#[derive(Debug, Serialize)]
pub struct MonitorReport {
    /// When it was asked for; the rest is what the last look left.
    #[serde(with = "rfc3339")]
    pub at: Wall,
    /// Zones by their configured names (never by their DNS names: those may hold a key), listings, domains, reverse DNS.
    #[serde(flatten)]
    pub seen: Snapshot,
}

/// `GET /api/v1/monitor`
pub async fn monitor(State(sources): State<Sources>) -> Json<MonitorReport> {
    Json(MonitorReport { at: sources.dispatcher.now().wall, seen: sources.monitor.snapshot() })
}
