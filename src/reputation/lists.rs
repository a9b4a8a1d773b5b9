//! Each tenant's hard bounces over all bindings together: whose list is bad, wherever it is sent from.
//!
//! A route or a binding that has hardly any other mail cannot tell a bad list from a bad address. But a bad list is bad
//! everywhere, and a bad address is bad for everybody: so the fuse asks how the tenant fares *elsewhere* before it takes
//! an address out, and the list that has tripped one fuse does not trip those of all the others in turn.
//!
//! What was counted stays for a window, also when the cell that it was counted in has been cleared. Memory: 24 bytes per
//! bucket and tenant, [`BUCKETS`] buckets at most, for tenants that were heard of within the window.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::tally::{ATTEMPT_MAX, BUCKETS, Count};
use crate::clock::Wall;
use crate::message::TenantName;

#[derive(Debug, Default)]
struct Strip {
    buckets: VecDeque<(i64, Count)>,
    total: Count,
}

impl Strip {
    /// Drops what has left the window; returns the bucket for `index`, never one before the newest (clocks can jump).
    fn expire(&mut self, index: i64) -> i64 {
        let index = self.buckets.back().map_or(index, |(newest, _)| index.max(*newest));
        while let Some(&(oldest, count)) = self.buckets.front()
            && oldest <= index.saturating_sub(BUCKETS)
        {
            self.total = self.total.without(count);
            self.buckets.pop_front();
        }
        index
    }
}

/// Counts of the last window, per tenant.
#[derive(Debug)]
pub(super) struct Lists {
    bucket_millis: i64,
    tenants: HashMap<TenantName, Strip>,
}

impl Lists {
    /// Nothing yet, over `window`.
    pub(super) fn new(window: Duration) -> Self {
        let millis = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
        Self { bucket_millis: (millis / BUCKETS).max(1), tenants: HashMap::new() }
    }

    fn index(&self, at: Wall) -> i64 {
        at.as_millis().div_euclid(self.bucket_millis)
    }

    /// Counts one attempt; `event` where it was a hard bounce.
    pub(super) fn add(&mut self, tenant: &TenantName, event: bool, now: Wall) {
        let index = self.index(now);
        let strip = match self.tenants.get_mut(tenant) {
            Some(strip) => strip,
            None => self.tenants.entry(tenant.clone()).or_default(),
        };
        let index = strip.expire(index);
        if strip.buckets.back().is_none_or(|(newest, _)| *newest < index) {
            strip.buckets.push_back((index, Count::default()));
        }
        let one = Count { attempts: 1, events: u64::from(event) };
        if let Some((_, count)) = strip.buckets.back_mut() {
            count.add(one);
        }
        strip.total.add(one);
    }

    /// Turns one attempt begun `at`, counted as accepted, into an event; nothing where there is none (any more).
    pub(super) fn add_late(&mut self, tenant: &TenantName, at: Wall, now: Wall) {
        let (first, last, index) = (self.index(at), self.index(at.plus(ATTEMPT_MAX)), self.index(now));
        let Some(strip) = self.tenants.get_mut(tenant) else { return };
        strip.expire(index);
        let mut near = strip.buckets.iter_mut().filter(|(bucket, _)| (first..=last).contains(bucket));
        if let Some((_, count)) = near.find(|(_, count)| count.events < count.attempts) {
            count.events += 1;
            strip.total.events += 1;
        }
    }

    /// Everything of the tenant in the window, wherever it was sent from.
    pub(super) fn total(&mut self, tenant: &TenantName, now: Wall) -> Count {
        let index = self.index(now);
        self.tenants.get_mut(tenant).map_or_else(Count::default, |strip| {
            strip.expire(index);
            strip.total
        })
    }

    /// Forgets tenants of which nothing was heard within the window.
    pub(super) fn sweep(&mut self, now: Wall) {
        let index = self.index(now);
        self.tenants.retain(|_, strip| {
            strip.expire(index);
            !strip.buckets.is_empty()
        });
    }

    /// How many tenants are known.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.tenants.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Wall {
        Wall::from_millis(minute * 60_000)
    }

    #[test]
    fn counts_leave_with_their_bucket_and_tenants_with_their_last_one() {
        let mut lists = Lists::new(Duration::from_secs(3600));
        let (a, b) = (TenantName::new("a"), TenantName::new("b"));
        lists.add(&a, true, at(0));
        lists.add(&a, false, at(30));
        lists.add(&b, false, at(0));
        assert_eq!(lists.total(&a, at(59)), Count { attempts: 2, events: 1 });
        assert_eq!(lists.total(&a, at(60)), Count { attempts: 1, events: 0 });
        lists.add_late(&a, at(30), at(61));
        lists.add_late(&a, at(30), at(61));
        assert_eq!(lists.total(&a, at(61)), Count { attempts: 1, events: 1 }, "never more events than attempts");
        lists.sweep(at(61));
        assert_eq!(lists.len(), 1);
        lists.add(&a, false, at(10));
        assert_eq!(lists.total(&a, at(10)), Count { attempts: 2, events: 1 }, "a clock set back loses nothing");
        lists.sweep(at(121));
        assert_eq!(lists.len(), 0);
    }
}
