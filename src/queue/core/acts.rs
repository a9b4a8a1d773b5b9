//! What an operator does to mail that waits: try it now, keep it back, let it go, end it, move it to another pool.
//!
//! An act has three steps, and a crash between any two of them loses nothing and does nothing twice:
//!
//! 1. [`Core::claim`] takes the entry out of its lane, as an attempt would: nobody else can begin anything with it.
//! 2. [`apply`] says what its record is from now on. The shell puts that on disk, many of them in one commit.
//! 3. [`Core::acted`] or [`Core::ended`] tell the core, which lets the entry stand where its record says.
//!
//! Before the commit the disk has the entry as it was, after it as it is to be; a restart reads either. What could not be
//! written is given back as it was ([`Core::unclaim`]).
//!
//! An entry on the wire cannot be claimed: its attempt has begun with the record as it was, and will write what became of
//! it. The act is remembered, and when the attempt is over and somebody still waits, the entry is claimed for it at once,
//! before anything else can begin ([`Action::Act`](super::Action::Act)). That much is in memory only: after a restart the
//! entry waits as its attempt left it. A retry is not remembered, for an attempt is what it asks for. One act is remembered:
//! of holds and releases the last one, and a bounce in place of any other; whatever else comes then is told that it comes
//! too late ([`Claim::Another`]), since somebody was promised something else.
//!
//! - *Retry* needs no disk: it ends what the entry waits for by itself (its next try, a look-up that failed). What keeps it
//!   back by right — caps, rates, suspensions, holds — is asked as for any other mail.
//! - *Hold* is written down, and `Core::route`, through which everything passes on its way into a lane, keeps to it.
//!   Lifetime goes on: mail that is kept back until it expires is reported to its sender like any other. A hold that lasts
//!   longer is never shortened by another; that takes a release. At its end the entry stands where it would without: it
//!   still waits for its next try, if that is later.
//! - *Bounce* ends all recipients that wait. In the report stands that the operator did it, and why. Where the tenant is gone
//!   no report could leave, so mail of it is only ended without one.
//! - *Warn* is the queue's own and no operator's: the sender of mail that is late is told of it, and how often it was told is
//!   written down with the report. A timer brings it about, which is set whenever the entry is put where it stands.
//! - *Move* keeps tenant and stream. Bindings to prefer or to avoid are forgotten unless the new pool has them too, and the
//!   entry is due at once: to the receiver another address is another client.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::super::index::{HELD, Place};
use super::super::state::{self, Settled};
use super::lanes::reason;
use super::{Action, Core};
use crate::clock::{Now, Wall};
use crate::config;
use crate::message::{BindingName, Entry, EntryId, Hold, PoolName};
use crate::outcome::Disposition;
use crate::outcome::dsn::{due_delay_reports, next_delay_report};
use crate::scheduler::Verdict;

/// When to look again at an entry whose sender is to be told by now that it is late.
const WARN_AGAIN: Duration = Duration::from_secs(60);

/// What is done to an entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Try it now.
    Retry,
    /// Keep it back.
    Hold(Hold),
    /// Keep it back no longer.
    Release,
    /// Not the operator's: its sender is told that it still waits, as often as these times after its arrival say.
    Warn(Arc<[Duration]>),
    /// End it.
    Bounce {
        /// Why, for its sender.
        reason: String,
        /// Whether the sender is told.
        is_reported: bool,
    },
    /// From now on it leaves from another pool.
    Move {
        /// Which.
        to: PoolName,
        /// The bindings that pool has.
        members: HashSet<BindingName>,
    },
}

/// Whether an act may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is out of the queue's reach: write down what [`apply`] says, then call [`Core::acted`], [`Core::ended`] or
    /// [`Core::unclaim`].
    Claimed,
    /// It is done already.
    Done,
    /// It was so before.
    Unchanged,
    /// An attempt is under way, or another act; this one follows when that is over.
    OnTheWire,
    /// It is held, so that no attempt is made.
    Held,
    /// An attempt is under way, or another act, and something else was promised for when that is over.
    Another,
    /// Its pool or tenant is not configured, so that no attempt can be made, and no report of its end could leave.
    Stranded,
    /// There is no such entry.
    Unknown,
}

/// What an act makes of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Became {
    /// Nothing.
    Unchanged,
    /// It waits on, with a new record.
    Waits,
    /// Nobody waits any more.
    Ended(Settled),
}

/// Acts under way.
#[derive(Debug, Default)]
pub(super) struct Acts {
    /// What is kept back.
    held: HashMap<EntryId, Kept>,
    /// What an act has taken out of the queue's reach.
    claimed: HashSet<EntryId>,
    /// What is to be done when an attempt or another act is over.
    following: HashMap<EntryId, Arc<Act>>,
}

