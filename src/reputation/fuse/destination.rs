//! Whether a destination refuses everybody: a receiver whose directory is down says "no such user" to all it is asked for.
//!
//! Asked before anybody is blamed, since afterwards everybody could be, one after the other. It is the destination where,
//! over the last minutes, most tenants and most bindings fare badly there: a list is bad for its tenant and an
//! address for itself. With fewer than three tenants that cannot be told from a bad list.
//!
//! What follows: no address and no list is blamed. Where it refuses more than half, the mail of those tenants waits there as
//! if it had been held, one message at a time asking again: what bounces meanwhile would be lost.

use std::collections::BTreeMap;

use super::gates::is_bad;
use super::in_words;
use crate::clock::Wall;
use crate::message::{DestinationName, TenantName};
use crate::reputation::notes::Note;
use crate::reputation::policy::Reputation;
use crate::reputation::tally::{BUCKETS, Count};

/// Tenants below which nobody can be told from the destination.
const TENANTS_MIN: usize = 3;

/// Bindings below which the address cannot be told from it.
const BINDINGS_MIN: usize = 2;

/// Sixtieths of the window that are looked at: the shortest in which enough was sent tells soonest.
const STRETCHES: [i64; 4] = [1, 2, 5, 10];

/// Attempts below which nobody is asked.
const ASKED_FROM: u64 = 3;

/// Share of bounces from which the mail waits: half of a good list does not die within minutes.
const HELD_FROM: f64 = 0.5;

/// What a destination says to everybody.
#[derive(Debug)]
pub(super) struct Everybody {
    total: Count,
    bindings: usize,
    /// Those that fare badly there.
    tenants: Vec<TenantName>,
}

/// How many were asked, and who of them fares badly: two thirds of them, or nobody.
fn most<T>(counts: impl IntoIterator<Item = (T, Count)>, limit: f64) -> Option<(usize, Vec<T>)> {
    let asked: Vec<_> = counts.into_iter().filter(|(_, count)| count.attempts >= ASKED_FROM).collect();
    let all = asked.len();
    let bad: Vec<T> = asked.into_iter().filter(|(_, count)| count.rate() > limit).map(|(name, _)| name).collect();
    (bad.len() * 3 >= all * 2).then_some((all, bad))
}

impl Reputation {
    /// What a destination has said lately, where it was bad for nearly everybody.
    pub(super) fn refuses_everybody(&self, to: &DestinationName, now: Wall) -> Option<Everybody> {
        let window = i64::try_from(self.rules.window.as_millis()).unwrap_or(i64::MAX);
        let present = now.as_millis().div_euclid((window / BUCKETS).max(1));
        STRETCHES.into_iter().find_map(|stretch| self.refused_everybody(to, present - stretch))
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
            bindings.push(((), own));
        }
        let total: Count = bindings.iter().map(|(_, own)| *own).sum();
        let limit = self.rules.bad_bounce_ratio;
        let (asked, bad) = most(tenants, limit)?;
        let (bindings, _) = most(bindings, limit)?;
        let is_everybody = asked >= TENANTS_MIN && bindings >= BINDINGS_MIN && is_bad(total, &self.rules);
        is_everybody.then(|| Everybody { total, bindings, tenants: bad.into_iter().cloned().collect() })
    }

    /// All that was counted there is explained, and the mail waits.
    pub(super) fn blame_receiver(&mut self, to: &DestinationName, said: &Everybody, now: Wall) {
        let Everybody { total, bindings, tenants } = said;
        let of = format!("{} over {bindings} bindings, {} tenants", in_words(*total), tenants.len());
        let evidence = format!("{to} refuses everybody's recipients: {of}");
        for watched in self.bindings.values_mut() {
            let Some(cell) = watched.routes.get_mut(to) else { continue };
            let part = cell.tally.part(|_| true);
            cell.tally.settle();
            watched.own.tally.take_out(&part, watched.own.places.known(to.as_str()));
        }
        for tenant in tenants {
            self.lists.settle(tenant);
            if total.rate() >= HELD_FROM {
                self.holds.stop_there(tenant, to, &evidence, &self.rules, now);
            }
        }
        let window = self.rules.window;
        self.destinations_blamed.retain(|_, noted| now.since(*noted) < window);
        if self.destinations_blamed.insert(to.clone(), now).is_none() {
            self.notes.push(Note::DestinationBlamed { destination: to.clone(), evidence });
        }
    }
}
