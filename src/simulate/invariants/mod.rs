//! What must never break, looked at after every step.
//!
//! An onlooker sees every start, answer, end and change of health, keeps its own books, and compares: caps by its own
//! reading of the configuration, recipients one by one, health as reputation shows it. What does not fit is a
//! [`Violation`]; the run goes on, so that one report shows all there is.
//!
//! | | what |
//! |---|---|
//! | `once` | every recipient ends delivered, bounced or expired, once, or waits; over crashes too |
//! | `cap` | no cap and no allowance of a warm-up is exceeded on any day ([`caps`]) |
//! | `pool` | an attempt leaves from a binding of the message's pool |
//! | `suspended` | who is suspended gets nothing, who is on probation its allowance ([`healths`]) |
//! | `attempts` | a delay of our own costs no attempt, and ends nothing before its time |
//! | `blame` | a refusal that blames our address bounces nothing |
//! | `starved` | no tenant waits while others are served beyond their share ([`turns`]) |
//! | `snowshoe` | mail that two bindings were refused for lately does not move at once to a third |
//! | `evidence` | a suspension has evidence and an end, and silence suspends nobody ([`healths`]) |
//! | `last` | automation leaves every pool a binding, unless it is certain ([`healths`]) |
//! | `circle` | the core does not ask to be woken again and again for nothing |
//! | `stuck` | mail that may leave leaves |

pub mod caps;
pub mod healths;
pub mod turns;

use serde::Serialize;

use self::caps::Caps;
use self::healths::Healths;
use self::turns::Turns;
use super::disk::{Disk, Seen, Stored, named};
use super::internet::number_of;
use crate::clock::Wall;
use crate::config::Config;
use crate::message::{BindingName, DestinationName, PoolName};
use crate::outcome::{Disposition, Outcome, Scope};
use crate::queue::core::{Core, Start};
use crate::queue::state::{Answered, Settled};
use crate::reputation::HealthChange;
use crate::scheduler::Settlement;

/// Violations kept with their words; all are counted.
const KEPT: usize = 100;

/// Something that must not happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which invariant: stable text.
    pub rule: &'static str,
    /// When.
    #[serde(with = "crate::clock::rfc3339")]
    pub at: Wall,
    /// What was seen.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.at, self.rule, self.what)
    }
}

/// What was seen so far that must not happen.
#[derive(Clone, Debug, Default)]
pub struct Found {
    kept: Vec<Violation>,
    count: u64,
}

impl Found {
    /// One more. `what` is only asked where it is kept.
    pub fn add(&mut self, rule: &'static str, at: Wall, what: impl FnOnce() -> String) {
        self.count += 1;
        if self.kept.len() < KEPT {
            self.kept.push(Violation { rule, at, what: what() });
        }
    }
}

/// Recipients by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Fates {
    /// Taken into the queue.
    pub accepted: u64,
    /// Taken by a receiver.
    pub delivered: u64,
    /// Refused for good.
    pub bounced: u64,
    /// Given up at the end of their lifetime.
    pub expired: u64,
}

/// One attempt when it is over.
pub struct Ended<'a> {
    /// Number of the binding.
    pub binding: u32,
    /// Where to.
    pub destination: &'a DestinationName,
    /// Recipients it was for.
    pub leased: u32,
    /// Recipients that were waiting when it began.
    pub before: usize,
    /// Attempts of the entry when it began.
    pub attempts: u32,
    /// What was answered.
    pub answers: &'a [Answered],
    /// What the program made of it.
    pub settled: &'a Settled,
    /// What it told the scheduler.
    pub settlement: Settlement,
    /// When it began.
    pub began: Wall,
}

/// The onlooker.
pub struct Invariants {
    found: Found,
    /// Of mail, and of our own reports.
    fates: [Fates; 2],
    members: Vec<Vec<bool>>,
    names: Vec<BindingName>,
    pools: Vec<PoolName>,
    retry_first: std::time::Duration,
    blame_window: std::time::Duration,
    /// Caps.
    pub caps: Caps,
    /// Healths.
    pub healths: Healths,
    turns: Turns,
}

