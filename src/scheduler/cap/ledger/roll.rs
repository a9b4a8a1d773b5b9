//! From one day to the next, and what earlier runs left behind.

use std::time::Duration;

use jiff::civil::Date;

use super::{ADRIFT, AccountId, Ledger, are_far};
use crate::clock::Wall;
use crate::scheduler::cap::{Calendar, Day, GrantFact};

/// Ordinary new days after which a clock that left far can no longer return to where it was: by then that day is over as
/// well, also when the clock is set back as far as a later day is believed.
const NIGHTS: u8 = 4;

/// Days of a clock that leaps about which are remembered.
const ELSEWHEN_MAX: usize = 4;

impl Ledger {
    /// Counts what a fact of an earlier run says.
    pub(super) fn recover(&mut self, fact: &GrantFact, wall: Wall) {
        let today = self.day.date;
        let is_late = self.day.end.since(wall) <= ADRIFT;
        let id = self.intern(&fact.key);
        let count = fact.counts_on(today);
        let account = self.account_mut(id);
        account.granted = account.granted.max(count);
        account.used = account.granted;
        account.cover = fact.open;
        account.written = fact.day == today;
        if is_late {
            account.adrift = fact.open.min(count);
        }
        let here = (fact.day, if fact.day > today { 0 } else { fact.granted });
        let known = fact.others.iter().rev().copied().chain([here]);
        let far = known.filter(|(day, _)| are_far(*day, today) && *day != Date::MAX);
        let far: Vec<_> = far.take(ELSEWHEN_MAX).collect();
        if !far.is_empty() {
            self.elsewhen.insert(id, far);
        }
    }

    /// Changes what a day is and keeps the count: if the new calendar has an earlier date now, the later one stays.
    pub fn set_calendar(&mut self, calendar: Calendar, wall: Wall) {
        self.calendar = calendar;
        self.begin(self.calendar.on(self.day.date));
        self.roll(wall);
    }

    /// Starts a new day when `wall` has reached one. Returns whether it did; limits that depend on the day must be set
    /// again then.
    pub fn roll(&mut self, wall: Wall) -> bool {
        // A clock a little back (a leap second, a step of NTP) is the cheap case: it may last for hours.
        let is_little_back = wall < self.day.start && self.day.start.since(wall) < Duration::from_secs(86_400);
        if self.day.contains(wall) || is_little_back {
            self.set_back(is_little_back);
            return false;
        }
        let (today, left) = (self.calendar.day(wall), self.day);
        let is_far = are_far(today.date, left.date);
        if today.date == left.date {
            self.begin(today);
            return false;
        }
        if today.date < left.date && !is_far {
            self.set_back(true);
            return false;
        }
        let today = if is_far { self.believed(today) } else { today };
        self.begin(today);
        self.requests.clear();
        let is_known = self.elsewhen.values().flatten().any(|(day, _)| *day == today.date);
        if is_far && (today.date < left.date || is_known) {
            self.rename(left);
        } else {
            self.new_day(left, is_far);
        }
        self.set_back(wall < self.day.start);
        true
    }

    /// The day that a clock which returns from far away is believed to have: the latest that was left near it, since a clock
    /// that is a little back keeps the later day.
    fn believed(&self, today: Day) -> Day {
        let known = self.elsewhen.values().flatten().map(|(day, _)| *day);
        match known.filter(|day| *day > today.date && !are_far(*day, today.date)).max() {
            Some(later) => self.calendar.on(later),
            None => today,
        }
    }

    /// Notes whether the clock stands before the present day. Nothing of the day is spent then that is not written down as
    /// this day's: whoever starts after a crash would take the clock at its word, and the day begin a second time.
    fn set_back(&mut self, is_back: bool) {
        if !std::mem::replace(&mut self.is_back, is_back) && is_back {
            self.accounts.iter_mut().filter(|account| !account.written).for_each(|account| account.granted = 0);
        }
    }

    fn begin(&mut self, day: Day) {
        self.hours = self.calendar.hours(&day);
        self.day = day;
    }

    fn ids(&self) -> impl Iterator<Item = AccountId> + use<> {
        (0..self.accounts.len() as u32).map(AccountId)
    }

    /// Every count starts anew, with what is on the wire. If the clock leaps to get here, it may come back.
    fn new_day(&mut self, left: Day, is_leap: bool) {
        self.era = self.era.wrapping_add(1);
        self.nights = if is_leap { 0 } else { self.nights.saturating_add(1) };
        if self.nights >= NIGHTS {
            self.elsewhen.clear();
        }
        for id in self.ids() {
            let taken = self.account(id).taken();
            if is_leap && taken > 0 {
                self.leave(id, left.date, taken);
            }
            let account = self.account_mut(id);
            account.cover = account.safe_cover();
            account.carried += account.reserved;
            (account.used, account.adrift, account.reserved) = (account.adrift, 0, 0);
            account.granted = account.cover;
            (account.pending, account.retry_at, account.written) = (None, None, false);
            (account.short, account.boost) = (false, 0);
        }
    }

    /// The same count under another date, since one of the two dates was wrong; and the count of that date before, where
    /// it is known. Nothing of it may be spent before it is written down under its new name.
    fn rename(&mut self, left: Day) {
        self.nights = 0;
        for id in self.ids() {
            let today = self.day.date;
            let before = self.elsewhen.get(&id).and_then(|days| days.iter().find(|(day, _)| *day == today).copied());
            let account = self.account_mut(id);
            account.cover = account.safe_cover();
            account.used = account.used.saturating_add(before.map_or(0, |(_, count)| count));
            account.granted = 0;
            (account.pending, account.retry_at, account.written) = (None, None, false);
            account.short = false;
            if account.taken() > 0 {
                self.leave(id, left.date, 0);
            }
            if let Some(days) = self.elsewhen.get_mut(&id) {
                days.retain(|(day, _)| *day != today);
            }
        }
    }

    /// Notes what a day had (0: the present count has it), and what those had whose count was within that one.
    fn leave(&mut self, id: AccountId, date: Date, count: u64) {
        let days = self.elsewhen.entry(id).or_default();
        days.retain(|(day, _)| *day != date);
        days.iter_mut().filter(|(_, known)| *known == 0).for_each(|(_, known)| *known = count);
        days.push((date, count));
        days.drain(..days.len().saturating_sub(ELSEWHEN_MAX));
    }
}
