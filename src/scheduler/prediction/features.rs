//! What announces trouble before the refusals do: five features of a route, and what they have meant so far.
//!
//! A feature is 0 where nothing is unusual and at most [`FEATURE_MAX`]; its unit is what is worth about the same attention:
//! ten points more deferrals than usual, a doubled latency, the complaints and listings at which automation would suspend,
//! each doubling of the volume beyond the first.
//!
//! What a unit means is learnt once for all routes, since no single one sees enough trouble: a Gaussian weight in the log
//! odds of acceptance, updated with the route's estimate, and a hazard with a gamma prior, the chance per recipient that a
//! refusal blames the address. Hazards add up (competing risks), so a blaming refusal is shared among those that may have
//! caused it in proportion to their sizes. Both drift back to their priors.

use super::tunables::*;

/// What may announce trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// More is put off than usual.
    Deferrals,
    /// Answers take longer than usual.
    Latency,
    /// People complain.
    Complaints,
    /// Zones list the address.
    Listings,
    /// More mail than the route has carried so far.
    Jump,
}

impl Feature {
    /// In the order of the arrays.
    pub const ALL: [Self; 5] = [Self::Deferrals, Self::Latency, Self::Complaints, Self::Listings, Self::Jump];

    /// In a few words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Deferrals => "more deferrals than usual",
            Self::Latency => "slower answers than usual",
            Self::Complaints => "complaints",
            Self::Listings => "listings",
            Self::Jump => "more mail than it has carried so far",
        }
    }
}

/// Features of one route, in the order of [`Feature::ALL`].
pub(super) type Features = [f64; 5];

/// Means that are compared with each other.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drift {
    now: Share,
    usual: Share,
    hour: f64,
    days: f64,
    latency: (f32, f32),
    attempts: u16,
}

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    bad: f32,
    all: f32,
}

impl Share {
    fn fade(&mut self, left: f64) {
        (self.bad, self.all) = (self.bad * left as f32, self.all * left as f32);
    }

    fn add(&mut self, good: f64, bad: f64) {
        (self.bad, self.all) = (self.bad + bad as f32, self.all + (good + bad) as f32);
    }

    fn share(self) -> f64 {
        f64::from(self.bad) / f64::from(self.all).max(1e-9)
    }
}

impl Drift {
    pub(super) fn fade(&mut self, hours: f64) {
        let left = |half_life: f64| (-hours / half_life).exp2();
        self.now.fade(left(NOW_HALF_LIFE));
        self.hour *= left(HOUR_HALF_LIFE);
        let usual = left(USUAL_HALF_LIFE);
        self.usual.fade(usual);
        self.days *= usual;
    }

    /// What was usual: recipients put off, all, and the volume's count.
    pub(super) fn usual(&self) -> (f64, f64, f64) {
        (f64::from(self.usual.bad), f64::from(self.usual.all), self.days)
    }

    /// Takes that back.
    pub(super) fn recall(&mut self, bad: f64, all: f64, days: f64) {
        self.usual = Share { bad: bad.min(all) as f32, all: all as f32 };
        self.days = days;
    }

    /// Counts effective recipients for the shares, all of them for the volume.
    pub(super) fn add(&mut self, good: f64, bad: f64, carried: f64, took: Option<std::time::Duration>) {
        self.now.add(good, bad);
        self.usual.add(good, bad);
        self.hour += carried;
        self.days += carried;
        if let Some(took) = took {
            let took = took.as_secs_f64().max(1e-3).ln() as f32;
            if self.attempts == 0 {
                self.latency = (took, took);
            }
            self.attempts = self.attempts.saturating_add(1);
            // The long mean of the first attempts is their mean, not the first of them.
            let usual = LATENCY_USUAL.max(1.0 / f64::from(self.attempts)) as f32;
            self.latency.0 += (took - self.latency.0) * (LATENCY_NOW as f32).max(usual);
            self.latency.1 += (took - self.latency.1) * usual;
        }
    }

