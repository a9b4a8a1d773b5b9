//! For a webhook: each change once, and a reminder of what still fires.
//!
//! A delivery is repeated until the target takes it or refuses it: at least once, and its id stays the same, so that the
//! receiver can tell. An end is given up after [`AGE_MAX`]; what still fires never is, however long the target was away, and
//! what had to make room ([`WAITING_MAX`]) or was never wanted before comes back with the next look. Of one alert only the
//! newest waits. If its beginning was never sent and it ends, neither is told; after a single try nobody knows what the
//! receiver believes, and the end is told.
//!
//! Several go out at the same time ([`AT_ONCE`]) while the target takes them, the worst first; one that fails is tried alone
//! and after the others.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::{Outcome, Patience};
use crate::alerts::ledger::{Alert, Change, Identity};
use crate::clock::Wall;
use crate::config::Webhook;

/// Age at which the end of an alert is given up.
pub const AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Deliveries that wait at most. The oldest beginnings go first: they come back while they are true, an end does not.
const WAITING_MAX: usize = 2_000;
/// Deliveries under way at the same time.
pub const AT_ONCE: usize = 8;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It began.
    Firing,
    /// It still fires.
    Reminder,
    /// It is over.
    Resolved,
}

/// One POST.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The same for every try.
    pub id: String,
    /// What happened.
    pub event: Event,
    /// To which alert.
    pub alert: Alert,
    /// When it happened.
    pub at: Wall,
    identity: Identity,
    tries: u32,
}

impl Delivery {
    /// To tell `target` this.
    pub fn new(target: &str, event: Event, alert: &Alert, at: Wall) -> Self {
        let identity = alert.identity();
        Self { id: id(target, &identity, event, at), event, alert: alert.clone(), at, identity, tries: 0 }
    }
}

/// What one webhook is to be told, and has been.
#[derive(Clone, Debug, Default)]
pub struct Deliveries {
    target: String,
    queue: VecDeque<Delivery>,
    /// When it was last told that these fire.
    told: BTreeMap<Identity, Wall>,
    /// What it may believe to fire.
    believed: BTreeSet<Identity>,
    /// Answered 410: nothing more until a restart, or until its settings change.
    is_gone: bool,
    /// Given up or pushed out since the start.
    lost: u64,
    /// How it answers.
    pub patience: Patience,
}

impl Deliveries {
    /// Nothing told yet to the target of this name.
    pub fn new(target: &str) -> Self {
        Self { target: target.to_owned(), ..Self::default() }
    }

    /// Goes on where an earlier run stopped: `alert` fires and was told at this moment, or perhaps not at all.
    pub fn restore(&mut self, alert: &Alert, told: Option<Wall>, rules: &Webhook) {
        let Some(fired) = alert.stage.fired() else { return };
        self.believed.insert(alert.identity());
        match told {
            Some(at) => drop(self.told.insert(alert.identity(), at)),
            None if wants(rules, alert, Event::Firing) => self.put(Event::Firing, alert, fired),
            None => {}
        }
    }

    /// Goes on where an earlier run stopped: `alert` ended at this moment, which was not told.
    pub fn restore_ended(&mut self, alert: &Alert, at: Wall, rules: &Webhook) {
        self.believed.insert(alert.identity());
        self.end(alert, at, rules);
    }

    /// It may take again what it did not: the operator has changed how it is told.
    pub fn try_again(&mut self) {
        (self.is_gone, self.patience) = (false, Patience::default());
    }

    /// Takes in what has changed.
    pub fn note(&mut self, changes: &[Change], rules: &Webhook) {
        if self.is_gone {
            return;
        }
        for change in changes {
            match change {
                Change::Fired(alert) if wants(rules, alert, Event::Firing) => {
                    self.put(Event::Firing, alert, alert.stage.fired().unwrap_or_default());
                }
                Change::Fired(_) => {}
                Change::Ended(alert, at) => self.end(alert, *at, rules),
            }
        }
    }

    fn end(&mut self, alert: &Alert, at: Wall, rules: &Webhook) {
        let identity = alert.identity();
        self.queue.retain(|delivery| delivery.identity != identity);
        self.told.remove(&identity);
        // Who wants only ends hears of every one of them.
        let is_news = self.believed.contains(&identity) || !rules.firing;
        if is_news && wants(rules, alert, Event::Resolved) {
            self.put(Event::Resolved, alert, at);
        }
    }

