//! The cap holds, whatever happens in whatever order.

use std::collections::HashMap;

use jiff::civil::Date;
use proptest::prelude::*;

use super::tests::{HOUR, berlin, noon, owner};
use super::*;

#[derive(Clone, Debug)]
enum Step {
    Reserve(u32),
    Settle(usize, u32),
    Durable,
    /// On disk, but nobody hears of it.
    Unanswered,
    /// Answered as failed; on disk or not.
    Failed(bool),
    /// What was on the wire is accepted at once, or as late as a receiver may; then so many hours until the next start.
    Crash(bool, u64),
    CleanStop,
    Pass(u64),
    /// To a few minutes before midnight.
    PassToNight,
    SetBack(u64),
    Limit(Option<u64>),
    /// The clock goes wrong by so many days, or is right again. More days than a run has: a date that a wrong clock gives
    /// a second time is another day with another count.
    Leap(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (1u32..60).prop_map(Step::Reserve),
        6 => (0usize..8, 0u32..60).prop_map(|(which, n)| Step::Settle(which, n)),
        8 => Just(Step::Durable),
        1 => Just(Step::Unanswered),
        1 => any::<bool>().prop_map(Step::Failed),
        2 => (any::<bool>(), prop_oneof![2 => Just(0u64), 1 => 0u64..60]).prop_map(|(late, n)| Step::Crash(late, n)),
        1 => Just(Step::CleanStop),
        2 => (0u64..20).prop_map(Step::Pass),
        2 => Just(Step::PassToNight),
        1 => (0u64..20).prop_map(Step::SetBack),
        2 => prop_oneof![6 => (0u64..300).prop_map(Some), 1 => Just(None)].prop_map(Step::Limit),
        1 => prop_oneof![Just(-20_000), Just(-400), Just(400), Just(4_000)].prop_map(Step::Leap),
    ]
}

/// Receivers, disk and clock around a ledger. Leases taken while there was no cap are outside of what can be promised,
/// and so are days on which there was none at some time.
struct World {
    disk: HashMap<String, GrantFact>,
    limit: Option<u64>,
    /// Without the error of the clock.
    base: Wall,
    latest: Wall,
    wrong_by: i64,
    ledger: Ledger,
    id: AccountId,
    held: Vec<(Reservation, bool)>,
    accepted: HashMap<Date, u64>,
    highest: HashMap<Date, u64>,
    /// On the wire of a dead process: the day they were sent on, until when they may be accepted, recipients.
    floating: Vec<(Date, Wall, u64)>,
}

impl World {
    fn new(limit: u64) -> Self {
        let mut ledger = Ledger::new(berlin(), &[], noon());
        let id = ledger.open(owner(), limit);
        ledger.ask_for_first();
        Self {
            disk: HashMap::new(),
            limit: Some(limit),
            base: noon(),
            latest: noon(),
            wrong_by: 0,
            ledger,
            id,
            held: Vec::new(),
            accepted: HashMap::new(),
            highest: HashMap::new(),
            floating: Vec::new(),
        }
    }

    fn wall(&self) -> Wall {
        Wall::from_millis(self.base.as_millis() + self.wrong_by * 86_400_000)
    }

    fn accept(&mut self, day: Date, n: u64) {
        *self.accepted.entry(day).or_default() += n;
    }

    fn settle(&mut self, (reservation, is_capped): (Reservation, bool), n: u32) {
        if is_capped {
            self.accept(self.ledger.day().date, u64::from(n.min(reservation.recipients)));
        }
        self.ledger.settle(reservation, n);
    }

    fn write(&mut self, is_answered: bool) {
        for request in self.ledger.take_requests() {
            self.disk.insert(request.key.clone(), request.clone());
            if is_answered {
                self.ledger.granted(&request);
            }
        }
    }

    /// What floats and can still be accepted is, if a later day has begun meanwhile.
    fn after_a_change_of_day(&mut self) {
        let day = self.ledger.day();
        for (sent, until, n) in std::mem::take(&mut self.floating) {
            if sent == day.date {
                self.floating.push((sent, until, n));
                continue;
            }
            let is_late = sent < day.date && day.start <= until;
            self.accept(if is_late { day.date } else { sent }, n);
        }
        // What is on the wire cannot be called back when the limit of this day is lower.
        let from_before = self.accepted.get(&day.date).copied().unwrap_or(0) + self.ledger.account(self.id).reserved();
        let highest = self.highest.entry(day.date).or_default();
        *highest = from_before.max(*highest);
    }

    fn roll(&mut self) {
        if self.ledger.roll(self.wall()) {
            self.ledger.ask_for_first();
            self.after_a_change_of_day();
        }
    }

    fn start(&mut self) {
        let facts: Vec<_> = self.disk.values().cloned().collect();
        self.ledger = Ledger::new(berlin(), &facts, self.wall());
        self.id = self.ledger.open(owner(), self.limit.unwrap_or(Ledger::UNLIMITED));
        self.ledger.ask_for_first();
    }

