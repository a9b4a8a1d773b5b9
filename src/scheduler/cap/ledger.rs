//! The count of today, per key.
//!
//! ```text
//!   0 ─────── used ─────── + reserved ────────── granted ─────────────────── limit
//!     accepted, for good     leases on the wire    free: may be reserved       may still be granted
//! ```
//!
//! Three rules keep the cap whatever happens:
//!
//! - A reservation is made only where used + reserved + carried + n ≤ min(granted, limit).
//! - `granted` grows only when the grant is durable; after a crash everything granted counts as used.
//! - The day never goes back. A clock that was set back keeps the later day and its count. The exception is a day more
//!   than [`FAR`] days ahead, which proves that the clock was wrong before: then today's count starts with what that day had.
//!
//! A lease that is on the wire at midnight may be accepted on either side of it, and nobody can know. So it counts
//! against both days: it was reserved from yesterday's allowance, and is *carried* into today's until it is settled. The
//! first grants of a day are asked for with its first moment and cover what is carried, also where that is the whole
//! limit; a crash before they are on disk forgets it, which is the one gap (as long as one write).
//!
//! Keys without a cap are counted as well (limit [`Ledger::UNLIMITED`]), without grants: a cap set at noon then knows
//! the morning. Blocks are 1 % of the limit and are asked for when less than half of one is free; a key that is met
//! empty asks for twice as much the next time, up to 5 % of the limit, so that a small cap does not wait for the disk at
//! each recipient.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Calendar, Day, GrantFact, GrantRequest};
use crate::clock::Wall;
use crate::config::Pace;
use crate::message::{BindingName, ProviderName, TenantName};

/// Days ahead of today from which a recorded day is taken for the work of a wrong clock.
const FAR: i32 = 2;

/// How long a key waits after its grant could not be written.
const RETRY: Duration = Duration::from_secs(1);

/// Dense number of a key in the ledger; stays the same for the life of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AccountId(u32);

/// Whose allowance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The binding's.
    Binding(BindingName),
    /// The binding's towards a provider.
    Route(BindingName, ProviderName),
    /// The tenant's.
    Tenant(TenantName),
    /// The tenant's towards a provider.
    TenantRoute(TenantName, ProviderName),
}

impl fmt::Display for Owner {
    /// The key text of facts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Binding(binding) => write!(f, "binding/{binding}"),
            Self::Route(binding, provider) => write!(f, "route/{binding}/{provider}"),
            Self::Tenant(tenant) => write!(f, "tenant/{tenant}"),
            Self::TenantRoute(tenant, provider) => write!(f, "tenant-route/{tenant}/{provider}"),
        }
    }
}

/// Recipients of a block below which a small cap would wait for the disk at every message, and lose its turns to others
/// meanwhile. A crash costs a small cap at most this and half as much again, and never a fifth twice.
const BLOCK_MIN: u64 = 16;

/// One key's count.
#[derive(Clone, Debug)]
pub struct Account {
    key: Arc<str>,
    owner: Option<Owner>,
    limit: u64,
    used: u64,
    reserved: u64,
    carried: u64,
    granted: u64,
    /// Total asked for and not yet durable.
    pending: Option<u64>,
    retry_at: Option<Wall>,
    /// The authority has no more for us today (other holders have it).
    short: bool,
    /// Doublings of the block.
    boost: u32,
}

/// What can be had from an account now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// This many recipients, at least 1.
    Free(u64),
    /// None until more is granted, which may be asked for.
    Askable,
    /// None until a grant that was asked for is durable (or its failure is forgotten).
    Pending,
    /// None today, unless a lease is given back.
    Exhausted,
}

/// Part of an account held by a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a reservation is held until it is settled"]
pub struct Reservation {
    account: AccountId,
    recipients: u32,
    era: u32,
}

impl Account {
    /// Most recipients of the day; [`Ledger::UNLIMITED`] without a cap.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Whose it is; `None` while the configuration does not name it.
    pub fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    /// Accepted today.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Held by leases, those from before midnight included.
    pub fn reserved(&self) -> u64 {
        self.reserved + self.carried
    }

    /// Durably granted for today.
    pub fn granted(&self) -> u64 {
        self.granted
    }

