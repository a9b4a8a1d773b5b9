//! Which binding each sender domain's SPF record covers, confirmed over time. Pure.
//!
//! Rows are domains: those that the configuration names (for good), and those seen in mail, of each tenant the
//! [`SEEN_MAX`] seen last. A new row is due at once, then every `interval` ± `jitter`.
//!
//! Only what is *proven* bars a binding: `confirmations` conclusive answers in a row, `confirm_after` apart, that the
//! record does not allow it. Good news counts at once: a record that was mended must not wait. What DNS could not answer
//! changes nothing and is asked again after [`RETRY`]; what was known stands until it is older than [`STALE_AFTER`].
//!
//! What is known is held in memory alone: after a restart it takes a confirmation (a minute by default) until bars hold
//! again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::outcome::{Answer, State};
use crate::clock::Wall;
use crate::message::{BindingName, Domain, PoolName, TenantName};

/// Domains seen in the mail of a tenant that are kept.
pub const SEEN_MAX: usize = 50;

/// Domains in all. What is seen beyond that is not evaluated.
pub const DOMAINS_MAX: usize = 10_000;

/// How long what was known stands without a conclusive answer.
pub const STALE_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// When a domain is asked about again for which DNS had no answer.
const RETRY: Duration = Duration::from_secs(300);

/// How it is asked and believed.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Time between two evaluations of a domain.
    pub interval: Duration,
    /// Which may come this share earlier or later.
    pub jitter: f64,
    /// Conclusive answers that bar a binding; at least 1.
    pub confirmations: u32,
    /// Time between two of those.
    pub confirm_after: Duration,
}

/// What is proven of a domain: for the scheduler. Told whenever it differs from what was told before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Which domain.
    pub domain: Domain,
    /// Bindings that its record allows.
    pub allowed: Vec<BindingName>,
    /// Bindings that it does not allow.
    pub barred: Vec<BindingName>,
}

/// Something for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Bindings are proven not to be covered (any more).
    Lost {
        /// Which domain.
        domain: Domain,
        /// Whose mail it is.
        tenants: Vec<TenantName>,
        /// Which.
        bindings: Vec<BindingName>,
        /// Why, in words, of the first of them.
        why: String,
    },
    /// Bindings that were proven not to be covered are not barred any more.
    Back {
        /// Which domain.
        domain: Domain,
        /// Which.
        bindings: Vec<BindingName>,
    },
    /// No binding of a tenant's pool is covered, and some are proven not to be: its mail goes uncovered.
    Uncovered {
        /// Which domain.
        domain: Domain,
        /// Whose.
        tenant: TenantName,
        /// Which pool.
        pool: PoolName,
    },
}

#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    known: Option<State>,
    /// Answers in a row that speak against it, and when the last came.
    against: Option<(u32, Wall)>,
    pub(super) conclusive: Option<Wall>,
    pub(super) answer: Option<Answer>,
}

#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Named by the configuration for these.
    fixed: BTreeSet<TenantName>,
    /// Seen in the mail of these.
    seen: BTreeSet<TenantName>,
    pub(super) cells: Vec<Cell>,
    due: Wall,
    pub(super) asked: Option<Wall>,
    told: (Vec<BindingName>, Vec<BindingName>),
    pub(super) uncovered: BTreeSet<(TenantName, PoolName)>,
}

/// A tenant's pools, each with the places of its bindings in the table.
type Pools = BTreeMap<TenantName, Vec<(PoolName, Vec<usize>)>>;

/// All domains × bindings.
#[derive(Debug)]
pub struct Table {
    rules: Rules,
    pub(super) bindings: Vec<BindingName>,
    pub(super) pools: Pools,
    pub(super) rows: BTreeMap<Domain, Row>,
    /// What was seen in the mail of each tenant, and when last.
    seen: HashMap<TenantName, HashMap<Domain, Wall>>,
    news: Vec<News>,
    notes: Vec<Note>,
}

impl Cell {
    pub(super) fn state(&self) -> State {
        self.known.unwrap_or(State::Unknown)
    }

