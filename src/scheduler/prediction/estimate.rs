//! The arithmetic of one attempt: log odds of acceptance with Gaussian parts, and a gamma distribution of blame.
//!
//! The log odds are a sum of independent Gaussian parts: the provider's level, the route's own part, and the features'
//! shifts. What an attempt was answered moves the sum to its most probable value (Laplace), and each part takes the share
//! of that move that its variance has of the whole: whoever is least certain is corrected most. That is how blame is
//! divided between a provider in trouble and an address in trouble: the provider's level is seen by everybody, so it soon
//! follows what happens to all, and what is left is the route's.
//!
//! Between attempts both are Ornstein–Uhlenbeck processes: they return to where they rest while their variance returns to
//! what it was before anything was known. This is the decay, and it is also why a busy route follows a change within
//! minutes and an idle one within a dozen messages: how fast an estimate moves is its variance against the news.

use super::tunables::{BLAME_SHRINK, SUREST};

/// A Gaussian part of the log odds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) mean: f64,
    pub(super) variance: f64,
}

impl Part {
    /// After so many hours, returning towards `rest` and `variance`.
    pub(super) fn fade(&mut self, hours: f64, half_life: f64, rest: f64, variance: f64) {
        let left = (-hours / half_life).exp2();
        self.mean = rest + (self.mean - rest) * left;
        self.variance = variance + (self.variance - variance) * left * left;
    }

    /// Takes its share of a move; see [`solve`].
    pub(super) fn take(&mut self, moved: f64, sure: f64, most: f64) {
        self.mean = (self.mean + moved * self.variance).clamp(-most, most);
        self.variance -= self.variance * self.variance * sure;
    }
}

pub(super) fn chance(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// The most probable move of a sum with this mean and variance after `good` and `bad`: divided by the variance (each part
/// multiplies by its own), and the share of its squared variance by which each part becomes surer.
pub(super) fn solve(mean: f64, variance: f64, good: f64, bad: f64) -> (f64, f64) {
    let all = good + bad;
    // An attempt is worth at most five recipients, so this is a handful of steps. The root of s / variance + all × chance(mean + s) − good: it increases, and lies between these.
    let (mut low, mut high) = (-bad * variance, good * variance);
    let mut moved = 0.0f64;
    let (mut slope, mut last) = (0.0, f64::INFINITY);
    for _ in 0..20 {
        let p = chance(mean + moved);
        slope = all * p * (1.0 - p);
        let off = moved / variance + all * p - good;
        if off > 0.0 {
            high = moved;
        } else {
            low = moved;
        }
        let next = moved - off / (1.0 / variance + slope);
        // Newton's way swings where the curve is flat on both sides; halving does not.
        let is_near = next > low && next < high && (next - moved).abs() <= 0.5 * last;
        let next = if is_near { next } else { 0.5 * (low + high) };
        last = (next - moved).abs();
        moved = next;
        if last < 0.01 {
            break;
        }
    }
    (moved / variance, slope / (1.0 + slope * variance))
}

/// How often refusals blame the address: `blamed` and `all` recipients, all of them fading.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blame {
    pub(super) shape: f64,
    pub(super) rate: f64,
}

impl Blame {
    /// A route's own counts with some recipients added that fared like those of the others.
    pub(super) fn of(blamed: f64, all: f64, others: f64) -> Self {
        Self { shape: blamed + BLAME_SHRINK * others, rate: all + BLAME_SHRINK }
    }

    pub(super) fn mean(self) -> f64 {
        self.shape / self.rate
    }

    pub(super) fn deviation(self) -> f64 {
        self.shape.sqrt() / self.rate
    }

    /// The chance that none of the next `n` blames it: the Laplace transform of the gamma distribution.
    pub(super) fn none_of(self, n: f64) -> f64 {
        (self.rate / (self.rate + n)).powf(self.shape)
    }
}

/// Log odds of a part, bounded.
pub(super) fn bounded(log_odds: f64) -> f64 {
    log_odds.clamp(-SUREST, SUREST)
}
