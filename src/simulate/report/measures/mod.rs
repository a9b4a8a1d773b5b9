//! How well it went, measured against what only the scenario knows.
//!
//! | measure | what it counts |
//! |---|---|
//! | delivered within 24 h | of the recipients taken in whose 24 hours lie within the scenario, without those that are refused whatever brings them (nobody of that name, the message's own content): of all mail, and of the tenants that are not at fault |
//! | refused for the IP | recipients' answers that count against the address as the classifier reads them, before anything is concluded; temporary and for good |
//! | suspended falsely | distinct bindings, and distinct routes, that were taken out although the truth does not name them, or not there or not then; penalties may run on for 24 h after it is over, and as long as the receiver itself (for a binding: any) still defers or blocks an address that is named. The operator's acts do not count, a baseline's fuse does. Of the routes, those whose receiver thought well of the address at that moment are told besides |
//! | too wide | distinct bindings that the truth names for some receivers and that were taken out everywhere |
//! | throttled falsely | distinct bindings and routes that were throttled although the truth does not say so, a receiver's own wish for less aside |
//! | innocents held | distinct tenants that are not at fault and whose mail automation held somewhere, all of it or that of one domain or stream; and how many such holds there were (a hold that a refused probe prolongs is the same) |
//! | burnt | distinct bindings that the truth does not name and that a receiver blocked or a list listed for what they did (looked at once an hour; blocks last longer). Those it names, as guilty or at risk, are told besides |
//! | time to detect | from the beginning of the truth to the first of: a suspension of the guilty binding or its route there; four fifths of its volume there shifted away ([`Shift`]); a hold of the guilty tenant's mail. Of several who are guilty the median |
//! | sent until then | recipients tried over it there (of the tenant: anywhere) in that time |
//! | time to recover | from the end of the truth until the binding carries half of its fair share of an hour's mail there again, or half of what the tenant hands in within an hour is delivered. Of several the median |
//! | others' delay | waiting until delivery of the mail of tenants that are not at fault: median and 99 %, within a twentieth |
//! | left waiting | recipients of mail of tenants that are not at fault, not delivered, refused or given up when the scenario ends |
//!
//! With a truth that is there from the beginning there is nothing to detect, and nobody to be back. `at_risk` excuses
//! nothing: whoever it names is innocent everywhere above, and only told besides where it is burnt.
//!
//! Everything streams: counts by number, a few rings of five minutes for who is guilty, nothing per message.

mod flow;
mod known;
mod shift;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

use self::flow::Flow;
use self::known::Known;
pub use self::shift::Shift;
use super::Told;
use super::waits::Waits;
use crate::clock::Wall;
use crate::config::Config;
use crate::outcome::{Disposition, Scope};
use crate::reputation::holds::HoldKey;
use crate::reputation::{Health, HealthChange, HoldChange, HoldState, Reason, Subject};
use crate::simulate::compare::fuse;
use crate::simulate::disk::Seen;
use crate::simulate::scenario::Truth;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// What volumes are looked at by.
const BUCKET: Duration = Duration::from_secs(300);

/// What a run came to. `None` where the measure does not apply: nothing was sent, or nobody is guilty.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Measures {
    /// Share of all recipients that was delivered within 24 hours.
    pub delivered_24h: Option<f64>,
    /// The same of the mail of tenants that are not at fault.
    pub delivered_24h_innocent: Option<f64>,
    /// Answers that blame the address.
    pub ip_refusals: u64,
    /// Those of them that were for good (5xx).
    pub ip_refusals_permanent: u64,
    /// Those of them over bindings that the truth does not name there and then.
    pub ip_refusals_innocent: u64,
    /// Bindings suspended everywhere that the truth does not name.
    pub false_bindings: u64,
    /// Routes suspended that the truth does not name.
    pub false_routes: u64,
    /// Those of them whose receiver thought well of the address at that moment.
    pub false_routes_unprovoked: u64,
    /// Bindings and routes throttled that the truth does not name; a receiver's own wish for less aside.
    pub false_throttles: u64,
    /// Bindings that the truth names for some receivers and that were suspended everywhere.
    pub too_wide: u64,
    /// Tenants that are not at fault and whose mail automation held.
    pub held_innocent: u64,
    /// Holds of their mail.
    pub holds_innocent: u64,
    /// Bindings burnt that the truth does not name as guilty.
    pub burnt: u64,
    /// Bindings burnt that it names, as guilty or at risk.
    pub burnt_guilty: u64,
    /// Whether anybody becomes guilty: the next measures apply.
    pub has_guilty: bool,
    /// Share of the guilty that was found.
    pub detected: Option<f64>,
    /// Seconds until half of the guilty were found.
    pub detect_seconds: Option<f64>,
    /// Recipients sent until then.
    pub detect_recipients: Option<f64>,
    /// Whether the guilt ends within the scenario: the next measure applies.
    pub has_end: bool,
    /// Seconds until half of the guilty were back.
    pub recover_seconds: Option<f64>,
    /// Half of the innocent tenants' mail waited no longer until its delivery.
    pub wait_median_seconds: f64,
    /// 99 % of it no longer.
    pub wait_p99_seconds: f64,
    /// Recipients of the innocent tenants' mail that wait.
    pub waiting_innocent: u64,
}

