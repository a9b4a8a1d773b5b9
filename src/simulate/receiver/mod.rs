//! How a modelled receiver judges an address, and what it says.
//!
//! ```text
//!   attempted ──▶ is it up? ──▶ connections ──▶ noise ──▶ the address: block, DNSBL, volume, doubt   (standing)
//!                                                          ──▶ the recipient: unknown, greylisted     (grey)
//!                                                          ──▶ the sender's domain, the content
//!                                                          ──▶ accepted; complained about in hours or days
//! ```
//!
//! What is meant becomes words in `voice`, and only the words reach the program: it has to read them as it reads real ones.
//! Who is an unknown user or a trap is decided by the number of the recipient, so that every try finds the same. The rest
//! of the chance comes from outside. Cost and memory per recipient are constant; what is kept per address and per sender is
//! forgotten after thirty idle days.

mod forced;
mod grey;
pub mod list;
mod standing;
pub mod voice;

pub use forced::Held;
pub use list::List;

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use rand::Rng;
use rand::rngs::SmallRng;

use super::scenario::{Outage, Quality, ReceiverModel};
use crate::clock::Wall;
use crate::outcome::Stage;
use forced::Forced;
use grey::Grey;
use standing::{Domain, FORGOTTEN_AFTER, Standing, day_of};
use voice::{Saying, say};

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

/// Complaints about mail that it accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complaints {
    /// The address the mail came from.
    pub address: IpAddr,
    /// Whose it was ([`Attempted::sender`]).
    pub sender: u32,
    /// When it was sent.
    pub sent: Wall,
    /// How many.
    pub count: u32,
}

/// How long we wait for a receiver that does not answer.
const SILENCE: Duration = Duration::from_secs(30);
/// Blocked addresses of a network that block all of it.
const RANGE_BLOCKS: usize = 3;
/// Complaints on their way; who writes more is not listened to any more.
const COMPLAINTS_WAITING: usize = 100_000;

/// A receiver and all it remembers of our addresses.
#[derive(Debug)]
pub struct Receiver {
    model: ReceiverModel,
    addresses: HashMap<IpAddr, Standing>,
    domains: HashMap<u32, Domain>,
    grey: Option<Grey>,
    /// Blocked networks.
    ranges: HashMap<IpNet, Wall>,
    forced: Forced,
    /// Complaints that will be made: when, about mail from where, whose, and when that was sent.
    coming: BinaryHeap<Reverse<(Wall, IpAddr, u32, Wall)>>,
    complained: BTreeMap<(IpAddr, u32, Wall), u32>,
    /// Last day on which the forgotten were cleared out; `None` before the first mail.
    swept: Option<i64>,
}

impl Receiver {
    /// A receiver that has never seen any address. `known` are addresses it has seen every day for long, with the
    /// recipients a day it is used to.
    pub fn new(model: ReceiverModel, known: &[(IpAddr, u64)]) -> Self {
        let standing = |volume: &u64| Standing::known(&model, *volume, Wall::default());
        Self {
            addresses: known.iter().map(|(address, volume)| (*address, standing(volume))).collect(),
            domains: HashMap::new(),
            grey: model.greylist.map(Grey::new),
            ranges: HashMap::new(),
            forced: Forced::default(),
            coming: BinaryHeap::new(),
            complained: BTreeMap::new(),
            swept: None,
            model,
        }
    }

    /// Judges one recipient.
    pub fn answer(&mut self, attempted: &Attempted, random: &mut SmallRng, now: Wall) -> Said {
        self.advance(now);
        let answers = match self.forced.outage {
            Some(Outage::Silent) => Some(false),
            Some(Outage::Busy) => Some(true),
            Some(Outage::Down) => Some(random.random_bool(0.3)),
            Some(Outage::UnknownUsers) | None => None,
        };
        if let Some(answers) = answers {
            return if answers { self.reply(Saying::Down, attempted, 0.0, random) } else { silence() };
        }
        if self.model.max_connections.is_some_and(|most| attempted.connections > most) {
            return self.reply(Saying::Connections, attempted, 0.0, random);
        }
        if self.model.noise > 0.0 && random.random_bool(self.model.noise.min(1.0)) {
            let silent = random.random_bool(0.5);
            return if silent { silence() } else { self.reply(Saying::Trouble, attempted, 1.0, random) };
        }
        if self.forced.outage == Some(Outage::UnknownUsers) {
            // Its fault: it is held against nobody here.
            return self.reply(Saying::UnknownUser, attempted, 0.0, random);
        }
        let (saying, pressure) = self.judge(attempted, random, now);
        let is_trap = saying == Saying::Accepted && is_trap(attempted);
        Said { is_trap, ..self.reply(saying, attempted, pressure, random) }
    }

