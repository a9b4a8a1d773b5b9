//! Which binding each sender domain's SPF record covers, confirmed over time. Pure.
//!
//! Rows are domains: those that the configuration names (for good), and those seen in mail ([`super::seen`]). A new row is
//! due at once, then every `interval` ± `jitter`; [`super::agenda`] says which comes first.
//!
//! Only what is *proven* bars a binding: `confirmations` conclusive answers in a row, `confirm_after` apart, that the
//! record does not allow it. A pass counts at once: a record that was mended must not wait. That a proven domain has
//! nothing to say any more needs the same confirmations. What DNS could not answer changes nothing and is asked again
//! after [`RETRY`](super::row::RETRY), then after twice that, up to the interval; what was known stands until it is older than
//! [`STALE_AFTER`].
//!
//! What bars somebody is written down ([`super::kept`]) and holds from the first moment after a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::agenda::{Agenda, Rank, Turn};
use super::cell::Cell;
use super::outcome::{Answer, State};
use super::row::{Pools, Row};
use super::seen::{SEEN_MAX, Seen};
use super::tally::{Move, Note, Tally};
use crate::clock::Wall;
use crate::config::Addresses;
use crate::message::{BindingName, Domain, PoolName, TenantName};

/// Domains in all. What is named or seen beyond that is not evaluated.
pub const DOMAINS_MAX: usize = 10_000;

/// How long what was known stands without a conclusive answer.
pub const STALE_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// How old what is on disk may grow before the same is written again.
const WRITTEN_AFTER: Duration = Duration::from_secs(6 * 60 * 60);

/// How it is asked and believed.
#[derive(Clone, Copy, Debug, PartialEq)]
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

/// All domains × bindings.
#[derive(Debug)]
pub struct Table {
    rules: Rules,
    pub(super) bindings: Vec<BindingName>,
    pub(super) addresses: Vec<Addresses>,
    pub(super) pools: Pools,
    pub(super) rows: BTreeMap<Domain, Row>,
    agenda: Agenda,
    /// Being evaluated.
    asking: usize,
    news: Vec<News>,
    tally: Tally,
    /// When notes were taken last.
    told: Option<Wall>,
    /// What is to be written, or removed, by its text.
    pub(super) changed: BTreeSet<String>,
}

impl Table {
    /// Nothing known. `pools` are each tenant's pools with their bindings; names that are not in `bindings` are passed
    /// over.
    pub fn new(
        rules: Rules,
        bindings: Vec<(BindingName, impl Into<Addresses>)>,
        pools: &BTreeMap<TenantName, Vec<(PoolName, Vec<BindingName>)>>,
    ) -> Self {
        let (bindings, addresses): (Vec<_>, Vec<_>) =
            bindings.into_iter().map(|(name, addresses)| (name, addresses.into())).unzip();
        Self {
            rules,
            pools: places(&bindings, pools),
            bindings,
            addresses,
            rows: BTreeMap::new(),
            agenda: Agenda::default(),
            asking: 0,
            news: Vec::new(),
            tally: Tally::default(),
            told: None,
            changed: BTreeSet::new(),
        }
    }

    /// The row of a domain; a new one is due at once. `None` where there is no room.
    pub(super) fn row(&mut self, domain: &Domain, rank: Rank, now: Wall) -> Option<&mut Row> {
        if !self.rows.contains_key(domain) {
            if self.rows.len() >= DOMAINS_MAX {
                return None;
            }
            let mut row = Row::new(self.bindings.len());
            let turn = Turn { rank, due: now };
            row.turn = Some(turn);
            self.agenda.add(turn, domain);
            self.rows.insert(domain.clone(), row);
        }
        self.rows.get_mut(domain)
    }

    /// A domain that the configuration names as a tenant's. False where there is no room for it.
    pub fn name(&mut self, tenant: &TenantName, domain: &Domain, now: Wall) -> bool {
        let row = self.row(domain, Rank::Routine, now);
        row.is_some_and(|row| row.fixed.insert(tenant.clone()) || row.fixed.contains(tenant))
    }

