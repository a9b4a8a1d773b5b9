//! Pools: their members, and `{ pool = "…" }` in a backup tier unfolded.
//!
//! A tier that names a pool stands for that pool's own tiers: its active members join the tier, its backups follow as
//! tiers of their own. A binding that comes in twice that way keeps its first, better place; a ring of pools has no
//! such order and is a mistake.

use std::collections::{HashMap, HashSet};

use super::Context;
use super::context::section;
use crate::config::defaults::{FAILOVER_ON, MIN_ACTIVE, WEIGHT};
use crate::config::mistake::Place;
use crate::config::read::{At, List, Named};
use crate::config::{Member, Pace, Pool, Spread, raw};
use crate::message::{BindingName, PoolName};

/// The heaviest weight; keeps sums of weights over thousands of bindings far from overflow.
const HEAVIEST: u32 = 65_535;
/// Pools that stand behind one another. More is no plan, and a bound keeps the recursion shallow.
const DEEPEST: usize = 32;

type Tiers = Vec<Vec<Member>>;

impl Context<'_> {
    pub(super) fn pools(&mut self, file: &raw::File) -> Vec<Pool> {
        let named = self.named(&file.pool);
        let mut unfolding = Unfolding {
            pools: file.pool.entries(),
            index: file.pool.entries().iter().enumerate().map(|(i, entry)| (entry.name.as_str(), i)).collect(),
            done: HashMap::new(),
            way: Vec::new(),
        };
        for (entry, raw) in &named {
            self.check_members(entry, raw);
        }
        let mut pools = Vec::new();
        for (entry, raw) in named {
            let Some(&number) = unfolding.index.get(entry.name.as_str()) else { continue };
            let tiers = unfolding.tiers(number, self);
            pools.push(self.pool(entry, raw, tiers));
        }
        pools
    }

    fn pool(&mut self, entry: &Named<raw::Pool>, raw: &raw::Pool, tiers: Tiers) -> Pool {
        let min_active = raw.min_active.or(MIN_ACTIVE);
        if let (Some(at), Some(active)) = (raw.min_active.given(), tiers.first()) {
            let sending = active.iter().filter(|member| member.weight > 0).count();
            if at.value == 0 {
                self.out.mistake(&at.place, "must be at least 1", "to keep backups closed leave backup out");
            } else if at.value > sending && tiers.len() > 1 {
                let what = format!("{} of {sending} active bindings: backups would always be open", at.value);
                self.out.mistake(&at.place, what, format!("at most {sending}"));
            }
        }
        let mut failover_on = if raw.failover_on.is_missing() { FAILOVER_ON.to_vec() } else { Vec::new() };
        for at in raw.failover_on.items() {
            if failover_on.contains(&at.value) {
                self.out.mistake(&at.place, "given twice", "keep one of the two");
            } else {
                failover_on.push(at.value);
            }
        }
        Pool {
            name: PoolName::new(&entry.name),
            tiers,
            spread: raw.spread.or(Spread::Weighted),
            pace: raw.pace.or(Pace::None),
            min_active,
            failover_on,
            binding_limits: self.limits(&section(&raw.binding)),
        }
    }

    /// Everything that can be said of a pool by itself.
    fn check_members(&mut self, entry: &Named<raw::Pool>, raw: &raw::Pool) {
        let hint = "write active = [\"BINDING\", …]";
        raw.active.required(&entry.place, "active", hint, &mut self.out);
        let mut seen: HashMap<&str, &Place> = HashMap::new();
        if let Some(active) = raw.active.given() {
            self.check_tier(active, true, &mut seen);
        }
        for tier in raw.backup.items() {
            self.check_tier(tier, false, &mut seen);
        }
    }

    fn check_tier<'f>(
        &mut self,
        tier: &'f At<List<raw::Member>>,
        active: bool,
        seen: &mut HashMap<&'f str, &'f Place>,
    ) {
        let mut heaviest = 0;
        for At { value: member, place } in &tier.value.items {
            match member {
                raw::Member::Pool { name, name_place } => {
                    // Its weights are its own business.
                    heaviest = 1;
                    if active {
                        let hint = "name its bindings, or put the pool into backup";
                        self.out.mistake(place, "a pool can stand only in a backup tier", hint);
                    }
                    self.pools.refer(name, name_place, &mut self.out);
                }
                raw::Member::Binding { name, name_place, weight } => {
                    self.bindings.refer(name, name_place, &mut self.out);
                    if let Some(first) = seen.get(name.as_str()) {
                        let what = format!("binding {name:?} stands in this pool already, as {}", first.path);
                        self.out.mistake(name_place, what, "keep one of the two; for a larger share use weight");
                    }
                    seen.entry(name).or_insert(place);
                    if let Some(at) = weight.given().filter(|at| at.value > HEAVIEST) {
                        let what = format!("{} is out of range", at.value);
                        self.out.mistake(&at.place, what, format!("from 0 to {HEAVIEST}"));
                    }
                    heaviest = heaviest.max(weight.or(WEIGHT));
                }
            }
        }
        if tier.value.is_written_empty() {
            self.out.mistake(&tier.place, "a tier needs at least one binding", "");
        } else if heaviest == 0 && !tier.value.items.is_empty() {
            let hint = "give at least one of them a weight of 1";
            self.out.mistake(&tier.place, "every weight is 0: nothing would ever leave", hint);
        }
    }
}

