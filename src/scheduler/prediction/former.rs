//! The rule before this one, to be compared with in the toy worlds: fading counts of four hours, the squared share of
//! acceptance next to the others, one of eight steps at a time.

use std::time::Duration;

use crate::clock::Mono;
use crate::scheduler::{BindingId, Experience};

/// A weight that is not bent, in twentieths.
pub(super) const FULL: u8 = 20;

/// Parts of the weight, in twentieths.
const STEPS: [u8; 8] = [FULL, 16, 12, 9, 6, 4, 2, 1];

const HALF_LIFE: Duration = Duration::from_secs(4 * 3600);
const PRIOR: f64 = 20.0;
const DOWN_EVERY: Duration = Duration::from_secs(5 * 60);
const UP_EVERY: Duration = Duration::from_secs(30 * 60);

/// Fading counts of recipients.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    good: f64,
    all: f64,
    at: Mono,
}

impl Tally {
    fn fade(&mut self, now: Mono) {
        let left = (-now.since(self.at).as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2();
        (self.good, self.all, self.at) = (self.good * left, self.all * left, now);
    }

    fn add(&mut self, good: u32, bad: u32, now: Mono) {
        self.fade(now);
        self.good += f64::from(good);
        self.all += f64::from(good) + f64::from(bad);
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Record {
    tally: Tally,
    /// Index into [`STEPS`].
    step: u8,
    /// When it came to stand there.
    since: Mono,
}

/// What was seen of bindings at the columns of the table of routes.
#[derive(Clone, Debug, Default)]
pub(super) struct Success {
    columns: usize,
    records: Vec<Record>,
    all: Vec<Tally>,
}

impl Success {
    pub(super) fn reshape(&mut self, bindings: usize, before: &[Option<u32>]) {
        let old = std::mem::take(self);
        let kept = |column: Option<u32>| column.map(|column| column as usize).filter(|&column| column < old.columns);
        let record = |binding: usize, column: Option<u32>| {
            let place = binding * old.columns + kept(column)?;
            old.records.get(place).copied()
        };
        self.columns = before.len();
        self.all = before.iter().map(|&column| kept(column).map_or_else(Tally::default, |at| old.all[at])).collect();
        self.records = (0..bindings)
            .flat_map(|binding| before.iter().map(move |&column| (binding, column)))
            .map(|(binding, column)| record(binding, column).unwrap_or_default())
            .collect();
    }

    /// The part of its weight a binding keeps at a column, in twentieths.
    pub(super) fn twentieths(&self, binding: BindingId, column: u32) -> u8 {
        let record = self.records.get(binding.index() * self.columns + column as usize);
        record.map_or(FULL, |record| STEPS[usize::from(record.step)])
    }

    /// Counts what was seen. Returns the part of its weight the binding keeps from now on, where that changes.
    pub(super) fn learn(&mut self, binding: BindingId, column: u32, seen: &Experience, now: Mono) -> Option<u8> {
        let silent = if column > 0 { seen.failed } else { 0 };
        let bad = seen.blamed.saturating_add(seen.deferred).saturating_add(silent);
        let record = self.records.get_mut(binding.index() * self.columns + column as usize)?;
        if seen.accepted == 0 && bad == 0 {
            return None;
        }
        let all = &mut self.all[column as usize];
        all.add(seen.accepted, bad, now);
        record.tally.add(seen.accepted, bad, now);
        let (own, all) = (record.tally, *all);
        let others = ((all.good - own.good).max(0.0) + PRIOR) / ((all.all - own.all).max(0.0) + PRIOR);
        let chance = (own.good + PRIOR * others) / (own.all + PRIOR);
        let wanted = f64::from(FULL) * (chance / others).min(1.0).powi(2);
        record.walk(wanted, now).then(|| STEPS[usize::from(record.step)])
    }
}

impl Record {
    /// One step towards `wanted` twentieths, where it is time.
    fn walk(&mut self, wanted: f64, now: Mono) -> bool {
        let step = usize::from(self.step);
        let here = f64::from(STEPS[step]);
        let three_quarters = |there: u8| here + 0.75 * (f64::from(there) - here);
        let stood = now.since(self.since);
        let down = STEPS.get(step + 1).is_some_and(|&next| wanted < three_quarters(next)) && stood >= DOWN_EVERY;
        let up = step > 0 && wanted > three_quarters(STEPS[step - 1]) && stood >= UP_EVERY;
        if !(down || up) {
            return false;
        }
        self.step = if down { self.step + 1 } else { self.step - 1 };
        self.since = now;
        true
    }
}
