//! Waiting after failures: a second, doubled up to five minutes, with some jitter; longer where the target asks for it.

use std::time::Duration;

use super::Outcome;
use crate::clock::Wall;

const FIRST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(300);
/// What a target may ask for at most: a figure with a slip of the pen must not silence alerts for days.
const ASKED_MOST: Duration = Duration::from_secs(3_600);

/// When to try again.
#[derive(Clone, Debug, Default)]
pub struct Patience {
    failures: u32,
    until: Option<Wall>,
}

impl Patience {
    /// How long to wait at `now`. A clock that was set back makes nobody wait longer than intended.
    pub fn wait(&self, now: Wall) -> Duration {
        self.until.map_or(Duration::ZERO, |until| until.since(now).min(ASKED_MOST))
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Learns how a push ended; `unit` is random in 0..1.
    pub fn learn(&mut self, outcome: Outcome, unit: f64, now: Wall) {
        // A refusal is an answer: the target lives, and what it refused is not sent again.
        if matches!(outcome, Outcome::Accepted | Outcome::Refused) {
            *self = Self::default();
            return;
        }
        let doubled = FIRST.saturating_mul(1 << self.failures.min(16)).min(MOST);
        let wait = doubled.mul_f64(1.0 - 0.25 * unit.clamp(0.0, 1.0));
        let asked = match outcome {
            Outcome::Throttled(asked) => asked.unwrap_or_default().min(ASKED_MOST),
            _ => Duration::ZERO,
        };
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now.plus(wait.max(asked)));
    }
}