    fn conclude(&mut self, answer: &Answer, rules: &Rules, now: Wall) {
        self.answer = Some(answer.clone());
        let Some(state) = answer.outcome.state() else {
            if self.conclusive.is_some_and(|at| now.since(at) >= STALE_AFTER) {
                (self.known, self.against) = (None, None);
            }
            return;
        };
        self.conclusive = Some(now);
        if state != State::NotCovered || self.known == Some(State::NotCovered) {
            (self.known, self.against) = (Some(state), None);
            return;
        }
        let count = match self.against {
            Some((_, last)) if now.since(last) < rules.confirm_after => return,
            Some((count, _)) => count + 1,
            None => 1,
        };
        if count >= rules.confirmations.max(1) {
            (self.known, self.against) = (Some(state), None);
        } else {
            self.against = Some((count, now));
        }
    }
}

impl Row {
    fn new(cells: usize, now: Wall) -> Self {
        Self {
            fixed: BTreeSet::new(),
            seen: BTreeSet::new(),
            cells: vec![Cell::default(); cells],
            due: now,
            asked: None,
            told: Default::default(),
            uncovered: BTreeSet::new(),
        }
    }

    pub(super) fn tenants(&self) -> Vec<TenantName> {
        let mut tenants: Vec<TenantName> = self.fixed.iter().chain(&self.seen).cloned().collect();
        tenants.sort();
        tenants.dedup();
        tenants
    }

    fn is_needed(&self) -> bool {
        !(self.fixed.is_empty() && self.seen.is_empty())
    }

    fn uncovered(&self, pools: &Pools) -> BTreeSet<(TenantName, PoolName)> {
        let has = |places: &[usize], state| places.iter().any(|&place| self.cells[place].state() == state);
        let mut found = BTreeSet::new();
        for tenant in self.tenants() {
            for (pool, places) in pools.get(&tenant).into_iter().flatten() {
                if has(places, State::NotCovered) && !has(places, State::Covered) {
                    found.insert((tenant.clone(), pool.clone()));
                }
            }
        }
        found
    }
}

