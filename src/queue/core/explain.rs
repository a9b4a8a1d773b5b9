//! Why a message goes or waits: each binding of its pool with its verdict, for one that waits or one that might come.
//!
//! Nothing is spent and nothing is moved by asking: a message that is not there is asked about with the request it would
//! make, and a destination never heard of is forgotten again.

use super::lanes::request;
use super::{Core, Waiting};
use crate::clock::{Now, Wall};
use crate::delivery::plan::MxPlan;
use crate::message::{
    BindingName, DestinationName, Domain, EntryId, MessageId, PoolName, ProviderName, StreamName, TenantName,
};
use crate::reputation::holds::Mail;
use crate::scheduler::{BindingId, CoverId, DestinationId, Families, PoolId, Prediction, Request, Verdict};

/// The answer.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The entry and its message; `None` for one that might come.
    pub entry: Option<(EntryId, MessageId)>,
    /// Whose mail.
    pub tenant: TenantName,
    /// From which pool.
    pub pool: PoolName,
    /// The recipients' domain.
    pub domain: Domain,
    /// Where that leads; `None` while it is being looked up.
    pub destination: Option<DestinationName>,
    /// The provider it is, if it is one.
    pub provider: Option<ProviderName>,
    /// Recipients that wait.
    pub recipients: u32,
    /// Attempts made.
    pub attempts: u32,
    /// When it is given up.
    pub expires: Option<Wall>,
    /// Why it does not move at this moment (a verdict's text, `retry`, `dns`, `resolving`, `in_flight`, `ready`), and until
    /// when.
    pub waits: Option<(&'static str, Option<Wall>)>,
    /// Every binding of the pool, tier by tier in the order of the configuration; empty while the destination is unknown.
    pub bindings: Vec<Said>,
}

/// What one binding says.
#[derive(Clone, Debug)]
pub struct Said {
    /// Which.
    pub binding: BindingName,
    /// Its tier in the pool; 0 is active.
    pub tier: usize,
    /// Whether it may carry the message now, or why not.
    pub verdict: Verdict,
    /// Recipients that its caps and allowances leave today; `None` without any.
    pub left_today: Option<u64>,
    /// What is expected of the next mail there; `None` where no pool follows reputation.
    pub predicted: Option<Prediction>,
}

/// A message that might come.
#[derive(Clone, Debug)]
pub struct Supposed<'a> {
    /// Whose.
    pub tenant: &'a TenantName,
    /// From which pool.
    pub pool: &'a PoolName,
    /// Of which stream.
    pub stream: &'a StreamName,
    /// Whether that is one with engaged recipients.
    pub engaged: bool,
    /// Domain of its sender, where holds are to be asked as well.
    pub sender_domain: Option<&'a Domain>,
    /// The recipients' domain.
    pub domain: &'a Domain,
    /// Where that leads.
    pub plan: &'a MxPlan,
    /// How many.
    pub recipients: u32,
}

impl Core {
    /// Why an entry goes or waits; `None` when it is not in the queue.
    pub fn explanation(&self, id: EntryId, now: Now) -> Option<Explanation> {
        let waiting = self.index.get(id)?;
        let (domain, state) = &self.domains[waiting.domain];
        let plan = state.plan.as_ref();
        let mut explanation = Explanation {
            entry: Some((id, waiting.message)),
            tenant: self.scheduler.tenant_name(waiting.tenant).clone(),
            pool: self.scheduler.pool_name(waiting.pool).clone(),
            domain: domain.clone(),
            destination: plan.map(|(plan, ..)| plan.destination.clone()),
            provider: plan.and_then(|(plan, ..)| plan.provider.clone()),
            recipients: waiting.recipients,
            attempts: waiting.attempts,
            expires: Some(waiting.expires),
            waits: Some(self.index.why(waiting)),
            bindings: Vec::new(),
        };
        if let Some((plan, destination, _)) = plan {
            let region = self.scheduler.region_of(waiting.tenant, *destination, domain);
            let cover = self.cover_of(waiting.tenant, waiting.sender);
            let verdicts = self.scheduler.explain(&request(waiting, *destination, plan, region, cover), now);
            explanation.bindings =
                self.said(waiting.pool, *destination, verdicts, self.kept_back(waiting, *destination, now), now);
        }
        Some(explanation)
    }

    /// What would be said of a message that might come; `None` when its tenant or pool is not configured.
    pub fn suppose(&mut self, supposed: &Supposed<'_>, now: Now) -> Option<Explanation> {
        let (pool, tenant) = (self.scheduler.pool_id(supposed.pool)?, self.scheduler.tenant_id(supposed.tenant)?);
        self.scheduler.tick(now);
        let Supposed { plan, .. } = supposed;
        let is_known = self.scheduler.destination_id(&plan.destination).is_some();
        let destination = self.scheduler.destination(&plan.destination, plan.provider.as_ref());
        let request = Request {
            pool,
            destination,
            tenant,
            recipients: supposed.recipients,
            families: plan.families().map_or(Families { v4: true, v6: true }, |(v4, v6)| Families { v4, v6 }),
            sticky: None,
            excluded: &[],
            engaged: supposed.engaged,
            region: self.scheduler.region_of(tenant, destination, supposed.domain),
            cover: supposed.sender_domain.map_or(CoverId::NONE, |domain| self.cover_of_domain(tenant, domain)),
        };
        let verdicts = self.scheduler.explain(&request, now);
        let holds = self.reputation.holds();
        let mail = Mail {
            tenant: supposed.tenant,
            stream: Some(supposed.stream),
            sender_domain: supposed.sender_domain,
            destination: &plan.destination,
            message: MessageId(0),
        };
        let held = self.held_verdict(tenant, holds.held(mail, now.wall));
        let bindings = self.said(pool, destination, verdicts, held, now);
        if !is_known {
            self.scheduler.forget_destination(destination);
        }
        Some(Explanation {
            entry: None,
            tenant: supposed.tenant.clone(),
            pool: supposed.pool.clone(),
            domain: supposed.domain.clone(),
            destination: Some(plan.destination.clone()),
            provider: plan.provider.clone(),
            recipients: supposed.recipients,
            attempts: 0,
            expires: None,
            waits: None,
            bindings,
        })
    }

    fn kept_back(&self, waiting: &Waiting, destination: DestinationId, now: Now) -> Option<Verdict> {
        self.held_verdict(waiting.tenant, self.held(waiting, destination, now))
    }

    fn said(
        &self,
        pool: PoolId,
        destination: DestinationId,
        verdicts: Vec<(BindingId, Verdict)>,
        held: Option<Verdict>,
        now: Now,
    ) -> Vec<Said> {
        let said = |(id, verdict): (BindingId, Verdict)| Said {
            binding: self.scheduler.binding_name(id).clone(),
            tier: self.scheduler.tier_of(pool, id).unwrap_or(0),
            // Asked before the bindings, whatever they would say.
            verdict: held.clone().unwrap_or(verdict),
            left_today: self.scheduler.left_today(id, destination),
            predicted: self.scheduler.predicted(id, destination, now),
        };
        verdicts.into_iter().map(said).collect()
    }
}
