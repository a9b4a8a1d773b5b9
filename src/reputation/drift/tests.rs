//! Drift in seeded streams and in a herd: what is found, after how long, and what is not.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::super::Reputation;
use super::super::evidence::Evidence;
use super::super::fixtures::{config, rules};
use super::super::health::{Health, Subject};
use super::*;
use crate::message::MessageId;
use crate::outcome::Action;

const START: Wall = Wall::from_millis(1_800_000_000_000);
const SECOND: Duration = Duration::from_secs(1);

/// A route whose answers are deferred with a chance and take so long, give or take what latency does: its logarithm is
/// normal, with a standard deviation of 0.6.
struct Stream {
    watch: Watch,
    random: SmallRng,
    now: Wall,
    every: Duration,
}

impl Stream {
    fn new(seed: u64, every: Duration) -> Self {
        Self { watch: Watch::default(), random: SmallRng::seed_from_u64(seed), now: START, every }
    }

    /// One attempt; true while either chart has drifted.
    fn attempt(&mut self, deferred: f64, millis: f64) -> bool {
        self.now = self.now.plus(self.every);
        let normal = (0..12).map(|_| self.random.random::<f64>()).sum::<f64>() - 6.0;
        let took = Duration::from_secs_f64(millis / 1000.0 * (0.6 * normal).exp());
        let deferred = self.random.random_bool(deferred);
        self.watch.add(deferred, Some(took), &rules(), self.now)
            && [Reason::Deferrals, Reason::Latency].iter().any(|&reason| self.watch.chart(reason).drifted().is_some())
    }
}

/// Whether a month of 4,000 messages a day without any drift goes by without an alarm.
fn is_quiet(deferred: f64, seed: u64) -> bool {
    let mut stream = Stream::new(seed, Duration::from_millis(21_600));
    !(0..120_000).any(|_| stream.attempt(deferred, 400.0))
}

/// Messages until found, after 2,000 usual ones; the median of so many runs.
fn found_after(deferred: f64, slower: f64) -> usize {
    let run = |seed| {
        let mut stream = Stream::new(seed, Duration::from_millis(21_600));
        (0..2_000).for_each(|_| _ = stream.attempt(0.02, 400.0));
        (1..2_000).find(|_| stream.attempt(deferred, 400.0 * slower)).unwrap_or(usize::MAX)
    };
    let mut all: Vec<usize> = (0..41).map(run).collect();
    all.sort_unstable();
    all[20]
}

#[test]
fn a_route_without_drift_alarms_less_than_once_in_a_month() {
    // share of deferrals, alarms in ten months at most
    for (deferred, most) in [(0.02, 0), (0.1, 2)] {
        let alarms = (0..10).filter(|&seed| !is_quiet(deferred, seed)).count();
        assert!(alarms <= most, "{deferred}: {alarms} of 10");
    }
}

#[test]
fn a_drift_is_found_after_so_many_messages() {
    // deferrals from 2 % to, latency times, messages at most
    let table = [(0.1, 1.0, 300), (0.2, 1.0, 100), (0.4, 1.0, 50), (0.02, 2.0, 125), (0.02, 3.0, 75)];
    for (deferred, slower, most) in table {
        let median = found_after(deferred, slower);
        assert!(median <= most, "{deferred} ×{slower}: {median}");
    }
}

#[test]
fn one_deferral_on_a_quiet_route_is_no_drift_and_too_little_mail_says_nothing() {
    let mut stream = Stream::new(1, SECOND);
    (0..1_000).for_each(|_| _ = stream.attempt(0.0, 400.0));
    for burst in 1..=3 {
        assert!(!(0..burst).any(|_| stream.attempt(1.0, 400.0)), "{burst} in a row");
        (0..200).for_each(|_| _ = stream.attempt(0.0, 400.0));
    }
    let mut sparse = Stream::new(1, Duration::from_secs(200));
    (0..1_000).for_each(|_| assert!(!sparse.attempt(0.0, 400.0)));
    assert!(!(0..1_000).any(|_| sparse.attempt(1.0, 400.0)), "18 an hour are no sample");
    assert!(!(0..199).any(|_| Stream::new(1, SECOND).attempt(1.0, 400.0)), "not before it is learnt");
}

