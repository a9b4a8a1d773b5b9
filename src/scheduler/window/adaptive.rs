//! The size of a route's window: additive increase, multiplicative decrease.
//!
//! | what an attempt was answered | the size |
//! |---|---|
//! | accepted, for as many answers as the window is wide | one more |
//! | connection refused, reset, timed out or closed with 421; blame of our IP | half |
//! | deferred by the receiver for its own reasons or our pace, once more than `deferral_ratio` are | half |
//! | accepted, but much later than this route used to answer | an eighth less, not below where it started |
//! | greylisting, unknown users, full mailboxes, refused content | as it was |
//!
//! **One burst is one event.** All that was on the wire when the size shrank was sent at the old size: its answers say
//! nothing about the new one. So attempts that began before the last step down move nothing, whatever their number and
//! however long a round trip takes.
//!
//! **Up.** Before the first step down each window's worth of accepted mail adds one connection, so a fresh route comes from
//! 5 to 20 in fifteen round trips. After a step down there is also `grow_every` between two steps up, until the ceiling is
//! reached again: what was just too much is approached slowly. A step up needs a window of which at least half was in use
//! since the last one (what was not tried is not proven), or one smaller than at the start.
//!
//! **Deferrals** are weighed as a moving share: one in twenty from a large receiver is weather, two in a row are a sign.
//!
//! **Latency** is compared with the route's own past: a fast average of 8 answers with a slow one of 1,024. Message
//! sizes make it a noisy measure, hence the wide margins, the gentle step and its floor; and what lasts becomes usual.
//!
//! **Idle** routes forget: after [`FORGET_AFTER`] without an answer a route is as new.

use std::time::Duration;

use super::super::Experience;
use crate::clock::Mono;

/// Silence after which what was learnt of a route no longer holds.
pub const FORGET_AFTER: Duration = Duration::from_secs(3600);

/// Weight of one answer in the moving share of deferrals.
const SHARE_WEIGHT: f32 = 1.0 / 16.0;

/// Weights of one answer in the fast and the slow average of latency.
const FAST_WEIGHT: f32 = 1.0 / 8.0;
const SLOW_ANSWERS: f32 = 1024.0;

/// Answers after which there is a baseline to compare with.
const BASELINE_ANSWERS: u16 = 32;

/// The limits within which a size moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Size of a route about which nothing is known; at most `ceiling`.
    pub start: u32,
    /// Most connections.
    pub ceiling: u32,
}

/// How it moves.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Least time between two steps up after a step down.
    pub grow_every: Duration,
    /// Share of deferrals that is still weather.
    pub deferral_ratio: f32,
}

/// The size of one route's window, and what moves it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Adaptive {
    /// 0 where nothing has been learnt: as at the start.
    size: u32,
    /// Accepted attempts since the last change, towards the next step up.
    clean: u32,
    /// Most connections seen in use since the last change.
    peak: u32,
    /// Moving share of deferrals since the last step down.
    share: f32,
    latency: Latency,
    /// Was stepped down and has not been back at the ceiling.
    is_careful: bool,
    /// When the size last changed; in the future during a pause.
    changed: Mono,
    /// When it was last stepped down.
    shrunk: Option<Mono>,
    /// When it last learnt something.
    answered: Option<Mono>,
}

impl Adaptive {
    /// Connections that are allowed: at least 1 and at most the ceiling (0 where that is 0).
    pub fn size(&self, bounds: Bounds) -> u32 {
        let size = if self.size == 0 { bounds.start } else { self.size };
        size.max(1).min(bounds.ceiling)
    }

    /// Whether a new route would be treated the same.
    pub fn is_neutral(&self, bounds: Bounds) -> bool {
        !self.is_careful && self.size(bounds) == bounds.start.min(bounds.ceiling)
    }

    /// Whether it still recovers from a step down.
    pub fn is_careful(&self) -> bool {
        self.is_careful
    }

    /// Whether it has been silent for so long that it no longer holds.
    pub fn is_stale(&self, now: Mono) -> bool {
        now.since(self.answered.unwrap_or_default().max(self.changed)) >= FORGET_AFTER
    }

