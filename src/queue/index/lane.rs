//! One lane: the entries that could leave from one pool to one destination, by tenant.
//!
//! Tenants take turns by weighted deficit round robin, counted in recipients: at each round a turn is credited its weight,
//! it sends while it has credit, and what it sends is charged to it, so that a message of a hundred recipients is followed
//! by a hundred rounds in which the others go. A turn may go into debt by its last message: shares are exact to within one
//! message of each tenant. A debt outlives the moment at which a tenant has nothing to send, credit does not: nobody
//! saves up, and nobody gets rid of a debt by sending one message at a time. Rounds in which nobody could send are not
//! walked through but reckoned.
//!
//! Within a turn there is a queue per [`Class`] and cover: the highest priority goes first, strictly, and of one priority the
//! oldest. The entries of one cover are a *part* of the lane. Different bindings are open to different parts, so each stands
//! still for itself; a tenant has one turn however many covers its senders have.

use std::collections::{HashSet, VecDeque};

use smallvec::SmallVec;

use super::waiting::Class;
use super::{Block, LaneKey};
use crate::clock::Wall;
use crate::message::EntryId;
use crate::scheduler::{BindingId, CoverId, TenantId};

/// Ids that may be passed over before anybody looks, however few entries a lane has.
const IDS_SPARE: usize = 64;

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
    queues: Vec<(Class, CoverId, VecDeque<EntryId>)>,
    pub(super) blocked: Option<Parked>,
    /// Moment of its timer, so that it has only one.
    pub(super) armed: Option<Wall>,
}

impl Turn {
    fn new(tenant: TenantId, weight: u32) -> Self {
        Self { tenant, weight: weight.max(1), credit: 0, queues: Vec::new(), blocked: None, armed: None }
    }

    fn push(&mut self, class: Class, cover: CoverId, id: EntryId) {
        let mut known = self.queues.iter_mut();
        if let Some((.., queue)) = known.find(|(its, of, _)| (*its, *of) == (class, cover)) {
            return queue.push_back(id);
        }
        self.queues.retain(|(.., queue)| !queue.is_empty());
        let at = self.queues.partition_point(|(known, ..)| known.priority() >= class.priority());
        self.queues.insert(at, (class, cover, VecDeque::from([id])));
    }

    /// The entry that goes next. `arrived` tells when an entry came, `None` for one that has moved on.
    fn head(
        &mut self,
        parts: &Parts,
        arrived: &impl Fn(EntryId, CoverId) -> Option<Wall>,
    ) -> Option<(CoverId, EntryId)> {
        let mut best: Option<(u8, Wall, CoverId, EntryId)> = None;
        for (class, cover, queue) in &mut self.queues {
            while queue.front().is_some_and(|&id| arrived(id, *cover).is_none()) {
                queue.pop_front();
            }
            if best.is_some_and(|(priority, ..)| priority > class.priority()) {
                break;
            }
            let Some(&id) = queue.front().filter(|_| parts.may_go(*class, *cover)) else { continue };
            let Some(since) = arrived(id, *cover) else { continue };
            if best.is_none_or(|(_, oldest, ..)| since < oldest) {
                best = Some((class.priority(), since, *cover, id));
            }
        }
        best.map(|(.., cover, id)| (cover, id))
    }

    /// Forgets those for which `is_here` does not hold, given their cover, and what stands in a queue a second time.
    fn tidy(&mut self, is_here: &impl Fn(EntryId, CoverId) -> bool) {
        for (_, cover, queue) in &mut self.queues {
            let mut known = HashSet::with_capacity(queue.len());
            queue.retain(|id| is_here(*id, *cover) && known.insert(*id));
        }
    }

    fn ids(&self) -> usize {
        self.queues.iter().map(|(.., queue)| queue.len()).sum()
    }

    fn is_empty(&self) -> bool {
        self.queues.iter().all(|(.., queue)| queue.is_empty())
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

/// The entries of one cover.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) cover: CoverId,
    len: usize,
    /// Stands still altogether.
    blocked: Option<Parked>,
    /// Stands still but for engaged mail.
    reserved: Option<Parked>,
    /// Free of both to see whether this binding has something for it.
    pub(super) tries: Option<BindingId>,
}

impl Part {
    pub(super) fn blocked(&self) -> Option<Parked> {
        self.blocked.filter(|_| self.tries.is_none())
    }

