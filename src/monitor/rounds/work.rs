//! What is due and what is under way: the bookkeeping of the loop.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::SmallRng;

use super::{Monitor, State, random};
use crate::clock::Mono;
use crate::message::BindingName;
use crate::monitor::dnsbl::{Look, Question};
use crate::monitor::reverse::ReverseState;
use crate::monitor::subject::Subject;
use crate::monitor::timetable::{Timetable, later};
use crate::monitor::urgent::{Outcome, Urgent};

/// Longest sleep of the loop: a clock that was set shows soon.
const NAP_MAX: Duration = Duration::from_secs(60);

/// What is to be done by the loop.
pub(super) enum Task {
    Round(usize, Vec<Question>),
    /// What waits for a confirmation, and what is blamed.
    Urgent(usize, (Vec<Question>, Vec<Question>)),
    Reverse(Vec<BindingName>),
}

/// What is due and what is under way; one row per zone, and one for reverse DNS.
pub(super) struct Work {
    table: Timetable,
    random: SmallRng,
    /// Rounds that are due.
    rounds: BTreeSet<usize>,
    pub(super) busy: BTreeMap<usize, tokio::task::Id>,
    /// Whom the zone that is busy is asked about.
    asked: BTreeMap<usize, Vec<Subject>>,
    urgent: Urgent,
    /// When reverse DNS was last looked at.
    reversed: Mono,
    confirm_after: Duration,
}

impl Work {
    pub(super) fn new(monitor: &Monitor) -> Self {
        let (rules, now) = (&monitor.config.monitor, monitor.clock.now().mono);
        let zones = (0..rules.zones.len()).map(|zone| monitor.round_every(zone));
        let every: Vec<Duration> = zones.chain([rules.interval]).collect();
        Self {
            table: Timetable::new(every, rules.jitter, now),
            random: random(),
            rounds: BTreeSet::new(),
            busy: BTreeMap::new(),
            asked: BTreeMap::new(),
            urgent: Urgent::new(rules.zones.len(), rules.confirm_after),
            reversed: now,
            confirm_after: rules.confirm_after,
        }
    }

    /// Whom to ask now, by row. A row that is under way waits until it is done.
    pub(super) fn due(&mut self, monitor: &Monitor, now: Mono) -> Vec<(usize, Task)> {
        monitor.hear_wanted(&mut self.urgent, now);
        self.rounds.extend(self.table.take_due(&mut self.random, now));
        let reverse = monitor.zones.len();
        let mut tasks = Vec::new();
        let idle: Vec<usize> = (0..=reverse).filter(|row| !self.busy.contains_key(row)).collect();
        for row in idle {
            let is_round = self.rounds.remove(&row);
            let task = if row == reverse {
                self.due_reverse(monitor, is_round, now)
            } else {
                self.due_zone(monitor, row, is_round, now)
            };
            tasks.extend(task.map(|task| (row, task)));
        }
        tasks
    }

    fn due_reverse(&self, monitor: &Monitor, is_round: bool, now: Mono) -> Option<Task> {
        let names = match is_round {
            true => monitor.targets.iter().map(|t| t.binding.clone()).collect(),
            false if now >= later(self.reversed, self.confirm_after) => pending_reverse(&monitor.state.lock()),
            false => Vec::new(),
        };
        let asks = monitor.reverse.is_some() && !names.is_empty();
        asks.then_some(Task::Reverse(names))
    }

    fn due_zone(&mut self, monitor: &Monitor, zone: usize, is_round: bool, now: Mono) -> Option<Task> {
        let subjects = |of: &[Question]| of.iter().map(|question| question.subject.clone()).collect::<Vec<_>>();
        if is_round {
            let all = monitor.questions(zone, None);
            self.asked.insert(zone, subjects(&all));
            return Some(Task::Round(zone, all));
        }
        let due = self.urgent.due(zone, now);
        if due.is_empty() {
            return None;
        }
        let confirming = monitor.questions(zone, Some(&due.confirming));
        let blamed = monitor.questions(zone, Some(&due.blamed));
        let asked = [subjects(&confirming), subjects(&blamed)].concat();
        self.asked.insert(zone, asked);
        Some(Task::Urgent(zone, (confirming, blamed)))
    }

    /// The task is over; returns the row that it was for.
    pub(super) fn done(&mut self, id: tokio::task::Id, now: Mono) -> Option<usize> {
        let row = self.busy.iter().find(|(_, of)| **of == id).map(|(row, _)| *row)?;
        self.busy.remove(&row);
        let is_reverse = !self.asked.contains_key(&row);
        if is_reverse {
            self.reversed = now;
        }
        Some(row)
    }

    /// What the look that was over has brought was taken in. Without a look the task failed: whoever it was to ask about
    /// counts as asked, or it would be tried again at once.
    pub(super) fn concluded(&mut self, monitor: &Monitor, row: usize, look: Option<Look>, now: Mono) {
        let Some(asked) = self.asked.remove(&row) else { return };
        let look = look.unwrap_or(Look { asked, ..Look::default() });
        let pending = monitor.state.lock().watch.pending();
        let pending = pending.into_iter().find(|(zone, _)| *zone == row).map(|(_, all)| all).unwrap_or_default();
        let refused = (&look.refused.0[..], &look.refused.1[..]);
        self.urgent.looked(row, Outcome { asked: &look.asked, refused, pending: &pending }, now);
    }

    /// There is more to ask about than before, or less: rounds and budgets follow.
    pub(super) fn resize(&mut self, monitor: &Monitor) {
        for (zone, dnsbl) in monitor.zones.iter().enumerate() {
            self.table.set_every(zone, monitor.round_every(zone));
            dnsbl.resize(monitor.subjects_of_a_round(zone));
        }
    }

    #[cfg(test)]
    pub(super) fn table_next(&self, row: usize) -> Mono {
        self.table.next_of(row)
    }

    /// How long until something is due.
    pub(super) fn nap(&self, monitor: &Monitor, now: Mono) -> Duration {
        let reverse = monitor.zones.len();
        let waits = monitor.state.lock().reverse.values().any(ReverseState::is_pending);
        let confirms = (waits && !self.busy.contains_key(&reverse)).then(|| later(self.reversed, self.confirm_after));
        let idle = (0..reverse).filter(|row| !self.busy.contains_key(row));
        let next = idle.filter_map(|row| self.urgent.next(row)).chain(confirms).chain(self.table.next()).min();
        let nap = next.map_or(NAP_MAX, |next| next.since(now)).min(NAP_MAX);
        // At least a moment passes, whatever the configuration says.
        nap.max(Duration::from_millis(1))
    }
}

/// Bindings whose reverse DNS waits for its confirmation.
pub(super) fn pending_reverse(state: &State) -> Vec<BindingName> {
    state.reverse.iter().filter(|(_, r)| r.is_pending()).map(|(name, _)| name.clone()).collect()
}
