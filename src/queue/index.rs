//! What waits, in order: lanes by (pool, destination), and timers. Pure.
//!
//! A *lane* holds the entries that could leave now from one pool to one destination. Inside it tenants take turns by
//! weighted deficit round robin, and within a tenant the oldest goes first, so that one tenant's burst costs the others
//! at most their share. A lane whose head cannot go (cap, suspension, full window …) is blocked as a whole, with the
//! reason and the moment that `explain` and the queue listing show: a hundred thousand entries behind one suspended
//! route cost one look, not a hundred thousand.
//!
//! Entries that wait for themselves (a retry, an exclusion) lie beside the lanes under a timer. Timers are never taken
//! back: one that fires for something that has moved on is ignored.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use crate::clock::Wall;
use crate::message::{Entry, EntryId, MessageId};
use crate::scheduler::{BindingId, DestinationId, PoolId, TenantId};

/// Dense number of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId(u32);

/// Dense number of a recipient domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainId(pub u32);

/// Dense number of a sender domain that waiting mail has; it is given to another one when none has it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SenderId(pub u32);

impl SenderId {
    /// No domain at all.
    pub const NULL: Self = Self(u32::MAX);
}

/// Where an entry is at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Its domain's hosts are being looked up.
    Resolving,
    /// In a lane.
    Lane(LaneId),
    /// Beside the lanes until a moment, for this reason.
    Delayed {
        /// When it goes back into its lane.
        until: Wall,
        /// Stable text: `retry`, `dns`, or a verdict's.
        reason: &'static str,
    },
    /// An attempt is being made.
    InFlight,
}

/// The part of an entry that stays in memory while it waits.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Its message.
    pub message: MessageId,
    /// Its pool.
    pub pool: PoolId,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its recipients' domain.
    pub domain: DomainId,
    /// The domain of its reverse path; [`SenderId::NULL`] for the null reverse path.
    pub sender: SenderId,
    /// How many recipients wait.
    pub recipients: u32,
    /// Attempts made.
    pub attempts: u32,
    /// When it was accepted.
    pub arrived: Wall,
    /// When it is given up.
    pub expires: Wall,
    /// Binding to prefer.
    pub sticky: Option<BindingId>,
    /// Bindings to avoid; rarely any.
    pub excluded: Option<Box<[(BindingId, Wall)]>>,
    /// Where it is.
    pub place: Place,
}

/// One timer. The order of variants is the order of firing at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Expiry(EntryId),
    Entry(EntryId),
    Lane(LaneId),
    Tenant(LaneId, TenantId),
}

/// What a timer that fired asks the core to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The entry's lifetime is over.
    Expired(EntryId),
    /// The entry may go back into its lane.
    Entry(EntryId),
}

/// Why something is blocked, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// When to look again; `None` waits for an event.
    pub until: Option<Wall>,
    /// A verdict's stable text.
    pub reason: &'static str,
}

#[derive(Debug)]
struct Turn {
    tenant: TenantId,
    weight: u32,
    entries: VecDeque<EntryId>,
    blocked: Option<Block>,
    /// Moment of its timer, so that it has only one.
    armed: Option<Wall>,
}

#[derive(Debug)]
struct Lane {
    pool: PoolId,
    destination: DestinationId,
    turns: Vec<Turn>,
    at: usize,
    credit: u32,
    len: usize,
    blocked: Option<Block>,
    /// Moment of its timer, so that it has only one.
    armed: Option<Wall>,
    queued: bool,
}

impl Lane {
    /// The tenant whose turn it is and its oldest entry that is still `alive`.
    fn head(&mut self, alive: impl Fn(EntryId) -> bool) -> Option<(TenantId, EntryId)> {
        for _ in 0..=self.turns.len() {
            let turn = self.turns.get_mut(self.at)?;
            while turn.entries.front().is_some_and(|id| !alive(*id)) {
                turn.entries.pop_front();
            }
            if self.credit > 0
                && turn.blocked.is_none()
                && let Some(&entry) = turn.entries.front()
            {
                return Some((turn.tenant, entry));
            }
            self.at = (self.at + 1) % self.turns.len();
            self.credit = self.turns[self.at].weight;
        }
        None
    }

