//! The arithmetic of a ladder: which stage allows how much, and where a ladder ends.
//!
//! A ladder is the list of the configuration and a tail: above the last stage that was written the allowance goes on
//! growing by `[warmup] growth_beyond` until it reaches [`REACH`] times that stage. So an address whose ladder ends far
//! below what waits for it does not jump to its full volume from one day to the next.
//!
//! A daily cap cuts the ladder: a stage that allows as much as the cap is no stage, the address is warm for that cap.
//! Where the cap is raised later, the ladder goes on from there.

use std::sync::Arc;

use crate::config::WarmupStart;

/// How many times its last stage an address must have grown to before nothing but its daily cap holds it.
const REACH: u64 = 10;

/// Accepted recipients per day, stage by stage, the tail included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ladder {
    /// Climbing.
    steps: Arc<[u64]>,
    /// How many of them were written.
    written: usize,
}

impl Ladder {
    /// The ladder of these stages, which must climb (what does not is left out), going on by `growth` per stage.
    pub fn new(stages: &[u64], growth: f64) -> Self {
        let mut steps: Vec<u64> = Vec::with_capacity(stages.len() + 8);
        for &stage in stages {
            if steps.last().is_none_or(|&last| stage > last) {
                steps.push(stage);
            }
        }
        let written = steps.len();
        if let Some(&last) = steps.last()
            && growth >= 1.01
        {
            let reach = last.saturating_mul(REACH);
            let mut next = last;
            loop {
                // At least one more: a growth of 1.1 gets stuck at 3 otherwise.
                next = ((next as f64 * growth) as u64).max(next.saturating_add(1));
                if next >= reach {
                    break;
                }
                steps.push(next);
            }
        }
        Self { steps: steps.into(), written }
    }

    /// What `stage` (from 0) allows; `None` above the last one.
    pub fn allowance(&self, stage: usize) -> Option<u64> {
        self.steps.get(stage).copied()
    }

    /// The first stage that allows as much as `cap`: from there on the cap alone holds. Without a cap: the number of
    /// stages.
    pub fn end(&self, cap: Option<u64>) -> usize {
        cap.map_or(self.steps.len(), |cap| self.steps.partition_point(|&step| step < cap))
    }

    /// The highest stage that allows no more than `allowance`; the lowest where all do.
    pub fn at_most(&self, allowance: u64) -> usize {
        self.steps.partition_point(|&step| step <= allowance).saturating_sub(1)
    }

    /// The stage of an address that begins at `position`. An age counts as many sending days, and may lie above the end.
    pub fn start(&self, position: WarmupStart) -> usize {
        match position {
            WarmupStart::Started(_) => 0,
            WarmupStart::Stage(stage) => stage.min(self.written.saturating_sub(1)),
            WarmupStart::Age(days) => (days as usize).min(self.steps.len()),
        }
    }

    /// The stage on this ladder of an address that stood on `stage` of another one, which allowed `allowance` (`None`:
    /// it was above its end, and stays so). The same stage where it allows the same here, else the highest that allows
    /// no more: a changed ladder never lets an address jump.
    pub fn translate(&self, stage: usize, allowance: Option<u64>) -> usize {
        match allowance {
            None => self.steps.len(),
            Some(allowance) if self.allowance(stage) == Some(allowance) => stage,
            Some(allowance) => self.at_most(allowance),
        }
    }

    /// Where a week of rest leads: the highest stage below `stage` that allows at most half of what `stage` does under
    /// `cap`.
    pub fn cooler(&self, stage: usize, cap: Option<u64>) -> usize {
        let top = self.allowance(stage).or(self.steps.last().copied()).unwrap_or_default();
        let carried = cap.map_or(top, |cap| top.min(cap));
        self.at_most(carried / 2).min(stage.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gentle() -> Ladder {
        Ladder::new(&[100, 200, 400], 2.0)
    }

    #[test]
    fn a_ladder_goes_on_growing_above_its_last_stage() {
        let steps: Vec<_> = (0..8).map(|stage| gentle().allowance(stage)).collect();
        assert_eq!(
            steps,
            [Some(100), Some(200), Some(400), Some(800), Some(1_600), Some(3_200), None, None],
            "ten times 400 is out of reach of a jump"
        );
        assert_eq!(Ladder::new(&[1], 1.1).end(None), 9, "a small ladder does not get stuck");
        assert_eq!(Ladder::new(&[], 2.0).allowance(0), None);
        assert_eq!(Ladder::new(&[u64::MAX / 2], 10.0).end(None), 1, "numbers end somewhere");
    }

    #[test]
    fn a_cap_cuts_the_ladder() {
        for (cap, end) in [(Some(1), 0), (Some(100), 0), (Some(101), 1), (Some(1_000), 4), (Some(9_999), 6), (None, 6)]
        {
            assert_eq!(gentle().end(cap), end, "{cap:?}");
        }
    }

    #[test]
    fn an_address_stands_where_its_age_or_stage_puts_it() {
        for (position, stage) in [
            (WarmupStart::Started(jiff::civil::date(2020, 1, 1)), 0),
            (WarmupStart::Stage(2), 2),
            (WarmupStart::Stage(9), 2),
            (WarmupStart::Age(0), 0),
            (WarmupStart::Age(4), 4),
            (WarmupStart::Age(u32::MAX), 6),
        ] {
            assert_eq!(gentle().start(position), stage, "{position:?}");
        }
    }

    #[test]
    fn a_changed_ladder_lets_nobody_jump() {
        let other = Ladder::new(&[50, 150, 300, 5_000], 2.0);
        for (stage, allowance, expected) in [(0, 100, 0), (1, 200, 1), (2, 400, 2), (5, 3_200, 2), (0, 10, 0)] {
            let found = other.translate(stage, Some(allowance));
            assert_eq!(found, expected, "{stage} {allowance}");
        }
        assert_eq!(gentle().translate(2, Some(400)), 2, "the same ladder");
        let shortened = Ladder::new(&[100, 200], 2.0);
        assert_eq!(shortened.allowance(shortened.translate(7, Some(40_000))), Some(1_600));
        assert_eq!(other.translate(6, None), other.end(None), "what was warm stays warm");
    }

    #[test]
    fn rest_costs_a_stage_and_half_the_volume() {
        let fine = Ladder::new(&[100, 110, 120, 200, 210], 2.0);
        for (stage, cap, expected) in
            [(4, None, 0), (6, None, 5), (3, None, 0), (1, None, 0), (0, None, 0), (4, Some(205), 0), (99, None, 6)]
        {
            assert_eq!(fine.cooler(stage, cap), expected, "{stage} {cap:?}");
        }
    }

    proptest! {
        #[test]
        fn ladders_climb_by_no_more_than_they_say(
            stages in prop::collection::vec(1u64..1 << 40, 1..12), growth in 1.05f64..10.0, cap in 1u64..1 << 42,
        ) {
            let ladder = Ladder::new(&stages, growth);
            let all = &ladder.steps;
            prop_assert!(all.windows(2).all(|pair| pair[0] < pair[1]));
            for pair in all[ladder.written - 1..].windows(2) {
                prop_assert!(pair[1] as f64 <= (pair[0] as f64 * growth).max(pair[0] as f64 + 1.0));
            }
            let end = ladder.end(Some(cap));
            prop_assert!(all[..end].iter().all(|&step| step < cap) && all[end..].iter().all(|&step| step >= cap));
            for stage in 0..=all.len() {
                prop_assert!(ladder.cooler(stage, Some(cap)) <= stage.saturating_sub(1));
            }
        }
    }
}
