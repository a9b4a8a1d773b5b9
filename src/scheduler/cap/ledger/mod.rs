//! The count of today, per key.
//!
//! ```text
//!   0 ─────── used ─────── + reserved + carried ── granted ───────────────── limit
//!     accepted, for good     leases on the wire    free: may be reserved       may still be granted
//! ```
//!
//! Three rules keep the cap whatever happens:
//!
//! - A reservation is made only where used + reserved + carried + n ≤ min(granted, limit).
//! - `granted` grows only when the grant is durable; after a crash everything granted counts as used.
//! - The day never goes back. A clock that was set back keeps the later day and its count.
//!
//! **Midnight.** A lease that is on the wire at midnight may be accepted on either side of it, and nobody can know. So it
//! counts against both days: it was reserved from yesterday's allowance, and is *carried* into today's until it is
//! settled. A crash right then must not forget it, so each fact also says how much of the grant was *open* — not accepted
//! for good — when it was written, and a restart on a later day counts that as used. The invariant, at any instant:
//!
//! > reserved + carried ≤ open part of each fact that may be on disk
//!
//! needs no check of its own. When a fact is written, open = granted − used; from then on `used` only grows, and used +
//! reserved + carried ≤ granted. Hence the open part is as good as a grant for the next day, and is taken for its first
//! one: a day begins with something to spend, without a wait for the disk. What remains: leases taken while a key had *no*
//! cap are in no fact, so a cap that is set while they are on the wire knows of them after a crash only once its first
//! grant is durable (as long as one write). And the connections of a crashed process are taken to be dead after
//! [`ADRIFT`]: only what crashed closer to midnight than that counts against the next day too.
//! And what is on the wire, or was accepted, on a new day before its first write is done is forgotten where the clock is set
//! back behind midnight and a crash follows, both within the time of that write: the disk does not know yet that there was
//! such a day. Once the clock stands before the day, nothing more of it is spent until it is written down.
//!
//! **A clock far wrong.** A move of more than two days is taken for a clock that is wrong, or was. Set back so far, the
//! count goes on under the earlier date. Set forward so far it is a new day; the count of the day that was left is kept
//! aside (also in the facts) for four days, and counts again when the clock returns to it. So neither a start with a clock
//! at 1970 nor one at 2037 gives today's allowance twice. (A clock that is set back by three days or more onto a date lived
//! through before gives that date a second time: it is still the count of the real day that goes on, under a wrong name.)
//!
//! Keys without a cap are counted as well (limit [`Ledger::UNLIMITED`]), without grants: a cap set at noon then knows
//! the morning.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;

use super::account::Account;
use super::fact::are_far;
use super::{Calendar, Day, GrantFact, GrantRequest, Hours, Owner, pace};
use crate::clock::Wall;
use crate::config::Pace;

mod roll;

/// How long a key waits after its grant could not be written.
const RETRY: Duration = Duration::from_secs(1);

/// How long after a crash a receiver may still accept what was on the wire. Clients wait ten minutes for the reply to the
/// final dot (RFC 5321, 4.5.3.2.6); this is six times that.
pub const ADRIFT: Duration = Duration::from_secs(3600);

/// Dense number of a key in the ledger; stays the same for the life of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AccountId(u32);

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

/// All keys of one calendar.
#[derive(Clone, Debug)]
pub struct Ledger {
    calendar: Calendar,
    day: Day,
    hours: Hours,
    /// Grows with each new day; tells reservations of today from older ones.
    era: u32,
    accounts: Vec<Account>,
    by_key: HashMap<Arc<str>, AccountId>,
    requests: Vec<AccountId>,
    /// Counts of days far away that the clock may return to. 0: that day's is within the present count.
    elsewhen: HashMap<AccountId, Vec<(Date, u64)>>,
    /// Ordinary new days since that was noted.
    nights: u8,
    /// The clock stands before the present day.
    is_back: bool,
}

impl Ledger {
    /// The limit of a key without a cap.
    pub const UNLIMITED: u64 = u64::MAX;

