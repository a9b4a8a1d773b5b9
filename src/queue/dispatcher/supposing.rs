//! What would be said of a message that might come.

use super::Dispatcher;
use crate::delivery::plan::NoPlan;
use crate::message::{Domain, PoolName, StreamName, TenantName};
use crate::queue::core::explain::{Explanation, Supposed};

/// A message that might come, for [`Dispatcher::suppose`].
#[derive(Clone, Debug)]
pub struct Supposing {
    /// Whose.
    pub tenant: TenantName,
    /// From which pool.
    pub pool: PoolName,
    /// Of which stream.
    pub stream: StreamName,
    /// Whether that is one with engaged recipients.
    pub engaged: bool,
    /// Domain of its sender, where holds are to be asked as well.
    pub sender_domain: Option<Domain>,
    /// The recipients' domain.
    pub domain: Domain,
    /// How many.
    pub recipients: u32,
}

impl Dispatcher {
    /// What would be said of a message that might come; see [`Core::suppose`](crate::queue::core::Core::suppose). Looks up where its recipients' domain leads.
    ///
    /// # Errors
    /// In words: the domain takes no mail, or cannot be looked up; no such tenant or pool.
    pub async fn suppose(&self, of: Supposing) -> Result<Explanation, String> {
        let plan = self.resolver.plan(&of.domain).await.map_err(|why| match why {
            NoPlan::Permanent { enhanced, text } => format!("{} takes no mail: {enhanced} {text}", of.domain),
            NoPlan::Temporary { text } => format!("{} cannot be looked up now: {text}", of.domain),
        })?;
        let supposed = Supposed {
            tenant: &of.tenant,
            pool: &of.pool,
            stream: &of.stream,
            engaged: of.engaged,
            sender_domain: of.sender_domain.as_ref(),
            domain: &of.domain,
            plan: &plan,
            recipients: of.recipients,
        };
        let explained = self.core.lock().suppose(&supposed, self.clock.now());
        explained.ok_or_else(|| format!("no pool {} or no tenant {} is configured", of.pool, of.tenant))
    }
}