    /// Part of the limit that is used or held, as a fraction of 2⁶⁴; of `otherwise` without a limit.
    pub fn share_of(&self, otherwise: u64) -> u64 {
        let limit = if self.limit == Ledger::UNLIMITED { otherwise } else { self.limit };
        if limit == Ledger::UNLIMITED {
            return 0;
        }
        let share = (u128::from(self.taken()) << 64) / u128::from(limit.max(1));
        u64::try_from(share).unwrap_or(u64::MAX)
    }

    fn taken(&self) -> u64 {
        self.used + self.reserved + self.carried
    }

    /// Nothing was granted today, or less than is counted.
    fn is_unwritten(&self) -> bool {
        self.granted == 0 || self.granted < self.taken()
    }

    fn free(&self) -> u64 {
        if self.limit == Ledger::UNLIMITED {
            return u64::MAX;
        }
        self.granted.min(self.limit).saturating_sub(self.taken())
    }

    fn block(&self) -> u64 {
        let base = (self.limit / 100).max(BLOCK_MIN.min(self.limit / 5)).max(1);
        (base << self.boost.min(16)).min((self.limit / 20).max(base))
    }
}

/// All keys of one calendar.
#[derive(Clone, Debug)]
pub struct Ledger {
    calendar: Calendar,
    day: Day,
    /// Grows with each new day; tells reservations of today from older ones.
    era: u32,
    accounts: Vec<Account>,
    by_key: HashMap<Arc<str>, AccountId>,
    requests: Vec<AccountId>,
}

impl Ledger {
    /// The limit of a key without a cap.
    pub const UNLIMITED: u64 = u64::MAX;

    /// A ledger at `wall` that knows what was granted before. Keys of `facts` are kept, also those the configuration no
    /// longer names: they may come back today.
    pub fn new(calendar: Calendar, facts: &[GrantFact], wall: Wall) -> Self {
        let today = calendar.day(wall);
        let latest = facts.iter().map(|fact| fact.day).filter(|&day| !is_far(day, today.date)).max();
        let day = match latest {
            Some(date) if date > today.date => calendar.on(date),
            _ => today,
        };
        let mut ledger =
            Self { calendar, day, era: 0, accounts: Vec::new(), by_key: HashMap::new(), requests: Vec::new() };
        for fact in facts {
            let id = ledger.intern(&fact.key);
            if fact.day == day.date || is_far(fact.day, today.date) {
                let account = &mut ledger.accounts[id.0 as usize];
                account.granted = account.granted.max(fact.granted);
                account.used = account.granted;
            }
        }
        ledger
    }

    /// The present day.
    pub fn day(&self) -> Day {
        self.day
    }

    /// One key's count.
    pub fn account(&self, id: AccountId) -> &Account {
        &self.accounts[id.0 as usize]
    }

