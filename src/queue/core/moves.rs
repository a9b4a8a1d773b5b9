//! Mail that moves from one binding to the next: whose fault its refusals are, and where it may still go.
//!
//! Who is at fault is decided by [`crate::reputation::moves`]; here its answer is put where evidence, experience and the
//! entry's next step are made of it: into the answers. And while mail is stopped from moving, its probes are kept to the
//! bindings it has met: one of them is enough to find out whether it is welcome again, and a fresh one would pay for it if
//! it is not. Only where none of those can carry anything (suspended, drained, removed from the pool) may a probe use
//! another, or the mail would wait for a binding that does not come back.

use std::borrow::Cow;

use super::super::blame;
use super::super::index::Waiting;
use super::super::state::Answered;
use super::Core;
use crate::clock::{Now, Wall};
use crate::message::{BindingName, Entry};
use crate::outcome::Scope;
use crate::reputation::holds::Mail;
use crate::reputation::{Refusal, Whose};
use crate::scheduler::{BindingId, DestinationId, Families, Lease, PoolId};

impl Core {
    /// The answers with what is the mail's own fault told as such.
    pub(super) fn judged<'a>(
        &mut self,
        lease: &Lease,
        entry: &Entry,
        answers: &'a [Answered],
        now: Now,
    ) -> Cow<'a, [Answered]> {
        let mut judged = Cow::Borrowed(answers);
        let binding = self.scheduler.binding(lease.binding);
        let sender_domain = entry.reverse_path.as_ref().map(|from| from.domain());
        for (at, answer) in answers.iter().enumerate() {
            if !blame::is_to_be_judged(entry, answer, binding) {
                continue;
            }
            let range = match answer.outcome.scope {
                Scope::Range => self.neighbours(lease.binding, std::slice::from_ref(answer)),
                _ => Vec::new(),
            };
            let refusal = Refusal {
                mail: Mail {
                    tenant: &entry.tenant,
                    stream: Some(&entry.stream),
                    sender_domain: sender_domain.as_ref(),
                    destination: self.scheduler.destination_name(lease.destination),
                    message: entry.message,
                },
                binding: &binding.name,
                range: &range,
                // Whatever counts against an address has a cause.
                cause: answer.outcome.cause.unwrap_or(crate::outcome::Cause::Unknown),
                certain: answer.outcome.certain,
                rule: &answer.outcome.rule,
                text: &answer.text,
            };
            if self.reputation.whose(&refusal, now.wall) == Whose::Mail {
                judged.to_mut()[at] = blame::of_the_mail(answer);
            }
        }
        judged
    }

    /// Those who share the binding's network, where one of the answers blames that.
    pub(super) fn neighbours(&self, binding: BindingId, answers: &[Answered]) -> Vec<BindingName> {
        if answers.iter().all(|answer| answer.outcome.scope != Scope::Range) {
            return Vec::new();
        }
        let others = self.scheduler.range_of(binding).iter().filter(|&&other| other != binding);
        others.map(|&other| self.scheduler.binding_name(other).clone()).collect()
    }

    /// Those of the pool.
    pub(super) fn members(&self, mut bindings: Vec<BindingName>, pool: PoolId) -> Vec<BindingName> {
        bindings.retain(|name| self.scheduler.binding_id(name).is_some_and(|id| self.scheduler.is_member(id, pool)));
        bindings
    }

    /// The only binding for a message that was stopped from moving and probes now: of those it has met that whose turn it
    /// is. `None` where it is free to go anywhere. Next to no cost while nothing is held.
    pub(super) fn next_probe(&self, waiting: &Waiting, destination: DestinationId) -> Option<BindingId> {
        let mail = self.mail((waiting.tenant, waiting.sender, destination), waiting.message);
        let (_, met) = self.reputation.holds().stopped(mail)?;
        let mut met = met.iter().filter_map(|name| self.scheduler.binding_id(name));
        let cover = self.cover_of(waiting.tenant, waiting.sender);
        let any = Families { v4: true, v6: true };
        let can_carry = |id: &BindingId| {
            let is_out = self.reputation.is_out(self.scheduler.binding_name(*id), mail);
            let is_barred = self.scheduler.is_barred(cover, waiting.pool, any, *id);
            !is_out && !is_barred && self.scheduler.is_member(*id, waiting.pool)
        };
        met.find(can_carry)
    }

    /// What a message must avoid that is kept to `next`: every other binding of its pool, besides its own exclusions.
    pub(super) fn all_but(&self, next: BindingId, waiting: &Waiting, until: Wall) -> Vec<(BindingId, Wall)> {
        let own = waiting.excluded.as_deref().unwrap_or_default();
        let others = self.scheduler.members(waiting.pool).filter(|id| *id != next).map(|id| (id, until));
        own.iter().copied().chain(others).collect()
    }
}
