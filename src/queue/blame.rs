//! What the answers of an attempt say about its binding: answers → evidence. Pure.
//!
//! Each answer is evidence for or against the binding, but the second binding that is refused for the same recipient is
//! not blamed any more ([`BLAMED_BINDINGS_MAX`]): from then on it is the tenant's or the content's problem, and a bad
//! message must not take one healthy address out after the other. What is certain about the address, whatever the mail
//! ([`Outcome::certain`]), counts against each.
//!
//! What one message cannot show, its kind of mail does: before anything is counted, refusals that are the fault of mail
//! which meets one binding after the other are turned into what they mean ([`of_the_mail`]; who decides that is
//! [`crate::reputation::moves`]). Evidence, experience and the entry's next step then see the same thing.
//!
//! Refusals of reports, mail with the null reverse path, say nothing about a binding: they go to whoever is said to have
//! sent something, with words that a stranger chose.
//!
//! Where the EHLO name is the message's (`ehlo_hostname = "message"`), replies that refuse the name speak of the sender's
//! domain: whoever writes the reverse path would choose which address is blamed. They are noted and move nothing.

use std::time::Duration;

use super::state::{Answered, BLAMED_BINDINGS_MAX};
use crate::config::{Binding, EhloName};
use crate::message::{BindingName, DestinationName, Entry};
use crate::outcome::{Action, Cause, Disposition, NextBinding, Outcome, Scope};
use crate::reputation::Evidence;
use crate::reputation::evidence::AttemptResult;
use crate::scheduler::Experience;

/// One piece of evidence per answer. `entry` is as it was before the attempt, before [`super::state::settle`].
pub fn evidence(
    entry: &Entry,
    answers: &[Answered],
    binding: &Binding,
    destination: &DestinationName,
    took: Option<Duration>,
) -> Vec<Evidence> {
    let names_itself = binding.ehlo_hostname == EhloName::Message && entry.reverse_path.is_some();
    let seen = answers.iter().map(|answer| Evidence::Attempt {
        binding: binding.name.clone(),
        destination: destination.clone(),
        tenant: entry.tenant.clone(),
        domain: entry.domain.clone(),
        message: entry.message,
        stream: entry.stream.clone(),
        sender_domain: entry.reverse_path.as_ref().map(|from| from.domain()),
        took,
        result: match &answer.outcome {
            outcome if names_itself && is_about_the_name(outcome) => named_itself(outcome, &answer.text),
            outcome => {
                let may_blame = may_blame(entry, answer, &binding.name);
                result(outcome, &answer.text, may_blame, entry.reverse_path.is_none())
            }
        },
    });
    seen.collect()
}

/// What the answers say of those who share the binding's network; `None` where none blames the network. `entry` as above.
pub fn of_range(
    entry: &Entry,
    answers: &[Answered],
    binding: &BindingName,
    destination: &DestinationName,
    neighbours: &[BindingName],
) -> Option<Evidence> {
    let blames = |answer: &&Answered| {
        let Outcome { scope, counts_against_ip, .. } = answer.outcome;
        scope == Scope::Range && counts_against_ip && may_blame(entry, answer, binding)
    };
    let Answered { outcome, text, .. } = answers.iter().find(blames).filter(|_| !neighbours.is_empty())?;
    Some(Evidence::Range {
        bindings: neighbours.to_vec(),
        destination: destination.clone(),
        tenant: entry.tenant.clone(),
        domain: entry.domain.clone(),
        action: outcome.action,
        text: format!("{} at {destination}, told to {binding}: {text}", outcome.rule),
    })
}

