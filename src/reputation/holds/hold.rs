//! One hold: its span, its probe, and what is heard of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{HoldState, PROBE_PATIENCE};
use crate::clock::Wall;
use crate::message::{BindingName, MessageId};

/// Longest hold that doubling leads to. A rule may ask for more by itself.
const SPAN_MAX: Duration = Duration::from_secs(24 * 3600);

/// Bindings that a hold remembers.
const MET_MAX: usize = 32;

/// Shortest hold.
const SPAN_MIN: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Hold {
    pub(super) until: Wall,
    /// How long it lasts in all.
    #[serde(default = "longest")]
    span: Duration,
    /// Times in a row, this one included.
    pub(super) times: u32,
    pub(super) evidence: String,
    /// A list full of dead addresses is why.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) for_its_list: bool,
    /// Bindings that the mail was sent over before it was stopped from moving; empty for any other hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) met: Vec<BindingName>,
    /// The end of the span has been told.
    #[serde(skip)]
    pub(super) told: bool,
    /// The message that probes, and since when.
    #[serde(skip)]
    pub(super) probe: Option<(MessageId, Wall)>,
    /// The message whose answer was the last to move it, and when: its other recipients may be answered better.
    #[serde(skip)]
    heard: Option<(MessageId, Wall)>,
}

fn longest() -> Duration {
    SPAN_MAX
}

impl Hold {
    /// The `times`-th in a row, for `asked` before it is doubled; for a refusal of `message` or, without one, for what
    /// many messages have shown.
    pub(super) fn new(times: u32, asked: Duration, evidence: &str, message: Option<MessageId>, now: Wall) -> Self {
        let asked = asked.max(SPAN_MIN);
        let doubled = asked.saturating_mul(2u32.saturating_pow(times.saturating_sub(1)));
        let span = doubled.min(SPAN_MAX.max(asked));
        let heard = message.map(|message| (message, now));
        Self {
            until: now.plus(span),
            span,
            times,
            evidence: evidence.to_owned(),
            for_its_list: false,
            met: Vec::new(),
            told: false,
            probe: None,
            heard,
        }
    }

    /// Adds to the bindings that its mail has met; at most [`MET_MAX`].
    pub(super) fn meet(&mut self, met: Vec<BindingName>) {
        for binding in met {
            if self.met.len() < MET_MAX && !self.met.contains(&binding) {
                self.met.push(binding);
            }
        }
    }

    /// The next probes take others first.
    pub(super) fn ask_last(&mut self, binding: &BindingName) {
        self.met.sort_by_key(|met| met == binding);
    }

    /// Whether an answer about `message` decides: it is the probe, or was until another of its recipients was answered
    /// at this very moment.
    pub(super) fn is_probed_by(&self, message: MessageId, now: Wall) -> bool {
        self.probe.is_some_and(|(probe, _)| probe == message) || self.heard == Some((message, now))
    }

    /// Ends the probe, if `message` is it.
    pub(super) fn end_probe(&mut self, message: MessageId, now: Wall) -> bool {
        let ends = self.probe.take_if(|(probe, _)| *probe == message).is_some();
        if ends {
            self.heard = Some((message, now));
        }
        ends
    }

    /// Times in a row before an answer of this moment that did not count in the end.
    pub(super) fn times_without_the_last(&self, now: Wall) -> u32 {
        if now < self.until { self.times.saturating_sub(1) } else { self.times }
    }

    pub(super) fn blocked_until(&self, now: Wall) -> Option<Wall> {
        let lost_at = self.probe.map(|(_, since)| since.plus(PROBE_PATIENCE));
        [Some(self.until), lost_at].into_iter().flatten().find(|&end| now < end)
    }

    /// When it is forgotten unless something is heard.
    pub(super) fn end(&self, window: Duration) -> Wall {
        let end = self.until.plus(window);
        self.probe.map_or(end, |(_, since)| end.max(since.plus(PROBE_PATIENCE)))
    }

    pub(super) fn next_moment(&self, window: Duration) -> Wall {
        if self.told { self.end(window) } else { self.until }
    }

    pub(super) fn state(&self, now: Wall) -> HoldState {
        if now < self.until { HoldState::Held { until: self.until } } else { HoldState::Probing }
    }

    /// Brings nearer what lies further ahead than it can. True where the end has moved.
    pub(super) fn set_back(&mut self, now: Wall) -> bool {
        if let Some((_, since)) = &mut self.probe {
            *since = (*since).min(now);
        }
        let latest = now.plus(self.span);
        let moves = self.until > latest;
        self.until = self.until.min(latest);
        self.told &= self.until <= now;
        moves
    }
}
