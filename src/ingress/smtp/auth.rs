//! AUTH with PLAIN and LOGIN (RFC 4954, RFC 4616), without a socket.
//!
//! [`Exchange`] is the talk of one AUTH command, from its mechanism to the [`Credentials`] that somebody else checks;
//! [`Login`] is what a session remembers over all of them. AUTH is offered where the listener has it *and* the channel is
//! private, since both mechanisms send the password itself: today that is loopback. [`Login::new`] is the one place that
//! says what private means; TLS will be a second way to be so.
//!
//! Base64 is taken as RFC 4648 has it and nothing else: padded, without line breaks, without stray bits. No refusal
//! repeats what the client sent.

use std::net::SocketAddr;

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use super::command::LINE_TOO_LONG;
use crate::config::AuthMode;
use crate::ingress::{Credentials, Refusal, Secret};

/// Mechanisms, as EHLO lists them.
pub(super) const OFFER: &str = "AUTH PLAIN LOGIN";
/// Refused logins after which a session is closed.
const FAILURES_MAX: u32 = 3;
/// `Username:` and `Password:` in base64: what clients of LOGIN expect, though no RFC fixes it.
const USERNAME: &str = "VXNlcm5hbWU6";
const PASSWORD: &str = "UGFzc3dvcmQ6";

/// A way to say who one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// Never standardised, and all that some clients know.
    Login,
}

/// What AUTH asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthRequest {
    /// `None` is one that is not offered.
    pub mechanism: Option<Mechanism>,
    /// The initial response, as sent: base64, or `=` for an empty one.
    pub initial: Option<Secret>,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// `334` with this text; the client's next line is its answer.
    Ask(&'static str),
    /// All was said.
    Check(Credentials),
    /// The exchange is over.
    Refuse(Refusal),
}

/// The talk of one AUTH command.
#[derive(Debug)]
pub(super) struct Exchange {
    mechanism: Mechanism,
    /// The first answer of LOGIN.
    name: Option<Secret>,
}

impl Exchange {
    fn begin(mechanism: Mechanism, initial: Option<Secret>) -> (Self, Step) {
        let mut exchange = Self { mechanism, name: None };
        let step = match initial {
            None if mechanism == Mechanism::Plain => Step::Ask(""),
            None => Step::Ask(USERNAME),
            // RFC 4954 §4: the way to write an empty initial response.
            Some(text) if text.expose() == b"=" => exchange.take(Secret::new(Vec::new())),
            Some(text) => exchange.decoded(text.expose()),
        };
        (exchange, step)
    }

    /// The client's next line, without its CRLF.
    pub(super) fn answer(&mut self, line: &[u8]) -> Step {
        match line {
            b"*" => Step::Refuse(Refusal::new(501, 7, 0, "authentication cancelled")),
            line => self.decoded(line),
        }
    }

    fn decoded(&mut self, text: &[u8]) -> Step {
        let mut octets = Zeroizing::new(vec![0; text.len()]);
        match Base64::decode(text, &mut octets) {
            Ok(octets) => self.take(Secret::new(octets.to_vec())),
            Err(_) => Step::Refuse(Refusal::new(501, 5, 2, "not base64 (RFC 4648, padded)")),
        }
    }

    fn take(&mut self, octets: Secret) -> Step {
        let credentials = match (self.mechanism, self.name.take()) {
            (Mechanism::Plain, _) => plain(octets.expose()),
            (Mechanism::Login, Some(name)) => {
                text(name.expose()).map(|user| Ok(Credentials { user, password: octets }))
            }
            (Mechanism::Login, None) => {
                self.name = Some(octets);
                return Step::Ask(PASSWORD);
            }
        };
        match credentials {
            Some(Ok(credentials)) => Step::Check(credentials),
            Some(Err(refusal)) => Step::Refuse(refusal),
            None => Step::Refuse(Refusal::new(501, 5, 2, "not what the mechanism has to send")),
        }
    }
}

