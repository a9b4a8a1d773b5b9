//! What the operator's acts have in common: who asks, why, for how long, and whether it is only asked what would be.
//!
//! [`Asking`] is the frame of their handlers. As an argument it takes the request apart and refuses what no act takes, so
//! that a handler says only what is its own. What is done is one of three things: an order is given ([`Asking::give`]), an
//! order is taken back ([`Asking::take_back`]), or the reputation is told something ([`Asking::observe`]). With `dry_run`
//! each of them leaves everything as it is; else it is noted who did it ([`Asking::note`], which `give` does by itself),
//! and the answer is a [`Done`].

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;

use super::Sources;
use super::auth::{Actor, Operator};
use super::extract::Path;
use super::orders::Done;
use super::problem::Problem;
use crate::clock::Wall;
use crate::config::Config;
use crate::config::units::parse_duration;
use crate::live::{Refused, Step};
use crate::orders::{Act, NewOrder, Order};
use crate::reputation::Evidence;

/// Characters of a reason at most.
const REASON_MAX: usize = 500;

/// Names with words, for the event of an act.
pub(super) type Fields = Vec<(&'static str, String)>;

/// What the body of every act may say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Words<'a> {
    /// Why.
    pub(super) reason: Option<&'a str>,
    /// For how long.
    pub(super) span: Option<&'a str>,
    /// Whether it is only asked.
    pub(super) is_dry: bool,
}

/// The body of an act.
pub(super) trait Body: DeserializeOwned {
    /// What it has in common with the others.
    fn words(&self) -> Words<'_>;
}

/// [`Body`] of those that have all three words as fields.
macro_rules! bodies {
    ($($body:ty),+ $(,)?) => {$(
        impl $crate::admin::giving::Body for $body {
            fn words(&self) -> $crate::admin::giving::Words<'_> {
                let (reason, span) = (self.reason.as_deref(), self.span.as_deref());
                $crate::admin::giving::Words { reason, span, is_dry: self.dry_run }
            }
        }
    )+};
}
pub(super) use bodies;

/// An act that is asked for, of somebody who may.
pub(super) struct Asking<B> {
    pub(super) sources: Sources,
    /// In force when it was asked for.
    pub(super) config: Arc<Config>,
    actor: Actor,
    /// What the path names: a binding, a pool, a tenant.
    pub(super) name: String,
    pub(super) reason: String,
    pub(super) span: Option<Duration>,
    /// When that is over.
    pub(super) until: Option<Wall>,
    pub(super) is_dry: bool,
    /// What is the act's own.
    pub(super) own: B,
}

impl<B: Body> FromRequest<Sources> for Asking<B> {
    type Rejection = Problem;

    async fn from_request(request: Request, sources: &Sources) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        // Who may not act is told nothing else.
        let Operator(actor) = Operator::from_request_parts(&mut parts, sources).await?;
        let Path(name) = Path::from_request_parts(&mut parts, sources).await?;
        let bytes = Bytes::from_request(Request::from_parts(parts, body), sources).await?;
        let own: B = self::body(&bytes)?;
        let words = own.words();
        let (reason, span, is_dry) = (reason(words.reason)?, span(words.span)?, words.is_dry);
        let until = span.map(|span| sources.dispatcher.now().wall.plus(span));
        let config = sources.dispatcher.config();
        Ok(Self { sources: sources.clone(), config, actor, name, reason, span, until, is_dry, own })
    }
}

impl<B> Asking<B> {
    /// Who asks.
    pub(super) fn who(&self) -> &str {
        &self.actor.name
    }

    /// Gives the order, unless it is in force already. `name` is that of the act in its event.
    pub(super) async fn give(&self, name: &'static str, act: Act) -> Result<Done, Problem> {
        let orders = self.sources.live.orders();
        let words = act.to_string();
        let known = orders.about(act.about());
        if let Some(known) = known.filter(|known| known.act == act && known.until == self.until) {
            return Ok(self.nothing(format!("order {} says so already: {words}", known.id.0)));
        }
        let (reason, actor) = (self.reason.clone(), self.actor.name.clone());
        let new = NewOrder { act: act.clone(), reason, actor, until: self.until };
        let outcome = match self.sources.live.change(vec![Step::Give(new)], self.is_dry).await {
            Ok(outcome) => outcome,
            Err(why) => return Err(self.refused(name, &act, why).await),
        };
        if outcome.orders.is_empty() && known.is_none() {
            return Ok(self.nothing(format!("the file says so: {words}")));
        }
        let id = outcome.orders.first().map(|order| order.id.0.to_string()).unwrap_or_default();
        self.note(name, with_subject(vec![("what", words.clone()), ("order", id)], &act)).await;
        let message = if outcome.orders.is_empty() {
            format!("{words}: the file says so, and the order that said otherwise is taken back")
        } else {
            format!("{words}, {}", until(self.until))
        };
        Ok(Done::of(outcome, message))
    }

