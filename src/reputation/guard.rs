//! The pool guard: automation must not empty a pool.
//!
//! Asked before a binding is suspended everywhere for a reason that is not certain, and before a route is for one that
//! only statistics give ([`Reason::is_inferred`](super::Reason::is_inferred)): there it counts who can be used at that
//! destination. What a receiver says of a route in as many words passes; it refuses the mail anyway. The guard holds the
//! suspension back when the binding is the last usable one of a pool, or when more than the configured share of a pool's
//! bindings would be out by automation; the subject is throttled strongly instead. Drained members (weight 0) are no part of the pool here. It is asked when a suspension would begin
//! (a walk over the members of its pools, and nothing per message), not again while it lasts: when the operator, or certain evidence, then takes the others out as well, that was not
//! automation on a guess.

use std::collections::{HashMap, HashSet};

use crate::config::Config;
use crate::message::{BindingName, PoolName};

/// How a binding stands, as far as pools care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Takes mail (throttled included).
    Usable,
    /// Taken out by the program, or on probation after that.
    OutByAutomation,
    /// Taken out by the operator.
    OutByOperator,
}

#[derive(Debug)]
struct GuardedPool {
    name: PoolName,
    members: Vec<BindingName>,
}

/// Pools and what may be taken out of them.
#[derive(Debug)]
pub(super) struct Guard {
    share: f64,
    pools: Vec<GuardedPool>,
    by_binding: HashMap<BindingName, Vec<usize>>,
    switched_off: HashSet<BindingName>,
}

impl Guard {
    /// The guard of `config`'s pools.
    pub(super) fn new(config: &Config) -> Self {
        let pools: Vec<GuardedPool> = config
            .pools
            .iter()
            .map(|pool| GuardedPool {
                name: pool.name.clone(),
                members: pool.tiers.iter().flatten().filter(|m| m.weight > 0).map(|m| m.binding.clone()).collect(),
            })
            .collect();
        let mut by_binding: HashMap<BindingName, Vec<usize>> = HashMap::new();
        for (index, pool) in pools.iter().enumerate() {
            for member in &pool.members {
                by_binding.entry(member.clone()).or_default().push(index);
            }
        }
        let switched_off = config.bindings.iter().filter(|b| b.suspend_delivery).map(|b| b.name.clone()).collect();
        Self { share: config.reputation.pool_guard, pools, by_binding, switched_off }
    }

    /// Numbers of the pools that a binding is in.
    pub(super) fn pools_of(&self, binding: &BindingName) -> impl Iterator<Item = usize> {
        self.by_binding.get(binding).into_iter().flatten().copied()
    }

    /// Whether a binding is in a pool.
    pub(super) fn is_in(&self, pool: usize, binding: &BindingName) -> bool {
        self.by_binding.get(binding).is_some_and(|pools| pools.contains(&pool))
    }

    /// How many more a pool could spare.
    pub(super) fn room(&self, pool: usize, standing: impl Fn(&BindingName) -> Standing) -> usize {
        let (mut usable, mut out) = (0usize, 0usize);
        let Some(pool) = self.pools.get(pool) else { return 0 };
        for member in pool.members.iter().filter(|member| !self.switched_off.contains(*member)) {
            match standing(member) {
                Standing::Usable => usable += 1,
                Standing::OutByAutomation => out += 1,
                Standing::OutByOperator => {}
            }
        }
        let most = (self.share * pool.members.len() as f64) as usize;
        most.saturating_sub(out).min(usable.saturating_sub(1))
    }

    /// The pool that cannot spare `binding`, and why.
    pub(super) fn holds_back(
        &self,
        binding: &BindingName,
        standing: impl Fn(&BindingName) -> Standing,
    ) -> Option<(PoolName, String)> {
        let indices = self.by_binding.get(binding).map_or(&[][..], Vec::as_slice);
        indices.iter().map(|&index| &self.pools[index]).find_map(|pool| {
            let (mut usable, mut out) = (0usize, 1usize);
            for member in pool.members.iter().filter(|&m| m != binding) {
                match standing(member) {
                    _ if self.switched_off.contains(member) => {}
                    Standing::Usable => usable += 1,
                    Standing::OutByAutomation => out += 1,
                    Standing::OutByOperator => {}
                }
            }
            let size = pool.members.len();
            if usable == 0 {
                return Some((pool.name.clone(), format!("last usable binding of pool {}", pool.name)));
            }
            (out as f64 > self.share * size as f64)
                .then(|| (pool.name.clone(), format!("{out} of {size} bindings of pool {} would be out", pool.name)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::config;
    use super::Standing::{OutByAutomation as A, OutByOperator as O, Usable as U};
    use super::*;

    #[test]
    fn spares_the_last_usable_binding_and_the_share() {
        // standings of a's fellows b, c, d in a pool of four, share → held back?
        let table = [
            ([U, U, U], 0.5, false),
            ([A, U, U], 0.5, false),
            ([A, A, U], 0.5, true),
            ([O, O, U], 0.5, false),
            ([O, O, O], 1.0, true),
            ([A, A, U], 1.0, false),
            ([A, A, A], 1.0, true),
            ([U, U, U], 0.0, true),
        ];
        for (others, share, expected) in table {
            let mut config = config(&["a", "b", "c", "d"], &[("p", &["a", "b", "c", "d"])]);
            config.reputation.pool_guard = share;
            let standing = |name: &BindingName| match name.as_str() {
                "b" => others[0],
                "c" => others[1],
                _ => others[2],
            };
            let held = Guard::new(&config).holds_back(&"a".into(), standing);
            assert_eq!(held.is_some(), expected, "{others:?} {share}");
        }
    }

    #[test]
    fn a_binding_in_two_pools_must_be_spared_by_both_and_one_in_none_is_free() {
        let config = config(&["a", "b", "c"], &[("p", &["a", "b"]), ("q", &["a"])]);
        let guard = Guard::new(&config);
        let held = guard.holds_back(&"a".into(), |_| U);
        assert_eq!(held.map(|(pool, _)| pool), Some("q".into()));
        assert_eq!(guard.holds_back(&"c".into(), |_| U), None);
    }

    #[test]
    fn what_the_file_suspends_is_no_usable_fellow() {
        let mut config = config(&["a", "b"], &[("p", &["a", "b"])]);
        let mut off = (*config.bindings[1]).clone();
        off.suspend_delivery = true;
        config.bindings[1] = std::sync::Arc::new(off);
        assert!(Guard::new(&config).holds_back(&"a".into(), |_| U).is_some());
    }
}