    fn turn(&mut self, tenant: TenantId) -> Option<&mut Turn> {
        self.turns.iter_mut().find(|turn| turn.tenant == tenant)
    }
}

/// A lane as the status shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneView {
    /// Its pool.
    pub pool: PoolId,
    /// Its destination.
    pub destination: DestinationId,
    /// Entries in it.
    pub entries: usize,
    /// Why it stands still, if it does.
    pub blocked: Option<Block>,
}

/// All that waits.
#[derive(Debug, Default)]
pub struct Index {
    entries: HashMap<EntryId, Waiting>,
    lanes: Vec<Lane>,
    lane_ids: HashMap<(PoolId, DestinationId), LaneId>,
    by_destination: HashMap<DestinationId, Vec<LaneId>>,
    ready: VecDeque<LaneId>,
    timers: BinaryHeap<Reverse<(Wall, Timer)>>,
    recipients: u64,
}

impl Index {
    /// Takes in an entry; it is nowhere yet (place Resolving) and expires by timer.
    pub fn insert(&mut self, entry: &Entry, waiting: Waiting) {
        let expires = waiting.expires;
        self.recipients += u64::from(waiting.recipients);
        if let Some(old) = self.entries.insert(entry.id, waiting) {
            self.recipients -= u64::from(old.recipients);
        }
        self.arm(expires, Timer::Expiry(entry.id));
    }

    /// Sets the timer for the end of an entry's lifetime again, after it was moved.
    pub fn watch_expiry(&mut self, id: EntryId) {
        if let Some(expires) = self.entries.get(&id).map(|w| w.expires) {
            self.arm(expires, Timer::Expiry(id));
        }
    }

    /// Forgets an entry, wherever it is.
    pub fn remove(&mut self, id: EntryId) -> Option<Waiting> {
        self.hold(id);
        let waiting = self.entries.remove(&id)?;
        self.recipients -= u64::from(waiting.recipients);
        Some(waiting)
    }

    /// Marks an entry as being worked on, wherever it was.
    pub fn hold(&mut self, id: EntryId) {
        let Some(waiting) = self.entries.get_mut(&id) else { return };
        if let Place::Lane(lane) = std::mem::replace(&mut waiting.place, Place::InFlight) {
            // Its id stays in the turn and is passed over when it comes to the front: searching for it would make the
            // expiry of a long lane quadratic.
            self.lanes[lane.0 as usize].len -= 1;
        }
    }

    /// The record of an entry.
    pub fn get(&self, id: EntryId) -> Option<&Waiting> {
        self.entries.get(&id)
    }

    /// Replaces what an attempt has changed.
    pub fn update(&mut self, id: EntryId, change: impl FnOnce(&mut Waiting)) {
        if let Some(waiting) = self.entries.get_mut(&id) {
            self.recipients -= u64::from(waiting.recipients);
            change(waiting);
            self.recipients += u64::from(waiting.recipients);
        }
    }

    /// Entries and recipients that wait or are in flight.
    pub fn depth(&self) -> (usize, u64) {
        (self.entries.len(), self.recipients)
    }

