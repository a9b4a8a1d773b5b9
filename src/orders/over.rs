//! Orders laid over the configuration of the file.
//!
//! They are laid in an order of their own (caps, places, who takes mail, tenants), not in the one they were given in, so
//! that two of them about different things mean the same whichever came first. What comes out keeps the rules by which a
//! file is checked: no tier without a weight, no cap of a provider above that of its binding, names that exist. A tier
//! that nobody carries mail in any more is closed up: the next takes its place, and those with weight 0 stand in it. Only
//! an order that is insisted on ([`Orders::insist`]) may leave a pool without a weight.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Act, Order, Orders};
use crate::clock::Wall;
use crate::config::{Binding, Config, Member, Pool, Tenant, suggest};
use crate::message::{BindingName, PoolName, TenantName};

/// Highest number of a tier: each order can make one more than there are.
const TIERS_MAX: usize = 2 * super::MOST;

/// The heaviest weight, as in a file.
const HEAVIEST: u32 = 65_535;

/// An order that does not fit the configuration: it names what is not there, or would leave a pool without a binding.
#[derive(Clone, Debug, PartialEq)]
pub struct Unfit {
    /// Which.
    pub order: Order,
    /// Why, in words, with the remedy.
    pub why: String,
    /// Everything it names is there, but it would do harm: a pool would be left without a binding.
    pub is_harmful: bool,
}

/// A configuration with orders in force.
pub struct Laid {
    /// What is in force.
    pub config: Config,
    /// Orders that were left out.
    pub unfit: Vec<Unfit>,
    /// Of each pool that has other tiers than in the file: the number of each tier before those that nobody carries mail
    /// in were closed up, and how many there were.
    tiers: BTreeMap<PoolName, (Vec<usize>, usize)>,
}

/// Something is not there, or harm would be done.
enum No {
    Unknown(String),
    Harm(String),
}

type Fits = Result<(), No>;

impl Orders {
    /// The configuration with these orders in force at `now`, and those that do not fit it (they are left out).
    pub fn over(&self, file: &Config, now: Wall) -> (Config, Vec<Unfit>) {
        let Laid { config, unfit, .. } = self.lay(file, now);
        (config, unfit)
    }

    /// As [`Orders::over`], with what is needed to speak of tiers as an operator sees them.
    pub fn lay(&self, file: &Config, now: Wall) -> Laid {
        let mut orders: Vec<&Order> = self.all.iter().filter(|order| order.holds(now)).collect();
        orders.sort_by_key(|order| turn(order));
        let mut laid = Laid { config: file.clone(), unfit: Vec::new(), tiers: BTreeMap::new() };
        let (mut touched, mut kept) = (vec![false; file.pools.len()], BTreeSet::new());
        for order in orders {
            let mut done = lay(&order.act, false, &mut laid.config, &mut touched);
            if matches!(done, Err(No::Harm(_))) && self.insisted.contains(&order.id) {
                // A pool that has no other keeps it, without a weight.
                kept.insert(order.id);
                done = lay(&order.act, true, &mut laid.config, &mut touched);
            }
            if let Err(no) = done {
                let (why, is_harmful) = match no {
                    No::Unknown(why) => (why, false),
                    No::Harm(why) => (why, true),
                };
                laid.unfit.push(Unfit { order: order.clone(), why, is_harmful });
            }
        }
        // Only now: removed bindings keep their caps and places until then, for orders about those to be about something.
        for order in self.all.iter().filter(|order| order.holds(now)) {
            let is_in_force = laid.unfit.iter().all(|unfit| unfit.order.id != order.id);
            let is_in_force = is_in_force && !kept.contains(&order.id);
            if let (Act::Remove { binding, draining: false }, true) = (&order.act, is_in_force) {
                laid.config.bindings.retain(|known| known.name != *binding);
                for tier in laid.config.pools.iter_mut().flat_map(|pool| &mut pool.tiers) {
                    tier.retain(|member| member.binding != *binding);
                }
            }
        }
        for (pool, touched) in laid.config.pools.iter_mut().zip(touched) {
            if touched {
                let tiers = close_up(pool);
                laid.tiers.insert(pool.name.clone(), tiers);
            }
        }
        laid
    }

