//! One ladder's state and how a day moves it. Nothing here knows of bindings or ledgers.
//!
//! A day is judged once, at the first moment of a later one ([`Progress::turn`]), by what attempts taught during it:
//!
//! | the day | the stage |
//! |---|---|
//! | no mail | stays; nothing is said |
//! | suspended for its address's sake, or too large a share of blame for it | one down |
//! | enough used and enough delivered | one up |
//! | else | stays (held) |
//! | longer than `cool_after` without mail to speak of | down by half the volume, again each further week |
//!
//! What is counted: recipients *accepted*, *blamed* (refused or deferred for our address's sake) and *deferred* (put off
//! for the receiver's reasons or our pace). Bounces, greylisting and content say nothing of how much an address may send:
//! unknown users are the list's fault and what [`crate::reputation`] watches, and greylisting would hold back every new
//! address for being new. Nor do time-outs.
//!
//! A small sample may hold a stage or let it rise by one, since the stages themselves are small then; it pulls none down:
//! that takes [`BLAMED_LEAST`] blamed answers and a lower confidence limit above `step_back_blamed`.
//!
//! Whatever is unknown errs to the slow side: a tally that a crash has cut short has used less of the stage.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::ladder::Ladder;
use crate::config::{WarmupRules, WarmupStart};
use crate::reputation::tally::{Count, lower_bound};
use crate::scheduler::Experience;

/// Blamed answers of a day below which no share is looked at.
const BLAMED_LEAST: u64 = 3;

/// Accepted recipients of a day that keep any standing alive (SES names this figure; smaller stages need a tenth).
const KEEPS_WARM: u64 = 1_000;

/// Days ahead of today from which the day of a tally is taken for the work of a wrong clock. As in the ledger.
const FAR: i32 = 2;

/// What one day has taught, in recipients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Accepted.
    pub accepted: u64,
    /// Refused or deferred for our address's sake.
    pub blamed: u64,
    /// Put off for the receiver's own reasons or for our pace.
    pub deferred: u64,
    /// A suspension for our address's sake began.
    #[serde(default)]
    pub is_struck: bool,
    /// A suspension began that says the day was no good, though not whose fault it was.
    #[serde(default)]
    pub is_barred: bool,
}

impl Tally {
    /// Recipients whose answer says something of the pace.
    pub fn tried(&self) -> u64 {
        self.accepted + self.blamed + self.deferred
    }

    fn is_bad(&self, rules: &WarmupRules) -> bool {
        let blamed = Count { attempts: self.tried(), events: self.blamed };
        self.is_struck || self.blamed >= BLAMED_LEAST && lower_bound(blamed) > rules.step_back_blamed
    }

    fn is_enough(&self, allowance: u64, rules: &WarmupRules) -> bool {
        self.accepted > 0
            && self.accepted as f64 >= rules.advance_used * allowance as f64
            && self.accepted as f64 >= rules.advance_delivered * self.tried() as f64
            && !self.is_barred
    }
}

/// Why a stage moved, or did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It begins at the stage or age of the configuration.
    Imported,
    /// The day was good.
    Advanced,
    /// A sending day used too little or delivered too little. Said once, until the stage moves or the address rests.
    Held,
    /// Receivers blamed the address.
    SteppedBack,
    /// It had no mail to speak of for weeks.
    Cooled,
    /// The day was good, and no stage is left below the daily cap.
    Finished,
    /// The operator put it there.
    Set,
}

impl Why {
    /// Stable text, as in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Imported => "imported",
            Self::Advanced => "advanced",
            Self::Held => "held",
            Self::SteppedBack => "stepped_back",
            Self::Cooled => "cooled",
            Self::Finished => "finished",
            Self::Set => "set",
        }
    }
}

/// A move of one ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Stage before, from 0.
    pub from: usize,
    /// Stage after.
    pub to: usize,
    /// Why.
    pub why: Why,
    /// What the day that was judged had taught; empty where no day was.
    pub tally: Tally,
}

/// What a suspension says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The address is to blame.
    Address,
    /// It was no good day; whose fault it was is another question.
    Unclear,
    /// Nothing: the operator's word, our own set-up.
    Nobody,
}

/// Where one ladder stands, and what its day has taught so far. All of it is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The position of the configuration it began from: another one begins anew.
    pub origin: WarmupStart,
    /// Stage from 0; above the last one it is warm.
    pub stage: usize,
    /// What that stage allows on the ladder it was reached on; `None` above the last one.
    pub allowance: Option<u64>,
    /// The day of `tally`.
    pub day: Date,
    /// What it has taught.
    #[serde(flatten)]
    pub tally: Tally,
    /// The last day with mail to speak of, or the one on which it began.
    pub last_mail: Date,
    /// Falls for want of mail since then.
    #[serde(default)]
    pub cooled: u32,
    /// Suspended at this moment: the same suspension told twice counts once.
    #[serde(default)]
    pub is_suspended: bool,
    /// Its last sending day was held.
    #[serde(default)]
    pub is_held: bool,
}

impl Progress {
    /// An address that begins at `origin` today.
    pub fn begin(origin: WarmupStart, ladder: &Ladder, today: Date) -> Self {
        let stage = ladder.start(origin);
        let first = match origin {
            WarmupStart::Started(first) => first.max(today),
            _ => today,
        };
        Self {
            origin,
            stage,
            allowance: ladder.allowance(stage),
            day: today,
            tally: Tally::default(),
            last_mail: first,
            cooled: 0,
            is_suspended: false,
            is_held: false,
        }
    }

    /// Finds its place on the ladder of the configuration, which may be another one than before.
    pub fn adopt(&mut self, ladder: &Ladder) {
        let stage = ladder.translate(self.stage, self.allowance);
        self.stand_on(stage, ladder);
    }

