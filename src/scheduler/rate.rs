//! Short rates: so many messages per second, minute or hour.
//!
//! Each limiter is a direct `governor` GCRA on a clock of our own ([`Told`]): it knows the time it was told, so that
//! simulated weeks cost nothing. Governor has no refund, so it is asked last and once per attempt. It has no peek
//! either, and an attempt passes up to three limiters (tenant, binding, route): asked one after the other, a refusal by
//! the last would waste a cell of the first, and a binding full of slow routes would lose most of its rate to refusals.
//! So the two numbers that answer "would it pass?" are kept beside it ([`Limiter::ready`]); all limiters are looked at
//! first, and then all are asked.
//!
//! The burst is what fits into 100 ms, at least one message: `20/s` lets two messages leave together, `600/min` one.
//! A burst of the whole count, as is usual, lets nearly twice the count through in the first span.
//!
//! A rate cannot be changed in governor, and a state store must not be given to another limiter (it counts from the
//! start of the old one and blocks for its age). A changed rate gets a fresh limiter without any burst, which keeps
//! closed as long as the old one would have.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::clock::Mono;
use crate::config::Rate;

/// Longest time's worth of messages that may leave together.
const BURST: Duration = Duration::from_millis(100);

/// A clock for governor that shows what it was told.
#[derive(Clone, Debug, Default)]
pub struct Told(Arc<AtomicU64>);

impl Told {
    /// Moves it to `now`; never back.
    pub fn tell(&self, now: Mono) {
        // Told and asked on the same thread: no order with other memory is needed.
        self.0.fetch_max(now.as_nanos(), Ordering::Relaxed);
    }
}

impl clock::Clock for Told {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.0.load(Ordering::Relaxed))
    }
}

/// One limiter.
pub struct Limiter {
    rate: Rate,
    divisor: u32,
    clock: Told,
    governor: RateLimiter<NotKeyed, InMemoryState, Told, NoOpMiddleware<Nanos>>,
    /// Nanoseconds between two messages.
    interval: u64,
    /// How much earlier than its turn a message may leave.
    tolerance: u64,
    /// Turn of the next message.
    turn: u64,
}

impl Limiter {
    /// A limiter that lets `rate` through and shows `clock`'s time.
    pub fn new(rate: Rate, clock: &Told) -> Self {
        Self::slowed(rate, 1, clock)
    }

    fn slowed(rate: Rate, divisor: u32, clock: &Told) -> Self {
        let divisor = divisor.max(1);
        let per = u64::try_from(rate.per.as_nanos()).unwrap_or(u64::MAX);
        let interval = (per / u64::from(rate.count.get())).saturating_mul(u64::from(divisor)).max(1);
        let burst = u32::try_from(BURST.as_nanos() as u64 / interval).unwrap_or(u32::MAX).max(1);
        let quota = Quota::with_period(Duration::from_nanos(interval))
            .map(|quota| quota.allow_burst(std::num::NonZeroU32::new(burst).unwrap_or(std::num::NonZeroU32::MIN)));
        // `with_period` refuses only a period of zero, and the interval is at least 1 ns.
        let quota = quota.unwrap_or(Quota::per_second(std::num::NonZeroU32::MIN));
        Self {
            rate,
            divisor,
            clock: clock.clone(),
            governor: RateLimiter::direct_with_clock(quota, clock.clone()),
            interval,
            tolerance: interval * u64::from(burst - 1),
            turn: 0,
        }
    }

    /// The rate it was made for.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Uses `rate` divided by `divisor` from now on. Does nothing when it does already.
    pub fn change(&mut self, rate: Rate, divisor: u32) {
        if (rate, divisor.max(1)) == (self.rate, self.divisor) {
            return;
        }
        let closed_until = self.ready();
        let mut fresh = Self::slowed(rate, divisor, &self.clock);
        let now = clock::Clock::now(&self.clock).as_u64();
        // No burst: its turns begin when the old one's would have, as if all of its tolerance were spent.
        fresh.turn = closed_until.as_nanos().max(now).saturating_add(fresh.tolerance);
        *self = fresh;
    }

    /// When the next message may leave; in the past when it may now. Spends nothing.
    pub fn ready(&self) -> Mono {
        Mono::from_nanos(self.turn.saturating_sub(self.tolerance))
    }

