//! What no evidence, in no order and at no clock, may ever break.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::evidence::AttemptResult;
use super::scenarios::{MINUTE, START, attempt, binding, herd, listing, listings, refused, restarted_at, write};
use super::*;
use crate::clock::Wall;
use crate::config::Automation;
use crate::message::MessageId;
use crate::outcome::Action;

fn any_evidence() -> impl Strategy<Value = Evidence> {
    let name = prop::sample::select(vec!["a", "b", "c", "gone"]);
    let to = prop::sample::select(vec!["gmail", "outlook", "yahoo", "site:x"]);
    // Nothing, too.
    let span = (0u64..300).prop_map(|m| MINUTE * m as u32);
    let action = prop_oneof![
        3 => Just(Action::None),
        1 => span.clone().prop_map(Action::BackOff),
        1 => span.clone().prop_map(Action::SuspendRoute),
        1 => span.clone().prop_map(Action::SuspendBinding),
        2 => span.clone().prop_map(Action::HoldTenant),
        1 => span.clone().prop_map(Action::FixBinding),
    ];
    let result = prop_oneof![
        2 => Just(AttemptResult::Accepted),
        3 => (any::<bool>(), any::<bool>(), action).prop_map(|(hard, blames, action)| refused(hard, blames, action)),
    ];
    let late = (name.clone(), prop::option::of(to.clone()), 0u64..9000, result.clone());
    let complaint = (name.clone(), prop::option::of(to.clone()), 0i64..40, any::<u32>());
    // Quarters: what JSON brings back to the last bit.
    let weight = (0u8..20).prop_map(|quarters| f64::from(quarters) / 4.0);
    let listed = prop::collection::vec((weight, any::<bool>()), 0..3);
    prop_oneof![
        8 => (name.clone(), to.clone(), result, 0u64..4, any::<bool>()).prop_map(|(n, to, result, number, null)| {
            let mut seen = attempt(n, to, "t", "x.example", result);
            if let Evidence::Attempt { message, sender_domain, .. } = &mut seen {
                *message = MessageId(number);
                *sender_domain = (!null).then(|| "s.example".parse().unwrap());
            }
            seen
        }),
        4 => late.prop_map(|(n, to, ago, result)| Evidence::LateBounce {
            binding: n.into(),
            destination: to.map(Into::into),
            tenant: "t".into(),
            domain: (ago % 3 > 0).then(|| "x.example".parse().unwrap()),
            at: Wall::from_millis(START.as_millis() - 1000 * ago as i64),
            result,
        }),
        2 => complaint.prop_map(|(n, to, days, incidents)| Evidence::Complaint {
            binding: n.into(),
            destination: to.map(Into::into),
            tenant: "t".into(),
            at: Wall::from_millis(START.as_millis() - 86_400_000 * days),
            incidents,
        }),
        1 => prop::option::of(to.clone()).prop_map(|to| {
            Evidence::OperatorRelease { tenant: "t".into(), destination: to.map(Into::into) }
        }),
        2 => (name.clone(), listed).prop_map(|(n, l)| {
            listings(n, l.into_iter().map(|(weight, certain)| listing("z", weight, certain)).collect())
        }),
        1 => (name.clone(), any::<bool>()).prop_map(|(n, confirmed)| {
            Evidence::ReverseDns { binding: n.into(), confirmed, detail: "ptr".into() }
        }),
        2 => (name.clone(), prop::option::of(to.clone()), prop::option::of(-300i64..3000)).prop_map(|(n, to, minutes)| {
            Evidence::Reported {
                binding: n.into(),
                destination: to.map(Into::into),
                until: minutes.map(|m| Wall::from_millis(START.as_millis() + 60_000 * m)),
                detail: "red".into(),
            }
        }),
        1 => name.clone().prop_map(|n| Evidence::Unbindable { binding: n.into(), detail: "no".into() }),
        1 => name.clone().prop_map(|n| Evidence::Bindable { binding: n.into() }),
        1 => (name.clone(), prop::option::of(to.clone()), prop::option::of(span.clone())).prop_map(|(n, to, span)| {
            Evidence::OperatorSuspend {
                binding: n.into(),
                destination: to.map(Into::into),
                reason: "word".into(),
                span,
            }
        }),
        1 => (name, prop::option::of(to), prop::option::of(span)).prop_map(|(n, to, span)| {
            Evidence::OperatorResume { binding: n.into(), destination: to.map(Into::into), span }
        }),
    ]
}

