//! The life of one entry: what the answers of an attempt make of it. Pure.
//!
//! Each waiting recipient ends delivered, bounced or expired, once; until then it is deferred. The rules that protect
//! recipients and bindings meet here:
//!
//! - A refusal that blames our IP never bounces the recipient; it sends the entry to another binding at once, and where it
//!   blames the network, to one of another network.
//! - The second binding refused for the same entry stops that: from then on the refusals are the tenant's or the
//!   content's problem. The entry waits like after any deferral, and the binding is not blamed. Moving blocked mail over
//!   one fresh IP after the other reads as snowshoe spam and burns them all. (Mail that is at fault as a kind does not come
//!   so far: [`super::blame::of_the_mail`].)
//! - Trouble of our own (source address not bindable, stop of the program) counts no attempt.

use std::time::Duration;

use smallvec::SmallVec;

use crate::clock::Wall;
use crate::config;
use crate::message::{BindingName, Entry, Mailbox, RecipientWishes};
use crate::outcome::{Cause, Disposition, NextBinding, Outcome, Scope};
use crate::scheduler::retry::Backoff;

/// Distinct bindings refused for one recipient after which its refusals no longer blame bindings.
pub const BLAMED_BINDINGS_MAX: usize = 2;

/// How long a binding that was blamed is avoided for the same entry.
const EXCLUDE_FOR: Duration = Duration::from_secs(3600);
/// Bindings that one entry avoids: a pool may have more in one range than are worth writing down with each message.
const EXCLUDED_MAX: usize = 256;
/// How long a binding whose address could not be bound is avoided for the same entry.
const EXCLUDE_UNBINDABLE_FOR: Duration = Duration::from_secs(60);

/// What was answered for one recipient of the entry.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Position in `entry.recipients` when the attempt began.
    pub recipient: usize,
    /// What it means.
    pub outcome: Outcome,
    /// The reply or failure as text, for log, queue and DSN.
    pub text: String,
    /// The host that gave it.
    pub host: Option<String>,
}

/// A recipient whose fate is decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// Who.
    pub address: Mailbox,
    /// What the client asked for with RCPT.
    pub wishes: RecipientWishes,
    /// Delivered, bounced or expired.
    pub disposition: Disposition,
    /// The reply or failure as text.
    pub text: Option<String>,
    /// The host that gave it.
    pub host: Option<String>,
    /// The operator ended it, for this reason; it was not refused.
    pub returned: Option<String>,
}

/// What became of an entry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settled {
    /// Recipients that are done, in the order of the entry.
    pub decided: Vec<Decided>,
    /// Whether any recipient still waits. If not, the entry is to be removed.
    pub waits: bool,
    /// The host took the duty to report on those delivered (RFC 3461 §5.2.2).
    pub dsn_passed: bool,
}

impl Settled {
    /// Those it did not reach; to be reported to the sender unless that was not wanted.
    pub fn failed(&self) -> impl Iterator<Item = &Decided> {
        self.decided.iter().filter(|d| d.disposition != Disposition::Delivered)
    }
}

/// Applies the answers of one attempt over `binding` to `entry`. Recipients without an answer (the lease was for fewer)
/// stay as they are. `neighbours` are the pool's other bindings in the same range. `unit_random` in 0..1 spreads the wait.
pub fn settle(
    entry: &mut Entry,
    answers: &[Answered],
    binding: &BindingName,
    neighbours: &[BindingName],
    policy: &config::Queue,
    unit_random: f64,
    now: Wall,
) -> Settled {
    let ours = |a: &Answered| matches!(a.outcome.cause, Some(Cause::LocalAddress | Cause::Local));
    let counted = answers.iter().any(|a| !ours(a));
    if counted {
        entry.state.attempts = entry.state.attempts.saturating_add(1);
    }

    let mut settled = Settled::default();
    let mut wish = Wish::default();
    for answer in answers {
        let Some(recipient) = entry.recipients.get_mut(answer.recipient) else { continue };
        match answer.outcome.disposition {
            Disposition::Deferred => {
                recipient.state.last_reply = Some(answer.text.clone());
                recipient.state.last_host.clone_from(&answer.host);
                let blames = answer.outcome.counts_against_ip;
                if blames && !recipient.state.blamed.contains(binding) {
                    recipient.state.blamed.push(binding.clone());
                }
                wish.take(&answer.outcome, ours(answer));
            }
            disposition => settled.decided.push(Decided {
                address: recipient.address.clone(),
                wishes: recipient.wishes.clone(),
                disposition,
                text: Some(answer.text.clone()),
                host: answer.host.clone(),
                returned: None,
            }),
        }
    }
    // Where leases are for fewer than all, each recipient may have met one binding only, and the message several.
    wish.stops = met(entry) >= BLAMED_BINDINGS_MAX;
    remove_decided(entry, answers);
    let span = match wish {
        Wish { unbindable: true, .. } => Some(EXCLUDE_UNBINDABLE_FOR),
        Wish { blamed: true, .. } => Some(EXCLUDE_FOR),
        _ => None,
    };
    entry.state.excluded.retain(|(_, until)| *until > now);
    if let Some(until) = span.map(|span| now.plus(span)) {
        exclude(entry, std::slice::from_ref(binding), until);
        if wish.range {
            exclude(entry, neighbours, until);
        }
    }
    apply_wish(entry, wish, binding, policy, unit_random, now);
    if now >= entry.expires {
        settled.decided.extend(expire(entry));
    }
    settled.waits = !entry.recipients.is_empty();
    settled
}

