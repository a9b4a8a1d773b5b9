//! AUTH with PLAIN, LOGIN and SCRAM-SHA-256 (RFC 4954, RFC 4616, RFC 7677), without a socket.
//!
//! [`Exchange`] is the talk of one AUTH command, from its mechanism to the [`Credentials`] that somebody else checks or books;
//! [`Login`] is what a session remembers over all of them. AUTH is offered where the listener has it *and* the channel is
//! private: under TLS, or on loopback where the listener allows it. [`Login::is_private`] is the one place that says
//! what private means. A login does not outlive the channel that it came by.
//!
//! PLAIN and LOGIN send the password itself. SCRAM ([`super::scram`]) proves that it is known; for that the shell fetches what is
//! kept of it ([`Step::Fetch`]), and the client hears our own proof before `235`.
//!
//! Base64 is taken as RFC 4648 has it and nothing else: padded, without line breaks, without stray bits. No refusal
//! repeats what the client sent.

use std::net::SocketAddr;
use std::sync::Arc;

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use super::command::LINE_TOO_LONG;
use super::scram::{BadFirst, First, Second};
use crate::config::{AuthMode, Listener, TlsMode};
use crate::ingress::Verifier;
use crate::ingress::{Credentials, Proof, Refusal, Secret};

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
    /// RFC 7677.
    Scram,
    /// RFC 7677, bound to the TLS session (RFC 9266).
    ScramPlus,
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
    Ask(String),
    /// What is kept of this user's password is needed.
    Fetch(First),
    /// The last word of an exchange whose proof was right was heard: it is this user.
    Heard(String),
    /// All was said; where it is right, the client hears this first (SCRAM).
    Check(Credentials, Option<String>),
    /// The exchange is over.
    Refuse(Refusal),
}

/// The talk of one AUTH command.
#[derive(Debug)]
pub(super) enum Exchange {
    /// PLAIN: everything is in one message.
    Plain,
    /// LOGIN, with the first answer once there is one.
    Login(Option<Secret>),
    /// SCRAM, before the client's first message; with what binds the session, where the mechanism is that.
    First { plus: bool, binding: Option<Secret> },
    /// SCRAM, before its last.
    Second(Second),
    /// SCRAM, after our proof: the client answers with nothing.
    Last(String),
    /// Over.
    Over,
}