    /// All keys that have an owner.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.iter().filter(|account| account.owner.is_some())
    }

    /// The key of `owner`, with `limit` from now on; what was counted stays counted.
    pub fn open(&mut self, owner: Owner, limit: u64) -> AccountId {
        let id = self.intern(&owner.to_string());
        self.accounts[id.0 as usize].owner = Some(owner);
        self.set_limit(id, limit);
        id
    }

    /// Changes a limit and keeps the count.
    pub fn set_limit(&mut self, id: AccountId, limit: u64) {
        let account = &mut self.accounts[id.0 as usize];
        if account.limit != limit {
            account.limit = limit;
            account.short = false;
        }
    }

    /// Changes what a day is and keeps the count: if the new calendar has an earlier date now, the later one stays.
    pub fn set_calendar(&mut self, calendar: Calendar, wall: Wall) {
        self.calendar = calendar;
        self.day = self.calendar.on(self.day.date);
        self.roll(wall);
    }

    /// Starts a new day when `wall` has reached one. Returns whether it did; limits that depend on the day must be set
    /// again then.
    pub fn roll(&mut self, wall: Wall) -> bool {
        if self.day.contains(wall) {
            return false;
        }
        let today = self.calendar.day(wall);
        if today.date < self.day.date {
            if !is_far(self.day.date, today.date) {
                return false;
            }
            self.day = today;
            self.requests.clear();
            for account in &mut self.accounts {
                (account.pending, account.retry_at) = (None, None);
            }
            return true;
        }
        let same = today.date == self.day.date;
        self.day = today;
        if same {
            return false;
        }
        self.era = self.era.wrapping_add(1);
        self.requests.clear();
        for account in &mut self.accounts {
            account.carried += account.reserved;
            (account.used, account.reserved, account.granted) = (0, 0, 0);
            (account.pending, account.retry_at, account.short, account.boost) = (None, None, false, 0);
        }
        true
    }

    /// What can be had from `id` now.
    pub fn room(&self, id: AccountId, wall: Wall) -> Room {
        let account = self.account(id);
        match account.free() {
            0 => {}
            free => return Room::Free(free),
        }
        if account.taken() >= account.limit || account.short {
            Room::Exhausted
        } else if account.pending.is_some() || account.retry_at.is_some_and(|at| wall < at) {
            Room::Pending
        } else {
            Room::Askable
        }
    }

    /// Asks for a first block of every key that has a cap and nothing granted, so that the day does not begin with a wait,
    /// and for what was carried over midnight or counted before there was a cap, so that a crash does not forget it.
    pub fn ask_for_first(&mut self) {
        for id in (0..self.accounts.len() as u32).map(AccountId) {
            let account = self.account(id);
            if account.owner.is_some() && account.limit != Self::UNLIMITED && account.is_unwritten() {
                self.ask(id, 1);
            }
        }
    }

    /// Asks for more, for a key that was met [`Room::Askable`] by a request for `recipients`.
    pub fn want(&mut self, id: AccountId, recipients: u32) {
        let account = &mut self.accounts[id.0 as usize];
        account.boost += u32::from(account.granted > 0 && account.boost < 16);
        self.ask(id, u64::from(recipients));
    }

    /// Asks ahead for a key that had less free than the `recipients` of a request, so that the next one is whole.
    pub fn foresee(&mut self, id: AccountId, recipients: u32) {
        self.ask(id, u64::from(recipients));
    }

    fn ask(&mut self, id: AccountId, least: u64) {
        let account = &mut self.accounts[id.0 as usize];
        let held = account.granted.max(account.taken());
        let is_full = held >= account.limit && account.granted >= account.taken();
        if account.pending.is_some() || account.short || is_full {
            return;
        }
        let wanted = held.saturating_add(account.block().max(least)).min(account.limit);
        account.pending = Some(wanted.max(held));
        self.requests.push(id);
    }

    /// Reserves up to `recipients`: as many as are free, at least 1. `None` when there is no [`Room::Free`].
    pub fn reserve(&mut self, id: AccountId, recipients: u32) -> Option<Reservation> {
        let account = &mut self.accounts[id.0 as usize];
        let taken = account.free().min(u64::from(recipients));
        if taken == 0 {
            return None;
        }
        account.reserved += taken;
        if account.limit != Self::UNLIMITED && account.free().saturating_mul(2) < account.block() {
            self.ask(id, 1);
        }
        // `taken` is at most `recipients`, a u32.
        Some(Reservation { account: id, recipients: taken as u32, era: self.era })
    }

    /// Ends a reservation: `accepted` of its recipients count, the rest is given back.
    pub fn settle(&mut self, reservation: Reservation, accepted: u32) {
        let account = &mut self.accounts[reservation.account.0 as usize];
        let held = if reservation.era == self.era { &mut account.reserved } else { &mut account.carried };
        *held = held.saturating_sub(u64::from(reservation.recipients));
        account.used += u64::from(accepted.min(reservation.recipients));
    }

    /// Requests that have to be made durable, each handed out once.
    pub fn take_requests(&mut self) -> Vec<GrantRequest> {
        let ids = std::mem::take(&mut self.requests);
        let request = |id: AccountId| {
            let account = self.account(id);
            account.pending.map(|granted| GrantRequest { key: account.key.to_string(), day: self.day.date, granted })
        };
        ids.into_iter().filter_map(request).collect()
    }

    /// `grant` is durable: its allowance may be spent. An authority that had less than was asked for passes what it
    /// gave. Returns the key it was for.
    pub fn granted(&mut self, grant: &GrantFact) -> Option<AccountId> {
        let id = self.waiting_for(grant)?;
        let account = &mut self.accounts[id.0 as usize];
        account.short = account.pending.take().is_some_and(|asked| grant.granted < asked);
        account.granted = account.granted.max(grant.granted);
        Some(id)
    }

    /// `request` could not be made durable; it is asked for again after a second. Returns the key it was for.
    pub fn failed(&mut self, request: &GrantRequest, wall: Wall) -> Option<AccountId> {
        let id = self.waiting_for(request)?;
        let account = &mut self.accounts[id.0 as usize];
        account.pending = None;
        account.retry_at = Some(wall.plus(RETRY));
        Some(id)
    }

    fn waiting_for(&self, grant: &GrantFact) -> Option<AccountId> {
        let id = *self.by_key.get(grant.key.as_str())?;
        (grant.day == self.day.date && self.account(id).pending.is_some()).then_some(id)
    }

    /// When a [`Room::Pending`] key may be asked again although nothing was written.
    pub fn retry_at(&self, id: AccountId) -> Option<Wall> {
        self.account(id).retry_at
    }

    /// Facts that say exactly what is used (and held) today: written over the older ones at a clean stop, they give the
    /// unspent grants back. Keys of which nothing was granted or used today keep the fact they have.
    pub fn exact(&self) -> Vec<GrantFact> {
        let fact = |account: &Account| GrantFact {
            key: account.key.to_string(),
            day: self.day.date,
            granted: account.taken(),
        };
        self.accounts.iter().filter(|account| account.granted.max(account.taken()) > 0).map(fact).collect()
    }

    /// How many recipients fit now when the limit is spread evenly over the day (at most what the limit allows, a small
    /// burst ahead of the pace), and else when the next one does.
    pub fn paced(&self, id: AccountId, pace: Pace, wall: Wall) -> Result<u64, Wall> {
        if pace == Pace::None {
            return Ok(u64::MAX);
        }
        let account = self.account(id);
        if account.limit == Self::UNLIMITED {
            return Ok(u64::MAX);
        }
        let limit = u128::from(account.limit);
        let length = self.day.end.since(self.day.start).as_millis().max(1);
        let elapsed = wall.since(self.day.start).as_millis().min(length);
        let burst = (limit / 1000).max(1);
        let allowed = (limit * elapsed / length + burst).min(limit);
        let taken = u128::from(account.taken());
        if taken < allowed {
            return Ok(u64::try_from(allowed - taken).unwrap_or(u64::MAX));
        }
        let due = ((taken + 1).saturating_sub(burst) * length).div_ceil(limit.max(1));
        let due = Duration::from_millis(u64::try_from(due).unwrap_or(u64::MAX));
        Err(self.day.start.plus(due).min(self.day.end))
    }

    fn intern(&mut self, key: &str) -> AccountId {
        if let Some(&id) = self.by_key.get(key) {
            return id;
        }
        // Keys come from the configuration and its facts: far fewer than 2³².
        let id = AccountId(self.accounts.len() as u32);
        let key: Arc<str> = key.into();
        self.accounts.push(Account {
            key: key.clone(),
            owner: None,
            limit: 0,
            used: 0,
            reserved: 0,
            carried: 0,
            granted: 0,
            pending: None,
            retry_at: None,
            short: false,
            boost: 0,
        });
        self.by_key.insert(key, id);
        id
    }
}

