//! One event for each act: who, what, on what, why, and what came of it.

use super::Sources;
use super::auth::Actor;
use crate::telemetry::events::Kind;

impl Sources {
    /// Notes an act of `actor`. `fields` are names with words: what it was done to, the reason, until when, how many.
    pub(super) async fn audit(&self, actor: &Actor, act: &str, fields: Vec<(&'static str, String)>) {
        let who = [("actor", actor.name.clone()), ("act", act.to_owned())];
        let now = self.dispatcher.now().wall;
        tracing::info!(actor = actor.name.as_str(), act, ?fields, "an operator acts");
        self.dispatcher.events().note(Kind::Audit, who.into_iter().chain(fields), now);
    }
}
