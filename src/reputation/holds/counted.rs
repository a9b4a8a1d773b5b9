//! Refusals that may become a hold, and the penalties of holds that have ended.
//!
//! Sender domains and destinations are the tenant's own choice, so each tenant has its own [`COUNTED_MAX`] places: whoever
//! fills them only loses the oldest of its own counts.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::HoldKey;
use crate::clock::Wall;
use crate::message::{MessageId, TenantName};

/// Keys of one tenant that are counted at the same time.
pub(super) const COUNTED_MAX: usize = 1_000;

#[derive(Debug, Default)]
struct Seen {
    /// Refused within the window, with none accepted between them.
    messages: VecDeque<(MessageId, Wall)>,
    /// Times in a row of the hold that ended.
    times: u32,
    /// The last refusal, or the end of that hold.
    last: Wall,
}

/// What is counted, by tenant.
#[derive(Debug, Default)]
pub(super) struct Counted {
    tenants: HashMap<TenantName, HashMap<HoldKey, Seen>>,
}

impl Counted {
    pub(super) fn is_empty(&self) -> bool {
        self.tenants.is_empty()
    }

    /// Counts a refusal of `message`. With the `count`-th message the counting is over: then how many times in a row this
    /// makes it.
    pub(super) fn refused(
        &mut self,
        key: &HoldKey,
        message: MessageId,
        count: u32,
        window: Duration,
        now: Wall,
    ) -> Option<u32> {
        let own = self.make_room(key, window, now);
        let seen = own.entry(key.clone()).or_default();
        if now.since(seen.last) >= window {
            *seen = Seen::default();
        }
        seen.last = now;
        seen.messages.retain(|&(_, at)| now.since(at) < window);
        if !seen.messages.iter().any(|(known, _)| *known == message) {
            seen.messages.push_back((message, now));
        }
        if seen.messages.len() < count.max(1) as usize {
            return None;
        }
        own.remove(key).map(|seen| seen.times.saturating_add(1))
    }

    /// Mail of `key` was accepted: its refusals are no row. Its penalty stays.
    pub(super) fn accepted(&mut self, key: &HoldKey) {
        let Some(own) = self.tenants.get_mut(&key.tenant) else { return };
        if let Some(seen) = own.get_mut(key) {
            seen.messages.clear();
            if seen.times == 0 {
                own.remove(key);
            }
        }
        if own.is_empty() {
            self.tenants.remove(&key.tenant);
        }
    }

    /// A hold has ended, the `times`-th in a row.
    pub(super) fn remember(&mut self, key: &HoldKey, times: u32, now: Wall) {
        if times > 0 {
            let seen = Seen { messages: VecDeque::new(), times, last: now };
            self.make_room(key, Duration::MAX, now).insert(key.clone(), seen);
        }
    }

    /// The tenant's counts, with a place for `key`.
    fn make_room(&mut self, key: &HoldKey, window: Duration, now: Wall) -> &mut HashMap<HoldKey, Seen> {
        let own = self.tenants.entry(key.tenant.clone()).or_default();
        if own.len() >= COUNTED_MAX && !own.contains_key(key) {
            own.retain(|_, seen| now.since(seen.last) < window);
            let oldest = own.iter().min_by_key(|(_, seen)| seen.last).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest.filter(|_| own.len() >= COUNTED_MAX) {
                own.remove(&oldest);
            }
        }
        own
    }

    /// Forgets what of the tenant's is meant.
    pub(super) fn forget(&mut self, tenant: &TenantName, is_meant: impl Fn(&HoldKey) -> bool) {
        if let Some(own) = self.tenants.get_mut(tenant) {
            own.retain(|key, _| !is_meant(key));
        }
    }

    /// Forgets what no longer counts.
    pub(super) fn sweep(&mut self, window: Duration, now: Wall) {
        self.tenants.retain(|_, own| {
            own.retain(|_, seen| now.since(seen.last) < window);
            !own.is_empty()
        });
    }

    /// Places taken by a tenant.
    #[cfg(test)]
    pub(super) fn len(&self, tenant: &str) -> usize {
        self.tenants.get(tenant).map_or(0, HashMap::len)
    }

    /// The clock was set back to `now`: nothing was seen later.
    pub(super) fn set_back(&mut self, now: Wall) {
        for seen in self.tenants.values_mut().flat_map(HashMap::values_mut) {
            seen.last = seen.last.min(now);
            seen.messages.iter_mut().for_each(|(_, at)| *at = (*at).min(now));
        }
    }
}