    fn stand_on(&mut self, stage: usize, ladder: &Ladder) {
        (self.stage, self.allowance) = (stage, ladder.allowance(stage));
    }

    /// Puts it on `stage` (at most the last below `cap`) by the operator's word, which counts as use of it: weeks without
    /// mail are counted anew from `today`. What the day has taught so far stays, and is judged at its end.
    pub fn set(&mut self, stage: usize, ladder: &Ladder, cap: Option<u64>, today: Date) -> Move {
        let from = self.stage;
        let to = stage.min(ladder.end(cap).saturating_sub(1));
        self.stand_on(to, ladder);
        (self.last_mail, self.cooled, self.is_held) = (self.last_mail.max(today), 0, false);
        Move { from, to, why: Why::Set, tally: self.tally }
    }

    /// Recipients that may be accepted today, as far as the ladder is concerned: 0 before its first day, `None` where
    /// nothing but `cap` holds it.
    pub fn limit(&self, ladder: &Ladder, cap: Option<u64>, today: Date) -> Option<u64> {
        if matches!(self.origin, WarmupStart::Started(first) if today < first) {
            return Some(0);
        }
        if self.stage >= ladder.end(cap) { None } else { ladder.allowance(self.stage) }
    }

    /// Counts what an attempt taught.
    pub fn learn(&mut self, seen: &Experience) {
        self.tally.accepted += u64::from(seen.accepted);
        self.tally.blamed += u64::from(seen.blamed);
        self.tally.deferred += u64::from(seen.deferred);
    }

    /// Takes note of a suspension (`Some`) or that there is none. Returns whether that is news worth writing down.
    pub fn suspended(&mut self, blame: Option<Blame>) -> bool {
        let is_new = blame.is_some() && !self.is_suspended;
        let changed = blame.is_some() != self.is_suspended;
        self.is_suspended = blame.is_some();
        self.tally.is_struck |= is_new && blame == Some(Blame::Address);
        self.tally.is_barred |= is_new && blame == Some(Blame::Unclear);
        changed
    }

    /// Marks the day as one that lets nothing rise. Returns whether it was not marked yet.
    pub fn bar(&mut self) -> bool {
        !std::mem::replace(&mut self.tally.is_barred, true)
    }

    /// Closes the day of the tally when `today` is a later one, and rests for the days between. At most one move by
    /// mail, upwards by one stage; then those that time brings.
    pub fn turn(&mut self, today: Date, ladder: &Ladder, cap: Option<u64>, rules: &WarmupRules) -> Vec<Move> {
        if today <= self.day {
            if days(today, self.day) >= FAR {
                // The clock was wrong: what it counted belongs to no day.
                (self.day, self.last_mail, self.tally) = (today, self.last_mail.min(today), Tally::default());
            }
            return Vec::new();
        }
        let mut moves: Vec<Move> = self.judge(ladder, cap, rules).into_iter().collect();
        if self.tally.accepted >= self.worth_counting(ladder, cap) {
            (self.last_mail, self.cooled) = (self.last_mail.max(self.day), 0);
        }
        (self.day, self.tally) = (today, Tally::default());
        moves.extend(self.cool(ladder, cap, rules));
        moves
    }

    fn judge(&mut self, ladder: &Ladder, cap: Option<u64>, rules: &WarmupRules) -> Option<Move> {
        let allowance = self.limit(ladder, cap, self.day).filter(|&allowance| allowance > 0)?;
        let tally = self.tally;
        if tally.tried() == 0 && !tally.is_struck {
            return None;
        }
        let from = self.stage;
        let (to, why) = if tally.is_bad(rules) && from > 0 {
            (from - 1, Why::SteppedBack)
        } else if !tally.is_bad(rules) && tally.is_enough(allowance, rules) {
            (from + 1, if from + 1 >= ladder.end(cap) { Why::Finished } else { Why::Advanced })
        } else {
            (from, Why::Held)
        };
        self.stand_on(to, ladder);
        let was_held = std::mem::replace(&mut self.is_held, why == Why::Held);
        (why != Why::Held || !was_held).then_some(Move { from, to, why, tally })
    }

    /// Accepted recipients of a day that count as use of where it stands.
    fn worth_counting(&self, ladder: &Ladder, cap: Option<u64>) -> u64 {
        let allowed = ladder.allowance(self.stage).into_iter().chain(cap).min();
        allowed.map_or(KEEPS_WARM, |allowed| (allowed / 10).clamp(1, KEEPS_WARM))
    }

    /// One fall when it has rested for longer than `cool_after`, another for each further week.
    fn cool(&mut self, ladder: &Ladder, cap: Option<u64>, rules: &WarmupRules) -> Option<Move> {
        let idle = i64::from(days(self.last_mail, self.day)) - 1;
        let beyond = idle - i64::try_from(rules.cool_after.as_secs() / 86_400).unwrap_or(i64::MAX);
        if beyond <= 0 {
            return None;
        }
        let due = u32::try_from(1 + (beyond - 1) / 7).unwrap_or(u32::MAX);
        let from = self.stage;
        while self.cooled < due && self.stage > 0 {
            self.stand_on(ladder.cooler(self.stage, cap), ladder);
            self.cooled += 1;
        }
        self.cooled = due.max(self.cooled);
        self.is_held = false;
        let tally = Tally::default();
        (self.stage < from).then_some(Move { from, to: self.stage, why: Why::Cooled, tally })
    }
}

/// Days from `from` to `to`; negative where `to` is earlier.
fn days(from: Date, to: Date) -> i32 {
    // Dates of one calendar are at most 20,000 years apart.
    to.since(from).map_or(0, |span| span.get_days())
}
