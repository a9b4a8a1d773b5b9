//! The fuse of hard bounces: whether counts say "stop", and who explains them.
//!
//! **When.** Two gates ([`gates`]), asked at each bounce. Page's cumulative sum of log-likelihood steps from
//! `normal_bounce_ratio` (p0) to `bad_bounce_ratio` (p1), never below 0, must reach `fuse_height`: it is the test that finds
//! a change soonest for a given rate of false alarms, however often one looks, and it needs no window. And the share over
//! its excursion, the stretch since it was last at 0, must lie above `hard_bounce_ratio` for certain, from `min_attempts`
//! attempts and `min_events` bounces on: that is the number an operator can check. Lumps count for less
//! ([`gates`], dispersion). Measured figures stand in the tests, and in the docs of the keys.
//!
//! **Who.** The sum over an excursion is a sum over its answers: a group contributes
//! `events·ln(p1/p0) + others·ln((1−p1)/(1−p0))`, and leaving it out is a subtraction. So every question is the same one,
//! "is the rest well without it?", and well means [`gates::is_well`]: enough attempts, and so many nats for the normal share
//! ([`gates::ACQUITTAL`], Wald's test the other way). That the rest would not have raised the alarm by itself is not enough:
//! half of the mail of an address that is bad never would, at that moment. In this order:
//!
//! | left out | asked besides | what follows |
//! |---|---|---|
//! | nobody (of a route) | most tenants and most bindings fare badly at the destination ([`destination`]) | it is noted, and the mail waits |
//! | a recipient's domain (of a route) | it is bad for several tenants, or its only one is well elsewhere on this route | a note; nobody is stopped |
//! | a destination (of a binding) | the rest needs only be not bad for certain | its route is judged in the binding's place |
//! | tenants, the worst first, each of them bad by itself | whether one campaign or sender domain explains the tenant: what is left of it is not bad, and well with the others | that mail is held there |
//! | (of a route) | the other bindings show the same there, also without the tenant that is worst for them | the destination is noted; nobody is stopped |
//! | tenants whose mail over other bindings is bad ([`super::lists`]), or held for their lists anywhere | the rest is not bad for certain, or nothing | they are held there |
//! | nobody | the rest without the worst (tenant, domain or destination) may yet turn out well | some more mail is waited for, until the sum is three times its height |
//! | nobody | the bounces are lumps of some groups | the same, until they are not |
//! | nobody | | the route or binding is out |
//!
//! A tenant that is alone on an address and unknown elsewhere cannot be told from it: the address is protected. What was
//! explained is taken out of the counts, here and in those of the binding, which are judged by what is left.
//!
//! A list that is a small part of every address's mail trips none of them: [`list`] is each tenant's own fuse.
//!
//! [`groups`] bounds what is counted, [`act`] carries out, [`kept`] is what survives a restart.

mod act;
mod destination;
mod gates;
mod groups;
mod kept;
mod list;
#[cfg(test)]
mod measured;
#[cfg(test)]
mod observed;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub(super) use self::gates::is_bad;
pub(super) use self::groups::{Group, Groups, Places};
pub(super) use self::kept::Kept;
pub(super) use self::list::ListCase;

use self::gates::{ACQUITTAL, is_above, is_alarm, is_of_all, is_well};
use super::tally::{Count, Key, Steps, Tally};
use crate::clock::Wall;
use crate::config;
use crate::message::TenantName;

/// As often as the height may be reached again while it is waited for more of the others' mail.
const WAIT_HEIGHTS: f64 = 3.0;

/// Part of the mail that the others must have for that: from less, nothing will be known soon.
const WAIT_SHARE: u64 = 8;

/// Nats below which a tenant is taken for well beside the domain that it may be blamed for.
const WELL_BESIDE: f64 = -1.0;

/// An alarm, and what led to it.
#[derive(Debug)]
pub(super) struct Case {
    steps: Steps,
    sum: f64,
    total: Count,
    /// Where on the grid it begins.
    begin: i64,
    counts: BTreeMap<Key, Count>,
    /// Also what was counted before it began.
    all: BTreeMap<Key, Count>,
    /// Enough to take the address out.
    is_of_all: bool,
}

fn summed<T: Ord>(counts: impl Iterator<Item = (T, Count)>) -> BTreeMap<T, Count> {
    let mut sums: BTreeMap<T, Count> = BTreeMap::new();
    counts.for_each(|(name, count)| sums.entry(name).or_default().add(count));
    sums
}

/// Whose mail explains it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Culprit {
    pub(super) group: Group,
    pub(super) own: Count,
    /// Everybody else's, without the other culprits'.
    pub(super) rest: Count,
}

impl Culprit {
    fn evidence(&self) -> String {
        let Culprit { group, own, rest } = self;
        let whose = match (&group.stream, &group.domain) {
            (Some(stream), Some(domain)) => format!("{}/{stream}@{domain}", group.tenant),
            (None, Some(domain)) => format!("{}@{domain}", group.tenant),
            _ => group.tenant.to_string(),
        };
        format!("{whose}: {}; all others: {}", in_words(*own), in_words(*rest))
    }
}

