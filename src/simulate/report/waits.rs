//! A distribution of waits in constant memory.

use std::time::Duration;

/// Doublings of a millisecond that are told apart: to seven weeks.
const DOUBLINGS: usize = 32;

/// A distribution of waits in `STEPS` steps over thirty-two doublings of a millisecond: 128 are within a fifth of the
/// truth, 512 within a twentieth.
#[derive(Clone, Debug)]
pub struct Waits<const STEPS: usize>([u64; STEPS]);

impl<const STEPS: usize> Default for Waits<STEPS> {
    fn default() -> Self {
        Self([0; STEPS])
    }
}

impl<const STEPS: usize> Waits<STEPS> {
    const PER_DOUBLING: f64 = (STEPS / DOUBLINGS) as f64;

    /// So many recipients waited for so long.
    pub fn add(&mut self, wait: Duration, recipients: u64) {
        let millis = wait.as_millis().max(1) as f64;
        self.0[((millis.log2() * Self::PER_DOUBLING) as usize).min(STEPS - 1)] += recipients;
    }

    /// Upper end of the step that holds the share, in seconds; 0 where nobody waited.
    pub fn quantile(&self, share: f64) -> f64 {
        let all: u64 = self.0.iter().sum();
        let wanted = (all as f64 * share).ceil() as u64;
        let mut sum = 0;
        for (step, count) in self.0.iter().enumerate() {
            sum += count;
            if sum >= wanted && sum > 0 {
                return ((step + 1) as f64 / Self::PER_DOUBLING).exp2() / 1000.0;
            }
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_step() {
        fn within<const STEPS: usize>(factor: f64) {
            let mut waits = Waits::<STEPS>::default();
            assert_eq!(waits.quantile(0.5), 0.0);
            (0..99).for_each(|_| waits.add(Duration::from_secs(10), 1));
            waits.add(Duration::from_secs(1_000), 1);
            for (share, truth) in [(0.5, 10.0), (1.0, 1_000.0)] {
                assert!((truth..truth * factor).contains(&waits.quantile(share)), "{}", waits.quantile(share));
            }
        }
        within::<128>(1.2);
        within::<512>(1.05);
    }
}
