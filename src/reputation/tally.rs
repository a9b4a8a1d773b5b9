//! Counts in time, and what makes them comparable.
//!
//! A [`Tally`] counts attempts and hard bounces over a sliding span, in [`BUCKETS`] buckets on a fixed grid, by [`Key`]:
//! whose mail, and where within the subject. From it the fuse reads the **excursion**: Page's cumulative sum of
//! log-likelihood steps is the largest of the sums over all stretches that end now, and the excursion is the stretch in
//! which it is reached. So nothing but counts is kept, the sum over an excursion can be taken apart by key, and a bounce
//! that comes back by mail is added where its attempt was counted, as if it had been known at once.
//!
//! For the sum to be exact, an excursion must begin at the edge of a bucket. It always begins with a bounce that finds the
//! sum at its floor, 0; such a bounce therefore begins a new bucket, and what lies before it in the same bucket of the grid
//! is one other. There are never more than two for a place of the grid, and what has been counted before an excursion costs
//! no more than one walk over them at each bounce. An accepted message costs one look-up.
//!
//! What leaves the window is forgotten, unless it is part of an excursion: evidence against a route with little mail takes
//! longer than a window. It is merged into one part and kept until the sum is back at its floor, for [`KEPT_WINDOWS`]
//! windows at most.
//!
//! [`Clusters`] makes events independent: a hard bounce that follows another one of the same tenant and recipient
//! domain within the minute, with no accepted message to that domain between them, is the same dead domain or the same
//! bad stretch of a list once more and counts neither as an event nor as an attempt. (Counting at most one event a
//! minute regardless of what was accepted would blind the fuse exactly where volume is: at the large mailbox domains.)
//!
//! [`lower_bound`] is Wilson's lower confidence limit. See there for why the plain ratio does not do.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::clock::Wall;
use crate::config;
use crate::message::{Domain, TenantName};

/// Buckets in a window.
pub const BUCKETS: i64 = 60;

/// Windows after which an excursion that has not ended is forgotten all the same.
pub const KEPT_WINDOWS: i64 = 24;

/// How long after its begin an attempt is looked for: it is counted when it is over.
pub(super) const ATTEMPT_MAX: Duration = Duration::from_secs(120);

/// One-sided 99.9 % quantile of the normal distribution.
pub const Z: f64 = 3.09;

/// Attempts and the hard bounces among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Attempts with a final answer about the recipient: accepted, or refused for good. What says nothing about the
    /// recipient (a time-out, a deferral, a refusal of the address or the sender) is no attempt.
    pub attempts: u64,
    /// Hard bounces among them.
    pub events: u64,
}

impl Count {
    pub(super) fn add(&mut self, other: Count) {
        self.attempts += other.attempts;
        self.events += other.events;
    }

    /// What is left without `other`.
    pub fn without(self, other: Count) -> Count {
        Count {
            attempts: self.attempts.saturating_sub(other.attempts),
            events: self.events.saturating_sub(other.events),
        }
    }

    /// What both have.
    fn least(self, other: Count) -> Count {
        Count { attempts: self.attempts.min(other.attempts), events: self.events.min(other.events) }
    }

    /// Share of events; 0 where nothing was tried.
    pub(super) fn rate(self) -> f64 {
        if self.attempts == 0 { 0.0 } else { self.events as f64 / self.attempts as f64 }
    }
}

impl std::iter::Sum for Count {
    fn sum<I: Iterator<Item = Count>>(counts: I) -> Count {
        counts.fold(Count::default(), |mut sum, count| {
            sum.add(count);
            sum
        })
    }
}

/// Steps of the cumulative sum, in nats: how much more likely an answer is at the bad ratio than at the normal one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    bounce: f64,
    fine: f64,
}

impl Steps {
    pub(super) fn new(rules: &config::Reputation) -> Self {
        let (normal, bad) = (rules.normal_bounce_ratio, rules.bad_bounce_ratio);
        Self { bounce: (bad / normal).ln(), fine: ((1.0 - bad) / (1.0 - normal)).ln() }
    }

    /// What these answers say together: above 0 for "bad", below for "well".
    pub(super) fn of(self, count: Count) -> f64 {
        count.events as f64 * self.bounce + count.attempts.saturating_sub(count.events) as f64 * self.fine
    }
}