    /// A ledger at `wall` that knows what was granted before. Keys of `facts` are kept, also those the configuration no
    /// longer names: they may come back today.
    pub fn new(calendar: Calendar, facts: &[GrantFact], wall: Wall) -> Self {
        let today = calendar.day(wall);
        let days = facts.iter().flat_map(|fact| fact.others.iter().map(|(day, _)| *day).chain([fact.day]));
        let day = match days.filter(|&day| !are_far(day, today.date)).max() {
            Some(date) if date > today.date => calendar.on(date),
            _ => today,
        };
        let hours = calendar.hours(&day);
        let mut ledger = Self {
            calendar,
            day,
            hours,
            era: 0,
            accounts: Vec::new(),
            by_key: HashMap::new(),
            requests: Vec::new(),
            elsewhen: HashMap::new(),
            nights: 0,
            is_back: false,
        };
        for fact in facts {
            ledger.recover(fact, wall);
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

    fn account_mut(&mut self, id: AccountId) -> &mut Account {
        &mut self.accounts[id.0 as usize]
    }

    /// All keys that have an owner.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.iter().filter(|account| account.owner.is_some())
    }

    /// The key of `owner`, with `limit` from now on; what was counted stays counted.
    pub fn open(&mut self, owner: Owner, limit: u64) -> AccountId {
        let key = owner.to_string();
        let id = match self.by_key.get(key.as_str()) {
            Some(&id) => id,
            None => {
                let former = owner.former_key().and_then(|key| self.by_key.get(key.as_str()).copied());
                let used = former.map_or(0, |id| self.account(id).granted.max(self.account(id).taken()));
                let id = self.intern(&key);
                (self.account_mut(id).used, self.account_mut(id).granted) = (used, used);
                id
            }
        };
        self.account_mut(id).owner = Some(owner);
        self.set_limit(id, limit);
        id
    }

    /// Before another configuration is taken over: only keys that it [opens](Self::open) have an owner again, and nothing
    /// is asked for the others. Their counts stay.
    pub fn disown(&mut self) {
        self.accounts.iter_mut().for_each(|account| account.owner = None);
    }

    /// Changes a limit and keeps the count.
    pub fn set_limit(&mut self, id: AccountId, limit: u64) {
        let account = self.account_mut(id);
        if account.limit != limit {
            account.limit = limit;
            account.short = false;
        }
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

    /// Asks for a first block of every key that has a cap and no fact of today, so that the day does not begin with a wait,
    /// and for what was counted before there was a cap, so that a crash does not forget it.
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
        let account = self.account_mut(id);
        account.boost += u32::from(account.granted > 0 && account.boost < 16);
        self.ask(id, u64::from(recipients));
    }

    /// Asks ahead for a key about to serve a request for `recipients`, where less than this and two more like it are free:
    /// large messages shall neither be cut up nor lose turns to the disk. Up to a fifth of the limit, if one needs no more.
    pub fn foresee(&mut self, id: AccountId, recipients: u32) {
        let account = self.account(id);
        let one = u64::from(recipients);
        let least = one.max(one.saturating_mul(3).min(account.limit / 5));
        if account.free() < least {
            self.ask(id, least);
        }
    }

    fn ask(&mut self, id: AccountId, least: u64) {
        let account = self.account_mut(id);
        if account.pending.is_none()
            && !account.short
            && let Some(asked) = account.next(least)
        {
            account.pending = Some(asked);
            self.requests.push(id);
        }
    }

    /// Reserves up to `recipients`: as many as are free, at least 1. `None` when there is no [`Room::Free`].
    pub fn reserve(&mut self, id: AccountId, recipients: u32) -> Option<Reservation> {
        let account = self.account_mut(id);
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
        let is_todays = reservation.era == self.era;
        let account = self.account_mut(reservation.account);
        let held = if is_todays { &mut account.reserved } else { &mut account.carried };
        *held = held.saturating_sub(u64::from(reservation.recipients));
        account.used = account.used.saturating_add(u64::from(accepted.min(reservation.recipients)));
    }

    /// Requests that have to be made durable, each handed out once.
    pub fn take_requests(&mut self) -> Vec<GrantRequest> {
        let ids = std::mem::take(&mut self.requests);
        let request = |id: AccountId| {
            let asked = self.account(id).pending?;
            Some(GrantRequest { granted: asked.granted, open: asked.open, ..self.fact(id) })
        };
        ids.into_iter().filter_map(request).collect()
    }

    /// What is counted of a key now, with nothing granted ahead.
    fn fact(&self, id: AccountId) -> GrantFact {
        let account = self.account(id);
        GrantFact {
            open: account.on_the_wire(),
            others: self.elsewhen.get(&id).cloned().unwrap_or_default(),
            ..GrantFact::new(&*account.key, self.day.date, account.taken())
        }
    }

    /// `grant` is durable: its allowance may be spent. An authority that had less than was asked for passes what it
    /// gave. Returns the key it was for.
    pub fn granted(&mut self, grant: &GrantFact) -> Option<AccountId> {
        let id = self.waiting_for(grant)?;
        let account = self.account_mut(id);
        account.short = account.pending.take().is_some_and(|asked| grant.granted < asked.granted);
        account.granted = account.granted.max(grant.granted);
        (account.cover, account.written) = (grant.open, true);
        Some(id)
    }

    /// `request` could not be made durable; it is asked for again after a second. Returns the key it was for.
    pub fn failed(&mut self, request: &GrantRequest, wall: Wall) -> Option<AccountId> {
        let id = self.waiting_for(request)?;
        let account = self.account_mut(id);
        // A write that failed may be on disk all the same.
        account.cover = account.safe_cover();
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
        let is_counted = |account: &Account| account.granted.max(account.taken()) > 0;
        let ids = (0..self.accounts.len() as u32).map(AccountId);
        ids.filter(|&id| is_counted(self.account(id))).map(|id| self.fact(id)).collect()
    }

    /// How many recipients fit now when the limit is spread over the day in this pace (at most what the limit allows), and
    /// else the first moment at which the next one does; with the limit used up, the end of the day.
    pub fn paced(&self, id: AccountId, pace: Pace, wall: Wall) -> Result<u64, Wall> {
        let account = self.account(id);
        if pace == Pace::None || account.limit == Self::UNLIMITED {
            return Ok(u64::MAX);
        }
        pace::fit(&pace, account.limit, account.taken(), &self.day, &self.hours, wall)
    }

    fn intern(&mut self, key: &str) -> AccountId {
        if let Some(&id) = self.by_key.get(key) {
            return id;
        }
        // Keys come from the configuration and its facts: far fewer than 2³².
        let id = AccountId(self.accounts.len() as u32);
        let key: Arc<str> = key.into();
        self.accounts.push(Account::new(key.clone()));
        self.by_key.insert(key, id);
        id
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
