//! The queue: listing, one entry, and the operator's acts on what waits.
//!
//! ```text
//!   list ─┐                            ┌─▶ shown   (entries with what the disk knows)
//!   act ──┴─▶ find (filter, slices) ───┴─▶ acts    (confirmed, bounded batches)
//! ```
//!
//! Nothing here holds the core for longer than a slice of the queue, and what reads the disk does so away from the threads
//! that move mail, for a bounded time. Where it stops early the answer says so, with a cursor to go on from.

// The macro that documents a handler names its parameters by their path.
#![allow(unused_qualifications)]

pub mod act;
pub mod find;
pub mod shown;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::find::{Asked, Effort};
use self::shown::{EntryDetails, EntryList, QueueList, QueuedEntry};
use super::Sources;
use super::auth::Reader;
use super::problem::Problem;
use crate::message::EntryId;

/// Entries of one page at most.
const PAGE_MAX: usize = 10_000;
/// Entries of one page where nothing was said.
const PAGE: usize = 100;

/// Its routes.
pub(in crate::admin) fn routes() -> OpenApiRouter<Sources> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(act::retry))
        .routes(routes!(act::hold))
        .routes(routes!(act::release))
        .routes(routes!(act::bounce))
        .routes(routes!(act::move_))
}

/// Which entries, and how many of them. All conditions must hold.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, deny_unknown_fields)]
struct QueueQuery {
    /// Ids of entries or messages, separated by commas.
    id: Option<String>,
    /// Whose.
    tenant: Option<String>,
    /// From which pool.
    pool: Option<String>,
    /// Where to: a provider's name, or that of a site as the listing shows it.
    destination: Option<String>,
    /// The recipients' domain: a name, or all below one (`*.example.org`).
    domain: Option<String>,
    /// In the queue for at least this long: `90m`, `2d`.
    older_than: Option<String>,
    /// Why it waits, as the listing shows it: a verdict, `retry`, `dns`, `held`, `stranded` …
    reason: Option<String>,
    /// Part of what the last attempt was answered, in any case of letters. Read from the disk, for a bounded time.
    reply: Option<String>,
    /// Entries at most: 1 to 10,000, default 100.
    limit: Option<String>,
    /// Only what came after this entry: `after` of the page before.
    after: Option<String>,
}

/// What waits
///
/// Oldest first. `total` and `reasons` are of all that match, whatever the page shows of them.
#[utoipa::path(get, path = "/api/v1/queue", tag = "queue", params(QueueQuery), responses(
    (status = 200, description = "The entries", body = QueueList),
    (status = 400, description = "A condition that means nothing", body = Problem, content_type = "application/problem+json"),
))]
async fn list(
    State(sources): State<Sources>,
    Reader(_): Reader,
    query: Result<Query<QueueQuery>, QueryRejection>,
) -> Result<Json<QueueList>, Problem> {
    let Query(query) = query.map_err(|error| Problem::bad(error.body_text()))?;
    let limit = limit(query.limit.as_deref())?;
    let ids = query.id.as_deref().unwrap_or_default().split(',').map(str::trim).filter(|id| !id.is_empty());
    let text = find::FilterText {
        tenant: query.tenant,
        pool: query.pool,
        destination: query.destination,
        domain: query.domain,
        older_than: query.older_than,
        reason: query.reason,
        reply: query.reply,
    };
    let now = sources.dispatcher.now().wall;
    let mut asked = Asked::of(&ids.map(str::to_owned).collect::<Vec<_>>(), &text, now)?;
    // The page is cut after counting: what came before it belongs to the totals.
    let after = query.after.as_deref().map(find::cursor).transpose()?;
    if asked.reply.is_some() {
        asked.after = after;
    }
    blocking(move || {
        let found = find::all(&sources, &asked, Effort::LOOK);
        let (total, reasons) = (found.all.len(), shown::reasons(&found.all));
        let mut rest = found.all.iter().map(|found| found.id).filter(|id| after.is_none_or(|after| *id > after));
        let page: Vec<EntryId> = rest.by_ref().take(limit).collect();
        let more = rest.next().is_some();
        let entries: Vec<QueuedEntry> = page.iter().filter_map(|id| QueuedEntry::of(&sources, *id, now)).collect();
        let (stopped_at, stopped) = found.stopped.unzip();
        let after = if more { page.last().copied() } else { stopped_at };
        QueueList { entries, total, reasons, after: after.map(|id| id.to_string()), stopped }
    })
    .await
    .map(Json)
}

fn limit(text: Option<&str>) -> Result<usize, Problem> {
    let Some(text) = text else { return Ok(PAGE) };
    match text.parse::<usize>() {
        Ok(limit) if limit > 0 => Ok(limit.min(PAGE_MAX)),
        _ => Err(Problem::bad(format!("limit {text:?} is not a number from 1 to {PAGE_MAX}"))),
    }
}

/// One entry, or all entries of a message
///
/// With its envelope, the bindings it avoids or prefers, who keeps it back, and what each binding of its pool would say.
#[utoipa::path(get, path = "/api/v1/queue/{id}", tag = "queue",
    params(("id" = String, Path, description = "Id of an entry or a message")),
    responses(
        (status = 200, description = "The entries", body = EntryList),
        (status = 400, description = "That is no id", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Nothing of it waits", body = Problem, content_type = "application/problem+json"),
))]
async fn show(
    State(sources): State<Sources>,
    Reader(_): Reader,
    Path(id): Path<String>,
) -> Result<Json<EntryList>, Problem> {
    let now = sources.dispatcher.now();
    let asked = Asked::of(&[id], &find::FilterText::default(), now.wall)?;
    let entries = blocking(move || {
        let found = find::all(&sources, &asked, Effort::LOOK);
        let ids = found.all.into_iter().map(|found| found.id).take(PAGE);
        ids.filter_map(|id| EntryDetails::of(&sources, id, now)).collect::<Vec<_>>()
    })
    .await?;
    if entries.is_empty() {
        return Err(Problem::unknown("no such entry or message in the queue: it was delivered or ended, or never was"));
    }
    Ok(Json(EntryList { entries }))
}

/// Does something that reads the disk or walks through the queue.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Problem::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, format!("it went wrong: {error}")))
}
