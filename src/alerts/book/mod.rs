//! (pure) Everything the program knows of its alerts: the ledger, what each target is to be told, what is on disk.
//!
//! One value, so that a look at the conditions, the changes it makes and what follows for every target happen at one
//! moment and can be tested without a network.

mod follow;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use super::conditions;
use super::kept::{self, Kept};
use super::ledger::{Alert, Change, Identity, Ledger};
use super::outbox::{Deliveries, Delivery, Outcome, Push, States};
use super::payload::Origin;
use super::shown::{AlertShown, Snapshot, Tally, TargetShown};
use super::trend::Trend;
use super::view::{Counted, LATELY, View};
use crate::clock::Wall;
use crate::config::{Alertmanager, Alerts as Rules, Webhook};

/// Deliveries are written down as often as this part of the silence that counts as wrong, and at most once a minute.
const SILENCE_PART: u32 = 12;

/// A durable change to hand to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Store this under this key.
    Put(String, Vec<u8>),
    /// Forget this key.
    Remove(String),
}

/// What is to be told to a target.
#[derive(Clone, Debug)]
enum Outbox {
    Alertmanager(States),
    Webhook(usize, Deliveries),
}

#[derive(Clone, Debug)]
struct Target {
    /// For good, whatever its place in the configuration.
    number: usize,
    name: String,
    outbox: Outbox,
    last_success: Option<Wall>,
    last_error: Option<String>,
}

impl Target {
    fn new(name: &str, outbox: Outbox) -> Self {
        Self { number: 0, name: name.to_owned(), outbox, last_success: None, last_error: None }
    }

    fn manager(manager: &Alertmanager) -> Self {
        Self::new(&manager.name, Outbox::Alertmanager(States::default()))
    }

    fn hook(place: usize, hook: &Webhook) -> Self {
        Self::new(&hook.name, Outbox::Webhook(place, Deliveries::new(&hook.name)))
    }
}

/// One push, made for a target.
#[derive(Clone, Debug)]
pub enum Job {
    /// To an Alertmanager.
    States(Push),
    /// To a webhook.
    Delivery(Delivery),
}

/// One push that was made.
#[derive(Clone, Debug)]
pub struct Done {
    /// Which.
    pub job: Job,
    /// How it ended.
    pub outcome: Outcome,
    /// What went wrong, in words.
    pub error: Option<String>,
}

/// See the module.
#[derive(Debug)]
pub struct Book {
    rules: Rules,
    ledger: Ledger,
    trend: Trend,
    targets: Vec<Target>,
    /// Of the next target that is new.
    next_number: usize,
    /// What is on disk; `None` where that is not known.
    written: BTreeMap<String, Option<Kept>>,
    /// The last delivery, as it is on disk.
    delivery_written: Option<Wall>,
    started: Wall,
    looked: Option<Wall>,
}

impl Book {
    /// Nothing known. Targets are numbered: first the Alertmanagers, then the webhooks, as in the configuration.
    pub fn new(rules: &Rules, now: Wall) -> Self {
        let managers = rules.alertmanagers.iter().map(Target::manager);
        let hooks = rules.webhooks.iter().enumerate().map(|(place, hook)| Target::hook(place, hook));
        let targets: Vec<Target> = managers.chain(hooks).collect();
        let numbered = targets.into_iter().enumerate().map(|(number, target)| Target { number, ..target });
        let targets: Vec<Target> = numbered.collect();
        Self {
            ledger: Ledger::default(),
            trend: Trend::new(rules.limits.window, now),
            next_number: targets.len(),
            targets,
            written: BTreeMap::new(),
            delivery_written: None,
            started: now,
            looked: None,
            rules: rules.clone(),
        }
    }

    /// The numbers of the targets: first the Alertmanagers, then the webhooks, as in the configuration.
    pub fn numbers(&self) -> Vec<usize> {
        self.targets.iter().map(|target| target.number).collect()
    }

    fn target(&mut self, number: usize) -> Option<&mut Target> {
        self.targets.iter_mut().find(|target| target.number == number)
    }

    /// Goes on where an earlier run stopped; returns the keys of facts that cannot be read.
    pub fn restore(&mut self, facts: Vec<(String, Vec<u8>)>) -> Vec<String> {
        let mut bad = Vec::new();
        let mut alerts = Vec::new();
        for (key, bytes) in facts {
            if key == kept::LAST_DELIVERY {
                match kept::read_last_delivery(&bytes) {
                    Some(at) => {
                        self.trend.restore(at);
                        self.delivery_written = Some(at);
                    }
                    // Written over with the next facts.
                    None => bad.push(key),
                }
                continue;
            }
            let kept = Kept::read(&bytes);
            let Some((kept, alert)) = kept.and_then(|kept| kept.alert(&self.rules).map(|alert| (kept, alert))) else {
                // Goes with the next facts.
                self.written.insert(key.clone(), None);
                bad.push(key);
                continue;
            };
            for target in &mut self.targets {
                let Outbox::Webhook(n, deliveries) = &mut target.outbox else { continue };
                match kept.ended.get(&target.name) {
                    Some(at) => deliveries.restore_ended(&alert, *at, &self.rules.webhooks[*n]),
                    None if kept.ended.is_empty() => {
                        deliveries.restore(&alert, kept.told.get(&target.name).copied(), &self.rules.webhooks[*n]);
                    }
                    None => {}
                }
            }
            if kept.ended.is_empty() {
                alerts.push(alert);
            }
            self.written.insert(key, Some(kept.mark()));
        }
        self.ledger.restore(alerts);
        bad
    }

