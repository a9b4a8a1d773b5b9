//! The login inside the dialogue: what AUTH does to a [`Session`].
//!
//! [`auth`] knows the mechanisms and who may use them, the session when a line comes; this joins them. Credentials leave
//! by [`Effect::Authenticate`] and come back as a user or a refusal, as messages do; what is kept of a password comes by
//! [`Effect::Fetch`].

use super::end::{sequence, stopping};
use super::{Effect, Phase, Session};
use crate::ingress::Verifier;
use crate::ingress::smtp::auth::{self, AuthRequest, Exchange, Step};
use crate::ingress::smtp::scram::First;
use crate::ingress::{Admission, Refusal, Secret};

impl Session {
    /// AUTH (RFC 4954 §4): what is to be done, where all was said at once.
    pub(super) fn auth(
        &mut self,
        request: AuthRequest,
        admission: &dyn Admission,
        out: &mut Vec<u8>,
    ) -> Option<Effect> {
        let begun = match (&self.phase, &self.helo) {
            (Phase::Mail(_) | Phase::Chunks(_), _) => Err(sequence("not inside a transaction")),
            (_, Some(helo)) if helo.esmtp => self.login.begin(request, || admission.scram()),
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

    pub(super) fn auth_line(&mut self, line: Result<Secret, Refusal>, out: &mut Vec<u8>) -> Option<Effect> {
        let Phase::Auth(mut exchange) = std::mem::replace(&mut self.phase, Phase::Idle) else { return None };
        let step = match line {
            Ok(line) => exchange.answer(line.expose()),
            Err(refusal) => Step::Refuse(auth::bad_line(refusal)),
        };
        self.auth_step(exchange, step, out)
    }

    fn auth_step(&mut self, exchange: Exchange, step: Step, out: &mut Vec<u8>) -> Option<Effect> {
        match step {
            Step::Ask(text) => {
                self.phase = Phase::Auth(exchange);
                self.replies.write(out, 334, None, &text);
            }
            Step::Refuse(refusal) => self.refuse(refusal, out),
            Step::Fetch(first) => {
                self.phase = Phase::Waiting;
                return Some(Effect::Fetch(Box::new(first)));
            }
            Step::Check(credentials, last_word) => {
                self.phase = Phase::Waiting;
                self.login.will_say(last_word);
                return Some(Effect::Authenticate(Box::new(credentials)));
            }
            Step::Heard(user) => self.authenticated(Ok(user), out),
        }
        None
    }

    /// The shell's answer to [`Effect::Fetch`]: what is kept, or the reply. `nonce` is random. Call [`Session::advance`]
    /// afterwards.
    pub fn fetched(&mut self, first: First, kept: Result<Verifier, Refusal>, nonce: &[u8], out: &mut Vec<u8>) {
        match kept {
            Ok(verifier) => {
                let (exchange, step) = Exchange::fetched(first, verifier, nonce);
                // It asks, so nothing is to be done by the shell.
                self.auth_step(exchange, step, out);
                if self.stopping {
                    self.close_with(&stopping(), out);
                }
            }
            Err(refusal) => self.authenticated(Err(refusal), out),
        }
    }

    /// The shell's answer to [`Effect::Authenticate`]: the user, or the reply. Call [`Session::advance`] afterwards.
    pub fn authenticated(&mut self, answer: Result<String, Refusal>, out: &mut Vec<u8>) {
        self.phase = Phase::Idle;
        match self.login.ended(answer) {
            Ok(None) => self.replies.write(out, 235, Some((2, 7, 0)), "authenticated"),
            Ok(Some((exchange, word))) => {
                self.phase = Phase::Auth(exchange);
                self.replies.write(out, 334, None, &word);
            }
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
