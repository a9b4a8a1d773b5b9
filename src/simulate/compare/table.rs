//! From runs to rows: medians, ranges, and how Remuda fares against the better baseline.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Policy, Run};
use crate::simulate::report::Measures;

/// What a figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A part of 1.
    Share,
    /// A number of things.
    Count,
    /// Seconds.
    Seconds,
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sense {
    /// More.
    More,
    /// Less.
    Less,
}

/// A figure of one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    /// The measure does not apply to this scenario.
    Absent,
    /// It did not come to pass within the scenario: worse than any number.
    Never,
    /// It.
    Number(f64),
}

/// A measure as a row of the table.
#[derive(Debug)]
pub struct Measure {
    /// Stable text, as in the JSON.
    pub key: &'static str,
    /// As in the table.
    pub title: &'static str,
    /// What its figures are.
    pub unit: Unit,
    /// Which way is better.
    pub sense: Sense,
    /// Averaged over runs; else the median counts. For what happens in some runs and not in others.
    pub is_mean: bool,
    of: fn(&Measures) -> Figure,
}

/// All rows, in order.
pub const MEASURES: [Measure; 22] = [
    share("delivered_24h", "delivered within 24 h", |m| number(m.delivered_24h)),
    share("delivered_24h_innocent", "… of innocent tenants", |m| number(m.delivered_24h_innocent)),
    count("ip_refusals", "refused for the IP", |m| Figure::Number(m.ip_refusals as f64)),
    count("ip_refusals_permanent", "… of them 5xx", |m| Figure::Number(m.ip_refusals_permanent as f64)),
    count("ip_refusals_innocent", "… over innocent bindings", |m| Figure::Number(m.ip_refusals_innocent as f64)),
    some("false_runs", "runs with an innocent IP suspended", |m| yes(m.false_bindings > 0)),
    some("false_route_runs", "… an innocent route", |m| yes(m.false_routes > 0)),
    mean("false_bindings", "innocent IPs suspended", |m| Figure::Number(m.false_bindings as f64)),
    mean("false_routes", "innocent routes suspended", |m| Figure::Number(m.false_routes as f64)),
    mean("false_routes_unprovoked", "… that were well thought of", |m| {
        Figure::Number(m.false_routes_unprovoked as f64)
    }),
    mean("too_wide", "IPs bad somewhere out everywhere", |m| Figure::Number(m.too_wide as f64)),
    mean("false_throttles", "innocent IPs and routes throttled", |m| Figure::Number(m.false_throttles as f64)),
    mean("held_innocent", "innocent tenants held", |m| Figure::Number(m.held_innocent as f64)),
    mean("holds_innocent", "… holds of their mail", |m| Figure::Number(m.holds_innocent as f64)),
    mean("burnt", "innocent IPs burnt", |m| Figure::Number(m.burnt as f64)),
    mean("burnt_named", "IPs of the truth burnt", |m| Figure::Number(m.burnt_guilty as f64)),
    seconds("detect_seconds", "found after", |m| if_any(m.has_guilty, m.detect_seconds)),
    count("detect_recipients", "… recipients sent until then", |m| if_any(m.has_guilty, m.detect_recipients)),
    seconds("recover_seconds", "back after", |m| if_any(m.has_end, m.recover_seconds)),
    seconds("wait_median_seconds", "innocent mail waits, median", |m| Figure::Number(m.wait_median_seconds)),
    seconds("wait_p99_seconds", "… 99 %", |m| Figure::Number(m.wait_p99_seconds)),
    count("waiting_innocent", "… still waits at the end", |m| Figure::Number(m.waiting_innocent as f64)),
];

const fn share(key: &'static str, title: &'static str, of: fn(&Measures) -> Figure) -> Measure {
    Measure { key, title, unit: Unit::Share, sense: Sense::More, is_mean: false, of }
}

const fn count(key: &'static str, title: &'static str, of: fn(&Measures) -> Figure) -> Measure {
    Measure { key, title, unit: Unit::Count, sense: Sense::Less, is_mean: false, of }
}

const fn mean(key: &'static str, title: &'static str, of: fn(&Measures) -> Figure) -> Measure {
    Measure { key, title, unit: Unit::Count, sense: Sense::Less, is_mean: true, of }
}

/// In how many of the runs.
const fn some(key: &'static str, title: &'static str, of: fn(&Measures) -> Figure) -> Measure {
    Measure { key, title, unit: Unit::Share, sense: Sense::Less, is_mean: true, of }
}

const fn seconds(key: &'static str, title: &'static str, of: fn(&Measures) -> Figure) -> Measure {
    Measure { key, title, unit: Unit::Seconds, sense: Sense::Less, is_mean: false, of }
}

fn yes(happened: bool) -> Figure {
    Figure::Number(f64::from(u8::from(happened)))
}

