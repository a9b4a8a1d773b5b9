//! What of the healths must be on disk, and what becomes of that when its binding is gone.
//!
//! A binding that is taken out of the configuration leaves its facts behind: its penalties, a listing, the operator's word.
//! They harm nobody, and a binding that comes back under the same name goes on where it was, or everybody could clear his
//! record by two edits. What has not come back for `forgive_after` is forgotten on disk as well. The time counts from when
//! the binding was first missed, which is written down, so that restarts do not renew it.

use super::cells::{Watched, find};
use super::evidence::AttemptResult;
use super::facts::{self, BadFact, Fact};
use super::health::{Health, Reason, Subject};
use super::lists::Lists;
use super::policy::Reputation;
use super::state::State;
use crate::clock::Wall;
use crate::message::{BindingName, DestinationName};

/// What is remembered of a binding that is not configured, or of one of its routes.
#[derive(Debug)]
pub(super) struct Orphan {
    /// When it was first missed.
    pub(super) since: Wall,
    pub(super) state: State,
}

impl Reputation {
    /// What must be written down since the last call. Call it after [`observe`](Self::observe) and
    /// [`tick`](Self::tick); most of the time it is empty.
    pub fn take_facts(&mut self) -> Vec<Fact> {
        let dirty = std::mem::take(&mut self.dirty).into_iter();
        let mut all: Vec<Fact> = dirty
            .map(|subject| match self.facts_for(&subject) {
                Some(json) => Fact::Put(facts::key(&subject), json),
                None => Fact::Remove(facts::key(&subject)),
            })
            .collect();
        all.extend(self.holds.take_facts());
        all.extend(self.complaints.take_facts());
        all.extend(self.fuse_facts(self.now));
        all
    }

    /// [`take_facts`](Self::take_facts) for a clean stop: with what would be written a moment later.
    pub fn final_facts(&mut self) -> Vec<Fact> {
        self.complaints.flush();
        self.fuse_marks.flush();
        self.take_facts()
    }

    /// The subject's fact as JSON; `None` where there is nothing to remember.
    pub fn facts_for(&self, subject: &Subject) -> Option<Vec<u8>> {
        match self.orphans.get(subject) {
            Some(orphan) => facts::write(subject, &orphan.state, Some(orphan.since)),
            None => self.cell(subject).and_then(|cell| facts::write(subject, &cell.state, None)),
        }
    }

    /// Takes back a fact of one of [`facts::PREFIXES`]. Healths of bindings that are not configured are kept aside, and
    /// forgotten after `forgive_after`.
    pub fn restore(&mut self, key: &str, bytes: &[u8]) -> Result<(), BadFact> {
        let bad = |source| BadFact { key: key.to_owned(), source };
        if key.starts_with(facts::HOLD_PREFIX) {
            return self.holds.restore(bytes).map_err(bad);
        }
        if key.starts_with(facts::COMPLAINTS_PREFIX) {
            let known = &self.bindings;
            return self.complaints.restore(bytes, |name| known.contains_key(name)).map_err(bad);
        }
        if key.starts_with(facts::FUSE_PREFIX) {
            return self.restore_fuse(bytes).map_err(bad);
        }
        let (subject, state, orphaned) = facts::read(key, bytes)?;
        // Where it is written anew: with or without the moment at which it was first missed.
        if orphaned.is_some() == self.bindings.contains_key(subject.binding()) {
            self.dirty.insert(subject.clone());
        }
        match self.bindings.contains_key(subject.binding()) {
            true => self.take_back(&subject, state, orphaned.is_some()),
            false => {
                let since = orphaned.unwrap_or(self.now).min(self.now);
                self.orphans.insert(subject, Orphan { since, state });
            }
        }
        Ok(())
    }

    /// Goes on with a state of an earlier run, or of a binding that `returns`.
    fn take_back(&mut self, subject: &Subject, mut state: State, returns: bool) {
        let was_shown = state.health.clone();
        if !self.asks_reverse_dns {
            state.lift(Reason::ReverseDns, &self.rules, self.now);
        }
        state.set_back(&self.rules, self.now);
        self.latest = self.latest.max(state.newest(&self.rules));
        if returns {
            // Nobody has been told of it: the next look tells.
            state.health = Health::Active;
        }
        if returns || state.shown(&self.rules) != was_shown {
            self.stale.insert(subject.clone());
        }
        self.recovering += usize::from(state.is_on_probation());
        if state.withheld {
            self.withheld.insert(subject.clone());
        }
        if let Some(cell) = find(&mut self.bindings, subject, self.rules.window) {
            cell.state = state;
        }
        self.arm(subject);
    }

