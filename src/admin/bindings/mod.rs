//! Bindings: as they are, and the operator's acts on them.
//!
//! Suspending and resuming is evidence for [`crate::reputation`]; a stage of a warm-up is set once; everything else is an
//! order ([`crate::orders`]) that holds for a while or until it is taken back.

mod acts;
mod remove;

pub use remove::Removal;

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Sources;
use super::auth::Reader;
use super::orders::OrderShown;
use super::problem::Problem;
use super::status::BindingStatus;
use crate::config::{Binding, Config, EhloName};
use crate::message::BindingName;
use crate::orders::{About, no_binding};
use crate::reputation::{Health, Subject};

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Sources> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show)).merge(acts::routes()).merge(remove::routes())
}

/// A place of a binding in a pool.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Seat {
    /// The pool.
    pub pool: String,
    /// 0 is active, 1 the first backup tier.
    pub tier: usize,
    /// Its share relative to the others of the tier; 0 gets nothing.
    pub weight: u32,
}

/// A list that names a binding, or may.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ListingShown {
    /// The list.
    pub zone: String,
    /// 1 listed, 0 not listed, -1 unknown.
    pub state: i8,
    /// Return codes.
    pub codes: String,
    /// What the list says of the reason.
    pub text: String,
}

/// A binding and what is done with it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BindingShown {
    /// As in `/api/v1/status`: health with reason, end and evidence, cap, warm-up, routes that are not active with their
    /// windows, orders.
    #[serde(flatten)]
    pub status: BindingStatus,
    /// The address the world sees; the first where there are two.
    pub public_address: String,
    /// The one that it sees in the other family, where the binding has both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_public_address: Option<String>,
    /// The family by which it goes first to a host that has both: `ipv4`, `ipv6`. Only where it has both as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefer: Option<String>,
    /// What it says in EHLO; `message` for the domain of the reverse path.
    pub ehlo: String,
    /// Its region, if it has one.
    pub region: Option<String>,
    /// The file takes it out: `suspend_delivery = true`.
    pub suspend_delivery: bool,
    /// Its places.
    pub pools: Vec<Seat>,
    /// Connections that are open, idle ones included.
    pub connections: usize,
    /// Most attempts at the same time, throttling included; null without a limit.
    pub window: Option<u32>,
    /// Lists that name it, or of which that is not known. Only where a single binding is asked for.
    #[serde(default)]
    pub listings: Vec<ListingShown>,
}

/// Bindings, in the order of the configuration.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BindingList {
    /// Those in force.
    pub bindings: Vec<BindingShown>,
    /// Orders by which bindings of the file are gone.
    pub removed: Vec<OrderShown>,
}

/// Bindings as they are.
#[utoipa::path(get, path = "/api/v1/bindings", tag = "bindings", responses((status = 200, body = BindingList)))]
async fn list(_: Reader, State(sources): State<Sources>) -> Json<BindingList> {
    let config = sources.dispatcher.config();
    let orders = sources.live.orders();
    let is_gone = |order: &&crate::orders::Order| {
        let name = order.act.binding();
        matches!(order.act, crate::orders::Act::Remove { draining: false, .. })
            && name.is_some_and(|name| config.bindings.iter().all(|known| known.name != *name))
    };
    let removed = orders.all().iter().filter(is_gone).map(OrderShown::from).collect();
    Json(BindingList { bindings: all(&sources, &config, None), removed })
}

/// One binding with all that is known of it.
#[utoipa::path(get, path = "/api/v1/bindings/{name}", tag = "bindings", params(("name" = String, Path)),
    responses((status = 200, body = BindingShown), (status = 404, body = Problem)))]