/// Whose mail (see [`super::fuse::Groups`]), and where within the subject ([`super::fuse::Places`]; 0: anywhere).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) group: u64,
    pub(super) place: u32,
}

#[derive(Clone, Debug, Default)]
struct Bucket {
    /// Place on the grid; of a merged one, where it begins.
    index: i64,
    counts: HashMap<Key, Count>,
    total: Count,
    /// Has been judged: no excursion reaches back to it.
    settled: bool,
}

impl Bucket {
    fn at(index: i64) -> Self {
        Self { index, ..Self::default() }
    }

    fn add(&mut self, key: Key, count: Count) {
        self.counts.entry(key).or_default().add(count);
        self.total.add(count);
    }

    fn merge(&mut self, other: Bucket) {
        other.counts.into_iter().for_each(|(key, count)| self.add(key, count));
        self.settled |= other.settled;
    }

    /// Takes out what is there of `count`, and returns it.
    fn take(&mut self, key: Key, count: Count) -> Count {
        let Some(own) = self.counts.get_mut(&key) else { return Count::default() };
        let taken = own.least(count);
        *own = own.without(taken);
        // Never more events than attempts.
        let over = Count { attempts: 0, events: own.events.saturating_sub(own.attempts) };
        *own = own.without(over);
        if own.attempts == 0 {
            self.counts.remove(&key);
        }
        self.total = self.total.without(taken).without(over);
        taken
    }
}

/// The stretch in which the cumulative sum is reached.
#[derive(Debug)]
pub(super) struct Excursion<'a> {
    old: Option<&'a Bucket>,
    recent: Vec<&'a Bucket>,
    before: Vec<&'a Bucket>,
    /// The sum, in nats.
    pub(super) sum: f64,
    /// All of it.
    pub(super) total: Count,
}

impl Excursion<'_> {
    /// What was counted, as it was: several counts of one key.
    pub(super) fn counts(&self) -> impl Iterator<Item = (Key, Count)> {
        self.old.iter().chain(&self.recent).flat_map(|bucket| bucket.counts.iter().map(|(key, count)| (*key, *count)))
    }

    /// Counts of each bucket of it, without what has been merged.
    pub(super) fn by_bucket(&self) -> impl Iterator<Item = impl Iterator<Item = (Key, Count)>> {
        self.recent.iter().map(|bucket| bucket.counts.iter().map(|(key, count)| (*key, *count)))
    }

    /// The same for the time before it.
    pub(super) fn before(&self) -> impl Iterator<Item = impl Iterator<Item = (Key, Count)>> {
        self.before.iter().map(|bucket| bucket.counts.iter().map(|(key, count)| (*key, *count)))
    }

    /// Where on the grid it begins.
    pub(super) fn begin(&self) -> Option<i64> {
        self.old.or_else(|| self.recent.first().copied()).map(|bucket| bucket.index)
    }
}

/// Part of a tally: bucket (`None`: what has been merged), group and counts.
pub(super) type Part = Vec<(Option<i64>, u64, Count)>;

/// Counts of the last span, by key.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    bucket_millis: i64,
    /// What has left the window and is part of an excursion.
    old: Option<Bucket>,
    buckets: VecDeque<Bucket>,
    /// Attempts of the excursion when it was last looked into.
    looked: u64,
}

impl Tally {
    /// An empty tally over `window`.
    pub(super) fn new(window: Duration) -> Self {
        let millis = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
        Self { bucket_millis: (millis / BUCKETS).max(1), old: None, buckets: VecDeque::new(), looked: 0 }
    }

    /// Counts one attempt; `event` where it was a hard bounce.
    pub(super) fn add(&mut self, key: Key, event: bool, steps: Steps, now: Wall) {
        let index = self.expire(steps, now);
        if event && self.highest(steps).0 <= 0.0 {
            self.old = None;
            self.split(index);
        }
        if self.buckets.back().is_none_or(|newest| newest.index < index || newest.settled) {
            self.buckets.push_back(Bucket::at(index));
        }
        if let Some(newest) = self.buckets.back_mut() {
            newest.add(key, Count { attempts: 1, events: u64::from(event) });
        }
    }

    /// An excursion begins: what the grid's place `index` holds already lies before it.
    fn split(&mut self, index: i64) {
        if self.buckets.back().is_none_or(|newest| newest.index < index) {
            return;
        }
        if let Some(last) = self.buckets.pop_back() {
            match self.buckets.back_mut().filter(|before| before.index == last.index) {
                Some(before) => before.merge(last),
                None => self.buckets.push_back(last),
            }
            self.buckets.push_back(Bucket::at(index));
        }
    }

