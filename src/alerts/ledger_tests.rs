//! Looks in, what is told out: beginnings, ends, flapping, doubt, restarts, storms.

use super::*;
use crate::alerts::conditions::Doubt;

/// At which second what is seen.
type Look = (i64, fn() -> Judgement);

fn at(seconds: i64) -> Wall {
    Wall::from_millis(seconds * 1_000)
}

fn rules() -> Alerts {
    let mut rules = Alerts::default();
    rules.rules.get_mut(&AlertName::QueueOld).expect("there").hold = Duration::from_secs(30);
    rules.clear_after = Duration::from_secs(60);
    rules
}

fn condition(pool: &str) -> Condition {
    Condition {
        name: AlertName::QueueOld,
        labels: Labels::from([("pool".to_owned(), pool.to_owned())]),
        summary: format!("{pool} waits"),
        description: String::new(),
        episode: String::new(),
    }
}

fn holds() -> Judgement {
    Judgement { conditions: vec![condition("p")], doubts: Vec::new() }
}

fn gone() -> Judgement {
    Judgement::default()
}

fn unsure() -> Judgement {
    let doubt = Doubt { name: AlertName::QueueOld, labels: Labels::new() };
    Judgement { conditions: Vec::new(), doubts: vec![doubt] }
}

/// What is told at each look: `f` fired, `e` ended, `.` nothing.
fn told(looks: &[Look]) -> String {
    let (mut ledger, rules) = (Ledger::default(), rules());
    let mut out = String::new();
    for (second, judgement) in looks {
        let changes = ledger.look(judgement(), &rules, at(*second));
        assert!(changes.len() < 2, "{changes:?}");
        out.push(match changes.first() {
            None => '.',
            Some(Change::Fired(_)) => 'f',
            Some(Change::Ended(..)) => 'e',
        });
    }
    out
}

#[test]
fn an_alert_begins_after_its_time_and_ends_after_its_time() {
    let looks: &[Look] = &[
        (0, holds),
        (15, holds),
        (29, holds),
        (30, holds),
        (45, holds),
        (60, gone),
        (119, gone),
        (120, gone),
        (135, gone),
    ];
    assert_eq!(told(looks), "...f...e.");
}

#[test]
fn what_comes_and_goes_within_its_time_is_told_nobody() {
    let looks: &[Look] = &[(0, holds), (15, gone), (30, holds), (45, holds), (59, gone), (75, holds)];
    assert_eq!(told(looks), "......");
}

#[test]
fn a_flapping_alert_is_one_alert() {
    let looks: &[Look] = &[
        (0, holds),
        (30, holds),
        (45, gone),
        (60, holds),
        (75, gone),
        (120, holds),
        (130, gone),
        (189, gone),
        (190, gone),
    ];
    assert_eq!(told(looks), ".f......e");
}

#[test]
fn doubt_neither_begins_nor_ends_anything() {
    assert_eq!(told(&[(0, unsure), (600, unsure)]), "..");
    assert_eq!(told(&[(0, holds), (30, holds), (45, unsure), (9_000, unsure), (9_015, gone), (9_075, gone)]), ".f...e");
    let pending: &[Look] = &[(0, holds), (15, unsure), (30, holds)];
    assert_eq!(told(pending), "..f", "it has held all the while, as far as anybody can tell");
}

#[test]
fn a_rule_that_is_switched_off_ends_what_it_began_whatever_the_doubt() {
    let (mut ledger, mut rules) = (Ledger::default(), rules());
    ledger.look(holds(), &rules, at(0));
    assert_eq!(ledger.look(holds(), &rules, at(30)).len(), 1);
    rules.rules.get_mut(&AlertName::QueueOld).expect("there").enabled = false;
    ledger.look(unsure(), &rules, at(45));
    assert!(matches!(ledger.look(unsure(), &rules, at(105))[..], [Change::Ended(..)]));
}

#[test]
fn a_new_episode_begins_anew() {
    let (mut ledger, rules) = (Ledger::default(), rules());
    let stage = |episode: &str| {
        let conditions = vec![Condition { episode: episode.into(), ..condition("p") }];
        Judgement { conditions, doubts: Vec::new() }
    };
    assert!(ledger.look(stage("1"), &rules, at(0)).is_empty());
    assert!(ledger.look(stage("2"), &rules, at(29)).is_empty());
    assert!(ledger.look(stage("2"), &rules, at(31)).is_empty(), "the second has not held for long enough");
    assert!(matches!(ledger.look(stage("2"), &rules, at(59))[..], [Change::Fired(_)]));
    assert!(matches!(ledger.look(stage("3"), &rules, at(60))[..], [Change::Ended(..)]), "it moved at last");
}

