//! Suspend, resume, drain, another cap, another stage.

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{known, last_of};
use crate::admin::Sources;
use crate::admin::giving::{Asking, Body, Fields, Words, bodies, until, with_subject};
use crate::admin::orders::Done;
use crate::admin::problem::Problem;
use crate::clock::Wall;
use crate::config::{Config, suggest};
use crate::message::{BindingName, DestinationName, ProviderName};
use crate::orders::{About, Act};
use crate::reputation::{Evidence, Health, Reason, Subject, UNTIL_CLEARED};

pub(super) fn routes() -> OpenApiRouter<Sources> {
    OpenApiRouter::new()
        .routes(routes!(suspend))
        .routes(routes!(resume))
        .routes(routes!(drain))
        .routes(routes!(set_cap))
        .routes(routes!(set_stage))
}

/// What suspend and resume take.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthAct {
    /// Why; needed.
    reason: Option<String>,
    /// Suspend: for so long, without it until resumed. Resume: for so long automation does not take it out again.
    #[serde(rename = "for")]
    span: Option<String>,
    /// At this destination only: a provider's name, or a site's as the status has it.
    destination: Option<String>,
    /// Only say what would be.
    #[serde(default)]
    dry_run: bool,
}

/// What drain takes.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainAct {
    /// Why; needed.
    reason: Option<String>,
    /// For so long; without it until resumed.
    #[serde(rename = "for")]
    span: Option<String>,
    /// Only say what would be.
    #[serde(default)]
    dry_run: bool,
}

/// Another cap: recipients a day, or a word.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(untagged)]
pub enum CapWord {
    /// Recipients a day.
    Count(u64),
    /// `none`, `default` (what the file says) or the number as text.
    Word(String),
}

/// What set-cap takes.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CapAct {
    /// Recipients a day, `"none"`, or `"default"` for what the file says.
    cap: CapWord,
    /// Why; needed.
    reason: Option<String>,
    /// For so long; without it until cancelled.
    #[serde(rename = "for")]
    span: Option<String>,
    /// Only say what would be.
    #[serde(default)]
    dry_run: bool,
}

/// What set-stage takes.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StageAct {
    /// The stage, from 0, as the status has it.
    stage: usize,
    /// Of the warm-up towards this provider instead of that of the binding as a whole.
    provider: Option<String>,
    /// Why; needed.
    reason: Option<String>,
}

bodies!(HealthAct, DrainAct, CapAct);

impl Body for StageAct {
    fn words(&self) -> Words<'_> {
        Words { reason: self.reason.as_deref(), ..Words::default() }
    }
}

/// Takes a binding out, everywhere or at one destination. Nothing new leaves by it; what is on the wire ends as it would.
#[utoipa::path(post, path = "/api/v1/bindings/{name}/suspend", tag = "bindings", params(("name" = String, Path)),
    request_body = HealthAct,
    responses((status = 200, body = Done)))]
async fn suspend(asking: Asking<HealthAct>) -> Result<Json<Done>, Problem> {
    let (sources, config) = (&asking.sources, &asking.config);
    let binding = known(sources, config, &asking.name)?;
    let destination = destination(sources, config, asking.own.destination.as_deref())?;
    let end = asking.until.unwrap_or(UNTIL_CLEARED);
    let subject = subject(&binding, destination.as_ref());
    let health = sources.dispatcher.with_core(|core| core.reputation().health(&subject).clone());
    let at = at(destination.as_ref());
    if let Health::Suspended { until, reason: Reason::Operator } = health
        && until == end
    {
        return Ok(Json(
            asking.nothing(format!("{binding}{at} is suspended by the operator already, {}", ends(until))),
        ));
    }
    let warnings = if destination.is_none() { last_of(sources, config, &binding) } else { Vec::new() };
    let evidence = Evidence::OperatorSuspend {
        binding: binding.clone(),
        destination: destination.clone(),
        reason: format!("{}: {}", asking.who(), asking.reason),
        span: asking.span,
    };
    asking.observe(evidence).await;
    asking.note("binding.suspend", fields(&binding, destination.as_ref())).await;
    Ok(Json(asking.done(format!("{binding}{at} is suspended {}", ends(end))).warned(warnings)))
}

/// Brings a binding back, everywhere or at one destination: ends suspensions whatever their cause, and a drain.
#[utoipa::path(post, path = "/api/v1/bindings/{name}/resume", tag = "bindings", params(("name" = String, Path)),
    request_body = HealthAct,
    responses((status = 200, body = Done)))]
