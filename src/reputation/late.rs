//! What comes back by mail, hours after it was accepted: bounces and complaints, booked to the time of sending.
//!
//! A late bounce is the same event as a refusal in the session, only heard of later. So it is counted where its attempt
//! was counted, by the time of that attempt, and the fuse and the counter of blames judge as if they had known. Three
//! things are different:
//!
//! - The attempt stands in the tally already, as an accepted one: an event is added to it, no attempt. Where the tally
//!   does not hold it any more (too old, cleared by a suspension, lost by a restart) the bounce moves nothing.
//! - What was sent before a suspension that is in force or has been served is settled: it neither prolongs the suspension
//!   nor spoils the probation ([`State::is_settled`](super::state::State::is_settled)).
//! - Hours of bounces may arrive in one minute, in any order. The clusters of the session (a run of bounces at one domain
//!   until mail is accepted there) cannot be told any more: one event per tenant, recipient domain and minute *of
//!   sending* is counted.
//!
//! What a rule asks to be done at once is not done for an answer of yesterday.

use std::collections::{BTreeMap, HashSet};

use super::attempts::Attempt;
use super::complaints::Booked;
use super::evidence::{AttemptResult, clipped};
use super::health::{Health, HealthChange, Subject};
use super::notes::Note;
use super::policy::Reputation;
use crate::clock::Wall;
use crate::message::{BindingName, DestinationName, Domain, TenantName};

/// Names of the attempt that something came back for.
#[derive(Clone, Copy)]
pub(super) struct Late<'a> {
    pub(super) binding: &'a BindingName,
    pub(super) destination: Option<&'a DestinationName>,
    pub(super) tenant: &'a TenantName,
    pub(super) domain: Option<&'a Domain>,
    /// When it was made; not after now.
    pub(super) at: Wall,
}

/// Which tenants' mail to which domains has bounced late already, by minute of sending.
#[derive(Debug, Default)]
pub(super) struct LateClusters {
    minutes: BTreeMap<i64, HashSet<(TenantName, Option<Domain>)>>,
}

impl LateClusters {
    /// True where this bounce is the first of its minute, tenant and domain. Minutes before `oldest` are forgotten.
    fn begins(&mut self, late: Late<'_>, oldest: Wall) -> bool {
        let minute = |at: Wall| at.as_millis().div_euclid(60_000);
        self.minutes = self.minutes.split_off(&minute(oldest));
        self.minutes.entry(minute(late.at)).or_default().insert((late.tenant.clone(), late.domain.cloned()))
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
        self.complaints.book(late.binding, provider, late.tenant, Booked::LateBounce, late.at, now);
        if settled {
            return;
        }
        let age = now.since(late.at);
        if *hard && age < self.rules.window {
            self.count_late(late, now, out);
        }
        if let Some(destination) = late.destination.filter(|_| *counts_against_ip && age < self.rules.ip_block_window) {
            // The fuse may just have taken the route out: then this, too, has been acted on.
            let attempt = Attempt { binding: late.binding, destination, tenant: late.tenant, domain: late.domain };
            let is_out = |subject| matches!(self.health(&subject), Health::Suspended { .. });
            if !is_out(attempt.of_route()) && !is_out(attempt.of_binding()) {
                let text = clipped(&format!("{rule} at {destination}, by mail: {text}"));
                self.blame(attempt, &text, late.at, now, out);
            }
        }
    }

    fn count_late(&mut self, late: Late<'_>, now: Wall, out: &mut Vec<HealthChange>) {
        let window = i64::try_from(self.rules.window.as_millis()).unwrap_or(i64::MAX);
        let oldest = Wall::from_millis(now.as_millis().saturating_sub(window));
        let Some(watched) = self.bindings.get_mut(late.binding) else { return };
        if !watched.late.begins(late, oldest) {
            return;
        }
        let mut subjects = Vec::with_capacity(2);
        if let Some(to) = late.destination {
            let Some(cell) = watched.routes.get_mut(to) else { return };
            if !cell.tally.add_late(late.tenant, late.at, now) {
                return;
            }
            if let Some(recovery) = &mut cell.state.recovery {
                recovery.hard = recovery.hard.saturating_add(1);
            }
            subjects.push(Subject::Route(late.binding.clone(), to.clone()));
        }
        if watched.own.tally.add_late(late.tenant, late.at, now)
            && let Some(recovery) = &mut watched.own.state.recovery
        {
            recovery.hard = recovery.hard.saturating_add(1);
        }
        subjects.push(Subject::Binding(late.binding.clone()));
        self.fuse(&subjects, now, out);
    }

    /// Complaints about mail that had been accepted. They move nothing by themselves; a share that is too large is noted.
    pub(super) fn complaint(&mut self, about: Late<'_>, incidents: u32, now: Wall) {
        if !self.bindings.contains_key(about.binding) {
            return;
        }
        let provider = about.destination.and_then(|to| self.providers.get(to));
        self.complaints.book(about.binding, provider, about.tenant, Booked::Complaints(incidents), about.at, now);
        if let Some(share) = self.complaints.worth_a_note(about.binding, provider, now) {
            let (binding, destination) = (about.binding.clone(), provider.cloned());
            self.notes.push(Note::Complaints { binding, destination, share });
        }
    }
}
