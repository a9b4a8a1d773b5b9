//! Refusals, and how a session ends: by too many of them, by silence, because the program stops.
//!
//! An end is written as a reply before the connection is closed, `421` in most cases (RFC 5321 §3.8).

use std::time::Duration;

use super::{Effect, Phase, Session};
use crate::ingress::Refusal;
use crate::ingress::smtp::command::Command;

/// Refused commands that cost nobody time, at least.
const PATIENCE: u32 = 5;
/// Commands that lead to no message, between two that are accepted: NOOP, RSET and the like cost nothing and could go on
/// for ever. A program that keeps a connection warm has hours of them.
const IDLE_COMMANDS: u32 = 100;
/// What each group of refused commands costs then.
const PAUSE: Duration = Duration::from_secs(1);

impl Session {
    /// Nothing came for `idle_timeout`.
    pub fn idle_timeout(&mut self, out: &mut Vec<u8>) {
        self.close_with(&Refusal::new(421, 4, 2, "idle for too long, closing"), out);
    }

    /// A stranger's report took too long to arrive.
    pub fn too_slow(&mut self, out: &mut Vec<u8>) {
        self.close_with(&Refusal::new(421, 4, 2, "the report takes too long to arrive, closing"), out);
    }

    /// The program stops: between messages the session ends at once, inside a message after its reply.
    pub fn stop(&mut self, out: &mut Vec<u8>) -> Effect {
        self.stopping = true;
        match self.phase {
            Phase::Data(_) | Phase::Chunk(_) | Phase::Waiting => Effect::Read,
            Phase::Idle | Phase::Auth(_) | Phase::Mail(_) | Phase::Chunks(_) | Phase::Failed(_) | Phase::Closed(_) => {
                self.close_with(&stopping(), out);
                Effect::Drop
            }
        }
    }

    /// Counts commands that lead to no message; whether there were too many of them.
    pub(super) fn idles_too_long(&mut self, command: &Command) -> bool {
        let idles = matches!(
            command,
            Command::Noop | Command::Rset | Command::Vrfy | Command::Help | Command::Ehlo(_) | Command::Helo(_)
        );
        self.idle_commands = self.idle_commands.saturating_add(u32::from(idles));
        idles && self.idle_commands > IDLE_COMMANDS
    }

    /// Writes a refusal; counts it when it is the client's fault, and closes after too many.
    pub(super) fn refuse(&mut self, refusal: Refusal, out: &mut Vec<u8>) {
        self.replies.refuse(out, &refusal);
        if refusal.code >= 500 {
            self.errors += 1;
            self.erred = true;
            if self.errors >= self.terms.listener.max_errors {
                self.close_with(&Refusal::new(421, 7, 0, "too many errors, closing"), out);
            }
        }
    }

    /// How long replies to commands are kept back: a client that is refused again and again, from half of `max_errors` and
    /// five on, waits for the next refusals, and whoever tries addresses or passwords gets less done.
    pub fn pause(&self) -> Option<Duration> {
        let from = (self.terms.listener.max_errors / 2).max(PATIENCE);
        (self.erred && self.errors >= from && !matches!(self.phase, Phase::Closed(_))).then_some(PAUSE)
    }

    /// The last reply: after it the session is over.
    pub(super) fn close_with(&mut self, refusal: &Refusal, out: &mut Vec<u8>) {
        self.replies.refuse(out, refusal);
        self.phase = Phase::Closed(false);
    }
}

/// The reply to a command that has no place here.
pub(super) fn sequence(text: &str) -> Refusal {
    Refusal::new(503, 5, 1, text)
}

/// The reply with which sessions end when the program does.
pub(super) fn stopping() -> Refusal {
    Refusal::new(421, 3, 2, "service stopping, closing")
}
