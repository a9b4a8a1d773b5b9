//! What is known of a binding without mail: listings, reverse DNS, what others report, whether its address can be bound, the operator's word.

use std::time::Duration;

use super::evidence::{Listing, clipped};
use super::health::{HealthChange, Reason, Subject, UNTIL_CLEARED};
use super::policy::Reputation;
use super::state::{Cause, Effect};
use crate::clock::Wall;
use crate::message::{BindingName, DestinationName};

impl Reputation {
    pub(super) fn unbindable(&mut self, binding: &BindingName, detail: &str, now: Wall, out: &mut Vec<HealthChange>) {
        let text = clipped(detail);
        self.change(&Subject::Binding(binding.clone()), &text, out, |state, _| state.unbindable(text.clone(), now));
    }

    pub(super) fn weigh(&mut self, binding: &BindingName, listed: &[Listing], now: Wall, out: &mut Vec<HealthChange>) {
        let sum: f64 = listed.iter().map(|l| l.weight).sum();
        let certain: f64 = listed.iter().filter(|l| l.certain).map(|l| l.weight).sum();
        let (throttle, suspend) = (self.throttle_weight, self.suspend_weight);
        self.signalled.insert(Subject::Binding(binding.clone()));
        let zones: Vec<String> = listed.iter().map(|l| format!("{} ({})", l.zone, l.codes)).collect();
        let text = match zones.is_empty() {
            true => "not listed".to_owned(),
            false => format!("listed by {}, weight {sum}", zones.join(", ")),
        };
        self.change(&Subject::Binding(binding.clone()), &text, out, |state, rules| {
            state.listed = listed.to_vec();
            // What sinks from a suspension to a throttle is out for the rest of its dwell time, and throttled after it.
            let out = sum >= suspend;
            if !out {
                state.lift(Reason::Listed, rules, now);
            }
            if out || sum >= throttle {
                let effect = if out { Effect::Suspend } else { Effect::Throttle };
                state.hold(Reason::Listed, until_cleared(effect, certain >= suspend, &text), now);
            }
        });
    }

    /// Clears the binding and all its routes, or the one at `destination`. For `span` automation suspends none of them
    /// again: over the routes lies the shield of the binding, also over those that are new.
    pub(super) fn resume(
        &mut self,
        binding: &BindingName,
        destination: Option<&DestinationName>,
        span: Option<Duration>,
        now: Wall,
        out: &mut Vec<HealthChange>,
    ) {
        let Some(watched) = self.bindings.get_mut(binding) else { return };
        let mut subjects = vec![subject(binding, destination)];
        let is_meant = |to: &DestinationName| destination.is_none_or(|only| only == to);
        let known = watched.routes.iter_mut().filter(|(to, cell)| is_meant(to) && !cell.state.is_blank());
        let routes = known.map(|(to, cell)| {
            cell.blames.clear();
            Subject::Route(binding.clone(), to.clone())
        });
        subjects.extend(routes.filter(|_| destination.is_none()));
        // The binding first, and always in the same order.
        subjects.sort();
        for subject in subjects {
            // A shield of the whole binding is kept there, once.
            let span = span.filter(|_| destination.is_some() || matches!(subject, Subject::Binding(_)));
            self.change(&subject, "resumed by the operator", out, |state, _| state.resume(span, now));
        }
    }

    pub(super) fn reverse_dns(
        &mut self,
        binding: &BindingName,
        confirmed: bool,
        detail: &str,
        now: Wall,
        out: &mut Vec<HealthChange>,
    ) {
        let text = clipped(detail);
        self.change(&Subject::Binding(binding.clone()), &text, out, |state, rules| match confirmed {
            true => state.lift(Reason::ReverseDns, rules, now),
            false => state.hold(Reason::ReverseDns, until_cleared(Effect::Suspend, false, &text), now),
        });
    }

    /// What feeds say. A word that ends sooner than the last one, or takes it back, is believed: it is the newer one.
    pub(super) fn reported(
        &mut self,
        binding: &BindingName,
        destination: Option<&DestinationName>,
        until: Option<Wall>,
        detail: &str,
        now: Wall,
        out: &mut Vec<HealthChange>,
    ) {
        let subject = subject(binding, destination);
        let until = until.filter(|until| *until > now);
        let known =
            self.cell(&subject).and_then(|cell| cell.state.causes.get(&Reason::Reported)).map(|held| held.until);
        if until.is_none() && known.is_none() {
            return;
        }
        let text = clipped(detail);
        self.change(&subject, &text, out, |state, rules| {
            if known > until {
                state.lift(Reason::Reported, rules, now);
            }
            if let Some(until) = until {
                let cause = Cause { effect: Effect::Throttle, until, certain: false, evidence: text.clone() };
                state.hold(Reason::Reported, cause, now);
            }
        });
    }

    pub(super) fn operator_suspend(
        &mut self,
        binding: &BindingName,
        destination: Option<&DestinationName>,
        reason: &str,
        span: Option<Duration>,
        now: Wall,
        out: &mut Vec<HealthChange>,
    ) {
        let until = span.map_or(UNTIL_CLEARED, |span| now.plus(span));
        let text = if reason.is_empty() { "the operator's word".to_owned() } else { clipped(reason) };
        self.change(&subject(binding, destination), &text, out, |state, _| {
            state.suspend_by_operator(until, text.clone(), now);
        });
    }
}

fn subject(binding: &BindingName, destination: Option<&DestinationName>) -> Subject {
    match destination {
        Some(to) => Subject::Route(binding.clone(), to.clone()),
        None => Subject::Binding(binding.clone()),
    }
}

fn until_cleared(effect: Effect, certain: bool, evidence: &str) -> Cause {
    Cause { effect, until: UNTIL_CLEARED, certain, evidence: evidence.to_owned() }
}
