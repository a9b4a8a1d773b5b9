//! What is known of a binding without mail: listings, reverse DNS, whether its address can be bound, the operator's word.

use std::time::Duration;

use super::evidence::{Listing, clipped};
use super::health::{HealthChange, Reason, Subject, UNTIL_CLEARED};
use super::policy::Reputation;
use super::state::{Cause, Effect};
use crate::clock::Wall;
use crate::message::BindingName;

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

    pub(super) fn resume(&mut self, binding: &BindingName, now: Wall, out: &mut Vec<HealthChange>) {
        let Some(watched) = self.bindings.get_mut(binding) else { return };
        let mut subjects = vec![Subject::Binding(binding.clone())];
        subjects.extend(watched.routes.iter_mut().filter(|(_, cell)| !cell.state.is_blank()).map(|(to, cell)| {
            cell.blames.clear();
            Subject::Route(binding.clone(), to.clone())
        }));
        for subject in subjects {
            self.change(&subject, "resumed by the operator", out, |state, _| state.resume(now));
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

    pub(super) fn operator_suspend(
        &mut self,
        binding: &BindingName,
        reason: &str,
        span: Option<Duration>,
        now: Wall,
        out: &mut Vec<HealthChange>,
    ) {
        let until = span.map_or(UNTIL_CLEARED, |span| now.plus(span));
        let cause = Cause { effect: Effect::Suspend, until, certain: true, evidence: clipped(reason) };
        self.change(&Subject::Binding(binding.clone()), reason, out, |state, _| {
            // The operator's latest word counts, also when it is shorter.
            state.causes.insert(Reason::Operator, cause);
        });
    }
}

fn until_cleared(effect: Effect, certain: bool, evidence: &str) -> Cause {
    Cause { effect, until: UNTIL_CLEARED, certain, evidence: evidence.to_owned() }
}