    /// Takes an order back. `name` is that of the act in its event, should it be refused.
    pub(super) async fn take_back(&self, name: &'static str, order: &Order, message: String) -> Result<Done, Problem> {
        match self.sources.live.change(vec![Step::Cancel(order.id)], self.is_dry).await {
            Ok(outcome) => Ok(Done::of(outcome, message)),
            Err(why) => Err(self.refused(name, &order.act, why).await),
        }
    }

    /// Notes that it was refused: part of it may have come into force all the same.
    async fn refused(&self, name: &'static str, act: &Act, why: Refused) -> Problem {
        let fields = vec![("what", act.to_string()), ("outcome", format!("refused: {why}"))];
        self.note(name, with_subject(fields, act)).await;
        refused(why)
    }

    /// Tells the reputation.
    pub(super) async fn observe(&self, evidence: Evidence) {
        if !self.is_dry {
            self.sources.dispatcher.observe(evidence).await;
        }
    }

    /// Notes what was done: `fields`, and why and until when.
    pub(super) async fn note(&self, name: &'static str, mut fields: Fields) {
        if !self.is_dry {
            fields.push(("reason", self.reason.clone()));
            fields.push(("until", self.until.map(|at| at.to_string()).unwrap_or_default()));
            self.sources.audit(&self.actor, name, fields).await;
        }
    }

    /// There is nothing to do, in words.
    pub(super) fn nothing(&self, message: String) -> Done {
        Done { dry_run: self.is_dry, ..Done::nothing(message) }
    }

    /// What is done at once, in words.
    pub(super) fn done(&self, message: String) -> Done {
        if self.is_dry {
            return Done { dry_run: true, ..Done::nothing(format!("would be done: {message}")) };
        }
        Done { changed: true, ..Done::nothing(message) }
    }
}

/// Adds the names an act is about to the fields of its event.
pub(super) fn with_subject(mut fields: Fields, act: &Act) -> Fields {
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

/// What a body says.
pub(super) fn body<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| Problem::bad(format!("the body is not what this act takes: {error}")))
}

/// A reason as it is kept; empty where none is given.
pub(super) fn words(text: &str) -> Result<&str, Problem> {
    let text = text.trim();
    if text.chars().count() > REASON_MAX || text.chars().any(char::is_control) {
        return Err(Problem::bad(format!("reason: at most {REASON_MAX} characters on one line")));
    }
    Ok(text)
}

/// The reason of an act that needs one.
fn reason(text: Option<&str>) -> Result<String, Problem> {
    match words(text.unwrap_or_default())? {
        "" => Err(Problem::bad("say why: reason is needed, and stands in the log of acts")),
        text => Ok(text.to_owned()),
    }
}

/// A span in the words of the configuration; `None` where none is given.
pub(super) fn span(text: Option<&str>) -> Result<Option<Duration>, Problem> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_of_bounded_length_and_has_to_be_there() {
        assert_eq!(reason(Some("  moved\n")).ok().as_deref(), Some("moved"));
        for (text, says) in [
            (None, "say why"),
            (Some(" \n "), "say why"),
            (Some("moved\nnothing"), "one line"),
            (Some("\u{1b}[2J"), "one line"),
            (Some(&*"x".repeat(REASON_MAX + 1)), "at most 500"),
        ] {
            let problem = reason(text).expect_err("no reason");
            assert!(problem.detail.contains(says) && problem.status == 400, "{text:?}: {problem:?}");
        }
        assert!(reason(Some(&"ü".repeat(REASON_MAX))).is_ok(), "characters, not octets");
    }

    #[test]
    fn a_span_is_longer_than_nothing() {
        assert_eq!(span(Some("90m")).ok().flatten(), Some(Duration::from_secs(5_400)));
        assert_eq!(span(None).ok(), Some(None));
        assert!(span(Some("0s")).is_err() && span(Some("soon")).is_err() && span(Some("")).is_err());
    }
}
