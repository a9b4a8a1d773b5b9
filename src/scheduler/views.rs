//! Further orders of a tier, for those who see only a part of it.
//!
//! The main order of a tier knows everybody in play. It is the wrong one for mail that may use only some of them: who may
//! not would be met and passed over at each pick, half of a tier of ten thousand at worst. So such mail has an order of its
//! own, a *view*, with only the members it may use:
//!
//! - of a **region**, or of an **address family** in a tier that has both: members are left out for good;
//! - of a **cover** ([`super::cover`]), where the sender's SPF record bars somebody of the tier;
//! - at a **provider**, under `spread = "reputation"`: with weights bent by what was delivered there;
//! - at one **destination** where routes were found shut: members that were refused there are *barred* until something may
//!   have changed — a slot freed, a health, a grant ([`View::unbar`]), or the moment the refusal gave, at the latest
//!   [`BAR_MAX`] on. A bar is a note, not a verdict: whoever comes up is still asked.
//!
//! Views of regions, families and providers are few and are made at the first need, those of covers as well. Those of
//! destinations must be earned ([`Tier`](super::tier::Tier) counts whom mail to a destination had to pass over): making one
//! costs about as much as the walks that earned it. Of covers and destinations there may be many, and the least recently
//! used make way.
//!
//! A member that goes out of play is not told to each view: it leaves when it comes up there. One that comes back is told
//! to those it left.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::order::Order;
use super::{CoverId, DestinationId, Families, RegionId};
use crate::clock::Mono;

/// For how long a refusal is believed whose end is known: whoever changed it may have told nobody.
const BAR_MAX: Duration = Duration::from_secs(60);

/// The same where only an event ends it.
const BAR_FOR_EVENT: Duration = Duration::from_secs(1);

/// After so long without a bar a view of a destination is given up.
const USELESS_AFTER: Duration = Duration::from_secs(600);

/// Which part of a tier, with which weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) region: Option<RegionId>,
    pub(super) families: Families,
    /// Members that the sender's SPF record bars are out.
    pub(super) cover: CoverId,
    /// Whose weights: 0 are those elsewhere, and where weights are not bent.
    pub(super) column: u32,
    /// Members barred at this destination are out.
    pub(super) place: Option<DestinationId>,
}

impl Key {
    /// All members, with the weights of a column.
    pub(super) fn all(column: u32) -> Self {
        let families = Families { v4: true, v6: true };
        Self { region: None, families, cover: CoverId::NONE, column, place: None }
    }

    /// Of those that may be many and make way for each other.
    pub(super) fn is_passing(&self) -> bool {
        self.place.is_some() || self.cover != CoverId::NONE
    }
}

/// One further order.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) key: Key,
    /// Seats by place in the order, climbing; `None` where it is all of them.
    pub(super) members: Option<Vec<u32>>,
    pub(super) order: Order,
    pub(super) bars: Option<Bars>,
    /// When it was used last, by the tier's count.
    pub(super) used: u64,
}

impl View {
    /// The place of a seat in the order.
    pub(super) fn local(&self, seat: usize) -> Option<usize> {
        match &self.members {
            None => Some(seat),
            Some(members) => members.binary_search(&(seat as u32)).ok(),
        }
    }

    pub(super) fn is_barred(&self, local: usize) -> bool {
        self.bars.as_ref().is_some_and(|bars| bars.until[local] != OPEN)
    }

    /// Something about the route may have changed. Returns whether the member was barred.
    pub(super) fn unbar(&mut self, local: usize) -> bool {
        let Some(bars) = &mut self.bars else { return false };
        let was_barred = bars.until[local] != OPEN;
        bars.until[local] = OPEN;
        bars.count -= usize::from(was_barred);
        was_barred
    }
}

/// No bar.
const OPEN: u64 = 0;

/// Who is out at a destination, and until when.
#[derive(Clone, Debug)]
pub(super) struct Bars {
    /// By place in the order, in nanoseconds.
    until: Vec<u64>,
    /// The timer of each, so that there is one per member however often it is barred and let in.
    queued: Vec<u64>,
    timers: BinaryHeap<Reverse<(u64, u32)>>,
    count: usize,
    last: Mono,
}

impl Bars {
    pub(super) fn new(members: usize, now: Mono) -> Self {
        Self { until: vec![OPEN; members], queued: vec![OPEN; members], timers: BinaryHeap::new(), count: 0, last: now }
    }

    /// Bars a member until `until`, or until an event.
    pub(super) fn bar(&mut self, local: usize, until: Option<Mono>, now: Mono) {
        let longest = if until.is_some() { BAR_MAX } else { BAR_FOR_EVENT };
        let latest = Mono::from_nanos(now.as_nanos().saturating_add(longest.as_nanos() as u64));
        // At least a nanosecond on: a bar that is over at once would be asked about in a circle.
        let until = until.unwrap_or(latest).min(latest).as_nanos().max(now.as_nanos() + 1);
        self.count += usize::from(self.until[local] == OPEN);
        self.until[local] = until;
        self.last = now;
        self.queue(local, until);
    }

    fn queue(&mut self, local: usize, at: u64) {
        if self.queued[local] == OPEN || at < self.queued[local] {
            self.queued[local] = at;
            self.timers.push(Reverse((at, local as u32)));
        }
    }

    /// The next member whose bar is over; call until there is none.
    pub(super) fn next_over(&mut self, now: Mono) -> Option<usize> {
        while let Some(&Reverse((at, local))) = self.timers.peek()
            && at <= now.as_nanos()
        {
            self.timers.pop();
            let local = local as usize;
            if self.queued[local] != at {
                continue;
            }
            self.queued[local] = OPEN;
            match self.until[local] {
                OPEN => {}
                until if until > now.as_nanos() => self.queue(local, until),
                _ => {
                    self.until[local] = OPEN;
                    self.count -= 1;
                    return Some(local);
                }
            }
        }
        None
    }

    /// Those that come back first, and some others.
    pub(super) fn some(&self) -> impl Iterator<Item = usize> {
        let barred = |local: &usize| self.until[*local] != OPEN;
        self.timers.iter().map(|Reverse((_, local))| *local as usize).filter(barred)
    }

    pub(super) fn is_useless(&self, now: Mono) -> bool {
        self.count == 0 && now.since(self.last) > USELESS_AFTER
    }
}
