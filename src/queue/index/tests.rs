//! The index by itself: order, blocks, timers, counts.

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
            class: PLAIN,
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
            self.index.enter_lane(id, HERE, BOTH, weight);
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
        bench.index.enter_lane(id, HERE, BOTH, 1);
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
    bench.index.enter_lane(ids[0], HERE, BOTH, 1);
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
            bench.index.enter_lane(id, DestinationId(n), BOTH, 1);
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
    bench.index.enter_lane(id, HERE, BOTH, 1);
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