async fn resume(asking: Asking<HealthAct>) -> Result<Json<Done>, Problem> {
    let (sources, config) = (&asking.sources, &asking.config);
    let binding = known(sources, config, &asking.name)?;
    let destination = destination(sources, config, asking.own.destination.as_deref())?;
    let at = at(destination.as_ref());
    let orders = sources.live.orders();
    let order = orders.about(About::Use(&binding)).filter(|_| destination.is_none());
    let is_out = sources.dispatcher.with_core(|core| {
        let of_it = |subject: &Subject| match subject {
            Subject::Binding(name) => *name == binding && destination.is_none(),
            Subject::Route(name, to) => *name == binding && destination.as_ref().is_none_or(|only| only == to),
        };
        core.reputation().all().any(|(subject, health)| of_it(&subject) && *health != Health::Active)
    });
    if !is_out && order.is_none() && asking.span.is_none() {
        let nothing = asking.nothing(format!("{binding}{at} is active already"));
        return Ok(Json(nothing.warned(switched_off(config, &binding))));
    }
    let kept = asking
        .until
        .map_or_else(String::new, |until| format!(", and automation does not take it out again before {until}"));
    let done = match order {
        Some(order) => {
            let words = format!("{binding} is resumed, order {} ({}) is taken back{kept}", order.id.0, order.act);
            asking.take_back("binding.resume", order, words).await?
        }
        None => asking.done(format!("{binding}{at} is resumed{kept}")),
    };
    let (of, span) = (binding.clone(), asking.span);
    asking.observe(Evidence::OperatorResume { binding: of, destination: destination.clone(), span }).await;
    asking.note("binding.resume", fields(&binding, destination.as_ref())).await;
    Ok(Json(done.warned(switched_off(config, &binding))))
}

/// Lets a binding take no more mail: weight 0 in all its pools. What is on the wire ends as it would.
#[utoipa::path(post, path = "/api/v1/bindings/{name}/drain", tag = "bindings", params(("name" = String, Path)),
    request_body = DrainAct,
    responses((status = 200, body = Done)))]
async fn drain(asking: Asking<DrainAct>) -> Result<Json<Done>, Problem> {
    let (sources, config) = (&asking.sources, &asking.config);
    let binding = known(sources, config, &asking.name)?;
    let warnings = last_of(sources, config, &binding);
    let done = asking.give("binding.drain", Act::Drain { binding: binding.clone() }).await?;
    if done.changed {
        sources.dispatcher.retire(&binding);
    }
    Ok(Json(done.warned(warnings)))
}

/// Gives a binding another daily cap. What was accepted today counts.
#[utoipa::path(post, path = "/api/v1/bindings/{name}/set-cap", tag = "bindings", params(("name" = String, Path)),
    request_body = CapAct,
    responses((status = 200, body = Done)))]
async fn set_cap(asking: Asking<CapAct>) -> Result<Json<Done>, Problem> {
    let (sources, config) = (&asking.sources, &asking.config);
    let binding = known(sources, config, &asking.name)?;
    let Some(cap) = cap(&asking.own.cap)? else {
        return Ok(Json(default_cap(&asking, &binding).await?));
    };
    let done = asking.give("binding.set-cap", Act::SetCap { binding: binding.clone(), cap }).await?;
    let pools = config.pools.iter().filter(|pool| pool.binding_limits.daily_cap.is_some() && cap.is_none());
    let of_pool = pools.filter(|pool| pool.tiers.iter().flatten().any(|member| member.binding == binding));
    let warnings =
        of_pool.map(|pool| format!("pool {} has a daily cap for each of its bindings, which holds", pool.name));
    Ok(Json(done.warned(warnings)))
}

/// `cap = "default"`: what the file says.
async fn default_cap(asking: &Asking<CapAct>, binding: &BindingName) -> Result<Done, Problem> {
    if asking.span.is_some() {
        return Err(Problem::bad("for: the cap of the file has no end; say another cap for a while instead"));
    }
    let orders = asking.sources.live.orders();
    let Some(order) = orders.about(About::Cap(binding)) else {
        return Ok(asking.nothing(format!("{binding} has the cap that the file says already")));
    };
    let done = asking.take_back("binding.set-cap", order, format!("{binding} has the cap that the file says")).await?;
    let fields = vec![("what", "the cap of the file".to_owned())];
    asking.note("binding.set-cap", with_subject(fields, &order.act)).await;
    Ok(done)
}

