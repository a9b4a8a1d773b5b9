//! What no evidence, in no order and at no clock, may ever break.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::evidence::AttemptResult;
use super::scenarios::{
    HOUR, MINUTE, START, attempt, binding, herd, listing, listings, refused, restarted, restarted_at, write,
};
use super::*;
use crate::clock::Wall;
use crate::config::{Automation, Config};
use crate::message::MessageId;
use crate::outcome::Action;

fn any_evidence() -> impl Strategy<Value = Evidence> {
    let name = prop::sample::select(vec!["a", "b", "c", "gone"]);
    let to = prop::sample::select(vec!["gmail", "outlook", "yahoo", "site:x"]);
    let span = (1u64..300).prop_map(|m| MINUTE * m as u32);
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
    let listed = prop::collection::vec((0.0..5.0f64, any::<bool>()), 0..3);
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
        1 => prop::option::of(to).prop_map(|to| {
            Evidence::OperatorRelease { tenant: "t".into(), destination: to.map(Into::into) }
        }),
        2 => (name.clone(), listed).prop_map(|(n, l)| {
            listings(n, l.into_iter().map(|(weight, certain)| listing("z", weight, certain)).collect())
        }),
        1 => (name.clone(), any::<bool>()).prop_map(|(n, confirmed)| {
            Evidence::ReverseDns { binding: n.into(), confirmed, detail: "ptr".into() }
        }),
        1 => name.clone().prop_map(|n| Evidence::Unbindable { binding: n.into(), detail: "no".into() }),
        1 => name.clone().prop_map(|n| Evidence::Bindable { binding: n.into() }),
        1 => (name.clone(), prop::option::of(span)).prop_map(|(n, span)| {
            Evidence::OperatorSuspend { binding: n.into(), destination: None, reason: "word".into(), span }
        }),
        1 => name.prop_map(|n| Evidence::OperatorResume { binding: n.into(), destination: None, span: None }),
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
                            // The guard: automation leaves the pool a usable binding.
                            if matches!(change.subject, Subject::Binding(_))
                                && reason != Reason::Operator
                                && !matches!(change.from, Health::Suspended { .. })
                                && !certain(cause)
                            {
                                let usable = ["a", "b", "c"].iter().filter(|n| {
                                    !matches!(r.health(&binding(n)), Health::Suspended { .. })
                                });
                                prop_assert!(usable.count() >= 1);
                            }
                        }
                        Health::Throttled { divisor, until, .. } => prop_assert!(until > now && divisor >= 2),
                        Health::Probation { allowance, until, .. } => prop_assert!(until > now && allowance >= 1),
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
                    let total = cell.tally.total(now);
                    prop_assert!(total.events <= total.attempts);
                    let worst = cell.tally.worst_tenant(now).map(|(_, count)| count);
                    prop_assert!(worst.is_none_or(|own| own.events <= own.attempts && own.attempts <= total.attempts));
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
            let copy = restarted(&config, &disk);
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