/// Recipients with 24 hours, and how many of them were delivered in time.
#[derive(Clone, Copy, Debug, Default)]
struct InTime {
    wanted: u64,
    delivered: u64,
}

impl InTime {
    fn share(self) -> Option<f64> {
        (self.wanted > 0).then(|| self.delivered as f64 / self.wanted as f64)
    }
}

/// Counts while the world runs.
#[derive(Debug)]
pub struct Meter {
    known: Known,
    start: Wall,
    end: Wall,
    /// Of all, and of the innocent.
    in_time: [InTime; 2],
    ip_refusals: u64,
    ip_refusals_permanent: u64,
    ip_refusals_innocent: u64,
    false_bindings: BTreeSet<usize>,
    false_routes: BTreeSet<Subject>,
    unprovoked: BTreeSet<Subject>,
    false_throttles: BTreeSet<Subject>,
    too_wide: BTreeSet<usize>,
    held: BTreeSet<usize>,
    /// Of the innocent, those that last.
    holds: BTreeSet<HoldKey>,
    hold_count: u64,
    burnt: Vec<bool>,
    burnt_guilty: Vec<bool>,
    waits: Waits<512>,
    shifts: Vec<Shift>,
    flows: Vec<Flow>,
    /// End of the present bucket.
    bucket: Wall,
}

impl Meter {
    /// Nothing counted, from `start` to `end` of a scenario with this truth.
    pub fn new(config: &Config, truth: Option<&Truth>, start: Wall, end: Wall) -> Self {
        let known = Known::new(config, truth, start);
        let of = |guilty: &[bool]| (0..guilty.len()).filter(|n| guilty[*n]).collect::<Vec<usize>>();
        let fair = 1.0 / config.bindings.len().max(1) as f64;
        Self {
            shifts: of(&known.bindings).into_iter().map(|n| Shift::new(n, fair)).collect(),
            flows: of(&known.tenants).into_iter().map(Flow::new).collect(),
            start,
            end,
            in_time: Default::default(),
            ip_refusals: 0,
            ip_refusals_permanent: 0,
            ip_refusals_innocent: 0,
            false_bindings: BTreeSet::new(),
            false_routes: BTreeSet::new(),
            unprovoked: BTreeSet::new(),
            false_throttles: BTreeSet::new(),
            too_wide: BTreeSet::new(),
            held: BTreeSet::new(),
            holds: BTreeSet::new(),
            hold_count: 0,
            burnt: vec![false; config.bindings.len()],
            burnt_guilty: vec![false; config.bindings.len()],
            waits: Waits::default(),
            bucket: start.plus(BUCKET),
            known,
        }
    }

    /// The groups of sites have these names.
    pub fn groups(&mut self, groups: &[String]) {
        self.known.groups(groups);
    }

    fn is_innocent(&self, seen: &Seen) -> bool {
        !self.known.tenants[seen.tenant as usize]
    }

    /// Both counts, or that of all mail alone.
    fn in_time(&mut self, seen: &Seen) -> &mut [InTime] {
        let counts = 1 + usize::from(self.is_innocent(seen));
        &mut self.in_time[..counts]
    }

