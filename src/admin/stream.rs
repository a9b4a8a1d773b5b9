//! Events as they happen (server-sent events).
//!
//! Every client reads by number from the one memory of events: what it takes slowly costs no memory, and it catches up
//! from where it is. Only where something it had not seen is no longer kept it is told `lagged`.

use std::time::Duration;

use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event as Frame, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::EventFilter;
use super::auth::token::Digest;
use super::auth::{Actor, Reader};
use super::extract::Query;
use super::problem::Problem;
use super::session::Head;
use super::{Sources, Stopping};
use crate::telemetry::events::{Event, Filter};

/// Frames that wait for the client to take them.
const AHEAD: usize = 16;
/// Events looked up at a time.
const BATCH: usize = 64;
/// A comment where nothing happens, so that proxies and clients see that the connection lives.
const ALIVE: Duration = Duration::from_secs(15);
/// After which a client should come back when the connection breaks.
const AGAIN: Duration = Duration::from_secs(2);
/// Seconds after which to try again where all places are taken.
const FULL: u64 = 30;

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Sources> {
    OpenApiRouter::new().routes(routes!(stream))
}

type Frames = mpsc::Sender<Result<Frame, std::convert::Infallible>>;

/// Events as they happen: `id` is an event's number, `event` its kind, `data` the event as `GET /api/v1/events` has it.
/// It begins after `Last-Event-ID`, else after `after`, else with what happens next. `lagged` says that something in
/// between is no longer kept. Comments come every 15 seconds.
#[utoipa::path(get, path = "/api/v1/events/stream", tag = "events",
    params(EventFilter, ("Last-Event-ID" = Option<u64>, Header, description = "The number that was seen last.")),
    responses((status = 200, body = String, content_type = "text/event-stream")))]
async fn stream(
    Reader(actor): Reader,
    Head(parts): Head,
    State(sources): State<Sources>,
    stopping: Option<Extension<Stopping>>,
    Query(query): Query<EventFilter>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let now = sources.dispatcher.now().wall;
    let filter = query.filter(now)?;
    let last = headers.get("last-event-id").map(|id| {
        let number = id.to_str().ok().and_then(|id| id.trim().parse().ok());
        number.ok_or_else(|| Problem::bad("Last-Event-ID is not the number of an event"))
    });
    let after = match (last, query.after()?) {
        (Some(last), _) => last?,
        (None, Some(after)) => after,
        (None, None) => sources.dispatcher.events().last_number(),
    };
    let full = || Problem::too_many("as many follow the events as there are places", FULL);
    let session = sources.auth.session_of(&parts);
    let place = sources.dispatcher.events().listen().ok_or_else(full)?;
    let (frames, waiting) = mpsc::channel(AHEAD);
    let stopped = stopping.map(|Extension(Stopping(stopped))| stopped);
    tokio::spawn(async move {
        let _place = place;
        tokio::select! {
            () = follow(&sources, (&actor, session.as_ref()), &filter, after, &frames) => {}
            () = frames.closed() => {}
            () = stop(stopped) => {}
        }
    });
    let alive = KeepAlive::new().interval(ALIVE).text("alive");
    Ok(Sse::new(ReceiverStream::new(waiting)).keep_alive(alive).into_response())
}

/// Returns when the relay stops.
async fn stop(stopped: Option<watch::Receiver<bool>>) {
    match stopped {
        // An error means that the sender is gone, which is a stop as well.
        Some(mut stopped) => drop(stopped.wait_for(|stop| *stop).await),
        None => std::future::pending().await,
    }
}

/// Sends what comes until the client is gone or may look no more.
async fn follow(
    sources: &Sources,
    (actor, session): (&Actor, Option<&Digest>),
    filter: &Filter,
    mut after: u64,
    frames: &Frames,
) {
    let events = sources.dispatcher.events();
    let mut news = events.news();
    let hello = Frame::default().retry(AGAIN).comment("events");
    if frames.send(Ok(hello)).await.is_err() {
        return;
    }
    while sources.auth.is_still(actor, session, sources.dispatcher.now()) {
        news.mark_unchanged();
        let batch = events.after(after, filter, BATCH);
        if batch.is_lagged {
            let data = serde_json::json!({ "after": after }).to_string();
            if frames.send(Ok(Frame::default().event("lagged").data(data))).await.is_err() {
                return;
            }
        }
        for event in &batch.events {
            if frames.send(Ok(frame(event))).await.is_err() {
                return;
            }
        }
        after = batch.upto;
        if batch.events.len() < BATCH {
            // Whether they may still look is asked again now and then.
            let _ = tokio::time::timeout(ALIVE, news.changed()).await;
        }
    }
}

fn frame(event: &Event) -> Frame {
    // Numbers and texts: always JSON, which has no line ends of its own.
    let data = serde_json::to_string(event).unwrap_or_default();
    Frame::default().id(event.seq.to_string()).event(event.kind.as_str()).data(data)
}
