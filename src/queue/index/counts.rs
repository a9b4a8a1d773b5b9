//! How much waits, in all and of each pool and tenant: counted as it comes and goes, so that nobody has to walk for it.

use std::collections::HashMap;

use super::Waiting;
use crate::scheduler::{PoolId, TenantId};

/// What of an entry is counted.
pub(super) type Counted = (PoolId, TenantId, u32);

/// Entries and recipients that wait or are in flight.
#[derive(Debug, Default)]
pub(super) struct Counts {
    recipients: u64,
    by_owner: HashMap<(PoolId, TenantId), (u64, u64)>,
}

/// What of an entry is counted.
pub(super) fn counted(waiting: &Waiting) -> Counted {
    (waiting.pool, waiting.tenant, waiting.recipients)
}

impl Counts {
    pub(super) fn enter(&mut self, (pool, tenant, recipients): Counted) {
        let recipients = u64::from(recipients);
        self.recipients += recipients;
        let (entries, sum) = self.by_owner.entry((pool, tenant)).or_default();
        (*entries, *sum) = (*entries + 1, *sum + recipients);
    }

    /// Of what has entered.
    pub(super) fn leave(&mut self, (pool, tenant, recipients): Counted) {
        let recipients = u64::from(recipients);
        self.recipients -= recipients;
        let Some((entries, sum)) = self.by_owner.get_mut(&(pool, tenant)) else { return };
        (*entries, *sum) = (*entries - 1, *sum - recipients);
        if *entries == 0 {
            self.by_owner.remove(&(pool, tenant));
        }
    }

    pub(super) fn recipients(&self) -> u64 {
        self.recipients
    }

    /// Those of which anything is there, in no order.
    pub(super) fn by_owner(&self) -> impl Iterator<Item = ((PoolId, TenantId), (u64, u64))> {
        self.by_owner.iter().map(|(owner, counts)| (*owner, *counts))
    }
}