/// How an entry is kept back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// Until when; [`FAR`](super::super::index::FAR) until it is released.
    pub(super) until: Wall,
    /// Its own next try, for which it waits when that is later.
    pub(super) next_at: Wall,
}

impl Acts {
    /// The entry is gone.
    pub(super) fn forget(&mut self, id: EntryId) {
        self.claimed.remove(&id);
        self.following.remove(&id);
        self.held.remove(&id);
    }

    /// The entry is kept back like this, or not any more.
    pub(super) fn keep(&mut self, id: EntryId, kept: Option<Kept>) {
        if let Some(kept) = kept {
            self.held.insert(id, kept);
        } else {
            self.held.remove(&id);
        }
    }

    /// Whether the entry is kept back.
    fn is_held(&self, id: EntryId, now: Wall) -> bool {
        self.held.get(&id).is_some_and(|kept| kept.until > now)
    }

    /// Until when the entry may not go into a lane, and why: it is kept back, or was until a moment ago and its next try is
    /// still to come.
    pub(super) fn detained(&mut self, id: EntryId, now: Wall) -> Option<(Wall, &'static str)> {
        let Kept { until, next_at } = *self.held.get(&id)?;
        if until > now {
            return Some((until, HELD));
        }
        self.held.remove(&id);
        (next_at > now).then_some((next_at, "retry"))
    }

    /// Promises an act for later; false where another one was promised that it may not replace.
    fn promise(&mut self, id: EntryId, act: &Arc<Act>) -> bool {
        if let Some(promised) = self.following.get(&id) {
            match (&**promised, &**act) {
                // It lasts longer already.
                (Act::Hold(known), Act::Hold(new)) if !new.outlasts(known) => return true,
                (known, new) if known == new => return true,
                (Act::Hold(_) | Act::Release, Act::Hold(_) | Act::Release) | (_, Act::Bounce { .. }) => {}
                _ => return false,
            }
        }
        self.following.insert(id, Arc::clone(act));
        true
    }
}

/// Applies an act to the record of an entry.
pub fn apply(act: &Act, entry: &mut Entry, now: Wall) -> Became {
    match act {
        Act::Retry => Became::Unchanged,
        Act::Hold(hold) if entry.state.held_at(now).is_some_and(|known| !hold.outlasts(known)) => Became::Unchanged,
        Act::Hold(hold) => {
            entry.state.held = Some(hold.clone());
            Became::Waits
        }
        Act::Release => match entry.state.held.take().is_some() {
            true => Became::Waits,
            false => Became::Unchanged,
        },
        Act::Warn(steps) => match due_delay_reports(entry, steps, now) {
            told if told > entry.state.delay_reports => {
                entry.state.delay_reports = told;
                Became::Waits
            }
            _ => Became::Unchanged,
        },
        Act::Bounce { reason, .. } => {
            let mut decided = state::expire(entry);
            for one in &mut decided {
                one.disposition = Disposition::Bounced;
                one.returned = Some(reason.clone());
            }
            Became::Ended(Settled { decided, ..Settled::default() })
        }
        Act::Move { to, .. } if entry.pool == *to => Became::Unchanged,
        Act::Move { to, members } => {
            entry.pool = to.clone();
            let state = &mut entry.state;
            state.sticky.take_if(|(binding, _)| !members.contains(binding));
            state.excluded.retain(|(binding, _)| members.contains(binding));
            state.next_at = state.next_at.min(now);
            Became::Waits
        }
    }
}

impl Core {
    /// Begins an act on an entry. What it must not do or need not do is said at once.
    pub fn claim(&mut self, id: EntryId, act: &Arc<Act>, now: Now) -> Claim {
        if let Some(stranded) = self.stranded.get(id) {
            return match &**act {
                Act::Retry => Claim::Stranded,
                Act::Bounce { is_reported: true, .. } if !self.is_tenant_in_force(&stranded.tenant) => Claim::Stranded,
                Act::Move { to, .. } if *to == stranded.pool => Claim::Unchanged,
                _ if !self.acts.claimed.insert(id) => self.follow(id, act),
                _ => Claim::Claimed,
            };
        }
        let Some(waiting) = self.index.get(id) else { return Claim::Unknown };
        let is_held = self.acts.is_held(id, now.wall);
        if waiting.place == Place::InFlight {
            return self.follow(id, act);
        }
        match &**act {
            Act::Retry if is_held => Claim::Held,
            Act::Retry => {
                self.try_now(id, now);
                Claim::Done
            }
            Act::Release if !is_held => Claim::Unchanged,
            Act::Move { to, .. } if to == self.scheduler.pool_name(waiting.pool) => Claim::Unchanged,
            _ => {
                self.index.hold(id);
                self.acts.claimed.insert(id);
                Claim::Claimed
            }
        }
    }

