//! Health: who is out gets nothing, and nobody is put out without a cause that was seen.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::{Found, blames};
use crate::clock::Wall;
use crate::config::{Binding, Config};
use crate::message::{BindingName, DestinationName};
use crate::outcome::{Action, Outcome, Scope};
use crate::queue::core::{Core, Start};
use crate::reputation::{Health, HealthChange, Reason, Subject, UNTIL_CLEARED};

/// How long before a suspension its cause may lie: counting windows, and a long stay on the wire.
const CAUSE: Duration = Duration::from_secs(2 * 3600);

/// A period of probation.
struct Trickle {
    since: Wall,
    allowance: u32,
    used: u32,
}

/// What an onlooker knows of health.
pub struct Healths {
    names: HashMap<BindingName, usize>,
    /// Members that count, by pool.
    pools: Vec<Vec<usize>>,
    switched_off: Vec<bool>,
    /// As told by changes.
    suspended: Vec<Option<Reason>>,
    bindings: Vec<BindingName>,
    probation: HashMap<Subject, Trickle>,
    /// When a binding was last refused in a way that may cost it something. Silence is none.
    refused: Vec<Option<Wall>>,
    /// Who shares a binding's network (/24, /64): a refusal of the network is one of them all.
    neighbours: Vec<Vec<usize>>,
    window: Duration,
    longest: Duration,
    /// Listings that are certain, by what the zones say.
    is_certain: bool,
}

impl Healths {
    /// Everybody is well.
    pub fn new(config: &Config) -> Self {
        let names: HashMap<_, _> = config.bindings.iter().enumerate().map(|(n, b)| (b.name.clone(), n)).collect();
        let members = |pool: &crate::config::Pool| {
            let counted = pool.tiers.iter().flatten().filter(|member| member.weight > 0);
            counted.filter_map(|member| names.get(&member.binding).copied()).collect()
        };
        let certain = |code: &crate::config::ZoneCode| {
            matches!(code.meaning, crate::config::CodeMeaning::Listed { certain: true, .. })
        };
        let network = |binding: &Arc<Binding>| {
            let address = binding.public_address;
            IpNet::new(address, if address.is_ipv4() { 24 } else { 64 }).ok().map(|network| network.trunc())
        };
        let networks: Vec<_> = config.bindings.iter().map(network).collect();
        let of = |own| (0..networks.len()).filter(|&other| networks[other] == own).collect();
        Self {
            neighbours: networks.iter().map(|own| of(*own)).collect(),
            pools: config.pools.iter().map(members).collect(),
            switched_off: config.bindings.iter().map(|b| b.suspend_delivery).collect(),
            suspended: vec![None; config.bindings.len()],
            bindings: config.bindings.iter().map(|b| b.name.clone()).collect(),
            probation: HashMap::new(),
            refused: vec![None; config.bindings.len()],
            window: config.reputation.window.max(config.reputation.ip_block_window) + CAUSE,
            longest: config.reputation.suspend_max.max(Duration::from_secs(7 * 86_400)),
            is_certain: config.monitor.zones.iter().flat_map(|zone| &zone.codes).any(certain),
            names,
        }
    }

    /// An attempt begins.
    pub(super) fn started(&mut self, start: &Start, core: &Core, found: &mut Found, now: Wall) {
        let binding = start.binding.name.clone();
        if start.binding.suspend_delivery {
            found.add("suspended", now, || format!("{binding} is switched off in the configuration"));
        }
        let route = Subject::Route(binding.clone(), start.plan.destination.clone());
        for subject in [Subject::Binding(binding), route] {
            match core.reputation().health(&subject) {
                Health::Active | Health::Throttled { .. } => {}
                Health::Suspended { until, reason } => {
                    let (until, reason) = (*until, *reason);
                    found.add("suspended", now, || format!("{subject:?} is out until {until} for {}", reason.as_str()));
                }
                Health::Probation { allowance, .. } => {
                    let fresh = Trickle { since: now, allowance: *allowance, used: 0 };
                    let trickle = self.probation.entry(subject.clone()).or_insert(fresh);
                    trickle.used += start.lease.recipients;
                    let Trickle { allowance, used, .. } = *trickle;
                    if used > allowance {
                        found.add("suspended", now, || format!("{subject:?} got {used} on a probation of {allowance}"));
                    }
                }
            }
        }
    }

