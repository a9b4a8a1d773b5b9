//! What a receiver thinks of an address, and of a sender's domain.
//!
//! Both are a [`Record`]: a reputation from 0 to 1 and counts that halve every twelve hours. Once an hour of mail the
//! shares of complaints and unknown users are compared with the receiver's limits, and what is above them costs
//! reputation; a day without any loss gains some back. An address ([`Standing`]) has besides a volume the receiver is used
//! to, an average over the days with mail: what goes beyond a few times that is deferred, and pushing on against the
//! deferrals costs reputation as well. Reputation below one limit defers a growing share, below another it blocks for hours.
//!
//! Everything is a handful of numbers per address, brought up to date when mail comes; nothing runs in between.

use rand::Rng;
use rand::rngs::SmallRng;

use super::forced::Held;
use super::voice::Saying;
use crate::clock::Wall;
use crate::simulate::scenario::ReceiverModel;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
/// Idle days after which an address is a stranger again.
pub(super) const FORGOTTEN_AFTER: i64 = 30;
/// What an address has that was known for long.
const KNOWN: f64 = 0.95;

/// What reputation an hour costs at most for too many complaints, unknown users and for pushing on.
const COMPLAINTS_COST: f64 = 0.06;
const UNKNOWN_COST: f64 = 0.04;
const PUSHING_COST: f64 = 0.03;
const CONTENT_COST: f64 = 0.02;
/// What a day without accepted mail gives back, of what a good day does.
const SILENCE_HEALS: f64 = 0.5;
/// No name is worse than this, so that every one can be mended.
const WORST: f64 = 0.05;
/// Below these counts a share says nothing.
const FEW_COMPLAINTS: f64 = 3.0;
const FEW_REFUSALS: f64 = 20.0;

/// Day of a receiver: UTC, counted from the epoch.
pub(super) fn day_of(now: Wall) -> i64 {
    now.as_millis().div_euclid(DAY)
}

fn hour_of(now: Wall) -> i64 {
    now.as_millis().div_euclid(HOUR)
}

/// From 0 at the limit to 1 at five times the limit.
fn excess(part: f64, whole: f64, limit: f64) -> f64 {
    if whole <= 0.0 || part <= whole * limit {
        return 0.0;
    }
    ((part / whole / limit.max(1e-9) - 1.0) / 4.0).min(1.0)
}

/// Reputation, and the counts it follows from.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) reputation: f64,
    /// Something was lost today: no gain at its end.
    trouble: bool,
    hour: i64,
    day: i64,
    /// Mail came today.
    busy: bool,
    accepted: f64,
    complaints: f64,
    unknown: f64,
    content: f64,
}

impl Record {
    fn new(reputation: f64, now: Wall) -> Self {
        Self {
            reputation,
            trouble: false,
            hour: hour_of(now),
            day: day_of(now),
            busy: false,
            accepted: 0.0,
            complaints: 0.0,
            unknown: 0.0,
            content: 0.0,
        }
    }

    /// The loss of the hour that has passed, and the gain of the days; the counts fade.
    fn advance(&mut self, model: &ReceiverModel, share: f64, other: f64, now: Wall) {
        let hours = hour_of(now) - self.hour;
        if hours <= 0 {
            return;
        }
        self.hour += hours;
        let loss = share * self.loss(model) + other;
        let days = day_of(now) - self.day;
        if loss > 0.0 {
            self.lose(loss);
        }
        if days > 0 {
            // Silence heals too, but slowly: there is nothing to judge by.
            let last = match (self.trouble, self.busy) {
                (true, _) => 0.0,
                (false, true) => 1.0,
                (false, false) => SILENCE_HEALS,
            };
            let healed = last + SILENCE_HEALS * (days - 1) as f64;
            self.reputation = (self.reputation + model.recovery * healed).min(1.0);
            (self.day, self.trouble, self.busy) = (self.day + days, false, false);
        }
        let fade = 0.5f64.powf(hours as f64 / 12.0);
        for count in [&mut self.accepted, &mut self.complaints, &mut self.unknown, &mut self.content] {
            *count *= fade;
        }
    }