/// Whether `day` is too far ahead of `today` to have been recorded by a clock that was right.
fn is_far(day: jiff::civil::Date, today: jiff::civil::Date) -> bool {
    day.since(today).map_or(day > today, |span| span.get_days() > FAR)
}

#[cfg(test)]
mod tests {
    use super::super::{Grants, MemoryGrants};
    use super::*;
    use jiff::civil::{Time, date};
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(text: &str) -> Wall {
        Wall::from(text.parse::<jiff::Timestamp>().expect("timestamp"))
    }

    fn berlin() -> Calendar {
        let timezone = jiff::tz::TimeZone::get("Europe/Berlin").expect("zone");
        Calendar::new(&crate::config::Day { timezone, starts: Time::midnight() })
    }

    fn noon() -> Wall {
        at("2026-05-20T10:00:00Z")
    }

    fn owner() -> Owner {
        Owner::Binding("mta1".into())
    }

    fn opened(limit: u64) -> (Ledger, AccountId) {
        let mut ledger = Ledger::new(berlin(), &[], noon());
        let id = ledger.open(owner(), limit);
        (ledger, id)
    }

    /// Makes every request durable.
    fn grant(ledger: &mut Ledger) {
        for request in ledger.take_requests() {
            ledger.granted(&request);
        }
    }

    fn reserve(ledger: &mut Ledger, id: AccountId, recipients: u32) -> Option<Reservation> {
        grant(ledger);
        if ledger.room(id, noon()) == Room::Askable {
            ledger.want(id, recipients);
            grant(ledger);
        }
        ledger.reserve(id, recipients)
    }

