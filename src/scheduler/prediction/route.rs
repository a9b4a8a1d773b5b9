//! What is remembered of a binding at a provider, and of the provider.

use rand::Rng;
use rand_distr::{Distribution, Gamma, StandardNormal};

use super::estimate::{Blame, Part, bounded, chance};
use super::features::Drift;
use super::steps::Stand;
use super::tunables::*;
use crate::clock::Mono;

/// Fading sums over the routes of a provider, each weighted with the recipients it carried. A route knows what it has put
/// in, so that the sum over the others is a subtraction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    /// Effective recipients.
    pub(super) all: f64,
    /// … refused for the address's sake.
    pub(super) blamed: f64,
    /// … × own part of the log odds.
    part: f64,
    /// … × that and the shift of the features.
    lean: f64,
    /// … × hazard of the features.
    hazard: f64,
}

impl Sums {
    pub(super) fn of(all: f64, blamed: f64) -> Self {
        Self { all, blamed, ..Self::default() }
    }

    pub(super) fn fade(&mut self, left: f64) {
        for sum in [&mut self.all, &mut self.blamed, &mut self.part, &mut self.lean, &mut self.hazard] {
            *sum *= left;
        }
    }

    fn apply(&mut self, other: &Self, sign: f64) {
        self.all = (self.all + sign * other.all).max(0.0);
        self.blamed = (self.blamed + sign * other.blamed).max(0.0);
        self.part += sign * other.part;
        self.lean += sign * other.lean;
        self.hazard = (self.hazard + sign * other.hazard).max(0.0);
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.apply(other, 1.0);
    }

    pub(super) fn take_out(&mut self, other: &Self) {
        self.apply(other, -1.0);
    }

    fn mean(&self, sum: f64) -> f64 {
        // One recipient of the usual kind: where nothing is known, and where rounding has left next to nothing.
        bounded(sum / (self.all + 1.0))
    }

    /// Mean of the routes' own parts.
    pub(super) fn rest(&self) -> f64 {
        self.mean(self.part)
    }

    /// Their shift against the provider's level, features included.
    pub(super) fn shift(&self) -> f64 {
        self.mean(self.lean)
    }

    /// How often they are blamed, by their own counts.
    pub(super) fn blame(&self) -> f64 {
        (self.blamed + BLAME_PRIOR) / (self.all + BLAME_WEIGHT)
    }

    /// What the features add to that.
    pub(super) fn hazard(&self) -> f64 {
        self.hazard / (self.all + 1.0)
    }
}

/// A provider, or all other destinations together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) level: Part,
    pub(super) sums: Sums,
    pub(super) at: Mono,
}

impl Default for Column {
    fn default() -> Self {
        let level = Part { mean: LEVEL_PRIOR, variance: LEVEL_VARIANCE };
        Self { level, sums: Sums::default(), at: Mono::default() }
    }
}

impl Column {
    pub(super) fn fade(&mut self, half_life: f64, now: Mono) {
        let hours = hours(self.at, now);
        self.at = self.at.max(now);
        self.level_fades(hours);
        self.sums.fade((-hours / half_life).exp2());
    }
}

impl Column {
    /// Lets time pass for what is expected of the provider.
    pub(super) fn level_fades(&mut self, hours: f64) {
        self.level.fade(hours, LEVEL_HALF_LIFE, LEVEL_PRIOR, LEVEL_VARIANCE);
    }
}

/// A binding there. 184 octets, made when it is first heard of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) own: Part,
    /// What it has put into its provider's sums, faded as those are.
    pub(super) sums: Sums,
    pub(super) drift: Drift,
    pub(super) at: Mono,
    pub(super) stand: Stand,
    pub(super) drawn: Option<Mono>,
    /// Expected worth at the last draw.
    pub(super) worth: f64,
    /// Wall milliseconds of the last fact, and what it said of the log odds.
    pub(super) written: (i64, f64),
    /// Something has changed since that a crash should not forget.
    pub(super) is_news: bool,
    /// Something was learnt since.
    pub(super) is_dirty: bool,
}

