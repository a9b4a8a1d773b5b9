//! What a scenario says: how long, who sends what, how receivers behave, what happens when.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::message::{BindingName, ProviderName, StreamName, TenantName, ZoneName};

/// A whole scenario, as its file describes it.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// One line that says what it shows.
    pub title: String,
    /// Configuration it runs on, relative to the scenario's file.
    pub config: Option<PathBuf>,
    /// First day.
    pub start: jiff::civil::Date,
    /// How many days.
    pub days: u32,
    /// Where the numbers come from.
    pub seed: u64,
    /// `[[traffic]]`
    pub traffic: Vec<Traffic>,
    /// `[receiver.NAME]`, by the name of a provider; `other` is for everybody else.
    pub receivers: BTreeMap<String, ReceiverModel>,
    /// `[list.NAME]`, by the name of a monitor zone: how it lists our addresses.
    pub lists: BTreeMap<ZoneName, ListModel>,
    /// `[[event]]`
    pub events: Vec<Event>,
}

/// `[[traffic]]`: mail of one stream of a tenant.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// Whose.
    pub tenant: TenantName,
    /// Which stream. Default `default`.
    pub stream: StreamName,
    /// Recipients per day.
    pub per_day: u64,
    /// From this day of the scenario (0 is the first) to before that.
    pub days: std::ops::Range<u32>,
    /// Days of the week without mail (0 Monday … 6 Sunday).
    pub rest_days: Vec<u8>,
    /// Share of each hour, local time of the configuration's day.
    pub hours: [f64; 24],
    /// Recipients of one message, who share a domain.
    pub recipients_per_message: u32,
    /// Share per receiver; they add up to 1.
    pub to: BTreeMap<String, f64>,
    /// How good its lists and content are.
    pub quality: Quality,
}

/// How good a sender's list and content are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// Share of recipients that do not exist.
    pub invalid: f64,
    /// Share of accepted mail that is complained about.
    pub complaints: f64,
    /// Share of recipients that are spam traps.
    pub traps: f64,
    /// 0 welcome … 1 spam: how content filters see it.
    pub spamminess: f64,
}

/// `[receiver.NAME]`: how a receiver judges an IP.
#[derive(Clone, Debug)]
pub struct ReceiverModel {
    /// Recipients a day it takes from an address it has never seen.
    pub first_day: u64,
    /// How many times yesterday's volume it takes today without suspicion.
    pub growth: f64,
    /// Complaint share above which reputation falls.
    pub complaint_limit: f64,
    /// Share of unknown users above which reputation falls.
    pub invalid_limit: f64,
    /// Reputation (0–1) below which it defers some mail.
    pub defer_below: f64,
    /// Reputation below which it blocks.
    pub block_below: f64,
    /// How long a block lasts.
    pub block_for: Duration,
    /// Share of first tries that are greylisted, and for how long.
    pub greylist: Option<(f64, Duration)>,
    /// Connections from one address at the same time.
    pub max_connections: Option<u32>,
    /// Share of attempts that fail for no reason at all (time-outs, 4xx).
    pub noise: f64,
    /// Typical time for a transaction.
    pub latency: Duration,
    /// Replies it uses: `gmail`, `microsoft`, `yahoo` or `plain`.
    pub voice: String,
}

/// `[list.NAME]`: how a DNSBL lists our addresses.
#[derive(Clone, Debug, PartialEq)]
pub struct ListModel {
    /// Trap hits within a day that make it list.
    pub trap_hits: u32,
    /// From the hits to the listing.
    pub delay: Duration,
    /// From the last hit to the delisting.
    pub delist_after: Duration,
}

/// `[[event]]`
#[derive(Clone, Debug)]
pub struct Event {
    /// From the start of the scenario.
    pub at: Duration,
    /// How long it lasts; `None` for good.
    pub lasts: Option<Duration>,
    /// What happens.
    pub what: Happening,
}

/// What may happen in a scenario.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// The receiver blocks these bindings whatever they do.
    Block {
        /// Which receiver.
        receiver: ProviderName,
        /// Which bindings.
        bindings: Vec<BindingName>,
    },
    /// The receiver answers nothing.
    Outage {
        /// Which receiver.
        receiver: ProviderName,
    },
    /// A list names these bindings.
    Listing {
        /// Which list.
        zone: ZoneName,
        /// Which bindings.
        bindings: Vec<BindingName>,
    },
    /// The operator takes a binding out.
    Suspend {
        /// Which.
        binding: BindingName,
    },
    /// A tenant's mail turns bad.
    Quality {
        /// Whose.
        tenant: TenantName,
        /// How bad.
        quality: Quality,
    },
    /// A tenant sends so many times its usual volume.
    Volume {
        /// Whose.
        tenant: TenantName,
        /// How many times.
        factor: f64,
    },
    /// The program is killed and started again.
    Crash,
}
