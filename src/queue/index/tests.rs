//! The index by itself: order, blocks, timers, counts.

use super::*;
use crate::message::{EntryState, MessageId, Wishes};
use crate::scheduler::BindingId;

const HERE: DestinationId = DestinationId(0);
const ACME: TenantId = TenantId(0);
const BOLT: TenantId = TenantId(1);
const CORP: TenantId = TenantId(2);
const BOTH: Families = Families { v4: true, v6: true };
const PLAIN: Class = Class::new(5, false);
const LANE: LaneKey =
    LaneKey { pool: PoolId(0), destination: HERE, families: BOTH, region: None, cover: CoverId::NONE };

fn to(destination: u32) -> LaneKey {
    LaneKey { destination: DestinationId(destination), ..LANE }
}

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

    fn entry(&self, id: EntryId, expires: i64) -> Entry {
        Entry {
            id,
            message: MessageId(id.0),
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
            wishes: Wishes::NONE,
            state: EntryState::default(),
        }
    }

    fn insert(&mut self, tenant: TenantId, expires: i64) -> EntryId {
        self.next += 1;
        let id = EntryId(self.next);
        let entry = self.entry(id, expires);
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
            self.index.enter_lane(id, LANE, weight);
            id
        };
        (0..count).map(|_| enter()).collect()
    }

    /// Takes the next entry of the lane that is next, and puts the lane back into the round.
    fn take(&mut self) -> Option<(TenantId, EntryId)> {
        self.take_many(1)
    }

    /// The same for a message of so many recipients.
    fn take_many(&mut self, recipients: u32) -> Option<(TenantId, EntryId)> {
        let lane = self.index.next_ready()?;
        let (_, tenant, id) = self.index.head(lane)?;
        self.index.take_head(lane, tenant, id, Place::InFlight, recipients);
        assert_eq!(self.index.get(id).map(|w| w.place), Some(Place::InFlight));
        self.index.again(lane);
        Some((tenant, id))
    }

    /// Puts an entry of this class, arrived then, into the lane.
    fn enter_class(&mut self, tenant: TenantId, class: Class, arrived: i64) -> EntryId {
        let id = self.insert(tenant, 1_000);
        self.index.update(id, |w| (w.class, w.arrived) = (class, at(arrived)));
        self.index.enter_lane(id, LANE, 1);
        id
    }

    fn lane(&self) -> LaneId {
        self.index.lanes_to(HERE)[0]
    }

    fn block(&mut self, until: i64) {
        let lane = self.lane();
        assert_eq!(self.index.next_ready(), Some(lane));
        self.index.block_lane(lane, CoverId::NONE, Block { until: Some(at(until)), reason: "suspended" }, at(until));
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
    bench.index.block_tenant(lane, ACME, Block { until: Some(at(60)), reason: "cap" }, at(60));
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
        bench.index.enter_lane(id, LANE, 1);
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
    bench.index.enter_lane(ids[0], LANE, 1);
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
            bench.index.enter_lane(id, to(n), 1);
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
    bench.index.enter_lane(id, LANE, 1);
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

#[test]
fn what_comes_back_again_and_again_leaves_no_timers_and_no_ids_behind() {
    let mut bench = Bench::new();
    let ids = bench.enter(ACME, 1, 20);
    for cycle in 0..1_000 {
        for &id in &ids {
            // Taken out and let in again, as by an act that is written down, in a lane where nothing is sent.
            let waiting = bench.index.remove(id).expect("waits");
            let entry = bench.entry(id, 1_000);
            bench.index.insert(&entry, Waiting { place: Place::Resolving, ..waiting });
            bench.index.delay(id, at(500), HELD);
            bench.index.enter_lane(id, LANE, 1);
        }
        let ids: usize = bench.index.lanes.slots.iter().filter_map(|(_, lane)| lane.as_ref()).map(Lane::ids).sum();
        assert!(ids <= 200, "{ids} ids for 20 entries after {cycle} rounds");
        let timers = bench.index.timers.len();
        assert!(timers <= 4_096, "{timers} timers for 20 entries after {cycle} rounds");
    }
    let taken: Vec<_> = std::iter::from_fn(|| bench.take()).map(|(_, id)| id).collect();
    let unique: BTreeSet<_> = taken.iter().copied().collect();
    assert_eq!((taken.len(), unique), (20, ids.into_iter().collect()), "each once");
}

#[test]
fn higher_priority_goes_first_and_of_one_priority_the_oldest() {
    let mut bench = Bench::new();
    let sent: Vec<_> =
        [(5, false, 1), (3, true, 0), (9, false, 5), (5, true, 2), (9, false, 4), (5, true, 0), (5, false, 3)]
            .map(|(priority, engaged, arrived)| bench.enter_class(ACME, Class::new(priority, engaged), arrived))
            .into();
    let taken: Vec<_> = std::iter::from_fn(|| bench.take()).map(|(_, id)| id).collect();
    // Each queue in the order in which it was entered; of two with one priority that whose first is older.
    assert_eq!(taken, [2, 4, 0, 3, 5, 6, 1].map(|n| sent[n]));
}

#[test]
fn priority_is_a_matter_within_a_tenant() {
    let mut bench = Bench::new();
    bench.enter(ACME, 1, 10);
    for _ in 0..10 {
        bench.enter_class(BOLT, Class::new(9, true), 0);
    }
    let taken: Vec<_> = (0..10).filter_map(|_| bench.take()).map(|(tenant, _)| tenant).collect();
    assert_eq!(taken.iter().filter(|tenant| **tenant == ACME).count(), 5);
}

#[test]
fn a_reserve_holds_back_what_is_not_engaged_of_all_tenants_and_nothing_else() {
    let mut bench = Bench::new();
    let plain = bench.enter(ACME, 1, 2);
    let engaged = bench.enter_class(BOLT, Class::new(2, true), 0);
    bench.enter(BOLT, 1, 1);
    let lane = bench.index.next_ready().expect("one");
    bench.index.block_plain(lane, CoverId::NONE, Block { until: Some(at(60)), reason: "reserved" }, at(70));
    assert_eq!(bench.take(), Some((BOLT, engaged)), "although its priority is lower");
    assert_eq!(bench.take(), None);
    assert_eq!(bench.index.why(bench.index.get(plain[0]).expect("waits")), ("reserved", Some(at(60))));
    let late = bench.enter_class(ACME, Class::new(5, true), 0);
    assert_eq!(bench.take(), Some((ACME, late)), "a newcomer goes as well");
    assert_eq!(bench.index.next_due(at(69)), None);
    assert_eq!(bench.take(), None);
    assert_eq!(bench.index.next_due(at(70)), None);
    assert_eq!(std::iter::from_fn(|| bench.take()).count(), 3);
}

#[test]
fn a_tenant_with_large_messages_gets_its_share_of_recipients_and_not_of_messages() {
    let mut bench = Bench::new();
    let (large, small) = (bench.enter(ACME, 1, 50), bench.enter(BOLT, 1, 1_000));
    let mut sent = [0u32; 2];
    for _ in 0..606 {
        let lane = bench.index.next_ready().expect("one");
        let (_, tenant, id) = bench.index.head(lane).expect("one");
        let cost = if tenant == ACME { 100 } else { 1 };
        bench.index.take_head(lane, tenant, id, Place::InFlight, cost);
        bench.index.again(lane);
        sent[tenant.index()] += cost;
        assert!(sent[0].abs_diff(sent[1]) <= 100, "{sent:?}");
    }
    assert!(large.len() < small.len() && sent[0] >= 500, "{sent:?}");
}

#[test]
fn a_tenant_does_not_get_rid_of_its_debt_by_sending_one_message_at_a_time() {
    let mut bench = Bench::new();
    bench.enter(BOLT, 1, 1_000);
    let mut sent = [0u32; 2];
    for _ in 0..300 {
        if !bench.index.iter().any(|(_, w)| w.tenant == ACME && matches!(w.place, Place::Lane(..))) {
            bench.enter(ACME, 1, 1);
        }
        let lane = bench.index.next_ready().expect("one");
        let (_, tenant, id) = bench.index.head(lane).expect("one");
        let cost = if tenant == ACME { 100 } else { 1 };
        bench.index.take_head(lane, tenant, id, Place::InFlight, cost);
        bench.index.again(lane);
        sent[tenant.index()] += cost;
    }
    assert!(sent[0] <= sent[1] + 100, "{sent:?}");
}

#[test]
fn a_lane_without_entries_is_gone_and_old_numbers_find_nothing() {
    let mut bench = Bench::new();
    bench.enter(ACME, 1, 1);
    let old = bench.lane();
    bench.index.block_lane(old, CoverId::NONE, Block { until: Some(at(60)), reason: "suspended" }, at(60));
    let id = bench.index.iter().next().map(|(id, _)| id).expect("one");
    bench.index.remove(id);
    assert!(!bench.index.has_lane(old) && bench.index.lanes_to(HERE).is_empty());
    assert_eq!((bench.index.parked_len(PoolId(0)), bench.index.lanes_len()), (0, 0));
    let new = bench.enter(ACME, 1, 1)[0];
    assert_ne!(bench.lane(), old);
    let _ = bench.index.next_ready();
    bench.index.block_lane(bench.lane(), CoverId::NONE, Block { until: Some(at(90)), reason: "cap" }, at(90));
    bench.index.wake_lane(old);
    bench.index.again(old);
    assert_eq!(bench.index.next_due(at(60)), None, "its timer fires into nothing");
    assert_eq!(bench.index.why(bench.index.get(new).expect("waits")), ("cap", Some(at(90))));
    assert_eq!(bench.index.next_ready(), None);
}

#[test]
fn mail_for_hosts_of_one_family_or_of_one_region_does_not_stand_in_the_way_of_the_other() {
    let mut bench = Bench::new();
    let four = bench.enter(ACME, 1, 1)[0];
    bench.block(60);
    let id = bench.insert(ACME, 1_000);
    bench.index.enter_lane(id, LaneKey { families: Families { v4: false, v6: true }, ..LANE }, 1);
    assert_eq!(bench.take(), Some((ACME, id)));
    let id = bench.insert(ACME, 1_000);
    bench.index.enter_lane(id, LaneKey { region: Some(RegionId(1)), ..LANE }, 1);
    assert_eq!(bench.take(), Some((ACME, id)));
    assert_eq!(bench.index.why(bench.index.get(four).expect("waits")).0, "suspended");
}

#[test]
fn tables_do_not_grow_with_lanes_that_were() {
    let mut bench = Bench::new();
    for n in 0..100_000 {
        let id = bench.insert(ACME, 1_000);
        bench.index.enter_lane(id, to(n), 1);
        if n % 2 == 0 {
            assert!(bench.take().is_some());
        }
        bench.index.remove(id);
    }
    let index = &bench.index;
    assert_eq!((index.lane_ids.len(), index.by_destination.len(), index.entries.len()), (0, 0, 0));
    assert_eq!(index.lanes.slots.len(), 1);
    assert!(index.timers.len() <= 2_048);
    assert!(bench.take().is_none() && bench.index.ready.is_empty());
}

#[test]
fn a_walk_in_slices_sees_everything_once() {
    let mut bench = Bench::new();
    let mut sent = bench.enter(ACME, 1, 10_000);
    for id in sent.split_off(9_000) {
        bench.index.remove(id);
    }
    bench.index.remove(sent.swap_remove(17));
    let mut seen = Vec::new();
    for from in (0..).step_by(700).take_while(|from| *from < 9_000) {
        seen.extend(bench.index.slice(from, 700).map(|(id, _)| id));
    }
    seen.sort();
    sent.sort();
    assert_eq!(seen, sent);
}

#[test]
fn a_waiting_entry_costs_less_than_300_octets_in_a_lane_and_beside_it() {
    // The map from id to place has just doubled.
    const MANY: usize = 115_000;
    for is_delayed in [false, true] {
        let mut bench = Bench::new();
        for n in 0..MANY {
            let id = bench.insert(ACME, 1_000);
            match is_delayed {
                true => bench.index.delay(id, at(100 + n as i64), "retry"),
                false => bench.index.enter_lane(id, LANE, 1),
            }
            // Delivered and gone: its timer is left over.
            let gone = bench.insert(ACME, 1_000);
            bench.index.remove(gone);
        }
        let in_lane = if is_delayed { 0 } else { MANY.next_power_of_two() * size_of::<EntryId>() };
        let each = (bench.index.entries.octets() + bench.index.timers.octets() + in_lane) / MANY;
        assert!((100..=300).contains(&each), "{each} octets");
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Between two slices of a walk anything comes and goes: what was there all the time is met.
        #[test]
        fn a_walk_from_the_end_misses_nothing_that_stays(
            many in 1usize..60,
            count in 1usize..20,
            steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..80),
        ) {
            let mut bench = Bench::new();
            let mut stays: Vec<EntryId> = (0..many).map(|_| bench.insert(ACME, 1_000)).collect();
            let (mut before, mut met, mut steps) = (usize::MAX, Vec::new(), steps.into_iter());
            while before > 0 {
                let (from, slice) = bench.index.slice_before(before, count);
                met.extend(slice.map(|(id, _)| id));
                before = from;
                for (comes, which) in steps.by_ref().take(4) {
                    if comes {
                        bench.insert(BOLT, 1_000);
                    } else if !stays.is_empty() {
                        let gone = stays.swap_remove(which.index(stays.len()));
                        bench.index.remove(gone);
                    }
                }
            }
            let missed: Vec<_> = stays.iter().filter(|id| !met.contains(id)).collect();
            prop_assert!(missed.is_empty(), "{missed:?}");
        }

        /// While all of them have mail, no tenant is further from its share than its own largest message and those of the
        /// others bring about, whatever the sizes.
        #[test]
        fn shares_of_recipients_are_exact_to_within_one_message(
            weights in prop::collection::vec(1u32..6, 2..5),
            sizes in prop::collection::vec(1u32..100, 100..101),
        ) {
            let mut bench = Bench::new();
            for (tenant, weight) in weights.iter().enumerate() {
                bench.enter(TenantId(tenant as u32), *weight, sizes.len());
            }
            let mut sent = vec![0f64; weights.len()];
            for size in &sizes {
                let Some((tenant, _)) = bench.take_many(*size) else { panic!("all have mail") };
                sent[tenant.index()] += f64::from(*size);
                let shares: Vec<f64> = sent.iter().zip(&weights).map(|(sent, weight)| sent / f64::from(*weight)).collect();
                for (a, &of_a) in shares.iter().zip(&weights) {
                    for (b, &of_b) in shares.iter().zip(&weights) {
                        // One message of each, and one round.
                        let most = 100.0 / f64::from(of_a) + 100.0 / f64::from(of_b) + 1.0;
                        prop_assert!(a - b <= most, "{shares:?} of {weights:?}");
                    }
                }
            }
        }

        /// Whatever comes, is taken, held, blocked and woken: what is alive is taken once, and nothing is left behind.
        #[test]
        fn everything_that_enters_leaves_once(
            steps in prop::collection::vec((0u8..7, 0u32..4, 0u32..3, 1u32..50), 1..200),
        ) {
            let mut bench = Bench::new();
            let cover = |n: u32| CoverId::for_tests(n % 3);
            let mut alive: Vec<EntryId> = Vec::new();
            for (what, tenant, place, n) in steps {
                let tenant = TenantId(tenant);
                match what {
                    0 | 1 => {
                        let id = bench.insert(tenant, 1_000);
                        bench.index.update(id, |w| w.class = Class::new((n % 3) as u8, n % 2 == 0));
                        bench.index.enter_lane(id, LaneKey { cover: cover(n), ..to(place) }, 1 + n % 3);
                        alive.push(id);
                    }
                    2 => {
                        if let Some((_, id)) = bench.take_many(n) {
                            let at = alive.iter().position(|known| *known == id);
                            prop_assert!(at.is_some(), "taken twice");
                            alive.swap_remove(at.expect("just looked"));
                            bench.index.remove(id);
                        }
                    }
                    3 if !alive.is_empty() => {
                        let id = alive.swap_remove(n as usize % alive.len());
                        bench.index.remove(id);
                    }
                    4 if !alive.is_empty() => {
                        let id = alive[n as usize % alive.len()];
                        bench.index.hold(id);
                        bench.index.enter_lane(id, LaneKey { cover: cover(n), ..to(place) }, 1);
                    }
                    5 => {
                        for lane in bench.index.lanes_to(DestinationId(place)).to_vec() {
                            let block = Block { until: None, reason: "window_full" };
                            match n % 3 {
                                0 => bench.index.block_lane(lane, cover(n), block, at(50)),
                                1 => bench.index.block_plain(lane, cover(n), block, at(50)),
                                _ => bench.index.block_tenant(lane, tenant, block, at(50)),
                            }
                        }
                    }
                    6 => {
                        for lane in bench.index.lanes_to(DestinationId(place)).to_vec() {
                            match n % 5 {
                                0 => bench.index.wake_lane(lane),
                                1 => drop(bench.index.found_used(lane, |id, _| id.0 == n % 2)),
                                2 => bench.index.uses(lane, cover(n), BindingId(n % 2)),
                                _ => drop(bench.index.wake_some(lane, Some(BindingId(n % 2)), |of, _| of != cover(n))),
                            }
                            let is_parked = bench.index.parked(PoolId(0)).any(|parked| parked == lane);
                            prop_assert_eq!(bench.index.is_parked(lane), is_parked);
                        }
                    }
                    _ => {}
                }
                let in_lanes: usize = bench.index.lanes().map(|lane| lane.entries).sum();
                prop_assert_eq!(in_lanes, alive.len());
            }
            prop_assert_eq!(bench.index.next_due(at(60)), None);
            // A lane whose head is none left the round: look as often as there are lanes.
            let mut left = Vec::new();
            while !bench.index.ready.is_empty() {
                left.extend(bench.take().map(|(_, id)| id));
            }
            left.sort();
            alive.sort();
            prop_assert_eq!(left, alive);
        }
    }
}

