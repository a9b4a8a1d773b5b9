//! `[pool.NAME]`: tiers of bindings, how volume is spread over them and over the day, and when the next tier opens.

use super::Limits;
use crate::message::{BindingName, PoolName};

/// `[pool.NAME]`: tiers of bindings. Tier 0 is `active`; the others are `backup`, in order.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its name.
    pub name: PoolName,
    /// Never empty; no binding twice in one pool. `{ pool = "…" }` in a backup tier is already unfolded.
    pub tiers: Vec<Vec<Member>>,
    /// How volume is spread inside a tier. Default weighted.
    pub spread: Spread,
    /// How a daily cap is spread over the day. Default none.
    pub pace: Pace,
    /// Eligible bindings below which the next tier opens as well. Default 1.
    pub min_active: usize,
    /// Reasons for which the next tier opens. Default suspended, capped.
    pub failover_on: Vec<FailoverReason>,
    /// Limits of each member while it carries this pool's mail; binding limits win.
    pub binding_limits: Limits,
}

/// A binding in a tier.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Which one.
    pub binding: BindingName,
    /// Its share relative to the others of the tier; 0 gets nothing (drained). At most 65 535.
    pub weight: u32,
}

/// How volume is spread over the bindings of a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Exactly by weight.
    Weighted,
    /// The smallest used share of today's allowance first.
    Headroom,
    /// By weight bent by the measured chance of delivery.
    Reputation,
}

/// How a daily cap is spread over the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As fast as rates allow.
    None,
    /// In proportion to the part of the day that has passed.
    Even,
    /// By hour of the day, local time: shares of the cap.
    Hours(HourShares),
}

/// Shares of a day's cap by hour, from the hour in which the day starts; they need not add up to anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourShares {
    /// Sum of the shares before each hour, and before the end.
    before: [u32; 25],
}

impl HourShares {
    /// These shares; `None` where all are 0.
    pub fn new(shares: [u16; 24]) -> Option<Self> {
        let mut before = [0; 25];
        for (hour, share) in shares.into_iter().enumerate() {
            before[hour + 1] = before[hour] + u32::from(share);
        }
        (before[24] > 0).then_some(Self { before })
    }

    /// The share of an hour, 0 to 23.
    pub fn of(&self, hour: usize) -> u32 {
        self.before[hour + 1] - self.before[hour]
    }

    /// What the hours before this one (0 to 24) have together.
    pub fn before(&self, hour: usize) -> u32 {
        self.before[hour]
    }

    /// What all hours have together; never 0.
    pub fn total(&self) -> u32 {
        self.before[24]
    }
}

/// A reason that may open the next tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailoverReason {
    /// Binding or route suspended (by operator, rule or unusable address), or excluded for this message.
    Suspended,
    /// Daily cap used up.
    Capped,
    /// Today's allowance of the warm-up used up.
    Warmup,
    /// Waiting for the rate limiter.
    RateLimited,
    /// Connection window full.
    WindowFull,
}
