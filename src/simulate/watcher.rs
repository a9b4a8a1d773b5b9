//! DNSBLs of the world, and the monitor that watches them.
//!
//! Lists count the traps our addresses hit ([`List`]); the monitor's own judgement ([`Watch`]) asks them in rounds,
//! confirms what it sees, and tells reputation as the running program does. Only the questions are modelled: a list is
//! asked for its probes and for our addresses, and answers by its traps, or as a dead list does. Whether it is to be
//! believed is for the monitor to find out.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::receiver::List;
use super::receiver::list::Question;
use super::scenario::{Death, Scenario};
use crate::clock::Wall;
use crate::config::{self, Config};
use crate::message::{BindingName, ZoneName};
use crate::monitor::answer::{DnsOutcome, classify};
use crate::monitor::watch::Watch;
use crate::monitor::zone::Probes;
use crate::reputation::Evidence;
use crate::reputation::evidence::Listing;

/// What a list that is well answers for its test entry.
const LISTED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Lists and the monitor.
pub struct Watcher {
    rules: config::Monitor,
    targets: Vec<(BindingName, IpAddr)>,
    /// By number of the zone in the configuration; a zone without a list lists nobody.
    lists: BTreeMap<ZoneName, List>,
    watch: Watch,
}

impl Watcher {
    /// The lists of a scenario and a monitor that knows nothing yet.
    pub fn new(config: &Config, scenario: &Scenario, now: Wall) -> Self {
        let targets: Vec<_> = config.bindings.iter().map(|b| (b.name.clone(), b.public_address)).collect();
        let lists = scenario.lists.iter().map(|(zone, model)| (zone.clone(), List::new(model.clone())));
        let mut this = Self {
            rules: config.monitor.clone(),
            targets,
            lists: lists.collect(),
            watch: Watch::new(&config.monitor, &[], now),
        };
        this.restart(|_| &[], now);
        this
    }

    /// The monitor was started again: it knows what reputation remembers.
    pub fn restart<'a>(&mut self, remembered: impl Fn(&BindingName) -> &'a [Listing], now: Wall) {
        let names: Vec<BindingName> = self.targets.iter().map(|(name, _)| name.clone()).collect();
        self.watch = Watch::new(&self.rules, &names, now);
        for name in names.iter().filter(|name| !remembered(name).is_empty()) {
            self.watch.restore(name, remembered(name), now);
        }
    }

    /// Whether there is anything to ask.
    pub fn is_idle(&self) -> bool {
        self.rules.zones.is_empty() || self.lists.is_empty()
    }

    /// A trap got mail from `address`. All lists hear of it.
    pub fn hit(&mut self, address: IpAddr, now: Wall) {
        self.lists.values_mut().for_each(|list| list.hit(address, now));
    }

    /// A list names these bindings whatever they do, or no longer.
    pub fn force(&mut self, zone: &ZoneName, bindings: &[BindingName], listed: bool) {
        let Some(list) = self.lists.get_mut(zone) else { return };
        for (_, address) in self.targets.iter().filter(|(name, _)| bindings.contains(name)) {
            list.force(*address, listed);
        }
    }

    /// A list dies in this way, and receivers believe what it answers or not; or it is well again.
    pub fn die(&mut self, zone: &ZoneName, dead: Option<(Death, bool)>) {
        if let Some(list) = self.lists.get_mut(zone) {
            list.die(dead);
        }
    }

    /// Every listing that receivers believe in: zone and address.
    pub fn listed(&self, now: Wall) -> Vec<(ZoneName, IpAddr)> {
        let of = |(zone, list): (&ZoneName, &List)| {
            let there = self.targets.iter().filter(|(_, address)| list.is_believed_to_list(*address, now));
            there.map(|(_, address)| (zone.clone(), *address)).collect::<Vec<_>>()
        };
        self.lists.iter().flat_map(of).collect()
    }

    /// A round over all bindings and zones.
    pub fn round(&mut self, now: Wall) -> Vec<Evidence> {
        let all: Vec<BindingName> = self.targets.iter().map(|(name, _)| name.clone()).collect();
        for zone in 0..self.rules.zones.len() {
            self.ask(zone, &all, now);
        }
        self.watch.evidence(now)
    }

    /// Asks again about what waits for its confirmation.
    pub fn confirm(&mut self, now: Wall) -> Vec<Evidence> {
        for (zone, bindings) in self.watch.pending() {
            self.ask(zone, &bindings, now);
        }
        self.watch.evidence(now)
    }

    /// Whether anything waits for its confirmation.
    pub fn has_pending(&self) -> bool {
        !self.watch.pending().is_empty()
    }

    fn ask(&mut self, zone: usize, bindings: &[BindingName], now: Wall) {
        let rules = &self.rules.zones[zone];
        let list = self.lists.get(&rules.name);
        let ask = |question| {
            // A zone that the scenario says nothing of is well and lists nobody.
            let well =
                if question == Question::Positive { DnsOutcome::Addresses(vec![LISTED]) } else { DnsOutcome::NxDomain };
            classify(&list.map_or(well, |list| list.answer(question, now)), rules)
        };
        let asked = self.targets.iter().filter(|(name, _)| bindings.contains(name));
        let answers: Vec<_> = asked.map(|(name, address)| (name.clone(), ask(Question::Address(*address)))).collect();
        let probes = Probes {
            positive: rules.positive_probe.map(|_| ask(Question::Positive)),
            negative: rules.negative_probe.map(|_| ask(Question::Negative)),
            random: ask(Question::Negative),
        };
        self.watch.round(zone, &probes, &answers, now);
        // They are for the log, and nobody reads one here.
        drop(self.watch.take_notes());
    }
}
