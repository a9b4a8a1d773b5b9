//! A tenant's own fuse, over all bindings: whether its list is bad, and where its mail is held for it.

use super::gates::{is_above, is_bad};
use super::groups::Places;
use super::{Case, Culprit, Group};
use crate::clock::Wall;
use crate::config;
use crate::message::{DestinationName, TenantName};
use crate::reputation::attempts::Attempt;
use crate::reputation::notes::Note;
use crate::reputation::policy::Reputation;
use crate::reputation::tally::{Count, Tally};

/// A tenant's alarm that no single binding explains.
#[derive(Debug)]
pub(in crate::reputation) struct ListCase {
    begin: i64,
    /// What it sent since to the destinations where its share is above the limit for certain.
    places: Vec<(DestinationName, Count)>,
}

impl ListCase {
    /// The alarm of a tally of one tenant whose groups are bindings and whose places are destinations. None where it is
    /// well, or well enough, without the binding that is worst for it: then that binding's fuse has to judge.
    pub(in crate::reputation) fn of(
        tally: &mut Tally,
        places: &Places,
        rules: &config::Reputation,
        now: Wall,
    ) -> Option<Self> {
        let case = Case::alarm(tally, rules, now)?;
        let bindings = case.suspects(|key| Some(key.group));
        let (_, worst) = bindings.first()?;
        if !is_bad(case.total.without(*worst), rules) {
            return None;
        }
        let name = |place: u32| places.name(place).map(DestinationName::new);
        let places = case.suspects(|key| (key.place > 0).then_some(key.place)).into_iter();
        let certainly = |count: Count| is_above(count, 1.0, rules.hard_bounce_ratio, rules.fuse_certainty);
        let bad = places.filter(|(_, count)| count.events >= rules.min_events && certainly(*count));
        Some(Self { begin: case.begin, places: bad.filter_map(|(place, count)| Some((name(place)?, count))).collect() })
    }
}

impl Reputation {
    /// A bounce of this tenant was counted: whether its own fuse trips, and where its mail is held then. Where others fare
    /// no better, it is not the list.
    pub(in crate::reputation) fn judge_list(&mut self, attempt: Attempt<'_>, now: Wall) {
        let tenant = attempt.tenant;
        let Some(case) = self.lists.alarm(tenant, &self.rules, now) else { return };
        let mut is_explained = false;
        for (to, own) in case.places {
            if let Some(said) = self.refuses_everybody(&to, now) {
                self.blame_receiver(&to, &said, now);
                is_explained = true;
                continue;
            }
            let rest = self.of_others(tenant, &to, case.begin);
            if is_bad(rest, &self.rules) {
                // The destination, or another's list: the others will tell.
                continue;
            }
            let is_worse = rest.attempts < self.rules.min_attempts
                || is_above(own, 1.0, rest.rate().max(self.rules.normal_bounce_ratio), self.rules.fuse_certainty);
            if !is_worse {
                continue;
            }
            let group = Group { tenant: tenant.clone(), stream: None, domain: None };
            let evidence = Culprit { group, own, rest }.evidence();
            is_explained = true;
            self.forget_list(tenant, &to);
            self.holds.stop_list(tenant, &to, &evidence, &self.rules, now);
            if to == *attempt.destination {
                self.note_list(attempt, evidence, now);
            }
        }
        if is_explained {
            self.lists.settle(tenant);
        }
    }

    /// What the other tenants' mail met at a destination since then, over all bindings.
    fn of_others(&self, tenant: &TenantName, to: &DestinationName, since: i64) -> Count {
        let routes = self.bindings.values().filter_map(|watched| Some((watched.routes.get(to)?, &watched.groups)));
        routes.map(|(cell, groups)| cell.tally.of(since, |key| !groups.is_of(key.group, tenant))).sum()
    }

    /// What is explained is taken out of the counts of the addresses.
    fn forget_list(&mut self, tenant: &TenantName, to: &DestinationName) {
        for watched in self.bindings.values_mut() {
            let (groups, Some(cell)) = (&watched.groups, watched.routes.get_mut(to)) else { continue };
            let part = cell.tally.part(|key| groups.is_of(key.group, tenant));
            cell.tally.remove(|key| groups.is_of(key.group, tenant));
            watched.own.tally.take_out(&part, watched.own.places.known(to.as_str()));
        }
    }

    fn note_list(&mut self, attempt: Attempt<'_>, evidence: String, now: Wall) {
        let (window, subject) = (self.rules.window, attempt.of_route());
        let Some(watched) = self.bindings.get_mut(attempt.binding) else { return };
        let Some(cell) = watched.routes.get_mut(attempt.destination) else { return };
        if cell.noted.get(attempt.tenant).is_some_and(|&noted| now.since(noted) < window) {
            return;
        }
        cell.noted.insert(attempt.tenant.clone(), now);
        self.notes.push(Note::TenantBlamed { subject, tenant: attempt.tenant.clone(), evidence });
    }
}