/// Reasons for which a change of `a`, `b` or `c` may come without asking the guard.
fn certain(evidence: Option<&Evidence>) -> bool {
    match evidence {
        Some(Evidence::Listings { listed, .. }) => listed.iter().any(|l| l.certain),
        Some(Evidence::Unbindable { .. } | Evidence::OperatorSuspend { .. }) => true,
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_evidence_breaks_what_must_hold(
        story in prop::collection::vec((any_evidence(), 0u64..7200), 1..60)
    ) {
        let (config, mut r) = herd();
        let mut disk = BTreeMap::new();
        let mut shown: BTreeMap<Subject, Health> = BTreeMap::new();
        let mut now = START;
        for (mut evidence, seconds) in story {
            now = now.plus(Duration::from_secs(seconds));
            if let Evidence::LateBounce { at, .. } | Evidence::Complaint { at, .. } = &mut evidence {
                // Drawn as if it were START.
                *at = at.plus(now.since(START));
            }
            for cause in [None, Some(&evidence)] {
                let changes = match cause {
                    None => r.tick(now),
                    Some(evidence) => r.observe(evidence, now),
                };
                for change in changes {
                    // Changes chain: what one ends with the next begins with.
                    let last = shown.insert(change.subject.clone(), change.to.clone());
                    prop_assert_eq!(last.unwrap_or(Health::Active), change.from.clone());
                    prop_assert_ne!(&change.from, &change.to);
                    prop_assert!(!change.evidence.is_empty());
                    match change.to {
                        Health::Suspended { until, reason } => {
                            prop_assert!(until > now);
                            prop_assert_ne!(reason, Reason::Reported, "a feed suspends nobody");
                            // The guard: automation leaves the pool a usable binding.
                            if matches!(change.subject, Subject::Binding(_))
                                && reason != Reason::Operator
                                && !matches!(change.from, Health::Suspended { .. })
                                && !certain(cause)
                                && !r.listings(change.subject.binding()).iter().any(|listing| listing.certain)
                            {
                                let usable = ["a", "b", "c"].iter().filter(|n| {
                                    !matches!(r.health(&binding(n)), Health::Suspended { .. })
                                });
                                prop_assert!(usable.count() >= 1);
                            }
                        }
                        Health::Throttled { divisor, until, .. } => prop_assert!(until > now && divisor >= 2),
                        Health::Probation { allowance, until, reason } => {
                            prop_assert!(until > now && allowance >= 1 && reason != Reason::Reported);
                        }
                        Health::Active => {}
                    }
                }
            }
            for (subject, health) in r.all() {
                prop_assert_eq!(shown.get(&subject).unwrap_or(&Health::Active), health);
            }
            prop_assert!(r.next_wakeup().is_none_or(|at| at > now), "time is served");
            for watched in r.bindings.values_mut() {
                for cell in std::iter::once(&mut watched.own).chain(watched.routes.values_mut()) {
                    let total = cell.tally.total(tally::Steps::new(&config.reputation), now);
                    prop_assert!(total.events <= total.attempts);
                    let mut counts = cell.tally.since(i64::MIN);
                    prop_assert!(counts.all(|(_, own)| own.events <= own.attempts && own.attempts <= total.attempts));
                }
            }
            for change in r.take_hold_changes() {
                if let HoldState::Held { until } = change.to {
                    prop_assert!(until > now);
                }
            }
            let (held, _) = (r.holds().all(now).collect::<Vec<_>>(), r.take_freed());
            // What is on disk is what is in memory.
            write(&mut r, &mut disk);
            let copy = restarted_at(&config, &disk, now);
            prop_assert_eq!(copy.holds().all(now).collect::<Vec<_>>(), held);
            let complaints = |r: &Reputation| -> u64 {
                r.complaints().shares(40, now).values().map(|sum| sum.complaints).sum()
            };
            prop_assert_eq!(complaints(&copy), complaints(&r));
            for (subject, health) in r.all() {
                prop_assert_eq!(copy.health(&subject), health);
                prop_assert_eq!(copy.evidence(&subject), r.evidence(&subject));
            }
            prop_assert_eq!(copy.all().filter(|(_, h)| **h != Health::Active).count(),
                r.all().filter(|(_, h)| **h != Health::Active).count());
        }
    }
}

/// Evidence of which nothing is counted: what health comes to depends on the states alone, and those survive restarts.
fn any_word() -> impl Strategy<Value = Evidence> {
    any_evidence().prop_filter("counted", |evidence| match evidence {
        Evidence::Attempt { result: AttemptResult::Refused { hard, counts_against_ip, action, .. }, .. } => {
            !hard && !counts_against_ip && !matches!(action, Action::HoldTenant(_))
        }
        Evidence::LateBounce { .. } | Evidence::Complaint { .. } => false,
        _ => true,
    })
}

/// Seconds to the next piece of evidence: mostly little, at times days, at times back.
fn any_step() -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => 0i64..1200,
        2 => 0i64..4 * 3600,
        1 => 0i64..10 * 86_400,
        1 => -30i64..0,
        1 => -400 * 86_400i64..0,
    ]
}

