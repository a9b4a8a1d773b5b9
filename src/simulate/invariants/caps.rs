//! Caps, by the onlooker's own count.
//!
//! What a receiver accepted counts on the day the attempt began and on the day it ended: nobody can know on which side of
//! midnight it was accepted, so neither day may exceed its cap by it. Caps are read from the configuration here, by the
//! documented order of levels, not asked from the scheduler. The allowance of a warm-up is asked ([`Caps::sample`]): it
//! depends on what was delivered, and the day may be used up to the highest it had.

use crate::clock::Now;
use crate::clock::Wall;
use crate::config::{Config, Limits, Pool};
use crate::message::BindingName;
use crate::scheduler::cap::{Calendar, Day, Owner};
use crate::scheduler::{CapUsage, Scheduler};

use super::super::disk::{Seen, named};
use super::super::internet::Site;
use super::Found;

/// A count with its cap.
#[derive(Clone, Debug, Default)]
struct Account {
    cap: Option<u64>,
    /// Highest allowance of the warm-up the day had; `None` where there is none.
    allowance: Option<u64>,
    /// Accepted in attempts that ended today.
    ended: u64,
    /// Accepted in attempts that began today.
    began: u64,
    /// The same of yesterday: what began then may end today.
    began_before: u64,
    allowance_before: Option<u64>,
}

impl Account {
    fn new(cap: Option<u64>) -> Self {
        Self { cap, ..Self::default() }
    }

    /// Counts; returns what was exceeded.
    fn count(&mut self, accepted: u64, began_today: bool) -> Option<(u64, u64)> {
        self.ended += accepted;
        let began = if began_today { &mut self.began } else { &mut self.began_before };
        *began += accepted;
        let began = *began;
        let allowance = if began_today { self.allowance } else { self.allowance_before };
        let over = |count: u64, cap: Option<u64>| cap.filter(|cap| count > *cap).map(|cap| (count, cap));
        over(self.ended.max(began), self.cap).or(over(began, allowance))
    }

    fn day(&mut self) {
        self.began_before = self.began;
        self.allowance_before = self.allowance;
        (self.ended, self.began, self.allowance) = (0, 0, None);
    }
}

/// All counts of today.
pub struct Caps {
    calendar: Calendar,
    day: Day,
    bindings: Vec<Account>,
    /// Binding × site.
    routes: Vec<Account>,
    tenants: Vec<Account>,
    /// Tenant × site.
    towards: Vec<Account>,
    sites: usize,
    /// Provider by site.
    providers: Vec<Option<String>>,
    names: Vec<BindingName>,
    warming: Vec<bool>,
}

impl Caps {
    /// The caps of a configuration.
    pub fn new(config: &Config, sites: &[Site], now: Wall) -> Self {
        let calendar = Calendar::new(&config.server.day);
        let whole = |b: &crate::config::Binding| b.limits.daily_cap.or(of_pools(&config.pools, &b.name));
        let towards = |b: &crate::config::Binding, site: &Site| {
            let provider = site.provider()?;
            let own = b.provider.get(provider).and_then(|limits| limits.daily_cap);
            let theirs = config.providers.iter().find(|p| p.name == *provider);
            own.or(theirs.and_then(|p| p.binding_limits.daily_cap))
        };
        let routes = config.bindings.iter().flat_map(|b| sites.iter().map(move |site| towards(b, site)));
        let of_tenants = config.tenants.iter().flat_map(|t| {
            sites.iter().map(move |site| site.provider().and_then(|provider| t.provider_caps.get(provider)).copied())
        });
        Self {
            day: calendar.day(now),
            calendar,
            bindings: config.bindings.iter().map(|b| Account::new(whole(b))).collect(),
            routes: routes.map(Account::new).collect(),
            tenants: config.tenants.iter().map(|t| Account::new(t.daily_cap)).collect(),
            towards: of_tenants.map(Account::new).collect(),
            sites: sites.len(),
            providers: sites.iter().map(|site| site.provider().map(|p| p.as_str().to_owned())).collect(),
            names: config.bindings.iter().map(|b| b.name.clone()).collect(),
            warming: config.bindings.iter().map(|b| b.warmup.is_some() || !b.provider_warmup.is_empty()).collect(),
        }
    }

