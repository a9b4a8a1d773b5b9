//! How many questions a list may still be asked today.
//!
//! Most lists are free up to so many questions a day, and a resolver that asks more is cut off: the list then refuses,
//! which looks like an outage. So each zone with `queries_per_day` has a bucket: what comes in over a day and what it holds
//! together are never more than the day's questions, in any 24 hours. Rounds leave a reserve in it, so that a listing can be
//! confirmed when they have used their part. Looks for the sake of blame have an eighth of what comes in and of what is
//! held: strangers decide how many they are, and they may use up neither what rounds need nor the reserve.
//!
//! A restart fills the bucket: it is not kept on disk.

use std::time::Duration;

use crate::clock::Mono;

/// What a question is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A round: may not touch the reserve.
    Round,
    /// A look because a reply blames us: may not touch the reserve, and has its own small share of the rest.
    Blame,
    /// A confirmation of what was seen.
    Confirmation,
}

/// What a look would ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Probes and the like, without which nothing else is asked.
    pub overhead: u64,
    /// Questions of a round, or confirmations.
    pub first: u64,
    /// What `first` is for.
    pub purpose: Purpose,
    /// Questions for the sake of blame.
    pub blamed: u64,
}

/// How much of it may be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// The probes, and so anything at all.
    pub probes: bool,
    /// Of [`Wanted::first`].
    pub first: u64,
    /// Of [`Wanted::blamed`].
    pub blamed: u64,
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
    /// Of the terms.
    per_day: u64,
    holds: f64,
    reserve: f64,
    per_second: f64,
    left: f64,
    /// Of what is left, what looks for blame may use.
    blame: f64,
    at: Mono,
}

/// The share of looks for blame.
const BLAME_SHARE: f64 = 1.0 / 8.0;

impl Budget {
    /// Full. `round` is how many questions a whole round takes.
    pub fn new(per_day: Option<u64>, round: u64, now: Mono) -> Self {
        Self { limit: per_day.map(|per_day| Limit::new(per_day, round, now)), denied: 0 }
    }

    /// A whole round takes `round` questions from now on. What was asked before stays asked: nothing is filled up. A
    /// bucket that was larger stays so, or the day of the change could see more than its questions.
    pub fn resize(&mut self, per_day: Option<u64>, round: u64, now: Mono) {
        let Some((limit, per_day)) = self.limit.as_mut().zip(per_day) else { return };
        limit.fill(now);
        let fresh = Limit::new(per_day, round, now);
        if fresh.holds > limit.holds {
            *limit = Limit { left: limit.left, blame: limit.blame, ..fresh };
        }
    }

    /// The terms are `per_day` from now on (they may be the same), and a whole round takes `round` questions. What was asked
    /// stays asked: of a bucket that there was no more is in it than before. One for a list that had no limit is full, as
    /// after a restart.
    pub fn follow(&mut self, per_day: Option<u64>, round: u64, now: Mono) {
        let Some(limit) = &mut self.limit else {
            self.limit = per_day.map(|per_day| Limit::new(per_day, round, now));
            return;
        };
        match per_day {
            None => self.limit = None,
            Some(per_day) if per_day == limit.per_day => self.resize(Some(per_day), round, now),
            Some(per_day) => {
                limit.fill(now);
                let fresh = Limit::new(per_day, round, now);
                let (left, blame) = (limit.left.min(fresh.holds), limit.blame.min(fresh.blame));
                *limit = Limit { left, blame, ..fresh };
            }
        }
    }

    /// Takes up to `wanted` questions; returns how many there are.
    pub fn take(&mut self, wanted: u64, purpose: Purpose, now: Mono) -> u64 {
        let Some(limit) = &mut self.limit else { return wanted };
        limit.fill(now);
        let free = match purpose {
            Purpose::Round => limit.left - limit.reserve,
            Purpose::Blame => (limit.left - limit.reserve).min(limit.blame),
            Purpose::Confirmation => limit.left,
        };
        let taken = (wanted as f64).min(free.max(0.0).floor());
        limit.left -= taken;
        if purpose == Purpose::Blame {
            limit.blame -= taken;
        }
        // Not negative, and no more than `wanted`.
        let taken = taken as u64;
        self.denied += wanted - taken;
        taken
    }

    /// Grants as much of a look as there is room for; probes alone only to a round that asks for nothing else.
    pub fn grant(&mut self, wanted: Wanted, now: Mono) -> Granted {
        let mut granted = Granted::default();
        let is_round = wanted.purpose == Purpose::Round;
        let parts = [(wanted.first, wanted.purpose, is_round), (wanted.blamed, Purpose::Blame, false)];
        for (at, (questions, purpose, also_alone)) in parts.into_iter().enumerate() {
            if questions == 0 && !also_alone {
                continue;
            }
            let overhead = if granted.probes { 0 } else { wanted.overhead };
            let taken = self.take(overhead.saturating_add(questions), purpose, now);
            match taken.checked_sub(overhead).filter(|room| *room > 0 || questions == 0) {
                Some(room) => {
                    granted.probes = true;
                    *(if at == 0 { &mut granted.first } else { &mut granted.blamed }) = room;
                }
                None => self.put_back(taken, purpose),
            }
        }
        granted
    }

