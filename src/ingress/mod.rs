//! Mail comes in.
//!
//! The door of the relay. It speaks SMTP with clients ([`smtp`]), and HTTP with programs ([`http`]), and hands each complete message to an [`Intake`], which makes it
//! durable; only its word turns into a `250`. The door knows nothing of pools and bindings, the intake nothing of
//! sockets. [`prepare`] is what an intake needs to turn a [`Transaction`] into records: tenant, stream and pool, trace
//! line, entries.
//!
//! Mail for an address where reports are taken ([`Addressee::Reports`]) comes in by the same door and the same
//! transaction, marked as what it is; what a report is and which addresses take one is not known here.
//!
//! Who may log in, and whether somebody is who they say, is [`users`]' to know; a session asks by [`Intake::authenticate`].
//!
//! Protocol parts are pure (`smtp::auth`, `smtp::command`, `smtp::parameters`, `smtp::data`, `smtp::session`, [`proxy`],
//! [`header`], [`prepare`]); only `smtp::server` owns sockets and timers. [`tls`] has the certificates and shakes hands.

pub mod header;
pub mod http;
pub mod prepare;
pub mod proxy;
mod room;
mod secret;
pub mod smtp;
pub mod tls;
pub mod users;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

pub use self::room::{Room, Share};
pub use self::secret::{Credentials, Proof, Secret};
pub use self::tls::facts::TlsFacts;
pub use self::users::scram::Verifier;

use crate::assignment::{Incoming, Unassigned};
use crate::config::UnknownPolicy;
use crate::message::header::Headers;
use crate::message::{ForwardPath, Mailbox, MessageId, Wishes};
use crate::outcome::EnhancedCode;
use crate::store::SpoolError;

/// Whom a recipient means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressee {
    /// Somebody elsewhere: mail to relay, for clients that may.
    Elsewhere,
    /// Ourselves: bounces and complaints about mail that we delivered, which anybody may send.
    Reports {
        /// Octets of the largest one taken.
        max_bytes: u64,
    },
}

/// What a session asks before it answers MAIL and RCPT. Quick: it is asked between two commands of a pipelined group.
pub trait Admission {
    /// Whether mail is taken at all now (low space, stopping). An `Err` is the reply to MAIL: refusing there spares
    /// the client the body.
    fn ready(&self) -> Result<(), Refusal>;

    /// Whom a recipient means. An `Err` is the reply to RCPT: an address that could only be ours, and is not.
    fn addressee(&self, to: &Mailbox) -> Result<Addressee, Refusal> {
        let _ = to;
        Ok(Addressee::Elsewhere)
    }

    /// Whom a recipient that would be elsewhere means when somebody names it who may not relay: our postmaster, perhaps.
    /// An `Err` as in [`Admission::addressee`].
    fn addressee_of_stranger(&self, to: &Mailbox) -> Result<Addressee, Refusal> {
        let _ = to;
        Ok(Addressee::Elsewhere)
    }

    /// Whether there still is this user, who logged in on this connection before.
    fn has_user(&self, user: &str) -> bool {
        let _ = user;
        true
    }

    /// The room that all messages share while they are received (`server.memory`); `None` where there is no bound.
    fn memory(&self) -> Option<Arc<Room>> {
        None
    }

    /// Sessions of all listeners together at the same time (`server.max_sessions`).
    fn max_sessions(&self) -> u64 {
        u64::MAX
    }

    /// Whether every user can log in with SCRAM: only then it is offered, since a client that is offered it takes nothing else.
    fn scram(&self) -> bool {
        false
    }

    /// Whether this user may send mail from this address (`None` is the null reverse path). An `Err` is the reply to MAIL.
    fn sender(&self, user: &str, reverse_path: Option<&Mailbox>) -> Result<(), Refusal> {
        let _ = (user, reverse_path);
        Ok(())
    }

    /// The room that all reports of those who may not relay share; `None` where there is no bound.
    fn room(&self) -> Option<Arc<Room>> {
        None
    }
}

