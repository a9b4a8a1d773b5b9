//! Windowed counts and the bound drawn from them.
//!
//! A [`Tally`] counts attempts and hard bounces per tenant over a sliding span, in [`BUCKETS`] buckets on a fixed grid:
//! within a bucket the counts are exact, and the span covered is between 59/60 and 60/60 of the window. Tallies of a
//! route and of its binding share the grid, so that one can be taken out of the other when the route alone was at
//! fault.
//!
//! [`Clusters`] makes events independent: a hard bounce that follows another one of the same tenant and recipient
//! domain within the minute, with no accepted message to that domain between them, is the same dead domain or the same
//! bad stretch of a list once more and counts neither as an event nor as an attempt. (Counting at most one event a
//! minute regardless of what was accepted would blind the fuse exactly where volume is: at the large mailbox domains.)
//!
//! [`lower_bound`] is Wilson's lower confidence limit. See there for why the plain ratio does not do.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::clock::Wall;
use crate::message::{Domain, TenantName};

/// Buckets in a window.
pub const BUCKETS: i64 = 60;

/// How long after its begin an attempt is looked for: it is counted when it is over.
pub(super) const ATTEMPT_MAX: Duration = Duration::from_secs(120);

/// One-sided 99.9 % quantile of the normal distribution.
pub const Z: f64 = 3.09;

/// Attempts and the hard bounces among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Attempts with a final answer about the recipient.
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
}

#[derive(Clone, Debug)]
struct Bucket {
    index: i64,
    tenants: HashMap<TenantName, Count>,
}

/// Counts of the last span, per tenant.
#[derive(Clone, Debug)]
pub struct Tally {
    bucket_millis: i64,
    buckets: VecDeque<Bucket>,
    tenants: HashMap<TenantName, Count>,
    total: Count,
}

impl Tally {
    /// An empty tally over `window`.
    pub fn new(window: Duration) -> Self {
        let millis = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
        Self {
            bucket_millis: (millis / BUCKETS).max(1),
            buckets: VecDeque::new(),
            tenants: HashMap::new(),
            total: Count::default(),
        }
    }

    /// Counts one attempt of `tenant`; `event` where it was a hard bounce.
    pub fn add(&mut self, tenant: &TenantName, event: bool, now: Wall) {
        let index = self.expire(now);
        let one = Count { attempts: 1, events: u64::from(event) };
        if self.buckets.back().is_none_or(|b| b.index < index) {
            self.buckets.push_back(Bucket { index, tenants: HashMap::new() });
        }
        if let Some(bucket) = self.buckets.back_mut() {
            count_in(&mut bucket.tenants, tenant, one);
        }
        count_in(&mut self.tenants, tenant, one);
        self.total.add(one);
    }

    /// Turns one attempt of `tenant` begun `at`, counted as accepted when it was over, into an event. False, and nothing
    /// changes, where the window holds no such attempt (any more): there are never more events than attempts.
    pub fn add_late(&mut self, tenant: &TenantName, at: Wall, now: Wall) -> bool {
        self.expire(now);
        let index = |at: Wall| at.as_millis().div_euclid(self.bucket_millis);
        let (first, last) = (index(at), index(at.plus(ATTEMPT_MAX)));
        let near = self.buckets.iter_mut().filter(|bucket| (first..=last).contains(&bucket.index));
        let mut counts = near.filter_map(|bucket| bucket.tenants.get_mut(tenant));
        let Some(count) = counts.find(|count| count.events < count.attempts) else { return false };
        count.events += 1;
        count_in(&mut self.tenants, tenant, Count { attempts: 0, events: 1 });
        self.total.events += 1;
        true
    }

    /// Everything in the window.
    pub fn total(&mut self, now: Wall) -> Count {
        self.expire(now);
        self.total
    }

    /// The tenant with the most events in the window, with its counts. Ties go to the name that sorts first, so that
    /// the answer does not depend on the order of a hash map.
    pub fn worst_tenant(&mut self, now: Wall) -> Option<(TenantName, Count)> {
        self.expire(now);
        self.tenants
            .iter()
            .filter(|(_, count)| count.events > 0)
            .max_by(|(a, x), (b, y)| x.events.cmp(&y.events).then_with(|| b.cmp(a)))
            .map(|(tenant, count)| (tenant.clone(), *count))
    }

    /// The counts of each tenant with events in the window, most events first.
    pub fn by_events(&mut self, now: Wall) -> Vec<(TenantName, Count)> {
        self.expire(now);
        let with_events = self.tenants.iter().filter(|(_, count)| count.events > 0);
        let mut all: Vec<_> = with_events.map(|(tenant, count)| (tenant.clone(), *count)).collect();
        all.sort_by(|(a, x), (b, y)| y.events.cmp(&x.events).then_with(|| a.cmp(b)));
        all
    }

