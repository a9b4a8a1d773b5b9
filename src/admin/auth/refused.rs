//! Somebody who was not let, and who hears of it: the log, a counter, and the events where that is news.

use std::net::IpAddr;
use std::time::Duration;

use super::{Actor, Role};
use crate::admin::Sources;
use crate::admin::problem::Problem;
use crate::telemetry::events::Kind;

/// Why somebody was not let.
#[derive(Debug)]
pub(in crate::admin) struct Refused {
    problem: Box<Problem>,
    /// What the counter calls it; nothing where nobody was wrong, only not known yet.
    reason: Option<&'static str>,
    /// What an event would say, where it is worth one.
    event: Option<Vec<(&'static str, String)>>,
}

impl Refused {
    /// Nobody has to hear of it but who asked.
    pub(super) fn quietly(problem: Problem) -> Self {
        Self { problem: Box::new(problem), reason: None, event: None }
    }

    pub(super) fn too_many(wait: Duration) -> Self {
        // Rounded up: who comes back then is heard.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let words = format!("too many wrong tokens from this address: try again in {seconds} s");
        Self { problem: Box::new(Problem::too_many(words, seconds)), reason: Some("rate"), event: None }
    }

    pub(super) fn wrong_token(client: Option<IpAddr>, is_news: bool) -> Self {
        let problem = Problem::unauthorised("nobody is known by this token");
        let client = client.map_or_else(|| "unknown".to_owned(), |client| client.to_canonical().to_string());
        let fields = vec![
            ("actor", "unknown".to_owned()),
            ("act", "sign-in.refused".to_owned()),
            ("client", client),
            ("reason", "a wrong token".to_owned()),
        ];
        Self { problem: Box::new(problem), reason: Some("token"), event: is_news.then_some(fields) }
    }

    pub(super) fn role(actor: &Actor, needed: Role) -> Self {
        let (has, needs) = (actor.role.as_str(), needed.as_str());
        let problem = Problem::forbidden(format!("token {} has role {has}; this needs {needs}", actor.name));
        Self { problem: Box::new(problem), reason: Some("role"), event: None }
    }

    pub(super) fn origin(words: &str) -> Self {
        Self { problem: Box::new(Problem::forbidden(words)), reason: Some("origin"), event: None }
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> u16 {
        self.problem.status
    }

    /// Lets those hear of it who should; what to answer.
    pub(in crate::admin) fn told(self, sources: &Sources) -> Problem {
        if let Some(reason) = self.reason {
            sources.dispatcher.metrics().admin.refused.with_label_values(&[reason]).inc();
            tracing::debug!(reason, detail = self.problem.detail.as_str(), "a request was refused");
        }
        if let Some(fields) = self.event {
            let client = fields.iter().find(|(name, _)| *name == "client").map(|(_, client)| client.as_str());
            tracing::warn!(client, "somebody brought a wrong token");
            sources.dispatcher.events().note(Kind::Access, fields, sources.dispatcher.now().wall);
        }
        *self.problem
    }
}
