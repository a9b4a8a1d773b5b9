//! Who is compared with whom, and what of it another configuration takes over.
//!
//! A circle is a set of bindings that share tiers, directly or in a row; the scheduler says who is of which. What the
//! routes of a circle have in common at a provider — its level, and the sums over them — stands in one [`Column`]. When
//! circles are joined or divided, levels are taken over first and the routes' own parts are moved against them, so that
//! what is expected of a route stays as it was.

use super::route::{Column, hours};
use super::{Predictions, Told};
use crate::config;
use crate::scheduler::BindingId;

impl Predictions {
    /// Takes over who is compared with whom (by binding), and for each column the one it was before. Returns routes, with
    /// the columns they had, of which facts were written and that are no more.
    pub(in crate::scheduler) fn reshape(
        &mut self,
        rules: config::Prediction,
        circles: Vec<Option<u32>>,
        before: &[Option<u32>],
    ) -> Vec<(BindingId, u32)> {
        let mut old = std::mem::take(self);
        let bindings = circles.len();
        let count = circles.iter().flatten().max().map_or(0, |&most| most as usize + 1);
        (self.rules, self.width, self.circles) = (rules, before.len(), circles);
        self.columns = vec![Column::default(); count * self.width];
        self.routes = std::iter::repeat_with(|| None).take(bindings * self.width).collect();
        self.facts = std::mem::take(&mut old.facts);
        self.of_bindings = std::mem::take(&mut old.of_bindings);
        self.of_bindings.resize(bindings, Told::default());
        (self.lessons, self.lessons_at) = (std::mem::take(&mut old.lessons), old.lessons_at);
        for (new, column) in (0u32..).zip(before).filter_map(|(new, &column)| Some((new, column?))) {
            let told = old.of_routes.iter().filter(|((_, of), _)| *of == column);
            self.of_routes.extend(told.map(|((binding, _), told)| ((*binding, new), *told)));
            // Levels of all before any route: routes are told relative to them.
            for binding in (0..bindings as u32).map(BindingId) {
                self.take_over_level(&old, (binding, column), new);
            }
            for binding in (0..bindings as u32).map(BindingId) {
                self.take_over_route(&mut old, (binding, column), new);
            }
        }
        let gone = old.routes.iter().enumerate().filter(|(_, route)| route.as_ref().is_some_and(|r| r.written.0 != 0));
        gone.map(|(place, _)| (BindingId((place / old.width) as u32), (place % old.width) as u32)).collect()
    }

    /// A circle knows of a provider what one of those it is made of knew best.
    fn take_over_level(&mut self, old: &Self, (binding, column): (BindingId, u32), new: u32) {
        let Some((at, before)) = self.shared(binding, new).zip(old.shared(binding, column)) else { return };
        let (all, before) = (&mut self.columns[at], &old.columns[before]);
        if before.level.variance < all.level.variance {
            all.level = before.level;
        }
        all.at = all.at.max(before.at);
    }

    /// A route goes on in its circle, with the same chance as before.
    fn take_over_route(&mut self, old: &mut Self, (binding, column): (BindingId, u32), new: u32) {
        let Some((at, before)) = self.shared(binding, new).zip(old.shared(binding, column)) else { return };
        let Some((place, old_place)) = self.place(binding, new).zip(old.place(binding, column)) else { return };
        let Some(mut route) = old.routes[old_place].take() else { return };
        let half_life = self.half_life();
        let all = &mut self.columns[at];
        route.lean_by(old.columns[before].level.mean - all.level.mean);
        let mut sums = route.sums;
        sums.fade((-hours(route.at, all.at) / half_life).exp2());
        all.sums.add(&sums);
        self.routes[place] = Some(route);
    }

    pub(super) fn place(&self, binding: BindingId, column: u32) -> Option<usize> {
        self.shared(binding, column)?;
        Some(binding.index() * self.width + column as usize)
    }

    /// The place of what a route shares with its circle.
    pub(super) fn shared(&self, binding: BindingId, column: u32) -> Option<usize> {
        let circle = (*self.circles.get(binding.index())?)? as usize;
        Some(column as usize).filter(|&column| column < self.width).map(|column| circle * self.width + column)
    }
}