async fn show(
    _: Reader,
    State(sources): State<Sources>,
    Path(name): Path<String>,
) -> Result<Json<BindingShown>, Problem> {
    let config = sources.dispatcher.config();
    let name = known(&sources, &config, &name)?;
    let mut shown = all(&sources, &config, Some(&name));
    let mut shown = shown.pop().ok_or_else(|| Problem::unknown(no_binding(&config, &name)))?;
    let monitor = sources.monitor.snapshot();
    let of_it = monitor.listings.iter().filter(|listing| listing.binding == name && listing.state != 0);
    shown.listings = of_it
        .map(|listing| ListingShown {
            zone: listing.zone.to_string(),
            state: listing.state,
            codes: listing.codes.clone(),
            text: listing.text.clone(),
        })
        .collect();
    Ok(Json(shown))
}

/// All bindings, or only one.
fn all(sources: &Sources, config: &Config, only: Option<&BindingName>) -> Vec<BindingShown> {
    let now = sources.dispatcher.now();
    let windows = sources.dispatcher.with_core(|core| core.scheduler().in_use(now));
    let is_meant = |name: &str| only.is_none_or(|only| only.as_str() == name);
    let statuses = BindingStatus::all(sources).into_iter().filter(|status| is_meant(&status.name));
    let shown = statuses.filter_map(|status| {
        // The configuration may be another one since.
        let binding = config.bindings.iter().find(|binding| binding.name.as_str() == status.name)?;
        let window = windows.iter().find(|window| window.binding == binding.name);
        Some(BindingShown {
            status,
            public_address: binding.public_address.to_string(),
            second_public_address: binding.publics().second().map(|second| second.to_string()),
            prefer: binding.second.map(|_| binding.prefer.label().to_owned()),
            ehlo: ehlo(binding, config),
            region: binding.region.clone(),
            suspend_delivery: binding.suspend_delivery,
            pools: seats(config, &binding.name),
            connections: sources.dispatcher.on_the_wire(&binding.name).1,
            window: window.and_then(|window| window.limit),
            listings: Vec::new(),
        })
    });
    shown.collect()
}

fn ehlo(binding: &Binding, config: &Config) -> String {
    match &binding.ehlo_hostname {
        EhloName::Literal(name) => name.to_string(),
        EhloName::Hostname => config.server.hostname.to_string(),
        EhloName::Message => "message".to_owned(),
    }
}

/// The places of a binding.
fn seats(config: &Config, name: &BindingName) -> Vec<Seat> {
    let mut seats = Vec::new();
    for pool in &config.pools {
        for (tier, members) in pool.tiers.iter().enumerate() {
            let own = members.iter().filter(|member| member.binding == *name);
            seats.extend(own.map(|member| Seat { pool: pool.name.to_string(), tier, weight: member.weight }));
        }
    }
    seats
}

/// The binding of that name.
///
/// # Errors
/// 404 with the name that may have been meant, or the order by which it is gone.
pub(super) fn known(sources: &Sources, config: &Config, name: &str) -> Result<BindingName, Problem> {
    let name = BindingName::new(name);
    if config.bindings.iter().any(|known| known.name == name) {
        return Ok(name);
    }
    if let Some(order) = sources.live.orders().about(About::Use(&name)) {
        let id = order.id.0;
        return Err(Problem::unknown(format!(
            "{name} is gone by order {id}: remuda orders cancel {id} brings it back"
        )));
    }
    Err(Problem::unknown(no_binding(config, &name)))
}

/// What taking this binding out means for pools of which it is the last that can be used.
fn last_of(sources: &Sources, config: &Config, name: &BindingName) -> Vec<String> {
    sources.dispatcher.with_core(|core| {
        let is_usable = |name: &BindingName| {
            let health = core.reputation().health(&Subject::Binding(name.clone()));
            let is_on = config.bindings.iter().any(|known| known.name == *name && !known.suspend_delivery);
            is_on && !matches!(health, Health::Suspended { .. })
        };
        let mut pools = Vec::new();
        for pool in &config.pools {
            let mut members = pool.tiers.iter().flatten().filter(|member| member.weight > 0);
            let is_member = members.clone().any(|member| member.binding == *name);
            if is_member && !members.any(|member| member.binding != *name && is_usable(&member.binding)) {
                pools.push(format!(
                    "{name} is the last binding of pool {} that can be used: its mail waits until one is back",
                    pool.name
                ));
            }
        }
        pools
    })
}
