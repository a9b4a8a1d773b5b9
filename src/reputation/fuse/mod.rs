//! The fuse of hard bounces: whether a tally says "stop", and whether it says "one tenant" instead.
//!
//! It trips when there are enough attempts and events and even the lower confidence limit of the rate lies above the
//! configured ratio ([`lower_bound`]). Before the address is blamed, the worst tenant's counts are left out: where the
//! rest is large enough to judge and does not trip, the tenant's list is bad, not the address, and taking the address
//! out would only carry the same list to the next one.
//!
//! Where too little is left to judge, the tenants are asked how they fare elsewhere ([`super::lists`]): those whose counts
//! elsewhere trip by themselves are left out, and where the rest does not trip, it was the worst of them. So a tenant that
//! is nearly alone takes at most the first address out. Where nothing is known elsewhere, nobody can tell list from
//! address, and the address is protected.

use crate::clock::Wall;
use crate::config;
use crate::message::TenantName;

use super::tally::{Count, Tally, lower_bound};

/// What the fuse says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Judgement {
    /// Nothing.
    Fine,
    /// Stop.
    Trips(Count),
    /// Without this tenant all is well.
    Tenant {
        /// Who.
        tenant: TenantName,
        /// Its counts.
        own: Count,
        /// Everybody else's.
        rest: Count,
    },
}

/// Judges the window that ends now. `everywhere` gives a tenant's counts over all bindings, this tally's included.
pub(super) fn judge(
    tally: &mut Tally,
    rules: &config::Reputation,
    now: Wall,
    mut everywhere: impl FnMut(&TenantName) -> Count,
) -> Judgement {
    let total = tally.total(now);
    if !trips(total, rules) {
        return Judgement::Fine;
    }
    if let Some((tenant, own)) = tally.worst_tenant(now) {
        let rest = total.without(own);
        if acquits(rest, rules) {
            return Judgement::Tenant { tenant, own, rest };
        }
    }
    let suspects =
        tally.by_events(now).into_iter().filter(|(tenant, own)| is_bad_list(everywhere(tenant), *own, rules));
    let (mut rest, mut worst) = (total, None);
    for (tenant, own) in suspects {
        rest = rest.without(own);
        worst.get_or_insert((tenant, own));
    }
    match worst {
        Some((tenant, own)) if !trips(rest, rules) => Judgement::Tenant { tenant, own, rest },
        _ => Judgement::Trips(total),
    }
}

/// Whether a tenant's counts trip by themselves without those of the place that is judged.
pub(super) fn is_bad_list(everywhere: Count, here: Count, rules: &config::Reputation) -> bool {
    trips(everywhere.without(here), rules)
}

/// Whether what is left when one suspect is left out is enough to judge, and good: then it was the suspect.
pub(super) fn acquits(rest: Count, rules: &config::Reputation) -> bool {
    rest.attempts >= rules.min_attempts.max(1) && !trips(rest, rules)
}

fn trips(count: Count, rules: &config::Reputation) -> bool {
    count.attempts >= rules.min_attempts
        && count.events >= rules.min_events
        && lower_bound(count) > rules.hard_bounce_ratio
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::super::fixtures;
    use super::*;

    /// Sends `messages` at 1,000 an hour over ten tenants; returns after how many the fuse tripped.
    fn run(rate: f64, messages: u64, seed: u64) -> Option<u64> {
        let rules = fixtures::rules();
        let mut tally = Tally::new(rules.window);
        let tenants: Vec<TenantName> = (0..10).map(|i| TenantName::new(format!("t{i}"))).collect();
        let mut rng = SmallRng::seed_from_u64(seed);
        for sent in 1..=messages {
            let now = Wall::from_millis(sent as i64 * 3_600);
            let event = rng.random_bool(rate);
            tally.add(&tenants[rng.random_range(0..tenants.len())], event, now);
            if event && matches!(judge(&mut tally, &rules, now, |_| Count::default()), Judgement::Trips(_)) {
                return Some(sent);
            }
        }
        None
    }

    #[test]
    fn a_healthy_two_per_cent_address_is_not_suspended() {
        let false_alarms = (0..100).filter(|&seed| run(0.02, 20_000, seed).is_some()).count();
        assert!(false_alarms <= 2, "{false_alarms} of 100 runs");
    }

    #[test]
    fn ten_per_cent_are_found_within_a_few_hundred_messages() {
        let mut found: Vec<u64> = (0..101).map(|seed| run(0.10, 5_000, seed).unwrap_or(u64::MAX)).collect();
        found.sort_unstable();
        assert!(found[50] <= 400, "median {}", found[50]);
        assert!(found[100] < u64::MAX, "every run finds it");
    }

    #[test]
    fn one_bad_tenant_is_told_from_a_bad_address() {
        let rules = fixtures::rules();
        let now = Wall::from_millis(0);
        let (good, bad) = (TenantName::new("good"), TenantName::new("bad"));
        // (good attempts, good events, bad attempts, bad events), the bad one's elsewhere → judgement
        // What the bad one did elsewhere decides where too few of the others are left to acquit the address: alone on one
        // address nobody can tell, but a list that is bad on another address as well is not this one's fault.
        let (unknown, fine, bad_too) = ((0, 0), (200, 2), (200, 50));
        let table = [
            ((300, 6, 200, 50), unknown, "tenant"),
            ((300, 60, 200, 40), unknown, "trips"),
            ((40, 0, 200, 50), unknown, "trips"),
            ((40, 0, 200, 50), fine, "trips"),
            ((40, 0, 200, 50), bad_too, "tenant"),
            ((0, 0, 200, 50), unknown, "trips"),
            ((0, 0, 200, 50), fine, "trips"),
            ((0, 0, 200, 50), bad_too, "tenant"),
            ((300, 60, 200, 40), bad_too, "trips"), // the others are refused here as well
            ((300, 6, 50, 3), bad_too, "fine"),
        ];
        for ((good_n, good_k, bad_n, bad_k), (elsewhere_n, elsewhere_k), expected) in table {
            let mut tally = Tally::new(rules.window);
            (0..good_n).for_each(|i| tally.add(&good, i < good_k, now));
            (0..bad_n).for_each(|i| tally.add(&bad, i < bad_k, now));
            let everywhere = |tenant: &TenantName| match *tenant == bad {
                true => Count { attempts: bad_n + elsewhere_n, events: bad_k + elsewhere_k },
                false => Count { attempts: good_n, events: good_k },
            };
            let got = match judge(&mut tally, &rules, now, everywhere) {
                Judgement::Fine => "fine",
                Judgement::Trips(_) => "trips",
                Judgement::Tenant { tenant, .. } => {
                    assert_eq!(tenant, bad);
                    "tenant"
                }
            };
            let elsewhere = (elsewhere_n, elsewhere_k);
            assert_eq!(got, expected, "{good_n}/{good_k} and {bad_n}/{bad_k}, {elsewhere:?} elsewhere");
        }
    }
}