    /// The number that an order has to name for a binding to stand in the tier that is the `seen`-th of the pool as it is
    /// in force; one more than there are is a new one.
    ///
    /// # Errors
    /// In words: no such pool, or no such tier.
    pub fn tier_as_seen(&self, file: &Config, pool: &PoolName, seen: usize, now: Wall) -> Result<usize, String> {
        let laid = self.lay(file, now);
        let in_force = laid.config.pools.iter().find(|known| known.name == *pool);
        let tiers = in_force.ok_or_else(|| no_pool(file, pool))?.tiers.len();
        let as_they_are = || ((0..tiers).collect(), tiers);
        let (numbers, there_are) = laid.tiers.get(pool).cloned().unwrap_or_else(as_they_are);
        match numbers.get(seen) {
            Some(number) => Ok(*number),
            None if seen == numbers.len() => Ok(there_are),
            None => Err(format!("pool {pool} has {tiers} tiers, from 0 to {}: {tiers} makes a new one", tiers - 1)),
        }
    }
}

/// In which order they are laid. Of those that take bindings out the oldest comes first, so that the youngest is the one
/// that does not fit.
fn turn(order: &Order) -> (u8, usize, Option<(PoolName, BindingName)>, u64) {
    let id = order.id.0;
    match &order.act {
        Act::SetCap { .. } => (0, 0, None, id),
        Act::MoveTier { pool, binding, tier, .. } => (1, *tier, Some((pool.clone(), binding.clone())), id),
        Act::Drain { .. } | Act::Remove { .. } => (2, 0, None, id),
        Act::HoldTenant { .. } => (3, 0, None, id),
        Act::AssignTenant { .. } => (4, 0, None, id),
    }
}

fn lay(act: &Act, insists: bool, config: &mut Config, touched: &mut [bool]) -> Fits {
    match act {
        Act::SetCap { binding, cap } => set_cap(config, binding, *cap),
        Act::MoveTier { pool, binding, tier, weight } => place(config, touched, (pool, binding), *tier, *weight),
        Act::Drain { binding } | Act::Remove { binding, .. } => take_out(config, touched, binding, insists),
        Act::HoldTenant { tenant } => {
            tenant_of(config, tenant)?.hold = true;
            Ok(())
        }
        Act::AssignTenant { tenant, stream, pool } => {
            pool_of(config, pool)?;
            let tenant = tenant_of(config, tenant)?;
            tenant.pools.insert(stream.clone(), pool.clone());
            tenant.split.remove(stream);
            Ok(())
        }
    }
}

fn set_cap(config: &mut Config, name: &BindingName, cap: Option<u64>) -> Fits {
    if cap == Some(0) {
        return Err(No::Harm(format!("a cap of 0 lets nothing through: suspend or drain {name} instead")));
    }
    let known = config.bindings.iter().position(|known| known.name == *name);
    let at = known.ok_or_else(|| No::Unknown(no_binding(config, name)))?;
    let binding: &mut Binding = Arc::make_mut(&mut config.bindings[at]);
    binding.limits.daily_cap = cap;
    if let Some(cap) = cap {
        // As a file must have it: what lies above the whole could never be used.
        for limits in binding.provider.values_mut() {
            limits.daily_cap = limits.daily_cap.map(|own| own.min(cap));
        }
    }
    Ok(())
}

