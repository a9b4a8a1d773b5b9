//! On which of eight steps a weight stands, and when it moves.
//!
//! What is drawn is not applied as it is. A weight goes down as far as the draw says, but only where that is three quarters
//! of the way to the next step at least; and up one step at a time, slowly. So orders are seldom re-weighted, noise moves
//! nothing, and a binding that does badly *because* it carries much comes to rest between two steps instead of swinging.

use std::time::Duration;

use super::FULL;
use super::tunables::{FAR_ENOUGH, STEPS, UP_AFTER};
use crate::clock::Mono;

/// The part of its weight that a step leaves, in thousandths; `least` is that of the last one.
pub(super) fn part(step: u8, least: u16) -> u16 {
    STEPS.get(usize::from(step)).map_or(least, |&part| part.max(least))
}

/// The last step.
pub(super) const LAST: u8 = STEPS.len() as u8 - 1;

/// A place on the steps.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stand {
    pub(super) step: u8,
    /// When it came to stand there; `None` before it ever moved.
    pub(super) since: Option<Mono>,
}

impl Stand {
    /// Where a weight that is to be `wanted` of its size (0 to 1) goes from here.
    pub(super) fn next(self, wanted: f64, least: u16, redraw: Duration, now: Mono) -> u8 {
        let wanted = wanted * f64::from(FULL);
        let part = |step: u8| f64::from(part(step, least));
        let reached = |from: u8, to: u8| part(from) + FAR_ENOUGH * (part(to) - part(from));
        let mut step = self.step;
        while step < LAST && part(step + 1) < part(step) && wanted < reached(step, step + 1) {
            step += 1;
        }
        let rested = self.since.is_none_or(|since| now.since(since) >= redraw.saturating_mul(UP_AFTER));
        if step == self.step && step > 0 && rested && wanted > reached(step, step - 1) {
            step -= 1;
        }
        step
    }

    pub(super) fn go(&mut self, step: u8, now: Mono) {
        *self = Self { step, since: Some(now) };
    }
}