    /// Whether a message may leave at `now`. Spends nothing.
    pub fn is_open(&self, now: Mono) -> bool {
        self.ready() <= now
    }

    /// Asks governor, once, for one message at the time its clock was told.
    pub fn take(&mut self) -> bool {
        let now = clock::Clock::now(&self.clock).as_u64();
        if !self.is_open(Mono::from_nanos(now)) {
            return false;
        }
        match self.governor.check() {
            Ok(()) => {
                self.turn = self.turn.max(now).saturating_add(self.interval);
                true
            }
            Err(not_until) => {
                let earliest = not_until.earliest_possible().as_u64();
                self.turn = self.turn.max(earliest.saturating_add(self.tolerance));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::num::NonZeroU32;

    fn rate(count: u32, per: Duration) -> Rate {
        Rate { count: NonZeroU32::new(count).expect("not zero"), per }
    }

    /// Sends as fast as allowed until `end`; returns the moments.
    fn greedy(limiter: &mut Limiter, clock: &Told, mut now: u64, end: u64) -> Vec<u64> {
        let mut sent = Vec::new();
        while now < end {
            clock.tell(Mono::from_nanos(now));
            if limiter.is_open(Mono::from_nanos(now)) {
                assert!(limiter.take(), "governor refuses what the peek allowed at {now}");
                sent.push(now);
            } else {
                now = limiter.ready().as_nanos();
            }
        }
        sent
    }

    #[test]
    fn twenty_a_second_is_twenty_a_second() {
        let clock = Told::default();
        let mut limiter = Limiter::new(rate(20, Duration::from_secs(1)), &clock);
        let sent = greedy(&mut limiter, &clock, 5_000_000_000, 65_000_000_000);
        assert_eq!(sent.len(), 1201);
        let most =
            (0..sent.len()).map(|i| sent[i..].iter().take_while(|&&t| t < sent[i] + 1_000_000_000).count()).max();
        assert_eq!(most, Some(21));
    }

    #[test]
    fn until_is_honest() {
        let clock = Told::default();
        let mut limiter = Limiter::new(rate(600, Duration::from_secs(60)), &clock);
        clock.tell(Mono::from_nanos(1_000));
        assert!(limiter.take());
        assert_eq!(limiter.ready(), Mono::from_nanos(100_001_000));
        clock.tell(Mono::from_nanos(100_000_999));
        assert!(!limiter.take());
        clock.tell(Mono::from_nanos(100_001_000));
        assert!(limiter.take());
    }

    #[test]
    fn a_changed_rate_starts_without_a_burst_and_not_before_the_old_one_would_open() {
        let clock = Told::default();
        let mut limiter = Limiter::new(rate(1, Duration::from_secs(60)), &clock);
        clock.tell(Mono::from_nanos(3_600_000_000_000));
        assert!(limiter.take());
        limiter.change(rate(100, Duration::from_secs(1)), 1);
        let opens = 3_660_000_000_000;
        assert_eq!(limiter.ready(), Mono::from_nanos(opens));
        let sent = greedy(&mut limiter, &clock, 3_600_000_000_000, opens + 95_000_000);
        assert_eq!(sent.len(), 10, "{sent:?}");
    }

    #[test]
    fn a_throttled_limiter_is_slower_by_its_divisor() {
        let clock = Told::default();
        let ten = rate(10, Duration::from_secs(1));
        let mut limiter = Limiter::new(ten, &clock);
        limiter.change(ten, 5);
        assert_eq!(greedy(&mut limiter, &clock, 0, 10_000_000_000).len(), 20);
    }

    proptest! {
        #[test]
        fn the_peek_and_governor_always_agree(
            count in 1u32..5_000, seconds in 1u64..3_600,
            waits in prop::collection::vec(0u64..2_000_000_000, 1..300),
        ) {
            let clock = Told::default();
            let mut limiter = Limiter::new(rate(count, Duration::from_secs(seconds)), &clock);
            let mut now = 7;
            for wait in waits {
                now += wait;
                clock.tell(Mono::from_nanos(now));
                let open = limiter.is_open(Mono::from_nanos(now));
                prop_assert_eq!(open, limiter.take());
            }
        }
    }
}
