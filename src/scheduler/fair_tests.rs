//! The promises of the fair order, exact and random.

use super::*;
use proptest::prelude::*;

fn all(weights: &[u32]) -> Fair {
    let mut fair = Fair::new(weights.iter().copied(), 7);
    (0..weights.len()).for_each(|index| fair.join(index));
    fair
}

impl Fair {
    /// What a member should have had less what it had, in messages.
    fn lag_of(&self, index: usize) -> f64 {
        let lag = if self.is_present(index) { self.lag(index) } else { self.entrants[index].lag };
        lag as f64 / ONE as f64
    }
}

/// Largest |count × W − N × weight| ÷ W is at most one message exactly when the numerator is at most W.
fn worst(counts: &[u64], weights: &[u32], picks: u64) -> Option<(usize, u64)> {
    let total: u64 = weights.iter().map(|&w| u64::from(w)).sum();
    (0..weights.len())
        .map(|i| (i, (counts[i] * total).abs_diff(picks * u64::from(weights[i]))))
        .find(|&(_, off)| off > total)
}

#[test]
fn a_small_pool_follows_the_known_order_up_to_ties() {
    let mut ends = std::collections::BTreeSet::new();
    for seed in 0..64 {
        let mut fair = Fair::new([3, 2, 1], seed);
        (0..3).for_each(|index| fair.join(index));
        let order: Vec<_> = (0..12).map(|_| fair.pick(|_| true).expect("somebody")).collect();
        for round in order.chunks(6) {
            // Deadlines ⅓, ½, ⅔, and then three of 1, of which the heaviest's is not yet eligible at first.
            assert_eq!(round[..3], [0, 1, 0], "{order:?}");
            ends.insert(round[3..].to_vec());
        }
    }
    assert_eq!(Vec::from_iter(ends), [[1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]);
}

/// Shares of each destination's mail when destinations come in turn.
fn in_turn(fair: &mut Fair, members: usize, destinations: usize, picks: usize) -> Vec<Vec<usize>> {
    let mut counts = vec![vec![0; members]; destinations];
    for n in 0..picks {
        counts[n % destinations][fair.pick(|_| true).expect("somebody")] += 1;
    }
    counts
}

#[test]
fn mail_that_comes_in_a_fixed_order_is_not_divided_by_destination() {
    for seed in 0..20 {
        for n in [2, 3, 5] {
            let mut fair = Fair::new(vec![1; n], seed);
            (0..n).for_each(|index| fair.join(index));
            let picks = 1_000 * n;
            for counts in in_turn(&mut fair, n, n, picks) {
                for count in counts {
                    let (least, most) = (picks / n / n * 8 / 10, picks / n / n * 12 / 10);
                    assert!((least..=most).contains(&count), "seed {seed}, {n} members: {count}");
                }
            }
        }
    }
}

#[test]
fn the_first_pick_of_ninety_nine_to_one_is_the_heavy_one() {
    let mut fair = all(&[1, 99]);
    let light = (0..50).filter(|_| fair.pick(|_| true) == Some(0)).count();
    assert!(light <= 1);
    assert_eq!(all(&[1, 99]).pick(|_| true), Some(1));
}

#[test]
fn a_member_that_was_out_does_not_catch_up() {
    let mut fair = all(&[1, 1, 1]);
    (0..7).for_each(|_| assert!(fair.pick(|_| true).is_some()));
    fair.leave(0);
    (0..10_000).for_each(|_| assert_ne!(fair.pick(|_| true), Some(0)));
    fair.join(0);
    let picks: Vec<_> = (0..30).map(|_| fair.pick(|_| true).expect("somebody")).collect();
    for run in 1..=picks.len() {
        let count = picks[..run].iter().filter(|&&i| i == 0).count();
        assert!(count <= run / 3 + 2, "{picks:?}");
    }
    assert!((9..=11).contains(&picks.iter().filter(|&&i| i == 0).count()), "{picks:?}");
}

#[test]
fn a_member_that_carried_alone_does_not_starve_afterwards() {
    let mut fair = all(&[1, 1, 1]);
    fair.leave(0);
    fair.leave(2);
    (0..10_000).for_each(|_| assert_eq!(fair.pick(|_| true), Some(1)));
    fair.join(0);
    fair.join(2);
    let first = (0..6).position(|_| fair.pick(|_| true) == Some(1));
    assert!(first.is_some_and(|at| at <= 4), "{first:?}");
}

#[test]
fn where_one_carries_more_than_its_share_alone_the_others_share_the_rest_by_weight() {
    // Nine of ten messages fit only member 1; the tenth fits all.
    let mut fair = all(&[1, 1, 3]);
    let mut shared = [0u64; 3];
    for n in 0..50_000 {
        if n % 10 == 0 {
            shared[fair.pick(|_| true).expect("somebody")] += 1;
        } else {
            assert_eq!(fair.pick(|index| index == 1), Some(1));
        }
    }
    assert_eq!(shared, [1_250, 0, 3_750]);
}

#[test]
fn a_pick_that_was_not_used_is_as_if_it_had_not_been() {
    let weights = [5, 3, 3, 1];
    let (mut plain, mut refunding) = (all(&weights), all(&weights));
    for _ in 0..500 {
        let taken = refunding.pick(|_| true).expect("somebody");
        refunding.refund(taken);
        assert_eq!(plain.pick(|_| true), refunding.pick(|_| true));
    }
}

#[test]
fn sticky_picks_are_paid_for_by_at_most_one_message() {
    let mut fair = all(&[1, 1]);
    (0..100).for_each(|_| fair.charge(0));
    let next: Vec<_> = (0..6).map(|_| fair.pick(|_| true).expect("somebody")).collect();
    assert_eq!(next[0], 1);
    assert!(next.iter().filter(|&&i| i == 0).count() >= 2, "{next:?}");
}

#[test]
fn nobody_is_picked_where_nobody_may() {
    let mut fair = all(&[1, 2]);
    assert_eq!(fair.pick(|_| false), None);
    assert_eq!((fair.weight(), fair.pick(|_| true)), (3, Some(1)));
    let mut drained = all(&[0, 0]);
    assert_eq!(drained.pick(|_| true), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn nobody_is_ever_more_than_one_message_off_its_share(
        weights in prop::collection::vec(prop_oneof![1u32..=20, 1u32..=65_535], 1..=50),
        picks in 1u64..=20_000,
    ) {
        let mut fair = all(&weights);
        let mut counts = vec![0u64; weights.len()];
        for n in 1..=picks {
            counts[fair.pick(|_| true).expect("somebody")] += 1;
            if n < 200 || n % 37 == 0 || n == picks {
                prop_assert_eq!(worst(&counts, &weights, n), None, "after {} picks", n);
            }
        }
    }

    #[test]
    fn coming_and_going_neither_bursts_nor_starves(
        weights in prop::collection::vec(1u32..=100, 2..=12),
        steps in prop::collection::vec((0usize..12, 0u8..4), 1..400),
    ) {
        let mut fair = all(&weights);
        let n = weights.len();
        for (who, what) in steps {
            match what {
                0 => fair.leave(who % n),
                1 => fair.join(who % n),
                2 => assert_ne!(fair.pick(|index| index != who % n), Some(who % n)),
                _ => assert_eq!(fair.pick(|_| true).is_some(), fair.weight() > 0),
            }
            prop_assert!(fair.aside.is_empty());
        }
        (0..n).for_each(|index| fair.join(index));
        // From any past on: nobody gets more than three messages beyond, or less than three below its share.
        let total: u64 = weights.iter().map(|&w| u64::from(w)).sum();
        let mut counts = vec![0u64; n];
        for picks in 1..=3 * total {
            counts[fair.pick(|_| true).expect("somebody")] += 1;
            for (count, &weight) in counts.iter().zip(&weights) {
                let off = (count * total).abs_diff(picks * u64::from(weight));
                prop_assert!(off <= 3 * total, "{} after {} picks", off as f64 / total as f64, picks);
            }
        }
    }
}

/// What may happen to the set of members.
#[derive(Clone, Debug)]
enum Churn {
    /// Picks while nothing changes.
    Calm(u16),
    Leave(usize),
    Join(usize),
    /// Found shut when it came up: leaves at the front of the line, the worst moment.
    FoundShut(usize),
    /// This pick is not for that one.
    PassOver(usize),
    /// A pick, given back.
    Refund,
    Reweigh(usize, u32),
}

fn churn() -> impl Strategy<Value = Churn> {
    let who = 0usize..12;
    prop_oneof![
        3 => (1u16..200).prop_map(Churn::Calm),
        2 => who.clone().prop_map(Churn::Leave),
        3 => who.clone().prop_map(Churn::Join),
        2 => who.clone().prop_map(Churn::FoundShut),
        2 => who.clone().prop_map(Churn::PassOver),
        1 => Just(Churn::Refund),
        1 => (who, 1u32..=2_000).prop_map(|(who, weight)| Churn::Reweigh(who, weight)),
    ]
}

/// Farthest that any history of members coming and going leaves a member from its share, in messages; and as far from it
/// as it gets afterwards while nothing changes.
const MOST: f64 = 3.0;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn whatever_came_and_went_before_shares_are_kept_while_nothing_changes(
        weights in prop::collection::vec(prop_oneof![Just(1u32), 1u32..=20, 1u32..=1_000], 2..=12),
        events in prop::collection::vec(churn(), 1..120),
    ) {
        let (mut fair, mut weights) = (all(&weights), weights);
        let n = weights.len();
        for event in events {
            match event {
                Churn::Leave(who) => fair.leave(who % n),
                Churn::Join(who) => fair.join(who % n),
                Churn::FoundShut(who) => {
                    let shut = |index| if index == who % n { Answer::Leave } else { Answer::Take };
                    prop_assert!(fair.pick(shut) != Some(who % n));
                }
                Churn::PassOver(who) => prop_assert!(fair.pick(|index| index != who % n) != Some(who % n)),
                Churn::Refund => {
                    if let Some(picked) = fair.pick(|_| true) {
                        fair.refund(picked);
                    }
                }
                Churn::Reweigh(who, weight) => {
                    weights[who % n] = weight;
                    fair.set_weight(who % n, weight);
                }
                Churn::Calm(picks) => {
                    let total = fair.weight();
                    let mut counts = vec![0u64; n];
                    for pick in 1..=u64::from(picks).min(total * u64::from(picks)) {
                        let picked = fair.pick(|_| true).expect("somebody is present");
                        counts[picked] += 1;
                        for index in (0..n).filter(|&index| fair.is_present(index)) {
                            let share = pick as f64 * f64::from(weights[index]) / total as f64;
                            let off = counts[index] as f64 - share;
                            prop_assert!(off.abs() <= MOST, "{}: {} after {} picks", index, off, pick);
                        }
                    }
                }
            }
            let present: u64 = (0..n).filter(|&index| fair.is_present(index)).map(|index| u64::from(weights[index])).sum();
            prop_assert_eq!(present, fair.weight());
            for index in 0..n {
                prop_assert!(fair.lag_of(index).abs() <= MOST, "{}: {}", index, fair.lag_of(index));
            }
        }
    }
}

#[test]
fn a_crowd_that_returns_at_once_takes_no_more_from_a_heavy_member_than_a_message_or_two() {
    // A hundred light members went when their turn had come, one after the other; each is owed nearly a message.
    let mut fair = all(&[&[10_000][..], &[1; 100]].concat());
    let mut light = 0;
    while light < 100 {
        fair.pick(|index| {
            if index == 0 {
                return Answer::Take;
            }
            light += 1;
            Answer::Leave
        });
    }
    (1..=100).for_each(|index| fair.join(index));
    let mut heavy = 0;
    for picks in 1..=2_000 {
        heavy += usize::from(fair.pick(|_| true) == Some(0));
        let share = f64::from(picks) * 10_000.0 / 10_100.0;
        assert!((heavy as f64 - share).abs() <= 3.0, "{heavy} of {picks}");
    }
}
