//! How many questions a list may still be asked today.
//!
//! Most lists are free up to so many questions a day, and a resolver that asks more is cut off: the list then refuses,
//! which looks like an outage. So each zone with `queries_per_day` has a bucket: what comes in over a day and what it holds
//! together are never more than the day's questions, in any 24 hours. Rounds leave a reserve in it, so that a listing can be
//! confirmed and a refusal looked into when rounds have used their part.
//!
//! A restart fills the bucket: it is not kept on disk.

use std::time::Duration;

use crate::clock::Mono;

/// What a question is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A round: may not touch the reserve.
    Round,
    /// A confirmation, an immediate look.
    Urgent,
}

/// The bucket of one zone.
#[derive(Clone, Debug)]
pub struct Budget {
    /// `None`: as many as it takes.
    limit: Option<Limit>,
    denied: u64,
}

#[derive(Clone, Debug)]
struct Limit {
    holds: f64,
    reserve: f64,
    per_second: f64,
    left: f64,
    at: Mono,
}

impl Budget {
    /// Full. `round` is how many questions a whole round takes.
    pub fn new(per_day: Option<u64>, round: u64, now: Mono) -> Self {
        let limit = per_day.map(|per_day| {
            let per_day = per_day as f64;
            let holds = (round as f64 * 2.0).clamp(per_day / 8.0, per_day / 2.0).max(1.0);
            let per_second = (per_day - holds).max(0.0) / 86_400.0;
            Limit { holds, reserve: holds / 4.0, per_second, left: holds, at: now }
        });
        Self { limit, denied: 0 }
    }

    /// Takes up to `wanted` questions; returns how many there are.
    pub fn take(&mut self, wanted: u64, purpose: Purpose, now: Mono) -> u64 {
        let Some(limit) = &mut self.limit else { return wanted };
        limit.fill(now);
        let keep = if purpose == Purpose::Round { limit.reserve } else { 0.0 };
        let free = (limit.left - keep).max(0.0).floor();
        let taken = (wanted as f64).min(free);
        limit.left -= taken;
        // Not negative, and no more than `wanted`.
        let taken = taken as u64;
        self.denied += wanted - taken;
        taken
    }

    /// Puts back what was taken and not asked.
    pub fn put_back(&mut self, unused: u64) {
        if let Some(limit) = &mut self.limit {
            limit.left = (limit.left + unused as f64).min(limit.holds);
        }
    }

    /// Questions that are left now; `None` without a limit.
    pub fn left(&self, now: Mono) -> Option<u64> {
        self.limit.clone().map(|mut limit| {
            limit.fill(now);
            limit.left as u64
        })
    }

    /// Questions that were not put because nothing was left for them.
    pub fn denied(&self) -> u64 {
        self.denied
    }
}

impl Limit {
    fn fill(&mut self, now: Mono) {
        let gone: Duration = now.since(self.at);
        self.left = (self.left + gone.as_secs_f64() * self.per_second).min(self.holds);
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn rounds_leave_a_reserve_for_what_cannot_wait() {
        let mut budget = Budget::new(Some(1000), 10, at(0));
        assert_eq!(budget.left(at(0)), Some(125));
        assert_eq!(budget.take(500, Purpose::Round, at(0)), 93);
        assert_eq!(budget.take(10, Purpose::Round, at(0)), 0);
        assert_eq!(budget.take(30, Purpose::Urgent, at(0)), 30);
        assert_eq!(budget.take(30, Purpose::Urgent, at(0)), 2);
        assert_eq!(budget.denied(), 407 + 10 + 28);
        assert_eq!(budget.left(at(86_400)), Some(125));
    }

    #[test]
    fn without_a_limit_everything_is_granted() {
        let mut budget = Budget::new(None, 10, at(0));
        assert_eq!((budget.take(1 << 40, Purpose::Round, at(0)), budget.left(at(0))), (1 << 40, None));
    }

    proptest! {
        #[test]
        fn no_day_sees_more_than_the_terms_allow(
            per_day in 1u64..100_000,
            round in 1u64..5_000,
            takes in prop::collection::vec((0u64..7_200, 0u64..3_000, any::<bool>()), 1..60),
        ) {
            let mut budget = Budget::new(Some(per_day), round, at(0));
            let (mut now, mut taken): (u64, Vec<(u64, u64)>) = (0, Vec::new());
            for (pause, wanted, urgent) in takes {
                now += pause;
                let purpose = if urgent { Purpose::Urgent } else { Purpose::Round };
                taken.push((now, budget.take(wanted, purpose, at(now))));
            }
            for (first, _) in &taken {
                let day = taken.iter().filter(|(when, _)| (*first..first + 86_400).contains(when));
                let sum: u64 = day.map(|(_, count)| count).sum();
                prop_assert!(sum <= per_day.max(1), "{sum} of {per_day}");
            }
        }
    }
}
