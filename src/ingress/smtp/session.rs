//! The dialogue with one client (RFC 5321 §4.1.4), without a socket.
//!
//! [`Session::advance`] takes what the client sent, appends the replies to a buffer and says what to do next: read
//! more, make a message durable, close. All commands of a pipelined group are answered into the same buffer, so the
//! shell sends them in one write (RFC 2920). No `250` to a message leaves before the shell came back with
//! [`Session::answered`].
//!
//! Who may relay: clients of the listener's `trust`, and users that logged in ([`super::auth`]); where the listener's
//! `auth` is required, only these may begin mail at all. Everybody else is refused at RCPT, with one exception: addresses at which *we* are the receiver, of bounces and complaints about mail that we
//! delivered ([`Addressee::Reports`]). Those are taken from anybody, trusted or not, and read instead of relayed; which
//! they are, [`Admission::addressee`] says. A transaction is either the one or the other, and one with a report has this
//! one recipient. So this is never an open relay: no client chooses where mail goes unless it is trusted.
//!
//! Who may relay is asked again at each MAIL ([`Session::now_by`]): a network taken out of `trust`, or a user who is gone,
//! ends the session there with `421`. A message under way is finished.
//!
//! Input where none may be — before the greeting, or behind DATA before the `354` — ends the session: such a client
//! does not listen to replies, and if DATA were refused its message would be run as commands.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use zeroize::Zeroize;

use super::auth::{self, Exchange, Login};
use super::command::{self, Command, MailFrom, RcptTo};
use super::data::DataReader;
use super::reply::{Replies, ReplyCounts};
use crate::config::{AuthMode, Listener};
use crate::ingress::{Addressee, Admission, Credentials, Refusal, Secret, Share, Transaction};
use crate::message::header::Headers;
use crate::message::{Domain, Mailbox, MessageId};

/// `Received:` lines above which a message is taken for one that goes in circles (RFC 5321 §6.3: at least 100).
pub const MAX_HOPS: usize = 100;

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
    pub(super) login: Login,
    pub(super) helo: Option<Helo>,
    pub(super) phase: Phase,
    /// In the middle of a line that is too long and is being thrown away.
    skipping: bool,
    /// Refused commands since the last accepted message.
    errors: u32,
    pub(super) stopping: bool,
    pub(super) replies: Replies,
    /// Of the room for strangers, while a message of one is in memory.
    share: Option<Share>,
}

#[derive(Clone, Debug)]
pub(super) struct Helo {
    name: String,
    pub(super) esmtp: bool,
}

/// Where in the dialogue we are.
#[derive(Debug)]
pub(super) enum Phase {
    /// No transaction.
    Idle,
    /// Between AUTH and the client's answer to a `334`.
    Auth(Exchange),
    /// Between MAIL and DATA.
    Mail(Envelope),
    /// Between `354` and the final dot.
    Data(Envelope, DataReader),
    /// The shell has the transaction, or the credentials.
    Waiting,
    /// Over; `true` after QUIT.
    Closed(bool),
}

#[derive(Debug)]
pub(super) struct Envelope {
    reverse_path: Option<Mailbox>,
    size: Option<u64>,
    recipients: Vec<Mailbox>,
    /// Octets of the largest report, where the recipient is an address for reports.
    report: Option<u64>,
}

impl Session {
    /// A session with a client that has just connected.
    pub fn new(terms: Arc<Terms>, client: SocketAddr) -> Self {
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        let trusted = trusts(&terms, client);
        Self {
            login: Login::new(terms.listener.auth, client),
            present: Arc::clone(&terms),
            terms,
            client,
            trusted,
            helo: None,
            phase: Phase::Idle,
            skipping: false,
            errors: 0,
            stopping: false,
            replies: Replies::default(),
            share: None,
        }
    }

    /// Says by which terms sessions begin now. This one goes on by its own, but begins no mail that it might not begin by
    /// these.
    pub fn now_by(&mut self, present: Arc<Terms>) {
        self.present = present;
    }

    /// Whether what lets this client send has gone since it came: its network, or its user. Also where it would have to log
    /// in now.
    fn has_lost_its_grounds(&self, admission: &dyn Admission) -> bool {
        let now = &self.present.listener;
        match self.login.user() {
            Some(user) if now.auth == AuthMode::Off || !admission.has_user(user) => return true,
            None if now.auth == AuthMode::Required && self.terms.listener.auth != AuthMode::Required => return true,
            _ => {}
        }
        self.trusted && !trusts(&self.present, self.client)
    }

    /// Greets. `early_talk`: the client has spoken already, which RFC 5321 §3.1 forbids and real clients do not do.
    pub fn greet(&mut self, early_talk: bool, out: &mut Vec<u8>) -> Effect {
        if early_talk {
            self.close_with(&Refusal::new(554, 5, 1, "protocol error: you spoke before the greeting"), out);
            return Effect::Drop;
        }
        let greeting = format!("{} ESMTP Remuda", self.terms.hostname);
        self.replies.write(out, 220, None, &greeting);
        Effect::Read
    }

    /// Goes as far as `input` allows; what was understood is taken off it. `admission` is asked at MAIL and RCPT.
    pub fn advance(&mut self, input: &mut BytesMut, admission: &dyn Admission, out: &mut Vec<u8>) -> Effect {
        loop {
            match &mut self.phase {
                Phase::Closed(true) => return Effect::Quit,
                Phase::Closed(false) => return Effect::Drop,
                Phase::Waiting => return Effect::Read,
                Phase::Data(_, reader) => {
                    let taken = reader.feed(input);
                    input.advance(taken);
                    if self.share.as_mut().is_some_and(|share| !share.resize(reader.held())) {
                        reader.no_room();
                        self.share = None;
                    }
                    if !reader.ended() {
                        return Effect::Read;
                    }
                    if let Some(transaction) = self.end_of_data(out) {
                        return Effect::Deliver(Box::new(transaction));
                    }
                }
                Phase::Auth(_) => match self.next_line(input, |line| Ok(Secret::new(line.to_vec()))) {
                    None => return Effect::Read,
                    Some(line) => {
                        if let Some(credentials) = self.auth_line(line, out) {
                            return Effect::Authenticate(Box::new(credentials));
                        }
                    }
                },
                Phase::Idle | Phase::Mail(_) => match self.next_line(input, command::parse) {
                    None => return Effect::Read,
                    Some(Err(refusal)) => self.refuse(refusal, out),
                    Some(Ok(Command::Auth(request))) => {
                        if let Some(credentials) = self.auth(request, out) {
                            return Effect::Authenticate(Box::new(credentials));
                        }
                    }
                    Some(Ok(Command::Data)) => self.data(!input.is_empty(), admission, out),
                    Some(Ok(command)) => self.command(command, admission, out),
                },
            }
        }
    }

