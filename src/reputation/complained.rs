//! What complaints move, and who is to blame for them.
//!
//! A complaint is about a mail, not about an address: that an address has many of them is nearly always some sender's doing.
//! So the sender is looked for first, and the address is what is left. Judged is the mail of the last `complaint_days`, by
//! the odds of [`posterior`](super::complaints::posterior), once a complaint, and by the day of sending; bounces never come
//! into it.
//!
//! 1. A tenant whose mail at this provider, over all bindings together, exceeds `complaint_suspend`, while what the others
//!    send there is well and clearly better: its mail is held there. One route alone may never see enough of it.
//! 2. A route that exceeds a limit. *Without the tenants that exceed it themselves* it may be well: its expected share is
//!    within the limit, and what is left is enough to tell it from theirs. Then their mail is held there and the route is
//!    left alone.
//! 3. Else it is the route: over `complaint_throttle` it is throttled, for a day from the last complaint that finds it so;
//!    over `complaint_suspend` it is suspended as for anything else.
//!
//! A tenant alone on its addresses cannot be told from them, and there a route that is suspended is the lesser evil than a
//! tenant that cannot send at all. It is held for `suspend_first`, twice as long each time up to `suspend_max`, until there
//! was none for `forgive_after`.
//!
//! What acts settles: complaints about mail that was sent before, which come for days yet, count no more. Nothing acts on
//! destinations that are no configured provider: they have one account together, which says where to look and not whose
//! route it is; it is noted. And nothing is concluded from hearing no complaint: few providers tell.

use std::time::Duration;

use super::attempts::Attempt;
use super::complaints::ledger::Counted;
use super::complaints::posterior::{exceeds, is_better_than, mean};
use super::complaints::{Booked, Heard};
use super::health::{HealthChange, Reason, Subject};
use super::late::Late;
use super::notes::Note;
use super::policy::Reputation;
use super::state::{Cause, Effect};
use crate::clock::Wall;
use crate::config;
use crate::message::{BindingName, DestinationName, TenantName};

/// How long a route is throttled from the last complaint that finds it above the limit: they are counted by days.
const THROTTLED_FOR: Duration = Duration::from_secs(24 * 3600);

/// Whose fault it is that something exceeds a limit.
struct Blamed {
    tenants: Vec<(TenantName, Counted)>,
    rest: Counted,
}

/// The tenants without which `total` is within `limit`: those that exceed it themselves, where the rest is well, and enough
/// to be told from them.
fn explains(
    total: Counted,
    tenants: Vec<(TenantName, Counted)>,
    is_suspect: impl Fn(&TenantName, Counted) -> bool,
    limit: f64,
    rules: &config::Reputation,
) -> Option<Blamed> {
    let suspects: Vec<_> = tenants.into_iter().filter(|(name, own)| is_suspect(name, *own)).collect();
    let mut theirs = Counted::default();
    suspects.iter().for_each(|(_, own)| theirs.add(*own));
    let rest = total.without(theirs);
    let is_well = mean(rest, rules) <= limit && is_better_than(rest, mean(theirs, rules), rules);
    (is_well && !suspects.is_empty()).then_some(Blamed { tenants: suspects, rest })
}

impl Reputation {
    /// Books accepted mail, against which complaints are set.
    pub(super) fn accepted(&mut self, attempt: Attempt<'_>, now: Wall) {
        let provider = self.providers.get(attempt.destination);
        let settled = provider.and_then(|_| self.settled(attempt.binding, attempt.destination));
        let (binding, days) = (attempt.binding, self.rules.complaint_days);
        self.complaints.accepted(binding, provider, attempt.tenant, settled, days, now);
    }

    /// Until when the mail of a route has been answered for; `None` while it is out.
    fn settled(&self, binding: &BindingName, to: &DestinationName) -> Option<Wall> {
        let watched = self.bindings.get(binding)?;
        let own = watched.own.state.settled_until()?;
        let route = watched.routes.get(to).map_or(Some(own), |cell| cell.state.settled_until())?;
        Some(own.max(route))
    }

