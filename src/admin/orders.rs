//! Orders in force, and taking them back; and what the operator's acts have in common.
//!
//! An act answers with [`Done`]: what it came to in words, whether anything changed at all, and what follows from it. It
//! names a reason, which goes into the audit event with who did it. With `dry_run` it only says what would be.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Sources;
use super::auth::{Actor, Operator, Reader};
use super::problem::Problem;
use crate::clock::{Wall, rfc3339};
use crate::config::units::parse_duration;
use crate::live::{Outcome, Refused, Step};
use crate::orders::{Act, NewOrder, Order, OrderId};

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Sources> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(cancel))
}

/// Longest reason.
const REASON_MAX: usize = 500;

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
    responses((status = 200, body = Done), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn cancel(
    Operator(actor): Operator,
    State(sources): State<Sources>,
    Path(id): Path<String>,
) -> Result<Json<Done>, Problem> {
    let id = id.parse().map_err(|_| Problem::bad(format!("{id:?} is no number of an order")))?;
    let orders = sources.live.orders();
    let order = orders.get(OrderId(id)).ok_or_else(|| refused(Refused::Unknown(id)))?;
    let outcome = sources.live.change(vec![Step::Cancel(order.id)], false).await.map_err(refused)?;
    let fields = vec![("order", id.to_string()), ("what", order.act.to_string())];
    sources.audit(&actor, "order.cancel", with_subject(fields, &order.act)).await;
    Ok(Json(Done::of(outcome, format!("order {id} ({}) is taken back", order.act))))
}

/// Adds the names an act is about to the fields of its event.
pub(super) fn with_subject(mut fields: Vec<(&'static str, String)>, act: &Act) -> Vec<(&'static str, String)> {
    let text = |name: Option<String>| name.unwrap_or_default();
    fields.push(("binding", text(act.binding().map(ToString::to_string))));
    fields.push(("tenant", text(act.tenant().map(ToString::to_string))));
    fields.push(("pool", text(act.pool().map(ToString::to_string))));
    fields
}

/// A refusal as an answer.
pub(super) fn refused(refused: Refused) -> Problem {
    match refused {
        Refused::Unknown(_) => Problem::unknown(format!("{refused}; remuda orders shows those in force")),
        Refused::Stopping => Problem::new(StatusCode::SERVICE_UNAVAILABLE, refused.to_string()),
        Refused::File(_) | Refused::Order(_) | Refused::Apply(_) => Problem::conflict(refused.to_string()),
    }
}

/// The body of an act.
pub(super) fn body<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| Problem::bad(format!("the body is not what this act takes: {error}")))
}

/// The reason that every act needs.
pub(super) fn reason(text: Option<&str>) -> Result<String, Problem> {
    let text = text.map(str::trim).filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| Problem::bad("say why: reason is needed, and stands in the log of acts"))?;
    if text.chars().count() > REASON_MAX {
        return Err(Problem::bad(format!("a reason has at most {REASON_MAX} characters")));
    }
    Ok(text.to_owned())
}

/// A span in the words of the configuration; `None` where none is given.
pub(super) fn span(text: Option<&str>) -> Result<Option<std::time::Duration>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let span = parse_duration(text).map_err(|error| Problem::bad(format!("for: {error}")))?;
    if span.is_zero() {
        return Err(Problem::bad("for: must be longer than 0"));
    }
    Ok(Some(span))
}

/// `until …` or `until it is cancelled`.
pub(super) fn until(until: Option<Wall>) -> String {
    until.map_or_else(|| "until it is cancelled".to_owned(), |at| format!("until {at}"))
}

/// One act that is an order: who, why, how long, and whether it is only asked.
pub(super) struct Giving {
    pub(super) actor: Actor,
    pub(super) reason: String,
    pub(super) until: Option<Wall>,
    pub(super) is_dry: bool,
    /// Name of the act in the audit event.
    pub(super) name: &'static str,
}

impl Giving {
    /// Checks what every act has.
    pub(super) fn new(
        sources: &Sources,
        actor: Actor,
        name: &'static str,
        (why, how_long, is_dry): (Option<&str>, Option<&str>, bool),
    ) -> Result<Self, Problem> {
        let now = sources.dispatcher.now().wall;
        let until = span(how_long)?.map(|span| now.plus(span));
        Ok(Self { actor, reason: reason(why)?, until, is_dry, name })
    }

    /// Gives the order, unless it is in force already.
    pub(super) async fn give(self, sources: &Sources, act: Act) -> Result<Done, Problem> {
        let orders = sources.live.orders();
        let words = act.to_string();
        let known = orders.about(act.about());
        if let Some(known) = known.filter(|known| known.act == act && known.until == self.until) {
            return Ok(Done::nothing(format!("order {} says so already: {words}", known.id.0)));
        }
        let new = NewOrder {
            act: act.clone(),
            reason: self.reason.clone(),
            actor: self.actor.name.clone(),
            until: self.until,
        };
        let outcome = sources.live.change(vec![Step::Give(new)], self.is_dry).await.map_err(refused)?;
        if outcome.orders.is_empty() && known.is_none() {
            return Ok(Done { dry_run: self.is_dry, ..Done::nothing(format!("the file says so: {words}")) });
        }
        if !self.is_dry {
            let id = outcome.orders.first().map(|order| order.id.0.to_string()).unwrap_or_default();
            let ends = self.until.map(|at| at.to_string()).unwrap_or_default();
            let fields = vec![("what", words.clone()), ("reason", self.reason), ("until", ends), ("order", id)];
            sources.audit(&self.actor, self.name, with_subject(fields, &act)).await;
        }
        let message = if outcome.orders.is_empty() {
            format!("{words}: the file says so, and the order that said otherwise is taken back")
        } else {
            format!("{words}, {}", until(self.until))
        };
        Ok(Done::of(outcome, message))
    }
}
