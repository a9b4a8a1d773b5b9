//! What the scenario brings about: blocks, outages, listings, bad lists, floods of mail, a kill.

use rand::Rng;

use super::super::agenda::Event;
use super::super::receiver::Held;
use super::super::scenario::Happening;
use super::World;
use crate::clock::Now;
use crate::message::{BindingName, ProviderName};
use crate::queue::core::Core;
use crate::reputation::Evidence;

impl World {
    pub(super) fn begins(&mut self, n: usize, now: Now) {
        let event = self.scenario.events[n].clone();
        match event.what {
            Happening::Suspend { binding } => {
                let reason = "as the scenario says".to_owned();
                self.observe(&Evidence::OperatorSuspend { binding, destination: None, reason, span: event.lasts }, now);
            }
            Happening::Crash => self.crash(now),
            what => self.turn(&what, true, now),
        }
    }

    pub(super) fn ends(&mut self, n: usize, now: Now) {
        let what = self.scenario.events[n].what.clone();
        self.turn(&what, false, now);
    }

    /// Switches a happening on or off.
    fn turn(&mut self, what: &Happening, on: bool, now: Now) {
        match what {
            Happening::Block { receiver, bindings } => {
                let own = self.config.bindings.iter().filter(|binding| bindings.contains(&binding.name));
                let addresses: Vec<_> = own.map(|binding| binding.public_address).collect();
                for receiver in self.internet.models(receiver.as_str()) {
                    addresses.iter().for_each(|address| receiver.force_block(*address, on));
                }
            }
            Happening::Range { receiver, bindings } => {
                let own = self.config.bindings.iter().filter(|binding| bindings.contains(&binding.name));
                let addresses: Vec<_> = own.map(|binding| binding.public_address).collect();
                for receiver in self.internet.models(receiver.as_str()) {
                    addresses.iter().for_each(|address| receiver.force_range(*address, on));
                }
            }
            Happening::Sour { binding, receivers, reputation } => {
                let ceiling = if on { *reputation } else { Held::NOT.ceiling };
                self.hold(binding, receivers, now, |held| Held { ceiling, ..held });
            }
            Happening::Decline { binding, receiver, per_day } => {
                let fall_per_day = if on { *per_day } else { Held::NOT.fall_per_day };
                self.hold(binding, std::slice::from_ref(receiver), now, |held| Held { fall_per_day, ..held });
            }
            Happening::Outage { receiver, how } => {
                let how = on.then_some(*how);
                self.internet.models(receiver.as_str()).for_each(|receiver| receiver.set_outage(how));
            }
            Happening::Dies { zone, how, receivers_believe } => {
                self.watcher.die(zone, on.then_some((*how, *receivers_believe)));
                self.tell_receivers_of_listings(now);
            }
            Happening::Listing { zone, bindings } => {
                self.watcher.force(zone, bindings, on);
                self.tell_receivers_of_listings(now);
            }
            Happening::Quality { tenant, quality } => {
                for source in self.sources.iter_mut().filter(|source| source.model().tenant == *tenant) {
                    source.quality = if on { *quality } else { source.model().quality };
                }
            }
            Happening::Volume { tenant, factor } => {
                for source in self.sources.iter_mut().filter(|source| source.model().tenant == *tenant) {
                    source.factor = if on { *factor } else { 1.0 };
                }
            }
            // Its end is the span it was told with, and a kill has none.
            Happening::Suspend { .. } | Happening::Crash => {}
        }
    }

    /// Presses on a binding's reputation at these receivers, or at all where none is named.
    fn hold(&mut self, binding: &BindingName, receivers: &[ProviderName], now: Now, change: impl Fn(Held) -> Held) {
        let own = self.config.bindings.iter().find(|own| own.name == *binding);
        let Some(address) = own.map(|own| own.public_address) else { return };
        let all: Vec<&str> = self.scenario.receivers.keys().map(String::as_str).collect();
        let named: Vec<&str> = receivers.iter().map(ProviderName::as_str).collect();
        for name in if named.is_empty() { all } else { named } {
            for receiver in self.internet.models(name) {
                receiver.hold(address, change(receiver.held(address)), now.wall);
            }
        }
    }