struct Unfolding<'f> {
    pools: &'f [Named<raw::Pool>],
    index: HashMap<&'f str, usize>,
    done: HashMap<usize, Tiers>,
    /// Pools that are being unfolded, the outermost first.
    way: Vec<usize>,
}

impl Unfolding<'_> {
    fn tiers(&mut self, number: usize, context: &mut Context<'_>) -> Tiers {
        if let Some(done) = self.done.get(&number) {
            return done.clone();
        }
        let Some(raw) = self.pools[number].value.as_ref() else { return Tiers::new() };
        self.way.push(number);
        let mut tiers = vec![self.tier(raw.active.items(), context).swap_remove(0)];
        for backup in raw.backup.items() {
            tiers.extend(self.tier(&backup.value.items, context));
        }
        self.way.pop();
        let mut seen = HashSet::new();
        for tier in &mut tiers {
            tier.retain(|member| seen.insert(member.binding.clone()));
        }
        let mut number_of_tier = 0;
        tiers.retain(|tier| {
            number_of_tier += 1;
            // Tier 0 is `active`, whatever is in it.
            number_of_tier == 1 || !tier.is_empty()
        });
        self.done.insert(number, tiers.clone());
        tiers
    }

    /// One tier as written: itself, and what the pools in it bring along behind it. Never empty.
    fn tier(&mut self, items: &[At<raw::Member>], context: &mut Context<'_>) -> Tiers {
        let mut tiers = vec![Vec::new()];
        for At { value: member, place } in items {
            match member {
                raw::Member::Binding { name, weight, .. } => {
                    tiers[0].push(Member { binding: BindingName::new(name), weight: weight.or(WEIGHT) });
                }
                raw::Member::Pool { name, .. } => {
                    let Some(&number) = self.index.get(name.as_str()) else { continue };
                    for (level, tier) in self.referred(number, place, context).into_iter().enumerate() {
                        if tiers.len() <= level {
                            tiers.push(Vec::new());
                        }
                        tiers[level].extend(tier);
                    }
                }
            }
        }
        tiers
    }

    fn referred(&mut self, number: usize, place: &Place, context: &mut Context<'_>) -> Tiers {
        if let Some(start) = self.way.iter().position(|on_the_way| *on_the_way == number) {
            let ring = self.way[start..].iter().chain([&number]).map(|&n| self.pools[n].name.as_str());
            let ring = ring.collect::<Vec<_>>().join(" → ");
            let hint = "mail would run in circles: take one of them out";
            context.out.mistake(place, format!("pools back one another up in a ring: {ring}"), hint);
            return Tiers::new();
        }
        if self.way.len() >= DEEPEST {
            context.out.mistake(place, format!("more than {DEEPEST} pools behind one another"), "");
            return Tiers::new();
        }
        self.tiers(number, context)
    }
}
