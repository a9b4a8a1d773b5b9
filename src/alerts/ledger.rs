//! (pure) From conditions that come and go to alerts that begin and end.
//!
//! ```text
//!             holds for `for`                 gone for `clear_after`
//!   pending ─────────────────▶ firing ⇄ clearing ──────────────────▶ ended
//!      └── gone: forgotten, told nobody     └── back in time: the same alert
//! ```
//!
//! What fires is kept over a restart with the moment it began, so that the same alert goes on; what was over meanwhile
//! ends in the ordinary way. A doubt stops the clock of both ends: nothing begins and nothing ends on "I cannot tell".
//!
//! There is a bound to both kinds. What waits ([`PENDING_MAX`]) takes no room from what fires, and gives way to what is
//! worse or sooner due. What fires stays until it ends, so the mild never take all the room there is ([`room_for`]): in a
//! storm of listings a full disk is still told. How many conditions found no room is counted, and an alert of its own.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::conditions::{Condition, Judgement, Labels};
use crate::clock::Wall;
use crate::config::{AlertName, AlertRule, Alerts, Severity};

/// Alerts that fire at the same time.
pub const ALERTS_MAX: usize = 2_000;

/// Alerts that wait at the same time: a ladder of warm-up for each provider of many bindings waits for days.
pub const PENDING_MAX: usize = 10_000;

/// Up to how many alerts in all one of this severity finds room.
pub fn room_for(severity: Severity) -> usize {
    match severity {
        Severity::Info => ALERTS_MAX / 2,
        Severity::Warning => ALERTS_MAX / 4 * 3,
        Severity::Critical => ALERTS_MAX,
    }
}

/// Rules that wait at least so long are kept over a restart while they wait.
const WORTH_KEEPING: Duration = Duration::from_secs(60 * 60);

/// What identifies an alert: its name and labels. Also its key among the facts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(String);

impl Identity {
    /// Of this name and these labels.
    pub fn of(name: AlertName, labels: &Labels) -> Self {
        // Quoted as Debug does, so that no value can look like another label.
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
        Self(format!("{}{{{}}}", name.as_str(), labels.join(",")))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Stage {
    /// Its condition holds, but not yet for long enough.
    Pending,
    /// Told.
    Firing {
        /// From when on.
        fired: Wall,
    },
    /// Told, but its condition is gone for the moment.
    Clearing {
        /// Fired from when on.
        fired: Wall,
        /// Since when it is gone.
        gone: Wall,
    },
}

impl Stage {
    /// Stable text: pending, firing, clearing.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing { .. } => "firing",
            Self::Clearing { .. } => "clearing",
        }
    }

    /// When it began to fire, if it does.
    pub fn fired(self) -> Option<Wall> {
        match self {
            Self::Pending => None,
            Self::Firing { fired } | Self::Clearing { fired, .. } => Some(fired),
        }
    }
}

/// An alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// What it says, as last seen.
    pub condition: Condition,
    /// How bad it is.
    pub severity: Severity,
    /// Since when its condition holds.
    pub since: Wall,
    /// Where it stands.
    pub stage: Stage,
}

impl Alert {
    /// What identifies it.
    pub fn identity(&self) -> Identity {
        Identity::of(self.condition.name, &self.condition.labels)
    }

    fn is_due(&self, rule: &AlertRule, now: Wall) -> bool {
        self.stage == Stage::Pending && now.since(self.since) >= rule.hold
    }
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// It fires now.
    Fired(Alert),
    /// It is over since this moment.
    Ended(Alert, Wall),
}

/// All alerts.
#[derive(Debug, Default)]
pub struct Ledger {
    alerts: BTreeMap<Identity, Alert>,
    /// Conditions that found no room at the last look.
    left_out: usize,
}

/// Which of two has the better claim to room: the one alert that speaks for those without, then the worse, then what is due
/// sooner.
type Claim = (bool, Severity, Reverse<Duration>);

fn claim(name: AlertName, rules: &Alerts) -> Claim {
    let rule = rules.rule(name);
    (name == AlertName::AlertsLeftOut, rule.severity, Reverse(rule.hold))
}

impl Ledger {
    /// Goes on with what an earlier run knew.
    pub fn restore(&mut self, alerts: impl IntoIterator<Item = Alert>) {
        self.alerts.extend(alerts.into_iter().map(|alert| (alert.identity(), alert)));
    }

    /// Takes in what was seen; returns what has changed for those that are told.
    pub fn look(&mut self, seen: Judgement, rules: &Alerts, now: Wall) -> Vec<Change> {
        let Judgement { conditions, doubts } = seen;
        let mut changes = Vec::new();
        let mut present: BTreeMap<Identity, Condition> = BTreeMap::new();
        for condition in conditions {
            present.entry(Identity::of(condition.name, &condition.labels)).or_insert(condition);
        }
        let mut due = Vec::new();
        self.alerts.retain(|identity, alert| {
            let rule = rules.rule(alert.condition.name);
            alert.severity = rule.severity;
            match present.remove(identity) {
                Some(condition) => {
                    hold(alert, condition, now, &mut changes);
                    if alert.is_due(&rule, now) {
                        due.push(identity.clone());
                    }
                    true
                }
                None => {
                    let unsure = doubts.iter().any(|d| d.covers(alert.condition.name, &alert.condition.labels));
                    // A rule that was switched off ends what it began, whatever can or cannot be told.
                    release(alert, unsure && rule.enabled, rules.clear_after, now, &mut changes)
                }
            }
        });
        self.left_out = 0;
        due.extend(self.take_in(present, rules, now));
        self.fire(due, rules, now, &mut changes);
        changes
    }

