//! `/api/v1/explain` and `/api/v1/limits`: why a message goes or waits, and which line of the configuration set what.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Sources;
use super::auth::Reader;
use super::extract::{Json, Path, Query};
use super::problem::Problem;
use super::status::SLICE;
use crate::clock::{Wall, rfc3339};
use crate::config::{Config, Tenant};
use crate::message::id::BadId;
use crate::message::{BindingName, Domain, EntryId, MessageId, PoolName, ProviderName, StreamName, TenantName};
use crate::queue::core::explain::{Explanation, Said};
use crate::queue::dispatcher::{Dispatcher, Supposing};
use crate::scheduler::explain::{EffectiveLimit, limits_of_binding, limits_of_tenant};
use crate::scheduler::{Prediction, Verdict};

/// Recipients of a message that might come, at most.
const RECIPIENTS_MAX: u32 = 1_000_000;

/// Its routes.
pub(super) fn routes() -> OpenApiRouter<Sources> {
    OpenApiRouter::new().routes(routes!(entry)).routes(routes!(select)).routes(routes!(limits))
}

/// Answer of `GET /api/v1/explain` and `GET /api/v1/explain/ID`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Explanations {
    /// One for an entry or a message that might come; one for each waiting entry of a message.
    pub entries: Vec<ExplainedEntry>,
}

/// One entry, or a message that might come.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ExplainedEntry {
    /// Entry; `null` for a message that might come.
    pub id: Option<String>,
    /// Its message.
    pub message: Option<String>,
    /// Whose.
    pub tenant: String,
    /// From which pool.
    pub pool: String,
    /// The recipients' domain.
    pub domain: String,
    /// Where that leads; `null` while it is being looked up.
    pub destination: Option<String>,
    /// The provider it is, if it is one.
    pub provider: Option<String>,
    /// Recipients that wait.
    pub recipients: u32,
    /// Attempts made.
    pub attempts: u32,
    /// When it is given up.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires: Option<Wall>,
    /// Why it does not move at this moment.
    pub waits_for: Option<String>,
    /// Until when, where that is known.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub waits_until: Option<Wall>,
    /// Messages after which the destination was found to end a connection; fewer than the limits allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned_messages_per_connection: Option<u32>,
    /// Every binding of the pool, in the order of tiers.
    pub bindings: Vec<ExplainedBinding>,
    /// The tenant's own limits, where limits were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<EffectiveLimit>,
}

/// One binding's answer.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ExplainedBinding {
    /// Which.
    pub binding: String,
    /// Its tier: 0 is active.
    pub tier: usize,
    /// The verdict's stable text.
    pub verdict: String,
    /// The same in a sentence.
    pub words: String,
    /// When it may change by itself.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Wall>,
    /// Recipients that caps and allowances leave today; `null` without any.
    pub left_today: Option<u64>,
    /// What is expected of the next mail there, where its pool follows reputation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted: Option<Expected>,
    /// Its effective limits there, where limits were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<EffectiveLimit>,
}

impl ExplainedBinding {
    pub(super) fn of(said: &Said, provider: Option<&ProviderName>, limits: Option<&Config>) -> Self {
        let limits = limits.map(|config| limits_of_binding(config, &said.binding, provider).unwrap_or_default());
        Self {
            binding: said.binding.to_string(),
            tier: said.tier,
            verdict: said.verdict.as_str().to_owned(),
            words: said.verdict.words(),
            until: said.verdict.until().filter(|until| *until != Wall::from_millis(i64::MAX)),
            left_today: said.left_today,
            predicted: said.predicted.as_ref().map(Expected::from),
            limits: limits.unwrap_or_default(),
        }
    }
}

/// What is expected of the next mail over a binding to a destination; see [`Prediction`].
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Expected {
    /// The chance that a recipient is accepted, 0 to 1.
    pub chance: f64,
    /// Standard deviation of that.
    pub deviation: f64,
    /// The chance over the other bindings there.
    pub others: f64,
    /// How many recipients are looked ahead …
    pub horizon: u32,
    /// … how many of them should be accepted …
    pub accepted: f64,
    /// … and the chance that none is refused for the address's sake.
    pub none_blamed: f64,
    /// The part of its weight the binding keeps, in percent.
    pub weight_percent: f64,
    /// The same in a sentence.
    pub words: String,
}

impl From<&Prediction> for Expected {
    fn from(predicted: &Prediction) -> Self {
        let &Prediction { chance, deviation, others, horizon, accepted, none_blamed, weight_percent, .. } = predicted;
        Self { chance, deviation, others, horizon, accepted, none_blamed, weight_percent, words: predicted.words() }
    }
}

