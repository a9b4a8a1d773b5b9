//! Orders in force, and taking them back; and what an act came to.
//!
//! An act answers with [`Done`]: what it came to in words, whether anything changed at all, and what follows from it.
//! [`super::giving`] has what acts are asked with.

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Sources;
use super::auth::{Operator, Reader};
use super::giving::{refused, with_subject};
use super::problem::Problem;
use crate::clock::{Wall, rfc3339};
use crate::live::{Outcome, Refused, Step};
use crate::orders::{Act, Order, OrderId};

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Sources> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(cancel))
}

/// An order in force.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct OrderShown {
    /// Its number.
    pub id: u64,
    /// drain, remove, set-cap, move-tier, hold-tenant, assign-tenant.
    pub act: String,
    /// What is ordered, in words.
    pub words: String,
    /// The binding it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<String>,
    /// The pool it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The tenant it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Of remove: attempts or connections are still on the wire; it goes when they have ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
    /// Why, in the operator's words.
    pub reason: String,
    /// Who ordered it.
    pub actor: String,
    /// When.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub at: Wall,
    /// When it ends by itself; null until cancelled.
    #[serde(default, with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Wall>,
}

impl From<&Order> for OrderShown {
    fn from(order: &Order) -> Self {
        let act = &order.act;
        Self {
            id: order.id.0,
            act: act.as_str().to_owned(),
            words: act.to_string(),
            binding: act.binding().map(ToString::to_string),
            pool: act.pool().map(ToString::to_string),
            tenant: act.tenant().map(ToString::to_string),
            draining: matches!(act, Act::Remove { draining: true, .. }),
            reason: order.reason.clone(),
            actor: order.actor.clone(),
            at: order.at,
            until: order.until,
        }
    }
}

/// One difference in the configuration in force.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ChangeShown {
    /// Key path as in the file.
    pub key: String,
    /// What it was; null where it was not there.
    pub from: Option<String>,
    /// What it is; null where it is gone.
    pub to: Option<String>,
}

/// What an act came to.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Done {
    /// Whether anything changed: false where things are already as they were to be, and where it was only asked.
    pub changed: bool,
    /// Nothing was done: it was only asked what would be.
    #[serde(default)]
    pub dry_run: bool,
    /// What it came to, in words.
    pub message: String,
    /// What else should be known.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What is different in the configuration in force.
    #[serde(default)]
    pub changes: Vec<ChangeShown>,
    /// Orders that were given.
    #[serde(default)]
    pub orders: Vec<OrderShown>,
}

impl Done {
    /// Nothing was to be done.
    pub(super) fn nothing(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    /// What a change of orders came to.
    pub(super) fn of(outcome: Outcome, message: impl Into<String>) -> Self {
        let change = |change: crate::live::Changed| ChangeShown { key: change.key, from: change.from, to: change.to };
        Self {
            changed: !outcome.is_dry,
            dry_run: outcome.is_dry,
            message: if outcome.is_dry { format!("would be done: {}", message.into()) } else { message.into() },
            warnings: outcome.warnings,
            changes: outcome.changes.into_iter().map(change).collect(),
            orders: outcome.orders.iter().map(OrderShown::from).collect(),
        }
    }

    /// The same with something else to know.
    pub(super) fn warned(mut self, warnings: impl IntoIterator<Item = String>) -> Self {
        self.warnings.extend(warnings);
        self
    }
}

/// Orders in force.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct OrderList {
    /// Oldest first.
    pub orders: Vec<OrderShown>,
}

/// Orders in force.
#[utoipa::path(get, path = "/api/v1/orders", tag = "orders", responses((status = 200, body = OrderList)))]
async fn list(_: Reader, State(sources): State<Sources>) -> Json<OrderList> {
    Json(OrderList { orders: sources.live.orders().all().iter().map(OrderShown::from).collect() })
}

/// Takes an order back: what the file says holds again.
#[utoipa::path(delete, path = "/api/v1/orders/{id}", tag = "orders", params(("id" = u64, Path, description = "Its number")),
    responses((status = 200, body = Done)))]
async fn cancel(
    Operator(actor): Operator,
    State(sources): State<Sources>,
    Path(id): Path<String>,
) -> Result<Json<Done>, Problem> {
    let id = id.parse().map_err(|_| Problem::bad(format!("{id:?} is no number of an order")))?;
    let orders = sources.live.orders();
    let order = orders.get(OrderId(id)).ok_or_else(|| refused(Refused::Unknown(id)))?;
    let outcome = sources.live.change(vec![Step::Cancel(order.id)], false).await;
    let mut fields = vec![("order", id.to_string()), ("what", order.act.to_string())];
    fields.extend(outcome.as_ref().err().map(|why| ("outcome", format!("refused: {why}"))));
    sources.audit(&actor, "order.cancel", with_subject(fields, &order.act)).await;
    let outcome = outcome.map_err(refused)?;
    Ok(Json(Done::of(outcome, format!("order {id} ({}) is taken back", order.act))))
}
