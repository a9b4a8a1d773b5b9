//! `GET /api/v1/spf`: which binding the SPF record of each sender domain covers, a page at a time: the table is locked
//! while a page is copied.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Sources;
use super::auth::Reader;
use super::extract::{Json, Query};
use super::problem::Problem;
use crate::clock::{Wall, rfc3339};
use crate::message::Domain;
use crate::monitor::spf::outcome::{Outcome, State as Known};
use crate::monitor::spf::views::{CellView, RowView};

/// Domains on a page at most.
const LIMIT_MAX: usize = 1_000;

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Sources> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Parameters; `limit` is text, so that a wrong one is answered in words.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SpfQuery {
    /// Only domains of this tenant.
    tenant: Option<String>,
    /// Only this domain.
    domain: Option<String>,
    /// Only domains whose names come after this one: `next` of the page before.
    after: Option<String>,
    /// 1 to 1,000; default 100.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
}

/// The answer.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SpfList {
    /// By name.
    pub domains: Vec<SpfDomain>,
    /// How many there are in all.
    pub total: usize,
    /// Where there are more: what to ask for as `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One sender domain.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SpfDomain {
    /// Which.
    pub domain: String,
    /// Whose mail comes from it.
    pub tenants: Vec<String>,
    /// When it was evaluated last.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub checked: Option<Wall>,
    /// Its record, as of the last evaluation that found one; cut short.
    pub record: Option<String>,
    /// What the domain says to those it does not allow; cut short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
    /// In the order of the configuration.
    pub bindings: Vec<SpfBinding>,
    /// Pools (with their tenants) of which no binding is covered although some are proven not to be: mail goes uncovered.
    pub uncovered: Vec<SpfUncovered>,
}

/// A tenant's pool.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SpfUncovered {
    /// Whose.
    pub tenant: String,
    /// Which.
    pub pool: String,
}

/// One binding of it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SpfBinding {
    /// Which.
    pub binding: String,
    /// What is proven.
    #[schema(value_type = String)]
    pub state: Known,
    /// The last result, which may not be confirmed yet.
    #[schema(value_type = Option<String>)]
    pub result: Option<Outcome>,
    /// Why, in words.
    pub reason: Option<String>,
    /// When the last answer came that was no temporary error.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub conclusive: Option<Wall>,
}

/// Which bindings the SPF record of each sender domain covers, a page at a time.
#[utoipa::path(get, path = "/api/v1/spf", tag = "monitor", params(SpfQuery), responses((status = 200, body = SpfList)))]
async fn list(
    _: Reader,
    State(sources): State<Sources>,
    Query(query): Query<SpfQuery>,
) -> Result<Json<SpfList>, Problem> {
    let limit = match query.limit.as_deref().map(|text| (text, text.parse::<usize>())) {
        None => 100,
        Some((_, Ok(limit))) if (1..=LIMIT_MAX).contains(&limit) => limit,
        Some((text, _)) => {
            return Err(Problem::bad(format!("limit {text:?} is not a number from 1 to {LIMIT_MAX}")));
        }
    };
    let tenant = query.tenant.as_deref();
    let named = |text: &String| text.trim_end_matches('.').to_ascii_lowercase().parse::<Domain>();
    let (views, total, is_more) = match (query.domain.as_ref().map(named), query.after.as_ref().map(named)) {
        // What is no domain is none of ours.
        (Some(Err(_)), _) => (Vec::new(), 0, false),
        (Some(Ok(domain)), _) => {
            let row = sources.cover.view(&domain);
            let is_of =
                |row: &RowView| tenant.is_none_or(|tenant| row.tenants.iter().any(|known| known.as_str() == tenant));
            let rows: Vec<RowView> = row.into_iter().filter(is_of).collect();
            let total = rows.len();
            (rows, total, false)
        }
        (None, Some(Err(_))) => {
            return Err(Problem::bad("after is not the name of a domain"));
        }
        (None, after) => sources.cover.page(tenant, after.and_then(Result::ok).as_ref(), limit),
    };
    let domains: Vec<SpfDomain> = views.into_iter().map(SpfDomain::of).collect();
    let next = domains.last().filter(|_| is_more).map(|last| last.domain.clone());
    Ok(Json(SpfList { domains, total, next }))
}

impl SpfDomain {
    fn of(row: RowView) -> Self {
        let uncovered = row.uncovered.iter();
        Self {
            domain: row.domain.to_string(),
            tenants: row.tenants.iter().map(ToString::to_string).collect(),
            checked: row.asked,
            record: row.record,
            explanation: row.said,
            uncovered: uncovered
                .map(|(tenant, pool)| SpfUncovered { tenant: tenant.to_string(), pool: pool.to_string() })
                .collect(),
            bindings: row.bindings.into_iter().map(SpfBinding::of).collect(),
        }
    }
}

impl SpfBinding {
    fn of(cell: CellView) -> Self {
        let result = cell.last.map(|(outcome, _)| outcome);
        let reason = cell.last.and_then(|(_, reason)| reason).map(|reason| reason.to_string());
        Self { binding: cell.binding.to_string(), state: cell.state, result, reason, conclusive: cell.conclusive }
    }
}