    /// The shell's answer to [`Effect::Deliver`]. Call [`Session::advance`] afterwards: there may be more input.
    pub fn answered(&mut self, answer: Result<MessageId, Refusal>, out: &mut Vec<u8>) {
        self.phase = Phase::Idle;
        self.share = None;
        match answer {
            Ok(id) => {
                self.errors = 0;
                self.replies.ok(out, 6, 0, &format!("{id} accepted"));
            }
            // Not counted as the client's error: most of these are ours, or the tenant's.
            Err(refusal) => self.replies.refuse(out, &refusal),
        }
        if self.stopping {
            self.close_with(&stopping(), out);
        }
    }

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
            Phase::Data(..) | Phase::Waiting => Effect::Read,
            Phase::Idle | Phase::Auth(_) | Phase::Mail(_) | Phase::Closed(_) => {
                self.close_with(&stopping(), out);
                Effect::Drop
            }
        }
    }

    /// Whether a stranger's report is being received: it takes part of what all of them share, and must come to an end.
    pub fn takes_room(&self) -> bool {
        self.share.is_some() && matches!(self.phase, Phase::Data(..))
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

    /// Takes one line off `input` and reads it; `None` while it is incomplete.
    fn next_line<T>(
        &mut self,
        input: &mut BytesMut,
        read: impl FnOnce(&[u8]) -> Result<T, Refusal>,
    ) -> Option<Result<T, Refusal>> {
        let Some(lf) = memchr::memchr(b'\n', input) else {
            if input.len() >= command::MAX_LINE {
                self.skipping = true;
            }
            if self.skipping {
                input.clear();
            }
            return None;
        };
        let line = &input[..lf];
        let parsed = if std::mem::take(&mut self.skipping) || lf >= command::MAX_LINE {
            Err(Refusal::new(500, 5, 2, command::LINE_TOO_LONG))
        } else {
            match line.strip_suffix(b"\r") {
                Some(line) => read(line),
                // Answered at once and not run on into the next CRLF: a client that ends lines in LF would wait for
                // ever. What follows is the client's next line, nothing was smuggled into this one.
                None => Err(Refusal::new(500, 5, 2, "bare LF: lines must end in CRLF")),
            }
        };
        if self.login.is_offered() {
            // It may have held a password, also where it was taken for something else.
            input[..=lf].zeroize();
        }
        input.advance(lf + 1);
        Some(parsed)
    }

    fn command(&mut self, command: Command, admission: &dyn Admission, out: &mut Vec<u8>) {
        match command {
            Command::Mail(_) if !matches!(self.phase, Phase::Mail(_)) && self.has_lost_its_grounds(admission) => {
                self.close_with(&Refusal::new(421, 3, 2, "who may send here has changed, connect again"), out);
            }
            Command::Ehlo(name) => self.ehlo(name, out),
            Command::Helo(name) => self.helo(name, out),
            Command::Mail(mail) => match self.mail(mail, admission) {
                Ok(()) => self.replies.ok(out, 1, 0, "sender ok"),
                Err(refusal) => self.refuse(refusal, out),
            },
            Command::Rcpt(to) => match self.rcpt(to, admission) {
                Ok(()) => self.replies.ok(out, 1, 5, "recipient ok"),
                Err(refusal) => self.refuse(refusal, out),
            },
            Command::Rset => {
                self.phase = Phase::Idle;
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
            Command::Auth(_) => {}
        }
    }

    /// RFC 5321 §4.1.1.1: resets as RSET does. Only what works is offered.
    fn ehlo(&mut self, name: String, out: &mut Vec<u8>) {
        self.helo = Some(Helo { name, esmtp: true });
        self.phase = Phase::Idle;
        let size = self.terms.listener.max_message_bytes;
        let host = self.terms.hostname.as_str();
        let size = format!("SIZE {size}");
        let mut lines = vec![host, "PIPELINING", &size, "8BITMIME", "ENHANCEDSTATUSCODES"];
        if self.login.is_offered() {
            lines.push(auth::OFFER);
        }
        self.replies.write_lines(out, 250, &lines);
    }

    fn helo(&mut self, name: String, out: &mut Vec<u8>) {
        self.helo = Some(Helo { name, esmtp: false });
        self.phase = Phase::Idle;
        self.replies.write(out, 250, None, self.terms.hostname.as_str());
    }

    fn mail(&mut self, mail: MailFrom, admission: &dyn Admission) -> Result<(), Refusal> {
        if self.helo.is_none() {
            return Err(sequence("EHLO or HELO first"));
        }
        if matches!(self.phase, Phase::Mail(_)) {
            return Err(sequence("a transaction is already open"));
        }
        self.login.may_send()?;
        if mail.auth && !self.login.is_offered() {
            return Err(command::unknown_parameter());
        }
        let limit = self.terms.listener.max_message_bytes;
        if mail.size.is_some_and(|size| size > limit) {
            return Err(Refusal::new(552, 3, 4, format!("message is larger than the limit of {limit} octets")));
        }
        admission.ready()?;
        self.phase = Phase::Mail(Envelope {
            reverse_path: mail.reverse_path,
            size: mail.size,
            recipients: Vec::new(),
            report: None,
        });
        Ok(())
    }

    fn rcpt(&mut self, to: RcptTo, admission: &dyn Admission) -> Result<(), Refusal> {
        let may_relay = self.may_relay();
        let Phase::Mail(envelope) = &mut self.phase else {
            return Err(sequence("MAIL first"));
        };
        let mailbox = match to {
            RcptTo::Mailbox(mailbox) => mailbox,
            RcptTo::Postmaster => format!("postmaster@{}", self.terms.hostname)
                .parse()
                .map_err(|why: crate::message::address::BadAddress| Refusal::new(550, 1, 3, why.to_string()))?,
        };
        let mut addressee = admission.addressee(&mailbox)?;
        if addressee == Addressee::Elsewhere && !may_relay {
            addressee = admission.addressee_of_stranger(&mailbox)?;
        }
        match addressee {
            Addressee::Elsewhere if !may_relay => return Err(self.login.relaying_denied()),
            Addressee::Elsewhere if envelope.report.is_none() => {}
            Addressee::Reports { .. } if envelope.recipients.is_empty() => {}
            // RFC 5321 §4.5.3.1.10: a client does that with those left over.
            _ => return Err(Refusal::new(452, 5, 3, "reports go alone, send it in another transaction")),
        }
        if let Addressee::Reports { max_bytes } = addressee
            && envelope.size.is_some_and(|size| size > max_bytes)
        {
            return Err(Refusal::new(552, 3, 4, format!("report is larger than the limit of {max_bytes} octets")));
        }
        if envelope.recipients.len() >= self.terms.listener.max_recipients {
            return Err(Refusal::new(452, 5, 3, "too many recipients, send the rest in another transaction"));
        }
        if addressee != Addressee::Elsewhere && !may_relay && admission.room().is_some_and(|room| room.is_full()) {
            return Err(Refusal::storage());
        }
        envelope.recipients.push(mailbox);
        if let Addressee::Reports { max_bytes } = addressee {
            envelope.report = Some(max_bytes);
        }
        Ok(())
    }

    fn may_relay(&self) -> bool {
        self.trusted || self.login.user().is_some()
    }

    fn data(&mut self, more_input: bool, admission: &dyn Admission, out: &mut Vec<u8>) {
        if more_input {
            let refusal = Refusal::new(554, 5, 1, "protocol error: DATA must be the last command of a group");
            return self.close_with(&refusal, out);
        }
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Mail(envelope) if envelope.recipients.is_empty() => {
                self.phase = Phase::Mail(envelope);
                self.refuse(Refusal::new(554, 5, 1, "no valid recipients"), out);
            }
            Phase::Mail(envelope) => {
                let limit = self.terms.listener.max_message_bytes;
                let limit = envelope.report.map_or(limit, |max| max.min(limit));
                let reader = DataReader::new(limit, envelope.size);
                let room = admission.room().filter(|_| envelope.report.is_some() && !self.may_relay());
                self.share = room.map(|room| Share::new(&room, self.client.ip()));
                self.phase = Phase::Data(envelope, reader);
                self.replies.write(out, 354, None, "end data with <CRLF>.<CRLF>");
            }
            other => {
                self.phase = other;
                self.refuse(sequence("MAIL and RCPT first"), out);
            }
        }
    }

    /// The final dot was read: the transaction to deliver, or a refusal written.
    fn end_of_data(&mut self, out: &mut Vec<u8>) -> Option<Transaction> {
        let Phase::Data(envelope, reader) = std::mem::replace(&mut self.phase, Phase::Idle) else { return None };
        let text = match reader.finish() {
            Ok(text) => text,
            Err(fault) => {
                self.refuse_message(fault.refusal(), out);
                return None;
            }
        };
        if Headers::of(&text.body).count("Received") > MAX_HOPS {
            let refusal = Refusal::new(554, 4, 6, format!("more than {MAX_HOPS} Received lines: mail loop"));
            self.refuse_message(refusal, out);
            return None;
        }
        let helo = self.helo.clone().unwrap_or_else(|| Helo { name: "unknown".into(), esmtp: false });
        self.phase = Phase::Waiting;
        Some(Transaction {
            listener: self.terms.index,
            client: self.client,
            trusted: self.trusted,
            helo: helo.name,
            esmtp: helo.esmtp,
            reverse_path: envelope.reverse_path,
            recipients: envelope.recipients,
            report: envelope.report.is_some(),
            body: text.body,
            eight_bit: text.eight_bit,
            auth_user: self.login.user().map(str::to_owned),
        })
    }

    fn refuse_message(&mut self, refusal: Refusal, out: &mut Vec<u8>) {
        self.share = None;
        self.refuse(refusal, out);
        if self.stopping && !matches!(self.phase, Phase::Closed(_)) {
            self.close_with(&stopping(), out);
        }
    }

    /// Writes a refusal; counts it when it is the client's fault, and closes after too many.
    pub(super) fn refuse(&mut self, refusal: Refusal, out: &mut Vec<u8>) {
        self.replies.refuse(out, &refusal);
        if refusal.code >= 500 {
            self.errors += 1;
            if self.errors >= self.terms.listener.max_errors {
                self.close_with(&Refusal::new(421, 7, 0, "too many errors, closing"), out);
            }
        }
    }

    pub(super) fn close_with(&mut self, refusal: &Refusal, out: &mut Vec<u8>) {
        self.replies.refuse(out, refusal);
        self.phase = Phase::Closed(false);
    }
}