    /// What it thinks of an address, from 0 (blocked for good) to 1.
    pub fn reputation(&self, address: IpAddr, now: Wall) -> f64 {
        let forgotten = |standing: &Standing| self.swept.is_some() && day_of(now) - standing.day() > FORGOTTEN_AFTER;
        match self.addresses.get(&address) {
            _ if self.forced.blocks(address) => 0.0,
            Some(standing) if !forgotten(standing) => standing.record.reputation,
            _ => self.model.newcomer,
        }
        .min(self.forced.held(address).ceiling)
    }

    /// When the block of an address ends, where it has one by its own doing.
    pub fn blocked_until(&self, address: IpAddr, now: Wall) -> Option<Wall> {
        let own = self.addresses.get(&address).and_then(|standing| standing.blocked_until(now));
        own.max(self.range_until(address, now))
    }

    /// Whether it refuses this recipient of mail of this quality whatever address brings it: there is nobody of that
    /// name, or the content is not wanted.
    pub fn refuses_anyway(&self, recipient: u64, quality: &Quality) -> bool {
        is_unknown(recipient, quality) || is_unwanted(&self.model, recipient, quality)
    }

    /// Whether it defers or blocks mail of this address for what it thinks of it, or of its network.
    pub fn doubts(&self, address: IpAddr, now: Wall) -> bool {
        self.blocked_until(address, now).is_some() || self.reputation(address, now) < self.model.defer_below
    }

    /// Recipients it takes from an address today before it defers.
    pub fn allowance(&self, address: IpAddr) -> u64 {
        self.addresses.get(&address).map_or(self.model.first_day, |standing| standing.allowance(&self.model) as u64)
    }

    /// Complaints that reached the receiver since the last call, where it tells of them
    /// ([`ReceiverModel::feedback_loop`]).
    pub fn complained(&mut self, now: Wall) -> Vec<Complaints> {
        self.advance(now);
        let complained = std::mem::take(&mut self.complained).into_iter();
        complained.map(|((address, sender, sent), count)| Complaints { address, sender, sent, count }).collect()
    }

    /// Complaints that are due; once a day, what is long idle is forgotten.
    fn advance(&mut self, now: Wall) {
        while let Some(Reverse((due, address, sender, sent))) = self.coming.peek().copied() {
            if due > now {
                break;
            }
            self.coming.pop();
            if let Some(standing) = self.addresses.get_mut(&address) {
                standing.complaint();
            }
            if let Some(domain) = self.domains.get_mut(&sender) {
                domain.complaint();
            }
            if self.model.feedback_loop {
                *self.complained.entry((address, sender, sent)).or_default() += 1;
            }
        }
        let today = day_of(now);
        if self.swept == Some(today) {
            return;
        }
        if self.swept.is_none() {
            // Those known from before were seen until this moment.
            self.addresses.values_mut().for_each(|standing| standing.first_seen(now));
        }
        self.swept = Some(today);
        self.addresses.retain(|_, standing| today - standing.day() <= FORGOTTEN_AFTER);
        self.domains.retain(|_, domain| today - domain.day() <= FORGOTTEN_AFTER);
        self.ranges.retain(|_, until| now < *until);
    }

    /// What it says to the recipient, and how hard it was to say.
    fn judge(&mut self, attempted: &Attempted, random: &mut SmallRng, now: Wall) -> (Saying, f64) {
        let address = attempted.address;
        let stranger = || Standing::stranger(&self.model, now);
        let standing = self.addresses.entry(address).or_insert_with(stranger);
        if standing.advance(&self.model, self.forced.held(address), now) {
            self.block_range(address, now);
        }
        if self.forced.blocks(address) {
            return (Saying::Blocked, 0.0);
        }
        if self.forced.blocks_range(address) || self.range_until(address, now).is_some() {
            return (Saying::RangeBlocked, 0.0);
        }
        if self.forced.lists(address) {
            return (Saying::Listed, 0.0);
        }
        let Some(standing) = self.addresses.get_mut(&address) else { return (Saying::Trouble, 0.0) };
        let pressure = standing.pressure(&self.model);
        if let Some(refusal) = standing.judge(&self.model, random, now) {
            return (refusal, pressure);
        }
        let domain = self.domains.entry(attempted.sender).or_insert_with(|| Domain::new(now));
        domain.advance(&self.model, now);
        let saying = recipient(&self.model, &mut self.grey, attempted, domain, random, now);
        match saying {
            Saying::UnknownUser => {
                standing.unknown();
                domain.unknown();
            }
            Saying::Content => domain.content(),
            Saying::Accepted => {
                standing.accepted();
                domain.accepted();
                let begins = is_trap(attempted) && standing.trap(&self.model, now);
                self.maybe_complain(attempted, random, now);
                if begins {
                    self.block_range(address, now);
                }
            }
            _ => {}
        }
        (saying, pressure)
    }