    pub(super) fn reserved(&self) -> Option<Parked> {
        self.reserved.filter(|_| self.tries.is_none())
    }

    /// What blocks it, or would if it did not try.
    pub(super) fn all(&self) -> impl Iterator<Item = Parked> {
        [self.blocked, self.reserved].into_iter().flatten()
    }

    pub(super) fn parked(&self) -> impl Iterator<Item = Parked> {
        [self.blocked(), self.reserved()].into_iter().flatten()
    }

    pub(super) fn is_parked(&self) -> bool {
        self.parked().next().is_some()
    }

    pub(super) fn block(&mut self, parked: Parked) {
        self.free_if_trying();
        self.blocked = Some(parked);
    }

    pub(super) fn reserve(&mut self, parked: Parked) {
        self.free_if_trying();
        self.reserved = Some(parked);
    }

    fn free_if_trying(&mut self) {
        if self.tries.is_some() {
            self.free();
        }
    }

    pub(super) fn free(&mut self) {
        (self.blocked, self.reserved, self.tries) = (None, None, None);
    }

    /// What was to end by itself until `now` is over.
    pub(super) fn end(&mut self, now: Wall) {
        self.blocked = self.blocked.filter(|parked| parked.wake > now);
        self.reserved = self.reserved.filter(|parked| parked.wake > now);
    }
}

/// By cover, those that have entries.
#[derive(Debug, Default)]
pub(super) struct Parts(SmallVec<[Part; 1]>);

impl Parts {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Part> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        self.0.iter_mut()
    }

    fn find(&self, cover: CoverId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&cover, |part| part.cover)
    }

    pub(super) fn get(&self, cover: CoverId) -> Option<&Part> {
        self.0.get(self.find(cover).ok()?)
    }

    pub(super) fn get_mut(&mut self, cover: CoverId) -> Option<&mut Part> {
        let at = self.find(cover).ok()?;
        self.0.get_mut(at)
    }

    fn may_go(&self, class: Class, cover: CoverId) -> bool {
        let may_go = |part: &Part| part.blocked().is_none() && (part.reserved().is_none() || class.is_engaged());
        self.get(cover).is_none_or(may_go)
    }

    fn enter(&mut self, cover: CoverId) {
        match self.find(cover) {
            Ok(at) => self.0[at].len += 1,
            Err(at) => self.0.insert(at, Part { cover, len: 1, blocked: None, reserved: None, tries: None }),
        }
    }

    fn leave(&mut self, cover: CoverId) {
        let Ok(at) = self.find(cover) else { return };
        self.0[at].len -= 1;
        if self.0[at].len == 0 {
            self.0.remove(at);
        }
    }
}

#[derive(Debug)]
pub(super) struct Lane {
    /// Without a cover.
    pub(super) key: LaneKey,
    pub(super) turns: Vec<Turn>,
    at: usize,
    /// Entries in it, without the ids that are passed over.
    pub(super) len: usize,
    /// How many came in since somebody looked whether more ids are passed over than not.
    pushed: usize,
    pub(super) parts: Parts,
    /// Parts that try do so since its turn came in a line.
    pub(super) has_left_line: bool,
    /// Moment of its timer, so that it has only one.
    pub(super) armed: Option<Wall>,
    /// Is in the round of those that may have something to send.
    pub(super) queued: bool,
}

impl Lane {
    pub(super) fn new(key: LaneKey) -> Self {
        Self {
            key,
            turns: Vec::new(),
            at: 0,
            len: 0,
            pushed: 0,
            parts: Parts::default(),
            has_left_line: false,
            armed: None,
            queued: false,
        }
    }

    /// All of it stands still.
    pub(super) fn is_blocked(&self) -> bool {
        self.parts.iter().all(|part| part.blocked().is_some())
    }

    /// Some of it does.
    pub(super) fn is_parked(&self) -> bool {
        self.parts.iter().any(Part::is_parked)
    }