    /// Down to a single connection; the first step up comes no earlier than `grow_every` after `until`.
    pub fn restart(&mut self, until: Mono, now: Mono) {
        self.step_down(1, now);
        (self.changed, self.answered) = (until.max(now), Some(now));
    }

    /// Learns from an attempt, answered at `now` while `in_use` connections were out, itself included.
    pub fn answered(&mut self, seen: &Experience, in_use: u32, bounds: Bounds, pace: Pace, now: Mono) {
        if self.answered.is_some() && self.is_stale(now) {
            *self = Self::default();
        }
        self.answered = Some(now);
        let bad = seen.blamed.saturating_add(seen.failed);
        let total = bad.saturating_add(seen.deferred).saturating_add(seen.accepted).saturating_add(seen.other);
        if let (Some(took), true) = (seen.took, seen.accepted > 0) {
            self.latency.learn(took);
        }
        let is_echo = self.shrunk.is_some_and(|shrunk| began(seen, now) < shrunk);
        if total == 0 || is_echo {
            return;
        }
        let size = self.size(bounds);
        let deferred = seen.deferred as f32 / total as f32;
        self.share += SHARE_WEIGHT * (deferred - self.share);
        if bad > 0 || (deferred > 0.0 && self.share > pace.deferral_ratio) {
            self.step_down(size / 2, now);
        } else if seen.accepted > 0 && self.latency.is_strained() {
            let floor = bounds.start.min(size);
            if size > floor {
                self.step_down((size - (size / 8).max(1)).max(floor), now);
            }
        } else if seen.accepted > 0 && deferred == 0.0 && !self.latency.is_rising() {
            self.accepted(size, in_use, bounds, pace, now);
        }
    }

    fn accepted(&mut self, size: u32, in_use: u32, bounds: Bounds, pace: Pace, now: Mono) {
        self.peak = self.peak.max(in_use);
        if self.peak.saturating_mul(2) < size && size >= bounds.start {
            return;
        }
        self.clean = self.clean.saturating_add(1);
        let is_time = !self.is_careful || now.since(self.changed) >= pace.grow_every;
        if self.clean < size || !is_time || now < self.changed {
            return;
        }
        if size < bounds.ceiling {
            (self.size, self.clean, self.peak, self.changed) = (size + 1, 0, 0, now);
        }
        self.is_careful &= self.size(bounds) < bounds.ceiling;
    }

    fn step_down(&mut self, size: u32, now: Mono) {
        (self.size, self.clean, self.peak, self.share) = (size.max(1), 0, 0, 0.0);
        (self.is_careful, self.changed, self.shrunk) = (true, now, Some(now));
    }
}

/// When an attempt began, as well as it is known.
pub(super) fn began(seen: &Experience, now: Mono) -> Mono {
    let took = || seen.took.unwrap_or_default().as_nanos();
    seen.began
        .unwrap_or_else(|| Mono::from_nanos(now.as_nanos().saturating_sub(u64::try_from(took()).unwrap_or(u64::MAX))))
}

/// How long accepted attempts take, lately and usually, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Latency {
    fast: f32,
    slow: f32,
    answers: u16,
}

impl Latency {
    fn learn(&mut self, took: Duration) {
        let millis = took.as_secs_f32() * 1e3;
        self.answers = self.answers.saturating_add(1);
        // The first answers are averaged as they are: one slow handshake is no baseline.
        let answers = f32::from(self.answers);
        self.fast += (millis - self.fast) * FAST_WEIGHT.max(1.0 / answers);
        self.slow += (millis - self.slow) / answers.min(SLOW_ANSWERS);
    }

    fn is_rising(self) -> bool {
        self.answers >= BASELINE_ANSWERS && self.fast > 2.0 * self.slow + 250.0
    }

    fn is_strained(self) -> bool {
        self.answers >= BASELINE_ANSWERS && self.fast > 3.0 * self.slow + 500.0
    }
}