impl Exchange {
    /// `binding` is what binds a login to this TLS session, where there is one.
    fn begin(mechanism: Mechanism, initial: Option<Secret>, binding: Option<&Secret>) -> (Self, Step) {
        let mut exchange = match mechanism {
            Mechanism::Plain => Self::Plain,
            Mechanism::Login => Self::Login(None),
            Mechanism::Scram => Self::First { plus: false, binding: binding.cloned() },
            Mechanism::ScramPlus => Self::First { plus: true, binding: binding.cloned() },
        };
        let step = match initial {
            None if mechanism == Mechanism::Login => Step::Ask(USERNAME.to_owned()),
            None => Step::Ask(String::new()),
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

    /// What is kept of the user's password was fetched for `first`: our answer. `nonce` is random.
    pub(super) fn fetched(first: First, verifier: Verifier, nonce: &[u8]) -> (Self, Step) {
        let (second, answer) = first.answer(verifier, nonce);
        (Self::Second(second), Step::Ask(Base64::encode_string(answer.as_bytes())))
    }

    fn decoded(&mut self, text: &[u8]) -> Step {
        let mut octets = Zeroizing::new(vec![0; text.len()]);
        match Base64::decode(text, &mut octets) {
            Ok(octets) => self.take(Secret::new(octets.to_vec())),
            Err(_) => Step::Refuse(Refusal::new(501, 5, 2, "not base64 (RFC 4648, padded)")),
        }
    }

    fn take(&mut self, octets: Secret) -> Step {
        let malformed = || Step::Refuse(Refusal::new(501, 5, 2, "not what the mechanism has to send"));
        match std::mem::replace(self, Self::Over) {
            Self::Plain => match plain(octets.expose()) {
                Some(Ok(credentials)) => Step::Check(credentials, None),
                Some(Err(refusal)) => Step::Refuse(refusal),
                None => malformed(),
            },
            Self::Login(None) => {
                *self = Self::Login(Some(octets));
                Step::Ask(PASSWORD.to_owned())
            }
            Self::Login(Some(name)) => match text(name.expose()) {
                Some(user) => Step::Check(Credentials { user, proof: Proof::Password(octets) }, None),
                None => malformed(),
            },
            Self::First { plus, binding } => match First::read(octets.expose(), plus, binding.as_ref()) {
                Ok(first) => Step::Fetch(first),
                Err(BadFirst::Syntax) => malformed(),
                Err(BadFirst::Other) => Step::Refuse(for_another()),
                Err(BadFirst::Downgrade) => {
                    Step::Refuse(Refusal::new(535, 7, 8, "a binding to the TLS session was offered and not seen"))
                }
            },
            Self::Second(second) => match second.prove(octets.expose()) {
                Some(proven) => {
                    let credentials = Credentials { user: proven.user, proof: Proof::Checked(proven.right) };
                    Step::Check(credentials, Some(proven.last_word))
                }
                None => malformed(),
            },
            Self::Last(user) if octets.expose().is_empty() => Step::Heard(user),
            Self::Last(_) | Self::Over => malformed(),
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
        return Some(Err(for_another()));
    }
    Some(Ok(Credentials { user: text(user)?, proof: Proof::Password(Secret::new(password.to_vec())) }))
}

fn for_another() -> Refusal {
    Refusal::new(535, 7, 8, "nobody may log in for another user here")
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

/// The TLS session that a client came by, as far as the dialogue needs it.
#[derive(Clone, Debug)]
pub(super) struct Tunnel {
    /// For the trace field.
    pub(super) words: Arc<str>,
    /// What binds a login to it.
    pub(super) binding: Option<Secret>,
}

/// Who the client of a session is known to be, and by what channel.
#[derive(Debug)]
pub(super) struct Login {
    mode: AuthMode,
    tls: TlsMode,
    /// Whether passwords may come in clear text from this machine.
    insecure: bool,
    /// Who is connected, and for whom, where that is another.
    peer: SocketAddr,
    client: SocketAddr,
    tunnel: Option<Tunnel>,
    user: Option<String>,
    /// Our proof, while somebody books that theirs was right.
    last_word: Option<String>,
    failures: u32,
}

impl Login {
    /// Of a client that has just connected: `peer` is who did, `client` for whom.
    pub(super) fn new(listener: &Listener, client: SocketAddr, peer: SocketAddr) -> Self {
        Self {
            mode: listener.auth,
            tls: listener.tls,
            insecure: listener.auth_insecure,
            peer,
            client,
            tunnel: None,
            user: None,
            last_word: None,
            failures: 0,
        }
    }

    /// From here on under TLS; who logged in before has to do it again.
    pub(super) fn encrypted(&mut self, tunnel: Tunnel) {
        self.tunnel = Some(tunnel);
        (self.user, self.last_word) = (None, None);
    }

    /// It is another client, with this login.
    pub(super) fn instead_of(&mut self, client: SocketAddr, user: Option<String>) {
        self.client = client;
        (self.user, self.last_word) = (user, None);
    }

    /// It may be anybody, wherever those are who speak for it.
    pub(super) fn is_not_here(&mut self) {
        self.insecure = false;
    }

    /// The listener's present word on passwords in clear text: it may forbid what it allowed when the client came.
    pub(super) fn insecure_by(&mut self, allowed: bool) {
        self.insecure &= allowed;
    }

    /// The TLS session, where there is one.
    pub(super) fn tunnel(&self) -> Option<&Tunnel> {
        self.tunnel.as_ref()
    }

    /// Whether nobody listens between the client and us.
    fn is_private(&self) -> bool {
        let is_here = |address: SocketAddr| address.ip().to_canonical().is_loopback();
        self.tunnel.is_some() || self.insecure && is_here(self.peer) && is_here(self.client)
    }

    /// The user, once there is one.
    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Whether clients may log in at all.
    pub(super) fn is_offered(&self) -> bool {
        self.mode != AuthMode::Off && self.is_private()
    }

    /// Whether anybody logs in here at all, by whatever channel.
    pub(super) fn is_known_here(&self) -> bool {
        self.mode != AuthMode::Off
    }

    /// Mechanisms, as EHLO lists them; `scram` says whether it would do for every user, and is asked only where that matters.
    pub(super) fn offer(&self, scram: impl FnOnce() -> bool) -> Option<String> {
        if !self.is_offered() {
            return None;
        }
        let bound = self.tunnel.as_ref().is_some_and(|tunnel| tunnel.binding.is_some());
        let more = match (scram(), bound) {
            (false, _) => "",
            (true, false) => " SCRAM-SHA-256",
            (true, true) => " SCRAM-SHA-256 SCRAM-SHA-256-PLUS",
        };
        Some(format!("AUTH PLAIN LOGIN{more}"))
    }

    /// Whether mail may be begun.
    pub(super) fn may_send(&self) -> Result<(), Refusal> {
        if self.tls == TlsMode::Required && self.tunnel.is_none() {
            // RFC 3207 §4.
            return Err(Refusal::new(530, 7, 0, "must issue a STARTTLS command first"));
        }
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

    /// AUTH, where the dialogue allows it; `scram` as in [`Login::offer`].
    pub(super) fn begin(
        &self,
        request: AuthRequest,
        scram: impl FnOnce() -> bool,
    ) -> Result<(Exchange, Step), Refusal> {
        if self.mode == AuthMode::Off {
            return Err(Refusal::new(502, 5, 1, "AUTH is not offered here"));
        }
        if !self.is_private() {
            return Err(Refusal::new(538, 7, 11, "encryption required for authentication"));
        }
        if self.user.is_some() {
            return Err(Refusal::new(503, 5, 1, "already authenticated"));
        }
        let binding = self.tunnel.as_ref().and_then(|tunnel| tunnel.binding.as_ref());
        let is_there = move |mechanism: &Mechanism| match mechanism {
            Mechanism::Plain | Mechanism::Login => true,
            Mechanism::Scram => scram(),
            Mechanism::ScramPlus => binding.is_some() && scram(),
        };
        let Some(mechanism) = request.mechanism.filter(is_there) else {
            return Err(Refusal::new(504, 5, 4, "mechanism not offered: use PLAIN or LOGIN"));
        };
        Ok(Exchange::begin(mechanism, request.initial, binding))
    }

    /// What a client that was right hears before its `235`.
    pub(super) fn will_say(&mut self, last_word: Option<String>) {
        self.last_word = last_word;
    }

    /// How the check of credentials ended: `Some` is what has to be asked before it counts (SCRAM).
    pub(super) fn ended(&mut self, answer: Result<String, Refusal>) -> Result<Option<(Exchange, String)>, Refusal> {
        let last_word = self.last_word.take();
        match (answer, last_word) {
            (Ok(user), Some(word)) => Ok(Some((Exchange::Last(user), Base64::encode_string(word.as_bytes())))),
            (Ok(user), None) => {
                self.user = Some(user);
                Ok(None)
            }
            (Err(refusal), _) => {
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
        Exchange::begin(mechanism, initial.map(|text| Secret::new(text.as_bytes().to_vec())), None)
    }

    fn coded(text: &str) -> String {
        Base64::encode_string(text.as_bytes())
    }

    /// `user password`, or the code of the refusal, or the question.
    fn shown(step: &Step) -> String {
        match step {
            Step::Ask(text) => format!("334 {text}"),
            Step::Refuse(refusal) => format!("{} {}", refusal.code, refusal.enhanced),
            Step::Check(Credentials { user, proof: Proof::Password(password) }, None) => {
                format!("{user} {}", String::from_utf8_lossy(password.expose()))
            }
            other => format!("{other:?}"),
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
        let request = |mechanism| AuthRequest { mechanism: Some(mechanism), initial: None };
        let tunnel = |binding: bool| Tunnel { words: "TLSv1.3".into(), binding: binding.then(|| Secret::new(vec![1])) };
        let (off, optional, required) = (AuthMode::Off, AuthMode::Optional, AuthMode::Required);
        for (mode, insecure, client, peer, under, offered, code) in [
            (off, true, "127.0.0.1:1", "127.0.0.1:1", None, None, 502),
            (optional, true, "127.0.0.1:1", "127.0.0.1:1", None, Some("AUTH PLAIN LOGIN SCRAM-SHA-256"), 0),
            (optional, false, "127.0.0.1:1", "127.0.0.1:1", None, None, 538),
            (required, true, "[::1]:1", "[::1]:1", None, Some("AUTH PLAIN LOGIN SCRAM-SHA-256"), 0),
            (required, true, "[::ffff:127.0.0.1]:1", "127.0.0.1:1", None, Some("AUTH PLAIN LOGIN SCRAM-SHA-256"), 0),
            (required, true, "192.0.2.1:1", "192.0.2.1:1", None, None, 538),
            // Somebody in front says that it is of this machine, or is itself of this machine.
            (required, true, "127.0.0.1:1", "192.0.2.1:1", None, None, 538),
            (required, true, "192.0.2.1:1", "127.0.0.1:1", None, None, 538),
            (required, false, "192.0.2.1:1", "192.0.2.1:1", Some(false), Some("AUTH PLAIN LOGIN SCRAM-SHA-256"), 0),
            (
                required,
                false,
                "192.0.2.1:1",
                "192.0.2.1:1",
                Some(true),
                Some("AUTH PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS"),
                0,
            ),
        ] {
            let (client, peer): (SocketAddr, SocketAddr) =
                (client.parse().expect("valid"), peer.parse().expect("valid"));
            let listener = Listener { auth: mode, auth_insecure: insecure, ..Listener::at(client) };
            let mut login = Login::new(&listener, client, peer);
            if let Some(binding) = under {
                login.encrypted(tunnel(binding));
            }
            let refused =
                |mechanism| login.begin(request(mechanism), || true).map_or_else(|refusal| refusal.code, |_| 0);
            assert_eq!(
                (login.offer(|| true).as_deref(), refused(Mechanism::Plain)),
                (offered, code),
                "{mode:?} {client}"
            );
            let plus = if code == 0 && under != Some(true) { 504 } else { code };
            assert_eq!(refused(Mechanism::ScramPlus), plus, "{mode:?} {client}");
            assert_eq!(login.may_send().is_err(), mode == AuthMode::Required);
            let asked = std::cell::Cell::new(false);
            let offer = login.offer(|| asked.replace(true));
            assert_eq!(offer.is_some(), offered.is_some());
            assert_eq!(asked.get(), offered.is_some(), "nobody looks where nothing is offered");
        }
    }

    #[test]
    fn where_tls_is_required_nothing_is_sent_without() {
        let address = "127.0.0.1:1".parse().expect("valid");
        let listener = Listener { tls: TlsMode::Required, ..Listener::at(address) };
        let mut login = Login::new(&listener, address, address);
        assert_eq!(
            login.may_send().map_err(|refusal| (refusal.code, refusal.text)),
            Err((530, "must issue a STARTTLS command first".into()))
        );
        login.ended(Ok("ann".into())).expect("logged in");
        login.encrypted(Tunnel { words: "TLSv1.3".into(), binding: None });
        assert!(login.may_send().is_ok() && login.user().is_none(), "a login is gone with its channel");
    }

    proptest! {
        #[test]
        fn any_line_is_answered(lines in proptest::collection::vec("[\0-~é]{0,40}", 1..4)) {
            for mechanism in [Mechanism::Plain, Mechanism::Login, Mechanism::Scram] {
                let (mut exchange, _) = begin(mechanism, None);
                for line in &lines {
                    exchange.answer(line.as_bytes());
                    exchange.answer(coded(line).as_bytes());
                }
            }
        }
    }
}