    /// Puts back what was taken for `purpose` and not asked.
    pub fn put_back(&mut self, unused: u64, purpose: Purpose) {
        if let Some(limit) = &mut self.limit {
            limit.left = (limit.left + unused as f64).min(limit.holds);
            if purpose == Purpose::Blame {
                limit.blame = (limit.blame + unused as f64).min(limit.holds * BLAME_SHARE);
            }
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
    fn new(per_day: u64, round: u64, now: Mono) -> Self {
        let questions = per_day as f64;
        let holds = (round as f64 * 2.0).clamp(questions / 8.0, questions / 2.0).max(1.0);
        let per_second = (questions - holds).max(0.0) / 86_400.0;
        Self { per_day, holds, reserve: holds / 4.0, per_second, left: holds, blame: holds * BLAME_SHARE, at: now }
    }

    fn fill(&mut self, now: Mono) {
        let gone: Duration = now.since(self.at);
        let came = gone.as_secs_f64() * self.per_second;
        self.left = (self.left + came).min(self.holds);
        self.blame = (self.blame + came * BLAME_SHARE).min(self.holds * BLAME_SHARE);
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
        assert_eq!(budget.take(30, Purpose::Confirmation, at(0)), 30);
        assert_eq!(budget.take(30, Purpose::Confirmation, at(0)), 2);
        assert_eq!(budget.denied(), 407 + 10 + 28);
        assert_eq!(budget.left(at(86_400)), Some(125));
    }

    #[test]
    fn blame_uses_up_neither_the_rounds_nor_the_reserve() {
        let mut budget = Budget::new(Some(8000), 100, at(0));
        assert_eq!(budget.left(at(0)), Some(1000));
        assert_eq!(budget.take(900, Purpose::Blame, at(0)), 125);
        budget.put_back(25, Purpose::Blame);
        assert_eq!(budget.take(900, Purpose::Blame, at(0)), 25);
        // However much is wanted over the day, seven eighths of what comes in are left for the others.
        let blamed: u64 = (1..=1440).map(|minute| budget.take(1000, Purpose::Blame, at(minute * 60))).sum();
        assert!((870..=880).contains(&blamed), "{blamed}");
        assert_eq!(budget.take(2000, Purpose::Round, at(86_400)), 750);
        assert_eq!(budget.take(10, Purpose::Blame, at(86_400)), 0, "the reserve");
        assert_eq!(budget.take(300, Purpose::Confirmation, at(86_400)), 250);
    }

    #[test]
    fn a_look_pays_its_probes_once_and_confirmations_before_blame() {
        let wanted = |first, purpose, blamed| Wanted { overhead: 3, first, purpose, blamed };
        let granted = |first, blamed| Granted { probes: true, first, blamed };
        // (what is wanted, what is granted by a bucket of 100 with 25 in reserve and 12 for blame, what is left)
        let table = [
            (wanted(10, Purpose::Confirmation, 5), granted(10, 5), 82),
            (wanted(95, Purpose::Confirmation, 0), granted(95, 0), 2),
            (wanted(200, Purpose::Confirmation, 5), granted(97, 0), 0),
            (wanted(0, Purpose::Confirmation, 50), granted(0, 9), 88),
            (wanted(0, Purpose::Round, 0), granted(0, 0), 97),
            (wanted(200, Purpose::Round, 0), granted(72, 0), 25),
            (wanted(0, Purpose::Confirmation, 0), Granted::default(), 100),
        ];
        for (wanted, expected, left) in table {
            let mut budget = Budget::new(Some(800), 10, at(0));
            assert_eq!((budget.grant(wanted, at(0)), budget.left(at(0))), (expected, Some(left)), "{wanted:?}");
        }
        let mut empty = Budget::new(Some(800), 10, at(0));
        empty.take(98, Purpose::Confirmation, at(0));
        assert_eq!(empty.grant(wanted(1, Purpose::Confirmation, 1), at(0)), Granted::default());
        assert_eq!(empty.left(at(0)), Some(2), "what does not suffice is put back");
    }

    #[test]
    fn a_larger_round_makes_the_bucket_larger_but_not_fuller() {
        let mut budget = Budget::new(Some(8000), 100, at(0));
        budget.take(600, Purpose::Confirmation, at(0));
        budget.resize(Some(8000), 1500, at(0));
        assert_eq!(budget.left(at(0)), Some(400));
        assert_eq!(budget.left(at(86_400 * 2)), Some(3000));
        budget.resize(Some(8000), 100, at(86_400 * 2));
        assert_eq!(budget.left(at(86_400 * 2)), Some(3000), "it does not shrink");
    }

    #[test]
    fn other_terms_fill_no_bucket() {
        let of = |before: Option<u64>, asked: u64, after: Option<u64>| {
            let mut budget = Budget::new(before, 10, at(0));
            budget.take(asked, Purpose::Confirmation, at(0));
            budget.follow(after, 10, at(0));
            budget.left(at(0))
        };
        // (terms before, asked of the bucket, terms after, what is left)
        let table = [
            (Some(800), 60, Some(800), Some(40)),
            (Some(800), 60, Some(8000), Some(40)),
            (Some(800), 60, Some(160), Some(20)),
            (Some(800), 95, Some(160), Some(5)),
            (Some(800), 60, None, None),
            (None, 60, Some(800), Some(100)),
        ];
        for (before, asked, after, left) in table {
            assert_eq!(of(before, asked, after), left, "{before:?} {after:?}");
        }
        let mut budget = Budget::new(Some(800), 10, at(0));
        budget.take(100, Purpose::Confirmation, at(0));
        budget.follow(Some(8000), 10, at(0));
        assert_eq!(budget.left(at(86_400)), Some(1000), "and it comes in by the new ones");
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
            takes in prop::collection::vec((0u64..7_200, 0u64..3_000, 0usize..3), 1..60),
        ) {
            let mut budget = Budget::new(Some(per_day), round, at(0));
            let (mut now, mut taken): (u64, Vec<(u64, u64)>) = (0, Vec::new());
            for (pause, wanted, purpose) in takes {
                now += pause;
                let purpose = [Purpose::Round, Purpose::Blame, Purpose::Confirmation][purpose];
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