impl Invariants {
    /// Nothing seen yet.
    pub fn new(config: &Config, sites: &[super::internet::Site], now: Wall) -> Self {
        let member = |pool: &crate::config::Pool| {
            let of = |b: &std::sync::Arc<crate::config::Binding>| {
                pool.tiers.iter().flatten().any(|member| member.binding == b.name && member.weight > 0)
            };
            config.bindings.iter().map(of).collect()
        };
        Self {
            found: Found::default(),
            fates: [Fates::default(); 2],
            members: config.pools.iter().map(member).collect(),
            names: config.bindings.iter().map(|binding| binding.name.clone()).collect(),
            pools: config.pools.iter().map(|pool| pool.name.clone()).collect(),
            retry_first: config.queue.retry_first,
            blame_window: config.reputation.ip_block_window,
            caps: Caps::new(config, sites, now),
            healths: Healths::new(config),
            turns: Turns::new(config),
        }
    }

    /// What must not have happened, and how often in all.
    pub fn violations(&self) -> (&[Violation], u64) {
        (&self.found.kept, self.found.count)
    }

    /// Recipients of mail, and of our own reports.
    pub fn fates(&self) -> [Fates; 2] {
        self.fates
    }

    /// Something that the world itself saw.
    pub fn add(&mut self, rule: &'static str, at: Wall, what: impl FnOnce() -> String) {
        self.found.add(rule, at, what);
    }

    /// An entry was accepted.
    pub fn accepted(&mut self, stored: &Stored) {
        self.fates[usize::from(stored.seen.is_report)].accepted += stored.entry.recipients.len() as u64;
        self.turns.waits(&stored.seen);
    }

    /// A health changed.
    pub fn changed(&mut self, change: &HealthChange, now: Wall) {
        self.healths.changed(change, &mut self.found, now);
    }

    /// The program was killed: nothing is on the wire any more.
    pub fn crashed(&mut self, disk: &Disk) {
        self.healths.crashed();
        self.turns.clear();
        disk.entries().for_each(|stored| self.turns.waits(&stored.seen));
    }

    /// An attempt begins.
    pub fn started(&mut self, start: &Start, stored: &mut Stored, core: &Core, now: Wall) {
        let (found, names) = (&mut self.found, &self.names);
        let lease = &start.lease;
        let binding = lease.binding.0;
        let seen = &mut stored.seen;
        if seen.in_flight {
            found.add("once", now, || format!("{} was started twice", stored.entry.id));
        }
        seen.in_flight = true;
        let pool = self.members.get(lease.pool.index());
        let is_member = pool.and_then(|members| members.get(lease.binding.index())).copied().unwrap_or(false);
        if !is_member || stored.entry.pool != self.pools[lease.pool.index()] {
            let pool = &stored.entry.pool;
            found
                .add("pool", now, || format!("{} left from {}, not of {pool}", stored.entry.id, named(names, binding)));
        }
        // Later than that it is another try, as after any deferral.
        let at_once = now.since(seen.refused_at) < self.retry_first / 2;
        seen.refused_over.retain(|(_, at)| now.since(*at) <= self.blame_window);
        let over = &seen.refused_over;
        if at_once && over.len() > 1 && over.iter().all(|(refused, _)| *refused != binding) {
            let (to, entry) = (named(names, binding), &stored.entry);
            found.add("snowshoe", now, || {
                let (id, count) = (entry.id, entry.recipients.len());
                let refused: Vec<&str> = over.iter().map(|(binding, _)| named(names, *binding)).collect();
                format!("{id} ({count} recipients), refused over {}, moved at once to {to}", refused.join(" and "))
            });
        }
        self.healths.started(start, core, found, now);
        self.turns.served(&stored.seen, (lease.destination, lease.recipients), core, found, now);
    }