    #[test]
    fn a_reservation_is_partial_and_the_cap_is_the_end() {
        let (mut ledger, id) = opened(10);
        ledger.want(id, 10);
        let first = reserve(&mut ledger, id, 7).expect("room");
        let second = reserve(&mut ledger, id, 7).expect("room");
        assert_eq!((first.recipients, second.recipients), (7, 3));
        assert_eq!(ledger.room(id, noon()), Room::Exhausted);
        ledger.settle(first, 5);
        assert_eq!(ledger.room(id, noon()), Room::Free(2), "what was not accepted is given back");
        ledger.settle(second, 3);
        assert_eq!((ledger.account(id).used(), ledger.account(id).reserved()), (8, 0));
    }

    #[test]
    fn nothing_is_spent_before_it_is_durable() {
        let (mut ledger, id) = opened(1_000);
        assert_eq!(ledger.room(id, noon()), Room::Askable);
        assert_eq!(ledger.reserve(id, 1), None);
        ledger.want(id, 3);
        let requests = ledger.take_requests();
        assert_eq!(requests.iter().map(|r| (r.key.as_str(), r.granted)).collect::<Vec<_>>(), [("binding/mta1", 16)]);
        assert_eq!(ledger.room(id, noon()), Room::Pending);
        assert_eq!(ledger.reserve(id, 1), None);
        assert!(ledger.take_requests().is_empty(), "handed out once");
        ledger.granted(&requests[0]);
        assert_eq!(ledger.room(id, noon()), Room::Free(16));
    }

    #[test]
    fn the_next_block_is_asked_for_before_the_last_is_gone_and_a_large_request_gets_what_it_needs() {
        let (mut ledger, id) = opened(10_000);
        ledger.want(id, 1);
        grant(&mut ledger);
        let held: Vec<_> = (0..51).map(|_| ledger.reserve(id, 1).expect("room")).collect();
        let requests = ledger.take_requests();
        assert_eq!(requests[0].granted, 200);
        ledger.granted(&requests[0]);
        held.into_iter().for_each(|reservation| ledger.settle(reservation, 1));
        let mut other = opened(10_000);
        other.0.want(other.1, 700);
        assert_eq!(other.0.take_requests()[0].granted, 700);
    }

    #[test]
    fn a_failed_grant_is_asked_for_again_after_a_second() {
        let (mut ledger, id) = opened(100);
        ledger.want(id, 1);
        let request = ledger.take_requests().remove(0);
        ledger.failed(&request, noon());
        assert_eq!(ledger.room(id, noon()), Room::Pending);
        assert_eq!(ledger.room(id, noon().plus(RETRY)), Room::Askable);
        ledger.want(id, 1);
        assert_eq!(ledger.take_requests(), [request]);
    }

    #[test]
    fn a_new_day_starts_at_zero_and_keeps_leases_of_the_night_in_both() {
        let (mut ledger, id) = opened(10);
        let over_midnight = reserve(&mut ledger, id, 4).expect("room");
        let midnight = at("2026-05-20T22:00:00Z");
        assert_eq!(ledger.day().end, midnight);
        assert!(!ledger.roll(Wall::from_millis(midnight.as_millis() - 1)));
        assert!(ledger.roll(midnight));
        assert_eq!(ledger.day().date, date(2026, 5, 21));
        let rest = reserve(&mut ledger, id, 10).expect("room");
        assert_eq!(rest.recipients, 6, "four may still be accepted today");
        ledger.settle(over_midnight, 1);
        assert_eq!((ledger.account(id).used(), ledger.room(id, midnight)), (1, Room::Free(3)));
        ledger.settle(rest, 6);
        assert_eq!((ledger.account(id).used(), ledger.account(id).reserved()), (7, 0));
    }

    #[test]
    fn a_grant_of_yesterday_that_arrives_today_gives_nothing() {
        let (mut ledger, id) = opened(10);
        ledger.want(id, 10);
        let late = ledger.take_requests().remove(0);
        ledger.roll(noon().plus(24 * HOUR));
        assert_eq!(ledger.granted(&late), None);
        assert_eq!(ledger.room(id, noon()), Room::Askable);
    }

    #[test]
    fn a_clock_set_back_never_gives_allowance_twice() {
        let (mut ledger, id) = opened(10);
        ledger.roll(noon().plus(24 * HOUR));
        let all = reserve(&mut ledger, id, 10).expect("room");
        ledger.settle(all, 10);
        for back in [noon(), noon().plus(24 * HOUR)] {
            assert!(!ledger.roll(back));
            assert_eq!(ledger.room(id, back), Room::Exhausted);
        }
        // Restarted while the clock is back.
        let facts = [GrantFact { key: "binding/mta1".into(), day: date(2026, 5, 21), granted: 10 }];
        let mut again = Ledger::new(berlin(), &facts, noon());
        let id = again.open(owner(), 10);
        assert_eq!((again.day().date, again.room(id, noon())), (date(2026, 5, 21), Room::Exhausted));
    }

