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

#[test]
fn in_a_storm_the_worst_are_kept_and_the_rest_counted() {
    let (mut ledger, rules) = (Ledger::default(), rules());
    let mut conditions: Vec<Condition> = (0..ALERTS_MAX + 10).map(|n| condition(&format!("p{n}"))).collect();
    conditions.push(Condition { name: AlertName::SpoolSpaceLow, labels: Labels::new(), ..condition("x") });
    ledger.look(Judgement { conditions, doubts: Vec::new() }, &rules, at(0));
    assert_eq!((ledger.all().count(), ledger.left_out()), (ALERTS_MAX, 11));
    assert!(ledger.all().any(|alert| alert.condition.name == AlertName::SpoolSpaceLow));
}

#[test]
fn labels_that_quote_one_another_are_not_the_same_alert() {
    let of = |labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Identity::of(AlertName::QueueOld, &labels)
    };
    assert_ne!(of(&[("a", "1\",b=\"2")]), of(&[("a", "1"), ("b", "2")]));
}