    /// Judges `view`, whose counts since the start are `totals`.
    pub fn look(&mut self, mut view: View, totals: &Counted, now: Wall) {
        self.trend.add(totals, now);
        (view.window, view.window_span) = self.trend.within(self.rules.limits.window, totals, now);
        (view.lately, view.lately_span) = self.trend.within(LATELY, totals, now);
        view.last_delivery = self.trend.last_delivery();
        view.running = now.since(self.started);
        view.left_out = self.ledger.left_out() as u64;
        let judgement = conditions::of(&view, &self.rules, now);
        let changes = self.ledger.look(judgement, &self.rules, now);
        self.looked = Some(now);
        self.note(&changes, now);
    }

    fn note(&mut self, changes: &[Change], now: Wall) {
        for target in &mut self.targets {
            match &mut target.outbox {
                Outbox::Alertmanager(states) => states.note(changes),
                Outbox::Webhook(n, deliveries) => {
                    let rules = &self.rules.webhooks[*n];
                    deliveries.note(changes, rules);
                    deliveries.remind(self.ledger.firing(), self.rules.repeat, rules, now);
                }
            }
        }
    }

    /// How long until target `number` is to be told something; `None` where nothing is known to tell.
    pub fn wait(&self, number: usize, now: Wall) -> Option<Duration> {
        match &self.targets.iter().find(|target| target.number == number)?.outbox {
            Outbox::Alertmanager(states) => states.wait(self.ledger.firing().next().is_some(), self.rules.resend, now),
            Outbox::Webhook(_, deliveries) => deliveries.wait(now),
        }
    }

    /// What to tell target `number` now: parts of one push to an Alertmanager, to be sent in this order, or deliveries to a
    /// webhook, in no order.
    pub fn jobs(&mut self, number: usize, now: Wall) -> Vec<Job> {
        let Self { targets, ledger, .. } = self;
        let Some(target) = targets.iter_mut().find(|target| target.number == number) else { return Vec::new() };
        match &mut target.outbox {
            Outbox::Alertmanager(states) => {
                states.push(ledger.firing(), now).parts().into_iter().map(Job::States).collect()
            }
            Outbox::Webhook(_, deliveries) => deliveries.push(now).into_iter().map(Job::Delivery).collect(),
        }
    }

    /// How these ended, which were sent; `unit` is random in 0..1.
    pub fn learn(&mut self, number: usize, done: &[Done], unit: f64, now: Wall) {
        let resend = self.rules.resend;
        let Some(target) = self.target(number).filter(|_| !done.is_empty()) else { return };
        match &mut target.outbox {
            Outbox::Alertmanager(states) => {
                let parts = done.iter().filter_map(|done| match &done.job {
                    Job::States(push) => Some((push, done.outcome)),
                    Job::Delivery(_) => None,
                });
                states.learn(&parts.collect::<Vec<_>>(), resend, unit, now);
            }
            Outbox::Webhook(_, deliveries) => {
                let sent = done.iter().filter_map(|done| match &done.job {
                    Job::Delivery(sent) => Some((sent, done.outcome)),
                    Job::States(_) => None,
                });
                deliveries.learn(&sent.collect::<Vec<_>>(), unit, now);
            }
        }
        target.last_error = done.iter().find_map(|done| done.error.clone());
        let is_taken = |done: &Done| done.outcome == Outcome::Accepted;
        // Of an Alertmanager's parts all must be taken, or it does not know everything.
        let is_success = match target.outbox {
            Outbox::Alertmanager(_) => done.iter().all(is_taken),
            Outbox::Webhook(..) => done.iter().any(is_taken),
        };
        if is_success {
            target.last_success = Some(now);
        }
    }

