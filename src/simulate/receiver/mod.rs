//! How a modelled receiver judges an address, and what it says.

pub mod list;

pub use list::List;

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use rand::rngs::SmallRng;

use super::scenario::{Quality, ReceiverModel};
use crate::clock::Wall;
use crate::outcome::Stage;

/// One recipient that was tried.
#[derive(Clone, Copy, Debug)]
pub struct Attempted {
    /// Address the connection came from.
    pub address: IpAddr,
    /// Connections from it at this moment, this one included.
    pub connections: u32,
    /// Who it is: the same recipient of the same sender has the same number (greylisting).
    pub recipient: u64,
    /// Whose domain it comes from: the same number for all mail of a tenant.
    pub sender: u32,
    /// How good the sender's mail is.
    pub quality: Quality,
}

/// What the receiver answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// Reply in one line; `None` where it answers nothing.
    pub reply: Option<Cow<'static, str>>,
    /// Where in the dialogue it said so.
    pub stage: Stage,
    /// How long it took.
    pub took: Duration,
    /// The recipient was a spam trap.
    pub is_trap: bool,
}

/// A receiver and all it remembers of our addresses.
#[derive(Debug)]
pub struct Receiver {
    model: ReceiverModel,
}

impl Receiver {
    /// A receiver that has never seen any address. `known` are addresses it has seen every day for long, with the
    /// recipients a day it is used to.
    pub fn new(model: ReceiverModel, known: &[(IpAddr, u64)]) -> Self {
        let _ = known;
        Self { model }
    }

    /// Judges one recipient.
    pub fn answer(&mut self, attempted: &Attempted, random: &mut SmallRng, now: Wall) -> Said {
        let _ = (attempted, random, now);
        Said { reply: Some("250 2.0.0 ok".into()), stage: Stage::EndOfData, took: self.model.latency, is_trap: false }
    }

    /// What it thinks of an address, from 0 (blocked for good) to 1.
    pub fn reputation(&self, address: IpAddr, now: Wall) -> f64 {
        let _ = (address, now);
        1.0
    }

    /// Blocks an address whatever it does, or no longer.
    pub fn force_block(&mut self, address: IpAddr, blocked: bool) {
        let _ = (address, blocked);
    }

    /// Answers nothing, or 421, to anybody; or works again.
    pub fn set_outage(&mut self, down: bool) {
        let _ = down;
    }

    /// A list that this receiver asks ([`ReceiverModel::asks`]) lists an address, or no longer.
    pub fn set_listed(&mut self, address: IpAddr, listed: bool) {
        let _ = (address, listed);
    }

    /// When the block of an address ends, where it has one by its own doing.
    pub fn blocked_until(&self, address: IpAddr, now: Wall) -> Option<Wall> {
        let _ = (address, now);
        None
    }

    /// Complaints that reached the receiver since the last call, where it tells of them
    /// ([`ReceiverModel::feedback_loop`]).
    pub fn complained(&mut self, now: Wall) -> Vec<Complaints> {
        let _ = now;
        Vec::new()
    }
}

/// Complaints about mail that it accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complaints {
    /// The address the mail came from.
    pub address: IpAddr,
    /// Whose it was ([`Attempted::sender`]).
    pub sender: u32,
    /// How many.
    pub count: u32,
}