impl Route {
    pub(super) fn new(others: &Sums, now: Mono) -> Self {
        Self {
            own: Part { mean: others.rest(), variance: ROUTE_VARIANCE },
            sums: Sums::default(),
            drift: Drift::default(),
            at: now,
            stand: Stand::default(),
            drawn: None,
            worth: 1.0,
            written: (0, 0.0),
            is_news: false,
            is_dirty: false,
        }
    }

    /// Lets time pass. `others` are the sums of the other routes there.
    pub(super) fn fade(&mut self, others: &Sums, half_life: f64, now: Mono) {
        let hours = hours(self.at, now);
        self.at = self.at.max(now);
        self.own.fade(hours, half_life, REST * others.rest(), ROUTE_VARIANCE);
        self.sums.fade((-hours / half_life).exp2());
        self.drift.fade(hours);
    }

    /// Moves its own part, where the provider's level was moved the other way.
    pub(super) fn lean_by(&mut self, more: f64) {
        self.own.mean += more;
        self.sums.part += self.sums.all * more;
        self.sums.lean += self.sums.all * more;
    }

    /// Puts the sums in the form in which they are added to the provider's.
    pub(super) fn sum_up(&mut self, shift: f64, hazard: f64) {
        let Sums { all, .. } = self.sums;
        self.sums.part = all * self.own.mean;
        self.sums.lean = all * (self.own.mean + shift);
        self.sums.hazard = all * hazard;
    }
}

/// What a route is compared by: a view of it, of the others and of the provider at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) own: Part,
    pub(super) level: Part,
    pub(super) shift: f64,
    pub(super) hazard: f64,
    pub(super) blame: Blame,
    pub(super) others: Sums,
}

impl View {
    /// The chance that the next recipient is accepted.
    pub(super) fn chance(&self) -> f64 {
        chance(bounded(self.level.mean + self.own.mean + self.shift))
    }

    /// The same of the others.
    pub(super) fn others_chance(&self) -> f64 {
        chance(bounded(self.level.mean + self.others.shift()))
    }

    /// What it is worth next to the others (0 to 1), with this own part and this chance of blame.
    fn worth_of(&self, own: f64, blame: f64, horizon: f64) -> f64 {
        let chance = chance(bounded(self.level.mean + own + self.shift));
        let more = blame + self.hazard - self.others.blame() - self.others.hazard();
        let worth = (chance / self.others_chance()).min(1.0).powf(STEEPNESS) * (-horizon * more.max(0.0)).exp();
        // Nothing may come from figures that are no figures; that would be a mistake of ours, and is no reason to bend.
        if worth.is_finite() { worth.clamp(0.0, 1.0) } else { 1.0 }
    }

    pub(super) fn worth(&self, horizon: f64) -> f64 {
        self.worth_of(self.own.mean, self.blame.mean(), horizon)
    }

    /// A worth drawn from what is believed (Thompson sampling), where luck may only be good: a draw below the mean and the
    /// benefit of the doubt is that. It explores as much and costs less, since an unlucky draw teaches nothing and takes
    /// mail from a binding that did nothing wrong. What is drawn is the route's own; the others stand at their mean, or
    /// the same luck would count against each.
    pub(super) fn draw(&self, horizon: f64, rng: &mut impl Rng) -> f64 {
        let normal: f64 = StandardNormal.sample(rng);
        let own = self.own.mean + normal.max(DOUBT) * self.own.variance.max(0.0).sqrt();
        let gamma = Gamma::new(self.blame.shape, 1.0 / self.blame.rate);
        let blame = gamma
            .map_or(f64::INFINITY, |gamma| gamma.sample(rng))
            .min(self.blame.mean() - DOUBT_BLAME * self.blame.deviation())
            .max(0.0);
        self.worth_of(own, blame, horizon)
    }
}

pub(super) fn hours(from: Mono, to: Mono) -> f64 {
    to.since(from).as_secs_f64() / 3600.0
}
