//! Mail that waits because its tenant is held at its destination.
//!
//! Asked before the scheduler, which therefore spends nothing on it: no pick, no rate, no reservation, no attempt. A hold
//! of the whole tenant blocks its turn in the lane; a hold of one sender domain sets the single entry aside, so that the
//! tenant's other mail behind it goes on. Mail that waits when a hold begins is told when its turn comes; mail that waits
//! when a hold ends early is woken.

use std::collections::HashMap;

use super::super::index::{Block, LaneId, Place, SenderId, Waiting};
use super::Core;
use crate::clock::Now;
use crate::message::{Domain, EntryId};
use crate::reputation::holds::{Freed, Held, HoldKey};
use crate::scheduler::{DestinationId, TenantId, Verdict};

/// Sender domains by number, so that a waiting entry pays four octets for its own.
#[derive(Debug, Default)]
pub(super) struct Senders {
    names: Vec<Domain>,
    ids: HashMap<Domain, SenderId>,
}

impl Senders {
    pub(super) fn id(&mut self, domain: Option<Domain>) -> SenderId {
        let Some(domain) = domain else { return SenderId::NULL };
        if let Some(&id) = self.ids.get(&domain) {
            return id;
        }
        let id = SenderId(self.names.len() as u32);
        self.names.push(domain.clone());
        self.ids.insert(domain, id);
        id
    }

    fn name(&self, id: SenderId) -> Option<&Domain> {
        self.names.get(id.0 as usize)
    }
}

impl Core {
    /// Whether this mail is held, and until when.
    pub(super) fn held(&self, waiting: &Waiting, destination: DestinationId, now: Now) -> Option<Held> {
        self.reputation.holds().held(
            self.scheduler.tenant_name(waiting.tenant),
            self.senders.name(waiting.sender),
            self.scheduler.destination_name(destination),
            now.wall,
        )
    }

    /// Lets what is held wait: the tenant's turn in the lane, or this entry alone.
    pub(super) fn hold_back(&mut self, lane: LaneId, tenant: TenantId, id: EntryId, held: Held, now: Now) {
        let reason = reason();
        let wake = self.jittered(held.until, now);
        if held.whole_tenant {
            return self.index.block_tenant(lane, tenant, Block { until: Some(held.until), reason }, Some(wake));
        }
        self.index.take_head(lane, tenant, Place::Resolving);
        self.index.delay(id, wake, reason);
        self.index.again(lane);
    }

    /// An attempt for this mail begins; where a hold is being probed, it is the probe.
    pub(super) fn probes(&mut self, tenant: TenantId, sender: SenderId, destination: DestinationId, now: Now) {
        self.reputation.begins(
            self.scheduler.tenant_name(tenant),
            self.senders.name(sender),
            self.scheduler.destination_name(destination),
            now.wall,
        );
    }

    /// Lets go on what is not held any more.
    pub(super) fn wake_freed(&mut self, freed: Vec<Freed>, now: Now) {
        for freed in freed {
            let (Freed::All(key) | Freed::One(key)) = &freed;
            if key.sender_domain.is_none() {
                self.wake_all();
                continue;
            }
            let mut ids = self.set_aside_for(key);
            if matches!(freed, Freed::One(_)) {
                ids.truncate(1);
            }
            for id in ids {
                if let Some(domain) = self.index.get(id).map(|waiting| waiting.domain) {
                    self.route(id, domain, now);
                }
            }
        }
    }

    /// The entries, oldest first, that wait beside the lanes because of a hold of this tenant and sender domain, at whichever destination.
    /// Looks at all that waits: holds end rarely.
    fn set_aside_for(&self, key: &HoldKey) -> Vec<EntryId> {
        let Some(tenant) = self.scheduler.tenant_id(&key.tenant) else { return Vec::new() };
        let sender = key.sender_domain.as_ref().and_then(|domain| self.senders.ids.get(domain));
        let is_held = |place| matches!(place, Place::Delayed { reason, .. } if reason == self::reason());
        let all = self.index.iter();
        let mine = all.filter(|(_, w)| w.tenant == tenant && Some(&w.sender) == sender && is_held(w.place));
        let mut ids: Vec<EntryId> = mine.map(|(id, _)| id).collect();
        ids.sort_unstable();
        ids
    }
}

fn reason() -> &'static str {
    Verdict::TenantHeld { until: Default::default() }.as_str()
}
