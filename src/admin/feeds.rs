//! `GET /api/v1/feeds`: what others say of us, and how it was got.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::Sources;
use crate::monitor::feeds::FeedSnapshot;

/// Answer of `GET /api/v1/feeds`.
#[derive(Debug, Serialize)]
pub struct FeedList {
    /// In the order of the configuration.
    pub feeds: Vec<FeedSnapshot>,
}

/// `GET /api/v1/feeds`
pub async fn feeds(State(sources): State<Sources>) -> Json<FeedList> {
    Json(FeedList { feeds: sources.feeds.snapshot() })
}