fn number(figure: Option<f64>) -> Figure {
    figure.map_or(Figure::Absent, Figure::Number)
}

fn if_any(applies: bool, figure: Option<f64>) -> Figure {
    if applies { figure.map_or(Figure::Never, Figure::Number) } else { Figure::Absent }
}

/// The figures of one policy. A figure that is absent came to pass in too few runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Median, or the mean where [`Measure::is_mean`] says so.
    pub middle: Option<f64>,
    /// 5 % of the runs are below.
    pub low: Option<f64>,
    /// 5 % are above.
    pub high: Option<f64>,
}

impl Spread {
    /// Of the figures of all runs, where those that never came to pass are the worst.
    fn of(figures: &[Figure], measure: &Measure) -> Self {
        let never = match measure.sense {
            Sense::Less => f64::INFINITY,
            Sense::More => f64::NEG_INFINITY,
        };
        let value = |figure: &Figure| match figure {
            Figure::Number(number) => *number,
            Figure::Never | Figure::Absent => never,
        };
        let mut all: Vec<f64> = figures.iter().map(value).collect();
        all.sort_by(f64::total_cmp);
        let median = || quantile(&all, 0.5);
        let mean = || all.iter().sum::<f64>() / all.len().max(1) as f64;
        let finite = |figure: f64| Some(figure).filter(|figure| figure.is_finite());
        Self {
            middle: finite(if measure.is_mean { mean() } else { median() }),
            low: finite(quantile(&all, 0.05)),
            high: finite(quantile(&all, 0.95)),
        }
    }
}

/// Between the two nearest ranks; the figure itself where one of them never came to pass.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * sorted.len().saturating_sub(1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    let (Some(low), Some(high)) = (sorted.get(below), sorted.get(above)) else { return f64::NAN };
    if below == above || low == high { *low } else { low + (high - low) * (place - place.floor()) }
}

/// One measure over all policies.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// [`Measure::key`].
    pub key: &'static str,
    /// [`Measure::title`].
    pub title: &'static str,
    /// [`Measure::unit`].
    pub unit: Unit,
    /// [`Measure::sense`].
    pub sense: Sense,
    /// [`Measure::is_mean`].
    pub is_mean: bool,
    /// By [`Policy::as_str`].
    pub policies: BTreeMap<Policy, Spread>,
    /// The better of the baselines; the first where they are equal.
    pub better: Policy,
    /// Middle of Remuda's, divided by that of the better baseline; absent where that is 0 or one of them never came to
    /// pass.
    pub ratio: Option<f64>,
    /// Middle of Remuda's less that of the better baseline.
    pub difference: Option<f64>,
}

impl Row {
    /// The row of `measure`; `None` where it does not apply.
    pub(super) fn of(measure: &Measure, runs: &[Run]) -> Option<Self> {
        let figures = |policy: Policy| -> Vec<Figure> {
            runs.iter().filter(|run| run.policy == policy).map(|run| (measure.of)(&run.measures)).collect()
        };
        let all = Policy::ALL.map(|policy| (policy, figures(policy)));
        if all.iter().all(|(_, figures)| figures.iter().all(|figure| *figure == Figure::Absent)) {
            return None;
        }
        let policies: BTreeMap<Policy, Spread> =
            all.iter().map(|(policy, figures)| (*policy, Spread::of(figures, measure))).collect();
        let middle = |policy: Policy| policies.get(&policy).and_then(|spread| spread.middle);
        let better = better(measure.sense, middle(Policy::FixedFuse), middle(Policy::Nothing));
        let pair = middle(Policy::Remuda).zip(middle(better));
        Some(Self {
            key: measure.key,
            title: measure.title,
            unit: measure.unit,
            sense: measure.sense,
            is_mean: measure.is_mean,
            better,
            ratio: pair.filter(|(_, theirs)| *theirs != 0.0).map(|(ours, theirs)| ours / theirs),
            difference: pair.map(|(ours, theirs)| ours - theirs),
            policies,
        })
    }

    /// The middle of a policy's figures.
    pub fn middle(&self, policy: Policy) -> Option<f64> {
        self.policies.get(&policy).and_then(|spread| spread.middle)
    }

    /// The middle of the better baseline's.
    pub fn baseline(&self) -> Option<f64> {
        self.middle(self.better)
    }
}

fn better(sense: Sense, fuse: Option<f64>, nothing: Option<f64>) -> Policy {
    let is_nothing = match (fuse, nothing) {
        (Some(fuse), Some(nothing)) => match sense {
            Sense::Less => nothing < fuse,
            Sense::More => nothing > fuse,
        },
        (None, Some(_)) => true,
        (_, None) => false,
    };
    if is_nothing { Policy::Nothing } else { Policy::FixedFuse }
}
