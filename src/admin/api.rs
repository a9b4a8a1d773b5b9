//! JSON answers.

use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::Sources;
use super::status::Status;
use crate::telemetry::events::{Event, Kind};
use crate::telemetry::unmatched::UnmatchedReply;

/// Silence of the dispatcher's loop after which it is taken for dead; it goes round at least every 30 s.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// `GET /healthz`: 200 while the loop turns.
pub async fn health(State(sources): State<Sources>) -> Response {
    let silence = sources.dispatcher.now().wall.since(sources.dispatcher.heartbeat());
    if silence > SILENCE_MAX {
        let text = format!("the dispatcher has not gone round for {} s\n", silence.as_secs());
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    }
    "ok\n".into_response()
}

/// `GET /api/v1/status`
pub async fn status(State(sources): State<Sources>) -> Json<Status> {
    Json(Status::of(&sources))
}

/// Parameters of `GET /api/v1/events` and `GET /api/v1/unmatched`; text, so that a wrong one is answered in words.
#[derive(Debug, Deserialize)]
pub struct EventQuery {
    kind: Option<String>,
    /// 1 to 10,000; default 100.
    limit: Option<String>,
}

impl EventQuery {
    fn limit(&self) -> Result<usize, String> {
        let Some(text) = self.limit.as_deref() else { return Ok(100) };
        let limit = text.parse().ok().filter(|limit| (1..=10_000).contains(limit));
        limit.ok_or_else(|| format!("limit {text:?} is not a number from 1 to 10000\n"))
    }

    fn kind(&self) -> Result<Option<Kind>, String> {
        let Some(name) = self.kind.as_deref() else { return Ok(None) };
        let found = Kind::of(name).map(Some);
        found.ok_or_else(|| {
            format!("no kind {name:?}: {}; replies that no rule knew are at /api/v1/unmatched\n", Kind::names())
        })
    }
}

/// Answer of `GET /api/v1/events`.
#[derive(Debug, Serialize)]
pub struct EventList {
    /// Newest last.
    pub events: Vec<Event>,
}

/// `GET /api/v1/events?kind=KIND&limit=N`: the last `limit` of one kind, or of all.
pub async fn events(State(sources): State<Sources>, Query(query): Query<EventQuery>) -> Response {
    match query.kind().and_then(|kind| Ok((kind, query.limit()?))) {
        Ok((kind, limit)) => Json(EventList { events: sources.dispatcher.events().last(kind, limit) }).into_response(),
        Err(why) => (StatusCode::BAD_REQUEST, why).into_response(),
    }
}

/// Answer of `GET /api/v1/unmatched`.
#[derive(Debug, Serialize, Deserialize)]
pub struct UnmatchedList {
    /// Most frequent first.
    pub replies: Vec<UnmatchedReply>,
    /// How many different ones are kept.
    pub total: usize,
}

/// `GET /api/v1/unmatched?limit=N`: replies that no rule knew.
pub async fn unmatched(State(sources): State<Sources>, Query(query): Query<EventQuery>) -> Response {
    match query.limit() {
        Ok(limit) => {
            let (replies, total) = sources.dispatcher.events().unmatched.most(limit);
            Json(UnmatchedList { replies, total }).into_response()
        }
        Err(why) => (StatusCode::BAD_REQUEST, why).into_response(),
    }
}
