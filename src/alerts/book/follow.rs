//! Other rules and other targets, while alerts fire.

use super::{Book, Outbox, Rules, Target};
use crate::alerts::outbox::Patience;

impl Book {
    /// The rules are these from now on. What fires goes on firing and is judged anew with the next look. A target that stays
    /// where it was knows what it was told, however it is to know us now; one elsewhere is another one, with a number that
    /// none had before, and is told what fires.
    pub fn follow(&mut self, rules: &Rules) {
        let mut before = std::mem::take(&mut self.targets);
        let mut kept =
            |is_same: &dyn Fn(&Target) -> bool| before.iter().position(is_same).map(|place| before.swap_remove(place));
        let mut targets = Vec::new();
        for manager in &rules.alertmanagers {
            let old = self.rules.alertmanagers.iter().find(|old| old.name == manager.name && old.url == manager.url);
            let is_same = |t: &Target| t.name == manager.name && matches!(t.outbox, Outbox::Alertmanager(_));
            let same = old.and_then(|old| Some((kept(&is_same)?, old != manager)));
            targets.push(match same {
                Some((target, has_changed)) => (target.tried_again(has_changed), false),
                None => (Target::manager(manager), true),
            });
        }
        for (place, hook) in rules.webhooks.iter().enumerate() {
            let old = self.rules.webhooks.iter().find(|old| old.name == hook.name && old.url == hook.url);
            let is_same = |t: &Target| t.name == hook.name && matches!(t.outbox, Outbox::Webhook(..));
            let same = old.and_then(|old| Some((kept(&is_same)?, old != hook)));
            targets.push(match same {
                Some((target, has_changed)) => (target.tried_again(has_changed).at(place), false),
                None => (Target::hook(place, hook), true),
            });
        }
        for (target, is_new) in &mut targets {
            if *is_new {
                target.number = self.next_number;
                self.next_number += 1;
            }
        }
        self.targets = targets.into_iter().map(|(target, _)| target).collect();
        self.trend.follow(rules.limits.window);
        self.rules = rules.clone();
    }
}

impl Target {
    /// At this place among the webhooks.
    fn at(mut self, now: usize) -> Self {
        if let Outbox::Webhook(place, _) = &mut self.outbox {
            *place = now;
        }
        self
    }

    /// At once, where something about it has changed: it may have failed for that.
    fn tried_again(mut self, has_changed: bool) -> Self {
        if has_changed {
            match &mut self.outbox {
                Outbox::Alertmanager(states) => states.patience = Patience::default(),
                Outbox::Webhook(_, deliveries) => deliveries.try_again(),
            }
        }
        self
    }
}
