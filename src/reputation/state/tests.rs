//! The machine of one subject, story by story.

use std::time::Duration;

use super::super::fixtures::rules;
use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const START: Wall = Wall::from_millis(1_800_000_000_000);

fn suspends(until: Wall, certain: bool) -> Cause {
    Cause { effect: Effect::Suspend, until, certain, evidence: "test".into() }
}

fn throttles(until: Wall) -> Cause {
    Cause { effect: Effect::Throttle, ..suspends(until, false) }
}

fn at(minutes: u32) -> Wall {
    START.plus(MINUTE * minutes)
}

/// A state with its rules, shown after each act as its owner does.
struct Subject {
    state: State,
    rules: config::Reputation,
    /// What the guard says.
    withheld: bool,
}

impl Subject {
    fn new() -> Self {
        Self { state: State::default(), rules: rules(), withheld: false }
    }

    fn act(&mut self, now: Wall, act: impl FnOnce(&mut State, &config::Reputation)) -> Health {
        self.state.expire(&self.rules, now);
        self.state.show(self.withheld && !self.state.in_force, &self.rules, now);
        act(&mut self.state, &self.rules);
        self.state.show(self.withheld && !self.state.in_force, &self.rules, now);
        self.state.health.clone()
    }

    fn hold(&mut self, reason: Reason, cause: Cause, now: Wall) -> Health {
        self.act(now, |state, _| state.hold(reason, cause, now))
    }

    fn lift(&mut self, reason: Reason, now: Wall) -> Health {
        self.act(now, |state, rules| state.lift(reason, rules, now))
    }

    fn at(&mut self, now: Wall) -> Health {
        self.act(now, |_, _| {})
    }

    fn penalise(&mut self, reason: Reason, least: Duration, now: Wall) -> bool {
        let mut is_new = false;
        self.act(now, |state, rules| is_new = state.penalise(reason, least, "test", rules, now));
        is_new
    }
}

#[test]
fn penalties_double_up_to_the_longest_and_are_forgiven() {
    let (mut subject, mut now) = (Subject::new(), START);
    for hours in [1, 2, 4, 8, 16, 24, 24] {
        assert!(subject.penalise(Reason::IpBlocked, Duration::ZERO, now));
        let until = now.plus(MINUTE * 60 * hours);
        assert_eq!(subject.state.health, Health::Suspended { until, reason: Reason::IpBlocked });
        now = until;
        assert_eq!(subject.at(now).as_str(), "probation");
    }
    now = now.plus(subject.rules.forgive_after);
    assert!(subject.penalise(Reason::IpBlocked, Duration::ZERO, now));
    assert_eq!(subject.state.health, Health::Suspended { until: now.plus(MINUTE * 60), reason: Reason::IpBlocked });
}

#[test]
fn answers_still_on_the_wire_are_no_repetition_but_may_lengthen() {
    let mut subject = Subject::new();
    assert!(subject.penalise(Reason::IpBlocked, Duration::ZERO, START));
    assert!(!subject.penalise(Reason::IpBlocked, Duration::ZERO, at(1)));
    assert_eq!(subject.state.strikes, 1);
    assert!(!subject.penalise(Reason::IpBlocked, MINUTE * 240, at(1)));
    let longer = Health::Suspended { until: at(241), reason: Reason::IpBlocked };
    assert_eq!(subject.state.health, longer);
    let before = subject.state.clone();
    subject.penalise(Reason::IpBlocked, MINUTE * 240, at(2));
    assert_eq!(subject.state, before, "a minute more is no news");
}

#[test]
fn the_longest_suspension_is_shown_and_the_others_are_kept() {
    let mut subject = Subject::new();
    subject.hold(Reason::HardBounces, suspends(at(60), false), START);
    let listed = subject.hold(Reason::Listed, suspends(UNTIL_CLEARED, true), START);
    assert_eq!(listed, Health::Suspended { until: UNTIL_CLEARED, reason: Reason::Listed });
    let bounces = Health::Suspended { until: at(60), reason: Reason::HardBounces };
    assert_eq!(subject.lift(Reason::Listed, at(20)), bounces);
    let way = subject.at(at(60));
    assert!(matches!(way, Health::Probation { allowance: 20, reason: Reason::HardBounces, .. }), "{way:?}");
}