    /// What must be written, and is taken as written: see [`Book::not_written`].
    pub fn facts(&mut self) -> Vec<Fact> {
        let mut wanted: BTreeMap<String, Kept> = BTreeMap::new();
        for alert in self.ledger.worth_keeping(&self.rules) {
            let identity = alert.identity();
            let told = self.targets.iter().filter_map(|target| match &target.outbox {
                Outbox::Webhook(_, deliveries) => Some((target.name.clone(), deliveries.told(&identity)?)),
                Outbox::Alertmanager(_) => None,
            });
            let mut kept = Kept::of(alert);
            kept.told = told.collect();
            wanted.insert(kept::key(&identity), kept);
        }
        for target in &self.targets {
            let Outbox::Webhook(_, deliveries) = &target.outbox else { continue };
            for (alert, at) in deliveries.unresolved() {
                // One that fires again is on disk as that.
                let kept = wanted.entry(kept::key(&alert.identity())).or_insert_with(|| {
                    let mut kept = Kept::of(alert);
                    kept.ended.insert(target.name.clone(), at);
                    kept
                });
                if !kept.ended.is_empty() {
                    kept.ended.insert(target.name.clone(), at);
                }
            }
        }
        let gone = self.written.keys().filter(|key| !wanted.contains_key(*key)).cloned();
        let mut facts: Vec<Fact> = gone.map(Fact::Remove).collect();
        for (key, kept) in &wanted {
            if self.written.get(key) != Some(&Some(kept.mark())) {
                facts.push(Fact::Put(key.clone(), kept.bytes()));
            }
        }
        self.written = wanted.into_iter().map(|(key, kept)| (key, Some(kept.mark()))).collect();
        facts.extend(self.delivery_fact());
        facts
    }

    /// Rarely enough that a busy relay does not write for this alone; the moment of the first start is written as well.
    fn delivery_fact(&mut self) -> Option<Fact> {
        let last = self.trend.last_delivery();
        let step = (self.rules.limits.no_deliveries / SILENCE_PART).max(Duration::from_secs(60));
        // A clock that was set back: what is on disk lies in the future.
        let is_due = self.delivery_written.is_none_or(|written| last.since(written) >= step || last < written);
        is_due.then(|| {
            self.delivery_written = Some(last);
            Fact::Put(kept::LAST_DELIVERY.to_owned(), kept::last_delivery(last))
        })
    }

    /// These could not be written: they come again.
    pub fn not_written(&mut self, facts: &[Fact]) {
        for fact in facts {
            let (Fact::Put(key, _) | Fact::Remove(key)) = fact;
            if key == kept::LAST_DELIVERY {
                self.delivery_written = None;
            } else {
                self.written.insert(key.clone(), None);
            }
        }
    }

    /// For metrics: no words.
    pub fn tally(&self, now: Wall) -> Tally {
        let mut tally = Tally {
            left_out: self.ledger.left_out(),
            targets: self.targets.iter().map(|target| self.target_shown(target, now)).collect(),
            ..Tally::default()
        };
        for alert in self.ledger.firing() {
            *tally.firing.entry((alert.condition.name, alert.severity)).or_default() += 1;
        }
        tally
    }

    /// For people.
    pub fn snapshot(&self, origin: &Origin, now: Wall) -> Snapshot {
        let alerts = self.ledger.all().map(|alert| self.shown(alert, origin));
        Snapshot {
            at: now,
            looked_at: self.looked,
            alerts: alerts.collect(),
            left_out: self.ledger.left_out(),
            targets: self.targets.iter().map(|target| self.target_shown(target, now)).collect(),
        }
    }

    fn shown(&self, alert: &Alert, origin: &Origin) -> AlertShown {
        let told = self.targets.iter().filter(|target| self.knows(target, alert, &alert.identity()));
        AlertShown {
            name: alert.condition.name.as_str().to_owned(),
            severity: alert.severity.as_str().to_owned(),
            state: alert.stage.as_str().to_owned(),
            since: alert.since,
            fired_at: alert.stage.fired(),
            labels: alert.condition.labels.clone(),
            summary: alert.condition.summary.clone(),
            description: alert.condition.description.clone(),
            runbook_url: origin.runbook_of(alert),
            told: told.map(|target| target.name.clone()).collect(),
        }
    }

    fn knows(&self, target: &Target, alert: &Alert, identity: &Identity) -> bool {
        match (&target.outbox, alert.stage.fired()) {
            (Outbox::Webhook(_, deliveries), Some(_)) => deliveries.told(identity).is_some(),
            (Outbox::Alertmanager(_), Some(fired)) => target.last_success.is_some_and(|at| at >= fired),
            (_, None) => false,
        }
    }

    fn target_shown(&self, target: &Target, now: Wall) -> TargetShown {
        let (kind, waiting, failures, lost, is_gone) = match &target.outbox {
            Outbox::Alertmanager(states) => ("alertmanager", states.waiting(), states.patience.failures(), 0, false),
            Outbox::Webhook(_, d) => ("webhook", d.waiting(), d.patience.failures(), d.lost(), d.is_gone()),
        };
        TargetShown {
            name: target.name.clone(),
            kind: kind.to_owned(),
            last_success: target.last_success,
            age_seconds: now.since(target.last_success.unwrap_or(self.started)).as_secs(),
            failures,
            waiting,
            lost,
            is_gone,
            last_error: target.last_error.clone(),
        }
    }
}
