//! What the meter is told: who was held or taken out, who is burnt, and whether volume moved away from the guilty.

use super::World;
use crate::clock::{Now, Wall};
use crate::message::{EntryId, Mailbox};
use crate::queue::core::Observed;
use crate::reputation::Subject;
use crate::scheduler::cap::Owner;
use crate::simulate::disk::{Seen, Stored};
use crate::simulate::internet::number_of;

/// Who it is to a receiver: the same recipient of the same message has the same number.
pub(super) fn recipient_number(id: EntryId, seen: &Seen, address: &Mailbox) -> u64 {
    id.0 << 16 | u64::from(number_of(address).wrapping_sub(seen.first) & 0xffff)
}

impl World {
    /// There are receivers of these names now.
    pub(super) fn name_groups(&mut self) {
        self.recorder.groups(self.internet.groups().len());
        self.meter.groups(self.internet.groups());
    }

    /// Recipients that are not refused whatever brings them.
    pub(super) fn wanted(&self, stored: &Stored) -> u64 {
        let Stored { entry, seen } = stored;
        let site = self.internet.site(seen.site);
        let numbers = entry.recipients.iter().map(|recipient| recipient_number(entry.id, seen, &recipient.address));
        numbers.filter(|number| !site.refuses_anyway(*number, &seen.quality)).count() as u64
    }

    pub(super) fn measure(&mut self, observed: &Observed, now: Wall) {
        for change in &observed.changes {
            let (name, to) = match &change.subject {
                Subject::Route(binding, destination) => (binding, Some(destination)),
                Subject::Binding(binding) => (binding, None),
            };
            let site = to.and_then(|to| self.internet.site_to(to));
            let address = self.config.bindings.iter().find(|b| b.name == *name).map(|b| b.public_address);
            let is_doubted = address.is_some_and(|address| {
                let doubts = match site {
                    Some(site) => site.doubts(address, now),
                    None => self.internet.sites().iter().any(|site| site.doubts(address, now)),
                };
                doubts || self.watcher.has_caught(address, now)
            });
            let group = site.map(|site| site.group);
            self.meter.changed(change, group, is_doubted, now);
        }
        // What is only watched holds nothing, whatever it tells.
        for change in observed.holds.iter().filter(|_| !self.policy.is_baseline()) {
            self.recorder.held(change, now);
            let tenant = self.config.tenants.iter().position(|tenant| tenant.name == change.key.tenant);
            if let Some(tenant) = tenant {
                self.meter.held(change, tenant, now);
            }
        }
    }

    /// Blocks and listings last for hours, so that a look every hour misses none.
    pub(super) fn look_for_burnt(&mut self, now: Wall) {
        for (n, binding) in self.config.bindings.iter().enumerate() {
            let address = binding.public_address;
            for site in self.internet.sites().iter().filter(|site| site.has_blocked(address, now)) {
                self.meter.burnt(n, Some(site.group), now);
            }
            if self.watcher.has_caught(address, now) {
                self.meter.burnt(n, None, now);
            }
        }
    }

    pub(super) fn look_at_volumes(&mut self, now: Now) {
        if !self.meter.is_due(now.wall) {
            return;
        }
        let usage = self.core.scheduler().usage(now);
        let is_full = |n: usize| {
            let name = &self.config.bindings[n].name;
            let own = usage.iter().find(|of| matches!(&of.owner, Owner::Binding(binding) if binding == name));
            own.is_some_and(|of| of.limit.is_some_and(|limit| of.used + of.reserved >= limit))
        };
        self.meter.look(is_full, now.wall);
    }
}