/// What the rest of the program does with a complete transaction.
pub trait Intake: Admission + Send + Sync + 'static {
    /// Makes the mail durable. Returns when it is on disk — the client then gets `250` — or says why it is not.
    fn accept(&self, transaction: Transaction) -> Accepting<'_>;

    /// Checks who `client` says to be: the user's name, or the reply. Nobody can log in where there are no users.
    fn authenticate(&self, credentials: Credentials, client: Caller) -> Authenticating<'_> {
        let _ = (credentials, client);
        Box::pin(async { Err(Refusal::new(454, 7, 0, "temporary authentication failure")) })
    }

    /// What is kept of the password of a user as whom `client` wants to log in with SCRAM; of one who is not there something
    /// that looks alike.
    fn verifier<'a>(&'a self, user: &'a str, client: Caller) -> Fetching<'a> {
        let _ = (user, client);
        Box::pin(async { Err(Refusal::new(454, 7, 0, "temporary authentication failure")) })
    }
}

/// Somebody who wants to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its address.
    pub ip: IpAddr,
    /// Whether that is in the listener's `trust`.
    pub trusted: bool,
}

impl From<IpAddr> for Caller {
    /// Somebody nobody trusts.
    fn from(ip: IpAddr) -> Self {
        Self { ip, trusted: false }
    }
}

/// What is kept of a password, on its way.
pub type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Verifier, Refusal>> + Send + 'a>>;

/// The check of a login an [`Intake`] is working on.
pub type Authenticating<'a> = Pin<Box<dyn Future<Output = Result<String, Refusal>> + Send + 'a>>;

/// The answer an [`Intake`] is working on.
pub type Accepting<'a> = Pin<Box<dyn Future<Output = Result<MessageId, Refusal>> + Send + 'a>>;

/// One complete mail transaction (RFC 5321 §3.3).
#[derive(Clone, Debug, PartialEq)]
pub struct Transaction {
    /// Which `[[listener]]` it came by, from 0.
    pub listener: usize,
    /// The client; an IPv4 client of an IPv6 socket is shown as IPv4.
    pub client: SocketAddr,
    /// Whether the client is in the listener's `trust`.
    pub trusted: bool,
    /// Name given in EHLO or HELO: printable ASCII without spaces.
    pub helo: String,
    /// Whether the client said EHLO.
    pub esmtp: bool,
    /// Reverse path; `None` is the null reverse path.
    pub reverse_path: Option<Mailbox>,
    /// Accepted recipients, in their order; never empty, and only one where it is a report.
    pub recipients: Vec<ForwardPath>,
    /// Whether its recipient is an address for reports.
    pub report: bool,
    /// The message as received: dots unstuffed, every line end CRLF, nothing added or removed.
    pub body: Bytes,
    /// Whether `body` holds octets above 127, whatever `BODY=` said.
    pub eight_bit: bool,
    /// User, where the client logged in.
    pub auth_user: Option<String>,
    /// What the client asked for with MAIL.
    pub wishes: Wishes,
    /// The TLS session it came by, in words for the trace field (`TLSv1.3 with cipher … key exchange …`); `None` in the clear.
    pub tls: Option<Arc<str>>,
    /// Whether its listener adds what a message lacks, by the terms that its session began with.
    pub submission: bool,
}

impl Transaction {
    /// What the assignment wants to know of it.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming {
            client: self.client.ip(),
            trusted: self.trusted,
            auth_user: self.auth_user.as_deref(),
            reverse_path: self.reverse_path.as_ref(),
            recipients: &self.recipients,
            headers: Headers::of(&self.body),
        }
    }
}

