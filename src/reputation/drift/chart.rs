//! A control chart: whether a figure has left what is usual for it.
//!
//! An exponentially weighted moving average (Roberts 1959) of the means of small samples is compared with their slow mean.
//! A sample is the mean of [`SAMPLE`] answers, so that chance is roughly normal, and so that its spread is *measured*, with
//! the bursts and hours of the day that the binomial formula does not know. Mean and variance of the usual are weighted
//! means themselves, in which what is `drift_half_life` old counts half. The average strays from the usual by
//!
//! > σ · √(λ / (2 − λ) + 1 / n)
//!
//! for λ = [`WEIGHT`], n samples in the usual (they are known no better than that) and the standard deviation σ of one
//! sample, at least `floor`. It has drifted where it is more than `drift_limit` of that above the usual, and by no less than
//! `least`, which is what somebody would care about. Only what grows counts: faster and fewer deferrals is no trouble.
//!
//! While it is above half of the limit the usual stands still: else a drift would widen and lift what it is measured by,
//! and a steep one would hide itself. What is there after `drift_half_life` is the usual, learnt from the beginning.

use std::time::Duration;

use crate::clock::Wall;
use crate::config;

/// Answers in a sample.
pub(crate) const SAMPLE: u32 = 25;

/// Weight of the newest sample in the moving average (λ).
const WEIGHT: f64 = 0.25;

/// Samples that must be known before anything is said.
pub(crate) const LEARNT: f64 = 8.0;

/// Time without samples ages the usual by no more than this: a quiet night is not a day's worth of answers.
const AGES_MAX: Duration = Duration::from_secs(3600);

/// What is usual of a figure, and what it has been lately.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chart {
    /// Samples in the usual, each weighted by its age.
    samples: f64,
    mean: f64,
    /// Of one sample.
    variance: f64,
    /// The moving average.
    lately: f64,
    /// How far it is above the usual; 1 is the limit.
    height: f64,
    /// Since when it has been above half of the limit.
    rising: Option<Wall>,
    /// It has been above the limit since then.
    drifted: bool,
    /// Begin and end of the last sample.
    last: Option<(Wall, Wall)>,
}

/// One sample.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) mean: f64,
    /// Least standard deviation of such a sample.
    pub(crate) floor: f64,
    /// Least rise that counts.
    pub(crate) least: f64,
    /// When its first answer came.
    pub(crate) begun: Wall,
}

impl Chart {
    pub(crate) fn add(&mut self, sample: Sample, rules: &config::Reputation, now: Wall) {
        if self.rising.is_some_and(|since| now.since(since) >= rules.drift_half_life) {
            *self = Self::default();
        }
        let elapsed = self.last.map_or(Duration::ZERO, |(_, end)| now.since(end)).min(AGES_MAX);
        self.last = Some((sample.begun, now));
        if self.samples < LEARNT {
            self.learn(sample.mean, elapsed, rules);
            self.lately = self.mean;
            return;
        }
        self.lately += WEIGHT * (sample.mean - self.lately);
        let spread = self.variance.max(sample.floor * sample.floor) * (WEIGHT / (2.0 - WEIGHT) + 1.0 / self.samples);
        self.height = (self.lately - self.mean) / (rules.drift_limit * spread.sqrt()).max(sample.least);
        if self.height <= 0.5 {
            (self.rising, self.drifted) = (None, false);
            self.learn(sample.mean, elapsed, rules);
            return;
        }
        self.rising.get_or_insert(now);
        self.drifted |= self.height > 1.0;
    }

    /// Weighted mean and variance, one sample at a time (West 1979).
    fn learn(&mut self, mean: f64, elapsed: Duration, rules: &config::Reputation) {
        let half_lives = elapsed.as_secs_f64() / rules.drift_half_life.as_secs_f64().max(1.0);
        let before = self.samples * (-half_lives).exp2();
        self.samples = before + 1.0;
        let off = mean - self.mean;
        self.mean += off / self.samples;
        self.variance = (before * self.variance + off * (mean - self.mean)) / self.samples;
    }

    /// Whether enough is known to say anything.
    pub(crate) fn is_learnt(&self) -> bool {
        self.samples >= LEARNT
    }

    /// Where it has been above the limit and not yet below half of it: since when it was above that half.
    pub(crate) fn drifted(&self) -> Option<Wall> {
        self.rising.filter(|_| self.drifted)
    }

    /// What the chart says of the time since `since`: whether it has risen above half of the limit; nothing where no sample
    /// lies in that time.
    pub(crate) fn has_risen(&self, since: Wall) -> Option<bool> {
        (self.is_learnt() && self.last.is_some_and(|(begun, _)| begun >= since)).then_some(self.height > 0.5)
    }

    /// End of the last sample.
    pub(crate) fn last(&self) -> Option<Wall> {
        self.last.map(|(_, end)| end)
    }

    /// The usual and the moving average.
    pub(crate) fn figures(&self) -> (f64, f64) {
        (self.mean, self.lately)
    }
}

/// Answers on their way to a sample.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gathered {
    begun: Wall,
    count: u32,
    sum: f64,
}

impl Gathered {
    /// One more; when it was the last, their mean and when the first came. What took longer than `window` is dropped: too
    /// few for a chart.
    pub(crate) fn add(&mut self, value: f64, window: Duration, now: Wall) -> Option<(f64, Wall)> {
        if self.count == 0 || now.since(self.begun) > window || now < self.begun {
            *self = Self { begun: now, count: 0, sum: 0.0 };
        }
        self.count += 1;
        self.sum += value;
        if self.count < SAMPLE {
            return None;
        }
        let full = std::mem::take(self);
        Some((full.sum / f64::from(full.count), full.begun))
    }
}