/// Ends the lifetime of an entry: everyone who waits is given up.
pub fn expire(entry: &mut Entry) -> Vec<Decided> {
    let give_up = |recipient: crate::message::Recipient| Decided {
        address: recipient.address,
        wishes: recipient.wishes,
        disposition: Disposition::Expired,
        text: recipient.state.last_reply,
        host: recipient.state.last_host,
        returned: None,
    };
    entry.recipients.drain(..).map(give_up).collect()
}

/// Puts the recipients that failed back among the waiting, because the report about them could not be written. They
/// are due again after `retry_first`, also past the entry's lifetime: giving up without a report is no way out.
pub fn take_back_failed(before: &Entry, entry: &mut Entry, settled: &mut Settled, policy: &config::Queue, now: Wall) {
    let (failed, rest): (Vec<_>, Vec<_>) =
        settled.decided.drain(..).partition(|d| d.disposition != Disposition::Delivered);
    for decided in failed {
        let known = before.recipients.iter().find(|r| r.address == decided.address);
        let mut again = known.cloned().unwrap_or_else(|| decided.address.into());
        again.state.last_reply = decided.text;
        again.state.last_host = decided.host;
        entry.recipients.push(again);
    }
    settled.decided = rest;
    settled.waits = true;
    entry.state.next_at = now.plus(policy.retry_first);
    entry.expires = entry.expires.max(entry.state.next_at);
}

/// What the deferred recipients together ask for.
#[derive(Default)]
struct Wish {
    deferred: bool,
    other_binding: bool,
    unbindable: bool,
    any_binding: bool,
    /// Some of them blame the binding.
    blamed: bool,
    /// And its network.
    range: bool,
    stops: bool,
    ours_only: Option<bool>,
    after: Option<Duration>,
}

impl Wish {
    fn take(&mut self, outcome: &Outcome, ours: bool) {
        self.deferred = true;
        self.unbindable |= outcome.cause == Some(Cause::LocalAddress);
        self.ours_only = Some(self.ours_only.unwrap_or(true) && ours);
        match outcome.next_binding {
            NextBinding::Other => {
                self.other_binding = true;
                self.blamed |= !ours;
                self.range |= outcome.scope == Scope::Range;
            }
            NextBinding::Any => self.any_binding = true,
            NextBinding::Prefer => {}
        }
        self.after = self.after.max(outcome.retry_after);
    }
}

/// Distinct bindings that any recipient of the entry was refused over.
fn met(entry: &Entry) -> usize {
    let mut met: SmallVec<[&BindingName; BLAMED_BINDINGS_MAX]> = SmallVec::new();
    for binding in entry.recipients.iter().flat_map(|recipient| &recipient.state.blamed) {
        if !met.contains(&binding) {
            met.push(binding);
        }
    }
    met.len()
}