#[test]
fn two_rules_that_want_different_times_get_the_longest_in_either_order() {
    for spans in [[90, 300], [300, 90]] {
        for reasons in [[Reason::IpBlocked; 2], [Reason::IpBlocked, Reason::Misconfigured]] {
            let mut subject = Subject::new();
            for (span, reason) in spans.into_iter().zip(reasons) {
                subject.penalise(reason, MINUTE * span, START);
            }
            let Health::Suspended { until, .. } = subject.state.health else { panic!("{:?}", subject.state) };
            assert_eq!(until, at(300), "{spans:?} {reasons:?}");
        }
    }
}

#[test]
fn probation_doubles_with_clean_periods_only_and_ends() {
    let (mut subject, mut now) = (Subject::new(), at(60));
    subject.hold(Reason::IpBlocked, suspends(now, false), START);
    subject.at(now);
    // (accepted, hard, blamed) in a period → allowance of the next
    let periods = [
        (0, 0, false, Some(20)),
        (5, 0, false, Some(40)),
        (5, 0, true, Some(40)),
        (5, 3, false, Some(40)),
        (80, 2, false, Some(80)),
        (1, 0, false, Some(160)),
        (1, 0, false, None),
    ];
    for (accepted, hard, blamed, next) in periods {
        let way = subject.state.recovery.as_mut().unwrap();
        (way.accepted, way.hard, way.blamed) = (accepted, hard, blamed);
        now = now.plus(subject.rules.probation_period);
        assert_eq!(subject.state.next_moment(&subject.rules), Some(now));
        let allowance = match subject.at(now) {
            Health::Probation { allowance, .. } => Some(allowance),
            Health::Active => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(allowance, next);
    }
}

#[test]
fn probation_without_mail_is_over_after_the_time_of_forgiveness() {
    let mut subject = Subject::new();
    subject.hold(Reason::IpBlocked, suspends(at(60), false), START);
    let mut now = at(60);
    while now.since(at(60)) < subject.rules.forgive_after {
        assert!(matches!(subject.at(now), Health::Probation { allowance: 20, .. }));
        now = now.plus(subject.rules.probation_period);
    }
    assert_eq!(subject.at(now), Health::Active);
}

#[test]
fn an_unbindable_address_is_tried_again_ever_more_rarely() {
    let (mut subject, mut now) = (Subject::new(), START);
    for minutes in [1, 2, 4, 8, 15, 15] {
        for text in ["no such address", "answers of other attempts on the wire"] {
            subject.act(now, |state, _| state.unbindable(text.into(), now));
        }
        now = now.plus(MINUTE * minutes);
        assert_eq!(subject.state.health, Health::Suspended { until: now, reason: Reason::Unbindable });
        assert_eq!(subject.at(now).as_str(), "probation");
    }
    assert_eq!(subject.act(now, |state, _| state.bindable()), Health::Active);
    subject.at(now.plus(subject.rules.dwell));
    assert_eq!(subject.state, State::default());
}

#[test]
fn what_was_earned_while_the_address_could_not_be_bound_has_its_probation() {
    let mut subject = Subject::new();
    subject.penalise(Reason::IpBlocked, Duration::ZERO, START);
    let late = START.plus(MINUTE * 60 - Duration::from_secs(1));
    subject.act(late, |state, _| state.unbindable("gone".into(), late));
    assert_eq!(subject.at(at(60)).as_str(), "suspended");
    let back = subject.act(at(60), |state, _| state.bindable());
    assert!(matches!(back, Health::Probation { reason: Reason::IpBlocked, .. }), "{back:?}");
}

#[test]
fn probation_waits_for_the_end_of_the_operators_pause() {
    let mut subject = Subject::new();
    subject.penalise(Reason::IpBlocked, Duration::ZERO, START);
    let days = at(60 * 24 * 9);
    subject.act(START, |state, _| state.suspend_by_operator(days, "move".into(), START));
    assert_eq!(subject.at(at(61)).as_str(), "suspended");
    let Health::Probation { until, .. } = subject.at(days) else { panic!("{:?}", subject.state) };
    assert_eq!(until, days.plus(subject.rules.probation_period), "and is not over by the time it begins");
}

#[test]
fn a_throttle_ends_in_active_and_a_withheld_suspension_too() {
    let mut subject = Subject::new();
    let shown = subject.hold(Reason::RateLimited, throttles(at(20)), START);
    assert_eq!(shown, Health::Throttled { divisor: 2, until: at(20), reason: Reason::RateLimited });
    assert_eq!(subject.at(at(20)), Health::Active);

    let mut subject = Subject { withheld: true, ..Subject::new() };
    let shown = subject.hold(Reason::HardBounces, suspends(at(20), false), START);
    assert_eq!(shown, Health::Throttled { divisor: 4, until: at(20), reason: Reason::HardBounces });
    subject.withheld = false;
    subject.state.expire(&subject.rules, at(20));
    assert_eq!(subject.at(at(20)), Health::Active);
}

#[test]
fn what_automation_did_lasts_for_the_dwell_time_even_where_its_cause_is_gone() {
    type Step = fn(&mut Subject) -> Health;
    // What happens at the start and soon after → what is shown before, and from, the end of the dwell time
    let seconds = |n| START.plus(Duration::from_secs(n));
    let table: [(&str, Step, Step, &str); 4] = [
        (
            "a listing cleared after 30 s",
            |s| s.hold(Reason::Listed, suspends(UNTIL_CLEARED, true), START),
            |s| s.lift(Reason::Listed, START.plus(MINUTE / 2)),
            "suspended probation",
        ),
        (
            "a small listing cleared after 30 s",
            |s| s.hold(Reason::Listed, throttles(UNTIL_CLEARED), START),
            |s| s.lift(Reason::Listed, START.plus(MINUTE / 2)),
            "throttled active",
        ),
        (
            "reverse DNS mended",
            |s| s.hold(Reason::ReverseDns, suspends(UNTIL_CLEARED, false), START),
            |s| s.lift(Reason::ReverseDns, START.plus(MINUTE / 2)),
            "suspended probation",
        ),
        (
            "a throttle for five seconds",
            |s| s.hold(Reason::RateLimited, throttles(START.plus(MINUTE / 12)), START),
            |s| s.at(START.plus(MINUTE / 12)),
            "throttled active",
        ),
    ];
    for (name, begin, end, expected) in table {
        let mut subject = Subject::new();
        begin(&mut subject);
        let shown = end(&mut subject);
        let last = subject.at(seconds(15 * 60 - 1));
        assert_eq!(shown, last, "{name}: and no news meanwhile");
        assert_eq!(subject.state.next_moment(&subject.rules), Some(at(15)), "{name}");
        assert_eq!(format!("{} {}", last.as_str(), subject.at(at(15)).as_str()), expected, "{name}");
    }
}

#[test]
fn what_is_worse_is_shown_at_once() {
    let mut subject = Subject::new();
    subject.hold(Reason::RateLimited, throttles(at(20)), START);
    assert_eq!(subject.hold(Reason::Listed, suspends(UNTIL_CLEARED, true), START).as_str(), "suspended");
    subject.lift(Reason::Listed, at(1));
    assert_eq!(subject.at(at(15)).as_str(), "probation");
    assert_eq!(subject.hold(Reason::Listed, suspends(UNTIL_CLEARED, true), at(16)).as_str(), "suspended");
}

#[test]
fn what_flaps_every_minute_moves_health_once() {
    let out = || suspends(UNTIL_CLEARED, true);
    for causes in [[out(), out()], [out(), throttles(UNTIL_CLEARED)]] {
        let (mut subject, mut shown) = (Subject::new(), vec![Health::Active]);
        for minute in 0..180 {
            let now = at(minute);
            let cause = causes[(minute / 2) as usize % 2].clone();
            let health = subject.act(now, |state, rules| match minute % 2 {
                0 => {
                    if cause.effect == Effect::Throttle {
                        state.lift(Reason::Listed, rules, now);
                    }
                    state.hold(Reason::Listed, cause, now);
                }
                _ => state.lift(Reason::Listed, rules, now),
            });
            shown.push(health);
        }
        shown.dedup();
        assert_eq!(shown, [Health::Active, Health::Suspended { until: UNTIL_CLEARED, reason: Reason::Listed }]);
        assert!(subject.state.evidence(&subject.rules).contains("stays in force until"), "the status tells the end");
    }
}

#[test]
fn what_was_withheld_and_then_suspended_dwells_from_the_suspension_on() {
    let mut subject = Subject { withheld: true, ..Subject::new() };
    subject.hold(Reason::Listed, suspends(UNTIL_CLEARED, false), START);
    subject.withheld = false;
    assert_eq!(subject.at(at(14)).as_str(), "suspended");
    subject.lift(Reason::Listed, at(15));
    assert_eq!(subject.at(at(28)).as_str(), "suspended");
    assert_eq!(subject.at(at(29)).as_str(), "probation");
}

#[test]
fn statistics_do_not_throttle_what_has_just_become_active_and_words_do() {
    let mut subject = Subject::new();
    subject.hold(Reason::Deferrals, throttles(at(20)), START);
    assert_eq!(subject.at(at(20)), Health::Active);
    assert_eq!(subject.hold(Reason::Deferrals, throttles(at(60)), at(21)), Health::Active);
    assert!(subject.state.evidence(&subject.rules).starts_with("would be throttled until"));
    assert!(matches!(subject.at(at(35)), Health::Throttled { reason: Reason::Deferrals, .. }), "kept, and still true");

    let mut subject = Subject::new();
    subject.hold(Reason::Latency, throttles(at(20)), START);
    assert_eq!(subject.at(at(20)), Health::Active);
    assert_eq!(subject.hold(Reason::RateLimited, throttles(at(60)), at(21)).as_str(), "throttled");
}

#[test]
fn a_shield_keeps_causes_and_lets_them_act_when_it_ends_if_they_still_hold() {
    let hour = Some(MINUTE * 60);
    let mut subject = Subject::new();
    subject.penalise(Reason::IpBlocked, Duration::ZERO, START);
    assert_eq!(subject.act(at(1), |state, _| state.resume(hour, at(1))), Health::Active);
    assert!(subject.penalise(Reason::HardBounces, Duration::ZERO, at(2)));
    subject.hold(Reason::Listed, suspends(UNTIL_CLEARED, true), at(2));
    assert_eq!(subject.state.health, Health::Active);
    assert_eq!(subject.state.spared(&subject.rules), Some((Reason::Listed, UNTIL_CLEARED)));
    assert_eq!(subject.state.strikes, 1, "what was not served is no penalty");
    assert_eq!(subject.hold(Reason::RateLimited, throttles(at(40)), at(2)).as_str(), "throttled", "less is heeded");
    assert_eq!(subject.act(at(3), |state, _| state.unbindable("gone".into(), at(3))).as_str(), "suspended");
    subject.act(at(3), |state, _| state.bindable());
    assert_eq!(subject.at(at(60)).as_str(), "active");
    assert_eq!(subject.at(at(61)), Health::Suspended { until: UNTIL_CLEARED, reason: Reason::Listed });

    let mut subject = Subject::new();
    subject.act(START, |state, _| state.resume(hour, START));
    subject.hold(Reason::Listed, suspends(UNTIL_CLEARED, true), at(2));
    subject.lift(Reason::Listed, at(3));
    assert_eq!(subject.at(at(60)), Health::Active, "gone meanwhile, and without probation: it was never out");
    subject.act(at(60), |state, _| state.resume(hour, at(60)));
    subject.act(at(60), |state, _| state.suspend_by_operator(at(62), "word".into(), at(60)));
    subject.hold(Reason::Listed, suspends(UNTIL_CLEARED, true), at(61));
    assert_eq!(subject.at(at(62)).as_str(), "suspended", "the later word ended the shield");
}

#[test]
fn where_automation_only_watches_causes_are_kept_and_nothing_moves() {
    let mut subject = Subject::new();
    subject.rules.automation = Automation::Watch;
    assert!(subject.penalise(Reason::IpBlocked, Duration::ZERO, START));
    subject.hold(Reason::RateLimited, throttles(at(90)), START);
    assert_eq!(subject.state.health, Health::Active);
    let told = subject.state.evidence(&subject.rules);
    assert!(told.contains(&format!("would be suspended until {} for ip_blocked", at(60))), "{told}");
    assert!(told.contains("would be throttled until"), "{told}");
    subject.at(at(60));
    assert_eq!((subject.state.recovery.clone(), subject.state.strikes), (None, 0));
    subject.rules.automation = Automation::Act;
    assert_eq!(subject.at(at(61)).as_str(), "throttled", "what still holds acts, what is over does not");
}

#[test]
fn a_clock_that_was_set_back_keeps_nobody_out_for_longer_than_his_span() {
    let mut subject = Subject::new();
    let year = START.plus(MINUTE * 60 * 24 * 365);
    subject.penalise(Reason::IpBlocked, Duration::ZERO, year);
    subject.hold(Reason::RateLimited, throttles(year.plus(MINUTE)), year);
    subject.act(START, |state, rules| state.set_back(rules, START));
    assert_eq!(subject.state.health, Health::Suspended { until: at(60), reason: Reason::IpBlocked });
    assert_eq!(subject.at(at(60)).as_str(), "probation");
    subject.act(year, |_, _| {});
    subject.act(START, |state, rules| state.set_back(rules, START));
    assert!(subject.state.next_moment(&subject.rules).is_some_and(|next| next <= at(60)), "{:?}", subject.state);
}