    /// Turns one attempt begun `at`, counted as accepted when it was over, into an event: one of a group that `is_meant`,
    /// at `place` rather than elsewhere. False, and nothing changes, where the window holds no such attempt (any more):
    /// there are never more events than attempts.
    pub(super) fn add_late(
        &mut self,
        is_meant: impl Fn(u64) -> bool,
        place: u32,
        at: Wall,
        steps: Steps,
        now: Wall,
    ) -> bool {
        self.expire(steps, now);
        let index = |at: Wall| at.as_millis().div_euclid(self.bucket_millis);
        let (first, last) = (index(at), index(at.plus(ATTEMPT_MAX)));
        let near = self.buckets.iter_mut().filter(|bucket| (first..=last).contains(&bucket.index));
        for bucket in near {
            let open = bucket.counts.iter().filter(|(key, count)| count.events < count.attempts && is_meant(key.group));
            let likeliest = open.max_by_key(|(key, count)| (key.place == place, count.attempts - count.events, **key));
            if let Some((&key, _)) = likeliest {
                bucket.add(key, Count { attempts: 0, events: 1 });
                return true;
            }
        }
        false
    }

    /// Largest sum of a stretch that ends now, and where it begins (before all: 0 with what was merged).
    fn highest(&self, steps: Steps) -> (f64, usize, bool) {
        let (mut best, mut sum) = ((0.0, self.buckets.len(), false), 0.0);
        for (place, bucket) in self.buckets.iter().enumerate().rev() {
            if bucket.settled {
                return best;
            }
            sum += steps.of(bucket.total);
            if sum > best.0 {
                best = (sum, place, false);
            }
        }
        match self.old.as_ref().map(|old| sum + steps.of(old.total)) {
            Some(sum) if sum > best.0 => (sum, 0, true),
            _ => best,
        }
    }

