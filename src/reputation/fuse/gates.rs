//! The two gates of the fuse: whether there is enough evidence, and whether the share is too large for certain.

use std::collections::BTreeMap;

use statrs::function::beta::checked_beta_reg;

use crate::config;
use crate::reputation::tally::{Count, Excursion, Key, Steps};

/// How much of the spread that is found is believed to be missing: an excursion is picked for its bounces, so its lumps are
/// too much of the whole, and the lumps seem smaller against it than they are. Measured: with 1, three of ten seeded runs
/// at a true 2 % in lumps of ten trip falsely, with 2 one of a hundred; independent bounces are found 2 messages later.
const SPREAD_FACTOR: f64 = 2.0;

/// Attempts' worth of the overall share in what is taken for a group's own.
const SHARE_PRIOR: f64 = 20.0;

/// Whether the share over an excursion that has reached its height lies above the limit for certain, lumps or not: then
/// somebody is to blame.
pub(super) fn is_alarm(excursion: &Excursion<'_>, rules: &config::Reputation) -> bool {
    exceeds(excursion.total, dispersion(excursion, SHARE_PRIOR), rules)
}

/// Whether an alarm may take the address out: also where every difference between the groups is taken for chance.
pub(super) fn is_of_all(excursion: &Excursion<'_>, rules: &config::Reputation) -> bool {
    exceeds(excursion.total, dispersion(excursion, f64::INFINITY), rules)
}

/// Whether counts by themselves are bad: enough of them, and even the lower confidence limit (Clopper and Pearson, 1934;
/// one-sided at `fuse_certainty`) of the share lies above `hard_bounce_ratio`.
pub(in crate::reputation) fn is_bad(count: Count, rules: &config::Reputation) -> bool {
    exceeds(count, 1.0, rules)
}

/// The same for counts whose bounces come in lumps: as much evidence as `1/dispersion` of them that come one by one.
fn exceeds(count: Count, dispersion: f64, rules: &config::Reputation) -> bool {
    count.attempts >= rules.min_attempts
        && count.events as f64 / dispersion >= rules.min_events as f64
        && is_above(count, dispersion, rules.hard_bounce_ratio, rules.fuse_certainty)
}

/// Whether the lower confidence limit of a share lies above `limit`. Not by the limit itself, a beta quantile: it lies
/// above exactly when the chance of so many events at `limit` is smaller than what is left of `certainty`, and that is the
/// regularised incomplete beta function, ten times cheaper.
pub(super) fn is_above(count: Count, dispersion: f64, limit: f64, certainty: f64) -> bool {
    let (attempts, events) = (count.attempts as f64 / dispersion, count.events as f64 / dispersion);
    if count.events == 0 || limit >= 1.0 {
        return false;
    }
    if limit <= 0.0 {
        return true;
    }
    checked_beta_reg(events, attempts - events + 1.0, limit).is_ok_and(|chance| chance < 1.0 - certainty)
}

/// How much more the bounces are lumped than independent ones would be, at least 1: the spread of the counts per minute and
/// group over what a binomial would have (Pearson's statistic over its degrees of freedom), in the excursion and, around
/// the share that was usual then, in the window before it. A bad stretch of a list that goes out in a burst makes ten
/// events of one cause, and ten such are as much evidence as one.
///
/// A group's share is its own as far as it is known, or (with a `prior` without end) everybody's. For the first question,
/// whether somebody is to blame, one bad list among good ones is no lump, but a cause to be found; for the second, whether
/// it is all of them, it is one.
///
/// Lumps within one minute cannot be told from an address that has just turned bad; of those, only runs at one recipient
/// domain are ([`Clusters`](crate::reputation::tally::Clusters)).
fn dispersion(excursion: &Excursion<'_>, prior: f64) -> f64 {
    let mut sums = Spread::default();
    sums.add(excursion.by_bucket(), prior);
    sums.add(excursion.before(), prior);
    if sums.expected <= 0.0 {
        return 1.0;
    }
    let found = (sums.clusters * sums.spread / sums.expected + 1.0) / (sums.clusters + 1.0);
    1.0 + SPREAD_FACTOR * (found - 1.0).max(0.0)
}

#[derive(Default)]
struct Spread {
    clusters: f64,
    spread: f64,
    expected: f64,
}

impl Spread {
    fn add(&mut self, buckets: impl Iterator<Item = impl Iterator<Item = (Key, Count)>>, prior: f64) {
        let mut groups: BTreeMap<u64, Count> = BTreeMap::new();
        let mut clusters: Vec<(u64, Count)> = Vec::new();
        for bucket in buckets {
            let mut here: BTreeMap<u64, Count> = BTreeMap::new();
            for (key, count) in bucket {
                here.entry(key.group).or_default().add(count);
                groups.entry(key.group).or_default().add(count);
            }
            clusters.extend(here);
        }
        let overall = groups.values().copied().sum::<Count>().rate();
        for (group, count) in &clusters {
            let own = groups.get(group).copied().unwrap_or_default();
            let known = own.attempts as f64 / (own.attempts as f64 + prior);
            let share = own.rate() * known + overall * (1.0 - known);
            let attempts = count.attempts as f64;
            self.spread += (count.events as f64 - attempts * share).powi(2);
            self.expected += attempts * share * (1.0 - share);
        }
        self.clusters += clusters.len() as f64;
    }
}

/// Whether counts say "well": enough of them, and at least [`ACQUITTAL`] nats for the normal share against the bad one.
pub(super) fn is_well(count: Count, steps: Steps, rules: &config::Reputation) -> bool {
    count.attempts >= rules.min_attempts.max(1) && steps.of(count) <= -ACQUITTAL
}

/// Nats, ln 20: the error of Wald's test the other way (1945) is 5 %.
pub(super) const ACQUITTAL: f64 = 3.0;
