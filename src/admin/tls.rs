//! `GET /api/v1/policies/DOMAIN`: what a receiver demands of TLS. `GET /api/v1/tls-reports`: what came of it on a day, in the
//! form of RFC 8460 §4.4.

use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Sources;
use super::auth::Reader;
use super::extract::{Json, Query};
use super::problem::Problem;
use crate::delivery::policy::shown::PolicyShown;
use crate::message::Domain;
use crate::telemetry::tlsrpt::book::day_of;
use crate::telemetry::tlsrpt::report::Report;

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Sources> {
    OpenApiRouter::new().routes(routes!(policy)).routes(routes!(reports))
}

/// What the hosts of a recipient domain have to show: its MTA-STS policy and its TLSA records, looked up now where they are
/// not known.
#[utoipa::path(get, path = "/api/v1/policies/{domain}", tag = "delivery",
    params(("domain" = String, Path, description = "Recipient domain.")),
    responses((status = 200, body = PolicyShown), (status = 400, body = Problem)))]
async fn policy(
    _: Reader,
    State(sources): State<Sources>,
    Path(domain): Path<String>,
) -> Result<Json<PolicyShown>, Problem> {
    let domain = domain.parse::<Domain>().map_err(|error| Problem::bad(format!("no domain: {error}")))?;
    Ok(Json(sources.policies.shown(&domain).await))
}

/// Which reports; text, so that a wrong day is answered in words.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TlsReportQuery {
    /// The day, in UTC, as `2026-11-23`; today where none is given. The last seven are kept.
    #[param(value_type = Option<String>, format = Date)]
    day: Option<String>,
    /// Only that of this domain.
    domain: Option<String>,
}

/// The answer.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TlsReports {
    /// The day.
    pub day: String,
    /// One for each domain.
    pub reports: Vec<Report>,
    /// Days there are reports of, oldest first.
    pub days: Vec<String>,
}

/// What came of TLS with receivers that have a policy, on one day.
#[utoipa::path(get, path = "/api/v1/tls-reports", tag = "delivery", params(TlsReportQuery),
    responses((status = 200, body = TlsReports), (status = 400, body = Problem)))]
async fn reports(
    _: Reader,
    State(sources): State<Sources>,
    Query(asked): Query<TlsReportQuery>,
) -> Result<Json<TlsReports>, Problem> {
    let day = match &asked.day {
        Some(text) => text.parse().map_err(|_| Problem::bad(format!("day {text:?} is not written as 2026-11-23")))?,
        None => day_of(sources.dispatcher.now().wall),
    };
    let hostname = sources.dispatcher.config().server.hostname.clone();
    let book = sources.policies.reports();
    let wanted = |domain: &Domain| asked.domain.as_ref().is_none_or(|one| domain.as_str().eq_ignore_ascii_case(one));
    let counted = book.of(day).into_iter().filter(|(domain, _)| wanted(domain));
    let reports = counted.map(|(domain, counted)| Report::of(day, &domain, &counted, &hostname)).collect();
    let days = book.days().iter().map(ToString::to_string).collect();
    Ok(Json(TlsReports { day: day.to_string(), reports, days }))
}