/// Whether the answer has to be judged by [`crate::reputation::Reputation::whose`]: it blames the binding's address, and
/// not a name that the message chose for it. What is said of reports is held against nobody anyway, and a wish for less is
/// answered by less, by whichever binding hears it: not to move is no answer to it.
pub fn is_to_be_judged(entry: &Entry, answer: &Answered, binding: &Binding) -> bool {
    let names_itself = binding.ehlo_hostname == EhloName::Message && is_about_the_name(&answer.outcome);
    let is_wish = is_wish_for_less(&answer.outcome);
    answer.outcome.counts_against_ip && entry.reverse_path.is_some() && !names_itself && !is_wish
}

/// The same answer where the mail is at fault: the tenant's, deferred like any other, and no reason for another binding.
pub fn of_the_mail(answer: &Answered) -> Answered {
    let outcome = Outcome {
        scope: Scope::Tenant,
        counts_against_ip: false,
        next_binding: NextBinding::Prefer,
        action: match answer.outcome.action {
            // Asked for of the sender, whoever that is.
            Action::HoldTenant(_) => answer.outcome.action,
            _ => Action::None,
        },
        ..answer.outcome.clone()
    };
    Answered { outcome, ..answer.clone() }
}

/// What the attempt taught about its route. `entry` is as it was before the attempt; `took` is from the first command to
/// the last reply, `None` where no connection was made.
pub fn experience(entry: &Entry, answers: &[Answered], binding: &BindingName, took: Option<Duration>) -> Experience {
    let mut seen = Experience { took, ..Experience::default() };
    for answer in answers {
        let Outcome { disposition, cause, scope, counts_against_ip, action, retry_after, .. } = answer.outcome;
        let is_blamed = counts_against_ip && may_blame(entry, answer, binding);
        let count = match (disposition, cause) {
            (Disposition::Delivered, _) => &mut seen.accepted,
            _ if is_blamed => &mut seen.blamed,
            (_, Some(Cause::LocalAddress | Cause::Local)) => continue,
            (_, Some(Cause::Network)) => &mut seen.failed,
            // The receiver closed the connection, as it may at any time.
            (Disposition::Deferred, Some(cause)) if is_closing(&answer.text) && is_of_the_route(cause, scope) => {
                &mut seen.failed
            }
            (Disposition::Deferred, Some(cause @ (Cause::RateLimited | Cause::TransientOther)))
                if is_of_the_route(cause, scope) =>
            {
                &mut seen.deferred
            }
            _ => &mut seen.other,
        };
        *count += 1;
        if let Action::BackOff(span) = action
            && scope.is_of_route()
        {
            seen.slow_down = seen.slow_down.max(Some(span));
            seen.stop = seen.stop.max(retry_after);
            seen.whole_range |= scope == Scope::Range;
        }
    }
    seen
}

/// Whether a reply closes the connection: 421, RFC 5321 §3.8.
fn is_closing(text: &str) -> bool {
    text.starts_with("421")
}

/// Whether a deferral speaks of the route, its load or our pace, and not of one recipient, message, sender or tenant: a
/// quota of one sender's domain must not slow the others down.
fn is_of_the_route(cause: Cause, scope: Scope) -> bool {
    matches!(cause, Cause::RateLimited | Cause::TransientOther | Cause::Unknown | Cause::ProtocolOrConfig)
        && !matches!(scope, Scope::Recipient | Scope::Message | Scope::SenderDomain | Scope::Tenant)
}

/// Whether refusals of this recipient may still be held against a binding. Those of reports (null reverse path) never
/// are: strangers choose what they say and whom they go to, and what is true of the address shows on other mail too.
fn may_blame(entry: &Entry, answer: &Answered, binding: &BindingName) -> bool {
    if entry.reverse_path.is_none() {
        return false;
    }
    if answer.outcome.certain {
        return true;
    }
    entry.recipients.get(answer.recipient).is_none_or(|recipient| {
        let others = recipient.state.blamed.iter().filter(|name| *name != binding).count();
        others + 1 < BLAMED_BINDINGS_MAX
    })
}

/// Whether the receiver asks this address for less, and says no more than that.
fn is_wish_for_less(outcome: &Outcome) -> bool {
    outcome.cause == Some(Cause::RateLimited) && matches!(outcome.action, Action::BackOff(_))
}