fn in_words(count: Count) -> String {
    format!("{} of {}", count.events, count.attempts)
}

/// What explains an alarm.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Blamed {
    /// Mail.
    Mail(Vec<Culprit>),
    /// More mail will tell.
    Later,
    /// The address.
    Address,
}

impl Case {
    /// What a tally says, where it raises the alarm.
    fn alarm(tally: &mut Tally, rules: &config::Reputation, now: Wall) -> Option<Self> {
        let steps = Steps::new(rules);
        if tally.sum(steps, now) < rules.fuse_height {
            return None;
        }
        let total = tally.excursion(steps, now).total;
        let is_alarm = is_bad(total, rules)
            && tally.is_worth_a_look(total.attempts)
            && is_alarm(&tally.excursion(steps, now), rules);
        is_alarm.then(|| Self::of(tally, rules, now))
    }

    /// The same for one that is judged in another's place.
    fn of(tally: &mut Tally, rules: &config::Reputation, now: Wall) -> Self {
        let steps = Steps::new(rules);
        let excursion = tally.excursion(steps, now);
        let (sum, total, begin) = (excursion.sum, excursion.total, excursion.begin().unwrap_or(i64::MIN));
        let (counts, is_of_all) = (summed(excursion.counts()), is_of_all(&excursion, rules));
        Self { steps, sum, total, begin, counts, all: summed(tally.since(i64::MIN)), is_of_all }
    }

    /// Counts by what they are grouped by, the most suspicious first; equal ones in order, so that nothing depends on
    /// chance.
    fn suspects<T: Ord>(&self, of: impl Fn(Key) -> Option<T>) -> Vec<(T, Count)> {
        self.suspects_in(&self.counts, of)
    }

    fn suspects_in<T: Ord>(&self, counts: &BTreeMap<Key, Count>, of: impl Fn(Key) -> Option<T>) -> Vec<(T, Count)> {
        let named = counts.iter().filter_map(|(key, count)| Some((of(*key)?, *count)));
        let mut all: Vec<(T, Count)> = summed(named).into_iter().collect();
        all.sort_by(|(_, a), (_, b)| self.steps.of(*b).total_cmp(&self.steps.of(*a)));
        all
    }

    fn tenants(&self, groups: &Groups) -> Vec<(TenantName, Count)> {
        self.tenants_in(&self.counts, groups)
    }

    fn tenants_in(&self, counts: &BTreeMap<Key, Count>, groups: &Groups) -> Vec<(TenantName, Count)> {
        self.suspects_in(counts, |key| groups.get(key.group).map(|group| group.tenant.clone()))
    }

    /// The place without which all is well.
    fn place(&self, rules: &config::Reputation) -> Option<(u32, Count, Count)> {
        let (place, own) = self.suspects(|key| (key.place > 0).then_some(key.place)).into_iter().next()?;
        let rest = self.total.without(own);
        is_well(rest, self.steps, rules).then_some((place, own, rest))
    }

    /// The place that nothing bad for certain is left without: what is to be said, its own fuse says better.
    fn worst_place(&self) -> Option<u32> {
        let (place, own) = self.suspects(|key| (key.place > 0).then_some(key.place)).into_iter().next()?;
        (self.steps.of(self.total.without(own)) <= ACQUITTAL).then_some(place)
    }

    /// Whether a place is bad by itself, and not for the sake of the tenant that bounces most there.
    fn is_of_place(&self, place: u32, own: Count, groups: &Groups) -> bool {
        let there = |key: Key| groups.get(key.group).filter(|_| key.place == place).map(|group| group.tenant.clone());
        let Some((tenant, part)) = self.suspects(there).into_iter().next() else { return true };
        let by_others = self.steps.of(own.without(part)) > 0.0;
        let tenants = self.tenants(groups);
        let whole = tenants.iter().find(|(name, _)| *name == tenant).map_or(part, |(_, count)| *count);
        by_others || self.steps.of(whole.without(part)) <= WELL_BESIDE
    }

    /// The mail without which all is well: the worst tenants, each bad by itself, and of each no more than explains it.
    ///
    /// Where too little else was sent since the excursion began, the whole window is asked: a campaign that goes out alone
    /// for some minutes, on an address that has carried the others' mail well until then. A tenant whose own mail went well
    /// there before is no suspect: then it is the address that has changed.
    fn culprits(&self, groups: &Groups, rules: &config::Reputation) -> Blamed {
        let (chosen, mut may_clear) = self.left_out(&self.counts, groups, rules);
        let place = self.suspects(|key| (key.place > 0).then_some(key.place)).into_iter().next();
        may_clear |= place.is_some_and(|(_, own)| self.is_suspect(own, rules) && self.may_clear(self.total, own));
        let (chosen, counts) = match chosen.is_empty() {
            false => (chosen, &self.counts),
            true => (self.left_out(&self.all, groups, rules).0, &self.all),
        };
        let is_chosen = |name: &TenantName| chosen.iter().any(|(tenant, _)| tenant == name);
        let others = self.tenants_in(&self.counts, groups).into_iter().filter(|(name, _)| !is_chosen(name));
        let others: Count = others.map(|(_, count)| count).sum();
        if !chosen.is_empty() && self.steps.of(others) <= 0.0 {
            let total: Count = counts.values().copied().sum();
            let rest = chosen.iter().fold(total, |rest, (_, own)| rest.without(*own));
            let narrowed = |(tenant, own)| self.narrowed(counts, tenant, own, rest, groups, rules);
            return Blamed::Mail(chosen.into_iter().map(narrowed).collect());
        }
        match !self.is_of_all || may_clear && self.sum < WAIT_HEIGHTS * rules.fuse_height {
            true => Blamed::Later,
            false => Blamed::Address,
        }
    }

