//! Health as reputation concluded it, taken over for selection.

use super::Scheduler;
use crate::clock::Now;
use crate::message::ProviderName;
use crate::reputation::{Health, Subject};

impl Scheduler {
    /// Takes over a health that was concluded. Unknown names are ignored; `now` should be the moment of the conclusion.
    pub fn set_health(&mut self, subject: &Subject, health: &Health, now: Now) {
        let is_out = |health: &Health| matches!(health, Health::Suspended { .. });
        let is_new = !self.health(subject).is_some_and(is_out);
        self.take_over_health(subject, health, is_new, now);
    }

    /// Takes over a health that an earlier run concluded: what was learned from it then is not learned again, and a pause
    /// that a receiver asked for is taken up. After [`restore_warmups`](Self::restore_warmups).
    pub fn restore_health(&mut self, subject: &Subject, health: &Health, now: Now) {
        self.take_over_health(subject, health, false, now);
        let Subject::Route(binding, destination) = subject else { return };
        if let (Some(&id), Some(&to)) = (self.binding_ids.get(binding), self.destination_ids.get(destination)) {
            self.recall_back_off(id, to, now);
        }
    }

    fn take_over_health(&mut self, subject: &Subject, health: &Health, is_new: bool, now: Now) {
        self.tick(now);
        let Some(&id) = self.binding_ids.get(subject.binding()) else { return };
        self.warm_up_health(id, subject, health, is_new);
        match subject {
            Subject::Binding(_) => {
                let binding = &mut self.bindings[id.index()];
                let was_there = binding.is_there();
                binding.standing.set(health);
                if binding.is_there() != was_there {
                    self.recount_covers(id);
                }
                self.refresh(id, now);
            }
            Subject::Route(_, destination) => {
                let provider = ProviderName::new(destination.as_str());
                let is_provider = self.table.providers.contains_key(&provider);
                let destination = self.destination(destination, is_provider.then_some(&provider));
                let route = self.route_mut(id, destination);
                route.standing.set(health);
                let divisor = route.standing.divisor(now.wall);
                if let Some(limiter) = &mut route.limiter {
                    limiter.change(limiter.rate(), divisor);
                }
                self.refresh_route(id, destination, now);
                self.prune(id, destination);
            }
        }
    }

    /// The health that selection goes by, for status and tests.
    pub fn health(&self, subject: &Subject) -> Option<&Health> {
        let id = *self.binding_ids.get(subject.binding())?;
        match subject {
            Subject::Binding(_) => Some(self.bindings[id.index()].standing.health()),
            Subject::Route(_, destination) => {
                let destination = *self.destination_ids.get(destination)?;
                Some(self.routes.get(id, destination)?.standing.health())
            }
        }
    }
}