    pub(super) fn observe(&mut self, evidence: &Evidence, now: Now) {
        let observed = self.core.observe(evidence, now);
        self.observed(observed, now.wall);
    }

    /// Kill -9: memory is gone, the disk is what is left. What was being written is there or not.
    pub fn crash(&mut self, now: Now) {
        for grants in self.agenda.crash() {
            if self.random.random_bool(0.5) {
                grants.iter().for_each(|grant| self.disk.grant(grant));
            }
        }
        self.lose_flights(now.wall);
        let seed = self.random.random();
        let (core, unreadable) = Core::new(&self.config, &self.disk.grants(), &self.disk.facts(), seed, now);
        for fact in unreadable {
            self.invariants.add("evidence", now.wall, || format!("a fact could not be read back: {fact}"));
        }
        self.core = core;
        self.invariants.crashed(&self.disk);
        for id in self.disk.ids() {
            let Some(stored) = self.disk.get(id) else { continue };
            if !self.core.enqueue(&stored.entry, now) {
                self.invariants.add("once", now.wall, || format!("{id} was not taken back into the queue"));
            }
        }
        let reputation = self.core.reputation();
        self.watcher.restart(|binding| reputation.listings(binding), now.wall);
        if self.watcher.has_pending() {
            self.agenda.plan(now.wall.plus(self.config.monitor.confirm_after), Event::Confirm);
        }
    }

    pub(super) fn round(&mut self, now: Now) {
        self.tell_receivers_of_listings(now);
        let evidence = self.watcher.round(now.wall);
        evidence.iter().for_each(|evidence| self.observe(evidence, now));
        self.confirm_later(now);
        self.agenda.plan(now.wall.plus(self.config.monitor.interval), Event::Round);
    }

    pub(super) fn confirm(&mut self, now: Now) {
        let evidence = self.watcher.confirm(now.wall);
        evidence.iter().for_each(|evidence| self.observe(evidence, now));
        self.confirm_later(now);
    }

    fn confirm_later(&mut self, now: Now) {
        if self.watcher.has_pending() {
            self.agenda.plan(now.wall.plus(self.config.monitor.confirm_after), Event::Confirm);
        }
    }

    /// Receivers that ask a list hear of what it lists.
    fn tell_receivers_of_listings(&mut self, now: Now) {
        let listed = self.watcher.listed(now.wall);
        let (before, all) = (std::mem::replace(&mut self.listed, listed.clone()), listed);
        for (name, model) in &self.scenario.receivers {
            let asks = |(zone, _): &&(_, std::net::IpAddr)| model.asks.contains(zone);
            for receiver in self.internet.models(name) {
                for (_, address) in before.iter().filter(asks).filter(|there| !all.contains(there)) {
                    receiver.set_listed(*address, false);
                }
                for (_, address) in all.iter().filter(asks) {
                    receiver.set_listed(*address, true);
                }
            }
        }
    }

    /// Complaints that receivers tell of reach reputation where reports are taken.
    pub(super) fn complaints(&mut self, now: Now) {
        for (site, told) in self.internet.complaints(now.wall) {
            let by_address = self.config.bindings.iter().find(|binding| binding.public_address == told.address);
            let tenant = self.config.tenants.get(told.sender as usize).map(|tenant| tenant.name.clone());
            let (Some(binding), Some(tenant)) = (by_address, tenant) else { continue };
            if self.config.feedback.is_none() || told.count == 0 {
                continue;
            }
            let binding: BindingName = binding.name.clone();
            let destination = self.internet.site(site).planned.as_ref().ok().map(|plan| plan.destination.clone());
            let evidence = Evidence::Complaint { binding, destination, tenant, at: told.sent, incidents: told.count };
            self.observe(&evidence, now);
        }
    }
}
