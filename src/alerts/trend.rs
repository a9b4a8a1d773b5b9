//! (pure) Counters remembered, so that "within the last hour" can be said of totals that only grow.
//!
//! A sample is kept every thirtieth of the window, so that memory is bounded whatever the interval of looking is; spans are
//! therefore longer than asked by up to a thirtieth.

use std::collections::VecDeque;
use std::time::Duration;

use super::view::Counted;
use crate::clock::Wall;

/// Samples in a window.
const SAMPLES: u32 = 30;

/// Totals over a window.
#[derive(Debug)]
pub struct Trend {
    window: Duration,
    samples: VecDeque<(Wall, Counted)>,
    last_delivery: Wall,
    delivered: u64,
}

impl Trend {
    /// Nothing counted yet.
    pub fn new(window: Duration, now: Wall) -> Self {
        Self { window, samples: VecDeque::from([(now, Counted::default())]), last_delivery: now, delivered: 0 }
    }

    /// Takes in the totals of this moment.
    pub fn add(&mut self, totals: &Counted, now: Wall) {
        if totals.delivered != self.delivered {
            (self.delivered, self.last_delivery) = (totals.delivered, now);
        }
        // A clock that was set back: a delivery of tomorrow would hide days of silence, and samples of the future would
        // never go.
        self.last_delivery = self.last_delivery.min(now);
        self.samples.retain(|(at, _)| *at <= now);
        if self.samples.back().is_none_or(|(at, _)| now.since(*at) >= self.window / SAMPLES) {
            self.samples.push_back((now, totals.clone()));
        }
        // The newest of those that are too old is where the window begins.
        while self.samples.get(1).is_some_and(|(at, _)| now.since(*at) >= self.window) {
            self.samples.pop_front();
        }
    }

    /// What came to `totals` within the last `span`, and how far back that really reaches.
    pub fn within(&self, span: Duration, totals: &Counted, now: Wall) -> (Counted, Duration) {
        let begin = self.samples.iter().rev().find(|(at, _)| now.since(*at) >= span).or(self.samples.front());
        match begin {
            Some((at, then)) => (totals.since(then), now.since(*at)),
            None => (Counted::default(), Duration::ZERO),
        }
    }

    /// The window is this from now on; of a longer one the past is missing at first.
    pub fn follow(&mut self, window: Duration) {
        self.window = window;
    }

    /// Goes on with what an earlier run knew of the last delivery.
    pub fn restore(&mut self, last_delivery: Wall) {
        self.last_delivery = last_delivery.min(self.last_delivery);
    }

    /// When the number delivered last grew; the beginning where it never did.
    pub fn last_delivery(&self) -> Wall {
        self.last_delivery
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Wall {
        Wall::from_millis(seconds * 1_000)
    }

    fn delivered(delivered: u64) -> Counted {
        Counted { delivered, ..Counted::default() }
    }

    #[test]
    fn a_span_is_what_came_since_its_beginning() {
        let mut trend = Trend::new(Duration::from_secs(3_600), at(0));
        for second in (0..7_200).step_by(15) {
            trend.add(&delivered(second as u64), at(second));
        }
        let (hour, span) = trend.within(Duration::from_secs(3_600), &delivered(7_200), at(7_200));
        assert!((3_600..=3_720).contains(&span.as_secs()), "{span:?}");
        assert_eq!(hour.delivered, span.as_secs());
        let (lately, span) = trend.within(Duration::from_secs(300), &delivered(7_200), at(7_200));
        assert!((300..=420).contains(&span.as_secs()), "{span:?}");
        assert_eq!(lately.delivered, span.as_secs());
        assert!(trend.samples.len() <= SAMPLES as usize + 2, "{}", trend.samples.len());
    }

    #[test]
    fn soon_after_the_start_a_window_is_as_long_as_there_is_past() {
        let mut trend = Trend::new(Duration::from_secs(3_600), at(0));
        trend.add(&delivered(7), at(30));
        assert_eq!(
            trend.within(Duration::from_secs(3_600), &delivered(7), at(30)),
            (delivered(7), Duration::from_secs(30))
        );
    }

    #[test]
    fn silence_is_measured_from_the_last_delivery() {
        let mut trend = Trend::new(Duration::from_secs(3_600), at(0));
        assert_eq!(trend.last_delivery(), at(0));
        trend.add(&delivered(1), at(60));
        trend.add(&delivered(1), at(600));
        assert_eq!(trend.last_delivery(), at(60));
    }

    #[test]
    fn a_clock_that_is_set_back_leaves_no_samples_of_the_future() {
        let mut trend = Trend::new(Duration::from_secs(3_600), at(10_000));
        trend.add(&delivered(5), at(10_200));
        trend.add(&delivered(9), at(5_000));
        trend.add(&delivered(12), at(5_200));
        assert_eq!(trend.within(Duration::from_secs(3_600), &delivered(12), at(5_200)).0, delivered(3));
    }
}