    /// The day that is counted.
    pub fn day(&self) -> Day {
        self.day
    }

    fn roll(&mut self, now: Wall) {
        while now >= self.day.end {
            self.day = self.calendar.day(self.day.end);
            let all = [&mut self.bindings, &mut self.routes, &mut self.tenants, &mut self.towards];
            all.into_iter().flatten().for_each(Account::day);
        }
    }

    /// Learns the allowances of warm-ups from the scheduler. Call it when a day begins and whenever they may have moved.
    pub fn sample(&mut self, scheduler: &Scheduler, now: Now) -> Vec<CapUsage> {
        self.roll(now.wall);
        let usage = scheduler.usage(now);
        for CapUsage { owner, limit, resets_at, .. } in &usage {
            // The ledger may not have noticed the new day yet.
            let Some(limit) = limit.filter(|_| *resets_at == self.day.end) else { continue };
            match owner {
                Owner::Binding(name) => {
                    let Some(n) = self.names.iter().position(|known| known == name) else { continue };
                    self.bindings[n].allow(limit, self.warming[n]);
                }
                Owner::Route(name, provider) => {
                    let Some(n) = self.names.iter().position(|known| known == name) else { continue };
                    for site in 0..self.sites {
                        if self.providers[site].as_deref() == Some(provider.as_str()) {
                            self.routes[n * self.sites + site].allow(limit, self.warming[n]);
                        }
                    }
                }
                Owner::Tenant(_) | Owner::TenantRoute(..) => {}
            }
        }
        usage
    }

    /// Counts what a receiver accepted.
    #[expect(clippy::too_many_arguments, reason = "one moment of one attempt, seen from everywhere")]
    pub fn accepted(
        &mut self,
        binding: u32,
        seen: &Seen,
        accepted: u64,
        began: Wall,
        found: &mut Found,
        names: &[BindingName],
        now: Wall,
    ) {
        self.roll(now);
        if accepted == 0 {
            return;
        }
        let today = began >= self.day.start;
        let (binding_at, site, tenant) = (binding as usize, seen.site.index(), seen.tenant as usize);
        let counts = [
            ("binding", self.bindings[binding_at].count(accepted, today)),
            ("route", self.routes[binding_at * self.sites + site].count(accepted, today)),
            ("tenant", self.tenants[tenant].count(accepted, today)),
            ("tenant × provider", self.towards[tenant * self.sites + site].count(accepted, today)),
        ];
        for (what, over) in counts {
            let Some((count, cap)) = over else { continue };
            let (day, name) = (self.day.date, named(names, binding));
            found.add("cap", now, || {
                format!("{what}: {count} accepted on {day} with a cap of {cap} ({name}, tenant {tenant}, site {site})")
            });
        }
    }
}

impl Account {
    fn allow(&mut self, limit: u64, warms: bool) {
        if warms {
            self.allowance = Some(self.allowance.map_or(limit, |known| known.max(limit)));
        }
    }
}

/// The strictest cap of the pools a binding is in.
fn of_pools(pools: &[Pool], binding: &BindingName) -> Option<u64> {
    let has = |pool: &&Pool| pool.tiers.iter().flatten().any(|member| member.binding == *binding);
    let cap = |pool: &Pool| {
        let Limits { daily_cap, .. } = pool.binding_limits;
        daily_cap
    };
    pools.iter().filter(has).filter_map(cap).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_over_midnight_counts_on_both_sides() {
        let mut account = Account::new(Some(10));
        assert_eq!(account.count(10, true), None);
        account.day();
        assert_eq!(account.count(1, false), Some((11, 10)), "yesterday had its ten");
        let mut account = Account::new(Some(10));
        assert_eq!(account.count(5, true), None);
        account.day();
        assert_eq!(account.count(5, false), None);
        assert_eq!(account.count(5, true), None);
        assert_eq!(account.count(1, true), Some((11, 10)), "five of yesterday ended today");
    }

    #[test]
    fn the_highest_allowance_of_the_day_holds() {
        let mut account = Account::new(None);
        account.allow(5, true);
        account.allow(3, true);
        assert_eq!(account.count(5, true), None);
        assert_eq!(account.count(1, true), Some((6, 5)));
        account.day();
        assert_eq!(account.count(100, true), None, "nothing was said of today");
    }
}
