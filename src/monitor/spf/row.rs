//! What is known of one domain. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::agenda::{Rank, Turn};
use super::cell::Cell;
use super::outcome::{Answer, Reason, State};
use super::table::Rules;
use crate::clock::Wall;
use crate::message::{BindingName, PoolName, TenantName};

/// When a domain is asked about again for which DNS had no answer, the first time.
pub const RETRY: Duration = Duration::from_secs(300);

/// A tenant's pools, each with the places of its bindings in the table.
pub(super) type Pools = BTreeMap<TenantName, Vec<(PoolName, Vec<usize>)>>;

#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Named by the configuration for these.
    pub(super) fixed: BTreeSet<TenantName>,
    /// Seen in the mail of these.
    pub(super) seen: BTreeSet<TenantName>,
    pub(super) cells: Box<[Cell]>,
    /// `None` while it is being evaluated.
    pub(super) turn: Option<Turn>,
    /// Evaluations in a row that DNS did not answer in full.
    failures: u32,
    pub(super) asked: Option<Wall>,
    /// As of the last evaluation that found one.
    pub(super) record: Option<Box<str>>,
    /// What the domain says to those it does not allow.
    pub(super) said: Option<Box<str>>,
    pub(super) told: (Vec<BindingName>, Vec<BindingName>),
    pub(super) uncovered: BTreeSet<(TenantName, PoolName)>,
    /// How old what is on disk is.
    pub(super) written: Option<Wall>,
}

impl Row {
    pub(super) fn new(cells: usize) -> Self {
        Self {
            fixed: BTreeSet::new(),
            seen: BTreeSet::new(),
            cells: vec![Cell::default(); cells].into(),
            turn: None,
            failures: 0,
            asked: None,
            record: None,
            said: None,
            told: Default::default(),
            uncovered: BTreeSet::new(),
            written: None,
        }
    }

    /// Whose mail comes from it, by name.
    pub(super) fn tenants(&self) -> impl Iterator<Item = &TenantName> {
        self.fixed.union(&self.seen)
    }

    pub(super) fn is_of(&self, tenant: &str) -> bool {
        self.tenants().any(|known| known.as_str() == tenant)
    }

    pub(super) fn is_needed(&self) -> bool {
        !(self.fixed.is_empty() && self.seen.is_empty())
    }

    pub(super) fn uncovered(&self, pools: &Pools) -> BTreeSet<(TenantName, PoolName)> {
        let has = |places: &[usize], state| places.iter().any(|&place| self.cells[place].state() == state);
        let mut found = BTreeSet::new();
        for tenant in self.tenants() {
            for (pool, places) in pools.get(tenant).into_iter().flatten() {
                if has(places, State::NotCovered) && !has(places, State::Covered) {
                    found.insert((tenant.clone(), pool.clone()));
                }
            }
        }
        found
    }

    /// Takes in what is the same for all bindings, and counts failures.
    pub(super) fn note(&mut self, answers: &[Answer], now: Wall) {
        self.asked = Some(now);
        let is_answered = |answer: &Answer| answer.outcome.state().is_some();
        let first =
            |text: fn(&Answer) -> &Option<String>| answers.iter().find_map(|a| text(a).as_deref().map(Box::from));
        match first(|answer| &answer.record) {
            Some(record) => (self.record, self.said) = (Some(record), first(|answer| &answer.said)),
            None if answers.iter().any(is_answered) => (self.record, self.said) = (None, None),
            None => {}
        }
        let is_distrusted = answers.iter().any(|answer| answer.reason == Some(Reason::Distrusted));
        if answers.iter().all(is_answered) {
            self.failures = 0;
        } else if !is_distrusted {
            self.failures = self.failures.saturating_add(1);
        }
    }

    pub(super) fn turn(&self, rules: &Rules, is_answered: bool, unit: f64, now: Wall) -> Turn {
        let (rank, wait) = if self.cells.iter().any(Cell::is_confirming) {
            (Rank::Confirming, rules.confirm_after)
        } else if !is_answered {
            let doublings = self.failures.saturating_sub(1).min(16);
            (Rank::Routine, RETRY.saturating_mul(1 << doublings).min(rules.interval))
        } else {
            (Rank::Routine, rules.interval.mul_f64(1.0 + rules.jitter * (2.0 * unit - 1.0)))
        };
        Turn { rank, due: now.plus(wait) }
    }
}
