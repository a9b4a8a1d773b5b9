//! Whether a guilty binding still carries its share where it is bad.
//!
//! Its fair share is what it carried there before the truth began (with next to no mail before: an equal part). What it
//! was tried with and what it delivered there, and all bindings together, are counted in buckets of five minutes, of
//! which an hour is kept.

use super::Guilty;
use super::known::Known;
use crate::clock::Wall;

/// Buckets of an hour.
const HOUR: usize = 12;
/// Buckets in which volume must have gone away.
const LOOK_BACK: usize = 6;
/// Recipients it should have had there in that time; below them nothing is concluded.
const LEAST_SHIFTED: f64 = 20.0;
/// The same for its return.
const LEAST_BACK: f64 = 10.0;
/// Recipients before the truth began that show its usual share.
const LEAST_BEFORE: f64 = 50.0;
/// Part of its fair share at which four fifths of its volume are gone.
const GONE: f64 = 0.2;
/// Part at which it is back.
const BACK: f64 = 0.5;

/// Counts of an hour.
#[derive(Clone, Debug, Default)]
pub(super) struct Ring {
    buckets: [u64; HOUR],
    at: usize,
}

impl Ring {
    pub(super) fn add(&mut self, count: u64) {
        self.buckets[self.at] += count;
    }

    /// The sum of the last `count` buckets, the present one included.
    pub(super) fn last(&self, count: usize) -> u64 {
        (0..count.min(HOUR)).map(|back| self.buckets[(self.at + HOUR - back) % HOUR]).sum()
    }

    /// A new bucket begins.
    pub(super) fn roll(&mut self) {
        self.at = (self.at + 1) % HOUR;
        self.buckets[self.at] = 0;
    }
}

/// Buckets that have begun since `from`, at `end` of the last of them: those that end later than `from`.
pub(super) fn since(from: Wall, end: Wall) -> usize {
    (end.since(from).as_secs() / super::BUCKET.as_secs()) as usize
}

/// A guilty binding's share where it is bad.
#[derive(Clone, Debug)]
pub struct Shift {
    pub(super) binding: usize,
    pub(super) guilty: Guilty,
    /// Its share where nothing is known of the time before.
    equal: f64,
    /// Before the truth began: its own, and all.
    before: [u64; 2],
    tried: [Ring; 2],
    delivered: [Ring; 2],
}

impl Shift {
    pub(super) fn new(binding: usize, equal: f64) -> Self {
        Self {
            binding,
            guilty: Guilty::default(),
            equal,
            before: [0; 2],
            tried: Default::default(),
            delivered: Default::default(),
        }
    }

    fn fair(&self) -> f64 {
        let [own, all] = self.before.map(|count| count as f64);
        if all * self.equal < LEAST_BEFORE { self.equal } else { own / all }
    }

    /// A recipient was answered there.
    pub(super) fn answered(&mut self, binding: usize, is_delivered: bool, known: &Known, now: Wall) {
        let is_own = binding == self.binding;
        for which in if is_own { 0..2 } else { 1..2 } {
            self.tried[which].add(1);
            self.delivered[which].add(u64::from(is_delivered));
            self.before[which] += u64::from(now < known.from);
        }
        if is_own && now >= known.from && self.guilty.found.is_none() {
            self.guilty.sent += 1;
        }
    }

    /// It was suspended.
    pub(super) fn found(&mut self, known: &Known, now: Wall) {
        // After the end it is no finding any more.
        if known.is_time(now) {
            self.guilty.found.get_or_insert(now);
        }
    }

    /// A bucket ends at `now`.
    pub(super) fn look(&mut self, is_full: bool, known: &Known, now: Wall) {
        let fair = self.fair();
        if now > known.from && known.is_time(now) {
            let back = since(known.from, now).min(LOOK_BACK);
            let [own, all] = [0, 1].map(|which| self.tried[which].last(back) as f64);
            let due = fair * all;
            if !is_full && due >= LEAST_SHIFTED && own < GONE * due {
                self.guilty.found.get_or_insert(now);
            }
        }
        if let Some(until) = known.until.filter(|until| now > *until && self.guilty.recovered.is_none()) {
            let back = since(until, now).min(HOUR);
            let [own, all] = [0, 1].map(|which| self.delivered[which].last(back) as f64);
            let due = fair * all;
            self.guilty.recovered = (due >= LEAST_BACK && own >= BACK * due).then_some(now);
        }
        self.tried.iter_mut().chain(&mut self.delivered).for_each(Ring::roll);
    }
}
