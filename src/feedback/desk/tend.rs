//! Forgets what nobody will ask for any more: facts about messages that no report is accepted about.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Desk;
use crate::clock::Wall;
use crate::feedback::senders::Sender;
use crate::feedback::told::Told;
use crate::message::MessageId;
use crate::store::{Op, SpoolError};

/// How often old facts are looked for, how many are removed at a time, and the pause where there are more.
const TEND_EVERY: Duration = Duration::from_secs(60);
const REMOVED_AT_A_TIME: usize = 1000;
const TEND_PAUSE: Duration = Duration::from_millis(200);

/// Forgets what was told about, and who sent, messages that no report is accepted about any more. `desk` is the one that is
/// in force, if reports are taken. Runs until `stopped`.
pub async fn tend(desk: impl Fn() -> Option<Arc<Desk>>, mut stopped: watch::Receiver<bool>) {
    let all = async {
        let mut places = [(Told::PREFIX, String::new()), (Sender::PREFIX, String::new())];
        loop {
            tokio::time::sleep(TEND_EVERY).await;
            let Some(desk) = desk() else { continue };
            desk.refused.show(&desk.dispatcher, desk.dispatcher.now().wall);
            for (prefix, after) in &mut places {
                // All that is due, but in small steps: mail goes first.
                while desk.forget_old(prefix, after).await == REMOVED_AT_A_TIME {
                    tokio::time::sleep(TEND_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = all => {}
        _ = stopped.wait_for(|stop| *stop) => {}
    }
}

impl Desk {
    /// Removes the oldest facts of one kind, behind `after`, which moves on: what was removed before lies in the engine
    /// for a while and need not be stepped over again. How many were removed.
    pub(super) async fn forget_old(&self, prefix: &'static str, after: &mut String) -> usize {
        let now = self.dispatcher.now().wall;
        // An attempt, from which the time for reports runs, may have been made as late as the end of the lifetime.
        let kept = self.feedback.accept_for + self.dispatcher.config().queue.lifetime;
        let (dispatcher, from) = (Arc::clone(&self.dispatcher), after.clone());
        let looking = tokio::task::spawn_blocking(move || {
            let first = dispatcher.spool().facts_first(prefix, &from, REMOVED_AT_A_TIME)?;
            let keys = first.into_iter().map(|(key, _)| key);
            Ok::<_, SpoolError>(keys.take_while(|key| is_over(key, prefix, kept, now)).collect::<Vec<_>>())
        });
        let old = match looking.await {
            Ok(Ok(old)) => old,
            Ok(Err(error)) => {
                tracing::warn!(target: "feedback", %error, "old facts not looked for");
                return 0;
            }
            Err(_) => return 0,
        };
        let Some(last) = old.last().cloned() else { return 0 };
        let count = old.len();
        match self.dispatcher.note(old.into_iter().map(Op::RemoveFact).collect()).await {
            Ok(()) => {
                *after = last;
                count
            }
            Err(error) => {
                tracing::warn!(target: "feedback", %error, "old facts not removed");
                0
            }
        }
    }
}

/// Whether the message of this fact was accepted longer ago than `kept`. A key without a message is of no use to anybody.
fn is_over(key: &str, prefix: &str, kept: Duration, now: Wall) -> bool {
    let message = key.strip_prefix(prefix).and_then(|id| id.parse::<MessageId>().ok());
    message.is_none_or(|message| now.since(message.time()) > kept)
}
