//! What follows from an alarm: who is stopped, and what is taken out of the counts.

use std::collections::BTreeMap;
use std::time::Duration;

use super::gates::{is_above, is_bad, is_well};
use super::{Blamed, Case, Culprit, Group, in_words};
use crate::clock::Wall;
use crate::message::{DestinationName, TenantName};
use crate::reputation::cells::find;
use crate::reputation::health::{HealthChange, Reason, Subject};
use crate::reputation::holds::HoldKey;
use crate::reputation::notes::Note;
use crate::reputation::policy::Reputation;
use crate::reputation::tally::{Count, Key};

impl Reputation {
    /// The fuse of the route first, then the binding's over all routes together.
    pub(in crate::reputation) fn fuse(&mut self, subjects: &[Subject], now: Wall, out: &mut Vec<HealthChange>) {
        for subject in subjects {
            let Some(cell) = find(&mut self.bindings, subject, self.rules.window) else { return };
            if cell.state.is_out() || cell.state.wants_out().is_some() {
                continue;
            }
            self.fuse_marks.touched(subject);
            match (Case::alarm(&mut cell.tally, &self.rules, now), subject) {
                (None, _) => {}
                (Some(case), Subject::Binding(_)) => self.judge_binding(subject, &case, now, out),
                (Some(case), Subject::Route(..)) => self.judge_case(subject, &case, now, out),
            }
        }
    }

    fn judge_binding(&mut self, subject: &Subject, case: &Case, now: Wall, out: &mut Vec<HealthChange>) {
        let Some(watched) = self.bindings.get_mut(subject.binding()) else { return };
        let to = case.worst_place().and_then(|place| watched.own.places.name(place)).map(DestinationName::new);
        if let Some(to) = to {
            let route = Subject::Route(subject.binding().clone(), to);
            let Some(cell) = find(&mut self.bindings, &route, self.rules.window) else { return };
            if cell.state.is_out() || cell.state.wants_out().is_some() {
                return;
            }
            let case = Case::of(&mut cell.tally, &self.rules, now);
            self.judge_case(&route, &case, now, out);
            return;
        }
        match case.culprits(&watched.groups, &self.rules) {
            Blamed::Mail(culprits) => self.stop_culprits(subject, &culprits, now),
            other => match self.bad_elsewhere(subject, case, now) {
                Some(culprits) => self.stop_culprits(subject, &culprits, now),
                None if other == Blamed::Later => {}
                None => self.trip(subject, case, now, out),
            },
        }
    }

    fn judge_case(&mut self, subject: &Subject, case: &Case, now: Wall, out: &mut Vec<HealthChange>) {
        if let Subject::Route(_, to) = subject
            && let Some(said) = self.refuses_everybody(to, now)
        {
            self.blame_receiver(to, &said, now);
            return;
        }
        let Some(watched) = self.bindings.get(subject.binding()) else { return };
        if let Some((place, own, rest)) = case.place(&self.rules)
            && case.is_of_place(place, own, &watched.groups)
        {
            self.blame_domain(subject, place, own, rest, now);
            return;
        }
        let blamed = case.culprits(&watched.groups, &self.rules);
        if let Blamed::Mail(culprits) = blamed {
            self.stop_culprits(subject, &culprits, now);
        } else if let Some(others) = self.others_there(subject, case).filter(|o| case.is_shared(*o, &self.rules)) {
            self.blame_destination(subject, case, others, now);
        } else if let Some(culprits) = self.bad_elsewhere(subject, case, now) {
            self.stop_culprits(subject, &culprits, now);
        } else if blamed == Blamed::Address {
            self.trip(subject, case, now, out);
        }
    }