/// Whether a refusal is about the EHLO name: the domain or the dialogue is at fault, and the binding for it.
fn is_about_the_name(outcome: &Outcome) -> bool {
    let of_a_name = matches!(outcome.cause, Some(Cause::SpamBlockDomain | Cause::ProtocolOrConfig));
    of_a_name && outcome.scope == Scope::Binding && outcome.disposition != Disposition::Delivered
}

fn named_itself(outcome: &Outcome, text: &str) -> AttemptResult {
    let its_own =
        Outcome { scope: Scope::SenderDomain, counts_against_ip: false, action: Action::None, ..outcome.clone() };
    result(&its_own, text, true, false)
}

fn result(outcome: &Outcome, text: &str, may_blame: bool, is_report: bool) -> AttemptResult {
    match outcome.cause {
        Some(cause) if outcome.disposition != Disposition::Delivered => AttemptResult::Refused {
            cause,
            scope: match outcome.scope {
                // A wish for less is heeded by the route that heard it, whosever fault it is.
                Scope::Binding | Scope::Range if !may_blame && !is_wish_for_less(outcome) => Scope::Tenant,
                scope => scope,
            },
            hard: outcome.hard && !is_report,
            counts_against_ip: may_blame && outcome.counts_against_ip,
            action: match outcome.action {
                // What blames the tenant anyway is no less true of the second binding.
                Action::HoldTenant(_) => outcome.action,
                _ if may_blame => outcome.action,
                // Nor is that the second one sends too much: it is not blamed, but goes slower.
                Action::BackOff(_) if is_wish_for_less(outcome) && !is_report => outcome.action,
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
    use super::*;
    use crate::clock::Wall;
    use crate::message::{EntryId, EntryState, Mailbox, MessageId, Recipient, RecipientState, Wishes};

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
            reverse_path: Some("news@acme.example".parse().expect("mailbox")),
            recipients: vec![Recipient {
                state,
                ..Recipient::from("a@example.org".parse::<Mailbox>().expect("mailbox"))
            }],
            arrived: Wall::from_millis(0),
            expires: Wall::from_millis(1),
            size: 1,
            eight_bit: false,
            wishes: Wishes::NONE,
            state: EntryState::default(),
        }
    }

    fn named(name: &str) -> Binding {
        Binding::clone(&crate::reputation::fixtures::config(&[name], &[]).bindings[0])
    }

    fn blaming() -> Answered {
        let outcome = Outcome {
            disposition: Disposition::Deferred,
            cause: Some(Cause::SpamBlockIp),
            scope: Scope::Binding,
            counts_against_ip: true,
            certain: false,
            hard: false,
            next_binding: NextBinding::Other,
            retry_after: None,
            action: Action::SuspendRoute(Duration::from_secs(3600)),
            rule: "test".into(),
        };
        Answered { recipient: 0, outcome, text: "550 blocked".into(), host: None }
    }

    fn seen(entry: &Entry, binding: &str) -> (Scope, bool, Action) {
        let all = evidence(entry, &[blaming()], &named(binding), &"gmail".into(), None);
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

    /// One answer, as an experience.
    fn learnt(text: &str, disposition: Disposition, cause: Option<Cause>, scope: Scope, blames: bool) -> Experience {
        let mut answer = blaming();
        (answer.outcome.disposition, answer.outcome.cause, answer.outcome.scope) = (disposition, cause, scope);
        (answer.outcome.counts_against_ip, answer.outcome.action) = (blames, Action::None);
        answer.text = text.into();
        let took = Some(Duration::from_millis(300));
        let seen = experience(&entry(&[]), &[answer], &"m1".into(), took);
        assert_eq!(seen.took, took);
        Experience { took: None, ..seen }
    }

    #[test]
    fn what_an_answer_teaches_about_the_route() {
        use Disposition::{Bounced, Deferred, Delivered};
        let none = Experience::default();
        let [accepted, blamed] = [Experience { accepted: 1, ..none }, Experience { blamed: 1, ..none }];
        let [deferred, other] = [Experience { deferred: 1, ..none }, Experience { other: 1, ..none }];
        let failed = Experience { failed: 1, ..none };
        let table = [
            ("250 2.0.0 ok", Delivered, None, Scope::Unknown, false, accepted),
            ("451 4.3.2 busy", Deferred, Some(Cause::TransientOther), Scope::Destination, false, deferred),
            ("450 4.7.1 too fast", Deferred, Some(Cause::RateLimited), Scope::Binding, false, deferred),
            // Closing the connection is a failure of it and nobody's fault, at any time and in any words …
            ("421 4.3.2 closing", Deferred, Some(Cause::TransientOther), Scope::Destination, false, failed),
            ("421 4.7.0 too many", Deferred, Some(Cause::RateLimited), Scope::Binding, false, failed),
            ("421 hm", Deferred, Some(Cause::Unknown), Scope::Unknown, false, failed),
            // … unless they blame the address, or speak of something else.
            ("421 4.7.28 your IP", Deferred, Some(Cause::RateLimited), Scope::Binding, true, blamed),
            ("421 4.7.1 greylisted", Deferred, Some(Cause::Greylisted), Scope::Binding, false, other),
            ("421 4.2.2 full", Deferred, Some(Cause::MailboxFull), Scope::Recipient, false, other),
            ("421 4.7.28 your domain", Deferred, Some(Cause::RateLimited), Scope::SenderDomain, false, other),
            (
                "450 4.2.1 too many for this recipient",
                Deferred,
                Some(Cause::RateLimited),
                Scope::Recipient,
                false,
                other,
            ),
            ("connect: refused", Deferred, Some(Cause::Network), Scope::Destination, false, failed),
            ("greeting: timed out", Deferred, Some(Cause::Network), Scope::Destination, false, failed),
            // What is about mail and people says nothing about the pace.
            ("450 4.2.0 greylisted", Deferred, Some(Cause::Greylisted), Scope::Binding, false, other),
            ("550 5.1.1 unknown", Bounced, Some(Cause::InvalidRecipient), Scope::Recipient, false, other),
            ("550 5.7.1 spam", Bounced, Some(Cause::SpamBlockContent), Scope::Message, false, other),
            ("451 4.7.1 hm", Deferred, Some(Cause::Unknown), Scope::Unknown, false, other),
            ("550 5.7.1 your IP", Bounced, Some(Cause::SpamBlockIp), Scope::Binding, true, blamed),
            // Our own trouble teaches nothing.
            ("disk full", Deferred, Some(Cause::Local), Scope::Us, false, none),
            ("bind: no such address", Deferred, Some(Cause::LocalAddress), Scope::Binding, false, none),
        ];
        for (text, disposition, cause, scope, blames, expected) in table {
            assert_eq!(learnt(text, disposition, cause, scope, blames), expected, "{text}");
        }
    }

    #[test]
    fn a_wish_for_less_is_the_longest_of_the_answers_and_may_be_meant_for_the_range() {
        let wish = |scope, span, retry_after| {
            let mut answer = blaming();
            (answer.outcome.scope, answer.outcome.action) = (scope, Action::BackOff(Duration::from_secs(span)));
            answer.outcome.retry_after = retry_after;
            answer
        };
        let minutes = |n: u64| Duration::from_secs(60 * n);
        let answers = [
            wish(Scope::Binding, 1_800, Some(minutes(10))),
            wish(Scope::Range, 900, None),
            wish(Scope::Tenant, 9_999, None),
        ];
        let seen = experience(&entry(&[]), &answers, &"m1".into(), None);
        assert_eq!((seen.slow_down, seen.stop, seen.whole_range), (Some(minutes(30)), Some(minutes(10)), true));
        let seen = experience(&entry(&[]), &answers[2..], &"m1".into(), None);
        assert_eq!((seen.slow_down, seen.whole_range), (None, false), "the tenant's affair");
    }

    #[test]
    fn what_is_certain_about_an_address_counts_against_each() {
        let mut answer = blaming();
        answer.outcome.certain = true;
        let all = evidence(&entry(&["m1", "m2"]), &[answer], &named("m3"), &"gmail".into(), None);
        assert!(
            matches!(
                &all[..],
                [Evidence::Attempt { result: AttemptResult::Refused { counts_against_ip: true, .. }, .. }]
            ),
            "{all:?}"
        );
    }

    #[test]
    fn a_network_that_is_blamed_is_told_to_its_neighbours_but_not_by_the_second_binding() {
        let mut answer = blaming();
        let of = |entry: &Entry, answer: &Answered, neighbours: &[BindingName]| {
            let told = of_range(entry, std::slice::from_ref(answer), &"m1".into(), &"gmail".into(), neighbours);
            told.map(|told| match told {
                Evidence::Range { bindings, text, .. } => (bindings, text),
                other => panic!("{other:?}"),
            })
        };
        let neighbours = ["m2".into(), "m3".into()];
        assert_eq!(of(&entry(&[]), &answer, &neighbours), None, "it blames the address only");
        answer.outcome.scope = Scope::Range;
        let text = "test at gmail, told to m1: 550 blocked".to_owned();
        assert_eq!(of(&entry(&[]), &answer, &neighbours), Some((neighbours.to_vec(), text)));
        assert_eq!(of(&entry(&["m9"]), &answer, &neighbours), None);
        assert_eq!(of(&entry(&[]), &answer, &[]), None);
    }

    #[test]
    fn an_answer_that_is_the_mails_fault_blames_and_moves_nothing() {
        let answer = of_the_mail(&blaming());
        let all = evidence(&entry(&[]), std::slice::from_ref(&answer), &named("m1"), &"gmail".into(), None);
        match &all[..] {
            [Evidence::Attempt { result: AttemptResult::Refused { scope, counts_against_ip, action, .. }, .. }] => {
                assert_eq!((*scope, *counts_against_ip, *action), (Scope::Tenant, false, Action::None));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(experience(&entry(&[]), &[answer], &"m1".into(), None).blamed, 0);
    }

    #[test]
    fn where_the_message_chose_the_ehlo_name_its_refusal_is_no_fault_of_the_binding() {
        let (fix, suspend) =
            (Action::FixBinding(Duration::from_secs(3600)), Action::SuspendRoute(Duration::from_secs(3600)));
        let own = (Scope::SenderDomain, false, Action::None);
        // (EHLO name, cause, action, blamed)
        let table = [
            (EhloName::Message, Cause::SpamBlockDomain, suspend, own),
            (EhloName::Message, Cause::ProtocolOrConfig, fix, own),
            (EhloName::Hostname, Cause::ProtocolOrConfig, fix, (Scope::Binding, true, fix)),
            // The address and its PTR are ours under any name.
            (EhloName::Message, Cause::SpamBlockIp, suspend, (Scope::Binding, true, suspend)),
            (EhloName::Message, Cause::PolicyAuth, fix, (Scope::Binding, true, fix)),
        ];
        for (ehlo, cause, action, expected) in table {
            let mut binding = named("m1");
            binding.ehlo_hostname = ehlo.clone();
            let mut answer = blaming();
            (answer.outcome.cause, answer.outcome.action) = (Some(cause), action);
            let all = evidence(&entry(&[]), &[answer], &binding, &"gmail".into(), None);
            let [Evidence::Attempt { result: AttemptResult::Refused { scope, counts_against_ip, action, .. }, .. }] =
                &all[..]
            else {
                panic!("{all:?}")
            };
            assert_eq!((*scope, *counts_against_ip, *action), expected, "{ehlo:?} {cause:?}");
        }
    }

    #[test]
    fn what_is_said_of_a_report_is_held_against_no_binding() {
        let mut report = entry(&[]);
        report.reverse_path = None;
        assert_eq!(seen(&report, "m1"), (Scope::Tenant, false, Action::None));
        let mut unknown = blaming();
        unknown.outcome = Outcome {
            disposition: Disposition::Bounced,
            cause: Some(Cause::InvalidRecipient),
            scope: Scope::Recipient,
            counts_against_ip: false,
            hard: true,
            ..unknown.outcome
        };
        let all = evidence(&report, &[unknown], &named("m1"), &"gmail".into(), None);
        assert!(
            matches!(&all[..], [Evidence::Attempt { result: AttemptResult::Refused { hard: false, .. }, .. }]),
            "{all:?}"
        );
    }

    #[test]
    fn what_blames_the_tenant_is_said_of_a_second_binding_too() {
        let hold = Action::HoldTenant(Duration::from_secs(3600));
        let mut answer = blaming();
        (answer.outcome.scope, answer.outcome.counts_against_ip) = (Scope::SenderDomain, false);
        answer.outcome.action = hold;
        let all = evidence(&entry(&["m1"]), &[answer], &named("m2"), &"gmail".into(), None);
        match &all[..] {
            [Evidence::Attempt { result: AttemptResult::Refused { scope, action, .. }, .. }] => {
                assert_eq!((*scope, *action), (Scope::SenderDomain, hold));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_wish_for_less_on_two_bindings_at_once_slows_both_down_and_stops_no_mail() {
        use crate::reputation::fixtures::config;
        use crate::reputation::{Health, Refusal, Reputation, Subject};

        let (now, span) = (Wall::from_millis(1_800_000_000_000), Duration::from_secs(1800));
        let mut wish = blaming();
        (wish.outcome.cause, wish.outcome.action) = (Some(Cause::RateLimited), Action::BackOff(span));
        wish.text = "421 4.7.28 unusual rate of mail originating from your IP address".into();
        // (answer, throttled, held)
        for (answer, throttled, held) in [(wish, true, 0), (blaming(), false, 1)] {
            // One message that moves; two messages of one campaign.
            for moved in [&["m1"][..], &[]] {
                let mut r = Reputation::new(&config(&["m1", "m2"], &[("p", &["m1", "m2"])]), now);
                for (name, tried) in [("m1", &[][..]), ("m2", moved)] {
                    let (entry, binding, to) = (entry(tried), named(name), "gmail".into());
                    let mut heard = answer.clone();
                    if is_to_be_judged(&entry, &heard, &binding) {
                        let from = entry.reverse_path.as_ref().map(|from| from.domain());
                        let mail = crate::reputation::holds::Mail {
                            tenant: &entry.tenant,
                            stream: Some(&entry.stream),
                            sender_domain: from.as_ref(),
                            destination: &to,
                            message: entry.message,
                        };
                        let Outcome { cause, certain, ref rule, .. } = heard.outcome;
                        let cause = cause.expect("a cause");
                        let (binding, text) = (&binding.name, &*heard.text);
                        let refusal = Refusal { mail, binding, range: &[], cause, certain, rule, text };
                        if r.whose(&refusal, now) == crate::reputation::Whose::Mail {
                            heard = of_the_mail(&answer);
                        }
                    }
                    for seen in evidence(&entry, &[heard], &binding, &to, None) {
                        r.observe(&seen, now);
                    }
                }
                let slowed = ["m1", "m2"].map(|name| {
                    let health = r.health(&Subject::Route(name.into(), "gmail".into()));
                    matches!(health, Health::Throttled { .. })
                });
                assert_eq!((slowed, r.holds().all(now).count()), ([throttled; 2], held), "{moved:?}: {}", answer.text);
            }
        }
    }
}
