//! A DNSBL that lists addresses for hitting its traps.
//!
//! A list counts: so many traps within a day make a listing, which shows after a delay (lists are built every so often)
//! and ends when the traps have been left alone for long enough. It holds a few moments per address, no more. A list that
//! died answers the same to whatever it is asked; whom it had listed shows again should it come back.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::clock::Wall;
use crate::monitor::answer::DnsOutcome;
use crate::simulate::scenario::{Death, ListModel};

const DAY: Duration = Duration::from_secs(86_400);

/// A list and whom it lists.
#[derive(Debug)]
pub struct List {
    model: ListModel,
    seen: HashMap<IpAddr, Record>,
    /// How it died, and whether receivers believe what it answers.
    dead: Option<(Death, bool)>,
}

/// What a list is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// About an address.
    Address(IpAddr),
    /// Its test entry, which must be listed.
    Positive,
    /// The address that must not be listed, or a name that cannot exist.
    Negative,
}

#[derive(Debug, Default)]
struct Record {
    /// The last hits, no more than make a listing.
    hits: VecDeque<Wall>,
    /// Listed from then on.
    from: Option<Wall>,
    /// Listed whatever it does.
    forced: bool,
}

impl Record {
    /// When its listing ends, where there is one.
    fn ends(&self, model: &ListModel) -> Option<Wall> {
        let last = self.hits.back().copied()?;
        Some(self.from?.max(last).plus(model.delist_after))
    }
}

impl List {
    /// A list that lists nobody yet.
    pub fn new(model: ListModel) -> Self {
        Self { model, seen: HashMap::new(), dead: None }
    }

    /// One of its traps got mail from `address`.
    pub fn hit(&mut self, address: IpAddr, now: Wall) {
        let record = self.seen.entry(address).or_default();
        if record.ends(&self.model).is_some_and(|ends| ends <= now) {
            record.from = None;
            record.hits.clear();
        }
        record.hits.push_back(now);
        let needed = self.model.trap_hits.max(1) as usize;
        while record.hits.len() > needed {
            record.hits.pop_front();
        }
        let within_a_day = record.hits.front().is_some_and(|first| now.since(*first) <= DAY);
        if record.from.is_none() && record.hits.len() == needed && within_a_day {
            record.from = Some(now.plus(self.model.delay));
        }
    }

    /// Lists `address` whatever it does, or no longer.
    pub fn force(&mut self, address: IpAddr, listed: bool) {
        self.seen.entry(address).or_default().forced = listed;
    }

    /// Dies in this way, and whether receivers believe it; or is well again.
    pub fn die(&mut self, dead: Option<(Death, bool)>) {
        self.dead = dead;
    }

    /// What it answers, as DNS does.
    pub fn answer(&self, question: Question, now: Wall) -> DnsOutcome {
        let code = match (self.dead.map(|(how, _)| how), question) {
            (Some(Death::Loud), _) => Some(Ipv4Addr::new(127, 0, 0, 2)),
            // As unlike a return code as addresses are.
            (Some(Death::Parked), _) => Some(Ipv4Addr::new(203, 0, 113, 80)),
            (Some(Death::Refusing), _) => Some(Ipv4Addr::new(127, 255, 255, 254)),
            (Some(Death::Unreachable), _) => return DnsOutcome::Timeout,
            (Some(Death::Silent), _) | (None, Question::Negative) => None,
            (None, Question::Positive) => Some(self.model.code),
            (None, Question::Address(address)) => self.listed(address, now),
        };
        code.map_or(DnsOutcome::NxDomain, |code| DnsOutcome::Addresses(vec![code]))
    }

    /// Whether receivers that ask it refuse `address` for it.
    pub fn is_believed_to_list(&self, address: IpAddr, now: Wall) -> bool {
        match self.dead {
            None => self.listed(address, now).is_some(),
            Some((how, believed)) => believed && how.answers(),
        }
    }

    /// The return code it answers for `address` while it is well; `None` where it is not listed.
    pub fn listed(&self, address: IpAddr, now: Wall) -> Option<Ipv4Addr> {
        let is_forced = self.seen.get(&address)?.forced;
        (is_forced || self.has_caught(address, now)).then_some(self.model.code)
    }