impl Transaction {
    /// How it came, in the words of RFC 3848 and RFC 6531 §4.3; those know no mail over HTTP, which is called what it is.
    pub fn protocol(&self) -> &'static str {
        if self.auth_user.as_deref().is_some_and(|user| user.starts_with(http::TOKEN)) {
            return if self.tls.is_some() { "HTTPS" } else { "HTTP" };
        }
        let (user, tls) = (self.auth_user.is_some(), self.tls.is_some());
        match (self.esmtp, self.wishes.utf8, tls, user) {
            (false, ..) => "SMTP",
            (true, false, false, false) => "ESMTP",
            (true, false, false, true) => "ESMTPA",
            (true, false, true, false) => "ESMTPS",
            (true, false, true, true) => "ESMTPSA",
            (true, true, false, false) => "UTF8SMTP",
            (true, true, false, true) => "UTF8SMTPA",
            (true, true, true, false) => "UTF8SMTPS",
            (true, true, true, true) => "UTF8SMTPSA",
        }
    }
}

/// A negative reply (RFC 5321 §4.2, RFC 3463).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// 400–599.
    pub code: u16,
    /// Enhanced status code of the same class.
    pub enhanced: EnhancedCode,
    /// For the client's log: one line; what is not printable is replaced when it is sent.
    pub text: String,
}

impl Refusal {
    /// A refusal; the class of the enhanced status code follows from `code`.
    pub fn new(code: u16, subject: u16, detail: u16, text: impl Into<String>) -> Self {
        let class = if code < 500 { 4 } else { 5 };
        Self { code, enhanced: EnhancedCode { class, subject, detail }, text: text.into() }
    }

    /// `452 4.3.1`: no space for new mail.
    pub fn storage() -> Self {
        Self::new(452, 3, 1, "insufficient storage, try again later")
    }

    /// `452 4.3.1`: no memory for new mail.
    pub fn crowded() -> Self {
        Self::new(452, 3, 1, "too much mail is being received now, try again later")
    }

    /// `451 4.3.0`: a fault of our own, told no further.
    pub fn local() -> Self {
        Self::new(451, 3, 0, "local error, try again later")
    }

    /// `451 4.3.2`: the program is stopping.
    pub fn stopping() -> Self {
        Self::new(451, 3, 2, "not accepting mail now, try again later")
    }

    /// No tenant, stream or pool: `550 5.7.1` or `451 4.7.1`, as `assignment.unknown` says. A contradiction within the
    /// message itself does not go away by waiting and is always refused for good.
    pub fn unassigned(why: &Unassigned, policy: UnknownPolicy) -> Self {
        let code = match (policy, why) {
            (UnknownPolicy::Defer, Unassigned::Tenant { .. } | Unassigned::User { .. } | Unassigned::Stream { .. }) => {
                451
            }
            _ => 550,
        };
        Self::new(code, 7, 1, why.to_string())
    }
}

impl From<&SpoolError> for Refusal {
    fn from(error: &SpoolError) -> Self {
        match error {
            SpoolError::Full(_) => Self::storage(),
            SpoolError::Corrupt { .. } | SpoolError::Locked(_) | SpoolError::Io(_) => Self::local(),
        }
    }
}

/// What the door has seen since the start; read by telemetry.
#[derive(Debug, Default)]
pub struct IngressStats {
    /// Sessions open now.
    pub sessions_open: AtomicU64,
    /// Sessions ever opened.
    pub sessions: AtomicU64,
    /// Connections turned away by `max_connections` or `max_connections_per_client`.
    pub refused_connections: AtomicU64,
    /// Messages answered `250`.
    pub messages: AtomicU64,
    /// Recipients of those.
    pub recipients: AtomicU64,
    /// Octets of those, as received.
    pub bytes: AtomicU64,
    /// Replies by class: 2yz, 3yz, 4yz, 5yz.
    pub replies: [AtomicU64; 4],
    /// Connections of balancers that did not begin with a header of the PROXY protocol.
    pub refused_proxies: AtomicU64,
    /// TLS with clients.
    pub tls: Arc<tls::TlsStats>,
}

impl IngressStats {
    fn add(counter: &AtomicU64, number: u64) {
        counter.fetch_add(number, Ordering::Relaxed);
    }
}