fn trusts(terms: &Terms, client: SocketAddr) -> bool {
    terms.listener.trust.iter().any(|network| network.contains(&client.ip()))
}

pub(super) fn sequence(text: &str) -> Refusal {
    Refusal::new(503, 5, 1, text)
}

pub(super) fn stopping() -> Refusal {
    Refusal::new(421, 3, 2, "service stopping, closing")
}

/// Reply to a connection over the limits; the session never starts.
pub const TOO_MANY_CONNECTIONS: &[u8] = b"421 4.7.0 too many connections, try again later\r\n";

/// The key under which connections of a client are counted.
pub fn client_key(client: SocketAddr) -> IpAddr {
    client.ip().to_canonical()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::ingress::Room;

    fn terms(trust: &str) -> Arc<Terms> {
        terms_with(trust, AuthMode::Off)
    }

    fn terms_with(trust: &str, auth: AuthMode) -> Arc<Terms> {
        Arc::new(Terms {
            index: 0,
            hostname: "relay.example.net".parse().expect("valid"),
            listener: Listener {
                address: "127.0.0.1:0".parse().expect("valid"),
                trust: vec![trust.parse().expect("valid")],
                max_connections: 10,
                max_connections_per_client: 10,
                max_message_bytes: 2000,
                max_recipients: 2,
                max_errors: 4,
                idle_timeout: Duration::from_secs(300),
                auth,
            },
        })
    }

    /// Says of every mail that there is no room for it, or none; takes reports at report.example.
    struct Desk {
        full: bool,
    }

    const ROOM: Desk = Desk { full: false };

    impl Admission for Desk {
        fn ready(&self) -> Result<(), Refusal> {
            if self.full { Err(Refusal::storage()) } else { Ok(()) }
        }

        fn addressee(&self, to: &Mailbox) -> Result<Addressee, Refusal> {
            match (to.domain_str(), to.local_part()) {
                ("report.example", "nobody") => Err(Refusal::new(550, 1, 1, "no such address")),
                ("report.example", _) => Ok(Addressee::Reports { max_bytes: 100 }),
                _ => Ok(Addressee::Elsewhere),
            }
        }
    }

    /// Takes reports, and its postmaster's mail from strangers, while there is room.
    struct Small(Arc<Room>);

    impl Admission for Small {
        fn ready(&self) -> Result<(), Refusal> {
            Ok(())
        }

        fn addressee(&self, to: &Mailbox) -> Result<Addressee, Refusal> {
            ROOM.addressee(to)
        }

        fn addressee_of_stranger(&self, to: &Mailbox) -> Result<Addressee, Refusal> {
            let is_ours = to.as_str() == "postmaster@relay.example.net";
            Ok(if is_ours { Addressee::Reports { max_bytes: 100 } } else { Addressee::Elsewhere })
        }

        fn room(&self) -> Option<Arc<Room>> {
            Some(Arc::clone(&self.0))
        }
    }

    /// What a session says to all of `input` at once, and what it hands over.
    fn said(session: &mut Session, admission: &Small, input: &str) -> (String, Option<Transaction>) {
        let (mut input, mut out) = (BytesMut::from(input), Vec::new());
        let taken = match session.advance(&mut input, admission, &mut out) {
            Effect::Deliver(transaction) => Some(*transaction),
            _ => None,
        };
        (String::from_utf8(out).expect("ASCII"), taken)
    }

    #[test]
    fn the_postmaster_needs_no_domain_and_is_read_here_only_for_strangers() {
        let admission = Small(Arc::new(Room::new(1 << 20)));
        for (trust, is_report) in [("10.0.0.0/8", true), ("192.0.2.0/24", false)] {
            let mut session = session(trust);
            said(&mut session, &admission, "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<Postmaster>\r\nDATA\r\n");
            let (_, taken) = said(&mut session, &admission, "Subject: help\r\n.\r\n");
            let taken = taken.expect("a transaction");
            assert_eq!(taken.recipients[0].as_str(), "postmaster@relay.example.net");
            assert_eq!(taken.report, is_report, "{trust}");
        }
    }

    /// Knows the user who is named.
    struct Knows(&'static str);

    impl Admission for Knows {
        fn ready(&self) -> Result<(), Refusal> {
            Ok(())
        }

        fn has_user(&self, user: &str) -> bool {
            user == self.0
        }
    }

    #[test]
    fn who_has_lost_the_grounds_to_send_is_told_so_at_the_next_message() {
        let (here, elsewhere, auth) = ("192.0.2.0/24", "10.0.0.0/8", AuthMode::Required);
        let off = AuthMode::Off;
        for (was, is, user, goes_on) in [
            ((here, off), (here, off), None, true),
            ((here, off), (elsewhere, off), None, false),
            ((here, off), (here, auth), None, false),
            ((elsewhere, auth), (elsewhere, auth), Some("ann"), true),
            ((elsewhere, auth), (elsewhere, auth), Some("bob"), false),
            ((elsewhere, auth), (elsewhere, off), Some("ann"), false),
            // A stranger has nothing to lose.
            ((elsewhere, off), (elsewhere, off), None, true),
        ] {
            let mut session = Session::new(terms_with(was.0, was.1), "192.0.2.7:1".parse().expect("valid"));
            if let Some(user) = user {
                session.login.ended(Ok(user.to_owned())).expect("logged in");
            }
            let say = |session: &mut Session, line: &str| {
                let mut out = Vec::new();
                session.advance(&mut BytesMut::from(line), &Knows("ann"), &mut out);
                String::from_utf8(out).expect("ASCII")
            };
            say(&mut session, "EHLO x\r\n");
            let is_under_way = was.1 == off || user == Some("ann");
            if is_under_way {
                assert!(say(&mut session, "MAIL FROM:<a@acme.example>\r\n").starts_with("250 "));
            }
            session.now_by(terms_with(is.0, is.1));
            if is_under_way {
                let reply = say(&mut session, "RCPT TO:<b@there.example>\r\nRSET\r\n");
                assert!(!reply.contains("421"), "what is under way goes on: {reply}");
            }
            let reply = say(&mut session, "MAIL FROM:<a@acme.example>\r\nNOOP\r\n");
            assert_eq!(reply.starts_with("421 4.3.2 "), !goes_on, "{was:?} {is:?} {user:?}: {reply}");
            assert_eq!(reply.lines().count(), if goes_on { 2 } else { 1 }, "{reply}");
        }
    }

    #[test]
    fn strangers_share_the_room_and_trusted_clients_need_none() {
        // A quarter is what one client may hold.
        let room = Arc::new(Room::new(320));
        let admission = Small(Arc::clone(&room));
        let envelope = "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<fbl@report.example>\r\nDATA\r\n";
        let (mut one, mut two, mut three) = (session("10.0.0.0/8"), session("10.0.0.0/8"), session("192.0.2.0/24"));
        for session in [&mut one, &mut two, &mut three] {
            assert!(said(session, &admission, envelope).0.ends_with("354 end data with <CRLF>.<CRLF>\r\n"));
        }
        said(&mut one, &admission, &format!("{}\r\n", "x".repeat(60)));
        assert!(one.takes_room() && !three.takes_room());
        let (reply, taken) = said(&mut two, &admission, &format!("{}\r\n.\r\n", "x".repeat(60)));
        assert!(reply.starts_with("452 4.3.1 ") && taken.is_none(), "{reply}");
        assert!(said(&mut three, &admission, &format!("{}\r\n.\r\n", "x".repeat(60))).1.is_some());
        assert!(said(&mut one, &admission, ".\r\n").1.is_some());
        // Held until it is answered, then given back.
        let mut others: Vec<Share> = (1..=4).map(|last| Share::new(&room, [198, 51, 100, last].into())).collect();
        assert_eq!(others.iter_mut().filter_map(|share| share.resize(80).then_some(())).count(), 3);
        assert!(!one.takes_room(), "its end has come");
        one.answered(Ok(MessageId(1)), &mut Vec::new());
        assert!(others[3].resize(80));
        let (reply, _) = said(&mut two, &admission, "MAIL FROM:<>\r\nRCPT TO:<fbl@report.example>\r\n");
        assert!(reply.ends_with("452 4.3.1 insufficient storage, try again later\r\n"), "{reply}");
    }

    fn session(trust: &str) -> Session {
        Session::new(terms(trust), "192.0.2.7:4000".parse().expect("valid"))
    }

    /// Plays a script. `C:` lines that follow one another go in one piece, with CRLF; `\n`, `\r`, `\0` and `\t` in
    /// them are escapes, and a trailing `\c` leaves the CRLF out. `S:` lines are the replies to the group, complete.
    /// `=` lines are what the shell meanwhile does: `stop`, `idle`, `early`, or how it answers the next message:
    /// `full`. Returns the transactions that were handed over.
    fn play(trust: &str, script: &str) -> Vec<Transaction> {
        play_with(session(trust), script)
    }

    /// As [`play`], as the client of a listener with AUTH on this host. The user `tim` has the password `x`; `ben` is put off.
    fn play_auth(mode: AuthMode, script: &str) -> Vec<Transaction> {
        play_with(Session::new(terms_with(NONE, mode), "127.0.0.1:4000".parse().expect("valid")), script)
    }

    fn checked(credentials: &Credentials) -> Result<String, Refusal> {
        match (credentials.user.as_str(), credentials.password.expose()) {
            ("tim", b"x") => Ok("tim".into()),
            ("ben", _) => Err(Refusal::new(454, 7, 0, "try again later")),
            _ => Err(Refusal::new(535, 7, 8, "wrong")),
        }
    }

    fn play_with(mut session: Session, script: &str) -> Vec<Transaction> {
        let mut input = BytesMut::new();
        let mut out = Vec::new();
        let mut handed = Vec::new();
        let mut full = false;
        let mut expected = String::new();
        let lines: Vec<&str> = script.lines().map(str::trim_start).filter(|line| !line.is_empty()).collect();
        for (n, line) in lines.iter().enumerate() {
            let (kind, rest) = line.split_at(line.len().min(2));
            match kind {
                "= " => match rest {
                    "early" => drop(session.greet(true, &mut out)),
                    "greet" => drop(session.greet(false, &mut out)),
                    "stop" => drop(session.stop(&mut out)),
                    "idle" => session.idle_timeout(&mut out),
                    "full" => full = true,
                    other => panic!("no such act: {other}"),
                },
                "C:" => {
                    let text = rest.strip_prefix(' ').unwrap_or(rest);
                    let (text, end) = text.strip_suffix("\\c").map_or((text, "\r\n"), |text| (text, ""));
                    let text = text.replace("\\n", "\n").replace("\\r", "\r").replace("\\0", "\0").replace("\\t", "\t");
                    input.extend_from_slice(text.as_bytes());
                    input.extend_from_slice(end.as_bytes());
                }
                "S:" => expected.push_str(&format!("{}\r\n", rest.trim_start())),
                _ => panic!("no such line: {line}"),
            }
            let next = lines.get(n + 1).map_or("", |next| &next[..next.len().min(2)]);
            if kind == "C:" && next != "C:" {
                loop {
                    match session.advance(&mut input, &Desk { full }, &mut out) {
                        Effect::Deliver(transaction) => {
                            handed.push(*transaction);
                            session.answered(if full { Err(Refusal::storage()) } else { Ok(MessageId(7)) }, &mut out);
                        }
                        Effect::Authenticate(credentials) => session.authenticated(checked(&credentials), &mut out),
                        _ => break,
                    }
                }
            }
            if next != "S:" && (kind == "S:" || next.is_empty()) {
                let replies = String::from_utf8(std::mem::take(&mut out)).expect("ASCII");
                assert_eq!(replies, std::mem::take(&mut expected), "before line {}: {next}", n + 1);
            }
        }
        handed
    }

    const ALL: &str = "0.0.0.0/0";
    const NONE: &str = "10.0.0.0/8";

    #[test]
    fn a_message_goes_through() {
        let handed = play(
            ALL,
            "= greet
             S: 220 relay.example.net ESMTP Remuda
             C: EHLO app.example
             S: 250-relay.example.net
             S: 250-PIPELINING
             S: 250-SIZE 2000
             S: 250-8BITMIME
             S: 250 ENHANCEDSTATUSCODES
             C: MAIL FROM:<a@example.com> SIZE=20
             S: 250 2.1.0 sender ok
             C: RCPT TO:<b@Example.ORG>
             S: 250 2.1.5 recipient ok
             C: RCPT TO:<Postmaster>
             S: 250 2.1.5 recipient ok
             C: DATA
             S: 354 end data with <CRLF>.<CRLF>
             C: Subject: x
             C:
             C: ..dot
             C: .
             S: 250 2.6.0 0000000000007 accepted
             C: QUIT
             S: 221 2.0.0 bye",
        );
        let [transaction] = &handed[..] else { panic!("one message") };
        assert_eq!(&transaction.body[..], b"Subject: x\r\n\r\n.dot\r\n");
        assert_eq!(transaction.reverse_path.as_ref().map(Mailbox::as_str), Some("a@example.com"));
        let recipients: Vec<_> = transaction.recipients.iter().map(Mailbox::as_str).collect();
        assert_eq!(recipients, ["b@example.org", "postmaster@relay.example.net"]);
        assert_eq!((transaction.helo.as_str(), transaction.esmtp, transaction.trusted), ("app.example", true, true));
        assert!(!transaction.eight_bit);
    }

    #[test]
    fn pipelined_groups_are_answered_in_order_and_a_group_may_start_with_text() {
        let handed = play(
            ALL,
            "C: HELO app.example
             S: 250 relay.example.net
             C: MAIL FROM:<>
             C: RCPT TO:<bad>
             C: RCPT TO:<b@example.org>
             C: DATA
             S: 250 2.1.0 sender ok
             S: 501 5.1.3 address lacks a local part or an @
             S: 250 2.1.5 recipient ok
             S: 354 end data with <CRLF>.<CRLF>
             C: ä
             C: .
             C: MAIL FROM:<a@example.com>
             C: RCPT TO:<c@example.org>
             C: DATA
             S: 250 2.6.0 0000000000007 accepted
             S: 250 2.1.0 sender ok
             S: 250 2.1.5 recipient ok
             S: 354 end data with <CRLF>.<CRLF>
             C: .
             C: RSET
             C: QUIT
             S: 250 2.6.0 0000000000007 accepted
             S: 250 2.0.0 ok
             S: 221 2.0.0 bye",
        );
        assert_eq!(handed.len(), 2);
        assert_eq!((handed[0].reverse_path.clone(), handed[0].eight_bit, handed[0].esmtp), (None, true, false));
    }

    #[test]
    fn strangers_cannot_relay_whatever_they_try() {
        let handed = play(
            NONE,
            "C: EHLO x
             C: MAIL FROM:<a@relay.example.net>
             S: 250-relay.example.net
             S: 250-PIPELINING
             S: 250-SIZE 2000
             S: 250-8BITMIME
             S: 250 ENHANCEDSTATUSCODES
             S: 250 2.1.0 sender ok
             C: RCPT TO:<b@example.org>
             S: 550 5.7.1 relaying denied
             C: RCPT TO:<@relay.example.net:b@example.org>
             S: 550 5.7.1 relaying denied
             C: DATA
             S: 554 5.5.1 no valid recipients
             C: RCPT TO:<Postmaster>
             S: 550 5.7.1 relaying denied
             S: 421 4.7.0 too many errors, closing",
        );
        assert!(handed.is_empty());
    }

    #[test]
    fn commands_out_of_order_are_refused() {
        play(
            ALL,
            "C: MAIL FROM:<a@example.com>
             S: 503 5.5.1 EHLO or HELO first
             C: HELO x
             C: RCPT TO:<b@example.org>
             S: 250 relay.example.net
             S: 503 5.5.1 MAIL first
             C: DATA
             S: 503 5.5.1 MAIL and RCPT first
             C: NOOP
             C: VRFY me
             C: HELP
             S: 250 2.0.0 ok
             S: 252 2.5.0 not verified; send mail and see
             S: 214 2.0.0 see RFC 5321
             C: MAIL FROM:<a@example.com>
             C: MAIL FROM:<a@example.com>
             S: 250 2.1.0 sender ok
             S: 503 5.5.1 a transaction is already open
             S: 421 4.7.0 too many errors, closing",
        );
    }

    #[test]
    fn an_accepted_message_forgives_earlier_errors_and_rset_forgets_the_envelope() {
        play(
            ALL,
            "C: HELO x
             C: FOO
             C: FOO
             C: FOO
             C: MAIL FROM:<a@example.com>
             C: RSET
             C: MAIL FROM:<a@example.com>
             C: RCPT TO:<b@example.org>
             C: RCPT TO:<c@example.org>
             C: RCPT TO:<d@example.org>
             C: DATA
             S: 250 relay.example.net
             S: 500 5.5.2 command not recognised
             S: 500 5.5.2 command not recognised
             S: 500 5.5.2 command not recognised
             S: 250 2.1.0 sender ok
             S: 250 2.0.0 ok
             S: 250 2.1.0 sender ok
             S: 250 2.1.5 recipient ok
             S: 250 2.1.5 recipient ok
             S: 452 4.5.3 too many recipients, send the rest in another transaction
             S: 354 end data with <CRLF>.<CRLF>
             C: .
             C: STARTTLS
             S: 250 2.6.0 0000000000007 accepted
             S: 502 5.5.1 STARTTLS is not implemented",
        );
    }

    const EHLO: &str = "C: EHLO x
         S: 250-relay.example.net
         S: 250-PIPELINING
         S: 250-SIZE 2000
         S: 250-8BITMIME
         S: 250-ENHANCEDSTATUSCODES
         S: 250 AUTH PLAIN LOGIN
         ";

    #[test]
    fn a_user_logs_in_and_may_relay() {
        for login in [
            "C: AUTH PLAIN AHRpbQB4\nS: 235 2.7.0 authenticated\n",
            "C: auth plain\nS: 334 \nC: AHRpbQB4\nS: 235 2.7.0 authenticated\n",
            "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: dGlt\nS: 334 UGFzc3dvcmQ6\nC: eA==\nS: 235 2.7.0 authenticated\n",
            "C: AUTH LOGIN dGlt\nS: 334 UGFzc3dvcmQ6\nC: eA==\nS: 235 2.7.0 authenticated\n",
            "C: AUTH LOGIN\nC: dGlt\nC: eA==\nS: 334 VXNlcm5hbWU6\nS: 334 UGFzc3dvcmQ6\nS: 235 2.7.0 authenticated\n",
        ] {
            for mode in [AuthMode::Optional, AuthMode::Required] {
                let rest = "C: AUTH PLAIN AHRpbQB4
                     C: MAIL FROM:<a@example.com> AUTH=<>
                     C: RCPT TO:<b@example.org>
                     C: DATA
                     S: 503 5.5.1 already authenticated
                     S: 250 2.1.0 sender ok
                     S: 250 2.1.5 recipient ok
                     S: 354 end data with <CRLF>.<CRLF>
                     C: .
                     S: 250 2.6.0 0000000000007 accepted";
                let handed = play_auth(mode, &format!("{EHLO}\n{login}{rest}"));
                let [transaction] = &handed[..] else { panic!("one message") };
                assert_eq!((transaction.auth_user.as_deref(), transaction.trusted), (Some("tim"), false));
            }
        }
    }

    #[test]
    fn without_a_login_there_is_no_mail_where_it_is_required_and_no_relaying_where_it_is_not() {
        let mail = "C: MAIL FROM:<a@example.com>\nC: RCPT TO:<b@example.org>\n";
        let script = "S: 530 5.7.0 authentication required\nS: 503 5.5.1 MAIL first\n";
        play_auth(AuthMode::Required, &format!("{EHLO}\n{mail}{script}"));
        let script = "S: 250 2.1.0 sender ok\nS: 550 5.7.1 relaying denied without authentication\n";
        play_auth(AuthMode::Optional, &format!("{EHLO}\n{mail}{script}"));
    }

    #[test]
    fn auth_out_of_place_is_refused() {
        play_auth(
            AuthMode::Optional,
            &format!(
                "C: AUTH PLAIN AHRpbQB4
                 C: HELO x
                 C: AUTH PLAIN AHRpbQB4
                 S: 503 5.5.1 EHLO first
                 S: 250 relay.example.net
                 S: 503 5.5.1 EHLO first
                 {EHLO}
                 C: MAIL FROM:<a@example.com>
                 C: AUTH PLAIN AHRpbQB4
                 S: 250 2.1.0 sender ok
                 S: 503 5.5.1 not inside a transaction
                 C: RSET
                 C: AUTH CRAM-MD5
                 S: 250 2.0.0 ok
                 S: 504 5.5.4 mechanism not offered: use PLAIN or LOGIN
                 S: 421 4.7.0 too many errors, closing"
            ),
        );
        play(
            ALL,
            "C: HELO x
             C: MAIL FROM:<a@example.com> AUTH=<>
             S: 250 relay.example.net
             S: 555 5.5.4 parameter not recognised, not offered or given twice
             C: EHLO x
             C: AUTH PLAIN AHRpbQB4
             S: 250-relay.example.net
             S: 250-PIPELINING
             S: 250-SIZE 2000
             S: 250-8BITMIME
             S: 250 ENHANCEDSTATUSCODES
             S: 502 5.5.1 AUTH is not offered here",
        );
    }

    #[test]
    fn an_exchange_ends_by_a_star_by_rubbish_and_by_a_line_too_long() {
        let long = "x".repeat(3000);
        play_auth(
            AuthMode::Optional,
            &format!(
                "{EHLO}
                 C: AUTH PLAIN
                 C: *
                 S: 334 \nS: 501 5.7.0 authentication cancelled
                 C: AUTH LOGIN
                 C: {long}
                 S: 334 VXNlcm5hbWU6
                 S: 500 5.5.6 authentication exchange line is too long
                 C: AUTH LOGIN
                 C: NOOP
                 S: 334 VXNlcm5hbWU6
                 S: 334 UGFzc3dvcmQ6
                 C: %%
                 S: 501 5.5.2 not base64 (RFC 4648, padded)
                 C: NOOP
                 S: 250 2.0.0 ok"
            ),
        );
    }

    #[test]
    fn three_failed_logins_end_the_session() {
        play_auth(
            AuthMode::Optional,
            &format!(
                "{EHLO}
                 C: AUTH PLAIN AHRpbQB5
                 S: 535 5.7.8 wrong
                 C: AUTH PLAIN AGJlbgB4
                 S: 454 4.7.0 try again later
                 C: AUTH PLAIN AHRpbQB5
                 C: NOOP
                 S: 535 5.7.8 wrong
                 S: 421 4.7.0 too many failed logins, closing"
            ),
        );
    }

    #[test]
    fn credentials_are_not_shown_and_a_stop_waits_for_their_check() {
        let mut session = Session::new(terms_with(NONE, AuthMode::Required), "127.0.0.1:1".parse().expect("valid"));
        let (mut input, mut out) = (BytesMut::from("EHLO x\r\nAUTH PLAIN AHRpbQB4\r\n"), Vec::new());
        let Effect::Authenticate(credentials) = session.advance(&mut input, &ROOM, &mut out) else { panic!("asked") };
        assert_eq!((&*credentials.user, input.len()), ("tim", 0));
        assert_eq!(format!("{credentials:?}"), "Credentials");
        assert!(!format!("{session:?}").contains("AHRpbQB4"));
        assert!(matches!(session.stop(&mut out), Effect::Read));
        out.clear();
        session.authenticated(Ok("tim".into()), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), "235 2.7.0 authenticated\r\n421 4.3.2 service stopping, closing\r\n");
    }

    #[test]
    fn talk_out_of_turn_ends_the_session() {
        play("0.0.0.0/0", "= early\nS: 554 5.5.1 protocol error: you spoke before the greeting");
        let handed = play(
            ALL,
            "C: HELO x
             C: MAIL FROM:<a@example.com>
             C: DATA
             C: MAIL FROM:<evil@example.com>
             S: 250 relay.example.net
             S: 250 2.1.0 sender ok
             S: 554 5.5.1 protocol error: DATA must be the last command of a group
             C: NOOP",
        );
        assert!(handed.is_empty());
    }

    #[test]
    fn lines_that_do_not_end_in_crlf_are_refused_and_do_not_hang() {
        play(
            ALL,
            "C: NOOP\\n\\c
             S: 500 5.5.2 bare LF: lines must end in CRLF
             C: NO\\rOP
             S: 500 5.5.2 bare CR in a command line
             C: NOOP\\0
             S: 500 5.5.2 NUL in a command line
             C: NOOP
             S: 250 2.0.0 ok",
        );
    }

    #[test]
    fn a_line_too_long_is_swallowed_to_its_end_in_bounded_memory() {
        for piece in [1, 100, 10_000] {
            let mut session = session(ALL);
            let mut out = Vec::new();
            let mut input = BytesMut::new();
            let line = [&vec![b'x'; 6000][..], b"\r\nNOOP\r\n"].concat();
            for part in line.chunks(piece) {
                input.extend_from_slice(part);
                session.advance(&mut input, &ROOM, &mut out);
                assert!(input.len() <= command::MAX_LINE);
            }
            assert_eq!(String::from_utf8_lossy(&out), "500 5.5.2 line too long\r\n250 2.0.0 ok\r\n", "{piece}");
        }
    }

    #[test]
    fn smuggled_messages_are_refused_as_part_of_the_first() {
        let script = "C: HELO x
             S: 250 relay.example.net
             C: MAIL FROM:<a@example.com>
             C: RCPT TO:<b@example.org>
             C: DATA
             S: 250 2.1.0 sender ok
             S: 250 2.1.5 recipient ok
             S: 354 end data with <CRLF>.<CRLF>
             C: Subject: x
             C: body@\\c
             C: MAIL FROM:<admin@example.com>
             C: RCPT TO:<victim@example.org>
             C: DATA
             C: evil
             C: .
             S: 550 5.6.0 bare @@ in the message: lines must end in CRLF (RFC 5321 2.3.8)
             C: NOOP
             S: 250 2.0.0 ok";
        for (sequence, name) in [
            ("\\n.\\n", "LF"),
            ("\\n.\\r\\n", "LF"),
            ("\\r.\\r", "CR"),
            ("\\r\\n.\\r\\r\\n", "CR"),
            ("\\r\\n.\\n", "LF"),
        ] {
            let script = script.replace("@@", name).replace("body@", &format!("body{sequence}"));
            assert!(play(ALL, &script).is_empty(), "{sequence}");
        }
    }

    #[test]
    fn size_is_enforced_at_mail_and_at_the_end_of_data() {
        let long = "x".repeat(1200);
        play(
            ALL,
            &format!(
                "C: HELO x
                 C: MAIL FROM:<a@example.com> SIZE=2001
                 S: 250 relay.example.net
                 S: 552 5.3.4 message is larger than the limit of 2000 octets
                 C: MAIL FROM:<a@example.com> SIZE=2000
                 C: RCPT TO:<b@example.org>
                 C: DATA
                 S: 250 2.1.0 sender ok
                 S: 250 2.1.5 recipient ok
                 S: 354 end data with <CRLF>.<CRLF>
                 C: {long}
                 C: {long}
                 C: .
                 S: 552 5.3.4 message is larger than the limit
                 C: RCPT TO:<b@example.org>
                 S: 503 5.5.1 MAIL first"
            ),
        );
    }

    #[test]
    fn mail_that_goes_in_circles_is_refused() {
        for (hops, reply) in [
            (MAX_HOPS, "250 2.6.0 0000000000007 accepted"),
            (MAX_HOPS + 1, "554 5.4.6 more than 100 Received lines: mail loop"),
        ] {
            let received = "C: Received:\n".repeat(hops);
            play(
                ALL,
                &format!(
                    "C: HELO x
                     C: MAIL FROM:<>
                     C: RCPT TO:<b@example.org>
                     C: DATA
                     S: 250 relay.example.net
                     S: 250 2.1.0 sender ok
                     S: 250 2.1.5 recipient ok
                     S: 354 end data with <CRLF>.<CRLF>
                     {received}
                     C: .
                     S: {reply}"
                ),
            );
        }
    }

    #[test]
    fn reports_are_taken_from_strangers_and_relaying_is_not() {
        let handed = play(
            NONE,
            "C: HELO mx.receiver.example
             C: MAIL FROM:<>
             C: RCPT TO:<a@elsewhere.example>
             C: RCPT TO:<Postmaster>
             C: RCPT TO:<nobody@report.example>
             C: RCPT TO:<any@REPORT.example>
             C: DATA
             S: 250 relay.example.net
             S: 250 2.1.0 sender ok
             S: 550 5.7.1 relaying denied
             S: 550 5.7.1 relaying denied
             S: 550 5.1.1 no such address
             S: 250 2.1.5 recipient ok
             S: 354 end data with <CRLF>.<CRLF>
             C: Subject: x
             C: .
             S: 250 2.6.0 0000000000007 accepted",
        );
        let [transaction] = &handed[..] else { panic!("one message") };
        assert!(transaction.report && !transaction.trusted);
        assert_eq!(transaction.recipients.iter().map(Mailbox::as_str).collect::<Vec<_>>(), ["any@report.example"]);
    }

    #[test]
    fn a_report_goes_alone_in_its_transaction() {
        let begin = "C: HELO x\nC: MAIL FROM:<>\nS: 250 relay.example.net\nS: 250 2.1.0 sender ok\n";
        let refused = "S: 452 4.5.3 reports go alone, send it in another transaction\n";
        for (trust, first, second, answer) in [
            (ALL, "any@report.example", "a@elsewhere.example", refused),
            (ALL, "any@report.example", "other@report.example", refused),
            (ALL, "a@elsewhere.example", "any@report.example", refused),
            // Whoever may not relay is told that, and nothing of another transaction.
            (NONE, "any@report.example", "a@elsewhere.example", "S: 550 5.7.1 relaying denied\n"),
        ] {
            let script =
                format!("{begin}C: RCPT TO:<{first}>\nC: RCPT TO:<{second}>\nS: 250 2.1.5 recipient ok\n{answer}");
            let go = "C: DATA\nC: .\nS: 354 end data with <CRLF>.<CRLF>\nS: 250 2.6.0 0000000000007 accepted\n";
            // Text in one piece with DATA would be refused.
            let go =
                go.replace("C: .\nS: 354 end data with <CRLF>.<CRLF>\n", "S: 354 end data with <CRLF>.<CRLF>\nC: .\n");
            let handed = play(trust, &format!("{script}{go}"));
            assert_eq!(handed[0].recipients.len(), 1);
            assert_eq!(handed[0].report, first.ends_with("report.example"), "{first}");
        }
    }

    #[test]
    fn a_report_above_its_own_limit_is_refused_as_soon_as_it_is_known() {
        let long = "x".repeat(99);
        play(
            NONE,
            &format!(
                "C: HELO x
                 C: MAIL FROM:<> SIZE=101
                 C: RCPT TO:<any@report.example>
                 C: RSET
                 C: MAIL FROM:<> SIZE=100
                 C: RCPT TO:<any@report.example>
                 C: DATA
                 S: 250 relay.example.net
                 S: 250 2.1.0 sender ok
                 S: 552 5.3.4 report is larger than the limit of 100 octets
                 S: 250 2.0.0 ok
                 S: 250 2.1.0 sender ok
                 S: 250 2.1.5 recipient ok
                 S: 354 end data with <CRLF>.<CRLF>
                 C: {long}
                 C: .
                 S: 552 5.3.4 message is larger than the limit"
            ),
        );
    }

    #[test]
    fn no_space_is_said_at_mail_and_at_the_end() {
        play(
            ALL,
            "C: HELO x
             C: MAIL FROM:<a@example.com>
             C: RCPT TO:<b@example.org>
             C: DATA
             S: 250 relay.example.net
             S: 250 2.1.0 sender ok
             S: 250 2.1.5 recipient ok
             S: 354 end data with <CRLF>.<CRLF>
             = full
             C: .
             C: MAIL FROM:<a@example.com>
             S: 452 4.3.1 insufficient storage, try again later
             S: 452 4.3.1 insufficient storage, try again later",
        );
    }

    #[test]
    fn stopping_waits_for_a_message_in_flight_and_for_nothing_else() {
        play(
            ALL,
            "C: HELO x\nC: MAIL FROM:<>\nS: 250 relay.example.net\nS: 250 2.1.0 sender ok\n= stop\nS: 421 4.3.2 service stopping, closing",
        );
        let handed = play(
            ALL,
            "C: HELO x
             C: MAIL FROM:<>
             C: RCPT TO:<b@example.org>
             C: DATA
             S: 250 relay.example.net
             S: 250 2.1.0 sender ok
             S: 250 2.1.5 recipient ok
             S: 354 end data with <CRLF>.<CRLF>
             = stop
             C: text
             C: .
             C: NOOP
             S: 250 2.6.0 0000000000007 accepted
             S: 421 4.3.2 service stopping, closing",
        );
        assert_eq!(handed.len(), 1);
        play(ALL, "= idle\nS: 421 4.4.2 idle for too long, closing");
    }

    #[test]
    fn replies_stay_one_line_whatever_a_refusal_says() {
        let mut session = session(ALL);
        let mut out = Vec::new();
        session.answered(Err(Refusal::new(550, 7, 1, "a\r\n250 ok\0é")), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), "550 5.7.1 a??250 ok??\r\n");
        assert_eq!(session.take_reply_counts(), [0, 0, 0, 1]);
    }

    fn line() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("EHLO x\r\n".to_owned()),
            Just("MAIL FROM:<a@b.org>\r\n".to_owned()),
            Just("RCPT TO:<a@b.org>\r\n".to_owned()),
            Just("RSET\r\n".to_owned()),
            Just("NOOP\n".to_owned()),
            Just("bad\rline\r\n".to_owned()),
            (2040usize..2060).prop_map(|n| format!("{}\r\n", "y".repeat(n))),
        ]
    }

    proptest! {
        #[test]
        fn replies_do_not_depend_on_the_pieces(lines in proptest::collection::vec(line(), 0..8), piece in 1usize..3000) {
            let text = lines.concat();
            let run = |piece: usize| {
                let (mut session, mut out, mut input) = (session(ALL), Vec::new(), BytesMut::new());
                for part in text.as_bytes().chunks(piece) {
                    input.extend_from_slice(part);
                    session.advance(&mut input, &ROOM, &mut out);
                }
                out
            };
            prop_assert_eq!(run(piece), run(usize::MAX));
        }

        #[test]
        fn any_octets_are_survived(
            parts in proptest::collection::vec(
                prop_oneof![
                    line().prop_map(String::into_bytes),
                    Just(b"DATA\r\n".to_vec()),
                    Just(b"\r\n.\r\n".to_vec()),
                    proptest::collection::vec(any::<u8>(), 0..20),
                ],
                0..20,
            ),
            trusted in any::<bool>(),
        ) {
            let (mut session, mut out, mut input) = (session(if trusted { ALL } else { NONE }), Vec::new(), BytesMut::new());
            for part in parts {
                input.extend_from_slice(&part);
                while let Effect::Deliver(transaction) = session.advance(&mut input, &ROOM, &mut out) {
                    prop_assert!(trusted && !transaction.recipients.is_empty());
                    session.answered(Ok(MessageId(1)), &mut out);
                }
            }
            prop_assert!(out.is_empty() || out.ends_with(b"\r\n"));
        }
    }
}