    /// Mail was taken in, at `now`; `wanted` are those of its recipients that are not refused whatever brings them.
    pub fn accepted(&mut self, seen: &Seen, wanted: u64, now: Wall) {
        if seen.is_report {
            return;
        }
        if now.plus(DAY) <= self.end {
            self.in_time(seen).iter_mut().for_each(|count| count.wanted += wanted);
        }
        if let Some(flow) = self.flows.iter_mut().find(|flow| flow.tenant == seen.tenant as usize) {
            flow.handed_in(wanted);
        }
    }

    /// So many recipients of mail that came at `arrived` turned out to be refused for their own sake.
    pub fn unwanted(&mut self, seen: &Seen, recipients: u64, arrived: Wall) {
        if !seen.is_report && arrived.plus(DAY) <= self.end {
            for count in self.in_time(seen) {
                count.wanted = count.wanted.saturating_sub(recipients);
            }
        }
    }

    /// A recipient was answered. `is_scripted`: by a receiver of which only its answers tell whom it refuses anyway.
    pub fn answered(&mut self, seen: &Seen, told: Told<'_>, is_scripted: bool, now: Wall) {
        if seen.is_report {
            return;
        }
        let (binding, outcome) = (told.binding as usize, told.outcome);
        let is_delivered = outcome.disposition == Disposition::Delivered;
        let arrived = Wall::from_millis(now.as_millis() - told.waited.as_millis() as i64);
        if outcome.counts_against_ip {
            self.ip_refusals += 1;
            self.ip_refusals_permanent += u64::from(told.text.starts_with('5'));
            let guilty = self.known.is_guilty(binding, Some(told.group), now);
            self.ip_refusals_innocent += u64::from(!guilty);
        }
        if is_delivered {
            if told.waited <= DAY && arrived.plus(DAY) <= self.end {
                self.in_time(seen).iter_mut().for_each(|count| count.delivered += 1);
            }
            if self.is_innocent(seen) {
                self.waits.add(told.waited, 1);
            }
        } else if outcome.disposition == Disposition::Bounced
            && matches!(outcome.scope, Scope::Recipient | Scope::Message)
            && is_scripted
        {
            self.unwanted(seen, 1, arrived);
        }
        if self.known.is_place(told.group) {
            self.shifts.iter_mut().for_each(|shift| shift.answered(binding, is_delivered, &self.known, now));
        }
        if let Some(flow) = self.flows.iter_mut().find(|flow| flow.tenant == seen.tenant as usize) {
            flow.answered(is_delivered, &self.known, now);
        }
    }

    /// A health changed; of a route at this group. `is_doubted`: the receiver (for a binding: any) defers or blocks
    /// the address at this moment for what it thinks of it.
    pub fn changed(&mut self, change: &HealthChange, group: Option<u16>, is_doubted: bool, now: Wall) {
        let Some(binding) = self.known.number(change.subject.binding()) else { return };
        let is_time = self.known.is_guilty(binding, group, now);
        let guilty = is_time || (is_doubted && self.known.was_guilty(binding, group, now));
        let is_route = matches!(change.subject, Subject::Route(..));
        match change.to {
            Health::Suspended { reason, .. } => {
                let is_fuse = reason == Reason::Operator && change.evidence.starts_with(fuse::WHY);
                if matches!(reason, Reason::Operator | Reason::Unbindable) && !is_fuse {
                    return;
                }
                if guilty {
                    if !is_route && self.known.is_local() {
                        self.too_wide.insert(binding);
                    }
                    let found = self.shifts.iter_mut().filter(|shift| shift.binding == binding);
                    found.for_each(|shift| shift.found(&self.known, now));
                } else if is_route {
                    self.false_routes.insert(change.subject.clone());
                    if !is_doubted {
                        self.unprovoked.insert(change.subject.clone());
                    }
                } else {
                    self.false_bindings.insert(binding);
                }
            }
            Health::Throttled { reason, .. } if !guilty && reason != Reason::RateLimited => {
                self.false_throttles.insert(change.subject.clone());
            }
            _ => {}
        }
    }

    /// A hold began or ended.
    pub fn held(&mut self, change: &HoldChange, tenant: usize, now: Wall) {
        let begins = matches!(change.to, HoldState::Held { .. });
        if change.to == HoldState::Released {
            self.holds.remove(&change.key);
        } else if begins && !self.known.tenants[tenant] && self.holds.insert(change.key.clone()) {
            self.held.insert(tenant);
            self.hold_count += 1;
        }
        if begins && self.known.is_time(now) {
            let found = self.flows.iter_mut().filter(|flow| flow.tenant == tenant);
            found.for_each(|flow| flow.found(now));
        }
    }