impl ExplainedEntry {
    fn of(explained: &Explanation, limits: Option<&Config>, dispatcher: &Dispatcher) -> Self {
        let learned = explained.destination.as_ref().and_then(|name| dispatcher.learned_messages(name));
        let provider = explained.provider.as_ref();
        let of_tenant = limits.map(|config| limits_of_tenant(config, &explained.tenant, provider).unwrap_or_default());
        Self {
            id: explained.entry.map(|(id, _)| id.to_string()),
            message: explained.entry.map(|(_, message)| message.to_string()),
            tenant: explained.tenant.to_string(),
            pool: explained.pool.to_string(),
            domain: explained.domain.to_string(),
            destination: explained.destination.as_ref().map(ToString::to_string),
            provider: provider.map(ToString::to_string),
            recipients: explained.recipients,
            attempts: explained.attempts,
            expires: explained.expires,
            waits_for: explained.waits.map(|(why, _)| why.to_owned()),
            waits_until: explained.waits.and_then(|(_, until)| until),
            learned_messages_per_connection: learned,
            bindings: explained.bindings.iter().map(|said| ExplainedBinding::of(said, provider, limits)).collect(),
            limits: of_tenant.unwrap_or_default(),
        }
    }
}

/// Parameters of `GET /api/v1/explain/ID`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EntryQuery {
    /// `true` adds the effective limits and where they were set.
    limits: Option<bool>,
}

/// Every binding of an entry's pool with its verdict. For the id of a message, as events name it, the same for each of
/// its entries that wait.
#[utoipa::path(get, path = "/api/v1/explain/{id}", tag = "explain",
    params(("id" = String, Path, description = "An entry or a message.", pattern = "^[0-9A-Za-z]{13}$"), EntryQuery),
    responses((status = 200, body = Explanations)))]
async fn entry(
    _: Reader,
    State(sources): State<Sources>,
    Path(id): Path<String>,
    Query(query): Query<EntryQuery>,
) -> Result<Json<Explanations>, Problem> {
    let id: EntryId = id.parse().map_err(|BadId| bad(BadId))?;
    let config = query.limits.unwrap_or(false).then(|| sources.dispatcher.config());
    let now = sources.dispatcher.now();
    let explain = |id| sources.dispatcher.with_core(|core| core.explanation(id, now));
    let entries: Vec<Explanation> = match explain(id) {
        Some(explained) => vec![explained],
        // Entries and messages have their ids from one source, so that no id means both.
        None => entries_of(&sources, MessageId(id.0)).into_iter().filter_map(explain).collect(),
    };
    if entries.is_empty() {
        return Err(Problem::unknown("no such entry or message in the queue"));
    }
    let of = |explained| ExplainedEntry::of(explained, config.as_deref(), &sources.dispatcher);
    Ok(Json(Explanations { entries: entries.iter().map(of).collect() }))
}

/// The entries of a message that wait, oldest first. The queue is walked in slices, between which it goes on.
fn entries_of(sources: &Sources, message: MessageId) -> Vec<EntryId> {
    let mut found = of_message(message, |from, look| {
        sources.dispatcher.with_core(|core| {
            let slice = core.index().slice(from, SLICE);
            slice.map(|(id, waiting)| look(id, waiting.message)).count()
        })
    });
    found.sort_unstable();
    found.dedup();
    found
}

/// Those of `message` among all that `slice` shows, from a place on; it tells how many they were, 0 at the end.
fn of_message(
    message: MessageId,
    mut slice: impl FnMut(usize, &mut dyn FnMut(EntryId, MessageId)) -> usize,
) -> Vec<EntryId> {
    let (mut found, mut from) = (Vec::new(), 0);
    loop {
        let seen = slice(from, &mut |id, of| {
            if of == message {
                found.push(id);
            }
        });
        if seen == 0 {
            return found;
        }
        from += seen;
    }
}

/// Parameters of `GET /api/v1/explain`: a message that might come.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SelectQuery {
    /// Whose.
    tenant: String,
    /// Of which stream; default `default`.
    stream: Option<String>,
    /// From this pool instead of the stream's.
    pool: Option<String>,
    /// Recipient domain, or an address in it.
    to: String,
    /// Sender domain, or an address in it: to ask holds as well.
    from: Option<String>,
    /// How many recipients; default 1.
    recipients: Option<u32>,
    /// `true` adds the effective limits and where they were set.
    limits: Option<bool>,
}

/// What would become of a message that might come: what each binding would say now.
#[utoipa::path(get, path = "/api/v1/explain", tag = "explain", params(SelectQuery),
    responses((status = 200, body = Explanations)))]
