//! What the answers of an attempt say about its binding: answers → evidence. Pure.
//!
//! Each answer is evidence for or against the binding, but the second binding that is refused for the same recipient is
//! not blamed any more ([`BLAMED_BINDINGS_MAX`]): from then on it is the tenant's or the content's problem, and a bad
//! message must not take one healthy address out after the other.

use super::state::{Answered, BLAMED_BINDINGS_MAX};
use crate::message::{BindingName, DestinationName, Entry};
use crate::outcome::{Action, Disposition, Outcome, Scope};
use crate::reputation::Evidence;
use crate::reputation::evidence::AttemptResult;

/// One piece of evidence per answer. `entry` is as it was before the attempt, before [`super::state::settle`].
pub fn evidence(
    entry: &Entry,
    answers: &[Answered],
    binding: &BindingName,
    destination: &DestinationName,
) -> Vec<Evidence> {
    let seen = answers.iter().map(|answer| Evidence::Attempt {
        binding: binding.clone(),
        destination: destination.clone(),
        tenant: entry.tenant.clone(),
        domain: entry.domain.clone(),
        message: entry.message,
        sender_domain: entry.reverse_path.as_ref().map(|from| from.domain()),
        result: result(&answer.outcome, &answer.text, may_blame(entry, answer.recipient, binding)),
    });
    seen.collect()
}

/// Whether refusals of this recipient may still be held against a binding.
fn may_blame(entry: &Entry, position: usize, binding: &BindingName) -> bool {
    entry.recipients.get(position).is_none_or(|recipient| {
        let others = recipient.state.blamed.iter().filter(|name| *name != binding).count();
        others + 1 < BLAMED_BINDINGS_MAX
    })
}

fn result(outcome: &Outcome, text: &str, may_blame: bool) -> AttemptResult {
    match outcome.cause {
        Some(cause) if outcome.disposition != Disposition::Delivered => AttemptResult::Refused {
            cause,
            scope: match outcome.scope {
                Scope::Binding | Scope::Range if !may_blame => Scope::Tenant,
                scope => scope,
            },
            hard: outcome.hard,
            counts_against_ip: may_blame && outcome.counts_against_ip,
            action: match outcome.action {
                // What blames the tenant anyway is no less true of the second binding.
                Action::HoldTenant(_) => outcome.action,
                _ if may_blame => outcome.action,
                _ => Action::None,
            },
            rule: outcome.rule.clone(),
            text: text.to_owned(),
        },
        _ => AttemptResult::Accepted,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Wall;
    use crate::message::{EntryId, EntryState, MessageId, Recipient, RecipientState};
    use crate::outcome::{Cause, NextBinding};

    /// An entry whose only recipient was refused on these bindings before.
    fn entry(blamed: &[&str]) -> Entry {
        let state = RecipientState { blamed: blamed.iter().map(|b| (*b).into()).collect(), ..Default::default() };
        Entry {
            id: EntryId(1),
            message: MessageId(1),
            tenant: "acme".into(),
            stream: "default".into(),
            pool: "main".into(),
            domain: "example.org".parse().expect("domain"),
            reverse_path: None,
            recipients: vec![Recipient { address: "a@example.org".parse().expect("mailbox"), state }],
            arrived: Wall::from_millis(0),
            expires: Wall::from_millis(1),
            size: 1,
            eight_bit: false,
            state: EntryState::default(),
        }
    }

    fn blaming() -> Answered {
        let outcome = Outcome {
            disposition: Disposition::Deferred,
            cause: Some(Cause::SpamBlockIp),
            scope: Scope::Binding,
            counts_against_ip: true,
            hard: false,
            next_binding: NextBinding::Other,
            retry_after: None,
            action: Action::SuspendRoute(Duration::from_secs(3600)),
            rule: "test".into(),
        };
        Answered { recipient: 0, outcome, text: "550 blocked".into(), host: None }
    }

    fn seen(entry: &Entry, binding: &str) -> (Scope, bool, Action) {
        let all = evidence(entry, &[blaming()], &binding.into(), &"gmail".into());
        match &all[..] {
            [Evidence::Attempt { result: AttemptResult::Refused { scope, counts_against_ip, action, .. }, .. }] => {
                (*scope, *counts_against_ip, *action)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_first_binding_is_blamed_also_when_it_is_refused_again() {
        let blamed = (Scope::Binding, true, Action::SuspendRoute(Duration::from_secs(3600)));
        assert_eq!(seen(&entry(&[]), "m1"), blamed);
        assert_eq!(seen(&entry(&["m1"]), "m1"), blamed);
    }

    #[test]
    fn a_second_binding_is_not_blamed_for_the_same_mail() {
        assert_eq!(seen(&entry(&["m1"]), "m2"), (Scope::Tenant, false, Action::None));
    }

    #[test]
    fn what_blames_the_tenant_is_said_of_a_second_binding_too() {
        let hold = Action::HoldTenant(Duration::from_secs(3600));
        let mut answer = blaming();
        (answer.outcome.scope, answer.outcome.counts_against_ip) = (Scope::SenderDomain, false);
        answer.outcome.action = hold;
        let all = evidence(&entry(&["m1"]), &[answer], &"m2".into(), &"gmail".into());
        match &all[..] {
            [Evidence::Attempt { result: AttemptResult::Refused { scope, action, .. }, .. }] => {
                assert_eq!((*scope, *action), (Scope::SenderDomain, hold));
            }
            other => panic!("{other:?}"),
        }
    }
}