/// RFC 4616 §2: `[authzid] NUL authcid NUL passwd`. Nobody may act for somebody else here.
fn plain(message: &[u8]) -> Option<Result<Credentials, Refusal>> {
    let mut parts = message.split(|octet| *octet == 0);
    let (as_whom, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    if !as_whom.is_empty() && as_whom != user {
        return Some(Err(Refusal::new(535, 7, 8, "nobody may log in for another user here")));
    }
    Some(Ok(Credentials { user: text(user)?, password: Secret::new(password.to_vec()) }))
}

fn text(octets: &[u8]) -> Option<String> {
    std::str::from_utf8(octets).ok().map(str::to_owned)
}

/// A line of an exchange that cannot be an answer: too long, or not ended by CRLF.
pub(super) fn bad_line(refusal: Refusal) -> Refusal {
    match refusal.text.as_str() {
        // RFC 4954 §4.
        LINE_TOO_LONG => Refusal::new(500, 5, 6, "authentication exchange line is too long"),
        _ => refusal,
    }
}

/// Who the client of a session is known to be.
#[derive(Debug)]
pub(super) struct Login {
    mode: AuthMode,
    /// Whether nobody listens between the client and us.
    private: bool,
    user: Option<String>,
    failures: u32,
}

impl Login {
    /// Of a client that has just connected.
    pub(super) fn new(mode: AuthMode, client: SocketAddr) -> Self {
        Self { mode, private: client.ip().to_canonical().is_loopback(), user: None, failures: 0 }
    }

    /// The user, once there is one.
    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Whether clients may log in at all.
    pub(super) fn is_offered(&self) -> bool {
        self.mode != AuthMode::Off && self.private
    }

    /// Whether mail may be begun.
    pub(super) fn may_send(&self) -> Result<(), Refusal> {
        if self.mode == AuthMode::Required && self.user.is_none() {
            return Err(Refusal::new(530, 7, 0, "authentication required"));
        }
        Ok(())
    }

    /// What is said to a RCPT of somebody who may not relay.
    pub(super) fn relaying_denied(&self) -> Refusal {
        let text = if self.is_offered() { "relaying denied without authentication" } else { "relaying denied" };
        Refusal::new(550, 7, 1, text)
    }

    /// AUTH, where the dialogue allows it.
    pub(super) fn begin(&self, request: AuthRequest) -> Result<(Exchange, Step), Refusal> {
        if self.mode == AuthMode::Off {
            return Err(Refusal::new(502, 5, 1, "AUTH is not offered here"));
        }
        if !self.private {
            return Err(Refusal::new(538, 7, 11, "encryption required for authentication"));
        }
        if self.user.is_some() {
            return Err(Refusal::new(503, 5, 1, "already authenticated"));
        }
        let Some(mechanism) = request.mechanism else {
            return Err(Refusal::new(504, 5, 4, "mechanism not offered: use PLAIN or LOGIN"));
        };
        Ok(Exchange::begin(mechanism, request.initial))
    }

    /// How the check of credentials ended.
    pub(super) fn ended(&mut self, answer: Result<String, Refusal>) -> Result<(), Refusal> {
        match answer {
            Ok(user) => {
                self.user = Some(user);
                Ok(())
            }
            Err(refusal) => {
                self.failures += 1;
                Err(refusal)
            }
        }
    }

    /// Whether the session has tried often enough.
    pub(super) fn is_exhausted(&self) -> bool {
        self.failures >= FAILURES_MAX
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn begin(mechanism: Mechanism, initial: Option<&str>) -> (Exchange, Step) {
        Exchange::begin(mechanism, initial.map(|text| Secret::new(text.as_bytes().to_vec())))
    }

    fn coded(text: &str) -> String {
        Base64::encode_string(text.as_bytes())
    }

    /// `user password`, or the code of the refusal, or the question.
    fn shown(step: &Step) -> String {
        match step {
            Step::Ask(text) => format!("334 {text}"),
            Step::Refuse(refusal) => format!("{} {}", refusal.code, refusal.enhanced),
            Step::Check(found) => format!("{} {}", found.user, String::from_utf8_lossy(found.password.expose())),
        }
    }

    #[test]
    fn plain_is_one_message_at_once_or_asked_for() {
        for (message, result) in [
            ("\0tim\0tanstaaf", "tim tanstaaf"),
            ("tim\0tim\0tanstaaf", "tim tanstaaf"),
            ("\0tim@example.org\0tan staaf ", "tim@example.org tan staaf "),
            ("\0t\u{ef}m\0p\u{e4}ss", "t\u{ef}m p\u{e4}ss"),
            ("\0\0", " "),
            ("ursel\0kurt\0xipj3plmq", "535 5.7.8"),
            ("", "501 5.5.2"),
            ("tim", "501 5.5.2"),
            ("\0tim", "501 5.5.2"),
            ("\0tim\0a\0b", "501 5.5.2"),
        ] {
            let initial = if message.is_empty() { "=".to_owned() } else { coded(message) };
            let (_, at_once) = begin(Mechanism::Plain, Some(&initial));
            assert_eq!(shown(&at_once), result, "{message:?}");
            let (mut exchange, asked) = begin(Mechanism::Plain, None);
            assert_eq!(shown(&asked), "334 ");
            assert_eq!(shown(&exchange.answer(coded(message).as_bytes())), result, "{message:?}");
        }
        let latin1 = Base64::encode_string(b"\0t\xefm\0x");
        assert_eq!(shown(&begin(Mechanism::Plain, Some(&latin1)).1), "501 5.5.2");
    }

    #[test]
    fn login_asks_for_name_and_password() {
        for initial in [false, true] {
            let name = coded("tim");
            let (mut exchange, mut step) = begin(Mechanism::Login, initial.then_some(&name));
            if !initial {
                assert_eq!(shown(&step), "334 VXNlcm5hbWU6");
                step = exchange.answer(name.as_bytes());
            }
            assert_eq!(shown(&step), "334 UGFzc3dvcmQ6");
            assert_eq!(shown(&exchange.answer(coded("tanstaaf").as_bytes())), "tim tanstaaf");
        }
    }

    #[test]
    fn a_star_cancels_and_what_is_no_base64_is_refused() {
        for (line, result) in [
            ("*", "501 5.7.0"),
            ("AHRpbQB4", "tim x"),
            ("AHRpbQB4\r", "501 5.5.2"),
            (" AHRpbQB4", "501 5.5.2"),
            ("AHRp bQB4", "501 5.5.2"),
            ("AHRpbQB", "501 5.5.2"),
            ("AHRpbQA", "501 5.5.2"),
            ("AHRpbQA=", "tim "),
            // Stray bits behind the last octet.
            ("AHRpbQB=", "501 5.5.2"),
            ("AHRpbQA==", "501 5.5.2"),
            ("AHRpbQ-_", "501 5.5.2"),
            ("=", "501 5.5.2"),
            ("**", "501 5.5.2"),
        ] {
            let (mut exchange, _) = begin(Mechanism::Plain, None);
            assert_eq!(shown(&exchange.answer(line.as_bytes())), result, "{line:?}");
        }
    }

    #[test]
    fn who_is_not_private_is_asked_for_nothing() {
        let request = || AuthRequest { mechanism: Some(Mechanism::Plain), initial: None };
        for (mode, client, offered, code) in [
            (AuthMode::Off, "127.0.0.1:1", false, 502),
            (AuthMode::Optional, "127.0.0.1:1", true, 0),
            (AuthMode::Required, "[::1]:1", true, 0),
            (AuthMode::Required, "[::ffff:127.0.0.1]:1", true, 0),
            (AuthMode::Required, "192.0.2.1:1", false, 538),
        ] {
            let login = Login::new(mode, client.parse().expect("valid"));
            let refused = login.begin(request()).map_or_else(|refusal| refusal.code, |_| 0);
            assert_eq!((login.is_offered(), refused), (offered, code), "{mode:?} {client}");
            assert_eq!(login.may_send().is_err(), mode == AuthMode::Required);
        }
    }

    proptest! {
        #[test]
        fn any_line_is_answered(lines in proptest::collection::vec("[\0-~é]{0,40}", 1..4)) {
            for mechanism in [Mechanism::Plain, Mechanism::Login] {
                let (mut exchange, _) = begin(mechanism, None);
                for line in &lines {
                    exchange.answer(line.as_bytes());
                    exchange.answer(coded(line).as_bytes());
                }
            }
        }
    }
}