    /// Complaints about mail that had been accepted.
    pub(super) fn complaint(&mut self, about: Late<'_>, incidents: u32, now: Wall, out: &mut Vec<HealthChange>) {
        if !self.bindings.contains_key(about.binding) {
            return;
        }
        let provider = about.destination.and_then(|to| self.providers.get(to)).cloned();
        self.complaints.book(about.binding, provider.as_ref(), Booked::Complaints(incidents), about.at, now);
        let to = about.destination.cloned();
        self.signalled.insert(
            to.map_or_else(|| Subject::Binding(about.binding.clone()), |to| Subject::Route(about.binding.clone(), to)),
        );
        if let Some(share) = self.complaints.worth_a_note(about.binding, provider.as_ref(), now) {
            let (binding, destination) = (about.binding.clone(), provider.clone());
            self.notes.push(Note::Complaints { binding, destination, share });
        }
        let Some(provider) = provider else { return };
        let Some(settled) = self.settled(about.binding, &provider).filter(|&settled| about.at >= settled) else {
            return;
        };
        if self.holds.waits(about.tenant, &provider, now) {
            // Whatever it is held for, what it sent before is answered for.
            self.complaints.settle_tenant(about.tenant, &provider, 0, now);
            return;
        }
        let Late { binding, tenant, at, .. } = about;
        let heard = Heard { binding, provider: &provider, tenant, at, incidents };
        if !self.complaints.hear(heard, settled, &self.rules, now) {
            return;
        }
        self.judge_tenant(about, &provider, now);
        // The second look is without those whom the first has found.
        if self.judge_route(binding, &provider, now, out) {
            self.judge_route(binding, &provider, now, out);
        }
    }

    /// Whether a tenant's mail is complained about too much over all bindings together.
    fn judge_tenant(&mut self, about: Late<'_>, provider: &DestinationName, now: Wall) {
        let (rules, limit) = (&self.rules, self.rules.complaint_suspend);
        if !exceeds(self.complaints.of(about.tenant, provider, rules.complaint_days, now), limit, rules) {
            return;
        }
        let (total, tenants) = self.complaints.everywhere(provider, rules.complaint_days, now);
        let is_suspect = |_: &TenantName, own| exceeds(own, limit, rules);
        if let Some(blamed) = explains(total, tenants.into_iter().collect(), is_suspect, limit, rules) {
            let subject = Subject::Route(about.binding.clone(), provider.clone());
            self.hold_for_complaints(&subject, provider, blamed, now);
        }
    }

    /// Whether a route exceeds a limit, and what follows. True where it was somebody's fault.
    fn judge_route(
        &mut self,
        binding: &BindingName,
        provider: &DestinationName,
        now: Wall,
        out: &mut Vec<HealthChange>,
    ) -> bool {
        let rules = &self.rules;
        let (total, tenants) = self.complaints.to_judge(binding, provider, rules.complaint_days, now);
        let limits = [(rules.complaint_suspend, Effect::Suspend), (rules.complaint_throttle, Effect::Throttle)];
        let Some((limit, effect)) = limits.into_iter().find(|(limit, _)| exceeds(total, *limit, rules)) else {
            return false;
        };
        let subject = Subject::Route(binding.clone(), provider.clone());
        let (_, everywhere) = self.complaints.everywhere(provider, rules.complaint_days, now);
        let is_suspect = |name: &TenantName, own| {
            exceeds(own, limit, rules) || everywhere.get(name).is_some_and(|own| exceeds(*own, limit, rules))
        };
        if let Some(blamed) = explains(total, tenants, is_suspect, limit, rules) {
            self.hold_for_complaints(&subject, provider, blamed, now);
            return true;
        }
        let text = format!(
            "{} complaints about {} recipients accepted in the last {} days",
            total.complaints, total.accepted, rules.complaint_days
        );
        if effect == Effect::Suspend {
            self.complaints.settle(binding, provider, now);
        }
        self.change(&subject, &text, out, |state, rules| match effect {
            Effect::Suspend => _ = state.penalise(Reason::Complaints, Duration::ZERO, &text, rules, now),
            Effect::Throttle => {
                let until = now.plus(THROTTLED_FOR);
                state.hold(Reason::Complaints, Cause { effect, until, certain: false, evidence: text.clone() }, now);
            }
        });
        false
    }

    /// These tenants' mail waits at the provider.
    fn hold_for_complaints(&mut self, subject: &Subject, provider: &DestinationName, blamed: Blamed, now: Wall) {
        for (tenant, own) in blamed.tenants {
            let evidence = format!(
                "{tenant}: {} complaints about {} accepted recipients; all others: {} about {}",
                own.complaints, own.accepted, blamed.rest.complaints, blamed.rest.accepted
            );
            let times = self.complaints.strikes(&tenant, provider, self.rules.forgive_after, now).saturating_add(1);
            self.complaints.settle_tenant(&tenant, provider, times, now);
            let mut rules = self.rules.clone();
            let span = rules.suspend_first.saturating_mul(2u32.saturating_pow(times - 1));
            rules.suspend_first = span.min(rules.suspend_max.max(rules.suspend_first));
            self.holds.stop_there(&tenant, provider, &evidence, &rules, now);
            self.notes.push(Note::TenantBlamed { subject: subject.clone(), tenant, evidence });
        }
    }
}
