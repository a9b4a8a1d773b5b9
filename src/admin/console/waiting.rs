//! `GET /api/v1/console/waiting`: what waits, by tenant and reason. The status has the same by receiver.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::Answers;
use super::kept::{json, response};
use crate::admin::Sources;
use crate::admin::auth::Reader;
use crate::admin::problem::Problem;
use crate::admin::status::SLICE;
use crate::clock::{Wall, rfc3339};
use crate::queue::core::Core;

/// Groups at most; those with the most recipients.
const GROUPS_MAX: usize = 1_000;

/// An answer is good for so long: it is a walk over the whole queue.
const FRESH: Duration = Duration::from_secs(2);

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BoardWaiting {
    /// The most recipients first.
    groups: Vec<TenantWaiting>,
}

/// Mail of one tenant that waits for the same reason.
#[derive(Debug, Serialize, ToSchema)]
struct TenantWaiting {
    tenant: String,
    reason: String,
    #[serde(flatten)]
    group: WaitingGroup,
}

/// How much, since when and until when.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct WaitingGroup {
    /// Entries.
    count: u64,
    recipients: u64,
    /// Arrival of the oldest.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    oldest: Wall,
    /// When the first may move by itself.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    next_at: Option<Wall>,
    /// Most attempts any of them has had.
    attempts: u32,
}

impl WaitingGroup {
    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.recipients += other.recipients;
        self.oldest = self.oldest.min(other.oldest);
        self.next_at = self.next_at.into_iter().chain(other.next_at).min();
        self.attempts = self.attempts.max(other.attempts);
    }
}

type Groups = BTreeMap<(String, &'static str), WaitingGroup>;

/// What waits, by tenant and reason. For the console of the same version.
#[utoipa::path(
    get,
    path = "/api/v1/console/waiting",
    tag = "console",
    responses(
        (status = 200, description = "Groups, the largest first", body = BoardWaiting),
        (status = 403, description = "Not for whoever asks", body = Problem),
        (status = 500, description = "It could not be put together", body = Problem),
    ),
)]
pub(super) async fn waiting(
    State(sources): State<Sources>,
    Extension(answers): Extension<Arc<Answers>>,
    Reader(_): Reader,
) -> Result<Response, Problem> {
    let now = sources.dispatcher.now().wall;
    let make = || async {
        // A queue may be long: mail goes on while it is walked through.
        let walk = tokio::task::spawn_blocking(move || json(&of(&sources))).await;
        walk.unwrap_or_else(|error| Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())))
    };
    Ok(response(answers.waiting.get(now, FRESH, make).await?))
}

fn of(sources: &Sources) -> BoardWaiting {
    let mut all = Groups::new();
    // Between two slices the queue goes on: each is of its own moment.
    let slices = (0..).step_by(SLICE).map_while(|from| sources.dispatcher.with_core(|core| slice(core, from)));
    for (key, group) in slices.flatten() {
        all.entry(key).and_modify(|known| known.add(&group)).or_insert(group);
    }
    let mut groups: Vec<TenantWaiting> = all
        .into_iter()
        .map(|((tenant, reason), group)| TenantWaiting { tenant, reason: reason.to_owned(), group })
        .collect();
    groups.sort_by_key(|of| std::cmp::Reverse(of.group.recipients));
    groups.truncate(GROUPS_MAX);
    BoardWaiting { groups }
}

/// One slice of the queue, from its `from`-th entry on; `None` when there are none.
fn slice(core: &Core, from: usize) -> Option<Groups> {
    // By numbers first: names are looked up once for each group.
    let mut groups: HashMap<_, WaitingGroup> = HashMap::new();
    for (_, waiting) in core.index().slice(from, SLICE) {
        let (reason, next_at) = core.index().why(waiting);
        let (recipients, attempts) = (u64::from(waiting.recipients), waiting.attempts);
        let one = WaitingGroup { count: 1, recipients, oldest: waiting.arrived, next_at, attempts };
        groups.entry((waiting.tenant, reason)).and_modify(|known| known.add(&one)).or_insert(one);
    }
    let named = |((tenant, reason), group)| ((core.scheduler().tenant_name(tenant).to_string(), reason), group);
    (!groups.is_empty()).then(|| groups.into_iter().map(named).collect())
}
