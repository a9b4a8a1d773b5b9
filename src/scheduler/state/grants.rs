//! Grants of the caps on their way to disk and back, and how much of the caps is used.

use super::Scheduler;
use crate::clock::{Now, Wall};
use crate::message::DestinationName;
use crate::scheduler::cap::{Account, AccountId, GrantRequest, Ledger, Owner};

/// One key of the ledger, for metrics and status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapUsage {
    /// Whose cap.
    pub owner: Owner,
    /// Recipients that may be accepted today; `None` without a cap (warm-up included).
    pub limit: Option<u64>,
    /// Accepted today.
    pub used: u64,
    /// Held by attempts under way.
    pub reserved: u64,
    /// Durably granted for today.
    pub granted: u64,
    /// Start of the next day.
    pub resets_at: Wall,
}

impl Scheduler {
    /// Grants that must be on disk before they are spent; each is handed out once. Answer with
    /// [`grant_durable`](Self::grant_durable) or [`grant_failed`](Self::grant_failed). Look after every `select` and
    /// `settle`.
    pub fn take_grant_requests(&mut self) -> Vec<GrantRequest> {
        self.ledger.take_requests()
    }

    /// A grant is on disk. A shared store that had less passes the request with what it gave. Returns whose it was, where
    /// it was waited for.
    pub fn grant_durable(&mut self, grant: &GrantRequest, now: Now) -> Option<Owner> {
        let account = self.ledger.granted(grant)?;
        self.refresh_owner(account, now);
        self.ledger.account(account).owner().cloned()
    }

    /// A grant could not be written. It is asked for again, a second later, by the first selection that needs it. Returns
    /// whose it was, where it was waited for.
    pub fn grant_failed(&mut self, request: &GrantRequest, now: Now) -> Option<Owner> {
        let account = self.ledger.failed(request, now.wall)?;
        self.refresh_owner(account, now);
        self.ledger.account(account).owner().cloned()
    }

    pub(in crate::scheduler) fn refresh_owner(&mut self, account: AccountId, now: Now) {
        match self.ledger.account(account).owner() {
            Some(Owner::Binding(name)) => {
                if let Some(&id) = self.binding_ids.get(name) {
                    self.refresh(id, now);
                }
            }
            Some(Owner::Route(name, provider)) => {
                let destination = self.destination_ids.get(&DestinationName::new(provider.as_str()));
                if let (Some(&id), Some(&destination)) = (self.binding_ids.get(name), destination) {
                    self.refresh_route(id, destination, now);
                }
            }
            _ => {}
        }
    }

    /// Grants reduced to what is used and held. Written as the last act of a clean stop they give unspent allowance
    /// back; nothing may be selected afterwards.
    pub fn final_grants(&self) -> Vec<GrantRequest> {
        self.ledger.exact()
    }

    /// The count of every key: bindings, tenants, routes that were used towards a provider, and tenants' caps towards one.
    pub fn usage(&self, _now: Now) -> Vec<CapUsage> {
        let resets_at = self.ledger.day().end;
        let usage = |account: &Account| {
            let is_capped = account.limit() != Ledger::UNLIMITED;
            if !is_capped && matches!(account.owner()?, Owner::TenantRoute(..)) {
                return None;
            }
            Some(CapUsage {
                owner: account.owner()?.clone(),
                limit: is_capped.then_some(account.limit()),
                used: account.used(),
                reserved: account.reserved(),
                granted: account.granted(),
                resets_at,
            })
        };
        self.ledger.accounts().filter_map(usage).collect()
    }
}