    pub(super) fn features(&self, complaints: f64, listings: f64) -> Features {
        let usual = self.usual.share();
        let (bad, all) = (f64::from(self.now.bad), f64::from(self.now.all));
        let now = (bad + NOW_SHRINK * usual) / (all + NOW_SHRINK);
        let latency = if self.attempts < LATENCY_MIN { 0.0 } else { f64::from(self.latency.0 - self.latency.1) };
        // A count that halves every h hours, fed r an hour, rests at r × h / ln 2.
        let per_hour = |count: f64, half_life: f64| count * std::f64::consts::LN_2 / half_life;
        let (hour, days) = (per_hour(self.hour, HOUR_HALF_LIFE), per_hour(self.days, USUAL_HALF_LIFE));
        let jump = ((hour + JUMP_FLOOR) / (days + JUMP_FLOOR)).log2() - 1.0;
        let features = [(now - usual) / 0.1, latency / std::f64::consts::LN_2 - 0.5, complaints, listings, jump];
        features.map(|feature| if feature.is_finite() { feature.clamp(0.0, FEATURE_MAX) } else { 0.0 })
    }
}

/// What features have meant so far.
#[derive(Clone, Debug)]
pub(super) struct Lessons {
    /// Weight in the log odds and its variance.
    pub(super) shifts: [(f64, f64); 5],
    /// Blaming refusals and recipients of the gamma distributions.
    hazards: [(f64, f64); 5],
}

impl Default for Lessons {
    fn default() -> Self {
        Self {
            shifts: Feature::ALL.map(|feature| (prior(feature).shift, SHIFT_VARIANCE)),
            hazards: Feature::ALL.map(|feature| (prior(feature).hazard * HAZARD_WEIGHT, HAZARD_WEIGHT)),
        }
    }
}

impl Lessons {
    pub(super) fn fade(&mut self, hours: f64) {
        let left = (-hours / LESSON_HALF_LIFE).exp2();
        let towards = |value: f64, rest: f64| rest + (value - rest) * left;
        for (at, feature) in Feature::ALL.into_iter().enumerate() {
            let Prior { shift, hazard } = prior(feature);
            let (mean, variance) = self.shifts[at];
            // The weight of an Ornstein–Uhlenbeck process: the variance returns twice as fast as the mean.
            self.shifts[at] = (towards(mean, shift), SHIFT_VARIANCE + (variance - SHIFT_VARIANCE) * left * left);
            let (blamed, all) = self.hazards[at];
            self.hazards[at] = (towards(blamed, hazard * HAZARD_WEIGHT), towards(all, HAZARD_WEIGHT));
        }
    }

    /// Shift of the log odds.
    pub(super) fn shift(&self, features: &Features) -> f64 {
        self.shifts.iter().zip(features).map(|((shift, _), x)| shift * x).sum()
    }

    /// Variance that the weights add to the log odds.
    pub(super) fn variance(&self, features: &Features) -> f64 {
        self.shifts.iter().zip(features).map(|((_, variance), x)| variance * x * x).sum()
    }

    /// Chance that a recipient's refusal blames the address, for what the features say alone.
    pub(super) fn hazard(&self, features: &Features) -> f64 {
        (0..features.len()).map(|at| self.hazard_of(at, features)).sum()
    }

    pub(super) fn hazard_of(&self, at: usize, features: &Features) -> f64 {
        let (blamed, all) = self.hazards[at];
        let most = HAZARD_MOST * prior(Feature::ALL[at]).hazard;
        (blamed / all).min(most) * features[at]
    }

    /// The estimate moved by `moved` of its variance, and certainty grew by `sure` (see [`super::estimate::solve`]).
    pub(super) fn shift_by(&mut self, features: &Features, moved: f64, sure: f64) {
        for ((mean, variance), x) in self.shifts.iter_mut().zip(features).filter(|(_, x)| **x > 0.0) {
            *mean = (*mean + moved * *variance * x).clamp(SHIFT_LEAST, 0.0);
            *variance -= (*variance * x).powi(2) * sure;
        }
    }

    /// Counts refusals that blame the address, besides what the route itself was good for.
    pub(super) fn blame(&mut self, features: &Features, blamed: f64, carried: f64, own: f64) {
        if features.iter().all(|x| *x == 0.0) {
            return;
        }
        let parts: [f64; 5] = std::array::from_fn(|at| self.hazard_of(at, features));
        let all = own + parts.iter().sum::<f64>();
        for (at, (events, exposed)) in self.hazards.iter_mut().enumerate() {
            *exposed += carried * features[at];
            if all > 0.0 {
                *events += blamed * parts[at] / all;
            }
        }
    }
}