const COVERED: LaneKey = LaneKey { cover: CoverId::for_tests(1), ..LANE };

#[test]
fn parts_of_a_lane_stand_still_for_themselves_and_share_the_turns_of_their_tenants() {
    let mut bench = Bench::new();
    let acme = bench.enter(ACME, 1, 4);
    for cover in 1..=20 {
        let id = bench.insert(ACME, 1_000);
        bench.index.enter_lane(id, LaneKey { cover: CoverId::for_tests(cover), ..LANE }, 1);
    }
    let of_bolt: Vec<_> = (0..20).map(|_| bench.insert(BOLT, 1_000)).collect();
    of_bolt.iter().for_each(|&id| bench.index.enter_lane(id, COVERED, 1));
    assert_eq!(bench.index.lanes_len(), 1);
    assert_eq!(bench.index.lanes_of_cover(CoverId::for_tests(20)).collect::<Vec<_>>(), [bench.lane()]);
    let (lane, used) = (bench.lane(), Block { until: None, reason: "window_full" });
    bench.index.block_lane(lane, CoverId::NONE, used, at(90));
    let first = bench.index.get(acme[0]).expect("waits");
    assert_eq!(bench.index.why(first), ("window_full", None));
    assert_eq!(bench.index.lanes().next().and_then(|view| view.blocked), None, "other parts go on");
    let taken: Vec<_> = (0..10).filter_map(|_| bench.take()).collect();
    assert_eq!(taken.iter().filter(|(tenant, _)| *tenant == BOLT).count(), 5, "{taken:?}");
    assert!(!taken.iter().any(|(_, id)| acme.contains(id)));
    bench.index.wake_lane(lane);
    let taken: Vec<_> = (0..2).filter_map(|_| bench.take()).collect();
    assert!(taken.contains(&(ACME, acme[0])), "the oldest of its tenant: {taken:?}");
}