    /// Takes in a domain seen in a tenant's mail, in the place of one that was not seen for an interval where there is no
    /// room otherwise; one that bars somebody stays while it has mail (`waits`). False where it is not taken in.
    pub fn admit(
        &mut self,
        seen: &mut Seen,
        tenant: &TenantName,
        domain: &Domain,
        waits: impl Fn(&Domain) -> bool,
        now: Wall,
    ) -> bool {
        let has_row = self.rows.contains_key(domain);
        let is_full = seen.count(tenant) >= SEEN_MAX && !self.make_room(seen, Some(tenant), &waits, now)
            || !has_row && self.rows.len() >= DOMAINS_MAX && !self.make_room(seen, None, &waits, now);
        if is_full {
            if seen.is_full(tenant, now) {
                self.tally.add(Move::PassedOver, domain, |note| note.tenants.extend([tenant.clone()]));
            }
            return false;
        }
        let Some(row) = self.row(domain, Rank::Waiting, now) else { return false };
        row.seen.insert(tenant.clone());
        seen.keep(tenant, domain, now);
        true
    }

    fn make_room(
        &mut self,
        seen: &mut Seen,
        tenant: Option<&TenantName>,
        waits: impl Fn(&Domain) -> bool,
        now: Wall,
    ) -> bool {
        let idle = seen.idle(tenant, self.rules.interval, now);
        let may_go = |(owner, domain): &(TenantName, Domain)| {
            let Some(row) = self.rows.get(domain) else { return true };
            let is_last = row.fixed.is_empty() && row.seen.iter().all(|name| name == owner);
            (is_last || tenant.is_some()) && (row.told.1.is_empty() || !is_last || !waits(domain))
        };
        let Some((owner, domain)) = idle.into_iter().find(may_go) else { return false };
        seen.forget(&owner, &domain);
        self.forget(&owner, &domain);
        true
    }

    /// Other rules; `pools` as in [`Self::new`].
    pub(super) fn take_rules(&mut self, rules: Rules, pools: &BTreeMap<TenantName, Vec<(PoolName, Vec<BindingName>)>>) {
        (self.rules, self.pools) = (rules, places(&self.bindings, pools));
    }

    /// All that was told is told again with the next [`Self::take_news`], beside what is new.
    pub(super) fn tell_again(&mut self) {
        let told = self.rows.iter().filter(|(_, row)| row.told != Default::default());
        let again = told.map(|(domain, row)| {
            let (allowed, barred) = row.told.clone();
            News { domain: domain.clone(), allowed, barred }
        });
        self.news.extend(again.collect::<Vec<_>>());
    }

    pub(super) fn move_turn(&mut self, domain: &Domain, from: Turn, to: Turn) {
        self.agenda.remove(from, domain);
        self.agenda.add(to, domain);
    }

    /// The evaluation of a domain ([`Self::take_due`]) came to nothing that can be used: it is due again.
    pub fn put_back(&mut self, domain: &Domain, now: Wall) {
        self.asking = self.asking.saturating_sub(1);
        let Some(row) = self.rows.get_mut(domain).filter(|row| row.turn.is_none()) else { return };
        let turn = Turn { rank: Rank::Routine, due: now };
        row.turn = Some(turn);
        self.agenda.add(turn, domain);
    }

    fn forget(&mut self, tenant: &TenantName, domain: &Domain) {
        let Some(row) = self.rows.get_mut(domain) else { return };
        row.seen.remove(tenant);
        if !row.is_needed() {
            self.drop_row(domain);
        }
    }

    /// It is nobody's any more.
    pub(super) fn drop_row(&mut self, domain: &Domain) {
        let Some(row) = self.rows.get_mut(domain) else { return };
        if row.told != Default::default() {
            self.news.push(News { domain: domain.clone(), allowed: Vec::new(), barred: Vec::new() });
        }
        if row.written.is_some() {
            self.changed.insert(domain.to_string());
        }
        row.turn.into_iter().for_each(|turn| self.agenda.remove(turn, domain));
        self.rows.remove(domain);
    }

    /// Mail of a domain waits: unless something is known of it already, it is evaluated before others.
    pub fn hurry(&mut self, domain: &Domain) {
        let Some(row) = self.rows.get_mut(domain).filter(|row| row.asked.is_none()) else { return };
        if let Some(turn) = row.turn.as_mut().filter(|turn| turn.rank > Rank::Waiting) {
            self.agenda.remove(*turn, domain);
            turn.rank = Rank::Waiting;
            self.agenda.add(*turn, domain);
        }
    }

    /// The same for all domains that the configuration names for a tenant.
    pub fn hurry_named(&mut self, tenant: &TenantName) {
        let named = self.rows.iter().filter(|(_, row)| row.fixed.contains(tenant));
        let named: Vec<Domain> = named.map(|(domain, _)| domain.clone()).collect();
        named.iter().for_each(|domain| self.hurry(domain));
    }

