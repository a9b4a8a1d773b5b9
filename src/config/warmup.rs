//! `[warmup]` and the warm-up of a binding: which ladder, where on it, and when its stages move.

use std::sync::Arc;
use std::time::Duration;

/// `warmup = { ladder = …, started = … | stage = … | age = … }`
#[derive(Clone, Debug, PartialEq)]
pub struct Warmup {
    /// Accepted recipients per day, stage by stage.
    pub ladder: Arc<[u64]>,
    /// Where on the ladder it stands.
    pub position: WarmupStart,
}

/// `[warmup]`: when a ladder's stage moves, whatever the ladder.
#[derive(Clone, Debug, PartialEq)]
pub struct WarmupRules {
    /// Share of a stage's allowance that must have been accepted in a day for the next stage. Default 0.75.
    pub advance_used: f64,
    /// Share that must have been accepted of what was accepted, deferred by the receiver or refused for our address's
    /// sake. Default 0.9.
    pub advance_delivered: f64,
    /// Share of answers that blame our address above which the stage falls. Default 0.05.
    pub step_back_blamed: f64,
    /// Days (24 h each) without enough mail after which the stage falls, week by week. Default 30 d.
    pub cool_after: Duration,
    /// Factor by which the allowance goes on growing above the last stage of a ladder. Default 1.5.
    pub growth_beyond: f64,
}

/// Where on its ladder a binding starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarmupStart {
    /// Stage 0, not before this day.
    Started(jiff::civil::Date),
    /// This stage (0-based); for an address warmed elsewhere.
    Stage(usize),
    /// The stage that an address used daily for so many days would have reached; for one warmed elsewhere.
    Age(u32),
}