    fn step(&mut self, step: Step) {
        let wall = self.wall();
        match step {
            Step::Reserve(n) => {
                if self.ledger.room(self.id, wall) == Room::Askable {
                    self.ledger.want(self.id, n);
                }
                let is_capped = self.limit.is_some();
                self.held.extend(self.ledger.reserve(self.id, n).map(|reservation| (reservation, is_capped)));
            }
            Step::Settle(which, n) if !self.held.is_empty() => {
                let reservation = self.held.swap_remove(which % self.held.len());
                self.settle(reservation, n);
            }
            Step::Settle(..) => {}
            Step::Durable => self.write(true),
            Step::Unanswered => self.write(false),
            Step::Failed(is_on_disk) => {
                for request in self.ledger.take_requests() {
                    if is_on_disk {
                        self.disk.insert(request.key.clone(), request.clone());
                    }
                    self.ledger.failed(&request, wall);
                }
            }
            Step::CleanStop => {
                // It waits for what is on the wire.
                for reservation in std::mem::take(&mut self.held) {
                    self.settle(reservation, u32::MAX);
                }
                self.disk.extend(self.ledger.exact().into_iter().map(|fact| (fact.key.clone(), fact)));
                self.start();
            }
            Step::Crash(is_late, down) => {
                let day = self.ledger.day().date;
                for (reservation, is_capped) in std::mem::take(&mut self.held) {
                    let n = u64::from(reservation.recipients);
                    match (is_capped, is_late) {
                        (false, _) => {}
                        (true, false) => self.accept(day, n),
                        (true, true) => self.floating.push((day, wall.plus(ADRIFT), n)),
                    }
                }
                self.base = self.base.plus(HOUR * down as u32);
                self.start();
                self.after_a_change_of_day();
            }
            Step::Pass(hours) => {
                self.base = self.base.plus(HOUR * hours as u32);
                self.roll();
            }
            Step::PassToNight => {
                let left = self.ledger.day().end.since(wall).saturating_sub(Duration::from_secs(300));
                self.base = self.base.plus(left.min(24 * HOUR));
                self.roll();
            }
            Step::SetBack(hours) => {
                // Not beyond the days for which the later day is believed.
                let back = self.base.as_millis() - (HOUR * hours as u32).as_millis() as i64;
                let to = Wall::from_millis(back.max(self.latest.as_millis() - 40 * HOUR.as_millis() as i64));
                // Receivers do not wait longer because our clock changed.
                let by = self.base.as_millis() - to.as_millis();
                self.floating.iter_mut().for_each(|(_, until, _)| *until = Wall::from_millis(until.as_millis() - by));
                self.base = to;
                self.roll();
            }
            Step::Limit(to) => {
                self.limit = to;
                self.ledger.set_limit(self.id, to.unwrap_or(Ledger::UNLIMITED));
                self.ledger.ask_for_first();
            }
            Step::Leap(days) => {
                self.wrong_by = if self.wrong_by == 0 { days } else { 0 };
                self.roll();
            }
        }
        self.latest = self.latest.max(self.base);
        let highest = self.highest.entry(self.ledger.day().date).or_default();
        *highest = self.limit.unwrap_or(u64::MAX).max(*highest);
    }

    fn check(&self) -> Result<(), TestCaseError> {
        for (day, n) in &self.accepted {
            let highest = self.highest.get(day).copied().unwrap_or(0);
            prop_assert!(*n <= highest, "{n} of {highest} on {day}");
        }
        if self.held.iter().all(|(_, is_capped)| *is_capped) {
            let open = self.disk.values().map(|fact| fact.open).next().unwrap_or(0);
            let on_the_wire = self.ledger.account(self.id).reserved();
            prop_assert!(on_the_wire <= open, "{on_the_wire} on the wire, {open} written");
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The receiver counts by the ledger's day at the moment of acceptance, and may accept what was on the wire in a crash
    /// then, or up to an hour later; a lowered cap binds from then on.
    #[test]
    fn no_day_ever_sees_more_than_its_cap(steps in prop::collection::vec(step(), 1..150), first in 1u64..300) {
        let mut world = World::new(first);
        for step in steps {
            world.step(step);
            world.check()?;
        }
        for (sent, _, n) in std::mem::take(&mut world.floating) {
            world.accept(sent, n);
        }
        world.check()?;
    }

    #[test]
    fn leases_over_midnight_stay_within_the_cap_of_both_days(
        limit in 1u64..100,
        moves in prop::collection::vec((1u32..40, 0u32..40, any::<bool>()), 1..60),
    ) {
        let mut world = World::new(limit);
        for (n, done, is_night) in moves {
            world.step(Step::Durable);
            world.step(Step::Reserve(n));
            if world.held.len() > 3 {
                world.step(Step::Settle(0, done));
            }
            if is_night {
                world.step(Step::Pass(8));
            }
            prop_assert!(world.accepted.values().all(|&n| n <= limit), "{:?}", world.accepted);
        }
    }

    /// What was not accepted is there again, and a day that nothing happened to gives its whole cap.
    #[test]
    fn a_day_without_a_crash_gives_its_whole_cap(
        limit in 1u64..300,
        sizes in prop::collection::vec((1u32..60, 0u32..60), 1..40),
    ) {
        let mut world = World::new(limit);
        for (n, done) in sizes {
            world.step(Step::Durable);
            world.step(Step::Reserve(n));
            world.step(Step::Settle(0, done));
        }
        while world.ledger.room(world.id, world.wall()) != Room::Exhausted {
            world.step(Step::Reserve(7));
            world.step(Step::Durable);
            world.step(Step::Settle(0, 7));
        }
        prop_assert_eq!(world.accepted.values().sum::<u64>(), limit);
    }
}
