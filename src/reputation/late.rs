//! What comes back by mail, hours after it was accepted: bounces and complaints, booked to the time of sending.
//!
//! A late bounce is the same event as a refusal in the session, only heard of later. So it is counted where its attempt
//! was counted, by the time of that attempt, and the fuse judges as if it had known. These things are different:
//!
//! - The mark that a report is known by is readable to every recipient of the mail: the report proves that we sent the
//!   message, not what became of it. So words that blame the IP weigh nothing by themselves. Beside a blame heard in the
//!   session of that route, within `ip_block_window`, each adds to the count; without one it is shown and no more. It
//!   never suspends at once, spoils no probation, delays no forgiveness and takes no binding out at
//!   `providers_for_binding`.
//! - Nor is anything else believed that only the report says. The domain of the recipient is the report's, so late events
//!   are counted once per tenant, destination and minute *of sending* (the mark's, sealed): in a `window` of an hour at
//!   most 61 of one tenant at one destination, however many reports arrive and whatever they claim.
//!
//! - The attempt stands in the tally already, as an accepted one: an event is added to it, no attempt. Where the tally
//!   does not hold it any more (too old, cleared by a suspension, lost by a restart) the bounce moves nothing.
//! - What was sent before a suspension that is in force or has been served is settled: it neither prolongs the suspension
//!   nor spoils the probation ([`State::is_settled`](super::state::State::is_settled)).
//!
//! What a rule asks to be done at once is not done for an answer of yesterday.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::attempts::spoil;
use super::cells::Blame;
use super::complaints::Booked;
use super::evidence::{AttemptResult, clipped};
use super::health::{HealthChange, Reason, Subject};
use super::policy::Reputation;
use super::tally::Steps;
use crate::clock::Wall;
use crate::message::{BindingName, DestinationName, TenantName};

/// Names of the attempt that something came back for.
#[derive(Clone, Copy)]
pub(super) struct Late<'a> {
    pub(super) binding: &'a BindingName,
    pub(super) destination: Option<&'a DestinationName>,
    pub(super) tenant: &'a TenantName,
    /// When it was made; not after now.
    pub(super) at: Wall,
}

/// Which tenants' mail to which destinations has bounced late already, by minute of sending.
#[derive(Debug, Default)]
pub(super) struct LateClusters {
    minutes: BTreeMap<i64, HashSet<(TenantName, Option<DestinationName>)>>,
}

fn minute(at: Wall) -> i64 {
    at.as_millis().div_euclid(60_000)
}

impl LateClusters {
    /// True where this bounce is the first of its minute, tenant and destination. Minutes before `oldest` are forgotten.
    fn begins(&mut self, late: Late<'_>, oldest: Wall) -> bool {
        self.minutes = self.minutes.split_off(&minute(oldest));
        self.minutes.entry(minute(late.at)).or_default().insert((late.tenant.clone(), late.destination.cloned()))
    }
}

impl Reputation {
    /// A bounce that came back by mail.
    pub(super) fn late_bounce(
        &mut self,
        late: Late<'_>,
        result: &AttemptResult,
        now: Wall,
        out: &mut Vec<HealthChange>,
    ) {
        let AttemptResult::Refused { hard, counts_against_ip, rule, text, .. } = result else { return };
        let Some(watched) = self.bindings.get(late.binding) else { return };
        let route = late.destination.and_then(|to| watched.routes.get(to));
        let settled = [Some(&watched.own), route].into_iter().flatten().any(|cell| cell.state.is_settled(late.at));
        let provider = late.destination.and_then(|to| self.providers.get(to));
        self.complaints.book(late.binding, provider, Booked::LateBounce, late.at, now);
        if settled {
            return;
        }
        let age = now.since(late.at);
        if *hard && age < self.rules.window {
            self.count_late(late, now, out);
        }
        if let Some(destination) = late.destination.filter(|_| *counts_against_ip && age < self.rules.ip_block_window) {
            let text = clipped(&format!("{rule} at {destination}, by mail: {text}"));
            self.blame_by_mail(late, destination, &text, now, out);
        }
    }

    /// Adds a blame that came by mail to those of the session. One on probation, or already out (the fuse may just have
    /// done that), is left alone.
    fn blame_by_mail(
        &mut self,
        late: Late<'_>,
        destination: &DestinationName,
        text: &str,
        now: Wall,
        out: &mut Vec<HealthChange>,
    ) {
        let (window, count) = (self.rules.ip_block_window, self.rules.ip_block_count.max(1) as usize);
        let Some(watched) = self.bindings.get_mut(late.binding) else { return };
        let Some(cell) = watched.routes.get_mut(destination) else { return };
        if [&watched.own.state, &cell.state].iter().any(|state| state.is_out() || state.recovery.is_some()) {
            return;
        }
        cell.blames.retain(|blame| now.since(blame.at) < window);
        let mut by_mail = cell.blames.iter().filter(|blame| blame.by_mail);
        if by_mail.any(|blame| blame.tenant == *late.tenant && minute(blame.at) == minute(late.at)) {
            return;
        }
        if cell.blames.iter().filter(|blame| blame.by_mail).count() >= count {
            // One more changes nothing, and the memory has an end.
            return;
        }
        cell.blames.push_back(Blame { tenant: late.tenant.clone(), domain: None, at: late.at, by_mail: true });
        if cell.blames_suffice(count) {
            let route = Subject::Route(late.binding.clone(), destination.clone());
            self.change(&route, text, out, |state, rules| {
                state.penalise(Reason::IpBlocked, Duration::ZERO, text, rules, now);
            });
        }
    }

    fn count_late(&mut self, late: Late<'_>, now: Wall, out: &mut Vec<HealthChange>) {
        let window = i64::try_from(self.rules.window.as_millis()).unwrap_or(i64::MAX);
        let oldest = Wall::from_millis(now.as_millis().saturating_sub(window));
        let Some(watched) = self.bindings.get_mut(late.binding) else { return };
        if !watched.late.begins(late, oldest) {
            return;
        }
        let (steps, groups) = (Steps::new(&self.rules), &watched.groups);
        let is_meant = |group| groups.is_of(group, late.tenant);
        let mut subjects = Vec::with_capacity(2);
        if let Some(to) = late.destination {
            let Some(cell) = watched.routes.get_mut(to) else { return };
            if !cell.tally.add_late(is_meant, 0, late.at, steps, now) {
                return;
            }
            self.lists.add_late(late.tenant, late.binding, late.destination, late.at, steps, now);
            spoil(cell, groups, late.tenant, &mut self.lists, &self.rules, now);
            subjects.push(Subject::Route(late.binding.clone(), to.clone()));
        }
        let place = late.destination.map_or(0, |to| watched.own.places.known(to.as_str()));
        if watched.own.tally.add_late(is_meant, place, late.at, steps, now) {
            if late.destination.is_none() {
                self.lists.add_late(late.tenant, late.binding, None, late.at, steps, now);
            }
            spoil(&mut watched.own, groups, late.tenant, &mut self.lists, &self.rules, now);
        }
        subjects.push(Subject::Binding(late.binding.clone()));
        self.fuse(&subjects, now, out);
    }
}
