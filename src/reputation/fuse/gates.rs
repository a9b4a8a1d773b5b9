//! The two gates of the fuse: whether there is enough evidence, and whether the share is too large for certain.

use std::collections::BTreeMap;

use statrs::function::beta::checked_beta_reg;

use crate::config;
use crate::reputation::tally::{Count, Excursion, Steps};

/// Clusters' worth of "bounces come one by one" that is believed before anything is seen: with few clusters their spread
/// is mostly chance, and must not slow down the finding of an address that has turned bad.
const DISPERSION_PRIOR: f64 = 5.0;

/// Attempts' worth of the overall share in what is taken for a group's own.
const SHARE_PRIOR: f64 = 20.0;

/// Whether the sum has reached its height, and the share lies above the limit for certain.
pub(super) fn is_alarm(excursion: &Excursion<'_>, rules: &config::Reputation) -> bool {
    excursion.sum >= rules.fuse_height
        && exceeds(excursion.total, 1.0, rules)
        && exceeds(excursion.total, dispersion(excursion), rules)
}

/// Whether counts by themselves are bad: enough of them, and even the lower confidence limit (Clopper and Pearson, 1934;
/// one-sided at `fuse_certainty`) of the share lies above `hard_bounce_ratio`.
pub(in crate::reputation) fn is_bad(count: Count, rules: &config::Reputation) -> bool {
    exceeds(count, 1.0, rules)
}

/// The same for counts whose bounces come in lumps: as much evidence as `1/dispersion` of them that come one by one.
fn exceeds(count: Count, dispersion: f64, rules: &config::Reputation) -> bool {
    count.attempts >= rules.min_attempts
        && count.events >= rules.min_events
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
/// group over what a binomial would have (Pearson's statistic over its degrees of freedom). A bad stretch of a list that
/// goes out in a burst makes ten events of one cause, and ten such are as much evidence as one.
///
/// A group's share is its own as far as it is known: one bad list among good ones is no lump, but a cause to be found.
/// Lumps within one minute cannot be told from an address that has just turned bad; of those, only runs at one recipient
/// domain are ([`Clusters`](crate::reputation::tally::Clusters)).
fn dispersion(excursion: &Excursion<'_>) -> f64 {
    let mut groups: BTreeMap<u64, Count> = BTreeMap::new();
    let mut clusters: Vec<(u64, Count)> = Vec::new();
    for bucket in excursion.by_bucket() {
        let mut here: BTreeMap<u64, Count> = BTreeMap::new();
        for (key, count) in bucket {
            here.entry(key.group).or_default().add(count);
            groups.entry(key.group).or_default().add(count);
        }
        clusters.extend(here);
    }
    let overall = groups.values().copied().sum::<Count>().rate();
    let (mut spread, mut expected) = (0.0, 0.0);
    for (group, count) in &clusters {
        let own = groups.get(group).copied().unwrap_or_default();
        let share = (own.events as f64 + overall * SHARE_PRIOR) / (own.attempts as f64 + SHARE_PRIOR);
        let attempts = count.attempts as f64;
        spread += (count.events as f64 - attempts * share).powi(2);
        expected += attempts * share * (1.0 - share);
    }
    if expected <= 0.0 {
        return 1.0;
    }
    let clusters = clusters.len() as f64;
    ((clusters * spread / expected + DISPERSION_PRIOR) / (clusters + DISPERSION_PRIOR)).max(1.0)
}

/// Whether counts say "well": enough of them, and at least [`ACQUITTAL`] nats for the normal share against the bad one.
pub(super) fn is_well(count: Count, steps: Steps, rules: &config::Reputation) -> bool {
    count.attempts >= rules.min_attempts.max(1) && steps.of(count) <= -ACQUITTAL
}

/// Nats, ln 20: the error of Wald's test the other way (1945) is 5 %.
pub(super) const ACQUITTAL: f64 = 3.0;
