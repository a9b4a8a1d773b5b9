//! Remove: drain, wait until nothing is on the wire, and the binding is gone.
//!
//! One order goes that way by itself ([`crate::live::task`] looks after it), so that neither a lost connection of whoever
//! asked nor a restart leaves it half-way. Who asks may wait for a while; how far it is is told with the order and the
//! binding. The order keeps the binding out until the file no longer has it.

use std::time::Duration;

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{known, last_of, seats};
use crate::admin::Sources;
use crate::admin::giving::{Asking, bodies, span};
use crate::admin::orders::Done;
use crate::admin::problem::Problem;
use crate::config::{Config, key_path};
use crate::message::BindingName;
use crate::orders::{About, Act};

pub(super) fn routes() -> OpenApiRouter<Sources> {
    OpenApiRouter::new().routes(routes!(remove))
}

/// Longest that an answer waits for the end.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(100);

/// What remove takes.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveAct {
    /// Why; needed.
    reason: Option<String>,
    /// For so long; without it until the file no longer has it, or the order is taken back.
    #[serde(rename = "for")]
    span: Option<String>,
    /// Answer when it is gone, at most after this (and at most 20 s); without it at once.
    wait: Option<String>,
    /// Only say what would be.
    #[serde(default)]
    dry_run: bool,
}

bodies!(RemoveAct);

/// How far a removal is.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Removal {
    /// The act itself.
    #[serde(flatten)]
    pub done: Done,
    /// The binding is gone; else it is still draining.
    pub removed: bool,
    /// Its attempts that are still on the wire.
    pub attempts: u32,
    /// Its connections that are still open.
    pub connections: usize,
    /// Lines of the file to delete, so that it is gone for good.
    pub delete: Vec<String>,
}

/// Removes a binding: it takes no more mail, what is on the wire ends as it would, and then it is gone. Nothing is lost:
/// mail that waits is not bound to a binding, and leaves by the others of its pool.
#[utoipa::path(post, path = "/api/v1/bindings/{name}/remove", tag = "bindings", params(("name" = String, Path)),
    request_body = RemoveAct,
    responses((status = 200, body = Removal)))]
async fn remove(asking: Asking<RemoveAct>) -> Result<Json<Removal>, Problem> {
    let (sources, config) = (&asking.sources, &asking.config);
    let binding = known(sources, config, &asking.name)?;
    let wait = span(asking.own.wait.as_deref())?.unwrap_or_default().min(WAIT_MAX);
    let delete = lines(&sources.live.file(), &binding);
    let warnings = last_of(sources, config, &binding);
    let act = Act::Remove { binding: binding.clone(), draining: true };
    let done = asking.give("binding.remove", act).await?.warned(warnings);
    if asking.is_dry {
        return Ok(Json(Removal { done, delete, ..Removal::default() }));
    }
    sources.dispatcher.retire(&binding);
    let began = sources.dispatcher.now().mono;
    let mut removed = is_gone(sources, &binding);
    while !removed && sources.dispatcher.now().mono.since(began) < wait {
        tokio::time::sleep(LOOK).await;
        removed = is_gone(sources, &binding);
    }
    let (attempts, connections) = sources.dispatcher.on_the_wire(&binding);
    Ok(Json(Removal { done, removed, attempts, connections, delete }))
}

/// Also where the order was taken back meanwhile: then it is there.
fn is_gone(sources: &Sources, binding: &BindingName) -> bool {
    let orders = sources.live.orders();
    orders.about(About::Use(binding)).is_some_and(|order| matches!(order.act, Act::Remove { draining: false, .. }))
}

/// Where the file has a binding.
fn lines(config: &Config, name: &BindingName) -> Vec<String> {
    let table = key_path(["binding", name.as_str()]);
    let address = config.origins.get(&key_path(["binding", name.as_str(), "bind_address"]));
    let place = address.map_or_else(String::new, |origin| format!(" (its bind_address stands at {origin})"));
    let mut lines = vec![format!("the table [{table}]{place}")];
    for seat in seats(config, name) {
        let keys = [key_path(["pool", &seat.pool, "active"]), key_path(["pool", &seat.pool, "backup"])];
        let written: Vec<String> =
            keys.iter().filter_map(|key| config.origins.get(key).map(|origin| format!("{key} at {origin}"))).collect();
        let written = if written.is_empty() { format!("pool.{}", seat.pool) } else { written.join(" or ") };
        lines.push(format!("{:?} in {written}", name.as_str()));
    }
    lines
}
