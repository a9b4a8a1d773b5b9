//! What is known of SPF, for people and metrics. Pure.

use std::collections::BTreeMap;

use super::outcome::{Answer, State};
use super::table::{Cell, Table};
use crate::clock::Wall;
use crate::message::{BindingName, Domain, PoolName, TenantName};

/// One binding of a domain, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellView {
    /// Which.
    pub binding: BindingName,
    /// What is known.
    pub state: State,
    /// The last answer, conclusive or not.
    pub answer: Option<Answer>,
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
}

impl Table {
    /// Everything known, by domain.
    pub fn views(&self) -> impl Iterator<Item = RowView> {
        self.rows.iter().map(|(domain, row)| RowView {
            domain: domain.clone(),
            tenants: row.tenants(),
            asked: row.asked,
            bindings: self.bindings.iter().zip(&row.cells).map(|(name, cell)| cell.view(name)).collect(),
            uncovered: row.uncovered.iter().cloned().collect(),
        })
    }

    /// Sums over all domains.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        let mut of_tenant: BTreeMap<&TenantName, Vec<&super::table::Row>> = BTreeMap::new();
        let tenants: Vec<_> = self.rows.values().map(|row| (row.tenants(), row)).collect();
        for (tenant, row) in tenants.iter().flat_map(|(all, row)| all.iter().map(move |tenant| (tenant, *row))) {
            of_tenant.entry(tenant).or_default().push(row);
        }
        for (tenant, pools) in &self.pools {
            let rows = of_tenant.get(tenant).map_or(&[][..], Vec::as_slice);
            let mut places: Vec<usize> = pools.iter().flat_map(|(_, places)| places.iter().copied()).collect();
            places.sort_unstable();
            places.dedup();
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
        let (binding, answer) = (binding.clone(), self.answer.clone());
        CellView { binding, state: self.state(), answer, conclusive: self.conclusive }
    }
}
