//! TLS in the dialogue: STARTTLS (RFC 3207), and what is forgotten when it begins.
//!
//! The shell shakes hands; here is when it may. What stands in the input behind STARTTLS was sent in clear text, by the client or
//! by somebody in between: such a session is ended and nothing of it is run (RFC 3207 §4 has it discarded, which leaves a
//! client that waits for replies). What comes later, before the client has seen our `220`, is read as part of the handshake,
//! which then fails. After the handshake nothing holds that was said before: name, transaction and login are gone.

use std::sync::Arc;

use super::end::sequence;
use super::{Phase, Session};
use crate::config::TlsMode;
use crate::ingress::Refusal;
use crate::ingress::TlsFacts;
use crate::ingress::smtp::auth::Tunnel;

impl Session {
    /// Says whether there is a certificate to show now.
    pub fn tls_is_ready(&mut self, is_ready: bool) {
        self.tls_is_ready = is_ready;
    }

    /// Whether it came by TLS.
    pub(super) fn is_under_tls(&self) -> bool {
        self.login.tunnel().is_some()
    }

    /// The TLS session in words, for the trace field.
    pub(super) fn tls_words(&self) -> Option<Arc<str>> {
        self.login.tunnel().map(|tunnel| Arc::clone(&tunnel.words))
    }

    /// Whether EHLO names STARTTLS: where it works.
    pub(super) fn offers_tls(&self) -> bool {
        self.has_starttls() && self.tls_is_ready && !self.is_under_tls() && !self.is_named
    }

    fn has_starttls(&self) -> bool {
        matches!(self.terms.listener.tls, TlsMode::Starttls | TlsMode::Required)
    }

    /// STARTTLS: whether to shake hands now. `more_input`: something came behind it.
    pub(super) fn starttls(&mut self, more_input: bool, out: &mut Vec<u8>) -> bool {
        if more_input {
            let refusal = Refusal::new(554, 5, 1, "protocol error: STARTTLS must be the last command of a group");
            self.close_with(&refusal, out);
            return false;
        }
        let refusal = if !self.has_starttls() && !self.is_under_tls() {
            Refusal::new(502, 5, 1, "STARTTLS is not offered here")
        } else if self.is_under_tls() {
            sequence("this is TLS already")
        } else if matches!(self.phase, Phase::Mail(_)) {
            sequence("not inside a transaction")
        } else if !self.helo.as_ref().is_some_and(|helo| helo.esmtp) {
            sequence("EHLO first")
        } else if self.is_named {
            sequence("STARTTLS goes before XCLIENT")
        } else if !self.tls_is_ready {
            Refusal::new(454, 7, 0, "TLS is not available now, try again later")
        } else {
            self.replies.write(out, 220, Some((2, 0, 0)), "ready to start TLS");
            self.phase = Phase::Waiting;
            return true;
        };
        self.refuse(refusal, out);
        false
    }

    /// From here on it is under TLS, as the shell's answer to [`super::Effect::StartTls`] or from the beginning.
    pub fn encrypted(&mut self, facts: &TlsFacts) {
        self.login.encrypted(Tunnel { words: facts.words().into(), binding: facts.binding.clone() });
        (self.helo, self.forwarded) = (None, None);
        self.phase = Phase::Idle;
        (self.skipping, self.more_waits) = (false, false);
    }
}
