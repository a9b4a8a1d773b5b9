//! How long to wait.
//!
//! Two kinds of waits: after an attempt that was deferred, growing from try to try ([`Backoff`]); and for the end of
//! something that we chose ourselves — a suspension, a day, a rate ([`spread`]). Only the first counts attempts. Both are
//! spread at random, so that what failed together does not come back together; the caller brings the random number.

use std::time::Duration;

use crate::clock::Wall;
use crate::config;

/// Longest extra wait after the end of a suspension or a day.
const SPREAD_MAX: Duration = Duration::from_secs(300);

/// The schedule of `[queue]`.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: f64,
    factor: f64,
    max: f64,
    jitter: f64,
}

impl Backoff {
    /// The schedule the configuration describes.
    pub fn new(queue: &config::Queue) -> Self {
        Self {
            first: queue.retry_first.as_secs_f64(),
            factor: queue.retry_factor.max(1.0),
            max: queue.retry_max.as_secs_f64(),
            jitter: queue.retry_jitter.clamp(0.0, 1.0),
        }
    }

    /// The wait after attempt number `attempt` (the first is 1) failed; `unit` is a random number in [0, 1).
    pub fn wait(&self, attempt: u32, unit: f64) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let plain = (self.first * self.factor.powi(exponent)).min(self.max);
        let seconds = plain * (1.0 + self.jitter * (2.0 * unit - 1.0));
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO)
    }
}

/// When to try again what waits for `until`: up to a tenth of the wait later, at most five minutes, never earlier. `unit`
/// is a random number in [0, 1).
pub fn spread(until: Wall, unit: f64, now: Wall) -> Wall {
    let most = (until.since(now) / 10).min(SPREAD_MAX);
    until.plus(most.mul_f64(unit.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff(jitter: f64) -> Backoff {
        Backoff { first: 300.0, factor: 2.0, max: 14_400.0, jitter }
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        for (attempt, seconds) in
            [(0, 300), (1, 300), (2, 600), (5, 4_800), (6, 9_600), (7, 14_400), (u32::MAX, 14_400)]
        {
            assert_eq!(backoff(0.0).wait(attempt, 0.9), Duration::from_secs(seconds), "attempt {attempt}");
        }
    }

    #[test]
    fn jitter_stays_within_its_share() {
        assert_eq!(backoff(0.1).wait(1, 0.0), Duration::from_secs(270));
        assert_eq!(backoff(0.1).wait(1, 0.5), Duration::from_secs(300));
        assert!(backoff(0.1).wait(1, 0.999_999) < Duration::from_secs(330));
    }

    #[test]
    fn the_end_of_a_suspension_is_no_wave() {
        let now = Wall::from_millis(1_000_000);
        let until = now.plus(Duration::from_secs(3_600));
        assert_eq!(spread(until, 0.0, now), until);
        assert_eq!(spread(until, 0.5, now), until.plus(Duration::from_secs(150)));
        let soon = now.plus(Duration::from_millis(50));
        assert_eq!(spread(soon, 1.0, now), soon.plus(Duration::from_millis(5)));
        assert_eq!(spread(now, 1.0, until), now, "what is over is over");
    }
}