    fn loss(&self, model: &ReceiverModel) -> f64 {
        let seen = self.accepted + self.unknown + self.content;
        let mut loss = 0.0;
        if self.complaints >= FEW_COMPLAINTS {
            loss += COMPLAINTS_COST * excess(self.complaints, self.accepted, model.complaint_limit);
        }
        if self.unknown >= FEW_REFUSALS {
            loss += UNKNOWN_COST * excess(self.unknown, seen, model.invalid_limit);
        }
        if self.content >= FEW_REFUSALS {
            loss += CONTENT_COST * excess(self.content, seen, 0.1);
        }
        loss
    }

    /// Presses it down to `ceiling`; true where it was above.
    fn press(&mut self, ceiling: f64) -> bool {
        let was_above = self.reputation > ceiling;
        if was_above {
            (self.reputation, self.trouble) = (ceiling, true);
        }
        was_above
    }

    fn lose(&mut self, loss: f64) {
        self.reputation = (self.reputation - loss).max(WORST.min(self.reputation));
        self.trouble = true;
    }
}

/// A sender's domain.
#[derive(Clone, Debug)]
pub(super) struct Domain {
    record: Record,
}

impl Domain {
    pub(super) fn new(now: Wall) -> Self {
        Self { record: Record::new(0.9, now) }
    }

    /// Brings it up to date.
    pub(super) fn advance(&mut self, model: &ReceiverModel, now: Wall) {
        self.record.advance(model, model.domain_weight, 0.0, now);
    }

    /// What it says of mail of this domain, if anything.
    pub(super) fn judge(&self, random: &mut SmallRng) -> Option<Saying> {
        let reputation = self.record.reputation;
        if reputation >= 0.5 {
            return None;
        }
        if reputation < 0.2 {
            return Some(Saying::DomainBlocked);
        }
        random.random_bool(doubt(reputation, 0.5, 0.2)).then_some(Saying::DomainDoubtful)
    }

    pub(super) fn accepted(&mut self) {
        self.record.accepted += 1.0;
        self.record.busy = true;
    }

    pub(super) fn unknown(&mut self) {
        self.record.unknown += 0.5;
    }

    pub(super) fn content(&mut self) {
        self.record.content += 1.0;
    }

    pub(super) fn complaint(&mut self) {
        self.record.complaints += 1.0;
    }

    pub(super) fn day(&self) -> i64 {
        self.record.day
    }
}

/// Share that is deferred: 0 at `defer_below`, nine tenths just above `block_below`.
fn doubt(reputation: f64, defer_below: f64, block_below: f64) -> f64 {
    let span = defer_below - block_below;
    if span <= 0.0 { 0.0 } else { (0.9 * (defer_below - reputation) / span).clamp(0.0, 0.9) }
}

/// An address.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) record: Record,
    /// Recipients a day it is used to; `None` where it has had no full day of mail.
    usual: Option<f64>,
    /// Recipients taken today.
    today: f64,
    /// Deferred for volume since the last look.
    pushed: f64,
    block: Option<Block>,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    from: Wall,
    until: Wall,
}

impl Standing {
    /// An address nobody has seen.
    pub(super) fn stranger(model: &ReceiverModel, now: Wall) -> Self {
        let record = Record::new(model.newcomer, now);
        Self { record, usual: None, today: 0.0, pushed: 0.0, block: None }
    }

    /// An address that has sent `volume` recipients every day for long.
    pub(super) fn known(model: &ReceiverModel, volume: u64, now: Wall) -> Self {
        let stranger = Self::stranger(model, now);
        let record = Record { reputation: KNOWN.max(model.newcomer), ..stranger.record };
        Self { record, usual: Some(volume as f64), ..stranger }
    }

    /// Starts its clocks anew: mail is seen for the first time.
    pub(super) fn first_seen(&mut self, now: Wall) {
        (self.record.hour, self.record.day) = (hour_of(now), day_of(now));
    }

    /// Brings it up to date, with what pressed on it all the while; true where that began a block.
    pub(super) fn advance(&mut self, model: &ReceiverModel, held: Held, now: Wall) -> bool {
        let days = day_of(now) - self.record.day;
        if let Some(block) = self.block.as_mut().filter(|block| block.until <= now) {
            // While its cause lasts, so does a block.
            if held.ceiling < model.block_below && !model.block_for.is_zero() {
                block.until = now.plus(model.block_for);
            } else {
                self.forgive(model);
            }
        }
        let hours = hour_of(now) - self.record.hour;
        if hours <= 0 {
            return self.record.press(held.ceiling) && self.consider_block(model, now);
        }
        let pushing = PUSHING_COST * (2.0 * self.pushed / self.allowance(model)).min(1.0);
        let falling = held.fall_per_day / 24.0 * hours as f64;
        self.pushed = 0.0;
        // Half of what is the domain's fault is forgiven the address, where domains are judged.
        self.record.advance(model, 1.0 - model.domain_weight / 2.0, pushing + falling, now);
        self.record.press(held.ceiling);
        if days > 0 {
            self.new_day(days);
        }
        self.consider_block(model, now)
    }