    /// An attempt came to nothing: its recipients were not used.
    pub(super) fn unused(&mut self, binding: u32, destination: &DestinationName, leased: u32, began: Wall) {
        if self.probation.is_empty() {
            return;
        }
        let name = &self.bindings[binding as usize];
        for subject in [Subject::Binding(name.clone()), Subject::Route(name.clone(), destination.clone())] {
            if let Some(trickle) = self.probation.get_mut(&subject).filter(|trickle| began >= trickle.since) {
                trickle.used = trickle.used.saturating_sub(leased);
            }
        }
    }

    /// A recipient was answered.
    pub(super) fn answered(&mut self, binding: u32, outcome: &Outcome, now: Wall) {
        let is_local = outcome.cause == Some(crate::outcome::Cause::LocalAddress);
        if outcome.hard || blames(outcome) || outcome.action != Action::None || is_local {
            self.refused[binding as usize] = Some(now);
        }
        if outcome.scope == Scope::Range {
            self.neighbours[binding as usize].iter().for_each(|neighbour| self.refused[*neighbour] = Some(now));
        }
    }

    /// The program was started again: periods of probation are counted anew.
    pub fn crashed(&mut self) {
        self.probation.clear();
    }

    /// A health changed.
    pub fn changed(&mut self, change: &HealthChange, found: &mut Found, now: Wall) {
        self.probation.remove(&change.subject);
        if let Health::Probation { allowance, .. } = change.to {
            self.probation.insert(change.subject.clone(), Trickle { since: now, allowance, used: 0 });
        }
        let Some(&binding) = self.names.get(change.subject.binding()) else { return };
        let out = match change.to {
            Health::Suspended { reason, until } => Some((reason, until)),
            _ => None,
        };
        if let Some((reason, until)) = out {
            self.has_a_cause(binding, change, (reason, until), found, now);
            self.spares_the_last(binding, change, reason, found, now);
        }
        if matches!(change.subject, Subject::Binding(_)) {
            self.suspended[binding] = out.map(|(reason, _)| reason);
        }
    }

    fn has_a_cause(
        &self,
        binding: usize,
        change: &HealthChange,
        (reason, until): (Reason, Wall),
        found: &mut Found,
        now: Wall,
    ) {
        let subject = &change.subject;
        if change.evidence.is_empty() {
            found.add("evidence", now, || format!("{subject:?} was suspended without a word"));
        }
        let by_event = matches!(reason, Reason::Listed | Reason::ReverseDns | Reason::Unbindable | Reason::Operator);
        let has_end = if until == UNTIL_CLEARED { by_event } else { until > now && until.since(now) <= self.longest };
        if !has_end {
            found.add("evidence", now, || format!("{subject:?} is out until {until} for {}", reason.as_str()));
        }
        let was_out = matches!(change.from, Health::Suspended { .. });
        let lately = self.refused[binding].is_some_and(|at| now.since(at) <= self.window);
        if !by_event && !was_out && !lately {
            found.add("evidence", now, || {
                format!(
                    "{subject:?} was suspended for {} and nobody had refused it: {}",
                    reason.as_str(),
                    change.evidence
                )
            });
        }
    }

    fn spares_the_last(&self, binding: usize, change: &HealthChange, reason: Reason, found: &mut Found, now: Wall) {
        let certain = match reason {
            Reason::Operator | Reason::Unbindable => true,
            Reason::Listed => self.is_certain,
            _ => false,
        };
        if certain || self.suspended[binding].is_some() || !matches!(change.subject, Subject::Binding(_)) {
            return;
        }
        let usable =
            |member: &usize| *member != binding && self.suspended[*member].is_none() && !self.switched_off[*member];
        for members in self.pools.iter().filter(|members| members.contains(&binding)) {
            if !members.iter().any(usable) {
                found.add("last", now, || {
                    format!("{:?}, the last of a pool, was suspended for {}", change.subject, reason.as_str())
                });
            }
        }
    }
}
