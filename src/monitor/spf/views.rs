//! What is known of SPF, for people and metrics. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::cell::Cell;
use super::outcome::{Outcome, Reason, State};
use super::row::Row;
use super::table::Table;
use crate::clock::Wall;
use crate::message::{BindingName, Domain, PoolName, TenantName};

/// One binding of a domain, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellView {
    /// Which.
    pub binding: BindingName,
    /// What is known.
    pub state: State,
    /// The last answer, conclusive or not, and why.
    pub last: Option<(Outcome, Option<Reason>)>,
    /// When the last conclusive answer came.
    pub conclusive: Option<Wall>,
}

/// One domain, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowView {
    /// Which.
    pub domain: Domain,
    /// Whose mail it is.
    pub tenants: Vec<TenantName>,
    /// When it was evaluated last.
    pub asked: Option<Wall>,
    /// Its record, as of the last evaluation that found one.
    pub record: Option<String>,
    /// What it says to those it does not allow.
    pub said: Option<String>,
    /// In the order of the configuration.
    pub bindings: Vec<CellView>,
    /// Tenants and pools whose mail from it goes uncovered.
    pub uncovered: Vec<(TenantName, PoolName)>,
}

/// How many domains of each tenant are how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// By tenant, binding of one of its pools and state, all states of each.
    pub domains: Vec<(TenantName, BindingName, State, u64)>,
    /// By tenant and pool: domains whose mail goes uncovered. All pools of all tenants.
    pub uncovered: Vec<(TenantName, PoolName, u64)>,
    /// Domains that are due and not evaluated yet.
    pub overdue: u64,
}

impl Table {
    /// Everything known, by domain.
    pub fn views(&self) -> impl Iterator<Item = RowView> {
        self.rows.iter().map(|(domain, row)| self.view(domain, row))
    }

    /// What is known of one domain.
    pub fn one(&self, domain: &Domain) -> Option<RowView> {
        self.rows.get(domain).map(|row| self.view(domain, row))
    }

    /// What is known of the first `limit` domains of a tenant, or of all, whose names come after `after`; how many the
    /// tenant has in all, and whether there are more behind those.
    pub fn page(&self, tenant: Option<&str>, after: Option<&Domain>, limit: usize) -> (Vec<RowView>, usize, bool) {
        let is_wanted = |row: &Row| tenant.is_none_or(|tenant| row.is_of(tenant));
        let total = self.rows.values().filter(|row| is_wanted(row)).count();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut behind = self.rows.range((from, Bound::Unbounded)).filter(|(_, row)| is_wanted(row));
        let views = behind.by_ref().take(limit).map(|(domain, row)| self.view(domain, row)).collect();
        (views, total, behind.next().is_some())
    }

    fn view(&self, domain: &Domain, row: &Row) -> RowView {
        RowView {
            domain: domain.clone(),
            tenants: row.tenants().cloned().collect(),
            asked: row.asked,
            record: row.record.as_deref().map(str::to_owned),
            said: row.said.as_deref().map(str::to_owned),
            bindings: self.bindings.iter().zip(&row.cells).map(|(name, cell)| cell.view(name)).collect(),
            uncovered: row.uncovered.iter().cloned().collect(),
        }
    }

    /// Sums over all domains.
    pub fn totals(&self, now: Wall) -> Totals {
        let mut of_tenant: BTreeMap<&TenantName, Vec<&Row>> = BTreeMap::new();
        for (tenant, row) in self.rows.values().flat_map(|row| row.tenants().map(move |tenant| (tenant, row))) {
            of_tenant.entry(tenant).or_default().push(row);
        }
        let mut totals = Totals { overdue: self.overdue(now) as u64, ..Totals::default() };
        for (tenant, pools) in &self.pools {
            let rows = of_tenant.get(tenant).map_or(&[][..], Vec::as_slice);
            let places: BTreeSet<usize> = pools.iter().flat_map(|(_, places)| places.iter().copied()).collect();
            for place in places {
                for state in State::ALL {
                    let count = rows.iter().filter(|row| row.cells[place].state() == state).count() as u64;
                    totals.domains.push((tenant.clone(), self.bindings[place].clone(), state, count));
                }
            }
            for (pool, _) in pools {
                let key = (tenant.clone(), pool.clone());
                let count = rows.iter().filter(|row| row.uncovered.contains(&key)).count() as u64;
                totals.uncovered.push((key.0, key.1, count));
            }
        }
        totals
    }
}

impl Cell {
    fn view(&self, binding: &BindingName) -> CellView {
        CellView { binding: binding.clone(), state: self.state(), last: self.last, conclusive: self.conclusive }
    }
}