#[test]
fn what_lasts_for_a_half_life_becomes_the_usual() {
    let mut stream = Stream::new(3, Duration::from_secs(10));
    (0..2_000).for_each(|_| _ = stream.attempt(0.02, 400.0));
    assert!((0..200).any(|_| stream.attempt(0.4, 400.0)));
    let drifted = |stream: &Stream| stream.watch.chart(Reason::Deferrals).drifted().is_some();
    let begun = stream.watch.chart(Reason::Deferrals).drifted().expect("found");
    while stream.now < begun.plus(rules().drift_half_life) {
        assert!(drifted(&stream), "after {:?}", stream.now.since(begun));
        stream.attempt(0.4, 400.0);
    }
    (0..600).for_each(|_| _ = stream.attempt(0.4, 400.0));
    assert!(!drifted(&stream));
    assert!((stream.watch.chart(Reason::Deferrals).figures().0 - 0.4).abs() < 0.1);
    // And what goes back by itself ends the drift at once.
    assert!((0..300).any(|_| stream.attempt(0.95, 400.0)));
    (0..150).for_each(|_| _ = stream.attempt(0.4, 400.0));
    assert!(!drifted(&stream));
}

fn refusal(cause: WentWrong, scope: Scope, text: &str) -> AttemptResult {
    AttemptResult::Refused {
        cause,
        scope,
        hard: false,
        counts_against_ip: false,
        action: Action::None,
        rule: "test".into(),
        text: text.into(),
    }
}

#[test]
fn only_deferrals_of_the_route_count() {
    use WentWrong::{Greylisted, MailboxFull, Network, RateLimited, SpamBlockContent, SpamBlockIp, TransientOther};
    let table = [
        (RateLimited, Scope::Binding, "450 slower", Some(true)),
        (RateLimited, Scope::Destination, "421 slower", Some(true)),
        (TransientOther, Scope::Unknown, "451 later", Some(true)),
        (TransientOther, Scope::Unknown, "421 closing", None),
        (RateLimited, Scope::Tenant, "450 slower", None),
        (RateLimited, Scope::SenderDomain, "450 slower", None),
        (TransientOther, Scope::Recipient, "450 busy", None),
        (Greylisted, Scope::Unknown, "450 greylisted", None),
        (MailboxFull, Scope::Recipient, "452 full", None),
        (SpamBlockContent, Scope::Message, "451 spam", None),
        (SpamBlockIp, Scope::Binding, "450 blocked", None),
        (Network, Scope::Unknown, "", None),
    ];
    for (cause, scope, text, counts) in table {
        assert_eq!(is_deferral(&refusal(cause, scope, text)), counts, "{cause:?} {scope:?} {text}");
    }
    assert_eq!(is_deferral(&AttemptResult::Accepted), Some(false));
}

/// A herd whose bindings send one message each, in turn, every two seconds.
struct Herd {
    reputation: Reputation,
    random: SmallRng,
    now: Wall,
}

impl Herd {
    fn new(seed: u64, names: &[&str]) -> Self {
        let reputation = Reputation::new(&config(names, &[("p", names)]), START);
        Self { reputation, random: SmallRng::seed_from_u64(seed), now: START }
    }

    /// One answer of a binding; what it changes.
    fn send(&mut self, from: &str, deferred: f64, millis: u64) -> Vec<HealthChange> {
        self.now = self.now.plus(2 * SECOND);
        let deferred = self.random.random_bool(deferred);
        let millis = (millis as f64 * self.random.random_range(0.5..2.0)) as u64;
        let result = if deferred {
            refusal(WentWrong::TransientOther, Scope::Unknown, "451 later")
        } else {
            AttemptResult::Accepted
        };
        let evidence = Evidence::Attempt {
            binding: from.into(),
            destination: "gmail".into(),
            tenant: "t".into(),
            domain: "x.example".parse().expect("a domain"),
            message: MessageId(1),
            stream: "default".into(),
            sender_domain: None,
            took: Some(Duration::from_millis(millis)),
            result,
        };
        self.reputation.observe(&evidence, self.now)
    }

    /// So many rounds in which each binding sends so.
    fn rounds(&mut self, count: usize, bindings: &[(&str, f64, u64)]) -> Vec<HealthChange> {
        let mut changes = Vec::new();
        for _ in 0..count {
            for (from, deferred, millis) in bindings {
                changes.extend(self.send(from, *deferred, *millis));
            }
        }
        changes
    }
}