fn moved(now: Wall, seconds: i64) -> Wall {
    Wall::from_millis((now.as_millis() + 1000 * seconds).max(1_000_000_000_000))
}

/// What an onlooker has seen of one subject.
#[derive(Clone)]
struct Seen {
    health: Health,
    /// Of this kind since then, or since the clock was set back.
    since: Wall,
}

/// Whether the evidence is one of the documented reasons to come back early: the operator's word about the subject, or an
/// address that can be bound (again).
fn excuses(evidence: &Evidence, subject: &Subject) -> bool {
    let operator = |binding: &crate::message::BindingName, to: &Option<crate::message::DestinationName>| {
        binding == subject.binding()
            && match (to, subject) {
                (Some(to), Subject::Route(_, at)) => to == at,
                (Some(_), Subject::Binding(_)) => false,
                (None, _) => true,
            }
    };
    match evidence {
        Evidence::OperatorSuspend { binding, destination, .. }
        | Evidence::OperatorResume { binding, destination, .. } => operator(binding, destination),
        _ => false,
    }
}

/// Higher is worse.
fn rank(health: &Health) -> u8 {
    match health {
        Health::Active => 0,
        Health::Throttled { .. } => 1,
        Health::Probation { .. } => 2,
        Health::Suspended { .. } => 3,
    }
}

