//! How a state becomes what others see: every change of a state goes through here.
//!
//! A change is made, the pool guard is asked where a suspension would begin, health follows from the causes, and what moved
//! is told, written down and given its timer. Two kinds of subjects are looked at again later: those that the guard held
//! back, when another binding or route has become usable; and those for which something around them changed (`stale`): the
//! shield of their binding, the rules, the clock.

use super::cells::{Cell, find};
use super::guard::Standing;
use super::health::{Health, HealthChange, Reason, Subject};
use super::notes::Note;
use super::policy::Reputation;
use super::state::State;
use crate::config::{self, Automation};
use crate::message::{BindingName, DestinationName, PoolName};
use std::collections::BTreeMap;

impl Reputation {
    /// Changes a state and shows the result.
    pub(super) fn change(
        &mut self,
        subject: &Subject,
        evidence: &str,
        out: &mut Vec<HealthChange>,
        act: impl FnOnce(&mut State, &config::Reputation),
    ) {
        let sheltered = self.shelters(subject);
        let Some(cell) = find(&mut self.bindings, subject, self.rules.window) else { return };
        let before = cell.state.clone();
        cell.state.sheltered = sheltered;
        act(&mut cell.state, &self.rules);
        self.show(subject, before, evidence, out);
    }

    /// Whether a shield of its binding covers the route.
    fn shelters(&self, subject: &Subject) -> bool {
        let Subject::Route(binding, _) = subject else { return false };
        self.bindings.get(binding).is_some_and(|watched| watched.own.state.is_shielded())
    }

    /// Looks again at whom something around has changed for, and at those that the guard holds back when another one has
    /// become usable. Not before all that is due has been served: a suspension that ends at this moment must not begin at
    /// it.
    pub(super) fn relook(&mut self, out: &mut Vec<HealthChange>) {
        // Looking makes nothing stale but routes, and what was held back can only come to be in force: this ends.
        while !self.usable_again.is_empty() || !self.stale.is_empty() {
            let mut subjects = std::mem::take(&mut self.stale);
            for back in std::mem::take(&mut self.usable_again) {
                subjects.extend(self.may_go_out(&back));
            }
            self.relooking = true;
            for subject in subjects {
                self.look_at(&subject, out);
            }
            self.relooking = false;
        }
    }

    /// Of those that the guard holds back, as many as the pools of the one that is `back` can spare now.
    fn may_go_out(&self, back: &Subject) -> Vec<Subject> {
        let mut found = Vec::new();
        for pool in self.guard.pools_of(back.binding()) {
            let mut places: BTreeMap<Option<&DestinationName>, Vec<&Subject>> = BTreeMap::new();
            for subject in self.withheld.iter().filter(|subject| self.guard.is_in(pool, subject.binding())) {
                let place = match subject {
                    Subject::Binding(_) => None,
                    Subject::Route(_, to) => Some(to),
                };
                if matches!(back, Subject::Binding(_)) || matches!(back, Subject::Route(_, to) if place == Some(to)) {
                    places.entry(place).or_default().push(subject);
                }
            }
            for (place, subjects) in places {
                let room = self.guard.room(pool, |other| self.standing(other, place));
                found.extend(subjects.into_iter().take(room).cloned());
            }
        }
        found
    }

    fn look_at(&mut self, subject: &Subject, out: &mut Vec<HealthChange>) {
        let Some(cell) = self.cell(subject) else { return };
        let evidence = match cell.state.evidence(&self.rules) {
            none if none.is_empty() => "nothing is held against it".to_owned(),
            evidence => evidence,
        };
        self.change(subject, &evidence, out, |_, _| {});
    }

