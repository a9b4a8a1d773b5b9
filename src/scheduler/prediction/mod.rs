//! What the next mail on a route will meet, for `spread = "reputation"`: weights move before a suspension has to.
//!
//! A *route* here is a binding × a provider, and a binding × all other destinations together, where no single one sees
//! enough mail. What counts are recipients accepted against recipients refused or deferred in a way that concerns the
//! address — blamed on it, put off for pace or the receiver's own reasons, and at a provider also attempts that got no
//! answer. Bounces and greylisting say nothing. Recipients of one attempt fare alike and count for less than as many
//! attempts ([`tunables::ALIKE`]).
//!
//! **Estimate.** The log odds of acceptance are the provider's level and the route's own part, both Gaussian and returning
//! to where they rest ([`estimate`]), and the shifts of five [`features`]. The route's own part rests where those of the
//! others are, so a binding nothing is known of stands exactly where the rest stand, what is held against one fades
//! (`half_life`) and it is tried again, and a provider that defers everybody moves its level and bends nobody. Why not
//! counts, as simple as they are: a count of the last hours follows a fall only as fast as its hours pass, whether it sees
//! ten recipients an hour or ten thousand; this follows as fast as its evidence allows.
//!
//! **Blame** is estimated apart, as a chance per recipient: a gamma distribution of fading counts, drawn towards the
//! others, and the hazards of the features. One blaming refusal is not one deferral more. A deferral costs a delay;
//! `ip_block_count` such refusals in an hour (3) take all of the route's mail for an hour, and receivers count them too.
//!
//! **Worth.** The chance of acceptance relative to that of the others, to the third power, times the chance that none of
//! the next `horizon` recipients meets a refusal that blames the address, relative to the others. At the margin, with a
//! horizon of 100, one percent more blame therefore costs as much as 33 percent fewer accepted: that is the ratio of one
//! blaming refusal to one deferral, and the horizon sets it.
//!
//! **Weight.** Every `redraw` at the earliest, and at once after a blaming refusal or where the worth has fallen by
//! [`tunables::SURPRISE`], both chances are drawn from what is believed of them (Thompson sampling), so that a route of
//! which little is known is now and then given more or less than its mean; with evidence the draws grow narrow. The draw
//! moves the weight on eight [`steps`] from all of it to `least`, the last of which goes on measuring.
//!
//! **Who is compared.** The others of a binding are those of its circle: the bindings it shares tiers with where
//! `spread = "reputation"`, and those they share tiers with. Weights of one circle say nothing about another's, so a
//! circle that does badly as a whole bends nobody, whatever another pool meets at the same provider. Of bindings in no
//! such tier nothing is kept.
//!
//! **Room.** What is bent away falls to the rest of the tier. It may not grow faster by that than [`tunables::GROWTH`] at
//! once and again each hour, and never beyond [`tunables::LIFT_MAX`]: where few are left that do well, the bad ones are not
//! bent further ([`super::tier`]). Daily caps and warm-ups bind as always.
//!
//! **Restart.** Opinions are written down as they change ([`facts`]) and fade over the outage as they would have in memory.
//! Facts of routes that are no more, or that have faded, are removed.
//!
//! Learning costs a few exponentials and no walk over bindings (0.2 µs for an attempt); where a weight may move, which for a
//! route that is well is once in `redraw` at most, the seats of its tiers are walked. A pick costs nothing more. Memory,
//! only where a pool asks for it: 184 octets for each route that was used, and 8 for each.

mod circles;
mod estimate;
pub mod facts;
mod features;
#[cfg(test)]
mod former;
mod hooks;
mod recall;
mod route;
mod steps;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod toy;
mod tunables;

use rand::Rng;

use self::estimate::{Blame, solve};
pub use self::features::Feature;
use self::features::Lessons;
use self::route::{Column, Route, Sums, View, hours};
use self::steps::part;
use super::{BindingId, Experience};
use crate::clock::{Mono, Now};
use crate::config;
use crate::reputation::Fact;

pub(super) use self::tunables::{GROWTH, LIFT_MAX};

