//! The dialogue with one client (RFC 5321 §4.1.4), without a socket.
//!
//! [`Session::advance`] takes what the client sent, appends the replies to a buffer and says what to do next: read
//! more, make a message durable, close. All commands of a pipelined group are answered into the same buffer, so the
//! shell sends them in one write (RFC 2920). No `250` to a message leaves before the shell came back with
//! [`Session::answered`].
//!
//! Who may relay: clients of the listener's `trust`, and users that logged in ([`super::auth`]); where the listener's
//! `auth` is required, only these may begin mail at all. Everybody else is refused at RCPT, with one exception: addresses
//! at which *we* are the receiver, of bounces and complaints about mail that we delivered ([`Addressee::Reports`]). Those
//! are taken from anybody, trusted or not, and read instead of relayed; which they are, [`Admission::addressee`] says. A
//! transaction is either the one or the other, and one with a report has this one recipient. So this is never an open
//! relay: no client chooses where mail goes unless it is trusted.
//!
//! Who may relay is asked again at each MAIL ([`Session::now_by`]): a network taken out of `trust`, or a user who is gone,
//! ends the session there with `421`. A message under way is finished.
//!
//! Input where none may be (RFC 2920 §3.1) — before the greeting, behind EHLO before anybody offered to take more, behind DATA
//! before the `354` — ends the session: such a client does not listen to replies, and if DATA were refused its message would
//! be run as commands. Commands may follow a final dot and the last chunk of BDAT: both say themselves where they end.
//!
//! Here is the state and which command goes where; what a command does is with its kind: `hello` (greeting, EHLO: what is
//! offered), `grounds` (who the client is and what it may: XCLIENT), `login` (AUTH), `tunnel` (STARTTLS), `envelope` (MAIL and
//! RCPT with their parameters), `content` (the message), `chunks` (the message by BDAT), `held` (the memory it takes), `end`
//! (refusals, closing), `line` (octets to lines).
//!
//! [`Addressee::Reports`]: crate::ingress::Addressee::Reports

mod chunks;
mod content;
mod end;
mod envelope;
mod grounds;
mod held;
mod hello;
mod line;
mod login;
mod tunnel;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::BytesMut;

use self::chunks::Piece;
use self::envelope::Envelope;
use self::grounds::trusts;
use self::held::Held;
use self::hello::Helo;
use super::auth::{Exchange, Login};
use super::command::{self, Command};
use super::data::DataReader;
use super::reply::{Replies, ReplyCounts};
use super::scram::First;
use crate::config::Listener;
use crate::ingress::{Admission, Credentials, Refusal, Secret, Transaction};
use crate::message::Domain;

pub use crate::ingress::header::MAX_HOPS;

/// What holds for all sessions of a listener.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Which `[[listener]]`, from 0.
    pub index: usize,
    /// Our own name.
    pub hostname: Domain,
    /// `[[listener]]`
    pub listener: Listener,
}

/// What the shell must do now. Before anything else it sends what was written.
#[derive(Debug)]
pub enum Effect {
    /// Read more.
    Read,
    /// Make this durable, then call [`Session::answered`].
    Deliver(Box<Transaction>),
    /// Check who the client says to be, then call [`Session::authenticated`].
    Authenticate(Box<Credentials>),
    /// Fetch what is kept of this user's password, then call [`Session::fetched`].
    Fetch(Box<First>),
    /// Shake hands, then call [`Session::encrypted`]; where that fails, close.
    StartTls,
    /// The client is another: see whether there is a place for it, then call [`Session::reseated`].
    Reseat,
    /// Close: the client said QUIT.
    Quit,
    /// Close, although the client may still be sending.
    Drop,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    terms: Arc<Terms>,
    /// Those that sessions begin with now.
    present: Arc<Terms>,
    client: SocketAddr,
    trusted: bool,
    /// Who was the client before somebody said that it is another (XCLIENT).
    came: SocketAddr,
    /// Whether somebody did.
    is_named: bool,
    /// Who said by the PROXY protocol for whom it is, or that it does not know.
    balancer: Option<IpAddr>,
    /// Whether it does not.
    is_unknown: bool,
    /// Where mail comes from that is only passed on, for the log (XFORWARD).
    forwarded: Option<String>,
    /// Whether there is a certificate to show now.
    tls_is_ready: bool,
    login: Login,
    helo: Option<Helo>,
    phase: Phase,
    /// In the middle of a line that is too long and is being thrown away.
    skipping: bool,
    /// Whether that is a line of BDAT.
    skips_chunk: bool,
    /// Whether more input waits than the shell has read.
    more_waits: bool,
    /// Refused commands since the last accepted message.
    errors: u32,
    /// Whether one was refused in the present group.
    erred: bool,
    /// Commands that lead to no message, since the last accepted one.
    idle_commands: u32,
    /// Transactions begun.
    mails: u32,
    stopping: bool,
    replies: Replies,
    /// What a message takes that waits for its answer.
    held: Held,
}