    fn maybe_complain(&mut self, attempted: &Attempted, random: &mut SmallRng, now: Wall) {
        let share = attempted.quality.complaints;
        if share <= 0.0 || !random.random_bool(share.min(1.0)) || self.coming.len() >= COMPLAINTS_WAITING {
            return;
        }
        // Most within hours, some after days: from one hour to three days, each doubling as likely as the next.
        let hours = 72f64.powf(random.random::<f64>());
        let due = now.plus(Duration::from_secs_f64(hours * 3600.0));
        self.coming.push(Reverse((due, attempted.address, attempted.sender, now)));
    }

    /// A block began: where it is one of many in its network, the network is blocked.
    fn block_range(&mut self, address: IpAddr, now: Wall) {
        let Some(range) = range_of(address).filter(|_| self.model.blocks_ranges) else { return };
        let ends = self.addresses.iter().filter(|(other, _)| range.contains(*other));
        let ends: Vec<Wall> = ends.filter_map(|(_, standing)| standing.blocked_until(now)).collect();
        if let (true, Some(until)) = (ends.len() >= RANGE_BLOCKS, ends.iter().max()) {
            self.ranges.insert(range, *until);
        }
    }

    fn range_until(&self, address: IpAddr, now: Wall) -> Option<Wall> {
        if self.ranges.is_empty() {
            return None;
        }
        self.ranges.get(&range_of(address)?).copied().filter(|until| now < *until)
    }

    fn reply(&self, saying: Saying, attempted: &Attempted, pressure: f64, random: &mut SmallRng) -> Said {
        let (reply, stage) = say(self.model.voice, saying, attempted.address, random);
        let crowd =
            self.model.max_connections.map_or(0.0, |most| f64::from(attempted.connections) / f64::from(most.max(1)));
        let slower = 1.0 + 4.0 * pressure.max(crowd - 0.5).clamp(0.0, 1.0);
        let took = self.model.latency.mul_f64((0.6 + 0.8 * random.random::<f64>()) * slower);
        Said { reply: Some(reply), stage, took, is_trap: false }
    }
}

/// What becomes of a recipient that the address may write to.
fn recipient(
    model: &ReceiverModel,
    grey: &mut Option<Grey>,
    attempted: &Attempted,
    domain: &Domain,
    random: &mut SmallRng,
    now: Wall,
) -> Saying {
    let quality = &attempted.quality;
    if is_unknown(attempted.recipient, quality) {
        return Saying::UnknownUser;
    }
    if grey.as_mut().is_some_and(|grey| grey.defers(attempted.address, attempted.recipient, now)) {
        return Saying::Greylisted;
    }
    if let Some(refusal) = (model.domain_weight > 0.0).then(|| domain.judge(random)).flatten() {
        return refusal;
    }
    if is_unwanted(model, attempted.recipient, quality) {
        return Saying::Content;
    }
    Saying::Accepted
}

fn is_unknown(recipient: u64, quality: &Quality) -> bool {
    chance(recipient, 1) < quality.invalid
}

/// Whether content filters refuse it. The message decides, not the try: the same one is refused again.
fn is_unwanted(model: &ReceiverModel, recipient: u64, quality: &Quality) -> bool {
    let room = (1.0 - model.content_limit).max(1e-9);
    let spam = (quality.spamminess - model.content_limit) / room;
    spam > 0.0 && chance(recipient, 2) < 0.8 * spam
}

fn is_trap(attempted: &Attempted) -> bool {
    let invalid = attempted.quality.invalid;
    (invalid..invalid + attempted.quality.traps).contains(&chance(attempted.recipient, 1))
}

fn silence() -> Said {
    Said { reply: None, stage: Stage::Connect, took: SILENCE, is_trap: false }
}

/// The network that a receiver takes for one owner's.
fn range_of(address: IpAddr) -> Option<IpNet> {
    let length = if address.is_ipv4() { 24 } else { 64 };
    IpNet::new(address, length).ok().map(|net| net.trunc())
}

/// A number that looks like chance and is always the same for the same one (splitmix64's last step).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A chance from 0 to 1 that belongs to a recipient; `purpose` tells one from the other.
fn chance(recipient: u64, purpose: u64) -> f64 {
    (mixed(recipient ^ mixed(purpose)) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests;