    #[test]
    fn a_day_recorded_by_a_clock_that_was_years_ahead_counts_today_and_then_no_more() {
        let facts = [GrantFact { key: "binding/mta1".into(), day: date(2037, 1, 1), granted: 10 }];
        let mut ledger = Ledger::new(berlin(), &facts, noon());
        let id = ledger.open(owner(), 10);
        assert_eq!((ledger.day().date, ledger.room(id, noon())), (date(2026, 5, 20), Room::Exhausted));
        assert!(ledger.roll(noon().plus(24 * HOUR)));
        assert_eq!(ledger.room(id, noon()), Room::Askable);
        // The same without a restart.
        assert!(ledger.roll(at("2037-01-01T12:00:00Z")));
        let all = reserve(&mut ledger, id, 10).expect("room");
        ledger.settle(all, 10);
        assert!(ledger.roll(noon().plus(24 * HOUR)));
        assert_eq!(ledger.room(id, noon()), Room::Exhausted);
        assert!(ledger.roll(noon().plus(48 * HOUR)));
        assert_eq!(ledger.room(id, noon()), Room::Askable);
    }

    #[test]
    fn after_a_crash_everything_granted_counts_and_after_a_clean_stop_only_what_was_used() {
        let (mut ledger, id) = opened(1_000);
        let some = reserve(&mut ledger, id, 3).expect("room");
        ledger.settle(some, 3);
        let fact = |granted| GrantFact { key: "binding/mta1".into(), day: date(2026, 5, 20), granted };
        for (facts, used) in [(vec![fact(10)], 10), (ledger.exact(), 3)] {
            let mut again = Ledger::new(berlin(), &facts, noon());
            let id = again.open(owner(), 1_000);
            assert_eq!(again.account(id).used(), used);
        }
    }

    #[test]
    fn what_fills_the_new_day_from_midnight_on_is_known_after_a_restart() {
        let midnight = at("2026-05-20T22:00:00Z");
        for is_clean in [true, false] {
            let (mut ledger, id) = opened(10);
            ledger.want(id, 10);
            let all = reserve(&mut ledger, id, 10).expect("room");
            ledger.roll(midnight);
            ledger.ask_for_first();
            let written = ledger.take_requests();
            assert_eq!(written[0].granted, 10, "nothing is free, and yet it has to be written");
            ledger.granted(&written[0]);
            ledger.settle(all, 10);
            let facts = if is_clean { ledger.exact() } else { written };
            let mut again = Ledger::new(berlin(), &facts, midnight);
            let id = again.open(owner(), 10);
            assert_eq!(again.room(id, midnight), Room::Exhausted, "clean: {is_clean}");
        }
    }

    #[test]
    fn what_was_sent_before_there_was_a_cap_is_written_with_it() {
        let (mut ledger, id) = opened(Ledger::UNLIMITED);
        let many = ledger.reserve(id, 600).expect("no cap");
        ledger.settle(many, 600);
        ledger.ask_for_first();
        assert!(ledger.take_requests().is_empty(), "no cap, no grants");
        ledger.set_limit(id, 500);
        ledger.ask_for_first();
        let facts = ledger.take_requests();
        let mut again = Ledger::new(berlin(), &facts, noon());
        let id = again.open(owner(), 500);
        assert_eq!((again.account(id).used(), again.room(id, noon())), (600, Room::Exhausted));
    }

    #[test]
    fn a_changed_cap_keeps_the_count_also_where_there_was_none() {
        let (mut ledger, id) = opened(Ledger::UNLIMITED);
        let many = ledger.reserve(id, 600).expect("no cap");
        ledger.settle(many, 600);
        assert!(ledger.take_requests().is_empty(), "no cap, no grants");
        ledger.set_limit(id, 1_000);
        ledger.want(id, 1_000);
        assert_eq!(reserve(&mut ledger, id, 1_000).expect("room").recipients, 400);
        let (mut ledger, id) = opened(100);
        let some = reserve(&mut ledger, id, 60).expect("room");
        ledger.settle(some, 60);
        ledger.set_limit(id, 50);
        assert_eq!(ledger.room(id, noon()), Room::Exhausted);
        ledger.set_limit(id, 70);
        let rest: u32 =
            std::iter::from_fn(|| reserve(&mut ledger, id, 99)).map(|reservation| reservation.recipients).sum();
        assert_eq!(rest, 10);
    }

