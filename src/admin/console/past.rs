//! `GET /api/v1/console/past`: the last hour, minute by minute, of the bindings on the screen.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::admin::Sources;
use crate::admin::auth::Reader;
use crate::admin::problem::Problem;
use crate::clock::{Wall, rfc3339};
use crate::message::BindingName;
use crate::telemetry::history::{MINUTES, Tally};

/// Bindings in one question, at most: more than a screen shows.
const BINDINGS_MAX: usize = 500;

/// Parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct PastQuery {
    /// Names of bindings with spaces between them, which no name has; at most 500.
    #[serde(default)]
    bindings: String,
}

/// Sixty minutes, oldest first; the last one is under way.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BoardMinutes {
    delivered: Vec<u32>,
    deferred: Vec<u32>,
    bounced: Vec<u32>,
}

impl BoardMinutes {
    pub(super) fn of(minutes: &[Tally; MINUTES]) -> Self {
        let each = |what: fn(&Tally) -> u32| minutes.iter().map(what).collect();
        Self { delivered: each(|t| t.delivered), deferred: each(|t| t.deferred), bounced: each(|t| t.bounced) }
    }
}

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BoardPast {
    /// When this was taken.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    at: Wall,
    /// By name; those without an attempt lately are left out.
    bindings: BTreeMap<String, BoardMinutes>,
}

/// The last hour of some bindings, minute by minute. For the console of the same version.
#[utoipa::path(
    get,
    path = "/api/v1/console/past",
    tag = "console",
    params(PastQuery),
    responses(
        (status = 200, description = "Recipients' attempts by minute", body = BoardPast),
        (status = 400, description = "Too many bindings", body = Problem),
    ),
)]
pub(super) async fn past(
    State(sources): State<Sources>,
    Reader(_): Reader,
    Query(query): Query<PastQuery>,
) -> Result<Json<BoardPast>, Problem> {
    let names: Vec<BindingName> = query.bindings.split_whitespace().map(BindingName::new).collect();
    if names.len() > BINDINGS_MAX {
        return Err(Problem::bad(format!("{} bindings: at most {BINDINGS_MAX} at a time", names.len())));
    }
    let at = sources.dispatcher.now().wall;
    let minutes = |name: &BindingName| sources.dispatcher.with_history(|history| history.minutes(name, at));
    let known = names.iter().filter_map(|name| Some((name.to_string(), BoardMinutes::of(&minutes(name)?))));
    Ok(Json(BoardPast { at, bindings: known.collect() }))
}
