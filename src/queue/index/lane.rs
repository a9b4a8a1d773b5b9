//! One lane: the entries that could leave from one pool to one destination, by tenant.
//!
//! Tenants take turns by weighted deficit round robin, counted in recipients: at each round a turn is credited its weight,
//! it sends while it has credit, and what it sends is charged to it, so that a message of a hundred recipients is followed
//! by a hundred rounds in which the others go. A turn may go into debt by its last message: shares are exact to within one
//! message of each tenant. A debt outlives the moment at which a tenant has nothing to send, credit does not: nobody
//! saves up, and nobody gets rid of a debt by sending one message at a time. Rounds in which nobody could send are not
//! walked through but reckoned.
//!
//! Within a turn there is a queue per [`Class`]: the highest priority goes first, strictly, and of one priority the oldest.

use std::collections::VecDeque;

use super::waiting::Class;
use super::{Block, LaneKey};
use crate::clock::Wall;
use crate::message::EntryId;
use crate::scheduler::TenantId;

/// A block and the moment at which it ends by itself (its own moment and some jitter).
#[derive(Clone, Copy, Debug)]
pub(super) struct Parked {
    pub(super) block: Block,
    pub(super) wake: Wall,
}

#[derive(Debug)]
pub(super) struct Turn {
    pub(super) tenant: TenantId,
    weight: u32,
    /// Recipients it may send before the others go; below zero what it has sent ahead of them.
    credit: i64,
    /// By priority, highest first. Ids of entries that have moved on are passed over when they come to the front.
    queues: Vec<(Class, VecDeque<EntryId>)>,
    pub(super) blocked: Option<Parked>,
    /// Moment of its timer, so that it has only one.
    pub(super) armed: Option<Wall>,
}

impl Turn {
    fn new(tenant: TenantId, weight: u32) -> Self {
        Self { tenant, weight: weight.max(1), credit: 0, queues: Vec::new(), blocked: None, armed: None }
    }

    fn push(&mut self, class: Class, id: EntryId) {
        if let Some((_, queue)) = self.queues.iter_mut().find(|(known, _)| *known == class) {
            return queue.push_back(id);
        }
        let at = self.queues.partition_point(|(known, _)| known.priority() >= class.priority());
        self.queues.insert(at, (class, VecDeque::from([id])));
    }

    /// The entry that goes next. `arrived` tells when an entry came, `None` for one that has moved on.
    fn head(&mut self, engaged_only: bool, arrived: &impl Fn(EntryId) -> Option<Wall>) -> Option<EntryId> {
        let mut best: Option<(u8, Wall, EntryId)> = None;
        for (class, queue) in &mut self.queues {
            while queue.front().is_some_and(|&id| arrived(id).is_none()) {
                queue.pop_front();
            }
            if best.is_some_and(|(priority, ..)| priority > class.priority()) {
                break;
            }
            let Some(&id) = queue.front().filter(|_| !engaged_only || class.is_engaged()) else { continue };
            let Some(since) = arrived(id) else { continue };
            if best.is_none_or(|(_, oldest, _)| since < oldest) {
                best = Some((class.priority(), since, id));
            }
        }
        best.map(|(.., id)| id)
    }

    fn is_empty(&self) -> bool {
        self.queues.iter().all(|(_, queue)| queue.is_empty())
    }

    /// In how many rounds it has credit again.
    fn rounds_to_credit(&self) -> i64 {
        let weight = i64::from(self.weight);
        ((1 - self.credit).max(0) + weight - 1) / weight
    }

    /// `rounds` of the others went by.
    fn credit(&mut self, rounds: i64, can_send: bool) {
        self.credit = self.credit.saturating_add(rounds.saturating_mul(i64::from(self.weight)));
        if !can_send {
            self.credit = self.credit.min(0);
        }
    }
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) key: LaneKey,
    pub(super) turns: Vec<Turn>,
    at: usize,
    /// Entries in it, without the ids that are passed over.
    pub(super) len: usize,
    /// Stands still altogether.
    pub(super) blocked: Option<Parked>,
    /// Stands still but for engaged mail.
    pub(super) reserved: Option<Parked>,
    /// Moment of its timer, so that it has only one.
    pub(super) armed: Option<Wall>,
    /// Is in the round of those that may have something to send.
    pub(super) queued: bool,
}