    fn bad_elsewhere(&mut self, subject: &Subject, case: &Case, now: Wall) -> Option<Vec<Culprit>> {
        let watched = self.bindings.get(subject.binding())?;
        let cell = match subject {
            Subject::Binding(_) => &watched.own,
            Subject::Route(_, to) => watched.routes.get(to)?,
        };
        let (groups, lists) = (&watched.groups, &mut self.lists);
        let (holds, rules) = (&self.holds, &self.rules);
        case.bad_elsewhere(groups, |tenant| {
            let here = cell.tally.of(i64::MIN, |key| groups.is_of(key.group, tenant));
            let elsewhere = lists.total(tenant, case.steps, now).without(here);
            is_bad(elsewhere, rules) || holds.has_bad_list(tenant) && !is_well(elsewhere, case.steps, rules)
        })
    }

    /// What the other bindings saw at a route's destination since the excursion began, without the tenant that was worst
    /// for them: whose list is bad makes no destination bad. `None` where there is nothing.
    fn others_there(&self, subject: &Subject, case: &Case) -> Option<Count> {
        let Subject::Route(own, to) = subject else { return None };
        let mut tenants: BTreeMap<&TenantName, Count> = BTreeMap::new();
        let others = self.bindings.iter().filter(|(name, _)| *name != own);
        for (cell, groups) in others.filter_map(|(_, other)| Some((other.routes.get(to)?, &other.groups))) {
            for (key, count) in cell.tally.since(case.begin) {
                if let Some(group) = groups.get(key.group) {
                    tenants.entry(&group.tenant).or_default().add(count);
                }
            }
        }
        let total: Count = tenants.values().copied().sum();
        let worst = tenants.values().copied().max_by(|a, b| case.steps.of(*a).total_cmp(&case.steps.of(*b)))?;
        Some(total.without(worst))
    }

    /// A recipient's domain explains it, for whomever it is: nobody is stopped.
    fn blame_domain(&mut self, subject: &Subject, place: u32, own: Count, rest: Count, now: Wall) {
        let Some(watched) = self.bindings.get_mut(subject.binding()) else { return };
        let Subject::Route(_, to) = subject else { return };
        let Some(cell) = watched.routes.get_mut(to) else { return };
        let part = cell.tally.part(|key| key.place == place);
        cell.tally.remove(|key| key.place == place);
        watched.own.tally.take_out(&part, watched.own.places.known(to.as_str()));
        let Some(domain) = cell.places.name(place).map(str::to_owned) else { return };
        let window = self.rules.window;
        cell.domains_noted.retain(|_, noted| now.since(*noted) < window);
        if cell.domains_noted.insert(domain.clone(), now).is_none() {
            let evidence = format!("{domain}: {}; all others: {}", in_words(own), in_words(rest));
            self.notes.push(Note::RecipientDomainBlamed { subject: subject.clone(), domain, evidence });
        }
    }

    /// The destination explains it: others see the same there. What has been seen is settled; were it not kept, the last
    /// binding to notice would stand alone.
    fn blame_destination(&mut self, subject: &Subject, case: &Case, others: Count, now: Wall) {
        let Some(watched) = self.bindings.get_mut(subject.binding()) else { return };
        let Subject::Route(binding, to) = subject else { return };
        let Some(cell) = watched.routes.get_mut(to) else { return };
        let part = cell.tally.part(|_| true);
        cell.tally.settle();
        watched.own.tally.take_out(&part, watched.own.places.known(to.as_str()));
        let window = self.rules.window;
        self.destinations_blamed.retain(|_, noted| now.since(*noted) < window);
        if self.destinations_blamed.contains_key(to) {
            return;
        }
        self.destinations_blamed.insert(to.clone(), now);
        let evidence = format!("{binding}: {}; the other bindings: {}", in_words(case.total), in_words(others));
        self.notes.push(Note::DestinationBlamed { destination: to.clone(), evidence });
    }

