//! Pools: as they are, and the operator's acts on them.

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Sources;
use super::auth::Reader;
use super::bindings::known as known_binding;
use super::giving::{Asking, bodies};
use super::orders::{Done, OrderShown};
use super::problem::Problem;
use super::status::BindingStatus;
use crate::config::{Config, FailoverReason, Pace, Pool, Spread};
use crate::message::PoolName;
use crate::orders::{Act, no_pool};

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Sources> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show)).routes(routes!(move_tier))
}

/// Heaviest weight, as in the file.
const HEAVIEST: u32 = 65_535;

/// A binding in a tier.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MemberShown {
    /// Which.
    pub binding: String,
    /// Its share relative to the others of the tier; 0 gets nothing.
    pub weight: u32,
    /// active, throttled, suspended, probation.
    pub health: String,
    /// Why not active.
    pub reason: Option<String>,
    /// What the operator has it do: suspended, draining, removing.
    pub operator: Option<String>,
}

/// A pool.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PoolShown {
    /// Its name.
    pub name: String,
    /// Tier 0 is active, the others are backups in order.
    pub tiers: Vec<Vec<MemberShown>>,
    /// weighted, headroom, reputation.
    pub spread: String,
    /// none, even, hours.
    pub pace: String,
    /// Bindings to count on below which the next tier opens as well.
    pub min_active: usize,
    /// Reasons for which the next tier opens.
    pub failover_on: Vec<String>,
    /// Streams that go here, as `tenant stream`.
    pub streams: Vec<String>,
    /// The operator's orders about it.
    pub orders: Vec<OrderShown>,
}

/// Pools, in the order of the configuration.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PoolList {
    /// Those in force.
    pub pools: Vec<PoolShown>,
}

/// Pools as they are.
#[utoipa::path(get, path = "/api/v1/pools", tag = "pools", responses((status = 200, body = PoolList)))]
async fn list(_: Reader, State(sources): State<Sources>) -> Json<PoolList> {
    let (config, bindings) = (sources.dispatcher.config(), BindingStatus::all(&sources));
    let pools = config.pools.iter().map(|pool| shown(&sources, &config, &bindings, pool));
    Json(PoolList { pools: pools.collect() })
}

/// One pool.
#[utoipa::path(get, path = "/api/v1/pools/{name}", tag = "pools", params(("name" = String, Path)),
    responses((status = 200, body = PoolShown), (status = 404, body = Problem)))]
async fn show(_: Reader, State(sources): State<Sources>, Path(name): Path<String>) -> Result<Json<PoolShown>, Problem> {
    let (config, bindings) = (sources.dispatcher.config(), BindingStatus::all(&sources));
    let pool = known(&config, &name)?;
    Ok(Json(shown(&sources, &config, &bindings, pool)))
}

/// What move-tier takes.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveAct {
    /// Which binding; one that is not in the pool is new there.
    binding: String,
    /// 0 is active, 1 the first backup tier; one more than there are makes a new one.
    tier: usize,
    /// Its weight there; without it the one it has, or 1.
    weight: Option<u32>,
    /// Why; needed.
    reason: Option<String>,
    /// For so long; without it until cancelled.
    #[serde(rename = "for")]
    span: Option<String>,
    /// Only say what would be.
    #[serde(default)]
    dry_run: bool,
}

bodies!(MoveAct);

/// Puts a binding into another tier of a pool, or into a pool.
#[utoipa::path(post, path = "/api/v1/pools/{name}/move-tier", tag = "pools", params(("name" = String, Path)),
    request_body = MoveAct,
    responses((status = 200, body = Done)))]
async fn move_tier(asking: Asking<MoveAct>) -> Result<Json<Done>, Problem> {
    let (sources, config, act) = (&asking.sources, &asking.config, &asking.own);
    let pool = known(config, &asking.name)?;
    let binding = known_binding(sources, config, &act.binding)?;
    if act.weight.is_some_and(|weight| weight > HEAVIEST) {
        return Err(Problem::bad(format!("weight: from 0 to {HEAVIEST}")));
    }
    let stands = pool.tiers.iter().position(|tier| tier.iter().any(|member| member.binding == binding));
    let weighs = pool.tiers.iter().flatten().find(|member| member.binding == binding).map(|member| member.weight);
    if stands == Some(act.tier) && act.weight.is_none_or(|weight| Some(weight) == weighs) {
        return Ok(Json(
            asking.nothing(format!("{binding} stands in tier {} of pool {} already", act.tier, pool.name)),
        ));
    }
    let now = sources.dispatcher.now().wall;
    let seen = sources.live.orders().tier_as_seen(&sources.live.file(), &pool.name, act.tier, now);
    let tier = seen.map_err(Problem::bad)?;
    let order = Act::MoveTier { pool: pool.name.clone(), binding, tier, weight: act.weight };
    Ok(Json(asking.give("pool.move-tier", order).await?))
}

fn known<'c>(config: &'c Config, name: &str) -> Result<&'c Pool, Problem> {
    let name = PoolName::new(name);
    let pool = config.pools.iter().find(|known| known.name == name);
    pool.ok_or_else(|| Problem::unknown(no_pool(config, &name)))
}

fn shown(sources: &Sources, config: &Config, bindings: &[BindingStatus], pool: &Pool) -> PoolShown {
    let member = |member: &crate::config::Member| {
        let status = bindings.iter().find(|status| status.name == member.binding.as_str());
        MemberShown {
            binding: member.binding.to_string(),
            weight: member.weight,
            health: status.map_or_else(String::new, |status| status.health.clone()),
            reason: status.and_then(|status| status.reason.clone()),
            operator: status.and_then(|status| status.operator.clone()),
        }
    };
    let mut streams = Vec::new();
    for tenant in &config.tenants {
        for (stream, goes) in &tenant.pools {
            let split = tenant.split.get(stream).into_iter().flatten().any(|(to, _)| *to == pool.name);
            if *goes == pool.name || split {
                streams.push(format!("{} {stream}", tenant.name));
            }
        }
    }
    let orders = sources.live.orders();
    let of_it = orders.all().iter().filter(|order| order.act.pool() == Some(&pool.name));
    PoolShown {
        name: pool.name.to_string(),
        tiers: pool.tiers.iter().map(|tier| tier.iter().map(member).collect()).collect(),
        spread: match pool.spread {
            Spread::Weighted => "weighted",
            Spread::Headroom => "headroom",
            Spread::Reputation => "reputation",
        }
        .to_owned(),
        pace: match pool.pace {
            Pace::None => "none",
            Pace::Even => "even",
            Pace::Hours(_) => "hours",
        }
        .to_owned(),
        min_active: pool.min_active,
        failover_on: pool.failover_on.iter().map(|reason| failover(*reason).to_owned()).collect(),
        streams,
        orders: of_it.map(OrderShown::from).collect(),
    }
}

fn failover(reason: FailoverReason) -> &'static str {
    match reason {
        FailoverReason::Suspended => "suspended",
        FailoverReason::Capped => "capped",
        FailoverReason::Warmup => "warmup",
        FailoverReason::RateLimited => "rate_limited",
        FailoverReason::WindowFull => "window_full",
    }
}