    /// The excursion that has not ended; an empty one where the sum is at its floor.
    pub(super) fn excursion(&mut self, steps: Steps, now: Wall) -> Excursion<'_> {
        self.expire(steps, now);
        let (sum, from, with_old) = self.highest(steps);
        let old = self.old.as_ref().filter(|_| with_old);
        let recent: Vec<&Bucket> = self.buckets.range(from..).collect();
        let before = self.buckets.range(..from).collect();
        let total = old.iter().chain(&recent).map(|bucket| bucket.total).sum();
        Excursion { old, recent, before, sum, total }
    }

    /// Whether an excursion of so many attempts is worth looking into: the first time, and then when it has grown by a
    /// sixteenth. Who explains it takes a walk over what is kept of everybody, which no bounce must cost.
    pub(super) fn is_worth_a_look(&mut self, attempts: u64) -> bool {
        let is_worth = attempts < self.looked || attempts > self.looked + self.looked / 16;
        if is_worth {
            self.looked = attempts;
        }
        is_worth
    }

    /// Everything that is kept has been judged: the next excursion begins with what is counted from now on.
    pub(super) fn settle(&mut self) {
        (self.old, self.looked) = (None, 0);
        for mut bucket in std::mem::take(&mut self.buckets) {
            bucket.settled = true;
            match self.buckets.back_mut().filter(|before| before.index == bucket.index) {
                Some(before) => before.merge(bucket),
                None => self.buckets.push_back(bucket),
            }
        }
    }

    /// The cumulative sum as it stands.
    pub(super) fn sum(&mut self, steps: Steps, now: Wall) -> f64 {
        self.expire(steps, now);
        self.highest(steps).0
    }

    /// Everything in the window.
    #[cfg(test)]
    pub(super) fn total(&mut self, steps: Steps, now: Wall) -> Count {
        self.expire(steps, now);
        self.buckets.iter().map(|bucket| bucket.total).sum()
    }

    /// What the window holds of the keys that are meant, from the grid's place `since` on.
    pub(super) fn of(&self, since: i64, is_meant: impl Fn(Key) -> bool) -> Count {
        self.since(since).filter(|(key, _)| is_meant(*key)).map(|(_, count)| count).sum()
    }

    /// What was counted from the grid's place `since` on.
    pub(super) fn since(&self, since: i64) -> impl Iterator<Item = (Key, Count)> {
        let recent = self.buckets.iter().filter(move |bucket| bucket.index >= since);
        recent.flat_map(|bucket| bucket.counts.iter().map(|(key, count)| (*key, *count)))
    }

    /// Every group that something is kept of.
    pub(super) fn groups(&self) -> impl Iterator<Item = u64> {
        self.old.iter().chain(&self.buckets).flat_map(|bucket| bucket.counts.keys().map(|key| key.group))
    }

    /// The keys that are meant, by bucket.
    pub(super) fn part(&self, is_meant: impl Fn(Key) -> bool) -> Part {
        let old = self.old.iter().map(|bucket| (None, bucket));
        let all = old.chain(self.buckets.iter().map(|bucket| (Some(bucket.index), bucket)));
        all.flat_map(|(index, bucket)| bucket.counts.iter().map(move |(key, count)| (index, *key, *count)))
            .filter(|(_, key, _)| is_meant(*key))
            .map(|(index, key, count)| (index, key.group, count))
            .collect()
    }

    /// Forgets the keys that are meant.
    pub(super) fn remove(&mut self, is_meant: impl Fn(Key) -> bool) {
        for bucket in self.old.iter_mut().chain(&mut self.buckets) {
            bucket.counts.retain(|key, _| !is_meant(*key));
            bucket.total = bucket.counts.values().copied().sum();
        }
    }

    /// Takes the counts of a part of it out, which happened at `place`. Both must have the same window.
    pub(super) fn take_out(&mut self, part: &Part, place: u32) {
        for &(index, group, mut count) in part {
            // What this tally has merged already, the other may still keep by bucket.
            let ours = self.buckets.iter_mut().filter(|bucket| Some(bucket.index) == index);
            for bucket in ours.chain(&mut self.old) {
                for place in [place, 0] {
                    count = count.without(bucket.take(Key { group, place }, count));
                }
            }
        }
    }

    /// When a place of the grid begins.
    pub(super) fn begin_of(&self, index: i64) -> Wall {
        Wall::from_millis(index.saturating_mul(self.bucket_millis))
    }

    /// Takes back an excursion of an earlier run. Counts from a file: what cannot be is not believed.
    pub(super) fn restore(&mut self, begun: Wall, counts: impl Iterator<Item = (Key, Count)>) {
        let mut old = Bucket::at(begun.as_millis().div_euclid(self.bucket_millis));
        for (key, Count { attempts, events }) in counts {
            let attempts = attempts.min(u64::from(u32::MAX));
            old.add(key, Count { attempts, events: events.min(attempts) });
        }
        self.old = Some(old);
    }

    /// Whether nothing is kept.
    pub(super) fn is_empty(&mut self, steps: Steps, now: Wall) -> bool {
        self.expire(steps, now);
        self.buckets.is_empty() && self.old.is_none()
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.buckets.clear();
        (self.old, self.looked) = (None, 0);
    }

    /// Drops what has left the window and is not part of an excursion; returns the grid's place of `now`, never one before
    /// the newest (clocks can jump).
    fn expire(&mut self, steps: Steps, now: Wall) -> i64 {
        let by_clock = now.as_millis().div_euclid(self.bucket_millis);
        let index = self.buckets.back().map_or(by_clock, |newest| newest.index.max(by_clock));
        while self.buckets.front().is_some_and(|oldest| oldest.index <= index.saturating_sub(BUCKETS)) {
            let (sum, from, with_old) = self.highest(steps);
            let Some(gone) = self.buckets.pop_front() else { break };
            let is_part = sum > 0.0 && from == 0;
            match &mut self.old {
                Some(old) if is_part && with_old => old.merge(gone),
                old => *old = is_part.then_some(gone),
            }
        }
        let oldest = index.saturating_sub(BUCKETS.saturating_mul(KEPT_WINDOWS));
        // One from the future is what a clock that was wrong has left.
        self.old.take_if(|old| old.index <= oldest || old.index > index);
        index
    }
}

/// Runs of hard bounces of one tenant at one recipient domain, within one minute.
#[derive(Clone, Debug, Default)]
pub struct Clusters {
    minute: i64,
    open: HashMap<Domain, Vec<TenantName>>,
}

