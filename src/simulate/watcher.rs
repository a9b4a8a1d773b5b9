//! DNSBLs of the world, and the monitor that watches them.
//!
//! Lists count the traps our addresses hit ([`List`]); the monitor's own judgement ([`Watch`]) asks them in rounds,
//! confirms what it sees, and tells reputation as the running program does. Only the questions are modelled: every list
//! answers, and its probes are good.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::receiver::List;
use super::scenario::Scenario;
use crate::clock::Wall;
use crate::config::{self, Config};
use crate::message::{BindingName, ZoneName};
use crate::monitor::answer::{AnswerClass, DnsOutcome, classify};
use crate::monitor::watch::Watch;
use crate::monitor::zone::Probes;
use crate::reputation::Evidence;
use crate::reputation::evidence::Listing;

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

    /// Every listing there is: zone and address.
    pub fn listed(&self, now: Wall) -> Vec<(ZoneName, IpAddr)> {
        let of = |(zone, list): (&ZoneName, &List)| {
            let there = self.targets.iter().filter(|(_, address)| list.listed(*address, now).is_some());
            there.map(|(_, address)| (zone.clone(), *address)).collect::<Vec<_>>()
        };
        self.lists.iter().flat_map(of).collect()
    }

    /// Whether a list names this address for what it did, and not because the scenario says so.
    pub fn has_caught(&self, address: IpAddr, now: Wall) -> bool {
        self.lists.values().any(|list| list.has_caught(address, now))
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
        let asked = self.targets.iter().filter(|(name, _)| bindings.contains(name));
        let answers: Vec<_> = asked
            .map(|(name, address)| {
                let outcome = match list.and_then(|list| list.listed(*address, now)) {
                    Some(code) => DnsOutcome::Addresses(vec![code]),
                    None => DnsOutcome::NxDomain,
                };
                (name.clone(), classify(&outcome, rules))
            })
            .collect();
        let yes = AnswerClass::Listed { codes: vec![[127, 0, 0, 2].into()], weight: rules.weight, certain: false };
        let probes = Probes {
            positive: rules.positive_probe.map(|_| yes),
            negative: rules.negative_probe.map(|_| AnswerClass::NotListed),
            random: AnswerClass::NotListed,
        };
        self.watch.round(zone, &probes, &answers, now);
        // What the round says about the zones themselves is nobody's business here: they are always well.
        drop(self.watch.take_notes());
    }
}