    fn follow(&mut self, id: EntryId, act: &Arc<Act>) -> Claim {
        match **act == Act::Retry || self.acts.promise(id, act) {
            true => Claim::OnTheWire,
            false => Claim::Another,
        }
    }

    /// Ends what an entry waits for by itself.
    fn try_now(&mut self, id: EntryId, now: Now) {
        let Some(waiting) = self.index.get(id) else { return };
        let domain = waiting.domain;
        if matches!(waiting.place, Place::Delayed { .. }) {
            // A hold that is over may have left a next try behind.
            self.acts.keep(id, None);
            self.domains.ask_anew(domain);
            self.route(id, domain, now);
        }
    }

    /// The new record of a claimed entry is on disk: it stands where that says.
    pub fn acted(&mut self, entry: &Entry, now: Now) {
        self.acts.claimed.remove(&entry.id);
        self.enqueue(entry, now);
    }

    /// The end of a claimed entry is on disk. How many recipients were stranded with it.
    pub fn ended(&mut self, id: EntryId) -> u32 {
        let was_stranded = self.stranded.remove(id).map_or(0, |stranded| stranded.recipients);
        self.forget(id);
        was_stranded
    }

    /// Nothing came of an act: the entry stands where its record says, which is as it was.
    pub fn unclaim(&mut self, entry: &Entry, now: Now) {
        self.acts.claimed.remove(&entry.id);
        if self.index.get(entry.id).is_some() {
            self.put_back(entry, now);
        } else if self.stranded.get(entry.id).is_some() && self.is_in_force(&entry.pool, &entry.tenant) {
            self.enqueue(entry, now);
        }
    }

    /// The same where its record could not be read: it is looked at again at `until`.
    pub fn unclaim_unread(&mut self, id: EntryId, until: Wall) {
        self.acts.claimed.remove(&id);
        if self.index.get(id).is_some() {
            self.look_again(id, until);
        }
    }

    /// Whether something is being done to an entry.
    pub(super) fn is_claimed(&self, id: EntryId) -> bool {
        self.acts.claimed.contains(&id)
    }

    /// Whether something is to be done to an entry now that it is nowhere; it is claimed for that.
    pub(super) fn follows(&mut self, id: EntryId) -> bool {
        let Some(act) = self.acts.following.remove(&id) else { return false };
        self.begin(id, act);
        true
    }

    fn begin(&mut self, id: EntryId, act: Arc<Act>) {
        self.index.hold(id);
        self.acts.claimed.insert(id);
        self.actions.push_back(Action::Act { entry: id, act });
    }

    /// Sets the timer for the next report that the entry is late, if there is to be one. One that is due already waits a
    /// moment: what could not be written down a moment ago would spin.
    pub(super) fn watch_delay(&mut self, entry: &Entry, now: Now) {
        if let Some(at) = next_delay_report(entry, &self.queue.delay_warning) {
            let at = if at > now.wall { at } else { now.wall.plus(WARN_AGAIN) };
            self.index.watch_delay(entry.id, at);
        }
    }

    /// The entry, which waits, is late: its sender is to be told. What is on the wire is looked at again when it is back.
    pub(super) fn warn(&mut self, id: EntryId) {
        let asked = &[config::Queue::DELAY_ASKED][..];
        let steps = if self.queue.delay_warning.is_empty() { asked } else { &self.queue.delay_warning };
        let act = Arc::new(Act::Warn(steps.into()));
        self.begin(id, act);
    }

    /// What keeps an entry from leaving at this moment, as the listing shows it; `ready` where nothing does. Asks each
    /// binding where the queue has not looked yet.
    pub fn obstacle(&self, id: EntryId, now: Now) -> Option<&'static str> {
        let (why, _) = self.index.why(self.index.get(id)?);
        if why != "ready" {
            return Some(why);
        }
        let Some(explained) = self.explanation(id, now) else { return Some(why) };
        let none = explained.bindings.is_empty();
        if none || explained.bindings.iter().any(|said| said.verdict == Verdict::Eligible) {
            return Some(why);
        }
        let verdicts: Vec<_> = explained
            .bindings
            .into_iter()
            .filter_map(|said| Some((self.scheduler.binding_id(&said.binding)?, said.verdict)))
            .collect();
        Some(reason(&verdicts))
    }
}