    /// The counts of one tenant in the window.
    pub fn of(&mut self, tenant: &TenantName, now: Wall) -> Count {
        self.expire(now);
        self.tenants.get(tenant).copied().unwrap_or_default()
    }

    /// Takes one tenant's counts out, and returns them as a tally of the same window.
    pub fn split_off(&mut self, tenant: &TenantName) -> Tally {
        let mut part = Self { bucket_millis: self.bucket_millis, ..Self::new(Duration::ZERO) };
        for bucket in &self.buckets {
            if let Some(count) = bucket.tenants.get(tenant) {
                let tenants = HashMap::from([(tenant.clone(), *count)]);
                part.buckets.push_back(Bucket { index: bucket.index, tenants });
                count_in(&mut part.tenants, tenant, *count);
                part.total.add(*count);
            }
        }
        self.take_out(&part);
        part
    }

    /// Whether the window holds nothing.
    pub fn is_empty(&mut self, now: Wall) -> bool {
        self.expire(now);
        self.buckets.is_empty()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.buckets.clear();
        self.tenants.clear();
        self.total = Count::default();
    }

    /// Takes the counts of `part` out, bucket by bucket. Both must have the same window.
    pub fn take_out(&mut self, part: &Tally) {
        for theirs in &part.buckets {
            let Some(ours) = self.buckets.iter_mut().find(|b| b.index == theirs.index) else { continue };
            for (tenant, count) in &theirs.tenants {
                if let Entry::Occupied(mut entry) = ours.tenants.entry(tenant.clone()) {
                    // Not more than is there: totals are sums of buckets and must stay so.
                    let taken = Count {
                        attempts: count.attempts.min(entry.get().attempts),
                        events: count.events.min(entry.get().events),
                    };
                    *entry.get_mut() = entry.get().without(taken);
                    uncount(&mut self.tenants, tenant, taken);
                    self.total = self.total.without(taken);
                }
            }
        }
    }

    /// Drops what has left the window; returns the bucket of `now`, never one before the newest (clocks can jump).
    fn expire(&mut self, now: Wall) -> i64 {
        let by_clock = now.as_millis().div_euclid(self.bucket_millis);
        let index = self.buckets.back().map_or(by_clock, |newest| newest.index.max(by_clock));
        while self.buckets.front().is_some_and(|oldest| oldest.index <= index.saturating_sub(BUCKETS)) {
            let Some(gone) = self.buckets.pop_front() else { break };
            for (tenant, count) in &gone.tenants {
                uncount(&mut self.tenants, tenant, *count);
                self.total = self.total.without(*count);
            }
        }
        index
    }
}

fn count_in(tenants: &mut HashMap<TenantName, Count>, tenant: &TenantName, one: Count) {
    match tenants.get_mut(tenant) {
        Some(count) => count.add(one),
        None => {
            tenants.insert(tenant.clone(), one);
        }
    }
}

fn uncount(tenants: &mut HashMap<TenantName, Count>, tenant: &TenantName, gone: Count) {
    if let Some(count) = tenants.get_mut(tenant) {
        *count = count.without(gone);
        if count.attempts == 0 {
            tenants.remove(tenant);
        }
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

    #[test]
    fn counts_leave_with_their_bucket() {
        let (mut tally, a) = (Tally::new(HOUR), TenantName::new("a"));
        tally.add(&a, false, at(0));
        tally.add(&a, true, at(30));
        assert_eq!(tally.total(at(59)), count(2, 1));
        assert_eq!(tally.total(at(60)), count(1, 1));
        assert_eq!(tally.total(at(89)), count(1, 1));
        assert!(tally.is_empty(at(90)));
        assert_eq!(tally.worst_tenant(at(90)), None);
    }

    #[test]
    fn a_clock_set_back_loses_no_counts() {
        let (mut tally, a) = (Tally::new(HOUR), TenantName::new("a"));
        tally.add(&a, true, at(100));
        tally.add(&a, true, at(10));
        assert_eq!(tally.total(at(10)), count(2, 2));
        assert_eq!(tally.total(at(159)), count(2, 2));
        assert_eq!(tally.total(at(160)), count(0, 0));
    }

    #[test]
    fn a_part_can_be_taken_out_and_sums_stay_sums() {
        let (a, b) = (TenantName::new("a"), TenantName::new("b"));
        let (mut whole, mut part) = (Tally::new(HOUR), Tally::new(HOUR));
        for minute in 0..20 {
            whole.add(&a, true, at(minute));
            whole.add(&b, false, at(minute));
            part.add(&a, true, at(minute));
        }
        whole.take_out(&part);
        assert_eq!(whole.total(at(19)), count(20, 0));
        assert_eq!(whole.worst_tenant(at(19)), None);
        assert_eq!(whole.total(at(78)), count(1, 0), "only the last minute's are left");
        whole.take_out(&part);
        assert_eq!(whole.total(at(78)), count(1, 0), "what is not there cannot be taken out twice");
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