    /// Whether it lists `address` for what that did.
    pub fn has_caught(&self, address: IpAddr, now: Wall) -> bool {
        self.seen.get(&address).is_some_and(|record| {
            record.from.is_some_and(|from| from <= now) && record.ends(&self.model).is_some_and(|ends| now < ends)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    fn at(hours: u64) -> Wall {
        Wall::from_millis(1_750_000_000_000).plus(Duration::from_secs(hours * HOUR))
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn list() -> List {
        let hours = |count| Duration::from_secs(count * HOUR);
        List::new(ListModel {
            trap_hits: 3,
            delay: hours(2),
            delist_after: hours(48),
            code: Ipv4Addr::new(127, 0, 0, 3),
        })
    }

    #[test]
    fn the_third_hit_of_a_day_lists_after_the_delay_until_the_traps_were_left_alone() {
        let mut list = list();
        for hour in [0, 10, 20] {
            assert_eq!(list.listed(address(1), at(hour + 9)), None);
            list.hit(address(1), at(hour));
        }
        assert_eq!(list.listed(address(1), at(21)), None, "the delay");
        assert_eq!(list.listed(address(1), at(22)), Some(Ipv4Addr::new(127, 0, 0, 3)));
        assert_eq!(list.listed(address(2), at(22)), None, "somebody else");
        list.hit(address(1), at(60));
        assert!(list.listed(address(1), at(107)).is_some(), "48 hours from the last hit");
        assert_eq!(list.listed(address(1), at(108)), None);
    }

    #[test]
    fn hits_days_apart_never_list() {
        let mut list = list();
        for day in 0..20 {
            list.hit(address(1), at(day * 13));
            assert_eq!(list.listed(address(1), at(day * 13 + 5)), None, "day {day}");
        }
    }

    #[test]
    fn after_a_delisting_the_count_begins_anew() {
        let mut list = list();
        for hour in 0..3 {
            list.hit(address(1), at(hour));
        }
        list.hit(address(1), at(100));
        assert_eq!(list.listed(address(1), at(105)), None);
        list.hit(address(1), at(101));
        list.hit(address(1), at(102));
        assert!(list.listed(address(1), at(104)).is_some());
    }

    #[test]
    fn a_forced_listing_needs_no_hits_and_ends_when_told() {
        let mut list = list();
        list.force(address(1), true);
        assert!(list.listed(address(1), at(0)).is_some());
        list.force(address(1), false);
        assert_eq!(list.listed(address(1), at(0)), None);
    }

    #[test]
    fn a_dead_list_says_the_same_to_everything_and_remembers_whom_it_listed() {
        let mut list = list();
        list.force(address(1), true);
        let questions = [Question::Positive, Question::Negative, Question::Address(address(1))];
        let say = |list: &List| questions.map(|question| list.answer(question, at(0)));
        let code = |octets: [u8; 4]| DnsOutcome::Addresses(vec![octets.into()]);
        let well = [code([127, 0, 0, 3]), DnsOutcome::NxDomain, code([127, 0, 0, 3])];
        assert_eq!(say(&list), well);
        for (how, answer, believed) in [
            (Death::Loud, code([127, 0, 0, 2]), true),
            (Death::Parked, code([203, 0, 113, 80]), true),
            (Death::Refusing, code([127, 255, 255, 254]), true),
            (Death::Silent, DnsOutcome::NxDomain, false),
            (Death::Unreachable, DnsOutcome::Timeout, false),
        ] {
            for believe in [true, false] {
                list.die(Some((how, believe)));
                assert_eq!(say(&list), [answer.clone(), answer.clone(), answer.clone()], "{how:?}");
                let refused = [1, 9].map(|last| list.is_believed_to_list(address(last), at(0)));
                assert_eq!(refused, [believed && believe; 2], "{how:?}");
            }
        }
        list.die(None);
        assert_eq!(say(&list), well, "and is well again");
        assert!(list.is_believed_to_list(address(1), at(0)) && !list.is_believed_to_list(address(9), at(0)));
    }
}
