//! The beginning: our greeting, and EHLO or HELO (RFC 5321 §3.1, §4.1.1.1).
//!
//! [`Session::offers`] is the one place that says which extensions this session has at this moment; what a command or a
//! parameter of an extension is worth elsewhere must agree with it. Both EHLO and HELO reset as RSET does.

use std::borrow::Cow;

use super::{Effect, Phase, Session};
use crate::ingress::smtp::xclient;
use crate::ingress::{Admission, Refusal};

/// What the client called itself, and how.
#[derive(Clone, Debug)]
pub(super) struct Helo {
    pub(super) name: String,
    pub(super) esmtp: bool,
}

impl Session {
    /// Greets. `early_talk`: the client has spoken already, which RFC 5321 §3.1 forbids and real clients do not do.
    pub fn greet(&mut self, early_talk: bool, out: &mut Vec<u8>) -> Effect {
        if early_talk {
            self.close_with(&Refusal::new(554, 5, 1, "protocol error: you spoke before the greeting"), out);
            return Effect::Drop;
        }
        self.write_greeting(out);
        Effect::Read
    }

    pub(super) fn write_greeting(&mut self, out: &mut Vec<u8>) {
        let greeting = format!("{} ESMTP Remuda", self.terms.hostname);
        self.replies.write(out, 220, None, &greeting);
    }

    /// EHLO: a session with extensions.
    pub(super) fn ehlo(&mut self, name: String, admission: &dyn Admission, out: &mut Vec<u8>) {
        self.helo = Some(Helo { name, esmtp: true });
        (self.phase, self.forwarded) = (Phase::Idle, None);
        let offers = self.offers(admission);
        let host = self.terms.hostname.as_str();
        let lines: Vec<&str> = std::iter::once(host).chain(offers.iter().map(AsRef::as_ref)).collect();
        self.replies.write_lines(out, 250, &lines);
    }

    /// Extensions by their EHLO keywords. Only what works is offered.
    fn offers(&self, admission: &dyn Admission) -> Vec<Cow<'static, str>> {
        let listener = &self.terms.listener;
        let size = format!("SIZE {}", listener.max_message_bytes);
        let limits = match listener.mails_per_session {
            Some(mails) => format!("LIMITS RCPTMAX={} MAILMAX={mails}", listener.max_recipients),
            None => format!("LIMITS RCPTMAX={}", listener.max_recipients),
        };
        let mut offers = vec!["PIPELINING".into(), size.into(), "8BITMIME".into(), "SMTPUTF8".into()];
        offers.extend(["CHUNKING".into(), "DSN".into(), limits.into()]);
        if self.is_under_tls() {
            offers.push("REQUIRETLS".into());
        }
        offers.push("ENHANCEDSTATUSCODES".into());
        if self.offers_tls() {
            offers.push("STARTTLS".into());
        }
        offers.extend(self.login.offer(|| admission.scram()).map(Cow::from));
        if self.may_name_clients() {
            let login = if self.login.is_known_here() { " LOGIN" } else { "" };
            offers.push(format!("{}{login}", xclient::XCLIENT).into());
            offers.push(xclient::XFORWARD.into());
        }
        offers
    }

    /// RFC 5321 §4.1.1.1: no extensions for whoever says HELO.
    pub(super) fn helo(&mut self, name: String, out: &mut Vec<u8>) {
        self.helo = Some(Helo { name, esmtp: false });
        (self.phase, self.forwarded) = (Phase::Idle, None);
        self.replies.write(out, 250, None, self.terms.hostname.as_str());
    }
}
