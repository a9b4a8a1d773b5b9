//! For an Alertmanager: everything that fires, again and again; what has ended, until it was taken.
//!
//! Alertmanager keeps what it was told until `endsAt`. So all that fires is sent at once when anything changes and again
//! every `resend`, each time with an end three times as far away: an alert of a relay that has died ends by itself. What
//! has ended is sent with the moment it ended, in [`ENDED_TIMES`] pushes that were taken: one may be lost in a cluster of
//! Alertmanagers behind one address.
//!
//! A push goes in parts ([`PART`]), the worst first: proxies in between take a mebibyte or so at a time. After a failure it
//! is tried again soon, and never later than `resend`, whatever the target asks for: an Alertmanager that was not told in
//! time takes what fires for over.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use super::{Outcome, Patience};
use crate::alerts::ledger::{Alert, Change, Identity};
use crate::clock::Wall;

/// Pushes in which what has ended is told.
const ENDED_TIMES: u8 = 3;
/// Alerts in one POST: as many as fit into a mebibyte with the longest words there are.
pub const PART: usize = 128;
/// What has ended and was not taken: after so many the oldest go, and end by themselves.
const ENDED_MAX: usize = 2_000;

/// What one Alertmanager is to be told.
#[derive(Clone, Debug, Default)]
pub struct States {
    ended: BTreeMap<Identity, (Alert, Wall, u8)>,
    /// When it is next told, if it takes it.
    next: Option<Wall>,
    /// Something has changed since the push that is under way.
    changed: bool,
    /// How it answers.
    pub patience: Patience,
}

/// One push, or a part of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Push {
    /// What fires.
    pub firing: Vec<Alert>,
    /// What has ended, and when.
    pub ended: Vec<(Alert, Wall)>,
    /// When it was made.
    pub at: Wall,
}

impl Push {
    /// In parts of at most [`PART`], the worst first; at least one.
    pub fn parts(mut self) -> Vec<Self> {
        self.firing.sort_by_key(|alert| Reverse(alert.severity));
        let mut parts: Vec<Self> = Vec::new();
        for firing in self.firing.chunks(PART) {
            parts.push(Self { firing: firing.to_vec(), ended: Vec::new(), at: self.at });
        }
        for ended in self.ended.chunks(PART) {
            parts.push(Self { firing: Vec::new(), ended: ended.to_vec(), at: self.at });
        }
        // Where there is little of both, one POST.
        if self.firing.len() + self.ended.len() <= PART { vec![self] } else { parts }
    }
}

impl States {
    /// Takes in what has changed.
    pub fn note(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Fired(alert) => {
                    // A new beginning takes the place of the end in the Alertmanager as well.
                    self.ended.remove(&alert.identity());
                }
                Change::Ended(alert, at) => {
                    self.ended.insert(alert.identity(), (alert.clone(), *at, 0));
                }
            }
        }
        while self.ended.len() > ENDED_MAX {
            let oldest = self.ended.iter().min_by_key(|(_, (_, at, _))| *at).map(|(identity, _)| identity.clone());
            let Some(oldest) = oldest else { break };
            self.ended.remove(&oldest);
        }
        if !changes.is_empty() {
            (self.next, self.changed) = (None, true);
        }
    }

    /// How long until the next push; `None` where there is nothing to tell. `has_firing`: whether anything fires.
    pub fn wait(&self, has_firing: bool, resend: Duration, now: Wall) -> Option<Duration> {
        if !has_firing && self.ended.is_empty() {
            return None;
        }
        let due = self.next.map_or(Duration::ZERO, |next| next.since(now).min(resend));
        Some(due.max(self.patience.wait(now).min(resend)))
    }

    /// What to tell now.
    pub fn push<'a>(&mut self, firing: impl IntoIterator<Item = &'a Alert>, now: Wall) -> Push {
        self.changed = false;
        let firing = firing.into_iter().cloned().collect();
        let ended = self.ended.values().map(|(alert, at, _)| (alert.clone(), *at)).collect();
        Push { firing, ended, at: now }
    }

    /// How a push ended: each of its parts that was sent.
    pub fn learn(&mut self, parts: &[(&Push, Outcome)], resend: Duration, unit: f64, now: Wall) {
        let Some(worst) = parts.iter().map(|(_, outcome)| *outcome).max_by_key(|outcome| outcome.rank()) else {
            return;
        };
        self.patience.learn(worst, unit, now);
        for (part, _) in parts.iter().filter(|(_, outcome)| *outcome == Outcome::Accepted) {
            self.took_ends(part, resend, now);
        }
        // What has changed while it was under way is told at once; after a failure `patience` says when.
        let is_answered = matches!(worst, Outcome::Accepted | Outcome::Refused);
        self.next = (is_answered && !self.changed).then(|| now.plus(resend));
    }

    fn took_ends(&mut self, push: &Push, resend: Duration, now: Wall) {
        for (alert, at) in &push.ended {
            let identity = alert.identity();
            // It may have ended anew meanwhile.
            let Some((_, known, times)) = self.ended.get_mut(&identity).filter(|(_, known, _)| known == at) else {
                continue;
            };
            *times += 1;
            if *times >= ENDED_TIMES || now.since(*known) > resend * 3 {
                self.ended.remove(&identity);
            }
        }
    }

    /// How many ended alerts wait to be told.
    pub fn waiting(&self) -> usize {
        self.ended.len()
    }
}