    /// Mail of these is bad: it is held, and taken out of the counts of the address.
    fn stop_culprits(&mut self, subject: &Subject, culprits: &[Culprit], now: Wall) {
        for culprit in culprits {
            let (tenant, evidence) = (&culprit.group.tenant, culprit.evidence());
            self.stop_mail(subject, &culprit.group, &evidence, now);
            let window = self.rules.window;
            let Some(cell) = find(&mut self.bindings, subject, window) else { return };
            if cell.noted.get(tenant).is_some_and(|&noted| now.since(noted) < window) {
                continue;
            }
            cell.noted.insert(tenant.clone(), now);
            let (subject, tenant) = (subject.clone(), tenant.clone());
            self.notes.push(Note::TenantBlamed { subject, tenant, evidence });
        }
    }

    /// Holds mail at the route's destination or, where the binding's fuse tripped, wherever its share of hard bounces over
    /// this binding is too large.
    fn stop_mail(&mut self, subject: &Subject, whose: &Group, evidence: &str, now: Wall) {
        let Some(watched) = self.bindings.get_mut(subject.binding()) else { return };
        let groups = &watched.groups;
        let is_whose = |key: Key| {
            groups.get(key.group).is_some_and(|group| {
                group.tenant == whose.tenant
                    && (whose.stream.is_none() || group.stream == whose.stream)
                    && (whose.domain.is_none() || group.domain == whose.domain)
            })
        };
        let places: Vec<DestinationName> = match subject {
            Subject::Route(_, to) => vec![to.clone()],
            Subject::Binding(_) => {
                let counts = watched.routes.iter().map(|(to, cell)| (to, cell.tally.of(i64::MIN, is_whose)));
                let of: Vec<_> = counts.filter(|(_, count)| count.attempts > 0).collect();
                let (limit, certainty) = (self.rules.hard_bounce_ratio, self.rules.fuse_certainty);
                let is_bad =
                    |count: &Count| count.events >= self.rules.min_events && is_above(*count, 1.0, limit, certainty);
                let mut bad: Vec<_> = of.iter().filter(|(_, c)| is_bad(c)).map(|(to, _)| (*to).clone()).collect();
                if bad.is_empty() {
                    // Nowhere for certain, or bounces that came by mail without saying from where: most likely from where most
                    // of it went.
                    let most = of.iter().max_by(|(a, x), (b, y)| x.attempts.cmp(&y.attempts).then_with(|| b.cmp(a)));
                    bad.extend(most.map(|(to, _)| (*to).clone()));
                }
                bad.sort();
                bad
            }
        };
        for to in &places {
            let Some(cell) = watched.routes.get_mut(to) else { continue };
            let part = cell.tally.part(is_whose);
            cell.tally.remove(is_whose);
            watched.own.tally.take_out(&part, watched.own.places.known(to.as_str()));
        }
        if let Subject::Binding(_) = subject {
            watched.own.tally.remove(is_whose);
        }
        let Group { tenant, stream, domain } = whose.clone();
        for destination in places {
            if domain.is_none() {
                self.holds.stop_list(&tenant, &destination, evidence, &self.rules, now);
                continue;
            }
            let (tenant, stream, sender_domain) = (tenant.clone(), stream.clone(), domain.clone());
            self.holds.stop_mail(HoldKey { tenant, sender_domain, stream, destination }, evidence, &self.rules, now);
        }
    }

    /// Suspends for hard bounces. A route's counts are taken out of its binding's, which is then judged by what
    /// happened elsewhere.
    fn trip(&mut self, subject: &Subject, case: &Case, now: Wall, out: &mut Vec<HealthChange>) {
        let Some(watched) = self.bindings.get_mut(subject.binding()) else { return };
        let text = case.evidence(&watched.groups);
        match subject {
            Subject::Binding(_) => {
                watched.own.tally.clear();
                watched.routes.values_mut().for_each(|cell| cell.tally.clear());
            }
            Subject::Route(_, to) => {
                let Some(cell) = watched.routes.get_mut(to) else { return };
                let part = cell.tally.part(|_| true);
                cell.tally.clear();
                watched.own.tally.take_out(&part, watched.own.places.known(to.as_str()));
            }
        }
        self.change(subject, &text, out, |state, rules| {
            state.penalise(Reason::HardBounces, Duration::ZERO, &text, rules, now);
        });
    }
}