/// Where in the dialogue we are.
#[derive(Debug)]
enum Phase {
    /// No transaction.
    Idle,
    /// Between AUTH and the client's answer to a `334`.
    Auth(Exchange),
    /// Between MAIL and DATA.
    Mail(Envelope),
    /// Between `354` and the final dot.
    Data(Box<(Envelope, DataReader)>),
    /// Between two chunks of BDAT.
    Chunks(Box<(Envelope, DataReader)>),
    /// Inside one.
    Chunk(Piece),
    /// A chunk was refused, and so are those that follow it.
    Failed(Refusal),
    /// The shell has the transaction, or the credentials.
    Waiting,
    /// Over; `true` after QUIT.
    Closed(bool),
}

impl Session {
    /// A session with a client that has just connected.
    pub fn new(terms: Arc<Terms>, client: SocketAddr) -> Self {
        Self::between(terms, client, client)
    }

    /// A session with a client for whom a balancer has just connected (PROXY protocol); `None` is somebody whom it does not
    /// name. That one is called by the balancer's address, and has nothing that this address stands for.
    pub fn proxied(terms: Arc<Terms>, client: Option<SocketAddr>, balancer: SocketAddr) -> Self {
        let mut session = Self::between(terms, client.unwrap_or(balancer), balancer);
        session.balancer = Some(balancer.ip().to_canonical());
        if client.is_none() {
            session.is_unknown = true;
            session.trusted = false;
            session.login.is_not_here();
        }
        session
    }

    fn between(terms: Arc<Terms>, client: SocketAddr, peer: SocketAddr) -> Self {
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        let trusted = trusts(&terms, client);
        Self {
            login: Login::new(&terms.listener, client, peer),
            present: Arc::clone(&terms),
            terms,
            client,
            trusted,
            came: client,
            is_named: false,
            balancer: None,
            is_unknown: false,
            forwarded: None,
            tls_is_ready: false,
            helo: None,
            phase: Phase::Idle,
            skipping: false,
            skips_chunk: false,
            more_waits: false,
            errors: 0,
            erred: false,
            idle_commands: 0,
            mails: 0,
            stopping: false,
            replies: Replies::default(),
            held: Held::default(),
        }
    }

    /// Goes as far as `input` allows; what was understood is taken off it. `admission` is asked at MAIL and RCPT.
    pub fn advance(&mut self, input: &mut BytesMut, admission: &dyn Admission, out: &mut Vec<u8>) -> Effect {
        self.erred = false;
        if self.helo.is_none() && matches!(self.phase, Phase::Idle) && input.starts_with(PROXY_START) {
            input.clear();
            self.close_with(&not_proxied(), out);
        }
        loop {
            match &self.phase {
                Phase::Closed(true) => return Effect::Quit,
                Phase::Closed(false) => return Effect::Drop,
                Phase::Waiting => return Effect::Read,
                Phase::Data(..) => {
                    if let Some(effect) = self.text(input, out) {
                        return effect;
                    }
                }
                Phase::Chunk(_) => {
                    if let Some(effect) = self.chunk(input, out) {
                        return effect;
                    }
                }
                Phase::Auth(_) => match self.next_line(input, |line| Ok(Secret::new(line.to_vec()))) {
                    None => return Effect::Read,
                    Some(line) => {
                        if let Some(effect) = self.auth_line(line, out) {
                            return effect;
                        }
                    }
                },
                Phase::Idle | Phase::Mail(_) | Phase::Chunks(_) | Phase::Failed(_) => {
                    let was_chunk = if self.skipping { self.skips_chunk } else { command::is_chunk(input) };
                    match self.next_line(input, command::parse) {
                        None => return Effect::Read,
                        Some(Err(refusal)) if was_chunk => self.close_with(&refusal, out),
                        Some(Err(refusal)) => self.refuse(refusal, out),
                        Some(Ok(Command::Ehlo(_) | Command::Helo(_))) if self.is_followed(input) => {
                            let why = "protocol error: EHLO must be the last command of a group";
                            self.close_with(&Refusal::new(554, 5, 1, why), out);
                        }
                        Some(Ok(Command::Auth(request))) => {
                            if let Some(effect) = self.auth(request, admission, out) {
                                return effect;
                            }
                        }
                        Some(Ok(Command::StartTls)) => {
                            if self.starttls(self.is_followed(input), out) {
                                return Effect::StartTls;
                            }
                        }
                        Some(Ok(Command::Xclient(said))) => match self.xclient(said, admission) {
                            Ok(()) => return Effect::Reseat,
                            Err(refusal) => self.refuse(refusal, out),
                        },
                        Some(Ok(Command::Data)) => self.data(self.is_followed(input), admission, out),
                        Some(Ok(Command::Bdat(chunk))) => self.bdat(chunk, admission, out),
                        Some(Ok(command)) => self.command(command, admission, out),
                    }
                }
            }
        }
    }

