//! Tenants: as they are, and the operator's acts on them.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Sources;
use super::auth::Reader;
use super::giving::{Asking, bodies, with_subject};
use super::orders::Done;
use super::problem::Problem;
use super::status::TenantStatus;
use crate::config::{Config, Tenant, units::show_duration};
use crate::message::{PoolName, StreamName, TenantName};
use crate::orders::{About, Act, no_pool, no_tenant};
use crate::reputation::Evidence;
use crate::reputation::holds::HoldView;

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Sources> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(hold))
        .routes(routes!(release))
        .routes(routes!(assign))
}

/// Longest name of a stream.
const NAME_MAX: usize = 255;

/// A tenant.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TenantShown {
    /// As in `/api/v1/status`: name, cap, whether the operator holds it, orders.
    #[serde(flatten)]
    pub status: TenantStatus,
    /// Pool by stream.
    pub pools: BTreeMap<String, String>,
    /// By stream: shares of recipients that go to other pools.
    pub split: BTreeMap<String, BTreeMap<String, f64>>,
    /// Share against other tenants in the same queue.
    pub weight: u32,
    /// Its mail that is held because a receiver refuses it.
    pub holds: Vec<HoldView>,
}

/// Tenants, in the order of the configuration.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TenantList {
    /// Those in force.
    pub tenants: Vec<TenantShown>,
}

/// Tenants as they are.
#[utoipa::path(get, path = "/api/v1/tenants", tag = "tenants", responses((status = 200, body = TenantList)))]
async fn list(_: Reader, State(sources): State<Sources>) -> Json<TenantList> {
    Json(TenantList { tenants: all(&sources, &sources.dispatcher.config()) })
}

/// One tenant.
#[utoipa::path(get, path = "/api/v1/tenants/{name}", tag = "tenants", params(("name" = String, Path)),
    responses((status = 200, body = TenantShown), (status = 404, body = Problem)))]
async fn show(
    _: Reader,
    State(sources): State<Sources>,
    Path(name): Path<String>,
) -> Result<Json<TenantShown>, Problem> {
    let config = sources.dispatcher.config();
    let tenant = known(&config, &name)?;
    let shown = all(&sources, &config).into_iter().find(|shown| shown.status.name == tenant.name.as_str());
    Ok(Json(shown.ok_or_else(|| Problem::unknown(no_tenant(&config, &tenant.name)))?))
}

/// What hold and release take.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldAct {
    /// Why; needed.
    reason: Option<String>,
    /// Hold: for so long; without it until released.
    #[serde(rename = "for")]
    span: Option<String>,
    /// Only say what would be.
    #[serde(default)]
    dry_run: bool,
}

/// What assign takes.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AssignAct {
    /// Through which pool.
    pool: String,
    /// Which stream; default `default`. One that the tenant has not is added.
    stream: Option<String>,
    /// Why; needed.
    reason: Option<String>,
    /// For so long; without it until cancelled.
    #[serde(rename = "for")]
    span: Option<String>,
    /// Only say what would be.
    #[serde(default)]
    dry_run: bool,
}

bodies!(HoldAct, AssignAct);

/// Lets a tenant's mail wait: it is taken in, and nothing of it leaves. Its lifetime goes on.
#[utoipa::path(post, path = "/api/v1/tenants/{name}/hold", tag = "tenants", params(("name" = String, Path)),
    request_body = HoldAct,
    responses((status = 200, body = Done)))]
async fn hold(asking: Asking<HoldAct>) -> Result<Json<Done>, Problem> {
    let tenant = known(&asking.config, &asking.name)?.name.clone();
    let done = asking.give("tenant.hold", Act::HoldTenant { tenant }).await?;
    let lifetime = show_duration(asking.config.queue.lifetime);
    let warning = format!("mail keeps its lifetime: what is older than {lifetime} expires, and its sender is told");
    Ok(Json(done.warned([warning])))
}

/// Lets a tenant's mail go: ends the operator's hold, and those that stand because a receiver refuses it.
#[utoipa::path(post, path = "/api/v1/tenants/{name}/release", tag = "tenants", params(("name" = String, Path)),
    request_body = HoldAct,
    responses((status = 200, body = Done)))]