    #[test]
    fn a_key_met_empty_asks_for_larger_blocks_up_to_a_twentieth() {
        let (mut ledger, id) = opened(10_000);
        let mut sizes = Vec::new();
        for _ in 0..6 {
            let before = ledger.account(id).granted();
            if ledger.room(id, noon()) == Room::Askable {
                ledger.want(id, 1);
            }
            grant(&mut ledger);
            sizes.push(ledger.account(id).granted() - before);
            while let Room::Free(free) = ledger.room(id, noon()) {
                let _ = ledger.reserve(id, free as u32);
                ledger.take_requests();
                ledger.accounts[0].pending = None;
            }
        }
        assert_eq!(sizes, [100, 200, 400, 500, 500, 500]);
    }

    #[test]
    fn even_pace_follows_the_part_of_the_day_that_has_passed() {
        let (mut ledger, id) = opened(2_400);
        // 12:00 of a day of 24 hours: half of it, and a burst of 2.
        assert_eq!(ledger.paced(id, Pace::Even, noon()), Ok(1_202));
        ledger.want(id, 2_400);
        grant(&mut ledger);
        let taken = ledger.reserve(id, 1_202).expect("room");
        ledger.settle(taken, 1_202);
        let next = ledger.paced(id, Pace::Even, noon()).expect_err("ahead");
        assert_eq!(next, noon().plus(HOUR / 100));
        assert_eq!(ledger.paced(id, Pace::Even, next), Ok(1));
        assert_eq!(ledger.paced(id, Pace::Even, ledger.day().end), Ok(1_198));
        let (ledger, id) = opened(Ledger::UNLIMITED);
        assert_eq!(ledger.paced(id, Pace::Even, noon()), Ok(u64::MAX));
    }

