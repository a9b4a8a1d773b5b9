//! What is written down of an opinion, so that a restart goes on from there.
//!
//! One fact for each route that has one, `prediction/BINDING/PROVIDER`, or `prediction/BINDING` for all other
//! destinations, with names as in [`crate::scheduler::warmup::facts`]. The value is JSON and repeats the names.
//!
//! A fact is written when there is news — a step, a refusal that blames the address, log odds that have moved by one —
//! and at most once a minute for each route; a clean stop writes the rest. After a crash an opinion is therefore a little
//! older than it was, never another one. Time goes on while nobody runs: what is read fades by its age first.

use serde::{Deserialize, Serialize};

use super::estimate::Part;
use super::route::{Column, Route, Sums};
use super::steps::LAST;
use super::tunables::{LEVEL_VARIANCE, ROUTE_VARIANCE, SUREST};
use crate::clock::{Mono, Wall};
use crate::message::{BindingName, ProviderName};
use crate::reputation::BadFact;
use crate::scheduler::warmup::facts::push;

/// Prefix of the keys.
pub const PREFIX: &str = "prediction/";

/// More recipients than any route carries; what a fact says beyond is a mistake.
const MOST: f64 = 1e12;

/// A fact's value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Whose.
    pub binding: BindingName,
    /// Towards whom; `None` for all other destinations.
    pub provider: Option<ProviderName>,
    /// When it was written.
    pub at: Wall,
    /// Mean and variance of the provider's level.
    level: (f64, f64),
    /// … of the route's own part.
    own: (f64, f64),
    /// Effective recipients, and those refused for the address's sake.
    recipients: (f64, f64),
    /// What was usual: recipients put off, all, and the volume.
    usual: (f64, f64, f64),
    /// Step of the weight.
    step: u8,
}

impl Record {
    pub(super) fn of(
        binding: BindingName,
        provider: Option<ProviderName>,
        route: &Route,
        column: &Column,
        at: Wall,
    ) -> Self {
        let Sums { all, blamed, .. } = route.sums;
        Self {
            binding,
            provider,
            at,
            level: (column.level.mean, column.level.variance),
            own: (route.own.mean, route.own.variance),
            recipients: (all, blamed),
            usual: route.drift.usual(),
            step: route.stand.step,
        }
    }

    /// Key of the fact.
    pub fn key(&self) -> String {
        key(&self.binding, self.provider.as_ref())
    }

    /// Value of the fact.
    pub fn bytes(&self) -> Vec<u8> {
        // Names and finite numbers always serialise; an empty fact would be reported as unreadable, and begin anew.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(super) fn level(&self) -> Part {
        sane(self.level, SUREST, LEVEL_VARIANCE)
    }

    /// The route as it was written.
    pub(super) fn route(&self, now: Mono) -> Route {
        let mut route = Route::new(&Sums::default(), now);
        route.own = sane(self.own, 2.0 * SUREST, ROUTE_VARIANCE);
        let all = self.recipients.0.clamp(0.0, MOST);
        route.sums = Sums::of(all, self.recipients.1.clamp(0.0, all));
        let (bad, all, days) = self.usual;
        route.drift.recall(bad.clamp(0.0, MOST), all.clamp(0.0, MOST), days.clamp(0.0, MOST));
        route.stand.step = self.step.min(LAST);
        route.written = (self.at.as_millis(), self.level.0 + self.own.0);
        route
    }
}

/// Key of the fact of a binding at a provider; `None` for all other destinations.
pub(super) fn key(binding: &BindingName, provider: Option<&ProviderName>) -> String {
    let mut key = PREFIX.to_owned();
    push(&mut key, binding.as_str());
    if let Some(provider) = provider {
        key.push('/');
        push(&mut key, provider.as_str());
    }
    key
}

/// Numbers from disk are not trusted to be in their bounds. (JSON has no infinities.)
fn sane((mean, variance): (f64, f64), most: f64, widest: f64) -> Part {
    Part { mean: mean.clamp(-most, most), variance: variance.clamp(1e-9, widest) }
}

/// Reads a fact back.
pub fn read(key: &str, bytes: &[u8]) -> Result<Record, BadFact> {
    serde_json::from_slice(bytes).map_err(|source| BadFact { key: key.to_owned(), source })
}