fn place(
    config: &mut Config,
    touched: &mut [bool],
    (pool, name): (&PoolName, &BindingName),
    tier: usize,
    weight: Option<u32>,
) -> Fits {
    known_binding(config, name)?;
    let at = pool_of(config, pool)?;
    let pool = &mut config.pools[at];
    let known = pool.tiers.iter().flatten().find(|member| member.binding == *name).map(|member| member.weight);
    let weight = weight.or(known).unwrap_or(1).min(HEAVIEST);
    if weight == 0 && !others_carry(pool, name) {
        return Err(No::Harm(nothing_left(pool, name)));
    }
    for tier in &mut pool.tiers {
        tier.retain(|member| member.binding != *name);
    }
    // Numbers stand for themselves, with nothing between them if need be: whichever order comes first, two that name the
    // same tier meet there.
    let tier = tier.min(TIERS_MAX);
    if pool.tiers.len() <= tier {
        pool.tiers.resize_with(tier + 1, Vec::new);
    }
    pool.tiers[tier].push(Member { binding: name.clone(), weight });
    touched[at] = true;
    Ok(())
}

fn take_out(config: &mut Config, touched: &mut [bool], name: &BindingName, insists: bool) -> Fits {
    known_binding(config, name)?;
    let carries = |pool: &&Pool| pool.tiers.iter().flatten().any(|m| m.binding == *name && m.weight > 0);
    let emptied = config.pools.iter().filter(carries).find(|pool| !others_carry(pool, name));
    if let (Some(pool), false) = (emptied, insists) {
        return Err(No::Harm(nothing_left(pool, name)));
    }
    for (pool, touched) in config.pools.iter_mut().zip(touched) {
        for member in pool.tiers.iter_mut().flatten().filter(|member| member.binding == *name) {
            (member.weight, *touched) = (0, true);
        }
    }
    Ok(())
}

/// Whether a pool has a binding besides this one that carries mail.
fn others_carry(pool: &Pool, name: &BindingName) -> bool {
    pool.tiers.iter().flatten().any(|member| member.weight > 0 && member.binding != *name)
}

fn nothing_left(pool: &Pool, name: &BindingName) -> String {
    format!(
        "{name} is the last binding that pool {pool} has: its mail could not leave. Give the pool another first (remuda \
         pool move-tier {pool} BINDING 0); where the pool is to go too, take both out of the file and reload",
        pool = pool.name
    )
}

/// Closes up tiers that nobody carries mail in. Returns the number that each tier had before, and how many there were.
fn close_up(pool: &mut Pool) -> (Vec<usize>, usize) {
    let there_are = pool.tiers.len();
    let (mut tiers, mut numbers): (Vec<Vec<Member>>, Vec<usize>) = (Vec::new(), Vec::new());
    let mut drained = Vec::new();
    for (number, mut tier) in std::mem::take(&mut pool.tiers).into_iter().enumerate() {
        tier.append(&mut drained);
        if tier.iter().any(|member| member.weight > 0) {
            tiers.push(tier);
            numbers.push(number);
        } else {
            drained = tier;
        }
    }
    match tiers.last_mut() {
        Some(last) => last.append(&mut drained),
        // Left without a weight by an order that holds all the same.
        None => tiers.push(drained),
    }
    pool.tiers = tiers;
    let carry = pool.tiers.iter().flatten().filter(|member| member.weight > 0).count();
    // With fewer actives than `min_active` the backups stand open, which is what the key is for; more than there are in
    // all could never be.
    pool.min_active = pool.min_active.min(carry.max(1));
    (numbers, there_are)
}

fn known_binding(config: &Config, name: &BindingName) -> Fits {
    let is_known = config.bindings.iter().any(|known| known.name == *name);
    if is_known { Ok(()) } else { Err(No::Unknown(no_binding(config, name))) }
}

fn pool_of(config: &Config, name: &PoolName) -> Result<usize, No> {
    let known = config.pools.iter().position(|known| known.name == *name);
    known.ok_or_else(|| No::Unknown(no_pool(config, name)))
}

