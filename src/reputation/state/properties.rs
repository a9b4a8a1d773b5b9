//! The machine of one subject, fed directly.

use std::time::Duration;

use proptest::prelude::*;

use super::super::fixtures::rules;
use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const START: Wall = Wall::from_millis(1_800_000_000_000);

const REASONS: [Reason; 8] = [
    Reason::HardBounces,
    Reason::Complaints,
    Reason::Deferrals,
    Reason::IpBlocked,
    Reason::Misconfigured,
    Reason::Listed,
    Reason::ReverseDns,
    Reason::Reported,
];

#[derive(Clone, Debug)]
enum Act {
    Penalise(Reason, u32),
    Hold(Reason, Effect, u32),
    Lift(Reason),
    Unbindable,
    Bindable,
    Suspend(u32),
    Resume(Option<u32>),
    Accepted,
}

fn any_act() -> impl Strategy<Value = Act> {
    let reason = prop::sample::select(REASONS.to_vec());
    let effect = prop_oneof![Just(Effect::Suspend), Just(Effect::Throttle)];
    prop_oneof![
        3 => (reason.clone(), prop_oneof![3 => Just(0u32), 1 => 0u32..3000]).prop_map(|(r, m)| Act::Penalise(r, m)),
        3 => (reason.clone(), effect, 0u32..3000).prop_map(|(r, e, m)| Act::Hold(r, e, m)),
        2 => reason.prop_map(Act::Lift),
        1 => Just(Act::Unbindable),
        1 => Just(Act::Bindable),
        1 => (0u32..300).prop_map(Act::Suspend),
        1 => prop::option::of(0u32..300).prop_map(Act::Resume),
        3 => Just(Act::Accepted),
    ]
}

fn act(state: &mut State, act: &Act, rules: &config::Reputation, now: Wall) {
    let span = |minutes: u32| MINUTE * minutes;
    match act {
        Act::Penalise(reason, minutes) => {
            state.penalise(*reason, span(*minutes), "told", rules, now);
        }
        Act::Hold(reason, effect, minutes) => {
            let until = if *minutes > 2000 { UNTIL_CLEARED } else { now.plus(span(*minutes)) };
            let cause = Cause { effect: *effect, until, certain: minutes % 2 == 0, evidence: "told".into() };
            state.hold(*reason, cause, now);
        }
        Act::Lift(reason) => state.lift(*reason, rules, now),
        Act::Unbindable => state.unbindable("no".into(), now),
        Act::Bindable => state.bindable(),
        Act::Suspend(minutes) => state.suspend_by_operator(now.plus(span(*minutes)), "word".into(), now),
        Act::Resume(minutes) => state.resume(minutes.map(span), now),
        Act::Accepted => {
            if let Some(way) = &mut state.recovery {
                way.accepted = way.accepted.saturating_add(1);
            }
        }
    }
}

fn copied(state: &State) -> State {
    serde_json::from_slice(&serde_json::to_vec(state).unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn penalties_grow_until_they_are_forgiven_and_have_a_longest(
        story in prop::collection::vec((0u32..40_000, prop_oneof![3 => Just(0u32), 1 => 0u32..5000]), 1..60),
    ) {
        let (rules, mut state, mut now) = (rules(), State::default(), START);
        // The last penalty by itself, and when there was last something against it.
        let mut last: Option<(Duration, Wall)> = None;
        for (minutes, least) in story {
            now = now.plus(MINUTE * minutes);
            state.expire(&rules, now);
            state.show(false, &rules, now);
            let least = MINUTE * least;
            let is_new = state.penalise(Reason::IpBlocked, least, "told", &rules, now);
            state.show(false, &rules, now);
            let Health::Suspended { until, .. } = state.health else { panic!("{state:?}") };
            if !is_new {
                continue;
            }
            let span = until.since(now);
            prop_assert!(span <= rules.suspend_max.max(least), "{span:?}");
            prop_assert!(span >= rules.suspend_first);
            if let Some((before, clean_since)) = last {
                let forgiven = now.since(clean_since) >= rules.forgive_after;
                let expected = if forgiven { rules.suspend_first } else { (before * 2).min(rules.suspend_max) };
                prop_assert!(span >= expected, "{span:?} after {before:?}");
                prop_assert_eq!(span, expected.max(least));
                last = Some((expected, until));
            } else {
                last = Some((rules.suspend_first, until));
            }
        }
    }

    #[test]
    fn the_longest_wins_and_all_causes_are_kept(
        told in prop::collection::vec((prop::sample::select(REASONS.to_vec()), 20u32..3000), 1..20),
    ) {
        let (rules, mut state) = (rules(), State::default());
        let mut asked: BTreeMap<Reason, Wall> = BTreeMap::new();
        for (reason, minutes) in told {
            let until = START.plus(MINUTE * minutes);
            let cause = Cause { effect: Effect::Suspend, until, certain: false, evidence: reason.as_str().into() };
            state.hold(reason, cause, START);
            state.show(false, &rules, START);
            // One that asks for hardly more than what is known is no news.
            let known = asked.entry(reason).or_insert(until);
            *known = (*known).max(until);
        }
        let (least, longest) = (asked.len(), asked.values().max().copied().unwrap());
        let Health::Suspended { until, .. } = state.health else { panic!("{state:?}") };
        prop_assert!(until <= longest && until.since(START) * 10 >= longest.since(START) * 9, "{until} of {longest}");
        prop_assert_eq!(state.causes.len(), least);
        let words = state.evidence(&rules);
        prop_assert!(asked.keys().all(|reason| words.contains(reason.as_str())), "{words}");
    }

    #[test]
    fn what_is_on_disk_is_all_there_is(
        story in prop::collection::vec((any_act(), -100_000i64..100_000, any::<bool>()), 1..80),
    ) {
        let rules = rules();
        let (mut one, mut other, mut now) = (State::default(), State::default(), START);
        for (told, seconds, withheld) in story {
            now = Wall::from_millis(now.as_millis() + seconds * if seconds < 0 { 100 } else { 1000 });
            for state in [&mut one, &mut other] {
                state.set_back(&rules, now);
                state.expire(&rules, now);
                state.show(withheld && !state.in_force, &rules, now);
                act(state, &told, &rules, now);
                state.show(withheld && !state.in_force, &rules, now);
            }
            prop_assert_eq!(&one, &other);
            prop_assert_eq!(one.next_moment(&rules), other.next_moment(&rules));
            other = copied(&other);
        }
    }
}