    /// Lets what is new wait, as far as there is room; returns what does not have to.
    fn take_in(&mut self, fresh: BTreeMap<Identity, Condition>, rules: &Alerts, now: Wall) -> Vec<Identity> {
        let mut fresh: Vec<(Identity, Condition)> = fresh.into_iter().collect();
        fresh.sort_by_key(|(_, condition)| Reverse(claim(condition.name, rules)));
        let mut room = PENDING_MAX.saturating_sub(self.pending().count());
        // Looked at only where there is no room: those with the weakest claim are at the end.
        let mut weakest: Option<Vec<(Claim, Identity)>> = None;
        let mut due = Vec::new();
        for (identity, condition) in fresh {
            if room > 0 {
                room -= 1;
            } else {
                self.left_out += 1;
                let weakest = weakest.get_or_insert_with(|| {
                    let pending = self.alerts.iter().filter(|(_, alert)| alert.stage == Stage::Pending);
                    let mut all: Vec<_> =
                        pending.map(|(id, alert)| (claim(alert.condition.name, rules), id.clone())).collect();
                    all.sort_by(|one, other| other.cmp(one));
                    all
                });
                // Sorted: where this one has no better claim, none of the rest has.
                let Some((_, out)) = weakest.pop_if(|(weak, _)| *weak < claim(condition.name, rules)) else { continue };
                self.alerts.remove(&out);
            }
            let rule = rules.rule(condition.name);
            let alert = Alert { condition, severity: rule.severity, since: now, stage: Stage::Pending };
            if alert.is_due(&rule, now) {
                due.push(identity.clone());
            }
            self.alerts.insert(identity, alert);
        }
        due
    }

    /// Lets fire what has held for long enough, the worst first, as far as there is room; the rest goes on waiting.
    fn fire(&mut self, mut due: Vec<Identity>, rules: &Alerts, now: Wall, changes: &mut Vec<Change>) {
        let mut told = self.firing().count();
        due.sort_by_cached_key(|identity| Reverse(self.alerts.get(identity).map(|a| claim(a.condition.name, rules))));
        for identity in due {
            // One that gave way meanwhile is not there any more, and was counted.
            let Some(alert) = self.alerts.get_mut(&identity) else { continue };
            if told >= room_for(alert.severity) && alert.condition.name != AlertName::AlertsLeftOut {
                self.left_out += 1;
                continue;
            }
            told += 1;
            alert.stage = Stage::Firing { fired: now };
            changes.push(Change::Fired(alert.clone()));
        }
    }

    fn pending(&self) -> impl Iterator<Item = &Alert> {
        self.all().filter(|alert| alert.stage == Stage::Pending)
    }

    /// All alerts, pending ones too, in order of their identity.
    pub fn all(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values()
    }

    /// Those that were told and have not ended.
    pub fn firing(&self) -> impl Iterator<Item = &Alert> {
        self.all().filter(|alert| alert.stage.fired().is_some())
    }

    /// Conditions that found no room at the last look.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Those that a restart should know.
    pub fn worth_keeping<'a>(&'a self, rules: &'a Alerts) -> impl Iterator<Item = &'a Alert> {
        self.all()
            .filter(|alert| alert.stage != Stage::Pending || rules.rule(alert.condition.name).hold >= WORTH_KEEPING)
    }
}

/// Its condition holds.
fn hold(alert: &mut Alert, condition: Condition, now: Wall, changes: &mut Vec<Change>) {
    if condition.episode != alert.condition.episode {
        if alert.stage != Stage::Pending {
            changes.push(Change::Ended(alert.clone(), now));
        }
        (alert.since, alert.stage) = (now, Stage::Pending);
    }
    // A clock that was set back: "since tomorrow" would hold for ever.
    alert.since = alert.since.min(now);
    alert.condition = condition;
    if let Stage::Clearing { fired, .. } = alert.stage {
        alert.stage = Stage::Firing { fired };
    }
}

/// Its condition does not hold, or nobody can tell; whether it stays in the book.
fn release(alert: &mut Alert, unsure: bool, clear_after: Duration, now: Wall, changes: &mut Vec<Change>) -> bool {
    match alert.stage {
        Stage::Pending => unsure,
        Stage::Firing { .. } | Stage::Clearing { .. } if unsure => true,
        Stage::Firing { fired } => {
            alert.stage = Stage::Clearing { fired, gone: now };
            release_if_due(alert, now, clear_after, now, changes)
        }
        Stage::Clearing { gone, .. } => release_if_due(alert, gone.min(now), clear_after, now, changes),
    }
}

fn release_if_due(alert: &Alert, gone: Wall, clear_after: Duration, now: Wall, changes: &mut Vec<Change>) -> bool {
    if now.since(gone) < clear_after {
        return true;
    }
    changes.push(Change::Ended(alert.clone(), now));
    false
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
