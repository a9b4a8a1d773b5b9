//! How much of a day's cap may have been spent by a moment of the day.
//!
//! `even` goes with the part of the day that has passed, a small burst ahead (a thousandth of the limit, at least one
//! recipient), so that the first recipient need not wait.
//!
//! `hours` gives each hour of the clock its share of the cap, spread evenly over that hour. Slot 0 is the hour that begins
//! with the day, slot 1 the next one on the clock, and so on, each held against the instant at which it really begins:
//!
//! ```text
//!   an ordinary day      00 01 02 03 04 … 23      24 slots of one hour
//!   clocks go forward    00 01 03 04 05 … 23      the missing hour is over at once: its share is there at 03:00
//!   clocks go back       00 01 02 02 03 … 23      the hour that comes twice spreads its share over both
//! ```
//!
//! So "nine to ten" is nine to ten on every day of the year, and every day ends with the whole cap reachable, since every
//! slot is passed. What an hour leaves over is there for the next ones; an hour with share 0 gives nothing of its own and
//! no burst, but may spend what is left over. Whole numbers only (u128), so nothing drifts: never is more than the limit
//! allowed, and the moment given with a refusal is the first millisecond at which the next recipient fits.

use std::time::Duration;

use super::{Day, Hours};
use crate::clock::Wall;
use crate::config::{HourShares, Pace};

/// The part of a limit that may go ahead of its time.
fn burst(limit: u128) -> u128 {
    (limit / 1000).max(1)
}

/// How many recipients more fit at `wall` when `taken` of `limit` are; else the first moment at which one does. With the
/// limit reached that is the end of the day.
pub(super) fn fit(pace: &Pace, limit: u64, taken: u64, day: &Day, hours: &Hours, wall: Wall) -> Result<u64, Wall> {
    if *pace == Pace::None {
        return Ok(u64::MAX);
    }
    if taken >= limit {
        return Err(day.end);
    }
    let (limit, taken) = (u128::from(limit), u128::from(taken));
    let allowed = match pace {
        Pace::None => limit,
        Pace::Even => even(limit, day, wall),
        Pace::Hours(shares) => by_hour(limit, shares, hours, wall),
    };
    if allowed > taken {
        return Ok(u64::try_from(allowed - taken).unwrap_or(u64::MAX));
    }
    let due = match pace {
        Pace::None | Pace::Even => even_due(limit, taken + 1, day),
        Pace::Hours(shares) => by_hour_due(limit, taken + 1, shares, hours),
    };
    Err(due.min(day.end))
}

fn even(limit: u128, day: &Day, wall: Wall) -> u128 {
    let length = span(day.start, day.end);
    let elapsed = wall.since(day.start).as_millis().min(length);
    (limit * elapsed / length + burst(limit)).min(limit)
}

/// When the `n`th recipient fits; `n` is at most the limit and more than the burst.
fn even_due(limit: u128, n: u128, day: &Day) -> Wall {
    after(day.start, (n.saturating_sub(burst(limit)) * span(day.start, day.end)).div_ceil(limit))
}

/// What may have been spent when an hour is over.
fn at_end_of(hour: usize, limit: u128, shares: &HourShares) -> u128 {
    limit * u128::from(shares.before(hour + 1)) / u128::from(shares.total())
}

fn by_hour(limit: u128, shares: &HourShares, hours: &Hours, wall: Wall) -> u128 {
    let Some(hour) = hours.at(wall) else { return limit };
    let (start, end) = hours.of(hour);
    let (length, total) = (span(start, end), u128::from(shares.total()));
    let elapsed = wall.since(start).as_millis().min(length);
    let parts = u128::from(shares.before(hour)) * length + u128::from(shares.of(hour)) * elapsed;
    (limit * parts / (total * length) + burst(limit)).min(at_end_of(hour, limit, shares))
}

/// When the `n`th recipient fits; `n` is at most the limit.
fn by_hour_due(limit: u128, n: u128, shares: &HourShares, hours: &Hours) -> Wall {
    let hour = (0..24).find(|&hour| at_end_of(hour, limit, shares) >= n).unwrap_or(23);
    let (start, end) = hours.of(hour);
    let (length, total) = (span(start, end), u128::from(shares.total()));
    let missing = (n.saturating_sub(burst(limit)) * total).saturating_sub(limit * u128::from(shares.before(hour)));
    // The share is not 0: this hour ends with more than the one before.
    let elapsed = (missing * length).div_ceil((limit * u128::from(shares.of(hour))).max(1));
    if start == end { end } else { after(start, elapsed) }
}

/// Milliseconds between, at least 1. Bounded (to seven weeks) so that products stay far below 2¹²⁸ also for the endless
/// days at the two ends of the calendar.
fn span(start: Wall, end: Wall) -> u128 {
    end.since(start).as_millis().clamp(1, u128::from(u32::MAX))
}

fn after(start: Wall, millis: u128) -> Wall {
    start.plus(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests;
