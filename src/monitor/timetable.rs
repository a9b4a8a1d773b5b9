//! When each list is asked again: every zone keeps its own time, give or take its own jitter, so that they drift apart.

use std::time::Duration;

use rand::Rng;

use crate::clock::Mono;

/// What is due when; the zones by number, and one more for what is asked beside them.
#[derive(Clone, Debug)]
pub struct Timetable {
    every: Vec<Duration>,
    jitter: f64,
    next: Vec<Mono>,
}

impl Timetable {
    /// Everything is due at once.
    pub fn new(every: Vec<Duration>, jitter: f64, now: Mono) -> Self {
        Self { next: vec![now; every.len()], every, jitter: jitter.clamp(0.0, 1.0) }
    }

    /// Takes what is due, in order, and appoints its next time.
    pub fn take_due(&mut self, random: &mut impl Rng, now: Mono) -> Vec<usize> {
        let due: Vec<usize> = (0..self.next.len()).filter(|&row| self.next[row] <= now).collect();
        for &row in &due {
            let share = 1.0 + random.random_range(-self.jitter..=self.jitter);
            let pause = Duration::try_from_secs_f64(self.every[row].as_secs_f64() * share).unwrap_or(self.every[row]);
            // At least a moment passes, whatever the configuration says.
            self.next[row] = later(now, pause.max(Duration::from_millis(1)));
        }
        due
    }

    /// The rows are these from now on: each was the row of this number before, or is new and due at once, and has this time
    /// between two rounds. What was appointed stays appointed, unless the row comes round sooner now.
    pub fn follow(&mut self, rows: &[(Option<usize>, Duration)], jitter: f64, now: Mono) {
        let next = |(from, every): &(Option<usize>, Duration)| {
            let appointed = from.and_then(|row| self.next.get(row)).copied();
            appointed.map_or(now, |at| at.min(later(now, *every)))
        };
        let next = rows.iter().map(next).collect();
        *self = Self { every: rows.iter().map(|(_, every)| *every).collect(), jitter: jitter.clamp(0.0, 1.0), next };
    }

    /// When the next of all is due.
    pub fn next(&self) -> Option<Mono> {
        self.next.iter().min().copied()
    }

    /// When a row is due.
    #[cfg(test)]
    pub(super) fn next_of(&self, row: usize) -> Mono {
        self.next[row]
    }

    /// The time between two rounds of a row, without jitter.
    pub fn set_every(&mut self, row: usize, every: Duration) {
        if let Some(own) = self.every.get_mut(row) {
            *own = every;
        }
    }
}

/// `span` after `now`.
pub fn later(now: Mono, span: Duration) -> Mono {
    let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    Mono::from_nanos(now.as_nanos().saturating_add(nanos))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn zones_start_together_and_drift_apart_within_their_jitter() {
        let mut random = SmallRng::seed_from_u64(1);
        let at = |second: u64| Mono::from_nanos(second * 1_000_000_000);
        let mut table = Timetable::new(vec![Duration::from_secs(100); 20], 0.2, at(0));
        assert_eq!(table.take_due(&mut random, at(0)).len(), 20);
        assert!(table.take_due(&mut random, at(79)).is_empty());
        assert!(table.next().is_some_and(|next| next >= at(80) && next <= at(120)));
        let middle = table.take_due(&mut random, at(100)).len();
        assert!((1..20).contains(&middle), "{middle} of 20 by the middle");
        table.take_due(&mut random, at(121));
        assert!(table.next().is_some_and(|next| next > at(121)), "every zone had its turn");
    }

    #[test]
    fn rows_keep_their_time_where_they_stay_and_new_ones_are_due() {
        let mut random = SmallRng::seed_from_u64(1);
        let at = |second: u64| Mono::from_nanos(second * 1_000_000_000);
        let every = Duration::from_secs(100);
        let mut table = Timetable::new(vec![every; 3], 0.0, at(0));
        table.take_due(&mut random, at(0));
        table.follow(&[(Some(2), every), (None, every), (Some(0), Duration::from_secs(5))], 0.0, at(10));
        assert_eq!([0, 1, 2].map(|row| table.next_of(row)), [at(100), at(10), at(15)]);
        assert_eq!(table.take_due(&mut random, at(16)), [1, 2]);
    }
}
