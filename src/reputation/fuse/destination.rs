//! Whether a destination refuses everybody: a receiver whose directory is down says "no such user" to all it is asked for.
//!
//! Asked before anybody is blamed, since afterwards everybody could be, one after the other. It is the destination where,
//! over the last minutes, tenants and bindings fare badly there one like the other: a list is bad for its tenant and an
//! address for itself. With fewer than three tenants that cannot be told from a bad list.
//!
//! What follows: no address and no list is blamed. Where it refuses more than half, the mail of those tenants waits there as
//! if it had been held, one message at a time asking again: what bounces meanwhile would be lost.

use std::collections::{BTreeMap, BTreeSet};

use super::gates::{ACQUITTAL, is_above};
use super::{WELL_BESIDE, in_words};
use crate::clock::Wall;
use crate::config;
use crate::message::{DestinationName, TenantName};
use crate::reputation::notes::Note;
use crate::reputation::policy::Reputation;
use crate::reputation::tally::{BUCKETS, Count, Steps};

/// Tenants below which nobody can be told from the destination.
const TENANTS_MIN: usize = 3;

/// Bindings below which the address cannot be told from it.
const BINDINGS_MIN: usize = 2;

/// Sixtieths of the window that are looked at: the shortest in which enough was sent tells soonest.
const STRETCHES: [i64; 6] = [1, 2, 5, LATELY, 20, 40];

/// Who sent within these waits with the others.
const LATELY: i64 = 10;

/// Attempts below which nobody is asked.
const ASKED_FROM: u64 = 3;

/// Share of bounces from which the mail waits: half of a good list does not die within minutes.
const HELD_FROM: f64 = 0.5;

/// What a destination says to everybody.
#[derive(Debug)]
pub(super) struct Everybody {
    total: Count,
    bindings: usize,
    /// Whose mail it is.
    tenants: Vec<TenantName>,
}

/// Whether it is everybody who fares badly, and no single one of them: most of those that were asked do, all is bad without
/// the worst, and those that do not fare badly are not well together, or one that is well would count for as little as a
/// single bounce.
fn is_everybody(counts: &[Count], at_least: usize, steps: Steps, rules: &config::Reputation) -> bool {
    let limit = rules.bad_bounce_ratio;
    let total: Count = counts.iter().copied().sum();
    let Some(worst) = counts.iter().copied().max_by(|a, b| steps.of(*a).total_cmp(&steps.of(*b))) else { return false };
    let well: Count = counts.iter().copied().filter(|count| count.rate() <= limit).sum();
    let asked: Vec<&Count> = counts.iter().filter(|count| count.attempts >= ASKED_FROM).collect();
    let bad = asked.iter().filter(|count| count.rate() > limit).count();
    asked.len() >= at_least
        && bad * 3 >= asked.len() * 2
        && steps.of(total.without(worst)) >= ACQUITTAL
        && steps.of(well) >= WELL_BESIDE
}

impl Reputation {
    /// What a destination has said lately, where it was bad for nearly everybody.
    pub(super) fn refuses_everybody(&self, to: &DestinationName, now: Wall) -> Option<Everybody> {
        let present = self.present(now);
        STRETCHES.into_iter().find_map(|stretch| self.refused_everybody(to, present - stretch))
    }

    /// The place of `now` on the grid of all tallies.
    fn present(&self, now: Wall) -> i64 {
        let window = i64::try_from(self.rules.window.as_millis()).unwrap_or(i64::MAX);
        now.as_millis().div_euclid((window / BUCKETS).max(1))
    }

    fn refused_everybody(&self, to: &DestinationName, since: i64) -> Option<Everybody> {
        let mut tenants: BTreeMap<&TenantName, Count> = BTreeMap::new();
        let mut bindings = Vec::new();
        for watched in self.bindings.values() {
            let Some(cell) = watched.routes.get(to) else { continue };
            let mut own = Count::default();
            for (key, count) in cell.tally.since(since) {
                let Some(group) = watched.groups.get(key.group) else { continue };
                tenants.entry(&group.tenant).or_default().add(count);
                own.add(count);
            }
            bindings.push(own);
        }
        let (steps, total): (Steps, Count) = (Steps::new(&self.rules), bindings.iter().copied().sum());
        let of_tenants: Vec<Count> = tenants.values().copied().collect();
        // Many tenants over many addresses are evidence of their own: so much mail as one address needs is not asked for.
        let (limit, certainty) = (self.rules.hard_bounce_ratio, self.rules.fuse_certainty);
        let is_bad = total.events >= 2 * self.rules.min_events && is_above(total, 1.0, limit, certainty);
        let is_everybody = is_bad
            && is_everybody(&of_tenants, TENANTS_MIN, steps, &self.rules)
            && is_everybody(&bindings, BINDINGS_MIN, steps, &self.rules);
        let bindings = bindings.iter().filter(|own| own.attempts > 0).count();
        is_everybody.then(|| Everybody { total, bindings, tenants: tenants.into_keys().cloned().collect() })
    }

    /// Everybody whose mail went there since.
    fn lately(&self, to: &DestinationName, since: i64) -> Vec<TenantName> {
        let mut tenants = BTreeSet::new();
        for watched in self.bindings.values() {
            let Some(cell) = watched.routes.get(to) else { continue };
            let groups = cell.tally.since(since).filter_map(|(key, _)| watched.groups.get(key.group));
            tenants.extend(groups.map(|group| group.tenant.clone()));
        }
        tenants.into_iter().collect()
    }

    /// All that was counted there is explained, and the mail waits.
    pub(super) fn blame_receiver(&mut self, to: &DestinationName, said: &Everybody, now: Wall) {
        let Everybody { total, bindings, tenants } = said;
        let of = format!("{} over {bindings} bindings, {} tenants", in_words(*total), tenants.len());
        let evidence = format!("{to} refuses everybody's recipients: {of}");
        let waits = total.rate() >= HELD_FROM;
        let all = if waits { self.lately(to, self.present(now) - LATELY) } else { tenants.clone() };
        for tenant in &all {
            self.lists.forget(tenant, to);
            if waits {
                self.holds.stop_there(tenant, to, &evidence, &self.rules, now);
            }
        }
        for watched in self.bindings.values_mut() {
            let Some(cell) = watched.routes.get_mut(to) else { continue };
            let part = cell.tally.part(|_| true);
            cell.tally.settle();
            watched.own.tally.take_out(&part, watched.own.places.known(to.as_str()));
        }
        let window = self.rules.window;
        self.destinations_blamed.retain(|_, noted| now.since(*noted) < window);
        if self.destinations_blamed.insert(to.clone(), now).is_none() {
            self.notes.push(Note::DestinationBlamed { destination: to.clone(), evidence });
        }
    }
}
