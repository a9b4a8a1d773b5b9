//! What of a list goes on when the configuration changes how it is asked.

use std::sync::Arc;

use super::Dnsbl;
use crate::config::Zone;

impl Dnsbl {
    /// In the place of `old`, whose account it goes on with.
    pub(in crate::monitor) fn after(self, old: &Self) -> Self {
        Self { account: Arc::clone(&old.account), ..self }
    }

    /// Whether there is nothing in which it differs from `other`.
    pub(in crate::monitor) fn is_as(&self, other: &Self) -> bool {
        let second = |of: &Self| of.second.iter().flat_map(|second| second.servers()).collect::<Vec<_>>();
        self.zone == other.zone
            && self.key == other.key
            && (self.timeout, self.fresh_for) == (other.timeout, other.fresh_for)
            && self.asker.servers().eq(other.asker.servers())
            && second(self) == second(other)
    }

    /// Whether the same is asked of the same servers: what was found out of the list's health holds.
    pub(in crate::monitor) fn has_source_of(&self, other: &Self) -> bool {
        let of = |zone: &Zone| {
            let Zone { zone, kind, positive_probe, negative_probe, random_probe, .. } = zone.clone();
            (zone, kind, positive_probe, negative_probe, random_probe)
        };
        of(&self.zone) == of(&other.zone) && self.asker.servers().eq(other.asker.servers())
    }

    /// There are `subjects` to ask about now: the budget follows.
    pub(in crate::monitor) fn resize(&self, subjects: usize) {
        let round = self.zone.questions(subjects);
        self.account.follow(self.zone.queries_per_day, round, self.clock.now().mono);
    }
}
