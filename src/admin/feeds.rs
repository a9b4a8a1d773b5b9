//! `GET /api/v1/feeds`: what others say of us, and how it was got.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Sources;
use super::auth::Reader;
use crate::monitor::feeds::FeedSnapshot;

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Sources> {
    OpenApiRouter::new().routes(routes!(feeds))
}

/// Answer of `GET /api/v1/feeds`.
#[derive(Debug, Serialize, ToSchema)]
pub struct FeedList {
    /// In the order of the configuration: its name (`feed`), how it was got, and what it says of whom.
    pub feeds: Vec<FeedSnapshot>,
}

/// What others say of us, and how it was got.
#[utoipa::path(get, path = "/api/v1/feeds", tag = "monitor", responses((status = 200, body = FeedList)))]
async fn feeds(_: Reader, State(sources): State<Sources>) -> Json<FeedList> {
    Json(FeedList { feeds: sources.feeds.snapshot() })
}
