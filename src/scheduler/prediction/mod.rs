//! The chance of delivery, measured, for `spread = "reputation"`.
//!
//! What counts, per binding and provider (and per binding for all other destinations together, where no single one sees
//! enough mail): recipients accepted against recipients refused or deferred in a way that concerns the address — blamed
//! on it, put off for pace or the receiver's own reasons, and at a provider also attempts that got no answer. Bounces and
//! greylisting say nothing. Counts halve every [`HALF_LIFE`].
//!
//! **Chance.** A binding's own counts with [`PRIOR`] recipients added that fared like those of the others there. So a
//! binding nothing is known of stands exactly where the rest stand, neither favoured nor starved; and as what was held
//! against a bad one fades, it drifts back towards the others and is tried again.
//!
//! **Weight.** The chance relative to that of the others, squared, is the part of its weight a binding keeps: where a
//! provider defers everybody, nobody is bent. It is not applied as it is: a binding stands on one of eight steps from all of its weight down to a
//! twentieth, goes at most one down every [`DOWN_EVERY`] and one up every [`UP_EVERY`], and only when the measure has
//! come three quarters of the way to the next. So orders are seldom re-weighted; a binding that does badly *because* it
//! carries much comes to rest on two neighbouring steps instead of swinging; and the last step is a trickle that keeps
//! measuring. All of this is in memory only: after a restart everybody begins with full weight.

use std::time::Duration;

use super::{BindingId, DestinationId, Experience, Scheduler};
use crate::clock::Mono;