    /// Every entry, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (EntryId, &Waiting)> {
        self.entries.iter().map(|(id, waiting)| (*id, waiting))
    }

    /// Every lane that holds something.
    pub fn lanes(&self) -> impl Iterator<Item = LaneView> {
        self.lanes.iter().filter(|lane| lane.len > 0).map(|lane| LaneView {
            pool: lane.pool,
            destination: lane.destination,
            entries: lane.len,
            blocked: lane.blocked,
        })
    }

    /// Why an entry does not move and when it may, in words for the queue listing.
    pub fn why(&self, waiting: &Waiting) -> (&'static str, Option<Wall>) {
        match waiting.place {
            Place::Resolving => ("resolving", None),
            Place::InFlight => ("in_flight", None),
            Place::Delayed { until, reason } => (reason, Some(until)),
            Place::Lane(id) => {
                let lane = &self.lanes[id.0 as usize];
                let turn = lane.turns.iter().find(|turn| turn.tenant == waiting.tenant);
                lane.blocked
                    .or(turn.and_then(|turn| turn.blocked))
                    .map_or(("ready", None), |block| (block.reason, block.until))
            }
        }
    }

    /// Puts an entry at the end of its tenant's turn in the lane to `destination`.
    pub fn enter_lane(&mut self, id: EntryId, destination: DestinationId, tenant_weight: u32) {
        let Some(waiting) = self.entries.get_mut(&id) else { return };
        let key = (waiting.pool, destination);
        let (lanes, by_destination) = (&mut self.lanes, &mut self.by_destination);
        let lane_id = *self.lane_ids.entry(key).or_insert_with(|| {
            lanes.push(Lane {
                pool: key.0,
                destination,
                turns: Vec::new(),
                at: 0,
                credit: 0,
                len: 0,
                blocked: None,
                armed: None,
                queued: false,
            });
            let id = LaneId((lanes.len() - 1) as u32);
            by_destination.entry(destination).or_default().push(id);
            id
        });
        waiting.place = Place::Lane(lane_id);
        let tenant = waiting.tenant;
        let lane = &mut self.lanes[lane_id.0 as usize];
        match lane.turn(tenant) {
            Some(turn) => turn.entries.push_back(id),
            None => lane.turns.push(Turn {
                tenant,
                weight: tenant_weight.max(1),
                entries: VecDeque::from([id]),
                blocked: None,
                armed: None,
            }),
        }
        lane.len += 1;
        self.make_ready(lane_id);
    }

    /// Sets an entry that is in no lane aside until `until`.
    pub fn delay(&mut self, id: EntryId, until: Wall, reason: &'static str) {
        if let Some(waiting) = self.entries.get_mut(&id) {
            waiting.place = Place::Delayed { until, reason };
            let at = until.min(waiting.expires);
            self.arm(at, Timer::Entry(id));
        }
    }

    /// The next lane that may have something to send. It leaves the round: call [`Index::again`] to put it back.
    pub fn next_ready(&mut self) -> Option<LaneId> {
        let lane = self.ready.pop_front()?;
        self.lanes[lane.0 as usize].queued = false;
        Some(lane)
    }

    /// The lane's pool and destination, and whose turn it is with which entry.
    pub fn head(&mut self, id: LaneId) -> Option<(PoolId, DestinationId, TenantId, EntryId)> {
        let lane = &mut self.lanes[id.0 as usize];
        if lane.blocked.is_some() {
            return None;
        }
        let entries = &self.entries;
        let here = Place::Lane(id);
        let head = lane.head(|entry| entries.get(&entry).is_some_and(|w| w.place == here));
        head.map(|(tenant, entry)| (lane.pool, lane.destination, tenant, entry))
    }

    /// Puts a lane at the end of the round, if it has anything.
    pub fn again(&mut self, lane: LaneId) {
        self.make_ready(lane);
    }

    /// Takes the head of `tenant`'s turn out of the lane; its place becomes `place`.
    pub fn take_head(&mut self, lane: LaneId, tenant: TenantId, place: Place) -> Option<EntryId> {
        let id = self.pass_head(lane, tenant, place)?;
        let lane = &mut self.lanes[lane.0 as usize];
        lane.credit = lane.credit.saturating_sub(1);
        Some(id)
    }

    /// [`Index::take_head`] for mail that may not go at all now: it costs the tenant nothing of its turn.
    pub fn pass_head(&mut self, lane: LaneId, tenant: TenantId, place: Place) -> Option<EntryId> {
        let lane = &mut self.lanes[lane.0 as usize];
        let turn = lane.turn(tenant)?;
        let id = turn.entries.pop_front()?;
        lane.len -= 1;
        if let Some(waiting) = self.entries.get_mut(&id) {
            waiting.place = place;
        }
        Some(id)
    }

    /// Blocks the whole lane; `wake` (the block's moment plus jitter) is when it looks again by itself.
    pub fn block_lane(&mut self, lane: LaneId, block: Block, wake: Option<Wall>) {
        let this = &mut self.lanes[lane.0 as usize];
        this.blocked = Some(block);
        if let Some(wake) = wake.filter(|wake| this.armed.is_none_or(|armed| armed > *wake)) {
            this.armed = Some(wake);
            self.arm(wake, Timer::Lane(lane));
        }
    }

    /// Blocks one tenant's turn in the lane.
    pub fn block_tenant(&mut self, lane: LaneId, tenant: TenantId, block: Block, wake: Option<Wall>) {
        if let Some(turn) = self.lanes[lane.0 as usize].turn(tenant) {
            turn.blocked = Some(block);
            if let Some(wake) = wake.filter(|wake| turn.armed.is_none_or(|armed| armed > *wake)) {
                turn.armed = Some(wake);
                self.arm(wake, Timer::Tenant(lane, tenant));
            }
        }
        self.make_ready(lane);
    }

    /// Lets a blocked lane look again.
    pub fn wake_lane(&mut self, lane: LaneId) {
        self.lanes[lane.0 as usize].blocked = None;
        self.make_ready(lane);
    }

    /// Lets a tenant's blocked turn look again.
    pub fn wake_tenant(&mut self, lane: LaneId, tenant: TenantId) {
        if let Some(turn) = self.lanes[lane.0 as usize].turn(tenant) {
            turn.blocked = None;
        }
        self.make_ready(lane);
    }

    /// Lets everything blocked look again: health, grants or configuration have changed.
    pub fn wake_all(&mut self) {
        for n in 0..self.lanes.len() {
            self.lanes[n].turns.iter_mut().for_each(|turn| turn.blocked = None);
            self.wake_lane(LaneId(n as u32));
        }
    }

    /// The lanes to a destination, one per pool that has mail for it.
    pub fn lanes_to(&self, destination: DestinationId) -> &[LaneId] {
        self.by_destination.get(&destination).map_or(&[], Vec::as_slice)
    }

    /// Whether the lane holds anything and stands still.
    pub fn is_blocked(&self, lane: LaneId) -> bool {
        let lane = &self.lanes[lane.0 as usize];
        lane.len > 0 && lane.blocked.is_some()
    }

    /// Whether the lane stands still until something happens (a connection is free, a grant is on disk).
    pub fn waits_for_event(&self, lane: LaneId) -> bool {
        let lane = &self.lanes[lane.0 as usize];
        lane.len > 0 && lane.blocked.is_some_and(|block| block.until.is_none())
    }

    /// Fires the next timer that is due. Timers for what has moved on fire into nothing.
    pub fn next_due(&mut self, now: Wall) -> Option<Due> {
        while let Some(Reverse((at, _))) = self.timers.peek() {
            if *at > now {
                return None;
            }
            let Reverse((at, timer)) = self.timers.pop()?;
            match timer {
                Timer::Expiry(id) => {
                    let waiting = self.entries.get(&id);
                    if waiting.is_some_and(|w| w.place != Place::InFlight && w.expires <= now) {
                        return Some(Due::Expired(id));
                    }
                }
                Timer::Entry(id) => match self.entries.get(&id).map(|w| (w.place, w.expires)) {
                    Some((Place::Delayed { until, .. }, _)) if until <= now => return Some(Due::Entry(id)),
                    // Its end came first when the timer was set, and has been moved since.
                    Some((Place::Delayed { until, .. }, expires)) if expires > now && at < until => {
                        self.arm(until.min(expires), Timer::Entry(id));
                    }
                    _ => {}
                },
                Timer::Lane(lane) => self.lane_timer(lane, at, now),
                Timer::Tenant(lane, tenant) => self.tenant_timer(lane, tenant, at, now),
            }
        }
        None
    }

    fn lane_timer(&mut self, id: LaneId, at: Wall, now: Wall) {
        let lane = &mut self.lanes[id.0 as usize];
        if lane.armed != Some(at) {
            return;
        }
        lane.armed = None;
        match lane.blocked {
            Some(Block { until: Some(until), .. }) if until > now => {
                lane.armed = Some(until);
                self.arm(until, Timer::Lane(id));
            }
            Some(_) => self.wake_lane(id),
            None => {}
        }
    }

    fn tenant_timer(&mut self, id: LaneId, tenant: TenantId, at: Wall, now: Wall) {
        let Some(turn) = self.lanes[id.0 as usize].turn(tenant).filter(|turn| turn.armed == Some(at)) else { return };
        turn.armed = None;
        match turn.blocked {
            Some(Block { until: Some(until), .. }) if until > now => {
                turn.armed = Some(until);
                self.arm(until, Timer::Tenant(id, tenant));
            }
            Some(_) => self.wake_tenant(id, tenant),
            None => {}
        }
    }

    /// When the next timer fires.
    pub fn next_wakeup(&self) -> Option<Wall> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// Sets a timer. Timers of what has moved on are swept when they outnumber the others: mail lives for days, and most of
    /// it is delivered in its first second.
    fn arm(&mut self, at: Wall, timer: Timer) {
        self.timers.push(Reverse((at, timer)));
        if self.timers.len() > 4 * (self.entries.len() + self.lanes.len()) + 1024 {
            let Self { timers, entries, lanes, .. } = self;
            timers.retain(|Reverse((at, timer))| match timer {
                Timer::Expiry(id) => entries.get(id).is_some_and(|w| w.expires == *at),
                Timer::Entry(id) => entries
                    .get(id)
                    .is_some_and(|w| matches!(w.place, Place::Delayed { until, .. } if until.min(w.expires) == *at)),
                Timer::Lane(id) => lanes[id.0 as usize].armed == Some(*at),
                Timer::Tenant(id, tenant) => {
                    lanes[id.0 as usize].turns.iter().any(|turn| turn.tenant == *tenant && turn.armed == Some(*at))
                }
            });
        }
    }

    fn make_ready(&mut self, id: LaneId) {
        let lane = &mut self.lanes[id.0 as usize];
        if !lane.queued && lane.len > 0 && lane.blocked.is_none() {
            lane.queued = true;
            self.ready.push_back(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{EntryState, MessageId};

    const HERE: DestinationId = DestinationId(0);
    const ACME: TenantId = TenantId(0);
    const BOLT: TenantId = TenantId(1);
    const CORP: TenantId = TenantId(2);

    fn at(seconds: i64) -> Wall {
        Wall::from_millis(1_000 * seconds)
    }

    /// An index with entries of these tenants (each with its weight) in the lane to [`HERE`]; they expire at 1,000 s.
    struct Bench {
        index: Index,
        next: u64,
    }

    impl Bench {
        fn new() -> Self {
            Self { index: Index::default(), next: 0 }
        }

        fn insert(&mut self, tenant: TenantId, expires: i64) -> EntryId {
            self.next += 1;
            let id = EntryId(self.next);
            let entry = Entry {
                id,
                message: MessageId(self.next),
                tenant: "acme".into(),
                stream: "default".into(),
                pool: "main".into(),
                domain: "alpha.example".parse().expect("a domain"),
                reverse_path: None,
                recipients: Vec::new(),
                arrived: at(0),
                expires: at(expires),
                size: 1,
                eight_bit: false,
                state: EntryState::default(),
            };
            let waiting = Waiting {
                pool: PoolId(0),
                tenant,
                domain: DomainId(0),
                message: MessageId(0),
                sender: SenderId::NULL,
                recipients: 2,
                attempts: 0,
                arrived: at(0),
                expires: at(expires),
                sticky: None,
                excluded: None,
                place: Place::Resolving,
            };
            self.index.insert(&entry, waiting);
            id
        }

        fn enter(&mut self, tenant: TenantId, weight: u32, count: usize) -> Vec<EntryId> {
            let mut enter = || {
                let id = self.insert(tenant, 1_000);
                self.index.enter_lane(id, HERE, weight);
                id
            };
            (0..count).map(|_| enter()).collect()
        }

        /// Takes the next entry of the lane that is next, and puts the lane back into the round.
        fn take(&mut self) -> Option<(TenantId, EntryId)> {
            let lane = self.index.next_ready()?;
            let (_, _, tenant, id) = self.index.head(lane)?;
            assert_eq!(self.index.take_head(lane, tenant, Place::InFlight), Some(id));
            self.index.again(lane);
            Some((tenant, id))
        }

        fn lane(&self) -> LaneId {
            self.index.lanes_to(HERE)[0]
        }

        fn block(&mut self, until: i64) {
            let lane = self.lane();
            assert_eq!(self.index.next_ready(), Some(lane));
            self.index.block_lane(lane, Block { until: Some(at(until)), reason: "suspended" }, Some(at(until)));
        }
    }

    #[test]
    fn tenants_take_turns_by_weight_and_each_goes_in_order() {
        let mut bench = Bench::new();
        let acme = bench.enter(ACME, 1, 1_000);
        let (bolt, corp) = (bench.enter(BOLT, 3, 90), bench.enter(CORP, 2, 90));
        let taken: Vec<_> = (0..150).filter_map(|_| bench.take()).collect();
        for round in taken.chunks(6) {
            let count = |tenant| round.iter().filter(|(whose, _)| *whose == tenant).count();
            assert_eq!([ACME, BOLT, CORP].map(count), [1, 3, 2]);
        }
        for (tenant, sent) in [(ACME, acme), (BOLT, bolt), (CORP, corp)] {
            let order: Vec<_> = taken.iter().filter(|(whose, _)| *whose == tenant).map(|(_, id)| *id).collect();
            assert_eq!(order, sent[..order.len()]);
        }
    }

    #[test]
    fn a_turn_that_is_empty_leaves_its_share_to_the_others() {
        let mut bench = Bench::new();
        bench.enter(BOLT, 9, 2);
        bench.enter(ACME, 1, 20);
        let taken: Vec<_> = std::iter::from_fn(|| bench.take()).collect();
        assert_eq!(taken.len(), 22);
        assert!(taken[..4].iter().filter(|(tenant, _)| *tenant == BOLT).count() == 2, "{taken:?}");
        // Back again it has its weight and no more, whatever it did not use.
        bench.enter(ACME, 1, 20);
        bench.enter(BOLT, 9, 30);
        let taken: Vec<_> = (0..20).filter_map(|_| bench.take()).collect();
        assert_eq!(taken.iter().filter(|(tenant, _)| *tenant == BOLT).count(), 18);
    }

    #[test]
    fn a_blocked_lane_is_looked_at_once_for_all_its_entries() {
        let mut bench = Bench::new();
        bench.enter(ACME, 1, 1_000);
        bench.block(60);
        assert_eq!(bench.index.next_ready(), None);
        bench.enter(BOLT, 1, 1_000);
        assert_eq!(bench.index.next_ready(), None, "newcomers do not wake it");
        assert_eq!(bench.index.next_due(at(59)), None);
        assert_eq!(bench.index.next_ready(), None);
        assert_eq!(bench.index.next_due(at(60)), None);
        assert!(bench.take().is_some(), "its time has come");
        let view = bench.index.lanes().next().expect("one lane");
        assert_eq!((view.entries, view.blocked), (1_999, None));
    }

    #[test]
    fn a_blocked_turn_stops_one_tenant_until_its_time() {
        let mut bench = Bench::new();
        let acme = bench.enter(ACME, 1, 2);
        bench.enter(BOLT, 1, 2);
        let lane = bench.index.next_ready().expect("one");
        bench.index.block_tenant(lane, ACME, Block { until: Some(at(60)), reason: "cap" }, Some(at(60)));
        let taken: Vec<_> = std::iter::from_fn(|| bench.take()).map(|(tenant, _)| tenant).collect();
        assert_eq!(taken, [BOLT, BOLT]);
        let waiting = bench.index.get(acme[0]).expect("waits");
        assert_eq!(bench.index.why(waiting), ("cap", Some(at(60))));
        assert_eq!(bench.index.next_due(at(60)), None);
        assert_eq!(bench.take(), Some((ACME, acme[0])));
    }

    #[test]
    fn what_expires_inside_a_lane_is_passed_over() {
        let mut bench = Bench::new();
        let mut ids = Vec::new();
        for expires in [1_000, 10, 20, 1_000] {
            let id = bench.insert(ACME, expires);
            bench.index.enter_lane(id, HERE, 1);
            ids.push(id);
        }
        let mut expired = Vec::new();
        while let Some(due) = bench.index.next_due(at(20)) {
            let Due::Expired(id) = due else { panic!("{due:?}") };
            bench.index.hold(id);
            expired.push(id);
        }
        assert_eq!(expired, ids[1..3]);
        assert_eq!(bench.index.lanes().map(|lane| lane.entries).collect::<Vec<_>>(), [2]);
        bench.index.remove(ids[1]);
        let taken: Vec<_> = std::iter::from_fn(|| bench.take()).map(|(_, id)| id).collect();
        assert_eq!(taken, [ids[0], ids[3]]);
        assert_eq!(bench.index.depth(), (3, 6), "held and in flight they still count");
        assert_eq!(bench.index.next_due(at(999)), None, "what is worked on does not expire");
    }

    #[test]
    fn an_entry_that_comes_back_to_its_lane_goes_once() {
        let mut bench = Bench::new();
        let ids = bench.enter(ACME, 1, 3);
        bench.index.hold(ids[0]);
        bench.index.enter_lane(ids[0], HERE, 1);
        let mut taken: Vec<_> = std::iter::from_fn(|| bench.take()).map(|(_, id)| id).collect();
        taken.sort();
        assert_eq!(taken, ids);
        assert_eq!(bench.index.lanes().count(), 0);
    }

    #[test]
    fn a_delayed_entry_is_due_at_its_time_and_an_older_timer_means_nothing() {
        let mut bench = Bench::new();
        let id = bench.insert(ACME, 1_000);
        bench.index.delay(id, at(10), "retry");
        bench.index.delay(id, at(30), "dns");
        assert_eq!(bench.index.why(bench.index.get(id).expect("waits")), ("dns", Some(at(30))));
        assert_eq!(bench.index.next_due(at(29)), None);
        assert_eq!(bench.index.next_wakeup(), Some(at(30)));
        assert_eq!(bench.index.next_due(at(30)), Some(Due::Entry(id)));
        bench.index.delay(id, at(2_000), "retry");
        assert_eq!(bench.index.next_due(at(1_000)), Some(Due::Expired(id)), "no delay outlasts the lifetime");
    }

    #[test]
    fn lanes_take_turns() {
        let mut bench = Bench::new();
        for n in 0..3 {
            for _ in 0..2 {
                let id = bench.insert(ACME, 1_000);
                bench.index.enter_lane(id, DestinationId(n), 1);
            }
        }
        let order: Vec<_> = std::iter::from_fn(|| bench.take()).map(|(_, id)| id.0).collect();
        assert_eq!(order, [1, 3, 5, 2, 4, 6]);
    }

    #[test]
    fn counts_follow_what_is_replaced_updated_and_removed() {
        let mut bench = Bench::new();
        let id = bench.insert(ACME, 1_000);
        bench.index.update(id, |waiting| waiting.recipients = 5);
        assert_eq!(bench.index.depth(), (1, 5));
        bench.index.enter_lane(id, HERE, 1);
        assert_eq!(bench.index.remove(id).map(|waiting| waiting.recipients), Some(5));
        assert_eq!((bench.index.depth(), bench.index.lanes().count()), ((0, 0), 0));
        assert_eq!(bench.take(), None);
    }

    #[test]
    fn timers_of_what_is_delivered_do_not_pile_up() {
        let mut bench = Bench::new();
        for _ in 0..100_000 {
            let id = bench.insert(ACME, 1_000);
            bench.index.remove(id);
        }
        assert!(bench.index.timers.len() <= 2_048, "{} timers for nothing", bench.index.timers.len());
    }
}
