//! Opinions go to disk and come back.

use super::facts::Record;
use super::features::Features;
use super::route::View;
use super::steps::part;
use super::tunables::{FADED_AFTER, FADED_AT_LEAST, REST, ROUTE_VARIANCE, UP_AFTER, WRITE_EVERY};
use super::{Predictions, view};
use crate::clock::{Now, Wall};
use crate::message::{BindingName, ProviderName};
use crate::scheduler::BindingId;

impl Predictions {
    /// Whether there is news, and the last fact is old enough.
    pub(super) fn is_to_be_written(&self, binding: BindingId, column: u32, now: Wall) -> bool {
        let since = |route: &super::Route| now.as_millis().abs_diff(route.written.0);
        self.route(binding, column).is_some_and(|route| route.is_news && since(route) >= WRITE_EVERY.unsigned_abs())
    }

    /// A fact of a route, which is then regarded as written.
    pub(super) fn record(
        &mut self,
        binding: BindingId,
        column: u32,
        (name, provider): (BindingName, Option<ProviderName>),
        at: Wall,
    ) -> Option<Record> {
        let place = self.place(binding, column)?;
        let all = &self.columns[self.shared(binding, column)?];
        let route = self.routes[place].as_deref_mut()?;
        route.written = (at.as_millis(), all.level.mean + route.own.mean);
        (route.is_news, route.is_dirty) = (false, false);
        Some(Record::of(name, provider, route, all, at))
    }

    /// Routes of which something was learnt since they were written.
    pub(super) fn dirty(&self) -> Vec<(BindingId, u32)> {
        let columns = self.width.max(1);
        let is_dirty = |route: &Option<Box<super::Route>>| route.as_ref().is_some_and(|route| route.is_dirty);
        let dirty = self.routes.iter().enumerate().filter(|(_, route)| is_dirty(route));
        dirty.map(|(place, _)| (BindingId((place / columns) as u32), (place % columns) as u32)).collect()
    }

    /// Whether nothing is left of an opinion written down then.
    pub(super) fn has_faded(&self, at: Wall, now: Now) -> bool {
        let hours = now.wall.since(at).as_secs_f64() / 3600.0;
        hours > FADED_AT_LEAST.max(FADED_AFTER * self.half_life())
    }

    /// Takes opinions back, each faded by its age. Weights that were bent stand where they stood, unless the time in
    /// between has brought the opinion back: then they have gone up as many steps as there was time for.
    pub(super) fn restore(&mut self, mut records: Vec<(BindingId, u32, Record)>, now: Now) {
        let half_life = self.half_life();
        let hours = |record: &Record| now.wall.since(record.at).as_secs_f64() / 3600.0;
        // The last word about a provider is the one that counts, and so is that about a route, were there ever two.
        records.sort_by_key(|(.., record)| record.at);
        let last: std::collections::BTreeMap<(BindingId, u32), usize> =
            records.iter().enumerate().map(|(at, (binding, column, _))| ((*binding, *column), at)).collect();
        let mut at = 0..;
        records.retain(|(binding, column, _)| last.get(&(*binding, *column)) == at.next().as_ref());
        for (binding, column, record) in &records {
            let Some((place, shared)) = self.place(*binding, *column).zip(self.shared(*binding, *column)) else {
                continue;
            };
            let all = &mut self.columns[shared];
            (all.level, all.at) = (record.level(), now.mono);
            let mut route = record.route(now.mono);
            route.sums.fade((-hours(record) / half_life).exp2());
            route.sum_up(0.0, 0.0);
            all.sums.add(&route.sums);
            self.routes[place] = Some(Box::new(route));
        }
        let age = |(binding, column, record): &(BindingId, u32, Record)| {
            Some((self.shared(*binding, *column)?, hours(record)))
        };
        let ages: std::collections::BTreeMap<usize, f64> = records.iter().filter_map(age).collect();
        for (shared, age) in ages {
            self.columns[shared].level_fades(age);
        }
        for (binding, column, record) in &records {
            self.age(*binding, *column, hours(record), now);
        }
    }

    /// Lets hours pass for a route that was taken back.
    fn age(&mut self, binding: BindingId, column: u32, hours: f64, now: Now) {
        let Some((place, shared)) = self.place(binding, column).zip(self.shared(binding, column)) else { return };
        let (half_life, least, rules) = (self.half_life(), self.least(), self.rules);
        let all = &mut self.columns[shared];
        let Some(route) = self.routes[place].as_deref_mut() else { return };
        all.sums.take_out(&route.sums);
        let others = all.sums;
        route.own.fade(hours, half_life, REST * others.rest(), ROUTE_VARIANCE);
        route.drift.fade(hours);
        route.sum_up(0.0, 0.0);
        all.sums.add(&route.sums);
        let view: View = view(route, all, others, &self.lessons, &Features::default());
        let worth = view.worth(f64::from(rules.horizon));
        let slots = hours * 3600.0 / (rules.redraw.as_secs_f64() * f64::from(UP_AFTER)).max(1.0);
        for _ in 0..(slots.min(f64::from(super::steps::LAST)) as u8) {
            let next = route.stand.next(worth, least, rules.redraw, now.mono);
            if part(next, least) > part(route.stand.step, least) {
                route.stand.step = next;
            }
        }
    }
}
