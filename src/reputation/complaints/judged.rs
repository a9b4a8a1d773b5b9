//! What is to be judged of routes, tenants and providers, and what is settled: the side of the [`Ledger`]s.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::cohort::Cohort;
use super::ledger::{Counted, Ledger};
use super::{Complaints, day, kept, posterior};
use crate::clock::Wall;
use crate::config;
use crate::message::{BindingName, DestinationName, TenantName};

/// A complaint to be judged.
#[derive(Clone, Copy, Debug)]
pub(in crate::reputation) struct Heard<'a> {
    pub(in crate::reputation) binding: &'a BindingName,
    pub(in crate::reputation) provider: &'a DestinationName,
    pub(in crate::reputation) tenant: &'a TenantName,
    /// When the mail was sent; not after now.
    pub(in crate::reputation) at: Wall,
    pub(in crate::reputation) incidents: u32,
}

/// The days that are judged: the first and the last.
fn window(days: u32, now: Wall) -> (i64, i64) {
    (day(now) - i64::from(kept(days)) + 1, day(now))
}

impl Complaints {
    fn ledgers(&self, provider: &DestinationName) -> impl Iterator<Item = &Ledger> {
        self.cells.get(&Some(provider.clone())).into_iter().flat_map(HashMap::values).map(|cell| &cell.ledger)
    }

    /// Books a complaint to be judged, as far as one minute of mail is believed; the mail of the route until `settled` has
    /// been answered for. False where that changes nothing.
    pub(in crate::reputation) fn hear(
        &mut self,
        heard: Heard<'_>,
        settled: Wall,
        rules: &config::Reputation,
        now: Wall,
    ) -> bool {
        let cell = self.cell_mut(heard.binding, Some(heard.provider));
        cell.ledger.settle(settled);
        let is_news = cell.ledger.complained(heard.tenant, heard.at, heard.incidents, rules, now);
        cell.changed = true;
        self.due.insert((heard.binding.clone(), Some(heard.provider.clone())));
        is_news
    }

    /// What is to be judged of a route: all of it, and each tenant's part as far as tenants are told apart.
    pub(in crate::reputation) fn to_judge(
        &self,
        binding: &BindingName,
        provider: &DestinationName,
        days: u32,
        now: Wall,
    ) -> (Counted, Vec<(TenantName, Counted)>) {
        let (first, last) = window(days, now);
        let Some(ledger) = self.cell(binding, Some(provider)).map(|cell| &cell.ledger) else {
            return Default::default();
        };
        let mut tenants: Vec<_> = ledger.tenants(first, last).map(|(name, own)| (name.clone(), own)).collect();
        tenants.sort_by(|(a, _), (b, _)| a.cmp(b));
        (ledger.total(first, last), tenants)
    }

    /// The same of a provider, over all bindings.
    pub(in crate::reputation) fn everywhere(
        &self,
        provider: &DestinationName,
        days: u32,
        now: Wall,
    ) -> (Counted, BTreeMap<TenantName, Counted>) {
        let (first, last) = window(days, now);
        let (mut all, mut tenants) = (Counted::default(), BTreeMap::<TenantName, Counted>::new());
        for ledger in self.ledgers(provider) {
            all.add(ledger.total(first, last));
            for (name, own) in ledger.tenants(first, last) {
                match tenants.get_mut(name) {
                    Some(sum) => sum.add(own),
                    None => _ = tenants.insert(name.clone(), own),
                }
            }
        }
        (all, tenants)
    }

    /// What was sent over this route until now has been answered for.
    pub(in crate::reputation) fn settle(&mut self, binding: &BindingName, provider: &DestinationName, now: Wall) {
        self.cell_mut(binding, Some(provider)).ledger.settle(now);
        self.due.insert((binding.clone(), Some(provider.clone())));
    }

    /// What one tenant has sent to a provider over all bindings.
    pub(in crate::reputation) fn of(
        &self,
        tenant: &TenantName,
        provider: &DestinationName,
        days: u32,
        now: Wall,
    ) -> Counted {
        let (first, last) = window(days, now);
        self.ledgers(provider).fold(Counted::default(), |mut sum, ledger| {
            sum.add(ledger.of(tenant, first, last));
            sum
        })
    }

    /// Times that the tenant's mail to the provider was held for complaints, none of them longer than `forgive_after` ago.
    pub(in crate::reputation) fn strikes(
        &self,
        tenant: &TenantName,
        provider: &DestinationName,
        forgive_after: Duration,
        now: Wall,
    ) -> u32 {
        self.ledgers(provider).map(|ledger| ledger.strikes(tenant, forgive_after, now)).max().unwrap_or(0)
    }

    /// What this tenant has sent to the provider until now has been answered for, by a hold that is the `times`-th for
    /// complaints (0: for something else); its part leaves every route.
    pub(in crate::reputation) fn settle_tenant(
        &mut self,
        tenant: &TenantName,
        provider: &DestinationName,
        times: u32,
        now: Wall,
    ) {
        for (binding, cell) in self.cells.get_mut(&Some(provider.clone())).into_iter().flatten() {
            if cell.ledger.settle_tenant(tenant, times, now) {
                self.due.insert((binding.clone(), Some(provider.clone())));
            }
        }
    }

    /// The expected share of complaints, by everything known: that of `complaint_prior` where nothing is.
    pub fn rate(
        &self,
        binding: &BindingName,
        provider: Option<&DestinationName>,
        now: Wall,
        rules: &config::Reputation,
    ) -> f64 {
        let counted = match provider {
            Some(to) => {
                let (first, last) = window(rules.complaint_days, now);
                self.cell(binding, Some(to)).map(|cell| cell.ledger.total(first, last)).unwrap_or_default()
            }
            None => {
                let Cohort { accepted, complaints, .. } = self.share(binding, None, rules.complaint_days, now);
                Counted { accepted, complaints }
            }
        };
        posterior::mean(counted, rules)
    }
}