async fn release(asking: Asking<HoldAct>) -> Result<Json<Done>, Problem> {
    let (sources, config) = (&asking.sources, &asking.config);
    let tenant = known(config, &asking.name)?;
    if asking.span.is_some() {
        return Err(Problem::bad("a release has no end: hold it again when it is time"));
    }
    let orders = sources.live.orders();
    let order = orders.about(About::Hold(&tenant.name));
    if order.is_none() && tenant.hold {
        let what = format!("the file says hold = true of {}: take it out and reload", tenant.name);
        return Err(Problem::conflict(what));
    }
    let now = sources.dispatcher.now().wall;
    let held = sources
        .dispatcher
        .with_core(|core| core.reputation().holds().all(now).filter(|hold| hold.key.tenant == tenant.name).count());
    if order.is_none() && held == 0 {
        return Ok(Json(asking.nothing(format!("nothing of {} is held", tenant.name))));
    }
    let message = format!("the mail of {} goes on", tenant.name);
    let done = match order {
        Some(order) => asking.take_back("tenant.release", order, message).await?,
        None => asking.done(message),
    };
    if held > 0 {
        asking.observe(Evidence::OperatorRelease { tenant: tenant.name.clone(), destination: None }).await;
    }
    let act = Act::HoldTenant { tenant: tenant.name.clone() };
    asking.note("tenant.release", with_subject(vec![("holds", held.to_string())], &act)).await;
    Ok(Json(done))
}

/// Lets new mail of a tenant's stream go through another pool. Splits of that stream end; mail that waits stays in its pool.
#[utoipa::path(post, path = "/api/v1/tenants/{name}/assign", tag = "tenants", params(("name" = String, Path)),
    request_body = AssignAct,
    responses((status = 200, body = Done)))]
async fn assign(asking: Asking<AssignAct>) -> Result<Json<Done>, Problem> {
    let (config, act) = (&asking.config, &asking.own);
    let tenant = known(config, &asking.name)?;
    let pool = PoolName::new(&act.pool);
    if config.pools.iter().all(|known| known.name != pool) {
        return Err(Problem::unknown(no_pool(config, &pool)));
    }
    let stream = stream(act.stream.as_deref().unwrap_or("default"))?;
    let before = tenant.pools.get(&stream);
    let mut warnings = Vec::new();
    match before {
        None => warnings.push(format!("{} had no stream {stream}: it is added", tenant.name)),
        Some(before) if *before != pool => warnings.push(format!(
            "mail that waits stays in pool {before}: remuda queue move --tenant {} --pool {before} --to {pool} moves it",
            tenant.name
        )),
        Some(_) => {}
    }
    let order = Act::AssignTenant { tenant: tenant.name.clone(), stream, pool };
    Ok(Json(asking.give("tenant.assign", order).await?.warned(warnings)))
}

/// A name as a file may have it.
fn stream(name: &str) -> Result<StreamName, Problem> {
    let is_bad = |c: char| c.is_whitespace() || c.is_control() || c == ':';
    if name.is_empty() || name.len() > NAME_MAX || name.contains(is_bad) {
        return Err(Problem::bad(format!(
            "{name:?} is no name of a stream: no spaces, no colons, at most {NAME_MAX} octets"
        )));
    }
    Ok(StreamName::new(name))
}

fn known<'c>(config: &'c Config, name: &str) -> Result<&'c Tenant, Problem> {
    let name = TenantName::new(name);
    let tenant = config.tenants.iter().find(|known| known.name == name);
    tenant.ok_or_else(|| Problem::unknown(no_tenant(config, &name)))
}

fn all(sources: &Sources, config: &Config) -> Vec<TenantShown> {
    let (statuses, holds) = TenantStatus::all(sources);
    let shown = statuses.into_iter().filter_map(|status| {
        // The configuration may be another one since.
        let tenant = config.tenants.iter().find(|tenant| tenant.name.as_str() == status.name)?;
        let shares = |to: &Vec<(PoolName, f64)>| to.iter().map(|(pool, share)| (pool.to_string(), *share)).collect();
        Some(TenantShown {
            pools: tenant.pools.iter().map(|(stream, pool)| (stream.to_string(), pool.to_string())).collect(),
            split: tenant.split.iter().map(|(stream, to)| (stream.to_string(), shares(to))).collect(),
            weight: tenant.weight,
            holds: holds.iter().filter(|hold| hold.key.tenant == tenant.name).cloned().collect(),
            status,
        })
    });
    shown.collect()
}
