//! Whose fault a refusal is that blames an address: the address's, or that of the mail which moves from one to the next.
//!
//! A receiver that dislikes a campaign seldom says so. It says "poor reputation of the sending IP", and says it to every
//! address the campaign comes from. Moving such mail on looks like snowshoe spam and wears out one address after the other,
//! the backups last. But two addresses of a pool may well be bad at the same time, and then their mail must move. So each
//! refusal is judged before it counts ([`Reputation::whose`]).
//!
//! Mail is judged by **group**: tenant, stream and sender domain, at one destination. That is what receivers tell apart as
//! well (they see the domain; streams of a tenant differ in who asked for them), and a group is small enough that the
//! tenant's other mail goes on. Headers are no part of it: entries do not carry them. A tenant that takes another domain
//! for every message is judged as a whole.
//!
//! | the refusal | whose |
//! |---|---|
//! | is certain: a public list or our set-up is named, or it came before MAIL FROM ([`crate::outcome::Outcome::certain`]) | the binding's |
//! | is about a binding that our own monitor finds listed | the binding's |
//! | is the group's first for this cause within `ip_block_window`, or from the same binding (or, where the text names the network, the same range) as before | the binding's |
//! | comes from a second binding, and the last word that other tenants heard there was a refusal, too | the binding's |
//! | the same, but other mail passed there meanwhile | the mail's |
//! | the same, nobody else sends there, and more bindings carried the group since its first refusal than refused it | the binding's |
//! | the same, and they did not | the mail's |
//! | the group is stopped already | the mail's |
//! | three groups of the tenant were refused, over two bindings or more: judged by the same lines for all its mail | |
//!
//! *Cause*, not rule, tells whether two refusals have the same reason: receivers word one judgement differently as it
//! hardens. The last line but two spares nobody who sends alone over few addresses: the third is not tried. What it costs is
//! a pause, since the mail's own fault becomes a hold ([`super::holds`]), which already has what is needed: it waits without
//! attempts, survives a restart, is shown, released by the operator, probed with one message at a time (only over bindings
//! that the group has met), ended by an accepted one and doubled by a refused one. Another brake with another clock beside
//! it would have to be explained to everybody.
//!
//! Memory: a trail per refused group for a window, at most [`TRAILS_MAX`] per tenant; beyond them only the tenant's own.
//! Lost by a restart: at most the first refusal of a group.

#[cfg(test)]
mod tests;
mod trail;
mod voices;

pub use self::trail::TRAILS_MAX;
pub(super) use self::trail::{Moves, group_of};
pub(super) use self::voices::Voices;

use self::trail::Trail;
use self::voices::Others;
use super::evidence::clipped;
use super::health::Subject;
use super::holds::{Mail, Stop};
use super::policy::Reputation;
use crate::clock::Wall;
use crate::config::Automation;
use crate::message::BindingName;
use crate::outcome::Cause;

/// A refusal that blames the binding's address.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    /// Which mail.
    pub mail: Mail<'a>,
    /// Over which binding.
    pub binding: &'a BindingName,
    /// Bindings of the same range, where the text blames the network; else none.
    pub range: &'a [BindingName],
    /// The reason.
    pub cause: Cause,
    /// See [`crate::outcome::Outcome::certain`].
    pub certain: bool,
    /// The rule that read it.
    pub rule: &'a str,
    /// The reply.
    pub text: &'a str,
}

/// Whose fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The binding's: it counts against it, and the mail may move to another.
    Binding,
    /// The mail's: no binding is blamed, and the mail moves no further.
    Mail,
}

impl Reputation {
    /// Judges a refusal that blames the address, before it is observed; stops the mail where the mail is at fault. Some
    /// hundred nanoseconds.
    pub fn whose(&mut self, refusal: &Refusal<'_>, now: Wall) -> Whose {
        if self.rules.automation == Automation::Watch || refusal.certain || self.is_listed(refusal.binding) {
            return Whose::Binding;
        }
        if let Some((whole_tenant, _)) = self.holds.stopped(refusal.mail) {
            self.stop(refusal, whole_tenant, vec![refusal.binding.clone()], now);
            return Whose::Mail;
        }
        let window = self.rules.ip_block_window;
        let (of_group, of_tenant) = self.others(refusal, now);
        let trails = self.moves.refused(refusal, window, now);
        let met = match trails.group.map(|trail| (judge(trail, of_group, refusal.cause), trail)) {
            Some((Judgement::Mail, trail)) => Some((false, trail.met())),
            Some((Judgement::Binding, _)) => None,
            Some((Judgement::TooEarly, _)) | None => {
                match (judge(trails.tenant, of_tenant, refusal.cause), trails.tenant) {
                    (Judgement::Mail, trail) if trail.groups_suffice() => Some((true, trail.met())),
                    _ => None,
                }
            }
        };
        let Some((whole_tenant, met)) = met else { return Whose::Binding };
        if self.stop(refusal, whole_tenant, met, now) {
            self.moves.forget(refusal.mail, whole_tenant);
        }
        Whose::Mail
    }

    fn is_listed(&self, binding: &BindingName) -> bool {
        let weight: f64 = self.listings(binding).iter().map(|listing| listing.weight).sum();
        weight > 0.0 && weight >= self.throttle_weight
    }

    /// What others were told on this route, to be set against the group's refusal and against the tenant's.
    fn others(&self, refusal: &Refusal<'_>, now: Wall) -> (Others, Others) {
        let cell = self.bindings.get(refusal.binding).and_then(|watched| watched.routes.get(refusal.mail.destination));
        let Some(cell) = cell else { return (Others::Silent, Others::Silent) };
        let Mail { tenant, .. } = refusal.mail;
        cell.voices.others(group_of(refusal.mail), tenant, self.rules.ip_block_window, now)
    }

    fn stop(&mut self, refusal: &Refusal<'_>, whole_tenant: bool, met: Vec<BindingName>, now: Wall) -> bool {
        let over = met.iter().map(BindingName::as_str).collect::<Vec<_>>().join(", ");
        let (rule, to) = (refusal.rule, refusal.mail.destination);
        let text = clipped(&format!("moves no further, having met {over}: {rule} at {to}: {}", refusal.text));
        let stop = Stop { whole_tenant, met, refused_by: refusal.binding, evidence: &text };
        self.holds.stop(refusal.mail, stop, &self.rules, now)
    }

    /// Whether a route may carry the probe of mail that was stopped: it is not out itself.
    pub fn is_out(&self, binding: &BindingName, mail: Mail<'_>) -> bool {
        use super::health::Health::Suspended;
        let route = Subject::Route(binding.clone(), mail.destination.clone());
        [Subject::Binding(binding.clone()), route]
            .iter()
            .any(|subject| matches!(self.health(subject), Suspended { .. }))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    Binding,
    Mail,
    /// One place has refused it so far.
    TooEarly,
}

fn judge(trail: &Trail, others: Others, cause: Cause) -> Judgement {
    let refused_by = trail.places(cause);
    match others {
        _ if refused_by < 2 => Judgement::TooEarly,
        Others::Refused => Judgement::Binding,
        Others::Passed => Judgement::Mail,
        Others::Silent if trail.carried_by() > refused_by => Judgement::Binding,
        Others::Silent => Judgement::Mail,
    }
}
