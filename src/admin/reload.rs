//! Reloading the configuration.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Sources;
use super::auth::Administrator;
use super::problem::Problem;
use crate::live::{Changed, Outcome, Refused};

/// Changes whose keys the audit event names; of the others there is a number.
const NAMED: usize = 20;

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Sources> {
    OpenApiRouter::new().routes(routes!(reload))
}

/// How to reload.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReloadBody {
    /// Only say what would change.
    dry_run: bool,
}

/// One difference, in the words of the file.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReloadChange {
    /// Key path, such as `binding.mta1.daily_cap`; of what is new or gone the path of the whole.
    key: String,
    /// What it was; `null` where it was not there.
    from: Option<String>,
    /// What it is now, or would be; `null` where it is gone.
    to: Option<String>,
}

/// What a reload came to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Reloaded {
    /// What is different, in the order of the file.
    changes: Vec<ReloadChange>,
    /// What the operator should know: mail whose pool is gone, keys that need a restart.
    warnings: Vec<String>,
    /// Nothing was applied: it was only asked what would be.
    is_dry: bool,
}

impl From<Outcome> for Reloaded {
    fn from(outcome: Outcome) -> Self {
        let change = |Changed { key, from, to }| ReloadChange { key, from, to };
        let changes = outcome.changes.into_iter().map(change).collect();
        Self { changes, warnings: outcome.warnings, is_dry: outcome.is_dry }
    }
}

/// Read the configuration file anew and bring it into force, all of it or nothing.
///
/// No session is cut, no mail is lost, no count begins anew. A file with mistakes, or one that cannot be applied, changes
/// nothing; the answer names every mistake, one a line.
#[utoipa::path(
    post,
    path = "/api/v1/reload",
    tag = "configuration",
    request_body = Option<ReloadBody>,
    responses(
        (status = 200, description = "It is in force, or with dry_run what would be", body = Reloaded),
        (status = 400, description = "The body is something else; nothing was done", body = Problem),
        (status = 409, description = "It cannot be applied; the configuration in force stays", body = Problem),
        (status = 422, description = "The file has mistakes; the configuration in force stays", body = Problem),
        (status = 503, description = "The relay is stopping", body = Problem),
    )
)]
async fn reload(
    Administrator(actor): Administrator,
    State(sources): State<Sources>,
    bytes: Bytes,
) -> Result<Json<Reloaded>, Problem> {
    let ReloadBody { dry_run } = read(&bytes)?;
    let answer = sources.live.reload(dry_run).await;
    if !dry_run {
        let came_to = match &answer {
            Ok(outcome) => summary(&outcome.changes),
            Err(why) => format!("refused: {why}"),
        };
        sources.audit(&actor, "reload", vec![("outcome", came_to)]).await;
    }
    answer.map(|outcome| Json(outcome.into())).map_err(|refused| problem(&refused))
}

/// What the body says, whatever its type is said to be; none at all asks for a reload.
fn read(bytes: &Bytes) -> Result<ReloadBody, Problem> {
    if bytes.is_empty() { Ok(ReloadBody::default()) } else { super::giving::body(bytes) }
}

fn summary(changes: &[Changed]) -> String {
    let named: Vec<&str> = changes.iter().take(NAMED).map(|changed| changed.key.as_str()).collect();
    match changes.len() {
        0 => "nothing changed".to_owned(),
        count if count > NAMED => format!("{count} changed: {}, …", named.join(", ")),
        count => format!("{count} changed: {}", named.join(", ")),
    }
}

/// The problem that a refusal is.
pub(super) fn problem(refused: &Refused) -> Problem {
    let status = match refused {
        Refused::File(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Refused::Order(_) | Refused::Apply(_) => StatusCode::CONFLICT,
        Refused::Unknown(_) => StatusCode::NOT_FOUND,
        Refused::Stopping => StatusCode::SERVICE_UNAVAILABLE,
    };
    Problem::new(status, refused.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audit_event_names_some_keys_and_counts_the_rest() {
        let changed = |n: usize| Changed { key: format!("queue.k{n}"), from: None, to: None };
        assert_eq!(summary(&[]), "nothing changed");
        assert_eq!(summary(&[changed(1), changed(2)]), "2 changed: queue.k1, queue.k2");
        let many: Vec<Changed> = (0..50).map(changed).collect();
        let text = summary(&many);
        assert!(text.starts_with("50 changed: queue.k0, ") && text.ends_with(", queue.k19, …"), "{text}");
    }

    #[test]
    fn a_body_is_never_taken_for_none() {
        let is_dry = |text: &'static str| read(&Bytes::from_static(text.as_bytes())).map(|body| body.dry_run).ok();
        assert_eq!((is_dry(""), is_dry("{}"), is_dry("{\"dry_run\":true}")), (Some(false), Some(false), Some(true)));
        for text in [" ", "x", "dry_run=true", "{\"dry_run\":1}", "{\"dry-run\":true}", "null"] {
            assert_eq!(is_dry(text), None, "{text:?}");
        }
    }

    #[test]
    fn every_mistake_of_a_file_is_in_the_answer() {
        let problem = problem(&Refused::File(vec!["a: one".into(), "b: two".into()]));
        assert_eq!(problem.status, 422);
        assert!(problem.detail.contains("a: one\nb: two"), "{}", problem.detail);
    }
}