impl Clusters {
    /// A hard bounce: true where it begins a cluster and so counts.
    pub fn begins(&mut self, tenant: &TenantName, domain: &Domain, now: Wall) -> bool {
        let minute = now.as_millis().div_euclid(60_000);
        if minute != self.minute {
            self.minute = minute;
            self.open.clear();
        }
        let tenants = self.open.entry(domain.clone()).or_default();
        let new = !tenants.contains(tenant);
        if new {
            tenants.push(tenant.clone());
        }
        new
    }

    /// An accepted message ends the cluster.
    pub fn ends(&mut self, tenant: &TenantName, domain: &Domain) {
        if let Some(tenants) = self.open.get_mut(domain) {
            tenants.retain(|t| t != tenant);
        }
    }
}

/// Wilson's lower confidence limit for the rate behind `count`, one-sided at 99.9 % ([`Z`]).
///
/// With p̂ = k/n it is the smaller root of (p̂ − p)² = z²·p(1 − p)/n, that is
/// `(p̂ + z²/2n − z·√(p̂(1 − p̂)/n + z²/4n²)) / (1 + z²/n)`.
///
/// Why not p̂ itself: "more than 5 % of the last 100", asked again after each attempt, suspends practically every address
/// whose true rate is a healthy 2 % within a day. Why not the limit alone: it is 1/(1 + z²) = 9.5 % for one event in one
/// attempt; so it only counts together with a least number of events and attempts. No attempts: 0.
pub fn lower_bound(count: Count) -> f64 {
    if count.attempts == 0 {
        return 0.0;
    }
    let n = count.attempts as f64;
    let rate = (count.events as f64 / n).min(1.0);
    let square = Z * Z;
    let root = (rate * (1.0 - rate) / n + square / (4.0 * n * n)).sqrt();
    ((rate + square / (2.0 * n) - Z * root) / (1.0 + square / n)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(minute: i64) -> Wall {
        Wall::from_millis(minute * 60_000)
    }

    fn count(attempts: u64, events: u64) -> Count {
        Count { attempts, events }
    }

    fn domain(text: &str) -> Domain {
        text.parse().unwrap()
    }

    fn steps() -> Steps {
        Steps::new(&config::Reputation::default())
    }

    const A: Key = Key { group: 1, place: 0 };
    const B: Key = Key { group: 2, place: 0 };

    fn total(tally: &mut Tally, now: Wall) -> Count {
        tally.total(steps(), now)
    }

    #[test]
    fn counts_leave_with_their_bucket_unless_evidence_is_under_way() {
        let mut tally = Tally::new(HOUR);
        tally.add(A, false, steps(), at(0));
        tally.add(A, true, steps(), at(20));
        (0..30).for_each(|_| tally.add(A, false, steps(), at(30)));
        assert_eq!(total(&mut tally, at(59)), count(32, 1));
        assert_eq!(total(&mut tally, at(60)), count(31, 1));
        assert_eq!(total(&mut tally, at(80)), count(30, 0));
        assert!(tally.is_empty(steps(), at(90)));

        (0..3).for_each(|_| tally.add(A, true, steps(), at(100)));
        assert_eq!(total(&mut tally, at(170)), count(0, 0));
        assert!((tally.sum(steps(), at(170)) - 3.0 * 5.0f64.ln()).abs() < 1e-9, "kept beyond the window");
        tally.add(B, true, steps(), at(171));
        assert_eq!(tally.excursion(steps(), at(172)).total, count(4, 4));
        (0..76).for_each(|_| tally.add(B, false, steps(), at(173)));
        assert_eq!(tally.sum(steps(), at(173)), 0.0, "until enough is well");
        tally.add(B, true, steps(), at(174));
        assert_eq!(tally.excursion(steps(), at(174)).total, count(1, 1));
        assert!(tally.sum(steps(), at(174 + 60 * (KEPT_WINDOWS - 1))) > 0.0);
        assert_eq!(tally.sum(steps(), at(174 + 60 * KEPT_WINDOWS)), 0.0, "or for a day");
    }

    #[test]
    fn a_clock_set_back_loses_no_counts() {
        let mut tally = Tally::new(HOUR);
        tally.add(A, true, steps(), at(100));
        tally.add(A, true, steps(), at(10));
        assert_eq!(total(&mut tally, at(10)), count(2, 2));
        assert_eq!(total(&mut tally, at(159)), count(2, 2));
        assert_eq!(total(&mut tally, at(160)), count(0, 0));
    }

    #[test]
    fn a_part_can_be_taken_out_and_sums_stay_sums() {
        let mut whole = Tally::new(HOUR);
        for minute in 0..20 {
            whole.add(A, true, steps(), at(minute));
            whole.add(B, false, steps(), at(minute));
        }
        let part = whole.part(|key| key == A);
        whole.take_out(&part, 7);
        assert_eq!(total(&mut whole, at(19)), count(20, 0));
        assert_eq!(whole.sum(steps(), at(19)), 0.0);
        assert_eq!(total(&mut whole, at(78)), count(1, 0), "only the last minute's are left");
        whole.take_out(&part, 7);
        assert_eq!(total(&mut whole, at(78)), count(1, 0), "what is not there cannot be taken out twice");
    }

    #[test]
    fn what_comes_back_late_counts_as_if_it_had_been_known_at_once() {
        let mut tally = Tally::new(HOUR);
        for minute in 0..40 {
            (0..50).for_each(|_| tally.add(A, false, steps(), at(minute)));
        }
        for minute in 0..40 {
            assert!(tally.add_late(|group| group == A.group, 0, at(minute), steps(), at(45)));
        }
        assert!(tally.sum(steps(), at(45)) < 2.0, "2 % are 2 %, also when all bounces come together");
        assert!(!tally.add_late(|group| group == B.group, 0, at(3), steps(), at(45)), "nothing was sent");
        assert!(!tally.add_late(|_| true, 0, at(41), steps(), at(45)), "nothing was sent then");
    }

    proptest::proptest! {
        #[test]
        fn the_sum_is_pages(answers in proptest::collection::vec((proptest::bool::weighted(0.06), 0i64..3), 1..400)) {
            let (mut tally, mut page, mut begun, mut minute) = (Tally::new(HOUR), 0.0f64, 0, 0);
            for (n, (event, later)) in answers.into_iter().enumerate() {
                // Within the window: nothing is forgotten.
                minute = (minute + later / 2).min(50);
                if page <= 0.0 {
                    begun = n;
                }
                page = (page + steps().of(count(1, u64::from(event)))).max(0.0);
                tally.add(if n % 3 == 0 { A } else { B }, event, steps(), at(minute));
                proptest::prop_assert!((tally.sum(steps(), at(minute)) - page).abs() < 1e-6);
                if page > 1e-6 {
                    let excursion = tally.excursion(steps(), at(minute));
                    proptest::prop_assert_eq!(excursion.total.attempts as usize, n + 1 - begun);
                    let parts: f64 = excursion.counts().map(|(_, count)| steps().of(count)).sum();
                    proptest::prop_assert!((parts - page).abs() < 1e-6, "the sum can be taken apart");
                }
            }
            proptest::prop_assert!(tally.buckets.len() <= 2 * 51);
        }
    }

    #[test]
    fn a_run_of_bounces_at_one_domain_is_one_event_until_mail_is_accepted_there() {
        let (mut clusters, a, b) = (Clusters::default(), TenantName::new("a"), TenantName::new("b"));
        let (x, y) = (domain("x.example"), domain("y.example"));
        assert!(clusters.begins(&a, &x, at(0)));
        assert!(!clusters.begins(&a, &x, at(0)));
        assert!(clusters.begins(&a, &y, at(0)), "another domain");
        assert!(clusters.begins(&b, &x, at(0)), "another tenant");
        clusters.ends(&a, &y);
        assert!(!clusters.begins(&a, &x, at(0)), "mail to y says nothing about x");
        clusters.ends(&a, &x);
        assert!(clusters.begins(&a, &x, at(0)), "accepted mail lies between");
        assert!(clusters.begins(&a, &x, at(1)), "the next minute");
    }

    #[test]
    fn lower_bound_needs_this_many_events_to_exceed_five_per_cent() {
        for (attempts, least) in [(50, 8), (100, 12), (200, 20), (500, 41), (1_000, 72), (5_000, 298)] {
            assert!(lower_bound(count(attempts, least)) > 0.05, "{attempts}: {least} are enough");
            assert!(lower_bound(count(attempts, least - 1)) <= 0.05, "{attempts}: {} are not", least - 1);
        }
        assert_eq!(lower_bound(count(0, 0)), 0.0);
        assert!(lower_bound(count(1, 1)) > 0.09, "the pitfall that the least number of events is there for");
    }
}