    fn new_day(&mut self, days: i64) {
        if self.today > 0.0 {
            let today = self.today;
            let usual = self.usual.unwrap_or(today);
            // More is learned in a day or two; what an address once sent is remembered for longer.
            let weight = if today > usual { 0.7 } else { 0.15 };
            self.usual = Some(usual + weight * (today - usual));
            self.today = 0.0;
        }
        if days > FORGOTTEN_AFTER {
            self.usual = None;
        }
    }

    fn consider_block(&mut self, model: &ReceiverModel, now: Wall) -> bool {
        let begins = self.block.is_none() && self.record.reputation < model.block_below;
        if begins {
            self.block = Some(Block { from: now, until: now.plus(model.block_for) });
        }
        begins
    }

    /// After a block comes another chance: little above it, and less volume.
    fn forgive(&mut self, model: &ReceiverModel) {
        let chance = model.block_below + 0.3 * (model.defer_below - model.block_below);
        self.block = None;
        self.record.reputation = self.record.reputation.max(chance);
        (self.record.accepted, self.record.complaints, self.record.unknown) = (0.0, 0.0, 0.0);
        self.usual = self.usual.map(|usual| usual / 2.0);
    }

    /// Recipients it takes today.
    pub(super) fn allowance(&self, model: &ReceiverModel) -> f64 {
        let grown = self.usual.unwrap_or(0.0) * model.growth;
        let trust =
            if model.defer_below > 0.0 { (self.record.reputation / model.defer_below).clamp(0.25, 1.0) } else { 1.0 };
        grown.max(model.first_day as f64).max(1.0) * trust
    }

    /// When its block ends, where it has one.
    pub(super) fn blocked_until(&self, now: Wall) -> Option<Wall> {
        self.block.map(|block| block.until).filter(|until| now < *until)
    }

    /// What it says of mail from this address, whatever mail it is; `None` lets it in.
    pub(super) fn judge(&mut self, model: &ReceiverModel, random: &mut SmallRng, now: Wall) -> Option<Saying> {
        if let Some(block) = self.block {
            let soft = now.since(block.from) * 4 < block.until.since(block.from);
            return Some(if soft { Saying::BlockedNow } else { Saying::Blocked });
        }
        let allowance = self.allowance(model);
        if self.today >= allowance {
            // Up to a quarter more seeps through.
            let over = (self.today / allowance - 1.0) * 4.0;
            if random.random_bool((0.5 + over / 2.0).clamp(0.0, 1.0)) {
                self.pushed += 1.0;
                return Some(Saying::Volume);
            }
        }
        let doubt = doubt(self.record.reputation, model.defer_below, model.block_below);
        (doubt > 0.0 && random.random_bool(doubt)).then_some(Saying::Doubtful)
    }

    /// How busy and wary it is, from 0 to 1: the slower it answers.
    pub(super) fn pressure(&self, model: &ReceiverModel) -> f64 {
        let volume = (self.today / self.allowance(model) - 0.5).clamp(0.0, 1.0);
        let wary =
            if model.defer_below > 0.0 { (1.0 - self.record.reputation / model.defer_below).max(0.0) } else { 0.0 };
        volume.max(wary)
    }

    pub(super) fn accepted(&mut self) {
        self.today += 1.0;
        self.record.accepted += 1.0;
        self.record.busy = true;
    }

    pub(super) fn unknown(&mut self) {
        self.record.unknown += 1.0;
    }

    pub(super) fn complaint(&mut self) {
        self.record.complaints += 1.0;
    }

    /// A trap was hit; true where that began a block.
    pub(super) fn trap(&mut self, model: &ReceiverModel, now: Wall) -> bool {
        self.record.lose(model.trap_cost);
        self.consider_block(model, now)
    }

    pub(super) fn day(&self) -> i64 {
        self.record.day
    }
}
