//! Which seats of a large tier a refusal lists.
//!
//! Who is refused has to know when to ask again and what for: that takes some seats of each kind, and above all every one
//! that may be free first. A few of many seats say as much as all of them, unless only a few come into question.

use smallvec::SmallVec;

use super::DestinationId;
use super::cover::Left;
use super::tier::{Scope, Tier};
use super::views::Bars;

/// Of the seats of a group and class that a cover bars, so many are listed with a refusal of a large tier.
const BARRED_SHOWN: usize = 2;

impl Tier {
    /// Some of the seats that come into question, of every class some: up to about `most`, those that may be free first
    /// among them. Of `left`, where only those come into question: all of them if there are no more; and a few of the others,
    /// for what they say.
    pub(super) fn some(&self, scope: Scope, left: Option<&Left>, at: DestinationId, most: usize) -> Vec<u32> {
        let Some(left) = left else { return self.some_of(scope, |_| true, at, most) };
        let in_scope = |place: &usize| self.covers(scope, &self.seats[*place]);
        let few: Vec<usize> = left.iter().filter(in_scope).take(most + 1).collect();
        let mut some = match few.len() <= most {
            true => few.into_iter().map(|place| place as u32).collect(),
            false => self.some_of(scope, |seat| left.has(seat as usize), at, most),
        };
        let lists = self.covered(scope).flat_map(|(group, _)| &self.by_class[group]);
        some.extend(lists.flat_map(|list| list.iter().filter(|seat| !left.has(**seat as usize)).take(BARRED_SHOWN)));
        some
    }

    fn some_of(&self, scope: Scope, is_meant: impl Fn(u32) -> bool, at: DestinationId, most: usize) -> Vec<u32> {
        let lists: SmallVec<[&Vec<u32>; 16]> =
            self.covered(scope).flat_map(|(group, _)| &self.by_class[group]).filter(|list| !list.is_empty()).collect();
        let each = (most / (lists.len() + 1)).max(1);
        let mut some: Vec<u32> =
            lists.iter().flat_map(|list| list.iter().copied().filter(|seat| is_meant(*seat)).take(each)).collect();
        for view in self.views.iter().filter(|view| view.key.place == Some(at)) {
            let barred = view.bars.iter().flat_map(Bars::some).take(each);
            let seats = barred.map(|local| view.members.as_ref().map_or(local as u32, |members| members[local]));
            some.extend(seats.filter(|&seat| is_meant(seat) && self.covers(scope, &self.seats[seat as usize])));
        }
        some.sort_unstable();
        some.dedup();
        some
    }
}
