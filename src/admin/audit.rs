//! One event for each act: who, what, on what, why, and what came of it.
//!
//! The event is on disk before the answer goes out. Where that fails the act is done all the same, and the answer says
//! so in the header [`UNWRITTEN`]: [`noticing`] goes round every handler and puts it there.

use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use super::Sources;
use super::auth::Actor;
use crate::telemetry::events::Kind;
use crate::telemetry::journal;

/// Header of an answer whose act could not be written down: `not-written`.
pub const UNWRITTEN: HeaderName = HeaderName::from_static("remuda-audit");

tokio::task_local! {
    /// Whether an event of the request in hand could not be written.
    static NOT_WRITTEN: AtomicBool;
}

impl Sources {
    /// Notes an act of `actor`, and returns when that is on disk (or cannot be: see the module). `fields` are names with
    /// words: what it was done to, the reason, until when, how many.
    pub(super) async fn audit(&self, actor: &Actor, act: &str, fields: Vec<(&'static str, String)>) {
        self.record(Kind::Audit, actor, act, fields).await;
    }

    /// The same for somebody who came or went: of those there may be many, and they push out no act.
    pub(super) async fn came(&self, actor: &Actor, act: &str, fields: Vec<(&'static str, String)>) {
        self.record(Kind::Access, actor, act, fields).await;
    }

    async fn record(&self, kind: Kind, actor: &Actor, act: &str, fields: Vec<(&'static str, String)>) {
        let who = [("actor", actor.name.clone()), ("act", act.to_owned())];
        let now = self.dispatcher.now().wall;
        tracing::info!(actor = actor.name.as_str(), act, ?fields, "an operator acts");
        self.dispatcher.events().note(kind, who.into_iter().chain(fields), now);
        if let Err(error) = journal::write(self.dispatcher.events(), &self.committer).await {
            tracing::error!(%error, act, "what an operator did is not written down yet");
            // Outside of a request nobody waits for an answer.
            let _ = NOT_WRITTEN.try_with(|not_written| not_written.store(true, Ordering::Relaxed));
        }
    }
}

/// Goes round a handler and says in its answer where what it did could not be written down.
pub(super) async fn noticing(request: Request, next: Next) -> Response {
    let answer = async {
        let mut answer = next.run(request).await;
        if NOT_WRITTEN.with(|not_written| not_written.load(Ordering::Relaxed)) {
            answer.headers_mut().insert(UNWRITTEN, HeaderValue::from_static("not-written"));
        }
        answer
    };
    NOT_WRITTEN.scope(AtomicBool::new(false), answer).await
}