    pub(super) fn push(&mut self, tenant: TenantId, weight: u32, class: Class, cover: CoverId, id: EntryId) {
        if self.turn(tenant).is_none() {
            self.turns.push(Turn::new(tenant, weight));
        }
        if let Some(turn) = self.turn(tenant) {
            turn.push(class, cover, id);
            self.len += 1;
            self.pushed += 1;
            self.parts.enter(cover);
        }
    }

    /// Whether it is time to [`Lane::tidy`]: most of its ids are of entries that have left their place, such as mail that is
    /// held and released again and again while the lane stands still. Looks only after as many came as are there.
    pub(super) fn wants_tidying(&mut self) -> bool {
        let most = 2 * self.len + IDS_SPARE;
        if self.pushed <= most {
            return false;
        }
        self.pushed = 0;
        self.ids() > most
    }

    /// Forgets ids of entries that have left their place, which is what `is_here` tells of an entry and its cover.
    pub(super) fn tidy(&mut self, is_here: impl Fn(EntryId, CoverId) -> bool) {
        self.turns.iter_mut().for_each(|turn| turn.tidy(&is_here));
    }

    /// Ids in its turns, with those that are passed over.
    pub(super) fn ids(&self) -> usize {
        self.turns.iter().map(Turn::ids).sum()
    }

    /// An entry has moved on. Its id stays in the turn.
    pub(super) fn leave(&mut self, cover: CoverId) {
        self.len -= 1;
        self.parts.leave(cover);
    }

    pub(super) fn turn(&mut self, tenant: TenantId) -> Option<&mut Turn> {
        self.turns.iter_mut().find(|turn| turn.tenant == tenant)
    }

    /// The tenant whose turn it is and its first entry with its cover. `arrived` as in [`Turn::head`].
    pub(super) fn head(
        &mut self,
        arrived: impl Fn(EntryId, CoverId) -> Option<Wall>,
    ) -> Option<(TenantId, CoverId, EntryId)> {
        let parts = std::mem::take(&mut self.parts);
        let head = self.find_head(&parts, &arrived);
        self.parts = parts;
        head
    }

    fn find_head(
        &mut self,
        parts: &Parts,
        arrived: &impl Fn(EntryId, CoverId) -> Option<Wall>,
    ) -> Option<(TenantId, CoverId, EntryId)> {
        // Around to find who has credit, and once more after the rounds in which nobody had were reckoned. Turns that go make
        // others change places, so that "around" is two rounds at most.
        for _ in 0..2 {
            for _ in 0..=2 * self.turns.len() {
                let turn = self.turns.get_mut(self.at)?;
                let first = turn.head(parts, arrived).filter(|_| turn.blocked.is_none());
                if let Some((cover, id)) = first.filter(|_| turn.credit > 0) {
                    return Some((turn.tenant, cover, id));
                }
                self.pass_on(parts, arrived);
            }
            self.reckon(parts, arrived);
        }
        None
    }

    /// Ends the present turn and begins the next.
    fn pass_on(&mut self, parts: &Parts, arrived: &impl Fn(EntryId, CoverId) -> Option<Wall>) {
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
        let can_send = turn.blocked.is_none() && turn.head(parts, arrived).is_some();
        turn.credit(1, can_send);
    }

    /// Skips the rounds that pass until the first of those who can send is out of debt, but for the last one.
    fn reckon(&mut self, parts: &Parts, arrived: &impl Fn(EntryId, CoverId) -> Option<Wall>) {
        let can_send = |turn: &mut Turn| turn.blocked.is_none() && turn.head(parts, arrived).is_some();
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
    pub(super) fn take(&mut self, tenant: TenantId, cover: CoverId, id: EntryId, cost: u32) -> bool {
        let Some(turn) = self.turn(tenant) else { return false };
        let is_its = |(_, of, queue): &(Class, CoverId, VecDeque<EntryId>)| *of == cover && queue.front() == Some(&id);
        let Some(at) = turn.queues.iter().position(is_its) else { return false };
        turn.queues[at].2.pop_front();
        turn.credit -= i64::from(cost);
        self.leave(cover);
        true
    }
}