/// Takes the decided off; those deferred go behind the ones this attempt was too small for, so that nobody starves.
fn remove_decided(entry: &mut Entry, answers: &[Answered]) {
    let mut deferred = Vec::new();
    let mut untried = Vec::new();
    for (position, recipient) in entry.recipients.drain(..).enumerate() {
        match answers.iter().find(|a| a.recipient == position) {
            None => untried.push(recipient),
            Some(a) if a.outcome.disposition == Disposition::Deferred => deferred.push(recipient),
            Some(_) => {}
        }
    }
    untried.append(&mut deferred);
    entry.recipients = untried;
}

fn exclude(entry: &mut Entry, bindings: &[BindingName], until: Wall) {
    for binding in bindings {
        entry.state.excluded.retain(|(name, _)| name != binding);
        if entry.state.excluded.len() < EXCLUDED_MAX {
            entry.state.excluded.push((binding.clone(), until));
        }
    }
}

fn apply_wish(
    entry: &mut Entry,
    wish: Wish,
    binding: &BindingName,
    policy: &config::Queue,
    unit_random: f64,
    now: Wall,
) {
    let state = &mut entry.state;
    if !wish.deferred {
        // Whoever is left was not part of this attempt and is due at once.
        state.next_at = now;
        return;
    }
    if wish.unbindable || (wish.other_binding && !wish.stops) {
        state.sticky = None;
        state.next_at = now;
        return;
    }
    if wish.ours_only == Some(true) {
        state.next_at = now.plus(Duration::from_secs(1));
        return;
    }
    let tries_left = match &state.sticky {
        Some((name, left)) if name == binding => left.saturating_sub(1),
        _ => policy.sticky_tries,
    };
    state.sticky = (tries_left > 0 && !wish.any_binding && !wish.blamed).then(|| (binding.clone(), tries_left));
    let wait = Backoff::new(policy).wait(state.attempts, unit_random).max(wish.after.unwrap_or_default());
    state.next_at = now.plus(wait).min(entry.expires);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{EntryId, EntryState, MessageId, Recipient, Wishes};
    use crate::outcome::Action;

    fn policy() -> config::Queue {
        config::Queue {
            retry_first: Duration::from_secs(300),
            retry_factor: 2.0,
            retry_max: Duration::from_secs(4 * 3600),
            retry_jitter: 0.0,
            lifetime: Duration::from_secs(5 * 86_400),
            bounce_lifetime: Duration::from_secs(86_400),
            sticky_tries: 3,
            max_attempts_in_flight: 100,
            delay_warning: Vec::new(),
        }
    }

    fn entry(recipients: &[&str]) -> Entry {
        Entry {
            id: EntryId(1),
            message: MessageId(1),
            tenant: "acme".into(),
            stream: "default".into(),
            pool: "main".into(),
            domain: "example.org".parse().expect("domain"),
            reverse_path: Some("s@example.com".parse().expect("mailbox")),
            recipients: recipients.iter().map(|r| Recipient::from(r.parse::<Mailbox>().expect("mailbox"))).collect(),
            arrived: Wall::from_millis(0),
            expires: Wall::from_millis(5 * 86_400_000),
            size: 10,
            eight_bit: false,
            wishes: Wishes::NONE,
            state: EntryState::default(),
        }
    }

    fn outcome(disposition: Disposition) -> Outcome {
        Outcome {
            disposition,
            cause: (disposition != Disposition::Delivered).then_some(Cause::TransientOther),
            scope: Scope::Destination,
            counts_against_ip: false,
            certain: false,
            hard: false,
            next_binding: NextBinding::Prefer,
            retry_after: None,
            action: Action::None,
            rule: "test".into(),
        }
    }

    fn blaming() -> Outcome {
        Outcome {
            cause: Some(Cause::SpamBlockIp),
            scope: Scope::Binding,
            counts_against_ip: true,
            next_binding: NextBinding::Other,
            ..outcome(Disposition::Deferred)
        }
    }

    fn answered(recipient: usize, outcome: Outcome) -> Answered {
        Answered { recipient, outcome, text: "550 x".into(), host: None }
    }

    #[test]
    fn delivered_and_bounced_recipients_leave_the_entry_deferred_ones_stay() {
        let mut e = entry(&["a@example.org", "b@example.org", "c@example.org"]);
        let answers = [
            answered(0, outcome(Disposition::Delivered)),
            answered(1, outcome(Disposition::Deferred)),
            answered(2, outcome(Disposition::Bounced)),
        ];
        let settled = settle(&mut e, &answers, &"m1".into(), &[], &policy(), 0.5, Wall::from_millis(1000));
        assert!(settled.waits);
        assert_eq!(settled.decided.len(), 2);
        assert_eq!(settled.failed().count(), 1);
        assert_eq!(e.recipients.len(), 1);
        assert_eq!(e.recipients[0].address.as_str(), "b@example.org");
        assert_eq!(e.state.attempts, 1);
        assert_eq!(e.state.next_at, Wall::from_millis(301_000));
        assert_eq!(e.state.sticky, Some(("m1".into(), 3)));
    }

    #[test]
    fn a_refusal_that_blames_the_ip_moves_to_another_binding_at_once() {
        let mut e = entry(&["a@example.org"]);
        let now = Wall::from_millis(5000);
        settle(&mut e, &[answered(0, blaming())], &"m1".into(), &[], &policy(), 0.5, now);
        assert_eq!(e.state.next_at, now);
        assert_eq!(e.state.excluded[0].0, "m1".into());
    }

    #[test]
    fn the_second_binding_refused_for_the_same_mail_stops_the_moving() {
        let mut e = entry(&["a@example.org"]);
        let now = Wall::from_millis(5000);
        settle(&mut e, &[answered(0, blaming())], &"m1".into(), &[], &policy(), 0.5, now);
        settle(&mut e, &[answered(0, blaming())], &"m2".into(), &[], &policy(), 0.5, now);
        assert!(e.state.next_at > now, "waits like after any deferral");
        assert_eq!(e.recipients.len(), 1, "and is not bounced");
    }

    #[test]
    fn a_message_whose_recipients_meet_one_binding_each_stops_moving_all_the_same() {
        let mut e = entry(&["a@example.org", "b@example.org", "c@example.org"]);
        let now = Wall::from_millis(5000);
        settle(&mut e, &[answered(0, blaming())], &"m1".into(), &[], &policy(), 0.5, now);
        assert_eq!(e.state.next_at, now, "the lease was for one, and the others are tried over another binding");
        settle(&mut e, &[answered(0, blaming())], &"m2".into(), &[], &policy(), 0.5, now);
        assert!(e.state.next_at > now, "the second binding ends it");
        assert!(e.recipients.iter().all(|recipient| recipient.state.blamed.len() <= 1));
    }

    #[test]
    fn trouble_of_our_own_costs_no_attempt() {
        for cause in [Cause::LocalAddress, Cause::Local] {
            let mut e = entry(&["a@example.org"]);
            let mut o = outcome(Disposition::Deferred);
            o.cause = Some(cause);
            settle(&mut e, &[answered(0, o)], &"m1".into(), &[], &policy(), 0.5, Wall::from_millis(0));
            assert_eq!(e.state.attempts, 0, "{cause:?}");
            assert!(e.state.next_at <= Wall::from_millis(1000));
        }
    }

    #[test]
    fn stickiness_lasts_the_configured_number_of_tries() {
        let mut e = entry(&["a@example.org"]);
        let mut kept = 0;
        for _ in 0..6 {
            settle(
                &mut e,
                &[answered(0, outcome(Disposition::Deferred))],
                &"m1".into(),
                &[],
                &policy(),
                0.5,
                Wall::from_millis(0),
            );
            kept += usize::from(e.state.sticky.is_some());
            if e.state.sticky.is_none() {
                break;
            }
        }
        assert_eq!(kept, 3);
    }

    #[test]
    fn what_is_deferred_past_its_lifetime_expires_with_its_last_reply() {
        let mut e = entry(&["a@example.org"]);
        let now = e.expires;
        let settled =
            settle(&mut e, &[answered(0, outcome(Disposition::Deferred))], &"m1".into(), &[], &policy(), 0.5, now);
        assert!(!settled.waits);
        assert_eq!(settled.decided[0].disposition, Disposition::Expired);
        assert_eq!(settled.decided[0].text.as_deref(), Some("550 x"));
    }

    #[test]
    fn recipients_outside_the_lease_are_due_at_once() {
        let mut e = entry(&["a@example.org", "b@example.org"]);
        let now = Wall::from_millis(7);
        let settled =
            settle(&mut e, &[answered(0, outcome(Disposition::Delivered))], &"m1".into(), &[], &policy(), 0.5, now);
        assert!(settled.waits);
        assert_eq!((e.recipients.len(), e.state.next_at), (1, now));
    }
}
