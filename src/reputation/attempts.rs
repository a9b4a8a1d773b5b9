//! What the answers of attempts move: the fuse of hard bounces, blame of the IP, and what a reply's rule asks for.

use std::time::Duration;

use super::cells::{Blame, Cell, find};
use super::evidence::{AttemptResult, clipped};
use super::fuse::{Groups, is_bad};
use super::health::{HealthChange, Reason, Subject};
use super::holds::{Asked, Mail};
use super::lists::Lists;
use super::moves::group_of;
use super::notes::Note;
use super::policy::{PROBATION_BLAMERS, Reputation};
use super::state::{Cause, Effect};
use super::tally::{Key, Steps};
use crate::clock::Wall;
use crate::config;
use crate::message::{BindingName, DestinationName, Domain, MessageId, StreamName, TenantName};
use crate::outcome::{Action, Cause as WentWrong, Scope};

/// How long what was said of a network is not told again to those who share it.
const RANGE_PAUSE: Duration = Duration::from_secs(60);

/// Names of one attempt.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) binding: &'a BindingName,
    pub(super) destination: &'a DestinationName,
    pub(super) tenant: &'a TenantName,
    /// The recipient's.
    pub(super) domain: &'a Domain,
}

impl Attempt<'_> {
    pub(super) fn of_binding(self) -> Subject {
        Subject::Binding(self.binding.clone())
    }

    pub(super) fn of_route(self) -> Subject {
        Subject::Route(self.binding.clone(), self.destination.clone())
    }
}

/// Whose message it was.
#[derive(Clone, Copy)]
pub(super) struct Sender<'a> {
    pub(super) message: MessageId,
    pub(super) stream: &'a StreamName,
    pub(super) domain: Option<&'a Domain>,
}

impl Reputation {
    pub(super) fn attempt(
        &mut self,
        attempt: Attempt<'_>,
        sender: Sender<'_>,
        result: &AttemptResult,
        now: Wall,
        out: &mut Vec<HealthChange>,
    ) {
        let window = self.rules.window;
        let mail = Mail {
            tenant: attempt.tenant,
            stream: Some(sender.stream),
            sender_domain: sender.domain,
            destination: attempt.destination,
            message: sender.message,
        };
        let Some(watched) = self.bindings.get_mut(attempt.binding) else { return };
        if !watched.routes.contains_key(attempt.destination) {
            watched.routes.insert(attempt.destination.clone(), Cell::new(window));
        }
        if let (AttemptResult::Accepted, Some(cell)) = (result, watched.routes.get_mut(attempt.destination)) {
            cell.voices.passed(group_of(mail), attempt.tenant, now);
        }
        let bound_again = watched.own.state.unbindable > 0;
        match result {
            AttemptResult::Accepted => {
                watched.clusters.ends(attempt.tenant, attempt.domain);
                self.count(attempt, mail, false, now);
                if bound_again {
                    self.change(&attempt.of_binding(), "address can be bound", out, |s, _| s.bindable());
                }
                self.accepted(attempt, now);
                self.holds.answered(mail, true, now);
                self.moves.accepted(mail, attempt.binding, now);
            }
            AttemptResult::Refused { cause: WentWrong::LocalAddress, text, .. } => {
                self.unbindable(attempt.binding, text, now, out);
                self.holds.answered(mail, false, now);
            }
            AttemptResult::Refused { cause, hard, counts_against_ip, action, rule, scope, text } => {
                let is_wish = *cause == WentWrong::RateLimited && text.starts_with('4');
                let text = clipped(&format!("{} at {}: {text}", rule, attempt.destination));
                if *hard && watched.clusters.begins(attempt.tenant, attempt.domain, now) {
                    self.count(attempt, mail, true, now);
                    self.fuse(&[attempt.of_route(), attempt.of_binding()], now, out);
                    self.judge_list(attempt, now);
                }
                match (action, scope) {
                    // The null reverse path has no domain: our own reports and bounces that are passed on. What is said of
                    // their sender is no word about the tenant.
                    (Action::HoldTenant(_), Scope::SenderDomain) if mail.sender_domain.is_none() => {
                        self.holds.answered(mail, false, now);
                    }
                    (Action::HoldTenant(span), scope) => {
                        let whole_tenant = *scope != Scope::SenderDomain;
                        let asked = Asked { whole_tenant, span: *span, is_wish, evidence: &text };
                        self.holds.refused(mail, asked, &self.rules, now);
                    }
                    _ => self.holds.answered(mail, false, now),
                }
                let is_echo = self.act(attempt, action_of_route(*action, *scope), &text, now, out);
                if is_about_its_name(*cause, *scope, *action) {
                    self.note_refused(attempt, &text, now);
                }
                if *counts_against_ip && !is_echo {
                    self.blame(attempt, &text, now, out);
                }
            }
        }
    }

