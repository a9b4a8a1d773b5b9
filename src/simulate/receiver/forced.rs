//! What a scenario does to a receiver, beside what it would do by itself: blocks, ranges, outages, names held down.
//!
//! A block or an outage answers instead of the model. A name that is held ([`Held`]) does not: it presses on reputation,
//! and the receiver draws its own conclusions from that.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Receiver, range_of};
use crate::clock::Wall;
use crate::simulate::scenario::Outage;

/// What presses on an address's reputation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Held {
    /// It is no higher than this, from 0 to 1; 1 for no limit.
    pub ceiling: f64,
    /// What it loses a day, of 1.
    pub fall_per_day: f64,
}

impl Held {
    /// Nothing does.
    pub const NOT: Self = Self { ceiling: 1.0, fall_per_day: 0.0 };
}

/// Everything that is forced on a receiver at present.
#[derive(Debug, Default)]
pub(super) struct Forced {
    blocked: HashSet<IpAddr>,
    ranges: HashSet<IpNet>,
    listed: HashSet<IpAddr>,
    held: HashMap<IpAddr, Held>,
    pub(super) outage: Option<Outage>,
}

impl Forced {
    pub(super) fn blocks(&self, address: IpAddr) -> bool {
        // Most of the time nothing is forced, and this is asked for every recipient.
        !self.blocked.is_empty() && self.blocked.contains(&address)
    }

    pub(super) fn blocks_range(&self, address: IpAddr) -> bool {
        !self.ranges.is_empty() && range_of(address).is_some_and(|range| self.ranges.contains(&range))
    }

    pub(super) fn lists(&self, address: IpAddr) -> bool {
        !self.listed.is_empty() && self.listed.contains(&address)
    }

    pub(super) fn held(&self, address: IpAddr) -> Held {
        if self.held.is_empty() { Held::NOT } else { self.held.get(&address).copied().unwrap_or(Held::NOT) }
    }
}

impl Receiver {
    /// Blocks an address whatever it does, or no longer.
    pub fn force_block(&mut self, address: IpAddr, blocked: bool) {
        set(&mut self.forced.blocked, address, blocked);
    }

    /// Blocks the whole network of an address (/24, /64), or no longer.
    pub fn force_range(&mut self, address: IpAddr, blocked: bool) {
        if let Some(range) = range_of(address) {
            set(&mut self.forced.ranges, range, blocked);
        }
    }

    /// A list that this receiver asks ([`crate::simulate::scenario::ReceiverModel::asks`]) lists an address, or no longer.
    pub fn set_listed(&mut self, address: IpAddr, listed: bool) {
        set(&mut self.forced.listed, address, listed);
    }

    /// Something presses on an address's reputation from now on ([`Held::NOT`]: no longer). What it pressed before stays
    /// pressed, and heals by the receiver's own rules.
    pub fn hold(&mut self, address: IpAddr, held: Held, now: Wall) {
        self.advance(now);
        let before = self.forced.held(address);
        if let Some(standing) = self.addresses.get_mut(&address) {
            standing.advance(&self.model, before, now);
        }
        if held == Held::NOT {
            self.forced.held.remove(&address);
        } else {
            self.forced.held.insert(address, held);
        }
    }

    /// What presses on an address's reputation now.
    pub fn held(&self, address: IpAddr) -> Held {
        self.forced.held(address)
    }

    /// Is gone, in this way; or works again.
    pub fn set_outage(&mut self, outage: Option<Outage>) {
        self.forced.outage = outage;
    }
}

fn set<T: Eq + Hash>(all: &mut HashSet<T>, one: T, on: bool) {
    if on {
        all.insert(one);
    } else {
        all.remove(&one);
    }
}