#[test]
fn what_one_part_finds_in_use_the_others_need_not_look_for() {
    let mut bench = Bench::new();
    let [one, two] = [1, 2].map(CoverId::for_tests);
    let binding = |n| Some(BindingId(n));
    for cover in [one, two] {
        for tenant in [ACME, BOLT] {
            let id = bench.insert(tenant, 1_000);
            bench.index.enter_lane(id, LaneKey { cover, ..LANE }, 1);
        }
    }
    let (lane, used) = (bench.lane(), Block { until: None, reason: "window_full" });
    let block = |bench: &mut Bench, cover| bench.index.block_lane(lane, cover, used, at(90));
    [one, two].into_iter().for_each(|cover| block(&mut bench, cover));
    assert!(bench.take().is_none() && bench.index.waits_for_event(lane));
    assert!(!bench.index.wake_some(lane, binding(7), |cover, _| cover == CoverId::NONE), "nobody may use it");

    assert!(bench.index.wake_some(lane, binding(7), |_, _| true) && !bench.index.is_parked(lane));
    bench.take().expect("goes");
    // The next finds it in use.
    let (key, ..) = bench.index.next_ready().and_then(|lane| bench.index.head(lane)).expect("a head");
    bench.index.found_used(lane, |id, _| id == BindingId(8));
    assert!(!bench.index.is_parked(lane), "another binding");
    bench.index.leaves_line(lane);
    let mut found = |id| bench.index.found_used(lane, |tried, block| tried == id && block.until.is_none());
    assert_eq!([found(BindingId(7)), found(BindingId(7))], [true, false], "it is to stand in its line again");
    block(&mut bench, key.cover);
    assert!(bench.take().is_none());
    assert_eq!(bench.index.parked(PoolId(0)).collect::<Vec<_>>(), [lane]);

    // Two have something for them: what one has no more says nothing of the other.
    assert!(bench.index.wake_some(lane, binding(7), |_, _| true));
    assert!(!bench.index.wake_some(lane, binding(8), |_, _| true), "they look already");
    bench.index.found_used(lane, |id, _| id == BindingId(7));
    assert_eq!(std::iter::from_fn(|| bench.take()).count(), 3);
    assert_eq!(bench.index.lanes_len(), 0);
}
