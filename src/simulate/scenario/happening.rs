//! What may happen in a scenario, and when.

use std::time::Duration;

use super::Quality;
use crate::message::{BindingName, ProviderName, TenantName, ZoneName};

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
    /// The receiver blocks the whole networks (/24, /64) of these bindings.
    Range {
        /// Which receiver.
        receiver: ProviderName,
        /// Whose networks.
        bindings: Vec<BindingName>,
    },
    /// A binding's reputation falls at once and is held down: a neighbour, a previous owner, a stolen password. The
    /// receivers then defer or block it by their own rules.
    Sour {
        /// Which binding.
        binding: BindingName,
        /// At which receivers; empty for all.
        receivers: Vec<ProviderName>,
        /// No higher than this, from 0 to 1.
        reputation: f64,
    },
    /// A binding's reputation falls steadily at one receiver, whatever it does.
    Decline {
        /// Which binding.
        binding: BindingName,
        /// At which receiver.
        receiver: ProviderName,
        /// By how much a day, of 1.
        per_day: f64,
    },
    /// The receiver is gone.
    Outage {
        /// Which receiver.
        receiver: ProviderName,
        /// What is seen of it.
        how: Outage,
    },
    /// A list names these bindings.
    Listing {
        /// Which list.
        zone: ZoneName,
        /// Which bindings.
        bindings: Vec<BindingName>,
    },
    /// A list dies: it answers everybody the same, the probes too.
    Dies {
        /// Which list.
        zone: ZoneName,
        /// What it answers from then on.
        how: Death,
        /// Receivers that ask it take any answer for a listing, and refuse everybody.
        receivers_believe: bool,
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

impl Happening {
    /// The receivers it names.
    pub fn receivers(&self) -> &[ProviderName] {
        match self {
            Self::Block { receiver, .. }
            | Self::Range { receiver, .. }
            | Self::Decline { receiver, .. }
            | Self::Outage { receiver, .. } => std::slice::from_ref(receiver),
            Self::Sour { receivers, .. } => receivers,
            _ => &[],
        }
    }
}

/// What is seen of a receiver that is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Outage {
    /// Mostly nothing, sometimes 421.
    #[default]
    Down,
    /// Nothing.
    Silent,
    /// 421 at every connection.
    Busy,
    /// Its directory is down: it tells everybody that there is no such user.
    UnknownUsers,
}

/// What a list answers to every question once it is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Death {
    /// 127.0.0.2: everybody is listed.
    Loud,
    /// A public address: its domain has a new owner.
    Parked,
    /// No such name: nobody is listed, its test entry neither.
    Silent,
    /// 127.255.255.254: it refuses us.
    Refusing,
    /// Nothing.
    Unreachable,
}

impl Death {
    /// Whether there is any address in its answers.
    pub fn answers(self) -> bool {
        matches!(self, Self::Loud | Self::Parked | Self::Refusing)
    }
}
