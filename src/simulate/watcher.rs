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
use crate::monitor::subject::Subject;
use crate::monitor::watch::{Seen, Watch};
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
        self.watch = Watch::new(&self.rules, &self.targets, now);
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

    /// Whether a list names this address for what it did, and not because the scenario says so.
    pub fn has_caught(&self, address: IpAddr, now: Wall) -> bool {
        self.lists.values().any(|list| list.has_caught(address, now))
    }

    /// A round over all bindings and zones.
    pub fn round(&mut self, now: Wall) -> Vec<Evidence> {
        let all: Vec<BindingName> = self.targets.iter().map(|(name, _)| name.clone()).collect();
        for zone in 0..self.rules.zones.len() {
            self.ask(zone, &all, true, now);
        }
        self.watch.evidence(now)
    }

    /// Asks again about what waits for its confirmation.
    pub fn confirm(&mut self, now: Wall) -> Vec<Evidence> {
        for (zone, subjects) in self.watch.pending() {
            let bindings = subjects.into_iter().filter_map(|subject| match subject {
                Subject::Binding(binding) | Subject::Second(binding, _) => Some(binding),
                Subject::Domain(_) => None,
            });
            self.ask(zone, &bindings.collect::<Vec<_>>(), false, now);
        }
        self.watch.evidence(now)
    }

    /// Whether anything waits for its confirmation.
    pub fn has_pending(&self) -> bool {
        !self.watch.pending().is_empty()
    }

    fn ask(&mut self, zone: usize, bindings: &[BindingName], whole: bool, now: Wall) {
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
        let probes = Probes::new(
            rules.positive_probe.as_ref().map(|_| ask(Question::Positive)),
            rules.negative_probe.as_ref().map(|_| ask(Question::Negative)),
            rules.random_probe.then(|| ask(Question::Negative)),
        );
        self.watch.saw(zone, &Seen { whole, ..Seen::round(probes, answers) }, now);
        // They are for the log, and nobody reads one here.
        drop(self.watch.take_notes());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::config::{Binding, Zone};
    use crate::simulate::scenario::ListModel;

    const BINDINGS: u8 = 12;

    /// A watched list and who asks it; the list knows its test entry and no more.
    fn watcher() -> Watcher {
        let mut config = Config::bare("relay.example.net".parse().expect("a domain"));
        let binding = |n: u8| Arc::new(Binding::new(format!("m{n}").as_str(), [192, 0, 2, n].into()));
        config.bindings = (1..=BINDINGS).map(binding).collect();
        config.monitor.zones = vec![Zone { weight: 4.0, ..Zone::new("list", "list.example") }];
        let text = "days = 1\n[[traffic]]\ntenant = \"a\"\nper_day = 1\nto = { other = 1 }\n[list.list]\n";
        let scenario = Scenario::from_toml(text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(scenario.lists[&ZoneName::new("list")], ListModel::TYPICAL);
        Watcher::new(&config, &scenario, at(0))
    }

    fn at(minutes: u64) -> Wall {
        Wall::from_millis(1_750_000_000_000).plus(Duration::from_secs(60 * minutes))
    }

    /// Who is listed by what is told over two hours of rounds, each confirmed after a minute: the last word of each.
    fn told(watcher: &mut Watcher, from: u64) -> BTreeMap<BindingName, bool> {
        let mut last = BTreeMap::new();
        for minute in (from..from + 120).step_by(15) {
            for evidence in watcher.round(at(minute)).into_iter().chain(watcher.confirm(at(minute + 2))) {
                let Evidence::Listings { binding, listed, .. } = evidence else { panic!("{evidence:?}") };
                last.insert(binding, !listed.is_empty());
            }
        }
        last
    }

    #[test]
    fn a_listing_is_confirmed_and_told_while_its_list_is_well() {
        let mut watcher = watcher();
        let zone = ZoneName::new("list");
        told(&mut watcher, 0);
        watcher.force(&zone, &["m3".into()], true);
        assert_eq!(told(&mut watcher, 200), [(BindingName::new("m3"), true)].into());
    }

    #[test]
    fn however_a_list_dies_nobody_is_told_to_be_listed_and_later_listings_count_again() {
        for how in [Death::Loud, Death::Parked, Death::Silent, Death::Refusing, Death::Unreachable] {
            let mut watcher = watcher();
            let zone = ZoneName::new("list");
            told(&mut watcher, 0);
            watcher.die(&zone, Some((how, false)));
            let said = told(&mut watcher, 200);
            assert!(said.values().all(|listed| !listed), "{how:?}: {said:?}");
            assert!(watcher.listed(at(320)).is_empty(), "{how:?}: receivers have seen it too");
            watcher.die(&zone, Some((how, true)));
            let believed = if how.answers() { usize::from(BINDINGS) } else { 0 };
            assert_eq!(watcher.listed(at(320)).len(), believed, "{how:?}");
            watcher.die(&zone, None);
            watcher.force(&zone, &["m3".into()], true);
            assert_eq!(told(&mut watcher, 400).get(&BindingName::new("m3")), Some(&true), "{how:?}: well again");
        }
    }

    #[test]
    fn a_loud_death_takes_back_what_the_list_had_said_before() {
        let mut watcher = watcher();
        let zone = ZoneName::new("list");
        watcher.force(&zone, &["m3".into()], true);
        assert_eq!(told(&mut watcher, 0).get(&BindingName::new("m3")), Some(&true));
        watcher.die(&zone, Some((Death::Loud, false)));
        assert_eq!(told(&mut watcher, 200), [(BindingName::new("m3"), false)].into());
    }
}
