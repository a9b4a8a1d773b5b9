//! What is due and what is under way: the bookkeeping of the loop.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::SmallRng;

use super::{Monitor, State, random};
use crate::clock::Mono;
use crate::message::BindingName;
use crate::monitor::dnsbl::Question;
use crate::monitor::reverse::ReverseState;
use crate::monitor::subject::Subject;
use crate::monitor::timetable::{Timetable, later};

/// Longest sleep of the loop: a clock that was set shows soon.
const NAP_MAX: Duration = Duration::from_secs(60);

/// What is to be done by the loop.
pub(super) enum Task {
    Zone(usize, Vec<Question>, bool),
    Reverse(Vec<BindingName>),
}

/// What is due and what is under way; one row per zone, and one for reverse DNS.
pub(super) struct Work {
    table: Timetable,
    random: SmallRng,
    /// Rounds that are due.
    rounds: BTreeSet<usize>,
    pub(super) busy: BTreeMap<usize, tokio::task::Id>,
    looked: Vec<Mono>,
    confirm_after: Duration,
}

impl Work {
    pub(super) fn new(monitor: &Monitor) -> Self {
        let (rules, now) = (&monitor.config.monitor, monitor.clock.now().mono);
        let subjects = |zone| monitor.state.lock().watch.subjects(zone).len() + rules.sentinels.len();
        let zones = rules.zones.iter().enumerate().map(|(index, zone)| zone.round_every(subjects(index)));
        let every: Vec<Duration> = zones.chain([rules.interval]).collect();
        Self {
            looked: vec![now; every.len()],
            table: Timetable::new(every, rules.jitter, now),
            random: random(),
            rounds: BTreeSet::new(),
            busy: BTreeMap::new(),
            confirm_after: rules.confirm_after,
        }
    }

    /// Whom to ask now, by row. A row that is under way waits until it is done.
    pub(super) fn due(&mut self, monitor: &Monitor, now: Mono) -> Vec<(usize, Task)> {
        self.rounds.extend(self.table.take_due(&mut self.random, now));
        let reverse = monitor.zones.len();
        let mut tasks = Vec::new();
        for row in (0..=reverse).filter(|row| !self.busy.contains_key(row)) {
            let is_round = self.rounds.remove(&row);
            let task = if row == reverse {
                let names = match is_round {
                    true => monitor.targets.iter().map(|t| t.binding.clone()).collect(),
                    false if self.may_confirm(row, now) => pending_reverse(&monitor.state.lock()),
                    false => Vec::new(),
                };
                let asks = monitor.reverse.is_some() && !names.is_empty();
                asks.then_some(Task::Reverse(names))
            } else if is_round {
                // The round asks about everybody.
                monitor.state.lock().wanted.values_mut().for_each(|zones| zones.retain(|zone| *zone != row));
                Some(Task::Zone(row, monitor.questions(row, None), true))
            } else {
                let subjects = self.urgent(monitor, row, now);
                let questions = monitor.questions(row, Some(&subjects));
                (!questions.is_empty()).then_some(Task::Zone(row, questions, false))
            };
            tasks.extend(task.map(|task| (row, task)));
        }
        tasks
    }

    /// Whom a zone is asked about outside its rounds.
    fn urgent(&self, monitor: &Monitor, zone: usize, now: Mono) -> Vec<Subject> {
        let mut state = monitor.state.lock();
        let mut subjects = BTreeSet::new();
        for (binding, zones) in &mut state.wanted {
            if zones.remove(&zone) {
                subjects.insert(Subject::Binding(binding.clone()));
            }
        }
        state.wanted.retain(|_, zones| !zones.is_empty());
        // Of whom the zone is not asked, it is not asked now.
        let known = state.watch.subjects(zone);
        subjects.retain(|subject| known.contains(subject));
        if self.may_confirm(zone, now) {
            subjects.extend(state.watch.pending().into_iter().filter(|(of, _)| *of == zone).flat_map(|(_, all)| all));
        }
        subjects.into_iter().collect()
    }

    fn may_confirm(&self, row: usize, now: Mono) -> bool {
        self.looked.get(row).is_some_and(|&at| now >= later(at, self.confirm_after))
    }

    pub(super) fn done(&mut self, id: tokio::task::Id, now: Mono) {
        let rows: Vec<usize> = self.busy.extract_if(.., |_, of| *of == id).map(|(row, _)| row).collect();
        for row in rows {
            if let Some(at) = self.looked.get_mut(row) {
                *at = now;
            }
        }
    }

    /// How long until something is due.
    pub(super) fn nap(&self, monitor: &Monitor, now: Mono) -> Duration {
        let state = monitor.state.lock();
        let mut waiting: Vec<usize> = state.watch.pending().into_iter().map(|(zone, _)| zone).collect();
        if state.reverse.values().any(ReverseState::is_pending) {
            waiting.push(monitor.zones.len());
        }
        let idle = waiting.into_iter().filter(|row| !self.busy.contains_key(row));
        let confirmations = idle.filter_map(|row| self.looked.get(row).map(|&at| later(at, self.confirm_after)));
        let next = confirmations.chain(self.table.next()).min();
        let nap = next.map_or(NAP_MAX, |next| next.since(now)).min(NAP_MAX);
        // At least a moment passes, whatever the configuration says.
        nap.max(Duration::from_millis(1))
    }
}

/// Bindings whose reverse DNS waits for its confirmation.
pub(super) fn pending_reverse(state: &State) -> Vec<BindingName> {
    state.reverse.iter().filter(|(_, r)| r.is_pending()).map(|(name, _)| name.clone()).collect()
}