/// A weight that is not bent, in thousandths.
pub(super) const FULL: u16 = 1000;

/// What is expected of a route.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The chance that the next recipient is accepted (0 to 1).
    pub chance: f64,
    /// Standard deviation of that.
    pub deviation: f64,
    /// The chance of the other bindings there.
    pub others: f64,
    /// How many recipients are looked ahead.
    pub horizon: u32,
    /// How many of those are expected to be accepted.
    pub accepted: f64,
    /// The chance that none of those meets a refusal that blames the address.
    pub none_blamed: f64,
    /// The part of its weight it keeps, in percent.
    pub weight_percent: f64,
    /// Recipients it is told by, fading.
    pub evidence: f64,
    /// Each feature with its size; see [`features`](self).
    pub features: [(Feature, f64); 5],
    /// The feature that speaks loudest against it, where one is worth some percent of its weight.
    pub strongest: Option<Feature>,
}

impl Prediction {
    /// In a sentence.
    pub fn words(&self) -> String {
        let Self { horizon, accepted, none_blamed, weight_percent, .. } = self;
        let mut words = format!(
            "{accepted:.0} of the next {horizon} should be accepted, with {:.0} % none blames the address; it keeps \
             {weight_percent:.0} % of its weight",
            none_blamed * 100.0
        );
        if let Some(feature) = self.strongest {
            words.push_str("; ");
            words.push_str(feature.words());
        }
        words
    }
}

/// What was told of a binding or a route besides answers, in units of what automation suspends for.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    complaints: f64,
    listed: f64,
    /// When; complaints fade from there.
    at: Mono,
}

impl Told {
    fn complaints(&self, now: Mono) -> f64 {
        self.complaints * (-hours(self.at, now) / tunables::COMPLAINT_HALF_LIFE).exp2()
    }
}

/// What is expected of all routes.
#[derive(Clone, Debug, Default)]
pub(super) struct Predictions {
    rules: config::Prediction,
    /// Providers, and all other destinations.
    width: usize,
    /// By binding: whom it is compared with; `None` where no tier asks for it.
    circles: Vec<Option<u32>>,
    /// By circle and column.
    columns: Vec<Column>,
    routes: Vec<Option<Box<Route>>>,
    /// By binding.
    of_bindings: Vec<Told>,
    /// By binding and column; complaints only, where there were any.
    of_routes: std::collections::BTreeMap<(u32, u32), Told>,
    lessons: Lessons,
    lessons_at: Mono,
    /// To be written.
    facts: Vec<Fact>,
}

impl Predictions {
    fn route(&self, binding: BindingId, column: u32) -> Option<&Route> {
        self.routes[self.place(binding, column)?].as_deref()
    }

    fn least(&self) -> u16 {
        let least = self.rules.least * f64::from(FULL);
        (least.round() as u16).clamp(1, FULL)
    }

    fn half_life(&self) -> f64 {
        (self.rules.half_life.as_secs_f64() / 3600.0).max(1e-3)
    }

    /// The part of its weight a binding keeps at a column, in thousandths.
    pub(super) fn kept(&self, binding: BindingId, column: u32) -> u16 {
        self.route(binding, column).map_or(FULL, |route| part(route.stand.step, self.least()))
    }

