//! JSON answers.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Reader;
use super::problem::Problem;
use super::status::Status;
use super::{Sources, extract};
use crate::clock::Wall;
use crate::config::units::parse_duration;
use crate::telemetry::events::{Event, Filter, Kind};
use crate::telemetry::unmatched::UnmatchedReply;

/// Silence of the dispatcher's loop after which it is taken for dead; it goes round at least every 30 s.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Sources> {
    let router = OpenApiRouter::new().routes(routes!(health)).routes(routes!(status));
    router.routes(routes!(events)).routes(routes!(unmatched)).routes(routes!(super::scrape::metrics))
}

/// Whether the relay is well: 200 while the dispatcher's loop turns. Answers everybody.
#[utoipa::path(get, path = "/healthz", tag = "health", security(()),
    responses((status = 200, body = String, content_type = "text/plain"),
        (status = 503, body = String, content_type = "text/plain", description = "It has not gone round for two minutes.")))]
async fn health(State(sources): State<Sources>) -> Response {
    let silence = sources.dispatcher.now().wall.since(sources.dispatcher.heartbeat());
    if silence > SILENCE_MAX {
        let text = format!("the dispatcher has not gone round for {} s\n", silence.as_secs());
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    }
    "ok\n".into_response()
}

/// Everything at one moment: bindings, queue, caps, holds, lists.
#[utoipa::path(get, path = "/api/v1/status", tag = "status", responses((status = 200, body = Status)))]
async fn status(_: Reader, State(sources): State<Sources>) -> Json<Status> {
    Json(Status::of(&sources))
}

/// Which events; text, so that a wrong word is answered in words.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(try_from = "Vec<(String, String)>")]
#[into_params(parameter_in = Query)]
pub struct EventFilter {
    /// One kind or several: given more than once, or with commas between them.
    #[param(value_type = Option<Vec<Kind>>)]
    kind: Vec<String>,
    /// Of this binding.
    binding: Option<String>,
    /// Of this tenant.
    tenant: Option<String>,
    /// Not before that moment (RFC 3339), or so long ago at most (`90m`, `2h`).
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<String>,
    /// After the event of this number.
    #[param(value_type = Option<u64>)]
    after: Option<String>,
}

/// Of all that a query says; what is not of this filter is somebody else's.
impl TryFrom<Vec<(String, String)>> for EventFilter {
    type Error = String;

    fn try_from(said: Vec<(String, String)>) -> Result<Self, String> {
        let mut filter = Self::default();
        for (name, text) in said {
            let field = match name.as_str() {
                "kind" => {
                    filter.kind.push(text);
                    continue;
                }
                "binding" => &mut filter.binding,
                "tenant" => &mut filter.tenant,
                "since" => &mut filter.since,
                "after" => &mut filter.after,
                _ => continue,
            };
            if field.replace(text).is_some() {
                return Err(format!("{name} is given twice"));
            }
        }
        Ok(filter)
    }
}

impl EventFilter {
    /// What is asked for, at `now`.
    pub(super) fn filter(&self, now: Wall) -> Result<Filter, Problem> {
        let kinds = self.kind.iter().flat_map(|kinds| kinds.split(','));
        let kinds = kinds.map(|name| {
            let names = Kind::names();
            let words = || format!("no kind {name:?}: {names}; replies that no rule knew are at /api/v1/unmatched");
            Kind::of(name).ok_or_else(|| Problem::bad(words()))
        });
        let since = self.since.as_deref().map(|text| {
            let moment = text.parse::<jiff::Timestamp>().ok().map(Wall::from);
            let ago = || parse_duration(text).ok().map(|span| ago(now, span));
            let words =
                || format!("since {text:?} is neither a moment such as 2026-11-01T12:00:00Z nor a span such as 2h");
            moment.or_else(ago).ok_or_else(|| Problem::bad(words()))
        });
        Ok(Filter {
            kinds: kinds.collect::<Result<_, _>>()?,
            binding: self.binding.clone(),
            tenant: self.tenant.clone(),
            since: since.transpose()?,
        })
    }

    /// The number behind which to begin.
    pub(super) fn after(&self) -> Result<Option<u64>, Problem> {
        let words = |text: &str| Problem::bad(format!("after {text:?} is not the number of an event"));
        // As far as the document's int64 goes; no relay lives to give that many.
        let number = |text: &str| text.parse().ok().filter(|number| i64::try_from(*number).is_ok());
        self.after.as_deref().map(|text| number(text).ok_or_else(|| words(text))).transpose()
    }
}

fn ago(now: Wall, span: Duration) -> Wall {
    let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    Wall::from_millis(now.as_millis().saturating_sub(millis))
}

/// How many; text, so that a wrong number is answered in words.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Most {
    /// 1 to 10,000; default 100.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 10000)]
    limit: Option<String>,
}

impl Most {
    fn limit(&self) -> Result<usize, Problem> {
        let Some(text) = self.limit.as_deref() else { return Ok(100) };
        let limit = text.parse().ok().filter(|limit| (1..=10_000).contains(limit));
        limit.ok_or_else(|| Problem::bad(format!("limit {text:?} is not a number from 1 to 10000")))
    }
}

/// Answer of `GET /api/v1/events`.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventList {
    /// Newest last.
    #[schema(value_type = Vec<Event>)]
    pub events: Vec<Arc<Event>>,
}

/// What happened: the last `limit` events, or with `after` the first `limit` that came after that one.
#[utoipa::path(get, path = "/api/v1/events", tag = "events", params(EventFilter, Most),
    responses((status = 200, body = EventList)))]
async fn events(
    _: Reader,
    State(sources): State<Sources>,
    extract::Query(query): extract::Query<EventFilter>,
    extract::Query(most): extract::Query<Most>,
) -> Result<Json<EventList>, Problem> {
    let (filter, limit) = (query.filter(sources.dispatcher.now().wall)?, most.limit()?);
    let events = sources.dispatcher.events();
    let events = match query.after()? {
        Some(after) => events.after(after, &filter, limit).events,
        None => events.newest(&filter, limit),
    };
    Ok(Json(EventList { events }))
}

/// Answer of `GET /api/v1/unmatched`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct UnmatchedList {
    /// Most frequent first.
    pub replies: Vec<UnmatchedReply>,
    /// How many different ones are kept.
    pub total: usize,
}

/// Replies that no rule knew, or that blame nobody: alike ones once, with their count.
#[utoipa::path(get, path = "/api/v1/unmatched", tag = "events", params(Most), responses((status = 200, body = UnmatchedList)))]
async fn unmatched(
    _: Reader,
    State(sources): State<Sources>,
    extract::Query(most): extract::Query<Most>,
) -> Result<Json<UnmatchedList>, Problem> {
    let (replies, total) = sources.dispatcher.events().unmatched.most(most.limit()?);
    Ok(Json(UnmatchedList { replies, total }))
}