    /// Says whether more input waits than [`Session::advance`] is given next.
    pub fn more_waits(&mut self, more: bool) {
        self.more_waits = more;
    }

    /// Whether something came behind the line that was taken off `input` last.
    fn is_followed(&self, input: &BytesMut) -> bool {
        !input.is_empty() || self.more_waits
    }

    /// The client's address.
    pub fn client(&self) -> SocketAddr {
        self.client
    }

    /// The name the client gave.
    pub fn client_name(&self) -> Option<&str> {
        self.helo.as_ref().map(|helo| helo.name.as_str())
    }

    /// The last negative reply, for the log.
    pub fn last_refusal(&self) -> Option<&str> {
        self.replies.last_refusal()
    }

    /// Replies written since the last call.
    pub(super) fn take_reply_counts(&mut self) -> ReplyCounts {
        self.replies.take_counts()
    }

    /// What every other command does.
    fn command(&mut self, command: Command, admission: &dyn Admission, out: &mut Vec<u8>) {
        if self.idles_too_long(&command) {
            return self.close_with(&Refusal::new(421, 7, 0, "too many commands and no message, closing"), out);
        }
        match command {
            Command::Mail(_) if !matches!(self.phase, Phase::Mail(_)) && self.has_lost_its_grounds(admission) => {
                self.close_with(&Refusal::new(421, 3, 2, "who may send here has changed, connect again"), out);
            }
            Command::Ehlo(name) => self.ehlo(name, admission, out),
            Command::Helo(name) => self.helo(name, out),
            Command::Mail(mail) => match self.mail(mail, admission) {
                Ok(()) => self.replies.ok(out, 1, 0, "sender ok"),
                // `421` is the end, wherever it is said (RFC 5321 §3.8).
                Err(refusal) if refusal.code == 421 => self.close_with(&refusal, out),
                Err(refusal) => self.refuse(refusal, out),
            },
            Command::Rcpt(to) => match self.rcpt(to, admission) {
                Ok(()) => self.replies.ok(out, 1, 5, "recipient ok"),
                Err(refusal) => self.refuse(refusal, out),
            },
            Command::Rset => {
                (self.phase, self.forwarded) = (Phase::Idle, None);
                self.replies.ok(out, 0, 0, "ok");
            }
            Command::Noop => self.replies.ok(out, 0, 0, "ok"),
            Command::Vrfy => {
                self.replies.write(out, 252, Some((2, 5, 0)), "not verified; send mail and see");
            }
            Command::Help => self.replies.write(out, 214, Some((2, 0, 0)), "see RFC 5321"),
            Command::Quit => {
                self.replies.write(out, 221, Some((2, 0, 0)), "bye");
                self.phase = Phase::Closed(true);
            }
            Command::NotImplemented(verb) => {
                self.refuse(Refusal::new(502, 5, 1, format!("{verb} is not implemented")), out);
            }
            // Taken by `advance`, which knows what follows them.
            Command::Data => self.data(false, admission, out),
            Command::Bdat(chunk) => self.bdat(chunk, admission, out),
            Command::Auth(_) | Command::StartTls | Command::Xclient(_) => {}
            Command::Xforward(said) => match self.xforward(said) {
                Ok(()) => self.replies.ok(out, 0, 0, "ok"),
                Err(refusal) => self.refuse(refusal, out),
            },
            Command::Proxy => self.close_with(&not_proxied(), out),
        }
    }
}

/// What a binary header of the PROXY protocol begins with; nobody else begins so.
const PROXY_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The reply to a header of the PROXY protocol from whom none is expected: what follows it is of another client.
fn not_proxied() -> Refusal {
    Refusal::new(554, 7, 1, "the PROXY protocol is not taken from you, closing")
}

/// Reply to a connection over the limits; the session never starts.
pub const TOO_MANY_CONNECTIONS: &[u8] = b"421 4.7.0 too many connections, try again later\r\n";

/// The key under which connections of a client are counted.
pub fn client_key(client: SocketAddr) -> IpAddr {
    client.ip().to_canonical()
}

#[cfg(test)]
mod tests;