    /// The tenants without which these counts are well; none, and whether more mail may tell.
    fn left_out(
        &self,
        counts: &BTreeMap<Key, Count>,
        groups: &Groups,
        rules: &config::Reputation,
    ) -> (Vec<(TenantName, Count)>, bool) {
        let total: Count = counts.values().copied().sum();
        let (mut rest, mut chosen, mut may_clear) = (total, Vec::new(), false);
        for (tenant, own) in self.tenants_in(counts, groups) {
            if !self.is_suspect(own, rules) {
                break;
            }
            rest = rest.without(own);
            chosen.push((tenant, own));
            if is_well(rest, self.steps, rules) {
                return (chosen, true);
            }
            may_clear |= self.may_clear(total, total.without(rest));
        }
        (Vec::new(), may_clear)
    }

    /// Whether the rest without these may turn out well: it is not bad for certain, and more of it is on its way.
    fn may_clear(&self, total: Count, left_out: Count) -> bool {
        let rest = total.without(left_out);
        self.steps.of(rest) <= ACQUITTAL && rest.attempts * WAIT_SHARE >= total.attempts
    }

    fn is_suspect(&self, own: Count, rules: &config::Reputation) -> bool {
        own.events >= rules.min_events
            && self.steps.of(own) >= ACQUITTAL
            && is_above(own, 1.0, rules.hard_bounce_ratio, rules.fuse_certainty)
    }

    /// The least of a tenant's mail that explains it: a campaign, else a sender domain, else all of it.
    fn narrowed(
        &self,
        counts: &BTreeMap<Key, Count>,
        tenant: TenantName,
        own: Count,
        rest: Count,
        groups: &Groups,
        rules: &config::Reputation,
    ) -> Culprit {
        let named = |key: Key| groups.get(key.group).filter(|group| group.tenant == tenant && group.domain.is_some());
        let of_domain = |group: &Group| Group { stream: None, ..group.clone() };
        let campaigns = self.suspects_in(counts, |key| named(key).cloned());
        let domains = self.suspects_in(counts, |key| named(key).map(of_domain));
        for (group, part) in campaigns.into_iter().take(1).chain(domains.into_iter().take(1)) {
            let left = own.without(part);
            let with_it = [rest, left].into_iter().sum();
            if left.attempts > 0 && self.steps.of(left) <= 0.0 && is_well(with_it, self.steps, rules) {
                return Culprit { group, own: part, rest: with_it };
            }
        }
        Culprit { group: Group { tenant, stream: None, domain: None }, own, rest }
    }

    /// The tenants whose mail over other bindings is bad, where nothing that is bad is left without them.
    fn bad_elsewhere(
        &self,
        groups: &Groups,
        mut is_bad_elsewhere: impl FnMut(&TenantName) -> bool,
    ) -> Option<Vec<Culprit>> {
        let bad = self.tenants(groups).into_iter().filter(|(_, own)| self.steps.of(*own) > 0.0);
        let bad: Vec<_> = bad.filter(|(tenant, _)| is_bad_elsewhere(tenant)).collect();
        let rest = bad.iter().fold(self.total, |rest, (_, own)| rest.without(*own));
        let of_tenant = |(tenant, own)| Culprit { group: Group { tenant, stream: None, domain: None }, own, rest };
        (!bad.is_empty() && self.steps.of(rest) <= ACQUITTAL).then(|| bad.into_iter().map(of_tenant).collect())
    }

    /// Whether others fared no better at the same time: bad by themselves, and the share here is not above theirs for
    /// certain.
    fn is_shared(&self, others: Count, rules: &config::Reputation) -> bool {
        is_bad(others, rules) && !is_above(self.total, 1.0, others.rate(), rules.fuse_certainty)
    }

    /// What is told when the address is out.
    fn evidence(&self, groups: &Groups) -> String {
        let text = format!("{} hard bounces in {} attempts", self.total.events, self.total.attempts);
        let tenants = self.tenants(groups);
        match tenants.first().filter(|_| tenants.len() > 1) {
            Some((tenant, own)) => format!("{text}; not only {tenant}'s: {}", in_words(*own)),
            None => text,
        }
    }
}