impl Scheduler {
    /// The part of its weight a binding keeps at a destination, in percent: below 100 where its pool follows reputation
    /// and less was delivered there than by others.
    pub fn bent_to(&self, binding: BindingId, destination: DestinationId) -> u8 {
        let column = self.destinations[destination.index()].column;
        self.success.twentieths(binding, column) * (100 / FULL)
    }
}

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
    /// As many bindings, and for each column the one it was before.
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

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000_000_000;

    fn success(bindings: usize) -> Success {
        let mut success = Success::default();
        success.reshape(bindings, &[Some(0), None]);
        success
    }

    fn seen(accepted: u32, deferred: u32) -> Experience {
        Experience { accepted, deferred, ..Experience::default() }
    }

    /// A day of `mail` messages a minute over bindings by their weights; `chance(binding, its share)` of them is accepted.
    /// Returns the steps each binding took in the second half, and the parts of their weights at the end of each hour.
    fn day(
        success: &mut Success,
        n: usize,
        mail: f64,
        chance: impl Fn(usize, f64) -> f64,
    ) -> (Vec<usize>, Vec<Vec<u8>>) {
        let (mut steps, mut hours, mut due) = (vec![0; n], Vec::new(), vec![0f64; n]);
        for minute in 1..=24 * 60 {
            let now = Mono::from_nanos(minute * MINUTE);
            let weights: Vec<f64> = (0..n).map(|b| f64::from(success.twentieths(BindingId(b as u32), 0))).collect();
            let all: f64 = weights.iter().sum();
            for binding in 0..n {
                let share = weights[binding] / all;
                due[binding] += mail * share;
                let carried = due[binding].floor();
                due[binding] -= carried;
                let good = (carried * chance(binding, share)).round();
                let seen = seen(good as u32, (carried - good) as u32);
                let moved = success.learn(BindingId(binding as u32), 0, &seen, now).is_some();
                steps[binding] += usize::from(moved && minute > 12 * 60);
            }
            if minute % 60 == 0 {
                hours.push((0..n).map(|b| success.twentieths(BindingId(b as u32), 0)).collect());
            }
        }
        (steps, hours)
    }

    #[test]
    fn a_bad_binding_ends_at_a_trickle_and_the_others_keep_all() {
        let mut success = success(4);
        let (steps, hours) = day(&mut success, 4, 100.0, |binding, _| if binding == 2 { 0.1 } else { 0.98 });
        assert_eq!(hours.last(), Some(&vec![20, 20, 1, 20]));
        assert_eq!(steps, [0; 4]);
    }

    #[test]
    fn where_everybody_is_deferred_nobody_is_bent() {
        let (steps, hours) = day(&mut success(5), 5, 60.0, |_, _| 0.5);
        assert_eq!(hours.concat(), vec![FULL; 5 * 24]);
        assert_eq!(steps, [0; 5]);
    }

    #[test]
    fn a_new_binding_stands_where_the_others_stand() {
        let mut success = success(3);
        let now = Mono::from_nanos(MINUTE);
        for binding in [0, 1] {
            success.learn(BindingId(binding), 0, &seen(600, 400), now);
        }
        assert_eq!(success.learn(BindingId(2), 0, &seen(3, 2), now), None);
        assert_eq!(success.learn(BindingId(2), 0, &seen(0, 1), now), None, "one deferral is no measure");
        assert_eq!(success.twentieths(BindingId(2), 0), FULL);
    }

    #[test]
    fn a_binding_that_does_badly_because_it_carries_much_comes_to_rest() {
        // Above a tenth of the mail, deferrals grow with what it carries.
        for (n, steep) in [(2, 1.0), (2, 3.0), (4, 2.0), (4, 10.0)] {
            let chance = |binding: usize, share: f64| {
                if binding == 0 { (1.0 - steep * (share - 0.1).max(0.0)).clamp(0.0, 1.0) } else { 1.0 }
            };
            let (steps, hours) = day(&mut success(n), n, 200.0, chance);
            let place = |hour: &Vec<u8>| STEPS.iter().position(|&step| step == hour[0]).expect("a step");
            let late: Vec<usize> = hours[12..].iter().map(place).collect();
            let (least, most) = (late.iter().min().expect("hours"), late.iter().max().expect("hours"));
            assert!(most - least <= 1, "{n} bindings, {steep}: {late:?}");
            assert!(steps[0] <= 12, "{n} bindings, {steep}: {steps:?} in twelve hours");
        }
    }

    #[test]
    fn what_is_held_against_a_binding_fades_and_it_is_tried_again() {
        let mut success = success(2);
        let at = |minute: u64| Mono::from_nanos(minute * MINUTE);
        for minute in 1..120 {
            success.learn(BindingId(0), 0, &seen(0, 10), at(minute));
            success.learn(BindingId(1), 0, &seen(10, 0), at(minute));
        }
        assert_eq!(success.twentieths(BindingId(0), 0), 1);
        let mut hours = 0;
        while success.twentieths(BindingId(0), 0) < FULL {
            hours += 1;
            (0..6).for_each(|ten| {
                success.learn(BindingId(0), 0, &seen(10, 0), at(120 + hours * 60 + ten * 10));
                success.learn(BindingId(1), 0, &seen(10, 0), at(120 + hours * 60 + ten * 10));
            });
            assert!(hours < 48, "does not come back");
        }
        assert!(hours >= 4, "not at once either: {hours}");
    }

    #[test]
    fn silence_counts_at_a_provider_only_and_counts_stay_with_their_provider() {
        let mut success = Success::default();
        success.reshape(2, &[Some(0), None, None]);
        let silent = Experience { failed: 50, ..Experience::default() };
        for column in 0..3 {
            success.learn(BindingId(1), column, &seen(50, 0), Mono::from_nanos(10 * MINUTE));
        }
        assert_eq!(success.learn(BindingId(0), 0, &silent, Mono::from_nanos(10 * MINUTE)), None);
        assert_eq!(success.learn(BindingId(0), 2, &silent, Mono::from_nanos(10 * MINUTE)), Some(16));
        success.reshape(3, &[Some(0), Some(2)]);
        assert_eq!((success.twentieths(BindingId(0), 1), success.twentieths(BindingId(2), 1)), (16, FULL));
        success.reshape(3, &[Some(0), None]);
        assert_eq!(success.twentieths(BindingId(0), 1), FULL);
    }
}
