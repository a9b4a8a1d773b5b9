//! How often somebody may ask. Pure.
//!
//! A generic cell rate: requests come evenly or in bursts of as many as the rate's count, and no faster in the long run.

use std::time::Duration;

use crate::clock::Mono;
use crate::config::Rate;

/// One token's pace.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// When all that was asked would have been due.
    due: u64,
}

impl Pace {
    /// Lets one more by, or says how long to wait.
    pub(super) fn take(&mut self, rate: Rate, now: Mono) -> Result<(), Duration> {
        let span = u64::try_from(rate.per.as_nanos()).unwrap_or(u64::MAX);
        let each = span / u64::from(rate.count.get());
        let due = self.due.max(now.as_nanos()).saturating_add(each);
        let ahead = due - now.as_nanos();
        if ahead > span {
            return Err(Duration::from_nanos(ahead - span));
        }
        self.due = due;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_the_count_and_then_evenly() {
        let rate = Rate { count: 4.try_into().expect("not 0"), per: Duration::from_secs(1) };
        let (mut pace, at) = (Pace::default(), |millis: u64| Mono::from_nanos(millis * 1_000_000));
        for _ in 0..4 {
            assert_eq!(pace.take(rate, at(0)), Ok(()));
        }
        assert_eq!(pace.take(rate, at(0)), Err(Duration::from_millis(250)));
        assert_eq!(pace.take(rate, at(250)), Ok(()));
        assert_eq!(pace.take(rate, at(251)), Err(Duration::from_millis(249)));
        let later = (0..10).filter(|_| pace.take(rate, at(9_000)).is_ok()).count();
        assert_eq!(later, 4, "rest is not saved up");
    }
}
