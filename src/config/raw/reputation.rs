//! As typed: `[prediction]`, `[reputation]`.

use std::time::Duration;

use crate::config::Automation;
use crate::config::read::{table, words};

table!(pub(in crate::config) Prediction { half_life: Duration, horizon: u32, redraw: Duration, least: f64 });

table!(pub(in crate::config) Reputation {
    automation: Automation,
    window: Duration,
    min_attempts: u64,
    min_events: u64,
    hard_bounce_ratio: f64,
    normal_bounce_ratio: f64,
    bad_bounce_ratio: f64,
    fuse_height: f64,
    fuse_certainty: f64,
    complaint_prior: f64,
    complaint_prior_weight: f64,
    complaint_throttle: f64,
    complaint_suspend: f64,
    complaint_certainty: f64,
    complaint_days: u32,
    drift_half_life: Duration,
    drift_limit: f64,
    ip_block_count: u32,
    ip_block_window: Duration,
    hold_count: u32,
    hold_window: Duration,
    group_hold: Duration,
    providers_for_binding: usize,
    dwell: Duration,
    suspend_first: Duration,
    suspend_max: Duration,
    forgive_after: Duration,
    probation_start: u32,
    probation_period: Duration,
    probation_periods: u32,
    pool_guard: f64,
});

words!(Automation { "act" => Automation::Act, "watch" => Automation::Watch });
