//! What the service manager is told (sd_notify(3)): ready, reloading, stopping, how it goes, and that the loop still turns.
//!
//! Without `NOTIFY_SOCKET` nothing is told to anybody. A manager that does not listen is no reason for anything.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::queue::dispatcher::Dispatcher;

/// Characters of a line of status.
const STATUS_MAX: usize = 300;
/// How often the loop is looked at that was asked to turn.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Mail can be taken.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(&line(status))]);
}

/// The configuration is being read; [`ready`] follows, also where it is refused. The manager wants the moment to tell this
/// from an older word (`Type=notify-reload`).
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now, NotifyState::Status("reading the configuration")]),
        Err(error) => tracing::debug!(%error, "no monotonic time; the service manager is not told of a reload"),
    }
}

/// No new mail; what is on the wire may finish.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping: waiting for what is on the wire")]);
}

/// Tells that the loop turns, where the manager wants to know (`WatchdogSec=`), three times in the span that it gives. The loop
/// may sleep for long where nothing is due: it is woken, and has to turn.
pub(super) async fn watchdog(dispatcher: Arc<Dispatcher>) {
    let Some(span) = sd_notify::watchdog_enabled().filter(|span| !span.is_zero()) else { return };
    loop {
        tokio::time::sleep(span / 3).await;
        let before = dispatcher.heartbeat();
        while dispatcher.heartbeat() == before {
            dispatcher.nudge();
            tokio::time::sleep(LOOK_AGAIN.min(span / 6)).await;
        }
        tell(&[NotifyState::Watchdog]);
    }
}

/// On one line: the next would be another word to the manager.
fn line(status: &str) -> String {
    let plain = status.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(STATUS_MAX).collect()
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager was not told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line() {
        assert_eq!(line("a\nREADY=1\r\u{1b}[2J"), "a READY=1  [2J");
        assert_eq!(line(&"x".repeat(1000)).len(), STATUS_MAX);
    }
}
