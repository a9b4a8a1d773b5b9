//! On which of eight steps a weight stands, and when it moves.
//!
//! What is drawn is not applied as it is. A weight goes down as far as the draw says, but only where that is three quarters
//! of the way to the next step at least; and up one step at a time, slowly. So orders are seldom re-weighted, noise moves
//! nothing, and a binding that does badly *because* it carries much comes to rest between two steps instead of swinging.

use std::time::Duration;

use super::FULL;
use super::tunables::{FAR_ENOUGH, PATIENCE_MAX, STEPS, UP_AFTER};
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
    /// It came from below.
    rose: bool,
    /// How often the wait for the next rise has doubled.
    patience: u8,
    /// It was to go further down, and the others could not have taken more: not asked again before a draw is due.
    pub(super) is_held: bool,
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
        let rested = self.since.is_none_or(|since| now.since(since) >= self.wait(redraw));
        if step == self.step && step > 0 && rested && wanted > reached(step, step - 1) {
            step -= 1;
        }
        step
    }

    /// How long it stands before it rises.
    fn wait(self, redraw: Duration) -> Duration {
        redraw.saturating_mul(UP_AFTER << self.patience)
    }

    pub(super) fn go(&mut self, step: u8, redraw: Duration, now: Mono) {
        let (rises, stood) = (step < self.step, self.since.map(|since| now.since(since)));
        let in_vain = !rises && self.rose && stood.is_some_and(|stood| stood < self.wait(redraw));
        let patience = match (in_vain, rises && self.rose) {
            (true, _) => (self.patience + 1).min(PATIENCE_MAX),
            // The rise before this one held.
            (_, true) => self.patience.saturating_sub(1),
            _ => self.patience,
        };
        *self = Self { step, since: Some(now), rose: rises, patience, is_held: false };
    }
}