#[test]
fn a_restart_goes_on_with_the_same_alert() {
    let (mut before, rules) = (Ledger::default(), rules());
    before.look(holds(), &rules, at(0));
    before.look(holds(), &rules, at(30));
    let mut after = Ledger::default();
    after.restore(before.worth_keeping(&rules).cloned());
    assert!(after.look(holds(), &rules, at(500)).is_empty(), "told already");
    assert_eq!(after.firing().next().and_then(|alert| alert.stage.fired()), Some(at(30)));
    let mut after = Ledger::default();
    after.restore(before.worth_keeping(&rules).cloned());
    assert!(after.look(gone(), &rules, at(500)).is_empty());
    assert!(matches!(after.look(gone(), &rules, at(560))[..], [Change::Ended(..)]), "over meanwhile: it ends");
}

#[test]
fn a_clock_that_is_set_back_holds_nothing_for_ever() {
    let (mut ledger, rules) = (Ledger::default(), rules());
    ledger.look(holds(), &rules, at(1_000_000));
    ledger.look(holds(), &rules, at(0));
    assert!(matches!(ledger.look(holds(), &rules, at(30))[..], [Change::Fired(_)]));
    ledger.look(gone(), &rules, at(1_000_000));
    ledger.look(gone(), &rules, at(100));
    assert!(ledger.look(gone(), &rules, at(1_000_060)).len() == 1);
}

fn of(name: AlertName, key: &str) -> Condition {
    Condition { name, labels: Labels::from([("of".to_owned(), key.to_owned())]), ..condition("x") }
}

fn all(conditions: impl IntoIterator<Item = Condition>) -> Judgement {
    Judgement { conditions: conditions.into_iter().collect(), doubts: Vec::new() }
}

fn names(changes: &[Change]) -> Vec<&'static str> {
    let fired = changes.iter().filter_map(|change| match change {
        Change::Fired(alert) => Some(alert.condition.name.as_str()),
        Change::Ended(..) => None,
    });
    fired.collect()
}

#[test]
fn what_waits_for_days_keeps_nobody_from_firing() {
    let (mut ledger, rules) = (Ledger::default(), rules());
    // A ladder for each of ten providers, of two thousand addresses.
    let ladders = || (0..20_000).map(|n| of(AlertName::WarmupStalled, &format!("{n}")));
    ledger.look(all(ladders()), &rules, at(0));
    let worse = || ladders().chain([of(AlertName::SpoolSpaceLow, "x"), of(AlertName::BindingSuspended, "a")]);
    assert_eq!(names(&ledger.look(all(worse()), &rules, at(15))), ["BindingSuspended"]);
    assert_eq!(names(&ledger.look(all(worse()), &rules, at(75))), ["SpoolSpaceLow"]);
}

#[test]
fn what_fires_leaves_room_for_what_is_worse() {
    let (mut ledger, rules) = (Ledger::default(), rules());
    let listed = || (0..5_000).map(|n| of(AlertName::BindingListed, &format!("{n}")));
    ledger.look(all(listed()), &rules, at(0));
    let worse = || listed().chain([of(AlertName::SpoolSpaceLow, "x")]);
    ledger.look(all(worse()), &rules, at(15));
    assert_eq!(names(&ledger.look(all(worse()), &rules, at(75))), ["SpoolSpaceLow"]);
}

#[test]
fn in_a_storm_the_worst_fire_and_the_rest_is_counted() {
    let (mut ledger, rules) = (Ledger::default(), rules());
    let now = rules.rule(AlertName::BindingListed).hold;
    assert!(now.is_zero());
    let mut conditions: Vec<Condition> =
        (0..ALERTS_MAX).map(|n| of(AlertName::CapNearlyUsed, &format!("{n}"))).collect();
    conditions.extend((0..ALERTS_MAX).map(|n| of(AlertName::BindingListed, &format!("{n}"))));
    let changes = ledger.look(all(conditions), &rules, at(0));
    assert_eq!(changes.len(), ledger.firing().count());
    assert!(names(&changes).iter().all(|name| *name == "BindingListed"), "the milder ones wait");
    assert_eq!(ledger.left_out(), 2 * ALERTS_MAX - changes.len());
    assert!(changes.len() < ALERTS_MAX, "there is room for worse");
}

#[test]
fn labels_that_quote_one_another_are_not_the_same_alert() {
    let of = |labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Identity::of(AlertName::QueueOld, &labels)
    };
    assert_ne!(of(&[("a", "1\",b=\"2")]), of(&[("a", "1"), ("b", "2")]));
}
