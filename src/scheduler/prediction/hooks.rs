//! Where prediction meets the rest of the scheduler: attempts, orders, signals, disk, status.

use std::collections::HashMap;

use super::facts::{self, PREFIX, Record};
use super::{FULL, Prediction};
use crate::clock::{Now, Wall};
use crate::message::ProviderName;
use crate::reputation::signals::Signal;
use crate::reputation::{BadFact, Fact, Subject};
use crate::scheduler::state::Scheduler;
use crate::scheduler::{BindingId, DestinationId, Experience};

impl Scheduler {
    /// The part of its weight a binding keeps at a destination, in percent: below 100 where its pool follows reputation
    /// and less is expected of it there than of others.
    pub fn bent_to(&self, binding: BindingId, destination: DestinationId) -> f64 {
        let column = self.destinations[destination.index()].column;
        f64::from(self.predictions.kept(binding, column)) / f64::from(FULL) * 100.0
    }

    /// What is expected of the next mail over a binding to a destination; `None` for bindings that are in no pool with
    /// `spread = "reputation"`. Destinations that are no provider are judged together.
    pub fn predicted(&self, binding: BindingId, destination: DestinationId, now: Now) -> Option<Prediction> {
        let column = self.destinations[destination.index()].column;
        self.predictions.predicted(binding, column, now.mono)
    }

    /// What reputation knows of a binding or route besides answers. Names that are not configured are ignored.
    pub fn signalled(&mut self, signal: &Signal, now: Now) {
        let Some(&id) = self.binding_ids.get(signal.subject.binding()) else { return };
        let column = match &signal.subject {
            Subject::Binding(_) => None,
            Subject::Route(_, to) => {
                Some(self.table.providers.get(&ProviderName::new(to.as_str())).copied().unwrap_or(0))
            }
        };
        self.predictions.told(id, column, signal.complaints, signal.listed, now.mono);
    }

    /// Learns from what an attempt was answered, and bends weights.
    pub(in crate::scheduler) fn learn_prediction(
        &mut self,
        binding: BindingId,
        destination: DestinationId,
        seen: &Experience,
        now: Now,
    ) {
        let column = self.destinations[destination.index()].column;
        if let Some(step) = self.predictions.learn(binding, column, seen, &mut self.rng, now) {
            let bindings = &self.bindings;
            // The other destinations share a column: one of them says nothing about the rest.
            let is_shut = |other: BindingId| {
                let shut = &bindings[other.index()].shut;
                column > 0 && shut.iter().any(|&(at, class)| at == destination && !class.carries())
            };
            let mut keep = (0, 0);
            for &(pool, tier, seat) in &bindings[binding.index()].seats {
                let tier = &mut self.pools[pool.index()].tiers[tier as usize];
                let (floor, relief) = tier.must_keep(seat as usize, column, is_shut, now.mono);
                keep = (floor.max(keep.0), relief.max(keep.1));
            }
            if let Some(kept) = self.predictions.settle((binding, column), step, keep, now.mono) {
                for &(pool, tier, seat) in &self.bindings[binding.index()].seats {
                    self.pools[pool.index()].tiers[tier as usize].bend(seat as usize, column, kept, now.mono);
                }
            }
        }
        if self.predictions.is_to_be_written(binding, column, now.wall) {
            let record = self.prediction_record(binding, column, now.wall);
            self.predictions.facts.extend(record.map(|record| Fact::Put(record.key(), record.bytes())));
        }
    }

    /// Facts of routes that are no more are removed. `providers` are those by whose columns the routes are told.
    pub(in crate::scheduler) fn remove_predictions(
        &mut self,
        gone: Vec<(BindingId, u32)>,
        providers: &HashMap<ProviderName, u32>,
    ) {
        let names: HashMap<u32, &ProviderName> = providers.iter().map(|(name, &column)| (column, name)).collect();
        let bindings = &self.bindings;
        let keys = gone.into_iter().filter_map(|(binding, column)| {
            let provider = if column == 0 { None } else { Some(*names.get(&column)?) };
            Some(facts::key(&bindings[binding.index()].config.name, provider))
        });
        self.predictions.facts.extend(keys.map(Fact::Remove));
    }

    fn provider_of(&self, column: u32) -> Option<ProviderName> {
        let mut providers = self.table.providers.iter();
        providers.find(|(_, of)| **of == column).map(|(name, _)| name.clone())
    }

    fn prediction_record(&mut self, binding: BindingId, column: u32, at: Wall) -> Option<Record> {
        let known = &self.bindings[binding.index()];
        let provider = if column == 0 { None } else { Some(self.provider_of(column)?) };
        let name = known.exists.then(|| known.config.name.clone())?;
        self.predictions.record(binding, column, (name, provider), at)
    }

    /// What of ladders and opinions must be on disk, since the last call.
    pub fn take_facts(&mut self) -> Vec<Fact> {
        let mut facts = self.take_warmup_facts();
        facts.append(&mut self.predictions.facts);
        facts
    }

    /// The opinions' part of [`take_facts`](Self::take_facts) for a clean stop: with all that was learnt since.
    pub fn final_prediction_facts(&mut self, now: Now) -> Vec<Fact> {
        for (binding, column) in self.predictions.dirty() {
            let record = self.prediction_record(binding, column, now.wall);
            self.predictions.facts.extend(record.map(|record| Fact::Put(record.key(), record.bytes())));
        }
        std::mem::take(&mut self.predictions.facts)
    }

    /// Takes back what earlier runs wrote under [`facts::PREFIX`]; returns what could not be read. Facts of bindings and
    /// providers that are not configured, of bindings no pool asks predictions for, and those that have faded are not
    /// taken but removed.
    pub fn restore_predictions<'a>(
        &mut self,
        facts: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        now: Now,
    ) -> Vec<BadFact> {
        let (mut bad, mut records) = (Vec::new(), Vec::new());
        for (key, bytes) in facts.into_iter().filter(|(key, _)| key.starts_with(PREFIX)) {
            match facts::read(key, bytes) {
                Ok(record) => {
                    let column = match &record.provider {
                        None => Some(0),
                        Some(provider) => self.table.providers.get(provider).copied(),
                    };
                    let place = self.binding_id(&record.binding).zip(column);
                    let place = place.filter(|&(binding, column)| self.predictions.place(binding, column).is_some());
                    match place.filter(|_| !self.predictions.has_faded(record.at, now)) {
                        Some((binding, column)) => records.push((binding, column, record)),
                        None => self.predictions.facts.push(Fact::Remove(key.to_owned())),
                    }
                }
                Err(error) => bad.push(error),
            }
        }
        self.predictions.restore(records, now);
        self.bend_weights(now);
        bad
    }
}