    /// Keeps what is known of a binding that is configured no more.
    pub(super) fn orphan(&mut self, name: &BindingName, watched: Watched) {
        let Watched { own, routes, .. } = watched;
        let routes = routes.into_iter().map(|(to, cell)| (Subject::Route(name.clone(), to), cell));
        for (subject, cell) in std::iter::once((Subject::Binding(name.clone()), own)).chain(routes) {
            if let Some(timer) = cell.timer {
                self.timers.remove(&(timer, subject.clone()));
            }
            self.withheld.remove(&subject);
            self.stale.remove(&subject);
            self.recovering = self.recovering.saturating_sub(usize::from(cell.state.is_on_probation()));
            if !cell.state.is_blank() {
                self.dirty.insert(subject.clone());
                self.orphans.insert(subject, Orphan { since: self.now, state: cell.state });
            }
        }
    }

    /// Gives bindings that are configured (again) what is remembered of them, and looks at all under the present rules.
    pub(super) fn adopt(&mut self) {
        let bindings = &self.bindings;
        let back: Vec<_> = self.orphans.extract_if(.., |subject, _| bindings.contains_key(subject.binding())).collect();
        for (subject, orphan) in back {
            self.take_back(&subject, orphan.state, true);
            self.dirty.insert(subject);
        }
        self.look_at_all();
    }

    /// Everything of which something is remembered is looked at with the next tick.
    fn look_at_all(&mut self) {
        for (name, watched) in &self.bindings {
            let own = (!watched.own.state.is_blank()).then(|| Subject::Binding(name.clone()));
            let routes = watched.routes.iter().filter(|(_, cell)| !cell.state.is_blank());
            self.stale.extend(own.into_iter().chain(routes.map(|(to, _)| Subject::Route(name.clone(), to.clone()))));
        }
    }

    /// The clock was set back.
    pub(super) fn set_back(&mut self) {
        self.look_at_all();
        for subject in &self.stale {
            if let Some(cell) = find(&mut self.bindings, subject, self.rules.window) {
                cell.state.set_back(&self.rules, self.now);
                self.dirty.insert(subject.clone());
            }
        }
        self.orphans.values_mut().for_each(|orphan| orphan.since = orphan.since.min(self.now));
        // Counts of a time that has not come yet would stay until it has.
        self.lists = Lists::new(self.rules.window);
        self.destinations_blamed.clear();
        for watched in self.bindings.values_mut() {
            for cell in std::iter::once(&mut watched.own).chain(watched.routes.values_mut()) {
                cell.tally.clear();
                cell.noted.clear();
                cell.domains_noted.clear();
            }
        }
    }

    /// Forgets the bindings that have not come back.
    pub(super) fn forget_orphans(&mut self) {
        let (now, after) = (self.now, self.rules.forgive_after);
        let over = self.orphans.extract_if(.., |_, orphan| now.since(orphan.since) >= after);
        self.dirty.extend(over.map(|(subject, _)| subject));
    }

    /// What an answer taught a subject on probation, or, if it blamed the address, one with penalties, changes no health by
    /// itself and must be written down all the same: after a restart it goes on from there.
    pub(super) fn remember(&mut self, binding: &BindingName, to: Option<&DestinationName>, result: &AttemptResult) {
        let blames = matches!(result, AttemptResult::Refused { counts_against_ip: true, .. });
        if self.recovering == 0 && !blames {
            return;
        }
        let Some(watched) = self.bindings.get(binding) else { return };
        let learns = |state: &State| state.recovery.is_some() || (blames && state.strikes > 0);
        if learns(&watched.own.state) {
            self.dirty.insert(Subject::Binding(binding.clone()));
        }
        if let Some(to) = to
            && watched.routes.get(to).is_some_and(|cell| learns(&cell.state))
        {
            self.dirty.insert(Subject::Route(binding.clone(), to.clone()));
        }
    }
}
