//! `GET /api/v1/spf`: which binding the SPF record of each sender domain covers.

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::Sources;
use crate::clock::{Wall, rfc3339};
use crate::monitor::spf::outcome::{Outcome, State as Known};
use crate::monitor::spf::views::{CellView, RowView};

/// Domains answered at most.
const LIMIT_MAX: usize = 10_000;

/// Parameters; `limit` is text, so that a wrong one is answered in words.
#[derive(Debug, Deserialize)]
pub struct SpfQuery {
    tenant: Option<String>,
    domain: Option<String>,
    /// 1 to 10,000; default 100.
    limit: Option<String>,
}

/// The answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct SpfList {
    /// By name.
    pub domains: Vec<SpfDomain>,
    /// How many there are in all.
    pub total: usize,
}

/// One sender domain.
#[derive(Debug, Serialize, Deserialize)]
pub struct SpfDomain {
    /// Which.
    pub domain: String,
    /// Whose mail comes from it.
    pub tenants: Vec<String>,
    /// When it was evaluated last.
    #[serde(with = "rfc3339::option")]
    pub checked: Option<Wall>,
    /// Its record, as of the last evaluation that found one; cut short.
    pub record: Option<String>,
    /// In the order of the configuration.
    pub bindings: Vec<SpfBinding>,
    /// Pools (with their tenants) of which no binding is covered although some are proven not to be: mail goes uncovered.
    pub uncovered: Vec<SpfUncovered>,
}

/// A tenant's pool.
#[derive(Debug, Serialize, Deserialize)]
pub struct SpfUncovered {
    /// Whose.
    pub tenant: String,
    /// Which.
    pub pool: String,
}

/// One binding of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct SpfBinding {
    /// Which.
    pub binding: String,
    /// What is proven.
    pub state: Known,
    /// The last result, which may not be confirmed yet.
    pub result: Option<Outcome>,
    /// Why, in words.
    pub reason: Option<String>,
    /// When the last answer came that was no temporary error.
    #[serde(with = "rfc3339::option")]
    pub conclusive: Option<Wall>,
}

/// `GET /api/v1/spf?tenant=NAME&domain=NAME&limit=N`
pub async fn list(State(sources): State<Sources>, Query(query): Query<SpfQuery>) -> Response {
    let limit = match query.limit.as_deref().map(|text| (text, text.parse::<usize>())) {
        None => 100,
        Some((_, Ok(limit))) if (1..=LIMIT_MAX).contains(&limit) => limit,
        Some((text, _)) => {
            let why = format!("limit {text:?} is not a number from 1 to {LIMIT_MAX}\n");
            return (StatusCode::BAD_REQUEST, why).into_response();
        }
    };
    let domain = query.domain.map(|domain| domain.trim_end_matches('.').to_ascii_lowercase());
    let is_wanted = |row: &RowView| {
        domain.as_ref().is_none_or(|domain| row.domain.as_str() == domain)
            && query.tenant.as_ref().is_none_or(|tenant| row.tenants.iter().any(|known| known.as_str() == tenant))
    };
    let (views, total) = sources.cover.views(is_wanted, limit);
    Json(SpfList { domains: views.into_iter().map(SpfDomain::of).collect(), total }).into_response()
}

impl SpfDomain {
    fn of(row: RowView) -> Self {
        let record = row.bindings.iter().find_map(|cell| cell.answer.as_ref()?.record.clone());
        let uncovered = row.uncovered.iter();
        Self {
            domain: row.domain.to_string(),
            tenants: row.tenants.iter().map(ToString::to_string).collect(),
            checked: row.asked,
            record,
            uncovered: uncovered
                .map(|(tenant, pool)| SpfUncovered { tenant: tenant.to_string(), pool: pool.to_string() })
                .collect(),
            bindings: row.bindings.into_iter().map(SpfBinding::of).collect(),
        }
    }
}

impl SpfBinding {
    fn of(cell: CellView) -> Self {
        let (result, reason) = cell.answer.map_or((None, None), |answer| (Some(answer.outcome), answer.reason));
        Self { binding: cell.binding.to_string(), state: cell.state, result, reason, conclusive: cell.conclusive }
    }
}