    /// An attempt is over. `stored` is what the program made of it.
    pub fn ended(&mut self, ended: &Ended<'_>, stored: &mut Stored, now: Wall) {
        let (found, names) = (&mut self.found, &self.names);
        let Stored { entry, seen } = stored;
        seen.in_flight = false;
        let fates = &mut self.fates[usize::from(seen.is_report)];
        if ended.before != ended.settled.decided.len() + entry.recipients.len() {
            let (was, is) = (ended.before, entry.recipients.len());
            let done = ended.settled.decided.len();
            found.add("once", now, || format!("{}: {was} recipients became {done} done and {is} waiting", entry.id));
        }
        for decided in &ended.settled.decided {
            if !seen.decide(number_of(&decided.address)) {
                found.add("once", now, || format!("{} of {} was done twice", decided.address, entry.id));
            }
            match decided.disposition {
                Disposition::Delivered => fates.delivered += 1,
                Disposition::Expired => fates.expired += 1,
                _ => fates.bounced += 1,
            }
            if decided.disposition == Disposition::Expired && now < seen.expires {
                found.add("attempts", now, || format!("{} expired before its time", entry.id));
            }
        }
        if ended.answers.iter().any(|answer| answer.outcome.disposition == Disposition::Delivered) {
            // Mail that one of them takes is not what they refuse.
            seen.refused_over.clear();
        }
        for answer in ended.answers {
            let outcome = &answer.outcome;
            if blames(outcome) {
                seen.refused_at = now;
                seen.refused_over.retain(|(binding, _)| *binding != ended.binding);
                seen.refused_over.push((ended.binding, now));
            }
            if outcome.disposition == Disposition::Bounced && blames(outcome) && now < seen.expires {
                found.add("blame", now, || format!("{} bounced for {}: {}", entry.id, outcome.rule, answer.text));
            }
            self.healths.answered(ended.binding, outcome, now);
        }
        seen.attempts += 1;
        let attempts = entry.state.attempts;
        if attempts > ended.attempts + 1 || attempts > seen.attempts {
            let made = seen.attempts;
            found.add("attempts", now, || format!("{} counts {attempts} attempts, {made} were made", entry.id));
        }
        if entry.expires < seen.expires {
            found.add("attempts", now, || format!("the lifetime of {} was shortened", entry.id));
        }
        if ended.settled.waits {
            self.turns.waits(seen);
        }
        let accepted = match ended.settlement {
            Settlement::Accepted(recipients) => u64::from(recipients),
            _ => 0,
        };
        if ended.settlement == Settlement::Unused {
            self.healths.unused(ended.binding, ended.destination, ended.leased, ended.began);
        }
        self.caps.accepted(ended.binding, seen, accepted, ended.began, found, names, now);
    }

    /// Recipients a receiver accepted in an attempt whose end the program did not live to see.
    pub fn lost(&mut self, binding: u32, seen: &Seen, accepted: u64, began: Wall, now: Wall) {
        self.caps.accepted(binding, seen, accepted, began, &mut self.found, &self.names, now);
    }

    /// An entry was given up, or refused because its domain takes no mail.
    pub fn ended_without(&mut self, stored: &Stored, refused: bool, takes_mail: bool, now: Wall) {
        let Stored { entry, seen } = stored;
        let recipients = entry.recipients.len() as u64;
        let fates = &mut self.fates[usize::from(seen.is_report)];
        *(if refused { &mut fates.bounced } else { &mut fates.expired }) += recipients;
        self.turns.gone(seen);
        if !refused && now < seen.expires {
            self.found.add("attempts", now, || format!("{} was given up before its time", entry.id));
        }
        if refused && takes_mail {
            self.found.add("attempts", now, || format!("{} was refused although its domain takes mail", entry.id));
        }
        if seen.in_flight {
            self.found.add("once", now, || format!("{} was ended while it was tried", entry.id));
        }
    }

    /// Looks over everything: sums, and mail that could leave and does not.
    pub fn look_over(&mut self, disk: &Disk, core: &Core, now: Wall) {
        for (fates, waiting) in self.fates.iter().zip(disk.waiting()) {
            let Fates { accepted, delivered, bounced, expired } = *fates;
            if accepted != delivered + bounced + expired + waiting {
                self.found.add("once", now, || {
                    format!("{accepted} accepted are not {delivered} delivered, {bounced} bounced, {expired} expired, {waiting} waiting")
                });
            }
        }
        let (entries, recipients) = core.index().depth();
        if recipients != disk.waiting().iter().sum::<u64>() {
            let [mail, reports] = disk.waiting();
            self.found.add("once", now, || format!("{recipients} wait in memory, {mail} + {reports} on disk"));
        }
        if core.in_flight() == 0 && entries > 0 {
            let ready = core.index().iter().filter(|(_, waiting)| core.index().why(waiting).0 == "ready").count();
            if ready > 0 {
                self.found.add("stuck", now, || format!("{ready} entries could leave, and nothing is on the wire"));
            }
        }
    }
}

/// Whether a refusal blames our address.
pub fn blames(outcome: &Outcome) -> bool {
    outcome.counts_against_ip && matches!(outcome.scope, Scope::Binding | Scope::Range)
}