    /// The domain to evaluate now, which is then answered by [`Self::answered`].
    pub fn take_due(&mut self, now: Wall) -> Option<Domain> {
        let domain = self.agenda.next(now)?;
        if let Some(row) = self.rows.get_mut(&domain) {
            row.turn = None;
        }
        self.asking += 1;
        Some(domain)
    }

    /// When the next domain is due.
    pub fn next_due(&self) -> Option<Wall> {
        self.agenda.next_due()
    }

    /// Domains that are due and not evaluated yet.
    pub fn overdue(&self, now: Wall) -> usize {
        self.agenda.overdue(now)
    }

    /// Whether notes should be told: nothing is being evaluated or due, or they were put together for `span`.
    pub fn is_time_to_tell(&self, span: Duration, now: Wall) -> bool {
        let is_idle = self.asking == 0 && self.next_due().is_none_or(|due| due > now);
        is_idle || self.told.is_none_or(|told| now.since(told) >= span)
    }

    /// Takes in one evaluation of a domain: an answer for each binding, in the order of the table. `unit` is a random
    /// number in 0..1 for the jitter.
    pub fn answered(&mut self, domain: &Domain, answers: &[Answer], unit: f64, now: Wall) {
        self.asking = self.asking.saturating_sub(1);
        let Self { rules, bindings, rows, agenda, tally, .. } = self;
        let Some(row) = rows.get_mut(domain) else { return };
        let before: Vec<State> = row.cells.iter().map(Cell::state).collect();
        for (cell, answer) in row.cells.iter_mut().zip(answers) {
            cell.conclude(answer, rules, now);
        }
        row.note(answers, now);
        let is_answered = answers.iter().all(|answer| answer.outcome.state().is_some());
        let turn = row.turn(rules, is_answered, unit, now);
        // It may have gone and come again while it was evaluated.
        row.turn.replace(turn).into_iter().for_each(|old| agenda.remove(old, domain));
        agenda.add(turn, domain);

        for (place, (was, cell)) in before.iter().zip(&row.cells).enumerate() {
            let what = match (*was == State::NotCovered, cell.state() == State::NotCovered) {
                (false, true) => Move::Lost,
                (true, false) => Move::Back,
                _ => continue,
            };
            tally.add(what, domain, |note| {
                note.bindings.insert(bindings[place].clone());
                note.tenants.extend(row.tenants().cloned());
                if what == Move::Lost && note.why.is_empty() {
                    let answer = answers.get(place);
                    let words = answer.and_then(Answer::words).unwrap_or_default();
                    note.why = format!("{}: {words}", answer.map_or("", |answer| answer.outcome.as_str()));
                }
            });
        }
        self.tell(domain, now);
    }

    /// Tells what differs from what was told.
    pub(super) fn tell(&mut self, domain: &Domain, now: Wall) {
        let Self { bindings, pools, rows, news, tally, changed, .. } = self;
        let Some(row) = rows.get_mut(domain) else { return };
        let with = |state| -> Vec<BindingName> {
            let all = bindings.iter().zip(&row.cells);
            all.filter(|(_, cell)| cell.state() == state).map(|(name, _)| name.clone()).collect()
        };
        let current = (with(State::Covered), with(State::NotCovered));
        let is_new = current != row.told;
        let is_old = row.written.is_some_and(|at| now.since(at) >= WRITTEN_AFTER);
        if row.written.is_some() && (is_new || is_old) || is_new && !current.1.is_empty() {
            changed.insert(domain.to_string());
        }
        if is_new {
            row.told = current.clone();
            news.push(News { domain: domain.clone(), allowed: current.0, barred: current.1 });
        }
        let uncovered = row.uncovered(pools);
        for (tenant, pool) in uncovered.difference(&row.uncovered) {
            tally.add(Move::Uncovered, domain, |note| {
                note.tenants.insert(tenant.clone());
                note.pools.insert(pool.clone());
            });
        }
        row.uncovered = uncovered;
    }

    /// What was proven since the last call.
    pub fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// What people should know since the last call.
    pub fn take_notes(&mut self, now: Wall) -> Vec<Note> {
        self.told = Some(now);
        self.tally.take()
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

/// Pools with the places of their bindings.
fn places(bindings: &[BindingName], pools: &BTreeMap<TenantName, Vec<(PoolName, Vec<BindingName>)>>) -> Pools {
    let place = |name: &BindingName| bindings.iter().position(|known| known == name);
    let places = |(pool, members): &(PoolName, Vec<BindingName>)| {
        (pool.clone(), members.iter().filter_map(place).collect::<Vec<_>>())
    };
    pools.iter().map(|(tenant, pools)| (tenant.clone(), pools.iter().map(places).collect())).collect()
}
