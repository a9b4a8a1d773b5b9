//! What is due and what is under way: the bookkeeping of the loop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;

use super::setup::{Setup, Target};
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
        let (setup, now) = (monitor.setup(), monitor.common.clock.now().mono);
        let rules = &setup.config.monitor;
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
        if monitor.is_waiting_for_test() {
            return Vec::new();
        }
        monitor.hear_wanted(&mut self.urgent, now);
        self.rounds.extend(self.table.take_due(&mut self.random, now));
        let reverse = monitor.setup().zones.len();
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
        let setup = monitor.setup();
        let names = match is_round {
            true => setup.targets.iter().map(|t| t.binding.clone()).collect(),
            false if now >= later(self.reversed, self.confirm_after) => pending_reverse(&monitor.state.lock()),
            false => Vec::new(),
        };
        let asks = setup.reverse.is_some() && !names.is_empty();
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
        let (state, setup) = (monitor.state.lock(), monitor.setup());
        for (zone, dnsbl) in setup.zones.iter().enumerate() {
            self.table.set_every(zone, setup.round_every(&state.watch, zone));
            dnsbl.resize(setup.subjects_of_a_round(&state.watch, zone));
        }
    }

    /// Another setup is in force, and `state` knows it already. Who stays keeps his turn; what was under way and is not
    /// believed any more is made up for at once.
    pub(super) fn follow(&mut self, before: &Setup, setup: &Setup, state: &State, now: Mono) {
        let rules = &setup.config.monitor;
        let lists: Vec<Option<usize>> =
            rules.zones.iter().map(|zone| before.zone(&zone.name).map(|(n, _)| n)).collect();
        // The place of a row of now among those of before, and whether the same is asked in the same way there.
        let reverse = (before.zones.len(), setup.zones.len());
        let same_reverse = match (&before.reverse, &setup.reverse) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (old, new) => old.is_none() && new.is_none(),
        };
        let mut rows: Vec<(Option<usize>, Duration)> = Vec::new();
        let (mut rounds, mut busy, mut asked) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        for (row, (from, new)) in lists.iter().zip(&setup.zones).enumerate() {
            let old = from.and_then(|from| before.zones.get(from));
            let has_source = old.is_some_and(|old| new.has_source_of(old));
            rows.push((from.filter(|_| has_source), setup.round_every(&state.watch, row)));
            let Some(from) = *from else { continue };
            let is_same = old.is_some_and(|old| Arc::ptr_eq(old, new));
            match self.busy.remove(&from) {
                Some(id) if is_same => drop(busy.insert(row, id)),
                Some(_) => drop(rounds.insert(row)),
                None => {}
            }
            asked.extend(self.asked.remove(&from).filter(|_| is_same).map(|subjects| (row, subjects)));
            if self.rounds.contains(&from) {
                rounds.insert(row);
            }
        }
        let is_known = |target: &Target| {
            before.target(&target.binding).is_some_and(|old| (old.publics, &old.ehlo) == (target.publics, &target.ehlo))
        };
        let looks_again = !same_reverse || !setup.targets.iter().all(is_known);
        rows.push((Some(reverse.0).filter(|_| !looks_again), rules.interval));
        if let Some(id) = self.busy.remove(&reverse.0).filter(|_| same_reverse) {
            busy.insert(reverse.1, id);
        }
        self.table.follow(&rows, rules.jitter, now);
        let is_gone = |subject: &Subject| !before.means_same(setup, subject);
        self.urgent.follow(&lists, is_gone, rules.confirm_after);
        // Nobody new waits for the next round, which may be an hour away.
        for list in lists.iter().enumerate().filter_map(|(list, from)| from.map(|_| list)) {
            let fresh = state.watch.subjects(list).into_iter().filter(is_gone);
            fresh.for_each(|subject| self.urgent.want(list, subject, false, now));
        }
        (self.rounds, self.busy, self.asked, self.confirm_after) = (rounds, busy, asked, rules.confirm_after);
    }

    #[cfg(test)]
    pub(super) fn table_next(&self, row: usize) -> Mono {
        self.table.next_of(row)
    }

    /// How long until something is due.
    pub(super) fn nap(&self, monitor: &Monitor, now: Mono) -> Duration {
        if monitor.is_waiting_for_test() {
            return NAP_MAX;
        }
        let reverse = monitor.setup().zones.len();
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
