//! The login inside the dialogue: what AUTH does to a [`Session`].
//!
//! [`auth`] knows the mechanisms and who may use them, the session when a line comes; this joins them. Credentials leave
//! by [`Effect::Authenticate`](super::Effect::Authenticate) and come back as a user or a refusal, as messages do.

use super::end::{sequence, stopping};
use super::{Phase, Session};
use crate::ingress::smtp::auth::{self, AuthRequest, Exchange, Step};
use crate::ingress::{Credentials, Refusal, Secret};

impl Session {
    /// AUTH (RFC 4954 §4): what is to be checked, where all was said at once.
    pub(super) fn auth(&mut self, request: AuthRequest, out: &mut Vec<u8>) -> Option<Credentials> {
        let begun = match (&self.phase, &self.helo) {
            (Phase::Mail(_) | Phase::Chunks(_), _) => Err(sequence("not inside a transaction")),
            (_, Some(helo)) if helo.esmtp => self.login.begin(request),
            _ => Err(sequence("EHLO first")),
        };
        match begun {
            Ok((exchange, step)) => self.auth_step(exchange, step, out),
            Err(refusal) => {
                self.refuse(refusal, out);
                None
            }
        }
    }

    pub(super) fn auth_line(&mut self, line: Result<Secret, Refusal>, out: &mut Vec<u8>) -> Option<Credentials> {
        let Phase::Auth(mut exchange) = std::mem::replace(&mut self.phase, Phase::Idle) else { return None };
        let step = match line {
            Ok(line) => exchange.answer(line.expose()),
            Err(refusal) => Step::Refuse(auth::bad_line(refusal)),
        };
        self.auth_step(exchange, step, out)
    }

    fn auth_step(&mut self, exchange: Exchange, step: Step, out: &mut Vec<u8>) -> Option<Credentials> {
        match step {
            Step::Ask(text) => {
                self.phase = Phase::Auth(exchange);
                self.replies.write(out, 334, None, text);
            }
            Step::Refuse(refusal) => self.refuse(refusal, out),
            Step::Check(credentials) => {
                self.phase = Phase::Waiting;
                return Some(credentials);
            }
        }
        None
    }

    /// The shell's answer to [`super::Effect::Authenticate`]: the user, or the reply. Call [`Session::advance`] afterwards.
    pub fn authenticated(&mut self, answer: Result<String, Refusal>, out: &mut Vec<u8>) {
        self.phase = Phase::Idle;
        match self.login.ended(answer) {
            Ok(()) => self.replies.write(out, 235, Some((2, 7, 0)), "authenticated"),
            Err(refusal) => self.refuse(refusal, out),
        }
        if matches!(self.phase, Phase::Closed(_)) {
            return;
        }
        if self.stopping {
            self.close_with(&stopping(), out);
        } else if self.login.is_exhausted() {
            self.close_with(&Refusal::new(421, 7, 0, "too many failed logins, closing"), out);
        }
    }
}
