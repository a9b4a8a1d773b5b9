//! Which domain is evaluated next. Pure.
//!
//! Of those that are due, what is about to be proven comes first, then domains whose mail waits, then the rest: after a
//! restart with thousands of domains mail is not to leave before its own was looked at. How many are evaluated in an hour
//! is bounded, since senders choose the names.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::Wall;
use crate::message::Domain;

/// Evaluations in an hour, and at once.
pub const PER_HOUR: u32 = 20_000;

/// How urgent an evaluation is, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// One more answer may prove something.
    Confirming,
    /// Mail waits, and the domain was not looked at yet.
    Waiting,
    /// In its turn.
    Routine,
}

/// When a domain's turn is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn {
    /// How urgent.
    pub rank: Rank,
    /// From when on.
    pub due: Wall,
}

/// All turns, and what may still be spent.
#[derive(Debug)]
pub struct Agenda {
    /// By rank.
    turns: [BTreeSet<(Wall, Domain)>; 3],
    left: f64,
    counted: Option<Wall>,
}

impl Default for Agenda {
    fn default() -> Self {
        Self { turns: Default::default(), left: f64::from(PER_HOUR), counted: None }
    }
}

impl Agenda {
    /// Adds a turn.
    pub fn add(&mut self, turn: Turn, domain: &Domain) {
        self.turns[turn.rank as usize].insert((turn.due, domain.clone()));
    }

    /// Takes one away.
    pub fn remove(&mut self, turn: Turn, domain: &Domain) {
        self.turns[turn.rank as usize].remove(&(turn.due, domain.clone()));
    }

    /// The domain whose turn it is, which is taken away; none where none is due or enough were evaluated.
    pub fn next(&mut self, now: Wall) -> Option<Domain> {
        let gained = self.counted.map_or(0.0, |at| now.since(at).as_secs_f64()) * f64::from(PER_HOUR) / 3_600.0;
        self.left = (self.left + gained).min(f64::from(PER_HOUR));
        self.counted = Some(now);
        let turns = self.turns.iter_mut().find(|turns| turns.first().is_some_and(|(due, _)| *due <= now))?;
        if self.left < 1.0 {
            return None;
        }
        self.left -= 1.0;
        turns.pop_first().map(|(_, domain)| domain)
    }

    /// When [`Self::next`] may have one.
    pub fn next_due(&self) -> Option<Wall> {
        let due = self.turns.iter().filter_map(|turns| turns.first()).map(|(due, _)| *due).min()?;
        let one_more = Duration::from_secs_f64((1.0 - self.left).max(0.0) * 3_600.0 / f64::from(PER_HOUR));
        Some(self.counted.filter(|_| self.left < 1.0).map_or(due, |at| due.max(at.plus(one_more))))
    }

    /// Domains that are due.
    pub fn overdue(&self, now: Wall) -> usize {
        self.turns.iter().map(|turns| turns.iter().take_while(|(due, _)| *due <= now).count()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Wall {
        Wall::from_millis(1_800_000_000_000 + seconds * 1_000)
    }

    fn nth(n: usize) -> Domain {
        format!("d{n}.example").parse().unwrap()
    }

    #[test]
    fn what_is_urgent_comes_first_once_it_is_due() {
        let mut agenda = Agenda::default();
        for (n, rank, due) in
            [(0, Rank::Routine, 0), (1, Rank::Waiting, 5), (2, Rank::Confirming, 9), (3, Rank::Confirming, 60)]
        {
            agenda.add(Turn { rank, due: at(due) }, &nth(n));
        }
        assert_eq!((agenda.next_due(), agenda.overdue(at(9))), (Some(at(0)), 3));
        let order: Vec<_> = std::iter::from_fn(|| agenda.next(at(9))).collect();
        assert_eq!(order, [nth(2), nth(1), nth(0)]);
        agenda.remove(Turn { rank: Rank::Confirming, due: at(60) }, &nth(3));
        assert_eq!(agenda.next_due(), None);
    }

    #[test]
    fn an_hour_has_so_many_evaluations_and_no_more() {
        let mut agenda = Agenda::default();
        let total = PER_HOUR as usize + 100;
        (0..total).for_each(|n| agenda.add(Turn { rank: Rank::Waiting, due: at(0) }, &nth(n)));
        let in_vain = std::iter::from_fn(|| agenda.next(at(0))).count();
        assert_eq!(in_vain, PER_HOUR as usize);
        let next = agenda.next_due().unwrap();
        assert!(next > at(0) && next <= at(1), "{next:?}");
        assert_eq!(std::iter::from_fn(|| agenda.next(at(9))).count(), 50, "9 s of an hour");
    }
}
