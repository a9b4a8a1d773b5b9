//! What a scenario says: how long, who sends what, how receivers behave, what happens when.
//!
//! A scenario is a file of TOML beside a normal configuration, read with the configuration's own machinery: every mistake
//! at once, by line and key, with what was probably meant. It names tenants, bindings, providers and monitor zones of that
//! configuration; [`Scenario::check_against`] tells which of them do not exist there. The modules: `raw` lists the keys of
//! the file, `forms` its odd values, `read`, `events` and `truth` turn them into the types here and in `happening`, `presets`
//! are the receivers and qualities that have a name, `against` compares with a configuration. `docs/simulation.md` tells
//! what the models are and why.

mod against;
mod events;
mod forms;
mod happening;
mod presets;
mod raw;
mod read;
#[cfg(test)]
mod tests;
mod truth;

pub use happening::{Death, Event, Happening, Outage};
pub use truth::Truth;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::config::{Binding, Config, Mistakes};
use crate::message::{BindingName, StreamName, TenantName, ZoneName};

/// The receiver that is everybody the configuration has no provider for.
pub const OTHER: &str = "other";

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
    /// All that happens comes up to so much later, by a draw of the seed ([`Scenario::settle`]); zero for never.
    pub shift: Duration,
    /// `[[traffic]]`
    pub traffic: Vec<Traffic>,
    /// `[receiver.NAME]`, by the name of a provider; `other` is for everybody else.
    pub receivers: BTreeMap<String, ReceiverModel>,
    /// `[list.NAME]`, by the name of a monitor zone: how it lists our addresses.
    pub lists: BTreeMap<ZoneName, ListModel>,
    /// `[[event]]`
    pub events: Vec<Event>,
    /// `[truth]`: what only the scenario knows.
    pub truth: Option<Truth>,
    /// Where each key stands in the file, for what is said of it later.
    pub written: Written,
}

/// The text a scenario was read from and where each of its keys stands; empty for one that was made by hand.
#[derive(Clone, Debug, Default)]
pub struct Written {
    path: PathBuf,
    text: String,
    /// Offset by key path.
    keys: BTreeMap<String, usize>,
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
    /// Replies it uses.
    pub voice: Voice,
    /// Reputation of an address it has never seen.
    pub newcomer: f64,
    /// What reputation gains by a day with mail and without trouble.
    pub recovery: f64,
    /// What reputation loses by one spam trap.
    pub trap_cost: f64,
    /// How much it judges by the sender's domain, from 0 (by the IP alone) to 1 (by both alike).
    pub domain_weight: f64,
    /// Spamminess above which content filters refuse a growing share.
    pub content_limit: f64,
    /// Whether three blocked addresses of a network (/24, /64) block all of it.
    pub blocks_ranges: bool,
    /// Refuses addresses on these lists (monitor zones of the configuration).
    pub asks: Vec<ZoneName>,
    /// Tells us of complaints.
    pub feedback_loop: bool,
    /// Which bindings it has seen for long.
    pub knows: Known,
}

/// Whose words a receiver uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Voice {
    /// 4.7.28 and its kin.
    Gmail,
    /// S3140, 4.7.650.
    Microsoft,
    /// TSS04, TS03.
    Yahoo,
    /// As Postfix and others write.
    Plain,
}

/// Bindings a receiver has seen every day for long, with the recipients a day it is used to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Every binding that is not in warm-up and not named below.
    pub warm: Option<u64>,
    /// By name; 0 for one it has never seen.
    pub bindings: BTreeMap<BindingName, u64>,
}

impl Known {
    /// The volume it is used to from `binding`; `None` where it has never seen it.
    pub fn volume(&self, binding: &Binding) -> Option<u64> {
        let warm = || self.warm.filter(|_| binding.warmup.is_none());
        self.bindings.get(&binding.name).copied().or_else(warm).filter(|volume| *volume > 0)
    }

    /// The same for all bindings, by the address the world sees, as [`super::receiver::Receiver::new`] takes it.
    pub fn addresses(&self, config: &Config) -> Vec<(IpAddr, u64)> {
        let bindings = config.bindings.iter();
        bindings.filter_map(|binding| Some((binding.public_address, self.volume(binding)?))).collect()
    }
}

/// `[list.NAME]`: how a DNSBL lists our addresses.
#[derive(Clone, Debug, PartialEq)]
pub struct ListModel {
    /// Trap hits within a day that make it list.
    pub trap_hits: u32,
    /// From the hits to the listing.
    pub delay: Duration,
    /// From the last hit (or the listing, if that came later) to the delisting.
    pub delist_after: Duration,
    /// What it answers for a listed address.
    pub code: Ipv4Addr,
}

impl Scenario {
    /// Reads a scenario from the text of its file; messages call it `scenario.toml`.
    ///
    /// # Errors
    /// All mistakes there are, by line and key.
    pub fn from_toml(text: &str) -> Result<Self, Mistakes> {
        Self::read(Path::new("scenario.toml"), text)
    }

    /// The same under the name its file has.
    ///
    /// # Errors
    /// All mistakes there are, by line and key.
    pub fn read(path: &Path, text: &str) -> Result<Self, Mistakes> {
        read::read(path, text)
    }

    /// Draws the shift: events and truth move by the same span, which the seed decides, so that another seed is another
    /// minute and not only other recipients. Doing it twice does nothing more.
    pub fn settle(&mut self) {
        let most = std::mem::take(&mut self.shift).as_millis() as u64;
        if most == 0 {
            return;
        }
        let mut random = SmallRng::seed_from_u64(self.seed ^ 0x73_68_69_66_74);
        let by = Duration::from_millis(random.random_range(0..most));
        self.events.iter_mut().for_each(|event| event.at = event.at.saturating_add(by));
        if let Some(truth) = &mut self.truth {
            truth.from = truth.from.saturating_add(by);
            truth.until = truth.until.map(|until| until.saturating_add(by));
        }
    }

    /// Whether the tenants, streams, providers, zones and bindings it names exist in `config`.
    ///
    /// # Errors
    /// All names that do not, by line and key, with the nearest that do.
    pub fn check_against(&self, config: &Config) -> Result<(), Mistakes> {
        against::check(self, config)
    }
}
