//! Connections: an attempt goes out, the receiver answers, the core hears of it.
//!
//! The receiver judges when the attempt begins; its words are known when the time it took is over. A kill in between finds
//! them unread: half of the attempts had got their last reply by then, and what the receiver accepted is accepted.

use std::time::Duration;

use rand::Rng;
use smallvec::SmallVec;

use super::super::agenda::Event;
use super::super::compare::fuse;
use super::super::internet::{Leaving, SiteId};
use super::super::invariants::Ended;
use super::super::receiver::Attempted;
use super::super::replies::LineId;
use super::super::report::Told;
use super::measuring::recipient_number;
use super::{Traced, World};
use crate::clock::{Now, Wall};
use crate::message::EntryId;
use crate::outcome::{Disposition, Outcome};
use crate::queue::core::Start;
use crate::queue::state::Answered;
use crate::reputation::Evidence;
use crate::scheduler::Settlement;

/// An attempt on the wire.
#[derive(Debug)]
pub(super) struct Flight {
    start: Start,
    site: SiteId,
    began: Wall,
    /// `None` where nobody answered.
    took: Option<Duration>,
    lines: SmallVec<[LineId; 8]>,
}

impl World {
    pub(super) fn attempt(&mut self, start: Start, now: Now) {
        let Some(stored) = self.disk.get_mut(start.entry) else {
            let id = start.entry;
            self.invariants.add("once", now.wall, || format!("{id} is tried and is not on disk"));
            return self.core.settled(id, start.lease, Settlement::Unused, None, now);
        };
        self.invariants.started(&start, stored, &self.core, now.wall);
        let seen = &stored.seen;
        let binding = &start.binding;
        let own = [binding.public_address, binding.bind_address];
        let leaving = Leaving { site: seen.site, binding: start.lease.binding.0, own };
        let connections = self.internet.connect(leaving);
        let (mut lines, mut took, mut is_silent) = (SmallVec::new(), Duration::ZERO, false);
        for recipient in stored.entry.recipients.iter().take(start.lease.recipients as usize) {
            let attempted = Attempted {
                address: binding.public_address,
                connections,
                recipient: recipient_number(start.entry, seen, &recipient.address),
                sender: seen.tenant,
                quality: seen.quality,
            };
            let (line, so_long, is_trap) = self.internet.answer(leaving, &attempted, &mut self.random, now.wall);
            if is_trap {
                self.watcher.hit(binding.public_address, now.wall);
            }
            took = took.max(so_long);
            lines.push(line);
            if line == self.internet.replies().silence() {
                is_silent = true;
                break;
            }
        }
        if is_silent {
            // Whoever does not answer answers nobody of the attempt.
            lines = SmallVec::from_elem(self.internet.replies().silence(), start.lease.recipients as usize);
        }
        let at = now.wall.plus(took.max(Duration::from_millis(1)));
        let flight = Flight { site: seen.site, began: now.wall, took: (!is_silent).then_some(took), lines, start };
        let place = match self.free.pop() {
            Some(place) => {
                self.flights[place] = Some(flight);
                place
            }
            None => {
                self.flights.push(Some(flight));
                self.flights.len() - 1
            }
        };
        self.agenda.plan(at, Event::Answered(place));
    }