impl Lane {
    pub(super) fn new(key: LaneKey) -> Self {
        Self { key, turns: Vec::new(), at: 0, len: 0, blocked: None, reserved: None, armed: None, queued: false }
    }

    pub(super) fn push(&mut self, tenant: TenantId, weight: u32, class: Class, id: EntryId) {
        if self.turn(tenant).is_none() {
            self.turns.push(Turn::new(tenant, weight));
        }
        if let Some(turn) = self.turn(tenant) {
            turn.push(class, id);
            self.len += 1;
        }
    }

    pub(super) fn turn(&mut self, tenant: TenantId) -> Option<&mut Turn> {
        self.turns.iter_mut().find(|turn| turn.tenant == tenant)
    }

    /// The tenant whose turn it is and its first entry. `arrived` as in [`Turn::head`].
    pub(super) fn head(&mut self, arrived: impl Fn(EntryId) -> Option<Wall>) -> Option<(TenantId, EntryId)> {
        let engaged_only = self.reserved.is_some();
        // Around to find who has credit, and once more after the rounds in which nobody had were reckoned. Turns that go make
        // others change places, so that "around" is two rounds at most.
        for _ in 0..2 {
            for _ in 0..=2 * self.turns.len() {
                let turn = self.turns.get_mut(self.at)?;
                let first = turn.head(engaged_only, &arrived).filter(|_| turn.blocked.is_none());
                if let Some(id) = first.filter(|_| turn.credit > 0) {
                    return Some((turn.tenant, id));
                }
                self.pass_on(engaged_only, &arrived);
            }
            self.reckon(engaged_only, &arrived);
        }
        None
    }

    /// Ends the present turn and begins the next.
    fn pass_on(&mut self, engaged_only: bool, arrived: &impl Fn(EntryId) -> Option<Wall>) {
        let Some(turn) = self.turns.get_mut(self.at) else { return };
        turn.credit = turn.credit.min(0);
        if turn.is_empty() && turn.credit == 0 && turn.blocked.is_none() {
            // The last one takes its place and its moment in the round: nobody is passed over.
            self.turns.swap_remove(self.at);
        } else {
            self.at += 1;
        }
        if self.at >= self.turns.len() {
            self.at = 0;
        }
        let Some(turn) = self.turns.get_mut(self.at) else { return };
        let can_send = turn.blocked.is_none() && turn.head(engaged_only, arrived).is_some();
        turn.credit(1, can_send);
    }

    /// Skips the rounds that pass until the first of those who can send is out of debt, but for the last one.
    fn reckon(&mut self, engaged_only: bool, arrived: &impl Fn(EntryId) -> Option<Wall>) {
        let can_send = |turn: &mut Turn| turn.blocked.is_none() && turn.head(engaged_only, arrived).is_some();
        let skipped =
            self.turns.iter_mut().filter_map(|turn| can_send(turn).then(|| turn.rounds_to_credit() - 1)).min();
        if let Some(skipped) = skipped.filter(|&skipped| skipped > 0) {
            for turn in &mut self.turns {
                let can_send = can_send(turn);
                turn.credit(skipped, can_send);
            }
        }
    }

    /// Takes the entry that [`Lane::head`] gave for `tenant` out, and charges `cost` recipients for it.
    pub(super) fn take(&mut self, tenant: TenantId, id: EntryId, cost: u32) -> bool {
        let Some(turn) = self.turn(tenant) else { return false };
        let Some((_, queue)) = turn.queues.iter_mut().find(|(_, queue)| queue.front() == Some(&id)) else {
            return false;
        };
        queue.pop_front();
        turn.credit -= i64::from(cost);
        self.len -= 1;
        true
    }
}
