//! The operator's acts: what they mean, whether they are confirmed, and what is said of them.
//!
//! An act on more than one entry is only done where somebody has said how many he expects: a filter with a slip of the pen
//! in it means the whole queue. Without `confirm` the answer is 409 with the number, and nothing was done.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::find::{self, Asked, Effort, FilterText, Matched};
use super::shown::{self, ActAnswer, ActEntry, ReasonCount};
use crate::admin::Sources;
use crate::admin::auth::{Actor, Operator};
use crate::admin::giving::{span, words};
use crate::admin::problem::Problem;
use crate::clock::Wall;
use crate::message::{EntryId, Hold};
use crate::queue::core::acts::Act;
use crate::queue::dispatcher::acts::{Acted, Came, Stopped};

/// How long one request may act; it can be asked again behind the last entry.
const PATIENCE: Duration = Duration::from_secs(12);
/// Entries that are named in the answer.
const NAMED: usize = 100;

/// What is to be done, to which entries.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ActRequest {
    /// Ids of entries or messages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// Conditions, which must hold for the ids as well.
    #[serde(skip_serializing_if = "FilterText::is_empty")]
    pub filter: FilterText,
    /// Really all that waits; needed where neither ids nor a filter are given.
    pub all: bool,
    /// Why. Hold, bounce and move need one; with a bounce it is told to the sender.
    pub reason: String,
    /// So many entries are expected at most. Needed for more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm: Option<u64>,
    /// Only ask how many are meant, and what they wait for.
    pub dry_run: bool,
    /// Only what came after this entry: where an answer says that it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Nothing that came after this entry: `until` of the answer to `dry_run`, so that it is done to nothing that was not
    /// counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Of a hold: how long, such as `2h`; until released where nothing is said.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub span: Option<String>,
    /// Of a move: the pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Of a bounce: tell the sender nothing.
    pub silent: bool,
}

type Request = Result<Json<ActRequest>, JsonRejection>;
type Answer = Result<Json<ActAnswer>, Problem>;

/// Which act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Retry,
    Hold,
    Release,
    Bounce,
    Move,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Bounce => "bounce",
            Self::Move => "move",
        }
    }

    fn audited(self) -> &'static str {
        match self {
            Self::Retry => "queue.retry",
            Self::Hold => "queue.hold",
            Self::Release => "queue.release",
            Self::Bounce => "queue.bounce",
            Self::Move => "queue.move",
        }
    }
}