    /// Brings the shown health in line with the causes.
    fn show(&mut self, subject: &Subject, before: State, evidence: &str, out: &mut Vec<HealthChange>) {
        let Some(cell) = self.cell(subject) else { return };
        let withheld = self.withholds(subject, &before, &cell.state);
        let spared = cell.state.spared(&self.rules).filter(|_| before.spared(&self.rules).is_none());
        if let (Some((reason, pool, why)), false) = (&withheld, before.withheld) {
            self.notes.push(Note::Withheld {
                pool: pool.clone(),
                subject: subject.clone(),
                reason: *reason,
                evidence: format!("{why}; {evidence}"),
            });
        }
        if let Some((reason, until)) = spared {
            let watched = self.rules.automation == Automation::Watch;
            let why = if watched { "automation only watches" } else { "the operator keeps it in use" };
            let evidence = format!("{why}; {evidence}");
            self.notes.push(Note::WouldSuspend { subject: subject.clone(), reason, until, evidence });
        }
        let now = self.now;
        let Some(cell) = find(&mut self.bindings, subject, self.rules.window) else { return };
        cell.state.show(withheld.is_some(), &self.rules, now);
        let (from, to) = (&before.health, cell.state.health.clone());
        // What was counted led to a suspension: it must not lead to the next, nor grow while that does not act.
        let wants_out = cell.state.wants_out().is_some();
        if (wants_out && before.wants_out().is_none()) || (cell.state.is_out() && *from != to) {
            cell.tally.clear();
            cell.blames.clear();
        }
        if wants_out {
            cell.blames.clear();
        }
        let (is_withheld, is_shielded) = (cell.state.withheld, cell.state.is_shielded());
        let (was_back, is_back) = (before.is_on_probation(), cell.state.is_on_probation());
        if cell.state != before {
            self.dirty.insert(subject.clone());
        }
        match is_withheld {
            true => self.withheld.insert(subject.clone()),
            false => self.withheld.remove(subject),
        };
        self.recovering = (self.recovering + usize::from(is_back)).saturating_sub(usize::from(was_back));
        if is_relied_on(&to) && !is_relied_on(from) {
            self.usable_again.insert(subject.clone());
        }
        if is_shielded != before.is_shielded() {
            self.stale_routes(subject.binding().clone());
        }
        if *from != to {
            let (subject, from) = (subject.clone(), from.clone());
            out.push(HealthChange { subject, from, to, evidence: evidence.to_owned() });
        }
        self.arm(subject);
    }

    fn stale_routes(&mut self, binding: BindingName) {
        let Some(watched) = self.bindings.get(&binding) else { return };
        let routes = watched.routes.iter().filter(|(_, cell)| !cell.state.is_blank());
        self.stale.extend(routes.map(|(to, _)| Subject::Route(binding.clone(), to.clone())));
    }

    /// Whether the pool guard holds back what automation wants: the reason, the pool and why. What is certain passes, and
    /// of a route what the receiver said in as many words; what already is out stays out.
    fn withholds(&self, subject: &Subject, before: &State, state: &State) -> Option<(Reason, PoolName, String)> {
        let (binding, at) = match subject {
            Subject::Binding(binding) => (binding, None),
            Subject::Route(binding, to) => (binding, Some(to)),
        };
        let reason = state.asks_the_guard(before, &self.rules, |reason, held| {
            held.certain || (at.is_some() && !reason.is_inferred())
        })?;
        if before.withheld && !self.relooking {
            // Asked again when somebody is back, and not by each reply.
            return Some((reason, PoolName::new(""), String::new()));
        }
        let (pool, why) = self.guard.holds_back(binding, |other| self.standing(other, at))?;
        Some((reason, pool, at.map_or(why.clone(), |to| format!("{why} at {to}"))))
    }

    /// How a binding stands, everywhere or at one destination.
    fn standing(&self, binding: &BindingName, at: Option<&DestinationName>) -> Standing {
        let Some(watched) = self.bindings.get(binding) else { return Standing::OutByOperator };
        let route = at.and_then(|to| watched.routes.get(to));
        let healths = [Some(&watched.own), route].into_iter().flatten().map(|cell| &cell.state.health);
        healths.fold(Standing::Usable, |standing, health| match (standing, health) {
            (_, Health::Suspended { reason: Reason::Operator, .. }) => Standing::OutByOperator,
            // A trickle carries no pool: were it relied on, the first one on its way back would send out the one that
            // carries the mail meanwhile.
            (Standing::Usable, health) if !is_relied_on(health) => Standing::OutByAutomation,
            (standing, _) => standing,
        })
    }

    /// Sets the timer of a subject.
    pub(super) fn arm(&mut self, subject: &Subject) {
        let Some(cell) = find(&mut self.bindings, subject, self.rules.window) else { return };
        let next = cell.state.next_moment(&self.rules);
        let last = std::mem::replace(&mut cell.timer, next);
        if last != next {
            if let Some(last) = last {
                self.timers.remove(&(last, subject.clone()));
            }
            self.timers.extend(next.map(|next| (next, subject.clone())));
        }
    }

    pub(super) fn cell(&self, subject: &Subject) -> Option<&Cell> {
        let watched = self.bindings.get(subject.binding())?;
        match subject {
            Subject::Binding(_) => Some(&watched.own),
            Subject::Route(_, destination) => watched.routes.get(destination),
        }
    }
}

/// Whether a pool can rely on it: it takes its share, or part of it, and not a trickle.
fn is_relied_on(health: &Health) -> bool {
    matches!(health, Health::Active | Health::Throttled { .. })
}
