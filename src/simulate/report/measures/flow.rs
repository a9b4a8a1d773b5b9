//! Whether a guilty tenant's mail is held, and whether it flows again.

use super::Guilty;
use super::known::Known;
use super::shift::{Ring, since};
use crate::clock::Wall;

/// Buckets of an hour.
const HOUR: usize = 12;
/// Recipients handed in within the hour; below them nothing is concluded.
const LEAST: u64 = 10;

/// A guilty tenant's mail.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) tenant: usize,
    pub(super) guilty: Guilty,
    handed_in: Ring,
    delivered: Ring,
}

impl Flow {
    pub(super) fn new(tenant: usize) -> Self {
        Self { tenant, guilty: Guilty::default(), handed_in: Ring::default(), delivered: Ring::default() }
    }

    /// Recipients that are not refused whatever brings them.
    pub(super) fn handed_in(&mut self, recipients: u64) {
        self.handed_in.add(recipients);
    }

    pub(super) fn answered(&mut self, is_delivered: bool, known: &Known, now: Wall) {
        self.delivered.add(u64::from(is_delivered));
        if now >= known.from && self.guilty.found.is_none() {
            self.guilty.sent += 1;
        }
    }

    /// Its mail is held.
    pub(super) fn found(&mut self, now: Wall) {
        self.guilty.found.get_or_insert(now);
    }

    /// A bucket ends at `now`.
    pub(super) fn look(&mut self, known: &Known, now: Wall) {
        if let Some(until) = known.until.filter(|until| now > *until && self.guilty.recovered.is_none()) {
            let back = since(until, now).min(HOUR);
            let [handed_in, delivered] = [&self.handed_in, &self.delivered].map(|ring| ring.last(back));
            self.guilty.recovered = (handed_in >= LEAST && 2 * delivered >= handed_in).then_some(now);
        }
        [&mut self.handed_in, &mut self.delivered].into_iter().for_each(Ring::roll);
    }
}
