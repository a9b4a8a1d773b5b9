//! A changed configuration, while the rounds go on.
//!
//! [`Monitor::prepare`] does what can fail, and touches nothing. [`Monitor::reconfigure`] then puts it in force between two
//! steps of the loop: lists and bindings that stay keep what is known of them, their turn and what is under way; what is new is
//! due at once; what an old look brings home counts only where list and address are still the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::setup::Setup;
use super::{Monitor, SetupError, State};
use crate::clock::Now;
use crate::config::{Config, Family, Ipv6Names};
use crate::message::{BindingName, ZoneName};
use crate::monitor::subject::domains;
use crate::reputation::Evidence;
use crate::reputation::evidence::Listing;

/// Bindings that are gone and whose address is remembered, in case they come back.
const PAST_MAX: usize = 10_000;

/// A configuration that can be put in force.
pub struct Prepared(Setup);

impl Monitor {
    /// Sets up what `config` asks for, without a change to what is in force. Asks nothing.
    ///
    /// # Errors
    /// The key of a list cannot be read, or a resolver not be set up.
    pub fn prepare(&self, config: &Config) -> Result<Prepared, SetupError> {
        Setup::new(config, &self.common, Some(&self.setup())).map(Prepared)
    }

    /// Puts it in force. `believes_again`: nothing is held against any name server any more
    /// ([`Identity::reconfigure`](crate::monitor::identity::Identity::reconfigure)). Returns the bindings that were not watched until now: what reputation remembers of them is to be
    /// given to [`Monitor::restore`], and then [`Monitor::settle`] called.
    pub fn reconfigure(&self, prepared: Prepared, believes_again: bool) -> Vec<BindingName> {
        let Prepared(setup) = prepared;
        let (setup, now) = (Arc::new(setup), self.common.clock.now());
        let (new, evidence) = {
            // Held all the way, so that no step of the loop sees half of it.
            let mut work = self.work.lock();
            let mut state = self.state.lock();
            let before = self.setup();
            let evidence = state.follow(&before, &setup, now);
            if believes_again {
                self.common.liars.set(BTreeSet::new());
                state.watch.distrust(None);
                state.watch.without_second(false);
            }
            for (number, list) in setup.zones.iter().enumerate() {
                list.resize(setup.subjects_of_a_round(&state.watch, number));
            }
            if let Some(work) = work.as_mut() {
                work.follow(&before, &setup, &state, now.mono);
            }
            let new = setup.targets.iter().filter(|target| before.target(&target.binding).is_none());
            let new: Vec<BindingName> = new.map(|target| target.binding.clone()).collect();
            *self.current.write() = setup;
            (new, evidence)
        };
        evidence.into_iter().for_each(|evidence| (self.sink)(evidence));
        self.settle();
        new
    }

    /// Tells what follows from all that is known now, and looks what is due.
    pub fn settle(&self) {
        self.conclude(Vec::new());
        self.wake.notify_one();
    }

    /// Nothing is asked from now on, until the name servers were tested (`false`): they are others than before.
    pub fn wait_for_test(&self, waits: bool) {
        self.state.lock().waits_for_test = waits;
        self.wake.notify_one();
    }

    /// Whether [`Monitor::wait_for_test`] said so.
    pub fn is_waiting_for_test(&self) -> bool {
        self.state.lock().waits_for_test
    }
}

impl State {
    fn follow(&mut self, before: &Setup, setup: &Setup, now: Now) -> Vec<Evidence> {
        let rules = &setup.config.monitor;
        let has_source = |name: &ZoneName| match (before.zone(name), setup.zone(name)) {
            (Some((_, old)), Some((_, new))) => new.has_source_of(old),
            _ => false,
        };
        self.watch.follow(rules, &setup.addresses(), has_source, now.wall);
        let moved = |binding: &BindingName| before.publics(binding) != setup.publics(binding);
        let mut evidence = Vec::new();
        for (binding, reverse) in self.reverse.extract_if(.., |binding, _| moved(binding)) {
            let Some(publics) = setup.publics(&binding).filter(|_| reverse.confirmed == Some(false)) else { continue };
            // One that must pass before its first use has not.
            if publics.of(Family::V6).is_none() || rules.ipv6_names != Ipv6Names::Require {
                let detail = format!("the binding has another address now, {publics}");
                evidence.push(Evidence::ReverseDns { binding, confirmed: true, detail });
            }
        }
        for target in &setup.targets {
            self.reverse.entry(target.binding.clone()).or_default();
        }
        self.names.retain(|binding, _| !moved(binding));
        let names = self.names.iter().map(|(binding, names)| (binding, names.as_slice()));
        self.watch.set_domains(domains(&setup.config, names));
        self.starved.retain(|name| setup.zone(name).is_some());
        for target in before.targets.iter().filter(|target| setup.target(&target.binding).is_none()) {
            if self.past.len() < PAST_MAX {
                self.past.insert(target.binding.clone(), target.publics.to_canonical());
            }
        }
        evidence
    }

    /// Takes over what reputation remembers of a binding; of one that had another address when it was watched last, only
    /// that it holds no more.
    pub(super) fn restore(&mut self, setup: &Setup, binding: &BindingName, listed: &[Listing], now: Now) {
        let past = self.past.remove(binding);
        if past.is_some() && past != setup.publics(binding) {
            self.watch.disown(binding, listed);
        } else {
            self.watch.restore(binding, listed, now.wall);
        }
    }
}
