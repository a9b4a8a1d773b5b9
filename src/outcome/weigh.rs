//! What a rule makes of a reply, together with what holds for all rules.
//!
//! Cause, scope and code have consequences that no rule should have to repeat: a refusal that blames our IP never
//! bounces, what clears with time is tried again although its code says 5xx, and before MAIL FROM nobody's address can be
//! at fault. Each consequence is noted in words as it is drawn, so that `remuda classify --explain` tells what was done
//! and not what somebody once wrote about it.

use std::sync::Arc;

use super::classify::SetAside;
use super::rules::Rule;
use super::text::wished_delay;
use super::{Action, Cause, Disposition, NextBinding, Outcome, Reply, Scope, Stage};

/// What is known of the reply besides the rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard<'a> {
    pub(super) reply: &'a Reply,
    pub(super) stage: Stage,
    /// The rule blames an IP, but another's.
    pub(super) set_aside: Option<SetAside>,
}

/// Judges; every consequence that the rule itself does not spell out goes to `note`.
pub(super) fn weigh(rule: &Rule, id: &Arc<str>, heard: Heard<'_>, note: &mut dyn FnMut(&'static str)) -> Outcome {
    let early = matches!(heard.stage, Stage::Connect | Stage::Banner | Stage::Ehlo | Stage::Tls);
    let (scope, action) = blame(rule, early, heard.set_aside, note);
    let counts_against_ip = rule.counts_against_ip && heard.set_aside.is_none();
    let certain = counts_against_ip && is_certain(rule, early, note);
    // Whose address it is may be told wrongly: then another try costs little, and a bounce the mail.
    let anothers = rule.counts_against_ip && matches!(heard.set_aside, Some(SetAside::Another(_)));
    let disposition = match disposition(rule, heard.reply.code, early, counts_against_ip, action, note) {
        Disposition::Bounced if anothers => {
            note("and yet it is tried again: the address named may be one of ours that we do not know of");
            Disposition::Deferred
        }
        disposition => disposition,
    };
    let waits = disposition == Disposition::Deferred;
    let bad_address = match rule.cause {
        Cause::InvalidRecipient | Cause::InactiveMailbox => true,
        Cause::DnsOrRouting => scope == Scope::Recipient,
        _ => false,
    };
    let hard = !waits && rule.hard.unwrap_or(bad_address);
    if hard {
        note("the address will not take mail from anybody soon: hard");
    }
    let next_binding = next_binding(rule, scope, counts_against_ip, action, heard.set_aside.is_some());
    Outcome {
        disposition,
        cause: Some(rule.cause),
        scope,
        counts_against_ip,
        certain,
        hard,
        next_binding,
        retry_after: if waits { retry_after(rule, action, &heard.reply.text, note) } else { None },
        action,
        rule: Arc::clone(id),
    }
}

/// Whose fault it is in this place of the dialogue, and what of the rule's action is left then.
fn blame(rule: &Rule, early: bool, set_aside: Option<SetAside>, note: &mut dyn FnMut(&'static str)) -> (Scope, Action) {
    match set_aside {
        Some(SetAside::Quoted(_)) => note(
            "the blame stands in a reply that this one quotes: another hop's IP was refused, so nothing is held \
             against the binding (scope destination, no action)",
        ),
        Some(SetAside::Another(_)) => note(
            "the text names addresses, and none of them is ours: another hop's IP was refused, so nothing is held \
             against the binding (scope destination, no action)",
        ),
        None => {}
    }
    if set_aside.is_some() {
        return (Scope::Destination, Action::None);
    }
    match rule.scope {
        Scope::Recipient | Scope::Message | Scope::SenderDomain | Scope::Tenant if early => {
            note(
                "before MAIL FROM the receiver knows neither sender nor recipient nor message: it means the client, \
                 or itself (scope destination)",
            );
            let action = match rule.action {
                Action::HoldTenant(_) | Action::HoldContent(_) => Action::None,
                action => action,
            };
            (Scope::Destination, action)
        }
        scope => (scope, rule.action),
    }
}

/// Whether it is this address that is refused, whatever mail it brings.
fn is_certain(rule: &Rule, early: bool, note: &mut dyn FnMut(&'static str)) -> bool {
    let by_rule = rule.certain.unwrap_or(matches!(rule.action, Action::FixBinding(_)));
    if by_rule {
        note("the text leaves no doubt that it is the address, whatever the mail: certain");
    } else if early {
        note(
            "before MAIL FROM the receiver knows nothing of the mail: it refuses the address, whatever the mail (certain)",
        );
    }
    by_rule || early
}

fn disposition(
    rule: &Rule,
    code: u16,
    early: bool,
    counts: bool,
    action: Action,
    note: &mut dyn FnMut(&'static str),
) -> Disposition {
    let clears = matches!(rule.cause, Cause::MailboxFull | Cause::RateLimited | Cause::Greylisted);
    let (disposition, why) = if code < 500 {
        if rule.disposition != Some(Disposition::Bounced) || counts || early {
            return Disposition::Deferred;
        }
        (Disposition::Bounced, "the rule says itself that this 4xx never clears")
    } else if counts {
        (
            Disposition::Deferred,
            "a 5xx that blames the IP defers: the mail is not at fault, another binding may deliver it",
        )
    } else if matches!(action, Action::FixBinding(_)) {
        (Disposition::Deferred, "a 5xx that blames the set-up of the binding defers: another binding may deliver it")
    } else if early {
        (Disposition::Deferred, "a 5xx before MAIL FROM defers: no recipient was refused")
    } else if let Some(disposition) = rule.disposition {
        (disposition, "the rule says itself what becomes of the recipient")
    } else if clears {
        (Disposition::Deferred, "full mailboxes, rate limits and greylisting clear with time: tried again although 5xx")
    } else {
        (Disposition::Bounced, "5xx: refused for good")
    };
    note(why);
    disposition
}

fn next_binding(rule: &Rule, scope: Scope, counts: bool, action: Action, set_aside: bool) -> NextBinding {
    let rules_own = rule.next_binding.filter(|_| !set_aside);
    match (rule.cause, scope) {
        _ if matches!(action, Action::HoldContent(_)) => NextBinding::Prefer,
        _ if rules_own.is_some() => rules_own.unwrap_or_default(),
        _ if counts || matches!(action, Action::FixBinding(_)) => NextBinding::Other,
        (Cause::Greylisted, _) => NextBinding::Prefer,
        (_, Scope::Binding | Scope::Range) => NextBinding::Any,
        _ => NextBinding::Prefer,
    }
}

fn retry_after(
    rule: &Rule,
    action: Action,
    text: &str,
    note: &mut dyn FnMut(&'static str),
) -> Option<std::time::Duration> {
    let worth = matches!(rule.cause, Cause::Greylisted | Cause::RateLimited | Cause::TransientOther);
    let wish = if worth { wished_delay(text) } else { None };
    if wish.is_some() {
        note("the receiver says how long to wait, and is taken at its word");
    }
    let wait = wish.or(rule.retry_after);
    match action {
        Action::HoldContent(length) => {
            note("neither another binding nor an early retry helps this message: it waits where it is");
            Some(wait.map_or(length, |wait| wait.max(length)))
        }
        _ => wait,
    }
}