    /// Counts a final answer about the recipient: accepted, or refused for good. Nothing else is an attempt for the fuse: of
    /// a time-out or a deferral nobody knows what it would have become.
    fn count(&mut self, attempt: Attempt<'_>, mail: Mail<'_>, event: bool, now: Wall) {
        let Some(watched) = self.bindings.get_mut(attempt.binding) else { return };
        let Some(route) = watched.routes.get_mut(attempt.destination) else { return };
        if watched.own.state.is_out() || route.state.is_out() {
            // Answers still on the wire: what they say has been acted on, and must not reach the binding's count.
            return;
        }
        if self.holds.waits_as(mail, now) {
            // The same, where the mail was stopped and not the address.
            return;
        }
        let steps = Steps::new(&self.rules);
        self.lists.add(attempt, event, steps, now);
        let group = watched.groups.number(mail, group_of(mail));
        let there = (&mut watched.own, attempt.destination.as_str());
        for (cell, place) in [there, (route, attempt.domain.as_str())] {
            let place = cell.places.number(place, event, self.rules.window, now);
            cell.tally.add(Key { group, place }, event, steps, now);
            if event {
                spoil(cell, &watched.groups, attempt.tenant, &mut self.lists, &self.rules, now);
            } else if let Some(recovery) = &mut cell.state.recovery {
                recovery.accepted = recovery.accepted.saturating_add(1);
            }
        }
    }

    /// What the rule that read the reply asks for. Returns whether the reply only repeats a wish for less that is heeded.
    fn act(
        &mut self,
        attempt: Attempt<'_>,
        action: Action,
        text: &str,
        now: Wall,
        out: &mut Vec<HealthChange>,
    ) -> bool {
        match action {
            Action::None | Action::HoldContent(_) => {}
            Action::HoldTenant(_) => self.note_refused(attempt, text, now),
            Action::BackOff(span) => return !self.throttle(&attempt.of_route(), span, text, now, out),
            Action::SuspendRoute(span) => self.suspend_route(attempt, Reason::IpBlocked, span, text, now, out),
            Action::FixBinding(span) => {
                self.note_misconfigured(attempt, text, now);
                self.suspend_route(attempt, Reason::Misconfigured, span, text, now, out);
            }
            Action::SuspendBinding(span) => self.change(&attempt.of_binding(), text, out, |state, rules| {
                state.penalise(Reason::IpBlocked, span, text, rules, now);
            }),
        }
        false
    }

    /// The receiver asked for less. Returns whether that is news: the first time, or clearly longer than known.
    fn throttle(
        &mut self,
        route: &Subject,
        span: Duration,
        text: &str,
        now: Wall,
        out: &mut Vec<HealthChange>,
    ) -> bool {
        let mut is_news = false;
        self.change(route, text, out, |state, _| {
            let until = now.plus(span);
            let known = state.causes.get(&Reason::RateLimited).map(|cause| cause.until);
            let cause = Cause { effect: Effect::Throttle, until, certain: false, evidence: text.to_owned() };
            state.hold(Reason::RateLimited, cause, now);
            is_news = state.causes.get(&Reason::RateLimited).map(|cause| cause.until) != known;
        });
        is_news
    }

    /// Notes a reply that blames the tenant, once per window, route and tenant.
    fn note_refused(&mut self, attempt: Attempt<'_>, text: &str, now: Wall) {
        let subject = attempt.of_route();
        let window = self.rules.window;
        let Some(cell) = find(&mut self.bindings, &subject, window) else { return };
        if cell.noted.get(attempt.tenant).is_some_and(|&noted| now.since(noted) < window) {
            return;
        }
        cell.noted.insert(attempt.tenant.clone(), now);
        self.notes.push(Note::TenantRefused { subject, tenant: attempt.tenant.clone(), evidence: clipped(text) });
    }

    /// Tells the operator what to mend, once per window and binding: every receiver will say the same.
    fn note_misconfigured(&mut self, attempt: Attempt<'_>, text: &str, now: Wall) {
        let window = self.rules.window;
        let Some(watched) = self.bindings.get_mut(attempt.binding) else { return };
        if watched.fix_noted.is_some_and(|noted| now.since(noted) < window) {
            return;
        }
        watched.fix_noted = Some(now);
        self.notes.push(Note::Misconfigured {
            binding: attempt.binding.clone(),
            destination: attempt.destination.clone(),
            evidence: text.to_owned(),
        });
    }

    /// A receiver refused the network that this binding shares with the one that was told: as if it had been told itself.
    /// Once a minute: every answer about the network says the same of all its addresses.
    pub(super) fn neighbour_refused(
        &mut self,
        attempt: Attempt<'_>,
        action: Action,
        text: &str,
        now: Wall,
        out: &mut Vec<HealthChange>,
    ) {
        let Some(cell) = find(&mut self.bindings, &attempt.of_route(), self.rules.window) else { return };
        if cell.state.is_out() || cell.told_of_range.is_some_and(|told| now.since(told) < RANGE_PAUSE) {
            return;
        }
        cell.told_of_range = Some(now);
        if !self.act(attempt, action, text, now, out) {
            self.blame(attempt, text, now, out);
        }
    }