    /// Counts what was seen. Returns the step on which the weight should stand from now on, where that is another or a draw
    /// was due on a weight that is bent: others have to be asked then, and [`Predictions::settle`] told what they say.
    pub(super) fn learn(
        &mut self,
        binding: BindingId,
        column: u32,
        seen: &Experience,
        rng: &mut impl Rng,
        now: Now,
    ) -> Option<u8> {
        let silent = if column > 0 { seen.failed } else { 0 };
        let [accepted, blamed, put_off, silent] = [seen.accepted, seen.blamed, seen.deferred, silent].map(f64::from);
        let carried = accepted + blamed + put_off + silent;
        if carried == 0.0 {
            return None;
        }
        let worth = 1.0 / (1.0 + (carried - 1.0) * tunables::ALIKE);
        let (good, bad, blamed) = (accepted * worth, (carried - accepted) * worth, blamed * worth);
        let (place, shared) = (self.place(binding, column)?, self.shared(binding, column)?);
        self.pass_time(now.mono);
        let (half_life, least) = (self.half_life(), self.least());
        let all = &mut self.columns[shared];
        all.fade(half_life, now.mono);
        let is_new = self.routes[place].is_none();
        let route = self.routes[place].get_or_insert_with(|| Box::new(Route::new(&all.sums, now.mono)));
        if !is_new {
            let mut others = all.sums;
            let mut own = route.sums;
            own.fade((-hours(route.at, now.mono) / half_life).exp2());
            others.take_out(&own);
            route.fade(&others, half_life, now.mono);
            all.sums = others;
        }
        let told = told(&self.of_bindings, &self.of_routes, binding, column, now.mono);
        let features = route.drift.features(told.complaints, told.listed);
        let lessons = &mut self.lessons;
        let mean = all.level.mean + route.own.mean + lessons.shift(&features);
        let variance = all.level.variance + route.own.variance + lessons.variance(&features);
        let (moved, sure) = solve(mean, variance, good, bad);
        all.level.take(moved, sure, tunables::SUREST);
        route.own.take(moved, sure, 2.0 * tunables::SUREST);
        lessons.shift_by(&features, moved, sure);
        let by_itself = Blame::of(route.sums.blamed, route.sums.all, all.sums.blame()).mean();
        lessons.blame(&features, blamed, good + bad, by_itself);
        route.sums.all += good + bad;
        route.sums.blamed += blamed;
        route.drift.add(good, bad, carried, seen.took);
        let others = all.sums;
        let features = route.drift.features(told.complaints, told.listed);
        route.sum_up(lessons.shift(&features), lessons.hazard(&features));
        all.sums.add(&route.sums);
        let view = view(route, all, others, lessons, &features);
        let log_odds = all.level.mean + route.own.mean;
        route.is_dirty = true;
        route.is_news |= blamed > 0.0 || (log_odds - route.written.1).abs() >= tunables::WRITE_SHIFT;
        let horizon = f64::from(self.rules.horizon);
        let expected = view.worth(horizon);
        let is_due = route.drawn.is_none_or(|drawn| now.mono.since(drawn) >= self.rules.redraw || told.at > drawn);
        let is_surprise = blamed > 0.0 || expected < tunables::SURPRISE * route.worth;
        if is_due {
            route.drawn = Some(now.mono);
            route.stand.is_held = false;
        } else if !is_surprise || route.stand.is_held {
            return None;
        }
        route.worth = expected;
        let (stand, wanted) = (route.stand, view.draw(horizon, rng));
        let step = stand.next(wanted, least, self.rules.redraw, now.mono);
        if blamed == 0.0 || step != stand.step {
            // Not for blame that moves nothing: in a stream of it no draw would ever be due, and nothing be relieved.
            route.drawn = Some(now.mono);
        }
        (step != stand.step || is_due && stand.step > 0).then_some(step)
    }

    /// Moves a weight to a step. `floor` is what may be left of it at least, in thousandths, for the sake of the others;
    /// below `relief` it goes back a step whatever it looks like. Returns the part it keeps, where that changes.
    pub(super) fn settle(
        &mut self,
        (binding, column): (BindingId, u32),
        step: u8,
        (floor, relief): (u16, u16),
        now: Mono,
    ) -> Option<u16> {
        let (place, least) = (self.place(binding, column)?, self.least());
        let route = self.routes[place].as_deref_mut()?;
        let stood = route.stand.step;
        let mut step = step.min(steps::LAST);
        while step > stood && part(step, least) < floor {
            step -= 1;
            route.stand.is_held = step == stood;
        }
        if stood > 0 && part(stood, least) < relief {
            // One step: what carried next to nothing must not carry half at once either.
            step = stood - 1;
        }
        if step == stood {
            return None;
        }
        route.stand.go(step, self.rules.redraw, now);
        route.is_news = true;
        Some(part(step, least))
    }

