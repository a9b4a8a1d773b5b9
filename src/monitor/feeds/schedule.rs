//! When a feed is asked next.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::answer::{Failure, Outcome};
use crate::clock::{Wall, rfc3339};

/// First pause after a failure that passes; it doubles up to the interval.
const FIRST_PAUSE: Duration = Duration::from_secs(300);
/// Share of the interval by which fetches are spread.
const JITTER: f64 = 0.1;
/// What a server may ask for at most; further ahead lies only what a clock that was set back has left behind.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// When it was asked and will be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Failures in a row.
    pub failures: u32,
    /// When it is due.
    #[serde(with = "rfc3339")]
    pub next: Wall,
    /// Last fetch that brought a report, or the word that there is none.
    #[serde(default, with = "rfc3339::option")]
    pub last_success: Option<Wall>,
    /// Last fetch.
    #[serde(default, with = "rfc3339::option")]
    pub last_try: Option<Wall>,
}

impl Schedule {
    /// Whether it is to be asked now.
    pub fn is_due(&self, interval: Duration, now: Wall) -> bool {
        now >= self.next || self.next.since(now) > LONGEST.max(interval.saturating_mul(2))
    }

    /// A report came, or the word that there is none. `lot` from −1 to 1 is drawn.
    pub fn succeeded(&mut self, interval: Duration, lot: f64, now: Wall) {
        self.failures = 0;
        (self.last_try, self.last_success) = (Some(now), Some(now));
        self.next = now.plus(jittered(interval, lot));
    }

    /// No report came.
    pub fn failed(&mut self, failure: &Failure, interval: Duration, lot: f64, now: Wall) {
        self.failures = self.failures.saturating_add(1);
        self.last_try = Some(now);
        let usual = match failure.outcome {
            // Asking again soon does not mend these, and may lock the account.
            Outcome::Credentials | Outcome::LoginPage | Outcome::Refused | Outcome::Redirected => interval,
            _ => FIRST_PAUSE.saturating_mul(2u32.saturating_pow(self.failures - 1)).min(interval),
        };
        let pause = match failure.retry_after {
            // Never sooner than asked for.
            Some(asked) => asked.max(usual.min(FIRST_PAUSE)),
            None => jittered(usual, lot),
        };
        self.next = now.plus(pause);
    }
}

fn jittered(span: Duration, lot: f64) -> Duration {
    Duration::try_from_secs_f64(span.as_secs_f64() * (1.0 + JITTER * lot.clamp(-1.0, 1.0))).unwrap_or(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn pauses(outcome: Outcome, retry_after: Option<u64>, times: usize) -> Vec<u64> {
        let mut schedule = Schedule::default();
        let failure = Failure { retry_after: retry_after.map(Duration::from_secs), ..Failure::new(outcome, "") };
        let now = Wall::from_millis(1_795_334_400_000);
        let mut pause = || {
            schedule.failed(&failure, 6 * HOUR, 0.0, now);
            schedule.next.since(now).as_secs()
        };
        (0..times).map(|_| pause()).collect()
    }

    #[test]
    fn what_passes_is_tried_again_soon_and_ever_later() {
        assert_eq!(pauses(Outcome::ServerError, None, 8), [300, 600, 1200, 2400, 4800, 9600, 19_200, 21_600]);
        assert_eq!(pauses(Outcome::Credentials, None, 2), [21_600, 21_600]);
        assert_eq!(pauses(Outcome::Limited, Some(7200), 2), [7200, 7200], "as asked for");
        assert_eq!(pauses(Outcome::Limited, Some(1), 1), [300], "but not at once");
    }

    #[test]
    fn a_clock_that_was_set_back_stops_no_feed() {
        let now = Wall::from_millis(1_795_334_400_000);
        let mut schedule = Schedule::default();
        schedule.succeeded(6 * HOUR, 1.0, now);
        assert!(!schedule.is_due(6 * HOUR, now.plus(6 * HOUR)), "later by the lot");
        assert!(schedule.is_due(6 * HOUR, now.plus(7 * HOUR)));
        assert!(schedule.is_due(6 * HOUR, Wall::from_millis(now.as_millis() - 400 * 86_400_000)));
    }
}
