//! One key's count, and how much of it is asked for at a time.
//!
//! A block is 1 % of the limit; of a limit below 1,600 it is 16 recipients, and of one below 80 a fifth. A key asks when
//! less than half a block is free, for as much as makes a whole block free; a key that is met empty asks for twice as much
//! the next time, up to 5 % of the limit, and a large request for what it needs. What that costs in a crash, besides
//! what is on the wire (which counts, since nobody knows its fate):
//!
//! | limit | block | lost to today, at most | writes a day |
//! |---:|---:|---:|---:|
//! | 1 … 9 | 1 | 1 | 1 … 9 |
//! | 10 | 2 | 2 | 5 … 10 |
//! | 50 | 10 | 10 | 5 … 10 |
//! | 100 | 16 | 16 | 7 … 13 |
//! | 1,000 | 16, met empty up to 50 | 50 | 20 … 125 |
//! | 16,000 | 160, met empty up to 800 | 800 | 20 … 200 |
//!
//! A restart on a later day than the last write counts as much against that day, once. A clean stop costs nothing. Smaller
//! blocks would make small caps wait for the disk at each message and lose their turns to other bindings.

use std::sync::Arc;

use super::{Ledger, Owner};
use crate::clock::Wall;

/// Recipients of a block below which a small cap would wait for the disk at every message.
const BLOCK_MIN: u64 = 16;

/// One key's count.
#[derive(Clone, Debug)]
pub struct Account {
    pub(super) key: Arc<str>,
    pub(super) owner: Option<Owner>,
    pub(super) limit: u64,
    pub(super) used: u64,
    /// Part of `used` that is only assumed, and may yet be accepted on the next day: it was on the wire in a crash
    /// shortly before midnight.
    pub(super) adrift: u64,
    pub(super) reserved: u64,
    pub(super) carried: u64,
    pub(super) granted: u64,
    /// What a restart on a later day would count: the open part of what was written last. At a roll it is the first
    /// grant of the new day.
    pub(super) cover: u64,
    /// What is on disk is of today.
    pub(super) written: bool,
    pub(super) pending: Option<Asked>,
    pub(super) retry_at: Option<Wall>,
    /// The authority has no more for us today (other holders have it).
    pub(super) short: bool,
    /// Doublings of the block.
    pub(super) boost: u32,
}

/// What was asked for and is not durable yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) granted: u64,
    pub(super) open: u64,
}

impl Account {
    pub(super) fn new(key: Arc<str>) -> Self {
        Self {
            key,
            owner: None,
            limit: 0,
            used: 0,
            adrift: 0,
            reserved: 0,
            carried: 0,
            granted: 0,
            cover: 0,
            written: false,
            pending: None,
            retry_at: None,
            short: false,
            boost: 0,
        }
    }

    /// Most recipients of the day; [`Ledger::UNLIMITED`] without a cap.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Whose it is; `None` while the configuration does not name it.
    pub fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    /// Accepted today.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Held by leases, those from before midnight included.
    pub fn reserved(&self) -> u64 {
        self.reserved + self.carried
    }

    /// Durably granted for today.
    pub fn granted(&self) -> u64 {
        self.granted
    }

    /// Part of the limit that is used or held, as a fraction of 2⁶⁴; of `otherwise` without a limit.
    pub fn share_of(&self, otherwise: u64) -> u64 {
        let limit = if self.limit == Ledger::UNLIMITED { otherwise } else { self.limit };
        if limit == Ledger::UNLIMITED {
            return 0;
        }
        let share = (u128::from(self.taken()) << 64) / u128::from(limit.max(1));
        u64::try_from(share).unwrap_or(u64::MAX)
    }

    /// Used or held. What is used can be any number that somebody wrote into a fact.
    pub(super) fn taken(&self) -> u64 {
        self.used.saturating_add(self.reserved + self.carried)
    }

    /// What of today is not accepted and done with.
    pub(super) fn on_the_wire(&self) -> u64 {
        self.adrift + self.reserved + self.carried
    }

    /// Nothing was written today, or less than is counted.
    pub(super) fn is_unwritten(&self) -> bool {
        !self.written || self.granted < self.taken()
    }

    pub(super) fn free(&self) -> u64 {
        if self.limit == Ledger::UNLIMITED {
            return u64::MAX;
        }
        self.granted.min(self.limit).saturating_sub(self.taken())
    }

    pub(super) fn block(&self) -> u64 {
        let base = (self.limit / 100).max(BLOCK_MIN.min(self.limit / 5)).max(1);
        (base << self.boost.min(16)).min((self.limit / 20).max(base))
    }

    /// The next fact to write, for at least this many recipients more: `None` where it would say nothing new.
    pub(super) fn next(&self, least: u64) -> Option<Asked> {
        let known = self.granted.max(self.taken());
        let granted = self.taken().saturating_add(self.block().max(least)).min(self.limit).max(known);
        let is_news = granted > self.granted || (!self.written && granted > 0);
        is_news.then(|| Asked { granted, open: granted - (self.used - self.adrift) })
    }

    /// The open part of what may be on disk, whichever of the last two facts it is.
    pub(super) fn safe_cover(&self) -> u64 {
        self.pending.map_or(self.cover, |asked| asked.open.min(self.cover))
    }
}