    fn pass_time(&mut self, now: Mono) {
        let since = hours(self.lessons_at, now);
        // Days are what counts here; every minute is often enough.
        if since > 1.0 / 60.0 {
            self.lessons.fade(since);
            self.lessons_at = self.lessons_at.max(now);
        }
    }

    /// What is expected of a route at a moment; `None` where no tier asks for it.
    pub(super) fn predicted(&self, binding: BindingId, column: u32, now: Mono) -> Option<Prediction> {
        let (place, shared) = (self.place(binding, column)?, self.shared(binding, column)?);
        let half_life = self.half_life();
        let mut all = self.columns[shared];
        all.fade(half_life, now);
        let mut route = match self.routes[place].as_deref() {
            Some(route) => *route,
            None => Route::new(&all.sums, now),
        };
        let mut others = all.sums;
        let mut own = route.sums;
        own.fade((-hours(route.at, now) / half_life).exp2());
        others.take_out(&own);
        route.fade(&others, half_life, now);
        let told = told(&self.of_bindings, &self.of_routes, binding, column, now);
        let features = route.drift.features(told.complaints, told.listed);
        let view = view(&route, &all, others, &self.lessons, &features);
        let horizon = f64::from(self.rules.horizon);
        let chance = view.chance();
        let effect = |at: usize| {
            let shift = -self.lessons.shifts[at].0 * features[at] * (1.0 - chance) * tunables::STEEPNESS;
            shift + horizon * self.lessons.hazard_of(at, &features)
        };
        let loudest = (0..features.len()).max_by(|&a, &b| effect(a).total_cmp(&effect(b)));
        Some(Prediction {
            chance,
            deviation: chance * (1.0 - chance) * (view.level.variance + view.own.variance).max(0.0).sqrt(),
            others: view.others_chance(),
            horizon: self.rules.horizon,
            accepted: horizon * chance,
            none_blamed: view.blame.none_of(horizon) * (-horizon * view.hazard).exp(),
            weight_percent: f64::from(part(route.stand.step, self.least())) / f64::from(FULL) * 100.0,
            evidence: view.blame.rate - tunables::BLAME_SHRINK,
            features: std::array::from_fn(|at| (Feature::ALL[at], features[at])),
            strongest: loudest.filter(|&at| effect(at) > tunables::LOUD).map(|at| Feature::ALL[at]),
        })
    }

    /// Takes over what was told of a binding, or of a route.
    fn told(&mut self, binding: BindingId, column: Option<u32>, complaints: f64, listed: f64, now: Mono) {
        let sane = |x: f64| if x.is_finite() { x.clamp(0.0, tunables::FEATURE_MAX) } else { 0.0 };
        let told = Told { complaints: sane(complaints), listed: sane(listed), at: now };
        match column {
            None => {
                if let Some(known) = self.of_bindings.get_mut(binding.index()) {
                    *known = told;
                }
            }
            Some(column) if self.place(binding, column).is_some() => {
                if told.complaints > 0.0 {
                    self.of_routes.insert((binding.0, column), told);
                } else {
                    self.of_routes.remove(&(binding.0, column));
                }
            }
            Some(_) => {}
        }
    }
}

/// What was told that concerns a route.
fn told(
    of_bindings: &[Told],
    of_routes: &std::collections::BTreeMap<(u32, u32), Told>,
    binding: BindingId,
    column: u32,
    now: Mono,
) -> Told {
    let own = of_bindings.get(binding.index()).copied().unwrap_or_default();
    let here = if of_routes.is_empty() { None } else { of_routes.get(&(binding.0, column)) };
    let complaints = own.complaints(now).max(here.map_or(0.0, |here| here.complaints(now)));
    Told { complaints, listed: own.listed, at: here.map_or(own.at, |here| here.at.max(own.at)) }
}

fn view(route: &Route, all: &Column, others: Sums, lessons: &Lessons, features: &features::Features) -> View {
    View {
        own: route.own,
        level: all.level,
        shift: lessons.shift(features),
        hazard: lessons.hazard(features),
        blame: Blame::of(route.sums.blamed, route.sums.all, others.blame()),
        others,
    }
}