/// The two states that nobody has judged dwell nowhere.
fn is_given(health: &Health) -> bool {
    match health {
        Health::Suspended { reason, .. } | Health::Probation { reason, .. } => {
            matches!(reason, Reason::Operator | Reason::Unbindable)
        }
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn no_path_skips_a_dwell_time_or_probation_nor_ends_before_it_was_told(
        story in prop::collection::vec((any_evidence(), any_step()), 1..80),
        dwell in prop::sample::select(vec![0u32, 15, 45]),
        is_hasty in any::<bool>(),
    ) {
        let (mut config, _) = herd();
        config.reputation.dwell = MINUTE * dwell;
        if is_hasty {
            // Everything else would be over sooner.
            config.reputation.suspend_first = MINUTE;
            config.reputation.probation_period = MINUTE;
            config.reputation.probation_periods = 1;
        }
        let mut r = Reputation::new(&config, START);
        let mut seen: BTreeMap<Subject, Seen> = BTreeMap::new();
        let mut now = START;
        for (evidence, seconds) in story {
            now = moved(now, seconds);
            for known in seen.values_mut() {
                known.since = known.since.min(now);
            }
            for told in [None, Some(&evidence)] {
                let changes = match told {
                    None => r.tick(now),
                    Some(evidence) => r.observe(evidence, now),
                };
                for HealthChange { subject, from, to, .. } in changes {
                    let known = seen.get(&subject).cloned().unwrap_or(Seen { health: Health::Active, since: now });
                    let excused = told.is_some_and(|evidence| excuses(evidence, &subject)) || is_given(&from);
                    let dwelt = now.since(known.since) >= config.reputation.dwell;
                    if rank(&to) < rank(&from) && !excused {
                        prop_assert!(dwelt, "{subject:?} {from:?} to {to:?} after {:?}", now.since(known.since));
                        prop_assert!(
                            rank(&from) < 3 || matches!(to, Health::Probation { .. }),
                            "{subject:?} {from:?} to {to:?}"
                        );
                    }
                    // What ends at a time does not end before. A clock that was set back moves ends, and that alone.
                    if let (Health::Suspended { until, .. }, false) = (&from, excused)
                        && *until != UNTIL_CLEARED
                        && rank(&to) < 3
                    {
                        prop_assert!(now >= *until, "{subject:?} {from:?} to {to:?} at {now}");
                    }
                    let since = if rank(&to) == rank(&from) { known.since } else { now };
                    seen.insert(subject, Seen { health: to, since });
                }
            }
            for (subject, known) in &seen {
                prop_assert_eq!(r.health(subject), &known.health);
            }
        }
    }

    #[test]
    fn a_restart_at_any_point_replays_to_the_same_state_and_the_same_future(
        story in prop::collection::vec((any_word(), any_step()), 1..60),
        watch in any::<bool>(),
    ) {
        let (mut config, _) = herd();
        if watch {
            config.reputation.automation = Automation::Watch;
        }
        let mut whole = Reputation::new(&config, START);
        let mut again = Reputation::new(&config, START);
        let (mut disk, mut other) = (BTreeMap::new(), BTreeMap::new());
        let mut now = START;
        for (evidence, seconds) in story {
            now = moved(now, seconds);
            prop_assert_eq!(whole.tick(now), again.tick(now));
            prop_assert_eq!(whole.observe(&evidence, now), again.observe(&evidence, now), "{:?}", evidence);
            prop_assert_eq!(whole.next_wakeup(), again.next_wakeup());
            write(&mut whole, &mut disk);
            write(&mut again, &mut other);
            let text = |disk: &BTreeMap<String, Vec<u8>>| -> Vec<String> {
                let healths = disk.iter().filter(|(key, _)| key.starts_with(facts::PREFIX));
                healths.map(|(_, json)| String::from_utf8_lossy(json).into_owned()).collect()
            };
            prop_assert_eq!(text(&disk), text(&other));
            again = restarted_at(&config, &other, now);
            for (subject, health) in whole.all() {
                prop_assert_eq!(again.health(&subject), health);
                prop_assert_eq!(again.evidence(&subject), whole.evidence(&subject));
            }
        }
    }

    #[test]
    fn time_never_spins(
        story in prop::collection::vec((any_evidence(), any_step()), 1..40),
        nothing in prop::collection::vec(any::<bool>(), 6),
    ) {
        let (mut config, _) = herd();
        let rules = &mut config.reputation;
        let spans = [
            &mut rules.dwell,
            &mut rules.suspend_first,
            &mut rules.suspend_max,
            &mut rules.forgive_after,
            &mut rules.probation_period,
            &mut rules.ip_block_window,
        ];
        for (span, is_nothing) in spans.into_iter().zip(nothing) {
            if is_nothing {
                *span = Duration::ZERO;
            }
        }
        let mut r = Reputation::new(&config, START);
        let mut now = START;
        for (evidence, seconds) in story {
            now = moved(now, seconds);
            r.observe(&evidence, now);
            prop_assert!(r.next_wakeup().is_none_or(|at| at > now), "{:?}", evidence);
        }
        // Left alone, it comes to rest: what is left does not wake up for nothing.
        for _ in 0..50 {
            let Some(next) = r.next_wakeup() else { break };
            prop_assert!(next > now);
            now = next;
            r.tick(now);
        }
    }

    #[test]
    fn a_watching_automation_moves_nothing_and_holds_nothing(
        story in prop::collection::vec((any_evidence(), any_step()), 1..60),
    ) {
        let (mut config, _) = herd();
        config.reputation.automation = Automation::Watch;
        let mut r = Reputation::new(&config, START);
        let mut now = START;
        for (evidence, seconds) in story {
            now = moved(now, seconds);
            for change in r.observe(&evidence, now) {
                prop_assert!(change.to == Health::Active || is_given(&change.to), "{change:?}");
            }
            prop_assert_eq!(r.take_hold_changes(), vec![]);
        }
    }
}