impl Table {
    /// Nothing known. `pools` are each tenant's pools with their bindings; names that are not in `bindings` are passed
    /// over.
    pub fn new(
        rules: Rules,
        bindings: Vec<BindingName>,
        pools: &BTreeMap<TenantName, Vec<(PoolName, Vec<BindingName>)>>,
    ) -> Self {
        let place = |name: &BindingName| bindings.iter().position(|known| known == name);
        let places = |(pool, members): &(PoolName, Vec<BindingName>)| {
            (pool.clone(), members.iter().filter_map(place).collect::<Vec<_>>())
        };
        let pools = pools.iter().map(|(tenant, pools)| (tenant.clone(), pools.iter().map(places).collect())).collect();
        Self {
            rules,
            bindings,
            pools,
            rows: BTreeMap::new(),
            seen: HashMap::new(),
            news: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// A domain that the configuration names as a tenant's.
    pub fn name(&mut self, tenant: &TenantName, domain: &Domain, now: Wall) {
        let cells = self.bindings.len();
        let row = self.rows.entry(domain.clone()).or_insert_with(|| Row::new(cells, now));
        row.fixed.insert(tenant.clone());
    }

    /// A domain was seen in a tenant's mail. True where it is new, and so due.
    pub fn seen(&mut self, tenant: &TenantName, domain: &Domain, now: Wall) -> bool {
        if let Some(last) = self.seen.get_mut(tenant).and_then(|seen| seen.get_mut(domain)) {
            *last = now;
            return false;
        }
        let count = self.rows.len();
        let is_new = match self.rows.get_mut(domain) {
            Some(row) if row.fixed.contains(tenant) => return false,
            Some(row) => {
                row.seen.insert(tenant.clone());
                false
            }
            None if count >= DOMAINS_MAX => return false,
            None => {
                let mut row = Row::new(self.bindings.len(), now);
                row.seen.insert(tenant.clone());
                self.rows.insert(domain.clone(), row);
                true
            }
        };
        self.seen.entry(tenant.clone()).or_default().insert(domain.clone(), now);
        self.make_way(tenant);
        is_new
    }

    /// Forgets what a tenant has sent from the longest time ago.
    fn make_way(&mut self, tenant: &TenantName) {
        let Some(seen) = self.seen.get_mut(tenant).filter(|seen| seen.len() > SEEN_MAX) else { return };
        let oldest = seen.iter().min_by_key(|(domain, last)| (**last, *domain));
        let Some(domain) = oldest.map(|(domain, _)| domain.clone()) else { return };
        seen.remove(&domain);
        let Some(row) = self.rows.get_mut(&domain) else { return };
        row.seen.remove(tenant);
        if !row.is_needed() {
            if row.told != Default::default() {
                self.news.push(News { domain: domain.clone(), allowed: Vec::new(), barred: Vec::new() });
            }
            self.rows.remove(&domain);
        }
    }

    /// The domain that has been due the longest.
    pub fn due(&self, now: Wall) -> Option<Domain> {
        let due = self.rows.iter().filter(|(_, row)| row.due <= now);
        due.min_by_key(|(_, row)| row.due).map(|(domain, _)| domain.clone())
    }

    /// When the next domain is due.
    pub fn next_due(&self) -> Option<Wall> {
        self.rows.values().map(|row| row.due).min()
    }

    /// Takes in one evaluation of a domain: an answer for each binding, in the order of the table. `unit` is a random
    /// number in 0..1 for the jitter.
    pub fn answered(&mut self, domain: &Domain, answers: &[Answer], unit: f64, now: Wall) {
        let Self { rules, bindings, rows, .. } = self;
        let Some(row) = rows.get_mut(domain) else { return };
        let before: Vec<State> = row.cells.iter().map(Cell::state).collect();
        for (cell, answer) in row.cells.iter_mut().zip(answers) {
            cell.conclude(answer, rules, now);
        }
        let wait = if row.cells.iter().any(|cell| cell.against.is_some()) {
            rules.confirm_after
        } else if answers.iter().any(|answer| answer.outcome.state().is_none()) {
            RETRY.min(rules.interval)
        } else {
            rules.interval.mul_f64(1.0 + rules.jitter * (2.0 * unit - 1.0))
        };
        (row.asked, row.due) = (Some(now), now.plus(wait));

        let moved = |from: fn(State) -> bool, to: fn(State) -> bool| -> Vec<usize> {
            let moves = before.iter().zip(&row.cells).enumerate();
            moves.filter(|(_, (was, is))| from(**was) && to(is.state())).map(|(place, _)| place).collect()
        };
        let is_barred = |state| state == State::NotCovered;
        let (lost, back) =
            (moved(|was| was != State::NotCovered, is_barred), moved(is_barred, |is| is != State::NotCovered));
        let names = |places: &[usize]| -> Vec<BindingName> { places.iter().map(|&p| bindings[p].clone()).collect() };
        if let Some(&first) = lost.first() {
            let answer = row.cells[first].answer.as_ref();
            let reason = answer.and_then(|answer| answer.reason.clone()).unwrap_or_default();
            let why = format!("{}: {reason}", answer.map_or("", |answer| answer.outcome.as_str()));
            let (domain, tenants) = (domain.clone(), row.tenants());
            self.notes.push(Note::Lost { domain, tenants, bindings: names(&lost), why });
        }
        if !back.is_empty() {
            self.notes.push(Note::Back { domain: domain.clone(), bindings: names(&back) });
        }
        self.tell(domain);
    }

    /// Tells what differs from what was told.
    fn tell(&mut self, domain: &Domain) {
        let Self { bindings, pools, rows, news, notes, .. } = self;
        let Some(row) = rows.get_mut(domain) else { return };
        let with = |state| -> Vec<BindingName> {
            let all = bindings.iter().zip(&row.cells);
            all.filter(|(_, cell)| cell.state() == state).map(|(name, _)| name.clone()).collect()
        };
        let current = (with(State::Covered), with(State::NotCovered));
        if current != row.told {
            row.told = current.clone();
            news.push(News { domain: domain.clone(), allowed: current.0, barred: current.1 });
        }
        let uncovered = row.uncovered(pools);
        for (tenant, pool) in uncovered.difference(&row.uncovered) {
            let (tenant, pool) = (tenant.clone(), pool.clone());
            notes.push(Note::Uncovered { domain: domain.clone(), tenant, pool });
        }
        row.uncovered = uncovered;
    }

    /// What was proven since the last call.
    pub fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// What people should know since the last call.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// Domains there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}