#[test]
fn the_binding_that_stands_out_is_throttled_while_it_lasts() {
    for (deferred, millis, reason) in [(0.4, 400, Reason::Deferrals), (0.02, 1_600, Reason::Latency)] {
        let mut herd = Herd::new(7, &["a", "b", "c"]);
        let fine = [("b", 0.02, 400), ("c", 0.02, 400)];
        let usual = [("a", 0.02, 400), fine[0], fine[1]];
        assert_eq!(herd.rounds(1_000, &usual), []);
        let changes = herd.rounds(200, &[("a", deferred, millis), fine[0], fine[1]]);
        assert!((1..=4).contains(&changes.len()), "once, and again for as long as it lasts: {changes:?}");
        for change in changes {
            assert_eq!(change.subject, Subject::Route("a".into(), "gmail".into()));
            assert!(matches!(change.to, Health::Throttled { reason: r, .. } if r == reason), "{change:?}");
            assert!(change.evidence.ends_with("2 of 2 other bindings are as usual"), "{}", change.evidence);
        }
        // It is as before: the throttle ends, and nothing was suspended.
        let mut changes = herd.rounds(400, &usual);
        changes.extend(herd.reputation.tick(herd.now.plus(rules().dwell * 2)));
        assert!(matches!(&changes[..], [.., HealthChange { to: Health::Active, .. }]), "{changes:?}");
    }
}

#[test]
fn what_all_bindings_meet_is_the_destinations_and_moves_nobody() {
    for seed in 0..20 {
        let mut herd = Herd::new(seed, &["a", "b", "c"]);
        let usual = [("a", 0.02, 400), ("b", 0.02, 400), ("c", 0.02, 400)];
        // Not all begin their samples at the same message.
        herd.rounds(1_000 + seed as usize, &usual);
        herd.rounds(seed as usize % 7, &usual[..1]);
        herd.rounds(seed as usize % 11, &usual[1..2]);
        let outage = [("a", 0.7, 2_000), ("b", 0.7, 2_000), ("c", 0.7, 2_000)];
        assert_eq!(herd.rounds(500, &outage), [], "seed {seed}");
    }
    let mut alone = Herd::new(1, &["a"]);
    alone.rounds(1_000, &[("a", 0.02, 400)]);
    assert_eq!(alone.rounds(500, &[("a", 0.5, 2_000)]), [], "nobody to be compared with");
}

#[test]
fn several_recipients_of_one_attempt_are_one_answer() {
    let mut watch = Watch::default();
    let rules = rules();
    let took = Some(Duration::from_millis(300));
    for n in 0..24 {
        (0..100).for_each(|_| assert!(!watch.add(true, took, &rules, START.plus(SECOND * n))));
    }
    assert!(watch.add(true, took, &rules, START.plus(SECOND * 24)), "25 attempts are a sample");
    assert!(!watch.add(false, took, &rules, START.plus(SECOND * 24)), "another answer in it is another one");
}

#[test]
fn routes_are_watched_up_to_a_bound_and_forgotten_when_idle() {
    let (mut drifts, rules) = (Drifts::default(), rules());
    let name = |n: usize| DestinationName::new(format!("site:{n}"));
    for n in 0..ROUTES_MAX + 10 {
        if let Some(watch) = drifts.watch(&"a".into(), &name(n)) {
            watch.add(false, None, &rules, START);
        }
    }
    assert!(drifts.watch(&"a".into(), &name(ROUTES_MAX)).is_none());
    assert!(drifts.watch(&"b".into(), &name(0)).is_none());
    assert_eq!((drifts.count, drifts.watched.len()), (ROUTES_MAX, ROUTES_MAX));
    for n in 0..500 {
        drifts.watch(&"a".into(), &name(0)).expect("known").add(false, None, &rules, START.plus(SECOND * n));
    }
    drifts.sweep(&rules, START.plus(rules.window * 2));
    assert_eq!(drifts.count, 1, "what is learnt is kept for longer");
    drifts.sweep(&rules, START.plus(rules.drift_half_life * 5));
    assert_eq!((drifts.count, drifts.watched.len()), (0, 0));
}