fn tenant_of<'c>(config: &'c mut Config, name: &TenantName) -> Result<&'c mut Tenant, No> {
    match config.tenants.iter().position(|known| known.name == *name) {
        Some(at) => Ok(&mut config.tenants[at]),
        None => Err(No::Unknown(no_tenant(config, name))),
    }
}

fn missing<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let hint = suggest(name, known);
    let hint = if hint.is_empty() { hint } else { format!("; {hint}") };
    format!("no {what} {name:?} is configured{hint}")
}

/// That there is no such binding, and which may have been meant.
pub fn no_binding(config: &Config, name: &BindingName) -> String {
    missing("binding", name.as_str(), config.bindings.iter().map(|known| known.name.as_str()))
}

/// That there is no such pool, and which may have been meant.
pub fn no_pool(config: &Config, name: &PoolName) -> String {
    missing("pool", name.as_str(), config.pools.iter().map(|known| known.name.as_str()))
}

/// That there is no such tenant, and which may have been meant.
pub fn no_tenant(config: &Config, name: &TenantName) -> String {
    missing("tenant", name.as_str(), config.tenants.iter().map(|known| known.name.as_str()))
}

/// Why the file has no need of an order, if it has none: it says the same, or does not have what the order is about.
pub(super) fn needless(act: &Act, file: &Config) -> Option<String> {
    const SAME: &str = "the file has it now";
    let gone = match act.binding().map(|name| (name, file.bindings.iter().find(|known| known.name == *name))) {
        Some((name, None)) if matches!(act, Act::Remove { .. }) => {
            return Some(format!("{SAME}: it does not name binding {name}"));
        }
        Some((name, None)) => Some(no_binding(file, name)),
        _ => None,
    };
    let pool = act.pool().map(|name| (name, file.pools.iter().find(|known| known.name == *name)));
    let tenant = act.tenant().map(|name| (name, file.tenants.iter().find(|known| known.name == *name)));
    let gone = gone.or_else(|| pool.and_then(|(name, known)| known.is_none().then(|| no_pool(file, name))));
    let gone = gone.or_else(|| tenant.and_then(|(name, known)| known.is_none().then(|| no_tenant(file, name))));
    if let Some(gone) = gone {
        return Some(format!("the file no longer has it: {gone}"));
    }
    says(act, file).then(|| SAME.to_owned())
}

/// Whether the file says what an order says.
pub fn says(act: &Act, file: &Config) -> bool {
    let pool = act.pool().map(|name| (name, file.pools.iter().find(|known| known.name == *name)));
    let tenant = act.tenant().map(|name| (name, file.tenants.iter().find(|known| known.name == *name)));
    let seats = |name: &BindingName| {
        let members = file.pools.iter().flat_map(|pool| pool.tiers.iter().flatten());
        members.filter(|member| member.binding == *name).map(|member| member.weight).collect::<Vec<_>>()
    };
    match act {
        Act::Drain { binding } => {
            let weights = seats(binding);
            !weights.is_empty() && weights.iter().all(|weight| *weight == 0)
        }
        Act::Remove { .. } => false,
        Act::SetCap { binding, cap } => {
            file.bindings.iter().any(|known| known.name == *binding && known.limits.daily_cap == *cap)
        }
        Act::MoveTier { binding, tier, weight, .. } => {
            pool.and_then(|(_, known)| known?.tiers.get(*tier)).is_some_and(|tier| {
                tier.iter().any(|m| m.binding == *binding && weight.is_none_or(|weight| weight == m.weight))
            })
        }
        Act::HoldTenant { .. } => tenant.and_then(|(_, known)| known).is_some_and(|tenant| tenant.hold),
        Act::AssignTenant { stream, pool, .. } => tenant.and_then(|(_, known)| known).is_some_and(|tenant| {
            tenant.pools.get(stream) == Some(pool) && tenant.split.get(stream).is_none_or(Vec::is_empty)
        }),
    }
}