/// `None`: what the file says.
#[expect(clippy::option_option, reason = "no cap and no order are two things")]
fn cap(word: &CapWord) -> Result<Option<Option<u64>>, Problem> {
    let nothing = || Problem::bad("a cap of 0 lets nothing through: suspend or drain it instead");
    match word {
        CapWord::Count(0) => Err(nothing()),
        CapWord::Count(count) => Ok(Some(Some(*count))),
        CapWord::Word(word) => match word.trim() {
            "none" => Ok(Some(None)),
            "default" => Ok(None),
            text => match text.replace('_', "").parse() {
                Ok(0) => Err(nothing()),
                Ok(count) => Ok(Some(Some(count))),
                Err(_) => Err(Problem::bad(format!("cap {text:?} is neither a number nor none nor default"))),
            },
        },
    }
}

/// Puts a binding's warm-up on another stage. It goes on from there by itself; the stage stays over a restart.
#[utoipa::path(post, path = "/api/v1/bindings/{name}/set-stage", tag = "bindings", params(("name" = String, Path)),
    request_body = StageAct,
    responses((status = 200, body = Done)))]
async fn set_stage(asking: Asking<StageAct>) -> Result<Json<Done>, Problem> {
    let (sources, config) = (&asking.sources, &asking.config);
    let binding = known(sources, config, &asking.name)?;
    let act = &asking.own;
    let provider = act.provider.as_deref().map(ProviderName::new);
    if let Some(provider) = provider.as_ref().filter(|wanted| config.providers.iter().all(|p| p.name != **wanted)) {
        return Err(Problem::unknown(no_provider(config, provider.as_str())));
    }
    let change =
        sources.dispatcher.set_stage(&binding, provider.as_ref(), act.stage).await.map_err(Problem::conflict)?;
    let to = provider.as_ref().map_or_else(String::new, |provider| format!(" towards {provider}"));
    let allowance = change.allowance.map_or_else(|| "no limit".to_owned(), |count| count.to_string());
    let mut warnings = Vec::new();
    if change.to != act.stage {
        warnings.push(format!("stage {} is the last that holds it below its daily cap", change.to));
    }
    if change.allowance == Some(0) {
        warnings.push("its warm-up begins on a later day: until then nothing leaves by it".to_owned());
    }
    let fields = vec![
        ("binding", binding.to_string()),
        ("provider", act.provider.clone().unwrap_or_default()),
        ("from", change.from.to_string()),
        ("to", change.to.to_string()),
    ];
    asking.note("binding.set-stage", fields).await;
    let message =
        format!("{binding}{to} stands on stage {} (was {}): {allowance} recipients today", change.to, change.from);
    Ok(Json(Done { changed: change.from != change.to, ..Done::nothing(message) }.warned(warnings)))
}

fn subject(binding: &BindingName, destination: Option<&DestinationName>) -> Subject {
    match destination {
        None => Subject::Binding(binding.clone()),
        Some(destination) => Subject::Route(binding.clone(), destination.clone()),
    }
}

/// A destination that there is: a provider, or a site that mail went to. A name mistyped would suspend nothing.
fn destination(sources: &Sources, config: &Config, name: Option<&str>) -> Result<Option<DestinationName>, Problem> {
    let Some(name) = name else { return Ok(None) };
    let destination = DestinationName::new(name);
    let is_provider = config.providers.iter().any(|provider| provider.name.as_str() == name);
    if is_provider || sources.dispatcher.with_core(|core| core.scheduler().destination_id(&destination).is_some()) {
        return Ok(Some(destination));
    }
    Err(Problem::unknown(format!("{}; sites are named as in remuda status", no_provider(config, name))))
}

fn no_provider(config: &Config, name: &str) -> String {
    let hint = suggest(name, config.providers.iter().map(|provider| provider.name.as_str()));
    let hint = if hint.is_empty() { hint } else { format!("; {hint}") };
    format!("no provider {name:?} is configured{hint}")
}

/// What `suspend_delivery` means for who wants it back.
fn switched_off(config: &Config, name: &BindingName) -> Option<String> {
    let is_off = config.bindings.iter().any(|binding| binding.name == *name && binding.suspend_delivery);
    is_off.then(|| format!("the file says suspend_delivery = true of {name}, which holds: take it out and reload"))
}

fn at(destination: Option<&DestinationName>) -> String {
    destination.map_or_else(String::new, |destination| format!(" at {destination}"))
}

fn ends(end: Wall) -> String {
    if end == UNTIL_CLEARED { "until it is resumed".to_owned() } else { until(Some(end)) }
}

fn fields(binding: &BindingName, destination: Option<&DestinationName>) -> Fields {
    vec![("binding", binding.to_string()), ("destination", destination.map(ToString::to_string).unwrap_or_default())]
}
