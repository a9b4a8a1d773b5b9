//! Receivers and qualities that have a name: figures to begin with.
//!
//! None of the big receivers publishes its rules; the figures are chosen so that what operators report comes out: a new
//! address may double about every day, 0.1 % of complaints is well and 0.3 % is not, blocks last hours, not minutes.

use std::time::Duration;

use super::{Known, ListModel, Quality, ReceiverModel, Voice};

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

const fn hours(count: u64) -> Duration {
    minutes(count * 60)
}

impl Quality {
    /// A list that is looked after: hardly a dead address, hardly a complaint.
    pub const GOOD: Self = Self { invalid: 0.003, complaints: 0.0003, traps: 0.0, spamminess: 0.05 };
    /// As most mail is.
    pub const AVERAGE: Self = Self { invalid: 0.015, complaints: 0.0008, traps: 0.000_002, spamminess: 0.2 };
    /// A bought or forgotten list.
    pub const BAD: Self = Self { invalid: 0.12, complaints: 0.008, traps: 0.000_5, spamminess: 0.7 };
}

impl ReceiverModel {
    /// Names of the presets.
    pub const PRESETS: [&str; 5] = ["gmail", "microsoft", "yahoo", "plain", "lenient"];

    /// The preset of this name.
    pub fn preset(name: &str) -> Option<Self> {
        match name {
            "gmail" => Some(Self::gmail()),
            "microsoft" => Some(Self::microsoft()),
            "yahoo" => Some(Self::yahoo()),
            "plain" => Some(Self::plain()),
            "lenient" => Some(Self::lenient()),
            _ => None,
        }
    }

    /// Strict on volume, complaints and the sender's domain; tells nobody of complaints.
    pub fn gmail() -> Self {
        Self {
            first_day: 500,
            growth: 3.0,
            complaint_limit: 0.001,
            invalid_limit: 0.05,
            defer_below: 0.5,
            block_below: 0.2,
            block_for: hours(12),
            greylist: None,
            max_connections: Some(20),
            noise: 0.001,
            latency: Duration::from_millis(900),
            voice: Voice::Gmail,
            newcomer: 0.7,
            recovery: 0.06,
            trap_cost: 0.01,
            domain_weight: 1.0,
            content_limit: 0.4,
            blocks_ranges: false,
            asks: Vec::new(),
            feedback_loop: false,
            knows: Known::default(),
        }
    }

    /// Blocks soon, for long, and whole networks.
    pub fn microsoft() -> Self {
        Self {
            first_day: 300,
            complaint_limit: 0.003,
            defer_below: 0.55,
            block_below: 0.3,
            block_for: hours(24),
            max_connections: Some(15),
            noise: 0.002,
            latency: Duration::from_millis(1200),
            voice: Voice::Microsoft,
            trap_cost: 0.03,
            domain_weight: 0.3,
            content_limit: 0.5,
            blocks_ranges: true,
            feedback_loop: true,
            ..Self::gmail()
        }
    }

    /// Defers for complaints, long before it blocks.
    pub fn yahoo() -> Self {
        Self {
            growth: 3.5,
            complaint_limit: 0.001,
            invalid_limit: 0.04,
            defer_below: 0.65,
            block_below: 0.1,
            block_for: hours(24),
            latency: Duration::from_millis(800),
            voice: Voice::Yahoo,
            domain_weight: 0.5,
            feedback_loop: true,
            ..Self::gmail()
        }
    }

    /// The servers of companies: greylisting for some, hardly any view of volume.
    pub fn plain() -> Self {
        Self {
            first_day: 5_000,
            growth: 10.0,
            complaint_limit: 0.01,
            invalid_limit: 0.15,
            defer_below: 0.4,
            block_below: 0.15,
            block_for: hours(6),
            greylist: Some((0.2, minutes(5))),
            max_connections: Some(10),
            noise: 0.005,
            latency: Duration::from_millis(600),
            voice: Voice::Plain,
            newcomer: 0.8,
            recovery: 0.1,
            domain_weight: 0.0,
            content_limit: 0.5,
            ..Self::gmail()
        }
    }

    /// Takes nearly everything.
    pub fn lenient() -> Self {
        Self {
            first_day: 1_000_000,
            growth: 100.0,
            complaint_limit: 0.05,
            invalid_limit: 0.5,
            greylist: None,
            max_connections: None,
            noise: 0.0005,
            latency: Duration::from_millis(300),
            newcomer: 1.0,
            trap_cost: 0.0,
            content_limit: 0.9,
            ..Self::plain()
        }
    }
}

impl ListModel {
    /// Lists an hour after the third trap of a day, for three days.
    pub const TYPICAL: Self =
        Self { trap_hits: 3, delay: hours(1), delist_after: hours(72), code: std::net::Ipv4Addr::new(127, 0, 0, 2) };
}
