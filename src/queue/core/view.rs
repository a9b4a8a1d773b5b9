//! The queue as people see it.

use super::Core;
use crate::clock::Wall;
use crate::message::EntryId;
use crate::queue::index::{DomainId, Waiting};
use crate::scheduler::DestinationId;

/// One waiting entry as the queue listing shows it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct QueueView {
    /// Entry, as printed everywhere.
    pub id: String,
    /// Its pool.
    pub pool: String,
    /// Its tenant.
    pub tenant: String,
    /// Its recipients' domain.
    pub domain: String,
    /// The destination, once known.
    pub destination: Option<String>,
    /// Recipients that wait.
    pub recipients: u32,
    /// Attempts made.
    pub attempts: u32,
    /// When it was accepted.
    #[serde(with = "crate::clock::rfc3339")]
    pub arrived: Wall,
    /// Why it does not move: a verdict's text, `retry`, `dns`, `slots` (its tenant or destination holds its share of the
    /// attempts under way), `resolving`, `in_flight` or `ready`.
    pub reason: &'static str,
    /// When it may move by itself.
    #[serde(with = "crate::clock::rfc3339::option")]
    pub next_at: Option<Wall>,
}

impl Core {
    /// One entry as the queue listing shows it.
    pub fn view(&self, id: EntryId) -> Option<QueueView> {
        let waiting = self.index.get(id)?;
        let (domain, state) = &self.domains[waiting.domain];
        let (reason, next_at) = self.index.why(waiting);
        Some(QueueView {
            id: id.to_string(),
            pool: self.scheduler.pool_name(waiting.pool).to_string(),
            tenant: self.scheduler.tenant_name(waiting.tenant).to_string(),
            domain: domain.to_string(),
            destination: state.plan.as_ref().map(|(plan, ..)| plan.destination.to_string()),
            recipients: waiting.recipients,
            attempts: waiting.attempts,
            arrived: waiting.arrived,
            reason,
            next_at,
        })
    }

    /// The destination of a waiting entry, or its recipient domain while that is unknown; by number, for grouping.
    pub fn where_to(&self, waiting: &Waiting) -> Result<DestinationId, DomainId> {
        let (_, state) = &self.domains[waiting.domain];
        state.plan.as_ref().map(|(_, destination, _)| *destination).ok_or(waiting.domain)
    }

    /// The name of what [`Core::where_to`] gave.
    pub fn name_of(&self, place: Result<DestinationId, DomainId>) -> String {
        match place {
            Ok(destination) => self.scheduler.destination_name(destination).to_string(),
            Err(domain) => self.domains[domain].0.to_string(),
        }
    }
}
