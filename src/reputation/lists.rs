//! Each tenant's hard bounces over all bindings together: whose list is bad, wherever it is sent from.
//!
//! A route or a binding that has hardly any other mail cannot tell a bad list from a bad address. But a bad list is bad
//! everywhere, and a bad address is bad for everybody: so the fuse asks how the tenant fares *elsewhere* before it takes
//! an address out, and the list that has tripped one fuse does not trip those of all the others in turn.
//!
//! And a list may be as bad as it likes where it is a small part of each address's mail: none of them ever trips. So a
//! tenant has a fuse of its own, with the same gates. It is the list where the tenant's mail is bad also without the binding
//! that is worst for it, and worse, for certain, than what others send to the same destination. Its mail is held at the
//! destinations where that is so ([`Reputation::judge_list`]).
//!
//! What was counted stays for a window (and while an excursion lasts), also when the cell that it was counted in has been
//! cleared. Memory: counts per bucket, binding and destination with bounces (as many as [`Places`] tells apart), for
//! tenants that were heard of within the window.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::attempts::Attempt;
use super::fuse::{ListCase, Places};
use super::tally::{Count, Key, Steps, Tally};
use crate::clock::Wall;
use crate::message::{BindingName, DestinationName, TenantName};

#[derive(Debug)]
struct List {
    tally: Tally,
    places: Places,
}

/// Counts of the last window, per tenant.
#[derive(Debug)]
pub(super) struct Lists {
    window: Duration,
    tenants: HashMap<TenantName, List>,
}

/// The number that stands for a binding.
fn number(binding: &BindingName) -> u64 {
    let mut hasher = DefaultHasher::new();
    binding.hash(&mut hasher);
    hasher.finish()
}

impl Lists {
    /// Nothing yet, over `window`.
    pub(super) fn new(window: Duration) -> Self {
        Self { window, tenants: HashMap::new() }
    }

    /// Counts one attempt; `event` where it was a hard bounce.
    pub(super) fn add(&mut self, attempt: Attempt<'_>, event: bool, steps: Steps, now: Wall) {
        let window = self.window;
        let list = match self.tenants.get_mut(attempt.tenant) {
            Some(list) => list,
            None => self
                .tenants
                .entry(attempt.tenant.clone())
                .or_insert_with(|| List { tally: Tally::new(window), places: Places::default() }),
        };
        let place = list.places.number(attempt.destination.as_str(), event, window, now);
        list.tally.add(Key { group: number(attempt.binding), place }, event, steps, now);
    }

    /// Turns one attempt over this binding begun `at`, counted as accepted, into an event; nothing where there is none (any
    /// more).
    pub(super) fn add_late(
        &mut self,
        tenant: &TenantName,
        binding: &BindingName,
        to: Option<&DestinationName>,
        at: Wall,
        steps: Steps,
        now: Wall,
    ) {
        let Some(list) = self.tenants.get_mut(tenant) else { return };
        let (own, place) = (number(binding), to.map_or(0, |to| list.places.known(to.as_str())));
        list.tally.add_late(|group| group == own, place, at, steps, now);
    }

    /// Everything of the tenant in the window, wherever it was sent from.
    pub(super) fn total(&mut self, tenant: &TenantName, steps: Steps, now: Wall) -> Count {
        let Some(list) = self.tenants.get_mut(tenant) else { return Count::default() };
        list.tally.sum(steps, now);
        list.tally.of(i64::MIN, |_| true)
    }

    /// The tenant's own alarm, where there is one.
    pub(super) fn alarm(
        &mut self,
        tenant: &TenantName,
        rules: &crate::config::Reputation,
        now: Wall,
    ) -> Option<ListCase> {
        let list = self.tenants.get_mut(tenant)?;
        ListCase::of(&mut list.tally, &list.places, rules, now)
    }

    /// What was counted of the tenant at a destination is explained.
    pub(super) fn forget(&mut self, tenant: &TenantName, to: &DestinationName) {
        if let Some(list) = self.tenants.get_mut(tenant) {
            let place = list.places.known(to.as_str());
            list.tally.remove(|key| place > 0 && key.place == place);
        }
    }

    /// What was counted of the tenant has been judged.
    pub(super) fn settle(&mut self, tenant: &TenantName) {
        if let Some(list) = self.tenants.get_mut(tenant) {
            list.tally.settle();
        }
    }

    /// Forgets tenants of which nothing was heard within the window.
    pub(super) fn sweep(&mut self, steps: Steps, now: Wall) {
        self.tenants.retain(|_, list| !list.tally.is_empty(steps, now));
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
        let steps = Steps::new(&crate::config::Reputation::default());
        let mut lists = Lists::new(Duration::from_secs(3600));
        let (a, b) = (TenantName::new("a"), TenantName::new("b"));
        let (binding, destination) = (BindingName::new("x"), DestinationName::new("gmail"));
        let domain = "d.example".parse().unwrap();
        let of = |tenant| Attempt { binding: &binding, destination: &destination, tenant, domain: &domain };
        (0..20).for_each(|_| lists.add(of(&a), false, steps, at(0)));
        lists.add(of(&a), false, steps, at(30));
        lists.add(of(&b), false, steps, at(0));
        assert_eq!(lists.total(&a, steps, at(59)), Count { attempts: 21, events: 0 });
        assert_eq!(lists.total(&a, steps, at(60)), Count { attempts: 1, events: 0 });
        lists.add_late(&a, &binding, None, at(30), steps, at(61));
        lists.add_late(&a, &binding, None, at(30), steps, at(61));
        let once = Count { attempts: 1, events: 1 };
        assert_eq!(lists.total(&a, steps, at(61)), once, "never more events than attempts");
        lists.sweep(steps, at(61));
        assert_eq!(lists.len(), 1);
        (0..60).for_each(|_| lists.add(of(&a), false, steps, at(10)));
        assert_eq!(lists.total(&a, steps, at(10)).attempts, 61, "a clock set back loses nothing");
        lists.sweep(steps, at(122));
        assert_eq!(lists.len(), 0);
    }
}