    /// A receiver blocks the address of this binding, or a list names it, for what it did.
    pub fn burnt(&mut self, binding: usize, group: Option<u16>, now: Wall) {
        let guilty = self.known.is_guilty(binding, group, now);
        self.burnt[binding] |= !guilty;
        self.burnt_guilty[binding] |= guilty || self.known.at_risk[binding];
    }

    /// Whether volumes are to be looked at ([`look`](Self::look)).
    pub fn is_due(&self, now: Wall) -> bool {
        now >= self.bucket && !(self.shifts.is_empty() && self.flows.is_empty())
    }

    /// Looks at volumes. `is_full`: the binding may carry no more today, whatever it wants.
    pub fn look(&mut self, is_full: impl Fn(usize) -> bool, now: Wall) {
        while now >= self.bucket {
            let at = self.bucket;
            self.shifts.iter_mut().for_each(|shift| shift.look(is_full(shift.binding), &self.known, at));
            self.flows.iter_mut().for_each(|flow| flow.look(&self.known, at));
            self.bucket = at.plus(BUCKET);
        }
    }

    /// All of it. `waiting` is the mail that has not come to an end: who it is of, and its recipients.
    pub fn measures<'a>(&self, waiting: impl Iterator<Item = (&'a Seen, u64)>) -> Measures {
        let waiting = waiting.filter(|(seen, _)| !seen.is_report && self.is_innocent(seen));
        let all = self.shifts.iter().map(|shift| &shift.guilty).chain(self.flows.iter().map(|flow| &flow.guilty));
        let guilty: Vec<&Guilty> = all.filter(|_| self.known.from > self.start).collect();
        let since = |from: Wall| move |at: Wall| at.since(from).as_secs_f64();
        let found = guilty.iter().filter(|guilty| guilty.found.is_some()).count();
        let count = |flags: &[bool]| flags.iter().filter(|flag| **flag).count() as u64;
        let ends = self.known.until.filter(|until| *until < self.end && !guilty.is_empty());
        Measures {
            delivered_24h: self.in_time[0].share(),
            delivered_24h_innocent: self.in_time[1].share(),
            ip_refusals: self.ip_refusals,
            ip_refusals_permanent: self.ip_refusals_permanent,
            ip_refusals_innocent: self.ip_refusals_innocent,
            false_bindings: self.false_bindings.len() as u64,
            false_routes: self.false_routes.len() as u64,
            false_routes_unprovoked: self.unprovoked.len() as u64,
            false_throttles: self.false_throttles.len() as u64,
            too_wide: self.too_wide.len() as u64,
            held_innocent: self.held.len() as u64,
            holds_innocent: self.hold_count,
            burnt: count(&self.burnt),
            burnt_guilty: count(&self.burnt_guilty),
            has_guilty: !guilty.is_empty(),
            detected: (!guilty.is_empty()).then(|| found as f64 / guilty.len() as f64),
            detect_seconds: half(guilty.iter().map(|guilty| guilty.found.map(since(self.known.from)))),
            detect_recipients: half(guilty.iter().map(|guilty| guilty.found.map(|_| guilty.sent as f64))),
            has_end: ends.is_some(),
            recover_seconds: ends
                .and_then(|until| half(guilty.iter().map(|guilty| guilty.recovered.map(since(until))))),
            wait_median_seconds: self.waits.quantile(0.5),
            wait_p99_seconds: self.waits.quantile(0.99),
            waiting_innocent: waiting.map(|(_, recipients)| recipients).sum(),
        }
    }
}

/// What is noted of somebody who is guilty.
#[derive(Clone, Copy, Debug, Default)]
struct Guilty {
    found: Option<Wall>,
    /// Recipients sent since the truth began, until it was found.
    sent: u64,
    recovered: Option<Wall>,
}

/// The median, where those without a figure come last; `None` where it is one of them, or there are none.
fn half(figures: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let mut all: Vec<f64> = figures.map(|figure| figure.unwrap_or(f64::INFINITY)).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len().saturating_sub(1) / 2).copied().filter(|figure| figure.is_finite())
}
