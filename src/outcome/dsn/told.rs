//! Who is told of what (NOTIFY, RFC 3461 §4.1, §5.2).
//!
//! What was not asked means: of failures, and of delays as the relay sees fit. `NEVER` means never. Success is nobody's to
//! report here but the final host's; where the next host does not take over the duty (it lacks DSN), a sender that asked
//! for success is told that the mail was passed on, and that nothing more will be heard of it (§5.2.2).

use std::time::Duration;

use super::Action;
use crate::clock::Wall;
use crate::config::Queue;
use crate::message::{Entry, RecipientWishes};

/// Whether the sender of a recipient with these wishes is told of this.
pub fn is_told(wishes: &RecipientWishes, action: Action) -> bool {
    match (wishes.notify, action) {
        (None, Action::Failed | Action::Delayed) => true,
        (None, Action::Relayed) => false,
        (Some(notify), Action::Failed) => notify.failure,
        (Some(notify), Action::Delayed) => notify.delay,
        (Some(notify), Action::Relayed) => notify.success,
    }
}

/// Whether somebody is to be told that the mail was passed on, where the host took it without the duty to report.
pub fn relays_to_tell(wishes: &RecipientWishes, dsn_passed: bool) -> bool {
    !dsn_passed && is_told(wishes, Action::Relayed)
}

/// When the sender is to be told next that the entry still waits; `None` where never. Those who asked for it are told also
/// where the operator names no time.
pub fn next_delay_report(entry: &Entry, steps: &[Duration]) -> Option<Wall> {
    entry.reverse_path.as_ref()?;
    let has_asked = |wishes: &RecipientWishes| wishes.notify.is_some_and(|notify| notify.delay);
    let steps: &[Duration] = match steps.is_empty() {
        false if entry.recipients.iter().any(|one| is_told(&one.wishes, Action::Delayed)) => steps,
        true if entry.recipients.iter().any(|one| has_asked(&one.wishes)) => &[Queue::DELAY_ASKED],
        _ => return None,
    };
    let after = steps.get(usize::from(entry.state.delay_reports))?;
    Some(entry.arrived.plus(*after)).filter(|at| *at < entry.expires)
}

/// How many of `steps` have passed: what [`crate::message::EntryState::delay_reports`] is after the sender was told now.
/// Several that were missed are told of at once.
pub fn due_delay_reports(entry: &Entry, steps: &[Duration], now: Wall) -> u8 {
    let passed = steps.iter().take_while(|after| entry.arrived.plus(**after) <= now).count();
    u8::try_from(passed).unwrap_or(u8::MAX).max(entry.state.delay_reports)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::wishes::Notify;
    use crate::message::{EntryId, EntryState, Mailbox, MessageId, Recipient, Wishes};

    fn wishes(notify: &str) -> RecipientWishes {
        let notify: Option<Notify> = (!notify.is_empty()).then(|| notify.parse().expect("NOTIFY"));
        RecipientWishes { notify, original: None }
    }

    #[test]
    fn notify_says_who_is_told() {
        for (notify, told) in [
            ("", [true, true, false]),
            ("NEVER", [false, false, false]),
            ("SUCCESS", [false, false, true]),
            ("FAILURE", [true, false, false]),
            ("DELAY", [false, true, false]),
            ("SUCCESS,FAILURE,DELAY", [true, true, true]),
        ] {
            let wishes = wishes(notify);
            let found = [Action::Failed, Action::Delayed, Action::Relayed].map(|action| is_told(&wishes, action));
            assert_eq!(found, told, "{notify}");
            assert!(!relays_to_tell(&wishes, true), "the host that took it over reports");
        }
    }

    #[test]
    fn a_delay_is_told_once_for_each_step_and_only_to_whom_it_concerns() {
        let address: Mailbox = "a@example.org".parse().expect("address");
        let entry = |sender: Option<&str>, notify: &str, told: u8| Entry {
            id: EntryId(1),
            message: MessageId(1),
            tenant: "acme".into(),
            stream: "default".into(),
            pool: "main".into(),
            domain: address.domain(),
            reverse_path: sender.map(|sender| sender.parse().expect("address")),
            recipients: vec![Recipient { wishes: wishes(notify), ..address.clone().into() }],
            arrived: Wall::from_millis(0),
            expires: Wall::from_millis(48 * 3_600_000),
            size: 1,
            eight_bit: false,
            wishes: Wishes::NONE,
            state: EntryState { delay_reports: told, ..EntryState::default() },
        };
        let policy = |hours: &[u64]| hours.iter().map(|hours| Duration::from_secs(hours * 3600)).collect::<Vec<_>>();
        for (steps, sender, notify, told, hours) in [
            (&[4, 24, 72][..], Some("s@example.net"), "", 0, Some(4)),
            (&[4, 24, 72], Some("s@example.net"), "", 1, Some(24)),
            // Past its end.
            (&[4, 24, 72], Some("s@example.net"), "", 2, None),
            (&[4], Some("s@example.net"), "", 1, None),
            (&[4], None, "", 0, None),
            (&[4], Some("s@example.net"), "FAILURE", 0, None),
            (&[4], Some("s@example.net"), "NEVER", 0, None),
            (&[1], Some("s@example.net"), "DELAY", 0, Some(1)),
            (&[], Some("s@example.net"), "", 0, None),
            (&[], Some("s@example.net"), "DELAY", 0, Some(4)),
            (&[], Some("s@example.net"), "DELAY", 1, None),
        ] {
            let next = next_delay_report(&entry(sender, notify, told), &policy(steps));
            assert_eq!(next, hours.map(|hours| Wall::from_millis(hours * 3_600_000)), "{steps:?} {notify} {told}");
        }
        let late = entry(Some("s@example.net"), "", 0);
        for (hours, told) in [(3, 0), (4, 1), (23, 1), (90, 3)] {
            assert_eq!(due_delay_reports(&late, &policy(&[4, 24, 72]), Wall::from_millis(hours * 3_600_000)), told);
        }
    }
}
