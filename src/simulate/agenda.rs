//! What happens when: events in the order of their moments, and of their making where those are equal.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::clock::Wall;
use crate::message::Domain;
use crate::scheduler::GrantRequest;

/// Something that will happen.
#[derive(Debug)]
pub enum Event {
    /// A calendar day ends and the next begins.
    Day,
    /// An hour begins: traffic is planned, the world is looked over.
    Hour,
    /// A happening of the scenario begins.
    Begins(usize),
    /// A happening of the scenario ends.
    Ends(usize),
    /// A source of traffic sends its next message.
    Arrival(usize),
    /// A message somebody sent by hand.
    Handed(usize),
    /// An attempt has its answers.
    Answered(usize),
    /// A domain was looked up.
    Resolved(Domain),
    /// Grants are on disk.
    Written(Vec<GrantRequest>),
    /// The monitor makes its round.
    Round,
    /// The monitor asks again about what it newly saw.
    Confirm,
}

impl Event {
    /// Whether it is gone when the program is killed.
    fn is_of_the_program(&self) -> bool {
        matches!(self, Self::Answered(_) | Self::Resolved(_) | Self::Written(_) | Self::Confirm)
    }
}

#[derive(Debug)]
struct Planned {
    at: Wall,
    number: u64,
    event: Event,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Planned {
    /// The first is the greatest, as the heap wants it.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// All that is planned.
#[derive(Debug, Default)]
pub struct Agenda {
    planned: BinaryHeap<Planned>,
    number: u64,
}

impl Agenda {
    /// Plans an event.
    pub fn plan(&mut self, at: Wall, event: Event) {
        self.number += 1;
        self.planned.push(Planned { at, number: self.number, event });
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Wall> {
        self.planned.peek().map(|planned| planned.at)
    }

    /// The next event that is due at `now`.
    pub fn due(&mut self, now: Wall) -> Option<Event> {
        if self.next()? > now {
            return None;
        }
        self.planned.pop().map(|planned| planned.event)
    }

    /// The program was killed: what only it was waiting for will not come. Returns the grants that were being written.
    pub fn crash(&mut self) -> Vec<Vec<GrantRequest>> {
        let (mut kept, mut grants) = (BinaryHeap::new(), Vec::new());
        let mut gone: Vec<Planned> = Vec::new();
        for planned in self.planned.drain() {
            if planned.event.is_of_the_program() { gone.push(planned) } else { kept.push(planned) }
        }
        self.planned = kept;
        gone.sort_unstable_by_key(|planned| planned.number);
        for planned in gone {
            if let Event::Written(of) = planned.event {
                grants.push(of);
            }
        }
        grants
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_the_order_of_their_moments_and_then_of_their_making() {
        let mut agenda = Agenda::default();
        for (at, number) in [(5, 1), (3, 2), (5, 3), (4, 4)] {
            agenda.plan(Wall::from_millis(at), Event::Arrival(number));
        }
        assert!(agenda.due(Wall::from_millis(2)).is_none());
        let mut order = Vec::new();
        while let Some(Event::Arrival(number)) = agenda.due(Wall::from_millis(5)) {
            order.push(number);
        }
        assert_eq!(order, [2, 4, 1, 3]);
    }

    #[test]
    fn a_crash_takes_what_the_program_waited_for_and_leaves_the_world() {
        let mut agenda = Agenda::default();
        agenda.plan(Wall::from_millis(1), Event::Written(Vec::new()));
        agenda.plan(Wall::from_millis(2), Event::Answered(0));
        agenda.plan(Wall::from_millis(3), Event::Hour);
        assert_eq!(agenda.crash().len(), 1);
        assert!(matches!(agenda.due(Wall::from_millis(9)), Some(Event::Hour)));
        assert!(agenda.next().is_none());
    }
}