async fn select(
    _: Reader,
    State(sources): State<Sources>,
    Query(query): Query<SelectQuery>,
) -> Result<Json<Explanations>, Problem> {
    let config = sources.dispatcher.config();
    let supposing = supposing(&config, &query).map_err(bad)?;
    let explained = sources.dispatcher.suppose(supposing).await.map_err(bad)?;
    let limits = query.limits.unwrap_or(false).then_some(config);
    Ok(Json(Explanations { entries: vec![ExplainedEntry::of(&explained, limits.as_deref(), &sources.dispatcher)] }))
}

fn supposing(config: &Config, query: &SelectQuery) -> Result<Supposing, String> {
    let tenant = config.tenants.iter().find(|tenant| tenant.name.as_str() == query.tenant);
    let tenant = tenant.ok_or_else(|| format!("no tenant {:?} is configured", query.tenant))?;
    let stream = StreamName::new(query.stream.as_deref().unwrap_or("default"));
    let recipients = query.recipients.unwrap_or(1);
    if !(1..=RECIPIENTS_MAX).contains(&recipients) {
        return Err(format!("{recipients} recipients: from 1 to {RECIPIENTS_MAX}"));
    }
    Ok(Supposing {
        tenant: TenantName::new(&query.tenant),
        pool: pool(config, tenant, &stream, query.pool.as_deref())?,
        engaged: tenant.engaged.contains(&stream),
        stream,
        sender_domain: query.from.as_deref().map(domain).transpose()?,
        domain: domain(&query.to)?,
        recipients,
    })
}

fn pool(config: &Config, tenant: &Tenant, stream: &StreamName, asked: Option<&str>) -> Result<PoolName, String> {
    if let Some(name) = asked {
        let known = config.pools.iter().find(|pool| pool.name.as_str() == name);
        return known.map(|pool| pool.name.clone()).ok_or_else(|| format!("no pool {name:?} is configured"));
    }
    let streams = || tenant.pools.keys().map(|stream| stream.as_str()).collect::<Vec<_>>().join(", ");
    let pool = tenant.pools.get(stream).cloned();
    pool.ok_or_else(|| format!("tenant {} has no stream {:?}: it has {}", tenant.name, stream.as_str(), streams()))
}

/// A domain, or that of an address.
fn domain(text: &str) -> Result<Domain, String> {
    let name = text.rsplit_once('@').map_or(text, |(_, domain)| domain);
    name.parse().map_err(|_| format!("{text:?} is neither a domain nor an address"))
}

/// Parameters of `GET /api/v1/limits`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LimitsQuery {
    /// Of this binding.
    binding: Option<String>,
    /// Of this tenant.
    tenant: Option<String>,
    /// Towards this provider.
    provider: Option<String>,
}

/// Answer of `GET /api/v1/limits`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LimitList {
    /// Each with the key that set it, and its file and line.
    pub limits: Vec<EffectiveLimit>,
}

/// The effective limits of a binding or a tenant, and the line of the configuration that set each. Either `binding` or
/// `tenant` is to be given.
#[utoipa::path(get, path = "/api/v1/limits", tag = "explain", params(LimitsQuery),
    responses((status = 200, body = LimitList)))]
async fn limits(
    _: Reader,
    State(sources): State<Sources>,
    Query(query): Query<LimitsQuery>,
) -> Result<Json<LimitList>, Problem> {
    let config = sources.dispatcher.config();
    let provider = query.provider.as_deref().map(ProviderName::new);
    let found = match (&query.binding, &query.tenant) {
        (Some(binding), None) => limits_of_binding(&config, &BindingName::new(binding), provider.as_ref()),
        (None, Some(tenant)) => limits_of_tenant(&config, &TenantName::new(tenant), provider.as_ref()),
        _ => return Err(bad("say either binding or tenant")),
    };
    let limits = found.map_err(|unknown| Problem::unknown(unknown.to_string()))?;
    Ok(Json(LimitList { limits }))
}

fn bad(why: impl std::fmt::Display) -> Problem {
    Problem::bad(why.to_string())
}

/// Whether any binding may carry it at once.
pub fn is_eligible(entry: &ExplainedEntry) -> bool {
    entry.bindings.iter().any(|said| said.verdict == Verdict::Eligible.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entries_of_a_message_are_found_in_every_slice() {
        let all: Vec<_> = (0..100).map(|n| (EntryId(n), MessageId(n % 7))).collect();
        let found = of_message(MessageId(3), |from, look| {
            let slice = all.iter().skip(from).take(16);
            slice.map(|(id, of)| look(*id, *of)).count()
        });
        assert_eq!(found, (0..100).filter(|n| n % 7 == 3).map(EntryId).collect::<Vec<_>>());
    }
}