/// Try now
///
/// Also what waits for its own next try or for DNS. Caps, rates, suspensions and holds stay what they are; `reasons` says
/// what stands in the way.
#[utoipa::path(post, path = "/api/v1/queue/retry", tag = "queue", request_body = ActRequest, responses(
    (status = 200, description = "What came of it", body = ActAnswer),
    (status = 404, description = "No such entry", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "More entries than were confirmed; nothing was done", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn retry(State(sources): State<Sources>, Operator(actor): Operator, request: Request) -> Answer {
    act(&sources, &actor, Verb::Retry, request).await
}

/// Keep back
///
/// No attempt is made until it is released or the time is over, also after a restart. Lifetime goes on: what is held until
/// it expires is reported to its sender. What is held for longer already stays as it is; to shorten that, release it first.
#[utoipa::path(post, path = "/api/v1/queue/hold", tag = "queue", request_body = ActRequest, responses(
    (status = 200, description = "What came of it", body = ActAnswer),
    (status = 404, description = "No such entry", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "More entries than were confirmed; nothing was done", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn hold(State(sources): State<Sources>, Operator(actor): Operator, request: Request) -> Answer {
    act(&sources, &actor, Verb::Hold, request).await
}

/// Let go on
///
/// What was held goes on where it stood: one that waits for its next try waits for that.
#[utoipa::path(post, path = "/api/v1/queue/release", tag = "queue", request_body = ActRequest, responses(
    (status = 200, description = "What came of it", body = ActAnswer),
    (status = 404, description = "No such entry", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "More entries than were confirmed; nothing was done", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn release(State(sources): State<Sources>, Operator(actor): Operator, request: Request) -> Answer {
    act(&sources, &actor, Verb::Release, request).await
}

/// End now
///
/// The sender gets a report with status 5.7.0 that names the operator's reason, unless `silent` is given. Stranded mail of a
/// tenant that is gone is only ended silently, since no report could leave.
#[utoipa::path(post, path = "/api/v1/queue/bounce", tag = "queue", request_body = ActRequest, responses(
    (status = 200, description = "What came of it", body = ActAnswer),
    (status = 404, description = "No such entry", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "More entries than were confirmed; nothing was done", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn bounce(State(sources): State<Sources>, Operator(actor): Operator, request: Request) -> Answer {
    act(&sources, &actor, Verb::Bounce, request).await
}

/// Move to another pool
///
/// Tenant and stream stay. It is due at once there, unless it is held. Also for mail whose pool is gone.
#[utoipa::path(post, path = "/api/v1/queue/move", tag = "queue", request_body = ActRequest, responses(
    (status = 200, description = "What came of it", body = ActAnswer),
    (status = 404, description = "No such entry", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "More entries than were confirmed; nothing was done", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn move_(State(sources): State<Sources>, Operator(actor): Operator, request: Request) -> Answer {
    act(&sources, &actor, Verb::Move, request).await
}

async fn act(sources: &Sources, actor: &Actor, verb: Verb, request: Request) -> Answer {
    let Json(request) = request.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    let now = sources.dispatcher.now().wall;
    let wanted = meant(sources, actor, verb, &request, now)?;
    if request.ids.is_empty() && request.filter.is_empty() && !request.all {
        return Err(Problem::bad("say which entries: ids, a filter, or \"all\": true for everything that waits"));
    }
    let mut asked = Asked::of(&request.ids, &request.filter, now)?;
    asked.after = request.after.as_deref().map(find::cursor).transpose()?;
    asked.until = request.until.as_deref().map(find::cursor).transpose()?;
    let (looking, by) = (sources.clone(), asked.clone());
    let found = super::blocking(move || find::all(&looking, &by, Effort::ACT)).await?;
    let unknown = unknown(sources, &request.ids, &found);
    if found.all.is_empty() && !request.ids.is_empty() && request.after.is_none() {
        return Err(Problem::unknown("no such entry or message in the queue: it was delivered or ended, or never was"));
    }
    if request.dry_run {
        return Ok(Json(would_be(verb, &found, unknown)));
    }
    confirmed(&request, found.all.len())?;
    let ids: Vec<EntryId> = found.all.iter().map(|found| found.id).collect();
    let acted = sources.dispatcher.act(ids, wanted, PATIENCE).await;
    let answer = answer(verb, &found, acted, unknown);
    sources.audit(actor, verb.audited(), fields(&request, &answer)).await;
    Ok(Json(answer))
}

/// The act of a request. Everything that it says and this act does not know is refused: it was meant for something.
fn meant(sources: &Sources, actor: &Actor, verb: Verb, request: &ActRequest, now: Wall) -> Result<Act, Problem> {
    let reason = words(&request.reason)?;
    if matches!(verb, Verb::Hold | Verb::Bounce | Verb::Move) && reason.is_empty() && !request.dry_run {
        return Err(Problem::bad("say why: \"reason\" is what others will read"));
    }
    for (given, name, of) in [
        (request.span.is_some(), "for", Verb::Hold),
        (request.to.is_some(), "to", Verb::Move),
        (request.silent, "silent", Verb::Bounce),
    ] {
        if given && verb != of {
            return Err(Problem::bad(format!("{name:?} belongs to {}, not to {}", of.as_str(), verb.as_str())));
        }
    }
    Ok(match verb {
        Verb::Retry => Act::Retry,
        Verb::Release => Act::Release,
        Verb::Bounce => Act::Bounce { reason: reason.to_owned(), is_reported: !request.silent },
        Verb::Hold => {
            let until = span(request.span.as_deref())?.map(|span| now.plus(span));
            Act::Hold(Hold { reason: reason.to_owned(), actor: actor.name.clone(), at: now, until })
        }
        Verb::Move => {
            let to = request.to.as_deref().ok_or_else(|| Problem::bad("say where: \"to\" is the name of a pool"))?;
            sources.dispatcher.move_to(to).map_err(Problem::bad)?
        }
    })
}

/// Whether somebody has said that he means so many.
fn confirmed(request: &ActRequest, found: usize) -> Result<(), Problem> {
    let why = match request.confirm {
        _ if found <= 1 => return Ok(()),
        Some(confirmed) if confirmed >= found as u64 => return Ok(()),
        Some(confirmed) => format!("{found} entries match by now, {confirmed} were confirmed; nothing was done"),
        None => format!("{found} entries match; nothing was done. Confirm with \"confirm\": {found}"),
    };
    Err(Problem { matched: Some(found), ..Problem::new(StatusCode::CONFLICT, why) })
}

/// Ids that were given and that neither an entry nor a message in the queue has. Messages are only known by their entries,
/// so that with other conditions nothing is said of them.
fn unknown(sources: &Sources, ids: &[String], found: &Matched) -> Vec<String> {
    if found.all.len() >= ids.len() {
        return Vec::new();
    }
    let messages: HashSet<String> = found
        .all
        .iter()
        .filter_map(|found| sources.dispatcher.with_core(|core| core.message_of(found.id)))
        .map(|message| message.to_string())
        .collect();
    let is_known = |id: &&String| {
        let known = find::cursor(id).is_ok_and(|id| sources.dispatcher.with_core(|core| core.has_entry(id)));
        known || messages.contains(&id.to_lowercase())
    };
    ids.iter().filter(|id| !is_known(id)).take(NAMED).cloned().collect()
}

fn would_be(verb: Verb, found: &Matched, unknown: Vec<String>) -> ActAnswer {
    let named = found.all.iter().take(NAMED);
    ActAnswer {
        act: verb.as_str().to_owned(),
        matched: found.all.len() as u64,
        dry_run: true,
        unknown,
        reasons: shown::reasons(&found.all),
        entries: named.map(|found| ActEntry { id: found.id.to_string(), came: "matched".to_owned() }).collect(),
        after: found.stopped.as_ref().map(|(id, _)| id.to_string()),
        until: found.all.last().map(|found| found.id.to_string()),
        stopped: found.stopped.as_ref().map(|(_, why)| why.clone()),
        ..ActAnswer::default()
    }
}

fn answer(verb: Verb, found: &Matched, acted: Acted, unknown: Vec<String>) -> ActAnswer {
    let mut counts: HashMap<Came, u64> = HashMap::new();
    for (_, came) in &acted.came {
        *counts.entry(*came).or_default() += 1;
    }
    let count = |came: Came| counts.get(&came).copied().unwrap_or_default();
    let last = acted.came.last().map(|(id, _)| id.to_string());
    let (after, stopped) = match (&acted.stopped, &found.stopped) {
        (Some(Stopped::Patience), _) => {
            let left = found.all.len() - acted.came.len();
            (last, Some(format!("{left} entries are still to come")))
        }
        (Some(Stopped::Trouble(why)), _) => (None, Some(why.clone())),
        (None, Some((at, why))) => (Some(at.to_string()), Some(why.clone())),
        (None, None) => (None, None),
    };
    let reasons = if verb == Verb::Retry { in_the_way(&acted) } else { Vec::new() };
    let named = acted.came.iter().take(NAMED);
    ActAnswer {
        act: verb.as_str().to_owned(),
        matched: found.all.len() as u64,
        dry_run: false,
        done: count(Came::Done),
        unchanged: count(Came::Unchanged),
        on_the_wire: count(Came::OnTheWire),
        held: count(Came::Held),
        another: count(Came::Another),
        stranded: count(Came::Stranded),
        gone: count(Came::Gone),
        unread: count(Came::Unread),
        unknown,
        reasons,
        entries: named.map(|(id, came)| ActEntry { id: id.to_string(), came: came.as_str().to_owned() }).collect(),
        after,
        until: None,
        stopped,
    }
}

fn in_the_way(acted: &Acted) -> Vec<ReasonCount> {
    let obstacles = acted.obstacles.iter();
    obstacles.map(|(reason, count)| ReasonCount { reason: (*reason).to_owned(), count: *count }).collect()
}

/// For the audit event. Words that others chose are made harmless where they are shown.
fn fields(request: &ActRequest, answer: &ActAnswer) -> Vec<(&'static str, String)> {
    let which = match (request.ids.len(), request.filter.words()) {
        (0, words) if words.is_empty() => "all".to_owned(),
        (0, words) => words,
        (count, words) => {
            let ids = request.ids.iter().take(10).cloned().collect::<Vec<_>>().join(" ");
            let more = if count > 10 { format!(" and {} more", count - 10) } else { String::new() };
            let words = if words.is_empty() { words } else { format!(", {words}") };
            format!("ids {ids}{more}{words}")
        }
    };
    let count = |count: u64| if count == 0 { String::new() } else { count.to_string() };
    vec![
        ("which", which),
        ("reason", request.reason.trim().to_owned()),
        ("to", request.to.clone().unwrap_or_default()),
        ("for", request.span.clone().unwrap_or_default()),
        ("silent", if request.silent { "true".to_owned() } else { String::new() }),
        ("matched", answer.matched.to_string()),
        ("done", answer.done.to_string()),
        ("unchanged", count(answer.unchanged)),
        ("on_the_wire", count(answer.on_the_wire)),
        ("held", count(answer.held)),
        ("another", count(answer.another)),
        ("stranded", count(answer.stranded)),
        ("gone", count(answer.gone)),
        ("unread", count(answer.unread)),
        ("stopped", answer.stopped.clone().unwrap_or_default()),
    ]
}