    /// Queues what fires and was never told, and reminders of what was told longer than `repeat` ago.
    pub fn remind<'a>(
        &mut self,
        firing: impl IntoIterator<Item = &'a Alert>,
        repeat: Option<Duration>,
        rules: &Webhook,
        now: Wall,
    ) {
        if self.is_gone {
            return;
        }
        let waiting: HashSet<Identity> = self.queue.iter().map(|delivery| delivery.identity.clone()).collect();
        for alert in firing {
            let identity = alert.identity();
            if self.queue.len() >= WAITING_MAX || waiting.contains(&identity) || !wants(rules, alert, Event::Firing) {
                continue;
            }
            match self.told.get_mut(&identity) {
                None => self.put(Event::Firing, alert, alert.stage.fired().unwrap_or(now)),
                Some(told) => {
                    // A clock that was set back: what was told tomorrow was told now.
                    *told = (*told).min(now);
                    if repeat.is_some_and(|repeat| now.since(*told) >= repeat) {
                        self.put(Event::Reminder, alert, now);
                    }
                }
            }
        }
    }

    fn put(&mut self, event: Event, alert: &Alert, at: Wall) {
        let identity = alert.identity();
        // Of one alert the newest only: a new beginning makes an end that was not told pointless, and the reverse.
        self.queue.retain(|delivery| delivery.identity != identity);
        self.queue.push_back(Delivery::new(&self.target, event, alert, at));
        if self.queue.len() > WAITING_MAX {
            let beginning = self.queue.iter().position(|delivery| delivery.event != Event::Resolved);
            self.lost += u64::from(beginning.is_none());
            self.queue.remove(beginning.unwrap_or_default());
        }
    }

    /// How long until the next try; `None` where nothing waits.
    pub fn wait(&self, now: Wall) -> Option<Duration> {
        (!self.queue.is_empty()).then(|| self.patience.wait(now))
    }

    /// What to send now: several at the same time, one alone while the target fails.
    pub fn push(&mut self, now: Wall) -> Vec<Delivery> {
        let before = self.queue.len();
        self.queue.retain(|delivery| delivery.event != Event::Resolved || now.since(delivery.at) <= AGE_MAX);
        self.lost += (before - self.queue.len()) as u64;
        let most = if self.patience.failures() == 0 { AT_ONCE } else { 1 };
        let mut next: Vec<&Delivery> = self.queue.iter().collect();
        // What was tried before comes after the rest: if it is this one that the target stumbles over, the others get through.
        next.sort_by_key(|delivery| (delivery.tries, Reverse(delivery.alert.severity)));
        let next: Vec<Delivery> = next.into_iter().take(most).cloned().collect();
        let told = next.iter().filter(|delivery| delivery.event != Event::Resolved);
        self.believed.extend(told.map(|delivery| delivery.identity.clone()));
        next
    }

    /// How these ended, which were sent at the same time.
    pub fn learn(&mut self, sent: &[(&Delivery, Outcome)], unit: f64, now: Wall) {
        if let Some(worst) = sent.iter().map(|(_, outcome)| *outcome).max_by_key(|outcome| outcome.rank()) {
            self.patience.learn(worst, unit, now);
        }
        sent.iter().for_each(|(delivery, outcome)| self.learn_one(delivery, *outcome, now));
    }

    fn learn_one(&mut self, sent: &Delivery, outcome: Outcome, now: Wall) {
        match outcome {
            Outcome::Accepted | Outcome::Refused => {
                self.queue.retain(|delivery| delivery.id != sent.id);
                self.lost += u64::from(outcome == Outcome::Refused);
                let identity = sent.identity.clone();
                if sent.event == Event::Resolved {
                    self.believed.remove(&identity);
                } else if self.believed.contains(&identity) && !self.has_end_of(&identity) {
                    self.told.insert(identity, now);
                }
            }
            Outcome::Gone => {
                (self.is_gone, self.lost) = (true, self.lost + self.queue.len() as u64);
                self.queue.clear();
            }
            Outcome::Throttled(_) | Outcome::Failed | Outcome::Unready => {
                let tried = self.queue.iter_mut().filter(|delivery| delivery.id == sent.id);
                tried.for_each(|delivery| delivery.tries = delivery.tries.saturating_add(1));
            }
        }
    }

    fn has_end_of(&self, identity: &Identity) -> bool {
        self.queue.iter().any(|delivery| delivery.event == Event::Resolved && delivery.identity == *identity)
    }

    /// When it was last told that this alert fires.
    pub fn told(&self, identity: &Identity) -> Option<Wall> {
        self.told.get(identity).copied()
    }

    /// Ended alerts that it has not been told of yet, and when they ended.
    pub fn unresolved(&self) -> impl Iterator<Item = (&Alert, Wall)> {
        self.queue.iter().filter(|d| d.event == Event::Resolved).map(|d| (&d.alert, d.at))
    }

    /// Whether it answered 410.
    pub fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// How many deliveries wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// How many were refused, given up or pushed out since the start.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

fn wants(rules: &Webhook, alert: &Alert, event: Event) -> bool {
    let told = match event {
        Event::Firing | Event::Reminder => rules.firing,
        Event::Resolved => rules.resolved,
    };
    told && alert.severity >= rules.min_severity
}

/// Derived from what it tells, so that a restart in between does not make it another.
fn id(target: &str, identity: &Identity, event: Event, at: Wall) -> String {
    let text = format!("{target}\n{}\n{event:?}\n{}", identity.as_str(), at.as_millis());
    digest(&SHA256, text.as_bytes()).as_ref().iter().take(16).map(|octet| format!("{octet:02x}")).collect()
}