    #[test]
    fn two_nodes_on_one_store_never_exceed_the_cap_together() {
        let mut store = MemoryGrants::default();
        let mut nodes = [opened(100), opened(100)];
        let mut accepted = 0;
        for round in 0..400usize {
            let (ledger, id) = &mut nodes[round % 3 % 2];
            if ledger.room(*id, noon()) == Room::Askable {
                ledger.want(*id, 3);
            }
            for mut request in ledger.take_requests() {
                request.granted =
                    store.raise(["a", "b"][round % 3 % 2], 100, &request).unwrap_or_else(|never| match never {});
                ledger.granted(&request);
            }
            if let Some(reservation) = ledger.reserve(*id, 3) {
                accepted += reservation.recipients;
                ledger.settle(reservation, 3);
            }
        }
        assert_eq!(accepted, 100);
        assert!(nodes.iter().all(|(ledger, id)| ledger.room(*id, noon()) == Room::Exhausted));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Reserve(u32),
        Settle(usize, u32),
        Durable,
        Failed,
        Crash,
        CleanStop,
        Pass(u64),
        SetBack(u64),
        Limit(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (1u32..60).prop_map(Step::Reserve),
            6 => (0usize..8, 0u32..60).prop_map(|(which, n)| Step::Settle(which, n)),
            6 => Just(Step::Durable),
            1 => Just(Step::Failed),
            1 => Just(Step::Crash),
            1 => Just(Step::CleanStop),
            2 => (0u64..20).prop_map(Step::Pass),
            1 => (0u64..20).prop_map(Step::SetBack),
            1 => (0u64..300).prop_map(Step::Limit),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// The receiver counts by the ledger's day at the moment of acceptance, and may accept what was on the wire in a
        /// crash; a lowered cap binds from then on. Disk is what it is: the last fact written of the key. Of a new day
        /// that began with leases on the wire the first grant is on disk before anything else happens (see the header).
        #[test]
        fn no_day_ever_sees_more_than_its_cap(steps in prop::collection::vec(step(), 1..150), first in 1u64..300) {
            let mut disk: HashMap<String, GrantFact> = HashMap::new();
            let mut limit = first;
            let mut wall = noon();
            let mut latest = wall;
            let mut ledger = Ledger::new(berlin(), &[], wall);
            let mut id = ledger.open(owner(), limit);
            ledger.ask_for_first();
            let mut highest = HashMap::from([(ledger.day().date, limit)]);
            let mut held: Vec<Reservation> = Vec::new();
            let mut accepted: HashMap<jiff::civil::Date, u64> = HashMap::new();
            let settle = |ledger: &mut Ledger, accepted: &mut HashMap<_, u64>, reservation: Reservation, n: u32| {
                *accepted.entry(ledger.day().date).or_default() += u64::from(n.min(reservation.recipients));
                ledger.settle(reservation, n);
            };
            let write = |ledger: &mut Ledger, disk: &mut HashMap<_, _>| {
                for request in ledger.take_requests() {
                    disk.insert(request.key.clone(), request.clone());
                    ledger.granted(&request);
                }
            };
            for step in steps {
                match step {
                    Step::Reserve(n) => {
                        if ledger.room(id, wall) == Room::Askable {
                            ledger.want(id, n);
                        }
                        held.extend(ledger.reserve(id, n));
                    }
                    Step::Settle(which, n) if !held.is_empty() => {
                        let reservation = held.swap_remove(which % held.len());
                        settle(&mut ledger, &mut accepted, reservation, n);
                    }
                    Step::Settle(..) => {}
                    Step::Durable => write(&mut ledger, &mut disk),
                    Step::Failed => for request in ledger.take_requests() {
                        ledger.failed(&request, wall);
                    },
                    Step::Crash | Step::CleanStop => {
                        // Everything on the wire was accepted, unknown to us; a clean stop waits for it.
                        for reservation in held.drain(..) {
                            settle(&mut ledger, &mut accepted, reservation, u32::MAX);
                        }
                        if matches!(step, Step::CleanStop) {
                            disk.extend(ledger.exact().into_iter().map(|fact| (fact.key.clone(), fact)));
                        }
                        let facts: Vec<_> = disk.values().cloned().collect();
                        ledger = Ledger::new(berlin(), &facts, wall);
                        id = ledger.open(owner(), limit);
                        ledger.ask_for_first();
                    }
                    Step::Pass(hours) => {
                        wall = wall.plus(HOUR * hours as u32);
                        if ledger.roll(wall) {
                            ledger.ask_for_first();
                            let carried = ledger.account(id).carried;
                            if carried > 0 {
                                write(&mut ledger, &mut disk);
                            }
                            // What is on the wire cannot be called back when the limit of the new day is lower.
                            let highest = highest.entry(ledger.day().date).or_default();
                            *highest = carried.max(*highest);
                        }
                    }
                    Step::SetBack(hours) => {
                        // Not beyond the days for which the later day is believed.
                        let back = wall.as_millis() - (HOUR * hours as u32).as_millis() as i64;
                        wall = Wall::from_millis(back.max(latest.as_millis() - 40 * HOUR.as_millis() as i64));
                        ledger.roll(wall);
                    }
                    Step::Limit(to) => {
                        limit = to;
                        ledger.set_limit(id, to);
                        ledger.ask_for_first();
                    }
                }
                latest = latest.max(wall);
                let highest = highest.entry(ledger.day().date).or_default();
                *highest = limit.max(*highest);
                let account = ledger.account(id);
                prop_assert!(account.taken() <= account.granted.max(account.carried + account.used));
                prop_assert!(account.granted <= *highest);
                let today = accepted.get(&ledger.day().date).copied().unwrap_or(0);
                prop_assert!(today <= *highest, "{today} of {highest}");
            }
        }

        #[test]
        fn leases_over_midnight_stay_within_the_cap_of_both_days(
            limit in 1u64..100,
            moves in prop::collection::vec((1u32..40, 0u32..40, any::<bool>()), 1..60),
        ) {
            let (mut ledger, id) = opened(limit);
            let mut wall = noon();
            let mut held: Vec<Reservation> = Vec::new();
            let mut accepted: HashMap<jiff::civil::Date, u64> = HashMap::new();
            for (n, done, night) in moves {
                held.extend(reserve(&mut ledger, id, n));
                if held.len() > 3 {
                    let reservation = held.remove(0);
                    *accepted.entry(ledger.day().date).or_default() += u64::from(done.min(reservation.recipients));
                    ledger.settle(reservation, done);
                }
                if night {
                    wall = wall.plus(8 * HOUR);
                    ledger.roll(wall);
                }
                prop_assert!(accepted.values().all(|&n| n <= limit), "{accepted:?}");
            }
        }
    }
}
