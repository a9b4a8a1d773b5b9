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
//! start of the old one and blocks for its age). A changed rate gets a fresh limiter without any burst. What was still
//! missing to the next message is carried over as a share of a message: of three quarters of an hour to wait at `1/h`,
//! three quarters of a millisecond remain at `1000/s`, and the other way round. So over any sequence of changes no more
//! leaves than the rates add up to, and a rate that is raised is raised at once.

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

/// Longest time between two messages, whatever divides a rate: sums of it stay far from the end of numbers.
const INTERVAL_MAX: u64 = 365 * 86_400 * 1_000_000_000;

/// A clock for governor that shows what it was told.
#[derive(Clone, Debug, Default)]
pub struct Told(Arc<AtomicU64>);

impl Told {
    /// Moves it to `now`; never back.
    pub fn tell(&self, now: Mono) {
        // Told and asked on the same thread: no order with other memory is needed.
        self.0.fetch_max(now.as_nanos(), Ordering::Relaxed);
    }

    /// The latest time it was told.
    pub fn now(&self) -> Mono {
        Mono::from_nanos(self.0.load(Ordering::Relaxed))
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
        // Rounded up: never more than was asked for.
        let interval = per.div_ceil(u64::from(rate.count.get())).saturating_mul(u64::from(divisor));
        let interval = interval.clamp(1, INTERVAL_MAX);
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
        let now = self.clock.now();
        let missing = self.ready().since(now).as_nanos();
        let mut fresh = Self::slowed(rate, divisor, &self.clock);
        let missing = (missing * u128::from(fresh.interval)).div_ceil(u128::from(self.interval));
        let missing = u64::try_from(missing).unwrap_or(INTERVAL_MAX);
        // As if all of its tolerance were spent: no burst.
        fresh.turn = now.as_nanos().saturating_add(missing).saturating_add(fresh.tolerance);
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
    fn a_changed_rate_starts_without_a_burst_and_carries_over_what_is_missing_to_the_next_message() {
        let hour = 3_600_000_000_000;
        let clock = Told::default();
        let mut limiter = Limiter::new(rate(1, Duration::from_secs(60)), &clock);
        clock.tell(Mono::from_nanos(hour));
        assert!(limiter.take());
        clock.tell(Mono::from_nanos(hour + 15_000_000_000));
        limiter.change(rate(100, Duration::from_secs(1)), 1);
        let opens = hour + 15_000_000_000 + 7_500_000;
        assert_eq!(limiter.ready(), Mono::from_nanos(opens), "three quarters of 10 ms");
        let sent = greedy(&mut limiter, &clock, opens, opens + 95_000_000);
        assert_eq!(sent.len(), 10, "{sent:?}");
        let now = Mono::from_nanos(opens + 95_000_000);
        clock.tell(now);
        limiter.change(rate(1, Duration::from_secs(3_600)), 1);
        assert_eq!(
            limiter.ready().since(now),
            Duration::from_secs(1_800),
            "half of 10 ms was missing, now half an hour"
        );
    }

    #[test]
    fn rates_from_one_an_hour_to_a_hundred_a_millisecond_pass_what_they_say_and_never_more() {
        let second = 1_000_000_000;
        let table = [(1, 3_600), (7, 3_600), (1, 1), (3, 1), (1_000, 1), (6_000, 60), (100_000, 1)];
        for (count, seconds) in table {
            let clock = Told::default();
            let mut limiter = Limiter::new(rate(count, Duration::from_secs(seconds)), &clock);
            // Long enough for ten messages.
            let span = (second * seconds * 10).div_ceil(u64::from(count));
            let sent = greedy(&mut limiter, &clock, 1, 1 + span).len() as f64;
            let per_second = f64::from(count) / seconds as f64;
            let most = per_second * span as f64 / 1e9 + (per_second / 10.0).max(1.0);
            assert!(sent <= most + 1e-6, "{count} in {seconds} s: {sent} > {most}");
            assert!(sent >= (most / 5.0).min(2.0), "{count} in {seconds} s: {sent} of {most}");
        }
    }

    #[test]
    fn a_rate_beyond_all_measure_limits_nothing_and_breaks_nothing() {
        for count in [999_999_999, u32::MAX] {
            let clock = Told::default();
            let mut limiter = Limiter::new(rate(count, Duration::from_secs(1)), &clock);
            assert!((0..10_000).all(|_| limiter.take()));
        }
    }

    #[test]
    fn a_divisor_of_any_size_overflows_nothing() {
        let clock = Told::default();
        clock.tell(Mono::from_nanos(u64::MAX / 4));
        let slow = rate(1, Duration::from_secs(3_600));
        for divisor in [0, 1, u32::MAX] {
            let mut limiter = Limiter::new(slow, &clock);
            limiter.change(slow, divisor);
            assert!(limiter.take(), "the first");
            assert!(!limiter.take(), "no second by {divisor}");
            assert!(limiter.ready() > clock.now());
        }
    }

    #[test]
    fn a_machine_that_was_suspended_sends_one_burst_and_no_more() {
        let clock = Told::default();
        let mut limiter = Limiter::new(rate(20, Duration::from_secs(1)), &clock);
        greedy(&mut limiter, &clock, 1, 1_000_000_000);
        let woken = 8 * 3_600_000_000_000;
        let sent = greedy(&mut limiter, &clock, woken, woken + 1);
        assert_eq!(sent.len(), 2, "100 ms' worth, not eight hours'");
    }

    #[test]
    fn a_limiter_lowered_while_mail_flows_keeps_to_the_new_rate_from_then_on() {
        let clock = Told::default();
        let mut limiter = Limiter::new(rate(1_000, Duration::from_secs(1)), &clock);
        greedy(&mut limiter, &clock, 1, 2_000_000_000);
        limiter.change(rate(2, Duration::from_secs(1)), 1);
        let sent = greedy(&mut limiter, &clock, 2_000_000_000, 12_000_000_000);
        assert!((19..=21).contains(&sent.len()), "{}", sent.len());
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
        /// Whatever is changed when, no more passes than the rates add up to, one burst and the message at the start.
        #[test]
        fn over_any_changes_no_more_passes_than_the_rates_add_up_to(
            steps in prop::collection::vec((1u32..300, 1u64..100, 1u32..5, 0u64..400_000_000), 1..30),
        ) {
            let clock = Told::default();
            let (mut now, mut allowed, mut burst, mut passed) = (1u64, 1.0f64, 0.0f64, 0usize);
            let mut limiter = None;
            for (count, seconds, divisor, span) in steps {
                let rate = rate(count, Duration::from_secs(seconds));
                let limiter = limiter.get_or_insert_with(|| Limiter::new(rate, &clock));
                clock.tell(Mono::from_nanos(now));
                limiter.change(rate, divisor);
                let per_nano = f64::from(count) / (seconds as f64 * 1e9) / f64::from(divisor);
                passed += greedy(limiter, &clock, now, now + span).len();
                now += span;
                allowed += per_nano * span as f64;
                // A burst is saved up within one of the rates and may leave under it only.
                burst = burst.max(per_nano * 1e8);
                prop_assert!(passed as f64 <= allowed + burst + 1e-6, "{passed} > {allowed} + {burst}");
            }
        }

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