    /// A reply that blames the IP, whatever the rule asked for besides.
    fn blame(&mut self, attempt: Attempt<'_>, text: &str, now: Wall, out: &mut Vec<HealthChange>) {
        let (window, count) = (self.rules.ip_block_window, self.rules.ip_block_count.max(1) as usize);
        let route = attempt.of_route();
        let Some(cell) = find(&mut self.bindings, &route, self.rules.window) else { return };
        let domain = Some(attempt.domain.clone());
        let this = Blame { tenant: attempt.tenant.clone(), domain, at: now, by_mail: false };
        if cell.last_blame.as_ref() == Some(&this) || cell.blames.contains(&this) {
            // Another recipient of the same refused message.
            return;
        }
        cell.last_blame = Some(this.clone());
        cell.voices.refused(attempt.tenant, now);
        cell.state.clean_since = cell.state.clean_since.max(now);
        let at_once = cell.state.recovery.is_some();
        if !cell.state.is_out() {
            cell.blames.retain(|blame| now.since(blame.at) < window);
            cell.blames.push_back(this);
            if at_once || cell.blames_suffice(count) {
                self.suspend_route(attempt, Reason::IpBlocked, Duration::ZERO, text, now, out);
            }
        }
        self.blame_on_probation(attempt, now, out);
    }

    fn blame_on_probation(&mut self, attempt: Attempt<'_>, now: Wall, out: &mut Vec<HealthChange>) {
        let Some(watched) = self.bindings.get_mut(attempt.binding) else { return };
        watched.own.state.clean_since = watched.own.state.clean_since.max(now);
        let Some(recovery) = &mut watched.own.state.recovery else { return };
        recovery.blamed = true;
        if !recovery.blamed_by.contains(attempt.destination) {
            recovery.blamed_by.push(attempt.destination.clone());
        }
        let weighty = recovery.blamed_by.iter().filter(|to| self.providers.contains(*to)).count();
        if weighty < PROBATION_BLAMERS.min(self.rules.providers_for_binding.max(1)) {
            return;
        }
        let text = format!("blamed on probation by {}", joined(&recovery.blamed_by));
        self.change(&attempt.of_binding(), &text, out, |state, rules| {
            state.penalise(Reason::ManyProviders, Duration::ZERO, &text, rules, now);
        });
    }

    /// Suspends a route for the IP's sake or its set-up's, and the binding when that makes too many of them.
    fn suspend_route(
        &mut self,
        attempt: Attempt<'_>,
        reason: Reason,
        least: Duration,
        text: &str,
        now: Wall,
        out: &mut Vec<HealthChange>,
    ) {
        let mut new = false;
        self.change(&attempt.of_route(), text, out, |state, rules| {
            new = state.penalise(reason, least, text, rules, now);
        });
        let Some(watched) = self.bindings.get(attempt.binding).filter(|_| new) else { return };
        let mut out_at: Vec<DestinationName> = watched
            .routes
            .iter()
            .filter(|(to, cell)| {
                let is_ours = |reason| cell.state.suspended_for(reason);
                self.providers.contains(*to) && (is_ours(Reason::IpBlocked) || is_ours(Reason::Misconfigured))
            })
            .map(|(destination, _)| destination.clone())
            .collect();
        if out_at.len() < self.rules.providers_for_binding.max(1) || watched.own.state.wants_out().is_some() {
            return;
        }
        out_at.sort();
        let text = format!("suspended at {}: {text}", joined(&out_at));
        self.change(&attempt.of_binding(), &text, out, |state, rules| {
            state.penalise(Reason::ManyProviders, Duration::ZERO, &text, rules, now);
        });
    }
}

/// What a rule asks for, as far as it is about the route.
fn action_of_route(action: Action, scope: Scope) -> Action {
    if matches!(action, Action::BackOff(_)) && !scope.is_of_route() { Action::None } else { action }
}

/// A hard bounce while the cell recovers: it spoils the period, unless the tenant's list is known to be bad elsewhere.
pub(super) fn spoil(
    cell: &mut Cell,
    groups: &Groups,
    tenant: &TenantName,
    lists: &mut Lists,
    rules: &config::Reputation,
    now: Wall,
) {
    let Some(recovery) = &mut cell.state.recovery else { return };
    let here = cell.tally.of(i64::MIN, |key| groups.is_of(key.group, tenant));
    if !is_bad(lists.total(tenant, Steps::new(rules), now).without(here), rules) {
        recovery.hard = recovery.hard.saturating_add(1);
    }
}

/// A reply about a name that is the sender's own, from which no rule of ours concludes anything (see
/// [`crate::queue::blame`]): only people can mend that.
fn is_about_its_name(cause: WentWrong, scope: Scope, action: Action) -> bool {
    let of_a_name = matches!(cause, WentWrong::SpamBlockDomain | WentWrong::ProtocolOrConfig);
    of_a_name && scope == Scope::SenderDomain && action == Action::None
}

fn joined(names: &[DestinationName]) -> String {
    names.iter().map(DestinationName::as_str).collect::<Vec<_>>().join(", ")
}