    pub(super) fn answered(&mut self, place: usize, now: Now) {
        let Some(flight) = self.flights.get_mut(place).and_then(Option::take) else { return };
        self.free.push(place);
        let Flight { start, site, began, took, lines } = flight;
        self.internet.disconnect(site, start.lease.binding.0);
        let replies = self.internet.replies();
        let policy = self.policy;
        let answered = |(recipient, line): (usize, &LineId)| {
            let line = replies.line(*line);
            let outcome = Outcome { action: policy.heeds(line.outcome.action), ..line.outcome.clone() };
            Answered { recipient, outcome, text: line.text.clone(), host: None }
        };
        let answers: SmallVec<[Answered; 4]> = lines.iter().enumerate().map(answered).collect();
        let unit = self.random.random();
        let Some(stored) = self.disk.get_mut(start.entry) else {
            let id = start.entry;
            self.invariants.add("once", now.wall, || format!("{id} was tried and is not on disk any more"));
            return self.core.settled(id, start.lease, Settlement::Unused, None, now);
        };
        let (before, attempts) = (stored.entry.recipients.len(), stored.entry.state.attempts);
        let (observed, settled) = self.core.concluded(&start.lease, &mut stored.entry, &answers, took, unit, now);
        let accepted = answers.iter().filter(|a| a.outcome.disposition == Disposition::Delivered).count() as u32;
        let settlement =
            if accepted == 0 && took.is_none() { Settlement::Unused } else { Settlement::Accepted(accepted) };
        let ended = Ended {
            binding: start.lease.binding.0,
            destination: &start.plan.destination,
            leased: start.lease.recipients,
            before,
            attempts,
            answers: &answers,
            settled: &settled,
            settlement,
            began,
        };
        self.invariants.ended(&ended, stored, now.wall);
        let waited = now.wall.since(stored.entry.arrived);
        let (tier, binding) = (start.lease.tier, start.lease.binding.0);
        let (place, seen) = (self.internet.site(site), &stored.seen);
        for Answered { outcome, text, .. } in &answers {
            let told = Told { binding, group: place.group, outcome, tier, waited, text };
            self.recorder.answered(seen, told);
            self.meter.answered(seen, told, place.is_scripted(), now.wall);
        }
        let expired = settled.decided.iter().filter(|d| d.disposition == Disposition::Expired).count() as u64;
        if expired > 0 {
            self.recorder.expired(expired);
        }
        let is_report = stored.seen.is_report;
        let taken = (before - stored.entry.recipients.len().min(before)) as u64;
        self.disk.shrunk(is_report, taken);
        self.settle(start, settlement, settled.waits, settled.failed().next().is_some(), now);
        self.observed(observed, now.wall);
        self.look_at_volumes(now);
        self.fuse(binding, &answers, now);
        self.note(binding, site, &answers, now.wall);
    }

    /// The baseline's own doing.
    fn fuse(&mut self, binding: u32, answers: &[Answered], now: Now) {
        let Some(fuse) = &mut self.fuse else { return };
        let mut blown = answers.iter().filter_map(|answer| fuse.answered(binding as usize, &answer.text, now.wall));
        if let Some(reason) = blown.next() {
            let binding = self.config.bindings[binding as usize].name.clone();
            let span = Some(fuse::OUT);
            self.observe(&Evidence::OperatorSuspend { binding, destination: None, reason, span }, now);
        }
    }

    fn settle(&mut self, start: Start, settlement: Settlement, waits: bool, failed: bool, now: Now) {
        let Start { entry: id, lease, .. } = start;
        if failed {
            self.report_about(id, now);
        }
        let entry = self.disk.get(id).filter(|_| waits).map(|stored| &stored.entry);
        self.core.settled(id, lease, settlement, entry, now);
        if !waits {
            self.disk.remove(id);
        }
    }

    fn report_about(&mut self, id: EntryId, now: Now) {
        let Some(stored) = self.disk.get(id) else { return };
        let (entry, seen) = (stored.entry.clone(), stored.seen.clone());
        self.report_to_sender(&entry, &seen, now);
    }

    fn note(&mut self, binding: u32, site: SiteId, answers: &[Answered], at: Wall) {
        let Some(trace) = &mut self.trace else { return };
        let traced = |answer: &Answered| Traced {
            at,
            binding: self.config.bindings[binding as usize].name.clone(),
            receiver: self.internet.site(site).name.clone(),
            disposition: answer.outcome.disposition,
        };
        trace.extend(answers.iter().map(traced));
    }

    /// The program is gone; what was on the wire may have arrived.
    pub(super) fn lose_flights(&mut self, now: Wall) {
        self.internet.disconnect_all();
        for flight in std::mem::take(&mut self.flights).into_iter().flatten() {
            let Some(stored) = self.disk.get_mut(flight.start.entry) else { continue };
            stored.seen.in_flight = false;
            if !self.random.random_bool(0.5) {
                continue;
            }
            let replies = self.internet.replies();
            let delivered = |line: &&LineId| replies.line(**line).outcome.disposition == Disposition::Delivered;
            let accepted = flight.lines.iter().filter(delivered).count() as u64;
            self.invariants.lost(flight.start.lease.binding.0, &stored.seen, accepted, flight.began, now);
            self.recorder.duplicated(accepted);
        }
        self.free.clear();
    }
}
